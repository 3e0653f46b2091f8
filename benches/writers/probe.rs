//! From the write to the socket: one writer at 200 a second, one WebSocket, one clock.
//! Hands over verdicts. The clock is read in SQL at the insert, so the commit itself is counted too.
//! It must never wait for an event that may be lost: what did not come is said.

use crate::pgbench::{self, Load};
use crate::stage::{PROBE, Place, Stage};
use crate::yardstick::cluster::PATIENCE;
use crate::{Failure, Plan, Verdict, median, quantile};
use futures_util::StreamExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// 200 a second.
const PAUSE: Duration = Duration::from_millis(5);

/// An event that is no older than this does not wait behind others.
const CALM_MS: f64 = 20.0;

/// How many writers are a saturated database, here.
const CROWD: u32 = 16;

pub async fn measure(stage: &Stage, plan: &Plan) -> Result<Vec<Verdict>, Failure> {
    let seconds = plan.seconds * plan.rounds;
    println!("From the write to the WebSocket, {seconds} s of 200 a second");
    calm(stage).await?;
    let quiet = series(stage, seconds).await?;
    let quiet = tell("nothing else is written", &quiet);
    let scripts = [pgbench::insert_into("rowcast")];
    let load = Load {
        place: Place::Served,
        scripts: &scripts,
        clients: CROWD,
        // Longer than the probe, at both ends.
        seconds: seconds + 2,
    };
    let (loaded, outcome) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            series(stage, seconds).await
        },
        pgbench::run(stage, load)
    );
    outcome?;
    let loaded = tell(&format!("{CROWD} writers besides"), &loaded?);
    println!();
    Ok(vec![
        verdict("200 events a second", quiet, 1.0),
        verdict("saturation", loaded, 3.0),
    ])
}

/// Waits until the service has caught up with what was measured before.
pub async fn calm(stage: &Stage) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let ages = series(stage, 1).await?;
        if median(&ages) < CALM_MS {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err("the service does not catch up".into());
        }
    }
}

fn tell(name: &str, times: &[f64]) -> f64 {
    let (p50, p99) = (median(times), quantile(times, 0.99));
    println!(
        "         {name:24} p50 {p50:.2} ms, p99 {p99:.2} ms, of {} events",
        times.len()
    );
    p50
}

fn verdict(when: &str, p50: f64, bound: f64) -> Verdict {
    Verdict {
        target: format!("write to socket at {when}, median under {bound} ms"),
        measured: format!("{p50:.2} ms"),
        reached: p50 > 0.0 && p50 < bound,
    }
}

/// Latencies in milliseconds.
async fn series(stage: &Stage, seconds: u32) -> Result<Vec<f64>, Failure> {
    let (mut arrivals, reading) = subscribe(stage).await?;
    let client = stage.client(Place::Served).await?;
    let insert = client
        .prepare("insert into shop.rowcast (user_id) values ($1)")
        .await?;
    let mut pace = tokio::time::interval(PAUSE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let wanted = u128::from(seconds) * 1000 / PAUSE.as_millis();
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds.into());
    let (mut sent, mut times) = (0, Vec::new());
    while sent < wanted && tokio::time::Instant::now() < end {
        pace.tick().await;
        client.execute(&insert, &[&PROBE]).await?;
        sent += 1;
    }
    while (times.len() as u128) < sent {
        let Some(time) = tokio::time::timeout(PATIENCE, arrivals.recv()).await? else {
            return Err("the WebSocket closed".into());
        };
        times.push(time);
    }
    reading.abort();
    Ok(times)
}

type Arrivals = (mpsc::UnboundedReceiver<f64>, JoinHandle<()>);

/// Reads frames as they come, and says how old each event was.
async fn subscribe(stage: &Stage) -> Result<Arrivals, Failure> {
    let stream = TcpStream::connect(&stage.address).await?;
    stream.set_nodelay(true)?;
    let mut request = format!("ws://{}/ws", stage.address).into_client_request()?;
    let bearer = format!("Bearer {}", stage.token).parse()?;
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    // The welcome: from here on, nothing is missed.
    let _ = socket.next().await.ok_or("no welcome")??;
    let (sender, receiver) = mpsc::unbounded_channel();
    let reading = tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            if let Message::Text(text) = message
                && let Some(age) = age_ms(&text, now)
                && sender.send(age).is_err()
            {
                return;
            }
        }
    });
    Ok((receiver, reading))
}

fn age_ms(text: &str, now: Duration) -> Option<f64> {
    let frame: serde_json::Value = serde_json::from_str(text).ok()?;
    if frame["type"] != "event" {
        return None;
    }
    let at: jiff::Timestamp = frame["data"]["at"].as_str()?.parse().ok()?;
    Some(now.as_secs_f64() * 1000.0 - at.as_microsecond() as f64 / 1000.0)
}

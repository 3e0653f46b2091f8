//! From the write and from its commit to the socket: one writer at 200 a second, one WebSocket, one clock,
//! which is read in SQL at the insert, and in this process at the commit's answer and at the frame, so that
//! those two wait alike for a processor. Hands over verdicts.
//! It must never wait for an event that may be lost: what did not come is said.

use crate::pgbench::{self, Load};
use crate::stage::{PROBE, Place, Stage};
use crate::yardstick::cluster::PATIENCE;
use crate::{Failure, Plan, Verdict, median, quantile};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// 200 a second.
const PAUSE: Duration = Duration::from_millis(5);

/// How long events took to the socket, in milliseconds.
#[derive(Default)]
struct Delays {
    /// From the insert.
    written: Vec<f64>,
    /// From the answer to its commit.
    committed: Vec<f64>,
}

/// An event that is no older than this does not wait behind others.
const CALM_MS: f64 = 20.0;

/// How many writers are a saturated database, here.
const CROWD: u32 = 16;

pub async fn measure(stage: &Stage, plan: &Plan) -> Result<Vec<Verdict>, Failure> {
    let seconds = plan.seconds * plan.rounds;
    println!("To the WebSocket, {seconds} s of 200 a second");
    calm(stage).await?;
    let quiet = series(stage, seconds).await?;
    tell("nothing else is written", &quiet);
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
    let loaded = loaded?;
    tell(&format!("{CROWD} writers besides"), &loaded);
    println!();
    Ok(vec![
        verdict("write", "200 events a second", &quiet.written, 1.0),
        verdict("write", "saturation", &loaded.written, 3.0),
        verdict("commit", "200 events a second", &quiet.committed, 1.0),
        verdict("commit", "saturation", &loaded.committed, 3.0),
    ])
}

/// Waits until the service has caught up with what was measured before.
pub async fn calm(stage: &Stage) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let delays = series(stage, 1).await?;
        if median(&delays.written) < CALM_MS {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err("the service does not catch up".into());
        }
    }
}

fn tell(name: &str, delays: &Delays) {
    let quantiles = |times: &[f64]| {
        let (p50, p99) = (median(times), quantile(times, 0.99));
        format!("p50 {p50:.2} ms, p99 {p99:.2} ms")
    };
    println!(
        "         {name:24} from the insert {}; from the commit {}; of {} events",
        quantiles(&delays.written),
        quantiles(&delays.committed),
        delays.written.len()
    );
}

fn verdict(from: &str, when: &str, times: &[f64], bound: f64) -> Verdict {
    let p50 = median(times);
    Verdict {
        target: format!("{from} to socket at {when}, median under {bound} ms"),
        measured: format!("{p50:.2} ms"),
        reached: p50 > 0.0 && p50 < bound,
    }
}

async fn series(stage: &Stage, seconds: u32) -> Result<Delays, Failure> {
    let (mut arrivals, reading) = subscribe(stage).await?;
    let client = stage.client(Place::Served).await?;
    let insert = client
        .prepare("insert into shop.rowcast (user_id) values ($1) returning order_id")
        .await?;
    let mut pace = tokio::time::interval(PAUSE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let wanted = u128::from(seconds) * 1000 / PAUSE.as_millis();
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds.into());
    let mut answered = HashMap::new();
    while (answered.len() as u128) < wanted && tokio::time::Instant::now() < end {
        pace.tick().await;
        let order: i64 = client.query_one(&insert, &[&PROBE]).await?.try_get(0)?;
        answered.insert(order, now_ms());
    }
    let mut delays = Delays::default();
    while delays.written.len() < answered.len() {
        let Some(arrival) = tokio::time::timeout(PATIENCE, arrivals.recv()).await? else {
            return Err("the WebSocket closed".into());
        };
        let answered = answered.get(&arrival.order).ok_or("an order of nobody")?;
        delays.written.push(arrival.at - arrival.written);
        delays.committed.push(arrival.at - answered);
    }
    reading.abort();
    Ok(delays)
}

/// A frame that was read; times in milliseconds.
struct Arrival {
    order: i64,
    written: f64,
    at: f64,
}

type Arrivals = (mpsc::UnboundedReceiver<Arrival>, JoinHandle<()>);

/// Reads frames as they come, and says when.
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
            let at = now_ms();
            if let Message::Text(text) = message
                && let Some(arrival) = arrival(&text, at)
                && sender.send(arrival).is_err()
            {
                return;
            }
        }
    });
    Ok((receiver, reading))
}

fn now_ms() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64() * 1000.0
}

fn arrival(text: &str, at: f64) -> Option<Arrival> {
    let frame: serde_json::Value = serde_json::from_str(text).ok()?;
    if frame["type"] != "event" {
        return None;
    }
    let written: jiff::Timestamp = frame["data"]["at"].as_str()?.parse().ok()?;
    Some(Arrival {
        order: frame["data"]["orderId"].as_i64()?,
        written: written.as_microsecond() as f64 / 1000.0,
        at,
    })
}

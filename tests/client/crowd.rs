//! A thousand applications in one Node.js that lose their server at once: they come back as fast
//! as the server lets people in, and no faster.

use super::rig::{ROOMS, Rig};
use crate::support::driver::{Driver, Environment};
use crate::support::proxy::Upstream;
use crate::support::{Process, eventually, metric};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const CROWD: usize = 1000;
/// Let in a second: few enough for a debug build on a loaded machine to keep up with.
const RATE: usize = 150;

/// When, in milliseconds, each line of the log with this message was written.
fn times(log: &str, message: &str) -> Vec<i64> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let said = lines.filter(|line| line["fields"]["message"] == message);
    let times = said.map(|line| {
        let time = line["timestamp"]
            .as_str()
            .expect("a time")
            .parse::<Timestamp>();
        time.expect("RFC 3339").as_millisecond()
    });
    times.collect()
}

/// By how much more were let in, up to any moment, than the rate and one burst allow from the
/// first arrival on. Who waits for the database longer than others only comes later than counted.
fn excess(opened: &[i64], first: i64) -> i64 {
    let (mut opened, rate) = (opened.to_vec(), RATE as i64);
    opened.sort_unstable();
    let allowed = opened.iter().map(|at| rate + (at - first) * rate / 1000);
    let most = (1..)
        .zip(allowed)
        .map(|(count, allowed)| count - allowed)
        .max();
    most.unwrap_or(0)
}

/// Everybody is back at this server: how they came in. Returns how many it has sent to wait.
async fn judge(process: &Process, how: &str) -> f64 {
    // Its last line may be on its way here, though whom it is about has been heard already.
    let (opened, told) = eventually("all are in its log", async || {
        let log = process.log();
        let (opened, told) = (times(&log, "opened"), times(&log, "refused"));
        (opened.len() >= CROWD).then_some((opened, told))
    })
    .await;
    // Of refusals its log has one a second.
    let refused = metric(process, "rowcast_refusals_total{code=\"overloaded\"}").await;
    let took = opened
        .iter()
        .max()
        .zip(opened.iter().min())
        .map_or(0, |(last, first)| last - first);
    let first = opened.iter().chain(&told).min().copied().unwrap_or(0);
    let excess = excess(&opened, first);
    eprintln!(
        "{how}: {} let in within {took} ms, {refused} sent to wait, excess {excess}",
        opened.len(),
    );
    // The first arrival may have waited for the database before its line was written.
    assert!(excess <= RATE as i64, "{excess} more than the rate allows");
    // Each was told when to come, and came then: nobody tries again and again.
    assert!(refused <= 2.0 * CROWD as f64, "{refused} attempts in vain");
    // A turn for each, up to a fifth later; twice as long where the machine is busy.
    let enough = i64::try_from(2 * 1200 * CROWD / RATE).expect("milliseconds");
    assert!(took <= enough, "{took} ms");
    refused
}

#[tokio::test]
async fn a_thousand_that_lose_the_server_at_once_come_back_below_its_rate() {
    let driver = Driver::start().await;
    let rate = RATE.to_string();
    let settings = [
        ("ROWCAST__LIMITS__CONNECTS_PER_SECOND", rate.as_str()),
        ("ROWCAST__LIMITS__CONNECTIONS_PER_USER", "20000"),
        ("ROWCAST__LIMITS__CONNECTIONS_PER_ADDRESS", "20000"),
        // A thousand answers on a busy machine take their time.
        ("ROWCAST__WEBSOCKET__HEARTBEAT_S", "25"),
        ("ROWCAST__WEBSOCKET__PING_S", "20"),
        ("ROWCAST__WEBSOCKET__PONG_TIMEOUT_S", "20"),
        ("ROWCAST__DATABASE__POOL_WAIT_MS", "10000"),
    ];
    let rig = Rig::start(&[&driver], &settings).await;
    let mut process = rig.serve().await;
    let door = rig.door(&process, 0).await;
    let crowd = driver.open(Environment::Node, &[]).await;
    let gather = json!([{
        "url": format!("http://{}", door.address),
        "rooms": ROOMS[..1],
        "issuer": driver.origin,
        "claims": { "sub": "1" },
        "count": CROWD,
        // As people have it: the client's own pauses.
        "options": { "storage": null, "transports": ["websocket"] },
    }]);
    crowd.ask("gather", gather).await;
    let everybody = async |generation: usize| {
        let asked = json!([generation]);
        crowd.ask("everybodyIsBack", asked).await;
    };
    everybody(1).await;
    let refused = judge(&process, "at first").await;
    assert!(refused > 0.0, "nobody had to wait");
    for (generation, signal) in [(2, Signal::SIGKILL), (3, Signal::SIGTERM)] {
        // There already: while nobody lets them in, each waits twice as long as before, and a server
        // that starts slowly would find some of them late.
        let next = rig.serve().await;
        door.lead_to(Upstream::Tcp(next.address.clone()));
        process.signal(signal);
        process.exited().await;
        process = next;
        everybody(generation).await;
        judge(&process, &format!("after {signal}")).await;
    }
    eventually("everybody has a seat", async || {
        (door.present() == CROWD).then_some(())
    })
    .await;
}

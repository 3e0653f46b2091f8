//! What was aimed at before anything was measured, and whether a run reaches it.

use super::axis::{figure, times};
use super::run::{Outcome, Run};
use super::servers::FLOOR;

pub struct Target {
    what: &'static str,
    scenario: &'static str,
    server: &'static str,
    measure: Measure,
    aim: Aim,
}

enum Measure {
    /// CPU for each delivered message, of the floor's.
    OfFloor,
    Is(fn(&Outcome) -> Option<f64>, &'static str),
}

enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

/// KiB of an idle connection with one subscription.
pub const IDLE_KIB: [(&str, f64); 3] = [
    ("rowcast-ws", 6.0),
    ("rowcast-sse", 8.0),
    ("rowcast-socketio", 14.0),
];
/// Of the floor's CPU for each delivered message.
pub const OF_FLOOR: f64 = 1.25;
/// Events a second.
pub const SUSTAINED: f64 = 15_000.0;
/// Subscribers, and the milliseconds of p50 and p99.
pub const LATENCY: [(&str, f64, f64); 2] = [("latency-100", 0.6, 1.5), ("latency-1000", 4.0, 12.0)];
/// Milliseconds until whoever was away, or lost the server, has all it missed.
pub const LATE: f64 = 3_000.0;

const P50: fn(&Outcome) -> Option<f64> = |found| Some(found.latency()?.p50);
const P95: fn(&Outcome) -> Option<f64> = |found| Some(found.latency()?.p95);
const P99: fn(&Outcome) -> Option<f64> = |found| Some(found.latency()?.p99);

/// All of them as rows of a table: what, aimed at, measured, whether reached.
pub fn judged(run: &Run) -> Vec<[String; 4]> {
    let rows = targets().into_iter().filter_map(|target| target.judge(run));
    rows.collect()
}

fn targets() -> Vec<Target> {
    use Aim::{AtLeast, AtMost};
    use Measure::{Is, OfFloor};
    let target = |what, scenario, server, measure, aim| Target {
        what,
        scenario,
        server,
        measure,
        aim,
    };
    let lost = || Is(|found| Some(found.missed as f64), "");
    let twice = || Is(|found| Some(found.duplicates as f64), "");
    let mut all = Vec::new();
    for (what, server) in [("WebSocket", "rowcast-ws"), ("SSE", "rowcast-sse")] {
        all.push(target(what, "room-1000", server, OfFloor, AtMost(OF_FLOOR)));
    }
    for (server, most) in IDLE_KIB {
        let what = server.trim_start_matches("rowcast-");
        let what = match what {
            "ws" => "WebSocket",
            "sse" => "SSE",
            _ => "Socket.IO",
        };
        all.push(target(
            what,
            "idle",
            server,
            Is(Outcome::kib_per_connection, " KiB"),
            AtMost(most),
        ));
    }
    for (scenario, p50, p99) in LATENCY {
        all.push(target(
            "p50",
            scenario,
            "rowcast-ws",
            Is(P50, " ms"),
            AtMost(p50),
        ));
        all.push(target(
            "p99",
            scenario,
            "rowcast-ws",
            Is(P99, " ms"),
            AtMost(p99),
        ));
    }
    let rate = Is(|found| found.events_per_second, "");
    all.push(target(
        "events a second",
        "sustained",
        "rowcast-ws",
        rate,
        AtLeast(SUSTAINED * 0.99),
    ));
    all.push(target("missed", "drops", "rowcast-ws", lost(), AtMost(0.0)));
    all.push(target(
        "delivered twice",
        "drops",
        "rowcast-ws",
        twice(),
        AtMost(0.0),
    ));
    all.push(target(
        "p99",
        "drops",
        "rowcast-ws",
        Is(P99, " ms"),
        AtMost(LATE),
    ));
    all.push(target(
        "missed",
        "avalanche",
        "rowcast-ws",
        lost(),
        AtMost(0.0),
    ));
    all.push(target(
        "p95",
        "avalanche",
        "rowcast-ws",
        Is(P95, " ms"),
        AtMost(LATE),
    ));
    all
}

impl Target {
    fn judge(&self, run: &Run) -> Option<[String; 4]> {
        let found = run.of(self.scenario, self.server)?;
        let (value, written): (f64, Box<dyn Fn(f64) -> String>) = match self.measure {
            Measure::OfFloor => {
                let floor = run.of(self.scenario, FLOOR)?.cpu_us_per_message?;
                (found.cpu_us_per_message? / floor, Box::new(times))
            }
            Measure::Is(of, unit) => (
                of(found)?,
                Box::new(move |value| format!("{}{unit}", figure(value))),
            ),
        };
        let (aim, reached) = match self.aim {
            Aim::AtMost(most) => (format!("at most {}", written(most)), value <= most),
            Aim::AtLeast(least) => (format!("at least {}", written(least)), value >= least),
        };
        let reached = if reached { "reached" } else { "**missed**" };
        let what = format!("{}: {}", subject(self.scenario), self.what);
        Some([what, aim, written(value), reached.to_owned()])
    }
}

fn subject(scenario: &str) -> &'static str {
    match scenario {
        "room-1000" => "CPU for each message, of the floor's",
        "idle" => "memory of an idle connection",
        "latency-100" => "latency, 100 subscribers",
        "latency-1000" => "latency, 1,000 subscribers",
        "sustained" => "sustained",
        "drops" => "connections that drop",
        _ => "avalanche",
    }
}

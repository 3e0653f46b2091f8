//! What was aimed at before anything was measured, and whether a run reaches it.

use super::aims::{
    IDLE_KIB, IN_TIME, LATE, LATENCY, OF_FLOOR, OF_QUICKEST, QUERIES, STEADY, SUSTAINED,
};
use super::axis::{tick, times};
use super::run::{Outcome, Run};
use super::servers::{FLOOR, others};

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
    /// Of that of the peer with the least.
    OfQuickest(fn(&Outcome) -> Option<f64>),
    Is(fn(&Outcome) -> Option<f64>, &'static str),
}

enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

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
    use Measure::{Is, OfFloor, OfQuickest};
    let mut all = Vec::new();
    let mut add = |what, scenario, server, measure, aim| {
        all.push(Target {
            what,
            scenario,
            server,
            measure,
            aim,
        });
    };
    let own = "rowcast-ws";
    for (what, server) in [("WebSocket", own), ("SSE", "rowcast-sse")] {
        add(what, "room-1000-calm", server, OfFloor, AtMost(OF_FLOOR));
    }
    for (server, most) in IDLE_KIB {
        let what = match server {
            "rowcast-ws" => "WebSocket",
            "rowcast-sse" => "SSE",
            _ => "Socket.IO",
        };
        let kib = Is(Outcome::kib_per_connection, " KiB");
        add(what, "idle", server, kib, AtMost(most));
    }
    for (scenario, p50, p99) in LATENCY {
        add("p50", scenario, own, Is(P50, " ms"), AtMost(p50));
        add("p99", scenario, own, Is(P99, " ms"), AtMost(p99));
    }
    for (scenario, p50, p99) in OF_QUICKEST {
        for (what, delay, most) in [
            ("p50, of the quickest peer's", P50, p50),
            ("p99, of the quickest peer's", P99, p99),
        ] {
            add(what, scenario, own, OfQuickest(delay), AtMost(most));
        }
    }
    let rate = Is(|found| found.events_per_second, "");
    let all_in_time = AtLeast(SUSTAINED * IN_TIME);
    add("events a second", "sustained", own, rate, all_in_time);
    let what = "delay at the end, of that at the beginning";
    let growth = Is(Outcome::lag_growth, " times");
    add(what, "sustained", own, growth, AtMost(STEADY));
    for scenario in ["sustained", "drops", "avalanche"] {
        let wrong = |found: &Outcome| Some((found.missed + found.duplicates) as f64);
        let wrong = Is(wrong, " events");
        add("missed or twice", scenario, own, wrong, AtMost(0.0));
    }
    add("p99", "drops", own, Is(P99, " ms"), AtMost(LATE));
    let what = "p95 until all is there";
    add(what, "avalanche", own, Is(P95, " ms"), AtMost(LATE));
    let what = "queries for 100 clients";
    let asked = Is(Outcome::queries_per_hundred, "");
    add(what, "avalanche", own, asked, AtMost(QUERIES));
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
            Measure::OfQuickest(delay) => {
                let peers = others().filter(|one| !one.is_floor());
                let delays = peers.filter_map(|one| delay(run.of(self.scenario, one.name)?));
                let least = delays.min_by(f64::total_cmp)?;
                (delay(found)? / least, Box::new(times))
            }
            Measure::Is(of, unit) => (
                of(found)?,
                Box::new(move |value| format!("{}{unit}", tick(value))),
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
        "room-1000-calm" => "CPU for each message, of the floor's",
        "idle" => "memory of an idle connection",
        "latency-100" => "latency, 100 subscribers",
        "latency-1000" => "latency, 1,000 subscribers",
        "sustained" => "sustained",
        "drops" => "connections that drop",
        _ => "avalanche",
    }
}

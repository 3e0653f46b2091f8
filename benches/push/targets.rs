//! What Rowcast is to reach, held against what was measured in this run.
//! Hands over verdicts. It must never judge one run by another's numbers.

use crate::report::{Latency, Measured};
use crate::yardstick::verdict::Verdict;
use aims::{IDLE_KIB, IN_TIME, LATE, LATENCY, OF_FLOOR, OF_QUICKEST, QUERIES, STEADY, SUSTAINED};

#[path = "../yardstick/targets.rs"]
mod aims;

const TRANSPORTS: [&str; 3] = ["rowcast-ws", "rowcast-sse", "rowcast-socketio"];

/// All targets of which something was measured.
pub fn judge(results: &[Measured]) -> Vec<Verdict> {
    let targets = Targets { results };
    let mut verdicts = targets.cost();
    verdicts.extend(targets.memory());
    verdicts.extend(targets.delay());
    verdicts.extend(targets.sustained());
    for server in TRANSPORTS {
        verdicts.extend(targets.returning(server));
    }
    verdicts
}

struct Targets<'a> {
    results: &'a [Measured],
}

impl Targets<'_> {
    fn find(&self, scenario: &str, server: &str) -> Option<&Measured> {
        let mut all = self.results.iter();
        all.find(|of| of.scenario == scenario && of.server == server)
    }

    fn cost(&self) -> Vec<Verdict> {
        let cpu = |server| self.find("room-1000-calm", server)?.cpu_us_per_message;
        let ratio = |server| Some(cpu(server)? / cpu("floor")?);
        let verdict = |server: &'static str| {
            let target = format!("{server}, 1,000 subscribers: CPU of the floor, times");
            at_most(target, ratio(server), OF_FLOOR)
        };
        ["rowcast-ws", "rowcast-sse"]
            .into_iter()
            .filter_map(verdict)
            .collect()
    }

    fn memory(&self) -> Vec<Verdict> {
        let verdict = |(server, bound): (&str, f64)| {
            let of = self.find("idle", server);
            let kib = of.map(|of| of.rss_bytes_per_connection / 1024.0);
            at_most(format!("{server}, KiB of an idle connection"), kib, bound)
        };
        IDLE_KIB.into_iter().filter_map(verdict).collect()
    }

    fn delay(&self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for (scenario, p50, p99) in LATENCY {
            let of = self.find(scenario, "rowcast-ws");
            let of = of.and_then(|of| of.latency_ms);
            let target = |share| format!("rowcast-ws, {scenario}, {share} in ms");
            verdicts.extend(at_most(target("p50"), of.map(|of| of.p50), p50));
            verdicts.extend(at_most(target("p99"), of.map(|of| of.p99), p99));
        }
        for (scenario, p50, p99) in OF_QUICKEST {
            let target = |share| format!("rowcast-ws, {scenario}, {share} of the quickest peer's");
            let quick = |of: fn(Latency) -> f64| self.of_quickest(scenario, of);
            verdicts.extend(at_most(target("p50"), quick(|of| of.p50), p50));
            verdicts.extend(at_most(target("p99"), quick(|of| of.p99), p99));
        }
        verdicts
    }

    /// Rowcast's delay, divided by that of the peer with the least.
    fn of_quickest(&self, scenario: &str, delay: fn(Latency) -> f64) -> Option<f64> {
        let peers = self.results.iter().filter(|of| {
            of.scenario == scenario && of.server != "floor" && !TRANSPORTS.contains(&of.server)
        });
        let delays = peers.filter_map(|of| Some(delay(of.latency_ms?)));
        let own = self.find(scenario, "rowcast-ws")?.latency_ms?;
        Some(delay(own) / delays.min_by(f64::total_cmp)?)
    }

    fn sustained(&self) -> Vec<Verdict> {
        let Some(of) = self.find("sustained", "rowcast-ws") else {
            return Vec::new();
        };
        let rate = of.events_per_second;
        let least = SUSTAINED * IN_TIME;
        let sustained = Verdict {
            target: format!("rowcast-ws, events a second at least {least}, and all of them"),
            measured: format!("{rate:.0}, {} missed", of.missed),
            reached: rate >= least && of.missed == 0,
        };
        let growth = of.lag_growth();
        let grown = "rowcast-ws, the same, median delay of the last tenth to the first, times";
        [Some(sustained), at_most(grown.to_owned(), growth, STEADY)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Those who lose their connection, one by one or all at once.
    fn returning(&self, server: &str) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for scenario in ["drops", "avalanche"] {
            let of = self.find(scenario, server);
            let wrong = of.map(|of| (of.missed + of.duplicates) as f64);
            let target = format!("{server}, {scenario}, events missed or twice");
            verdicts.extend(at_most(target, wrong, 0.0));
        }
        let late = self.find("drops", server).and_then(|of| of.latency_ms);
        let target = format!("{server}, drops, p99 in ms");
        verdicts.extend(at_most(target, late.map(|of| of.p99), LATE));
        let avalanche = self.find("avalanche", server);
        let back = avalanche.and_then(|of| of.extra.get("back_ms")?.get("p95")?.as_f64());
        let target = format!("{server}, avalanche, p95 until back with all in ms");
        verdicts.extend(at_most(target, back, LATE));
        let asked = avalanche.and_then(|of| {
            let hundreds = of.connections as f64 / 100.0;
            Some(of.queries? as f64 / hundreds)
        });
        let target = format!("{server}, avalanche, statements for 100 clients");
        verdicts.extend(at_most(target, asked, QUERIES));
        verdicts
    }
}

fn at_most(target: String, measured: Option<f64>, bound: f64) -> Option<Verdict> {
    let measured = measured?;
    Some(Verdict {
        target: format!("{target} at most {}", (bound * 100.0).round() / 100.0),
        measured: format!("{measured:.2}"),
        reached: measured <= bound,
    })
}

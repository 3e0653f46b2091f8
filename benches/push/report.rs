//! What a run has found: one JSON file for whoever draws or compares, a table for whoever waits.
//! Hands over both. It must never hold a number that was not measured in this run.

use crate::Failure;
use crate::crowd::{Happenings, PARTS, Tally};
use crate::pages::run::Latency;
use crate::scenario::Scenario;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Above [`Measured::line`].
pub const HEAD: &str = "\
scenario           server            delivered   missed twice  µs/msg  calls/msg   p50 ms   p99 ms KiB/conn";

/// One server in one scenario. What was not measured there is null.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub scenario: &'static str,
    pub server: &'static str,
    pub connections: usize,
    pub rooms: u64,
    pub rate: u64,
    pub seconds: f64,
    pub expected: u64,
    pub delivered: u64,
    pub duplicates: u64,
    pub missed: u64,
    pub cpu_seconds: f64,
    pub cpu_us_per_message: Option<f64>,
    pub syscalls_per_message: Option<f64>,
    pub latency_ms: Option<Latency>,
    pub rss_bytes: u64,
    pub pss_bytes: u64,
    pub rss_bytes_per_connection: f64,
    pub events_per_second: f64,
    /// The median delay of the window's last tenth.
    pub lag_ms_end: Option<f64>,
    /// Statements that the server sent to the database, looks at the log aside.
    pub queries: Option<u64>,
    pub extra: Map<String, Value>,
}

/// Milliseconds; none of nothing.
pub fn latency(of: &Histogram<u64>) -> Option<Latency> {
    let at = |share: f64| of.value_at_quantile(share) as f64 / 1000.0;
    (!of.is_empty()).then(|| Latency {
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        max: of.max() as f64 / 1000.0,
    })
}

impl Measured {
    pub fn new(scenario: &Scenario, server: &'static str) -> Self {
        Self {
            scenario: scenario.name,
            server,
            connections: scenario.connections,
            rooms: scenario.rooms + scenario.silent_rooms,
            rate: scenario.rate,
            seconds: 0.0,
            expected: 0,
            delivered: 0,
            duplicates: 0,
            missed: 0,
            cpu_seconds: 0.0,
            cpu_us_per_message: None,
            syscalls_per_message: None,
            latency_ms: None,
            rss_bytes: 0,
            pss_bytes: 0,
            rss_bytes_per_connection: 0.0,
            events_per_second: 0.0,
            lag_ms_end: None,
            queries: None,
            extra: Map::new(),
        }
    }

    /// Notes what arrived.
    pub fn count(&mut self, tally: &Tally, happenings: &Happenings, expected: u64) {
        self.expected = expected;
        self.delivered = tally.delivered;
        self.duplicates = tally.duplicates;
        self.missed = expected.saturating_sub(tally.delivered);
        self.latency_ms = latency(&tally.latency);
        self.lag_ms_end = latency(&tally.parts[PARTS - 1]).map(|of| of.p50);
        let tenths = tally.parts.iter().map(|of| latency(of).map(|of| of.p50));
        self.note("p50_ms_by_tenths", json!(tenths.collect::<Vec<_>>()));
        if tally.strays > 0 {
            self.note("strays", json!(tally.strays));
        }
        let told = [
            ("reconnects", happenings.reconnects),
            ("told_to_wait", happenings.told),
            ("lagged", happenings.lagged),
            ("gaps", happenings.gaps),
        ];
        for (name, times) in told.into_iter().filter(|(_, times)| *times > 0) {
            self.note(name, json!(times));
        }
        if let Some(back) = latency(&happenings.back) {
            self.note("back_ms", json!(back));
        }
    }

    pub fn note(&mut self, name: &str, value: Value) {
        self.extra.insert(name.to_owned(), value);
    }

    pub fn line(&self) -> String {
        let number = |value: Option<f64>, places: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.places$}"))
        };
        let (p50, p99) = self.latency_ms.map(|of| (of.p50, of.p99)).unzip();
        format!(
            "{:18} {:16} {:>10} {:>8} {:>5} {:>7} {:>10} {:>8} {:>8} {:>8}",
            self.scenario,
            self.server,
            self.delivered,
            self.missed,
            self.duplicates,
            number(self.cpu_us_per_message, 2),
            number(self.syscalls_per_message, 3),
            number(p50, 2),
            number(p99, 2),
            number(Some(self.rss_bytes_per_connection / 1024.0), 1),
        )
    }
}

/// Writes the file, and makes the folder that it lies in.
pub fn write(path: &Path, machine: &Value, results: &[Measured]) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let run = json!({ "machine": machine, "results": results });
    std::fs::write(path, serde_json::to_string_pretty(&run)? + "\n")?;
    Ok(())
}

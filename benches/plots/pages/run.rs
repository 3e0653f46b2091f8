//! The file of a run, as `make bench` writes it: its machine, and a result for each scenario and
//! server. It must never guess: what the file lacks stays absent.

use super::Failure;
use super::servers::FLOOR;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[derive(Debug, Deserialize)]
pub struct Run {
    pub machine: Machine,
    pub results: Vec<Outcome>,
}

#[derive(Debug, Deserialize)]
pub struct Machine {
    pub cores: u32,
    pub cpu: String,
    pub kernel: String,
    pub memory_bytes: u64,
    pub postgres: String,
    pub date: String,
    /// Absent where what was measured is no working copy.
    pub commit: Option<String>,
}

/// What one server did in one scenario. What a scenario doesn't measure is absent.
#[derive(Debug, Deserialize)]
pub struct Outcome {
    pub scenario: String,
    pub server: String,
    #[serde(default)]
    pub connections: u64,
    /// Messages that subscribers had to receive.
    #[serde(default)]
    pub expected: u64,
    #[serde(default)]
    pub duplicates: u64,
    #[serde(default)]
    pub missed: u64,
    pub cpu_us_per_message: Option<f64>,
    pub syscalls_per_message: Option<f64>,
    pub latency_ms: Option<Latency>,
    pub rss_bytes_per_connection: Option<f64>,
    pub pss_bytes: Option<f64>,
    pub events_per_second: Option<f64>,
    pub lag_ms_end: Option<f64>,
    pub cpu_seconds: Option<f64>,
    pub seconds: Option<f64>,
    /// Database queries during the scenario.
    pub queries: Option<f64>,
    #[serde(default)]
    pub extra: Extra,
}

#[derive(Debug, Default, Deserialize)]
pub struct Extra {
    /// From the loss of a connection until it was live again and had all that it missed.
    pub back_ms: Option<Latency>,
    /// Median latency in each tenth of the scenario.
    #[serde(default)]
    pub p50_ms_by_tenths: Vec<Option<f64>>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Run {
    /// # Errors
    /// A file that can't be read, is no run, or has two results of one server in one scenario.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// # Errors
    /// As of [`Run::read`].
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut run: Self = serde_json::from_str(text)?;
        run.results.retain_mut(Outcome::compares);
        let mut seen = BTreeSet::new();
        for found in &run.results {
            if !seen.insert((&found.scenario, &found.server)) {
                return Err(
                    format!("{} of {} is there twice", found.scenario, found.server).into(),
                );
            }
        }
        Ok(run)
    }

    pub fn of(&self, scenario: &str, server: &str) -> Option<&Outcome> {
        let mut found = self.results.iter();
        found.find(|found| found.scenario == scenario && found.server == server)
    }

    /// Who measured what on what: under each plot.
    pub fn source(&self) -> String {
        let machine = &self.machine;
        format!(
            "make bench on {}: {} cores, {}, PostgreSQL {}.",
            machine.when(),
            machine.cores,
            machine.cpu,
            machine.postgres
        )
    }
}

impl Machine {
    /// The day, and what was measured.
    pub fn when(&self) -> String {
        let day = self.date.parse::<jiff::Timestamp>();
        let day = day.map(|day| day.strftime("%Y-%m-%d").to_string());
        let day = day.unwrap_or_else(|_| self.date.clone());
        match &self.commit {
            Some(commit) => format!("{day}, commit {commit}"),
            None => day,
        }
    }
}

impl Outcome {
    /// The floor is compared by CPU alone: it keeps nothing, and its events come from no database.
    fn compares(&mut self) -> bool {
        if self.server == FLOOR {
            self.latency_ms = None;
            self.rss_bytes_per_connection = None;
        }
        self.server != FLOOR || (self.scenario != "idle" && !self.scenario.starts_with("latency"))
    }

    /// From the statement to the subscriber; after a restart, from the loss of the connection until
    /// everything missed is there.
    pub fn latency(&self) -> Option<Latency> {
        let back = self.extra.back_ms.filter(|_| self.scenario == "avalanche");
        back.or(self.latency_ms)
    }

    /// What the scenario's name ends with: connections or rooms.
    pub fn size(&self) -> f64 {
        let last = self.scenario.rsplit('-').next().unwrap_or_default();
        last.parse().unwrap_or_default()
    }

    /// Microseconds for each delivered message.
    pub fn cpu(&self) -> Option<f64> {
        self.cpu_us_per_message
    }

    /// KiB of resident memory that a connection adds.
    pub fn kib_per_connection(&self) -> Option<f64> {
        Some(self.rss_bytes_per_connection? / 1024.0)
    }

    /// How many times later the last tenth came than the first.
    pub fn lag_growth(&self) -> Option<f64> {
        let tenths = &self.extra.p50_ms_by_tenths;
        Some((*tenths.last()?)? / (*tenths.first()?)?)
    }

    /// The share of what had to arrive that did, in percent; twice the same counts once.
    pub fn delivered_percent(&self) -> Option<f64> {
        let lost = self.missed.min(self.expected);
        (self.expected > 0).then(|| 100.0 * (self.expected - lost) as f64 / self.expected as f64)
    }

    /// Milliseconds of CPU in a second of doing nothing.
    pub fn idle_cpu_ms(&self) -> Option<f64> {
        Some(1000.0 * self.cpu_seconds? / self.seconds.filter(|seconds| *seconds > 0.0)?)
    }

    pub fn queries_per_hundred(&self) -> Option<f64> {
        Some(100.0 * self.queries? / (self.connections.max(1) as f64))
    }
}

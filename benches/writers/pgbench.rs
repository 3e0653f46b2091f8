//! One run of pgbench: prepared statements over the local socket, for a number of seconds.
//! Hands over throughput and latencies. It must never outlive its seconds.

use crate::stage::{Place, Stage};
use crate::yardstick::cluster::PATIENCE;
use crate::{Failure, quantile};
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

/// Share of the transactions whose latency is logged: enough for a 99th percentile, and cheap.
const SAMPLED: &str = "0.2";

/// Who writes or reads what.
pub struct Load<'a> {
    pub place: Place,
    /// One or more scripts, each run equally often.
    pub scripts: &'a [String],
    pub clients: u32,
    pub seconds: u32,
}

/// What came of it.
pub struct Outcome {
    /// Transactions a second, without the time to connect.
    pub tps: f64,
    /// Sampled latencies in milliseconds, for each script.
    pub latencies: Vec<Vec<f64>>,
}

impl Outcome {
    /// Of the first script, in milliseconds.
    pub fn latency(&self, share: f64) -> f64 {
        self.latencies
            .first()
            .map_or(0.0, |of_first| quantile(of_first, share))
    }
}

/// Inserts one row for one of 100,000 users.
pub fn insert_into(table: &str) -> String {
    format!("\\set u random(1, 100000)\ninsert into shop.{table} (user_id) values ('u' || :u);\n")
}

/// Runs it to its end.
///
/// # Errors
/// When pgbench is missing, when one of its clients fails, or when it does not end by itself.
pub async fn run(stage: &Stage, load: Load<'_>) -> Result<Outcome, Failure> {
    let place = tempfile::tempdir()?;
    let prefix = place.path().join("log");
    let mut command = Command::new(stage.pgbench()?);
    command.args(["--no-vacuum", "--protocol=prepared", "--log"]);
    command.arg(format!("--sampling-rate={SAMPLED}"));
    command.arg(format!("--log-prefix={}", prefix.display()));
    command.arg(format!("--client={}", load.clients));
    // pgbench wants no more threads than clients.
    command.arg(format!("--jobs={}", load.clients.min(2)));
    command.arg(format!("--time={}", load.seconds));
    for (number, script) in load.scripts.iter().enumerate() {
        let file = place.path().join(format!("{number}.sql"));
        tokio::fs::write(&file, script).await?;
        command.arg("--file").arg(file);
    }
    command.arg(stage.url(load.place)).kill_on_drop(true);
    let patience = PATIENCE + Duration::from_secs(load.seconds.into());
    let output = tokio::time::timeout(patience, command.output()).await??;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("pgbench failed: {error}").into());
    }
    let tps = said
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
        .ok_or_else(|| format!("pgbench did not say how fast it was: {said}"))?;
    let latencies = read_logs(place.path(), load.scripts.len())?;
    Ok(Outcome { tps, latencies })
}

/// A line is: client, transaction, latency in µs, script, and when.
fn read_logs(directory: &Path, scripts: usize) -> Result<Vec<Vec<f64>>, Failure> {
    let mut latencies = vec![Vec::new(); scripts];
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("log") {
            continue;
        }
        for line in std::fs::read_to_string(entry.path())?.lines() {
            let mut fields = line.split(' ').skip(2);
            let latency = fields.next().and_then(|field| field.parse::<f64>().ok());
            let script = fields.next().and_then(|field| field.parse::<usize>().ok());
            let of_script = script.and_then(|script| latencies.get_mut(script));
            if let (Some(latency), Some(of_script)) = (latency, of_script) {
                of_script.push(latency / 1000.0);
            }
        }
    }
    Ok(latencies)
}

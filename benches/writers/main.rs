//! `make bench-writers`: what Rowcast costs those who write, against no trigger at all and against
//! a hand-written trigger with `pg_notify`, in one table.
//! Hands over to `stage` (a throwaway durable PostgreSQL with a live service), `pgbench` (the load),
//! `writers` (single rows), `probe` (commit to socket), `bulk` and `neighbour` (what is no single row).
//! It must never touch a server that it did not start, and never judge numbers of two runs.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for people, who see where it can't speak"
)]

mod bulk;
mod neighbour;
mod pgbench;
mod probe;
mod stage;
mod verdict;
mod writers;
#[path = "../yardstick/mod.rs"]
mod yardstick;

use clap::Parser;
use stage::Stage;
use std::process::ExitCode;
use verdict::Verdict;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is measured, and for how long.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "bench-writers",
    about = "Measures what Rowcast costs those who write."
)]
pub struct Plan {
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Rounds; each measures every variant once, and the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Numbers of concurrent writers.
    #[arg(long, value_delimiter = ',', default_value = "1,8,16,32")]
    writers: Vec<u32>,
    /// Parts to run.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "writers,slow-disk,bulk,latency,neighbour"
    )]
    parts: Vec<Part>,
    /// Microseconds that every flush takes longer on the slow disk.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    flush_us: u32,
    /// What cargo bench adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Part {
    Writers,
    SlowDisk,
    Bulk,
    Latency,
    Neighbour,
}

#[tokio::main]
async fn main() -> ExitCode {
    let plan = Plan::parse();
    match run(&plan).await {
        Ok(verdicts) => {
            verdict::tell(&verdicts);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-writers: {}", yardstick::reasons(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: &Plan) -> Result<Vec<Verdict>, Failure> {
    let stage = Stage::build().await?;
    // Before anything is measured for nothing.
    stage.pgbench()?;
    println!("{}\n", stage.describe().await?);
    let mut verdicts = Vec::new();
    for part in &plan.parts {
        verdicts.extend(match part {
            Part::Writers => writers::measure(&stage, plan).await?,
            Part::SlowDisk => writers::measure_on_slow_disk(&stage, plan).await?,
            Part::Bulk => bulk::measure(&stage, plan).await?,
            Part::Latency => probe::measure(&stage, plan).await?,
            Part::Neighbour => neighbour::measure(&stage, plan).await?,
        });
    }
    stage.end().await;
    Ok(verdicts)
}

/// The median; of nothing, 0.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this share of the values lies; of nothing, 0.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * share).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

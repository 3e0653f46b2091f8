//! Writers of single rows: throughput and commit latency, variant by variant, round by round.
//! Hands over verdicts on 16 writers. It must never compare numbers of different rounds' machines:
//! every round measures all variants.

use crate::pgbench::{self, Load};
use crate::stage::{Place, Stage};
use crate::{Failure, Plan, Verdict, median};

/// Name, database, table.
const VARIANTS: [(&str, Place, &str); 5] = [
    ("no trigger", Place::Served, "none"),
    ("row trigger, pg_notify", Place::Served, "notify"),
    ("least log, nobody reads it", Place::Silent, "least"),
    ("log without doorbell", Place::Silent, "rowcast"),
    ("Rowcast", Place::Served, "rowcast"),
];

/// The number of writers that the targets speak of.
const JUDGED: u32 = 16;

#[derive(Default)]
struct Series {
    tps: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

pub async fn measure(stage: &Stage, plan: &Plan) -> Result<Vec<Verdict>, Failure> {
    table(stage, plan, &plan.writers, "").await
}

/// The same of as many writers as the targets speak of, on a disk that is behind a network.
pub async fn measure_on_slow_disk(stage: &Stage, plan: &Plan) -> Result<Vec<Verdict>, Failure> {
    let micros = plan.flush_us;
    stage.delay_flushes(micros).await?;
    let disk = format!(", each flush {micros} µs later");
    let verdicts = table(stage, plan, &[JUDGED], &disk).await?;
    stage.delay_flushes(0).await?;
    Ok(verdicts)
}

async fn table(
    stage: &Stage,
    plan: &Plan,
    writers: &[u32],
    disk: &str,
) -> Result<Vec<Verdict>, Failure> {
    println!(
        "Single-row inserts, each a transaction{disk}; median of {} rounds of {} s",
        plan.rounds, plan.seconds
    );
    println!(
        "{:>7}  {:26} {:>8} {:>14} {:>14} {:>9} {:>9}",
        "writers", "", "tps", "of no trigger", "of pg_notify", "p50 ms", "p99 ms"
    );
    let mut verdicts = Vec::new();
    for &clients in writers {
        let series = rounds(stage, plan, clients).await?;
        let tps: Vec<f64> = series.iter().map(|of| median(&of.tps)).collect();
        for (((name, ..), of), &speed) in VARIANTS.iter().zip(&series).zip(&tps) {
            println!(
                "{clients:>7}  {name:26} {speed:>8.0} {:>14.2} {:>14.2} {:>9.2} {:>9.2}",
                speed / tps[0],
                speed / tps[1],
                median(&of.p50),
                median(&of.p99)
            );
        }
        if clients == JUDGED {
            verdicts.push(at_least(0.65, tps[4] / tps[0], "of no trigger", disk));
            verdicts.push(at_least(3.0, tps[4] / tps[1], "of pg_notify", disk));
        }
    }
    println!();
    Ok(verdicts)
}

async fn rounds(stage: &Stage, plan: &Plan, clients: u32) -> Result<Vec<Series>, Failure> {
    let mut series: Vec<Series> = VARIANTS.iter().map(|_| Series::default()).collect();
    let served = stage.client(Place::Served).await?;
    let silent = stage.client(Place::Silent).await?;
    for round in 0..plan.rounds as usize {
        for step in 0..VARIANTS.len() {
            // Another one begins each time, or the first would always pay for the warming up.
            let variant = (round + step) % VARIANTS.len();
            let (_, place, table) = VARIANTS[variant];
            let scripts = [pgbench::insert_into(table)];
            let load = Load {
                place,
                scripts: &scripts,
                clients,
                seconds: plan.seconds,
            };
            let outcome = pgbench::run(stage, load).await?;
            series[variant].tps.push(outcome.tps);
            series[variant].p50.push(outcome.latency(0.5));
            series[variant].p99.push(outcome.latency(0.99));
        }
        for client in [&served, &silent] {
            // All of them, or one variant would pay for rows that another has no longer.
            client
                .batch_execute(
                    "truncate shop.none, shop.notify, shop.least, shop.kept, shop.rowcast",
                )
                .await?;
        }
    }
    Ok(series)
}

fn at_least(bound: f64, ratio: f64, of_what: &str, disk: &str) -> Verdict {
    Verdict {
        target: format!("{JUDGED} writers{disk}, at least {bound} {of_what}"),
        measured: format!("{ratio:.2}"),
        reached: ratio >= bound,
    }
}

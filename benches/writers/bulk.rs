//! One statement that changes 100,000 rows.
//! Hands over a verdict. It must never leave one variant the dead rows of another.

use crate::stage::{Place, Stage};
use crate::{Failure, Plan, Verdict, median};
use std::time::Instant;
use tokio_postgres::Client;

const ROWS: u32 = 100_000;

/// It is over in less than a second: more rounds than the others have.
const TIMES: u32 = 2;

const VARIANTS: [(&str, Place, &str); 4] = [
    ("no trigger", Place::Served, "none"),
    ("row trigger, pg_notify", Place::Served, "notify"),
    ("log without doorbell", Place::Silent, "rowcast"),
    ("Rowcast, each row an event", Place::Served, "rowcast"),
];

/// Above 10,000 events of a statement each room gets one `reset` instead; the variants have it off.
const BY_DEFAULT: &str = "select rowcast.attach(a.relation, a.operation, a.query) \
     from rowcast.attached a where a.relation = 'shop.rowcast'::regclass and a.operation = 'update'";

pub async fn measure(stage: &Stage, plan: &Plan) -> Result<Vec<Verdict>, Failure> {
    let served = stage.client(Place::Served).await?;
    let silent = stage.client(Place::Silent).await?;
    let client = |place| match place {
        Place::Served => &served,
        Place::Silent => &silent,
    };
    let mut times = vec![Vec::new(); VARIANTS.len()];
    for (_, place, table) in VARIANTS {
        prepare(client(place), table).await?;
    }
    for round in 0..(plan.rounds * TIMES) as usize {
        for step in 0..VARIANTS.len() {
            let variant = (round + step) % VARIANTS.len();
            let (_, place, table) = VARIANTS[variant];
            times[variant].push(update(client(place), table).await?);
        }
    }
    println!(
        "One update of {ROWS} rows; median of {}",
        plan.rounds * TIMES
    );
    let medians: Vec<f64> = times.iter().map(|of| median(of)).collect();
    for ((name, ..), &time) in VARIANTS.iter().zip(&medians) {
        let ratio = time / medians[0];
        println!("         {name:36} {time:>8.0} ms {ratio:>11.2} times");
    }
    served.batch_execute(BY_DEFAULT).await?;
    let mut resets = Vec::new();
    for _ in 0..plan.rounds * TIMES {
        resets.push(update(&served, "rowcast").await?);
    }
    let (time, name) = (median(&resets), "Rowcast, by default one reset a room");
    println!(
        "         {name:36} {time:>8.0} ms {:>11.2} times",
        time / medians[0]
    );
    println!();
    for (_, place, table) in VARIANTS {
        let empty = format!("truncate shop.{table}");
        client(place).batch_execute(&empty).await?;
    }
    let ratio = medians[3] / medians[0];
    Ok(vec![Verdict {
        target: format!("{ROWS} rows in one update, at most 2 times the time without triggers"),
        measured: format!("{ratio:.2}"),
        reached: ratio <= 2.0,
    }])
}

async fn prepare(client: &Client, table: &str) -> Result<(), Failure> {
    let fill = format!(
        "truncate shop.{table};
        insert into shop.{table} (user_id) select 'u' || i from generate_series(1, {ROWS}) i;"
    );
    client.batch_execute(&fill).await?;
    Ok(())
}

/// Its time in milliseconds, with its commit.
async fn update(client: &Client, table: &str) -> Result<f64, Failure> {
    let tidy = format!("vacuum analyze shop.{table}");
    client.batch_execute(&tidy).await?;
    client.batch_execute("checkpoint").await?;
    let change = format!(
        "update shop.{table} set status = case status when 'new' then 'paid' else 'new' end"
    );
    let start = Instant::now();
    client.batch_execute(&change).await?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

//! What a legacy transaction of 10,000 statements that stays open costs everybody else.
//! Hands over a verdict. It must never commit that transaction: the next case begins clean.

use crate::pgbench::{self, Load, Outcome};
use crate::stage::{Place, Stage};
use crate::{Failure, Plan, Verdict, median};

const STATEMENTS: u32 = 10_000;

/// Each of a transaction of its own: more than PostgreSQL keeps the parents of in memory (65,536).
const ROWS: u32 = 100_000;

const CLIENTS: u32 = 8;

/// Name, and the table that the open transaction has written to.
const CASES: [(&str, Option<&str>); 4] = [
    ("no open transaction", None),
    ("open, no trigger", Some("none")),
    ("open, Rowcast", Some("rowcast")),
    ("open, block each (wrong)", Some("wrong")),
];

pub async fn measure(stage: &Stage, plan: &Plan) -> Result<Vec<Verdict>, Failure> {
    // Rows of many transactions younger than the open one: of each, a reader asks whose it is.
    let read = format!(
        "select sum(length(n.user_id)) from shop.neighbour n where n.order_id = any (array(
          select 1 + floor(random() * {ROWS})::bigint from generate_series(1, 50)));"
    );
    let scripts = [
        read.replace('\n', " ") + "\n",
        pgbench::insert_into("neighbour"),
    ];
    let (mut reads, mut writes) = (vec![Vec::new(); CASES.len()], vec![Vec::new(); CASES.len()]);
    for round in 0..plan.rounds as usize {
        for step in 0..CASES.len() {
            let case = (round + step) % CASES.len();
            let outcome = beside(stage, plan, CASES[case].1, &scripts).await?;
            reads[case].push(mean(&outcome, 0));
            writes[case].push(mean(&outcome, 1));
        }
    }
    println!("Beside an open transaction of {STATEMENTS} statements: {CLIENTS} others, mean ms");
    let of = |series: &[Vec<f64>]| -> Vec<f64> { series.iter().map(|one| median(one)).collect() };
    let (reads, writes) = (of(&reads), of(&writes));
    for (case, (name, _)) in CASES.iter().enumerate() {
        println!(
            "         {name:24} read {:>7.3} ({:.2} times)   write {:>7.3} ({:.2} times)",
            reads[case],
            reads[case] / reads[0],
            writes[case],
            writes[case] / writes[0]
        );
    }
    println!();
    let worst = f64::max(reads[2] / reads[0], writes[2] / writes[0]);
    Ok(vec![Verdict {
        target: format!(
            "{STATEMENTS} statements in an open transaction slow others by at most 10 %"
        ),
        measured: format!("{:+.0} %", (worst - 1.0) * 100.0),
        reached: worst <= 1.10,
    }])
}

async fn beside(
    stage: &Stage,
    plan: &Plan,
    table: Option<&str>,
    scripts: &[String],
) -> Result<Outcome, Failure> {
    let legacy = stage.client(Place::Served).await?;
    legacy
        .batch_execute("truncate shop.neighbour restart identity")
        .await?;
    if let Some(table) = table {
        let busy = format!(
            "begin;
            do $$ begin for i in 1..{STATEMENTS} loop
              insert into shop.{table} (user_id) values ('u' || i);
            end loop; end $$;"
        );
        legacy.batch_execute(&busy).await?;
    }
    // What is read, written after it; only this preparation skips the flush.
    let others = stage.client(Place::Served).await?;
    others.batch_execute("set synchronous_commit = off").await?;
    let fill = format!(
        "do $$ begin for i in 1..{ROWS} loop
          insert into shop.neighbour (user_id) values ('u' || i); commit;
        end loop; end $$"
    );
    others.batch_execute(&fill).await?;
    let load = Load {
        place: Place::Served,
        scripts,
        clients: CLIENTS,
        seconds: plan.seconds,
    };
    let outcome = pgbench::run(stage, load).await?;
    if table.is_some() {
        legacy.batch_execute("rollback").await?;
    }
    Ok(outcome)
}

fn mean(outcome: &Outcome, script: usize) -> f64 {
    let latencies = &outcome.latencies[script];
    latencies.iter().sum::<f64>() / latencies.len().max(1) as f64
}

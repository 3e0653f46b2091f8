//! The tables of docs/performance.md, in Markdown: what the plots show, exactly, and all ratios.

use super::axis::{figure, tick, times};
use super::run::{Outcome, Run};
use super::servers::{FLOOR, SERVERS, Server, others, rowcasts};
use super::targets::judged;

/// All tables, as the name of their markers and their text.
pub fn tables(run: &Run) -> Vec<(&'static str, String)> {
    vec![
        ("machine", machine(run)),
        ("targets", targets(run)),
        ("ratios", ratios(run)),
        ("cpu", cpu(run)),
        ("memory", memory(run)),
        ("latency", latency(run)),
        ("storms", storms(run)),
        ("sustained", sustained(run)),
        (
            "connections",
            scale(
                run,
                "connections",
                &["100", "1000", "10000", "18000"],
                "scale-",
            ),
        ),
        (
            "rooms",
            scale(run, "rooms", &["1", "100", "10000"], "scale-rooms-"),
        ),
    ]
}

fn machine(run: &Run) -> String {
    let machine = &run.machine;
    format!(
        "The run shown here: {}; {} cores ({}), {} GiB of memory, Linux {}, PostgreSQL {}. Subscribers, \
         writer, PostgreSQL and the measured server share the cores.",
        machine.when(),
        machine.cores,
        machine.cpu,
        figure(machine.memory_bytes as f64 / f64::from(1 << 30)),
        machine.kernel,
        machine.postgres
    )
}

fn targets(run: &Run) -> String {
    let mut table = Table::new(&["", "aimed at", "measured", ""]);
    for [what, aim, measured, reached] in judged(run) {
        table.row(vec![what, aim, measured, reached]);
    }
    table.finished()
}

/// Rowcast's cost divided by everybody else's: below 1 is less.
fn ratios(run: &Run) -> String {
    type Cost = (&'static str, &'static str, fn(&Outcome) -> Option<f64>);
    let costs: [Cost; 7] = [
        (
            "CPU for each message, 1,000 in a room, one event at a time",
            "room-1000-calm",
            Outcome::cpu,
        ),
        (
            "CPU for each message, 1,000 in a room",
            "room-1000",
            Outcome::cpu,
        ),
        (
            "CPU for each message, 10,000 in a room",
            "room-10000",
            Outcome::cpu,
        ),
        (
            "CPU for each message, 10,000 rooms",
            "rooms-10000",
            Outcome::cpu,
        ),
        ("memory of an idle connection", "idle", |found| {
            found.rss_bytes_per_connection
        }),
        ("p50, 100 subscribers", "latency-100", |found| {
            Some(found.latency()?.p50)
        }),
        ("p50, 1,000 subscribers", "latency-1000", |found| {
            Some(found.latency()?.p50)
        }),
    ];
    let others: Vec<&Server> = others().collect();
    let mut heads = vec!["", "Rowcast over"];
    heads.extend(others.iter().map(|other| other.label));
    let mut table = Table::new(&heads);
    for (what, scenario, cost) in costs {
        let of = |server: &Server| run.of(scenario, server.name).and_then(cost);
        let mut name = what;
        for rowcast in rowcasts() {
            let Some(own) = of(rowcast) else { continue };
            let way = rowcast.label.trim_start_matches("Rowcast, ");
            let ratio = |other: &&Server| Some(own / of(other).filter(|cost| *cost > 0.0)?);
            let ratios: Vec<Option<f64>> = others.iter().map(ratio).collect();
            if ratios.iter().all(Option::is_none) {
                continue;
            }
            let mut row = vec![name.to_owned(), way.to_owned()];
            row.extend(
                ratios
                    .into_iter()
                    .map(|ratio| ratio.map_or_else(String::new, times)),
            );
            table.row(row);
            name = "";
        }
    }
    table.finished()
}

fn cpu(run: &Run) -> String {
    let mut table = Table::new(&[
        "",
        "",
        "CPU for each message",
        "of the floor's",
        "system calls for each",
        "delivered",
    ]);
    let scenarios = [
        ("room-1000-calm", "1,000 in a room, 50 events a second"),
        ("room-1000", "1,000 in a room, 200 a second"),
        ("room-10000", "10,000 in a room"),
        ("rooms-10000", "10,000 rooms"),
        ("burst", "burst"),
    ];
    for (scenario, what) in scenarios {
        let floor = run.of(scenario, FLOOR).and_then(Outcome::cpu);
        table.each(run, scenario, what, |found| {
            let cost = found.cpu_us_per_message;
            let of_floor = cost.zip(floor).map(|(cost, floor)| cost / floor);
            vec![
                written(cost, " µs"),
                of_floor.map_or_else(String::new, times),
                written(found.syscalls_per_message, ""),
                share(found),
            ]
        });
    }
    table.finished()
}

fn memory(run: &Run) -> String {
    let mut table = Table::new(&[
        "",
        "",
        "for each connection",
        "PSS of all",
        "CPU for a second of idling",
    ]);
    table.each(run, "idle", "10,000 idle", |found| {
        vec![
            written(found.kib_per_connection(), " KiB"),
            written(
                found.pss_bytes.map(|bytes| bytes / f64::from(1 << 20)),
                " MiB",
            ),
            written(found.idle_cpu_ms(), " ms"),
        ]
    });
    table.finished()
}

fn latency(run: &Run) -> String {
    let mut table = Table::new(&["", "", "p50", "p95", "p99", "longest", "delivered"]);
    for (scenario, what) in [
        ("latency-100", "100 subscribers"),
        ("latency-1000", "1,000 subscribers"),
    ] {
        table.each(run, scenario, what, |found| {
            let mut row = quantiles(found);
            row.push(share(found));
            row
        });
    }
    table.finished()
}

fn storms(run: &Run) -> String {
    let heads = [
        "",
        "",
        "delivered",
        "missed",
        "twice",
        "p50",
        "p95",
        "p99",
        "longest",
        "queries for 100 clients",
    ];
    let mut table = Table::new(&heads);
    let scenarios = [
        ("drops", "connections drop"),
        ("avalanche", "avalanche"),
        ("stalled", "stalled readers"),
    ];
    for (scenario, what) in scenarios {
        table.each(run, scenario, what, |found| {
            let mut row = vec![
                share(found),
                tick(found.missed as f64),
                tick(found.duplicates as f64),
            ];
            row.extend(quantiles(found));
            row.push(written(found.queries_per_hundred(), ""));
            row
        });
    }
    table.finished()
}

fn sustained(run: &Run) -> String {
    let mut table = Table::new(&["", "", "events a second", "behind at the end", "delivered"]);
    table.each(run, "sustained", "15,000 a second written", |found| {
        vec![
            written(found.events_per_second, ""),
            written(found.lag_ms_end, " ms"),
            share(found),
        ]
    });
    table.finished()
}

fn scale(run: &Run, over: &str, steps: &[&str], prefix: &str) -> String {
    let sizes = steps
        .iter()
        .map(|step| tick(step.parse().unwrap_or_default()));
    let sizes: Vec<String> = sizes.collect();
    let mut heads = vec!["", over];
    heads.extend(sizes.iter().map(String::as_str));
    let mut table = Table::new(&heads);
    type Cost = (&'static str, fn(&Outcome) -> Option<f64>, &'static str);
    let costs: [Cost; 2] = [
        ("CPU for each message", Outcome::cpu, " µs"),
        (
            "memory for each connection",
            Outcome::kib_per_connection,
            " KiB",
        ),
    ];
    for (what, cost, unit) in costs {
        let mut name = what;
        for server in &SERVERS {
            let found = |step: &&str| run.of(&format!("{prefix}{step}"), server.name);
            let values: Vec<_> = steps
                .iter()
                .map(|step| found(step).and_then(cost))
                .collect();
            if values.iter().all(Option::is_none) {
                continue;
            }
            let mut row = vec![name.to_owned(), server.label.to_owned()];
            row.extend(values.into_iter().map(|value| written(value, unit)));
            table.row(row);
            name = "";
        }
    }
    table.finished()
}

fn quantiles(found: &Outcome) -> Vec<String> {
    let of = |pick: fn(super::run::Latency) -> f64| written(found.latency().map(pick), " ms");
    vec![
        of(|all| all.p50),
        of(|all| all.p95),
        of(|all| all.p99),
        of(|all| all.max),
    ]
}

/// What arrived of what had to, as a whole number only if it is all.
fn share(found: &Outcome) -> String {
    match found.delivered_percent() {
        Some(_) if found.missed == 0 => "all".to_owned(),
        Some(percent) => format!("{percent:.1} %"),
        None => String::new(),
    }
}

fn written(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(String::new, |value| format!("{}{unit}", figure(value)))
}

/// A table in Markdown, whose first column names a group once.
struct Table {
    lines: Vec<String>,
    rows: usize,
}

impl Table {
    fn new(heads: &[&str]) -> Self {
        let rule = vec!["---".to_owned(); heads.len()];
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        Self {
            lines: vec![line(heads), format!("|{}|", rule.join("|"))],
            rows: 0,
        }
    }

    fn row(&mut self, cells: Vec<String>) {
        self.lines.push(line(cells));
        self.rows += 1;
    }

    /// A row for each server that has a result.
    fn each(
        &mut self,
        run: &Run,
        scenario: &str,
        what: &str,
        cells: impl Fn(&Outcome) -> Vec<String>,
    ) {
        let mut name = what;
        for server in &SERVERS {
            if let Some(found) = run.of(scenario, server.name) {
                let mut row = vec![name.to_owned(), server.label.to_owned()];
                row.extend(cells(found));
                self.row(row);
                name = "";
            }
        }
    }

    /// Nothing instead of a head without rows.
    fn finished(self) -> String {
        if self.rows == 0 {
            String::new()
        } else {
            self.lines.join("\n")
        }
    }
}

fn line(cells: Vec<String>) -> String {
    format!("| {} |", cells.join(" | "))
}

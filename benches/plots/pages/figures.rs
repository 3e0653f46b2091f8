//! Which plots there are, and what each of them shows of a run.

use super::aims::{IDLE_KIB, LATE, LATENCY, SUSTAINED};
use super::axis::{figure, times};
use super::lines::{self, Line};
use super::rows::{Kind, Panel, Row};
use super::run::{Latency, Outcome, Run};
use super::servers::{FLOOR, SERVERS};
use super::sheet::Sheet;

/// Numbers of connections, and of silent rooms beside the one that hears.
const CONNECTIONS: [&str; 4] = ["scale-100", "scale-1000", "scale-10000", "scale-18000"];
const ROOMS: [&str; 3] = ["scale-rooms-1", "scale-rooms-100", "scale-rooms-10000"];

const P99: fn(Latency) -> f64 = |all| all.p99;

/// A plot that shows the numbers of the table of its name.
pub struct Figure {
    pub name: &'static str,
    pub title: &'static str,
    /// An SVG file.
    pub drawing: String,
}

/// All plots; those of which the run has nothing are left out.
pub fn figures(run: &Run) -> Vec<Figure> {
    let all = [
        cpu(run),
        memory(run),
        latency(run),
        storms(run),
        sustained(run),
        connections(run),
        rooms(run),
    ];
    all.into_iter().flatten().collect()
}

fn cpu(run: &Run) -> Option<Figure> {
    let panels = [
        (
            "room-1000-calm",
            "1,000 subscribers of one room, 50 events a second",
        ),
        (
            "room-1000",
            "1,000 subscribers of one room, 200 events a second",
        ),
        (
            "room-10000",
            "10,000 subscribers of one room, 20 events a second",
        ),
        (
            "rooms-10000",
            "10,000 rooms of one subscriber, 5,000 events a second",
        ),
        ("burst", "A burst of 10,000 events to 100 subscribers"),
    ];
    let panels = panels.map(|(scenario, head)| {
        let floor = run.of(scenario, FLOOR).and_then(Outcome::cpu);
        let note = |found: &Outcome, value: f64| match floor {
            Some(floor) if found.server != FLOOR => {
                format!("{} µs · {} the floor", figure(value), times(value / floor))
            }
            _ => format!("{} µs", figure(value)),
        };
        let marks = floor.map(|value| (value, "floor".to_owned()));
        Panel {
            marks: marks.into_iter().collect(),
            ..bars(run, scenario, head, "µs", Outcome::cpu, note)
        }
    });
    drawn(
        run,
        "cpu",
        "CPU time for each delivered message",
        "User and system time of all processes of the server, PostgreSQL's left out. The floor is one \
         thread that calls send() on each socket with a frame that is ready. 300 bytes of JSON. Less \
         is better.",
        &panels,
    )
}

fn memory(run: &Run) -> Option<Figure> {
    let note = |_: &Outcome, value: f64| format!("{} KiB", figure(value));
    let head = "10,000 idle connections with one subscription each";
    let mut panel = bars(run, "idle", head, "KiB", Outcome::kib_per_connection, note);
    for row in &mut panel.rows {
        if let Some((_, most)) = IDLE_KIB
            .iter()
            .find(|(server, _)| *server == row.server.name)
        {
            row.note = format!("{} (aimed at {most})", row.note);
        }
    }
    drawn(
        run,
        "memory",
        "Memory of an idle connection",
        "Resident memory that the server's processes gained, divided by the connections; what the \
         kernel keeps for sockets is the same for all and left out. Less is better.",
        &[panel],
    )
}

fn latency(run: &Run) -> Option<Figure> {
    let subscribers = ["100 subscribers", "1,000 subscribers"];
    let panels: Vec<Panel> = LATENCY
        .iter()
        .zip(subscribers)
        .map(|((scenario, p50, p99), head)| Panel {
            marks: vec![
                (*p50, format!("p50 ≤ {p50}")),
                (*p99, format!("p99 ≤ {p99}")),
            ],
            ..points(
                run,
                scenario,
                &format!("{head}, 200 events a second: p50 ● and p99 ○"),
                P99,
            )
        })
        .collect();
    drawn(
        run,
        "latency",
        "From the SQL statement to the socket",
        "Milliseconds from clock_timestamp() in the trigger to the frame read by the subscriber, on a \
         logarithmic axis. Rowcast writes each event into its log first; the peers have none. Dashed: \
         aimed at for Rowcast. Left is better.",
        &panels,
    )
}

fn storms(run: &Run) -> Option<Figure> {
    let share = |found: &Outcome, value: f64| match found.missed {
        0 => "all".to_owned(),
        _ => format!("{value:.1} %"),
    };
    let drops = "10,000 connections that drop every 15 s and stay away 2 s: events delivered";
    let late = |which| vec![(LATE, format!("{which} ≤ {}", figure(LATE)))];
    let panels = [
        bars(run, "drops", drops, "%", Outcome::delivered_percent, share),
        Panel {
            marks: late("p99"),
            ..points(
                run,
                "drops",
                "… and how late those were, p50 ● and p99 ○",
                P99,
            )
        },
        bars(
            run,
            "avalanche",
            "The server restarts under 5,000 clients: events delivered",
            "%",
            Outcome::delivered_percent,
            share,
        ),
        Panel {
            marks: late("p95"),
            ..points(
                run,
                "avalanche",
                "… until back, Rowcast with all that was missed and the others without: p50 ● and p95 ○",
                |all| all.p95,
            )
        },
        points(
            run,
            "stalled",
            "One reader of a hundred has stopped: latency of the others, p50 ● and p99 ○",
            P99,
        ),
    ];
    drawn(
        run,
        "storms",
        "Lost connections, restarts, stalled readers",
        "Whoever delivers at most once loses what is sent to somebody who is away; whoever has a log \
         delivers it late.",
        &panels,
    )
}

fn sustained(run: &Run) -> Option<Figure> {
    let note = |found: &Outcome, value: f64| match found.lag_ms_end {
        Some(lag) => format!("{} · {} ms behind", figure(value), figure(lag)),
        None => figure(value),
    };
    let head = "15,000 events a second are written";
    let rate = |found: &Outcome| found.events_per_second;
    let panels = [Panel {
        marks: vec![(SUSTAINED, "written".to_owned())],
        ..bars(run, "sustained", head, "a second", rate, note)
    }];
    drawn(
        run,
        "sustained",
        "Sustained, from SQL to subscribers",
        "Events that arrive each second with PostgreSQL on the same cores, and how far behind the \
         last were.",
        &panels,
    )
}

fn connections(run: &Run) -> Option<Figure> {
    grown(
        run,
        "connections",
        "Cost over connections",
        "Each event has 100 subscribers, at 200 events a second; what grows is how many connections and \
         rooms there are. Both axes are logarithmic; a level line costs nothing for being many.",
        &CONNECTIONS,
    )
}

fn rooms(run: &Run) -> Option<Figure> {
    grown(
        run,
        "rooms",
        "Cost over rooms",
        "One room of 100 subscribers has 200 events a second; 9,900 other connections are in so many \
         rooms where nothing happens. Both axes are logarithmic; a level line costs nothing for them.",
        &ROOMS,
    )
}

fn grown(
    run: &Run,
    name: &'static str,
    title: &'static str,
    about: &str,
    scenarios: &[&str],
) -> Option<Figure> {
    type Cost = (&'static str, fn(&Outcome) -> Option<f64>);
    let costs: [Cost; 2] = [
        ("µs of CPU for each delivered message", Outcome::cpu),
        (
            "KiB of memory for each connection",
            Outcome::kib_per_connection,
        ),
    ];
    let mut sheet = Sheet::new(title, about);
    let mut empty = true;
    for (head, cost) in costs {
        let lines = lines_of(run, scenarios, cost);
        empty &= lines.is_empty();
        lines::Panel {
            head,
            over: name,
            lines,
        }
        .draw(&mut sheet);
    }
    let summary = format!("{title}; the table of the page has the numbers.");
    let drawing = sheet.finished(&run.source(), &summary);
    (!empty).then_some(Figure {
        name,
        title,
        drawing,
    })
}

fn lines_of(run: &Run, scenarios: &[&str], cost: fn(&Outcome) -> Option<f64>) -> Vec<Line> {
    let mut lines = Vec::new();
    for server in &SERVERS {
        let found = scenarios
            .iter()
            .filter_map(|scenario| run.of(scenario, server.name));
        let points = found.filter_map(|found| Some((found.size(), cost(found)?)));
        let points: Vec<(f64, f64)> = points.filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
        if points.len() > 1 {
            lines.push(Line { server, points });
        }
    }
    lines
}

fn bars(
    run: &Run,
    scenario: &str,
    head: &str,
    unit: &'static str,
    of: fn(&Outcome) -> Option<f64>,
    note: impl Fn(&Outcome, f64) -> String,
) -> Panel {
    let rows = SERVERS.iter().filter_map(|server| {
        let found = run.of(scenario, server.name)?;
        let value = of(found)?;
        Some(Row {
            server,
            values: vec![value],
            note: note(found, value),
        })
    });
    Panel {
        head: head.to_owned(),
        unit,
        kind: Kind::Bars,
        rows: rows.collect(),
        marks: Vec::new(),
    }
}

/// p50 and a late one, both in milliseconds.
fn points(run: &Run, scenario: &str, head: &str, late: fn(Latency) -> f64) -> Panel {
    let rows = SERVERS.iter().filter_map(|server| {
        let latency = run.of(scenario, server.name)?.latency()?;
        let values = vec![latency.p50, late(latency)];
        let note = format!("{} … {}", figure(values[0]), figure(values[1]));
        Some(Row {
            server,
            values,
            note,
        })
    });
    let rows = rows.collect();
    Panel {
        head: head.to_owned(),
        unit: "ms",
        kind: Kind::Points,
        rows,
        marks: Vec::new(),
    }
}

/// All panels on one sheet, unless the run has nothing to draw.
fn drawn(
    run: &Run,
    name: &'static str,
    title: &'static str,
    subtitle: &str,
    panels: &[Panel],
) -> Option<Figure> {
    let mut sheet = Sheet::new(title, subtitle);
    for panel in panels {
        panel.draw(&mut sheet);
    }
    let drawing = sheet.finished(&run.source(), &summary(panels));
    let empty = panels.iter().all(|panel| panel.rows.is_empty());
    (!empty).then_some(Figure {
        name,
        title,
        drawing,
    })
}

/// The notes of all rows, for those who hear the plot.
fn summary(panels: &[Panel]) -> String {
    let mut all = Vec::new();
    for panel in panels.iter().filter(|panel| !panel.rows.is_empty()) {
        let rows = panel
            .rows
            .iter()
            .map(|row| format!("{} {}", row.server.label, row.note));
        let rows: Vec<String> = rows.collect();
        all.push(format!("{}: {}.", panel.head, rows.join(", ")));
    }
    all.join(" ")
}

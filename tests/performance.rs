//! docs/performance.md shows one run: its tables and plots are what `make bench-plots` makes of
//! docs/performance/run.json, and no number is written by hand.

/// What makes them.
#[allow(
    dead_code,
    reason = "the bench program writes files, and this compares"
)]
#[path = "../benches/plots/pages/mod.rs"]
mod pages;

use pages::Run;
use pages::axis::{Axis, figure, tick, times};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

#[test]
fn the_page_and_its_plots_are_those_of_the_run_beside_them() {
    let docs = docs();
    let page = fs::read_to_string(docs.join(pages::PAGE)).expect("the page");
    let run = Run::read(&docs.join(pages::RUN)).unwrap_or_else(|error| panic!("{error}"));
    let files = pages::files(&run, &page).unwrap_or_else(|error| panic!("{error}"));
    for (path, text) in &files {
        let found = fs::read_to_string(docs.join(path)).unwrap_or_default();
        assert!(
            found == *text,
            "docs/{} is of another run: make bench-plots",
            path.display()
        );
    }
    for entry in fs::read_dir(docs.join(pages::FOLDER))
        .expect("the plots' folder")
        .flatten()
    {
        let path = Path::new(pages::FOLDER).join(entry.file_name());
        let drawn = files.iter().any(|(file, _)| *file == path);
        let plot = path.extension().is_some_and(|extension| extension == "svg");
        assert!(drawn || !plot, "docs/{} is of no run", path.display());
    }
}

/// Outside the tables there is prose, and prose goes stale.
#[test]
fn the_page_has_no_measured_number_of_its_own() {
    let page = fs::read_to_string(docs().join(pages::PAGE)).expect("the page");
    let mut prose = String::new();
    let mut inside = false;
    for line in page.lines() {
        inside |= line.starts_with("<!-- ") && !line.starts_with("<!-- /");
        if !inside {
            prose.push_str(line);
            prose.push('\n');
        }
        inside &= !line.starts_with("<!-- /");
    }
    for unit in [" µs", " ms", " KiB", " MiB", "×", " %"] {
        for (at, _) in prose.match_indices(unit) {
            let measured = prose[..at].ends_with(|last: char| last.is_ascii_digit());
            let around: String = prose[..at].chars().rev().take(30).collect();
            let around: String = around.chars().rev().collect();
            assert!(!measured, "a number by hand: …{around}{unit}");
        }
    }
}

#[test]
fn numbers_have_three_digits_and_apart_thousands() {
    let written = [
        0.0,
        0.004,
        0.58,
        2.895,
        9.997,
        17.04,
        99.96,
        999.6,
        15_000.0,
        1_234_567.0,
    ];
    let expected = [
        "0.00",
        "0.004",
        "0.58",
        "2.90",
        "10.0",
        "17.0",
        "100",
        "1,000",
        "15,000",
        "1,234,567",
    ];
    assert_eq!(written.map(figure), expected);
    assert_eq!(
        [0.5, 2.0, 10.0, 0.001, 20_000.0].map(tick),
        ["0.5", "2", "10", "0.001", "20,000"]
    );
    assert_eq!(
        [1.256, 9.999, 12.34].map(times),
        ["1.26×", "10.0×", "12.3×"]
    );
}

#[test]
fn bars_begin_at_zero_and_are_true_to_scale() {
    let axis = Axis::linear(9.2, 100.0);
    assert_eq!(axis.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    assert_eq!(
        [0.0, 4.6, 9.2].map(|value| axis.at(value).round()),
        [0.0, 46.0, 92.0]
    );
    assert_eq!(Axis::linear(0.0, 100.0).at(0.0), 0.0);
}

#[test]
fn equal_ratios_lie_equally_far_apart() {
    let axis = Axis::logarithmic(&[0.58, 33.0], 100.0);
    assert_eq!(axis.ticks(), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
    let [one, ten, thirty] = [1.0, 5.0, 25.0].map(|value| axis.at(value));
    assert!(
        (2.0 * ten - one - thirty).abs() < 1e-6,
        "{one} {ten} {thirty}"
    );
    // Of nothing, and of one value alone, there is an axis, too.
    assert!(Axis::logarithmic(&[], 100.0).ticks().len() > 1);
    assert!(Axis::logarithmic(&[1.0], 100.0).at(1.0) > 0.0);
}

const PAGE: &str = "A\n<!-- cpu -->\nold\n<!-- /cpu -->\nB\n";

#[test]
fn only_what_stands_between_markers_is_replaced() {
    let page = pages::filled(PAGE, "cpu", "| 1 |\n").expect("markers");
    assert_eq!(page, "A\n<!-- cpu -->\n| 1 |\n<!-- /cpu -->\nB\n");
    assert_eq!(
        pages::filled(&page, "cpu", "").expect("markers"),
        "A\n<!-- cpu -->\n<!-- /cpu -->\nB\n"
    );
    let lacks = pages::filled(PAGE, "memory", "").expect_err("no such marker");
    assert!(lacks.to_string().contains("<!-- memory -->"), "{lacks}");
}

/// Two servers in one scenario, and nothing of any other.
const RUN: &str = r#"{
    "machine": { "cores": 2, "cpu": "a < b & c", "kernel": "6", "memory_bytes": 1073741824,
                 "postgres": "15", "date": "20260102T030405Z", "commit": "0123456789abcdef" },
    "results": [
        { "scenario": "room-1000-calm", "server": "floor", "expected": 10, "cpu_us_per_message": 2.0 },
        { "scenario": "room-1000-calm", "server": "rowcast-ws", "expected": 10, "missed": 1,
          "cpu_us_per_message": 2.5, "unknown": true } ] }"#;

#[test]
fn a_run_is_shown_as_far_as_it_went() {
    let run = Run::parse(RUN).expect("a run");
    let named: Vec<_> = pages::figures::figures(&run)
        .iter()
        .map(|figure| figure.name)
        .collect();
    assert_eq!(named, ["cpu"]);
    let tables = pages::tables(&run);
    let of = |name: &str| {
        &tables
            .iter()
            .find(|(found, _)| *found == name)
            .expect("a table")
            .1
    };
    assert!(
        of("cpu").contains("| Rowcast, WebSocket | 2.50 µs | 1.25× |  | 90.0 % |"),
        "{}",
        of("cpu")
    );
    assert!(
        of("targets").contains("| at most 1.25× | 1.25× | reached |"),
        "{}",
        of("targets")
    );
    assert_eq!(of("memory"), "");
    let again = RUN.replace("\"floor\"", "\"rowcast-ws\"");
    let twice = Run::parse(&again).expect_err("two results");
    assert!(twice.to_string().contains("twice"), "{twice}");
}

/// Servers, and the milliseconds that each takes to reach 100 subscribers.
fn run_with(delays: &[(&str, f64)]) -> Run {
    let mut run: serde_json::Value = serde_json::from_str(RUN).expect("JSON");
    let result = |(server, ms): &(&str, f64)| {
        let percentiles = json!({ "p50": ms, "p95": ms, "p99": ms, "max": ms });
        json!({ "scenario": "latency-100", "server": server, "expected": 10, "latency_ms": percentiles })
    };
    run["results"] = delays.iter().map(result).collect();
    Run::parse(&run.to_string()).expect("a run")
}

#[test]
fn delays_are_held_against_the_quickest_peer_and_never_the_floor() {
    let peers = run_with(&[
        ("floor", 0.5),
        ("rowcast-ws", 1.1),
        ("nchan", 2.0),
        ("ws", 1.0),
    ]);
    let tables = pages::tables(&peers);
    let (_, judged) = tables
        .iter()
        .find(|(name, _)| *name == "targets")
        .expect("targets");
    assert!(
        judged.contains("p50, of the quickest peer's | at most 1.03× | 1.10× | **missed** |")
            && judged.contains("p99, of the quickest peer's | at most 1.25× | 1.10× | reached |"),
        "{judged}"
    );
}

#[test]
fn a_plot_has_true_lengths_and_readable_text() {
    let run = Run::parse(RUN).expect("a run");
    let drawing = &pages::figures::figures(&run)[0].drawing;
    let widths: Vec<f64> = drawing
        .lines()
        .filter(|line| line.starts_with("<rect") && !line.contains("card"))
        .filter_map(|line| {
            line.split("width=\"")
                .nth(1)?
                .split('"')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(widths.len(), 2, "{drawing}");
    assert!((widths[1] / widths[0] - 1.25).abs() < 0.002, "{widths:?}");
    assert!(drawing.contains("2.50 µs · 1.25× the floor"), "{drawing}");
    let source = "make bench on 2026-01-02, commit 0123456789abcdef: 2 cores, a &lt; b &amp; c";
    assert!(drawing.contains(source), "{drawing}");
    assert!(drawing.contains("prefers-color-scheme:dark"), "{drawing}");
    assert!(!drawing.contains("<script"), "{drawing}");
}

//! The walls of the house, read from the sources: who may import whom, who may ring the doorbell,
//! and what every SQL function has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module of src imports only modules of lower ranks, and whatever lies in its own folder.
const RANKS: &[(u8, &[&str])] = &[
    (0, &["config", "bookmark", "stream", "frame"]),
    (1, &["event", "report", "token"]),
    (2, &["notification", "hub", "dialect"]),
    (3, &["database"]),
    (4, &["migrate", "listener"]),
    (5, &["connection"]),
    (6, &["console"]),
    (7, &["routes"]),
    (8, &["app"]),
    (9, &["command"]),
    (10, &["main"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below, as path from the root and text.
fn files(below: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories: Vec<PathBuf> = vec![root().join(below)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(root()).expect("below the root");
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.push((name.display().to_string(), text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no *.{extension} in {below}");
    found
}

/// `src/connection/sse.rs` belongs to `connection`.
fn module(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The code without comments and unit tests, which may look wherever they like.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().map(|line| {
        let comment = line.find("//").filter(|at| !line[..*at].contains('"'));
        &line[..comment.unwrap_or(line.len())]
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What follows each `prefix` in the code: `a` of `crate::a::B`, `a` and `b` of `crate::{a, b::C}`.
fn imports(code: &str, prefix: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        let letters = text.trim_start().chars();
        letters
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let is_whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        let rest = &code[at + prefix.len()..];
        if !is_whole {
            continue;
        }
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let mut depth = 1;
        let mut start = 0;
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && letter == ',') {
                found.insert(word(&list[start..at]));
                start = at + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    found.remove("");
    found
}

fn rank(module: &str) -> u8 {
    let found = RANKS.iter().find(|(_, modules)| modules.contains(&module));
    found
        .unwrap_or_else(|| panic!("src has a module {module}: give it a rank in {}", file!()))
        .0
}

#[test]
fn imports_point_downwards() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, text) in files("src", "rs") {
        let from = module(&path);
        if from == "lib" {
            continue;
        }
        seen.insert(from.to_owned());
        let code = code(&text);
        let mut all = imports(&code, "crate::");
        all.extend(imports(&code, "rowcast::"));
        for to in all {
            if from != to && rank(&to) >= rank(from) {
                let ranks = (rank(from), rank(&to));
                wrong.push(format!(
                    "{path} (rank {}) imports {to} (rank {})",
                    ranks.0, ranks.1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "upward arrows:\n{}", wrong.join("\n"));
    let ranked = RANKS.iter().flat_map(|(_, modules)| modules.iter());
    let gone: Vec<&str> = ranked
        .copied()
        .filter(|name| !seen.contains(*name))
        .collect();
    assert!(gone.is_empty(), "ranked, but not in src: {gone:?}");
}

/// It is what a stranger opens first, so it leads from the ground up.
#[test]
fn the_tour_follows_the_ranks() {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("UTF-8");
    let tour = text.lines().filter_map(|line| {
        let name = line.strip_prefix("pub mod ")?.strip_suffix(';')?;
        Some((rank(name), name))
    });
    let tour: Vec<_> = tour.collect();
    assert!(tour.is_sorted_by_key(|(rank, _)| *rank), "{tour:?}");
    assert!(tour.len() > 10, "{tour:?}");
}

/// Ranks alone allow circles inside a folder. A folder's mod.rs names its files and holds what they
/// share, so arrows to and from it do not count.
#[test]
fn files_of_a_folder_form_no_circle() {
    let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (path, text) in files("src", "rs") {
        let (folder, file) = path.rsplit_once('/').expect("below src");
        if folder == "src" || file == "mod.rs" {
            continue;
        }
        let name = file.trim_end_matches(".rs").to_owned();
        let all = imports(&code(&text), "super::");
        let files = folders.entry(folder.to_owned()).or_default();
        files.insert(name, all);
    }
    for (folder, files) in &folders {
        for start in files.keys() {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&String> = files[start].iter().collect();
            while let Some(name) = next.pop() {
                assert!(
                    name != start,
                    "{folder}/{start}.rs imports itself by way of {reached:?}"
                );
                if let Some(further) = files.get(name)
                    && reached.insert(name)
                {
                    next.extend(further);
                }
            }
        }
    }
    // Transports share the gate and admission, and know nothing of each other.
    let transports = &folders["src/connection"];
    let names = ["websocket", "sse", "poll", "socketio"];
    for (one, other) in names
        .iter()
        .flat_map(|one| names.map(|other| (*one, other)))
    {
        assert!(
            one == other || !transports[one].contains(other),
            "{one} imports {other}"
        );
    }
}

#[test]
fn every_module_opens_with_what_it_does() {
    for (path, text) in files("src", "rs") {
        assert!(text.starts_with("//! "), "{path} does not say what it does");
    }
}

#[test]
fn only_the_doorbell_calls_pg_notify() {
    let mut callers = Vec::new();
    for (below, extension) in [
        ("sql", "sql"),
        ("triggers", "sql"),
        ("src", "rs"),
        ("src", "sql"),
    ] {
        for (path, text) in files(below, extension) {
            // The golden dump repeats it.
            if path != "sql/schema.sql" && text.to_lowercase().contains("pg_notify(") {
                callers.push(path);
            }
        }
    }
    callers.sort();
    let doorbell = [
        "sql/functions/rowcast.ring.sql",
        "sql/functions/rowcast.tell_listeners.sql",
    ];
    assert_eq!(callers, doorbell);
}

/// The hub is the table in the middle: it waits for nobody and knows neither side.
#[test]
fn the_hub_knows_neither_postgres_nor_a_transport() {
    let text = fs::read_to_string(root().join("src/hub.rs")).expect("UTF-8");
    let code = code(&text);
    for word in ["tokio_postgres", "deadpool", "warp", "hyper"] {
        assert!(!code.contains(word), "src/hub.rs mentions {word}");
    }
}

#[test]
fn every_sql_function_is_pinned_revoked_and_explained() {
    let mut wrong = Vec::new();
    for (path, text) in files("sql/functions", "sql") {
        let file = path.trim_start_matches("sql/functions/");
        for piece in text.split("create or replace function ").skip(1) {
            let name: String = piece.chars().take_while(|c| *c != '(').collect();
            if name.starts_with('%') {
                continue; // The trigger functions that rowcast.attach writes, in a string.
            }
            let header = piece.split("as $").next().unwrap_or_default();
            if file != format!("{name}.sql") {
                wrong.push(format!("{path}: {name} is not in a file of its name"));
            }
            let pinned = header.contains("\nset search_path = pg_catalog, pg_temp\n");
            // The one that is there to see the writer's search_path.
            if pinned == (name == "rowcast.resolve_for_writer") {
                wrong.push(format!("{path}: {name} pins no search_path, or should not"));
            }
            let revoked = format!("revoke all on function {name}(");
            let granted = format!("grant execute on function {name}() to public;");
            if !(text.contains(&revoked) || text.contains(&granted)) {
                wrong.push(format!(
                    "{path}: {name} is neither revoked from public nor said to be public"
                ));
            }
            if !text.contains(&format!("comment on function {name}(")) {
                wrong.push(format!("{path}: {name} carries no comment"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The reader of imports, on what it has to understand.
#[test]
fn imports_are_read_as_rust_reads_them() {
    let text = "use crate::{a, b::{C, D},\n  e as f};\n// crate::g\nx(crate::h::I); not_crate::j;
        let s = \"http://crate\"; mycrate::k;";
    let found: Vec<_> = imports(&code(text), "crate::").into_iter().collect();
    assert_eq!(found, ["a", "b", "e", "h"]);
}

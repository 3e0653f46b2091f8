//! The walls of the house, read from the sources: who may import whom, who may ring the doorbell,
//! and what every SQL function has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module of src imports only modules of lower ranks, and whatever lies in its own folder.
const RANKS: &[(u8, &[&str])] = &[
    (
        0,
        &[
            "config", "clock", "counts", "slow", "bookmark", "stream", "frame",
        ],
    ),
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

/// A module's path below the crate: `connection`, `sse`.
type Names = Vec<String>;

/// `src/connection/sse.rs` is `connection::sse`.
fn names(path: &str) -> Names {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').map(str::to_owned).collect()
}

/// What a module's code names of the crate, from its root: `crate::{a, b::C}`, `super::d`.
fn imports(code: &str, own: &[String]) -> BTreeSet<Names> {
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "rowcast::", "super::"] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let above = own.len().saturating_sub(1);
            let from = if prefix == "super::" { above } else { 0 };
            tree(&code[at + prefix.len()..], &own[..from], &mut found);
        }
    }
    found
}

/// Reads one tree of a `use`, below these names, and returns the text behind it.
fn tree<'a>(text: &'a str, above: &[String], found: &mut BTreeSet<Names>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if rest.is_empty() || rest.starts_with('}') {
                return rest.get(1..).unwrap_or_default();
            }
            rest = tree(rest, above, found);
            // `as other`
            rest = rest.trim_start_matches(|c| !matches!(c, ',' | '}'));
        }
    }
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '*');
    let end = text.find(|c| !is_letter(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let mut path = above.to_vec();
    match word {
        "super" => drop(path.pop()),
        "self" | "" => {}
        _ => path.push(word.to_owned()),
    }
    if let Some(rest) = rest.strip_prefix("::") {
        return tree(rest, &path, found);
    }
    found.insert(path);
    rest
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
        for to in imports(&code, &names(&path)) {
            let Some(to) = to.first() else { continue };
            if from != to && rank(to) >= rank(from) {
                let ranks = (rank(from), rank(to));
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

/// Ranks alone allow circles inside a folder. Whatever lies below a file or folder belongs to it; the
/// module above names its parts and holds what they share, so arrows to and from it do not count.
#[test]
fn the_parts_of_a_module_form_no_circle() {
    let files = files("src", "rs");
    let modules: BTreeSet<Names> = files.iter().map(|(path, _)| names(path)).collect();
    let mut arrows: BTreeMap<Names, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (path, text) in &files {
        let from = names(path);
        for mut to in imports(&code(text), &from) {
            while !to.is_empty() && !modules.contains(&to) {
                to.pop();
            }
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                let parts = arrows.entry(from[..shared].to_vec()).or_default();
                let known = parts.entry(one.clone()).or_default();
                known.insert(other.clone());
            }
        }
    }
    for (module, parts) in &arrows {
        for (start, known) in parts {
            let mut reached = BTreeSet::new();
            let mut next: Vec<_> = known.iter().collect();
            while let Some(name) = next.pop() {
                assert!(
                    name != start,
                    "{}::{start} knows itself by way of {reached:?}",
                    module.join("::")
                );
                if reached.insert(name) {
                    next.extend(parts.get(name).into_iter().flatten());
                }
            }
        }
    }
    // Transports share the gate and admission, and know nothing of each other.
    let transports = &arrows[&names("connection")];
    let own = ["websocket", "sse", "poll", "socketio"];
    for (one, other) in own.iter().flat_map(|one| own.map(|other| (*one, other))) {
        let knows = transports[one].contains(other);
        assert!(one == other || !knows, "{one} imports {other}");
    }
}

#[test]
fn every_module_opens_with_what_it_does() {
    for (path, text) in files("src", "rs") {
        assert!(text.starts_with("//! "), "{path} does not say what it does");
    }
}

/// What operators read stands in one place, with its level, its fields and its counter.
#[test]
fn only_report_speaks_to_the_log() {
    // That one says of a panic, for which nobody has a word.
    let may = |path: &str| module(path) == "report" || path == "src/command/log.rs";
    for (path, text) in files("src", "rs") {
        let code = code(&text);
        for word in ["error", "warn", "info", "debug", "trace", "event"] {
            let speaks = code.contains(&format!("tracing::{word}!"));
            assert!(!speaks || may(&path), "{path} says tracing::{word}!");
        }
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
        // The echo by which the service proves that it hears the doorbell.
        "src/database.rs",
    ];
    assert_eq!(callers, doorbell);
}

/// The hub is the table in the middle, and knows neither side.
#[test]
fn the_hub_knows_neither_postgres_nor_a_transport() {
    let all = files("src", "rs");
    let hub = all.iter().filter(|(path, _)| module(path) == "hub");
    for (path, text) in hub {
        let code = code(text);
        for word in ["tokio_postgres", "deadpool", "warp", "hyper"] {
            assert!(!code.contains(word), "{path} mentions {word}");
        }
    }
}

#[test]
fn every_sql_function_is_pinned_revoked_and_explained() {
    let mut wrong = Vec::new();
    for (path, text) in files("sql/functions", "sql") {
        let file = path.trim_start_matches("sql/functions/");
        for piece in text.split("create or replace function ").skip(1) {
            let name: String = piece.chars().take_while(|c| *c != '(').collect();
            if name.starts_with('{') {
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
        // Writers' and DBAs' sessions may have standard_conforming_strings off: only behind an E is a
        // backslash read alike in all of them.
        let is_code = |line: &&str| !line.trim_start().starts_with("--");
        for line in text.lines() {
            if is_code(&line) && line.contains('\\') && !line.contains("e'") {
                wrong.push(format!("{path}: a backslash in {}", line.trim()));
            }
            // The template is in every attached trigger: each change makes all of them old.
            if line.len() > 100 && file != "rowcast.trigger_template.sql" {
                wrong.push(format!("{path}: more than 100 columns in {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A server of another encoding converts all of a statement, its comments as well, and refuses what it lacks.
/// What migrations say is changed for that on the way (`src/migrate/ascii.rs`), for they can't be edited.
#[test]
fn sql_is_written_in_letters_of_every_encoding() {
    let written = ["sql/functions", "triggers", "src/command/triggers"].map(|it| files(it, "sql"));
    let wrong: Vec<String> = written
        .into_iter()
        .flatten()
        .filter(|(_, text)| !text.is_ascii())
        .map(|(path, _)| path)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The reader of imports, on what it has to understand.
#[test]
fn imports_are_read_as_rust_reads_them() {
    let text = "use crate::{a, b::{C, D},\n  e as f};\n// crate::g\nx(crate::h::I); not_crate::j;
        let s = \"http://crate\"; mycrate::k; use super::l::{self, M}; use super::super::n;";
    let found = imports(&code(text), &names("src/o/p/q.rs"));
    let found: Vec<_> = found.iter().map(|path| path.join("::")).collect();
    let own = [
        "a",
        "b::C",
        "b::D",
        "e",
        "h::I",
        "o::n",
        "o::p::l",
        "o::p::l::M",
    ];
    assert_eq!(found, own);
}

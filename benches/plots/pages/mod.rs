//! What docs/performance.md shows of a run: its plots in docs/performance/, its tables between the
//! page's markers. Hands over to `figures` and `tables`. It must never hold a number of its own
//! beside the targets.

mod aims;
pub mod axis;
pub mod figures;
mod lines;
mod rows;
pub mod run;
mod servers;
mod sheet;
mod tables;
pub mod targets;

pub use run::Run;
pub use tables::tables;

use figures::Figure;
use std::fs;
use std::path::{Path, PathBuf};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Below docs/: the page, where its plots lie, and the run that it shows.
pub const PAGE: &str = "performance.md";
pub const FOLDER: &str = "performance";
pub const RUN: &str = "performance/run.json";

/// All files that a run makes, as path and text; the page is given as it is.
///
/// # Errors
/// A marker that the page lacks.
pub fn files(run: &Run, page: &str) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut page = page.to_owned();
    let figures = figures::figures(run);
    for (name, table) in tables(run) {
        let drawn = figures.iter().find(|figure| figure.name == name);
        let shown = match drawn {
            Some(Figure { title, .. }) => {
                format!("![{title}]({FOLDER}/{name}.svg)\n\n{table}")
            }
            None => table,
        };
        page = filled(&page, name, &shown)?;
    }
    let mut files = vec![(PathBuf::from(PAGE), page)];
    for Figure { name, drawing, .. } in figures {
        files.push((Path::new(FOLDER).join(format!("{name}.svg")), drawing));
    }
    Ok(files)
}

/// Writes them below `docs`.
///
/// # Errors
/// A file that can't be read or written; a marker that the page lacks.
pub fn write(run: &Run, docs: &Path) -> Result<Vec<PathBuf>, Failure> {
    let page = fs::read_to_string(docs.join(PAGE))?;
    let mut written = Vec::new();
    for (path, text) in files(run, &page)? {
        let path = docs.join(path);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// The page with the text between `<!-- name -->` and `<!-- /name -->` replaced.
///
/// # Errors
/// A marker that the page lacks.
pub fn filled(page: &str, name: &str, table: &str) -> Result<String, Failure> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let lacks = || format!("{PAGE} has no {} … {end}", begin.trim_end());
    let (before, rest) = page.split_once(&begin).ok_or_else(lacks)?;
    let (_, after) = rest.split_once(&end).ok_or_else(lacks)?;
    let table = if table.is_empty() {
        String::new()
    } else {
        format!("{}\n", table.trim_end())
    };
    Ok(format!("{before}{begin}{table}{end}{after}"))
}

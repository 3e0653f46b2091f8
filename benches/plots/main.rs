//! `make bench-plots`: turns the file of a run of `make bench` into the plots and tables of
//! docs/performance.md, and keeps that file beside them as docs/performance/run.json.
//! Hands over to `pages`. It must never measure, and never show a number that is not in the file.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for people, who see where it can't speak"
)]

mod pages;

use clap::Parser;
use pages::{Failure, Run};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "bench-plots",
    about = "Draws the plots and tables of docs/performance.md."
)]
struct Plan {
    /// The file of a run; without one, docs/performance/run.json is drawn again.
    run: Option<PathBuf>,
    /// Print the tables, and write nothing.
    #[arg(long)]
    print: bool,
    /// Write below this directory instead of docs/.
    #[arg(long)]
    docs: Option<PathBuf>,
    /// What cargo bench adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match draw(&Plan::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-plots: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(plan: &Plan) -> Result<(), Failure> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let docs = plan.docs.as_deref().unwrap_or(&own);
    let shown = docs.join(pages::RUN);
    let run = Run::read(plan.run.as_deref().unwrap_or(&shown))?;
    if plan.print {
        for (name, table) in pages::tables(&run) {
            println!("{name}\n\n{table}\n");
        }
        return Ok(());
    }
    if let Some(given) = &plan.run {
        std::fs::create_dir_all(docs.join(pages::FOLDER))?;
        let text = std::fs::read_to_string(given)?;
        std::fs::write(&shown, text)?;
    }
    for path in pages::write(&run, docs)? {
        println!("{}", path.display());
    }
    Ok(())
}

//! `status`: what differs between the files and the database, one line each.
//! Comparing attachments is `drift`'s part; every other statement is tried, in a transaction that is
//! rolled back: what would change something, or fails, is not as the file has it.
//! It must never leave anything behind, nor wait longer for a lock than `apply` does.

use super::super::statements::Statement;
use super::super::{Failure, one_line, remark, say};
use super::apply::{attempt, runnable};
use super::drift::{self, State, Status};
use super::files::{self, File};
use super::{begin_file, by_hand};
use crate::database::Patience;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Compares, and prints it.
///
/// # Errors
/// A file, the database, or a lock that was never free.
pub async fn print(
    client: &mut Client,
    dirs: &[PathBuf],
    patience: &Patience,
) -> Result<ExitCode, Failure> {
    let mut files = Vec::new();
    for dir in dirs {
        files.extend(files::read(dir)?);
    }
    for place in files.iter().flat_map(File::hidden_attaches) {
        remark(format_args!(
            "{place}: an attach that is not a statement of its own can't be compared"
        ));
    }
    let wanted = if dirs.is_empty() {
        drift::in_database(client).await?
    } else {
        files::wanted(client, &files).await?
    };
    let mut lines: Vec<Status> = Vec::new();
    for attach in &wanted {
        lines.push(drift::inspect(client, attach).await?);
    }
    lines.extend(drift::foreign(client, &wanted).await?);
    for trigger in by_hand::all(client, &files).await? {
        lines.extend(trigger.status(dirs.is_empty()));
    }
    for file in &files {
        lines.extend(tried(client, file, patience).await?);
    }
    table(&lines)?;
    Ok(if lines.iter().any(Status::is_drift) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The statements of a file that attach nothing, as far as they would change something.
async fn tried(
    client: &mut Client,
    file: &File,
    patience: &Patience,
) -> Result<Vec<Status>, Failure> {
    let mut found = Vec::new();
    begin_file(client).await?;
    for statement in &file.statements {
        if files::order(client, file, statement).await?.is_some() {
            continue;
        }
        let place = runnable(file, statement)?;
        let (state, note) = match attempt(client, &place, statement, patience, false).await {
            Ok(false) => continue,
            Ok(true) => (
                State::Changed,
                format!(
                    "apply would change what this makes: {}",
                    beginning(statement)
                ),
            ),
            Err(error)
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) || error.is_closed() =>
            {
                return Err(files::located(&place, statement, &error).into());
            }
            // What an earlier statement makes may be missing.
            Err(error) => (State::Broken, files::explain(&error)),
        };
        let mut status = Status::new(&place, "");
        status.find(state, note);
        found.push(status);
    }
    Ok(found)
}

/// As much of a statement as tells it from others.
fn beginning(statement: &Statement) -> String {
    const SHOWN: usize = 70;
    let line = statement.text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(SHOWN).collect();
    if cut.len() < statement.text.len() {
        format!("{} …", cut.trim_end())
    } else {
        cut
    }
}

fn table(lines: &[Status]) -> Result<(), Failure> {
    let column = |text: fn(&Status) -> usize| lines.iter().map(text).max().unwrap_or(0);
    let (table, operation) = (
        column(|line| line.table.len()),
        column(|line| line.operation.len()),
    );
    for line in lines {
        let state = line.state.to_string();
        let text = format!(
            "{:table$}  {:operation$}  {state:8}  {}",
            line.table,
            line.operation,
            line.notes.join("; ")
        );
        // Names are whatever somebody wrote: none may look like a line of ours.
        say(one_line(text.trim_end()))?;
    }
    if lines.is_empty() {
        say("nothing is attached")?;
    }
    Ok(())
}

//! `apply --dry-run`: the files as one script for psql, with what `rowcast.attach` does written out.
//! Hands the text to `triggers`, which prints it.
//! It must never change anything.

use super::super::Failure;
use super::super::statements::Statement;
use super::begin_file;
use super::drift::{self, State};
use super::files::{self, Attach, Detach, Order};
use std::path::Path;
use tokio_postgres::Client;

/// The SQL that `rowcast.attach` runs, for somebody else to run.
const COMPOSED: &str = include_str!("composed.sql");

/// The script.
///
/// # Errors
/// A file, or the database.
pub async fn script(client: &mut Client, dir: &Path) -> Result<String, Failure> {
    let mut script = "\\set ON_ERROR_STOP on\n\
        -- As `rowcast triggers apply` has them.\n\
        set standard_conforming_strings = on;\n\
        set quote_all_identifiers = off;\n\
        -- CREATE TRIGGER waits for writers and makes others wait behind it: rather fail and be run\n\
        -- again, which is harmless.\n\
        set lock_timeout = '2s';\n"
        .to_owned();
    for file in files::read(dir)? {
        script.push_str(&format!("\n-- {}\n", file.name));
        begin_file(client).await?;
        for statement in &file.statements {
            script.push('\n');
            script.push_str(&match files::order(client, &file, statement).await? {
                Some(Order::Attach(attach)) => attaching(client, &attach, statement).await?,
                Some(Order::Detach(detach)) => detaching(&detach),
                None => statement.source(),
            });
        }
        if file.statements.iter().any(Statement::sets_path) {
            script.push_str("\nreset search_path;\n");
        }
    }
    Ok(script)
}

/// What `rowcast.detach` does; by itself it fails where nothing is attached.
fn detaching(detach: &Detach) -> String {
    let table = detach.table.replace('\'', "''");
    let operations = detach.operations.join("', '");
    format!(
        "select rowcast.detach(relation, operation) from rowcast.attached\n\
         where relation = to_regclass('{table}')\n  \
         and operation in ('{operations}');\n"
    )
}

/// What `rowcast.attach` does, as far as there is anything to do and a table to do it on.
async fn attaching(
    client: &mut Client,
    attach: &Attach,
    statement: &Statement,
) -> Result<String, Failure> {
    let what = format!("{} {}", attach.table, attach.operation);
    let state = drift::inspect(client, attach).await?;
    if !state.is_drift() {
        return Ok(format!("-- {what}: unchanged\n"));
    }
    let (Some(oid), false) = (attach.oid, state.state == State::Broken) else {
        let why = match attach.oid {
            None => "there is no such table yet",
            Some(_) => "see status",
        };
        let source = statement.source();
        return Ok(format!(
            "-- {what}: left to rowcast.attach, for {why}\n{source}"
        ));
    };
    let transaction = client.transaction().await?;
    let row = transaction
        .query_one(COMPOSED, &attach.parameters(&oid))
        .await?;
    transaction.rollback().await?;
    let comment = format!("{}\n", statement.comment);
    Ok(format!("{}{}", comment.trim_start(), row.get::<_, &str>(0)))
}

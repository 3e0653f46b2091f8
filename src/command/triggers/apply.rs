//! `apply`: runs a system's files, statement by statement, each in a transaction of its own.
//! Reports to `triggers`; `status` has it try statements that don't stay.
//! It must never change what is as the files have it, nor what somebody did by hand.

use super::super::statements::Statement;
use super::super::{Failure, say};
use super::files::{self, Attach, Detach, File, Order};
use super::{alone, begin_file, by_hand, detached, drift, run_theirs};
use crate::database::Patience;
use std::path::Path;
use std::process::ExitCode;
use tokio_postgres::{Client, Error};

/// What a statement may change, as far as catalogs tell: the same after it, it changed nothing.
const FINGERPRINT: &str = include_str!("fingerprint.sql");

/// Runs the files, and says of each attachment and file what became of it.
///
/// # Errors
/// A file, the database, or a lock that was never free.
pub async fn apply(
    client: &mut Client,
    dir: &Path,
    patience: &Patience,
) -> Result<ExitCode, Failure> {
    let files = files::read(dir)?;
    let width = files.iter().map(|file| file.name.len()).max().unwrap_or(0);
    alone(client, patience).await?;
    let mut all_well = true;
    for file in &files {
        let (mut others, mut changed) = (0_usize, 0_usize);
        begin_file(client).await?;
        for statement in &file.statements {
            let Some(order) = files::order(client, file, statement).await? else {
                others += 1;
                changed += usize::from(other(client, file, statement, patience).await?);
                continue;
            };
            let (said, well) = match order {
                Order::Attach(attach) => attached(client, &attach, statement, patience).await?,
                Order::Detach(detach) => (gone(client, &detach, patience).await?, true),
            };
            all_well &= well;
            say(format_args!("{:width$}  {said}", file.name))?;
        }
        match (others, changed) {
            (0, _) => {}
            (_, 0) => say(format_args!(
                "{:width$}  unchanged ({others} statements)",
                file.name
            ))?,
            _ => say(format_args!(
                "{:width$}  changed by {changed} of {others} statements",
                file.name
            ))?,
        }
    }
    for trigger in by_hand::all(client, &files).await? {
        if trigger.is_off() {
            // As with what is attached: it may be deliberate.
            all_well = false;
            say(format_args!(
                "{:width$}  {}  still disabled",
                "",
                trigger.what()
            ))?;
        }
    }
    Ok(if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Detaches what a file detaches. Returns what to say.
async fn gone(
    client: &mut Client,
    detach: &Detach,
    patience: &Patience,
) -> Result<String, Failure> {
    let Detach {
        place,
        table,
        oid,
        operations,
    } = detach;
    let gone = detached(client, place, *oid, operations, patience).await?;
    let word = if gone > 0 { "detached" } else { "unchanged" };
    Ok(format!("{table} {}  {word}", operations.join(", ")))
}

/// Attaches unless it is so already. Returns what to say, and whether it is in force now.
async fn attached(
    client: &mut Client,
    attach: &Attach,
    statement: &Statement,
    patience: &Patience,
) -> Result<(String, bool), Failure> {
    let before = drift::inspect(client, attach).await?;
    let what = format!("{} {}", attach.table, attach.operation);
    if !before.is_drift() {
        return Ok((format!("{what}  unchanged{}", before.remarks()), true));
    }
    patience
        .hold(client, &what, async |transaction| {
            run_theirs(transaction, statement).await?;
            Ok(((), true))
        })
        .await
        .map_err(|error| files::located(&attach.place, statement, &error))?;
    let attach = Attach {
        oid: files::resolve(client, &attach.table).await?,
        ..attach.clone()
    };
    let after = drift::inspect(client, &attach).await?;
    let word = if before.attached {
        "replaced"
    } else {
        "attached"
    };
    if after.is_drift() {
        // What somebody did by hand is left alone: it may be deliberate.
        return Ok((
            format!("{what}  still {}{}", after.state, after.remarks()),
            false,
        ));
    }
    Ok((format!("{what}  {word}{}", after.remarks()), true))
}

/// Runs any other statement; whether it changed something.
async fn other(
    client: &mut Client,
    file: &File,
    statement: &Statement,
    patience: &Patience,
) -> Result<bool, Failure> {
    let place = runnable(file, statement)?;
    let done = attempt(client, &place, statement, patience, true).await;
    Ok(done.map_err(|error| files::located(&place, statement, &error))?)
}

/// The place of a statement that can be run as it is, in a transaction of its own.
///
/// # Errors
/// It begins or ends one, or is meant for psql.
pub fn runnable(file: &File, statement: &Statement) -> Result<String, Failure> {
    const ALONE: &str = "statements run one by one, each in a transaction of its own";
    const PSQL: &str = "that is for psql; here the server runs all statements itself";
    let place = file.place(statement.line);
    let refused = [
        ("begin", ALONE),
        ("start", ALONE),
        ("commit", ALONE),
        ("end", ALONE),
        ("rollback", ALONE),
        ("abort", ALONE),
        ("savepoint", ALONE),
        ("\\", PSQL),
    ];
    let copies = statement.begins(&["copy"]) && statement.says("stdin");
    let found = refused
        .into_iter()
        .find(|(word, _)| statement.begins(&[word]))
        .or(copies.then_some(("copy … from stdin", "insert the rows instead")));
    if let Some((word, why)) = found {
        return Err(format!("{place}: `{word}` has no place here: {why}").into());
    }
    Ok(place)
}

/// Runs a statement that attaches nothing, for good or only to see; whether it changes something.
///
/// # Errors
/// The statement, or a lock that was never free.
pub async fn attempt(
    client: &mut Client,
    place: &str,
    statement: &Statement,
    patience: &Patience,
    for_good: bool,
) -> Result<bool, Error> {
    // Replacing a function by itself would cost every session its plans.
    let replaces = statement.begins(&["create", "or", "replace", "function"])
        || statement.begins(&["create", "or", "replace", "procedure"]);
    patience
        .hold(client, place, async |transaction| {
            let before: String = transaction.query_one(FINGERPRINT, &[]).await?.get(0);
            run_theirs(transaction, statement).await?;
            let after: String = transaction.query_one(FINGERPRINT, &[]).await?.get(0);
            let changed = before != after;
            Ok((changed, for_good && (changed || !replaces)))
        })
        .await
}

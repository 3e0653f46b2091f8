//! `rowcast triggers`: puts a system's SQL files into a database, compares them with what is there,
//! and takes their triggers away again.
//! Reading the files is `files`' part, comparing is `drift`'s.
//! It must never wait long for a lock on an application's table: whoever waits to create a trigger
//! makes all that table's writers wait behind him.

mod drift;
pub mod files;

use super::statements::Statement;
use super::{print, say};
use crate::config;
use crate::database::Patience;
use drift::{State, Status};
use files::{Attach, File, Order};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Transaction};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Of everybody who applies or detaches, one at a time; next to the key of `rowcast migrate`.
const LOCK: i64 = 7_692_281;

/// What a statement may change, as far as catalogs tell: the same after it, it changed nothing.
const FINGERPRINT: &str = include_str!("triggers/fingerprint.sql");

/// To the path of the files, for their own words: where the session begins, and what they set since.
const THEIR_PATH: &str = "select pg_catalog.set_config('search_path', pg_catalog.current_setting('rowcast.path'), false)";

/// Back to our own, for all the rest.
const OUR_PATH: &str = "select pg_catalog.set_config('rowcast.path', \
    pg_catalog.current_setting('search_path'), false); set search_path = pg_catalog, pg_temp";

/// The SQL that `rowcast.attach` runs, for somebody else to run.
const COMPOSED: &str = include_str!("triggers/composed.sql");

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Runs the SQL files of a directory: schema.sql first, access.sql last; again is harmless
    Apply {
        dir: PathBuf,
        /// Only prints the SQL, for a DBA to review and run with psql
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Compares what the database has with the files; exits with 1 if they differ, 2 on an error
    Status {
        /// All directories that were applied; none: shows what the database has
        dir: Vec<PathBuf>,
    },
    /// Takes away what the files attach; tables, data and functions stay
    Detach {
        dir: PathBuf,
        #[command(flatten)]
        patience: Patience,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// A file, the database, or a lock that was never free; `status` prints its own and returns 2.
pub async fn run(args: Args, settings: &config::Settings) -> Outcome<ExitCode> {
    act(args.action, settings).await.map_err(worded)
}

async fn act(action: Action, settings: &config::Settings) -> Outcome<ExitCode> {
    match action {
        Action::Apply {
            dir, dry_run: true, ..
        } => {
            print(&dry_run(&mut connect(settings).await?, &dir).await?)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Apply { dir, patience, .. } => {
            apply(&mut connect(settings).await?, &dir, &patience).await
        }
        Action::Detach { dir, patience } => {
            detach(&mut connect(settings).await?, &dir, &patience).await
        }
        Action::Status { dir } => match status(settings, &dir).await {
            Ok(code) => Ok(code),
            Err(error) => {
                eprintln!("rowcast: {}", worded(error));
                Ok(ExitCode::from(2))
            }
        },
    }
}

/// What the server said, where the driver by itself says only "db error".
fn worded(
    error: Box<dyn std::error::Error + Send + Sync>,
) -> Box<dyn std::error::Error + Send + Sync> {
    match error.downcast_ref::<Error>() {
        Some(error) => files::explain(error).into(),
        None => error,
    }
}

async fn connect(settings: &config::Settings) -> Outcome<Client> {
    let url = settings.database.direct_url();
    let url = url.ok_or("no database is configured: set DATABASE_URL")?;
    let timeout = settings.database.connect_timeout;
    let client = crate::database::connect_and_drive(url, timeout).await?;
    let migrated = "select to_regclass('rowcast.attached') is not null";
    if !client.query_one(migrated, &[]).await?.get::<_, bool>(0) {
        return Err("this database has no schema rowcast yet: run `rowcast migrate` first".into());
    }
    let path = format!("reset search_path; {OUR_PATH}");
    client.batch_execute(&path).await?;
    Ok(client)
}

/// Runs a statement of a file as the file means it.
async fn run_theirs(transaction: &Transaction<'_>, statement: &Statement) -> Result<(), Error> {
    transaction.batch_execute(THEIR_PATH).await?;
    transaction.batch_execute(&statement.text).await?;
    transaction.batch_execute(OUR_PATH).await
}

/// Asks in a file's words.
async fn ask_theirs(
    client: &Client,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Row, Error> {
    client.batch_execute(THEIR_PATH).await?;
    let row = client.query_one(sql, params).await;
    client.batch_execute(OUR_PATH).await?;
    row
}

async fn alone(client: &Client) -> Outcome<()> {
    let free = client
        .query_one("select pg_try_advisory_lock($1)", &[&LOCK])
        .await?;
    if !free.get::<_, bool>(0) {
        eprintln!("waiting for another `rowcast triggers` to end");
        client
            .execute("select pg_advisory_lock($1)", &[&LOCK])
            .await?;
    }
    Ok(())
}

async fn apply(client: &mut Client, dir: &Path, patience: &Patience) -> Outcome<ExitCode> {
    let files = files::read(dir)?;
    let width = files.iter().map(|file| file.name.len()).max().unwrap_or(0);
    alone(client).await?;
    let mut all_well = true;
    for file in &files {
        let (mut others, mut changed) = (0_usize, 0_usize);
        for statement in &file.statements {
            let said = match files::order(client, file, statement).await? {
                Some(Order::Attach(attach)) => {
                    let (said, well) = attached(client, &attach, statement, patience).await?;
                    all_well &= well;
                    said
                }
                Some(Order::Detach(detach)) => {
                    let gone = detached(
                        client,
                        &detach.place,
                        detach.oid,
                        &detach.operations,
                        patience,
                    );
                    let word = if gone.await? > 0 {
                        "detached"
                    } else {
                        "unchanged"
                    };
                    format!("{} {}  {word}", detach.table, detach.operations.join(", "))
                }
                None => {
                    others += 1;
                    changed += usize::from(other(client, file, statement, patience).await?);
                    continue;
                }
            };
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
    Ok(if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Attaches unless it is so already. Returns what to say, and whether it is in force now.
async fn attached(
    client: &mut Client,
    attach: &Attach,
    statement: &Statement,
    patience: &Patience,
) -> Outcome<(String, bool)> {
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
) -> Outcome<bool> {
    let place = file.place(statement.line);
    if let Some(word) = [
        "begin",
        "start",
        "commit",
        "end",
        "rollback",
        "abort",
        "savepoint",
    ]
    .into_iter()
    .find(|word| statement.begins(&[word]))
    {
        let why = "statements run one by one, each in a transaction of its own";
        return Err(format!("{place}: `{word}` has no place here: {why}").into());
    }
    // Replacing a function by itself would cost every session its plans.
    let replaces = statement.begins(&["create", "or", "replace", "function"])
        || statement.begins(&["create", "or", "replace", "procedure"]);
    let done = patience.hold(client, &place, async |transaction| {
        let before: String = transaction.query_one(FINGERPRINT, &[]).await?.get(0);
        run_theirs(transaction, statement).await?;
        let after: String = transaction.query_one(FINGERPRINT, &[]).await?.get(0);
        Ok((before != after, before != after || !replaces))
    });
    Ok(done
        .await
        .map_err(|error| files::located(&place, statement, &error))?)
}

async fn detach(client: &mut Client, dir: &Path, patience: &Patience) -> Outcome<ExitCode> {
    let files = files::read(dir)?;
    alone(client).await?;
    for attach in files::wanted(client, &files).await? {
        let operations = [attach.operation.clone()];
        let gone = detached(client, &attach.place, attach.oid, &operations, patience).await?;
        let word = if gone > 0 {
            "detached"
        } else {
            "unchanged (it was not attached)"
        };
        say(format_args!(
            "{} {}  {word}",
            attach.table, attach.operation
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Detaches these operations, each in a transaction of its own; how many were attached.
async fn detached(
    client: &mut Client,
    place: &str,
    oid: Option<u32>,
    operations: &[String],
    patience: &Patience,
) -> Outcome<usize> {
    let sql = "select rowcast.detach(a.relation, a.operation) from rowcast.attached a \
               where a.relation::oid = $1 and a.operation = $2";
    let mut gone = 0;
    for operation in operations {
        let done = patience.hold(client, place, async |transaction| {
            let rows = transaction.query(sql, &[&oid, &operation]).await?;
            Ok((rows.len(), true))
        });
        gone += done
            .await
            .map_err(|error| format!("{place}: {}", files::explain(&error)))?;
    }
    Ok(gone)
}

async fn status(settings: &config::Settings, dirs: &[PathBuf]) -> Outcome<ExitCode> {
    let client = &mut connect(settings).await?;
    let mut files = Vec::new();
    for dir in dirs {
        files.extend(files::read(dir)?);
    }
    for place in files.iter().flat_map(File::hidden_attaches) {
        eprintln!("{place}: an attach that is not a statement of its own can't be compared");
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
    let functions: Vec<&str> = files.iter().flat_map(File::functions).collect();
    lines.extend(drift::foreign(client, &wanted, &functions, dirs.is_empty()).await?);
    let column = |text: fn(&Status) -> usize| lines.iter().map(text).max().unwrap_or(0);
    let (table, operation) = (
        column(|line| line.table.len()),
        column(|line| line.operation.len()),
    );
    for line in &lines {
        let state = line.state.to_string();
        let text = format!(
            "{:table$}  {:operation$}  {state:8}  {}",
            line.table,
            line.operation,
            line.notes.join("; ")
        );
        say(text.trim_end())?;
    }
    if lines.is_empty() {
        say("nothing is attached")?;
    }
    Ok(if lines.iter().any(Status::is_drift) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn dry_run(client: &mut Client, dir: &Path) -> Outcome<String> {
    let mut script = "\\set ON_ERROR_STOP on\n\
        -- CREATE TRIGGER waits for writers and makes others wait behind it: rather fail and be run\n\
        -- again, which is harmless.\n\
        set lock_timeout = '2s';\n"
        .to_owned();
    for file in files::read(dir)? {
        script.push_str(&format!("\n-- {}\n", file.name));
        for statement in &file.statements {
            script.push('\n');
            let attach = match files::order(client, &file, statement).await? {
                Some(Order::Attach(attach)) => attach,
                Some(Order::Detach(detach)) => {
                    // rowcast.detach by itself fails where nothing is attached.
                    let table = detach.table.replace('\'', "''");
                    let operations = detach.operations.join("', '");
                    script.push_str(&format!(
                        "select rowcast.detach(relation, operation) from rowcast.attached\n\
                         where relation = to_regclass('{table}')\n  \
                         and operation in ('{operations}');\n"
                    ));
                    continue;
                }
                None => {
                    script.push_str(&statement.source());
                    continue;
                }
            };
            let what = format!("{} {}", attach.table, attach.operation);
            let state = drift::inspect(client, &attach).await?;
            if !state.is_drift() {
                script.push_str(&format!("-- {what}: unchanged\n"));
            } else if let (Some(oid), false) = (attach.oid, state.state == State::Broken) {
                let transaction = client.transaction().await?;
                let Attach {
                    operation,
                    query,
                    mode,
                    reset_above,
                    ..
                } = &attach;
                let row = transaction
                    .query_one(COMPOSED, &[&oid, operation, query, mode, reset_above])
                    .await?;
                transaction.rollback().await?;
                let comment = format!("{}\n", statement.comment);
                script.push_str(comment.trim_start());
                script.push_str(row.get(0));
            } else {
                let why = if attach.oid.is_none() {
                    "there is no such table yet"
                } else {
                    "see status"
                };
                script.push_str(&format!("-- {what}: left to rowcast.attach, for {why}\n"));
                script.push_str(&statement.source());
            }
        }
    }
    Ok(script)
}

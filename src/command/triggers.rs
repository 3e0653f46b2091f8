//! `rowcast triggers`: puts a system's SQL files into a database, compares them with what is there,
//! and takes their triggers away again.
//! Reading the files is `files`' part, comparing is `drift`'s and `status`'s.
//! It must never wait long for a lock on an application's table: whoever waits to create a trigger
//! makes all that table's writers wait behind him.

#![allow(
    clippy::disallowed_methods,
    reason = "what it asks names the types of its answers, and a panic would be its own end alone"
)]

mod apply;
mod by_hand;
mod drift;
mod dry_run;
pub mod files;
mod status;

use super::patience::PatienceArgs;
use super::statements::Statement;
use super::{Failure, direct_url, print, remark, remark_if, say};
use crate::config;
use crate::database::Patience;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, GenericClient, Row};

/// Of everybody who applies or detaches, one at a time; next to the key of `rowcast migrate`.
const LOCK: i64 = 7_692_281;

/// Sets the search_path for statements of the files: the session's own, or what they have set since.
const THEIR_PATH: &str = "select pg_catalog.set_config('search_path', pg_catalog.current_setting('rowcast.path'), false)";

/// Keeps that one in `rowcast.path`, and sets the safe one for statements of ours.
const OUR_PATH: &str = "select pg_catalog.set_config('rowcast.path', \
    pg_catalog.current_setting('search_path'), false); set search_path = pg_catalog, pg_temp";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Runs the SQL files of a directory: schema.sql first, access.sql last; again is harmless
    Apply {
        /// The directory with the SQL files of one system
        dir: PathBuf,
        /// Only prints the SQL, for a DBA to review and run with psql
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        patience: PatienceArgs,
    },
    /// Compares what the database has with the files; exits with 1 if they differ, 2 on an error
    Status {
        /// All directories that were applied; none: shows what the database has
        dir: Vec<PathBuf>,
        #[command(flatten)]
        patience: PatienceArgs,
    },
    /// Takes away the triggers that tell, attached or made by hand; tables, data and functions stay
    Detach {
        /// The directory that was applied
        dir: PathBuf,
        #[command(flatten)]
        patience: PatienceArgs,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// A file, the database, or a lock that was never free; `status` prints its own and returns 2.
pub async fn run(args: Args, settings: &config::Settings) -> Result<ExitCode, Failure> {
    act(args.action, settings).await.map_err(worded)
}

async fn act(action: Action, settings: &config::Settings) -> Result<ExitCode, Failure> {
    match action {
        Action::Apply {
            dir, dry_run: true, ..
        } => {
            print(&dry_run::script(&mut connect(settings).await?, &dir).await?)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Apply { dir, patience, .. } => {
            let mut client = connect(settings).await?;
            remark_if(crate::migrate::trusted(&client).await?);
            apply::apply(&mut client, &dir, &patience.into()).await
        }
        Action::Detach { dir, patience } => {
            detach(&mut connect(settings).await?, &dir, &patience.into()).await
        }
        Action::Status { dir, patience } => {
            let compared = async {
                status::print(&mut connect(settings).await?, &dir, &patience.into()).await
            };
            compared.await.or_else(|error| {
                remark(format_args!("rowcast: {}", worded(error)));
                Ok(ExitCode::from(2))
            })
        }
    }
}

/// What the server said, where the driver by itself says only "db error".
fn worded(error: Failure) -> Failure {
    match error.downcast_ref::<Error>() {
        Some(error) => files::explain(error).into(),
        None => error,
    }
}

async fn connect(settings: &config::Settings) -> Result<Client, Failure> {
    let url = direct_url(settings)?;
    let timeout = settings.database.connect_timeout;
    let client = crate::database::connect_and_drive(url, timeout).await?;
    let migrated = "select to_regclass('rowcast.attached') is not null";
    if !client.query_one(migrated, &[]).await?.get::<_, bool>(0) {
        return Err("this database has no schema rowcast yet: run `rowcast migrate` first".into());
    }
    begin_file(&client).await?;
    Ok(client)
}

/// Each file begins with the path of the session, whatever the one before it has set.
async fn begin_file(client: &Client) -> Result<(), Error> {
    let path = format!("reset search_path; {OUR_PATH}");
    client.batch_execute(&path).await
}

/// Runs a statement of a file under the file's search_path.
async fn run_theirs(client: &impl GenericClient, statement: &Statement) -> Result<(), Error> {
    client.batch_execute(THEIR_PATH).await?;
    client.batch_execute(&statement.text).await?;
    client.batch_execute(OUR_PATH).await
}

/// Asks what names a file's tables, under the file's search_path.
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

async fn alone(client: &Client, patience: &Patience) -> Result<(), Error> {
    patience.turn(client, LOCK, "rowcast triggers").await
}

async fn detach(client: &mut Client, dir: &Path, patience: &Patience) -> Result<ExitCode, Failure> {
    let files = files::read(dir)?;
    alone(client, patience).await?;
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
    for trigger in by_hand::all(client, &files).await? {
        if trigger.known {
            trigger.drop(client, patience).await?;
            say(format_args!("{}  detached", trigger.what()))?;
        }
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
) -> Result<usize, Failure> {
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

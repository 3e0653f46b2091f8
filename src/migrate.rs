//! Brings a database to the schema of this binary: bootstrap, refinery's migrations, then the
//! repeatable scripts, under one advisory lock.
//! Hands over to nobody. It must never take a lock on an application's table, nor wait long for one on
//! ours, and never apply a script that has not changed: replacing a function in use costs every
//! session its plans.

#![allow(
    clippy::disallowed_methods,
    reason = "what it asks names the types of its answers"
)]

mod ascii;
mod remarks;

use crate::database::{PATH, Patience, describe_to_dba, schema_number, session};
use ascii::{Ascii, ascii};
use include_dir::{Dir, include_dir};
use md5::{Digest, Md5};
use refinery::error::Kind;
use refinery::{Migration, Runner, Target};
pub use remarks::{dumps_fail, outdated, trusted};
use std::collections::HashMap;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

static MIGRATIONS: Dir = include_dir!("$CARGO_MANIFEST_DIR/sql/migrations");
static FUNCTIONS: Dir = include_dir!("$CARGO_MANIFEST_DIR/sql/functions");
const BOOTSTRAP: &str = include_str!("../sql/bootstrap.sql");

/// The key of the advisory lock: "rowcast" in a phone's keypad, and nobody else's.
const LOCK: i64 = 7_692_278;

/// Oldest server that has what we use: `create or replace trigger`, `xid8` in an index.
const OLDEST: i32 = 140_000;

/// What the triggers of attached queries are made by: where one of these was replaced, they may be old.
const MAKERS: [&str; 6] = [
    "rowcast.check_columns",
    "rowcast.check_query",
    "rowcast.event_rows",
    "rowcast.fill_in",
    "rowcast.trigger_source",
    "rowcast.trigger_template",
];

/// Where refinery notes what it has applied.
const HISTORY: &str = "rowcast.migration_history";

const SCRIPT_TABLE: &str = "create table if not exists rowcast.script \
    (name text constraint script_pkey primary key, md5 text not null)";

/// Who keeps us from a lock: no details, for we are rowcast_owner, who may not see other roles'.
const HOLDERS: &str = "select coalesce(string_agg(distinct l.pid::text, ', '), 'nobody now') \
    from pg_locks l join pg_class c on c.oid = l.relation \
    where l.granted and c.relnamespace = 'rowcast'::regnamespace and l.pid <> pg_backend_pid() \
      and l.database = (select oid from pg_database where datname = current_database())";

/// For migrations, which lock several tables: a writer who has one and waits for another that we have is
/// aborted by PostgreSQL after deadlock_timeout, so by then we have given way. Two waits are half of it.
const BELOW_DEADLOCK: &str = "select pg_catalog.set_config('lock_timeout', \
      greatest(least($1, setting::bigint / 4), 1)::text, false) \
    from pg_catalog.pg_settings where name = 'deadlock_timeout'";

/// What helps where a lock was never to be had.
const BUSY: &str = "what was done before it is kept; run it again in a quieter moment, or end for so long \
    what holds the locks, such as a pg_dump, a transaction that is left open, or a job that writes \
    events without a pause";

/// Whom PostgreSQL lets migrate.
const DENIED: &str = "migrate as a superuser, or as a role with CREATEROLE and CREATE on the \
    database that is a member of rowcast_owner";

/// Why a migration stopped. What was done before it is kept, and is taken up by the next run.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("PostgreSQL {0} is too old: Rowcast needs 14 or newer")]
    TooOld(String),
    #[error(
        "this database's schema is number {theirs}, and this program makes number {ours}: migrate \
         with the newer program; nothing was changed"
    )]
    Newer { theirs: i32, ours: i32 },
    #[error(
        "schema rowcast is here without the history of its migrations, as after `pg_dump -s`: copy \
         its data as well (`pg_dump --schema=rowcast --data-only --disable-triggers`), or, if its log, \
         rules and settings may go: drop the triggers that you wrote by hand, such as with `drop \
         schema lab_push cascade`, for without the schema they fail your writes (docs/operations.md, \
         \"Taking it out\"); then `drop schema rowcast cascade`, `rowcast migrate` and `rowcast \
         triggers apply`"
    )]
    NoHistory,
    #[error("{what}: {}", worded(.error))]
    Sql {
        what: String,
        error: tokio_postgres::Error,
    },
    #[error("{}", explain(.0))]
    Refinery(#[from] refinery::Error),
}

fn explain(error: &refinery::Error) -> String {
    match (error.kind(), of_server(error)) {
        (Kind::Connection(what, _), Some(error)) => format!("{what}: {}", worded(error)),
        _ => format!("a migration failed: {error}"),
    }
}

fn worded(error: &tokio_postgres::Error) -> String {
    let text = describe_to_dba(error, DENIED);
    if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
        format!("{text}; {BUSY}")
    } else {
        text
    }
}

fn of_server(error: &refinery::Error) -> Option<&tokio_postgres::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// What a migration did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub migrations: usize,
    pub scripts: usize,
    /// Attached queries whose triggers are of the version that was here before.
    pub outdated: i64,
}

/// Migrates to the latest. Again is harmless; many at once wait for each other.
///
/// # Errors
/// What failed, with the server's words.
pub async fn run(client: &mut Client) -> Result<Done, MigrateError> {
    run_with(client, &Patience::default()).await
}

/// The same, waiting for locks as long and as often as it is said here: whoever waits for one makes
/// the application's writers, and all delivery, wait behind him.
///
/// # Errors
/// As [`run`].
pub async fn run_with(client: &mut Client, patience: &Patience) -> Result<Done, MigrateError> {
    // The first of all: we may be a superuser.
    batch(client, "beginning the session", &session()).await?;
    let version = client.query_one(
        "select current_setting('server_version_num')::int, current_setting('server_version')",
        &[],
    );
    let version = version
        .await
        .map_err(|error| sql("asking for the version", error))?;
    if version.get::<_, i32>(0) < OLDEST {
        return Err(MigrateError::TooOld(version.get(1)));
    }
    let turn = patience.turn(client, LOCK, "rowcast migrate").await;
    turn.map_err(|error| sql("waiting for the lock", error))?;
    let done = under_lock(client, patience).await;
    let freed = format!("reset role; reset lock_timeout; select pg_advisory_unlock({LOCK})");
    let freed = batch(client, "freeing the lock", &freed).await;
    let done = done?;
    freed?;
    Ok(done)
}

async fn under_lock(client: &mut Client, patience: &Patience) -> Result<Done, MigrateError> {
    patient(client, patience, "sql/bootstrap.sql", BOOTSTRAP).await?;
    // Functions may call one another in any order: bodies are checked when they run, and by tests.
    let owner = format!(
        "set role rowcast_owner; set client_min_messages = warning; \
         set check_function_bodies = off; set {}",
        patience.lock_timeout()
    );
    batch(client, "becoming rowcast_owner", &owner).await?;
    check_history(client).await?;
    let mut done = Done {
        migrations: migrate(client, patience).await?,
        ..Done::default()
    };
    batch(client, "preparing", SCRIPT_TABLE).await?;
    let known = "select name, md5 from rowcast.script";
    let known = client.query(known, &[]).await;
    let known: HashMap<String, String> = known
        .map_err(|error| sql("asking for the scripts", error))?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let mut outdated = false;
    for (name, text) in files(&FUNCTIONS) {
        if known.get(name) != Some(&md5(text)) {
            outdated |= known.contains_key(name) && MAKERS.contains(&name);
            patient(
                client,
                patience,
                name,
                &format!("{text};\n{}", noted(name, text)),
            )
            .await?;
            done.scripts += 1;
        }
    }
    if outdated {
        let attached =
            "select count(*) from rowcast.attached a join pg_class c on c.oid = a.relation";
        let attached = client.query_one(attached, &[]).await;
        let attached = attached.map_err(|error| sql("asking for what is attached", error))?;
        done.outdated = attached.get(0);
    }
    let history = "select rowcast.ensure_history()";
    patient(client, patience, "beginning the history", history).await?;
    // The one row may have been deleted, and nothing works without.
    let number = format!(
        "insert into rowcast.setting default values on conflict do nothing; \
         {} where schema_number < {}",
        numbered(),
        schema_number()
    );
    patient(client, patience, "numbering the schema", &number).await?;
    Ok(done)
}

/// Refuses what would take back a newer program's functions, and what nobody can go on from.
async fn check_history(client: &Client) -> Result<(), MigrateError> {
    let failed = |error| sql("asking for the schema", error);
    let there = "select to_regclass('rowcast.event') is not null, \
        to_regclass('rowcast.migration_history') is not null, \
        to_regclass('rowcast.setting') is not null";
    let there = client.query_one(there, &[]).await.map_err(failed)?;
    if !there.get::<_, bool>(0) {
        return Ok(());
    }
    let applied = format!("select from {HISTORY} limit 1");
    if !there.get::<_, bool>(1)
        || client
            .query(&applied, &[])
            .await
            .map_err(failed)?
            .is_empty()
    {
        return Err(MigrateError::NoHistory);
    }
    if there.get(2) {
        // By way of JSON: the column may not be there yet.
        let number = "select (to_jsonb(s) ->> 'schema_number')::integer from rowcast.setting s";
        let row = client.query_opt(number, &[]).await.map_err(failed)?;
        let number = row.and_then(|row| row.get::<_, Option<i32>>(0));
        let (theirs, ours) = (number.unwrap_or(0), schema_number());
        if theirs > ours {
            return Err(MigrateError::Newer { theirs, ours });
        }
    }
    Ok(())
}

fn migrations() -> Result<Vec<Migration>, refinery::Error> {
    let files = files(&MIGRATIONS).into_iter();
    files
        .map(|(name, text)| Migration::unapplied(name, text))
        .collect()
}

/// Applies what is missing, each in a transaction of its own; how many.
async fn migrate(client: &mut Client, patience: &Patience) -> Result<usize, MigrateError> {
    let mut runner = Runner::new(&migrations()?)
        .set_target(Target::Latest)
        .set_abort_divergent(true);
    runner.set_migration_table_name(HISTORY);
    client
        .execute(BELOW_DEADLOCK, &[&i64::from(patience.lock_timeout)])
        .await
        .map_err(|error| sql("asking for deadlock_timeout", error))?;
    let (mut applied, mut tries) = (0, 0);
    loop {
        let error = match runner.run_async(&mut Ascii(client)).await {
            Ok(report) => return Ok(applied + report.applied_migrations().len()),
            Err(error) => error,
        };
        let before = error.report().map_or(0, |it| it.applied_migrations().len());
        applied += before;
        tries = if before > 0 { 1 } else { tries + 1 };
        let (Kind::Connection(what, _), Some(cause)) = (error.kind(), of_server(&error)) else {
            return Err(error.into());
        };
        let holders = client.query_one(HOLDERS, &[]).await;
        let holders: String = holders.map_or_else(|_| "?".to_owned(), |row| row.get(0));
        let what = format!("{what} (processes with locks on rowcast's tables: {holders})");
        if !patience.again(&what, tries, cause).await {
            return Err(error.into());
        }
    }
}

fn md5(text: &str) -> String {
    format!("{:032x}", u128::from_be_bytes(Md5::digest(text).into()))
}

/// Remembers a script as it was applied.
fn noted(name: &str, text: &str) -> String {
    let md5 = md5(text);
    format!(
        "insert into rowcast.script values ('{name}', '{md5}') \
         on conflict (name) do update set md5 = excluded.md5;\n"
    )
}

fn numbered() -> String {
    let number = schema_number();
    format!("update rowcast.setting set schema_number = {number}")
}

/// The SQL that a migration of an empty database runs, for DBAs who grant no DDL: all or nothing, and
/// with the notes that a later migration goes on from.
///
/// # Errors
/// A migration's name.
pub fn script() -> Result<String, MigrateError> {
    let mut text = format!(
        "begin;\nset local {PATH};\nset local standard_conforming_strings = on;\n\n{BOOTSTRAP}\n\
         set local check_function_bodies = off;\n"
    );
    for (name, body) in files(&MIGRATIONS).into_iter().chain(files(&FUNCTIONS)) {
        text.push_str(&format!("\n-- {name}\n\n{}", ascii(body)));
    }
    text.push_str(&format!(
        "\n-- What `rowcast migrate` goes on from.\n\n\
         create table {HISTORY} (\n  version int4 primary key,\n  name varchar(255),\n  \
         applied_on varchar(255),\n  checksum varchar(255)\n);\n{SCRIPT_TABLE};\n"
    ));
    for it in migrations()? {
        text.push_str(&format!(
            "insert into {HISTORY} values ({}, '{}', \
             to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '{}');\n",
            it.version(),
            it.name(),
            it.checksum()
        ));
    }
    for (name, body) in files(&FUNCTIONS) {
        text.push_str(&noted(name, body));
    }
    let numbered = numbered();
    Ok(text + &format!("{numbered};\n\nselect rowcast.ensure_history();\ncommit;\n"))
}

/// Names without `.sql`, and texts, in the order of names.
fn files(directory: &'static Dir) -> Vec<(&'static str, &'static str)> {
    let mut files: Vec<_> = directory
        .files()
        .filter_map(|file| {
            Some((
                file.path().file_name()?.to_str()?.strip_suffix(".sql")?,
                file.contents_utf8()?,
            ))
        })
        .collect();
    files.sort_unstable();
    files
}

fn sql(what: &str, error: tokio_postgres::Error) -> MigrateError {
    MigrateError::Sql {
        what: what.to_owned(),
        error,
    }
}

/// Runs it in a transaction of its own, again if a lock isn't to be had.
async fn patient(
    client: &mut Client,
    patience: &Patience,
    what: &str,
    text: &str,
) -> Result<(), MigrateError> {
    let done = patience.run(client, what, text).await;
    done.map_err(|error| sql(what, error))
}

async fn batch(client: &Client, what: &str, text: &str) -> Result<(), MigrateError> {
    client
        .batch_execute(text)
        .await
        .map_err(|error| sql(what, error))
}

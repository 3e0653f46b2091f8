//! Brings a database to the schema of this binary: bootstrap, refinery's migrations, then the
//! repeatable scripts, under one advisory lock.
//! Hands over to nobody. It must never take a lock on an application's table, and never apply a
//! script that has not changed: replacing a function in use costs every session its plans.

use crate::database::PATH;
use include_dir::{Dir, include_dir};
use refinery::{Migration, Runner, Target};
use tokio_postgres::Client;

static MIGRATIONS: Dir = include_dir!("$CARGO_MANIFEST_DIR/sql/migrations");
static FUNCTIONS: Dir = include_dir!("$CARGO_MANIFEST_DIR/sql/functions");
const BOOTSTRAP: &str = include_str!("../sql/bootstrap.sql");

/// The key of the advisory lock: "rowcast" in a phone's keypad, and nobody else's.
const LOCK: i64 = 7_692_278;

/// Oldest server that has what we use: `create or replace trigger`, `xid8` in an index.
const OLDEST: i32 = 140_000;

/// Why a migration stopped. What was done before it is kept, and is taken up by the next run.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("PostgreSQL {0} is too old: Rowcast needs 14 or newer")]
    TooOld(String),
    #[error("{what}: {}", explain(.error))]
    Sql {
        what: String,
        error: tokio_postgres::Error,
    },
    #[error("a migration failed: {}", explain_refinery(.0))]
    Refinery(#[from] refinery::Error),
}

fn explain(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db| {
            let detail = db
                .detail()
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            let hint = db
                .hint()
                .map(|hint| format!(" Hint: {hint}"))
                .unwrap_or_default();
            format!("{}{detail}{hint}", db.message())
        },
    )
}

fn explain_refinery(error: &refinery::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// What a migration did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub migrations: usize,
    pub scripts: usize,
}

/// Migrates to the latest. Again is harmless; many at once wait for each other.
///
/// # Errors
/// What failed, with the server's words.
pub async fn run(client: &mut Client) -> Result<Done, MigrateError> {
    // The first of all: we may be a superuser.
    batch(client, "setting the path", &format!("set {PATH}")).await?;
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
    batch(
        client,
        "waiting for the lock",
        &format!("select pg_advisory_lock({LOCK})"),
    )
    .await?;
    let done = under_lock(client).await;
    let freed = format!("reset role; select pg_advisory_unlock({LOCK})");
    let freed = batch(client, "freeing the lock", &freed).await;
    let done = done?;
    freed?;
    Ok(done)
}

async fn under_lock(client: &mut Client) -> Result<Done, MigrateError> {
    batch(client, "sql/bootstrap.sql", BOOTSTRAP).await?;
    batch(
        client,
        "becoming rowcast_owner",
        "set role rowcast_owner; set client_min_messages = warning",
    )
    .await?;
    let mut migrations = Vec::new();
    for file in files(&MIGRATIONS) {
        migrations.push(Migration::unapplied(file.0, file.1)?);
    }
    let mut runner = Runner::new(&migrations)
        .set_target(Target::Latest)
        .set_abort_divergent(true);
    runner.set_migration_table_name("rowcast.migration_history");
    let report = runner.run_async(client).await?;
    let mut done = Done {
        migrations: report.applied_migrations().len(),
        scripts: 0,
    };

    // Functions may call one another in any order: bodies are checked when they run, and by tests.
    batch(
        client,
        "preparing",
        "set check_function_bodies = off; create table if not exists \
         rowcast.script (name text constraint script_pkey primary key, md5 text not null)",
    )
    .await?;
    for (name, text) in files(&FUNCTIONS) {
        let same = "select exists (select from rowcast.script where name = $1 and md5 = md5($2))";
        let same = client
            .query_one(same, &[&name, &text])
            .await
            .map_err(|error| sql(name, error))?;
        if same.get(0) {
            continue;
        }
        let transaction = client
            .transaction()
            .await
            .map_err(|error| sql(name, error))?;
        transaction
            .batch_execute(text)
            .await
            .map_err(|error| sql(name, error))?;
        let remember = "insert into rowcast.script values ($1, md5($2)) \
                        on conflict (name) do update set md5 = excluded.md5";
        transaction
            .execute(remember, &[&name, &text])
            .await
            .map_err(|error| sql(name, error))?;
        transaction
            .commit()
            .await
            .map_err(|error| sql(name, error))?;
        done.scripts += 1;
    }
    batch(
        client,
        "beginning the history",
        "select rowcast.ensure_history()",
    )
    .await?;
    Ok(done)
}

/// The SQL that a migration of an empty database runs, for DBAs who grant no DDL.
#[must_use]
pub fn script() -> String {
    let mut text = format!(
        "set {PATH};\n\n{BOOTSTRAP}\nset role rowcast_owner;\nset check_function_bodies = off;\n"
    );
    for (name, body) in files(&MIGRATIONS).into_iter().chain(files(&FUNCTIONS)) {
        text.push_str(&format!("\n-- {name}\n\n{body}"));
    }
    text + "\nselect rowcast.ensure_history();\nreset role;\n"
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

async fn batch(client: &Client, what: &str, text: &str) -> Result<(), MigrateError> {
    client
        .batch_execute(text)
        .await
        .map_err(|error| sql(what, error))
}

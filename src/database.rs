//! Everything that is said to Postgres: the pool, the listening connection, and typed calls of the
//! SQL functions; all SQL text that the service runs stands here.
//! Hands rows over to the listener and to connections, as events and plain values.
//! It must never keep a prepared statement or session state in the pool: a pooler in transaction
//! mode may stand between.

use crate::config;
use crate::report;
use cancel::Canceller;
use connections::Connections;
use futures_util::future::join3;
use rows::first;
use servers::{Connected, Servers};
use std::time::Duration;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

/// Columns of an event, in the order in which [`event_from`] reads them.
macro_rules! event_columns {
    () => {
        "e.id, e.xid, e.at, e.channel, e.name, e.rooms, e.data, e.failed"
    };
}

mod access;
mod call;
mod cancel;
mod connections;
mod error;
mod heard;
mod listening;
mod log;
mod overview;
mod patience;
mod reader;
mod rows;
mod servers;
mod tls;
mod turns;
mod values;

pub use access::{AccessAnswer, AccessQuestion};
pub use call::{CallQuestion, Called, Failed};
pub use error::{DatabaseError, describe, describe_to_dba};
pub use heard::{Heard, Rings};
pub use listening::{Channels, Listening, Looked};
pub use log::{LogReplay, LogSize, Rotated};
pub use overview::node;
pub use patience::{LOCK_TIMEOUT_MS, Patience, TRIES};
pub use reader::{Mark, Written};

/// The doorbell: one channel, and on it the transaction that rings (see `sql/functions/rowcast.wake.sql`).
pub const DOORBELL: &str = "rowcast";

/// The number of the schema that this program is made for: it is raised with every change of `sql/`.
///
/// # Panics
/// Never: a test reads the file.
#[must_use]
pub fn schema_number() -> i32 {
    let number = include_str!("../sql/number").split_whitespace().next();
    number
        .and_then(|number| number.parse().ok())
        .expect("sql/number begins with a number")
}

/// Where names without a schema are looked for: nobody may create there, else whoever may create in
/// `public` could plant a function that fits our arguments better than PostgreSQL's own.
pub const PATH: &str = "search_path = pg_catalog, pg_temp";

/// What a session of our own begins with, past any pool. Timeouts that the address, the role or the
/// database sets are meant for an application: for our statements the client keeps the time
/// (`transaction_timeout` is there from PostgreSQL 17 on). A backslash in a string, of ours or of
/// the files of `rowcast triggers`, is no escape; and names are quoted only where they must be, for
/// some are stored, and compared with that.
#[must_use]
pub fn session() -> String {
    format!(
        "set {PATH}; set standard_conforming_strings = on; set quote_all_identifiers = off; \
         set statement_timeout = 0; \
         set default_transaction_isolation = 'read committed'; \
         select set_config(name, '0', false) from pg_settings where name in ('lock_timeout', \
         'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')"
    )
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Read,
    Write,
    /// Writes under a lock that others wait for: its commit waits for no synchronous standby, which may
    /// be missing.
    WriteHere,
    /// A call: `begin_call` makes it read-only where it has to be, for no transaction can be made
    /// read-write once it has read.
    Call,
}

impl Mode {
    /// Opens a transaction, whose settings are said each time: the database or the role may have other
    /// defaults, and a pooler in transaction mode forgets those of a session.
    fn begin(self, timeout: Duration) -> String {
        // Short statements, mostly of functions: compiling a plan would take longer than any of them.
        let (mode, more) = match self {
            Self::Read => ("read committed read only", "; set local jit = off"),
            Self::Write => ("read committed read write", "; set local jit = off"),
            Self::WriteHere => (
                "read committed read write",
                "; set local jit = off; set local synchronous_commit = off",
            ),
            Self::Call => ("repeatable read read write", ""),
        };
        let timeout = timeout.as_millis();
        format!(
            "begin isolation level {mode}; set local statement_timeout = {timeout}; \
             set local {PATH}{more}"
        )
    }
}

/// Opens a connection of its own, past any pool, as a [`session`]; each server of the address has
/// `timeout`.
///
/// # Errors
/// The address, TLS or the server.
pub async fn connect(
    url: &str,
    timeout: Duration,
    link_timeout: Option<Duration>,
) -> Result<Connected, DatabaseError> {
    let servers = Servers::parse(url, timeout, link_timeout)?;
    servers.connect().await
}

/// The same, with the connection driven by a task of its own, for commands: the server looks each second
/// whether they are still there, or what waits for a lock would wait on, and others behind it.
///
/// # Errors
/// As [`connect`].
pub async fn connect_and_drive(url: &str, timeout: Duration) -> Result<Client, DatabaseError> {
    let (client, connection) = connect(url, timeout, None).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            report::link_ended("a command", &describe(&error));
        }
    });
    // Not every system that PostgreSQL runs on can do that.
    let noticed = client.batch_execute("set client_connection_check_interval = '1s'");
    let _ = tokio::time::timeout(timeout, noticed).await;
    Ok(client)
}

/// Reads an address, and the certificates that it names, without connecting.
///
/// # Errors
/// The address, or TLS.
pub fn check(url: &str) -> Result<(), DatabaseError> {
    tls::parse(url).map(drop)
}

/// The pools: one for admission and replays, one for calls, which may be slow.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Connections,
    calls: call::CallPool,
    canceller: Canceller,
    /// Of a statement; whoever waits for its answer waits a [`LINK`] longer.
    timeout: Duration,
}

/// The server gives up first; a dead link is noticed so much later.
const LINK: Duration = Duration::from_secs(1);

type Param<'a> = (&'a (dyn ToSql + Sync), Type);

impl Database {
    /// Pools that connect when they are first asked.
    ///
    /// # Errors
    /// The address.
    pub fn new(
        url: &str,
        settings: &config::Database,
        calls: &config::Calls,
    ) -> Result<Self, DatabaseError> {
        let link = Some(settings.link_timeout);
        let servers = Servers::parse(url, settings.connect_timeout, link)?;
        let timeout = settings.statement_timeout;
        Ok(Self {
            pool: servers.pool("database.pool_size", settings.pool_size, settings.pool_wait)?,
            calls: call::CallPool::new(&servers, settings, calls)?,
            canceller: Canceller::of(&servers),
            timeout,
        })
    }

    /// Closes the connections that nobody uses: the server behind them may be gone without a word,
    /// or no longer be the one to ask.
    pub fn forget(&self) {
        self.pool.forget();
        self.calls.forget();
    }

    /// One statement in a read-only transaction with a timeout, in a single round trip.
    async fn read(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        self.ask(Mode::Read, self.timeout, sql, params).await
    }

    /// The same, in one that may write: what is returned is committed.
    async fn write(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        self.ask(Mode::Write, self.timeout, sql, params).await
    }

    async fn ask(
        &self,
        mode: Mode,
        within: Duration,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let client = self.pool.get().await?;
        let begin = mode.begin(within);
        let asked = join3(
            client.batch_execute(&begin),
            client.query_typed(sql, params),
            client.batch_execute("commit"),
        );
        let Ok((begun, rows, committed)) = tokio::time::timeout(self.timeout + LINK, asked).await
        else {
            return Err(self.give_up(client));
        };
        begun?;
        let rows = rows?;
        committed?;
        Ok(rows)
    }

    /// A connection that did not answer may still be waiting for it, and must not be used again. What
    /// silenced it, such as a firewall that forgot us, has mostly silenced the idle ones too, and each
    /// would cost somebody a whole timeout.
    fn give_up(&self, client: deadpool_postgres::Object) -> DatabaseError {
        self.canceller.cancel(client.cancel_token(), || ());
        drop(deadpool_postgres::Object::take(client));
        self.forget();
        DatabaseError::Timeout(self.timeout + LINK)
    }

    /// Names of the cookies that the application's own sessions live in, and the version of the rules
    /// that say so.
    ///
    /// # Errors
    /// The database.
    pub async fn session_cookies(&self) -> Result<(Vec<String>, i64), DatabaseError> {
        report::statement("cookies");
        let sql = "select rowcast.session_cookies(), access_version from rowcast.setting";
        let rows = self.read(sql, &[]).await?;
        let row = first(&rows)?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// Rings the doorbell with a word of our own, to see whether the listener hears it.
    ///
    /// # Errors
    /// The database.
    pub async fn echo(&self, word: &str) -> Result<(), DatabaseError> {
        // A NOTIFY with the word in it would be another statement each time to pg_stat_statements, which
        // forgets a DBA's for ours.
        let sql = "select pg_notify($1, $2)";
        let params: [Param<'_>; 2] = [(&DOORBELL, Type::TEXT), (&word, Type::TEXT)];
        self.ask(Mode::WriteHere, self.timeout, sql, &params)
            .await?;
        Ok(())
    }
}

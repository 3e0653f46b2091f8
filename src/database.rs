//! Everything that is said to Postgres: the pool, the listening connection, and typed calls of the
//! SQL functions; all SQL text that the service runs stands here.
//! Hands rows over to the listener and to connections, as events and plain values.
//! It must never keep a prepared statement or session state in the pool: a pooler in transaction
//! mode may stand between.

use crate::bookmark::{Bookmark, Snapshot, Spelling, Standpoint};
use crate::config;
use crate::event::Event;
use deadpool_postgres::Pool;
use futures_util::future::join3;
use rows::{event_from, first};
use servers::{Connected, Servers};
use std::sync::Arc;
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
mod heard;
mod listening;
mod overview;
mod reader;
mod rows;
mod servers;
mod tls;
mod values;

pub use access::{Answer, Asked};
pub use call::{Called, Failed, Question};
pub use heard::Heard;
pub use listening::{Channels, Listening, Looked};
pub use overview::node;
pub use reader::{Mark, Written};

/// The doorbell: one channel with a constant payload (see `sql/functions/rowcast.ring.sql`).
pub const DOORBELL: &str = "rowcast";

/// Why the database could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("the database address: {0}")]
    Address(String),
    #[error("TLS to the database: {0}")]
    Tls(String),
    #[error("no connection to the database: {}", describe_pool(.0))]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("none of the database's servers will do: {0}")]
    Servers(String),
    #[error("the database: {}", describe(.0))]
    Postgres(tokio_postgres::Error),
    #[error("the log has forgotten some of what came after this place")]
    Forgotten,
    #[error("the database did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the pool's server is not the one that the listener reads, or has begun a new history")]
    Elsewhere,
    #[error("the database answered something unexpected: {0}")]
    Answer(&'static str),
}

/// What `rowcast.read_log` raises when retention has passed the place that it is asked about.
const FORGOTTEN: &str = "RC007";

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if code.code() == FORGOTTEN => Self::Forgotten,
            _ => Self::Postgres(error),
        }
    }
}

/// What to do about a server that takes no writes.
const ON_THE_PRIMARY: &str = "a hot standby, or read-only by default; Rowcast works on the primary: \
     name that one, or all of them, as in postgres://rowcast_service@one,two/app";

fn describe_pool(error: &deadpool_postgres::PoolError) -> String {
    match error {
        deadpool_postgres::PoolError::Backend(error) => describe(error),
        other => other.to_string(),
    }
}

/// tokio-postgres says only "db error" by itself; what a first start runs into gets its remedy.
fn describe(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let Some(source) = std::error::Error::source(error) else {
            return error.to_string();
        };
        let source = source.to_string();
        // What tokio-postgres says of a server that is not read-write.
        let hint = if source == "database does not allow writes" {
            format!(" ({ON_THE_PRIMARY})")
        } else {
            String::new()
        };
        return format!("{error}: {source}{hint}");
    };
    let hint = match db.code().code() {
        "3F000" | "42883" | "42P01" if db.message().contains("rowcast") => {
            Some("this database has no schema of Rowcast's, or an older one: run `rowcast migrate`")
        }
        // Read-only, which is a hot standby mostly.
        "25006" => Some(ON_THE_PRIMARY),
        "42501" => Some("connect as rowcast_service, or as a role that was granted it"),
        _ => db.hint(),
    };
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{} [{}]{hint}", db.message(), db.code().code())
}

/// Opens a connection of its own, past any pool; each server of the address has `timeout`.
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

/// The same, with the connection driven by a task of its own, for commands.
///
/// # Errors
/// As [`connect`].
pub async fn connect_and_drive(url: &str, timeout: Duration) -> Result<Client, DatabaseError> {
    let (client, connection) = connect(url, timeout, None).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = describe(&error), "connection to the database ended");
        }
    });
    Ok(client)
}

/// The pools: one for admission and replays, one for calls, which may be slow.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    calls: call::Calls,
    begin: Arc<str>,
    begin_write: Arc<str>,
    timeout: Duration,
}

/// What `rowcast.rotate_log()` did.
#[derive(Clone, Copy, Debug)]
pub struct Rotated {
    /// Writers go on in another leaf.
    pub moved: bool,
    /// The leaf that was emptied.
    pub forgotten: Option<i32>,
    /// Leaves that could not be emptied, because somebody holds a lock.
    pub refused: i32,
}

/// What the log takes.
#[derive(Clone, Copy, Debug)]
pub struct LogSize {
    /// With indexes.
    pub bytes: i64,
    /// About how many.
    pub events: i64,
    /// Seconds since its oldest leaf was entered; none if it is empty.
    pub age: Option<f64>,
}

/// What a replay read from the log.
#[derive(Debug)]
pub enum LogReplay {
    Events(Vec<Arc<Event>>),
    /// More than the limits allow.
    TooMuch,
    /// Some of it is no longer in the log.
    Forgotten,
}

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
        // Said each time, for the database or the role may have other defaults.
        let begin = |access| {
            format!(
                "begin isolation level read committed {access}; set local statement_timeout = {}",
                timeout.as_millis()
            )
        };
        // The server gives up first; a dead link is noticed a second later.
        Ok(Self {
            pool: servers.pool(settings.pool_size, settings.pool_wait)?,
            calls: call::Calls::new(&servers, settings, calls)?,
            begin: begin("read only").into(),
            begin_write: begin("read write").into(),
            timeout: timeout + Duration::from_secs(1),
        })
    }

    /// Closes the connections that nobody uses: the server behind them may be gone without a word,
    /// or no longer be the one to ask.
    pub fn forget(&self) {
        self.pool.retain(|_, _| false);
        self.calls.forget();
    }

    /// One statement in a read-only transaction with a timeout, in a single round trip.
    async fn read(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        self.ask(&self.begin, sql, params).await
    }

    /// The same, in one that may write: what is returned is committed.
    async fn write(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        self.ask(&self.begin_write, sql, params).await
    }

    async fn ask(
        &self,
        begin: &str,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        let client = self.pool.get().await?;
        let asked = join3(
            client.batch_execute(begin),
            client.query_typed(sql, params),
            client.batch_execute("commit"),
        );
        if let Ok((begun, rows, committed)) = tokio::time::timeout(self.timeout, asked).await {
            begun?;
            let rows = rows?;
            committed?;
            return Ok(rows);
        }
        Err(self.give_up(client))
    }

    /// Who knows what a connection that did not answer still waits for: it must not be used again.
    /// What silenced it, such as a firewall that forgot us, has mostly silenced the idle ones too,
    /// and each would cost somebody a whole timeout.
    fn give_up(&self, client: deadpool_postgres::Object) -> DatabaseError {
        drop(deadpool_postgres::Object::take(client));
        self.forget();
        DatabaseError::Timeout(self.timeout)
    }

    /// Names of the cookies that the application's own sessions live in.
    ///
    /// # Errors
    /// The database.
    pub async fn session_cookies(&self) -> Result<Vec<String>, DatabaseError> {
        Ok(first(&self.read("select rowcast.session_cookies()", &[]).await?)?.get(0))
    }

    /// Claims for an application's own session cookies (a JSON object of name to value), as JSON
    /// text; nothing if they are nobody's.
    ///
    /// # Errors
    /// The database, or a rule's function.
    pub async fn session_claims(&self, cookies: &str) -> Result<Option<String>, DatabaseError> {
        let sql = "select rowcast.session_claims($1::text::jsonb)::text";
        Ok(first(&self.read(sql, &[(&cookies, Type::TEXT)]).await?)?.get(0))
    }

    /// What lies between a bookmark and a standpoint in these rooms, from the log.
    ///
    /// # Errors
    /// The database.
    pub async fn replay(
        &self,
        since: &Bookmark,
        to: &Standpoint,
        rooms: &[Arc<str>],
        limit: usize,
        limit_bytes: usize,
    ) -> Result<LogReplay, DatabaseError> {
        let sql = concat!(
            "with rest as (select 1 as part, e.* from rowcast.read_log($1::text::pg_snapshot, \
               $2::text::pg_snapshot, $3, $4, $5) e where $2 is not null), \
             later as (select 2 as part, e.* from rowcast.read_log( \
               coalesce($2, $1)::text::pg_snapshot, $6::text::pg_snapshot, null, $4, $5) e) \
             select case when not pg_is_in_recovery() then rowcast.history() end as history, ",
            event_columns!(),
            ", e.part from (values (1)) one \
             left join (table rest union all table later) e on true \
             order by e.part, e.id limit $5"
        );
        let names: Vec<&str> = rooms.iter().map(AsRef::as_ref).collect();
        let base = since.base.to_postgres();
        let batch = since.batch.as_ref().map(|(batch, _)| batch.to_postgres());
        let id = since
            .batch
            .as_ref()
            .map(|(_, id)| i64::try_from(*id).unwrap_or(i64::MAX));
        let target = to.snapshot.to_postgres();
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let params: [Param; 6] = [
            (&base, Type::TEXT),
            (&batch, Type::TEXT),
            (&id, Type::INT8),
            (&names, Type::TEXT_ARRAY),
            (&most, Type::INT8),
            (&target, Type::TEXT),
        ];
        let mut rows = match self.read(sql, &params).await {
            Err(DatabaseError::Forgotten) => return Ok(LogReplay::Forgotten),
            rows => rows?,
        };
        // The pool may have come to another server than the listener: what it lacks would pass for
        // what there is to recover.
        if first(&rows)?.get::<_, Option<&str>>("history") != Some(&*to.history) {
            self.forget();
            return Err(DatabaseError::Elsewhere);
        }
        rows.retain(|row| row.get::<_, Option<i64>>("id").is_some());
        if rows.len() > limit {
            return Ok(LogReplay::TooMuch);
        }
        let newest = since.newest();
        let rest = Spelling::of(&to.history, &since.base, Some(newest));
        let later = Spelling::of(&to.history, newest, Some(&to.place));
        let mut events = Vec::with_capacity(rows.len());
        let mut bytes = 0;
        for (index, row) in rows.iter().enumerate() {
            let is_later = row.get::<_, i32>("part") == 2;
            let last = is_later && index + 1 == rows.len();
            let event = event_from(row, if is_later { &later } else { &rest }, last)?;
            bytes += event.weight();
            events.push(Arc::new(event));
        }
        Ok(if bytes > limit_bytes {
            LogReplay::TooMuch
        } else {
            LogReplay::Events(events)
        })
    }

    /// Keeps the log within its bounds, sparing what comes after `read`; and what it takes then.
    ///
    /// # Errors
    /// The database.
    pub async fn rotate_log(&self, read: &Snapshot) -> Result<(Rotated, LogSize), DatabaseError> {
        let client = self.pool.get().await?;
        let (rotate, size) = (
            "select moved, forgotten, refused from rowcast.rotate_log($1::text::pg_snapshot)",
            "select bytes, events, extract(epoch from clock_timestamp() - oldest_at)::float8 as age \
             from rowcast.log_size()",
        );
        let read = read.to_postgres();
        let params: [Param; 1] = [(&read, Type::TEXT)];
        let asked = async {
            let rotated = client.query_typed(rotate, &params).await?;
            Ok::<_, tokio_postgres::Error>((rotated, client.query_typed(size, &[]).await?))
        };
        let Ok(answer) = tokio::time::timeout(self.timeout, asked).await else {
            return Err(self.give_up(client));
        };
        let (rotated, size) = answer?;
        let (rotated, size) = (first(&rotated)?, first(&size)?);
        let rotated = Rotated {
            moved: rotated.get("moved"),
            forgotten: rotated.get("forgotten"),
            refused: rotated.get("refused"),
        };
        let size = LogSize {
            bytes: size.get("bytes"),
            events: size.get("events"),
            age: size.get("age"),
        };
        Ok((rotated, size))
    }

    /// Rings the doorbell with a word of our own, to see whether the listener hears it.
    ///
    /// # Errors
    /// The database.
    pub async fn echo(&self, word: &str) -> Result<(), DatabaseError> {
        let client = self.pool.get().await?;
        let sql = format!("notify {DOORBELL}, '{word}'");
        let asked = tokio::time::timeout(self.timeout, client.batch_execute(&sql)).await;
        match asked {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(self.give_up(client)),
        }
    }
}

//! Everything that is said to Postgres: the pool, the listening connection, and typed calls of the
//! SQL functions; all SQL text that the service runs stands here.
//! Hands rows over to the listener and to connections, as events and plain values.
//! It must never keep a prepared statement or session state in the pool: a pooler in transaction
//! mode may stand between.

mod tls;

use crate::bookmark::{Bookmark, Snapshot, Spelling, Standpoint};
use crate::config;
use crate::event::{Batch, Event, Place};
use crate::notification::NotifyChannel;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use futures_util::future::join3;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Row};

/// Columns of an event, in the order in which [`event_from`] reads them.
macro_rules! event_columns {
    () => {
        "e.id, e.xid::text::bigint as xid, \
         to_char(e.at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as at, \
         e.channel, e.name, e.rooms, e.data::text as data, e.failed"
    };
}

/// The doorbell: one channel with a constant payload (see `sql/functions/rowcast.ring.sql`).
pub const DOORBELL: &str = "rowcast";

/// Notifications of `notify` channels that may wait for the listener; more are told as a gap.
const NOTIFICATIONS: usize = 10_000;

/// Why the database could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("the database address: {0}")]
    Address(String),
    #[error("TLS to the database: {0}")]
    Tls(String),
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("the database: {}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("the database did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the database answered something unexpected: {0}")]
    Answer(&'static str),
}

/// tokio-postgres says only "db error" by itself; what a first start runs into gets its remedy.
fn describe(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let source = std::error::Error::source(error);
        return source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    };
    let hint = match db.code().code() {
        "3F000" | "42883" | "42P01" if db.message().contains("rowcast") => {
            Some("this database has no schema of Rowcast's, or an older one: run `rowcast migrate`")
        }
        "42501" => Some("connect as rowcast_service, or as a role that was granted it"),
        _ => db.hint(),
    };
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{} [{}]{hint}", db.message(), db.code().code())
}

/// Opens a connection of its own, past any pool.
///
/// # Errors
/// The address, TLS or the server.
pub async fn connect(
    url: &str,
    timeout: Duration,
) -> Result<
    (
        Client,
        tokio_postgres::Connection<tokio_postgres::Socket, tls::Stream>,
    ),
    DatabaseError,
> {
    let (mut config, connector) = tls::parse(url)?;
    config.connect_timeout(timeout);
    let connected = tokio::time::timeout(timeout, config.connect(connector));
    Ok(connected
        .await
        .map_err(|_| DatabaseError::Timeout(timeout))??)
}

/// The same, with the connection driven by a task of its own, for commands.
///
/// # Errors
/// As [`connect`].
pub async fn connect_and_drive(url: &str, timeout: Duration) -> Result<Client, DatabaseError> {
    let (client, connection) = connect(url, timeout).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = describe(&error), "connection to the database ended");
        }
    });
    Ok(client)
}

/// The pool, for admission, replays and calls.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    begin: Arc<str>,
    timeout: Duration,
}

/// What a replay read from the log.
#[derive(Debug)]
pub enum LogReplay {
    Events(Vec<Arc<Event>>),
    /// More than the limits allow.
    TooMuch,
}

type Param<'a> = (&'a (dyn ToSql + Sync), Type);

impl Database {
    /// A pool that connects when it is first asked.
    ///
    /// # Errors
    /// The address.
    pub fn new(url: &str, settings: &config::Database) -> Result<Self, DatabaseError> {
        let (mut config, connector) = tls::parse(url)?;
        config.connect_timeout(settings.connect_timeout);
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config, connector, recycling);
        let pool = Pool::builder(manager)
            .max_size(settings.pool_size)
            .wait_timeout(Some(settings.pool_wait))
            .create_timeout(Some(settings.connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| DatabaseError::Address(error.to_string()))?;
        let timeout = settings.statement_timeout;
        let begin = format!(
            "begin isolation level read committed read only; set local statement_timeout = {}",
            timeout.as_millis()
        );
        // The server gives up first; a dead link is noticed a second later.
        Ok(Self {
            pool,
            begin: begin.into(),
            timeout: timeout + Duration::from_secs(1),
        })
    }

    /// One statement in a read-only transaction with a timeout, in a single round trip.
    async fn read(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let client = self.pool.get().await?;
        let asked = join3(
            client.batch_execute(&self.begin),
            client.query_typed(sql, params),
            client.batch_execute("commit"),
        );
        if let Ok((begun, rows, _)) = tokio::time::timeout(self.timeout, asked).await {
            begun?;
            return Ok(rows?);
        }
        // Who knows what this connection still waits for: it must not be used again.
        drop(deadpool_postgres::Object::take(client));
        Err(DatabaseError::Timeout(self.timeout))
    }

    /// For each room, whether these claims (JSON text) may join it.
    ///
    /// # Errors
    /// The database, or a rule's function.
    pub async fn admit(
        &self,
        claims: &str,
        rooms: &[Arc<str>],
    ) -> Result<Vec<bool>, DatabaseError> {
        let names: Vec<&str> = rooms.iter().map(AsRef::as_ref).collect();
        let sql = "select allowed from rowcast.admit($1::text::jsonb, $2) with ordinality \
                   order by ordinality";
        let rows = self
            .read(sql, &[(&claims, Type::TEXT), (&names, Type::TEXT_ARRAY)])
            .await?;
        if rows.len() != rooms.len() {
            return Err(DatabaseError::Answer("rowcast.admit left rooms out"));
        }
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The rooms these claims are in from the start.
    ///
    /// # Errors
    /// The database, or a rule's function.
    pub async fn home_rooms(&self, claims: &str) -> Result<Vec<Arc<str>>, DatabaseError> {
        let sql = "select rowcast.home_rooms($1::text::jsonb)";
        let rows = self.read(sql, &[(&claims, Type::TEXT)]).await?;
        let rooms: Vec<String> = first(&rows)?.get(0);
        Ok(rooms.into_iter().map(Into::into).collect())
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
             select ",
            event_columns!(),
            ", e.part from (table rest union all table later) e \
             order by e.part, e.id limit $5"
        );
        let mut names: Vec<&str> = rooms.iter().map(AsRef::as_ref).collect();
        names.push(crate::event::EVERYBODY);
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
        let rows = self.read(sql, &params).await?;
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

    /// Rings the doorbell with a word of our own, to see whether the listener hears it.
    ///
    /// # Errors
    /// The database.
    pub async fn echo(&self, word: &str) -> Result<(), DatabaseError> {
        let client = self.pool.get().await?;
        let sql = format!("notify {DOORBELL}, '{word}'");
        let asked = tokio::time::timeout(self.timeout, client.batch_execute(&sql)).await;
        Ok(asked.map_err(|_| DatabaseError::Timeout(self.timeout))??)
    }
}

fn first(rows: &[Row]) -> Result<&Row, DatabaseError> {
    rows.first()
        .ok_or(DatabaseError::Answer("a function returned no row"))
}

/// Reads the columns of [`event_columns`].
fn event_from(row: &Row, spelling: &Spelling, last: bool) -> Result<Event, DatabaseError> {
    let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let (id, xid) = (number("id"), number("xid"));
    let bookmark = if last {
        spelling.last_event(id)
    } else {
        spelling.event(id)
    };
    let data: Option<String> = row.get("data");
    let data = RawValue::from_string(data.unwrap_or_else(|| "null".into()))
        .map_err(|_| DatabaseError::Answer("data is not JSON"))?;
    let rooms: Vec<String> = row.get("rooms");
    Ok(Event::new(
        Some(Place {
            id,
            xid,
            bookmark: bookmark.into(),
        }),
        row.get("channel"),
        row.get("name"),
        rooms.into_iter().map(Into::into).collect(),
        data,
        row.get("at"),
        row.get("failed"),
    ))
}

/// The rows of `rowcast.channel` that the running service acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    pub notify: Vec<NotifyChannel>,
    pub paused: Vec<String>,
}

/// What was heard on the listening connection.
#[derive(Debug, Default)]
pub struct Heard {
    rung: Notify,
    channels: AtomicBool,
    overflowed: AtomicBool,
    closed: AtomicBool,
    expected: std::sync::Mutex<Option<String>>,
}

impl Heard {
    /// Ends when the doorbell rang, or the connection ended.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Whether `rowcast.channel` changed since the last time.
    pub fn channels_changed(&self) -> bool {
        self.channels.swap(false, Ordering::AcqRel)
    }

    /// Whether notifications were lost for want of room since the last time.
    pub fn overflowed(&self) -> bool {
        self.overflowed.swap(false, Ordering::AcqRel)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Begins to wait for a word of [`Database::echo`].
    pub fn expect(&self, word: &str) {
        *self.expected() = Some(word.to_owned());
    }

    /// Whether the word that was expected has come back.
    pub fn echoed(&self) -> bool {
        self.expected().is_none()
    }

    fn expected(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.expected
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Anybody may ring: a word that is not ours means no more than a ring.
    fn hear(&self, payload: &str) {
        if payload == "channels" {
            self.channels.store(true, Ordering::Release);
        }
        let mut expected = self.expected();
        if expected.as_deref() == Some(payload) {
            *expected = None;
        }
        drop(expected);
        self.rung.notify_one();
    }
}

/// The listening connection: direct, of its own, never through a pooler.
pub struct Listening {
    client: Client,
    pub heard: Arc<Heard>,
    /// Channel and payload of `notify` channels.
    pub notifications: mpsc::Receiver<(String, String)>,
    timeout: Duration,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Listening {
    /// Connects and listens to the doorbell; the LISTEN is committed when this returns.
    ///
    /// # Errors
    /// The connection.
    pub async fn open(url: &str, settings: &config::Database) -> Result<Self, DatabaseError> {
        let timeout = settings.connect_timeout;
        let (client, mut connection) = connect(url, timeout).await?;
        let heard = Arc::new(Heard::default());
        let (sender, notifications) = mpsc::channel(NOTIFICATIONS);
        let ear = Arc::clone(&heard);
        let driver = tokio::spawn(async move {
            let mut messages =
                futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = futures_util::StreamExt::next(&mut messages).await {
                if let AsyncMessage::Notification(note) = message {
                    if note.channel() == DOORBELL {
                        ear.hear(note.payload());
                    } else {
                        let note = (note.channel().to_owned(), note.payload().to_owned());
                        if sender.try_send(note).is_err() {
                            ear.overflowed.store(true, Ordering::Release);
                        }
                        ear.rung.notify_one();
                    }
                }
            }
            ear.closed.store(true, Ordering::Release);
            ear.rung.notify_one();
        });
        let listening = Self {
            client,
            heard,
            notifications,
            timeout,
            driver,
        };
        listening.execute(&format!("listen {DOORBELL}")).await?;
        Ok(listening)
    }

    async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        let answer = tokio::time::timeout(self.timeout, asked).await;
        Ok(answer.map_err(|_| DatabaseError::Timeout(self.timeout))??)
    }

    async fn execute(&self, sql: &str) -> Result<(), DatabaseError> {
        self.within(self.client.batch_execute(sql)).await
    }

    /// Begins to listen to another channel, or stops.
    ///
    /// # Errors
    /// The connection.
    pub async fn listen(&self, channel: &str, on: bool) -> Result<(), DatabaseError> {
        let word = if on { "listen" } else { "unlisten" };
        self.execute(&format!("{word} \"{}\"", channel.replace('"', "\"\"")))
            .await
    }

    /// The rows of `rowcast.channel` that matter to the service.
    ///
    /// # Errors
    /// The connection.
    pub async fn channels(&self) -> Result<Channels, DatabaseError> {
        let sql =
            "select name::text, delivery, rooms, event, paused from rowcast.channel order by name";
        let mut channels = Channels::default();
        for row in self.within(self.client.query(sql, &[])).await? {
            let name: String = row.get(0);
            if row.get(4) {
                channels.paused.push(name);
            } else if row.get::<_, &str>(1) == "notify" {
                channels.notify.push(NotifyChannel {
                    name,
                    rooms: row.get(2),
                    event: row.get(3),
                });
            }
        }
        Ok(channels)
    }

    /// Where the database stands now; begins a new history where the old one has ended.
    ///
    /// # Errors
    /// The connection, or a schema that was never migrated.
    pub async fn standpoint(&self) -> Result<Standpoint, DatabaseError> {
        self.within(self.client.query("select rowcast.ensure_history()", &[]))
            .await?;
        let sql = "select rowcast.history(), pg_current_snapshot()::text, \
                   rowcast.highest_xid()::text::bigint";
        let row = self.within(self.client.query_one(sql, &[])).await?;
        let snapshot = snapshot_from(row.get(1))?;
        let highest: Option<i64> = row.get(2);
        let highest = highest.and_then(|xid| u64::try_from(xid).ok());
        let highest = highest.unwrap_or(snapshot.xmax() - 1);
        Ok(Standpoint::new(
            row.get::<_, String>(0).into(),
            snapshot,
            highest,
        ))
    }

    /// Looks at the log: what became visible since `from`. Nothing if the history has ended.
    ///
    /// # Errors
    /// The connection, or no answer within `timeout`.
    pub async fn look(
        &self,
        from: &Standpoint,
        timeout: Duration,
    ) -> Result<Option<Batch>, DatabaseError> {
        let sql = concat!(
            "select pg_current_snapshot()::text as snapshot, rowcast.history() as history, ",
            event_columns!(),
            " from (values (1)) one \
             left join rowcast.read_log($1::text::pg_snapshot) e on true order by e.id"
        );
        let since = from.snapshot.to_postgres();
        let params: [Param; 1] = [(&since, Type::TEXT)];
        let asked = self.client.query_typed(sql, &params);
        let answer = tokio::time::timeout(timeout, asked).await;
        let rows = answer.map_err(|_| DatabaseError::Timeout(timeout))??;
        let row = first(&rows)?;
        if row.get::<_, &str>("history") != &*from.history {
            return Ok(None);
        }
        let snapshot = snapshot_from(row.get("snapshot"))?;
        if row.get::<_, Option<i64>>("id").is_none() {
            let to = Standpoint::new(Arc::clone(&from.history), snapshot, from.highest);
            return Ok(Some(Batch {
                to: Arc::new(to),
                events: Vec::new(),
            }));
        }
        let xids = rows
            .iter()
            .filter_map(|row| u64::try_from(row.get::<_, i64>("xid")).ok());
        let highest = xids.max().unwrap_or(0).max(from.highest);
        let to = Standpoint::new(Arc::clone(&from.history), snapshot, highest);
        let spelling = Spelling::of(&to.history, &from.place, Some(&to.place));
        let mut events = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            events.push(Arc::new(event_from(
                row,
                &spelling,
                index + 1 == rows.len(),
            )?));
        }
        Ok(Some(Batch {
            to: Arc::new(to),
            events,
        }))
    }
}

fn snapshot_from(text: &str) -> Result<Snapshot, DatabaseError> {
    Snapshot::from_postgres(text).ok_or(DatabaseError::Answer("a snapshot that is none"))
}

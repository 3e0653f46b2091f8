//! The listening connection: direct, of its own, never through a pooler. What is heard on it; the log
//! as it is read on it (`look`), and what the leading node says on it (`lead`).
//! Hands batches over to the listener. It must never lose a notification without saying so.

use super::cancel::Canceller;
use super::heard::Heard;
use super::rows::snapshot_from;
use super::servers::Servers;
use super::tls::PgStream;
use super::{DOORBELL, DatabaseError, Param, describe};
use crate::bookmark::Standpoint;
use crate::config;
use crate::notification::NotifyChannel;
use crate::report;
use futures_util::future::join;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, mpsc};
use tokio_postgres::{
    AsyncMessage, Client, Connection, Row, SimpleQueryMessage, Socket, Statement,
};

mod lead;
mod look;

pub use look::Looked;

/// Notifications of `notify` channels that may wait for the listener; more are told as a gap.
const NOTIFICATIONS: usize = 10_000;

/// What is to be known of the server before anything else.
const OPENING: &str = "select pg_backend_pid(), \
     current_setting('max_prepared_transactions')::integer > 0, rowcast.notify_queue_is_filling(), \
     current_setting('is_superuser'), \
     (select coalesce(to_jsonb(s) ->> 'schema_number', '0') from rowcast.setting s)";

/// For the statements of this connection itself, as in `rowcast.look`: on a young log the planner
/// would choose a sequential scan and be wrong soon after.
const PLANS: &str = "set enable_seqscan = off; set jit = off; \
     set max_parallel_workers_per_gather = 0; set plan_cache_mode = force_generic_plan";

/// A server that waits for a lock does not notice that we were killed, unless it looks for us now and
/// then: each start in vain would leave a connection behind. Not on every system can it.
const WATCH: &str = "set client_connection_check_interval";

/// The rows of `rowcast.channel` that the running service acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    pub notify: Vec<NotifyChannel>,
    pub paused: Vec<String>,
}

/// The listening connection: direct, of its own, never through a pooler.
pub struct Listening {
    client: Client,
    look: OnceCell<Statement>,
    committed: OnceCell<Statement>,
    /// Until when state events are expected.
    renders: Mutex<Option<Instant>>,
    pub heard: Arc<Heard>,
    /// Channel and payload of `notify` channels.
    pub notifications: mpsc::Receiver<(String, String)>,
    /// PREPARE TRANSACTION is possible here, and NOTIFY makes it fail.
    pub has_prepared_transactions: bool,
    /// NOTIFY had to be left alone when this connection was opened.
    pub queue_was_filling: bool,
    pub is_superuser: bool,
    /// Of the schema; 0: of one before they were counted. Nothing where the row is gone that says it.
    pub schema_number: Option<i32>,
    timeout: Duration,
    link_timeout: Duration,
    canceller: Canceller,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        if !self.client.is_closed() {
            // A look that waits for a lock would hold its connection for as long, and the next one's too.
            self.canceller.cancel(self.client.cancel_token(), || ());
        }
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
        let servers = Servers::parse(url, timeout, Some(settings.link_timeout))?;
        let (client, connection) = servers.connect().await?;
        let heard = Arc::new(Heard::default());
        let (sender, notifications) = mpsc::channel(NOTIFICATIONS);
        let driver = tokio::spawn(hear(connection, Arc::clone(&heard), sender));
        let mut listening = Self {
            client,
            look: OnceCell::new(),
            committed: OnceCell::new(),
            renders: Mutex::default(),
            heard,
            notifications,
            has_prepared_transactions: false,
            queue_was_filling: false,
            is_superuser: false,
            schema_number: None,
            timeout,
            link_timeout: settings.link_timeout,
            canceller: Canceller::of(&servers),
            driver,
        };
        listening.begin().await?;
        Ok(listening)
    }

    /// In simple queries, and LISTEN the last: the proof that follows needs silence, and what was
    /// prepared would be closed in the middle of it.
    async fn begin(&mut self) -> Result<(), DatabaseError> {
        let watch = format!("{WATCH} = {}", self.link_timeout.as_millis());
        let opening = format!("{PLANS}; {OPENING}");
        let listen = format!("listen {DOORBELL}");
        let said = async {
            let watched = self.client.batch_execute(&watch);
            // Where a server can't watch, there is one net less.
            let (_, answers) = join(watched, self.client.simple_query(&opening)).await;
            let answers = answers?;
            self.client.batch_execute(&listen).await?;
            Ok::<_, tokio_postgres::Error>(answers)
        };
        let answers = self.within(said).await?;
        let row = answers.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.ok_or(DatabaseError::Answer("no row of the opening"))?;
        let pid = row.get(0).and_then(|pid| pid.parse().ok());
        let pid = pid.ok_or(DatabaseError::Answer("no process id"))?;
        self.heard.is_not(pid);
        self.has_prepared_transactions = row.get(1) == Some("t");
        self.queue_was_filling = row.get(2) == Some("t");
        self.is_superuser = row.get(3) == Some("on");
        self.schema_number = row.get(4).and_then(|number| number.parse().ok());
        Ok(())
    }

    async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        let answer = tokio::time::timeout(self.timeout, asked).await;
        Ok(answer.map_err(|_| DatabaseError::Timeout(self.timeout))??)
    }

    /// A query in one round trip.
    pub(super) async fn query_typed(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.within(self.client.query_typed(sql, params)).await
    }

    async fn execute(&self, sql: &str) -> Result<(), DatabaseError> {
        self.within(self.client.batch_execute(sql)).await
    }

    async fn ask<T>(&self, sql: &str) -> Result<T, DatabaseError>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let row = self.within(self.client.query_one(sql, &[])).await?;
        Ok(row.try_get(0)?)
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
            let name: String = row.try_get(0)?;
            if row.try_get(4)? {
                channels.paused.push(name);
            } else if row.try_get::<_, &str>(1)? == "notify" {
                // A list of lists, or with a null in it, can't be read.
                match (row.try_get(2), row.try_get(3)) {
                    (Ok(rooms), Ok(event)) => {
                        channels.notify.push(NotifyChannel { name, rooms, event });
                    }
                    (Err(error), _) | (_, Err(error)) => report::channel_unreadable(&name, &error),
                }
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
        let snapshot = snapshot_from(row.try_get(1)?)?;
        let highest: Option<i64> = row.try_get(2)?;
        let highest = highest.and_then(|xid| u64::try_from(xid).ok());
        let highest = highest.unwrap_or(snapshot.xmax() - 1);
        Ok(Standpoint::new(
            row.try_get::<_, String>(0)?.into(),
            snapshot,
            highest,
        ))
    }
}

/// Drives the connection, and hears what is said on it.
async fn hear(
    mut connection: Connection<Socket, PgStream>,
    heard: Arc<Heard>,
    notifications: mpsc::Sender<(String, String)>,
) {
    let why = loop {
        let message = match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(message)) => message,
            Some(Err(error)) => break Some(describe(&error)),
            None => break None,
        };
        let AsyncMessage::Notification(note) = message else {
            continue;
        };
        if note.channel() == DOORBELL {
            heard.hear(note.process_id(), note.payload());
            continue;
        }
        let note = (note.channel().to_owned(), note.payload().to_owned());
        if notifications.try_send(note).is_err() {
            heard.overflow();
        }
        heard.ring();
    };
    // Before the connection is dropped: whoever waits for an answer on it is told no reason.
    heard.close(why);
}

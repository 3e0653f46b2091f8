//! The listening connection: direct, of its own, never through a pooler. What is heard on it, and
//! the log as it is read on it.
//! Hands batches over to the listener. It must never lose a notification without saying so.

use super::{DOORBELL, DatabaseError, Param, connect, event_from, first, snapshot_from};
use crate::bookmark::{Spelling, Standpoint};
use crate::config;
use crate::event::Batch;
use crate::notification::NotifyChannel;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Row};

/// Notifications of `notify` channels that may wait for the listener; more are told as a gap.
const NOTIFICATIONS: usize = 10_000;

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

    /// Begins to wait for a word of [`Database::echo`](super::Database::echo).
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
    /// What the last look saw.
    access_version: AtomicI64,
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
            access_version: AtomicI64::new(0),
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

    /// A query in one round trip.
    pub(super) async fn query_typed(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.within(self.client.query_typed(sql, params)).await
    }

    /// The version of rules and revocations that the last look saw.
    pub fn access_version(&self) -> i64 {
        self.access_version.load(Ordering::Relaxed)
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
            "select pg_current_snapshot()::text as snapshot, rowcast.history() as history, \
             (select access_version from rowcast.setting) as access, ",
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
        let access: Option<i64> = row.get("access");
        self.access_version
            .store(access.unwrap_or(0), Ordering::Relaxed);
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

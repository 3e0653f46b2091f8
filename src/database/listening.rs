//! The listening connection: direct, of its own, never through a pooler. What is heard on it, the
//! log as it is read on it, and what the leading node says on it.
//! Hands batches over to the listener. It must never lose a notification without saying so.

use super::{DOORBELL, DatabaseError, Param, connect};
use crate::bookmark::{Snapshot, Spelling, Standpoint};
use crate::config::{self, Doorbell};
use crate::event::Batch;
use crate::notification::NotifyChannel;
use crate::report;
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, mpsc};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Row, SimpleQueryMessage, Statement};

use super::heard::Heard;
use super::rows::{event_from, snapshot_from};
use super::values::{Xid, Xid8};

/// Notifications of `notify` channels that may wait for the listener; more are told as a gap.
const NOTIFICATIONS: usize = 10_000;

/// The session advisory lock of the leading node ([`crate::migrate`] has the number before it).
const LEADER_LOCK: i64 = 7_692_279;

/// What is to be known of the server before anything else.
const OPENING: &str = "select pg_backend_pid(), \
     current_setting('max_prepared_transactions')::integer > 0, rowcast.notify_queue_is_filling(), \
     current_setting('is_superuser'), \
     (select to_jsonb(s) ->> 'schema_number' from rowcast.setting s)";

const LOOK: &str = "select * from rowcast.look($1::text::pg_snapshot, $2, $3)";

/// What one transaction wrote. The horizon is a sequence, and raised before a leaf is emptied: below it
/// some of this may be forgotten. And whether all ring, still: whoever found the bell silent and ended
/// before this transaction did so before this is asked.
const COMMITTED: &str = "select c.*, pg_sequence_last_value('rowcast.horizon') as horizon, \
     pg_sequence_last_value('rowcast.doorbell') = 1 as rings from rowcast.committed c where c.xid = $1::text::xid8 order by c.id";

/// For the statements of this connection itself, as in `rowcast.look`: on a young log the planner
/// would choose a sequential scan and be wrong soon after.
const PLANS: &str = "set enable_seqscan = off; set jit = off; \
     set max_parallel_workers_per_gather = 0; set plan_cache_mode = force_generic_plan";

/// Subtransactions further from their transaction than this are not worth naming all in between.
const NEAR: u64 = 32;

/// From this use of NOTIFY's queue on it is left alone, as by `rowcast.notify_queue_is_filling()`.
const FILLING: f64 = 0.1;

/// How long state events are expected after some were found: each look that does not expect them is
/// one in vain.
const RENDERS_FOR: Duration = Duration::from_secs(10);

/// The rows of `rowcast.channel` that the running service acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    pub notify: Vec<NotifyChannel>,
    pub paused: Vec<String>,
}

/// What one look has shown.
#[derive(Debug)]
pub struct Looked {
    pub batch: Batch,
    /// There is more, behind where the batch ends: it is only a part.
    pub more: bool,
    /// As set in SQL; nothing: as configured.
    pub doorbell: Option<Doorbell>,
    /// Counts changes of rules and revocations.
    pub access_version: i64,
    /// Whether the flag tells writers to ring.
    pub rings: bool,
    pub queue_is_filling: bool,
    /// Of NOTIFY's queue, 0 to 1.
    pub queue_usage: f64,
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
    /// Of the schema; 0: of one before they were counted.
    pub schema_number: i32,
    timeout: Duration,
    link_timeout: Duration,
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
        let link = Some(settings.link_timeout);
        let (client, mut connection) = connect(url, timeout, link).await?;
        let heard = Arc::new(Heard::default());
        let (sender, notifications) = mpsc::channel(NOTIFICATIONS);
        let ear = Arc::clone(&heard);
        let driver = tokio::spawn(async move {
            let mut messages =
                futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = futures_util::StreamExt::next(&mut messages).await {
                if let AsyncMessage::Notification(note) = message {
                    if note.channel() == DOORBELL {
                        ear.hear(note.process_id(), note.payload());
                    } else {
                        let note = (note.channel().to_owned(), note.payload().to_owned());
                        if sender.try_send(note).is_err() {
                            ear.overflow();
                        }
                        ear.ring();
                    }
                }
            }
            ear.close();
        });
        let opened = async {
            // In simple queries, and LISTEN the last: the proof that follows needs silence, and what
            // was prepared would be closed in the middle of it.
            let opening = format!("{PLANS}; {OPENING}");
            let answers = client.simple_query(&opening).await?;
            client.batch_execute(&format!("listen {DOORBELL}")).await?;
            Ok::<_, tokio_postgres::Error>(answers)
        };
        let answers = tokio::time::timeout(timeout, opened).await;
        let answers = answers.map_err(|_| DatabaseError::Timeout(timeout))??;
        let row = answers.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.ok_or(DatabaseError::Answer("no row of the opening"))?;
        let pid = row.get(0).and_then(|pid| pid.parse().ok());
        heard.is_not(pid.ok_or(DatabaseError::Answer("no process id"))?);
        Ok(Self {
            client,
            look: OnceCell::new(),
            committed: OnceCell::new(),
            renders: Mutex::default(),
            heard,
            notifications,
            has_prepared_transactions: row.get(1) == Some("t"),
            queue_was_filling: row.get(2) == Some("t"),
            is_superuser: row.get(3) == Some("on"),
            schema_number: row
                .get(4)
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
            timeout,
            link_timeout: settings.link_timeout,
            driver,
        })
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

    /// Takes the lead, if nobody has it: the lock is this connection's, and ends with it. `alive`:
    /// silence of this connection after which the server may end it, and give the lead to another.
    ///
    /// # Errors
    /// The connection.
    pub async fn try_to_lead(&self, alive: Duration) -> Result<bool, DatabaseError> {
        // On a standby the lock would be had, and the flag could not be set.
        let sql = format!(
            "select case when pg_is_in_recovery() then false \
             else pg_try_advisory_lock({LEADER_LOCK}) end"
        );
        let leads = self.ask(&sql).await?;
        if leads {
            let (link, alive) = (self.link_timeout, alive.as_millis());
            let (unacknowledged, idle) = (link.as_millis(), link.as_secs().div_ceil(2).max(1));
            self.execute(&format!(
                "set application_name = 'rowcast {}'; \
                 set idle_session_timeout = {alive}; set tcp_user_timeout = {unacknowledged}; \
                 set tcp_keepalives_idle = {idle}; set tcp_keepalives_interval = {idle}; \
                 set tcp_keepalives_count = 2",
                super::overview::node()
            ))
            .await?;
        }
        Ok(leads)
    }

    /// Tells writers to ring, or not to. In a transaction of its own: its xid lifts the next
    /// snapshot above those of all who have read the flag before. It waits for no disk and no
    /// standby, or a missing one would hang us.
    ///
    /// # Errors
    /// The connection.
    pub async fn set_doorbell(&self, rings: bool) -> Result<(), DatabaseError> {
        self.execute(&format!(
            "begin; set local synchronous_commit = off; \
             select setval('rowcast.doorbell', {}); commit",
            u8::from(rings)
        ))
        .await
    }

    /// Tells the other nodes.
    ///
    /// # Errors
    /// The connection, or a full NOTIFY queue.
    pub async fn tell(&self, word: &str) -> Result<(), DatabaseError> {
        self.execute(&format!(
            "begin; set local synchronous_commit = off; notify {DOORBELL}, '{word}'; commit"
        ))
        .await
    }

    /// How many writers wait for each other at NOTIFY's lock.
    ///
    /// # Errors
    /// The connection.
    pub async fn waiting_writers(&self) -> Result<i64, DatabaseError> {
        // The lock that NOTIFY takes at commit, on "database 0".
        self.ask(
            "select count(*) from pg_locks where not granted and locktype = 'object' \
             and classid = 'pg_database'::regclass and objid = 0",
        )
        .await
    }

    /// Gives the lead back, with writers silent: whoever looks next will look anyway.
    ///
    /// # Errors
    /// The connection.
    pub async fn step_down(&self, keep_ringing: bool) -> Result<(), DatabaseError> {
        if !keep_ringing {
            self.set_doorbell(false).await?;
        }
        self.ask::<bool>(&format!("select pg_advisory_unlock({LEADER_LOCK})"))
            .await?;
        self.tell(Heard::LEAD).await
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

    /// Looks at the log: what became visible since `from`, or about so many `bytes` of it if they
    /// are to be measured. Nothing if the history has ended.
    ///
    /// # Errors
    /// The connection, or no answer and no further row within `timeout`.
    pub async fn look(
        &self,
        from: &Standpoint,
        bytes: Option<usize>,
        timeout: Duration,
    ) -> Result<Option<Looked>, DatabaseError> {
        let since = from.snapshot.to_postgres();
        let bytes = bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let expects_states = self.expects_states();
        let rows = async |render| self.rows(&[&since, &render, &bytes], timeout).await;
        let mut found = rows(expects_states).await?;
        if found.iter().any(is_state) {
            // From the same place once more; nothing of the first was passed on.
            *self.renders.lock() = Some(Instant::now() + RENDERS_FOR);
            found = rows(true).await?;
        }
        let (row, events) = found.split_first().ok_or(DatabaseError::Answer(
            "rowcast.setting has no row: insert into rowcast.setting default values",
        ))?;
        if row.try_get::<_, Option<&str>>("history")? != Some(&*from.history) {
            return Ok(None);
        }
        let word: Option<&str> = row.try_get("doorbell")?;
        let queue_usage = row.try_get("queue_usage")?;
        Ok(Some(Looked {
            batch: batch_from(events, from, snapshot_from(row.try_get("snapshot")?)?)?,
            more: row.try_get("more")?,
            doorbell: word.and_then(Doorbell::parse),
            access_version: row.try_get("access_version")?,
            rings: row.try_get::<_, Option<bool>>("rings")?.unwrap_or(false),
            queue_is_filling: queue_usage >= FILLING,
            queue_usage,
        }))
    }

    /// What one transaction wrote, which has ended: a batch of its own, up to the place that sees it
    /// besides. Nothing where only a look tells: it wrote state events, or nothing that is there yet,
    /// or still; or others may have ended before it without ringing.
    ///
    /// # Errors
    /// The connection, or no answer within `timeout`.
    pub async fn committed(
        &self,
        from: &Standpoint,
        xid: u64,
        timeout: Duration,
    ) -> Result<Option<Batch>, DatabaseError> {
        let asked = async {
            let prepare = || self.client.prepare_typed(COMMITTED, &[Type::TEXT]);
            let committed = self.committed.get_or_try_init(prepare).await?;
            self.client.query(committed, &[&xid.to_string()]).await
        };
        let answer = tokio::time::timeout(timeout, asked).await;
        let rows = answer.map_err(|_| DatabaseError::Timeout(timeout))??;
        let is_forgotten = |row: &Row| {
            let horizon: Option<i64> = row.get("horizon");
            horizon.is_some_and(|horizon| u64::try_from(horizon).is_ok_and(|all| xid < all))
        };
        let is_silent = |row: &Row| row.get::<_, Option<bool>>("rings") != Some(true);
        let may_lack = |row: &Row| is_silent(row) || is_forgotten(row);
        if rows.first().is_none_or(may_lack) || rows.iter().any(is_state) {
            return Ok(None);
        }
        // No event names a subtransaction: seen as well, it need not be named in every bookmark.
        let written = rows
            .iter()
            .map(|row| row.get::<_, Xid>("written").below(xid));
        let seen: BTreeSet<u64> = written
            .chain([xid])
            .filter(|&below| below - xid < NEAR)
            .collect();
        batch_from(&rows, from, from.snapshot.with(&seen)).map(Some)
    }

    /// Whether state events were found of late, which are read once more to be rendered.
    #[must_use]
    pub fn expects_states(&self) -> bool {
        self.renders
            .lock()
            .is_some_and(|until| Instant::now() < until)
    }

    async fn rows(
        &self,
        params: &[&(dyn ToSql + Sync); 3],
        timeout: Duration,
    ) -> Result<Vec<Row>, DatabaseError> {
        let silence = |_| DatabaseError::Timeout(timeout);
        let asked = async {
            let types = [Type::TEXT, Type::BOOL, Type::INT8];
            let prepare = || self.client.prepare_typed(LOOK, &types);
            let look = self.look.get_or_try_init(prepare).await?;
            self.client.query_raw(look, params.iter().copied()).await
        };
        let answer = tokio::time::timeout(timeout, asked).await;
        let mut rows = pin!(answer.map_err(silence)??);
        let mut found = Vec::new();
        // However long it takes in all: a slow link must not make us begin again and again.
        while let Some(row) = tokio::time::timeout(timeout, rows.try_next())
            .await
            .map_err(silence)??
        {
            found.push(row);
        }
        Ok(found)
    }
}

fn is_state(row: &Row) -> bool {
    row.get::<_, Option<&str>>("render").is_some()
}

/// The events of a look.
fn batch_from(rows: &[Row], from: &Standpoint, snapshot: Snapshot) -> Result<Batch, DatabaseError> {
    let xids = rows.iter().map(|row| row.get::<_, Xid8>("xid").0);
    let highest = xids.max().unwrap_or(0).max(from.highest);
    let to = Standpoint::new(Arc::clone(&from.history), snapshot, highest);
    let spelling = Spelling::of(&to.history, &from.place, Some(&to.place));
    let mut events = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let is_last = index + 1 == rows.len();
        events.push(Arc::new(event_from(row, &spelling, is_last)?));
    }
    let to = Arc::new(to);
    Ok(Batch { to, events })
}

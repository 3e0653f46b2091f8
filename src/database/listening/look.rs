//! The log as it is read on the listening connection: by looks, and by single transactions that rang.
//! Hands batches over to the listener. It must never take long for lost: only silence ends a look.

use super::super::rows::{events_from, snapshot_from};
use super::super::values::{Xid, Xid8};
use super::{DatabaseError, Listening};
use crate::bookmark::{Snapshot, Spelling, Standpoint};
use crate::config::Doorbell;
use crate::event::Batch;
use futures_util::TryStreamExt;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row, Statement};

/// With every row of equal states, of which the last alone is rendered: whoever comes back may have
/// seen the last and lack one before it.
const LOOK: &str = "select * from rowcast.look($1::text::pg_snapshot, $2, $3, true)";

/// What one transaction wrote. The horizon is a sequence, and raised before a leaf is emptied: below it
/// some of this may be forgotten. And whether all ring, still: whoever found the bell silent and ended
/// before this transaction did so before this is asked.
const COMMITTED: &str = "select c.*, pg_sequence_last_value('rowcast.horizon') as horizon, \
     pg_sequence_last_value('rowcast.doorbell') = 1 as rings, null::bigint as state \
     from rowcast.committed c where c.xid = $1::text::xid8 order by c.id";

/// Subtransactions further from their transaction than this are left unseen: bookmarks would have to
/// name all in between.
const NEAR: u64 = 32;

/// From this use of NOTIFY's queue on it is left alone, as by `rowcast.notify_queue_is_filling()`.
const FILLING: f64 = 0.1;

/// How long state events are expected after some were found: each look that does not expect them is
/// one in vain.
const RENDERS_FOR: Duration = Duration::from_secs(10);

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

impl Listening {
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
        let types = [Type::TEXT, Type::BOOL, Type::INT8];
        let prepare = || self.client.prepare_typed(LOOK, &types);
        let rows = async |render: bool| {
            let look = self.look.get_or_try_init(prepare);
            self.rows(look, &[&since, &render, &bytes], timeout).await
        };
        let mut found = rows(expects_states).await?;
        if hold_state(&found)? {
            // From the same place once more; nothing of the first was passed on.
            *self.renders.lock() = Some(Instant::now() + RENDERS_FOR);
            found = rows(true).await?;
        }
        if found.is_empty() {
            return Err(DatabaseError::Answer(
                "rowcast.setting has no row: insert into rowcast.setting default values",
            ));
        }
        let (row, events) = (found.remove(0), found);
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

    /// What one committed transaction wrote: a batch of its own, from our place to the one that sees
    /// this transaction as well. Nothing where only a look tells: it wrote state events; or none of its
    /// rows is there, yet or any more; or others may have committed before it without ringing.
    ///
    /// # Errors
    /// The connection, or no answer and no further row within `timeout`.
    pub async fn committed(
        &self,
        from: &Standpoint,
        xid: u64,
        timeout: Duration,
    ) -> Result<Option<Batch>, DatabaseError> {
        let prepare = || self.client.prepare_typed(COMMITTED, &[Type::TEXT]);
        let committed = self.committed.get_or_try_init(prepare);
        let rows = match self.rows(committed, &[&xid.to_string()], timeout).await {
            // A look passes over what can't be sent.
            Err(error) if error.is_of_encoding() => return Ok(None),
            rows => rows?,
        };
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let rings: Option<bool> = first.try_get("rings")?;
        let horizon: Option<i64> = first.try_get("horizon")?;
        let is_forgotten =
            horizon.is_some_and(|horizon| u64::try_from(horizon).is_ok_and(|all| xid < all));
        if rings != Some(true) || is_forgotten || hold_state(&rows)? {
            return Ok(None);
        }
        // No event names a subtransaction: seen as well, it need not be named in every bookmark.
        let mut seen = BTreeSet::from([xid]);
        for row in &rows {
            let below = row.try_get::<_, Xid>("written")?.below(xid);
            if below - xid < NEAR {
                seen.insert(below);
            }
        }
        batch_from(rows, from, from.snapshot.with(&seen)).map(Some)
    }

    /// Whether state events were found of late, which are read once more to be rendered.
    #[must_use]
    pub fn expects_states(&self) -> bool {
        self.renders
            .lock()
            .is_some_and(|until| Instant::now() < until)
    }

    /// However long it takes in all: a slow link must not make us begin again and again.
    async fn rows(
        &self,
        statement: impl Future<Output = Result<&Statement, Error>>,
        params: &[&(dyn ToSql + Sync)],
        timeout: Duration,
    ) -> Result<Vec<Row>, DatabaseError> {
        let silence = |_| DatabaseError::Timeout(timeout);
        let asked = async {
            let statement = statement.await?;
            let params = params.iter().copied();
            self.client.query_raw(statement, params).await
        };
        let answer = tokio::time::timeout(timeout, asked).await;
        let mut rows = pin!(answer.map_err(silence)??);
        let mut found = Vec::new();
        while let Some(row) = tokio::time::timeout(timeout, rows.try_next())
            .await
            .map_err(silence)??
        {
            found.push(row);
        }
        Ok(found)
    }
}

/// Whether any of these is a state event that was not rendered.
fn hold_state(rows: &[Row]) -> Result<bool, DatabaseError> {
    for row in rows {
        if row.try_get::<_, Option<&str>>("render")?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The events of a look.
fn batch_from(
    rows: Vec<Row>,
    from: &Standpoint,
    snapshot: Snapshot,
) -> Result<Batch, DatabaseError> {
    let mut highest = from.highest;
    for row in &rows {
        highest = highest.max(row.try_get::<_, Xid8>("xid")?.0);
    }
    let to = Standpoint::new(Arc::clone(&from.history), snapshot, highest);
    let spelling = Spelling::of(&to.history, &from.place, Some(&to.place));
    let (events, states) = events_from(rows, &spelling, true)?;
    Ok(Batch {
        to: Arc::new(to),
        events,
        states,
    })
}

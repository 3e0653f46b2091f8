//! The log, by the pool: what lies between two places, and keeping it within its bounds.
//! Hands replays over to connections, and what the log takes to the listener. It must never pass off
//! what another server lacks for what there is to recover.

use super::rows::{event_from, events_from, first};
use super::{Database, DatabaseError, Mode, Param};
use crate::bookmark::{Bookmark, Snapshot, Spelling, Standpoint};
use crate::event::Event;
use crate::hub::{Refill, Refilled};
use crate::report;
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Events in an order, each with the bytes of payloads up to it, and no more than the first above so
/// many: the server sends nothing that would only be thrown away. Of a payload that it does not send,
/// it knows the length without reading it.
macro_rules! up_to_bytes {
    ($events:literal, $order:literal, $most:literal) => {
        concat!(
            " from (values (1)) one left join (select e.*, \
               sum(coalesce(octet_length(e.data::text), 0)) over ( \
                 order by ",
            $order,
            " rows unbounded preceding) as bytes from ",
            $events,
            " e) e on e.bytes - coalesce(octet_length(e.data::text), 0) <= ",
            $most,
            " order by ",
            $order
        )
    };
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

impl Database {
    /// What lies between a bookmark and a standpoint in these rooms, from the log. No more of it is
    /// taken in than the limits and one event. Of equal states only the last, unless the reader may know
    /// that one and lack another.
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
               $2::text::pg_snapshot, $3, $4, $5, $8) e where $2 is not null), \
             later as (select 2 as part, e.* from rowcast.read_log( \
               coalesce($2, $1)::text::pg_snapshot, $6::text::pg_snapshot, null, $4, $5, $8) e) \
             select case when not pg_is_in_recovery() then rowcast.history() end as history, ",
            event_columns!(),
            ", e.part, e.bytes",
            up_to_bytes!("(table rest union all table later)", "e.part, e.id", "$7"),
            " limit $5"
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
        let most_bytes = i64::try_from(limit_bytes).unwrap_or(i64::MAX);
        let equals = since.may_be_shortened();
        let params: [Param; 8] = [
            (&base, Type::TEXT),
            (&batch, Type::TEXT),
            (&id, Type::INT8),
            (&names, Type::TEXT_ARRAY),
            (&most, Type::INT8),
            (&target, Type::TEXT),
            (&most_bytes, Type::INT8),
            (&equals, Type::BOOL),
        ];
        report::statement("replay");
        let Some(rows) = self.between(sql, &params, &to.history).await? else {
            return Ok(LogReplay::Forgotten);
        };
        if are_above(&rows, limit, most_bytes)? {
            return Ok(LogReplay::TooMuch);
        }
        let newest = since.newest();
        let rest = Spelling::of(&to.history, &since.base, Some(newest));
        let later = Spelling::of(&to.history, newest, Some(&to.place));
        let (mut events, count) = (Vec::with_capacity(rows.len()), rows.len());
        let mut bytes = 0;
        for (index, row) in rows.into_iter().enumerate() {
            let is_later = row.try_get::<_, i32>("part")? == 2;
            let last = is_later && index + 1 == count;
            let event = event_from(&row, if is_later { &later } else { &rest }, last)?;
            bytes += event.weight();
            events.push(Arc::new(event));
        }
        Ok(if bytes > limit_bytes {
            LogReplay::TooMuch
        } else {
            LogReplay::Events(events)
        })
    }

    /// All that a refill asks for; nothing if that is more than it may be, or no longer in the log. No
    /// more of it is taken in than its limits and one event.
    ///
    /// # Errors
    /// The database.
    pub async fn refill(&self, refill: &Refill) -> Result<Option<Refilled>, DatabaseError> {
        let sql = concat!(
            "select case when not pg_is_in_recovery() then rowcast.history() end as history, ",
            event_columns!(),
            ", e.state, e.bytes",
            up_to_bytes!(
                "rowcast.read_log($1::text::pg_snapshot, $2::text::pg_snapshot, null, $5, $3, true)",
                "e.id",
                "$4"
            ),
        );
        let (from, to) = (refill.from.to_postgres(), refill.to.place.to_postgres());
        let most = i64::try_from(refill.events + 1).unwrap_or(i64::MAX);
        let most_bytes = i64::try_from(refill.bytes).unwrap_or(i64::MAX);
        let names = refill.rooms.as_ref();
        let names: Option<Vec<&str>> = names.map(|all| all.iter().map(AsRef::as_ref).collect());
        let params: [Param; 5] = [
            (&from, Type::TEXT),
            (&to, Type::TEXT),
            (&most, Type::INT8),
            (&most_bytes, Type::INT8),
            (&names, Type::TEXT_ARRAY),
        ];
        report::statement("refill");
        let Some(rows) = self.between(sql, &params, &refill.to.history).await? else {
            return Ok(None);
        };
        if are_above(&rows, refill.events, most_bytes)? {
            return Ok(None);
        }
        let spelling = Spelling::of(&refill.to.history, &refill.from, Some(&refill.to.place));
        let (events, states) = events_from(rows, &spelling, false)?;
        let found = Refilled::new(events, states);
        Ok((found.bytes <= refill.bytes).then_some(found))
    }

    /// The rows of events, where each row says the history as well, the first also if there is no
    /// event; nothing if some of it is no longer in the log.
    async fn between(
        &self,
        sql: &str,
        params: &[Param<'_>],
        history: &str,
    ) -> Result<Option<Vec<Row>>, DatabaseError> {
        let mut rows = match self.read(sql, params).await {
            Err(DatabaseError::Forgotten) => return Ok(None),
            rows => rows?,
        };
        // The pool may have come to another server than the listener: what it lacks would pass for
        // what there is to recover.
        if first(&rows)?.try_get::<_, Option<&str>>("history")? != Some(history) {
            self.forget();
            return Err(DatabaseError::Elsewhere);
        }
        rows.retain(|row| row.try_get::<_, i64>("id").is_ok());
        Ok(Some(rows))
    }

    /// Keeps the log within its bounds, sparing what comes after `read`; and what it takes then.
    /// Whoever reads the log waits for the lock on a leaf that is emptied, until that is committed.
    ///
    /// # Errors
    /// The database.
    pub async fn rotate_log(&self, read: &Snapshot) -> Result<(Rotated, LogSize), DatabaseError> {
        let (rotate, size) = (
            "select moved, forgotten, refused from rowcast.rotate_log($1::text::pg_snapshot)",
            "select bytes, events, extract(epoch from clock_timestamp() - oldest_at)::float8 as age \
             from rowcast.log_size()",
        );
        let read = read.to_postgres();
        let params: [Param; 1] = [(&read, Type::TEXT)];
        let rotated = self.ask(Mode::WriteHere, self.timeout, rotate, &params);
        let (rotated, size) = (rotated.await?, self.read(size, &[]).await?);
        let (rotated, size) = (first(&rotated)?, first(&size)?);
        let rotated = Rotated {
            moved: rotated.try_get("moved")?,
            forgotten: rotated.try_get("forgotten")?,
            refused: rotated.try_get("refused")?,
        };
        let size = LogSize {
            bytes: size.try_get("bytes")?,
            events: size.try_get("events")?,
            age: size.try_get("age")?,
        };
        Ok((rotated, size))
    }
}

/// Whether these are more, or of more bytes, than may be.
fn are_above(rows: &[Row], limit: usize, limit_bytes: i64) -> Result<bool, DatabaseError> {
    let bytes: i64 = match rows.last() {
        Some(last) => last.try_get("bytes")?,
        None => 0,
    };
    Ok(rows.len() > limit || bytes > limit_bytes)
}

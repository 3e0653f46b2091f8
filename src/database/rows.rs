//! Rows of the log as PostgreSQL sends them, and the values in them that tokio-postgres has no type
//! for. Hands events over to whoever asked for rows.
//! It must never pass on what breaks the bounds: rows may be inserted past all checks.

use super::DatabaseError;
use super::values::{JsonText, Moment, Xid8};
use crate::bookmark::{Snapshot, Spelling};
use crate::event::{
    EVERYBODY, Entry, Equals, Event, Frames, GAP, GapReason, NAME_BYTES, Place, States, is_name,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio_postgres::Row;

/// The most rooms that are told of an event that breaks the bounds.
const BROKEN_ROOMS: usize = 1000;

pub(super) fn first(rows: &[Row]) -> Result<&Row, DatabaseError> {
    rows.first()
        .ok_or(DatabaseError::Answer("a function returned no row"))
}

/// Reads the events of rows in order of id, with the columns of [`event_columns`] and `state`; of
/// equal states the last. `ends`: these are all events up to the spelling's end, so the last one's
/// bookmark is that end. Each row is dropped as soon as it is read: of a million, rows and events take
/// half a gigabyte each.
pub(super) fn events_from(
    mut rows: Vec<Row>,
    spelling: &Spelling,
    ends: bool,
) -> Result<(Vec<Arc<Event>>, States), DatabaseError> {
    let (mut events, mut equals) = (Vec::with_capacity(rows.len()), Equals::default());
    while let Some(row) = rows.pop() {
        let state: Option<i64> = row.try_get("state")?;
        if state.is_none() || equals.is_event(entry_from(&row)?, state) {
            let last = ends && events.is_empty();
            events.push(Arc::new(event_from(&row, spelling, last)?));
        }
    }
    events.reverse();
    Ok((events, equals.states()))
}

fn entry_from(row: &Row) -> Result<Entry, DatabaseError> {
    let id = u64::try_from(row.try_get::<_, i64>("id")?).unwrap_or(0);
    let Xid8(xid) = row.try_get("xid")?;
    Ok(Entry { id, xid })
}

/// Reads the columns of [`event_columns`]. A row that was inserted past all checks and breaks a
/// bound is not passed on: its rooms get a gap instead.
pub(super) fn event_from(
    row: &Row,
    spelling: &Spelling,
    last: bool,
) -> Result<Event, DatabaseError> {
    let Entry { id, xid } = entry_from(row)?;
    let bookmark = if last {
        spelling.last_event(id)
    } else {
        spelling.event(id)
    };
    let place = Place {
        id,
        xid,
        bookmark: bookmark.into(),
    };
    let (mut channel, mut name): (&str, &str) = (row.try_get("channel")?, row.try_get("name")?);
    // An array of more than one dimension can't be read at all.
    let mut rooms: Vec<Option<&str>> = row.try_get("rooms").unwrap_or_else(|_| vec![None]);
    let data: Option<JsonText<'_>> = row.try_get("data")?;
    let mut data = data.map_or("null", |JsonText(text)| text);
    // Neither can a time such as infinity.
    let at = row.try_get("at").map(|Moment(at)| at);
    if at.is_err() || !within_bounds(channel, name, &rooms, data) {
        (channel, name, data) = ("rowcast", GAP, "null");
        rooms.truncate(BROKEN_ROOMS);
    }
    // Nobody knows who was meant by a null: everybody is told.
    let rooms = rooms.into_iter().map(|room| room.unwrap_or(EVERYBODY));
    let data = RawValue::from_string(data.to_owned())
        .map_err(|_| DatabaseError::Answer("data is not JSON"))?;
    let failed: bool = row.try_get("failed")?;
    let lost = if name == GAP {
        Some(told_reason(&data))
    } else {
        failed.then_some(GapReason::Trigger)
    };
    Ok(Event {
        place: Some(place),
        channel: channel.to_owned(),
        name: name.to_owned(),
        rooms: rooms.map(Into::into).collect(),
        data,
        at: at.unwrap_or_default(),
        lost,
        frames: Frames::default(),
    })
}

/// The reason that a row named [`GAP`] gives.
fn told_reason(data: &RawValue) -> GapReason {
    #[derive(Deserialize)]
    struct Told<'a> {
        reason: &'a str,
    }
    match serde_json::from_str(data.get()) {
        Ok(Told { reason: "paused" }) => GapReason::Paused,
        _ => GapReason::Trigger,
    }
}

/// The bounds that SQL keeps wherever it is asked to (docs/sql.md).
fn within_bounds(channel: &str, name: &str, rooms: &[Option<&str>], data: &str) -> bool {
    let rooms_bytes: usize = rooms.iter().flatten().map(|room| room.len()).sum();
    is_name(channel, NAME_BYTES)
        && is_name(name, NAME_BYTES)
        && data.len() <= 1 << 20
        && rooms_bytes <= 1 << 16
        && rooms
            .iter()
            .all(|room| room.is_some_and(|room| !room.contains(char::is_control)))
}

pub(super) fn snapshot_from(text: &str) -> Result<Snapshot, DatabaseError> {
    Snapshot::from_postgres(text).ok_or(DatabaseError::Answer("a snapshot that is none"))
}

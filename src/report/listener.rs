//! What the listener finds in the database, and what becomes of it. Hands over to the log and to
//! `/metrics`. It must never be given a payload.

use super::delay::Delays;
use super::repeated::{ByReason, Repeated};
use super::{FAILURES, add};
use crate::clock::{millis, now_ms};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub(super) static BATCHES: AtomicU64 = AtomicU64::new(0);
pub(super) static EVENTS: AtomicU64 = AtomicU64::new(0);
pub(super) static LOST_CONNECTIONS: AtomicU64 = AtomicU64::new(0);
pub(super) static NOTIFICATIONS: AtomicU64 = AtomicU64::new(0);
pub(super) static LOCKED_LEAVES: AtomicU64 = AtomicU64::new(0);
/// By channel: a DBA lists few.
static UNMAPPED: ByReason = ByReason::new();
static LOST_EVENTS: Repeated = Repeated::new();
pub(super) static TO_QUEUE: Delays = Delays::new();
/// Whether this process has ever heard the doorbell.
static HAS_LISTENED: AtomicBool = AtomicBool::new(false);

/// The listener has read a batch. `age` is the time since the youngest event's insert.
pub fn batch(events: usize, age: Duration) {
    add(&BATCHES, 1);
    add(&EVENTS, events);
    TO_QUEUE.count(age);
}

/// A notification of a `notify` channel was pushed.
pub fn notification() {
    add(&NOTIFICATIONS, 1);
}

/// A notification could not be mapped to rooms. Any role of the database sends them, as fast as it can.
pub fn notification_unmapped(channel: &str, why: &str) {
    add(&FAILURES, 1);
    let Some(untold) = UNMAPPED.tell(channel, now_ms()) else {
        return;
    };
    tracing::warn!(
        channel,
        why,
        untold,
        "a notification was dropped: its payload does not fit the templates of rowcast.channel"
    );
}

/// A row of `rowcast.channel` can't be acted on.
pub fn channel_unreadable(channel: &str, error: &dyn std::fmt::Display) {
    add(&FAILURES, 1);
    tracing::error!(
        channel,
        %error,
        "this row of rowcast.channel is passed over: its rooms have to be a list of texts"
    );
}

/// A trigger or a renderer lost events; everybody concerned is told of a gap. What fails does so at each
/// write: each counts, and one a second is told of.
pub fn events_lost(channel: &str, name: &str) {
    add(&FAILURES, 1);
    let Some(untold) = LOST_EVENTS.tell(now_ms()) else {
        return;
    };
    tracing::error!(
        channel,
        name,
        untold,
        "the database lost events of this channel: see rowcast.failure and the server's log"
    );
}

/// The listener hears the doorbell and has read the log.
pub fn listener_ready(history: &str) {
    HAS_LISTENED.store(true, Ordering::Relaxed);
    tracing::info!(history, "listening");
}

/// The listener lost its connection and will come back.
pub fn listener_lost(error: &str, wait: Duration) {
    add(&LOST_CONNECTIONS, 1);
    let wait_ms = millis(wait);
    if HAS_LISTENED.load(Ordering::Relaxed) {
        tracing::warn!(
            error,
            wait_ms,
            "the listener lost the database; connected clients stay and will catch up"
        );
    } else {
        tracing::warn!(
            error,
            wait_ms,
            "the database does not let the listener in yet; nobody is served until it does"
        );
    }
}

/// A new history began: everybody is told of a gap.
pub fn history_changed(history: &str) {
    tracing::warn!(
        history,
        "the database began a new history: all older bookmarks are answered with a gap"
    );
}

/// The log was cut while the listener was away: everybody is told of a gap.
pub fn log_is_shorter() {
    tracing::warn!(
        "the log no longer reaches back to where the listener stood: everybody is told of a gap"
    );
}

/// This node leads: it sets the doorbell's flag, and keeps the log short.
pub fn leads() {
    tracing::info!("leading");
}

/// Somebody holds the lead's lock who is no service: nobody leads.
pub fn lead_is_held(holder: &str) {
    tracing::warn!(
        holder,
        "somebody holds the lock of the node that leads, 7692279, and is no member of rowcast_service: \
         until that session ends, nobody looks after the log, and writers' rings are not set"
    );
}

/// NOTIFY's queue fills up: writers ring no more, whatever the doorbell's mode.
pub fn notify_queue_fills(usage: f64) {
    tracing::warn!(
        usage,
        "the NOTIFY queue fills up: somebody who did LISTEN sits in a transaction; until it empties, \
         writers do not ring and the log is polled"
    );
}

/// The log moved on to another leaf, or forgot one.
pub fn log_rotated(moved: bool, forgotten: Option<i32>, bytes: i64) {
    tracing::info!(moved, forgotten, bytes, "log rotated");
}

/// Leaves of the log could not be emptied.
pub fn log_is_locked(leaves: i32) {
    add(&LOCKED_LEAVES, 1);
    tracing::debug!(
        leaves,
        "somebody holds a lock on the log: it is not emptied"
    );
}

/// The database's schema is of another version than this program.
pub fn schema(database: i32, program: i32) {
    use std::cmp::Ordering;
    match database.cmp(&program) {
        Ordering::Less => tracing::warn!(
            database,
            program,
            "the database's schema is older than this program: run its `rowcast migrate`"
        ),
        Ordering::Greater => tracing::warn!(
            database,
            program,
            "the database's schema is newer than this program: update this node"
        ),
        Ordering::Equal => {}
    }
}

/// How writers wake the listener, and who said so.
pub fn doorbell(mode: &str, set_in_sql: bool, has_prepared_transactions: bool) {
    tracing::info!(mode, set_in_sql, "doorbell");
    if has_prepared_transactions && mode == "never" && !set_in_sql {
        tracing::warn!(
            "max_prepared_transactions is above 0 here, and NOTIFY would make PREPARE TRANSACTION \
             fail: writers never ring, and the listener polls. If nothing is ever prepared, set \
             listener.doorbell to adaptive"
        );
    } else if has_prepared_transactions && mode != "never" {
        tracing::warn!(
            mode,
            "max_prepared_transactions is above 0 here, and while writers ring, PREPARE TRANSACTION \
             fails for those that pushed events"
        );
    }
}

/// `rowcast.channel` was read.
pub fn channels(notify: usize, paused: usize) {
    tracing::info!(notify, paused, "channels");
}

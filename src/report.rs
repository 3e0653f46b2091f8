//! One function for each fact that operators can observe: words, level, fields and counter.
//! Hands over to the log and to `/metrics`. It must never be given a token or a payload.

mod connections;
mod delay;
mod listener;
mod page;
mod process;
mod prometheus;
mod recent;
mod repeated;
mod transport;
mod words;

use crate::clock::{millis, now_ms};
use connections::{CLOSES, LEFT, OPENED, REFUSALS};
pub use connections::{
    Caller, arrived, call_refused, called, closed, forwarded_unreadable, frame_refused,
    keep_recent, opened, post_refused, recent, refused, refused_again,
};
use delay::Delays;
pub use delay::{BOUNDS, Counts};
use listener::{EVENTS, LOST_CONNECTIONS};
pub use listener::{
    batch, channel_unreadable, channels, doorbell, events_lost, history_changed, lead_is_held,
    leads, listener_lost, listener_ready, log_is_locked, log_is_shorter, log_rotated, notification,
    notification_unmapped, notify_queue_fills, schema,
};
pub use page::Page;
pub use process::{
    demo_failed, ended, handshake_failed, http_ended, keys_not_refreshed, link_ended, not_accepted,
    not_started, serving, stopped, stopping, told_to_stop, unwise,
};
pub use prometheus::{KnownLabels, prometheus};
pub use recent::{Turn, What};
use repeated::ByReason;
pub use repeated::Repeated;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
pub use transport::{PerTransport, Transport};
use words::Words;

static DELIVERIES: AtomicU64 = AtomicU64::new(0);
static RING_REPLAYS: AtomicU64 = AtomicU64::new(0);
static LOG_REPLAYS: AtomicU64 = AtomicU64::new(0);
static GAPS: AtomicU64 = AtomicU64::new(0);
static WITHDRAWALS: AtomicU64 = AtomicU64::new(0);
static ACKNOWLEDGEMENTS: AtomicU64 = AtomicU64::new(0);
static FAILURES: AtomicU64 = AtomicU64::new(0);
static LOST_LINES: AtomicU64 = AtomicU64::new(0);
static BROKEN_RULES: Repeated = Repeated::new();
static ENDED_LINKS: Repeated = Repeated::new();
/// By what was asked: some dozen words of ours.
static UNANSWERED: ByReason = ByReason::new();
static STATEMENTS: Words = Words::new();
static TO_SOCKET: Delays = Delays::new();

fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Ordering::Relaxed);
}

/// Events were written towards a socket.
pub fn delivered(events: usize) {
    add(&DELIVERIES, events);
}

/// Live events were handed to a socket: when each was inserted, in Unix microseconds.
pub fn reached_socket(inserted: &[i64]) {
    if inserted.is_empty() {
        return;
    }
    let now = jiff::Timestamp::now().as_microsecond();
    for at in inserted {
        let micros = u64::try_from(now.saturating_sub(*at)).unwrap_or(0);
        TO_SOCKET.count(Duration::from_micros(micros));
    }
}

/// A subscribe was answered from the ring.
pub fn replayed_from_ring() {
    add(&RING_REPLAYS, 1);
}

/// A subscribe was answered from the log.
pub fn replayed_from_log() {
    add(&LOG_REPLAYS, 1);
}

/// Somebody was told that events may be missing.
pub fn gap(reason: &str) {
    add(&GAPS, 1);
    tracing::debug!(reason, "gap");
}

/// A statement is asked over the pool, for this purpose.
pub fn statement(purpose: &str) {
    STATEMENTS.count(purpose);
}

/// A durable reader said how far it has come.
pub fn acknowledged() {
    add(&ACKNOWLEDGEMENTS, 1);
}

/// A line of our own log could not be written, or too many waited for that.
pub fn line_lost() {
    add(&LOST_LINES, 1);
}

/// The service could do anything in the database, and whoever takes it over could.
pub fn role_is_superuser() {
    tracing::warn!(
        "the service runs as a superuser of the database, and needs no more than the role \
         rowcast_service may"
    );
}

/// Rules have changed, and everybody was asked for again: identities, rooms taken away, and
/// questions that were not answered and will be asked again.
pub fn rechecked(identities: usize, withdrawn: usize, failed: usize, took: Duration) {
    add(&WITHDRAWALS, withdrawn);
    let took_ms = millis(took);
    tracing::info!(identities, withdrawn, failed, took_ms, "rechecked");
}

/// A question was not answered for a reason of the database's, or of the way there. Each of thousands
/// who come back may ask it: each counts, and of each `what` one a second is told of.
pub fn database_failed(what: &str, error: &dyn std::fmt::Display) {
    add(&FAILURES, 1);
    if let Some(untold) = UNANSWERED.tell(what, now_ms()) {
        tracing::warn!(what, %error, untold, "the database could not be asked");
    }
}

/// The server ended a connection that nobody used just then, and said why: an administrator, or its own
/// end. It may do so with all of them at once.
pub fn link_ended_by_server(error: &str) {
    if let Some(untold) = ENDED_LINKS.tell(now_ms()) {
        tracing::warn!(error, untold, "the database ended a connection of the pool");
    }
}

/// A rule that decides who may be where failed, or ran out of time: the owner's SQL is to be mended,
/// and the database is there.
pub fn rule_failed(what: &str, error: &dyn std::fmt::Display) {
    add(&FAILURES, 1);
    tell_of_rule(what, error);
}

/// A rule failed that has an answer even so, which is no. It counts only where its function is gone: what
/// else makes it fail may be what was asked, and whoever asks does so as fast as they send.
pub fn rule_says_no(what: &str, error: &str) {
    // As rowcast.no_function begins it.
    add(&FAILURES, error.contains(": there is no function ").into());
    tell_of_rule(what, &error);
}

fn tell_of_rule(what: &str, error: &dyn std::fmt::Display) {
    if let Some(untold) = BROKEN_RULES.tell(now_ms()) {
        tracing::warn!(what, %error, untold, "a rule failed");
    }
}

/// Dialects call functions that nobody can: their front ends are answered as if there were none.
pub fn not_callable(functions: &[String]) {
    let functions = functions.join(", ");
    tracing::warn!(
        functions,
        "dialects call what rowcast.callable does not list"
    );
}

/// A statement that several asked together failed: each is asked for again, with fewer others.
pub fn asked_again(questions: usize, error: &dyn std::fmt::Display) {
    tracing::warn!(questions, %error, "a rule failed or is slow: asking again in parts");
}

/// The counters since the process began.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub events: u64,
    pub deliveries: u64,
    pub gaps: u64,
    pub failures: u64,
    pub ring_replays: u64,
    pub log_replays: u64,
    pub listener_losses: u64,
    /// From insert to socket, live events only; by [`BOUNDS`].
    pub to_socket: Counts,
    pub refusals: Vec<(String, u64)>,
    pub closes: Vec<(String, u64)>,
    /// Open now.
    pub open: PerTransport,
}

/// What was counted so far.
#[must_use]
pub fn totals() -> Totals {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    // Those who left first: whoever opens in between is then counted, and nobody twice.
    let left = LEFT.all();
    let opened = OPENED.all();
    Totals {
        events: read(&EVENTS),
        deliveries: read(&DELIVERIES),
        gaps: read(&GAPS),
        failures: read(&FAILURES),
        ring_replays: read(&RING_REPLAYS),
        log_replays: read(&LOG_REPLAYS),
        listener_losses: read(&LOST_CONNECTIONS),
        to_socket: TO_SOCKET.counts(),
        refusals: REFUSALS.all(),
        closes: CLOSES.all(),
        open: std::array::from_fn(|at| opened[at] - left[at]),
    }
}

//! One function for each fact that operators can observe: words, level, fields and counter.
//! Hands over to the log and to `/metrics`. It must never be given a token or a payload.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets from commit to queue, in seconds.
const BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0,
];

static BATCHES: AtomicU64 = AtomicU64::new(0);
static EVENTS: AtomicU64 = AtomicU64::new(0);
static DELIVERIES: AtomicU64 = AtomicU64::new(0);
static LOST_CONNECTIONS: AtomicU64 = AtomicU64::new(0);
static RING_REPLAYS: AtomicU64 = AtomicU64::new(0);
static LOG_REPLAYS: AtomicU64 = AtomicU64::new(0);
static GAPS: AtomicU64 = AtomicU64::new(0);
static WITHDRAWALS: AtomicU64 = AtomicU64::new(0);
static NOTIFICATIONS: AtomicU64 = AtomicU64::new(0);
static LOCKED_LEAVES: AtomicU64 = AtomicU64::new(0);
static FAILURES: AtomicU64 = AtomicU64::new(0);
static LATENCY: [AtomicU64; BUCKETS.len() + 1] = [const { AtomicU64::new(0) }; BUCKETS.len() + 1];
static LATENCY_MICROS: AtomicU64 = AtomicU64::new(0);

fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Ordering::Relaxed);
}

/// Counters by word: few words, so a list that is searched.
struct Words(std::sync::Mutex<Vec<(String, u64)>>);

impl Words {
    const fn new() -> Self {
        Self(std::sync::Mutex::new(Vec::new()))
    }

    fn count(&self, word: &str) {
        let mut words = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match words.iter_mut().find(|(known, _)| known == word) {
            Some((_, count)) => *count += 1,
            None => words.push((word.to_owned(), 1)),
        }
    }

    fn print(&self, text: &mut String, name: &str, label: &str, help: &str) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for (word, count) in self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .iter()
        {
            let _ = writeln!(text, "{name}{{{label}=\"{word}\"}} {count}");
        }
    }
}

static REFUSALS: Words = Words::new();
static CLOSES: Words = Words::new();
static OPENED: Words = Words::new();
static CALLS: Words = Words::new();
static CALL_MICROS: AtomicU64 = AtomicU64::new(0);

/// The listener has read a batch. `age` is the time since the youngest event's insert.
pub fn batch(events: usize, age: Option<Duration>) {
    add(&BATCHES, 1);
    add(&EVENTS, events);
    if let Some(age) = age {
        let seconds = age.as_secs_f64();
        let bucket = BUCKETS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BUCKETS.len());
        add(&LATENCY[bucket], 1);
        add(
            &LATENCY_MICROS,
            usize::try_from(age.as_micros()).unwrap_or(usize::MAX),
        );
    }
}

/// Events were written towards a socket.
pub fn delivered(events: usize) {
    add(&DELIVERIES, events);
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

/// A notification of a `notify` channel was pushed.
pub fn notification() {
    add(&NOTIFICATIONS, 1);
}

/// A notification could not be mapped to rooms.
pub fn notification_unmapped(channel: &str, why: &str) {
    add(&FAILURES, 1);
    tracing::warn!(
        channel,
        why,
        "a notification was dropped: its payload does not fit the templates of rowcast.channel"
    );
}

/// A trigger or a renderer lost events; everybody concerned is told of a gap.
pub fn events_lost(channel: &str, name: &str) {
    add(&FAILURES, 1);
    tracing::error!(
        channel,
        name,
        "the database lost events of this channel: see rowcast.failure and the server's log"
    );
}

/// The listener hears the doorbell and has read the log.
pub fn listener_ready(history: &str) {
    tracing::info!(history, "listening");
}

/// The listener lost its connection and will come back.
pub fn listener_lost(error: &str, wait: Duration) {
    add(&LOST_CONNECTIONS, 1);
    tracing::warn!(
        error,
        wait_ms = wait.as_millis(),
        "the listener lost the database; connected clients stay and will catch up"
    );
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

/// Somebody was let in by `limits.connects_per_second`, and is asked for in SQL.
pub fn arrived(transport: &'static str) {
    tracing::debug!(transport, "arrived");
}

/// A connection opened. A poll is one from its request to its answer, and there are many: too many
/// for a line each.
pub fn opened(transport: &'static str, connection: &str, user: Option<&str>, address: &str) {
    OPENED.count(transport);
    if transport == "poll" {
        tracing::debug!(transport, connection, user, address, "opened");
    } else {
        tracing::info!(transport, connection, user, address, "opened");
    }
}

/// A connection closed, for this reason.
pub fn closed(transport: &'static str, connection: &str, why: &str, seconds: f64) {
    CLOSES.count(why);
    if transport == "poll" {
        tracing::debug!(transport, connection, why, seconds, "closed");
    } else {
        tracing::info!(transport, connection, why, seconds, "closed");
    }
}

/// Somebody was refused.
pub fn refused(transport: &'static str, word: &str, detail: &str, address: &str) {
    REFUSALS.count(word);
    tracing::info!(transport, word, detail, address, "refused");
}

/// A call was answered.
pub fn called(took: Duration) {
    CALLS.count("ok");
    add(
        &CALL_MICROS,
        usize::try_from(took.as_micros()).unwrap_or(usize::MAX),
    );
}

/// A call was refused or failed. The function only if it is a listed one, for its name is a caller's
/// word; the detail says where it failed, and with which SQLSTATE.
pub fn call_refused(
    transport: &'static str,
    caller: &str,
    function: Option<&str>,
    word: &str,
    detail: &str,
) {
    CALLS.count(word);
    if word == "call-failed" {
        tracing::warn!(transport, caller, function, word, detail, "call failed");
    } else {
        tracing::info!(transport, caller, function, word, detail, "call refused");
    }
}

/// Rules have changed, and everybody was asked for again: identities, rooms taken away, and
/// questions that were not answered and will be asked again.
pub fn rechecked(identities: usize, withdrawn: usize, failed: usize, took: Duration) {
    add(&WITHDRAWALS, withdrawn);
    let took_ms = took.as_millis();
    tracing::info!(identities, withdrawn, failed, took_ms, "rechecked");
}

/// A connection could not be served for a reason of the database's.
pub fn database_failed(what: &str, error: &dyn std::fmt::Display) {
    add(&FAILURES, 1);
    tracing::warn!(what, %error, "the database did not answer");
}

/// The counters in Prometheus' text format; gauges are added by whoever holds them.
#[must_use]
pub fn prometheus() -> String {
    let mut text = String::new();
    for (name, counter, help) in [
        (
            "rowcast_batches_total",
            &BATCHES,
            "Looks at the log that found events.",
        ),
        ("rowcast_events_total", &EVENTS, "Events read from the log."),
        (
            "rowcast_deliveries_total",
            &DELIVERIES,
            "Events written towards sockets.",
        ),
        (
            "rowcast_listener_losses_total",
            &LOST_CONNECTIONS,
            "Times the listener lost the database.",
        ),
        (
            "rowcast_ring_replays_total",
            &RING_REPLAYS,
            "Resumes answered from memory.",
        ),
        (
            "rowcast_log_replays_total",
            &LOG_REPLAYS,
            "Resumes answered by a query.",
        ),
        ("rowcast_gaps_total", &GAPS, "Gaps told to subscribers."),
        (
            "rowcast_withdrawals_total",
            &WITHDRAWALS,
            "Rooms taken from connections, because a rule no longer grants them.",
        ),
        (
            "rowcast_notifications_total",
            &NOTIFICATIONS,
            "Notifications of notify channels pushed.",
        ),
        (
            "rowcast_log_refusals_total",
            &LOCKED_LEAVES,
            "Times that a lock kept the log from being emptied.",
        ),
        (
            "rowcast_failures_total",
            &FAILURES,
            "Errors that lost or delayed something.",
        ),
    ] {
        let value = counter.load(Ordering::Relaxed);
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"
        );
    }
    OPENED.print(
        &mut text,
        "rowcast_connections_opened_total",
        "transport",
        "Connections opened.",
    );
    CLOSES.print(
        &mut text,
        "rowcast_connections_closed_total",
        "reason",
        "Connections closed.",
    );
    REFUSALS.print(
        &mut text,
        "rowcast_refusals_total",
        "code",
        "Requests and frames refused.",
    );
    CALLS.print(
        &mut text,
        "rowcast_calls_total",
        "outcome",
        "Calls of functions.",
    );
    #[expect(clippy::cast_precision_loss, reason = "a sum for a graph")]
    let seconds = CALL_MICROS.load(Ordering::Relaxed) as f64 / 1e6;
    let name = "rowcast_call_seconds_total";
    let _ = writeln!(
        text,
        "# HELP {name} What answered calls took together, waiting included.\n\
         # TYPE {name} counter\n{name} {seconds}"
    );
    let name = "rowcast_commit_to_queue_seconds";
    let _ = writeln!(
        text,
        "# HELP {name} From an event's insert to the queues of its subscribers."
    );
    let _ = writeln!(text, "# TYPE {name} histogram");
    let mut sum = 0;
    for (bound, bucket) in BUCKETS.iter().zip(&LATENCY) {
        sum += bucket.load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {sum}");
    }
    sum += LATENCY[BUCKETS.len()].load(Ordering::Relaxed);
    let micros = LATENCY_MICROS.load(Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "a sum for a graph")]
    let seconds = micros as f64 / 1e6;
    let _ = writeln!(
        text,
        "{name}_bucket{{le=\"+Inf\"}} {sum}\n{name}_sum {seconds}\n{name}_count {sum}"
    );
    text
}

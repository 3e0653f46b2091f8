//! One function for each fact that operators can observe: words, level, fields and counter.
//! Hands over to the log and to `/metrics`. It must never be given a token or a payload.

mod delay;
mod prometheus;
mod recent;
mod repeated;
mod transport;
mod words;

use delay::Delays;
pub use delay::{BOUNDS, Counts};
pub use prometheus::prometheus;
use recent::Recent;
pub use recent::{Turn, What, now_ms};
pub use repeated::Repeated;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use transport::Counters;
pub use transport::{PerTransport, Transport};
use words::Words;

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
static ACKNOWLEDGEMENTS: AtomicU64 = AtomicU64::new(0);
static FAILURES: AtomicU64 = AtomicU64::new(0);
static LOST_LINES: AtomicU64 = AtomicU64::new(0);
/// Whether this process has ever heard the doorbell.
static HAS_LISTENED: AtomicBool = AtomicBool::new(false);
/// Whether a proxy of ours was caught naming nobody.
static NAMES_NOBODY: AtomicBool = AtomicBool::new(false);
static TO_QUEUE: Delays = Delays::new();
static TO_SOCKET: Delays = Delays::new();
static RECENT: Recent = Recent::new();

/// The reason of a close that the other side wished.
const LEFT_BY_ITSELF: &str = "closed";

fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Ordering::Relaxed);
}

static REFUSALS: Words = Words::new();
static CLOSES: Words = Words::new();
static OPENED: Counters = Counters::new();
static STATEMENTS: Words = Words::new();
static CALLS: Words = Words::new();
static CALL_MICROS: AtomicU64 = AtomicU64::new(0);
static LEFT: Counters = Counters::new();

/// Whoever holds a connection, as far as operators may know.
#[derive(Clone, Debug)]
pub struct Caller {
    pub transport: Transport,
    /// The connection's id, as its `welcome` says it.
    pub connection: String,
    /// The claim `sub`.
    pub user: Option<String>,
    pub address: String,
    /// Unix milliseconds.
    pub since: u64,
}

impl Caller {
    /// Somebody who was let in just now.
    #[must_use]
    pub fn new(transport: Transport, connection: &str, user: Option<&str>, address: &str) -> Self {
        Self {
            transport,
            connection: connection.to_owned(),
            user: user.map(str::to_owned),
            address: address.to_owned(),
            since: now_ms(),
        }
    }
}

/// The listener has read a batch. `age` is the time since the youngest event's insert.
pub fn batch(events: usize, age: Option<Duration>) {
    add(&BATCHES, 1);
    add(&EVENTS, events);
    if let Some(age) = age {
        TO_QUEUE.count(age);
    }
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

/// A row of `rowcast.channel` can't be acted on.
pub fn channel_unreadable(channel: &str, error: &dyn std::fmt::Display) {
    add(&FAILURES, 1);
    tracing::error!(
        channel,
        %error,
        "this row of rowcast.channel is passed over: its rooms have to be a list of texts"
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

/// A line of our own log could not be written, or too many waited for that.
pub fn line_lost() {
    add(&LOST_LINES, 1);
}

/// The listener hears the doorbell and has read the log.
pub fn listener_ready(history: &str) {
    HAS_LISTENED.store(true, Ordering::Relaxed);
    tracing::info!(history, "listening");
}

/// The service could do anything in the database, and whoever takes it over could.
pub fn role_is_superuser() {
    tracing::warn!(
        "the service runs as a superuser of the database, and needs no more than the role \
         rowcast_service may"
    );
}

/// The listener lost its connection and will come back.
pub fn listener_lost(error: &str, wait: Duration) {
    add(&LOST_CONNECTIONS, 1);
    let wait_ms = wait.as_millis();
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

/// Somebody was let in by `limits.connects_per_second`, and is asked for in SQL.
pub fn arrived(transport: Transport) {
    tracing::debug!(%transport, "arrived");
}

/// A connection opened. A poll is one from its request to its answer, and there are many: too many
/// for a line each.
pub fn opened(caller: &Caller) {
    let Caller {
        transport,
        connection,
        user,
        address,
        ..
    } = caller;
    OPENED.count(*transport);
    if *transport == Transport::Poll {
        tracing::debug!(%transport, connection, user, address, "opened");
    } else {
        tracing::info!(%transport, connection, user, address, "opened");
    }
}

/// A connection closed, for this reason.
pub fn closed(caller: &Caller, why: &str, seconds: f64) {
    let (transport, connection) = (caller.transport, &caller.connection);
    LEFT.count(transport);
    CLOSES.count(why);
    // Those who left by themselves are nobody's trouble.
    if why != LEFT_BY_ITSELF {
        RECENT.note(|| Turn {
            number: 0,
            at: 0,
            what: What::Closed,
            transport: transport.word(),
            word: why.to_owned(),
            detail: connection.clone(),
            address: caller.address.clone(),
            user: caller.user.clone(),
        });
    }
    if transport == Transport::Poll {
        tracing::debug!(%transport, connection, why, seconds, "closed");
    } else {
        tracing::info!(%transport, connection, why, seconds, "closed");
    }
}

/// A proxy of ours wrote no address where it was to name whom it speaks for. Said once: it does so
/// each time.
pub fn forwarded_unreadable(proxy: IpAddr) {
    if !NAMES_NOBODY.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %proxy,
            "a trusted proxy wrote something else than an address into X-Forwarded-For; all who come \
             that way count as one"
        );
    }
}

/// Somebody was refused: on a transport, or by `http` or the `console`.
pub fn refused(transport: &'static str, word: &str, detail: &str, address: &str) {
    REFUSALS.count(word);
    RECENT.note(|| Turn {
        number: 0,
        at: 0,
        what: What::Refused,
        transport,
        word: word.to_owned(),
        detail: detail.to_owned(),
        address: address.to_owned(),
        user: None,
    });
    tracing::info!(transport, word, detail, address, "refused");
}

/// The same, where one side can have it said as fast as it sends: each counts, and one a second is
/// told of, with how many were not.
pub fn refused_again(
    repeated: &Repeated,
    transport: &'static str,
    word: &str,
    detail: &str,
    address: &str,
) {
    match repeated.tell(now_ms()) {
        None => REFUSALS.count(word),
        Some(0) => refused(transport, word, detail, address),
        Some(untold) => {
            let detail = format!("{detail}, and {untold} more since the last line");
            refused(transport, word, &detail, address);
        }
    }
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

/// A rule that decides who may be where failed, or ran out of time: the owner's SQL is to be mended,
/// and the database is there.
pub fn rule_failed(what: &str, error: &dyn std::fmt::Display) {
    add(&FAILURES, 1);
    tracing::warn!(what, %error, "a rule failed");
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

/// Keeps so many of the last refusals and closes, for [`recent`].
pub fn keep_recent(most: usize) {
    RECENT.keep(most);
}

/// The last refusals and closes, the youngest first; none unless [`keep_recent`] was called.
#[must_use]
pub fn recent() -> Vec<Turn> {
    RECENT.all()
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

//! The counters as Prometheus reads them. Hands a page over to `/metrics`.
//! It must never count anything itself: gauges are added by whoever holds them.

use super::connections::{CALL_MICROS, CALLS, CLOSES, OPENED, REFUSALS};
use super::listener::{BATCHES, EVENTS, LOCKED_LEAVES, LOST_CONNECTIONS, NOTIFICATIONS, TO_QUEUE};
use super::page::Page;
use super::{
    ACKNOWLEDGEMENTS, DELIVERIES, FAILURES, GAPS, LOG_REPLAYS, LOST_LINES, RING_REPLAYS,
    STATEMENTS, TO_SOCKET, Transport, WITHDRAWALS,
};
use std::sync::atomic::Ordering;

/// Words whose counters begin at zero, and are not missing until the first is counted: an alert
/// compares nothing with what is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownLabels<'a> {
    pub refusals: &'a [&'a str],
    pub closes: &'a [&'a str],
}

/// The counters in Prometheus' text format; gauges are added by whoever holds them.
#[must_use]
pub fn prometheus(known: KnownLabels<'_>) -> Page {
    let mut page = Page::default();
    plain(&mut page);
    page.counters(
        ("rowcast_connections_opened_total", "transport"),
        "Connections opened.",
        Transport::ALL.into_iter().zip(OPENED.all()),
    );
    page.counters(
        ("rowcast_connections_closed_total", "reason"),
        "Connections closed.",
        CLOSES.with_zeros(known.closes),
    );
    page.counters(
        ("rowcast_refusals_total", "code"),
        "Requests and frames refused.",
        REFUSALS.with_zeros(known.refusals),
    );
    page.counters(
        ("rowcast_calls_total", "outcome"),
        "Calls of functions.",
        CALLS.all(),
    );
    page.counters(
        ("rowcast_statements_total", "purpose"),
        "Statements for those who come in or come back.",
        STATEMENTS.all(),
    );
    #[expect(clippy::cast_precision_loss, reason = "a sum for a graph")]
    let seconds = CALL_MICROS.load(Ordering::Relaxed) as f64 / 1e6;
    page.counter(
        "rowcast_call_seconds_total",
        "What answered calls took together, waiting included.",
        seconds,
    );
    page.histogram(
        "rowcast_commit_to_queue_seconds",
        "From an event's insert to the queues of its subscribers.",
        &TO_QUEUE,
    );
    page.histogram(
        "rowcast_commit_to_socket_seconds",
        "From an event's insert to a reader's socket, replays left out.",
        &TO_SOCKET,
    );
    page
}

/// The counters without labels.
fn plain(page: &mut Page) {
    for (name, help, counter) in [
        ("batches", "Looks at the log that found events.", &BATCHES),
        ("events", "Events read from the log.", &EVENTS),
        ("deliveries", "Events written towards sockets.", &DELIVERIES),
        (
            "listener_losses",
            "Times the listener lost the database.",
            &LOST_CONNECTIONS,
        ),
        (
            "ring_replays",
            "Resumes answered from memory.",
            &RING_REPLAYS,
        ),
        ("log_replays", "Resumes answered by a query.", &LOG_REPLAYS),
        ("gaps", "Gaps told to subscribers.", &GAPS),
        (
            "withdrawals",
            "Rooms taken from connections, because a rule no longer grants them.",
            &WITHDRAWALS,
        ),
        (
            "acknowledgements",
            "Places that durable readers acknowledged; one a second of each is written.",
            &ACKNOWLEDGEMENTS,
        ),
        (
            "notifications",
            "Notifications of notify channels pushed.",
            &NOTIFICATIONS,
        ),
        (
            "log_refusals",
            "Times that a lock kept the log from being emptied.",
            &LOCKED_LEAVES,
        ),
        (
            "failures",
            "Errors that lost or delayed something, and housekeeping that the database refused.",
            &FAILURES,
        ),
        (
            "log_lines_lost",
            "Lines of the service's own log that could not be written.",
            &LOST_LINES,
        ),
    ] {
        let name = format!("rowcast_{name}_total");
        page.counter(&name, help, counter.load(Ordering::Relaxed));
    }
}

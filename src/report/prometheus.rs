//! The counters as Prometheus reads them. Hands one text over to `/metrics`.
//! It must never count anything itself: gauges are added by whoever holds them.

use super::{
    ACKNOWLEDGEMENTS, BATCHES, CALL_MICROS, CALLS, CLOSES, DELIVERIES, EVENTS, FAILURES, GAPS,
    LOCKED_LEAVES, LOG_REPLAYS, LOST_CONNECTIONS, LOST_LINES, NOTIFICATIONS, OPENED, REFUSALS,
    RING_REPLAYS, STATEMENTS, TO_QUEUE, TO_SOCKET, Transport, WITHDRAWALS,
};
use std::fmt::Write;
use std::sync::atomic::Ordering;

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
            "rowcast_acknowledgements_total",
            &ACKNOWLEDGEMENTS,
            "Places that durable readers acknowledged; one a second of each is written.",
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
        (
            "rowcast_log_lines_lost_total",
            &LOST_LINES,
            "Lines of the service's own log that could not be written.",
        ),
    ] {
        let value = counter.load(Ordering::Relaxed);
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"
        );
    }
    let name = "rowcast_connections_opened_total";
    let _ = writeln!(
        text,
        "# HELP {name} Connections opened.\n# TYPE {name} counter"
    );
    for (transport, opened) in Transport::ALL.into_iter().zip(OPENED.all()) {
        let _ = writeln!(text, "{name}{{transport=\"{transport}\"}} {opened}");
    }
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
    STATEMENTS.print(
        &mut text,
        "rowcast_statements_total",
        "purpose",
        "Statements for those who come in or come back.",
    );
    #[expect(clippy::cast_precision_loss, reason = "a sum for a graph")]
    let seconds = CALL_MICROS.load(Ordering::Relaxed) as f64 / 1e6;
    let name = "rowcast_call_seconds_total";
    let _ = writeln!(
        text,
        "# HELP {name} What answered calls took together, waiting included.\n\
         # TYPE {name} counter\n{name} {seconds}"
    );
    TO_QUEUE.print(
        &mut text,
        "rowcast_commit_to_queue_seconds",
        "From an event's insert to the queues of its subscribers.",
    );
    TO_SOCKET.print(
        &mut text,
        "rowcast_commit_to_socket_seconds",
        "From an event's insert to a reader's socket, replays left out.",
    );
    text
}

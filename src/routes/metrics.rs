//! `/metrics`: the counters, and beside them what holds now. Hands one page over to Prometheus.
//! It must never leave out what an alert compares, only because it has not happened yet.

use crate::config::Doorbell;
use crate::connection::{Gate, Refusal, poll, post};
use crate::dialect::{CODES, WORDS};
use crate::report::{self, KnownLabels, Page};
use warp::reply::{Reply, Response};

pub(super) fn answer(gate: &Gate) -> Response {
    let refusals = [WORDS, CODES, &post::CODES].concat();
    let closes = [WORDS, &[Refusal::Gone.word(), poll::ANSWERED]].concat();
    let mut page = report::prometheus(KnownLabels {
        refusals: &refusals,
        closes: &closes,
    });
    hub(gate, &mut page);
    listener(gate, &mut page);
    let text = page.into_text();
    warp::reply::with_header(text, "content-type", "text/plain; version=0.0.4").into_response()
}

/// Who is here, and what is kept for them.
fn hub(gate: &Gate, page: &mut Page) {
    let sizes = gate.hub.sizes();
    for (name, help, value) in [
        ("connections", "Connections open.", gate.seats.taken()),
        ("subscriptions", "Subscriptions open.", sizes.subscriptions),
        ("rooms", "Rooms with somebody in them.", sizes.rooms),
        (
            "queue_bytes",
            "Bytes that wait for subscribers.",
            sizes.queue_bytes,
        ),
        (
            "ring_bytes",
            "Bytes of recent batches kept for resumes.",
            sizes.ring_bytes,
        ),
        (
            "ring_batches",
            "Recent batches kept for resumes.",
            sizes.ring_batches,
        ),
        (
            "calls_inside",
            "Calls that run or wait.",
            gate.database.calls_inside(),
        ),
    ] {
        page.gauge(&format!("rowcast_{name}"), help, value);
    }
}

/// What is known of the database and its log.
fn listener(gate: &Gate, page: &mut Page) {
    let (pulse, bell) = (&gate.pulse, gate.pulse.bell());
    let ready = u8::from(pulse.check(&gate.settings.listener).is_ok());
    page.gauge("rowcast_ready", "1 if events get through.", ready);
    // Whoever has not looked yet does not lead.
    let leads = u8::from(bell.is_some_and(|bell| bell.leads));
    page.gauge("rowcast_leads", "1 if this node leads.", leads);
    if let Some(bell) = bell {
        let modes = [Doorbell::Adaptive, Doorbell::Always, Doorbell::Never];
        page.gauges(
            ("rowcast_doorbell_mode", "mode"),
            "1 for the mode in force.",
            modes.map(|mode| (mode.word(), u8::from(mode == bell.doorbell))),
        );
        page.gauge(
            "rowcast_doorbell_rings",
            "1 while writers ring.",
            u8::from(bell.rings),
        );
        page.gauge(
            "rowcast_notify_queue_usage",
            "Of PostgreSQL's NOTIFY queue, 0 to 1.",
            bell.queue_usage,
        );
        // Before the first look this would be the age of the process.
        page.gauge(
            "rowcast_lag_seconds",
            "Since the log was last read to its end.",
            pulse.lag().as_secs_f64(),
        );
    }
    if let Some(size) = pulse.log_size() {
        page.gauge(
            "rowcast_log_bytes",
            "What the log takes, with indexes.",
            size.bytes,
        );
        page.gauge(
            "rowcast_log_events",
            "About how many events the log holds.",
            size.events,
        );
        page.gauge(
            "rowcast_log_age_seconds",
            "Since the oldest leaf of the log was entered.",
            // A clock that was set back is no age.
            size.age.unwrap_or(0.0).max(0.0),
        );
    }
}

//! How the service does, in the words of a dialect: for monitors and pages that asked before.
//! Hands an answer to the routes. It must never say why it is not ready: addresses stand in that.

use super::Gate;
use crate::dialect::{Filling, Health, Values};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

/// The answer of a health door, at this moment.
#[must_use]
pub fn answer(gate: &Gate, health: &Health) -> Response {
    let ready = gate.pulse.check(&gate.settings.listener).is_ok();
    let connections = i64::try_from(gate.seats.taken()).unwrap_or(i64::MAX);
    let values = Values::default()
        .with("connections", Filling::Integer(connections))
        .with("ready", Filling::Truth(ready));
    let mut answer = health.answer.render(&values).into_response();
    if !ready {
        let status = StatusCode::from_u16(health.unready);
        *answer.status_mut() = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    }
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
    ] {
        let headers = answer.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

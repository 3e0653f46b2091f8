//! How the service does, in the words of a dialect: for monitors and pages that asked before.
//! Hands answers to the routes. It must never say why it is not ready: addresses stand in that.

use super::{Answer, fetched_or_probed, visit};
use crate::connection::Gate;
use crate::connection::cors::with_cors;
use crate::connection::visit::Visit;
use crate::dialect::{Filling, Health, Values};
use std::future::ready;
use std::sync::Arc;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderValue, StatusCode};
use warp::path::Tail;
use warp::reply::{Reply, Response};

pub(super) fn doors(gate: Arc<Gate>) -> BoxedFilter<Answer> {
    fetched_or_probed()
        .and(warp::path::tail())
        .and(visit())
        .and_then(move |tail: Tail, visit: Visit| {
            let path = format!("/{}", tail.as_str());
            let mut doors = gate
                .dialects
                .iter()
                .filter_map(|dialect| dialect.health.as_ref());
            let door = doors.find(|door| door.path.parse(&path).is_some());
            let answer = door.map(|door| with_cors(&gate, &visit.headers, answer(&gate, door)));
            ready(answer.ok_or_else(warp::reject::not_found))
        })
        .boxed()
}

fn answer(gate: &Gate, health: &Health) -> Response {
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

//! From a request to a WebSocket: `/ws`, and the doors of dialects.
//! Hands the socket over to its transport. It must never ask who it is before it is upgraded.

use super::{Answer, at, visit};
use crate::connection::socket::lent::Lent;
use crate::connection::visit::Visit;
use crate::connection::{Gate, Refusal, handshake, websocket};
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

pub(super) fn websockets(
    gate: Arc<Gate>,
) -> impl Filter<Extract = Answer, Error = Rejection> + Clone + Send + Sync + 'static {
    at("ws")
        .and(warp::get())
        .and(visit())
        .and(warp::ext::optional::<OnUpgrade>())
        .map(move |visit: Visit, upgrade: Option<OnUpgrade>| {
            upgrade_to_websocket(&gate, visit, upgrade)
        })
}

/// Answers 101 and serves the socket when hyper hands it over. Who it is is asked after the
/// upgrade: a browser can read a close code, but not the status of a refused handshake.
pub(super) fn upgrade_to_websocket(
    gate: &Arc<Gate>,
    visit: Visit,
    upgrade: Option<OnUpgrade>,
) -> Response {
    let (head, upgrade) = match handshake::shake(&visit.headers, upgrade) {
        Ok(begun) => begun,
        Err(head) => {
            let why = Refusal::Asked(
                "a WebSocket of version 13 is opened here; without one, ask /sse or /poll",
            );
            return handshake::under(head, gate.refuse(why));
        }
    };
    let mut response = handshake::under(head, StatusCode::SWITCHING_PROTOCOLS.into_response());
    if handshake::has(&visit.headers, "sec-websocket-protocol", "rowcast.v1") {
        let known = HeaderValue::from_static("rowcast.v1");
        let headers = response.headers_mut();
        headers.insert("sec-websocket-protocol", known);
    }
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        if let Some((socket, rest)) = Lent::back(upgrade).await {
            let upgraded = websocket::Upgraded::new(gate, socket, &rest, &visit);
            tokio::spawn(upgraded.serve(Box::new(visit)));
        }
    });
    response
}

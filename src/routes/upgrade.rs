//! From a request to a WebSocket: `/ws`, and the doors of dialects.
//! Hands the socket over to its transport. It must never ask who it is before it is upgraded.

use super::{Answer, visit};
use crate::connection::socket::lent::Lent;
use crate::connection::visit::Visit;
use crate::connection::{Gate, Refusal, websocket};
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

pub(super) fn websockets(
    gate: Arc<Gate>,
) -> impl Filter<Extract = Answer, Error = Rejection> + Clone + Send + Sync + 'static {
    warp::path!("ws")
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
    let header = |name: &str| {
        visit
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let has = |name: &str, word: &str| {
        header(name).is_some_and(|value| {
            value
                .split(',')
                .any(|one| one.trim().eq_ignore_ascii_case(word))
        })
    };
    let key = header("sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
    let (Some(upgrade), Some(key), true) = (upgrade, key, has("upgrade", "websocket")) else {
        let mut response = gate.refuse(Refusal::Protocol);
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        response
            .headers_mut()
            .insert("upgrade", HeaderValue::from_static("websocket"));
        return response;
    };
    if header("sec-websocket-version") != Some("13") {
        let mut response = gate.refuse(Refusal::Protocol);
        response
            .headers_mut()
            .insert("sec-websocket-version", HeaderValue::from_static("13"));
        return response;
    }
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    if let Ok(key) = HeaderValue::from_str(&key) {
        headers.insert("sec-websocket-accept", key);
    }
    if has("sec-websocket-protocol", "rowcast.v1") {
        headers.insert(
            "sec-websocket-protocol",
            HeaderValue::from_static("rowcast.v1"),
        );
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

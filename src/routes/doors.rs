//! The doors of dialects: paths that files name, with parameters.
//! Hands whoever comes to the transport of the door. It must never answer a path that no dialect has.

use super::upgrade::upgrade_to_websocket;
use super::{Answer, visit};
use crate::connection::cors::with_cors;
use crate::connection::cut::Cut;
use crate::connection::door::{Door, Which};
use crate::connection::visit::Visit;
use crate::connection::{Gate, poll};
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{Method, StatusCode};
use warp::path::Tail;
use warp::reply::{Reply, Response};

pub(super) fn doors(gate: Arc<Gate>) -> BoxedFilter<Answer> {
    warp::path::tail()
        .and(warp::method())
        .and(visit())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::get::<Cut>())
        .and_then(
            move |tail: Tail,
                  method: Method,
                  visit: Visit,
                  upgrade: Option<OnUpgrade>,
                  cut: Cut| {
                let gate = Arc::clone(&gate);
                async move {
                    let answer = answer(&gate, &tail, &method, visit, upgrade, cut).await;
                    answer.ok_or_else(warp::reject::not_found)
                }
            },
        )
        .boxed()
}

async fn answer(
    gate: &Arc<Gate>,
    tail: &Tail,
    method: &Method,
    mut visit: Visit,
    upgrade: Option<OnUpgrade>,
    cut: Cut,
) -> Option<Response> {
    let path = format!("/{}", tail.as_str());
    let door = Door::find(&gate.dialects, &path, |name| visit.parameter(name))?;
    let which = door.which.clone();
    visit.door = Some(Arc::new(door));
    match (which, method) {
        (Which::WebSocket(_), &Method::GET) => Some(upgrade_to_websocket(gate, visit, upgrade)),
        (Which::Poll(_), &Method::GET) => {
            let answer = poll::serve(Arc::clone(gate), visit.clone(), cut).await;
            Some(with_cors(gate, &visit.headers, answer))
        }
        (Which::Poll(_), &Method::OPTIONS) => {
            let answer = StatusCode::NO_CONTENT.into_response();
            Some(with_cors(gate, &visit.headers, answer))
        }
        _ => None,
    }
}

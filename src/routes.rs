//! The paths: what a request is taken apart into, and which transport gets it.
//! Hands over to the connections. It must never decide who may do what: that is admission's.

mod doors;
mod health;
mod metrics;
mod upgrade;

use crate::connection::cors::with_cors;
use crate::connection::cut::Cut;
use crate::connection::peer::Peer;
use crate::connection::post::{self, Body};
use crate::connection::visit::Visit;
use crate::connection::{Gate, call, poll, reader, sse};
use crate::console::{Console, page};
use std::future::ready;
use std::sync::Arc;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::path::FullPath;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

type Answer = (Response,);

/// Everything that `http.listen` answers: the transports, and what operators ask unless
/// `http.admin_listen` has moved that to a port of its own.
#[must_use]
pub fn routes(gate: &Arc<Gate>) -> BoxedFilter<Answer> {
    let transports = upgrade::websockets(Arc::clone(gate))
        .or(fetched(gate, "sse", |gate, visit, _| {
            sse::serve(gate, visit)
        }))
        .unify()
        .or(fetched(gate, "poll", poll::serve))
        .unify()
        .or(posted(gate, "call", call::serve))
        .unify()
        .or(posted(gate, "ack", reader::serve))
        .unify()
        .or(doors::doors(Arc::clone(gate)))
        .unify()
        .or(health::doors(Arc::clone(gate)))
        .unify();
    let below = below(&gate.settings.http.base_path);
    if gate.settings.http.admin_listen.is_some() {
        return below.and(transports).boxed();
    }
    let all = transports.or(asked_by_operators(Arc::clone(gate))).unify();
    below.and(all).boxed()
}

/// Takes the segments that all our paths begin with.
fn below(base_path: &str) -> BoxedFilter<()> {
    let segments = base_path.split('/').filter(|segment| !segment.is_empty());
    segments.fold(warp::any().boxed(), |above, segment| {
        above.and(warp::path(segment.to_owned())).boxed()
    })
}

/// What may be asked by those who run it; by `http.admin_listen` on a port of its own.
#[must_use]
pub fn operators(gate: Arc<Gate>) -> BoxedFilter<Answer> {
    let below = below(&gate.settings.http.base_path);
    below.and(asked_by_operators(gate)).boxed()
}

fn asked_by_operators(gate: Arc<Gate>) -> BoxedFilter<Answer> {
    let console = Console::open(&gate);
    let live = at("healthz")
        .and(fetched_or_probed())
        .map(|| "ok\n".into_response());
    let for_ready = Arc::clone(&gate);
    let readyz = at("readyz")
        .and(fetched_or_probed())
        .map(move || readiness(&for_ready));
    let metrics = at("metrics")
        .and(fetched_or_probed())
        .map(move || metrics::answer(&gate));
    let plain = live.or(readyz).unify().or(metrics).unify();
    match console {
        Some(console) => plain.or(looked_at(console)).unify().boxed(),
        None => plain.boxed(),
    }
}

/// This path and no other.
fn at(path: &'static str) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::path(path).and(end())
}

/// Where a path ends, a slash included: what a proxy keeps from the public by its exact path is not to be
/// had by another.
fn end() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    let full = warp::path::end().and(warp::path::full());
    let strict = full.and_then(|path: FullPath| {
        let slash = path.as_str().ends_with('/');
        ready(if slash {
            Err(warp::reject::not_found())
        } else {
            Ok(())
        })
    });
    strict.untuple_one()
}

/// GET, or HEAD, which many monitors send; the HTTP library leaves out the body then.
fn fetched_or_probed() -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync + 'static
{
    warp::get().or(warp::head()).unify()
}

/// The console: its page, and what that asks for.
fn looked_at(console: Arc<Console>) -> BoxedFilter<Answer> {
    let whole = warp::path("console").and(warp::get());
    let itself = whole
        .and(warp::path::end())
        .and(warp::path::full())
        .map(|path: FullPath| {
            if path.as_str().ends_with('/') {
                return page::without_slash();
            }
            page::file("").unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
        });
    let watching = Arc::clone(&console);
    let watch = whole
        .and(at("watch"))
        .and(visit())
        .and(warp::ext::get::<Cut>())
        .then(move |visit: Visit, cut: Cut| Arc::clone(&watching).watch(visit, cut));
    let following = Arc::clone(&console);
    let tail = whole
        .and(at("tail"))
        .and(visit())
        .and(warp::ext::get::<Cut>())
        .then(move |visit: Visit, cut: Cut| Arc::clone(&following).tail(visit, cut));
    let connections = whole
        .and(at("connections"))
        .and(visit())
        .then(move |visit: Visit| Arc::clone(&console).connections(visit));
    let files = whole.and(warp::path::tail()).and_then(
        async |path: warp::path::Tail| -> Result<Response, Rejection> {
            page::file(path.as_str()).ok_or_else(warp::reject::not_found)
        },
    );
    itself
        .or(watch)
        .unify()
        .or(tail)
        .unify()
        .or(connections)
        .unify()
        .or(files)
        .unify()
        .boxed()
}

fn visit() -> impl Filter<Extract = (Visit,), Error = Rejection> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::header::headers_cloned()
        .and(query)
        .and(warp::ext::get::<Peer>())
        .map(|headers: HeaderMap, query: String, peer: Peer| Visit {
            headers,
            query,
            peer,
            door: None,
        })
}

/// What a browser asks before it asks for something of another origin.
fn preflight(
    gate: &Arc<Gate>,
) -> impl Filter<Extract = Answer, Error = Rejection> + Clone + Send + Sync + 'static {
    let gate = Arc::clone(gate);
    warp::options().and(visit()).map(move |visit: Visit| {
        let answer = StatusCode::NO_CONTENT.into_response();
        with_cors(&gate, &visit.headers, answer)
    })
}

/// What pages fetch, with their preflight.
fn fetched<F>(
    gate: &Arc<Gate>,
    path: &'static str,
    serve: impl Fn(Arc<Gate>, Visit, Cut) -> F + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = Answer, Error = Rejection> + Clone + Send + Sync + 'static
where
    F: Future<Output = Response> + Send,
{
    let path = at(path);
    let preflight = path.and(preflight(gate));
    let gate = Arc::clone(gate);
    let asked = path
        .and(warp::get())
        .and(visit())
        .and(warp::ext::get::<Cut>());
    let answered = asked.then(move |visit: Visit, cut: Cut| {
        let gate = Arc::clone(&gate);
        let answer = serve(Arc::clone(&gate), visit.clone(), cut);
        async move { with_cors(&gate, &visit.headers, answer.await) }
    });
    preflight.or(answered).unify()
}

/// What pages post to a path below this one, with their preflight.
fn posted<F>(
    gate: &Arc<Gate>,
    path: &'static str,
    serve: impl Fn(Arc<Gate>, Visit, String, Body) -> F + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = Answer, Error = Rejection> + Clone + Send + Sync + 'static
where
    F: Future<Output = Response> + Send,
{
    let path = warp::path(path).and(warp::path::param()).and(end());
    let preflight = path.map(drop).untuple_one().and(preflight(gate));
    let gate = Arc::clone(gate);
    let body = warp::body::stream().map(post::body);
    let asked = path.and(warp::post()).and(visit()).and(body);
    let answered = asked.then(move |name: String, visit: Visit, body: Body| {
        let gate = Arc::clone(&gate);
        let answer = serve(Arc::clone(&gate), visit.clone(), name, body);
        async move { with_cors(&gate, &visit.headers, answer.await) }
    });
    preflight.or(answered).unify()
}

fn readiness(gate: &Gate) -> Response {
    match gate.pulse.check(&gate.settings.listener) {
        Ok(()) => "ready\n".into_response(),
        Err(why) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            warp::reply::with_status(format!("not ready: {why}\n"), status).into_response()
        }
    }
}

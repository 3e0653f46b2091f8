//! Requests at a door, and their answers, around the library: who asks and by what way, and the way
//! over to a WebSocket. Hands sockets over to the library.
//! It must never hand one over before hyper has let go of it.

use super::Host;
use super::line::Line;
use super::wire::Wire;
use crate::stream::Lent;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use socketioxide::service::SocketIoService;
use socketioxide::socket::Sid;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a request is answered with.
pub type Answer = Response<UnsyncBoxBody<Bytes, Failure>>;

/// Between the packets of an answer.
pub(super) const SEPARATOR: u8 = 0x1e;

/// What a request's query says to the library.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub sid: Option<Sid>,
    pub websocket: bool,
}

impl Asked {
    pub fn of(query: &str) -> Self {
        let find = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        Self {
            // One that can't be read belongs to nobody.
            sid: find("sid").map(|sid| sid.parse().unwrap_or(Sid::ZERO)),
            websocket: find("transport") == Some("websocket"),
        }
    }
}

/// Has the library keep the line with what it knows of the request.
pub(super) fn with<B>(mut request: Request<B>, line: &Arc<Line>) -> Request<B> {
    request.extensions_mut().insert(Arc::clone(line));
    request
}

/// The word by which a connection goes that was just opened: `0{"sid":"…",…}`.
pub(super) fn opened(answer: &[u8]) -> Option<Sid> {
    #[derive(serde::Deserialize)]
    struct Open {
        sid: String,
    }
    let open: Open = serde_json::from_slice(answer.strip_prefix(b"0")?).ok()?;
    open.sid.parse().ok()
}

/// Answers 101, and gives the socket to the library when hyper hands it over. One that was opened by
/// requests ends with its WebSocket, even if it never quite went over: the library would answer each
/// poll with nothing from then on, and ask for no sign of life.
pub(super) fn upgrade(
    library: &SocketIoService<Nowhere>,
    mut request: Request<Incoming>,
    line: Arc<Line>,
    opened: Option<(Arc<Host>, Sid)>,
) -> Answer {
    let header = |name: &str| request.headers().get(name).map(|value| value.as_bytes());
    let key = header("sec-websocket-key").map(derive_accept_key);
    let upgrades = header("upgrade").is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"));
    let (Some(key), true) = (key, upgrades) else {
        return status(StatusCode::UPGRADE_REQUIRED);
    };
    if header("sec-websocket-version") != Some(b"13") {
        return status(StatusCode::BAD_REQUEST);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let request = with(Request::from_parts(head, ()), &line);
    let library = library.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        if let Ok(parts) = upgraded.downcast::<TokioIo<Lent>>() {
            let wire = Wire::new(parts.io.into_inner(), parts.read_buf, Arc::clone(&line));
            // A query that the library can't read closes it.
            let _ = Service::<(Wire, Request<()>)>::call(&library, (wire, request)).await;
            if let Some((host, sid)) = opened {
                line.unwired().await;
                drop(line);
                host.close_polling(sid).await;
            }
        }
    });
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", key)
        .body(empty());
    answer.unwrap_or_else(|_| status(StatusCode::BAD_REQUEST))
}

fn empty() -> UnsyncBoxBody<Bytes, Failure> {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn status(status: StatusCode) -> Answer {
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    answer
}

pub(super) fn whole(answer: Response<Bytes>) -> Answer {
    answer.map(|body| {
        Full::new(body)
            .map_err(|never| match never {})
            .boxed_unsync()
    })
}

/// What the library hands requests to that are not its own: all are.
#[derive(Clone)]
pub(super) struct Nowhere;

impl<B> Service<Request<B>> for Nowhere {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, _: Request<B>) -> Self::Future {
        let mut answer = Response::new(Empty::new());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        ready(Ok(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_say_who_asks_and_how() {
        let sid: Sid = "AAAAAAAAAAAAAAAA".parse().unwrap();
        let asked = |query| Asked::of(query);
        let (sid, other) = (Some(sid), Some(Sid::ZERO));
        for (query, expected) in [
            ("EIO=4&transport=polling", (None, false)),
            ("EIO=4&transport=websocket&t=x", (None, true)),
            (
                "EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAA",
                (sid, true),
            ),
            ("transport=polling&sid=no&EIO=4", (other, false)),
            ("", (None, false)),
        ] {
            let (sid, websocket) = expected;
            assert_eq!(asked(query), Asked { sid, websocket }, "{query}");
        }
    }
}

//! Socket.IO at the doors of dialects: the library's requests and WebSockets, between it and the
//! service. Hands whoever signs in to `socket.rs`, which serves each namespace of a connection.
//! It must never have the library know rooms or queues: the hub is the only one who does.

mod ear;
mod flow;
mod line;
mod socket;
mod speech;
mod wire;
mod write;

use super::cors::with_cors;
use super::presence::Cut;
use super::{Gate, Refusal};
use crate::dialect::{Dialect, SocketIoDoor};
use crate::stream::Stream;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use line::{Line, Lines};
use socketioxide::service::SocketIoService;
use socketioxide::socket::Sid;
use socketioxide::{ParserConfig, SocketIo};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wire::Wire;

/// Connections of a door that have not signed in yet; as many as sockets may wait for a request.
const PENDING: usize = 1000;

/// Packets of the library's own that have room besides events: pings, and what is said at the
/// beginning and the end in each namespace.
const SPARE_PACKETS: usize = 32;

/// Read buffer of a socket: clients send little.
const READ_BUFFER: usize = 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a request is answered with.
pub type Answer = Response<UnsyncBoxBody<Bytes, Failure>>;

/// A door, open.
pub struct Host {
    gate: Arc<Gate>,
    dialect: Arc<Dialect>,
    lines: Arc<Lines>,
    pending: Arc<Semaphore>,
    io: OnceLock<SocketIo>,
    library: OnceLock<SocketIoService<Nowhere>>,
}

/// The Socket.IO doors of a service, each with the path that all its requests lie below.
#[must_use]
pub fn hosts(gate: &Arc<Gate>) -> Vec<(String, Arc<Host>)> {
    let dialects = gate.dialects.iter();
    let doors = dialects.filter_map(|dialect| Some((dialect, dialect.socketio.as_ref()?)));
    let hosts = doors.map(|(dialect, door)| {
        let path = format!("{}{}", gate.settings.http.base_path, door.path);
        (path, Host::open(gate, dialect, door))
    });
    hosts.collect()
}

impl Host {
    fn open(gate: &Arc<Gate>, dialect: &Arc<Dialect>, door: &SocketIoDoor) -> Arc<Self> {
        let (settings, message_bytes) =
            (&gate.settings.socketio, gate.settings.limits.message_bytes);
        let parser = ParserConfig::common().max_incoming_binary_buf_size(message_bytes);
        let (library, io) = SocketIo::builder()
            // Paths were looked at before.
            .req_path("/")
            .ping_interval(settings.ping)
            .ping_timeout(settings.pong_timeout)
            .connect_timeout(settings.connect)
            .upgrade_timeout(settings.upgrade)
            .max_buffer_size(settings.buffer_events + SPARE_PACKETS)
            .max_payload(message_bytes as u64)
            .ws_max_message_size(message_bytes)
            .ws_max_frame_size(message_bytes)
            .ws_read_buffer_size(READ_BUFFER)
            .with_parser(parser)
            .build_with_inner_svc(Nowhere);
        let host = Arc::new(Self {
            gate: Arc::clone(gate),
            dialect: Arc::clone(dialect),
            lines: Arc::default(),
            pending: Arc::new(Semaphore::new(PENDING)),
            io: OnceLock::new(),
            library: OnceLock::new(),
        });
        for namespace in &door.namespaces {
            socket::welcome(&host, &io, namespace);
        }
        // Once, before anybody knows of it.
        let _ = host.io.set(io);
        let _ = host.library.set(library);
        host
    }

    /// Lets go of all who are left.
    pub async fn close(&self) {
        if let Some(io) = self.io.get() {
            io.close().await;
        }
    }

    /// Answers a request below the door's path.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let headers = request.headers().clone();
        let answer = if *request.method() == Method::OPTIONS {
            status(StatusCode::NO_CONTENT)
        } else {
            self.serve(request).await
        };
        with_cors(&self.gate, &headers, answer)
    }

    async fn serve(self: &Arc<Self>, request: Request<Incoming>) -> Answer {
        let base = &self.gate.settings.http.base_path;
        let path = request.uri().path().strip_prefix(base.as_str());
        let path = path.map(|path| path.trim_end_matches('/'));
        let door = self.dialect.socketio.as_ref();
        let leads = path
            .zip(door)
            .and_then(|(path, door)| door.entrance.parse(path));
        if leads.is_none() {
            return status(StatusCode::NOT_FOUND);
        }
        let Some(library) = self.library.get() else {
            return status(StatusCode::NOT_FOUND);
        };
        let asked = Asked::of(request.uri().query().unwrap_or_default());
        let known = asked.sid.map(|sid| self.lines.find(sid));
        match (known, asked.websocket) {
            (None, websocket) => {
                let line = match self.new_line() {
                    Ok(line) => line,
                    Err(refusal) => return self.refuse(refusal),
                };
                if websocket {
                    return upgrade(library, request, line, None);
                }
                let answer = self.ask(library, with(request, &line)).await;
                if let Some(sid) = opened(answer.body()) {
                    self.lines.add(sid, &line);
                }
                whole(answer)
            }
            (Some(Some(line)), true) => {
                let host = Arc::clone(self);
                upgrade(library, request, line, asked.sid.map(|sid| (host, sid)))
            }
            (Some(Some(line)), false) if *request.method() == Method::GET => {
                line.ask(request.extensions().get::<Cut>().cloned());
                let answer = self.ask(library, request).await;
                let packets = answer.body().split(|byte| *byte == SEPARATOR);
                line.flow
                    .leave(packets.filter(|packet| wire::counts(packet)).count());
                whole(answer)
            }
            (Some(Some(_)), false) => {
                let sent = self.ask(library, request);
                let timeout = self.gate.settings.http.header_timeout;
                match tokio::time::timeout(timeout, sent).await {
                    Ok(answer) => whole(answer),
                    Err(_) => status(StatusCode::REQUEST_TIMEOUT),
                }
            }
            // The library says it as clients know it.
            (Some(None), _) => whole(self.ask(library, request).await),
        }
    }

    /// A place for somebody who has not signed in yet.
    fn new_line(&self) -> Result<Arc<Line>, Refusal> {
        if self.gate.hub.standpoint().borrow().is_none() {
            return Err(Refusal::DatabaseAway);
        }
        let pending = Arc::clone(&self.pending).try_acquire_owned();
        pending.map(Line::new).map_err(|_| Refusal::Overloaded)
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        let answer = self.gate.refuse(refusal);
        answer.map(|body| body.map_err(Into::into).boxed_unsync())
    }

    /// What the library answers, which is whole in memory.
    async fn ask<B>(
        &self,
        library: &SocketIoService<Nowhere>,
        request: Request<B>,
    ) -> Response<Bytes>
    where
        B: Body<Data: Send, Error: std::fmt::Debug> + Send + Unpin + std::fmt::Debug + 'static,
    {
        let answer = match Service::<Request<B>>::call(library, request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let (head, body) = answer.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        Response::from_parts(head, body)
    }

    /// Closes a line, so that its client comes back by itself. What the library still has is written
    /// within the time for last words, unless nobody takes it.
    async fn hang_up(&self, line: &Line, sid: Sid, why: Refusal) {
        line.end();
        if !line.is_wired() {
            self.close_polling(sid).await;
        }
        let closed = tokio::time::timeout(why.grace(), line.unwired()).await;
        if closed.is_err() {
            line.cut(false);
        }
    }

    /// Has a client that was in one namespace, or has left it, close its line; or does so. Other
    /// namespaces live on, unless what this one may not have any more is still on its way.
    async fn leave(&self, line: &Line, sid: Sid, why: Refusal) {
        if line.is_wired() {
            let closed = tokio::time::timeout(why.grace(), line.unwired()).await;
            if closed.is_ok() {
                return;
            }
        } else {
            tokio::time::sleep(why.grace()).await;
        }
        let forget = why.ends_access() && !line.flow.is_empty();
        if line.sockets.load(Ordering::Acquire) == 0 || forget {
            line.end();
            if !line.is_wired() {
                self.close_polling(sid).await;
            }
            line.cut(forget);
        }
    }

    /// The library has no other way to close a connection than its client's own.
    async fn close_polling(&self, sid: Sid) {
        let Some(library) = self.library.get() else {
            return;
        };
        let uri = format!("/?EIO=4&transport=polling&sid={sid}");
        let close = Request::post(uri).body(Full::new(Bytes::from_static(b"1")));
        if let Ok(close) = close {
            self.ask(library, close).await;
        }
    }
}

/// Between the packets of an answer.
const SEPARATOR: u8 = 0x1e;

/// What a request's query says to the library.
#[derive(Debug, PartialEq)]
struct Asked {
    sid: Option<Sid>,
    websocket: bool,
}

impl Asked {
    fn of(query: &str) -> Self {
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
fn with<B>(mut request: Request<B>, line: &Arc<Line>) -> Request<B> {
    request.extensions_mut().insert(Arc::clone(line));
    request
}

/// The word by which a connection goes that was just opened: `0{"sid":"…",…}`.
fn opened(answer: &[u8]) -> Option<Sid> {
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
fn upgrade(
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
        if let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() {
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

fn status(status: StatusCode) -> Answer {
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    answer
}

fn whole(answer: Response<Bytes>) -> Answer {
    answer.map(|body| {
        Full::new(body)
            .map_err(|never| match never {})
            .boxed_unsync()
    })
}

/// What the library hands requests to that are not its own: all are.
#[derive(Clone)]
struct Nowhere;

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

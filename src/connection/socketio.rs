//! Socket.IO at the doors of dialects: the library's requests and WebSockets, between it and the
//! service. Hands whoever signs in to `socket.rs`, which serves each namespace of a connection.
//! It must never have the library know rooms or queues: the hub is the only one who does.

mod ear;
mod exchange;
mod flow;
mod line;
mod outlet;
mod socket;
mod speech;
mod wire;

use super::cors::with_cors;
use super::presence::Cut;
use super::{Gate, Refusal};
use crate::dialect::{Dialect, SocketIoDoor};
use bytes::Bytes;
use exchange::{Asked, Nowhere, SEPARATOR, opened, status, upgrade, whole, with};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use line::{Line, Lines};
use socketioxide::service::SocketIoService;
use socketioxide::socket::Sid;
use socketioxide::{ParserConfig, SocketIo};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

pub use exchange::Answer;

/// Connections of a door that have not signed in yet; as many as sockets may wait for a request.
const PENDING: usize = 1000;

/// Packets of the library's own that have room besides events: pings, and what is said at the
/// beginning and the end in each namespace.
const SPARE_PACKETS: usize = 32;

/// Read buffer of a socket: clients send little.
const READ_BUFFER: usize = 1024;

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

//! Socket.IO at the doors of dialects: requests and WebSockets by Engine.IO, and the connections that
//! they carry. Hands whoever signs in to `namespace.rs`, which serves each namespace of a connection.
//! It must never keep more connections that nobody has signed in to than its bound.

mod carried;
mod ear;
mod engine;
mod exchange;
mod hearing;
mod namespace;
mod opened;
mod outlet;
mod packet;
mod requests;
mod speech;

use super::answer::{Boxed, boxed};
use super::cors::with_cors;
use super::peer::{self, Peer};
use super::socket::Socket;
use super::socket::decode::Decoder;
use super::socket::lent::Lent;
use super::whose::network;
use super::{Gate, Refusal};
use crate::clock::millis;
use crate::counts::{Counted, Counts};
use crate::dialect::{Dialect, SocketIoDoor};
use crate::frame::Frame;
use crate::report::{self, Repeated, Transport};
use carried::Trial;
use engine::{Engine, Sid};
use exchange::{EngineError, EngineQuery, EngineTransport, switch, text};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, StatusCode};
use opened::Opened;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

/// Connections of a door that have not signed in yet, beyond those that may be in, or that one address may
/// have: two addresses must not keep all others out. Each takes 5 KB.
const PENDING: usize = 1000;

/// A door, open.
pub struct Host {
    gate: Arc<Gate>,
    dialect: Arc<Dialect>,
    /// Of that dialect.
    door: Arc<SocketIoDoor>,
    /// By the word that requests bring.
    engines: Mutex<HashMap<Sid, Weak<Engine>>>,
    strangers: Counts<IpAddr>,
    refusals: Repeated,
}

/// Room for somebody who has not signed in yet.
type PendingPermit = Counted<IpAddr>;

/// The Socket.IO doors of a service, each with the path that all its requests lie below.
#[must_use]
pub fn hosts(gate: &Arc<Gate>) -> Vec<(String, Arc<Host>)> {
    let dialects = gate.dialects.iter();
    let doors = dialects.filter_map(|dialect| Some((dialect, dialect.socketio.as_ref()?)));
    let hosts = doors.map(|(dialect, door)| {
        let path = format!("{}{}", gate.settings.http.base_path, door.path);
        let host = Host {
            gate: Arc::clone(gate),
            dialect: Arc::clone(dialect),
            door: Arc::clone(door),
            engines: Mutex::default(),
            strangers: Counts::default(),
            refusals: Repeated::default(),
        };
        (path, Arc::new(host))
    });
    hosts.collect()
}

impl Host {
    fn forget(&self, sid: Sid) {
        self.engines.lock().remove(&sid);
    }

    /// Lets go of all who are left.
    pub async fn close(&self) {
        let left: Vec<_> = self
            .engines
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for engine in &left {
            engine.end(Refusal::Restart);
        }
        for engine in left {
            engine.closed(Refusal::Restart).await;
        }
    }

    /// The place of a namespace among the door's.
    fn place_of(&self, namespace: &str) -> Option<usize> {
        self.door.namespaces.iter().position(|one| one == namespace)
    }

    /// How packets of the namespace at this place begin, behind their kind.
    fn prefix(&self, place: usize) -> String {
        let name = self.door.namespaces.get(place);
        name.map_or_else(String::new, |name| packet::prefix(name))
    }

    /// Answers a request below the door's path.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Boxed {
        let headers = request.headers().clone();
        let answer = if *request.method() == Method::OPTIONS {
            text(StatusCode::NO_CONTENT, String::new())
        } else {
            self.serve(request).await
        };
        with_cors(&self.gate, &headers, answer)
    }

    async fn serve(self: &Arc<Self>, request: Request<Incoming>) -> Boxed {
        let base = &self.gate.settings.http.base_path;
        let path = request.uri().path().strip_prefix(base.as_str());
        let path = path.map(|path| path.trim_end_matches('/'));
        let entrance = &self.door.entrance;
        if path.is_none_or(|path| entrance.parse(path).is_none()) {
            return text(StatusCode::NOT_FOUND, String::new());
        }
        let asked = EngineQuery::of(request.uri().query().unwrap_or_default());
        let Some(way) = asked.way else {
            return self.turn_away(&request, EngineError::Transport);
        };
        let Some(sid) = asked.sid else {
            return match (asked.is_current, way, request.method()) {
                (false, ..) => self.turn_away(&request, EngineError::Version),
                (_, EngineTransport::Polling, &Method::GET) => self.open(&request),
                (_, EngineTransport::WebSocket, &Method::GET) => self.open_websocket(request),
                _ => self.turn_away(&request, EngineError::Method),
            };
        };
        let found = sid.and_then(|sid| self.engines.lock().get(&sid)?.upgrade());
        let Some(engine) = found else {
            return self.turn_away(&request, EngineError::Sid);
        };
        match (way, request.method()) {
            (EngineTransport::Polling, &Method::GET) => requests::fetch(&engine, asked.stamp).await,
            (EngineTransport::Polling, &Method::POST) => {
                requests::take(&engine, asked.stamp, request.into_body()).await
            }
            (EngineTransport::WebSocket, &Method::GET) => self.probe(engine, request),
            _ => EngineError::Request.answer(),
        }
    }

    /// A connection that requests carry.
    fn open(self: &Arc<Self>, request: &Request<Incoming>) -> Boxed {
        let permit = match self.permit(request) {
            Ok(permit) => permit,
            Err(refusal) => return boxed(self.gate.refuse(refusal)),
        };
        let engine = Engine::new(self, Opened::by(request), None, permit);
        let open = self.packet(engine.sid, &["websocket"]);
        tokio::spawn(requests::keep(engine));
        text(StatusCode::OK, open)
    }

    /// A connection that a WebSocket carries from its beginning.
    fn open_websocket(self: &Arc<Self>, mut request: Request<Incoming>) -> Boxed {
        let permit = match self.permit(&request) {
            Ok(permit) => permit,
            Err(refusal) => return boxed(self.gate.refuse(refusal)),
        };
        let opened = Opened::by(&request);
        let host = Arc::clone(self);
        switch(&mut request, async move |upgrade| {
            let Some((socket, decoder)) = host.take(upgrade).await else {
                return;
            };
            let engine = Engine::new(&host, opened, Some(Arc::clone(&socket)), permit);
            engine.say(Frame::websocket(&host.packet(engine.sid, &[])));
            drop(host);
            carried::carry(engine, socket, decoder).await;
        })
    }

    /// A WebSocket that is to carry what requests carry now.
    fn probe(self: &Arc<Self>, engine: Arc<Engine>, mut request: Request<Incoming>) -> Boxed {
        let Some(trial) = Trial::begin(engine) else {
            return EngineError::Request.answer();
        };
        let host = Arc::clone(self);
        switch(&mut request, async move |upgrade| {
            if let Some((socket, decoder)) = host.take(upgrade).await {
                drop(host);
                trial.run(socket, decoder).await;
            }
        })
    }

    /// The WebSocket, when HTTP lets go of it.
    async fn take(&self, upgrade: OnUpgrade) -> Option<(Arc<Socket>, Decoder)> {
        let (socket, rest) = Lent::back(upgrade).await?;
        let mut decoder = Decoder::new(self.gate.settings.limits.message_bytes);
        decoder.push(&rest);
        Some((socket, decoder))
    }

    /// What a client is told first.
    fn packet(&self, sid: Sid, upgrades: &[&str]) -> String {
        let settings = &self.gate.settings;
        let open = json!({
            "sid": format!("{sid:032x}"),
            "upgrades": upgrades,
            "pingInterval": millis(settings.socketio.ping),
            "pingTimeout": millis(settings.socketio.pong_timeout),
            "maxPayload": settings.limits.message_bytes,
        });
        format!("0{open}")
    }

    /// Room for one more who has not signed in yet.
    fn permit(&self, request: &Request<Incoming>) -> Result<PendingPermit, Refusal> {
        let address = self.address(request);
        self.try_permit(address)
            .inspect_err(|refusal| self.refused(refusal.word(), &refusal.to_string(), address))
    }

    /// Answers who is of no connection here, and tells operators, whose clients only say "xhr poll error".
    fn turn_away(&self, request: &Request<Incoming>, error: EngineError) -> Boxed {
        let (word, address) = (Refusal::Protocol.word(), self.address(request));
        self.refused(word, error.message(), address);
        error.answer()
    }

    fn address(&self, request: &Request<Incoming>) -> Option<IpAddr> {
        let peer = request.extensions().get::<Peer>()?;
        peer.address(&self.gate, request.headers())
    }

    /// Somebody was refused whose sign-in was not even looked at.
    fn refused(&self, word: &str, detail: &str, address: Option<IpAddr>) {
        let (transport, shown) = (Transport::SocketIo.word(), peer::shown(address));
        report::refused_again(&self.refusals, transport, word, detail, &shown);
    }

    fn try_permit(&self, address: Option<IpAddr>) -> Result<PendingPermit, Refusal> {
        if self.gate.hub.standpoint().borrow().is_none() {
            return Err(Refusal::DatabaseAway);
        }
        let limits = &self.gate.settings.limits;
        let of_one = limits.connections_per_address;
        let most = limits.connections.max(of_one) + PENDING;
        let entered = self.strangers.enter(address.map(network), most, of_one);
        entered.map_err(Refusal::from)
    }
}

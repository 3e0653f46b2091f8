//! One namespace of one connection, from the sign-in to the end.
//! Hands the client's words to the conversation, and what the hub queued to the writer.
//! It must never let anybody into a namespace whom the gate has not let in.

use super::Host;
use super::ear::{Ear, Words, listen};
use super::line::Line;
use super::outlet::Outlet;
use super::speech::Named;
use crate::connection::Refusal;
use crate::connection::conversation::Conversation;
use crate::connection::door::{Door, Which};
use crate::connection::presence::Presence;
use crate::connection::speech::Speech;
use crate::connection::visit::{Peer, Visit};
use crate::connection::writer::Writer;
use crate::dialect::{Filling, Values};
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::{ConnectHandler, FromConnectParts, Value as Packet};
use socketioxide::socket::{DisconnectReason, Socket};
use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use warp::http::request::Parts;

/// Parameters of a request that are the library's own.
const ENGINE: &[&str] = &["EIO", "transport", "sid", "t", "b64"];

/// What a client may say in `auth`, besides the door's own parameters; it counts more than the same
/// parameter of the URL.
const SAID: &[&str] = &["token", "since", "reader"];

/// Somebody who was let in, and what they say already, between the library's two steps.
type Guest = Arc<Mutex<Option<(Presence, Visit, Words)>>>;

/// The socket itself, for those who keep it.
struct Whole(Arc<Socket>);

impl FromConnectParts<LocalAdapter> for Whole {
    type Error = Infallible;

    fn from_connect_parts(socket: &Arc<Socket>, _: &Option<Packet>) -> Result<Self, Infallible> {
        Ok(Self(Arc::clone(socket)))
    }
}

/// Serves a namespace from now on.
pub(super) fn welcome(host: &Arc<Host>, io: &SocketIo, namespace: &str) {
    let (entering, serving) = (Arc::clone(host), Arc::clone(host));
    let enter = move |socket: SocketRef, TryData(auth): TryData<Value>| async move {
        enter(&entering, &socket, &auth.unwrap_or_default()).await
    };
    let serve = move |Whole(socket): Whole| async move { serve(&serving, socket).await };
    io.ns(namespace.to_owned(), serve.with(enter));
}

/// Lets somebody in, or says why not.
async fn enter(host: &Arc<Host>, socket: &SocketRef, auth: &Value) -> Result<(), String> {
    let parts = socket.req_parts();
    let visit = visit(host, parts, auth);
    let Some(line) = parts.extensions.get::<Arc<Line>>() else {
        return Err(Refusal::Protocol.word().to_owned());
    };
    let refusal = match host.gate.enter("socketio", &visit).await {
        Ok(presence) => {
            // A page speaks as soon as it is connected, which it is before it has joined.
            let (ear, words) = Ear::new(host);
            socket.on_fallback(ear);
            let guest: Guest = Arc::new(Mutex::new(Some((presence, visit, words))));
            socket.extensions.insert(guest);
            line.settle();
            return Ok(());
        }
        Err(refusal) => refusal,
    };
    if refusal.is_temporary() {
        // Who is refused by a word does not come back by itself, and can't be told when to: so the
        // wait is spent here, and the connection lost.
        let longest = host.gate.settings.socketio.connect / 2;
        tokio::time::sleep(host.gate.wait(refusal).min(longest)).await;
        host.hang_up(line, socket.id, refusal).await;
    }
    let message = refusal.to_string();
    let values = Values::default().with("message", Filling::Text(&message));
    let door = host.dialect.socketio.as_ref();
    let word = refusal.word();
    Err(door.map_or_else(|| word.to_owned(), |door| door.refusal(word, &values)))
}

/// The request that opened the connection, and what was said at the sign-in.
fn visit(host: &Host, parts: &Parts, auth: &Value) -> Visit {
    let mut headers = parts.headers.clone();
    let said = |name: &str| {
        let text = match auth.get(name)? {
            Value::Array(items) => {
                let items: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
                Cow::Owned(items?.join(","))
            }
            value => Cow::Borrowed(value.as_str()?),
        };
        let text = text.trim();
        let text = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => text,
        };
        (!text.is_empty()).then(|| text.to_owned())
    };
    if said("token").is_some() {
        headers.remove("authorization");
        headers.remove("sec-websocket-protocol");
    }
    let query = parts.uri.query().unwrap_or_default();
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let replaced = SAID.contains(&&*key) && said(&key).is_some();
        if !ENGINE.contains(&&*key) && !replaced {
            written.append_pair(&key, &value);
        }
    }
    for key in SAID {
        if let Some(value) = said(key) {
            written.append_pair(key, &value);
        }
    }
    let query = written.finish();
    let peer = parts.extensions.get::<Peer>().and_then(|peer| peer.0);
    let mut visit = Visit {
        headers,
        query,
        peer,
        door: None,
    };
    let base = &host.gate.settings.http.base_path;
    let path = parts.uri.path().strip_prefix(base.as_str());
    let path = path.unwrap_or_default().trim_end_matches('/');
    let door = host.dialect.socketio.as_ref();
    let fields = door.and_then(|door| door.entrance.parse(path));
    let fields = fields.unwrap_or_default();
    let (dialect, which) = (&host.dialect, Which::SocketIo);
    let door = Door::enter(dialect, which, fields, |name| {
        said(name).or_else(|| visit.parameter(name))
    });
    visit.door = Some(Arc::new(door));
    visit
}

async fn serve(host: &Arc<Host>, socket: Arc<Socket>) {
    let guest = socket.extensions.remove::<Guest>();
    let guest = guest.and_then(|guest| {
        let mut guest = guest.lock().unwrap_or_else(PoisonError::into_inner);
        guest.take()
    });
    let line = socket.req_parts().extensions.get::<Arc<Line>>().cloned();
    let Some(((mut presence, visit, mut words), line)) = guest.zip(line) else {
        return;
    };
    line.sockets.fetch_add(1, Ordering::AcqRel);
    let (leaving, mut left) = watch::channel(None);
    socket.on_disconnect(move |reason: DisconnectReason| async move {
        leaving.send_replace(Some(reason));
    });
    let gone = async {
        if !socket.connected() {
            return End::Theirs(DisconnectReason::TransportClose);
        }
        let reason = left.wait_for(Option::is_some).await;
        let reason = reason.ok().and_then(|reason| *reason);
        End::Theirs(reason.unwrap_or(DisconnectReason::TransportClose))
    };
    let end = tokio::select! {
        why = run(host, &socket, &line, &mut presence, &visit, &mut words) => End::Ours(why),
        end = gone => end,
    };
    presence.why = end.why().word();
    line.sockets.fetch_sub(1, Ordering::AcqRel);
    match end {
        End::Theirs(DisconnectReason::ClientNSDisconnect) => {
            drop(presence);
            // It closes the connection itself, if it has no other namespace there.
            host.leave(&line, socket.id, Refusal::Gone).await;
        }
        End::Theirs(_) => {}
        End::Ours(why) if why.ends_access() => {
            let sid = socket.id;
            // Room was left for it; who has closed meanwhile does not need it.
            let _ = SocketRef::from(socket).disconnect();
            host.leave(&line, sid, why).await;
        }
        End::Ours(why) => host.hang_up(&line, socket.id, why).await,
    }
}

/// Who ended it.
enum End {
    Ours(Refusal),
    Theirs(DisconnectReason),
}

impl End {
    fn why(&self) -> Refusal {
        use DisconnectReason as Reason;
        match self {
            Self::Ours(why) => *why,
            Self::Theirs(Reason::HeartbeatTimeout) => Refusal::NoPong,
            Self::Theirs(Reason::PacketParsingError | Reason::MultipleHttpPollingError) => {
                Refusal::Protocol
            }
            Self::Theirs(_) => Refusal::Gone,
        }
    }
}

async fn run(
    host: &Host,
    socket: &Arc<Socket>,
    line: &Line,
    presence: &mut Presence,
    visit: &Visit,
    words: &mut Words,
) -> Refusal {
    if let Err(refusal) = presence.join(visit).await {
        return refusal;
    }
    let gate = &host.gate;
    let Some(door) = visit.door.clone() else {
        return Refusal::Protocol;
    };
    let speech = Arc::new(Named::new(Arc::clone(&door)));
    let spelling = Arc::clone(&speech) as Arc<dyn Speech>;
    let conversation = Conversation::begin("socketio", presence, spelling);
    let outlet = Outlet {
        settings: &gate.settings,
        speech: &speech,
        door: &door,
        socket,
        line,
        resumes: presence.resumes,
    };
    let mut writer = Writer::new(&conversation, presence, outlet);
    let stall = gate.settings.limits.write_stall;
    tokio::select! {
        why = writer.write() => why,
        why = listen(&conversation, words) => why,
        // Engine.IO asks for signs of life.
        why = conversation.ended(|| None) => why,
        () = line.flow.stalled(stall) => Refusal::Lagged,
    }
}

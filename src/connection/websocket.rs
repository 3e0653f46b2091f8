//! `/ws`: from the upgrade to the close, frames as `docs/protocol.md` has them.
//! Hands the client's words down to admission and the hub, and writes what the hub queued.
//! It must never wait for its own send in the place that watches over it: lag, expiry and death are
//! seen beside the write path.

use super::admission::{Admitted, Identity, Visit, explain};
use super::{Gate, Refusal, unix_now, until};
use crate::event::{Event, to_json};
use crate::hub::{Delivery, Subscription};
use crate::report;
use crate::stream::Stream;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// How long the other side may take to accept the close frame.
const CLOSE: Duration = Duration::from_secs(2);

/// Read buffer of a socket: clients send little. The library's default is 128 KiB for each.
const READ_BUFFER: usize = 1024;

/// What is collected before a system call; frames of a burst share one.
const WRITE_BUFFER: usize = 16 * 1024;

/// The bound of what waits for a socket that takes nothing: what was collected, and one event, which
/// the log bounds to 1 MiB of payload and 64 KiB of rooms.
const MAX_WRITE_BUFFER: usize = 2 * 1024 * 1024;

type Socket = WebSocketStream<Stream>;

/// A client's frame. Unknown fields are ignored.
#[derive(Deserialize)]
struct Frame {
    r#type: String,
    rooms: Option<Vec<String>>,
    since: Option<String>,
    token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Welcome<'a> {
    r#type: &'static str,
    connection_id: &'a str,
    user: Option<&'a str>,
    rooms: &'a [Arc<str>],
    bookmark: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    heartbeat: u64,
}

/// Serves a socket that has just been upgraded; `rest` is what was read behind the request.
pub async fn serve(gate: Arc<Gate>, stream: Stream, rest: bytes::Bytes, visit: Visit) {
    let began = Instant::now();
    let connection = format!("{:016x}", rand::random::<u64>());
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(gate.settings.limits.message_bytes))
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_frame_size(Some(gate.settings.limits.message_bytes));
    let mut socket =
        Socket::from_partially_read(stream, rest.into(), Role::Server, Some(config)).await;

    let address = visit.address(&gate);
    let shown = address.map_or_else(|| "unix".to_owned(), |address| address.to_string());
    let why = match enter(&gate, &visit, address).await {
        Ok((identity, admitted, _seat)) => {
            report::opened("websocket", &connection, identity.user.as_deref(), &shown);
            let subscription = gate.hub.open();
            let _close = Closing(Arc::clone(&subscription));
            let session = Connection {
                gate: &gate,
                connection: &connection,
                subscription: &subscription,
            };
            let why = session.run(&mut socket, identity, admitted, &visit).await;
            report::closed(
                "websocket",
                &connection,
                why.word(),
                began.elapsed().as_secs_f64(),
            );
            why
        }
        Err(refusal) => {
            report::refused("websocket", refusal.word(), &refusal.to_string(), &shown);
            refusal
        }
    };
    let _ = timeout(CLOSE, close(&gate, &mut socket, why)).await;
}

/// Sees to it that a subscription is closed, however the connection ends.
struct Closing(Arc<Subscription>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn enter(
    gate: &Gate,
    visit: &Visit,
    address: Option<std::net::IpAddr>,
) -> Result<(Identity, Admitted, super::admission::Seat), Refusal> {
    let mut seat = gate.seats.sit(gate, address)?;
    let identity = gate.identify(visit).await?;
    seat.belongs_to(gate, identity.user.as_deref())?;
    if gate.hub.standpoint().borrow().is_none() {
        return Err(Refusal::DatabaseAway);
    }
    let admitted = gate.welcome(&identity, visit.rooms()).await?;
    Ok((identity, admitted, seat))
}

async fn close(gate: &Gate, socket: &mut Socket, why: Refusal) {
    let (_, code, _) = why.row();
    let reason = if matches!(code, 1012 | 1013) {
        // A bare number of milliseconds: machines read it.
        why.wait(gate.settings.http.spread).as_millis().to_string()
    } else {
        why.to_string()
    };
    let frame = CloseFrame {
        code: code.into(),
        reason: reason.into(),
    };
    if socket.close(Some(frame)).await.is_ok() {
        // Until the other side has answered, or the socket would be reset under its last frames.
        while let Some(Ok(_)) = socket.next().await {}
    }
}

struct Connection<'a> {
    gate: &'a Gate,
    connection: &'a str,
    subscription: &'a Arc<Subscription>,
}

impl Connection<'_> {
    async fn run(
        &self,
        socket: &mut Socket,
        identity: Identity,
        admitted: Admitted,
        visit: &Visit,
    ) -> Refusal {
        let since = visit.since();
        let resumes = since.is_some();
        let since = self.gate.reach(since.as_deref()).await;
        let unreadable = matches!(since, crate::hub::Since::Unreadable);
        self.gate
            .hub
            .join(self.subscription, &admitted.rooms, since, None);
        if unreadable {
            self.error(
                None,
                "bad-bookmark",
                &crate::bookmark::NotABookmark.to_string(),
                None,
            );
        }
        self.report_refused(&admitted, None);

        let seen = AtomicU64::new(unix_now());
        let (expiry, expires) = watch::channel(identity.expires_at);
        let (mut sink, mut stream) = socket.split();
        let greeting = Greeting {
            identity: identity.clone(),
            resumes,
        };
        tokio::select! {
            why = self.write(&mut sink, greeting) => why,
            why = self.read(&mut stream, identity, &expiry, &seen) => why,
            ended = self.subscription.ended() => ended.into(),
            () = expired(expires) => Refusal::Expired,
            () = self.watch_pongs(&seen) => Refusal::NoPong,
        }
    }

    /// Ends when nothing was heard for the time of a ping and its pong.
    async fn watch_pongs(&self, seen: &AtomicU64) {
        let settings = &self.gate.settings.websocket;
        let patience = (settings.ping + settings.pong_timeout).as_secs().max(1);
        loop {
            let silent = unix_now().saturating_sub(seen.load(Ordering::Relaxed));
            if silent > patience {
                return;
            }
            tokio::time::sleep(Duration::from_secs(patience - silent + 1)).await;
        }
    }

    async fn write(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        greeting: Greeting,
    ) -> Refusal {
        match self.write_all(sink, greeting).await {
            Ok(never) => match never {},
            Err(why) => why,
        }
    }

    async fn write_all(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        greeting: Greeting,
    ) -> Result<std::convert::Infallible, Refusal> {
        let settings = &self.gate.settings;
        let standpoint = self.gate.hub.standpoint();
        let mut greeting = Some(greeting);
        let mut next_ping = Instant::now() + settings.websocket.ping;
        let mut last_frame = Instant::now();
        loop {
            let next = next_ping.min(last_frame + settings.websocket.heartbeat);
            let taken = tokio::time::timeout_at(next.into(), self.subscription.take()).await;
            let now = Instant::now();
            let sent = async {
                if let Ok(taken) = taken {
                    let mut events = 0;
                    for delivery in taken? {
                        events += self.write_one(sink, delivery, &mut greeting).await?;
                    }
                    report::delivered(events);
                    last_frame = now;
                }
                if now >= next_ping {
                    sink.feed(Message::Ping(bytes::Bytes::new()))
                        .await
                        .map_err(gone)?;
                    next_ping = now + settings.websocket.ping;
                }
                // The standpoint first: what lies before it was queued before it was set, so an
                // empty queue means that all of it was written.
                let here = standpoint.borrow().clone();
                if now >= last_frame + settings.websocket.heartbeat && self.subscription.is_idle() {
                    if let Some(here) = here {
                        let frame = json!({ "type": "heartbeat", "bookmark": &*here.bookmark });
                        sink.feed(text(&frame)).await.map_err(gone)?;
                    }
                    last_frame = now;
                }
                sink.flush().await.map_err(gone)
            };
            // A reader that takes nothing at all fills no queue of ours when little happens.
            timeout(settings.limits.write_stall, sent)
                .await
                .unwrap_or(Err(Refusal::Lagged))?;
        }
    }

    /// Writes a delivery; returns how many events it held.
    async fn write_one(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        delivery: Delivery,
        greeting: &mut Option<Greeting>,
    ) -> Result<usize, Refusal> {
        match delivery {
            Delivery::Event(event) => self.write_event(sink, &event).await,
            Delivery::Reply(frame) => sink
                .feed(Message::Text(frame))
                .await
                .map(|()| 0)
                .map_err(gone),
            Delivery::Gap { reason, bookmark } => {
                report::gap(reason);
                let rooms = self.subscription.rooms();
                self.write_gap(sink, &rooms, reason, &bookmark).await
            }
            Delivery::Seam(seam) => {
                let (here, tag, rooms) = (
                    Arc::clone(&seam.standpoint),
                    seam.tag.clone(),
                    seam.rooms.clone(),
                );
                let first = greeting.take();
                let resolved = match self.gate.resolve(*seam).await {
                    Ok(resolved) => resolved,
                    // At the start it comes back with the same bookmark; later the other rooms
                    // live on, and these are told the truth.
                    Err(refusal) if first.is_some() => return Err(refusal),
                    Err(_) => {
                        let mut frame = json!({ "type": "subscribed", "rooms": rooms,
                            "outcome": "gap", "reason": "unavailable", "bookmark": &*here.bookmark });
                        if let Some(tag) = tag {
                            frame["id"] = tag;
                        }
                        return sink.feed(text(&frame)).await.map(|()| 0).map_err(gone);
                    }
                };
                let mut announced = true;
                if let Some(greeting) = first {
                    announced = greeting.resumes;
                    let welcome = Welcome {
                        r#type: "welcome",
                        connection_id: self.connection,
                        user: greeting.identity.user.as_deref(),
                        rooms: &resolved.frame.rooms,
                        bookmark: &resolved.frame.bookmark,
                        expires_at: (greeting.identity.expires_at != u64::MAX)
                            .then_some(greeting.identity.expires_at),
                        heartbeat: self.gate.settings.websocket.heartbeat.as_secs(),
                    };
                    sink.feed(text(&welcome)).await.map_err(gone)?;
                }
                if announced {
                    sink.feed(text(&resolved.frame)).await.map_err(gone)?;
                }
                let mut events = 0;
                for event in &resolved.events {
                    events += self.write_event(sink, event).await?;
                }
                Ok(events)
            }
        }
    }

    async fn write_event(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        event: &Event,
    ) -> Result<usize, Refusal> {
        if event.lost {
            report::gap(event.reason());
            let bookmark = event.bookmark().cloned().unwrap_or_else(|| "".into());
            let rooms = self.subscription.concerned(&event.rooms);
            return self
                .write_gap(sink, &rooms, event.reason(), &bookmark)
                .await;
        }
        sink.feed(Message::Text(event.websocket_text()))
            .await
            .map(|()| 1)
            .map_err(gone)
    }

    async fn write_gap(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        rooms: &[Arc<str>],
        reason: &str,
        bookmark: &str,
    ) -> Result<usize, Refusal> {
        let frame =
            json!({ "type": "gap", "rooms": rooms, "reason": reason, "bookmark": bookmark });
        sink.feed(text(&frame)).await.map(|()| 0).map_err(gone)
    }

    async fn read(
        &self,
        stream: &mut SplitStream<&mut Socket>,
        mut identity: Identity,
        expiry: &watch::Sender<u64>,
        seen: &AtomicU64,
    ) -> Refusal {
        let rate = self.gate.settings.limits.messages_per_second;
        let mut allowance = Allowance::new(rate);
        while let Some(message) = stream.next().await {
            seen.store(unix_now(), Ordering::Relaxed);
            let message = match message {
                Ok(message) => message,
                Err(Error::Capacity(_)) => return Refusal::TooBig,
                // Vanished without a close frame, as pages do.
                Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                    return Refusal::Gone;
                }
                Err(Error::Protocol(_) | Error::Utf8(_)) => return Refusal::Protocol,
                Err(_) => return Refusal::Gone,
            };
            match message {
                Message::Close(_) => return Refusal::Gone,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                _ if !allowance.take() => {
                    self.error(
                        None,
                        "rate-limited",
                        &format!("at most {rate} messages a second"),
                        None,
                    );
                }
                Message::Binary(_) => {
                    self.error(None, "bad-message", "frames are text, not binary", None);
                }
                Message::Text(frame) => self.hear(&frame, &mut identity, expiry).await,
            }
        }
        Refusal::Gone
    }

    async fn hear(&self, frame: &str, identity: &mut Identity, expiry: &watch::Sender<u64>) {
        let said: Value = serde_json::from_str(frame).unwrap_or_default();
        let id = said.get("id").cloned();
        let frame: Frame = match serde_json::from_value(said) {
            Ok(frame) => frame,
            Err(error) => {
                let message =
                    format!("not a frame: a JSON object with type was expected ({error})");
                return self.error(id, "bad-message", &message, None);
            }
        };
        match frame.r#type.as_str() {
            "subscribe" => match frame.rooms {
                Some(rooms) if !rooms.is_empty() => {
                    self.subscribe(identity, rooms, frame.since.as_deref(), id)
                        .await;
                }
                _ => self.error(
                    id,
                    "bad-message",
                    "subscribe needs rooms, a list of names",
                    None,
                ),
            },
            "unsubscribe" => {
                let rooms: Vec<Arc<str>> = frame
                    .rooms
                    .unwrap_or_default()
                    .into_iter()
                    .map(Into::into)
                    .collect();
                let left = self.gate.hub.leave(self.subscription, &rooms);
                self.reply("unsubscribed", id, &json!({ "rooms": left }));
            }
            "auth" => match frame.token {
                Some(token) => self.authenticate(identity, &token, expiry, id).await,
                None => self.error(id, "bad-message", "auth needs token", None),
            },
            "ping" => self.reply("pong", id, &json!({})),
            other => {
                let known = "subscribe, unsubscribe, auth, ping";
                let other: String = other.chars().take(40).collect();
                self.error(
                    id,
                    "unknown-type",
                    &format!("{other:?} is none of {known}"),
                    None,
                );
            }
        }
    }

    async fn subscribe(
        &self,
        identity: &Identity,
        rooms: Vec<String>,
        since: Option<&str>,
        id: Option<Value>,
    ) {
        let most = self.gate.settings.limits.rooms_per_connection;
        let mine = self.subscription.rooms();
        let new = rooms
            .iter()
            .filter(|room| mine.iter().all(|known| **known != ***room))
            .count();
        if mine.len() + new > most {
            return self.error(id, "too-many-rooms", &format!("at most {most} rooms"), None);
        }
        let admitted = match self.gate.admit(identity, rooms).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.error(id, refusal.word(), &refusal.to_string(), None),
        };
        let since = self.gate.reach(since).await;
        if matches!(since, crate::hub::Since::Unreadable) {
            let message = crate::bookmark::NotABookmark.to_string();
            return self.error(id, "bad-bookmark", &message, None);
        }
        self.report_refused(&admitted, id.as_ref());
        self.gate
            .hub
            .join(self.subscription, &admitted.rooms, since, id);
    }

    /// A new token for the same user: every room is admitted anew.
    async fn authenticate(
        &self,
        identity: &mut Identity,
        token: &str,
        expiry: &watch::Sender<u64>,
        id: Option<Value>,
    ) {
        let renewed = match self.gate.identify_token(token).await {
            Ok(renewed) if renewed.user == identity.user => renewed,
            Ok(_) => {
                return self.error(id, "unauthorized", "sub must stay: reconnect instead", None);
            }
            Err(refusal) => return self.error(id, refusal.word(), &refusal.to_string(), None),
        };
        let rooms: Vec<Arc<str>> = self.subscription.rooms();
        let names = rooms.iter().map(ToString::to_string).collect();
        let admitted = match self.gate.welcome(&renewed, names).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.error(id, refusal.word(), &refusal.to_string(), None),
        };
        let new = admitted.rooms.iter().filter(|room| !rooms.contains(room));
        let new: Vec<Arc<str>> = new.cloned().collect();
        let lost: Vec<Arc<str>> = rooms
            .into_iter()
            .filter(|room| !admitted.rooms.contains(room))
            .collect();
        self.gate.hub.leave(self.subscription, &lost);
        self.report_refused(&admitted, id.as_ref());
        expiry.send_replace(renewed.expires_at);
        self.reply(
            "authenticated",
            id,
            &json!({ "expiresAt": renewed.expires_at }),
        );
        if !new.is_empty() {
            // Home rooms of the new claims.
            self.gate
                .hub
                .join(self.subscription, &new, crate::hub::Since::Now, None);
        }
        *identity = renewed;
    }

    fn report_refused(&self, admitted: &Admitted, id: Option<&Value>) {
        for (room, code) in &admitted.refused {
            self.error(id.cloned(), code, explain(code), Some(room));
        }
    }

    fn error(&self, id: Option<Value>, code: &str, message: &str, room: Option<&str>) {
        report::refused("websocket", code, self.connection, "");
        let mut fields = json!({ "code": code, "message": message });
        if let Some(room) = room {
            fields["room"] = room.into();
        }
        self.reply("error", id, &fields);
    }

    fn reply(&self, kind: &str, id: Option<Value>, fields: &Value) {
        let mut frame = fields.clone();
        frame["type"] = kind.into();
        if let Some(id) = id {
            frame["id"] = id;
        }
        self.subscription.reply(Utf8Bytes::from(frame.to_string()));
    }
}

/// What the first seam is answered with.
struct Greeting {
    identity: Identity,
    resumes: bool,
}

async fn expired(mut expires: watch::Receiver<u64>) {
    loop {
        let at = *expires.borrow_and_update();
        tokio::select! {
            () = until(at) => return,
            changed = expires.changed() => if changed.is_err() { return },
        }
    }
}

fn gone(_: Error) -> Refusal {
    Refusal::Gone
}

fn text<T: Serialize>(frame: &T) -> Message {
    Message::text(to_json(frame))
}

/// A bucket of messages: a second's worth, and once more for a burst.
struct Allowance {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn new(rate: usize) -> Self {
        let rate = rate as f64;
        Self {
            rate,
            left: rate * 2.0,
            at: Instant::now(),
        }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        let refilled = (now - self.at).as_secs_f64().mul_add(self.rate, self.left);
        self.left = refilled.min(self.rate * 2.0);
        self.at = now;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

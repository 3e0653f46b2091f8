//! The way to the library: what the hub queued, in its order, one packet after another as there is
//! room for it. Hands packets over to the library. It must never drop one: who takes nothing is cut.

use super::line::Line;
use super::speech::Named;
use crate::connection::Refusal;
use crate::connection::conversation::Conversation;
use crate::connection::door::Door;
use crate::connection::frame::Welcome;
use crate::connection::presence::Presence;
use crate::connection::seam::{Resolved, Subscribed};
use crate::connection::speech::{Speech, Told};
use crate::event::Event;
use crate::hub::{Delivery, Seam};
use crate::report;
use serde::ser::{Serialize, SerializeTuple, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::AckSender;
use socketioxide::handler::{FromMessageParts, Value as Packet};
use socketioxide::socket::Socket;
use socketioxide::{SendError, SocketError};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Of a packet, besides its list: type, namespace, and what the list needs in its own place.
const AROUND: usize = 128;

/// Of an answer to a poll, besides events.
const SPARE: usize = 1024;

/// Between two attempts, should the library's buffer be full against all reckoning.
const AGAIN: Duration = Duration::from_millis(5);

/// The writing side of a socket.
pub(super) struct Writer<'a> {
    pub conversation: &'a Conversation<'a>,
    pub speech: &'a Named,
    pub presence: &'a Presence,
    pub door: &'a Door,
    pub socket: &'a Arc<Socket>,
    pub line: &'a Line,
    pub greeted: bool,
}

/// Arguments as they are written.
struct Arguments<'a>(Vec<&'a RawValue>);

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_tuple(self.0.len())?;
        for argument in &self.0 {
            all.serialize_element(argument)?;
        }
        all.end()
    }
}

impl Writer<'_> {
    pub async fn write(mut self) -> Refusal {
        match self.write_all().await {
            Ok(never) => match never {},
            Err(why) => why,
        }
    }

    async fn write_all(&mut self) -> Result<Infallible, Refusal> {
        let Conversation {
            gate,
            subscription,
            calls,
            ..
        } = self.conversation;
        let standpoint = gate.hub.standpoint();
        let heartbeat = gate.settings.socketio.heartbeat;
        let mut last = Instant::now();
        loop {
            tokio::select! {
                taken = subscription.take() => {
                    let mut events = 0;
                    for delivery in taken? {
                        events += self.write_one(delivery).await?;
                    }
                    report::delivered(events);
                    last = Instant::now();
                }
                answer = calls.answered() => {
                    self.send(&answer.frame).await?;
                    last = Instant::now();
                }
                () = tokio::time::sleep_until(last + heartbeat) => {
                    // The standpoint first: what lies before it was queued before it was set, so an
                    // empty queue means that all of it was written.
                    let here = standpoint.borrow().clone();
                    if let Some(here) = here.filter(|_| subscription.is_idle()) {
                        let bookmark = &*here.bookmark;
                        self.say(&Told::Heartbeat { bookmark }, None).await?;
                    }
                    last = Instant::now();
                }
            }
        }
    }

    /// Writes a delivery; returns how many events it held.
    async fn write_one(&mut self, delivery: Delivery) -> Result<usize, Refusal> {
        match delivery {
            Delivery::Event(event) => return self.write_event(&event, true).await,
            Delivery::Seam(seam) => return self.write_seam(*seam).await,
            Delivery::Reply(list) => self.send(&list).await?,
            Delivery::Withdrawn(room) if self.presence.needs(&room) => {
                return Err(Refusal::Forbidden);
            }
            Delivery::Withdrawn(room) => {
                self.say(&Told::Withdrawn { room: &room }, None).await?;
            }
            Delivery::Gap { reason, bookmark } => {
                let rooms = self.conversation.subscription.rooms();
                self.write_gap(&rooms, reason, &bookmark).await?;
            }
        }
        Ok(0)
    }

    async fn write_seam(&mut self, seam: Seam) -> Result<usize, Refusal> {
        let gate = self.conversation.gate;
        let unavailable = Subscribed::unavailable(&seam);
        let resolved = match gate.resolve(seam, self.conversation.subscription).await {
            Ok(resolved) => resolved,
            // At the start it comes back with the same bookmark; later the other rooms live on.
            Err(refusal) if !self.greeted => return Err(refusal),
            Err(_) => {
                self.subscribed(&unavailable).await?;
                return Ok(0);
            }
        };
        let announced = self.greeted || self.presence.resumes;
        if !self.greeted {
            self.greet(&resolved).await?;
        }
        if announced {
            self.subscribed(&resolved.frame).await?;
        }
        let mut events = 0;
        for event in &resolved.events {
            events += self.write_event(event, false).await?;
        }
        Ok(events)
    }

    async fn greet(&mut self, resolved: &Resolved) -> Result<(), Refusal> {
        self.greeted = true;
        let (presence, settings) = (self.presence, &self.conversation.gate.settings);
        let welcome = Welcome {
            r#type: "welcome",
            connection_id: &presence.connection,
            user: presence.identity.user.as_deref(),
            rooms: &resolved.frame.rooms,
            bookmark: resolved.before.as_deref(),
            expires_at: presence.expires_at(),
            heartbeat: settings.socketio.heartbeat.as_secs(),
        };
        if let Some(own) = self.speech.welcome(&welcome) {
            self.send(&own).await?;
        }
        self.say(&Told::Welcome(&welcome), None).await
    }

    /// Answers a join, or tells how a resume went.
    async fn subscribed(&mut self, subscribed: &Subscribed) -> Result<(), Refusal> {
        let tag = subscribed.id.as_ref();
        self.say(&Told::Subscribed(subscribed), tag).await?;
        match subscribed.reason {
            Some(reason) => {
                let (rooms, bookmark) = (&subscribed.rooms, &subscribed.bookmark);
                self.after_gap(rooms, reason, bookmark).await
            }
            None => Ok(()),
        }
    }

    async fn write_event(&mut self, event: &Event, live: bool) -> Result<usize, Refusal> {
        let subscription = self.conversation.subscription;
        if !subscription.may_hear(&event.rooms) {
            return Ok(0);
        }
        if event.lost {
            let bookmark = event.bookmark().map_or("", |bookmark| bookmark);
            let rooms = subscription.concerned(&event.rooms);
            self.write_gap(&rooms, event.reason(), bookmark).await?;
            return Ok(0);
        }
        let Some(door) = &self.door.dialect.socketio else {
            return Ok(0);
        };
        self.presence.tells(&Told::Event(event));
        let arguments = door.arguments.frame(event, &self.door.fields);
        let inserted = live.then_some(event.inserted);
        self.emit(&event.name, &arguments, inserted).await?;
        Ok(1)
    }

    async fn write_gap(
        &mut self,
        rooms: &[Arc<str>],
        reason: &str,
        bookmark: &str,
    ) -> Result<(), Refusal> {
        report::gap(reason);
        let gap = Told::Gap {
            rooms,
            reason,
            bookmark,
        };
        self.say(&gap, None).await?;
        self.after_gap(rooms, reason, bookmark).await
    }

    /// A gap in the dialect's own word. Without one, a page that did not say where it stood knows
    /// nothing of gaps: it is to come back, and load anew.
    async fn after_gap(
        &mut self,
        rooms: &[Arc<str>],
        reason: &str,
        bookmark: &str,
    ) -> Result<(), Refusal> {
        match self.speech.gap(rooms, reason, bookmark) {
            Some(own) => self.send(&own).await,
            None if self.presence.resumes => Ok(()),
            None => Err(Refusal::Gap),
        }
    }

    /// Says it, if there is a word for it.
    async fn say(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal> {
        self.presence.tells(told);
        match self.speech.spell(told, tag)? {
            Some(list) => self.send(&list).await,
            None => Ok(()),
        }
    }

    /// Sends a list: an event's name and its arguments, or an acknowledgement's number and its own.
    async fn send(&mut self, list: &str) -> Result<(), Refusal> {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(list) else {
            return Ok(());
        };
        let Some((first, arguments)) = items.split_first() else {
            return Ok(());
        };
        let arguments = Arguments(arguments.to_vec());
        if let Ok(name) = serde_json::from_str::<String>(first.get()) {
            let emit = || self.socket.emit(&name, &arguments);
            return self.deliver(list.len(), None, emit).await;
        }
        let Ok(number) = serde_json::from_str::<i64>(first.get()) else {
            return Ok(());
        };
        let answer = || {
            let mut nothing = Packet::Bytes(bytes::Bytes::new());
            let answer = AckSender::<LocalAdapter>::from_message_parts(
                self.socket,
                &mut nothing,
                &Some(number),
            );
            match answer {
                Ok(answer) => answer.send(&arguments),
                Err(never) => match never {},
            }
        };
        self.deliver(list.len(), None, answer).await
    }

    async fn emit(
        &self,
        name: &str,
        arguments: &str,
        inserted: Option<i64>,
    ) -> Result<(), Refusal> {
        let weight = name.len() + arguments.len();
        let Ok(arguments) = serde_json::from_str::<Vec<&RawValue>>(arguments) else {
            return Ok(());
        };
        let arguments = Arguments(arguments);
        let emit = || self.socket.emit(name, &arguments);
        self.deliver(weight, inserted, emit).await
    }

    /// Gives a packet to the library as soon as there is room for it.
    async fn deliver(
        &self,
        bytes: usize,
        inserted: Option<i64>,
        give: impl Fn() -> Result<(), SendError>,
    ) -> Result<(), Refusal> {
        let settings = &self.conversation.gate.settings;
        // All of it fits into one answer to a poll: what does not, the library would keep for the
        // next one, and forget when the connection goes over to WebSocket.
        let answer = settings.limits.message_bytes.saturating_sub(SPARE);
        let most = (
            settings.socketio.buffer_events,
            settings.socketio.buffer_bytes.min(answer),
        );
        let bytes = bytes + AROUND;
        self.line.flow.enter(bytes, inserted, most).await;
        let end = Instant::now() + settings.limits.write_stall;
        loop {
            let why = match give() {
                Ok(()) => return Ok(()),
                Err(SendError::Socket(SocketError::InternalChannelFull))
                    if Instant::now() < end =>
                {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(SendError::Socket(SocketError::InternalChannelFull)) => Refusal::Lagged,
                Err(_) => Refusal::Gone,
            };
            self.line.flow.take_back();
            return Err(why);
        }
    }
}

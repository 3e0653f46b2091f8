//! The way to the library: one packet after another, as there is room for it.
//! Hands packets over to the library. It must never drop one: who takes nothing is cut.

use super::line::Line;
use super::speech::Named;
use crate::config::Settings;
use crate::connection::Refusal;
use crate::connection::door::Door;
use crate::connection::seam::Subscribed;
use crate::connection::speech::{Speech, Told};
use crate::connection::writer;
use crate::event::Event;
use crate::frame::Frame;
use serde::ser::{Serialize, SerializeTuple, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::AckSender;
use socketioxide::handler::{FromMessageParts, Value as Packet};
use socketioxide::socket::Socket;
use socketioxide::{SendError, SocketError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Of a packet, besides its list: type, namespace, and what the list needs in its own place.
const AROUND: usize = 128;

/// Of an answer to a poll, besides events.
const SPARE: usize = 1024;

/// Between two attempts, should the library's buffer be full against all reckoning.
const AGAIN: Duration = Duration::from_millis(5);

/// A socket of Socket.IO, as the writer sees it.
pub(super) struct Outlet<'a> {
    pub settings: &'a Settings,
    pub speech: &'a Named,
    pub door: &'a Door,
    pub socket: &'a Arc<Socket>,
    pub line: &'a Line,
    /// Whether its page said where it stood, and so knows of gaps.
    pub resumes: bool,
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

impl writer::Outlet for Outlet<'_> {
    fn heartbeat(&self) -> Duration {
        self.settings.socketio.heartbeat
    }

    async fn feed(&mut self, list: &Frame) -> Result<(), Refusal> {
        self.send(list.text()).await
    }

    async fn say(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal> {
        if let Told::Welcome(welcome) = told
            && let Some(own) = self.speech.welcome(welcome)
        {
            self.send(&own).await?;
        }
        if let Some(list) = self.speech.spell(told, tag)? {
            self.send(list.text()).await?;
        }
        match told {
            Told::Gap {
                rooms,
                reason,
                bookmark,
            } => self.after_gap(rooms, reason, bookmark).await,
            Told::Subscribed(Subscribed {
                rooms,
                reason: Some(reason),
                bookmark,
                ..
            }) => self.after_gap(rooms, reason, bookmark).await,
            _ => Ok(()),
        }
    }

    async fn event(&mut self, event: &Event, live: bool) -> Result<(), Refusal> {
        let Some(door) = &self.door.dialect.socketio else {
            return Ok(());
        };
        let arguments = door.arguments.frame(event, &self.door.fields);
        let inserted = live.then_some(event.inserted);
        self.emit(&event.name, arguments.text(), inserted).await
    }
}

impl Outlet<'_> {
    /// A gap in the dialect's own word. Without one, a page that did not say where it stood knows
    /// nothing of gaps: it is to come back, and load anew.
    async fn after_gap(
        &self,
        rooms: &[Arc<str>],
        reason: &str,
        bookmark: &str,
    ) -> Result<(), Refusal> {
        match self.speech.gap(rooms, reason, bookmark) {
            Some(own) => self.send(&own).await,
            None if self.resumes => Ok(()),
            None => Err(Refusal::Gap),
        }
    }

    /// Sends a list: an event's name and its arguments, or an acknowledgement's number and its own.
    async fn send(&self, list: &str) -> Result<(), Refusal> {
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
        let settings = self.settings;
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

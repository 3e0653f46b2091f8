//! The way to the socket: what the hub queued, in its order, and heartbeats when it is quiet.
//! Hands frames over to the sink. It must never say that all is written before it is.

use super::Socket;
use crate::connection::Refusal;
use crate::connection::conversation::Conversation;
use crate::connection::frame::Welcome;
use crate::connection::presence::Presence;
use crate::connection::seam::{Resolved, Subscribed};
use crate::connection::speech::Told;
use crate::event::Event;
use crate::hub::{Delivery, Seam};
use crate::report;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};

type Sink<'a> = SplitSink<&'a mut Socket, Message>;

/// The writing side of a connection.
pub(super) struct Writer<'a, 'b> {
    pub conversation: &'a Conversation<'a>,
    pub presence: &'a Presence,
    pub sink: &'a mut Sink<'b>,
    pub greeted: bool,
}

impl Writer<'_, '_> {
    pub(super) async fn write(mut self) -> Refusal {
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
        let settings = &gate.settings;
        let standpoint = gate.hub.standpoint();
        let mut next_ping = Instant::now() + settings.websocket.ping;
        let mut last_frame = Instant::now();
        loop {
            let next = next_ping.min(last_frame + settings.websocket.heartbeat);
            let mut live = Vec::new();
            tokio::select! {
                taken = subscription.take() => {
                    last_frame = Instant::now();
                    let mut events = 0;
                    for delivery in taken? {
                        let inserted = delivery.inserted();
                        let written = self.write_one(delivery).await?;
                        live.extend(inserted.filter(|_| written > 0));
                        events += written;
                    }
                    report::delivered(events);
                }
                answer = calls.answered() => {
                    last_frame = Instant::now();
                    self.feed(Message::Text(answer.frame.clone())).await?;
                }
                () = tokio::time::sleep_until(next.into()) => {}
            }
            let now = Instant::now();
            if now >= next_ping {
                self.feed(Message::Ping(bytes::Bytes::new())).await?;
                next_ping = now + settings.websocket.ping;
            }
            // The standpoint first: what lies before it was queued before it was set, so an
            // empty queue means that all of it was written.
            let here = standpoint.borrow().clone();
            if now >= last_frame + settings.websocket.heartbeat && subscription.is_idle() {
                if let Some(here) = here {
                    let bookmark = &*here.bookmark;
                    self.say(&Told::Heartbeat { bookmark }, None).await?;
                }
                last_frame = now;
            }
            in_time(settings.limits.write_stall, self.sink.flush()).await?;
            report::reached_socket(&live);
        }
    }

    /// Says it, if there is a word for it.
    async fn say(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal> {
        self.presence.tells(told);
        match self.conversation.speech.spell(told, tag)? {
            Some(frame) => self.feed(Message::Text(frame)).await,
            None => Ok(()),
        }
    }

    async fn feed(&mut self, frame: Message) -> Result<(), Refusal> {
        let stall = self.conversation.gate.settings.limits.write_stall;
        in_time(stall, self.sink.feed(frame)).await
    }

    /// Writes a delivery; returns how many events it held.
    async fn write_one(&mut self, delivery: Delivery) -> Result<usize, Refusal> {
        match delivery {
            Delivery::Event(event) => return self.write_event(&event).await,
            Delivery::Seam(seam) => return self.write_seam(*seam).await,
            Delivery::Reply(frame) => self.feed(Message::Text(frame)).await?,
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
            // At the start it comes back with the same bookmark; later the other rooms live on, and
            // these are told the truth.
            Err(refusal) if !self.greeted => return Err(refusal),
            Err(_) => {
                let tag = unavailable.id.as_ref();
                return self
                    .say(&Told::Subscribed(&unavailable), tag)
                    .await
                    .map(|()| 0);
            }
        };
        let announced = self.greeted || self.presence.resumes;
        if !self.greeted {
            self.greet(&resolved).await?;
        }
        if announced {
            let subscribed = &resolved.frame;
            let tag = subscribed.id.as_ref();
            self.say(&Told::Subscribed(subscribed), tag).await?;
        }
        let mut events = 0;
        for event in &resolved.events {
            events += self.write_event(event).await?;
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
            heartbeat: settings.websocket.heartbeat.as_secs(),
        };
        self.say(&Told::Welcome(&welcome), None).await
    }

    async fn write_event(&mut self, event: &Event) -> Result<usize, Refusal> {
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
        self.say(&Told::Event(event), None).await.map(|()| 1)
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
        self.say(&gap, None).await
    }
}

/// One step towards the socket. A reader that takes nothing at all fills no queue of ours when little
/// happens, and one that is slow may take long for a whole replay.
async fn in_time(
    stall: Duration,
    step: impl Future<Output = Result<(), Error>>,
) -> Result<(), Refusal> {
    timeout(stall, step)
        .await
        .map_or(Err(Refusal::Lagged), |done| done.map_err(|_| Refusal::Gone))
}

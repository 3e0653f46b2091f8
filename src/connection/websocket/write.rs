//! The way to the socket: what the hub queued, in its order, and heartbeats when it is quiet.
//! Hands frames over to the sink. It must never say that all is written before it is.

use super::{Connection, Socket};
use crate::connection::Refusal;
use crate::connection::admission::explain;
use crate::connection::frame::{self, Welcome};
use crate::connection::presence::Presence;
use crate::event::{Event, to_json};
use crate::hub::Delivery;
use crate::report;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};

impl Connection<'_> {
    pub(super) async fn write(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        presence: &Presence,
    ) -> Refusal {
        match self.write_all(sink, presence).await {
            Ok(never) => match never {},
            Err(why) => why,
        }
    }

    async fn write_all(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        presence: &Presence,
    ) -> Result<std::convert::Infallible, Refusal> {
        let settings = &self.gate.settings;
        let standpoint = self.gate.hub.standpoint();
        let mut greeting = Some(presence);
        let mut next_ping = Instant::now() + settings.websocket.ping;
        let mut last_frame = Instant::now();
        loop {
            let next = next_ping.min(last_frame + settings.websocket.heartbeat);
            let mut live = Vec::new();
            tokio::select! {
                taken = self.subscription.take() => {
                    last_frame = Instant::now();
                    let mut events = 0;
                    for delivery in taken? {
                        let inserted = delivery.inserted();
                    let written = self.write_one(sink, delivery, &mut greeting).await?;
                    live.extend(inserted.filter(|_| written > 0));
                    events += written;
                    }
                    report::delivered(events);
                }
                answer = self.calls.answered() => {
                    last_frame = Instant::now();
                    self.feed(sink, Message::Text(answer.frame.clone())).await?;
                }
                () = tokio::time::sleep_until(next.into()) => {}
            }
            let now = Instant::now();
            if now >= next_ping {
                self.feed(sink, Message::Ping(bytes::Bytes::new())).await?;
                next_ping = now + settings.websocket.ping;
            }
            // The standpoint first: what lies before it was queued before it was set, so an
            // empty queue means that all of it was written.
            let here = standpoint.borrow().clone();
            if now >= last_frame + settings.websocket.heartbeat && self.subscription.is_idle() {
                if let Some(here) = here {
                    let frame = json!({ "type": "heartbeat", "bookmark": &*here.bookmark });
                    self.feed(sink, text(&frame)).await?;
                    self.presence.rests(&here.bookmark);
                }
                last_frame = now;
            }
            self.in_time(sink.flush()).await?;
            report::reached_socket(&live);
        }
    }

    async fn feed(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        frame: Message,
    ) -> Result<(), Refusal> {
        self.in_time(sink.feed(frame)).await
    }

    /// One step towards the socket. A reader that takes nothing at all fills no queue of ours when
    /// little happens, and one that is slow may take long for a whole replay.
    async fn in_time(&self, step: impl Future<Output = Result<(), Error>>) -> Result<(), Refusal> {
        timeout(self.gate.settings.limits.write_stall, step)
            .await
            .map_or(Err(Refusal::Lagged), |done| done.map_err(|_| Refusal::Gone))
    }

    /// Writes a delivery; returns how many events it held.
    async fn write_one(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        delivery: Delivery,
        greeting: &mut Option<&Presence>,
    ) -> Result<usize, Refusal> {
        match delivery {
            Delivery::Event(event) => self.write_event(sink, &event).await,
            Delivery::Reply(frame) => self.feed(sink, Message::Text(frame)).await.map(|()| 0),
            Delivery::Withdrawn(room) => {
                let frame = frame::error("forbidden", explain("withdrawn"), Some(&room));
                self.feed(sink, text(&frame)).await.map(|()| 0)
            }
            Delivery::Gap { reason, bookmark } => {
                report::gap(reason);
                self.presence.sent(&bookmark);
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
                let resolved = match self.gate.resolve(*seam, self.subscription).await {
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
                        return self.feed(sink, text(&frame)).await.map(|()| 0);
                    }
                };
                let mut announced = true;
                if let Some(presence) = first {
                    announced = presence.resumes;
                    let welcome = Welcome {
                        r#type: "welcome",
                        connection_id: self.connection,
                        user: presence.identity.user.as_deref(),
                        rooms: &resolved.frame.rooms,
                        bookmark: resolved.before.as_deref(),
                        expires_at: presence.expires_at(),
                        heartbeat: self.gate.settings.websocket.heartbeat.as_secs(),
                    };
                    self.feed(sink, text(&welcome)).await?;
                }
                if announced {
                    self.feed(sink, text(&resolved.frame)).await?;
                }
                self.presence.resolved(&resolved.frame);
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
        if !self.subscription.may_hear(&event.rooms) {
            return Ok(0);
        }
        if let Some(bookmark) = event.bookmark() {
            self.presence.sent(bookmark);
        }
        if event.lost {
            report::gap(event.reason());
            let bookmark = event.bookmark().cloned().unwrap_or_else(|| "".into());
            let rooms = self.subscription.concerned(&event.rooms);
            return self
                .write_gap(sink, &rooms, event.reason(), &bookmark)
                .await;
        }
        let frame = Message::Text(event.websocket_text());
        self.feed(sink, frame).await.map(|()| 1)
    }

    async fn write_gap(
        &self,
        sink: &mut SplitSink<&mut Socket, Message>,
        rooms: &[Arc<str>],
        reason: &str,
        bookmark: &str,
    ) -> Result<usize, Refusal> {
        let frame = frame::gap(rooms, reason, bookmark);
        self.feed(sink, text(&frame)).await.map(|()| 0)
    }
}

fn text<T: Serialize>(frame: &T) -> Message {
    Message::text(to_json(frame))
}

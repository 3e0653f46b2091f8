//! What the hub queued for a connection, said in its order, with the answers of calls between; and
//! heartbeats when it is quiet. The same on every transport that stays open.
//! Hands words over to the transport's outlet. It must never say that all was said before it was.

use super::Refusal;
use super::conversation::Conversation;
use super::payload::Welcome;
use super::presence::Presence;
use super::seam::{Resolved, Subscribed};
use super::speech::Told;
use crate::event::{Event, GapReason};
use crate::frame::Frame;
use crate::hub::{Delivery, Line, Seam};
use crate::report;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Bytes of a replay that are spelled before they leave: of a crowd that comes back, each holds no
/// more than this besides what all of them share, and what is withdrawn meanwhile is not written.
const REPLAY_STEP: usize = 256 * 1024;

/// The way out of one transport, in its spelling. All is taken at once; to wait until there is room,
/// and end the connection if none comes, is for `flush`.
pub trait Outlet {
    /// After how long a quiet connection says where it stands.
    fn heartbeat(&self) -> Duration;

    /// Takes a frame that was spelled before.
    fn feed(&mut self, frame: &Frame);

    /// Spells it and takes it, if there is a word for it.
    ///
    /// # Errors
    /// It can't go on without one.
    fn say(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal>;

    /// The same for an event; a live one is reported once it has left.
    ///
    /// # Errors
    /// As of `say`.
    fn event(&mut self, event: &Event, live: bool) -> Result<(), Refusal>;

    /// When the transport has something of its own to say, which `flush` does.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Lets go of all that was taken.
    fn flush(&mut self) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// The way past the writer while it is at rest, if there is one.
    fn line(&self) -> Option<Line>;
}

/// The writing side of a connection.
pub struct Writer<'a, O> {
    conversation: &'a Conversation<'a>,
    presence: &'a Presence,
    outlet: O,
    greeted: bool,
}

impl<'a, O: Outlet> Writer<'a, O> {
    pub fn new(conversation: &'a Conversation<'a>, presence: &'a Presence, outlet: O) -> Self {
        Self {
            conversation,
            presence,
            outlet,
            greeted: false,
        }
    }

    /// Writes until the connection ends.
    pub async fn write(&mut self) -> Refusal {
        match self.write_all().await {
            Ok(never) => match never {},
            Err(why) => why,
        }
    }

    async fn write_all(&mut self) -> Result<Infallible, Refusal> {
        let Conversation {
            subscription,
            calls,
            ..
        } = self.conversation;
        let heartbeat = self.outlet.heartbeat();
        let mut last = Instant::now();
        loop {
            let next = last + heartbeat;
            let next = self.outlet.due().map_or(next, |due| due.min(next));
            let woken = tokio::select! {
                () = subscription.woken() => true,
                () = sleep_until(next) => false,
            };
            if woken {
                while let Some(answer) = calls.answered() {
                    self.outlet.feed(&answer.frame);
                }
                let taken = subscription.take_waiting()?;
                // On the heap while it lasts: few are in the middle of this.
                Box::pin(self.write_taken(taken)).await?;
                last = Instant::now();
            } else {
                // Others may have written meanwhile.
                last = last.max(subscription.carried().unwrap_or(last));
                if last + heartbeat <= Instant::now() {
                    self.beat()?;
                    last = Instant::now();
                }
            }
            self.outlet.flush().await?;
            // A durable reader is told of each event that it is to acknowledge.
            if self.presence.reader.is_none()
                && let Some(line) = self.outlet.line()
            {
                subscription.rest(line);
            }
        }
    }

    async fn write_taken(&mut self, taken: VecDeque<Delivery>) -> Result<(), Refusal> {
        let mut events = 0;
        for delivery in taken {
            events += self.write_one(delivery).await?;
        }
        report::delivered(events);
        Ok(())
    }

    /// Says where it stands, if nothing waits.
    fn beat(&mut self) -> Result<(), Refusal> {
        // The standpoint first: what lies before it was queued before it was set, so an empty queue
        // means that all of it was written.
        let here = self.conversation.gate.hub.standpoint().borrow().clone();
        match here {
            Some(here) if self.conversation.subscription.rise() => {
                let bookmark = &*here.bookmark;
                self.say(&Told::Heartbeat { bookmark }, None)
            }
            _ => Ok(()),
        }
    }

    fn say(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal> {
        self.presence.tells(told);
        self.outlet.say(told, tag)
    }

    /// Writes a delivery; returns how many events it held.
    async fn write_one(&mut self, delivery: Delivery) -> Result<usize, Refusal> {
        match delivery {
            Delivery::Event(event) => return self.write_event(&event, true),
            Delivery::Seam(seam) => return self.write_seam(*seam).await,
            Delivery::Reply(frame) => self.outlet.feed(&frame),
            Delivery::Withdrawn(room) if self.presence.needs(&room) => {
                return Err(Refusal::Forbidden);
            }
            Delivery::Withdrawn(room) => {
                self.say(&Told::Withdrawn { room: &room }, None)?;
            }
            Delivery::Gap { reason, bookmark } => {
                let rooms = self.conversation.subscription.rooms();
                self.write_gap(&rooms, reason, &bookmark)?;
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
                self.subscribed(&unavailable)?;
                return Ok(0);
            }
        };
        let announced = self.greeted || self.presence.resumes;
        if !self.greeted {
            self.greet(&resolved)?;
        }
        if announced {
            self.subscribed(&resolved.frame)?;
        }
        let (mut events, mut held) = (0, 0);
        for event in resolved.events {
            held += event.weight();
            events += self.write_event(&event, false)?;
            if held >= REPLAY_STEP {
                self.outlet.flush().await?;
                held = 0;
            }
        }
        Ok(events)
    }

    fn greet(&mut self, resolved: &Resolved) -> Result<(), Refusal> {
        self.greeted = true;
        let presence = self.presence;
        let welcome = Welcome {
            r#type: "welcome",
            connection_id: &presence.connection,
            user: presence.identity.user.as_deref(),
            rooms: &resolved.frame.rooms,
            home: presence.home(),
            bookmark: resolved.before.as_deref(),
            expires_at: presence.expires_at(),
            heartbeat: self.outlet.heartbeat().as_secs(),
        };
        self.say(&Told::Welcome(&welcome), None)?;
        for (code, message, room) in presence.errors() {
            self.conversation.refused(code, room);
            let message = &message;
            let error = Told::Error {
                code,
                message,
                room,
            };
            self.say(&error, None)?;
        }
        Ok(())
    }

    /// Answers a join, or tells how a resume went.
    fn subscribed(&mut self, subscribed: &Subscribed) -> Result<(), Refusal> {
        let tag = subscribed.id.as_ref();
        self.say(&Told::Subscribed(subscribed), tag)
    }

    fn write_event(&mut self, event: &Event, live: bool) -> Result<usize, Refusal> {
        let subscription = self.conversation.subscription;
        if !subscription.may_hear(&event.rooms) {
            return Ok(0);
        }
        if let Some(reason) = event.lost {
            let bookmark = event.bookmark().map_or("", |bookmark| bookmark);
            let rooms = subscription.concerned(&event.rooms);
            self.write_gap(&rooms, reason, bookmark)?;
            return Ok(0);
        }
        if self.conversation.speech.reloads(event) {
            return Err(Refusal::Gap);
        }
        self.presence.tells(&Told::Event(event));
        self.outlet.event(event, live).map(|()| 1)
    }

    fn write_gap(
        &mut self,
        rooms: &[Arc<str>],
        reason: GapReason,
        bookmark: &str,
    ) -> Result<(), Refusal> {
        report::gap(reason.word());
        let gap = Told::Gap {
            rooms,
            reason,
            bookmark,
        };
        self.say(&gap, None)
    }
}

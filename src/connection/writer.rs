//! Writes what the hub queued for a connection, in order, the results of calls as they come, and
//! heartbeats when it is quiet. The same on every transport that stays open.
//! Hands messages over to the transport's outlet. It must never send a bookmark before all that lies up
//! to it.

use super::Refusal;
use super::conversation::Conversation;
use super::payload::Welcome;
use super::presence::Presence;
use super::seam::{Gap, Resolved, Subscribed};
use super::socket::STEP;
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

/// The sending side of one transport, in its encoding. Only `flush` waits for room, and ends the
/// connection if none comes: everything else is queued at once.
pub trait Outlet {
    /// After how long a quiet connection says where it stands.
    fn heartbeat(&self) -> Duration;

    /// Queues a frame that was encoded before.
    fn feed(&mut self, frame: &Frame);

    /// Encodes and queues it, if there is a frame for it.
    ///
    /// # Errors
    /// There is none, and the connection can't go on without.
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

    /// Sends all that was queued.
    fn flush(&mut self) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// How the hub may write events itself while the writer is idle, if it may.
    fn line(&self) -> Option<Line>;
}

/// The writing side of a connection.
pub struct Writer<'a, O> {
    conversation: &'a Conversation<'a>,
    outlet: O,
    greeted: bool,
}

impl<O> Drop for Writer<'_, O> {
    fn drop(&mut self) {
        // At rest it has left its way out to whoever publishes: behind its end nobody is to write there.
        self.conversation.presence.subscription.seal();
    }
}

impl<'a, O: Outlet> Writer<'a, O> {
    pub fn new(conversation: &'a Conversation<'a>, outlet: O) -> Self {
        Self {
            conversation,
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
            presence, calls, ..
        } = self.conversation;
        let subscription = &presence.subscription;
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
            let line = self.outlet.line().filter(|_| presence.reader.is_none());
            subscription.rest(line);
        }
    }

    async fn write_taken(&mut self, taken: VecDeque<Delivery>) -> Result<(), Refusal> {
        let (mut events, mut held) = (0, 0);
        for delivery in taken {
            let weight = delivery.weight();
            events += self.write_one(delivery).await?;
            self.pace(&mut held, weight).await?;
        }
        report::delivered(events);
        self.tell_withdrawn()
    }

    /// Waits for room after each step of what was written.
    async fn pace(&mut self, held: &mut usize, weight: usize) -> Result<(), Refusal> {
        *held += weight;
        if *held >= STEP {
            *held = 0;
            self.outlet.flush().await?;
        }
        Ok(())
    }

    /// Tells of rooms that were taken, before anything behind what is left out for that.
    fn tell_withdrawn(&mut self) -> Result<(), Refusal> {
        let presence = self.conversation.presence;
        for room in presence.subscription.take_withdrawn() {
            if presence.needs(&room) {
                return Err(Refusal::Forbidden);
            }
            self.outlet.say(&Told::Withdrawn { room: &room }, None)?;
        }
        Ok(())
    }

    /// Says where it stands, if nothing waits.
    fn beat(&mut self) -> Result<(), Refusal> {
        let Presence {
            gate, subscription, ..
        } = self.conversation.presence;
        match gate.hub.caught_up(subscription) {
            Some(here) => {
                let bookmark = &*here.bookmark;
                self.say(&Told::Heartbeat { bookmark }, None)
            }
            None => Ok(()),
        }
    }

    fn say(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal> {
        self.tell_withdrawn()?;
        self.say_next(told, tag)
    }

    /// The same, whatever was taken meanwhile.
    fn say_next(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal> {
        self.conversation.presence.tells(told);
        self.outlet.say(told, tag)
    }

    /// Writes a delivery; returns how many events it held.
    async fn write_one(&mut self, delivery: Delivery) -> Result<usize, Refusal> {
        let presence = self.conversation.presence;
        match delivery {
            Delivery::Event(event) => return self.write_event(&event, true),
            Delivery::Seam(seam) => return self.write_seam(*seam).await,
            Delivery::Reply(frame) => {
                self.tell_withdrawn()?;
                self.outlet.feed(&frame);
            }
            Delivery::Gap { reason, bookmark } => {
                let rooms = presence.subscription.rooms();
                self.write_gap(&rooms, reason, &bookmark)?;
            }
        }
        Ok(0)
    }

    async fn write_seam(&mut self, seam: Seam) -> Result<usize, Refusal> {
        let presence = self.conversation.presence;
        let (subscription, seat) = (&presence.subscription, &presence.seat);
        let unavailable = Subscribed::unavailable(&seam);
        let here = Arc::clone(&unavailable.bookmark);
        let resolved = match presence.gate.resolve(seam, subscription, seat).await {
            Ok(resolved) => resolved,
            // At the start it comes back with the same bookmark; later the other rooms live on, and
            // these are told the truth.
            Err(refusal) if !self.greeted => return Err(refusal),
            Err(_) => {
                self.subscribed(unavailable)?;
                return Ok(0);
            }
        };
        let asked = self.greeted;
        if !asked {
            self.greet(&resolved)?;
        }
        if asked || presence.resumes {
            self.subscribed(resolved.frame)?;
        }
        let count = resolved.events.len();
        let (mut events, mut held) = (0, 0);
        for event in resolved.events {
            events += self.write_event(&event, false)?;
            self.pace(&mut held, event.weight()).await?;
        }
        // What a join asks for lies behind what the other rooms have had: here all stand together again. And
        // where a room of it was taken meanwhile, whoever counts would take what comes next for the rest of it.
        if events < count || (asked && count > 0) {
            self.say(&Told::Heartbeat { bookmark: &here }, None)?;
        }
        Ok(events)
    }

    fn greet(&mut self, resolved: &Resolved) -> Result<(), Refusal> {
        self.greeted = true;
        let presence = self.conversation.presence;
        let welcome = Welcome {
            connection_id: &presence.connection,
            user: presence.identity.user.as_deref(),
            rooms: &resolved.frame.rooms,
            home: presence.admission.home_among(&resolved.frame.rooms),
            bookmark: resolved.before.as_deref(),
            expires_at: presence.expires_at(),
            heartbeat: self.outlet.heartbeat().as_secs(),
        };
        self.say_next(&Told::Welcome(&welcome), None)?;
        for (code, message, room) in presence.errors() {
            self.conversation.refused(code, room);
            self.say(&Told::error(code, &message, room), None)?;
        }
        Ok(())
    }

    /// Answers a join, or tells how a resume went.
    fn subscribed(&mut self, mut subscribed: Subscribed) -> Result<(), Refusal> {
        // In this order: a room that was told as taken must not be named behind that.
        self.tell_withdrawn()?;
        let subscription = &self.conversation.presence.subscription;
        subscribed.rooms = subscription.not_withdrawn(subscribed.rooms);
        let tag = subscribed.id.as_ref();
        self.say_next(&Told::Subscribed(&subscribed), tag)
    }

    fn write_event(&mut self, event: &Event, live: bool) -> Result<usize, Refusal> {
        let Conversation {
            presence, speech, ..
        } = self.conversation;
        let subscription = &presence.subscription;
        self.tell_withdrawn()?;
        if !subscription.may_hear(&event.rooms) {
            return Ok(0);
        }
        if let Some(reason) = event.lost {
            let bookmark = event.bookmark().map_or("", |bookmark| bookmark);
            let rooms = subscription.concerned(&event.rooms);
            self.write_gap(&rooms, reason, bookmark)?;
            return Ok(0);
        }
        if speech.reloads(event) {
            return Err(Refusal::Gap);
        }
        presence.tells(&Told::Event(event));
        self.outlet.event(event, live).map(|()| 1)
    }

    fn write_gap(
        &mut self,
        rooms: &[Arc<str>],
        reason: GapReason,
        bookmark: &str,
    ) -> Result<(), Refusal> {
        report::gap(reason.word());
        let gap = Gap {
            rooms,
            reason,
            bookmark,
        };
        self.say(&Told::Gap(gap), None)
    }
}

//! One open connection, on any transport: does what its client's messages ask for, and says when it has
//! to end.
//! Hands requests to admission, the hub and SQL, and answers to the subscription's queue, in order with
//! the events. A bad message must never end what others have begun.

pub mod calls;

use super::Refusal;
use super::presence::Presence;
use super::speech::{Act, Heard, Speech, Told};
use crate::bookmark::NotABookmark;
use crate::clock::slice_until;
use crate::hub::{Admission, Since};
use crate::report::{self, Repeated};
use calls::Calls;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// One connection, from its opening to its end.
pub struct Conversation<'a> {
    pub presence: &'a Presence,
    pub speech: Arc<dyn Speech>,
    pub calls: Calls,
    /// When its token or session expires, in Unix seconds.
    expires_at: AtomicU64,
    /// `expires_at` has changed.
    renewed: Notify,
    refusals: Arc<Repeated>,
}

impl<'a> Conversation<'a> {
    /// Begins it with somebody who has joined their rooms.
    pub fn begin(presence: &'a Presence, speech: Arc<dyn Speech>) -> Self {
        speech.introduce(&presence.connection, presence.identity.user.as_deref());
        Self {
            presence,
            speech,
            calls: Calls::new(presence.gate.settings.calls.per_connection),
            expires_at: AtomicU64::new(presence.identity.expires_at),
            renewed: Notify::new(),
            refusals: Arc::default(),
        }
    }

    /// Waits until it has to end: the hub ends it, its token expires, or the deadline for a sign of life,
    /// which `silent` gives, has passed.
    pub async fn ended(&self, silent: impl Fn() -> Option<Instant>) -> Refusal {
        loop {
            let left = slice_until(self.expires_at.load(Ordering::Acquire));
            let look = match next_look(left, silent(), Instant::now()) {
                Ok(look) => look,
                Err(why) => return why,
            };
            tokio::select! {
                ended = self.presence.subscription.ended() => return ended.into(),
                () = self.renewed.notified() => {}
                () = sleep_until(look) => {}
            }
        }
    }

    /// Does what a message asks for.
    pub async fn hear(&self, text: &str) {
        let Heard { act, tag } = match self.speech.hear(text) {
            Ok(heard) => heard,
            Err(misheard) => {
                return self.error(misheard.tag, misheard.code, &misheard.message, None);
            }
        };
        match act {
            Act::Join {
                rooms,
                since,
                again,
            } => self.join(rooms, since.as_deref(), again, tag).await,
            Act::Leave { rooms } => {
                let rooms: Vec<Arc<str>> = rooms.into_iter().map(Into::into).collect();
                let (gate, subscription) = (&self.presence.gate, &self.presence.subscription);
                let left = gate.hub.leave(subscription, &rooms);
                self.answer(&Told::Left { rooms: &left }, tag.as_ref());
            }
            Act::Renew { token } => self.renew(&token, tag).await,
            Act::Call { function, args } => self.call(function, args, tag),
            Act::Acknowledge { bookmark } => self.acknowledge(&bookmark, tag),
            Act::Ping => self.answer(&Told::Pong, tag.as_ref()),
        }
    }

    async fn join(&self, rooms: Vec<String>, since: Option<&str>, again: bool, tag: Option<Value>) {
        let (gate, subscription) = (&self.presence.gate, &self.presence.subscription);
        let most = gate.settings.limits.rooms_per_connection;
        let mine = subscription.rooms();
        // Each once, however often it is named, and those that it is in already.
        let named = rooms.iter().map(String::as_str);
        let all: HashSet<&str> = named.chain(mine.iter().map(|room| &**room)).collect();
        if all.len() > most {
            let message = format!("at most {most} rooms");
            return self.error(tag, "too-many-rooms", &message, None);
        }
        let Some(identity) = gate.hub.identity(subscription) else {
            return;
        };
        let admitted = match gate.admit(&identity, rooms).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(tag, refusal),
        };
        let since = match gate.reach(since).await {
            Ok(since) if again => since.again(),
            Ok(since) => since,
            Err(refusal) => return self.refuse(tag, refusal),
        };
        if matches!(since, Since::Unreadable) {
            return self.error(tag, "bad-bookmark", &NotABookmark.to_string(), None);
        }
        self.report_refused(&admitted, tag.as_ref());
        let (rooms, under) = (&admitted.rooms, admitted.version);
        gate.hub.join(subscription, rooms, since, tag, under);
    }

    /// A new token for the same user: every room is admitted anew.
    async fn renew(&self, token: &str, tag: Option<Value>) {
        let (gate, subscription) = (&self.presence.gate, &self.presence.subscription);
        let Some(identity) = gate.hub.identity(subscription) else {
            return;
        };
        let renewed = match gate.identify_token(token).await {
            Ok(renewed) if renewed.user == identity.user => renewed,
            Ok(_) => {
                let message = "sub must stay: reconnect instead";
                return self.error(tag, "unauthorized", message, None);
            }
            Err(refusal) => return self.refuse(tag, refusal),
        };
        let rooms: Vec<Arc<str>> = subscription.rooms();
        let names = rooms.iter().map(ToString::to_string).collect();
        let admitted = match gate.welcome(&renewed, names).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(tag, refusal),
        };
        let new = admitted.rooms.iter().filter(|room| !rooms.contains(room));
        let new: Vec<Arc<str>> = new.cloned().collect();
        let lost: Vec<Arc<str>> = rooms
            .into_iter()
            .filter(|room| !admitted.rooms.contains(room))
            .collect();
        let (hub, under, expires_at) = (&gate.hub, admitted.version, renewed.expires_at);
        // The writer tells of these, before any bookmark behind what it leaves out.
        hub.take_away(subscription, &lost);
        for (code, message, room) in admitted.errors() {
            match room {
                Some(_) => self.refused(code, room),
                None => self.error(tag.clone(), code, &message, None),
            }
        }
        hub.renew(subscription, renewed, under);
        self.expires_at.store(expires_at, Ordering::Release);
        self.renewed.notify_one();
        self.answer(&Told::Renewed { expires_at }, tag.as_ref());
        if !new.is_empty() {
            // Home rooms of the new claims.
            hub.join(subscription, &new, Since::Now, None, under);
        }
    }

    /// Notes a place; it is answered when one is stored, while everything else goes on.
    pub fn acknowledge(&self, bookmark: &str, tag: Option<Value>) {
        let presence = self.presence;
        let reader = presence.reader.as_deref();
        let stored = presence.gate.acknowledge(reader, bookmark);
        let subscription = Arc::clone(&presence.subscription);
        let (speech, caller) = (Arc::clone(&self.speech), Arc::clone(&presence.caller));
        let refusals = Arc::clone(&self.refusals);
        tokio::spawn(async move {
            let stored = stored.await;
            let spelled = match &stored {
                Ok(bookmark) => speech.spell(&Told::Acknowledged { bookmark }, tag.as_ref()),
                Err(refusal) => {
                    let (_, code) = refusal.row();
                    report::frame_refused(&refusals, &caller, code, None);
                    speech.spell(&Told::error(code, &refusal.to_string(), None), tag.as_ref())
                }
            };
            if let Ok(Some(frame)) = spelled {
                subscription.reply(frame);
            }
        });
    }

    /// Tells of each room that was refused.
    fn report_refused(&self, admitted: &Admission, tag: Option<&Value>) {
        for (code, message, room) in admitted.errors() {
            self.error(tag.cloned(), code, &message, room);
        }
    }

    /// Answers that a message was refused as a whole.
    fn refuse(&self, tag: Option<Value>, refusal: Refusal) {
        self.error(tag, refusal.word(), &refusal.to_string(), None);
    }

    /// Says that something is wrong, in its place among the events.
    pub fn error(&self, tag: Option<Value>, code: &str, message: &str, room: Option<&str>) {
        self.refused(code, room);
        self.answer(&Told::error(code, message, room), tag.as_ref());
    }

    /// Reports that something was refused.
    pub fn refused(&self, code: &str, room: Option<&str>) {
        report::frame_refused(&self.refusals, &self.presence.caller, code, room);
    }

    fn answer(&self, told: &Told<'_>, tag: Option<&Value>) {
        if let Ok(Some(frame)) = self.speech.spell(told, tag) {
            self.presence.subscription.reply(frame);
        }
    }
}

/// When to check again: at the end of this slice of the token's time, or at the deadline for a sign of
/// life. That is kept by a clock that nobody sets.
fn next_look(left: Duration, deadline: Option<Instant>, now: Instant) -> Result<Instant, Refusal> {
    if left.is_zero() {
        return Err(Refusal::Expired);
    }
    match deadline {
        Some(deadline) if deadline <= now => Err(Refusal::NoPong),
        Some(deadline) => Ok(deadline.min(now + left)),
        None => Ok(now + left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that was set forward cut links that lived, and one set back left those that had vanished.
    #[test]
    fn the_time_of_day_says_nothing_of_a_link() {
        let (seen, day) = (Instant::now(), Duration::from_secs(86_400));
        let patience = Duration::from_secs(40);
        let hope = Some(seen + patience);
        for token in [Duration::from_millis(1), Duration::from_secs(30), day] {
            let look = next_look(token, hope, seen);
            assert_eq!(look, Ok(seen + token.min(patience)), "{token:?}");
            assert_eq!(
                next_look(token, hope, seen + patience),
                Err(Refusal::NoPong)
            );
            assert_eq!(next_look(token, None, seen + day), Ok(seen + day + token));
        }
        assert_eq!(next_look(Duration::ZERO, None, seen), Err(Refusal::Expired));
    }
}

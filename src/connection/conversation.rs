//! One connection while it stands: when it has to end, and what its client asks for and what is done
//! about that; the same on every transport and in every spelling. On a stream nobody asks for anything.
//! Hands acts down to admission, the hub and SQL; answers go through the subscription's queue, in
//! their place among the events. A message that is wrong must never end what others have begun.

pub mod calls;

use super::presence::Presence;
use super::reader::Reader;
use super::speech::{Act, Heard, Speech, Told};
use super::{Gate, Refusal};
use crate::bookmark::NotABookmark;
use crate::clock::slice_until;
use crate::hub::{Admission, Since, Subscription};
use crate::report::{self, Caller, Repeated};
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
    pub gate: &'a Arc<Gate>,
    /// As it stands in the log.
    pub caller: &'a Arc<Caller>,
    pub subscription: &'a Arc<Subscription>,
    /// The durable name by which it is here.
    pub reader: Option<&'a Reader>,
    pub speech: Arc<dyn Speech>,
    pub calls: Calls,
    /// When it ends, in Unix seconds.
    expires_at: AtomicU64,
    /// It ends at another time than was known.
    renewed: Notify,
    refusals: Arc<Repeated>,
}

impl<'a> Conversation<'a> {
    /// Begins it with somebody who has joined their rooms.
    pub fn begin(presence: &'a Presence, speech: Arc<dyn Speech>) -> Self {
        let gate = &presence.gate;
        speech.introduce(&presence.connection, presence.identity.user.as_deref());
        Self {
            gate,
            caller: &presence.caller,
            subscription: &presence.subscription,
            reader: presence.reader.as_deref(),
            speech,
            calls: Calls::new(gate.settings.calls.per_connection),
            expires_at: AtomicU64::new(presence.identity.expires_at),
            renewed: Notify::new(),
            refusals: Arc::default(),
        }
    }

    /// Waits until it has to end: the hub says so, or the token ends, or the one that it was renewed
    /// with; or whoever is at the other end is `silent`, which says until when to hope.
    pub async fn ended(&self, silent: impl Fn() -> Option<Instant>) -> Refusal {
        loop {
            let left = slice_until(self.expires_at.load(Ordering::Acquire));
            let look = match next_look(left, silent(), Instant::now()) {
                Ok(look) => look,
                Err(why) => return why,
            };
            tokio::select! {
                ended = self.subscription.ended() => return ended.into(),
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
                let left = self.gate.hub.leave(self.subscription, &rooms);
                self.answer(&Told::Left { rooms: &left }, tag.as_ref());
            }
            Act::Renew { token } => self.renew(&token, tag).await,
            Act::Call { function, args } => self.call(function, args, tag),
            Act::Acknowledge { bookmark } => self.acknowledge(&bookmark, tag),
            Act::Ping => self.answer(&Told::Pong, tag.as_ref()),
        }
    }

    async fn join(&self, rooms: Vec<String>, since: Option<&str>, again: bool, tag: Option<Value>) {
        let most = self.gate.settings.limits.rooms_per_connection;
        let mine = self.subscription.rooms();
        // Each once, however often it is named, and those that it is in already.
        let named = rooms.iter().map(String::as_str);
        let all: HashSet<&str> = named.chain(mine.iter().map(|room| &**room)).collect();
        if all.len() > most {
            let message = format!("at most {most} rooms");
            return self.error(tag, "too-many-rooms", &message, None);
        }
        let Some(identity) = self.gate.hub.identity(self.subscription) else {
            return;
        };
        let admitted = match self.gate.admit(&identity, rooms).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.error(tag, refusal.word(), &refusal.to_string(), None),
        };
        let since = match self.gate.reach(since).await {
            Ok(since) if again => since.again(),
            Ok(since) => since,
            Err(refusal) => return self.error(tag, refusal.word(), &refusal.to_string(), None),
        };
        if matches!(since, Since::Unreadable) {
            return self.error(tag, "bad-bookmark", &NotABookmark.to_string(), None);
        }
        self.report_refused(&admitted, tag.as_ref());
        let (rooms, under) = (&admitted.rooms, admitted.version);
        let hub = &self.gate.hub;
        hub.join(self.subscription, rooms, since, tag, under);
    }

    /// A new token for the same user: every room is admitted anew.
    async fn renew(&self, token: &str, tag: Option<Value>) {
        let Some(identity) = self.gate.hub.identity(self.subscription) else {
            return;
        };
        let renewed = match self.gate.identify_token(token).await {
            Ok(renewed) if renewed.user == identity.user => renewed,
            Ok(_) => {
                let message = "sub must stay: reconnect instead";
                return self.error(tag, "unauthorized", message, None);
            }
            Err(refusal) => return self.error(tag, refusal.word(), &refusal.to_string(), None),
        };
        let rooms: Vec<Arc<str>> = self.subscription.rooms();
        let names = rooms.iter().map(ToString::to_string).collect();
        let admitted = match self.gate.welcome(&renewed, names).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.error(tag, refusal.word(), &refusal.to_string(), None),
        };
        let new = admitted.rooms.iter().filter(|room| !rooms.contains(room));
        let new: Vec<Arc<str>> = new.cloned().collect();
        let lost: Vec<Arc<str>> = rooms
            .into_iter()
            .filter(|room| !admitted.rooms.contains(room))
            .collect();
        let (hub, under, expires_at) = (&self.gate.hub, admitted.version, renewed.expires_at);
        hub.take_away(self.subscription, &lost);
        hub.renew(self.subscription, renewed, under);
        self.report_refused(&admitted, tag.as_ref());
        self.expires_at.store(expires_at, Ordering::Release);
        self.renewed.notify_one();
        self.answer(&Told::Renewed { expires_at }, tag.as_ref());
        if !new.is_empty() {
            // Home rooms of the new claims.
            hub.join(self.subscription, &new, Since::Now, None, under);
        }
    }

    /// Notes a place; it is answered when one is stored, while everything else goes on.
    pub fn acknowledge(&self, bookmark: &str, tag: Option<Value>) {
        let stored = self.gate.acknowledge(self.reader, bookmark);
        let (speech, subscription) = (Arc::clone(&self.speech), Arc::clone(self.subscription));
        let (caller, refusals) = (Arc::clone(self.caller), Arc::clone(&self.refusals));
        tokio::spawn(async move {
            let stored = stored.await;
            let spelled = match &stored {
                Ok(bookmark) => speech.spell(&Told::Acknowledged { bookmark }, tag.as_ref()),
                Err(refusal) => {
                    let (_, code) = refusal.row();
                    report::frame_refused(&refusals, &caller, code, None);
                    let error = Told::Error {
                        code,
                        message: &refusal.to_string(),
                        room: None,
                    };
                    speech.spell(&error, tag.as_ref())
                }
            };
            if let Ok(Some(frame)) = spelled {
                subscription.reply(frame);
            }
        });
    }

    /// Tells of each room that was refused.
    fn report_refused(&self, admitted: &Admission, tag: Option<&Value>) {
        for (room, why) in &admitted.refused {
            self.error(tag.cloned(), why.word(), &why.to_string(), Some(room));
        }
    }

    /// Says that something is wrong, in its place among the events.
    pub fn error(&self, tag: Option<Value>, code: &str, message: &str, room: Option<&str>) {
        self.refused(code, room);
        let error = Told::Error {
            code,
            message,
            room,
        };
        self.answer(&error, tag.as_ref());
    }

    /// Something was refused.
    pub fn refused(&self, code: &str, room: Option<&str>) {
        report::frame_refused(&self.refusals, self.caller, code, room);
    }

    fn answer(&self, told: &Told<'_>, tag: Option<&Value>) {
        if let Ok(Some(frame)) = self.speech.spell(told, tag) {
            self.subscription.reply(frame);
        }
    }
}

/// When to look again whether it is over: at the end of this slice of its token's time, or when there is
/// no more hope for whoever is silent. That is told by a clock that nobody sets.
fn next_look(left: Duration, hope: Option<Instant>, now: Instant) -> Result<Instant, Refusal> {
    if left.is_zero() {
        return Err(Refusal::Expired);
    }
    match hope {
        Some(hope) if hope <= now => Err(Refusal::NoPong),
        Some(hope) => Ok(hope.min(now + left)),
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

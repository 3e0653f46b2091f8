//! The messages of a connection, apart from their encoding: what a client asks for (`Act`), and what it
//! is told (`Told`). Each kind of front end has a `Speech`, which decodes the one and encodes the other.
//! Hands acts to the conversation and frames to the socket. It must never decide what may be done.

pub mod native;
pub mod spoken;
pub mod stream;

use super::Refusal;
use super::payload::Welcome;
use super::seam::{Gap, Subscribed};
use super::visit::Visit;
use crate::event::Event;
use crate::frame::Frame;
use crate::hub::{EventSpelling, RoomRefusal};
use serde_json::{Value, json};
use std::sync::Arc;

/// How whoever came by this request speaks.
#[must_use]
pub fn of(visit: &Visit) -> Arc<dyn Speech> {
    match &visit.door {
        Some(door) => Arc::new(spoken::Spoken::new(Arc::clone(door))),
        None => Arc::new(native::Native),
    }
}

/// Close code and reason as the table of refusals has them; `wait` are the milliseconds after which
/// to come back.
#[must_use]
pub fn closing(why: Refusal, wait: i64) -> (u16, String) {
    let (_, code, _) = why.row();
    let reason = if matches!(code, 1012 | 1013) {
        // A bare number: machines read it.
        wait.to_string()
    } else {
        why.to_string()
    };
    (code, reason)
}

/// The encoding of one connection. `hear` gives each message a tag, which `spell` gets with the answer
/// to it; nobody else looks into tags.
pub trait Speech: EventSpelling {
    /// Told once, when the connection is admitted: its id in the log, and the user.
    fn introduce(&self, _connection: &str, _user: Option<&str>) {}

    /// What a message asks for.
    ///
    /// # Errors
    /// It asks for nothing that can be done.
    fn hear(&self, text: &str) -> Result<Heard, Misheard>;

    /// Only the tag, of a message that is refused unread: its sender may wait for an answer.
    fn tag(&self, text: &str) -> Option<Value> {
        match self.hear(text) {
            Ok(heard) => heard.tag,
            Err(misheard) => misheard.tag,
        }
    }

    /// The frame that says this, if there is one; `tag` is of the message that it answers.
    ///
    /// # Errors
    /// There is none, and the client must not miss this: the connection ends.
    fn spell(&self, told: &Told<'_>, tag: Option<&Value>) -> Result<Option<Frame>, Refusal>;

    /// Whether at this event the page has to load everything anew, and there is no frame to say so: the
    /// connection ends, as at a gap.
    fn reloads(&self, _event: &Event) -> bool {
        false
    }

    /// Close code and reason; `wait` are the milliseconds after which to come back.
    fn close(&self, why: Refusal, wait: i64) -> (u16, String) {
        let (code, reason) = closing(why, wait);
        if code == 1008 {
            // One code for several words.
            return (code, format!("{}: {reason}", why.word()));
        }
        (code, reason)
    }
}

impl<S: Speech> EventSpelling for S {
    fn spell_event(&self, event: &Event, frames: &mut Vec<Frame>) -> bool {
        if self.reloads(event) {
            return false;
        }
        match self.spell(&Told::Event(event), None) {
            Ok(frame) => frames.extend(frame),
            Err(_) => return false,
        }
        true
    }
}

/// A message, understood.
pub struct Heard {
    pub act: Act,
    pub tag: Option<Value>,
}

/// What a client asks for.
pub enum Act {
    Join {
        rooms: Vec<String>,
        since: Option<String>,
        /// The replay repeats what came live through rooms that were joined before.
        again: bool,
    },
    Leave {
        rooms: Vec<String>,
    },
    /// Goes on with another token of the same user.
    Renew {
        token: String,
    },
    Call {
        function: String,
        /// JSON text: SQL reads it, with all its digits.
        args: String,
    },
    /// Says how far it has come.
    Acknowledge {
        bookmark: String,
    },
    /// Wants to be answered, and nothing else.
    Ping,
}

/// Why a message asks for nothing that can be done: the word of the error, and what to say.
pub struct Misheard {
    pub code: &'static str,
    pub message: String,
    pub tag: Option<Value>,
}

/// What a client is told.
pub enum Told<'a> {
    Welcome(&'a Welcome<'a>),
    Subscribed(&'a Subscribed),
    Event(&'a Event),
    Gap(Gap<'a>),
    Heartbeat {
        bookmark: &'a str,
    },
    Error {
        code: &'a str,
        message: &'a str,
        room: Option<&'a str>,
    },
    /// This room was taken away.
    Withdrawn {
        room: &'a str,
    },
    Left {
        rooms: &'a [Arc<str>],
    },
    Renewed {
        expires_at: u64,
    },
    Result {
        /// JSON text.
        data: &'a str,
        bookmark: &'a str,
    },
    /// How far it has come is stored: this far.
    Acknowledged {
        bookmark: &'a str,
    },
    Pong,
}

impl<'a> Told<'a> {
    /// What is wrong, by its word.
    #[must_use]
    pub fn error(code: &'a str, message: &'a str, room: Option<&'a str>) -> Self {
        Self::Error {
            code,
            message,
            room,
        }
    }

    /// As the frames of `docs/protocol.md` have it, which most spellings wrap; nothing for what is JSON
    /// already before it is told.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        Some(match self {
            Self::Welcome(_) | Self::Subscribed(_) | Self::Event(_) | Self::Result { .. } => {
                return None;
            }
            Self::Gap(gap) => json!(gap),
            Self::Heartbeat { bookmark } => json!({ "type": "heartbeat", "bookmark": bookmark }),
            Self::Error {
                code,
                message,
                room,
            } => {
                let mut error = json!({ "type": "error", "code": code, "message": message });
                if let Some(room) = room {
                    error["room"] = (*room).into();
                }
                error
            }
            Self::Withdrawn { room } => {
                let why = RoomRefusal::Withdrawn;
                return Told::error(why.word(), &why.to_string(), Some(room)).json();
            }
            Self::Left { rooms } => json!({ "type": "unsubscribed", "rooms": rooms }),
            Self::Renewed { expires_at } => {
                json!({ "type": "authenticated", "expiresAt": expires_at })
            }
            Self::Acknowledged { bookmark } => json!({ "type": "acked", "bookmark": bookmark }),
            Self::Pong => json!({ "type": "pong" }),
        })
    }
}

//! What is said on a connection that goes both ways, apart from how it is spelled: what a client asks
//! for, and what it is told.
//! Hands acts to the conversation and text to the socket. It must never decide what may be done.

pub mod native;

use super::Refusal;
use super::frame::Welcome;
use super::seam::Subscribed;
use crate::event::Event;
use serde_json::Value;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// How one connection spells. Whoever hears a message gives it a tag, by which what answers it is
/// spelled; nobody else looks into tags.
pub trait Speech: Send + Sync {
    /// What a message asks for.
    ///
    /// # Errors
    /// It asks for nothing that can be done.
    fn hear(&self, text: &str) -> Result<Heard, Misheard>;

    /// The tag of a message that is not looked at any further: its sender may wait for an answer.
    fn tag(&self, text: &str) -> Option<Value>;

    /// The frame for this, if there is a word for it; `tag` is of the message that it answers.
    ///
    /// # Errors
    /// There is no word, and it may not go unsaid: the connection ends with it.
    fn spell(&self, told: &Told<'_>, tag: Option<&Value>) -> Result<Option<Utf8Bytes>, Refusal>;

    /// Close code and reason, where they are not those of the table of refusals.
    fn close(&self, why: Refusal) -> Option<(u16, String)>;
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
        /// With what came live through other rooms, too.
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
    Gap {
        rooms: &'a [Arc<str>],
        reason: &'a str,
        bookmark: &'a str,
    },
    Heartbeat {
        bookmark: &'a str,
    },
    Error {
        code: &'a str,
        message: &'a str,
        room: Option<&'a str>,
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

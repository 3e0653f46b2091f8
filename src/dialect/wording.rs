//! How a dialect words what went wrong, and with which codes it closes.
//! Hands texts and codes to the transports. It must never have a word that the service does not use.

use super::messages::Message;
use super::slot::{Filling, Values};
use super::template::{Template, Text};
use std::collections::HashMap;

/// Why a connection is refused or closed, as `docs/protocol.md` names it. `forbidden` is a door whose
/// rooms were not all granted, or whose parameters name somebody else.
pub const WORDS: &[&str] = &[
    "unauthorized",
    "forbidden",
    "forbidden-origin",
    "too-many-connections",
    "overloaded",
    "restart",
    "lagged",
    "token-expired",
    "revoked",
    "message-too-big",
    "protocol-error",
    "no-pong",
];

/// What can be wrong with what a client said.
pub const CODES: &[&str] = &[
    "bad-message",
    "unknown-type",
    "rate-limited",
    "forbidden",
    "bad-room",
    "too-many-rooms",
    "withdrawn",
    "bad-bookmark",
    "no-such-function",
    "bad-arguments",
    "call-timeout",
    "call-failed",
    "too-large",
    "unauthorized",
    "overloaded",
];

/// Bytes that a close frame has for its reason.
const REASON: usize = 123;

/// How errors are told.
#[derive(Clone, Debug)]
pub struct Errors {
    pub(super) frame: Template,
    pub(super) messages: HashMap<String, Text>,
}

impl Errors {
    /// The frame that tells it, as JSON text; `message` is what Rowcast would say. `values` may have
    /// `type`, `room` and what else was known.
    #[must_use]
    pub fn frame(
        &self,
        about: Option<&Message>,
        code: &str,
        message: &str,
        values: &Values<'_>,
    ) -> String {
        let said = values
            .clone()
            .with("code", Filling::Text(code))
            .with("message", Filling::Text(message));
        let words = self.messages.get(code).and_then(|text| text.fill(&said));
        let words = words.as_deref().unwrap_or(message);
        let said = values
            .clone()
            .with("code", Filling::Text(code))
            .with("message", Filling::Text(words));
        let own = about.and_then(|message| message.refused.as_ref());
        own.unwrap_or(&self.frame).render(&said)
    }
}

/// How connections are closed.
#[derive(Clone, Debug, Default)]
pub struct Closes(pub(super) HashMap<String, Close>);

/// Nothing is as Rowcast does it.
#[derive(Clone, Debug, Default)]
pub struct Close {
    pub code: Option<u16>,
    pub(super) reason: Option<Text>,
}

impl Closes {
    #[must_use]
    pub fn get(&self, word: &str) -> Option<&Close> {
        self.0.get(word)
    }
}

impl Close {
    /// As long as a close frame can hold; `wait` are the milliseconds after which to come back.
    #[must_use]
    pub fn reason(&self, message: &str, wait: Option<i64>) -> Option<String> {
        let mut values = Values::default().with("message", Filling::Text(message));
        if let Some(wait) = wait {
            values = values.with("wait", Filling::Integer(wait));
        }
        let mut reason = self.reason.as_ref()?.fill(&values)?;
        let end = reason.floor_char_boundary(REASON);
        reason.truncate(end);
        Some(reason)
    }
}

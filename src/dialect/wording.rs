//! How a dialect words what went wrong, and with which codes it closes.
//! Hands texts and codes to the transports. It must never have a word that the service does not use.

use super::filling::Filling;
use super::messages::Message;
use super::template::Template;
use super::text::Text;
use super::values::Values;
use std::collections::HashMap;

/// Why a connection is refused or closed, as `docs/protocol.md` names it. `forbidden` is a door whose
/// rooms were not all granted; `unauthorized` also one whose parameters name somebody else; `gap` a
/// gap where there is no frame to tell it, closed as `restart` if the file does not say.
pub const WORDS: &[&str] = &[
    "unauthorized",
    "forbidden",
    "forbidden-origin",
    "too-many-connections",
    "overloaded",
    "restart",
    "gap",
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
    "no-reader",
    "no-such-function",
    "bad-arguments",
    "call-timeout",
    "call-failed",
    "too-large",
    "unauthorized",
    "overloaded",
];

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
        let values = values.clone().with("code", Filling::Text(code));
        let said = values.clone().with("message", Filling::Text(message));
        let words = self.messages.get(code).and_then(|text| text.fill(&said));
        let words = words.as_deref().unwrap_or(message);
        let said = values.with("message", Filling::Text(words));
        let own = about.and_then(|message| message.refused.as_ref());
        own.unwrap_or(&self.frame).render(&said)
    }
}

/// How connections are closed for one reason. What a file leaves out is as Rowcast does it.
#[derive(Clone, Debug, Default)]
pub struct Close {
    pub code: Option<u16>,
    pub(super) reason: Option<Text>,
}

impl Close {
    /// `wait` are the milliseconds after which to come back.
    #[must_use]
    pub fn reason(&self, message: &str, wait: Option<i64>) -> Option<String> {
        let mut values = Values::default().with("message", Filling::Text(message));
        if let Some(wait) = wait {
            values = values.with("wait", Filling::Integer(wait));
        }
        self.reason.as_ref()?.fill(&values)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Dialect;
    use super::*;

    #[test]
    fn errors_are_worded_by_the_file_or_by_us() {
        let text = "[health]\npath = \"/h\"\nanswer = 1\n[errors]\nframe = { error = \"{message}\", room = \"{room}\" }\n\
            [errors.messages]\nunknown-type = \"no {type}\"\nforbidden = \"not {room}: {message}\"\n\
            [message.join]\nfields = { n = \"integer\" }\nrefused = [\"{code}\", \"{message}\", \"{n}\"]\n";
        let dialect = Dialect::parse("t.toml", text).unwrap();
        let errors = &dialect.errors;
        let values = Values::default()
            .with("type", Filling::Text("fly"))
            .with("room", Filling::Text("a\""));
        assert_eq!(
            errors.frame(None, "unknown-type", "?", &values),
            r#"{"error":"no fly","room":"a\""}"#
        );
        assert_eq!(
            errors.frame(None, "rate-limited", "slow", &Values::default()),
            r#"{"error":"slow"}"#
        );
        // A wording that can't be filled is none.
        assert_eq!(
            errors.frame(None, "unknown-type", "ours", &Values::default()),
            r#"{"error":"ours"}"#
        );
        let heard = dialect.messages.hear(r#"{"type":"join","n":5}"#).unwrap();
        let values = values.with_fields(&heard.fields);
        assert_eq!(
            errors.frame(Some(heard.message), "forbidden", "ours", &values),
            r#"["forbidden","not a\": ours",5]"#
        );
        let plain = Dialect::parse("t.toml", "[health]\npath = \"/h\"\nanswer = 1").unwrap();
        assert_eq!(
            plain
                .errors
                .frame(None, "bad-message", "ours", &Values::default()),
            r#"{"type":"error","code":"bad-message","message":"ours"}"#
        );
    }

    #[test]
    fn a_close_is_worded_by_the_file_where_it_says_so() {
        let text = "[health]\npath = \"/h\"\nanswer = 1\n[close]\nrestart = { reason = \"in {wait} ms: {message}\" }\nlagged = { code = 4100 }";
        let closes = Dialect::parse("t.toml", text).unwrap().closes;
        let restart = closes.get("restart").unwrap();
        assert_eq!(
            restart.reason("again", Some(250)).as_deref(),
            Some("in 250 ms: again")
        );
        assert_eq!(restart.reason("again", None), None);
        let lagged = closes.get("lagged").unwrap();
        assert_eq!((lagged.code, lagged.reason("x", None)), (Some(4100), None));
        assert!(!closes.contains_key("revoked"));
    }
}

//! What stands around the frames of an answer: the fields of `docs/protocol.md`, or a dialect's.
//! Hands the text before them and behind them to the answer. It must never hold a frame itself.

use crate::connection::door::{Door, Which};
use crate::connection::speech::{Speech, Told};
use crate::dialect::{Filling, Values};
use serde_json::{Value, json};
use std::sync::Arc;

/// What JSON text never holds: here the frames go.
const HERE: &str = "\0";

/// What is said of an answer as a whole.
pub(super) struct Cover {
    /// `outcome` and, of a gap, `reason`; `rooms`, `home`, `user`, `expiresAt`.
    pub fields: Value,
    /// Frames of type `error`, as everybody has them.
    pub errors: Vec<Value>,
    pub bookmark: Arc<str>,
    pub more: bool,
}

impl Cover {
    /// The text before the frames, and the text behind them. Errors stand behind: there may be more when
    /// the frames are written.
    pub fn opened(&self, door: Option<&Door>, speech: &dyn Speech) -> (String, String) {
        match door.and_then(|door| self.spoken(door, speech)) {
            Some(spoken) => spoken,
            None => self.native(),
        }
    }

    fn native(&self) -> (String, String) {
        let mut head = self.fields.to_string();
        head.truncate(head.len() - 1);
        head.push_str(",\"events\":[");
        let (bookmark, errors) = (&*self.bookmark, &self.errors);
        let tail = json!({ "bookmark": bookmark, "more": self.more, "errors": errors }).to_string();
        (head, tail.replacen('{', "],", 1))
    }

    fn spoken(&self, door: &Door, speech: &dyn Speech) -> Option<(String, String)> {
        let Which::Poll(poll) = &door.which else {
            return None;
        };
        let errors = self.errors.iter().filter_map(|error| {
            let (code, message) = (error["code"].as_str()?, error["message"].as_str()?);
            let told = Told::error(code, message, error["room"].as_str());
            speech.spell(&told, None).ok()?
        });
        let errors: Vec<_> = errors.map(|error| error.text().to_owned()).collect();
        let errors = format!("[{}]", errors.join(","));
        let values = Values::default()
            .with("events", Filling::Json(HERE))
            .with("bookmark", Filling::Text(&self.bookmark))
            .with("more", Filling::Truth(self.more))
            .with_text("outcome", self.fields["outcome"].as_str())
            .with("errors", Filling::Json(&errors))
            .with_fields(&door.fields);
        let text = poll.answer.render(&values);
        let (head, tail) = text.split_once(HERE)?;
        Some((format!("{head}["), format!("]{tail}")))
    }
}

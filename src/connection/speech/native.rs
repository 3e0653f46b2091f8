//! The spelling of `docs/protocol.md`: one JSON object a frame, with `type`; a message's tag is its
//! `id`, which its answer repeats. Hands acts and frames over to whoever has the connection.
//! It must never encode an event twice.

use super::{Act, Heard, Misheard, Speech, Told};
use crate::connection::Refusal;
use crate::event::to_json;
use crate::frame::Frame;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// `/ws`.
pub struct Native;

/// What a client says. Unknown fields are ignored.
#[derive(Deserialize)]
struct Said {
    r#type: String,
    rooms: Option<Vec<String>>,
    since: Option<String>,
    again: Option<bool>,
    token: Option<String>,
    bookmark: Option<String>,
}

/// A frame `call`. The arguments stay the text they are.
#[derive(Deserialize)]
struct Asked<'a> {
    function: String,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tagged {
    id: Option<Value>,
}

impl Speech for Native {
    fn hear(&self, text: &str) -> Result<Heard, Misheard> {
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        let tag = said.get("id").cloned();
        match understand(&said, text) {
            Ok(act) => Ok(Heard { act, tag }),
            Err((code, message)) => Err(Misheard { code, message, tag }),
        }
    }

    /// Without a look at the rest: who says more than may be heard has the least done for it.
    fn tag(&self, text: &str) -> Option<Value> {
        serde_json::from_str::<Tagged>(text).ok()?.id
    }

    fn spell(&self, told: &Told<'_>, tag: Option<&Value>) -> Result<Option<Frame>, Refusal> {
        match told {
            Told::Event(event) => return Ok(Some(event.websocket().clone())),
            Told::Welcome(welcome) => return Ok(Some(Frame::websocket(&to_json(welcome)))),
            Told::Subscribed(subscribed) => {
                return Ok(Some(Frame::websocket(&to_json(subscribed))));
            }
            Told::Result { data, bookmark } => {
                // JSON already, and not to be read only to be written again.
                let id = tag.map_or(String::new(), |id| format!("\"id\":{id},"));
                let text =
                    format!(r#"{{"type":"result",{id}"data":{data},"bookmark":"{bookmark}"}}"#);
                return Ok(Some(Frame::websocket(&text)));
            }
            _ => {}
        }
        let Some(mut frame) = told.json() else {
            return Ok(None);
        };
        if let Some(tag) = tag {
            frame["id"] = tag.clone();
        }
        Ok(Some(Frame::websocket(&frame.to_string())))
    }
}

/// What a frame asks for; or the word of an error, and what to say.
fn understand(said: &Value, text: &str) -> Result<Act, (&'static str, String)> {
    let bad = |message: &str| ("bad-message", message.to_owned());
    let expected = "not a frame: a JSON object with type was expected";
    let Some(fields) = said.as_object() else {
        return Err(bad(expected));
    };
    let frame = Said::deserialize(said)
        .map_err(|error| bad(&misfit(fields).unwrap_or_else(|| format!("{expected} ({error})"))))?;
    match frame.r#type.as_str() {
        "subscribe" => {
            let rooms = frame.rooms.filter(|rooms| !rooms.is_empty());
            let rooms = rooms.ok_or_else(|| bad("subscribe needs rooms, a list of names"))?;
            let (since, again) = (frame.since, frame.again == Some(true));
            Ok(Act::Join {
                rooms,
                since,
                again,
            })
        }
        "unsubscribe" => {
            let rooms = frame.rooms.ok_or_else(|| bad("unsubscribe needs rooms"))?;
            Ok(Act::Leave { rooms })
        }
        "auth" => {
            let token = frame.token.ok_or_else(|| bad("auth needs token"))?;
            Ok(Act::Renew { token })
        }
        "call" => {
            let asked = serde_json::from_str::<Asked<'_>>(text);
            let asked = asked.map_err(|_| bad("call needs function, a name"))?;
            // None is no arguments, as it is over HTTP.
            let args = asked.args.map(RawValue::get).filter(|args| *args != "null");
            let (function, args) = (asked.function, args.unwrap_or("{}").to_owned());
            Ok(Act::Call { function, args })
        }
        "ack" => {
            let bookmark = frame.bookmark.ok_or_else(|| bad("ack needs bookmark"))?;
            Ok(Act::Acknowledge { bookmark })
        }
        "ping" => Ok(Act::Ping),
        other => {
            let known = "subscribe, unsubscribe, auth, call, ack, ping";
            let other: String = other.chars().take(40).collect();
            Err(("unknown-type", format!("{other:?} is none of {known}")))
        }
    }
}

/// Which field is not what it has to be, and why: the first that alone is no frame's.
fn misfit(fields: &Map<String, Value>) -> Option<String> {
    fields.iter().find_map(|(name, value)| {
        let alone = json!({ "type": "", (name): value });
        let error = Said::deserialize(&alone).err()?;
        Some(format!("{name}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        let said = serde_json::from_str(text).unwrap_or(Value::Null);
        understand(&said, text)
            .err()
            .map_or_else(String::new, |(_, why)| why)
    }

    #[test]
    fn what_is_no_frame_is_told_in_words_of_json_and_not_of_ours() {
        let expected = "not a frame: a JSON object with type was expected";
        for text in ["hello", "[]", "\"subscribe\"", "null"] {
            assert_eq!(why(text), expected, "{text}");
        }
        assert!(why("{}").contains("missing field `type`"));
    }

    #[test]
    fn a_field_of_another_kind_is_named() {
        for (text, because) in [
            (
                r#"{"type":"subscribe","rooms":"x"}"#,
                "rooms: invalid type: string \"x\", expected a sequence",
            ),
            (
                r#"{"type":"subscribe","rooms":["a"],"since":5,"id":1}"#,
                "since: invalid type: integer `5`, expected a string",
            ),
            (
                r#"{"type":7}"#,
                "type: invalid type: integer `7`, expected a string",
            ),
        ] {
            assert_eq!(why(text), because, "{text}");
        }
    }
}

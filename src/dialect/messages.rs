//! What clients say, and what each of it means.
//! Hands what was understood to the transports. It must never act on a message that lacks a field, nor
//! let a field through that its message does not have.

use super::fields::{Field, Fields, at};
use super::template::Template;
use super::text::Text;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Letters of a name that nobody knows which are repeated to whoever said it.
const SHOWN: usize = 40;

/// The messages of a dialect.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// Where a message says its name.
    pub(super) name: String,
    pub(super) by_name: HashMap<String, usize>,
    pub(super) all: Vec<Message>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Message {
    pub name: String,
    pub fields: Vec<Field>,
    /// Fields in the order of a Socket.IO event's arguments.
    pub(super) arguments: Vec<String>,
    pub meaning: Meaning,
    pub answer: Option<Template>,
    /// Instead of the frame of `[errors]`.
    pub refused: Option<Template>,
}

/// What a message asks for.
#[derive(Clone, Debug)]
pub enum Meaning {
    Join(Rooms),
    Leave(Rooms),
    /// A function that `rowcast.callable` lists, and its arguments: an object.
    Call {
        function: String,
        args: Option<Template>,
    },
    /// The bookmark.
    Acknowledge(Text),
    /// It is only answered.
    Nothing,
}

/// Names of rooms with slots; a slot that is a list names a room for each item.
#[derive(Clone, Debug, Default)]
pub struct Rooms(pub(super) Vec<Text>);

impl Rooms {
    #[must_use]
    pub fn fill(&self, source: &dyn super::Source) -> Vec<String> {
        self.0
            .iter()
            .flat_map(|room| room.fill_each(source))
            .collect()
    }
}

/// A message that was understood.
#[derive(Debug)]
pub struct ParsedMessage<'a> {
    pub message: &'a Message,
    pub fields: Fields,
}

/// One that was not; the words are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    #[error("a JSON message with its name in `{0}` was expected")]
    Nameless(String),
    #[error("{0:?} is no message here")]
    Unknown(String),
    #[error("{message:?} needs `{field}`: {kind}")]
    Field {
        message: String,
        field: String,
        kind: String,
        /// Those that were right, for an answer may need one to say what it answers; and null for
        /// those that were not, which no parameter of the door stands for.
        others: Fields,
    },
}

impl BadMessage {
    /// The code of `docs/protocol.md`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown-type",
            Self::Nameless(_) | Self::Field { .. } => "bad-message",
        }
    }

    /// The fields that were understood.
    #[must_use]
    pub fn fields(&self) -> Fields {
        match self {
            Self::Field { others, .. } => others.clone(),
            Self::Unknown(_) | Self::Nameless(_) => Fields::default(),
        }
    }

    /// The name that was said, for `{type}`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Unknown(name) | Self::Field { message: name, .. } => Some(name),
            Self::Nameless(_) => None,
        }
    }
}

impl Messages {
    /// Understands a text frame. One that is nothing but a name (`ping`) is that message.
    ///
    /// # Errors
    /// What was not understood.
    pub fn hear(&self, text: &str) -> Result<ParsedMessage<'_>, BadMessage> {
        let said = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.trim()));
        let name = match &said {
            Value::Object(_) | Value::Array(_) => at(&said, &self.name).and_then(name_of),
            bare => name_of(bare).filter(|name| self.by_name.contains_key(name)),
        };
        let name = name.ok_or_else(|| BadMessage::Nameless(self.name.clone()))?;
        let message = self.find(&name)?;
        let fields = message.read(|field| at(&said, &field.path))?;
        Ok(ParsedMessage { message, fields })
    }

    /// Understands an event of Socket.IO: its arguments in their order, or the fields of the one object
    /// that is all it has.
    ///
    /// # Errors
    /// What was not understood.
    pub fn hear_arguments(
        &self,
        name: &str,
        arguments: &[Value],
    ) -> Result<ParsedMessage<'_>, BadMessage> {
        let message = self.find(name)?;
        let fields = message.read(|field| {
            let place = message
                .arguments
                .iter()
                .position(|known| *known == field.path);
            match (place, arguments) {
                (Some(place), _) => arguments.get(place),
                (None, [lone]) => at(lone, &field.path),
                (None, _) => None,
            }
        })?;
        Ok(ParsedMessage { message, fields })
    }

    fn find(&self, name: &str) -> Result<&Message, BadMessage> {
        let found = self
            .by_name
            .get(name)
            .and_then(|place| self.all.get(*place));
        found.ok_or_else(|| BadMessage::Unknown(name.chars().take(SHOWN).collect()))
    }

    /// All messages, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.all.iter()
    }

    /// Whether one of them has this name, or this other spelling.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }
}

impl Message {
    fn read<'v>(&self, value: impl Fn(&Field) -> Option<&'v Value>) -> Result<Fields, BadMessage> {
        let mut fields = Fields::default();
        let mut wrong = None;
        for field in &self.fields {
            let said = value(field).filter(|value| !value.is_null());
            match (said.and_then(|value| field.kind.check(value)), said) {
                (Some(value), _) => fields.set(&field.path, value),
                (None, None) if field.optional => {}
                _ => {
                    fields.set(&field.path, Value::Null);
                    wrong = wrong.or(Some(field));
                }
            }
        }
        let Some(field) = wrong else {
            return Ok(fields);
        };
        Err(BadMessage::Field {
            message: self.name.clone(),
            field: field.path.clone(),
            kind: field.kind.to_string(),
            others: fields,
        })
    }

    /// The arguments of a call as JSON text: those of the file, or else the fields by the last part of
    /// their names.
    #[must_use]
    pub fn args(&self, heard: &Fields, source: &dyn super::Source) -> String {
        if let Meaning::Call {
            args: Some(args), ..
        } = &self.meaning
        {
            return args.render(source);
        }
        let mut args = Map::new();
        for field in &self.fields {
            if let Some(value) = heard.get(&field.path) {
                let name = field.path.rsplit('.').next().unwrap_or(&field.path);
                args.insert(name.to_owned(), value.clone());
            }
        }
        Value::Object(args).to_string()
    }
}

/// Names are texts, or numbers where a protocol counts its messages.
fn name_of(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, Values};
    use super::*;
    use serde_json::json;

    fn messages(text: &str) -> Messages {
        let text = format!("[health]\npath = \"/h\"\nanswer = 1\n{text}");
        Dialect::parse("t.toml", &text).unwrap().messages
    }

    fn heard(messages: &Messages, text: &str) -> Result<(String, Value), String> {
        let heard = messages
            .hear(text)
            .map_err(|error| format!("{}: {error}", error.code()))?;
        let fields = heard.message.fields.iter();
        let fields = fields
            .filter_map(|field| Some((field.path.clone(), heard.fields.get(&field.path)?.clone())));
        Ok((heard.message.name.clone(), Value::Object(fields.collect())))
    }

    #[test]
    fn a_message_is_its_name_and_its_fields() {
        let messages = messages(
            "[message.watch]\nalso = [\"see\"]\nfields = { eventId = \"integer\", \"data.note\" = \"text?\" }\n\
             [message.ping]\n[message.7]\n",
        );
        for (said, understood) in [
            (
                r#"{"type":"watch","eventId":1,"more":2}"#,
                Ok(("watch", json!({ "eventId": 1 }))),
            ),
            (
                r#"{"type":"see","eventId":"12","data":{"note":"x"}}"#,
                Ok(("watch", json!({ "eventId": 12, "data.note": "x" }))),
            ),
            (
                r#"{"type":"watch","eventId":1,"data":{"note":null}}"#,
                Ok(("watch", json!({ "eventId": 1 }))),
            ),
            (r#"{"type":7}"#, Ok(("7", json!({})))),
            ("ping", Ok(("ping", json!({})))),
            ("\"ping\"", Ok(("ping", json!({})))),
            (
                r#"{"type":"watch"}"#,
                Err(r#"bad-message: "watch" needs `eventId`: integer"#),
            ),
            (
                r#"{"type":"watch","eventId":1,"data":{"note":5}}"#,
                Err(r#"bad-message: "watch" needs `data.note`: text"#),
            ),
            (
                r#"{"type":"fly"}"#,
                Err(r#"unknown-type: "fly" is no message here"#),
            ),
            (
                r#"{"cmd":"watch"}"#,
                Err("bad-message: a JSON message with its name in `type` was expected"),
            ),
            (
                "fly",
                Err("bad-message: a JSON message with its name in `type` was expected"),
            ),
            (
                "",
                Err("bad-message: a JSON message with its name in `type` was expected"),
            ),
            (
                "[",
                Err("bad-message: a JSON message with its name in `type` was expected"),
            ),
        ] {
            let understood = understood
                .map(|(name, fields)| (name.to_owned(), fields))
                .map_err(str::to_owned);
            assert_eq!(heard(&messages, said), understood, "{said}");
        }
        let long = format!("{{\"type\":\"{}\"}}", "x".repeat(1000));
        assert!(heard(&messages, &long).unwrap_err().len() < 100);
    }

    #[test]
    fn frames_may_be_lists() {
        let messages = messages(
            "[messages]\nname = \"0\"\n[message.SUB]\nfields = { \"1.lots\" = [\"id\"] }\njoin = [\"lot:{1.lots}\", \"all\"]",
        );
        let heard = messages.hear(r#"["SUB",{"lots":["a",2]}]"#).unwrap();
        let Meaning::Join(rooms) = &heard.message.meaning else {
            unreachable!("it joins");
        };
        assert_eq!(rooms.fill(&heard.fields), ["lot:a", "lot:2", "all"]);
    }

    #[test]
    fn arguments_of_socket_io_have_their_places() {
        let messages = messages(
            "[message.join]\narguments = [\"room\", \"since\"]\nfields = { since = \"text?\", note = \"text?\" }\n\
             [message.open]\nfields = { \"lot.id\" = \"id\" }\ncall = \"f\"\n[message.plain]\n",
        );
        let hear = |name: &str, arguments: Value| {
            let heard = messages.hear_arguments(name, arguments.as_array().unwrap());
            heard
                .map(|heard| heard.fields)
                .map_err(|error| error.to_string())
        };
        let fields = |pairs: &[(&str, Value)]| {
            let mut fields = Fields::default();
            for (name, value) in pairs {
                fields.set(name, value.clone());
            }
            Ok(fields)
        };
        assert_eq!(hear("join", json!(["a"])), fields(&[("room", json!("a"))]));
        assert_eq!(
            hear("join", json!([5, "b"])),
            fields(&[("room", json!(5)), ("since", json!("b"))])
        );
        assert_eq!(hear("plain", json!([1, 2])), fields(&[]));
        assert!(hear("join", json!([])).is_err() && hear("join", json!([{}])).is_err());
        let opened = messages
            .hear_arguments("open", &[json!({ "lot": { "id": 9 } })])
            .unwrap();
        assert_eq!(
            opened.message.args(&opened.fields, &Values::default()),
            r#"{"id":9}"#
        );
        assert!(
            hear("open", json!([{ "lot": 9 }])).is_err() && hear("nothing", json!([])).is_err()
        );
    }
}

//! How Socket.IO spells: packets of an event's name and its arguments, or of what the callback with a
//! number is given. A message's tag has that number, and what the dialect's answers are made of.
//! Hands acts to the conversation and packets to the writer. It must never answer an event that the
//! dialect has no message for.

use super::{Host, packet};
use crate::connection::Refusal;
use crate::connection::door::Door;
use crate::connection::payload::Welcome;
use crate::connection::seam::{Gap, Subscribed};
use crate::connection::speech::spoken::Spoken;
use crate::connection::speech::{Heard, Misheard, Speech, Told};
use crate::dialect::{Dialect, SocketIoDoor};
use crate::event::to_json;
use crate::frame::Frame;
use serde_json::{Value, json};
use std::sync::Arc;

/// A namespace at the door of a dialect.
pub(super) struct Named {
    socketio: Arc<SocketIoDoor>,
    door: Arc<Door>,
    spoken: Spoken,
    /// Its place among the door's.
    place: usize,
    prefix: String,
}

/// Whether the dialect has a message for an event: `["name", arguments…]`.
pub(super) fn is_known(dialect: &Dialect, packet: &str) -> bool {
    let said: Vec<Value> = serde_json::from_str(packet).unwrap_or_default();
    let name = said.first().and_then(Value::as_str);
    name.is_some_and(|name| dialect.messages.has(name))
}

impl Named {
    /// The namespace at this place among the host's.
    pub fn new(host: &Host, door: Arc<Door>, place: usize) -> Self {
        Self {
            socketio: Arc::clone(&host.door),
            spoken: Spoken::new(Arc::clone(&door)),
            door,
            place,
            prefix: host.prefix(place),
        }
    }

    /// How its packets begin, behind their kind.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn event(&self, list: &str) -> Frame {
        Frame::websocket(&packet::event(&self.prefix, list))
    }

    /// A word of the service's own, which applications that do not know it ignore.
    fn control(&self, word: &str, json: &str) -> Frame {
        self.event(&format!(r#"["rowcast:{word}",{json}]"#))
    }

    /// The dialect's own first event.
    pub fn welcome(&self, welcome: &Welcome<'_>) -> Option<Frame> {
        let template = self.socketio.welcome.as_ref()?;
        Some(self.event(&self.spoken.greet(template, welcome)))
    }

    /// The dialect's own word for a gap.
    pub fn gap(&self, gap: Gap<'_>) -> Option<Frame> {
        let template = self.socketio.gap.as_ref()?;
        Some(self.event(&self.spoken.tell_gap(template, gap)))
    }

    /// What the callback is given, if there is one.
    fn acknowledge(&self, told: &Told<'_>, tag: &Value) -> Option<Frame> {
        let number = tag.get(0)?.as_u64()?;
        let of = tag.get(1);
        let given = match told {
            Told::Error {
                code,
                message,
                room,
            } => Some(self.spoken.error(code, message, *room, of)),
            // Refused, and said already.
            Told::Subscribed(Subscribed { rooms, .. }) if rooms.is_empty() => return None,
            Told::Result { data, .. } => {
                let answer = self.spoken.answer(told, of);
                Some(answer.unwrap_or_else(|| (*data).to_owned()))
            }
            told => self.spoken.answer(told, of),
        };
        let given = given.unwrap_or_default();
        Some(Frame::websocket(&packet::answer(
            &self.prefix,
            number,
            &given,
        )))
    }
}

impl Speech for Named {
    fn introduce(&self, connection: &str, user: Option<&str>) {
        self.spoken.introduce(connection, user);
    }

    fn hear(&self, text: &str) -> Result<Heard, Misheard> {
        let said: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
        let (number, name, arguments) = match said.as_slice() {
            [number, Value::String(name), arguments @ ..] => (number, name.as_str(), arguments),
            _ => (&Value::Null, "", &[][..]),
        };
        let messages = &self.door.dialect.messages;
        let heard = messages.hear_arguments(name, arguments);
        let heard = self.spoken.understand(heard);
        let tagged = |tag: Option<Value>| Some(json!([number, tag]));
        match heard {
            Ok(Heard { act, tag }) => Ok(Heard {
                act,
                tag: tagged(tag),
            }),
            Err(misheard) => Err(Misheard {
                tag: tagged(misheard.tag),
                ..misheard
            }),
        }
    }

    fn spell(&self, told: &Told<'_>, tag: Option<&Value>) -> Result<Option<Frame>, Refusal> {
        if let Some(tag) = tag
            && !tag[0].is_null()
        {
            return Ok(self.acknowledge(told, tag));
        }
        let frame = match told {
            Told::Event(event) => {
                // Once for all who are in this namespace.
                let around = |arguments: String| {
                    let rest = arguments.strip_prefix('[').unwrap_or("]");
                    packet::event(&self.prefix, &format!("[{},{rest}", to_json(&event.name)))
                };
                let fields = &self.door.fields;
                let framing = &self.socketio.arguments;
                return Ok(Some(framing.frame_in(event, fields, self.place, around)));
            }
            Told::Welcome(welcome) => self.control("welcome", &to_json(welcome)),
            // Nobody waits for an answer.
            _ if tag.is_some() && !matches!(told, Told::Error { .. }) => return Ok(None),
            Told::Subscribed(subscribed) => self.control("subscribed", &to_json(subscribed)),
            Told::Gap(_) | Told::Heartbeat { .. } | Told::Error { .. } | Told::Withdrawn { .. } => {
                let frame = told.json().unwrap_or_default();
                self.control(
                    frame["type"].as_str().unwrap_or_default(),
                    &frame.to_string(),
                )
            }
            Told::Left { .. }
            | Told::Renewed { .. }
            | Told::Result { .. }
            | Told::Acknowledged { .. }
            | Told::Pong => return Ok(None),
        };
        Ok(Some(frame))
    }
}

//! The spelling of a dialect: messages, answers, events and errors as its file has them. A message's
//! tag is its name with its fields.
//! Hands acts and frames over to whoever has the connection. It must never let a gap go unsaid.

use super::{Act, Heard, Misheard, Speech, Told, closing};
use crate::connection::Refusal;
use crate::connection::door::Door;
use crate::connection::payload::Welcome;
use crate::connection::seam::Gap;
use crate::dialect::{
    self, Fields, Filling, Meaning, Message, Source, Template, Values, WebSocketDoor,
};
use crate::event::{Event, to_json};
use crate::frame::Frame;
use crate::hub::RoomRefusal;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// A WebSocket at the door of a dialect.
pub struct Spoken {
    door: Arc<Door>,
    /// The word by which the connection stands in the log, and the user.
    who: OnceLock<(String, Option<String>)>,
}

impl Spoken {
    #[must_use]
    pub fn new(door: Arc<Door>) -> Self {
        let who = OnceLock::new();
        Self { door, who }
    }

    fn websocket(&self) -> Option<&WebSocketDoor> {
        self.door.dialect.websocket.as_deref()
    }

    fn find(&self, name: &str) -> Option<&Message> {
        let mut messages = self.door.dialect.messages.iter();
        messages.find(|message| message.name == name)
    }

    /// What was heard, as an act.
    ///
    /// # Errors
    /// It asks for nothing that can be done.
    pub fn understand(
        &self,
        heard: Result<dialect::ParsedMessage<'_>, dialect::BadMessage>,
    ) -> Result<Heard, Misheard> {
        let heard = heard.map_err(|misheard| Misheard {
            code: misheard.code(),
            message: misheard.to_string(),
            tag: misheard.name().map(|name| json!([name, misheard.fields()])),
        })?;
        let tag = Some(json!([heard.message.name, heard.fields]));
        match self.act(heard.message, &heard.fields) {
            Some(act) => Ok(Heard { act, tag }),
            None => Err(Misheard {
                code: "bad-message",
                message: format!("{:?} lacks what it is about", heard.message.name),
                tag,
            }),
        }
    }

    /// What a message asks for, if all that it takes was said.
    fn act(&self, message: &Message, fields: &Fields) -> Option<Act> {
        let said = Values::default()
            .with_fields(fields)
            .with_fields(&self.door.fields);
        match &message.meaning {
            Meaning::Join(rooms) => {
                let rooms = rooms.fill(&said);
                (!rooms.is_empty()).then_some(Act::Join {
                    rooms,
                    since: None,
                    again: false,
                })
            }
            Meaning::Leave(rooms) => {
                let rooms = rooms.fill(&said);
                (!rooms.is_empty()).then_some(Act::Leave { rooms })
            }
            Meaning::Call { function, .. } => Some(Act::Call {
                function: function.clone(),
                args: message.args(fields, &said),
            }),
            Meaning::Acknowledge(bookmark) => {
                let bookmark = bookmark.fill(&said)?;
                Some(Act::Acknowledge { bookmark })
            }
            Meaning::Nothing => Some(Act::Ping),
        }
    }

    /// What may stand in anything that is said to this connection.
    fn values(&self) -> Values<'_> {
        let (connection, user) = self.who.get().map_or(("", None), |(connection, user)| {
            (connection.as_str(), user.as_deref())
        });
        Values::default()
            .with("connection", Filling::Text(connection))
            .with_text("user", user)
    }

    fn gap(&self, gap: Gap<'_>) -> Result<String, Refusal> {
        let template = self.websocket().and_then(|door| door.gap.as_ref());
        // Without a word for it, the page is to come back and load anew.
        Ok(self.tell_gap(template.ok_or(Refusal::Gap)?, gap))
    }

    /// A gap, as the door has it.
    pub fn tell_gap(&self, template: &Template, gap: Gap<'_>) -> String {
        let rooms = to_json(&gap.rooms);
        let values = Values::default()
            .with("rooms", Filling::Json(&rooms))
            .with("reason", Filling::Text(gap.reason.word()))
            .with("bookmark", Filling::Text(gap.bookmark))
            .with_fields(&self.door.fields);
        template.render(&values)
    }

    /// A welcome, as the door has it.
    pub fn greet(&self, template: &Template, welcome: &Welcome<'_>) -> String {
        let rooms = to_json(&welcome.rooms);
        let mut values = self
            .values()
            .with("rooms", Filling::Json(&rooms))
            .with_text("bookmark", welcome.bookmark)
            .with_fields(&self.door.fields);
        if let Some(expires_at) = welcome.expires_at {
            let micros = expires_at.saturating_mul(1_000_000);
            let micros = i64::try_from(micros).unwrap_or(i64::MAX);
            values = values.with("expires", Filling::Moment(micros));
        }
        template.render(&values)
    }

    /// What is wrong, in the dialect's words.
    pub fn error(
        &self,
        code: &str,
        message: &str,
        room: Option<&str>,
        tag: Option<&Value>,
    ) -> String {
        let (name, fields) = read(tag);
        let values = self
            .values()
            .with_text("type", name.as_deref())
            .with_text("room", room)
            .with_fields(&fields)
            .with_fields(&self.door.fields);
        let about = name.as_deref().and_then(|name| self.find(name));
        let errors = &self.door.dialect.errors;
        errors.frame(about, code, message, &values)
    }

    /// The answer to a message, if it has one.
    pub fn answer(&self, told: &Told<'_>, tag: Option<&Value>) -> Option<String> {
        let (name, fields) = read(tag);
        let message = self.find(&name?)?;
        let answer = message.answer.as_ref()?;
        let said = Values::default()
            .with_fields(&fields)
            .with_fields(&self.door.fields);
        let (rooms, result, bookmark) = match told {
            Told::Subscribed(subscribed) => {
                let rooms = subscribed.rooms.iter().map(ToString::to_string);
                (rooms.collect(), None, Some(&*subscribed.bookmark))
            }
            Told::Result { data, bookmark } => (Vec::new(), Some(*data), Some(*bookmark)),
            Told::Acknowledged { bookmark } => (Vec::new(), None, Some(*bookmark)),
            _ => (rooms_of(message, &said), None, None),
        };
        let all = to_json(&rooms);
        let mut values = self
            .values()
            .with_text("room", rooms.first().map(String::as_str))
            .with_text("bookmark", bookmark)
            .with("rooms", Filling::Json(&all))
            .with_fields(&fields)
            .with_fields(&self.door.fields);
        if let Some(result) = result {
            values = values.with("result", Filling::Json(result));
        }
        Some(answer.render(&values))
    }
}

impl Speech for Spoken {
    fn introduce(&self, connection: &str, user: Option<&str>) {
        let who = (connection.to_owned(), user.map(str::to_owned));
        // Said once, when it comes in.
        let _ = self.who.set(who);
    }

    fn hear(&self, text: &str) -> Result<Heard, Misheard> {
        self.understand(self.door.dialect.messages.hear(text))
    }

    fn spell(&self, told: &Told<'_>, tag: Option<&Value>) -> Result<Option<Frame>, Refusal> {
        let text = match told {
            Told::Event(event) => {
                let framing = self.door.dialect.event.as_ref();
                return Ok(framing.map(|framing| framing.frame(event, &self.door.fields)));
            }
            Told::Gap(gap) => Some(self.gap(*gap)?),
            Told::Subscribed(subscribed) => match subscribed.gap() {
                Some(gap) => Some(self.gap(gap)?),
                // Refused, and said already.
                None if subscribed.rooms.is_empty() => None,
                None => self.answer(told, tag),
            },
            Told::Left { .. } | Told::Result { .. } | Told::Acknowledged { .. } | Told::Pong => {
                self.answer(told, tag)
            }
            Told::Error {
                code,
                message,
                room,
            } => Some(self.error(code, message, *room, tag)),
            Told::Withdrawn { room } => {
                let message = RoomRefusal::Withdrawn.to_string();
                Some(self.error("withdrawn", &message, Some(room), tag))
            }
            Told::Welcome(welcome) => {
                let template = self.websocket().and_then(|door| door.welcome.as_ref());
                template.map(|template| self.greet(template, welcome))
            }
            Told::Heartbeat { bookmark } => {
                let template = self.websocket().and_then(|door| door.heartbeat.as_ref());
                let values = Values::default()
                    .with("bookmark", Filling::Text(bookmark))
                    .with_fields(&self.door.fields);
                template.map(|template| template.render(&values))
            }
            Told::Renewed { .. } => None,
        };
        Ok(text.map(|text| Frame::websocket(&text)))
    }

    fn reloads(&self, event: &Event) -> bool {
        self.websocket()
            .is_some_and(|door| door.reloads(&event.name))
    }

    fn close(&self, why: Refusal, wait: i64) -> (u16, String) {
        let (code, reason) = closing(why, wait);
        let closes = &self.door.dialect.closes;
        let own = closes.get(why.word());
        // A gap that there is no word for ends as a restart does: come back, and load anew.
        let own = own.or_else(|| {
            closes
                .get(Refusal::Restart.word())
                .filter(|_| why == Refusal::Gap)
        });
        let Some(own) = own else {
            return (code, reason);
        };
        let wait = why.is_temporary().then_some(wait);
        let own_reason = own.reason(&why.to_string(), wait);
        (own.code.unwrap_or(code), own_reason.unwrap_or(reason))
    }
}

/// The rooms that a message asks for, granted or not.
fn rooms_of(message: &Message, said: &dyn Source) -> Vec<String> {
    match &message.meaning {
        Meaning::Join(rooms) | Meaning::Leave(rooms) => rooms.fill(said),
        _ => Vec::new(),
    }
}

/// A tag as it was made: the name that was said, and the fields.
fn read(tag: Option<&Value>) -> (Option<String>, Fields) {
    let read = tag.and_then(|tag| serde_json::from_value(tag.clone()).ok());
    let read = read.map(|(name, fields): (String, Fields)| (Some(name), fields));
    read.unwrap_or_default()
}

//! How an event is framed: once for all who share a dialect, or for each whose parameters it shows.
//! Hands frames to the transports. It must never read a payload into a tree, for it only passes by.

use super::fields::Fields;
use super::slot::{Filling, Source};
use super::template::{Member, Node, Template};
use crate::event::Event;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Fields that may stand beside a flat payload's.
pub(super) const MOST_BESIDE: usize = 64;

/// A frame for events.
#[derive(Clone, Debug)]
pub struct Framing {
    template: Template,
    /// The payload's fields stand beside the template's.
    flat: bool,
    /// It shows parameters of the door, so each connection has its own.
    personal: bool,
    /// Which of an event's spellings this is.
    pub(super) spelling: usize,
}

impl Framing {
    pub(super) fn new(template: Template, flat: bool, door: &[super::Field]) -> Self {
        let personal = template.uses(&|slot| door.iter().any(|field| field.path == *slot.name));
        Self {
            template,
            flat,
            personal,
            spelling: 0,
        }
    }

    /// The frame as JSON text; `door` are the parameters of the connection it is for.
    #[must_use]
    pub fn frame(&self, event: &Event, door: &Fields) -> Utf8Bytes {
        if self.personal {
            return self.write(event, door).into();
        }
        event.spelled(self.spelling, || self.write(event, door).into())
    }

    fn write(&self, event: &Event, door: &Fields) -> String {
        let source = Framed { event, door };
        match &self.template.node {
            Node::Object(members) if self.flat => flat(members, &source, event.data.get()),
            _ => self.template.render(&source),
        }
    }
}

/// The members, and beside them the payload's that they do not stand for. What is no object has no
/// fields, and stands in `data`.
fn flat(members: &[Member], source: &Framed<'_>, payload: &str) -> String {
    let mut out = String::with_capacity(payload.len() + 128);
    out.push('{');
    let mut own: u64 = 0;
    for (place, member) in members.iter().enumerate() {
        let comma = out.len() > 1;
        if member.write(source, &mut out, comma) {
            own |= 1 << place;
        }
    }
    let is_own = |key: &str| {
        let place = members.iter().position(|member| &*member.key == key);
        place.is_some_and(|place| own & (1 << place) != 0)
    };
    let mut push = |text: &[&str]| {
        if out.len() > 1 {
            out.push(',');
        }
        out.extend(text.iter().copied());
    };
    match serde_json::from_str::<Members<'_>>(payload) {
        Ok(Members(fields)) if fields.iter().any(|(key, _)| is_own(key)) => {
            for (key, value) in fields {
                if !is_own(&key) {
                    push(&[&crate::event::to_json(&key), ":", value.get()]);
                }
            }
        }
        Ok(Members(fields)) => {
            let inside = payload
                .trim()
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            if let (Some(inside), false) = (inside, fields.is_empty()) {
                push(&[inside]);
            }
        }
        Err(_) if is_own("data") => {}
        Err(_) => push(&["\"data\":", payload]),
    }
    out.push('}');
    out
}

/// What a frame of an event is filled from.
struct Framed<'a> {
    event: &'a Event,
    door: &'a Fields,
}

impl Source for Framed<'_> {
    fn filling(&self, name: &str) -> Option<Filling<'_>> {
        let event = self.event;
        match name {
            "name" => Some(Filling::Text(&event.name)),
            "data" => Some(Filling::Json(event.data.get())),
            "id" => event
                .place
                .as_ref()
                .map(|place| Filling::Integer(place.id.cast_signed())),
            "bookmark" => event.bookmark().map(|bookmark| Filling::Text(bookmark)),
            "channel" => Some(Filling::Text(&event.channel)),
            "at" if event.inserted == 0 => Some(Filling::Text(&event.at)),
            "at" => Some(Filling::Moment(event.inserted)),
            name => match name.strip_prefix("data.") {
                Some(path) => inside(event.data.get(), path).map(Filling::Json),
                None => self.door.filling(name),
            },
        }
    }
}

/// What lies at a path in an object, as it is written; a null counts as nothing.
fn inside<'a>(json: &'a str, path: &str) -> Option<&'a str> {
    let found = path.split('.').try_fold(json, |json, key| {
        let Members(fields) = serde_json::from_str(json).ok()?;
        // The last one counts, as everywhere.
        let found = fields.into_iter().rfind(|(known, _)| known == key);
        found.map(|(_, value)| value.get())
    })?;
    (found != "null").then_some(found)
}

/// The fields of an object, values as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    fields.push((key, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(All).map(Self)
    }
}

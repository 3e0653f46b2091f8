//! How an event is framed: once for all who share a dialect, or for each, where it shows parameters
//! or the time.
//! Hands frames to the transports. It must never read a payload into a tree, for it only passes by.

use super::fields::Fields;
use super::filling::{Filling, Source};
use super::template::{Member, Node, Template};
use crate::event::Event;
use crate::frame::Frame;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Fields that may stand beside a flat payload's.
pub(super) const MOST_BESIDE: usize = 64;

/// A frame for events.
#[derive(Clone, Debug)]
pub struct Framing {
    template: Template,
    /// The payload's fields stand beside the template's.
    flat: bool,
    /// It shows parameters of the door, or when it is sent: each connection has its own.
    personal: bool,
    /// Which of an event's spellings this is.
    pub(super) spelling: usize,
}

impl Framing {
    pub(super) fn new(template: Template, flat: bool, door: &[super::Field]) -> Self {
        let mut names = template.slots().into_iter().map(|slot| &*slot.name);
        let personal =
            names.any(|name| name == "now" || door.iter().any(|field| field.path == name));
        Self {
            template,
            flat,
            personal,
            spelling: 0,
        }
    }

    /// The frame, JSON text; `door` are the parameters of the connection it is for.
    #[must_use]
    pub fn frame(&self, event: &Event, door: &Fields) -> Frame {
        self.frame_in(event, door, 0, |json| json)
    }

    /// The same within something else, which is the same for all who say the same `place`.
    #[must_use]
    pub fn frame_in(
        &self,
        event: &Event,
        door: &Fields,
        place: usize,
        around: impl FnOnce(String) -> String,
    ) -> Frame {
        let write = || Frame::websocket(&around(self.write(event, door)));
        if self.personal {
            return write();
        }
        event.spelled(self.spelling + place, write).clone()
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
    // A bit for each member that has a value.
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
            "at" => Some(Filling::Moment(event.at.as_microsecond())),
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

#[cfg(test)]
mod tests {
    use super::super::Dialect;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn event(data: &str) -> Event {
        Event {
            name: "booking \"made\"".into(),
            ..Event::example_of(data)
        }
    }

    fn framing(event: &str) -> Framing {
        let text = format!("[websocket]\npath = \"/live/{{lot}}\"\n[event]\n{event}");
        Dialect::parse("t.toml", &text).unwrap().event.unwrap()
    }

    fn framed(frame: &str, data: &str) -> String {
        framing(frame)
            .frame(&event(data), &Fields::default())
            .text()
            .to_owned()
    }

    #[test]
    fn an_event_is_framed_as_the_template_says() {
        let frame = r#"frame = { t = "{name}", d = "{data}", at = "{at:ms}", id = "{id}", n = "{id:integer}", b = "{bookmark}", c = "{channel}", lot = "{lot}" }"#;
        assert_eq!(
            framed(frame, "{ \"a\" : [1] }"),
            r#"{"t":"booking \"made\"","d":{ "a" : [1] },"at":"2026-11-20T10:30:00.123Z","id":"7","n":7,"b":"h.1_0.7","c":"bookings"}"#
        );
        let frame = r#"frame = ["{data.a.b}", "{data.c}", "{data.x}", "{data.n}"]"#;
        let data = r#"{"a":{"b":[1.50]},"c":"old","n":null,"c":"é"}"#;
        assert_eq!(framed(frame, data), r#"[[1.50],"é",null,null]"#);
        assert_eq!(framed(frame, "[1]"), "[null,null,null,null]");
        // A null is no value: its field is left out.
        let frame = r#"frame = { n = "{data.n}", c = "{data.c}" }"#;
        assert_eq!(framed(frame, data), r#"{"c":"é"}"#);
    }

    #[test]
    fn a_flat_frame_wins_over_its_payload() {
        let frame = "flat = true\nframe = { type = \"{name}\", lot = \"{lot}\" }";
        let name = r#""type":"booking \"made\"""#;
        for (data, flat) in [
            (
                r#" {"a": 1.50, "b":"}"} "#,
                format!(r#"{{{name},"a": 1.50, "b":"}}"}}"#),
            ),
            (r#"{"type":"x","a":1}"#, format!(r#"{{{name},"a":1}}"#)),
            (r#"{"\u0074ype":"x"}"#, format!("{{{name}}}")),
            // What the frame leaves out, the payload may say.
            (r#"{"type":1,"lot":5}"#, format!(r#"{{{name},"lot":5}}"#)),
            (r#"{"lot":5}"#, format!(r#"{{{name},"lot":5}}"#)),
            ("{ }", format!("{{{name}}}")),
            ("[1]", format!(r#"{{{name},"data":[1]}}"#)),
            ("null", format!(r#"{{{name},"data":null}}"#)),
        ] {
            assert_eq!(framed(frame, data), flat, "{data}");
        }
        assert_eq!(
            framed("flat = true\nframe = {}", r#"{"a":1}"#),
            r#"{"a":1}"#
        );
        assert_eq!(
            framed("flat = true\nframe = { data = 1 }", "2"),
            r#"{"data":1}"#
        );
    }

    #[test]
    fn a_frame_is_encoded_once_unless_it_is_personal() {
        let mut fields = Fields::default();
        fields.set("lot", json!("a"));
        let event = event("{}");
        let shared = framing(r#"frame = { type = "{name}" }"#);
        let one = shared.frame(&event, &Fields::default());
        assert_eq!(
            one.text().as_ptr(),
            shared.frame(&event, &fields).text().as_ptr()
        );
        let mut other = framing(r#"frame = [1]"#);
        other.spelling = 1;
        assert_eq!(other.frame(&event, &fields).text(), "[1]");
        assert_eq!(
            other.frame(&event, &fields).text().as_ptr(),
            other.frame(&event, &fields).text().as_ptr()
        );
        assert_eq!(
            one.text().as_ptr(),
            shared.frame(&event, &fields).text().as_ptr()
        );

        let mut personal = framing(r#"frame = ["for {lot}"]"#);
        personal.spelling = 2;
        assert_eq!(personal.frame(&event, &fields).text(), r#"["for a"]"#);
        fields.set("lot", json!("b"));
        assert_eq!(personal.frame(&event, &fields).text(), r#"["for b"]"#);
    }

    /// Whoever resumes later was given the time of whoever had it first.
    #[test]
    fn now_is_when_a_frame_is_sent() {
        let (event, fields) = (event("{}"), Fields::default());
        let timed = framing(r#"frame = ["{now}"]"#);
        let first = timed.frame(&event, &fields);
        let last = std::iter::repeat_with(|| timed.frame(&event, &fields));
        let mut some = last.take(1_000_000);
        assert!(some.any(|one| one.text() != first.text()));
    }

    proptest! {
        /// What a tree would give, without building one.
        #[test]
        fn flat_is_the_payload_below_the_frame(
            payload in prop::collection::btree_map("type|at|[a-c\"\\\\é]{1,2}", any::<Option<String>>(), 0..6),
        ) {
            let frame = "flat = true\nframe = { type = \"{name}\", at = \"{at}\", lot = \"{lot}\" }";
            let payload: Map<String, Value> = payload.into_iter().map(|(key, value)| (key, json!(value))).collect();
            let mut merged = payload.clone();
            merged.insert("type".into(), "booking \"made\"".into());
            merged.insert("at".into(), "2026-11-20T10:30:00.123456Z".into());
            let pretty = serde_json::to_string_pretty(&payload).unwrap();
            let frame: Value = serde_json::from_str(&framed(frame, &pretty)).unwrap();
            prop_assert_eq!(frame, Value::Object(merged));
        }
    }
}

//! Notifications that triggers of old send: mapped to an event and its rooms by the templates of
//! `rowcast.channel`. Hands events over to the listener.
//! It must never invent a room: a template whose field is missing maps to nothing.

use crate::event::{Event, Frames, NAME_BYTES, is_name};
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

/// A channel whose existing notifications are pushed (`rowcast.channel`, delivery `notify`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyChannel {
    pub name: String,
    /// Templates such as `user:{userId}`.
    pub rooms: Vec<String>,
    /// A name, or a template such as `{type}` or `booking:{action}`.
    pub event: String,
}

impl NotifyChannel {
    /// The event for a payload: its JSON, or its text as a JSON string. Templates take fields of a
    /// JSON object (`{user.id}` goes deeper); of anything else, `{payload}`.
    ///
    /// # Errors
    /// Which template lacks which field.
    pub fn event(&self, payload: &str, at: Timestamp) -> Result<Event, String> {
        let value = serde_json::from_str(payload).unwrap_or_else(|_| Value::from(payload));
        let value = if value.is_object() {
            value
        } else {
            serde_json::json!({ "payload": value })
        };
        let rooms: Result<Vec<_>, _> = self.rooms.iter().map(|room| fill(room, &value)).collect();
        let data = RawValue::from_string(payload.to_owned()).unwrap_or_else(|_| {
            RawValue::from_string(Value::from(payload).to_string()).expect("a JSON string is JSON")
        });
        Ok(Event {
            place: None,
            channel: self.name.clone(),
            name: fill(&self.event, &value)?,
            rooms: rooms?.into_iter().map(Into::into).collect(),
            data,
            at,
            lost: None,
            frames: Frames::default(),
        })
    }
}

fn fill(template: &str, value: &Value) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (field, behind) = after
            .split_once('}')
            .ok_or_else(|| format!("{template}: a brace is never closed"))?;
        filled.push_str(before);
        let found = field
            .split('.')
            .try_fold(value, |value, key| value.get(key));
        match found {
            Some(Value::String(text)) => filled.push_str(text),
            Some(found @ (Value::Number(_) | Value::Bool(_))) => {
                filled.push_str(&found.to_string());
            }
            _ => {
                return Err(format!(
                    "{template}: the payload has no text or number {field}"
                ));
            }
        }
        rest = behind;
    }
    filled.push_str(rest);
    if !is_name(&filled, NAME_BYTES) {
        return Err(format!("{template}: it fills to no name of 1 to 200 bytes"));
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(rooms: &[&str], event: &str) -> NotifyChannel {
        let rooms = rooms.iter().map(ToString::to_string).collect();
        NotifyChannel {
            name: "old".into(),
            rooms,
            event: event.into(),
        }
    }

    #[test]
    fn fields_fill_templates() {
        let channel = channel(&["user:{userId}", "lab:{lab.id}"], "booking:{action}");
        let payload = r#"{"userId":7,"lab":{"id":"x"},"action":"made"}"#;
        let event = channel.event(payload, Timestamp::default()).unwrap();
        assert_eq!(event.name, "booking:made");
        assert_eq!(event.rooms, ["user:7".into(), "lab:x".into()]);
        assert_eq!(event.data.get(), payload);
    }

    #[test]
    fn plain_text_is_data() {
        let event = channel(&["old:{payload}"], "changed")
            .event("a\"b", Timestamp::default())
            .unwrap();
        assert_eq!(
            (event.rooms[0].as_ref(), event.data.get()),
            ("old:a\"b", r#""a\"b""#)
        );
    }

    #[test]
    fn a_missing_field_is_no_room() {
        for (room, payload) in [
            ("user:{id}", "{}"),
            ("user:{id}", "5"),
            ("a{", "{}"),
            ("{id}", r#"{"id":"\n"}"#),
        ] {
            assert!(
                channel(&[room], "e")
                    .event(payload, Timestamp::default())
                    .is_err(),
                "{room} {payload}"
            );
        }
    }
}

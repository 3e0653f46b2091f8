//! What a front end says, by name: parameters of a path, fields of a message, each of a kind.
//! Hands checked values to templates and calls. It must never let a value of another kind pass, nor
//! one that nobody declared.

use super::filling::{Filling, Source};
use crate::event::{NAME_BYTES, is_name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// What a field may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// What a room's name may be made of: a text that is a name, or a whole number.
    Id,
    Text,
    /// A whole number, or its text.
    Integer,
    Number,
    Boolean,
    Object,
    Any,
    List(Box<FieldKind>),
}

/// Kinds by the words of the files.
pub const KINDS: &[(&str, FieldKind)] = &[
    ("id", FieldKind::Id),
    ("text", FieldKind::Text),
    ("integer", FieldKind::Integer),
    ("number", FieldKind::Number),
    ("boolean", FieldKind::Boolean),
    ("object", FieldKind::Object),
    ("any", FieldKind::Any),
];

/// A field that a message or a door declares.
#[derive(Clone, Debug)]
pub struct Field {
    /// Where it lies: `eventId`, `data.therapistId`; numbers count in lists. Its slot's name too.
    pub path: String,
    pub kind: FieldKind,
    pub optional: bool,
}

impl Field {
    pub(super) fn new(path: &str, kind: FieldKind, optional: bool) -> Self {
        let path = path.to_owned();
        Self {
            path,
            kind,
            optional,
        }
    }
}

/// Values by the path of their field; only what was declared and is of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn set(&mut self, path: &str, value: Value) {
        self.0.insert(path.to_owned(), value);
    }

    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.0.get(path)
    }
}

impl Source for Fields {
    fn filling(&self, name: &str) -> Option<Filling<'_>> {
        self.get(name).map(Filling::Value)
    }
}

/// What lies at a path: `data.therapistId`, or `1.rooms` where frames are lists.
#[must_use]
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| match value {
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        value => value.get(key),
    })
}

impl FieldKind {
    /// The value, if it is of this kind.
    pub(super) fn check(&self, value: &Value) -> Option<Value> {
        let right = match (self, value) {
            (Self::Any, _)
            | (Self::Text, Value::String(_))
            | (Self::Number, Value::Number(_))
            | (Self::Boolean, Value::Bool(_))
            | (Self::Object, Value::Object(_)) => true,
            (Self::Id, Value::String(text)) => is_name(text, NAME_BYTES),
            (Self::Id | Self::Integer, Value::Number(number)) => number.is_i64(),
            (Self::Integer, Value::String(text)) => {
                return text.parse::<i64>().ok().map(Value::from);
            }
            (Self::List(kind), Value::Array(items)) => {
                return items.iter().map(|item| kind.check(item)).collect();
            }
            _ => false,
        };
        right.then(|| value.clone())
    }

    /// The same for what arrives as text, in a path or a query; lists have commas there.
    pub(super) fn read(&self, text: &str) -> Option<Value> {
        match self {
            Self::Id | Self::Text => is_name(text, NAME_BYTES).then(|| text.into()),
            Self::Integer => text.parse::<i64>().ok().map(Value::from),
            Self::Number => serde_json::from_str(text).ok().map(Value::Number),
            Self::Boolean => text.parse::<bool>().ok().map(Value::from),
            Self::List(kind) => text.split(',').map(|item| kind.read(item)).collect(),
            Self::Object | Self::Any => None,
        }
    }

    /// The same for what arrives in either way: texts are as in a query, and a list may be a list.
    pub(super) fn take(&self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::List(kind), Value::Array(items)) => {
                items.iter().map(|item| kind.take(item)).collect()
            }
            (_, Value::String(text)) => self.read(text),
            _ => self.check(value),
        }
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::List(kind) = self {
            return write!(f, "list of {kind}");
        }
        let word = KINDS.iter().find(|(_, kind)| kind == self);
        f.write_str(word.map_or("any", |(word, _)| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_of_its_kind_or_none() {
        let list = FieldKind::List(Box::new(FieldKind::Integer));
        for (kind, good) in [
            (FieldKind::Id, json!("a b")),
            (FieldKind::Id, json!(-7)),
            (FieldKind::Text, json!("")),
            (FieldKind::Number, json!(1.5)),
            (FieldKind::Boolean, json!(false)),
            (FieldKind::Object, json!({})),
            (FieldKind::Any, json!(null)),
            (list.clone(), json!([1, 2])),
        ] {
            assert_eq!(kind.check(&good), Some(good.clone()), "{kind}");
        }
        for (kind, bad) in [
            (FieldKind::Id, json!("")),
            (FieldKind::Id, json!("a\n")),
            (FieldKind::Id, json!(1.5)),
            (FieldKind::Id, json!("x".repeat(201))),
            (FieldKind::Text, json!(1)),
            (FieldKind::Integer, json!("1.0")),
            (FieldKind::Integer, json!(1e300)),
            (FieldKind::Object, json!([])),
            (list, json!([1, "x"])),
        ] {
            assert_eq!(kind.check(&bad), None, "{kind} {bad}");
        }
        assert_eq!(FieldKind::Integer.check(&json!("12")), Some(json!(12)));
        assert_eq!(
            FieldKind::List(Box::new(FieldKind::Integer)).read("1,2"),
            Some(json!([1, 2]))
        );
        assert_eq!(FieldKind::Number.read("5"), Some(json!(5)));
        assert_eq!(FieldKind::Number.read("NaN"), None);
        assert_eq!(FieldKind::Any.read("1"), None);
        let ids = FieldKind::List(Box::new(FieldKind::Id));
        for (kind, said, taken) in [
            (&ids, json!(["a,b", 5]), Some(json!(["a,b", 5]))),
            (&ids, json!("a,b"), Some(json!(["a", "b"]))),
            (&ids, json!([]), Some(json!([]))),
            (&ids, json!(["a", {}]), None),
            (&FieldKind::Integer, json!(7), Some(json!(7))),
            (&FieldKind::Integer, json!("7"), Some(json!(7))),
            (&FieldKind::Integer, json!([7]), None),
            (&FieldKind::Text, json!("a\n"), None),
        ] {
            assert_eq!(kind.take(&said), taken, "{kind} {said}");
        }
    }

    #[test]
    fn a_path_leads_through_objects_and_lists() {
        let frame = json!(["SUB", { "rooms": ["a"], "deep": { "er": 1 } }]);
        assert_eq!(at(&frame, "0"), Some(&json!("SUB")));
        assert_eq!(at(&frame, "1.deep.er"), Some(&json!(1)));
        assert_eq!(at(&frame, "2"), None);
        assert_eq!(at(&frame, "type"), None);
    }
}

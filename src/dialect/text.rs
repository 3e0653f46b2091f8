//! Text with slots: names of rooms, sentences, parts of frames.
//! Hands text to templates and transports. It must never let a value end the JSON string it stands in.

use super::filling::{Filling, Source};
use super::slot::{Context, Shape, Slot, Spelled};
use serde_json::Value;
use std::fmt::Write;

/// Text with slots, such as `event:{eventId}`. `{{` and `}}` are braces.
#[derive(Clone, Debug, Default)]
pub struct Text {
    pub(super) pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// As it is, and escaped for the inside of a JSON string.
    Plain(Box<str>, Box<str>),
    Slot(Slot),
}

impl Text {
    /// # Errors
    /// Why it can't be filled here.
    pub(super) fn compile(text: &str, context: &Context<'_>) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '{' | '}' if letters.peek() == Some(&letter) => {
                    letters.next();
                    plain.push(letter);
                }
                '{' => {
                    let mut inside = String::new();
                    let closed = letters.by_ref().any(|letter| {
                        inside.push(letter);
                        letter == '}'
                    });
                    if !closed {
                        return Err("a brace is never closed: write {{ for the brace itself".into());
                    }
                    inside.pop();
                    push_plain(&mut pieces, &mut plain);
                    pieces.push(Piece::Slot(Slot::compile(&inside, context)?));
                }
                '}' => return Err("a brace was never opened: write }} for the brace itself".into()),
                letter => plain.push(letter),
            }
        }
        push_plain(&mut pieces, &mut plain);
        Ok(Self { pieces })
    }

    /// The text; nothing where a slot has no value.
    #[must_use]
    pub fn fill(&self, source: &dyn Source) -> Option<String> {
        let mut text = String::new();
        self.write(source, &mut text, false).then_some(text)
    }

    /// A text for each item of the list that one of its slots may be; none where a slot has no value.
    #[must_use]
    pub fn fill_each(&self, source: &dyn Source) -> Vec<String> {
        let list = self.slots().find(|slot| slot.shape == Shape::List);
        let Some(list) = list else {
            return self.fill(source).into_iter().collect();
        };
        let Some(Filling::Value(Value::Array(items))) = source.filling(&list.name) else {
            return Vec::new();
        };
        let each = items.iter().map(|item| {
            let item = Filling::Value(item);
            self.fill(&Each {
                source,
                name: &list.name,
                item,
            })
        });
        each.flatten().collect()
    }

    pub(super) fn write(&self, source: &dyn Source, out: &mut String, escaped: bool) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Plain(text, in_json) => {
                out.push_str(if escaped { in_json } else { text });
                true
            }
            Piece::Slot(slot) => {
                let Some(Spelled { text, .. }) = slot.spell(source) else {
                    return false;
                };
                if escaped {
                    escape(&text, out);
                } else {
                    out.push_str(&text);
                }
                true
            }
        })
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Slot(slot) => Some(slot),
            Piece::Plain(..) => None,
        })
    }
}

/// One item in place of its list.
struct Each<'a> {
    source: &'a dyn Source,
    name: &'a str,
    item: Filling<'a>,
}

impl Source for Each<'_> {
    fn filling(&self, name: &str) -> Option<Filling<'_>> {
        if name == self.name {
            return Some(self.item);
        }
        self.source.filling(name)
    }
}

fn push_plain(pieces: &mut Vec<Piece>, plain: &mut String) {
    if !plain.is_empty() {
        let mut escaped = String::new();
        escape(plain, &mut escaped);
        pieces.push(Piece::Plain(plain.as_str().into(), escaped.into()));
        plain.clear();
    }
}

/// Appends a text as it stands inside a JSON string.
pub(super) fn escape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\') || c < ' ') {
        out.push_str(&rest[..at]);
        let letter = rest.as_bytes()[at];
        match letter {
            b'"' | b'\\' => out.extend(['\\', char::from(letter)]),
            b'\n' => out.push_str("\\n"),
            _ => {
                // Writing to a string can't fail.
                let _ = write!(out, "\\u{letter:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::super::fields::{Field, FieldKind, Fields};
    use super::super::values::Values;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const NAMED: &[(&str, Shape)] = &[
        ("text", Shape::Text),
        ("count", Shape::Integer),
        ("ready", Shape::Truth),
        ("at", Shape::Moment),
        ("random", Shape::Random),
    ];

    fn text(written: &str) -> Text {
        let lots = FieldKind::List(Box::new(FieldKind::Id));
        let lots = [Field::new("lots", lots, false)];
        Text::compile(written, &Context::new(NAMED, &[&lots])).unwrap()
    }

    #[test]
    fn slots_are_filled_in_their_forms() {
        let values = Values::default()
            .with("text", Filling::Text("a\"b"))
            .with("count", Filling::Integer(-3))
            .with("ready", Filling::Truth(true))
            .with("at", Filling::Moment(1_763_634_600_123_456));
        for (written, filled) in [
            ("{{{text}}} }}{{", "{a\"b} }{"),
            ("{count}/{ready}/{ready:up|down}", "-3/true/up"),
            ("{at}", "2025-11-20T10:30:00.123456Z"),
            (
                "{at:ms} {at:s}",
                "2025-11-20T10:30:00.123Z 2025-11-20T10:30:00Z",
            ),
            ("{at:unix} {at:unix-ms}", "1763634600 1763634600123"),
            ("", ""),
        ] {
            assert_eq!(
                text(written).fill(&values).as_deref(),
                Some(filled),
                "{written}"
            );
        }
        assert_eq!(text("x{text}").fill(&Values::default()), None);
        let random = text("{random:32}").fill(&values).unwrap();
        assert!(random.len() == 32 && random.bytes().all(|letter| LETTERS.contains(&letter)));
        assert_ne!(text("{random:32}").fill(&values), Some(random));
    }

    const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

    #[test]
    fn a_list_names_a_room_for_each_item() {
        let mut fields = Fields::default();
        fields.set("lots", json!(["a", 7]));
        let values = Values::default()
            .with("text", Filling::Text("x"))
            .with_fields(&fields);
        assert_eq!(text("{text}:{lots}").fill_each(&values), ["x:a", "x:7"]);
        assert_eq!(text("{text}").fill_each(&values), ["x"]);
        assert!(
            text("{text}:{lots}")
                .fill_each(&Values::default())
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn whatever_a_value_holds_it_stays_inside_its_string(value in any::<String>(), around in "[^{}]*") {
            let written = format!("{around}{{text}}{around}");
            let values = Values::default().with("text", Filling::Text(&value));
            let mut out = String::from("\"");
            prop_assert!(text(&written).write(&values, &mut out, true));
            out.push('"');
            let read: String = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(read, format!("{around}{value}{around}"));
        }
    }
}

//! Frames and names with slots, compiled when a file is read: one pass writes them.
//! Hands text to whoever sends it. It must never build a tree of what it writes: JSON that a value
//! brings along is spliced.

use super::slot::{Context, Shape, Slot, Source, Spelled};
use serde_json::Value;
use std::fmt::Write;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

/// What is wrong, and where in the file.
pub(super) type Wrong = Vec<(Range<usize>, String)>;

/// Text with slots, such as `event:{eventId}`. `{{` and `}}` are braces.
#[derive(Clone, Debug, Default)]
pub struct Text {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
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
        let Some(super::Filling::Value(Value::Array(items))) = source.filling(&list.name) else {
            return Vec::new();
        };
        let each = items.iter().map(|item| {
            let item = super::Filling::Value(item);
            self.fill(&Each {
                source,
                name: &list.name,
                item,
            })
        });
        each.flatten().collect()
    }

    fn write(&self, source: &dyn Source, out: &mut String, escaped: bool) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Plain(text, in_json) => {
                out.push_str(if escaped { in_json } else { text });
                true
            }
            Piece::Slot(slot) => match slot.spell(source) {
                Some(Spelled { text, .. }) if escaped => {
                    escape(&text, out);
                    true
                }
                Some(Spelled { text, .. }) => {
                    out.push_str(&text);
                    true
                }
                None => false,
            },
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
    item: super::Filling<'a>,
}

impl Source for Each<'_> {
    fn filling(&self, name: &str) -> Option<super::Filling<'_>> {
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

/// JSON with slots.
#[derive(Clone, Debug)]
pub struct Template {
    pub(super) node: Node,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    /// JSON text.
    Literal(Box<str>),
    /// A string that is exactly one slot takes the value with its type.
    Slot(Slot),
    Text(Text),
    Object(Vec<Member>),
    Array(Vec<Node>),
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub key: Box<str>,
    /// `"key":`
    pub written: Box<str>,
    pub node: Node,
}

impl Template {
    /// Compiles a value of a file; what is wrong is said, and a null stands in its place.
    pub(super) fn compile(
        value: &Spanned<DeValue<'_>>,
        context: &Context<'_>,
        wrong: &mut Wrong,
    ) -> Self {
        let node = Node::compile(value, context, wrong);
        Self { node }
    }

    /// JSON text.
    #[must_use]
    pub fn render(&self, source: &dyn Source) -> String {
        let mut out = String::with_capacity(128);
        if !self.node.write(source, &mut out) {
            out.clear();
            out.push_str("null");
        }
        out
    }

    /// Whether it uses one of these.
    pub(super) fn uses(&self, is: &dyn Fn(&Slot) -> bool) -> bool {
        self.node.uses(is)
    }
}

impl Node {
    fn compile(value: &Spanned<DeValue<'_>>, context: &Context<'_>, wrong: &mut Wrong) -> Self {
        let mut say = |what: &str| {
            wrong.push((value.span(), what.to_owned()));
            Self::Literal("null".into())
        };
        match value.get_ref() {
            DeValue::String(text) => match Text::compile(text, context) {
                Ok(text) => Self::of_text(text).unwrap_or_else(|what| say(&what)),
                Err(what) => say(&what),
            },
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Self::Literal(number.to_string().into()),
                    Err(_) => say("a whole number of 64 bits was expected"),
                }
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => {
                    Self::Literal(Value::from(number).to_string().into())
                }
                _ => say("JSON has no such number"),
            },
            DeValue::Boolean(truth) => Self::Literal(truth.to_string().into()),
            DeValue::Datetime(_) => say("JSON has no dates: write it in quotes"),
            DeValue::Array(items) => {
                let items = items.iter().map(|item| Self::compile(item, context, wrong));
                Self::Array(items.collect())
            }
            DeValue::Table(table) => {
                let mut members: Vec<_> = table.iter().collect();
                // As they are written, for those who read frames.
                members.sort_by_key(|(key, _)| key.span().start);
                let members = members.into_iter().map(|(key, value)| Member {
                    key: key.get_ref().as_ref().into(),
                    written: format!("{}:", Value::from(key.get_ref().as_ref())).into(),
                    node: Self::compile(value, context, wrong),
                });
                Self::Object(members.collect())
            }
        }
    }

    fn of_text(mut text: Text) -> Result<Self, String> {
        if let [Piece::Slot(_)] = text.pieces.as_slice()
            && let Some(Piece::Slot(slot)) = text.pieces.pop()
        {
            return Ok(Self::Slot(slot));
        }
        let whole = text
            .slots()
            .find(|slot| matches!(slot.shape, Shape::Json | Shape::List));
        if let Some(slot) = whole {
            let name = &slot.name;
            return Err(format!(
                "{{{name}}} is JSON and no text: it can only stand by itself"
            ));
        }
        if text.slots().next().is_some() {
            return Ok(Self::Text(text));
        }
        let mut literal = String::from('"');
        for piece in &text.pieces {
            if let Piece::Plain(_, escaped) = piece {
                literal.push_str(escaped);
            }
        }
        literal.push('"');
        Ok(Self::Literal(literal.into()))
    }

    /// Appends it; nothing, and false, if it has no value.
    pub(super) fn write(&self, source: &dyn Source, out: &mut String) -> bool {
        let start = out.len();
        match self {
            Self::Literal(text) => out.push_str(text),
            Self::Slot(slot) => {
                let Some(Spelled { text, quoted }) = slot.spell(source) else {
                    return false;
                };
                if quoted {
                    out.push('"');
                    escape(&text, out);
                    out.push('"');
                } else {
                    out.push_str(&text);
                }
            }
            Self::Text(text) => {
                out.push('"');
                if !text.write(source, out, true) {
                    out.truncate(start);
                    return false;
                }
                out.push('"');
            }
            Self::Object(members) => {
                out.push('{');
                for member in members {
                    let comma = out.len() > start + 1;
                    member.write(source, out, comma);
                }
                out.push('}');
            }
            Self::Array(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    // A place in a list counts, so it stays.
                    if !item.write(source, out) {
                        out.push_str("null");
                    }
                }
                out.push(']');
            }
        }
        true
    }

    fn uses(&self, is: &dyn Fn(&Slot) -> bool) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Slot(slot) => is(slot),
            Self::Text(text) => text.slots().any(is),
            Self::Object(members) => members.iter().any(|member| member.node.uses(is)),
            Self::Array(items) => items.iter().any(|item| item.uses(is)),
        }
    }
}

impl Member {
    /// Appends it, behind a comma if others stand before it; nothing, and false, without a value.
    pub(super) fn write(&self, source: &dyn Source, out: &mut String, comma: bool) -> bool {
        let start = out.len();
        if comma {
            out.push(',');
        }
        out.push_str(&self.written);
        let written = self.node.write(source, out);
        if !written {
            out.truncate(start);
        }
        written
    }
}

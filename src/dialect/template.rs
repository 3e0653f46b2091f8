//! Frames with slots, compiled when a file is read: one pass writes them.
//! Hands text to whoever sends it. It must never build a tree of what it writes: JSON that a value
//! brings along is spliced.

use super::filling::Source;
use super::slot::{Context, Shape, Slot, Spelled};
use super::text::{Piece, Text, escape};
use serde_json::Value;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

/// What is wrong with a template.
pub(super) struct TemplateError {
    /// In the file.
    pub at: Range<usize>,
    /// In the template, such as `.data.at`.
    pub key: String,
    pub what: String,
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
        wrong: &mut Vec<TemplateError>,
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

    pub(super) fn slots(&self) -> Vec<&Slot> {
        self.node.slots()
    }
}

impl Node {
    fn compile(
        value: &Spanned<DeValue<'_>>,
        context: &Context<'_>,
        wrong: &mut Vec<TemplateError>,
    ) -> Self {
        let mut say = |what: &str| {
            let (at, key, what) = (value.span(), String::new(), what.to_owned());
            wrong.push(TemplateError { at, key, what });
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
                let members = members.into_iter().map(|(key, value)| {
                    let (key, known) = (key.get_ref().as_ref(), wrong.len());
                    let node = Self::compile(value, context, wrong);
                    for inside in &mut wrong[known..] {
                        inside.key.insert_str(0, &format!(".{key}"));
                    }
                    let written = format!("{}:", Value::from(key)).into();
                    let key = key.into();
                    Member { key, written, node }
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

    fn slots(&self) -> Vec<&Slot> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Slot(slot) => vec![slot],
            Self::Text(text) => text.slots().collect(),
            Self::Object(members) => members.iter().flat_map(|one| one.node.slots()).collect(),
            Self::Array(items) => items.iter().flat_map(Self::slots).collect(),
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

#[cfg(test)]
mod tests {
    use super::super::filling::Filling;
    use super::super::values::Values;
    use super::*;

    fn rendered(written: &str) -> Result<String, String> {
        let named = &[
            ("text", Shape::Text),
            ("none", Shape::Text),
            ("data", Shape::Json),
            ("number", Shape::Integer),
            ("at", Shape::Moment),
            ("padded", Shape::Text),
            ("signed", Shape::Text),
        ];
        let context = Context::new(named, &[]);
        let mut wrong = Vec::new();
        let template = Template::compile(&DeValue::parse(written).unwrap(), &context, &mut wrong);
        if let Some(wrong) = wrong.pop() {
            return Err(wrong.what);
        }
        let values = Values::default()
            .with("text", Filling::Text("say \"hi\"\n\u{1}"))
            .with("data", Filling::Json("{ \"a\":1 }"))
            .with("number", Filling::Integer(7))
            .with("at", Filling::Moment(1_763_634_600_123_456))
            .with("padded", Filling::Text("-007"))
            .with("signed", Filling::Text("+5"));
        Ok(template.render(&values))
    }

    #[test]
    fn a_template_renders_as_it_is_written() {
        for (written, json) in [
            (
                r#"{ z = 1, a = 0x10, m = 2.50, t = true, "q\"" = [] }"#,
                r#"{"z":1,"a":16,"m":2.5,"t":true,"q\"":[]}"#,
            ),
            (
                r#"{ is = "{text}", in = "<{text}>" }"#,
                r#"{"is":"say \"hi\"\n\u0001","in":"<say \"hi\"\n\u0001>"}"#,
            ),
            (
                r#"{ n = "{number}", s = "{number}.", d = "{data}" }"#,
                r#"{"n":7,"s":"7.","d":{ "a":1 }}"#,
            ),
            (
                r#"["EVT", "{none}", { a = "{none}", b = "x{none}" }]"#,
                r#"["EVT",null,{}]"#,
            ),
            (
                r#"{ a = "{none}", b = { c = "{none}" }, d = 1 }"#,
                r#"{"b":{},"d":1}"#,
            ),
            (
                r#"["{at:unix}", "{at:unix-ms}", "{at:s}"]"#,
                r#"[1763634600,1763634600123,"2025-11-20T10:30:00Z"]"#,
            ),
            // The peer's text, which JSON has as a number only when it is written anew.
            (
                r#"["{padded:integer}", "{signed:integer}", "<{padded:integer}>", "{text:integer}"]"#,
                r#"[-7,5,"<-7>","say \"hi\"\n\u0001"]"#,
            ),
            (r#""{none}""#, "null"),
            (r#""{{text}}""#, r#""{text}""#),
        ] {
            assert_eq!(rendered(written).as_deref(), Ok(json), "{written}");
        }
        assert!(rendered("9223372036854775808").is_err());
    }
}

//! What stands in braces: a name, where its value comes from, and how it is spelled.
//! Hands text to the templates. It must never be asked for a name that its context has not: names are
//! checked when a file is read.

use super::fields::{Field, FieldKind};
use super::filling::{Filling, Source};
use super::keys::known_here;
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// Letters of `{random:6}`.
const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// What a slot's value can be, and with it which forms it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Integer,
    Truth,
    Moment,
    Random,
    /// Fills a text with each of its items.
    List,
    /// Only by itself, not inside a text.
    Json,
}

/// The slots that a place in a file may use.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub named: &'a [(&'static str, Shape)],
    /// Declared in the file: parameters of doors, fields of the message.
    pub fields: &'a [&'a [Field]],
}

impl<'a> Context<'a> {
    pub fn new(named: &'a [(&'static str, Shape)], fields: &'a [&'a [Field]]) -> Self {
        Self { named, fields }
    }

    fn shape(&self, name: &str) -> Option<Shape> {
        let named = |name| self.named.iter().find(|(known, _)| *known == name);
        if let Some((_, shape)) = named(name) {
            return Some(*shape);
        }
        let mut fields = self.fields.iter().copied().flatten();
        if let Some(field) = fields.find(|field| field.path == name) {
            return Some(shape_of(&field.kind));
        }
        // Where the payload can stand as a whole, so can its parts.
        let inside = name.starts_with("data.") && named("data").is_some();
        inside.then_some(Shape::Json)
    }

    /// All names, for those who looked for one in vain.
    fn names(&self) -> Vec<&str> {
        let named = self.named.iter().map(|(name, _)| *name);
        let fields = self.fields.iter().copied().flatten();
        named
            .chain(fields.map(|field| field.path.as_str()))
            .collect()
    }
}

fn shape_of(kind: &FieldKind) -> Shape {
    match kind {
        FieldKind::Id | FieldKind::Text | FieldKind::Number => Shape::Text,
        FieldKind::Integer => Shape::Integer,
        FieldKind::Boolean => Shape::Truth,
        FieldKind::List(_) => Shape::List,
        FieldKind::Object | FieldKind::Any => Shape::Json,
    }
}

/// `{at:ms}`: a name and a form.
#[derive(Clone, Debug)]
pub struct Slot {
    pub name: Box<str>,
    pub shape: Shape,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Plain,
    /// RFC 3339 with as many digits behind the second.
    Digits(usize),
    /// Since 1970, in units of as many microseconds.
    Unix(i64),
    /// As a number what is a text of digits.
    Number,
    Words(Box<str>, Box<str>),
    Letters(usize),
}

/// A value as text, and whether it is a string in JSON.
pub(super) struct Spelled<'a> {
    pub text: Cow<'a, str>,
    pub quoted: bool,
}

impl Slot {
    /// Reads what stands between the braces.
    ///
    /// # Errors
    /// Why it can't be filled here, as the end of a sentence.
    pub(super) fn compile(inside: &str, context: &Context<'_>) -> Result<Self, String> {
        let (name, form) = inside
            .split_once(':')
            .map_or((inside, None), |(n, f)| (n, Some(f)));
        let shape = context.shape(name).ok_or_else(|| {
            let known = known_here(name, &context.names(), |name| format!("{{{name}}}"));
            format!("{{{name}}} is no slot here{known}")
        })?;
        let wrong = |forms: &str| format!("{{{inside}}} has no such form: write {forms}");
        let form = match (shape, form) {
            (Shape::Random, form) => {
                let length = form.and_then(|form| form.parse().ok());
                let length = length.filter(|length| (1..=32).contains(length));
                Form::Letters(length.ok_or_else(|| wrong("{random:6}, with 1 to 32 letters"))?)
            }
            (_, None) => Form::Plain,
            (Shape::Moment, Some("ms")) => Form::Digits(3),
            (Shape::Moment, Some("s")) => Form::Digits(0),
            (Shape::Moment, Some("unix")) => Form::Unix(1_000_000),
            (Shape::Moment, Some("unix-ms")) => Form::Unix(1000),
            (Shape::Moment, _) => {
                return Err(wrong(&format!(
                    "{{{name}}}, {{{name}:ms}}, {{{name}:s}}, {{{name}:unix}} or {{{name}:unix-ms}}"
                )));
            }
            (Shape::Text, Some("integer")) => Form::Number,
            (Shape::Text, _) => return Err(wrong(&format!("{{{name}}} or {{{name}:integer}}"))),
            (Shape::Truth, Some(words)) => match words.split_once('|') {
                Some((yes, no)) => Form::Words(yes.into(), no.into()),
                None => return Err(wrong(&format!("{{{name}}} or {{{name}:yes|no}}"))),
            },
            _ => return Err(wrong(&format!("{{{name}}}"))),
        };
        let name = name.into();
        Ok(Self { name, shape, form })
    }

    pub(super) fn spell<'a>(&self, source: &'a dyn Source) -> Option<Spelled<'a>> {
        if let Form::Letters(length) = self.form {
            let letters = (0..length).map(|_| LETTERS[rand::random_range(0..LETTERS.len())]);
            let text: String = letters.map(char::from).collect();
            let (text, quoted) = (text.into(), true);
            return Some(Spelled { text, quoted });
        }
        let filling = match &*self.name {
            "now" if self.shape == Shape::Moment => {
                Filling::Moment(Timestamp::now().as_microsecond())
            }
            name => source.filling(name)?,
        };
        let (text, quoted): (Cow<'a, str>, bool) = match filling {
            Filling::Value(Value::Null) => return None,
            Filling::Text(text) => (text.into(), true),
            Filling::Value(Value::String(text)) => (text.into(), true),
            Filling::Json(text) => (text.into(), false),
            Filling::Value(value) => (value.to_string().into(), false),
            // An event's id is a text of digits, on every wire of ours.
            Filling::Integer(number) => (number.to_string().into(), self.shape == Shape::Text),
            Filling::Truth(truth) => (if truth { "true" } else { "false" }.into(), false),
            Filling::Moment(micros) => return self.moment(micros),
        };
        let (text, quoted) = match &self.form {
            Form::Words(yes, no) => {
                let word = if text == "true" { yes } else { no };
                (word.to_string().into(), true)
            }
            // What is no number stays the text it is. Written anew: JSON has no `007` and no `+5`.
            Form::Number => match text.parse::<i64>() {
                Ok(number) => (number.to_string().into(), false),
                Err(_) => (text, quoted),
            },
            _ => (text, quoted),
        };
        Some(Spelled { text, quoted })
    }

    fn moment<'a>(&self, micros: i64) -> Option<Spelled<'a>> {
        let (text, quoted) = match self.form {
            Form::Unix(unit) => (micros.div_euclid(unit).to_string(), false),
            ref form => {
                let digits = match form {
                    Form::Digits(digits) => *digits,
                    _ => 6,
                };
                let moment = Timestamp::from_microsecond(micros).ok()?;
                (format!("{moment:.digits$}"), true)
            }
        };
        let text = text.into();
        Some(Spelled { text, quoted })
    }
}

//! A dialect's file as it is written: sections and keys, each with its line.
//! Hands checked values to those who compile them, and collects what is wrong, so that an author mends
//! a file in one round. It must never guess: what it does not know is a problem.

use super::fields::{Field, FieldKind, KINDS};
use super::keys::{SECTIONS, known_here, quoted};
use super::slot::{Context, Shape};
use super::template::{Template, TemplateError};
use super::text::Text;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file that is being read.
pub(super) struct File<'t> {
    pub name: &'t str,
    text: &'t str,
    /// By their place in the file.
    problems: Vec<(usize, String)>,
}

/// A table of it.
#[derive(Clone)]
pub(super) struct Section<'t> {
    /// `message.subscribe`; empty for the file itself.
    pub key: String,
    pub at: Range<usize>,
    table: &'t DeTable<'t>,
}

type Entry<'t> = (
    &'t Spanned<std::borrow::Cow<'t, str>>,
    &'t Spanned<DeValue<'t>>,
);

impl<'t> Section<'t> {
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Keys and values in the order of the file.
    pub fn entries(&self) -> Vec<Entry<'t>> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
    }

    pub fn inside(&self, key: &str) -> String {
        if self.key.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.key)
        }
    }
}

impl<'t> File<'t> {
    pub fn new(name: &'t str, text: &'t str) -> Self {
        let problems = Vec::new();
        Self {
            name,
            text,
            problems,
        }
    }

    pub fn say(&mut self, at: &Range<usize>, key: &str, what: &str) {
        let problem = self.located(at, key, what);
        self.problems.push((at.start, problem));
    }

    /// `tickets.toml:12: websocket.path: …`
    pub fn located(&self, at: &Range<usize>, key: &str, what: &str) -> String {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let key = if key.is_empty() {
            String::new()
        } else {
            format!("{key}: ")
        };
        format!("{}:{line}: {key}{what}", self.name)
    }

    /// All that was said, from the first line to the last.
    pub fn problems(mut self) -> Vec<String> {
        self.problems.sort_by_key(|(at, _)| *at);
        let problems = self.problems.into_iter();
        problems.map(|(_, problem)| problem).collect()
    }

    /// The file itself, if it has a known key.
    pub fn root(&mut self, table: &'t Spanned<DeTable<'t>>) -> Section<'t> {
        let section = Section {
            key: String::new(),
            at: 0..0,
            table: table.get_ref(),
        };
        self.know(&section, "");
        section
    }

    /// A table in a section; its keys are those of `SECTIONS` under its name.
    pub fn section(&mut self, within: &Section<'t>, key: &str) -> Option<Section<'t>> {
        let section = self.table(within, key)?;
        self.know(&section, key);
        Some(section)
    }

    /// A table whose keys the author chooses.
    pub fn table(&mut self, within: &Section<'t>, key: &str) -> Option<Section<'t>> {
        let (name, value) = within.table.get_key_value(key)?;
        self.as_section(within, name, value)
    }

    /// Each table of a section whose names the author chooses.
    pub fn sections(&mut self, within: &Section<'t>) -> Vec<(&'t str, Section<'t>)> {
        let mut found = Vec::new();
        for (name, value) in within.entries() {
            if let Some(section) = self.as_section(within, name, value) {
                self.know(&section, &format!("{}.*", within.key));
                found.push((name.get_ref().as_ref(), section));
            }
        }
        found
    }

    fn as_section(
        &mut self,
        within: &Section<'t>,
        name: &'t Spanned<std::borrow::Cow<'t, str>>,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Option<Section<'t>> {
        let key = within.inside(name.get_ref());
        match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                key,
                at: name.span(),
                table,
            }),
            _ => {
                let what =
                    format!("a table was expected: write [{key}], or {{ … }} behind the key");
                self.say(&value.span(), &key, &what);
                None
            }
        }
    }

    fn know(&mut self, section: &Section<'t>, kind: &str) {
        let known = SECTIONS.iter().find(|(name, _)| *name == kind);
        let known = known.map_or(&[][..], |(_, keys)| keys);
        for (key, _) in section.entries() {
            if !known.contains(&key.get_ref().as_ref()) {
                let known = known_here(key.get_ref(), known, quoted);
                let what = format!("nobody knows this key{known}");
                self.say(&key.span(), &section.inside(key.get_ref()), &what);
            }
        }
    }

    pub fn value(&self, section: &Section<'t>, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        section.table.get(key)
    }

    pub fn expected(&mut self, section: &Section<'t>, key: &str, at: &Range<usize>, what: &str) {
        self.say(at, &section.inside(key), &format!("{what} was expected"));
    }

    pub fn missing(&mut self, section: &Section<'t>, key: &str, remedy: &str) {
        let what = format!("is missing: {remedy}");
        self.say(&section.at, &section.inside(key), &what);
    }

    /// A text and where it stands.
    pub fn text(&mut self, section: &Section<'t>, key: &str) -> Option<(&'t str, Range<usize>)> {
        let value = self.value(section, key)?;
        if let DeValue::String(text) = value.get_ref() {
            return Some((text.as_ref(), value.span()));
        }
        self.expected(section, key, &value.span(), "a text in quotes");
        None
    }

    pub fn truth(&mut self, section: &Section<'t>, key: &str) -> Option<bool> {
        let value = self.value(section, key)?;
        if let DeValue::Boolean(truth) = value.get_ref() {
            return Some(*truth);
        }
        self.expected(section, key, &value.span(), "true or false");
        None
    }

    pub fn number(&mut self, section: &Section<'t>, key: &str, range: Range<u16>) -> Option<u16> {
        let value = self.value(section, key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u16::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let what = format!("a whole number from {} to {}", range.start, range.end - 1);
            self.expected(section, key, &value.span(), &what);
        }
        number
    }

    /// Texts with where they stand; one alone needs no brackets.
    pub fn texts(&mut self, section: &Section<'t>, key: &str) -> Vec<(&'t str, Range<usize>)> {
        let Some(value) = self.value(section, key) else {
            return Vec::new();
        };
        let items: Vec<&Spanned<DeValue<'t>>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => texts.push((text.as_ref(), item.span())),
                _ => self.expected(
                    section,
                    key,
                    &item.span(),
                    "a text in quotes, or a list of them",
                ),
            }
        }
        texts
    }

    /// Texts with slots.
    pub fn fills(&mut self, section: &Section<'t>, key: &str, context: &Context<'_>) -> Vec<Text> {
        let texts = self.texts(section, key).into_iter();
        texts
            .filter_map(|text| self.filled(section, key, text, context))
            .collect()
    }

    /// A single one.
    pub fn fill(
        &mut self,
        section: &Section<'t>,
        key: &str,
        context: &Context<'_>,
    ) -> Option<Text> {
        let text = self.text(section, key)?;
        self.filled(section, key, text, context)
    }

    fn filled(
        &mut self,
        section: &Section<'t>,
        key: &str,
        (text, at): (&str, Range<usize>),
        context: &Context<'_>,
    ) -> Option<Text> {
        let text = Text::compile(text, context).and_then(as_text);
        text.map_err(|what| self.say(&at, &section.inside(key), &what))
            .ok()
    }

    pub fn template(
        &mut self,
        section: &Section<'t>,
        key: &str,
        context: &Context<'_>,
    ) -> Option<Template> {
        let value = self.value(section, key)?;
        let mut wrong = Vec::new();
        let template = Template::compile(value, context, &mut wrong);
        for TemplateError {
            at,
            key: inside,
            what,
        } in wrong
        {
            self.say(&at, &format!("{}{inside}", section.inside(key)), &what);
        }
        Some(template)
    }

    /// `fields = { eventId = "integer", rooms = ["id"], note = "text?" }`
    pub fn fields(&mut self, section: &Section<'t>, key: &str) -> Vec<Field> {
        let Some(table) = self.table(section, key) else {
            return Vec::new();
        };
        let mut fields = Vec::new();
        for (name, value) in table.entries() {
            let path = name.get_ref();
            if let Some((kind, optional)) = kind_of(value.get_ref()) {
                fields.push(Field::new(path, kind, optional));
                continue;
            }
            let words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
            let what = format!(
                "no kind of field: write one of {} in quotes, with ? behind it if it may be missing, or \
                 [\"…\"] for a list",
                words.join(", ")
            );
            self.say(&value.span(), &table.inside(path), &what);
        }
        fields
    }
}

/// The same, unless it can't be filled although its slots are known.
fn as_text(text: Text) -> Result<Text, String> {
    if let Some(slot) = text.slots().find(|slot| slot.shape == Shape::Json) {
        return Err(format!("{{{}}} is JSON and no text", slot.name));
    }
    let lists = text.slots().filter(|slot| slot.shape == Shape::List);
    if lists.count() > 1 {
        return Err("only one slot of a text can be a list".into());
    }
    Ok(text)
}

fn kind_of(value: &DeValue<'_>) -> Option<(FieldKind, bool)> {
    match value {
        DeValue::String(word) => {
            let (word, optional) = word
                .strip_suffix('?')
                .map_or((word.as_ref(), false), |w| (w, true));
            let kind = KINDS.iter().find(|(known, _)| *known == word)?;
            Some((kind.1.clone(), optional))
        }
        DeValue::Array(items) => {
            let mut items = items.iter();
            let (Some(item), None) = (items.next(), items.next()) else {
                return None;
            };
            let (kind, optional) = kind_of(item.get_ref())?;
            Some((FieldKind::List(Box::new(kind)), optional))
        }
        _ => None,
    }
}

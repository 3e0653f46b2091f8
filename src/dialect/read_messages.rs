//! The sections of messages, errors and closes, compiled.
//! Hands them to the reader of the whole file. It must never let a message mean two things.

use super::fields::{Field, FieldKind};
use super::file::Section;
use super::messages::{Meaning, Message, Messages, Rooms};
use super::places;
use super::reader::{DialectReader, ours};
use super::slot::Context;
use super::wording::{CODES, Close, Errors, WORDS};
use std::collections::HashMap;
use toml::de::DeValue;

/// What is told of an error if the file does not say.
const ERROR: &str =
    r#"{ type = "error", code = "{code}", message = "{message}", room = "{room}" }"#;

impl<'t> DialectReader<'t> {
    pub fn messages(&mut self, root: &Section<'t>) -> Messages {
        let named = self.file.section(root, "messages");
        let name = named.and_then(|section| self.file.text(&section, "name"));
        let mut messages = Messages {
            name: name.map_or("type", |(name, _)| name).to_owned(),
            ..Messages::default()
        };
        let Some(all) = self.file.table(root, "message") else {
            return messages;
        };
        for (name, section) in self.file.sections(&all) {
            let also = self.file.texts(&section, "also");
            let message = self.message(name, &section);
            let place = messages.all.len();
            messages.all.push(message);
            let names = std::iter::once((name, section.at.clone())).chain(also);
            for (name, at) in names {
                if let Some(known) = messages.by_name.insert(name.to_owned(), place) {
                    let known = messages.all.get(known).map_or("", |message| &message.name);
                    let what = format!("{name:?} is a name of [message.{known}] already");
                    self.file.say(&at, &section.key, &what);
                }
            }
        }
        messages
    }

    fn message(&mut self, name: &str, section: &Section<'t>) -> Message {
        let mut fields = self.file.fields(section, "fields");
        let mut arguments = Vec::new();
        for (argument, _) in self.file.texts(section, "arguments") {
            // What is not described is what rooms are named by.
            if !fields.iter().any(|field| field.path == argument) {
                fields.push(Field::new(argument, FieldKind::Id, false));
            }
            arguments.push(argument.to_owned());
        }
        let door = self.door.clone();
        let known: &[&[Field]] = &[&fields, &door];
        let meaning = self.meaning(section, &Context::new(places::SAID, known));
        let answer = Context::new(places::ANSWER, known);
        let answer = self.file.template(section, "answer", &answer);
        let refused = Context::new(places::REFUSED, known);
        let refused = self.file.template(section, "refused", &refused);
        Message {
            name: name.to_owned(),
            fields,
            arguments,
            meaning,
            answer,
            refused,
        }
    }

    fn meaning(&mut self, section: &Section<'t>, said: &Context<'_>) -> Meaning {
        let verbs =
            ["join", "leave", "call", "acknowledge"].map(|verb| section.has(verb).then_some(verb));
        let mut verbs = verbs.into_iter().flatten();
        let verb = verbs.next();
        if let (Some(one), Some(other)) = (verb, verbs.next()) {
            let what = format!("a message means one thing: `{one}` or `{other}`");
            self.file.say(&section.at, &section.key, &what);
        }
        let args = self.file.template(section, "args", said);
        if let Some(value) = self.file.value(section, "args")
            && (verb != Some("call") || !matches!(value.get_ref(), DeValue::Table(_)))
        {
            let what = "`args` is a table, and goes with `call`";
            self.file.say(&value.span(), &section.inside("args"), what);
        }
        match verb {
            Some("join") => Meaning::Join(Rooms(self.file.fills(section, "join", said))),
            Some("leave") => Meaning::Leave(Rooms(self.file.fills(section, "leave", said))),
            Some("call") => {
                let function = self
                    .file
                    .text(section, "call")
                    .map_or("", |(name, _)| name)
                    .to_owned();
                Meaning::Call { function, args }
            }
            Some("acknowledge") => {
                let place = self.file.fill(section, "acknowledge", said);
                Meaning::Acknowledge(place.unwrap_or_default())
            }
            _ => Meaning::Nothing,
        }
    }

    pub fn errors(&mut self, root: &Section<'t>) -> Errors {
        let section = self.file.section(root, "errors");
        let door = self.door.clone();
        let fields: &[&[Field]] = &[&door];
        let context = Context::new(places::REFUSED, fields);
        let frame = section
            .as_ref()
            .and_then(|section| self.file.template(section, "frame", &context));
        let frame = frame.unwrap_or_else(|| ours(ERROR, &context));
        let messages = section.map(|section| self.wordings(&section, "messages", CODES, &context));
        Errors {
            frame,
            messages: messages.unwrap_or_default(),
        }
    }

    pub fn closes(&mut self, root: &Section<'t>) -> HashMap<String, Close> {
        let mut closes = HashMap::new();
        let Some(table) = self.file.table(root, "close") else {
            return closes;
        };
        for (word, _) in table.entries() {
            self.known_word(&table, word, WORDS);
        }
        for (word, section) in self.file.sections(&table) {
            let code = self.file.number(&section, "code", 1000..5000);
            if let Some(code) = code
                && !(matches!(code, 1000..=1003 | 1007..=1014) || code >= 3000)
            {
                let what = "no endpoint may send this code: write 1000 to 1003, 1007 to 1014 or 3000 to 4999";
                self.file.say(&section.at, &section.inside("code"), what);
            }
            let context = Context::new(places::CLOSE, &[]);
            let reason = self.file.fill(&section, "reason", &context);
            closes.insert(word.to_owned(), Close { code, reason });
        }
        closes
    }
}

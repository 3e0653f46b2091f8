//! What the readers of all sections share: the file, the parameters of its doors, where paths stand.
//! Hands compiled templates to them. It must never forget a problem.

use super::fields::Field;
use super::file::{File, Section};
use super::keys::{known_here, quoted};
use super::path::Path;
use super::slot::{Context, Shape};
use super::template::Template;
use super::text::Text;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

/// Where a path was written, for those who collide with it.
#[derive(Clone, Debug)]
pub(super) struct PathUse {
    pub path: Path,
    /// All below it too.
    pub below: bool,
    /// `tickets.toml:3: websocket.path`
    pub said: String,
}

impl PathUse {
    /// Whether a request could mean both.
    pub fn collides(&self, other: &Self) -> bool {
        self.path.collides(&other.path)
            || (other.below && self.path.lies_below(&other.path))
            || (self.below && other.path.lies_below(&self.path))
    }
}

/// A file on its way to a dialect.
pub(super) struct DialectReader<'t> {
    pub file: File<'t>,
    /// The parameters of all doors.
    pub door: Vec<Field>,
    pub places: Vec<PathUse>,
}

impl<'t> DialectReader<'t> {
    pub fn template(
        &mut self,
        section: &Section<'t>,
        key: &str,
        named: &[(&'static str, Shape)],
    ) -> Option<Template> {
        let fields: &[&[Field]] = &[&self.door];
        let context = Context::new(named, fields);
        self.file.template(section, key, &context)
    }

    /// The path of a door as it is written there, noted for those that collide with it.
    pub fn path(
        &mut self,
        section: &Section<'t>,
        written: &str,
        at: &Range<usize>,
        below: bool,
    ) -> Option<Path> {
        let key = section.inside("path");
        match Path::read(written) {
            Ok(path) => {
                let said = self.file.located(at, &key, path.as_str());
                self.places.push(PathUse {
                    path: path.clone(),
                    below,
                    said,
                });
                Some(path)
            }
            Err(what) => {
                self.file.say(at, &key, &what);
                None
            }
        }
    }

    /// Texts by one of the words that there are.
    pub fn wordings(
        &mut self,
        section: &Section<'t>,
        key: &str,
        words: &[&str],
        context: &Context<'_>,
    ) -> HashMap<String, Text> {
        let mut texts = HashMap::new();
        let Some(table) = self.file.table(section, key) else {
            return texts;
        };
        for (word, _) in table.entries() {
            self.known_word(&table, word, words);
            let text = self.file.fill(&table, word.get_ref(), context);
            texts.insert(word.get_ref().to_string(), text.unwrap_or_default());
        }
        texts
    }

    pub fn known_word(
        &mut self,
        table: &Section<'t>,
        word: &Spanned<Cow<'t, str>>,
        words: &[&str],
    ) {
        if !words.contains(&word.get_ref().as_ref()) {
            let known = known_here(word.get_ref(), words, quoted);
            let what = format!("there is no such word{known}");
            self.file
                .say(&word.span(), &table.inside(word.get_ref()), &what);
        }
    }
}

/// A template of our own.
pub(super) fn ours(text: &'static str, context: &Context<'_>) -> Template {
    let value =
        DeValue::parse(text).unwrap_or_else(|_| Spanned::new(0..0, DeValue::String("".into())));
    Template::compile(&value, context, &mut Vec::new())
}

//! Values by name: what a transport knows, before what a client said.
//! Hands them to templates. It must never let a client's word stand for one of ours.

use super::fields::Fields;
use super::filling::{Filling, Source};

/// Values by name, before those of one or two sets of fields.
#[derive(Clone, Debug, Default)]
pub struct Values<'a> {
    named: Vec<(&'a str, Filling<'a>)>,
    fields: Vec<&'a Fields>,
}

impl<'a> Values<'a> {
    #[must_use]
    pub fn with(mut self, name: &'a str, filling: Filling<'a>) -> Self {
        self.named.push((name, filling));
        self
    }

    /// The same for what there may be none of.
    #[must_use]
    pub fn with_text(self, name: &'a str, text: Option<&'a str>) -> Self {
        match text {
            Some(text) => self.with(name, Filling::Text(text)),
            None => self,
        }
    }

    /// What was said first counts.
    #[must_use]
    pub fn with_fields(mut self, fields: &'a Fields) -> Self {
        self.fields.push(fields);
        self
    }
}

impl Source for Values<'_> {
    fn filling(&self, name: &str) -> Option<Filling<'_>> {
        let named = self.named.iter().find(|(known, _)| *known == name);
        let named = named.map(|(_, filling)| *filling);
        named.or_else(|| self.fields.iter().find_map(|fields| fields.filling(name)))
    }
}

//! Counters by word. Hands them over to `/metrics` and to whoever counts.
//! It must never be given words that strangers make up: none is forgotten.

use parking_lot::Mutex;
use std::fmt::Write;

/// Counters by word: few words, so a list that is searched.
pub(super) struct Words(Mutex<Vec<(String, u64)>>);

impl Words {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    pub(super) fn count(&self, word: &str) {
        let mut words = self.0.lock();
        match words.iter_mut().find(|(known, _)| known == word) {
            Some((_, count)) => *count += 1,
            None => words.push((word.to_owned(), 1)),
        }
    }

    pub(super) fn all(&self) -> Vec<(String, u64)> {
        self.0.lock().clone()
    }

    pub(super) fn print(&self, text: &mut String, name: &str, label: &str, help: &str) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for (word, count) in self.0.lock().iter() {
            let _ = writeln!(text, "{name}{{{label}=\"{word}\"}} {count}");
        }
    }
}

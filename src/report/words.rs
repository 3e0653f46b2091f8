//! Counters by word. Hands them over to `/metrics` and to whoever counts.
//! It must never be given words that strangers make up: none is forgotten.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counters by word: few words, so a list that is searched.
pub(super) struct Words(Mutex<Vec<(String, u64)>>);

impl Words {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn words(&self) -> MutexGuard<'_, Vec<(String, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, word: &str) {
        let mut words = self.words();
        match words.iter_mut().find(|(known, _)| known == word) {
            Some((_, count)) => *count += 1,
            None => words.push((word.to_owned(), 1)),
        }
    }

    pub(super) fn all(&self) -> Vec<(String, u64)> {
        self.words().clone()
    }

    pub(super) fn print(&self, text: &mut String, name: &str, label: &str, help: &str) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for (word, count) in self.words().iter() {
            let _ = writeln!(text, "{name}{{{label}=\"{word}\"}} {count}");
        }
    }
}

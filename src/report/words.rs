//! Counters by word. Hands them over to `/metrics` and to whoever counts.
//! It must never be given words that strangers make up: none is forgotten.

use parking_lot::Mutex;

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

    /// All, and 0 of these that never were: a counter that begins with its first value has not
    /// increased by it, and no alert hears of it.
    pub(super) fn with_zeros(&self, known: &[&str]) -> Vec<(String, u64)> {
        let mut words = self.all();
        for word in known {
            if !words.iter().any(|(counted, _)| counted == word) {
                words.push(((*word).to_owned(), 0));
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_was_is_zero_and_not_absent() {
        let words = Words::new();
        for word in ["lagged", "new", "lagged"] {
            words.count(word);
        }
        let all = words.with_zeros(&["overloaded", "lagged", "overloaded"]);
        let all: Vec<_> = all.iter().map(|(word, count)| (&**word, *count)).collect();
        assert_eq!(all, [("lagged", 2), ("new", 1), ("overloaded", 0)]);
    }
}

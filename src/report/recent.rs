//! The last refusals and closes, for the console: what an operator asks first who was woken.
//! Hands copies over. It must never keep more than it was told to, and nothing at all where nobody
//! can look: it is empty until `keep` says otherwise.

use crate::clock::now_ms;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Somebody was turned away, or was let in and had to go.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Counts all turns.
    pub number: u64,
    /// Unix milliseconds.
    pub at: u64,
    pub what: What,
    pub transport: &'static str,
    /// As in docs/protocol.md.
    pub word: String,
    pub detail: String,
    pub address: String,
    /// Unknown for most who were refused.
    pub user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// At the door.
    Refused,
    /// Something that was asked for by somebody who is in, and stays.
    FrameRefused,
    Closed,
}

impl What {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused | Self::FrameRefused => "refused",
            Self::Closed => "closed",
        }
    }
}

#[derive(Default)]
struct Kept {
    most: usize,
    number: u64,
    turns: VecDeque<Turn>,
}

pub(super) struct Recent(Mutex<Option<Kept>>);

impl Recent {
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Keeps so many from now on.
    pub fn keep(&self, most: usize) {
        self.0.lock().get_or_insert_default().most = most;
    }

    /// Notes a turn, made of its number and time.
    pub fn note(&self, turn: impl FnOnce(u64, u64) -> Turn) {
        let mut kept = self.0.lock();
        let Some(kept) = kept.as_mut() else { return };
        kept.number += 1;
        kept.turns.push_back(turn(kept.number, now_ms()));
        while kept.turns.len() > kept.most {
            kept.turns.pop_front();
        }
    }

    /// Those kept, the youngest first.
    pub fn all(&self) -> Vec<Turn> {
        let kept = self.0.lock();
        let turns = kept.iter().flat_map(|kept| kept.turns.iter().rev());
        turns.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(number: u64, at: u64, word: &str) -> Turn {
        Turn {
            number,
            at,
            what: What::Refused,
            transport: "sse",
            word: word.into(),
            detail: String::new(),
            address: String::new(),
            user: None,
        }
    }

    #[test]
    fn nothing_is_kept_unasked_and_then_the_youngest() {
        let recent = Recent::new();
        recent.note(|_, _| unreachable!("nobody can look"));
        recent.keep(2);
        for word in ["a", "b", "c"] {
            recent.note(|number, at| turn(number, at, word));
        }
        let words: Vec<_> = recent
            .all()
            .into_iter()
            .map(|turn| (turn.word, turn.number))
            .collect();
        assert_eq!(words, [("c".to_owned(), 3), ("b".to_owned(), 2)]);
    }
}

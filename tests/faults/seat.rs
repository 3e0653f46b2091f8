//! What a subscriber and those who strike it know of each other: how it is let in, how it is doing,
//! and what it was told. Hands orders over to the subscriber, and facts to the strike.
//! It must never say that something was heard before the subscriber has taken it down.

use parking_lot::{Mutex, MutexGuard};
use rowcast::clock::unix_now;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// Seconds that a token lasts, if nobody wants it to expire.
const LONG: u64 = 3600;

/// A room that may be taken from the subscriber just now.
#[derive(Clone, Debug)]
pub struct Withdrawal {
    pub room: String,
    /// All that was settled before this had been heard when the rule was withdrawn.
    pub from: Instant,
}

#[derive(Default)]
pub struct Known {
    /// How often connections ended in which way.
    pub ends: BTreeMap<String, u32>,
    /// Where it would go on, while it stays away.
    pub away_with: Option<String>,
    pub withdrawal: Option<Withdrawal>,
    /// Events that it has heard, or was shown.
    events: HashSet<String>,
    /// What must not have been, in words.
    pub wrong: Vec<String>,
}

pub struct Seat {
    pub heard: AtomicU64,
    /// Answers that say that it is up to date.
    pub beats: AtomicU64,
    pub gaps: AtomicU64,
    /// Tokens that expired on connections that had heard events.
    pub expired: AtomicU64,
    /// How long its tokens last from when it connects, and since when they are issued.
    lifetime: AtomicU64,
    pub issued: AtomicU64,
    /// Whether its user may be found revoked just now.
    pub revocable: AtomicBool,
    /// Odd while its user is revoked for certain, and nothing it has may let it in.
    pub bar: AtomicU64,
    /// It is to stay away.
    pub away: AtomicBool,
    /// It was let in and has not left; it was told that a room is not its own any more.
    pub inside: AtomicBool,
    pub lacking: AtomicBool,
    /// It was told so since the strike began.
    pub told: AtomicBool,
    /// It is to leave, and to come back if it is not to stay away.
    pub leave: watch::Sender<u64>,
    known: Mutex<Known>,
}

impl Default for Seat {
    fn default() -> Self {
        Self {
            heard: AtomicU64::default(),
            beats: AtomicU64::default(),
            gaps: AtomicU64::default(),
            expired: AtomicU64::default(),
            lifetime: AtomicU64::new(LONG),
            issued: AtomicU64::new(unix_now() - 5),
            revocable: AtomicBool::default(),
            bar: AtomicU64::default(),
            away: AtomicBool::default(),
            inside: AtomicBool::default(),
            lacking: AtomicBool::default(),
            told: AtomicBool::default(),
            leave: watch::Sender::new(0),
            known: Mutex::default(),
        }
    }
}

impl Seat {
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    pub fn is(&self, fact: &AtomicBool) -> bool {
        fact.load(Ordering::SeqCst)
    }

    /// Makes it leave as if its page were loaded anew.
    pub fn leaves(&self) {
        self.leave.send_modify(|count| *count += 1);
    }

    /// From the next connection on its tokens last so long, or as long as ever.
    pub fn tokens_last(&self, seconds: Option<u64>) {
        let seconds = seconds.unwrap_or(LONG);
        self.lifetime.store(seconds, Ordering::SeqCst);
    }

    /// When a token ends that is issued now, and whether that is before long.
    pub fn token_ends(&self) -> (u64, bool) {
        let lifetime = self.lifetime.load(Ordering::SeqCst);
        (unix_now() + lifetime, lifetime < LONG)
    }

    pub fn ends(&self, how: &str) -> u32 {
        self.known().ends.get(how).copied().unwrap_or_default()
    }

    /// Whether it has heard this event, or read data that shows it.
    pub fn has(&self, event: &str) -> bool {
        self.known().events.contains(event)
    }

    /// Whether it has an entry of a higher number.
    pub fn has_entry_behind(&self, number: i64) -> bool {
        let known = self.known();
        let entries = known.events.iter();
        let mut numbers = entries.filter_map(|event| event.strip_prefix("entry ")?.parse().ok());
        numbers.any(|other: i64| other > number)
    }

    pub fn hears(&self, event: &str) {
        self.known().events.insert(event.to_owned());
    }

    pub fn is_shown<'a>(&self, events: impl Iterator<Item = &'a String>) {
        self.known().events.extend(events.cloned());
    }
}

//! What arrived: each event of each connection, once, twice or not at all, and how late.
//! Hands over the counts. It must never take the server's word for anything.

use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use std::time::{SystemTime, UNIX_EPOCH};

use super::wire::decimal;

/// Latencies are counted in microseconds up to ten minutes, exact to one in a hundred.
const LONGEST: u64 = 600_000_000;
const DIGITS: u8 = 2;

/// By how many parts of a window latencies are told, to see whether they grow.
pub const PARTS: usize = 10;

/// The events that count: `n` from `first` on, one room after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    pub first: u64,
    pub count: u64,
    pub rooms: u64,
}

impl Window {
    /// How many of its events a room gets.
    pub fn of_room(&self, room: u64) -> u64 {
        if room >= self.rooms {
            return 0;
        }
        let upto = |end: u64| (end + self.rooms - 1 - room) / self.rooms;
        upto(self.first + self.count) - upto(self.first)
    }
}

/// What came of a window.
#[derive(Debug)]
pub struct Tally {
    window: Window,
    /// A bit for each event of each connection.
    seen: Vec<u64>,
    words: usize,
    pub delivered: u64,
    pub duplicates: u64,
    /// Events of rooms that the connection is not in.
    pub strays: u64,
    pub latency: Histogram<u64>,
    pub parts: Vec<Histogram<u64>>,
    /// Unix microseconds of the last delivery.
    pub last: i64,
}

impl Tally {
    pub fn new(window: Window, connections: usize) -> Self {
        let events = window.count.div_ceil(window.rooms.max(1)) + 1;
        let words = usize::try_from(events.div_ceil(64)).unwrap_or_default();
        Self {
            window,
            seen: vec![0; words * connections],
            words,
            delivered: 0,
            duplicates: 0,
            strays: 0,
            latency: latencies(),
            parts: (0..PARTS).map(|_| latencies()).collect(),
            last: 0,
        }
    }

    /// An event has arrived that was written at `written`, both in Unix microseconds.
    pub fn count(&mut self, connection: usize, room: u64, n: u64, written: i64, now: i64) {
        let window = self.window;
        if n < window.first || n >= window.first + window.count {
            return;
        }
        if n % window.rooms != room {
            self.strays += 1;
            return;
        }
        let place = n - window.first;
        let index = usize::try_from(place / window.rooms).unwrap_or_default();
        let word = &mut self.seen[connection * self.words + index / 64];
        let bit = 1 << (index % 64);
        if *word & bit != 0 {
            self.duplicates += 1;
            return;
        }
        *word |= bit;
        self.delivered += 1;
        self.last = now;
        let late = u64::try_from(now - written).unwrap_or_default().max(1);
        self.latency.saturating_record(late);
        let part = place * PARTS as u64 / window.count;
        self.parts[usize::try_from(part).unwrap_or_default()].saturating_record(late);
    }
}

pub fn latencies() -> Histogram<u64> {
    // The bounds are constants that are right.
    Histogram::new_with_max(LONGEST, DIGITS).unwrap_or_else(|_| unreachable!("bounds"))
}

/// Finds an event's number and time in whatever is around its payload.
#[derive(Debug)]
pub struct Reading {
    n: Finder<'static>,
    t: Finder<'static>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            n: Finder::new(b"\"n\":"),
            t: Finder::new(b"\"t\":"),
        }
    }
}

impl Reading {
    /// The number, and the time in Unix microseconds; none: this is no event.
    pub fn event(&self, text: &[u8]) -> Option<(u64, i64)> {
        let rest = &text[self.n.find(text)? + 4..];
        let (n, digits) = decimal(rest);
        let rest = &rest[digits..];
        let rest = &rest[self.t.find(rest)? + 4..];
        let (seconds, digits) = decimal(rest);
        let fraction = rest.get(digits + 1..).unwrap_or_default();
        let (micros, digits) = decimal(&fraction[..fraction.len().min(6)]);
        // Node leaves out the zeros at the end.
        let micros = micros.unwrap_or_default() * 10_u64.pow(6 - digits.min(6) as u32);
        Some((n?, i64::try_from(seconds? * 1_000_000 + micros).ok()?))
    }
}

/// Unix microseconds by the clock that the database reads, too.
pub fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

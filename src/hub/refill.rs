//! The ring, made to reach back further by what was read from the log between an older place and where
//! it began: whoever comes back to a service that was started anew comes from there.
//! Hands over what is to be read, and takes what was. It must never take what does not end exactly
//! where the ring begins.

use super::segment::weight;
use super::{Hub, Replay, Seam};
use crate::bookmark::{Bookmark, Snapshot, Standpoint};
use crate::event::{Event, States};
use std::sync::Arc;
use std::time::Instant;

/// What is to be read from the log: all that is not visible in one place, and is in a later one.
#[derive(Clone, Debug)]
pub struct Refill {
    pub from: Snapshot,
    /// Where the ring begins.
    pub to: Arc<Standpoint>,
    /// The rooms to read for; all rooms, if there are none.
    pub rooms: Option<Vec<Arc<str>>>,
    /// The most events that may be read.
    pub events: usize,
    /// The most bytes that may be read.
    pub bytes: usize,
}

/// What was read: events as of a batch.
#[derive(Debug, Default)]
pub struct Refilled {
    pub events: Vec<Arc<Event>>,
    pub states: States,
    pub bytes: usize,
}

impl Refilled {
    #[must_use]
    pub fn new(events: Vec<Arc<Event>>, states: States) -> Self {
        let bytes = weight(&events, &states);
        Self {
            events,
            states,
            bytes,
        }
    }
}

impl Hub {
    /// Looks again for what a seam lacks, which is to be read from the log: the ring may reach back
    /// further by now.
    #[must_use]
    pub fn look_again(&self, seam: &Seam, since: Bookmark) -> Replay {
        let (here, limits) = (&seam.standpoint, &self.0.limits);
        let replay = self.0.table.lock().ring.replay(since, here, limits);
        replay.up_to(here)
    }

    /// What has to be read for the ring to reach back to all of these places of a history; nothing if
    /// it can't, or does.
    #[must_use]
    pub fn wants(&self, history: &str, places: &[Snapshot]) -> Option<Refill> {
        let table = self.0.table.lock();
        table.ring.wants(history, places, &self.0.limits)
    }

    /// Takes what was read; `now` is the clock by which it grows old.
    pub fn refill(&self, refill: Refill, found: Refilled, now: Instant) {
        let mut table = self.0.table.lock();
        table.ring.refill(refill, found, now, &self.0.limits);
    }
}

#[cfg(test)]
mod tests;

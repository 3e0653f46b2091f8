//! The recent batches, for those who come back soon: what they lack, without a query. Who comes from
//! before them may have it reach back further, for all who follow.
//! Hands events over to the hub, shared with everybody who got them live.
//! It must never serve a bookmark that it does not reach back to, nor move one backwards.

use super::refill::{Refill, Refilled};
use super::{Limits, Replay};
use crate::bookmark::{Bookmark, Snapshot, Spelling, Standpoint};
use crate::event::{Batch, Event, GapReason, Place};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Ring {
    batches: VecDeque<Kept>,
    /// Where the oldest batch begins; nothing before the first look.
    from: Option<Arc<Standpoint>>,
    bytes: usize,
    moved: Moved,
}

#[derive(Debug)]
struct Kept {
    since: Instant,
    bytes: usize,
    batch: Batch,
    /// Of state events by their ids: equal ones say the same, and one of them will do.
    states: HashMap<u64, i64>,
}

/// The bookmarks that events were last given for somebody else: who comes back from the same place
/// shares them, and the frames that they were encoded to.
#[derive(Debug, Default)]
struct Moved {
    events: HashMap<u64, Arc<Event>>,
    bytes: usize,
}

impl Ring {
    /// Forgets everything, and begins anew at a standpoint.
    pub fn begin(&mut self, standpoint: &Arc<Standpoint>) {
        *self = Self {
            from: Some(Arc::clone(standpoint)),
            ..Self::default()
        };
    }

    /// Bytes and batches kept.
    pub fn sizes(&self) -> (usize, usize) {
        (self.bytes, self.batches.len())
    }

    /// Keeps a batch, and lets go of what is too old or too much.
    pub fn keep(&mut self, batch: Batch, now: Instant, limits: &Limits) {
        if !batch.events.is_empty() {
            let bytes = batch.events.iter().map(|event| event.weight()).sum();
            self.bytes += bytes;
            self.batches.push_back(Kept {
                since: now,
                bytes,
                batch,
                states: HashMap::new(),
            });
        }
        while let Some(oldest) = self.batches.front() {
            if self.bytes <= limits.ring_bytes && now - oldest.since <= limits.ring_age {
                break;
            }
            self.bytes -= oldest.bytes;
            if let Some(oldest) = self.batches.pop_front() {
                self.from = Some(oldest.batch.to);
                self.moved = Moved::default();
            }
        }
    }

    /// What has to be read to reach back to all of these places; nothing if they are of another
    /// history, or none of it is needed.
    pub fn refill(&self, history: &str, places: &[Snapshot], limits: &Limits) -> Option<Refill> {
        let to = self
            .from
            .as_ref()
            .filter(|from| *from.history == *history)?;
        let from = places
            .iter()
            .fold(to.place.clone(), |from, place| from.intersection(place));
        (!to.place.is_subset_of(&from)).then(|| Refill {
            from,
            to: Arc::clone(to),
            events: limits.refill_events,
            bytes: limits.ring_bytes.saturating_sub(self.bytes),
        })
    }

    /// Takes what was read, if it still ends where the ring begins, and fits.
    pub fn take(&mut self, refill: Refill, found: Refilled, now: Instant, limits: &Limits) {
        let is_next = self.from.as_ref();
        let is_next = is_next.is_some_and(|from| Arc::ptr_eq(from, &refill.to));
        if !is_next || self.bytes + found.bytes > limits.ring_bytes {
            return;
        }
        let (history, xmax) = (Arc::clone(&refill.to.history), refill.from.xmax());
        let from = Standpoint::new(history, refill.from, xmax.saturating_sub(1));
        self.from = Some(Arc::new(from));
        if found.events.is_empty() {
            return;
        }
        self.bytes += found.bytes;
        let batch = Batch {
            to: refill.to,
            events: found.events,
        };
        // What is younger waits for it to grow old: as long as a batch is kept, and within the bytes.
        self.batches.push_front(Kept {
            since: now,
            bytes: found.bytes,
            batch,
            states: found.states,
        });
    }

    /// What lies between a bookmark and a standpoint in these rooms: from here, or where it has to
    /// be read instead.
    pub fn replay(
        &mut self,
        since: Bookmark,
        rooms: &[Arc<str>],
        standpoint: &Standpoint,
        limits: &Limits,
    ) -> Replay {
        if since.history != standpoint.history {
            return Replay::Gap(GapReason::History);
        }
        if !since.newest().is_subset_of(&standpoint.snapshot) {
            return Replay::Gap(GapReason::Future);
        }
        let reaches = |from: &Arc<Standpoint>| {
            from.history == since.history && from.place.is_subset_of(&since.base)
        };
        let end = self
            .end(standpoint)
            .filter(|_| self.from.as_ref().is_some_and(reaches));
        let Some(end) = end else {
            return Replay::Log(since);
        };
        let found = self.collect(&since, rooms, standpoint, end);
        let bytes: usize = found.iter().map(|(event, _)| event.weight()).sum();
        if found.len() > limits.replay_events || bytes > limits.replay_bytes {
            return Replay::Gap(GapReason::Limit);
        }
        let spelled = found.into_iter().map(|(event, text)| match text {
            Some(text) => self.moved.spelled(&event, text, limits.replay_bytes),
            None => event,
        });
        Replay::Ring(spelled.collect())
    }

    /// How many of the batches a standpoint has seen; nothing if it lies within one.
    fn end(&self, standpoint: &Standpoint) -> Option<usize> {
        let snapshot = &standpoint.snapshot;
        let seen = |kept: &Kept| kept.batch.to.snapshot.is_subset_of(snapshot);
        let end = self.batches.partition_point(seen);
        let mut later = self
            .batches
            .range(end..)
            .flat_map(|kept| &kept.batch.events);
        let lies_within = later.any(|event| {
            let place = event.place.as_ref();
            place.is_some_and(|place| snapshot.sees(place.xid))
        });
        (!lies_within).then_some(end)
    }

    /// What a bookmark lacks that the ring reaches back to, of so many batches, each with the bookmark
    /// that it is to have instead of its own. A bookmark that was taken between two of our looks, or
    /// given out by another node, gets bookmarks of its own up to our next standpoint: ours would
    /// forget part of what it covers, and repeat that on the next resume.
    fn collect(
        &self,
        since: &Bookmark,
        rooms: &[Arc<str>],
        standpoint: &Standpoint,
        end: usize,
    ) -> Vec<(Arc<Event>, Option<String>)> {
        let newest = since.newest();
        // Batches grow: what one is within, or reaches, all later ones are beyond, or reach.
        let had = |kept: &Kept| kept.batch.to.place.is_subset_of(&since.base);
        let had = self.batches.partition_point(had);
        let reaches = |kept: &Kept| newest.is_subset_of(&kept.batch.to.snapshot);
        let reached = self.batches.partition_point(|kept| !reaches(kept));
        let (behind, to) = match self.batches.get(reached) {
            Some(kept) if reached < end => (reached + 1, &*kept.batch.to),
            _ => (end, standpoint),
        };
        let had = had.min(behind);
        let mut found = Vec::new();
        if let Some((batch, last)) = &since.batch {
            let rest = self.within(had..behind, rooms, |place| {
                !since.base.sees(place.xid) && batch.sees(place.xid) && place.id > *last
            });
            let spelling = Spelling::of(&since.history, &since.base, Some(batch));
            found.extend(respelled(rest, &spelling));
        }
        let later = self.within(had..behind, rooms, |place| !newest.sees(place.xid));
        let spelling = Spelling::of(&since.history, newest, Some(&to.place));
        found.extend(respelled(later, &spelling));
        let own = self.within(behind..end, rooms, |_| true);
        found.extend(own.into_iter().map(|(_, event)| (Arc::clone(event), None)));
        found
    }

    /// The events of some batches for these rooms at places that are wanted; of equal states, the last.
    fn within(
        &self,
        range: Range<usize>,
        rooms: &[Arc<str>],
        is_wanted: impl Fn(&Place) -> bool,
    ) -> Vec<(&Place, &Arc<Event>)> {
        let mut found = Vec::new();
        for kept in self.batches.range(range) {
            let first = found.len();
            let events = kept.batch.events.iter();
            found.extend(events.filter_map(|event| {
                let here = event.rooms.iter().any(|room| rooms.contains(room));
                let place = event.place.as_ref().filter(|_| here)?;
                is_wanted(place).then_some((place, event))
            }));
            if !kept.states.is_empty() {
                keep_last_states(&mut found, first, &kept.states);
            }
        }
        found
    }
}

impl Moved {
    /// The event with this bookmark: the one that somebody was given before, if it is the same.
    fn spelled(&mut self, event: &Arc<Event>, bookmark: String, limit: usize) -> Arc<Event> {
        let Some(place) = &event.place else {
            return Arc::clone(event);
        };
        if *bookmark == *place.bookmark {
            return Arc::clone(event);
        }
        if let Some(known) = self.events.get(&place.id)
            && known.bookmark().is_some_and(|known| **known == *bookmark)
        {
            return Arc::clone(known);
        }
        let moved = Arc::new(event.moved(bookmark));
        if self.bytes > limit {
            *self = Self::default();
        }
        self.bytes += moved.weight();
        if let Some(before) = self.events.insert(place.id, Arc::clone(&moved)) {
            self.bytes -= before.weight();
        }
        moved
    }
}

/// Of what was found from `first` on, in order of id, leaves out each state that an equal one follows.
fn keep_last_states(
    found: &mut Vec<(&Place, &Arc<Event>)>,
    first: usize,
    states: &HashMap<u64, i64>,
) {
    let mut later = HashSet::new();
    let from_the_last = found.drain(first..).rev();
    let mut last: Vec<_> = from_the_last
        .filter(|(place, _)| {
            states
                .get(&place.id)
                .is_none_or(|state| later.insert(*state))
        })
        .collect();
    last.reverse();
    found.append(&mut last);
}

/// Events in order of id, with the bookmarks of one batch.
fn respelled(
    mut events: Vec<(&Place, &Arc<Event>)>,
    spelling: &Spelling,
) -> impl Iterator<Item = (Arc<Event>, Option<String>)> {
    events.sort_unstable_by_key(|(place, _)| place.id);
    let last = events.len().saturating_sub(1);
    let spelled = events
        .into_iter()
        .enumerate()
        .map(move |(index, (place, event))| {
            let text = if index == last {
                spelling.last_event(place.id)
            } else {
                spelling.event(place.id)
            };
            (Arc::clone(event), Some(text))
        });
    spelled.collect::<Vec<_>>().into_iter()
}

//! The recent batches, for those who come back soon: what they lack, without a query.
//! Hands events over to the hub, shared with everybody who got them live.
//! It must never serve a bookmark that it does not reach back to, nor move one backwards.

use super::{Limits, Replay};
use crate::bookmark::{Bookmark, Snapshot, Spelling, Standpoint};
use crate::event::{Batch, Event, Place};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Ring {
    batches: VecDeque<Kept>,
    /// Where the oldest batch begins; nothing before the first look.
    from: Option<Snapshot>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    since: Instant,
    bytes: usize,
    batch: Batch,
}

impl Ring {
    /// Forgets everything, and begins anew at a standpoint.
    pub fn begin(&mut self, standpoint: &Standpoint) {
        *self = Self {
            from: Some(standpoint.place.clone()),
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
            });
        }
        while let Some(oldest) = self.batches.front() {
            if self.bytes <= limits.ring_bytes && now - oldest.since <= limits.ring_age {
                break;
            }
            self.bytes -= oldest.bytes;
            if let Some(oldest) = self.batches.pop_front() {
                self.from = Some(oldest.batch.to.place.clone());
            }
        }
    }

    /// What lies between a bookmark and a standpoint in these rooms: from here, or where it has to
    /// be read instead.
    pub fn replay(
        &self,
        since: Bookmark,
        rooms: &[Arc<str>],
        standpoint: &Standpoint,
        limits: &Limits,
    ) -> Replay {
        if since.history != standpoint.history {
            return Replay::Gap("history");
        }
        if !since.newest().is_subset_of(&standpoint.snapshot) {
            return Replay::Gap("future");
        }
        if !self
            .from
            .as_ref()
            .is_some_and(|from| from.is_subset_of(&since.base))
        {
            return Replay::Log(since);
        }
        let found = self.collect(&since, rooms, standpoint);
        let bytes: usize = found.iter().map(|event| event.weight()).sum();
        if found.len() > limits.replay_events || bytes > limits.replay_bytes {
            return Replay::Gap("limit");
        }
        Replay::Ring(found)
    }

    /// What a bookmark lacks that the ring reaches back to. A bookmark that was taken between two
    /// of our looks, or given out by another node, gets bookmarks of its own up to our next
    /// standpoint: ours would forget part of what it covers, and repeat that on the next resume.
    fn collect(
        &self,
        since: &Bookmark,
        rooms: &[Arc<str>],
        standpoint: &Standpoint,
    ) -> Vec<Arc<Event>> {
        let newest = since.newest();
        // Batches grow: what one is within, or reaches, all later ones are beyond, or reach.
        let had = |kept: &Kept| kept.batch.to.place.is_subset_of(&since.base);
        let had = self.batches.partition_point(had);
        let reaches = |kept: &Kept| newest.is_subset_of(&kept.batch.to.snapshot);
        let reached = self.batches.partition_point(|kept| !reaches(kept));
        let (behind, to) = match self.batches.get(reached) {
            Some(kept) => (reached + 1, &*kept.batch.to),
            None => (self.batches.len(), standpoint),
        };
        let within = |range: std::ops::Range<usize>| {
            let batches = self
                .batches
                .range(range)
                .flat_map(|kept| &kept.batch.events);
            batches.filter_map(|event| {
                let here = event.rooms.iter().any(|room| rooms.contains(room));
                event
                    .place
                    .as_ref()
                    .filter(|_| here)
                    .map(|place| (place, event))
            })
        };
        let mut found = Vec::new();
        if let Some((batch, last)) = &since.batch {
            let rest = within(had..behind).filter(|(place, _)| {
                !since.base.sees(place.xid) && batch.sees(place.xid) && place.id > *last
            });
            let spelling = Spelling::of(&since.history, &since.base, Some(batch));
            found.extend(respelled(rest.collect(), &spelling));
        }
        let later = within(had..behind).filter(|(place, _)| !newest.sees(place.xid));
        let spelling = Spelling::of(&since.history, newest, Some(&to.place));
        found.extend(respelled(later.collect(), &spelling));
        found.extend(within(behind..self.batches.len()).map(|(_, event)| Arc::clone(event)));
        found
    }
}

/// Events in order of id, with the bookmarks of one batch; those that have them already are shared.
fn respelled(mut events: Vec<(&Place, &Arc<Event>)>, spelling: &Spelling) -> Vec<Arc<Event>> {
    events.sort_unstable_by_key(|(place, _)| place.id);
    let last = events.len().saturating_sub(1);
    let spell = |(index, (place, event)): (usize, (&Place, &Arc<Event>))| {
        let is_last = index == last;
        let text = if is_last {
            spelling.last_event(place.id)
        } else {
            spelling.event(place.id)
        };
        if *text == *place.bookmark {
            Arc::clone(event)
        } else {
            Arc::new(event.moved(text))
        }
    };
    events.into_iter().enumerate().map(spell).collect()
}

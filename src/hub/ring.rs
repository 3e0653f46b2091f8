//! The recent batches, for those who come back soon: what they lack, without a query. Who comes from
//! before them may have it reach back further, for all who follow.
//! Hands excerpts over to the hub, which cost the same however much was missed.
//! It must never serve a bookmark that it does not reach back to.

use super::excerpt::{Excerpt, Moved};
use super::refill::{Refill, Refilled};
use super::segment::{KeptBatch, Segment};
use super::{Limits, Replay};
use crate::bookmark::{Bookmark, Snapshot, Standpoint};
use crate::event::{Batch, GapReason};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    segments: VecDeque<Arc<Segment>>,
    /// So many batches of the first segment were let go of.
    gone: usize,
    /// Where the oldest batch begins; nothing before the first look.
    from: Option<Arc<Standpoint>>,
    bytes: usize,
    /// Of those excerpts that were made since a batch was last let go of.
    moved: Arc<Mutex<Moved>>,
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
        let batches: usize = self.segments.iter().map(|one| one.batches.len()).sum();
        (self.bytes, batches - self.gone)
    }

    /// Keeps a batch, and lets go of what is too old or too much.
    pub fn keep(&mut self, batch: Batch, now: Instant, limits: &Limits) {
        if !batch.events.is_empty() {
            let kept = Arc::new(KeptBatch::new(now, batch));
            self.bytes += kept.bytes;
            match self.segments.back_mut() {
                // Whoever holds it keeps it as it is.
                Some(last) if !last.is_full() => Arc::make_mut(last).push(kept),
                _ => self
                    .segments
                    .push_back(Arc::new(Segment::from_iter([kept]))),
            }
        }
        while let Some(first) = self.segments.front() {
            let oldest = &first.batches[self.gone];
            if self.bytes <= limits.ring_bytes && now - oldest.since <= limits.ring_age {
                break;
            }
            self.bytes -= oldest.bytes;
            self.from = Some(Arc::clone(&oldest.batch.to));
            self.moved = Arc::default();
            self.gone += 1;
            if self.gone == first.batches.len() {
                self.segments.pop_front();
                self.gone = 0;
            }
        }
    }

    /// What has to be read to reach back to all of these places; nothing if they are of another
    /// history, or none of it is needed.
    pub fn wants(&self, history: &str, places: &[Snapshot], limits: &Limits) -> Option<Refill> {
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
            rooms: None,
            events: limits.refill_events,
            bytes: limits.ring_bytes.saturating_sub(self.bytes),
        })
    }

    /// Takes what was read, if it still ends where the ring begins, and fits.
    pub fn refill(&mut self, refill: Refill, found: Refilled, now: Instant, limits: &Limits) {
        let is_next = self.from.as_ref();
        let is_next = is_next.is_some_and(|from| Arc::ptr_eq(from, &refill.to));
        if is_next && self.bytes + found.bytes <= limits.ring_bytes {
            self.reach_back(refill, found, now);
        }
    }

    /// Puts what was read before its beginning, which it has to end at.
    pub fn reach_back(&mut self, refill: Refill, found: Refilled, now: Instant) {
        // What was let go of is in what was read.
        if self.gone > 0
            && let Some(first) = self.segments.front_mut()
        {
            let rest = first.batches.iter().skip(std::mem::take(&mut self.gone));
            *first = Arc::new(rest.cloned().collect());
        }
        let (history, xmax) = (Arc::clone(&refill.to.history), refill.from.xmax());
        let from = Standpoint::new(history, refill.from, xmax.saturating_sub(1));
        self.from = Some(Arc::new(from));
        if found.events.is_empty() {
            return;
        }
        let batch = Batch {
            to: refill.to,
            events: found.events,
            states: found.states,
        };
        // What is younger waits for it to grow old: as long as a batch is kept, and within the bytes.
        let kept = KeptBatch::new(now, batch);
        self.bytes += kept.bytes;
        let segment = Segment::from_iter([Arc::new(kept)]);
        self.segments.push_front(Arc::new(segment));
    }

    /// What a bookmark lacks up to a standpoint: in an excerpt from here, or where it has to be read
    /// instead.
    pub fn replay(&self, since: Bookmark, standpoint: &Standpoint, limits: &Limits) -> Replay {
        if since.history != standpoint.history {
            return Replay::Gap(GapReason::History);
        }
        if !since.newest().is_subset_of(&standpoint.snapshot) {
            return Replay::Gap(GapReason::Future);
        }
        let reaches = |from: &Arc<Standpoint>| {
            from.history == since.history && from.place.is_subset_of(&since.base)
        };
        if !self.from.as_ref().is_some_and(reaches) {
            return Replay::Log(since);
        }
        let had = |segment: &Arc<Segment>| {
            let last = segment.batches.last();
            last.is_some_and(|last| last.batch.to.place.is_subset_of(&since.base))
        };
        let first = self.segments.partition_point(had);
        Replay::Ring(Excerpt {
            since,
            segments: self.segments.range(first..).cloned().collect(),
            moved: Arc::clone(&self.moved),
            most: (limits.replay_events, limits.replay_bytes),
        })
    }
}

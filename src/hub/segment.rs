//! Some of the recent batches, one behind the other: what the ring is made of, and shares with
//! replays. A full one knows which of its events may be for a room.
//! Hands events over to excerpts. It must never change for whoever holds it: the ring goes on in a
//! copy.

use crate::event::{Batch, Entry, Event, State, States};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Events from which a segment takes no more batches: so many that a ring is a hundred or two of
/// segments, so few that a copy of one, or a look at all of it, is nothing. In tests a few events
/// make several.
const FULL_EVENTS: usize = if cfg!(test) { 4 } else { 1024 };

/// The same in bytes: about as much lies unused in memory behind what the ring has let go of.
const FULL_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct KeptBatch {
    pub since: Instant,
    pub bytes: usize,
    pub batch: Batch,
}

/// Where an event lies in a segment: the number of its batch, and its own in that.
pub(super) type Position = (usize, usize);

/// Each room of each event by its hash, ascending, and where the event lies.
type Index = Box<[(u64, Position)]>;

#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    pub batches: Vec<Arc<KeptBatch>>,
    events: usize,
    bytes: usize,
    /// Made by the first who looks for a room, once the segment is full.
    index: OnceLock<Index>,
}

/// Rooms that are looked for, with their hashes.
#[derive(Debug)]
pub(super) struct Wanted<'a>(HashMap<&'a str, u64>);

/// What events weigh in the ring, in bytes: their places in the index are part of it, and what else
/// is known of states.
pub(super) fn weight(events: &[Arc<Event>], states: &States) -> usize {
    let event =
        |event: &Arc<Event>| event.weight() + event.rooms.len() * size_of::<(u64, Position)>();
    let state = |state: &State| size_of::<(u64, State)>() + size_of_val(&state.equals[..]);
    events.iter().map(event).sum::<usize>() + states.values().map(state).sum::<usize>()
}

fn hash(room: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    hasher.finish()
}

impl KeptBatch {
    pub fn new(since: Instant, batch: Batch) -> Self {
        let bytes = weight(&batch.events, &batch.states);
        Self {
            since,
            bytes,
            batch,
        }
    }

    /// All rows of the log that it holds: its events, and what these stand for.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let events = self.batch.events.iter();
        let own = events.filter_map(|event| Some(event.place.as_ref()?.entry()));
        let equals = self.batch.states.values().flat_map(|state| &state.equals);
        own.chain(equals.copied())
    }
}

impl<'a> Wanted<'a> {
    pub fn of(rooms: &'a [Arc<str>]) -> Self {
        Self(rooms.iter().map(|room| (&**room, hash(room))).collect())
    }

    pub fn concerns(&self, event: &Event) -> bool {
        event.rooms.iter().any(|room| self.0.contains_key(&**room))
    }
}

impl FromIterator<Arc<KeptBatch>> for Segment {
    fn from_iter<T: IntoIterator<Item = Arc<KeptBatch>>>(batches: T) -> Self {
        let mut segment = Self::default();
        batches.into_iter().for_each(|kept| segment.push(kept));
        segment
    }
}

impl Segment {
    pub fn push(&mut self, kept: Arc<KeptBatch>) {
        self.events += kept.batch.events.len();
        self.bytes += kept.bytes;
        self.batches.push(kept);
    }

    pub fn is_full(&self) -> bool {
        self.events >= FULL_EVENTS || self.bytes >= FULL_BYTES
    }

    pub fn event(&self, (batch, event): Position) -> &Arc<Event> {
        &self.batches[batch].batch.events[event]
    }

    /// What there is to know of a state event besides; nothing of another.
    pub fn state(&self, at: Position) -> Option<&State> {
        let place = self.event(at).place.as_ref()?;
        self.batches[at.0].batch.states.get(&place.id)
    }

    /// The events of some batches that have to be looked at for these rooms, in their order: while
    /// the segment grows all of them, then those that have the hash of one.
    pub fn candidates(&self, batches: Range<usize>, wanted: &Wanted) -> Vec<Position> {
        if !self.is_full() {
            return self.positions(batches).collect();
        }
        let index = self.index.get_or_init(|| self.index());
        let mut found = Vec::new();
        for hash in wanted.0.values() {
            let first = index.partition_point(|entry| *entry < (*hash, (batches.start, 0)));
            let entries = index[first..].iter();
            let own = entries.take_while(|(other, at)| other == hash && at.0 < batches.end);
            found.extend(own.map(|(_, at)| *at));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn positions(&self, batches: Range<usize>) -> impl Iterator<Item = Position> {
        batches.flat_map(|batch| {
            let events = 0..self.batches[batch].batch.events.len();
            events.map(move |event| (batch, event))
        })
    }

    fn index(&self) -> Index {
        let all = self.positions(0..self.batches.len());
        let entries = all.flat_map(|at| {
            let rooms = self.event(at).rooms.iter();
            rooms.map(move |room| (hash(room), at))
        });
        let mut index: Vec<_> = entries.collect();
        index.sort_unstable();
        index.into()
    }
}

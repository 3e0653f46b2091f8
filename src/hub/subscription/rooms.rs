//! The rooms that a subscription is in, for those who ask at the last moment: the table changes them, and
//! a writer asks before it writes.
//! It must never say yes for a room that was taken away.

use super::Subscription;
use crate::bookmark::Standpoint;
use crate::event::EVERYBODY;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How a subscription came into a room.
#[derive(Clone, Debug)]
pub(in crate::hub) struct Joined {
    /// Where the hub stood: what is later came through the room live.
    pub at: Arc<Standpoint>,
    /// The version of the rules that granted it last.
    pub under: i64,
}

impl Subscription {
    /// Whether something for these rooms may still be written: asked at the last moment, for a room
    /// may have been taken away while it waited.
    #[must_use]
    pub fn may_hear(&self, rooms: &[Arc<str>]) -> bool {
        if !self.narrowed.load(Ordering::Acquire) {
            return true;
        }
        let mine = self.rooms.lock();
        rooms.iter().any(|room| mine.contains_key(room))
    }

    /// Whether an event for `rooms` may still be replayed, in a replay of the rooms `wanted`: it is still
    /// in a room of both. One that was joined later has a replay of its own.
    #[must_use]
    pub fn may_hear_of(&self, wanted: &[Arc<str>], rooms: &[Arc<str>]) -> bool {
        if !self.narrowed.load(Ordering::Acquire) {
            return true;
        }
        let mine = self.rooms.lock();
        let mut rooms = rooms.iter();
        rooms.any(|room| mine.contains_key(room) && wanted.contains(room))
    }

    /// Of these rooms, those that may still be spoken of.
    #[must_use]
    pub fn not_withdrawn(&self, rooms: Vec<Arc<str>>) -> Vec<Arc<str>> {
        if !self.narrowed.load(Ordering::Acquire) {
            return rooms;
        }
        self.concerned(&rooms)
    }

    /// Takes the rooms that were taken away and nobody has told yet. To be told before anything else: what
    /// waited for them is left out from now on, and a bookmark behind it would hide that from whoever is
    /// cut off before it is told, and comes back when they are granted again.
    #[must_use]
    pub fn take_withdrawn(&self) -> Vec<Arc<str>> {
        if !self.narrowed.load(Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut *self.withdrawn.lock())
    }

    /// The rooms joined, without the one of everybody.
    #[must_use]
    pub fn rooms(&self) -> Vec<Arc<str>> {
        self.rooms
            .lock()
            .keys()
            .filter(|room| ***room != *EVERYBODY)
            .cloned()
            .collect()
    }

    /// Of these rooms, those that were not granted by rules behind this version, or that it is not in.
    pub(in crate::hub) fn granted_until(&self, version: i64, rooms: &[Arc<str>]) -> Vec<Arc<str>> {
        let mine = self.rooms.lock();
        let behind = |room| mine.get(room).is_some_and(|known| known.under > version);
        let rooms = rooms.iter().filter(|room| !behind(*room));
        rooms.cloned().collect()
    }

    /// Forgets under which versions its rooms were granted: any answer may take them.
    pub(in crate::hub) fn distrust(&self) {
        let mut mine = self.rooms.lock();
        mine.values_mut().for_each(|known| known.under = i64::MIN);
    }

    /// How many rooms it is in, without the one of everybody.
    #[must_use]
    pub fn count_rooms(&self) -> usize {
        let rooms = self.rooms.lock();
        rooms.len() - usize::from(rooms.contains_key(EVERYBODY))
    }

    /// Of these rooms, those that the subscription is in.
    #[must_use]
    pub fn concerned(&self, rooms: &[Arc<str>]) -> Vec<Arc<str>> {
        let mine = self.rooms.lock();
        rooms
            .iter()
            .filter(|room| mine.contains_key(*room))
            .cloned()
            .collect()
    }
}

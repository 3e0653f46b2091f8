//! Which subscription is in which room, and who hears an event.
//! Hands each event to the queues of those who are concerned. It must never be looked at but under
//! the hub's lock, so that an event lies wholly before a seam or wholly behind it.

use super::Subscription;
use super::delivery::Ended;
use super::ring::Ring;
use super::subscription::Joined;
use crate::bookmark::Standpoint;
use crate::event::{EVERYBODY, Event};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Debug, Default)]
pub(super) struct Table {
    pub rooms: HashMap<Arc<str>, HashMap<u64, Arc<Subscription>>>,
    /// Those who hear every event, whatever its rooms.
    pub tails: HashMap<u64, Arc<Subscription>>,
    pub ring: Ring,
    pub standpoint: Option<Arc<Standpoint>>,
    offered: u64,
    /// Set when the service stops.
    pub ended: Option<Ended>,
}

impl Table {
    pub fn enter(&mut self, subscription: &Arc<Subscription>, room: &Arc<str>, joined: &Joined) {
        let mut rooms = subscription.rooms.lock();
        if let Some(known) = rooms.get_mut(room) {
            // It stays where it was joined, and is granted anew.
            known.under = known.under.max(joined.under);
            return;
        }
        rooms.insert(Arc::clone(room), joined.clone());
        let members = self.rooms.entry(Arc::clone(room)).or_default();
        members.insert(subscription.id, Arc::clone(subscription));
    }

    /// Leaves rooms, but for the one of everybody; returns those that it was in.
    pub fn leave(&mut self, subscription: &Subscription, rooms: &[Arc<str>]) -> Vec<Arc<str>> {
        let mut left = subscription.concerned(rooms);
        left.retain(|room| **room != *EVERYBODY);
        left.iter().for_each(|room| self.exit(subscription, room));
        left
    }

    /// The same for rooms that are taken away: nothing that waits for them is written any more, and its
    /// writer, which is to be woken, tells of them.
    pub fn take_away(&mut self, subscription: &Subscription, rooms: &[Arc<str>]) -> Vec<Arc<str>> {
        if rooms.is_empty() {
            return Vec::new();
        }
        subscription.narrowed.store(true, Ordering::Release);
        // From before they are left: whoever leaves out something of theirs finds them here.
        let mut withdrawn = subscription.withdrawn.lock();
        let left = self.leave(subscription, rooms);
        withdrawn.extend(left.iter().cloned());
        left
    }

    pub fn exit(&mut self, subscription: &Subscription, room: &Arc<str>) {
        subscription.rooms.lock().remove(room);
        if let Some(members) = self.rooms.get_mut(room) {
            members.remove(&subscription.id);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    pub fn everybody(&self) -> impl Iterator<Item = Arc<Subscription>> {
        self.rooms
            .get(EVERYBODY)
            .into_iter()
            .flat_map(HashMap::values)
            .chain(self.tails.values())
            .cloned()
    }

    /// Queues events for everybody concerned, in their order, and adds to `called` those who are to be
    /// carried to.
    pub fn offer(&mut self, events: &[Arc<Event>], called: &mut Vec<Arc<Subscription>>) {
        // Whoever hears a bulk statement is fetched from memory once, and not for each of its events.
        for alike in events.chunk_by(|one, next| one.rooms == next.rooms) {
            self.offer_alike(alike, called);
        }
    }

    /// The same for events of the same rooms.
    fn offer_alike(&mut self, events: &[Arc<Event>], called: &mut Vec<Arc<Subscription>>) {
        self.offered += 1;
        let weighed: Vec<_> = events.iter().map(|event| (event, event.weight())).collect();
        let rooms = events.first().into_iter().flat_map(|first| &first.rooms);
        let rooms = rooms.filter_map(|room| self.rooms.get(room));
        for subscription in self.tails.values().chain(rooms.flat_map(HashMap::values)) {
            if subscription.offer(&weighed, self.offered) {
                called.push(Arc::clone(subscription));
            }
        }
    }
}

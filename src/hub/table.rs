//! Which subscription is in which room, and who hears an event.
//! Hands each event to the queues of those who are concerned. It must never be looked at but under
//! the hub's lock, so that an event lies wholly before a seam or wholly behind it.

use super::Subscription;
use super::delivery::Ended;
use super::ring::Ring;
use crate::bookmark::Standpoint;
use crate::event::{EVERYBODY, Event};
use std::collections::HashMap;
use std::sync::Arc;

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
    pub fn enter(
        &mut self,
        subscription: &Arc<Subscription>,
        room: &Arc<str>,
        at: &Arc<Standpoint>,
    ) {
        let mut rooms = subscription.rooms.lock();
        if !rooms.contains_key(room) {
            rooms.insert(Arc::clone(room), Arc::clone(at));
            let members = self.rooms.entry(Arc::clone(room)).or_default();
            members.insert(subscription.id, Arc::clone(subscription));
        }
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

    /// Queues an event for everybody concerned, and adds to `called` those who are to be carried to.
    pub fn offer(&mut self, event: &Arc<Event>, called: &mut Vec<Arc<Subscription>>) {
        self.offered += 1;
        let weight = event.weight();
        let rooms = event.rooms.iter().filter_map(|room| self.rooms.get(room));
        for subscription in self.tails.values().chain(rooms.flat_map(HashMap::values)) {
            if subscription.offer(event, weight, self.offered) {
                called.push(Arc::clone(subscription));
            }
        }
    }
}

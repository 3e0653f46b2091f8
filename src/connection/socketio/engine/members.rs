//! Who is in which namespace of a connection.
//! Hands over who hears there. It must never have two in one namespace, not even for the moment in
//! which one leaves and the next comes: packets say the namespace, and not for whom they are.

use super::{Engine, Inside};
use crate::connection::Refusal;
use crate::connection::socketio::ear::Ear;
use std::sync::Arc;
use std::time;
use tokio::time::Instant;

impl Inside {
    fn ear(&self, place: usize) -> Option<&Arc<Ear>> {
        let mut all = self.namespaces.iter();
        let found = all.find(|(known, ear)| *known == place && ear.is_open());
        found.map(|(_, ear)| ear)
    }
}

impl Engine {
    /// Who hears at this place, and has not left.
    pub fn ear(&self, place: usize) -> Option<Arc<Ear>> {
        self.inside().ear(place).cloned()
    }

    /// Whether its client may sign in once more by now, to any namespace.
    pub fn may_connect(&self) -> bool {
        self.inside().connects.take(time::Instant::now())
    }

    /// Somebody is about to enter a namespace, once it is vacant; false if somebody is in who has not
    /// left, or the connection has ended.
    pub fn enter(&self, place: usize, ear: &Arc<Ear>) -> bool {
        let mut inside = self.inside();
        if inside.ear(place).is_some() || inside.ended.is_some() {
            return false;
        }
        inside.namespaces.push((place, Arc::clone(ear)));
        true
    }

    /// Waits until nothing is written any more for whoever left this place before.
    pub async fn vacant(&self, place: usize, ear: &Arc<Ear>) {
        self.when(|inside| {
            let first = inside.namespaces.iter().find(|(known, _)| *known == place);
            let is_next = first.is_none_or(|(_, first)| Arc::ptr_eq(first, ear));
            is_next.then_some(())
        })
        .await;
    }

    /// Whether somebody else is in, besides at this place.
    pub fn is_shared(&self, place: usize) -> bool {
        let inside = self.inside();
        let mut all = inside.namespaces.iter();
        all.any(|(known, ear)| *known != place && ear.is_open())
    }

    /// Somebody leaves a namespace. Who is in none closes the connection itself, or is closed. An end
    /// that is set already stays: sign-ins that fail, one after the other, keep nobody here.
    pub fn leave(&self, ear: &Ear) {
        ear.close();
        self.change(|inside| {
            if !inside.namespaces.iter().any(|(_, ear)| ear.is_open()) {
                let end = Instant::now() + Refusal::Gone.grace();
                inside.alone.get_or_insert(end);
            }
        });
    }

    /// The same, and nothing is written any more for whoever it was: the next may come in.
    pub fn vacate(&self, ear: &Arc<Ear>) {
        self.leave(ear);
        self.change(|inside| {
            inside
                .namespaces
                .retain(|(_, other)| !Arc::ptr_eq(other, ear));
        });
    }
}

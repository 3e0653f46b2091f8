//! Who is in which namespace of a connection.
//! Hands over who hears there. It must never have two in one namespace.

use super::Engine;
use crate::connection::Refusal;
use crate::connection::socketio::ear::Ear;
use std::sync::Arc;
use std::time;
use tokio::time::Instant;

impl Engine {
    /// Who hears at this place.
    pub fn ear(&self, place: usize) -> Option<Arc<Ear>> {
        let inside = self.inside();
        let found = inside.namespaces.iter().find(|(known, _)| *known == place);
        found.map(|(_, ear)| Arc::clone(ear))
    }

    /// Whether its client may sign in once more by now, to any namespace.
    pub fn may_connect(&self) -> bool {
        self.inside().connects.take(time::Instant::now())
    }

    /// Somebody enters a namespace; false if somebody is in already, or the connection has ended.
    pub fn enter(&self, place: usize, ear: &Arc<Ear>) -> bool {
        let mut inside = self.inside();
        let taken = inside.namespaces.iter().any(|(known, _)| *known == place);
        if taken || inside.ended.is_some() {
            return false;
        }
        inside.namespaces.push((place, Arc::clone(ear)));
        true
    }

    /// Whether somebody else is in, besides at this place.
    pub fn is_shared(&self, place: usize) -> bool {
        let inside = self.inside();
        inside.namespaces.iter().any(|(known, _)| *known != place)
    }

    /// Somebody leaves a namespace. Who is in none closes the connection itself, or is closed. An end
    /// that is set already stays: sign-ins that fail, one after the other, keep nobody here.
    pub fn leave(&self, place: usize, ear: &Arc<Ear>) {
        ear.close();
        self.change(|inside| {
            let before = inside.namespaces.len();
            inside
                .namespaces
                .retain(|(known, other)| *known != place || !Arc::ptr_eq(other, ear));
            if inside.namespaces.is_empty() && before > 0 {
                let end = Instant::now() + Refusal::Gone.grace();
                inside.alone.get_or_insert(end);
            }
        });
    }
}

//! The ring as it was, reaching back further for some rooms alone: for a crowd that comes back from so
//! far that what everybody missed is more than the ring may hold.
//! Hands replays over to whoever wants no other rooms. It must never serve anybody else, nor whoever
//! joined after it was made.

use super::refill::{Refill, Refilled};
use super::ring::Ring;
use super::{Excerpt, Hub, Limits, Replay, Seam};
use crate::bookmark::{Bookmark, Snapshot, Standpoint};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

/// A copy of the ring that knows some rooms from further back.
#[derive(Debug)]
pub struct Annex {
    ring: Ring,
    rooms: HashSet<Arc<str>>,
    /// Where the hub stood when the copy was made.
    end: Arc<Standpoint>,
    limits: Limits,
}

impl Hub {
    /// Begins one that is to reach back to a place of a history for these rooms, and says what has to
    /// be read for it; nothing if the ring does so already, or is of another history.
    #[must_use]
    pub fn annex(
        &self,
        history: &str,
        place: &Snapshot,
        rooms: HashSet<Arc<str>>,
    ) -> Option<(Annex, Refill)> {
        let limits = self.0.limits;
        let table = self.0.table.lock();
        let (ring, end) = (table.ring.clone(), table.standpoint.clone()?);
        drop(table);
        let refill = ring.wants(history, std::slice::from_ref(place), &limits)?;
        let refill = Refill {
            rooms: Some(rooms.iter().cloned().collect()),
            // Beside what the ring itself may hold.
            bytes: limits.ring_bytes,
            ..refill
        };
        let annex = Annex {
            ring,
            rooms,
            end,
            limits,
        };
        Some((annex, refill))
    }
}

impl Annex {
    /// Takes what was read for it.
    pub fn fill(&mut self, refill: Refill, found: Refilled) {
        self.ring.reach_back(refill, found, Instant::now());
    }

    /// What a seam lacks, if all of it is here.
    #[must_use]
    pub fn replay(&self, seam: &Seam, since: &Bookmark) -> Option<Excerpt> {
        let here = &seam.standpoint;
        let knows_all = here.history == self.end.history
            && here.snapshot.is_subset_of(&self.end.snapshot)
            && seam.wanted.iter().all(|room| self.rooms.contains(room));
        if !knows_all {
            return None;
        }
        let replay = self.ring.replay(since.clone(), here, &self.limits);
        match replay.up_to(here) {
            Replay::Ring(excerpt) => Some(excerpt),
            Replay::Live | Replay::Log(_) | Replay::Gap(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{self, LIMITS, collected, hub, ids, place, publish};
    use super::*;
    use crate::event::{Batch, GapReason, States};

    fn join(hub: &Hub, room: &str) -> Box<Seam> {
        tests::seam(hub, room, "h.12_0")
    }

    /// What a service lacks that began at transaction 14, when 12 and 13 had committed events 2 and 3.
    fn read() -> Refilled {
        let model = hub(LIMITS);
        publish(
            &model,
            &place(14, 14, &[]),
            &[(2, 12, &["a"]), (3, 13, &["b"])],
            Instant::now(),
        );
        let found = ["a", "b"].map(|room| collected(&join(&model, room)));
        Refilled::new(found.concat(), States::new())
    }

    fn told(seam: &Seam, annex: &Annex) -> Option<Vec<u64>> {
        let since = Bookmark::parse("h.12_0").unwrap();
        Some(ids(&seam.collect(&annex.replay(seam, &since)?).unwrap()))
    }

    #[test]
    fn it_serves_its_rooms_to_who_was_there_when_it_was_made() {
        // The ring itself may hold no more than it does.
        let hub = Hub::new(LIMITS);
        hub.begin(place(14, 14, &[]), GapReason::History);
        publish(
            &hub,
            &place(15, 15, &[]),
            &[(4, 14, &["a"])],
            Instant::now(),
        );
        let (mine, others) = (join(&hub, "a"), join(&hub, "c"));
        assert!(matches!(mine.replay, Replay::Log(_)));
        let rooms = ["a", "b", "*"].map(Arc::from).into_iter().collect();
        let since = Bookmark::parse("h.12_0").unwrap();
        let (mut annex, refill) = hub.annex("h", &since.base, rooms).unwrap();
        assert_eq!(refill.bytes, LIMITS.ring_bytes);
        assert_eq!(told(&mine, &annex), None, "nothing was read yet");
        annex.fill(refill, read());
        assert_eq!(told(&mine, &annex), Some(vec![2, 4]));
        assert_eq!(told(&others, &annex), None, "its room was not read for");
        // The ring has what it had.
        assert!(matches!(hub.look_again(&mine, since), Replay::Log(_)));
        // Who joined later lacks what the copy can't know.
        let to = place(16, 16, &[]);
        let nothing = Batch {
            to,
            events: vec![],
            states: States::new(),
        };
        hub.publish(nothing, Instant::now());
        assert_eq!(told(&join(&hub, "a"), &annex), None);
    }
}

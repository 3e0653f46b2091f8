//! Who was admitted a moment ago, and to what: a poller that comes back with the same claims for
//! the same rooms need not be asked for again, as nobody asks for a socket that stays open.
//! Hands admissions over to whoever comes back. It must never hold one that a change of rules or a
//! revocation may have touched.

use super::access::{Access, Concern};
use super::admission::Admission;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The text that says who it is, such as claims, and the rooms that were asked for.
pub type Asker = (Arc<str>, Vec<String>);

#[derive(Debug)]
struct Kept {
    admission: Admission,
    since: Instant,
    bytes: usize,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    kept: HashMap<Arc<Asker>, Kept>,
    /// In the order in which they were kept; of some that were forgotten since, too.
    order: VecDeque<(Arc<Asker>, Instant)>,
    bytes: usize,
}

impl Memory {
    pub fn recall(&self, asker: &Asker, age: Duration, now: Instant) -> Option<Admission> {
        let kept = self.kept.get(asker)?;
        (now - kept.since < age).then(|| kept.admission.clone())
    }

    /// Keeps an admission, and lets go of those beyond their age, and of the oldest above `limit`
    /// bytes.
    pub fn keep(
        &mut self,
        asker: Asker,
        admission: Admission,
        (limit, age): (usize, Duration),
        now: Instant,
    ) {
        let bytes = weight(&asker, &admission);
        let known = self.kept.get_mut(&asker);
        if let Some(known) = known.filter(|known| now - known.since < age) {
            // At its old place in the order, which a poller who is asked for each time would fill.
            self.bytes = self.bytes - known.bytes + bytes;
            known.bytes = bytes;
            known.admission = admission;
        } else {
            let asker = Arc::new(asker);
            self.forget(&asker);
            self.bytes += bytes;
            let kept = Kept {
                admission,
                since: now,
                bytes,
            };
            self.kept.insert(Arc::clone(&asker), kept);
            self.order.push_back((asker, now));
        }
        while let Some((oldest, since)) = self.order.front() {
            let is_kept = self.kept.get(oldest).is_some_and(|k| k.since == *since);
            if is_kept && self.bytes <= limit && now - *since < age {
                break;
            }
            let oldest = Arc::clone(oldest);
            if is_kept {
                self.forget(&oldest);
            }
            self.order.pop_front();
        }
    }

    fn forget(&mut self, asker: &Asker) {
        if let Some(gone) = self.kept.remove(asker) {
            self.bytes -= gone.bytes;
        }
    }

    /// Takes a change, and forgets whom it may concern; `before` is the version known until now.
    pub fn change(&mut self, access: &Access, before: i64) {
        let bytes = &mut self.bytes;
        self.kept.retain(|_, kept| {
            let admission = &mut kept.admission;
            match access.concern(admission.user.as_deref(), admission.version, before) {
                Concern::Nothing => return true,
                Concern::Confirmed => {
                    admission.version = access.version;
                    return true;
                }
                Concern::Revoked | Concern::Unclear => {}
            }
            *bytes -= kept.bytes;
            false
        });
    }
}

/// About what it takes, with what surrounds it.
fn weight((who, asked): &Asker, admission: &Admission) -> usize {
    let asked: usize = asked.iter().map(|room| room.len() + 48).sum();
    let joined: usize = admission.rooms.iter().map(|room| room.len() + 48).sum();
    let refused = admission.refused.iter();
    let refused: usize = refused.map(|(room, _)| room.len() + 48).sum();
    who.len() + asked + joined + refused + 300
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::RoomRefusal;

    const AGE: Duration = Duration::from_secs(10);

    fn asker(user: &str) -> Asker {
        (user.into(), vec!["a".into()])
    }

    fn memory(users: &[(&str, i64)], now: Instant) -> Memory {
        let mut memory = Memory::default();
        for (user, version) in users {
            let admission = Admission {
                user: Some((*user).to_owned()),
                rooms: vec!["a".into()],
                home: 0,
                refused: Vec::new(),
                version: *version,
            };
            memory.keep(asker(user), admission, (2000, AGE), now);
        }
        memory
    }

    fn version(memory: &Memory, user: &str, now: Instant) -> Option<i64> {
        let found = memory.recall(&asker(user), AGE, now);
        found.map(|admission| admission.version)
    }

    #[test]
    fn what_a_change_may_concern_is_forgotten() {
        let now = Instant::now();
        for (access, expected) in [
            // Somebody else was revoked: the others are confirmed.
            ((7, 4, Some("1")), [None, Some(7), Some(8)]),
            // Rules have changed.
            ((7, 7, None), [None, None, Some(8)]),
            // An older database in its place.
            ((4, 4, None), [None, None, None]),
        ] {
            let mut memory = memory(&[("1", 5), ("2", 5), ("3", 8)], now);
            let (new, rules, revoked) = access;
            let revoked = revoked.map(|user| (user.to_owned(), new));
            let access = Access {
                version: new,
                rules,
                revoked: revoked.into_iter().collect(),
            };
            memory.change(&access, 5);
            let found = ["1", "2", "3"].map(|user| version(&memory, user, now));
            assert_eq!(found, expected, "{access:?}");
            if found == [None, None, None] {
                assert_eq!(memory.bytes, 0);
            }
        }
    }

    /// Whoever is asked for again, as for a room that was refused, may be admitted to more: what took
    /// the place of the first admission was never counted.
    #[test]
    fn what_takes_an_admissions_place_is_counted() {
        let now = Instant::now();
        let mut memory = memory(&[("1", 5)], now);
        let mut admission = memory.recall(&asker("1"), AGE, now).unwrap();
        let rooms = (0..10).map(|room| format!("room:{room}").into());
        admission.rooms.extend(rooms);
        for _ in 0..3 {
            memory.keep(asker("1"), admission.clone(), (2000, AGE), now);
            assert_eq!(memory.bytes, weight(&asker("1"), &admission));
            assert_eq!((memory.kept.len(), memory.order.len()), (1, 1));
        }
        memory.keep(asker("1"), admission, (100, AGE), now);
        assert_eq!((memory.bytes, memory.kept.len()), (0, 0), "above the limit");
    }

    #[test]
    fn what_was_refused_is_counted() {
        let now = Instant::now();
        let mut memory = memory(&[("1", 5)], now);
        let mut admission = memory.recall(&asker("1"), AGE, now).unwrap();
        let rooms = (0..1000).map(|room| (format!("room:{room}"), RoomRefusal::TooMany));
        admission.refused.extend(rooms);
        memory.keep(asker("1"), admission, (50_000, AGE), now);
        assert_eq!((memory.bytes, memory.kept.len()), (0, 0), "above the limit");
    }

    #[test]
    fn it_is_bounded_in_age_and_bytes() {
        let now = Instant::now();
        let mut memory = memory(&[("1", 5), ("2", 5)], now);
        assert_eq!(version(&memory, "1", now + AGE / 2), Some(5));
        assert_eq!(version(&memory, "1", now + AGE), None, "too old");
        assert_eq!(
            memory.recall(&("1".into(), vec!["b".into()]), AGE, now),
            None
        );
        // Each takes about 400 bytes: a fifth is one too many.
        for user in 3..=100 {
            let admission = Admission {
                user: None,
                rooms: vec!["a".into()],
                home: 0,
                refused: Vec::new(),
                version: 5,
            };
            memory.keep(asker(&user.to_string()), admission, (2000, AGE), now);
            assert!(memory.bytes <= 2000 && memory.order.len() <= 5);
        }
        assert_eq!(version(&memory, "1", now), None);
        assert_eq!(version(&memory, "100", now), Some(5));
        // What is beyond its age goes with the next.
        let later = now + 2 * AGE;
        let last = memory.recall(&asker("100"), AGE, now).unwrap();
        memory.keep(asker("new"), last, (2000, AGE), later);
        assert_eq!((memory.kept.len(), memory.order.len()), (1, 1));
    }
}

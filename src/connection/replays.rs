//! Replays for bookmarks from before the ring. A few connections a second read the log each for itself.
//! Of a crowd one reads while the others wait: for all rooms, into the ring; or, if that is more than the
//! ring holds, only for the rooms of those who wait.
//! Hands replays over to the seam. It must never let one who comes from far away keep the others from
//! theirs.

use super::allowance::Allowance;
use super::{Gate, Refusal};
use crate::bookmark::{Bookmark, Snapshot};
use crate::database::{DatabaseError, LogReplay};
use crate::event::{Event, GapReason};
use crate::hub::{Annex, Excerpt, Replay, Seam};
use crate::report;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

/// So many a second read the log for themselves, and only what is for their rooms; above that they
/// are a crowd. A laptop that wakes is no reason to read what everybody missed.
const ALONE: usize = 10;

/// Rooms that are read for in one statement: a few hundred kilobytes of names.
const CROWD_ROOMS: usize = 10_000;

/// Statements for others that somebody waits for, each as long as one may run, before it reads for
/// itself: for all, and for a crowd that is made smaller until it fits.
const PATIENCE: u32 = 4;

/// All that somebody lacks, or why it can't be proven complete.
pub(super) type Found = Result<Vec<Arc<Event>>, GapReason>;

/// What a seam lacks, all of which is in the ring.
pub(super) fn from_ring(excerpt: &Excerpt, seam: &Seam) -> Found {
    let found = seam.collect(excerpt);
    if found.is_ok() {
        report::replayed_from_ring();
    }
    found
}

/// Those who come back from before the ring.
#[derive(Debug)]
pub struct Replays {
    alone: Mutex<Allowance>,
    /// For each who reads alone. Half of the pool: those who come in need the rest, and one token is
    /// enough to ask for far more than all of it.
    turns: Semaphore,
    /// Held by the one who reads for others.
    reading: tokio::sync::Mutex<Beyond>,
    waiting: Mutex<Waiters>,
}

/// A place from which everybody's events are more than the ring may hold, or no longer in the log.
#[derive(Debug, Default)]
struct Beyond(Option<Bookmark>);

/// Those who wait, the first first.
#[derive(Debug, Default)]
struct Waiters {
    lacking: BTreeMap<u64, Lacking>,
    next: u64,
    /// For how many of them one statement reads: fewer after one that was too much or too slow, more after
    /// one that was far from it. Set once the ring could not hold what one of them lacks, until nobody waits.
    at_once: Option<usize>,
}

/// What one of them lacks: what came since, in these rooms.
#[derive(Debug)]
struct Lacking {
    since: Snapshot,
    rooms: Vec<Arc<str>>,
    /// Takes it, once somebody has read it.
    told: oneshot::Sender<Arc<Annex>>,
}

/// Those for whom one statement reads what came since a place.
struct Group {
    place: Snapshot,
    rooms: HashSet<Arc<str>>,
    members: Vec<u64>,
}

impl Waiters {
    fn since(&self, place: &Snapshot, most: usize) -> Group {
        let (mut rooms, mut members) = (HashSet::new(), Vec::new());
        for (number, lacking) in &self.lacking {
            if members.len() >= most || rooms.len() >= CROWD_ROOMS {
                break;
            }
            if place.is_subset_of(&lacking.since) {
                rooms.extend(lacking.rooms.iter().cloned());
                members.push(*number);
            }
        }
        Group {
            place: place.clone(),
            rooms,
            members,
        }
    }

    /// Of the places before this one, the one in the middle: not the farthest, which may be one alone.
    fn amid_those_before(&self, place: &Snapshot) -> Option<Snapshot> {
        let places = self.lacking.values().map(|lacking| &lacking.since);
        let mut before: Vec<_> = places
            .filter(|other| *other != place && other.is_subset_of(place))
            .collect();
        before.sort_unstable_by_key(|other| other.xmax());
        before.get(before.len() / 2).copied().cloned()
    }
}

/// Somebody who waits for as long as this lives.
struct Waiter<'a> {
    waiting: &'a Mutex<Waiters>,
    number: u64,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        waiting.lacking.remove(&self.number);
        if waiting.lacking.is_empty() {
            waiting.at_once = None;
        }
    }
}

impl Beyond {
    /// Whether it is known to be too far: whoever has no more than one for whom it was.
    fn holds(&self, since: &Bookmark) -> bool {
        let known = self.0.as_ref();
        known.is_some_and(|known| {
            known.history == since.history && since.base.is_subset_of(&known.base)
        })
    }
}

impl Replays {
    #[must_use]
    pub fn new(pool_size: usize, now: Instant) -> Self {
        Self {
            alone: Mutex::new(Allowance::new(ALONE, ALONE, now)),
            turns: Semaphore::new((pool_size / 2).max(1)),
            reading: tokio::sync::Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// The turn of somebody who need not wait for others.
    fn turn_at_once(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.turns.try_acquire().ok()?;
        let mut alone = self.alone.lock();
        alone.take(Instant::now()).then_some(turn)
    }

    fn wait(
        &self,
        since: &Snapshot,
        rooms: &[Arc<str>],
    ) -> (Waiter<'_>, oneshot::Receiver<Arc<Annex>>) {
        let (told, tells) = oneshot::channel();
        let lacking = Lacking {
            since: since.clone(),
            rooms: rooms.to_vec(),
            told,
        };
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.lacking.insert(number, lacking);
        let place = Waiter {
            waiting: &self.waiting,
            number,
        };
        (place, tells)
    }

    /// Where all who wait come from.
    fn places(&self) -> Vec<Snapshot> {
        let waiting = self.waiting.lock();
        let lacking = waiting.lacking.values();
        lacking.map(|lacking| lacking.since.clone()).collect()
    }

    /// Whether the ring could not hold what somebody lacks, now or since the last time nobody waited.
    fn is_crowded(&self) -> bool {
        self.waiting.lock().at_once.is_some()
    }

    /// Those who lack no more than what came since this place, as many as one statement reads for. If
    /// that is only the one who asks, the place moves back to include half of those who lack more: a
    /// crowd that comes the latest first would be read for one by one.
    fn group(&self, since: &Snapshot) -> Group {
        let mut waiting = self.waiting.lock();
        let most = *waiting.at_once.get_or_insert(usize::MAX);
        let group = waiting.since(since, most);
        if group.members.len() > 1 || most < 2 {
            return group;
        }
        match waiting.amid_those_before(since) {
            Some(earlier) => waiting.since(&earlier, most),
            None => group,
        }
    }

    /// What so many lack is too much for one statement: the next reads for fewer.
    fn too_many(&self, count: usize) {
        self.waiting.lock().at_once = Some(count / 4);
    }

    /// It was not read in time what so many lack: the next reads for fewer, but not for each alone. Mostly
    /// it is the reading that takes long, for however few, while the database is busy letting them all in.
    fn too_slow(&self, count: usize) {
        self.waiting.lock().at_once = Some((count / 4).max(2));
    }

    /// For twice as many it would have been neither too much nor too slow: the next reads for them. Else a
    /// crowd that never pauses would be read for in small groups ever since its first moment.
    fn few_enough(&self, count: usize) {
        let mut waiting = self.waiting.lock();
        waiting.at_once = waiting.at_once.map(|most| most.max(2 * count));
    }

    /// Tells a group what was read for it.
    fn tell(&self, group: &Group, annex: &Arc<Annex>) {
        let mut waiting = self.waiting.lock();
        for number in &group.members {
            if let Some(lacking) = waiting.lacking.remove(number) {
                // Whoever has left meanwhile does not take it.
                let _ = lacking.told.send(Arc::clone(annex));
            }
        }
    }
}

impl Gate {
    /// What a seam lacks that the ring did not reach back to when it was made.
    ///
    /// # Errors
    /// The log could not be read.
    pub(super) async fn replay(&self, seam: &Seam, since: Bookmark) -> Result<Found, Refusal> {
        let found = async {
            if let Some(_turn) = self.replays.turn_at_once() {
                return self.replay_alone(seam, &since).await;
            }
            match self.replay_shared(seam, &since).await? {
                Some(Replay::Ring(excerpt)) => Ok(from_ring(&excerpt, seam)),
                Some(Replay::Gap(why)) => Ok(Err(why)),
                Some(Replay::Log(_) | Replay::Live) | None => {
                    let _turn = self.turn().await?;
                    self.replay_alone(seam, &since).await
                }
            }
        };
        found.await.map_err(|error| {
            report::database_failed("replay", &error);
            Refusal::DatabaseAway
        })
    }

    /// Waits for what others read, or reads for them; nothing if that takes too long, or nobody else
    /// would have anything of it.
    async fn replay_shared(
        &self,
        seam: &Seam,
        since: &Bookmark,
    ) -> Result<Option<Replay>, DatabaseError> {
        let (_waits, mut tells) = self.replays.wait(&since.base, &seam.wanted);
        let from_annex = |annex: &Annex| annex.replay(seam, since).map(Replay::Ring);
        let patience = self.settings.database.statement_timeout * PATIENCE;
        let mut beyond = tokio::select! {
            biased;
            Ok(annex) = &mut tells => return Ok(from_annex(&annex)),
            beyond = self.replays.reading.lock() => beyond,
            () = tokio::time::sleep(patience) => return Ok(None),
        };
        for _ in 0..2 {
            let found = self.hub.look_again(seam, since.clone());
            if matches!(found, Replay::Ring(_) | Replay::Gap(_)) {
                return Ok(Some(found));
            }
            if beyond.holds(since) || self.replays.is_crowded() {
                break;
            }
            self.read_for_all(&mut beyond, since).await?;
        }
        self.read_for_crowd(since).await?;
        Ok(tells.try_recv().ok().and_then(|annex| from_annex(&annex)))
    }

    /// Has the ring reach back to where all come from who wait; or to where this one comes from.
    async fn read_for_all(
        &self,
        beyond: &mut Beyond,
        since: &Bookmark,
    ) -> Result<(), DatabaseError> {
        let mut places = self.replays.places();
        places.retain(|place| !beyond.holds(&Bookmark::at(&since.history, place)));
        for places in [&places[..], std::slice::from_ref(&since.base)] {
            let Some(refill) = self.hub.wants(&since.history, places) else {
                return Ok(());
            };
            match self.database.refill(&refill).await {
                Ok(Some(found)) => {
                    self.hub.refill(refill, found, Instant::now());
                    return Ok(());
                }
                Ok(None) => {}
                // So much that it can't be read in time.
                Err(error) if error.is_of_statement() => {
                    report::database_failed("replay for all", &error);
                }
                Err(error) => return Err(error),
            }
        }
        beyond.0 = Some(Bookmark::at(&since.history, &since.base));
        Ok(())
    }

    /// Tells a group of those who wait what they lack; nobody, if that is a single one.
    async fn read_for_crowd(&self, since: &Bookmark) -> Result<(), DatabaseError> {
        loop {
            let group = self.replays.group(&since.base);
            if group.members.len() < 2 {
                return Ok(());
            }
            let rooms = group.rooms.clone();
            let Some((mut annex, refill)) = self.hub.annex(&since.history, &group.place, rooms)
            else {
                return Ok(());
            };
            let began = Instant::now();
            match self.database.refill(&refill).await {
                Ok(Some(found)) => {
                    if 2 * began.elapsed() < self.settings.database.statement_timeout
                        && 2 * found.events.len() <= refill.events
                        && 2 * found.bytes <= refill.bytes
                    {
                        self.replays.few_enough(group.members.len());
                    }
                    annex.fill(refill, found);
                    self.replays.tell(&group, &Arc::new(annex));
                    return Ok(());
                }
                Ok(None) => self.replays.too_many(group.members.len()),
                Err(error) if error.is_of_statement() => {
                    report::database_failed("replay for many", &error);
                    self.replays.too_slow(group.members.len());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The turn of somebody for whom others did not read; waited for as a connection of the pool is.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, DatabaseError> {
        let patience = self.settings.database.pool_wait;
        let turn = tokio::time::timeout(patience, self.replays.turns.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            let patience = patience.as_millis();
            DatabaseError::Pool(format!(
                "half of database.pool_size read the log for others, and none had done within {patience} ms"
            ))
        })
    }

    async fn replay_alone(&self, seam: &Seam, since: &Bookmark) -> Result<Found, DatabaseError> {
        report::replayed_from_log();
        let limits = &self.settings.limits;
        let (most, bytes) = (limits.replay_events, limits.replay_bytes);
        let found = self
            .database
            .replay(since, &seam.standpoint, &seam.wanted, most, bytes)
            .await;
        let found = match found {
            // It would take as long the next time.
            Err(error) if error.is_too_long() => {
                report::database_failed("replay", &error);
                LogReplay::TooMuch
            }
            found => found?,
        };
        Ok(match found {
            LogReplay::Events(found) => Ok(found),
            LogReplay::TooMuch => Err(GapReason::Limit),
            LogReplay::Forgotten => Err(GapReason::Horizon),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who waits, by number, and those for whom the one who comes from there reads.
    fn members(replays: &Replays, since: u64) -> Vec<u64> {
        replays.group(&place(since)).members
    }

    fn place(xmax: u64) -> Snapshot {
        Snapshot::new(xmax, xmax, &[]).expect("a snapshot")
    }

    #[test]
    fn a_crowd_that_comes_the_latest_first_is_read_for_together() {
        let replays = Replays::new(8, Instant::now());
        let far = replays.wait(&place(1), &[]);
        let crowd: Vec<_> = (0..8)
            .map(|n| replays.wait(&place(80 - 10 * n), &[]))
            .collect();
        // From the middle on, and not from where one alone comes from.
        assert_eq!(members(&replays, 80), [1, 2, 3, 4, 5]);
        assert_eq!(members(&replays, 60), [1, 2, 3]);
        assert_eq!(members(&replays, 1).len(), 9);
        // As many as can be read for at once; and who is too many with another reads alone.
        replays.too_many(8);
        assert_eq!(members(&replays, 80), [1, 2]);
        replays.too_many(2);
        assert_eq!(members(&replays, 80), [0; 0]);
        drop(crowd);
        assert_eq!(members(&replays, 1), [0; 0]);
        drop(far);
        // Nobody else waits: nobody is read for but who asks.
        let alone = replays.wait(&place(80), &[]);
        assert_eq!(members(&replays, 80), [9]);
        drop(alone);
    }

    #[test]
    fn one_statement_names_no_more_rooms_than_it_has_to() {
        let replays = Replays::new(8, Instant::now());
        let rooms = |who: usize| -> Vec<Arc<str>> {
            let rooms = 0..CROWD_ROOMS / 2;
            rooms.map(|room| format!("{who}:{room}").into()).collect()
        };
        let _crowd: Vec<_> = (0..4)
            .map(|who| replays.wait(&place(1), &rooms(who)))
            .collect();
        assert_eq!(members(&replays, 1), [0, 1]);
    }

    #[test]
    fn who_reads_alone_has_half_of_the_pool() {
        for (pool, half) in [(8, 4), (2, 1), (1, 1)] {
            let replays = Replays::new(pool, Instant::now());
            let turns: Vec<_> = (0..8).filter_map(|_| replays.turn_at_once()).collect();
            assert_eq!(turns.len(), half, "of {pool}");
        }
    }

    /// Ten thousand came back to a database that was slow for their first seconds, and were read for
    /// twenty at a time for minutes.
    #[test]
    fn a_crowd_that_was_read_for_too_slowly_is_soon_read_for_together_again() {
        let replays = Replays::new(8, Instant::now());
        let _crowd: Vec<_> = (0..64).map(|_| replays.wait(&place(1), &[])).collect();
        let mut sizes = Vec::new();
        for slow in [
            true, true, true, true, false, false, false, false, false, false,
        ] {
            let count = members(&replays, 1).len();
            sizes.push(count);
            if slow {
                replays.too_slow(count);
            } else {
                replays.few_enough(count);
            }
        }
        assert_eq!(sizes, [64, 16, 4, 2, 2, 4, 8, 16, 32, 64]);
    }
}

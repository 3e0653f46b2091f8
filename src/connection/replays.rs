//! What somebody lacks who comes back from before the ring: read from the log by a few for themselves,
//! and for a crowd by one for all, into the ring, while the others wait.
//! Hands replays over to the seam. It must never let one who comes from far away keep the others from
//! theirs.

use super::allowance::Allowance;
use super::{Gate, Refusal};
use crate::bookmark::{Bookmark, Snapshot};
use crate::database::{DatabaseError, LogReplay};
use crate::event::{Event, GapReason};
use crate::hub::{Excerpt, Replay, Seam};
use crate::report;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// So many a second read the log for themselves, and only what is for their rooms; above that they
/// are a crowd. A laptop that wakes is no reason to read what everybody missed.
const ALONE: usize = 10;

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
    /// Held by the one who reads for all.
    reading: tokio::sync::Mutex<Beyond>,
    waiting: Mutex<Waiting>,
}

/// A place from which the log holds more than the ring may, or too little.
#[derive(Debug, Default)]
struct Beyond(Option<Bookmark>);

/// The places from which those come who wait.
#[derive(Debug, Default)]
struct Waiting {
    places: HashMap<u64, Snapshot>,
    next: u64,
}

/// Somebody who waits for as long as this lives.
struct Place<'a> {
    waiting: &'a Mutex<Waiting>,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        waiting.places.remove(&self.number);
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
    pub fn new(now: Instant) -> Self {
        Self {
            alone: Mutex::new(Allowance::new(ALONE, ALONE, now)),
            reading: tokio::sync::Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    fn may_read_alone(&self) -> bool {
        let mut alone = self.alone.lock();
        alone.take(Instant::now())
    }

    fn wait(&self, place: &Snapshot) -> Place<'_> {
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.places.insert(number, place.clone());
        Place {
            waiting: &self.waiting,
            number,
        }
    }

    /// Where all who wait come from.
    fn places(&self) -> Vec<Snapshot> {
        let waiting = self.waiting.lock();
        waiting.places.values().cloned().collect()
    }
}

impl Gate {
    /// What a seam lacks that the ring did not reach back to when it was made.
    ///
    /// # Errors
    /// The log could not be read.
    pub(super) async fn replay(&self, seam: &Seam, since: Bookmark) -> Result<Found, Refusal> {
        let found = async {
            if self.replays.may_read_alone() {
                return self.replay_alone(seam, &since).await;
            }
            let waits = self.replays.wait(&since.base);
            let patience = self.settings.database.statement_timeout;
            let turn = tokio::time::timeout(patience, self.replays.reading.lock());
            let Ok(mut beyond) = turn.await else {
                return self.replay_alone(seam, &since).await;
            };
            for _ in 0..2 {
                match self.hub.look_again(seam, since.clone()) {
                    Replay::Ring(excerpt) => {
                        drop((waits, beyond));
                        return Ok(from_ring(&excerpt, seam));
                    }
                    Replay::Gap(why) => return Ok(Err(why)),
                    Replay::Log(_) | Replay::Live if beyond.holds(&since) => break,
                    Replay::Log(_) | Replay::Live => {
                        self.read_for_all(&mut beyond, &since).await?;
                    }
                }
            }
            drop((waits, beyond));
            self.replay_alone(seam, &since).await
        };
        found.await.map_err(|error| {
            report::database_failed("replay", &error);
            Refusal::DatabaseAway
        })
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

//! The table in the middle: rooms to subscriptions, and the recent batches for those who come back.
//! The listener hands it batches, connections take from their subscription's queue.
//! It must never wait, and knows neither Postgres nor a transport: a reader that falls behind is
//! closed as lagged; it never skips silently and never slows another.

mod access;
mod admission;
mod annex;
mod carry;
mod delivery;
mod excerpt;
mod memory;
mod refill;
mod ring;
mod roster;
mod segment;
mod standing;
mod subscription;
mod survey;
mod table;

use crate::bookmark::Standpoint;
use crate::event::{Batch, EVERYBODY, Event, GapReason};
pub use access::Access;
pub use admission::{Admission, RoomRefusal};
pub use annex::Annex;
use carry::Carriers;
pub use carry::{Carriage, Carried, Carry, EventSpelling, Line};
pub use delivery::{Delivery, Ended, Replay, Seam, Since};
pub use excerpt::Excerpt;
pub use memory::Asker;
use parking_lot::Mutex;
pub use refill::{Refill, Refilled};
use roster::Roster;
pub use roster::{Identity, Member};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use subscription::Joined;
pub use subscription::{Backlog, Subscription};
pub use survey::Survey;
use table::Table;
use tokio::sync::{Notify, watch};

/// Bounds of the hub.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that may wait for one subscription.
    pub queue_bytes: usize,
    /// Events in one replay.
    pub replay_events: usize,
    /// Bytes in one replay.
    pub replay_bytes: usize,
    /// Bytes of recent batches kept for replays without a query.
    pub ring_bytes: usize,
    /// How long a batch is kept.
    pub ring_age: Duration,
    /// Events read at once to make the ring reach back further.
    pub refill_events: usize,
    /// Bytes of admissions kept for those who poll again.
    pub memory_bytes: usize,
    /// How long an admission holds without being asked for again.
    pub memory_age: Duration,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    limits: Limits,
    standpoint: watch::Sender<Option<Arc<Standpoint>>>,
    look: Notify,
    looks: AtomicU64,
    roster: Mutex<Roster>,
    stale: Notify,
    subscriptions: AtomicUsize,
    waiting_bytes: AtomicUsize,
    carriers: Arc<Carriers>,
    next: AtomicU64,
}

/// A handle to the hub; clones share it.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Shared>);

/// Sizes for operators.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub subscriptions: usize,
    pub rooms: usize,
    pub queue_bytes: usize,
    pub ring_bytes: usize,
    pub ring_batches: usize,
}

impl Hub {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            table: Mutex::default(),
            limits,
            standpoint: watch::Sender::new(None),
            look: Notify::new(),
            looks: AtomicU64::new(0),
            roster: Mutex::default(),
            stale: Notify::new(),
            subscriptions: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            carriers: Arc::new(Carriers::new()),
            next: AtomicU64::new(1),
        }))
    }

    /// Opens a subscription that is in no room: events come with its first join, and none before.
    #[must_use]
    pub fn open(&self) -> Arc<Subscription> {
        let subscription = Arc::new(Subscription {
            id: self.0.next.fetch_add(1, Ordering::Relaxed),
            queue: Mutex::default(),
            rooms: Mutex::default(),
            narrowed: AtomicBool::new(false),
            withdrawn: Mutex::default(),
            wake: Notify::new(),
            ended: Notify::new(),
            caller: OnceLock::new(),
            reserved: OnceLock::new(),
            hub: Arc::clone(&self.0),
        });
        self.0.subscriptions.fetch_add(1, Ordering::Relaxed);
        subscription
    }

    /// Follows where the hub stands; nothing until the listener has looked once.
    #[must_use]
    pub fn standpoint(&self) -> watch::Receiver<Option<Arc<Standpoint>>> {
        self.0.standpoint.subscribe()
    }

    /// Where the hub stands, never behind an event that was taken from a queue: for whoever says that
    /// it has told all up to there. What [`Hub::standpoint`] says comes a moment later.
    #[must_use]
    pub fn here(&self) -> Option<Arc<Standpoint>> {
        self.0.table.lock().standpoint.clone()
    }

    /// Up to where a subscription has been told all, for its writer to say so; nothing if something still
    /// waits. Until the writer rests again, nobody writes past it: an event that comes now would overtake
    /// this place, which is from before it.
    #[must_use]
    pub fn caught_up(&self, subscription: &Subscription) -> Option<Arc<Standpoint>> {
        // In this order. What was written past the writer lies before a standpoint that is read behind
        // that; and what lies before the standpoint was queued before it was set.
        subscription.rise();
        self.here().filter(|_| subscription.is_idle())
    }

    /// Up to where an answer has told all: nothing more is queued for it, and what waits is dropped. Nothing if
    /// something did: then the answer stands where the last that it holds lies.
    #[must_use]
    pub fn seal(&self, subscription: &Subscription) -> Option<Arc<Standpoint>> {
        // In this order: what lies before the standpoint was queued before it was set.
        let here = self.here();
        let idle = subscription.seal();
        here.filter(|_| idle)
    }

    /// Asks the listener to look at once, for somebody who brought a bookmark from ahead of us.
    pub fn want_look(&self) {
        self.0.look.notify_one();
    }

    /// Counts a look that came to the end of the log, after its batch was published. Partial looks and
    /// transactions that were read by themselves move the hub on, too, but say nothing of what else
    /// there is.
    pub fn looked(&self) {
        self.0.looks.fetch_add(1, Ordering::Release);
    }

    /// So many looks came to the end of the log; the standpoint is as new as the last of them.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.0.looks.load(Ordering::Acquire)
    }

    /// Ends when somebody wants a look.
    pub async fn look_wanted(&self) {
        self.0.look.notified().await;
    }

    /// Joins rooms and queues the seam with their replay: what lies between `since` and where the
    /// hub stands now, which is returned. Later events queue behind it. `under` is the version of
    /// the rules that allowed them: if they have changed meanwhile, they are asked again.
    ///
    /// Nothing is returned to one that is over.
    pub fn join(
        &self,
        subscription: &Arc<Subscription>,
        rooms: &[Arc<str>],
        since: Since,
        tag: Option<serde_json::Value>,
        under: i64,
    ) -> Option<Arc<Standpoint>> {
        let here = self.queue_seam(subscription, rooms, since, tag, under);
        // Behind the joining, never before: a change in between would go unseen.
        self.judge(|roster| roster.joined(subscription.id, under));
        here
    }

    fn queue_seam(
        &self,
        subscription: &Arc<Subscription>,
        rooms: &[Arc<str>],
        since: Since,
        tag: Option<serde_json::Value>,
        under: i64,
    ) -> Option<Arc<Standpoint>> {
        let mut table = self.0.table.lock();
        let standpoint = table.standpoint.clone();
        let Some(standpoint) = standpoint.filter(|_| table.ended.is_none()) else {
            let ended = table.ended.unwrap_or(Ended::Restart);
            drop(table);
            subscription.end(ended);
            return None;
        };
        let place = |(room, known): (&Arc<str>, &Joined)| (Arc::clone(room), Arc::clone(&known.at));
        let joined: HashMap<_, _> = match since {
            Since::Again(..) => HashMap::new(),
            _ => subscription.rooms.lock().iter().map(place).collect(),
        };
        let mut wanted = rooms.to_vec();
        if joined.is_empty() {
            // The first rooms, or all of them again.
            wanted.push(EVERYBODY.into());
        }
        let at = Arc::clone(&standpoint);
        let entering = Joined { at, under };
        for room in &wanted {
            table.enter(subscription, room, &entering);
        }
        let (replay, text) = match since {
            Since::Now => (Replay::Live, None),
            Since::Unreadable => (Replay::Gap(GapReason::Bookmark), None),
            Since::Bookmark(since, text) | Since::Again(since, text) => {
                // The ring ends at this standpoint: nothing is to be cut off.
                let replay = table.ring.replay(since, &standpoint, &self.0.limits);
                (replay, Some(text))
            }
        };
        let seam = Seam {
            tag,
            rooms: rooms.to_vec(),
            wanted,
            joined,
            standpoint: Arc::clone(&standpoint),
            since: text,
            replay,
        };
        // Still under the table's lock: a batch lies wholly before the seam or wholly behind it.
        subscription.push(Delivery::Seam(Box::new(seam)));
        drop(table);
        subscription.wake.notify_one();
        Some(standpoint)
    }

    /// Leaves rooms, and returns those that it was in; events of them that wait are still delivered.
    pub fn leave(&self, subscription: &Subscription, rooms: &[Arc<str>]) -> Vec<Arc<str>> {
        self.0.table.lock().leave(subscription, rooms)
    }

    /// Takes rooms away, for its writer to tell. Nothing of them is written any more, whatever waits; see
    /// [`Subscription::may_hear`].
    pub fn take_away(&self, subscription: &Subscription, rooms: &[Arc<str>]) {
        self.0.table.lock().take_away(subscription, rooms);
        subscription.wake();
    }

    /// Takes a batch: queues it for everybody concerned, keeps it for those who come back.
    /// `now` is the clock by which batches grow old.
    ///
    /// In one go: whoever joined between two parts of it would stand before all of it and lack the first,
    /// or behind all of it and be told so before the second. A thousand events for eight thousand readers
    /// hold up those who come meanwhile for some tenths of a second.
    pub fn publish(&self, batch: Batch, now: Instant) {
        let mut table = self.0.table.lock();
        let mut called = Vec::new();
        table.offer(&batch.events, &mut called);
        let standpoint = Arc::clone(&batch.to);
        table.standpoint = Some(Arc::clone(&standpoint));
        table.ring.keep(batch, now, &self.0.limits);
        drop(table);
        self.0.standpoint.send_replace(Some(standpoint));
        self.0.carriers.carry(called);
    }

    /// Delivers events that are in no log: at most once, to whoever is there.
    pub fn publish_unlogged(&self, event: &Arc<Event>) {
        let mut called = Vec::new();
        let events = std::slice::from_ref(event);
        self.0.table.lock().offer(events, &mut called);
        self.0.carriers.carry(called);
    }

    /// Begins anew: at the first look, when the database's history has ended, when its log is too
    /// short. Everybody who was there is told of a gap, for this reason.
    pub fn begin(&self, standpoint: Arc<Standpoint>, reason: GapReason) {
        let mut table = self.0.table.lock();
        let first = table.standpoint.is_none();
        table.ring.begin(&standpoint);
        table.standpoint = Some(Arc::clone(&standpoint));
        // Under the same lock: whoever joins at the new standpoint has no gap.
        let told = if first {
            Vec::new()
        } else {
            queue_gap(&table, reason)
        };
        drop(table);
        // Behind the gap: a heartbeat with the new history's bookmark must find it in the queue, or a
        // reader that is cut behind that would never hear of it. And before anybody is woken:
        // acknowledgements are judged by it, and whoever is told of the gap may answer at once.
        self.0.standpoint.send_replace(Some(standpoint));
        told.iter().for_each(|one| one.wake.notify_one());
    }

    /// Tells everybody that something may be missing, for this reason.
    pub fn tell_gap(&self, reason: GapReason) {
        let told = queue_gap(&self.0.table.lock(), reason);
        told.iter().for_each(|one| one.wake.notify_one());
    }

    /// Ends every subscription, and whoever joins from now on.
    pub fn end_all(&self, ended: Ended) {
        let mut table = self.0.table.lock();
        table.ended = Some(ended);
        let mut everybody: Vec<_> = table.everybody().collect();
        drop(table);
        // And those who are in no room: consoles, and whoever has not joined yet.
        everybody.extend(self.0.roster.lock().everybody());
        everybody.iter().for_each(|one| one.end(ended));
    }

    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let table = self.0.table.lock();
        let (ring_bytes, ring_batches) = table.ring.sizes();
        Sizes {
            subscriptions: self.0.subscriptions.load(Ordering::Relaxed),
            rooms: table.rooms.len(),
            queue_bytes: self.0.waiting_bytes.load(Ordering::Relaxed),
            ring_bytes,
            ring_batches,
        }
    }
}

/// Queues a gap for everybody who is in a room, who are to be woken.
fn queue_gap(table: &Table, reason: GapReason) -> Vec<Arc<Subscription>> {
    let Some(standpoint) = &table.standpoint else {
        return Vec::new();
    };
    let everybody: Vec<_> = table.everybody().collect();
    for subscription in &everybody {
        let bookmark = Arc::clone(&standpoint.bookmark);
        subscription.push(Delivery::Gap { reason, bookmark });
    }
    everybody
}

#[cfg(test)]
pub(super) mod tests;

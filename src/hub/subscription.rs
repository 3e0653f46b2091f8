//! One connection's queue, and the rooms it is in. The hub fills it, the connection takes from it.
//! It must never hold more than its bound: who does not take in time is ended.

mod rooms;

use super::Shared;
use super::carry::{Carriage, Carried, Line};
use super::delivery::{Delivery, Ended};
use crate::event::Event;
use crate::frame::Frame;
use crate::report::Caller;
use parking_lot::Mutex;
pub(super) use rooms::Joined;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Deliveries for which an empty queue keeps its memory: most batches hold no more for one reader.
const KEPT: usize = 8;

#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Delivery>,
    bytes: usize,
    /// Number of the last events offered.
    last: u64,
    /// Since when, and how many bytes, what was taken last is being written.
    writing: Option<(Instant, usize)>,
    ended: Option<Ended>,
    /// The way out, while the writer is at rest: it has written all that it took.
    line: Option<Line>,
    /// When events were last written on it.
    carried: Option<tokio::time::Instant>,
    /// Somebody is about to carry, or to wake the writer.
    called: bool,
    /// Nothing more is queued.
    sealed: bool,
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.ended.is_none()
    }
}

/// What waits for a reader, as an operator asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    pub deliveries: usize,
    pub bytes: usize,
    /// Bytes taken from the queue that are still being written, and for how long.
    pub writing: Option<(Duration, usize)>,
    /// When the oldest event that waits was inserted, in Unix microseconds.
    pub oldest: Option<i64>,
}

/// One connection's queue and the rooms it is in.
pub struct Subscription {
    pub(super) id: u64,
    pub(super) queue: Mutex<Queue>,
    pub(super) rooms: Mutex<HashMap<Arc<str>, Joined>>,
    /// Whether rooms were taken from it: then what waits may be of one of those.
    pub(super) narrowed: AtomicBool,
    /// Those that were taken and nobody has told yet.
    pub(super) withdrawn: Mutex<Vec<Arc<str>>>,
    pub(super) wake: Notify,
    pub(super) ended: Notify,
    pub(super) caller: OnceLock<Arc<Caller>>,
    pub(super) reserved: OnceLock<Reserved>,
    pub(super) hub: Arc<Shared>,
}

/// Judges claims (JSON text).
pub(super) type Reserved = Box<dyn Fn(&str) -> bool + Send + Sync>;

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    /// Queues events, each with its weight; true if it is to be called for them: see
    /// [`Subscription::carry`]. The number is theirs: those that come through several rooms come once.
    pub(super) fn offer(&self, events: &[(&Arc<Event>, usize)], number: u64) -> bool {
        let mut queue = self.queue.lock();
        if std::mem::replace(&mut queue.last, number) == number {
            return false;
        }
        let queued = |(event, weight): &(&Arc<Event>, usize)| {
            self.queue(&mut queue, Delivery::Event(Arc::clone(event)), *weight)
        };
        let taken = events.iter().map(queued).take_while(|taken| *taken).count() > 0;
        taken && !std::mem::replace(&mut queue.called, true)
    }

    /// Queues a delivery; its writer is to be woken.
    pub(super) fn push(&self, delivery: Delivery) {
        let weight = delivery.weight();
        self.queue(&mut self.queue.lock(), delivery, weight);
    }

    /// False if nobody is there to take it.
    fn queue(&self, queue: &mut Queue, delivery: Delivery, weight: usize) -> bool {
        if queue.ended.is_some() || queue.sealed {
            return false;
        }
        queue.bytes += weight;
        self.hub.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
        queue.waiting.push_back(delivery);
        // A single event is never too much: its size is bounded where it is written.
        if queue.bytes > self.hub.limits.queue_bytes && queue.waiting.len() > 1 {
            self.finish(queue, Ended::Lagged);
        }
        true
    }

    /// Counts nothing as waiting any more; returns how many bytes did.
    fn emptied(&self, queue: &mut Queue) -> usize {
        let bytes = std::mem::take(&mut queue.bytes);
        self.hub.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }

    fn finish(&self, queue: &mut Queue, ended: Ended) {
        queue.ended = Some(ended);
        queue.line = None;
        queue.waiting = VecDeque::new();
        self.emptied(queue);
        self.wake.notify_one();
        self.ended.notify_one();
    }

    /// Queues a frame of the connection's own.
    pub fn reply(&self, frame: Frame) {
        self.push(Delivery::Reply(frame));
        self.wake.notify_one();
    }

    /// Wakes the writer, for what does not wait in the queue.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until there is something to write.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Ends the subscription: what waits is dropped, `take` and `ended` say why.
    pub fn end(&self, ended: Ended) {
        let mut queue = self.queue.lock();
        if queue.ended.is_none() {
            self.finish(&mut queue, ended);
        }
    }

    /// Waits for deliveries and takes all that wait; none if there are rooms to be told as withdrawn.
    ///
    /// # Errors
    /// Why the subscription was ended.
    pub async fn take(&self) -> Result<VecDeque<Delivery>, Ended> {
        loop {
            let taken = self.take_waiting()?;
            if !taken.is_empty() || !self.withdrawn.lock().is_empty() {
                return Ok(taken);
            }
            self.wake.notified().await;
        }
    }

    /// Takes all that waits.
    ///
    /// # Errors
    /// Why the subscription was ended.
    pub fn take_waiting(&self) -> Result<VecDeque<Delivery>, Ended> {
        let mut queue = self.queue.lock();
        if let Some(ended) = queue.ended {
            return Err(ended);
        }
        let bytes = self.emptied(&mut queue);
        let taken = std::mem::take(&mut queue.waiting);
        // Whoever asks for more has written what it took before.
        queue.writing = None;
        // Bytes without a message: a publisher wrote a part of it, and its writer has the rest to write.
        if bytes > 0 || !taken.is_empty() {
            queue.writing = Some((Instant::now(), bytes));
            queue.line = None;
        }
        Ok(taken)
    }

    /// Its writer has written all that it took: until it takes again, whoever publishes may write
    /// events on this line, if there is one.
    pub fn rest(&self, line: impl Into<Option<Line>>) {
        let mut queue = self.queue.lock();
        queue.writing = None;
        if queue.is_idle() {
            queue.line = line.into();
        }
    }

    /// Carries what waits to the socket, if its writer is at rest, or else wakes that.
    pub(super) fn carry(&self, carriage: &mut Carriage) {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        queue.called = false;
        let mut carried = Carried::default();
        if let Some(line) = &queue.line
            && !self.narrowed.load(Ordering::Acquire)
        {
            let (spelling, waiting) = (&*line.spelling, &mut queue.waiting);
            carried = line.socket.carry(spelling, waiting, carriage);
        }
        if carried.any {
            queue.carried = Some(carriage.now);
        }
        if carried.all && queue.waiting.is_empty() {
            self.emptied(queue);
            if queue.waiting.capacity() > KEPT {
                queue.waiting = VecDeque::new();
            }
            return;
        }
        self.call_writer(queue);
    }

    /// The same without the attempt: what waits is its writer's.
    pub(super) fn leave_to_writer(&self) {
        self.call_writer(&mut self.queue.lock());
    }

    /// What was taken out and still waits keeps its weight until the writer has come.
    fn call_writer(&self, queue: &mut Queue) {
        queue.called = false;
        queue.line = None;
        self.wake.notify_one();
    }

    /// When events were last carried past the writer.
    #[must_use]
    pub fn carried(&self) -> Option<tokio::time::Instant> {
        self.queue.lock().carried
    }

    /// Says who reads from here, for operators; once.
    pub fn introduce(&self, caller: &Arc<Caller>) {
        let _ = self.caller.set(Arc::clone(caller));
    }

    /// Who reads from here, if they were introduced.
    #[must_use]
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.get()
    }

    /// Says which claims (JSON text) are those of whom it was opened for; once.
    pub fn reserve(&self, fits: impl Fn(&str) -> bool + Send + Sync + 'static) {
        let _ = self.reserved.set(Box::new(fits));
    }

    /// Whether somebody who has these claims by now may still read from here.
    #[must_use]
    pub fn is_for(&self, claims: &str) -> bool {
        self.reserved.get().is_none_or(|fits| fits(claims))
    }

    /// What waits for its reader.
    #[must_use]
    pub fn load(&self) -> Backlog {
        let queue = self.queue.lock();
        let oldest = queue.waiting.iter().find_map(Delivery::inserted);
        Backlog {
            deliveries: queue.waiting.len(),
            bytes: queue.bytes,
            writing: queue.writing.map(|(since, bytes)| (since.elapsed(), bytes)),
            oldest,
        }
    }

    /// Ends when the hub ends the subscription, whatever its reader does: for the side that watches
    /// over a writer that may be stuck.
    pub async fn ended(&self) -> Ended {
        loop {
            if let Some(ended) = self.queue.lock().ended {
                return ended;
            }
            self.ended.notified().await;
        }
    }

    /// Why the hub has ended it, if it has.
    #[must_use]
    pub fn over(&self) -> Option<Ended> {
        self.queue.lock().ended
    }

    /// Its writer is about to say something of its own: until it rests again, nobody writes past it.
    pub(super) fn rise(&self) {
        self.queue.lock().line = None;
    }

    /// Whether nothing waits, and nothing that did was dropped at its end.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.lock().is_idle()
    }

    /// Has nothing more queued nor written, for an answer that is complete or a writer that has ended: what
    /// comes from now on is for the next. True if nothing waits, and nothing that did was dropped at its
    /// end; what does is dropped. It may still be ended, and rooms taken from it.
    pub fn seal(&self) -> bool {
        let mut queue = self.queue.lock();
        let idle = queue.is_idle();
        queue.sealed = true;
        queue.line = None;
        queue.waiting = VecDeque::new();
        self.emptied(&mut queue);
        idle
    }

    /// Leaves every room and the hub. Whoever opened a subscription calls this once, at the end.
    pub fn close(&self) {
        self.hub.roster.lock().leave(self.id);
        let mut table = self.hub.table.lock();
        let rooms: Vec<_> = self.rooms.lock().keys().cloned().collect();
        for room in &rooms {
            table.exit(self, room);
        }
        table.tails.remove(&self.id);
        drop(table);
        self.hub.subscriptions.fetch_sub(1, Ordering::Relaxed);
        // An answer that is still on its way finds nobody; nor is the socket kept for whoever holds this.
        self.seal();
    }
}

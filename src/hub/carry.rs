//! Events to the sockets that are at rest, written by whoever publishes: no task is woken for them.
//! Hands everything else to the writers of the connections. It must never wait for a socket: what
//! one does not take at once is its writer's.

use super::delivery::Delivery;
use super::{Subscription, lock};
use crate::frame::Frame;
use crate::report;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread::available_parallelism;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Subscriptions that are carried to in one go: half a millisecond of system calls. So few are served
/// by whoever publishes; of more, each task takes as many at a time, and lets others go on.
const PART: usize = 128;

/// The way out of a connection, for others than its writer.
pub trait Line: Send + Sync {
    /// Writes the events at the front of these, as far as the socket takes them at once. True if
    /// nothing of what it took out still waits.
    fn carry(&self, waiting: &mut VecDeque<Delivery>, carriage: &mut Carriage) -> bool;
}

/// What is carried along from one subscription to the next.
pub struct Carriage {
    /// Room for the frames of one.
    pub frames: Vec<Frame>,
    /// When the events that were written were inserted, in Unix microseconds.
    pub live: Vec<i64>,
    pub events: usize,
    pub now: Instant,
}

/// Those who have been called, and tasks that carry to them.
#[derive(Debug)]
pub(super) struct Carriers {
    called: Mutex<Called>,
    /// How many tasks at most: one core is left to the next look, and to whoever comes in.
    most: usize,
    /// Where they run; nothing outside of a runtime.
    runtime: Option<Handle>,
}

#[derive(Debug, Default)]
struct Called {
    waiting: VecDeque<Arc<Subscription>>,
    tasks: usize,
}

impl Carriers {
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, Into::into);
        Self {
            called: Mutex::default(),
            most: (cores - 1).max(1),
            runtime: Handle::try_current().ok(),
        }
    }

    /// Carries to these what waits for them.
    pub fn carry(self: &Arc<Self>, called: Vec<Arc<Subscription>>) {
        let Some(runtime) = self.runtime.as_ref().filter(|_| called.len() > PART) else {
            return carry(&called);
        };
        let mut all = lock(&self.called);
        all.waiting.extend(called);
        while all.tasks < self.most && all.tasks * PART < all.waiting.len() {
            all.tasks += 1;
            let carriers = Arc::clone(self);
            runtime.spawn(async move {
                while let Some(part) = carriers.next() {
                    carry(&part);
                    tokio::task::yield_now().await;
                }
            });
        }
    }

    /// Who is next; nobody, and then the task that asks is none any more.
    fn next(&self) -> Option<Vec<Arc<Subscription>>> {
        let mut called = lock(&self.called);
        if called.waiting.is_empty() {
            called.waiting = VecDeque::new();
            called.tasks -= 1;
            return None;
        }
        let part = called.waiting.len().min(PART);
        Some(called.waiting.drain(..part).collect())
    }
}

fn carry(called: &[Arc<Subscription>]) {
    let mut carriage = Carriage {
        frames: Vec::new(),
        live: Vec::new(),
        events: 0,
        now: Instant::now(),
    };
    for subscription in called {
        subscription.carry(&mut carriage);
    }
    report::delivered(carriage.events);
    report::reached_socket(&carriage.live);
}

//! Events to the sockets that are at rest, written by whoever publishes: no task is woken for them.
//! Hands everything else to the writers of the connections. It must never wait for a socket: what
//! one does not take at once is its writer's.

use super::Subscription;
use super::delivery::Delivery;
use crate::frame::Frame;
use crate::report;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// Subscriptions that one task carries to: a millisecond of system calls, so that all cores share in
/// a large room, and a small one costs no task.
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

/// Carries to these what waits for them.
pub(super) fn carry(mut called: Vec<Arc<Subscription>>) {
    while called.len() > PART
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        let part = called.split_off(called.len() - PART);
        runtime.spawn(async move { carry_part(&part) });
    }
    carry_part(&called);
}

fn carry_part(called: &[Arc<Subscription>]) {
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

//! What was heard on the doorbell's channel: rings, and the few words that nodes say to each other.
//! Hands itself over to the listener. It must never take a stranger's word for more than a ring.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// What was heard since it was last asked for.
#[derive(Debug, Default)]
pub struct Heard {
    rung: Notify,
    channels: AtomicBool,
    overflowed: AtomicBool,
    closed: AtomicBool,
    lead: AtomicBool,
    /// The process that serves this connection: what it says comes back to us.
    own: AtomicI32,
    expected: Mutex<Option<String>>,
    others: Mutex<Option<Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Heard {
    /// The leading node has found events that were committed in silence.
    pub const TICK: &'static str = "tick";
    /// The leading node stops: another may lead.
    pub const LEAD: &'static str = "lead";
    /// Begins the words of [`Database::echo`](super::Database::echo).
    pub const ECHO: &'static str = "echo:";

    /// Ends when the doorbell rang, or the connection ended.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Whether `rowcast.channel` changed since the last time.
    pub fn channels_changed(&self) -> bool {
        self.channels.swap(false, Ordering::AcqRel)
    }

    /// Has `rowcast.channel` read anew, as if it had changed.
    pub fn recall_channels(&self) {
        self.channels.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether notifications were lost for want of room since the last time.
    pub fn overflowed(&self) -> bool {
        self.overflowed.swap(false, Ordering::AcqRel)
    }

    /// Whether the lead was given up since the last time.
    pub fn lead_is_free(&self) -> bool {
        self.lead.swap(false, Ordering::AcqRel)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// When another node was last heard to prove its LISTEN.
    pub fn others(&self) -> Option<Instant> {
        *lock(&self.others)
    }

    /// Begins to wait for a word of [`Database::echo`](super::Database::echo).
    pub fn expect(&self, word: &str) {
        *lock(&self.expected) = Some(word.to_owned());
    }

    /// Whether the word that was expected has come back.
    pub fn echoed(&self) -> bool {
        lock(&self.expected).is_none()
    }

    /// Notifications of this process are not heard.
    pub(super) fn is_not(&self, process: i32) {
        self.own.store(process, Ordering::Release);
    }

    pub(super) fn ring(&self) {
        self.rung.notify_one();
    }

    pub(super) fn overflow(&self) {
        self.overflowed.store(true, Ordering::Release);
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ring();
    }

    /// Anybody may ring: a word that is not ours means no more than a ring.
    pub(super) fn hear(&self, process: i32, payload: &str) {
        if process == self.own.load(Ordering::Acquire) {
            return;
        }
        match payload {
            "channel" => self.channels.store(true, Ordering::Release),
            Self::LEAD => self.lead.store(true, Ordering::Release),
            _ => {}
        }
        if payload.starts_with(Self::ECHO) {
            let mut expected = lock(&self.expected);
            if expected.as_deref() == Some(payload) {
                *expected = None;
            } else {
                *lock(&self.others) = Some(Instant::now());
            }
        }
        self.ring();
    }
}

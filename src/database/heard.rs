//! What was heard on the doorbell's channel: rings, and the few words that nodes say to each other.
//! Hands itself over to the listener. It must never take a stranger's word for more than a ring.

use parking_lot::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// So many rings are kept apart; a look for all of them is quicker than to read more one by one.
const MOST_RINGS: usize = 8;

/// What rang since it was last asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// The transactions, in the order of their commits, which is NOTIFY's.
    pub xids: Vec<u64>,
    /// Something else rang, or more than is kept apart: only a look tells what there is.
    pub other: bool,
}

impl Rings {
    /// Nothing is known of what there may be.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            xids: Vec::new(),
            other: true,
        }
    }
}

/// What was heard since it was last asked for.
#[derive(Debug, Default)]
pub struct Heard {
    rung: Notify,
    rings: Mutex<Rings>,
    channels: AtomicBool,
    overflowed: AtomicBool,
    closed: OnceLock<String>,
    lead: AtomicBool,
    /// The process that serves this connection: what it says comes back to us.
    own: AtomicI32,
    /// The word of a proof that has not come back yet.
    expected: Mutex<Option<String>>,
    others: Mutex<Option<Instant>>,
}

impl Heard {
    /// The leading node has found events that were committed in silence.
    pub const TICK: &'static str = "tick";
    /// The leading node stops: another may lead.
    pub const LEAD: &'static str = "lead";
    /// Begins the words of [`Database::echo`](super::Database::echo).
    pub const ECHO: &'static str = "echo:";

    /// Ends when the doorbell rang, or the connection ended; says what rang.
    pub async fn rung(&self) -> Rings {
        self.rung.notified().await;
        std::mem::take(&mut *self.rings.lock())
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

    /// Why the connection has ended, if it has.
    pub fn closed(&self) -> Option<&str> {
        self.closed.get().map(String::as_str)
    }

    /// When another node was last heard to prove its LISTEN.
    pub fn others(&self) -> Option<Instant> {
        *self.others.lock()
    }

    /// Begins to wait for a word of [`Database::echo`](super::Database::echo).
    pub fn expect(&self, word: &str) {
        *self.expected.lock() = Some(word.to_owned());
    }

    /// Whether the word that was expected has come back.
    pub fn echoed(&self) -> bool {
        self.expected.lock().is_none()
    }

    /// Notifications of this process are not heard.
    pub(super) fn is_not(&self, process: i32) {
        self.own.store(process, Ordering::Release);
    }

    /// Has the listener look.
    pub(super) fn ring(&self) {
        self.rings.lock().other = true;
        self.rung.notify_one();
    }

    /// A transaction rang: all that it wrote is visible now.
    fn ring_for(&self, xid: u64) {
        let mut rings = self.rings.lock();
        if rings.xids.len() < MOST_RINGS {
            rings.xids.push(xid);
        } else {
            rings.other = true;
        }
        drop(rings);
        self.rung.notify_one();
    }

    pub(super) fn overflow(&self) {
        self.overflowed.store(true, Ordering::Release);
    }

    /// The connection has ended: by itself, or for this reason.
    pub(super) fn close(&self, why: Option<String>) {
        let why = why.unwrap_or_else(|| "the server closed it".to_owned());
        let _ = self.closed.set(why);
        self.ring();
    }

    /// Anybody may ring: a word that is not ours means no more than a ring, and a number no more than
    /// that this transaction is worth a question.
    pub(super) fn hear(&self, process: i32, payload: &str) {
        if process == self.own.load(Ordering::Acquire) {
            return;
        }
        if let Ok(xid) = payload.parse() {
            return self.ring_for(xid);
        }
        match payload {
            "channel" => self.channels.store(true, Ordering::Release),
            Self::LEAD => self.lead.store(true, Ordering::Release),
            echo if echo.starts_with(Self::ECHO) => {
                let ours = self.expected.lock().take_if(|word| *word == echo);
                if ours.is_none() {
                    *self.others.lock() = Some(Instant::now());
                }
            }
            _ => {}
        }
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn transactions_are_kept_in_order_and_anything_else_is_worth_a_look() {
        let heard = Heard::default();
        heard.is_not(7);
        heard.hear(7, "1");
        heard.hear(8, "12");
        heard.hear(9, "11");
        let rings = heard.rung().await;
        assert_eq!((&rings.xids[..], rings.other), (&[12, 11][..], false));
        for word in ["", "setting", Heard::TICK, "-1", "18446744073709551616"] {
            heard.hear(8, word);
            assert_eq!(heard.rung().await, Rings::unknown(), "{word}");
        }
        (0..=MOST_RINGS).for_each(|_| heard.hear(8, "13"));
        let rings = heard.rung().await;
        assert_eq!((rings.xids.len(), rings.other), (MOST_RINGS, true));
    }
}

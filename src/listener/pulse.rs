//! What operators ask about the listener: whether events get through, and who rings.
//! Hands itself to `/readyz` and `/metrics`. It must never say yes by itself: only proofs do.

use super::ListenerError;
use crate::config::{self, Doorbell};
use crate::database::{DatabaseError, LogSize};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The doorbell as this node sees it.
#[derive(Clone, Copy, Debug)]
pub struct Bell {
    pub doorbell: Doorbell,
    /// Whether writers are told to ring.
    pub rings: bool,
    /// Whether this node leads.
    pub leads: bool,
    /// Of NOTIFY's queue, 0 to 1.
    pub queue_usage: f64,
}

/// What `/readyz` asks: when the listener last proved itself.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// Milliseconds since `start` of the last look and of the last proof, 0 for never.
    looked: AtomicU64,
    proven: AtomicU64,
    /// Why there is no proof yet.
    trouble: Mutex<String>,
    /// Why none could be asked for, the last time.
    pool: Mutex<Option<String>>,
    /// Events read since there was more than one look brings; 0: there is no more.
    caught_up: AtomicU64,
    bell: Mutex<Option<Bell>>,
    log: Mutex<Option<LogSize>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            looked: AtomicU64::new(0),
            proven: AtomicU64::new(0),
            trouble: Mutex::new("starting".into()),
            pool: Mutex::default(),
            caught_up: AtomicU64::new(0),
            bell: Mutex::default(),
            log: Mutex::default(),
        }
    }
}

impl Pulse {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// The log was read to its end.
    pub(super) fn looked(&self, bell: Bell) {
        self.caught_up.store(0, Ordering::Relaxed);
        self.looked.store(self.now(), Ordering::Relaxed);
        *self.bell.lock() = Some(bell);
    }

    /// There is a connection, and the log lies before it.
    pub(super) fn catches_up(&self) {
        self.caught_up.store(0, Ordering::Relaxed);
        "catching up with the log".clone_into(&mut self.trouble.lock());
    }

    /// So many events were read of it, and there is more.
    pub(super) fn read(&self, events: usize) {
        self.caught_up.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// A proof could not be asked for: over the pool, which lets everybody in.
    pub(super) fn pool_failed(&self, error: &DatabaseError) {
        *self.pool.lock() = Some(format!("the pool's address (database.url): {error}"));
    }

    /// LISTEN was proven to hear; says whether it was not before.
    pub(super) fn proven(&self) -> bool {
        *self.pool.lock() = None;
        self.proven.swap(self.now(), Ordering::Relaxed) == 0
    }

    pub(super) fn stop(&self, trouble: &ListenerError) {
        self.proven.store(0, Ordering::Relaxed);
        *self.trouble.lock() = trouble.to_string();
        *self.pool.lock() = None;
        if let Some(bell) = self.bell.lock().as_mut() {
            bell.leads = false;
        }
    }

    /// The doorbell at the last look.
    #[must_use]
    pub fn bell(&self) -> Option<Bell> {
        *self.bell.lock()
    }

    /// The leader has measured the log.
    pub(super) fn measured(&self, size: LogSize) {
        *self.log.lock() = Some(size);
    }

    /// What the log took when this node last looked after it; nothing while another leads.
    #[must_use]
    pub fn log_size(&self) -> Option<LogSize> {
        let leads = self.bell().is_some_and(|bell| bell.leads);
        self.log.lock().filter(|_| leads)
    }

    /// Time since the last look at the log that was answered.
    #[must_use]
    pub fn lag(&self) -> Duration {
        // In this order: a look in between would lie in the future.
        let looked = self.looked.load(Ordering::Relaxed);
        Duration::from_millis(self.now().saturating_sub(looked))
    }

    /// Whether events get through, or why not.
    ///
    /// # Errors
    /// The reason, in words for an operator.
    pub fn check(&self, settings: &config::Listener) -> Result<(), String> {
        let caught_up = match self.caught_up.load(Ordering::Relaxed) {
            0 => String::new(),
            events => format!("; catching up, {events} events so far"),
        };
        let pool = || self.pool.lock().clone();
        let proven = self.proven.load(Ordering::Relaxed);
        if proven == 0 {
            let trouble = || format!("{}{caught_up}", self.trouble.lock());
            return Err(pool().unwrap_or_else(trouble));
        }
        let silent = Duration::from_millis(self.now().saturating_sub(proven));
        if silent > settings.proof + settings.proof_timeout + settings.floor {
            let unheard = || format!("the doorbell was not heard for {} ms", silent.as_millis());
            return Err(pool().unwrap_or_else(unheard));
        }
        if self.lag() > settings.ready_lag {
            return Err(format!(
                "the log was not read to its end for {} ms{caught_up}",
                self.lag().as_millis()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RawSettings, Settings};

    #[test]
    fn the_reason_is_of_now() {
        let raw = RawSettings::load(None, std::iter::empty(), &[]).unwrap();
        let settings = Settings::check(raw).unwrap().listener;
        let pulse = Pulse::default();
        let why = || pulse.check(&settings).unwrap_err();
        assert_eq!(why(), "starting");
        let silence = DatabaseError::Timeout(Duration::from_secs(3));
        pulse.pool_failed(&silence);
        let pool = why();
        assert!(pool.starts_with("the pool's address"), "{pool}");
        assert!(pool.contains("3000 ms"), "{pool}");
        pulse.stop(&ListenerError::Closed("it broke".to_owned()));
        assert_eq!(why(), "the connection to the database ended: it broke");
        pulse.catches_up();
        assert_eq!(why(), "catching up with the log");
        pulse.read(7);
        pulse.read(5);
        let far = why();
        assert!(far.ends_with("catching up, 12 events so far"), "{far}");
        pulse.proven();
        pulse.looked(Bell {
            doorbell: Doorbell::Adaptive,
            rings: true,
            leads: true,
            queue_usage: 0.0,
        });
        assert_eq!(pulse.check(&settings), Ok(()));
    }
}

//! What operators ask about the listener: whether events get through, and who rings.
//! Hands itself to `/readyz` and `/metrics`. It must never say yes by itself: only proofs do.

use super::ListenerError;
use crate::config::{self, Doorbell};
use crate::database::LogSize;
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
    trouble: Mutex<String>,
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

    /// The log was read.
    pub(super) fn looked(&self, bell: Bell) {
        self.looked.store(self.now(), Ordering::Relaxed);
        *self.bell.lock() = Some(bell);
    }

    /// LISTEN was proven to hear; says whether it was not before.
    pub(super) fn proven(&self) -> bool {
        self.proven.swap(self.now(), Ordering::Relaxed) == 0
    }

    pub(super) fn stop(&self, trouble: &ListenerError) {
        self.proven.store(0, Ordering::Relaxed);
        *self.trouble.lock() = trouble.to_string();
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
        Duration::from_millis(self.now() - self.looked.load(Ordering::Relaxed).min(self.now()))
    }

    /// Whether events get through, or why not.
    ///
    /// # Errors
    /// The reason, in words for an operator.
    pub fn check(&self, settings: &config::Listener) -> Result<(), String> {
        let proven = self.proven.load(Ordering::Relaxed);
        if proven == 0 {
            return Err(self.trouble.lock().clone());
        }
        let silent = Duration::from_millis(self.now().saturating_sub(proven));
        if silent > settings.proof + settings.proof_timeout + settings.floor {
            return Err(format!(
                "the doorbell was not heard for {} ms",
                silent.as_millis()
            ));
        }
        if self.lag() > settings.ready_lag {
            return Err(format!(
                "the log was not read for {} ms",
                self.lag().as_millis()
            ));
        }
        Ok(())
    }
}

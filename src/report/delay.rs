//! How long events were under way, counted in buckets: from their insert to a subscription's queue,
//! and to a reader's socket. Hands its counts to `/metrics` and the console.
//! It must never keep more than its counts: who heard what is nobody's business here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds: below what anybody feels, up to what everybody does.
pub const BOUNDS: [f64; 14] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// A count for each bound, and one for whatever took longer.
pub type Counts = [u64; BOUNDS.len() + 1];

/// A histogram that many count into at once.
pub struct Delays {
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Delays {
    pub const fn new() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            micros: AtomicU64::new(0),
        }
    }

    pub fn count(&self, delay: Duration) {
        let bucket = bucket(delay);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The counts so far, each for itself.
    #[must_use]
    pub fn counts(&self) -> Counts {
        std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed))
    }

    /// What they took together.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let micros = self.micros.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a sum for a graph")]
        let seconds = micros as f64 / 1e6;
        seconds
    }
}

fn bucket(delay: Duration) -> usize {
    let seconds = delay.as_secs_f64();
    let bounds = BOUNDS.iter();
    bounds
        .take_while(|bound| seconds > **bound)
        .count()
        .min(BOUNDS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_counts_in_the_first_bucket_that_holds_it() {
        let delays = Delays::new();
        for micros in [0, 500, 501, 10_000_000, 10_000_001, u64::MAX] {
            delays.count(Duration::from_micros(micros));
        }
        let counts = delays.counts();
        assert_eq!((counts[0], counts[1]), (2, 1));
        assert_eq!((counts[BOUNDS.len() - 1], counts[BOUNDS.len()]), (1, 2));
    }
}

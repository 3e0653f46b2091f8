//! How often somebody may ask: a bucket of messages, for one connection or for one user over many.
//! Hands yes or no to the transports. It must never remember somebody whose bucket is full again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A bucket of messages: a second's worth, and once more for a burst.
#[derive(Debug)]
pub struct Allowance {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn new(rate: usize) -> Self {
        let rate = rate as f64;
        Self {
            rate,
            left: rate * 2.0,
            at: Instant::now(),
        }
    }

    /// Whether one more is within the rate; then it counts.
    pub fn take(&mut self) -> bool {
        self.refill();
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }

    fn refill(&mut self) {
        let now = Instant::now();
        let refilled = (now - self.at).as_secs_f64().mul_add(self.rate, self.left);
        self.left = refilled.min(self.rate * 2.0);
        self.at = now;
    }

    fn is_full(&mut self) -> bool {
        self.refill();
        self.left >= self.rate * 2.0
    }
}

/// Buckets by name, of those who come with a new connection each time.
#[derive(Debug, Default)]
pub struct Allowances(Mutex<HashMap<String, Allowance>>);

impl Allowances {
    /// Whether one more of this name is within the rate, and within `most` names that are not full.
    pub fn take(&self, name: &str, rate: usize, most: usize) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(name) {
            return bucket.take();
        }
        if buckets.len() >= most {
            buckets.retain(|_, bucket| !bucket.is_full());
        }
        if buckets.len() >= most {
            return false;
        }
        let bucket = buckets.entry(name.to_owned());
        bucket.or_insert_with(|| Allowance::new(rate)).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_twice_the_rate_and_each_name_has_its_own() {
        let all = Allowances::default();
        let taken = (0..100).filter(|_| all.take("a", 5, 2)).count();
        assert!((10..=12).contains(&taken), "{taken}");
        assert!(all.take("b", 5, 2));
        assert!(!all.take("c", 5, 2), "two names, and none of them is full");
        assert!(all.take("c", 5, 3));
    }

    #[test]
    fn who_is_full_again_is_forgotten() {
        let all = Allowances::default();
        for name in 0..1000 {
            // At this rate a bucket is full at once.
            assert!(all.take(&name.to_string(), 1_000_000_000, 10), "{name}");
        }
        assert!(all.0.lock().unwrap().len() <= 10);
    }
}

//! How often somebody may ask: a bucket of messages, for one connection or for one user over many.
//! Hands yes or no to the transports. It must never remember somebody whose bucket is full again.

use super::whose::Whose;
use crate::config::Limits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Instant;

/// A bucket that fills at a rate: what is allowed now, with a burst.
#[derive(Debug)]
pub struct Allowance {
    rate: f64,
    burst: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    /// `rate` a second; a full bucket holds `burst`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rates")]
    pub fn new(rate: usize, burst: usize, now: Instant) -> Self {
        let (rate, burst) = (rate as f64, burst as f64);
        Self {
            rate,
            burst,
            left: burst,
            at: now,
        }
    }

    /// What one connection may say: twice as much at once as in a second.
    #[must_use]
    pub fn of_messages(limits: &Limits) -> Self {
        let rate = limits.messages_per_second;
        Self::new(rate, rate * 2, Instant::now())
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.take_above(0.0, now)
    }

    /// The same for somebody who has to leave so many for others.
    pub fn take_above(&mut self, others: f64, now: Instant) -> bool {
        self.refill(now);
        let allowed = self.left >= others + 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = since.mul_add(self.rate, self.left).min(self.burst);
        self.at = self.at.max(now);
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left >= self.burst
    }
}

/// What is said to a connection that has used up its messages.
#[must_use]
pub fn exceeded(limits: &Limits) -> String {
    format!("at most {} messages a second", limits.messages_per_second)
}

/// A bucket for each of those who come with a new connection each time.
#[derive(Debug, Default)]
pub struct Allowances(Mutex<HashMap<Option<Whose>, Allowance>>);

impl Allowances {
    /// Whether one more of theirs is within the rate, and within `most` buckets that are not full.
    pub fn take(&self, whose: Option<Whose>, rate: usize, most: usize) -> bool {
        let now = Instant::now();
        let mut buckets = self.0.lock();
        if let Some(bucket) = buckets.get_mut(&whose) {
            return bucket.take(now);
        }
        if buckets.len() >= most {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        if buckets.len() >= most {
            return false;
        }
        let mut bucket = Allowance::new(rate, rate * 2, now);
        let allowed = bucket.take(now);
        buckets.insert(whose, bucket);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Option<Whose> {
        Whose::of(Some(name), None)
    }

    #[test]
    fn a_burst_is_twice_the_rate_and_each_user_has_their_own() {
        let all = Allowances::default();
        let taken = (0..100).filter(|_| all.take(user("a"), 5, 2)).count();
        assert!((10..=12).contains(&taken), "{taken}");
        assert!(all.take(user("b"), 5, 2));
        assert!(
            !all.take(user("c"), 5, 2),
            "two users, and neither's is full"
        );
        assert!(all.take(user("c"), 5, 3));
    }

    #[test]
    fn who_is_full_again_is_forgotten() {
        let all = Allowances::default();
        for name in 0..1000 {
            // At this rate a bucket is full at once.
            let name = user(&name.to_string());
            assert!(all.take(name.clone(), 1_000_000_000, 10), "{name:?}");
        }
        assert!(all.0.lock().len() <= 10);
    }
}

//! The rate limit of lines that come as fast as something repeats: what clients send, links that end,
//! rules that break. Hands over which to log.
//! It must never let more than one a second through, nor forget how many it held back.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds in which one is told of.
const SPAN: u64 = 1000;

/// Lines of one kind, such as the refusals of one connection.
#[derive(Debug, Default)]
pub struct Repeated {
    /// When the next may be told of, in Unix milliseconds.
    next: AtomicU64,
    untold: AtomicU64,
}

impl Repeated {
    pub(super) const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        }
    }

    /// How many went untold before this one, if it is to be told of.
    pub(super) fn tell(&self, now: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        // A clock that was set back is not waited for.
        let soon = (next.saturating_sub(SPAN)..next).contains(&now);
        let (ours, order) = (now + SPAN, Ordering::Relaxed);
        if soon
            || self
                .next
                .compare_exchange(next, ours, order, order)
                .is_err()
        {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.untold.swap(0, Ordering::Relaxed))
    }
}

/// The same by reason, so that many of one hide no other. Reasons are ours: few, and none is forgotten.
pub(super) struct ByReason(Mutex<Vec<(String, Repeated)>>);

impl ByReason {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// How many of this reason went untold before this one, if it is to be told of.
    pub(super) fn tell(&self, reason: &str, now: u64) -> Option<u64> {
        let mut reasons = self.0.lock();
        if let Some((_, repeated)) = reasons.iter().find(|(known, _)| known == reason) {
            return repeated.tell(now);
        }
        let repeated = Repeated::new();
        let told = repeated.tell(now);
        reasons.push((reason.to_owned(), repeated));
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_told_and_knows_of_the_others() {
        let repeated = Repeated::default();
        let told = [5000, 5000, 5500, 5999, 6000, 6001, 9000, 3000, 3999, 4000];
        let told = told.map(|now| repeated.tell(now));
        let (silent, first) = (None, Some(0));
        let expected = [
            first,
            silent,
            silent,
            silent,
            Some(3),
            silent,
            Some(1),
            // Set back.
            first,
            silent,
            Some(1),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn many_of_one_reason_hide_no_other() {
        let reasons = ByReason::new();
        let told = [
            ("expired", 5000),
            ("expired", 5001),
            ("forged", 5002),
            ("expired", 6000),
            ("forged", 6001),
            ("forged", 6002),
        ];
        let told = told.map(|(reason, now)| reasons.tell(reason, now));
        assert_eq!(told, [Some(0), None, Some(0), Some(1), None, Some(1)]);
    }
}

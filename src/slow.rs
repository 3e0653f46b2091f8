//! Who was slow a moment ago, so that others need not wait behind them.
//! Hands its word over to whoever gives out turns. It must never remember anybody for longer than a while: a
//! rule or a function may be quick again.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// Whose statement takes so long is slow: more than a crowd takes on a busy machine.
pub const SLOW: Duration = Duration::from_millis(250);

/// For how long that is remembered. So they are few: each has kept a statement for [`SLOW`] within it.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Those who were slow, and until when that is remembered.
#[derive(Debug)]
pub struct Slow<K>(HashMap<K, Instant>);

impl<K> Default for Slow<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Slow<K> {
    pub fn note(&mut self, who: K, now: Instant) {
        self.0.retain(|_, until| now < *until);
        self.0.insert(who, now + REMEMBERED);
    }

    pub fn knows<Q: Eq + Hash + ?Sized>(&self, who: &Q, now: Instant) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.get(who).is_some_and(|until| now < *until)
    }

    /// Mostly nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_slow_for_ever() {
        let now = Instant::now();
        let mut slow = Slow::<String>::default();
        slow.note("1".to_owned(), now);
        assert!(slow.knows("1", now) && !slow.knows("2", now));
        let later = now + REMEMBERED;
        assert!(!slow.knows("1", later));
        slow.note("2".to_owned(), later);
        assert_eq!(slow.0.len(), 1);
    }
}

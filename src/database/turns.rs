//! Turns among those who call: nobody's calls take all connections, nor do those of functions that are slow,
//! however many users call these.
//! Hands a turn over to each call. It must never remember a user who has none under way.

use crate::slow::{SLOW, Slow};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// All turns.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    /// How many each user has, and how many there are for calls of functions that are slow.
    most: usize,
    users: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
    slow_ones: Arc<Semaphore>,
    slow: Arc<Mutex<Slow<String>>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    function: String,
    slow: Arc<Mutex<Slow<String>>>,
    _permits: [Option<OwnedSemaphorePermit>; 3],
}

/// A turn in which a call runs. However that ends, it is noted how long it took.
#[derive(Debug)]
pub(super) struct Begun {
    turn: Turn,
    at: Instant,
}

impl Turns {
    /// So many run at once, of which one is left for others.
    pub fn new(running: usize) -> Self {
        let most = (running - 1).max(1);
        Self {
            all: Arc::new(Semaphore::new(running)),
            most,
            users: Arc::default(),
            slow_ones: Arc::new(Semaphore::new(most)),
            slow: Arc::default(),
        }
    }

    /// Waits for the turn of a user among their own, and then as long for one among all.
    pub async fn take(&self, user: Option<&str>, function: &str, wait: Duration) -> Option<Turn> {
        let own = self.of(user).acquire_owned();
        let own = timeout(wait, own).await.ok()?.ok();
        let (of_all, of_slow) = timeout(wait, self.among_all(function)).await.ok()?;
        Some(Turn {
            function: function.to_owned(),
            slow: Arc::clone(&self.slow),
            _permits: [own, of_all, of_slow],
        })
    }

    async fn among_all(
        &self,
        function: &str,
    ) -> (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>) {
        loop {
            let of_slow = if self.is_slow(function) {
                Arc::clone(&self.slow_ones).acquire_owned().await.ok()
            } else {
                None
            };
            let of_all = Arc::clone(&self.all).acquire_owned().await.ok();
            // What was found to be slow while this one waited lets others go first.
            if of_slow.is_some() || !self.is_slow(function) {
                return (of_all, of_slow);
            }
        }
    }

    fn is_slow(&self, function: &str) -> bool {
        self.slow.lock().knows(function, Instant::now())
    }

    /// Those of a user. Those without a name have turns together.
    fn of(&self, user: Option<&str>) -> Arc<Semaphore> {
        let user = user.unwrap_or_default();
        let mut users = self.users.lock();
        if let Some(turns) = users.get(user).and_then(Weak::upgrade) {
            return turns;
        }
        users.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(self.most));
        users.insert(user.to_owned(), Arc::downgrade(&turns));
        turns
    }
}

impl Turn {
    /// The call begins.
    pub fn begin(self) -> Begun {
        let at = Instant::now();
        Begun { turn: self, at }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let now = Instant::now();
        if now - self.at >= SLOW {
            let function = std::mem::take(&mut self.turn.function);
            self.turn.slow.lock().note(function, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;

    const WAIT: Duration = Duration::from_secs(1);

    #[test]
    fn each_has_turns_of_their_own_for_as_long_as_they_call() {
        let turns = Turns::new(4);
        let (one, other) = (turns.of(Some("1")), turns.of(Some("2")));
        let held = one.try_acquire_many(3).unwrap();
        assert!(turns.of(Some("1")).try_acquire().is_err());
        assert!(other.try_acquire().is_ok() && turns.of(None).try_acquire().is_ok());
        drop(held);
        drop((one, other));
        assert_eq!(turns.of(Some("3")).available_permits(), 3);
        assert_eq!(turns.users.lock().len(), 1, "who has left is forgotten");
        assert_eq!(Turns::new(1).of(None).available_permits(), 1);
    }

    /// A hundred users who called one slow function had all turns, and those that came free were theirs, too.
    #[tokio::test]
    async fn who_waits_for_a_slow_function_lets_others_go_first() {
        let turns = Turns::new(4);
        let mut running = Vec::new();
        for user in ["1", "2", "3", "4"] {
            let turn = turns.take(Some(user), "slow", WAIT).await;
            running.push(turn.expect("it is free").begin());
        }
        let mut waits = pin!(turns.take(Some("5"), "slow", WAIT));
        let mut behind = pin!(turns.take(Some("6"), "quick", WAIT));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(behind.as_mut().now_or_never().is_none());
        running[3].at -= SLOW;
        drop(running.pop());
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(behind.as_mut().now_or_never().is_some());
        drop(running);
        let mut slow = Vec::new();
        while let Some(turn) = turns.take(None, "slow", Duration::ZERO).await {
            slow.push(turn);
        }
        assert_eq!(slow.len(), 2, "and the one who waits has the third");
        assert!(
            turns
                .take(Some("7"), "quick", Duration::ZERO)
                .await
                .is_some()
        );
    }
}

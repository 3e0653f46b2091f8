//! Turns of each user among those who call: nobody's calls take all connections.
//! Hands the turns of a user over to their calls. It must never remember somebody who has none under way.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::Semaphore;

/// The turns of all users.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    /// How many each has.
    most: usize,
    users: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl Turns {
    /// Of so many that run at once, one is left for others.
    pub fn of_all_but_one(running: usize) -> Self {
        Self {
            most: (running - 1).max(1),
            users: Arc::default(),
        }
    }

    /// Those of a user. Those without a name have turns together.
    pub fn of(&self, user: Option<&str>) -> Arc<Semaphore> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_turns_of_their_own_for_as_long_as_they_call() {
        let turns = Turns::of_all_but_one(4);
        let (one, other) = (turns.of(Some("1")), turns.of(Some("2")));
        let held = one.try_acquire_many(3).unwrap();
        assert!(turns.of(Some("1")).try_acquire().is_err());
        assert!(other.try_acquire().is_ok() && turns.of(None).try_acquire().is_ok());
        drop(held);
        drop((one, other));
        assert_eq!(turns.of(Some("3")).available_permits(), 3);
        assert_eq!(turns.users.lock().len(), 1, "who has left is forgotten");
        assert_eq!(Turns::of_all_but_one(1).of(None).available_permits(), 1);
    }
}

//! How many there are, in all and of each: connections, sockets, calls, bytes.
//! Hands out what is counted, which ends when it is dropped. It must never count what is gone.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// How many there are by user, by address, or by whatever else.
#[derive(Debug)]
pub struct Counts<K>(Arc<Mutex<Counting<K>>>);

#[derive(Debug)]
struct Counting<K> {
    all: usize,
    of_each: HashMap<K, usize>,
}

/// Some of them, until this is dropped.
#[derive(Debug)]
pub struct Counted<K: Eq + Hash> {
    counts: Counts<K>,
    key: Option<K>,
    count: usize,
}

/// Why there can't be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are too many in all.
    All,
    /// This one has too many.
    Own,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        let (all, of_each) = (0, HashMap::new());
        Self(Arc::new(Mutex::new(Counting { all, of_each })))
    }
}

impl<K> Clone for Counts<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash + Clone> Counts<K> {
    /// One more, if fewer than `most` are there, and fewer than `of_one` of this one. Whoever is nobody
    /// counts in all alone.
    ///
    /// # Errors
    /// There are so many.
    pub fn enter(&self, key: Option<K>, most: usize, of_one: usize) -> Result<Counted<K>, Full> {
        self.add(key, 1, |all, own| match (all < most, own < of_one) {
            (true, true) => Ok(()),
            (true, false) => Err(Full::Own),
            (false, _) => Err(Full::All),
        })
    }

    /// The same, where whoever has `share` of them leaves half to the others: nobody fills it alone.
    ///
    /// # Errors
    /// There are so many.
    pub fn enter_fairly(&self, key: K, most: usize, share: usize) -> Result<Counted<K>, Full> {
        self.add(Some(key), 1, |all, own| {
            if all >= most {
                Err(Full::All)
            } else if own >= share && all >= most / 2 {
                Err(Full::Own)
            } else {
                Ok(())
            }
        })
    }

    /// So many more, if they may come to those that are there: in all, and of this one.
    ///
    /// # Errors
    /// Why they may not.
    pub fn add<E>(
        &self,
        key: Option<K>,
        count: usize,
        may: impl FnOnce(usize, usize) -> Result<(), E>,
    ) -> Result<Counted<K>, E> {
        let mut counting = self.0.lock();
        let own = key.as_ref().and_then(|key| counting.of_each.get(key));
        let own = own.copied().unwrap_or(0);
        may(counting.all, own)?;
        counting.all += count;
        if let Some(key) = &key {
            counting.of_each.insert(key.clone(), own + count);
        }
        drop(counting);
        let counts = self.clone();
        Ok(Counted { counts, key, count })
    }
}

impl<K> Counts<K> {
    /// How many there are in all.
    #[must_use]
    pub fn all(&self) -> usize {
        self.0.lock().all
    }
}

impl<K: Eq + Hash> Counted<K> {
    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> Option<&K> {
        self.key.as_ref()
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut counting = self.counts.0.lock();
        counting.all -= self.count;
        if let Some(key) = &self.key
            && let Some(own) = counting.of_each.get_mut(key)
        {
            *own -= self.count;
            // Who has none is not kept.
            if *own == 0 {
                counting.of_each.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_until_it_is_dropped() {
        let counts = Counts::default();
        let enter = |key| counts.enter(key, 5, 2);
        let mut inside: Vec<_> = (0..2).map(|_| enter(Some("a")).unwrap()).collect();
        assert_eq!(enter(Some("a")).unwrap_err(), Full::Own);
        inside.extend(["b", "c"].map(|key| enter(Some(key)).unwrap()));
        inside.push(enter(None).unwrap());
        assert_eq!(enter(None).unwrap_err(), Full::All);
        assert_eq!(enter(Some("a")).unwrap_err(), Full::All);
        assert_eq!(inside.remove(0).key(), Some(&"a"));
        inside.push(enter(Some("a")).unwrap());
        assert_eq!((counts.all(), counts.0.lock().of_each.len()), (5, 3));
        inside.clear();
        assert_eq!(counts.all(), 0);
        assert!(counts.0.lock().of_each.is_empty());
    }

    #[test]
    fn who_has_had_a_share_leaves_half_to_others() {
        let counts = Counts::default();
        let enter = |key| counts.enter_fairly(key, 20, 2).ok();
        let alone: Vec<_> = (0..30).filter_map(|_| enter(0)).collect();
        assert_eq!(alone.len(), 10);
        let others = (1..30).flat_map(|key| [key; 3]);
        let others: Vec<_> = others.filter_map(enter).collect();
        let keys = others.iter().filter_map(Counted::key);
        assert_eq!(
            keys.copied().collect::<Vec<_>>(),
            [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        );
        drop(alone);
        assert!(enter(1).is_none(), "half is taken, and it has its share");
        drop(others);
        let again: Vec<_> = (0..3).filter_map(|_| enter(1)).collect();
        assert_eq!(again.len(), 3, "more than half is free");
    }
}

//! Places on their way to the database: of each reader the furthest, many readers in one statement.
//! Hands whoever waits the place that is stored then. It must never write a reader twice within its
//! pause, nor let go of a place before it is written or the patience with the database is over.

use crate::bookmark::Bookmark;
use crate::config;
use crate::database::{Database, DatabaseError, Mark, Written};
use crate::report;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// A user and the name of a reader of theirs.
pub type Key = (Arc<str>, Arc<str>);

/// How far a reader has come.
#[derive(Clone, Debug)]
pub struct Place {
    pub bookmark: Bookmark,
    pub text: Arc<str>,
    /// It counts only for a reader that has acknowledged all up to here: it was sent nothing since.
    /// Nobody waits for such a one, and it gives way to any other.
    pub after: Option<Arc<str>>,
}

/// Why a place was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstored {
    /// There is no such reader, or no longer.
    Unknown,
    /// The database does not take it now; or too many wait.
    Away,
}

/// Where the reader stands, once that is stored.
pub type Stored = Result<Arc<str>, Unstored>;

/// All places that are to be written.
#[derive(Debug)]
pub struct Ledger {
    settings: config::Readers,
    database: Database,
    pages: Mutex<Pages>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    entries: HashMap<Key, Entry>,
    /// Taken from the entries, and not known to be written.
    writing: usize,
    /// The service stops: nothing waits for its turn.
    hurries: bool,
}

/// What is known of one reader; of one that has nothing to be written, only when it may be again.
#[derive(Debug)]
struct Entry {
    place: Option<Place>,
    waiting: Vec<oneshot::Sender<Stored>>,
    due: Instant,
    /// Since when the database has not taken its place.
    failing: Option<Instant>,
}

/// An entry's content while it is being written.
#[derive(Debug)]
struct Job {
    key: Key,
    place: Place,
    waiting: Vec<oneshot::Sender<Stored>>,
}

impl Place {
    /// Which of two is to be written; what is neither behind nor ahead of the other is what was said
    /// last.
    fn or_later(self, later: Self) -> Self {
        let gives_way = match (&self.after, &later.after) {
            (None, None) => {
                self.bookmark.is_within(&later.bookmark)
                    || !later.bookmark.is_within(&self.bookmark)
            }
            (None, Some(_)) => false,
            (Some(_), _) => true,
        };
        if gives_way { later } else { self }
    }
}

impl Entry {
    fn new(due: Instant) -> Self {
        Self {
            place: None,
            waiting: Vec::new(),
            due,
            failing: None,
        }
    }

    /// Takes back what could not be written, under what has come meanwhile.
    fn take_back(&mut self, job: Job) {
        self.place = Some(match self.place.take() {
            Some(newer) => job.place.or_later(newer),
            None => job.place,
        });
        self.waiting.splice(0..0, job.waiting);
    }
}

impl Ledger {
    #[must_use]
    pub fn new(settings: config::Readers, database: Database) -> Self {
        Self {
            settings,
            database,
            pages: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Takes a place to be written; it is from now on, whether or not anybody waits for the answer.
    pub fn note(&self, key: Key, place: Place) -> oneshot::Receiver<Stored> {
        let (tell, told) = oneshot::channel();
        let mut pages = self.pages.lock();
        if !pages.entries.contains_key(&key) && pages.entries.len() >= self.settings.waiting {
            let _ = tell.send(Err(Unstored::Away));
            return told;
        }
        let entry = pages.entries.entry(key);
        let entry = entry.or_insert_with(|| Entry::new(Instant::now()));
        entry.place = Some(match entry.place.take() {
            Some(earlier) => earlier.or_later(place),
            None => place,
        });
        entry.waiting.push(tell);
        drop(pages);
        self.wake.notify_one();
        told
    }

    /// Writes what is due until it is dropped.
    pub async fn run(&self) {
        loop {
            let now = Instant::now();
            let (jobs, next) = self.take_due(now);
            if jobs.is_empty() {
                let later = next.unwrap_or_else(|| now + self.settings.retry);
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(later.into()) => {}
                }
                continue;
            }
            let pause = if self.pages.lock().hurries {
                Duration::ZERO
            } else {
                self.settings.write
            };
            let marks: Vec<Mark<'_>> = jobs.iter().map(Job::mark).collect();
            let written = self.database.acknowledge(&marks, pause).await;
            self.take_answer(jobs, written, Instant::now());
        }
    }

    /// What is to be written now, and when the next is.
    fn take_due(&self, now: Instant) -> (Vec<Job>, Option<Instant>) {
        let mut pages = self.pages.lock();
        let (hurries, most) = (pages.hurries, self.settings.batch);
        let (mut jobs, mut next) = (Vec::new(), None::<Instant>);
        pages.entries.retain(|key, entry| {
            if entry.place.is_none() {
                return entry.due > now;
            }
            let is_due = entry.due <= now || (hurries && entry.failing.is_none());
            if !is_due || jobs.len() == most {
                next = Some(next.map_or(entry.due, |next| next.min(entry.due)));
            } else if let Some(place) = entry.place.take() {
                jobs.push(Job {
                    key: key.clone(),
                    place,
                    waiting: std::mem::take(&mut entry.waiting),
                });
            }
            true
        });
        pages.writing = jobs.len();
        (jobs, next)
    }

    fn take_answer(
        &self,
        jobs: Vec<Job>,
        written: Result<Vec<Written>, DatabaseError>,
        now: Instant,
    ) {
        let mut pages = self.pages.lock();
        pages.writing = 0;
        let written = match written {
            Ok(written) => written.into_iter().map(Some).collect(),
            Err(error) => {
                report::database_failed("acknowledgement", &error);
                vec![None; jobs.len()]
            }
        };
        for (mut job, written) in jobs.into_iter().zip(written) {
            let entry = pages.entries.entry(job.key.clone());
            let entry = entry.or_insert_with(|| Entry::new(now));
            entry.due = now + self.settings.write;
            let Some(written) = written else {
                // Who waits is told at once; the place is tried again, for whoever comes back.
                tell_all(&mut job.waiting, Err(Unstored::Away));
                let since = *entry.failing.get_or_insert(now);
                if job.place.after.is_none() && now - since < self.settings.retry {
                    entry.take_back(job);
                }
                continue;
            };
            entry.failing = None;
            match written.bookmark {
                None => tell_all(&mut job.waiting, Err(Unstored::Unknown)),
                Some(_) if !written.wait.is_zero() && job.place.after.is_none() => {
                    entry.due = now + written.wait;
                    entry.take_back(job);
                }
                Some(bookmark) => tell_all(&mut job.waiting, Ok(bookmark.into())),
            }
        }
    }

    /// Writes everything at once from now on: the service stops.
    pub fn hurry(&self) {
        self.pages.lock().hurries = true;
        self.wake.notify_one();
    }

    /// Whether nothing is left to be written.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let pages = self.pages.lock();
        pages.writing == 0 && pages.entries.values().all(|entry| entry.place.is_none())
    }
}

impl Job {
    fn mark(&self) -> Mark<'_> {
        Mark {
            user: &self.key.0,
            name: &self.key.1,
            bookmark: &self.place.text,
            after: self.place.after.as_deref(),
        }
    }
}

fn tell_all(waiting: &mut Vec<oneshot::Sender<Stored>>, stored: Stored) {
    for one in waiting.drain(..) {
        let _ = one.send(stored.clone());
    }
}

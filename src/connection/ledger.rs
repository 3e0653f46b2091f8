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

/// How many may wait for one reader's place to be stored: whoever says it that often in a pause knows
/// no more for being told each time.
const WAITING: usize = 1024;

/// A user and the name of a reader of theirs.
pub type ReaderKey = (Arc<str>, Arc<str>);

/// How far a reader has come.
#[derive(Clone, Debug)]
pub struct AckPlace {
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
    entries: HashMap<ReaderKey, Entry>,
    /// Taken from the entries, and not known to be written.
    writing: usize,
    /// Until when the task that writes sleeps; nothing while it is awake, or about to be.
    sleeps: Option<Instant>,
    /// The service stops: nothing waits for its turn.
    hurries: bool,
}

/// What is known of one reader; of one that has nothing to be written, only when it may be again.
#[derive(Debug)]
struct Entry {
    place: Option<AckPlace>,
    waiting: Vec<oneshot::Sender<Stored>>,
    due: Instant,
    /// Since when the database has not taken its place.
    failing: Option<Instant>,
}

/// An entry's content while it is being written.
#[derive(Debug)]
struct Job {
    key: ReaderKey,
    place: AckPlace,
    waiting: Vec<oneshot::Sender<Stored>>,
}

impl AckPlace {
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
        let mut beyond = self.waiting.split_off(WAITING.min(self.waiting.len()));
        tell_all(&mut beyond, Err(Unstored::Away));
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
    pub fn note(&self, key: ReaderKey, place: AckPlace) -> oneshot::Receiver<Stored> {
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
        if entry.waiting.len() < WAITING {
            entry.waiting.push(tell);
        } else {
            let _ = tell.send(Err(Unstored::Away));
        }
        let due = entry.due;
        // Who is awake looks again before it sleeps: it need not look through all of them for each.
        if pages.sleeps.is_some_and(|until| due < until) {
            pages.sleeps = None;
            self.wake.notify_one();
        }
        told
    }

    /// Writes what is due until it is dropped.
    pub async fn run(&self) {
        loop {
            let now = Instant::now();
            let jobs = match self.take_due(now) {
                Ok(jobs) => jobs,
                Err(later) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(later.into()) => {}
                    }
                    continue;
                }
            };
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

    /// What is to be written now: those that have been due for the longest, so that nobody is passed
    /// over however many there are.
    ///
    /// # Errors
    /// Nothing is: until when to sleep.
    fn take_due(&self, now: Instant) -> Result<Vec<Job>, Instant> {
        let mut pages = self.pages.lock();
        let pages = &mut *pages;
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        pages.entries.retain(|key, entry| {
            if entry.place.is_none() {
                return entry.due > now;
            }
            if entry.due <= now || (pages.hurries && entry.failing.is_none()) {
                due.push((entry.due, key.clone()));
            } else {
                next = Some(next.map_or(entry.due, |next| next.min(entry.due)));
            }
            true
        });
        let most = self.settings.batch;
        if due.len() > most {
            due.select_nth_unstable_by_key(most, |(due, _)| *due);
            due.truncate(most);
        }
        let jobs = due.into_iter().filter_map(|(_, key)| {
            let entry = pages.entries.get_mut(&key)?;
            Some(Job {
                place: entry.place.take()?,
                waiting: std::mem::take(&mut entry.waiting),
                key,
            })
        });
        let jobs: Vec<Job> = jobs.collect();
        pages.writing = jobs.len();
        pages.sleeps = None;
        if jobs.is_empty() {
            let forgets = !pages.entries.is_empty();
            let pause = if forgets {
                self.settings.write
            } else {
                self.settings.retry
            };
            let later = next.unwrap_or(now + pause);
            pages.sleeps = Some(later);
            return Err(later);
        }
        Ok(jobs)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RawSettings, Settings};

    /// A ledger that writes one reader at a time, and whose database nobody asks.
    fn ledger() -> Ledger {
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let set = [
            set("database.url", "host=/nowhere"),
            set("readers.batch", "1"),
        ];
        let raw = RawSettings::load(None, std::iter::empty(), &set).unwrap();
        let settings = Settings::check(raw).unwrap();
        let database = Database::new("host=/nowhere", &settings.database, &settings.calls);
        Ledger::new(settings.readers, database.unwrap())
    }

    fn note(ledger: &Ledger, name: &str) -> oneshot::Receiver<Stored> {
        note_at(ledger, name, "h.10_0")
    }

    fn note_at(ledger: &Ledger, name: &str, place: &str) -> oneshot::Receiver<Stored> {
        let place = AckPlace {
            bookmark: Bookmark::parse(place).unwrap(),
            text: place.into(),
            after: None,
        };
        ledger.note(("u".into(), name.into()), place)
    }

    /// Writes what is due; of whom.
    fn write(ledger: &Ledger, now: Instant) -> Arc<str> {
        let jobs = ledger.take_due(now).unwrap();
        assert_eq!(jobs.len(), 1, "one at a time");
        let name = Arc::clone(&jobs[0].key.1);
        let written = Written {
            bookmark: Some("h.10_0".to_owned()),
            wait: Duration::ZERO,
        };
        ledger.take_answer(jobs, Ok(vec![written]), now);
        name
    }

    #[test]
    fn nobody_is_passed_over_while_more_is_said_than_written() {
        let ledger = ledger();
        let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        let mut told: Vec<_> = names.iter().map(|name| note(&ledger, name)).collect();
        let mut now = Instant::now();
        for _ in &names {
            // Longer than the pause: whoever was written is due again, though not for as long.
            now += 2 * ledger.settings.write;
            let name = write(&ledger, now);
            drop(note(&ledger, &name));
        }
        let stored = told.iter_mut().map(|told| told.try_recv().is_ok());
        assert_eq!(stored.filter(|stored| *stored).count(), names.len());
    }

    /// What is written tells all who wait; SQL keeps it from going back, but not what was never written.
    #[test]
    fn of_two_places_the_further_is_written() {
        for said in [["h.10_0", "h.12_0"], ["h.12_0", "h.10_0"]] {
            let ledger = ledger();
            for place in said {
                drop(note_at(&ledger, "a", place));
            }
            let jobs = ledger.take_due(Instant::now()).unwrap();
            assert_eq!(&*jobs[0].place.text, "h.12_0", "{said:?}");
        }
    }

    #[test]
    fn whoever_repeats_a_place_without_end_is_told_to_wait() {
        let ledger = ledger();
        let mut waiting: Vec<_> = (0..WAITING).map(|_| note(&ledger, "a")).collect();
        let mut beyond = note(&ledger, "a");
        assert_eq!(beyond.try_recv(), Ok(Err(Unstored::Away)));
        assert!(waiting[WAITING - 1].try_recv().is_err(), "it still waits");
        write(&ledger, Instant::now());
        let stored = Ok(Ok("h.10_0".into()));
        assert!(waiting.iter_mut().all(|told| told.try_recv() == stored));
    }

    #[test]
    fn a_place_that_is_not_due_wakes_nobody() {
        let ledger = ledger();
        let woken = || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let woken = std::pin::pin!(ledger.wake.notified());
            woken.poll(&mut context).is_ready()
        };
        let now = Instant::now();
        ledger.take_due(now).unwrap_err();
        drop(note(&ledger, "a"));
        assert!(woken(), "it is due at once");
        let now = Instant::now();
        write(&ledger, now);
        let later = ledger.take_due(now).unwrap_err();
        drop(note(&ledger, "a"));
        assert!(!woken(), "the pause is not over");
        assert!(later <= now + ledger.settings.write, "and is not overslept");
        drop(note(&ledger, "b"));
        assert!(woken());
    }
}

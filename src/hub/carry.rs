//! Events to the sockets that are at rest, written by whoever publishes: no task is woken for them.
//! Hands everything else to the writers of the connections. It must never wait for a socket: what
//! one does not take at once is its writer's.

use super::Subscription;
use super::delivery::{Delivery, Ended};
use crate::event::Event;
use crate::frame::Frame;
use crate::report;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::available_parallelism;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Subscriptions that are carried to in one go: half a millisecond of system calls. So few are served
/// by whoever publishes; of more, each task takes as many at a time, and lets others go on.
const PART: usize = 128;

/// The way out of a connection, for others than its writer. Side by side in the subscription, not one
/// behind the other: for each message, each piece of memory has to be fetched.
#[derive(Clone)]
pub struct Line {
    pub socket: Arc<dyn Carry>,
    pub spelling: Arc<dyn EventSpelling>,
}

/// Where frames go.
pub trait Carry: Send + Sync {
    /// Writes the events at the front of these in this spelling, as far as there is room at once.
    fn carry(
        &self,
        spelling: &dyn EventSpelling,
        waiting: &mut VecDeque<Delivery>,
        carriage: &mut Carriage,
    ) -> Carried;
}

/// How events are spelled there.
pub trait EventSpelling: Send + Sync {
    /// Adds the frame for this one, if there is a word for it. False if it may not go unsaid: then it
    /// is the writer's.
    fn spell_event(&self, event: &Event, frames: &mut Vec<Frame>) -> bool;
}

/// What became of events that were carried.
#[derive(Default)]
pub struct Carried {
    /// Some were written, if only in part.
    pub any: bool,
    /// Nothing of what was taken out still waits.
    pub all: bool,
}

/// What is carried along from one subscription to the next.
pub struct Carriage {
    /// Room for the frames of one.
    pub frames: Vec<Frame>,
    /// When the events that were written were inserted, in Unix microseconds.
    pub live: Vec<i64>,
    pub events: usize,
    pub now: Instant,
}

/// Those who have been called, and tasks that carry to them.
#[derive(Debug)]
pub(super) struct Carriers {
    called: Mutex<Called>,
    /// How many tasks at most: one core is left to whoever comes in, and to the database beside us.
    most: usize,
    /// Where those run that help; nothing outside of a runtime.
    helpers: Option<Handle>,
}

#[derive(Debug, Default)]
struct Called {
    waiting: VecDeque<Arc<Subscription>>,
    tasks: usize,
}

impl Carriers {
    pub fn new() -> Self {
        let cores = available_parallelism().map_or(1, Into::into);
        Self {
            called: Mutex::default(),
            most: (cores - 1).max(1),
            helpers: Handle::try_current().ok(),
        }
    }

    /// Carries to these what waits for them. The first task runs where it is published: it is awake,
    /// and on a core, and its next look comes between two parts.
    pub fn carry(self: &Arc<Self>, called: Vec<Arc<Subscription>>) {
        let here = Handle::try_current().ok().filter(|_| called.len() > PART);
        let (Some(here), Some(helpers)) = (here, &self.helpers) else {
            return carry(&called);
        };
        let mut all = self.called.lock();
        all.waiting.extend(called);
        while all.tasks < self.most && all.tasks * PART < all.waiting.len() {
            let runtime = if all.tasks == 0 { &here } else { helpers };
            all.tasks += 1;
            let mut task = Task {
                carriers: Arc::clone(self),
                counts: true,
            };
            runtime.spawn(async move {
                while let Some(part) = task.next() {
                    carry(&part);
                    tokio::task::yield_now().await;
                }
            });
        }
    }
}

/// One of the tasks that [`Called`] counts. It is taken off however it ends, by a panic too: else
/// nobody would begin another.
struct Task {
    carriers: Arc<Carriers>,
    counts: bool,
}

impl Task {
    /// Who is next; nobody, and then the task is over.
    fn next(&mut self) -> Option<Vec<Arc<Subscription>>> {
        let mut called = self.carriers.called.lock();
        if called.waiting.is_empty() {
            called.waiting = VecDeque::new();
            // Under the same lock: whoever comes now begins another.
            called.tasks -= 1;
            self.counts = false;
            return None;
        }
        let part = called.waiting.len().min(PART);
        Some(called.waiting.drain(..part).collect())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.counts {
            return;
        }
        let mut called = self.carriers.called.lock();
        called.tasks -= 1;
        if called.tasks > 0 {
            return;
        }
        // It was the last: nobody else would come to those who wait.
        let left = std::mem::take(&mut called.waiting);
        drop(called);
        left.iter().for_each(|one| one.leave_to_writer());
    }
}

/// Those who were called and are yet to be carried to. Where that ends early, by a panic, they must not
/// stay called: they would never be called again, and hear nothing more.
struct Left<'a>(&'a [Arc<Subscription>]);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        let Some((torn, rest)) = self.0.split_first() else {
            return;
        };
        // Some of what waited for it may be out of its queue and nowhere else: it is to come back with
        // its bookmark.
        torn.end(Ended::Lagged);
        rest.iter().for_each(|one| one.leave_to_writer());
    }
}

fn carry(called: &[Arc<Subscription>]) {
    let mut carriage = Carriage {
        frames: Vec::new(),
        live: Vec::new(),
        events: 0,
        now: Instant::now(),
    };
    let mut left = Left(called);
    while let Some((next, rest)) = left.0.split_first() {
        next.carry(&mut carriage);
        left.0 = rest;
    }
    report::delivered(carriage.events);
    report::reached_socket(&carriage.live);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::tests::{LIMITS, hub, place, publish};
    use crate::hub::{Hub, Limits, Since};
    use futures_util::FutureExt;
    use std::time::Instant;

    /// A socket that takes so many events, and then no more.
    struct Takes(Mutex<(usize, Vec<u64>)>);

    impl Carry for Takes {
        fn carry(
            &self,
            _: &dyn EventSpelling,
            waiting: &mut VecDeque<Delivery>,
            carriage: &mut Carriage,
        ) -> Carried {
            let mut taken = self.0.lock();
            let mut carried = Carried::default();
            while let Some(Delivery::Event(event)) = waiting.front() {
                if taken.1.len() == taken.0 {
                    return carried;
                }
                taken.1.push(event.place.as_ref().unwrap().id);
                carriage.events += 1;
                waiting.pop_front();
                carried.any = true;
            }
            carried.all = true;
            carried
        }
    }

    impl EventSpelling for Takes {
        fn spell_event(&self, _: &Event, _: &mut Vec<Frame>) -> bool {
            true
        }
    }

    fn line(takes: &Arc<Takes>) -> Line {
        let (socket, spelling) = (Arc::clone(takes), Arc::clone(takes));
        Line { socket, spelling }
    }

    fn woken(subscription: &Subscription) -> bool {
        subscription.woken().now_or_never().is_some()
    }

    /// Somebody in a room, whose writer has taken the seam.
    fn joined(hub: &Hub) -> Arc<Subscription> {
        let one = hub.open();
        hub.join(&one, &["a".into()], Since::Now, None, 0);
        one.take_waiting().unwrap();
        assert!(woken(&one), "for the seam");
        one
    }

    #[test]
    fn a_line_at_rest_is_written_to_in_order_and_its_writer_sleeps() {
        let (hub, now) = (hub(LIMITS), Instant::now());
        let a = joined(&hub);
        let takes = Arc::new(Takes(Mutex::new((3, Vec::new()))));
        a.rest(line(&takes));
        publish(
            &hub,
            &place(12, 12, &[]),
            &[(1, 10, &["a"]), (2, 11, &["a"])],
            now,
        );
        assert_eq!(takes.0.lock().1, [1, 2]);
        assert!(!woken(&a) && a.carried().is_some());
        assert_eq!((a.load().bytes, hub.sizes().queue_bytes), (0, 0));
        // No room for the next but one: it is the writer's, and so is all that comes after it.
        publish(
            &hub,
            &place(14, 14, &[]),
            &[(3, 12, &["a"]), (4, 13, &["a"])],
            now,
        );
        assert_eq!(takes.0.lock().1, [1, 2, 3]);
        assert!(woken(&a));
        takes.0.lock().0 = 9;
        publish(&hub, &place(15, 15, &[]), &[(5, 14, &["a"])], now);
        assert_eq!(takes.0.lock().1, [1, 2, 3], "nothing overtakes");
        let left = a.take_waiting().unwrap();
        let id = |delivery: &Delivery| match delivery {
            Delivery::Event(event) => event.place.as_ref().unwrap().id,
            other => panic!("{other:?}"),
        };
        assert_eq!(left.iter().map(id).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(hub.sizes().queue_bytes, 0);
    }

    /// A heartbeat that was told behind an event, with a bookmark from before it, brought the event again
    /// to whoever came back from there.
    #[test]
    fn what_comes_while_its_writer_speaks_is_not_written_past_it() {
        let (hub, now) = (hub(LIMITS), Instant::now());
        let a = joined(&hub);
        let takes = Arc::new(Takes(Mutex::new((9, Vec::new()))));
        a.rest(line(&takes));
        let heartbeat = hub.caught_up(&a).expect("nothing waits");
        publish(&hub, &place(11, 11, &[]), &[(1, 10, &["a"])], now);
        assert!(!heartbeat.snapshot.sees(10) && takes.0.lock().1.is_empty());
        a.rest(line(&takes));
        assert!(woken(&a), "it comes behind the heartbeat");
        assert!(hub.caught_up(&a).is_none());
        assert_eq!(a.take_waiting().unwrap().len(), 1);
        a.rest(line(&takes));
        publish(&hub, &place(12, 12, &[]), &[(2, 11, &["a"])], now);
        assert_eq!(takes.0.lock().1, [2]);
    }

    /// Nor with a bookmark from before an event that was carried while it looked where it stood.
    #[test]
    fn where_it_has_caught_up_is_never_behind_what_was_carried() {
        const EVENTS: u64 = 10_000;
        let hub = hub(Limits {
            queue_bytes: usize::MAX,
            ..LIMITS
        });
        let a = joined(&hub);
        let takes = Arc::new(Takes(Mutex::new((usize::MAX, Vec::new()))));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for id in 1..=EVENTS {
                    let to = place(id + 10, id + 10, &[]);
                    publish(&hub, &to, &[(id, id + 9, &["a"])], Instant::now());
                }
            });
            let mut taken = 0;
            while taken + takes.0.lock().1.len() < usize::try_from(EVENTS).unwrap() {
                a.rest(line(&takes));
                if let Some(here) = hub.caught_up(&a) {
                    let last = takes.0.lock().1.last().copied().unwrap_or(0);
                    assert!(here.snapshot.sees(last + 9), "{last} would come again");
                }
                taken += a.take_waiting().unwrap().len();
            }
        });
    }

    /// A socket that is a defect.
    struct Panics;

    impl Carry for Panics {
        fn carry(
            &self,
            _: &dyn EventSpelling,
            _: &mut VecDeque<Delivery>,
            _: &mut Carriage,
        ) -> Carried {
            panic!("as a defect would")
        }
    }

    #[tokio::test]
    async fn a_task_that_panics_is_none_any_more() {
        let (hub, now) = (hub(LIMITS), Instant::now());
        let crowd: Vec<_> = (0..=PART).map(|_| joined(&hub)).collect();
        for one in &crowd {
            let spelling = Arc::new(Takes(Mutex::default()));
            let socket = Arc::new(Panics);
            one.rest(Line { socket, spelling });
        }
        publish(&hub, &place(11, 11, &[]), &[(1, 10, &["a"])], now);
        let tasks = || hub.0.carriers.called.lock().tasks;
        assert!(tasks() > 0);
        let over = async {
            while tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let over = tokio::time::timeout(std::time::Duration::from_secs(10), over);
        over.await.expect("they end");
        let heard = |one: &&Arc<Subscription>| one.over().is_some() || woken(one);
        assert_eq!(crowd.iter().filter(heard).count(), crowd.len());
    }

    /// It takes what waits, and nothing of it leaves.
    struct Torn;

    impl Carry for Torn {
        fn carry(
            &self,
            _: &dyn EventSpelling,
            waiting: &mut VecDeque<Delivery>,
            _: &mut Carriage,
        ) -> Carried {
            waiting.clear();
            Carried {
                any: true,
                all: false,
            }
        }
    }

    /// Who took nothing of a single large event was not shown as slow.
    #[test]
    fn what_was_torn_is_being_written_until_its_writer_rests() {
        let hub = hub(LIMITS);
        let a = joined(&hub);
        let spelling = Arc::new(Takes(Mutex::default()));
        let socket = Arc::new(Torn);
        a.rest(Line { socket, spelling });
        publish(
            &hub,
            &place(12, 12, &[]),
            &[(1, 10, &["a"])],
            Instant::now(),
        );
        let torn = a.load().bytes;
        assert!(woken(&a) && torn > 0, "it is its writer's");
        assert!(a.take_waiting().unwrap().is_empty());
        assert_eq!(a.load().writing.unwrap().1, torn);
        a.rest(None);
        assert!(a.load().writing.is_none());
    }

    /// They stayed called, and so were never called again.
    #[test]
    fn who_comes_behind_a_panic_hears_on() {
        let (hub, now) = (hub(LIMITS), Instant::now());
        let takes = Arc::new(Takes(Mutex::new((9, Vec::new()))));
        let crowd: Vec<_> = (0..5).map(|_| joined(&hub)).collect();
        for one in &crowd {
            let spelling = Arc::clone(&takes);
            let socket = Arc::new(Panics);
            one.rest(Line { socket, spelling });
        }
        let publishing = std::panic::AssertUnwindSafe(|| {
            publish(&hub, &place(11, 11, &[]), &[(1, 10, &["a"])], now);
        });
        std::panic::catch_unwind(publishing).unwrap_err();
        let (torn, rest): (Vec<_>, Vec<_>) = crowd.iter().partition(|one| one.over().is_some());
        // It may have lost what was taken out for it: it comes back with its bookmark.
        assert_eq!((torn.len(), torn[0].over()), (1, Some(Ended::Lagged)));
        for one in &rest {
            assert!(woken(one), "it is its writer's");
            assert_eq!(one.take_waiting().unwrap().len(), 1);
            one.rest(line(&takes));
        }
        publish(&hub, &place(12, 12, &[]), &[(2, 11, &["a"])], now);
        assert_eq!(takes.0.lock().1, [2; 4]);
    }

    #[test]
    fn nothing_is_written_past_a_reply_or_to_one_whose_rooms_were_taken() {
        let (hub, now) = (hub(LIMITS), Instant::now());
        let a = joined(&hub);
        let takes = Arc::new(Takes(Mutex::new((9, Vec::new()))));
        let rest = || a.rest(line(&takes));
        a.reply(crate::frame::Frame::default());
        rest();
        publish(&hub, &place(11, 11, &[]), &[(1, 10, &["a"])], now);
        assert!(takes.0.lock().1.is_empty(), "a reply waits before it");
        assert_eq!(a.take_waiting().unwrap().len(), 2);
        hub.take_away(&a, &["b".into()]);
        rest();
        publish(&hub, &place(12, 12, &[]), &[(2, 11, &["a"])], now);
        assert!(
            takes.0.lock().1.is_empty(),
            "whoever lost a room is asked for at each event"
        );
        a.end(Ended::Revoked);
        rest();
        publish(&hub, &place(13, 13, &[]), &[(3, 12, &["a"])], now);
        assert!(takes.0.lock().1.is_empty(), "it has ended");
    }
}

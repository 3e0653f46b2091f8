//! The hub as a whole, and a small one for the tests of its parts.

use super::*;
use crate::bookmark::{Bookmark, Snapshot, Spelling};
use crate::event::{Place, States};
use crate::frame::Frame;
use futures_util::FutureExt;
use std::task::{Context, Wake};

pub const LIMITS: Limits = Limits {
    queue_bytes: 100_000,
    replay_events: 10,
    replay_bytes: 100_000,
    ring_bytes: 100_000,
    ring_age: Duration::from_secs(60),
    refill_events: 100,
    memory_bytes: 1000,
    memory_age: Duration::from_secs(60),
};

pub(super) fn place(xmin: u64, xmax: u64, running: &[u64]) -> Arc<Standpoint> {
    let snapshot = Snapshot::new(xmin, xmax, running).unwrap();
    Arc::new(Standpoint::new("h".into(), snapshot, xmax - 1))
}

pub(super) fn hub(limits: Limits) -> Hub {
    let hub = Hub::new(limits);
    hub.begin(place(10, 10, &[]), GapReason::History);
    hub
}

/// Publishes events (id, xid, rooms) between the hub's standpoint and `to`.
pub(super) fn publish(
    hub: &Hub,
    to: &Arc<Standpoint>,
    events: &[(u64, u64, &[&str])],
    now: Instant,
) {
    let from = hub.standpoint().borrow().clone().unwrap();
    let spelling = Spelling::of("h", &from.place, Some(&to.place));
    let event = |&(id, xid, rooms): &(u64, u64, &[&str])| {
        let place = Place {
            id,
            xid,
            bookmark: spelling.event(id).into(),
        };
        let rooms = rooms.iter().map(|room| Arc::from(*room)).collect();
        Arc::new(Event {
            place: Some(place),
            rooms,
            ..Event::example()
        })
    };
    let events = events.iter().map(event).collect();
    hub.publish(
        Batch {
            to: Arc::clone(to),
            events,
            states: States::new(),
        },
        now,
    );
}

pub(super) fn since(text: &str) -> Since {
    Since::Bookmark(Bookmark::parse(text).unwrap(), text.into())
}

fn join(hub: &Hub, subscription: &Arc<Subscription>, rooms: &[&str], since: Since) {
    let rooms: Vec<Arc<str>> = rooms.iter().map(|room| Arc::from(*room)).collect();
    hub.join(subscription, &rooms, since, None, 0);
}

/// The seam of somebody new who joins one room from a bookmark.
pub(super) fn seam(hub: &Hub, room: &str, bookmark: &str) -> Box<Seam> {
    let subscription = hub.open();
    join(hub, &subscription, &[room], since(bookmark));
    match subscription.take_waiting().unwrap().pop_front() {
        Some(Delivery::Seam(seam)) => seam,
        other => panic!("a seam was expected: {other:?}"),
    }
}

/// What a seam replays, all of it from the ring.
pub(super) fn collected(seam: &Seam) -> Vec<Arc<Event>> {
    match &seam.replay {
        Replay::Ring(excerpt) => seam.collect(excerpt).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(super) fn ids(events: &[Arc<Event>]) -> Vec<u64> {
    let places = events.iter().map(|event| event.place.as_ref().unwrap());
    places.map(|place| place.id).collect()
}

/// What waits, in words: event ids, and how seams were answered.
fn taken(subscription: &Subscription) -> Vec<String> {
    let word = |delivery: Delivery| match delivery {
        Delivery::Event(event) => format!("{}", ids(&[event])[0]),
        Delivery::Gap { reason, .. } => format!("gap {}", reason.word()),
        Delivery::Reply(_) => "reply".into(),
        Delivery::Seam(seam) => match &seam.replay {
            Replay::Live => "live".into(),
            Replay::Ring(excerpt) => match seam.collect(excerpt) {
                Ok(events) => format!("ring {:?}", ids(&events)),
                Err(reason) => format!("gap {}", reason.word()),
            },
            Replay::Log(_) => "log".into(),
            Replay::Gap(reason) => format!("gap {}", reason.word()),
        },
    };
    subscription
        .take_waiting()
        .unwrap()
        .into_iter()
        .map(word)
        .collect()
}

/// Events of the same rooms are queued together: nothing overtakes for that.
#[test]
fn a_batch_of_mixed_rooms_comes_in_order_and_once() {
    let hub = hub(LIMITS);
    let (both, one) = (hub.open(), hub.open());
    join(&hub, &both, &["a", "b"], Since::Now);
    join(&hub, &one, &["b"], Since::Now);
    let events: &[(u64, u64, &[&str])] = &[
        (1, 10, &["a"]),
        (2, 10, &["a"]),
        (3, 10, &["a", "b"]),
        (4, 10, &["a", "b"]),
        (5, 10, &["b"]),
        (6, 10, &["a"]),
    ];
    publish(&hub, &place(11, 11, &[]), events, Instant::now());
    assert_eq!(taken(&both), ["live", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(taken(&one), ["live", "3", "4", "5"]);
}

#[test]
fn an_event_through_several_rooms_comes_once() {
    let hub = hub(LIMITS);
    let subscription = hub.open();
    join(&hub, &subscription, &["a", "b"], Since::Now);
    publish(
        &hub,
        &place(12, 12, &[]),
        &[(1, 10, &["a", "b"]), (2, 11, &["c"]), (3, 11, &["*"])],
        Instant::now(),
    );
    assert_eq!(taken(&subscription), ["live", "1", "3"]);
}

/// A poll that took an event while that was being published gave a bookmark from before it, and its
/// reader got the event again.
#[test]
fn where_it_stands_is_never_behind_what_was_taken() {
    let hub = hub(Limits {
        queue_bytes: usize::MAX,
        ..LIMITS
    });
    let subscription = hub.open();
    join(&hub, &subscription, &["a"], Since::Now);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for xid in 10..20_000 {
                let to = place(xid + 1, xid + 1, &[]);
                publish(&hub, &to, &[(xid, xid, &["a"])], Instant::now());
            }
        });
        let mut last = 9;
        while last < 19_999 {
            for delivery in subscription.take_waiting().unwrap() {
                if let Delivery::Event(event) = delivery {
                    last = event.place.as_ref().unwrap().xid;
                }
            }
            let here = hub.here().unwrap();
            assert!(here.snapshot.sees(last), "{last} is behind {here:?}");
        }
    });
}

#[test]
fn the_ring_answers_with_the_difference_of_snapshots() {
    let hub = hub(LIMITS);
    let now = Instant::now();
    // Transaction 11 commits late: after 12 and 13.
    publish(
        &hub,
        &place(11, 14, &[11]),
        &[(2, 12, &["a"]), (3, 13, &["a"]), (4, 13, &["b"])],
        now,
    );
    publish(&hub, &place(14, 15, &[14]), &[(1, 11, &["a"])], now);
    for (bookmark, replay) in [
        ("h.10_0", "ring [2, 3, 1]"),
        ("h.11_3_0", "ring [1]"),
        ("h.10_0.11_3_0.2", "ring [3, 1]"),
        ("h.14_1_0", "ring []"),
        ("h.9_0", "log"),
        ("x.14_1_0", "gap history"),
        ("h.20_0", "gap future"),
    ] {
        let subscription = hub.open();
        join(&hub, &subscription, &["a"], since(bookmark));
        assert_eq!(taken(&subscription), [replay], "{bookmark}");
    }
}

/// Two nodes with other batches: a bookmark of one, moved on by the other, must not forget.
#[test]
fn a_bookmark_of_another_node_is_moved_on_and_never_back() {
    let hub = hub(LIMITS);
    let now = Instant::now();
    publish(&hub, &place(10, 13, &[10, 12]), &[(2, 11, &["a"])], now);
    publish(
        &hub,
        &place(14, 14, &[]),
        &[(1, 10, &["a"]), (3, 12, &["a"])],
        now,
    );
    // The other node saw all of it in one batch, and was cut behind event 1.
    let mut had = vec![1];
    let mut bookmark = "h.10_0.14_0.1".to_owned();
    while had.len() < 3 {
        let events = collected(&seam(&hub, "a", &bookmark));
        let first = events[0].place.as_ref().unwrap();
        assert!(
            !had.contains(&first.id),
            "{} again from {bookmark}",
            first.id
        );
        had.push(first.id);
        bookmark = first.bookmark.to_string();
    }
    assert_eq!(had, [1, 2, 3]);
}

#[test]
fn what_comes_during_a_replay_waits_behind_the_seam() {
    let hub = hub(LIMITS);
    let subscription = hub.open();
    join(&hub, &subscription, &["a"], Since::Now);
    publish(
        &hub,
        &place(11, 11, &[]),
        &[(1, 10, &["a"])],
        Instant::now(),
    );
    join(&hub, &subscription, &["b"], since("h.10_0"));
    publish(
        &hub,
        &place(12, 12, &[]),
        &[(2, 11, &["b"])],
        Instant::now(),
    );
    assert_eq!(taken(&subscription), ["live", "1", "ring []", "2"]);
}

/// A resume takes a moment to prepare: what is told to everybody meanwhile lies in its replay.
#[test]
fn what_comes_before_the_first_join_comes_once() {
    let hub = hub(LIMITS);
    let subscription = hub.open();
    publish(
        &hub,
        &place(11, 11, &[]),
        &[(1, 10, &["*"])],
        Instant::now(),
    );
    join(&hub, &subscription, &["a"], since("h.10_0"));
    assert_eq!(taken(&subscription), ["ring [1]"]);
}

#[test]
fn a_later_join_does_not_repeat_what_came_through_other_rooms() {
    let hub = hub(LIMITS);
    let subscription = hub.open();
    join(&hub, &subscription, &["a"], Since::Now);
    let events: &[(u64, u64, &[&str])] = &[(1, 10, &["a", "b"]), (2, 10, &["*"]), (3, 10, &["b"])];
    publish(&hub, &place(11, 11, &[]), events, Instant::now());
    join(&hub, &subscription, &["b"], since("h.10_0"));
    let waiting = subscription.take_waiting().unwrap();
    let Some(Delivery::Seam(seam)) = waiting.into_iter().last() else {
        panic!("a seam was expected")
    };
    let mut lacked = collected(&seam);
    lacked.retain(|event| !seam.was_live(event));
    assert_eq!(ids(&lacked), [3]);
}

#[test]
fn who_joins_while_the_service_stops_is_ended_too() {
    let hub = hub(LIMITS);
    let subscription = hub.open();
    hub.end_all(Ended::Restart);
    join(&hub, &subscription, &["a"], Since::Now);
    assert_eq!(subscription.take_waiting().unwrap_err(), Ended::Restart);
}

#[test]
fn a_replay_above_its_limit_is_a_gap_and_never_cut_short() {
    let hub = hub(LIMITS);
    let events: Vec<(u64, u64, &[&str])> = (1..=11).map(|id| (id, 10, &["a"] as &[&str])).collect();
    publish(&hub, &place(11, 11, &[]), &events, Instant::now());
    let subscription = hub.open();
    join(&hub, &subscription, &["a"], since("h.10_0"));
    join(&hub, &subscription, &["a"], since("h.10_0.11_0.1"));
    assert_eq!(
        taken(&subscription),
        ["gap limit", "ring [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]"]
    );
}

/// However small its queue, or nobody could ever be told of it.
#[test]
fn an_event_larger_than_a_queue_reaches_who_takes_each() {
    let hub = hub(Limits {
        queue_bytes: 1,
        ..LIMITS
    });
    let somebody = hub.open();
    join(&hub, &somebody, &["a"], Since::Now);
    assert_eq!(taken(&somebody), ["live"]);
    let emit = |xid: u64| {
        let to = place(xid + 1, xid + 1, &[]);
        publish(&hub, &to, &[(xid, xid, &["a"])], Instant::now());
    };
    emit(10);
    assert_eq!(taken(&somebody), ["10"]);
    emit(11);
    emit(12);
    assert_eq!(somebody.over(), Some(Ended::Lagged));
}

#[test]
fn a_replay_of_too_many_bytes_is_a_gap() {
    for (replay_bytes, told) in [(100_000, "ring [10]"), (1, "gap limit")] {
        let hub = hub(Limits {
            replay_bytes,
            ..LIMITS
        });
        let to = place(11, 11, &[]);
        publish(&hub, &to, &[(10, 10, &["a"])], Instant::now());
        let somebody = hub.open();
        join(&hub, &somebody, &["a"], since("h.10_0"));
        assert_eq!(taken(&somebody), [told]);
    }
}

#[test]
fn a_reader_that_falls_behind_is_ended_and_slows_nobody() {
    let hub = hub(Limits {
        queue_bytes: 500,
        ..LIMITS
    });
    let (slow, quick) = (hub.open(), hub.open());
    join(&hub, &slow, &["a"], Since::Now);
    join(&hub, &quick, &["a"], Since::Now);
    for xid in 10..20 {
        publish(
            &hub,
            &place(xid + 1, xid + 1, &[]),
            &[(xid, xid, &["a"])],
            Instant::now(),
        );
        assert!(!taken(&quick).is_empty());
    }
    assert_eq!(slow.take_waiting().unwrap_err(), Ended::Lagged);
    slow.close();
    quick.close();
    let sizes = hub.sizes();
    assert_eq!(
        (sizes.subscriptions, sizes.rooms, sizes.queue_bytes),
        (0, 0, 0)
    );
}

/// What waited was dropped: whoever then takes the standpoint for its own would miss it.
#[test]
fn who_was_ended_has_not_caught_up() {
    let hub = hub(LIMITS);
    let (ended, sealed) = (hub.open(), hub.open());
    for subscription in [&ended, &sealed] {
        join(&hub, subscription, &["a"], Since::Now);
        taken(subscription);
        assert!(hub.caught_up(subscription).is_some());
    }
    publish(
        &hub,
        &place(11, 11, &[]),
        &[(1, 10, &["a"])],
        Instant::now(),
    );
    ended.end(Ended::Restart);
    assert!(hub.caught_up(&ended).is_none());
    assert!(!ended.seal() && !sealed.seal());
    // Sealed, it takes nothing more, and can still be ended.
    publish(
        &hub,
        &place(12, 12, &[]),
        &[(2, 11, &["a"])],
        Instant::now(),
    );
    assert!(taken(&sealed).is_empty());
    assert_eq!(hub.sizes().queue_bytes, 0);
    sealed.end(Ended::Revoked);
    assert_eq!(sealed.over(), Some(Ended::Revoked));
}

#[test]
fn old_batches_leave_the_ring_and_their_bookmarks_go_to_the_log() {
    let hub = hub(LIMITS);
    let began = Instant::now();
    publish(&hub, &place(11, 11, &[]), &[(1, 10, &["a"])], began);
    publish(
        &hub,
        &place(12, 12, &[]),
        &[(2, 11, &["a"])],
        began + Duration::from_secs(61),
    );
    let subscription = hub.open();
    join(&hub, &subscription, &["a"], since("h.10_0"));
    join(&hub, &subscription, &["a"], since("h.11_0"));
    assert_eq!(taken(&subscription), ["log", "ring [2]"]);
}

#[test]
fn what_is_answered_to_somebody_who_has_left_weighs_nothing() {
    let hub = hub(LIMITS);
    let subscription = hub.open();
    subscription.reply(Frame::websocket("before"));
    assert!(hub.sizes().queue_bytes > 0);
    subscription.close();
    subscription.reply(Frame::websocket("behind"));
    assert_eq!(hub.sizes().queue_bytes, 0);
}

fn new_history() -> Arc<Standpoint> {
    let snapshot = Snapshot::new(5, 5, &[]).unwrap();
    Arc::new(Standpoint::new("i".into(), snapshot, 4))
}

#[test]
fn a_new_history_is_a_gap_for_all() {
    let hub = hub(LIMITS);
    let subscription = hub.open();
    join(&hub, &subscription, &["a"], Since::Now);
    hub.begin(new_history(), GapReason::History);
    join(&hub, &subscription, &["a"], since("h.10_0"));
    assert_eq!(taken(&subscription), ["live", "gap history", "gap history"]);
}

/// An acknowledgement may follow at once, and is judged by it.
#[test]
fn where_a_new_history_stands_is_known_before_anybody_is_woken_for_its_gap() {
    struct Woken(Hub, AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            let here = self.0.standpoint().borrow().clone().unwrap();
            self.1.store(*here.history == *"i", Ordering::Relaxed);
        }
    }
    let hub = hub(LIMITS);
    let subscription = hub.open();
    join(&hub, &subscription, &["a"], Since::Now);
    assert!(
        subscription.woken().now_or_never().is_some(),
        "for the seam"
    );
    let knows = Arc::new(Woken(hub.clone(), AtomicBool::new(false)));
    let waker = Arc::clone(&knows).into();
    let mut woken = Box::pin(subscription.woken());
    let poll = woken.poll_unpin(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
    hub.begin(new_history(), GapReason::History);
    assert!(knows.1.load(Ordering::Relaxed));
}

/// What is queued behind the last that an answer took is in none, if the answer's bookmark lies behind it.
#[test]
fn an_answer_never_stands_behind_what_it_lacks() {
    const EVENTS: u64 = 10_000;
    let hub = hub(LIMITS);
    let late = hub.open();
    join(&hub, &late, &["a"], Since::Now);
    taken(&late);
    let first = place(11, 11, &[]);
    publish(&hub, &first, &[(1, 10, &["a"])], Instant::now());
    assert!(hub.seal(&late).is_none(), "one came behind the last");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 2..=EVENTS {
                let to = place(id + 10, id + 10, &[]);
                publish(&hub, &to, &[(id, id + 9, &["a"])], Instant::now());
            }
        });
        let mut until = 0;
        while until < EVENTS + 10 {
            let one = hub.open();
            let rooms = ["a".into()];
            let begins = hub.join(&one, &rooms, Since::Now, None, 0).unwrap();
            let taken = match one.take_waiting() {
                Err(Ended::Lagged) => {
                    // It was on no core for so long that its queue was full.
                    one.close();
                    continue;
                }
                taken => taken.unwrap(),
            };
            let took = taken.len() as u64 - 1;
            let told = begins.snapshot.xmax() + took;
            if let Some(here) = hub.seal(&one) {
                assert_eq!(
                    here.snapshot.xmax(),
                    told,
                    "what is between is in no answer"
                );
            }
            until = told;
            one.close();
        }
    });
}

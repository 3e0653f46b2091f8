//! A model of ring, excerpts and refills: whatever is written, read and read again, in whatever order,
//! who comes back is told what a list of all events says.

use super::*;
use crate::bookmark::Spelling;
use crate::event::{Batch, Entry, Equals, GapReason, Place};
use crate::hub::tests::{LIMITS, ids};
use crate::hub::{Delivery, Excerpt, Limits, Since};
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::time::Duration;

const ROOMS: [&str; 3] = ["a", "b", "*"];

#[derive(Clone, Debug)]
struct Written {
    id: u64,
    xid: u64,
    room: &'static str,
    /// Equal ones are of one room.
    state: Option<i64>,
}

/// A database in which transactions overlap and commit in any order.
#[derive(Default)]
struct Model {
    next_xid: u64,
    next_id: u64,
    open: Vec<(u64, Vec<Written>)>,
    /// In order of commit: what a state says is how many these were when it was rendered.
    committed: Vec<Written>,
    /// Everything that somebody may come back with.
    bookmarks: Vec<String>,
}

impl Model {
    fn begin(&mut self) {
        self.open.push((10 + self.next_xid, Vec::new()));
        self.next_xid += 1;
    }

    fn write(&mut self, which: usize, what: u8) {
        if self.open.is_empty() {
            self.begin();
        }
        let which = which % self.open.len();
        let (xid, written) = &mut self.open[which];
        self.next_id += 1;
        let room = usize::from(what) % ROOMS.len();
        let state = i64::from(what % 7) * 3 + i64::try_from(room).unwrap();
        written.push(Written {
            id: self.next_id,
            xid: *xid,
            room: ROOMS[room],
            state: (what % 5 > 2).then_some(state),
        });
    }

    fn commit(&mut self, which: usize) {
        if !self.open.is_empty() {
            let (_, written) = self.open.remove(which % self.open.len());
            self.committed.extend(written);
        }
    }

    fn here(&self) -> Arc<Standpoint> {
        let xmax = 10 + self.next_xid;
        let mut running: Vec<u64> = self.open.iter().map(|(xid, _)| *xid).collect();
        running.sort_unstable();
        let xmin = running.first().copied().unwrap_or(xmax);
        let snapshot = Snapshot::new(xmin, xmax, &running).unwrap();
        let highest = self.committed.iter().map(|event| event.xid).max();
        Arc::new(Standpoint::new("h".into(), snapshot, highest.unwrap_or(9)))
    }

    /// In order of id.
    fn between(&self, from: &Snapshot, to: &Snapshot) -> Vec<Written> {
        let lies = |event: &&Written| !from.sees(event.xid) && to.sees(event.xid);
        let mut found: Vec<_> = self.committed.iter().filter(lies).cloned().collect();
        found.sort_by_key(|event| event.id);
        found
    }

    /// What a service finds that looks now, and what it gives out.
    fn look(&mut self, from: &Standpoint) -> Batch {
        let to = self.here();
        let spelling = Spelling::of("h", &from.place, Some(&to.place));
        let found = self.between(&from.snapshot, &to.snapshot);
        let (events, states) = self.read(&found, &spelling, true);
        let bookmarks = events.iter().map(|event| event.bookmark().unwrap());
        self.bookmarks.extend(bookmarks.map(ToString::to_string));
        self.bookmarks.push(to.bookmark.to_string());
        Batch { to, events, states }
    }

    /// As rows of the log are, with states as they are rendered now.
    fn read(
        &self,
        found: &[Written],
        spelling: &Spelling,
        ends: bool,
    ) -> (Vec<Arc<Event>>, States) {
        let (mut events, mut equals) = (Vec::new(), Equals::default());
        for event in found.iter().rev() {
            let (id, xid) = (event.id, event.xid);
            if !equals.is_event(Entry { id, xid }, event.state) {
                continue;
            }
            let bookmark = if ends && events.is_empty() {
                spelling.last_event(id).into()
            } else {
                spelling.event(id).into()
            };
            let said = self.committed.len().to_string();
            events.push(Arc::new(Event {
                place: Some(Place { id, xid, bookmark }),
                rooms: vec![event.room.into()],
                data: RawValue::from_string(said).unwrap(),
                ..Event::example()
            }));
        }
        events.reverse();
        (events, equals.states())
    }
}

/// Somebody who came back, up to what they are told.
enum Reader {
    Joined(Box<Seam>, Bookmark),
    Reading(Box<Seam>, Bookmark, Refill, Refilled),
    Told,
}

struct Run {
    model: Model,
    hub: Hub,
    readers: Vec<Reader>,
    /// What was collected at once, to be collected again at the end.
    chosen: Vec<(Box<Seam>, Bookmark, Excerpt)>,
    /// How often the ring was made to reach back further, and then sufficed.
    refilled: usize,
    /// Whether nothing is ever let go of.
    roomy: bool,
}

impl Run {
    fn join(&mut self, pick: usize, rooms: usize) {
        let Some(text) = self
            .model
            .bookmarks
            .get(pick % self.model.bookmarks.len().max(1))
        else {
            return;
        };
        let since = Bookmark::parse(text).unwrap();
        let rooms: &[&str] = [&["a"][..], &["b"], &["a", "b"]][rooms % 3];
        let rooms: Vec<Arc<str>> = rooms.iter().map(|room| Arc::from(*room)).collect();
        let subscription = self.hub.open();
        let brought = Since::Bookmark(since.clone(), text.as_str().into());
        self.hub.join(&subscription, &rooms, brought, None, 0);
        let seam = subscription.take_waiting().unwrap().pop_front();
        let Some(Delivery::Seam(mut seam)) = seam else {
            panic!("a seam was expected")
        };
        match std::mem::replace(&mut seam.replay, Replay::Live) {
            Replay::Ring(excerpt) => {
                self.check(&seam, &since, &seam.collect(&excerpt).unwrap());
                self.chosen.push((seam, since, excerpt));
            }
            Replay::Log(since) => self.readers.push(Reader::Joined(seam, since)),
            // From another service that has looked since: it would be waited for.
            Replay::Gap(GapReason::Future) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Takes a reader one step further; `also` comes back at the same time.
    fn go_on(&mut self, which: usize, also: usize) {
        if self.readers.is_empty() {
            return;
        }
        let which = which % self.readers.len();
        let reader = std::mem::replace(&mut self.readers[which], Reader::Told);
        self.readers[which] = match reader {
            Reader::Joined(seam, since) => {
                let also = &self.model.bookmarks[also % self.model.bookmarks.len()];
                let also = Bookmark::parse(also).unwrap().base;
                if which % 2 == 1 {
                    self.readers[which] = self.annex(seam, since);
                    return;
                }
                match self.hub.wants("h", &[also, since.base.clone()]) {
                    Some(refill) => {
                        let found = self.read(&refill);
                        Reader::Reading(seam, since, refill, found)
                    }
                    None => self.tell(seam, since),
                }
            }
            Reader::Reading(seam, since, refill, found) => {
                self.hub.refill(refill, found, Instant::now());
                self.tell(seam, since)
            }
            Reader::Told => Reader::Told,
        };
    }

    /// Reads for the rooms of a reader, and of nobody else.
    fn annex(&mut self, seam: Box<Seam>, since: Bookmark) -> Reader {
        let rooms = seam.wanted.iter().cloned().collect();
        let Some((mut annex, refill)) = self.hub.annex("h", &since.base, rooms) else {
            return self.tell(seam, since);
        };
        let found = self.read(&refill);
        annex.fill(refill, found);
        match annex.replay(&seam, &since) {
            Some(excerpt) => {
                self.check(&seam, &since, &seam.collect(&excerpt).unwrap());
                self.chosen.push((seam, since, excerpt));
                Reader::Told
            }
            None => Reader::Joined(seam, since),
        }
    }

    fn read(&self, refill: &Refill) -> Refilled {
        let place = &refill.to.place;
        let spelling = Spelling::of("h", &refill.from, Some(place));
        let mut found = self.model.between(&refill.from, place);
        if let Some(rooms) = &refill.rooms {
            found.retain(|event| rooms.iter().any(|room| **room == *event.room));
        }
        let (events, states) = self.model.read(&found, &spelling, false);
        Refilled::new(events, states)
    }

    fn tell(&mut self, seam: Box<Seam>, since: Bookmark) -> Reader {
        match self.hub.look_again(&seam, since) {
            Replay::Ring(excerpt) => {
                self.refilled += 1;
                let since = Bookmark::parse(seam.since.as_deref().unwrap()).unwrap();
                self.check(&seam, &since, &seam.collect(&excerpt).unwrap());
                self.chosen.push((seam, since, excerpt));
                Reader::Told
            }
            // Another refill came first, or what it was for has been let go of.
            Replay::Log(since) => Reader::Joined(seam, since),
            other => panic!("{other:?}"),
        }
    }

    /// All that is lacking, each once, and from each bookmark on exactly the rest.
    fn check(&self, seam: &Seam, since: &Bookmark, told: &[Arc<Event>]) {
        let concerns = |event: &&Written| {
            let wanted = seam.wanted.iter().any(|room| **room == *event.room);
            wanted && seam.standpoint.snapshot.sees(event.xid)
        };
        let all: Vec<_> = self.model.committed.iter().filter(concerns).collect();
        let ids = ids(told);
        // Whether what an event says is said by a later one that is told.
        let is_said = |event: &Written| {
            event.state.is_some()
                && all.iter().any(|other| {
                    other.id > event.id && other.state == event.state && ids.contains(&other.id)
                })
        };
        for event in &all {
            let times = ids.iter().filter(|id| **id == event.id).count();
            if since.covers(event.xid, event.id) {
                assert_eq!(times, 0, "{event:?} again, from {since}");
            } else {
                let lacks = times == 0 && !is_said(event);
                assert!(
                    times < 2 && !lacks,
                    "{event:?} {times} times from {since}: {ids:?}"
                );
            }
        }
        assert!(
            ids.iter().all(|id| all.iter().any(|event| event.id == *id)),
            "{ids:?}"
        );
        self.check_states(seam, since, told);
        for (number, event) in told.iter().enumerate() {
            let here = Bookmark::parse(event.bookmark().unwrap()).unwrap();
            for event in &all {
                let had = since.covers(event.xid, event.id) || ids[..=number].contains(&event.id);
                let covered = here.covers(event.xid, event.id);
                assert!(covered || !had, "{event:?} would come again after {here}");
                assert!(
                    had || !covered || is_said(event),
                    "{event:?} would never come after {here}, of {ids:?} from {since}"
                );
            }
        }
    }

    /// No state is told as it was before what its bookmark covers, nor the last as it was before
    /// the reader joined.
    fn check_states(&self, seam: &Seam, since: &Bookmark, told: &[Arc<Event>]) {
        let mut last = HashMap::new();
        for event in told {
            let place = event.place.as_ref().unwrap();
            let mut committed = self.model.committed.iter();
            let written = committed.find(|written| written.id == place.id).unwrap();
            let Some(state) = written.state else { continue };
            let here = Bookmark::parse(&place.bookmark).unwrap();
            let said: usize = event.data.get().parse().unwrap();
            last.insert(state, said);
            for later in self.model.committed.iter().skip(said) {
                let is_covered = here.covers(later.xid, later.id);
                assert!(
                    later.state != Some(state) || !is_covered,
                    "{written:?} is told at {here}, from {since}, as before {later:?}"
                );
            }
        }
        for (state, said) in last {
            for later in self.model.committed.iter().skip(said) {
                assert!(
                    later.state != Some(state) || !seam.standpoint.snapshot.sees(later.xid),
                    "from {since} the last that is told is as before {later:?}"
                );
            }
        }
    }

    /// Somebody who comes back is told these, each checked.
    fn tells(&mut self, bookmark: &str) -> Vec<u64> {
        self.model.bookmarks = vec![bookmark.to_owned()];
        self.join(0, 0);
        let (seam, _, excerpt) = self.chosen.last().expect("the ring reaches back");
        let told = seam.collect(excerpt).unwrap();
        ids(&told)
    }
}

fn play(steps: &[(u8, u8, u8)], restart: usize, ring_bytes: usize) -> Run {
    let limits = Limits {
        queue_bytes: 1 << 20,
        replay_events: 10_000,
        replay_bytes: 1 << 20,
        ring_bytes,
        ring_age: Duration::from_secs(600),
        refill_events: 10_000,
        memory_bytes: 0,
        memory_age: Duration::ZERO,
    };
    let mut run = serve(Model::default(), Hub::new(limits));
    run.roomy = ring_bytes == usize::MAX;
    let mut here = run.model.here();
    // Where another service stands, which looks at other moments.
    let mut elsewhere = run.model.here();
    for (number, &(step, one, other)) in steps.iter().enumerate() {
        let is_new = number >= restart;
        if number == restart {
            here = run.model.here();
            run.hub.begin(Arc::clone(&here), GapReason::History);
        }
        let (pick, more) = (usize::from(one), usize::from(other));
        match step % 12 {
            0 | 1 => run.model.begin(),
            2..=4 => run.model.write(pick, other),
            5 | 6 => run.model.commit(pick),
            7 => {
                let batch = run.model.look(&here);
                here = Arc::clone(&batch.to);
                if is_new {
                    run.hub.publish(batch, Instant::now());
                }
            }
            8 if is_new => run.join(pick * 7 + more, more),
            9 if is_new => run.go_on(pick, more),
            10 => elsewhere = run.model.look(&elsewhere).to,
            // On a standby: it does not know what is in progress.
            11 => {
                let here = run.model.here();
                let xmin = here.snapshot.running().first().copied();
                let xmin = xmin.unwrap_or(here.snapshot.xmax());
                let place = Snapshot::new(xmin, xmin, &[]).unwrap();
                let bookmark = Bookmark::at(&here.history, &place);
                run.model.bookmarks.push(bookmark.to_string());
            }
            _ => run
                .model
                .bookmarks
                .push(run.model.here().bookmark.to_string()),
        }
    }
    if restart < steps.len() {
        for number in 0..run.model.bookmarks.len() {
            run.join(number, number);
        }
        for number in 0..run.readers.len() {
            run.go_on(number, number);
            run.go_on(number, number);
            // Whoever's refill came too late reads anew, for itself if need be.
            run.go_on(number, number);
            run.go_on(number, number);
            let told = matches!(run.readers[number], Reader::Told);
            assert!(told || !run.roomy, "nothing was found for reader {number}");
        }
    }
    // Whatever the ring has let go of, or was refilled with, since.
    for (seam, since, excerpt) in &run.chosen {
        run.check(seam, since, &seam.collect(excerpt).unwrap());
    }
    run
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    proptest::collection::vec(any::<(u8, u8, u8)>(), 0..150)
}

proptest! {
    #[test]
    fn whoever_comes_from_before_the_ring_is_told_all_and_nothing_twice(
        steps in steps(), restart in 0usize..100
    ) {
        play(&steps, restart, usize::MAX);
    }

    /// Then some go without, which is told them by the log; nobody is told half.
    #[test]
    fn a_ring_that_lets_go_meanwhile_tells_nobody_half(
        steps in steps(), restart in 0usize..100, ring_bytes in 0usize..4000
    ) {
        play(&steps, restart, ring_bytes);
    }
}

/// What the two above rest on: that the ring is reached back at all.
#[test]
fn one_read_serves_all_who_come_from_between() {
    let mut model = Model::default();
    let mut here = model.here();
    for number in 0..20 {
        model.begin();
        model.write(0, 0);
        model.write(0, number);
        model.commit(0);
        here = model.look(&here).to;
    }
    let hub = Hub::new(LIMITS);
    hub.begin(here, GapReason::History);
    let mut run = serve(model, hub);
    let count = run.model.bookmarks.len();
    // The first three batches are more than one may be told at once.
    for number in count - 12..count {
        run.join(number, 2);
    }
    let waiting = run.readers.len();
    run.go_on(0, count - 12);
    run.go_on(0, count - 12);
    assert_eq!(run.refilled, 1);
    for number in 1..waiting {
        assert!(matches!(run.readers[number], Reader::Joined(..)));
        run.go_on(number, count - 1);
        assert!(matches!(run.readers[number], Reader::Told), "it read again");
    }
    assert!(waiting > 5 && run.refilled == waiting, "{waiting}");
}

/// The ring has let go of the moment at which somebody joined, and was then read back past it, in
/// one batch: where in that the reader stands, nobody knows.
#[test]
fn who_joined_within_what_was_read_is_not_told_half() {
    let mut model = Model::default();
    let write = |model: &mut Model| {
        model.begin();
        model.write(0, 0);
        model.commit(0);
    };
    let start = model.here();
    model.bookmarks.push(start.bookmark.to_string());
    write(&mut model);
    let hub = Hub::new(LIMITS);
    let mut here = model.here();
    hub.begin(Arc::clone(&here), GapReason::History);
    let mut run = serve(model, hub);
    run.join(0, 0);
    let now = Instant::now();
    for seconds in [0, 61] {
        write(&mut run.model);
        let batch = run.model.look(&here);
        here = Arc::clone(&batch.to);
        run.hub.publish(batch, now + Duration::from_secs(seconds));
    }
    let refill = run
        .hub
        .wants("h", std::slice::from_ref(&start.place))
        .unwrap();
    let found = run.read(&refill);
    assert_eq!(found.events.len(), 2, "what it lacks, and what it got live");
    run.hub.refill(refill, found, now);
    let Some(Reader::Joined(seam, since)) = run.readers.pop() else {
        panic!("it had to wait")
    };
    assert!(matches!(run.hub.look_again(&seam, since), Replay::Log(_)));
}

fn serve(model: Model, hub: Hub) -> Run {
    Run {
        model,
        hub,
        readers: Vec::new(),
        chosen: Vec::new(),
        refilled: 0,
        roomy: true,
    }
}

/// A burst of bookings is one state of the slot: whoever lacks all of it is told once, and whoever
/// had the last one but not an earlier one, which committed later, is told that. So it was with what
/// was read for the ring, and with what came live that earlier one was lost.
#[test]
fn of_equal_states_the_last_is_told_of_those_that_are_lacking() {
    for live in [false, true] {
        let mut model = Model::default();
        (0..3).for_each(|_| model.begin());
        // The same state three times, in transactions 10, 11 and 12; the first commits last.
        (0..3).for_each(|which| model.write(which, 3));
        let start = model.here();
        let hub = Hub::new(LIMITS);
        if live {
            hub.begin(Arc::clone(&start), GapReason::History);
        }
        model.commit(2);
        model.commit(1);
        let late = model.here();
        model.commit(0);
        if !live {
            hub.begin(model.here(), GapReason::History);
        }
        let mut run = serve(model, hub);
        if live {
            let batch = run.model.look(&start);
            assert_eq!(batch.events.len(), 1, "whoever is there is told once");
            run.hub.publish(batch, Instant::now());
        } else {
            let places = std::slice::from_ref(&start.place);
            let refill = run.hub.wants("h", places).unwrap();
            let found = run.read(&refill);
            run.hub.refill(refill, found, Instant::now());
        }
        assert_eq!(run.tells(&start.bookmark), [3]);
        assert_eq!(run.tells(&late.bookmark), [1]);
    }
}

/// A bookmark that was too long covers less than its holder knows: not the last of these either,
/// which would be dropped as known, and with it what the one before it says.
#[test]
fn of_a_shortened_bookmark_all_equal_states_are_told() {
    let mut model = Model::default();
    (0..500).for_each(|_| model.begin());
    model.write(498, 3);
    model.write(499, 3);
    let start = model.here();
    let hub = Hub::new(LIMITS);
    hub.begin(Arc::clone(&start), GapReason::History);
    model.commit(499);
    let known = model.look(&start);
    assert_eq!(known.events.len(), 1);
    let since = known.to.bookmark.to_string();
    (0..499).for_each(|_| model.commit(0));
    let run = &mut serve(model, hub);
    let rest = run.model.look(&known.to);
    run.hub.publish(known, Instant::now());
    run.hub.publish(rest, Instant::now());
    assert!(Bookmark::parse(&since).unwrap().may_be_shortened());
    assert_eq!(run.tells(&since), [1, 2]);
}

/// Two services looked at other moments. Whoever was told part of what one found at once, and comes
/// to the other, was told by id what that had found one after the other: last what it knew first.
#[test]
fn what_an_older_look_says_of_a_state_is_not_told_last() {
    let mut model = Model::default();
    (0..3).for_each(|_| model.begin());
    // Transaction 10 writes no state, 11 and 12 the same.
    [0, 3, 3]
        .into_iter()
        .enumerate()
        .for_each(|(which, what)| model.write(which, what));
    let start = model.here();
    let hub = Hub::new(LIMITS);
    hub.begin(Arc::clone(&start), GapReason::History);
    let mut run = serve(model, hub);
    let mut here = Arc::clone(&start);
    // Transaction 12 commits before 11, which wrote before it.
    for which in [0, 1, 0] {
        run.model.commit(which);
        let batch = run.model.look(&here);
        here = Arc::clone(&batch.to);
        run.hub.publish(batch, Instant::now());
    }
    let elsewhere = run.model.look(&start);
    let bookmark = elsewhere.events[0].bookmark().unwrap();
    assert_eq!(run.tells(bookmark), [3]);
}

//! What the ring held between a bookmark and the moment of a join: chosen under the hub's lock,
//! collected without it, however much others have missed and whatever is let go of meanwhile.
//! Hands events over to connections, shared with everybody who got them live.
//! It must never move a bookmark backwards.

use super::segment::{KeptBatch, Position, Segment, Wanted};
use crate::bookmark::{Bookmark, Spelling, Standpoint};
use crate::event::{Entry, Event, GapReason, Place, State};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Segments of the ring as they were, from the one on in which a bookmark lies.
#[derive(Debug)]
pub struct Excerpt {
    pub(super) since: Bookmark,
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) moved: Arc<Mutex<Moved>>,
    /// Events and bytes that may be replayed.
    pub(super) most: (usize, usize),
}

/// Copies of events with bookmarks of their own, as they were last made for somebody: who comes back
/// from the same place shares them, and the frames that they were encoded to.
#[derive(Debug, Default)]
pub(super) struct Moved {
    events: HashMap<u64, Arc<Event>>,
    bytes: usize,
}

/// Events, each with the row of the log in whose place it is told.
type Found<'a> = Vec<(Entry, &'a Arc<Event>)>;

impl Excerpt {
    /// What a bookmark lacks in these rooms, up to a standpoint. It may lie within one of our batches:
    /// taken between two of our looks, or given out by another node. Then the events up to the end of
    /// that batch get bookmarks that go on from it: with ours the reader's next resume would repeat
    /// events that this one covers. Those behind that are told as they are.
    ///
    /// # Errors
    /// It is more than may be replayed.
    pub(super) fn collect(
        &self,
        rooms: &[Arc<str>],
        standpoint: &Arc<Standpoint>,
    ) -> Result<Vec<Arc<Event>>, GapReason> {
        let (since, wanted) = (&self.since, Wanted::of(rooms));
        let newest = since.newest();
        // Batches grow: what one is within, or reaches, all later ones are beyond, or reach.
        let had = self.first_not(|kept| kept.batch.to.place.is_subset_of(&since.base));
        let reached = self.first_not(|kept| !newest.is_subset_of(&kept.batch.to.snapshot));
        let end = self.end(standpoint);
        let (behind, to) = match self.segments.get(reached.0) {
            // Of what lies behind it, too, the reader may know equal states that are not the last.
            _ if since.may_be_shortened() => (end, standpoint),
            Some(segment) if reached < end => {
                let (number, batch) = reached;
                ((number, batch + 1), &segment.batches[batch].batch.to)
            }
            _ => (end, standpoint),
        };
        let had = had.min(behind);
        let [rest, later] = self.lacking(had..behind, &wanted);
        let (events, bytes) = self.most;
        let own = self.events(behind..end, &wanted).map(|(event, _)| event);
        // Of more than may be replayed not all.
        let own: Vec<_> = own.take(events + 1).collect();

        let found = rest.iter().chain(&later).map(|(_, event)| event);
        let weights = found.chain(&own).map(|event| event.weight());
        let (count, weight) = weights.fold((0, 0), |(count, sum), one| (count + 1, sum + one));
        if count > events || weight > bytes {
            return Err(GapReason::Limit);
        }
        let mut replay = Vec::with_capacity(count);
        if let Some((batch, _)) = &since.batch {
            let spelling = Spelling::of(&since.history, &since.base, Some(batch));
            self.respell(rest, &spelling, &mut replay);
        }
        let spelling = Spelling::of(&since.history, newest, Some(&to.place));
        self.respell(later, &spelling, &mut replay);
        replay.extend(own.into_iter().cloned());
        Ok(replay)
    }

    /// What is lacking of some batches, in two parts: the rest of the bookmark's own batch, and what
    /// lies behind that. Each is told in order of id, across our batches, so an older batch's state
    /// could be told after a younger one's. Therefore of equal states each part has only the last that
    /// is lacking, with the payload of the youngest of these batches. A bookmark that may be shortened
    /// gets all of them: its reader may know the last, drop it, and lack one before it.
    fn lacking<'a>(&'a self, range: Range<Position>, wanted: &'a Wanted<'a>) -> [Found<'a>; 2] {
        let (since, newest) = (&self.since, self.since.newest());
        let part = |entry: &Entry| match &since.batch {
            _ if !newest.sees(entry.xid) => Some(1),
            Some((_, last)) if !since.base.sees(entry.xid) && entry.id > *last => Some(0),
            _ => None,
        };
        let mut found = [Vec::new(), Vec::new()];
        let tells_all = since.may_be_shortened();
        let mut states = HashMap::new();
        for (event, state) in self.events(range, wanted) {
            let own = event.place.as_ref().map(Place::entry);
            let Some(state) = state else {
                if let Some((entry, part)) = own.and_then(|entry| Some((entry, part(&entry)?))) {
                    found[part].push((entry, event));
                }
                continue;
            };
            let fresh = || (event, [BTreeSet::new(), BTreeSet::new()]);
            let (youngest, told) = states.entry(state.number).or_insert_with(fresh);
            *youngest = event;
            for entry in state.equals.iter().chain(&own) {
                let Some(part) = part(entry) else { continue };
                let told = &mut told[part];
                if !tells_all && told.last() < Some(entry) {
                    told.clear();
                }
                if tells_all || told.is_empty() {
                    told.insert(*entry);
                }
            }
            if found.iter().map(Vec::len).sum::<usize>() > self.most.0 {
                break;
            }
        }
        for (event, told) in states.into_values() {
            for (found, told) in found.iter_mut().zip(told) {
                found.extend(told.into_iter().map(|entry| (entry, event)));
            }
        }
        found
    }

    /// The first batch of which this is not so; it is so of all before it, and of none behind it.
    fn first_not(&self, is_so: impl Fn(&KeptBatch) -> bool) -> Position {
        let segments = &self.segments;
        let ends_so =
            |segment: &Arc<Segment>| segment.batches.last().is_some_and(|last| is_so(last));
        let number = segments.partition_point(ends_so);
        let batch = segments.get(number).map_or(0, |segment| {
            segment.batches.partition_point(|kept| is_so(kept))
        });
        (number, batch)
    }

    /// Behind the batches that a standpoint has seen.
    fn end(&self, standpoint: &Standpoint) -> Position {
        self.first_not(|kept| kept.batch.to.snapshot.is_subset_of(&standpoint.snapshot))
    }

    /// Whether the standpoint lies within a batch: which of its events it has seen, nobody knows.
    pub(super) fn is_cut_by(&self, standpoint: &Standpoint) -> bool {
        let behind = (self.segments.len(), 0);
        let later = self.batches(self.end(standpoint)..behind);
        let mut later = later.flat_map(|(segment, batches)| &segment.batches[batches]);
        later.any(|kept| {
            let mut entries = kept.entries();
            entries.any(|entry| standpoint.snapshot.sees(entry.xid))
        })
    }

    /// The segments of a range, each with its batches that lie in it.
    fn batches(&self, range: Range<Position>) -> impl Iterator<Item = (&Segment, Range<usize>)> {
        let (start, end) = (range.start, range.end);
        let segments = self.segments.iter().enumerate();
        let segments = segments.take(end.0 + 1).skip(start.0);
        segments.map(move |(number, segment)| {
            let first = if number == start.0 { start.1 } else { 0 };
            let last = if number == end.0 {
                end.1
            } else {
                segment.batches.len()
            };
            (&**segment, first..last)
        })
    }

    /// The events of some batches for these rooms, and of states what else there is to know.
    fn events<'a>(
        &'a self,
        range: Range<Position>,
        wanted: &'a Wanted<'a>,
    ) -> impl Iterator<Item = (&'a Arc<Event>, Option<&'a State>)> {
        self.batches(range).flat_map(move |(segment, batches)| {
            let candidates = segment.candidates(batches, wanted).into_iter();
            candidates.filter_map(move |at| {
                let event = segment.event(at);
                let concerns = wanted.concerns(event);
                concerns.then(|| (event, segment.state(at)))
            })
        })
    }

    /// Adds events in order of id, with the bookmarks of one batch.
    fn respell(&self, mut events: Found<'_>, spelling: &Spelling, replay: &mut Vec<Arc<Event>>) {
        events.sort_unstable_by_key(|(entry, _)| entry.id);
        let count = events.len();
        let spelled = (1..=count).zip(events).map(|(number, (entry, event))| {
            let text = if number == count {
                spelling.last_event(entry.id)
            } else {
                spelling.event(entry.id)
            };
            let mut place = event.place.iter();
            if place.any(|place| place.entry() == entry && *place.bookmark == *text) {
                return Arc::clone(event);
            }
            self.moved.lock().spelled(entry, event, text, self.most.1)
        });
        replay.extend(spelled);
    }
}

impl Moved {
    /// The event at this place: the one that somebody was given before, if it is the same. A state may
    /// be as an older batch said it, which knew all that lies before this bookmark.
    fn spelled(
        &mut self,
        entry: Entry,
        event: &Event,
        bookmark: String,
        limit: usize,
    ) -> Arc<Event> {
        if let Some(known) = self.events.get(&entry.id)
            && known.bookmark().is_some_and(|known| **known == *bookmark)
        {
            return Arc::clone(known);
        }
        let moved = Arc::new(event.moved(entry, bookmark));
        if self.bytes > limit {
            *self = Self::default();
        }
        self.bytes += moved.weight();
        if let Some(before) = self.events.insert(entry.id, Arc::clone(&moved)) {
            self.bytes -= before.weight();
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{self, LIMITS, hub, ids, place, publish, seam};
    use super::super::{Hub, Limits, Refilled, Replay, Seam};
    use super::*;
    use std::time::{Duration, Instant};

    fn collected(seam: &Seam) -> Vec<u64> {
        ids(&tests::collected(seam))
    }

    /// One event in each of so many batches, from id 1 and transaction 10 on.
    fn publish_each(hub: &Hub, ids: std::ops::RangeInclusive<u64>, room: &str, now: Instant) {
        for id in ids {
            let to = place(id + 10, id + 10, &[]);
            publish(hub, &to, &[(id, id + 9, &[room])], now);
        }
    }

    #[test]
    fn what_was_chosen_is_collected_whatever_the_ring_does_meanwhile() {
        let hub = hub(LIMITS);
        let began = Instant::now();
        publish_each(&hub, 1..=6, "a", began);
        let seam = seam(&hub, "a", "h.12_0");
        // Its last segment goes on, all of it grows old, and the history ends.
        publish_each(&hub, 7..=7, "a", began);
        assert_eq!(collected(&seam), [3, 4, 5, 6]);
        publish_each(&hub, 8..=8, "a", began + Duration::from_secs(61));
        assert_eq!(hub.sizes().ring_batches, 1);
        // Collecting takes no lock of the hub's.
        let table = hub.0.table.lock();
        assert_eq!(collected(&seam), [3, 4, 5, 6]);
        drop(table);
        hub.begin(place(20, 20, &[]), GapReason::History);
        assert_eq!(collected(&seam), [3, 4, 5, 6]);
    }

    /// Under the lock no batch is looked at, let alone an event, and nothing copied but few segments.
    #[test]
    fn what_is_chosen_is_shared_by_all_who_come_back() {
        let hub = hub(LIMITS);
        publish_each(&hub, 1..=11, "a", Instant::now());
        let chosen = |seam: &Seam| match &seam.replay {
            Replay::Ring(excerpt) => excerpt.segments.clone(),
            other => panic!("{other:?}"),
        };
        let one = chosen(&seam(&hub, "a", "h.12_0"));
        let other = chosen(&seam(&hub, "b", "h.16_0"));
        let sizes: Vec<_> = one.iter().map(|segment| segment.batches.len()).collect();
        assert_eq!(sizes, [4, 4, 3]);
        assert_eq!(other.len(), 2);
        let mut pairs = one[1..].iter().zip(&other);
        assert!(pairs.all(|(one, other)| Arc::ptr_eq(one, other)));
    }

    #[test]
    fn a_reader_of_one_room_looks_at_no_events_of_others() {
        let hub = hub(LIMITS);
        let now = Instant::now();
        publish_each(&hub, 1..=50, "b", now);
        publish_each(&hub, 51..=51, "a", now);
        publish_each(&hub, 52..=100, "b", now);
        let events: Vec<_> = (101..=150).map(|id| (id, 110, &["b"] as &[&str])).collect();
        publish(&hub, &place(111, 111, &[]), &events, now);
        let seam = seam(&hub, "a", "h.10_0");
        let Replay::Ring(excerpt) = &seam.replay else {
            panic!("{:?}", seam.replay)
        };
        let wanted = Wanted::of(&seam.wanted);
        let all = excerpt.batches((0, 0)..(excerpt.segments.len(), 0));
        let looked: usize = all
            .map(|(segment, batches)| segment.candidates(batches, &wanted).len())
            .sum();
        assert_eq!((looked, collected(&seam)), (1, vec![51]));
    }

    #[test]
    fn an_event_in_several_rooms_of_a_full_segment_comes_once_and_in_order() {
        let hub = hub(LIMITS);
        let events: &[(u64, u64, &[&str])] = &[
            (1, 10, &["c", "*"]),
            (2, 10, &["*", "a"]),
            (3, 10, &["b"]),
            (4, 10, &["a"]),
            (5, 10, &["a", "b", "*"]),
        ];
        publish(&hub, &place(11, 11, &[]), events, Instant::now());
        assert_eq!(collected(&seam(&hub, "a", "h.10_0")), [1, 2, 4, 5]);
        assert_eq!(collected(&seam(&hub, "a", "h.10_0.11_0.2")), [4, 5]);
    }

    /// Of a segment that others are in the first batches may be gone: what is read for those who
    /// come from there takes their place.
    #[test]
    fn what_was_let_go_of_and_read_again_comes_once() {
        let hub = hub(Limits {
            ring_age: Duration::from_secs(10),
            ..LIMITS
        });
        let began = Instant::now();
        publish_each(&hub, 1..=2, "a", began);
        publish_each(&hub, 3..=3, "a", began + Duration::from_secs(11));
        assert_eq!(hub.sizes().ring_batches, 1);
        let before = Bookmark::parse("h.11_0").unwrap();
        let mut seam = seam(&hub, "a", "h.11_0");
        assert!(matches!(seam.replay, Replay::Log(_)));
        let refill = hub.wants("h", std::slice::from_ref(&before.base)).unwrap();
        assert!(refill.to.place.sees(11) && !refill.to.place.sees(12));
        hub.refill(refill, Refilled::default(), began);
        seam.replay = hub.look_again(&seam, before);
        // What was read is believed: that there is nothing but what the ring still held.
        assert_eq!(collected(&seam), [3]);
        assert_eq!(hub.sizes().ring_batches, 1);
    }
}

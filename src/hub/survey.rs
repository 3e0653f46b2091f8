//! What operators see of the hub: who is connected and what waits for them, the largest rooms, and
//! every event as it passes. Hands it over to the console.
//! It must never hold a lock for longer than it takes to copy: nothing here is asked while nobody
//! watches, and then once a second.

use super::{Backlog, Hub, Subscription};
use std::cmp::Reverse;
use std::sync::Arc;

/// Somebody who is connected, at one moment.
#[derive(Clone, Debug)]
pub struct Survey {
    pub subscription: Arc<Subscription>,
    pub load: Backlog,
    /// Without the room of everybody.
    pub rooms: usize,
}

impl Hub {
    /// Everybody who has joined or is about to, and was introduced.
    #[must_use]
    pub fn survey(&self) -> Vec<Survey> {
        // The list first, by itself: publishing waits for none of what follows.
        let everybody: Vec<_> = self.0.roster.lock().everybody().collect();
        let everybody = everybody.into_iter();
        let known = everybody.filter(|subscription| subscription.caller().is_some());
        known
            .map(|subscription| Survey {
                load: subscription.load(),
                rooms: subscription.count_rooms(),
                subscription,
            })
            .collect()
    }

    /// The largest rooms, each with how many are in it.
    #[must_use]
    pub fn largest_rooms(&self, most: usize) -> Vec<(Arc<str>, usize)> {
        let table = self.0.table.lock();
        let rooms = table.rooms.iter();
        let mut rooms: Vec<_> = rooms
            .map(|(room, all)| (Reverse(all.len()), room))
            .collect();
        if rooms.len() > most {
            // By size alone, and the others in no order: publishing waits.
            rooms.select_nth_unstable_by_key(most, |(size, _)| *size);
            rooms.truncate(most);
        }
        rooms.sort_unstable();
        let largest = rooms.into_iter();
        largest
            .map(|(Reverse(size), room)| (Arc::clone(room), size))
            .collect()
    }

    /// Gives a subscription every event from now on, whatever its rooms. Its queue is bounded as
    /// any: who does not take in time is ended as lagged, and nobody waits for it.
    pub fn follow(&self, subscription: &Arc<Subscription>) {
        let tails = &mut self.0.table.lock().tails;
        tails.insert(subscription.id, Arc::clone(subscription));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::hub::tests::{LIMITS, hub};
    use crate::hub::{Delivery, Ended, Limits, Since};

    fn event(room: &str) -> Arc<Event> {
        Arc::new(Event {
            rooms: vec![room.into()],
            ..Event::example()
        })
    }

    #[test]
    fn rooms_come_by_size_and_no_more_than_asked() {
        let hub = hub(LIMITS);
        for rooms in [vec!["a"], vec!["a", "b"], vec!["a", "b", "c"]] {
            let rooms: Vec<Arc<str>> = rooms.into_iter().map(Into::into).collect();
            hub.join(&hub.open(), &rooms, Since::Now, None, 0);
        }
        let rooms = hub.largest_rooms(3);
        let rooms: Vec<_> = rooms.iter().map(|(room, n)| (&**room, *n)).collect();
        assert_eq!(rooms, [("*", 3), ("a", 3), ("b", 2)]);
    }

    #[tokio::test]
    async fn who_follows_hears_every_room_once_and_is_cut_when_it_does_not_take() {
        let hub = hub(Limits {
            queue_bytes: 1000,
            ..LIMITS
        });
        let tail = hub.open();
        hub.follow(&tail);
        hub.publish_unlogged(&event("a"));
        hub.publish_unlogged(&event("b"));
        let taken = tail.take().await.unwrap();
        assert_eq!(taken.len(), 2);
        assert!(matches!(&taken[1], Delivery::Event(event) if *event.rooms[0] == *"b"));
        for _ in 0..10 {
            hub.publish_unlogged(&event("a"));
        }
        assert_eq!(tail.over(), Some(Ended::Lagged));
        tail.close();
        assert_eq!(hub.sizes().queue_bytes, 0);
        // Nobody keeps what has been closed.
        assert_eq!(Arc::strong_count(&tail), 1);
    }

    #[tokio::test]
    async fn what_is_being_written_shows_until_more_is_asked_for() {
        let hub = hub(LIMITS);
        let reader = hub.open();
        hub.follow(&reader);
        hub.publish_unlogged(&event("a"));
        let waiting = reader.load();
        let inserted = Event::example().at.as_microsecond();
        assert_eq!((waiting.deliveries, waiting.oldest), (1, Some(inserted)));
        assert!(waiting.bytes > 200 && waiting.writing.is_none());
        reader.take().await.unwrap();
        let load = reader.load();
        assert_eq!(load.writing.unwrap().1, waiting.bytes);
        assert_eq!((load.deliveries, load.bytes), (0, 0));
        assert!(reader.take_waiting().unwrap().is_empty());
        assert!(reader.load().writing.is_none());
    }
}

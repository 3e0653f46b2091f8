//! What was given to the Socket.IO library and has not left yet: events and answers, counted in and
//! counted out, so that its buffer is never full. Hands room over to the writers, one after another.
//! It must never count out what was not counted in.

use crate::report;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The way of one connection through the library.
#[derive(Debug, Default)]
pub(super) struct Flow {
    inside: Mutex<Inside>,
    moved: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    /// In their order: bytes, and when a live event was inserted.
    packets: VecDeque<(usize, Option<i64>)>,
    bytes: usize,
    /// When something left last, or came in when nothing was there.
    moved: Option<Instant>,
}

impl Flow {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for a packet, and counts it in. One that is larger than all the room
    /// there is goes alone.
    pub async fn enter(&self, bytes: usize, inserted: Option<i64>, most: (usize, usize)) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // From here on, nothing that leaves is missed.
            moved.as_mut().enable();
            {
                let mut inside = self.inside();
                let fits = inside.packets.len() < most.0 && inside.bytes + bytes <= most.1;
                if fits || inside.packets.is_empty() {
                    let first = inside.packets.is_empty();
                    if first {
                        inside.moved = Some(Instant::now());
                    }
                    inside.packets.push_back((bytes, inserted));
                    inside.bytes += bytes;
                    drop(inside);
                    if first {
                        self.moved.notify_waiters();
                    }
                    return;
                }
            }
            moved.await;
        }
    }

    /// Takes back the last that was counted in: the library did not take it.
    pub fn take_back(&self) {
        let mut inside = self.inside();
        if let Some((bytes, _)) = inside.packets.pop_back() {
            inside.bytes -= bytes;
        }
        drop(inside);
        self.moved.notify_waiters();
    }

    /// Counts out what left for the socket.
    pub fn leave(&self, count: usize) {
        if count == 0 {
            return;
        }
        let mut inside = self.inside();
        let count = count.min(inside.packets.len());
        let mut live = Vec::new();
        for (bytes, inserted) in inside.packets.drain(..count).collect::<Vec<_>>() {
            inside.bytes -= bytes;
            live.extend(inserted);
        }
        inside.moved = Some(Instant::now());
        drop(inside);
        report::reached_socket(&live);
        self.moved.notify_waiters();
    }

    /// Whether nothing is inside.
    pub fn is_empty(&self) -> bool {
        self.inside().packets.is_empty()
    }

    /// Ends when something has been inside for so long without anything leaving.
    pub async fn stalled(&self, patience: Duration) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let due = {
                let inside = self.inside();
                let since = inside.moved.filter(|_| !inside.packets.is_empty());
                since.map(|since| since + patience)
            };
            match due {
                Some(due) if due <= Instant::now() => return,
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => moved.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: (usize, usize) = (3, 100);

    #[tokio::test]
    async fn there_is_room_for_so_many_and_so_many_bytes() {
        let flow = Flow::default();
        let full = async |bytes| {
            let entered = flow.enter(bytes, None, MOST);
            tokio::time::timeout(Duration::from_millis(50), entered)
                .await
                .is_err()
        };
        assert!(!full(500).await, "alone, it may be as large as it likes");
        assert!(full(1).await);
        flow.leave(1);
        for _ in 0..3 {
            assert!(!full(10).await);
        }
        assert!(full(10).await, "three packets");
        flow.leave(2);
        assert!(full(91).await, "a hundred bytes");
        assert!(!full(90).await);
        flow.leave(7);
        assert!(flow.is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_something_leaves() {
        let flow = Flow::default();
        for _ in 0..3 {
            flow.enter(1, None, MOST).await;
        }
        let (entered, ()) = tokio::join!(flow.enter(1, None, MOST), async {
            tokio::task::yield_now().await;
            flow.leave(1);
        });
        let () = entered;
    }

    #[tokio::test]
    async fn it_stalls_when_nothing_leaves_for_that_long() {
        let patience = Duration::from_millis(60);
        let flow = Flow::default();
        let stalled = async || {
            tokio::time::timeout(patience * 3, flow.stalled(patience))
                .await
                .is_ok()
        };
        assert!(!stalled().await, "nothing is inside");
        flow.enter(1, None, MOST).await;
        assert!(stalled().await);
        flow.leave(1);
        assert!(!stalled().await);
    }
}

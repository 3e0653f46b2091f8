//! What goes into a subscription's queue: events, gaps, and the seam between replay and live.
//! Hands itself over to the connections. It must never be changed once it is queued.

use super::excerpt::Excerpt;
use crate::bookmark::{Bookmark, Standpoint};
use crate::event::{Event, GapReason, Place};
use crate::frame::Frame;
use std::collections::HashMap;
use std::sync::Arc;

/// What a word of the hub's own counts, in bytes: about what it takes while it waits. What a seam
/// replays is shared with the ring, and bounded where it is chosen.
const WORD: usize = 200;

/// Why a subscription was ended by the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It did not take its events in time: its queue was full.
    Lagged,
    /// The service stops.
    Restart,
    /// The user was revoked.
    Revoked,
    /// The session it came with is none any more.
    NoSession,
    /// The rules have changed, and the database could not be asked in time what that means for it.
    Unconfirmed,
    /// Its session ends earlier by now, which it is told when it comes back.
    EndsEarlier,
}

/// What waits in a subscription's queue, in the order in which it is to be written.
#[derive(Debug)]
pub enum Delivery {
    Event(Arc<Event>),
    /// Everything up to here may be incomplete in all rooms.
    Gap {
        reason: GapReason,
        bookmark: Arc<str>,
    },
    /// Rooms begin here: the answer to a subscribe, with what they lack.
    Seam(Box<Seam>),
    /// A frame of the connection's own, in its place among the events.
    Reply(Frame),
}

impl Delivery {
    /// When the live event that it is was inserted, in Unix microseconds.
    #[must_use]
    pub fn inserted(&self) -> Option<i64> {
        match self {
            Self::Event(event) => Some(event.at.as_microsecond()),
            _ => None,
        }
    }

    /// What it counts where it waits, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Event(event) => event.weight(),
            Self::Reply(frame) => frame.weight(),
            Self::Gap { .. } | Self::Seam(_) => WORD,
        }
    }
}

/// The moment at which rooms were joined: the replay lies before it, live events behind it.
#[derive(Debug)]
pub struct Seam {
    /// What the client called this subscribe, as JSON.
    pub tag: Option<serde_json::Value>,
    pub rooms: Vec<Arc<str>>,
    /// Rooms to replay: those, and with the first join the one of everybody.
    pub wanted: Vec<Arc<str>>,
    /// Rooms joined before, each with where: what came live through those is left out. None if it
    /// is wanted again.
    pub joined: HashMap<Arc<str>, Arc<Standpoint>>,
    pub standpoint: Arc<Standpoint>,
    /// The bookmark that was brought, as it was written.
    pub since: Option<Arc<str>>,
    pub replay: Replay,
}

impl Seam {
    /// What the rooms lack up to here, of what was chosen from the ring.
    ///
    /// # Errors
    /// It is more than may be replayed.
    pub fn collect(&self, excerpt: &Excerpt) -> Result<Vec<Arc<Event>>, GapReason> {
        excerpt.collect(&self.wanted, &self.standpoint)
    }

    /// Whether the connection got an event live already, through a room that it joined before.
    #[must_use]
    pub fn was_live(&self, event: &Event) -> bool {
        let live = |place: &Place, room| {
            self.joined
                .get(room)
                .is_some_and(|at: &Arc<Standpoint>| !at.snapshot.sees(place.xid))
        };
        let place = event.place.as_ref();
        place.is_some_and(|place| event.rooms.iter().any(|room| live(place, room)))
    }
}

/// From when a subscribe wants its events.
#[derive(Debug)]
pub enum Since {
    /// From now on.
    Now,
    /// From what was to be a bookmark: a gap, and never silence.
    Unreadable,
    /// From here, with its text.
    Bookmark(Bookmark, Arc<str>),
    /// From here, and all of it: what came live through other rooms too, for whoever holds a state
    /// that was loaded just there.
    Again(Bookmark, Arc<str>),
}

impl Since {
    /// The bookmark that it is, with its text.
    #[must_use]
    pub fn place(&self) -> Option<(Bookmark, Arc<str>)> {
        match self {
            Self::Bookmark(place, text) | Self::Again(place, text) => {
                Some((place.clone(), Arc::clone(text)))
            }
            Self::Now | Self::Unreadable => None,
        }
    }

    /// The same place, with what came live meanwhile.
    #[must_use]
    pub fn again(self) -> Self {
        match self {
            Self::Bookmark(place, text) => Self::Again(place, text),
            other => other,
        }
    }
}

/// How the rooms of a seam get what they lack.
#[derive(Debug)]
pub enum Replay {
    /// No bookmark was given.
    Live,
    /// All of it was in the ring, and is to be collected.
    Ring(Excerpt),
    /// It has to be read from the log, up to the seam's standpoint.
    Log(Bookmark),
    /// It can't be proven complete, for this reason.
    Gap(GapReason),
}

impl Replay {
    /// From the log instead, if what the ring has can't be cut off at a standpoint.
    pub(super) fn up_to(self, standpoint: &Standpoint) -> Self {
        match self {
            Self::Ring(excerpt) if excerpt.is_cut_by(standpoint) => Self::Log(excerpt.since),
            other => other,
        }
    }
}

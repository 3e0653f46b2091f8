//! What a seam comes to: live, recovered with these events, or a gap with a reason; the same on
//! every transport. Hands the outcome over to the transports.
//! It must never claim to be caught up when that is not proven.

use super::replays::from_ring;
use super::seats::{OnItsWay, Seat};
use super::{Gate, Refusal};
use crate::event::{Event, GapReason};
use crate::hub::{Replay, Seam, Subscription};
use crate::report;
use serde::Serialize;
use std::sync::Arc;

/// A seam, resolved.
#[derive(Debug)]
pub struct Resolved {
    pub frame: Subscribed,
    /// The bookmark of a welcome that is sent first: where the reader stood before the events, or the
    /// gap. If it is cut off behind the welcome, it comes back for them. None for a gap without a
    /// bookmark that could be read.
    pub before: Option<Arc<str>>,
    pub events: Vec<Arc<Event>>,
    /// Counts them, until they are written.
    pub on_its_way: Option<OnItsWay>,
}

/// The answer to a subscribe.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "subscribed")]
pub struct Subscribed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<serde_json::Value>,
    pub rooms: Vec<Arc<str>>,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Where the reader stands before the replay: cut here, it comes back for all of it.
    pub bookmark: Arc<str>,
}

/// What a seam comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing was to be made up for.
    Live,
    /// So many events follow.
    Recovered { count: usize },
    /// Nothing is replayed.
    Gap { reason: GapReason },
}

impl Outcome {
    /// As it is tagged where it is a frame's.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Recovered { .. } => "recovered",
            Self::Gap { .. } => "gap",
        }
    }
}

/// What may be missing, as it is told.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename = "gap")]
pub struct Gap<'a> {
    pub rooms: &'a [Arc<str>],
    pub reason: GapReason,
    pub bookmark: &'a str,
}

impl Subscribed {
    /// The gap that it tells of, if it does.
    #[must_use]
    pub fn gap(&self) -> Option<Gap<'_>> {
        match self.outcome {
            Outcome::Gap { reason } => Some(Gap {
                rooms: &self.rooms,
                reason,
                bookmark: &self.bookmark,
            }),
            Outcome::Live | Outcome::Recovered { .. } => None,
        }
    }

    /// What is told of a seam whose log can't be read.
    #[must_use]
    pub fn unavailable(seam: &Seam) -> Self {
        Self {
            id: seam.tag.clone(),
            rooms: seam.rooms.clone(),
            outcome: Outcome::Gap {
                reason: GapReason::Unavailable,
            },
            bookmark: Arc::clone(&seam.standpoint.bookmark),
        }
    }
}

impl Gate {
    /// Reads what a seam lacks.
    ///
    /// # Errors
    /// The log could not be read; or the same reader's other connections have not taken theirs.
    pub async fn resolve(
        &self,
        mut seam: Seam,
        subscription: &Subscription,
        seat: &Seat,
    ) -> Result<Resolved, Refusal> {
        let replay = std::mem::replace(&mut seam.replay, Replay::Live);
        let live = matches!(replay, Replay::Live);
        let found = match replay {
            Replay::Live => Ok(Vec::new()),
            Replay::Ring(excerpt) => from_ring(&excerpt, &seam),
            Replay::Log(since) => self.replay(&seam, since).await?,
            Replay::Gap(why) => Err(why),
        };
        let mut lost = found.as_ref().err().copied();
        let mut events = found.unwrap_or_default();
        events.retain(|event| !seam.was_live(event));
        let lacked = !events.is_empty();
        events.retain(|event| subscription.may_hear_of(&seam.wanted, &event.rooms));
        lost = events.iter().find_map(|event| event.lost).or(lost);
        if let Some(reason) = lost {
            report::gap(reason.word());
            events.clear();
        }
        let bytes = events.iter().map(|event| event.weight()).sum();
        let on_its_way = seat.replay(self, bytes)?;
        let outcome = match (lost, live) {
            (Some(reason), _) => Outcome::Gap { reason },
            (None, true) => Outcome::Live,
            (None, false) => Outcome::Recovered {
                count: events.len(),
            },
        };
        let before = match (lost, &seam.since) {
            (Some(_), since) => since.clone(),
            // Also of those whose room was taken meanwhile: that is told behind the welcome.
            (None, Some(since)) if lacked => Some(Arc::clone(since)),
            (None, _) => Some(Arc::clone(&seam.standpoint.bookmark)),
        };
        let bookmark = seam.since.filter(|_| !events.is_empty());
        let bookmark = bookmark.unwrap_or_else(|| Arc::clone(&seam.standpoint.bookmark));
        let frame = Subscribed {
            id: seam.tag,
            rooms: subscription.not_withdrawn(seam.rooms),
            outcome,
            bookmark,
        };
        Ok(Resolved {
            frame,
            before,
            events,
            on_its_way,
        })
    }
}

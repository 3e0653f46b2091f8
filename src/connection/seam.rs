//! What a seam comes to: live, recovered with these events, or a gap with a reason; the same on
//! every transport. Hands the outcome over to the transports.
//! It must never claim to be caught up when that is not proven.

use super::{Gate, Refusal};
use crate::event::Event;
use crate::hub::{Replay, Seam, Subscription};
use crate::report;
use serde::Serialize;
use std::sync::Arc;

/// A seam, resolved.
#[derive(Debug)]
pub struct Resolved {
    pub frame: Subscribed,
    /// What a welcome that goes before says: where the reader stood. It may be cut off behind it,
    /// and would never hear of a gap if the welcome had moved it on. Nothing if it brought none
    /// that can be read: what it brought stays its own.
    pub before: Option<Arc<str>>,
    pub events: Vec<Arc<Event>>,
}

/// The answer to a subscribe.
#[derive(Clone, Debug, Serialize)]
pub struct Subscribed {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<serde_json::Value>,
    pub rooms: Vec<Arc<str>>,
    pub outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Where the reader stands before the replay: cut here, it comes back for all of it.
    pub bookmark: Arc<str>,
}

impl Subscribed {
    /// What is told of a seam whose log can't be read.
    #[must_use]
    pub fn unavailable(seam: &Seam) -> Self {
        Self {
            r#type: "subscribed",
            id: seam.tag.clone(),
            rooms: seam.rooms.clone(),
            outcome: "gap",
            count: None,
            reason: Some("unavailable"),
            bookmark: Arc::clone(&seam.standpoint.bookmark),
        }
    }
}

impl Gate {
    /// Reads what a seam lacks.
    ///
    /// # Errors
    /// The log could not be read.
    pub async fn resolve(
        &self,
        mut seam: Seam,
        subscription: &Subscription,
    ) -> Result<Resolved, Refusal> {
        let replay = std::mem::replace(&mut seam.replay, Replay::Live);
        let live = matches!(replay, Replay::Live);
        let found = match replay {
            Replay::Live => Ok(Vec::new()),
            Replay::Ring(found) => {
                report::replayed_from_ring();
                Ok(found)
            }
            Replay::Log(since) => self.replay(&seam, since).await?,
            Replay::Gap(why) => Err(why),
        };
        let mut reason = found.as_ref().err().copied();
        let mut events = found.unwrap_or_default();
        events.retain(|event| !seam.was_live(event) && subscription.may_hear(&event.rooms));
        if let Some(lost) = events.iter().find(|event| event.lost) {
            reason = Some(lost.reason());
        }
        let outcome = match (reason, live) {
            (Some(_), _) => "gap",
            (None, true) => "live",
            (None, false) => "recovered",
        };
        if let Some(reason) = reason {
            report::gap(reason);
            events.clear();
        }
        let count = (outcome == "recovered").then_some(events.len());
        let before = match (reason, &seam.since) {
            (Some(_), since) => since.clone(),
            (None, Some(since)) if !events.is_empty() => Some(Arc::clone(since)),
            (None, _) => Some(Arc::clone(&seam.standpoint.bookmark)),
        };
        let bookmark = seam.since.filter(|_| !events.is_empty());
        let bookmark = bookmark.unwrap_or_else(|| Arc::clone(&seam.standpoint.bookmark));
        let frame = Subscribed {
            r#type: "subscribed",
            id: seam.tag,
            rooms: subscription.not_withdrawn(seam.rooms),
            outcome,
            count,
            reason,
            bookmark,
        };
        Ok(Resolved {
            frame,
            before,
            events,
        })
    }
}

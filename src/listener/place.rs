//! What the listener keeps in mind from one look to the next: where it stands.
//! Hands over to the listener, which alone moves it on. It must never look by itself.

use crate::bookmark::Standpoint;
use crate::config::{self, Doorbell};
use crate::database::Channels;
use crate::event::Batch;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A listener that looked within this time is not behind: measuring what there is costs as much as
/// a look.
const MEASURED_BEHIND: Duration = Duration::from_millis(100);

/// The most transactions below our place of which we do not know whether they have ended: each adds
/// to every bookmark.
const MOST_UNKNOWN: u64 = 32;

/// Where the listener stands; kept from one connection to the next.
pub(super) struct Place {
    pub standpoint: Option<Arc<Standpoint>>,
    pub channels: Channels,
    /// The log no longer reaches back to where we stood.
    pub forgotten: bool,
    pub look_timeout: Duration,
    /// Some look was answered on this connection.
    pub was_answered: bool,
    /// When the last look began that came to the end of the log.
    pub looked: Option<Instant>,
    pub queue_is_filling: bool,
    /// As it was last reported.
    pub doorbell: Option<Doorbell>,
}

impl Place {
    pub fn new(settings: &config::Listener) -> Self {
        Self {
            standpoint: None,
            channels: Channels::default(),
            forgotten: false,
            look_timeout: settings.look_timeout,
            was_answered: false,
            looked: None,
            queue_is_filling: false,
            doorbell: None,
        }
    }

    /// Whether a transaction may be read by itself: not while a look has found only a part, nor if
    /// below our place there would then be too many of which we do not know whether they have ended.
    pub fn reaches(&self, xid: u64) -> bool {
        let between = |here: &Arc<Standpoint>| xid.saturating_sub(here.snapshot.xmax());
        let between = self.standpoint.as_ref().map_or(0, between);
        self.looked.is_some() && self.unknown().saturating_add(between) <= MOST_UNKNOWN
    }

    /// How many below our place are not seen from it: they may have ended since.
    fn unknown(&self) -> u64 {
        let here = self.standpoint.as_ref();
        here.map_or(0, |here| here.snapshot.running().len() as u64)
    }

    /// Whether some of it is of channels that are paused.
    pub fn holds_back(&self, batch: &Batch) -> bool {
        let mut events = batch.events.iter();
        events.any(|event| self.channels.paused.contains(&event.channel))
    }

    /// Whether to look now, rather than when the next event would have to wait for it.
    pub fn is_worn(&self, floor: Duration) -> bool {
        self.unknown() > MOST_UNKNOWN / 2 || self.looked.is_none_or(|at| at.elapsed() > floor)
    }

    /// Whether there may be much to read.
    pub fn is_behind(&self) -> bool {
        self.looked.is_none_or(|at| at.elapsed() > MEASURED_BEHIND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bookmark::Snapshot;
    use crate::config::{RawSettings, Settings};
    use std::ops::Range;

    /// A listener that has looked a moment ago; of these transactions it knows nothing.
    fn at(unknown: Range<u64>) -> Place {
        let raw = RawSettings::load(None, std::iter::empty(), &[]).unwrap();
        let mut place = Place::new(&Settings::check(raw).unwrap().listener);
        let running: Vec<u64> = unknown.clone().collect();
        let snapshot = Snapshot::new(unknown.start, unknown.end, &running).unwrap();
        let here = Standpoint::new("h".into(), snapshot, unknown.end - 1);
        place.standpoint = Some(Arc::new(here));
        place.looked = Some(Instant::now());
        place
    }

    #[test]
    fn nothing_is_read_by_itself_while_only_a_part_was_looked_at() {
        let mut place = at(100..101);
        assert!(place.reaches(101));
        place.looked = None;
        // What lies before it has not been read.
        assert!(!place.reaches(101));
    }

    #[test]
    fn of_no_more_than_so_many_is_nothing_known() {
        let known = at(100..101);
        assert!(known.reaches(101 + MOST_UNKNOWN - 1));
        assert!(!known.reaches(101 + MOST_UNKNOWN));
        assert!(!known.reaches(u64::MAX));
        let full = at(100..100 + MOST_UNKNOWN);
        assert!(full.reaches(100 + MOST_UNKNOWN));
        assert!(!full.reaches(101 + MOST_UNKNOWN));
    }

    #[test]
    fn it_looks_before_the_next_event_has_to_wait_for_that() {
        let floor = Duration::from_secs(3600);
        assert!(!at(100..100 + MOST_UNKNOWN / 2).is_worn(floor));
        assert!(at(100..101 + MOST_UNKNOWN / 2).is_worn(floor));
        assert!(at(100..101).is_worn(Duration::ZERO));
    }
}

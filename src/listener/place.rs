//! What the listener keeps in mind from one look to the next: where it stands, and whether it was
//! heard. Hands over to the listener, which alone moves it on. It must never look by itself.

use crate::bookmark::Standpoint;
use crate::config::{self, Doorbell};
use crate::database::Channels;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For whoever looked within this time nothing is measured: that costs as much as a look.
const MEASURED_BEHIND: Duration = Duration::from_millis(100);

/// Where the listener stands; kept from one connection to the next.
pub(super) struct Place {
    pub standpoint: Option<Arc<Standpoint>>,
    pub channels: Channels,
    /// The log no longer reaches back to where we stood.
    pub forgotten: bool,
    pub look_timeout: Duration,
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
            looked: None,
            queue_is_filling: false,
            doorbell: None,
        }
    }

    /// Whether there may be much to read.
    pub fn is_behind(&self) -> bool {
        self.looked.is_none_or(|at| at.elapsed() > MEASURED_BEHIND)
    }
}

/// The round trip that is under way, or when the next is due.
#[derive(Default)]
pub(super) struct Proof {
    /// This connection was heard at least once.
    pub heard: bool,
    pub asked: Option<Instant>,
    pub next: Option<Instant>,
}

//! What the leading node does besides looking: sets the flag that tells writers to ring or not, tells the
//! other nodes what it found in silence, and has the log looked after. Any node may lead; one does.
//! Hands back how long to wait. It must never set the flag and look in one transaction.

use super::pace::{Pace, Seen};
use super::rotation::Rotation;
use super::{Listener, ListenerError};
use crate::config::{self, Doorbell};
use crate::database::{Heard, Listening, Looked};
use crate::report;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Between two counts of the writers that wait for NOTIFY's lock.
const COUNT_EVERY: Duration = Duration::from_millis(50);

/// So many writers that wait at one moment wait because they ring: fewer may be chance.
const BLOCKED: i64 = 2;

/// A node that has not proved its LISTEN for so many of its intervals is gone.
const MISSED_PROOFS: u32 = 3;

/// Between two looks at who has the lead, where it is not ours.
const LOOK_WHO_EVERY: Duration = Duration::from_secs(60);

/// One connection's part in the lead.
pub(super) struct Leader {
    rotation: Rotation,
    pace: Pace,
    settings: config::Listener,
    /// How writers are to ring where SQL says nothing.
    configured: Doorbell,
    /// When the lead was last asked for, and since when it is ours.
    asked: Option<Instant>,
    since: Option<Instant>,
    /// When it was last asked who else has it.
    asked_who: Option<Instant>,
    counted: Instant,
    ticked: Option<Instant>,
    owes_tick: bool,
}

impl Leader {
    pub fn new(listener: &Listener, listening: &Listening) -> Self {
        let settings = &listener.settings;
        let now = Instant::now();
        let default = if listening.has_prepared_transactions {
            Doorbell::Never
        } else {
            Doorbell::Adaptive
        };
        Self {
            rotation: Rotation::new(listener, now),
            pace: Pace::new(settings, now),
            settings: settings.clone(),
            configured: settings.doorbell.unwrap_or(default),
            asked: None,
            since: None,
            asked_who: None,
            counted: now,
            ticked: None,
            owes_tick: false,
        }
    }

    pub fn leads(&self) -> bool {
        self.pace.leads()
    }

    /// How writers are to wake us.
    pub fn doorbell(&self, looked: &Looked) -> Doorbell {
        looked.doorbell.unwrap_or(self.configured)
    }

    /// Takes what a look has shown.
    pub fn saw(&mut self, looked: &Looked) {
        let events = &looked.batch.events;
        let xids = events.iter().filter_map(|event| event.place.as_ref());
        let xids: HashSet<u64> = xids.map(|place| place.xid).collect();
        if !events.is_empty() && self.pace.is_quiet() {
            self.owes_tick = true;
        }
        let snapshot = &looked.batch.to.snapshot;
        self.rotation.saw(snapshot);
        let seen = Seen {
            snapshot,
            more: looked.more,
            commits: xids.len(),
            doorbell: self.doorbell(looked),
            rings: looked.rings,
            queue_is_filling: looked.queue_is_filling,
        };
        self.pace.saw(seen, Instant::now());
    }

    /// Whether who commits something rings: what rang, in its order, is all there is.
    pub fn hears_all(&self) -> bool {
        self.pace.hears_all()
    }

    /// Takes that a transaction rang and was read by itself.
    pub fn heard(&mut self) {
        self.pace.heard(Instant::now());
    }

    /// Does what is due. Says whether to look again at once. `proven`: this connection was heard.
    ///
    /// # Errors
    /// The connection.
    pub async fn act(
        &mut self,
        listening: &Listening,
        proven: bool,
    ) -> Result<bool, ListenerError> {
        let now = Instant::now();
        let free = listening.heard.lead_is_free();
        if !self.leads() {
            let due = self
                .asked
                .is_none_or(|asked| now - asked >= self.settings.lead_retry);
            // Behind a pooler the lock would be somebody else's.
            if !proven || !(due || free) {
                return Ok(false);
            }
            self.asked = Some(now);
            if !listening.try_to_lead(self.alive()).await? {
                self.look_who_leads(listening, now).await?;
                return Ok(false);
            }
            report::leads();
            self.pace.lead(now);
            self.since = Some(now);
            self.owes_tick = true;
            return Ok(true);
        }
        if self.pace.may_be_blocking() && now - self.counted >= COUNT_EVERY {
            self.counted = now;
            if listening.waiting_writers().await? >= BLOCKED {
                self.pace.blocks(now);
            }
        }
        if let Some(rings) = self.pace.wants(now) {
            listening.set_doorbell(rings).await?;
            self.pace.was_set(rings, Instant::now());
            return Ok(true);
        }
        self.tick(listening, now).await;
        self.rotation.turn(now);
        Ok(false)
    }

    /// Says so if whoever leads is no service, for then nobody leads.
    async fn look_who_leads(
        &mut self,
        listening: &Listening,
        now: Instant,
    ) -> Result<(), ListenerError> {
        let due = |at| now - at >= LOOK_WHO_EVERY;
        if self.asked_who.is_none_or(due) {
            self.asked_who = Some(now);
            if let Some(holder) = listening.stranger_in_the_lead().await? {
                report::lead_is_held(&holder);
            }
        }
        Ok(())
    }

    /// Tells other nodes to look, for they do not hear writers that commit in silence: once after
    /// taking the lead, for what the last leader may not have told; then only while there are others.
    async fn tick(&mut self, listening: &Listening, now: Instant) {
        let others = listening.heard.others().max(self.since);
        let others = others.is_some_and(|at| now - at < self.settings.proof * MISSED_PROOFS);
        let due = self.ticked.is_none_or(|at| now - at >= self.settings.tick);
        if !self.owes_tick || !due {
            return;
        }
        self.owes_tick = false;
        if (others || self.ticked.is_none()) && !self.pace.must_not_notify() {
            self.ticked = Some(now);
            if let Err(error) = listening.tell(Heard::TICK).await {
                report::database_failed("tick", &error);
            }
        }
    }

    /// How long to wait for the bell.
    pub fn wait(&self) -> Duration {
        self.pace.wait(Instant::now())
    }

    /// Lets another node lead, or nobody: then writers pay nothing.
    pub async fn step_down(&self, listening: &Listening) -> Result<(), ListenerError> {
        if self.leads() {
            let always = self.pace.doorbell() == Doorbell::Always;
            listening.step_down(always).await?;
        }
        Ok(())
    }

    /// Silence of a leader's connection after which it is dead: it says something at every floor.
    fn alive(&self) -> Duration {
        let alive = (self.settings.floor * 5).max(Duration::from_secs(5));
        alive.min(Duration::from_secs(86_400))
    }
}

//! From the log to the hub: waits for the doorbell, looks at what became visible, publishes it;
//! comes back after a lost connection and catches up from where it stood.
//! Hands batches over to the hub. It must never read before its LISTEN is committed, and never
//! move on from a batch that it has not published.

use crate::config;
use crate::database::{Database, DatabaseError, Listening, Looked, Rings, schema_number};
use crate::event::{Batch, Event, GapReason};
use crate::hub::Hub;
use crate::report;
use jiff::Timestamp;
use leader::Leader;
use place::Place;
use proof::Proof;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

mod channels;
mod leader;
mod pace;
mod place;
mod proof;
mod pulse;
mod rotation;
mod thread;

pub use pulse::{Bell, Pulse};
pub use thread::Thread;

/// Why the listener is not listening.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the connection to the database ended: {0}")]
    Closed(String),
    #[error(
        "LISTEN hears nothing: a notification sent over the pool did not come back within {} ms. \
         Is there a pooler in transaction mode (PgBouncer) in between? Then name the server itself in \
         ROWCAST__DATABASE__LISTEN_URL", .0.as_millis()
    )]
    Deaf(Duration),
    #[error("the database began a new history")]
    NewHistory,
    #[error("the log no longer reaches back to where the listener stood")]
    Forgotten,
}

/// The listener's side of a service.
pub struct Listener {
    pub url: String,
    pub connect: config::Database,
    pub settings: config::Listener,
    pub database: Database,
    pub hub: Hub,
    pub pulse: Arc<Pulse>,
}

impl Listener {
    /// Listens until `stopping` says true; then lets another node lead.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut wait = self.settings.backoff_min;
        let mut place = Place::new(&self.settings);
        loop {
            let began = Instant::now();
            place.was_answered = false;
            let error = match self.attend(&mut place, &mut stopping).await {
                Ok(()) => return,
                Err(error) => error,
            };
            self.pulse.stop(&error);
            // Only if some look was answered: who waits in vain for the same lock, however long each
            // time, must back off more and more.
            if place.was_answered && began.elapsed() > self.settings.backoff_max {
                wait = self.settings.backoff_min;
            }
            let jittered = wait.mul_f64(rand::random_range(0.5..1.0));
            // What ends a history again and again, such as a full disk, must not spin.
            if !matches!(error, ListenerError::NewHistory | ListenerError::Forgotten) {
                report::listener_lost(&error.to_string(), jittered);
            }
            tokio::select! {
                () = tokio::time::sleep(jittered) => {}
                () = stopped(&mut stopping) => return,
            }
            wait = (wait * 2).min(self.settings.backoff_max);
        }
    }

    /// One connection, from LISTEN to its loss, or to the stop.
    async fn attend(
        &self,
        place: &mut Place,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<(), ListenerError> {
        let mut listening = Listening::open(&self.url, &self.connect).await?;
        let heard = Arc::clone(&listening.heard);
        let attended = self.take_turns(&mut listening, place, stopping).await;
        attended.map_err(|error| match (heard.closed(), error) {
            // Whatever was asked just then heard only that the connection is closed.
            (Some(why), ListenerError::Database(DatabaseError::Postgres(error)))
                if error.is_closed() =>
            {
                ListenerError::Closed(why.to_owned())
            }
            (_, error) => error,
        })
    }

    /// Finds out where this connection leads to, and where to go on reading there. False: it is to
    /// stop meanwhile.
    async fn arrive(
        &self,
        listening: &mut Listening,
        place: &mut Place,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<bool, ListenerError> {
        if let Some(number) = listening.schema_number {
            report::schema(number, schema_number());
        }
        let is_first = place.standpoint.is_none();
        if !is_first {
            // After a failover the pool's are to a server that is gone, or was the primary once.
            self.database.forget();
        }
        place.queue_is_filling = listening.queue_was_filling;
        if is_first && !place.queue_is_filling {
            // Later the pool may be away while this connection still brings events.
            tokio::select! {
                heard = self.hear_in_silence(listening) => heard?,
                () = stopped(stopping) => return Ok(false),
            }
        }
        self.take_channels(listening, true, &mut place.channels)
            .await?;
        self.take_place(listening, place).await?;
        if is_first && listening.is_superuser {
            report::role_is_superuser();
        }
        Ok(true)
    }

    /// Reads, leads if nobody else does, and rests, in turns.
    async fn take_turns(
        &self,
        listening: &mut Listening,
        place: &mut Place,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<(), ListenerError> {
        if !self.arrive(listening, place, stopping).await? {
            return Ok(());
        }
        let mut proof = Proof::default();
        let mut leader = Leader::new(self, listening);
        let mut rings = Rings::unknown();
        loop {
            self.check_proof(&mut proof, listening, place)?;
            if listening.heard.channels_changed() {
                self.take_channels(listening, false, &mut place.channels)
                    .await?;
            }
            if listening.heard.overflowed() {
                self.hub.tell_gap(GapReason::Overflow);
            }
            while let Ok((channel, payload)) = listening.notifications.try_recv() {
                self.pass_on(&place.channels, &channel, &payload);
            }
            let read = self.read_rung(listening, place, &mut leader, &rings);
            if !read.await? {
                self.look(listening, place, &mut leader).await?;
            }
            if let Some(why) = listening.heard.closed() {
                return Err(ListenerError::Closed(why.to_owned()));
            }
            rings = Rings::unknown();
            if leader.act(listening, proof.heard).await? {
                continue;
            }
            let mut rest = pin!(tokio::time::sleep(asked(leader.wait())));
            loop {
                tokio::select! {
                    rung = listening.heard.rung() => rings = rung,
                    () = self.hub.look_wanted() => {}
                    () = &mut rest => {}
                    () = stopped(stopping) => return leader.step_down(listening).await,
                    () = tokio::time::sleep(self.settings.lead_retry), if !leader.leads() => {
                        if !leader.act(listening, proof.heard).await? {
                            continue;
                        }
                    }
                }
                break;
            }
        }
    }

    /// Where to go on reading: where we stood, or at a new beginning.
    async fn take_place(
        &self,
        listening: &Listening,
        place: &mut Place,
    ) -> Result<(), ListenerError> {
        self.pulse.catches_up();
        let found = Arc::new(listening.standpoint().await?);
        let stood = place.standpoint.as_ref();
        let is_first = stood.is_none();
        let same = stood.is_some_and(|stood| stood.history == found.history);
        let forgotten = std::mem::take(&mut place.forgotten);
        // Else the first look catches up, from where we stood.
        if forgotten || !same {
            let reason = if forgotten {
                report::log_is_shorter();
                GapReason::Horizon
            } else {
                if !is_first {
                    report::history_changed(&found.history);
                }
                GapReason::History
            };
            self.hub.begin(Arc::clone(&found), reason);
            place.standpoint = Some(found);
        }
        if !place.channels.notify.is_empty() && !is_first {
            // What was notified meanwhile is gone, and was never in a log.
            self.hub.tell_gap(GapReason::Listener);
        }
        Ok(())
    }

    /// What lies behind our place, or a part of it.
    async fn read(
        &self,
        listening: &Listening,
        place: &mut Place,
    ) -> Result<Looked, ListenerError> {
        let from = place.standpoint.clone().ok_or(ListenerError::NewHistory)?;
        let began = Instant::now();
        let bytes = place.is_behind().then_some(self.settings.look_bytes);
        let looked = match listening.look(&from, bytes, place.look_timeout).await {
            Ok(Some(looked)) => looked,
            Ok(None) => return Err(ListenerError::NewHistory),
            Err(DatabaseError::Forgotten) => {
                place.forgotten = true;
                return Err(ListenerError::Forgotten);
            }
            Err(error) => {
                if matches!(error, DatabaseError::Timeout(_)) {
                    // Perhaps there is only much to read: the next may take longer.
                    let longer = place.look_timeout * 2;
                    place.look_timeout = longer.min(self.settings.look_timeout_max);
                }
                return Err(error.into());
            }
        };
        place.look_timeout = self.settings.look_timeout;
        place.was_answered = true;
        place.looked = (!looked.more).then_some(began);
        Ok(looked)
    }

    /// Reads the transactions that rang one by one, in less than half the time of a look: while every
    /// writer rings, they are all there is, and in the order of their commits. False if a look is
    /// needed, for the rest or for a fresh snapshot.
    async fn read_rung(
        &self,
        listening: &Listening,
        place: &mut Place,
        leader: &mut Leader,
        rings: &Rings,
    ) -> Result<bool, ListenerError> {
        if rings.other || listening.expects_states() {
            return Ok(false);
        }
        for &xid in &rings.xids {
            let from = place.standpoint.clone();
            let from = from.ok_or(ListenerError::NewHistory)?;
            if from.snapshot.sees(xid) {
                continue;
            }
            if !leader.hears_all() || !place.reaches(xid) {
                return Ok(false);
            }
            let timeout = place.look_timeout;
            match listening.committed(&from, xid, timeout).await? {
                Some(batch) if !place.holds_back(&batch) => self.publish(batch, place),
                _ => return Ok(false),
            }
            leader.heard();
        }
        Ok(!place.is_worn(self.settings.floor))
    }

    /// Passes a batch on, and stands behind it.
    fn publish(&self, batch: Batch, place: &mut Place) {
        if let Some(last) = batch.events.last() {
            report::batch(batch.events.len(), age(last.at));
            let failed = |event: &&Arc<Event>| event.lost == Some(GapReason::Trigger);
            for event in batch.events.iter().filter(failed) {
                report::events_lost(&event.channel, &event.name);
            }
        }
        place.standpoint = Some(Arc::clone(&batch.to));
        self.hub.publish(batch, Instant::now());
    }

    async fn look(
        &self,
        listening: &Listening,
        place: &mut Place,
        leader: &mut Leader,
    ) -> Result<(), ListenerError> {
        let looked = self.read(listening, place).await?;
        self.hear_access(listening, looked.access_version).await?;
        let doorbell = leader.doorbell(&looked);
        if place.doorbell.replace(doorbell) != Some(doorbell) {
            let prepared = listening.has_prepared_transactions;
            report::doorbell(doorbell.word(), looked.doorbell.is_some(), prepared);
        }
        leader.saw(&looked);
        match (place.queue_is_filling, looked.queue_is_filling) {
            (false, true) => report::notify_queue_fills(looked.queue_usage),
            // Whoever changed channels meanwhile could not tell us.
            (true, false) => listening.heard.recall_channels(),
            _ => {}
        }
        place.queue_is_filling = looked.queue_is_filling;
        let events = looked.batch.events.len();
        self.publish(looked.batch, place);
        if looked.more {
            // Not to the end of the log, which is what /readyz goes by.
            self.pulse.read(events);
            return Ok(());
        }
        self.hub.looked();
        self.pulse.looked(Bell {
            doorbell,
            rings: looked.rings,
            leads: leader.leads(),
            queue_usage: looked.queue_usage,
        });
        Ok(())
    }

    /// Passes on a change of rules or revocations that the look saw, before what the look found: a
    /// batch is not for those who were revoked before it.
    async fn hear_access(&self, listening: &Listening, seen: i64) -> Result<(), ListenerError> {
        let known = self.hub.access_known();
        if seen != known {
            let access = listening.access(known).await?;
            self.hub.access_changed(&access);
        }
        Ok(())
    }
}

/// What to ask the runtime for, to rest for so long. It counts in milliseconds, and so does the system
/// that it waits on, and each rounds up: of 1 ms they make 2.1 together, of a tenth of it 1.2.
fn asked(rest: Duration) -> Duration {
    if rest.is_zero() {
        return rest;
    }
    let rounded = Duration::from_micros(1100);
    rest.saturating_sub(rounded).max(Duration::from_micros(100))
}

/// Ends when the service stops, or is dropped.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}

/// How long ago an event was inserted, by two clocks that may disagree: nothing, where ours is behind. Left
/// out, the quick ones would be, and the slow ones counted.
fn age(at: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rest that comes to nothing would have the listener look without end.
    #[test]
    fn a_short_rest_is_still_one() {
        for millis in [1, 5, 500] {
            let rest = Duration::from_millis(millis);
            assert!(Duration::ZERO < asked(rest) && asked(rest) < rest);
        }
        assert_eq!(asked(Duration::ZERO), Duration::ZERO);
    }

    /// With a clock some milliseconds behind the database's, only what was slower than that was counted.
    #[test]
    fn an_event_from_the_future_has_an_age_too() {
        let minute = Duration::from_secs(60);
        assert_eq!(age(Timestamp::now() + minute), Duration::ZERO);
        assert!(age(Timestamp::now() - minute) >= minute);
    }
}

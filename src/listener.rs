//! From the log to the hub: waits for the doorbell, looks at what became visible, publishes it;
//! comes back after a lost connection and catches up from where it stood.
//! Hands batches over to the hub. It must never read before its LISTEN is committed, and never
//! move on from a batch that it has not published.

use crate::bookmark::Standpoint;
use crate::config;
use crate::database::{Channels, Database, DatabaseError, Listening};
use crate::event::Event;
use crate::hub::Hub;
use crate::report;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why the listener is not listening.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the connection to the database ended")]
    Closed,
    #[error(
        "LISTEN hears nothing: a notification sent over the pool did not come back within {} ms. \
         Is there a pooler in transaction mode (PgBouncer) in between? Then name the server itself in \
         ROWCAST__DATABASE__LISTEN_URL", .0.as_millis()
    )]
    Deaf(Duration),
    #[error("the database began a new history")]
    NewHistory,
}

/// What `/readyz` asks: when the listener last proved itself.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// Milliseconds since `start` of the last look and of the last proof, 0 for never.
    looked: AtomicU64,
    proven: AtomicU64,
    trouble: Mutex<String>,
}

impl Default for Pulse {
    fn default() -> Self {
        let (looked, proven) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            start: Instant::now(),
            looked,
            proven,
            trouble: Mutex::new("starting".into()),
        }
    }
}

impl Pulse {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    fn beat(&self, which: &AtomicU64) {
        which.store(self.now(), Ordering::Relaxed);
    }

    fn stop(&self, trouble: &ListenerError) {
        self.proven.store(0, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble.to_string();
    }

    /// Time since the last look at the log that was answered.
    #[must_use]
    pub fn lag(&self) -> Duration {
        Duration::from_millis(self.now() - self.looked.load(Ordering::Relaxed).min(self.now()))
    }

    /// Whether events get through, or why not.
    ///
    /// # Errors
    /// The reason, in words for an operator.
    pub fn check(&self, settings: &config::Listener) -> Result<(), String> {
        let proven = self.proven.load(Ordering::Relaxed);
        if proven == 0 {
            return Err(self
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone());
        }
        let silent = Duration::from_millis(self.now().saturating_sub(proven));
        if silent > settings.proof + settings.proof_timeout + settings.floor {
            return Err(format!(
                "the doorbell was not heard for {} ms",
                silent.as_millis()
            ));
        }
        if self.lag() > settings.ready_lag {
            return Err(format!(
                "the log was not read for {} ms",
                self.lag().as_millis()
            ));
        }
        Ok(())
    }
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
    /// Listens until dropped.
    pub async fn run(self) {
        let mut wait = self.settings.backoff_min;
        let mut channels = Channels::default();
        let mut standpoint = None;
        loop {
            let began = Instant::now();
            let Err(error) = self.attend(&mut standpoint, &mut channels).await;
            self.pulse.stop(&error);
            if began.elapsed() > self.settings.backoff_max {
                wait = self.settings.backoff_min;
            }
            let jittered = wait.mul_f64(rand::random_range(0.5..1.0));
            if matches!(error, ListenerError::NewHistory) {
                continue;
            }
            report::listener_lost(&error.to_string(), jittered);
            tokio::time::sleep(jittered).await;
            wait = (wait * 2).min(self.settings.backoff_max);
        }
    }

    /// One connection, from LISTEN to its loss.
    async fn attend(
        &self,
        standpoint: &mut Option<Arc<Standpoint>>,
        channels: &mut Channels,
    ) -> Result<std::convert::Infallible, ListenerError> {
        let mut listening = Listening::open(&self.url, &self.connect).await?;
        // After a failover the pool's are to a server that is gone, or was the primary once.
        self.database.forget();
        if standpoint.is_none() {
            // Later the pool may be away while this connection still brings events.
            self.hear_in_silence(&listening).await?;
        }
        self.take_channels(&listening, &Channels::default(), channels)
            .await?;
        let found = listening.standpoint().await?;
        let known = standpoint
            .as_ref()
            .filter(|known| known.history == found.history);
        let mut here = if let Some(known) = known {
            // Catching up: the first look reads from where we stood.
            Arc::clone(known)
        } else {
            if standpoint.is_some() {
                report::history_changed(&found.history);
            }
            let found = Arc::new(found);
            self.hub.begin(Arc::clone(&found));
            found
        };
        if !channels.notify.is_empty() && standpoint.is_some() {
            // What was notified meanwhile is gone, and was never in a log.
            self.hub.tell_gap("listener");
        }
        *standpoint = Some(Arc::clone(&here));
        let mut proof = Proof::default();
        loop {
            self.check_proof(&mut proof, &listening, &here.history)?;
            if listening.heard.channels_changed() {
                let before = channels.clone();
                self.take_channels(&listening, &before, channels).await?;
            }
            if listening.heard.overflowed() {
                self.hub.tell_gap("overflow");
            }
            while let Ok((channel, payload)) = listening.notifications.try_recv() {
                self.pass_on(channels, &channel, &payload);
            }
            here = self.look(&listening, &here).await?;
            *standpoint = Some(Arc::clone(&here));
            if listening.heard.is_closed() {
                return Err(ListenerError::Closed);
            }
            tokio::select! {
                () = listening.heard.rung() => {}
                () = self.hub.look_wanted() => {}
                () = tokio::time::sleep(self.settings.floor) => {}
            }
        }
    }

    async fn look(
        &self,
        listening: &Listening,
        from: &Arc<Standpoint>,
    ) -> Result<Arc<Standpoint>, ListenerError> {
        let Some(batch) = listening.look(from, self.settings.look_timeout).await? else {
            return Err(ListenerError::NewHistory);
        };
        let to = Arc::clone(&batch.to);
        if let Some(last) = batch.events.last() {
            report::batch(batch.events.len(), age(&last.at));
            let failed = |event: &&Arc<Event>| event.lost && event.reason() != "paused";
            for event in batch.events.iter().filter(failed) {
                report::events_lost(&event.channel, &event.name);
            }
        }
        self.hub.publish(batch, Instant::now());
        self.pulse.beat(&self.pulse.looked);
        Ok(to)
    }

    /// Asks over the pool for a notification, and sees to it that it comes: a LISTEN that a pooler
    /// swallowed looks exactly like silence.
    fn check_proof(
        &self,
        proof: &mut Proof,
        listening: &Listening,
        history: &str,
    ) -> Result<(), ListenerError> {
        if let Some(asked) = &proof.asked {
            if listening.heard.echoed() {
                if self.pulse.proven.load(Ordering::Relaxed) == 0 {
                    report::listener_ready(history);
                }
                self.pulse.beat(&self.pulse.proven);
                proof.next = Some(*asked + self.settings.proof);
                proof.asked = None;
            } else if asked.elapsed() > self.settings.proof_timeout {
                return Err(ListenerError::Deaf(self.settings.proof_timeout));
            }
        } else if proof.next.is_none_or(|next| Instant::now() >= next) {
            self.ask_for_echo(listening);
            proof.asked = Some(Instant::now());
        }
        Ok(())
    }

    fn ask_for_echo(&self, listening: &Listening) {
        let word = format!("echo:{:016x}", rand::random::<u64>());
        listening.heard.expect(&word);
        let database = self.database.clone();
        tokio::spawn(async move {
            if let Err(error) = database.echo(&word).await {
                report::database_failed("proof of LISTEN", &error);
            }
        });
    }

    /// The first proof, with nothing said on the connection meanwhile: a pooler in transaction mode
    /// passes a notification on when the next statement happens to get the server that listens, and
    /// would look like a doorbell that is only slow.
    async fn hear_in_silence(&self, listening: &Listening) -> Result<(), ListenerError> {
        self.ask_for_echo(listening);
        let heard = async {
            while !listening.heard.echoed() {
                if listening.heard.is_closed() {
                    return Err(ListenerError::Closed);
                }
                listening.heard.rung().await;
            }
            Ok(())
        };
        let timeout = self.settings.proof_timeout;
        tokio::time::timeout(timeout, heard)
            .await
            .map_err(|_| ListenerError::Deaf(timeout))?
    }

    async fn take_channels(
        &self,
        listening: &Listening,
        before: &Channels,
        channels: &mut Channels,
    ) -> Result<(), ListenerError> {
        let now = listening.channels().await?;
        for gone in before
            .notify
            .iter()
            .filter(|old| now.notify.iter().all(|new| new.name != old.name))
        {
            listening.listen(&gone.name, false).await?;
        }
        for new in now
            .notify
            .iter()
            .filter(|new| before.notify.iter().all(|old| old.name != new.name))
        {
            listening.listen(&new.name, true).await?;
        }
        if now != *channels {
            report::channels(now.notify.len(), now.paused.len());
        }
        *channels = now;
        Ok(())
    }

    fn pass_on(&self, channels: &Channels, channel: &str, payload: &str) {
        let Some(rule) = channels.notify.iter().find(|rule| rule.name == channel) else {
            return;
        };
        match rule.event(payload, format!("{:.6}", jiff::Timestamp::now())) {
            Ok(event) => {
                report::notification();
                self.hub.publish_unlogged(&Arc::new(event));
            }
            Err(why) => report::notification_unmapped(channel, &why),
        }
    }
}

/// The round trip that is under way, or when the next is due.
#[derive(Default)]
struct Proof {
    asked: Option<Instant>,
    next: Option<Instant>,
}

/// How long ago an event was inserted, by two clocks that may disagree.
fn age(at: &str) -> Option<Duration> {
    let at: jiff::Timestamp = at.parse().ok()?;
    Duration::try_from(jiff::Timestamp::now().duration_since(at)).ok()
}

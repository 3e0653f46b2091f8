//! What operators look at: who is connected, what waits, what was refused, and events as they pass.
//! Hands JSON to the page beside it, once a second while somebody watches.
//! It must never hold delivery up: it reads counters, copies under short locks, and does what grows
//! with the number of connections at most once a second, and only for somebody who watches.

mod entry;
pub mod page;
mod sample;
mod snapshot;
mod tail;
mod watch;

use crate::clock;
use crate::connection::Gate;
use crate::connection::answer::Failure;
use crate::database::node;
use crate::report;
use bytes::Bytes;
use parking_lot::Mutex;
use sample::{History, Sampler};
use serde_json::{Value, json};
use snapshot::Surveyor;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

/// Between two samples, and two frames for each who watches: what eyes can follow.
const EVERY: Duration = Duration::from_secs(1);

/// The console of one node.
pub struct Console {
    gate: Arc<Gate>,
    began: Instant,
    /// Who may watch, and who may follow the tail.
    watchers: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    history: Mutex<History>,
    surveyor: Mutex<Surveyor>,
    database: Mutex<Answered>,
    /// The last frame, for everybody who watches.
    shown: tokio::sync::watch::Sender<Bytes>,
}

/// What the database said last.
#[derive(Default)]
struct Answered {
    asked: Option<Instant>,
    runs: bool,
    answer: Value,
}

impl Console {
    /// Opens the console, which counts from now on; nothing where it is off.
    #[must_use]
    pub fn open(gate: &Arc<Gate>) -> Option<Arc<Self>> {
        let settings = &gate.settings.console;
        if !settings.enabled {
            return None;
        }
        report::keep_recent(settings.recent);
        let console = Arc::new(Self {
            gate: Arc::clone(gate),
            began: Instant::now(),
            watchers: Arc::new(Semaphore::new(settings.watchers)),
            tails: Arc::new(Semaphore::new(settings.watchers)),
            history: Mutex::new(History::new(settings.history)),
            surveyor: Mutex::default(),
            database: Mutex::default(),
            shown: tokio::sync::watch::Sender::new(Bytes::new()),
        });
        tokio::spawn(count(Arc::downgrade(&console)));
        Some(console)
    }

    /// One turn: a sample always; the rest only for those who watch, and what the database is
    /// asked meanwhile for the next turn.
    fn turn(self: &Arc<Self>, sampler: &mut Sampler) {
        let sample = sampler.take(&self.gate);
        self.history.lock().push(sample.clone());
        if self.shown.receiver_count() == 0 {
            return;
        }
        let mut frame = self.surveyor.lock().snapshot(&self.gate);
        frame["sample"] = sample.row();
        frame["node"] = self.node();
        frame["database"] = self.database.lock().answer.clone();
        self.shown.send_replace(watch::frame("now", &frame));
        self.ask();
    }

    /// Asks the database in a task of its own: what it does not answer holds up nothing here.
    fn ask(self: &Arc<Self>) {
        let mut answered = self.database.lock();
        let settings = &self.gate.settings.console;
        let due = answered
            .asked
            .is_none_or(|at| at.elapsed() >= settings.database);
        if answered.runs || !due {
            return;
        }
        (answered.runs, answered.asked) = (true, Some(Instant::now()));
        drop(answered);
        let (asking, rows) = (Asking(Arc::clone(self)), settings.listed);
        tokio::spawn(async move {
            let console = &asking.0;
            let asked = async {
                let text = console.gate.database.overview(rows).await?;
                Ok::<Value, Failure>(serde_json::from_str(&text)?)
            };
            let answer = match asked.await {
                Ok(mut known) => {
                    known["at"] = clock::now_ms().into();
                    known
                }
                Err(error) => json!({ "error": error.to_string() }),
            };
            console.database.lock().answer = answer;
        });
    }

    /// What this node says of itself.
    fn node(&self) -> Value {
        let gate = &self.gate;
        let (settings, bell) = (&gate.settings, gate.pulse.bell());
        let watchers = settings.console.watchers - self.watchers.available_permits();
        json!({
            "name": node(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptime": self.began.elapsed().as_secs(),
            "trouble": gate.pulse.check(&settings.listener).err(),
            "leads": bell.is_some_and(|bell| bell.leads),
            "doorbell": bell.map(|bell| bell.doorbell.word()),
            "rings": bell.is_some_and(|bell| bell.rings),
            "watchers": watchers,
            "payloads": settings.console.payloads,
            "limits": {
                "connections": settings.limits.connections,
                "queueBytes": settings.limits.queue_bytes,
                "ringBytes": settings.hub.ring_bytes,
                "slowPercent": settings.console.slow_percent,
                "slowMs": clock::millis(settings.console.slow),
                "readyLagMs": clock::millis(settings.listener.ready_lag),
            },
        })
    }
}

/// Whoever asks the database. However that ends, it is asked again.
struct Asking(Arc<Console>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.database.lock().runs = false;
    }
}

/// Takes a turn each second, for as long as the console is there.
async fn count(console: Weak<Console>) {
    let mut seconds = tokio::time::interval(EVERY);
    // After a pause the next sample covers all of it.
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampler = Sampler::new();
    seconds.tick().await;
    loop {
        seconds.tick().await;
        let Some(console) = console.upgrade() else {
            return;
        };
        console.turn(&mut sampler);
    }
}

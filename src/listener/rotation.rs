//! Looking after the log, which the leading node does beside its looks: neither waits for the other.
//! Hands the log's size over to the pulse. It must never have forgotten what other nodes may not have
//! read yet.

use super::{Listener, Pulse};
use crate::bookmark::Snapshot;
use crate::database::Database;
use crate::report;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Between two turns.
const EVERY: Duration = Duration::from_secs(1);

pub(super) struct Rotation {
    database: Database,
    pulse: Arc<Pulse>,
    /// A turn, which may take a while.
    task: Option<JoinHandle<()>>,
    /// When the last began.
    at: Instant,
    /// As of the last look.
    seen: Option<Snapshot>,
    /// As of the last turn: what is not visible in it is not to be forgotten.
    read: Option<Snapshot>,
}

impl Rotation {
    pub fn new(listener: &Listener, now: Instant) -> Self {
        Self {
            database: listener.database.clone(),
            pulse: Arc::clone(&listener.pulse),
            task: None,
            at: now,
            seen: None,
            read: None,
        }
    }

    /// Takes how far a look has seen.
    pub fn saw(&mut self, snapshot: &Snapshot) {
        self.seen = Some(snapshot.clone());
    }

    /// Begins a turn, if one is due and none is under way.
    pub fn turn(&mut self, now: Instant) {
        let runs = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if runs || now - self.at < EVERY {
            return;
        }
        self.at = now;
        let read = std::mem::replace(&mut self.read, self.seen.clone());
        let Some(read) = read else {
            return;
        };
        let (database, pulse) = (self.database.clone(), Arc::clone(&self.pulse));
        self.task = Some(tokio::spawn(async move {
            match database.rotate_log(&read).await {
                Ok((rotated, size)) => {
                    pulse.measured(size);
                    if rotated.moved || rotated.forgotten.is_some() {
                        report::log_rotated(rotated.moved, rotated.forgotten, size.bytes);
                    }
                    if rotated.refused > 0 {
                        report::log_is_locked(rotated.refused);
                    }
                }
                Err(error) => report::database_failed("rotation", &error),
            }
        }));
    }
}

//! One connection of Engine.IO, whatever carries it: requests, a WebSocket, or first these and then
//! that. Hands its end over to the socket. It must never outlive the library's own connection.

use super::flow::Flow;
use crate::connection::presence::Cut;
use futures_util::task::AtomicWaker;
use socketioxide::socket::Sid;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// How far its end has come. Each is worse than the one before.
const OPEN: u8 = 0;
/// Nothing more is read: the library says goodbye.
const ENDING: u8 = 1;
/// Nothing more is written.
const CUT: u8 = 2;
/// And what the other side has not taken is thrown away.
const FORGOTTEN: u8 = 3;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection of Engine.IO.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub flow: Flow,
    /// Sockets that are in: one for each namespace.
    pub sockets: AtomicUsize,
    stage: AtomicU8,
    reading: AtomicWaker,
    writing: AtomicWaker,
    /// Whether a WebSocket carries it.
    wired: AtomicBool,
    unwired: Notify,
    /// The request that is answered with events, while it waits.
    asking: Mutex<Option<Cut>>,
    /// Held until somebody has signed in.
    pending: Mutex<Option<OwnedSemaphorePermit>>,
    home: OnceLock<(Weak<Lines>, Sid)>,
}

/// Lines that began with requests, by the word that the later ones bring.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<HashMap<Sid, Weak<Line>>>);

impl Lines {
    pub fn find(&self, sid: Sid) -> Option<Arc<Line>> {
        lock(&self.0).get(&sid)?.upgrade()
    }

    pub fn add(self: &Arc<Self>, sid: Sid, line: &Arc<Line>) {
        if line.home.set((Arc::downgrade(self), sid)).is_ok() {
            lock(&self.0).insert(sid, Arc::downgrade(line));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some((lines, sid)) = self.home.get()
            && let Some(lines) = lines.upgrade()
        {
            lock(&lines.0).remove(sid);
        }
    }
}

impl Line {
    pub fn new(pending: OwnedSemaphorePermit) -> Arc<Self> {
        let line = Self::default();
        *lock(&line.pending) = Some(pending);
        Arc::new(line)
    }

    /// Somebody has signed in.
    pub fn settle(&self) {
        lock(&self.pending).take();
    }

    /// A request waits for events, or none does.
    pub fn ask(&self, asking: Option<Cut>) {
        *lock(&self.asking) = asking;
    }

    /// Whether a WebSocket carries it.
    pub fn is_wired(&self) -> bool {
        self.wired.load(Ordering::Acquire)
    }

    pub fn wire(&self, wired: bool) {
        self.wired.store(wired, Ordering::Release);
        self.unwired.notify_waiters();
    }

    /// Waits until no WebSocket carries it any more.
    pub async fn unwired(&self) {
        loop {
            let unwired = self.unwired.notified();
            tokio::pin!(unwired);
            unwired.as_mut().enable();
            if !self.is_wired() {
                return;
            }
            unwired.await;
        }
    }

    /// Reads nothing more from its WebSocket: the library takes that for its end, writes what it has,
    /// and closes.
    pub fn end(&self) {
        self.advance(ENDING);
    }

    /// Writes nothing more, whatever waits; and may have the system forget what it was given.
    pub fn cut(&self, forget: bool) {
        self.advance(if forget { FORGOTTEN } else { CUT });
        if let Some(asking) = lock(&self.asking).take() {
            asking.0.notify_one();
        }
    }

    fn advance(&self, stage: u8) {
        self.stage.fetch_max(stage, Ordering::AcqRel);
        self.reading.wake();
        self.writing.wake();
    }

    /// Whether there is nothing more to read; who asks is woken when there is not.
    pub fn is_ending(&self, waker: &Waker) -> bool {
        self.reading.register(waker);
        self.stage.load(Ordering::Acquire) > OPEN
    }

    /// The same for writing.
    pub fn is_cut(&self, waker: &Waker) -> bool {
        self.writing.register(waker);
        self.stage.load(Ordering::Acquire) >= CUT
    }

    pub fn is_forgotten(&self) -> bool {
        self.stage.load(Ordering::Acquire) == FORGOTTEN
    }
}

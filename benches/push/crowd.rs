//! The crowd: ten thousand connections and more on one thread, which reads all, answers what has to
//! be answered, and comes back as a client of that server would.
//! Hands the work to `hall`, and to others tallies and how many are in. It must never tell of more than
//! was seen to arrive.

mod connection;
mod hall;
mod tally;
mod wire;

pub use connection::Protocol;
use hall::Hall;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use tally::latencies;
pub use tally::{PARTS, Tally, Window, now};

/// Who connects, where and how.
pub struct Guests {
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub greets: bool,
    pub resumes: bool,
    /// Of each connection, the path without a bookmark.
    pub paths: Vec<String>,
    /// Of each connection, the number of its room.
    pub rooms: Vec<u64>,
    /// As many, spread over all, stop reading as soon as they are in.
    pub stalled: usize,
}

/// Connections that drop now and then.
#[derive(Clone, Copy, Debug)]
pub struct Dropping {
    pub every: Duration,
    pub away: Duration,
}

/// What the thread says of itself.
#[derive(Debug, Default)]
pub struct Progress {
    pub whole: AtomicUsize,
    pub delivered: AtomicU64,
    trouble: Mutex<Option<String>>,
}

/// What happened besides deliveries, since the last window began.
#[derive(Debug)]
pub struct Happenings {
    pub reconnects: u64,
    /// Told to wait, or turned away for now.
    pub told: u64,
    pub lagged: u64,
    pub gaps: u64,
    /// From the loss of a connection until it had all it missed, in microseconds.
    pub back: Histogram<u64>,
}

enum Order {
    Count(Window, Sender<()>),
    Drop(Option<Dropping>),
    Report(Sender<(Tally, Happenings)>),
    End,
}

/// The handle on the thread; dropping it ends all connections.
pub struct Crowd {
    pub progress: Arc<Progress>,
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    pub fn enter(guests: Guests) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let progress = Arc::new(Progress::default());
        let mut hall = Hall::new(guests, received, Arc::clone(&progress))?;
        let thread = std::thread::Builder::new()
            .name("crowd".into())
            .spawn(move || hall.run())?;
        Ok(Self {
            progress,
            orders,
            thread: Some(thread),
        })
    }

    /// From now on, these events count; none that is written after this returns is missed.
    pub fn count(&self, window: Window) {
        let (sender, begun) = mpsc::channel();
        let _ = self.orders.send(Order::Count(window, sender));
        let _ = begun.recv();
    }

    /// From now on, connections drop, or no longer do.
    pub fn drop_now_and_then(&self, dropping: Option<Dropping>) {
        let _ = self.orders.send(Order::Drop(dropping));
    }

    /// What came of the present window, which is over then.
    pub fn report(&self) -> Option<(Tally, Happenings)> {
        let (sender, report) = mpsc::channel();
        self.orders.send(Order::Report(sender)).ok()?;
        report.recv().ok()
    }

    pub fn whole(&self) -> usize {
        self.progress.whole.load(Ordering::Relaxed)
    }

    pub fn delivered(&self) -> u64 {
        self.progress.delivered.load(Ordering::Relaxed)
    }

    /// What a server said that it must not, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.progress.trouble.lock().clone()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Happenings {
    fn new() -> Self {
        Self {
            reconnects: 0,
            told: 0,
            lagged: 0,
            gaps: 0,
            back: latencies(),
        }
    }
}

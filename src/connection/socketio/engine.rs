//! One connection of Engine.IO, whatever carries it: requests, a WebSocket, or first these and then
//! that. Hands messages in to its namespaces, and packets out to whatever carries it.
//! It must never lose a packet when its carrier changes, nor outlive the last of its namespaces for long.

mod members;
mod pace;
mod stamps;
mod way;

use super::ear::Ear;
use super::opened::Opened;
use super::{Host, PendingPermit};
use crate::connection::Refusal;
use crate::connection::allowance::Allowance;
use crate::connection::socket::Socket;
use crate::frame::Frame;
use parking_lot::{Mutex, MutexGuard};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use way::{Carrier, PendingPackets};

/// The word by which requests belong to a connection: nobody else can know it.
pub(super) type Sid = u128;

/// One connection of Engine.IO.
pub(super) struct Engine {
    pub sid: Sid,
    pub host: Arc<Host>,
    pub opened: Opened,
    inside: Mutex<Inside>,
    /// Something has changed inside, or left.
    moved: Notify,
    /// Something is to be written to the WebSocket.
    called: Notify,
}

pub(super) struct Inside {
    way: Carrier,
    /// Who is in, or about to be: the place of the namespace among the door's, and who hears there.
    namespaces: Vec<(usize, Arc<Ear>)>,
    /// Until when it may be in no namespace.
    alone: Option<Instant>,
    /// Sign-ins: each is asked for in SQL.
    connects: Allowance,
    beat: Beat,
    ended: Option<Refusal>,
    /// Nothing carries it any more.
    closed: bool,
    /// Held until somebody has signed in.
    _permit: Option<PendingPermit>,
}

/// The next ping, or what is to come of the last one.
#[derive(Clone, Copy)]
struct Beat {
    at: Instant,
    /// A pong is due by then.
    asked: bool,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.host.forget(self.sid);
    }
}

impl Engine {
    /// One that was opened by this request; a WebSocket carries it from its beginning, or requests do.
    pub fn new(
        host: &Arc<Host>,
        opened: Opened,
        socket: Option<Arc<Socket>>,
        permit: PendingPermit,
    ) -> Arc<Self> {
        let settings = &host.gate.settings.socketio;
        let now = Instant::now();
        let engine = Arc::new(Self {
            sid: rand::random(),
            host: Arc::clone(host),
            opened,
            inside: Mutex::new(Inside {
                way: socket.map_or_else(
                    || Carrier::Requests(PendingPackets::default()),
                    Carrier::WebSocket,
                ),
                namespaces: Vec::new(),
                alone: Some(now + settings.connect),
                connects: Allowance::of_messages(&host.gate.settings.limits),
                beat: Beat {
                    at: now + settings.ping,
                    asked: false,
                },
                ended: None,
                closed: false,
                _permit: Some(permit),
            }),
            moved: Notify::new(),
            called: Notify::new(),
        });
        let found = Arc::downgrade(&engine);
        host.engines.lock().insert(engine.sid, found);
        engine
    }

    pub fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock()
    }

    /// Changes something that others may wait for.
    pub fn change<T>(&self, change: impl FnOnce(&mut Inside) -> T) -> T {
        let done = change(&mut self.inside());
        self.moved.notify_waiters();
        done
    }

    /// Waits until there is something to be found inside.
    pub async fn when<T>(&self, mut look: impl FnMut(&mut Inside) -> Option<T>) -> T {
        loop {
            let mut moved = pin!(self.moved.notified());
            // From here on, no change is missed.
            moved.as_mut().enable();
            let found = look(&mut self.inside());
            if let Some(found) = found {
                return found;
            }
            moved.await;
        }
    }

    /// Something has left.
    pub fn has_moved(&self) {
        self.moved.notify_waiters();
    }

    /// The WebSocket that carries it, if one does.
    pub fn socket(&self) -> Option<Arc<Socket>> {
        match &self.inside().way {
            Carrier::Requests(_) => None,
            Carrier::WebSocket(socket) => Some(Arc::clone(socket)),
        }
    }

    /// Has a WebSocket carry it from now on, and first what waits for requests.
    pub fn go_over(&self, socket: &Arc<Socket>) {
        self.change(|inside| {
            if let Some(waiting) = inside.requests() {
                for (frame, live) in waiting.take() {
                    socket.feed(frame, live);
                }
            }
            inside.way = Carrier::WebSocket(Arc::clone(socket));
        });
        self.called.notify_one();
    }

    /// Has a packet leave with the next flush; `live` is when its event was inserted, if it is live.
    pub fn feed(&self, frame: Frame, live: Option<i64>) {
        match &mut self.inside().way {
            Carrier::Requests(waiting) => waiting.push(frame, live),
            Carrier::WebSocket(socket) => socket.feed(frame, live),
        }
    }

    /// Has a packet leave, for which nobody waits. A client that has many of these made, and takes
    /// none, is cut; see [`Socket::answer`].
    pub fn say(&self, frame: Frame) {
        let most = self.host.gate.settings.limits.queue_bytes;
        let said = match &mut self.inside().way {
            Carrier::Requests(waiting) => waiting.answer(frame, most),
            Carrier::WebSocket(socket) => socket.answer(frame, most),
        };
        self.call();
        if let Err(why) = said {
            self.end(why);
        }
    }

    fn call(&self) {
        match &self.inside().way {
            Carrier::Requests(_) => self.moved.notify_waiters(),
            Carrier::WebSocket(_) => self.called.notify_one(),
        }
    }

    /// Waits until something is to be written to the WebSocket.
    pub async fn called(&self) {
        self.called.notified().await;
    }

    /// Waits until all that was fed has left.
    ///
    /// # Errors
    /// No request has fetched anything for so long. A WebSocket has a clock of its own.
    pub async fn flush(&self, stall: Duration) -> Result<(), Refusal> {
        if self.is_empty() {
            return Ok(());
        }
        self.call();
        loop {
            let mut before = self.inside().waiting();
            // Whatever left is a sign of life, however much was fed meanwhile for other namespaces.
            let left = self.when(|inside| {
                let now = inside.waiting();
                let has_left = now < std::mem::replace(&mut before, now);
                (has_left || now == 0).then_some(now == 0)
            });
            match timeout(stall, left).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(_) if self.socket().is_some() => {}
                Err(_) => return Err(Refusal::Lagged),
            }
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.inside().waiting() == 0
    }

    /// Forgets what waits: nobody may have it any more.
    pub fn forget(&self) {
        self.change(|inside| match &mut inside.way {
            Carrier::Requests(waiting) => drop(waiting.take()),
            Carrier::WebSocket(socket) => socket.forget(),
        });
    }

    /// Somebody has signed in.
    pub fn settle(&self) {
        self.change(|inside| {
            inside.alone = None;
            inside._permit = None;
        });
    }

    /// Ends it; its client comes back by itself, unless it has closed it itself.
    pub fn end(&self, why: Refusal) {
        let ears = self.change(|inside| {
            inside.ended.get_or_insert(why);
            std::mem::take(&mut inside.namespaces)
        });
        for (_, ear) in ears {
            ear.close();
        }
        if why == Refusal::Gone {
            // Nobody is there who could be told.
            self.host.forget(self.sid);
        }
    }

    /// Why it has ended, if it has.
    pub fn ended(&self) -> Option<Refusal> {
        self.inside().ended
    }

    /// Waits until it has ended.
    pub async fn over(&self) -> Refusal {
        self.when(|inside| inside.ended).await
    }

    /// Nothing carries it any more.
    pub fn close(&self) {
        self.host.forget(self.sid);
        self.change(|inside| inside.closed = true);
    }

    /// Waits until nothing carries it any more, but not for longer than last words may take.
    pub async fn closed(&self, why: Refusal) -> bool {
        let closed = self.when(|inside| inside.closed.then_some(()));
        timeout(why.grace(), closed).await.is_ok()
    }
}

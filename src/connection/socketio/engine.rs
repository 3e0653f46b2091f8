//! One connection of Engine.IO, whatever carries it: requests, a WebSocket, or first these and then
//! that. Hands what is said in to its namespaces, and packets out to whatever carries it.
//! It must never lose a packet between two ways, nor outlive the last of its namespaces for long.

use super::Host;
use super::ear::Ear;
use super::namespace;
use super::opened::Opened;
use super::packet::{self, CLOSE, NOTHING, PING, Packet, SEPARATOR, Said};
use crate::connection::Refusal;
use crate::connection::socket::Socket;
use crate::frame::Frame;
use crate::report;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout};

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
    way: Way,
    /// Who is in, or about to be: the place of the namespace among the door's, and who hears there.
    namespaces: Vec<(usize, Arc<Ear>)>,
    /// Until when it may be in no namespace.
    alone: Option<Instant>,
    beat: Beat,
    ended: Option<Refusal>,
    /// Nothing carries it any more.
    closed: bool,
    /// Held until somebody has signed in.
    _pending: Option<OwnedSemaphorePermit>,
}

/// The next ping, or what is to come of the last one.
#[derive(Clone, Copy)]
struct Beat {
    at: Instant,
    /// A pong is due by then.
    asked: bool,
}

/// What carries it.
enum Way {
    Requests(Waiting),
    WebSocket(Arc<Socket>),
}

/// What waits for a request that fetches it.
#[derive(Default)]
pub(super) struct Waiting {
    /// With when the event was inserted, if it is live, in Unix microseconds.
    packets: VecDeque<(Frame, Option<i64>)>,
    /// A request is being answered.
    pub asked: bool,
    /// A WebSocket is tried beside.
    pub tried: bool,
    /// A WebSocket is about to carry it: no request is kept waiting.
    pub probed: bool,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.host.forget(self.sid);
    }
}

impl Inside {
    /// Requests, if they carry it.
    pub fn requests(&mut self) -> Option<&mut Waiting> {
        match &mut self.way {
            Way::Requests(waiting) => Some(waiting),
            Way::WebSocket(_) => None,
        }
    }

    /// What a request is answered with, if there is something, of at most so many bytes. The end is
    /// said when nothing else is left to say.
    pub fn answer(&mut self, most: usize) -> Option<String> {
        let ended = self.ended.is_some();
        let Some(Waiting {
            packets, probed, ..
        }) = self.requests()
        else {
            return Some(NOTHING.to_owned());
        };
        let mut text = String::new();
        let mut live = Vec::new();
        while let Some((frame, inserted)) = packets.front() {
            if !text.is_empty() {
                if text.len() + frame.text().len() >= most {
                    break;
                }
                text.push(SEPARATOR);
            }
            text.push_str(frame.text());
            live.extend(*inserted);
            packets.pop_front();
        }
        report::reached_socket(&live);
        let word = if packets.is_empty() && ended {
            CLOSE
        } else if text.is_empty() && *probed {
            NOTHING
        } else {
            ""
        };
        if !text.is_empty() && !word.is_empty() {
            text.push(SEPARATOR);
        }
        text.push_str(word);
        if packets.is_empty() {
            *packets = VecDeque::new();
        }
        self.closed |= word == CLOSE;
        (!text.is_empty()).then_some(text)
    }

    fn waiting(&self) -> usize {
        match &self.way {
            Way::Requests(Waiting { packets, .. }) => {
                packets.iter().map(|(frame, _)| frame.bytes().len()).sum()
            }
            Way::WebSocket(socket) => socket.waiting(),
        }
    }
}

impl Engine {
    /// One that was opened by this request; a WebSocket carries it from its beginning, or requests do.
    pub fn new(
        host: &Arc<Host>,
        opened: Opened,
        socket: Option<Arc<Socket>>,
        pending: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        let settings = &host.gate.settings.socketio;
        let now = Instant::now();
        Arc::new(Self {
            sid: rand::random(),
            host: Arc::clone(host),
            opened,
            inside: Mutex::new(Inside {
                way: socket.map_or_else(|| Way::Requests(Waiting::default()), Way::WebSocket),
                namespaces: Vec::new(),
                alone: Some(now + settings.connect),
                beat: Beat {
                    at: now + settings.ping,
                    asked: false,
                },
                ended: None,
                closed: false,
                _pending: Some(pending),
            }),
            moved: Notify::new(),
            called: Notify::new(),
        })
    }

    pub fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
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
            Way::Requests(_) => None,
            Way::WebSocket(socket) => Some(Arc::clone(socket)),
        }
    }

    /// Has a WebSocket carry it from now on, and first what waits for requests.
    pub fn go_over(&self, socket: &Arc<Socket>) {
        self.change(|inside| {
            if let Some(waiting) = inside.requests() {
                for (frame, live) in waiting.packets.drain(..) {
                    socket.feed(frame, live);
                }
            }
            inside.way = Way::WebSocket(Arc::clone(socket));
        });
        self.called.notify_one();
    }

    /// Has a packet leave with the next flush; `live` is when its event was inserted, if it is live.
    pub fn feed(&self, frame: Frame, live: Option<i64>) {
        match &mut self.inside().way {
            Way::Requests(waiting) => waiting.packets.push_back((frame, live)),
            Way::WebSocket(socket) => socket.feed(frame, live),
        }
    }

    /// Has a packet leave, for which nobody waits. A client that has many of these made, and takes
    /// none, is cut.
    pub fn say(&self, frame: Frame) {
        self.feed(frame, None);
        self.call();
        if self.inside().waiting() > self.host.gate.settings.limits.queue_bytes {
            self.end(Refusal::Lagged);
        }
    }

    fn call(&self) {
        match &self.inside().way {
            Way::Requests(_) => self.moved.notify_waiters(),
            Way::WebSocket(_) => self.called.notify_one(),
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
            let before = self.inside().waiting();
            // Whatever left is a sign of life.
            let left = self.when(|inside| match inside.waiting() {
                0 => Some(true),
                now => (now < before).then_some(false),
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
            Way::Requests(waiting) => waiting.packets.clear(),
            Way::WebSocket(socket) => socket.forget(),
        });
    }

    /// Takes a packet of the client's.
    ///
    /// # Errors
    /// Why the connection ends with it.
    pub fn hear(self: &Arc<Self>, text: &str) -> Result<(), Refusal> {
        match Packet::read(text).ok_or(Refusal::Protocol)? {
            Packet::Close => Err(Refusal::Gone),
            Packet::Attachment => Ok(()),
            Packet::Pong => {
                let at = Instant::now() + self.host.gate.settings.socketio.ping;
                self.inside().beat = Beat { at, asked: false };
                Ok(())
            }
            Packet::Said {
                what: Said::Connect,
                namespace,
                data,
                ..
            } => self.connect(namespace, data),
            Packet::Said {
                what,
                namespace,
                number,
                data,
            } => {
                // Who has been sent away may not have heard of it yet.
                let place = self
                    .host
                    .namespaces()
                    .iter()
                    .position(|one| one == namespace);
                let Some((place, ear)) = place.and_then(|place| Some((place, self.ear(place)?)))
                else {
                    return Ok(());
                };
                match what {
                    Said::Disconnect => self.leave(place, &ear),
                    Said::Event | Said::Binary => {
                        let binary = what == Said::Binary;
                        ear.hear(data, number, binary, |list| self.host.knows(list));
                    }
                    Said::Connect | Said::Acknowledgement => {}
                }
                Ok(())
            }
        }
    }

    fn ear(&self, place: usize) -> Option<Arc<Ear>> {
        let inside = self.inside();
        let found = inside.namespaces.iter().find(|(known, _)| *known == place);
        found.map(|(_, ear)| Arc::clone(ear))
    }

    fn connect(self: &Arc<Self>, namespace: &str, auth: &str) -> Result<(), Refusal> {
        let auth = match auth {
            "" => serde_json::Value::Null,
            text => serde_json::from_str(text).map_err(|_| Refusal::Protocol)?,
        };
        let known = self
            .host
            .namespaces()
            .iter()
            .position(|one| one == namespace);
        let Some(place) = known else {
            let prefix = packet::prefix(namespace);
            self.say(packet::refused(&prefix, "Invalid namespace"));
            return Ok(());
        };
        let ear = Arc::new(Ear::new(&self.host.gate.settings.limits));
        {
            let mut inside = self.inside();
            // Clients that are told to connect twice say so twice.
            let known = inside.namespaces.iter().any(|(known, _)| *known == place);
            if known || inside.ended.is_some() {
                return Ok(());
            }
            inside.namespaces.push((place, Arc::clone(&ear)));
        }
        tokio::spawn(namespace::serve(Arc::clone(self), place, ear, auth));
        Ok(())
    }

    /// Somebody has signed in.
    pub fn settle(&self) {
        self.change(|inside| {
            inside.alone = None;
            inside._pending = None;
        });
    }

    /// Somebody leaves a namespace. Who is in none closes the connection itself, or is closed.
    pub fn leave(&self, place: usize, ear: &Arc<Ear>) {
        ear.close();
        self.change(|inside| {
            let before = inside.namespaces.len();
            inside
                .namespaces
                .retain(|(known, other)| *known != place || !Arc::ptr_eq(other, ear));
            if inside.namespaces.is_empty() && before > 0 {
                let end = Instant::now() + Refusal::Gone.grace();
                inside.alone = Some(inside.alone.map_or(end, |alone| alone.max(end)));
            }
        });
    }

    /// Whether somebody else is in, besides at this place.
    pub fn is_shared(&self, place: usize) -> bool {
        let inside = self.inside();
        inside.namespaces.iter().any(|(known, _)| *known != place)
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

    /// Pings, and the ends that time brings.
    pub async fn pace(&self) -> Refusal {
        loop {
            let (alone, due) = {
                let inside = self.inside();
                let beat = inside.beat.at;
                (
                    inside.alone,
                    inside.alone.map_or(beat, |alone| alone.min(beat)),
                )
            };
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.when(|inside| (inside.alone != alone).then_some(())) => continue,
            }
            if let Some(why) = self.beat() {
                return why;
            }
        }
    }

    /// What is due by now: the end, or a ping.
    fn beat(&self) -> Option<Refusal> {
        let (settings, now) = (&self.host.gate.settings.socketio, Instant::now());
        {
            let mut inside = self.inside();
            if inside.alone.is_some_and(|alone| alone <= now) {
                return Some(Refusal::Gone);
            }
            if inside.beat.at > now {
                return None;
            }
            if inside.beat.asked {
                return Some(Refusal::NoPong);
            }
            let at = now + settings.pong_timeout;
            inside.beat = Beat { at, asked: true };
        }
        self.say(Frame::websocket(PING));
        None
    }
}

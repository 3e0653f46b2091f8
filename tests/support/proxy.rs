//! A link that can be hurt: TCP in this process, between two programs that take it for the network.
//! Hands bytes on to an address that may change, or does to them what networks do.
//! It must never alter a byte that it hands on, nor change their order.

use super::postgres::{Database, Version, on};
use super::screen::{Kind, Screen, Screens, Talk};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// What becomes of each chunk of bytes that arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Pass,
    /// Each waits for up to this long.
    Delay(Duration),
    /// With this probability, a random part of it is handed on, then the connection is cut: half a
    /// frame, half a row.
    Halve(f64),
    /// Nothing is handed on and nothing ends: neither side hears of it.
    Freeze,
    /// New connections are closed as soon as they come.
    Refuse,
}

/// Where the other side is.
#[derive(Clone, Debug)]
pub enum Upstream {
    Tcp(String),
    Unix(PathBuf),
}

#[derive(Clone, Copy, Debug)]
struct Orders {
    way: Way,
    /// Connections of a smaller number are ended, or held still for good.
    cut_below: u64,
    frozen_below: u64,
    /// What becomes of each kind of request.
    screens: Screens,
}

struct State {
    upstream: Mutex<Upstream>,
    orders: watch::Sender<Orders>,
    next: AtomicU64,
    halved: AtomicU64,
    cut: AtomicU64,
    /// Bytes that were handed on to the clients.
    down: AtomicU64,
    /// One clone for each connection there is.
    present: Arc<()>,
    seed: u64,
}

/// A link. It and all its connections end when it is dropped.
pub struct Proxy {
    /// `127.0.0.1:port`, the same for good.
    pub address: String,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

impl Proxy {
    /// A link to there, whose chances follow the seed.
    pub async fn start(upstream: Upstream, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let orders = Orders {
            way: Way::Pass,
            cut_below: 0,
            frozen_below: 0,
            screens: Screens::default(),
        };
        let state = Arc::new(State {
            upstream: Mutex::new(upstream),
            orders: watch::Sender::new(orders),
            next: AtomicU64::new(0),
            halved: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            down: AtomicU64::new(0),
            present: Arc::new(()),
            seed,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            accepting,
        }
    }

    /// A link to the shared cluster, and the address of the database's service over it.
    pub async fn to(database: &Database) -> (Self, String) {
        let cluster = &on(Version::Installed).await.cluster;
        let socket = cluster
            .socket_dir()
            .join(format!(".s.PGSQL.{}", cluster.port()));
        let link = Self::start(Upstream::Unix(socket), 1).await;
        let (address, name) = (&link.address, &database.name);
        let url = format!("postgresql://rowcast_service@{address}/{name}?sslmode=disable");
        (link, url)
    }

    /// New connections lead there.
    pub fn lead_to(&self, upstream: Upstream) {
        *self.state.upstream.lock() = upstream;
    }

    /// From now on all connections are treated so.
    pub fn set(&self, way: Way) {
        self.state.orders.send_modify(|orders| orders.way = way);
    }

    /// Whether nothing passes now.
    pub fn is_frozen(&self) -> bool {
        self.state.orders.borrow().way == Way::Freeze
    }

    /// From now on requests of this kind are treated so.
    pub fn screen(&self, kind: Kind, screen: Screen) {
        self.state
            .orders
            .send_modify(|orders| orders.screens[kind as usize] = screen);
    }

    /// Ends all connections there are, frozen ones too.
    pub fn cut(&self) {
        let next = self.state.next.load(Ordering::Relaxed);
        self.state
            .orders
            .send_modify(|orders| orders.cut_below = next);
    }

    /// Holds the connections that there are still until they are cut; new ones pass.
    pub fn freeze_present(&self) {
        let next = self.state.next.load(Ordering::Relaxed);
        self.state
            .orders
            .send_modify(|orders| orders.frozen_below = next);
    }

    /// How many connections there are.
    pub fn present(&self) -> usize {
        Arc::strong_count(&self.state.present) - 1
    }

    /// How many connections were ended by this link, in the middle of a chunk or between two.
    pub fn cuts(&self) -> u64 {
        self.halved() + self.state.cut.load(Ordering::Relaxed)
    }

    /// How many bytes the servers' side has sent.
    pub fn down(&self) -> u64 {
        self.state.down.load(Ordering::Relaxed)
    }

    /// How many connections were cut in the middle of a chunk.
    pub fn halved(&self) -> u64 {
        self.state.halved.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let number = state.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let _present = Arc::clone(&state.present);
            let mut orders = state.orders.subscribe();
            tokio::select! {
                () = carry(stream, number, &state) => {}
                _ = orders.wait_for(|orders| orders.cut_below > number) => {
                    state.cut.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
}

/// One connection, until one of its sides ends it.
async fn carry(near: TcpStream, number: u64, state: &State) {
    let mut orders = state.orders.subscribe();
    let opened = orders
        .wait_for(|orders| !orders.holds(number))
        .await
        .map(|orders| orders.way);
    if opened.is_err() || opened.is_ok_and(|way| way == Way::Refuse) {
        return;
    }
    let upstream = state.upstream.lock().clone();
    let (near_read, near_write) = near.into_split();
    let talk = Talk::default();
    let direction = |up| Direction {
        number,
        up,
        talk: &talk,
        state,
    };
    let (up, down) = (direction(true), direction(false));
    match upstream {
        Upstream::Tcp(address) => {
            let Ok(far) = TcpStream::connect(address).await else {
                return;
            };
            let _ = far.set_nodelay(true);
            let (far_read, far_write) = far.into_split();
            tokio::select! {
                () = up.pump(near_read, far_write) => {}
                () = down.pump(far_read, near_write) => {}
            }
        }
        Upstream::Unix(path) => {
            let Ok(far) = UnixStream::connect(path).await else {
                return;
            };
            let (far_read, far_write) = far.into_split();
            tokio::select! {
                () = up.pump(near_read, far_write) => {}
                () = down.pump(far_read, near_write) => {}
            }
        }
    }
}

impl Orders {
    fn holds(&self, number: u64) -> bool {
        self.way == Way::Freeze || number < self.frozen_below
    }
}

/// One direction of a connection.
struct Direction<'a> {
    number: u64,
    /// From the client to the server.
    up: bool,
    talk: &'a Talk,
    state: &'a State,
}

impl Direction<'_> {
    /// Hands on until the connection is to end.
    async fn pump(self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let seed = self.state.seed ^ (2 * self.number + u64::from(!self.up));
        let mut random = StdRng::seed_from_u64(seed);
        let mut orders = self.state.orders.subscribe();
        // As much as there is: what is delayed piece by piece would be throttled as well.
        let mut chunk = vec![0; 256 * 1024];
        let mut held = Vec::new();
        loop {
            let length = tokio::select! {
                length = from.read(&mut chunk) => length.unwrap_or(0),
                () = self.talk.refused(), if !self.up => {
                    let _ = to.write_all(Talk::REFUSAL).await;
                    return;
                }
            };
            // An end is held still like everything else: that is what half-open means.
            let released = orders.wait_for(|now| !now.holds(self.number)).await;
            let Ok(now) = released.map(|now| *now) else {
                return;
            };
            let mut rest = &chunk[..length];
            match now.way {
                Way::Delay(longest) => tokio::time::sleep(longest.mul_f64(random.random())).await,
                Way::Halve(chance) if length > 0 && random.random_bool(chance) => {
                    rest = &rest[..random.random_range(0..length)];
                }
                _ => {}
            }
            let halved = rest.len() < length;
            if self.up {
                self.admit(rest, &now).await;
            } else if length > 0 {
                let (passing, kept) = rest.split_at(self.talk.passing(rest, &now.screens));
                held.extend_from_slice(kept);
                rest = passing;
            } else {
                rest = &held;
            }
            if !self.up {
                let sent = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                self.state.down.fetch_add(sent, Ordering::Relaxed);
            }
            let done = length == 0 || halved;
            if to.write_all(rest).await.is_err() || done {
                let _ = to.flush().await;
                self.state
                    .halved
                    .fetch_add(u64::from(halved), Ordering::Relaxed);
                return;
            }
        }
    }

    /// Looks at a request that begins here. It does not return if that is refused.
    async fn admit(&self, bytes: &[u8], now: &Orders) {
        let Some(kind) = self.talk.begins(bytes) else {
            return;
        };
        if now.screens[kind as usize] == Screen::Refuse {
            self.talk.refuse().await;
        }
    }
}

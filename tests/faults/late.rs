//! A link to PostgreSQL that answers LISTEN itself and hands it on later: what a listener would be
//! that reads the log before it listens. Everything else passes as it is.
//! It must never change what it is not there for: with `at_once` it is a link like any other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf as FarRead, OwnedWriteHalf as FarWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};

/// `CommandComplete` and `ReadyForQuery`, outside any transaction.
const LISTENED: &[u8] = b"C\0\0\0\x0bLISTEN\0Z\0\0\0\x05I";

/// The end of any answer, outside any transaction.
const READY: &[u8] = b"Z\0\0\0\x05I";

struct State {
    socket: PathBuf,
    released: watch::Sender<bool>,
    asked: AtomicUsize,
    looked: AtomicUsize,
    listening: AtomicUsize,
}

/// What both directions of a connection know.
#[derive(Default)]
struct Talk {
    /// An answer to LISTEN was given that is still to come.
    owed: AtomicBool,
    /// A look at the log is under way.
    looks: AtomicBool,
}

pub struct LateListen {
    pub address: String,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for LateListen {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl LateListen {
    pub async fn start(socket: PathBuf, at_once: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            socket,
            released: watch::Sender::new(at_once),
            asked: AtomicUsize::new(0),
            looked: AtomicUsize::new(0),
            listening: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            state,
            accepting,
        }
    }

    /// How many connections have asked to listen, and believe that they do.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// How many have looked at the log, and were answered.
    pub fn looked(&self) -> usize {
        self.state.looked.load(Ordering::SeqCst)
    }

    /// How many do listen.
    pub fn listening(&self) -> usize {
        self.state.listening.load(Ordering::SeqCst)
    }

    /// Hands on what was held back, and from now on everything at once.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }
}

async fn carry(near: TcpStream, state: Arc<State>) {
    let Ok(far) = UnixStream::connect(&state.socket).await else {
        return;
    };
    let (near_read, mut near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let talk = Talk::default();
    let (answers, mut answered) = mpsc::channel::<Vec<u8>>(100);
    let writing = async {
        while let Some(bytes) = answered.recv().await {
            if near_write.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = ask(near_read, far_write, &answers, &talk, &state) => {}
        () = answer(far_read, &answers, &talk, &state) => {}
    }
}

/// From the service: message by message, for LISTEN has to be told from the rest.
async fn ask(
    mut near: tokio::net::tcp::OwnedReadHalf,
    mut far: FarWrite,
    answers: &mpsc::Sender<Vec<u8>>,
    talk: &Talk,
    state: &State,
) {
    // The first message has no type: who and where.
    let Some(startup) = message(&mut near, 0).await else {
        return;
    };
    if far.write_all(&startup).await.is_err() {
        return;
    }
    let mut released = state.released.subscribe();
    let (mut held, mut look) = (None, None);
    loop {
        // A message that is only half there when the other comes would be lost: it is released
        // while nobody says anything.
        let (next, is_late) = tokio::select! {
            next = message(&mut near, 1) => (next, false),
            _ = released.wait_for(|released| *released), if held.is_some() => (held.take(), true),
        };
        let Some(bytes) = next else {
            return;
        };
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if bytes[0] == b'Q' && text.contains("listen rowcast") && !is_late {
            state.asked.fetch_add(1, Ordering::SeqCst);
            if !*state.released.borrow() {
                held = Some(bytes);
                talk.owed.store(true, Ordering::SeqCst);
                let _ = answers.send(LISTENED.to_vec()).await;
                continue;
            }
        }
        // Prepared by a name, and bound to a portal that has none.
        let mut words = bytes[5..].split(|byte| *byte == 0);
        if bytes[0] == b'P' && text.contains("rowcast.look(") {
            look = words.next().map(<[u8]>::to_vec);
        } else if bytes[0] == b'B' && look.is_some() && words.nth(1) == look.as_deref() {
            talk.looks.store(true, Ordering::SeqCst);
        }
        if far.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn message(near: &mut tokio::net::tcp::OwnedReadHalf, kind: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; kind + 4];
    near.read_exact(&mut bytes).await.ok()?;
    let length = u32::from_be_bytes(bytes[kind..].try_into().ok()?) as usize;
    bytes.resize(kind + length, 0);
    near.read_exact(&mut bytes[kind + 4..]).await.ok()?;
    Some(bytes)
}

/// From PostgreSQL: a late answer to LISTEN was given already.
async fn answer(mut far: FarRead, answers: &mpsc::Sender<Vec<u8>>, talk: &Talk, state: &State) {
    let mut chunk = vec![0; 16 * 1024];
    let mut looked = false;
    while let Ok(length @ 1..) = far.read(&mut chunk).await {
        let mut bytes = &chunk[..length];
        if let Some(rest) = bytes.strip_prefix(LISTENED) {
            state.listening.fetch_add(1, Ordering::SeqCst);
            if talk.owed.swap(false, Ordering::SeqCst) {
                bytes = rest;
            }
        }
        if !looked && bytes.ends_with(READY) && talk.looks.load(Ordering::SeqCst) {
            looked = true;
            state.looked.fetch_add(1, Ordering::SeqCst);
        }
        let _ = answers.send(bytes.to_vec()).await;
    }
}

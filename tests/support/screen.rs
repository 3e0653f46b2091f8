//! What a proxy between browser and server does to requests of one kind: it lets them pass, refuses
//! them, or keeps the body to itself. Hands over to `proxy.rs`, which carries the bytes.
//! It must never touch a request of another kind.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use tokio::sync::Notify;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    WebSocket,
    Sse,
    Poll,
    Call,
    Other,
}

/// By the first word of a request; what fits none of them is `Other`.
const BEGINNINGS: [(&[u8], Kind); 7] = [
    (b"GET /ws", Kind::WebSocket),
    (b"GET /sse", Kind::Sse),
    (b"GET /poll", Kind::Poll),
    (b"POST /call", Kind::Call),
    (b"GET ", Kind::Other),
    (b"POST ", Kind::Other),
    (b"OPTIONS ", Kind::Other),
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    #[default]
    Pass,
    /// Answered with 502, and the server hears nothing of it.
    Refuse,
    /// The head of the answer passes, its body when the server has ended it: a proxy that buffers.
    HoldBody,
}

/// For each kind, in its order.
pub type Screens = [Screen; 5];

/// What both directions of a connection know of the request under way.
pub struct Talk {
    kind: AtomicU8,
    head_passed: AtomicBool,
    refusal: Notify,
}

impl Default for Talk {
    fn default() -> Self {
        Self {
            kind: AtomicU8::new(Kind::Other as u8),
            head_passed: AtomicBool::new(false),
            refusal: Notify::new(),
        }
    }
}

impl Talk {
    /// What a refused request is answered with.
    pub const REFUSAL: &[u8] =
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    /// The request that these bytes of the client begin, if they do.
    pub fn begins(&self, bytes: &[u8]) -> Option<Kind> {
        let mut beginnings = BEGINNINGS.iter();
        let (_, kind) = beginnings.find(|(first, _)| bytes.starts_with(first))?;
        self.head_passed.store(false, Ordering::Relaxed);
        self.kind.store(*kind as u8, Ordering::Relaxed);
        Some(*kind)
    }

    /// Never returns: the other direction answers, and ends the connection.
    pub async fn refuse(&self) {
        self.refusal.notify_one();
        std::future::pending::<()>().await;
    }

    /// Ends when the request under way is refused.
    pub async fn refused(&self) {
        self.refusal.notified().await;
    }

    /// How many of these bytes of the server pass at once.
    pub fn passing(&self, bytes: &[u8], screens: &Screens) -> usize {
        let kind = usize::from(self.kind.load(Ordering::Relaxed));
        if screens[kind] != Screen::HoldBody {
            return bytes.len();
        }
        if self.head_passed.load(Ordering::Relaxed) {
            return 0;
        }
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        self.head_passed.store(end.is_some(), Ordering::Relaxed);
        end.map_or(bytes.len(), |end| end + 4)
    }
}

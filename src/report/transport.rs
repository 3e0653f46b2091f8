//! The ways to hold a connection, and counters of each. Hands words over to the log and `/metrics`,
//! numbers to the console. It must never leave one out: whoever is open is counted somewhere.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};

/// How a connection is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Sse,
    Poll,
    SocketIo,
}

/// A number for each transport, in the order of [`Transport::ALL`].
pub type PerTransport = [u64; Transport::ALL.len()];

impl Transport {
    pub const ALL: [Self; 4] = [Self::WebSocket, Self::Sse, Self::Poll, Self::SocketIo];

    /// As the log, the console and `/metrics` call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::Poll => "poll",
            Self::SocketIo => "socketio",
        }
    }
}

impl Display for Transport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

pub(super) struct Counters([AtomicU64; Transport::ALL.len()]);

impl Counters {
    pub(super) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; Transport::ALL.len()])
    }

    pub(super) fn count(&self, transport: Transport) {
        self.0[transport as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn all(&self) -> PerTransport {
        std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_in_its_own_place() {
        let counters = Counters::new();
        for (at, transport) in Transport::ALL.into_iter().enumerate() {
            (0..=at).for_each(|_| counters.count(transport));
        }
        assert_eq!(counters.all(), [1, 2, 3, 4]);
    }
}

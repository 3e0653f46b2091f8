//! What somebody is let in to, and why not to more: what rules and limits have said of each room.
//! Hands it over to admission, and to the memory of who polls. It must never say whether a room that was
//! refused exists.

use std::sync::Arc;

/// What somebody was admitted to, what was refused, and under which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub user: Option<String>,
    pub rooms: Vec<Arc<str>>,
    /// So many of them, the first, are home rooms: nobody asked for them.
    pub home: usize,
    pub refused: Vec<(String, RoomRefusal)>,
    /// Of rules and revocations, as the answer saw them.
    pub version: i64,
}

/// Why a room is not somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomRefusal {
    #[error("a room's name has 1 byte at least, is bounded, and holds no control characters")]
    Bad,
    #[error("no such room for you")]
    Forbidden,
    #[error("this connection is in as many rooms as it may be: leave some first")]
    TooMany,
    /// It was, and was taken away.
    #[error("this room is no longer yours: nothing more of it will come")]
    Withdrawn,
}

impl RoomRefusal {
    /// As `docs/protocol.md` has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bad => "bad-room",
            Self::Forbidden | Self::Withdrawn => "forbidden",
            Self::TooMany => "too-many-rooms",
        }
    }
}

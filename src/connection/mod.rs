//! What all transports share: the gate they are admitted through, and the one table of refusals.
//! Hands over to the transports in this folder. It must never fall back to another identity than
//! the one a request proved.

pub mod admission;
pub mod seam;
pub mod seats;
pub mod sse;
pub mod websocket;

use crate::config::Settings;
use crate::database::Database;
use crate::hub::{Ended, Hub};
use crate::listener::Pulse;
use crate::token::{TokenError, Verifier};
use std::sync::Arc;
use std::time::Duration;

/// Everything a connection needs of the service.
pub struct Gate {
    pub settings: Settings,
    pub hub: Hub,
    pub database: Database,
    pub verifier: Verifier,
    pub seats: seats::Seats,
    pub pulse: Arc<Pulse>,
}

/// Why somebody is turned away or a connection ends. One row here is the status, the close code
/// and the word on every transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no token was sent")]
    NoToken,
    #[error("the token was refused: {}", .0.word())]
    BadToken(TokenError),
    #[error("the session is unknown or has ended")]
    BadSession,
    #[error("this Origin is not allowed: add it to http.allowed_origins")]
    Origin,
    #[error("too many connections of this user or address")]
    TooMany,
    #[error("the service is at its limit")]
    Overloaded,
    #[error("the database is away")]
    DatabaseAway,
    #[error("the service restarts")]
    Restart,
    #[error("the reader fell behind: come back with the last bookmark")]
    Lagged,
    #[error("the token has expired")]
    Expired,
    #[error("the message is too big")]
    TooBig,
    #[error("this is not the protocol")]
    Protocol,
    #[error("no sign of life within the time for a pong")]
    NoPong,
    #[error("the other side closed")]
    Gone,
}

impl Refusal {
    /// HTTP status, WebSocket close code, word.
    #[must_use]
    pub fn row(self) -> (u16, u16, &'static str) {
        match self {
            Self::NoToken | Self::BadToken(_) | Self::BadSession => (401, 1008, "unauthorized"),
            Self::Origin => (403, 1008, "forbidden-origin"),
            Self::TooMany => (429, 4003, "too-many-connections"),
            Self::Overloaded | Self::DatabaseAway => (503, 1013, "overloaded"),
            Self::Restart => (503, 1012, "restart"),
            Self::Lagged => (503, 4000, "lagged"),
            Self::Expired => (401, 4001, "token-expired"),
            Self::TooBig => (413, 1009, "message-too-big"),
            Self::Protocol => (400, 4004, "protocol-error"),
            Self::NoPong => (408, 4005, "no-pong"),
            Self::Gone => (499, 1000, "closed"),
        }
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().2
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::Overloaded | Self::DatabaseAway | Self::Restart | Self::Lagged
        )
    }

    /// How long to wait before coming back: random, so that those who were cut together do not
    /// return together.
    #[must_use]
    pub fn wait(self, spread: Duration) -> Duration {
        spread.mul_f64(rand::random_range(0.1..=1.0))
    }
}

impl From<Ended> for Refusal {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Lagged => Self::Lagged,
            Ended::Restart => Self::Restart,
        }
    }
}

/// Unix time in seconds.
#[must_use]
pub fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Ends when the unix time is reached.
pub async fn until(unix: u64) {
    loop {
        let left = unix.saturating_sub(unix_now());
        if left == 0 {
            return;
        }
        // In slices: the machine may sleep, and the clock be set.
        tokio::time::sleep(Duration::from_secs(left.min(30))).await;
    }
}

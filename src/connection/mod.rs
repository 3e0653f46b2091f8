//! What all transports share: the gate they are admitted through, and the one table of refusals.
//! Hands over to the transports in this folder. It must never fall back to another identity than
//! the one a request proved.

pub mod admission;
pub mod allowance;
pub mod answer;
pub mod arrivals;
pub mod call;
pub mod conversation;
pub mod cors;
pub mod cut;
pub mod door;
pub mod handshake;
pub mod ledger;
pub mod outlet;
pub mod payload;
pub mod poll;
pub mod post;
pub mod presence;
pub mod questions;
pub mod reader;
pub mod recheck;
pub mod replays;
pub mod seam;
pub mod seats;
pub mod sessions;
pub mod socket;
pub mod socketio;
pub mod speech;
pub mod sse;
pub mod takeover;
pub mod visit;
pub mod websocket;
pub mod writer;

use crate::config::Settings;
use crate::database::Database;
use crate::dialect::Dialect;
use crate::hub::{Ended, Hub};
use crate::listener::Pulse;
use crate::token::{TokenError, Verifier};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use warp::http::HeaderValue;
use warp::reply::Response;

/// Everything a connection needs of the service.
pub struct Gate {
    pub settings: Settings,
    pub hub: Hub,
    pub database: Database,
    pub verifier: Verifier,
    pub questions: Arc<questions::Questions>,
    pub cookies: sessions::Cookies,
    pub streams: speech::stream::Streams,
    pub replays: replays::Replays,
    pub seats: seats::Seats,
    pub arrivals: arrivals::Arrivals,
    pub allowances: allowance::Allowances,
    pub ledger: Arc<ledger::Ledger>,
    pub pulse: Arc<Pulse>,
    /// How front ends speak that were there before.
    pub dialects: Vec<Arc<Dialect>>,
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
    #[error("the address names somebody else")]
    SomebodyElse,
    #[error("no such room for you")]
    Forbidden,
    #[error("this Origin is not allowed: add it to http.allowed_origins")]
    Origin,
    #[error(
        "a cookie needs Origin, Sec-Fetch-Site or Referer: use https, no Referrer-Policy: no-referrer, or a token"
    )]
    NoOrigin,
    #[error("too many connections of this user or address")]
    TooMany,
    #[error(
        "a reader has a name of 1 to 200 bytes without control characters, and a user whose it is"
    )]
    BadReader,
    #[error("this user has as many readers as they may (rowcast.setting.readers_per_user)")]
    TooManyReaders,
    #[error("the service is at its limit")]
    Overloaded,
    #[error("many connect at once: come back in your turn")]
    Crowded(Duration),
    #[error("the database is away")]
    DatabaseAway,
    #[error("a rule of this session or its rooms failed: try again")]
    RuleFailed,
    #[error("the service restarts")]
    Restart,
    #[error("events may be missing: come back, and read your data anew")]
    Gap,
    #[error("the reader fell behind: come back with the last bookmark")]
    Lagged,
    #[error("the token has expired")]
    Expired,
    #[error("the user was revoked: come back with a new token")]
    Revoked,
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
    /// One for each word that the other side may be told.
    const TOLD: [Self; 13] = [
        Self::NoToken,
        Self::Forbidden,
        Self::Origin,
        Self::TooMany,
        Self::Overloaded,
        Self::Restart,
        Self::Gap,
        Self::Lagged,
        Self::Expired,
        Self::Revoked,
        Self::TooBig,
        Self::Protocol,
        Self::NoPong,
    ];

    /// HTTP status, WebSocket close code, word.
    #[must_use]
    pub fn row(self) -> (u16, u16, &'static str) {
        match self {
            Self::NoToken | Self::BadToken(_) | Self::BadSession | Self::SomebodyElse => {
                (401, 1008, "unauthorized")
            }
            Self::Forbidden => (403, 1008, "forbidden"),
            Self::Origin | Self::NoOrigin => (403, 1008, "forbidden-origin"),
            Self::TooMany | Self::TooManyReaders => (429, 4003, "too-many-connections"),
            Self::Overloaded | Self::Crowded(_) | Self::DatabaseAway | Self::RuleFailed => {
                (503, 1013, "overloaded")
            }
            Self::Restart => (503, 1012, "restart"),
            Self::Gap => (503, 1012, "gap"),
            Self::Lagged => (503, 4000, "lagged"),
            Self::Expired => (401, 4001, "token-expired"),
            Self::Revoked => (401, 4002, "revoked"),
            Self::TooBig => (413, 1009, "message-too-big"),
            Self::Protocol | Self::BadReader => (400, 4004, "protocol-error"),
            Self::NoPong => (408, 4005, "no-pong"),
            Self::Gone => (499, 1000, "closed"),
        }
    }

    /// Status and close code that go with a word, if it is one of these.
    #[must_use]
    pub fn codes(word: &str) -> Option<(u16, u16)> {
        let rows = Self::TOLD.into_iter().map(Self::row);
        rows.filter(|(_, _, known)| *known == word)
            .map(|(status, close, _)| (status, close))
            .next()
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
            Self::Overloaded
                | Self::Crowded(_)
                | Self::DatabaseAway
                | Self::RuleFailed
                | Self::Restart
                | Self::Gap
                | Self::Lagged
        )
    }

    /// Whether nothing more is theirs, not even what is on its way: then the end waits for nobody.
    #[must_use]
    pub fn ends_access(self) -> bool {
        matches!(self, Self::Expired | Self::Revoked | Self::BadSession)
    }

    /// How long the last words may take to leave before the socket is cut: of who may hear nothing
    /// more, so short that all in all it takes less than a second.
    #[must_use]
    pub fn grace(self) -> Duration {
        Duration::from_millis(if self.ends_access() { 300 } else { 2000 })
    }
}

impl Gate {
    /// How long to wait before coming back: random, so that those who were cut together do not
    /// return together, nor faster than they can be let in.
    #[must_use]
    pub fn wait(&self, refusal: Refusal) -> Duration {
        let spread = self.settings.http.spread;
        let spread = match refusal {
            Refusal::Crowded(turn) => return turn,
            // Nothing is wrong on our side.
            Refusal::Lagged => Duration::ZERO,
            // All of them together.
            Refusal::Restart | Refusal::Gap => spread.max(self.arrivals.spread()),
            _ => spread,
        };
        let wait = spread.mul_f64(rand::random_range(0.1..=1.0));
        match refusal {
            // However many ask whether they may come in by now.
            Refusal::Overloaded | Refusal::DatabaseAway | Refusal::RuleFailed => {
                wait.max(self.arrivals.turn(Instant::now()))
            }
            _ => wait,
        }
    }

    /// A refusal as every answer of HTTP spells it; one that passes says when to come back.
    #[must_use]
    pub fn refuse(&self, refusal: Refusal) -> Response {
        self.refuse_saying(refusal, &refusal.to_string())
    }

    /// The same in other words.
    #[must_use]
    pub fn refuse_saying(&self, refusal: Refusal, message: &str) -> Response {
        let (status, _, code) = refusal.row();
        let mut error = json!({ "code": code, "message": message });
        let wait = refusal.is_temporary().then(|| self.wait(refusal));
        if let Some(wait) = wait {
            error["retryMs"] = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).into();
        }
        let mut answer = answer::error_of(status, &error);
        if let Some(wait) = wait {
            // Whole seconds, none too early; many take 0 for "at once, and again".
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            if let Ok(seconds) = HeaderValue::from_str(&seconds.to_string()) {
                answer.headers_mut().insert("retry-after", seconds);
            }
        }
        answer
    }
}

impl From<Ended> for Refusal {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Lagged => Self::Lagged,
            Ended::Restart => Self::Restart,
            Ended::Revoked => Self::Revoked,
            Ended::NoSession => Self::BadSession,
            // While the database is away, nobody is ended for it.
            Ended::Unconfirmed => Self::RuleFailed,
        }
    }
}

/// Unix time in seconds.
#[must_use]
pub fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Ends when the unix time is reached, and not a whole second later.
pub async fn until(unix: u64) {
    loop {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let left = Duration::from_secs(unix).saturating_sub(since.unwrap_or_default());
        if left.is_zero() {
            return;
        }
        // In slices: the machine may sleep, and the clock be set.
        tokio::time::sleep(left.min(Duration::from_secs(30))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Duration {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.unwrap_or_default()
    }

    /// A file may word every end of a connection but the one that its own side brought about.
    #[test]
    fn dialects_know_the_words_of_all_refusals() {
        use crate::dialect::WORDS;
        let mut told = Refusal::TOLD.map(Refusal::word);
        told.sort_unstable();
        let mut words = WORDS.to_vec();
        words.sort_unstable();
        assert_eq!(words, told);
    }

    /// Counted in whole seconds, whoever begins late in one would wait for most of one too many.
    #[tokio::test]
    async fn an_end_comes_at_its_second() {
        while now().subsec_millis() < 500 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let end = now().as_secs() + 1;
        until(end).await;
        let late = now().checked_sub(Duration::from_secs(end));
        assert!(
            late.is_some_and(|late| late < Duration::from_millis(400)),
            "{late:?}"
        );
    }
}

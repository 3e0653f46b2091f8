//! The one table of refusals: why somebody is turned away or a connection ends, by the status, the
//! close code and the word that say so on every transport.
//! Hands rows to the transports. It must never have two words for one fact.

use crate::counts::Full;
use crate::hub::Ended;
use crate::token::TokenError;
use std::time::Duration;

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
    #[error("another connection has begun this reader meanwhile: come back to its place")]
    ReaderBegun,
    #[error("your other connections have not taken what they missed: come back when they have")]
    Replaying,
    #[error("the database is away")]
    DatabaseAway,
    #[error("a rule of this session or its rooms failed: try again")]
    RuleFailed,
    #[error("the session ends earlier than you were told: come back")]
    EndsEarlier,
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
    /// What is wrong with what was asked for, and what would be right.
    #[error("{0}")]
    Asked(&'static str),
    #[error("no sign of life within the time for a pong")]
    NoPong,
    #[error("the other side closed")]
    Gone,
}

impl Refusal {
    /// One for each word that the other side may be told. A new word is put here too, or else no
    /// dialect may word it and no specification is asked for it.
    pub const TOLD: [Self; 13] = [
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
            Self::Overloaded
            | Self::Crowded(_)
            | Self::ReaderBegun
            | Self::Replaying
            | Self::DatabaseAway
            | Self::RuleFailed
            | Self::EndsEarlier => (503, 1013, "overloaded"),
            Self::Restart => (503, 1012, "restart"),
            Self::Gap => (503, 1012, "gap"),
            Self::Lagged => (503, 4000, "lagged"),
            Self::Expired => (401, 4001, "token-expired"),
            Self::Revoked => (401, 4002, "revoked"),
            Self::TooBig => (413, 1009, "message-too-big"),
            Self::Protocol | Self::Asked(_) | Self::BadReader => (400, 4004, "protocol-error"),
            Self::NoPong => (408, 4005, "no-pong"),
            Self::Gone => (499, 1000, "closed"),
        }
    }

    /// Status and close code that go with a word, if it is one of these.
    #[must_use]
    pub fn codes(word: &str) -> Option<(u16, u16)> {
        let mut rows = Self::TOLD.into_iter().map(Self::row);
        let (status, close, _) = rows.find(|(_, _, known)| *known == word)?;
        Some((status, close))
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().2
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        self.row().0 == 503
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

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        match full {
            Full::All => Self::Overloaded,
            Full::Own => Self::TooMany,
        }
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
            Ended::EndsEarlier => Self::EndsEarlier,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}

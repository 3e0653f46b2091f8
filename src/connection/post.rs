//! What every POST has in common: a seat, who it is, how often they may, and a body of JSON.
//! Hands its text over to whoever it is for. It must never read a body that a form of another site
//! could have sent.

use super::peer;
use super::visit::Visit;
use super::whose::Whose;
use super::{Gate, Refusal, answer, seats};
use crate::hub::Identity;
use bytes::{Buf, Bytes};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use warp::reply::Response;

/// What is still to be read of one.
pub type Body = BoxStream<'static, Result<Bytes, warp::Error>>;

/// The body of a request, whatever its pieces are.
pub fn body<B: Buf>(pieces: impl Stream<Item = Result<B, warp::Error>> + Send + 'static) -> Body {
    pieces
        .map_ok(|mut piece| piece.copy_to_bytes(piece.remaining()))
        .boxed()
}

/// A POST as it was read.
pub struct Post {
    pub identity: Identity,
    /// By which the log knows them.
    pub shown: String,
    /// JSON, or empty.
    pub text: String,
    _seat: seats::Seat,
}

const TOO_SLOW: &str = "request-timeout";
const NO_JSON: &str = "unsupported-media-type";

/// What only a body can be refused with.
pub const CODES: [&str; 2] = [TOO_SLOW, NO_JSON];

/// Why there is none.
#[derive(Debug)]
pub enum Refused {
    /// They may not come in.
    Entry(Refusal),
    /// Status, word and message about what was sent.
    Content(u16, &'static str, String),
}

impl Refused {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Entry(refusal) => refusal.word(),
            Self::Content(_, code, _) => code,
        }
    }

    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Entry(refusal) => refusal.to_string(),
            Self::Content(_, _, message) => message.clone(),
        }
    }

    #[must_use]
    pub fn answer(&self, gate: &Gate) -> Response {
        match self {
            Self::Entry(refusal) => gate.refuse(*refusal),
            Self::Content(status, code, message) => answer::error(*status, code, message),
        }
    }
}

impl Post {
    /// Answers one by what `ask` says to it. `tell` reports why there is none, and where it came from.
    pub async fn serve(
        gate: &Gate,
        visit: &Visit,
        body: Body,
        ask: impl AsyncFnOnce(Self) -> Response,
        tell: impl FnOnce(&Refused, &str),
    ) -> Response {
        answer::no_store(match Self::read(gate, visit, body).await {
            Ok(post) => ask(post).await,
            Err(refused) => {
                tell(&refused, &visit.shown(gate));
                refused.answer(gate)
            }
        })
    }

    /// Lets somebody in and reads what they send.
    ///
    /// # Errors
    /// Why not; it is for the caller to report.
    async fn read(gate: &Gate, visit: &Visit, body: Body) -> Result<Self, Refused> {
        let address = visit.address(gate);
        let seat = gate.seats.sit(gate, address);
        let mut seat = seat.map_err(Refused::Entry)?;
        let identity = gate.identify(visit).await.map_err(Refused::Entry)?;
        seat.belongs_to(gate, identity.user.as_deref())
            .map_err(Refused::Entry)?;
        let (shown, limits) = (peer::shown(address), &gate.settings.limits);
        let refused =
            |status, code, message: &str| Err(Refused::Content(status, code, message.to_owned()));
        let whose = Whose::of(identity.user.as_deref(), address);
        let rate = limits.messages_per_second;
        if !gate.allowances.take(whose, rate, limits.connections) {
            let message = format!("at most {rate} requests a second");
            return refused(429, "rate-limited", &message);
        }
        let read = read_body(body, limits.message_bytes);
        let Ok(read) = tokio::time::timeout(gate.settings.http.header_timeout, read).await else {
            return refused(408, TOO_SLOW, "the body did not come in time");
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(Refusal::TooBig) => {
                let message = format!("at most {} bytes", limits.message_bytes);
                return refused(413, Refusal::TooBig.word(), &message);
            }
            Err(_) => return refused(400, "bad-arguments", "the body ended early"),
        };
        let is_json = visit.headers.get("content-type").is_some_and(|kind| {
            let kind = kind.to_str().unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
        let Ok(text) = String::from_utf8(bytes) else {
            return refused(400, "bad-arguments", "the body is not UTF-8");
        };
        // What a form of another site could send is not it.
        if !is_json && !text.is_empty() {
            return refused(415, NO_JSON, "send application/json");
        }
        Ok(Self {
            identity,
            shown,
            text,
            _seat: seat,
        })
    }
}

async fn read_body(mut body: Body, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut read = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Refusal::Gone)?;
        if read.len() + piece.len() > most {
            return Err(Refusal::TooBig);
        }
        read.extend_from_slice(&piece);
    }
    Ok(read)
}

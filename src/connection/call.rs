//! Calls: what a caller may ask of the functions in `rowcast.callable`, the one table of what can go
//! wrong, and `POST /call/NAME`.
//! Hands questions down to SQL, and answers to the transports. It must never tell a caller more than
//! a function said on purpose, nor a log what a caller sent.

use super::visit::Visit;
use super::{Gate, Refusal};
use crate::database::{Called, Failed, Question};
use crate::hub::Identity;
use crate::report;
use crate::token::TokenError;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

/// Why a call has no answer. One row here is the status and the word on every transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallRefusal {
    #[error("there is no such function for you")]
    Unknown,
    #[error("{0}")]
    Arguments(String),
    #[error("the function took too long")]
    Timeout,
    #[error("the answer is larger than it may be")]
    TooLarge,
    #[error("{}", .0.as_deref().unwrap_or("the function failed"))]
    Failed(Option<String>),
    #[error("the token was refused: {}", TokenError::Revoked.word())]
    Revoked,
    #[error("too many calls: wait for the answers of others first")]
    TooMany,
    #[error("the service can't take this call now: try again")]
    Overloaded,
}

impl CallRefusal {
    /// HTTP status and word.
    #[must_use]
    pub fn row(&self) -> (u16, &'static str) {
        match self {
            Self::Unknown => (404, "no-such-function"),
            Self::Arguments(_) => (400, "bad-arguments"),
            Self::Timeout => (504, "call-timeout"),
            Self::TooLarge => (413, "too-large"),
            Self::Failed(_) => (422, "call-failed"),
            Self::Revoked => (401, "unauthorized"),
            Self::TooMany => (429, "rate-limited"),
            Self::Overloaded => (503, "overloaded"),
        }
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    pub identity: Identity,
    /// Under which version of rules and revocations they were let in, if before.
    pub version: Option<i64>,
    /// By which the log knows them: a connection, or an address.
    pub shown: String,
}

impl Gate {
    /// Calls a listed function with arguments as JSON text. Each answer or refusal is reported here.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn call(
        &self,
        transport: &'static str,
        caller: &Caller,
        name: &str,
        args: &str,
    ) -> Result<Called, CallRefusal> {
        let began = Instant::now();
        let question = Question {
            name,
            args,
            claims: &caller.identity.claims,
            version: caller.version,
            leeway: self.settings.auth.leeway.as_secs(),
        };
        let failed = match self.database.call(question).await {
            Ok(called) => {
                report::called(began.elapsed());
                return Ok(called);
            }
            Err(failed) => failed,
        };
        let refusal = refusal(&failed);
        // What is not listed is whatever the caller sent.
        let listed = !matches!(
            &failed,
            Failed::Unknown(_) | Failed::Revoked | Failed::Full | Failed::Database(_)
        );
        report::call_refused(
            transport,
            &caller.shown,
            listed.then_some(name),
            refusal.row().1,
            &detail(&failed),
        );
        if let Failed::Database(error) = &failed {
            report::database_failed("call", error);
        }
        Err(refusal)
    }
}

fn refusal(failed: &Failed) -> CallRefusal {
    match failed {
        Failed::Unknown(_) => CallRefusal::Unknown,
        Failed::Revoked => CallRefusal::Revoked,
        Failed::Arguments(problem) => CallRefusal::Arguments(problem.clone()),
        Failed::Timeout => CallRefusal::Timeout,
        Failed::TooLarge => CallRefusal::TooLarge,
        Failed::Raised { message, .. } => CallRefusal::Failed(message.clone()),
        Failed::Collided | Failed::Full | Failed::Database(_) => CallRefusal::Overloaded,
    }
}

/// For operators; never what the caller sent, nor a message of the function's.
fn detail(failed: &Failed) -> String {
    match failed {
        Failed::Unknown(why) => why.clone(),
        Failed::Raised {
            sqlstate, place, ..
        } => format!("SQLSTATE {sqlstate}: {place}"),
        Failed::Collided => "collided with other writers at every attempt".to_owned(),
        Failed::Full => "as many calls run and wait as may".to_owned(),
        _ => String::new(),
    }
}

/// Answers `POST /call/NAME`.
pub async fn serve<B: Buf, E>(
    gate: Arc<Gate>,
    visit: Visit,
    name: String,
    body: impl Stream<Item = Result<B, E>>,
) -> Response {
    let address = visit.address(&gate);
    let shown = address.map_or_else(|| "unix".to_owned(), |address| address.to_string());
    let mut answer = match enter(&gate, &visit, address, &shown).await {
        Ok((caller, _seat)) => ask(&gate, &visit, &caller, &name, body).await,
        Err(refusal) => {
            report::refused("http", refusal.word(), &refusal.to_string(), &shown);
            gate.refuse(refusal)
        }
    };
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert("cache-control", no_store);
    answer
}

async fn enter(
    gate: &Gate,
    visit: &Visit,
    address: Option<std::net::IpAddr>,
    shown: &str,
) -> Result<(Caller, super::seats::Seat), Refusal> {
    let mut seat = gate.seats.sit(gate, address)?;
    let identity = gate.identify(visit).await?;
    seat.belongs_to(gate, identity.user.as_deref())?;
    let (version, shown) = (None, shown.to_owned());
    let caller = Caller {
        identity,
        version,
        shown,
    };
    Ok((caller, seat))
}

async fn ask<B: Buf, E>(
    gate: &Gate,
    visit: &Visit,
    caller: &Caller,
    name: &str,
    body: impl Stream<Item = Result<B, E>>,
) -> Response {
    let limits = &gate.settings.limits;
    let refused = |status, code: &str, message: &str| {
        report::call_refused("http", &caller.shown, None, code, "");
        error(status, code, message)
    };
    let key = match &caller.identity.user {
        Some(user) => format!("user {user}"),
        None => format!("address {}", caller.shown),
    };
    let rate = limits.messages_per_second;
    if !gate.allowances.take(&key, rate, limits.connections) {
        let message = format!("at most {rate} calls a second");
        return refused(429, "rate-limited", &message);
    }
    let read = read_body(body, limits.message_bytes);
    let Ok(read) = tokio::time::timeout(gate.settings.http.header_timeout, read).await else {
        return refused(408, "request-timeout", "the body did not come in time");
    };
    let args = match read {
        Ok(args) => args,
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
    let args = match std::str::from_utf8(&args) {
        Ok("") => "{}",
        // What a form of another site could send is not it.
        _ if !is_json => {
            return refused(415, "unsupported-media-type", "send application/json");
        }
        Ok(args) => args,
        Err(_) => return refused(400, "bad-arguments", "the body is not UTF-8"),
    };
    match gate.call("http", caller, name, args).await {
        Ok(Called { data, bookmark }) => {
            let text = format!(r#"{{"data":{data},"bookmark":"{bookmark}"}}"#);
            warp::reply::with_header(text, "content-type", "application/json").into_response()
        }
        Err(CallRefusal::Overloaded) => {
            gate.refuse_saying(Refusal::Overloaded, &CallRefusal::Overloaded.to_string())
        }
        Err(refusal) => {
            let (status, code) = refusal.row();
            error(status, code, &refusal.to_string())
        }
    }
}

async fn read_body<B: Buf, E>(
    body: impl Stream<Item = Result<B, E>>,
    most: usize,
) -> Result<Bytes, Refusal> {
    let mut body = std::pin::pin!(body);
    let mut read = Vec::new();
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| Refusal::Gone)?;
        if read.len() + piece.remaining() > most {
            return Err(Refusal::TooBig);
        }
        while piece.has_remaining() {
            let chunk = piece.chunk();
            read.extend_from_slice(chunk);
            let taken = chunk.len();
            piece.advance(taken);
        }
    }
    Ok(read.into())
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let error = json!({ "error": { "code": code, "message": message } });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    warp::reply::with_status(warp::reply::json(&error), status).into_response()
}

//! Calls: what a caller may ask of the functions in `rowcast.callable`, the one table of what can go
//! wrong, and `POST /call/NAME`.
//! Hands questions down to SQL, and answers to the transports. It must never tell a caller more than
//! a function said on purpose, nor a log what a caller sent.

use super::post::{Body, Post, Refused};
use super::visit::Visit;
use super::{Gate, Refusal, answer};
use crate::database::{CallQuestion, Called, Failed};
use crate::dialect::Meaning;
use crate::hub::Identity;
use crate::report::{self, Repeated};
use crate::token::TokenError;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
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
    #[error("the token was refused: {}", .0.word())]
    Token(TokenError),
    #[error("too many calls: wait for the answers of others first")]
    TooMany,
    #[error("the service can't take this call now: try again")]
    Overloaded,
}

impl CallRefusal {
    /// One of each: a new one is put here too, or else no specification is asked for its row.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Arguments(String::new()),
        Self::Timeout,
        Self::TooLarge,
        Self::Failed(None),
        Self::Token(TokenError::Revoked),
        Self::TooMany,
        Self::Overloaded,
    ];

    /// HTTP status and word.
    #[must_use]
    pub fn row(&self) -> (u16, &'static str) {
        match self {
            Self::Unknown => (404, "no-such-function"),
            Self::Arguments(_) => (400, "bad-arguments"),
            Self::Timeout => (504, "call-timeout"),
            Self::TooLarge => (413, "too-large"),
            Self::Failed(_) => (422, "call-failed"),
            Self::Token(_) => (401, "unauthorized"),
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
    /// What was refused to them before, where not each is told of.
    pub refusals: Option<Arc<Repeated>>,
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
        let question = CallQuestion {
            name,
            args,
            claims: &caller.identity.claims,
            user: caller.identity.user.as_deref(),
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
            Failed::Unknown(_)
                | Failed::Revoked
                | Failed::Claims
                | Failed::Numbers
                | Failed::Full
                | Failed::Database(_)
        );
        report::call_refused(
            caller.refusals.as_deref(),
            transport,
            &caller.shown,
            listed.then_some(name),
            refusal.row().1,
            &detail(&failed),
        );
        match &failed {
            Failed::Database(error) => report::database_failed("call", error),
            Failed::Rule(why) => report::rule_says_no("call", why),
            _ => {}
        }
        Err(refusal)
    }
}

fn refusal(failed: &Failed) -> CallRefusal {
    match failed {
        Failed::Unknown(_) | Failed::Rule(_) => CallRefusal::Unknown,
        Failed::Revoked => CallRefusal::Token(TokenError::Revoked),
        Failed::Claims => CallRefusal::Token(TokenError::Malformed),
        Failed::Arguments(problem) => CallRefusal::Arguments(problem.clone()),
        Failed::Numbers => {
            let problem = "the exponent of a number is larger than a double's, 308";
            CallRefusal::Arguments(problem.to_owned())
        }
        Failed::Timeout => CallRefusal::Timeout,
        Failed::TooLarge => CallRefusal::TooLarge,
        Failed::Raised { message, .. } => CallRefusal::Failed(message.clone()),
        Failed::Collided | Failed::Full | Failed::Database(_) => CallRefusal::Overloaded,
    }
}

/// For operators; never what the caller sent, nor a message of the function's.
fn detail(failed: &Failed) -> String {
    match failed {
        Failed::Unknown(why) | Failed::Rule(why) => why.clone(),
        Failed::Raised {
            sqlstate, place, ..
        } => format!("SQLSTATE {sqlstate}: {place}"),
        Failed::Collided => "collided with other writers at every attempt".to_owned(),
        Failed::Full => "as many calls run and wait as may, of all or of this user".to_owned(),
        _ => String::new(),
    }
}

/// Says once, as soon as the database is there, which calls of the dialects can't be.
pub async fn check_dialects(gate: Arc<Gate>) {
    let messages = gate.dialects.iter().flat_map(|file| file.messages.iter());
    let called: BTreeSet<&str> = messages
        .filter_map(|message| match &message.meaning {
            Meaning::Call { function, .. } => Some(function.as_str()),
            _ => None,
        })
        .collect();
    let called: Vec<&str> = called.into_iter().collect();
    let mut standpoint = gate.hub.standpoint();
    if called.is_empty() || standpoint.wait_for(Option::is_some).await.is_err() {
        return;
    }
    match gate.database.not_callable(&called).await {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => report::not_callable(&missing),
        Err(error) => report::database_failed("calls of dialects", &error),
    }
}

/// Answers `POST /call/NAME`.
pub async fn serve(gate: Arc<Gate>, visit: Visit, name: String, body: Body) -> Response {
    let asked = async |post: Post| ask(&gate, &post, &name).await;
    Post::serve(&gate, &visit, body, asked, |refused, shown| {
        let code = refused.code();
        match refused {
            Refused::Entry(_) => report::refused("http", code, &refused.message(), shown),
            Refused::Content(..) => report::post_refused(shown, code),
        }
    })
    .await
}

async fn ask(gate: &Gate, post: &Post, name: &str) -> Response {
    let caller = Caller {
        identity: post.identity.clone(),
        version: None,
        shown: post.shown.clone(),
        refusals: None,
    };
    let args = if post.text.is_empty() {
        "{}"
    } else {
        &post.text
    };
    match gate.call("http", &caller, name, args).await {
        Ok(Called { data, bookmark }) => {
            let text = format!(r#"{{"data":{data},"bookmark":"{bookmark}"}}"#);
            warp::reply::with_header(text, "content-type", "application/json").into_response()
        }
        Err(CallRefusal::Overloaded) => {
            gate.refuse_saying(Refusal::Overloaded, &CallRefusal::Overloaded.to_string())
        }
        Err(refusal) => {
            let (status, code) = refusal.row();
            answer::error(status, code, &refusal.to_string())
        }
    }
}

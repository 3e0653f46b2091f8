//! What all transports share: the gate they are admitted through, and how it refuses.
//! Hands over to the transports in this folder. It must never fall back to another identity than
//! the one a request proved.

pub(crate) mod admission;
pub(crate) mod allowance;
pub(crate) mod answer;
pub(crate) mod arrivals;
pub mod call;
pub(crate) mod conversation;
pub(crate) mod cors;
pub(crate) mod cut;
pub(crate) mod door;
pub(crate) mod handshake;
pub(crate) mod ledger;
pub(crate) mod outlet;
pub(crate) mod payload;
pub(crate) mod peer;
pub(crate) mod poll;
pub(crate) mod post;
pub(crate) mod presence;
pub(crate) mod questions;
pub mod reader;
pub(crate) mod recheck;
pub(crate) mod refusal;
pub(crate) mod replays;
pub(crate) mod seam;
pub(crate) mod seats;
pub(crate) mod sessions;
pub(crate) mod socket;
pub(crate) mod socketio;
pub(crate) mod speech;
pub(crate) mod sse;
pub(crate) mod takeover;
pub(crate) mod visit;
pub(crate) mod websocket;
pub(crate) mod whose;
pub(crate) mod writer;

use crate::clock;
use crate::config::Settings;
use crate::database::Database;
use crate::dialect::Dialect;
use crate::hub::Hub;
use crate::listener::Pulse;
use crate::token::Verifier;
pub use refusal::Refusal;
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

impl Gate {
    /// How long to wait before coming back: random, so that those who were cut together do not
    /// return together, nor faster than they can be let in.
    #[must_use]
    pub fn wait(&self, refusal: Refusal) -> Duration {
        let spread = self.settings.http.spread;
        let spread = match refusal {
            Refusal::Crowded(turn) => return turn,
            // Nothing is wrong on our side.
            Refusal::Lagged | Refusal::ReaderBegun => Duration::ZERO,
            // All of them together.
            Refusal::Restart | Refusal::Gap => spread.max(self.arrivals.spread()),
            _ => spread,
        };
        let wait = spread.mul_f64(rand::random_range(0.1..=1.0));
        match refusal {
            // However many ask whether they may come in by now.
            Refusal::Overloaded
            | Refusal::DatabaseAway
            | Refusal::RuleFailed
            | Refusal::EndsEarlier => wait.max(self.arrivals.turn(Instant::now())),
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
            error["retryMs"] = clock::millis(wait).into();
        }
        let mut answer = answer::error_of(status, &error);
        if let Some(wait) = wait {
            // Whole seconds, none too early; many take 0 for "at once, and again".
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let seconds = HeaderValue::from(seconds.max(1));
            answer.headers_mut().insert("retry-after", seconds);
        }
        answer
    }
}

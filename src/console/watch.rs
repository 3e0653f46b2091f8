//! The stream of a watching page: the history at first, then a frame each second.
//! Hands one and the same frame to everybody who watches. It must never make one for each of them.

use super::Console;
use super::entry::Open;
use crate::connection::cut::Cut;
use crate::connection::sse::stream_response;
use crate::connection::visit::Visit;
use crate::connection::{Refusal, answer};
use crate::event::sse_frame;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use sync_wrapper::SyncStream;
use tokio::sync::watch;
use warp::reply::{Reply, Response};

struct Watching {
    open: Open,
    shown: watch::Receiver<Bytes>,
    first: Option<Bytes>,
    over: bool,
}

/// One server-sent event of the console.
pub(super) fn frame(name: &str, data: &Value) -> Bytes {
    sse_frame(Some(name), None, &data.to_string()).into()
}

/// The last frame of a stream: the page is to say why.
pub(super) fn end(why: Refusal) -> Bytes {
    frame(
        "end",
        &json!({ "code": why.word(), "message": why.to_string() }),
    )
}

impl Console {
    /// Answers `GET /console/watch`.
    pub async fn watch(self: Arc<Self>, visit: Visit, cut: Cut) -> Response {
        let open = match self.enter(&visit, cut, &self.watchers).await {
            Ok(open) => open,
            Err(why) => return self.refuse(&visit, &why),
        };
        let mut shown = self.shown.subscribe();
        // What was shown to others may be old.
        shown.mark_unchanged();
        let mut history = self.history.lock().shown();
        history["node"] = self.node();
        history["expiresAt"] = open.expires_at.into();
        let watching = Watching {
            open,
            shown,
            first: Some(frame("history", &history)),
            over: false,
        };
        let body = SyncStream::new(stream::unfold(watching, Watching::next));
        stream_response(warp::reply::stream(body))
    }

    /// Answers `GET /console/connections?find=WORD`.
    pub async fn connections(self: Arc<Self>, visit: Visit) -> Response {
        if let Err(why) = self.identify(&visit).await {
            return self.refuse(&visit, &why);
        }
        let word = visit.parameter("find").unwrap_or_default();
        let found = self.surveyor.lock().find(&self.gate, word.trim());
        answer::no_store(warp::reply::json(&found).into_response())
    }
}

impl Watching {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.over {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some((Ok(first), self));
        }
        let why = loop {
            tokio::select! {
                // Nothing is queued for it: it only ends.
                taken = self.open.take() => if let Err(why) = taken { break why },
                changed = self.shown.changed() => match changed {
                    Ok(()) => {
                        let frame = self.shown.borrow_and_update().clone();
                        return Some((Ok(frame), self));
                    }
                    Err(_) => break Refusal::Restart,
                },
            }
        };
        self.over = true;
        Some((Ok(end(why)), self))
    }
}

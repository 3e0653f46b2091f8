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
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use sync_wrapper::SyncStream;
use tokio::sync::watch;
use warp::reply::{Reply, Response};

struct Watching {
    open: Open,
    shown: watch::Receiver<Bytes>,
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

/// Answers with a stream of frames: this one, then what `next` makes of the state, until it hands none
/// back.
pub(super) fn streamed<S, F>(
    first: Bytes,
    state: S,
    next: impl Fn(S) -> F + Send + 'static,
) -> Response
where
    S: Send + 'static,
    F: Future<Output = (Bytes, Option<S>)> + Send + 'static,
{
    let rest = stream::unfold(Some(state), move |state| {
        let next = state.map(&next);
        async move { Some(next?.await) }
    });
    let frames = stream::once(ready(first)).chain(rest);
    let body = SyncStream::new(frames.map(Ok::<_, Infallible>));
    stream_response(warp::reply::stream(body))
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
        let history = frame("history", &history);
        streamed(history, Watching { open, shown }, Watching::next)
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
    /// The next frame that is shown, or the last of the stream.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        let why = loop {
            tokio::select! {
                // Nothing is queued for it: it only ends.
                taken = self.open.take() => if let Err(why) = taken { break why },
                changed = self.shown.changed() => match changed {
                    Ok(()) => {
                        let frame = self.shown.borrow_and_update().clone();
                        return (frame, Some(self));
                    }
                    Err(_) => break Refusal::Restart,
                },
            }
        };
        (end(why), None)
    }
}

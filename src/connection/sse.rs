//! `/sse`: one response that does not end, events as `docs/protocol.md` has them.
//! Takes the stream over from HTTP behind the response's head, and writes what the hub queued.
//! It must never answer a temporary refusal with a status: an EventSource would not come back.

use super::conversation::Conversation;
use super::outlet::SocketOutlet;
use super::presence::Presence;
use super::socket::Socket;
use super::speech::stream::{self, control};
use super::speech::{Speech, Told};
use super::takeover::{Head, Takeover};
use super::visit::Visit;
use super::writer::Writer;
use super::{Gate, Refusal};
use crate::frame::Frame;
use crate::report::Transport;
use bytes::Bytes;
use std::sync::Arc;
use tokio::time::Instant;
use warp::http::HeaderValue;
use warp::reply::{Reply, Response};

/// Answers `GET /sse`.
pub async fn serve(gate: Arc<Gate>, visit: Visit) -> Response {
    match gate.enter_and_join(Transport::Sse, &visit).await {
        Ok(presence) => Takeover::of(stream_response(""), |socket, head| {
            run(presence, socket, head)
        }),
        // What ends on the way in is told as it would have been a moment later.
        Err(refusal)
            if refusal.is_temporary() || matches!(refusal, Refusal::Expired | Refusal::Revoked) =>
        {
            stream_response(last_words(&gate, refusal))
        }
        Err(refusal) => gate.refuse(refusal),
    }
}

/// A response that goes on, and that nothing on the way may keep or buffer.
#[must_use]
pub fn stream_response(body: impl Reply) -> Response {
    let mut response = body.into_response();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The end of a stream whose reader is to come back.
fn last_words(gate: &Gate, refusal: Refusal) -> String {
    // Nothing is wrong on our side, or a final refusal follows: the next attempt may come at once.
    let wait = if refusal == Refusal::Lagged || refusal.ends_access() {
        gate.settings.sse.retry
    } else {
        gate.wait(refusal)
    };
    let error = Told::error(refusal.word(), &refusal.to_string(), None).json();
    stream::retry(wait) + &control(None, &error.unwrap_or_default())
}

async fn run(mut presence: Presence, socket: Arc<Socket>, head: Head) {
    let settings = &presence.gate.settings;
    let speech = presence.gate.streams.of(&head);
    let spoken: Arc<dyn Speech> = Arc::<stream::Stream>::clone(&speech);
    socket.feed(Frame::raw(head.bytes), None);
    // The head leaves before anything is read for this reader: whoever is cut meanwhile loses what it
    // has not taken, and is told why behind a head all the same.
    let opened = socket.flush(settings.limits.write_stall).await;
    presence.subscription.wake();
    let conversation = Conversation::begin(&presence, Arc::clone(&spoken));
    let outlet = SocketOutlet::new(&socket, spoken, settings, settings.sse.heartbeat, None);
    let mut writer = Writer::new(&conversation, outlet);
    let why = match opened {
        Err(why) => why,
        Ok(()) => tokio::select! {
            why = writer.write() => why,
            () = socket.drain() => Refusal::Gone,
            // It can't be asked for a sign of life.
            why = conversation.ended(|| None) => why,
        },
    };
    drop(writer);
    drop(conversation);
    presence.why = why.word();
    if why.ends_access() {
        // What it has not taken by now is nothing that it may still have.
        socket.forget();
    }
    socket.feed(speech.frame(last_words(&presence.gate, why)), None);
    if speech.chunked {
        socket.feed(Frame::raw(Bytes::from_static(b"0\r\n\r\n")), None);
    }
    let finished = socket.finish(Instant::now() + why.grace()).await;
    if !finished && why.ends_access() {
        socket.forget_unsent();
    }
}

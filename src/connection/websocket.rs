//! A WebSocket from the upgrade to the close: `/ws`, and the doors of dialects.
//! Hands the client's words to the conversation, and writes what the hub queued.
//! It must never wait for its own send in the place that watches over it: lag, expiry and death are
//! seen beside the write path.

mod read;

use super::conversation::Conversation;
use super::presence::Presence;
use super::socket::Socket;
use super::socket::decode::{Decoder, Message};
use super::socket::outlet::Outlet;
use super::speech;
use super::visit::Visit;
use super::writer::Writer;
use super::{Gate, Refusal, unix_now};
use crate::frame::{Kind, encode};
use crate::stream::Stream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Bytes of a close frame's reason: what a control frame may carry, without the code.
const REASON: usize = 123;

/// Serves a socket that has just been upgraded; `rest` is what was read behind the request.
pub async fn serve(gate: Arc<Gate>, stream: Arc<Stream>, rest: bytes::Bytes, visit: Visit) {
    let socket = Arc::new(Socket::new(stream, speech::of(&visit)));
    let mut decoder = Decoder::new(gate.settings.limits.message_bytes);
    decoder.push(&rest);
    drop(rest);
    // On the heap until it is in: who stays needs none of it, nor what the request brought.
    let why = match Box::pin(enter(Arc::clone(&gate), visit)).await {
        Ok(mut presence) => {
            let why = run(&socket, &mut decoder, &presence).await;
            presence.why = why.word();
            why
        }
        Err(refusal) => refusal,
    };
    Box::pin(close(&gate, &socket, &mut decoder, why)).await;
}

async fn enter(gate: Arc<Gate>, visit: Visit) -> Result<Presence, Refusal> {
    let mut presence = gate.enter("websocket", &visit).await?;
    if let Err(refusal) = presence.join(&visit).await {
        presence.why = refusal.word();
        return Err(refusal);
    }
    Ok(presence)
}

async fn run(socket: &Arc<Socket>, decoder: &mut Decoder, presence: &Presence) -> Refusal {
    let settings = &presence.gate.settings;
    let conversation = Conversation::begin("websocket", presence, Arc::clone(socket.speech()));
    let seen = AtomicU64::new(unix_now());
    let websocket = &settings.websocket;
    let outlet = Outlet::new(socket, settings, websocket.heartbeat, Some(websocket.ping));
    let writer = Writer::new(&conversation, presence, outlet);
    tokio::select! {
        why = writer.write() => why,
        why = read::read(&conversation, socket, decoder, &seen) => why,
        ended = presence.subscription.ended() => ended.into(),
        () = conversation.expired() => Refusal::Expired,
        () = watch_pongs(&presence.gate, &seen) => Refusal::NoPong,
    }
}

/// Says why, and waits until the other side has answered: the socket would be reset under its last
/// frames.
async fn close(gate: &Gate, socket: &Socket, decoder: &mut Decoder, why: Refusal) {
    let wait = i64::try_from(gate.wait(why).as_millis()).unwrap_or(i64::MAX);
    let (code, reason) = match decoder.closed() {
        // Its own word is answered with the same.
        Some(code) => (code, String::new()),
        None => socket.speech().close(why, wait),
    };
    let mut frame = code.to_be_bytes().to_vec();
    frame.extend(reason.as_bytes());
    frame.truncate(2 + reason.floor_char_boundary(REASON));
    if why.ends_access() {
        // What it has not taken by now is nothing that it may still have.
        socket.forget();
    }
    socket.feed(encode(Kind::Close, &frame), None);
    let end = Instant::now() + why.grace();
    let mut answered = socket.finish(end).await;
    if answered && why != Refusal::Gone {
        let answer = async {
            while let Ok(message) = socket.next(decoder).await {
                if matches!(message, Message::Close(_)) {
                    break;
                }
            }
        };
        answered = timeout_at(end, answer).await.is_ok();
    }
    if !answered && why.ends_access() {
        socket.forget_unsent();
    }
}

/// Ends when nothing was heard for the time of a ping and its pong.
async fn watch_pongs(gate: &Gate, seen: &AtomicU64) {
    let settings = &gate.settings.websocket;
    let patience = (settings.ping + settings.pong_timeout).as_secs().max(1);
    loop {
        let silent = unix_now().saturating_sub(seen.load(Ordering::Relaxed));
        if silent > patience {
            return;
        }
        tokio::time::sleep(Duration::from_secs(patience - silent + 1)).await;
    }
}

//! A WebSocket from the upgrade to the close: `/ws`, and the doors of dialects.
//! Hands the client's words to the conversation, and writes what the hub queued.
//! It must never wait for its own send in the place that watches over it: lag, expiry and death are
//! seen beside the write path.

mod outlet;
mod read;

use super::conversation::Conversation;
use super::presence::Presence;
use super::speech::{self, Speech};
use super::visit::Visit;
use super::writer::Writer;
use super::{Gate, Refusal, unix_now};
use crate::stream::Stream;
use futures_util::StreamExt;
use outlet::Outlet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout_at;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

/// Read buffer of a socket: clients send little. The library's default is 128 KiB for each.
const READ_BUFFER: usize = 1024;

/// What is collected before a system call; frames of a burst share one.
const WRITE_BUFFER: usize = 16 * 1024;

/// The bound of what waits for a socket that takes nothing: what was collected, and one event, which
/// the log bounds to 1 MiB of payload and 64 KiB of rooms, or one answer to a call.
const MAX_WRITE_BUFFER: usize = 2 * 1024 * 1024;

type Socket = WebSocketStream<Stream>;

/// Serves a socket that has just been upgraded; `rest` is what was read behind the request.
pub async fn serve(gate: Arc<Gate>, stream: Stream, rest: bytes::Bytes, visit: Visit) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(gate.settings.limits.message_bytes))
        .max_write_buffer_size(MAX_WRITE_BUFFER + gate.settings.calls.result_bytes)
        .max_frame_size(Some(gate.settings.limits.message_bytes));
    let mut socket =
        Socket::from_partially_read(stream, rest.into(), Role::Server, Some(config)).await;
    let speech = speech::of(&visit);
    let why = match gate.enter("websocket", &visit).await {
        Ok(mut presence) => {
            let why = run(&mut socket, &mut presence, &visit, &speech).await;
            presence.why = why.word();
            why
        }
        Err(refusal) => refusal,
    };
    let wait = i64::try_from(gate.wait(why).as_millis()).unwrap_or(i64::MAX);
    let (code, reason) = speech.close(why, wait);
    close(&mut socket, why, code, reason).await;
}

async fn close(socket: &mut Socket, why: Refusal, code: u16, reason: String) {
    let frame = CloseFrame {
        code: code.into(),
        reason: reason.into(),
    };
    let end = tokio::time::Instant::now() + why.grace();
    let said = timeout_at(end, socket.close(Some(frame))).await;
    let mut answered = false;
    if let Ok(Ok(())) = said {
        // Until the other side has answered, or the socket would be reset under its last frames.
        let answer = async { while let Some(Ok(_)) = socket.next().await {} };
        answered = timeout_at(end, answer).await.is_ok();
    }
    if !answered && why.ends_access() {
        // What it has not taken by now is nothing that it may still have.
        socket.get_ref().forget_unsent();
    }
}

async fn run(
    socket: &mut Socket,
    presence: &mut Presence,
    visit: &Visit,
    speech: &Arc<dyn Speech>,
) -> Refusal {
    if let Err(refusal) = presence.join(visit).await {
        return refusal;
    }
    let conversation = Conversation::begin("websocket", presence, Arc::clone(speech));
    let seen = AtomicU64::new(unix_now());
    let (mut sink, mut stream) = socket.split();
    let outlet = Outlet::new(&conversation, &mut sink);
    let writer = Writer::new(&conversation, presence, outlet);
    tokio::select! {
        why = writer.write() => why,
        why = read::read(&conversation, &mut stream, &seen) => why,
        ended = presence.subscription.ended() => ended.into(),
        () = conversation.expired() => Refusal::Expired,
        () = watch_pongs(&presence.gate, &seen) => Refusal::NoPong,
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

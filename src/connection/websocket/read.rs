//! The client's words: frames read, bounded in size and rate.
//! Hands what they say to the conversation. It must never wait for what is written.

use crate::connection::Refusal;
use crate::connection::allowance::{self, Allowance};
use crate::connection::conversation::Conversation;
use crate::connection::socket::Socket;
use crate::connection::socket::decode::{Decoder, Message};
use crate::frame::{Frame, Opcode};
use parking_lot::Mutex;
use std::time::Instant;

/// Reads to the end, and says when something was heard last.
pub(super) async fn read(
    conversation: &Conversation<'_>,
    socket: &Socket,
    decoder: &mut Decoder,
    seen: &Mutex<tokio::time::Instant>,
) -> Refusal {
    let limits = &conversation.presence.gate.settings.limits;
    let mut allowance = Allowance::of_messages(limits);
    loop {
        let message = match socket.next(decoder).await {
            Ok(message) => message,
            Err(refusal) => return refusal,
        };
        *seen.lock() = tokio::time::Instant::now();
        match message {
            Message::Close(_) => return Refusal::Gone,
            Message::Pong => {}
            Message::Ping(payload) => {
                let pong = Frame::control(Opcode::Pong, &payload);
                if let Err(why) = socket.answer(pong, limits.queue_bytes) {
                    return why;
                }
                conversation.presence.subscription.wake();
            }
            message if !allowance.take(Instant::now()) => {
                let text = match &message {
                    Message::Text(text) => text,
                    _ => "",
                };
                let tag = conversation.speech.tag(text);
                conversation.error(tag, "rate-limited", &allowance::exceeded(limits), None);
            }
            Message::Binary => {
                conversation.error(None, "bad-message", "frames are text, not binary", None);
            }
            // On the heap while it is answered: who says nothing needs no room for it.
            Message::Text(text) => Box::pin(conversation.hear(&text)).await,
        }
    }
}

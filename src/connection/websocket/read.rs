//! The client's words: frames read, bounded in size and rate.
//! Hands what they say to the conversation. It must never wait for what is written.

use super::Socket;
use crate::connection::allowance::Allowance;
use crate::connection::conversation::Conversation;
use crate::connection::{Refusal, unix_now};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Reads to the end, and says when something was heard last.
pub(super) async fn read(
    conversation: &Conversation<'_>,
    stream: &mut SplitStream<&mut Socket>,
    seen: &AtomicU64,
) -> Refusal {
    let rate = conversation.gate.settings.limits.messages_per_second;
    let mut allowance = Allowance::new(rate, rate * 2, Instant::now());
    while let Some(message) = stream.next().await {
        seen.store(unix_now(), Ordering::Relaxed);
        let message = match message {
            Ok(message) => message,
            Err(Error::Capacity(_)) => return Refusal::TooBig,
            // Vanished without a close frame, as pages do.
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return Refusal::Gone;
            }
            Err(Error::Protocol(_) | Error::Utf8(_)) => return Refusal::Protocol,
            Err(_) => return Refusal::Gone,
        };
        match message {
            Message::Close(_) => return Refusal::Gone,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            message if !allowance.take(Instant::now()) => {
                let tag = message.to_text().ok();
                let tag = tag.and_then(|text| conversation.speech.tag(text));
                let most = format!("at most {rate} messages a second");
                conversation.error(tag, "rate-limited", &most, None);
            }
            Message::Binary(_) => {
                conversation.error(None, "bad-message", "frames are text, not binary", None);
            }
            Message::Text(text) => conversation.hear(&text).await,
        }
    }
    Refusal::Gone
}

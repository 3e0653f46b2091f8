//! A WebSocket from the upgrade to the close: `/ws`, and the doors of dialects.
//! Hands the client's words to the conversation, and writes what the hub queued.
//! It must never wait for its own send in the place that watches over it: lag, expiry and death are
//! seen beside the write path.

mod read;

use super::conversation::Conversation;
use super::outlet::SocketOutlet;
use super::presence::Presence;
use super::socket::Socket;
use super::socket::decode::Decoder;
use super::speech::{self, Speech};
use super::visit::Visit;
use super::writer::Writer;
use super::{Gate, Refusal};
use crate::report::Transport;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::time::Instant;

/// Bytes of a close frame's reason: what a control frame may carry, without the code.
const REASON: usize = 123;

/// A socket that has just been upgraded.
pub struct Upgraded {
    gate: Arc<Gate>,
    socket: Arc<Socket>,
    speech: Arc<dyn Speech>,
    decoder: Decoder,
}

impl Upgraded {
    /// `rest` is what was read behind the request.
    #[must_use]
    pub fn new(gate: Arc<Gate>, socket: Arc<Socket>, rest: &[u8], visit: &Visit) -> Self {
        let mut decoder = Decoder::new(gate.settings.limits.message_bytes);
        decoder.push(rest);
        Self {
            gate,
            socket,
            speech: speech::of(visit),
            decoder,
        }
    }

    /// Serves it to its end. What the request brought is dropped as soon as it is in.
    pub async fn serve(mut self, visit: Box<Visit>) {
        // On the heap, both, for as long as they last: who stays needs no room for them.
        let why = match Box::pin(self.enter(visit)).await {
            Ok(mut presence) => {
                let why = self.talk(&presence).await;
                presence.why = why.word();
                why
            }
            Err(refusal) => refusal,
        };
        Box::pin(self.close(why)).await;
    }

    async fn enter(&self, visit: Box<Visit>) -> Result<Box<Presence>, Refusal> {
        let entered = self.gate.enter_and_join(Transport::WebSocket, &visit);
        entered.await.map(Box::new)
    }

    async fn talk(&mut self, presence: &Presence) -> Refusal {
        let (socket, settings) = (&self.socket, &presence.gate.settings);
        let conversation = Conversation::begin(presence, Arc::clone(&self.speech));
        let seen = Mutex::new(Instant::now());
        let websocket = &settings.websocket;
        let (heartbeat, ping) = (websocket.heartbeat, Some(websocket.ping));
        let outlet = SocketOutlet::new(socket, Arc::clone(&self.speech), settings, heartbeat, ping);
        let mut writer = Writer::new(&conversation, outlet);
        let patience = websocket.ping + websocket.pong_timeout;
        let silent = || Some(*seen.lock() + patience);
        tokio::select! {
            why = writer.write() => why,
            why = read::read(&conversation, socket, &mut self.decoder, &seen) => why,
            why = conversation.ended(silent) => why,
        }
    }

    /// Says why, and closes.
    async fn close(&mut self, why: Refusal) {
        let wait = i64::try_from(self.gate.wait(why).as_millis()).unwrap_or(i64::MAX);
        let (code, reason) = match self.decoder.closed() {
            // Its own word is answered with the same.
            Some(code) => (code, String::new()),
            None => self.speech.close(why, wait),
        };
        let payload = payload(code, &reason);
        self.socket.close(&mut self.decoder, &payload, why).await;
    }
}

/// A close frame's: the code, and as much of the reason as fits.
fn payload(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(REASON)];
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_its_frame() {
        for (reason, length) in [("", 0), ("again", 5), (&"é".repeat(100), 122)] {
            let payload = payload(1012, reason);
            assert_eq!(payload[..2], 1012_u16.to_be_bytes());
            let told = std::str::from_utf8(&payload[2..]).unwrap();
            assert!(reason.starts_with(told) && told.len() == length, "{told}");
        }
    }
}

//! A connection that a WebSocket carries, from its beginning, or instead of requests.
//! Hands packets in to the connection, and writes what it feeds.
//! It must never take a connection over before its client has said so.

use super::engine::Engine;
use super::hearing;
use super::packet::{PROBE, PROBED, UPGRADE};
use crate::connection::Refusal;
use crate::connection::socket::Socket;
use crate::connection::socket::decode::{Decoder, Message};
use crate::frame::{Frame, Opcode};
use std::sync::Arc;
use tokio::time::timeout;

/// Carries a connection to its end.
pub(super) async fn carry(engine: Arc<Engine>, socket: Arc<Socket>, mut decoder: Decoder) {
    let why = tokio::select! {
        why = engine.pace() => why,
        why = read(&engine, &socket, &mut decoder) => why,
        why = write(&engine, &socket) => why,
        why = engine.over() => why,
    };
    engine.end(why);
    let why = engine.ended().unwrap_or(why);
    // Its own code is answered with the same.
    let code = decoder.closed().map(u16::to_be_bytes);
    let code = code.as_ref().map_or(&[][..], |code| code);
    Box::pin(socket.close(&mut decoder, code, why)).await;
    engine.close();
}

/// A WebSocket that is tried beside requests, one at a time.
pub(super) struct Trial(Arc<Engine>);

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.change(|inside| {
            if let Some(waiting) = inside.requests() {
                (waiting.tried, waiting.probed) = (false, false);
            }
        });
    }
}

impl Trial {
    /// Nothing, if one is being tried, or carries the connection.
    pub fn begin(engine: Arc<Engine>) -> Option<Self> {
        let tried = engine.change(|inside| {
            let waiting = inside.requests()?;
            Some(std::mem::replace(&mut waiting.tried, true))
        });
        (tried == Some(false)).then(|| Self(engine))
    }

    /// Goes over to it when the client says so, and carries the connection to its end.
    pub async fn run(self, socket: Arc<Socket>, mut decoder: Decoder) {
        let engine = Arc::clone(&self.0);
        let patience = engine.host.gate.settings.socketio.upgrade;
        let probed = timeout(patience, probe(&engine, &socket, &mut decoder)).await;
        if matches!(probed, Ok(Ok(()))) {
            engine.go_over(&socket);
            drop(self);
            return carry(engine, socket, decoder).await;
        }
        drop((self, socket));
        // What stands between has torn it. Whoever goes on by requests is heard of soon.
        let before = engine.change(|inside| inside.requests().map(|waiting| waiting.asks));
        let asks = engine.when(|inside| {
            let waiting = inside.requests()?;
            (waiting.asked || Some(waiting.asks) > before).then_some(())
        });
        if timeout(Refusal::Gone.grace(), asks).await.is_err() {
            engine.end(Refusal::Gone);
        }
    }
}

async fn probe(engine: &Engine, socket: &Socket, decoder: &mut Decoder) -> Result<(), Refusal> {
    expect(socket, decoder, PROBE).await?;
    socket.feed(Frame::websocket(PROBED), None);
    socket
        .flush(engine.host.gate.settings.limits.write_stall)
        .await?;
    // The client waits for its last request to be answered.
    engine.change(|inside| inside.requests().map(|waiting| waiting.probed = true));
    expect(socket, decoder, UPGRADE).await
}

async fn expect(socket: &Socket, decoder: &mut Decoder, word: &str) -> Result<(), Refusal> {
    match socket.next(decoder).await? {
        Message::Text(text) if text == word => Ok(()),
        _ => Err(Refusal::Protocol),
    }
}

async fn read(engine: &Arc<Engine>, socket: &Socket, decoder: &mut Decoder) -> Refusal {
    loop {
        let heard = match socket.next(decoder).await {
            Ok(Message::Text(text)) => hearing::hear(engine, &text),
            Ok(Message::Close(_)) => Err(Refusal::Gone),
            Ok(Message::Ping(payload)) => {
                engine.say(Frame::control(Opcode::Pong, &payload));
                Ok(())
            }
            // The packet that bytes belong to has been answered.
            Ok(Message::Binary | Message::Pong) => Ok(()),
            Err(why) => Err(why),
        };
        if let Err(why) = heard {
            return why;
        }
    }
}

async fn write(engine: &Engine, socket: &Socket) -> Refusal {
    let stall = engine.host.gate.settings.limits.write_stall;
    loop {
        engine.called().await;
        if let Err(why) = socket.flush(stall).await {
            return why;
        }
        engine.has_moved();
    }
}

//! The way to a socket for the writer of its connection: frames, one flush for all that came at
//! once, and pings. Hands frames over to the socket.
//! It must never report an event before it was flushed.

use super::socket::Socket;
use super::speech::{Speech, Told};
use super::{Refusal, writer};
use crate::config::Settings;
use crate::event::Event;
use crate::frame::{Frame, Opcode};
use crate::hub::Line;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A socket, as the writer sees it.
pub struct SocketOutlet {
    socket: Arc<Socket>,
    speech: Arc<dyn Speech>,
    heartbeat: Duration,
    stall: Duration,
    /// Between two pings of a WebSocket.
    ping: Option<Duration>,
    next_ping: Option<Instant>,
}

impl SocketOutlet {
    #[must_use]
    pub fn new(
        socket: &Arc<Socket>,
        speech: Arc<dyn Speech>,
        settings: &Settings,
        heartbeat: Duration,
        ping: Option<Duration>,
    ) -> Self {
        let next_ping = ping.map(|ping| Instant::now() + ping);
        Self {
            socket: Arc::clone(socket),
            speech,
            heartbeat,
            stall: settings.limits.write_stall,
            ping,
            next_ping,
        }
    }
}

impl writer::Outlet for SocketOutlet {
    fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    fn feed(&mut self, frame: &Frame) {
        self.socket.feed(frame.clone(), None);
    }

    fn say(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal> {
        if let Some(frame) = self.speech.spell(told, tag)? {
            self.socket.feed(frame, None);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, live: bool) -> Result<(), Refusal> {
        if let Some(frame) = self.speech.spell(&Told::Event(event), None)? {
            let live = live.then_some(event.at.as_microsecond());
            self.socket.feed(frame, live);
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.next_ping
    }

    async fn flush(&mut self) -> Result<(), Refusal> {
        let now = Instant::now();
        if self.next_ping.is_some_and(|next| next <= now) {
            self.socket.feed(Frame::control(Opcode::Ping, &[]), None);
            self.next_ping = self.ping.map(|ping| now + ping);
        }
        self.socket.flush(self.stall).await
    }

    fn line(&self) -> Option<Line> {
        Some(Line {
            socket: Arc::<Socket>::clone(&self.socket),
            spelling: Arc::<dyn Speech>::clone(&self.speech),
        })
    }
}

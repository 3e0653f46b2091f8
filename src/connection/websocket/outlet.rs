//! The way to the socket: frames, one flush for all that came at once, and pings.
//! Hands frames over to the sink. It must never report an event before it was flushed.

use super::Socket;
use crate::config::Settings;
use crate::connection::Refusal;
use crate::connection::conversation::Conversation;
use crate::connection::speech::{Speech, Told};
use crate::connection::writer;
use crate::event::Event;
use crate::report;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

type Sink<'a> = SplitSink<&'a mut Socket, Message>;

/// A WebSocket, as the writer sees it.
pub(super) struct Outlet<'a, 'b> {
    sink: &'a mut Sink<'b>,
    speech: &'a dyn Speech,
    settings: &'a Settings,
    next_ping: Instant,
    /// When the live events that wait for the flush were inserted.
    live: Vec<i64>,
}

impl<'a, 'b> Outlet<'a, 'b> {
    pub fn new(conversation: &'a Conversation<'_>, sink: &'a mut Sink<'b>) -> Self {
        let settings = &conversation.gate.settings;
        Self {
            sink,
            speech: &*conversation.speech,
            settings,
            next_ping: Instant::now() + settings.websocket.ping,
            live: Vec::new(),
        }
    }

    async fn push(&mut self, frame: Message) -> Result<(), Refusal> {
        in_time(self.settings.limits.write_stall, self.sink.feed(frame)).await
    }
}

impl writer::Outlet for Outlet<'_, '_> {
    fn heartbeat(&self) -> Duration {
        self.settings.websocket.heartbeat
    }

    async fn feed(&mut self, frame: Utf8Bytes) -> Result<(), Refusal> {
        self.push(Message::Text(frame)).await
    }

    async fn say(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal> {
        match self.speech.spell(told, tag)? {
            Some(frame) => self.push(Message::Text(frame)).await,
            None => Ok(()),
        }
    }

    async fn event(&mut self, event: &Event, live: bool) -> Result<(), Refusal> {
        self.say(&Told::Event(event), None).await?;
        self.live.extend(live.then_some(event.inserted));
        Ok(())
    }

    async fn due(&self) {
        sleep_until(self.next_ping).await;
    }

    async fn flush(&mut self) -> Result<(), Refusal> {
        let now = Instant::now();
        if now >= self.next_ping {
            self.push(Message::Ping(bytes::Bytes::new())).await?;
            self.next_ping = now + self.settings.websocket.ping;
        }
        in_time(self.settings.limits.write_stall, self.sink.flush()).await?;
        report::reached_socket(&std::mem::take(&mut self.live));
        Ok(())
    }
}

/// One step towards the socket. A reader that takes nothing at all fills no queue of ours when little
/// happens, and one that is slow may take long for a whole replay.
async fn in_time(
    stall: Duration,
    step: impl Future<Output = Result<(), Error>>,
) -> Result<(), Refusal> {
    timeout(stall, step)
        .await
        .map_or(Err(Refusal::Lagged), |done| done.map_err(|_| Refusal::Gone))
}

//! The way of a namespace's packets to whatever carries the connection.
//! Hands them over to the connection. It must never pass over a gap: whose page has no word for one
//! is to come back.

use super::engine::Engine;
use super::speech::Named;
use crate::config::Settings;
use crate::connection::Refusal;
use crate::connection::seam::Gap;
use crate::connection::speech::{Speech, Told};
use crate::connection::writer;
use crate::event::Event;
use crate::frame::Frame;
use crate::hub::Line;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A namespace, as the writer sees it.
pub(super) struct NamespaceOutlet<'a> {
    engine: &'a Engine,
    speech: &'a Arc<Named>,
    heartbeat: Duration,
    stall: Duration,
    /// Whether its page said where it stood, and so knows of gaps.
    resumes: bool,
}

impl<'a> NamespaceOutlet<'a> {
    pub fn new(
        engine: &'a Engine,
        speech: &'a Arc<Named>,
        settings: &Settings,
        resumes: bool,
    ) -> Self {
        Self {
            engine,
            speech,
            heartbeat: settings.socketio.heartbeat,
            stall: settings.limits.write_stall,
            resumes,
        }
    }

    /// A gap in the dialect's own word. Without one, a page that did not say where it stood knows
    /// nothing of gaps: it is to come back, and load anew.
    fn after_gap(&self, gap: Gap<'_>) -> Result<(), Refusal> {
        match self.speech.gap(gap) {
            Some(own) => self.engine.feed(own, None),
            None if self.resumes => {}
            None => return Err(Refusal::Gap),
        }
        Ok(())
    }
}

impl writer::Outlet for NamespaceOutlet<'_> {
    fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    fn feed(&mut self, packet: &Frame) {
        self.engine.feed(packet.clone(), None);
    }

    fn say(&mut self, told: &Told<'_>, tag: Option<&Value>) -> Result<(), Refusal> {
        if let Told::Welcome(welcome) = told
            && let Some(own) = self.speech.welcome(welcome)
        {
            self.engine.feed(own, None);
        }
        if let Some(packet) = self.speech.spell(told, tag)? {
            self.engine.feed(packet, None);
        }
        let gap = match told {
            Told::Gap(gap) => Some(*gap),
            Told::Subscribed(subscribed) => subscribed.gap(),
            _ => None,
        };
        gap.map_or(Ok(()), |gap| self.after_gap(gap))
    }

    fn event(&mut self, event: &Event, live: bool) -> Result<(), Refusal> {
        if let Some(packet) = self.speech.spell(&Told::Event(event), None)? {
            self.engine
                .feed(packet, live.then_some(event.at.as_microsecond()));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Refusal> {
        self.engine.flush(self.stall).await
    }

    /// Once a WebSocket carries it.
    fn line(&self) -> Option<Line> {
        Some(Line {
            socket: self.engine.socket()?,
            spelling: Arc::<Named>::clone(self.speech),
        })
    }
}

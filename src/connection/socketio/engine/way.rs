//! What carries a connection of Engine.IO, and what waits there to leave.
//! Hands text to requests, and frames to a WebSocket. It must never say the end before all else.

use super::Inside;
use super::stamps::Stamps;
use crate::connection::Refusal;
use crate::connection::socket::Socket;
use crate::connection::socketio::packet::{CLOSE, NOTHING, SEPARATOR};
use crate::frame::Frame;
use crate::report;
use std::collections::VecDeque;
use std::sync::Arc;

/// What carries it.
pub(super) enum Carrier {
    Requests(PendingPackets),
    WebSocket(Arc<Socket>),
}

/// What waits for a request that fetches it.
#[derive(Default)]
pub(in crate::connection::socketio) struct PendingPackets {
    /// With when the event was inserted, if it is live, in Unix microseconds.
    packets: VecDeque<(Frame, Option<i64>)>,
    /// What these weigh.
    weight: usize,
    /// What answers weigh that the client has caused since the queue was last empty.
    answers: usize,
    /// A request is being answered.
    pub asked: bool,
    /// Requests that asked for packets until now.
    pub asks: usize,
    /// Of the requests that were answered with packets, and of those that brought some.
    pub answered: Stamps,
    pub brought: Stamps,
    /// A WebSocket is tried beside.
    pub tried: bool,
    /// A WebSocket is about to carry it: no request is kept waiting.
    pub probed: bool,
}

impl PendingPackets {
    pub(super) fn push(&mut self, frame: Frame, live: Option<i64>) {
        self.weight += frame.weight();
        self.packets.push_back((frame, live));
    }

    /// See [`Socket::answer`].
    pub(super) fn answer(&mut self, frame: Frame, most: usize) -> Result<(), Refusal> {
        self.answers += frame.weight();
        if self.answers > most {
            return Err(Refusal::Lagged);
        }
        self.push(frame, None);
        Ok(())
    }

    fn pop(&mut self) {
        if let Some((frame, _)) = self.packets.pop_front() {
            self.weight -= frame.weight();
        }
    }

    /// Takes all of it.
    pub(super) fn take(&mut self) -> VecDeque<(Frame, Option<i64>)> {
        (self.weight, self.answers) = (0, 0);
        std::mem::take(&mut self.packets)
    }
}

impl Inside {
    /// Requests, if they carry it.
    pub fn requests(&mut self) -> Option<&mut PendingPackets> {
        match &mut self.way {
            Carrier::Requests(waiting) => Some(waiting),
            Carrier::WebSocket(_) => None,
        }
    }

    /// What a request is answered with, if there is something, of at most so many bytes. The end is
    /// said when nothing else is left to say.
    pub fn answer(&mut self, most: usize) -> Option<String> {
        let ended = self.ended.is_some();
        let Some(waiting) = self.requests() else {
            return Some(NOTHING.to_owned());
        };
        let mut text = String::new();
        let mut live = Vec::new();
        while let Some((frame, inserted)) = waiting.packets.front() {
            if !text.is_empty() {
                if text.len() + frame.text().len() >= most {
                    break;
                }
                text.push(SEPARATOR);
            }
            text.push_str(frame.text());
            live.extend(*inserted);
            waiting.pop();
        }
        report::reached_socket(&live);
        let is_empty = waiting.packets.is_empty();
        let word = if is_empty && ended {
            CLOSE
        } else if text.is_empty() && waiting.probed {
            NOTHING
        } else {
            ""
        };
        if !text.is_empty() && !word.is_empty() {
            text.push(SEPARATOR);
        }
        text.push_str(word);
        if is_empty {
            // Nothing is held for a connection at rest.
            waiting.take();
        }
        self.closed |= word == CLOSE;
        (!text.is_empty()).then_some(text)
    }

    /// What waits, in bytes; see [`Frame::weight`].
    pub(super) fn waiting(&self) -> usize {
        match &self.way {
            Carrier::Requests(waiting) => waiting.weight,
            Carrier::WebSocket(socket) => socket.waiting(),
        }
    }
}

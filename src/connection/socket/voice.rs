//! A socket with what is spoken on it, as whoever publishes has it: events, spelled and written past
//! the writer. Hands them over to the socket. It must never speak for anybody else on that socket.

use super::Socket;
use crate::connection::speech::Speech;
use crate::hub::{Carriage, Delivery, Line};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// One connection's way out, or one namespace's of several.
pub struct Voice {
    pub(super) socket: Arc<Socket>,
    pub(super) speech: Arc<dyn Speech>,
    used: Mutex<Option<Instant>>,
}

impl Voice {
    #[must_use]
    pub fn new(socket: Arc<Socket>, speech: Arc<dyn Speech>) -> Self {
        Self {
            socket,
            speech,
            used: Mutex::default(),
        }
    }

    /// When events were last carried.
    #[must_use]
    pub fn used(&self) -> Option<Instant> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line for Voice {
    fn carry(&self, waiting: &mut VecDeque<Delivery>, carriage: &mut Carriage) -> bool {
        let carried = self.socket.carry(&*self.speech, waiting, carriage);
        if carried.any {
            *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(carriage.now);
        }
        carried.all
    }
}

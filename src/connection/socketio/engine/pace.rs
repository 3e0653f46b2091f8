//! The clock of a connection: pings, pongs, and until when nobody needs to have signed in.
//! Hands over the reason for which it ends. It must never ping whoever owes a pong.

use super::{Beat, Engine};
use crate::connection::Refusal;
use crate::connection::socketio::packet::PING;
use crate::frame::Frame;
use tokio::time::{Instant, sleep_until};

impl Engine {
    /// Pings, and the ends that time brings.
    pub async fn pace(&self) -> Refusal {
        loop {
            let (alone, due) = {
                let inside = self.inside();
                let beat = inside.beat.at;
                (
                    inside.alone,
                    inside.alone.map_or(beat, |alone| alone.min(beat)),
                )
            };
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.when(|inside| (inside.alone != alone).then_some(())) => continue,
            }
            if let Some(why) = self.beat() {
                return why;
            }
        }
    }

    /// A sign of life: the next ping is due a while from now.
    pub fn pong(&self) {
        let at = Instant::now() + self.host.gate.settings.socketio.ping;
        self.inside().beat = Beat { at, asked: false };
    }

    /// What is due by now: the end, or a ping.
    fn beat(&self) -> Option<Refusal> {
        let (settings, now) = (&self.host.gate.settings.socketio, Instant::now());
        {
            let mut inside = self.inside();
            if inside.alone.is_some_and(|alone| alone <= now) {
                return Some(Refusal::Gone);
            }
            if inside.beat.at > now {
                return None;
            }
            if inside.beat.asked {
                return Some(Refusal::NoPong);
            }
            let at = now + settings.pong_timeout;
            inside.beat = Beat { at, asked: true };
        }
        // Our own wish, and one at a time: what the client has not taken yet is for its clock.
        self.feed(Frame::websocket(PING), None);
        self.call();
        None
    }
}

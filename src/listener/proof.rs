//! Whether LISTEN hears: a notification sent over the pool has to come back on the listening connection.
//! Hands what it found over to `/readyz`, and to the listener, which begins anew if it is deaf.
//! It must never take silence for health.

use super::place::Place;
use super::{Listener, ListenerError};
use crate::database::{Heard, Listening};
use crate::report;
use std::time::Instant;

/// The round trip that is under way, or when the next is due.
#[derive(Default)]
pub(super) struct Proof {
    /// This connection was heard at least once.
    pub heard: bool,
    pub asked: Option<Instant>,
    pub next: Option<Instant>,
}

impl Listener {
    /// Asks over the pool for a notification, and sees to it that it comes: a LISTEN that a pooler
    /// swallowed looks exactly like silence.
    pub(super) fn check_proof(
        &self,
        proof: &mut Proof,
        listening: &Listening,
        place: &Place,
    ) -> Result<(), ListenerError> {
        if place.queue_is_filling {
            // Nothing may be notified, and we poll: what LISTEN would hear does not matter.
            *proof = Proof::default();
            self.is_proven(place);
        } else if let Some(asked) = &proof.asked {
            if listening.heard.echoed() {
                self.is_proven(place);
                proof.heard = true;
                proof.next = Some(*asked + self.settings.proof);
                proof.asked = None;
            } else if asked.elapsed() > self.settings.proof_timeout {
                return Err(ListenerError::Deaf(self.settings.proof_timeout));
            }
        } else if proof.next.is_none_or(|next| Instant::now() >= next) {
            self.ask_for_echo(listening);
            proof.asked = Some(Instant::now());
        }
        Ok(())
    }

    fn is_proven(&self, place: &Place) {
        if self.pulse.proven()
            && let Some(here) = &place.standpoint
        {
            report::listener_ready(&here.history);
        }
    }

    fn ask_for_echo(&self, listening: &Listening) {
        let word = format!("{}{:016x}", Heard::ECHO, rand::random::<u64>());
        listening.heard.expect(&word);
        let database = self.database.clone();
        tokio::spawn(async move {
            if let Err(error) = database.echo(&word).await {
                report::database_failed("proof of LISTEN", &error);
            }
        });
    }

    /// The first proof, with nothing said on the connection meanwhile: a pooler in transaction mode
    /// passes a notification on when the next statement happens to get the server that listens, and
    /// would look like a doorbell that is only slow.
    pub(super) async fn hear_in_silence(&self, listening: &Listening) -> Result<(), ListenerError> {
        self.ask_for_echo(listening);
        let heard = async {
            while !listening.heard.echoed() {
                if listening.heard.is_closed() {
                    return Err(ListenerError::Closed);
                }
                listening.heard.rung().await;
            }
            Ok(())
        };
        let timeout = self.settings.proof_timeout;
        tokio::time::timeout(timeout, heard)
            .await
            .map_err(|_| ListenerError::Deaf(timeout))?
    }
}

//! Whether LISTEN hears: a notification sent over the pool has to come back on the listening connection.
//! Hands what it found over to `/readyz`, and to the listener, which begins anew if it is deaf.
//! It must never take silence for health, nor a pool that sends nothing for deafness.

use super::place::Place;
use super::{Listener, ListenerError};
use crate::database::{DatabaseError, Heard, Listening};
use crate::report;
use std::time::Instant;
use tokio::sync::oneshot::{self, error::TryRecvError};

/// The round trip that is under way, or when the next is due.
#[derive(Default)]
pub(super) struct Proof {
    /// This connection was heard at least once.
    pub heard: bool,
    asked: Option<Asked>,
    next: Option<Instant>,
}

/// A notification that the pool was asked for.
struct Asked {
    at: Instant,
    answer: oneshot::Receiver<Answer>,
    sent: Option<Instant>,
}

/// When the pool had sent it, or why it could not.
type Answer = Result<Instant, DatabaseError>;

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
            return Ok(());
        }
        let Some(asked) = &mut proof.asked else {
            if proof.next.is_none_or(|next| Instant::now() >= next) {
                proof.asked = Some(self.ask_for_echo(listening));
            }
            return Ok(());
        };
        if listening.heard.echoed() {
            self.is_proven(place);
            proof.heard = true;
            proof.next = Some(asked.at + self.settings.proof);
            proof.asked = None;
            return Ok(());
        }
        let failed = match asked.answer.try_recv() {
            Ok(Ok(sent)) => {
                asked.sent = Some(sent);
                None
            }
            Ok(Err(error)) => Some(error),
            // The task that asks is gone, and had not said that it was sent.
            Err(TryRecvError::Closed) if asked.sent.is_none() => {
                Some(DatabaseError::Answer("nobody asks any more"))
            }
            Err(_) => None,
        };
        let timeout = self.settings.proof_timeout;
        if let Some(error) = failed {
            // This connection is no worse for it, and brings events to whoever is there.
            self.pulse.pool_failed(&error);
            proof.asked = None;
            proof.next = Some(Instant::now() + self.settings.backoff_max);
        } else if asked.sent.is_some_and(|sent| sent.elapsed() > timeout) {
            return Err(ListenerError::Deaf(timeout));
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

    fn ask_for_echo(&self, listening: &Listening) -> Asked {
        let word = format!("{}{:016x}", Heard::ECHO, rand::random::<u64>());
        listening.heard.expect(&word);
        let database = self.database.clone();
        let (answers, answer) = oneshot::channel();
        tokio::spawn(async move {
            let sent = database.echo(&word).await;
            if let Err(error) = &sent {
                report::database_failed("proof of LISTEN", error);
            }
            // Nobody waits any more where the connection was lost.
            let _ = answers.send(sent.map(|()| Instant::now()));
        });
        Asked {
            at: Instant::now(),
            answer,
            sent: None,
        }
    }

    /// The first proof, with nothing said on the connection meanwhile: a pooler in transaction mode
    /// passes a notification on when the next statement happens to get the server that listens, and
    /// would look like a doorbell that is only slow. A pool that can't be reached is waited for.
    pub(super) async fn hear_in_silence(&self, listening: &Listening) -> Result<(), ListenerError> {
        let timeout = self.settings.proof_timeout;
        loop {
            let mut asked = self.ask_for_echo(listening);
            let answer = tokio::select! {
                heard = echo(listening) => return heard,
                answer = &mut asked.answer => answer,
            };
            let Ok(Err(error)) = answer else {
                let heard = tokio::time::timeout(timeout, echo(listening)).await;
                return heard.map_err(|_| ListenerError::Deaf(timeout))?;
            };
            self.pulse.pool_failed(&error);
            tokio::time::sleep(self.settings.backoff_max).await;
        }
    }
}

/// Ends when the word that was asked for has come back.
async fn echo(listening: &Listening) -> Result<(), ListenerError> {
    while !listening.heard.echoed() {
        if let Some(why) = listening.heard.closed() {
            return Err(ListenerError::Closed(why.to_owned()));
        }
        listening.heard.rung().await;
    }
    Ok(())
}

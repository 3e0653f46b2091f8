//! What a client says to a connection: signs of life, and who comes, speaks and goes in which namespace.
//! Hands words to the ears of namespaces. It must never wait for what is done about them.

use super::{Beat, Engine};
use crate::connection::Refusal;
use crate::connection::socketio::ear::Ear;
use crate::connection::socketio::namespace;
use crate::connection::socketio::packet::{self, Packet, Said};
use serde_json::Value;
use std::sync::Arc;
use tokio::time::Instant;

impl Engine {
    /// Takes a packet of the client's.
    ///
    /// # Errors
    /// Why the connection ends with it.
    pub fn hear(self: &Arc<Self>, text: &str) -> Result<(), Refusal> {
        match Packet::read(text).ok_or(Refusal::Protocol)? {
            Packet::Close => Err(Refusal::Gone),
            Packet::Attachment => Ok(()),
            Packet::Pong => {
                let at = Instant::now() + self.host.gate.settings.socketio.ping;
                self.inside().beat = Beat { at, asked: false };
                Ok(())
            }
            Packet::Said {
                what: Said::Connect,
                namespace,
                data,
                ..
            } => self.connect(namespace, data),
            Packet::Said {
                what,
                namespace,
                number,
                data,
            } => {
                // Who has been sent away may not have heard of it yet.
                let place = self
                    .host
                    .namespaces()
                    .iter()
                    .position(|one| one == namespace);
                let Some((place, ear)) = place.and_then(|place| Some((place, self.ear(place)?)))
                else {
                    return Ok(());
                };
                match what {
                    Said::Disconnect => self.leave(place, &ear),
                    Said::Event | Said::Binary => {
                        let binary = what == Said::Binary;
                        ear.hear(data, number, binary, |list| self.host.knows(list));
                    }
                    Said::Connect | Said::Acknowledgement => {}
                }
                Ok(())
            }
        }
    }

    fn ear(&self, place: usize) -> Option<Arc<Ear>> {
        let inside = self.inside();
        let found = inside.namespaces.iter().find(|(known, _)| *known == place);
        found.map(|(_, ear)| Arc::clone(ear))
    }

    fn connect(self: &Arc<Self>, namespace: &str, auth: &str) -> Result<(), Refusal> {
        let auth = match auth {
            "" => Value::Null,
            text => serde_json::from_str(text).map_err(|_| Refusal::Protocol)?,
        };
        let known = self
            .host
            .namespaces()
            .iter()
            .position(|one| one == namespace);
        let Some(place) = known else {
            // Whoever has been cut may have more of these made until it is gone.
            if self.ended().is_none() {
                let prefix = packet::prefix(namespace);
                self.say(packet::refused(&prefix, "Invalid namespace"));
            }
            return Ok(());
        };
        let ear = Arc::new(Ear::new(&self.host.gate.settings.limits));
        {
            let mut inside = self.inside();
            // Clients that are told to connect twice say so twice.
            let known = inside.namespaces.iter().any(|(known, _)| *known == place);
            if known || inside.ended.is_some() {
                return Ok(());
            }
            inside.namespaces.push((place, Arc::clone(&ear)));
        }
        tokio::spawn(namespace::serve(Arc::clone(self), place, ear, auth));
        Ok(())
    }

    /// Somebody leaves a namespace. Who is in none closes the connection itself, or is closed.
    pub fn leave(&self, place: usize, ear: &Arc<Ear>) {
        ear.close();
        self.change(|inside| {
            let before = inside.namespaces.len();
            inside
                .namespaces
                .retain(|(known, other)| *known != place || !Arc::ptr_eq(other, ear));
            if inside.namespaces.is_empty() && before > 0 {
                let end = Instant::now() + Refusal::Gone.grace();
                inside.alone = Some(inside.alone.map_or(end, |alone| alone.max(end)));
            }
        });
    }
}

//! What a client says to a connection: signs of life, and who comes, speaks and goes in which namespace.
//! Hands words to the ears of namespaces. It must never wait for what is done about them.

use super::ear::Ear;
use super::engine::Engine;
use super::namespace;
use super::packet::{self, Packet, PacketType};
use super::speech;
use crate::connection::{Refusal, allowance};
use serde_json::Value;
use std::sync::Arc;

/// Takes a packet of the client's.
///
/// # Errors
/// Why the connection ends with it.
pub(super) fn hear(engine: &Arc<Engine>, text: &str) -> Result<(), Refusal> {
    match Packet::read(text).ok_or(Refusal::Protocol)? {
        Packet::Close => Err(Refusal::Gone),
        Packet::Attachment => Ok(()),
        Packet::Pong => {
            engine.pong();
            Ok(())
        }
        Packet::Said {
            what: PacketType::Connect,
            namespace,
            data,
            ..
        } => connect(engine, namespace, data),
        Packet::Said {
            what,
            namespace,
            number,
            data,
        } => {
            // Who has been sent away may not have heard of it yet.
            let place = engine.host.place_of(namespace);
            let Some(ear) = place.and_then(|place| engine.ear(place)) else {
                return Ok(());
            };
            match what {
                PacketType::Disconnect => engine.leave(&ear),
                PacketType::Event | PacketType::Binary => {
                    let binary = what == PacketType::Binary;
                    let is_known = |list: &str| speech::is_known(&engine.host.dialect, list);
                    ear.hear(data, number, binary, is_known);
                }
                PacketType::Connect | PacketType::Acknowledgement => {}
            }
            Ok(())
        }
    }
}

fn connect(engine: &Arc<Engine>, namespace: &str, auth: &str) -> Result<(), Refusal> {
    // Whoever has been cut may ask for more until it is gone.
    if engine.ended().is_some() {
        return Ok(());
    }
    let refuse = |message| {
        let prefix = packet::prefix(namespace);
        engine.say(packet::refused(&prefix, message));
        Ok(())
    };
    if !engine.may_connect() {
        let host = &engine.host;
        let detail = allowance::exceeded(&host.gate.settings.limits);
        host.refused("rate-limited", &detail, engine.opened.address(&host.gate));
        return refuse("rate-limited");
    }
    let auth = match auth {
        "" => Value::Null,
        text => serde_json::from_str(text).map_err(|_| Refusal::Protocol)?,
    };
    let Some(place) = engine.host.place_of(namespace) else {
        return refuse("Invalid namespace");
    };
    let ear = Arc::new(Ear::new(&engine.host.gate.settings.limits));
    // Clients that are told to connect twice say so twice.
    if engine.enter(place, &ear) {
        tokio::spawn(namespace::serve(Arc::clone(engine), place, ear, auth));
    }
    Ok(())
}

//! The client's words: frames read, bounded in size and rate, and what each of them means.
//! Hands them down to admission and the hub; answers go through the subscription's queue, in their
//! place among the events. A frame that is wrong must never end what other frames have begun.

use super::{Connection, Socket};
use crate::connection::admission::{Admitted, explain};
use crate::connection::allowance::Allowance;
use crate::connection::{Refusal, unix_now};
use crate::report;
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// A client's frame. Unknown fields are ignored.
#[derive(Deserialize)]
struct Frame {
    r#type: String,
    rooms: Option<Vec<String>>,
    since: Option<String>,
    again: Option<bool>,
    token: Option<String>,
    bookmark: Option<String>,
}

impl Connection<'_> {
    pub(super) async fn read(
        &self,
        stream: &mut SplitStream<&mut Socket>,
        expiry: &watch::Sender<u64>,
        seen: &AtomicU64,
    ) -> Refusal {
        let rate = self.gate.settings.limits.messages_per_second;
        let mut allowance = Allowance::new(rate, rate * 2, Instant::now());
        while let Some(message) = stream.next().await {
            seen.store(unix_now(), Ordering::Relaxed);
            let message = match message {
                Ok(message) => message,
                Err(Error::Capacity(_)) => return Refusal::TooBig,
                // Vanished without a close frame, as pages do.
                Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                    return Refusal::Gone;
                }
                Err(Error::Protocol(_) | Error::Utf8(_)) => return Refusal::Protocol,
                Err(_) => return Refusal::Gone,
            };
            match message {
                Message::Close(_) => return Refusal::Gone,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                message if !allowance.take(Instant::now()) => {
                    self.error(
                        id_of(&message),
                        "rate-limited",
                        &format!("at most {rate} messages a second"),
                        None,
                    );
                }
                Message::Binary(_) => {
                    self.error(None, "bad-message", "frames are text, not binary", None);
                }
                Message::Text(frame) => self.hear(&frame, expiry).await,
            }
        }
        Refusal::Gone
    }

    async fn hear(&self, text: &str, expiry: &watch::Sender<u64>) {
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        let id = said.get("id").cloned();
        let frame: Frame = match serde_json::from_value(said) {
            Ok(frame) => frame,
            Err(error) => {
                let message =
                    format!("not a frame: a JSON object with type was expected ({error})");
                return self.error(id, "bad-message", &message, None);
            }
        };
        match frame.r#type.as_str() {
            "subscribe" => match frame.rooms {
                Some(rooms) if !rooms.is_empty() => {
                    let again = frame.again == Some(true);
                    self.subscribe(rooms, frame.since.as_deref(), again, id)
                        .await;
                }
                _ => self.error(
                    id,
                    "bad-message",
                    "subscribe needs rooms, a list of names",
                    None,
                ),
            },
            "unsubscribe" => match frame.rooms {
                Some(rooms) => {
                    let rooms: Vec<Arc<str>> = rooms.into_iter().map(Into::into).collect();
                    let left = self.gate.hub.leave(self.subscription, &rooms);
                    self.reply("unsubscribed", id, &json!({ "rooms": left }));
                }
                None => self.error(id, "bad-message", "unsubscribe needs rooms", None),
            },
            "auth" => match frame.token {
                Some(token) => self.authenticate(&token, expiry, id).await,
                None => self.error(id, "bad-message", "auth needs token", None),
            },
            "call" => self.call(text, id),
            "ack" => match frame.bookmark {
                Some(bookmark) => self.acknowledge(&bookmark, id),
                None => self.error(id, "bad-message", "ack needs bookmark", None),
            },
            "ping" => self.reply("pong", id, &json!({})),
            other => {
                let known = "subscribe, unsubscribe, auth, call, ack, ping";
                let other: String = other.chars().take(40).collect();
                self.error(
                    id,
                    "unknown-type",
                    &format!("{other:?} is none of {known}"),
                    None,
                );
            }
        }
    }

    async fn subscribe(
        &self,
        rooms: Vec<String>,
        since: Option<&str>,
        again: bool,
        id: Option<Value>,
    ) {
        let most = self.gate.settings.limits.rooms_per_connection;
        let mine = self.subscription.rooms();
        let new = rooms
            .iter()
            .filter(|room| mine.iter().all(|known| **known != ***room))
            .count();
        if mine.len() + new > most {
            return self.error(id, "too-many-rooms", &format!("at most {most} rooms"), None);
        }
        let Some(identity) = self.gate.hub.identity(self.subscription) else {
            return;
        };
        let admitted = match self.gate.admit(&identity, rooms).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.error(id, refusal.word(), &refusal.to_string(), None),
        };
        let since = match self.gate.reach(since).await {
            Ok(since) if again => since.again(),
            Ok(since) => since,
            Err(refusal) => return self.error(id, refusal.word(), &refusal.to_string(), None),
        };
        if matches!(since, crate::hub::Since::Unreadable) {
            let message = crate::bookmark::NotABookmark.to_string();
            return self.error(id, "bad-bookmark", &message, None);
        }
        self.report_refused(&admitted, id.as_ref());
        self.gate.hub.join(
            self.subscription,
            &admitted.rooms,
            since,
            id,
            admitted.version,
        );
    }

    /// A new token for the same user: every room is admitted anew.
    async fn authenticate(&self, token: &str, expiry: &watch::Sender<u64>, id: Option<Value>) {
        let Some(identity) = self.gate.hub.identity(self.subscription) else {
            return;
        };
        let renewed = match self.gate.identify_token(token).await {
            Ok(renewed) if renewed.user == identity.user => renewed,
            Ok(_) => {
                return self.error(id, "unauthorized", "sub must stay: reconnect instead", None);
            }
            Err(refusal) => return self.error(id, refusal.word(), &refusal.to_string(), None),
        };
        let rooms: Vec<Arc<str>> = self.subscription.rooms();
        let names = rooms.iter().map(ToString::to_string).collect();
        let admitted = match self.gate.welcome(&renewed, names).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.error(id, refusal.word(), &refusal.to_string(), None),
        };
        let new = admitted.rooms.iter().filter(|room| !rooms.contains(room));
        let new: Vec<Arc<str>> = new.cloned().collect();
        let lost: Vec<Arc<str>> = rooms
            .into_iter()
            .filter(|room| !admitted.rooms.contains(room))
            .collect();
        self.gate.hub.leave(self.subscription, &lost);
        let expires_at = renewed.expires_at;
        self.gate
            .hub
            .renew(self.subscription, renewed, admitted.version);
        self.report_refused(&admitted, id.as_ref());
        expiry.send_replace(expires_at);
        self.reply("authenticated", id, &json!({ "expiresAt": expires_at }));
        if !new.is_empty() {
            // Home rooms of the new claims.
            let (now, under) = (crate::hub::Since::Now, admitted.version);
            self.gate
                .hub
                .join(self.subscription, &new, now, None, under);
        }
    }

    /// Notes a place; it is answered when one is stored, beside whatever else is said.
    fn acknowledge(&self, bookmark: &str, id: Option<Value>) {
        let stored = self.presence.acknowledge(bookmark);
        let (connection, subscription) =
            (self.connection.to_owned(), Arc::clone(self.subscription));
        tokio::spawn(async move {
            let (kind, fields) = match stored.await {
                Ok(bookmark) => ("acked", json!({ "bookmark": &*bookmark })),
                Err(refusal) => {
                    let (_, code) = refusal.row();
                    report::refused("websocket", code, &connection, "");
                    let message = refusal.to_string();
                    ("error", json!({ "code": code, "message": message }))
                }
            };
            subscription.reply(frame(kind, id, fields));
        });
    }

    pub(super) fn report_refused(&self, admitted: &Admitted, id: Option<&Value>) {
        for (room, code) in &admitted.refused {
            self.error(id.cloned(), code, explain(code), Some(room));
        }
    }

    pub(super) fn error(&self, id: Option<Value>, code: &str, message: &str, room: Option<&str>) {
        report::refused("websocket", code, self.connection, "");
        let mut fields = json!({ "code": code, "message": message });
        if let Some(room) = room {
            fields["room"] = room.into();
        }
        self.reply("error", id, &fields);
    }

    pub(super) fn reply(&self, kind: &str, id: Option<Value>, fields: &Value) {
        self.subscription.reply(frame(kind, id, fields.clone()));
    }
}

/// An answer, as it is written.
fn frame(kind: &str, id: Option<Value>, mut fields: Value) -> Utf8Bytes {
    fields["type"] = kind.into();
    if let Some(id) = id {
        fields["id"] = id;
    }
    Utf8Bytes::from(fields.to_string())
}

/// The id of a frame that is not looked at any further: whoever waits for its answer has to know.
fn id_of(message: &Message) -> Option<Value> {
    #[derive(Deserialize)]
    struct Tagged {
        id: Option<Value>,
    }
    let text = message.to_text().ok()?;
    serde_json::from_str::<Tagged>(text).ok()?.id
}

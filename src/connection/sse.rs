//! `/sse`: one response that does not end, events as `docs/protocol.md` has them.
//! Hands a body over to hyper, which polls it only while the socket is writable; so lag and expiry
//! are watched by a task beside it. It must never answer a temporary refusal with a status: an
//! EventSource would not come back.

use super::admission::explain;
use super::frame::{self, Welcome};
use super::presence::{Cut, Presence};
use super::seam::{Resolved, Subscribed};
use super::speech::Told;
use super::visit::Visit;
use super::{Gate, Refusal, until};
use crate::event::{Event, sse_frame, to_json};
use crate::hub::Delivery;
use crate::report;
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use sync_wrapper::SyncStream;
use warp::http::HeaderValue;
use warp::reply::{Reply, Response};

/// Bytes that are written in one piece, but for a single event: between two pieces it is asked
/// whether the reader may still have the next.
const PIECE: usize = 64 * 1024;

/// Answers `GET /sse`.
pub async fn serve(gate: Arc<Gate>, visit: Visit, cut: Cut) -> Response {
    match open(&gate, &visit, cut).await {
        Ok(body) => stream_response(warp::reply::stream(SyncStream::new(stream::unfold(
            body,
            Body::next,
        )))),
        Err(refusal) if refusal.is_temporary() => {
            let frames = last_frames(&gate, refusal);
            let body = stream::iter([Ok::<_, Infallible>(frames)]);
            stream_response(warp::reply::stream(body))
        }
        Err(refusal) => gate.refuse(refusal),
    }
}

/// A response that goes on, and that nothing on the way may keep or buffer.
#[must_use]
pub fn stream_response(body: impl Reply) -> Response {
    let mut response = body.into_response();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The end of a stream whose reader is to come back.
fn last_frames(gate: &Gate, refusal: Refusal) -> Bytes {
    let wait = match refusal {
        // Nothing is wrong on our side: the next attempt may come at once.
        Refusal::Lagged => gate.settings.sse.retry,
        // Nor does it have to wait for its final refusal.
        _ if refusal.ends_access() => gate.settings.sse.retry,
        _ => gate.wait(refusal),
    };
    let mut frames = format!("retry: {}\n", wait.as_millis()).into_bytes();
    let error = frame::error(refusal.word(), &refusal.to_string(), None);
    write_control(&mut frames, None, &error);
    frames.into()
}

struct Body {
    presence: Presence,
    waiting: VecDeque<Delivery>,
    /// How many of those at the front are of a replay.
    replaying: usize,
    greeted: bool,
    over: bool,
}

async fn open(gate: &Arc<Gate>, visit: &Visit, cut: Cut) -> Result<Body, Refusal> {
    let mut presence = gate.enter("sse", visit).await?;
    if let Err(refusal) = presence.join(visit).await {
        presence.why = refusal.word();
        return Err(refusal);
    }
    // A body ends by itself while its socket takes bytes.
    presence.watch(cut);
    Ok(Body {
        presence,
        waiting: VecDeque::new(),
        replaying: 0,
        greeted: false,
        over: false,
    })
}

impl Body {
    /// The next bytes to write: everything that waits, in one piece.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.over {
            return None;
        }
        let frames = match self.collect().await {
            Ok(frames) => frames,
            Err(refusal) => {
                self.over = true;
                self.presence.why = refusal.word();
                last_frames(&self.presence.gate, refusal)
            }
        };
        Some((Ok(frames), self))
    }

    async fn collect(&mut self) -> Result<Bytes, Refusal> {
        if self.waiting.is_empty() {
            let (gate, subscription) = (&self.presence.gate, &self.presence.subscription);
            let standpoint = gate.hub.standpoint();
            let heartbeat = gate.settings.sse.heartbeat;
            tokio::select! {
                taken = subscription.take() => self.waiting = taken?,
                () = until(self.presence.identity.expires_at) => return Err(Refusal::Expired),
                () = tokio::time::sleep(heartbeat) => {
                    // The standpoint first, as for a WebSocket's heartbeat.
                    let here = standpoint.borrow().clone();
                    return Ok(match here {
                        Some(here) if subscription.is_idle() => {
                            let bookmark = &*here.bookmark;
                            self.presence.tells(&Told::Heartbeat { bookmark });
                            format!("id: {}\n\n", here.bookmark).into()
                        }
                        _ => Bytes::from_static(b":\n\n"),
                    });
                }
            }
        }
        self.presence.go_on()?;
        let (mut frames, mut live) = (Vec::new(), Vec::new());
        let mut events = 0;
        while frames.len() < PIECE
            && let Some(delivery) = self.waiting.pop_front()
        {
            let inserted = delivery.inserted().filter(|_| self.replaying == 0);
            self.replaying = self.replaying.saturating_sub(1);
            let written = self.write(&mut frames, delivery).await?;
            live.extend(inserted.filter(|_| written > 0));
            events += written;
        }
        report::delivered(events);
        // Next it lies with the HTTP library, which writes it before it asks for more.
        report::reached_socket(&live);
        Ok(frames.into())
    }

    async fn write(&mut self, frames: &mut Vec<u8>, delivery: Delivery) -> Result<usize, Refusal> {
        match delivery {
            Delivery::Event(event) => return Ok(self.write_event(frames, &event)),
            Delivery::Reply(_) => {}
            Delivery::Withdrawn(room) => {
                let error = frame::error("forbidden", explain("withdrawn"), Some(&room));
                write_control(frames, None, &error);
            }
            Delivery::Gap { reason, bookmark } => {
                let rooms = self.presence.subscription.rooms();
                let (rooms, bookmark) = (&*rooms, &*bookmark);
                self.presence.tells(&Told::Gap {
                    rooms,
                    reason,
                    bookmark,
                });
                write_gap(frames, rooms, reason, bookmark);
            }
            Delivery::Seam(seam) => {
                let (gate, subscription) = (&self.presence.gate, &self.presence.subscription);
                let resolved = gate.resolve(*seam, subscription).await?;
                self.presence.go_on()?;
                if std::mem::replace(&mut self.greeted, true) {
                    write_subscribed(frames, &resolved.frame);
                } else {
                    self.write_welcome(frames, &resolved);
                }
                self.presence.tells(&Told::Subscribed(&resolved.frame));
                // Before everything else that waits, piece by piece.
                self.replaying = resolved.events.len();
                for event in resolved.events.into_iter().rev() {
                    self.waiting.push_front(Delivery::Event(event));
                }
            }
        }
        Ok(0)
    }

    fn write_welcome(&self, frames: &mut Vec<u8>, resolved: &Resolved) {
        let (presence, settings) = (&self.presence, &self.presence.gate.settings.sse);
        frames.extend(format!("retry: {}\n", settings.retry.as_millis()).into_bytes());
        let id = resolved.before.as_deref();
        let welcome = Welcome {
            r#type: "welcome",
            connection_id: &presence.connection,
            user: presence.identity.user.as_deref(),
            rooms: &resolved.frame.rooms,
            bookmark: id,
            expires_at: presence.expires_at(),
            heartbeat: settings.heartbeat.as_secs(),
        };
        frames.extend(sse_frame(Some("rowcast:welcome"), id, &to_json(&welcome)));
        for error in presence.errors() {
            write_control(frames, None, &error);
        }
        if presence.resumes {
            write_subscribed(frames, &resolved.frame);
        }
    }

    fn write_event(&self, frames: &mut Vec<u8>, event: &Event) -> usize {
        let subscription = &self.presence.subscription;
        if !subscription.may_hear(&event.rooms) {
            return 0;
        }
        self.presence.tells(&Told::Event(event));
        if event.lost {
            let rooms = subscription.concerned(&event.rooms);
            let bookmark = event.bookmark().cloned().unwrap_or_else(|| "".into());
            write_gap(frames, &rooms, event.reason(), &bookmark);
            return 0;
        }
        frames.extend(event.sse_text());
        1
    }
}

fn write_subscribed(frames: &mut Vec<u8>, frame: &Subscribed) {
    let id = Some(&*frame.bookmark);
    frames.extend(sse_frame(Some("rowcast:subscribed"), id, &to_json(frame)));
}

fn write_gap(frames: &mut Vec<u8>, rooms: &[Arc<str>], reason: &str, bookmark: &str) {
    report::gap(reason);
    let gap = frame::gap(rooms, reason, bookmark);
    write_control(frames, Some(bookmark), &gap);
}

/// A frame of the wire, under its own name.
fn write_control(frames: &mut Vec<u8>, id: Option<&str>, frame: &Value) {
    let name = format!("rowcast:{}", frame["type"].as_str().unwrap_or_default());
    frames.extend(sse_frame(Some(&name), id, &frame.to_string()));
}

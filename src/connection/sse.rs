//! `/sse`: one response that does not end, events as `docs/protocol.md` has them.
//! Hands a body over to hyper, which polls it only while the socket is writable; so lag and expiry
//! are watched by a task beside it. It must never answer a temporary refusal with a status: an
//! EventSource would not come back.

use super::admission::{Admitted, Visit, explain};
use super::seam::Resolved;
use super::seats::Seat;
use super::{Gate, Refusal, unix_now, until};
use crate::event::{Event, sse_frame, to_json};
use crate::hub::{Delivery, Identity, Since, Subscription};
use crate::report::{self, Caller};
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;
use sync_wrapper::SyncStream;
use tokio::sync::Notify;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

/// Bytes that are written in one piece, but for a single event: between two pieces it is asked
/// whether the reader may still have the next.
const PIECE: usize = 64 * 1024;

/// Cuts a connection from outside its body.
#[derive(Clone, Debug, Default)]
pub struct Cut(pub Arc<Notify>);

/// Answers `GET /sse`.
pub async fn serve(gate: Arc<Gate>, visit: Visit, cut: Cut) -> Response {
    let address = visit.address(&gate);
    let shown = address.map_or_else(|| "unix".to_owned(), |address| address.to_string());
    match open(&gate, &visit, address, &shown, cut).await {
        Ok(body) => stream_response(warp::reply::stream(SyncStream::new(stream::unfold(
            body,
            Body::next,
        )))),
        Err(refusal) => {
            report::refused("sse", refusal.word(), &refusal.to_string(), &shown);
            if refusal.is_temporary() {
                let frames = last_frames(&gate, refusal);
                let body = stream::iter([Ok::<_, Infallible>(frames)]);
                stream_response(warp::reply::stream(body))
            } else {
                refused(refusal)
            }
        }
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

/// A final refusal, as every HTTP answer of ours spells it.
#[must_use]
pub fn refused(refusal: Refusal) -> Response {
    let (status, _, code) = refusal.row();
    let error = json!({ "error": { "code": code, "message": refusal.to_string() } });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    warp::reply::with_status(warp::reply::json(&error), status).into_response()
}

/// The end of a stream whose reader is to come back.
fn last_frames(gate: &Gate, refusal: Refusal) -> Bytes {
    let wait = match refusal {
        // Nothing is wrong on our side: the next attempt may come at once.
        Refusal::Lagged => gate.settings.sse.retry,
        // Nor does it have to wait for its final refusal.
        _ if refusal.ends_access() => gate.settings.sse.retry,
        _ => refusal.wait(gate.settings.http.spread),
    };
    let error = json!({ "type": "error", "code": refusal.word(), "message": refusal.to_string() });
    let frame = sse_frame(Some("rowcast:error"), None, &error.to_string());
    let mut frames = format!("retry: {}\n", wait.as_millis()).into_bytes();
    frames.extend_from_slice(&frame);
    frames.into()
}

struct Body {
    gate: Arc<Gate>,
    subscription: Arc<Subscription>,
    waiting: VecDeque<Delivery>,
    /// How many of those at the front are of a replay.
    replaying: usize,
    greeting: Option<Greeting>,
    expires_at: u64,
    over: bool,
    end: End,
}

struct Greeting {
    identity: Identity,
    resumes: bool,
    admitted: Admitted,
    unreadable: bool,
}

/// What happens when a body ends, in whatever way: it is dropped.
struct End {
    caller: Arc<Caller>,
    subscription: Arc<Subscription>,
    watch: tokio::task::JoinHandle<()>,
    why: &'static str,
    began: Instant,
    _seat: Seat,
}

impl Drop for End {
    fn drop(&mut self) {
        // A body that is stuck is never asked again: the hub knows why it was cut.
        let cut = self.subscription.ended().now_or_never();
        let why = cut.map_or(self.why, |ended| Refusal::from(ended).word());
        self.subscription.close();
        self.watch.abort();
        report::closed(&self.caller, why, self.began.elapsed().as_secs_f64());
    }
}

async fn open(
    gate: &Arc<Gate>,
    visit: &Visit,
    address: Option<std::net::IpAddr>,
    shown: &str,
    cut: Cut,
) -> Result<Body, Refusal> {
    let mut seat = gate.seats.sit(gate, address)?;
    let identity = gate.identify(visit).await?;
    seat.belongs_to(gate, identity.user.as_deref())?;
    if gate.hub.standpoint().borrow().is_none() {
        return Err(Refusal::DatabaseAway);
    }
    let admitted = gate.welcome(&identity, visit.rooms()).await?;
    let since = visit.since();
    let resumes = since.is_some();
    let since = gate.reach(since.as_deref()).await?;
    let unreadable = matches!(since, Since::Unreadable);
    let connection = format!("{:016x}", rand::random::<u64>());
    let caller = Caller::new("sse", &connection, identity.user.as_deref(), shown);
    let caller = Arc::new(caller);
    let subscription = gate.hub.open();
    subscription.introduce(&caller);
    let version = admitted.version;
    gate.hub.enter(&subscription, identity.clone(), version);
    gate.hub
        .join(&subscription, &admitted.rooms, since, None, version);
    report::opened(&caller);

    let expires_at = identity.expires_at;
    let watched = Arc::clone(&subscription);
    let watch = tokio::spawn(async move {
        let why: Refusal = tokio::select! {
            ended = watched.ended() => ended.into(),
            () = until(expires_at) => Refusal::Expired,
        };
        // The body ends by itself while its socket takes bytes; one that is stuck is cut.
        tokio::time::sleep(why.grace()).await;
        cut.0.notify_one();
    });
    let why = "closed";
    let began = Instant::now();
    let end = End {
        caller,
        subscription: Arc::clone(&subscription),
        watch,
        why,
        began,
        _seat: seat,
    };
    let greeting = Greeting {
        identity,
        resumes,
        admitted,
        unreadable,
    };
    Ok(Body {
        gate: Arc::clone(gate),
        subscription,
        waiting: VecDeque::new(),
        replaying: 0,
        greeting: Some(greeting),
        expires_at,
        over: false,
        end,
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
                self.end.why = refusal.word();
                last_frames(&self.gate, refusal)
            }
        };
        Some((Ok(frames), self))
    }

    async fn collect(&mut self) -> Result<Bytes, Refusal> {
        if self.waiting.is_empty() {
            let standpoint = self.gate.hub.standpoint();
            let heartbeat = self.gate.settings.sse.heartbeat;
            tokio::select! {
                taken = self.subscription.take() => self.waiting = taken?,
                () = until(self.expires_at) => return Err(Refusal::Expired),
                () = tokio::time::sleep(heartbeat) => {
                    // The standpoint first, as for a WebSocket's heartbeat.
                    let here = standpoint.borrow().clone();
                    return Ok(match here {
                        Some(here) if self.subscription.is_idle() => {
                            format!("id: {}\n\n", here.bookmark).into()
                        }
                        _ => Bytes::from_static(b":\n\n"),
                    });
                }
            }
        }
        self.go_on()?;
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

    /// Asked before each piece, and after what may have taken long.
    fn go_on(&self) -> Result<(), Refusal> {
        if let Some(ended) = self.subscription.over() {
            return Err(ended.into());
        }
        if unix_now() >= self.expires_at {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    async fn write(&mut self, frames: &mut Vec<u8>, delivery: Delivery) -> Result<usize, Refusal> {
        match delivery {
            Delivery::Event(event) => Ok(self.write_event(frames, &event)),
            Delivery::Reply(_) => Ok(0),
            Delivery::Withdrawn(room) => {
                write_error(frames, "forbidden", explain("withdrawn"), Some(&room));
                Ok(0)
            }
            Delivery::Gap { reason, bookmark } => {
                let rooms = self.subscription.rooms();
                self.write_gap(frames, &rooms, reason, &bookmark);
                Ok(0)
            }
            Delivery::Seam(seam) => {
                let resolved = self.gate.resolve(*seam, &self.subscription).await?;
                self.go_on()?;
                if let Some(greeting) = self.greeting.take() {
                    self.write_welcome(frames, &greeting, &resolved);
                    if greeting.resumes {
                        let id = Some(&*resolved.frame.bookmark);
                        let data = to_json(&resolved.frame);
                        frames.extend(sse_frame(Some("rowcast:subscribed"), id, &data));
                    }
                }
                // Before everything else that waits, piece by piece.
                self.replaying = resolved.events.len();
                for event in resolved.events.into_iter().rev() {
                    self.waiting.push_front(Delivery::Event(event));
                }
                Ok(0)
            }
        }
    }

    fn write_welcome(&self, frames: &mut Vec<u8>, greeting: &Greeting, resolved: &Resolved) {
        let settings = &self.gate.settings.sse;
        frames.extend(format!("retry: {}\n", settings.retry.as_millis()).into_bytes());
        let expires = greeting.identity.expires_at;
        let mut welcome = json!({
            "type": "welcome",
            "connectionId": self.end.caller.connection,
            "user": greeting.identity.user,
            "rooms": resolved.frame.rooms,
            "heartbeat": settings.heartbeat.as_secs(),
        });
        if expires != u64::MAX {
            welcome["expiresAt"] = expires.into();
        }
        let id = resolved.before.as_deref();
        if let Some(bookmark) = id {
            welcome["bookmark"] = bookmark.into();
        }
        frames.extend(sse_frame(Some("rowcast:welcome"), id, &welcome.to_string()));
        let bad = crate::bookmark::NotABookmark.to_string();
        let unreadable = greeting
            .unreadable
            .then_some(("bad-bookmark", bad.as_str(), None));
        let refused = greeting.admitted.refused.iter();
        let refused = refused.map(|(room, code)| (*code, explain(code), Some(room)));
        for (code, message, room) in unreadable.into_iter().chain(refused) {
            write_error(frames, code, message, room.map(String::as_str));
        }
    }

    fn write_event(&self, frames: &mut Vec<u8>, event: &Event) -> usize {
        if !self.subscription.may_hear(&event.rooms) {
            return 0;
        }
        if event.lost {
            let rooms = self.subscription.concerned(&event.rooms);
            let bookmark = event.bookmark().cloned().unwrap_or_else(|| "".into());
            self.write_gap(frames, &rooms, event.reason(), &bookmark);
            return 0;
        }
        frames.extend(event.sse_text());
        1
    }

    fn write_gap(&self, frames: &mut Vec<u8>, rooms: &[Arc<str>], reason: &str, bookmark: &str) {
        report::gap(reason);
        let gap = json!({ "type": "gap", "rooms": rooms, "reason": reason, "bookmark": bookmark });
        frames.extend(sse_frame(
            Some("rowcast:gap"),
            Some(bookmark),
            &gap.to_string(),
        ));
    }
}

fn write_error(frames: &mut Vec<u8>, code: &str, message: &str, room: Option<&str>) {
    let mut error = json!({ "type": "error", "code": code, "message": message });
    if let Some(room) = room {
        error["room"] = room.into();
    }
    frames.extend(sse_frame(Some("rowcast:error"), None, &error.to_string()));
}

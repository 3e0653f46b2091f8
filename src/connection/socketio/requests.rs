//! A connection that requests carry: each `GET` waits for packets, each `POST` brings some.
//! Hands packets in to the connection, and out to answers. It must never keep two waiting at once, nor take for
//! another what a browser repeats by itself: over a link that is torn, it may have been answered already.

use super::engine::{Engine, Inside};
use super::exchange::{EngineError, text};
use super::hearing;
use super::packet::SEPARATOR;
use crate::connection::Refusal;
use crate::connection::answer::Boxed;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::time::timeout;

/// Keeps a connection until it has ended or a WebSocket carries it; its last words may be fetched.
pub(super) async fn keep(engine: Arc<Engine>) {
    let went_over = engine.when(|inside| inside.requests().is_none().then_some(()));
    let why = tokio::select! {
        why = engine.pace() => why,
        why = engine.over() => why,
        () = went_over => return,
    };
    if why.ends_access() {
        engine.forget();
    }
    engine.end(why);
    engine.closed(why).await;
    engine.close();
}

/// A request that is being answered; dropped, the next one may come.
struct Asking<'a>(&'a Engine);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.change(|inside| {
            if let Some(waiting) = inside.requests() {
                waiting.asked = false;
            }
        });
    }
}

/// Waits for packets.
pub(super) async fn fetch(engine: &Engine, mut stamp: Option<Box<str>>) -> Boxed {
    let ask = |inside: &mut Inside| {
        let waiting = inside.requests()?;
        waiting.asks += 1;
        let is_lost = waiting.answered.is_last(stamp.as_deref());
        Some((is_lost, std::mem::replace(&mut waiting.asked, true)))
    };
    match engine.change(ask) {
        None => return EngineError::Request.answer(),
        Some((true, _)) => {
            // What it was answered has gone nowhere: its client comes back with the bookmark that it has.
            engine.end(Refusal::Gone);
            return EngineError::Sid.answer();
        }
        Some((_, true)) => {
            engine.end(Refusal::Protocol);
            return EngineError::Request.answer();
        }
        Some((_, false)) => {}
    }
    let asking = Asking(engine);
    let most = engine.host.gate.settings.limits.message_bytes;
    let answered = engine.when(|inside| {
        let packets = inside.answer(most)?;
        if let Some(waiting) = inside.requests() {
            waiting.answered.keep(stamp.take());
        }
        Some(packets)
    });
    let packets = answered.await;
    // Whoever waits for these to leave goes on.
    drop(asking);
    text(StatusCode::OK, packets)
}

/// Takes packets.
pub(super) async fn take(engine: &Arc<Engine>, stamp: Option<Box<str>>, body: Incoming) -> Boxed {
    if engine.socket().is_some() {
        return EngineError::Request.answer();
    }
    let settings = &engine.host.gate.settings;
    let body = Limited::new(body, settings.limits.message_bytes).collect();
    let body = match timeout(settings.http.header_timeout, body).await {
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, String::new()),
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            engine.end(Refusal::TooBig);
            return text(StatusCode::PAYLOAD_TOO_LARGE, String::new());
        }
        Ok(Err(_)) => return EngineError::Request.answer(),
    };
    let is_repeated = engine.change(|inside| {
        inside.requests().is_some_and(|waiting| {
            let is_repeated = waiting.brought.is_last(stamp.as_deref());
            waiting.brought.keep(stamp);
            is_repeated
        })
    });
    if is_repeated {
        return text(StatusCode::OK, "ok".to_owned());
    }
    let heard = match std::str::from_utf8(&body) {
        Ok(packets) => packets
            .split(SEPARATOR)
            .try_for_each(|one| hearing::hear(engine, one)),
        Err(_) => Err(Refusal::Protocol),
    };
    if let Err(why) = heard {
        engine.end(why);
        if why != Refusal::Gone {
            return EngineError::Request.answer();
        }
    }
    text(StatusCode::OK, "ok".to_owned())
}

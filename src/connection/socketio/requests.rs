//! A connection that requests carry: each `GET` waits for packets, each `POST` brings some.
//! Hands packets in to the connection, and out to answers. It must never keep two waiting at once.

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
pub(super) async fn fetch(engine: &Engine) -> Boxed {
    let ask = |inside: &mut Inside| {
        let waiting = inside.requests()?;
        waiting.asks += 1;
        Some(std::mem::replace(&mut waiting.asked, true))
    };
    match engine.change(ask) {
        None => return EngineError::Request.answer(),
        Some(true) => {
            engine.end(Refusal::Protocol);
            return EngineError::Request.answer();
        }
        Some(false) => {}
    }
    let asking = Asking(engine);
    let most = engine.host.gate.settings.limits.message_bytes;
    let packets = engine.when(|inside| inside.answer(most)).await;
    // Whoever waits for these to leave goes on.
    drop(asking);
    text(StatusCode::OK, packets)
}

/// Takes packets.
pub(super) async fn take(engine: &Arc<Engine>, body: Incoming) -> Boxed {
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

//! `/ws`: from the upgrade to the close, frames as `docs/protocol.md` has them.
//! Hands the client's words down to admission and the hub, and writes what the hub queued.
//! It must never wait for its own send in the place that watches over it: lag, expiry and death are
//! seen beside the write path.

mod read;
mod write;

use super::admission::{Admitted, Visit};
use super::{Gate, Refusal, unix_now, until};
use crate::hub::{Identity, Subscription};
use crate::report::{self, Caller};
use crate::stream::Stream;
use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout_at;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

/// Read buffer of a socket: clients send little. The library's default is 128 KiB for each.
const READ_BUFFER: usize = 1024;

/// What is collected before a system call; frames of a burst share one.
const WRITE_BUFFER: usize = 16 * 1024;

/// The bound of what waits for a socket that takes nothing: what was collected, and one event, which
/// the log bounds to 1 MiB of payload and 64 KiB of rooms.
const MAX_WRITE_BUFFER: usize = 2 * 1024 * 1024;

type Socket = WebSocketStream<Stream>;

/// Serves a socket that has just been upgraded; `rest` is what was read behind the request.
pub async fn serve(gate: Arc<Gate>, stream: Stream, rest: bytes::Bytes, visit: Visit) {
    let began = Instant::now();
    let connection = format!("{:016x}", rand::random::<u64>());
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(gate.settings.limits.message_bytes))
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_frame_size(Some(gate.settings.limits.message_bytes));
    let mut socket =
        Socket::from_partially_read(stream, rest.into(), Role::Server, Some(config)).await;

    let address = visit.address(&gate);
    let shown = address.map_or_else(|| "unix".to_owned(), |address| address.to_string());
    let why = match enter(&gate, &visit, address).await {
        Ok((identity, admitted, _seat)) => {
            let user = identity.user.as_deref();
            let caller = Arc::new(Caller::new("websocket", &connection, user, &shown));
            report::opened(&caller);
            let subscription = gate.hub.open();
            subscription.introduce(&caller);
            let _close = Closing(Arc::clone(&subscription));
            gate.hub
                .enter(&subscription, identity.clone(), admitted.version);
            let session = Connection {
                gate: &gate,
                connection: &connection,
                subscription: &subscription,
            };
            let why = session.run(&mut socket, identity, admitted, &visit).await;
            report::closed(&caller, why.word(), began.elapsed().as_secs_f64());
            why
        }
        Err(refusal) => {
            report::refused("websocket", refusal.word(), &refusal.to_string(), &shown);
            refusal
        }
    };
    close(&gate, &mut socket, why).await;
}

/// Sees to it that a subscription is closed, however the connection ends.
struct Closing(Arc<Subscription>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn enter(
    gate: &Gate,
    visit: &Visit,
    address: Option<std::net::IpAddr>,
) -> Result<(Identity, Admitted, super::seats::Seat), Refusal> {
    let mut seat = gate.seats.sit(gate, address)?;
    let identity = gate.identify(visit).await?;
    seat.belongs_to(gate, identity.user.as_deref())?;
    if gate.hub.standpoint().borrow().is_none() {
        return Err(Refusal::DatabaseAway);
    }
    let admitted = gate.welcome(&identity, visit.rooms()).await?;
    Ok((identity, admitted, seat))
}

async fn close(gate: &Gate, socket: &mut Socket, why: Refusal) {
    let (_, code, _) = why.row();
    let reason = if matches!(code, 1012 | 1013) {
        // A bare number of milliseconds: machines read it.
        why.wait(gate.settings.http.spread).as_millis().to_string()
    } else {
        why.to_string()
    };
    let frame = CloseFrame {
        code: code.into(),
        reason: reason.into(),
    };
    let end = tokio::time::Instant::now() + why.grace();
    let said = timeout_at(end, socket.close(Some(frame))).await;
    let mut answered = false;
    if let Ok(Ok(())) = said {
        // Until the other side has answered, or the socket would be reset under its last frames.
        let answer = async { while let Some(Ok(_)) = socket.next().await {} };
        answered = timeout_at(end, answer).await.is_ok();
    }
    if !answered && why.ends_access() {
        // What it has not taken by now is nothing that it may still have.
        socket.get_ref().forget_unsent();
    }
}

struct Connection<'a> {
    gate: &'a Gate,
    connection: &'a str,
    subscription: &'a Arc<Subscription>,
}

impl Connection<'_> {
    async fn run(
        &self,
        socket: &mut Socket,
        identity: Identity,
        admitted: Admitted,
        visit: &Visit,
    ) -> Refusal {
        let since = visit.since();
        let resumes = since.is_some();
        // Nobody may outlive their time here, either.
        let since = tokio::select! {
            since = self.gate.reach(since.as_deref()) => match since {
                Ok(since) => since,
                Err(refusal) => return refusal,
            },
            ended = self.subscription.ended() => return ended.into(),
            () = until(identity.expires_at) => return Refusal::Expired,
        };
        let unreadable = matches!(since, crate::hub::Since::Unreadable);
        self.gate.hub.join(
            self.subscription,
            &admitted.rooms,
            since,
            None,
            admitted.version,
        );
        if unreadable {
            self.error(
                None,
                "bad-bookmark",
                &crate::bookmark::NotABookmark.to_string(),
                None,
            );
        }
        self.report_refused(&admitted, None);

        let seen = AtomicU64::new(unix_now());
        let (expiry, expires) = watch::channel(identity.expires_at);
        let (mut sink, mut stream) = socket.split();
        let greeting = write::Greeting { identity, resumes };
        tokio::select! {
            why = self.write(&mut sink, greeting) => why,
            why = self.read(&mut stream, &expiry, &seen) => why,
            ended = self.subscription.ended() => ended.into(),
            () = expired(expires) => Refusal::Expired,
            () = self.watch_pongs(&seen) => Refusal::NoPong,
        }
    }

    /// Ends when nothing was heard for the time of a ping and its pong.
    async fn watch_pongs(&self, seen: &AtomicU64) {
        let settings = &self.gate.settings.websocket;
        let patience = (settings.ping + settings.pong_timeout).as_secs().max(1);
        loop {
            let silent = unix_now().saturating_sub(seen.load(Ordering::Relaxed));
            if silent > patience {
                return;
            }
            tokio::time::sleep(Duration::from_secs(patience - silent + 1)).await;
        }
    }
}

async fn expired(mut expires: watch::Receiver<u64>) {
    loop {
        let at = *expires.borrow_and_update();
        tokio::select! {
            () = until(at) => return,
            changed = expires.changed() => if changed.is_err() { return },
        }
    }
}

//! The way in: sockets accepted, TLS shaken hands on, and each request handed to the front.
//! Hands over to the front's services. It must never leave one connection waiting for another.

use super::front::Front;
use super::handover::{Handover, WithPeer};
use super::socket::{Accepted, Socket as Listening};
use crate::config::Limits;
use crate::connection::cut::Cut;
use crate::connection::peer::{self, Peer};
use crate::connection::socket::Socket;
use crate::connection::socket::lent::Lent;
use crate::connection::takeover::{Head, Takeover};
use crate::connection::whose::network;
use crate::connection::{Gate, Refusal};
use crate::counts::{Counted, Counts, Full};
use crate::report::{self, Repeated};
use crate::stream::Stream;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Sockets that a browser opens to one host: as many of an address for each connection it may have.
const OF_A_BROWSER: usize = 6;

/// How many sockets are served: in all, and of one address, of which it is always fewer.
struct Sockets {
    open: Counts<IpAddr>,
    most: usize,
    of_one: usize,
    refusals: Repeated,
}

impl Sockets {
    fn new(limits: &Limits) -> Self {
        let most = limits.sockets;
        let spare = most - limits.connections;
        let of_one = limits.connections_per_address.saturating_mul(OF_A_BROWSER);
        Self {
            open: Counts::default(),
            most,
            of_one: of_one.min(most - spare / 2),
            refusals: Repeated::default(),
        }
    }

    fn take(&self, gate: &Gate, peer: Peer) -> Option<Counted<IpAddr>> {
        let address = peer.counted(gate).map(network);
        let entered = self.open.enter(address, self.most, self.of_one);
        let refused = |full: &Full| {
            let detail = match full {
                Full::All => "all sockets that may be open are".to_owned(),
                Full::Own => format!("{} sockets of this address are open", self.of_one),
            };
            let (word, shown) = (Refusal::from(*full).word(), peer::shown(peer.ip));
            report::refused_again(&self.refusals, "http", word, &detail, &shown);
        };
        entered.inspect_err(refused).ok()
    }
}

/// Accepts until it is dropped; those who are in stay.
pub(super) async fn accept_all(
    gate: &Arc<Gate>,
    listening: &Listening,
    tls: Option<TlsAcceptor>,
    front: Front,
    stopping: watch::Receiver<bool>,
) {
    let sockets = Sockets::new(&gate.settings.limits);
    // Not the builder that guesses HTTP's version: it would wait for a first byte without a limit.
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(gate.settings.http.header_timeout)
        .max_buf_size(gate.settings.limits.request_head_bytes.max(8192));
    loop {
        let (accepted, mut peer) = match listening.accept(&gate.settings.limits).await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: a pause lets some be closed.
                report::not_accepted(&error);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        peer.tls = tls.is_some() && matches!(accepted, Accepted::Tcp(_));
        // Beyond every limit nothing is said any more: the socket is closed unread.
        let Some(place) = sockets.take(gate, peer) else {
            continue;
        };
        let (builder, front, tls, timeout) = (
            builder.clone(),
            front.clone(),
            tls.clone(),
            gate.settings.http.header_timeout,
        );
        let stopping = stopping.clone();
        tokio::spawn(async move {
            // Boxed: a stream that has left HTTP goes on in this task, and must not keep HTTP's state.
            let shaken = Box::pin(shake_hands(accepted, tls, timeout));
            let Some(stream) = shaken.await else {
                return;
            };
            let socket = Arc::new(Socket::new(stream).at(place));
            let cut = Cut::default();
            let with_peer = WithPeer {
                front,
                peer,
                cut: cut.clone(),
                handover: Handover::default(),
            };
            let http = serve_http(&builder, &socket, with_peer, stopping);
            if let Some((takeover, head)) = Box::pin(http).await
                && let Some(serve) = takeover.take()
            {
                serve(socket, head).await;
            }
        });
    }
}

/// Serves requests until the connection ends, or until an answer takes the stream over.
async fn serve_http(
    builder: &http1::Builder,
    socket: &Arc<Socket>,
    service: WithPeer,
    mut stopping: watch::Receiver<bool>,
) -> Option<(Takeover, Head)> {
    let (cut, handover) = (service.cut.clone(), service.handover.clone());
    let lent = TokioIo::new(Lent::new(socket));
    let connection = builder.serve_connection(lent, service).with_upgrades();
    tokio::pin!(connection);
    let stopped = async { drop(stopping.wait_for(|stop| *stop).await) };
    tokio::pin!(stopped);
    let mut stops = false;
    loop {
        tokio::select! {
            // HTTP first: it brings the takeover about, and writes the answers that came before it.
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    report::http_ended(&error);
                }
                return None;
            }
            taken = handover.taken(socket) => return Some(taken),
            () = cut.called() => return None,
            () = stopped.as_mut(), if !stops => {
                stops = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn shake_hands(
    accepted: Accepted,
    tls: Option<TlsAcceptor>,
    timeout: Duration,
) -> Option<Stream> {
    match (accepted, tls) {
        (Accepted::Tcp(tcp), Some(tls)) => {
            match tokio::time::timeout(timeout, tls.accept(tcp)).await {
                Ok(Ok(tls)) => Some(tls.into()),
                Ok(Err(error)) => {
                    report::handshake_failed(&error);
                    None
                }
                Err(_) => None,
            }
        }
        (Accepted::Tcp(tcp), None) => Some(tcp.into()),
        (Accepted::Unix(unix), _) => Some(unix.into()),
    }
}

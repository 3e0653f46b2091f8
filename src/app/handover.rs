//! What passes between the accept loop and the routes besides requests and answers: who asks, and a
//! stream that an answer takes over.
//! Hands the stream to the accept loop. It must never do so before what was answered has left.

use super::front::Front;
use crate::connection::answer::Boxed;
use crate::connection::cut::Cut;
use crate::connection::peer::Peer;
use crate::connection::socket::Socket;
use crate::connection::takeover::{Head, Takeover};
use hyper::Version;
use hyper::body::Incoming;
use hyper::service::Service;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// An answer that takes the stream over, on its way to the accept loop.
#[derive(Clone, Default)]
pub(super) struct Handover(Arc<Mutex<Option<(Takeover, Head)>>>);

impl Handover {
    /// Waits for a takeover, and until the answers before it are written. It is HTTP that brings both
    /// about, which the same task polls: no waker is needed.
    pub(super) async fn taken(&self, socket: &Socket) -> (Takeover, Head) {
        poll_fn(|_| match self.0.lock().take_if(|_| !socket.is_full()) {
            Some(taken) => Poll::Ready(taken),
            None => Poll::Pending,
        })
        .await
    }
}

/// The head of an answer that the HTTP library does not write. Behind it the connection ends.
fn head<B>(version: Version, answer: &hyper::Response<B>) -> Head {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new();
    let date = date.timestamp_to_rfc9110_string(&jiff::Timestamp::now());
    let date = date.unwrap_or_default();
    let headers = answer.headers().iter();
    let headers = headers.filter(|(name, _)| *name != "content-length");
    // Older ones, such as some proxies, do not know chunks.
    let chunked = version == Version::HTTP_11;
    let coding = chunked.then_some(("transfer-encoding", &b"chunked"[..]));
    let own = [("date", date.as_bytes()), ("connection", b"close")];
    let own = own.into_iter().chain(coding);
    let all = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in all.chain(own) {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let bytes = head.into();
    Head { bytes, chunked }
}

/// Tells the routes what only the accept loop knows, and takes from them what is not HTTP's.
pub(super) struct WithPeer {
    pub(super) front: Front,
    pub(super) peer: Peer,
    pub(super) cut: Cut,
    pub(super) handover: Handover,
}

impl Service<hyper::Request<Incoming>> for WithPeer {
    type Response = Boxed;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Boxed, Infallible>> + Send>>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.cut.clone());
        let version = request.version();
        let (answer, handover) = (self.front.answer(request), self.handover.clone());
        Box::pin(async move {
            let mut answer = answer.await;
            if let Some(takeover) = answer.extensions_mut().remove::<Takeover>() {
                *handover.0.lock() = Some((takeover, head(version, &answer)));
                // HTTP has no part in it any more.
                std::future::pending::<()>().await;
            }
            Ok(answer)
        })
    }
}

//! An answer that goes on without the HTTP library: that has read the request, and would only hold
//! its buffers from then on. Hands the socket over to whoever answers.
//! It must never be taken over before all that was answered earlier has left.

use super::socket::Socket;
use bytes::Bytes;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use warp::reply::Response;

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

type Serve = Box<dyn FnOnce(Arc<Socket>, Head) -> Serving + Send>;

/// The head of the answer.
pub struct Head {
    /// As it goes over the wire, to be written first.
    pub bytes: Bytes,
    /// Whether the rest comes in chunks; otherwise the connection's end is the answer's.
    pub chunked: bool,
}

/// What goes on behind the head of an answer, with which it travels to whoever has the socket.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<Serve>>>);

impl Takeover {
    /// The answer with what goes on behind its head.
    #[must_use]
    pub fn of<F>(
        mut answer: Response,
        serve: impl FnOnce(Arc<Socket>, Head) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve: Serve = Box::new(move |socket, head| Box::pin(serve(socket, head)));
        let takeover = Self(Arc::new(Mutex::new(Some(serve))));
        answer.extensions_mut().insert(takeover);
        answer
    }

    /// Takes it, once.
    #[must_use]
    pub fn take(&self) -> Option<Serve> {
        self.0.lock().take()
    }
}

//! A socket while it is HTTP's, and how it comes back from there.
//! Hands the socket over to whoever upgrades. It must never be taken before HTTP has let go of it.

use super::Socket;
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket lent to a library that wants one of its own; whoever lent it has it still.
#[derive(Debug)]
pub struct Lent(Arc<Socket>);

impl Lent {
    #[must_use]
    pub fn new(socket: &Arc<Socket>) -> Self {
        Self(Arc::clone(socket))
    }

    /// The socket, when HTTP lets go of it, and what was read behind the request. Nothing if it never
    /// does, or had it from somebody else.
    pub async fn back(upgrade: OnUpgrade) -> Option<(Arc<Socket>, Bytes)> {
        let parts = upgrade.await.ok()?.downcast::<TokioIo<Self>>().ok()?;
        let Self(socket) = parts.io.into_inner();
        Some((socket, parts.read_buf))
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.stream.poll_read(context, buffer)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.stream.poll_write(context, &[IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.stream.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.stream.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.stream.poll_write(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

//! The ways in: TCP, TLS over it, and Unix sockets, as one type that several may read and write at
//! once.
//! Hands bytes over. It must never hide which way somebody came.

use parking_lot::Mutex;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// An accepted connection. One task polls it, and only that one is woken; whoever else has it may
/// try.
#[derive(Debug)]
pub struct Stream {
    way: Way,
    /// The last write found no room.
    full: AtomicBool,
}

#[derive(Debug)]
enum Way {
    Tcp(TcpStream),
    Tls(Box<Mutex<TlsStream<TcpStream>>>),
    Unix(UnixStream),
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::of(Way::Tcp(tcp))
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(tls: TlsStream<TcpStream>) -> Self {
        Self::of(Way::Tls(Box::new(Mutex::new(tls))))
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Self {
        Self::of(Way::Unix(unix))
    }
}

/// Reads or writes as soon as the system says that it may, and as often as it was wrong.
macro_rules! when_ready {
    ($ready:expr, $attempt:expr) => {
        loop {
            ready!($ready)?;
            match $attempt {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => break Poll::Ready(done),
            }
        }
    };
}

impl Stream {
    fn of(way: Way) -> Self {
        let full = AtomicBool::new(false);
        Self { way, full }
    }

    pub fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &self.way {
            Way::Tcp(tcp) => {
                when_ready!(tcp.poll_read_ready(context), tcp.try_read_buf(buffer)).map_ok(drop)
            }
            Way::Unix(unix) => {
                when_ready!(unix.poll_read_ready(context), unix.try_read_buf(buffer)).map_ok(drop)
            }
            Way::Tls(tls) => Pin::new(&mut *tls.lock()).poll_read(context, buffer),
        }
    }

    pub fn poll_write(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let attempt = || self.try_write(slices);
        let written = match &self.way {
            Way::Tcp(tcp) => when_ready!(
                tcp.poll_write_ready(context),
                tcp.try_io(Interest::WRITABLE, attempt)
            ),
            Way::Unix(unix) => when_ready!(
                unix.poll_write_ready(context),
                unix.try_io(Interest::WRITABLE, attempt)
            ),
            Way::Tls(tls) => Pin::new(&mut *tls.lock()).poll_write_vectored(context, slices),
        };
        self.full.store(written.is_pending(), Ordering::Release);
        written
    }

    /// Writes what the system takes at once. The runtime's notes on what is ready are not asked: they
    /// lie elsewhere, and nobody else may have needed them for long.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing, and always with TLS, which only its own task may write.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = match &self.way {
            Way::Tcp(tcp) => SockRef::from(tcp),
            Way::Unix(unix) => SockRef::from(unix),
            Way::Tls(_) => return Err(io::ErrorKind::WouldBlock.into()),
        };
        match slices {
            // A single piece has a cheaper system call of its own.
            [one] => socket.send(one),
            several => socket.send_vectored(several),
        }
    }

    /// Whether whoever wrote last is still waiting for room.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Has everything leave that a layer of ours holds.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.way {
            Way::Tcp(_) | Way::Unix(_) => Poll::Ready(Ok(())),
            Way::Tls(tls) => {
                let flushed = Pin::new(&mut *tls.lock()).poll_flush(context);
                self.full.store(flushed.is_pending(), Ordering::Release);
                flushed
            }
        }
    }

    /// Says that nothing more is written.
    pub fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = match &self.way {
            Way::Tcp(tcp) => SockRef::from(tcp),
            Way::Unix(unix) => SockRef::from(unix),
            Way::Tls(tls) => return Pin::new(&mut *tls.lock()).poll_shutdown(context),
        };
        Poll::Ready(socket.shutdown(std::net::Shutdown::Write))
    }

    /// Has the system throw away what it was given and the other side has not taken, once this is
    /// dropped. A Unix socket's other side has all of it already.
    pub fn forget_unsent(&self) {
        let forget = |tcp: &TcpStream| {
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        };
        match &self.way {
            Way::Tcp(tcp) => forget(tcp),
            Way::Tls(tls) => forget(tls.lock().get_ref().0),
            Way::Unix(_) => {}
        }
    }
}

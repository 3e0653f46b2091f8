//! The socket that is listened on, of either kind, and what the kernel is to do for it.
//! Hands over what came in. It must never take away a file at which somebody may listen, nor one that is
//! no socket.

use super::OpenError;
use crate::config::Limits;
use crate::connection::peer::Peer;
use std::io;
use std::os::unix::fs::FileTypeExt;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

/// Connections that the kernel may hold for us until they are accepted (net.core.somaxconn allows no
/// more): of a crowd that comes back at once, who finds no room knocks again a second later.
const BACKLOG: u32 = 4096;

/// What came in, before TLS.
pub(super) enum Accepted {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// A bound socket of either kind.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    /// Binds `http.listen`: `host:port` or `unix:/path`.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(address: &str) -> Result<Self, OpenError> {
        Self::bind_as("http.listen", address).await
    }

    /// Binds the address of this setting.
    pub(super) async fn bind_as(key: &'static str, address: &str) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Listen(key, address.to_owned(), error);
        if let Some(path) = address.strip_prefix("unix:") {
            clear(path).await.map_err(failed)?;
            return UnixListener::bind(path).map(Self::Unix).map_err(failed);
        }
        listen(address).await.map(Self::Tcp).map_err(failed)
    }

    /// Where it is bound, for people.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "?".into(), |address| address.to_string()),
            Self::Unix(listener) => listener
                .local_addr()
                .ok()
                .and_then(|address| Some(format!("unix:{}", address.as_pathname()?.display())))
                .unwrap_or_else(|| "?".into()),
        }
    }

    /// Listens no more. The file goes first: what is at its place later is the next run's.
    pub(super) fn close(self) {
        if let Self::Unix(listener) = &self
            && let Ok(address) = listener.local_addr()
            && let Some(path) = address.as_pathname()
        {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Accepts, and bounds what the kernel does for us: how long the other side may leave bytes
    /// unacknowledged, and how many may lie unsent.
    pub(super) async fn accept(&self, limits: &Limits) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A frame is complete when it is written: nothing is to be waited for.
                let _ = stream.set_nodelay(true);
                // What is not taken for that long never will be: quiet streams have no other clock.
                #[cfg(target_os = "linux")]
                {
                    let socket = socket2::SockRef::from(&stream);
                    let _ = socket.set_tcp_user_timeout(Some(limits.write_stall));
                    let unsent = u32::try_from(limits.unsent_bytes).unwrap_or(u32::MAX);
                    let _ = socket.set_tcp_notsent_lowat(unsent);
                }
                #[cfg(not(target_os = "linux"))]
                let _ = limits;
                let peer = Peer {
                    ip: Some(peer.ip().to_canonical()),
                    tls: false,
                };
                Ok((Accepted::Tcp(stream), peer))
            }
            Self::Unix(listener) => {
                Ok((Accepted::Unix(listener.accept().await?.0), Peer::default()))
            }
        }
    }
}

/// Takes away a socket file at which nobody listens: it is left over from a run that was killed.
async fn clear(path: &str) -> io::Result<()> {
    let Ok(there) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    let taken = |what| Err(io::Error::new(io::ErrorKind::AddrInUse, what));
    if !there.file_type().is_socket() {
        return taken("this file is no socket: move it away, or listen elsewhere");
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        // Or who can't be asked: too many wait already, or it is somebody else's.
        _ => taken("somebody listens there: stop it, or listen elsewhere"),
    }
}

/// Listens on the first of an address's places that can be had.
async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "this is no address");
    for place in tokio::net::lookup_host(address).await? {
        let socket = if place.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let bound = socket.and_then(|socket| {
            // Connections of a run before may linger.
            socket.set_reuseaddr(true)?;
            socket.bind(place)?;
            socket.listen(BACKLOG)
        });
        match bound {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

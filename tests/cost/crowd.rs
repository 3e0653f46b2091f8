//! Those who listen to the room `r:1`: plain sockets, which know of messages only that each has the
//! sign `@@` in it. Hands over how many there are. It must never cost more than the service that
//! is counted.

use crate::support::{token, within};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    WebSocket,
    Sse,
    SocketIo,
}

pub struct Crowd {
    way: Way,
    address: String,
    listeners: Vec<Listener>,
}

struct Listener {
    stream: TcpStream,
    /// The last byte that was read: a sign may come in two pieces.
    last: u8,
    heard: usize,
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

impl Crowd {
    pub fn new(way: Way, address: &str) -> Self {
        Self {
            way,
            address: address.to_owned(),
            listeners: Vec::new(),
        }
    }

    /// That many more come in, and are told that they are.
    pub async fn grows(&mut self, more: usize) {
        let from = self.listeners.len();
        let coming = (from..from + more).map(|user| Listener::come(self.way, &self.address, user));
        let come = within("all are welcome", join_all(coming)).await;
        self.listeners.extend(come);
    }

    /// Until each has heard that many more messages.
    pub async fn hears(&mut self, messages: usize) {
        let hearing = self
            .listeners
            .iter_mut()
            .map(|listener| listener.hear(messages));
        within("all hear it", join_all(hearing)).await;
    }
}

impl Listener {
    async fn come(way: Way, address: &str, user: usize) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        let mut listener = Self {
            stream,
            last: 0,
            heard: 0,
        };
        let token = token(&user.to_string(), "", "");
        let (path, more) = match way {
            Way::WebSocket => ("/ws?rooms=r:1", UPGRADE),
            Way::Sse => ("/sse?rooms=r:1", ""),
            Way::SocketIo => ("/socket.io/?EIO=4&transport=websocket&room=r:1", UPGRADE),
        };
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{more}\r\n"
        );
        listener
            .stream
            .write_all(head.as_bytes())
            .await
            .expect("it is read");
        if way == Way::SocketIo {
            listener.until("pingInterval").await;
            // A text of two letters, masked with zeros: connect to the namespace.
            let connect = [0x81, 0x82, 0, 0, 0, 0, b'4', b'0'];
            listener
                .stream
                .write_all(&connect)
                .await
                .expect("it is read");
        }
        listener.until("welcome").await;
        listener
    }

    async fn until(&mut self, word: &str) {
        let mut read = String::new();
        while !read.contains(word) {
            let mut chunk = [0; 4096];
            let length = self.stream.read(&mut chunk).await.expect("it stays open");
            assert!(length > 0, "closed after: {read}");
            read.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    }

    async fn hear(&mut self, messages: usize) {
        let aim = self.heard + messages;
        let mut chunk = [0; 16 * 1024];
        while self.heard < aim {
            let length = self.stream.read(&mut chunk).await.expect("it stays open");
            assert!(length > 0, "closed");
            // What has no sign is most of it, and a debug build takes its time for each byte.
            for piece in chunk[..length].chunks(1024) {
                if piece.contains(&b'@') {
                    for byte in piece {
                        self.heard += usize::from(*byte == b'@' && self.last == b'@');
                        self.last = *byte;
                    }
                }
                self.last = piece[piece.len() - 1];
            }
        }
        assert_eq!(self.heard, aim, "more than there were");
    }
}

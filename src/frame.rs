//! What is written to a socket in one piece, and to many sockets the same piece: made once, shared
//! by reference count. Hands bytes over to whoever writes, and text to whoever wraps it otherwise.
//! It must never be changed once it is made.

use bytes::Bytes;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Of a frame that waits, besides its bytes.
const AROUND: usize = 64;

/// What a WebSocket frame is (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    /// By its number on the wire.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        let all = [
            Self::Continuation,
            Self::Text,
            Self::Binary,
            Self::Close,
            Self::Ping,
            Self::Pong,
        ];
        all.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Whether it may stand between the fragments of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// Bytes as they go over a socket, and the text among them.
#[derive(Clone, Debug, Default)]
pub struct Frame(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: Bytes,
    text: Utf8Bytes,
}

impl Frame {
    /// What holds no text.
    #[must_use]
    pub fn raw(bytes: Bytes) -> Self {
        let text = Utf8Bytes::default();
        Self(Arc::new(Inner { bytes, text }))
    }

    /// Text as it is.
    #[must_use]
    pub fn plain(text: impl Into<Utf8Bytes>) -> Self {
        let text = text.into();
        let bytes = text.clone().into();
        Self(Arc::new(Inner { bytes, text }))
    }

    /// Text between what surrounds it on the wire.
    fn around(head: &[u8], text: &str, tail: &[u8]) -> Self {
        let bytes = Bytes::from([head, text.as_bytes(), tail].concat());
        let text = bytes.slice(head.len()..head.len() + text.len());
        let text = Utf8Bytes::try_from(text).unwrap_or_default();
        Self(Arc::new(Inner { bytes, text }))
    }

    /// A whole text frame of a WebSocket.
    #[must_use]
    pub fn websocket(text: &str) -> Self {
        Self::around(&head(Opcode::Text, text.len()), text, b"")
    }

    /// Any other frame of a WebSocket.
    #[must_use]
    pub fn control(kind: Opcode, payload: &[u8]) -> Self {
        Self::raw([&head(kind, payload.len()), payload].concat().into())
    }

    /// A chunk of an HTTP answer (RFC 9112, 7.1).
    #[must_use]
    pub fn chunk(text: &str) -> Self {
        Self::around(format!("{:x}\r\n", text.len()).as_bytes(), text, b"\r\n")
    }

    /// The text alone.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self::plain(self.0.text.clone())
    }

    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text.as_str()
    }

    /// With all that surrounds the text.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// What it counts where it waits, in bytes: an empty one takes room, too.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes().len() + AROUND
    }
}

/// The head of a WebSocket frame as a server sends it: whole, and not masked.
fn head(kind: Opcode, length: usize) -> Vec<u8> {
    let mut head = vec![0x80 | kind as u8];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => head.push(short),
        (_, Ok(middle)) => {
            head.push(126);
            head.extend(middle.to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_how_long_the_text_is() {
        for (length, head) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xffff, &[0x81, 126, 0xff, 0xff]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(length);
            let frame = Frame::websocket(&text);
            assert_eq!(frame.text(), text);
            assert_eq!(&frame.bytes()[..head.len()], head);
            assert_eq!(&frame.bytes()[head.len()..], text.as_bytes());
        }
    }

    #[test]
    fn a_chunk_says_how_many_bytes_it_has() {
        let frame = Frame::chunk("id: grün\n\n\n\n\n");
        assert_eq!(frame.bytes(), "e\r\nid: grün\n\n\n\n\n\r\n".as_bytes());
        assert_eq!(frame.text(), "id: grün\n\n\n\n\n");
        assert_eq!(frame.bare().bytes(), frame.text().as_bytes());
    }
}

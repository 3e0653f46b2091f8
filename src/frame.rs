//! What is written to a socket in one piece, and to many sockets the same piece: made once, shared
//! by reference count. Hands bytes over to whoever writes, and text to whoever wraps it otherwise.
//! It must never be changed once it is made.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// The longest head of a WebSocket frame that a server sends.
const HEAD: usize = 10;

/// What a WebSocket frame is (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Kind {
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

/// Text, as it goes over the socket.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    text: Utf8Bytes,
    bytes: Bytes,
}

impl Frame {
    /// A whole text frame of a WebSocket.
    #[must_use]
    pub fn websocket(text: &str) -> Self {
        let bytes = encode(Kind::Text, text.as_bytes());
        let head = bytes.len() - text.len();
        let text = Utf8Bytes::try_from(bytes.slice(head..)).unwrap_or_default();
        Self { text, bytes }
    }

    /// Text as it is.
    #[must_use]
    pub fn plain(text: String) -> Self {
        let text = Utf8Bytes::from(text);
        let bytes = text.clone().into();
        Self { text, bytes }
    }

    /// A chunk of an HTTP answer (RFC 9112, 7.1).
    #[must_use]
    pub fn chunk(text: &str) -> Self {
        let head = format!("{:x}\r\n", text.len());
        let start = head.len();
        let bytes = Bytes::from([&head, text, "\r\n"].concat());
        let text = Utf8Bytes::try_from(bytes.slice(start..start + text.len()));
        let text = text.unwrap_or_default();
        Self { text, bytes }
    }

    /// The text alone.
    #[must_use]
    pub fn bare(&self) -> Self {
        let text = self.text.clone();
        let bytes = text.clone().into();
        Self { text, bytes }
    }

    #[must_use]
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// With all that surrounds the text.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// A frame of a WebSocket as a server sends it: whole, and not masked.
#[must_use]
pub fn encode(kind: Kind, payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    bytes.push(0x80 | kind as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => bytes.push(length),
        (_, Ok(length)) => {
            bytes.push(126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes.into()
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

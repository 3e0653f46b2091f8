//! What a client sends over a WebSocket (RFC 6455, 5): bytes to messages.
//! Hands messages over to whoever reads. It must never hold more than one message of the allowed
//! size, and nothing at all between two messages.

use crate::connection::Refusal;
use crate::frame::Opcode;

/// The most that a control frame may carry.
const CONTROL: usize = 125;

/// A message, whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary,
    Ping(Vec<u8>),
    Pong,
    /// With its code, if it has one.
    Close(Option<u16>),
}

/// Bytes as they come, until they are messages.
#[derive(Debug)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// The fragments of a message that came so far.
    begun: Option<(Opcode, Vec<u8>)>,
    /// Bytes of a message.
    most: usize,
    /// The code with which the other side closed.
    closed: Option<u16>,
}

/// The head of a client's frame.
struct Head {
    last: bool,
    kind: Opcode,
    mask: [u8; 4],
    /// Bytes of the head itself, and of what it carries.
    length: usize,
    carries: usize,
}

impl Decoder {
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            begun: None,
            most,
            closed: None,
        }
    }

    /// The code with which the other side closed, if it has, and gave one.
    #[must_use]
    pub fn closed(&self) -> Option<u16> {
        self.closed
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// The next message, if all of it has come.
    ///
    /// # Errors
    /// This is not the protocol, or too much.
    pub fn next(&mut self) -> Result<Option<Message>, Refusal> {
        while let Some(head) = head(&self.bytes)? {
            let gathered = self.begun.as_ref().map_or(0, |(_, text)| text.len());
            if head.carries > self.most.saturating_sub(gathered) && !head.kind.is_control() {
                return Err(Refusal::TooBig);
            }
            let end = head.length + head.carries;
            let Some(payload) = self.bytes.get_mut(head.length..end) else {
                return Ok(None);
            };
            for (byte, mask) in payload.iter_mut().zip(head.mask.iter().cycle()) {
                *byte ^= mask;
            }
            let payload = payload.to_vec();
            self.bytes.drain(..end);
            if self.bytes.is_empty() {
                self.bytes = Vec::new();
            }
            if let Some(message) = self.take(&head, payload)? {
                if let Message::Close(code) = message {
                    self.closed = code;
                }
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn take(&mut self, head: &Head, payload: Vec<u8>) -> Result<Option<Message>, Refusal> {
        let (kind, whole) = match (head.kind, self.begun.take()) {
            (Opcode::Continuation, Some((kind, mut begun))) => {
                begun.extend(payload);
                (kind, begun)
            }
            (kind, begun) if kind.is_control() => {
                self.begun = begun;
                return control(kind, payload).map(Some);
            }
            (Opcode::Continuation, None) | (_, Some(_)) => return Err(Refusal::Protocol),
            (kind, None) => (kind, payload),
        };
        if !head.last {
            self.begun = Some((kind, whole));
            return Ok(None);
        }
        if kind == Opcode::Binary {
            return Ok(Some(Message::Binary));
        }
        let text = String::from_utf8(whole).map_err(|_| Refusal::Protocol)?;
        Ok(Some(Message::Text(text)))
    }
}

/// Reads a head, if all of it has come.
fn head(bytes: &[u8]) -> Result<Option<Head>, Refusal> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let kind = Opcode::of(first & 0x0f).ok_or(Refusal::Protocol)?;
    let (last, reserved, masked) = (first & 0x80 != 0, first & 0x70 != 0, second & 0x80 != 0);
    let short = usize::from(second & 0x7f);
    let wrong_control = kind.is_control() && (!last || short > CONTROL);
    if reserved || !masked || wrong_control {
        return Err(Refusal::Protocol);
    }
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((length, rest)) = rest.split_at_checked(extended) else {
        return Ok(None);
    };
    let Some(mask) = rest.first_chunk() else {
        return Ok(None);
    };
    let carries = if extended == 0 {
        short
    } else {
        let long = length
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte));
        usize::try_from(long).map_err(|_| Refusal::TooBig)?
    };
    Ok(Some(Head {
        last,
        kind,
        mask: *mask,
        length: 2 + extended + mask.len(),
        carries,
    }))
}

fn control(kind: Opcode, payload: Vec<u8>) -> Result<Message, Refusal> {
    match (kind, payload.as_slice()) {
        (Opcode::Ping, _) => Ok(Message::Ping(payload)),
        (Opcode::Pong, _) => Ok(Message::Pong),
        (_, []) => Ok(Message::Close(None)),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            let may_be_said = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if !may_be_said || std::str::from_utf8(reason).is_err() {
                return Err(Refusal::Protocol);
            }
            Ok(Message::Close(Some(code)))
        }
        (_, [_]) => Err(Refusal::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::Role;
    use tokio_tungstenite::tungstenite::{Message as Sent, WebSocket};

    const MOST: usize = 70_000;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        masked(first, payload, [1, 2, 3, 4])
    }

    /// A frame as a client sends it.
    fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
            middle @ 126..0x1_0000 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
            }
            long => {
                bytes.push(0x80 | 127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        bytes.extend(mask);
        let payload = payload.iter().zip(mask.iter().cycle());
        bytes.extend(payload.map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Message>, Refusal> {
        let mut decoder = Decoder::new(MOST);
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.push(piece);
            while let Some(message) = decoder.next()? {
                found.push(message);
            }
        }
        assert_eq!(
            decoder.bytes.capacity(),
            0,
            "nothing is held between messages"
        );
        Ok(found)
    }

    struct Pipe(Vec<u8>);

    impl std::io::Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl std::io::Read for Pipe {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::WouldBlock.into())
        }
    }

    #[test]
    fn what_another_implementation_sends_is_understood_however_it_is_cut() {
        let texts = [0, 1, 125, 126, 127, 0xffff, 0x1_0000].map(|length| "ü".repeat(length / 2));
        let mut client = WebSocket::from_raw_socket(Pipe(Vec::new()), Role::Client, None);
        for text in &texts {
            client.send(Sent::text(text.clone())).unwrap();
        }
        client.send(Sent::Ping("p".into())).unwrap();
        client.send(Sent::binary("b")).unwrap();
        let bytes = std::mem::take(&mut client.get_mut().0);
        let mut expected: Vec<_> = texts.into_iter().map(Message::Text).collect();
        expected.extend([Message::Ping(b"p".to_vec()), Message::Binary]);
        for piece in [1, 2, 7, 4096, bytes.len()] {
            assert_eq!(
                decode(&bytes, piece).as_ref(),
                Ok(&expected),
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn fragments_make_one_message_and_let_control_frames_pass() {
        let bytes = [
            frame(0x01, "grü".as_bytes()),
            frame(0x89, b"still there?"),
            frame(0x00, b""),
            frame(0x80, b"n"),
            frame(0x88, &[0x03, 0xe8, b'x']),
        ]
        .concat();
        let expected = [
            Message::Ping(b"still there?".to_vec()),
            Message::Text("grün".into()),
            Message::Close(Some(1000)),
        ];
        assert_eq!(decode(&bytes, 1).as_deref(), Ok(&expected[..]));
    }

    proptest! {
        /// Whatever its masks, its fragments, with pings between them, and the pieces that it comes in.
        #[test]
        fn what_was_said_is_what_is_heard(
            texts in prop::collection::vec(("\\PC{0,80}", 1..9usize), 0..5),
            mask in any::<[u8; 4]>(),
            piece in 1..300usize,
        ) {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for (text, fragments) in texts {
                let length = text.len().div_ceil(fragments).max(1);
                let mut parts: Vec<_> = text.as_bytes().chunks(length).collect();
                parts.resize(fragments, &[]);
                for (number, part) in parts.into_iter().enumerate() {
                    let kind = u8::from(number == 0);
                    let last = if number + 1 == fragments { 0x80 } else { 0 };
                    bytes.extend(masked(last | kind, part, mask));
                    if last == 0 {
                        let ping = &part[..part.len().min(CONTROL)];
                        bytes.extend(masked(0x89, ping, mask));
                        expected.push(Message::Ping(ping.to_vec()));
                    }
                }
                expected.push(Message::Text(text));
            }
            prop_assert_eq!(decode(&bytes, piece), Ok(expected));
        }

        /// Not to be understood, and no more held of it than a message may have.
        #[test]
        fn whatever_comes_is_bounded(
            frames in prop::collection::vec(
                (any::<u8>(), prop::collection::vec(any::<u8>(), 0..400)), 0..20
            ),
            raw in prop::collection::vec(any::<u8>(), 0..200),
            piece in 1..300usize,
        ) {
            const LEAST: usize = 300;
            let frames = frames.iter().flat_map(|(first, payload)| frame(*first, payload));
            let bytes: Vec<u8> = frames.chain(raw).collect();
            let mut decoder = Decoder::new(LEAST);
            'heard: for piece in bytes.chunks(piece) {
                decoder.push(piece);
                loop {
                    match decoder.next() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'heard,
                    }
                }
                let begun = decoder.begun.as_ref().map_or(0, |(_, text)| text.len());
                prop_assert!(begun <= LEAST && decoder.bytes.len() < LEAST + 14);
            }
        }
    }

    #[test]
    fn what_is_not_the_protocol_is_refused() {
        let mut bare = frame(0x81, b"x");
        bare[1] &= 0x7f;
        let huge = [&[0x81, 0xff][..], &[0xff; 8], &[0; 4]].concat();
        let parts = [frame(0x01, &[b'x'; MOST]), frame(0x80, b"x")].concat();
        for (bytes, expected) in [
            (bare, Refusal::Protocol),
            (frame(0xc1, b"x"), Refusal::Protocol),
            (frame(0x83, b"x"), Refusal::Protocol),
            (frame(0x80, b"x"), Refusal::Protocol),
            (frame(0x09, b"x"), Refusal::Protocol),
            (frame(0x89, &[0; 126]), Refusal::Protocol),
            (
                [frame(0x01, b"x"), frame(0x81, b"x")].concat(),
                Refusal::Protocol,
            ),
            (frame(0x81, &[0xff]), Refusal::Protocol),
            (frame(0x88, &[3]), Refusal::Protocol),
            (frame(0x88, &[0x03, 0xed]), Refusal::Protocol),
            (frame(0x88, &[0x03, 0xe8, 0xff]), Refusal::Protocol),
            (frame(0x81, &[b'x'; MOST + 1]), Refusal::TooBig),
            (huge, Refusal::TooBig),
            (parts, Refusal::TooBig),
        ] {
            assert_eq!(
                decode(&bytes, bytes.len()),
                Err(expected),
                "{:?}",
                &bytes[..2]
            );
        }
    }
}

//! What comes over one connection, cut into messages: WebSocket frames, or server-sent events, with
//! or without chunks around them.
//! Hands each to whoever listens, as it lies in the buffer that was read. It must never copy what is
//! whole, for the load shares two cores with the servers.

use memchr::memmem;

/// The longest head of an answer that any server here sends.
const HEAD: usize = 16_384;

/// One message, or what stands for one.
#[derive(Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// The answer's status: 101 or 200 where all is well.
    Head(u16),
    /// A text frame, or a server-sent event with its fields.
    Text(&'a [u8]),
    Ping(&'a [u8]),
    /// A close frame's code and reason; 0 for what is no protocol that we know.
    Close(u16, &'a [u8]),
}

/// One connection's place in what it reads.
#[derive(Debug, Default)]
pub struct Wire {
    stage: Stage,
    /// The beginning of something that was not whole yet.
    rest: Vec<u8>,
    /// The beginning of a server-sent event, without chunks around it.
    event: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Head,
    Frames,
    Chunks,
    Plain,
}

impl Wire {
    /// Takes what was read, and tells of each message in it that is whole.
    pub fn feed(&mut self, bytes: &[u8], hear: &mut impl FnMut(Message<'_>)) {
        if self.rest.is_empty() {
            let used = self.take(bytes, hear);
            self.rest.extend_from_slice(&bytes[used..]);
            return;
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let used = self.take(&rest, hear);
        rest.drain(..used);
        self.rest = rest;
    }

    fn take(&mut self, bytes: &[u8], hear: &mut impl FnMut(Message<'_>)) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let used = match self.stage {
                Stage::Head => self.head(&bytes[at..], hear),
                Stage::Frames => frame(&bytes[at..], hear),
                Stage::Chunks => self.chunk(&bytes[at..], hear),
                Stage::Plain => {
                    self.events(&bytes[at..], hear);
                    Some(bytes.len() - at)
                }
            };
            let Some(used) = used else { break };
            at += used;
        }
        at
    }

    fn head(&mut self, bytes: &[u8], hear: &mut impl FnMut(Message<'_>)) -> Option<usize> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            if bytes.len() > HEAD {
                hear(Message::Close(0, b"an endless head"));
            }
            return None;
        };
        let head = bytes[..end].to_ascii_lowercase();
        let status = head.get(9..12).and_then(|digits| decimal(digits).0);
        let status = status.unwrap_or_default() as u16;
        self.stage = if status == 101 {
            Stage::Frames
        } else if memmem::find(&head, b"transfer-encoding: chunked").is_some() {
            Stage::Chunks
        } else {
            Stage::Plain
        };
        hear(Message::Head(status));
        Some(end + 4)
    }

    fn chunk(&mut self, bytes: &[u8], hear: &mut impl FnMut(Message<'_>)) -> Option<usize> {
        let line = memmem::find(bytes, b"\r\n")?;
        let size = bytes[..line].iter().take_while(|b| b.is_ascii_hexdigit());
        let size = size.fold(0, |size, digit| {
            size * 16 + (*digit as char).to_digit(16).unwrap_or_default() as usize
        });
        let data = bytes.get(line + 2..line + 2 + size)?;
        let end = line + 2 + size + 2;
        if bytes.len() < end {
            return None;
        }
        self.events(data, hear);
        Some(end)
    }

    fn events(&mut self, mut data: &[u8], hear: &mut impl FnMut(Message<'_>)) {
        if !self.event.is_empty() {
            let mut whole = std::mem::take(&mut self.event);
            whole.extend_from_slice(data);
            let used = cut(&whole, hear);
            whole.drain(..used);
            self.event = whole;
            return;
        }
        data = &data[cut(data, hear)..];
        self.event.extend_from_slice(data);
    }
}

/// Tells of each event that ends in an empty line; how far that is.
fn cut(data: &[u8], hear: &mut impl FnMut(Message<'_>)) -> usize {
    let mut at = 0;
    while let Some(end) = memmem::find(&data[at..], b"\n\n") {
        if end > 0 {
            hear(Message::Text(&data[at..at + end]));
        }
        at += end + 2;
    }
    at
}

/// One frame of a server, which masks nothing; none: it is not whole yet.
fn frame(bytes: &[u8], hear: &mut impl FnMut(Message<'_>)) -> Option<usize> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, start) = match second & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            (usize::from(u16::from_be_bytes(length)), 4)
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            (usize::try_from(u64::from_be_bytes(length)).ok()?, 10)
        }
        length => (usize::from(length), 2),
    };
    let payload = bytes.get(start..start + length)?;
    match first {
        0x81 => hear(Message::Text(payload)),
        0x89 => hear(Message::Ping(payload)),
        0x8a => {}
        0x88 if length >= 2 => {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            hear(Message::Close(code, &payload[2..]));
        }
        0x88 => hear(Message::Close(1005, b"")),
        _ => hear(Message::Close(0, b"a frame that no server here sends")),
    }
    Some(start + length)
}

/// A masked frame, as clients send them; the mask is of zeros, so that what it masks stays as it is.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The number that begins here, and how many digits it has.
pub fn decimal(text: &[u8]) -> (Option<u64>, usize) {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = text[..digits].iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    (number.filter(|_| digits > 0), digits)
}

//! The bytes of a WebSocket of Engine.IO, between the library and the stream: seen, not changed.
//! Hands the number of packets that left over to the line's flow, and the line's end to the library.
//! It must never hold a byte back.

use super::line::Line;
use crate::stream::Lent;
use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A WebSocket's stream; the line is carried by it until it is dropped.
pub(super) struct Wire {
    stream: Lent,
    /// What was read behind the request.
    rest: Bytes,
    line: Arc<Line>,
    tally: Tally,
}

impl Wire {
    pub fn new(stream: Lent, rest: Bytes, line: Arc<Line>) -> Self {
        line.wire(true);
        Self {
            stream,
            rest,
            line,
            tally: Tally::default(),
        }
    }

    fn inner(&mut self, context: &Context<'_>) -> io::Result<Pin<&mut Lent>> {
        if self.line.is_cut(context.waker()) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(Pin::new(&mut self.stream))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.line.is_forgotten() {
            self.stream.0.forget_unsent();
        }
        self.line.wire(false);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.line.is_ending(context.waker()) {
            return Poll::Ready(Ok(()));
        }
        if self.rest.has_remaining() {
            let count = self.rest.len().min(buffer.remaining());
            buffer.put_slice(&self.rest.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.inner(context)?.poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            let left = self.tally.pass(&bytes[..count]);
            self.line.flow.leave(left);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner(context)?.poll_shutdown(context)
    }
}

/// Whether a packet of Engine.IO is an event or an answer: these are counted in, and therefore out.
pub(super) fn counts(packet: &[u8]) -> bool {
    packet.starts_with(b"42") || packet.starts_with(b"43")
}

/// Follows the frames of a server, which are not masked, and counts the packets among them that count.
#[derive(Debug, Default)]
struct Tally {
    /// The frame's head, and the first two bytes of what it carries.
    head: Vec<u8>,
    /// Bytes that it carries besides.
    rest: usize,
}

impl Tally {
    /// How many ended with these bytes.
    fn pass(&mut self, mut bytes: &[u8]) -> usize {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.rest == 0 {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                let Some((head, length)) = self.measure() else {
                    continue;
                };
                let start = length.min(2);
                if self.head.len() < head + start {
                    continue;
                }
                self.rest = length - start;
            } else {
                let skipped = self.rest.min(bytes.len());
                bytes = &bytes[skipped..];
                self.rest -= skipped;
            }
            if self.rest == 0 {
                let (head, _) = self.measure().unwrap_or_default();
                ended += usize::from(counts(&self.head[head..]));
                self.head.clear();
            }
        }
        ended
    }

    /// Lengths of the head and of what it carries, as soon as they can be known.
    fn measure(&self) -> Option<(usize, usize)> {
        let short = usize::from(self.head.get(1)? & 0x7f);
        let long = match short {
            126 => 2..4,
            127 => 2..10,
            _ => return Some((2, short)),
        };
        let head = long.end;
        let length = self.head.get(long)?;
        let length = length
            .iter()
            .fold(0, |all, byte| all << 8 | usize::from(*byte));
        Some((head, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_tungstenite::tungstenite::{Message, WebSocket, protocol::Role};

    #[derive(Default)]
    struct Sink(Vec<u8>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl io::Read for Sink {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    #[test]
    fn packets_are_counted_however_the_bytes_are_cut() {
        let mut socket = WebSocket::from_raw_socket(Sink::default(), Role::Server, None);
        let long = |bytes: usize| format!("42[\"x\",\"{}\"]", "2".repeat(bytes));
        let texts = [
            "0{\"sid\":\"x\"}",
            "40{\"sid\":\"x\"}",
            "2",
            "42[\"a\",1]",
            "",
            "4",
            "43/ns,7[1]",
            "41",
            "44{\"message\":\"no\"}",
            "42",
        ];
        let mut texts: Vec<String> = texts.map(str::to_owned).into();
        texts.extend([120, 126, 300, 65_536, 100_000].map(long));
        for text in &texts {
            socket.send(Message::text(text.clone())).unwrap();
        }
        socket.send(Message::Ping(Bytes::new())).unwrap();
        socket.send(Message::text("42[\"last\"]")).unwrap();
        let bytes = std::mem::take(&mut socket.get_mut().0);
        let expected = 3 + 5 + 1;
        for size in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut tally = Tally::default();
            let counted: usize = bytes.chunks(size).map(|chunk| tally.pass(chunk)).sum();
            assert_eq!(counted, expected, "in pieces of {size}");
            assert!(tally.head.is_empty() && tally.rest == 0);
        }
    }
}

//! One socket, as its connection and whoever publishes have it: what comes in, and frames that wait
//! for room on their way out. Hands bytes over to the stream.
//! It must never tear a frame: what has begun goes on before anything else is written.

pub(super) mod decode;
pub mod lent;

use super::Refusal;
use crate::counts::Counted;
use crate::frame::{Frame, Opcode};
use crate::hub::{Carriage, Carried, Carry, Delivery, EventSpelling};
use crate::report;
use crate::stream::Stream;
use decode::{Decoder, Message};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::{Instant, timeout_at};

/// Frames in one system call.
const AT_ONCE: usize = 32;

/// Bytes of events that lie here for a reader that does not take them, but for a single one: what is
/// still to be written is asked for again, and not written if its room was taken meanwhile. Of a crowd
/// that comes back, each holds no more than this besides what all of them share.
pub const STEP: usize = 64 * 1024;

/// Bytes that are read at once: clients send little. They lie on the stack, and only meanwhile.
const READ: usize = 4096;

/// A socket in use.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    unsent: Mutex<Unsent>,
    /// Whatever becomes of the socket, it is free again when this is closed.
    _place: Option<Counted<IpAddr>>,
}

/// What waits for room.
#[derive(Debug, Default)]
struct Unsent {
    frames: VecDeque<Frame>,
    /// What these weigh together: that is asked for often.
    weight: usize,
    /// What answers weigh that the client has caused since the queue was last empty.
    answers: usize,
    /// So many bytes of the first have left.
    begun: usize,
    /// When the live events among them were inserted, in Unix microseconds.
    live: Vec<i64>,
}

impl Unsent {
    fn push(&mut self, frame: Frame) {
        self.weight += frame.weight();
        self.frames.push_back(frame);
    }

    /// Takes out what has left.
    fn advance(&mut self, count: usize) {
        self.begun += count;
        while let Some(first) = self.frames.front() {
            let length = first.bytes().len();
            if self.begun < length {
                return;
            }
            self.begun -= length;
            self.weight -= first.weight();
            self.frames.pop_front();
        }
        // Empty again: nothing is held for a connection at rest.
        self.frames = VecDeque::new();
        self.answers = 0;
        report::reached_socket(&std::mem::take(&mut self.live));
    }
}

/// Hands over the first of these side by side, but for bytes that have left already.
fn with_slices<'a, R>(
    frames: impl IntoIterator<Item = &'a Frame>,
    mut begun: usize,
    write: impl FnOnce(&[IoSlice<'_>]) -> R,
) -> R {
    let mut slices = [IoSlice::new(&[]); AT_ONCE];
    let mut count = 0;
    for (slice, frame) in slices.iter_mut().zip(frames) {
        *slice = IoSlice::new(&frame.bytes()[std::mem::take(&mut begun)..]);
        count += 1;
    }
    write(&slices[..count])
}

impl Socket {
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            unsent: Mutex::default(),
            _place: None,
        }
    }

    /// Has it counted until it is closed.
    #[must_use]
    pub fn at(self, place: Counted<IpAddr>) -> Self {
        let _place = Some(place);
        Self { _place, ..self }
    }

    /// Has a frame written by the next flush; `live` is when its event was inserted, if it is live.
    pub fn feed(&self, frame: Frame, live: Option<i64>) {
        let mut unsent = self.unsent.lock();
        unsent.push(frame);
        unsent.live.extend(live);
    }

    /// The same for a frame of which the other side may have as many made as it likes: who has more
    /// than `most` bytes of these made, and takes none, is cut. What else waits does not count: a
    /// replay is larger than that, and whoever takes it steadily may ask for signs of life meanwhile.
    ///
    /// # Errors
    /// Nobody takes these: the connection is to be cut.
    pub fn answer(&self, frame: Frame, most: usize) -> Result<(), Refusal> {
        let mut unsent = self.unsent.lock();
        unsent.answers += frame.weight();
        if unsent.answers > most {
            return Err(Refusal::Lagged);
        }
        unsent.push(frame);
        Ok(())
    }

    /// Writes what waits, as far as there is room. Ready when all of it has left.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut unsent = self.unsent.lock();
        while !unsent.frames.is_empty() {
            let write = |slices: &[IoSlice<'_>]| self.stream.poll_write(context, slices);
            match ready!(with_slices(&unsent.frames, unsent.begun, write))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => unsent.advance(count),
            }
        }
        self.stream.poll_flush(context)
    }

    /// Waits until all that waits has left.
    ///
    /// # Errors
    /// The other side is gone, or took nothing for so long.
    pub async fn flush(&self, stall: Duration) -> Result<(), Refusal> {
        let mut before = usize::MAX;
        let mut end = Instant::now() + stall;
        loop {
            let step = poll_fn(|context| {
                let flushed = self.poll_flush(context);
                // Whatever was taken is a sign of life, however much others have fed meanwhile.
                if flushed.is_pending() {
                    let now = self.waiting();
                    if now < std::mem::replace(&mut before, now) {
                        return Poll::Ready(None);
                    }
                }
                flushed.map(Some)
            });
            match timeout_at(end, step).await {
                Ok(Some(flushed)) => return flushed.map_err(|_| Refusal::Gone),
                Ok(None) => end = Instant::now() + stall,
                Err(_) => return Err(Refusal::Lagged),
            }
        }
    }

    /// What waits, in bytes; see [`Frame::weight`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        let unsent = self.unsent.lock();
        unsent.weight - unsent.begun
    }

    /// Forgets all frames of which nothing has left yet.
    pub fn forget(&self) {
        let mut unsent = self.unsent.lock();
        let begun = usize::from(unsent.begun > 0);
        unsent.frames.truncate(begun);
        unsent.weight = unsent.frames.iter().map(Frame::weight).sum();
        unsent.answers = 0;
        unsent.live.clear();
    }

    /// Reads what has come; false at the end.
    ///
    /// # Errors
    /// The connection.
    pub async fn read(&self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        poll_fn(|context| {
            let mut bytes = [std::mem::MaybeUninit::uninit(); READ];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            ready!(self.stream.poll_read(context, &mut bytes))?;
            take(bytes.filled());
            Poll::Ready(Ok(!bytes.filled().is_empty()))
        })
        .await
    }

    /// Reads and drops what comes, until the other side ends it.
    pub async fn drain(&self) {
        while matches!(self.read(|_| ()).await, Ok(true)) {}
    }

    /// The next message of a WebSocket.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn next(&self, decoder: &mut Decoder) -> Result<Message, Refusal> {
        loop {
            if let Some(message) = decoder.next()? {
                return Ok(message);
            }
            // Vanished without a close frame, as pages do.
            if !matches!(self.read(|bytes| decoder.push(bytes)).await, Ok(true)) {
                return Err(Refusal::Gone);
            }
        }
    }

    /// Writes what waits, and says that nothing more comes. True if all of it left before `end`.
    pub async fn finish(&self, end: Instant) -> bool {
        let finished = async {
            poll_fn(|context| self.poll_flush(context)).await?;
            poll_fn(|context| self.stream.poll_shutdown(context)).await
        };
        matches!(timeout_at(end, finished).await, Ok(Ok(())))
    }

    /// Closes a WebSocket: writes what still waits and a close frame with this payload, and waits until
    /// the other side has answered, for it would be reset under its last frames.
    pub async fn close(&self, decoder: &mut Decoder, payload: &[u8], why: Refusal) {
        if why.ends_access() {
            // What it has not taken by now is nothing that it may still have.
            self.forget();
        }
        self.feed(Frame::control(Opcode::Close, payload), None);
        let end = Instant::now() + why.grace();
        let mut answered = self.finish(end).await;
        if answered && why != Refusal::Gone {
            let answer = async {
                loop {
                    match self.next(decoder).await {
                        Ok(Message::Close(_)) | Err(Refusal::Gone) => return,
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
                // Nothing is understood any more, but what is left unread resets it as well.
                self.drain().await;
            };
            answered = timeout_at(end, answer).await.is_ok();
        }
        if !answered && why.ends_access() {
            self.forget_unsent();
        }
    }

    /// Whether whoever wrote last is still waiting for room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.stream.is_full()
    }

    /// See [`Stream::forget_unsent`].
    pub fn forget_unsent(&self) {
        self.stream.forget_unsent();
    }
}

impl Carry for Socket {
    fn carry(
        &self,
        spelling: &dyn EventSpelling,
        waiting: &mut VecDeque<Delivery>,
        carriage: &mut Carriage,
    ) -> Carried {
        let mut carried = Carried::default();
        let mut unsent = self.unsent.lock();
        while unsent.frames.is_empty() {
            let Carriage {
                frames,
                live,
                events,
                ..
            } = &mut *carriage;
            let before = live.len();
            let (mut spelled, mut length) = (0, 0);
            while frames.len() < AT_ONCE
                && length < STEP
                && let Some(Delivery::Event(event)) = waiting.front()
                && event.lost.is_none()
                && spelling.spell_event(event, frames)
            {
                live.push(event.at.as_microsecond());
                *events += 1;
                waiting.pop_front();
                let new = frames[spelled..].iter();
                length += new.map(|frame| frame.bytes().len()).sum::<usize>();
                spelled = frames.len();
            }
            if frames.is_empty() {
                carried.all = true;
                break;
            }
            let write = |slices: &[IoSlice<'_>]| self.stream.try_write(slices);
            // An error is for the writer to meet, when it is to go on.
            let written = with_slices(&*frames, 0, write).unwrap_or(0);
            carried.any = true;
            if written < length {
                unsent.live.extend(live.drain(before..));
                frames.drain(..).for_each(|frame| unsent.push(frame));
                unsent.advance(written);
            }
            frames.clear();
        }
        carried
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::speech::native::Native;
    use crate::event::Event;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    fn event(number: usize) -> Delivery {
        let data = format!("[{number},\"{}\"]", "x".repeat(number % 900));
        Delivery::Event(Arc::new(Event::example_of(&data)))
    }

    fn frames(deliveries: &VecDeque<Delivery>) -> Vec<u8> {
        let frame = |delivery: &Delivery| match delivery {
            Delivery::Event(event) => event.websocket().bytes().to_vec(),
            other => panic!("{other:?}"),
        };
        deliveries.iter().flat_map(frame).collect()
    }

    fn carriage() -> Carriage {
        Carriage {
            frames: Vec::new(),
            live: Vec::new(),
            events: 0,
            now: Instant::now(),
        }
    }

    /// Whoever publishes stops in the middle of a frame, and the writer goes on there.
    #[tokio::test]
    async fn what_a_socket_does_not_take_at_once_goes_on_where_it_was_torn() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into());
        let mut waiting: VecDeque<_> = (0..2000).map(event).collect();
        let (expected, count) = (frames(&waiting), waiting.len());
        let mut carriage = carriage();
        let patience = Duration::from_secs(30);
        let mut received = vec![0; expected.len()];
        let writing = async {
            while !socket.carry(&Native, &mut waiting, &mut carriage).all {
                assert!(socket.waiting() > 0, "the rest is the writer's");
                let before = waiting.len();
                let carried = socket.carry(&Native, &mut waiting, &mut carriage);
                assert!(!carried.any && !carried.all);
                assert_eq!(waiting.len(), before, "nothing overtakes what is torn");
                socket.flush(patience).await.unwrap();
            }
        };
        let (read, ()) = tokio::join!(theirs.read_exact(&mut received), writing);
        read.unwrap();
        assert!(received == expected, "each byte once, and in order");
        assert_eq!((carriage.events, socket.waiting()), (count, 0));
        assert_eq!(
            socket.unsent.lock().frames.capacity(),
            0,
            "nothing is held at rest"
        );
    }

    #[tokio::test]
    async fn who_may_have_no_more_gets_the_end_of_what_has_begun() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into());
        let mut waiting: VecDeque<_> = (0..2000).map(event).collect();
        let expected = frames(&waiting);
        let carried = socket.carry(&Native, &mut waiting, &mut carriage());
        assert!(carried.any && !carried.all);
        socket.forget();
        socket.feed(Frame::control(crate::frame::Opcode::Close, &[]), None);
        let end = Instant::now() + Duration::from_secs(30);
        let mut received = Vec::new();
        let (finished, read) = tokio::join!(socket.finish(end), async {
            theirs.read_to_end(&mut received).await
        });
        assert!(finished && read.is_ok());
        let (begun, close) = received.split_at(received.len() - 2);
        assert_eq!(close, [0x88, 0], "whole, behind the last frame's end");
        assert!(begun == &expected[..begun.len()] && begun.len() < expected.len());
    }

    /// Whoever asks for answers may ask for empty ones: these are few before they are too much, and
    /// what waits is known without a look at each.
    #[tokio::test]
    async fn what_waits_is_counted_as_it_comes_and_goes() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into());
        let added = |socket: &Socket| {
            let unsent = socket.unsent.lock();
            unsent.frames.iter().map(Frame::weight).sum::<usize>() - unsent.begun
        };
        let pong = || socket.answer(Frame::control(Opcode::Pong, &[]), 1 << 20);
        let pongs = (0..).take_while(|_| pong().is_ok()).count();
        assert!((10_000..20_000).contains(&pongs), "{pongs}");
        assert_eq!(socket.waiting(), added(&socket));
        let mut waiting: VecDeque<_> = (0..2000).map(event).collect();
        let end = Instant::now() + Duration::from_secs(30);
        let mut received = Vec::new();
        let finishing = async {
            socket.flush(Duration::from_secs(30)).await.unwrap();
            assert_eq!(socket.waiting(), 0);
            assert_eq!(pong(), Ok(()), "whoever has taken them may have more");
            while socket.carry(&Native, &mut waiting, &mut carriage()).all {
                waiting.extend((0..2000).map(event));
            }
            assert_eq!(socket.waiting(), added(&socket));
            socket.forget();
            assert_eq!(socket.waiting(), added(&socket));
            socket.finish(end).await
        };
        let (finished, read) = tokio::join!(finishing, theirs.read_to_end(&mut received));
        assert!(finished && read.is_ok());
        assert_eq!(socket.waiting(), 0);
    }

    #[tokio::test]
    async fn who_sends_too_much_is_told_so_before_it_is_cut() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into());
        let head = [&[0x82, 0xff][..], &(5_u64 << 20).to_be_bytes(), &[0; 4]].concat();
        let closing = async move {
            let mut decoder = Decoder::new(1000);
            let refused = socket.next(&mut decoder).await;
            assert_eq!(refused, Err(Refusal::TooBig));
            let code = 1009_u16.to_be_bytes();
            socket.close(&mut decoder, &code, Refusal::TooBig).await;
        };
        let sending = async {
            theirs.write_all(&head).await.unwrap();
            for _ in 0..5 << 10 {
                theirs.write_all(&[0; 1024]).await.unwrap();
            }
            let mut received = [0; 4];
            theirs.read_exact(&mut received).await.unwrap();
            assert_eq!(received, [0x88, 2, 0x03, 0xf1]);
        };
        tokio::join!(closing, sending);
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_cut_and_one_that_crawls_is_not() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into());
        let mut waiting: VecDeque<_> = (0..2000).map(event).collect();
        let length = frames(&waiting).len();
        socket.carry(&Native, &mut waiting, &mut carriage());
        let stall = Duration::from_millis(200);
        assert_eq!(socket.flush(stall).await, Err(Refusal::Lagged));
        for delivery in waiting {
            let Delivery::Event(event) = delivery else {
                continue;
            };
            socket.feed(event.websocket().clone(), None);
        }
        // All of it takes longer than any piece may.
        let (stall, pieces) = (Duration::from_secs(5), 50);
        let crawl = async {
            let mut taken = 0;
            let mut piece = vec![0; length / pieces];
            while taken < length {
                tokio::time::sleep(stall / 40).await;
                taken += theirs.read(&mut piece).await.unwrap();
            }
        };
        let began = Instant::now();
        let (flushed, ()) = tokio::join!(socket.flush(stall), crawl);
        assert_eq!(flushed, Ok(()));
        assert!(began.elapsed() > stall);
    }

    /// Of two namespaces on one socket the first to flush waits for what the other feeds, too. That made
    /// more wait than before, and nothing that was taken counted until that was less again.
    #[tokio::test]
    async fn a_reader_that_crawls_is_not_cut_for_what_is_fed_meanwhile() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into());
        let all = frames(&(0..2000).map(event).collect());
        let feed = || socket.feed(Frame::raw(all.clone().into()), None);
        feed();
        let (stall, pieces, others) = (Duration::from_secs(1), 40, 3);
        let crawl = async {
            let (length, mut taken) = ((1 + others) * all.len(), 0);
            let mut piece = vec![0; length / pieces];
            while taken < length {
                tokio::time::sleep(stall / 10).await;
                if taken == 0 {
                    (0..others).for_each(|_| feed());
                }
                taken += theirs.read(&mut piece).await.unwrap();
            }
        };
        let began = Instant::now();
        tokio::select! {
            flushed = socket.flush(stall) => assert_eq!(flushed, Ok(())),
            () = crawl => panic!("all was taken, and not all had left"),
        }
        assert!(began.elapsed() > stall);
    }
}

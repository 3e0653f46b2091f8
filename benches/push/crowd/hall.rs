//! The thread on which all connections are: what arrives, who is to come back or to drop, and orders.
//! Hands messages to each connection, and counts to the crowd's handle. It must never be the slow part:
//! one buffer, no allocation for a message, and a system call only where there is something to read.

use super::connection::{Connection, End, Manners, Protocol, Stage, Standing, connect};
use super::tally::{Reading, Tally, Window, now};
use super::{Dropping, Guests, Happenings, Order, Progress, wire};
use crate::cores;
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Bytes read at once, of any connection.
const BUFFER: usize = 256 * 1024;

/// How many of the first connections may be on their way in at once.
const ENTERING: usize = 100;

/// How often orders are looked for while nothing arrives.
const TICK: Duration = Duration::from_millis(10);

/// Before coming back unasked: at random up to a bound that doubles with each failure.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Alarm {
    ComeBack,
    Drop,
}

/// What the thread works on.
pub struct Hall {
    guests: Guests,
    manners: Manners,
    connections: Vec<Connection>,
    poll: Poll,
    /// When, whose, of which generation.
    alarms: BinaryHeap<Reverse<(Instant, usize, u32, Alarm)>>,
    orders: Receiver<Order>,
    progress: Arc<Progress>,
    tally: Tally,
    happenings: Happenings,
    dropping: Option<Dropping>,
    /// How many have been opened for the first time.
    opened: usize,
    entering: usize,
    whole: usize,
    buffer: Vec<u8>,
}

impl Hall {
    pub fn new(
        guests: Guests,
        orders: Receiver<Order>,
        progress: Arc<Progress>,
    ) -> io::Result<Self> {
        let all = guests.paths.len();
        let apart = all.checked_div(guests.stalled).unwrap_or(usize::MAX);
        let connections = (0..all).map(|number| Connection {
            room: guests.rooms[number],
            stalls: guests.stalled > 0 && number % apart == apart - 1,
            ..Connection::default()
        });
        Ok(Self {
            manners: Manners {
                protocol: guests.protocol,
                greets: guests.greets,
                resumes: guests.resumes,
                reading: Reading::default(),
            },
            connections: connections.collect(),
            guests,
            poll: Poll::new()?,
            alarms: BinaryHeap::new(),
            orders,
            progress,
            tally: Tally::new(Window::default(), 0),
            happenings: Happenings::new(),
            dropping: None,
            opened: 0,
            entering: 0,
            whole: 0,
            buffer: vec![0; BUFFER],
        })
    }

    pub fn run(&mut self) {
        cores::keep_to_last();
        let mut events = Events::with_capacity(1024);
        while self.follow_orders() {
            let next = self.alarms.peek().map(|Reverse((at, ..))| *at);
            let wait = next.map_or(TICK, |at| at.saturating_duration_since(Instant::now()));
            if let Err(error) = self.poll.poll(&mut events, Some(wait.min(TICK)))
                && error.kind() != io::ErrorKind::Interrupted
            {
                self.complain(&error.to_string());
                return;
            }
            for event in &events {
                let number = event.token().0;
                if self.connections[number].standing.stage == Stage::Connecting {
                    self.ask(number);
                } else {
                    self.read(number, event.is_read_closed());
                }
            }
            self.open_more();
            self.heed_alarms();
            self.progress.whole.store(self.whole, Ordering::Relaxed);
            self.progress
                .delivered
                .store(self.tally.delivered, Ordering::Relaxed);
        }
    }

    /// Whether to go on.
    fn follow_orders(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Count(window, begun) => {
                    self.tally = Tally::new(window, self.connections.len());
                    self.happenings = Happenings::new();
                    let _ = begun.send(());
                }
                Order::Drop(dropping) => {
                    self.dropping = dropping;
                    let Some(dropping) = dropping else { continue };
                    for number in 0..self.connections.len() {
                        let first = dropping.every.mul_f64(rand::random_range(0.0..1.0));
                        self.wake(number, first, Alarm::Drop);
                    }
                }
                Order::Report(report) => {
                    let nothing = Tally::new(Window::default(), 0);
                    let tally = std::mem::replace(&mut self.tally, nothing);
                    let mut happenings = Happenings::new();
                    std::mem::swap(&mut happenings, &mut self.happenings);
                    let _ = report.send((tally, happenings));
                }
                Order::End => return false,
            }
        }
        true
    }

    fn open_more(&mut self) {
        while self.opened < self.connections.len() && self.entering < ENTERING {
            self.opened += 1;
            self.entering += 1;
            self.open(self.opened - 1);
        }
    }

    fn heed_alarms(&mut self) {
        let now = Instant::now();
        while let Some(&Reverse((at, number, generation, alarm))) = self.alarms.peek() {
            if at > now {
                return;
            }
            self.alarms.pop();
            let standing = &self.connections[number].standing;
            if standing.generation != generation {
                continue;
            }
            match (alarm, self.dropping) {
                (Alarm::ComeBack, _) => self.open(number),
                (Alarm::Drop, Some(dropping)) if standing.stage == Stage::Live => {
                    self.leave(number);
                    self.wake(number, dropping.away, Alarm::ComeBack);
                }
                _ => {}
            }
        }
    }

    fn wake(&mut self, number: usize, wait: Duration, alarm: Alarm) {
        let generation = self.connections[number].standing.generation;
        let at = Instant::now() + wait;
        self.alarms.push(Reverse((at, number, generation, alarm)));
    }

    fn open(&mut self, number: usize) {
        let opened = connect(number, self.guests.address, self.connections[number].stalls);
        let connection = &mut self.connections[number];
        connection.standing.stage = Stage::Connecting;
        let registered = opened.and_then(|mut stream| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(number), both)?;
            Ok(stream)
        });
        match registered {
            Ok(stream) => connection.stream = Some(stream),
            Err(error) => {
                self.complain(&format!("connecting: {error}"));
                self.close(number, End::Lost);
            }
        }
    }

    /// The way is open: sends the request.
    fn ask(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        let Some(stream) = &mut connection.stream else {
            return;
        };
        if !matches!(stream.take_error(), Ok(None)) {
            self.close(number, End::Lost);
            return;
        }
        let standing = &mut connection.standing;
        standing.brought = self.manners.resumes && !standing.bookmark.is_empty();
        let since = match standing.brought {
            true => format!("&since={}", String::from_utf8_lossy(&standing.bookmark)),
            false => String::new(),
        };
        let how = match self.manners.protocol {
            Protocol::Sse => "Accept: text/event-stream\r\n",
            _ => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            }
        };
        let path = &self.guests.paths[number];
        let address = self.guests.address;
        let request = format!("GET {path}{since} HTTP/1.1\r\nHost: {address}\r\n{how}\r\n");
        standing.stage = Stage::Entering;
        if stream.write_all(request.as_bytes()).is_err() {
            self.close(number, End::Lost);
        }
    }

    /// Reads what has come, and to its very end if that is known to have come, too.
    fn read(&mut self, number: usize, ended: bool) {
        let connection = &mut self.connections[number];
        let Some(stream) = &mut connection.stream else {
            return;
        };
        let was_whole = connection.standing.is_whole();
        let was_live = connection.standing.stage == Stage::Live;
        let gaps = connection.standing.gaps;
        let standing = &mut connection.standing;
        loop {
            let length = match stream.read(&mut self.buffer) {
                Ok(0) => {
                    // Whoever said goodbye before has given the reason.
                    standing.end.get_or_insert(match standing.told {
                        Some(wait) if standing.stage != Stage::Live => End::Told(wait),
                        _ => End::Lost,
                    });
                    break;
                }
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    standing.end.get_or_insert(End::Lost);
                    break;
                }
            };
            let now = now();
            let place = (number, connection.room);
            let (manners, tally) = (&self.manners, &mut self.tally);
            connection
                .wire
                .feed(&self.buffer[..length], &mut |message| {
                    standing.hear(message, manners, tally, place, now);
                });
            // A short read has emptied the socket; what comes later is told of anew, but not an end
            // that came with this.
            if length < self.buffer.len() && !ended {
                break;
            }
        }
        self.happenings.gaps += standing.gaps - gaps;
        if !standing.reply.is_empty() && stream.write_all(&standing.reply).is_err() {
            standing.end.get_or_insert(End::Lost);
        }
        standing.reply.clear();
        let end = standing.end.take();
        self.settle(number, was_live, was_whole);
        if let Some(end) = end {
            self.close(number, end);
        }
    }

    /// Notes what has changed by what was read.
    fn settle(&mut self, number: usize, was_live: bool, was_whole: bool) {
        let connection = &mut self.connections[number];
        let standing = &mut connection.standing;
        let is_live = standing.stage == Stage::Live;
        if is_live && !was_live {
            standing.failures = 0;
            // Those that come back were never counted here.
            self.entering = self.entering.saturating_sub(1);
            if connection.stalls
                && let Some(stream) = &mut connection.stream
            {
                let _ = self.poll.registry().deregister(stream);
            }
            if let Some(dropping) = self.dropping {
                self.wake(number, dropping.every, Alarm::Drop);
            }
        }
        let standing = &mut self.connections[number].standing;
        if standing.is_whole() && !was_whole {
            self.whole += 1;
            if let Some(lost) = standing.lost.take() {
                let micros = u64::try_from(lost.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.happenings.back.saturating_record(micros.max(1));
            }
        } else if was_whole && !standing.is_whole() {
            self.whole -= 1;
        }
    }

    /// Takes note of an end, and comes back as a client would.
    fn close(&mut self, number: usize, end: End) {
        let standing: &mut Standing = &mut self.connections[number].standing;
        standing.failures += 1;
        let most = BACKOFF * 2_u32.pow(standing.failures.min(6) - 1);
        let pause = most.min(BACKOFF_MAX).mul_f64(rand::random_range(0.0..1.0));
        self.leave(number);
        let wait = match end {
            End::Lost => pause,
            End::Told(wait) => {
                self.happenings.told += 1;
                wait
            }
            End::Lagged => {
                self.happenings.lagged += 1;
                Duration::ZERO
            }
            End::Refused(why) => {
                self.complain(&why);
                pause
            }
        };
        self.wake(number, wait, Alarm::ComeBack);
    }

    /// Ends a connection without a word.
    fn leave(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        let standing = &mut connection.standing;
        if standing.is_whole() {
            self.whole -= 1;
        }
        if standing.stage == Stage::Live {
            self.happenings.reconnects += 1;
            standing.lost.get_or_insert_with(Instant::now);
        }
        standing.stage = Stage::Away;
        standing.owed = 0;
        standing.told = None;
        standing.end = None;
        standing.generation += 1;
        standing.reply.clear();
        connection.wire = wire::Wire::default();
        connection.stream = None;
    }

    fn complain(&self, why: &str) {
        let mut trouble = self.progress.trouble.lock();
        trouble.get_or_insert_with(|| why.to_owned());
    }
}

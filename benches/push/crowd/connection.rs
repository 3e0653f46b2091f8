//! One connection of the crowd: what its server's words mean for it, and what it answers.
//! Hands events to the tally, and to the crowd how it stands. It must never stay silent where a real
//! client would answer.

use super::tally::{Reading, Tally};
use super::wire::{self, Message, Wire, decimal};
use mio::net::TcpStream;
use std::time::{Duration, Instant};

use memchr::memmem;

/// What is spoken behind the HTTP request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    WebSocket,
    Sse,
    /// Socket.IO 5 over Engine.IO 4 over WebSocket.
    SocketIo,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Stage {
    #[default]
    Away,
    Connecting,
    /// The request is sent.
    Entering,
    /// It is in; what it missed may still come.
    Live,
}

/// Why it is over.
#[derive(Debug, Eq, PartialEq)]
pub enum End {
    /// Torn, or without a word of when to come back.
    Lost,
    /// It was told to wait.
    Told(Duration),
    /// It fell behind and may come back at once.
    Lagged,
    /// It is not wanted, or said something wrong.
    Refused(String),
}

/// What all connections of a crowd have in common.
#[derive(Debug)]
pub struct Manners {
    pub protocol: Protocol,
    /// The server says when one is in; else one is in as soon as one is connected.
    pub greets: bool,
    /// Bookmarks are kept, and brought when coming back.
    pub resumes: bool,
    pub reading: Reading,
}

#[derive(Debug, Default)]
pub struct Connection {
    pub stream: Option<TcpStream>,
    pub wire: Wire,
    pub room: u64,
    pub stalls: bool,
    pub standing: Standing,
}

/// What the messages change; apart from the wire, which lends them.
#[derive(Debug, Default)]
pub struct Standing {
    pub stage: Stage,
    pub bookmark: Vec<u8>,
    /// Whether the present connection brought a bookmark.
    pub brought: bool,
    /// Missed events that are still to come.
    pub owed: u64,
    pub gaps: u64,
    /// When it was last whole, if it is not.
    pub lost: Option<Instant>,
    pub failures: u32,
    /// A wait that an SSE stream was told before its end.
    pub told: Option<Duration>,
    pub reply: Vec<u8>,
    pub end: Option<End>,
    /// Counts reconnects, so that an alarm of an earlier one is not taken for its own.
    pub generation: u32,
}

impl Standing {
    /// Takes one message.
    pub fn hear(
        &mut self,
        message: Message<'_>,
        manners: &Manners,
        tally: &mut Tally,
        place: (usize, u64),
        now: i64,
    ) {
        match message {
            Message::Text(text) => match manners.reading.event(text) {
                Some((n, written)) => {
                    tally.count(place.0, place.1, n, written, now);
                    self.owed = self.owed.saturating_sub(1);
                    if manners.resumes {
                        self.keep_bookmark(text, manners.protocol);
                    }
                }
                None => self.control(text, manners),
            },
            Message::Head(101 | 200) => {
                let more = manners.greets || manners.protocol == Protocol::SocketIo;
                if !more {
                    self.stage = Stage::Live;
                }
            }
            Message::Head(503 | 429) => self.end = Some(End::Lost),
            Message::Head(status) => self.end = Some(End::Refused(format!("status {status}"))),
            Message::Ping(payload) => self.reply.extend(wire::masked(0xa, payload)),
            Message::Close(code, reason) => self.end = Some(ended(code, reason)),
        }
    }

    fn control(&mut self, text: &[u8], manners: &Manners) {
        let has = |needle: &[u8]| memmem::find(text, needle).is_some();
        if manners.protocol == Protocol::SocketIo {
            match text.first_chunk() {
                Some(b"0{") => self.reply.extend(wire::masked(1, b"40")),
                Some(b"40") if !manners.greets => self.stage = Stage::Live,
                Some(b"41") => self.end = Some(End::Lost),
                Some(b"44") => self.end = Some(refused(text)),
                _ if text == b"2" => self.reply.extend(wire::masked(1, b"3")),
                _ => {}
            }
        }
        if !manners.greets {
            return;
        }
        if manners.protocol == Protocol::Sse && text.starts_with(b"retry: ") {
            let wait = decimal(&text[7..]).0.unwrap_or_default();
            self.told = Some(Duration::from_millis(wait));
        }
        if has(b"\"type\":\"welcome\"") {
            if !self.brought {
                self.stage = Stage::Live;
            }
            self.keep_bookmark(text, manners.protocol);
        } else if has(b"\"type\":\"subscribed\"") {
            self.stage = Stage::Live;
            self.owed = number(text, b"\"count\":");
            self.gaps += u64::from(has(b"\"outcome\":\"gap\""));
        } else if has(b"\"type\":\"gap\"") {
            self.gaps += 1;
        } else if has(b"rowcast:error") {
            let lagged = has(b"lagged");
            let told = self.told.map_or(End::Lost, End::Told);
            self.end = Some(if lagged { End::Lagged } else { told });
        } else if has(b"\"type\":\"error\"") {
            self.end = Some(refused(text));
        }
    }

    /// Whether it is in and has all it missed.
    pub fn is_whole(&self) -> bool {
        self.stage == Stage::Live && self.owed == 0
    }

    fn keep_bookmark(&mut self, text: &[u8], protocol: Protocol) {
        let (key, end): (&[u8], u8) = match protocol {
            Protocol::Sse => (b"id: ", b'\n'),
            _ => (b"\"bookmark\":\"", b'"'),
        };
        // Behind the payload, which is the longest part.
        let found = match protocol {
            Protocol::Sse => memmem::find(text, key),
            _ => memmem::rfind(text, key),
        };
        let Some(found) = found else { return };
        let bookmark = &text[found + key.len()..];
        let end = memchr::memchr(end, bookmark).unwrap_or(bookmark.len());
        self.bookmark.clear();
        self.bookmark.extend_from_slice(&bookmark[..end]);
    }
}

/// What a close frame of Rowcast's, or of anybody's, means.
fn ended(code: u16, reason: &[u8]) -> End {
    match code {
        1012 | 1013 => match decimal(reason).0 {
            Some(wait) => End::Told(Duration::from_millis(wait)),
            None => End::Lost,
        },
        4000 => End::Lagged,
        1008 | 4001..=4004 | 0 => {
            End::Refused(format!("{code} {}", String::from_utf8_lossy(reason)))
        }
        _ => End::Lost,
    }
}

fn refused(text: &[u8]) -> End {
    End::Refused(String::from_utf8_lossy(text).into_owned())
}

fn number(text: &[u8], key: &[u8]) -> u64 {
    let found = memmem::find(text, key).map(|at| decimal(&text[at + key.len()..]).0);
    found.flatten().unwrap_or_default()
}

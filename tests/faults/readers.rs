//! Subscribers that come back whatever happens, as a browser does: by their last bookmark, at
//! another door, and after a gap by reading the data anew.
//! Hands each one's story over to the reconciliation. It must never dedupe, reorder or forgive.

use super::writers::{Ledger, connected, page};
use crate::support::reconcile::{Gap, Heard, Page, Story};
use crate::support::{Subscriber, Transport, token, try_connect};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Without a frame for this long a link is dead: heartbeats come every second.
const SILENCE: Duration = Duration::from_millis(3500);

/// Who reads: transport, `sub`, role, rooms asked for, and those of them that are refused.
type Who = (
    Transport,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// Six subscribers, each in some rooms of several; half of them ask for what is not theirs.
pub const READERS: [Who; 6] = [
    (Transport::WebSocket, "1", "", &["open:1", "open:2"], &[]),
    (Transport::Sse, "2", "staff", &["open:2", "staff:1"], &[]),
    (
        Transport::WebSocket,
        "3",
        "",
        &["open:3", "user:3", "staff:1"],
        &["staff:1"],
    ),
    (
        Transport::Sse,
        "4",
        "",
        &["open:1", "user:3", "user:5"],
        &["user:3", "user:5"],
    ),
    (
        Transport::WebSocket,
        "5",
        "staff",
        &["staff:1", "user:5", "user:3"],
        &["user:3"],
    ),
    (
        Transport::Sse,
        "5",
        "",
        &["user:5", "open:3", "staff:1"],
        &["staff:1"],
    ),
];

/// What a reader is told, and what it shows, while it runs.
#[derive(Clone)]
pub struct Strings {
    /// Where it may connect.
    pub doors: Vec<String>,
    /// Where it reads its data.
    pub database: String,
    pub ledger: Arc<Ledger>,
    /// Set when it is to leave, whatever it lacks.
    pub leave: watch::Receiver<bool>,
    /// Events, and answers that say that it is up to date.
    pub heard: Arc<AtomicU64>,
    pub beats: Arc<AtomicU64>,
}

/// A reader's story, and how often its connections ended in which way.
pub struct Told {
    pub story: Story,
    pub ends: BTreeMap<String, u32>,
}

struct Reader {
    who: Who,
    strings: Strings,
    story: Story,
    bookmark: String,
    refused: u64,
    ends: BTreeMap<String, u32>,
}

/// What a frame asks of the reader.
enum Next {
    Marker,
    ReadAnew,
}

/// Reads until the marker comes, or until told to leave.
pub async fn read(who: Who, strings: Strings, seed: u64) -> Told {
    let mut random = StdRng::seed_from_u64(seed);
    let mine = who.3.iter().filter(|room| !who.4.contains(room));
    let rooms = mine.chain(&["*"]).map(|room| (*room).to_owned()).collect();
    let mut reader = Reader {
        who,
        story: Story {
            name: format!("{:?} {} {}", who.0, who.1, who.3.join(",")),
            rooms,
            ..Story::default()
        },
        strings,
        bookmark: String::new(),
        refused: 0,
        ends: BTreeMap::new(),
    };
    reader.read_page().await;
    let mut leave = reader.strings.leave.clone();
    let mut door = random.random_range(0..reader.strings.doors.len());
    loop {
        let next = tokio::select! {
            _ = leave.wait_for(|leave| *leave) => break,
            next = reader.attend(door) => next,
        };
        match next {
            ControlFlow::Break(Next::Marker) => break,
            ControlFlow::Break(Next::ReadAnew) => reader.read_page().await,
            // The other one: what has just ended is mostly away.
            ControlFlow::Continue(()) => {
                tokio::time::sleep(Duration::from_millis(random.random_range(10..100))).await;
            }
        }
        door = (door + 1) % reader.strings.doors.len();
    }
    assert!(
        reader.refused > 0 || who.4.is_empty(),
        "{}: nobody refused it what is not its own",
        reader.story.name
    );
    Told {
        story: reader.story,
        ends: reader.ends,
    }
}

fn history(bookmark: &str) -> &str {
    bookmark.split('.').next().unwrap_or_default()
}

impl Reader {
    /// Reads the committed data and the bookmark of the same snapshot, and forgets all else.
    async fn read_page(&mut self) {
        loop {
            let Some(client) = connected(&self.strings.database, &self.strings.ledger).await else {
                return;
            };
            let Ok((bookmark, entries)) = page(&client).await else {
                continue;
            };
            self.bookmark = bookmark;
            let mine = entries.truth.into_iter();
            let mine = mine.filter(|(_, rooms)| !rooms.is_disjoint(&self.story.rooms));
            self.story.pages.push(Page {
                shown: mine.map(|(event, _)| event).collect(),
                rows: entries.rows,
                heard: Vec::new(),
            });
            return;
        }
    }

    /// One connection, from its opening to its end.
    async fn attend(&mut self, door: usize) -> ControlFlow<Next> {
        let (transport, sub, role, rooms, _) = self.who;
        let query = format!("rooms={}&since={}", rooms.join(","), self.bookmark);
        let token = token(sub, role, "");
        let opened = try_connect(transport, &self.strings.doors[door], &token, &query);
        let mut connection = match tokio::time::timeout(SILENCE, opened).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(_)) => return self.ended("not opened"),
            Err(_) => return self.ended("not opened in time"),
        };
        loop {
            let read = tokio::time::timeout(SILENCE, connection.next_or_end()).await;
            match read {
                Err(_) => return self.ended("silence"),
                Ok(Err((code, reason))) => return self.ended_by(code, &reason),
                Ok(Ok(frame)) => self.take(&connection, &frame)?,
            }
        }
    }

    fn ended(&mut self, how: &str) -> ControlFlow<Next> {
        *self.ends.entry(how.to_owned()).or_default() += 1;
        ControlFlow::Continue(())
    }

    /// Whoever is to come back does; another end is a refusal, and the test's own mistake.
    fn ended_by(&mut self, code: u16, reason: &str) -> ControlFlow<Next> {
        let word = match (code, reason) {
            (1005 | 1006, _) => "torn",
            (200, "") => "ended",
            (1012, _) | (200, "restart") => "restart",
            (1013, _) | (200, "overloaded") => "overloaded",
            (4000, _) | (200, "lagged") => "lagged",
            (4005, _) => "no pong",
            _ => panic!("{}: closed with {code} {reason}", self.story.name),
        };
        self.ended(word)
    }

    fn take(&mut self, connection: &Subscriber, frame: &Value) -> ControlFlow<Next> {
        let kind = frame["type"].as_str().unwrap_or_default();
        let before = history(&self.bookmark).to_owned();
        if let Some(bookmark) = &connection.bookmark {
            self.bookmark.clone_from(bookmark);
        }
        let after = history(&self.bookmark).to_owned();
        if kind == "gap" || frame["outcome"] == "gap" {
            self.story.gaps.push(Gap {
                reason: frame["reason"].as_str().unwrap_or_default().to_owned(),
                before,
                after,
            });
            return ControlFlow::Break(Next::ReadAnew);
        }
        // Cut here, it would come back to the new history, and never hear of the gap.
        if before != after {
            self.story.silent.push(frame.to_string());
        }
        match kind {
            "event" if frame["name"] == "marker" => return ControlFlow::Break(Next::Marker),
            "event" => self.hear(&frame["data"]),
            "heartbeat" => {
                self.strings.beats.fetch_add(1, Ordering::Relaxed);
            }
            "subscribed" => {
                assert_eq!(frame["outcome"], "recovered", "{frame}");
                self.strings.beats.fetch_add(1, Ordering::Relaxed);
            }
            "error" if frame["code"] == "forbidden" => {
                let room = frame["room"].as_str().unwrap_or_default();
                assert!(self.who.4.contains(&room), "{}: {frame}", self.story.name);
                self.refused += 1;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn hear(&mut self, data: &Value) {
        let row = data["row"].as_i64().zip(data["version"].as_i64());
        let event = data["event"].as_str().expect("our own triggers name it");
        let page = self.story.pages.last_mut().expect("it has read its data");
        page.heard.push(Heard {
            event: event.to_owned(),
            row,
        });
        self.strings.heard.fetch_add(1, Ordering::Relaxed);
    }
}

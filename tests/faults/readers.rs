//! Subscribers that come back whatever happens, as a browser does: by their last bookmark, at
//! another door, and after a gap by reading the data anew.
//! Hands each one's story over to the reconciliation. It must never dedupe, reorder or forgive.

use super::retention::standing;
use super::seat::Seat;
use super::writers::{Ledger, connected, hears_tally, page};
use crate::support::reconcile::{Excuse, Gap, Heard, Page, Story};
use crate::support::{Subscriber, Transport, token_with, try_connect};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Without a frame for this long a link is dead: heartbeats come every second, and it takes more than an
/// instance and this process that both stand still for a while.
const SILENCE: Duration = Duration::from_secs(8);

/// An attempt to connect that takes longer is given up, for the other door may be open.
const OPENING: Duration = Duration::from_millis(3500);

/// Who reads: transport, `sub`, role, rooms asked for, and those of them that are refused.
pub type Who = (
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
    /// Where it may look into the log as well.
    pub log: String,
    pub ledger: Arc<Ledger>,
    /// Set when it is to leave, whatever it lacks.
    pub leave: watch::Receiver<bool>,
    pub seat: Arc<Seat>,
}

/// The connection that there is.
#[derive(Default)]
struct Here {
    /// The bookmark it began with.
    brought: String,
    heard: u64,
    /// When the user was revoked for certain as it connected: that bar, and by what it got past it.
    bar: u64,
    /// Its token is one that is to end before long.
    is_short: bool,
    expires: Option<Instant>,
    /// Rooms that were taken from it.
    lost: BTreeSet<String>,
}

struct Reader {
    who: Who,
    strings: Strings,
    story: Story,
    bookmark: String,
    refused: u64,
    here: Here,
    /// No answer came there, at that time: for a while it knocks elsewhere.
    mute: Option<(usize, Instant)>,
}

/// What a frame asks of the reader.
enum Next {
    Marker,
    ReadAnew,
    /// A gap that has to be answered for by the bookmark before it.
    Behind(String),
    /// Nothing but to come back.
    Retry,
}

/// Reads until the marker comes, or until told to leave.
pub async fn read(who: Who, strings: Strings, seed: u64) -> Story {
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
        here: Here::default(),
        mute: None,
    };
    let mut marked = reader.read_page().await;
    let mut leave = reader.strings.leave.clone();
    let seat = Arc::clone(&reader.strings.seat);
    let mut leave_for_now = seat.leave.subscribe();
    let mut door = random.random_range(0..reader.strings.doors.len());
    while !marked {
        let next = tokio::select! {
            _ = leave.wait_for(|leave| *leave) => break,
            _ = leave_for_now.changed() => ControlFlow::Continue(()),
            next = reader.attend(door) => next,
        };
        reader.is_out();
        match next {
            ControlFlow::Break(Next::Marker) => break,
            ControlFlow::Break(Next::ReadAnew) => marked = reader.read_page().await,
            ControlFlow::Break(Next::Behind(bookmark)) => {
                reader.answer_for_gap(&bookmark).await;
                marked = reader.read_page().await;
            }
            // The other one: what has just ended is mostly away.
            ControlFlow::Continue(()) | ControlFlow::Break(Next::Retry) => {
                tokio::time::sleep(Duration::from_millis(random.random_range(10..100))).await;
            }
        }
        while seat.is(&seat.away) {
            seat.known().away_with = Some(reader.bookmark.clone());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seat.known().away_with = None;
        door = (door + 1) % reader.strings.doors.len();
        if reader
            .mute
            .is_some_and(|(mute, at)| mute == door && at.elapsed() < OPENING)
        {
            door = (door + 1) % reader.strings.doors.len();
        }
    }
    assert!(
        reader.refused > 0 || who.4.is_empty(),
        "{}: nobody refused it what is not its own",
        reader.story.name
    );
    reader.story.wrong = std::mem::take(&mut seat.known().wrong);
    reader.story
}

fn history(bookmark: &str) -> &str {
    bookmark.split('.').next().unwrap_or_default()
}

impl Reader {
    /// Reads the committed data and the bookmark of the same snapshot, and forgets all else. Whether
    /// the marker lies before it.
    async fn read_page(&mut self) -> bool {
        loop {
            let Some(client) = connected(&self.strings.database, &self.strings.ledger).await else {
                return false;
            };
            let Ok((bookmark, entries)) = page(&client).await else {
                continue;
            };
            self.bookmark = bookmark;
            let mine = entries.truth.into_iter();
            let mine = mine.filter(|(_, rooms)| !rooms.is_disjoint(&self.story.rooms));
            let page = Page {
                shown: mine.map(|(event, _)| event).collect(),
                rows: entries.rows,
                states: entries.tallies,
                heard: Vec::new(),
            };
            self.strings.seat.is_shown(page.shown.iter());
            self.story.pages.push(page);
            return entries.marked;
        }
    }

    /// Asks the tables whether the log lacked what this bookmark has before it.
    async fn answer_for_gap(&mut self, bookmark: &str) {
        while let Some(client) = connected(&self.strings.log, &self.strings.ledger).await {
            let Ok(standing) = standing(&client, bookmark).await else {
                continue;
            };
            if !standing.lacks {
                eprintln!("{}: gap at {bookmark}: {standing:?}", self.story.name);
            }
            let gap = self.story.gaps.last_mut().expect("it was told of one");
            gap.behind = standing.lacks || standing.is_in_doubt;
            return;
        }
    }

    /// One connection, from its opening to its end.
    async fn attend(&mut self, door: usize) -> ControlFlow<Next> {
        let (transport, sub, role, rooms, _) = self.who;
        let seat = Arc::clone(&self.strings.seat);
        let (expires, is_short) = seat.token_ends();
        self.here = Here {
            brought: self.bookmark.clone(),
            bar: seat.bar.load(Ordering::SeqCst),
            is_short,
            ..Here::default()
        };
        let mut claims =
            json!({ "sub": sub, "iat": seat.issued.load(Ordering::SeqCst), "exp": expires });
        if !role.is_empty() {
            claims["role"] = role.into();
        }
        let query = format!("rooms={}&since={}", rooms.join(","), self.bookmark);
        let token = token_with(&claims);
        let opened = try_connect(transport, &self.strings.doors[door], &token, &query);
        let mut connection = match tokio::time::timeout(OPENING, opened).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) if why.starts_with("refused") => return self.is_refused(&why),
            Ok(Err(_)) => return self.ended("not opened"),
            Err(_) => {
                self.mute = Some((door, Instant::now()));
                return self.ended("not opened in time");
            }
        };
        loop {
            let read = tokio::time::timeout(SILENCE, connection.next_or_end()).await;
            match read {
                Err(_) => {
                    self.mute = Some((door, Instant::now()));
                    return self.ended("silence");
                }
                Ok(Err((1008, reason))) => return self.is_refused(&reason),
                Ok(Err((code, reason))) => return self.ended_by(code, &reason),
                Ok(Ok(frame)) => self.take(&connection, &frame)?,
            }
        }
    }

    /// What it might have missed in rooms that were not its own for a while can't be told.
    fn is_out(&mut self) {
        let seat = &self.strings.seat;
        seat.inside.store(false, Ordering::SeqCst);
        let known = seat.known();
        for room in std::mem::take(&mut self.here.lost) {
            let withdrawal = known.withdrawal.as_ref();
            let withdrawal = withdrawal.filter(|withdrawal| withdrawal.room == room);
            self.story.excuses.push(Excuse {
                from: withdrawal.expect("it waits for those concerned").from,
                room,
                until: Instant::now(),
            });
        }
    }

    fn ended(&mut self, how: &str) -> ControlFlow<Next> {
        let mut known = self.strings.seat.known();
        *known.ends.entry(how.to_owned()).or_default() += 1;
        ControlFlow::Continue(())
    }

    /// Its token does not let it in, which has to have a reason.
    fn is_refused(&mut self, why: &str) -> ControlFlow<Next> {
        let seat = &self.strings.seat;
        let allowed = why.contains("revoked") && seat.is(&seat.revocable)
            || why.contains("expired") && self.here.is_short;
        assert!(allowed, "{}: {why}", self.story.name);
        self.ended("not opened: refused")
    }

    /// Whoever is to come back does; another end is a refusal, and the test's own mistake.
    fn ended_by(&mut self, code: u16, reason: &str) -> ControlFlow<Next> {
        let seat = &self.strings.seat;
        let word = match (code, reason) {
            (1005 | 1006, _) => "torn",
            (200, "") => "ended",
            (1012, _) | (200, "restart") => "restart",
            (1013, _) | (200, "overloaded") => "overloaded",
            (4000, _) | (200, "lagged") => "lagged",
            (4005, _) => "no pong",
            (4002, _) | (200, "revoked") if seat.is(&seat.revocable) => "revoked",
            (4001, _) | (200, "token-expired") if self.here.is_short => {
                if self.here.heard > 0 {
                    seat.expired.fetch_add(1, Ordering::SeqCst);
                }
                "expired"
            }
            _ => panic!("{}: closed with {code} {reason}", self.story.name),
        };
        self.ended(word)
    }

    fn is_let_in(&mut self, welcome: &Value) {
        let seat = &self.strings.seat;
        let bar = self.here.bar;
        if bar % 2 == 1 && seat.bar.load(Ordering::SeqCst) == bar {
            let wrong = format!("let in though it was revoked: {welcome}");
            seat.known().wrong.push(wrong);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let expires = welcome["expiresAt"].as_u64().map(Duration::from_secs);
        let left = expires
            .expect("it has a token")
            .checked_sub(now.expect("after 1970"));
        self.here.expires = Some(Instant::now() + left.unwrap_or_default());
        seat.lacking
            .store(!self.here.lost.is_empty(), Ordering::SeqCst);
        seat.inside.store(true, Ordering::SeqCst);
    }

    /// A room is not its own, or not any more. By SSE it leaves, and tries again from where it was;
    /// by WebSocket it stays for the other rooms.
    fn lacks(&mut self, room: &str) -> ControlFlow<Next> {
        let seat = Arc::clone(&self.strings.seat);
        let expected = seat
            .known()
            .withdrawal
            .as_ref()
            .is_some_and(|w| w.room == room);
        assert!(expected, "{}: {room} was taken from it", self.story.name);
        seat.lacking.store(true, Ordering::SeqCst);
        seat.told.store(true, Ordering::SeqCst);
        // Whoever has heard nothing here may go back to where it began.
        let unheard = self.here.heard == 0;
        if unheard {
            self.bookmark.clone_from(&self.here.brought);
        }
        if self.who.0 == Transport::Sse && unheard {
            return ControlFlow::Break(Next::Retry);
        }
        self.here.lost.insert(room.to_owned());
        match self.who.0 {
            Transport::Sse | Transport::Poll => ControlFlow::Break(Next::Retry),
            Transport::WebSocket => ControlFlow::Continue(()),
        }
    }

    fn take(&mut self, connection: &Subscriber, frame: &Value) -> ControlFlow<Next> {
        let kind = frame["type"].as_str().unwrap_or_default();
        let last = self.bookmark.clone();
        let before = history(&last).to_owned();
        if let Some(bookmark) = &connection.bookmark {
            self.bookmark.clone_from(bookmark);
        }
        let after = history(&self.bookmark).to_owned();
        if kind == "gap" || frame["outcome"] == "gap" {
            self.strings.seat.gaps.fetch_add(1, Ordering::SeqCst);
            let reason = frame["reason"].as_str().unwrap_or_default().to_owned();
            if !matches!(reason.as_str(), "history" | "horizon") {
                eprintln!("{} came with {last} and was told {frame}", self.story.name);
            }
            let next = match reason.as_str() {
                "horizon" => Next::Behind(last),
                _ => Next::ReadAnew,
            };
            self.story.gaps.push(Gap {
                reason,
                before,
                after,
                behind: false,
            });
            return ControlFlow::Break(next);
        }
        // Cut here, it would come back to the new history, and never hear of the gap.
        if before != after {
            self.story.silent.push(frame.to_string());
        }
        match kind {
            "welcome" => self.is_let_in(frame),
            "event" if frame["name"] == "marker" => return ControlFlow::Break(Next::Marker),
            "event" if frame["name"] == "tally" => self.is_told_state(&frame["data"]),
            "event" => self.hear(&frame["data"]),
            "heartbeat" => {
                self.strings.seat.beats.fetch_add(1, Ordering::Relaxed);
            }
            "subscribed" => {
                assert_eq!(frame["outcome"], "recovered", "{frame}");
                self.strings.seat.beats.fetch_add(1, Ordering::Relaxed);
            }
            "error" if frame["code"] == "forbidden" => {
                let room = frame["room"].as_str().unwrap_or_default();
                if !self.who.4.contains(&room) {
                    return self.lacks(room);
                }
                self.refused += 1;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn is_told_state(&mut self, data: &Value) {
        let tally = data["tally"].as_i64().zip(data["entries"].as_i64());
        let (tally, entries) = tally.expect("our own renderer counts");
        let page = self.story.pages.last_mut().expect("it has read its data");
        page.states.insert(tally, entries);
        if !hears_tally(tally, &self.story.rooms, &self.here.lost) {
            let wrong = format!("tally {tally} is of none of its rooms");
            self.strings.seat.known().wrong.push(wrong);
        }
    }

    fn hear(&mut self, data: &Value) {
        let row = data["row"].as_i64().zip(data["version"].as_i64());
        let event = data["event"].as_str().expect("our own triggers name it");
        let page = self.story.pages.last_mut().expect("it has read its data");
        page.heard.push(Heard {
            event: event.to_owned(),
            row,
            lost: self.here.lost.clone(),
            expires: self.here.expires,
        });
        self.here.heard += 1;
        self.strings.seat.hears(event);
        self.strings.seat.heard.fetch_add(1, Ordering::Relaxed);
    }
}

//! `/poll`, and the poll doors of dialects: one answer at a time, as soon as there is one event, for
//! where neither a socket nor a stream gets through. Nothing is kept between two answers: the next
//! brings the bookmark, and finds what was committed meanwhile as any resume does.
//! Hands hyper a body that is written piece by piece. It must never give a bookmark that lies
//! behind an event which the answer does not hold.

mod cover;
mod standstill;

use super::cut::Cut;
use super::presence::Presence;
use super::seam::{Gap, Outcome, Resolved};
use super::seats::OnItsWay;
use super::speech::{self, Speech, Told};
use super::visit::Visit;
use super::{Gate, Refusal};
use crate::clock::until;
use crate::event::{Event, GapReason, to_json};
use crate::frame::Frame;
use crate::hub::Delivery;
use crate::report::{self, Transport};
use bytes::Bytes;
use cover::Cover;
use futures_util::stream;
use serde_json::{Value, json};
use standstill::{PAUSE, stands_still};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use sync_wrapper::SyncStream;
use tokio::time::{Instant, timeout_at};
use warp::http::HeaderValue;
use warp::reply::{Reply, Response};

/// Bytes that are written in one piece, but for a single event: between two pieces it is asked
/// whether the reader may still have the next.
const PIECE: usize = 64 * 1024;

/// As metrics and the log call the end of a poll that has its answer.
pub const ANSWERED: &str = "answered";

/// Answers `GET /poll`, and that of a dialect's door.
pub async fn serve(gate: Arc<Gate>, visit: Visit, cut: Cut) -> Response {
    let mut answer = match answer(&gate, &visit, cut).await {
        Ok(answer) => {
            let body = stream::unfold(answer, Answer::next);
            let mut response = warp::reply::stream(SyncStream::new(body)).into_response();
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert("content-type", json);
            response
        }
        Err(refusal) => refuse(&gate, &visit, refusal),
    };
    let no_store = HeaderValue::from_static("no-store, no-transform");
    answer.headers_mut().insert("cache-control", no_store);
    answer
}

/// A refusal with its usual status, in the words of whoever asks.
fn refuse(gate: &Gate, visit: &Visit, refusal: Refusal) -> Response {
    let mut answer = gate.refuse(refusal);
    if visit.door.is_some() {
        let message = refusal.to_string();
        let error = Told::error(refusal.word(), &message, None);
        if let Ok(Some(frame)) = speech::of(visit).spell(&error, None) {
            *answer.body_mut() = frame.text().to_owned().into_response().into_body();
        }
    }
    answer
}

async fn answer(gate: &Arc<Gate>, visit: &Visit, cut: Cut) -> Result<Answer, Refusal> {
    let wait = visit.wait(&gate.settings.poll)?;
    let mut presence = gate.enter(Transport::Poll, visit).await?;
    let gathered = async {
        presence.join(visit).await?;
        let speech = speech::of(visit);
        speech.introduce(&presence.connection, presence.identity.user.as_deref());
        let mut gathering = Gathering::new(&presence, wait);
        tokio::select! {
            gathered = gathering.gather() => gathered?,
            () = until(presence.identity.expires_at) => return Err(Refusal::Expired),
        }
        presence.go_on()?;
        gathering.take_withdrawn()?;
        Ok(gathering.settle(speech))
    };
    match gathered.await {
        Ok(rest) => {
            presence.why = ANSWERED;
            presence.watch(cut);
            Ok(Answer { presence, rest })
        }
        Err(refusal) => {
            presence.why = refusal.word();
            Err(refusal)
        }
    }
}

/// What comes into the answer, and where its reader then stands.
struct Gathering<'a> {
    presence: &'a Presence,
    /// When to answer, whatever there is.
    deadline: Instant,
    /// How soon to answer once there is something to say.
    haste: Duration,
    head: Value,
    bookmark: Arc<str>,
    frames: VecDeque<Delivery>,
    /// How many of those at the front are of a replay.
    replaying: usize,
    /// How many of those at the back are of a load, which is a replay too.
    loaded: usize,
    /// Counts those until they are written.
    on_its_way: Option<OnItsWay>,
    errors: Vec<Value>,
    bytes: usize,
    more: bool,
}

impl<'a> Gathering<'a> {
    fn new(presence: &'a Presence, wait: Duration) -> Self {
        let errors = presence.errors();
        let errors =
            errors.filter_map(|(code, message, room)| Told::error(code, &message, room).json());
        let mut gathering = Self {
            presence,
            deadline: Instant::now() + wait,
            haste: presence.gate.settings.poll.gather,
            head: Value::Null,
            bookmark: "".into(),
            frames: VecDeque::new(),
            replaying: 0,
            loaded: 0,
            on_its_way: None,
            errors: errors.collect(),
            bytes: 0,
            more: false,
        };
        if presence.has_news() {
            gathering.hurry();
        }
        gathering
    }

    async fn gather(&mut self) -> Result<(), Refusal> {
        let subscription = &self.presence.subscription;
        // What waits already is taken even when the time is over.
        while let Ok(taken) = timeout_at(self.deadline, subscription.take()).await {
            for delivery in taken? {
                if !self.take(delivery).await? {
                    subscription.seal();
                    return Ok(());
                }
            }
            self.take_withdrawn()?;
        }
        // What came since it took the last is for the next answer.
        if let Some(here) = self.presence.gate.hub.seal(subscription) {
            self.bookmark = Arc::clone(&here.bookmark);
        }
        Ok(())
    }

    /// Takes a delivery; false if the answer is complete without what is behind it.
    async fn take(&mut self, delivery: Delivery) -> Result<bool, Refusal> {
        match delivery {
            Delivery::Seam(seam) => {
                let here = Arc::clone(&seam.standpoint.bookmark);
                let Presence {
                    gate,
                    subscription,
                    seat,
                    ..
                } = self.presence;
                let resolved = gate.resolve(*seam, subscription, seat).await?;
                if !self.head.is_null() {
                    self.take_load(resolved, here);
                    return Ok(false);
                }
                Ok(self.take_replay(resolved, here))
            }
            Delivery::Event(event) => Ok(self.take_event(event)),
            Delivery::Gap { reason, bookmark } => {
                report::gap(reason.word());
                self.bookmark = Arc::clone(&bookmark);
                self.frames.push_back(Delivery::Gap { reason, bookmark });
                self.hurry();
                Ok(true)
            }
            Delivery::Reply(_) => Ok(true),
        }
    }

    /// Takes rooms that were withdrawn: what was gathered of them is left out where it is written.
    fn take_withdrawn(&mut self) -> Result<(), Refusal> {
        for room in self.presence.subscription.take_withdrawn() {
            if self.presence.needs(&room) {
                return Err(Refusal::Forbidden);
            }
            self.errors.extend(Told::Withdrawn { room: &room }.json());
            self.hurry();
        }
        Ok(())
    }

    /// Takes a replay, as much of it as fits; false if the answer is complete with that. If the answer's
    /// bookmark would not move its reader on, it is put off for a pause; and if the replay does not fit
    /// either, it becomes a gap, for its rest would never come.
    fn take_replay(&mut self, replay: Resolved, here: Arc<str>) -> bool {
        let (mut outcome, deadline) = (replay.frame.outcome, self.deadline);
        let is_whole = replay.events.into_iter().all(|event| {
            let fits = self.take_event(event);
            self.replaying += usize::from(fits);
            fits
        });
        if is_whole {
            self.bookmark = Arc::clone(&here);
        }
        let limit = Outcome::Gap {
            reason: GapReason::Limit,
        };
        let stands_still = (outcome == limit || self.replaying > 0)
            && stands_still(replay.before.as_deref(), &self.bookmark, &self.frames);
        if stands_still {
            self.haste = PAUSE;
            self.deadline = deadline;
            self.hurry();
        }
        if stands_still && !is_whole {
            report::gap(GapReason::Limit.word());
            self.frames.truncate(self.frames.len() - self.replaying);
            (self.bytes, self.replaying, self.more) = (0, 0, false);
            (self.bookmark, outcome) = (here, limit);
        }
        let home = self.presence.admission.home_among(&replay.frame.rooms);
        self.head = json!({ "outcome": outcome.word(), "rooms": replay.frame.rooms,
            "home": home, "user": self.presence.identity.user });
        if let Outcome::Gap { reason } = outcome {
            self.head["reason"] = reason.word().into();
        }
        let goes_on = matches!(outcome, Outcome::Recovered { .. }) || self.presence.loads;
        stands_still || is_whole && goes_on
    }

    /// Takes all of a load: cut in two, its rest would come with what others had already. If what
    /// goes before leaves no room for it, it is for the next answer, which is to ask for it again.
    fn take_load(&mut self, load: Resolved, here: Arc<str>) {
        let frame = Frame::plain(to_json(&load.frame));
        self.frames.push_back(Delivery::Reply(frame));
        self.loaded = load.events.len();
        self.on_its_way = load.on_its_way;
        let events = load.events.into_iter().map(Delivery::Event);
        self.frames.extend(events);
        self.bookmark = here;
    }

    /// Takes an event, unless the answer is full: one goes into any.
    fn take_event(&mut self, event: Arc<Event>) -> bool {
        let limit = self.presence.gate.settings.limits.queue_bytes;
        if self.bytes + event.weight() > limit && !self.frames.is_empty() {
            self.more = true;
            return false;
        }
        self.bytes += event.weight();
        if let Some(bookmark) = event.bookmark() {
            self.bookmark = Arc::clone(bookmark);
        }
        self.frames.push_back(Delivery::Event(event));
        self.hurry();
        true
    }

    /// There is something to say: soon, and with what comes meanwhile.
    fn hurry(&mut self) {
        self.deadline = self.deadline.min(Instant::now() + self.haste);
    }

    fn settle(mut self, speech: Arc<dyn Speech>) -> Rest {
        if let Some(expires_at) = self.presence.expires_at() {
            self.head["expiresAt"] = expires_at.into();
        }
        let door = self.presence.door.as_deref();
        // A dialect may have no word for a gap among its frames.
        if door.is_some() && self.frames.iter().any(is_gap) {
            self.head["outcome"] = "gap".into();
        }
        let cover = Cover {
            fields: self.head,
            errors: self.errors,
            bookmark: self.bookmark,
            more: self.more,
        };
        let (head, tail) = cover.opened(door, &*speech);
        Rest {
            speech,
            head,
            frames: self.frames,
            replaying: self.replaying,
            loaded: self.loaded,
            _on_its_way: self.on_its_way,
            tail,
            cover,
            first: true,
            over: false,
        }
    }
}

fn is_gap(delivery: &Delivery) -> bool {
    match delivery {
        Delivery::Gap { .. } => true,
        Delivery::Event(event) => event.lost.is_some(),
        _ => false,
    }
}

/// An answer on its way. A piece that may no longer be had tears it, and it counts as lost: its
/// reader comes back with the bookmark it had.
struct Answer {
    presence: Presence,
    rest: Rest,
}

/// What is still to be written: one JSON object, up to its frames, these, and behind them.
struct Rest {
    speech: Arc<dyn Speech>,
    head: String,
    frames: VecDeque<Delivery>,
    replaying: usize,
    loaded: usize,
    _on_its_way: Option<OnItsWay>,
    tail: String,
    /// What that tail was made of.
    cover: Cover,
    /// No frame was written yet.
    first: bool,
    over: bool,
}

impl Answer {
    async fn next(mut self) -> Option<(Result<Bytes, Refusal>, Self)> {
        if self.rest.over {
            return None;
        }
        if let Err(refusal) = self.presence.go_on() {
            self.rest.over = true;
            self.presence.why = refusal.word();
            return Some((Err(refusal), self));
        }
        let mut piece = std::mem::take(&mut self.rest.head);
        let (mut events, mut live) = (0, Vec::new());
        while piece.len() < PIECE
            && let Some(delivery) = self.rest.frames.pop_front()
        {
            let is_live = self.rest.replaying == 0 && self.rest.frames.len() >= self.rest.loaded;
            let inserted = delivery.inserted().filter(|_| is_live);
            self.rest.replaying = self.rest.replaying.saturating_sub(1);
            let written = self.write(&mut piece, &delivery);
            live.extend(inserted.filter(|_| written > 0));
            events += written;
        }
        report::delivered(events);
        // Next it lies with the HTTP library.
        report::reached_socket(&live);
        if self.rest.frames.is_empty() {
            self.rest.over = true;
            match self.tail() {
                Ok(tail) => piece.push_str(&tail),
                Err(refusal) => {
                    self.presence.why = refusal.word();
                    return Some((Err(refusal), self));
                }
            }
        }
        Some((Ok(piece.into()), self))
    }

    /// What stands behind the frames: rooms that were taken while these were written, too, for something of
    /// theirs may be left out, and its bookmark lies behind that. Who can't be told there is to come back
    /// with the bookmark that they had.
    fn tail(&mut self) -> Result<String, Refusal> {
        let (presence, rest) = (&self.presence, &mut self.rest);
        let withdrawn = presence.subscription.take_withdrawn();
        if withdrawn.is_empty() {
            return Ok(std::mem::take(&mut rest.tail));
        }
        let errors = withdrawn.iter();
        let errors = errors.filter_map(|room| Told::Withdrawn { room }.json());
        rest.cover.errors.extend(errors);
        let (_, tail) = rest.cover.opened(presence.door.as_deref(), &*rest.speech);
        // A dialect may have its errors before the frames, or none.
        let is_told = tail != rest.tail && !withdrawn.iter().any(|room| presence.needs(room));
        is_told.then_some(tail).ok_or(Refusal::Forbidden)
    }

    /// Writes a frame, and says how many events it held.
    fn write(&mut self, piece: &mut String, delivery: &Delivery) -> usize {
        let subscription = &self.presence.subscription;
        let speech = &self.rest.speech;
        let gap = |rooms: &[Arc<str>], reason: GapReason, bookmark: &str| {
            let gap = Gap {
                rooms,
                reason,
                bookmark,
            };
            // Without a word for it, the outcome has said so.
            speech.spell(&Told::Gap(gap), None).ok().flatten()
        };
        let (frame, events) = match delivery {
            Delivery::Event(event) if !subscription.may_hear(&event.rooms) => return 0,
            Delivery::Event(event) if let Some(reason) = event.lost => {
                let rooms = subscription.concerned(&event.rooms);
                let bookmark = event.bookmark().map_or("", |bookmark| bookmark);
                report::gap(reason.word());
                (gap(&rooms, reason, bookmark), 0)
            }
            Delivery::Event(event) => (speech.spell(&Told::Event(event), None).ok().flatten(), 1),
            Delivery::Gap { reason, bookmark } => {
                (gap(&subscription.rooms(), *reason, bookmark), 0)
            }
            Delivery::Reply(frame) => (Some(frame.clone()), 0),
            Delivery::Seam(_) => return 0,
        };
        let Some(frame) = frame else { return 0 };
        if !std::mem::take(&mut self.rest.first) {
            piece.push(',');
        }
        piece.push_str(frame.text());
        events
    }
}

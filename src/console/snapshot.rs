//! What one frame says of connections, rooms, refusals and slow readers.
//! Hands JSON over. It must never hold more rows than `console.listed`, nor anything of a token.

use crate::clock::{millis, now_ms};
use crate::config;
use crate::connection::{Gate, Refusal};
use crate::hub::Survey;
use crate::report::{self, Turn, What};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rooms of a connection that are named; the others are counted.
const NAMED_ROOMS: usize = 8;

/// A survey serves searches for so long.
const FRESH: Duration = Duration::from_secs(1);

/// Looks at all connections, and remembers since when which of them are slow.
#[derive(Default)]
pub struct Surveyor {
    /// Unix milliseconds, by connection.
    slow: HashMap<String, u64>,
    last: Option<(Instant, Arc<Vec<Survey>>)>,
}

/// What makes a reader slow.
struct Slowness {
    bytes: usize,
    writing: Duration,
}

impl Slowness {
    fn of(settings: &config::Settings) -> Self {
        let percent = settings.console.slow_percent;
        Self {
            bytes: settings.limits.queue_bytes.saturating_mul(percent) / 100,
            writing: settings.console.slow,
        }
    }

    /// Since when a reader has made no progress, if it is slow.
    fn judge(&self, survey: &Survey, now: u64) -> Option<u64> {
        let writing = survey
            .load
            .writing
            .map_or(Duration::ZERO, |(since, _)| since);
        let slow = survey.load.bytes >= self.bytes || writing >= self.writing;
        slow.then(|| now.saturating_sub(millis(writing)))
    }
}

impl Surveyor {
    /// Everything but what the history and the database say.
    pub fn snapshot(&mut self, gate: &Gate) -> Value {
        let now = now_ms();
        let listed = gate.settings.console.listed;
        let survey = self.look(gate, now);
        let worst = sorted(survey.iter().collect(), &self.slow);
        let slow: Vec<&Survey> = worst
            .iter()
            .copied()
            .filter(|one| self.is_slow(one))
            .collect();
        let totals = report::totals();
        let by_word = |words: Vec<(String, u64)>| words.into_iter().collect::<HashMap<_, _>>();
        let turns = report::recent();
        json!({
            "at": now,
            "connections": { "count": survey.len(), "list": self.rows(&worst, listed, now) },
            "slow": { "count": slow.len(), "list": self.rows(&slow, listed, now) },
            "rooms": {
                "count": gate.hub.sizes().rooms,
                "list": gate.hub.largest_rooms(listed),
            },
            "recent": turns.iter().take(listed).map(turn).collect::<Vec<_>>(),
            "totals": {
                "events": totals.events, "deliveries": totals.deliveries, "gaps": totals.gaps,
                "failures": totals.failures, "ringReplays": totals.ring_replays,
                "logReplays": totals.log_replays, "listenerLosses": totals.listener_losses,
                "refusals": by_word(totals.refusals), "closes": by_word(totals.closes),
            },
        })
    }

    /// Those whom a word fits: of a user, an address, a connection or a transport a part, of a room
    /// the whole name.
    pub fn find(&mut self, gate: &Gate, word: &str) -> Value {
        let now = now_ms();
        let fresh = self.last.clone().filter(|(at, _)| at.elapsed() < FRESH);
        let survey = fresh.map_or_else(|| self.look(gate, now), |(_, survey)| survey);
        let found: Vec<&Survey> = survey.iter().filter(|one| fits(one, word)).collect();
        let listed = gate.settings.console.listed;
        let worst = sorted(found, &self.slow);
        json!({ "count": worst.len(), "list": self.rows(&worst, listed, now) })
    }

    fn look(&mut self, gate: &Gate, now: u64) -> Arc<Vec<Survey>> {
        let survey = Arc::new(gate.hub.survey());
        let slowness = Slowness::of(&gate.settings);
        let before = std::mem::take(&mut self.slow);
        for one in survey.iter() {
            if let (Some(since), Some(caller)) =
                (slowness.judge(one, now), one.subscription.caller())
            {
                let since = before
                    .get(&caller.connection)
                    .map_or(since, |known| since.min(*known));
                self.slow.insert(caller.connection.clone(), since);
            }
        }
        self.last = Some((Instant::now(), Arc::clone(&survey)));
        survey
    }

    fn is_slow(&self, survey: &Survey) -> bool {
        let caller = survey.subscription.caller();
        caller.is_some_and(|caller| self.slow.contains_key(&caller.connection))
    }

    fn rows(&self, surveys: &[&Survey], most: usize, now: u64) -> Vec<Value> {
        let shown = surveys.iter().take(most);
        shown.filter_map(|survey| self.row(survey, now)).collect()
    }

    fn row(&self, survey: &Survey, now: u64) -> Option<Value> {
        let caller = survey.subscription.caller()?;
        let mut rooms = survey.subscription.rooms();
        rooms.sort_unstable();
        rooms.truncate(NAMED_ROOMS);
        Some(json!({
            "connection": caller.connection,
            "transport": caller.transport.word(),
            "user": caller.user,
            "address": caller.address,
            "since": caller.since,
            "rooms": survey.rooms,
            "named": rooms,
            "queue": survey.load.bytes,
            "waiting": survey.load.deliveries,
            "writing": survey.load.writing.map(|(_, bytes)| bytes),
            "behind": behind(survey, now),
            "slow": self.slow.get(&caller.connection),
        }))
    }
}

/// Milliseconds by which a reader's bookmark is behind: the age of what it has not got yet.
fn behind(survey: &Survey, now: u64) -> u64 {
    let writing = survey.load.writing.map_or(0, |(since, _)| millis(since));
    let oldest = survey
        .load
        .oldest
        .and_then(|at| u64::try_from(at / 1000).ok());
    writing.max(oldest.map_or(0, |at| now.saturating_sub(at)))
}

/// The slow ones first, then those for whom most waits, then the youngest.
fn sorted<'a>(mut surveys: Vec<&'a Survey>, slow: &HashMap<String, u64>) -> Vec<&'a Survey> {
    surveys.sort_by_cached_key(|one| {
        let caller = one.subscription.caller();
        let since = caller.and_then(|caller| slow.get(&caller.connection));
        let began = caller.map_or(0, |caller| caller.since);
        (since.is_none(), Reverse(one.load.bytes), Reverse(began))
    });
    surveys
}

fn fits(survey: &Survey, word: &str) -> bool {
    let Some(caller) = survey.subscription.caller() else {
        return false;
    };
    let user = caller.user.as_deref().unwrap_or_default();
    [
        user,
        &caller.address,
        &caller.connection,
        caller.transport.word(),
    ]
    .iter()
    .any(|text| text.contains(word))
        || !survey.subscription.concerned(&[word.into()]).is_empty()
}

fn turn(turn: &Turn) -> Value {
    // Who was refused something in a frame was told a word, and stays: no code goes with it.
    let ends = turn.what != What::FrameRefused;
    let codes = Refusal::codes(&turn.word).filter(|_| ends);
    json!({
        "number": turn.number, "at": turn.at, "what": turn.what.word(), "transport": turn.transport,
        "word": turn.word, "detail": turn.detail, "address": turn.address, "user": turn.user,
        "status": codes.map(|(status, _)| status), "close": codes.map(|(_, close)| close),
    })
}

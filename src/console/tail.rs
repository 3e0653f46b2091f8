//! The tail: every event of this node as it passes, filtered, a few lines four times a second.
//! Hands names, rooms and sizes over, and payloads only where a setting allows it.
//! It must never hold an event back from anybody: it has a queue as any reader, and is cut as one.

use super::Console;
use super::entry::Open;
use super::watch::{end, frame, streamed};
use crate::connection::cut::Cut;
use crate::connection::visit::Visit;
use crate::event::Event;
use crate::hub::Delivery;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use warp::reply::Response;

/// Between two frames: as good as at once, and no more than a page can draw.
const EVERY: Duration = Duration::from_millis(250);

/// After so long without an event the stream says that it lives.
const QUIET: Duration = Duration::from_secs(10);

/// Rooms of an event that are named; the others are counted.
const NAMED_ROOMS: usize = 12;

/// Words that an event must fit, all of them; those with a minus it must not.
#[derive(Debug, Default)]
struct Filter {
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

struct Tail {
    open: Open,
    filter: Filter,
    /// Bytes of a payload to be shown; none: no payloads.
    payload: Option<usize>,
    most: usize,
    lines: VecDeque<Value>,
    skipped: usize,
    next: Instant,
}

impl Console {
    /// Answers `GET /console/tail?filter=WORDS`.
    pub async fn tail(self: Arc<Self>, visit: Visit, cut: Cut) -> Response {
        let open = match self.enter(&visit, cut, &self.tails).await {
            Ok(open) => open,
            Err(why) => return self.refuse(&visit, &why),
        };
        self.gate.hub.follow(&open.subscription);
        let settings = &self.gate.settings.console;
        let tail = Tail {
            open,
            filter: Filter::parse(&visit.parameter("filter").unwrap_or_default()),
            payload: settings.payloads.then_some(settings.payload_bytes),
            most: settings.tail_events,
            lines: VecDeque::new(),
            skipped: 0,
            next: Instant::now(),
        };
        let begins = frame("begins", &json!({ "payloads": settings.payloads }));
        streamed(begins, tail, Tail::next)
    }
}

impl Tail {
    /// The next frame: what has come meanwhile, but not before it is time; or the last of the stream.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        let quiet = Instant::now() + QUIET;
        loop {
            // Asked first, for under load there is always more to take.
            if !self.lines.is_empty() && Instant::now() >= self.next {
                return (self.frame(), Some(self));
            }
            let due = if self.lines.is_empty() {
                quiet
            } else {
                self.next
            };
            tokio::select! {
                // Whose time is over gets nothing more.
                biased;
                taken = self.open.take() => match taken {
                    Ok(taken) => self.hear(&taken),
                    Err(why) => return (end(why), None),
                },
                () = tokio::time::sleep_until(due) => return (self.frame(), Some(self)),
            }
        }
    }

    fn frame(&mut self) -> Bytes {
        self.next = Instant::now() + EVERY;
        if self.lines.is_empty() {
            return Bytes::from_static(b":\n\n");
        }
        let lines = Value::Array(std::mem::take(&mut self.lines).into());
        let skipped = std::mem::take(&mut self.skipped);
        frame("events", &json!({ "lines": lines, "skipped": skipped }))
    }

    fn hear(&mut self, taken: &VecDeque<Delivery>) {
        for delivery in taken {
            let line = match delivery {
                Delivery::Event(event) if self.filter.fits(event) => line(event, self.payload),
                Delivery::Gap { reason, .. } => json!({ "gap": reason }),
                _ => continue,
            };
            self.lines.push_back(line);
            if self.lines.len() > self.most {
                self.lines.pop_front();
                self.skipped += 1;
            }
        }
    }
}

fn line(event: &Event, payload: Option<usize>) -> Value {
    let text = event.data.get();
    let named: Vec<&str> = event
        .rooms
        .iter()
        .take(NAMED_ROOMS)
        .map(|room| &**room)
        .collect();
    let mut line = json!({
        "id": event.place.as_ref().map(|place| place.id.to_string()),
        "at": event.at.as_millisecond(),
        "name": event.name, "channel": event.channel, "named": named,
        "rooms": event.rooms.len(), "bytes": text.len(),
    });
    if let Some(reason) = event.lost {
        line["gap"] = reason.word().into();
    } else if let Some(most) = payload {
        line["data"] = text[..text.floor_char_boundary(most)].into();
    }
    line
}

impl Filter {
    fn parse(text: &str) -> Self {
        let mut filter = Self::default();
        for word in text.split_whitespace() {
            match word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                Some(rest) => filter.unwanted.push(rest.to_lowercase()),
                None => filter.wanted.push(word.to_lowercase()),
            }
        }
        filter
    }

    fn fits(&self, event: &Event) -> bool {
        let has = |word: &String| {
            let texts = [&*event.name, &*event.channel].into_iter();
            let mut texts = texts.chain(event.rooms.iter().map(|room| &**room));
            texts.any(|text| text.to_lowercase().contains(word.as_str()))
        };
        self.wanted.iter().all(has) && !self.unwanted.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str) -> Event {
        let rooms = vec!["lab:1".into(), "user:7".into()];
        Event {
            rooms,
            ..Event::example_of(data)
        }
    }

    #[test]
    fn all_words_must_fit_and_none_with_a_minus() {
        let event = event("\"secret\"");
        for fits in ["", "Created", "lab:1 user:7", "book -lab:2", "-"] {
            assert_eq!(Filter::parse(fits).fits(&event), fits != "-", "{fits}");
        }
        for not in ["secret", "lab:1 lab:2", "book -lab:1"] {
            assert!(!Filter::parse(not).fits(&event), "{not}");
        }
    }

    #[test]
    fn no_payload_unless_allowed_and_then_no_more_than_allowed() {
        let event = event("\"äöü\"");
        let hidden = line(&event, None);
        assert!(!hidden.to_string().contains('ä') && hidden["bytes"] == 8);
        // Within a character: rather less.
        assert_eq!(line(&event, Some(4))["data"], "\"ä");
    }
}

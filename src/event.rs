//! Events as the service carries them: read once from the log, encoded once for each spelling,
//! shared by reference count. Hands over to nobody.
//! It must never look into the payload: what an event means is the database's business.

use crate::bookmark::Standpoint;
use crate::frame::Frame;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

/// The room that everybody who is connected is in.
pub const EVERYBODY: &str = "*";

/// Bytes of the longest name that SQL takes, of whatever it is.
pub const NAME_BYTES: usize = 200;

/// Whether this may name a channel, an event, a room or a reader: 1 to `most` bytes without control
/// characters.
#[must_use]
pub fn is_name(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.contains(char::is_control)
}

/// Name of log rows by which the database itself says that events were lost (see
/// `rowcast.record_failure`).
pub const GAP: &str = "rowcast:gap";

/// Declares the reasons, each with its word on the wire and a sentence for people.
macro_rules! reasons {
    ($( $Reason:ident: $word:literal, $sentence:literal; )*) => {
        /// Why something may be missing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GapReason { $( #[doc = $sentence] $Reason, )* }

        impl GapReason {
            /// As the wire has it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$Reason => $word, )* }
            }

            /// What a word of the wire means, for people.
            #[must_use]
            pub fn explain(word: &str) -> Option<&'static str> {
                match word {
                    $( $word => Some($sentence), )*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    History: "history", "the database began a new history";
    Future: "future", "the bookmark lies ahead of this database";
    Bookmark: "bookmark", "what was brought is no bookmark";
    Horizon: "horizon", "the log no longer reaches back so far";
    Limit: "limit", "more was missed than is replayed at once";
    Unavailable: "unavailable", "the log could not be read";
    Trigger: "trigger", "a trigger or a renderer failed";
    Paused: "paused", "a channel that was held back is let go";
    Listener: "listener", "notifications passed while the database was away";
    Overflow: "overflow", "notifications came faster than they could be taken";
}

impl Serialize for GapReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// One committed event, or one notification of a channel that is delivered by `notify`.
#[derive(Debug)]
pub struct Event {
    /// Where it lies in the log; nothing for a notification, which can't be resumed.
    pub place: Option<Place>,
    pub channel: String,
    pub name: String,
    pub rooms: Vec<Arc<str>>,
    /// JSON text.
    pub data: Box<RawValue>,
    /// When it was inserted, in microseconds, by the clock of the database.
    pub at: Timestamp,
    /// Why events were lost here, if they were: the rooms are to be told of a gap instead.
    pub lost: Option<GapReason>,
    pub frames: Frames,
}

/// An event as it is written, in each spelling that somebody has asked for; at first in none.
#[derive(Debug, Default)]
pub struct Frames {
    websocket: OnceLock<Frame>,
    sse: OnceLock<Frame>,
    /// The spellings of dialects: a chain that only grows, and an empty one costs nothing.
    spelled: OnceLock<Box<Spelled>>,
}

/// One spelling, and the others behind it.
#[derive(Debug)]
struct Spelled {
    spelling: usize,
    frame: Frame,
    next: OnceLock<Box<Spelled>>,
}

/// An event's place in the log.
#[derive(Clone, Debug)]
pub struct Place {
    pub id: u64,
    pub xid: u64,
    pub bookmark: Arc<str>,
}

/// A row of the log: its id, and the transaction that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub id: u64,
    pub xid: u64,
}

/// What became visible since the reader's standpoint: a difference of two snapshots.
#[derive(Debug)]
pub struct Batch {
    /// Where it ends.
    pub to: Arc<Standpoint>,
    /// In order of id; of equal state events only the last.
    pub events: Vec<Arc<Event>>,
    pub states: States,
}

/// Of the state events of a batch by their ids, what else there is to know of them.
pub type States = HashMap<u64, State>;

/// What a state event stands for.
#[derive(Debug)]
pub struct State {
    /// The same for equal ones, in whichever batch.
    pub number: i64,
    /// Its equals of lower ids, which say no more than it does: whoever lacks one of them, and not
    /// the last, is told in its place what the last says.
    pub equals: Vec<Entry>,
}

/// Brings equal state events of a batch together: it takes the entries from the last to the first.
#[derive(Debug, Default)]
pub struct Equals(BTreeMap<i64, (u64, Vec<Entry>)>);

impl Equals {
    /// Whether this entry is an event, or only stands behind a later one that says the same. `number`
    /// is what state events share that are equal; nothing for other events.
    pub fn is_event(&mut self, entry: Entry, number: Option<i64>) -> bool {
        let Some(number) = number else {
            return true;
        };
        match self.0.get_mut(&number) {
            // A renderer may say two things of one key.
            Some((last, _)) if *last == entry.id => true,
            Some((_, equals)) => {
                equals.push(entry);
                false
            }
            None => {
                self.0.insert(number, (entry.id, Vec::new()));
                true
            }
        }
    }

    /// What was brought together.
    #[must_use]
    pub fn states(self) -> States {
        let states = self.0.into_iter();
        let states = states.map(|(number, (last, equals))| (last, State { number, equals }));
        states.collect()
    }
}

#[derive(Serialize)]
struct EventFrame<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: &'a str,
    channel: &'a str,
    data: &'a RawValue,
    /// RFC 3339, UTC, microseconds.
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<&'a str>,
}

impl Place {
    #[must_use]
    pub fn entry(&self) -> Entry {
        let Self { id, xid, .. } = *self;
        Entry { id, xid }
    }
}

impl Event {
    /// The same event at another place: for a reader whose bookmark is not one of our own, or who is
    /// told what it says in place of an equal one.
    #[must_use]
    pub fn moved(&self, Entry { id, xid }: Entry, bookmark: String) -> Self {
        let bookmark = bookmark.into();
        Self {
            place: Some(Place { id, xid, bookmark }),
            channel: self.channel.clone(),
            name: self.name.clone(),
            rooms: self.rooms.clone(),
            data: self.data.clone(),
            frames: Frames::default(),
            ..*self
        }
    }

    /// The bookmark a reader holds after this event.
    #[must_use]
    pub fn bookmark(&self) -> Option<&Arc<str>> {
        self.place.as_ref().map(|place| &place.bookmark)
    }

    /// What it weighs in queues and rings, in bytes: its text and what surrounds it.
    #[must_use]
    pub fn weight(&self) -> usize {
        let bookmark = self.place.as_ref().map_or(0, |place| place.bookmark.len());
        let rooms: usize = self.rooms.iter().map(|room| room.len() + 16).sum();
        self.data.get().len() + self.name.len() + self.channel.len() + bookmark + rooms + 200
    }

    /// The WebSocket frame, encoded at the first subscriber.
    #[must_use]
    pub fn websocket(&self) -> &Frame {
        self.frames.websocket.get_or_init(|| {
            Frame::websocket(&to_json(&EventFrame {
                r#type: "event",
                id: self.place.as_ref().map(|place| place.id.to_string()),
                name: &self.name,
                channel: &self.channel,
                data: &self.data,
                at: format!("{:.6}", self.at),
                bookmark: self.bookmark().map(AsRef::as_ref),
            }))
        })
    }

    /// The frame of a dialect, by the number of its spelling; encoded at the first subscriber.
    #[must_use]
    pub fn spelled(&self, spelling: usize, encode: impl FnOnce() -> Frame) -> &Frame {
        let mut encode = Some(encode);
        let mut link = &self.frames.spelled;
        loop {
            let here = link.get_or_init(|| {
                let frame = encode.take().map_or_else(Frame::default, |encode| encode());
                let next = OnceLock::new();
                Box::new(Spelled {
                    spelling,
                    frame,
                    next,
                })
            });
            if here.spelling == spelling {
                return &here.frame;
            }
            link = &here.next;
        }
    }

    /// The server-sent event as a chunk, encoded at the first subscriber.
    #[must_use]
    pub fn sse(&self) -> &Frame {
        self.frames.sse.get_or_init(|| {
            Frame::chunk(&sse_frame(
                Some(&self.name),
                self.bookmark().map(AsRef::as_ref),
                self.data.get(),
            ))
        })
    }
}

/// JSON text of a value that has no way to fail: strings, numbers and raw JSON.
///
/// # Panics
/// Never for types without maps of other keys than strings, which are all that are passed.
#[must_use]
pub fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("frames hold only strings, numbers and raw JSON")
}

/// One server-sent event. `data` goes on one line: JSON text has line breaks only between tokens,
/// where a space does as well.
#[must_use]
pub fn sse_frame(event: Option<&str>, id: Option<&str>, data: &str) -> String {
    let mut text = String::with_capacity(data.len() + 128);
    for (field, value) in [("event: ", event), ("id: ", id)] {
        if let Some(value) = value {
            text.extend([field, value, "\n"]);
        }
    }
    text.push_str("data: ");
    text.extend(
        data.chars()
            .map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }),
    );
    text.push_str("\n\n");
    text
}

#[cfg(test)]
impl Event {
    /// One from which a test's own is made.
    pub fn example() -> Self {
        let place = Place {
            id: 7,
            xid: 9,
            bookmark: "h.1_0.7".into(),
        };
        Self {
            place: Some(place),
            channel: "bookings".into(),
            name: "booking:created".into(),
            rooms: vec!["lab:1".into()],
            data: RawValue::NULL.to_owned(),
            at: "2026-11-20T10:30:00.123456Z".parse().unwrap(),
            lost: None,
            frames: Frames::default(),
        }
    }

    pub fn example_of(data: &str) -> Self {
        let data = RawValue::from_string(data.into()).unwrap();
        Self {
            data,
            ..Self::example()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_websocket_frame_is_the_one_of_the_wire() {
        assert_eq!(
            Event::example_of(r#"{"a" : 1}"#).websocket().text(),
            r#"{"type":"event","id":"7","name":"booking:created","channel":"bookings","data":{"a" : 1},"at":"2026-11-20T10:30:00.123456Z","bookmark":"h.1_0.7"}"#
        );
    }

    #[test]
    fn spellings_do_not_mix_when_many_ask_at_once() {
        let event = Event::example();
        std::thread::scope(|scope| {
            for first in 0..8 {
                let event = &event;
                scope.spawn(move || {
                    for spelling in (first..8).chain(0..8) {
                        let text = spelling.to_string();
                        let found = event.spelled(spelling, || Frame::websocket(&text));
                        assert_eq!(found.text(), text);
                    }
                });
            }
        });
        let again = event.spelled(3, || unreachable!("it is there already"));
        assert_eq!(again.text(), "3");
    }

    #[test]
    fn pretty_json_stays_one_line_of_sse() {
        assert_eq!(
            Event::example_of("{\n \"a\": 1}").sse().text(),
            "event: booking:created\nid: h.1_0.7\ndata: {  \"a\": 1}\n\n"
        );
    }
}

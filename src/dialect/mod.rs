//! Dialects: how front ends that were there before speak, as files say it.
//! Hands paths, messages and frames to the transports. It must never decide who may do what: what a
//! message asks for passes the same admission as on `/ws`.
//!
//! `docs/dialects.md` says how to write one; `config/dialects/` holds those that are built in.

mod door;
mod fields;
mod file;
mod framing;
mod messages;
mod path;
pub mod places;
mod read;
mod slot;
mod template;
mod wording;

pub use door::{Entrance, Health, PollDoor, SocketIoDoor, WebSocketDoor};
pub use fields::{Field, Fields, KINDS, Kind};
pub use file::SECTIONS;
pub use framing::Framing;
pub use messages::{Heard, Meaning, Message, Messages, Misheard, Rooms};
pub use path::Path;
pub use slot::{Filling, Shape, Source, Values};
pub use template::{Template, Text};
pub use wording::{CODES, Close, Closes, Errors, WORDS};

use include_dir::{Dir, include_dir};
use read::Place;
use std::sync::Arc;

/// Those that are built in.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/config/dialects");

/// Paths that the service has by itself. `/console` has more below it.
const OURS: &[&str] = &[
    "/ws",
    "/sse",
    "/poll",
    "/call/{name}",
    "/ack/{reader}",
    "/healthz",
    "/readyz",
    "/metrics",
];
const CONSOLE: &str = "/console";

/// How a front end speaks.
#[derive(Clone, Debug)]
pub struct Dialect {
    pub name: String,
    pub websocket: Option<WebSocketDoor>,
    pub poll: Option<PollDoor>,
    pub socketio: Option<SocketIoDoor>,
    pub health: Option<Health>,
    /// How an event is framed on WebSocket and poll; there if one of these doors is.
    pub event: Option<Framing>,
    pub messages: Messages,
    pub errors: Errors,
    pub closes: Closes,
    places: Vec<Place>,
}

/// All that is wrong with the dialects, one sentence a problem, each with file, line and key.
#[derive(Debug, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct DialectError {
    pub problems: Vec<String>,
}

impl Dialect {
    /// Reads a file; `file` is what problems call it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Self, DialectError> {
        let read = read::read(file, text).map_err(|problems| DialectError { problems })?;
        let name = file.rsplit('/').next().unwrap_or(file);
        Ok(Self {
            name: name.trim_end_matches(".toml").to_owned(),
            websocket: read.websocket,
            poll: read.poll,
            socketio: read.socketio,
            health: read.health,
            event: read.event,
            messages: read.messages,
            errors: read.errors,
            closes: read.closes,
            places: read.places,
        })
    }

    /// Loads what `http.dialects` lists: names of those that are built in, or paths of files (what has
    /// a slash or ends in `.toml`).
    ///
    /// # Errors
    /// All that is wrong with them, and which of their paths collide.
    pub fn load(listed: &[String]) -> Result<Vec<Arc<Self>>, DialectError> {
        let mut problems = Vec::new();
        let mut dialects: Vec<Self> = Vec::new();
        for entry in listed {
            let read = text_of(entry)
                .and_then(|(file, text)| Self::parse(&file, &text).map_err(|error| error.problems));
            match read {
                Ok(dialect) => dialects.push(dialect),
                Err(wrong) => problems.extend(wrong),
            }
        }
        problems.extend(collisions(&dialects));
        if !problems.is_empty() {
            return Err(DialectError { problems });
        }
        let mut spelling = 0;
        for dialect in &mut dialects {
            let arguments = dialect.socketio.as_mut().map(|door| &mut door.arguments);
            for framing in [dialect.event.as_mut(), arguments].into_iter().flatten() {
                framing.spelling = spelling;
                spelling += 1;
            }
        }
        Ok(dialects.into_iter().map(Arc::new).collect())
    }
}

/// The file that an entry of `http.dialects` means, and what it says.
fn text_of(entry: &str) -> Result<(String, String), Vec<String>> {
    if entry.contains('/') || entry.ends_with(".toml") {
        let text = std::fs::read_to_string(entry);
        return text
            .map(|text| (entry.to_owned(), text))
            .map_err(|error| vec![format!("`http.dialects`: {entry} can't be read: {error}.")]);
    }
    let built_in = BUILT_IN.get_file(format!("{entry}.toml"));
    let text = built_in.and_then(|file| file.contents_utf8());
    text.map(|text| (format!("config/dialects/{entry}.toml"), text.to_owned())).ok_or_else(|| {
        let names = built_in_names();
        let near = file::nearest(entry, &names).map_or(String::new(), |near| format!("did you mean `{near}`? "));
        vec![format!(
            "`http.dialects`: no dialect `{entry}` is built in: {near}Built in: {}. A file of yours is named by \
             its path, such as ./{entry}.toml.",
            names.join(", ")
        )]
    })
}

/// The names of those that are built in.
#[must_use]
pub fn built_in_names() -> Vec<&'static str> {
    let stems = BUILT_IN
        .files()
        .filter_map(|file| file.path().to_str()?.strip_suffix(".toml"));
    let mut names: Vec<&str> = stems.collect();
    names.sort_unstable();
    names
}

/// Paths that a request could mean twice.
fn collisions(dialects: &[Dialect]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen: Vec<&Place> = Vec::new();
    for place in dialects.iter().flat_map(|dialect| &dialect.places) {
        let native = OURS.iter().find(|ours| {
            Path::read(ours).is_ok_and(|ours| ours.collides(&place.path))
                || (place.below
                    && Path::read(ours).is_ok_and(|ours| ours.lies_below(place.path.as_str())))
        });
        let console = place.path.lies_below(CONSOLE).then_some(&CONSOLE);
        if let Some(native) = native.or(console) {
            problems.push(format!(
                "{}: is Rowcast's own ({native}): give this door another path",
                place.said
            ));
        }
        let other = seen.iter().find(|other| {
            place.path.collides(&other.path)
                || (other.below && place.path.lies_below(other.path.as_str()))
                || (place.below && other.path.lies_below(place.path.as_str()))
        });
        if let Some(other) = other {
            problems.push(format!(
                "{}: collides with {}: give one of them another path",
                place.said, other.said
            ));
        }
        seen.push(place);
    }
    problems
}

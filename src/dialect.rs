//! Dialects: how front ends that were there before speak, as files say it.
//! Hands paths, messages and frames to the transports. It must never decide who may do what: what a
//! message asks for passes the same admission as on `/ws`.
//!
//! `docs/dialects.md` says how to write one; `config/dialects/` holds those that are built in.

mod door;
mod fields;
mod file;
mod filling;
mod framing;
mod keys;
mod messages;
mod path;
pub mod places;
mod read;
mod read_doors;
mod read_messages;
mod reader;
mod slot;
mod template;
mod text;
mod values;
mod wording;

pub use door::{Entrance, Health, PollDoor, SocketIoDoor, WebSocketDoor};
pub use fields::{Field, FieldKind, Fields, KINDS};
pub use filling::{Filling, Source};
pub use framing::Framing;
pub use keys::SECTIONS;
pub use messages::{BadMessage, Meaning, Message, Messages, ParsedMessage, Rooms};
pub use path::Path;
pub use slot::Shape;
pub use template::Template;
pub use text::Text;
pub use values::Values;
pub use wording::{CODES, Close, Errors, WORDS};

use include_dir::{Dir, include_dir};
use reader::PathUse;
use std::collections::HashMap;
use std::sync::Arc;

/// Those that are built in.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/config/dialects");

/// Paths that the service has by itself.
const OURS: &[&str] = &[
    "/ws",
    "/sse",
    "/poll",
    "/call/{name}",
    "/ack/{reader}",
    "/healthz",
    "/readyz",
    "/metrics",
    CONSOLE,
];
/// Has more below it.
const CONSOLE: &str = "/console";

/// How a front end speaks.
#[derive(Clone, Debug)]
pub struct Dialect {
    pub name: String,
    pub websocket: Option<Arc<WebSocketDoor>>,
    pub poll: Option<Arc<PollDoor>>,
    pub socketio: Option<Arc<SocketIoDoor>>,
    pub health: Option<Health>,
    /// How an event is framed on WebSocket and poll; there if one of these doors is.
    pub event: Option<Framing>,
    pub messages: Messages,
    pub errors: Errors,
    /// How connections are closed, by the word of the reason.
    pub closes: HashMap<String, Close>,
    places: Vec<PathUse>,
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
        read::read(file, text).map_err(|problems| DialectError { problems })
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
            if let Some(framing) = &mut dialect.event {
                framing.spelling = spelling;
                spelling += 1;
            }
            if let Some(door) = &mut dialect.socketio {
                // One for each namespace, whose name stands in it.
                Arc::make_mut(door).arguments.spelling = spelling;
                spelling += door.namespaces.len();
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
        let known = keys::known_here(entry, &names, keys::quoted);
        vec![format!(
            "`http.dialects`: no dialect `{entry}` is built in{known}. A file of yours is named by its path, such \
             as ./{entry}.toml."
        )]
    })
}

/// The names of those that are built in.
fn built_in_names() -> Vec<&'static str> {
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
    let native = OURS.iter().filter_map(|written| {
        Some(PathUse {
            path: Path::read(written).ok()?,
            below: *written == CONSOLE,
            said: (*written).to_owned(),
        })
    });
    let native: Vec<PathUse> = native.collect();
    let mut seen: Vec<&PathUse> = Vec::new();
    for place in dialects.iter().flat_map(|dialect| &dialect.places) {
        if let Some(native) = native.iter().find(|native| native.collides(place)) {
            problems.push(format!(
                "{}: is Rowcast's own ({}): give this door another path",
                place.said, native.said
            ));
        }
        if let Some(other) = seen.iter().find(|other| other.collides(place)) {
            problems.push(format!(
                "{}: collides with {}: give one of them another path",
                place.said, other.said
            ));
        }
        seen.push(place);
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collide(files: &[(&str, &str)]) -> String {
        let dialects: Vec<Dialect> = files
            .iter()
            .map(|(name, text)| Dialect::parse(name, text).unwrap())
            .collect();
        collisions(&dialects).join("\n")
    }

    fn at(path: &str) -> String {
        format!("[websocket]\npath = \"{path}\"\n[event]\nframe = 1")
    }

    #[test]
    fn doors_do_not_stand_in_each_others_way() {
        let io = "[socketio]\n";
        assert_eq!(
            collide(&[
                ("a.toml", &at("/ws/{x}")),
                ("b.toml", &at("/live")),
                ("c.toml", io)
            ]),
            ""
        );
        for (one, other, said) in [
            (
                &*at("/live/{x}"),
                &*at("/live/1"),
                "b.toml:2: websocket.path: /live/1: collides with a.toml:2: websocket.path: /live/{x}: give one of them another path",
            ),
            (
                io,
                io,
                "b.toml:1: socketio.path: /socket.io: collides with a.toml:1: socketio.path: /socket.io: give one of them another path",
            ),
            (
                io,
                &at("/socket.io/x"),
                "b.toml:2: websocket.path: /socket.io/x: collides with a.toml:1: socketio.path: /socket.io: give one of them another path",
            ),
            (
                &at("/socket.io/x"),
                io,
                "b.toml:1: socketio.path: /socket.io: collides with a.toml:2: websocket.path: /socket.io/x: give one of them another path",
            ),
        ] {
            assert_eq!(collide(&[("a.toml", one), ("b.toml", other)]), said);
        }
        for native in [
            "/ws",
            "/call/{x}",
            "/{x}",
            "/readyz",
            "/console",
            "/console/watch",
            "/ack/me",
        ] {
            let said = collide(&[("a.toml", &at(native))]);
            assert!(said.contains("is Rowcast's own"), "{native}: {said}");
        }
        let below = collide(&[("a.toml", "[socketio]\npath = \"/call/\"")]);
        assert!(below.contains("is Rowcast's own (/call/{name})"), "{below}");
    }

    #[test]
    fn what_is_listed_and_is_not_there_is_named() {
        let said = |entry: &str| match Dialect::load(&[entry.to_owned()]) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let unknown = said("nobodys");
        assert!(
            unknown.starts_with(
                "`http.dialects`: no dialect `nobodys` is built in. Known here: `boardroom`, `clinic`, "
            ),
            "{unknown}"
        );
        assert!(
            unknown.ends_with("named by its path, such as ./nobodys.toml."),
            "{unknown}"
        );
        assert!(
            said("./no/such.toml").starts_with("`http.dialects`: ./no/such.toml can't be read: ")
        );
    }

    /// Whoever writes one sees at once what is wrong with it.
    #[test]
    fn those_that_are_built_in_are_without_a_mistake() {
        for name in built_in_names() {
            if let Err(error) = Dialect::load(&[name.to_owned()]) {
                unreachable!("{error}");
            }
        }
    }

    #[test]
    fn each_framing_has_a_spelling_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let listed: Vec<String> = [(0, "/a", "/io"), (1, "/b", "/oi")]
            .map(|(which, path, io)| {
                let file = directory.path().join(format!("{which}.toml"));
                std::fs::write(
                    &file,
                    format!(
                        "[socketio]\npath = \"{io}\"\nnamespaces = [\"/\", \"/n\"]\n{}",
                        at(path)
                    ),
                )
                .unwrap();
                file.display().to_string()
            })
            .into();
        let dialects = Dialect::load(&listed).unwrap();
        let spellings: Vec<usize> = dialects
            .iter()
            .flat_map(|dialect| {
                [
                    dialect.event.as_ref().unwrap().spelling,
                    dialect.socketio.as_ref().unwrap().arguments.spelling,
                ]
            })
            .collect();
        assert_eq!(spellings, [0, 1, 3, 4], "two namespaces have two");
        assert_eq!(dialects[0].name, "0");
    }
}

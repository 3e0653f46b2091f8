//! The sections of doors, compiled: paths, parameters, what is said on the way in.
//! Hands doors to the reader of the whole file. It must never let a parameter be named that no door has.

use super::door::{Entrance, Health, PollDoor, SocketIoDoor, WebSocketDoor};
use super::fields::{Field, FieldKind};
use super::file::Section;
use super::framing::Framing;
use super::keys::{known_here, quoted};
use super::messages::Rooms;
use super::places;
use super::reader::{DialectReader, ours};
use super::slot::Context;
use super::template::Node;
use super::wording::WORDS;
use toml::Spanned;

/// Parameters of the query that every door understands by itself.
const TAKEN: &[&str] = &["token", "since", "reader", "wait"];

/// A Socket.IO event's arguments if the file does not say: what old clients expect, and a second one
/// which they ignore.
const ARGUMENTS: &str = r#"["{data}", { id = "{id}", bookmark = "{bookmark}", at = "{at}" }]"#;

/// Each of those, and what it is called where these are names of some.
fn called(names: &[(String, String)]) -> impl Iterator<Item = (&'static str, &str)> {
    TAKEN.iter().map(move |own| {
        let found = names.iter().find(|(known, _)| known == own);
        (*own, found.map_or(*own, |(_, name)| name.as_str()))
    })
}

impl<'t> DialectReader<'t> {
    /// Path, query, rooms and claims of a door.
    pub fn entrance(&mut self, section: &Section<'t>) -> Option<Entrance> {
        let socketio = section.key == "socketio";
        let written = match self.file.text(section, "path") {
            None if socketio && !section.has("path") => Some(("/socket.io/", section.at.clone())),
            None if !section.has("path") => {
                self.file.missing(
                    section,
                    "path",
                    "say where this door is, such as path = \"/updates\"",
                );
                None
            }
            written => written,
        };
        let query = self.file.fields(section, "query");
        let names = self.names(section);
        let taken = |path: &str| called(&names).any(|(_, name)| name == path);
        for field in &query {
            let problem = match &field.kind {
                FieldKind::Object | FieldKind::Any => {
                    Some(format!("a query can't hold {}", field.kind))
                }
                _ if taken(&field.path) => Some(
                    "every door understands this parameter by itself: leave it out, or call ours \
                     otherwise in `names`"
                        .into(),
                ),
                _ => None,
            };
            if let Some(problem) = problem {
                self.file.say(
                    &section.at,
                    &format!("{}.query.{}", section.key, field.path),
                    &problem,
                );
            }
        }
        let (mut written, at) = written?;
        if socketio {
            written = written.trim_end_matches('/');
        }
        let path = self.path(section, written, &at, socketio)?;
        if socketio && path.fields().next().is_some() {
            let what = "Socket.IO's path has no parameters: use `query`";
            self.file.say(&at, &section.inside("path"), what);
        }
        let mine: Vec<Field> = path.fields().chain(&query).cloned().collect();
        let known: &[&[Field]] = &[&mine];
        let said = Context::new(places::SAID, known);
        let rooms = Rooms(self.file.fills(section, "rooms", &said));
        let claims = self.claims(section, &mine);
        self.door.extend(mine);
        Some(Entrance {
            path,
            query,
            names,
            rooms,
            claims,
        })
    }

    /// What this door calls the parameters that every door has.
    fn names(&mut self, section: &Section<'t>) -> Vec<(String, String)> {
        let Some(table) = self.file.table(section, "names") else {
            return Vec::new();
        };
        let mut names = Vec::new();
        for (own, _) in table.entries() {
            self.known_word(&table, own, TAKEN);
            if let Some((name, _)) = self.file.text(&table, own.get_ref()) {
                names.push((own.get_ref().to_string(), name.to_owned()));
            }
        }
        for (own, name) in &names {
            let what = if name.is_empty() {
                "write what the front end calls it"
            } else if called(&names).any(|(other, same)| other != own && same == name) {
                "two parameters can't have one name"
            } else {
                continue;
            };
            self.file.say(&table.at, &table.inside(own), what);
        }
        names
    }

    fn claims(&mut self, section: &Section<'t>, mine: &[Field]) -> Vec<(String, String)> {
        let Some(table) = self.file.table(section, "claims") else {
            return Vec::new();
        };
        let mut claims = Vec::new();
        let known: Vec<&str> = mine.iter().map(|field| field.path.as_str()).collect();
        for (key, _) in table.entries() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let known = known_here(name, &known, quoted);
                let what = format!("this door has no such parameter{known}");
                self.file.say(&key.span(), &table.inside(name), &what);
            }
            if let Some((claim, _)) = self.file.text(&table, name) {
                claims.push((name.to_owned(), claim.to_owned()));
            }
        }
        claims
    }

    pub fn websocket(&mut self, section: &Section<'t>, entrance: Entrance) -> WebSocketDoor {
        WebSocketDoor {
            entrance,
            welcome: self.template(section, "welcome", places::WELCOME),
            heartbeat: self.template(section, "heartbeat", places::HEARTBEAT),
            gap: self.template(section, "gap", places::GAP),
            reload: {
                let names = self.file.texts(section, "reload").into_iter();
                names.map(|(name, _)| name.to_owned()).collect()
            },
        }
    }

    pub fn poll(&mut self, section: &Section<'t>, entrance: Entrance) -> Option<PollDoor> {
        let Some(value) = self.file.value(section, "answer") else {
            let remedy = "say what a poll answers, such as { updates = \"{events}\", next = \"{bookmark}\" }";
            self.file.missing(section, "answer", remedy);
            return None;
        };
        let answer = self.template(section, "answer", places::POLL)?;
        let slots = answer.slots();
        let count = |name: &str| slots.iter().filter(|slot| *slot.name == *name).count();
        if count("events") != 1 || count("bookmark") == 0 {
            let what = "{events} has to stand in it once, and {bookmark}, to go on from";
            self.file
                .say(&value.span(), &section.inside("answer"), what);
        }
        Some(PollDoor { entrance, answer })
    }

    pub fn socketio(&mut self, section: &Section<'t>, entrance: Entrance) -> SocketIoDoor {
        let mut namespaces = Vec::new();
        for (name, at) in self.file.texts(section, "namespaces") {
            if !name.starts_with('/') || namespaces.iter().any(|known| known == name) {
                let what = "namespaces begin with /, and each is named once";
                self.file.say(&at, "socketio.namespaces", what);
            }
            namespaces.push(name.to_owned());
        }
        if namespaces.is_empty() {
            namespaces.push("/".to_owned());
        }
        let arguments = self.template(section, "arguments", places::EVENT);
        let arguments =
            arguments.unwrap_or_else(|| ours(ARGUMENTS, &Context::new(places::EVENT, &[])));
        let welcome = self.template(section, "welcome", places::WELCOME);
        let gap = self.template(section, "gap", places::GAP);
        for (key, template, is_event) in [
            ("welcome", welcome.as_ref(), true),
            ("gap", gap.as_ref(), true),
            ("arguments", Some(&arguments), false),
        ] {
            let right = match template.map(|template| &template.node) {
                None => true,
                Some(Node::Array(items)) => {
                    !is_event
                        || matches!(items.first(), Some(Node::Literal(name)) if name.starts_with('"'))
                }
                Some(_) => false,
            };
            if !right {
                let what = if is_event {
                    "the event's name and its arguments"
                } else {
                    "the arguments"
                };
                let at = self
                    .file
                    .value(section, key)
                    .map_or(section.at.clone(), Spanned::span);
                self.file
                    .say(&at, &section.inside(key), &format!("write a list: {what}"));
            }
        }
        let context = Context::new(places::CLOSE, &[]);
        let refusals = self.wordings(section, "refusals", WORDS, &context);
        let arguments = Framing::new(arguments, false, &self.door);
        let path = format!("{}/", entrance.path.as_str());
        SocketIoDoor {
            path,
            namespaces,
            entrance,
            welcome,
            gap,
            arguments,
            refusals,
        }
    }

    pub fn health(&mut self, root: &Section<'t>) -> Option<Health> {
        let section = self.file.section(root, "health")?;
        for (key, remedy) in [
            ("path", "say where it is asked, such as path = \"/health\""),
            (
                "answer",
                "say what it answers, such as { status = \"{ready:up|down}\" }",
            ),
        ] {
            if !section.has(key) {
                self.file.missing(&section, key, remedy);
            }
        }
        let written = self.file.text(&section, "path");
        let context = Context::new(places::HEALTH, &[]);
        let answer = self.file.template(&section, "answer", &context);
        let unready = self.file.number(&section, "unready", 200..600);
        let (written, at) = written?;
        let path = self.path(&section, written, &at, false)?;
        if path.fields().next().is_some() {
            let what = "the path of a health door has no parameters";
            self.file.say(&at, "health.path", what);
        }
        Some(Health {
            path,
            answer: answer?,
            unready: unready.unwrap_or(503),
        })
    }
}

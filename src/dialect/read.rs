//! From a dialect's file to the dialect: each section compiled, every problem collected.
//! Hands a dialect to whoever loads it, or all that is wrong with its file. It must never leave a slot
//! unchecked: what is wrong with a file shows at the start, not at the first event.

use super::door::{Entrance, Health, PollDoor, SocketIoDoor, WebSocketDoor};
use super::fields::{Field, Kind};
use super::file::{File, Section, nearest};
use super::framing::{Framing, MOST_BESIDE};
use super::messages::{Meaning, Message, Messages, Rooms};
use super::path::Path;
use super::places;
use super::slot::{Context, Shape};
use super::template::{Node, Template, Text, Wrong};
use super::wording::{CODES, Close, Closes, Errors, WORDS};
use std::collections::HashMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Parameters of the query that every door understands by itself.
const TAKEN: &[&str] = &["token", "since", "reader", "wait"];

/// What is told of an error if the file does not say.
const ERROR: &str =
    r#"{ type = "error", code = "{code}", message = "{message}", room = "{room}" }"#;

/// A Socket.IO event's arguments if the file does not say: what old clients expect, and a second one
/// which they ignore.
const ARGUMENTS: &str = r#"["{data}", { id = "{id}", bookmark = "{bookmark}", at = "{at}" }]"#;

/// Where a path was written, for those who collide with it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub path: Path,
    /// All below it too.
    pub below: bool,
    /// `tickets.toml:3: websocket.path`
    pub said: String,
}

/// All that a file holds.
pub(super) struct Read {
    pub websocket: Option<WebSocketDoor>,
    pub poll: Option<PollDoor>,
    pub socketio: Option<SocketIoDoor>,
    pub health: Option<Health>,
    pub event: Option<Framing>,
    pub messages: Messages,
    pub errors: Errors,
    pub closes: Closes,
    pub places: Vec<Place>,
}

/// Reads a file whole.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn read(name: &str, text: &str) -> Result<Read, Vec<String>> {
    let mut file = File::new(name, text);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            file.say(&error.span().unwrap_or(0..0), "", error.message());
            return Err(file.problems);
        }
    };
    let mut reader = Reader {
        door: Vec::new(),
        places: Vec::new(),
        file,
    };
    let read = reader.all(&table);
    if reader.file.problems.is_empty() {
        Ok(Read {
            places: reader.places,
            ..read
        })
    } else {
        Err(reader.file.problems)
    }
}

struct Reader<'t> {
    file: File<'t>,
    /// The parameters of all doors.
    door: Vec<Field>,
    places: Vec<Place>,
}

impl<'t> Reader<'t> {
    fn all(&mut self, table: &'t Spanned<DeTable<'t>>) -> Read {
        let root = self.file.root(table);
        let sections = ["websocket", "poll", "socketio"].map(|key| self.file.section(&root, key));
        // Parameters first: frames of every section may show them.
        let entrances = sections
            .each_ref()
            .map(|section| section.as_ref().and_then(|section| self.entrance(section)));
        let [websocket, poll, socketio] = sections;
        let [to_websocket, to_poll, to_socketio] = entrances;
        let health = self.health(&root);
        let doors = ["websocket", "poll", "socketio", "health"];
        if !doors.iter().any(|door| root.has(door)) {
            let what = format!(
                "a dialect needs a door: write one of [{}]",
                doors.join("], [")
            );
            self.file.say(&(0..0), "", &what);
        }
        let event = self.event(&root);
        if event.is_none() && (websocket.is_some() || poll.is_some()) {
            let what = "a WebSocket or poll needs [event.frame]: say how an event is framed";
            self.file.say(&(0..0), "event.frame", what);
        }
        let websocket = websocket
            .zip(to_websocket)
            .map(|(section, entrance)| WebSocketDoor {
                entrance,
                welcome: self.template(&section, "welcome", places::WELCOME),
                heartbeat: self.template(&section, "heartbeat", places::HEARTBEAT),
                gap: self.template(&section, "gap", places::GAP),
            });
        let poll = poll
            .zip(to_poll)
            .and_then(|(section, entrance)| self.poll(&section, entrance));
        let socketio = socketio
            .zip(to_socketio)
            .map(|(section, entrance)| self.socketio(&section, entrance));
        Read {
            websocket,
            poll,
            socketio,
            health,
            event,
            messages: self.messages(&root),
            errors: self.errors(&root),
            closes: self.closes(&root),
            places: Vec::new(),
        }
    }

    fn template(
        &mut self,
        section: &Section<'t>,
        key: &str,
        named: &[(&'static str, Shape)],
    ) -> Option<Template> {
        let context = Context {
            named,
            fields: &[&self.door],
            payload: false,
        };
        self.file.template(section, key, &context)
    }

    fn place(&mut self, path: &Path, at: &Range<usize>, key: &str, below: bool) {
        let mut said = File::new(self.file.name, self.file.text_of());
        said.say(at, key, path.as_str());
        let (path, said) = (path.clone(), said.problems.concat());
        self.places.push(Place { path, below, said });
    }

    /// Path, query, rooms and claims of a door.
    fn entrance(&mut self, section: &Section<'t>) -> Option<Entrance> {
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
        for field in &query {
            let problem = match &field.kind {
                Kind::Object | Kind::Any => Some(format!("a query can't hold {}", field.kind)),
                _ if TAKEN.contains(&field.path.as_str()) => Some(
                    "every door understands this parameter by itself: give it another name".into(),
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
        let (written, at) = written?;
        let path = match Path::read(if socketio {
            written.trim_end_matches('/')
        } else {
            written
        }) {
            Ok(path) => path,
            Err(what) => {
                self.file.say(&at, &section.inside("path"), &what);
                return None;
            }
        };
        if socketio && path.fields().next().is_some() {
            let what = "Socket.IO's path has no parameters: use `query`";
            self.file.say(&at, &section.inside("path"), what);
        }
        self.place(&path, &at, &section.inside("path"), socketio);
        let mine: Vec<Field> = path.fields().chain(&query).cloned().collect();
        let context = Context {
            named: places::SAID,
            fields: &[&mine],
            payload: false,
        };
        let rooms = Rooms(self.file.fills(section, "rooms", &context));
        let claims = self.claims(section, &mine);
        self.door.extend(mine);
        Some(Entrance {
            path,
            query,
            rooms,
            claims,
        })
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
                let near = nearest(name, &known)
                    .map_or(String::new(), |near| format!(": did you mean `{near}`?"));
                let what = format!("this door has no such parameter{near}");
                self.file.say(&key.span(), &table.inside(name), &what);
            }
            if let Some((claim, _)) = self.file.text(&table, name) {
                claims.push((name.to_owned(), claim.to_owned()));
            }
        }
        claims
    }

    fn poll(&mut self, section: &Section<'t>, entrance: Entrance) -> Option<PollDoor> {
        let answer = self.template(section, "answer", places::POLL);
        if answer.is_none() {
            let remedy = "say what a poll answers, such as { updates = \"{events}\", next = \"{bookmark}\" }";
            self.file.missing(section, "answer", remedy);
        }
        Some(PollDoor {
            entrance,
            answer: answer?,
        })
    }

    fn socketio(&mut self, section: &Section<'t>, entrance: Entrance) -> SocketIoDoor {
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
        let context = Context {
            named: places::EVENT,
            fields: &[&self.door],
            payload: true,
        };
        let arguments = self.file.template(section, "arguments", &context);
        let arguments = arguments.unwrap_or_else(|| ours(ARGUMENTS, &context));
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
        let context = Context {
            named: places::CLOSE,
            fields: &[],
            payload: false,
        };
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

    fn health(&mut self, root: &Section<'t>) -> Option<Health> {
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
        let context = Context {
            named: places::HEALTH,
            fields: &[],
            payload: false,
        };
        let answer = self.file.template(&section, "answer", &context);
        let unready = self.file.number(&section, "unready", 200..600);
        let (written, at) = written?;
        let path = Path::read(written).and_then(|path| {
            let plain = path.fields().next().is_none();
            plain
                .then_some(path)
                .ok_or_else(|| "the path of a health door has no parameters".to_owned())
        });
        match path {
            Ok(path) => {
                self.place(&path, &at, "health.path", false);
                Some(Health {
                    path,
                    answer: answer?,
                    unready: unready.unwrap_or(503),
                })
            }
            Err(what) => {
                self.file.say(&at, "health.path", &what);
                None
            }
        }
    }

    fn event(&mut self, root: &Section<'t>) -> Option<Framing> {
        let section = self.file.section(root, "event")?;
        let flat = self.file.truth(&section, "flat").unwrap_or(false);
        let context = Context {
            named: places::EVENT,
            fields: &[&self.door],
            payload: true,
        };
        let template = self.file.template(&section, "frame", &context)?;
        let right = match &template.node {
            Node::Object(members) => !flat || members.len() <= MOST_BESIDE,
            _ => !flat,
        };
        if !right {
            let what = format!(
                "where `flat` is true, the frame is a table of {MOST_BESIDE} fields at most"
            );
            self.file.say(&section.at, "event.frame", &what);
        }
        Some(Framing::new(template, flat, &self.door))
    }

    fn messages(&mut self, root: &Section<'t>) -> Messages {
        let named = self.file.section(root, "messages");
        let name = named.and_then(|section| self.file.text(&section, "name"));
        let mut messages = Messages {
            name: name.map_or("type", |(name, _)| name).to_owned(),
            ..Messages::default()
        };
        let Some(all) = self.file.table(root, "message") else {
            return messages;
        };
        for (name, section) in self.file.sections(&all) {
            let also = self.file.texts(&section, "also");
            let message = self.message(name, &section);
            let place = messages.all.len();
            messages.all.push(message);
            let names = std::iter::once((name, section.at.clone())).chain(also);
            for (name, at) in names {
                if let Some(known) = messages.by_name.insert(name.to_owned(), place) {
                    let known = messages.all.get(known).map_or("", |message| &message.name);
                    let what = format!("{name:?} is a name of [message.{known}] already");
                    self.file.say(&at, &section.key, &what);
                }
            }
        }
        messages
    }

    fn message(&mut self, name: &str, section: &Section<'t>) -> Message {
        let mut fields = self.file.fields(section, "fields");
        let mut arguments = Vec::new();
        for (argument, _) in self.file.texts(section, "arguments") {
            // What is not described is what rooms are named by.
            if !fields.iter().any(|field| field.path == argument) {
                let (path, kind, optional) = (argument.to_owned(), Kind::Id, false);
                fields.push(Field {
                    path,
                    kind,
                    optional,
                });
            }
            arguments.push(argument.to_owned());
        }
        let door = self.door.clone();
        let known: &[&[Field]] = &[&fields, &door];
        let said = Context {
            named: places::SAID,
            fields: known,
            payload: false,
        };
        let meaning = self.meaning(section, &said);
        let answer = Context {
            named: places::ANSWER,
            ..said
        };
        let answer = self.file.template(section, "answer", &answer);
        let refused = Context {
            named: places::REFUSED,
            ..said
        };
        let refused = self.file.template(section, "refused", &refused);
        Message {
            name: name.to_owned(),
            fields,
            arguments,
            meaning,
            answer,
            refused,
        }
    }

    fn meaning(&mut self, section: &Section<'t>, said: &Context<'_>) -> Meaning {
        let verbs =
            ["join", "leave", "call", "acknowledge"].map(|verb| section.has(verb).then_some(verb));
        let mut verbs = verbs.into_iter().flatten();
        let verb = verbs.next();
        if let (Some(one), Some(other)) = (verb, verbs.next()) {
            let what = format!("a message means one thing: `{one}` or `{other}`");
            self.file.say(&section.at, &section.key, &what);
        }
        let args = self.file.template(section, "args", said);
        if let Some(value) = self.file.value(section, "args")
            && (verb != Some("call") || !matches!(value.get_ref(), DeValue::Table(_)))
        {
            let what = "`args` is a table, and goes with `call`";
            self.file.say(&value.span(), &section.inside("args"), what);
        }
        match verb {
            Some("join") => Meaning::Join(Rooms(self.file.fills(section, "join", said))),
            Some("leave") => Meaning::Leave(Rooms(self.file.fills(section, "leave", said))),
            Some("call") => {
                let function = self
                    .file
                    .text(section, "call")
                    .map_or("", |(name, _)| name)
                    .to_owned();
                Meaning::Call { function, args }
            }
            Some("acknowledge") => {
                let texts = self.file.fills(section, "acknowledge", said);
                Meaning::Acknowledge(texts.into_iter().next().unwrap_or_default())
            }
            _ => Meaning::Nothing,
        }
    }

    fn errors(&mut self, root: &Section<'t>) -> Errors {
        let section = self.file.section(root, "errors");
        let door = self.door.clone();
        let context = Context {
            named: places::REFUSED,
            fields: &[&door],
            payload: false,
        };
        let frame = section
            .as_ref()
            .and_then(|section| self.file.template(section, "frame", &context));
        let frame = frame.unwrap_or_else(|| ours(ERROR, &context));
        let messages = section.map(|section| self.wordings(&section, "messages", CODES, &context));
        Errors {
            frame,
            messages: messages.unwrap_or_default(),
        }
    }

    /// Texts by one of the words that there are.
    fn wordings(
        &mut self,
        section: &Section<'t>,
        key: &str,
        words: &[&str],
        context: &Context<'_>,
    ) -> HashMap<String, Text> {
        let mut texts = HashMap::new();
        let Some(table) = self.file.table(section, key) else {
            return texts;
        };
        for (word, _) in table.entries() {
            self.known_word(&table, word, words);
            let text = self
                .file
                .fills(&table, word.get_ref(), context)
                .into_iter()
                .next();
            texts.insert(word.get_ref().to_string(), text.unwrap_or_default());
        }
        texts
    }

    fn known_word(
        &mut self,
        table: &Section<'t>,
        word: &Spanned<std::borrow::Cow<'t, str>>,
        words: &[&str],
    ) {
        if !words.contains(&word.get_ref().as_ref()) {
            let near = nearest(word.get_ref(), words)
                .map_or(String::new(), |near| format!("did you mean `{near}`? "));
            let what = format!(
                "there is no such word: {near}Known here: {}",
                words.join(", ")
            );
            self.file
                .say(&word.span(), &table.inside(word.get_ref()), &what);
        }
    }

    fn closes(&mut self, root: &Section<'t>) -> Closes {
        let mut closes = Closes::default();
        let Some(table) = self.file.table(root, "close") else {
            return closes;
        };
        for (word, _) in table.entries() {
            self.known_word(&table, word, WORDS);
        }
        for (word, section) in self.file.sections(&table) {
            let code = self.file.number(&section, "code", 1000..5000);
            if let Some(code) = code
                && !(matches!(code, 1000..=1003 | 1007..=1014) || code >= 3000)
            {
                let what = "no endpoint may send this code: write 1000 to 1003, 1007 to 1014 or 3000 to 4999";
                self.file.say(&section.at, &section.inside("code"), what);
            }
            let context = Context {
                named: places::CLOSE,
                fields: &[],
                payload: false,
            };
            let reason = self
                .file
                .fills(&section, "reason", &context)
                .into_iter()
                .next();
            closes.0.insert(word.to_owned(), Close { code, reason });
        }
        closes
    }
}

/// A template of our own.
fn ours(text: &'static str, context: &Context<'_>) -> Template {
    let mut wrong = Wrong::new();
    let value =
        DeValue::parse(text).unwrap_or_else(|_| Spanned::new(0..0, DeValue::String("".into())));
    Template::compile(&value, context, &mut wrong)
}

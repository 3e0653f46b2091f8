//! From a dialect's file to the dialect: each section compiled, every problem collected.
//! Hands a dialect to whoever loads it, or all that is wrong with its file. It must never leave a slot
//! unchecked: what is wrong with a file shows at the start, not at the first event.

use super::Dialect;
use super::file::{File, Section};
use super::framing::{Framing, MOST_BESIDE};
use super::messages::{Meaning, Message};
use super::places;
use super::reader::DialectReader;
use super::template::Node;
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeTable;

/// Reads a file whole.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn read(name: &str, text: &str) -> Result<Dialect, Vec<String>> {
    let mut file = File::new(name, text);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            file.say(&error.span().unwrap_or(0..0), "", error.message());
            return Err(file.problems());
        }
    };
    let mut reader = DialectReader {
        door: Vec::new(),
        places: Vec::new(),
        file,
    };
    let dialect = reader.all(&table);
    let problems = reader.file.problems();
    if problems.is_empty() {
        Ok(dialect)
    } else {
        Err(problems)
    }
}

impl<'t> DialectReader<'t> {
    fn all(&mut self, table: &'t Spanned<DeTable<'t>>) -> Dialect {
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
            .map(|(section, entrance)| Arc::new(self.websocket(&section, entrance)));
        let poll = poll
            .zip(to_poll)
            .and_then(|(section, entrance)| self.poll(&section, entrance).map(Arc::new));
        let socketio = socketio
            .zip(to_socketio)
            .map(|(section, entrance)| Arc::new(self.socketio(&section, entrance)));
        let messages = self.messages(&root);
        let acknowledges = |message: &Message| matches!(message.meaning, Meaning::Acknowledge(_));
        let tells_gaps = websocket.as_ref().is_none_or(|door| door.gap.is_some());
        if !tells_gaps && messages.iter().any(acknowledges) {
            let what =
                "whoever acknowledges has to hear of a gap, or never gets past it: write a frame";
            self.file.say(&(0..0), "websocket.gap", what);
        }
        let name = self.file.name.rsplit('/').next().unwrap_or_default();
        Dialect {
            name: name.trim_end_matches(".toml").to_owned(),
            websocket,
            poll,
            socketio,
            health,
            event,
            messages,
            errors: self.errors(&root),
            closes: self.closes(&root),
            places: std::mem::take(&mut self.places),
        }
    }

    fn event(&mut self, root: &Section<'t>) -> Option<Framing> {
        let section = self.file.section(root, "event")?;
        let flat = self.file.truth(&section, "flat").unwrap_or(false);
        let template = self.template(&section, "frame", places::EVENT)?;
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
}

#[cfg(test)]
mod tests;

//! How `rowcast tail` writes events and gaps, for people or as JSON, and which of them it was asked for.
//! Hands lines over to standard output. It must never pass over a row that it can't read in silence.

use super::Args;
use crate::command::{Failure, one_line};
use crate::event::{EVERYBODY, GapReason};
use serde_json::value::RawValue;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use tokio_postgres::Row;

pub(super) struct Printer {
    args: Args,
    coloured: bool,
    /// The gap that was printed last, with nothing after it: once is enough, and a database that
    /// waits for its new history answers every look with one.
    gap: Option<String>,
    out: std::io::BufWriter<std::io::Stdout>,
}

impl Printer {
    pub fn new(args: Args) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloured = std::io::stdout().is_terminal() && !plain && !args.json;
        Self {
            args,
            coloured,
            gap: None,
            out: std::io::BufWriter::new(std::io::stdout()),
        }
    }

    pub fn wanted(&self) -> String {
        let mut text = String::new();
        for (what, list) in [
            ("rooms", &self.args.room),
            ("channels", &self.args.channel),
            ("names", &self.args.name),
        ] {
            let list = if list.is_empty() {
                "all".to_owned()
            } else {
                list.join(" ")
            };
            let _ = write!(
                text,
                "{}{what}: {list}",
                if text.is_empty() { "" } else { ", " }
            );
        }
        text
    }

    /// None: all of them.
    pub fn rooms(&self) -> Option<Vec<String>> {
        let mut rooms = self.args.room.clone();
        rooms.push(EVERYBODY.to_owned());
        (rooms.len() > 1).then_some(rooms)
    }

    pub fn print(&mut self, row: &Row) -> Result<(), Failure> {
        let read = |column| row.try_get::<_, Option<&str>>(column);
        let text = |column| Ok::<_, tokio_postgres::Error>(read(column)?.unwrap_or(""));
        let (channel, name, bookmark) = (text("channel")?, text("name")?, text("bookmark")?);
        let fits = |list: &[String], word| list.is_empty() || list.iter().any(|one| one == word);
        match text("outcome")? {
            "end" => Ok(()),
            "event" if !fits(&self.args.channel, channel) => Ok(()),
            "event" if !fits(&self.args.name, name) => Ok(()),
            "event" => {
                // Of several dimensions, or with a null among them, they are none: such an event was
                // inserted past all checks, and is a gap for everybody else too.
                let Ok(rooms) = row.try_get::<_, Vec<&str>>("rooms") else {
                    return self.print_gap(GapReason::Trigger.word(), bookmark);
                };
                self.gap = None;
                let id = row.try_get::<_, Option<i64>>("id")?.unwrap_or(0);
                let (at, data) = (text("at")?, read("data")?.unwrap_or("null"));
                let line = if self.args.json {
                    event_json(&[bookmark, at, channel, name], id, &rooms, one_line(data))?
                } else {
                    self.event_text(at, channel, name, &rooms, &one_line(data))
                };
                Ok(writeln!(self.out, "{line}")?)
            }
            _ => self.print_gap(text("reason")?, bookmark),
        }
    }

    fn print_gap(&mut self, reason: &str, bookmark: &str) -> Result<(), Failure> {
        if self.gap.as_deref() == Some(reason) {
            return Ok(());
        }
        self.gap = Some(reason.to_owned());
        let line = if self.args.json {
            serde_json::json!({ "type": "gap", "reason": reason, "bookmark": bookmark }).to_string()
        } else {
            self.colour(
                "1;97;41",
                &format!(
                    "!!! GAP: {}; events may be missing here !!!",
                    GapReason::explain(reason).unwrap_or(reason)
                ),
            )
        };
        Ok(writeln!(self.out, "{line}")?)
    }

    fn event_text(
        &self,
        at: &str,
        channel: &str,
        name: &str,
        rooms: &[&str],
        data: &str,
    ) -> String {
        let time = at.get(11..23).unwrap_or(at);
        let (name, rooms) = (one_line(name), one_line(&rooms.join(" ")));
        format!(
            "{}  {}  {}  {}  {data}",
            self.colour("2", time),
            self.colour("36", &one_line(channel)),
            self.colour("1;32", &name),
            self.colour("33", &rooms),
        )
    }

    fn colour(&self, code: &str, text: &str) -> String {
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn event_json(words: &[&str; 4], id: i64, rooms: &[&str], data: String) -> Result<String, Failure> {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        r#type: &'static str,
        id: String,
        name: &'a str,
        channel: &'a str,
        rooms: &'a [&'a str],
        data: Box<RawValue>,
        at: &'a str,
        bookmark: &'a str,
    }
    let [bookmark, at, channel, name] = *words;
    let (id, data) = (id.to_string(), RawValue::from_string(data)?);
    let line = Line {
        r#type: "event",
        id,
        name,
        channel,
        rooms,
        data,
        at,
        bookmark,
    };
    Ok(serde_json::to_string(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people_is_coloured_by_us_and_by_nobody_else() {
        let mut printer = Printer {
            args: Args {
                room: Vec::new(),
                channel: Vec::new(),
                name: Vec::new(),
                since: None,
                json: false,
            },
            coloured: false,
            gap: None,
            out: std::io::BufWriter::new(std::io::stdout()),
        };
        let at = "2026-01-02T03:04:05.678901Z";
        let line = |printer: &Printer| printer.event_text(at, "c", "n\x1b[31m", &["r", "*"], "{}");
        assert_eq!(line(&printer), "03:04:05.678  c  n\\u001b[31m  r *  {}");
        printer.coloured = true;
        assert_eq!(
            line(&printer),
            "\x1b[2m03:04:05.678\x1b[0m  \x1b[36mc\x1b[0m  \x1b[1;32mn\\u001b[31m\x1b[0m  \
             \x1b[33mr *\x1b[0m  {}"
        );
    }

    #[test]
    fn a_line_of_json_is_a_frame_with_rooms() {
        let line =
            event_json(&["b", "t", "c", "n"], 7, &["r", "*"], "{\"z\":1.50}".into()).unwrap();
        assert_eq!(
            line,
            r#"{"type":"event","id":"7","name":"n","channel":"c","rooms":["r","*"],"data":{"z":1.50},"at":"t","bookmark":"b"}"#
        );
    }
}

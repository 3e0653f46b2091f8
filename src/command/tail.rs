//! `rowcast tail`: prints events from the log as they happen, for people who want to see whether it
//! works and for scripts.
//! Asks `rowcast.events_since` as anybody may who is the service role. It must never skip events in
//! silence: what it can't print it says so, and where it stood it says at the end.

use super::{one_line, remark};
use crate::event::{EVERYBODY, GapReason};
use crate::{config, database};
use parking_lot::Mutex;
use rand::RngExt;
use serde_json::value::RawValue;
use std::error::Error;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, Row};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The longest time between two looks: the doorbell rings only for a listener that sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most events that one look may bring; more are told as a gap.
const LIMIT: i64 = 10_000;

/// A look that takes longer is lost with its connection. A million events take two seconds.
const PATIENCE: Duration = Duration::from_secs(60);

const LOOK: &str = "select outcome, reason, bookmark, id, \
    to_char(at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as at, \
    channel, name, rooms, data::text as data \
    from rowcast.events_since($1, $2, $3)";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only events of this room (and of `*`, everybody's); may be repeated
    #[arg(long, value_name = "ROOM")]
    room: Vec<String>,
    /// Only events of this channel; may be repeated
    #[arg(long, value_name = "CHANNEL")]
    channel: Vec<String>,
    /// Only events of this name; may be repeated
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Begins with what a reader with this bookmark lacks, not now
    #[arg(long, value_name = "BOOKMARK")]
    since: Option<String>,
    /// Prints each event as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints until Ctrl-C, or until nobody reads.
///
/// # Errors
/// The first connection, a bookmark that is none, a right that is missing. A database that goes
/// away later is waited for.
pub async fn run(args: Args, settings: &config::Settings) -> Outcome<ExitCode> {
    let mut tail = Tail {
        bookmark: args.since.clone(),
        printer: Printer::new(args),
    };
    let ended = tokio::select! {
        ended = tail.follow(settings) => ended,
        ended = tokio::signal::ctrl_c() => ended.map_err(Into::into),
    };
    match ended {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if !is_broken_pipe(&*error) => return Err(error),
        _ => {}
    }
    if let Some(bookmark) = &tail.bookmark {
        remark(format_args!("to go on from here: --since {bookmark}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error
        .downcast_ref()
        .is_some_and(|error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe)
}

struct Tail {
    bookmark: Option<String>,
    printer: Printer,
}

impl Tail {
    async fn follow(&mut self, settings: &config::Settings) -> Outcome<()> {
        let url = settings.database.direct_url();
        let url = url.ok_or("no database is configured: set DATABASE_URL")?;
        let (least, most) = (settings.listener.backoff_min, settings.listener.backoff_max);
        let mut connected_once = false;
        let mut pause = least;
        loop {
            let error = match open(url, settings.database.connect_timeout).await {
                Ok((client, bell)) => {
                    let error = if let Err(error) = self.begin(&client, connected_once).await {
                        error
                    } else {
                        (connected_once, pause) = (true, least);
                        // It never ends well: it ends with an error.
                        let Err(error) = self.listen(&client, &bell.rung).await;
                        error
                    };
                    // What was asked last heard only that the connection is closed.
                    let ended = bell.ended.lock().take().filter(|_| is_closed(&*error));
                    ended.map_or(error, Into::into)
                }
                Err(error) => error,
            };
            if !connected_once || !passes(&*error) {
                return Err(error);
            }
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
            remark(format_args!(
                "the database went away ({error}); again in {} ms",
                jittered.as_millis()
            ));
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(most);
        }
    }

    /// Says where it listens; without a bookmark, now is where it begins.
    async fn begin(&mut self, client: &Client, again: bool) -> Outcome<()> {
        let sql = "select format('database %s as %s on %s', current_database(), current_user, \
            coalesce(host(inet_server_addr()) || ':' || inet_server_port()::text, 'a local socket')), \
            case when $1 then null else rowcast.bookmark() end";
        let row = within(client.query_one(sql, &[&self.bookmark.is_some()])).await?;
        let since = if self.bookmark.is_some() {
            "its bookmark"
        } else {
            "now"
        };
        let place: &str = row.try_get(0)?;
        let word = if again { "back: " } else { "" };
        remark(format_args!(
            "{word}listening to {place}, from {since} on, {}",
            self.printer.wanted()
        ));
        if self.bookmark.is_none() {
            self.bookmark = row.try_get(1)?;
        }
        Ok(())
    }

    async fn listen(
        &mut self,
        client: &Client,
        rung: &Notify,
    ) -> Outcome<std::convert::Infallible> {
        let rooms = self.printer.rooms();
        loop {
            let rows = within(client.query(LOOK, &[&self.bookmark, &rooms, &LIMIT])).await?;
            for row in rows {
                // The bookmark only moves on once its event is printed.
                self.printer.print(&row)?;
                self.bookmark = row.try_get("bookmark")?;
            }
            self.printer.flush()?;
            // Either way, look.
            let _ = tokio::time::timeout(LOOK_EVERY, rung.notified()).await;
        }
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Outcome<T> {
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    Ok(answer
        .map_err(|_| database::DatabaseError::Timeout(PATIENCE))?
        .map_err(database::DatabaseError::from)?)
}

/// What is heard on a connection.
#[derive(Default)]
struct Bell {
    rung: Notify,
    /// Why the connection has ended, if it said so.
    ended: Mutex<Option<database::DatabaseError>>,
}

/// A connection that listens to the doorbell.
async fn open(url: &str, timeout: Duration) -> Outcome<(Client, Arc<Bell>)> {
    let (client, mut connection) = database::connect(url, timeout, None).await?;
    let bell = Arc::new(Bell::default());
    let hears = Arc::clone(&bell);
    tokio::spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(_))) => hears.rung.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    *hears.ended.lock() = Some(error.into());
                    break;
                }
                None => break,
            }
        }
        hears.rung.notify_one();
    });
    within(client.batch_execute(&format!("listen {}", database::DOORBELL))).await?;
    Ok((client, bell))
}

fn is_closed(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let error = error.downcast_ref();
    matches!(error, Some(database::DatabaseError::Postgres(error)) if error.is_closed())
}

/// Whether a database that is back would answer: not so if it understood and said no.
fn passes(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let Some(error) = error.downcast_ref::<database::DatabaseError>() else {
        return false;
    };
    let error = match error {
        database::DatabaseError::Unreached { error, .. } => error,
        error => error,
    };
    let database::DatabaseError::Postgres(error) = error else {
        return true;
    };
    error.code().is_none_or(|code| {
        // Connections, resources, shutdowns and I/O.
        ["08", "53", "57P", "58"]
            .iter()
            .any(|class| code.code().starts_with(class))
    })
}

struct Printer {
    args: Args,
    coloured: bool,
    /// The gap that was printed last, with nothing after it: once is enough, and a database that
    /// waits for its new history answers every look with one.
    gap: Option<String>,
    out: std::io::BufWriter<std::io::Stdout>,
}

impl Printer {
    fn new(args: Args) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloured = std::io::stdout().is_terminal() && !plain && !args.json;
        Self {
            args,
            coloured,
            gap: None,
            out: std::io::BufWriter::new(std::io::stdout()),
        }
    }

    fn wanted(&self) -> String {
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
    fn rooms(&self) -> Option<Vec<String>> {
        let mut rooms = self.args.room.clone();
        rooms.push(EVERYBODY.to_owned());
        (rooms.len() > 1).then_some(rooms)
    }

    fn print(&mut self, row: &Row) -> Outcome<()> {
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

    fn print_gap(&mut self, reason: &str, bookmark: &str) -> Outcome<()> {
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

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn event_json(words: &[&str; 4], id: i64, rooms: &[&str], data: String) -> Outcome<String> {
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
    fn a_line_of_json_is_a_frame_with_rooms() {
        let line =
            event_json(&["b", "t", "c", "n"], 7, &["r", "*"], "{\"z\":1.50}".into()).unwrap();
        assert_eq!(
            line,
            r#"{"type":"event","id":"7","name":"n","channel":"c","rooms":["r","*"],"data":{"z":1.50},"at":"t","bookmark":"b"}"#
        );
    }
}

//! `rowcast tail`: prints events from the log as they happen, for people who want to see whether it
//! works and for scripts.
//! Asks `rowcast.events_since` as anybody may who is the service role. It must never skip events in
//! silence: what it can't print it says so, and where it stood it says at the end.

mod print;

use super::serve::stop_signal;
use super::{Failure, direct_url, remark};
use crate::{config, database};
use parking_lot::Mutex;
use print::Printer;
use rand::RngExt;
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client};

/// The longest time between two looks: the doorbell rings only for a listener that sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most events that one look may bring; more are told as a gap.
const LIMIT: i64 = 10_000;

/// The server gives up first; a dead link is noticed so much later.
const LINK: Duration = Duration::from_secs(1);

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

/// Prints until it is told to stop, or until nobody reads.
///
/// # Errors
/// The first connection, a bookmark that is none, a right that is missing. A database that goes
/// away later is waited for.
pub async fn run(args: Args, settings: &config::Settings) -> Result<ExitCode, Failure> {
    let mut tail = Tail {
        bookmark: args.since.clone(),
        began: false,
        printer: Printer::new(args),
        patience: settings.listener.look_timeout_max,
    };
    let ended = tokio::select! {
        ended = tail.follow(settings) => ended,
        () = stop_signal()? => Ok(()),
    };
    let ended = match ended {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if is_broken_pipe(&*error) => Ok(()),
        ended => ended,
    };
    if let Some(bookmark) = tail.bookmark.filter(|_| tail.began) {
        remark(format_args!("to go on from here: --since {bookmark}"));
    }
    ended.map(|()| ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error
        .downcast_ref()
        .is_some_and(|error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe)
}

struct Tail {
    bookmark: Option<String>,
    /// A look was answered: the bookmark is one, and of this database.
    began: bool,
    printer: Printer,
    /// With a statement.
    patience: Duration,
}

impl Tail {
    async fn follow(&mut self, settings: &config::Settings) -> Result<(), Failure> {
        let url = direct_url(settings)?;
        let (least, most) = (settings.listener.backoff_min, settings.listener.backoff_max);
        let mut connected_once = false;
        let mut pause = least;
        loop {
            let error = match open(url, settings.database.connect_timeout, self.patience).await {
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
    async fn begin(&mut self, client: &Client, again: bool) -> Result<(), Failure> {
        let sql = "select format('database %s as %s on %s', current_database(), current_user, \
            coalesce(host(inet_server_addr()) || ':' || inet_server_port()::text, 'a local socket')), \
            case when $1 then null else rowcast.bookmark() end";
        let row = within(
            self.patience,
            client.query_one(sql, &[&self.bookmark.is_some()]),
        )
        .await?;
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

    async fn listen(&mut self, client: &Client, rung: &Notify) -> Result<Infallible, Failure> {
        let rooms = self.printer.rooms();
        loop {
            let rows = within(
                self.patience,
                client.query(LOOK, &[&self.bookmark, &rooms, &LIMIT]),
            )
            .await?;
            self.began = true;
            for row in &rows {
                self.printer.print(row)?;
            }
            // The bookmark only moves on once all is written: a disk may be full.
            self.printer.flush()?;
            if let Some(last) = rows.last() {
                self.bookmark = last.try_get("bookmark")?;
            }
            // Either way, look.
            let _ = tokio::time::timeout(LOOK_EVERY, rung.notified()).await;
        }
    }
}

async fn within<T>(
    patience: Duration,
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    let answer = tokio::time::timeout(patience + LINK, asked).await;
    Ok(answer
        .map_err(|_| database::DatabaseError::Timeout(patience + LINK))?
        .map_err(database::DatabaseError::from)?)
}

/// What is heard on a connection.
#[derive(Default)]
struct Bell {
    rung: Notify,
    /// Why the connection has ended, if it said so.
    ended: Mutex<Option<database::DatabaseError>>,
}

/// A connection that listens to the doorbell. What waits for a lock would wait on in the server, behind
/// whoever has left.
async fn open(
    url: &str,
    timeout: Duration,
    patience: Duration,
) -> Result<(Client, Arc<Bell>), Failure> {
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
    let (timeout, channel) = (patience.as_millis(), database::DOORBELL);
    let begin = format!("set statement_timeout = {timeout}; listen {channel}");
    within(patience, client.batch_execute(&begin)).await?;
    Ok((client, bell))
}

fn is_closed(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let error = error.downcast_ref();
    matches!(error, Some(database::DatabaseError::Postgres(error)) if error.is_closed())
}

/// Whether another try may help: not where the server understood, and refused.
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
        // Connections, resources, shutdowns and cancels, I/O.
        ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.code().starts_with(class))
    })
}

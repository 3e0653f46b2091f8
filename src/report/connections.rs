//! Who comes and goes, what they ask, and what is refused. Hands over to the log, to `/metrics` and to
//! whoever looks at the last turns. It must never be given a token, nor what somebody asked with.

use super::add;
use super::recent::{Recent, Turn, What};
use super::repeated::{ByReason, Repeated};
use super::transport::{Counters, Transport};
use super::words::Words;
use crate::clock::now_ms;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub(super) static REFUSALS: Words = Words::new();
pub(super) static CLOSES: Words = Words::new();
pub(super) static OPENED: Counters = Counters::new();
pub(super) static LEFT: Counters = Counters::new();
pub(super) static CALLS: Words = Words::new();
pub(super) static CALL_MICROS: AtomicU64 = AtomicU64::new(0);
static RECENT: Recent = Recent::new();
static REFUSED: ByReason = ByReason::new();
static REFUSED_POSTS: Repeated = Repeated::new();
/// Whether a proxy of ours was caught naming nobody.
static NAMES_NOBODY: AtomicBool = AtomicBool::new(false);

/// The reason of a close that the other side wished.
const LEFT_BY_ITSELF: &str = "closed";

/// Bytes of a name that a line shows: more than names of rooms mostly have.
const NAMED: usize = 200;

/// Whoever holds a connection, as far as operators may know.
#[derive(Clone, Debug)]
pub struct Caller {
    pub transport: Transport,
    /// The connection's id, as its `welcome` says it.
    pub connection: String,
    /// The claim `sub`.
    pub user: Option<String>,
    pub address: String,
    /// Unix milliseconds.
    pub since: u64,
}

impl Caller {
    /// Somebody who was let in just now.
    #[must_use]
    pub fn new(transport: Transport, connection: &str, user: Option<&str>, address: &str) -> Self {
        Self {
            transport,
            connection: connection.to_owned(),
            user: user.map(str::to_owned),
            address: address.to_owned(),
            since: now_ms(),
        }
    }
}

/// Somebody was let in by `limits.connects_per_second`, and is asked for in SQL.
pub fn arrived(transport: Transport) {
    tracing::debug!(%transport, "arrived");
}

/// A connection opened. A poll is one from its request to its answer, and there are many: too many
/// for a line each.
pub fn opened(caller: &Caller) {
    let Caller {
        transport,
        connection,
        user,
        address,
        ..
    } = caller;
    OPENED.count(*transport);
    if *transport == Transport::Poll {
        tracing::debug!(%transport, connection, user, address, "opened");
    } else {
        tracing::info!(%transport, connection, user, address, "opened");
    }
}

/// A connection closed, for this reason.
pub fn closed(caller: &Caller, why: &str, seconds: f64) {
    let (transport, connection) = (caller.transport, &caller.connection);
    LEFT.count(transport);
    CLOSES.count(why);
    // Those who left by themselves are nobody's trouble.
    if why != LEFT_BY_ITSELF {
        RECENT.note(|number, at| Turn {
            number,
            at,
            what: What::Closed,
            transport: transport.word(),
            word: why.to_owned(),
            detail: connection.clone(),
            address: caller.address.clone(),
            user: caller.user.clone(),
        });
    }
    if transport == Transport::Poll {
        tracing::debug!(%transport, connection, why, seconds, "closed");
    } else {
        tracing::info!(%transport, connection, why, seconds, "closed");
    }
}

/// A proxy of ours wrote no address where it was to name whom it speaks for. Said once: it does so
/// each time.
pub fn forwarded_unreadable(proxy: &str) {
    if !NAMES_NOBODY.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %proxy,
            "a trusted proxy wrote something else than an address into X-Forwarded-For; all who come \
             that way count as one"
        );
    }
}

/// Somebody was refused: on a transport, or by `http` or the `console`. A database that is away, or a
/// fleet whose tokens have expired, would fill a disk with it: each counts, and of each reason one a
/// second is told of, with how many were not.
pub fn refused(transport: &'static str, word: &str, detail: &str, address: &str) {
    let untold = REFUSED.tell(detail, now_ms());
    tell_refused(untold, transport, word, detail, address);
}

/// The same of one side, whatever the reasons are.
pub fn refused_again(
    repeated: &Repeated,
    transport: &'static str,
    word: &str,
    detail: &str,
    address: &str,
) {
    let untold = repeated.tell(now_ms());
    tell_refused(untold, transport, word, detail, address);
}

fn tell_refused(
    untold: Option<u64>,
    transport: &'static str,
    word: &str,
    detail: &str,
    address: &str,
) {
    REFUSALS.count(word);
    let Some(untold) = untold else {
        return;
    };
    let detail = &*with_untold(untold, detail);
    note_refused(What::Refused, transport, word, detail, address, None);
    tracing::info!(transport, word, detail, address, "refused");
}

/// What somebody who is in asked for was refused, of a room perhaps: each counts, and one a second is
/// told of.
pub fn frame_refused(repeated: &Repeated, caller: &Caller, word: &str, room: Option<&str>) {
    REFUSALS.count(word);
    let Some(untold) = repeated.tell(now_ms()) else {
        return;
    };
    let detail = with_untold(untold, "");
    let room = room.map(cut);
    let Caller {
        transport,
        connection,
        user,
        address,
        ..
    } = caller;
    let shown = [
        room.map(|room| format!("room {room}")),
        Some(detail.to_string()),
    ];
    let shown: Vec<String> = shown
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .collect();
    note_refused(
        What::FrameRefused,
        transport.word(),
        word,
        &shown.join(", "),
        address,
        user.clone(),
    );
    let detail = &*detail;
    tracing::info!(%transport, word, detail, address, connection, room, "refused");
}

/// What a line says that is told for several: with how many went untold before.
fn with_untold(untold: u64, detail: &str) -> Cow<'_, str> {
    match (untold, detail) {
        (0, _) => detail.into(),
        (_, "") => format!("{untold} more since the last line").into(),
        _ => format!("{detail}, and {untold} more since the last line").into(),
    }
}

/// What somebody else has named, as much of it as a line needs.
fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAMED)]
}

fn note_refused(
    what: What,
    transport: &'static str,
    word: &str,
    detail: &str,
    address: &str,
    user: Option<String>,
) {
    RECENT.note(|number, at| Turn {
        number,
        at,
        what,
        transport,
        word: word.to_owned(),
        detail: detail.to_owned(),
        address: address.to_owned(),
        user,
    });
}

/// A call was answered.
pub fn called(took: Duration) {
    CALLS.count("ok");
    add(
        &CALL_MICROS,
        usize::try_from(took.as_micros()).unwrap_or(usize::MAX),
    );
}

/// A call was refused or failed. The function only if it is a listed one, for its name is a caller's
/// word; the detail says where it failed, and with which SQLSTATE. Each counts; of those that are
/// `repeated` one a second is told of.
pub fn call_refused(
    repeated: Option<&Repeated>,
    transport: &'static str,
    caller: &str,
    function: Option<&str>,
    word: &str,
    detail: &str,
) {
    CALLS.count(word);
    let Some(untold) = repeated.map_or(Some(0), |repeated| repeated.tell(now_ms())) else {
        return;
    };
    let detail = &*with_untold(untold, detail);
    if word == "call-failed" {
        tracing::warn!(transport, caller, function, word, detail, "call failed");
    } else {
        tracing::info!(transport, caller, function, word, detail, "call refused");
    }
}

/// A call was refused before it was looked at: for what was sent, or how often, both as its sender likes.
pub fn post_refused(caller: &str, word: &str) {
    call_refused(Some(&REFUSED_POSTS), "http", caller, None, word, "");
}

/// Keeps so many of the last refusals and closes, for [`recent`].
pub fn keep_recent(most: usize) {
    RECENT.keep(most);
}

/// The last refusals and closes, the youngest first; none unless [`keep_recent`] was called.
#[must_use]
pub fn recent() -> Vec<Turn> {
    RECENT.all()
}

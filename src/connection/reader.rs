//! Durable readers: a name of a user's by which a connection resumes from what was acknowledged last,
//! on any node; and `POST /ack/NAME`.
//! Hands places down to the ledger. It must never take a place that was not given out here, nor move
//! a reader past what it was sent and has not acknowledged.

use super::ledger::{AckPlace, ReaderKey, Stored, Unstored};
use super::post::{Body, Post};
use super::visit::Visit;
use super::{Gate, Refusal, answer};
use crate::bookmark::{Bookmark, NotABookmark};
use crate::database::DatabaseError;
use crate::event::{NAME_BYTES, is_name};
use crate::hub::Identity;
use crate::report;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use warp::reply::{Reply, Response};

/// Bytes of a user's name that can have readers, as SQL checks it too.
const USER_BYTES: usize = 2048;

/// Why an acknowledgement counts for nothing. One row here is the status and the word on every
/// transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckRefusal {
    #[error("no such reader of yours: connect with reader=NAME first")]
    NoReader,
    #[error("{NotABookmark}")]
    BadBookmark,
    #[error("this bookmark is of another history, or from ahead of this one")]
    Elsewhere,
    #[error("the service can't store this now: acknowledge again")]
    Overloaded,
}

impl AckRefusal {
    /// All of them: a new one is put here too, or else no specification is asked for its row.
    pub const ALL: [Self; 4] = [
        Self::NoReader,
        Self::BadBookmark,
        Self::Elsewhere,
        Self::Overloaded,
    ];

    /// HTTP status and word.
    #[must_use]
    pub fn row(self) -> (u16, &'static str) {
        match self {
            Self::NoReader => (404, "no-reader"),
            Self::BadBookmark | Self::Elsewhere => (400, "bad-bookmark"),
            Self::Overloaded => (503, "overloaded"),
        }
    }
}

/// A durable name, as one connection has it.
#[derive(Debug)]
pub struct Reader {
    key: ReaderKey,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// The last bookmark that is to be acknowledged: where it began, or what it was sent since.
    sent: Option<Arc<str>>,
    /// When it was last moved on for being quiet.
    moved: Option<Instant>,
}

impl Reader {
    /// A reader of this user's, who has proved to be it.
    ///
    /// # Errors
    /// The name, or nobody to whom it could belong.
    pub fn new(identity: &Identity, name: &str) -> Result<Self, Refusal> {
        let user = identity.user.as_deref();
        let user = user.filter(|user| (1..=USER_BYTES).contains(&user.len()));
        let user = user.filter(|_| is_name(name, NAME_BYTES));
        let user = user.ok_or(Refusal::BadReader)?;
        Ok(Self {
            key: (user.into(), name.into()),
            progress: Mutex::default(),
        })
    }

    /// Notes what is being sent, or where the connection begins: until that is acknowledged, the
    /// reader is not moved on by itself.
    pub fn sent(&self, bookmark: &Arc<str>) {
        self.progress.lock().sent = Some(Arc::clone(bookmark));
    }
}

impl Gate {
    /// Notes how far a reader has come, at once where that can be judged at once. The answer comes
    /// when a place is stored, which may take a second or two: it is the stored one, whichever is
    /// further. May be dropped; what was noted is written all the same.
    pub fn acknowledge(
        self: &Arc<Self>,
        reader: Option<&Reader>,
        bookmark: &str,
    ) -> impl Future<Output = Result<Arc<str>, AckRefusal>> + Send + use<> {
        let (gate, text) = (Arc::clone(self), Arc::<str>::from(bookmark));
        let key = reader.map(|reader| reader.key.clone());
        let noted = key.ok_or(AckRefusal::NoReader);
        let noted = noted.and_then(|key| Ok((self.note(&key, &text)?, key)));
        async move {
            let told = match noted? {
                (Some(told), _) => told,
                (None, key) => {
                    // A moment ahead of us, from another node or a call: we look, and know.
                    let reached = gate.reach(Some(&text)).await;
                    reached.map_err(|_| AckRefusal::Overloaded)?;
                    let noted = gate.note(&key, &text)?;
                    noted.ok_or(AckRefusal::Elsewhere)?
                }
            };
            match told.await {
                Ok(Ok(stored)) => Ok(stored),
                Ok(Err(Unstored::Unknown)) => Err(AckRefusal::NoReader),
                Ok(Err(Unstored::Away)) | Err(_) => Err(AckRefusal::Overloaded),
            }
        }
    }

    /// Hands a place to the ledger; nothing if it is ahead of us, or nobody knows.
    fn note(
        &self,
        key: &ReaderKey,
        text: &str,
    ) -> Result<Option<oneshot::Receiver<Stored>>, AckRefusal> {
        let bookmark = Bookmark::parse(text).map_err(|_| AckRefusal::BadBookmark)?;
        let Some(here) = self.hub.standpoint().borrow().clone() else {
            return Ok(None);
        };
        if bookmark.history != here.history {
            return Err(AckRefusal::Elsewhere);
        }
        let is_behind = [&bookmark.base, bookmark.newest()]
            .iter()
            .all(|snapshot| snapshot.is_subset_of(&here.snapshot));
        Ok(is_behind.then(|| {
            report::acknowledged();
            let place = AckPlace {
                bookmark,
                text: text.into(),
                after: None,
            };
            self.ledger.note(key.clone(), place)
        }))
    }

    /// Moves a reader on to where the service stands, now and then, if it was sent nothing that it
    /// has not acknowledged: or its place would grow older than the log. To be asked when it is
    /// known that all up to `here` was sent.
    pub fn rest(&self, reader: &Reader, here: &str) {
        let now = Instant::now();
        let mut progress = reader.progress.lock();
        let quiet = self.settings.readers.quiet;
        let is_due = progress.moved.is_none_or(|moved| now - moved >= quiet);
        let Some(after) = progress
            .sent
            .clone()
            .filter(|sent| is_due && **sent != *here)
        else {
            return;
        };
        let Ok(bookmark) = Bookmark::parse(here) else {
            return;
        };
        progress.moved = Some(now);
        drop(progress);
        let place = AckPlace {
            bookmark,
            text: here.into(),
            after: Some(after),
        };
        drop(self.ledger.note(reader.key.clone(), place));
    }

    /// The bookmark that a reader left behind; nothing if it is new.
    ///
    /// # Errors
    /// The database.
    pub async fn recollect(&self, reader: &Reader) -> Result<Option<String>, Refusal> {
        let (user, name) = &reader.key;
        self.database.reader(user, name).await.map_err(refusal)
    }

    /// Makes a reader that begins here.
    ///
    /// # Errors
    /// The database; or its user has too many; or another connection has made it meanwhile, further on:
    /// what lies between would not come again. Whoever comes back resumes from there.
    pub async fn begin_reader(&self, reader: &Reader, here: &str) -> Result<(), Refusal> {
        let (user, name) = &reader.key;
        let opened = self.database.open_reader(user, name, here).await;
        let stored = opened.map_err(refusal)?.ok_or(Refusal::TooManyReaders)?;
        match (Bookmark::parse(&stored), Bookmark::parse(here)) {
            (Ok(stored), Ok(here)) if stored.is_within(&here) => Ok(()),
            _ => Err(Refusal::ReaderBegun),
        }
    }
}

fn refusal(error: DatabaseError) -> Refusal {
    if error.is_of_encoding() {
        return Refusal::BadReader;
    }
    report::database_failed("reader", &error);
    Refusal::DatabaseAway
}

/// The body of a POST.
#[derive(Deserialize)]
struct Said {
    bookmark: String,
}

/// Answers `POST /ack/NAME`.
pub async fn serve(gate: Arc<Gate>, visit: Visit, name: String, body: Body) -> Response {
    let taken = async |post: Post| take(&gate, &post, &name).await;
    Post::serve(&gate, &visit, body, taken, |refused, shown| {
        report::refused("http", refused.code(), &refused.message(), shown);
    })
    .await
}

async fn take(gate: &Arc<Gate>, post: &Post, name: &str) -> Response {
    let refused = |status, code: &str, message: &str| {
        report::refused("http", code, message, &post.shown);
        answer::error(status, code, message)
    };
    // A token that was revoked is a good one to look at.
    let admitted = gate.admit(&post.identity, Vec::new()).await;
    // As it stands in the path.
    let name = percent_decode_str(name).decode_utf8();
    let reader = admitted.and_then(|_| {
        let name = name.map_err(|_| Refusal::BadReader)?;
        Reader::new(&post.identity, &name)
    });
    let reader = match reader {
        Ok(reader) => reader,
        Err(refusal) => {
            report::refused("http", refusal.word(), &refusal.to_string(), &post.shown);
            return gate.refuse(refusal);
        }
    };
    let Ok(Said { bookmark }) = serde_json::from_str(&post.text) else {
        return refused(400, "bad-arguments", "the body is {\"bookmark\": \"…\"}");
    };
    match gate.acknowledge(Some(&reader), &bookmark).await {
        Ok(stored) => warp::reply::json(&json!({ "bookmark": &*stored })).into_response(),
        Err(AckRefusal::Overloaded) => {
            gate.refuse_saying(Refusal::Overloaded, &AckRefusal::Overloaded.to_string())
        }
        Err(refusal) => {
            let (status, code) = refusal.row();
            refused(status, code, &refusal.to_string())
        }
    }
}

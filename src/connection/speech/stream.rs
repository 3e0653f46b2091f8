//! The spelling of `/sse`: each word an event of its own, what is no event under the name
//! `rowcast:…`. Hands frames over to whoever has the connection.
//! It must never move a reader on by a word that stands for no place.

use super::{Heard, Misheard, Speech, Told};
use crate::connection::Refusal;
use crate::connection::takeover::Head;
use crate::event::{sse_frame, to_json};
use crate::frame::Frame;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// `/sse`.
pub struct Stream {
    /// Whether frames are chunks of the answer, which says then whether its end is one.
    pub chunked: bool,
    /// What an EventSource waits before it comes back.
    pub retry: Duration,
}

/// One speech for all streams of a kind: each event looks at it once for each of them, and what all
/// look at is at hand.
pub struct Streams {
    chunked: Arc<Stream>,
    plain: Arc<Stream>,
}

impl Streams {
    #[must_use]
    pub fn new(retry: Duration) -> Self {
        let stream = |chunked| Arc::new(Stream { chunked, retry });
        Self {
            chunked: stream(true),
            plain: stream(false),
        }
    }

    #[must_use]
    pub fn of(&self, head: &Head) -> Arc<Stream> {
        Arc::clone(if head.chunked {
            &self.chunked
        } else {
            &self.plain
        })
    }
}

/// What a reader is told about when to come back.
#[must_use]
pub fn retry(wait: Duration) -> String {
    format!("retry: {}\n", wait.as_millis())
}

/// A frame of the wire, under its own name.
#[must_use]
pub fn control(id: Option<&str>, frame: &Value) -> String {
    let name = format!("rowcast:{}", frame["type"].as_str().unwrap_or_default());
    sse_frame(Some(&name), id, &frame.to_string())
}

impl Stream {
    /// A piece of the answer.
    #[must_use]
    pub fn frame(&self, text: String) -> Frame {
        if self.chunked {
            Frame::chunk(&text)
        } else {
            Frame::plain(text)
        }
    }
}

impl Speech for Stream {
    fn hear(&self, _: &str) -> Result<Heard, Misheard> {
        Err(Misheard {
            code: "bad-message",
            message: "nothing is said on a stream".to_owned(),
            tag: None,
        })
    }

    fn spell(&self, told: &Told<'_>, _: Option<&Value>) -> Result<Option<Frame>, Refusal> {
        let json = |told: &Told<'_>| told.json().unwrap_or_default();
        let text = match told {
            Told::Event(event) => {
                let frame = event.sse();
                return Ok(Some(if self.chunked {
                    frame.clone()
                } else {
                    frame.bare()
                }));
            }
            Told::Welcome(welcome) => {
                let (name, id) = (Some("rowcast:welcome"), welcome.bookmark);
                retry(self.retry) + &sse_frame(name, id, &to_json(welcome))
            }
            Told::Subscribed(subscribed) => {
                let (name, id) = (Some("rowcast:subscribed"), Some(&*subscribed.bookmark));
                sse_frame(name, id, &to_json(subscribed))
            }
            Told::Heartbeat { bookmark } => format!("id: {bookmark}\n\n"),
            Told::Gap(gap) => control(Some(gap.bookmark), &json(told)),
            Told::Error { .. } | Told::Withdrawn { .. } => control(None, &json(told)),
            // Answers, and nobody has asked.
            Told::Left { .. }
            | Told::Renewed { .. }
            | Told::Result { .. }
            | Told::Acknowledged { .. }
            | Told::Pong => return Ok(None),
        };
        Ok(Some(self.frame(text)))
    }
}

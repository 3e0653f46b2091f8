//! Requests at a door and their answers: who asks and by what way, and the way over to a WebSocket.
//! Hands answers over to the door. It must never touch the socket, which is for whoever serves it then.

use super::engine::Sid;
use crate::connection::answer::{Boxed, boxed, no_store};
use crate::connection::handshake;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use serde_json::json;

/// Bytes of a stamp that is looked at: clients have a dozen.
const STAMP: usize = 64;

/// What a request's query says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EngineQuery {
    /// The connection that it belongs to; one that can't be read belongs to none.
    pub sid: Option<Option<Sid>>,
    pub way: Option<EngineTransport>,
    /// The protocol's version is the one that is spoken here.
    pub is_current: bool,
    /// Another with each request of most clients; the same if a browser repeats one.
    pub stamp: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EngineTransport {
    Polling,
    WebSocket,
}

impl EngineQuery {
    pub fn of(query: &str) -> Self {
        let find = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        Self {
            sid: find("sid").map(|sid| Sid::from_str_radix(sid, 16).ok()),
            way: match find("transport") {
                Some("polling") => Some(EngineTransport::Polling),
                Some("websocket") => Some(EngineTransport::WebSocket),
                _ => None,
            },
            is_current: find("EIO") == Some("4"),
            stamp: find("t").filter(|t| t.len() <= STAMP).map(Into::into),
        }
    }
}

/// What is wrong with a request, as clients of Engine.IO are told.
#[derive(Clone, Copy)]
pub(super) enum EngineError {
    Transport = 0,
    Sid = 1,
    Method = 2,
    Request = 3,
    Version = 5,
}

impl EngineError {
    pub fn message(self) -> &'static str {
        match self {
            Self::Transport => "Transport unknown",
            Self::Sid => "Session ID unknown",
            Self::Method => "Bad handshake method",
            Self::Request => "Bad request",
            Self::Version => "Unsupported protocol version",
        }
    }

    pub fn answer(self) -> Boxed {
        let error = json!({ "code": self as u8, "message": self.message() });
        text(StatusCode::BAD_REQUEST, error.to_string())
    }
}

pub(super) fn text(status: StatusCode, text: String) -> Boxed {
    let kind = if text.starts_with('{') {
        "application/json"
    } else {
        "text/plain; charset=UTF-8"
    };
    let mut answer = no_store(boxed(Response::new(Full::new(Bytes::from(text)))));
    *answer.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    answer.headers_mut().insert("content-type", kind);
    answer
}

/// Lets a WebSocket begin, if one is asked for, and has it served.
pub(super) fn switch<F>(
    request: &mut Request<Incoming>,
    serve: impl FnOnce(OnUpgrade) -> F,
) -> Boxed
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = request.extensions_mut().remove();
    match handshake::shake(request.headers(), upgrade) {
        Ok((head, upgrade)) => {
            tokio::spawn(serve(upgrade));
            boxed(head.map(|()| Full::<Bytes>::default()))
        }
        Err(head) => {
            let answer = match head.status() {
                StatusCode::BAD_REQUEST => EngineError::Request.answer(),
                status => text(status, String::new()),
            };
            handshake::under(head, answer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_say_who_asks_and_how() {
        for (query, sid, way, is_current, stamp) in [
            (
                "EIO=4&transport=polling",
                None,
                Some(EngineTransport::Polling),
                true,
                None,
            ),
            (
                "EIO=4&transport=websocket&t=x",
                None,
                Some(EngineTransport::WebSocket),
                true,
                Some("x".into()),
            ),
            (
                "EIO=4&transport=websocket&sid=00ff",
                Some(Some(255)),
                Some(EngineTransport::WebSocket),
                true,
                None,
            ),
            (
                "transport=polling&sid=no&EIO=3",
                Some(None),
                Some(EngineTransport::Polling),
                false,
                None,
            ),
            ("transport=flash", None, None, false, None),
            ("", None, None, false, None),
        ] {
            let expected = EngineQuery {
                sid,
                way,
                is_current,
                stamp,
            };
            assert_eq!(EngineQuery::of(query), expected, "{query}");
        }
    }
}

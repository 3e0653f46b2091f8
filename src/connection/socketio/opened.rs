//! The request that opened a connection, as far as it matters later: for whoever signs in, in each
//! namespace. Hands over visits. It must never keep the buffer that the request was read into.

use crate::connection::door::{Door, Which};
use crate::connection::visit::{Peer, Visit};
use crate::dialect::{Dialect, Fields};
use hyper::Request;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// Headers that say who somebody is, and where they come from.
static KEPT: [HeaderName; 11] = [
    HeaderName::from_static("authorization"),
    HeaderName::from_static("cookie"),
    HeaderName::from_static("host"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("origin"),
    HeaderName::from_static("referer"),
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-websocket-protocol"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// Parameters of a request that are the protocol's own.
const ENGINE: &[&str] = &["EIO", "transport", "sid", "t", "b64"];

/// What a client may say in `auth`, besides the door's own parameters; it counts more than the same
/// parameter of the URL.
const SAID: &[&str] = &["token", "since", "reader"];

/// What is kept of a request.
pub(super) struct Opened {
    headers: Box<[(HeaderName, Box<[u8]>)]>,
    /// Without the protocol's own parameters.
    query: Box<str>,
    peer: Option<IpAddr>,
}

impl Opened {
    pub fn by<B>(request: &Request<B>) -> Self {
        let headers = KEPT.iter().flat_map(|name| {
            let values = request.headers().get_all(name).iter();
            values.map(|value| (name.clone(), value.as_bytes().into()))
        });
        let query = request.uri().query().unwrap_or_default();
        Self {
            headers: headers.collect(),
            query: rewritten(query, |key| !ENGINE.contains(&key), &[]).into(),
            peer: request.extensions().get::<Peer>().and_then(|peer| peer.0),
        }
    }

    /// Somebody who signs in and says this.
    pub fn visit(&self, dialect: &Arc<Dialect>, auth: &Value) -> Visit {
        let said = |name: &str| said(auth, name);
        let headers = self.headers.iter().filter_map(|(name, value)| {
            let value = HeaderValue::from_bytes(value).ok()?;
            Some((name.clone(), value))
        });
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(name, value);
        }
        if said("token").is_some() {
            all.remove("authorization");
            all.remove("sec-websocket-protocol");
        }
        let words = SAID.iter().filter_map(|key| Some((*key, said(key)?)));
        let words: Vec<_> = words.collect();
        let stays = |key: &str| words.iter().all(|(known, _)| *known != key);
        let mut visit = Visit {
            headers: all,
            query: rewritten(&self.query, stays, &words),
            peer: self.peer,
            door: None,
        };
        let door = Door::enter(dialect, Which::SocketIo, Fields::default(), |name| {
            said(name).or_else(|| visit.parameter(name))
        });
        visit.door = Some(Arc::new(door));
        visit
    }
}

/// A query with those of its parameters that stay, and others.
fn rewritten(query: &str, stays: impl Fn(&str) -> bool, others: &[(&str, String)]) -> String {
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if stays(&key) {
            written.append_pair(&key, &value);
        }
    }
    written.extend_pairs(others).finish()
}

/// What `auth` has under this name: a text, or a list of them.
fn said(auth: &Value, name: &str) -> Option<String> {
    let text = match auth.get(name)? {
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
            Cow::Owned(items?.join(","))
        }
        value => Cow::Borrowed(value.as_str()?),
    };
    let text = text.trim();
    let text = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => text,
    };
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn opened() -> Opened {
        let request = Request::get("/socket.io/?EIO=4&transport=websocket&token=old&lab=1%2C2")
            .header("Cookie", "a=b")
            .header("cookie", "c=d")
            .header("Authorization", "Bearer old")
            .header("User-Agent", "x".repeat(2000))
            .body(());
        Opened::by(&request.unwrap())
    }

    #[test]
    fn whoever_signs_in_comes_by_the_request_that_opened_the_connection() {
        let dialect = Arc::new(Dialect::parse("t.toml", "[socketio]").unwrap());
        let visit = opened().visit(&dialect, &Value::Null);
        assert_eq!(visit.query, "token=old&lab=1%2C2");
        assert_eq!(visit.headers.get_all("cookie").iter().count(), 2);
        assert!(visit.headers.contains_key("authorization"));
        assert!(!visit.headers.contains_key("user-agent"));
        let auth = json!({ "token": "Bearer new", "since": ["a", "b"], "reader": 5 });
        let visit = opened().visit(&dialect, &auth);
        assert_eq!(visit.query, "lab=1%2C2&token=new&since=a%2Cb");
        assert!(!visit.headers.contains_key("authorization"));
    }

    /// Whatever a visit is asked about is to be kept.
    #[test]
    fn every_header_that_a_visit_looks_at_is_kept() {
        let source = include_str!("../visit.rs");
        let ways = ["header(\"", "forwarded(\"", "get_all(\""];
        let asked = ways.iter().flat_map(|way| source.split(way).skip(1));
        let asked: Vec<_> = asked.filter_map(|rest| rest.split('"').next()).collect();
        assert!(asked.len() > 5, "{asked:?}");
        for name in asked {
            assert!(KEPT.iter().any(|kept| kept == name), "{name}");
        }
    }
}

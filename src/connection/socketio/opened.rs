//! The request that opened a connection, as far as it matters later: for whoever signs in, in each
//! namespace. Hands over visits. It must never keep the buffer that the request was read into.

use crate::connection::Gate;
use crate::connection::door::{Door, Which};
use crate::connection::peer::Peer;
use crate::connection::visit::Visit;
use crate::dialect::{Dialect, Fields, SocketIoDoor};
use hyper::Request;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
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
    peer: Peer,
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
            query: rewritten(query, |key| !ENGINE.contains(&key), []).into(),
            peer: request
                .extensions()
                .get::<Peer>()
                .copied()
                .unwrap_or_default(),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut all = HeaderMap::new();
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                all.append(name, value);
            }
        }
        all
    }

    /// Where it comes from; see [`Peer::address`].
    pub fn address(&self, gate: &Gate) -> Option<IpAddr> {
        self.peer.address(gate, &self.headers())
    }

    /// Somebody who signs in and says this.
    pub fn visit(&self, dialect: &Arc<Dialect>, door: &Arc<SocketIoDoor>, auth: &Value) -> Visit {
        let mut all = self.headers();
        let words: Vec<_> = SAID
            .iter()
            .map(|own| door.entrance.named(own))
            .filter_map(|key| Some((key, text(said(auth, key)?))))
            .collect();
        let says = |key: &str| words.iter().any(|(known, _)| *known == key);
        if says(door.entrance.named("token")) {
            all.remove("authorization");
            all.remove("sec-websocket-protocol");
        }
        let understood = words
            .iter()
            .filter_map(|(key, text)| Some((*key, text.as_deref()?)));
        let mut visit = Visit {
            headers: all,
            query: rewritten(&self.query, |key| !says(key), understood),
            peer: self.peer,
            door: None,
        };
        let which = Which::SocketIo(Arc::clone(door));
        let mut door = Door::enter(dialect, which, Fields::default(), |name| {
            let said = said(auth, name).cloned();
            said.or_else(|| visit.parameter(name).map(Value::from))
        });
        door.misled |= words.iter().any(|(_, text)| text.is_none());
        visit.door = Some(Arc::new(door));
        visit
    }
}

/// A query with those of its parameters that stay, and others.
fn rewritten<'a>(
    query: &str,
    stays: impl Fn(&str) -> bool,
    others: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if stays(&key) {
            written.append_pair(&key, &value);
        }
    }
    written.extend_pairs(others).finish()
}

/// What `auth` has under this name; what is empty says nothing.
fn said<'a>(auth: &'a Value, name: &str) -> Option<&'a Value> {
    let blank = |said: &Value| said.as_str().is_some_and(|text| text.trim().is_empty());
    auth.get(name)
        .filter(|said| !said.is_null() && !blank(said))
}

/// A text, without the scheme that a token may have, or a whole number.
fn text(said: &Value) -> Option<String> {
    let text = match said {
        Value::Number(number) if number.is_i64() => return Some(number.to_string()),
        said => said.as_str()?.trim(),
    };
    let text = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => text,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn visited(dialect: &Arc<Dialect>, auth: &Value) -> Visit {
        let door = dialect.socketio.as_ref().unwrap();
        opened().visit(dialect, door, auth)
    }

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
        let visit = visited(&dialect, &Value::Null);
        assert_eq!(visit.query, "token=old&lab=1%2C2");
        assert_eq!(visit.headers.get_all("cookie").iter().count(), 2);
        assert!(visit.headers.contains_key("authorization"));
        assert!(!visit.headers.contains_key("user-agent"));
        let auth = json!({ "token": "Bearer new", "since": " ", "reader": 5 });
        let visit = visited(&dialect, &auth);
        assert_eq!(visit.query, "lab=1%2C2&token=new&reader=5");
        assert!(!visit.headers.contains_key("authorization"));
        assert!(!visit.door.unwrap().misled);
    }

    #[test]
    fn a_door_has_words_of_its_own_for_what_every_door_understands() {
        let text = "[socketio]\nnames = { token = \"jwt\", since = \"cursor\" }";
        let dialect = Arc::new(Dialect::parse("t.toml", text).unwrap());
        let visit = visited(&dialect, &json!({ "token": "new" }));
        assert_eq!(visit.bearer().as_deref(), Some("old"), "by its header");
        let auth = json!({ "jwt": "Bearer new", "cursor": "b", "since": "c" });
        let visit = visited(&dialect, &auth);
        assert_eq!(visit.bearer().as_deref(), Some("new"));
        assert_eq!(visit.since().as_deref(), Some("b"));
    }

    /// Neither passed over, so that nobody hears why nothing comes, nor taken apart.
    #[test]
    fn what_is_said_in_json_is_taken_as_json() {
        let text = "[socketio]\nquery = { lab = \"text?\", garage = \"integer?\", rooms = [\"id?\"] }\n\
            rooms = [\"garage:{garage}\", \"{rooms}\"]";
        let dialect = Arc::new(Dialect::parse("t.toml", text).unwrap());
        for (auth, rooms) in [
            (json!({ "garage": 7 }), Some(&["garage:7"][..])),
            (json!({ "garage": "7", "rooms": "" }), Some(&["garage:7"])),
            (json!({ "rooms": ["lab:1", 5] }), Some(&["lab:1", "5"])),
            (json!({ "rooms": ["lab:a,b"] }), Some(&["lab:a,b"])),
            (json!({ "rooms": "a,b", "garage": null }), Some(&["a", "b"])),
            (json!({ "garage": 7.5 }), None),
            (json!({ "garage": {} }), None),
            (json!({ "rooms": ["a", null] }), None),
            (json!({ "token": {} }), None),
            (json!({ "since": ["a"] }), None),
            (json!({ "reader": 1.5 }), None),
        ] {
            let door = visited(&dialect, &auth).door.unwrap();
            assert_eq!(door.misled, rooms.is_none(), "{auth}");
            if let Some(rooms) = rooms {
                assert_eq!(door.rooms, rooms, "{auth}");
            }
        }
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

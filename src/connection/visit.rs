//! A request as it arrived: what it asks for, by what it proves who it is, of which page it is.
//! Hands words over to admission and the transports. It must never take a page for one of our own that
//! only says so.

use super::door::Door;
use super::peer::{self, Peer};
use super::{Gate, Refusal, handshake};
use crate::config::Poll;
use std::borrow::Cow;
use std::net::IpAddr;
use std::num::IntErrorKind;
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use warp::http::HeaderMap;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Visit {
    pub headers: HeaderMap,
    pub query: String,
    pub peer: Peer,
    /// The door of a dialect that it came to: that says which rooms it asks for.
    pub door: Option<Arc<Door>>,
}

impl Visit {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A parameter of the query, decoded. Only that: a query is asked for many, and holds a token.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pair = self.query.split('&').find(|pair| {
            let key = pair.split('=').next().unwrap_or_default();
            key == name || (key.contains(['%', '+']) && key_of(pair).is_some_and(|key| key == name))
        });
        let (_, value) = url::form_urlencoded::parse(pair?.as_bytes()).next()?;
        Some(value.into_owned())
    }

    /// A parameter that says something: what is empty counts as not sent.
    fn said(&self, name: &str) -> Option<String> {
        let name = self.door.as_ref().map_or(name, |door| door.named(name));
        self.parameter(name).filter(|value| !value.is_empty())
    }

    /// The rooms of the query: `rooms=a,b`.
    #[must_use]
    pub fn rooms(&self) -> Vec<String> {
        names(&self.parameter("rooms").unwrap_or_default())
    }

    /// What is to be joined besides, with all that came after a place of its own:
    /// `load=a,b&from=BOOKMARK`.
    ///
    /// # Errors
    /// One was sent without the other.
    pub fn load(&self) -> Result<Option<Load>, Refusal> {
        if self.door.is_some() {
            return Ok(None);
        }
        match (self.said("load"), self.said("from")) {
            (None, None) => Ok(None),
            (Some(load), Some(from)) => Ok(Some(Load {
                rooms: names(&load),
                from,
            })),
            _ => Err(Refusal::Asked(
                "load and from go together: load=ROOMS&from=BOOKMARK",
            )),
        }
    }

    /// All rooms that are asked for, whatever for.
    ///
    /// # Errors
    /// See [`Visit::load`].
    pub fn asked(&self) -> Result<Vec<String>, Refusal> {
        if let Some(door) = &self.door {
            return Ok(door.rooms.clone());
        }
        let loaded = self.load()?.map(|load| load.rooms);
        Ok([self.rooms(), loaded.unwrap_or_default()].concat())
    }

    /// The bookmark to resume from: what a browser sends by itself counts more than its URL, which
    /// stays the same when it reconnects.
    #[must_use]
    pub fn since(&self) -> Option<String> {
        let last = self.header("last-event-id").filter(|last| !last.is_empty());
        // Where the EventSource is a script's, it can't set the header in every browser.
        last.map(str::to_owned)
            .or_else(|| self.said("lastEventId"))
            .or_else(|| self.said("since"))
    }

    /// How long a poll is to wait for an event.
    ///
    /// # Errors
    /// It is no number.
    pub fn wait(&self, settings: &Poll) -> Result<Duration, Refusal> {
        let Some(said) = self.said("wait") else {
            return Ok(settings.wait);
        };
        let seconds = match said.parse::<u64>() {
            Ok(seconds) => seconds,
            Err(error) if *error.kind() == IntErrorKind::PosOverflow => u64::MAX,
            Err(_) => return Err(Refusal::Asked("wait is a whole number of seconds: wait=25")),
        };
        Ok(Duration::from_secs(seconds).min(settings.wait_max))
    }

    /// The durable name by which it resumes.
    #[must_use]
    pub fn reader(&self) -> Option<String> {
        self.said("reader")
    }

    /// By which the log knows where it comes from.
    #[must_use]
    pub fn shown(&self, gate: &Gate) -> String {
        peer::shown(self.address(gate))
    }

    /// See [`Peer::address`].
    #[must_use]
    pub fn address(&self, gate: &Gate) -> Option<IpAddr> {
        self.peer.address(gate, &self.headers)
    }

    pub(super) fn bearer(&self) -> Option<String> {
        let authorization = self.header("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| token.trim().to_owned())
        });
        authorization
            .or_else(|| {
                let mut protocols = handshake::words(&self.headers, "sec-websocket-protocol");
                let token = protocols.find_map(|word| word.strip_prefix("bearer."));
                token.map(str::to_owned)
            })
            .or_else(|| self.said("token"))
    }

    /// In the order in which they were sent: of one name, the first is the nearest to the path.
    pub(super) fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.headers.get_all("cookie").iter();
        // Each by itself: any script of the site sets one in whatever letters it likes.
        lines
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
            .filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='))
    }

    /// Whether the page that sends this may: of a listed origin, or of this host.
    pub(super) fn check_origin(&self, gate: &Gate, by_cookie: bool) -> Result<(), Refusal> {
        let origin: Cow<'_, str> = match (self.header("origin"), self.header("sec-fetch-site")) {
            (Some(origin), _) => origin.into(),
            // What is no browser sends none, and can't be made to send somebody's cookie.
            (None, _) if !by_cookie => return Ok(()),
            // Browsers leave Origin out of a GET to the same origin, but say so here.
            (None, Some("same-origin")) => return Ok(()),
            (None, Some(_)) => return Err(Refusal::Origin),
            // Not by plain http: there only this tells, which pages can withhold but not forge.
            (None, None) => {
                let page = self.header("referer").ok_or(Refusal::NoOrigin)?;
                origin_of(page).into()
            }
        };
        let (peer, headers) = (self.peer, &self.headers);
        let host = peer.forwarded(gate, headers, "x-forwarded-host");
        let host = host.or_else(|| self.header("host"));
        let scheme = peer.scheme(gate, headers);
        let listed = &gate.settings.http.allowed_origins;
        let allowed = is_own(&origin, host, scheme) || listed.iter().any(|one| *one == origin);
        allowed.then_some(()).ok_or(Refusal::Origin)
    }
}

/// Rooms to join from a place of their own.
#[derive(Debug)]
pub struct Load {
    pub rooms: Vec<String>,
    pub from: String,
}

/// Whether the browser has a page of this origin from the host that it sent this request to, and by
/// the same scheme. Without a proxy's word nobody knows which that is.
fn is_own(origin: &str, host: Option<&str>, scheme: Option<&str>) -> bool {
    let (shown, page) = origin.split_once("://").unwrap_or(("", origin));
    // Some proxies name a WebSocket's own: it is that of its page, in other words.
    let is_same = |scheme| match scheme {
        "ws" => shown == "http",
        "wss" => shown == "https",
        scheme => shown == scheme,
    };
    // Browsers leave this out, and not all proxies do.
    let port = match shown {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let bare = |host| str::strip_suffix(host, port).unwrap_or(host);
    scheme.is_none_or(is_same) && host.is_some_and(|host| bare(host) == bare(page))
}

/// As the header of that name would have it.
fn origin_of(url: &str) -> String {
    Url::parse(url).map_or_else(
        |_| "null".to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}

fn key_of(pair: &str) -> Option<Cow<'_, str>> {
    let (key, _) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
    Some(key)
}

/// Names between commas. A comma behind a backslash is one of the name, and so is a backslash.
fn names(list: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = (letter == '\\').then(|| letters.next_if(|next| [',', '\\'].contains(next)));
        match (escaped.flatten(), names.last_mut()) {
            (None, _) if letter == ',' => names.push(String::new()),
            (escaped, Some(name)) => name.push(escaped.unwrap_or(letter)),
            (_, None) => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp::http::HeaderValue;

    #[test]
    fn a_parameter_is_read_as_forms_write_it() {
        let visit = Visit {
            headers: HeaderMap::new(),
            query: "&x=1&roo%6Ds=a%20b+c&rooms=later&=&since&to%ken=2&token=%e9".into(),
            peer: Peer::default(),
            door: None,
        };
        for (name, value) in [
            ("x", Some("1")),
            ("rooms", Some("a b c")),
            ("since", Some("")),
            ("token", Some("\u{fffd}")),
            ("to%ken", Some("2")),
            ("wait", None),
        ] {
            assert_eq!(visit.parameter(name).as_deref(), value, "{name}");
            let mut all = url::form_urlencoded::parse(visit.query.as_bytes());
            let found = all.find(|(key, _)| key == name).map(|(_, value)| value);
            assert_eq!(found.as_deref(), value, "{name}");
        }
    }

    #[test]
    fn a_name_may_hold_what_parts_names() {
        for (list, expected) in [
            ("", &[][..]),
            ("a,b", &["a", "b"]),
            (",a,,b,", &["a", "b"]),
            (r"a\,b,c", &["a,b", "c"]),
            (r"a\\,b", &[r"a\", "b"]),
            (r"a\\\,b\,", &[r"a\,b,"]),
            (r"CORP\é,b\", &[r"CORP\é", r"b\"]),
        ] {
            assert_eq!(names(list), expected, "{list}");
        }
    }

    #[test]
    fn a_token_among_protocols_is_found_on_any_line() {
        let mut headers = HeaderMap::new();
        for line in ["rowcast.v1", "other, bearer.a.b.c", "bearer.d.e.f"] {
            let line = HeaderValue::from_static(line);
            headers.append("sec-websocket-protocol", line);
        }
        let visit = Visit {
            headers,
            query: "token=x".into(),
            peer: Peer::default(),
            door: None,
        };
        assert_eq!(visit.bearer().as_deref(), Some("a.b.c"));
    }

    #[test]
    fn a_cookie_in_no_letters_at_all_hides_no_other() {
        let mut headers = HeaderMap::new();
        for line in [&b"a=1; name=Jos\xe9;b=2; c"[..], "d=é=".as_bytes()] {
            headers.append("cookie", HeaderValue::from_bytes(line).unwrap());
        }
        let visit = Visit {
            headers,
            query: String::new(),
            peer: Peer::default(),
            door: None,
        };
        let cookies: Vec<_> = visit.cookies().collect();
        assert_eq!(cookies, [("a", "1"), ("b", "2"), ("d", "é=")]);
    }

    /// Traefik says `wss` of a WebSocket, and others write the port that browsers leave out.
    #[test]
    fn a_page_of_our_own_is_known_however_a_proxy_writes_host_and_scheme() {
        for (origin, host, scheme, own) in [
            ("https://a.de", "a.de", Some("https"), true),
            ("https://a.de", "a.de", Some("wss"), true),
            ("http://a.de", "a.de", Some("ws"), true),
            ("http://a.de", "a.de", Some("wss"), false),
            ("https://a.de", "a.de", Some("ws"), false),
            ("https://a.de", "a.de:443", Some("https"), true),
            ("https://a.de", "a.de:443", None, true),
            ("https://a.de:443", "a.de", None, true),
            ("http://a.de", "a.de:80", Some("http"), true),
            ("https://a.de", "a.de:80", None, false),
            ("http://a.de", "a.de:443", None, false),
            ("https://a.de:8443", "a.de:8443", Some("https"), true),
            ("https://a.de:8443", "a.de", Some("https"), false),
            ("https://evil.de", "a.de", Some("https"), false),
        ] {
            assert_eq!(
                is_own(origin, Some(host), scheme),
                own,
                "{origin} {host} {scheme:?}"
            );
        }
        assert!(!is_own("https://a.de", None, None));
    }

    #[test]
    fn the_last_id_counts_however_it_is_sent_and_an_empty_one_hides_nothing() {
        for (header, query, since) in [
            (None, "since=a", Some("a")),
            (Some("b"), "since=a&lastEventId=c", Some("b")),
            (None, "since=a&lastEventId=c", Some("c")),
            (Some(""), "since=a", Some("a")),
            (Some(""), "since=a&lastEventId=", Some("a")),
            (None, "since=&lastEventId=", None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(id) = header {
                headers.insert("last-event-id", HeaderValue::from_static(id));
            }
            let visit = Visit {
                headers,
                query: query.into(),
                peer: Peer::default(),
                door: None,
            };
            assert_eq!(visit.since().as_deref(), since, "{header:?} {query}");
        }
    }
}

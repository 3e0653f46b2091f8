//! A request as it arrived: what it asks for, by what it proves who it is, where it comes from.
//! Hands words over to admission and the transports. It must never believe a forwarded header of
//! anybody but a proxy of ours.

use super::door::Door;
use super::{Gate, Refusal, handshake};
use crate::config::Poll;
use crate::report;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::num::IntErrorKind;
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use warp::http::header::GetAll;
use warp::http::{HeaderMap, HeaderValue};

/// Who is at the other end, as the accept loop saw it; nothing for a Unix socket.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub Option<IpAddr>);

impl Peer {
    /// The address that its sockets count for: through a proxy of ours come many people's.
    #[must_use]
    pub fn counted(self, gate: &Gate) -> Option<IpAddr> {
        self.0.filter(|address| !is_trusted(gate, *address))
    }

    /// The address to count by: the peer's, or behind trusted proxies the last that is none.
    #[must_use]
    pub fn address(self, gate: &Gate, headers: &HeaderMap) -> Option<IpAddr> {
        self.trace(gate, headers).0
    }

    /// Whether it is a proxy of ours, whose X-Forwarded headers count. So is whoever the permissions
    /// of a Unix socket let in.
    fn is_ours(self, gate: &Gate) -> bool {
        self.0.is_none_or(|address| is_trusted(gate, address))
    }

    /// See [`Peer::address`]; and how many proxies of ours have said from whom they have it.
    fn trace(self, gate: &Gate, headers: &HeaderMap) -> (Option<IpAddr>, usize) {
        let (mut address, mut said) = (self.0, 0);
        if !self.is_ours(gate) {
            return (address, said);
        }
        // From the right, where our own proxies wrote: what stands left of the first word that is
        // no proxy of ours, a client may have written.
        for text in listed(headers.get_all("x-forwarded-for")).iter().rev() {
            said += 1;
            let Some(next) = read(text) else {
                report::forwarded_unreadable(&shown(address));
                break;
            };
            let next = next.to_canonical();
            address = Some(next);
            if !is_trusted(gate, next) {
                break;
            }
        }
        (address, said)
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Visit {
    pub headers: HeaderMap,
    pub query: String,
    /// Nothing for a Unix socket.
    pub peer: Option<IpAddr>,
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
        let sent = |name| self.parameter(name).filter(|value| !value.is_empty());
        match (sent("load"), sent("from")) {
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
        let said = |since: &String| !since.is_empty();
        let last = self.header("last-event-id").map(str::to_owned);
        // Where the EventSource is a script's, it can't set the header in every browser.
        last.filter(said)
            .or_else(|| self.parameter("lastEventId").filter(said))
            .or_else(|| self.parameter("since").filter(said))
    }

    /// How long a poll is to wait for an event.
    ///
    /// # Errors
    /// It is no number.
    pub fn wait(&self, settings: &Poll) -> Result<Duration, Refusal> {
        let said = self.parameter("wait").filter(|said| !said.is_empty());
        let Some(said) = said else {
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
        self.parameter("reader").filter(|name| !name.is_empty())
    }

    /// By which the log knows where it comes from.
    #[must_use]
    pub fn shown(&self, gate: &Gate) -> String {
        shown(self.address(gate))
    }

    /// What a proxy of ours says of the request that it was sent itself. Of a list, that is the word
    /// at the place which the client has in X-Forwarded-For, from the right: what stands left of it, a
    /// client may have written. Proxies that replace what they were sent leave a shorter list, and
    /// then its first word is of the outermost that is ours.
    fn forwarded(&self, name: &str, gate: &Gate) -> Option<&str> {
        let peer = Peer(self.peer);
        if !peer.is_ours(gate) {
            return None;
        }
        let (_, said) = peer.trace(gate, &self.headers);
        let words = listed(self.headers.get_all(name));
        let place = words.len().saturating_sub(said.max(1));
        words.get(place).copied().filter(|word| !word.is_empty())
    }

    /// See [`Peer::address`].
    #[must_use]
    pub fn address(&self, gate: &Gate) -> Option<IpAddr> {
        Peer(self.peer).address(gate, &self.headers)
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
            .or_else(|| self.parameter("token").filter(|token| !token.is_empty()))
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
        let host = self.forwarded("x-forwarded-host", gate);
        let host = host.or_else(|| self.header("host"));
        let scheme = self.forwarded("x-forwarded-proto", gate);
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

/// The words of a header that is a list, on however many lines.
fn listed(lines: GetAll<'_, HeaderValue>) -> Vec<&str> {
    let lines = lines.iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect()
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

/// An address as proxies write it: bare, in brackets, or with a port.
fn read(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let with_port = || text.parse::<SocketAddr>().ok().map(|place| place.ip());
    let read = bare.unwrap_or(text).parse().ok();
    read.or_else(with_port)
}

/// An address as the log knows it.
#[must_use]
pub fn shown(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unix".to_owned(), |address| address.to_string())
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

fn names(list: &str) -> Vec<String> {
    let names = list.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn is_trusted(gate: &Gate, address: IpAddr) -> bool {
    gate.settings
        .http
        .trusted_proxies
        .iter()
        .any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_read_as_forms_write_it() {
        let visit = Visit {
            headers: HeaderMap::new(),
            query: "&x=1&roo%6Ds=a%20b+c&rooms=later&=&since&to%ken=2&token=%e9".into(),
            peer: None,
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
    fn a_token_among_protocols_is_found_on_any_line() {
        let mut headers = HeaderMap::new();
        for line in ["rowcast.v1", "other, bearer.a.b.c", "bearer.d.e.f"] {
            let line = HeaderValue::from_static(line);
            headers.append("sec-websocket-protocol", line);
        }
        let visit = Visit {
            headers,
            query: "token=x".into(),
            peer: None,
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
            peer: None,
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
                peer: None,
                door: None,
            };
            assert_eq!(visit.since().as_deref(), since, "{header:?} {query}");
        }
    }
}

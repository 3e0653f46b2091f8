//! Who is at the other end, and what proxies of ours say of it.
//! Hands addresses over to those who count, and hosts to the check of origins. It must never believe a
//! forwarded header of anybody but a proxy of ours.

use super::{Gate, handshake};
use crate::report;
use std::net::{IpAddr, SocketAddr};
use warp::http::HeaderMap;

/// Who is at the other end, as the accept loop saw it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// Nothing for a Unix socket.
    pub ip: Option<IpAddr>,
    /// Whether it speaks TLS to us.
    pub tls: bool,
}

impl Peer {
    /// The address that its sockets count for: through a proxy of ours come many people's.
    #[must_use]
    pub fn counted(self, gate: &Gate) -> Option<IpAddr> {
        self.ip.filter(|address| !is_trusted(gate, *address))
    }

    /// The address to count by: the peer's, or behind trusted proxies the last that is none.
    #[must_use]
    pub fn address(self, gate: &Gate, headers: &HeaderMap) -> Option<IpAddr> {
        self.trace(gate, headers).0
    }

    /// Whether it is a proxy of ours, whose X-Forwarded headers count. So is whoever the permissions
    /// of a Unix socket let in.
    fn is_ours(self, gate: &Gate) -> bool {
        self.ip.is_none_or(|address| is_trusted(gate, address))
    }

    /// See [`Peer::address`]; and how many proxies of ours have said from whom they have it.
    fn trace(self, gate: &Gate, headers: &HeaderMap) -> (Option<IpAddr>, usize) {
        let (mut address, mut said) = (self.ip, 0);
        if !self.is_ours(gate) {
            return (address, said);
        }
        // From the right, where our own proxies wrote: what stands left of the first word that is
        // no proxy of ours, a client may have written.
        for text in listed(headers, "x-forwarded-for").into_iter().rev() {
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

    /// The scheme by which the client asked, where that is known: whoever is no proxy of ours and speaks
    /// TLS to us has asked by `https`.
    #[must_use]
    pub fn scheme<'a>(self, gate: &Gate, headers: &'a HeaderMap) -> Option<&'a str> {
        if self.tls && !self.is_ours(gate) {
            return Some("https");
        }
        self.forwarded(gate, headers, "x-forwarded-proto")
    }

    /// What a proxy of ours says of the request that it was sent itself. Of a list, that is the word
    /// at the place which the client has in X-Forwarded-For, from the right: what stands left of it, a
    /// client may have written. Proxies that replace what they were sent leave a shorter list, and
    /// then its first word is of the outermost that is ours.
    #[must_use]
    pub fn forwarded<'a>(self, gate: &Gate, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        if !self.is_ours(gate) {
            return None;
        }
        let (_, said) = self.trace(gate, headers);
        let words = listed(headers, name);
        let place = words.len().saturating_sub(said.max(1));
        words.get(place).copied().filter(|word| !word.is_empty())
    }
}

/// The words of a header that is a list, on however many lines.
fn listed<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    handshake::words(headers, name).collect()
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

fn is_trusted(gate: &Gate, address: IpAddr) -> bool {
    gate.settings
        .http
        .trusted_proxies
        .iter()
        .any(|net| net.contains(&address))
}

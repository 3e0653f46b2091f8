//! One value at a time: numbers in range, durations, addresses, networks, origins.
//! Hands each value in its own type to the check of its section, and collects what is wrong.
//! It must never stop at a problem: a user mends a configuration in one round.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

/// A day: no timeout of a live system is longer, so a longer one is a wrong unit.
pub(super) const DAY_MS: u64 = 86_400_000;
/// A gibibyte: a buffer above it is a wrong unit too.
pub(super) const GIB: u64 = 1 << 30;

/// Collects problems, so that a user mends a configuration in one round.
#[derive(Default)]
pub(super) struct Check {
    pub(super) problems: Vec<String>,
    /// By key, the place that its value was read from.
    pub(super) origins: BTreeMap<String, String>,
}

impl Check {
    pub(super) fn say(&mut self, problem: &str) {
        self.problems.push(problem.to_owned());
    }

    /// A key and the place that its value was read from, if it has one.
    pub(super) fn named(&self, key: &str) -> String {
        match self.origins.get(key) {
            Some(origin) => format!("`{key}` in {origin}"),
            None => format!("`{key}`"),
        }
    }

    pub(super) fn wrong(&mut self, key: &str, value: &str, remedy: &str) {
        let named = self.named(key);
        self.say(&format!("{named} is `{value}`: {remedy}."));
    }

    /// Two numbers that contradict each other.
    pub(super) fn contradict(&mut self, one: (&str, u64), other: (&str, u64), why: &str) {
        let [first, second] = [one, other].map(|(key, _)| self.named(key));
        let (one, other) = (one.1, other.1);
        self.say(&format!("{first} is {one} and {second} is {other}: {why}."));
    }

    pub(super) fn whole(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> u64 {
        if !range.contains(&value) {
            let remedy = format!("write a number from {} to {}", range.start(), range.end());
            self.wrong(key, &value.to_string(), &remedy);
        }
        value
    }

    pub(super) fn size(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.whole(key, value, range)).unwrap_or(usize::MAX)
    }

    pub(super) fn millis(&mut self, key: &str, value: u64) -> Duration {
        Duration::from_millis(self.whole(key, value, 1..=DAY_MS))
    }

    pub(super) fn seconds(&mut self, key: &str, value: u64, least: u64) -> Duration {
        Duration::from_secs(self.whole(key, value, least..=DAY_MS / 1000))
    }

    pub(super) fn address(&mut self, key: &str, text: &str) {
        let right = match text.strip_prefix("unix:") {
            Some(path) => path.starts_with('/'),
            None => text.rsplit_once(':').is_some_and(|(host, port)| {
                let bracketed = host.starts_with('[') && text.parse::<SocketAddr>().is_ok();
                let named = !host.is_empty() && !host.contains([':', '/', '[', ' ']);
                (bracketed || named) && port.parse::<u16>().is_ok()
            }),
        };
        if !right {
            self.wrong(
                key,
                text,
                "write host:port, such as 127.0.0.1:8080, or unix:/path",
            );
        }
    }

    /// What all paths begin with: compared segment by segment, as a request has it.
    pub(super) fn base_path(&mut self, text: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
        let is_segment = |one: &str| !matches!(one, "" | "." | "..") && one.chars().all(plain);
        let mut segments = text.split('/');
        let right = segments.next() == Some("") && segments.all(is_segment);
        if !right {
            self.wrong(
                "http.base_path",
                text,
                "write segments of letters, digits, -._~ such as /G1_SpaManagement or /a/b, or leave it empty",
            );
        }
    }

    pub(super) fn network(&mut self, text: &str) -> Option<IpNet> {
        let parsed = text.parse::<IpNet>().ok();
        let parsed = parsed.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if parsed.is_none() {
            self.wrong(
                "http.trusted_proxies",
                text,
                "write addresses or networks such as 10.0.0.0/8",
            );
        }
        parsed
    }

    /// An Origin as browsers write it, so that comparing is comparing texts.
    pub(super) fn origin(&mut self, text: &str) -> Option<String> {
        let canonical = url::Url::parse(text).ok().and_then(|url| {
            let bare = !text.contains('*')
                && matches!(url.path(), "" | "/")
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none();
            match url.origin() {
                _ if !bare || !url.has_host() => None,
                origin @ url::Origin::Tuple(..) => Some(origin.ascii_serialization()),
                // Apps have schemes of their own (capacitor://localhost) that the crate calls opaque.
                url::Origin::Opaque(_) => Some(text.trim_end_matches('/').to_lowercase()),
            }
        });
        if canonical.is_none() {
            self.wrong(
                "http.allowed_origins",
                text,
                "write each Origin as scheme://host[:port], without a path or wildcard",
            );
        }
        canonical
    }
}

/// Whether a JWKS lies behind a URL rather than in a file.
pub(crate) fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use crate::config::tests::checked;

    #[test]
    fn base_paths() {
        for good in ["", "/a", "/G1_SpaManagement", "/a/b.c/~d"] {
            let settings = checked(&[("ROWCAST__HTTP__BASE_PATH", good)]);
            assert!(settings.is_ok(), "{good}");
        }
        for bad in ["a", "/", "/a/", "//a", "/a/../b", "/a b", "/a?b", "/%61"] {
            let settings = checked(&[("ROWCAST__HTTP__BASE_PATH", bad)]);
            assert!(settings.is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        for good in [
            "127.0.0.1:0",
            "[::1]:80",
            "localhost:8080",
            "unix:/run/r.sock",
            "0.0.0.0:1",
        ] {
            assert!(
                checked(&[("ROWCAST__HTTP__LISTEN", good)]).is_ok(),
                "{good}"
            );
        }
        for bad in [
            "",
            "localhost",
            ":80",
            "::1:80",
            "a:99999",
            "http://a:80",
            "unix:",
            "[x]:1",
        ] {
            assert!(checked(&[("ROWCAST__HTTP__LISTEN", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_are_comma_separated() {
        let settings = checked(&[
            (
                "ROWCAST__HTTP__TRUSTED_PROXIES",
                "10.0.0.0/8, 127.0.0.1,,fd00::/8",
            ),
            (
                "ROWCAST__HTTP__ALLOWED_ORIGINS",
                "https://B.example:443/,http://a.example:81,capacitor://localhost",
            ),
        ])
        .unwrap();
        assert_eq!(settings.http.trusted_proxies.len(), 3);
        assert_eq!(
            settings.http.allowed_origins,
            [
                "capacitor://localhost",
                "http://a.example:81",
                "https://b.example"
            ]
        );
    }
}

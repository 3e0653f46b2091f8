//! From what was said to what is meant, of the ways in: HTTP and each transport.
//! Hands their sections to the check of the whole. It must never mend a value that is wrong.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::raw::{RawHttp, RawPoll, RawSocketio, RawSse, RawWebsocket};
use super::settings::{Http, Poll, Socketio, Sse, Websocket};
use super::value::{Check, DAY_MS, GIB};

impl Check {
    pub(super) fn http(&mut self, raw: RawHttp) -> Http {
        self.address("http.listen", &raw.listen);
        if let Some(listen) = &raw.admin_listen {
            self.address("http.admin_listen", listen);
            // Of port 0 the system makes two.
            if *listen == raw.listen && !listen.ends_with(":0") {
                self.wrong(
                    "http.admin_listen",
                    listen,
                    "that is `http.listen`: write another port, or leave it out to serve both there",
                );
            }
        }
        if raw.tls_certificate_file.is_some() != raw.tls_key_file.is_some() {
            let [certificate, key] =
                ["http.tls_certificate_file", "http.tls_key_file"].map(|key| self.named(key));
            self.say(&format!(
                "{certificate} and {key} go together: give both for TLS, neither without."
            ));
        }
        if raw.spread_ms > raw.drain_ms {
            self.contradict(
                ("http.spread_ms", raw.spread_ms),
                ("http.drain_ms", raw.drain_ms),
                "the spread must fit into the drain",
            );
        }
        let trusted_proxies = raw
            .trusted_proxies
            .iter()
            .filter_map(|text| self.network(text))
            .collect();
        for (place, dialect) in raw.dialects.iter().enumerate() {
            if raw.dialects[..place].contains(dialect) {
                self.wrong("http.dialects", dialect, "list each dialect once");
            }
        }
        let allowed_origins: BTreeSet<String> = raw
            .allowed_origins
            .iter()
            .filter_map(|text| self.origin(text))
            .collect();
        self.base_path(&raw.base_path);
        Http {
            listen: raw.listen,
            admin_listen: raw.admin_listen,
            base_path: raw.base_path,
            trusted_proxies,
            allowed_origins: allowed_origins.into_iter().collect(),
            dialects: raw.dialects,
            tls_certificate_file: raw.tls_certificate_file.map(PathBuf::from),
            tls_key_file: raw.tls_key_file.map(PathBuf::from),
            header_timeout: self.millis("http.header_timeout_ms", raw.header_timeout_ms),
            drain: self.millis("http.drain_ms", raw.drain_ms),
            // Nought means all at once, which is right where one client is all there is.
            spread: Duration::from_millis(self.whole("http.spread_ms", raw.spread_ms, 0..=DAY_MS)),
        }
    }

    pub(super) fn websocket(&mut self, raw: &RawWebsocket) -> Websocket {
        Websocket {
            heartbeat: self.seconds("websocket.heartbeat_s", raw.heartbeat_s, 1),
            ping: self.seconds("websocket.ping_s", raw.ping_s, 1),
            pong_timeout: self.seconds("websocket.pong_timeout_s", raw.pong_timeout_s, 1),
        }
    }

    pub(super) fn sse(&mut self, raw: &RawSse) -> Sse {
        Sse {
            heartbeat: self.seconds("sse.heartbeat_s", raw.heartbeat_s, 1),
            retry: self.millis("sse.retry_ms", raw.retry_ms),
        }
    }

    pub(super) fn poll(&mut self, raw: &RawPoll) -> Poll {
        if raw.wait_s > raw.wait_max_s {
            self.contradict(
                ("poll.wait_s", raw.wait_s),
                ("poll.wait_max_s", raw.wait_max_s),
                "the first must not be above the second",
            );
        }
        Poll {
            wait: self.seconds("poll.wait_s", raw.wait_s, 0),
            wait_max: self.seconds("poll.wait_max_s", raw.wait_max_s, 0),
            gather: Duration::from_millis(self.whole("poll.gather_ms", raw.gather_ms, 0..=10_000)),
            remember: self.seconds("poll.remember_s", raw.remember_s, 0),
            remember_bytes: self.size("poll.remember_bytes", raw.remember_bytes, 0..=GIB),
        }
    }

    pub(super) fn socketio(&mut self, raw: &RawSocketio) -> Socketio {
        Socketio {
            heartbeat: self.seconds("socketio.heartbeat_s", raw.heartbeat_s, 1),
            ping: self.seconds("socketio.ping_s", raw.ping_s, 1),
            pong_timeout: self.seconds("socketio.pong_timeout_s", raw.pong_timeout_s, 1),
            connect: self.seconds("socketio.connect_s", raw.connect_s, 1),
            upgrade: self.seconds("socketio.upgrade_s", raw.upgrade_s, 1),
        }
    }
}

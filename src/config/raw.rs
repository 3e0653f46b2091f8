//! What was said: every key with its type, in the order of `config/default.toml`, and all as TOML again.
//! Hands the merged, unchecked settings to the check and to the `config` subcommand.
//! It must never judge a value, nor print one without asking `redact`.

use std::collections::BTreeMap;
use std::fmt;

use ::config::ValueKind;

use super::redact::redact;
use super::written::Written;

/// Declares the raw sections and, from the same list, everything that goes by a key's name.
macro_rules! sections {
    ($( $section:ident: $Raw:ident { $( $key:ident: $kind:ty, )* } )*) => {
        /// The configuration as written, layers merged, nothing checked but names and types.
        #[derive(Clone, Default)]
        pub struct RawSettings {
            $( pub $section: $Raw, )*
            /// By key, the place that its value was read from.
            pub(super) origins: BTreeMap<String, String>,
        }

        $(
            #[doc = concat!("`[", stringify!($section), "]` as written; `config/default.toml` explains each key.")]
            #[derive(Clone, Default)]
            pub struct $Raw { $( pub $key: $kind, )* }
        )*

        /// Every key as `section.key`, in the order of `config/default.toml`.
        pub const KEYS: &[&str] = &[ $( $( concat!(stringify!($section), ".", stringify!($key)), )* )* ];

        impl RawSettings {
            /// `key` must be one of [`KEYS`]; the error says what was wanted.
            pub(super) fn set(&mut self, key: &str, value: &ValueKind) -> Result<(), &'static str> {
                $( $(
                    if key == concat!(stringify!($section), ".", stringify!($key)) {
                        self.$section.$key = Written::read(value)?;
                    }
                )* )*
                Ok(())
            }

            /// Each key with its value as TOML, in the order of [`KEYS`], unredacted.
            pub(super) fn shown(&self) -> Vec<Option<String>> {
                vec![ $( $( self.$section.$key.show(), )* )* ]
            }
        }
    };
}

sections! {
    database: RawDatabase {
        url: Option<String>,
        listen_url: Option<String>,
        pool_size: u64,
        statement_timeout_ms: u64,
        connect_timeout_ms: u64,
        link_timeout_ms: u64,
        pool_wait_ms: u64,
    }
    auth: RawAuth {
        hs256_secret: Option<String>,
        public_key_file: Option<String>,
        jwks: Option<String>,
        jwks_refresh_s: u64,
        issuer: Option<String>,
        audience: Option<String>,
        leeway_s: u64,
        cookie: Option<String>,
        anonymous_claims: Option<String>,
        remember_s: u64,
        remember_bytes: u64,
    }
    http: RawHttp {
        listen: String,
        admin_listen: Option<String>,
        base_path: String,
        trusted_proxies: Vec<String>,
        allowed_origins: Vec<String>,
        dialects: Vec<String>,
        tls_certificate_file: Option<String>,
        tls_key_file: Option<String>,
        header_timeout_ms: u64,
        drain_ms: u64,
        spread_ms: u64,
    }
    limits: RawLimits {
        connections: u64,
        connections_per_address: u64,
        connections_per_user: u64,
        connects_per_second: u64,
        rooms_per_connection: u64,
        room_name_bytes: u64,
        message_bytes: u64,
        messages_per_second: u64,
        queue_bytes: u64,
        unsent_bytes: u64,
        replay_events: u64,
        replay_bytes: u64,
        write_stall_ms: u64,
        recheck_questions: u64,
        recheck_patience_ms: u64,
        request_head_bytes: u64,
    }
    calls: RawCalls {
        running: u64,
        waiting: u64,
        per_connection: u64,
        timeout_ms: u64,
        result_bytes: u64,
        attempts: u64,
    }
    readers: RawReaders {
        write_ms: u64,
        quiet_s: u64,
        retry_s: u64,
        waiting: u64,
        batch: u64,
    }
    hub: RawHub {
        ring_bytes: u64,
        ring_seconds: u64,
        refill_events: u64,
    }
    listener: RawListener {
        doorbell: Option<String>,
        busy_commits: u64,
        poll_ms: u64,
        idle_poll_ms: u64,
        tick_ms: u64,
        lead_retry_ms: u64,
        floor_ms: u64,
        proof_s: u64,
        proof_timeout_ms: u64,
        backoff_min_ms: u64,
        backoff_max_ms: u64,
        look_bytes: u64,
        look_timeout_ms: u64,
        look_timeout_max_ms: u64,
        ready_lag_ms: u64,
    }
    websocket: RawWebsocket {
        heartbeat_s: u64,
        ping_s: u64,
        pong_timeout_s: u64,
    }
    sse: RawSse {
        heartbeat_s: u64,
        retry_ms: u64,
    }
    poll: RawPoll {
        wait_s: u64,
        wait_max_s: u64,
        gather_ms: u64,
        remember_s: u64,
        remember_bytes: u64,
    }
    socketio: RawSocketio {
        heartbeat_s: u64,
        ping_s: u64,
        pong_timeout_s: u64,
        connect_s: u64,
        upgrade_s: u64,
    }
    console: RawConsole {
        enabled: bool,
        claim: String,
        value: String,
        payloads: bool,
        payload_bytes: u64,
        tail_events: u64,
        watchers: u64,
        history_s: u64,
        listed: u64,
        recent: u64,
        slow_percent: u64,
        slow_ms: u64,
        database_s: u64,
    }
    log: RawLog {
        level: String,
        format: String,
    }
}

impl RawSettings {
    /// The configuration in force as a TOML file in the order of `config/default.toml`, with secrets
    /// and the passwords in URLs as `***`, optional keys that are not set as comments.
    pub fn effective_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for (key, value) in KEYS.iter().zip(self.shown()) {
            let (of, name) = key.split_once('.').unwrap_or(("", key));
            if of != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                text += &format!("{gap}[{of}]\n");
                section = of;
            }
            text += &match value {
                Some(value) => format!("{name} = {}\n", redact(key, &value)),
                None => format!("# {name} =\n"),
            };
        }
        text
    }
}

impl fmt::Debug for RawSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.effective_toml())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::DEFAULT_TOML;
    use crate::config::tests::{load, load_file};

    #[test]
    fn the_effective_configuration_is_a_configuration() {
        let raw = load(&[("ROWCAST__AUTH__ISSUER", "say \"hi\" \\ 1\ttab")], &[]).unwrap();
        let read = load_file(&raw.effective_toml()).unwrap();
        assert_eq!(read.shown(), raw.shown());
        let order = |text: &str| -> Vec<String> {
            let headings = text.lines().filter(|line| line.starts_with('['));
            headings.map(str::to_owned).collect()
        };
        assert_eq!(order(&raw.effective_toml()), order(DEFAULT_TOML));
    }
}

//! From what was said to what is meant, a section at a time: ranges, units, what must fit together.
//! Hands [`Settings`] to the commands, or every problem at once.
//! It must never show a secret in a problem, nor mend a value that is wrong.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::raw::{
    RawAuth, RawCalls, RawConsole, RawDatabase, RawLimits, RawListener, RawLog, RawReaders,
    RawSettings,
};
use super::redact::redact_url;
use super::settings::{
    Auth, Calls, Console, Database, Doorbell, Hub, Limits, Listener, Log, LogFormat, Readers,
    Settings,
};
use super::value::{Check, GIB, is_http};
use super::{ConfigError, settled};

/// Of connections or events; ten million are beyond one node, so a mistake.
const MANY: RangeInclusive<u64> = 1..=10_000_000;

/// Sockets beyond the connections that are seated.
const SPARE_SOCKETS: usize = 1000;

impl Settings {
    /// Turns what was said into what is meant, or answers every problem at once.
    pub fn check(raw: RawSettings) -> Result<Settings, ConfigError> {
        let mut check = Check {
            origins: raw.origins,
            ..Check::default()
        };
        let settings = Settings {
            database: check.database(raw.database),
            auth: check.auth(raw.auth),
            http: check.http(raw.http),
            limits: check.limits(&raw.limits),
            calls: check.calls(&raw.calls),
            readers: check.readers(&raw.readers),
            hub: Hub {
                ring_bytes: check.size("hub.ring_bytes", raw.hub.ring_bytes, 0..=64 * GIB),
                ring_age: check.seconds("hub.ring_seconds", raw.hub.ring_seconds, 0),
                refill_events: check.size(
                    "hub.refill_events",
                    raw.hub.refill_events,
                    1..=10_000_000,
                ),
            },
            listener: check.listener(&raw.listener),
            websocket: check.websocket(&raw.websocket),
            sse: check.sse(&raw.sse),
            poll: check.poll(&raw.poll),
            socketio: check.socketio(&raw.socketio),
            console: check.console(raw.console),
            log: check.log(raw.log),
        };
        settled(settings, check.problems)
    }
}

impl Check {
    fn database(&mut self, raw: RawDatabase) -> Database {
        for (key, url) in [
            ("database.url", &raw.url),
            ("database.listen_url", &raw.listen_url),
        ] {
            let Some(url) = url else { continue };
            let known = url.starts_with("postgres://") || url.starts_with("postgresql://");
            if !known && (url.contains("://") || !url.contains('=')) {
                let shown = redact_url(url);
                self.wrong(key, &shown, "write postgres://user@host/database");
            }
        }
        Database {
            url: raw.url,
            listen_url: raw.listen_url,
            pool_size: self.size("database.pool_size", raw.pool_size, 1..=1000),
            statement_timeout: self
                .millis("database.statement_timeout_ms", raw.statement_timeout_ms),
            connect_timeout: self.millis("database.connect_timeout_ms", raw.connect_timeout_ms),
            link_timeout: self.millis("database.link_timeout_ms", raw.link_timeout_ms),
            pool_wait: self.millis("database.pool_wait_ms", raw.pool_wait_ms),
        }
    }

    fn auth(&mut self, raw: RawAuth) -> Auth {
        if let Some(secret) = &raw.hs256_secret {
            let (length, named) = (secret.len(), self.named("auth.hs256_secret"));
            if secret.contains("-----BEGIN") {
                self.say(&format!(
                    "{named} holds a key in PEM, which signs nothing by HMAC: \
                     put it into a file and name that in `auth.public_key_file`."
                ));
            } else if length < 32 {
                self.say(&format!(
                    "{named} has {length} bytes: at least 32 are needed \
                     (`openssl rand -hex 32` makes one)."
                ));
            }
        }
        if let Some(jwks) = raw.jwks.as_deref().filter(|jwks| jwks.contains("://"))
            && (!is_http(jwks) || url::Url::parse(jwks).is_err())
        {
            let shown = redact_url(jwks);
            self.wrong("auth.jwks", &shown, "write a path or an http(s) URL");
        }
        if let Some(cookie) = &raw.cookie {
            let token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if !cookie.bytes().all(token) {
                self.wrong("auth.cookie", cookie, "write the cookie's bare name");
            }
        }
        if let Some(claims) = &raw.anonymous_claims {
            let parsed = serde_json::from_str::<serde_json::Value>(claims);
            if !parsed.is_ok_and(|claims| claims.is_object()) {
                self.wrong("auth.anonymous_claims", claims, "write a JSON object");
            } else if claims.contains("\\u0000") {
                let advice = "leave out \\u0000, which jsonb can't hold";
                self.wrong("auth.anonymous_claims", claims, advice);
            }
        }
        Auth {
            hs256_secret: raw.hs256_secret,
            public_key_file: raw.public_key_file.map(PathBuf::from),
            jwks: raw.jwks,
            jwks_refresh: self.seconds("auth.jwks_refresh_s", raw.jwks_refresh_s, 1),
            issuer: raw.issuer,
            audience: raw.audience,
            // Above ten minutes it would not be clocks that differ, but tokens that live too short.
            leeway: Duration::from_secs(self.whole("auth.leeway_s", raw.leeway_s, 0..=600)),
            cookie: raw.cookie,
            anonymous_claims: raw.anonymous_claims,
            remember: self.seconds("auth.remember_s", raw.remember_s, 0),
            remember_bytes: self.size("auth.remember_bytes", raw.remember_bytes, 0..=GIB),
        }
    }

    fn limits(&mut self, raw: &RawLimits) -> Limits {
        if raw.message_bytes > raw.queue_bytes {
            self.contradict(
                ("limits.message_bytes", raw.message_bytes),
                ("limits.queue_bytes", raw.queue_bytes),
                "a queue must hold what one message may ask for",
            );
        }
        let connections = self.size("limits.connections", raw.connections, MANY);
        Limits {
            connections,
            sockets: connections + SPARE_SOCKETS,
            connections_per_address: self.size(
                "limits.connections_per_address",
                raw.connections_per_address,
                MANY,
            ),
            connections_per_user: self.size(
                "limits.connections_per_user",
                raw.connections_per_user,
                MANY,
            ),
            connects_per_second: self.size(
                "limits.connects_per_second",
                raw.connects_per_second,
                1..=1_000_000,
            ),
            rooms_per_connection: self.size(
                "limits.rooms_per_connection",
                raw.rooms_per_connection,
                1..=100_000,
            ),
            room_name_bytes: self.size("limits.room_name_bytes", raw.room_name_bytes, 1..=200),
            message_bytes: self.size("limits.message_bytes", raw.message_bytes, 1024..=GIB),
            messages_per_second: self.size(
                "limits.messages_per_second",
                raw.messages_per_second,
                1..=1_000_000,
            ),
            queue_bytes: self.size("limits.queue_bytes", raw.queue_bytes, 1024..=GIB),
            unsent_bytes: self.size("limits.unsent_bytes", raw.unsent_bytes, 4096..=GIB),
            replay_events: self.size("limits.replay_events", raw.replay_events, MANY),
            replay_bytes: self.size("limits.replay_bytes", raw.replay_bytes, 1024..=GIB),
            write_stall: self.millis("limits.write_stall_ms", raw.write_stall_ms),
            recheck_questions: self.size("limits.recheck_questions", raw.recheck_questions, MANY),
            recheck_patience: self.millis("limits.recheck_patience_ms", raw.recheck_patience_ms),
            // Below 8192 no request could carry the longest token that is accepted.
            request_head_bytes: self.size(
                "limits.request_head_bytes",
                raw.request_head_bytes,
                8192..=1 << 20,
            ),
        }
    }

    fn calls(&mut self, raw: &RawCalls) -> Calls {
        Calls {
            running: self.size("calls.running", raw.running, 1..=1000),
            waiting: self.size("calls.waiting", raw.waiting, 0..=1_000_000),
            per_connection: self.size("calls.per_connection", raw.per_connection, 1..=1000),
            timeout: self.millis("calls.timeout_ms", raw.timeout_ms),
            // Below GIB: PostgreSQL itself holds no text of that size.
            result_bytes: self.size("calls.result_bytes", raw.result_bytes, 1024..=GIB / 8),
            attempts: self.size("calls.attempts", raw.attempts, 1..=100),
        }
    }

    fn readers(&mut self, raw: &RawReaders) -> Readers {
        Readers {
            write: self.millis("readers.write_ms", raw.write_ms),
            quiet: self.seconds("readers.quiet_s", raw.quiet_s, 1),
            retry: self.seconds("readers.retry_s", raw.retry_s, 1),
            waiting: self.size("readers.waiting", raw.waiting, MANY),
            batch: self.size("readers.batch", raw.batch, 1..=10_000),
        }
    }

    fn listener(&mut self, raw: &RawListener) -> Listener {
        if raw.backoff_min_ms > raw.backoff_max_ms {
            self.contradict(
                ("listener.backoff_min_ms", raw.backoff_min_ms),
                ("listener.backoff_max_ms", raw.backoff_max_ms),
                "the first must not be above the second",
            );
        }
        if raw.proof_timeout_ms > raw.proof_s.saturating_mul(1000) {
            self.contradict(
                ("listener.proof_timeout_ms", raw.proof_timeout_ms),
                ("listener.proof_s", raw.proof_s),
                "a proof must end before the next begins",
            );
        }
        if raw.look_timeout_max_ms < raw.look_timeout_ms {
            self.contradict(
                ("listener.look_timeout_max_ms", raw.look_timeout_max_ms),
                ("listener.look_timeout_ms", raw.look_timeout_ms),
                "it grows, so the former must not be the smaller",
            );
        }
        if raw.ready_lag_ms <= raw.floor_ms {
            self.contradict(
                ("listener.ready_lag_ms", raw.ready_lag_ms),
                ("listener.floor_ms", raw.floor_ms),
                "the log is read so seldom that /readyz would say 503",
            );
        }
        let doorbell = raw.doorbell.as_deref();
        if let Some(word) = doorbell.filter(|word| Doorbell::parse(word).is_none()) {
            self.wrong("listener.doorbell", word, "write adaptive, always or never");
        }
        Listener {
            doorbell: doorbell.and_then(Doorbell::parse),
            busy_commits: self.size("listener.busy_commits", raw.busy_commits, 20..=1_000_000),
            poll: self.millis("listener.poll_ms", raw.poll_ms),
            idle_poll: self.millis("listener.idle_poll_ms", raw.idle_poll_ms),
            tick: self.millis("listener.tick_ms", raw.tick_ms),
            lead_retry: self.millis("listener.lead_retry_ms", raw.lead_retry_ms),
            floor: self.millis("listener.floor_ms", raw.floor_ms),
            proof: self.seconds("listener.proof_s", raw.proof_s, 1),
            proof_timeout: self.millis("listener.proof_timeout_ms", raw.proof_timeout_ms),
            backoff_min: self.millis("listener.backoff_min_ms", raw.backoff_min_ms),
            backoff_max: self.millis("listener.backoff_max_ms", raw.backoff_max_ms),
            look_bytes: self.size("listener.look_bytes", raw.look_bytes, 1024..=GIB),
            look_timeout: self.millis("listener.look_timeout_ms", raw.look_timeout_ms),
            look_timeout_max: self.millis("listener.look_timeout_max_ms", raw.look_timeout_max_ms),
            ready_lag: self.millis("listener.ready_lag_ms", raw.ready_lag_ms),
        }
    }

    fn console(&mut self, raw: RawConsole) -> Console {
        for (key, text) in [("console.claim", &raw.claim), ("console.value", &raw.value)] {
            // Empty, it would open the door to whoever happens to carry an empty claim.
            if raw.enabled && text.is_empty() {
                self.wrong(key, text, "write what sets operators apart");
            }
        }
        Console {
            enabled: raw.enabled,
            claim: raw.claim,
            value: raw.value,
            payloads: raw.payloads,
            payload_bytes: self.size("console.payload_bytes", raw.payload_bytes, 16..=1 << 20),
            tail_events: self.size("console.tail_events", raw.tail_events, 1..=1000),
            watchers: self.size("console.watchers", raw.watchers, 1..=1000),
            // Above a day a database of metrics is the better place.
            history: Duration::from_secs(self.whole(
                "console.history_s",
                raw.history_s,
                10..=86_400,
            )),
            listed: self.size("console.listed", raw.listed, 1..=1000),
            recent: self.size("console.recent", raw.recent, 1..=10_000),
            slow_percent: self.size("console.slow_percent", raw.slow_percent, 1..=100),
            slow: self.millis("console.slow_ms", raw.slow_ms),
            database: self.seconds("console.database_s", raw.database_s, 1),
        }
    }

    fn log(&mut self, raw: RawLog) -> Log {
        // Any other bare word is a target to the filter, and silences all that is not of it.
        // An empty one passes for `error` there.
        let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
        let is_meant = |word: &str| word.contains(['=', '[']) || is_level(word);
        // Behind the `=` it may be wrong, too.
        let is_filter = EnvFilter::try_new(&raw.level).is_ok();
        if !is_filter || !raw.level.split(',').all(|word| is_meant(word.trim())) {
            self.wrong(
                "log.level",
                &raw.level,
                "write error, warn, info, debug or trace, and behind a comma target=level",
            );
        }
        let format = LogFormat::read(&raw.format);
        if format.is_none() {
            self.wrong("log.format", &raw.format, "write auto, human or json");
        }
        Log {
            level: raw.level,
            format: format.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{checked, load, problems};

    #[test]
    fn check_names_every_problem_at_once() {
        let text = problems(checked(&[
            ("ROWCAST__DATABASE__URL", "mysql://me:hidden@host/db"),
            ("ROWCAST__AUTH__HS256_SECRET", "tooshort"),
            ("ROWCAST__AUTH__JWKS", "ftp://host/jwks"),
            ("ROWCAST__AUTH__COOKIE", "a=b"),
            ("ROWCAST__AUTH__ANONYMOUS_CLAIMS", "[1]"),
            ("ROWCAST__HTTP__LISTEN", "8080"),
            ("ROWCAST__HTTP__ADMIN_LISTEN", "unix:relative"),
            ("ROWCAST__HTTP__BASE_PATH", "spa/"),
            ("ROWCAST__HTTP__TRUSTED_PROXIES", "10.0.0.0/99"),
            (
                "ROWCAST__HTTP__ALLOWED_ORIGINS",
                "*,https://*.a.example,https://a.example/path",
            ),
            ("ROWCAST__HTTP__TLS_KEY_FILE", "/key"),
            ("ROWCAST__HTTP__SPREAD_MS", "20000"),
            ("ROWCAST__HTTP__DIALECTS", "a.toml,b.toml,a.toml"),
            ("ROWCAST__LIMITS__CONNECTIONS", "0"),
            ("ROWCAST__LIMITS__MESSAGE_BYTES", "4096"),
            ("ROWCAST__LIMITS__QUEUE_BYTES", "2048"),
            ("ROWCAST__LISTENER__DOORBELL", "sometimes"),
            ("ROWCAST__LISTENER__LOOK_TIMEOUT_MS", "90000"),
            ("ROWCAST__LISTENER__BACKOFF_MIN_MS", "9000"),
            ("ROWCAST__LISTENER__FLOOR_MS", "20000"),
            ("ROWCAST__LISTENER__PROOF_TIMEOUT_MS", "90000"),
            ("ROWCAST__CONSOLE__ENABLED", "true"),
            ("ROWCAST__CONSOLE__VALUE", ""),
            ("ROWCAST__CONSOLE__SLOW_PERCENT", "101"),
            ("ROWCAST__LOG__FORMAT", "xml"),
            ("ROWCAST__LOG__LEVEL", "loud"),
        ]));
        for key in [
            "database.url",
            "auth.hs256_secret",
            "auth.jwks",
            "auth.cookie",
            "auth.anonymous_claims",
            "http.listen",
            "http.admin_listen",
            "http.base_path",
            "http.trusted_proxies",
            "http.allowed_origins",
            "http.tls_key_file",
            "http.spread_ms",
            "http.dialects",
            "limits.connections",
            "limits.message_bytes",
            "listener.doorbell",
            "listener.look_timeout_max_ms",
            "listener.backoff_min_ms",
            "listener.ready_lag_ms",
            "listener.proof_timeout_ms",
            "console.value",
            "console.slow_percent",
            "log.format",
            "log.level",
        ] {
            assert!(
                text.contains(&format!("`{key}`")),
                "{key} is missing in\n{text}"
            );
        }
        assert_eq!(text.matches("allowed_origins").count(), 3, "{text}");
        let mut said: Vec<_> = text.lines().collect();
        said.sort_unstable();
        assert!(said.windows(2).all(|two| two[0] != two[1]), "{text}");
        assert!(
            !text.contains("tooshort") && !text.contains("hidden"),
            "{text}"
        );
    }

    /// Whoever reads it sets the same key in several places.
    #[test]
    fn a_value_that_will_not_do_is_told_with_its_place() {
        let text = problems(checked(&[
            ("DATABASE_URL", "mysql://host/db"),
            ("ROWCAST__AUTH__HS256_SECRET", "tooshort"),
            ("ROWCAST__LIMITS__CONNECTIONS", "0"),
            ("ROWCAST__POLL__WAIT_S", "1000"),
        ]));
        for told in [
            "`database.url` in the environment (DATABASE_URL) is `mysql://host/db`: write",
            "`auth.hs256_secret` in the environment (ROWCAST__AUTH__HS256_SECRET) has 8 bytes",
            "`limits.connections` in the environment (ROWCAST__LIMITS__CONNECTIONS) is `0`: write",
            "`poll.wait_s` in the environment (ROWCAST__POLL__WAIT_S) is 1000 and `poll.wait_max_s` \
             in config/default.toml is 60: the first",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
        let flag = load(&[], &[("http.listen", "8")]).unwrap();
        let text = problems(Settings::check(flag));
        assert!(text.contains("`http.listen` in a flag is `8`"), "{text}");
    }

    #[test]
    fn both_ways_in_are_not_one() {
        let both = |listen| {
            let admin = ("ROWCAST__HTTP__ADMIN_LISTEN", listen);
            checked(&[("ROWCAST__HTTP__LISTEN", listen), admin])
        };
        let text = problems(both("127.0.0.1:8080"));
        assert!(text.contains("that is `http.listen`"), "{text}");
        assert!(both("127.0.0.1:0").is_ok(), "the system chooses two");
    }

    #[test]
    fn claims_that_sql_can_not_take_are_named() {
        let claims = r#"{"role":"a\u0000"}"#;
        let text = problems(checked(&[("ROWCAST__AUTH__ANONYMOUS_CLAIMS", claims)]));
        assert!(text.contains("`auth.anonymous_claims`"), "{text}");
    }

    #[test]
    fn what_opens_a_console_that_is_closed_may_be_empty() {
        assert!(checked(&[("ROWCAST__CONSOLE__VALUE", "")]).is_ok());
    }

    #[test]
    fn levels_and_targets_are_taken_and_nothing_that_silences_all() {
        for level in [
            "off",
            "DEBUG",
            "info,rowcast::report=debug",
            "rowcast[span]=trace",
        ] {
            assert!(
                checked(&[("ROWCAST__LOG__LEVEL", level)]).is_ok(),
                "{level}"
            );
        }
        for level in ["", "loud", "info,rowcast", "info,rowcast=loud", "info,a[b"] {
            let text = problems(checked(&[("ROWCAST__LOG__LEVEL", level)]));
            assert!(text.contains("`log.level`"), "{level}: {text}");
        }
    }

    #[test]
    fn a_public_key_as_secret_is_refused() {
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----";
        let text = problems(checked(&[("ROWCAST__AUTH__HS256_SECRET", pem)]));
        assert!(text.contains("auth.public_key_file"), "{text}");
        assert!(!text.contains("MCow"), "{text}");
    }
}

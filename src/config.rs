//! Configuration in two steps: [`RawSettings`](crate::config::RawSettings) is what was said, [`Settings`](crate::config::Settings) is what is meant.
//! It hands checked values to everybody above and is asked by the `config` subcommand what is wrong.
//! It must never open a socket, and no secret may leave it through `Debug`, an error or a printout.
//!
//! Four layers, later ones win: `config/default.toml` (embedded), a file, `ROWCAST__SECTION__KEY` in
//! the environment, flags. A key nobody knows is an error, since a typo would otherwise be a setting
//! that silently does nothing. The file is long because it is a list: a key here, its line in
//! `default.toml`, its check below.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::config::{Config, File, FileFormat, Map, Source, Value, ValueKind};
use ipnet::IpNet;

/// The defaults with their reasons, as a user reads them.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

const PREFIX: &str = "ROWCAST__";

/// Everything that is wrong with a configuration, one sentence a problem, without any secret.
#[derive(Debug, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

// ---------------------------------------------------------------------------------------------
// What was said.

/// A type a key can have: how it is read from a layer and shown as TOML.
trait Written: Sized {
    /// Answers what would have been right if `value` isn't.
    fn read(value: &ValueKind) -> Result<Self, &'static str>;
    /// `None` for an optional key that is not set.
    fn show(&self) -> Option<String>;
}

impl Written for u64 {
    fn read(value: &ValueKind) -> Result<Self, &'static str> {
        match value {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            ValueKind::U64(number) => Some(*number),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        }
        .ok_or("a whole number from 0")
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Written for String {
    fn read(value: &ValueKind) -> Result<Self, &'static str> {
        match value {
            ValueKind::String(text) => Ok(text.clone()),
            _ => Err("text in quotes"),
        }
    }

    fn show(&self) -> Option<String> {
        // JSON's escapes are a subset of those of TOML's basic strings.
        Some(serde_json::Value::from(self.as_str()).to_string())
    }
}

impl Written for Option<String> {
    /// Empty means unset, for compose files and charts pass on variables that nobody filled.
    fn read(value: &ValueKind) -> Result<Self, &'static str> {
        String::read(value).map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Written::show)
    }
}

impl Written for Vec<String> {
    fn read(value: &ValueKind) -> Result<Self, &'static str> {
        match value {
            ValueKind::String(text) => Ok(text
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect()),
            ValueKind::Array(items) => items.iter().map(|item| String::read(&item.kind)).collect(),
            _ => Err("a list of texts"),
        }
    }

    fn show(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(Written::show).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

/// Declares the raw sections and, from the same list, everything that goes by a key's name.
macro_rules! sections {
    ($( $section:ident: $Raw:ident { $( $key:ident: $kind:ty, )* } )*) => {
        /// The configuration as written, layers merged, nothing checked but names and types.
        #[derive(Clone, Default, PartialEq)]
        pub struct RawSettings { $( pub $section: $Raw, )* }

        $(
            #[doc = concat!("`[", stringify!($section), "]` as written; `config/default.toml` explains each key.")]
            #[derive(Clone, Default, PartialEq)]
            pub struct $Raw { $( pub $key: $kind, )* }
        )*

        /// Every key as `section.key`, in the order of `config/default.toml`.
        pub const KEYS: &[&str] = &[ $( $( concat!(stringify!($section), ".", stringify!($key)), )* )* ];

        impl RawSettings {
            /// `key` must be one of [`KEYS`]; the error says what was wanted.
            fn set(&mut self, key: &str, value: &ValueKind) -> Result<(), &'static str> {
                $( $(
                    if key == concat!(stringify!($section), ".", stringify!($key)) {
                        self.$section.$key = Written::read(value)?;
                    }
                )* )*
                Ok(())
            }

            /// Each key with its value as TOML, in the order of [`KEYS`], unredacted.
            fn shown(&self) -> Vec<Option<String>> {
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
    }
    http: RawHttp {
        listen: String,
        admin_listen: Option<String>,
        trusted_proxies: Vec<String>,
        allowed_origins: Vec<String>,
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
        rooms_per_connection: u64,
        room_name_bytes: u64,
        message_bytes: u64,
        messages_per_second: u64,
        queue_bytes: u64,
        replay_events: u64,
        replay_bytes: u64,
        write_stall_ms: u64,
        request_head_bytes: u64,
    }
    hub: RawHub {
        ring_bytes: u64,
        ring_seconds: u64,
    }
    listener: RawListener {
        floor_ms: u64,
        proof_s: u64,
        proof_timeout_ms: u64,
        backoff_min_ms: u64,
        backoff_max_ms: u64,
        look_timeout_ms: u64,
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
    log: RawLog {
        level: String,
        format: String,
    }
}

impl RawSettings {
    /// Merges the layers. `env` is the whole environment (other variables are passed over, except
    /// `DATABASE_URL`, the default of `database.url`); `overrides` are flags as (`section.key`, text).
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        overrides: &[(String, String)],
    ) -> Result<RawSettings, ConfigError> {
        let mut problems = Vec::new();
        let mut layers = vec![Layer::toml(
            "config/default.toml",
            DEFAULT_TOML,
            &mut problems,
        )];
        if let Some(path) = file {
            let name = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => layers.push(Layer::toml(&name, &text, &mut problems)),
                Err(error) => problems.push(format!("The file {name} can't be read: {error}.")),
            }
        }
        let (layer, database_url) = Layer::environment(env, &mut problems);
        layers.push(layer);
        layers.push(Layer::flags(overrides, &mut problems));

        let mut builder = Config::builder();
        for layer in layers {
            builder = builder.add_source(layer);
        }
        let merged = builder.build().map_err(|error| ConfigError {
            problems: vec![error.to_string()],
        })?;

        let mut raw = RawSettings::default();
        for (key, value) in leaves(&merged.cache) {
            if let Err(wanted) = raw.set(&key, &value.kind) {
                let origin = value.origin().unwrap_or("a layer").to_owned();
                problems.push(format!("`{key}` in {origin} must be {wanted}."));
            }
        }
        if raw.database.url.is_none() {
            raw.database.url = database_url;
        }
        if problems.is_empty() {
            Ok(raw)
        } else {
            Err(ConfigError { problems })
        }
    }

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

/// One layer, its keys known to exist, each value with the place it comes from.
#[derive(Clone, Debug, Default)]
struct Layer {
    values: Map<String, Value>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.values.clone())
    }
}

impl Layer {
    fn toml(origin: &str, text: &str, problems: &mut Vec<String>) -> Layer {
        let table = match File::from_str(text, FileFormat::Toml).collect() {
            Ok(table) => Value::new(None, table),
            Err(error) => {
                // The parser quotes the line it stumbled over, and a secret may stand on it.
                let full = error.to_string();
                let lines: Vec<&str> = full.lines().filter(|line| !line.contains('|')).collect();
                problems.push(format!("{origin} is not TOML: {}.", lines.join(", ")));
                return Layer::default();
            }
        };
        let mut layer = Layer::default();
        for (key, value) in leaves(&table) {
            if KEYS.contains(&key.as_str()) {
                layer.put(key, origin, value.kind);
            } else {
                let nearest = nearest(&key);
                problems.push(format!(
                    "`{key}` in {origin} is not a key; the nearest is `{nearest}`."
                ));
            }
        }
        layer
    }

    /// The variables with our prefix, and `DATABASE_URL` beside them.
    fn environment(
        env: impl Iterator<Item = (String, String)>,
        problems: &mut Vec<String>,
    ) -> (Layer, Option<String>) {
        let mut layer = Layer::default();
        let mut database_url = None;
        for (name, text) in env {
            if name == "DATABASE_URL" {
                database_url = Some(text).filter(|url| !url.is_empty());
            } else if let Some(rest) = name.strip_prefix(PREFIX) {
                let key = rest.to_lowercase().replace("__", ".");
                if KEYS.contains(&key.as_str()) {
                    layer.put(
                        key,
                        &format!("the environment ({name})"),
                        ValueKind::String(text),
                    );
                } else {
                    let nearest = variable(nearest(&key));
                    problems.push(format!(
                        "`{name}` in the environment is not a key; the nearest is `{nearest}`."
                    ));
                }
            } else if let Some(key) = meant_by(&name) {
                problems.push(format!(
                    "`{name}` in the environment does nothing; write `{}`, with double underscores.",
                    variable(key)
                ));
            }
        }
        (layer, database_url)
    }

    fn flags(overrides: &[(String, String)], problems: &mut Vec<String>) -> Layer {
        let mut layer = Layer::default();
        for (key, text) in overrides {
            if KEYS.contains(&key.as_str()) {
                layer.put(key.clone(), "a flag", ValueKind::String(text.clone()));
            } else {
                let nearest = nearest(key);
                problems.push(format!(
                    "`{key}` in a flag is not a key; the nearest is `{nearest}`."
                ));
            }
        }
        layer
    }

    fn put(&mut self, key: String, origin: &str, kind: ValueKind) {
        let value = Value::new(Some(&origin.to_owned()), kind);
        self.values.insert(key, value);
    }
}

/// The values of a table two levels deep as `section.key`, sorted, so that errors come in one order.
fn leaves(table: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let ValueKind::Table(sections) = &table.kind else {
        return found;
    };
    for (section, value) in sections {
        match &value.kind {
            ValueKind::Table(keys) => found.extend(
                keys.iter()
                    .map(|(key, value)| (format!("{section}.{key}"), value.clone())),
            ),
            _ => found.push((section.clone(), value.clone())),
        }
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    found
}

/// The known key that looks most like `key`; the section may be missing.
fn nearest(key: &str) -> &'static str {
    let distance = |known: &&&str| {
        let bare = known.split_once('.').map_or(**known, |(_, name)| name);
        let whole = strsim::damerau_levenshtein(key, known);
        if key.contains('.') {
            whole
        } else {
            whole.min(strsim::damerau_levenshtein(key, bare))
        }
    };
    KEYS.iter()
        .min_by_key(distance)
        .copied()
        .unwrap_or_default()
}

/// `http.listen` as `ROWCAST__HTTP__LISTEN`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// `ROWCAST_HTTP_LISTEN` is not ours to read, but surely meant for us.
fn meant_by(name: &str) -> Option<&'static str> {
    let rest = name
        .strip_prefix("ROWCAST_")?
        .to_lowercase()
        .replace("__", "_");
    KEYS.iter()
        .find(|key| key.replace('.', "_") == rest)
        .copied()
}

// ---------------------------------------------------------------------------------------------
// What is meant. A field is named as its key without the unit, for its type carries that.

/// The configuration after [`Settings::check`]: every value in range and in its own type.
#[derive(Clone, Debug)]
pub struct Settings {
    pub database: Database,
    pub auth: Auth,
    pub http: Http,
    pub limits: Limits,
    pub hub: Hub,
    pub listener: Listener,
    pub websocket: Websocket,
    pub sse: Sse,
    pub log: Log,
}

#[derive(Clone)]
pub struct Database {
    /// A libpq URL or keyword string; the commands that need a database refuse to start without.
    pub url: Option<String>,
    pub listen_url: Option<String>,
    pub pool_size: usize,
    pub statement_timeout: Duration,
    pub connect_timeout: Duration,
    pub pool_wait: Duration,
}

impl Database {
    /// Where LISTEN connects: `listen_url`, or else `url`.
    pub fn direct_url(&self) -> Option<&str> {
        self.listen_url.as_deref().or(self.url.as_deref())
    }
}

#[derive(Clone)]
pub struct Auth {
    /// At least 32 bytes.
    pub hs256_secret: Option<String>,
    pub public_key_file: Option<PathBuf>,
    /// A path, or a URL that starts with `http://` or `https://`.
    pub jwks: Option<String>,
    pub jwks_refresh: Duration,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub leeway: Duration,
    pub cookie: Option<String>,
    /// A JSON object.
    pub anonymous_claims: Option<String>,
}

impl Auth {
    /// Whether any token can be verified at all.
    pub fn has_key(&self) -> bool {
        self.hs256_secret.is_some() || self.public_key_file.is_some() || self.jwks.is_some()
    }
}

#[derive(Clone, Debug)]
pub struct Http {
    /// `host:port` or `unix:/path`.
    pub listen: String,
    pub admin_listen: Option<String>,
    pub trusted_proxies: Vec<IpNet>,
    /// As browsers write them: scheme, host and a port that is not the scheme's own.
    pub allowed_origins: Vec<String>,
    pub tls_certificate_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    pub header_timeout: Duration,
    pub drain: Duration,
    pub spread: Duration,
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub connections: usize,
    pub connections_per_address: usize,
    pub connections_per_user: usize,
    pub rooms_per_connection: usize,
    pub room_name_bytes: usize,
    pub message_bytes: usize,
    /// The burst is twice this.
    pub messages_per_second: usize,
    /// Per subscription.
    pub queue_bytes: usize,
    pub replay_events: usize,
    pub replay_bytes: usize,
    pub write_stall: Duration,
    pub request_head_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct Hub {
    pub ring_bytes: usize,
    /// `hub.ring_seconds`.
    pub ring_age: Duration,
}

#[derive(Clone, Debug)]
pub struct Listener {
    /// The longest time between two looks at the log.
    pub floor: Duration,
    /// Between two round trips through NOTIFY.
    pub proof: Duration,
    pub proof_timeout: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    pub look_timeout: Duration,
    pub ready_lag: Duration,
}

#[derive(Clone, Debug)]
pub struct Websocket {
    pub heartbeat: Duration,
    pub ping: Duration,
    pub pong_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Sse {
    pub heartbeat: Duration,
    pub retry: Duration,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// A level or directives of tracing's filter.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    Human,
    Json,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("url", &self.url.as_deref().map(redact_url))
            .field("listen_url", &self.listen_url.as_deref().map(redact_url))
            .field("pool_size", &self.pool_size)
            .field("statement_timeout", &self.statement_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("pool_wait", &self.pool_wait)
            .finish()
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("hs256_secret", &self.hs256_secret.as_ref().map(|_| "***"))
            .field("public_key_file", &self.public_key_file)
            .field("jwks", &self.jwks.as_deref().map(redact_url))
            .field("jwks_refresh", &self.jwks_refresh)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("leeway", &self.leeway)
            .field("cookie", &self.cookie)
            .field("anonymous_claims", &self.anonymous_claims)
            .finish()
    }
}

/// A day: no timeout of a live system is longer, so a longer one is a wrong unit.
const DAY_MS: u64 = 86_400_000;
/// A gibibyte: a buffer above it is a wrong unit too.
const GIB: u64 = 1 << 30;

impl Settings {
    /// Turns what was said into what is meant, or answers every problem at once.
    pub fn check(raw: RawSettings) -> Result<Settings, ConfigError> {
        let mut check = Check::default();
        let settings = Settings {
            database: check.database(raw.database),
            auth: check.auth(raw.auth),
            http: check.http(raw.http),
            limits: check.limits(&raw.limits),
            hub: Hub {
                ring_bytes: check.size("hub.ring_bytes", raw.hub.ring_bytes, 0..=64 * GIB),
                ring_age: check.seconds("hub.ring_seconds", raw.hub.ring_seconds, 0),
            },
            listener: check.listener(&raw.listener),
            websocket: check.websocket(&raw.websocket),
            sse: Sse {
                heartbeat: check.seconds("sse.heartbeat_s", raw.sse.heartbeat_s, 1),
                retry: check.millis("sse.retry_ms", raw.sse.retry_ms),
            },
            log: check.log(raw.log),
        };
        if check.problems.is_empty() {
            Ok(settings)
        } else {
            Err(ConfigError {
                problems: check.problems,
            })
        }
    }

    /// What is allowed but should not go unsaid at the start, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |text: &str| warnings.push(text.to_owned());
        let auth = &self.auth;
        if auth.has_key() {
            if auth.issuer.is_none() {
                warn("auth.issuer is not set: `iss` is not checked.");
            }
            if auth.audience.is_none() {
                warn("auth.audience is not set: `aud` is not checked, tokens for others get in.");
            }
        } else {
            warn(
                "No key for tokens (auth.hs256_secret, auth.public_key_file or auth.jwks): \
                 only what rowcast.session_rule and auth.anonymous_claims admit gets in.",
            );
        }
        if auth.anonymous_claims.is_some() {
            warn("auth.anonymous_claims is set: clients without a token get in with these claims.");
        }
        if auth.jwks.as_deref().is_some_and(is_plain_remote) {
            warn("auth.jwks is fetched without TLS: whoever sits between can sign tokens.");
        }
        if !is_local(&self.http.listen)
            && self.http.tls_key_file.is_none()
            && self.http.trusted_proxies.is_empty()
        {
            warn(
                "http.listen is open to other machines without TLS and without http.trusted_proxies: \
                 tokens travel in the clear, or all clients share their proxy's address.",
            );
        }
        if self.database.listen_url.is_none()
            && self.database.url.as_deref().is_some_and(looks_like_pooler)
        {
            warn(
                "database.url looks like a pooler and database.listen_url is not set: \
                 LISTEN needs a direct connection.",
            );
        }
        warnings
    }
}

/// Collects problems, so that a user mends a configuration in one round.
#[derive(Default)]
struct Check {
    problems: Vec<String>,
}

impl Check {
    fn database(&mut self, raw: RawDatabase) -> Database {
        for (key, url) in [
            ("database.url", &raw.url),
            ("database.listen_url", &raw.listen_url),
        ] {
            let Some(url) = url else { continue };
            let known = ["postgres://", "postgresql://"]
                .iter()
                .any(|scheme| url.starts_with(scheme));
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
            pool_wait: self.millis("database.pool_wait_ms", raw.pool_wait_ms),
        }
    }

    fn auth(&mut self, raw: RawAuth) -> Auth {
        if let Some(secret) = &raw.hs256_secret {
            let length = secret.len();
            if secret.contains("-----BEGIN") {
                self.say(
                    "`auth.hs256_secret` holds a key in PEM, which signs nothing by HMAC: \
                     put it into a file and name that in `auth.public_key_file`.",
                );
            } else if length < 32 {
                self.say(&format!(
                    "`auth.hs256_secret` has {length} bytes: at least 32 are needed \
                     (`openssl rand -hex 32` makes one)."
                ));
            }
        }
        if let Some(jwks) = raw.jwks.as_deref().filter(|jwks| jwks.contains("://")) {
            let http = is_http(jwks) && url::Url::parse(jwks).is_ok();
            if !http {
                self.wrong(
                    "auth.jwks",
                    &redact_url(jwks),
                    "write a path or an http(s) URL",
                );
            }
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
        }
    }

    fn http(&mut self, raw: RawHttp) -> Http {
        self.address("http.listen", &raw.listen);
        if let Some(listen) = &raw.admin_listen {
            self.address("http.admin_listen", listen);
        }
        if raw.tls_certificate_file.is_some() != raw.tls_key_file.is_some() {
            self.say(
                "`http.tls_certificate_file` and `http.tls_key_file` go together: \
                 give both for TLS, neither without.",
            );
        }
        if raw.spread_ms > raw.drain_ms {
            self.say(&format!(
                "`http.spread_ms` is {} and `http.drain_ms` {}: the spread must fit into the drain.",
                raw.spread_ms, raw.drain_ms
            ));
        }
        let trusted_proxies = raw
            .trusted_proxies
            .iter()
            .filter_map(|text| self.network(text))
            .collect();
        let allowed_origins: BTreeSet<String> = raw
            .allowed_origins
            .iter()
            .filter_map(|text| self.origin(text))
            .collect();
        Http {
            listen: raw.listen,
            admin_listen: raw.admin_listen,
            trusted_proxies,
            allowed_origins: allowed_origins.into_iter().collect(),
            tls_certificate_file: raw.tls_certificate_file.map(PathBuf::from),
            tls_key_file: raw.tls_key_file.map(PathBuf::from),
            header_timeout: self.millis("http.header_timeout_ms", raw.header_timeout_ms),
            drain: self.millis("http.drain_ms", raw.drain_ms),
            // Nought means all at once, which is right where one client is all there is.
            spread: Duration::from_millis(self.whole("http.spread_ms", raw.spread_ms, 0..=DAY_MS)),
        }
    }

    fn limits(&mut self, raw: &RawLimits) -> Limits {
        if raw.message_bytes > raw.queue_bytes {
            self.say(&format!(
                "`limits.message_bytes` is {} and `limits.queue_bytes` {}: a queue must hold \
                 what one message may ask for.",
                raw.message_bytes, raw.queue_bytes
            ));
        }
        let many = 1..=10_000_000;
        Limits {
            connections: self.size("limits.connections", raw.connections, many.clone()),
            connections_per_address: self.size(
                "limits.connections_per_address",
                raw.connections_per_address,
                many.clone(),
            ),
            connections_per_user: self.size(
                "limits.connections_per_user",
                raw.connections_per_user,
                many.clone(),
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
            replay_events: self.size("limits.replay_events", raw.replay_events, many),
            replay_bytes: self.size("limits.replay_bytes", raw.replay_bytes, 1024..=GIB),
            write_stall: self.millis("limits.write_stall_ms", raw.write_stall_ms),
            // Below 8192 no request could carry the longest token that is accepted.
            request_head_bytes: self.size(
                "limits.request_head_bytes",
                raw.request_head_bytes,
                8192..=1 << 20,
            ),
        }
    }

    fn listener(&mut self, raw: &RawListener) -> Listener {
        if raw.backoff_min_ms > raw.backoff_max_ms {
            self.say(&format!(
                "`listener.backoff_min_ms` is {} and `listener.backoff_max_ms` {}: \
                 the first must not be above the second.",
                raw.backoff_min_ms, raw.backoff_max_ms
            ));
        }
        if raw.proof_timeout_ms > raw.proof_s.saturating_mul(1000) {
            self.say(&format!(
                "`listener.proof_timeout_ms` is {} and `listener.proof_s` {}: \
                 a proof must end before the next begins.",
                raw.proof_timeout_ms, raw.proof_s
            ));
        }
        Listener {
            floor: self.millis("listener.floor_ms", raw.floor_ms),
            proof: self.seconds("listener.proof_s", raw.proof_s, 1),
            proof_timeout: self.millis("listener.proof_timeout_ms", raw.proof_timeout_ms),
            backoff_min: self.millis("listener.backoff_min_ms", raw.backoff_min_ms),
            backoff_max: self.millis("listener.backoff_max_ms", raw.backoff_max_ms),
            look_timeout: self.millis("listener.look_timeout_ms", raw.look_timeout_ms),
            ready_lag: self.millis("listener.ready_lag_ms", raw.ready_lag_ms),
        }
    }

    fn websocket(&mut self, raw: &RawWebsocket) -> Websocket {
        Websocket {
            heartbeat: self.seconds("websocket.heartbeat_s", raw.heartbeat_s, 1),
            ping: self.seconds("websocket.ping_s", raw.ping_s, 1),
            pong_timeout: self.seconds("websocket.pong_timeout_s", raw.pong_timeout_s, 1),
        }
    }

    fn log(&mut self, raw: RawLog) -> Log {
        if raw.level.is_empty() {
            self.wrong("log.level", "", "write error, warn, info, debug or trace");
        }
        let format = match raw.format.as_str() {
            "auto" => LogFormat::Auto,
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            other => {
                self.wrong("log.format", other, "write auto, human or json");
                LogFormat::Auto
            }
        };
        Log {
            level: raw.level,
            format,
        }
    }

    fn say(&mut self, problem: &str) {
        self.problems.push(problem.to_owned());
    }

    fn wrong(&mut self, key: &str, value: &str, remedy: &str) {
        self.problems
            .push(format!("`{key}` is `{value}`: {remedy}."));
    }

    fn whole(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> u64 {
        if !range.contains(&value) {
            let remedy = format!("write a number from {} to {}", range.start(), range.end());
            self.wrong(key, &value.to_string(), &remedy);
        }
        value
    }

    fn size(&mut self, key: &str, value: u64, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.whole(key, value, range)).unwrap_or(usize::MAX)
    }

    fn millis(&mut self, key: &str, value: u64) -> Duration {
        Duration::from_millis(self.whole(key, value, 1..=DAY_MS))
    }

    fn seconds(&mut self, key: &str, value: u64, least: u64) -> Duration {
        Duration::from_secs(self.whole(key, value, least..=DAY_MS / 1000))
    }

    fn address(&mut self, key: &str, text: &str) {
        let right = match text.strip_prefix("unix:") {
            Some(path) => path.starts_with('/'),
            None => text.rsplit_once(':').is_some_and(|(host, port)| {
                let bracketed =
                    host.starts_with('[') && text.parse::<std::net::SocketAddr>().is_ok();
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

    fn network(&mut self, text: &str) -> Option<IpNet> {
        let parsed = text.parse::<IpNet>().ok();
        let parsed = parsed.or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
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
    fn origin(&mut self, text: &str) -> Option<String> {
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

fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn is_plain_remote(jwks: &str) -> bool {
    jwks.strip_prefix("http://").is_some_and(|rest| {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host_port = if authority.contains(':') {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        !is_local(&host_port)
    })
}

/// Whether only this machine reaches the address; an unknown name counts as reachable.
fn is_local(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    listen.starts_with("unix:")
        || host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// PgBouncer's own port, and the names that hosted poolers go by.
fn looks_like_pooler(url: &str) -> bool {
    let url = redact_url(url);
    [":6432", "port=6432", "pooler", "pgbouncer"]
        .iter()
        .any(|sign| url.contains(sign))
}

// ---------------------------------------------------------------------------------------------
// What may be shown.

/// `shown` is TOML.
fn redact(key: &str, shown: &str) -> String {
    match key {
        "auth.hs256_secret" => "\"***\"".to_owned(),
        "database.url" | "database.listen_url" | "auth.jwks" => {
            let text: String = serde_json::from_str(shown).unwrap_or_default();
            serde_json::Value::from(redact_url(&text)).to_string()
        }
        _ => shown.to_owned(),
    }
}

/// The URL or keyword string with every password as `***`. Where passwords hold characters that
/// should have been encoded, rather too much is hidden than too little.
pub fn redact_url(text: &str) -> String {
    let text = redact_parameters(text);
    let Some((scheme, rest)) = text.split_once("://") else {
        return text;
    };
    // A JWKS may carry a key of its own in the query, under any name.
    let rest = match rest.split_once('?') {
        Some((before, _)) if scheme.starts_with("http") => format!("{before}?***"),
        _ => rest.to_owned(),
    };
    match rest.rsplit_once('@') {
        Some((userinfo, place)) => match userinfo.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{place}"),
            None => format!("{scheme}://{userinfo}@{place}"),
        },
        None => format!("{scheme}://{rest}"),
    }
}

/// Hides the values of `password` and `sslpassword`, as query parameters or keywords.
fn redact_parameters(text: &str) -> String {
    const WORD: &str = "password";
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.to_ascii_lowercase().find(WORD) {
        let (before, after) = rest.split_at(at + WORD.len());
        out += before;
        rest = after;
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            continue;
        };
        out += "=***";
        rest = &value[value_length(value)..];
    }
    out + rest
}

/// libpq's rules: a value ends at a blank or `&`, or is quoted; a backslash escapes.
fn value_length(value: &str) -> usize {
    let quoted = value.starts_with('\'');
    let mut escaped = false;
    for (at, letter) in value.char_indices().skip(usize::from(quoted)) {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if quoted && letter == '\'' {
            return at + 1;
        } else if !quoted && (letter.is_whitespace() || letter == '&') {
            return at;
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789-0123456789-0123456789";

    fn load(env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<RawSettings, ConfigError> {
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        RawSettings::load(None, pairs(env).into_iter(), &pairs(flags))
    }

    fn load_file(text: &str) -> Result<RawSettings, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        RawSettings::load(Some(file.path()), std::iter::empty(), &[])
    }

    fn checked(env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        Settings::check(load(env, &[]).unwrap())
    }

    fn problems<T>(result: Result<T, ConfigError>) -> String {
        result.err().expect("a problem").to_string()
    }

    #[test]
    fn defaults_are_as_documented() {
        let settings = checked(&[]).unwrap();
        assert_eq!(settings.http.listen, "127.0.0.1:8080");
        assert_eq!(settings.database.pool_size, 8);
        assert_eq!(settings.database.url, None);
        assert_eq!(settings.database.statement_timeout, Duration::from_secs(2));
        assert_eq!(settings.limits.queue_bytes, 1_048_576);
        assert_eq!(settings.hub.ring_age, Duration::from_secs(300));
        assert_eq!(settings.listener.floor, Duration::from_secs(1));
        assert_eq!(settings.websocket.heartbeat, Duration::from_secs(25));
        assert_eq!(settings.log.format, LogFormat::Auto);
        assert!(settings.http.trusted_proxies.is_empty());
    }

    /// Each key stands once in default.toml, in the order of `KEYS`, right below one comment line.
    #[test]
    fn every_key_is_explained_in_default_toml() {
        let mut found = Vec::new();
        let mut section = String::new();
        let mut above = "";
        for line in DEFAULT_TOML.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            }
            let assignment = line.trim_start_matches("# ");
            if let Some((key, _)) = assignment.split_once(" = ")
                && key
                    .chars()
                    .all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
            {
                assert!(above.starts_with("# "), "{section}.{key} has no comment");
                let said = above.contains("efault") || !line.starts_with('#');
                assert!(said, "{section}.{key} does not say its default");
                found.push(format!("{section}.{key}"));
            }
            above = line;
        }
        assert_eq!(found, KEYS);
    }

    #[test]
    fn the_default_in_a_comment_is_the_default() {
        let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
        for pair in lines.windows(2) {
            let Some((_, value)) = pair[1].split_once(" = ") else {
                continue;
            };
            if !pair[1].starts_with('#') && value.parse::<u64>().is_ok() {
                let said = pair[0].contains(&format!("efault {value}"));
                assert!(
                    said,
                    "the comment above `{}` names another default",
                    pair[1]
                );
            }
        }
    }

    #[test]
    fn every_key_can_be_written_in_the_environment_and_as_a_flag() {
        let defaults = load(&[], &[]).unwrap().shown();
        for (at, key) in KEYS.iter().enumerate() {
            let by_variable = load(&[(&variable(key), "4711")], &[]).unwrap().shown();
            let by_flag = load(&[(&variable(key), "12")], &[(key, "4711")])
                .unwrap()
                .shown();
            assert_ne!(by_variable[at], defaults[at], "{key}");
            assert_eq!(by_variable, by_flag, "{key}");
            let others = |shown: &[Option<String>]| {
                let mut shown = shown.to_vec();
                shown.remove(at);
                shown
            };
            assert_eq!(
                others(&by_variable),
                others(&defaults),
                "{key} changed another key"
            );
        }
    }

    #[test]
    fn unknown_keys_name_their_place_and_the_nearest_key() {
        let text = problems(load(
            &[("ROWCAST__HTPP__LISTEN", "x")],
            &[("http.listne", "y")],
        ));
        assert!(
            text.contains("`ROWCAST__HTPP__LISTEN` in the environment"),
            "{text}"
        );
        assert!(
            text.contains("the nearest is `ROWCAST__HTTP__LISTEN`"),
            "{text}"
        );
        assert!(text.contains("`http.listne` in a flag"), "{text}");
        assert!(text.contains("the nearest is `http.listen`"), "{text}");

        let text = problems(load_file("listen = 'x'\n[limits]\nconections = 5\n"));
        assert!(text.contains("`listen` in /"), "{text}");
        assert!(text.contains("the nearest is `http.listen`"), "{text}");
        assert!(text.contains("`limits.conections`"), "{text}");
        assert!(
            text.contains("the nearest is `limits.connections`"),
            "{text}"
        );
    }

    #[test]
    fn a_single_underscore_is_no_silent_loss() {
        let text = problems(load(&[("ROWCAST_HTTP_LISTEN", "x")], &[]));
        assert!(text.contains("write `ROWCAST__HTTP__LISTEN`"), "{text}");
        let text = problems(load(&[("ROWCAST_LIMITS__CONNECTIONS_PER_USER", "x")], &[]));
        assert!(
            text.contains("write `ROWCAST__LIMITS__CONNECTIONS_PER_USER`"),
            "{text}"
        );
        assert!(load(&[("ROWCAST_OTHER", "x"), ("PATH", "/bin")], &[]).is_ok());
    }

    #[test]
    fn wrong_types_name_key_and_place_without_the_value() {
        let env = [("ROWCAST__DATABASE__POOL_SIZE", "many")];
        let text = problems(load(&env, &[]));
        assert!(text.contains("`database.pool_size`"), "{text}");
        assert!(text.contains("ROWCAST__DATABASE__POOL_SIZE"), "{text}");
        assert!(text.contains("whole number"), "{text}");
        for wrong in [
            "pool_size = 1.5",
            "pool_size = -1",
            "pool_size = true",
            "pool_size.a = 1",
        ] {
            let text = problems(load_file(&format!("[database]\n{wrong}\n")));
            assert!(text.contains("whole number"), "{wrong}: {text}");
        }
        assert!(problems(load_file("[http]\nlisten = 8080\n")).contains("text in quotes"));
    }

    #[test]
    fn layers_override_in_order_and_lists_are_replaced() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[http]\nlisten = '1.1.1.1:1'\nadmin_listen = '1.1.1.1:2'\n\
                    trusted_proxies = ['10.0.0.0/8', '::1']\n[database]\nurl = 'postgres://file/a'\n";
        std::fs::write(file.path(), text).unwrap();
        let env = [
            ("DATABASE_URL", "postgres://default/a"),
            ("ROWCAST__HTTP__LISTEN", "2.2.2.2:2"),
            ("ROWCAST__HTTP__ADMIN_LISTEN", ""),
            ("ROWCAST__HTTP__TRUSTED_PROXIES", "192.168.0.1"),
        ];
        let env = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let flags = [("http.listen".to_owned(), "3.3.3.3:3".to_owned())];
        let raw = RawSettings::load(Some(file.path()), env.into_iter(), &flags).unwrap();
        assert_eq!(raw.http.listen, "3.3.3.3:3");
        assert_eq!(raw.http.admin_listen, None, "an empty variable unsets");
        assert_eq!(raw.http.trusted_proxies, ["192.168.0.1"]);
        assert_eq!(raw.database.url.as_deref(), Some("postgres://file/a"));

        let raw = load(&[("DATABASE_URL", "postgres://default/a")], &[]).unwrap();
        assert_eq!(raw.database.url.as_deref(), Some("postgres://default/a"));
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
            ("ROWCAST__HTTP__TRUSTED_PROXIES", "10.0.0.0/99"),
            (
                "ROWCAST__HTTP__ALLOWED_ORIGINS",
                "*,https://*.a.example,https://a.example/path",
            ),
            ("ROWCAST__HTTP__TLS_KEY_FILE", "/key"),
            ("ROWCAST__HTTP__SPREAD_MS", "20000"),
            ("ROWCAST__LIMITS__CONNECTIONS", "0"),
            ("ROWCAST__LISTENER__BACKOFF_MIN_MS", "9000"),
            ("ROWCAST__LISTENER__PROOF_TIMEOUT_MS", "90000"),
            ("ROWCAST__LOG__FORMAT", "xml"),
        ]));
        for key in [
            "database.url",
            "auth.hs256_secret",
            "auth.jwks",
            "auth.cookie",
            "auth.anonymous_claims",
            "http.listen",
            "http.admin_listen",
            "http.trusted_proxies",
            "http.allowed_origins",
            "http.tls_key_file",
            "http.spread_ms",
            "limits.connections",
            "listener.backoff_min_ms",
            "listener.proof_timeout_ms",
            "log.format",
        ] {
            assert!(
                text.contains(&format!("`{key}`")),
                "{key} is missing in\n{text}"
            );
        }
        assert_eq!(text.matches("allowed_origins").count(), 3, "{text}");
        assert!(
            !text.contains("tooshort") && !text.contains("hidden"),
            "{text}"
        );
    }

    #[test]
    fn a_public_key_as_secret_is_refused() {
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----";
        let text = problems(checked(&[("ROWCAST__AUTH__HS256_SECRET", pem)]));
        assert!(text.contains("auth.public_key_file"), "{text}");
        assert!(!text.contains("MCow"), "{text}");
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
    fn no_secret_is_shown() {
        let env = [
            (
                "DATABASE_URL",
                "postgres://app:hidden1@db.example/app?sslmode=require",
            ),
            (
                "ROWCAST__DATABASE__LISTEN_URL",
                "host=db password='hidden2 \\' x' user=app",
            ),
            ("ROWCAST__AUTH__HS256_SECRET", &format!("hidden3-{SECRET}")),
            (
                "ROWCAST__AUTH__JWKS",
                "https://me:hidden4@id.example/jwks?key=hidden5",
            ),
        ];
        let raw = load(&env, &[]).unwrap();
        let settings = Settings::check(raw.clone()).unwrap();
        let shown = [
            raw.effective_toml(),
            format!("{raw:?}"),
            format!("{settings:#?}"),
        ];
        for text in &shown {
            assert!(!text.contains("hidden"), "{text}");
            assert!(text.contains("app:***@db.example"), "{text}");
        }
        assert!(shown[0].contains("sslmode=require"), "{}", shown[0]);
    }

    #[test]
    fn passwords_in_urls_are_hidden_wherever_they_stand() {
        for (url, shown) in [
            ("postgres://u:p@h/d", "postgres://u:***@h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u:a/b@c@h/d", "postgres://u:***@h/d"),
            (
                "postgres:///d?host=/run&user=u&password=p&x=1",
                "postgres:///d?host=/run&user=u&password=***&x=1",
            ),
            (
                "postgres://h/d?password=a@b&sslpassword=c",
                "postgres://h/d?password=***&sslpassword=***",
            ),
            (
                "host=h PASSWORD = p dbname=d",
                "host=h PASSWORD=*** dbname=d",
            ),
            ("host=h passfile=/f", "host=h passfile=/f"),
            ("password='open", "password=***"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    #[test]
    fn a_broken_file_is_reported_without_its_lines() {
        let text = problems(load_file("[auth]\nhs256_secret = \"hidden\n"));
        assert!(text.contains("line 2"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
        let missing = RawSettings::load(Some(Path::new("/no/such.toml")), std::iter::empty(), &[]);
        assert!(problems(missing).contains("/no/such.toml can't be read"));
    }

    #[test]
    fn the_effective_configuration_is_a_configuration() {
        let raw = load(&[("ROWCAST__AUTH__ISSUER", "say \"hi\" \\ 1\ttab")], &[]).unwrap();
        assert_eq!(load_file(&raw.effective_toml()).unwrap(), raw);
        let order = |text: &str| -> Vec<String> {
            let headings = text.lines().filter(|line| line.starts_with('['));
            headings.map(str::to_owned).collect()
        };
        assert_eq!(order(&raw.effective_toml()), order(DEFAULT_TOML));
    }

    #[test]
    fn warnings_say_what_is_not_checked() {
        let text = |env: &[(&str, &str)]| checked(env).unwrap().warnings().join("\n");
        assert!(text(&[]).contains("No key for tokens"));
        let loose = text(&[("ROWCAST__AUTH__HS256_SECRET", SECRET)]);
        assert!(loose.contains("`iss` is not checked") && loose.contains("`aud` is not checked"));
        let strict = [
            ("ROWCAST__AUTH__HS256_SECRET", SECRET),
            ("ROWCAST__AUTH__ISSUER", "a"),
            ("ROWCAST__AUTH__AUDIENCE", "b"),
        ];
        assert_eq!(text(&strict), "");
        assert!(text(&[("ROWCAST__HTTP__LISTEN", "0.0.0.0:80")]).contains("http.listen"));
        assert!(text(&[("DATABASE_URL", "postgres://h:6432/d")]).contains("database.listen_url"));
        assert!(text(&[("ROWCAST__AUTH__JWKS", "http://id/jwks")]).contains("without TLS"));
        assert!(!text(&[("ROWCAST__AUTH__JWKS", "http://localhost/jwks")]).contains("without TLS"));
    }
}

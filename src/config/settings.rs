//! What is meant: the settings as everybody above reads them, each in its own type.
//! Hands itself to the whole service, unchanged until the process ends.
//! It must never show a secret: what holds one has no `Debug`, so nobody can print it by mistake.
//!
//! A field is named as its key without the unit, for its type carries that.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// The configuration after [`Settings::check`]: every value in range and in its own type.
#[derive(Clone)]
pub struct Settings {
    pub database: Database,
    pub auth: Auth,
    pub http: Http,
    pub limits: Limits,
    pub calls: Calls,
    pub readers: Readers,
    pub hub: Hub,
    pub listener: Listener,
    pub websocket: Websocket,
    pub sse: Sse,
    pub poll: Poll,
    pub socketio: Socketio,
    pub console: Console,
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
    /// Silence after which the link counts as dead, on both its ends.
    pub link_timeout: Duration,
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
    /// Of verified tokens.
    pub remember: Duration,
    pub remember_bytes: usize,
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
    /// Empty, or segments that each begin with a slash.
    pub base_path: String,
    pub trusted_proxies: Vec<IpNet>,
    /// As browsers write them: scheme, host and a port that is not the scheme's own.
    pub allowed_origins: Vec<String>,
    /// Names of built-in dialects, or paths of files.
    pub dialects: Vec<String>,
    pub tls_certificate_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    pub header_timeout: Duration,
    pub drain: Duration,
    pub spread: Duration,
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub connections: usize,
    /// Open at once: connections, and those that wait for their request or hear a refusal.
    pub sockets: usize,
    pub connections_per_address: usize,
    pub connections_per_user: usize,
    /// The burst is one second's.
    pub connects_per_second: usize,
    pub rooms_per_connection: usize,
    pub room_name_bytes: usize,
    pub message_bytes: usize,
    /// The burst is twice this.
    pub messages_per_second: usize,
    /// Per subscription.
    pub queue_bytes: usize,
    pub unsent_bytes: usize,
    pub replay_events: usize,
    pub replay_bytes: usize,
    pub write_stall: Duration,
    /// Per statement.
    pub recheck_questions: usize,
    pub recheck_patience: Duration,
    pub request_head_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct Calls {
    /// At once, in all.
    pub running: usize,
    pub waiting: usize,
    /// At once, until their answers are written.
    pub per_connection: usize,
    /// Of all attempts together.
    pub timeout: Duration,
    pub result_bytes: usize,
    pub attempts: usize,
}

#[derive(Clone, Debug)]
pub struct Readers {
    /// Between two writes of the same reader at least.
    pub write: Duration,
    /// Between two moves of one that was sent nothing.
    pub quiet: Duration,
    /// For how long the database is asked again.
    pub retry: Duration,
    pub waiting: usize,
    /// In one statement.
    pub batch: usize,
}

#[derive(Clone, Debug)]
pub struct Hub {
    pub ring_bytes: usize,
    /// `hub.ring_seconds`.
    pub ring_age: Duration,
    /// In one statement.
    pub refill_events: usize,
}

#[derive(Clone, Debug)]
pub struct Listener {
    /// None: adaptive, unless the server has prepared transactions.
    pub doorbell: Option<Doorbell>,
    /// Per second.
    pub busy_commits: usize,
    pub poll: Duration,
    pub idle_poll: Duration,
    pub tick: Duration,
    pub lead_retry: Duration,
    /// The longest time between two looks at the log.
    pub floor: Duration,
    /// Between two round trips through NOTIFY.
    pub proof: Duration,
    pub proof_timeout: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// Of events, after which a look leaves the rest to the next.
    pub look_bytes: usize,
    /// Of silence in a look; doubled after each in vain, up to `look_timeout_max`.
    pub look_timeout: Duration,
    pub look_timeout_max: Duration,
    pub ready_lag: Duration,
}

/// How writers wake the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// They ring while it sleeps, and not while it looks anyway.
    Adaptive,
    /// Every write rings.
    Always,
    /// None does: the listener polls.
    Never,
}

impl Doorbell {
    /// Reads the word, as the configuration and `rowcast.setting` have it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "adaptive" => Some(Self::Adaptive),
            "always" => Some(Self::Always),
            "never" => Some(Self::Never),
            _ => None,
        }
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
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
pub struct Poll {
    pub wait: Duration,
    pub wait_max: Duration,
    pub gather: Duration,
    pub remember: Duration,
    pub remember_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct Socketio {
    pub heartbeat: Duration,
    pub ping: Duration,
    pub pong_timeout: Duration,
    /// From the opening of a transport to the sign-in.
    pub connect: Duration,
    pub upgrade: Duration,
}

#[derive(Clone, Debug)]
pub struct Console {
    pub enabled: bool,
    /// Name of a claim, or its path with dots.
    pub claim: String,
    pub value: String,
    pub payloads: bool,
    pub payload_bytes: usize,
    /// Per frame.
    pub tail_events: usize,
    pub watchers: usize,
    /// `console.history_s`.
    pub history: Duration,
    pub listed: usize,
    pub recent: usize,
    /// Of `limits.queue_bytes`.
    pub slow_percent: usize,
    /// `console.slow_ms`.
    pub slow: Duration,
    /// `console.database_s`: between two looks.
    pub database: Duration,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// A level or directives of tracing's filter.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    #[default]
    Auto,
    Human,
    Json,
}

impl LogFormat {
    /// By its word, if it is one.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "human" => Some(Self::Human),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

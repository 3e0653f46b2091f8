//! Why the database could not be asked, in words that say what to do about it.
//! Hands errors over to everybody who asks. It must never leave a first start's usual mistakes without
//! a remedy.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_postgres::error::{Severity, SqlState};

/// Why the database could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("the database address: {0}")]
    Address(String),
    #[error("TLS to the database: {0}")]
    Tls(String),
    #[error("no connection to {server}: {}", bare(.error))]
    Unreached { server: String, error: Box<Self> },
    #[error("no connection to the database: {0}")]
    Pool(String),
    #[error("none of the database's servers will do: {0}")]
    Servers(String),
    #[error("the database: {}", describe(.0))]
    Postgres(tokio_postgres::Error),
    #[error("the log has forgotten some of what came after this place")]
    Forgotten,
    #[error("the database did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("its name was not looked up within {} ms (database.connect_timeout_ms)", .0.as_millis())]
    NotLookedUp(Duration),
    #[error("the pool's server is not the one that the listener reads, or has begun a new history")]
    Elsewhere,
    #[error("the database answered something unexpected: {0}")]
    Answer(&'static str),
}

impl DatabaseError {
    /// Who connects has waited so long, and perhaps only for what the server's name means.
    pub(super) fn late(looks_up: &AtomicBool, waited: Duration) -> Self {
        if looks_up.load(Ordering::Relaxed) {
            Self::NotLookedUp(waited)
        } else {
            Self::Timeout(waited)
        }
    }

    /// Whether the server was there, and this statement is what failed or ran out of time.
    #[must_use]
    pub fn is_of_statement(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.as_db_error().is_some())
    }

    /// Whether the server refused a text, of ours or of its own, that one of the two encodings can't
    /// spell: the database's is not UTF-8.
    #[must_use]
    pub fn is_of_encoding(&self) -> bool {
        matches!(self, Self::Postgres(error) if spells_in_vain(error))
    }

    /// Whether the server gave up a statement that took too long.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code() == Some(&SqlState::QUERY_CANCELED))
    }
}

pub(super) fn spells_in_vain(error: &tokio_postgres::Error) -> bool {
    let code = error.code();
    code == Some(&SqlState::UNTRANSLATABLE_CHARACTER)
        || code == Some(&SqlState::CHARACTER_NOT_IN_REPERTOIRE)
}

/// What `rowcast.read_log` raises when retention has passed the place that it is asked about.
const FORGOTTEN: &str = "RC007";

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if code.code() == FORGOTTEN => Self::Forgotten,
            _ => Self::Postgres(error),
        }
    }
}

/// What to do about a server that takes no writes.
const ON_THE_PRIMARY: &str = "a hot standby, or read-only by default; Rowcast works on the primary: \
     name that one, or all of them, as in postgres://rowcast_service@one,two/app";

/// What to do about a place where nobody accepts a connection.
const NOBODY: &str =
    "nobody answers there, or a firewall swallows what is sent; database.connect_timeout_ms";

/// What to do where there is no connection left for this role or at all.
const TOO_MANY: &str = "each `rowcast serve` takes up to database.pool_size + calls.running + 1: \
     allow it so many, or lower those";

/// What to do about a server that shows the very certificate that is to vouch for others. libpq takes it.
const OWN_AUTHORITY: &str = "the server's certificate says CA:TRUE, as `openssl req -x509` makes it: \
     give it one that says CA:FALSE";

/// What was wrong, where the sentence has said already with what.
fn bare(error: &DatabaseError) -> String {
    match error {
        DatabaseError::Postgres(error) => describe(error),
        DatabaseError::Timeout(time) => format!(
            "it did not let us in within {} ms (database.connect_timeout_ms)",
            time.as_millis()
        ),
        other => other.to_string(),
    }
}

/// tokio-postgres says only "db error" by itself; what a first start runs into gets its remedy.
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    describe_as(
        error,
        "connect as rowcast_service, or as a role that was granted it",
    )
}

/// The same with the server's details, which may hold values, with the functions that it happened in, and
/// with what a DBA's role must be who was denied something.
#[must_use]
pub fn describe_to_dba(error: &tokio_postgres::Error, denied: &str) -> String {
    let mut text = describe_as(error, denied);
    let Some(db) = error.as_db_error() else {
        return text;
    };
    if let Some(detail) = db.detail() {
        text = format!("{text}: {detail}");
    }
    // Somebody's event trigger may have failed in the middle of our SQL. Errors of ours say what they mean.
    if !db.code().code().starts_with("RC") {
        let functions = db.where_().unwrap_or_default().lines();
        for function in functions.filter(|line| line.contains(" function ")) {
            text = format!("{text}; in {function}");
        }
    }
    text
}

fn describe_as(error: &tokio_postgres::Error, denied: &str) -> String {
    let Some(db) = error.as_db_error() else {
        let Some(source) = std::error::Error::source(error) else {
            return error.to_string();
        };
        let by_itself = |source: &std::io::Error| source.raw_os_error().is_none();
        let timed_out = source.downcast_ref().filter(|source| by_itself(source));
        let source = source.to_string();
        let hint = match timed_out.map(std::io::Error::kind) {
            // What tokio-postgres says when nobody has accepted in time.
            Some(ErrorKind::TimedOut) => format!(" ({NOBODY})"),
            // And of a server that is not read-write.
            _ if source == "database does not allow writes" => format!(" ({ON_THE_PRIMARY})"),
            _ if source.contains("CaUsedAsEndEntity") => format!(" ({OWN_AUTHORITY})"),
            _ => String::new(),
        };
        return format!("{error}: {source}{hint}");
    };
    let hint = match db.code().code() {
        "3F000" | "42883" | "42P01" if db.message().contains("rowcast") => {
            Some("this database has no schema of Rowcast's, or an older one: run `rowcast migrate`")
        }
        // Read-only, which is a hot standby mostly.
        "25006" => Some(ON_THE_PRIMARY),
        // Where serializable is the default, a standby says no more than this.
        "0A000" if db.message().contains("hot standby") => Some(ON_THE_PRIMARY),
        "53300" => Some(TOO_MANY),
        // Who creates is rowcast_owner, whoever migrates.
        "42501" if db.message().contains("for tablespace") => Some(
            "it is what default_tablespace says here: `grant create on tablespace … to rowcast_owner`",
        ),
        // At the door: nothing but CONNECT is asked for there.
        "42501"
            if db.parsed_severity() == Some(Severity::Fatal)
                && db.message().contains("for database") =>
        {
            Some("it lacks CONNECT: `grant connect on database … to rowcast_service`")
        }
        "42501" => Some(denied),
        _ => db.hint(),
    };
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{} [{}]{hint}", db.message(), db.code().code())
}

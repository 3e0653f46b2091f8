//! Calls of the functions that a DBA lists: two statements in one transaction and one snapshot, in a
//! single round trip, cancelled when nobody waits for the answer any more.
//! Hands answers with their bookmark over to `connection::call`. It must never run on the connections
//! that admission needs, nor leave a function running for nobody.

use super::cancel::Canceller;
use super::connections::Connections;
use super::error::spells_in_vain;
use super::servers::Servers;
use super::turns::{Begun, Turns};
use super::{Database, DatabaseError, Mode, Param, first};
use crate::config;
use crate::counts::{Counts, Full};
use deadpool_postgres::Object;
use futures_util::future::join4;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::Type;

const BEGIN_CALL: &str = "select rowcast.begin_call($1, $2::text::jsonb, $3, $4, $5)";
const CALL: &str = "select problem, data, bookmark from rowcast.call($1, $2)";

/// Before the second attempt of a call that collided, at most; with each more as much again.
const COLLIDED: Duration = Duration::from_millis(10);

/// Lines of an error's context that are logged: the innermost say where it is.
const PLACES: usize = 3;

/// What is asked for, and by whom.
#[derive(Clone, Copy)]
pub struct CallQuestion<'a> {
    pub name: &'a str,
    /// JSON text: an object, or the caller is told.
    pub args: &'a str,
    /// JSON text.
    pub claims: &'a str,
    /// The claim `sub`.
    pub user: Option<&'a str>,
    /// Under which version of rules and revocations the caller was let in, if before.
    pub version: Option<i64>,
    /// Seconds.
    pub leeway: u64,
}

/// An answer.
#[derive(Debug)]
pub struct Called {
    /// JSON text.
    pub data: String,
    /// The place at which it is true.
    pub bookmark: String,
}

/// Why there is none.
#[derive(Debug)]
pub enum Failed {
    /// For this caller there is no such function; why, for operators.
    Unknown(String),
    Revoked,
    /// The rule that says whether they may failed.
    Rule(String),
    /// The database's encoding can't hold the claims.
    Claims,
    /// In words for the caller.
    Arguments(String),
    /// The arguments hold a number of more than a double's size.
    Numbers,
    Timeout,
    TooLarge,
    /// With other writers, at every attempt.
    Collided,
    /// The function failed.
    Raised {
        sqlstate: String,
        /// Raised on purpose, for the caller.
        message: Option<String>,
        /// Where, without values.
        place: String,
    },
    /// As many run and wait as may, of all or of this user.
    Full,
    Database(DatabaseError),
}

impl From<DatabaseError> for Failed {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<Full> for Failed {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// The connections of calls, and how many may want one.
#[derive(Clone, Debug)]
pub(super) struct CallPool {
    pool: Connections,
    canceller: Canceller,
    /// Calls that run or wait, by user. Those without a name have places together.
    inside: Counts<String>,
    turns: Turns,
    begin: Arc<str>,
    settings: config::Calls,
    pool_wait: Duration,
    cancel_timeout: Duration,
}

impl CallPool {
    pub fn new(
        servers: &Servers,
        database: &config::Database,
        settings: &config::Calls,
    ) -> Result<Self, DatabaseError> {
        Ok(Self {
            pool: servers.pool("calls.running", settings.running, database.pool_wait)?,
            canceller: Canceller::of(servers),
            inside: Counts::default(),
            turns: Turns::new(settings.running),
            begin: Mode::Call.begin(database.statement_timeout).into(),
            settings: settings.clone(),
            pool_wait: database.pool_wait,
            cancel_timeout: database.connect_timeout,
        })
    }

    pub fn forget(&self) {
        self.pool.forget();
    }

    async fn call(&self, question: CallQuestion<'_>) -> Result<Called, Failed> {
        if !is_name(question.name) {
            return Err(Failed::Unknown("not a name".to_owned()));
        }
        if holds_huge_number(question.args) {
            return Err(Failed::Numbers);
        }
        let user = question.user.unwrap_or_default().to_owned();
        let most = self.settings.running + self.settings.waiting;
        let share = self.settings.per_connection;
        let _inside = self.inside.enter_fairly(user, most, share)?;
        let turn = self
            .turns
            .take(question.user, question.name, self.pool_wait);
        let turn = turn.await.ok_or(Failed::Full)?;
        let client = self.pool.get().await?;
        let running = Running {
            client: Some(client),
            canceller: self.canceller.clone(),
            _turn: turn.begin(),
        };
        let end = Instant::now() + self.settings.timeout;
        for attempt in 1.. {
            let left = end.saturating_duration_since(Instant::now());
            match self.attempt(&running, question, left).await {
                Err(Failed::Collided) if attempt < self.settings.attempts => {
                    let share = rand::random_range(0.0..1.0);
                    let times = u32::try_from(attempt).unwrap_or(u32::MAX);
                    tokio::time::sleep(COLLIDED.saturating_mul(times).mul_f64(share)).await;
                }
                // Nobody knows what such a connection still does: it is cut, not used again.
                Err(Failed::Database(error)) => return Err(Failed::Database(error)),
                done => {
                    running.done();
                    return done;
                }
            }
            if Instant::now() >= end {
                break;
            }
        }
        running.done();
        Err(Failed::Timeout)
    }

    async fn attempt(
        &self,
        running: &Running,
        question: CallQuestion<'_>,
        left: Duration,
    ) -> Result<Called, Failed> {
        let Some(client) = &running.client else {
            return Err(DatabaseError::Answer("a call without a connection").into());
        };
        let leeway = i64::try_from(question.leeway).unwrap_or(i64::MAX);
        // Nought would mean no limit at all.
        let left_ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX).max(1);
        let most = i64::try_from(self.settings.result_bytes).unwrap_or(i64::MAX);
        let begin: [Param<'_>; 5] = [
            (&question.name, Type::TEXT),
            (&question.claims, Type::TEXT),
            (&leeway, Type::INT8),
            (&question.version, Type::INT8),
            (&left_ms, Type::INT8),
        ];
        let call: [Param<'_>; 2] = [(&question.args, Type::TEXT), (&most, Type::INT8)];
        let asked = join4(
            client.batch_execute(&self.begin),
            client.query_typed(BEGIN_CALL, &begin),
            client.query_typed(CALL, &call),
            client.batch_execute("commit"),
        );
        // The server gives up first; a dead link is noticed later.
        let patience = left + self.cancel_timeout;
        let Ok((begun, verdict, called, committed)) = tokio::time::timeout(patience, asked).await
        else {
            return Err(DatabaseError::Timeout(patience).into());
        };
        begun.map_err(DatabaseError::from)?;
        let verdict = verdict.map_err(|error| {
            if spells_in_vain(&error) {
                return Failed::Claims;
            }
            // A table that its rule read was rewritten meanwhile.
            if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) {
                return Failed::Collided;
            }
            DatabaseError::from(error).into()
        })?;
        match first(&verdict)?.try_get(0).map_err(DatabaseError::from)? {
            "ok" => {}
            "revoked" => return Err(Failed::Revoked),
            // As rowcast.rule_failed begins it.
            why if why.starts_with("the ") => return Err(Failed::Rule(why.to_owned())),
            why => return Err(Failed::Unknown(why.to_owned())),
        }
        let rows = called.map_err(|error| {
            if spells_in_vain(&error) && !question.args.is_ascii() {
                let problem = "the arguments hold a character that the database's encoding lacks";
                return Failed::Arguments(problem.to_owned());
            }
            failed(error)
        })?;
        committed.map_err(failed)?;
        let row = first(&rows)?;
        let called = || {
            Ok::<_, tokio_postgres::Error>(match row.try_get(0)? {
                Some(problem) => Err(Failed::Arguments(problem)),
                None => Ok(Called {
                    data: row.try_get(1)?,
                    bookmark: row.try_get(2)?,
                }),
            })
        };
        called().map_err(DatabaseError::from)?
    }
}

/// A connection with a call on it. Dropped before its end, the call is cancelled.
struct Running {
    client: Option<Object>,
    canceller: Canceller,
    _turn: Begun,
}

impl Running {
    /// Gives the connection back.
    fn done(mut self) {
        self.client = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let cancel = client.cancel_token();
            // Its place in the pool is free only then.
            self.canceller
                .cancel(cancel, move || drop(Object::take(client)));
        }
    }
}

/// What `callable_name` lets stand in `rowcast.callable`. A NUL would be an error to PostgreSQL, and
/// the connection in doubt.
fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(letter)
}

/// Whether a number in this JSON has a larger exponent than a double can have, 308. PostgreSQL takes
/// `1e131071` and writes out all of its digits: an array of them that is one message long, and a function
/// that answers with it, were 3 GB in the server, and no timeout ended it.
fn holds_huge_number(json: &str) -> bool {
    let (mut bytes, mut is_text) = (json.bytes().peekable(), false);
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if is_text => drop(bytes.next()),
            b'"' => is_text = !is_text,
            b'e' | b'E' if !is_text => {
                bytes.next_if(|sign| b"+-".contains(sign));
                let mut exponent = 0_u32;
                while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
                    exponent = exponent.saturating_mul(10) + u32::from(digit - b'0');
                    if exponent > 308 {
                        return true;
                    }
                }
            }
            _ => {}
        }
    }
    false
}

/// What an error of a function, or of its commit, means.
fn failed(error: tokio_postgres::Error) -> Failed {
    let Some(db) = error.as_db_error() else {
        return DatabaseError::from(error).into();
    };
    let code = db.code().code();
    match code {
        "57014" => Failed::Timeout,
        "RC008" => Failed::TooLarge,
        "40001" | "40P01" => Failed::Collided,
        // The connection, resources, an operator's hand.
        _ if ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            DatabaseError::from(error).into()
        }
        _ => {
            let on_purpose = code == "P0001" || code.starts_with("RC1");
            Failed::Raised {
                sqlstate: code.to_owned(),
                message: on_purpose.then(|| db.message().to_owned()),
                place: place(db),
            }
        }
    }
}

/// Where a function failed, in names alone: messages, details and statements may hold values.
fn place(error: &DbError) -> String {
    let context = error.where_().unwrap_or_default().lines();
    let functions = context.filter(|line| {
        let names = ["PL/pgSQL function ", "SQL function "];
        names.iter().any(|start| line.starts_with(start)) && !line.contains(" rowcast.call(")
    });
    let mut places: Vec<&str> = functions.take(PLACES).collect();
    places.extend(
        [
            error.schema(),
            error.table(),
            error.column(),
            error.constraint(),
        ]
        .into_iter()
        .flatten(),
    );
    places.join("; ")
}

impl Database {
    /// Calls a listed function.
    ///
    /// # Errors
    /// Why there is no answer. Nothing was written then, unless the connection was lost at the commit.
    pub async fn call(&self, question: CallQuestion<'_>) -> Result<Called, Failed> {
        self.calls.call(question).await
    }

    /// Those of the names by which nobody can call.
    ///
    /// # Errors
    /// The database.
    pub async fn not_callable(&self, names: &[&str]) -> Result<Vec<String>, DatabaseError> {
        let sql = "select rowcast.not_callable($1)";
        let rows = self.read(sql, &[(&names, Type::TEXT_ARRAY)]).await?;
        Ok(first(&rows)?.try_get(0)?)
    }

    /// Calls that run or wait now.
    #[must_use]
    pub fn calls_inside(&self) -> usize {
        self.calls.inside.all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_huge_by_its_exponent_and_no_text_is() {
        for (json, huge) in [
            (r#"{"a":1e131071}"#, true),
            (r#"{"a":[1.5E+309]}"#, true),
            (r#"{"a":1e-00309}"#, true),
            (r#"{"a":"\"","b":1e999}"#, true),
            (r#"{"a":1e308,"b":1e-308,"c":1E+5}"#, false),
            (r#"{"a":true,"b":false,"c":"1e131071","1e999":"\\"}"#, false),
            ("", false),
        ] {
            assert_eq!(holds_huge_number(json), huge, "{json}");
        }
    }
}

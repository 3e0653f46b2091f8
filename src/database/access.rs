//! Who may hear what, as SQL answers it: for one at a connect, for many when rules have changed.
//! Hands answers over to admission and the recheck, and what has changed to the listener.
//! It must never mix the answers of two snapshots under one version.

use super::values::Sent;
use super::{Database, DatabaseError, Listening, Mode, Param};
use crate::hub::{Access, Identity};
use crate::report;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::types::Type;

/// A question: may this identity be here, and in which rooms?
#[derive(Clone, Debug)]
pub struct AccessQuestion<'a> {
    pub identity: &'a Identity,
    /// Nothing if it is only asked who they are.
    pub rooms: Option<&'a [Arc<str>]>,
    /// The version under which they were let in before.
    pub version: Option<i64>,
    /// Whether a session is to be exchanged for claims again.
    pub again: bool,
}

/// What SQL says to one question.
#[derive(Clone, Debug)]
pub struct AccessAnswer {
    /// The version of rules and revocations that the answer was made under.
    pub version: i64,
    /// JSON text; nothing if the session is none any more, or the database's encoding can't hold them.
    pub claims: Option<String>,
    pub revoked: bool,
    /// Rooms they are in without asking.
    pub home: Vec<Arc<str>>,
    /// Which of the rooms asked for they may join, home rooms left out.
    pub allowed: Vec<Arc<str>>,
    /// What a rule's function failed with: then nothing else here counts.
    pub failed: Option<String>,
    /// What a room's rule failed with, which counts as no.
    pub refusing: Option<String>,
}

impl AccessAnswer {
    /// Whether a room is theirs.
    #[must_use]
    pub fn grants(&self, room: &Arc<str>) -> bool {
        self.home.contains(room) || self.allowed.contains(room)
    }
}

impl Database {
    /// Asks for many in one statement and one snapshot, which may take `within`; answers in the order
    /// of the questions. `leeway` in seconds.
    ///
    /// # Errors
    /// The database, or a rule's function that ran out of time.
    pub async fn access(
        &self,
        asked: &[AccessQuestion<'_>],
        leeway: u64,
        within: Duration,
    ) -> Result<Vec<AccessAnswer>, DatabaseError> {
        let (text, leeway) = (to_text(asked), i64::try_from(leeway).unwrap_or(i64::MAX));
        let sql = "select version, claims, revoked, home, allowed, failed, refusing \
                   from rowcast.access($1::text::jsonb, $2)";
        let params: [Param; 2] = [(&text, Type::TEXT), (&leeway, Type::INT8)];
        report::statement("access");
        let rows = self.ask(Mode::Read, within, sql, &params).await?;
        if rows.len() != asked.len() {
            return Err(DatabaseError::Answer("rowcast.access left questions out"));
        }
        let list = |rooms: Vec<String>| rooms.into_iter().map(Into::into).collect();
        let answers = rows.iter().map(|row| {
            Ok(AccessAnswer {
                version: row.try_get(0)?,
                claims: row.try_get(1)?,
                revoked: row.try_get::<_, Option<bool>>(2)?.unwrap_or(false),
                home: list(row.try_get(3)?),
                allowed: list(row.try_get(4)?),
                failed: row.try_get(5)?,
                refusing: row.try_get(6)?,
            })
        });
        answers.collect()
    }
}

/// Claims and cookies are JSON already: they are put in as they are, if they are ASCII.
fn to_text(asked: &[AccessQuestion<'_>]) -> String {
    let mut text = String::from("[");
    for (index, one) in asked.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let session = one.identity.session.as_deref().filter(|_| one.again);
        let session = Sent::json(session.unwrap_or("null"));
        let version = one.version.map_or("null".to_owned(), |v| v.to_string());
        let rooms = one.rooms.map(|rooms| rooms.iter().map(|room| Sent(room)));
        let rooms = crate::event::to_json(&rooms.map(Iterator::collect::<Vec<_>>));
        let claims = Sent::json(&one.identity.claims);
        let _ = write!(
            text,
            "{comma}{{\"claims\":{claims},\"session\":{session},\"rooms\":{rooms},\
             \"version\":{version}}}"
        );
    }
    text + "]"
}

impl Listening {
    /// How rules and revocations stand, and who was revoked since a version. Asked on the listening
    /// connection: a pool that is busy with rules must not keep a revocation from being heard.
    ///
    /// # Errors
    /// The connection.
    pub async fn access(&self, since: i64) -> Result<Access, DatabaseError> {
        let sql = "select s.access_version, s.rules_version, r.sub, r.version \
                   from rowcast.setting s left join rowcast.revocation r on r.version > $1";
        let rows = self.query_typed(sql, &[(&since, Type::INT8)]).await?;
        let mut access = Access::default();
        for row in &rows {
            (access.version, access.rules) = (row.try_get(0)?, row.try_get(1)?);
            if let Some(user) = row.try_get(2)? {
                access.revoked.insert(user, row.try_get(3)?);
            }
        }
        Ok(access)
    }
}

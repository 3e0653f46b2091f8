//! What operators ask the database, in one statement, and which node it says it talks to.
//! Hands JSON over to the console as it is. It must never hold a connection of the pool for longer
//! than any statement may take.

use super::rows::first;
use super::{Database, DatabaseError, Param};
use std::sync::OnceLock;
use tokio_postgres::types::Type;

/// Longest name of a host that is shown; Postgres cuts names of applications at 63 bytes.
const HOST_BYTES: usize = 40;

/// This process, as it calls itself in `pg_stat_activity` and in the console: `host:process`.
#[must_use]
pub fn node() -> &'static str {
    static NODE: OnceLock<String> = OnceLock::new();
    NODE.get_or_init(|| {
        let host = nix::unistd::gethostname();
        let host = host.map_or_else(|_| "?".into(), |host| host.to_string_lossy().into_owned());
        // It is put into a statement.
        let plain = |letter: &char| letter.is_ascii_alphanumeric() || "-._".contains(*letter);
        let host: String = host.chars().filter(plain).take(HOST_BYTES).collect();
        format!("{host}:{}", std::process::id())
    })
}

impl Database {
    /// Failures, log, leader, drift and paused channels as JSON text, at most so many rows of each
    /// (see `sql/functions/rowcast.overview.sql`).
    ///
    /// # Errors
    /// The database.
    pub async fn overview(&self, rows: usize) -> Result<String, DatabaseError> {
        let rows = i32::try_from(rows).unwrap_or(i32::MAX);
        let sql = "select rowcast.overview($1)::text";
        let params: [Param; 1] = [(&rows, Type::INT4)];
        Ok(first(&self.read(sql, &params).await?)?.try_get(0)?)
    }
}

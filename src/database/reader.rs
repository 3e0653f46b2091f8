//! Durable readers, as the database keeps them: where each stands, and how far each has come since.
//! Hands places over to connections. It must never move one backwards; that is judged in SQL, where
//! all nodes meet.

use super::values::Sent;
use super::{Database, DatabaseError, Param, first};
use serde::Serialize;
use std::time::Duration;
use tokio_postgres::types::Type;

/// A reader that has come as far as this.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mark<'a> {
    #[serde(rename = "sub", serialize_with = "Sent::serialize_str")]
    pub user: &'a str,
    #[serde(serialize_with = "Sent::serialize_str")]
    pub name: &'a str,
    pub bookmark: &'a str,
    /// Only if all up to here was acknowledged.
    pub after: Option<&'a str>,
}

/// What became of a mark.
#[derive(Clone, Debug)]
pub struct Written {
    /// Where the reader stands; nothing if there is none.
    pub bookmark: Option<String>,
    /// Until it may be written; nought if there is nothing left to write.
    pub wait: Duration,
}

impl Database {
    /// Where a reader stands; nothing if it is not known.
    ///
    /// # Errors
    /// The database.
    pub async fn reader(&self, user: &str, name: &str) -> Result<Option<String>, DatabaseError> {
        let sql = "select rowcast.reader_place($1, $2)";
        let params: [Param; 2] = [(&user, Type::TEXT), (&name, Type::TEXT)];
        Ok(first(&self.read(sql, &params).await?)?.try_get(0)?)
    }

    /// Makes a reader, unless it is known; where it stands, or nothing if its user has too many.
    ///
    /// # Errors
    /// The database.
    pub async fn open_reader(
        &self,
        user: &str,
        name: &str,
        bookmark: &str,
    ) -> Result<Option<String>, DatabaseError> {
        let sql = "select rowcast.open_reader($1, $2, $3)";
        let params: [Param; 3] = [
            (&user, Type::TEXT),
            (&name, Type::TEXT),
            (&bookmark, Type::TEXT),
        ];
        Ok(first(&self.write(sql, &params).await?)?.try_get(0)?)
    }

    /// Moves readers on, each at most once in `pause` on whichever node; in the order of the marks.
    ///
    /// # Errors
    /// The database: then none is known to be written.
    pub async fn acknowledge(
        &self,
        marks: &[Mark<'_>],
        pause: Duration,
    ) -> Result<Vec<Written>, DatabaseError> {
        let sql = "select bookmark, wait_ms from rowcast.acknowledge( \
                   $1::text::jsonb, $2 * interval '1 ms') order by place";
        let text = crate::event::to_json(&marks);
        let pause = i32::try_from(pause.as_millis()).unwrap_or(i32::MAX);
        let params: [Param; 2] = [(&text, Type::TEXT), (&pause, Type::INT4)];
        let rows = self.write(sql, &params).await?;
        if rows.len() != marks.len() {
            return Err(DatabaseError::Answer(
                "rowcast.acknowledge left readers out",
            ));
        }
        let written = rows.iter().map(|row| {
            let wait: i64 = row.try_get(1)?;
            Ok(Written {
                bookmark: row.try_get(0)?,
                wait: Duration::from_millis(u64::try_from(wait).unwrap_or(0)),
            })
        });
        written.collect()
    }
}

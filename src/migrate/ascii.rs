//! What migrations say, in letters that every encoding of a server has: it converts all that it is sent,
//! comments as well, and LATIN2 has no µ. Hands over to refinery, which asks a client for no more than this.
//! It must never change what refinery compares: checksums are those of the files as they are.

use refinery::{AsyncMigrate, Migration};
use refinery_core::traits::r#async::{AsyncQuery, AsyncTransaction};
use tokio_postgres::{Client, Error};

/// A client that is sent nothing else.
pub struct Ascii<'a>(pub &'a mut Client);

impl AsyncTransaction for Ascii<'_> {
    type Error = Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, Error> {
        let queries: Vec<String> = queries.map(ascii).collect();
        self.0.execute(queries.iter().map(String::as_str)).await
    }
}

impl AsyncQuery<Vec<Migration>> for Ascii<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, Error> {
        AsyncQuery::query(self.0, query).await
    }
}

impl AsyncMigrate for Ascii<'_> {}

/// A released migration is never edited, and one has such a letter, in a comment.
pub fn ascii(text: &str) -> String {
    text.replace(|letter: char| !letter.is_ascii(), "?")
}

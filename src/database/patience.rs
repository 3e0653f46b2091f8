//! Locks: a transaction that would wait long gives up, lets the application's writers pass, and
//! tries again. Hands the result, or the last error, back to `migrate` and `rowcast triggers`.
//! It must never hold one lock while it pauses.

use rand::RngExt;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Transaction};

/// Writers wait behind us for so long: they will not have given up.
pub const LOCK_TIMEOUT_MS: u32 = 2000;

/// About a minute and a half in all.
pub const TRIES: u32 = 30;

/// How long and how often to wait for locks.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Milliseconds that a statement waits for a lock, and makes the table's writers wait with it.
    pub lock_timeout: u32,
    /// How often it tries for the lock.
    pub tries: u32,
    /// Tells whoever watches what is waited for.
    pub say: fn(&str),
}

/// Who has the advisory lock of this key here.
const HOLDER: &str = "select coalesce(string_agg(l.pid::text, ', '), 'none now') \
    from pg_catalog.pg_locks l where l.locktype = 'advisory' and l.granted \
      and l.classid = 0 and l.objid = $1::bigint::oid and l.objsubid = 1 and l.database = \
        (select d.oid from pg_catalog.pg_database d where d.datname = current_database())";

/// Between two tries: long enough for the writers that piled up behind us to get through, and never
/// the same, so that we don't keep step with a job that runs at intervals.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 200..=1000;

impl Default for Patience {
    fn default() -> Self {
        Self {
            lock_timeout: LOCK_TIMEOUT_MS,
            tries: TRIES,
            say: |_| (),
        }
    }
}

impl Patience {
    /// The setting, for a statement that is not of [`Patience::hold`].
    #[must_use]
    pub fn lock_timeout(&self) -> String {
        format!("lock_timeout = {}", self.lock_timeout)
    }

    /// Runs `work` in a transaction, again if a lock isn't to be had. It returns its result, and
    /// whether to commit.
    ///
    /// # Errors
    /// The first error that is not about locks, or the last one.
    pub async fn hold<T>(
        &self,
        client: &mut Client,
        what: &str,
        mut work: impl AsyncFnMut(&Transaction<'_>) -> Result<(T, bool), Error>,
    ) -> Result<T, Error> {
        let mut number = 1;
        loop {
            match self.once(client, &mut work).await {
                Err(error) if self.again(what, number, &error).await => number += 1,
                result => return result,
            }
        }
    }

    /// The same for SQL text.
    ///
    /// # Errors
    /// As [`Patience::hold`].
    pub async fn run(&self, client: &mut Client, what: &str, text: &str) -> Result<(), Error> {
        let text = format!("set local {};\n{text}", self.lock_timeout());
        let mut number = 1;
        loop {
            // Not by `hold`, whose future is not Send. A transaction that is dropped before its
            // commit is rolled back.
            let done = async {
                let transaction = client.transaction().await?;
                transaction.batch_execute(&text).await?;
                transaction.commit().await
            };
            match done.await {
                Err(error) if self.again(what, number, &error).await => number += 1,
                result => return result,
            }
        }
    }

    /// One at a time runs this command in a database: waits for whoever does, and says so.
    ///
    /// # Errors
    /// The connection.
    pub async fn turn(&self, client: &Client, key: i64, command: &str) -> Result<(), Error> {
        let free = "select pg_catalog.pg_try_advisory_lock($1)";
        if client.query_one(free, &[&key]).await?.try_get(0)? {
            return Ok(());
        }
        let holder: String = client.query_one(HOLDER, &[&key]).await?.try_get(0)?;
        (self.say)(&format!(
            "waiting for another `{command}` to end (process {holder} of the server)"
        ));
        let take = "select pg_catalog.pg_advisory_lock($1)";
        client.execute(take, &[&key]).await.map(drop)
    }

    /// Says what failed and pauses before the next try; false if there is to be none.
    pub async fn again(&self, what: &str, number: u32, error: &Error) -> bool {
        let tries = self.tries;
        if number >= tries || !passes(error) {
            return false;
        }
        let pause = rand::rng().random_range(PAUSE_MS);
        let reason = error.as_db_error().map_or("", |db| db.message());
        let line = format!("{what}: {reason}; try {number} of {tries}, again in {pause} ms");
        (self.say)(&line);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        true
    }

    async fn once<T>(
        &self,
        client: &mut Client,
        work: &mut impl AsyncFnMut(&Transaction<'_>) -> Result<(T, bool), Error>,
    ) -> Result<T, Error> {
        let transaction = client.transaction().await?;
        let timeout = format!("set local {}", self.lock_timeout());
        transaction.batch_execute(&timeout).await?;
        match work(&transaction).await {
            Ok((result, true)) => transaction.commit().await.map(|()| result),
            Ok((result, false)) => transaction.rollback().await.map(|()| result),
            Err(error) => {
                // The first error is the one to tell of.
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }
}

/// Whether another try may have better luck.
fn passes(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        *code == SqlState::LOCK_NOT_AVAILABLE
            || *code == SqlState::T_R_DEADLOCK_DETECTED
            || *code == SqlState::T_R_SERIALIZATION_FAILURE
    })
}

//! A pool of connections to one of the servers, and what is wrong in words that name a setting.
//! Hands connections over to statements. It must never name a password.

use super::DatabaseError;
use deadpool_postgres::{Object, Pool, PoolError, TimeoutType};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Connections that are made when they are asked for, and kept.
#[derive(Clone, Debug)]
pub struct Connections {
    pub(super) pool: Pool,
    /// The setting that says how many.
    pub(super) size_key: &'static str,
    pub(super) server: Arc<str>,
    /// Whether who connects just now waits for what the server's name means.
    pub(super) looks_up: Arc<AtomicBool>,
}

impl Connections {
    /// One of them, as soon as one is free.
    ///
    /// # Errors
    /// None is in time, or could be made.
    pub async fn get(&self) -> Result<Object, DatabaseError> {
        let unreached = |error| DatabaseError::Unreached {
            server: self.server.to_string(),
            error: Box::new(error),
        };
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => unreached(error.into()),
            PoolError::Timeout(TimeoutType::Create) => {
                let time = self.pool.timeouts().create.unwrap_or_default();
                unreached(DatabaseError::late(&self.looks_up, time))
            }
            PoolError::Timeout(TimeoutType::Wait) => {
                let time = self.pool.timeouts().wait.unwrap_or_default();
                DatabaseError::Pool(format!(
                    "none of the {} ({}) came free within {} ms (database.pool_wait_ms)",
                    self.pool.status().max_size,
                    self.size_key,
                    time.as_millis()
                ))
            }
            other => DatabaseError::Pool(other.to_string()),
        })
    }

    /// Closes those that nobody uses.
    pub fn forget(&self) {
        self.pool.retain(|_, _| false);
    }
}

//! The old application's connection: plain SQL as a role that knows nothing of Rowcast.
//! Hands out a connection that lives, to the pages and to the writer. It must never keep one to a
//! server that is gone: visitors kill the database to see what happens.

use super::Failure;
use crate::database::describe;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use tokio_postgres::NoTls;

/// A page that is rendered, a statement that is run, the writer, and one to spare.
const CONNECTIONS: usize = 4;

#[derive(Clone)]
pub struct Application(Pool);

impl Application {
    /// Connects when it is first asked.
    pub fn new(url: &str) -> Result<Self, Failure> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(url.parse()?, NoTls, recycling);
        Ok(Self(Pool::builder(manager).max_size(CONNECTIONS).build()?))
    }

    pub async fn connection(&self) -> Result<Object, Failure> {
        let connection = self.0.get().await;
        connection.map_err(|error| match error {
            // The pool's own words are "db error".
            PoolError::Backend(error) => describe(&error).into(),
            other => other.into(),
        })
    }
}

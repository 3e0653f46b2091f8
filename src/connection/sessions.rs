//! Which cookies hold sessions of the application: names that SQL knows, remembered until its rules
//! change.
//! Hands them over to admission. It must never know a name longer than the rules that named it.

use crate::database::{Database, DatabaseError};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;

/// The names, as they were last read.
#[derive(Debug, Default)]
pub struct Cookies(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    names: Arc<[String]>,
    /// Of rules and revocations, as the answer saw them.
    version: i64,
    asked: Instant,
}

impl Cookies {
    /// The names under a version of the rules; asked for once by all who come together.
    ///
    /// # Errors
    /// The database.
    pub async fn names(
        &self,
        database: &Database,
        version: i64,
    ) -> Result<Arc<[String]>, DatabaseError> {
        let came = Instant::now();
        let mut known = self.0.lock().await;
        if let Some(known) = &*known
            && (known.version == version || known.asked >= came)
        {
            return Ok(Arc::clone(&known.names));
        }
        let asked = Instant::now();
        let (names, version) = database.session_cookies().await?;
        let names: Arc<[String]> = names.into();
        *known = Some(Known {
            names: Arc::clone(&names),
            version,
            asked,
        });
        Ok(names)
    }
}

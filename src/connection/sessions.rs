//! Which cookies hold sessions of the application: names that SQL knows, remembered until its rules
//! change.
//! Hands them over to admission. It must never know a name longer than the rules that named it.

use crate::database::{Database, DatabaseError};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;

const UNKNOWN: &str = "which cookies hold sessions could not be asked, a moment ago";

/// The names, as they were last asked for.
#[derive(Debug, Default)]
pub struct Cookies(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    /// Nothing if the database did not answer.
    names: Option<Arc<[String]>>,
    /// Of rules and revocations, as the answer saw them.
    version: i64,
    asked: Instant,
}

impl Cookies {
    /// The names under a version of the rules; asked for once by all who come together, and they get
    /// the same answer if that is none: a database that is silent is not waited for by each in turn.
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
        if let Some(known) = &*known {
            match &known.names {
                Some(names) if known.version == version || known.asked >= came => {
                    return Ok(Arc::clone(names));
                }
                None if known.asked >= came => return Err(DatabaseError::Answer(UNKNOWN)),
                _ => {}
            }
        }
        let asked = Instant::now();
        let found = database.session_cookies().await;
        let (names, version, found) = match found {
            Ok((names, version)) => {
                let names: Arc<[String]> = names.into();
                (Some(Arc::clone(&names)), version, Ok(names))
            }
            Err(error) => (None, version, Err(error)),
        };
        *known = Some(Known {
            names,
            version,
            asked,
        });
        found
    }
}

//! What benches measure by: a PostgreSQL, and the machine. Hands them over to the benches.
//! It must never know what is measured.

pub mod cluster;
pub mod machine;

use std::error::Error;

/// An error with what it came from: that of tokio-postgres keeps the server's words behind itself.
pub fn reasons(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        words.push_str(&format!(": {error}"));
        next = error.source();
    }
    words
}

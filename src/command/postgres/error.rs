//! Why there is no cluster, in the words of the system or of PostgreSQL's own programs.
//! Hands errors over to whoever wanted one. It must never keep back what the program said last.

use super::binaries::OLDEST;
use std::io;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No directory searched has a PostgreSQL that is new enough and runs.
    #[error(
        "found no PostgreSQL {} or newer; {install}\nlooked in:{searched}",
        OLDEST
    )]
    NotFound {
        /// One line a place, with what was wrong there.
        searched: String,
        /// The exact command that helps.
        install: String,
    },
    /// PostgreSQL refuses to run as root, and there is no other user to run it as.
    #[error("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")]
    NoUser,
    /// No temporary directory is short and open enough for the server and its socket.
    #[error("no temporary directory will do for PostgreSQL (tried:{0}); set TMPDIR to a short one")]
    NoDirectory(String),
    /// A file, a directory or a process could not be made.
    #[error("{what}: {source}")]
    System {
        /// What was being done, with the path.
        what: String,
        /// What the system answered.
        source: io::Error,
    },
    /// initdb or postgres said no; `output` are its own last words.
    #[error("{program} failed: {output}")]
    Failed {
        /// The program, as it is called.
        program: &'static str,
        /// The last lines that it printed.
        output: String,
    },
    /// Something took longer than [`Options::patience`](super::Options::patience).
    #[error("PostgreSQL did not {what} within {patience:?}: {output}")]
    Slow {
        /// What the server should have done: `answer` or `stop`.
        what: &'static str,
        /// For how long it was waited for: [`Options::patience`](super::Options::patience).
        patience: Duration,
        /// The last lines of the server's log.
        output: String,
    },
}

pub(super) fn failing(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let what = format!("{doing} {}", path.display());
    move |source| ClusterError::System { what, source }
}

pub(super) fn succeeded(program: &'static str, output: &Output) -> Result<(), ClusterError> {
    if output.status.success() {
        return Ok(());
    }
    let words = [&*output.stdout, &*output.stderr].concat();
    let output = last_lines(&String::from_utf8_lossy(&words));
    Err(ClusterError::Failed { program, output })
}

/// Enough to see what went wrong, little enough for a terminal.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

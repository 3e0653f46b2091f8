//! A throwaway PostgreSQL for the demo and the tests: made in a directory of its own, started,
//! stopped, crashed on request, and removed with everything in it when dropped.
//! `make` makes it, `copy` and `standby` out of another one, and `run` runs it; which binaries it runs
//! is `binaries`' question, as whom and where is `place`'s; what becomes of it when its owner dies
//! without a word is `leftovers`'.
//! It must never touch a server or a directory that it did not make itself, and never be open to
//! other users of the machine.
//!
//! Processes are plain `std::process` ones: a cluster is shared by tests that each have a Tokio
//! runtime of their own, and a child of Tokio's belongs to the runtime that started it.

mod binaries;
mod copy;
mod error;
mod leftovers;
mod make;
mod place;
mod run;
mod standby;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::unistd::User;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;

pub use error::ClusterError;
pub use leftovers::sweep;
pub use run::Mode;

/// The superuser that initdb makes.
pub const SUPERUSER: &str = "postgres";

/// How often a process is looked at whose end or readiness nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a cluster should be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds `initdb` and `postgres`; none: the newest that can be found.
    pub bin_dir: Option<PathBuf>,
    /// Further settings, as in postgresql.conf; they win over the cluster's own.
    pub settings: Vec<(String, String)>,
    /// Whether commits reach the disk (fsync, full_page_writes). Off is faster and still survives a
    /// crash of PostgreSQL, but not one of the machine.
    pub durable: bool,
    /// Whether to listen on a free port of 127.0.0.1 too, where a password is asked for
    /// ([`Cluster::password`]); without it only the socket, which other users cannot reach.
    pub tcp: bool,
    /// How long initdb, a start and a stop may take each.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bin_dir: None,
            settings: Vec::new(),
            durable: false,
            tcp: false,
            // A loaded machine with two cores needs about ten for the slowest of them.
            patience: Duration::from_secs(60),
        }
    }
}

/// A running (or stopped) cluster. Dropping it stops the server and removes the directory.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    bin_dir: PathBuf,
    version: u32,
    user: Option<User>,
    port: u16,
    password: String,
    // After the first start somebody may hold a URL, and the port has to stay.
    address_is_known: bool,
    server: Option<Child>,
    // The order matters: fields are dropped from top to bottom, and the guard must find nothing
    // left to do, while the lock says until the very end that somebody lives here.
    directory: TempDir,
    _guard: leftovers::Guard,
    _lock: File,
}

impl Cluster {
    /// A URL over the socket; needs no password, whoever the user. Only for processes of ours (or
    /// root's) user.
    pub fn url(&self, database: &str, user: &str) -> String {
        let socket = self.socket_dir().display().to_string();
        format!(
            "postgresql://{}@{}:{}/{}",
            quoted(user),
            quoted(&socket),
            self.port,
            quoted(database)
        )
    }

    /// A URL over TCP, if [`Options::tcp`] was asked for, with the given password, or the
    /// superuser's.
    pub fn tcp_url(&self, database: &str, user: &str, password: Option<&str>) -> Option<String> {
        let password = quoted(password.unwrap_or(&self.password));
        let (user, database, port) = (quoted(user), quoted(database), self.port);
        let url = format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}");
        self.options.tcp.then_some(url)
    }

    /// The superuser's password, which only TCP asks for.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The port on 127.0.0.1 with [`Options::tcp`]; else only a part of the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.path("socket")
    }

    /// Where `initdb`, `postgres` and, with most packages, `psql` and `pg_dump` lie.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// PostgreSQL's major version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The last lines of the server's log since its last start.
    pub fn log_end(&self) -> String {
        error::last_lines(&fs::read_to_string(self.log_path()).unwrap_or_default())
    }

    fn log_path(&self) -> PathBuf {
        self.path("log").join("server.log")
    }

    fn path(&self, part: &str) -> PathBuf {
        self.directory.path().join(part)
    }

    /// Those of a cluster that is made out of this one: these settings above its own, and no port.
    fn options_with(&self, settings: &[(&str, &str)]) -> Options {
        let more = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Options {
            bin_dir: Some(self.bin_dir.clone()),
            settings: self.options.settings.iter().cloned().chain(more).collect(),
            tcp: false,
            ..self.options.clone()
        }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = binaries::program(&self.bin_dir, name, self.user.as_ref());
        // Ours may be a directory that the server's user can't enter.
        command.current_dir(self.directory.path());
        command
    }
}

fn quoted(text: &str) -> impl std::fmt::Display {
    // A directory stays readable as far as a URL lets it.
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, RESERVED)
}

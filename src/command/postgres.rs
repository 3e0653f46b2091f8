//! A throwaway PostgreSQL for the demo and the tests: made in a directory of its own, started,
//! stopped, crashed on request, and removed with everything in it when dropped.
//! Which binaries it runs is `binaries`' question, as whom and where is `place`'s; what becomes of
//! it when its owner dies without a word is `leftovers`'.
//! It must never touch a server or a directory that it did not make itself, and never be open to
//! other users of the machine.
//!
//! Processes are plain `std::process` ones: a cluster is shared by tests that each have a Tokio
//! runtime of their own, and a child of Tokio's belongs to the runtime that started it.

mod binaries;
mod error;
mod leftovers;
mod place;
mod standby;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::RngExt;
use tempfile::TempDir;

use error::{failing, last_lines, succeeded};

pub use error::ClusterError;
pub use leftovers::sweep;

/// The superuser that initdb makes.
pub const SUPERUSER: &str = "postgres";

/// The socket's name is made of the port even if nobody listens on TCP.
const SOCKET_PORT: u16 = 5432;

/// How often a process is looked at whose end or readiness nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long a dropped cluster has to end by itself before it is killed.
const DROP_PATIENCE: Duration = Duration::from_secs(10);

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

/// The three ways in which PostgreSQL shuts down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Waits for everybody to disconnect.
    Smart,
    /// Disconnects everybody, then writes a checkpoint.
    Fast,
    /// Crashes: what was not flushed is lost, and the next start recovers.
    Immediate,
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
    /// Sweeps what dead owners left, makes a cluster and waits until it answers.
    ///
    /// # Errors
    /// Any [`ClusterError`]; nothing is left behind then.
    pub async fn start(options: Options) -> Result<Self, ClusterError> {
        let made = tokio::task::spawn_blocking(move || {
            sweep();
            Self::make(options, Self::initdb)
        });
        let mut cluster = made.await.map_err(|source| ClusterError::System {
            what: "making a cluster".into(),
            source: io::Error::other(source),
        })??;
        cluster.start_again().await?;
        Ok(cluster)
    }

    /// Everything up to the start: binaries, directories, and what `fill` puts there. Blocks.
    fn make(
        options: Options,
        fill: impl FnOnce(&Self) -> Result<(), ClusterError>,
    ) -> Result<Self, ClusterError> {
        let user = place::unprivileged_user()?;
        let (bin_dir, version) = binaries::find(options.bin_dir.as_deref(), user.as_ref())?;
        let directory = place::directory(user.as_ref())?;
        let lock =
            leftovers::mark(directory.path()).map_err(failing("marking", directory.path()))?;
        let guard = leftovers::Guard::over(directory.path())
            .map_err(failing("guarding", directory.path()))?;
        let password: String = {
            let mut random = rand::rng();
            (0..32)
                .map(|_| char::from(random.sample(rand::distr::Alphanumeric)))
                .collect()
        };
        let port = if options.tcp {
            place::free_port()?
        } else {
            SOCKET_PORT
        };
        let cluster = Self {
            options,
            bin_dir,
            version,
            user,
            port,
            password,
            address_is_known: false,
            server: None,
            directory,
            _guard: guard,
            _lock: lock,
        };
        for part in ["data", "socket", "log"] {
            cluster.make_private(part)?;
        }
        fill(&cluster)?;
        Ok(cluster)
    }

    fn initdb(&self) -> Result<(), ClusterError> {
        let password_file = self.path("socket").join("password");
        fs::write(&password_file, &self.password).map_err(failing("writing", &password_file))?;
        // macOS knows no C.UTF-8; C with UTF8 sorts and compares alike.
        let locale = if cfg!(target_os = "macos") {
            "C"
        } else {
            "C.UTF-8"
        };
        let output = self
            .program("initdb")
            .arg("--pgdata")
            .arg(self.path("data"))
            .arg("--pwfile")
            .arg(&password_file)
            .args([
                "--username",
                SUPERUSER,
                "--encoding=UTF8",
                "--no-sync",
                "--no-instructions",
            ])
            // The socket lies in a directory that only we can enter; a port is open to everybody.
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .arg(format!("--locale={locale}"))
            .output()
            .map_err(failing("running", &self.bin_dir.join("initdb")))?;
        fs::remove_file(&password_file).map_err(failing("removing", &password_file))?;
        succeeded("initdb", &output)
    }

    /// A directory that only the server's user can enter.
    fn make_private(&self, part: &str) -> Result<(), ClusterError> {
        let path = self.path(part);
        fs::create_dir(&path).map_err(failing("making", &path))?;
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&path, closed).map_err(failing("closing", &path))?;
        if let Some(user) = &self.user {
            let owner = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            chown(&path, owner.0, owner.1).map_err(failing("giving away", &path))?;
        }
        Ok(())
    }

    /// Starts the server again after [`Cluster::stop`] or [`Cluster::kill9`], at the same address,
    /// and waits until it answers. Does nothing if it runs.
    ///
    /// # Errors
    /// [`ClusterError::Failed`] with the end of the server's log, or [`ClusterError::Slow`].
    pub async fn start_again(&mut self) -> Result<(), ClusterError> {
        if self.pid().is_some() {
            return Ok(());
        }
        let deadline = Instant::now() + self.options.patience;
        let mut attempts = 0;
        self.spawn()?;
        loop {
            if self.answers().await {
                self.address_is_known = true;
                return Ok(());
            }
            if self.pid().is_none() {
                let output = self.log_end();
                // Backends of a killed server need a moment to notice; a port can be snatched by
                // somebody between our look and the server's.
                let shared_memory = output.contains("pre-existing shared memory block");
                let port_taken = output.contains("could not bind") && attempts < 5;
                if !(shared_memory || port_taken) || Instant::now() > deadline {
                    return Err(ClusterError::Failed {
                        program: "postgres",
                        output,
                    });
                }
                if port_taken && !self.address_is_known {
                    self.port = place::free_port()?;
                }
                attempts += 1;
                self.spawn()?;
            }
            if Instant::now() > deadline {
                let _ = self.stop(Mode::Immediate).await;
                return Err(self.slow("answer"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn spawn(&mut self) -> Result<(), ClusterError> {
        let log_path = self.log_path();
        let log = File::create(&log_path).map_err(failing("making", &log_path))?;
        let errors = log.try_clone().map_err(failing("opening", &log_path))?;
        let mut settings = vec![
            (
                "listen_addresses",
                if self.options.tcp { "127.0.0.1" } else { "" }.to_owned(),
            ),
            ("port", self.port.to_string()),
            (
                "unix_socket_directories",
                self.path("socket").display().to_string(),
            ),
            ("unix_socket_permissions", "0700".to_owned()),
            ("password_encryption", "scram-sha-256".to_owned()),
            // The log is read by us, for a failed start.
            ("logging_collector", "off".to_owned()),
            ("lc_messages", "C".to_owned()),
        ];
        if !self.options.durable {
            settings.push(("fsync", "off".to_owned()));
            settings.push(("full_page_writes", "off".to_owned()));
        }
        let mut server = self.program("postgres");
        server.arg("-D").arg(self.path("data"));
        for (name, value) in &settings {
            server.arg("-c").arg(format!("{name}={value}"));
        }
        for (name, value) in &self.options.settings {
            server.arg("-c").arg(format!("{name}={value}"));
        }
        // A group of its own: Ctrl-C is for the owner, who then shuts down in his order.
        server.process_group(0).stdout(log).stderr(errors);
        let child = server
            .spawn()
            .map_err(failing("running", &self.bin_dir.join("postgres")))?;
        self.server = Some(child);
        Ok(())
    }

    /// Whether the server lets the superuser in.
    async fn answers(&self) -> bool {
        let url = self.url("postgres", SUPERUSER);
        let attempt = tokio_postgres::connect(&url, tokio_postgres::NoTls);
        // A server that accepts and then says nothing must not stop the waiting.
        matches!(
            tokio::time::timeout(Duration::from_secs(5), attempt).await,
            Ok(Ok(_))
        )
    }

    /// Stops the server and waits for its end; the data stays. Does nothing if it does not run.
    ///
    /// # Errors
    /// [`ClusterError::Slow`] if it still runs after [`Options::patience`]; with [`Mode::Smart`]
    /// that means that somebody is still connected.
    pub async fn stop(&mut self, mode: Mode) -> Result<(), ClusterError> {
        self.signal(match mode {
            Mode::Smart => Signal::SIGTERM,
            Mode::Fast => Signal::SIGINT,
            Mode::Immediate => Signal::SIGQUIT,
        });
        self.ended().await
    }

    /// Kills the server with SIGKILL. Its backends notice by themselves a moment later.
    ///
    /// # Errors
    /// [`ClusterError::Slow`] if the system takes longer than [`Options::patience`].
    pub async fn kill9(&mut self) -> Result<(), ClusterError> {
        self.signal(Signal::SIGKILL);
        self.ended().await
    }

    async fn ended(&mut self) -> Result<(), ClusterError> {
        let deadline = Instant::now() + self.options.patience;
        while self.pid().is_some() {
            if Instant::now() > deadline {
                return Err(self.slow("stop"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) {
            // It can't be another's process: the child is not reaped before `pid` says so.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// The server's process id, or none if it does not run.
    pub fn pid(&mut self) -> Option<u32> {
        let server = self.server.as_mut()?;
        if let Ok(None) = server.try_wait() {
            return Some(server.id());
        }
        self.server = None;
        None
    }

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
        last_lines(&fs::read_to_string(self.log_path()).unwrap_or_default())
    }

    fn log_path(&self) -> PathBuf {
        self.path("log").join("server.log")
    }

    fn path(&self, part: &str) -> PathBuf {
        self.directory.path().join(part)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = binaries::program(&self.bin_dir, name, self.user.as_ref());
        // Ours may be a directory that the server's user can't enter.
        command.current_dir(self.directory.path());
        command
    }

    fn slow(&self, what: &'static str) -> ClusterError {
        let patience = self.options.patience;
        ClusterError::Slow {
            what,
            patience,
            output: self.log_end(),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Immediate: nobody will read this data again, and PostgreSQL still frees its shared memory.
        self.signal(Signal::SIGQUIT);
        let deadline = Instant::now() + DROP_PATIENCE;
        while self.pid().is_some() {
            if Instant::now() > deadline {
                self.signal(Signal::SIGKILL);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        leftovers::free_shared_memory(self.directory.path());
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

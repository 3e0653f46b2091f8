//! The server of a cluster as a process: started, waited for, stopped, crashed on request, and ended
//! when its cluster is dropped.
//! Hands back a server that answers, or the last words of one that does not.
//! It must never signal a process that is not the cluster's own.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::failing;
use super::{Cluster, ClusterError, LOOK_EVERY, SUPERUSER, leftovers, place};

/// How long a dropped cluster has to end by itself before it is killed.
const DROP_PATIENCE: Duration = Duration::from_secs(10);

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

impl Cluster {
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
    /// [`ClusterError::Slow`] if it still runs after [`Options::patience`](super::Options::patience); with [`Mode::Smart`]
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
    /// [`ClusterError::Slow`] if the system takes longer than [`Options::patience`](super::Options::patience).
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

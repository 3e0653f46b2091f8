//! One server as a process: started, found ready, stopped.
//! Hands over its address and process id. It must never leave one running.

use crate::peers::{Origin, Server};
use crate::source::{Flow, Writers};
use crate::stage::Stage;
use crate::yardstick::cluster::{PATIENCE, SECRET};
use crate::{Failure, floor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a server has to end before it is killed: longer than Rowcast's own drain.
const END: Duration = Duration::from_secs(15);

/// A running server.
pub struct Running {
    pub server: Server,
    pub address: SocketAddr,
    /// As it comes, or with a limit raised that would only make the bench slower.
    defaults: bool,
    url: String,
    child: Child,
    /// What the floor is told, and what it answers.
    floor: Option<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

/// Who makes the events of a measurement.
pub enum Source {
    Database(Writers),
    Floor,
}

impl Running {
    pub async fn start(stage: &Stage, server: Server, defaults: bool) -> Result<Self, Failure> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let url = stage.url(&server)?;
        let (child, floor) = spawn(server, address, &url, defaults).await?;
        Ok(Self {
            server,
            address,
            defaults,
            url,
            child,
            floor,
        })
    }

    /// The same again, at the same address, after [`Running::stop`].
    pub async fn start_again(&mut self) -> Result<(), Failure> {
        let spawned = spawn(self.server, self.address, &self.url, self.defaults).await?;
        (self.child, self.floor) = spawned;
        Ok(())
    }

    pub fn pid(&self) -> Result<u32, Failure> {
        self.child.id().ok_or_else(|| self.died())
    }

    /// Fails if it has ended by itself.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(_) => Err(self.died()),
        }
    }

    fn died(&self) -> Failure {
        format!("{} has ended by itself", self.server.name).into()
    }

    /// Has these events pushed, and returns when the last was written.
    pub async fn push(&mut self, source: &Source, flow: Flow) -> Result<(), Failure> {
        match (source, &mut self.floor) {
            (Source::Database(writers), _) => writers.write(flow).await,
            (Source::Floor, Some((orders, answers))) => {
                orders.write_all(floor::order(flow).as_bytes()).await?;
                answers.next_line().await?.ok_or("the floor has ended")?;
                Ok(())
            }
            (Source::Floor, None) => Err("only the floor pushes by itself".into()),
        }
    }

    /// Stops it gently, as a supervisor would.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        self.floor = None;
        if let Some(pid) = self.child.id() {
            let _ = kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM);
        }
        if timeout(END, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

type Spawned = (Child, Option<(ChildStdin, Lines<BufReader<ChildStdout>>)>);

async fn spawn(
    server: Server,
    address: SocketAddr,
    url: &str,
    defaults: bool,
) -> Result<Spawned, Failure> {
    let mut command = match server.origin {
        Origin::Floor => {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("--floor").arg(address.port().to_string());
            command.stdin(Stdio::piped());
            command
        }
        Origin::ListeningFloor => {
            let mut command = Command::new(std::env::current_exe()?);
            command
                .arg("--listening-floor")
                .arg(address.port().to_string());
            command
        }
        Origin::Rowcast => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
            command.arg("serve");
            command.env("ROWCAST__HTTP__LISTEN", address.to_string());
            command.env("ROWCAST__AUTH__HS256_SECRET", SECRET);
            // No peer writes a line for each connection.
            command.env("ROWCAST__LOG__LEVEL", "error");
            let dialect = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/push/socketio.toml");
            command.env("ROWCAST__HTTP__DIALECTS", dialect);
            if !defaults {
                command.env("ROWCAST__LIMITS__CONNECTS_PER_SECOND", "5000");
            }
            command
        }
        Origin::Peer { folder } => {
            let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
            let node = std::env::var_os("ROWCAST_BENCH_NODE").unwrap_or_else(|| "node".into());
            let mut command = Command::new(node);
            command.arg("server.mjs").current_dir(peers.join(folder));
            command.env("PORT", address.port().to_string());
            command.env("JWT_SECRET", SECRET);
            command
        }
    };
    command.env("DATABASE_URL", url).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| {
        let program = command.as_std().get_program().display().to_string();
        format!("{}: {program}: {error}", server.name)
    })?;
    let output = child.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(output).lines();
    if server.origin == Origin::Rowcast {
        ready(address, &mut child).await?;
    } else {
        let first = timeout(PATIENCE, lines.next_line()).await??;
        if first.as_deref() != Some("ready") {
            return Err(format!("{} did not say that it is ready", server.name).into());
        }
    }
    let floor = child.stdin.take().map(|orders| (orders, lines));
    Ok((child, floor))
}

/// Waits until `/readyz` says 200.
async fn ready(address: SocketAddr, child: &mut Child) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let ask = b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
            stream.write_all(ask).await?;
            let mut answer = [0; 12];
            if stream.read_exact(&mut answer).await.is_ok() && answer.ends_with(b" 200") {
                return Ok(());
            }
        }
        if Instant::now() > deadline || child.try_wait()?.is_some() {
            return Err("rowcast serve is not ready".into());
        }
        sleep(Duration::from_millis(10)).await;
    }
}

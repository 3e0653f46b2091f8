//! Servers: in this process on a free port, or as the real program.
//! Hands over addresses that answer. It must never return one that is not ready.

use super::{Database, PATIENCE, SECRET, documented, eventually, within};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use rowcast::app::{App, PartEnded, Socket};
use rowcast::config::{RawSettings, Settings};
use rowcast::connection::Gate;
use serde_json::Value;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Whatever has an address.
pub trait Served {
    /// `127.0.0.1:port`.
    fn address(&self) -> &str;
}

/// Wherever it is.
impl Served for String {
    fn address(&self) -> &str {
        self
    }
}

/// A service in this process.
pub struct Server {
    /// `http://127.0.0.1:port`.
    pub url: String,
    pub address: String,
    /// The inside: hub, seats, pulse, settings.
    pub gate: Arc<Gate>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), PartEnded>>,
}

impl Served for Server {
    fn address(&self) -> &str {
        &self.address
    }
}

/// So many milliseconds the tests give statements and the pool, in place of 2 s: a machine that stands
/// still for these fails nothing that is not about them.
const STATEMENT_MS: &str = "8000";

/// The settings of the tests: the defaults, our secret, patience with the database, short goodbyes.
pub fn settings(database: &Database) -> Settings {
    let overrides = [
        ("database.url", database.service_url.as_str()),
        ("database.statement_timeout_ms", STATEMENT_MS),
        ("database.pool_wait_ms", STATEMENT_MS),
        ("auth.hs256_secret", SECRET),
        ("http.listen", "127.0.0.1:0"),
        ("http.drain_ms", "3000"),
        ("http.spread_ms", "500"),
        ("sse.retry_ms", "100"),
        ("listener.backoff_max_ms", "200"),
    ];
    let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let raw = RawSettings::load(None, std::iter::empty(), &overrides);
    raw.and_then(Settings::check)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// For tests that are not about who answers in time: the service gives up no statement that takes long
/// on a loaded machine, nor anybody whom their test leaves unread meanwhile.
pub fn unhurried(settings: &mut Settings) {
    settings.database.statement_timeout = PATIENCE;
    settings.database.pool_wait = PATIENCE;
    settings.websocket.ping = PATIENCE * 10;
}

/// Opens a service on this database, with settings changed as the test wants them.
pub async fn serve(database: &Database, change: impl FnOnce(&mut Settings)) -> Server {
    let server = serve_unready(database, change).await;
    let gate = Arc::clone(&server.gate);
    eventually("the service is ready", async || {
        gate.pulse.check(&gate.settings.listener).ok()
    })
    .await;
    server
}

/// The same, for those who want to see it before it is ready.
pub async fn serve_unready(database: &Database, change: impl FnOnce(&mut Settings)) -> Server {
    let mut settings = settings(database);
    change(&mut settings);
    let socket = Socket::bind(&settings.http.listen)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let address = socket.address();
    let app = App::open(settings, socket)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let gate = Arc::clone(&app.gate);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(app.run(async {
        // A server that is dropped stops as well.
        let _ = stopped.await;
    }));
    Server {
        url: format!("http://{address}"),
        address,
        gate,
        stop: Some(stop),
        task,
    }
}

impl Server {
    /// Waits until it has read all that is committed by now, however late it looks.
    pub async fn has_read(&self, database: &Database) {
        let here = database.bookmark().await;
        eventually("what is committed is read", async || {
            self.gate.reach(Some(&here)).await.ok()
        })
        .await;
    }

    /// Tells it to stop, as SIGTERM would, and returns at once.
    pub fn begin_to_stop(&mut self) {
        self.stop = None;
    }

    /// Stops it and waits until it has said goodbye to everybody.
    pub async fn stop(mut self) {
        self.begin_to_stop();
        within("the service stops", &mut self.task)
            .await
            .expect("the service did not panic")
            .expect("the listener ended when it was told to");
    }

    /// Runs this until so many bytes wait for those who take none, more than twice what it emits; how often
    /// it ran. Each time it is read, and writers have a turn: what waits is behind what they can't get rid
    /// of. And all at once could be more than a queue holds.
    pub async fn fill(&self, database: &Database, sql: &str, bytes: usize) -> usize {
        let mut times = 0;
        eventually("its events wait", async || {
            database.run(sql).await;
            times += 1;
            self.has_read(database).await;
            (self.gate.hub.sizes().queue_bytes > bytes).then_some(())
        })
        .await;
        times
    }
}

/// The real program, serving.
pub struct Process {
    pub url: String,
    pub address: String,
    child: Child,
    lines: Lines,
    /// Ends when the log has been read to its end.
    reading: tokio::task::JoinHandle<()>,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Served for Process {
    fn address(&self) -> &str {
        &self.address
    }
}

/// Runs `rowcast serve` on a free port with JSON logs and these variables above ours.
pub async fn serve_process(database: &Database, env: &[(&str, &str)]) -> Process {
    serve_process_at(database, "127.0.0.1:0", env).await
}

/// The same at an address, for those who come back to where they were.
pub async fn serve_process_at(database: &Database, address: &str, env: &[(&str, &str)]) -> Process {
    let program = Command::new(env!("CARGO_BIN_EXE_rowcast"));
    start(program, database, address, env).await
}

/// The same by another program, which is given ours as its last argument.
pub async fn serve_process_by(
    program: &[&str],
    database: &Database,
    env: &[(&str, &str)],
) -> Process {
    let mut command = Command::new(program[0]);
    command
        .args(&program[1..])
        .arg(env!("CARGO_BIN_EXE_rowcast"));
    start(command, database, "127.0.0.1:0", env).await
}

async fn start(
    mut command: Command,
    database: &Database,
    address: &str,
    env: &[(&str, &str)],
) -> Process {
    command.args(["serve", "--listen", address]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROWCAST_") {
            command.env_remove(name);
        }
    }
    command
        .env("DATABASE_URL", &database.service_url)
        .env("ROWCAST__AUTH__HS256_SECRET", SECRET)
        .env("ROWCAST__DATABASE__STATEMENT_TIMEOUT_MS", STATEMENT_MS)
        .env("ROWCAST__DATABASE__POOL_WAIT_MS", STATEMENT_MS)
        // Whoever is late with an answer to the goodbye is cut by the exit, and never hears it.
        .env("ROWCAST__HTTP__DRAIN_MS", "10000")
        .env("ROWCAST__HTTP__SPREAD_MS", "500")
        .env("ROWCAST__LOG__FORMAT", "json")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("the program was built");
    let lines = Lines::default();
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let sink = Arc::clone(&lines);
    let reading = tokio::spawn(async move {
        while let Ok(Some(line)) = stderr.next_line().await {
            sink.lock().push(line);
        }
    });
    let mut process = Process {
        url: String::new(),
        address: String::new(),
        child,
        lines,
        reading,
    };
    let serving = process.log_line(r#""message":"serving""#).await;
    let serving: Value = serde_json::from_str(&serving).expect("JSON logs");
    process.address = serving["fields"]["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    process.url = format!("http://{}", process.address);
    eventually("the program is ready", async || {
        (get(&process, "/readyz", &[]).await.status == 200).then_some(())
    })
    .await;
    process
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("it runs");
        let pid = Pid::from_raw(pid.try_into().expect("a process id"));
        kill(pid, signal).expect("it is ours");
    }

    /// Waits for its end, and until all that it had logged has been read.
    pub async fn exited(&mut self) -> ExitStatus {
        let exited = within("the program ends", self.child.wait()).await;
        let read = within("its log ends with it", &mut self.reading).await;
        read.expect("reading a log doesn't fail");
        exited.expect("it is our child")
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        let lines = self.lines.lock();
        lines.join("\n")
    }

    /// Waits for a line with this text.
    pub async fn log_line(&mut self, text: &str) -> String {
        let lines = Arc::clone(&self.lines);
        let reading = &self.reading;
        eventually(&format!("a line of the log with {text}"), async || {
            // Asked first: what was read before the end is then all there.
            let ended = reading.is_finished();
            let seen = lines.lock().clone();
            if let Some(line) = seen.iter().find(|line| line.contains(text)) {
                return Some(line.clone());
            }
            assert!(!ended, "it ended: {}", seen.join("\n"));
            None
        })
        .await
    }
}

/// An answer that ends.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The whole answer to this request, held against the documents.
    pub(super) async fn of(method: &str, path: &str, response: Response<Incoming>) -> Self {
        let whole = Self::try_of(method, path, response);
        let whole = within("the end of an answer", whole).await;
        whole.expect("a whole answer")
    }

    /// The same, for those to whom half an answer is no surprise.
    pub(super) async fn try_of(
        method: &str,
        path: &str,
        response: Response<Incoming>,
    ) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let answer = Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        let (status, body) = (answer.status, Some(answer.body.as_str()));
        documented::check_answer(method, path, status, &answer.headers, body);
        Ok(answer)
    }
}

/// Asks for a path, over a connection of its own.
pub async fn get(server: &impl Served, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(server, "GET", path, headers, "").await
}

/// What `/metrics` says of a sample, by its name with its labels; nought if it is not there yet.
pub async fn metric(server: &impl Served, sample: &str) -> f64 {
    let metrics = get(server, "/metrics", &[]).await.body;
    let found = metrics.lines().find_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (name == sample).then_some(value)
    });
    found.map_or(0.0, |value| value.parse().expect("a number"))
}

/// An address at which nobody listens. Not one of those that a connection's own side is given: one
/// that another test opens could have it before anybody listens there.
pub fn unused_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    let count = PORTS.end - PORTS.start;
    // Another run of the tests, at the same time, begins elsewhere.
    let begin = u16::try_from(std::process::id() * 101 % u32::from(count)).expect("a remainder");
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(next < count, "no port is free");
        let port = PORTS.start + (begin + next) % count;
        if let Ok(listener) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("an address").to_string();
        }
    }
}

/// Asks for a path by any method, with a body.
pub async fn ask(
    server: &impl Served,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let response = send(server, method, path, headers, body).await;
    Answer::of(method, path, response).await
}

/// Posts a body to a path, over a connection of its own.
pub async fn post(
    server: &impl Served,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let response = send(server, "POST", path, headers, body.into()).await;
    Answer::of("POST", path, response).await
}

/// The answer to bytes that are written as they are, until the server closes; a reset is an end too.
pub async fn raw(server: &impl Served, request: &str) -> String {
    let connected = within("a connection", TcpStream::connect(server.address())).await;
    let mut stream = connected.expect("somebody listens");
    // It may be refused before it was read.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = within("the other side closes", stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    documented::check_raw(request, &answer);
    answer
}

/// Somebody with a small buffer who has asked this, and reads no more of the answer than it is made to.
pub async fn reluctant(address: &str, request: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address.parse().expect("an address")).await?;
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

pub(super) async fn request(
    server: &impl Served,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<Incoming> {
    send(server, "GET", path, headers, Bytes::new()).await
}

async fn send(
    server: &impl Served,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Response<Incoming> {
    let asked = async {
        let stream = TcpStream::connect(server.address())
            .await
            .expect("somebody listens");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("HTTP");
        // It ends when the answer is read or dropped.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", server.address());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        sender.send_request(request).await.expect("an answer")
    };
    within("the head of an answer", asked).await
}

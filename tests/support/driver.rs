//! Chromium and Node.js, driven by `tests/driver`: applications that run in a page, in its worker
//! or in Node.js, and pages to look at. Hands over what they say.
//! It must never outlive its test, asleep or awake.

use super::SECRET;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

/// For everything that is waited for here: a loaded machine starts Chromium in ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/driver");

/// Where an application runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Page,
    Worker,
    Node,
}

/// Words of one of the client's source files to be exchanged, so that it is broken on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Patch {
    /// Below `clients/javascript/src`.
    pub file: &'static str,
    /// What has to be there exactly once.
    pub from: &'static str,
    pub to: &'static str,
}

type Answers = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Value>>>>;

/// One driver with at most one browser.
pub struct Driver {
    /// The Origin of its pages, and where they get their tokens.
    pub origin: String,
    node: Node,
}

/// A script of `tests/driver` in Node.js, which takes commands and answers them.
pub struct Node {
    input: tokio::sync::Mutex<ChildStdin>,
    answers: Answers,
    next: AtomicU64,
    said: Arc<Mutex<String>>,
    _child: Child,
    _temporary: tempfile::TempDir,
}

/// A page, or an application in it, in a worker or in Node.js.
pub struct Place<'a> {
    driver: &'a Driver,
    number: u64,
}

/// A variable of `target/tools/test.env`.
pub fn tool(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: `.ci/setup test` writes it into target/tools/test.env")
    })
}

impl Node {
    /// Starts a script.
    pub fn start(script: &str, env: &[(&str, String)]) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        // Node.js 20 has a WebSocket behind a flag; newer ones take the flag for granted.
        let mut child = Command::new(tool("ROWCAST_TEST_NODE"))
            .args(["--experimental-websocket", script])
            .current_dir(DIRECTORY)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("ROWCAST_TEST_NODE: {error}"));
        let answers = Answers::default();
        let said = Arc::new(Mutex::new(String::new()));
        let output = child.stdout.take().expect("a pipe");
        tokio::spawn(hand_out(output, Arc::clone(&answers)));
        let mut errors = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let sink = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                sink.lock().push_str(&format!("{line}\n"));
            }
        });
        Self {
            input: tokio::sync::Mutex::new(child.stdin.take().expect("a pipe")),
            answers,
            next: AtomicU64::new(0),
            said,
            _child: child,
            _temporary: temporary,
        }
    }

    /// What the script answers to a command; several may be under way.
    pub async fn ask(&self, command: &str, rest: Value) -> Value {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut line = rest;
        line["id"] = id.into();
        line["do"] = command.into();
        let (answer, answered) = oneshot::channel();
        self.answers.lock().insert(id, answer);
        let asked = async {
            let text = format!("{line}\n");
            let written = self.input.lock().await.write_all(text.as_bytes()).await;
            written.ok()?;
            answered.await.ok()
        };
        let answer = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(answer)) => answer,
            Ok(None) => panic!("the script ended at {line}\n{}", self.said()),
            Err(_) => panic!("not within {PATIENCE:?}: {line}\n{}", self.said()),
        };
        if let Some(error) = answer["error"].as_str() {
            panic!("{line}: {error}\n{}", self.said());
        }
        answer["ok"].clone()
    }

    /// What it has printed, and its pages.
    pub fn said(&self) -> String {
        self.said.lock().clone()
    }
}

impl Driver {
    pub async fn start() -> Self {
        let env = [
            ("ROWCAST_TEST_CHROMIUM", tool("ROWCAST_TEST_CHROMIUM")),
            ("ROWCAST_TEST_SECRET", SECRET.to_owned()),
        ];
        let node = Node::start("driver.js", &env);
        let origin = node.ask("origin", json!({})).await;
        let origin = origin.as_str().expect("an origin").to_owned();
        Self { origin, node }
    }

    async fn ask(&self, command: &str, rest: Value) -> Value {
        self.node.ask(command, rest).await
    }

    /// What driver and pages have printed.
    pub fn said(&self) -> String {
        self.node.said()
    }

    /// An application that has not begun yet, of the client's sources with these words exchanged.
    pub async fn open(&self, environment: Environment, patches: &[Patch]) -> Place<'_> {
        let environment = format!("{environment:?}").to_lowercase();
        let patches: Vec<_> = patches
            .iter()
            .map(|p| json!({ "file": p.file, "from": p.from, "to": p.to }))
            .collect();
        let open = json!({ "environment": environment, "patches": patches });
        self.place(self.ask("open", open).await)
    }

    /// Any page, looked at as `look` says: options of Playwright's `newContext`, the pattern of what
    /// is `blocked`, and a script that runs `before` the page's own.
    pub async fn visit(&self, url: &str, look: Value) -> Place<'_> {
        let visit = json!({ "url": url, "look": look });
        self.place(self.ask("visit", visit).await)
    }

    fn place(&self, number: Value) -> Place<'_> {
        let number = number.as_u64().expect("a number");
        Place {
            driver: self,
            number,
        }
    }

    /// Stops the browser with all its processes, as a laptop that is closed does, until the
    /// returned value is dropped.
    pub async fn fall_asleep(&self) -> Asleep {
        let processes = self.ask("processes", json!({})).await;
        let processes = processes.as_array().expect("a list").iter();
        let asleep = Asleep {
            processes: processes
                .map(|id| i32::try_from(id.as_i64().expect("a number")).expect("a process id"))
                .map(Pid::from_raw)
                .collect(),
        };
        for process in &asleep.processes {
            // One of them may have ended meanwhile.
            let _ = kill(*process, Signal::SIGSTOP);
        }
        asleep
    }
}

/// A browser's processes, stopped.
pub struct Asleep {
    pub processes: Vec<Pid>,
}

impl Drop for Asleep {
    fn drop(&mut self) {
        for process in &self.processes {
            let _ = kill(*process, Signal::SIGCONT);
        }
    }
}

impl Place<'_> {
    async fn order(&self, command: &str, mut rest: Value) -> Value {
        rest["place"] = self.number.into();
        self.driver.ask(command, rest).await
    }

    /// What a function of `application.js` returns, awaited.
    pub async fn ask(&self, name: &str, args: Value) -> Value {
        let ask = json!({ "name": name, "args": args });
        self.order("ask", ask).await
    }

    /// The value of an expression in the page, awaited.
    pub async fn evaluate(&self, expression: &str) -> Value {
        let evaluate = json!({ "expression": expression });
        self.order("evaluate", evaluate).await
    }

    /// Waits for an expression in the page to become true.
    pub async fn until(&self, expression: &str) {
        let until = json!({ "expression": expression });
        self.order("until", until).await;
    }

    /// Shows the page in this colour scheme from now on, as if the system had been switched to it.
    pub async fn in_scheme(&self, scheme: &str) {
        self.order("inScheme", json!({ "scheme": scheme })).await;
    }

    /// Takes the page's network away, or gives it back; the page is told so.
    pub async fn offline(&self, offline: bool) {
        self.order("offline", json!({ "offline": offline })).await;
    }

    /// Writes what is seen, or the whole page, as PNG.
    pub async fn screenshot(&self, path: &Path, whole: bool) {
        let shot = json!({ "path": path, "whole": whole });
        self.order("screenshot", shot).await;
    }

    /// Closes it, as people close a tab.
    pub async fn leave(self) {
        self.order("leave", json!({})).await;
    }
}

/// Gives each answer to whoever asked; whoever waits at the end is told by the closed channel.
async fn hand_out(output: ChildStdout, answers: Answers) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let id = answer["id"].as_u64().expect("our own number");
        if let Some(waiting) = answers.lock().remove(&id) {
            let _ = waiting.send(answer);
        }
    }
    answers.lock().clear();
}

//! The program under strace, which writes down each of its system calls.
//! A request that can be told from others marks where a measurement begins and ends.

use crate::support::{Database, Process, Served, eventually, get, serve_process_by};
use std::path::{Path, PathBuf};

pub struct Traced {
    process: Process,
    trace: PathBuf,
    /// It lies in here, and goes with it.
    _directory: tempfile::TempDir,
    marks: u32,
}

/// System calls of all threads.
pub struct Calls {
    /// Those that write to a socket or a file.
    pub writes: f64,
    pub all: f64,
}

/// What writes; of those that write into several buffers, one is one.
const WRITES: [&str; 6] = [
    "write(",
    "writev(",
    "send(",
    "sendto(",
    "sendmsg(",
    "sendmmsg(",
];

impl Traced {
    pub async fn start(database: &Database) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let trace = directory.path().join("trace");
        let strace = std::env::var("ROWCAST_TEST_STRACE");
        let strace = strace.expect("ROWCAST_TEST_STRACE names it: source target/tools/test.env");
        let output = trace.to_str().expect("UTF-8");
        let dialect = format!("{}/tests/cost/crowd.toml", env!("CARGO_MANIFEST_DIR"));
        // Of all threads; 64 bytes of each text, which holds a mark; and as the program's grandchild, so
        // that what is our child is the program, and ends with us.
        let before = [strace.as_str(), "-D", "-f", "-qq", "-s", "64", "-o", output];
        let env = [
            ("ROWCAST__HTTP__DIALECTS", dialect.as_str()),
            ("ROWCAST__LIMITS__CONNECTS_PER_SECOND", "100000"),
            ("ROWCAST__WEBSOCKET__PING_S", "3600"),
            ("ROWCAST__WEBSOCKET__HEARTBEAT_S", "3600"),
            ("ROWCAST__SSE__HEARTBEAT_S", "3600"),
            ("ROWCAST__SOCKETIO__PING_S", "3600"),
        ];
        let process = serve_process_by(&before, database, &env).await;
        Self {
            process,
            trace,
            _directory: directory,
            marks: 0,
        }
    }

    pub fn address(&self) -> &str {
        self.process.address()
    }

    /// The system calls from the beginning of this to its end.
    pub async fn during(&mut self, fact: impl Future<Output = ()>) -> Calls {
        let begin = self.mark().await;
        fact.await;
        let end = self.mark().await;
        let trace = read(&self.trace);
        let (_, rest) = trace.split_once(&begin).expect("the mark is there");
        let (between, _) = rest.split_once(&end).expect("the mark is there");
        let mut calls = Calls {
            writes: 0.0,
            all: 0.0,
        };
        for line in between.lines().filter(|line| !line.contains(" resumed>")) {
            // `PID name(…`
            let call = line
                .trim_start_matches(|letter: char| letter.is_ascii_digit())
                .trim_start();
            calls.all += 1.0;
            calls.writes += f64::from(u8::from(WRITES.iter().any(|name| call.starts_with(name))));
        }
        calls
    }

    async fn mark(&mut self) -> String {
        self.marks += 1;
        let mark = format!("/healthz?mark-{}-", self.marks);
        get(&self.process, &mark, &[]).await;
        eventually("the mark is in the trace", async || {
            read(&self.trace).contains(&mark).then_some(())
        })
        .await;
        mark
    }
}

fn read(trace: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(trace).unwrap_or_default()).into_owned()
}

//! What the stations stand on: databases, servers, tokens and subscribers.
//!
//! Databases (`postgres.rs`), each a fresh copy of a template on one cluster per test run:
//!
//! - `database().await`: migrated; `lab().await`: and `triggers/lab` applied; `empty().await`: neither.
//!   `system("spa").await`: and `triggers/spa` applied, `legacy()` is role `spa_app`.
//! - `on(Version::V14).await.lab().await`: the same on another PostgreSQL; [`VERSIONS`] lists
//!   them (`ROWCAST_TEST_POSTGRES_14`, `…_18` name their directories of programs), and
//!   `on_every_version! { a b }` makes a test of each function `async fn a(version: Version)` there.
//! - `Postgres::start(version, &[("name", "setting")]).await`: a cluster of the test's own, copied from
//!   one that was migrated once, to be crashed (`postgres.cluster.stop(Mode::Immediate)`,
//!   `start_again()`); the same three methods. `Postgres::bare(version).await` has no role of ours yet.
//!   `postgres.standby(&[]).await` streams from it; `postgres.named("test_0")` is a database by name.
//!   On `Postgres::for_many().await` bookmarks are shortened from `open_many()` to `end_many()`.
//! - [`Database`]: `service_url`, `legacy_url`, `superuser_url`; `client(role)`, `legacy()`,
//!   `superuser()`, `run(sql)` as the superuser, `bookmark()`.
//! - `database().await.with_open_rooms().await`: rooms `r:*` are open to everybody.
//! - `database.awaits("the second waits", "locktype = 'advisory'").await`: until somebody waits for
//!   such a lock there; `waiters(lock)` counts them. `database.hold_a_look(&server).await` holds its looks.
//! - `marker(&database, &["lab:1"]).await`: an event `marker`, so that what did not come before it
//!   is proven absent.
//!
//! Systems (`stage.rs`): `Stage::open(version, "spa", &[SAMPLE], |settings| …).await`, served, with seats
//! that each station fills; `writes(sql)`, `heard().await`, `close().await`.
//!
//! Servers (`server.rs`), ready when they are returned:
//!
//! - `serve(&database, |settings| …).await`: in this process, with the defaults, [`SECRET`] and
//!   short timings; `server.gate` to look inside, `server.stop().await`;
//!   `server.has_read(&database).await`: whoever comes from now on is told of what was committed so far.
//!   `serve(&database, unhurried)` where nothing is about who answers in time.
//! - `serve_process(&database, &[("ROWCAST__LOG__LEVEL", "trace")]).await`: the real program;
//!   `signal`, `exited().await`, `log()`, `log_line("text").await`; `serve_process_by(&["strace", …], …)`
//!   runs it by another program.
//! - `get(&server, "/readyz", &[("name", "header")]).await`: status, headers and body;
//!   `ask(&server, "POST", "/path", &[…], "body").await` by any method, `post(…)` with any bytes;
//!   `raw(&server, "GET / HTTP/1.1\r\n…")` writes what is no HTTP, too.
//! - `metric(&server, "rowcast_refusals_total{code=\"lagged\"}").await`: a sample by name and labels. A
//!   counter is the process's, and all are there from the start: what it says counts by the difference,
//!   or to the number where the server is a process of the test's own.
//! - `reluctant(&server.address, "GET / HTTP/1.1\r\n…")`: somebody with a small buffer, who reads nothing.
//!   `server.fill(&database, sql, bytes).await` emits until so much waits for whoever does not read.
//! - `unused_address()`: for who has to be told where to listen, or comes back to where it was.
//!
//! Subscribers (`subscriber.rs`), one type for all transports, frames in the WebSocket's JSON:
//!
//! - `ws(&server, &token("1", "user", "1"), "rooms=lab:1&since=…").await`, `sse(…)`, or
//!   `connect(transport, …)` with a [`Transport`] of [`TRANSPORTS`], which stay open, or of
//!   [`EVERY_TRANSPORT`], which has polls, too; an empty token sends none.
//! - `Poller::new(address, token, query)` (`poller.rs`): polls when it is asked to.
//!   `try_sse` gives the refusal; `ws_with(&server, query, headers)` sends headers as they are;
//!   `socket(&server, "/path?query", headers)` opens a WebSocket at any path, of a dialect's too.
//! - `next()`, `expect("welcome")`, `expect_event("booking:created")`, `events_until("marker")`,
//!   `frames_until("marker")`, `send(json)`, `send_message(Message)`, `closed()`.
//!
//! - `brief(json!({ "sub": "1" }))`: a token that ends soon, and when.
//! - `try_connect(transport, address, token, query)`: the same, where failing is no surprise.
//!
//! Browsers (`driver.rs`): `Driver::start().await`, then `open(Environment::Page, &[]).await` for an
//! application on the JavaScript client, or `visit(url, …).await` for any page.
//!
//! Socket.IO (`socketio.rs`): `let node = Clients::start()`, then `node.connect(&server.url, options).await`
//! for a socket of the real socket.io-client with the options of its own `io()`; `connected()`,
//! `until_event("name")`, `emit(…)`, `ask(…)` for acknowledgements, `refused()`, `disconnected()`.
//!
//! Faults: `proxy.rs` has a link that delays, cuts, halves and freezes, and by `screen.rs` refuses or
//! buffers one transport; `reconcile.rs` compares what was committed with what each subscriber heard.
//!
//! Whatever a subscriber or `get` receives is held against `docs/asyncapi.yaml` and
//! `docs/openapi.yaml` by `documented.rs`: a field or a code that they lack fails the test.
//!
//! Nothing sleeps until a fact may have come: everything waits for it, within one [`PATIENCE`]. Time
//! passes only where it is what a test is about: pauses of writers, what lasts, what must not end.

pub mod documented;
pub mod driver;
mod poller;
mod postgres;
pub mod proxy;
pub mod reconcile;
pub mod screen;
mod server;
pub mod socketio;
pub mod stage;
mod subscriber;

pub use poller::Poller;
pub use postgres::{
    Database, Postgres, REFUSE_MD5, VERSIONS, Version, apply_triggers, database, empty, lab,
    long_replay, marker, on, system,
};
pub use server::{
    Answer, Process, Served, Server, ask, get, metric, post, raw, reluctant, serve, serve_process,
    serve_process_at, serve_process_by, serve_unready, settings, unhurried, unused_address,
};
pub use subscriber::{
    EVERY_TRANSPORT, Subscriber, TRANSPORTS, Transport, connect, let_in, socket, sse, stream,
    try_connect, try_sse, ws, ws_with,
};

/// Makes three tests of each of these functions, one for each of [`VERSIONS`], which they are given:
/// `booking_created::v14` and so on.
macro_rules! on_every_version {
    ($($test:ident)*) => {
        $(mod $test {
            use crate::support::Version;

            #[tokio::test]
            async fn installed() {
                super::$test(Version::Installed).await;
            }

            #[tokio::test]
            async fn v14() {
                super::$test(Version::V14).await;
            }

            #[tokio::test]
            async fn v18() {
                super::$test(Version::V18).await;
            }
        })*
    };
}
pub(crate) use on_every_version;

use rowcast::clock::unix_now;
use serde_json::{Value, json};
use std::time::Duration;

/// How long any fact may take to come: far more than it needs on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a machine with two busy cores may add to any bound on what a server does in time: somebody
/// stands still for three seconds, and a statement takes two.
pub const SLACK: Duration = Duration::from_secs(5);

/// How many seconds a token lasts that is to end while its test looks on: more than all that has to
/// happen before takes, and the issuer knows whole seconds only.
const BRIEF: u64 = 10;

/// What the servers of the tests verify tokens with.
pub const SECRET: &str = "the secret of the tests, of more than 32 bytes";

/// A token for ten minutes; an empty role or organization leaves the claim out.
pub fn token(sub: &str, role: &str, org: &str) -> String {
    let mut claims = json!({ "sub": sub, "exp": unix_now() + 600 });
    for (name, value) in [("role", role), ("org", org)] {
        if !value.is_empty() {
            claims[name] = value.into();
        }
    }
    token_with(&claims)
}

/// A token with exactly these claims.
pub fn token_with(claims: &Value) -> String {
    rowcast::token::mint(SECRET, claims, jsonwebtoken::Algorithm::HS256).expect("claims are JSON")
}

/// A token with these claims that ends soon, and the second at which it does. Only what comes behind
/// that second may be held against it.
pub fn brief(mut claims: Value) -> (String, u64) {
    let expires = unix_now() + BRIEF;
    claims["exp"] = expires.into();
    (token_with(&claims), expires)
}

/// Waits for something that announces itself.
pub async fn within<T>(what: &str, fact: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, fact).await {
        Ok(fact) => fact,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Waits for something that has to be looked for.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(fact) = look().await {
                return fact;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

//! Socket.IO, spoken by the real socket.io-client.

use crate::support::socketio::{Client, Clients};
use crate::support::{Database, Server, ask, eventually, get, marker, serve, token};
use rowcast::config::Settings;
use serde_json::{Value, json};

/// What cuts a connection, and what a slow reader costs.
mod bounds;
/// Getting in: transports, credentials, origins, namespaces.
mod entry;
/// What a client says, and what answers it.
mod messages;
/// All of it at once.
mod random;
/// Names under which the database keeps how far a page has come.
mod readers;
/// Coming back: exactly what was missed.
mod resume;

/// Both ways, and the one that begins as the first and becomes the second.
const WAYS: [&[&str]; 3] = [&["websocket"], &["polling"], &["polling", "websocket"]];

/// A dialect of these tests.
fn dialect(name: &str) -> String {
    format!("{}/tests/socketio/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

async fn serve_dialect(
    database: &Database,
    name: &str,
    change: impl FnOnce(&mut Settings),
) -> Server {
    serve(database, |settings| {
        settings.http.dialects = vec![dialect(name)];
        change(settings);
    })
    .await
}

/// Options of a client that signs in by `auth.token`.
fn signed_in(token: &str, transports: &[&str]) -> Value {
    json!({ "auth": { "token": token }, "transports": transports })
}

/// A client that is in and has been welcomed.
async fn client<'a>(node: &'a Clients, server: &Server, options: Value) -> Client<'a> {
    let mut client = node.connect(&server.url, options).await;
    client.connected().await;
    client.until_event("rowcast:welcome").await;
    client
}

async fn free(server: &Server) {
    eventually("the seat is free", async || {
        (server.gate.seats.taken() == 0).then_some(())
    })
    .await;
}

fn alice() -> String {
    token("1", "user", "1")
}

/// Events of these rooms, numbered from here, in one transaction.
fn numbered(from: u32, count: u32, room: &str) -> String {
    format!(
        "insert into rowcast.event (channel, name, rooms, data)
         select 'c', 'numbered', array['{room}'], json_build_object('n', n)
         from generate_series({from}, {from} + {count} - 1) n"
    )
}

fn number(args: &[Value]) -> u64 {
    args[0]["n"].as_u64().expect("a number")
}

/// A connection that requests carry, spoken to by hand, which nobody has signed in to: the path of its
/// requests.
async fn opened(server: &Server) -> String {
    let path = "/socket.io/?EIO=4&transport=polling";
    let opened = get(server, path, &[]).await;
    let open: Value = serde_json::from_str(&opened.body[1..]).expect("an open packet");
    format!("{path}&sid={}", open["sid"].as_str().expect("a sid"))
}

/// The same, signed in to.
async fn polled(server: &Server) -> String {
    let path = opened(server).await;
    let connect = format!("40{}", json!({ "token": alice() }));
    post(server, &path, &connect).await;
    eventually("it is welcomed", async || {
        let answer = get(server, &path, &[]).await.body;
        answer.contains("rowcast:welcome").then_some(())
    })
    .await;
    path
}

async fn post(server: &Server, path: &str, packets: &str) -> u16 {
    ask(server, "POST", path, &[], packets).await.status
}

//! Socket.IO, spoken by the real socket.io-client: both transports, resume, refusals, bounds.

use crate::support::socketio::Clients;
use crate::support::{Database, Server, lab, marker, serve, token};
use serde_json::json;

fn dialect(name: &str) -> String {
    format!("{}/tests/socketio/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

async fn serve_dialect(database: &Database, name: &str) -> Server {
    serve(database, |settings| {
        settings.http.dialects = vec![dialect(name)];
    })
    .await
}

#[tokio::test]
async fn an_event_reaches_both_transports_and_the_upgrade() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain").await;
    let node = Clients::start();
    for transports in [
        json!(["websocket"]),
        json!(["polling"]),
        json!(["polling", "websocket"]),
    ] {
        let options =
            json!({ "auth": { "token": token("1", "user", "1") }, "transports": transports });
        let mut client = node.connect(&server.url, options).await;
        let transport = client.connected().await;
        if transports[1] == "websocket" {
            // It may have been upgraded before it was let in.
            client.upgraded().await;
        } else {
            assert_eq!(transport, transports[0]);
        }
        let welcome = client.until_event("rowcast:welcome").await;
        assert_eq!(welcome[0]["user"], "1", "{welcome:?}");
        marker(&database, &["user:1"]).await;
        let event = client.until_event("marker").await;
        assert_eq!(event.len(), 2, "{event:?}");
        let bookmark = event[1]["bookmark"].as_str().expect("a bookmark");
        assert!(
            bookmark.ends_with(event[1]["id"].as_str().expect("an id")),
            "{event:?}"
        );
        client.disconnect().await;
        assert_eq!(client.disconnected().await, "io client disconnect");
    }
}

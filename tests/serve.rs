//! The program itself. What it serves is the other stations' business.

use crate::support::{self, TRANSPORTS, connect, get, marker, serve, serve_process, token};
use nix::sys::signal::Signal;

#[tokio::test]
async fn the_program_serves_and_says_goodbye_at_sigterm() {
    let database = support::database().await;
    let mut program = serve_process(&database, &[]).await;
    assert_eq!(get(&program, "/healthz", &[]).await.status, 200);
    let mut everybody = support::ws(&program, &token("1", "", ""), "").await;
    everybody.expect("welcome").await;
    marker(&database, &["*"]).await;
    everybody.expect_event("marker").await;
    program.signal(Signal::SIGTERM);
    let (code, reason) = everybody.closed().await;
    assert_eq!(code, 1012, "{reason}");
    assert!(
        reason.parse::<u64>().is_ok_and(|wait| wait <= 500),
        "{reason}"
    );
    assert!(program.exited().await.success(), "{}", program.log());
    let log = program.log();
    assert!(log.contains(r#""message":"stopped""#), "{log}");
}

#[tokio::test]
async fn both_transports_carry_the_same_events() {
    let database = support::database().await;
    let server = serve(&database, |_| ()).await;
    let mut events = Vec::new();
    for transport in TRANSPORTS {
        let mut somebody = connect(transport, &server, &token("1", "", ""), "").await;
        assert_eq!(somebody.expect("welcome").await["user"], "1");
        events.push(somebody);
    }
    let id = marker(&database, &["*"]).await;
    for somebody in &mut events {
        let event = somebody.expect_event("marker").await;
        assert_eq!(event["id"], id.as_str());
        assert_eq!(event["bookmark"].as_str(), somebody.bookmark.as_deref());
    }
    let mut server = server;
    server.begin_to_stop();
    assert_eq!(events[0].closed().await.0, 1012);
    assert_eq!(events[1].closed().await, (200, "restart".into()));
    server.stop().await;
}

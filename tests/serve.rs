//! The program itself. What it serves is the other stations' business.

use crate::support::{
    self, TRANSPORTS, connect, get, marker, serve, serve_process, settings, token, within,
};
use nix::sys::signal::Signal;
use rowcast::app::{App, Service, Socket};

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

/// As in the demo: each with a database and below a path of its own, and one goodbye for all.
#[tokio::test]
async fn several_services_share_a_socket_and_stop_together() {
    let databases = [support::database().await, support::database().await];
    let mut services = databases
        .iter()
        .zip(["/one", "/two"])
        .map(|(database, path)| {
            let mut settings = settings(database);
            settings.http.base_path = path.to_owned();
            Service::open(settings).unwrap()
        });
    let (first, second) = (services.next().unwrap(), services.next().unwrap());
    for gate in [&first.gate, &second.gate] {
        let ready = async || gate.pulse.check(&gate.settings.listener).ok();
        support::eventually("the service is ready", ready).await;
    }
    let socket = Socket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.address();
    let app = App::of(first, vec![second], socket).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(app.run(async {
        let _ = stopped.await;
    }));
    let mut everybody = Vec::new();
    for path in ["/one", "/two"] {
        let path = format!("{path}/ws?token={}", token("1", "", ""));
        let mut somebody = support::socket(&at, &path, &[]).await;
        somebody.expect("welcome").await;
        everybody.push(somebody);
    }
    for (database, somebody) in databases.iter().zip(&mut everybody) {
        let id = marker(database, &["*"]).await;
        assert_eq!(somebody.expect_event("marker").await["id"], id.as_str());
    }
    drop(stop);
    for somebody in &mut everybody {
        assert_eq!(somebody.closed().await.0, 1012);
    }
    within("both have ended", served).await.unwrap();
}

use super::*;
use crate::support::socketio::Heard;
use crate::support::{ask, eventually, lab, metric, token_with};
use rowcast::clock::unix_now;

#[tokio::test]
async fn an_event_comes_by_both_transports_and_behind_the_upgrade() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let node = Clients::start();
    let opened = "rowcast_connections_opened_total{transport=\"socketio\"}";
    let before = metric(&server, opened).await;
    for transports in WAYS {
        let mut client = node
            .connect(&server.url, signed_in(&alice(), transports))
            .await;
        let transport = client.connected().await;
        match transports {
            // It may have been upgraded before it was let in.
            [_, _] => client.upgraded().await,
            [only] => assert_eq!(transport, *only),
            _ => unreachable!(),
        }
        let welcome = client.until_event("rowcast:welcome").await;
        assert_eq!(welcome[0]["user"], "1", "{welcome:?}");
        marker(&database, &["user:1"]).await;
        let event = client.until_event("marker").await;
        assert_eq!(
            event.len(),
            2,
            "the payload, and what old clients ignore: {event:?}"
        );
        let bookmark = event[1]["bookmark"].as_str().expect("a bookmark");
        let id = event[1]["id"].as_str().expect("an id");
        assert!(bookmark.ends_with(&format!(".{id}")), "{event:?}");
        assert!(
            event[1]["at"].as_str().is_some_and(|at| at.ends_with('Z')),
            "{event:?}"
        );
        assert_eq!(server.gate.seats.taken(), 1);
        client.disconnect().await;
        assert_eq!(client.disconnected().await, "io client disconnect");
        eventually("its seat is free", async || {
            (server.gate.seats.taken() == 0).then_some(())
        })
        .await;
    }
    // Other tests count in the same process.
    assert!(metric(&server, opened).await >= before + 3.0);
    server.stop().await;
}

#[tokio::test]
async fn a_token_counts_wherever_it_comes_from() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.auth.cookie = Some("jwt".into());
    })
    .await;
    let node = Clients::start();
    let (alice, bob) = (alice(), token("2", "user", "1"));
    let bearer = format!("Bearer {alice}");
    let cookie = format!("jwt={alice}");
    for transports in WAYS {
        for (what, options) in [
            ("auth", json!({ "auth": { "token": alice } })),
            (
                "auth, with the scheme",
                json!({ "auth": { "token": bearer } }),
            ),
            ("query", json!({ "query": { "token": alice } })),
            (
                "header",
                json!({ "extraHeaders": { "Authorization": bearer } }),
            ),
            (
                "cookie",
                json!({ "extraHeaders": { "Cookie": cookie, "Origin": server.url } }),
            ),
            (
                "auth before all others",
                json!({
                    "auth": { "token": alice },
                    "query": { "token": bob },
                    "extraHeaders": { "Authorization": format!("Bearer {bob}") },
                }),
            ),
        ] {
            let mut options = options;
            options["transports"] = json!(transports);
            let mut client = node.connect(&server.url, options).await;
            client.connected().await;
            let welcome = client.until_event("rowcast:welcome").await;
            assert_eq!(welcome[0]["user"], "1", "{what}, {transports:?}");
            client.disconnect().await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn who_is_refused_is_told_why_and_stays_away() {
    let database = lab().await;
    let server = serve_dialect(&database, "chat", |settings| {
        settings.auth.cookie = Some("jwt".into());
    })
    .await;
    let node = Clients::start();
    let expired = token_with(&json!({ "sub": "1", "exp": unix_now() - 5 }));
    let forged = format!("{}x", alice());
    let cookie = format!("jwt={}", alice());
    for transports in WAYS {
        for (what, options, message) in [
            ("no token", json!({}), "Authentication error"),
            (
                "expired",
                json!({ "auth": { "token": expired } }),
                "Authentication error",
            ),
            (
                "forged",
                json!({ "auth": { "token": forged } }),
                "Authentication error",
            ),
            // A refused credential is not replaced by another one.
            (
                "forged, and a good one",
                json!({ "auth": { "token": forged }, "query": { "token": alice() } }),
                "Authentication error",
            ),
            (
                "a cookie sent by a page from elsewhere",
                json!({ "extraHeaders": { "Cookie": cookie, "Origin": "https://evil.example" } }),
                "forbidden-origin",
            ),
            (
                "a token sent by a page from elsewhere",
                json!({
                    "auth": { "token": alice() },
                    "extraHeaders": { "Origin": "https://evil.example" },
                }),
                "forbidden-origin",
            ),
        ] {
            let mut options = options;
            options["transports"] = json!(transports);
            let mut client = node.connect(&server.url, options).await;
            assert_eq!(client.refused().await, message, "{what}, {transports:?}");
        }
    }
    eventually("nobody has a seat", async || {
        (server.gate.seats.taken() == 0).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_new_token_lets_in_who_was_refused() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let node = Clients::start();
    let mut client = node
        .connect(&server.url, json!({ "auth": { "token": "x" } }))
        .await;
    assert_eq!(
        client.refused().await,
        "unauthorized",
        "the word itself, if nothing is written"
    );
    client.sign_in_with(json!({ "token": alice() })).await;
    client.connect().await;
    client.reconnected().await;
    client.until_event("rowcast:welcome").await;
    server.stop().await;
}

#[tokio::test]
async fn a_session_of_the_application_lets_in_and_its_page_must_be_allowed() {
    let database = lab().await;
    database
        .run(
            "create function public.session_claims(p text) returns jsonb
             language sql security definer as $$
               select jsonb_build_object('sub', '1', 'role', 'user',
                 'exp', extract(epoch from now() + interval '10 minutes')::bigint) where p = 's3cret'
             $$;
             insert into rowcast.session_rule values ('sid', 'public.session_claims(text)')",
        )
        .await;
    let page = "https://app.example";
    let server = serve_dialect(&database, "plain", |settings| {
        settings.http.allowed_origins = vec![page.into()];
    })
    .await;
    let node = Clients::start();
    let headers = |cookie: &str, origin: &str| json!({ "Cookie": cookie, "Origin": origin });
    for transports in WAYS {
        let options = |headers| json!({ "transports": transports, "extraHeaders": headers });
        let options_in = options(headers("a=b; sid=s3cret", page));
        let mut client = client(&node, &server, options_in).await;
        marker(&database, &["user:1"]).await;
        client.until_event("marker").await;
        client.disconnect().await;
        for (cookie, origin, message) in [
            ("sid=wrong", page, "unauthorized"),
            ("sid=s3cret", "https://evil.example", "forbidden-origin"),
        ] {
            let options = options(headers(cookie, origin));
            let mut client = node.connect(&server.url, options).await;
            assert_eq!(
                client.refused().await,
                message,
                "{cookie} {origin} {transports:?}"
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_namespace_that_is_not_listed_is_refused_and_each_listed_one_is_a_connection() {
    let database = lab().await;
    let server = serve_dialect(&database, "chat", |settings| {
        settings.socketio.heartbeat = std::time::Duration::from_secs(1);
    })
    .await;
    let node = Clients::start();
    for transports in WAYS {
        let options = signed_in(&alice(), transports);
        let mut stranger = node
            .connect_to(&server.url, "/nowhere", options.clone())
            .await;
        assert_eq!(stranger.refused().await, "Invalid namespace");
        let mut first = client(&node, &server, options.clone()).await;
        let mut second = first.beside("/staff", options).await;
        second.connected().await;
        second.until_event("rowcast:welcome").await;
        assert_eq!(server.gate.seats.taken(), 2);
        marker(&database, &["user:1"]).await;
        first.until_event("marker").await;
        second.until_event("marker").await;
        // One ends, the other lives on.
        second.disconnect().await;
        eventually("one seat is free", async || {
            (server.gate.seats.taken() == 1).then_some(())
        })
        .await;
        // Longer than a line is left to a client that is in no namespace any more.
        let mut heartbeats = 0;
        while heartbeats < 3 {
            match first.next().await {
                Heard::Event { name, .. } => heartbeats += u32::from(name == "rowcast:heartbeat"),
                other => panic!("{other:?}"),
            }
        }
        marker(&database, &["user:1"]).await;
        first.until_event("marker").await;
        first.disconnect().await;
        free(&server).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn the_path_and_what_it_lies_below_are_the_dialects() {
    let database = lab().await;
    let server = serve_dialect(&database, "gaps", |settings| {
        settings.http.base_path = "/shop".into();
    })
    .await;
    let node = Clients::start();
    let mut options = signed_in(&alice(), &["polling", "websocket"]);
    options["path"] = "/shop/live/io/".into();
    let mut client = client(&node, &server, options.clone()).await;
    client.upgraded().await;
    marker(&database, &["user:1"]).await;
    let event = client.until_event("marker").await;
    assert_eq!(event[0]["name"], "marker", "{event:?}");
    assert_eq!(event.len(), 1);
    for path in ["/live/io/", "/socket.io/", "/shop/live/io/deeper/"] {
        options["path"] = path.into();
        let mut lost = node.connect(&server.url, options.clone()).await;
        let message = lost.refused().await;
        assert!(message.contains("error"), "{path}: {message}");
        lost.disconnect().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_of_a_listed_origin_may_read_with_credentials() {
    let database = lab().await;
    let page = "https://app.example";
    let server = serve_dialect(&database, "plain", |settings| {
        settings.http.allowed_origins = vec![page.into()];
    })
    .await;
    let path = "/socket.io/?EIO=4&transport=polling";
    for method in ["OPTIONS", "GET"] {
        for (origin, listed) in [(page, true), ("https://evil.example", false)] {
            let answer = ask(&server, method, path, &[("origin", origin)], "").await;
            let header = |name| {
                answer
                    .headers
                    .get(name)
                    .and_then(|value| value.to_str().ok())
            };
            let expected = listed.then_some(origin);
            assert_eq!(
                header("access-control-allow-origin"),
                expected,
                "{method} {origin}"
            );
            assert_eq!(header("vary"), Some("origin"));
            if listed {
                assert_eq!(header("access-control-allow-credentials"), Some("true"));
                let methods = header("access-control-allow-methods").expect("methods");
                assert!(methods.contains("POST"), "{methods}");
            }
            assert_eq!(answer.status, if method == "GET" { 200 } else { 204 });
            if method == "GET" {
                assert_eq!(header("cache-control"), Some("no-store"));
            }
        }
    }
    let unknown = ask(&server, "GET", &format!("{path}&sid=none"), &[], "").await;
    assert_eq!(unknown.headers["cache-control"], "no-store", "{unknown:?}");
    server.stop().await;
}

#[tokio::test]
async fn who_opens_a_connection_and_never_signs_in_is_let_go() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.socketio.connect = std::time::Duration::from_millis(300);
    })
    .await;
    let path = opened(&server).await;
    eventually("it is unknown", async || {
        let answer = ask(&server, "GET", &path, &[], "").await;
        (answer.status == 400).then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn too_many_of_a_user_or_at_once_are_refused() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.connections_per_user = 1;
    })
    .await;
    let node = Clients::start();
    let options = signed_in(&alice(), &["websocket"]);
    let first = client(&node, &server, options.clone()).await;
    let mut second = node.connect(&server.url, options).await;
    assert_eq!(second.refused().await, "too-many-connections");
    first.disconnect().await;
    eventually("the seat is free", async || {
        (server.gate.seats.taken() == 0).then_some(())
    })
    .await;
    second.connect().await;
    second.reconnected().await;
    server.stop().await;
}

#[tokio::test]
async fn many_at_once_are_all_let_in_at_the_rate() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.connects_per_second = 5;
        settings.http.spread = std::time::Duration::from_millis(100);
    })
    .await;
    let node = Clients::start();
    let mut clients = Vec::new();
    for _ in 0..12 {
        // Nobody is refused by a word, which would be for good: who has to wait comes back by itself.
        clients.push(
            node.connect(&server.url, signed_in(&alice(), &["websocket"]))
                .await,
        );
    }
    for client in &mut clients {
        client.connected().await;
    }
    server.stop().await;
}

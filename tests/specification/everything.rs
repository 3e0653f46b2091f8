//! One of everything: each message and field, each word of a list, each close code and status that
//! the documents name, of running servers. It must never pass while something documented is not sent.

use super::database;
use crate::support::documented::{begin_to_see, expected, seen};
use crate::support::{
    Database, EVERY_TRANSPORT, Server, Subscriber, TRANSPORTS, Transport, ask, brief, connect,
    eventually, get, marker, post, raw, serve, serve_unready, token, token_with, try_sse, ws,
    ws_with,
};
use rowcast::clock::unix_now;
use rowcast::event::GapReason;
use rowcast::hub::Ended;
use serde_json::json;
use std::pin::Pin;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

const ORIGIN: &str = "https://app.example.org";

/// What no test can see, and why.
const UNSEEN: &[(&str, &str)] = &[];

#[tokio::test]
async fn everything_that_is_documented_is_sent() {
    begin_to_see();
    // Side by side, each with a database of its own: nearly all of it is waiting.
    let parts: [Pin<Box<dyn Future<Output = ()>>>; 9] = [
        Box::pin(frames()),
        Box::pin(errors()),
        Box::pin(replays()),
        Box::pin(gaps()),
        Box::pin(ends()),
        Box::pin(ends_of_tokens()),
        Box::pin(statuses()),
        Box::pin(calls()),
        Box::pin(acks()),
    ];
    futures_util::future::join_all(parts).await;

    let (expected, seen) = (expected(), seen());
    for (name, _) in UNSEEN {
        assert!(
            expected.contains(*name),
            "UNSEEN has {name}, which is not documented"
        );
        assert!(!seen.contains(*name), "UNSEEN has {name}, which is sent");
    }
    let missing = expected.iter().filter(|name| !seen.contains(*name));
    let missing: Vec<_> = missing
        .filter(|name| UNSEEN.iter().all(|(unseen, _)| unseen != name))
        .collect();
    assert!(
        missing.is_empty(),
        "documented, and not seen here: {missing:#?}"
    );
}

async fn somebody(server: &Server, transport: Transport) -> Subscriber {
    let mut somebody = connect(transport, server, &token("1", "", ""), "rooms=open:1").await;
    somebody.expect("welcome").await;
    somebody
}

/// Welcomes, answers, events, notifications, heartbeats.
async fn frames() {
    let database = &database().await;
    let server = serve(database, |settings| {
        settings.websocket.heartbeat = Duration::from_secs(1);
        settings.sse.heartbeat = Duration::from_secs(1);
    })
    .await;
    let mut both = Vec::new();
    for transport in TRANSPORTS {
        both.push(somebody(&server, transport).await);
    }
    let socket = &mut both[0];
    for (frame, answer) in [
        (json!({ "type": "ping", "id": 1 }), "pong"),
        (
            json!({ "type": "subscribe", "rooms": ["open:2"], "id": 2 }),
            "subscribed",
        ),
        (
            json!({ "type": "unsubscribe", "rooms": ["open:2"], "id": 3 }),
            "unsubscribed",
        ),
        (
            json!({ "type": "auth", "token": token("1", "", ""), "id": 4 }),
            "authenticated",
        ),
    ] {
        socket.send(frame).await;
        socket.expect(answer).await;
    }
    let channel = "insert into rowcast.channel (name, delivery, rooms, event)
                   values ('old', 'notify', array['open:{room}'], 'old:{room}')";
    database.run(channel).await;
    for _ in 0..2 {
        // As of the second, the listener has looked at the channels again.
        marker(database, &["open:1"]).await;
        for somebody in &mut both {
            somebody.expect_event("marker").await;
        }
    }
    database
        .run("select pg_notify('old', '{\"room\":1}')")
        .await;
    for somebody in &mut both {
        somebody.expect_event("old:1").await;
        while somebody.next().await["type"] != "heartbeat" {}
    }
    database
        .run("delete from rowcast.channel where name = 'old'")
        .await;
    server.stop().await;

    let anonymous = serve(database, |settings| {
        settings.auth.anonymous_claims = Some(r#"{"role":"anonymous"}"#.into());
    })
    .await;
    for transport in TRANSPORTS {
        let mut nobody = connect(transport, &anonymous, "", "").await;
        assert!(nobody.expect("welcome").await["expiresAt"].is_null());
    }
    anonymous.stop().await;
}

/// Each code of an error, with `id` and with `room`.
async fn errors() {
    let database = &database().await;
    let server = serve(database, |settings| {
        settings.limits.rooms_per_connection = 2;
        settings.limits.messages_per_second = 6;
    })
    .await;
    let query = "rooms=open:1,shut:1,open:2,%01&since=garbage";
    for transport in EVERY_TRANSPORT {
        let mut somebody = connect(transport, &server, &token("1", "", ""), query).await;
        let mut codes: Vec<_> = Vec::new();
        while codes.len() < 4 {
            let frame = somebody.next().await;
            codes.extend(frame["code"].as_str().map(str::to_owned));
        }
        codes.sort();
        assert_eq!(
            codes,
            ["bad-bookmark", "bad-room", "forbidden", "too-many-rooms"]
        );
    }
    let mut socket = somebody(&server, Transport::WebSocket).await;
    for (frame, code) in [
        (json!([]), "bad-message"),
        (json!({ "type": "never" }), "unknown-type"),
        (
            json!({ "type": "subscribe", "rooms": [""], "id": 1 }),
            "bad-room",
        ),
        (
            json!({ "type": "auth", "token": "garbage" }),
            "unauthorized",
        ),
    ] {
        socket.send(frame).await;
        while socket.next().await["code"] != code {}
    }
    for _ in 0..40 {
        socket.send(json!({ "type": "ping" })).await;
    }
    while socket.next().await["code"] != "rate-limited" {}
    server.stop().await;
}

/// What `since` comes to.
async fn replays() {
    let database = &database().await;
    // It begins with whoever serves first, and these bookmarks are older.
    database.run("select rowcast.ensure_history()").await;
    let old = database.bookmark().await;
    for _ in 0..4 {
        marker(database, &["open:1"]).await;
    }
    let limit = database.bookmark().await;
    for _ in 0..4 {
        marker(database, &["open:1"]).await;
    }
    let near = database.bookmark().await;
    marker(database, &["open:1"]).await;
    // A new one has nothing in memory: it reads the log.
    let server = serve(database, |settings| settings.limits.replay_events = 3).await;
    let (history, _) = near.split_once('.').expect("a history and a place");
    let future = format!("{history}.4000000000_0");
    for transport in EVERY_TRANSPORT {
        for (since, reason) in [
            (near.as_str(), None),
            (limit.as_str(), Some("limit")),
            ("another.1_0", Some("history")),
            (future.as_str(), Some("future")),
            ("garbage", Some("bookmark")),
        ] {
            assert_resume(&server, transport, since, reason).await;
        }
        let load = format!("load=open:1&from={near}");
        let mut loading = connect(transport, &server, &token("1", "", ""), &load).await;
        loading.expect("welcome").await;
        let loaded = loading.expect("subscribed").await;
        assert_eq!(
            (&loaded["id"], &loaded["count"]),
            (&json!("load"), &json!(1))
        );
    }
    let mut socket = somebody(&server, Transport::WebSocket).await;
    let subscribe = json!({ "type": "subscribe", "rooms": ["open:2"], "since": near, "id": 1 });
    for (change, rooms) in [("revoke", json!(["open:2"])), ("grant", json!(["open:2"]))] {
        let to = if change == "revoke" { "from" } else { "to" };
        database
            .run(&format!(
                "{change} execute on all functions in schema rowcast {to} rowcast_service"
            ))
            .await;
        socket.send(subscribe.clone()).await;
        let answer = socket.next().await;
        if change == "revoke" {
            // Nobody can be asked who may join.
            assert_eq!(answer["code"], "overloaded", "{answer}");
        } else {
            assert_eq!(
                (&answer["type"], &answer["rooms"]),
                (&json!("subscribed"), &rooms)
            );
        }
    }
    server.stop().await;

    let server = serve(database, |_| ()).await;
    let mut socket = somebody(&server, Transport::WebSocket).await;
    let read = "function rowcast.read_log";
    database
        .run(&format!("alter {read} rename to read_no_log"))
        .await;
    socket.send(subscribe).await;
    let answer = socket.expect("subscribed").await;
    assert_eq!(answer["reason"], "unavailable", "{answer}");
    database
        .run("alter function rowcast.read_no_log rename to read_log")
        .await;
    server.stop().await;
    forget_all(database).await;
    let server = serve(database, |_| ()).await;
    for transport in EVERY_TRANSPORT {
        assert_resume(&server, transport, &old, Some("horizon")).await;
    }
    server.stop().await;
}

async fn assert_resume(server: &Server, transport: Transport, since: &str, reason: Option<&str>) {
    let query = format!("rooms=open:1&since={since}");
    let mut somebody = connect(transport, server, &token("1", "", ""), &query).await;
    loop {
        let frame = somebody.next().await;
        if frame["type"] == "subscribed" {
            assert_eq!(frame["reason"].as_str(), reason, "{since}: {frame}");
            return;
        }
    }
}

/// Forgets what was written so far, as two days would.
pub async fn forget_all(database: &Database) {
    let rotate = "select rowcast.rotate_log(pg_current_snapshot())";
    // A turn in which somebody else holds a lock moves nothing.
    eventually("all is forgotten", async || {
        database.run(rotate).await;
        database
            .run(
                "update rowcast.leaf set entered_at = entered_at - interval '2 days',
                  left_at = left_at - interval '2 days'",
            )
            .await;
        let left: i64 = database.ask("select count(*) from rowcast.event").await;
        (left == 0).then_some(())
    })
    .await;
}

/// Each reason of a gap, live and to who comes back.
async fn gaps() {
    let database = &database().await;
    let server = serve(database, |_| ()).await;
    let mut both = Vec::new();
    for transport in TRANSPORTS {
        both.push(somebody(&server, transport).await);
    }
    // A trigger's, and a paused channel's, are rows of the log.
    for (changes, reason) in [
        (
            &[
                "create table public.broken (id int);
                 select rowcast.attach('public.broken', 'insert', $$
                   select 'e' as name, array['open:1'] as rooms, to_json(1 / (n.id - n.id)) as data
                   from new_rows n $$)",
                "insert into public.broken values (1)",
            ][..],
            "trigger",
        ),
        (
            &[
                "insert into rowcast.channel (name, paused) values ('held', true)",
                "select rowcast.emit('held', 'e', array['open:1'], '{}')",
                "update rowcast.channel set paused = false where name = 'held'",
            ],
            "paused",
        ),
    ] {
        let before = database.bookmark().await;
        for change in changes {
            database.run(change).await;
            // As of the second, the listener has looked at the channels again.
            for _ in 0..2 {
                marker(database, &["open:1"]).await;
                for somebody in &mut both {
                    while somebody.next().await["name"] != "marker" {}
                }
            }
        }
        for somebody in &mut both {
            let told = |frame: &&serde_json::Value| frame["reason"] == reason;
            assert!(somebody.received.iter().find(told).is_some(), "{reason}");
        }
        for transport in EVERY_TRANSPORT {
            assert_resume(&server, transport, &before, Some(reason)).await;
        }
    }
    // Other stations make these happen; here their words are looked at.
    for reason in [
        GapReason::History,
        GapReason::Horizon,
        GapReason::Listener,
        GapReason::Overflow,
    ] {
        server.gate.hub.tell_gap(reason);
        for somebody in &mut both {
            assert_eq!(somebody.expect("gap").await["reason"], reason.word());
        }
    }
    server.stop().await;
}

/// Ends that are nobody's token's fault.
async fn ends() {
    let database = &database().await;
    for (ended, code, word) in [
        (Ended::Lagged, 4000, "lagged"),
        (Ended::Restart, 1012, "restart"),
        (Ended::Unconfirmed, 1013, "overloaded"),
        (Ended::EndsEarlier, 1013, "overloaded"),
        (Ended::NoSession, 1008, "unauthorized"),
    ] {
        let server = serve(database, |_| ()).await;
        let mut socket = somebody(&server, Transport::WebSocket).await;
        let mut stream = somebody(&server, Transport::Sse).await;
        let mut polls = somebody(&server, Transport::Poll).await;
        server.gate.hub.end_all(ended);
        assert_eq!(socket.closed().await.0, code);
        assert_eq!(stream.closed().await, (200, word.into()));
        let polled = tokio::spawn(async move { polls.closed().await });
        // Whoever was between two polls is told at the next.
        eventually("the poll is ended too", async || {
            server.gate.hub.end_all(ended);
            polled.is_finished().then_some(())
        })
        .await;
        let status = if code == 1008 { 401 } else { 503 };
        assert_eq!(polled.await.expect("an end"), (status, word.into()));
        server.stop().await;
    }
    let server = serve(database, |settings| {
        settings.limits.connections_per_user = 1;
    })
    .await;
    let mut big = somebody(&server, Transport::WebSocket).await;
    let mut second = ws(&server, &token("1", "", ""), "").await;
    assert_eq!(second.closed().await.0, 4003);
    let Err(refused) = try_sse(&server, &token("1", "", ""), "", &[]).await else {
        panic!("it came in");
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    big.send_message(Message::text("x".repeat(70_000))).await;
    assert_eq!(big.closed().await.0, 1009);
    eventually("it has left", async || {
        (server.gate.seats.taken() == 0).then_some(())
    })
    .await;
    let mut odd = somebody(&server, Transport::WebSocket).await;
    let frame = Frame::message("x", OpCode::Data(Data::Reserved(3)), true);
    odd.send_message(Message::Frame(frame)).await;
    assert_eq!(odd.closed().await.0, 4004);
    server.stop().await;

    let server = serve(database, |settings| {
        settings.websocket.ping = Duration::from_secs(1);
        settings.websocket.pong_timeout = Duration::from_secs(1);
    })
    .await;
    let mut silent = somebody(&server, Transport::WebSocket).await;
    eventually("who answers no ping is out", async || {
        (server.gate.hub.sizes().subscriptions == 0).then_some(())
    })
    .await;
    assert_eq!(silent.closed().await.0, 4005);
    server.stop().await;
}

/// Ends for want of a token.
async fn ends_of_tokens() {
    let database = &database().await;
    let server = serve(database, |_| ()).await;
    assert_eq!(ws(&server, "", "").await.closed().await.0, 1008);
    let issued = json!({ "sub": "9", "iat": unix_now() - 5, "exp": unix_now() + 600 });
    let issued = || token_with(&issued);
    // Made when the others are in: its time is short.
    let short = || brief(json!({ "sub": "8" })).0;
    let mut them = Vec::new();
    let tokens: [(&dyn Fn() -> String, _, _); 2] =
        [(&issued, 4002, "revoked"), (&short, 4001, "token-expired")];
    for (token, code, word) in tokens {
        let token = token();
        for transport in EVERY_TRANSPORT {
            let mut somebody = connect(transport, &server, &token, "").await;
            somebody.expect("welcome").await;
            them.push((somebody, transport, code, word));
        }
    }
    // Between two polls one would be refused as any later one is.
    eventually("the polls are held", async || {
        (server.gate.hub.sizes().subscriptions == them.len()).then_some(())
    })
    .await;
    database.run("select rowcast.revoke('9')").await;
    for (mut somebody, transport, code, word) in them {
        let (ended, why) = somebody.closed().await;
        match transport {
            Transport::WebSocket => assert_eq!(ended, code),
            Transport::Sse => assert_eq!((ended, why.as_str()), (200, word)),
            Transport::Poll => assert_eq!((ended, why.as_str()), (401, word)),
        }
    }
    server.stop().await;
}

/// Each status with each of its headers, to listed origins and to none.
async fn statuses() {
    let database = &database().await;
    let server = serve(database, |settings| {
        settings.http.allowed_origins = vec![ORIGIN.into()];
        settings.limits.connections_per_user = 1;
    })
    .await;
    let token = token("1", "", "");
    let (origin, bearer) = (("origin", ORIGIN), format!("Bearer {token}"));
    let authorized = ("authorization", bearer.as_str());
    let stream = try_sse(&server, &token, "", &[origin]).await;
    let mut stream = stream.unwrap_or_else(|answer| panic!("{answer:?}"));
    stream.expect("welcome").await;
    let evil = ("origin", "https://evil.example");
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    for (path, headers, status) in [
        ("/sse", vec![origin], 401),
        ("/sse", vec![authorized, evil], 403),
        ("/sse", vec![authorized, origin], 429),
        ("/sse?load=open:1", vec![authorized, origin], 400),
        ("/poll", vec![origin], 401),
        ("/poll", vec![authorized, evil], 403),
        ("/poll", vec![authorized, origin], 429),
        ("/poll?wait=long", vec![authorized, origin], 400),
        ("/poll?from=another.1_0", vec![authorized, origin], 400),
        ("/ws", vec![], 426),
        ("/ws", vec![upgrade[0], upgrade[1], key], 400),
        ("/healthz", vec![], 200),
        ("/readyz", vec![], 200),
        ("/metrics", vec![], 200),
        ("/nothing", vec![], 404),
    ] {
        let answer = get(&server, path, &headers).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    for (path, headers, status) in [
        ("/call/lab_week", vec![origin], 401),
        ("/call/lab_week", vec![authorized, evil], 403),
        ("/call/lab_week", vec![authorized, origin], 429),
        ("/sse", vec![], 404),
    ] {
        let answer = post(&server, path, &headers, "").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    let long = format!(
        "GET /sse HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    for (request, status) in [(long.as_str(), "431"), ("nonsense\r\n\r\n", "400")] {
        let answer = raw(&server, request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    drop(stream);
    eventually("it has left", async || {
        (server.gate.seats.taken() == 0).then_some(())
    })
    .await;
    let protocols = format!("rowcast.v1, bearer.{token}");
    let offered = [("sec-websocket-protocol", protocols.as_str())];
    ws_with(&server, "", &offered).await.expect("welcome").await;
    for path in ["/sse", "/poll", "/call/lab_week"] {
        let answer = ask(&server, "OPTIONS", path, &[origin], "").await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    server.stop().await;

    let server = serve_unready(database, |settings| {
        settings.database.url = Some("postgres://nobody@127.0.0.1:1/none".into());
    })
    .await;
    assert_eq!(get(&server, "/readyz", &[]).await.status, 503);
    server.stop().await;
}

/// When a body comes too late, and a head, which comes in time.
const LATE: Duration = Duration::from_secs(6);

/// Each answer to a call, by frame and by HTTP.
async fn calls() {
    let database = &database().await;
    let server = serve(database, |settings| {
        settings.http.allowed_origins = vec![ORIGIN.into()];
        settings.http.header_timeout = LATE;
        settings.http.spread = Duration::ZERO;
        settings.calls.timeout = Duration::from_secs(30);
        settings.calls.result_bytes = 1000;
    })
    .await;
    let mut socket = somebody(&server, Transport::WebSocket).await;
    let bearer = format!("Bearer {}", token("1", "", ""));
    let authorized = ("authorization", bearer.as_str());
    let json = ("content-type", "application/json");
    for (name, args, status, code) in [
        ("lab_week", json!({ "lab": 1 }), 200, ""),
        ("never", json!({}), 404, "no-such-function"),
        ("lab_week", json!({}), 400, "bad-arguments"),
        ("letters", json!({ "n": 2000 }), 413, "too-large"),
        ("sleeps", json!({}), 504, "call-timeout"),
        ("raises", json!({}), 422, "call-failed"),
    ] {
        let headers = [authorized, json, ("origin", ORIGIN)];
        let answer = post(
            &server,
            &format!("/call/{name}"),
            &headers,
            args.to_string(),
        )
        .await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        let call = json!({ "type": "call", "function": name, "args": args, "id": name });
        socket.send(call).await;
        let frame = socket.next().await;
        assert_eq!(frame["id"], name, "{frame}");
        assert_eq!(frame["code"].as_str().unwrap_or_default(), code, "{frame}");
    }
    let (plain, big) = (("content-type", "text/plain"), "x".repeat(70_000));
    for (kind, body, status) in [(plain, "{}", 415), (json, big.as_str(), 413)] {
        let answer = post(
            &server,
            "/call/lab_week",
            &[authorized, kind],
            body.to_owned(),
        )
        .await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let late = format!(
        "POST /call/lab_week HTTP/1.1\r\nhost: x\r\nauthorization: {bearer}\r\n\
         content-type: application/json\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{{"
    );
    let answer = raw(&server, &late).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");

    let begin = "function rowcast.begin_call";
    database
        .run(&format!("alter {begin} rename to begin_no_call"))
        .await;
    let answer = post(
        &server,
        "/call/lab_week",
        &[authorized, json],
        "{\"lab\":1}",
    )
    .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.json()["error"]["retryMs"], 0, "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "1", "never at once");
    database
        .run("alter function rowcast.begin_no_call rename to begin_call")
        .await;
    server.stop().await;

    let server = serve(database, |settings| settings.limits.messages_per_second = 1).await;
    eventually("calls come too fast", async || {
        let answer = post(
            &server,
            "/call/lab_week",
            &[authorized, json],
            "{\"lab\":1}",
        )
        .await;
        (answer.status == 429).then_some(())
    })
    .await;
    server.stop().await;
}

/// Each answer to an acknowledgement, by frame and by HTTP.
async fn acks() {
    let database = &database().await;
    let server = serve(database, |settings| {
        settings.http.allowed_origins = vec![ORIGIN.into()];
        settings.http.header_timeout = LATE;
        settings.http.spread = Duration::ZERO;
    })
    .await;
    let token = token("1", "", "");
    for transport in EVERY_TRANSPORT {
        // The first is new, and the others find what it left.
        for outcome in ["live", "recovered"] {
            let query = format!("rooms=open:1&reader={transport:?}");
            let mut reader = connect(transport, &server, &token, &query).await;
            reader.expect("welcome").await;
            assert_eq!(reader.expect("subscribed").await["outcome"], outcome);
        }
    }
    let mut plain = somebody(&server, Transport::WebSocket).await;
    plain
        .send(json!({ "type": "ack", "bookmark": "another.1_0" }))
        .await;
    assert_eq!(plain.expect("error").await["code"], "no-reader");
    let mut socket = ws(&server, &token, "rooms=open:1&reader=a").await;
    socket.expect("welcome").await;
    socket.expect("subscribed").await;
    let now = database.bookmark().await;
    for id in [json!({}), json!({ "id": 1 })] {
        let mut ack = json!({ "type": "ack", "bookmark": now });
        ack["id"] = id["id"].clone();
        socket.send(ack).await;
        assert_eq!(socket.expect("acked").await["bookmark"], *now);
    }
    let bearer = format!("Bearer {token}");
    let authorized = ("authorization", bearer.as_str());
    let (json, origin) = (("content-type", "application/json"), ("origin", ORIGIN));
    let good = json!({ "bookmark": now }).to_string();
    let elsewhere = json!({ "bookmark": "another.1_0" }).to_string();
    let big = "x".repeat(70_000);
    let all = vec![authorized, json, origin];
    for (path, headers, body, status) in [
        ("/ack/a", all.clone(), good.as_str(), 200),
        ("/ack/a", all.clone(), "{}", 400),
        ("/ack/a", all.clone(), &elsewhere, 400),
        ("/ack/%00", all.clone(), &good, 400),
        ("/ack/never", all.clone(), &good, 404),
        ("/ack/a", all.clone(), &big, 413),
        ("/ack/a", vec![authorized, origin], &good, 415),
        ("/ack/a", vec![json, origin], &good, 401),
        (
            "/ack/a",
            vec![authorized, json, ("origin", "https://evil.example")],
            &good,
            403,
        ),
    ] {
        let answer = post(&server, path, &headers, body.to_owned()).await;
        assert_eq!(answer.status, status, "{path} {body:.40}: {answer:?}");
    }
    let answer = ask(&server, "OPTIONS", "/ack/a", &[origin], "").await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let late = format!(
        "POST /ack/a HTTP/1.1\r\nhost: x\r\nauthorization: {bearer}\r\n\
         content-type: application/json\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{{"
    );
    let answer = raw(&server, &late).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let away = "alter function rowcast.acknowledge rename to acknowledge_not";
    database.run(away).await;
    let answer = post(&server, "/ack/a", &all, good.clone()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    socket.send(json!({ "type": "ack", "bookmark": now })).await;
    assert_eq!(socket.expect("error").await["code"], "overloaded");
    database
        .run("alter function rowcast.acknowledge_not rename to acknowledge")
        .await;
    server.stop().await;

    let server = serve(database, |settings| {
        settings.limits.messages_per_second = 1;
        settings.limits.connections_per_user = 4;
    })
    .await;
    eventually("acknowledgements come too fast", async || {
        let none_waits = (0..4).map(|_| post(&server, "/ack/a", &all[..2], good.clone()));
        let answers = futures_util::future::join_all(none_waits).await;
        let mut codes = answers.iter().map(|answer| &answer.body);
        codes
            .any(|body| body.contains("rate-limited"))
            .then_some(())
    })
    .await;
    let mut seated = Vec::new();
    for _ in 0..4 {
        seated.push(somebody(&server, Transport::WebSocket).await);
    }
    let answer = post(&server, "/ack/a", &all[..2], good).await;
    assert_eq!(
        answer.json()["error"]["code"],
        "too-many-connections",
        "{answer:?}"
    );
    server.stop().await;
}

//! Bad input and limits: whatever a client sends is answered with an error it can act on, and what
//! the connection had lives on. That it does is proven by an event that comes afterwards.

use crate::support::{
    self, Database, EVERY_TRANSPORT, Process, Server, Subscriber, TRANSPORTS, Transport, connect,
    eventually, get, marker, metric, raw, serve, serve_process, token, try_sse, within, ws,
    ws_with,
};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// `open:*` is for everybody, `shut:*` for nobody, the rule of `broken:*` fails, and that of `slow:*`
/// takes its time.
const RULES: &str = "
    create function public.anybody(claims jsonb, room text) returns boolean language sql
      as 'select true';
    create function public.nobody(claims jsonb, room text) returns boolean language sql
      as 'select false';
    create function public.broken(claims jsonb, room text) returns boolean language sql
      as 'select substr(room, 8)::bigint > 0';
    create function public.slowly(claims jsonb, room text) returns boolean language sql
      as 'select pg_sleep(0.02) is not null';
    insert into rowcast.room_rule values ('open:*', 'public.anybody(jsonb, text)'),
      ('slow:*', 'public.slowly(jsonb, text)'),
      ('shut:*', 'public.nobody(jsonb, text)'), ('broken:*', 'public.broken(jsonb, text)')";

async fn database() -> Database {
    let database = support::database().await;
    database.run(RULES).await;
    database
}

/// Somebody in `open:1`, welcomed.
async fn somebody(server: &Server, transport: Transport) -> Subscriber {
    let mut somebody = connect(transport, server, &token("1", "", ""), "rooms=open:1").await;
    assert_eq!(somebody.expect("welcome").await["rooms"], json!(["open:1"]));
    somebody
}

async fn assert_alive(database: &Database, somebody: &mut Subscriber) {
    let id = marker(database, &["open:1"]).await;
    assert_eq!(somebody.expect_event("marker").await["id"], id.as_str());
}

/// The answer is an error with this code, and says so in words.
async fn assert_error(somebody: &mut Subscriber, code: &str, context: &Value) -> Value {
    let error = somebody.expect("error").await;
    assert_eq!(error["code"], code, "{context}: {error}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    error
}

#[tokio::test]
async fn bad_frames_are_answered_and_the_rest_lives_on() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let mut socket = somebody(&server, Transport::WebSocket).await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    for text in [
        "",
        " ",
        "not json",
        "{",
        "null",
        "5",
        "[]",
        "\"ping\"",
        "{}",
        r#"{"type":5}"#,
        r#"{"type":null}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"subscribe","rooms":[]}"#,
        r#"{"type":"subscribe","rooms":"open:1"}"#,
        r#"{"type":"subscribe","rooms":[1]}"#,
        r#"{"type":"subscribe","rooms":["open:2"],"since":5}"#,
        r#"{"type":"auth","token":{}}"#,
        r#"{"type":"ping"} {"type":"ping"}"#,
        deep.as_str(),
    ] {
        socket.send_message(Message::text(text)).await;
        assert_error(&mut socket, "bad-message", &json!(text)).await;
        assert_alive(&database, &mut socket).await;
    }
    for bytes in [&b""[..], b"\x00\xff\xfe", br#"{"type":"ping"}"#] {
        socket.send_message(Message::binary(bytes)).await;
        assert_error(&mut socket, "bad-message", &json!(bytes)).await;
        assert_alive(&database, &mut socket).await;
    }
    for (number, name) in ["", "Subscribe", "welcome", "drop table"]
        .iter()
        .enumerate()
    {
        socket.send(json!({ "type": name, "id": number })).await;
        let error = assert_error(&mut socket, "unknown-type", &json!(name)).await;
        assert_eq!(error["id"], number);
        assert_alive(&database, &mut socket).await;
    }
    socket.send(json!({ "type": "x".repeat(60_000) })).await;
    assert_error(&mut socket, "unknown-type", &json!("long")).await;
    assert!(socket.raw.len() < 1000, "{}", socket.raw.len());
    // What it does not know in a frame it does know is ignored.
    socket
        .send(json!({ "type": "ping", "id": { "any": [1] }, "later": true }))
        .await;
    assert_eq!(socket.expect("pong").await["id"], json!({ "any": [1] }));
    assert_alive(&database, &mut socket).await;
    server.stop().await;
}

#[tokio::test]
async fn a_frame_that_is_too_big_ends_its_connection_only() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let most = server.gate.settings.limits.message_bytes;
    let mut other = somebody(&server, Transport::WebSocket).await;
    let mut socket = somebody(&server, Transport::WebSocket).await;
    let ping = r#"{"type":"ping"}"#;
    let padded = format!("{ping}{}", " ".repeat(most - ping.len()));
    socket.send_message(Message::text(padded.clone())).await;
    socket.expect("pong").await;
    socket.send_message(Message::text(padded + " ")).await;
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 1009, "{reason}");
    // However much more is on its way.
    for length in [most + 1, 5 << 20] {
        let mut socket = somebody(&server, Transport::WebSocket).await;
        socket.send_message(Message::binary(vec![0; length])).await;
        assert_eq!(socket.closed().await.0, 1009);
    }
    assert_alive(&database, &mut other).await;
    server.stop().await;
}

/// Names that are none, with the error each gets.
fn bad_rooms() -> Vec<(String, &'static str)> {
    let mut rooms = vec![
        (String::new(), "bad-room"),
        ("open:\n".into(), "bad-room"),
        ("open:\u{0}".into(), "bad-room"),
        ("open:\u{85}".into(), "bad-room"),
        (format!("open:{}", "é".repeat(98)), "bad-room"),
        ("shut:1".into(), "forbidden"),
        ("unknown".into(), "forbidden"),
        ("open".into(), "forbidden"),
        ("Open:1".into(), "forbidden"),
        ("open*".into(), "forbidden"),
        ("' or true --".into(), "forbidden"),
    ];
    // A rule that fails says no, and to nobody else.
    rooms.push(("broken:x".into(), "forbidden"));
    rooms
}

#[tokio::test]
async fn bad_rooms_are_refused_one_by_one() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let mut socket = somebody(&server, Transport::WebSocket).await;
    for (number, (room, code)) in bad_rooms().into_iter().enumerate() {
        let good = format!("open:good:{number}");
        let frame = json!({ "type": "subscribe", "rooms": [room, good], "id": number });
        socket.send(frame.clone()).await;
        let error = assert_error(&mut socket, code, &frame).await;
        assert_eq!(
            (&error["room"], &error["id"]),
            (&json!(room), &json!(number))
        );
        assert_eq!(socket.expect("subscribed").await["rooms"], json!([good]));
        assert_alive(&database, &mut socket).await;
    }
    // At the limit of a name, of whatever bytes.
    let longest = format!("open:{}x", "é".repeat(97));
    socket
        .send(json!({ "type": "subscribe", "rooms": [longest, longest, "*"] }))
        .await;
    assert_eq!(
        socket.expect("subscribed").await["rooms"],
        json!([longest, "*"])
    );
    // What is forbidden answers exactly as what does not exist.
    let mut answers = Vec::new();
    for room in ["shut:1", "none:1"] {
        socket
            .send(json!({ "type": "subscribe", "rooms": [room] }))
            .await;
        let mut error = socket.expect("error").await;
        assert_eq!(error["room"], room);
        error["room"] = Value::Null;
        let subscribed = socket.expect("subscribed").await;
        assert_eq!(subscribed["rooms"], json!([]));
        answers.push(error);
    }
    assert_eq!(answers[0], answers[1]);
    socket
        .send(json!({ "type": "unsubscribe", "rooms": ["never:joined", ""], "id": 1 }))
        .await;
    socket.expect("unsubscribed").await;
    assert_alive(&database, &mut socket).await;
    server.stop().await;
}

#[tokio::test]
async fn bad_rooms_of_the_url_are_refused_one_by_one() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    for transport in TRANSPORTS {
        for (room, code) in bad_rooms().into_iter().filter(|(room, _)| !room.is_empty()) {
            let encoded: String = url::form_urlencoded::byte_serialize(room.as_bytes()).collect();
            let query = format!("rooms={encoded},open:1,,open:1");
            let mut somebody = connect(transport, &server, &token("1", "", ""), &query).await;
            assert_eq!(somebody.expect("welcome").await["rooms"], json!(["open:1"]));
            let error = assert_error(&mut somebody, code, &json!(room)).await;
            assert_eq!(error["room"], room);
            assert_alive(&database, &mut somebody).await;
        }
    }
    server.stop().await;
}

/// A thousand rooms would take SQL longer than a statement may, and everybody who comes meanwhile would
/// wait for it.
/// Over streams and polls such a room could not be asked for at all.
#[tokio::test]
async fn a_room_may_hold_what_parts_rooms_in_an_address() {
    let database = database().await;
    let server = serve(&database, |_| {}).await;
    for transport in EVERY_TRANSPORT {
        let query = r"rooms=open:a\,b,open:\\,open:CORP\é";
        let mut somebody = connect(transport, &server, &token("1", "", ""), query).await;
        let rooms = [r"open:a,b", r"open:\", r"open:CORP\é"];
        let welcome = somebody.expect("welcome").await;
        assert_eq!(welcome["rooms"], json!(rooms), "{transport:?}");
        marker(&database, &rooms[..1]).await;
        somebody.expect_event("marker").await;
    }
}

#[tokio::test]
async fn who_names_thousands_of_rooms_is_asked_for_no_more_than_it_may_have() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.rooms_per_connection = 3;
    })
    .await;
    let rooms: Vec<String> = (0..1000).map(|number| format!("slow:{number}")).collect();
    let query = format!("rooms={}", rooms.join(","));
    for transport in TRANSPORTS {
        let mut somebody = connect(transport, &server, &token("1", "", ""), &query).await;
        let welcome = somebody.expect("welcome").await;
        assert_eq!(welcome["rooms"], json!(["slow:0", "slow:1", "slow:2"]));
        for room in &rooms[3..] {
            let error = somebody.expect("error").await;
            assert_eq!(
                (&error["code"], &error["room"]),
                (&json!("too-many-rooms"), &json!(room))
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn too_many_rooms_are_refused() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.rooms_per_connection = 3;
    })
    .await;
    for transport in TRANSPORTS {
        let query = "rooms=open:1,open:2,open:3,open:4";
        let mut somebody = connect(transport, &server, &token("1", "", ""), query).await;
        let welcome = somebody.expect("welcome").await;
        assert_eq!(welcome["rooms"], json!(["open:1", "open:2", "open:3"]));
        assert_eq!(somebody.expect("error").await["code"], "too-many-rooms");
        assert_alive(&database, &mut somebody).await;
    }
    let mut socket = somebody(&server, Transport::WebSocket).await;
    let subscribe = |rooms: &[&str]| json!({ "type": "subscribe", "rooms": rooms, "id": 9 });
    socket
        .send(subscribe(&["open:2", "open:3", "open:4"]))
        .await;
    assert_eq!(
        assert_error(&mut socket, "too-many-rooms", &json!(0)).await["id"],
        9
    );
    let many: Vec<String> = (0..5000).map(|number| format!("open:{number}")).collect();
    socket
        .send(json!({ "type": "subscribe", "rooms": many }))
        .await;
    assert_error(&mut socket, "too-many-rooms", &json!(0)).await;
    // One that is named twice counts once.
    let twice = ["open:1", "open:1", "open:2", "open:2", "open:3"];
    socket.send(subscribe(&twice)).await;
    socket.expect("subscribed").await;
    socket.send(subscribe(&["open:4"])).await;
    assert_error(&mut socket, "too-many-rooms", &json!(0)).await;
    socket
        .send(json!({ "type": "unsubscribe", "rooms": ["open:3"] }))
        .await;
    socket.expect("unsubscribed").await;
    socket.send(subscribe(&["open:4"])).await;
    socket.expect("subscribed").await;
    assert_alive(&database, &mut socket).await;
    server.stop().await;
}

/// Each was told by an error of its own, to everybody who came: four hundred frames, at every connect. What was
/// asked for is told by its name, a home room, too.
#[tokio::test]
async fn home_rooms_that_are_too_many_are_told_at_once() {
    let database = database().await;
    let homes = "
        create function public.homes(claims jsonb) returns text[] language sql as $$
          select array_agg('home:' || n) from generate_series(1, 500) n
        $$;
        insert into rowcast.home_rule values ('public.homes(jsonb)')";
    database.run(homes).await;
    let server = serve(&database, |settings| {
        settings.limits.rooms_per_connection = 100;
    })
    .await;
    for transport in EVERY_TRANSPORT {
        let query = "rooms=open:1,home:7,home:500";
        let mut somebody = connect(transport, &server, &token("1", "", ""), query).await;
        let welcome = somebody.expect("welcome").await;
        assert_eq!(welcome["home"], 100);
        assert_eq!(welcome["rooms"].as_array().map(Vec::len), Some(100));
        marker(&database, &["home:1"]).await;
        let said = somebody.frames_until("marker").await;
        let errors = said.iter().map(|one| (&one["code"], &one["room"]));
        let mut errors: Vec<_> = errors.collect();
        errors.sort_by_key(|(_, room)| room.to_string());
        let code = &json!("too-many-rooms");
        let rooms = [json!("home:500"), json!("open:1"), Value::Null];
        assert_eq!(errors, rooms.each_ref().map(|room| (code, room)));
        let last = said.iter().find(|one| one["room"].is_null());
        let words = last.and_then(|one| one["message"].as_str());
        let expected = "400 of your 500 home rooms are left out: a connection may be in 100 rooms";
        assert_eq!(words, Some(expected), "{transport:?}");
    }
    // A token that is renewed is told the same; and who polls on does not have to be told again at once.
    let mut socket = ws(&server, &token("1", "", ""), "").await;
    socket.expect("welcome").await;
    socket.expect("error").await;
    let renewed = json!({ "type": "auth", "token": token("1", "", ""), "id": 1 });
    socket.send(renewed).await;
    let error = socket.expect("error").await;
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("too-many-rooms"), &json!(1))
    );
    socket.expect("authenticated").await;
    let headers = [("authorization", &*format!("Bearer {}", token("2", "", "")))];
    let first = get(&server, "/poll", &headers).await.json();
    assert_eq!(first["errors"].as_array().map(Vec::len), Some(1));
    let since = first["bookmark"].as_str().expect("a place");
    let began = Instant::now();
    let path = format!("/poll?wait=1&since={since}");
    let second = get(&server, &path, &headers).await.json();
    assert_eq!(second["errors"], first["errors"]);
    assert!(began.elapsed() >= Duration::from_secs(1));
    server.stop().await;
}

/// Bookmarks that are none, and such as another history or a future would have.
fn bad_bookmarks(good: &str) -> (Vec<String>, Vec<(String, &'static str)>) {
    let (history, place) = good.split_once('.').expect("history.snapshot");
    let malformed = vec![
        "garbage".into(),
        ".".into(),
        "...".into(),
        history.into(),
        format!("{history}."),
        format!("{good}."),
        format!("{good}.x"),
        format!("{good}.1.2.3.4"),
        format!("{history}.-1_0"),
        format!("{history}.0_0"),
        format!("{history}.1_1_5_5"),
        format!("{history}.99999999999999999999_0"),
        format!("{history}.1_99999999999999999999"),
        format!("{history}.18446744073709551615_18446744073709551615"),
        format!(" {good}"),
        format!("{good}\u{e9}"),
        "x".repeat(513),
        "1_0".repeat(4000),
        "'; drop schema rowcast cascade; --".into(),
    ];
    let elsewhere = vec![
        (format!("another.{place}"), "history"),
        (format!("{history}.4000000000_0"), "future"),
        (format!("{history}.1_4000000000"), "future"),
    ];
    (malformed, elsewhere)
}

#[tokio::test]
async fn forged_bookmarks_are_errors_or_gaps_and_never_silence() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    marker(&database, &["open:1"]).await;
    let here = database.bookmark().await;
    server.has_read(&database).await;
    let (malformed, elsewhere) = bad_bookmarks(&here);
    let mut socket = somebody(&server, Transport::WebSocket).await;
    let subscribe =
        |since: &str| json!({ "type": "subscribe", "rooms": ["open:2"], "since": since, "id": 5 });
    for since in &malformed {
        socket.send(subscribe(since)).await;
        let error = assert_error(&mut socket, "bad-bookmark", &json!(since)).await;
        assert_eq!(error["id"], 5);
        assert_alive(&database, &mut socket).await;
    }
    for (since, reason) in &elsewhere {
        socket.send(subscribe(since)).await;
        let answer = socket.expect("subscribed").await;
        assert_eq!(
            (&answer["outcome"], &answer["reason"]),
            (&json!("gap"), &json!(reason))
        );
        assert_alive(&database, &mut socket).await;
    }
    let malformed = malformed.iter().map(|since| (since, "bookmark"));
    for (since, reason) in malformed.chain(elsewhere.iter().map(|(since, why)| (since, *why))) {
        let encoded: String = url::form_urlencoded::byte_serialize(since.as_bytes()).collect();
        let query = format!("rooms=open:1&since={encoded}");
        let token = token("1", "", "");
        let mut arrivals = vec![
            ws(&server, &token, &query).await,
            support::sse(&server, &token, &query).await,
        ];
        if since.is_ascii() && !since.starts_with(' ') {
            let last = [("last-event-id", since.as_str())];
            let stream = try_sse(&server, &token, "rooms=open:1", &last).await;
            arrivals.push(stream.unwrap_or_else(|answer| panic!("{since}: {answer:?}")));
        }
        for somebody in &mut arrivals {
            somebody.expect("welcome").await;
        }
        let id = marker(&database, &["open:1"]).await;
        for mut somebody in arrivals {
            let frames = somebody.frames_until("marker").await;
            let told = |kind: &str| frames.iter().find(|frame| frame["type"] == kind);
            let answer = told("subscribed").unwrap_or_else(|| panic!("{since}: {frames:?}"));
            assert_eq!(answer["outcome"], "gap", "{since}");
            assert_eq!(answer["reason"], reason, "{since}");
            let error = told("error").map(|error| error["code"].clone());
            assert_eq!(
                error == Some(json!("bad-bookmark")),
                reason == "bookmark",
                "{since}"
            );
            assert_eq!(
                somebody.received.last().map(|last| &last["id"]),
                Some(&json!(id))
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn messages_above_the_rate_are_refused() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.messages_per_second = 2;
    })
    .await;
    let mut socket = somebody(&server, Transport::WebSocket).await;
    for number in 0..40 {
        socket.send(json!({ "type": "ping", "id": number })).await;
    }
    let (mut pongs, mut refused) = (0, 0);
    while pongs + refused < 40 {
        let answer = socket.next().await;
        match answer["code"].as_str() {
            None if answer["type"] == "pong" => pongs += 1,
            Some("rate-limited") => refused += 1,
            _ => panic!("neither: {answer}"),
        }
    }
    // A burst of two seconds' worth, and what a slow machine refills meanwhile.
    assert!(
        pongs >= 4 && refused >= 4,
        "{pongs} pongs, {refused} refused"
    );
    assert_alive(&database, &mut socket).await;
    server.stop().await;
}

/// What is still to be taken of a replay is no reason to cut whoever takes it and asks for a sign of
/// life meanwhile.
#[tokio::test]
async fn a_ping_in_a_long_replay_is_answered() {
    let database = database().await;
    let (since, count) = support::long_replay(&database, "*").await;
    let server = serve(&database, |settings| {
        // All of it is read in one.
        settings.database.statement_timeout = Duration::from_secs(60);
    })
    .await;
    let query = format!("rooms=open:1&since={since}");
    let mut socket = ws(&server, &token("1", "", ""), &query).await;
    socket.expect("welcome").await;
    assert_eq!(socket.expect("subscribed").await["outcome"], "recovered");
    socket.send_message(Message::Ping("now".into())).await;
    for _ in 0..count {
        socket.expect_event("big").await;
    }
    assert_alive(&database, &mut socket).await;
    server.stop().await;
}

/// Of all that are refused, few fill a log.
#[tokio::test]
async fn what_is_refused_again_and_again_is_counted_and_told_of_now_and_then() {
    let database = database().await;
    let rate = [("ROWCAST__LIMITS__MESSAGES_PER_SECOND", "1")];
    let mut program = serve_process(&database, &rate).await;
    let mut socket = ws(&program, &token("1", "", ""), "").await;
    socket.expect("welcome").await;
    let (mut refused, lines) = (0, async |program: &Process| {
        let log = program.log();
        let told = log.lines().filter(|line| line.contains("rate-limited"));
        told.map(str::to_owned).collect::<Vec<_>>()
    });
    // Until a later line says how many were left out.
    let last = loop {
        for _ in 0..100 {
            socket.send(json!({ "type": "ping" })).await;
        }
        for _ in 0..100 {
            refused += usize::from(socket.next().await["code"] == "rate-limited");
        }
        let told = lines(&program).await;
        if let [.., last] = &told[..]
            && told.len() > 1
        {
            assert!(told.len() < refused, "{} of {refused}", told.len());
            break last.clone();
        }
    };
    assert!(last.contains("more since the last line"), "{last}");
    let metrics = get(&program, "/metrics", &[]).await.body;
    let counted = format!("rowcast_refusals_total{{code=\"rate-limited\"}} {refused}\n");
    assert!(metrics.contains(&counted), "{refused}: {metrics}");
    program.signal(Signal::SIGTERM);
    program.exited().await;
}

/// A fleet of browsers with expired tokens filled the log, a line for each.
#[tokio::test]
async fn tokens_refused_again_and_again_are_told_of_by_reason_now_and_then() {
    let database = database().await;
    let mut program = serve_process(&database, &[]).await;
    let mut refused = 0;
    let told = async |program: &Process| {
        let log = program.log();
        let told = log.lines().filter(|line| line.contains("malformed"));
        told.map(str::to_owned).collect::<Vec<_>>()
    };
    // Until a later line says how many were left out.
    let last = loop {
        for _ in 0..50 {
            let answer = get(&program, "/poll?token=nonsense", &[]).await;
            refused += usize::from(answer.status == 401);
        }
        let told = told(&program).await;
        if let [.., last] = &told[..]
            && told.len() > 1
        {
            assert!(told.len() < refused, "{} of {refused}", told.len());
            break last.clone();
        }
    };
    assert!(last.contains("more since the last line"), "{last}");
    // However many of one reason there are, the first of another is told.
    get(&program, "/poll", &[]).await;
    let line = program.log_line("no token was sent").await;
    assert!(line.contains("127.0.0.1"), "{line}");
    let counted = metric(&program, "rowcast_refusals_total{code=\"unauthorized\"}").await;
    assert_eq!(counted, (refused + 1) as f64);
}

/// Those too that are answered later; and a line says whose they were, and of which room.
#[tokio::test]
async fn refused_acknowledgements_and_calls_fill_no_log_and_are_told_apart() {
    let database = database().await;
    let rate = [("ROWCAST__LIMITS__MESSAGES_PER_SECOND", "10000")];
    let mut program = serve_process(&database, &rate).await;
    let mut socket = ws(&program, &token("1", "", ""), "").await;
    let welcome = socket.expect("welcome").await;
    let frames = [
        json!({ "type": "ack", "bookmark": welcome["bookmark"] }),
        json!({ "type": "call", "function": "nobodys", "args": {}, "id": 1 }),
    ];
    for _ in 0..50 {
        for frame in &frames {
            socket.send(frame.clone()).await;
            assert_eq!(socket.next().await["type"], "error");
        }
    }
    let mut other = ws(&program, &token("2", "", ""), "").await;
    let connection = other.expect("welcome").await["connectionId"].clone();
    let room = format!("closed:{}", "é".repeat(150));
    other
        .send(json!({ "type": "subscribe", "rooms": [room] }))
        .await;
    other.expect("error").await;
    program.signal(Signal::SIGTERM);
    program.exited().await;
    let lines: Vec<Value> = program
        .log()
        .lines()
        .filter_map(|line| Some(serde_json::from_str::<Value>(line).ok()?["fields"].clone()))
        .collect();
    for word in ["no-reader", "no-such-function"] {
        let told = lines.iter().filter(|line| line["word"] == word).count();
        assert!((1..25).contains(&told), "{told} lines for 50 of {word}");
    }
    let line = lines.iter().find(|line| line["word"] == "bad-room");
    let line = line.expect("the refused room");
    assert_eq!(
        (&line["connection"], &line["address"]),
        (&connection, &json!("127.0.0.1"))
    );
    // As much of its name as a line needs.
    assert_eq!(line["room"], format!("closed:{}", "é".repeat(96)));
}

async fn open(server: &Server) -> TcpStream {
    within("a connection", TcpStream::connect(&server.address))
        .await
        .expect("somebody listens")
}

/// Everything that comes until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end as well.
    let _ = within("the other side closes", stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let database = database().await;
    // Enough for the head of who means well, on a busy machine.
    let limit = Duration::from_secs(2);
    let server = serve(&database, |settings| settings.http.header_timeout = limit).await;
    let mut other = somebody(&server, Transport::WebSocket).await;
    let beginnings = [
        "",
        "P",
        "PRI * HT",
        "GET ",
        "GET /sse HTTP/1.1\r\nhost: x\r\n",
        "GET /ws HTTP/1.1\r\nx: ",
    ];
    let cut = beginnings.map(async |beginning: &str| {
        let began = Instant::now();
        let mut stream = open(&server).await;
        stream
            .write_all(beginning.as_bytes())
            .await
            .expect("it reads");
        let answer = rest(&mut stream).await;
        assert!(began.elapsed() >= limit, "{beginning:?} was cut early");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    });
    join_all(cut).await;
    // A byte now and then is no progress.
    let mut stream = open(&server).await;
    stream
        .write_all(b"GET /sse HTTP/1.1\r\nx: ")
        .await
        .expect("it reads");
    let mut ticks = tokio::time::interval(limit / 10);
    let cut = eventually("a trickling head is cut", async || {
        ticks.tick().await;
        stream.write_all(b"x").await.err()
    })
    .await;
    assert!(matches!(
        cut.kind(),
        std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset
    ));
    // The limit is one on heads: a connection that is let in stays.
    assert_alive(&database, &mut other).await;
    server.stop().await;
}

#[tokio::test]
async fn heads_that_are_too_big_or_no_heads_are_refused() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let mut other = somebody(&server, Transport::Sse).await;
    let long = "x".repeat(40_000);
    let many = "x: y\r\n".repeat(500);
    for (request, status) in [
        (
            format!("GET /sse HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
            "431",
        ),
        (
            format!("GET /sse?token={long} HTTP/1.1\r\nhost: x\r\n\r\n"),
            "4",
        ),
        (format!("GET /sse HTTP/1.1\r\nhost: x\r\n{many}\r\n"), "431"),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n".into(), "400"),
        ("GET /sse HTTP/9.9\r\n\r\n".into(), "400"),
        ("nonsense\r\n\r\n".into(), "400"),
    ] {
        let answer = raw(&server, &request).await;
        let start = &request[..20.min(request.len())];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{start:?}: {answer}"
        );
    }
    assert_alive(&database, &mut other).await;
    server.stop().await;
}

#[tokio::test]
async fn wrong_paths_and_methods_are_told() {
    let database = database().await;
    let server = serve(&database, |settings| settings.console.enabled = true).await;
    for path in [
        "/",
        "/nope",
        "/sse/x",
        "/%00",
        "/..%2f..%2fetc/passwd",
        // What a proxy keeps from the public by its exact path, such as `location = /metrics`.
        "/metrics/",
        "/readyz/",
        "/healthz/",
        "/ws/",
        "/sse/",
        "/poll/",
        "/console/watch/",
    ] {
        let answer = get(&server, path, &[]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"]["code"], "not-found", "{path}");
    }
    for line in [
        "POST /sse",
        "PUT /ws",
        "DELETE /metrics",
        "POST /readyz",
        "PATCH /sse",
        "POST /call/hello/",
        "POST /ack/mine/",
    ] {
        let head = "HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close";
        let answer = raw(&server, &format!("{line} {head}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{line}: {answer}");
        assert!(answer.contains(r#""error""#), "{line}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_without_a_path_is_not_found() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let answer = raw(
        &server,
        "CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("not-found"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn an_upgrade_that_is_none_is_told() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let plain = get(&server, "/ws", &[]).await;
    assert_eq!(
        (plain.status, &plain.headers["upgrade"]),
        (426, &"websocket".parse().expect("a value"))
    );
    assert_eq!(plain.json()["error"]["code"], "protocol-error");
    let upgrade = ("upgrade", "websocket");
    let connection = ("connection", "upgrade");
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let version = ("sec-websocket-version", "13");
    for (headers, status) in [
        (vec![connection, upgrade, version], 426),
        (vec![connection, key, version], 426),
        (vec![connection, ("upgrade", "h2c"), key, version], 426),
        (vec![connection, upgrade, key], 400),
        (
            vec![connection, upgrade, key, ("sec-websocket-version", "8")],
            400,
        ),
    ] {
        let answer = get(&server, "/ws", &headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(answer.json()["error"]["code"], "protocol-error");
        if status == 400 {
            assert_eq!(answer.headers["sec-websocket-version"], "13");
        }
    }
    server.stop().await;
}

/// Close code of a WebSocket and what SSE says: a status, or the word of a stream that is to come back.
async fn refusals(
    server: &Server,
    token: &str,
    headers: &[(&str, &str)],
) -> (u16, String, u16, String) {
    let bearer = format!("Bearer {token}");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend(headers);
    let (code, reason) = ws_with(server, "", &all).await.closed().await;
    match try_sse(server, "", "", &all).await {
        Ok(mut stream) => {
            let (status, word) = stream.closed().await;
            assert!(stream.retry.is_some(), "when to come back");
            (code, reason, status, word)
        }
        Err(answer) => {
            let word = answer.json()["error"]["code"]
                .as_str()
                .unwrap_or("")
                .to_owned();
            (code, reason, answer.status, word)
        }
    }
}

async fn seats_taken(server: &Server, number: usize) {
    eventually("seats are free again", async || {
        (server.gate.seats.taken() == number).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_of_a_user_are_limited() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.connections_per_user = 2;
    })
    .await;
    let first = somebody(&server, Transport::WebSocket).await;
    let mut second = somebody(&server, Transport::Sse).await;
    let (code, _, status, word) = refusals(&server, &token("1", "", ""), &[]).await;
    assert_eq!(
        (code, status, word.as_str()),
        (4003, 429, "too-many-connections")
    );
    let mut other = ws(&server, &token("2", "", ""), "rooms=open:1").await;
    other.expect("welcome").await;
    assert_alive(&database, &mut second).await;
    drop(first);
    seats_taken(&server, 2).await;
    somebody(&server, Transport::WebSocket).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_in_all_are_limited_for_a_while() {
    let database = database().await;
    let server = serve(&database, |settings| settings.limits.connections = 1).await;
    let mut first = somebody(&server, Transport::Sse).await;
    let (code, reason, status, word) = refusals(&server, &token("2", "", ""), &[]).await;
    assert_eq!((code, status, word.as_str()), (1013, 200, "overloaded"));
    assert!(reason.parse::<u64>().is_ok(), "milliseconds: {reason}");
    // Operators are not counted.
    assert_eq!(get(&server, "/readyz", &[]).await.status, 200);
    assert_alive(&database, &mut first).await;
    drop(first);
    seats_taken(&server, 0).await;
    somebody(&server, Transport::WebSocket).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_of_an_address_are_limited() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.connections_per_address = 1;
    })
    .await;
    let _first = somebody(&server, Transport::WebSocket).await;
    // Anybody can write such a header.
    let forwarded = [("x-forwarded-for", "203.0.113.1")];
    let (code, _, status, word) = refusals(&server, &token("2", "", ""), &forwarded).await;
    assert_eq!(
        (code, status, word.as_str()),
        (4003, 429, "too-many-connections")
    );
    server.stop().await;
}

/// From another address of this machine.
async fn from_elsewhere(server: &Server) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.2:0".parse().expect("an address"))
        .expect("all of 127 is this machine");
    let address = server.address.parse().expect("an address");
    let connected = within("a connection", socket.connect(address)).await;
    connected.expect("somebody listens")
}

#[tokio::test]
async fn silent_sockets_of_an_address_keep_nobody_else_out() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.connections = 50;
        settings.limits.connections_per_address = 5;
    })
    .await;
    let word = "rowcast_refusals_total{code=\"too-many-connections\"}";
    let before = metric(&server, word).await;
    let (mut silent, mut cut) = (Vec::new(), None);
    for _ in 0..100 {
        let mut stream = open(&server).await;
        // Served or not, it is looked at by now if it answers, or ends.
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        let mut answer = [0; 12];
        let answered = asked.await.is_ok()
            && within("an answer", stream.read_exact(&mut answer))
                .await
                .is_ok();
        if !answered {
            cut = Some(silent.len());
            break;
        }
        silent.push(stream);
    }
    // Six of a browser's for each, and what readiness was asked by.
    assert!(
        cut.is_some_and(|count| (20..=30).contains(&count)),
        "{cut:?}"
    );
    let mut elsewhere = from_elsewhere(&server).await;
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    elsewhere.write_all(request).await.expect("it reads");
    let metrics = rest(&mut elsewhere).await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    drop(silent);
    is_served_again(&server).await;
    assert!(metric(&server, word).await > before);
    server.stop().await;
}

/// There is room for one more socket, by and by.
async fn is_served_again(server: &Server) {
    eventually("a socket is served", async || {
        let mut stream = open(server).await;
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        asked.await.ok()?;
        within("an answer", stream.read_exact(&mut [0; 12]))
            .await
            .ok()
    })
    .await;
}

/// A socket counts until it is closed, whatever it has become.
#[tokio::test]
async fn websockets_are_counted_among_the_sockets_of_their_address() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.connections_per_address = 1;
    })
    .await;
    let _first = somebody(&server, Transport::WebSocket).await;
    let upgrade = "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // Each is refused, and leaves its close frame unanswered.
    let (mut open_still, mut cut) = (Vec::new(), false);
    while !cut && open_still.len() < 100 {
        let mut stream = open(&server).await;
        let asked = stream.write_all(upgrade.as_bytes()).await;
        let mut answer = [0; 12];
        let answered = within("an answer", stream.read_exact(&mut answer)).await;
        cut = asked.is_err() || answered.is_err();
        open_still.push(stream);
    }
    assert!(cut, "{} of one address are open", open_still.len());
    // There is room again when they have gone.
    drop(open_still);
    is_served_again(&server).await;
    server.stop().await;
}

/// All who come through it would count as one, and nobody would know why.
#[tokio::test]
async fn a_proxy_that_names_nobody_is_told_of_once() {
    let database = database().await;
    let trusted = [("ROWCAST__HTTP__TRUSTED_PROXIES", "127.0.0.0/8")];
    let mut program = serve_process(&database, &trusted).await;
    let bearer = format!("Bearer {}", token("1", "", ""));
    for forwarded in ["203.0.113.1", "unknown", "203.0.113.1, unix:"] {
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-forwarded-for", forwarded),
        ];
        let mut socket = ws_with(&program, "", &headers).await;
        socket.expect("welcome").await;
    }
    program.signal(Signal::SIGTERM);
    program.exited().await;
    let log = program.log();
    assert_eq!(log.matches("X-Forwarded-For").count(), 1, "{log}");
}

#[tokio::test]
async fn a_trusted_proxy_names_the_address() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.connections_per_address = 1;
        settings.http.trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]
            .map(|net| net.parse().expect("a network"))
            .into();
    })
    .await;
    let bearer = format!("Bearer {}", token("1", "", ""));
    let mut inside = Vec::new();
    for (forwarded, is_let_in) in [
        ("203.0.113.1", true),
        ("203.0.113.1", false),
        // The last that is no proxy of ours counts: what stands before it, its client wrote.
        ("203.0.113.2, 203.0.113.1", false),
        ("203.0.113.1, 203.0.113.3, 10.1.2.3", true),
        ("203.0.113.3, 127.0.0.9", false),
        ("garbage, 203.0.113.4", true),
        ("203.0.113.4", false),
        ("::ffff:203.0.113.4", false),
        ("2001:db8::1", true),
        // Of one host: it has as many addresses as it likes.
        ("2001:db8::2", false),
        ("2001:db8:0:1::1", true),
        // With a port, as some proxies write it.
        ("203.0.113.5:61234", true),
        ("203.0.113.5", false),
        ("[2001:db8:0:2::1]", true),
        ("[2001:db8:0:2::1]:443", false),
        // What can't be read is the proxy's own.
        ("203.0.113.9, garbage", true),
        ("unknown", false),
        ("", false),
    ] {
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-forwarded-for", forwarded),
        ];
        let mut socket = ws_with(&server, "", &headers).await;
        match socket.next_or_end().await {
            Ok(welcome) => {
                assert!(is_let_in, "{forwarded} was let in: {welcome}");
                inside.push(socket);
            }
            Err((code, reason)) => {
                assert_eq!((is_let_in, code), (false, 4003), "{forwarded}: {reason}");
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_trusted_proxy_names_the_host() {
    let database = database().await;
    for (proxies, is_let_in) in [(vec!["127.0.0.1/32"], true), (vec!["10.0.0.0/8"], false)] {
        let server = serve(&database, |settings| {
            let proxies = proxies.iter().map(|net| net.parse().expect("a network"));
            settings.http.trusted_proxies = proxies.collect();
        })
        .await;
        let bearer = format!("Bearer {}", token("1", "", ""));
        for (origin, is_here) in [("https://app.example", true), ("http://app.example", false)] {
            let headers = [
                ("authorization", bearer.as_str()),
                ("origin", origin),
                ("x-forwarded-host", "app.example"),
                ("x-forwarded-proto", "https"),
            ];
            let mut socket = ws_with(&server, "", &headers).await;
            let first = socket.next_or_end().await.map_err(|(code, _)| code);
            let expected = if is_let_in && is_here {
                Ok("welcome")
            } else {
                Err(1008)
            };
            let first = first
                .as_ref()
                .map(|frame| frame["type"].as_str().unwrap_or(""));
            assert_eq!(first, expected.as_ref().copied(), "{origin} by {proxies:?}");
        }
        server.stop().await;
    }
}

/// Traefik says `wss` of an upgrade, others the port that browsers leave out, and of two proxies each
/// adds its word: pages of the own origin were refused. What stands left of those, a client wrote.
#[tokio::test]
async fn a_page_of_our_own_comes_in_however_proxies_write_its_host() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.http.trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]
            .map(|net| net.parse().expect("a network"))
            .into();
    })
    .await;
    let bearer = format!("Bearer {}", token("1", "", ""));
    let one = "203.0.113.1";
    let two = "203.0.113.1, 10.1.2.3";
    let forged = "198.51.100.1, 203.0.113.1, 10.1.2.3";
    for (path, host, scheme, is_here) in [
        (one, "a.example", "wss", true),
        (one, "a.example", "ws", false),
        (one, "a.example:443", "https", true),
        (one, "a.example:80", "https", false),
        (two, "a.example, b.example", "https,http", true),
        (two, "b.example, a.example", "http,https", false),
        // The outer one alone says it, or the inner one replaces it.
        (two, "a.example", "https", true),
        (
            forged,
            "evil.example, a.example, b.example",
            "http,https,http",
            true,
        ),
        (
            forged,
            "a.example, evil.example, b.example",
            "https,https,http",
            false,
        ),
        (one, "a.example, b.example", "https", false),
    ] {
        let headers = [
            ("authorization", bearer.as_str()),
            ("origin", "https://a.example"),
            ("x-forwarded-for", path),
            ("x-forwarded-host", host),
            ("x-forwarded-proto", scheme),
        ];
        let first = ws_with(&server, "", &headers).await.next_or_end().await;
        let came = first.map_err(|(code, _)| code);
        assert_eq!(
            came.err(),
            (!is_here).then_some(1008),
            "{path}; {host}; {scheme}"
        );
    }
    server.stop().await;
}

/// Nobody but a proxy of ours is at a Unix socket, and it could say nothing.
#[tokio::test]
async fn who_proxies_to_a_unix_socket_names_client_and_host() {
    let database = database().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let server = serve(&database, |settings| {
        settings.http.listen = format!("unix:{}", path.display());
        settings.limits.connections_per_address = 1;
    })
    .await;
    let token = token("1", "", "");
    let mut inside = Vec::new();
    for (client, host, status) in [
        ("203.0.113.1", "app.example", "200"),
        ("203.0.113.1", "app.example", "429"),
        // What a client writes before its own address hides it no more for not being ASCII.
        ("é, 203.0.113.1", "app.example", "429"),
        ("203.0.113.2", "other.example", "403"),
        ("203.0.113.2", "app.example", "200"),
    ] {
        let mut stream = tokio::net::UnixStream::connect(&path)
            .await
            .expect("it listens");
        let request = format!(
            "GET /sse?token={token} HTTP/1.1\r\nhost: x\r\norigin: https://app.example\r\n\
             x-forwarded-for: {client}\r\nx-forwarded-host: {host}\r\n\
             x-forwarded-proto: https\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it takes it");
        let mut head = vec![0; "HTTP/1.1 200".len()];
        let read = stream.read_exact(&mut head);
        within("an answer", read).await.expect("an answer");
        let head = String::from_utf8(head).expect("text");
        assert_eq!(
            head.split_once(' ').expect("a status").1,
            status,
            "{client} {host}"
        );
        inside.push(stream);
    }
    drop(inside);
    server.stop().await;
}

#[tokio::test]
async fn only_listed_origins_come_in_and_read() {
    let database = database().await;
    let listed = "https://app.example.org";
    let server = serve(&database, |settings| {
        settings.http.allowed_origins = vec![listed.into()];
    })
    .await;
    let token = token("1", "", "");
    let own = format!("http://{}", server.address);
    for (origin, is_listed) in [(listed, true), (own.as_str(), false)] {
        let bearer = format!("Bearer {token}");
        let headers = [("origin", origin), ("authorization", bearer.as_str())];
        ws_with(&server, "", &headers).await.expect("welcome").await;
        let stream = try_sse(&server, &token, "", &headers[..1]).await;
        stream
            .unwrap_or_else(|answer| panic!("{answer:?}"))
            .expect("welcome")
            .await;
        // The page is to read why it was refused.
        let refused = get(&server, "/sse", &headers[..1]).await;
        assert_eq!(refused.status, 401);
        let reads = refused.headers.get("access-control-allow-origin");
        assert_eq!(
            reads.map(|value| value == origin),
            is_listed.then_some(true)
        );
        assert_eq!(refused.headers["vary"], "origin");
    }
    for evil in [
        "https://evil.example",
        "https://app.example.org.evil.example",
        "null",
        "http://app.example.org",
        "https://app.example.org:444",
    ] {
        let (code, reason, status, word) = refusals(&server, &token, &[("origin", evil)]).await;
        assert!(reason.starts_with("forbidden-origin: "), "{reason}");
        assert_eq!(
            (code, status, word.as_str()),
            (1008, 403, "forbidden-origin"),
            "{evil}"
        );
        let answer = get(&server, "/sse", &[("origin", evil)]).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    for (origin, is_listed) in [(listed, true), ("https://evil.example", false)] {
        let asked = format!(
            "OPTIONS /sse HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: {origin}\r\n\
             access-control-request-method: GET\r\n\
             access-control-request-headers: authorization\r\n\r\n"
        );
        let answer = raw(&server, &asked).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 204"), "{answer}");
        let allowed = format!("access-control-allow-origin: {origin}\r\n");
        assert_eq!(answer.contains(&allowed), is_listed, "{answer}");
        assert_eq!(
            answer.contains("access-control-allow-headers: authorization"),
            is_listed
        );
        assert!(answer.contains("vary: origin, access-control-request-headers\r\n"));
    }
    for (wanted, allowed) in [
        ("authorization,X-Request-Id", "authorization,x-request-id"),
        ("x y", "authorization, content-type, last-event-id"),
    ] {
        let asked = format!(
            "OPTIONS /sse HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: {listed}\r\n\
             access-control-request-headers: {wanted}\r\n\r\n"
        );
        let answer = raw(&server, &asked).await.to_lowercase();
        let line = format!("access-control-allow-headers: {allowed}\r\n");
        assert!(answer.contains(&line), "{answer}");
    }
    server.stop().await;
}

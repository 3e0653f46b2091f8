//! Long poll: one answer at a time, and as exact as a stream; what waits is answered at once when
//! something is to be said, and nothing is kept in between but who was admitted.

use crate::support::{
    self, Answer, Database, Poller, Postgres, SLACK, Served, Server, brief, eventually, get,
    marker, serve, token, token_with, within, ws,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rowcast::bookmark::Bookmark;
use rowcast::clock::unix_now;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECOND: Duration = Duration::from_secs(1);

/// Rooms `r:*` for everybody; `org:N` by a table of members; `home:SUB` without asking.
const RULES: &str = "
    create schema app; grant usage on schema app to rowcast_owner;
    create table app.members (sub text, org text);
    insert into app.members values ('1', '1'), ('2', '1');
    grant select on app.members to rowcast_owner;
    create function app.anybody(claims jsonb, room text) returns boolean language sql as 'select true';
    create function app.in_org(claims jsonb, room text) returns boolean language sql as $$
      select exists (select from app.members m
        where m.sub = claims ->> 'sub' and room = 'org:' || m.org)
    $$;
    create function app.home(claims jsonb) returns text[] language sql as $$
      select array['home:' || (claims ->> 'sub')]
    $$;
    insert into rowcast.room_rule values ('r:*', 'app.anybody(jsonb,text)'),
      ('org:*', 'app.in_org(jsonb,text)');
    insert into rowcast.home_rule values ('app.home(jsonb)')";

async fn database() -> Database {
    let database = support::database().await;
    database.run(RULES).await;
    database
}

/// On a cluster of its own, where so many transactions may be open.
async fn database_for_many() -> (Postgres, Database) {
    let postgres = Postgres::for_many().await;
    let database = postgres.database().await;
    database.run(RULES).await;
    (postgres, database)
}

/// So many events of one transaction.
async fn emit_together(database: &Database, count: usize) {
    let sql = format!(
        "select rowcast.emit('c', 'e', array['r:1'], json_build_object('row', 'a', 'n', n))
         from generate_series(1, {count}) n"
    );
    database.run(&sql).await;
}

/// A token that was issued before any revocation.
fn issued(user: &str) -> String {
    let now = unix_now();
    token_with(&json!({ "sub": user, "iat": now - 5, "exp": now + 600 }))
}

async fn poll(server: &impl Served, token: &str, query: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let path = format!("/poll?{query}");
    get(server, &path, &[("authorization", &bearer)]).await
}

/// An answer that is one.
async fn answered(server: &impl Served, token: &str, query: &str) -> Value {
    let answer = poll(server, token, query).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()
}

/// "This is not the protocol" was the answer to all of them.
#[tokio::test]
async fn a_parameter_that_is_wrong_is_named_and_too_long_a_wait_is_the_longest() {
    let database = database().await;
    let server = serve(&database, |settings| {
        (settings.poll.wait, settings.poll.wait_max) = (Duration::ZERO, Duration::ZERO);
    })
    .await;
    let token = issued("1");
    for (query, says) in [
        ("wait=x", "wait is a whole number of seconds"),
        ("wait=-1", "wait is a whole number of seconds"),
        ("load=r:1", "load and from go together"),
        ("from=h.1_0", "load and from go together"),
    ] {
        let answer = poll(&server, &token, query).await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status, &error["code"]),
            (400, &json!("protocol-error"))
        );
        let message = text(&error["message"]);
        assert!(message.starts_with(says), "{query}: {message}");
    }
    let answer = get(&server, "/ws", &[]).await;
    let message = text(&answer.json()["error"]["message"]);
    assert!(message.contains("WebSocket"), "{message}");
    // In a stream of events, an empty wait is the default, and one beyond all numbers the longest.
    let since = begin(&server, &token, "r:1").await;
    for wait in ["", "99999999999999999999"] {
        let query = format!("rooms=r:1&since={since}&wait={wait}");
        assert_eq!(ids(&answered(&server, &token, &query).await), [""; 0]);
    }
    server.stop().await;
}

/// Where somebody begins.
async fn begin(server: &impl Served, token: &str, rooms: &str) -> String {
    let first = answered(server, token, &format!("rooms={rooms}")).await;
    assert_eq!(
        (&first["outcome"], &first["events"]),
        (&json!("live"), &json!([]))
    );
    text(&first["bookmark"])
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn ids(answer: &Value) -> Vec<String> {
    let events = answer["events"].as_array().expect("events").iter();
    events.map(|event| text(&event["id"])).collect()
}

/// Polls in the background, and returns when the server holds it.
async fn held(server: &Server, token: &str, query: &str) -> tokio::task::JoinHandle<Answer> {
    let before = server.gate.hub.sizes().rooms;
    let (address, token, query) = (server.address.clone(), token.to_owned(), query.to_owned());
    let polling = tokio::spawn(async move { poll(&address, &token, &query).await });
    eventually("it is held", async || {
        (server.gate.hub.sizes().rooms > before).then_some(())
    })
    .await;
    polling
}

async fn ended(polling: tokio::task::JoinHandle<Answer>) -> Answer {
    within("an answer", polling).await.expect("an answer")
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, text(&answer.json()["error"]["code"]))
}

#[tokio::test]
async fn an_answer_is_as_the_wire_has_it() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let expires = unix_now() + 600;
    let token = token_with(&json!({ "sub": "1", "exp": expires }));
    let first = poll(&server, &token, "rooms=r:1,org:9").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.headers["content-type"], "application/json");
    assert_eq!(first.headers["cache-control"], "no-store, no-transform");
    let mut first = first.json();
    let since = text(&first["bookmark"].take());
    let message = "no such room for you";
    assert_eq!(
        first,
        json!({ "outcome": "live", "user": "1", "rooms": ["home:1", "r:1"], "home": 1, "events": [],
            "bookmark": null, "more": false, "expiresAt": expires,
            "errors": [{ "type": "error", "code": "forbidden", "message": message, "room": "org:9" }] })
    );
    let mut socket = ws(&server, &token, &format!("rooms=home:1,r:1&since={since}")).await;
    let welcome = socket.expect("welcome").await;
    let (rooms, home) = (json!(["home:1", "r:1"]), json!(1));
    assert_eq!((&welcome["rooms"], &welcome["home"]), (&rooms, &home));
    socket.expect("subscribed").await;
    marker(&database, &["r:1"]).await;
    let frame = socket.expect("event").await;
    let query = format!("rooms=r:1&since={since}");
    let answer = answered(&server, &token, &query).await;
    assert_eq!(answer["outcome"], "recovered");
    assert_eq!(answer["events"], json!([frame]), "as a WebSocket has it");
    assert_eq!(answer["errors"], json!([]));
    // The answer may have been lost: the same is asked and answered again.
    let again = answered(&server, &token, &query).await;
    assert_eq!(again["events"], answer["events"]);
    let query = format!("rooms=r:1&wait=0&since={}", text(&answer["bookmark"]));
    let next = answered(&server, &token, &query).await;
    assert_eq!(
        (&next["outcome"], &next["events"]),
        (&json!("recovered"), &json!([]))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_poll_waits_for_the_first_event_and_no_longer_than_it_may() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.poll.wait = 600 * SECOND;
        settings.poll.wait_max = 600 * SECOND;
    })
    .await;
    let token = issued("1");
    let since = begin(&server, &token, "r:1").await;
    let polling = held(&server, &token, &format!("rooms=r:1&since={since}")).await;
    marker(&database, &["r:2"]).await;
    let id = marker(&database, &["r:1"]).await;
    let answer = ended(polling).await.json();
    assert_eq!(ids(&answer), [id], "and not what is another room's");
    let since = text(&answer["bookmark"]);
    let query = format!("rooms=r:1&since={since}&wait=");
    let began = Instant::now();
    assert_eq!(
        ids(&answered(&server, &token, &format!("{query}0")).await),
        [""; 0]
    );
    let answer = answered(&server, &token, &format!("{query}1")).await;
    assert_eq!(ids(&answer), [""; 0]);
    assert!(began.elapsed() >= SECOND);
    for wait in ["soon", "-1", "1.5"] {
        let refused = poll(&server, &token, &format!("{query}{wait}")).await;
        assert_eq!(code(&refused), (400, "protocol-error".into()), "{wait}");
    }
    server.stop().await;
    let brief = |settings: &mut rowcast::config::Settings| {
        settings.poll.wait = Duration::ZERO;
        settings.poll.wait_max = Duration::from_millis(10);
    };
    let server = serve(&database, brief).await;
    // Longer than the patience of the tests, if it were believed.
    let answer = answered(&server, &token, &format!("{query}86400")).await;
    assert_eq!(ids(&answer), [""; 0]);
    server.stop().await;
}

/// A quiet poller's bookmark never grows old.
#[tokio::test]
async fn an_empty_answer_has_the_present_bookmark() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let token = issued("1");
    let since = begin(&server, &token, "r:1").await;
    let polling = held(&server, &token, &format!("rooms=r:1&wait=10&since={since}")).await;
    let present = || {
        let here = server.gate.hub.here().expect("it looks");
        Bookmark::parse(&here.bookmark).expect("a bookmark")
    };
    marker(&database, &["r:2"]).await;
    server.has_read(&database).await;
    let before = present();
    let answer = ended(polling).await.json();
    assert_eq!(ids(&answer), [""; 0]);
    assert_ne!(text(&answer["bookmark"]), since);
    // It moves on even now, with what others on this cluster end.
    let told = Bookmark::parse(&text(&answer["bookmark"])).expect("a bookmark");
    let now = present();
    assert!(
        before.is_within(&told) && told.is_within(&now),
        "{told} between {before} and {now}"
    );
    server.stop().await;
}

async fn emit(client: &tokio_postgres::Client, room: u32, row: &str, number: i32) {
    let sql = "select rowcast.emit('c', 'e', array[$1], json_build_object('row', $2::text, 'n', $3::int))";
    let sent = client
        .execute(sql, &[&format!("r:{room}"), &row, &number])
        .await;
    sent.expect("it is emitted");
}

/// Rows of which each writes its numbers in order, some of them in long transactions, so that
/// commits overlap. Ends with a marker to both rooms.
async fn write_overlapping(database: &Database, rows: u32, numbers: i32) {
    let writers = (0..rows).map(async |row| {
        let client = database.client("postgres").await;
        let name = format!("row{row}");
        for number in 1..=numbers {
            let long = (number + row.cast_signed()) % 5;
            if long == 0 {
                client.batch_execute("begin").await.expect("it begins");
            }
            emit(&client, 1 + row % 2, &name, number).await;
            if long == 3 {
                client.batch_execute("commit").await.expect("it commits");
            }
        }
        client
            .batch_execute("commit")
            .await
            .expect("a notice at most");
    });
    futures_util::future::join_all(writers).await;
    marker(database, &["r:1", "r:2"]).await;
}

/// Answers that are lost on their way, or hung up on while they are waited for, and another node
/// each time: asking again with the bookmark that one has brings each event once.
#[tokio::test]
async fn through_lost_answers_and_over_any_node_each_event_comes_once() {
    let database = database().await;
    let small = |settings: &mut rowcast::config::Settings| {
        // Some five events, so that there often is more; and pieces of a ring.
        settings.limits.queue_bytes = 2000;
        settings.hub.ring_bytes = 20_000;
    };
    let nodes = [serve(&database, small).await, serve(&database, small).await];
    let token = issued("1");
    let mut since = begin(&nodes[0], &token, "r:1,r:2").await;
    let mut random = StdRng::seed_from_u64(7);
    let (rows, numbers) = (6, 60);
    let reading = async {
        let (mut events, mut lost, mut full) = (Vec::new(), 0, 0);
        // More than a few answers hold, however slowly the rest comes.
        eventually("there is much", async || {
            let count = "select count(*) > 100 from rowcast.event";
            database.ask::<bool>(count).await.then_some(())
        })
        .await;
        loop {
            let node = &nodes[random.random_range(0..2)];
            eventually("this node is as far", async || {
                node.gate.reach(Some(&since)).await.ok()
            })
            .await;
            let node = node.address.clone();
            let query = format!("rooms=r:1,r:2&wait=2&since={since}");
            if random.random_range(0..4) == 0 {
                // Hung up on, at any moment of it.
                let (token, patience) = (token.clone(), random.random_range(0..30));
                let polling = poll(&node, &token, &query);
                let patience = Duration::from_millis(patience);
                let _ = tokio::time::timeout(patience, polling).await;
                lost += 1;
                continue;
            }
            let answer = poll(&node, &token, &query).await;
            if answer.status == 503 {
                // All at once it was more than may wait for it.
                assert_eq!(code(&answer), (503, "lagged".into()));
                assert_eq!(answer.json()["error"]["retryMs"], 0);
                lost += 1;
                continue;
            }
            let answer = answer.json();
            assert_eq!(answer["outcome"], "recovered", "{answer}");
            full += usize::from(answer["more"] == true);
            if random.random_range(0..4) == 0 {
                lost += 1;
                continue;
            }
            since = text(&answer["bookmark"]);
            events.extend(answer["events"].as_array().expect("events").clone());
            if events.iter().any(|event| event["name"] == "marker") {
                return (events, lost, full);
            }
        }
    };
    let ((), (mut events, lost, full)) =
        tokio::join!(write_overlapping(&database, rows, numbers), async {
            tokio::time::timeout(60 * SECOND, reading)
                .await
                .expect("the marker")
        });
    assert_eq!(events.pop().expect("events")["name"], "marker");
    let once: BTreeSet<String> = events.iter().map(|event| text(&event["id"])).collect();
    assert_eq!(once.len(), events.len(), "none twice");
    assert_eq!(
        events.len(),
        (rows * numbers.cast_unsigned()) as usize,
        "none missing"
    );
    let mut last = BTreeMap::new();
    for event in &events {
        let number = event["data"]["n"].as_i64().expect("a number");
        let before = last
            .insert(text(&event["data"]["row"]), number)
            .unwrap_or(0);
        assert_eq!(number, before + 1, "a row's events in order");
    }
    assert!(lost > 20 && full > 5, "{lost} lost, {full} with more");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn an_answer_is_bounded_and_says_that_there_is_more() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.queue_bytes = 2000;
        settings.limits.replay_events = 30;
        settings.poll.wait = Duration::ZERO;
    })
    .await;
    let token = issued("1");
    let start = begin(&server, &token, "r:1").await;
    let writer = database.client("postgres").await;
    for number in 1..=30 {
        emit(&writer, 1, "a", number).await;
    }
    server.has_read(&database).await;
    let (mut since, mut numbers, mut answers) = (start.clone(), Vec::new(), 0);
    loop {
        let query = format!("rooms=r:1&since={since}");
        let answer = poll(&server, &token, &query).await;
        assert!(answer.body.len() < 6000, "{} bytes", answer.body.len());
        let answer = answer.json();
        let events = answer["events"].as_array().expect("events").iter();
        numbers.extend(events.filter_map(|event| event["data"]["n"].as_i64()));
        since = text(&answer["bookmark"]);
        answers += 1;
        if answer["more"] == false {
            break;
        }
    }
    assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
    assert!((3..=15).contains(&answers), "{answers}");
    // One more is above the limit of a replay: it is told, and where to go on.
    emit(&writer, 1, "a", 31).await;
    server.has_read(&database).await;
    let answer = answered(&server, &token, &format!("rooms=r:1&since={start}")).await;
    assert_eq!(
        (&answer["outcome"], &answer["reason"]),
        (&json!("gap"), &json!("limit"))
    );
    assert_eq!(answer["events"], json!([]));
    let query = format!("rooms=r:1&since={}", text(&answer["bookmark"]));
    let answer = answered(&server, &token, &query).await;
    assert_eq!(
        (&answer["outcome"], &answer["events"]),
        (&json!("recovered"), &json!([]))
    );
    // An event that is larger than any answer has one of its own.
    let since = text(&answer["bookmark"]);
    let big = "select rowcast.emit('c', 'big', array['r:1'], to_json(repeat('x', 9000)))";
    database.run(&format!("{big}; {big}")).await;
    server.has_read(&database).await;
    let answer = answered(&server, &token, &format!("rooms=r:1&since={since}")).await;
    assert_eq!((ids(&answer).len(), &answer["more"]), (1, &json!(true)));
    server.stop().await;
}

/// With so many transactions open no bookmark covered what was told: each poll was answered at once, and
/// with the same.
#[tokio::test]
async fn what_no_bookmark_covers_is_told_again_only_after_a_pause() {
    let (_postgres, database) = database_for_many().await;
    let server = serve(&database, |_| ()).await;
    let token = issued("1");
    let start = begin(&server, &token, "r:1").await;
    database.open_many().await;
    emit_together(&database, 3).await;
    let told = answered(&server, &token, &format!("rooms=r:1&since={start}")).await;
    assert_eq!(ids(&told).len(), 3);
    let query = format!("rooms=r:1&since={}", text(&told["bookmark"]));
    let began = Instant::now();
    let again = answered(&server, &token, &format!("{query}&wait=3")).await;
    assert!(began.elapsed() >= SECOND, "after {:?}", began.elapsed());
    assert_eq!(
        (ids(&again), &again["bookmark"], &again["more"]),
        (ids(&told), &told["bookmark"], &json!(false))
    );
    // Once they have ended it goes on from there.
    database.end_many().await;
    server.has_read(&database).await;
    let moved = eventually("it moves on", async || {
        let answer = answered(&server, &token, &format!("{query}&wait=0")).await;
        assert_eq!(ids(&answer), ids(&told));
        (answer["bookmark"] != told["bookmark"]).then_some(answer)
    })
    .await;
    let query = format!("rooms=r:1&wait=0&since={}", text(&moved["bookmark"]));
    assert_eq!(ids(&answered(&server, &token, &query).await), [""; 0]);
    server.stop().await;
}

/// Of more than one answer holds the first part was told for ever, and the rest never.
#[tokio::test]
async fn what_no_bookmark_covers_and_no_answer_holds_is_a_gap() {
    let (_postgres, database) = database_for_many().await;
    let server = serve(&database, |settings| settings.limits.queue_bytes = 2000).await;
    let token = issued("1");
    let start = begin(&server, &token, "r:1").await;
    database.open_many().await;
    emit_together(&database, 30).await;
    let query = format!("rooms=r:1&wait=0&since={start}");
    let first = eventually("it has looked", async || {
        let answer = poll(&server, &token, &query).await;
        (answer.status == 200 && answer.json()["more"] == true).then(|| answer.json())
    })
    .await;
    let query = format!("rooms=r:1&wait=3&since={}", text(&first["bookmark"]));
    let began = Instant::now();
    let gap = answered(&server, &token, &query).await;
    assert!(began.elapsed() >= SECOND, "after {:?}", began.elapsed());
    assert_eq!(
        (
            &gap["outcome"],
            &gap["reason"],
            &gap["more"],
            &gap["events"]
        ),
        (&json!("gap"), &json!("limit"), &json!(false), &json!([]))
    );
    // So does what is more than a replay may hold: whoever reads all data anew at a gap does it no more
    // often.
    let strict = serve(&database, |settings| settings.limits.replay_events = 20).await;
    let query = format!("rooms=r:1&wait=3&since={}", text(&gap["bookmark"]));
    let began = Instant::now();
    let again = answered(&strict, &token, &query).await;
    assert!(began.elapsed() >= SECOND, "after {:?}", began.elapsed());
    assert_eq!(
        (&again["outcome"], &again["reason"]),
        (&json!("gap"), &json!("limit"))
    );
    strict.stop().await;
    // Once they have ended, all of it comes in parts.
    database.end_many().await;
    server.has_read(&database).await;
    let query = format!("rooms=r:1&wait=0&since={}", text(&gap["bookmark"]));
    let mut answer = eventually("it moves on", async || {
        let answer = answered(&server, &token, &query).await;
        (answer["outcome"] == "recovered").then_some(answer)
    })
    .await;
    let mut told = ids(&answer);
    while answer["more"] == true {
        let query = format!("rooms=r:1&wait=0&since={}", text(&answer["bookmark"]));
        answer = answered(&server, &token, &query).await;
        told.extend(ids(&answer));
    }
    assert_eq!(told.len(), 30, "{told:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_bookmark_is_a_gap_and_an_error() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let answer = answered(&server, &issued("1"), "rooms=r:1&since=nonsense").await;
    assert_eq!(
        (&answer["outcome"], &answer["reason"]),
        (&json!("gap"), &json!("bookmark"))
    );
    assert_eq!(answer["errors"][0]["code"], "bad-bookmark");
    server.stop().await;
}

/// The gap of a trigger comes to whoever waits as a frame, and to whoever comes back as an outcome.
#[tokio::test]
async fn a_gap_is_told_to_who_waits_and_to_who_comes_back() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let token = issued("1");
    let since = begin(&server, &token, "r:1").await;
    let query = format!("rooms=r:1&since={since}");
    let polling = held(&server, &token, &query).await;
    let lose = "insert into rowcast.event (channel, name, rooms, data)
        values ('c', 'rowcast:gap', array['r:1'], '{}')";
    database.run(lose).await;
    let answer = ended(polling).await.json();
    let gap = &answer["events"][0];
    assert_eq!(
        (&gap["type"], &gap["reason"]),
        (&json!("gap"), &json!("trigger"))
    );
    assert_eq!(gap["rooms"], json!(["r:1"]));
    let again = answered(&server, &token, &query).await;
    assert_eq!(
        (&again["outcome"], &again["reason"]),
        (&json!("gap"), &json!("trigger"))
    );
    // All rooms, when a history ends.
    let since = text(&again["bookmark"]);
    let polling = held(&server, &token, &format!("rooms=r:1&since={since}")).await;
    database.run("select rowcast.new_history()").await;
    let answer = ended(polling).await.json();
    assert_eq!(answer["events"][0]["reason"], "history");
    let history = |bookmark: &str| bookmark.split('.').next().map(str::to_owned);
    assert_ne!(history(&text(&answer["bookmark"])), history(&since));
    server.stop().await;
}

#[tokio::test]
async fn who_is_held_is_answered_at_once_when_the_service_stops() {
    let database = database().await;
    let mut server = serve(&database, |_| ()).await;
    let token = issued("1");
    let since = begin(&server, &token, "r:1").await;
    let polling = held(&server, &token, &format!("rooms=r:1&wait=60&since={since}")).await;
    server.begin_to_stop();
    let answer = ended(polling).await;
    assert_eq!(code(&answer), (503, "restart".into()));
    let wait = answer.json()["error"]["retryMs"]
        .as_u64()
        .expect("milliseconds");
    assert!((50..=500).contains(&wait), "{wait}");
    assert_eq!(answer.headers["retry-after"], "1", "whole seconds");
    server.stop().await;
}

#[tokio::test]
async fn who_is_held_is_answered_when_nothing_more_is_theirs() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let since = begin(&server, &issued("1"), "r:1").await;
    let query = format!("rooms=r:1&wait=60&since={since}");
    let polling = held(&server, &issued("1"), &query).await;
    database.run("select rowcast.revoke('1')").await;
    let began = Instant::now();
    assert_eq!(code(&ended(polling).await), (401, "revoked".into()));
    assert!(began.elapsed() < SECOND + SLACK, "{:?}", began.elapsed());
    let refused = poll(&server, &issued("1"), &query).await;
    assert_eq!(code(&refused), (401, "unauthorized".into()));
    let (brief, _) = brief(json!({ "sub": "2" }));
    let polling = held(&server, &brief, &query).await;
    assert_eq!(code(&ended(polling).await), (401, "token-expired".into()));
    assert_eq!(
        code(&poll(&server, &brief, &query).await),
        (401, "unauthorized".into())
    );
    eventually("all have left", async || {
        (server.gate.seats.taken() == 0).then_some(())
    })
    .await;
    assert_eq!(server.gate.hub.sizes().subscriptions, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_room_that_is_taken_is_told_at_once_and_then_waited_without() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let token = issued("1");
    let since = begin(&server, &token, "org:1").await;
    let query = format!("rooms=org:1&wait=60&since={since}");
    let polling = held(&server, &token, &query).await;
    database
        .run("delete from app.members; select rowcast.recheck()")
        .await;
    let began = Instant::now();
    let answer = ended(polling).await.json();
    assert!(began.elapsed() < SECOND + SLACK, "{:?}", began.elapsed());
    assert_eq!(
        (&answer["errors"][0]["code"], &answer["errors"][0]["room"]),
        (&json!("forbidden"), &json!("org:1"))
    );
    // It is refused from then on: said at once the first time, for it may have been taken between
    // two polls, and after that no reason to answer.
    let query = format!("rooms=org:1&wait=60&since={}", text(&answer["bookmark"]));
    let answer = answered(&server, &token, &query).await;
    assert_eq!(answer["errors"][0]["room"], "org:1");
    let polling = held(&server, &token, &query).await;
    database
        .run("select rowcast.emit('c', 'secret', array['org:1'], '{}')")
        .await;
    let id = marker(&database, &["home:1"]).await;
    let answer = ended(polling).await.json();
    assert_eq!(ids(&answer), [id]);
    assert_eq!(answer["rooms"], json!(["home:1"]));
    assert_eq!(answer["errors"][0]["room"], "org:1");
    server.stop().await;
}

/// Who polls again is admitted as before, without SQL, until rules change; as for an open socket.
#[tokio::test]
async fn an_admission_is_remembered_until_rules_change_or_it_is_revoked() {
    let database = database().await;
    let server = serve(&database, |settings| settings.poll.wait = Duration::ZERO).await;
    let token = issued("1");
    let since = begin(&server, &token, "org:1").await;
    let query = format!("rooms=org:1&since={since}");
    let rooms = async |query: &str| answered(&server, &token, query).await["rooms"].clone();
    let both = json!(["home:1", "org:1"]);
    assert_eq!(rooms(&query).await, both);
    // What a rule reads has changed, and nobody has said so.
    database
        .run("delete from app.members where sub = '1'")
        .await;
    assert_eq!(rooms(&query).await, both, "as a socket would stay in");
    assert_eq!(
        rooms("rooms=org:1").await,
        json!(["home:1"]),
        "who comes anew is asked for"
    );
    let home = json!(["home:1"]);
    assert_eq!(rooms(&query).await, home, "and the later answer holds");
    let grant = "insert into app.members values ('1', '1')";
    database.run(grant).await;
    assert_eq!(rooms(&query).await, both, "what was refused is asked for");
    database
        .run("delete from app.members where sub = '1'")
        .await;
    assert_eq!(rooms(&query).await, both);
    let change = async |sql: &str| {
        database.run(sql).await;
        let version = "select access_version from rowcast.setting";
        let version: i64 = database.ask(version).await;
        eventually("the node has heard", async || {
            (server.gate.hub.access_known() == version).then_some(())
        })
        .await;
    };
    change("select rowcast.revoke('3')").await;
    assert_eq!(
        rooms(&query).await,
        both,
        "somebody else's revocation changes nothing"
    );
    change("select rowcast.recheck()").await;
    assert_eq!(rooms(&query).await, home, "a change of rules does");
    database.run(grant).await;
    assert_eq!(rooms(&query).await, both, "granted anew");
    change("select rowcast.revoke('1')").await;
    let refused = poll(&server, &token, &query).await;
    assert_eq!(code(&refused), (401, "unauthorized".into()));
    server.stop().await;
}

#[tokio::test]
async fn who_hangs_up_leaves_nothing_behind() {
    let database = database().await;
    let server = serve(&database, |_| ()).await;
    let token = issued("1");
    let since = begin(&server, &token, "r:1").await;
    let polling = held(&server, &token, &format!("rooms=r:1&wait=60&since={since}")).await;
    assert_eq!(server.gate.seats.taken(), 1);
    polling.abort();
    eventually("it has left", async || {
        let sizes = server.gate.hub.sizes();
        (server.gate.seats.taken() + sizes.subscriptions + sizes.rooms == 0).then_some(())
    })
    .await;
    server.stop().await;
}

/// One connection serves many polls.
#[tokio::test]
async fn a_connection_is_kept_for_the_next_poll() {
    let database = database().await;
    let server = serve(&database, |settings| settings.poll.wait = Duration::ZERO).await;
    let mut poller = Poller::new(&server.address, &issued("1"), "rooms=r:1");
    for _ in 0..3 {
        within("an answer", poller.ask()).await.expect("an answer");
    }
    assert_eq!(poller.connections, 1);
    server.stop().await;
}

/// Fifteen megabytes for these rooms in turn.
async fn emit_much(database: &Database, server: &Server, rooms: &[&str]) {
    let sql = format!(
        "insert into rowcast.event (channel, name, rooms, data)
         select 'c', 'big', array[(array{rooms:?})[1 + n % {}]], to_json(repeat('x', 10000))
         from generate_series(1, 1500) n",
        rooms.len()
    );
    database.run(&sql.replace('"', "'")).await;
    server.has_read(database).await;
}

/// Somebody with a small buffer, who has read the beginning of a long answer, and reads on when told.
async fn reading(server: &Server, token: &str, rooms: &str, since: &str) -> (TcpStream, Vec<u8>) {
    let request = format!(
        "GET /poll?token={token}&rooms={rooms}&since={since} HTTP/1.1\r\n\
         host: x\r\nconnection: close\r\n\r\n"
    );
    let asked = support::reluctant(&server.address, &request).await;
    let mut stream = asked.expect("it listens");
    let mut some = vec![0; 100_000];
    within("the answer", stream.read_exact(&mut some))
        .await
        .expect("it comes");
    (stream, some)
}

async fn serve_much(database: &Database) -> Server {
    serve(database, |settings| {
        settings.limits.queue_bytes = 50_000_000;
    })
    .await
}

/// Reads on; the answer is torn, and much of it never came.
async fn assert_torn(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut rest)).await;
    assert!(
        rest.len() < 8_000_000,
        "{} bytes of 15 million came",
        rest.len()
    );
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "torn, and not as if it were whole"
    );
}

/// Half of an answer may lie in buffers for long: whoever is revoked meanwhile does not get the rest.
#[tokio::test]
async fn an_answer_on_its_way_is_torn_when_its_reader_is_revoked() {
    let database = database().await;
    let server = serve_much(&database).await;
    let token = issued("1");
    let since = begin(&server, &token, "r:1").await;
    emit_much(&database, &server, &["r:1"]).await;
    let (stream, _) = reading(&server, &token, "r:1", &since).await;
    database.run("select rowcast.revoke('1')").await;
    let began = Instant::now();
    eventually("it is cut", async || {
        (server.gate.seats.taken() == 0).then_some(())
    })
    .await;
    assert!(began.elapsed() < SECOND + SLACK, "{:?}", began.elapsed());
    assert_torn(stream).await;
    server.stop().await;
}

/// It is asked before each piece: the time for last words is not one to read on in.
#[tokio::test]
async fn an_answer_on_its_way_is_torn_when_its_token_expires() {
    let database = database().await;
    let server = serve_much(&database).await;
    let since = begin(&server, &issued("1"), "r:1").await;
    emit_much(&database, &server, &["r:1"]).await;
    let (brief, expires) = brief(json!({ "sub": "1" }));
    let (stream, _) = reading(&server, &brief, "r:1", &since).await;
    rowcast::clock::until(expires).await;
    assert_torn(stream).await;
    server.stop().await;
}

/// Nor what an answer holds of a room that is taken before it is written: the rest comes, and is whole.
#[tokio::test]
async fn nothing_more_of_a_room_that_is_taken_is_written_into_an_answer() {
    let database = database().await;
    let server = serve_much(&database).await;
    let token = issued("1");
    let since = begin(&server, &token, "r:1,org:1").await;
    emit_much(&database, &server, &["r:1", "org:1"]).await;
    let (mut stream, mut answer) = reading(&server, &token, "r:1,org:1", &since).await;
    database
        .run("delete from app.members; select rowcast.recheck()")
        .await;
    eventually("the room is empty", async || {
        // The one of everybody, r:1 and home:1.
        (server.gate.hub.sizes().rooms == 3).then_some(())
    })
    .await;
    within("the end", stream.read_to_end(&mut answer))
        .await
        .expect("it is whole");
    assert!(answer.ends_with(b"0\r\n\r\n"));
    // The bookmark lies behind what is left out: without a word it would be lost, were the room granted again.
    let said = String::from_utf8_lossy(&answer[answer.len() - 400..]);
    assert!(said.contains(r#""room":"org:1""#), "{said}");
    let events = answer.windows(9).filter(|nine| nine == b"xxxxxxxx\"");
    let events = events.count();
    // All 750 of the one, and of the other what had left before: 400 kilobytes and what systems take.
    assert!((700..1350).contains(&events), "{events} of 1500");
    server.stop().await;
}

/// A cookie may be somebody else's by the next poll, however lately it was asked for.
#[tokio::test]
async fn who_polls_by_a_session_that_changed_hands_is_not_taken_for_who_had_it() {
    let database = database().await;
    database
        .run(
            "create table app.sessions (id text, sub text);
             insert into app.sessions values ('a', '1');
             grant select on app.sessions to rowcast_owner;
             create function app.claims_of(p_id text) returns jsonb language sql stable as $$
               select jsonb_build_object('sub', sub, 'exp', extract(epoch from now())::bigint + 600)
               from app.sessions where id = p_id $$;
             insert into rowcast.session_rule values ('sid', 'app.claims_of(text)')",
        )
        .await;
    let server = serve(&database, |_| ()).await;
    let own = format!("http://{}", server.address);
    let headers = [("cookie", "sid=a"), ("origin", own.as_str())];
    let since = begin(&server, &issued("1"), "").await;
    let path = format!("/poll?wait=0&since={since}");
    for user in ["1", "1", "2"] {
        // Nobody has said so.
        let sql = format!("update app.sessions set sub = '{user}'");
        database.run(&sql).await;
        let answer = get(&server, &path, &headers).await.json();
        assert_eq!(answer["user"], user);
        assert_eq!(answer["rooms"], json!([format!("home:{user}")]));
    }
    server.stop().await;
}

#[tokio::test]
async fn refusals_are_statuses_and_temporary_ones_say_when_to_come_back() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.connections = 2;
        settings.limits.connections_per_user = 1;
    })
    .await;
    let token = issued("1");
    assert_eq!(
        code(&poll(&server, "garbage", "").await),
        (401, "unauthorized".into())
    );
    let bearer = format!("Bearer {token}");
    let elsewhere = [
        ("authorization", bearer.as_str()),
        ("origin", "https://elsewhere.example"),
    ];
    let refused = get(&server, "/poll", &elsewhere).await;
    assert_eq!(code(&refused), (403, "forbidden-origin".into()));
    assert!(refused.headers.get("retry-after").is_none());
    let since = begin(&server, &token, "r:1").await;
    let first = held(&server, &token, &format!("wait=60&rooms=r:1&since={since}")).await;
    let refused = poll(&server, &token, "").await;
    assert_eq!(code(&refused), (429, "too-many-connections".into()));
    let second = held(
        &server,
        &issued("2"),
        &format!("wait=60&rooms=r:2&since={since}"),
    )
    .await;
    let refused = poll(&server, &issued("2"), "").await;
    assert_eq!(code(&refused), (503, "overloaded".into()));
    let wait = refused.json()["error"]["retryMs"]
        .as_u64()
        .expect("milliseconds");
    assert!(wait <= 500, "{wait}");
    assert_eq!(refused.headers["retry-after"], "1");
    for polling in [first, second] {
        polling.abort();
    }
    server.stop().await;
}

/// Pages of a listed origin may poll and stream by fetch, with their token in a header.
#[tokio::test]
async fn a_listed_origin_may_fetch_what_it_likes() {
    let database = database().await;
    let page = "https://page.example";
    let server = serve(&database, |settings| {
        settings.http.allowed_origins = vec![page.into()];
    })
    .await;
    let ask = async |head: String| {
        let mut stream = TcpStream::connect(&server.address)
            .await
            .expect("it listens");
        let request =
            format!("{head} HTTP/1.1\r\nhost: x\r\norigin: {page}\r\nconnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it takes it");
        let mut answer = Vec::new();
        let head = async {
            while !answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                let read = stream.read_buf(&mut answer).await.expect("an answer");
                assert!(read > 0, "an end in the head");
            }
        };
        within("the head of an answer", head).await;
        String::from_utf8_lossy(&answer).to_lowercase()
    };
    for path in ["/poll", "/sse"] {
        let preflight = ask(format!("OPTIONS {path}")).await;
        assert!(preflight.starts_with("http/1.1 204"), "{preflight}");
        for line in [
            "access-control-allow-headers: authorization, content-type, last-event-id",
            "access-control-allow-origin: https://page.example",
            "access-control-allow-credentials: true",
            "vary: origin",
        ] {
            assert!(preflight.contains(line), "{path} {line}: {preflight}");
        }
        for token in [token("1", "", ""), "garbage".to_owned()] {
            let answer = ask(format!("GET {path}?token={token}")).await;
            let status = if token == "garbage" { "401" } else { "200" };
            assert!(
                answer.starts_with(&format!("http/1.1 {status}")),
                "{answer}"
            );
            assert!(answer.contains("access-control-allow-origin: https://page.example"));
            assert!(answer.contains("access-control-expose-headers: retry-after"));
        }
    }
    server.stop().await;
}

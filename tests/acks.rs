//! Durable readers: what was not acknowledged comes again, on any node and after any loss of memory,
//! and a place is written once a second at most, only forwards, and never lost.

use crate::support::{
    self, Answer, Database, EVERY_TRANSPORT, Served, Server, Subscriber, TRANSPORTS, Transport,
    Version, connect, eventually, marker, on, on_every_version, post, serve, serve_process, token,
    token_with, try_connect, try_sse, ws,
};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rowcast::clock::unix_now;
use rowcast::command::postgres::SUPERUSER;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Each write of a reader's place is noted, with the time that its row says: behind it somebody may stand
/// still before this runs.
const NOTES: &str = "
    create table app.written (at timestamptz, sub text, name text, bookmark text);
    create function app.note() returns trigger language plpgsql security definer as $$
      begin
        insert into app.written
        values (greatest(new.at, statement_timestamp()), new.sub, new.name, new.bookmark);
        return null;
      end $$;
    create trigger note after update on rowcast.reader for each row execute function app.note()";

async fn database(version: Version) -> Database {
    let db = on(version).await.database().await.with_open_rooms().await;
    db.run(NOTES).await;
    db
}

async fn installed() -> Database {
    database(Version::Installed).await
}

/// As user 1, by the name `a`, in the room `r:1`.
async fn reader(server: &impl Served, transport: Transport) -> Subscriber {
    connect(transport, server, &token("1", "", ""), "rooms=r:1&reader=a").await
}

/// The same, with how it resumes.
async fn resumed(server: &impl Served, transport: Transport) -> (Subscriber, Value) {
    let mut reader = reader(server, transport).await;
    reader.expect("welcome").await;
    let subscribed = reader.expect("subscribed").await;
    (reader, subscribed)
}

/// What a reader that comes now is told, and the events that it gets, by id.
async fn lacks(db: &Database, server: &Server, transport: Transport) -> (String, Vec<String>) {
    // Nothing of it is to come live.
    server.has_read(db).await;
    let (mut reader, subscribed) = resumed(server, transport).await;
    let outcome = subscribed["outcome"].as_str().unwrap().to_owned();
    let mut events = Vec::new();
    for _ in 0..subscribed["count"].as_u64().unwrap_or_default() {
        events.push(text(&reader.expect("event").await, "id"));
    }
    (outcome, events)
}

fn text(frame: &Value, field: &str) -> String {
    let found = frame[field].as_str();
    found
        .unwrap_or_else(|| panic!("{field}: {frame}"))
        .to_owned()
}

async fn markers(db: &Database, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(marker(db, &["r:1"]).await);
    }
    ids
}

async fn post_ack(server: &impl Served, token: &str, name: &str, bookmark: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = json!({ "bookmark": bookmark }).to_string();
    post(server, &format!("/ack/{name}"), &headers, body).await
}

/// Acknowledges as each transport does, and waits until it is stored.
async fn ack(
    server: &impl Served,
    reader: &mut Subscriber,
    by: Transport,
    bookmark: &str,
) -> String {
    if by == Transport::WebSocket {
        reader
            .send(json!({ "type": "ack", "bookmark": bookmark, "id": 7 }))
            .await;
        let mut acked = reader.next().await;
        while acked["type"] != "acked" {
            assert_ne!(acked["type"], "error", "{acked}");
            acked = reader.next().await;
        }
        assert_eq!(acked["id"], 7);
        return text(&acked, "bookmark");
    }
    let answer = post_ack(server, &token("1", "", ""), "a", bookmark).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    text(&answer.json(), "bookmark")
}

async fn place(db: &Database) -> Option<String> {
    db.ask("select rowcast.reader_place('1', 'a')").await
}

async fn writes(db: &Database) -> i64 {
    db.ask("select count(*) from app.written").await
}

on_every_version! {
    what_was_not_acknowledged_comes_again
    a_place_only_moves_forwards
    a_reader_is_forgotten_after_its_week
    many_in_one_statement_are_each_told_their_own
}

/// Also on a node that was opened later and has nothing in memory.
async fn what_was_not_acknowledged_comes_again(version: Version) {
    for transport in EVERY_TRANSPORT {
        let db = database(version).await;
        let server = serve(&db, |_| ()).await;
        let (mut first, subscribed) = resumed(&server, transport).await;
        assert_eq!(subscribed["outcome"], "live", "{subscribed}");
        let ids = markers(&db, 5).await;
        let mut bookmarks = Vec::new();
        for id in &ids {
            let event = first.expect("event").await;
            assert_eq!(event["id"], **id);
            bookmarks.push(text(&event, "bookmark"));
        }
        let stored = ack(&server, &mut first, transport, &bookmarks[2]).await;
        assert_eq!(stored, bookmarks[2]);
        drop(first);
        let other = serve(&db, |_| ()).await;
        for node in [&server, &other] {
            let (outcome, events) = lacks(&db, node, transport).await;
            assert_eq!(
                (outcome.as_str(), &*events),
                ("recovered", &ids[3..]),
                "{transport:?}"
            );
        }
        // Who has kept its memory says so, and the place stays where it is.
        let kept = format!("rooms=r:1&reader=a&since={}", bookmarks[3]);
        let mut kept = connect(transport, &other, &token("1", "", ""), &kept).await;
        kept.expect("welcome").await;
        assert_eq!(kept.expect("subscribed").await["count"], 1);
        assert_eq!(kept.expect("event").await["id"], *ids[4]);
        assert_eq!(place(&db).await, Some(bookmarks[2].clone()));
        // The present is as good as an event's.
        ack(&other, &mut kept, transport, &db.bookmark().await).await;
        let (outcome, events) = lacks(&db, &server, transport).await;
        assert_eq!((outcome.as_str(), events.len()), ("recovered", 0));
    }
}

/// Nothing was acknowledged, and the first connection did not live to see anything.
#[tokio::test]
async fn a_new_reader_misses_nothing_from_its_first_moment() {
    for transport in EVERY_TRANSPORT {
        let db = installed().await;
        let server = serve(&db, |_| ()).await;
        let witness = "rooms=r:1";
        let mut witness = connect(transport, &server, &token("1", "", ""), witness).await;
        witness.expect("welcome").await;
        let before = marker(&db, &["r:1"]).await;
        // The hub stands behind it.
        assert_eq!(witness.expect("event").await["id"], *before);
        let mut new = reader(&server, transport).await;
        let welcome = new.expect("welcome").await;
        // It is stored when it hears of it, at the very place that it is told.
        assert_eq!(
            place(&db).await,
            Some(text(&welcome, "bookmark")),
            "{transport:?}"
        );
        drop(new);
        let ids = markers(&db, 3).await;
        let (outcome, events) = lacks(&db, &server, transport).await;
        assert_eq!(
            (outcome.as_str(), events),
            ("recovered", ids),
            "{transport:?}"
        );
    }
}

/// Of two that came at once, the second had stored its place before the first: what the first was told up
/// to there, and did not acknowledge, never came again.
#[tokio::test]
async fn who_begins_a_reader_that_another_has_just_begun_comes_back_to_its_place() {
    let db = installed().await;
    let server = serve(&db, |_| ()).await;
    let other = db.client(SUPERUSER).await;
    let hold = "begin; lock table rowcast.reader in share row exclusive mode";
    other.batch_execute(hold).await.expect("a lock");
    let mut first = reader(&server, Transport::WebSocket).await;
    let place = "relation = 'rowcast.reader'::regclass";
    db.awaits("its place is being stored", place).await;
    marker(&db, &["r:1"]).await;
    let begin = "select rowcast.open_reader('1', 'a', rowcast.bookmark()); commit";
    other.batch_execute(begin).await.expect("a reader");
    let told = first.next_or_end().await.map_err(|(code, _)| code);
    assert_eq!(told, Err(1013), "before it was told of anything");
    let (outcome, events) = lacks(&db, &server, Transport::WebSocket).await;
    assert_eq!((outcome.as_str(), events.len()), ("recovered", 0));
    let ids = markers(&db, 1).await;
    assert_eq!(lacks(&db, &server, Transport::WebSocket).await.1, ids);
}

/// One that brings a bookmark begins there, not at the present.
#[tokio::test]
async fn a_new_reader_with_a_bookmark_begins_at_it() {
    let db = installed().await;
    let server = serve(&db, |_| ()).await;
    let since = db.bookmark().await;
    let ids = markers(&db, 2).await;
    let query = format!("rooms=r:1&reader=a&since={since}");
    let mut new = ws(&server, &token("1", "", ""), &query).await;
    new.expect("welcome").await;
    assert_eq!(new.expect("subscribed").await["outcome"], "recovered");
    drop(new);
    assert_eq!(lacks(&db, &server, Transport::Sse).await.1, ids);
    // What is no place of this history, or lies ahead of it, is a gap, and none to begin at.
    let here = db.bookmark().await;
    let (history, _) = here.split_once('.').unwrap();
    let ahead = format!("{history}.999999999_0");
    for since in ["garbage", "another.1_0", &ahead] {
        db.run("delete from rowcast.reader").await;
        let query = format!("rooms=r:1&reader=a&since={since}");
        let mut lost = ws(&server, &token("1", "", ""), &query).await;
        while lost.next().await["outcome"] != "gap" {}
        let stored = place(&db).await.unwrap();
        assert!(stored.starts_with(history) && stored != since, "{stored}");
    }
}

/// Killed between what it delivered and what was acknowledged.
#[tokio::test]
async fn a_server_that_is_killed_takes_no_event_with_it() {
    let db = installed().await;
    let mut killed = serve_process(&db, &[]).await;
    let other = serve(&db, |_| ()).await;
    let (mut first, _) = resumed(&killed, Transport::WebSocket).await;
    let ids = markers(&db, 4).await;
    let mut bookmarks = Vec::new();
    for _ in &ids {
        bookmarks.push(text(&first.expect("event").await, "bookmark"));
    }
    ack(&killed, &mut first, Transport::WebSocket, &bookmarks[0]).await;
    killed.signal(Signal::SIGKILL);
    killed.exited().await;
    let (outcome, events) = lacks(&db, &other, Transport::WebSocket).await;
    assert_eq!((outcome.as_str(), &*events), ("recovered", &ids[1..]));
}

/// Two of the same name: both hear everything, both may say how far they are, and the furthest
/// counts, whoever says it last and on whichever node.
async fn a_place_only_moves_forwards(version: Version) {
    let db = database(version).await;
    let nodes = [serve(&db, |_| ()).await, serve(&db, |_| ()).await];
    let mut both = Vec::new();
    for node in &nodes {
        both.push(resumed(node, Transport::WebSocket).await.0);
    }
    let ids = markers(&db, 3).await;
    let mut bookmarks = [Vec::new(), Vec::new()];
    for (one, bookmarks) in both.iter_mut().zip(&mut bookmarks) {
        for id in &ids {
            let event = one.expect("event").await;
            assert_eq!(event["id"], **id);
            bookmarks.push(text(&event, "bookmark"));
        }
    }
    let furthest = bookmarks[0][2].clone();
    let ws = Transport::WebSocket;
    assert_eq!(ack(&nodes[0], &mut both[0], ws, &furthest).await, furthest);
    for (node, behind) in [(1, 0), (1, 1), (0, 0)] {
        let stored = ack(&nodes[node], &mut both[node], ws, &bookmarks[node][behind]).await;
        assert_eq!(stored, furthest, "told what is stored");
    }
    // The others were behind it, and nothing was written.
    assert_eq!((place(&db).await, writes(&db).await), (Some(furthest), 1));
    assert_eq!(
        lacks(&db, &nodes[1], ws).await,
        ("recovered".into(), vec![])
    );
}

/// Far more than once a second, and each is answered with a place that is stored.
#[tokio::test]
async fn a_thousand_acknowledgements_in_a_second_are_two_writes() {
    let db = installed().await;
    let server = serve(&db, |settings| settings.limits.messages_per_second = 10_000).await;
    let (mut busy, _) = resumed(&server, Transport::WebSocket).await;
    db.run(
        "begin; select rowcast.emit('c', 'e', array['r:1'], to_json(n)) from generate_series(1, 1000) n;
         commit",
    )
    .await;
    let mut bookmarks = Vec::new();
    for _ in 0..1000 {
        bookmarks.push(text(&busy.expect("event").await, "bookmark"));
    }
    // One that is behind lets the pause begin.
    ack(&server, &mut busy, Transport::WebSocket, &bookmarks[0]).await;
    let began = std::time::Instant::now();
    for (id, bookmark) in bookmarks.iter().enumerate() {
        busy.send(json!({ "type": "ack", "bookmark": bookmark, "id": id }))
            .await;
    }
    let mut answered = BTreeSet::new();
    let mut last = String::new();
    while answered.len() < 1000 {
        let acked = busy.expect("acked").await;
        last = text(&acked, "bookmark");
        // What is stored holds what was acknowledged.
        let stored = bookmarks.iter().position(|one| *one == last).unwrap();
        assert!(
            stored >= usize::try_from(acked["id"].as_u64().unwrap()).unwrap(),
            "{acked}"
        );
        answered.insert(acked["id"].as_u64().unwrap());
    }
    assert_eq!(
        (place(&db).await, &last),
        (Some(last.clone()), &bookmarks[999])
    );
    let seconds = began.elapsed().as_secs();
    let written = writes(&db).await - 1;
    let most = i64::try_from(seconds).unwrap() + 2;
    assert!(written <= most, "{written} writes in {seconds} s");
    assert_pauses(&db, 1.0).await;
}

/// Between two writes of any reader lies the pause, whoever wrote.
async fn assert_pauses(db: &Database, seconds: f64) {
    let closest: Option<f64> = db
        .ask(
            "select min(extract(epoch from at - before))::float8 from (
               select at, lag(at) over (partition by sub, name order by at) as before
               from app.written) w",
        )
        .await;
    // The clock is read again once the row is locked.
    assert!(
        closest.is_some_and(|closest| closest >= seconds - 0.01),
        "{closest:?} s"
    );
}

/// The same name on two nodes, both busy: together they write no more than one.
#[tokio::test]
async fn two_nodes_write_a_reader_no_more_often_than_one() {
    let db = installed().await;
    let nodes = [serve(&db, |_| ()).await, serve(&db, |_| ()).await];
    let mut both = Vec::new();
    for node in &nodes {
        both.push(resumed(node, Transport::WebSocket).await.0);
    }
    for turn in 0..12 {
        marker(&db, &["r:1"]).await;
        for (number, one) in both.iter_mut().enumerate() {
            let frame = next_event(one).await;
            // In turns, so that each is ahead of what the other has said.
            if turn % 2 == number {
                let bookmark = text(&frame, "bookmark");
                one.send(json!({ "type": "ack", "bookmark": bookmark }))
                    .await;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Ahead of both: of what two nodes have cut into batches neither need be behind the other.
    let last = db.bookmark().await;
    nodes[1].has_read(&db).await;
    both[1]
        .send(json!({ "type": "ack", "bookmark": last }))
        .await;
    eventually("the last is written", async || {
        (place(&db).await == Some(last.clone())).then_some(())
    })
    .await;
    assert!(writes(&db).await >= 2);
    assert_pauses(&db, 1.0).await;
}

/// Names are their user's own, and nobody's is no name.
#[tokio::test]
async fn a_name_belongs_to_its_user() {
    let db = installed().await;
    let server = serve(&db, |settings| {
        settings.auth.anonymous_claims = Some(r#"{"role":"anonymous"}"#.into());
    })
    .await;
    let (mine, _) = resumed(&server, Transport::WebSocket).await;
    let before = place(&db).await;
    markers(&db, 2).await;
    let now = db.bookmark().await;
    let stranger = token("2", "", "");
    let answer = post_ack(&server, &stranger, "a", &now).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (404, &json!("no-reader"))
    );
    // The same name of another is another reader.
    let mut theirs = ws(&server, &stranger, "rooms=r:1&reader=a").await;
    theirs.expect("welcome").await;
    assert_eq!(theirs.expect("subscribed").await["outcome"], "live");
    ack_frame(&mut theirs, &now).await;
    assert_eq!(place(&db).await, before);
    // A connection can't speak for a name that it did not come by.
    let mut plain = ws(&server, &token("1", "", ""), "rooms=r:1").await;
    plain.expect("welcome").await;
    plain
        .send(json!({ "type": "ack", "bookmark": now, "id": 1 }))
        .await;
    assert_eq!(plain.expect("error").await["code"], "no-reader");
    assert_eq!(place(&db).await, before);
    drop(mine);

    let long = "x".repeat(201);
    for (token, name) in [("", "a"), ("1", &*long), ("1", "a%00b"), ("1", "%0a")] {
        let token = if token.is_empty() {
            String::new()
        } else {
            support::token(token, "", "")
        };
        let query = format!("reader={name}");
        let mut refused = ws(&server, &token, &query).await;
        assert_eq!(refused.closed().await.0, 4004, "{name}");
        let Err(answer) = try_sse(&server, &token, &query, &[]).await else {
            panic!("{name} came in");
        };
        assert_eq!(answer.status, 400, "{answer:?}");
        let mut polls = connect(Transport::Poll, &server, &token, &query).await;
        assert_eq!(polls.closed().await, (400, "protocol-error".into()));
        if !token.is_empty() {
            let answer = post_ack(&server, &token, name, &now).await;
            assert_eq!(answer.status, 400, "{answer:?}");
        }
    }
    let anonymous = post(
        &server,
        "/ack/a",
        &[("content-type", "application/json")],
        json!({ "bookmark": now }).to_string(),
    )
    .await;
    assert_eq!(anonymous.status, 400, "{anonymous:?}");
    let readers: i64 = db.ask("select count(*) from rowcast.reader").await;
    assert_eq!(readers, 2);
    // What can stand in a URL can be a name, and comes from `/ack` as it went to `reader`.
    let odd = "caf%C3%A9%2F%20%2B%25";
    let mut odd_one = ws(&server, &token("1", "", ""), &format!("reader={odd}")).await;
    odd_one.expect("welcome").await;
    let answer = post_ack(&server, &token("1", "", ""), odd, &db.bookmark().await).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let named: i64 = db
        .ask("select count(*) from rowcast.reader where name = 'café/ +%'")
        .await;
    assert_eq!(named, 1);
}

async fn ack_frame(socket: &mut Subscriber, bookmark: &str) -> Value {
    socket
        .send(json!({ "type": "ack", "bookmark": bookmark }))
        .await;
    loop {
        let frame = socket.next().await;
        if ["acked", "error"].contains(&frame["type"].as_str().unwrap()) {
            return frame;
        }
    }
}

/// A user makes up names without an end; and comes back by one of those they have.
#[tokio::test]
async fn a_user_has_so_many_readers() {
    let db = installed().await;
    db.run("update rowcast.setting set readers_per_user = 2")
        .await;
    let server = serve(&db, |_| ()).await;
    let one = token("1", "", "");
    for (user, name, fits) in [
        ("1", "a", true),
        ("1", "b", true),
        ("1", "c", false),
        ("1", "b", true),
        ("2", "c", true),
    ] {
        let mut somebody = ws(&server, &token(user, "", ""), &format!("reader={name}")).await;
        let refused = somebody.next_or_end().await.err().map(|(code, _)| code);
        assert_eq!(refused, (!fits).then_some(4003), "{user} {name}");
    }
    let Err(refused) = try_sse(&server, &one, "reader=c", &[]).await else {
        panic!("a third came in");
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    // One that is to be forgotten makes room.
    db.run("update rowcast.reader set at = now() - interval '8 days' where name = 'a'")
        .await;
    let mut third = ws(&server, &one, "reader=c").await;
    third.expect("welcome").await;
}

/// After a week without a word it is as new, and nothing of it is left.
async fn a_reader_is_forgotten_after_its_week(version: Version) {
    let db = database(version).await;
    let server = serve(&db, |_| ()).await;
    let (mut old, _) = resumed(&server, Transport::WebSocket).await;
    markers(&db, 1).await;
    let bookmark = text(&old.expect("event").await, "bookmark");
    let age = "update rowcast.reader set at = clock_timestamp() - interval '7 days 1 second'";
    db.run(&age.replace("7 days 1 second", "6 days 23 hours 59 minutes"))
        .await;
    assert_eq!(lacks(&db, &server, Transport::Sse).await.0, "recovered");
    // With its next word, a week begins anew.
    assert_eq!(ack_frame(&mut old, &bookmark).await["type"], "acked");
    let young = "select at > now() - interval '1 day' from rowcast.reader";
    assert!(db.ask::<bool>(young).await);
    markers(&db, 1).await;
    let bookmark = text(&old.expect("event").await, "bookmark");
    db.run(age).await;
    assert_eq!(ack_frame(&mut old, &bookmark).await["code"], "no-reader");
    let (outcome, _) = lacks(&db, &server, Transport::Sse).await;
    assert_eq!(
        outcome, "live",
        "it begins anew, before anybody has cleaned up"
    );
    assert_eq!(ack_frame(&mut old, &bookmark).await["type"], "acked");
    // Whoever looks after the log takes it away, and nobody else.
    db.run("insert into rowcast.reader values ('2', 'b', 'h.1_0', now() - interval '6 days')")
        .await;
    db.run(&format!("{age} where name = 'a'")).await;
    let left = "select string_agg(name, ' ') from rowcast.reader";
    let gone: i64 = db.ask("select rowcast.forget_readers()").await;
    assert_eq!(
        (gone, db.ask::<Option<String>>(left).await.as_deref()),
        (1, Some("b"))
    );
    // One call in fifty does, and a service makes one a second, under read committed.
    db.run("update rowcast.reader set at = now() - interval '8 days'")
        .await;
    db.run(
        "begin isolation level read committed; \
         do $$ begin for n in 1..1000 loop perform rowcast.rotate_log(); end loop; end $$; \
         commit",
    )
    .await;
    assert_eq!(db.ask::<Option<String>>(left).await, None);
}

/// The same of one that is told while somebody is connected.
#[tokio::test]
async fn a_gap_that_comes_live_is_to_be_acknowledged_too() {
    let db = installed().await;
    let server = serve(&db, |settings| {
        settings.websocket.heartbeat = Duration::from_secs(1);
        settings.readers.quiet = Duration::from_millis(1);
    })
    .await;
    let (mut one, _) = resumed(&server, Transport::WebSocket).await;
    let before = place(&db).await;
    db.run(
        "insert into rowcast.event (channel, name, rooms, data)
           values ('c', 'rowcast:gap', array['r:1'], '{\"reason\":\"trigger\"}')",
    )
    .await;
    let gap = one.expect("gap").await;
    for _ in 0..2 {
        while one.next().await["type"] != "heartbeat" {}
    }
    assert_eq!(place(&db).await, before);
    let known = text(&gap, "bookmark");
    ack(&server, &mut one, Transport::WebSocket, &known).await;
    assert_ne!(place(&db).await, before);
    server.stop().await;
}

/// It was away for longer than the log keeps events, and is told so until it has said that it knows.
#[tokio::test]
async fn a_gap_is_told_until_it_is_acknowledged() {
    let db = installed().await;
    let server = serve(&db, |settings| {
        settings.websocket.heartbeat = Duration::from_secs(1);
        settings.sse.heartbeat = Duration::from_secs(1);
        settings.readers.quiet = Duration::from_millis(1);
    })
    .await;
    drop(resumed(&server, Transport::WebSocket).await);
    markers(&db, 2).await;
    forget_all(&db).await;
    // What it lacks lies in no memory either.
    let other = serve(&db, |settings| {
        settings.websocket.heartbeat = Duration::from_secs(1);
        settings.sse.heartbeat = Duration::from_secs(1);
        settings.readers.quiet = Duration::from_millis(1);
    })
    .await;
    let before = place(&db).await;
    for transport in EVERY_TRANSPORT {
        let (mut lost, subscribed) = resumed(&other, transport).await;
        assert_eq!(
            (&subscribed["outcome"], &subscribed["reason"]),
            (&json!("gap"), &json!("horizon"))
        );
        if transport != Transport::Poll {
            // Quiet, with nothing but the gap to acknowledge: not moved on.
            for _ in 0..2 {
                while lost.next().await["type"] != "heartbeat" {}
            }
        }
        assert_eq!(place(&db).await, before, "{transport:?}");
    }
    let (mut lost, subscribed) = resumed(&other, Transport::WebSocket).await;
    let known = text(&subscribed, "bookmark");
    ack(&other, &mut lost, Transport::WebSocket, &known).await;
    assert_eq!(
        lacks(&db, &other, Transport::WebSocket).await,
        ("recovered".into(), vec![])
    );
}

/// Forgets what was written so far, as two days would. Whoever looks at the log, or after it, at the same
/// time is not waited for.
async fn forget_all(db: &Database) {
    let rotate = "select rowcast.rotate_log(pg_current_snapshot())";
    db.run(rotate).await;
    eventually("all is forgotten", async || {
        db.run(
            "update rowcast.leaf set entered_at = entered_at - interval '2 days',
              left_at = left_at - interval '2 days'",
        )
        .await;
        db.run(&format!("{rotate}; {rotate}; {rotate}")).await;
        let left: i64 = db.ask("select count(*) from rowcast.event").await;
        (left == 0).then_some(())
    })
    .await;
}

/// A place that was not given out here is no place, and the stored one stays.
#[tokio::test]
async fn a_bookmark_from_elsewhere_is_refused() {
    let db = installed().await;
    let server = serve(&db, |_| ()).await;
    let (mut reader, _) = resumed(&server, Transport::WebSocket).await;
    let before = place(&db).await;
    let now = db.bookmark().await;
    let history = now.split('.').next().unwrap();
    // The last adds up to more than SQL could count.
    let huge = format!(
        "{history}.1_999999999999999999{}",
        "_999999999999999999".repeat(9)
    );
    for bad in [
        "",
        "garbage",
        "another.1_0",
        "h",
        &format!("{history}.4000000000_0"),
        &huge,
        &format!("{history}.1_0.4000000000_0.3"),
        &format!("{history}.4000000000_0.1_0.3"),
        &format!("{history}.00000000000000000000001_0"),
        &"x".repeat(600),
        "'; drop table x",
    ] {
        let refused = ack_frame(&mut reader, bad).await;
        assert_eq!(refused["code"], "bad-bookmark", "{bad}: {refused}");
        let answer = post_ack(&server, &token("1", "", ""), "a", bad).await;
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
    reader.send(json!({ "type": "ack", "id": 3 })).await;
    let bent = reader.expect("error").await;
    assert_eq!(
        (&bent["code"], &bent["id"]),
        (&json!("bad-message"), &json!(3))
    );
    assert_eq!((place(&db).await, writes(&db).await), (before, 0));
    // One that another node, or a call, gave out a moment ahead of this one is good.
    marker(&db, &["r:1"]).await;
    let ahead = db.bookmark().await;
    assert_eq!(ack_frame(&mut reader, &ahead).await["bookmark"], *ahead);
}

/// The pause of a second holds nothing back for good: neither from who leaves, nor at a stop.
#[tokio::test]
async fn the_last_word_of_who_leaves_is_written() {
    let db = installed().await;
    for ends in ["closes", "drops", "stops"] {
        let server = serve(&db, |_| ()).await;
        let (mut reader, _) = resumed(&server, Transport::WebSocket).await;
        markers(&db, 3).await;
        let mut last = String::new();
        for _ in 0..3 {
            last = text(&next_event(&mut reader).await, "bookmark");
            reader
                .send(json!({ "type": "ack", "bookmark": last }))
                .await;
        }
        match ends {
            "stops" => {
                // It has been heard once its answer would be.
                reader.send(json!({ "type": "ping" })).await;
                while reader.next().await["type"] != "pong" {}
                server.stop().await;
                assert_eq!(place(&db).await, Some(last), "at the stop");
            }
            ends => {
                if ends == "closes" {
                    reader
                        .send_message(tokio_tungstenite::tungstenite::Message::Close(None))
                        .await;
                    reader.closed().await;
                }
                drop(reader);
                eventually("the last word is written", async || {
                    (place(&db).await == Some(last.clone())).then_some(())
                })
                .await;
            }
        }
    }
}

/// However long the pause and however slow the database: a stop waits for all that is left, in one
/// statement after the other.
#[tokio::test]
async fn a_stop_writes_all_that_is_left() {
    let db = installed().await;
    db.run(
        "create function app.slow() returns trigger language plpgsql as
           $$ begin perform pg_sleep(0.3); return new; end $$;
         create trigger slow before update on rowcast.reader
           for each row execute function app.slow()",
    )
    .await;
    let server = serve(&db, |settings| {
        settings.readers.write = Duration::from_secs(60);
        settings.readers.batch = 1;
    })
    .await;
    let mut readers = Vec::new();
    for name in ["a", "b", "c"] {
        let query = format!("rooms=r:1&reader={name}");
        let mut reader = ws(&server, &token("1", "", ""), &query).await;
        reader.expect("welcome").await;
        reader.expect("subscribed").await;
        readers.push(reader);
    }
    markers(&db, 1).await;
    let mut last = String::new();
    for reader in &mut readers {
        last = text(&reader.expect("event").await, "bookmark");
        reader
            .send(json!({ "type": "ack", "bookmark": last }))
            .await;
        // It was heard before this.
        reader.send(json!({ "type": "ping" })).await;
        reader.expect("pong").await;
    }
    assert_eq!(writes(&db).await, 0, "they wait for their turn");
    server.stop().await;
    let stored = "select count(*) from rowcast.reader where bookmark = ";
    assert_eq!(db.ask::<i64>(&format!("{stored}'{last}'")).await, 3);
}

/// Whoever acknowledges while the database is away is told, and the place is written when it is back.
#[tokio::test]
async fn a_place_that_could_not_be_stored_is_tried_again() {
    let db = installed().await;
    let server = serve(&db, |settings| {
        settings.readers.write = Duration::from_millis(50);
    })
    .await;
    let (mut reader, _) = resumed(&server, Transport::WebSocket).await;
    markers(&db, 1).await;
    let bookmark = text(&reader.expect("event").await, "bookmark");
    db.run("alter table rowcast.reader rename to reader_away")
        .await;
    assert_eq!(
        ack_frame(&mut reader, &bookmark).await["code"],
        "overloaded"
    );
    let answer = post_ack(&server, &token("1", "", ""), "a", &bookmark).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    // Who comes by a durable name is not let in to guess where it was.
    let mut away = ws(&server, &token("1", "", ""), "reader=a").await;
    assert_eq!(away.closed().await.0, 1013);
    db.run("alter table rowcast.reader_away rename to reader")
        .await;
    eventually("it is written", async || {
        (place(&db).await == Some(bookmark.clone())).then_some(())
    })
    .await;
}

/// A log that is full of others' events must not leave a quiet reader behind; one that has something
/// to acknowledge stays where it is.
#[tokio::test]
async fn a_quiet_reader_moves_on_by_itself() {
    for transport in TRANSPORTS {
        let db = installed().await;
        let server = serve(&db, |settings| {
            settings.websocket.heartbeat = Duration::from_secs(1);
            settings.sse.heartbeat = Duration::from_secs(1);
            settings.readers.quiet = Duration::from_millis(1);
        })
        .await;
        let (mut quiet, _) = resumed(&server, transport).await;
        let begun = place(&db).await;
        marker(&db, &["r:2"]).await;
        eventually("it moves on", async || {
            (place(&db).await != begun).then_some(())
        })
        .await;
        assert_eq!(
            lacks(&db, &server, transport).await,
            ("recovered".into(), vec![])
        );
        let mine = marker(&db, &["r:1"]).await;
        marker(&db, &["r:2"]).await;
        let event = next_event(&mut quiet).await;
        // As far as it was moved on before this came.
        eventually("all is written", async || {
            server.gate.ledger.is_settled().then_some(())
        })
        .await;
        let stands = place(&db).await;
        for _ in 0..2 {
            while quiet.next().await["type"] != "heartbeat" {}
        }
        assert_eq!(place(&db).await, stands, "{transport:?}");
        assert_eq!(lacks(&db, &server, transport).await.1, [mine]);
        ack(&server, &mut quiet, transport, &text(&event, "bookmark")).await;
        let acknowledged = place(&db).await;
        marker(&db, &["r:2"]).await;
        eventually("it moves on again", async || {
            (place(&db).await != acknowledged).then_some(())
        })
        .await;
    }
}

/// The next event; answers to what was said before may come between.
async fn next_event(reader: &mut Subscriber) -> Value {
    loop {
        let frame = reader.next().await;
        assert_ne!(frame["type"], "error", "{frame}");
        if frame["type"] == "event" {
            return frame;
        }
    }
}

/// The stored place is for the rooms of the URL, which came in order: others are asked for from where one likes.
#[tokio::test]
async fn a_room_of_a_frame_begins_where_the_frame_says() {
    let db = installed().await;
    let server = serve(&db, |_| ()).await;
    drop(resumed(&server, Transport::WebSocket).await);
    let begun = place(&db).await;
    let since = db.bookmark().await;
    let elsewhere = marker(&db, &["r:2"]).await;
    let ids = markers(&db, 1).await;
    server.has_read(&db).await;
    let (mut reader, subscribed) = resumed(&server, Transport::WebSocket).await;
    assert_eq!(subscribed["count"], 1);
    assert_eq!(reader.expect("event").await["id"], *ids[0]);
    let subscribe = json!({ "type": "subscribe", "id": 1, "rooms": ["r:2"] });
    reader.send(subscribe).await;
    let live = reader.expect("subscribed").await;
    assert_eq!(
        (&live["outcome"], &live["count"]),
        (&json!("live"), &Value::Null)
    );
    let subscribe = json!({ "type": "subscribe", "id": 2, "rooms": ["r:2"], "since": since });
    reader.send(subscribe).await;
    assert_eq!(reader.expect("subscribed").await["count"], 1);
    assert_eq!(reader.expect("event").await["id"], *elsewhere);
    assert_eq!(place(&db).await, begun, "nothing was acknowledged");
}

/// A database that began anew: the old place is a gap, and the first of the new history counts.
#[tokio::test]
async fn a_new_history_is_a_gap_and_then_a_place() {
    let db = installed().await;
    let server = serve(&db, |_| ()).await;
    let (mut reader, _) = resumed(&server, Transport::WebSocket).await;
    let old = marker(&db, &["r:1"]).await;
    let event = reader.expect("event").await;
    assert_eq!(event["id"], *old);
    db.run("select rowcast.new_history()").await;
    let gap = reader.expect("gap").await;
    assert_eq!(gap["reason"], "history");
    // The gap is queued before that is where acknowledgements are judged from.
    let bookmark = text(&gap, "bookmark");
    eventually("it stands in the new history", async || {
        let here = server.gate.hub.standpoint().borrow().clone();
        here.is_some_and(|here| bookmark.starts_with(&*here.history))
            .then_some(())
    })
    .await;
    // What was delivered before is of no history any more.
    let stale = ack_frame(&mut reader, &text(&event, "bookmark")).await;
    assert_eq!(stale["code"], "bad-bookmark");
    assert_eq!(lacks(&db, &server, Transport::Sse).await.0, "gap");
    assert_eq!(
        ack(&server, &mut reader, Transport::WebSocket, &bookmark).await,
        bookmark
    );
    let ids = markers(&db, 1).await;
    assert_eq!(
        lacks(&db, &server, Transport::Sse).await,
        ("recovered".into(), ids)
    );
}

/// Who was sent away can't move a reader by a token that still looks good.
#[tokio::test]
async fn a_revoked_user_acknowledges_nothing() {
    let db = installed().await;
    let server = serve(&db, |_| ()).await;
    let issued = json!({ "sub": "1", "iat": unix_now() - 5, "exp": unix_now() + 600 });
    let token = token_with(&issued);
    let mut reader = ws(&server, &token, "rooms=r:1&reader=a").await;
    reader.expect("welcome").await;
    let before = place(&db).await;
    db.run("select rowcast.revoke('1')").await;
    assert_eq!(reader.closed().await.0, 4002);
    marker(&db, &["r:1"]).await;
    let answer = post_ack(&server, &token, "a", &db.bookmark().await).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(place(&db).await, before);
}

/// Straight to the function: of many in one statement each is answered for itself, in the order in
/// which they were given, whatever their own.
async fn many_in_one_statement_are_each_told_their_own(version: Version) {
    let db = database(version).await;
    let at = |number: u32| format!("h.{number}_0");
    db.run(
        "insert into rowcast.reader (sub, name, bookmark, at)
         select s, n, 'h.10_0', clock_timestamp() - interval '1 hour'
         from (values ('2'), ('1')) s (s), (values ('b'), ('a')) n (n);
         insert into rowcast.reader (sub, name, bookmark, at) values
           ('3', 'set back', 'h.10_0', clock_timestamp() + interval '1 hour'),
           ('3', 'again', 'h.10_0', clock_timestamp());
         update rowcast.reader set at = clock_timestamp() where sub = '2' and name = 'a'",
    )
    .await;
    let marks = json!([
        { "sub": "2", "name": "b", "bookmark": at(20), "after": at(11) },
        { "sub": "9", "name": "b", "bookmark": at(20) },
        { "sub": "1", "name": "b", "bookmark": at(20), "after": at(10) },
        { "sub": "1", "name": "a", "bookmark": at(9) },
        { "sub": "2", "name": "a", "bookmark": at(20) },
        { "sub": "3", "name": "set back", "bookmark": at(20) },
        { "sub": "3", "name": "again", "bookmark": at(10) },
    ]);
    let asked = "select place, bookmark, wait_ms between 1 and 60000 \
                 from rowcast.acknowledge($1::text::jsonb, '1 minute') order by place";
    let rows = db
        .superuser()
        .await
        .query(asked, &[&marks.to_string()])
        .await
        .unwrap();
    let answers: Vec<(i64, Option<String>, bool)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    assert_eq!(
        answers,
        [
            // Something lies between that it has not acknowledged.
            (1, Some(at(10)), false),
            (2, None, false),
            (3, Some(at(20)), false),
            (4, Some(at(10)), false),
            (5, Some(at(10)), true),
            // A clock that was set back holds nobody up.
            (6, Some(at(20)), false),
            // Nothing is to be written, so there is nothing to wait for.
            (7, Some(at(10)), false),
        ]
    );
    assert_eq!(writes(&db).await, 3, "one of them the test's own");
}

/// Nodes that are told of the same readers in different orders would each wait for the other.
#[tokio::test]
async fn readers_are_locked_in_one_order_whatever_they_are_named_in() {
    let db = installed().await;
    for named in [["1", "2"], ["2", "1"]] {
        db.run(
            "truncate rowcast.reader;
             insert into rowcast.reader (sub, name, bookmark, at)
             select s, 'a', 'h.10_0', clock_timestamp() - interval '1 hour' from unnest('{1,2}'::text[]) s",
        )
        .await;
        let holder = db.client("postgres").await;
        let hold = "begin; select from rowcast.reader where sub = '1' for update";
        holder.batch_execute(hold).await.expect("a lock");
        let node = db.client("postgres").await;
        let mark = |sub: &str| json!({ "sub": sub, "name": "a", "bookmark": "h.20_0" });
        let marks = json!(named.map(mark)).to_string();
        let told = tokio::spawn(async move {
            let sql = "select rowcast.acknowledge($1::text::jsonb, '1 second')";
            node.query(sql, &[&marks]).await
        });
        db.awaits("the first is waited for", "locktype = 'transactionid'")
            .await;
        let free = "select count(*) from (
              select from rowcast.reader where sub = '2' for update skip locked
            ) r";
        assert_eq!(db.ask::<i64>(free).await, 1, "{named:?}");
        holder.batch_execute("commit").await.expect("an end");
        told.await.expect("it ends").expect("it is told");
        let moved = "select count(*) from rowcast.reader where bookmark = 'h.20_0'";
        assert_eq!(db.ask::<i64>(moved).await, 2, "{named:?}");
    }
}

/// Straight to the function: of two nodes that begin a reader at once, the second comes to it so.
#[tokio::test]
async fn a_reader_that_is_there_is_opened_though_its_user_may_have_no_more() {
    let db = installed().await;
    db.run(
        "update rowcast.setting set readers_per_user = 1;
         insert into rowcast.reader (sub, name, bookmark) values ('1', 'a', 'h.10_0')",
    )
    .await;
    for (name, place) in [("a", Some("h.10_0")), ("b", None)] {
        let opened = format!("select rowcast.open_reader('1', '{name}', 'h.20_0')");
        let opened: Option<String> = db.ask(&opened).await;
        assert_eq!(opened.as_deref(), place, "{name}");
    }
    // Two snapshots are a place within a batch, and that has an id.
    for none in ["h.20", "h.10_0.20_0"] {
        let opened = format!("select rowcast.open_reader('2', 'a', '{none}')");
        let opened = db.superuser().await.batch_execute(&opened).await;
        let code = opened.expect_err(none).code().cloned();
        assert_eq!(code.expect("a code").code(), "RC001", "{none}");
    }
}

/// Whoever looks after the log waits for nobody's acknowledgement.
#[tokio::test]
async fn a_reader_that_somebody_holds_is_forgotten_later() {
    let db = installed().await;
    db.run(
        "insert into rowcast.reader (sub, name, bookmark, at)
           values ('1', 'a', 'h.10_0', clock_timestamp() - interval '8 days');
         set lock_timeout = '5s'",
    )
    .await;
    let holder = db.client("postgres").await;
    let hold = "begin; select from rowcast.reader for update";
    holder.batch_execute(hold).await.expect("a lock");
    let forget = "select rowcast.forget_readers()";
    assert_eq!(db.ask::<i64>(forget).await, 0);
    holder.batch_execute("commit").await.expect("an end");
    assert_eq!(db.ask::<i64>(forget).await, 1);
}

/// What is said of places in Rust and in SQL is the same.
#[tokio::test]
async fn a_place_lies_within_another_alike_in_sql() {
    use rowcast::bookmark::Bookmark;
    let db = installed().await;
    let mut random = StdRng::seed_from_u64(7);
    let pairs: Vec<[String; 2]> = (0..3000)
        .map(|_| {
            let (one, mut other) = (bookmark(&mut random), bookmark(&mut random));
            // Within a batch the id decides: often the same, but for that.
            if one.matches('.').count() == 3 && random.random_ratio(1, 2) {
                let (batch, _) = one.rsplit_once('.').unwrap();
                other = format!("{batch}.{}", random.random_range(1..4));
            }
            [one, other]
        })
        .collect();
    let place = |text: &str| Bookmark::parse(text).unwrap();
    let ours: Vec<bool> = pairs
        .iter()
        .map(|[one, other]| place(one).is_within(&place(other)))
        .collect();
    let sql = "select array_agg(rowcast.is_within(a, b) order by n)
               from unnest($1::text[], $2::text[]) with ordinality p (a, b, n)";
    let [ones, others] = [0, 1].map(|at| pairs.iter().map(|pair| &*pair[at]).collect::<Vec<_>>());
    let row = db.superuser().await.query_one(sql, &[&ones, &others]).await;
    let theirs: Vec<bool> = row.unwrap().get(0);
    for ((pair, ours), theirs) in pairs.iter().zip(&ours).zip(&theirs) {
        assert_eq!(ours, theirs, "{pair:?}");
    }
    // Each answer occurs, and so do those where only the ids decide.
    let within = ours.iter().filter(|within| **within).count();
    assert!((100..2900).contains(&within), "{within}");
    let by_id = pairs.iter().zip(&ours).filter(|([one, other], within)| {
        let mut first = place(one);
        first.batch = first.batch.map(|(batch, _)| (batch, 0));
        first.is_within(&place(other)) != **within
    });
    assert!(by_id.count() > 5);
}

/// A small one, so that many lie within each other.
fn bookmark(random: &mut StdRng) -> String {
    let snapshot = |random: &mut StdRng| {
        let running: Vec<u64> = (0..random.random_range(0..3))
            .map(|_| random.random_range(0..2))
            .collect();
        let gaps: String = running
            .iter()
            .enumerate()
            .map(|(n, gap)| format!("_{}", gap + u64::from(n > 0)))
            .collect();
        format!(
            "{}_{}{gaps}",
            random.random_range(1..4),
            random.random_range(4..7)
        )
    };
    let history = if random.random_ratio(1, 10) { "g" } else { "h" };
    let base = snapshot(random);
    match random.random_range(0..3) {
        0 => format!("{history}.{base}"),
        1 => format!("{history}.{base}.{}", random.random_range(1..4)),
        _ => format!(
            "{history}.{base}.{}.{}",
            snapshot(random),
            random.random_range(1..4)
        ),
    }
}

/// Whether it is to come again, by any transport.
fn is_overload((code, word): &(u16, String)) -> bool {
    *code == 1013 || word == "overloaded"
}

/// Fifty cuts at any moment, on two nodes and every transport, with writers at work and
/// acknowledgements that lag: everything comes, in order within a connection, and again only what was
/// not acknowledged.
#[tokio::test]
async fn fifty_cuts_lose_nothing_and_repeat_only_what_was_not_acknowledged() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let db = installed().await;
    let change = |settings: &mut rowcast::config::Settings| {
        settings.readers.write = Duration::from_millis(20);
        settings.limits.messages_per_second = 10_000;
    };
    let nodes = [serve(&db, change).await, serve(&db, change).await];
    drop(resumed(&nodes[0], Transport::WebSocket).await);
    let writer = db.client("postgres").await;
    let writing = tokio::spawn(async move {
        for number in 0..600 {
            let sql = "select rowcast.emit('c', 'e', array['r:1'], to_json($1::int))";
            writer.execute(sql, &[&number]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let mut handled: BTreeMap<String, u32> = BTreeMap::new();
    // Known to be stored, when it was told.
    let mut stored: BTreeSet<String> = BTreeSet::new();
    let mut cuts = 0;
    while cuts < 50 || !writing.is_finished() {
        cuts += 1;
        let node = &nodes[random.random_range(0..2)];
        let transport = EVERY_TRANSPORT[random.random_range(0..3)];
        let one = token("1", "", "");
        let mut reader = try_connect(transport, &node.address, &one, "rooms=r:1&reader=a")
            .await
            .unwrap();
        let mut here: Vec<(String, String)> = Vec::new();
        let most = random.random_range(0..30);
        while here.len() < most {
            let next = tokio::time::timeout(Duration::from_millis(200), reader.next_or_end());
            let frame = match next.await {
                Ok(Ok(frame)) => frame,
                // A node that is late itself sends it away, and it comes again.
                Ok(Err(ended)) => {
                    assert!(is_overload(&ended), "{ended:?}");
                    break;
                }
                // Quiet: all was written.
                Err(_) if writing.is_finished() => break,
                // The machine has much else to do.
                Err(_) => continue,
            };
            assert_ne!(frame["outcome"], "gap", "{frame}");
            if frame["type"] != "event" {
                continue;
            }
            let (id, bookmark) = (text(&frame, "id"), text(&frame, "bookmark"));
            assert!(
                !stored.contains(&id),
                "{id} came again, and was acknowledged"
            );
            let number = |id: &str| id.parse::<u64>().unwrap();
            assert!(
                here.last()
                    .is_none_or(|(last, _)| number(last) < number(&id)),
                "{here:?} {id}"
            );
            *handled.entry(id.clone()).or_default() += 1;
            here.push((id, bookmark));
        }
        // Behind what it has handled, or not at all.
        let lags = random.random_range(0..8);
        if let Some(behind) = here.len().checked_sub(lags + 1)
            && random.random_ratio(3, 4)
        {
            let (_, bookmark) = &here[behind];
            let answer = post_ack(node, &one, "a", bookmark).await;
            if answer.status != 503 {
                assert_eq!(answer.status, 200, "{answer:?}");
                stored.extend(here[..=behind].iter().map(|(id, _)| id.clone()));
            }
        }
        drop(reader);
    }
    writing.await.unwrap();
    // What is left comes whole.
    let (outcome, rest) = lacks(&db, &nodes[0], Transport::WebSocket).await;
    assert_eq!(outcome, "recovered");
    for id in rest {
        assert!(!stored.contains(&id), "{id}");
        *handled.entry(id).or_default() += 1;
    }
    let all: Vec<String> = db
        .ask("select array_agg(id::text) from rowcast.event where channel = 'c'")
        .await;
    let all: BTreeSet<String> = all.into_iter().collect();
    assert_eq!(handled.keys().cloned().collect::<BTreeSet<_>>(), all);
    assert!(
        handled.values().any(|times| *times > 1),
        "the cuts repeated something"
    );
    assert!(
        stored.len() > 100,
        "and acknowledged something: {}",
        stored.len()
    );
}

//! Resume: whoever comes back with a bookmark receives exactly what it lacks. Real transactions,
//! both transports, from the ring and from the log, and on another node.

use crate::support::{
    self, Database, EVERY_TRANSPORT, Server, Subscriber, TRANSPORTS, Transport, Version, connect,
    marker, on,
    proxy::{Proxy, Upstream},
    serve, token, token_with,
};
use rowcast::bookmark::{Bookmark, Snapshot};
use rowcast::clock::{now_ms, unix_now};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// The rooms `r:*` are open to everybody.
const RULES: &str = "create schema app; grant usage on schema app to rowcast_owner; \
     create function app.anybody(claims jsonb, room text) returns boolean language sql \
       as $$ select true $$; \
     insert into rowcast.room_rule values ('r:*', 'app.anybody(jsonb,text)')";

async fn database(version: Version) -> Database {
    let db = on(version).await.database().await;
    db.run(RULES).await;
    db
}

/// An event as a reader sees it.
#[derive(Clone, Debug)]
struct Received {
    id: u64,
    bookmark: String,
    row: String,
    number: i64,
}

impl Received {
    fn from(frame: &Value) -> Self {
        let text = |field: &str| {
            frame[field]
                .as_str()
                .unwrap_or_else(|| panic!("{frame}"))
                .to_owned()
        };
        Self {
            id: text("id").parse().unwrap(),
            bookmark: text("bookmark"),
            row: frame["data"]["row"].as_str().unwrap_or_default().to_owned(),
            number: frame["data"]["n"].as_i64().unwrap_or_default(),
        }
    }
}

async fn subscriber(server: &Server, transport: Transport, since: &str) -> Subscriber {
    // Its place may be ahead of this node, which waits three seconds for a look, and not longer.
    support::eventually("this node is as far", async || {
        server.gate.reach(Some(since)).await.ok()
    })
    .await;
    connect(
        transport,
        server,
        &token("1", "user", ""),
        &format!("rooms=r:1,r:2&since={since}"),
    )
    .await
}

/// One event of a row: rows keep their order, whoever else writes.
async fn emit(client: &Client, room: u32, row: &str, number: u32) {
    let sql = "select rowcast.emit('c', 'e', array[$1], json_build_object('row', $2::text, 'n', $3::int))";
    let number = i32::try_from(number).unwrap();
    client
        .execute(sql, &[&format!("r:{room}"), &row, &number])
        .await
        .unwrap();
}

/// Transactions that overlap, commit out of the order of their ids, roll back in part or wholly,
/// hold one or many events, and one that stays open all the while.
async fn write_history(db: &Database) {
    let writer = || db.client("postgres");
    let (a, b, c, long) = (
        writer().await,
        writer().await,
        writer().await,
        writer().await,
    );
    let run = async |client: &Client, sql: &str| client.batch_execute(sql).await.unwrap();
    run(&long, "begin").await;
    emit(&long, 1, "long", 1).await;
    run(&a, "begin").await;
    emit(&a, 1, "a", 1).await;
    run(&b, "begin").await;
    emit(&b, 2, "b", 1).await;
    emit(&b, 1, "b", 2).await;
    run(&b, "commit").await;
    emit(&a, 2, "a", 2).await;
    run(&a, "savepoint s").await;
    emit(&a, 1, "gone", 1).await;
    run(&a, "rollback to s").await;
    run(&a, "savepoint t").await;
    emit(&a, 1, "a", 3).await;
    run(&a, "release t").await;
    run(&c, "begin").await;
    emit(&c, 1, "gone", 2).await;
    run(&a, "commit").await;
    run(&c, "rollback").await;
    run(&c, "begin").await;
    for number in 1..=12 {
        emit(&c, 1 + number % 2, "c", number).await;
    }
    emit(&b, 1, "b", 3).await;
    run(&c, "commit").await;
    emit(&long, 2, "long", 2).await;
    run(&long, "commit").await;
    emit(&b, 1, "b", 4).await;
}

/// How many events [`write_history`] commits.
const COMMITTED: usize = 2 + 4 + 3 + 12;

fn ids(events: &[Received]) -> BTreeSet<u64> {
    let ids: BTreeSet<u64> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), events.len(), "none twice: {events:?}");
    ids
}

fn assert_rows_in_order(events: &[Received]) {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for event in events {
        let before = last.insert(&event.row, event.number).unwrap_or(0);
        assert!(
            before < event.number,
            "a row's events out of order: {events:?}"
        );
    }
}

/// Reads what a bookmark lacks, to the marker; it has to be recovered, and counted right.
async fn read_all(
    db: &Database,
    server: &Server,
    transport: Transport,
    since: &str,
) -> Vec<Received> {
    // Until this node has read the marker, or it would come behind the replay.
    server.has_read(db).await;
    let mut reader = subscriber(server, transport, since).await;
    reader.expect("welcome").await;
    let subscribed = reader.expect("subscribed").await;
    assert_eq!(
        subscribed["outcome"], "recovered",
        "{transport:?} {since}: {subscribed}"
    );
    let events: Vec<_> = reader
        .events_until("marker")
        .await
        .iter()
        .map(Received::from)
        .collect();
    assert_eq!(
        subscribed["count"],
        events.len() + 1,
        "with the marker: {subscribed}"
    );
    events
}

async fn check_every_bookmark(version: Version) {
    let db = database(version).await;
    let server = serve(&db, |_| {}).await;
    let start = db.bookmark().await;
    let mut live = subscriber(&server, Transport::WebSocket, &start).await;
    live.expect("welcome").await;
    live.expect("subscribed").await;
    write_history(&db).await;
    marker(&db, &["r:1"]).await;
    let received: Vec<_> = live
        .events_until("marker")
        .await
        .iter()
        .map(Received::from)
        .collect();
    assert_eq!(ids(&received).len(), COMMITTED);
    assert_rows_in_order(&received);

    // A node that was not there has nothing in its ring; the other has everything.
    let other = serve(&db, |_| {}).await;
    for server in [&server, &other] {
        for transport in EVERY_TRANSPORT {
            assert_eq!(
                ids(&read_all(&db, server, transport, &start).await),
                ids(&received)
            );
            for (index, event) in received.iter().enumerate() {
                let rest = read_all(&db, server, transport, &event.bookmark).await;
                let had = ids(&received[..=index]);
                let lacked: BTreeSet<u64> = ids(&received).difference(&had).copied().collect();
                assert_eq!(
                    ids(&rest),
                    lacked,
                    "{transport:?} after {index}: {}",
                    event.bookmark
                );
                assert_rows_in_order(&rest);
            }
        }
    }
    server.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn every_bookmark_resumes_exactly() {
    check_every_bookmark(Version::Installed).await;
}

#[tokio::test]
async fn every_bookmark_resumes_exactly_on_14() {
    check_every_bookmark(Version::V14).await;
}

#[tokio::test]
async fn every_bookmark_resumes_exactly_on_18() {
    check_every_bookmark(Version::V18).await;
}

/// A reader that is cut after every single event, in mid-replay too, and changes node each time.
#[tokio::test]
async fn cut_after_each_event_in_turn() {
    for transport in EVERY_TRANSPORT {
        let db = database(Version::Installed).await;
        let nodes = [serve(&db, |_| {}).await, serve(&db, |_| {}).await];
        let mut bookmark = db.bookmark().await;
        let write = async {
            write_history(&db).await;
            marker(&db, &["r:2"]).await;
        };
        let read = async {
            let mut received = Vec::new();
            for turn in 0..100 {
                let mut reader = subscriber(&nodes[turn % 2], transport, &bookmark).await;
                reader.expect("welcome").await;
                reader.expect("subscribed").await;
                let event = reader.expect("event").await;
                if event["name"] == "marker" {
                    break;
                }
                received.push(Received::from(&event));
                bookmark = received[received.len() - 1].bookmark.clone();
            }
            received
        };
        let ((), received) = tokio::join!(write, read);
        assert_eq!(
            ids(&received).len(),
            COMMITTED,
            "{transport:?}: {received:?}"
        );
        assert_rows_in_order(&received);
    }
}

/// Of the batch that somebody stands in, the rest comes before what was committed later, whatever their ids:
/// from behind that, nobody comes back to it.
#[tokio::test]
async fn the_rest_of_a_batch_comes_before_what_was_committed_later() {
    let db = database(Version::Installed).await;
    let history: String = db.ask("select rowcast.ensure_history()").await;
    let emit = |name| format!("select rowcast.emit('c', '{name}', array['*'], '{{}}')");
    let here = "select rowcast.encode_snapshot(pg_current_snapshot())";
    let base: String = db.ask(here).await;
    let late = db.client("postgres").await;
    let begun = format!("begin; {}", emit("later"));
    late.batch_execute(&begun).await.expect("an event");
    let second: i64 = db.ask(&emit("second")).await;
    db.run(&emit("third")).await;
    db.run(&emit("fourth")).await;
    let batch: String = db.ask(here).await;
    late.batch_execute("commit").await.expect("a commit");
    let told = async |batch: &str| -> String {
        let told = format!(
            "select string_agg(coalesce(name, reason, outcome), ' ')
             from rowcast.events_since('{history}.{base}.{batch}.{second}')"
        );
        db.ask(&told).await
    };
    assert_eq!(told(&batch).await, "third fourth later end");
    // And each brings the place behind it.
    let behind = format!(
        "select string_agg(e.name || ': ' || r.rest, ', ' order by e.id)
         from rowcast.events_since('{history}.{base}.{batch}.{second}') e
         cross join lateral (
           select string_agg(coalesce(n.name, n.outcome), ' ') as rest
           from rowcast.events_since(e.bookmark) n
         ) r
         where e.outcome = 'event'"
    );
    let rests: String = db.ask(&behind).await;
    assert_eq!(
        rests,
        "later: end, third: fourth later end, fourth: later end"
    );
    assert_eq!(told("999999999_0").await, "future");
    // Nobody has begun the next history: what such a place is of, nobody knows.
    db.run("delete from rowcast.history_mark").await;
    let none = "select reason from rowcast.events_since(rowcast.bookmark())";
    assert_eq!(db.ask::<String>(none).await, "history");
}

/// Its own number lies below those of transactions that have ended by then, and it is none of them.
#[tokio::test]
async fn a_page_that_goes_on_to_write_behind_others_is_told_of_it() {
    let db = database(Version::Installed).await;
    db.run("select rowcast.ensure_history()").await;
    let emit = |name| format!("select rowcast.emit('c', '{name}', array['*'], '{{}}')");
    let page = db.client("postgres").await;
    let begun = "begin; select pg_current_xact_id()";
    page.batch_execute(begun).await.expect("a transaction");
    db.run(&emit("seen")).await;
    let printed = page.query_one("select rowcast.bookmark()", &[]).await;
    let printed: String = printed.expect("a bookmark").get(0);
    let written = format!("{}; commit", emit("own"));
    page.batch_execute(&written).await.expect("a commit");
    let told = format!(
        "select string_agg(coalesce(name, reason, outcome), ' ') from rowcast.events_since('{printed}')"
    );
    assert_eq!(db.ask::<String>(&told).await, "own end");
}

/// A stream cut behind any of its frames, before the first event too: the last bookmark received
/// is a true place.
#[tokio::test]
async fn a_cut_before_the_first_event_loses_nothing() {
    let db = database(Version::Installed).await;
    let server = serve(&db, |_| {}).await;
    let start = db.bookmark().await;
    emit(&db.client("postgres").await, 1, "a", 1).await;
    marker(&db, &["r:1"]).await;
    for transport in EVERY_TRANSPORT {
        let mut reader = subscriber(&server, transport, &start).await;
        for frame in ["welcome", "subscribed"] {
            reader.expect(frame).await;
            let bookmark = reader.bookmark.clone().unwrap();
            let events = read_all(&db, &server, transport, &bookmark).await;
            assert_eq!(
                events.len(),
                1,
                "{transport:?} cut behind {frame} at {bookmark}"
            );
        }
    }
}

/// The welcome goes before the frame that tells a gap: whoever is cut off between them, and comes
/// back with the last bookmark received, is told again.
#[tokio::test]
async fn a_cut_between_welcome_and_gap_is_told_of_the_gap_again() {
    let db = database(Version::Installed).await;
    let server = serve(&db, |_| {}).await;
    let start = db.bookmark().await;
    db.run("select rowcast.new_history()").await;
    let now = db.bookmark().await;
    assert_ne!(history(&start), history(&now));
    for transport in EVERY_TRANSPORT {
        let mut since = start.clone();
        for _ in 0..2 {
            // Until this node knows the new history, or it would still recover.
            support::eventually("the node knows the new history", async || {
                let mut fresh = support::ws(&server, &token("1", "user", ""), "").await;
                let welcome = fresh.expect("welcome").await;
                (history(welcome["bookmark"].as_str().unwrap()) == history(&now)).then_some(())
            })
            .await;
            let mut reader = subscriber(&server, transport, &since).await;
            reader.expect("welcome").await;
            since = reader.bookmark.clone().unwrap_or(since);
            assert_eq!(
                reader.expect("subscribed").await["outcome"],
                "gap",
                "{transport:?}"
            );
            let told = reader.bookmark.clone().unwrap();
            assert_eq!(history(&told), history(&now), "{transport:?}");
        }
        // One that brought no bookmark that can be read has none to go on from before it is told.
        let mut reader = subscriber(&server, transport, "nonsense").await;
        let welcome = reader.expect("welcome").await;
        assert_eq!(welcome["bookmark"], Value::Null, "{transport:?}");
    }
}

fn history(bookmark: &str) -> &str {
    bookmark.split('.').next().unwrap()
}

/// One cursor over several rooms: a second subscribe replays, and is cut in its middle.
#[tokio::test]
async fn a_replay_of_one_room_cut_in_its_middle_loses_nothing_of_the_other() {
    let db = database(Version::Installed).await;
    let server = serve(&db, |_| {}).await;
    let start = db.bookmark().await;
    let writer = db.client("postgres").await;
    let mut reader = support::ws(&server, &token("1", "user", ""), "rooms=r:1").await;
    reader.expect("welcome").await;
    for number in 1..=3 {
        emit(&writer, 1, "a", number).await;
        emit(&writer, 2, "b", number).await;
    }
    for _ in 0..3 {
        reader.expect("event").await;
    }
    let again =
        serde_json::json!({ "type": "subscribe", "id": 1, "rooms": ["r:2"], "since": start });
    reader.send(again).await;
    emit(&writer, 1, "a", 4).await;
    while reader.next().await["data"]["row"] != "b" {}
    let mut had: BTreeSet<u64> = reader
        .received
        .iter()
        .filter(|frame| frame["type"] == "event")
        .map(|frame| Received::from(frame).id)
        .collect();
    let bookmark = reader.bookmark.clone().unwrap();
    marker(&db, &["r:1"]).await;
    let rest = read_all(&db, &server, Transport::WebSocket, &bookmark).await;
    had.extend(rest.iter().map(|event| event.id));
    assert_eq!(
        had.len(),
        7,
        "a 1 to 4 and b 1 to 3, from {bookmark}: {rest:?}"
    );
}

/// What one room was sent lies behind what the others have had, up to the heartbeat that follows it.
#[tokio::test]
async fn who_comes_back_from_behind_a_replay_of_one_room_is_told_nothing_twice() {
    let db = database(Version::Installed).await;
    // None comes by itself before the test gives up.
    let long = Duration::from_secs(600);
    let server = serve(&db, |settings| settings.websocket.heartbeat = long).await;
    let start = db.bookmark().await;
    let writer = db.client("postgres").await;
    // Each read by itself: what is read at once may end at one place, and what is unread comes later.
    for (room, row) in [(2, "b"), (1, "a")] {
        emit(&writer, room, row, 1).await;
        server.has_read(&db).await;
    }
    let mut reader = support::ws(&server, &token("1", "user", ""), "rooms=r:1").await;
    reader.expect("welcome").await;
    let again =
        serde_json::json!({ "type": "subscribe", "id": 1, "rooms": ["r:2"], "since": start });
    reader.send(again).await;
    assert_eq!(reader.expect("subscribed").await["count"], 1);
    let told = reader.expect("event").await;
    let place = reader.expect("heartbeat").await["bookmark"].clone();
    marker(&db, &["r:1"]).await;
    for (from, missed) in [(&told["bookmark"], 1), (&place, 0)] {
        let rest = read_all(&db, &server, Transport::WebSocket, from.as_str().unwrap()).await;
        assert_eq!(rest.len(), missed, "from {from}: {rest:?}");
    }
}

/// A page prints its data and the bookmark from one statement; its transaction then writes.
#[tokio::test]
async fn a_page_receives_exactly_what_it_lacks() {
    let db = database(Version::Installed).await;
    let server = serve(&db, |_| {}).await;
    db.run(
        "create table app.note (id int primary key); grant usage on schema app to public; \
         grant select, insert on app.note to public; grant select on app.note to rowcast_owner; \
         select rowcast.attach('app.note', 'insert', $$ select 'e' as name, array['r:1'] as rooms, \
           json_build_object('row', 'note' || id, 'n', id) as data from new_rows $$)",
    )
    .await;
    let page = "select rowcast.bookmark(), coalesce(array_agg(id order by id), '{}') from app.note";
    let (legacy, open) = (db.legacy().await, db.legacy().await);
    // Written before the page is rendered, committed after it.
    open.batch_execute("begin; insert into app.note values (1)")
        .await
        .unwrap();
    legacy
        .batch_execute("insert into app.note values (2)")
        .await
        .unwrap();
    legacy
        .batch_execute("begin; insert into app.note values (3)")
        .await
        .unwrap();
    let row = legacy.query_one(page, &[]).await.unwrap();
    let (bookmark, seen): (String, Vec<i32>) = (row.get(0), row.get(1));
    assert_eq!(seen, [2, 3]);
    legacy
        .batch_execute("insert into app.note values (4); commit")
        .await
        .unwrap();
    open.batch_execute("commit").await.unwrap();
    marker(&db, &["r:1"]).await;
    for transport in EVERY_TRANSPORT {
        let lacked = read_all(&db, &server, transport, &bookmark).await;
        let lacked: BTreeSet<i64> = lacked.iter().map(|event| event.number).collect();
        // 3 is in the page and comes once more: its transaction had not ended.
        assert_eq!(lacked, [1, 3, 4].into(), "{transport:?}");
    }
}

/// Bookings of a slot, and the event that says how many they are: nobody knows before it is read.
const BOOKINGS: &str = "create table app.booking (slot int); \
     grant select on app.booking to rowcast_owner; \
     create function app.slot(p_keys jsonb[]) returns table (key jsonb, data json) \
       language sql stable as $$ select k, json_build_object('row', 'slot', 'n', \
         (select count(*) from app.booking where slot = (k ->> 'id')::int)) from unnest(p_keys) k $$";

const BOOK: &str = "insert into app.booking values (1); \
     insert into rowcast.event (channel, name, rooms, data, render) \
       values ('slots', 'slot', array['r:1'], '{\"id\":1}', 'app.slot')";

/// What whoever comes back with this bookmark is told of the slot in the end, on every transport.
async fn assert_last_told(db: &Database, server: &Server, bookmark: &str, expected: i64) {
    for transport in EVERY_TRANSPORT {
        let told = read_all(db, server, transport, bookmark).await;
        let last = told.iter().rfind(|event| event.row == "slot");
        let last = last.map(|event| event.number);
        assert_eq!(
            last,
            Some(expected),
            "{transport:?} from {bookmark}: {told:?}"
        );
    }
}

/// Serves with looks that wait as long as [`Database::hold_a_look`] holds them.
async fn serve_with_patience(db: &Database) -> Server {
    serve(db, |settings| {
        settings.listener.look_timeout = Duration::from_secs(60);
    })
    .await
}

/// Two book a slot at once, and a page is rendered between their commits. Of the two events, which one
/// look found and which say the same, only the last was kept, which the page has: it was told that it
/// lacked nothing, and went on to show one booking.
#[tokio::test]
async fn of_two_bookings_at_once_a_page_is_told_the_one_it_lacks() {
    let db = database(Version::Installed).await;
    db.run(BOOKINGS).await;
    let server = serve_with_patience(&db).await;
    let mut reader = subscriber(&server, TRANSPORTS[0], &db.bookmark().await).await;
    reader.expect("welcome").await;
    reader.expect("subscribed").await;
    let holder = db.hold_a_look(&server).await;
    let first = db.client("postgres").await;
    first
        .batch_execute(&format!("begin; {BOOK}"))
        .await
        .unwrap();
    db.run(BOOK).await;
    let page = "select rowcast.bookmark(), count(*) from app.booking";
    let page = db.superuser().await.query_one(page, &[]).await.unwrap();
    assert_eq!(page.get::<_, i64>(1), 1);
    first.batch_execute("commit").await.unwrap();
    holder.batch_execute("commit").await.unwrap();
    // Whoever is there is told once.
    assert_eq!(reader.expect_event("slot").await["data"]["n"], 2);
    marker(&db, &["r:1"]).await;
    assert!(reader.events_until("marker").await.is_empty());
    assert_last_told(&db, &server, page.get(0), 2).await;
}

/// One service finds a transaction's booking, and then that of one that began before it; another finds
/// both at once. Whoever was cut in the middle of what this other told was told them by id: last what
/// had been read before the second was committed.
#[tokio::test]
async fn who_comes_from_another_node_is_told_the_newest_state_last() {
    let db = database(Version::Installed).await;
    db.run(BOOKINGS).await;
    let server = serve(&db, |_| {}).await;
    let before = db.bookmark().await;
    let mut reader = subscriber(&server, TRANSPORTS[0], &before).await;
    reader.expect("welcome").await;
    reader.expect("subscribed").await;
    let id = |event: &Value| event["id"].as_str().unwrap().parse::<u64>().unwrap();
    emit(&db.client("postgres").await, 1, "first", 1).await;
    let had = id(&reader.expect_event("e").await);
    let open = db.client("postgres").await;
    open.batch_execute(&format!("begin; {BOOK}")).await.unwrap();
    db.run(BOOK).await;
    let one = reader.expect_event("slot").await;
    open.batch_execute("commit").await.unwrap();
    let both = reader.expect_event("slot").await;
    assert_eq!(
        (&one["data"]["n"], &both["data"]["n"]),
        (&1.into(), &2.into())
    );
    assert!(id(&both) < id(&one));
    marker(&db, &["r:1"]).await;
    // As a node gives it out that found all of it at once.
    let after = db.bookmark().await;
    let (_, after) = after.split_once('.').unwrap();
    assert_last_told(&db, &server, &format!("{before}.{after}.{had}"), 2).await;
}

/// The present, and a place as if so many transactions were open that there is no space for more: one
/// within a batch.
async fn with_many_open(db: &Database) -> (String, Bookmark) {
    let several = "do $$ begin for i in 1..500 loop \
         perform pg_current_xact_id(); commit; end loop; end $$";
    db.run(several).await;
    let exact = db.bookmark().await;
    let Bookmark { history, base, .. } = Bookmark::parse(&exact).unwrap();
    let oldest = base.running().first().copied().unwrap_or(base.xmax());
    let open: Vec<u64> = (oldest - 480..oldest)
        .chain(base.running().iter().copied())
        .collect();
    let many = Snapshot::new(oldest - 480, base.xmax(), &open).unwrap();
    let batch = Some((many.clone(), 0));
    let base = many;
    (
        exact,
        Bookmark {
            history,
            base,
            batch,
        },
    )
}

/// With some five hundred transactions open a bookmark covers less than its holder knows. Of two equal states
/// only the last was told, from the ring as from the log: the holder knew that one, dropped it, and went
/// on without the other.
#[tokio::test]
async fn a_shortened_bookmark_loses_no_state() {
    let db = database(Version::Installed).await;
    db.run(BOOKINGS).await;
    let live = serve_with_patience(&db).await;
    // This server's ring reaches back to before any of these, and so to the shortened bookmark.
    let (exact, many) = with_many_open(&db).await;
    let shortened = Bookmark {
        batch: None,
        ..many
    }
    .to_string();
    // Or this server might find the one before the other is committed, and tell of both rightly.
    let holder = db.hold_a_look(&live).await;
    let open = db.client("postgres").await;
    open.batch_execute(&format!("begin; {BOOK}")).await.unwrap();
    db.run(BOOK).await;
    open.batch_execute("commit").await.unwrap();
    holder.batch_execute("commit").await.unwrap();
    marker(&db, &["r:1"]).await;
    let fresh = serve(&db, |_| {}).await;
    for (server, since, expected) in [
        (&live, &exact, 1),
        (&fresh, &exact, 1),
        (&live, &shortened, 2),
        (&fresh, &shortened, 2),
    ] {
        for transport in EVERY_TRANSPORT {
            let mut told = read_all(&db, server, transport, since).await;
            told.retain(|event| event.row == "slot");
            let ids: BTreeSet<_> = told.iter().map(|event| event.id).collect();
            assert_eq!(ids.len(), expected, "{transport:?} from {since}: {told:?}");
            assert!(told.iter().all(|event| event.number == 2), "{told:?}");
        }
    }
}

/// In an address with the longest token, in frames, and as the place of a durable reader.
#[tokio::test]
async fn the_longest_bookmarks_are_taken_wherever_one_may_stand() {
    let db = database(Version::Installed).await;
    let server = serve(&db, |_| {}).await;
    let longest = with_many_open(&db).await.1.to_string();
    assert!(longest.len() > 1900, "{} bytes", longest.len());
    marker(&db, &["r:1", "r:2"]).await;
    // Or the marker would come once for both, behind what there is to recover.
    server.has_read(&db).await;
    let claims = json!({ "sub": "1", "exp": unix_now() + 600, "name": "x".repeat(5950) });
    let token = token_with(&claims);
    assert!((8000..=8192).contains(&token.len()), "{}", token.len());
    for transport in EVERY_TRANSPORT {
        let query = format!(
            "rooms=r:1&since={longest}&load=r:2&from={longest}&reader={transport:?}&token={token}"
        );
        let mut reader = connect(transport, &server, "", &query).await;
        reader.expect("welcome").await;
        for _ in ["since", "from"] {
            assert_eq!(reader.expect("subscribed").await["outcome"], "recovered");
            reader.expect("event").await;
        }
    }
    let mut socket = support::ws(&server, &token, "reader=WebSocket").await;
    socket.expect("welcome").await;
    assert_eq!(socket.expect("subscribed").await["outcome"], "recovered");
    socket
        .send(json!({ "type": "subscribe", "rooms": ["r:2"], "since": longest, "again": true }))
        .await;
    assert_eq!(socket.expect("subscribed").await["outcome"], "recovered");
    socket.expect("event").await;
    socket
        .send(json!({ "type": "ack", "bookmark": longest }))
        .await;
    assert_eq!(socket.expect("acked").await["bookmark"], longest);
    let kept = "select count(*) from rowcast.reader where octet_length(bookmark) > 1900";
    assert_eq!(db.ask::<i64>(kept).await, 3);
}

/// `rowcast.bookmark()` has to take the snapshot of the page's own statement: the data of a slow
/// one is older than the moment it ends.
#[tokio::test]
async fn a_bookmark_is_of_the_statement_that_prints_it() {
    let db = database(Version::Installed).await;
    let volatility: i8 = db
        .ask("select provolatile from pg_proc where oid = 'rowcast.bookmark()'::regprocedure")
        .await;
    assert_eq!(
        volatility.cast_unsigned(),
        b's',
        "STABLE: a volatile one would look later"
    );
    let legacy = db.legacy().await;
    let started = "begin isolation level repeatable read; select 1";
    legacy.batch_execute(started).await.unwrap();
    let before: String = legacy
        .query_one("select rowcast.bookmark()", &[])
        .await
        .unwrap()
        .get(0);
    emit(&db.client("postgres").await, 1, "a", 1).await;
    let after: String = legacy
        .query_one("select rowcast.bookmark()", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(
        before, after,
        "the snapshot of the transaction, not of the moment"
    );
}

/// A bookmark from ahead of a node that can't read the log at present: to be asked again, not a gap.
#[tokio::test]
async fn a_node_that_is_behind_sends_away_and_tells_no_gap() {
    let db = database(Version::Installed).await;
    let server = serve_with_patience(&db).await;
    let holder = db.hold_a_look(&server).await;
    marker(&db, &["r:1"]).await;
    let ahead = db.bookmark().await;
    let token = token("1", "user", "");
    let mut socket = crate::support::ws(&server, &token, &format!("since={ahead}")).await;
    assert_eq!(socket.closed().await.0, 1013);
    let mut stream = crate::support::sse(&server, &token, &format!("since={ahead}")).await;
    assert_eq!(stream.closed().await.1, "overloaded");
    holder.batch_execute("commit").await.unwrap();
    server.has_read(&db).await;
    let mut socket = crate::support::ws(&server, &token, &format!("since={ahead}")).await;
    socket.expect("welcome").await;
    assert_eq!(socket.expect("subscribed").await["outcome"], "recovered");
}

/// On the way in as behind it: an EventSource that got a status would be told no reason.
#[tokio::test]
async fn a_token_that_ends_while_the_log_is_awaited_is_told_as_later() {
    let db = database(Version::Installed).await;
    let server = serve_with_patience(&db).await;
    let holder = db.hold_a_look(&server).await;
    marker(&db, &["r:1"]).await;
    let since = format!("since={}", db.bookmark().await);
    for (transport, end) in [
        (Transport::WebSocket, 4001),
        (Transport::Sse, 200),
        (Transport::Poll, 401),
    ] {
        // The log is awaited for three seconds: the token ends in between, and is good until then.
        let told = support::eventually("a token outlives its way in", async || {
            support::eventually("a second begins", async || {
                (now_ms() % 1000 < 100).then_some(())
            })
            .await;
            let began = Instant::now();
            let short = token_with(&json!({ "sub": "1", "exp": unix_now() + 2 }));
            let mut reader = match transport {
                Transport::Sse => support::try_sse(&server, &short, &since, &[]).await.ok()?,
                _ => connect(transport, &server, &short, &since).await,
            };
            let (ended, why) = reader.closed().await;
            // Held up until the token had ended on its way, or the wait was over, it tells nothing.
            let is_late = ended == 1008 || why == "unauthorized";
            (!is_late && began.elapsed() < Duration::from_secs(3)).then_some((ended, why))
        });
        let (ended, why) = told.await;
        assert_eq!(ended, end, "{transport:?}: {why}");
        assert!(
            transport == Transport::WebSocket || why == "token-expired",
            "{why}"
        );
    }
    holder.batch_execute("commit").await.unwrap();
}

/// What a stream has not taken by its end is dropped, and once its head was as well: what came then was
/// no HTTP.
#[tokio::test]
async fn a_token_that_ends_while_a_replay_is_read_is_told_behind_a_head() {
    let db = database(Version::Installed).await;
    serve(&db, |_| {}).await.stop().await;
    let since = format!("rooms=r:1&since={}", db.bookmark().await);
    marker(&db, &["r:1"]).await;
    // Its ring does not reach back so far, and the log is locked for longer than the token lasts.
    let server = serve(&db, |settings| {
        settings.database.statement_timeout = Duration::from_secs(60);
    })
    .await;
    let holder = db.client("postgres").await;
    let lock = "begin; lock table rowcast.log in access exclusive mode";
    holder.batch_execute(lock).await.unwrap();
    let (brief, _) = support::brief(json!({ "sub": "1" }));
    let mut reader = support::sse(&server, &brief, &since).await;
    let (ended, why) = reader.closed().await;
    assert_eq!((ended, why.as_str()), (200, "token-expired"));
    holder.batch_execute("rollback").await.unwrap();
}

/// States were once joined to what they say in a nested loop, wherever the log had no statistics yet:
/// five thousand took most of a minute.
#[tokio::test]
async fn five_thousand_states_are_not_compared_each_with_each() {
    let db = database(Version::Installed).await;
    db.run(
        "create function app.state(p_keys jsonb[]) returns table (key jsonb, data json)
           language sql stable as $$ select k, k::json from unnest(p_keys) k $$;
         select rowcast.ensure_history()",
    )
    .await;
    let before = db.bookmark().await;
    db.run(
        "insert into rowcast.event (channel, name, rooms, data, render)
           select 'c', 'state', array['r:1'], json_build_object('n', n), 'app.state'
           from generate_series(1, 5000) n;
         set statement_timeout = '20s'",
    )
    .await;
    let since = format!("select count(*) from rowcast.events_since('{before}')");
    assert_eq!(db.ask::<i64>(&since).await, 5001);
}

/// What takes the log longer to search than it may would take as long the next time: no reader comes
/// back for it again and again.
#[tokio::test]
async fn what_can_not_be_read_in_time_is_a_gap() {
    let db = support::database().await;
    let first = serve(&db, |_| {}).await;
    let mut reader = support::ws(&first, &token("1", "user", ""), "").await;
    let since = reader.expect("welcome").await["bookmark"].clone();
    marker(&db, &["*"]).await;
    reader.expect_event("marker").await;
    // Its ring does not reach back so far.
    let second = serve(&db, |settings| {
        settings.database.statement_timeout = Duration::from_secs(2);
    })
    .await;
    let holder = db.client("postgres").await;
    let lock = "begin; lock table rowcast.log in access exclusive mode";
    holder.batch_execute(lock).await.unwrap();
    let query = format!("since={}", since.as_str().unwrap());
    // Where the server's own timeout comes late, ours comes first: nobody knows then what it was.
    let mut back = support::let_in(&second, &token("1", "user", ""), &query).await;
    let told = back.expect("subscribed").await;
    assert_eq!(
        (&told["outcome"], &told["reason"]),
        (&"gap".into(), &"limit".into())
    );
    holder.batch_execute("rollback").await.unwrap();
    marker(&db, &["*"]).await;
    back.expect_event("marker").await;
}

/// All that lay behind an old bookmark was taken in before it was found to be too much: eight readers
/// with one of yesterday took two gigabytes.
#[tokio::test]
async fn what_is_too_much_is_not_taken_in() {
    let mut db = database(Version::Installed).await;
    serve(&db, |_| {}).await.stop().await;
    let since = db.bookmark().await;
    // A row of the log is a megabyte; PostgreSQL keeps it small.
    let emit = "select rowcast.emit('c', 'e', array['r:1'],
        json_build_object('row', repeat('x', 1000000))) from generate_series(1, 100)";
    db.run(emit).await;
    let cluster = &on(Version::Installed).await.cluster;
    let socket = format!(".s.PGSQL.{}", cluster.port());
    let link = Proxy::start(Upstream::Unix(cluster.socket_dir().join(socket)), 1).await;
    db.service_url = format!(
        "postgresql://rowcast_service@{}/{}?sslmode=disable",
        link.address, db.name
    );
    let server = serve(&db, |settings| {
        settings.limits.replay_bytes = 1 << 20;
        settings.hub.ring_bytes = 1 << 20;
    })
    .await;
    for transport in TRANSPORTS {
        let before = link.down();
        let mut reader = subscriber(&server, transport, &since).await;
        reader.expect("welcome").await;
        let told = reader.expect("subscribed").await;
        assert_eq!(told["reason"], "limit", "{transport:?}: {told}");
        let taken = link.down() - before;
        assert!(taken < 4 << 20, "{transport:?}: {taken} bytes");
    }
    server.stop().await;
}

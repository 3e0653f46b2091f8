//! State and events without a seam: a snapshot and what came after it, on a connection that stands
//! elsewhere and is in some of the rooms already. Applied to the snapshot, it equals the tables.

use crate::support::{
    self, Database, EVERY_TRANSPORT, Server, Subscriber, Transport, connect, get, marker, serve,
    token, ws,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Four counters, two of them in each of the rooms `r:x` and `r:y`: an event carries the new count,
/// so it is a value and a number of the row's events at once.
const COUNTERS: &str = "
     create table app.counter (id int primary key, room text not null, n bigint not null);
     grant select on app.counter to rowcast_owner;
     insert into app.counter values (1, 'r:x', 0), (2, 'r:x', 0), (3, 'r:y', 0), (4, 'r:y', 0);
     select rowcast.attach('app.counter', 'update', $$ select 'count' as name,
       array[room] as rooms, json_build_object('id', id, 'n', n) as data from new_rows $$)";

type Counts = BTreeMap<i64, i64>;

async fn database() -> Database {
    let database = support::database().await.with_open_rooms().await;
    database.run(COUNTERS).await;
    database
}

/// Everything, and where it was true: one statement, so one snapshot.
async fn snapshot(db: &Database) -> (String, Counts) {
    let sql = "select rowcast.bookmark(), json_object_agg(id, n)::text from app.counter";
    let row = db.superuser().await.query_one(sql, &[]).await.unwrap();
    let counts: BTreeMap<String, i64> = serde_json::from_str(row.get(1)).unwrap();
    let counts = counts.iter().map(|(id, n)| (id.parse().unwrap(), *n));
    (row.get(0), counts.collect())
}

/// Counts each of them once, in a transaction each.
async fn count(db: &Database) {
    let client = db.client("postgres").await;
    for id in 1..=4 {
        let sql = format!("update app.counter set n = n + 1 where id = {id}");
        client.batch_execute(&sql).await.unwrap();
    }
}

async fn open(server: &Server, transport: Transport, query: &str) -> Subscriber {
    let mut reader = connect(transport, server, &token("1", "user", ""), query).await;
    reader.expect("welcome").await;
    reader
}

/// Which counter, and its count.
fn read(frame: &Value) -> Option<(i64, i64)> {
    let data = &frame["data"];
    (frame["name"] == "count").then(|| (data["id"].as_i64().unwrap(), data["n"].as_i64().unwrap()))
}

/// Somebody in `r:x` who loads both rooms from this bookmark: over what is open, where that can be
/// said, else by a new one that goes on where the last stood.
async fn load(
    server: &Server,
    transport: Transport,
    mut reader: Subscriber,
    from: &str,
) -> Subscriber {
    if transport == Transport::WebSocket {
        let rooms = json!(["r:x", "r:y"]);
        let again = json!({ "type": "subscribe", "rooms": rooms, "since": from, "again": true, "id": "load" });
        reader.send(again).await;
        return reader;
    }
    let since = reader.bookmark.unwrap();
    let query = format!("rooms=r:x&since={since}&load=r:x,r:y&from={from}");
    open(server, transport, &query).await
}

async fn loaded(reader: &mut Subscriber) -> Value {
    loop {
        let frame = reader.next().await;
        if frame["id"] == "load" && frame["type"] == "subscribed" {
            return frame;
        }
    }
}

/// While somebody writes without a pause.
#[tokio::test]
async fn a_snapshot_and_what_a_load_brings_equal_the_tables() {
    let db = Arc::new(database().await);
    let server = serve(&db, |_| {}).await;
    for transport in EVERY_TRANSPORT {
        let mut reader = open(&server, transport, "rooms=r:x").await;
        let over = Arc::new(AtomicBool::new(false));
        let writer = {
            let (db, over) = (Arc::clone(&db), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    count(&db).await;
                }
            })
        };
        reader.expect_event("count").await;
        let (from, held) = snapshot(&db).await;
        // It has something live that is to come once more.
        while read(&reader.next().await).is_none_or(|(id, n)| n <= held[&id]) {}
        server.has_read(&db).await;
        let mut reader = load(&server, transport, reader, &from).await;
        let answer = loaded(&mut reader).await;
        assert_eq!(answer["outcome"], "recovered", "{transport:?}: {answer}");
        assert_eq!(answer["rooms"], json!(["r:x", "r:y"]), "{transport:?}");
        let replayed = answer["count"].as_u64().unwrap();
        assert!(replayed > 0, "{transport:?}: {answer}");
        let mut came: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut take = |frame: &Value| {
            if let Some((id, n)) = read(frame) {
                came.entry(id).or_default().push(n);
            }
        };
        for _ in 0..replayed + 20 {
            take(&reader.expect_event("count").await);
        }
        over.store(true, Ordering::Relaxed);
        writer.await.unwrap();
        marker(&db, &["r:x"]).await;
        reader
            .events_until("marker")
            .await
            .iter()
            .for_each(&mut take);
        let (_, counts) = snapshot(&db).await;
        for (id, n) in counts {
            let lacked: Vec<i64> = (held[&id] + 1..=n).collect();
            assert_eq!(
                came.remove(&id).unwrap_or_default(),
                lacked,
                "{transport:?}: {id}"
            );
        }
    }
}

/// Whoever is cut off in the midst of what a load replays, and comes back with the last bookmark.
#[tokio::test]
async fn a_load_cut_in_its_middle_loses_nothing_of_any_room() {
    let db = database().await;
    let server = serve(&db, |_| {}).await;
    for transport in EVERY_TRANSPORT {
        let mut reader = open(&server, transport, "rooms=r:x").await;
        count(&db).await;
        let (from, held) = snapshot(&db).await;
        for _ in 0..3 {
            count(&db).await;
        }
        while read(&reader.next().await) != Some((2, held[&2] + 3)) {}
        // Or what is missing yet would come behind the replay.
        server.has_read(&db).await;
        let mut came: Vec<Value> = reader.received.clone();
        let mut reader = load(&server, transport, reader, &from).await;
        assert_eq!(loaded(&mut reader).await["count"], 12, "{transport:?}");
        for _ in 0..5 {
            reader.expect_event("count").await;
        }
        came.append(&mut reader.received);
        let last = reader.bookmark.take().unwrap();
        drop(reader);
        count(&db).await;
        marker(&db, &["r:x"]).await;
        let query = format!("rooms=r:x,r:y&since={last}");
        let mut reader = open(&server, transport, &query).await;
        came.extend(reader.frames_until("marker").await);
        let came: Vec<_> = came.iter().filter_map(read).collect();
        for (id, before) in held {
            for n in before + 1..=before + 4 {
                assert!(
                    came.contains(&(id, n)),
                    "{transport:?}: {id} {n} of {came:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn half_a_load_is_an_error() {
    let db = database().await;
    let server = serve(&db, |_| {}).await;
    let bearer = format!("Bearer {}", token("1", "user", ""));
    let from = db.bookmark().await;
    for half in ["load=r:x".to_owned(), format!("from={from}")] {
        for path in ["sse", "poll"] {
            let path = format!("/{path}?{half}");
            let answer = get(&server, &path, &[("authorization", &bearer)]).await;
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            assert!(answer.body.contains("protocol-error"), "{answer:?}");
        }
        let mut socket = ws(&server, &token("1", "user", ""), &half).await;
        assert_eq!(socket.closed().await.0, 4004, "{half}");
    }
}

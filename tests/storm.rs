//! Exact reconciliation: writers whose transactions overlap at random, readers that are cut at
//! random and come back to any node by any transport, and listeners that lose their connection.
//! At the end every reader has every committed event once. `SEED=…` repeats a run.

use crate::support::{Database, Server, TRANSPORTS, connect, database, marker, serve, token};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

const WRITERS: u64 = 6;
const TRANSACTIONS: u64 = 50;
const READERS: u64 = 4;

/// The rooms `r:*` are open to everybody.
const RULES: &str = "create schema app; grant usage on schema app to rowcast_owner; \
     create function app.anybody(claims jsonb, room text) returns boolean language sql \
       as $$ select true $$; \
     insert into rowcast.room_rule values ('r:*', 'app.anybody(jsonb,text)')";

/// Transactions of a row of its own: of one to eight events, some rolled back in part or wholly.
async fn write(db: &Database, writer: u64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed + writer);
    let client = db.client("postgres").await;
    let mut number = 0;
    for _ in 0..TRANSACTIONS {
        client.batch_execute("begin").await.unwrap();
        for _ in 0..random.random_range(1..=8) {
            number += 1;
            let room = ["r:1", "r:2", "*"][random.random_range(0..3)];
            let sql = format!(
                "select rowcast.emit('c', 'e', array['{room}'], '{{\"row\":{writer},\"n\":{number}}}')"
            );
            let taken_back = random.random_bool(0.2);
            let sql = if taken_back {
                format!("savepoint s; {sql}; rollback to s")
            } else {
                sql
            };
            client.batch_execute(&sql).await.unwrap();
            if random.random_bool(0.3) {
                tokio::task::yield_now().await;
            }
        }
        let end = if random.random_bool(0.15) {
            "rollback"
        } else {
            "commit"
        };
        client.batch_execute(end).await.unwrap();
    }
}

/// Reads up to the marker, cut after a random number of frames again and again.
async fn read(nodes: &[Server], start: &str, seed: u64) -> Vec<(u64, u64, u64)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bookmark = start.to_owned();
    let mut received = Vec::new();
    loop {
        let node = &nodes[random.random_range(0..nodes.len())];
        let transport = TRANSPORTS[random.random_range(0..TRANSPORTS.len())];
        let query = format!("rooms=r:1,r:2&since={bookmark}");
        let mut reader = connect(transport, node, &token("1", "user", ""), &query).await;
        for _ in 0..random.random_range(1..60) {
            let frame = reader.next().await;
            assert_ne!(frame["outcome"], "gap", "{frame} since {bookmark}");
            assert_ne!(frame["type"], "gap", "{frame}");
            if let Some(place) = &reader.bookmark {
                bookmark.clone_from(place);
            }
            if frame["name"] == "marker" {
                return received;
            }
            if frame["type"] == "event" {
                let id = frame["id"].as_str().unwrap().parse().unwrap();
                let data = &frame["data"];
                received.push((
                    id,
                    data["row"].as_u64().unwrap(),
                    data["n"].as_u64().unwrap(),
                ));
            }
        }
    }
}

#[tokio::test]
async fn every_reader_has_every_committed_event_once() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    eprintln!("SEED={seed}");
    let db = database().await;
    db.run(RULES).await;
    let nodes = [serve(&db, |_| {}).await, serve(&db, |_| {}).await];
    let start = db.bookmark().await;
    let writers =
        futures_util::future::join_all((0..WRITERS).map(|writer| write(&db, writer, seed)));
    let trouble = async {
        // Whoever stands in for the service's listener at that moment: both nodes' and the pools'.
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where datname = current_database() and usename = 'rowcast_service' \
                   and query like '%read_log($1::text::pg_snapshot) e on true%'";
        let reached =
            |count: i64| format!("select coalesce(max(id), 0) > {count} from rowcast.event");
        for count in [200, 500, 800] {
            while !db.ask::<bool>(&reached(count)).await {
                tokio::task::yield_now().await;
            }
            db.run(cut).await;
        }
    };
    let write_all = async {
        tokio::join!(writers, trouble);
        marker(&db, &["r:1"]).await;
    };
    let readers = futures_util::future::join_all(
        (0..READERS).map(|reader| read(&nodes, &start, seed + 1000 + reader)),
    );
    let ((), readers) = tokio::join!(write_all, readers);
    let ids: Vec<i64> = db
        .ask("select array_agg(id) from rowcast.event where name = 'e'")
        .await;
    let committed: BTreeSet<u64> = ids.into_iter().map(i64::cast_unsigned).collect();
    for received in readers {
        let ids: Vec<u64> = received.iter().map(|event| event.0).collect();
        let once: BTreeSet<u64> = ids.iter().copied().collect();
        assert_eq!(once.len(), ids.len(), "twice with SEED={seed}");
        let missing: Vec<_> = committed.difference(&once).collect();
        assert!(missing.is_empty(), "missing with SEED={seed}: {missing:?}");
        assert!(
            once.is_subset(&committed),
            "never committed, with SEED={seed}"
        );
        let mut last = BTreeMap::new();
        for (_, row, number) in received {
            let before = last.insert(row, number).unwrap_or(0);
            assert!(before < number, "row {row} out of order with SEED={seed}");
        }
    }
}

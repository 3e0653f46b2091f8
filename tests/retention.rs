//! Retention: the log stays within its bounds, whoever serves, and nobody waits for that. Whoever
//! comes from before what was forgotten is told of a gap, and nobody else is.

use crate::support::{
    Database, PATIENCE, Server, TRANSPORTS, Version, connect, eventually, marker, on,
    on_every_version, serve, token, within,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

async fn database(version: Version) -> Database {
    let db = on(version).await.database().await;
    // A copied database begins a history of its own.
    db.run(
        "create schema app; grant usage on schema app to rowcast_owner; \
            select rowcast.ensure_history()",
    )
    .await;
    db
}

/// What one call of `rowcast.rotate_log` says.
#[derive(Debug, PartialEq, Eq)]
struct Rotated {
    moved: bool,
    forgotten: Option<i32>,
    refused: i32,
}

async fn rotate_as(client: &Client, read: Option<&str>) -> Rotated {
    let sql = "select moved, forgotten, refused from rowcast.rotate_log($1::text::pg_snapshot)";
    let row = client.query_one(sql, &[&read]).await.unwrap();
    Rotated {
        moved: row.get(0),
        forgotten: row.get(1),
        refused: row.get(2),
    }
}

async fn rotate(db: &Database) -> Rotated {
    rotate_as(db.superuser().await, None).await
}

/// Lets this much time pass for the leaves.
async fn age(db: &Database, interval: &str) {
    let sql = format!(
        "update rowcast.leaf set entered_at = entered_at - interval '{interval}', \
           left_at = left_at - interval '{interval}'"
    );
    db.run(&sql).await;
}

/// Forgets everything that was written so far, as two days would.
async fn forget(db: &Database) {
    rotate(db).await;
    for _ in 0..2 {
        age(db, "2 days").await;
        while rotate(db).await.forgotten.is_some() {}
    }
    assert_eq!(count(db).await, 0);
}

async fn count(db: &Database) -> i64 {
    db.ask("select count(*) from rowcast.event").await
}

async fn bytes(db: &Database) -> i64 {
    db.ask("select bytes from rowcast.log_size()").await
}

async fn emit(client: &Client) {
    let sql = "select rowcast.emit('c', 'e', array['*'], '{}')";
    client.execute(sql, &[]).await.unwrap();
}

/// Outcome, reason and how many events `rowcast.events_since` has for a bookmark.
async fn events_since(client: &Client, bookmark: &str) -> (String, Option<String>, usize) {
    let sql = "select outcome, reason from rowcast.events_since($1)";
    let rows = client.query(sql, &[&bookmark]).await.unwrap();
    let last = rows.last().expect("a row");
    (last.get(0), last.get(1), rows.len() - 1)
}

fn end(events: usize) -> (String, Option<String>, usize) {
    ("end".into(), None, events)
}

fn gap() -> (String, Option<String>, usize) {
    ("gap".into(), Some("horizon".into()), 0)
}

/// What a resume at a node without memory says, on every transport.
async fn assert_resume(server: &Server, bookmark: &str, outcome: &str, reason: Option<&str>) {
    for transport in TRANSPORTS {
        let query = format!("since={bookmark}");
        let mut reader = connect(transport, server, &token("1", "user", ""), &query).await;
        reader.expect("welcome").await;
        let subscribed = reader.expect("subscribed").await;
        assert_eq!(subscribed["outcome"], outcome, "{transport:?} {subscribed}");
        assert_eq!(
            subscribed["reason"].as_str(),
            reason,
            "{transport:?} {subscribed}"
        );
    }
}

async fn what_is_old_goes_and_its_readers_are_told(version: Version) {
    let db = database(version).await;
    let writer = db.client("postgres").await;
    let before = db.bookmark().await;
    emit(&writer).await;
    let after = db.bookmark().await;
    // Young: it stays, in its leaf.
    rotate(&db).await;
    let nothing = Rotated {
        moved: false,
        forgotten: None,
        refused: 0,
    };
    age(&db, "5 hours").await;
    assert_eq!(rotate(&db).await, nothing);
    // A quarter of a day is a leaf; a day is kept whole.
    age(&db, "2 hours").await;
    assert!(rotate(&db).await.moved);
    age(&db, "23 hours").await;
    assert_eq!(rotate(&db).await, nothing);
    assert_eq!(events_since(&writer, &before).await, end(1));
    age(&db, "2 hours").await;
    assert_eq!(rotate(&db).await.forgotten, Some(0));
    assert_eq!(count(&db).await, 0);
    assert_eq!(events_since(&writer, &before).await, gap());
    assert_eq!(events_since(&writer, &after).await, end(0));

    let server = serve(&db, |_| {}).await;
    assert_resume(&server, &before, "gap", Some("horizon")).await;
    assert_resume(&server, &after, "recovered", None).await;
    // Heartbeats of an empty log stand where its last event was, and are as good.
    let mut live = connect(TRANSPORTS[0], &server, &token("1", "user", ""), "").await;
    let welcome = live.expect("welcome").await;
    let place = welcome["bookmark"].as_str().unwrap().to_owned();
    assert_resume(&server, &place, "recovered", None).await;
    marker(&db, &["*"]).await;
    live.expect_event("marker").await;
    forget(&db).await;
    let other = serve(&db, |_| {}).await;
    assert_resume(&other, &place, "gap", Some("horizon")).await;
    assert_resume(&other, live.bookmark.as_ref().unwrap(), "recovered", None).await;
}

/// xmin stays behind the horizon for as long as one transaction is open: then the snapshot that
/// sees what was forgotten decides.
async fn a_long_transaction_makes_no_gap_of_its_own(version: Version) {
    let db = database(version).await;
    let (writer, long, other) = (
        db.client("postgres").await,
        db.legacy().await,
        db.client("postgres").await,
    );
    long.batch_execute("begin; select pg_current_xact_id()")
        .await
        .unwrap();
    let before = db.bookmark().await;
    emit(&writer).await;
    other.batch_execute("begin").await.unwrap();
    emit(&other).await;
    let between = db.bookmark().await;
    other.batch_execute("commit").await.unwrap();
    let after = db.bookmark().await;
    emit(&writer).await;
    let last = db.bookmark().await;
    forget(&db).await;
    emit(&writer).await;
    let xmin = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint \
                < pg_sequence_last_value('rowcast.horizon')";
    assert!(db.ask::<bool>(xmin).await, "or this proves nothing");
    assert_eq!(events_since(&writer, &before).await, gap());
    assert_eq!(events_since(&writer, &between).await, gap());
    assert_eq!(events_since(&writer, &after).await, gap());
    assert_eq!(events_since(&writer, &last).await, end(1));
    let server = serve(&db, |_| {}).await;
    assert_resume(&server, &between, "gap", Some("horizon")).await;
    assert_resume(&server, &last, "recovered", None).await;
    long.batch_execute("commit").await.unwrap();
    assert_eq!(events_since(&writer, &last).await, end(1));
}

/// A row may be older than the truncation that it should tell of: an old snapshot shows it still.
async fn a_stale_account_of_what_was_forgotten_counts_for_nothing(version: Version) {
    let db = database(version).await;
    let (writer, long, late, reader) = (
        db.client("postgres").await,
        db.legacy().await,
        db.client("postgres").await,
        db.client("postgres").await,
    );
    let run = async |client: &Client, sql: &str| client.batch_execute(sql).await.unwrap();
    run(&long, "begin; select pg_current_xact_id()").await;
    rotate(&db).await;
    emit(&writer).await;
    run(&late, "begin; select pg_current_xact_id()").await;
    emit(&writer).await;
    // Forgotten while `late` has written nothing yet: the account does not see it.
    forget(&db).await;
    emit(&late).await;
    emit(&writer).await;
    let bookmark = db.bookmark().await;
    run(&late, "commit").await;
    run(&reader, "begin isolation level repeatable read; select 1").await;
    forget(&db).await;
    assert_eq!(events_since(&reader, &bookmark).await, gap());
    run(&reader, "commit").await;
    assert_eq!(events_since(&reader, &bookmark).await, gap());
}

/// The wrong order, made from the real function, is silent; the right one says so.
async fn the_horizon_is_read_after_the_scan(version: Version) {
    const BARRIER: &str =
        "\n  perform pg_advisory_lock_shared(1);\n  perform pg_advisory_unlock_shared(1);\n";
    let db = database(version).await;
    let source: String = db
        .ask("select pg_get_functiondef('rowcast.read_log'::regproc)")
        .await;
    let (from, to) = {
        let from = source.find("  if not rowcast.remembers").expect("a check");
        let to = from + source[from..].find("end if;").expect("its end") + "end if;".len();
        (from, to)
    };
    let (check, without) = (
        &source[from..to],
        format!("{}{}", &source[..from], &source[to..]),
    );
    let top = without.find("\nbegin\n").expect("a body") + "\nbegin\n".len();
    let bottom = from;
    let with = |name: &str, above: &str, below: &str| {
        let text = format!(
            "{}{above}{}{below}{}",
            &without[..top],
            &without[top..bottom],
            &without[bottom..]
        );
        text.replace("FUNCTION rowcast.read_log(", &format!("FUNCTION {name}("))
    };
    db.run(&with("app.wrong", &format!("{check}{BARRIER}"), ""))
        .await;
    db.run(&with("app.right", BARRIER, check)).await;
    db.run(&with("app.between", "", &format!("{BARRIER}{check}")))
        .await;
    let (writer, holder, reader) = (
        db.client("postgres").await,
        db.client("postgres").await,
        db.client("postgres").await,
    );
    for (name, silent) in [
        ("app.wrong", true),
        ("app.right", false),
        ("app.between", false),
    ] {
        let place: String = db.ask("select pg_current_snapshot()::text").await;
        for _ in 0..3 {
            emit(&writer).await;
        }
        holder
            .batch_execute("select pg_advisory_lock(1)")
            .await
            .unwrap();
        let sql = format!("select count(*) from {name}('{place}')");
        let read = reader.query_one(&sql, &[]);
        let truncate = async {
            let waits = "select exists (select from pg_locks where locktype = 'advisory' and \
                         not granted and database = (select oid from pg_database \
                         where datname = current_database()))";
            eventually("the reader is at the barrier", async || {
                db.ask::<bool>(waits).await.then_some(())
            })
            .await;
            if name == "app.between" {
                // It has read, and its locks keep the leaf as it is until it has finished.
                rotate(&db).await;
                age(&db, "2 days").await;
                rotate(&db).await;
                age(&db, "2 days").await;
                let refused = rotate(&db).await;
                assert_eq!((refused.forgotten, refused.refused), (None, 1));
                assert_eq!(count(&db).await, 3);
            } else {
                forget(&db).await;
            }
            holder
                .batch_execute("select pg_advisory_unlock(1)")
                .await
                .unwrap();
        };
        let (read, ()) = within("reading and forgetting", async {
            tokio::join!(read, truncate)
        })
        .await;
        match (name, read) {
            ("app.between", Ok(row)) => assert_eq!(row.get::<_, i64>(0), 3),
            (_, Ok(row)) => {
                assert!(silent, "{name} said nothing");
                assert_eq!(row.get::<_, i64>(0), 0, "{name} lost three events");
            }
            (_, Err(error)) => {
                assert!(!silent, "{name}: {error:?}");
                assert_eq!(error.code().map(|code| code.code()), Some("RC007"));
            }
        }
    }
}

on_every_version! {
    what_is_old_goes_and_its_readers_are_told
    a_long_transaction_makes_no_gap_of_its_own
    a_stale_account_of_what_was_forgotten_counts_for_nothing
    the_horizon_is_read_after_the_scan
}

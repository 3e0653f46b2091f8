//! Retention: the log stays within its bounds, whoever serves, and nobody waits for that. Whoever
//! comes from before what was forgotten is told of a gap, and nobody else is.

use crate::support::{
    Database, EVERY_TRANSPORT, Server, TRANSPORTS, Version, connect, eventually, get, marker, on,
    on_every_version, serve, token, within,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_postgres::Client;

async fn database(version: Version) -> Database {
    let db = on(version).await.database().await;
    // A copied database begins a history of its own. An autovacuum would be one more who holds a lock
    // on a leaf, and at any time.
    db.run(
        "create schema app; grant usage on schema app to rowcast_owner; \
            select rowcast.ensure_history(); \
            do $$ begin for leaf in 0..5 loop execute format( \
              'alter table rowcast.event_%s set ( \
                 autovacuum_enabled = false, toast.autovacuum_enabled = false)', leaf); \
            end loop; end $$",
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

/// The place of the listener. Whoever asks for a bookmark after this has it behind them, whatever
/// else happens on this cluster.
async fn place(db: &Database) -> String {
    db.ask("select pg_current_snapshot()::text").await
}

/// Forgets everything that was written so far, as two days would; the listener stands there.
async fn forget(db: &Database, read: &str) {
    let client = db.superuser().await;
    rotate(db).await;
    for _ in 0..2 {
        age(db, "2 days").await;
        // A look of a service may be in the way at one time, and not at the next.
        eventually("what is old is forgotten", async || {
            let rotated = rotate_as(client, Some(read)).await;
            (rotated.forgotten.is_none() && rotated.refused == 0).then_some(())
        })
        .await;
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
    for transport in EVERY_TRANSPORT {
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
    let read = place(&db).await;
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
    assert_eq!(rotate_as(&writer, Some(&read)).await.forgotten, Some(0));
    assert_eq!(count(&db).await, 0);
    assert_eq!(events_since(&writer, &before).await, gap());
    assert_eq!(events_since(&writer, &after).await, end(0));

    // Or the service might look after the log as well, behind a later place than ours: whoever else is
    // at work on this cluster makes that a gap.
    let leader = db.client("rowcast_service").await;
    leader.batch_execute(LEADER).await.unwrap();
    let server = serve(&db, |_| {}).await;
    assert_resume(&server, &before, "gap", Some("horizon")).await;
    assert_resume(&server, &after, "recovered", None).await;
    let highest = "select rowcast.highest_xid()::text::bigint \
                   = pg_sequence_last_value('rowcast.horizon') - 1";
    assert!(
        db.ask::<bool>(highest).await,
        "an empty log has a highest xid"
    );
    // Heartbeats of an empty log stand where its last event was, and are as good.
    let mut live = connect(TRANSPORTS[0], &server, &token("1", "user", ""), "").await;
    let welcome = live.expect("welcome").await;
    let before = welcome["bookmark"].as_str().unwrap().to_owned();
    assert_resume(&server, &before, "recovered", None).await;
    marker(&db, &["*"]).await;
    live.expect_event("marker").await;
    let read = place(&db).await;
    let after = db.bookmark().await;
    forget(&db, &read).await;
    let other = serve(&db, |_| {}).await;
    assert_resume(&other, &before, "gap", Some("horizon")).await;
    assert_resume(&other, &after, "recovered", None).await;
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
    let read = place(&db).await;
    let last = db.bookmark().await;
    forget(&db, &read).await;
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
    forget(&db, &place(&db).await).await;
    emit(&late).await;
    emit(&writer).await;
    let bookmark = db.bookmark().await;
    run(&late, "commit").await;
    run(&reader, "begin isolation level repeatable read; select 1").await;
    forget(&db, &place(&db).await).await;
    assert_eq!(events_since(&reader, &bookmark).await, gap());
    run(&reader, "commit").await;
    assert_eq!(events_since(&reader, &bookmark).await, gap());
}

/// Somebody has read, and its locks keep the leaf as it is until it has finished.
async fn assert_nothing_is_forgotten(db: &Database) {
    rotate(db).await;
    age(db, "2 days").await;
    rotate(db).await;
    age(db, "2 days").await;
    // What is not forgotten is nobody's gap.
    let horizon = "select pg_sequence_last_value('rowcast.horizon')";
    let before: Option<i64> = db.ask(horizon).await;
    let refused = rotate(db).await;
    assert_eq!((refused.forgotten, refused.refused), (None, 1));
    assert_eq!(db.ask::<Option<i64>>(horizon).await, before);
    assert_eq!(count(db).await, 3);
}

/// The wrong order, made from the real function, is silent; the right one says so.
async fn the_horizon_is_read_after_the_scan(version: Version) {
    const BARRIER: &str =
        "\n  perform pg_advisory_lock_shared(1);\n  perform pg_advisory_unlock_shared(1);\n";
    let db = database(version).await;
    let source: String = db
        .ask("select pg_get_functiondef('rowcast.read_log'::regproc)")
        .await;
    // The one before the scan only saves a scan in vain.
    let source = source.replacen("  perform rowcast.check_horizon(p_from);\n", "", 1);
    let (from, to) = {
        let from = source
            .find("  perform rowcast.check_horizon")
            .expect("a check");
        let to = from + source[from..].find(';').expect("its end") + 1;
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
        let from = place(&db).await;
        for _ in 0..3 {
            emit(&writer).await;
        }
        holder
            .batch_execute("select pg_advisory_lock(1)")
            .await
            .unwrap();
        let sql = format!("select count(*) from {name}('{from}')");
        let read = reader.query_one(&sql, &[]);
        let truncate = async {
            let waits = "locktype = 'advisory'";
            db.awaits("the reader is at the barrier", waits).await;
            if name == "app.between" {
                Box::pin(assert_nothing_is_forgotten(&db)).await;
            } else {
                forget(&db, &place(&db).await).await;
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

/// Small leaves, so that the ring turns often.
const SMALL: &str = "update rowcast.setting set keep_bytes = 1048576";

/// Writers under a lock_timeout that no wait of theirs may reach, a reader that looks as the
/// listener does and leads, a rotation after each look, one transaction that wrote long ago and one that
/// only holds a snapshot. No writer goes so far ahead of the reader that it would look after the log
/// itself: that spares nothing that is unread. And while a rotation moves on, any would where nobody
/// leads.
async fn no_writer_waits_and_no_reader_misses_anything(version: Version) {
    const WRITERS: usize = 4;
    const ROWS: usize = 10;
    const AHEAD: usize = 150;
    let db = database(version).await;
    db.run(SMALL).await;
    let (wrote, looked, reader) = (
        db.client("postgres").await,
        db.client("postgres").await,
        db.client("postgres").await,
    );
    reader.batch_execute(LEADER).await.unwrap();
    let mut place = place(&db).await;
    wrote.batch_execute("begin").await.unwrap();
    emit(&wrote).await;
    let held = "begin isolation level repeatable read; select count(*) from rowcast.setting";
    looked.batch_execute(held).await.unwrap();
    let (enough, writing) = (AtomicBool::new(false), AtomicBool::new(true));
    let ahead = Semaphore::new(AHEAD);
    let write = async {
        let (mut longest, mut statements) = (Duration::ZERO, 0);
        let writers = (0..WRITERS).map(|_| async {
            let client = db.client("postgres").await;
            client
                .batch_execute("set lock_timeout = '10s'; set synchronous_commit = off")
                .await
                .unwrap();
            let sql = format!(
                "select rowcast.emit('c', 'e', array['*'], json_build_object('pad', repeat('x', 200)))
                 from generate_series(1, {ROWS})"
            );
            let (mut longest, mut statements) = (Duration::ZERO, 0);
            while !enough.load(Ordering::Acquire) {
                ahead.acquire().await.unwrap().forget();
                let began = Instant::now();
                client.batch_execute(&sql).await.unwrap();
                longest = longest.max(began.elapsed());
                statements += 1;
            }
            (longest, statements)
        });
        for one in futures_util::future::join_all(writers).await {
            longest = longest.max(one.0);
            statements += one.1;
        }
        writing.store(false, Ordering::Release);
        (longest, statements)
    };
    let read = async {
        let mut seen = BTreeSet::new();
        let (mut moved, mut forgotten, mut refused) = (0, BTreeSet::new(), 0);
        let mut before = place.clone();
        loop {
            let last = !writing.load(Ordering::Acquire);
            if last {
                wrote.batch_execute("commit").await.unwrap();
            }
            let sql = "select pg_current_snapshot()::text, e.id from (values (1)) one \
                       left join rowcast.read_log($1::text::pg_snapshot) e on true";
            for row in reader.query(sql, &[&place]).await.unwrap() {
                place = row.get(0);
                if let Some(id) = row.get::<_, Option<i64>>(1) {
                    assert!(seen.insert(id), "{id} came twice");
                }
            }
            if last {
                break;
            }
            // As of the look before, as for other nodes, which may be behind.
            let rotated = rotate_as(&reader, Some(&before)).await;
            moved += usize::from(rotated.moved);
            forgotten.extend(rotated.forgotten);
            refused += rotated.refused;
            before.clone_from(&place);
            ahead.add_permits(AHEAD.saturating_sub(ahead.available_permits()));
            if moved >= 8 && forgotten.len() >= 3 {
                enough.store(true, Ordering::Release);
            }
        }
        (seen, moved, forgotten, refused)
    };
    let ((longest, statements), (seen, moved, forgotten, refused)) =
        within("the ring turned twice", async { tokio::join!(write, read) }).await;
    eprintln!("{version:?}: the longest statement took {longest:?}; moved {moved} times");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    assert_eq!(seen.len(), statements * ROWS + 1);
    assert!(refused > 0, "the leaf of the long transaction was in use");
    assert!(!forgotten.contains(&0), "{forgotten:?}");
    let stuck = "select refused_at is not null from rowcast.leaf where leaf = 0";
    assert!(db.ask::<bool>(stuck).await, "and a DBA can see it");
    looked.batch_execute("commit").await.unwrap();
    let longest_ago: bool = db
        .ask("select refused_at is not null from rowcast.log_size()")
        .await;
    assert!(longest_ago);
}

/// A listener whose place the log has passed: everybody is told, and it goes on from the present.
async fn a_listener_left_behind_tells_everybody(version: Version) {
    let db = database(version).await;
    let server = serve(&db, |_| {}).await;
    let mut reader = connect(TRANSPORTS[0], &server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    // Forgotten by the very transaction that wrote it: nobody can have read it.
    let writer = db.client("postgres").await;
    writer.batch_execute("begin").await.unwrap();
    emit(&writer).await;
    let aged = "update rowcast.leaf set entered_at = entered_at - interval '2 days', \
                  left_at = left_at - interval '2 days'";
    // The service's own turn may be in the way; from then on ours keeps it out until the commit.
    eventually("the books are ours", async || {
        let rotated = rotate_as(&writer, None).await;
        (rotated.refused == 0).then_some(())
    })
    .await;
    writer.batch_execute(aged).await.unwrap();
    assert!(rotate_as(&writer, None).await.moved);
    writer.batch_execute(aged).await.unwrap();
    eventually("it is forgotten", async || {
        rotate_as(&writer, None).await.forgotten
    })
    .await;
    writer.batch_execute("commit").await.unwrap();
    assert_eq!(reader.expect("gap").await["reason"], "horizon");
    emit(&writer).await;
    reader.expect_event("e").await;
    assert_eq!(count(&db).await, 1);
}

/// What nobody has read is spared, and whoever stands where the leader stood has no gap, though
/// another transaction with a low xid has ended since.
async fn what_was_read_is_forgotten_without_a_gap(version: Version) {
    let db = database(version).await;
    let (writer, late, long, silent) = (
        db.client("postgres").await,
        db.client("postgres").await,
        db.legacy().await,
        db.legacy().await,
    );
    let begun = "begin; select pg_current_xact_id()";
    long.batch_execute(begun).await.unwrap();
    silent.batch_execute(begun).await.unwrap();
    let before = place(&db).await;
    late.batch_execute("begin").await.unwrap();
    emit(&late).await;
    emit(&writer).await;
    let during = place(&db).await;
    late.batch_execute("commit").await.unwrap();
    let after = place(&db).await;
    let bookmark = db.bookmark().await;
    rotate(&db).await;
    age(&db, "2 days").await;
    assert!(rotate(&db).await.moved);
    age(&db, "2 days").await;
    silent.batch_execute("commit").await.unwrap();
    // It began before others that had ended by then, and ends after that place.
    for unread in [&before, &during] {
        let unread = rotate_as(&writer, Some(unread)).await;
        assert_eq!((unread.forgotten, unread.refused), (None, 1));
    }
    assert_eq!(count(&db).await, 2);
    assert_eq!(rotate_as(&writer, Some(&after)).await.forgotten, Some(0));
    assert_eq!(events_since(&writer, &bookmark).await, end(0));
}

/// A service that was away may have read less than was forgotten meanwhile: what it has read says
/// nothing of that.
async fn what_was_forgotten_unread_stays_a_gap(version: Version) {
    let db = database(version).await;
    let late = db.client("postgres").await;
    emit(db.superuser().await).await;
    db.run("select setval('rowcast.event_id_seq', 1 << 20)")
        .await;
    late.batch_execute("begin").await.unwrap();
    emit(&late).await;
    // A later one has ended: in what was read, the other is under way.
    db.run("select pg_current_xact_id()").await;
    let (read, bookmark) = (place(&db).await, db.bookmark().await);
    late.batch_execute("commit").await.unwrap();
    db.run("select setval('rowcast.event_id_seq', 2 << 20)")
        .await;
    for (leaf, read) in [(1, "null".to_owned()), (0, format!("'{read}'"))] {
        let forget = format!("select rowcast.forget_leaf({leaf}, {read})");
        assert!(db.ask::<bool>(&forget).await, "{leaf}");
    }
    assert_eq!(events_since(db.superuser().await, &bookmark).await, gap());
}

/// In a transaction with an old snapshot the newest of what it forgets is invisible.
async fn an_old_snapshot_forgets_no_more_than_it_says(version: Version) {
    for isolation in ["repeatable read", "serializable"] {
        let db = database(version).await;
        let (late, dba) = (db.client("postgres").await, db.client("postgres").await);
        let bookmark = db.bookmark().await;
        late.batch_execute("begin").await.unwrap();
        emit(&late).await;
        rotate(&db).await;
        age(&db, "2 days").await;
        assert!(rotate(&db).await.moved);
        age(&db, "2 days").await;
        let begun = format!("begin isolation level {isolation}; select 1");
        dba.batch_execute(&begun).await.unwrap();
        late.batch_execute("commit").await.unwrap();
        assert_eq!(rotate_as(&dba, None).await.forgotten, Some(0));
        dba.batch_execute("commit").await.unwrap();
        assert_eq!(count(&db).await, 0);
        assert_eq!(events_since(&dba, &bookmark).await, gap(), "{isolation}");
    }
}

/// Nor has one that wrote before the newest of what it forgets began: whoever asks for a transaction that
/// rang goes by the horizon alone.
async fn an_old_transaction_forgets_no_more_than_it_says(version: Version) {
    let db = database(version).await;
    let (late, dba) = (db.client("postgres").await, db.client("postgres").await);
    let bookmark = db.bookmark().await;
    let begun = "begin isolation level repeatable read; select pg_current_xact_id()";
    dba.batch_execute(begun).await.unwrap();
    emit(&late).await;
    let newest: i64 = db.ask("select xid::text::bigint from rowcast.event").await;
    db.run("select setval('rowcast.event_id_seq', 1 << 20)")
        .await;
    let forget = "select rowcast.forget_leaf(0, null)";
    let forgotten = dba.query_one(forget, &[]).await.unwrap();
    assert!(forgotten.get::<_, bool>(0));
    dba.batch_execute("commit").await.unwrap();
    assert_eq!(count(&db).await, 0);
    let horizon: i64 = db
        .ask("select pg_sequence_last_value('rowcast.horizon')")
        .await;
    assert!(horizon > newest, "{horizon} {newest}");
    assert_eq!(events_since(&late, &bookmark).await, gap());
}

/// Between its two looks at the leaf somebody may have committed.
async fn what_is_written_while_it_forgets_is_told_of(version: Version) {
    let db = database(version).await;
    let source: String = db
        .ask("select pg_get_functiondef('rowcast.forget_leaf'::regproc)")
        .await;
    let barrier = "  perform pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1);\n";
    let (before, after) = source.split_once("  for v_try in").expect("a loop");
    let source = format!("{before}{barrier}  for v_try in{after}");
    db.run(&source).await;
    let (late, holder, dba) = (
        db.client("postgres").await,
        db.client("postgres").await,
        db.client("postgres").await,
    );
    let bookmark = db.bookmark().await;
    late.batch_execute("begin").await.unwrap();
    emit(&late).await;
    db.run("select setval('rowcast.event_id_seq', 1 << 20)")
        .await;
    let held = "select pg_advisory_lock(1)";
    holder.batch_execute(held).await.unwrap();
    let meanwhile = async {
        db.awaits("it has looked once", "locktype = 'advisory'")
            .await;
        late.batch_execute("commit").await.unwrap();
        let free = "select pg_advisory_unlock(1)";
        holder.batch_execute(free).await.unwrap();
    };
    let forget = dba.query_one("select rowcast.forget_leaf(0, null)", &[]);
    let (forgotten, ()) = within("forgetting", async { tokio::join!(forget, meanwhile) }).await;
    assert!(forgotten.unwrap().get::<_, bool>(0));
    assert_eq!(count(&db).await, 0);
    assert_eq!(events_since(&dba, &bookmark).await, gap());
}

/// A leaf that is written or read is left as it is, without waiting: whoever waits has others behind him.
async fn a_leaf_in_use_is_not_waited_for(version: Version) {
    let db = database(version).await;
    let (writer, dump) = (db.client("postgres").await, db.client("postgres").await);
    emit(&writer).await;
    let begun = "begin; lock table rowcast.event_1 in access share mode";
    dump.batch_execute(begun).await.unwrap();
    for leaf in [0, 1] {
        let forget = format!("select rowcast.forget_leaf({leaf}, null)");
        let forgotten = within("an answer", db.ask::<bool>(&forget)).await;
        assert!(!forgotten, "{leaf}");
    }
    assert_eq!(count(&db).await, 1);
}

/// A service's rotation once in a while, as many events as it takes to turn the ring many times:
/// `MILLIONS=10` of them, or one.
async fn bloat_stays_flat(version: Version) {
    const CHUNK: i64 = 20_000;
    const BOUND: i64 = 20 << 20;
    let db = database(version).await;
    db.run(&format!("update rowcast.setting set keep_bytes = {BOUND}"))
        .await;
    let insert = format!(
        "insert into rowcast.event (channel, name, rooms, data)
         select 'c', 'e', array['r:' || n % 100], '{{\"n\":1}}' from generate_series(1, {CHUNK}) n"
    );
    // Or the writers would do the leader's work.
    let leader = db.client("rowcast_service").await;
    leader.batch_execute(LEADER).await.unwrap();
    let (mut highest, mut moved, mut chunk) = (0, 0, 0);
    let millions = std::env::var("MILLIONS").map_or(1, |text| text.parse().expect("a number"));
    let events = match version {
        Version::Installed => millions * 1_000_000,
        _ => 300_000,
    };
    for _ in 0..events / CHUNK {
        let before = bytes(&db).await;
        db.run(&insert).await;
        let after = bytes(&db).await;
        chunk = chunk.max(after - before);
        moved += usize::from(rotate(&db).await.moved);
        highest = highest.max(bytes(&db).await);
    }
    // Besides the bound, what came since the leaf was last looked at.
    assert!(
        highest < BOUND + chunk,
        "{highest} bytes, {chunk} in a chunk"
    );
    assert!(highest > BOUND / 2, "{highest}: what is allowed is used");
    assert!(moved >= 7, "{moved}: the ring has turned");
    let catalog: i64 = db
        .ask("select pg_total_relation_size('pg_class') + pg_total_relation_size('rowcast.leaf')")
        .await;
    assert!(catalog < 4 << 20, "{catalog}");
}

/// The key of the leader's advisory lock.
const LEADER: &str = "select pg_advisory_lock(7692279)";

async fn a_database_without_a_service_does_not_fill_its_disk(version: Version) {
    const BOUND: i64 = 5 << 20;
    let db = database(version).await;
    db.run(&format!("update rowcast.setting set keep_bytes = {BOUND}"))
        .await;
    db.run(
        "create table app.note (id bigint generated always as identity, body text); \
         grant usage on schema app to public; grant insert on app.note to public; \
         grant select on app.note to rowcast_owner; \
         select rowcast.attach('app.note', 'insert', $$ select 'noted' as name, array['*'] as rooms, \
           json_build_object('body', body) as data from new_rows $$)",
    )
    .await;
    let server = serve(&db, |_| {}).await;
    let mut reader = connect(TRANSPORTS[0], &server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    let legacy = db.legacy().await;
    let note = "insert into app.note (body) values ('one')";
    legacy.batch_execute(note).await.unwrap();
    let event = reader.expect_event("noted").await;
    let bookmark = event["bookmark"].as_str().unwrap().to_owned();
    server.stop().await;

    let isolations = ["read committed", "repeatable read", "serializable"];
    let (mut highest, mut written) = (0, 0);
    for round in 0..180 {
        let isolation = isolations[round % 3];
        legacy
            .batch_execute(&format!(
                "begin isolation level {isolation}; insert into app.note (body)
                 select repeat('x', 300) from generate_series(1, 1000); commit"
            ))
            .await
            .unwrap();
        written += 1000;
        highest = highest.max(bytes(&db).await);
    }
    // The bound, and what may come between two looks: 4,096 events of half a kilobyte.
    assert!(
        highest < BOUND + 3 * 4096 * 512,
        "{highest} bytes after {written} events"
    );
    assert!(count(&db).await > 4000, "and not more than it must");
    let left: i64 = db.ask("select count(*) from rowcast.overdue").await;
    assert_eq!(left, 0);

    let server = serve(&db, |_| {}).await;
    assert_resume(&server, &bookmark, "gap", Some("horizon")).await;
    let mut back = connect(
        TRANSPORTS[0],
        &server,
        &token("1", "user", ""),
        &format!("since={bookmark}"),
    )
    .await;
    assert_eq!(back.expect("welcome").await["type"], "welcome");
    assert_eq!(back.expect("subscribed").await["reason"], "horizon");
    legacy.batch_execute(note).await.unwrap();
    back.expect_event("noted").await;
}

/// One of 256 events asks, however quick its write: the others are spared the question.
async fn one_of_many_quick_writes_asks_after_the_bounds(version: Version) {
    let db = database(version).await;
    db.run(
        "create table public.note (id int); \
         select rowcast.attach('public.note', 'insert', \
           $$select 'note' as name, array['*'] as rooms, '{}'::json as data from new_rows$$)",
    )
    .await;
    let writer = db.client("postgres").await;
    let write = async || {
        let insert = "insert into public.note values (1)";
        writer.batch_execute(insert).await.unwrap();
    };
    // Plans are made, and it is quick.
    for _ in 0..10 {
        write().await;
    }
    db.run(
        "select setval('rowcast.bound', 1), \
           setval('rowcast.event_id_seq', (last_value | 255)) from rowcast.event_id_seq",
    )
    .await;
    write().await;
    let bound: bool = db
        .ask("select pg_sequence_last_value('rowcast.bound') > 4096")
        .await;
    assert!(bound, "it was looked at");
}

/// While somebody leads, writers leave the log to him, unless he hangs.
async fn writers_leave_the_log_to_whoever_leads(version: Version) {
    let db = database(version).await;
    db.run(SMALL).await;
    let leader = db.client("rowcast_service").await;
    leader.batch_execute(LEADER).await.unwrap();
    let insert = "insert into rowcast.event (channel, name, rooms, data)
         select 'c', 'e', array['*'], json_build_object('pad', repeat('x', 300))
         from generate_series(1, $1::int)";
    let writer = db.client("postgres").await;
    let turn = "select max(id) >> 20 from rowcast.event";
    let insert = async |rows: i32| writer.execute(insert, &[&rows]).await.unwrap();
    // A leaf's share is 200 KB, and this is one and a half.
    insert(700).await;
    db.run("select setval('rowcast.bound', 1)").await;
    insert(10).await;
    insert(10).await;
    assert_eq!(db.ask::<i64>(turn).await, 0);
    let bound: bool = db
        .ask("select pg_sequence_last_value('rowcast.bound') >= 4096")
        .await;
    assert!(bound, "it was looked at");
    insert(700).await;
    db.run("select setval('rowcast.bound', 1)").await;
    insert(10).await;
    insert(10).await;
    let hanging: i64 = db.ask(turn).await;
    assert!(hanging > 0, "twice a share is enough");
    leader
        .batch_execute("select pg_advisory_unlock_all()")
        .await
        .unwrap();
    insert(700).await;
    db.run("select setval('rowcast.bound', 1)").await;
    insert(10).await;
    insert(10).await;
    assert!(db.ask::<i64>(turn).await > hanging, "nobody leads");
}

/// Such a transaction locked the log until it committed, and all other writers waited for it.
#[tokio::test]
async fn a_writer_whose_constraints_are_immediate_holds_nobody_up() {
    let db = database(Version::Installed).await;
    db.run(SMALL).await;
    let writer = db.client("postgres").await;
    let insert = "insert into rowcast.event (channel, name, rooms, data)
         select 'c', 'e', array['*'], json_build_object('pad', repeat('x', 300))
         from generate_series(1, 700)";
    let begin = "begin; set constraints all immediate";
    writer.batch_execute(begin).await.unwrap();
    // More than the whole log may hold.
    for _ in 0..8 {
        db.run("select setval('rowcast.bound', 1)").await;
        writer.batch_execute(insert).await.unwrap();
    }
    let locked = "select count(*) from pg_locks join pg_class c on c.oid = relation
        where mode = 'AccessExclusiveLock' and relname ~ '^event_'
          and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(db.ask::<i64>(locked).await, 0);
    let turn = "select (last_value >> 20) from rowcast.event_id_seq";
    let before: i64 = db.ask(turn).await;
    writer.batch_execute("commit").await.unwrap();
    assert!(
        db.ask::<i64>(turn).await > before,
        "at the commit it is rotated"
    );
}

/// Whatever keeps the log from being bounded, the application's write goes through.
async fn a_bound_that_fails_fails_no_write(version: Version) {
    let db = database(version).await;
    db.run(SMALL).await;
    let writer = db.client("postgres").await;
    let write = async || {
        db.run("select setval('rowcast.bound', 1)").await;
        // It has no patience of its own, and yet it does not wait.
        let sql = "begin; set local lock_timeout = 0; \
            select rowcast.emit('c', 'e', array['*'], json_build_object('pad', repeat('x', 300))) \
            from generate_series(1, 1000); commit";
        let written = within("a write", writer.batch_execute(sql));
        written.await.unwrap();
    };
    write().await;
    let dba = db.client("postgres").await;
    // The books are locked for a minute, or gone.
    for table in [
        "rowcast.leaf",
        "rowcast.setting",
        "rowcast.event_4",
        "rowcast.forgotten",
    ] {
        let lock = format!("begin; lock table {table} in access exclusive mode");
        dba.batch_execute(&lock).await.unwrap();
        write().await;
        dba.batch_execute("rollback").await.unwrap();
    }
    for table in ["leaf", "setting", "overdue"] {
        db.run(&format!("alter table rowcast.{table} rename to gone"))
            .await;
        write().await;
        db.run(&format!("alter table rowcast.gone rename to {table}"))
            .await;
    }
    let turn = "select max(id) >> 20 from rowcast.event";
    let before: i64 = db.ask(turn).await;
    write().await;
    write().await;
    assert!(
        db.ask::<i64>(turn).await > before,
        "and it is bounded again"
    );
}

/// An advisory lock is anybody's to take: whoever could connect kept the log from being bounded, and a
/// history from beginning.
async fn a_stranger_holds_up_neither_the_log_nor_a_history(version: Version) {
    let db = database(version).await;
    let stranger = db.legacy().await;
    let advisory = "select pg_advisory_lock(7692280)";
    stranger.batch_execute(advisory).await.unwrap();
    let tables = "lock table rowcast.history_mark in share update exclusive mode";
    assert!(stranger.batch_execute(tables).await.is_err());
    emit(db.superuser().await).await;
    rotate(&db).await;
    age(&db, "7 hours").await;
    assert!(rotate(&db).await.moved);
    db.run("set lock_timeout = '10s'; select rowcast.new_history(); reset lock_timeout")
        .await;
    // Whoever may do that is counted.
    let dba = db.client("postgres").await;
    let begun = format!("begin; {tables}");
    dba.batch_execute(&begun).await.unwrap();
    let refused = rotate(&db).await;
    assert_eq!((refused.forgotten, refused.refused), (None, 1));
    dba.batch_execute("rollback").await.unwrap();
    assert_eq!(rotate(&db).await.refused, 0);
}

/// The leaf of a large transaction was kept for keep_for, whatever it took.
async fn one_large_transaction_does_not_stay_above_the_bound(version: Version) {
    let db = database(version).await;
    db.run(SMALL).await;
    let leader = db.client("rowcast_service").await;
    leader.batch_execute(LEADER).await.unwrap();
    let writer = db.client("postgres").await;
    rotate(&db).await;
    emit(&writer).await;
    let unread = place(&db).await;
    let large = "insert into rowcast.event (channel, name, rooms, data)
         select 'c', 'e', array['*'], '1' from generate_series(1, 20000)";
    // It is more than the writer leaves to the leader: others write elsewhere now. But nobody has had a
    // turn to read it.
    writer.batch_execute(large).await.unwrap();
    let read = place(&db).await;
    assert!(bytes(&db).await > 1 << 20);
    let spared = rotate_as(&writer, Some(&unread)).await;
    assert_eq!((spared.forgotten, spared.refused), (None, 1));
    assert_eq!(count(&db).await, 20001);
    assert_eq!(rotate_as(&writer, Some(&read)).await.forgotten, Some(0));
    assert!(bytes(&db).await < 1 << 20);
    emit(&writer).await;
    let kept = rotate_as(&writer, Some(&place(&db).await)).await;
    assert_eq!((kept.forgotten, count(&db).await), (None, 1));
}

/// A dump holds the horizon of another server, whose transactions may be far ahead of this one's.
async fn a_restored_horizon_ends_with_its_history(version: Version) {
    let db = database(version).await;
    let (writer, long) = (db.client("postgres").await, db.legacy().await);
    emit(&writer).await;
    forget(&db, &place(&db).await).await;
    let far = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 1000000";
    db.run(&format!(
        "update rowcast.forgotten set seen = format('%s:%s:', {far}, {far})::pg_snapshot;
         select setval('rowcast.horizon', {far})"
    ))
    .await;
    let bookmark = db.bookmark().await;
    assert_eq!(events_since(&writer, &bookmark).await, gap());
    long.batch_execute("begin; select pg_current_xact_id()")
        .await
        .unwrap();
    db.run("select rowcast.new_history()").await;
    let bookmark = db.bookmark().await;
    emit(&writer).await;
    assert_eq!(events_since(&writer, &bookmark).await, end(1));
    forget(&db, &place(&db).await).await;
    assert_eq!(events_since(&writer, &bookmark).await, gap());
    let clamp = format!("select rowcast.highest_xid()::text::bigint < {far} - 1000000");
    assert!(db.ask::<bool>(&clamp).await);
}

/// A truncation that failed between its account and its end: the next call mends the account.
async fn an_account_that_was_left_half_written_is_mended(version: Version) {
    let db = database(version).await;
    let (writer, long) = (db.client("postgres").await, db.legacy().await);
    long.batch_execute("begin; select pg_current_xact_id()")
        .await
        .unwrap();
    emit(&writer).await;
    forget(&db, &place(&db).await).await;
    let bookmark = db.bookmark().await;
    assert_eq!(events_since(&writer, &bookmark).await, end(0));
    db.run("select setval('rowcast.truncation', pg_sequence_last_value('rowcast.truncation') + 1)")
        .await;
    assert_eq!(events_since(&writer, &bookmark).await, gap());
    rotate(&db).await;
    let bookmark = db.bookmark().await;
    assert_eq!(events_since(&writer, &bookmark).await, end(0));
}

/// A service rotated under the isolation that is the database's default, and some of that is done under
/// read committed alone.
async fn a_service_rotates_under_read_committed_whatever_is_the_default(version: Version) {
    let db = database(version).await;
    let sql = format!(
        "alter database {} set default_transaction_isolation = 'serializable'",
        db.name
    );
    db.run(&sql).await;
    let writer = db.client("postgres").await;
    emit(&writer).await;
    forget(&db, &place(&db).await).await;
    let server = serve(&db, |_| {}).await;
    db.run("select setval('rowcast.truncation', pg_sequence_last_value('rowcast.truncation') + 1)")
        .await;
    let mended =
        "select truncation = pg_sequence_last_value('rowcast.truncation') from rowcast.forgotten";
    eventually("the account is mended", async || {
        db.ask::<bool>(mended).await.then_some(())
    })
    .await;
    server.stop().await;
}

/// Something in all six leaves, and numbers that are so far in the first again.
async fn full_circle(version: Version, last: i64) -> (Database, Client) {
    let db = database(version).await;
    let leader = db.client("rowcast_service").await;
    leader.batch_execute(LEADER).await.unwrap();
    for id in [
        1,
        1 << 20,
        2 << 20,
        3 << 20,
        4 << 20,
        5 << 20,
        (6 << 20) + last,
    ] {
        db.run(&format!("select setval('rowcast.event_id_seq', {id})"))
            .await;
        emit(db.superuser().await).await;
    }
    (db, leader)
}

/// Bytes are not all that a log is bounded by: what is young and small is passed over too.
async fn a_leaf_in_use_is_passed_over_when_its_turn_comes(version: Version) {
    let (db, _leader) = full_circle(version, 0).await;
    let dump = db.client("postgres").await;
    let begun = "begin; lock table rowcast.event_1, rowcast.event_3 in access share mode";
    dump.batch_execute(begun).await.unwrap();
    let rotated = |moved, forgotten, refused| Rotated {
        moved,
        forgotten,
        refused,
    };
    // There is time yet.
    assert_eq!(rotate(&db).await, rotated(false, None, 1));
    age(&db, "7 hours").await;
    assert_eq!(rotate(&db).await, rotated(false, Some(2), 1));
    // The one behind is to be emptied in advance, and for that there is time again.
    assert_eq!(rotate(&db).await, rotated(true, None, 1));
    let turn = "select turn from rowcast.leaf where left_at is null and turn is not null";
    // Three laps: whatever writers draw meanwhile, no number comes twice.
    assert_eq!(db.ask::<i64>(turn).await, 6 + 18 + 2);
}

/// Numbers alone fill a leaf too: writers hardly ever come to the next by themselves, and while somebody
/// leads they leave that to him.
async fn a_leaf_is_left_at_three_quarters_of_its_numbers(version: Version) {
    let db = database(version).await;
    let (leader, writer) = (
        db.client("rowcast_service").await,
        db.client("postgres").await,
    );
    leader.batch_execute(LEADER).await.unwrap();
    emit(&writer).await;
    db.run("select setval('rowcast.event_id_seq', 786430)")
        .await;
    emit(&writer).await;
    assert!(!rotate(&db).await.moved);
    for _ in 0..2 {
        db.run("select setval('rowcast.bound', 1)").await;
        emit(&writer).await;
    }
    let last = "select last_value from rowcast.event_id_seq";
    assert_eq!(db.ask::<i64>(last).await, 786_433);
    assert!(rotate(&db).await.moved);
    // To the very next leaf, three laps further.
    assert_eq!(db.ask::<i64>(last).await, (18 + 1) << 20);
}

/// While a service leads, no writer does it.
async fn a_service_forgets_old_failures(version: Version) {
    let db = database(version).await;
    db.run(
        "update rowcast.setting set keep_failures = 2; \
         insert into rowcast.failure (channel, relation, operation, sqlstate, message) \
         select 'c', 't', 'insert', 'XX000', n::text from generate_series(1, 5) n",
    )
    .await;
    rotate(&db).await;
    let kept = "select string_agg(message, ' ' order by id) from rowcast.failure";
    assert_eq!(db.ask::<String>(kept).await, "4 5");
}

/// It would be locked just when they come.
async fn a_leaf_that_writers_are_about_to_enter_is_left_alone(version: Version) {
    for (last, forgotten) in [(983_039, 1), (983_041, 2)] {
        let (db, _leader) = full_circle(version, last).await;
        assert_eq!(rotate(&db).await.forgotten, Some(forgotten));
    }
}

/// A dump of some minutes was told of as a lock for as long as there was something in the leaves, a day.
async fn a_lock_that_is_gone_is_told_of_no_longer(version: Version) {
    let db = database(version).await;
    db.run("update rowcast.setting set keep_bytes = 10 << 20")
        .await;
    let (leader, dump) = (
        db.client("rowcast_service").await,
        db.client("postgres").await,
    );
    leader.batch_execute(LEADER).await.unwrap();
    let insert = "insert into rowcast.event (channel, name, rooms, data)
         select 'c', 'e', array['*'], json_build_object('pad', repeat('x', 300))
         from generate_series(1, 3400)";
    let refused = "select count(*) from rowcast.leaf where refused_at is not null";
    let told = "select refused_at is not null from rowcast.log_size()";
    for _ in 0..7 {
        db.run(insert).await;
        rotate(&db).await;
    }
    let begun = "begin; lock table rowcast.event in access share mode";
    dump.batch_execute(begun).await.unwrap();
    for _ in 0..3 {
        db.run(insert).await;
        rotate(&db).await;
    }
    assert!(db.ask::<i64>(refused).await > 3);
    // Of two that are to be emptied one still can't be.
    dump.batch_execute("rollback; begin; lock table rowcast.event_3 in access share mode")
        .await
        .unwrap();
    let calm = async || {
        for _ in 0..10 {
            rotate(&db).await;
        }
        assert!(count(&db).await > 3400, "or this proves nothing");
    };
    calm().await;
    let which: Option<i64> = db
        .ask("select sum(leaf) from rowcast.leaf where refused_at is not null")
        .await;
    assert_eq!(which, Some(3));
    assert!(db.ask::<bool>(told).await);
    dump.batch_execute("commit").await.unwrap();
    calm().await;
    assert!(!db.ask::<bool>(told).await);
}

/// What was written while the clock was years ahead stayed for as long.
async fn a_clock_that_was_ahead_keeps_nothing_for_years(version: Version) {
    let db = database(version).await;
    let writer = db.client("postgres").await;
    emit(&writer).await;
    rotate(&db).await;
    age(&db, "-10 years").await;
    rotate(&db).await;
    age(&db, "7 hours").await;
    assert!(rotate(&db).await.moved);
    emit(&writer).await;
    // The leaf that is written now was not left.
    age(&db, "-10 years").await;
    rotate(&db).await;
    let left = "select string_agg(leaf::text, ' ') from rowcast.leaf where left_at is not null";
    assert_eq!(db.ask::<String>(left).await, "0");
    age(&db, "23 hours").await;
    let moved = rotate(&db).await;
    assert_eq!((moved.moved, moved.forgotten), (true, None));
    age(&db, "2 hours").await;
    assert_eq!(rotate(&db).await.forgotten, Some(0));
    assert_eq!(count(&db).await, 1);
}

/// A clock that was set back, while no rotation can see to it.
#[tokio::test]
async fn a_log_that_begins_in_the_future_has_no_age() {
    let db = database(Version::Installed).await;
    let writer = db.client("postgres").await;
    emit(&writer).await;
    rotate(&db).await;
    age(&db, "-1 hour").await;
    let books = "begin; lock table rowcast.history_mark in share update exclusive mode";
    writer.batch_execute(books).await.unwrap();
    let size = "select oldest_at > clock_timestamp() from rowcast.log_size()";
    assert!(db.ask::<bool>(size).await);
    let server = serve(&db, |_| {}).await;
    let line = eventually("the log was measured", async || {
        let metrics = get(&server, "/metrics", &[]).await.body;
        let mut lines = metrics.lines();
        let found = lines.find(|line| line.starts_with("rowcast_log_age_seconds "));
        found.map(str::to_owned)
    })
    .await;
    assert_eq!(line, "rowcast_log_age_seconds 0");
    server.stop().await;
}

/// Numbers that came to the next leaves by themselves, while nobody looked.
async fn leaves_that_nobody_saw_are_kept_long_enough(version: Version) {
    let db = database(version).await;
    let writer = db.client("postgres").await;
    for leaf in 0..4 {
        db.run(
            &format!("select setval('rowcast.event_id_seq', {leaf} << 20)")
                .replace(", 0 << 20)", ", 1)"),
        )
        .await;
        emit(&writer).await;
    }
    assert!(!rotate(&db).await.moved);
    let turns = "select string_agg(coalesce(turn::text, '-') || (left_at is null)::text, ' ' order by leaf) \
                 from rowcast.leaf";
    assert_eq!(
        db.ask::<String>(turns).await,
        "0false 1false 2false 3true -true -true"
    );
    age(&db, "23 hours").await;
    while rotate(&db).await.forgotten.is_some() {}
    assert_eq!(count(&db).await, 4);
    age(&db, "2 hours").await;
    let mut calls = 0;
    while rotate(&db).await.forgotten.is_some() {
        calls += 1;
    }
    assert_eq!((calls, count(&db).await), (3, 1));
    for refused in ["keep_for = '1 second'", "keep_bytes = 1000"] {
        let update = format!("update rowcast.setting set {refused}");
        assert!(db.superuser().await.batch_execute(&update).await.is_err());
    }
}

on_every_version! {
    what_is_old_goes_and_its_readers_are_told
    a_long_transaction_makes_no_gap_of_its_own
    a_stale_account_of_what_was_forgotten_counts_for_nothing
    the_horizon_is_read_after_the_scan
    no_writer_waits_and_no_reader_misses_anything
    bloat_stays_flat
    a_listener_left_behind_tells_everybody
    what_was_read_is_forgotten_without_a_gap
    an_old_snapshot_forgets_no_more_than_it_says
    an_old_transaction_forgets_no_more_than_it_says
    what_is_written_while_it_forgets_is_told_of
    a_leaf_in_use_is_not_waited_for
    what_was_forgotten_unread_stays_a_gap
    a_database_without_a_service_does_not_fill_its_disk
    writers_leave_the_log_to_whoever_leads
    one_of_many_quick_writes_asks_after_the_bounds
    a_bound_that_fails_fails_no_write
    a_stranger_holds_up_neither_the_log_nor_a_history
    one_large_transaction_does_not_stay_above_the_bound
    a_restored_horizon_ends_with_its_history
    an_account_that_was_left_half_written_is_mended
    a_service_rotates_under_read_committed_whatever_is_the_default
    a_leaf_in_use_is_passed_over_when_its_turn_comes
    a_leaf_is_left_at_three_quarters_of_its_numbers
    a_service_forgets_old_failures
    a_leaf_that_writers_are_about_to_enter_is_left_alone
    a_lock_that_is_gone_is_told_of_no_longer
    a_clock_that_was_ahead_keeps_nothing_for_years
    leaves_that_nobody_saw_are_kept_long_enough
}

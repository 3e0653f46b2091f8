//! From the log to the hub: what commits while the listener is away, and bookmark arithmetic
//! against PostgreSQL's own.

use crate::support::{self, database, marker, serve, token};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rowcast::bookmark::{Snapshot, Spelling};
use std::collections::BTreeSet;
use std::time::Duration;

/// Waits at a fact in the database.
async fn until(db: &support::Database, sql: &str) {
    support::within(sql, async {
        while !db.ask::<bool>(sql).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

const LISTENERS: &str = "select count(*) = 1 from pg_stat_activity where datname = current_database() \
     and pid <> pg_backend_pid() and query ilike '%rowcast.channel%' and wait_event_type = 'Lock'";

/// The listener's connection is cut; on its way back it has listened, and is held up before it
/// reads the log. What commits at that moment rings nobody's bell later: only the order saves it.
/// Without the floor, which would hide a mistake for a second.
#[tokio::test]
async fn what_commits_while_the_listener_comes_back_is_not_missed() {
    let db = database().await;
    let server = serve(&db, |settings| {
        settings.listener.floor = Duration::from_secs(3600);
        settings.listener.proof = Duration::from_secs(3600);
    })
    .await;
    let mut reader = support::ws(&server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    let holder = db.client("postgres").await;
    holder
        .batch_execute("begin; lock table rowcast.channel in access exclusive mode")
        .await
        .unwrap();
    db.run(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() \
         and application_name like 'rowcast %'",
    )
    .await;
    until(&db, LISTENERS).await;
    // Straight into the leaf: the bell would not be heard anyway, and its trigger waits for the lock.
    db.run("insert into rowcast.event_0 (channel, name, rooms, data) values ('c', 'meanwhile', '{*}', '{}')")
        .await;
    holder.batch_execute("commit").await.unwrap();
    reader.expect_event("meanwhile").await;
}

/// Cut again and again under load: everything comes, once, in order.
#[tokio::test]
async fn a_listener_that_is_cut_under_load_loses_nothing() {
    let db = database().await;
    let server = serve(&db, |_| {}).await;
    let mut reader = support::ws(&server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    let writer = db.client("postgres").await;
    let write = async {
        for number in 0..400 {
            let sql = format!("select rowcast.emit('c', 'e', array['*'], '{{\"n\":{number}}}')");
            writer.batch_execute(&sql).await.unwrap();
            if number % 100 == 50 {
                db.run(
                    "select pg_terminate_backend(pid) from pg_stat_activity \
                     where datname = current_database() and usename = 'rowcast_service'",
                )
                .await;
            }
        }
        marker(&db, &["*"]).await;
    };
    let ((), events) = tokio::join!(write, reader.events_until("marker"));
    let numbers: Vec<i64> = events
        .iter()
        .map(|event| event["data"]["n"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, (0..400).collect::<Vec<i64>>());
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    (
        3u64..2000,
        0u64..60,
        proptest::collection::btree_set(0u64..60, 0..20),
    )
        .prop_map(|(xmin, width, running)| {
            let running: Vec<u64> = running
                .into_iter()
                .filter(|&x| x < width)
                .map(|x| xmin + x)
                .collect();
            Snapshot::new(xmin, xmin + width, &running).unwrap()
        })
}

/// Visibility is PostgreSQL's, and a bookmark reads the same in Rust and in SQL.
#[tokio::test]
async fn bookmark_arithmetic_is_postgresqls() {
    let db = database().await;
    let client = db.superuser().await;
    let mut runner = TestRunner::deterministic();
    let sql = "select \
         (select array_agg(pg_visible_in_snapshot(x::text::xid8, $1::text::pg_snapshot) order by x) \
          from generate_series($2::bigint, $3::bigint) x), \
         rowcast.encode_snapshot($1::text::pg_snapshot), \
         rowcast.decode_snapshot(rowcast.encode_snapshot($1::text::pg_snapshot))::text";
    for _ in 0..300 {
        let snapshot = snapshots().new_tree(&mut runner).unwrap().current();
        let text = snapshot.to_postgres();
        let (low, high) = (1, i64::try_from(snapshot.xmax()).unwrap() + 3);
        let low = low.max(high - 80);
        let row = client.query_one(sql, &[&text, &low, &high]).await.unwrap();
        let visible: Vec<bool> = row.get(0);
        let ours: Vec<bool> = (low..=high)
            .map(|xid| snapshot.sees(xid.cast_unsigned()))
            .collect();
        assert_eq!(visible, ours, "{text}");
        let place = Spelling::of("h", &snapshot, None).end();
        assert_eq!(place, format!("h.{}", row.get::<_, String>(1)), "{text}");
        let back = Snapshot::from_postgres(row.get(2)).unwrap();
        assert_eq!(Spelling::of("h", &back, None).end(), place, "{text}");
    }
}

/// More transactions in progress than a bookmark can name: both spellings shorten alike, and what
/// they forget is repeated, never lost.
#[tokio::test]
async fn a_bookmark_too_long_is_shortened_alike_in_sql() {
    let db = database().await;
    let running: Vec<u64> = (0..600).map(|n| 1000 + 7 * n).collect();
    let snapshot = Snapshot::new(1000, 9000, &running).unwrap();
    let sql = format!(
        "select rowcast.encode_snapshot('{}')",
        snapshot.to_postgres()
    );
    let text: String = db.ask(&sql).await;
    assert_eq!(
        Spelling::of("h", &snapshot, None).end(),
        format!("h.{text}")
    );
    let decoded: String = db
        .ask(&format!("select rowcast.decode_snapshot('{text}')::text"))
        .await;
    let decoded = Snapshot::from_postgres(&decoded).unwrap();
    assert!(decoded.is_subset_of(&snapshot), "{decoded:?}");
    assert!(decoded.xmax() < snapshot.xmax(), "{decoded:?}");
}

/// On a log of a million events a look was planned with parallel workers, for the planner expects to
/// find a third of them: each look at nothing took 60 ms.
#[tokio::test]
async fn a_look_at_a_large_log_starts_no_workers() {
    let db = database().await;
    let alone = "select string_agg(proname, ' ' order by proname) from pg_proc \
         where pronamespace = 'rowcast'::regnamespace and proname in ('look', 'read_log') \
           and 'max_parallel_workers_per_gather=0' = any (proconfig)";
    assert_eq!(db.ask::<String>(alone).await, "look read_log");
}

/// Written past all checks: what can't be read is a gap for its rooms, a row that can't be acted on is
/// passed over, and settings that are gone are missed by nobody once they are back.
#[tokio::test]
async fn what_can_not_be_read_ends_nothing() {
    let db = database().await;
    let server = serve(&db, |_| {}).await;
    let mut reader = support::ws(&server, &token("1", "user", ""), "").await;
    let welcome = reader.expect("welcome").await;
    db.run(
        "insert into rowcast.event (channel, name, rooms, data, at) \
           values ('c', 'never', '{*}', '{}', 'infinity')",
    )
    .await;
    assert_eq!(reader.expect("gap").await["reason"], "trigger");
    db.run(
        "insert into rowcast.channel (name, delivery, rooms, event) values \
           ('broken', 'notify', array['user:{id}', null], 'e'), \
           ('whole', 'notify', array['*'], 'told')",
    )
    .await;
    support::eventually("the whole one is listened to", async || {
        db.run("notify whole, '{}'").await;
        let told = tokio::time::timeout(Duration::from_millis(300), reader.expect_event("told"));
        told.await.ok()
    })
    .await;
    db.run("create table public.kept as table rowcast.setting; delete from rowcast.setting")
        .await;
    let bearer = format!("Bearer {}", token("2", "", ""));
    for _ in 0..10 {
        let answer = support::get(&server, "/poll?rooms=r:a", &[("authorization", &bearer)]).await;
        assert_eq!(answer.status, 503);
    }
    db.run("insert into rowcast.setting select * from public.kept")
        .await;
    let since = welcome["bookmark"].as_str().unwrap();
    let since = format!("since={since}");
    let mut back = support::eventually("somebody is let in again", async || {
        let mut back = support::ws(&server, &token("2", "user", ""), &since).await;
        let came = back.next_or_end().await.ok()?;
        (came["type"] == "welcome").then_some(back)
    })
    .await;
    assert_eq!(back.expect("subscribed").await["outcome"], "gap");
    marker(&db, &["*"]).await;
    back.frames_until("marker").await;
}

/// "Connection closed" was all that was said of a session that somebody had ended.
#[tokio::test]
async fn the_log_says_why_the_listener_lost_the_database() {
    let db = database().await;
    let program = support::serve_process(&db, &[]).await;
    let rests = "select pg_sequence_last_value('rowcast.doorbell') = 1";
    support::eventually("its listener rests", async || {
        db.ask::<Option<bool>>(rests).await.filter(|rests| *rests)
    })
    .await;
    let ended = "select count(pg_terminate_backend(pid)) > 0 from pg_stat_activity \
                 where datname = current_database() and application_name like 'rowcast %'";
    support::eventually("its listener is ended", async || {
        db.superuser().await.query_one(ended, &[]).await.ok()?;
        let log = program.log();
        let lost = log
            .lines()
            .find(|line| line.contains("the listener lost the database"));
        lost.map(str::to_owned)
    })
    .await;
    let log = program.log();
    let lost = log
        .lines()
        .find(|line| line.contains("the listener lost the database"));
    let why = "terminating connection due to administrator command";
    assert!(lost.is_some_and(|line| line.contains(why)), "{lost:?}");
}

/// Each attempt left a connection behind that waited on, until the application had none: at most the
/// last one may, whose end is being asked for. And what was wrong with the last is not said of this.
#[tokio::test]
async fn a_look_that_waits_for_a_lock_leaves_no_connection_behind() {
    let db = database().await;
    let server = serve(&db, |settings| {
        settings.database.connect_timeout = Duration::from_millis(500);
        settings.listener.look_timeout = Duration::from_millis(200);
        settings.listener.look_timeout_max = Duration::from_millis(200);
    })
    .await;
    let mut reader = support::eventually("somebody is let in", async || {
        let mut reader = support::ws(&server, &token("1", "user", ""), "").await;
        // Whoever has so little time to connect may be in need of more.
        let came = reader.next_or_end().await.ok()?;
        (came["type"] == "welcome").then_some(reader)
    })
    .await;
    let holder = db.client("postgres").await;
    let lock = "begin; lock table rowcast.event_5 in access exclusive mode";
    holder.batch_execute(lock).await.unwrap();
    let waiting = "select coalesce(array_agg(pid), '{}') from pg_stat_activity \
         where datname = current_database() and usename = 'rowcast_service' \
           and wait_event_type = 'Lock'";
    let (mut came, mut said) = (BTreeSet::new(), BTreeSet::new());
    support::eventually("it has come again and again", async || {
        let pids: Vec<i32> = db.ask(waiting).await;
        // Their ends take their time on a busy machine. If none ended, no more than these would count.
        if pids.len() <= 3 {
            came.extend(pids);
        }
        said.extend(
            server
                .gate
                .pulse
                .check(&server.gate.settings.listener)
                .err(),
        );
        (came.len() >= 6).then_some(())
    })
    .await;
    assert!(said.contains("catching up with the log"), "{said:?}");
    holder.batch_execute("rollback").await.unwrap();
    marker(&db, &["*"]).await;
    reader.expect_event("marker").await;
}

/// What is set for a role or a database is meant for what applications and people do there.
#[tokio::test]
async fn our_own_sessions_have_no_timeouts_of_the_role() {
    let db = database().await;
    let mut set = vec![
        "statement_timeout = '1h'",
        "lock_timeout = '1h'",
        "idle_session_timeout = '1h'",
        "idle_in_transaction_session_timeout = '1h'",
        "default_transaction_isolation = 'serializable'",
    ];
    if db.version >= 17 {
        set.push("transaction_timeout = '1h'");
    }
    for setting in set {
        let sql = format!("alter database {} set {setting}", db.name);
        db.run(&sql).await;
    }
    let ours = rowcast::database::connect_and_drive(&db.service_url, support::PATIENCE).await;
    let ours = ours.unwrap_or_else(|error| panic!("{error}"));
    let left = "select coalesce(string_agg(name, ' '), '') from pg_settings \
         where source = 'database'";
    let left: String = ours.query_one(left, &[]).await.unwrap().get(0);
    assert_eq!(left, "");
}

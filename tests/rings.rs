//! Transactions that rang are read one by one: exactly what they wrote, in the order of their commits,
//! with places that are exact although nobody looked at what else there is. On a server of their own,
//! for others would use up transaction ids, and with the floor and the proof switched off.

use crate::support::{
    Database, Postgres, Server, Subscriber, Version, database, eventually, marker, serve,
    serve_process, token, within, ws,
};
use rowcast::bookmark::Bookmark;
use rowcast::config::Settings;
use serde_json::Value;
use std::time::Duration;
use tokio_postgres::Client;

fn by_the_bell_alone(settings: &mut Settings) {
    settings.listener.floor = Duration::from_secs(3600);
    settings.listener.proof = Duration::from_secs(3600);
}

async fn alone() -> (Postgres, Database) {
    let postgres = Postgres::start(Version::Installed, &[("autovacuum", "off")]).await;
    let db = postgres.database().await;
    // The first who looks after the log writes that down, which uses up transaction ids at any time.
    db.run("select rowcast.rotate_log()").await;
    (postgres, db)
}

const EMIT: &str = "select rowcast.emit('c', 'e', array['*'], '{}')";

fn place(event: &Value) -> Bookmark {
    Bookmark::parse(event["bookmark"].as_str().unwrap()).unwrap()
}

/// A reader of everything, and a listener that relies on rings: it has named a transaction that it
/// knows nothing of, as no look would.
async fn asleep(db: &Database, server: &Server) -> Subscriber {
    let mut reader = ws(server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    relied_on(db, &mut reader).await;
    reader
}

async fn relied_on(db: &Database, reader: &mut Subscriber) {
    eventually("the listener relies on rings", async || {
        let unknown = uses_up(db).await;
        db.run(EMIT).await;
        let event = reader.expect_event("e").await;
        place(&event)
            .base
            .running()
            .contains(&unknown)
            .then_some(())
    })
    .await;
}

/// A transaction that ends without an event.
async fn uses_up(db: &Database) -> u64 {
    let xid: String = db.ask("select pg_current_xact_id()::text").await;
    xid.parse().unwrap()
}

/// One that has written an event and stays open.
async fn open(db: &Database, name: &str) -> Client {
    let client = db.client("postgres").await;
    let write = format!("begin; select rowcast.emit('c', '{name}', array['*'], '{{}}')");
    client.batch_execute(&write).await.unwrap();
    client
}

#[tokio::test]
async fn places_between_rings_are_exact() {
    let (_postgres, db) = alone().await;
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = asleep(&db, &server).await;
    let older = open(&db, "older").await;
    let between = open(&db, "between").await;
    let young = open(&db, "young").await;
    young.batch_execute("commit").await.unwrap();
    let first = reader.expect_event("young").await;
    older.batch_execute("commit").await.unwrap();
    let second = reader.expect_event("older").await;
    assert_eq!(
        place(&first).base.running().len(),
        place(&second).base.running().len() + 1
    );
    between.batch_execute("commit").await.unwrap();
    reader.expect_event("between").await;
    marker(&db, &["*"]).await;
    assert!(
        reader.events_until("marker").await.is_empty(),
        "nothing twice"
    );
    // From each of them, here and on a node that reads the log, exactly what came later.
    let another = serve(&db, by_the_bell_alone).await;
    for (since, later) in [
        (&first, vec!["older", "between"]),
        (&second, vec!["between"]),
    ] {
        for node in [&server, &another] {
            let since = since["bookmark"].as_str().unwrap();
            let query = format!("since={since}");
            let mut back = ws(node, &token("1", "user", ""), &query).await;
            back.expect("welcome").await;
            assert_eq!(back.expect("subscribed").await["outcome"], "recovered");
            for name in &later {
                back.expect_event(name).await;
            }
            back.expect_event("marker").await;
        }
    }
}

/// Transactions without events leave their ids between two that rang: a bookmark names no more of
/// them than a few, however many there were.
#[tokio::test]
async fn a_place_behind_a_ring_names_no_crowd() {
    let (_postgres, db) = alone().await;
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = asleep(&db, &server).await;
    for _ in 0..50 {
        uses_up(&db).await;
    }
    db.run(EMIT).await;
    let named = place(&reader.expect_event("e").await).base.running().len();
    assert!(named < 50, "{named}");
}

/// Who rings without a pause keeps the listener from its rest: it looks all the same, for what else there
/// is, and for `/readyz`.
#[tokio::test]
async fn it_looks_now_and_then_however_much_rings() {
    let (_postgres, db) = alone().await;
    let server = serve(&db, |settings| {
        by_the_bell_alone(settings);
        settings.listener.floor = Duration::from_secs(1);
        settings.listener.busy_commits = 1_000_000;
    })
    .await;
    let mut reader = asleep(&db, &server).await;
    let before = server.gate.hub.looks();
    within("a look", async {
        while server.gate.hub.looks() == before {
            db.run(EMIT).await;
            reader.expect_event("e").await;
        }
    })
    .await;
    server.stop().await;
}

/// Whoever silences writers does so at once, while the listener believes that all ring: one who had
/// rung before is not followed by itself, past another who found the bell silent and ended earlier.
#[tokio::test]
async fn who_is_silenced_behind_the_listeners_back_is_not_overtaken() {
    let (_postgres, db) = alone().await;
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = asleep(&db, &server).await;
    let rang = open(&db, "before").await;
    let dba = db.client("postgres").await;
    dba.batch_execute("begin; select rowcast.set_doorbell('never')")
        .await
        .unwrap();
    db.run("select rowcast.emit('c', 'silent', array['*'], '{}')")
        .await;
    rang.batch_execute("select rowcast.emit('c', 'behind', array['*'], '{}'); commit")
        .await
        .unwrap();
    for name in ["before", "silent", "behind"] {
        assert_eq!(reader.next().await["name"], name);
    }
}

/// What a trigger writes inside its safety net is a subtransaction's, whose id is nobody else's.
#[tokio::test]
async fn subtransactions_are_not_taken_for_others() {
    let (_postgres, db) = alone().await;
    db.run(
        "create table public.note (id int primary key); \
         select rowcast.attach('public.note', 'insert', \
           $$select 'note' as name, array['*'] as rooms, '{}'::json as data from new_rows$$)",
    )
    .await;
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = asleep(&db, &server).await;
    let writer = db.client("postgres").await;
    let mut before = None;
    for number in 0..60 {
        let insert = format!("insert into public.note values ({number})");
        writer.batch_execute(&insert).await.unwrap();
        let event = reader.expect_event("note").await;
        let unknown = place(&event).base.running().len();
        assert!(
            before.is_none_or(|before| unknown <= before),
            "{unknown} after {before:?}"
        );
        before = Some(unknown);
    }
}

/// Whoever wrote before the flag was set does not ring, and an event that is younger must wait for it.
#[tokio::test]
async fn nobody_is_overtaken_who_found_the_bell_silent() {
    let (_postgres, db) = alone().await;
    for _ in 0..5 {
        db.run("select setval('rowcast.doorbell', 0)").await;
        let silent = open(&db, "silent").await;
        let server = serve(&db, by_the_bell_alone).await;
        let mut reader = ws(&server, &token("1", "user", ""), "").await;
        reader.expect("welcome").await;
        eventually("writers ring", async || {
            let rings = "select pg_sequence_last_value('rowcast.doorbell') = 1";
            db.ask::<bool>(rings).await.then_some(())
        })
        .await;
        db.run(EMIT).await;
        reader.expect_event("e").await;
        silent.batch_execute("commit").await.unwrap();
        db.run(EMIT).await;
        reader.expect_event("silent").await;
        reader.expect_event("e").await;
        server.stop().await;
    }
}

/// Anybody may notify: of transactions that are open, gone, or none.
#[tokio::test]
async fn a_strangers_number_moves_nothing() {
    let (_postgres, db) = alone().await;
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = asleep(&db, &server).await;
    let open = open(&db, "open").await;
    let xid = open
        .query_one("select pg_current_xact_id()::text", &[])
        .await;
    let xid: String = xid.unwrap().get(0);
    let gone = uses_up(&db).await;
    // The last is the one that would do harm, and no look comes after it.
    for number in [
        "0",
        "1",
        "4294967299",
        "18446744073709551615",
        &gone.to_string(),
        &xid,
    ] {
        db.run(&format!("notify rowcast, '{number}'")).await;
        db.run(EMIT).await;
        reader.expect_event("e").await;
    }
    open.batch_execute("commit").await.unwrap();
    reader.expect_event("open").await;
    marker(&db, &["*"]).await;
    assert!(reader.events_until("marker").await.is_empty());
}

/// More than are read one by one, state events, a channel that is paused, what was forgotten: as by a
/// look.
#[tokio::test]
async fn what_a_look_does_besides_is_done() {
    let (_postgres, db) = alone().await;
    db.run(
        "create function public.shown(p_keys jsonb[]) returns table (key jsonb, data json) \
           language sql stable as $$ select k, '{\"shown\":true}'::json from unnest(p_keys) k $$; \
         grant execute on function public.shown(jsonb[]) to public",
    )
    .await;
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = asleep(&db, &server).await;
    let mut many = Vec::new();
    for _ in 0..20 {
        many.push(open(&db, "many").await);
    }
    futures_util::future::join_all(many.iter().map(|one| one.batch_execute("commit"))).await;
    for _ in 0..20 {
        reader.expect_event("many").await;
    }
    relied_on(&db, &mut reader).await;
    db.run("insert into rowcast.channel (name, paused) values ('c', true)")
        .await;
    marker(&db, &["*"]).await;
    reader.expect_event("marker").await;
    db.run(EMIT).await;
    marker(&db, &["*"]).await;
    assert!(
        reader.events_until("marker").await.is_empty(),
        "it is paused"
    );
    db.run("delete from rowcast.channel").await;
    assert_eq!(reader.expect("gap").await["reason"], "paused");
    relied_on(&db, &mut reader).await;
    db.run("select setval('rowcast.horizon', pg_current_xact_id()::text::bigint + 2)")
        .await;
    marker(&db, &["*"]).await;
    assert_eq!(reader.expect("gap").await["reason"], "horizon");
    // The last, for then more of them are expected, which are looked for.
    relied_on(&db, &mut reader).await;
    db.run(
        "insert into rowcast.event (channel, name, rooms, data, render) \
         values ('c', 'state', array['*'], '{\"key\":1}', 'public.shown')",
    )
    .await;
    assert_eq!(reader.expect_event("state").await["data"]["shown"], true);
}

/// A ring that is left out silences writers: those that ring later would be read before it.
#[tokio::test]
async fn a_ring_that_is_left_out_silences_the_next() {
    let postgres = Postgres::start(Version::V18, &[("max_notify_queue_pages", "64")]).await;
    let (db, foreign) = (postgres.database().await, postgres.empty().await);
    let idle = foreign.client("postgres").await;
    idle.batch_execute("listen x").await.unwrap();
    idle.batch_execute("begin; select 1").await.unwrap();
    let filler = foreign.client("postgres").await;
    let note = format!("notify x, '{}'", "x".repeat(7000));
    while db.ask::<f64>("select pg_notification_queue_usage()").await < 0.11 {
        filler.batch_execute(&note).await.unwrap();
    }
    let rings = "select pg_sequence_last_value('rowcast.doorbell') = 1";
    for write in [
        EMIT,
        "insert into rowcast.channel (name, paused) values ('c', true)",
    ] {
        db.run("select setval('rowcast.doorbell', 1)").await;
        db.run(write).await;
        assert!(!db.ask::<bool>(rings).await, "{write}");
    }
}

/// Where not even a gap can be written everybody has to hear of one, and nothing but a ring says so.
#[tokio::test]
async fn a_gap_that_can_not_be_written_rings() {
    let (_postgres, db) = alone().await;
    db.run(
        "create table public.broken (id int primary key); \
         select rowcast.attach('public.broken', 'insert', \
           $$select 'e' as name, array['*'] as rooms, to_json(1 / id) as data from new_rows$$); \
         create or replace function rowcast.tell_rooms(p_name text, p_data json, p_concerned rowcast.concern[]) \
           returns void language plpgsql as $$ begin raise exception 'the disk is full'; end $$",
    )
    .await;
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = asleep(&db, &server).await;
    db.run("insert into public.broken values (0)").await;
    assert_eq!(reader.expect("gap").await["reason"], "history");
}

/// The flag is the leading node's to raise: it has to know since when all ring.
#[tokio::test]
async fn only_who_leads_has_writers_ring() {
    let db = database().await;
    let rings = "select pg_sequence_last_value('rowcast.doorbell') = 1";
    let leader = db.client("postgres").await;
    let locked = leader
        .query_one("select pg_try_advisory_lock(7692279)", &[])
        .await;
    assert!(locked.unwrap().get::<_, bool>(0));
    db.run("select setval('rowcast.doorbell', 0); select rowcast.set_doorbell('always')")
        .await;
    assert!(!db.ask::<bool>(rings).await);
    drop(leader);
    eventually("writers ring", async || {
        db.run("select rowcast.set_doorbell('always')").await;
        db.ask::<bool>(rings).await.then_some(())
    })
    .await;
}

/// Any role that can connect can take the lead's lock, and there was no leader without a word.
#[tokio::test]
async fn a_stranger_in_the_lead_is_named() {
    let db = database().await;
    let stranger = db.legacy().await;
    let locked = stranger
        .query_one("select pg_advisory_lock(7692279), pg_backend_pid()", &[])
        .await;
    let pid: i32 = locked.unwrap().get(1);
    let mut server = serve_process(&db, &[]).await;
    let line = server
        .log_line("holds the lock of the node that leads")
        .await;
    let holder = format!("lab_app, process {pid}");
    assert!(line.contains(&holder), "{line}");
    drop(stranger);
    server.log_line("\"leading\"").await;
}

//! The adaptive doorbell: who rings, who does not, and that nothing is missed as it changes. With
//! the floor and the proof switched off, for they would hide a lost wake-up for a second.

use crate::support::{
    Database, PATIENCE, Postgres, Server, Subscriber, Version, database, eventually, get, lab,
    marker, on, on_every_version, serve, serve_process, token, within, ws,
};
use rowcast::config::{Doorbell, Settings};
use rowcast::database::Listening;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio_postgres::{AsyncMessage, Client, NoTls};

const NEVER: Duration = Duration::from_secs(3600);

/// Neither floor nor proof: only the doorbell wakes the listener.
fn by_the_bell_alone(settings: &mut Settings) {
    settings.listener.floor = NEVER;
    settings.listener.proof = NEVER;
    // What a machine makes that has much else to do, and more than twenty in a row.
    settings.listener.busy_commits = 150;
    // Readers share two cores with the writers here, and one batch of theirs is a lot.
    settings.limits.queue_bytes = 1 << 30;
    // Nor does anybody read while there is silence to wait for, or answer a ping.
    settings.limits.write_stall = NEVER;
    settings.websocket.ping = NEVER;
}

async fn everybody(server: &Server) -> Subscriber {
    let mut reader = ws(server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    reader
}

/// Whether writers are told to ring.
async fn rings(db: &Database) -> bool {
    db.ask("select coalesce(pg_sequence_last_value('rowcast.doorbell') = 1, false)")
        .await
}

async fn until_it_rings(db: &Database, wanted: bool) {
    eventually(&format!("the flag is {wanted}"), async || {
        (rings(db).await == wanted).then_some(())
    })
    .await;
}

async fn emit(client: &Client, number: usize) {
    let sql = format!("select rowcast.emit('c', 'e', array['*'], '{{\"n\":{number}}}')");
    client.batch_execute(&sql).await.unwrap();
}

/// Commits as fast as it can until told to stop; says how many.
async fn write_until(db: &Database, stop: Arc<AtomicBool>, committed: Arc<AtomicUsize>) {
    let client = db.client("postgres").await;
    while !stop.load(Ordering::Relaxed) {
        let number = committed.fetch_add(1, Ordering::Relaxed);
        emit(&client, number).await;
    }
}

/// Writers in the background, so many at once.
struct Load {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicUsize>,
    writers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(db: &'static Database, writers: usize) -> Self {
        let (stop, committed) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let writers = (0..writers)
            .map(|_| tokio::spawn(write_until(db, Arc::clone(&stop), Arc::clone(&committed))));
        Self {
            writers: writers.collect(),
            stop,
            committed,
        }
    }

    fn committed(&self) -> usize {
        self.committed.load(Ordering::Relaxed)
    }

    async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for writer in std::mem::take(&mut self.writers) {
            writer.await.unwrap();
        }
        self.committed()
    }
}

/// So many rounds that found what they were to, before and behind each of which writers were told to be
/// silent. A machine with much else to do may fall quiet in between, and they ring rightly: those rounds
/// do not count.
async fn in_silence(db: &Database, rounds: usize, mut round: impl AsyncFnMut() -> bool) {
    within("rounds in silence", async {
        let mut silent = 0;
        while silent < rounds {
            let was_silent = !rings(db).await;
            let found = round().await;
            silent += usize::from(found && was_silent && !rings(db).await);
        }
    })
    .await;
}

/// For writers that outlive a statement of the test.
fn leaked(db: Database) -> &'static Database {
    Box::leak(Box::new(db))
}

/// Somebody else who listens to the doorbell, and how often it rang.
async fn ear(db: &Database) -> Arc<AtomicUsize> {
    let (client, mut connection) = tokio_postgres::connect(&db.superuser_url, NoTls)
        .await
        .unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    tokio::spawn(async move {
        let mut messages =
            futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut messages).await {
            if let AsyncMessage::Notification(note) = message
                && note.payload().parse::<u64>().is_ok()
            {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    client.batch_execute("listen rowcast").await.unwrap();
    // It listens as long as its client lives.
    std::mem::forget(client);
    heard
}

#[tokio::test]
async fn quiet_writers_ring_and_busy_ones_do_not() {
    // A cluster of its own: NOTIFY's lock is one for all databases, and where the writers of another
    // wait for it, ours are silenced rightly.
    let postgres = Postgres::start(Version::Installed, &[]).await;
    let db = leaked(postgres.database().await);
    let server = serve(db, by_the_bell_alone).await;
    let mut reader = everybody(&server).await;
    let heard = ear(db).await;
    until_it_rings(db, true).await;
    for number in 0..20 {
        emit(db.superuser().await, number).await;
        reader.expect_event("e").await;
    }
    eventually("twenty rings", async || {
        (heard.load(Ordering::Relaxed) >= 20).then_some(())
    })
    .await;
    let load = Load::start(db, 4);
    until_it_rings(db, false).await;
    // Silent before and behind, they may have rung in between, and what rang before is heard late.
    in_silence(db, 20, async || {
        let (committed, rung) = (load.committed(), heard.load(Ordering::Relaxed));
        eventually("a hundred more", async || {
            (load.committed() >= committed + 100).then_some(())
        })
        .await;
        heard.load(Ordering::Relaxed) == rung
    })
    .await;
    let written = load.end().await;
    marker(db, &["*"]).await;
    assert_eq!(reader.events_until("marker").await.len(), written);
    until_it_rings(db, true).await;
}

/// Transactions that found the bell silent, and commit when the listener sleeps.
async fn who_found_the_bell_silent_is_heard(version: Version) {
    let db = leaked(on(version).await.lab().await);
    db.run(
        "create table public.note (id int primary key); \
         select rowcast.attach('public.note', 'insert', \
           $$select 'note' as name, array['*'] as rooms, json_build_object('n', id) as data from new_rows$$); \
         create function public.late() returns trigger language plpgsql security definer as $$ \
           begin perform rowcast.emit('c', 'late', array['*'], '{}'); return null; end $$; \
         create table public.deferred (id int); \
         create constraint trigger late after insert on public.deferred \
           deferrable initially deferred for each row execute function public.late()",
    )
    .await;
    let server = serve(db, by_the_bell_alone).await;
    let mut reader = everybody(&server).await;
    let shapes: [(&str, &str, &[&str]); 6] = [
        ("insert into public.note values (1)", "", &["note"]),
        (
            "savepoint a; insert into public.note values (2); release a",
            "",
            &["note"],
        ),
        (
            "insert into public.note values (3); savepoint a; insert into public.note values (4)",
            "rollback to a",
            &["note"],
        ),
        (
            "insert into public.note select generate_series(10, 12)",
            "",
            &["note", "note", "note"],
        ),
        ("insert into public.deferred values (1)", "", &["late"]),
        (
            "insert into public.note values (5)",
            "insert into public.note values (6)",
            &["note", "note"],
        ),
    ];
    for (before, after, events) in shapes {
        let load = Load::start(db, 4);
        until_it_rings(db, false).await;
        let writer = db.client("postgres").await;
        writer
            .batch_execute(&format!("begin; {before}"))
            .await
            .unwrap();
        load.end().await;
        marker(db, &["*"]).await;
        reader.frames_until("marker").await;
        until_it_rings(db, true).await;
        writer
            .batch_execute(&format!("{after}; commit"))
            .await
            .unwrap();
        for name in events {
            reader.expect_event(name).await;
        }
    }
    let load = Load::start(db, 4);
    until_it_rings(db, false).await;
    let writer = db.client("postgres").await;
    writer.batch_execute("begin").await.unwrap();
    let sink = writer.copy_in("copy public.note from stdin").await.unwrap();
    tokio::pin!(sink);
    let rows = bytes::Bytes::from_static(b"20\n21\n");
    futures_util::SinkExt::send(&mut sink, rows).await.unwrap();
    sink.finish().await.unwrap();
    load.end().await;
    marker(db, &["*"]).await;
    reader.frames_until("marker").await;
    until_it_rings(db, true).await;
    writer.batch_execute("commit").await.unwrap();
    reader.expect_event("note").await;
    reader.expect_event("note").await;
}

on_every_version! { who_found_the_bell_silent_is_heard }

/// What the order protects from: a writer that has read 0 and is the youngest of all. The flag set
/// and the snapshot taken in one transaction, or by an unlogged sequence, do not see it.
#[tokio::test]
async fn the_wrong_orders_miss_a_writer() {
    // A cluster of its own, where nobody else's transaction ends in between: the writer would no longer
    // be the youngest.
    let postgres = Postgres::start(Version::V18, &[("autovacuum", "off")]).await;
    let db = postgres.database().await;
    db.run("create unlogged sequence public.unlogged minvalue 0")
        .await;
    let settings = crate::support::settings(&db);
    let listening = Listening::open(&db.service_url, &settings.database)
        .await
        .unwrap();
    let leader = db.client("postgres").await;
    let standpoint = listening.standpoint().await.unwrap();
    let running = async |sql: &str| -> (String, String) {
        listening.set_doorbell(false).await.unwrap();
        let writer = db.client("postgres").await;
        writer
            .batch_execute("begin; select rowcast.emit('c', 'e', array['*'], '{}')")
            .await
            .unwrap();
        let row = writer.query_one("select pg_current_xact_id()::text", &[]);
        let xid: String = row.await.unwrap().get(0);
        let answers = leader.simple_query(sql).await.unwrap();
        let snapshot = answers.iter().rev().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        writer.batch_execute("rollback").await.unwrap();
        (xid, snapshot.unwrap())
    };
    let sees = |snapshot: &str, xid: &str| {
        snapshot
            .rsplit(':')
            .next()
            .unwrap()
            .split(',')
            .any(|running| running == xid)
    };
    let wrong = [
        "begin; select setval('rowcast.doorbell', 1); select pg_current_snapshot()::text; commit",
        "select pg_current_snapshot()::text from (select setval('rowcast.doorbell', 1)) s",
        "select setval('public.unlogged', 1); select pg_current_snapshot()::text",
    ];
    for sql in wrong {
        let (xid, snapshot) = running(sql).await;
        assert!(!sees(&snapshot, &xid), "{sql}: {xid} in {snapshot}");
    }
    let right =
        "begin; select setval('rowcast.doorbell', 1); commit; select pg_current_snapshot()::text";
    let (xid, snapshot) = running(right).await;
    assert!(sees(&snapshot, &xid), "{xid} in {snapshot}");

    // And as the listener does it.
    listening.set_doorbell(false).await.unwrap();
    let writer = db.client("postgres").await;
    let begin = "begin; select rowcast.emit('c', 'e', array['*'], '{}')";
    writer.batch_execute(begin).await.unwrap();
    let row = writer.query_one("select pg_current_xact_id()::text::bigint", &[]);
    let xid: i64 = row.await.unwrap().get(0);
    listening.set_doorbell(true).await.unwrap();
    let looked = listening.look(&standpoint, None, PATIENCE).await.unwrap();
    let snapshot = &looked.unwrap().batch.to.snapshot;
    assert!(snapshot.running().contains(&xid.cast_unsigned()));
}

/// The process that leads on a database.
async fn leader(db: &Database) -> Option<i32> {
    db.ask(
        "select max(pid) from pg_locks where locktype = 'advisory' and objid = 7692279 and granted \
         and database = (select oid from pg_database where datname = current_database())",
    )
    .await
}

/// Two nodes under load, and the leader's connection cut again and again: both deliver everything.
#[tokio::test]
async fn leadership_passes_to_and_fro_under_load() {
    let db = leaked(database().await);
    let nodes = [
        serve(db, by_the_bell_alone).await,
        serve(db, by_the_bell_alone).await,
    ];
    let mut readers = [everybody(&nodes[0]).await, everybody(&nodes[1]).await];
    let load = Load::start(db, 2);
    let mut leaders = Vec::new();
    let pass = async {
        for _ in 0..8 {
            let pid = eventually("somebody leads", async || {
                leader(db).await.filter(|pid| leaders.last() != Some(pid))
            })
            .await;
            leaders.push(pid);
            db.run(&format!("select pg_terminate_backend({pid})")).await;
        }
        let written = load.end().await;
        marker(db, &["*"]).await;
        written
    };
    let [first, second] = &mut readers;
    let (written, first, second) = tokio::join!(
        pass,
        first.events_until("marker"),
        second.events_until("marker")
    );
    for events in [first, second] {
        let mut numbers: Vec<i64> = events
            .iter()
            .map(|event| event["data"]["n"].as_i64().unwrap())
            .collect();
        assert_eq!(numbers.len(), written);
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), written, "once each");
    }
}

/// While nobody rings, the others hear from the leader what it found.
#[tokio::test]
async fn the_leader_tells_the_others_what_came_in_silence() {
    let db = leaked(database().await);
    let nodes = [
        serve(db, by_the_bell_alone).await,
        serve(db, by_the_bell_alone).await,
    ];
    let follower = eventually("one leads and one does not", async || {
        let leads = nodes.each_ref().map(|node| node.gate.pulse.bell());
        match leads.map(|bell| bell.is_some_and(|bell| bell.leads)) {
            [true, false] => Some(&nodes[1]),
            [false, true] => Some(&nodes[0]),
            _ => None,
        }
    })
    .await;
    let mut reader = everybody(follower).await;
    let load = Load::start(db, 4);
    until_it_rings(db, false).await;
    in_silence(db, 20, async || {
        let committed = i64::try_from(load.committed()).unwrap();
        while reader.expect_event("e").await["data"]["n"]
            .as_i64()
            .unwrap()
            < committed
        {}
        true
    })
    .await;
    load.end().await;
}

/// A leader may have died between a look and the word of it: the next tells the others, though it finds
/// nothing that it lacks itself.
#[tokio::test]
async fn a_new_leader_says_what_the_last_did_not() {
    let db = database().await;
    let lock = "select pg_advisory_lock(7692279)";
    let last = db.client("postgres").await;
    last.batch_execute(lock).await.unwrap();
    db.run("select setval('rowcast.doorbell', 0)").await;
    let follower = serve(&db, |settings| {
        by_the_bell_alone(settings);
        settings.listener.lead_retry = NEVER;
    })
    .await;
    let mut reader = everybody(&follower).await;
    let next = serve(&db, by_the_bell_alone).await;
    emit(db.superuser().await, 1).await;
    // Somebody who brought a bookmark had it look.
    next.has_read(&db).await;
    drop(last);
    reader.expect_event("e").await;
    next.stop().await;
    follower.stop().await;
}

/// Where SQL has every write ring there may be listeners of others, and no service.
#[tokio::test]
async fn a_stop_silences_nobody_who_is_always_to_ring() {
    let db = database().await;
    let server = serve(&db, by_the_bell_alone).await;
    until_it_rings(&db, true).await;
    db.run("select rowcast.set_doorbell('always')").await;
    eventually("the leader knows", async || {
        let bell = server.gate.pulse.bell()?;
        (bell.doorbell == Doorbell::Always).then_some(())
    })
    .await;
    until_it_rings(&db, true).await;
    server.stop().await;
    assert!(rings(&db).await);
    assert_eq!(leader(&db).await, None);
}

/// Who stops gently leaves writers silent if nobody is left, and the lead to another at once.
#[tokio::test]
async fn a_gentle_stop_leaves_writers_silent() {
    let db = database().await;
    let first = serve(&db, by_the_bell_alone).await;
    let retry = |settings: &mut Settings| {
        by_the_bell_alone(settings);
        settings.listener.lead_retry = NEVER;
    };
    until_it_rings(&db, true).await;
    let second = serve(&db, retry).await;
    let mut reader = everybody(&second).await;
    let before = leader(&db).await.unwrap();
    // The lead is given back within a second of when the last has gone, or not at all: as long as this
    // one does not answer, there is more time.
    let _stays = everybody(&first).await;
    first.stop().await;
    // Not by its own clock: it was told.
    let after = eventually("the other leads", async || leader(&db).await).await;
    assert_ne!(before, after);
    until_it_rings(&db, true).await;
    emit(db.superuser().await, 1).await;
    reader.expect_event("e").await;
    second.stop().await;
    assert!(!rings(&db).await);
    assert_eq!(leader(&db).await, None);
}

/// Who dies asleep leaves the flag: writers ring for nobody, and the next start loses nothing.
#[tokio::test]
async fn who_dies_asleep_leaves_the_flag() {
    let db = database().await;
    let mut program = serve_process(&db, &[]).await;
    until_it_rings(&db, true).await;
    program.signal(nix::sys::signal::Signal::SIGKILL);
    program.exited().await;
    eventually("nobody leads", async || {
        leader(&db).await.is_none().then_some(())
    })
    .await;
    assert!(rings(&db).await);
    let bookmark = db.bookmark().await;
    emit(db.superuser().await, 1).await;
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = ws(
        &server,
        &token("1", "user", ""),
        &format!("since={bookmark}"),
    )
    .await;
    reader.expect("welcome").await;
    assert_eq!(reader.expect("subscribed").await["outcome"], "recovered");
    reader.expect_event("e").await;
    emit(db.superuser().await, 2).await;
    reader.expect_event("e").await;
}

/// From SQL, at once, and whether or not anybody serves. Silence even before it commits.
#[tokio::test]
async fn the_switch_in_sql_takes_effect_at_once() {
    let db = database().await;
    db.run("select rowcast.set_doorbell('always')").await;
    assert!(rings(&db).await);
    db.run("select rowcast.set_doorbell('never')").await;
    assert!(!rings(&db).await);
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = everybody(&server).await;
    let heard = ear(&db).await;
    let mode = async |mode: Doorbell| {
        eventually("the mode is taken", async || {
            let bell = server.gate.pulse.bell()?;
            (bell.doorbell == mode).then_some(())
        })
        .await;
    };
    mode(Doorbell::Never).await;
    for number in 0..50 {
        emit(db.superuser().await, number).await;
        reader.expect_event("e").await;
    }
    assert_eq!(heard.load(Ordering::Relaxed), 0);
    db.run("select rowcast.set_doorbell('always')").await;
    mode(Doorbell::Always).await;
    until_it_rings(&db, true).await;
    let load = futures_util::future::join_all((0..2000).map(|_| async {
        emit(db.superuser().await, 1).await;
    }));
    load.await;
    assert!(rings(&db).await);
    marker(&db, &["*"]).await;
    assert_eq!(reader.events_until("marker").await.len(), 2000);
    eventually("every write rang", async || {
        (heard.load(Ordering::Relaxed) >= 2000).then_some(())
    })
    .await;
    db.run("select rowcast.set_doorbell(null)").await;
    mode(Doorbell::Adaptive).await;
    let wrong = db
        .superuser()
        .await
        .batch_execute("select rowcast.set_doorbell('loud')");
    assert_eq!(wrong.await.unwrap_err().code().unwrap().code(), "RC003");
    let metrics = get(&server, "/metrics", &[]).await.body;
    for line in [
        "rowcast_doorbell_mode{mode=\"adaptive\"} 1",
        "rowcast_doorbell_mode{mode=\"always\"} 0",
        "rowcast_leads 1",
        "rowcast_notify_queue_usage ",
    ] {
        assert!(
            metrics.lines().any(|found| found.starts_with(line)),
            "{line}\n{metrics}"
        );
    }
}

/// NOTIFY makes PREPARE TRANSACTION fail: where something may be prepared, nothing rings.
#[tokio::test]
async fn prepared_transactions_are_never_made_to_fail() {
    let postgres = Postgres::start(Version::Installed, &[("max_prepared_transactions", "8")]).await;
    let db = postgres.lab().await;
    let mut program = serve_process(&db, &[]).await;
    // Said of this alone, and not of writers that ring all the same.
    program
        .log_line("writers never ring, and the listener polls")
        .await;
    let mut reader = ws(&program, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    let client = db.client("postgres").await;
    for number in 0..10 {
        let prepare = format!(
            "begin; select rowcast.emit('c', 'e', array['*'], '{{}}'); prepare transaction 'p{number}'"
        );
        client.batch_execute(&prepare).await.unwrap();
        marker(&db, &["*"]).await;
        assert_eq!(reader.events_until("marker").await.len(), 0);
        let commit = format!("commit prepared 'p{number}'");
        client.batch_execute(&commit).await.unwrap();
        reader.expect_event("e").await;
    }
    // Whoever insists gets what NOTIFY does.
    db.run("select rowcast.set_doorbell('always')").await;
    until_it_rings(&db, true).await;
    let refused = client
        .batch_execute(
            "begin; select rowcast.emit('c', 'e', array['*'], '{}'); prepare transaction 'q'",
        )
        .await;
    let message = refused
        .unwrap_err()
        .as_db_error()
        .unwrap()
        .message()
        .to_owned();
    assert!(message.contains("PREPARE"), "{message}");
    program.log_line("fails for those that pushed events").await;
}

/// Nor for the transactions that send somebody away.
#[tokio::test]
async fn who_signs_out_may_do_so_in_a_prepared_transaction() {
    let postgres = Postgres::start(Version::Installed, &[("max_prepared_transactions", "8")]).await;
    let db = postgres.system("boardroom").await;
    db.run(crate::boardroom::SAMPLE).await;
    let server = serve(&db, |_| ()).await;
    let mut ann = crate::boardroom::enter(&server, "of ann", "rooms=bookings").await;
    let mut bob = crate::boardroom::enter(&server, "of bob", "rooms=bookings").await;
    ann.expect("welcome").await;
    bob.expect("welcome").await;
    let client = db.client("postgres").await;
    for (number, sign_out, somebody) in [
        (
            1,
            "delete from boardroom.sessions where user_id = 'u1'",
            &mut ann,
        ),
        (2, "select rowcast.revoke('u2')", &mut bob),
    ] {
        let prepared = format!("begin; {sign_out}; prepare transaction 'out{number}'");
        let done = client.batch_execute(&prepared).await;
        done.unwrap_or_else(|error| panic!("{sign_out}: {error:?}"));
        let commit = format!("commit prepared 'out{number}'");
        client.batch_execute(&commit).await.expect("it is prepared");
        within("it is closed", somebody.closed()).await;
    }
    server.stop().await;
}

/// A foreign listener that is idle in a transaction, in another database: the queue fills up.
#[tokio::test]
async fn a_full_notify_queue_fails_no_write() {
    let postgres = Postgres::start(Version::V18, &[("max_notify_queue_pages", "64")]).await;
    let db = postgres.database().await;
    let foreign = postgres.empty().await;
    let server = serve(&db, |_| {}).await;
    let mut reader = everybody(&server).await;
    db.run("select rowcast.set_doorbell('always')").await;
    until_it_rings(&db, true).await;
    let idle = foreign.client("postgres").await;
    // Two statements: together they would be one transaction, in which nothing is listened to yet.
    idle.batch_execute("listen x").await.unwrap();
    idle.batch_execute("begin; select 1").await.unwrap();
    let fill = async |to: f64| {
        let filler = foreign.client("postgres").await;
        let note = format!("notify x, '{}'", "x".repeat(7000));
        while db.ask::<f64>("select pg_notification_queue_usage()").await < to {
            if filler.batch_execute(&note).await.is_err() {
                break;
            }
        }
    };
    fill(0.11).await;
    until_it_rings(&db, false).await;
    // Where nobody leads, the first who would ring does it.
    db.run(
        "do $$ begin
           perform setval('rowcast.doorbell', 1), rowcast.tell_listeners('x');
           if pg_sequence_last_value('rowcast.doorbell'::regclass) = 1 then raise 'it rings'; end if;
         end $$",
    )
    .await;
    let filling = "select rowcast.notify_queue_is_filling()";
    assert!(db.ask::<bool>(filling).await);
    emit(db.superuser().await, 1).await;
    reader.expect_event("e").await;
    fill(1.0).await;
    let notified = foreign
        .superuser()
        .await
        .batch_execute("notify y, 'z'")
        .await;
    let full = notified
        .unwrap_err()
        .as_db_error()
        .unwrap()
        .message()
        .to_owned();
    assert!(full.contains("NOTIFY queue"), "{full}");
    // DBAs, writers and new services go on.
    db.run("select rowcast.set_doorbell(null)").await;
    db.run("insert into rowcast.channel (name, delivery) values ('c', 'announce')")
        .await;
    for number in 0..20 {
        emit(db.superuser().await, number).await;
        reader.expect_event("e").await;
    }
    let another = serve(&db, |_| {}).await;
    let mut second = everybody(&another).await;
    emit(db.superuser().await, 1).await;
    second.expect_event("e").await;
    reader.expect_event("e").await;
    assert_eq!(get(&server, "/readyz", &[]).await.status, 200);
    db.run(
        "insert into rowcast.channel (name, delivery, rooms, event) \
         values ('late', 'notify', array['*'], 'late')",
    )
    .await;
    idle.batch_execute("commit").await.unwrap();
    until_it_rings(&db, true).await;
    // Nobody could be told of that channel while nothing was notified. It is read before a look, and
    // the look that finds the second marker began after the one that found the first.
    for _ in 0..2 {
        marker(&db, &["*"]).await;
        reader.expect_event("marker").await;
    }
    db.run("notify late, '{}'").await;
    reader.expect_event("late").await;
    emit(db.superuser().await, 1).await;
    reader.expect_event("e").await;
}

/// On a slow disk writers that ring commit one after another, at a rate that looks like quiet.
#[tokio::test]
async fn writers_that_wait_for_each_other_are_released() {
    let slow = [
        ("fsync", "on"),
        // Short enough for a few of them within the time that is looked at, however slow this one is.
        ("commit_delay", "5000"),
        ("commit_siblings", "0"),
    ];
    let postgres = Postgres::start(Version::Installed, &slow).await;
    let db = leaked(postgres.database().await);
    let server = serve(db, |settings| {
        by_the_bell_alone(settings);
        settings.listener.busy_commits = 1_000_000;
    })
    .await;
    let mut reader = everybody(&server).await;
    until_it_rings(db, true).await;
    let load = Load::start(db, 8);
    until_it_rings(db, false).await;
    let written = load.end().await;
    marker(db, &["*"]).await;
    assert_eq!(reader.events_until("marker").await.len(), written);
}

/// Statements of no rows, or without events.
#[tokio::test]
async fn a_write_that_pushes_nothing_rings_for_nobody() {
    let db = lab().await;
    let server = serve(&db, by_the_bell_alone).await;
    let mut reader = everybody(&server).await;
    until_it_rings(&db, true).await;
    let heard = ear(&db).await;
    db.run("update lab.bookings set status = status where false; insert into rowcast.event (channel, name, rooms) select 'c', 'e', array['*'] where false")
        .await;
    marker(&db, &["*"]).await;
    within("the marker's ring", async {
        while heard.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    reader.expect_event("marker").await;
    assert_eq!(heard.load(Ordering::Relaxed), 1);
}

/// What `rowcast.attach` makes writes past the log's trigger, and asks for itself: one row and
/// many, queries with a join and without, inside the safety net and after it.
#[tokio::test]
async fn attached_tables_ring_by_themselves() {
    let db = database().await;
    db.run(
        "create table public.plain (n int); create table public.joined (n int);
         grant select on public.plain to rowcast_owner;
         select rowcast.attach('public.plain', 'insert',
           $$ select 'e' as name, array['*'] as rooms, null::json as data from new_rows n $$);
         select rowcast.attach('public.joined', 'insert',
           $$ select 'e' as name, array['*'] as rooms, null::json as data
              from new_rows n left join public.plain p using (n) $$)",
    )
    .await;
    let heard = ear(&db).await;
    let writer = db.client("postgres").await;
    let mut so_far = 0;
    for table in ["plain", "joined"] {
        for (before, rows) in [
            ("", 1),
            ("", 300),
            ("set local rowcast.guarded = 'xxxxxxxx';", 1),
        ] {
            // The first write of a session takes its time, and time decides how it goes on.
            for rings in [true, false, true, true, true] {
                let sql = format!(
                    "select setval('rowcast.doorbell', {}); begin; {before}
                     insert into public.{table} select generate_series(1, {rows}); commit",
                    u8::from(rings)
                );
                writer.batch_execute(&sql).await.unwrap();
                if rings {
                    so_far += 1;
                    eventually(&format!("a ring for {sql}"), async || {
                        (heard.load(Ordering::Relaxed) >= so_far).then_some(())
                    })
                    .await;
                }
            }
        }
    }
    // A ring too many would have come before this one, which is heard in order of commit.
    db.run("select setval('rowcast.doorbell', 1)").await;
    emit(&writer, 1).await;
    eventually("the last ring", async || {
        (heard.load(Ordering::Relaxed) > so_far).then_some(())
    })
    .await;
    assert_eq!(heard.load(Ordering::Relaxed), so_far + 1);
    // Nobody serves this database: of attached writes, too, every 256th asks after the log's bounds.
    for _ in 0..5 {
        let next = "select setval('rowcast.doorbell', 0), setval('rowcast.bound', 1),
             setval('rowcast.event_id_seq', nextval('rowcast.event_id_seq') | 255)";
        db.run(next).await;
        let write = "insert into public.plain values (1)";
        writer.batch_execute(write).await.unwrap();
        let asked = "select pg_sequence_last_value('rowcast.bound') > 4096";
        assert!(db.ask::<bool>(asked).await);
    }
}

//! A legacy write is sacred: what becomes of it and of its events when a trigger fails, when one
//! statement tells very much, and in the ways of writing that are easily forgotten.

mod full_disk;
mod replication;

use crate::support::{
    Database, Server, Subscriber, TRANSPORTS, Transport, Version, connect, eventually, marker,
    metric, on, on_every_version, serve, serve_process, token, within,
};
use serde_json::json;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// `open:*` is for everybody. An order concerns its user; its event divides by `n`.
const SETUP: &str = "
    create function public.anybody(claims jsonb, room text) returns boolean language sql
      as 'select true';
    insert into rowcast.room_rule values ('open:*', 'public.anybody(jsonb, text)');
    create table public.orders (id int primary key, user_id int, n int, text text);
    grant select, insert, update, delete, truncate on public.orders to lab_app;
    grant select on public.orders to rowcast_owner;
    create function public.label(n int) returns text stable language plpgsql
      as 'begin return public.inner_label(n); end';
    create function public.inner_label(n int) returns text language sql as 'select n::text'";

async fn database(version: Version) -> Database {
    let database = on(version).await.database().await;
    database.run(SETUP).await;
    database
}

/// A trigger that fails at each write wrote a line for each.
#[tokio::test]
async fn a_trigger_that_always_fails_fills_no_log() {
    const WRITES: u64 = 300;
    let database = database(Version::Installed).await;
    attach(&database, "json_build_object('part', 1 / n)", "").await;
    let mut program = serve_process(&database, &[]).await;
    let legacy = database.legacy().await;
    let began = Instant::now();
    for id in 0..WRITES {
        let insert = format!("insert into public.orders values ({id}, 1, 0)");
        legacy
            .batch_execute(&insert)
            .await
            .expect("it goes through");
    }
    eventually("each counts", async || {
        (metric(&program, "rowcast_failures_total").await as u64 == WRITES).then_some(())
    })
    .await;
    let most = began.elapsed().as_secs() + 2;
    program
        .log_line("the database lost events of this channel")
        .await;
    let told = program.log().matches("lost events of this channel").count() as u64;
    assert!(told <= most, "{told} lines");
}

/// Nobody has detached anything: what the systems make by hand in schemas of their own stays.
#[tokio::test]
async fn every_write_goes_through_after_schema_rowcast_was_dropped() {
    let lab = "
        insert into lab.waitlist (waitlist_id, user_id, slot_id) values (1, '1', 11), (2, '2', 11);
        update lab.waitlist set status = 'left' where waitlist_id = 1;
        delete from lab.waitlist;
        insert into lab.bookings (user_id, slot_id, lab_id) values ('1', 11, 1);
        update lab.bookings set status = 'cancelled'; delete from lab.bookings;
        truncate lab.waitlist";
    let clinic = "
        insert into clinic.queue (patient_id) values ('123'), ('3');
        update clinic.queue set status = 'called' where patient_id = '3';
        update clinic.settings set minutes_between_calls = 7; delete from clinic.settings;
        insert into clinic.settings default values;
        delete from clinic.queue; delete from clinic.sessions;
        truncate clinic.queue, clinic.settings, clinic.sessions";
    let boardroom = "
        insert into boardroom.bookings (boardroom_id, organizer_id, title, starts_at, ends_at)
          select boardroom_id, 'u1', 'Another', '2026-11-23 08:00Z', '2026-11-23 09:00Z'
          from boardroom.boardrooms limit 1;
        insert into boardroom.attendees (booking_id, user_id) select booking_id, 'u2'
          from boardroom.bookings where title = 'Another';
        update boardroom.bookings set title = title || '!'; delete from boardroom.attendees;
        delete from boardroom.bookings; delete from boardroom.sessions";
    let tickets = "
        insert into tickets.bookings (event_id, user_id) values (1, 9);
        update tickets.bookings set status = 'cancelled'; delete from tickets.bookings;
        update tickets.events set seat_capacity = 7; truncate tickets.events cascade";
    let spa = "
        insert into spa.http_sessions (session_id, user_id) values ('ann', 1);
        update spa.users set is_active = false; delete from spa.http_sessions;
        update spa.services set price = 1; delete from spa.therapist_services";
    for (system, sample, writes) in [
        ("lab", crate::lab::SAMPLE, lab),
        ("clinic", crate::clinic::SAMPLE, clinic),
        ("boardroom", crate::boardroom::SAMPLE, boardroom),
        ("tickets", crate::tickets::SAMPLE, tickets),
        ("spa", crate::spa::SAMPLE, spa),
    ] {
        for level in ["read committed", "serializable"] {
            let database = on(Version::Installed).await.system(system).await;
            database.run(sample).await;
            database.run("drop schema rowcast cascade").await;
            let legacy = database.client(&format!("{system}_app")).await;
            let level = format!("set default_transaction_isolation = '{level}'");
            legacy.batch_execute(&level).await.expect("a level");
            for write in writes.split(';') {
                let done = legacy.batch_execute(write).await;
                done.unwrap_or_else(|error| panic!("{system}, {level}: {write}: {error:?}"));
            }
        }
    }
}

/// Attaches to what is inserted into the orders; `data` is an expression, `more` further arguments.
async fn attach(database: &Database, data: &str, more: &str) {
    let query = format!(
        "select 'order' as name, array['open:' || user_id] as rooms, {data} as data from new_rows"
    );
    database
        .run(&format!(
            "select rowcast.attach('public.orders', 'insert', $q${query}$q${more})"
        ))
        .await;
}

const PLAIN: &str = "json_build_object('id', id)";

/// Somebody in `open:1`, `open:2` and `open:3` each, by each transport, welcomed.
async fn three(server: &Server, since: &str) -> Vec<(usize, Transport, Subscriber)> {
    let mut all = Vec::new();
    for transport in TRANSPORTS {
        for number in 1..=3 {
            let query = format!("rooms=open:{number}{since}");
            let mut somebody = connect(transport, server, &token("1", "", ""), &query).await;
            somebody.expect("welcome").await;
            all.push((number, transport, somebody));
        }
    }
    all
}

/// The legacy application, with what the server warns it of.
async fn warned(database: &Database) -> (Client, mpsc::UnboundedReceiver<DbError>) {
    let connected = tokio_postgres::connect(&database.legacy_url, NoTls).await;
    let (client, mut connection) = connected.expect("the database answers");
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut messages).await {
            if let AsyncMessage::Notice(notice) = message {
                let _ = sender.send(notice);
            }
        }
    });
    (client, receiver)
}

/// What may be wrong with an event: the expression of its data, what happens between attaching and
/// writing, the error, and whether the rooms can still be computed.
const FAILURES: [(&str, &str, &str, bool); 6] = [
    (
        "json_build_object('id', id, 'x', 10 / n)",
        "",
        "22012",
        true,
    ),
    (
        "to_json(case when n = 0 then repeat('x', 20000000) end)",
        "",
        "23514",
        true,
    ),
    (
        // What a function calls is known when it is called.
        "to_json(public.label(n))",
        "drop function public.inner_label(int)",
        "42883",
        true,
    ),
    (
        // The same, when two queries are united.
        "json_build_object('id', id, 'x', 10 / n) as data from new_rows union all \
         select 'order', array['open:' || user_id], to_json(1 / n)",
        "",
        "22012",
        true,
    ),
    (
        // Volatile, as functions are by default: PostgreSQL never leaves a call of one out.
        "to_json(public.label(n))",
        "alter function public.label volatile; drop function public.inner_label(int)",
        "42883",
        false,
    ),
    (
        // PostgreSQL does not even understand the query any more.
        "to_json(public.label(n))",
        "drop function public.label(int)",
        "42883",
        false,
    ),
];

/// A statement that concerns the users 1 and 2.
const FAILING: &str = "insert into public.orders values (1, 1, 5), (2, 2, 0)";

async fn a_loss_is_told_to_the_rooms_concerned_and_to_nobody_else(version: Version) {
    for (data, meanwhile, state, exact) in FAILURES {
        let database = database(version).await;
        attach(&database, data, "").await;
        let server = serve(&database, |_| ()).await;
        let before = database.bookmark().await;
        let all = three(&server, "").await;
        database.run(meanwhile).await;
        let (legacy, mut warnings) = warned(&database).await;
        let wrote = legacy.batch_execute(FAILING).await;
        wrote.unwrap_or_else(|error| panic!("{data}: {error:?}"));
        let warning = within("a warning", warnings.recv())
            .await
            .expect("connected");
        assert_eq!(
            warning.message(),
            format!(
                "rowcast: events of insert on public.orders are lost, the write itself went through: \
                 see rowcast.failure ({state})"
            )
        );
        let failure = "select concat_ws(' ', channel, relation, operation, sqlstate, count(*)) \
                       from rowcast.failure group by channel, relation, operation, sqlstate";
        assert_eq!(
            database.ask::<String>(failure).await,
            format!("orders public.orders insert {state} 1")
        );
        let orders = "select count(*) from public.orders";
        assert_eq!(database.ask::<i64>(orders).await, 2, "{data}");

        marker(&database, &["*"]).await;
        for (number, transport, mut somebody) in all {
            let what = format!("{transport:?} open:{number}: {data}");
            let frames = somebody.frames_until("marker").await;
            if exact && number == 3 {
                assert!(frames.is_empty(), "{what}: {frames:?}");
                continue;
            }
            assert_eq!(frames.len(), 1, "{what}: {frames:?}");
            let room = if exact {
                format!("open:{number}")
            } else {
                "*".into()
            };
            let gap = (
                &frames[0]["type"],
                &frames[0]["reason"],
                &frames[0]["rooms"],
            );
            assert_eq!(
                gap,
                (&json!("gap"), &json!("trigger"), &json!([room])),
                "{what}"
            );
        }
        // Who was away hears the same, whether it is read from memory or from the log.
        let other = serve(&database, |_| ()).await;
        for server in [&server, &other] {
            for (number, transport, mut somebody) in
                three(server, &format!("&since={before}")).await
            {
                let answer = somebody.expect("subscribed").await;
                let expected = if exact && number == 3 {
                    "recovered"
                } else {
                    "gap"
                };
                assert_eq!(
                    answer["outcome"], expected,
                    "{transport:?} {number}: {data}"
                );
            }
        }
        other.stop().await;
        server.stop().await;
    }
}

/// An error may quote a table that the query reads.
#[tokio::test]
async fn a_warning_tells_nothing_of_what_the_writer_may_not_read() {
    let database = database(Version::Installed).await;
    database
        .run("create table public.salary (note text); grant select on public.salary to rowcast_owner;
              insert into public.salary values ('90k for Bob')")
        .await;
    attach(
        &database,
        "(select to_json(s.note::int) from public.salary s)",
        "",
    )
    .await;
    let (legacy, mut warnings) = warned(&database).await;
    let wrote = legacy
        .batch_execute("insert into public.orders values (1)")
        .await;
    wrote.expect("sacred");
    let warning = within("a warning", warnings.recv())
        .await
        .expect("connected");
    assert!(!format!("{warning:?}").contains("90k"), "{warning:?}");
    let why = "select message from rowcast.failure";
    let why = database.ask::<String>(why).await;
    assert!(why.contains("90k for Bob"), "{why}");
}

/// Nobody can be told of what is no room; whoever is in the statement's other rooms is.
#[tokio::test]
async fn what_is_no_room_keeps_no_other_from_its_gap() {
    let database = database(Version::Installed).await;
    for nobodys in ["repeat('r', 70000)", "'a' || chr(7)", "null"] {
        let attach = format!(
            "select rowcast.attach('public.orders', 'insert', $$
               select 'order' as name, array['open:' || user_id, {nobodys}] as rooms, to_json(id) as data
               from new_rows $$)"
        );
        database.run(&attach).await;
        let legacy = database.legacy().await;
        let wrote = legacy.batch_execute("insert into public.orders values (1, 1)");
        wrote.await.expect("sacred");
        let gaps = "select string_agg(array_to_string(rooms, ' '), ', ') from rowcast.event
                    where name = 'rowcast:gap'";
        assert_eq!(database.ask::<String>(gaps).await, "open:1", "{nobodys}");
        let broken = "select count(*) from rowcast.history_break";
        assert_eq!(database.ask::<i64>(broken).await, 0, "{nobodys}");
        database
            .run("delete from rowcast.event; delete from public.orders")
            .await;
    }
}

/// A message that quotes a large value, at every write, while nobody serves who would look after it.
#[tokio::test]
async fn failures_stay_few_and_small_where_nobody_serves() {
    let database = database(Version::Installed).await;
    // What it was in, PostgreSQL quotes as well.
    let long = format!("to_json((text || '{}')::int)", "y".repeat(3000));
    attach(&database, &long, "").await;
    database
        .run("update rowcast.setting set keep_failures = 10")
        .await;
    let legacy = database.legacy().await;
    let fail = async |id: i32| {
        let insert = format!(
            "insert into public.orders (id, user_id, text) values ({id}, 1, repeat('x', 300000))"
        );
        legacy.batch_execute(&insert).await.expect("sacred");
    };
    for id in 0..30 {
        fail(id).await;
    }
    let longest = "select array[max(length(message)), max(length(context))] from rowcast.failure";
    assert_eq!(database.ask::<Vec<i32>>(longest).await, [2000, 2000]);
    // Another writer, who has not committed, has deleted some of them already.
    let mut other = database.client("postgres").await;
    let other = other.transaction().await.expect("a transaction");
    let deleted = "delete from rowcast.failure where id in (1, 2)";
    other.batch_execute(deleted).await.expect("they are there");
    let bound = "set lock_timeout = '3s'; select setval('rowcast.bound', 1)";
    database.run(bound).await;
    fail(30).await;
    other.rollback().await.expect("a rollback");
    // The youngest when this one was written, itself, and those of the other writer.
    let kept = "select count(*) from rowcast.failure";
    assert_eq!(database.ask::<i64>(kept).await, 12);
}

/// Functions that an earlier version made stay as they are until they are attached again.
async fn a_trigger_of_an_earlier_version_still_fails_gently(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create function public.earlier() returns trigger language plpgsql
               security definer set search_path = pg_catalog, pg_temp as $f$
               begin
                 perform rowcast.record_failure('orders', 'public.orders', 'insert', '22012', 'e', 'c');
                 return null;
               end $f$;
             alter function public.earlier() owner to rowcast_owner;
             create trigger earlier after insert on public.orders for each statement
               execute function public.earlier()",
        )
        .await;
    let wrote = database.legacy().await.batch_execute(FAILING).await;
    wrote.expect("sacred");
    let told = "select name || rooms::text || (select count(*) from rowcast.failure)
        from rowcast.event";
    assert_eq!(database.ask::<String>(told).await, "rowcast:gap{*}1");
}

/// Nor was it a write of the systems' that tell at commit, in either way.
#[tokio::test]
async fn a_log_that_cant_be_written_fails_no_write_of_the_systems() {
    let lab = "insert into lab.waitlist (waitlist_id, user_id, slot_id) values (1, '1', 11), (2, '2', 11)";
    let boardroom = "insert into boardroom.bookings
          (boardroom_id, organizer_id, title, starts_at, ends_at)
        values ('r1', 'u1', 'Another', '2026-11-23 08:00Z', '2026-11-23 09:00Z')";
    for (system, sample, write) in [
        ("lab", crate::lab::SAMPLE, lab),
        ("boardroom", crate::boardroom::SAMPLE, boardroom),
    ] {
        for level in ["read committed", "serializable"] {
            let database = on(Version::Installed).await.system(system).await;
            database.run(sample).await;
            let dba = database.client("postgres").await;
            let locked = "begin; lock table rowcast.event in access exclusive mode";
            dba.batch_execute(locked).await.expect("nobody else has it");
            let legacy = database.legacy().await;
            let write = format!(
                "set lock_timeout = '50ms'; begin isolation level {level}; {write}; commit"
            );
            let done = legacy.batch_execute(&write).await;
            done.unwrap_or_else(|error| panic!("{system}, {level}: {error:?}"));
            dba.batch_execute("rollback").await.expect("let go");
            // Nor is it a loss in silence.
            let noted = "select exists (select from rowcast.history_break)
                and exists (select from rowcast.failure)";
            assert!(database.ask::<bool>(noted).await, "{system}, {level}");
        }
    }
}

/// An error as the application gets it.
async fn refused(client: &Client, sql: &str) -> DbError {
    let refused = client.batch_execute(sql).await.expect_err(sql);
    let refused = refused.as_db_error();
    refused.unwrap_or_else(|| panic!("{sql}")).clone()
}

async fn a_strict_trigger_says_whose_error_it_is(version: Version) {
    for (data, meanwhile, state, _) in FAILURES {
        let database = database(version).await;
        attach(&database, data, ", 'strict'").await;
        database.run(meanwhile).await;
        let server = serve(&database, |_| ()).await;
        let all = three(&server, "").await;
        let legacy = database.legacy().await;
        let error = refused(&legacy, FAILING).await;
        assert_eq!(error.code().code(), state, "{data}: {error:?}");
        let detail = error.detail().unwrap_or_default();
        let words = "rowcast could not write the events of insert on public.orders, and its trigger is strict.";
        assert!(detail.contains(words), "{error:?}");
        assert!(
            detail.contains("rowcast.\"public.orders insert\""),
            "{error:?}"
        );
        assert_eq!(
            error
                .hint()
                .map(|hint| hint.lines().last().unwrap_or_default()),
            Some(
                "Attached as lossy it lets the write go; rowcast.detach('public.orders', 'insert') \
                 takes the trigger away."
            ),
            "{error:?}"
        );
        let left =
            "select (select count(*) from public.orders) + (select count(*) from rowcast.event)
            + (select count(*) from rowcast.failure)";
        assert_eq!(database.ask::<i64>(left).await, 0, "{data}");
        marker(&database, &["*"]).await;
        for (_, _, mut somebody) in all {
            let frames = somebody.frames_until("marker").await;
            assert!(frames.is_empty(), "{frames:?}");
        }
        server.stop().await;
    }
    // The query's own detail and hint stay, and late in a transaction it is the same.
    let database = database(version).await;
    database
        .run(
            "create function public.complain(n int) returns text language plpgsql as $f$ begin
               if n = 0 then raise exception using errcode = 'ZZ001', message = 'no', detail = 'none',
                 hint = 'some'; end if; return ''; end $f$",
        )
        .await;
    attach(&database, "to_json(public.complain(n))", ", 'strict'").await;
    let legacy = database.legacy().await;
    let many = "begin; do $$ begin perform pg_sleep(0.001);
        for i in 1..20 loop insert into public.orders values (i, 1, 1); end loop;
      end $$";
    legacy.batch_execute(many).await.expect("it may");
    let error = refused(&legacy, "insert into public.orders values (30, 1, 0)").await;
    let (code, detail, hint) = (error.code().code(), error.detail(), error.hint());
    assert_eq!((code, error.message()), ("ZZ001", "no"));
    let starts = |text: Option<&str>, with: &str| text.is_some_and(|text| text.starts_with(with));
    assert!(starts(detail, "none\nrowcast could not write"), "{error:?}");
    assert!(starts(hint, "some\nAttached as lossy"), "{error:?}");
}

/// Each safety net round a write costs a subtransaction with an xid of its own.
async fn ten_thousand_statements_in_one_transaction(version: Version) {
    let database = database(version).await;
    attach(&database, "json_build_object('id', id, 'x', 10 / n)", "").await;
    let wide = |settings: &mut rowcast::config::Settings| settings.limits.queue_bytes = 64 << 20;
    let server = serve(&database, wide).await;
    let before = database.bookmark().await;
    let mut somebody = connect(
        Transport::WebSocket,
        &server,
        &token("1", "", ""),
        "rooms=open:1",
    )
    .await;
    somebody.expect("welcome").await;
    let legacy = database.legacy().await;
    let statements = "do $$ begin
        for i in 1..10000 loop insert into public.orders values (i, 1, 1); end loop;
      end $$";
    legacy.batch_execute(statements).await.expect("it may");
    marker(&database, &["*"]).await;
    let told = somebody.events_until("marker").await;
    let told: Vec<_> = told
        .iter()
        .filter_map(|event| event["data"]["id"].as_i64())
        .collect();
    assert!(
        told.iter().copied().eq(1..=10_000),
        "each, in order: {}",
        told.len()
    );
    let subtransactions =
        "select count(distinct xmin::text) - 1 from rowcast.event where name = 'order'";
    assert_eq!(database.ask::<i64>(subtransactions).await, 8);

    // The failing ones cost no more of them, and each is told.
    let failing = statements
        .replace("1..10000", "20001..20100")
        .replace("1, 1)", "2, 0)");
    legacy.batch_execute(&failing).await.expect("it may");
    let failures = "select count(*), count(distinct xmin::text) from rowcast.failure";
    let row = database.superuser().await.query_one(failures, &[]).await;
    let row = row.expect("failures");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (100, 9));
    let outcomes = format!(
        "select string_agg(distinct outcome || coalesce(' ' || reason, ''), ', ') \
         from rowcast.events_since('{before}', array['open:2'])"
    );
    assert_eq!(database.ask::<String>(&outcomes).await, "gap trigger");

    // Once rolled back, savepoints have spent nothing.
    let savepoints = "begin; savepoint s; delete from public.orders;
        insert into public.orders values (1, 3, 1); rollback to s;";
    legacy
        .batch_execute(&format!(
            "{savepoints} insert into public.orders values (30001, 3, 1); commit"
        ))
        .await
        .expect("it may");
    let third = "select count(*) from rowcast.event where rooms = '{open:3}'";
    assert_eq!(database.ask::<i64>(third).await, 1);
    server.stop().await;
}

/// The plan of a statement in a trigger is kept for the session. Made for one row, it joined 20,000
/// old and new ones by a nested loop: 33 seconds instead of 0.2.
async fn a_bulk_update_after_a_single_one_is_planned_anew(version: Version) {
    let database = database(version).await;
    database
        .run(
            "select rowcast.attach('public.orders', 'update', $q$ select 'order' as name,
               array['open:' || n.user_id] as rooms, json_build_object('id', id) as data
               from new_rows n join old_rows o using (id) where n.n <> o.n $q$,
               p_reset_above => null);
             insert into public.orders select g, 1, 1 from generate_series(1, 20000) g",
        )
        .await;
    let legacy = database.legacy().await;
    for sql in [
        "update public.orders set n = 2 where id = 1",
        "set statement_timeout = '10s'",
        "update public.orders set n = n + 1",
        // The same without the safety net.
        "begin",
        "do $$ begin perform pg_sleep(0.001);
           for i in 1..10 loop update public.orders set n = i where id = i; end loop; end $$",
        "update public.orders set n = n + 1",
        "commit",
    ] {
        let done = legacy.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let failures = "select count(*) from rowcast.failure";
    assert_eq!(database.ask::<i64>(failures).await, 0);
    let events = "select count(*) from rowcast.event";
    assert_eq!(database.ask::<i64>(events).await, 40_010);
}

/// Of more events than are told one by one only as many were computed; the rest may fail, and that is why
/// there is a gap.
async fn what_fails_above_the_number_is_named(version: Version) {
    let database = database(version).await;
    let query = "select 'e' as name, array['open:' || 6 / (3 - n.id)] as rooms, '{}'::json as data
        from new_rows n";
    let attached = format!(
        "select rowcast.attach('public.orders', 'insert', $${query}$$, p_reset_above => 1)"
    );
    database.run(&attached).await;
    let insert = "insert into public.orders select g, 1 from generate_series(1, 3) g";
    database
        .legacy()
        .await
        .batch_execute(insert)
        .await
        .expect("it may");
    let state = "select string_agg(sqlstate, ' ') from rowcast.failure";
    assert_eq!(database.ask::<String>(state).await, "22012");
}

async fn above_a_number_of_events_one_reset_goes_to_each_room(version: Version) {
    let database = database(version).await;
    attach(&database, PLAIN, ", p_reset_above => 5").await;
    let server = serve(&database, |_| ()).await;
    let legacy = database.legacy().await;
    let rows = |from: i32, to: i32| {
        format!(
            "insert into public.orders select g, 1 + g % 2 from generate_series({from}, {to}) g"
        )
    };
    let reset = json!({ "table": "public.orders", "operation": "insert" });
    let before = database.bookmark().await;
    let mut all = three(&server, "").await;
    // At the threshold, above it, and above it where the safety net is spent and where a bulk
    // statement has a plan of its own.
    // What is written in a transaction's first half millisecond spends nothing.
    let spend = "do $$ begin perform pg_sleep(0.001); \
                 for i in 1..8 loop insert into public.orders values (1000 + i, 4); end loop; end $$";
    for (sql, events) in [
        (rows(1, 5), [2, 3, 0]),
        (rows(11, 16), [-1, -1, 0]),
        (rows(101, 300), [-1, -1, 0]),
        (
            format!("begin; {spend}; {}; commit", rows(21, 26)),
            [-1, -1, 0],
        ),
        (
            format!(
                "begin; {}; {}; commit",
                spend.replace("1000", "2000"),
                rows(401, 600)
            ),
            [-1, -1, 0],
        ),
    ] {
        legacy.batch_execute(&sql).await.expect("it may");
        marker(&database, &["*"]).await;
        for (number, transport, somebody) in &mut all {
            let frames = somebody.frames_until("marker").await;
            let what = format!("{transport:?} open:{number}: {sql}: {frames:?}");
            match events[*number - 1] {
                -1 => {
                    assert_eq!(frames.len(), 1, "{what}");
                    assert_eq!(
                        (&frames[0]["name"], &frames[0]["data"]),
                        (&json!("reset"), &reset),
                        "{what}"
                    );
                    if *transport == Transport::WebSocket {
                        assert_eq!(frames[0]["channel"], "orders", "{what}");
                    }
                }
                count => {
                    assert_eq!(Ok(frames.len()), usize::try_from(count), "{what}");
                    assert!(
                        frames.iter().all(|frame| frame["name"] == "order"),
                        "{what}"
                    );
                }
            }
        }
    }
    // What was computed and thrown away is not in the log, and whoever comes back is told the same.
    let rows_of_log = "select string_agg(name || ' ' || count, ', ' order by name) from
        (select name, count(*) from rowcast.event where name <> 'marker' and rooms <> '{open:4}'
         group by name) e";
    assert_eq!(
        database.ask::<String>(rows_of_log).await,
        "order 5, reset 4"
    );
    let mut back = three(&server, &format!("&since={before}")).await;
    let answer = back[0].2.expect("subscribed").await;
    assert_eq!(
        (&answer["outcome"], &answer["count"]),
        (&json!("recovered"), &json!(2 + 4 + 5))
    );

    // Attached again with another number, or none; strict ones do the same.
    for (more, threshold, told) in [
        (", p_reset_above => null", None, "order 6"),
        (", 'strict', 0", Some(0), "reset 1"),
        (", 'strict'", Some(10_000), "order 6"),
    ] {
        attach(&database, PLAIN, more).await;
        let known = "select reset_above from rowcast.attachment";
        assert_eq!(database.ask::<Option<i32>>(known).await, threshold);
        database
            .run("delete from public.orders; delete from rowcast.event")
            .await;
        legacy.batch_execute(&rows(1, 6)).await.expect("it may");
        assert_eq!(database.ask::<String>(rows_of_log).await, told, "{more}");
    }
    let refused = database
        .superuser()
        .await
        .batch_execute("select rowcast.attach('public.orders', 'insert', 'select', 'lossy', -1)")
        .await
        .expect_err("a number of events");
    assert_eq!(refused.code().map(|code| code.code()), Some("RC003"));
    server.stop().await;
}

async fn a_hundred_thousand_rows_in_one_statement(version: Version) {
    let database = database(version).await;
    let insert =
        "insert into public.orders select g, g % 50000, g from generate_series(1, 100000) g";
    // As it is by default: few rows with many rooms, each room once.
    attach(&database, PLAIN, "").await;
    let legacy = database.legacy().await;
    legacy.batch_execute(insert).await.expect("it may");
    let told =
        "select concat_ws(' ', count(distinct e.id) between 10 and 40, min(e.name), max(e.name),
          count(*), count(distinct r))
        from rowcast.event e cross join unnest(e.rooms) r";
    assert_eq!(
        database.ask::<String>(told).await,
        "t reset reset 50000 50000"
    );
    // Events are counted, not rows.
    database
        .run(
            "select rowcast.attach('public.orders', 'update', $q$ select 'order' as name,
               array['open:' || n.user_id] as rooms, json_build_object('id', id) as data
               from new_rows n join old_rows o using (id) where n.n < 2 $q$);
             delete from rowcast.event",
        )
        .await;
    let update = "update public.orders set n = n - 1";
    legacy.batch_execute(update).await.expect("it may");
    let events =
        "select string_agg(name || ' ' || (data ->> 'id'), ', ' order by id) from rowcast.event";
    assert_eq!(database.ask::<String>(events).await, "order 1, order 2");
    // Without a bound, all of them.
    database
        .run("delete from public.orders; delete from rowcast.event")
        .await;
    attach(&database, PLAIN, ", p_reset_above => null").await;
    legacy.batch_execute(insert).await.expect("it may");
    let all = "select concat_ws(' ', count(*), count(distinct data ->> 'id'), min(name), max(name))
        from rowcast.event";
    assert_eq!(
        database.ask::<String>(all).await,
        "100000 100000 order order"
    );
}

async fn the_forgotten_ways_of_writing(version: Version) {
    let database = database(version).await;
    attach(&database, PLAIN, "").await;
    database
        .run(
            "select rowcast.attach('public.orders', 'truncate', $q$ select 'emptied' as name,
               array['open:1'] as rooms, json_build_object('id', 0) as data $q$);
             create table public.audit (id int);
             grant insert on public.audit to lab_app;
             select rowcast.attach('public.audit', 'insert', $q$ select 'audited' as name,
               array['open:1'] as rooms, json_build_object('id', id) as data from new_rows $q$);
             create function public.audited() returns trigger language plpgsql as $f$ begin
               insert into public.audit values (new.id); return null; end $f$;
             create constraint trigger audited after insert on public.orders
               deferrable initially deferred for each row when (new.n = 7)
               execute function public.audited()",
        )
        .await;
    for (sql, told) in [
        // One statement of many rows, and one that freezes them.
        (
            "copy public.orders from program $$seq -f '%g 1 1 x' 1 5000$$ (delimiter ' ')",
            "5000 events from 1 to 5000",
        ),
        (
            "begin; truncate public.orders;
             copy public.orders from program $$seq -f '%g 1 1 x' 1 5000$$ (delimiter ' ', freeze); commit",
            "5001 events from 0 to 5000",
        ),
        // Told when it is committed, after what was told before.
        (
            "begin; insert into public.orders values (6001, 1, 7); insert into public.orders values \
             (6002, 1, 1); commit",
            "6001, 6002, 6001",
        ),
        (
            "begin; insert into public.orders values (6003, 1, 7); set constraints all immediate; \
             insert into public.orders values (6004, 1, 1); commit",
            "6003, 6003, 6004",
        ),
        // Ordinary triggers do not fire for whoever says it is a replica.
        (
            "begin; set local session_replication_role = replica; \
             insert into public.orders values (7001, 1, 1); commit",
            "",
        ),
        (
            "alter table public.orders enable always trigger _900_rowcast_insert; \
             begin; set local session_replication_role = replica; \
             insert into public.orders values (7002, 1, 1); commit",
            "7002",
        ),
        ("insert into public.orders values (7003, 1, 1)", "7003"),
    ] {
        database.run("delete from rowcast.event").await;
        database.run(sql).await;
        let events = "select case when count(*) < 10
              then coalesce(string_agg(data ->> 'id', ', ' order by id), '')
              else format('%s events from %s to %s', count(*),
                (array_agg(data ->> 'id' order by id))[1],
                (array_agg(data ->> 'id' order by id desc))[1]) end
            from rowcast.event";
        assert_eq!(database.ask::<String>(events).await, told, "{sql}");
    }
    let state = "select state from rowcast.attachment where relation = 'public.orders'::regclass
        and operation = 'insert'";
    assert_eq!(database.ask::<String>(state).await, "ok");
    database
        .run("alter table public.orders enable replica trigger _900_rowcast_insert")
        .await;
    assert_eq!(database.ask::<String>(state).await, "disabled");
}

/// PostgreSQL fires a statement's trigger behind those of its rows: what these write is told first, and
/// only a query that reads the table tells the truth last.
async fn a_row_that_a_trigger_of_the_applications_writes_again(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create function public.numbered() returns trigger language plpgsql as $f$ begin
               update public.orders set n = 10 * new.id where id = new.id; return null; end $f$;
             create trigger numbered after insert on public.orders
               for each row execute function public.numbered();
             select rowcast.attach('public.orders', 'update', $q$ select 'changed' as name,
               array['open:1'] as rooms, json_build_object('n', n.n) as data from new_rows n $q$)",
        )
        .await;
    for (from, told) in [
        ("new_rows s", "changed 10, order 1"),
        (
            "new_rows n join public.orders s using (id)",
            "changed 10, order 10",
        ),
    ] {
        let attach = format!(
            "delete from rowcast.event; delete from public.orders;
             select rowcast.attach('public.orders', 'insert', $q$ select 'order' as name,
               array['open:1'] as rooms, json_build_object('n', s.n) as data from {from} $q$);
             insert into public.orders values (1, 1, 1)"
        );
        database.run(&attach).await;
        let events = "select string_agg(name || ' ' || (data ->> 'n'), ', ' order by id)
            from rowcast.event";
        assert_eq!(database.ask::<String>(events).await, told, "{from}");
    }
}

on_every_version! {
    a_loss_is_told_to_the_rooms_concerned_and_to_nobody_else
    a_trigger_of_an_earlier_version_still_fails_gently
    a_strict_trigger_says_whose_error_it_is
    ten_thousand_statements_in_one_transaction
    a_bulk_update_after_a_single_one_is_planned_anew
    what_fails_above_the_number_is_named
    above_a_number_of_events_one_reset_goes_to_each_room
    a_hundred_thousand_rows_in_one_statement
    the_forgotten_ways_of_writing
    a_row_that_a_trigger_of_the_applications_writes_again
}

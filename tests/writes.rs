//! All the ways SQL has to write, on every PostgreSQL: the exact events at exactly their rooms, none
//! missing and none more, which a marker after each proves. Between the events of one statement no
//! order is promised, except that of each row's, so none is asked for.

use crate::lab::{EVERYBODY, Lab, Told, at, slot};
use crate::support::{Database, Version, marker, on, on_every_version, serve, token, ws};
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// Bookings 1 and 2 of slot 11, which is full with them; one payment.
const BOOKED: &str = "
    insert into lab.bookings (booking_id, user_id, slot_id, lab_id) values
      (1, '1', 11, 1), (2, '2', 11, 1);
    insert into lab.payments (payment_id, booking_id, user_id, amount) values (61, 1, '1', 5);";

/// The rooms of a booking.
fn rooms(user: &str, lab: u32) -> &'static [&'static str] {
    match (user, lab) {
        ("1", 1) => &["user:1", "lab:1", "admin:all"],
        ("2", 1) => &["user:2", "lab:1", "admin:all"],
        ("3", 1) => &["user:3", "lab:1", "admin:all"],
        ("3", 2) => &["user:3", "lab:2", "admin:all"],
        _ => panic!("rooms of user {user} in lab {lab}"),
    }
}

fn created(booking: u32, user: &str, (slot, lab): (u32, u32), status: &str) -> Told<'static> {
    let data = json!({ "bookingId": booking, "userId": user, "slotId": slot, "labId": lab,
        "status": status });
    ("booking:created", "bookings", rooms(user, lab), data)
}

fn cancelled(booking: u32, user: &str, (slot, lab): (u32, u32)) -> Told<'static> {
    let data = json!({ "bookingId": booking, "userId": user, "slotId": slot, "labId": lab });
    ("booking:cancelled", "bookings", rooms(user, lab), data)
}

fn updated(booking: u32, user: &str, status: &str) -> Told<'static> {
    let data = json!({ "bookingId": booking, "userId": user, "status": status,
        "updatedBy": "lab_app" });
    let rooms: &[&str] = match user {
        "1" => &["user:1", "admin:all"],
        "2" => &["user:2", "admin:all"],
        _ => panic!("rooms of user {user}"),
    };
    ("booking:updated", "bookings", rooms, data)
}

fn state(number: u32, lab: u32, status: &str, spots: u32) -> Told<'static> {
    let room: &[&str] = if lab == 1 { &["lab:1"] } else { &["lab:2"] };
    (
        "time-slot:updated",
        "slots",
        room,
        slot(number, lab, status, spots),
    )
}

/// Exactly these events have come to exactly their rooms, in any order.
async fn told(lab: &mut Lab, what: &str, expected: &[Told<'_>]) {
    for (room, heard) in lab.stage.heard().await {
        let mut heard: Vec<String> = heard
            .iter()
            .map(|event| format!("{} {} {}", event["channel"], event["name"], event["data"]))
            .collect();
        let mut wanted: Vec<String> = at(room, expected)
            .map(|(name, channel, _, data)| format!("{:?} {:?} {data}", channel, name))
            .collect();
        heard.sort();
        wanted.sort();
        if heard.len() > 100 {
            assert!(
                heard == wanted,
                "{what}: {room} heard {} events",
                heard.len()
            );
        }
        assert_eq!(heard, wanted, "at {room}\n{what}");
    }
}

async fn tells(lab: &mut Lab, sql: &str, expected: &[Told<'_>]) {
    lab.stage.writes(sql).await;
    told(lab, sql, expected).await;
}

async fn bulk_statements(version: Version) {
    let mut lab = Lab::open(version, BOOKED).await;
    tells(
        &mut lab,
        "insert into lab.bookings (booking_id, user_id, slot_id, lab_id, status) values
           (3, '3', 12, 1, 'confirmed'), (4, '3', 21, 2, 'pending'), (5, '1', 21, 2, 'cancelled')",
        &[
            created(3, "3", (12, 1), "confirmed"),
            created(4, "3", (21, 2), "pending"),
            (
                "booking:created",
                "bookings",
                &["user:1", "lab:2", "admin:all"],
                json!({ "bookingId": 5, "userId": "1", "slotId": 21, "labId": 2,
                    "status": "cancelled" }),
            ),
            state(12, 1, "full", 0),
            state(21, 2, "full", 0),
        ],
    )
    .await;
    // One is confirmed, one cancelled, one stays what it is.
    tells(
        &mut lab,
        "update lab.bookings
         set status = case booking_id when 2 then 'cancelled' else 'confirmed' end
         where booking_id <= 3",
        &[
            updated(1, "1", "confirmed"),
            cancelled(2, "2", (11, 1)),
            state(11, 1, "open", 1),
        ],
    )
    .await;
    // Of the cancelled ones nobody is told again.
    tells(
        &mut lab,
        "delete from lab.bookings",
        &[
            cancelled(1, "1", (11, 1)),
            cancelled(3, "3", (12, 1)),
            cancelled(4, "3", (21, 2)),
            state(11, 1, "open", 2),
            state(12, 1, "open", 1),
            state(21, 2, "open", 1),
        ],
    )
    .await;
    lab.stage.close().await;
}

async fn an_update_that_changes_nothing(version: Version) {
    let more = format!(
        "{BOOKED} insert into lab.waitlist (user_id, slot_id) values ('2', 11), ('3', 11);
         update lab.payments set status = 'completed'"
    );
    let mut lab = Lab::open(version, &more).await;
    for sql in [
        "update lab.bookings set status = status, note = 'changed, but in no payload'",
        "update lab.bookings set booking_id = booking_id, slot_id = slot_id",
        "update lab.slots set capacity = capacity, ends_at = ends_at + '1 min'",
        "update lab.labs set status = status, name = name || '!'",
        "update lab.waitlist set status = status, joined_at = joined_at",
        "update lab.payments set status = status, amount = 6",
        "update lab.notifications set read = true",
        "update lab.bookings set status = 'confirmed' where false",
        "delete from lab.bookings where false",
        "insert into lab.bookings (user_id, slot_id, lab_id) select '1', 11, 1 where false",
    ] {
        tells(&mut lab, sql, &[]).await;
    }
    lab.stage.close().await;
}

/// A query that counts has an answer for no rows, too: it is not asked.
async fn no_rows_are_nothing_to_tell_of(version: Version) {
    let database = on(version).await.database().await;
    database
        .run(
            "create table public.note (id int);
             select rowcast.attach('public.note', 'insert', $$
               select 'e' as name, array['*'] as rooms, json_build_object('n', count(*)) as data
               from new_rows $$)",
        )
        .await;
    let none = "insert into public.note select 1 where false;";
    let one = "insert into public.note values (1);";
    // By itself, and in a transaction whose first statements have used up the safety net.
    for (sql, events) in [
        (none.to_owned(), 0),
        (format!("begin; {} {none} commit", one.repeat(20)), 20),
    ] {
        database.run(&sql).await;
        let written = "select count(*) from rowcast.event";
        assert_eq!(database.ask::<i64>(written).await, events, "{sql}");
    }
}

async fn upserts(version: Version) {
    let mut lab = Lab::open(version, BOOKED).await;
    tells(
        &mut lab,
        "insert into lab.bookings (booking_id, user_id, slot_id, lab_id) values
           (1, '1', 11, 1), (3, '3', 12, 1)
         on conflict (booking_id) do update set status = 'confirmed'",
        &[
            updated(1, "1", "confirmed"),
            created(3, "3", (12, 1), "pending"),
            state(12, 1, "full", 0),
        ],
    )
    .await;
    let excluded = "insert into lab.bookings (booking_id, user_id, slot_id, lab_id)
         values (1, '1', 11, 1)
         on conflict (booking_id) do update set status = 'cancelled' where bookings.user_id = '2'";
    tells(&mut lab, excluded, &[]).await;
    tells(
        &mut lab,
        "insert into lab.bookings (booking_id, user_id, slot_id, lab_id) values
           (1, '1', 11, 1), (4, '3', 21, 2)
         on conflict do nothing",
        &[created(4, "3", (21, 2), "pending"), state(21, 2, "full", 0)],
    )
    .await;
    lab.stage.close().await;
}

async fn copy(version: Version) {
    let mut lab = Lab::open(version, "").await;
    let from =
        "copy lab.bookings (booking_id, user_id, slot_id, lab_id, status) from stdin (format csv)";
    let sink = lab.stage.legacy.copy_in(from).await.expect("copy begins");
    let mut sink = std::pin::pin!(sink);
    let rows = Bytes::from_static(b"1,1,11,1,pending\n2,2,11,1,confirmed\n4,3,21,2,pending\n");
    sink.send(rows).await.expect("rows");
    let copied = sink.as_mut().finish().await.expect("copy ends");
    assert_eq!(copied, 3);
    told(
        &mut lab,
        from,
        &[
            created(1, "1", (11, 1), "pending"),
            created(2, "2", (11, 1), "confirmed"),
            created(4, "3", (21, 2), "pending"),
            state(11, 1, "full", 0),
            state(21, 2, "full", 0),
        ],
    )
    .await;
    lab.stage.close().await;
}

async fn merge(version: Version) {
    let mut lab = Lab::open(version, BOOKED).await;
    // PostgreSQL 14 has none.
    if lab.stage.database.version < 15 {
        return lab.stage.close().await;
    }
    tells(
        &mut lab,
        "merge into lab.bookings b
         using (values (1, 'confirmed'), (2, 'cancelled'), (3, 'pending')) v (id, status)
         on b.booking_id = v.id
         when matched and v.status = 'cancelled' then delete
         when matched then update set status = v.status
         when not matched then insert (booking_id, user_id, slot_id, lab_id, status)
           values (v.id, '3', 12, 1, v.status)",
        &[
            updated(1, "1", "confirmed"),
            cancelled(2, "2", (11, 1)),
            created(3, "3", (12, 1), "pending"),
            state(11, 1, "open", 1),
            state(12, 1, "full", 0),
        ],
    )
    .await;
    tells(
        &mut lab,
        "merge into lab.bookings b using (values (1), (9)) v (id) on b.booking_id = v.id
         when not matched then do nothing when matched then do nothing",
        &[],
    )
    .await;
    lab.stage.close().await;
}

async fn truncate(version: Version) {
    let mut lab = Lab::open(version, BOOKED).await;
    let reset = |table: &'static str| {
        let data = json!({ "table": format!("lab.{table}") });
        ("reset", table, EVERYBODY, data)
    };
    let both = "truncate lab.bookings, lab.payments";
    tells(&mut lab, both, &[reset("bookings"), reset("payments")]).await;
    let all = ["labs", "slots", "bookings", "waitlist", "payments"].map(reset);
    tells(&mut lab, "truncate lab.labs cascade", &all).await;
    lab.stage.close().await;
}

/// PostgreSQL fires for each partition that it empties: one of these tells of all, quick or with somebody
/// to wake, within the safety net or past it.
async fn a_truncated_parent_is_told_once(version: Version) {
    let database = on(version).await.database().await;
    database
        .run(
            "create table public.note (id int);
             create table public.parent (id int) partition by list (id);
             create table public.one partition of public.parent for values in (1);
             create table public.two partition of public.parent for values in (2);
             select rowcast.attach('public.note', 'insert', $$
               select 'note' as name, array['*'] as rooms, '{}'::json as data from new_rows $$);
             select rowcast.attach('public.parent', 'truncate', $$
               select 'emptied' as name, array['*'] as rooms, '{}'::json as data $$)",
        )
        .await;
    let notes = "insert into public.note values (1);".repeat(20);
    for rings in [0, 1] {
        for before in ["", &notes] {
            database
                .run(&format!(
                    "delete from rowcast.event; select setval('rowcast.doorbell', {rings});
                     begin; {before} truncate public.parent; commit"
                ))
                .await;
            let told = "select count(*) from rowcast.event where name = 'emptied'";
            let told: i64 = database.ask(told).await;
            assert_eq!(told, 1, "{rings} {before:.6}");
        }
    }
}

async fn changed_primary_keys(version: Version) {
    let mut lab = Lab::open(version, BOOKED).await;
    // The slot has as many spots as before: nothing is told of it.
    tells(
        &mut lab,
        "update lab.bookings set booking_id = 7 where booking_id = 1",
        &[
            cancelled(1, "1", (11, 1)),
            created(7, "1", (11, 1), "pending"),
        ],
    )
    .await;
    // Two numbers that change places: each is the other's now.
    tells(
        &mut lab,
        "update lab.bookings set user_id = case user_id when '1' then '2' else '1' end",
        &[
            cancelled(7, "1", (11, 1)),
            cancelled(2, "2", (11, 1)),
            created(7, "2", (11, 1), "pending"),
            created(2, "1", (11, 1), "pending"),
        ],
    )
    .await;
    // Down to the bookings by a cascade.
    tells(
        &mut lab,
        "update lab.slots set slot_id = 13 where slot_id = 11",
        &[
            cancelled(7, "2", (11, 1)),
            cancelled(2, "1", (11, 1)),
            created(7, "2", (13, 1), "pending"),
            created(2, "1", (13, 1), "pending"),
            state(11, 1, "closed", 0),
            state(13, 1, "full", 0),
        ],
    )
    .await;
    tells(
        &mut lab,
        "update lab.labs set lab_id = 5 where lab_id = 2",
        &[
            (
                "lab:status-changed",
                "labs",
                &["lab:5", "admin:org:2"],
                json!({ "labId": 5, "status": "open", "reason": null }),
            ),
            state(21, 2, "closed", 0),
        ],
    )
    .await;
    lab.stage.close().await;
}

async fn deletions_cascade(version: Version) {
    let more = format!(
        "{BOOKED} insert into lab.bookings (booking_id, user_id, slot_id, lab_id) values
           (3, '3', 12, 1), (4, '3', 21, 2);
         insert into lab.waitlist (user_id, slot_id) values ('2', 12), ('3', 12)"
    );
    let mut lab = Lab::open(version, &more).await;
    // Who waits for a slot that is gone is offered nothing, and moves nowhere.
    tells(
        &mut lab,
        "delete from lab.slots where slot_id = 12",
        &[cancelled(3, "3", (12, 1)), state(12, 1, "closed", 0)],
    )
    .await;
    tells(
        &mut lab,
        "delete from lab.labs where lab_id in (1, 2)",
        &[
            cancelled(1, "1", (11, 1)),
            cancelled(2, "2", (11, 1)),
            cancelled(4, "3", (21, 2)),
            state(11, 1, "closed", 0),
            state(21, 2, "closed", 0),
        ],
    )
    .await;
    lab.stage.close().await;
}

async fn a_booking_moves_to_another_slot(version: Version) {
    let more = format!(
        "{BOOKED} insert into lab.waitlist (waitlist_id, user_id, slot_id) values (31, '3', 11)"
    );
    let mut lab = Lab::open(version, &more).await;
    let offered = json!({ "waitlistId": 31, "userId": "3", "slotId": 11, "labId": 1 });
    tells(
        &mut lab,
        "update lab.bookings set slot_id = 12, status = 'confirmed' where booking_id = 1",
        &[
            cancelled(1, "1", (11, 1)),
            created(1, "1", (12, 1), "confirmed"),
            state(11, 1, "open", 1),
            state(12, 1, "full", 0),
            ("waitlist:spot-available", "waitlist", &["user:3"], offered),
        ],
    )
    .await;
    // To the other lab, of which lab 1 hears the end and lab 2 the beginning.
    tells(
        &mut lab,
        "update lab.bookings set slot_id = 21, lab_id = 2, user_id = '3' where booking_id = 1",
        &[
            cancelled(1, "1", (12, 1)),
            created(1, "3", (21, 2), "confirmed"),
            state(12, 1, "open", 1),
            state(21, 2, "full", 0),
        ],
    )
    .await;
    lab.stage.close().await;
}

/// As many as the default of `reset_above` lets through, with some room for the state events.
async fn nine_thousand_rows_in_one_statement(version: Version) {
    let more = "update lab.slots set capacity = 20000 where slot_id = 11";
    let mut lab = Lab::open(version, more).await;
    let mut all: Vec<Told> = (1..=9_000)
        .map(|booking| {
            let data = json!({ "bookingId": booking, "userId": "50", "slotId": 11, "labId": 1,
                "status": "pending" });
            (
                "booking:created",
                "bookings",
                &["lab:1", "admin:all"][..],
                data,
            )
        })
        .collect();
    all.push(state(11, 1, "open", 11_000));
    let insert = "insert into lab.bookings (booking_id, user_id, slot_id, lab_id)
         select n, '50', 11, 1 from generate_series(1, 9000) n";
    tells(&mut lab, insert, &all).await;
    let mut all: Vec<Told> = (1..=9_000)
        .map(|booking| {
            let data = json!({ "bookingId": booking, "userId": "50", "status": "confirmed",
                "updatedBy": "lab_app" });
            ("booking:updated", "bookings", &["admin:all"][..], data)
        })
        .collect();
    tells(
        &mut lab,
        "update lab.bookings set status = 'confirmed'",
        &all,
    )
    .await;
    all.clear();
    let touch = "update lab.bookings set status = status, note = 'touched'";
    tells(&mut lab, touch, &all).await;
    lab.stage.close().await;
}

/// A partitioned table with a partition of partitions, and a parent with a child; what is written
/// to them is told with the operation and the number.
const FAMILIES: &str = "
    create table public.part (id int, k int, primary key (id, k)) partition by list (k);
    create table public.part_1 partition of public.part for values in (1);
    create table public.part_2 partition of public.part for values in (2) partition by list (k);
    create table public.part_2_2 partition of public.part_2 for values in (2);
    create table public.parent (id int primary key);
    create table public.child (more text, primary key (id)) inherits (public.parent);
    grant select on public.part, public.parent to rowcast_owner;
    create function public.anybody(claims jsonb, room text) returns boolean language sql
      as 'select true';
    insert into rowcast.room_rule values ('open:*', 'public.anybody(jsonb, text)');
    select rowcast.attach(t.name::regclass, o.name, format(
      $q$ select %L as name, array['open:1'] as rooms, json_build_object('id', id) as data from %I $q$,
      o.name, o.rows))
    from (values ('public.part'), ('public.parent')) t (name),
      (values ('insert', 'new_rows'), ('update', 'new_rows'), ('delete', 'old_rows')) o (name, rows);
    select rowcast.attach('public.part', 'truncate',
      $q$ select 'truncate' as name, array['open:1'] as rooms, '{\"id\":0}'::json as data $q$);";

async fn partitions_and_children(version: Version) {
    let database = on(version).await.database().await;
    database.run(FAMILIES).await;
    let server = serve(&database, |_| ()).await;
    let mut somebody = ws(&server, &token("1", "", ""), "rooms=open:1").await;
    somebody.expect("welcome").await;
    for (sql, expected) in [
        (
            "insert into public.part values (1, 1), (2, 2)",
            "insert 1, insert 2",
        ),
        ("insert into public.part_1 values (3, 1)", "insert 3"),
        ("insert into public.part_2_2 values (4, 2)", "insert 4"),
        (
            "copy public.part_1 from program 'echo 5 1' (delimiter ' ')",
            "insert 5",
        ),
        (
            "update public.part set id = id + 10 where id < 3",
            "update 11, update 12",
        ),
        ("update public.part_2 set id = 14 where id = 4", "update 14"),
        ("update public.part_1 set id = 13 where id = 3", "update 13"),
        // From one partition into another.
        ("update public.part set k = 2 where id = 13", "update 13"),
        ("delete from public.part_2_2 where id = 13", "delete 13"),
        (
            "delete from public.part where id in (11, 12)",
            "delete 11, delete 12",
        ),
        ("truncate public.part_2_2", "truncate 0"),
        // PostgreSQL fires the triggers of all four tables that are emptied: one tells it.
        ("truncate public.part", "truncate 0"),
        (
            "begin; truncate public.part; insert into public.part values (1, 1); \
             truncate public.part; commit",
            "insert 1, truncate 0, truncate 0",
        ),
        ("insert into public.parent values (1)", "insert 1"),
        (
            "insert into public.child values (2, 'x'), (3, 'y')",
            "insert 2, insert 3",
        ),
        (
            "update public.parent set id = id + 10",
            "update 11, update 12, update 13",
        ),
        ("update only public.parent set id = 1", "update 1"),
        ("update public.child set id = 2 where id = 12", "update 2"),
        ("delete from public.child where id = 2", "delete 2"),
        ("delete from public.parent", "delete 1, delete 13"),
    ] {
        database.run(sql).await;
        marker(&database, &["open:1"]).await;
        let heard = somebody.events_until("marker").await;
        let mut heard: Vec<String> = heard
            .iter()
            .map(|event| {
                format!(
                    "{} {}",
                    event["name"].as_str().unwrap(),
                    event["data"]["id"]
                )
            })
            .collect();
        heard.sort();
        assert_eq!(heard.join(", "), expected, "{sql}");
    }
    server.stop().await;
}

/// The application, which bears no waiting: an error is what it would get.
async fn impatient(database: &Database) -> Client {
    let client = database.legacy().await;
    let timeouts = "set lock_timeout = '10s'; set statement_timeout = '20s'";
    client.batch_execute(timeouts).await.expect("settings");
    client
}

/// One statement after another, so that whoever waits for a lock waits for ever: it would be refused
/// after `lock_timeout`.
async fn who_books_a_and_b_and_b_and_a_never_waits(version: Version) {
    let database = on(version).await.lab().await;
    database.run(crate::lab::SAMPLE).await;
    database
        .run(
            "insert into lab.bookings (booking_id, user_id, slot_id, lab_id) values
               (101, '1', 11, 1), (102, '1', 21, 2), (201, '2', 11, 1), (202, '2', 21, 2);
             insert into lab.waitlist (waitlist_id, user_id, slot_id) values
               (301, '3', 11), (302, '3', 21), (401, '4', 11), (402, '4', 21)",
        )
        .await;
    // A serializable one could be refused for what updates read, so it only inserts.
    for (level, statements) in [
        ("read committed", 5),
        ("repeatable read", 5),
        ("serializable", 1),
    ] {
        let (one, two) = (impatient(&database).await, impatient(&database).await);
        let run = async |client: &Client, sql: &str| {
            let ran = client.batch_execute(sql).await;
            ran.unwrap_or_else(|error| panic!("{level}: {sql}: {error:?}"));
        };
        let begin = format!("begin isolation level {level}; select pg_current_xact_id()");
        run(&one, &begin).await;
        run(&two, &begin).await;
        for (first, second) in [((11, 1), (21, 2)), ((21, 2), (11, 1))] {
            for (client, user, (slot, lab)) in [(&one, 1, first), (&two, 2, second)] {
                let writes = [
                    format!(
                        "insert into lab.bookings (user_id, slot_id, lab_id) values ({user}, {slot}, {lab})"
                    ),
                    format!(
                        "update lab.bookings set status = 'cancelled' where booking_id = {user}0{lab}"
                    ),
                    format!(
                        "update lab.bookings set status = 'confirmed' where booking_id = {user}0{lab}"
                    ),
                    format!(
                        "update lab.waitlist set joined_at = now() where waitlist_id = {}0{lab}",
                        user + 2
                    ),
                    format!("insert into lab.waitlist (user_id, slot_id) values ({user}, {slot})"),
                ];
                for sql in &writes[..statements] {
                    run(client, sql).await;
                }
            }
        }
        // Both at once: telling the positions at commit locks lines, ours, for a moment.
        join(run(&one, "commit"), run(&two, "commit")).await;
    }
    let booked = "select count(*) from lab.bookings where booking_id < 100";
    assert_eq!(database.ask::<i64>(booked).await, 12);
    let lost = "select count(*) from rowcast.failure";
    assert_eq!(database.ask::<i64>(lost).await, 0);
}

/// The spots that the last event of slot 11 among these tells.
fn last_spots(heard: &[(&str, Vec<Value>)]) -> Option<i64> {
    let (_, events) = heard.iter().find(|(room, _)| *room == "lab:1")?;
    let of_slot =
        |event: &&Value| event["name"] == "time-slot:updated" && event["data"]["slotId"] == 11;
    events.iter().rfind(of_slot)?["data"]["availableSpots"].as_i64()
}

/// Neither of two transactions sees the other's booking, and still the last number is true.
async fn spots_are_true_after_overlapping_bookings(version: Version) {
    let mut lab = Lab::open(
        version,
        "update lab.slots set capacity = 50 where slot_id = 11",
    )
    .await;
    let book = "insert into lab.bookings (user_id, slot_id, lab_id) values ('50', 11, 1)";
    let mut spots = 50;
    for level in ["read committed", "repeatable read", "serializable"] {
        // The end of the first, that of the second, and what they hold together.
        for (first, second, held) in [
            ("commit", "commit", 2),
            ("rollback", "commit", 1),
            ("commit", "rollback", 1),
        ] {
            let begin = format!("begin isolation level {level}; select from lab.slots");
            let (one, two) = (
                impatient(&lab.stage.database).await,
                impatient(&lab.stage.database).await,
            );
            for sql in [begin.as_str(), book] {
                for client in [&one, &two] {
                    client.batch_execute(sql).await.expect("nobody waits");
                }
            }
            // Whoever began last ends first.
            two.batch_execute(second).await.expect("nobody is refused");
            // What the one has told is rendered before the other ends.
            let between = last_spots(&lab.stage.heard().await);
            assert_eq!(
                between,
                (second == "commit").then_some(spots - 1),
                "{level}"
            );
            one.batch_execute(first).await.expect("nobody is refused");
            spots -= held;
            let after = last_spots(&lab.stage.heard().await);
            assert_eq!(after, (first == "commit").then_some(spots), "{level}");
        }
    }
    lab.stage.close().await;
}

async fn spots_are_true_after_a_rush(version: Version) {
    let mut lab = Lab::open(
        version,
        "update lab.slots set capacity = 100 where slot_id = 11",
    )
    .await;
    let legacies = join_all((0..8).map(|_| impatient(&lab.stage.database))).await;
    let rush = |(number, client): (usize, Client)| async move {
        let level = ["read committed", "repeatable read", "serializable"][number % 3];
        let level = format!("set default_transaction_isolation = '{level}'");
        client.batch_execute(&level).await.expect("a level");
        for booking in 0..10 {
            let id = 1 + number * 10 + booking;
            let book = format!(
                "insert into lab.bookings (booking_id, user_id, slot_id, lab_id)
                 values ({id}, '50', 11, 1)"
            );
            client.batch_execute(&book).await.expect("it may");
            if booking % 3 == 0 {
                let cancel =
                    format!("update lab.bookings set status = 'cancelled' where booking_id = {id}");
                client.batch_execute(&cancel).await.expect("it may");
            }
        }
    };
    join_all(legacies.into_iter().enumerate().map(rush)).await;
    // Of each ten, four are cancelled.
    assert_eq!(last_spots(&lab.stage.heard().await), Some(100 - 8 * 6));
    lab.stage.close().await;
}

on_every_version! {
    bulk_statements
    an_update_that_changes_nothing
    no_rows_are_nothing_to_tell_of
    a_truncated_parent_is_told_once
    upserts
    copy
    merge
    truncate
    changed_primary_keys
    deletions_cascade
    a_booking_moves_to_another_slot
    nine_thousand_rows_in_one_statement
    partitions_and_children
    who_books_a_and_b_and_b_and_a_never_waits
    spots_are_true_after_overlapping_bookings
    spots_are_true_after_a_rush
}

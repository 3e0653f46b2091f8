//! What the application keeps to, and what it tells when many book at once.

use super::{BOOKED, DAY, SAMPLE, Spa, refused};
use crate::support::{Version, marker, on, on_every_version, within};
use std::collections::BTreeSet;

/// Payment first, then scheduling; only where and when the therapist works; by the flow of status.
async fn the_application_keeps_its_rules(version: Version) {
    let mut spa = Spa::open(version, BOOKED).await;
    let book =
        |customer: u32, item: u32, service: u32, therapist: u32, time: &str, minutes: u32| {
            format!(
            "insert into spa.bookings (customer_id, payment_item_id, service_id, therapist_user_id,
               appointment_date, appointment_time, duration_minutes)
             values ({customer}, {item}, {service}, {therapist}, '{DAY}', '{time}', {minutes})"
        )
        };
    for (constraint, sql) in [
        ("bookings_paid_first", book(2, 71, 5, 9, "09:00", 60)),
        ("bookings_paid_first", book(1, 71, 6, 9, "09:00", 30)),
        ("bookings_paid_first", book(1, 99, 5, 9, "09:00", 60)),
        ("bookings_service_offered", book(2, 72, 6, 10, "09:00", 30)),
        ("bookings_working_time", book(1, 71, 5, 9, "11:30", 60)),
        ("bookings_working_time", book(1, 71, 5, 9, "13:00", 60)),
        ("bookings_overlap", book(1, 71, 5, 9, "10:59", 60)),
        (
            "bookings_status_flow",
            BOOKED
                .replace("duration_minutes,", "duration_minutes, booking_status,")
                .replace("60, 'A", "60, 'CONFIRMED', 'A"),
        ),
        (
            "bookings_status_flow",
            "update spa.bookings set booking_status = 'COMPLETED'".into(),
        ),
        (
            "bookings_status_flow",
            "update spa.bookings set booking_status = 'IN_PROGRESS'".into(),
        ),
        (
            "bookings_paid_first",
            "update spa.bookings set customer_id = 2".into(),
        ),
    ] {
        spa.refuses(constraint, &sql).await;
    }
    // Unpaid, or given back, is not paid for.
    spa.stage
        .writes("update spa.payments set payment_status = 'PENDING' where payment_id = 52")
        .await;
    spa.refuses("bookings_paid_first", &book(2, 72, 6, 9, "09:00", 30))
        .await;
    spa.stage.close().await;

    // Two massages were paid for: the third finds none left, until one is cancelled.
    let database = on(version).await.system("spa").await;
    let legacy = database.legacy().await;
    for sql in [SAMPLE, BOOKED, &book(1, 71, 5, 9, "11:00", 60)] {
        legacy.batch_execute(sql).await.expect("allowed");
    }
    let third = book(1, 71, 5, 9, "09:00", 60);
    assert_eq!(refused(&legacy, &third).await, "bookings_within_quantity");
    let cancelled = "update spa.bookings set booking_status = 'CANCELLED' where booking_id = 123";
    legacy.batch_execute(cancelled).await.expect("cancelled");
    legacy
        .batch_execute(&third)
        .await
        .expect("one is left again");
    // What is over is over.
    for status in ["SCHEDULED", "CONFIRMED", "NO_SHOW"] {
        let back =
            format!("update spa.bookings set booking_status = '{status}' where booking_id = 123");
        assert_eq!(refused(&legacy, &back).await, "bookings_status_flow");
    }
}

/// As MySQL's `ON UPDATE CURRENT_TIMESTAMP`: when another column changes and this one is not named.
async fn updated_at_moves_as_it_did_in_mysql(version: Version) {
    let database = on(version).await.system("spa").await;
    let legacy = database.legacy().await;
    let booked = format!("{SAMPLE}{BOOKED}");
    legacy.batch_execute(&booked).await.expect("sample data");
    let old = "2001-01-01 00:00+00";
    let age = async |table: &str| {
        let aged = format!("update spa.{table} set updated_at = '{old}'");
        legacy
            .batch_execute(&aged)
            .await
            .expect("named: as it says");
    };
    let moved = async |table: &str, sql: &str| -> bool {
        age(table).await;
        legacy.batch_execute(sql).await.expect("an update");
        let asked = format!("select bool_and(updated_at > '{old}') from spa.{table}");
        database.ask(&asked).await
    };
    assert!(moved("bookings", "update spa.bookings set booking_notes = 'x'").await);
    assert!(
        !moved(
            "bookings",
            "update spa.bookings set booking_notes = booking_notes"
        )
        .await
    );
    let named = "update spa.bookings set booking_notes = 'y', updated_at = '1999-01-01 00:00+00'";
    assert!(!moved("bookings", named).await);
    let shift = "update spa.therapist_schedules set end_time = end_time + interval '1 minute'";
    assert!(moved("therapist_schedules", shift).await);
}

/// A paying customer for each of these users, with an item of the same number for one massage.
fn customers(users: std::ops::Range<u32>) -> String {
    let mut sql = String::new();
    for user in users {
        sql.push_str(&format!(
            "insert into spa.users (user_id, full_name) values ({user}, 'Customer {user}');
             insert into spa.payments (payment_id, customer_id, total_amount)
               values ({user}, {user}, 80);
             insert into spa.payment_items (payment_item_id, payment_id, service_id, unit_price,
               total_price, service_duration) values ({user}, {user}, 5, 80, 80, 60);"
        ));
    }
    sql
}

fn book_at(user: u32, hour: u32) -> String {
    format!(
        "insert into spa.bookings (customer_id, payment_item_id, service_id, therapist_user_id,
           appointment_date, appointment_time, duration_minutes)
         values ({user}, {user}, 5, 10, '{DAY}', '{hour}:00', 60)"
    )
}

/// Twelve customers hold their bookings open until all have written, so that none of them can see
/// another's; then all commit at once. Afterwards two customers fight for each hour.
async fn availability_is_right_under_concurrent_bookings(version: Version) {
    let hours: Vec<u32> = (8..20).collect();
    let more = format!(
        "{} update spa.therapist_schedules set start_time = '08:00', end_time = '20:00'
         where schedule_id = 3",
        customers(100..136)
    );
    let mut spa = Spa::open(version, &more).await;
    let mut writers = Vec::new();
    for _ in 100..136 {
        writers.push(spa.stage.database.legacy().await);
    }
    for (writer, hour) in writers.iter().zip(&hours) {
        let held = format!("begin; {}", book_at(100 + hour - 8, *hour));
        writer.batch_execute(&held).await.expect("held open");
    }
    let commits = writers[..12]
        .iter()
        .map(|writer| writer.batch_execute("commit"));
    for done in futures_util::future::join_all(commits).await {
        done.expect("committed");
    }
    let full = "select count(*) from spa.bookings where therapist_user_id = 10";
    assert_eq!(spa.stage.database.ask::<i64>(full).await, 12);
    assert_eq!(told_free(&mut spa).await, BTreeSet::new());

    // All give back while two others try to get each hour: whoever is too early is refused.
    let cancel = "update spa.bookings set booking_status = 'CANCELLED'";
    let freed = spa.stage.writes(cancel);
    let wanted = (0..24).map(async |n: u32| {
        let (writer, hour) = (&writers[12 + n as usize], 8 + n / 2);
        let booked = writer.batch_execute(&book_at(112 + n, hour)).await;
        booked.is_ok_or_overlap()
    });
    let (_, won) = tokio::join!(freed, futures_util::future::join_all(wanted));
    let won = won.into_iter().filter(|won| *won).count();
    let live = "select count(*), count(distinct appointment_time) from spa.bookings
        where therapist_user_id = 10 and booking_status = 'SCHEDULED'";
    let row = spa
        .stage
        .legacy
        .query_one(live, &[])
        .await
        .expect("counted");
    assert_eq!((row.get(0), row.get(1)), (won as i64, won as i64));
    let taken = "select coalesce(array_agg(to_char(appointment_time, 'HH24:MI:SS')), '{}')
        from spa.bookings where therapist_user_id = 10 and booking_status = 'SCHEDULED'";
    let taken: Vec<String> = spa.stage.database.ask(taken).await;
    let taken: BTreeSet<String> = taken.into_iter().collect();
    let all = hours.iter().map(|hour| format!("{hour:02}:00:00"));
    let left: BTreeSet<String> = all.filter(|time| !taken.contains(time)).collect();
    assert_eq!(told_free(&mut spa).await, left);
    spa.stage.close().await;
}

trait OkOrOverlap {
    /// Whether it was done; false if somebody else has the time. Anything else is a failure.
    fn is_ok_or_overlap(&self) -> bool;
}

impl OkOrOverlap for Result<(), tokio_postgres::Error> {
    fn is_ok_or_overlap(&self) -> bool {
        let Err(error) = self else {
            return true;
        };
        let constraint = error.as_db_error().and_then(|error| error.constraint());
        // Two that wait for each other's time are told apart by PostgreSQL.
        let deadlock =
            error.code() == Some(&tokio_postgres::error::SqlState::T_R_DEADLOCK_DETECTED);
        assert!(
            constraint == Some("bookings_overlap") || deadlock,
            "{error:?}"
        );
        false
    }
}

/// When Theo is free, as the calendar was told last.
async fn told_free(spa: &mut Spa) -> BTreeSet<String> {
    marker(&spa.stage.database, &["*"]).await;
    let (_, cleo) = &mut spa.stage.seats[2];
    let heard = cleo.events_until("marker").await;
    let last = heard.last().expect("told of something");
    let slots = last["data"]["availableSlots"].as_array().expect("slots");
    slots
        .iter()
        .map(|slot| slot["time"].as_str().expect("a time").to_owned())
        .collect()
}

/// Two bookings at once by one payment item for one: the second waits, counts the first, and fails.
async fn one_item_is_not_spent_twice_at_once(version: Version) {
    let database = on(version).await.system("spa").await;
    let legacy = database.legacy().await;
    let sample = format!("{SAMPLE}{}", customers(100..101));
    legacy.batch_execute(&sample).await.expect("sample data");
    let held = format!("begin; {}", book_at(100, 9));
    legacy.batch_execute(&held).await.expect("held open");
    let second = database.legacy().await;
    let second = tokio::spawn(async move { refused(&second, &book_at(100, 10)).await });
    let waits = "locktype = 'transactionid'";
    database.awaits("the second waits", waits).await;
    legacy.batch_execute("commit").await.expect("committed");
    let refused = within("the second is told", second).await.expect("joined");
    assert_eq!(refused, "bookings_within_quantity");
}

on_every_version! {
    the_application_keeps_its_rules
    updated_at_moves_as_it_did_in_mysql
    availability_is_right_under_concurrent_bookings
    one_item_is_not_spent_twice_at_once
}

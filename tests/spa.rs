//! The spa end to end: SQL as the legacy application writes it, the exact frames at exactly the
//! people who should have them, each with what their role may see. A marker that reaches everybody
//! after each statement proves what did not come.

use crate::support::{
    Database, Server, Subscriber, Version, eventually, marker, on, on_every_version, serve, system,
    token, within, ws, ws_with,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// A day that is yet to come whenever this runs.
const DAY: &str = "2099-01-15";

/// Tess works from nine to five with a break, and offers both services; Theo one, until noon.
/// Ann has paid for two massages, Ben for a facial.
const SAMPLE: &str = "
    insert into spa.users (user_id, user_type, full_name, phone_number) values
      (1, 'customer', 'Ann', '555-1'), (2, 'customer', 'Ben', null), (3, 'customer', 'Cleo', null),
      (9, 'therapist', 'Tess', null), (10, 'therapist', 'Theo', null),
      (20, 'receptionist', 'Rita', null), (30, 'manager', 'Max', null), (40, 'admin', 'Ada', null);
    insert into spa.services (service_id, name, duration_minutes, price) values
      (5, 'Swedish Massage', 60, 80.00), (6, 'Facial', 30, 45.50);
    insert into spa.therapists (user_id) values (9), (10);
    insert into spa.therapist_services values (9, 5), (9, 6), (10, 5);
    insert into spa.therapist_schedules
      (schedule_id, therapist_user_id, work_date, start_time, end_time) values
      (1, 9, '2099-01-15', '09:00', '12:00'), (2, 9, '2099-01-15', '15:30', '17:00'),
      (3, 10, '2099-01-15', '09:00', '12:00');
    insert into spa.payments (payment_id, customer_id, total_amount) values
      (51, 1, 160.00), (52, 2, 45.50);
    insert into spa.payment_items (payment_item_id, payment_id, service_id, quantity, unit_price,
      total_price, service_duration) values (71, 51, 5, 2, 80, 160, 60), (72, 52, 6, 1, 45.5, 45.5, 30);
";

/// Ann books a massage with Tess at ten.
const BOOKED: &str = "
    insert into spa.bookings (booking_id, customer_id, payment_item_id, service_id,
      therapist_user_id, appointment_date, appointment_time, duration_minutes, booking_notes)
    values (123, 1, 71, 5, 9, '2099-01-15', '10:00', 60, 'A bad back');
";

/// Who is connected: name, user, role. Cleo alone looks at the calendar.
const PEOPLE: [(&str, &str, &str); 8] = [
    ("Ann", "1", "customer"),
    ("Ben", "2", "customer"),
    ("Cleo", "3", "customer"),
    ("Tess", "9", "therapist"),
    ("Theo", "10", "therapist"),
    ("Rita", "20", "receptionist"),
    ("Max", "30", "manager"),
    ("Ada", "40", "admin"),
];

/// Who hears of a booking's status.
const CONCERNED: &[&str] = &["Ann", "Tess", "Max", "Ada"];

/// An event that is to come: name, channel, who hears it, data.
type Told<'a> = (&'a str, &'a str, &'a [&'a str], Value);

struct Spa {
    database: Database,
    server: Server,
    legacy: Client,
    seats: Vec<(&'static str, Subscriber)>,
}

impl Spa {
    /// The spa with this much more in it, and everybody connected.
    async fn open(version: Version, more: &str) -> Self {
        let database = on(version).await.system("spa").await;
        let legacy = database.legacy().await;
        legacy.batch_execute(SAMPLE).await.expect("sample data");
        legacy.batch_execute(more).await.expect("more sample data");
        let server = serve(&database, |_| ()).await;
        let mut seats = Vec::new();
        for (name, sub, role) in PEOPLE {
            let query = if name == "Cleo" { "rooms=calendar" } else { "" };
            let mut somebody = ws(&server, &token(sub, role, ""), query).await;
            somebody.expect("welcome").await;
            seats.push((name, somebody));
        }
        Self {
            database,
            server,
            legacy,
            seats,
        }
    }

    /// Runs SQL as the application; exactly these events reach exactly these people, in this order.
    async fn tells(&mut self, sql: &str, expected: &[Told<'_>]) {
        self.writes(sql).await;
        marker(&self.database, &["*"]).await;
        for (person, somebody) in &mut self.seats {
            let heard = somebody.events_until("marker").await;
            let wanted: Vec<_> = expected
                .iter()
                .filter(|(_, _, people, _)| people.contains(person))
                .collect();
            assert_eq!(
                heard.len(),
                wanted.len(),
                "{person} heard {heard:#?}\n{sql}"
            );
            for (event, (name, channel, _, data)) in heard.iter().zip(wanted) {
                let frame = json!({
                    "type": "event", "name": name, "channel": channel, "data": data,
                    "id": event["id"], "at": event["at"], "bookmark": event["bookmark"],
                });
                assert_eq!(*event, frame, "at {person}\n{sql}");
            }
        }
    }

    /// Runs SQL as the application.
    async fn writes(&self, sql: &str) {
        let done = self.legacy.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The application is told no, by the constraint of this name, and nobody hears anything.
    async fn refuses(&mut self, constraint: &str, sql: &str) {
        assert_eq!(refused(&self.legacy, sql).await, constraint, "{sql}");
        self.tells("select", &[]).await;
    }

    async fn close(self) {
        drop(self.seats);
        self.server.stop().await;
    }
}

/// The constraint by which a statement fails.
async fn refused(client: &Client, sql: &str) -> String {
    let Err(error) = client.batch_execute(sql).await else {
        panic!("not refused: {sql}");
    };
    let error = error.as_db_error().expect("of the database");
    error.constraint().unwrap_or(error.message()).to_owned()
}

/// The object with these fields besides; null takes one away.
fn with(mut object: Value, more: Value) -> Value {
    let fields = object.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("an object") {
        fields.insert(name.clone(), value.clone());
    }
    fields.retain(|_, value| !value.is_null());
    object
}

/// Booking 123 as the therapist, as reception and as managers see it; then as Ann does.
fn booking_as(viewer: &str, more: Value) -> Value {
    let all = json!({
        "bookingId": 123, "customerId": 1, "therapistId": 9, "serviceId": 5,
        "serviceName": "Swedish Massage", "therapistName": "Tess", "appointmentDate": DAY,
        "appointmentTime": "10:00:00", "durationMinutes": 60, "bookingStatus": "SCHEDULED",
        "bookingNotes": "A bad back", "customerName": "Ann", "customerPhone": "555-1",
        "paymentItemId": 71, "price": 80.0,
    });
    let hidden = match viewer {
        "customer" => json!({ "customerName": null, "customerPhone": null }),
        "therapist" => json!({ "customerPhone": null, "paymentItemId": null, "price": null }),
        "receptionist" => json!({ "bookingNotes": null }),
        _ => json!({}),
    };
    with(with(all, more), hidden)
}

fn status_changed(old: &str, new: &str) -> Told<'static> {
    let data = json!({
        "bookingId": 123, "customerId": 1, "therapistId": 9, "oldStatus": old, "newStatus": new,
        "appointmentDate": DAY, "appointmentTime": "10:00:00", "serviceName": "Swedish Massage",
    });
    ("BOOKING_STATUS_CHANGED", "bookings", CONCERNED, data)
}

/// The three views of a therapist's day.
fn day_told(
    therapist: u32,
    schedule: &Value,
    bookings: impl Fn(&str) -> Value,
) -> Vec<Told<'static>> {
    let name = if therapist == 9 { "Tess" } else { "Theo" };
    let own: &[&str] = if therapist == 9 { &["Tess"] } else { &["Theo"] };
    let views: [(&str, &[&str]); 3] = [
        ("therapist", own),
        ("receptionist", &["Rita"]),
        ("manager", &["Max", "Ada"]),
    ];
    let mut told = Vec::new();
    for (viewer, people) in views {
        let data = json!({ "therapistId": therapist, "therapistName": name, "date": DAY,
            "schedule": schedule, "bookings": bookings(viewer) });
        told.push(("THERAPIST_SCHEDULE_UPDATED", "schedules", people, data));
    }
    told
}

/// Free times told to the calendar: `09:00` is a slot as long as the service, `15:30+90` longer.
fn free(service: u32, therapist: u32, slots: &str) -> Told<'static> {
    let lasts = if service == 5 { 60 } else { 30 };
    let slots: Vec<Value> = slots
        .split_whitespace()
        .map(|slot| match slot.split_once('+') {
            Some((time, minutes)) => (time, minutes.parse().expect("minutes")),
            None => (slot, lasts),
        })
        .map(|(time, minutes)| json!({ "time": format!("{time}:00"), "duration": minutes }))
        .collect();
    let data = json!({ "serviceId": service, "therapistId": therapist, "date": DAY,
        "availableSlots": slots });
    ("AVAILABILITY_UPDATED", "availability", &["Cleo"], data)
}

/// Tess's hours in [`SAMPLE`].
fn hours() -> Value {
    json!([{ "scheduleId": 1, "startTime": "09:00:00", "endTime": "12:00:00" },
        { "scheduleId": 2, "startTime": "15:30:00", "endTime": "17:00:00" }])
}

/// Theo's.
fn morning() -> Value {
    json!([{ "scheduleId": 3, "startTime": "09:00:00", "endTime": "12:00:00" }])
}

const ALL_FACIALS: &str = "09:00 09:30 10:00 10:30 11:00 11:30 15:30 16:00 16:30";
const FACIALS_BUT_AT_TEN: &str = "09:00 09:30 11:00 11:30 15:30 16:00 16:30";

async fn payment_completed(version: Version) {
    let mut spa = Spa::open(version, "").await;
    let told = |people, more| -> Told<'_> {
        let payment = json!({
            "paymentId": 61, "customerId": 1, "totalAmount": 80.0, "paymentMethod": "ONLINE",
            "paymentDate": "2099-01-02T02:04:05Z", "referenceNumber": "R-1", "customerName": "Ann",
            "items": [{ "paymentItemId": 81, "serviceId": 5, "serviceName": "Swedish Massage",
                "quantity": 1, "unitPrice": 80.0, "totalPrice": 80.0, "serviceDuration": 60 }],
        });
        ("PAYMENT_COMPLETED", "payments", people, with(payment, more))
    };
    let all = [
        told(&["Ann"], json!({ "customerName": null })),
        told(&["Rita"], json!({ "referenceNumber": null })),
        told(&["Max", "Ada"], json!({})),
    ];
    // The items come after their payment, in the same transaction.
    let pay = "begin;
        insert into spa.payments
          (payment_id, customer_id, total_amount, payment_method, reference_number, payment_date)
        values (61, 1, 80.00, 'ONLINE', 'R-1', '2099-01-02 03:04:05+01');
        insert into spa.payment_items (payment_item_id, payment_id, service_id, unit_price,
          total_price, service_duration) values (81, 61, 5, 80, 80, 60);
        commit";
    spa.tells(pay, &all).await;
    // Nobody is told of one that is pending, nor of what comes after.
    for (status, told) in [
        ("PENDING", &[][..]),
        ("PAID", &all),
        ("PAID", &[]),
        ("REFUNDED", &[]),
    ] {
        let sql =
            format!("update spa.payments set payment_status = '{status}' where payment_id = 61");
        spa.tells(&sql, told).await;
    }
    let pending = "insert into spa.payments (customer_id, total_amount, payment_status)
        values (1, 80.00, 'PENDING')";
    spa.tells(pending, &[]).await;
    spa.close().await;
}

async fn booking_created(version: Version) {
    let mut spa = Spa::open(version, "").await;
    let created = |viewer, people| -> Told<'_> {
        (
            "BOOKING_CREATED",
            "bookings",
            people,
            booking_as(viewer, json!({})),
        )
    };
    let mut told = vec![
        created("customer", &["Ann"]),
        created("therapist", &["Tess"]),
        created("receptionist", &["Rita"]),
        created("manager", &["Max", "Ada"]),
    ];
    told.extend(day_told(9, &hours(), |viewer| {
        json!([booking_as(viewer, json!({}))])
    }));
    told.push(free(5, 9, "09:00 11:00 15:30+90"));
    told.push(free(6, 9, FACIALS_BUT_AT_TEN));
    spa.tells(BOOKED, &told).await;
    spa.close().await;
}

async fn booking_status_changed(version: Version) {
    let mut spa = Spa::open(version, BOOKED).await;
    let day = |status: &'static str| {
        day_told(9, &hours(), move |viewer| {
            json!([booking_as(viewer, json!({ "bookingStatus": status }))])
        })
    };
    let mut old = "SCHEDULED";
    for new in ["CONFIRMED", "IN_PROGRESS", "COMPLETED"] {
        let mut told = vec![status_changed(old, new)];
        told.extend(day(new));
        let sql = format!("update spa.bookings set booking_status = '{new}'");
        spa.tells(&sql, &told).await;
        spa.tells(&sql, &[]).await;
        old = new;
    }
    // Notes are part of the schedule, but not for reception; when they are written is nobody's.
    let noted = json!({ "bookingStatus": "COMPLETED", "bookingNotes": "Better" });
    let told = day_told(9, &hours(), |viewer| {
        json!([booking_as(viewer, noted.clone())])
    });
    spa.tells("update spa.bookings set booking_notes = 'Better'", &told)
        .await;
    spa.tells("update spa.bookings set created_at = now()", &[])
        .await;
    // What is finished may be tidied away.
    spa.tells("delete from spa.bookings", &[]).await;
    spa.close().await;
}

async fn booking_cancelled(version: Version) {
    let mut spa = Spa::open(version, BOOKED).await;
    let mut gone = day_told(9, &hours(), |_| json!([]));
    gone.push(free(5, 9, "09:00 10:00 11:00 15:30+90"));
    gone.push(free(6, 9, ALL_FACIALS));
    let mut told = vec![status_changed("SCHEDULED", "CANCELLED")];
    told.extend(gone.clone());
    let cancel = "update spa.bookings set booking_status = 'CANCELLED'";
    spa.tells(cancel, &told).await;

    // One that is deleted before its time is cancelled, too; one that was is told no more.
    let again = BOOKED.replace("123", "124");
    spa.writes(&format!(
        "{again}; update spa.bookings set booking_status = 'CONFIRMED' where booking_id = 124"
    ))
    .await;
    marker(&spa.database, &["*"]).await;
    for (_, somebody) in &mut spa.seats {
        somebody.events_until("marker").await;
    }
    let (name, channel, people, data) = status_changed("CONFIRMED", "CANCELLED");
    told[0] = (
        name,
        channel,
        people,
        with(data, json!({ "bookingId": 124 })),
    );
    spa.tells("delete from spa.bookings", &told).await;

    // Who does not come gives the time back, but remains in the schedule.
    let again = BOOKED.replace("'A bad back'", "null");
    spa.writes(&again).await;
    marker(&spa.database, &["*"]).await;
    for (_, somebody) in &mut spa.seats {
        somebody.events_until("marker").await;
    }
    let missed = json!({ "bookingStatus": "NO_SHOW", "bookingNotes": null });
    let mut told = vec![status_changed("SCHEDULED", "NO_SHOW")];
    told.extend(day_told(9, &hours(), |viewer| {
        json!([booking_as(viewer, missed.clone())])
    }));
    told.extend(gone.split_off(3));
    let no_show = "update spa.bookings set booking_status = 'NO_SHOW'";
    spa.tells(no_show, &told).await;
    spa.close().await;
}

async fn booking_rescheduled(version: Version) {
    let mut spa = Spa::open(version, BOOKED).await;
    let moved =
        json!({ "therapistId": 10, "therapistName": "Theo", "appointmentTime": "11:00:00" });
    let told = |viewer, people| -> Told<'_> {
        (
            "BOOKING_RESCHEDULED",
            "bookings",
            people,
            booking_as(viewer, moved.clone()),
        )
    };
    let mut all = vec![
        told("customer", &["Ann"]),
        told("therapist", &["Theo"]),
        told("receptionist", &["Rita"]),
        told("manager", &["Max", "Ada"]),
    ];
    // Both days, the old therapist's and the new one's.
    all.extend(day_told(9, &hours(), |_| json!([])));
    all.push(free(5, 9, "09:00 10:00 11:00 15:30+90"));
    all.push(free(6, 9, ALL_FACIALS));
    all.extend(day_told(10, &morning(), |viewer| {
        json!([booking_as(viewer, moved.clone())])
    }));
    all.push(free(5, 10, "09:00 10:00"));
    let move_it = "update spa.bookings set therapist_user_id = 10, appointment_time = '11:00'";
    spa.tells(move_it, &all).await;
    spa.close().await;
}

async fn therapist_schedule_updated(version: Version) {
    let mut spa = Spa::open(version, BOOKED).await;
    let bookings = |viewer: &str| json!([booking_as(viewer, json!({}))]);
    // Tess leaves at half past eleven: what is left at eleven is enough for a facial.
    let shorter = json!([{ "scheduleId": 1, "startTime": "09:00:00", "endTime": "11:30:00" },
        { "scheduleId": 2, "startTime": "15:30:00", "endTime": "17:00:00" }]);
    let mut told = day_told(9, &shorter, bookings);
    told.push(free(5, 9, "09:00 15:30+90"));
    told.push(free(6, 9, "09:00 09:30 11:00 15:30 16:00 16:30"));
    let leave = "update spa.therapist_schedules set end_time = '11:30' where schedule_id = 1";
    spa.tells(leave, &told).await;
    spa.tells(leave, &[]).await;
    // The afternoon is off; a row for each part of the day, one event for the day.
    let mut told = day_told(9, &json!([shorter[0]]), bookings);
    told.push(free(5, 9, "09:00"));
    told.push(free(6, 9, "09:00 09:30 11:00"));
    let off = "delete from spa.therapist_schedules where schedule_id = 2";
    spa.tells(off, &told).await;
    // Theo stands in for all of it: his afternoon begins where hers did.
    let whole = json!([morning()[0],
        { "scheduleId": 4, "startTime": "12:00:00", "endTime": "13:00:00" },
        { "scheduleId": 5, "startTime": "15:30:00", "endTime": "17:00:00" }]);
    let mut told = day_told(10, &whole, |_| json!([]));
    told.push(free(5, 10, "09:00 10:00 11:00 12:00 15:30+90"));
    let stand_in = "insert into spa.therapist_schedules
        (schedule_id, therapist_user_id, work_date, start_time, end_time) values
        (4, 10, '2099-01-15', '12:00', '13:00'), (5, 10, '2099-01-15', '15:30', '17:00')";
    spa.tells(stand_in, &told).await;
    spa.close().await;
}

/// Services and who offers them change what is free, on the days that are yet to come.
async fn availability_of_services(version: Version) {
    let past = "insert into spa.therapist_schedules
        (schedule_id, therapist_user_id, work_date, start_time, end_time) values
        (8, 9, '2020-01-15', '09:00', '12:00'), (9, 10, '2020-01-15', '09:00', '12:00')";
    let mut spa = Spa::open(version, past).await;
    let longer = "update spa.services set duration_minutes = 90 where service_id = 5";
    let told = [
        free(5, 9, "09:00+90 10:30+90 15:30+90"),
        free(5, 10, "09:00+90 10:30+90"),
    ];
    spa.tells(longer, &told).await;
    let gone = "update spa.services set is_active = false where service_id = 6";
    spa.tells(gone, &[free(6, 9, "")]).await;
    spa.tells(
        "update spa.services set is_active = true where service_id = 6",
        &[free(6, 9, ALL_FACIALS)],
    )
    .await;
    spa.tells(
        "update spa.services set price = 50 where service_id = 6",
        &[],
    )
    .await;
    spa.tells(
        "insert into spa.therapist_services values (10, 6)",
        &[free(6, 10, "09:00 09:30 10:00 10:30 11:00 11:30")],
    )
    .await;
    let not_hers =
        "delete from spa.therapist_services where therapist_user_id = 9 and service_id = 6";
    spa.tells(not_hers, &[free(6, 9, "")]).await;
    spa.close().await;
}

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
    spa.writes("update spa.payments set payment_status = 'PENDING' where payment_id = 52")
        .await;
    spa.refuses("bookings_paid_first", &book(2, 72, 6, 9, "09:00", 30))
        .await;
    spa.close().await;

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
        writers.push(spa.database.legacy().await);
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
    assert_eq!(spa.database.ask::<i64>(full).await, 12);
    assert_eq!(told_free(&mut spa).await, BTreeSet::new());

    // All give back while two others try to get each hour: whoever is too early is refused.
    let cancel = "update spa.bookings set booking_status = 'CANCELLED'";
    let freed = spa.writes(cancel);
    let wanted = (0..24).map(async |n: u32| {
        let (writer, hour) = (&writers[12 + n as usize], 8 + n / 2);
        let booked = writer.batch_execute(&book_at(112 + n, hour)).await;
        booked.is_ok_or_overlap()
    });
    let (_, won) = tokio::join!(freed, futures_util::future::join_all(wanted));
    let won = won.into_iter().filter(|won| *won).count();
    let live = "select count(*), count(distinct appointment_time) from spa.bookings
        where therapist_user_id = 10 and booking_status = 'SCHEDULED'";
    let row = spa.legacy.query_one(live, &[]).await.expect("counted");
    assert_eq!((row.get(0), row.get(1)), (won as i64, won as i64));
    let taken = "select coalesce(array_agg(to_char(appointment_time, 'HH24:MI:SS')), '{}')
        from spa.bookings where therapist_user_id = 10 and booking_status = 'SCHEDULED'";
    let taken: Vec<String> = spa.database.ask(taken).await;
    let taken: BTreeSet<String> = taken.into_iter().collect();
    let all = hours.iter().map(|hour| format!("{hour:02}:00:00"));
    let left: BTreeSet<String> = all.filter(|time| !taken.contains(time)).collect();
    assert_eq!(told_free(&mut spa).await, left);
    spa.close().await;
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
    marker(&spa.database, &["*"]).await;
    let (_, cleo) = &mut spa.seats[2];
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
    eventually("the second waits", async || {
        let waits = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        (database.ask::<i64>(waits).await == 1).then_some(())
    })
    .await;
    legacy.batch_execute("commit").await.expect("committed");
    let refused = within("the second is told", second).await.expect("joined");
    assert_eq!(refused, "bookings_within_quantity");
}

on_every_version! {
    payment_completed
    booking_created
    booking_status_changed
    booking_cancelled
    booking_rescheduled
    therapist_schedule_updated
    availability_of_services
    the_application_keeps_its_rules
    updated_at_moves_as_it_did_in_mysql
    availability_is_right_under_concurrent_bookings
    one_item_is_not_spent_twice_at_once
}

/// Nobody gets into another's room, nor customers and therapists into those of staff.
#[tokio::test]
async fn everybody_joins_what_access_sql_says_and_nothing_else() {
    let database = system("spa").await;
    database.run(SAMPLE).await;
    let server = serve(&database, |_| ()).await;
    let asked = "customer_1,customer_2,therapist_9,manager_30,receptionist_all,manager_all,\
                 admin_all,therapist_all,customer_all,calendar,other";
    for (sub, role, joined) in [
        ("1", "customer", "customer_1 calendar"),
        ("9", "therapist", "therapist_9 calendar"),
        (
            "20",
            "receptionist",
            "receptionist_20 receptionist_all calendar",
        ),
        ("30", "manager", "manager_30 manager_all calendar"),
        ("40", "admin", "admin_40 admin_all calendar"),
        // A role that the spa does not know, a name that is no number, a token without a role.
        ("1", "owner", ""),
        ("all", "manager", ""),
        ("1", "", ""),
    ] {
        let mut somebody = ws(&server, &token(sub, role, ""), &format!("rooms={asked}")).await;
        let welcome = somebody.expect("welcome").await;
        let joined: Vec<_> = joined.split_whitespace().collect();
        assert_eq!(welcome["rooms"], json!(joined), "{sub} {role}");
        for room in asked.split(',').filter(|room| !joined.contains(room)) {
            let error = somebody.expect("error").await;
            assert_eq!(
                (&error["code"], &error["room"]),
                (&json!("forbidden"), &json!(room))
            );
        }
    }
    server.stop().await;
}

/// A session of Ann's by the name `ann`, of Max's `max`.
const SESSIONS: &str = "
    insert into spa.http_sessions (session_id, user_id) values ('ann', 1), ('max', 30);
";

async fn by_cookie(server: &Server, session: &str) -> Subscriber {
    let cookie = format!("theme=dark; JSESSIONID={session}");
    let headers = [("cookie", cookie.as_str()), ("origin", server.url.as_str())];
    ws_with(server, "", &headers).await
}

#[tokio::test]
async fn the_applications_session_is_who_one_is_until_it_ends() {
    let database = system("spa").await;
    database.run(&format!("{SAMPLE}{SESSIONS}")).await;
    let server = serve(&database, |_| ()).await;
    let mut ann = by_cookie(&server, "ann").await;
    let welcome = ann.expect("welcome").await;
    assert_eq!(
        (&welcome["user"], &welcome["rooms"]),
        (&json!("1"), &json!(["customer_1"]))
    );
    let mut max = by_cookie(&server, "max").await;
    assert_eq!(
        max.expect("welcome").await["rooms"],
        json!(["manager_30", "manager_all"])
    );
    assert_eq!(by_cookie(&server, "nobody").await.closed().await.0, 1008);

    // Idle for too long; and as soon as the application has seen the user again, let in again.
    let idle = "update spa.http_sessions set last_accessed_at = now() - interval '31 minutes'
        where session_id = 'ann'; select rowcast.recheck()";
    database.run(idle).await;
    assert_eq!(ann.closed().await.0, 1008);
    assert_eq!(by_cookie(&server, "ann").await.closed().await.0, 1008);
    let seen = "update spa.http_sessions set last_accessed_at = now() where session_id = 'ann'";
    database.run(seen).await;
    by_cookie(&server, "ann").await.expect("welcome").await;
    // An account that is closed.
    let inactive = "update spa.users set is_active = false where user_id = 30;
        select rowcast.recheck()";
    database.run(inactive).await;
    assert_eq!(max.closed().await.0, 1008);
    server.stop().await;
}

/// What a call answers is what the events would show the same caller.
#[tokio::test]
async fn calls_answer_each_role_with_what_it_may_see() {
    let database = system("spa").await;
    database.run(&format!("{SAMPLE}{BOOKED}")).await;
    let server = serve(&database, |_| ()).await;
    let of = |viewer: &str| json!([booking_as(viewer, json!({}))]);
    let day = |viewer: &str| {
        day_told(9, &hours(), of)
            .into_iter()
            .map(|(.., data)| data)
            .nth(match viewer {
                "therapist" => 0,
                "receptionist" => 1,
                _ => 2,
            })
    };
    for (sub, role, bookings, schedule) in [
        ("1", "customer", of("customer"), None),
        ("2", "customer", json!([]), None),
        ("9", "therapist", of("therapist"), day("therapist")),
        ("10", "therapist", json!([]), None),
        (
            "20",
            "receptionist",
            of("receptionist"),
            day("receptionist"),
        ),
        ("30", "manager", of("manager"), day("manager")),
        ("40", "admin", of("manager"), day("manager")),
    ] {
        let mut caller = ws(&server, &token(sub, role, ""), "").await;
        caller.expect("welcome").await;
        let mut call = async |function: &str, args: Value| {
            let call = json!({ "type": "call", "id": 1, "function": function, "args": args });
            caller.send(call).await;
            caller.next().await
        };
        for args in [json!({}), json!({ "day": DAY })] {
            assert_eq!(call("bookings", args).await["data"], bookings, "{role}");
        }
        assert_eq!(
            call("bookings", json!({ "day": "2099-01-16" })).await["data"],
            json!([])
        );
        let of_tess = json!({ "therapist": 9, "day": DAY });
        let answer = call("therapist_schedule", of_tess).await;
        match schedule {
            Some(schedule) => assert_eq!(answer["data"], schedule, "{role}"),
            None => assert_eq!(answer["message"], "no such schedule for you", "{role}"),
        }
        let args = json!({ "service": 5, "therapist": 9, "day": DAY });
        let (.., slots) = free(5, 9, "09:00 11:00 15:30+90");
        assert_eq!(call("availability", args).await["data"], slots, "{role}");
    }
    let mut nobody = ws(&server, &token("1", "owner", ""), "").await;
    nobody.expect("welcome").await;
    let call = json!({ "type": "call", "id": 1, "function": "bookings" });
    nobody.send(call).await;
    assert_eq!(nobody.expect("error").await["code"], "no-such-function");
    server.stop().await;
}

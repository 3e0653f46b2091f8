//! The spa end to end: SQL as the legacy application writes it, the exact frames at exactly the
//! people who should have them, each with what their role may see. A marker that reaches everybody
//! after each statement proves what did not come.

/// Who gets in and where, and what may be asked.
mod access;
/// What each statement tells.
mod events;
/// The pages' own wire, by the dialect: frames as they are, and a real browser.
mod pages;
/// What the application keeps to, under concurrency too.
mod rules;

use crate::support::stage::{Stage, assert_whole, refused};
use crate::support::{Version, token, ws};
use serde_json::{Value, json};

/// A day that is yet to come whenever this runs.
const DAY: &str = "2099-01-15";

/// Tess works from nine to five with a break, and offers both services; Theo one, until noon.
/// Ann has paid for two massages, Ben for a facial.
pub const SAMPLE: &str = "
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
    stage: Stage,
}

impl Spa {
    /// The spa with this much more in it, and everybody connected.
    async fn open(version: Version, more: &str) -> Self {
        let mut stage = Stage::open(version, "spa", &[SAMPLE, more], |_| ()).await;
        for (name, sub, role) in PEOPLE {
            let query = if name == "Cleo" { "rooms=calendar" } else { "" };
            let mut somebody = ws(&stage.server, &token(sub, role, ""), query).await;
            somebody.expect("welcome").await;
            stage.seats.push((name, somebody));
        }
        Self { stage }
    }

    /// Runs SQL as the application; exactly these events reach exactly these people, in this order.
    async fn tells(&mut self, sql: &str, expected: &[Told<'_>]) {
        self.stage.writes(sql).await;
        for (person, heard) in self.stage.heard_in(&["*"]).await {
            let wanted: Vec<_> = expected
                .iter()
                .filter(|(_, _, people, _)| people.contains(&person))
                .map(|(name, channel, _, data)| (*name, *channel, data))
                .collect();
            assert_whole(person, sql, &heard, &wanted);
        }
    }

    /// Runs SQL as the application, whatever is heard of it.
    async fn passes_over(&mut self, sql: &str) {
        self.stage.writes(sql).await;
        self.stage.heard_in(&["*"]).await;
    }

    /// The application is told no, by the constraint of this name, and nobody hears anything.
    async fn refuses(&mut self, constraint: &str, sql: &str) {
        assert_eq!(refused(&self.stage.legacy, sql).await, constraint, "{sql}");
        self.tells("select", &[]).await;
    }
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

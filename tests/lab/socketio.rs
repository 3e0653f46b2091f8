//! The lab's front end as it is: socket.io-client with a JWT, which joins nothing and says nothing.
//! SQL as the application writes it, and each of its people with the events of their rooms.

use super::SAMPLE;
use crate::support::socketio::{Client, Clients};
use crate::support::{Database, lab, marker, serve, token};
use serde_json::{Value, json};

/// Who is connected: a name for the messages of this test, sub, role, org, and how.
const PEOPLE: [(&str, &str, &str, &str, &[&str]); 5] = [
    ("Ann", "1", "user", "1", &["websocket"]),
    ("Ben", "2", "user", "1", &["polling"]),
    (
        "an admin of Physics",
        "92",
        "admin",
        "1",
        &["polling", "websocket"],
    ),
    (
        "an admin of Chemistry",
        "94",
        "admin",
        "2",
        &["polling", "websocket"],
    ),
    ("a super admin", "95", "super_admin", "", &["websocket"]),
];

type Told = (&'static str, Value);

struct Audience<'a> {
    database: &'a Database,
    people: Vec<(&'static str, Client<'a>)>,
}

impl Audience<'_> {
    /// Runs SQL as the application: each of them hears exactly these, in this order.
    async fn hears(&mut self, sql: &str, expected: [&[&Told]; 5]) {
        let legacy = self.database.legacy().await;
        let done = legacy.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        marker(self.database, &["*"]).await;
        for ((name, client), wanted) in self.people.iter_mut().zip(expected) {
            let mut heard = Vec::new();
            loop {
                let (event, args) = client.next_event().await;
                if event == "marker" {
                    break;
                }
                // What comes behind the payload, this front end has never looked at.
                heard.push((event, args[0].clone()));
            }
            let wanted: Vec<_> = wanted
                .iter()
                .map(|(event, data)| ((*event).to_owned(), data.clone()))
                .collect();
            assert_eq!(heard, wanted, "{name}\n{sql}");
        }
    }
}

#[tokio::test]
async fn everybody_hears_what_concerns_them_and_joins_nothing() {
    let database = lab().await;
    let legacy = database.legacy().await;
    legacy.batch_execute(SAMPLE).await.expect("sample data");
    let server = serve(&database, |settings| {
        settings.http.dialects = vec!["lab".into()];
    })
    .await;
    let node = Clients::start();
    let mut audience = Audience {
        database: &database,
        people: Vec::new(),
    };
    for (name, sub, role, org, transports) in PEOPLE {
        let options =
            json!({ "auth": { "token": token(sub, role, org) }, "transports": transports });
        let mut client = node.connect(&server.url, options).await;
        client.connected().await;
        client.until_event("rowcast:welcome").await;
        audience.people.push((name, client));
    }
    let slot = |slot: u32, lab: u32, status: &str, spots: u32| -> Told {
        let data =
            json!({ "slotId": slot, "labId": lab, "status": status, "availableSpots": spots });
        ("time-slot:updated", data)
    };

    // Ann books the only spot of slot 12: everybody sees the lab, and whoever runs it the booking.
    let created = &(
        "booking:created",
        json!({ "bookingId": 7, "userId": "1", "slotId": 12, "labId": 1, "status": "pending" }),
    );
    let full = &slot(12, 1, "full", 0);
    audience
        .hears(
            "insert into lab.bookings (booking_id, user_id, slot_id, lab_id) values (7, '1', 12, 1)",
            [&[created, full]; 5],
        )
        .await;

    // It is confirmed: her affair and the admins'.
    let updated = &(
        "booking:updated",
        json!({ "bookingId": 7, "userId": "1", "status": "confirmed", "updatedBy": "92" }),
    );
    let confirm = "begin; set local app.user_id = '92';
        update lab.bookings set status = 'confirmed' where booking_id = 7; commit";
    audience
        .hears(
            confirm,
            [&[updated], &[], &[updated], &[updated], &[updated]],
        )
        .await;

    // Ben waits behind somebody, who gives up.
    audience
        .hears(
            "insert into lab.waitlist (waitlist_id, user_id, slot_id, joined_at) values
               (31, '50', 12, '2026-11-20 08:00Z'), (32, '2', 12, '2026-11-20 08:01Z')",
            [&[]; 5],
        )
        .await;
    let moved = &(
        "waitlist:position-changed",
        json!({ "waitlistId": 32, "userId": "2", "slotId": 12, "oldPosition": 2, "newPosition": 1 }),
    );
    audience
        .hears(
            "update lab.waitlist set status = 'left' where waitlist_id = 31",
            [&[], &[moved], &[], &[], &[]],
        )
        .await;

    // Ann cancels: the spot is Ben's to take.
    let cancelled = &(
        "booking:cancelled",
        json!({ "bookingId": 7, "userId": "1", "slotId": 12, "labId": 1 }),
    );
    let open = &slot(12, 1, "open", 1);
    let available = &(
        "waitlist:spot-available",
        json!({ "waitlistId": 32, "userId": "2", "slotId": 12, "labId": 1 }),
    );
    audience
        .hears(
            "update lab.bookings set status = 'cancelled' where booking_id = 7",
            [
                &[cancelled, open],
                &[cancelled, open, available],
                &[cancelled, open],
                &[cancelled, open],
                &[cancelled, open],
            ],
        )
        .await;

    let notified = &(
        "notification:new",
        json!({ "notificationId": 41, "type": "waitlist", "message": "A spot is free",
            "read": false }),
    );
    audience
        .hears(
            "insert into lab.notifications (notification_id, user_id, type, message)
             values (41, '2', 'waitlist', 'A spot is free')",
            [&[], &[notified], &[], &[], &[]],
        )
        .await;

    // Once, although the admins of its organization are in two of its rooms.
    let shut = &(
        "lab:status-changed",
        json!({ "labId": 2, "status": "maintenance", "reason": "fume hood" }),
    );
    audience
        .hears(
            "update lab.labs set status = 'maintenance', status_reason = 'fume hood' where lab_id = 2",
            [&[shut]; 5],
        )
        .await;
    let announced = &(
        "system:announcement",
        json!({ "message": "Closed on Friday", "severity": "warning",
            "expiresAt": "2026-11-27T17:00:00Z" }),
    );
    audience
        .hears(
            "insert into lab.announcements (message, severity, expires_at)
             values ('Closed on Friday', 'warning', '2026-11-27 18:00+01')",
            [&[announced]; 5],
        )
        .await;
    server.stop().await;
}

#[tokio::test]
async fn who_has_no_token_is_unauthorized() {
    let database = lab().await;
    let server = serve(&database, |settings| {
        settings.http.dialects = vec!["lab".into()];
    })
    .await;
    let node = Clients::start();
    for auth in [json!({}), json!({ "token": "x" }), json!({ "token": null })] {
        let mut client = node.connect(&server.url, json!({ "auth": auth })).await;
        assert_eq!(client.refused().await, "Unauthorized");
    }
    server.stop().await;
}

/// A page that is closed on the way and opened again has not missed anything.
#[tokio::test]
async fn a_page_that_keeps_its_place_hears_what_it_missed() {
    let database = lab().await;
    let legacy = database.legacy().await;
    legacy.batch_execute(SAMPLE).await.expect("sample data");
    let server = serve(&database, |settings| {
        settings.http.dialects = vec!["lab".into()];
    })
    .await;
    let node = Clients::start();
    let auth = json!({ "token": token("1", "user", "1") });
    let mut page = node.resuming(&server.url, json!({ "auth": auth })).await;
    page.connected().await;
    page.until_event("rowcast:welcome").await;
    page.disconnect().await;
    page.disconnected().await;
    legacy
        .batch_execute(
            "insert into lab.bookings (booking_id, user_id, slot_id, lab_id) values (7, '1', 12, 1)",
        )
        .await
        .expect("a booking");
    page.connect().await;
    assert_eq!(page.next_event().await.0, "booking:created");
    assert_eq!(page.next_event().await.0, "time-slot:updated");
    server.stop().await;
}

/// It asked for none of them, so it is let in with as many as it may have, and told how many it lacks.
#[tokio::test]
async fn a_page_with_more_labs_than_it_may_have_rooms_hears_those_that_it_has() {
    let database = lab().await;
    let legacy = database.legacy().await;
    legacy.batch_execute(SAMPLE).await.expect("sample data");
    let third = "insert into lab.labs (lab_id, org_id, name) values (3, 1, 'Lasers')";
    legacy.batch_execute(third).await.expect("a third lab");
    let server = serve(&database, |settings| {
        settings.http.dialects = vec!["lab".into()];
        settings.limits.rooms_per_connection = 2;
    })
    .await;
    let node = Clients::start();
    let auth = json!({ "token": token("1", "user", "1") });
    let mut page = node.connect(&server.url, json!({ "auth": auth })).await;
    page.connected().await;
    let welcome = page.until_event("rowcast:welcome").await;
    assert_eq!(
        welcome[0]["rooms"],
        json!(["user:1", "lab:1"]),
        "their own first"
    );
    let error = page.until_event("rowcast:error").await;
    assert_eq!(error[0]["code"], "too-many-rooms", "{error:?}");
    let said = error[0]["message"].as_str().expect("words");
    assert!(said.starts_with("2 of your 4 home rooms"), "{said}");
    // These first: what is not for this page would come before what is.
    for lab in [3, 2, 1] {
        let shut = format!("update lab.labs set status = 'maintenance' where lab_id = {lab}");
        legacy.batch_execute(&shut).await.expect("a lab is shut");
    }
    let (name, args) = page.next_event().await;
    let heard = (&*name, &args[0]["labId"]);
    assert_eq!(heard, ("lab:status-changed", &json!(1)));
    server.stop().await;
}

//! The lab system end to end: SQL as the legacy application writes it, the exact frames at exactly
//! the rooms that should have them. One subscriber sits in each room; a marker that reaches all of
//! them after each statement proves what did not come.

use crate::support::stage::{Stage, assert_whole, stay_in};
use crate::support::{Version, marker, on, on_every_version, serve, token, unhurried, ws};
use rowcast::config::Settings;
use serde_json::{Value, json};
use std::time::Duration;

/// Its front end, by the real socket.io-client.
mod socketio;

/// Two organizations with a lab each. Slot 11 has two spots, 12 has one, 21 is in the other lab.
pub const SAMPLE: &str = "
    insert into lab.organizations (org_id, name) values (1, 'Physics'), (2, 'Chemistry');
    insert into lab.labs (lab_id, org_id, name) values (1, 1, 'Optics'), (2, 2, 'Synthesis');
    insert into lab.slots (slot_id, lab_id, starts_at, ends_at, capacity) values
      (11, 1, '2026-11-23 08:00Z', '2026-11-23 10:00Z', 2),
      (12, 1, '2026-11-23 10:00Z', '2026-11-23 12:00Z', 1),
      (21, 2, '2026-11-23 08:00Z', '2026-11-23 10:00Z', 1);
";

/// Each room with somebody who may be in it: sub, role, org. Nobody is in two of them.
const ROOMS: [(&str, &str, &str, &str); 10] = [
    ("user:1", "1", "user", "1"),
    ("user:2", "2", "user", "1"),
    ("user:3", "3", "user", "1"),
    ("lab:1", "90", "user", "1"),
    ("lab:2", "91", "user", "1"),
    ("admin:all", "92", "admin", ""),
    ("admin:org:1", "93", "admin", "1"),
    ("admin:org:2", "94", "admin", "2"),
    ("super-admin", "95", "super_admin", ""),
    // A bystander, who hears only what everybody hears.
    ("user:99", "99", "user", "1"),
];

pub const EVERYBODY: &[&str] = &["*"];

/// An event that is to come: name, channel, rooms, data.
pub type Told<'a> = (&'a str, &'a str, &'a [&'a str], Value);

/// The lab with somebody in each room.
pub struct Lab {
    pub stage: Stage,
}

impl Lab {
    /// The lab with this much more in it, and somebody in each room.
    pub async fn open(version: Version, more: &str) -> Self {
        // Ten thousand rows of one statement are to fit, and wait until those before have read theirs.
        let wide = |settings: &mut Settings| {
            settings.limits.queue_bytes = 16 << 20;
            settings.limits.write_stall = Duration::from_secs(600);
        };
        let mut stage = Stage::open(version, "lab", &[SAMPLE, more], wide).await;
        for (room, sub, role, org) in ROOMS {
            let token = token(sub, role, org);
            let mut somebody = ws(&stage.server, &token, &format!("rooms={room}")).await;
            stay_in(&mut somebody, room).await;
            stage.seats.push((room, somebody));
        }
        Self { stage }
    }

    /// Runs SQL as the application; exactly these events reach exactly their rooms, in this order.
    pub async fn tells(&mut self, sql: &str, expected: &[Told<'_>]) {
        self.stage.writes(sql).await;
        for (room, heard) in self.stage.heard().await {
            let wanted = at(room, expected).map(|(name, channel, _, data)| (*name, *channel, data));
            assert_whole(room, sql, &heard, &wanted.collect::<Vec<_>>());
        }
    }
}

/// Those of these events that reach a room.
pub fn at<'a>(room: &str, events: &'a [Told<'a>]) -> impl Iterator<Item = &'a Told<'a>> {
    let reach = move |rooms: &[&str]| rooms.contains(&room) || *rooms == *EVERYBODY;
    events.iter().filter(move |(_, _, rooms, _)| reach(rooms))
}

pub fn slot(slot: u32, lab: u32, status: &str, spots: u32) -> Value {
    json!({ "slotId": slot, "labId": lab, "status": status, "availableSpots": spots })
}

async fn booking_created(version: Version) {
    let mut lab = Lab::open(version, "").await;
    lab.tells(
        "insert into lab.bookings (booking_id, user_id, slot_id, lab_id) values (7, '1', 11, 1)",
        &[
            (
                "booking:created",
                "bookings",
                &["user:1", "lab:1", "admin:all"],
                json!({ "bookingId": 7, "userId": "1", "slotId": 11, "labId": 1,
                    "status": "pending" }),
            ),
            (
                "time-slot:updated",
                "slots",
                &["lab:1"],
                slot(11, 1, "open", 1),
            ),
        ],
    )
    .await;
    lab.stage.close().await;
}

async fn booking_updated(version: Version) {
    let more = "insert into lab.bookings (booking_id, user_id, slot_id, lab_id)
        values (7, '1', 11, 1)";
    let mut lab = Lab::open(version, more).await;
    let updated = |status: &str, by: &str| {
        (
            "booking:updated",
            "bookings",
            &["user:1", "admin:all"][..],
            json!({ "bookingId": 7, "userId": "1", "status": status, "updatedBy": by }),
        )
    };
    // By the role, by its name, by the column, by what the application says.
    let confirm = "update lab.bookings set status = 'confirmed' where booking_id = 7";
    lab.tells(confirm, &[updated("confirmed", "lab_app")]).await;
    lab.stage
        .database
        .run("insert into lab_push.role_name values ('lab_app', 'the lab')")
        .await;
    let complete = "update lab.bookings set status = 'completed' where booking_id = 7";
    lab.tells(complete, &[updated("completed", "the lab")])
        .await;
    let by_column = "update lab.bookings set status = 'no_show', updated_by = '5'";
    lab.tells(by_column, &[updated("no_show", "5")]).await;
    let by_setting = "begin; set local app.user_id = '6';
        update lab.bookings set status = 'confirmed'; commit";
    lab.tells(by_setting, &[updated("confirmed", "6")]).await;
    // A field that is in no payload, and no change at all.
    lab.tells("update lab.bookings set note = 'window seat'", &[])
        .await;
    lab.tells("update lab.bookings set status = status", &[])
        .await;
    lab.stage.close().await;
}

async fn booking_cancelled(version: Version) {
    let more = "insert into lab.bookings (booking_id, user_id, slot_id, lab_id, status)
        values (7, '1', 11, 1, 'confirmed'), (8, '2', 11, 1, 'confirmed')";
    let mut lab = Lab::open(version, more).await;
    let cancelled = |booking: u32, user: &str| json!({ "bookingId": booking, "userId": user, "slotId": 11, "labId": 1 });
    lab.tells(
        "update lab.bookings set status = 'cancelled' where booking_id = 7",
        &[
            (
                "booking:cancelled",
                "bookings",
                &["user:1", "lab:1", "admin:all"],
                cancelled(7, "1"),
            ),
            (
                "time-slot:updated",
                "slots",
                &["lab:1"],
                slot(11, 1, "open", 1),
            ),
        ],
    )
    .await;
    lab.tells(
        "delete from lab.bookings",
        &[
            (
                "booking:cancelled",
                "bookings",
                &["user:2", "lab:1", "admin:all"],
                cancelled(8, "2"),
            ),
            (
                "time-slot:updated",
                "slots",
                &["lab:1"],
                slot(11, 1, "open", 2),
            ),
        ],
    )
    .await;
    lab.stage.close().await;
}

async fn time_slot_updated(version: Version) {
    let mut lab = Lab::open(version, "").await;
    let told = |slot| ("time-slot:updated", "slots", &["lab:1"][..], slot);
    let closed = "update lab.slots set status = 'closed' where slot_id = 11";
    lab.tells(closed, &[told(slot(11, 1, "closed", 2))]).await;
    let more = "update lab.slots set capacity = 3 where slot_id = 12";
    lab.tells(more, &[told(slot(12, 1, "open", 3))]).await;
    lab.tells("update lab.slots set ends_at = ends_at + '5 min'", &[])
        .await;
    // The last spot; of many bookings in one transaction one state is told.
    lab.tells(
        "begin;
         insert into lab.bookings (booking_id, user_id, slot_id, lab_id, status)
           values (1, '50', 21, 2, 'pending');
         delete from lab.bookings where booking_id = 1;
         insert into lab.bookings (booking_id, user_id, slot_id, lab_id) values (2, '51', 21, 2);
         commit",
        &[
            (
                "booking:created",
                "bookings",
                &["lab:2", "admin:all"],
                json!({ "bookingId": 1, "userId": "50", "slotId": 21, "labId": 2,
                    "status": "pending" }),
            ),
            (
                "booking:cancelled",
                "bookings",
                &["lab:2", "admin:all"],
                json!({ "bookingId": 1, "userId": "50", "slotId": 21, "labId": 2 }),
            ),
            (
                "booking:created",
                "bookings",
                &["lab:2", "admin:all"],
                json!({ "bookingId": 2, "userId": "51", "slotId": 21, "labId": 2,
                    "status": "pending" }),
            ),
            (
                "time-slot:updated",
                "slots",
                &["lab:2"],
                slot(21, 2, "full", 0),
            ),
        ],
    )
    .await;
    lab.stage.close().await;
}

/// Slot 12 is full; users 2, 3 and 1 wait for it.
const LINE: &str = "
    insert into lab.bookings (booking_id, user_id, slot_id, lab_id, status)
      values (7, '50', 12, 1, 'confirmed');
    insert into lab.waitlist (waitlist_id, user_id, slot_id, joined_at) values
      (31, '2', 12, '2026-11-20 08:00Z'), (32, '3', 12, '2026-11-20 08:01Z'),
      (33, '1', 12, '2026-11-20 08:02Z');
";

async fn waitlist_position_changed(version: Version) {
    let mut lab = Lab::open(version, LINE).await;
    let moved = |waitlist: u32, user: &str, old: u32, new: u32| {
        json!({ "waitlistId": waitlist, "userId": user, "slotId": 12,
            "oldPosition": old, "newPosition": new })
    };
    let name = "waitlist:position-changed";
    lab.tells(
        "update lab.waitlist set status = 'left' where waitlist_id = 31",
        &[
            (name, "waitlist", &["user:3"], moved(32, "3", 2, 1)),
            (name, "waitlist", &["user:1"], moved(33, "1", 3, 2)),
        ],
    )
    .await;
    // With a snapshot of its own, the new position is found when the event is read.
    lab.tells(
        "begin isolation level serializable;
         delete from lab.waitlist where waitlist_id = 32; commit",
        &[(name, "waitlist", &["user:1"], moved(33, "1", 2, 1))],
    )
    .await;
    let behind = "insert into lab.waitlist (user_id, slot_id) values ('2', 12)";
    lab.tells(behind, &[]).await;
    lab.stage.close().await;
}

/// What was counted at commit stood behind what another had told meanwhile, and without that; and a place
/// that was the same again by then was not told at all.
async fn the_last_position_told_is_the_one_in_line(version: Version) {
    let mut lab = Lab::open(version, LINE).await;
    let line = "delete from lab.waitlist; insert into lab.waitlist (waitlist_id, user_id, slot_id, joined_at)
        values (31, '2', 12, '2026-11-20 08:00Z'), (32, '3', 12, '2026-11-20 08:01Z'),
          (33, '1', 12, '2026-11-20 08:02Z')";
    let jump = "insert into lab.waitlist (user_id, slot_id, joined_at) values ('9', 12, '2026-11-20 07:00Z')";
    let leave = "delete from lab.waitlist where waitlist_id =";
    let other = lab.stage.database.legacy().await;
    for (begin, waits, commits, position) in [
        // It has counted, and holds the lock that the other would wait for.
        (
            "begin; set constraints all immediate",
            format!("{leave} 31"),
            format!("{leave} 32"),
            1,
        ),
        (
            "begin isolation level repeatable read",
            format!("{leave} 31"),
            jump.to_owned(),
            3,
        ),
    ] {
        lab.stage.writes(line).await;
        lab.stage.heard().await;
        let waits = format!("{begin}; {waits}");
        other.batch_execute(&waits).await.expect("it stays open");
        lab.stage.writes(&commits).await;
        let mut told = lab.stage.heard().await;
        other.batch_execute("commit").await.expect("a commit");
        told.extend(lab.stage.heard().await);
        let own = told.into_iter().filter(|(room, _)| *room == "user:1");
        let last = own.flat_map(|(_, heard)| heard).next_back();
        let last = last.expect("it has moved");
        assert_eq!(
            last["data"]["newPosition"], position,
            "{waits} {commits} {last}"
        );
    }
    lab.stage.close().await;
}

async fn waitlist_spot_available(version: Version) {
    let mut lab = Lab::open(version, LINE).await;
    lab.tells(
        "update lab.bookings set status = 'cancelled' where booking_id = 7",
        &[
            (
                "booking:cancelled",
                "bookings",
                &["lab:1", "admin:all"],
                json!({ "bookingId": 7, "userId": "50", "slotId": 12, "labId": 1 }),
            ),
            (
                "time-slot:updated",
                "slots",
                &["lab:1"],
                slot(12, 1, "open", 1),
            ),
            (
                "waitlist:spot-available",
                "waitlist",
                &["user:2"],
                json!({ "waitlistId": 31, "userId": "2", "slotId": 12, "labId": 1 }),
            ),
        ],
    )
    .await;
    lab.stage.close().await;
}

/// The application keeps a freed spot for whom it likes, at once or later; when they let it pass, it
/// is the next one's.
async fn a_spot_is_told_to_whom_it_is_offered(version: Version) {
    let mut lab = Lab::open(version, LINE).await;
    let available = |waitlist: u32, user: &'static str, room| -> Told<'_> {
        let data = json!({ "waitlistId": waitlist, "userId": user, "slotId": 12, "labId": 1 });
        ("waitlist:spot-available", "waitlist", room, data)
    };
    let moved = |waitlist: u32, user: &str, room, old: u32| -> Told<'_> {
        let data = json!({ "waitlistId": waitlist, "userId": user, "slotId": 12,
            "oldPosition": old, "newPosition": old - 1 });
        ("waitlist:position-changed", "waitlist", room, data)
    };
    let cancelled = json!({ "bookingId": 7, "userId": "50", "slotId": 12, "labId": 1 });
    let cancelled: [Told<'_>; 2] = [
        (
            "booking:cancelled",
            "bookings",
            &["lab:1", "admin:all"],
            cancelled,
        ),
        (
            "time-slot:updated",
            "slots",
            &["lab:1"],
            slot(12, 1, "open", 1),
        ),
    ];
    let [booking, freed] = cancelled;
    let at_once = "begin; update lab.bookings set status = 'cancelled' where booking_id = 7;
        update lab.waitlist set status = 'offered' where waitlist_id = 31; commit";
    let first = available(31, "2", &["user:2"]);
    lab.tells(at_once, &[booking, freed, first]).await;
    let expired = [
        available(32, "3", &["user:3"]),
        moved(32, "3", &["user:3"], 2),
        moved(33, "1", &["user:1"], 3),
    ];
    let expires = "update lab.waitlist set status = 'expired' where waitlist_id = 31";
    lab.tells(expires, &expired).await;
    // To somebody who is not the first, and who hands it on.
    let offer = "update lab.waitlist set status = 'offered' where waitlist_id = 33";
    lab.tells(offer, &[available(33, "1", &["user:1"])]).await;
    lab.tells("update lab.waitlist set status = status", &[])
        .await;
    let hand_on = "update lab.waitlist set user_id = '2' where waitlist_id = 33";
    lab.tells(hand_on, &[available(33, "2", &["user:2"])]).await;
    let away = "delete from lab.waitlist where waitlist_id = 33";
    lab.tells(away, &[available(32, "3", &["user:3"])]).await;
    let take = "begin; update lab.waitlist set status = 'accepted' where waitlist_id = 32;
        insert into lab.waitlist (waitlist_id, user_id, slot_id, status)
          values (34, '1', 12, 'offered'); commit";
    lab.tells(take, &[available(34, "1", &["user:1"])]).await;
    lab.stage.close().await;
}

/// It was told to whom it had been before, with the other's name.
async fn a_place_in_line_that_is_handed_over_is_the_others(version: Version) {
    let mut lab = Lab::open(version, LINE).await;
    for (sql, to, waitlist) in [
        (
            "begin; update lab.bookings set status = 'cancelled' where booking_id = 7;
             update lab.waitlist set user_id = '1' where waitlist_id = 31; commit",
            "user:1",
            31,
        ),
        // With a snapshot of its own, it would tell the new position, too.
        (
            "begin isolation level repeatable read;
             delete from lab.waitlist where waitlist_id = 31;
             update lab.waitlist set user_id = '2' where waitlist_id = 32; commit",
            "user:2",
            32,
        ),
    ] {
        lab.stage.writes(sql).await;
        for (room, heard) in lab.stage.heard().await {
            let user = room.strip_prefix("user:").map(Value::from);
            let own = |event: &Value| {
                user.as_ref()
                    .is_none_or(|user| event["data"]["userId"] == *user)
            };
            assert!(heard.iter().all(own), "{room}: {heard:#?}");
            let is_offer = |event: &&Value| event["name"] == "waitlist:spot-available";
            let offers = heard.iter().filter(is_offer);
            let offers: Vec<_> = offers.map(|event| &event["data"]["waitlistId"]).collect();
            let wanted: &[u32] = if room == to { &[waitlist] } else { &[] };
            assert_eq!(offers, wanted, "{room}: {heard:#?}");
        }
    }
    lab.stage.close().await;
}

/// Two spots of a slot are given back in two transactions, neither of which sees the other: the first
/// two in line hear of it, and nobody behind them.
async fn waitlist_spots_given_back_at_once(version: Version) {
    let full = LINE.replace(
        ", 12, 1, 'confirmed')",
        ", 11, 1, 'confirmed'), (8, '51', 11, 1, 'confirmed')",
    );
    let full = full.replace(", 12, '2026", ", 11, '2026");
    let mut lab = Lab::open(version, &full).await;
    let cancel = |booking: u32| {
        format!("begin; update lab.bookings set status = 'cancelled' where booking_id = {booking}")
    };
    let other = lab.stage.database.legacy().await;
    other.batch_execute(&cancel(8)).await.expect("cancelled");
    lab.stage.writes(&cancel(7)).await;
    other.batch_execute("commit").await.expect("committed");
    lab.stage.writes("commit").await;
    for (room, heard) in lab.stage.heard().await {
        let offers: Vec<_> = heard
            .iter()
            .filter(|event| event["name"] == "waitlist:spot-available")
            .map(|event| event["data"]["waitlistId"].as_u64())
            .collect();
        match room {
            "user:2" => assert!(offers.contains(&Some(31)), "{heard:#?}"),
            "user:3" => assert_eq!(offers, [Some(32)], "{heard:#?}"),
            _ => assert!(offers.is_empty(), "{room}: {heard:#?}"),
        }
    }
    lab.stage.close().await;
}

async fn notification_new(version: Version) {
    let mut lab = Lab::open(version, "").await;
    lab.tells(
        "insert into lab.notifications (notification_id, user_id, type, message)
         values (41, '1', 'reminder', 'Tomorrow at 8')",
        &[(
            "notification:new",
            "notifications",
            &["user:1"],
            json!({ "notificationId": 41, "type": "reminder", "message": "Tomorrow at 8",
                "read": false }),
        )],
    )
    .await;
    lab.tells("update lab.notifications set read = true", &[])
        .await;
    lab.stage.close().await;
}

async fn lab_status_changed(version: Version) {
    let mut lab = Lab::open(version, "").await;
    let told = |reason: Value| {
        (
            "lab:status-changed",
            "labs",
            &["lab:1", "admin:org:1"][..],
            json!({ "labId": 1, "status": "maintenance", "reason": reason }),
        )
    };
    let shut = "update lab.labs set status = 'maintenance' where lab_id = 1";
    lab.tells(shut, &[told(Value::Null)]).await;
    let why = "update lab.labs set status_reason = 'laser' where lab_id = 1";
    lab.tells(why, &[told("laser".into())]).await;
    lab.tells("update lab.labs set name = 'Lasers' where lab_id = 1", &[])
        .await;
    lab.stage.close().await;
}

async fn system_announcement(version: Version) {
    let mut lab = Lab::open(version, "").await;
    let told = |severity: &str, until: Value| {
        (
            "system:announcement",
            "announcements",
            EVERYBODY,
            json!({ "message": "Closed on Friday", "severity": severity, "expiresAt": until }),
        )
    };
    lab.tells(
        "set time zone 'Asia/Tokyo';
         insert into lab.announcements (message, severity, expires_at)
         values ('Closed on Friday', 'warning', '2026-11-27 18:00+01')",
        &[told("warning", "2026-11-27T17:00:00Z".into())],
    )
    .await;
    let open_ended = "insert into lab.announcements (message) values ('Closed on Friday')";
    lab.tells(open_ended, &[told("info", Value::Null)]).await;
    lab.stage.close().await;
}

async fn payment_completed_failed_refunded(version: Version) {
    let more = "insert into lab.bookings (booking_id, user_id, slot_id, lab_id)
        values (7, '1', 11, 1)";
    let mut lab = Lab::open(version, more).await;
    let told = |name, status: &str| {
        (
            name,
            "payments",
            &["user:1", "admin:all"][..],
            json!({ "paymentId": 61, "bookingId": 7, "userId": "1", "amount": 12.5,
                "currency": "EUR", "status": status }),
        )
    };
    lab.tells(
        "insert into lab.payments (payment_id, booking_id, user_id, amount)
         values (61, 7, '1', 12.50)",
        &[],
    )
    .await;
    for (name, status) in [
        ("payment:failed", "failed"),
        ("payment:completed", "completed"),
        ("payment:refunded", "refunded"),
    ] {
        let sql = format!("update lab.payments set status = '{status}' where payment_id = 61");
        lab.tells(&sql, &[told(name, status)]).await;
        lab.tells(&sql, &[]).await;
    }
    lab.stage.close().await;
}

async fn what_is_rolled_back_is_never_told(version: Version) {
    let mut lab = Lab::open(version, "").await;
    let undone = "begin;
        insert into lab.bookings (user_id, slot_id, lab_id) values ('1', 11, 1); rollback";
    lab.tells(undone, &[]).await;
    lab.stage.close().await;
}

/// Forbidden rooms and rooms that do not exist are answered alike, and none of them is joined.
async fn everybody_joins_what_access_sql_says_and_nothing_else(version: Version) {
    let database = on(version).await.lab().await;
    database.run(SAMPLE).await;
    let server = serve(&database, unhurried).await;
    let asked = "user:1,user:2,lab:1,lab:99,admin:all,admin:org:1,admin:org:2,super-admin,other";
    for (sub, role, org, joined) in [
        // Every lab, asked for or not.
        ("1", "user", "1", "user:1 lab:1 lab:2"),
        (
            "2",
            "admin",
            "1",
            "user:2 admin:all admin:org:1 lab:1 lab:2",
        ),
        (
            "3",
            "super_admin",
            "",
            "user:3 admin:all super-admin admin:org:1 admin:org:2 user:1 user:2 lab:1 lab:2",
        ),
    ] {
        let query = format!("rooms={asked}");
        let mut somebody = ws(&server, &token(sub, role, org), &query).await;
        let welcome = somebody.expect("welcome").await;
        let rooms: Vec<_> = joined.split(' ').collect();
        let has = welcome["rooms"].as_array().expect("rooms");
        assert_eq!(has.len(), rooms.len(), "{role}: {welcome}");
        assert!(
            rooms.iter().all(|room| has.contains(&json!(room))),
            "{role}: {welcome}"
        );
        let mut refused = asked.split(',').filter(|room| !rooms.contains(room));
        for room in &mut refused {
            let error = somebody.expect("error").await;
            assert_eq!(
                error,
                json!({ "type": "error", "code": "forbidden", "message": "no such room for you",
                    "room": room })
            );
        }
        marker(&database, &["user:99", "lab:99", "other"]).await;
        let last = marker(&database, &["*"]).await;
        assert_eq!(somebody.expect_event("marker").await["id"], last);
    }
    server.stop().await;
}

on_every_version! {
    booking_created
    booking_updated
    booking_cancelled
    time_slot_updated
    waitlist_position_changed
    the_last_position_told_is_the_one_in_line
    waitlist_spot_available
    a_spot_is_told_to_whom_it_is_offered
    a_place_in_line_that_is_handed_over_is_the_others
    waitlist_spots_given_back_at_once
    notification_new
    lab_status_changed
    system_announcement
    payment_completed_failed_refunded
    what_is_rolled_back_is_never_told
    everybody_joins_what_access_sql_says_and_nothing_else
}

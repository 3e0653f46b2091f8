//! The ticket shop end to end: SQL as the shop writes it, the exact events at exactly the events'
//! rooms, and the seats that are left, told right while a thousand book at once.

/// The pages' own wire, by the dialect: frames as they are, and a real browser.
mod pages;

use crate::support::stage::{Stage, refused};
use crate::support::{Version, eventually, marker, on_every_version, token, within, ws};
use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Two concerts; the second is nearly sold out.
pub const SAMPLE: &str = "
    insert into tickets.events (event_id, title, seat_capacity) values
      (1, 'Rock Concert', 100), (2, 'Jazz Night', 3);
    insert into tickets.bookings (booking_id, event_id, user_id, seats) values ('BK-OLD001', 2, 7, 2);
";

/// The shop with somebody at each event.
struct Shop {
    stage: Stage,
}

impl Shop {
    async fn open(version: Version) -> Self {
        let mut stage = Stage::open(version, "tickets", &[SAMPLE], |_| ()).await;
        for room in ["event:1", "event:2"] {
            let token = token("456", "", "");
            let mut somebody = ws(&stage.server, &token, &format!("rooms={room}")).await;
            let welcome = somebody.expect("welcome").await;
            assert_eq!(welcome["rooms"], json!([room]));
            stage.seats.push((room, somebody));
        }
        Self { stage }
    }

    /// Runs SQL as the shop; exactly these events reach the room of the event they name.
    async fn tells(&mut self, sql: &str, expected: &[(&str, Value)]) {
        self.stage.writes(sql).await;
        for (room, heard) in self.stage.heard().await {
            let heard: Vec<_> = heard
                .iter()
                .map(|e| json!([e["name"], e["data"]]))
                .collect();
            let wanted: Vec<_> = expected
                .iter()
                .filter(|(_, data)| room == format!("event:{}", data["eventId"]))
                .map(|(name, data)| json!([name, data]))
                .collect();
            assert_eq!(heard, wanted, "{room}\n{sql}");
        }
    }
}

fn booking(event: u32, booking: &str, user: u32, left: u32) -> Value {
    json!({ "eventId": event, "bookingId": booking, "userId": user, "availableSeats": left })
}

fn seats(event: u32, left: u32, capacity: u32) -> Value {
    json!({ "eventId": event, "availableSeats": left, "seatCapacity": capacity })
}

async fn a_booking_is_created_and_cancelled(version: Version) {
    let mut shop = Shop::open(version).await;
    let book = "insert into tickets.bookings (booking_id, event_id, user_id)
        values ('BK-ABC123', 1, 789)";
    let created = |left| ("booking_created", booking(1, "BK-ABC123", 789, left));
    let cancelled = |left| ("booking_cancelled", booking(1, "BK-ABC123", 789, left));
    shop.tells(book, &[created(99)]).await;
    let cancel = "update tickets.bookings set status = 'cancelled' where booking_id = 'BK-ABC123'";
    shop.tells(cancel, &[cancelled(100)]).await;
    shop.tells(cancel, &[]).await;
    let again = "update tickets.bookings set status = 'confirmed' where booking_id = 'BK-ABC123'";
    shop.tells(again, &[created(99)]).await;
    let delete = "delete from tickets.bookings where booking_id = 'BK-ABC123'";
    shop.tells(delete, &[cancelled(100)]).await;
    // Booked as already cancelled, and swept out: nobody is told.
    let quiet =
        "insert into tickets.bookings (event_id, user_id, status) values (1, 7, 'cancelled');
        delete from tickets.bookings where status = 'cancelled'";
    shop.tells(quiet, &[]).await;
    let undone = "begin; insert into tickets.bookings (event_id, user_id) values (1, 7); rollback";
    shop.tells(undone, &[]).await;
    shop.stage.close().await;
}

/// Each booking of a statement tells what is left after it, and none less than nothing.
async fn many_bookings_of_one_statement_are_told_one_after_the_other(version: Version) {
    let mut shop = Shop::open(version).await;
    let book = "insert into tickets.bookings (booking_id, event_id, user_id, seats) values
        ('BK-AAA001', 1, 1, 4), ('BK-AAA002', 1, 2, 1), ('BK-AAA003', 2, 2, 1)";
    shop.tells(
        book,
        &[
            ("booking_created", booking(1, "BK-AAA001", 1, 96)),
            ("booking_created", booking(1, "BK-AAA002", 2, 95)),
            ("booking_created", booking(2, "BK-AAA003", 2, 0)),
        ],
    )
    .await;
    // Sold out, and two bookings exchange their seats: the seat that is freed comes first.
    let exchange = "update tickets.bookings set seats = 3 - seats where event_id = 2";
    shop.tells(
        exchange,
        &[
            ("seat_update", seats(2, 1, 3)),
            ("seat_update", seats(2, 0, 3)),
        ],
    )
    .await;
    // Another user's from now on; and one that moves to the other event.
    let hand_over = "update tickets.bookings set user_id = 8 where booking_id = 'BK-AAA003'";
    shop.tells(
        hand_over,
        &[
            ("booking_cancelled", booking(2, "BK-AAA003", 2, 2)),
            ("booking_created", booking(2, "BK-AAA003", 8, 0)),
        ],
    )
    .await;
    let moved = "update tickets.bookings set event_id = 1 where booking_id = 'BK-OLD001'";
    shop.tells(
        moved,
        &[
            ("booking_created", booking(1, "BK-OLD001", 7, 94)),
            ("booking_cancelled", booking(2, "BK-OLD001", 7, 1)),
        ],
    )
    .await;
    shop.tells(
        "delete from tickets.bookings where event_id = 1",
        &[
            ("booking_cancelled", booking(1, "BK-AAA001", 1, 98)),
            ("booking_cancelled", booking(1, "BK-AAA002", 2, 99)),
            ("booking_cancelled", booking(1, "BK-OLD001", 7, 100)),
        ],
    )
    .await;
    let all = [
        ("seat_update", seats(1, 100, 100)),
        ("seat_update", seats(2, 3, 3)),
    ];
    shop.tells("truncate tickets.bookings", &all).await;
    shop.stage.close().await;
}

async fn a_capacity_is_changed(version: Version) {
    let mut shop = Shop::open(version).await;
    let more = "update tickets.events set seat_capacity = 50 where event_id = 2";
    shop.tells(more, &[("seat_update", seats(2, 48, 50))]).await;
    shop.tells("update tickets.events set title = 'Jazz Nights'", &[])
        .await;
    shop.tells(
        "begin; update tickets.events set seat_capacity = 2 where event_id = 2;
         update tickets.events set seat_capacity = 3 where event_id = 2;
         insert into tickets.bookings (booking_id, event_id, user_id) values ('BK-LAST01', 2, 9);
         commit",
        &[
            ("seat_update", seats(2, 0, 2)),
            ("seat_update", seats(2, 1, 3)),
            ("booking_created", booking(2, "BK-LAST01", 9, 0)),
        ],
    )
    .await;
    shop.stage.close().await;
}

/// The bookings have no events left by then to tell of.
async fn everything_is_emptied(version: Version) {
    let mut shop = Shop::open(version).await;
    shop.tells(
        "truncate tickets.bookings",
        &[
            ("seat_update", seats(1, 100, 100)),
            ("seat_update", seats(2, 3, 3)),
        ],
    )
    .await;
    let done = shop
        .stage
        .legacy
        .batch_execute("truncate tickets.events cascade")
        .await;
    done.expect("emptied");
    for (room, heard) in shop.stage.heard().await {
        let heard: Vec<_> = heard
            .iter()
            .map(|e| json!([e["name"], e["data"]]))
            .collect();
        assert_eq!(
            heard,
            [json!(["reset", { "table": "tickets.events" }])],
            "{room}"
        );
    }
    shop.stage.close().await;
}

/// Nothing is oversold, at whatever isolation level; and what was refused is not told.
async fn what_would_oversell_is_refused(version: Version) {
    let mut shop = Shop::open(version).await;
    let two = "insert into tickets.bookings (event_id, user_id, seats) values (2, 8, 2)";
    assert_eq!(
        refused(&shop.stage.legacy, two).await,
        "events_not_oversold"
    );
    let fewer = "update tickets.events set seat_capacity = 1 where event_id = 2";
    assert_eq!(
        refused(&shop.stage.legacy, fewer).await,
        "events_not_oversold"
    );
    let larger = "update tickets.bookings set seats = 4 where event_id = 2";
    assert_eq!(
        refused(&shop.stage.legacy, larger).await,
        "events_not_oversold"
    );
    assert!(
        shop.stage
            .heard()
            .await
            .iter()
            .all(|(_, heard)| heard.is_empty())
    );

    // One whose snapshot still shows the last seat, when another has taken it.
    let other = shop.stage.database.legacy().await;
    let begin = "begin isolation level repeatable read; select booked_seats from tickets.events";
    other.batch_execute(begin).await.expect("a snapshot");
    let last = "insert into tickets.bookings (booking_id, event_id, user_id)
        values ('BK-LAST01', 2, 8)";
    let told = [("booking_created", booking(2, "BK-LAST01", 8, 0))];
    shop.tells(last, &told).await;
    let late = "insert into tickets.bookings (event_id, user_id) values (2, 9)";
    let refused = other
        .batch_execute(late)
        .await
        .expect_err("no seat is left");
    assert_eq!(refused.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
    shop.stage.close().await;
}

/// A booking is given to another user, which takes no seat; somebody books meanwhile, and is told of
/// after it, for the numbers to go on from each other.
async fn a_booking_that_changes_hands_holds_its_event(version: Version) {
    let mut shop = Shop::open(version).await;
    let seller = shop.stage.database.legacy().await;
    let buyer = shop.stage.database.legacy().await;
    let hand_over = "begin; update tickets.bookings set user_id = 8 where booking_id = 'BK-OLD001'";
    seller.batch_execute(hand_over).await.expect("handed over");
    let bought = tokio::spawn(async move {
        let book = "insert into tickets.bookings (booking_id, event_id, user_id)
            values ('BK-LAST01', 2, 9)";
        buyer.batch_execute(book).await.expect("the last seat");
    });
    let waits = "locktype = 'transactionid'";
    eventually("the buyer waits, or is done", async || {
        (bought.is_finished() || shop.stage.database.waiters(waits).await == 1).then_some(())
    })
    .await;
    seller.batch_execute("commit").await.expect("the seller");
    within("the buyer", bought).await.expect("no panic");
    let told: Vec<_> = shop.stage.heard().await.swap_remove(1).1;
    let told: Vec<_> = told.iter().map(|e| json!([e["name"], e["data"]])).collect();
    assert_eq!(
        told,
        [
            json!(["booking_cancelled", booking(2, "BK-OLD001", 7, 3)]),
            json!(["booking_created", booking(2, "BK-OLD001", 8, 1)]),
            json!(["booking_created", booking(2, "BK-LAST01", 9, 0)]),
        ]
    );

    // An update that tells nobody of anything holds nothing.
    let quiet =
        "begin; update tickets.bookings set created_at = now() where booking_id = 'BK-OLD001'";
    seller.batch_execute(quiet).await.expect("a new time");
    let cancel = "delete from tickets.bookings where booking_id = 'BK-LAST01'";
    let told = [("booking_cancelled", booking(2, "BK-LAST01", 9, 1))];
    within("a cancellation", shop.tells(cancel, &told)).await;
    seller.batch_execute("commit").await.expect("the seller");
    shop.stage.close().await;
}

/// Forty at a time, a thousand bookings of five hundred seats; every fifth is cancelled at once.
/// Each number told is the one before it, less or more the seat of this booking.
async fn seats_are_right_while_a_thousand_book_at_once(version: Version) {
    let shop = Shop::open(version).await;
    let wide =
        "insert into tickets.events (event_id, title, seat_capacity) values (3, 'Opera', 500)";
    shop.stage
        .legacy
        .batch_execute(wide)
        .await
        .expect("an event");
    let mut watcher = ws(&shop.stage.server, &token("456", "", ""), "rooms=event:3").await;
    watcher.expect("welcome").await;

    let mut crowd = tokio::task::JoinSet::new();
    for user in 0..40_i64 {
        let buyer = shop.stage.database.legacy().await;
        crowd.spawn(async move { buy(&buyer, 1000 + user).await });
    }
    let all_bought = async {
        let refused: usize = crowd.join_all().await.into_iter().sum();
        marker(&shop.stage.database, &["event:3"]).await;
        refused
    };
    // Read meanwhile: who takes nothing for long is cut.
    let (refused, heard) = tokio::join!(all_bought, watcher.events_until("marker"));
    assert!(refused >= 300, "{refused}");
    let mut left = 500;
    for event in heard {
        left += match event["name"].as_str() {
            Some("booking_created") => -1,
            Some("booking_cancelled") => 1,
            other => panic!("{other:?}"),
        };
        assert_eq!(event["data"]["availableSeats"], left, "{event}");
        assert!(left >= 0, "{event}");
    }
    let booked =
        "select count(*) from tickets.bookings where event_id = 3 and status = 'confirmed'";
    let booked: i64 = shop.stage.database.ask(booked).await;
    assert_eq!(left, 500 - booked);
    let created = "select count(*) from rowcast.event
        where name = 'booking_created' and rooms = array['event:3']";
    let created: i64 = shop.stage.database.ask(created).await;
    assert_eq!(
        created,
        1000 - i64::try_from(refused).expect("a small number")
    );
    shop.stage.close().await;
}

/// Twenty-five bookings; how many were refused.
async fn buy(buyer: &Client, user: i64) -> usize {
    let book =
        "insert into tickets.bookings (event_id, user_id) values (3, $1) returning booking_id";
    let cancel = "update tickets.bookings set status = 'cancelled' where booking_id = $1";
    let mut refused = 0;
    for number in 0..25 {
        match buyer.query_one(book, &[&user]).await {
            Ok(row) if number % 5 == 0 => {
                let booking: &str = row.get(0);
                let done = buyer.execute(cancel, &[&booking]).await;
                assert_eq!(done.expect("one's own booking"), 1);
            }
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.code(), Some(&SqlState::CHECK_VIOLATION), "{error:?}");
                refused += 1;
            }
        }
    }
    refused
}

/// Numbers of bookings look as the shop's always did, and none comes twice.
#[tokio::test]
async fn booking_ids_are_scattered_and_never_repeat() {
    let shop = Shop::open(Version::Installed).await;
    let sql = "select count(*) filter (where id ~ '^BK-[A-Z0-9]{6}$'), count(distinct id)
        from (select tickets.new_booking_id() from generate_series(1, 100000)) n (id)";
    let row = shop.stage.legacy.query_one(sql, &[]).await.expect("ids");
    assert_eq!((row.get(0), row.get(1)), (100_000_i64, 100_000_i64));
    shop.stage.close().await;
}

async fn whoever_is_signed_in_joins_events_and_nothing_else(version: Version) {
    let shop = Shop::open(version).await;
    let asked = "event:1,event:99,event:01,event:2x,events,user:456";
    let mut somebody = ws(
        &shop.stage.server,
        &token("456", "", ""),
        &format!("rooms={asked}"),
    )
    .await;
    assert_eq!(
        somebody.expect("welcome").await["rooms"],
        json!(["event:1"])
    );
    for room in asked.split(',').skip(1) {
        let error = somebody.expect("error").await;
        assert_eq!(
            (&error["code"], &error["room"]),
            (&json!("forbidden"), &json!(room))
        );
    }
    let mut nobody = ws(&shop.stage.server, "", "rooms=event:1").await;
    assert_eq!(nobody.closed().await.0, 1008);
    shop.stage.close().await;
}

async fn a_page_asks_for_seats_and_goes_on_from_there(version: Version) {
    let mut shop = Shop::open(version).await;
    let mut page = ws(&shop.stage.server, &token("7", "", ""), "").await;
    page.expect("welcome").await;
    page.send(
        json!({ "type": "call", "function": "event_seats", "args": { "event": 2 }, "id": 1 }),
    )
    .await;
    let seats = page.expect("result").await;
    assert_eq!(seats["data"][0]["availableSeats"], 1);
    page.send(json!({ "type": "call", "function": "my_bookings", "id": 2 }))
        .await;
    let mine = page.expect("result").await;
    assert_eq!(mine["data"][0]["bookingId"], "BK-OLD001");
    assert_eq!(mine["data"].as_array().map(Vec::len), Some(1));
    shop.tells(
        "delete from tickets.bookings",
        &[("booking_cancelled", booking(2, "BK-OLD001", 7, 3))],
    )
    .await;
    page.send(json!({ "type": "subscribe", "rooms": ["event:2"], "since": seats["bookmark"] }))
        .await;
    page.expect("subscribed").await;
    let missed = page.expect_event("booking_cancelled").await;
    assert_eq!(missed["data"]["availableSeats"], 3);
    shop.stage.close().await;
}

on_every_version! {
    a_booking_is_created_and_cancelled
    many_bookings_of_one_statement_are_told_one_after_the_other
    a_capacity_is_changed
    everything_is_emptied
    what_would_oversell_is_refused
    a_booking_that_changes_hands_holds_its_event
    seats_are_right_while_a_thousand_book_at_once
    whoever_is_signed_in_joins_events_and_nothing_else
    a_page_asks_for_seats_and_goes_on_from_there
}

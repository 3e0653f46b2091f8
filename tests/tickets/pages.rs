//! The event pages' own wire, by the dialect `tickets`: each frame as it is, and Alice, Bob and Charlie
//! in a real browser, with the browser's own WebSocket.

use super::SAMPLE;
use crate::support::driver::{Driver, Place};
use crate::support::{
    Database, Server, Subscriber, get, marker, serve, socket, system, token, token_with, unhurried,
};
use rowcast::clock::unix_now;
use serde_json::{Value, json};

async fn opened() -> (Database, Server) {
    let database = system("tickets").await;
    database.run(SAMPLE).await;
    let server = serve(&database, |settings| {
        unhurried(settings);
        settings.http.dialects = vec!["tickets".into()];
    })
    .await;
    (database, server)
}

/// Comes to an event's door with this token in the address.
async fn come(server: &Server, event: &str, token: &str) -> Subscriber {
    socket(server, &format!("/ws/events/{event}?token={token}"), &[]).await
}

/// A frame without what differs each time, which is looked at: the time in milliseconds with Z, and
/// the bookmark, which pages of today pass over.
fn told(mut frame: Value) -> Value {
    let fields = frame.as_object_mut().expect("an object");
    let bookmark = fields.remove("bookmark").expect("a bookmark");
    assert!(bookmark.is_string());
    let timestamp = fields.remove("timestamp").expect("a timestamp");
    let timestamp = timestamp.as_str().expect("a text");
    let moment: jiff::Timestamp = timestamp.parse().expect("ISO 8601");
    assert_eq!(timestamp, format!("{moment:.3}"));
    frame
}

#[tokio::test]
async fn frames_are_those_of_the_document() {
    let (database, server) = opened().await;
    let before = unix_now() * 1000;
    let mut alice = come(&server, "1", &token("456", "", "")).await;
    let welcome = alice.next().await;
    assert_eq!(welcome["type"], "connection_established");
    assert_eq!(welcome["eventId"], 1);
    let client = welcome["clientId"].as_str().expect("a text");
    let (at, random) = client
        .strip_prefix("ws_")
        .and_then(|rest| rest.split_once('_'))
        .expect("ws_<ms>_<random>");
    assert!(at.parse::<u64>().is_ok_and(|at| at >= before), "{client}");
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    assert!(
        random.len() == 6 && random.chars().all(alphanumeric),
        "{client}"
    );

    let book = "insert into tickets.bookings (booking_id, event_id, user_id)
        values ('BK-ABC123', 1, 789)";
    database.run(book).await;
    let created = json!({ "type": "booking_created", "eventId": 1, "bookingId": "BK-ABC123",
        "userId": 789, "availableSeats": 99 });
    assert_eq!(told(alice.next().await), created);
    database
        .run("delete from tickets.bookings where event_id = 1")
        .await;
    let cancelled = json!({ "type": "booking_cancelled", "eventId": 1, "bookingId": "BK-ABC123",
        "userId": 789, "availableSeats": 100 });
    assert_eq!(told(alice.next().await), cancelled);
    database
        .run("update tickets.events set seat_capacity = 50 where event_id = 1")
        .await;
    let update = json!({ "type": "seat_update", "eventId": 1, "availableSeats": 50,
        "seatCapacity": 50 });
    assert_eq!(told(alice.next().await), update);

    alice.send(json!({ "type": "ping" })).await;
    assert_eq!(alice.next().await, json!({ "type": "pong" }));
    for event in [json!(2), json!("2")] {
        alice
            .send(json!({ "type": "subscribe_event", "eventId": event }))
            .await;
        let answer = json!({ "type": "subscribed", "eventId": 2 });
        assert_eq!(alice.next().await, answer);
        database
            .run("update tickets.events set seat_capacity = seat_capacity + 1")
            .await;
        let mut both = [alice.next().await, alice.next().await].map(told);
        both.sort_by_key(|frame| frame["eventId"].as_u64());
        assert_eq!(
            (&both[0]["eventId"], &both[1]["eventId"]),
            (&json!(1), &json!(2))
        );
        alice
            .send(json!({ "type": "unsubscribe_event", "eventId": event }))
            .await;
        let answer = json!({ "type": "unsubscribed", "eventId": 2 });
        assert_eq!(alice.next().await, answer);
        database
            .run("update tickets.events set seat_capacity = seat_capacity + 1")
            .await;
        assert_eq!(told(alice.next().await)["eventId"], 1);
    }
    // Rooms are asked for in SQL, however they are asked for.
    alice
        .send(json!({ "type": "subscribe_event", "eventId": 99 }))
        .await;
    let error = json!({ "type": "error", "message": "no such event", "eventId": 99 });
    assert_eq!(alice.next().await, error);
    // What was not read is said, and not of the event that the page is at.
    let unread = json!({ "type": "error",
        "message": "\"subscribe_event\" needs `eventId`: integer" });
    for wrong in [
        json!({ "type": "subscribe_event" }),
        json!({ "type": "subscribe_event", "eventId": "1:x" }),
    ] {
        alice.send(wrong.clone()).await;
        assert_eq!(alice.next().await, unread, "{wrong}");
    }
    for wrong in [
        json!({ "type": "subscribe", "rooms": ["event:2"] }),
        json!(["ping"]),
    ] {
        alice.send(wrong.clone()).await;
        assert_eq!(alice.next().await["type"], "error", "{wrong}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_door_opens_for_a_good_token_at_an_event_that_exists() {
    let (database, server) = opened().await;
    let expired = token_with(&json!({ "sub": "456", "exp": unix_now() - 600 }));
    let forged = format!("{}x", token("456", "", ""));
    for bad in ["", "nonsense", &expired, &forged] {
        let (code, reason) = come(&server, "1", bad).await.closed().await;
        assert_eq!(code, 1008, "{reason}");
    }
    let good = token("456", "", "");
    for nowhere in ["99", "-1", "0"] {
        let end = come(&server, nowhere, &good).await.closed().await;
        assert_eq!(end, (1008, "no such event".to_owned()), "{nowhere}");
    }
    let path = format!("/ws/events/first?token={good}");
    assert_eq!(get(&server, &path, &[]).await.status, 404);

    let mut alice = come(&server, "1", &good).await;
    assert_eq!(alice.next().await["type"], "connection_established");
    database.run("select rowcast.revoke('456')").await;
    let end = alice.closed().await;
    assert_eq!(end, (1008, "the token was revoked".to_owned()));
    server.stop().await;
}

/// A page that keeps bookmarks misses nothing between two connections.
#[tokio::test]
async fn whoever_comes_back_with_a_bookmark_gets_what_was_missed() {
    let (database, server) = opened().await;
    let token = token("456", "", "");
    let mut alice = come(&server, "1", &token).await;
    let place = alice.next().await["bookmark"]
        .as_str()
        .expect("a bookmark")
        .to_owned();
    drop(alice);
    for number in 1..=3 {
        let book = format!(
            "insert into tickets.bookings (booking_id, event_id, user_id)
             values ('BK-AAA00{number}', 1, 789)"
        );
        database.run(&book).await;
    }
    let mut alice = come(&server, "1", &format!("{token}&since={place}")).await;
    assert_eq!(alice.next().await["type"], "connection_established");
    let mut second = String::new();
    for (number, left) in [(1, 99), (2, 98), (3, 97)] {
        let frame = alice.next().await;
        if number == 2 {
            second = frame["bookmark"].as_str().expect("a bookmark").to_owned();
        }
        let frame = told(frame);
        assert_eq!(frame["bookingId"], format!("BK-AAA00{number}"));
        assert_eq!(frame["availableSeats"], left);
    }
    let mut bob = come(&server, "1", &format!("{token}&since={second}")).await;
    assert_eq!(bob.next().await["type"], "connection_established");
    assert_eq!(told(bob.next().await)["availableSeats"], 97);
    server.stop().await;
}

/// An event's page in a browser of its own.
async fn page<'a>(driver: &'a Driver, server: &Server, event: u32, token: &str) -> Place<'a> {
    let page = driver
        .visit(&format!("{}/healthz", server.url), json!({}))
        .await;
    let script = include_str!("page.js");
    let open = format!("(() => {{ {script} ; window.page = show({event}, '{token}') }})()");
    page.evaluate(&open).await;
    page
}

#[tokio::test]
async fn alice_bob_and_charlie_in_a_browser() {
    let (database, server) = opened().await;
    let shop = database.legacy().await;
    let driver = Driver::start().await;
    let alice = page(&driver, &server, 1, &token("456", "", "")).await;
    let bob = page(&driver, &server, 1, &token("457", "", "")).await;
    for page in [&alice, &bob] {
        page.until("page.has('connection_established')").await;
        assert_eq!(page.evaluate("page.heard[0].eventId").await, 1);
        page.evaluate("page.left = 100").await;
    }
    let ids = (
        alice.evaluate("page.heard[0].clientId").await,
        bob.evaluate("page.heard[0].clientId").await,
    );
    assert_ne!(ids.0, ids.1);

    // Charlie books, and both see it without a refresh; and cancels.
    let book = "insert into tickets.bookings (booking_id, event_id, user_id)
        values ('BK-ABC123', 1, 789)";
    shop.batch_execute(book).await.expect("a booking");
    for page in [&alice, &bob] {
        page.until("page.line === 'Only 99 seats left! (was 100)'")
            .await;
        let frame = told(page.evaluate("page.heard[1]").await);
        assert_eq!(frame["bookingId"], "BK-ABC123");
        assert_eq!(frame["userId"], 789);
    }
    let cancel = "update tickets.bookings set status = 'cancelled' where booking_id = 'BK-ABC123'";
    shop.batch_execute(cancel).await.expect("a cancellation");
    let admin = "update tickets.events set seat_capacity = 60 where event_id = 1";
    shop.batch_execute(admin).await.expect("a smaller hall");
    for page in [&alice, &bob] {
        page.until("page.line === 'Only 60 seats left! (was 100)'")
            .await;
        let types = page
            .evaluate("page.heard.slice(1).map(({ type }) => type)")
            .await;
        assert_eq!(
            types,
            json!(["booking_created", "booking_cancelled", "seat_update"])
        );
    }
    // A crowd buys all there is; the last number is nought for both.
    let crowd = "do $$ begin
            for user_id in 1000..1059 loop
              insert into tickets.bookings (event_id, user_id) values (1, user_id);
            end loop;
        end $$";
    shop.batch_execute(crowd).await.expect("sixty bookings");
    for page in [&alice, &bob] {
        page.until("page.line === 'Only 0 seats left! (was 1)'")
            .await;
        let least = "Math.min(...page.heard.map(({ availableSeats = 0 }) => availableSeats))";
        assert_eq!(page.evaluate(least).await, 0);
    }

    // Bob has a look at the jazz night as well; Alice goes home, and Bob goes on.
    bob.evaluate("page.send({ type: 'ping' })").await;
    bob.until("page.has('pong')").await;
    bob.evaluate("page.send({ type: 'subscribe_event', eventId: 2 })")
        .await;
    bob.until("page.has('subscribed')").await;
    alice.leave().await;
    let last = "insert into tickets.bookings (booking_id, event_id, user_id)
        values ('BK-LAST01', 2, 789)";
    shop.batch_execute(last).await.expect("the last seat");
    bob.until(
        "page.heard.at(-1).bookingId === 'BK-LAST01' && page.heard.at(-1).availableSeats === 0",
    )
    .await;
    bob.evaluate("page.send({ type: 'unsubscribe_event', eventId: 2 })")
        .await;
    bob.until("page.has('unsubscribed')").await;
    let back = "delete from tickets.bookings where booking_id = 'BK-LAST01'";
    shop.batch_execute(back).await.expect("given back");
    marker(&database, &["event:1"]).await;
    bob.until("page.has('marker')").await;
    assert_eq!(bob.evaluate("page.heard.at(-2).type").await, "unsubscribed");

    // Who has no good token is told so by a code that a browser shows.
    let mallory = page(&driver, &server, 1, "nonsense").await;
    mallory.until("page.close !== undefined").await;
    assert_eq!(mallory.evaluate("page.close[0]").await, 1008);
    assert_eq!(mallory.evaluate("page.heard").await, json!([]));
    server.stop().await;
}

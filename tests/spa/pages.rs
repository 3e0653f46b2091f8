//! The booking pages' own wire, by the dialect `spa`: each frame as it is, and the whole story in a
//! real browser, by sessions that the servlet container made.

use super::access::SESSIONS;
use super::{BOOKED, DAY, SAMPLE, booking_as, free, hours};
use crate::support::driver::{Driver, Place};
use crate::support::{
    Database, Server, Subscriber, ask, marker, serve, socket, system, unhurried, within,
};
use rowcast::config::Settings;
use serde_json::{Value, json};

/// The context path of the servlet container.
const CONTEXT: &str = "/G1_SpaManagement";

/// Besides those of [`SESSIONS`].
const MORE_SESSIONS: &str = "
    insert into spa.http_sessions (session_id, user_id) values ('tess', 9), ('rita', 20);
";

fn speaking(settings: &mut Settings) {
    unhurried(settings);
    settings.http.dialects = vec!["spa".into()];
    settings.http.base_path = CONTEXT.into();
}

async fn opened() -> (Database, Server) {
    let database = system("spa").await;
    let all = format!("{SAMPLE}{SESSIONS}{MORE_SESSIONS}");
    database.run(&all).await;
    let server = serve(&database, speaking).await;
    (database, server)
}

/// Comes to the door of `who` (`customer/1`), with a session.
async fn come(server: &Server, who: &str, session: &str) -> Subscriber {
    let cookie = format!("JSESSIONID={session}");
    let headers = [("cookie", cookie.as_str()), ("origin", server.url.as_str())];
    let path = format!("{CONTEXT}/websocket/booking/{who}");
    socket(server, &path, &headers).await
}

/// A frame without its timestamp, which is to the second, in UTC, and without the bookmark, which
/// the document does not know.
fn told(mut frame: Value) -> Value {
    let fields = frame.as_object_mut().expect("an object");
    fields.remove("bookmark");
    let timestamp = fields.remove("timestamp").expect("a timestamp");
    let moment: jiff::Timestamp = timestamp
        .as_str()
        .expect("a text")
        .parse()
        .expect("ISO 8601");
    assert_eq!(timestamp, format!("{moment:.0}"));
    frame
}

async fn welcomed(server: &Server, who: &str, session: &str) -> Subscriber {
    let mut page = come(server, who, session).await;
    let welcome = json!({ "type": "CONNECTION_ESTABLISHED",
        "data": "Connected to real-time booking system" });
    assert_eq!(told(page.next().await), welcome);
    page
}

#[tokio::test]
async fn frames_are_those_of_the_document() {
    let (database, server) = opened().await;
    let mut ann = welcomed(&server, "customer/1", "ann").await;
    // What is no message, and what nobody knows.
    for nonsense in ["nonsense", "[]", "{\"data\":{}}", "{\"type\":{}}"] {
        ann.send_message(nonsense.into()).await;
        let error = json!({ "type": "ERROR", "data": "Invalid message format" });
        assert_eq!(told(ann.next().await), error, "{nonsense}");
    }
    ann.send(json!({ "type": "SUBSCRIBE_WEATHER", "data": {} }))
        .await;
    let error = json!({ "type": "ERROR", "data": "Unknown message type: SUBSCRIBE_WEATHER" });
    assert_eq!(told(ann.next().await), error);

    // What is free is answered with what everybody is told from there on, if they view the calendar.
    let ask = |service: Value, date: &str| {
        json!({ "type": "REQUEST_AVAILABILITY", "timestamp": "2026-11-21T08:00:00.000Z",
            "data": { "serviceId": service, "therapistId": 9, "date": date } })
    };
    for service in [json!(5), json!("5")] {
        ann.send(ask(service, DAY)).await;
        let (name, .., slots) = free(5, 9, "09:00 10:00 11:00 15:30+90");
        let answer = json!({ "type": name, "data": slots, "userId": "1", "userType": "customer" });
        assert_eq!(told(ann.next().await), answer);
    }
    for wrong in [ask(json!("five"), DAY), ask(json!(5), "tomorrow week")] {
        ann.send(wrong).await;
        assert_eq!(told(ann.next().await)["data"], "Invalid message format");
    }
    ann.send(json!({ "type": "SUBSCRIBE_BOOKING_UPDATES" }))
        .await;
    // A schedule is staff's.
    ann.send(json!({ "type": "SUBSCRIBE_THERAPIST_SCHEDULE", "data": { "therapistId": 9 } }))
        .await;
    let error = json!({ "type": "ERROR", "data": "no such schedule for you" });
    assert_eq!(told(ann.next().await), error);

    database.run(BOOKED).await;
    let created = json!({ "type": "BOOKING_CREATED", "data": booking_as("customer", json!({})) });
    assert_eq!(told(ann.next().await), created);
    for (name, _, _, slots) in [
        free(5, 9, "09:00 11:00 15:30+90"),
        free(6, 9, super::FACIALS_BUT_AT_TEN),
    ] {
        assert_eq!(
            told(ann.next().await),
            json!({ "type": name, "data": slots })
        );
    }
    let day = json!({ "therapistId": 9, "therapistName": "Tess", "date": DAY,
        "schedule": hours(), "bookings": [booking_as("therapist", json!({}))] });
    let mut tess = welcomed(&server, "therapist/9", "tess").await;
    tess.send(json!({ "type": "SUBSCRIBE_THERAPIST_SCHEDULE", "data": { "date": DAY } }))
        .await;
    let answer = json!({ "type": "THERAPIST_SCHEDULE_UPDATED", "data": day, "userId": "9",
        "userType": "therapist" });
    assert_eq!(told(tess.next().await), answer);
    database
        .run("update spa.bookings set booking_status = 'CONFIRMED'")
        .await;
    let (name, .., change) = super::status_changed("SCHEDULED", "CONFIRMED");
    let changed = json!({ "type": name, "data": change });
    assert_eq!(told(ann.next().await), changed);
    assert_eq!(told(tess.next().await), changed);
    server.stop().await;
}

/// Pages know nothing of `reset`: they come back, and ask for what they show.
#[tokio::test]
async fn what_is_emptied_sends_pages_back() {
    let (database, server) = opened().await;
    let mut ann = welcomed(&server, "customer/1", "ann").await;
    database.run("truncate spa.therapist_services").await;
    assert_eq!(ann.closed().await.0, 1012);
    server.stop().await;
}

/// A door is for whom its path names, by a session that lives; below the context path only.
#[tokio::test]
async fn whoever_the_path_does_not_name_is_unauthorized() {
    let (database, server) = opened().await;
    for (who, session) in [
        ("customer/2", "ann"),
        ("therapist/1", "ann"),
        ("manager/1", "ann"),
        ("customer/1", "tess"),
        ("customer/x", "ann"),
        ("customer/1", "nobody"),
        ("customer/1", ""),
    ] {
        let end = come(&server, who, session).await.closed().await;
        assert_eq!(end, (1008, "Unauthorized".to_owned()), "{who} {session}");
    }
    let mut ann = welcomed(&server, "customer/1", "ann").await;
    let ends = "update spa.http_sessions set last_accessed_at = now() - interval '1 hour'
        where session_id = 'ann'";
    database.run(ends).await;
    assert_eq!(ann.closed().await, (1008, "Unauthorized".to_owned()));
    // Max keeps his session, but a customer does not come by the managers' door.
    let mut max = welcomed(&server, "manager/30", "max").await;
    database
        .run("update spa.users set user_type = 'customer' where user_id = 30")
        .await;
    let end = within("it is closed", max.closed()).await;
    assert_eq!(end, (1008, "Unauthorized".to_owned()));
    let mut max = welcomed(&server, "customer/30", "max").await;
    database.run("select rowcast.recheck()").await;
    max.send(json!({ "type": "SUBSCRIBE_WEATHER" })).await;
    assert_eq!(max.next().await["type"], "ERROR", "he is at the right one");
    // A session that runs out while the page is there, long after it has come.
    let soon = "update spa.http_sessions set max_inactive_seconds = 10, last_accessed_at = now()";
    database.run(soon).await;
    let mut tess = welcomed(&server, "therapist/9", "tess").await;
    assert_eq!(tess.closed().await, (1008, "Session expired".to_owned()));
    let path = "/websocket/booking/customer/1";
    assert_eq!(crate::support::get(&server, path, &[]).await.status, 404);
    server.stop().await;
}

/// Where no socket gets through: the same frames, from the bookmark of the last one on.
#[tokio::test]
async fn what_a_socket_missed_comes_by_poll_and_by_a_socket_again() {
    let (database, server) = opened().await;
    let mut ann = come(&server, "customer/1", "ann").await;
    let welcome = ann.next().await;
    ann.send(json!({ "type": "SUBSCRIBE_BOOKING_UPDATES" }))
        .await;
    // Which is not answered; what comes behind it is, when that is done.
    ann.send(json!({ "type": "SUBSCRIBE_WEATHER" })).await;
    assert_eq!(ann.next().await["type"], "ERROR");
    let since = welcome["bookmark"].as_str().expect("a bookmark").to_owned();
    database.run(BOOKED).await;
    let mut heard = Vec::new();
    for name in [
        "BOOKING_CREATED",
        "AVAILABILITY_UPDATED",
        "AVAILABILITY_UPDATED",
    ] {
        let frame = ann.next().await;
        assert_eq!(frame["type"], name);
        heard.push(told(frame));
    }
    let poll = async |who: &str, query: &str| {
        let headers = [
            ("cookie", "JSESSIONID=ann"),
            ("sec-fetch-site", "same-origin"),
        ];
        let path = format!("{CONTEXT}/poll/booking/{who}{query}");
        ask(&server, "GET", &path, &headers, "").await
    };
    let answer = poll("customer/1", &format!("?since={since}")).await;
    let missed: Value = serde_json::from_str(&answer.body).expect("JSON");
    let messages = missed["data"]["messages"].as_array().expect("messages");
    let messages: Vec<_> = messages.iter().cloned().map(told).collect();
    assert_eq!(messages, heard);
    let here = missed["data"]["since"].as_str().expect("a bookmark");
    let rest = json!({ "type": "BOOKING_UPDATES", "data": { "messages": missed["data"]["messages"],
        "since": here, "more": false, "outcome": "recovered", "errors": [] } });
    assert_eq!(told(missed.clone()), rest);
    // From there on, what comes while it waits.
    let query = format!("?since={here}&wait=60");
    let (answer, ()) = tokio::join!(
        poll("customer/1", &query),
        database.run("update spa.bookings set booking_status = 'CONFIRMED'")
    );
    let news: Value = serde_json::from_str(&answer.body).expect("JSON");
    let change = &news["data"]["messages"][0];
    assert_eq!(
        (&change["type"], &change["data"]["newStatus"]),
        (&json!("BOOKING_STATUS_CHANGED"), &json!("CONFIRMED"))
    );
    // A page that knows of bookmarks resumes its socket as well.
    drop(ann);
    let mut ann = come(&server, &format!("customer/1?since={since}"), "ann").await;
    assert_eq!(ann.next().await["type"], "CONNECTION_ESTABLISHED");
    assert_eq!(told(ann.next().await), heard[0]);
    assert_eq!(told(ann.next().await), told(change.clone()));
    for (who, status) in [("customer/2", 401), ("manager/1", 401)] {
        assert_eq!(poll(who, "").await.status, status, "{who}");
    }
    server.stop().await;
}

/// A page of the spa's own origin, with the container's cookie, which scripts can't read.
async fn page<'a>(driver: &'a Driver, server: &Server, who: &str, session: &str) -> Place<'a> {
    let cookie = json!({ "name": "JSESSIONID", "value": session, "domain": "127.0.0.1",
        "path": CONTEXT, "expires": -1, "httpOnly": true, "secure": false, "sameSite": "Lax" });
    let look = json!({ "storageState": { "cookies": [cookie], "origins": [] } });
    let url = format!("{}{CONTEXT}/healthz", server.url);
    let page = driver.visit(&url, look).await;
    let (user_type, user) = who.split_once('/').expect("who");
    let open = format!(
        "(() => {{ {} ; window.spaConfig = {{ contextPath: '{CONTEXT}' }}; \
         window.page = show('{user_type}', '{user}') }})()",
        include_str!("page.js")
    );
    page.evaluate(&open).await;
    page
}

/// Ann pays, books, comes and is treated, as she, her therapist, reception and the manager see it.
#[tokio::test]
async fn the_story_in_a_browser() {
    let (database, server) = opened().await;
    let legacy = database.legacy().await;
    let driver = Driver::start().await;
    let ann = page(&driver, &server, "customer/1", "ann").await;
    let tess = page(&driver, &server, "therapist/9", "tess").await;
    let rita = page(&driver, &server, "receptionist/20", "rita").await;
    let max = page(&driver, &server, "manager/30", "max").await;
    for page in [&ann, &tess, &rita, &max] {
        page.until("page.greeting === 'Connected to real-time booking system'")
            .await;
    }
    // Ann looks at the calendar, reception at Tess's day.
    let calendar = format!(
        "page.send('SUBSCRIBE_BOOKING_UPDATES', {{}}); page.send('REQUEST_AVAILABILITY', \
         {{ serviceId: 5, therapistId: 9, date: '{DAY}' }})"
    );
    ann.evaluate(&calendar).await;
    ann.until("page.free === '09:00 10:00 11:00 15:30'").await;
    let look =
        format!("page.send('SUBSCRIBE_THERAPIST_SCHEDULE', {{ therapistId: 9, date: '{DAY}' }})");
    rita.evaluate(&look).await;
    rita.until("page.day?.schedule.length === 2 && page.day.bookings.length === 0")
        .await;

    // Payment first, then scheduling, by what was paid for.
    let pay = "begin;
        insert into spa.payments (payment_id, customer_id, total_amount) values (61, 1, 80);
        insert into spa.payment_items (payment_item_id, payment_id, service_id, unit_price,
          total_price, service_duration) values (81, 61, 5, 80, 80, 60);
        commit";
    legacy.batch_execute(pay).await.expect("paid");
    for page in [&ann, &rita, &max] {
        page.until("page.payment?.items[0]?.paymentItemId === 81")
            .await;
    }
    let book = BOOKED.replace("71, 5", "81, 5");
    legacy.batch_execute(&book).await.expect("booked");
    for page in [&ann, &tess, &rita, &max] {
        page.until("page.bookings[123] === 'SCHEDULED'").await;
    }
    ann.until("page.free === '09:00 11:00 15:30'").await;
    for page in [&tess, &rita, &max] {
        page.until("page.day?.bookings[0]?.bookingId === 123").await;
    }
    for status in ["CONFIRMED", "IN_PROGRESS", "COMPLETED"] {
        let sql = format!("update spa.bookings set booking_status = '{status}'");
        legacy.batch_execute(&sql).await.expect("the next status");
        for page in [&ann, &tess, &max] {
            page.until(&format!("page.bookings[123] === '{status}'"))
                .await;
        }
        rita.until(&format!(
            "page.day.bookings[0].bookingStatus === '{status}'"
        ))
        .await;
    }
    // Nobody has heard what is not theirs.
    marker(&database, &["*"]).await;
    for (page, never) in [
        (&ann, "THERAPIST_SCHEDULE_UPDATED"),
        (&tess, "PAYMENT_COMPLETED"),
        (&rita, "BOOKING_STATUS_CHANGED"),
        (&max, "ERROR"),
    ] {
        page.until("page.heard.some(({ type }) => type === 'marker')")
            .await;
        let heard = format!("page.heard.some(({{ type }}) => type === '{never}')");
        assert_eq!(page.evaluate(&heard).await, false, "{never}");
    }
    for (page, hidden) in [
        (&ann, "customerPhone"),
        (&tess, "price"),
        (&rita, "bookingNotes"),
    ] {
        let seen = format!("JSON.stringify(page.heard).includes('{hidden}')");
        assert_eq!(page.evaluate(&seen).await, false, "{hidden}");
    }

    // Where no socket gets through, the browser asks; nobody has to name an Origin for that.
    let poll = format!(
        "fetch('{CONTEXT}/poll/booking/customer/1?since=' + page.heard[0].bookmark)\
         .then((answer) => answer.json())\
         .then(({{ data }}) => data.messages.map(({{ type }}) => type).filter((type) => /BOOKING/.test(type)))"
    );
    let bookings = json!([
        "BOOKING_CREATED",
        "BOOKING_STATUS_CHANGED",
        "BOOKING_STATUS_CHANGED",
        "BOOKING_STATUS_CHANGED"
    ]);
    assert_eq!(ann.evaluate(&poll).await, bookings);

    // Another's page shows nothing, and says why to whoever asks the browser.
    let forged = page(&driver, &server, "customer/2", "ann").await;
    forged.until("page.closes.length > 0").await;
    assert_eq!(
        forged.evaluate("page.closes[0]").await,
        json!([1008, "Unauthorized"])
    );
    assert_eq!(forged.evaluate("page.heard").await, json!([]));

    // Ann's session ends; the page comes back by itself once the application has seen her again.
    let idle = "update spa.http_sessions set last_accessed_at = now() - interval '1 hour'
        where session_id = 'ann'";
    database.run(idle).await;
    ann.until("page.closes.length > 0").await;
    database
        .run("update spa.http_sessions set last_accessed_at = now()")
        .await;
    let again = "page.heard.filter(({ type }) => type === 'CONNECTION_ESTABLISHED').length === 2";
    ann.until(again).await;
    let second = BOOKED.replace("123", "124").replace("'10:00'", "'09:00'");
    legacy.batch_execute(&second).await.expect("booked again");
    ann.until("page.bookings[124] === 'SCHEDULED'").await;
    server.stop().await;
}

//! The boardrooms end to end: SQL as the application writes it, sessions of its own, and one event
//! for all that a transaction did to a booking.

/// The application's tabs, by the dialect and the real socket.io-client.
mod tabs;

use crate::support::stage::Stage;
use crate::support::{Server, Subscriber, Version, marker, on, on_every_version, within, ws_with};
use serde_json::{Value, json};

/// Ann and Bob, Root who is an admin, two rooms; a session of each, of which Old's has ended.
pub const SAMPLE: &str = "
    insert into boardroom.users (user_id, name, email, role) values
      ('u1', 'Ann', 'ann@example.org', 'user'), ('u2', 'Bob', 'bob@example.org', 'user'),
      ('u9', 'Root', 'root@example.org', 'admin');
    insert into boardroom.boardrooms (boardroom_id, name, location, capacity) values
      ('r1', 'Oak', 'First floor', 8), ('r2', 'Elm', 'Second floor', 12);
    insert into boardroom.sessions (secret_hash, user_id, expires_at) values
      (sha256('of ann'), 'u1', now() + interval '1 hour'),
      (sha256('of bob'), 'u2', now() + interval '1 hour'),
      (sha256('of old'), 'u2', now() - interval '1 second');
";

/// Ann books Oak with Bob, as an application saves it.
const BOOK: &str = "
    begin;
    insert into boardroom.bookings
      (booking_id, boardroom_id, organizer_id, title, description, starts_at, ends_at)
      values ('b1', 'r1', 'u1', 'Budget', 'Of next year', '2026-12-01 08:00Z',
        '2026-12-01 09:30Z');
    insert into boardroom.attendees (booking_id, user_id) values ('b1', 'u2'), ('b1', 'u9');
    commit";

const BOTH: &[&str] = &["bookings", "boardroom-r1"];

/// An event that is to come: name, rooms, and what its payload has besides the booking.
type Told<'a> = (&'a str, &'a [&'a str], Value);

/// The application, with somebody in each room.
struct Office {
    stage: Stage,
}

impl Office {
    async fn open(version: Version) -> Self {
        let mut stage = Stage::open(version, "boardroom", &[SAMPLE], |_| ()).await;
        for room in ["bookings", "boardroom-r1", "boardroom-r2"] {
            let mut somebody = enter(&stage.server, "of ann", &format!("rooms={room}")).await;
            let welcome = somebody.expect("welcome").await;
            assert_eq!(
                (&welcome["user"], &welcome["rooms"]),
                (&json!("u1"), &json!([room]))
            );
            stage.seats.push((room, somebody));
        }
        Self { stage }
    }

    /// Runs SQL as the application; exactly these events reach exactly their rooms. Returns the
    /// booking of the last one.
    async fn tells(&mut self, sql: &str, expected: &[Told<'_>]) -> Value {
        self.stage.writes(sql).await;
        let mut booking = Value::Null;
        for (room, events) in self.stage.heard().await {
            let mut heard = Vec::new();
            for mut event in events {
                assert_eq!(event["channel"], "bookings");
                let mut data = event["data"].take();
                booking = data["booking"].take();
                data.as_object_mut().expect("an object").remove("booking");
                heard.push(json!([event["name"], data]));
            }
            let wanted: Vec<_> = expected
                .iter()
                .filter(|(_, rooms, _)| rooms.contains(&room))
                .map(|(name, _, data)| json!([name, data]))
                .collect();
            assert_eq!(heard, wanted, "{room}\n{sql}");
        }
        booking
    }
}

/// Connects with a session of the application, as a page of it does.
pub async fn enter(server: &Server, secret: &str, query: &str) -> Subscriber {
    let own = format!("http://{}", server.address);
    let cookie = format!("boardroom_session={secret}");
    ws_with(server, query, &[("cookie", &cookie), ("origin", &own)]).await
}

fn changes(boardroom: bool, time: bool, attendees: bool) -> Value {
    json!({ "boardroomChanged": boardroom, "timeChanged": time, "attendeesChanged": attendees })
}

fn person(id: &str, name: &str) -> Value {
    json!({ "_id": id, "name": name, "email": format!("{}@example.org", name.to_lowercase()) })
}

async fn a_booking_is_told_whole(version: Version) {
    let mut office = Office::open(version).await;
    let created = [("booking-created", BOTH, json!({ "boardroomId": "r1" }))];
    let mut booking = office.tells(BOOK, &created).await;
    for time in ["createdAt", "updatedAt"] {
        let text = booking[time].take();
        let text = text.as_str().expect("a time");
        assert!(text.len() == 24 && text.ends_with('Z'), "{text}");
    }
    assert_eq!(
        booking,
        json!({
            "_id": "b1", "title": "Budget", "description": "Of next year", "status": "confirmed",
            "boardroom": { "_id": "r1", "name": "Oak", "location": "First floor", "capacity": 8 },
            "organizer": person("u1", "Ann"),
            "attendees": [person("u2", "Bob"), person("u9", "Root")],
            "startTime": "2026-12-01T08:00:00.000Z", "endTime": "2026-12-01T09:30:00.000Z",
            "createdAt": null, "updatedAt": null,
        })
    );
    let quiet = "begin; update boardroom.bookings set title = 'Rent'; rollback;
        update boardroom.bookings set updated_at = now();
        begin; insert into boardroom.bookings (booking_id, boardroom_id, organizer_id, title,
            starts_at, ends_at) select 'b2', 'r1', 'u1', 'Never', now(), now() + interval '1 hour';
        insert into boardroom.attendees values ('b2', 'u2');
        delete from boardroom.bookings where booking_id = 'b2'; commit";
    office.tells(quiet, &[]).await;
    office.stage.close().await;
}

/// However many statements it took: attendees who are deleted and come back have not changed.
async fn an_update_says_what_changed(version: Version) {
    let mut office = Office::open(version).await;
    office
        .tells(
            BOOK,
            &[("booking-created", BOTH, json!({ "boardroomId": "r1" }))],
        )
        .await;
    let updated = |changes| {
        let data = json!({ "boardroomId": "r1", "changes": changes });
        [("booking-updated", BOTH, data)]
    };
    let later = "begin;
        update boardroom.bookings set starts_at = '2026-12-01 08:30Z', updated_at = now();
        delete from boardroom.attendees;
        insert into boardroom.attendees values ('b1', 'u9'), ('b1', 'u2');
        update boardroom.bookings set title = 'The budget'; commit";
    let booking = office
        .tells(later, &updated(changes(false, true, false)))
        .await;
    assert_eq!(booking["title"], "The budget");
    let alone = "delete from boardroom.attendees where user_id = 'u9'";
    let booking = office
        .tells(alone, &updated(changes(false, false, true)))
        .await;
    assert_eq!(booking["attendees"], json!([person("u2", "Bob")]));
    let other = "update boardroom.attendees set user_id = 'u1'";
    let booking = office
        .tells(other, &updated(changes(false, false, true)))
        .await;
    assert_eq!(booking["attendees"], json!([person("u1", "Ann")]));
    let title = "update boardroom.bookings set title = 'Rent'";
    office
        .tells(title, &updated(changes(false, false, false)))
        .await;

    // The room that it leaves hears of it too; from then on, only the one where it is.
    let data = json!({ "boardroomId": "r2", "changes": changes(true, true, true) });
    let moved = "begin; update boardroom.bookings set boardroom_id = 'r2';
        update boardroom.bookings set ends_at = '2026-12-01 11:00Z';
        insert into boardroom.attendees values ('b1', 'u9'); commit";
    let all = &["bookings", "boardroom-r1", "boardroom-r2"];
    let booking = office.tells(moved, &[("booking-updated", all, data)]).await;
    assert_eq!(booking["boardroom"]["name"], "Elm");
    let data = json!({ "boardroomId": "r2", "changes": changes(false, true, false) });
    let there = [("booking-updated", &["bookings", "boardroom-r2"][..], data)];
    let longer = "update boardroom.bookings set ends_at = '2026-12-01 12:00Z'";
    office.tells(longer, &there).await;
    office.stage.close().await;
}

async fn cancelled_and_deleted_by_an_admin_or_a_user(version: Version) {
    let mut office = Office::open(version).await;
    let created = |id: &str| ("booking-created", BOTH, json!({ "boardroomId": id }));
    let cancelled = |by: &str| {
        let data = json!({ "boardroomId": "r1", "cancelledBy": by });
        [("booking-cancelled", BOTH, data)]
    };
    office.tells(BOOK, &[created("r1")]).await;
    for (sql, by) in [
        (
            "update boardroom.bookings set status = 'cancelled', cancelled_by = 'u1'",
            "user",
        ),
        (
            "update boardroom.bookings set status = 'cancelled', cancelled_by = 'u9'",
            "admin",
        ),
        (
            "begin; set local app.user_id = 'u2';
          update boardroom.bookings set status = 'cancelled'; commit",
            "user",
        ),
        (
            "update boardroom.bookings set status = 'cancelled'",
            "admin",
        ),
    ] {
        let booking = office.tells(sql, &cancelled(by)).await;
        assert_eq!(booking["status"], "cancelled");
        let again = "update boardroom.bookings set status = 'confirmed', cancelled_by = null";
        office.tells(again, &[created("r1")]).await;
    }
    let deleted = |by: &str| {
        let data = json!({ "boardroomId": "r1", "deletedBy": by });
        [("booking-deleted", BOTH, data)]
    };
    let own = "begin; set local app.user_id = 'u1'; delete from boardroom.bookings; commit";
    let booking = office.tells(own, &deleted("user")).await;
    assert_eq!(booking["organizer"], person("u1", "Ann"));
    assert_eq!(
        booking["attendees"],
        json!([person("u2", "Bob"), person("u9", "Root")])
    );
    office.tells(BOOK, &[created("r1")]).await;
    let booking = office
        .tells(
            "begin; delete from boardroom.attendees; delete from boardroom.bookings; commit",
            &deleted("admin"),
        )
        .await;
    assert_eq!(booking["attendees"].as_array().map(Vec::len), Some(2));
    office.stage.close().await;
}

/// An account is closed with all that was its: by commit, nobody could name any of it any more.
async fn what_is_deleted_with_its_people_is_told_as_it_was(version: Version) {
    let mut office = Office::open(version).await;
    let theirs = "begin;
        insert into boardroom.users (user_id, name, email) values ('u3', 'Cy', 'cy@example.org');
        insert into boardroom.boardrooms (boardroom_id, name) values ('r3', 'Ash');
        insert into boardroom.bookings (booking_id, boardroom_id, organizer_id, title, starts_at,
          ends_at) values ('b3', 'r3', 'u3', 'Last', now(), now() + interval '1 hour');
        insert into boardroom.attendees values ('b3', 'u1'), ('b3', 'u3'); commit";
    let all = &["bookings"][..];
    let created = [("booking-created", all, json!({ "boardroomId": "r3" }))];
    let booking = office.tells(theirs, &created).await;
    let close = "begin; set local app.user_id = 'u3';
        delete from boardroom.bookings where organizer_id = 'u3';
        delete from boardroom.boardrooms where boardroom_id = 'r3';
        delete from boardroom.users where user_id = 'u3'; commit";
    let data = json!({ "boardroomId": "r3", "deletedBy": "user" });
    let deleted = [("booking-deleted", all, data)];
    assert_eq!(office.tells(close, &deleted).await, booking);
    office.stage.close().await;
}

/// It took half a minute at commit, because each booking looked through the guests of all.
async fn many_bookings_are_deleted_without_a_wait(version: Version) {
    let database = on(version).await.system("boardroom").await;
    let app = database.legacy().await;
    let many = format!(
        "{SAMPLE} begin;
         insert into boardroom.bookings
           (booking_id, boardroom_id, organizer_id, title, starts_at, ends_at)
           select 'b' || n, 'r1', 'u1', 'One of many', now(), now() + interval '1 hour'
           from generate_series(1, 2000) n;
         insert into boardroom.attendees
           select 'b' || n, u from generate_series(1, 2000) n, unnest(array['u1', 'u2', 'u9']) u;
         commit; set statement_timeout = '10s'"
    );
    app.batch_execute(&many).await.expect("many");
    // What is deferred is bounded only where it is asked for before the commit.
    let delete = "begin; delete from boardroom.bookings; set constraints all immediate; commit";
    app.batch_execute(delete).await.expect("deleted in time");
    let told = "select count(*) from rowcast.event where name = 'booking-deleted'";
    assert_eq!(database.ask::<i64>(told).await, 2000);
}

/// Two at once invite somebody each: whichever is told last, it has them both.
async fn what_others_change_meanwhile_is_not_missing(version: Version) {
    let mut office = Office::open(version).await;
    office
        .tells(
            BOOK,
            &[("booking-created", BOTH, json!({ "boardroomId": "r1" }))],
        )
        .await;
    let other = office.stage.database.legacy().await;
    let begin = "begin; delete from boardroom.attendees where user_id = 'u9'";
    other
        .batch_execute(begin)
        .await
        .expect("an open transaction");
    let ours = "insert into boardroom.attendees values ('b1', 'u1')";
    office
        .stage
        .legacy
        .batch_execute(ours)
        .await
        .expect("a guest");
    other.batch_execute("commit").await.expect("the other");
    let both = json!({ "boardroomId": "r1", "changes": changes(false, false, true) });
    marker(&office.stage.database, &["bookings"]).await;
    let heard = office.stage.seats[0].1.events_until("marker").await;
    let last = heard.last().expect("an event")["data"].clone();
    assert_eq!(last["changes"], both["changes"]);
    let guests = json!([person("u1", "Ann"), person("u2", "Bob")]);
    assert_eq!(last["booking"]["attendees"], guests);
    office.stage.close().await;
}

/// It tells each statement by itself, and reads nothing that could make two such fail each other.
async fn serializable_transactions_are_told_and_not_failed(version: Version) {
    let mut office = Office::open(version).await;
    let updated = |changes| {
        let data = json!({ "boardroomId": "r1", "changes": changes });
        ("booking-updated", BOTH, data)
    };
    let serializable = BOOK.replace("begin;", "begin isolation level serializable;");
    office
        .tells(
            &serializable,
            &[
                ("booking-created", BOTH, json!({ "boardroomId": "r1" })),
                updated(changes(false, false, true)),
            ],
        )
        .await;
    let other = office.stage.database.legacy().await;
    let begin = "begin isolation level serializable";
    let book =
        "insert into boardroom.bookings (boardroom_id, organizer_id, title, starts_at, ends_at)
        values ('r2', 'u1', 'At once', now(), now() + interval '1 hour')";
    for sql in [begin, book] {
        office.stage.legacy.batch_execute(sql).await.expect(sql);
        other.batch_execute(sql).await.expect(sql);
    }
    office
        .stage
        .legacy
        .batch_execute("commit")
        .await
        .expect("the first");
    other.batch_execute("commit").await.expect("the second");
    office.stage.close().await;
}

async fn a_session_opens_the_calendar_and_nothing_else(version: Version) {
    let office = Office::open(version).await;
    let asked = "bookings,boardroom-r1,boardroom-r7,boardroom-,admin,user:u9";
    let mut bob = enter(&office.stage.server, "of bob", &format!("rooms={asked}")).await;
    let welcome = bob.expect("welcome").await;
    assert_eq!(welcome["rooms"], json!(["bookings", "boardroom-r1"]));
    assert!(welcome["expiresAt"].is_number(), "{welcome}");
    for room in asked.split(',').skip(2) {
        let error = bob.expect("error").await;
        assert_eq!(
            (&error["code"], &error["room"]),
            (&json!("forbidden"), &json!(room))
        );
    }
    for secret in ["of old", "of nobody", ""] {
        let mut refused = enter(&office.stage.server, secret, "rooms=bookings").await;
        assert_eq!(refused.closed().await.0, 1008, "{secret}");
    }
    bob.send(json!({ "type": "call", "function": "booking_list", "id": 1 }))
        .await;
    assert_eq!(bob.expect("result").await["data"], json!([]));
    office.stage.close().await;
}

/// A session that is ended, given to somebody else or gets another secret lets its holder stay no
/// longer; one that is prolonged has nobody asked for.
async fn a_session_that_changes_hands_ends(version: Version) {
    let office = Office::open(version).await;
    for (number, change) in [
        "expires_at = now()",
        "user_id = 'u1'",
        "secret_hash = sha256('of nobody')",
    ]
    .iter()
    .enumerate()
    {
        let secret = format!("of bob {number}");
        let sign_in = format!(
            "insert into boardroom.sessions (secret_hash, user_id)
             values (sha256('{secret}'), 'u2')"
        );
        office
            .stage
            .legacy
            .batch_execute(&sign_in)
            .await
            .expect("signed in");
        let mut bob = enter(&office.stage.server, &secret, "rooms=bookings").await;
        bob.expect("welcome").await;
        let sql = format!(
            "update boardroom.sessions set {change} where secret_hash = sha256('{secret}')"
        );
        office
            .stage
            .legacy
            .batch_execute(&sql)
            .await
            .expect("changed");
        let end = within("it is closed", bob.closed()).await;
        assert_eq!(end.0, 1008, "{change}");
    }
    let asked = "select access_version from rowcast.setting";
    let before: i64 = office.stage.database.ask(asked).await;
    // Of two requests at once, the one that came first may be noted last.
    let prolonged = "update boardroom.sessions set expires_at = now() + interval '2 hours';
        update boardroom.sessions set expires_at = expires_at - interval '1 second'";
    office
        .stage
        .legacy
        .batch_execute(prolonged)
        .await
        .expect("used");
    assert_eq!(office.stage.database.ask::<i64>(asked).await, before);
    office.stage.close().await;
}

/// Its beginning is rounded down, or a revocation in that second would miss it.
async fn a_session_without_an_end_opens_the_calendar_too(version: Version) {
    let office = Office::open(version).await;
    let endless = "insert into boardroom.sessions (secret_hash, user_id, created_at, expires_at)
        values (sha256('of ever'), 'u2', '2026-01-01 00:00:00.9Z', 'infinity'),
          (sha256('from ever'), 'u2', '-infinity', 'infinity')";
    office
        .stage
        .legacy
        .batch_execute(endless)
        .await
        .expect("a session");
    let mut bob = enter(&office.stage.server, "of ever", "rooms=bookings").await;
    assert_eq!(bob.expect("welcome").await["user"], "u2");
    let began = "select (boardroom_push.claims_of('of ever') ->> 'iat')::bigint";
    assert_eq!(office.stage.database.ask::<i64>(began).await, 1_767_225_600);
    let mut bob = enter(&office.stage.server, "from ever", "rooms=bookings").await;
    assert_eq!(bob.expect("welcome").await["user"], "u2");
    office.stage.close().await;
}

on_every_version! {
    a_booking_is_told_whole
    an_update_says_what_changed
    cancelled_and_deleted_by_an_admin_or_a_user
    what_is_deleted_with_its_people_is_told_as_it_was
    many_bookings_are_deleted_without_a_wait
    what_others_change_meanwhile_is_not_missing
    serializable_transactions_are_told_and_not_failed
    a_session_opens_the_calendar_and_nothing_else
    a_session_that_changes_hands_ends
    a_session_without_an_end_opens_the_calendar_too
}

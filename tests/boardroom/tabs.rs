//! Calendar and dashboard by the real socket.io-client and the dialect `boardroom`: two tabs, both
//! transports, the session's cookie, rooms by each of their words, and what was missed.

use super::{BOOK, SAMPLE, changes};
use crate::support::socketio::{Client, Clients};
use crate::support::{Database, Server, marker, serve, system, unhurried};
use serde_json::{Value, json};

/// The Origin of the application's pages, as it stands in its CORS_ORIGIN.
const PAGES: &str = "http://localhost:3000";

async fn opened() -> (Database, Server) {
    let database = system("boardroom").await;
    database.run(SAMPLE).await;
    let server = serve(&database, |settings| {
        unhurried(settings);
        settings.http.dialects = vec!["boardroom".into()];
        settings.http.allowed_origins = vec![PAGES.into()];
    })
    .await;
    (database, server)
}

/// What a tab of somebody who is signed in sends.
fn signed_in(secret: &str, transports: &[&str]) -> Value {
    let cookie = format!("boardroom_session={secret}");
    json!({ "transports": transports, "extraHeaders": { "cookie": cookie, "origin": PAGES } })
}

async fn tab<'a>(node: &'a Clients, server: &Server, options: Value) -> Client<'a> {
    let mut tab = node.connect(&server.url, options).await;
    tab.connected().await;
    tab
}

async fn join(tab: &Client<'_>, word: &str, room: &str) {
    let answer = tab.ask(word, json!([room])).await;
    assert_eq!(
        answer,
        [json!({ "success": true, "room": room })],
        "{word} {room}"
    );
}

/// The next event: its name, and its payload without the booking, whose id is looked at.
async fn heard(tab: &mut Client<'_>) -> (String, Value) {
    let (name, mut args) = tab.next_event().await;
    let mut data = args.remove(0);
    assert_eq!(data["booking"]["_id"], "b1", "{name}");
    data.as_object_mut().expect("an object").remove("booking");
    (name, data)
}

/// Create, update, move, cancel and delete in one tab, as the others see it.
#[tokio::test]
async fn two_tabs_see_the_story_by_either_transport() {
    let (database, server) = opened().await;
    let app = database.legacy().await;
    let node = Clients::start();
    let mut calendar = tab(&node, &server, signed_in("of ann", &["websocket"])).await;
    join(&calendar, "join-room", "bookings").await;
    let mut dashboard = tab(&node, &server, signed_in("of ann", &["polling"])).await;
    join(&dashboard, "joinRoom", "bookings").await;
    join(&dashboard, "join", "boardroom-r1").await;
    assert_eq!(dashboard.transport().await, "polling");
    let upgrading = signed_in("of bob", &["polling", "websocket"]);
    let mut oak = tab(&node, &server, upgrading.clone()).await;
    join(&oak, "join", "boardroom-r1").await;
    let mut elm = tab(&node, &server, upgrading).await;
    join(&elm, "join-room", "boardroom-r2").await;

    let told = |name: &str, data: Value| (name.to_owned(), data);
    let move_it = "update boardroom.bookings set boardroom_id = 'r2'";
    let cancel = "update boardroom.bookings set status = 'cancelled', cancelled_by = 'u1'";
    let at_oak = [
        (
            BOOK,
            told("booking-created", json!({ "boardroomId": "r1" })),
        ),
        (
            "delete from boardroom.attendees where user_id = 'u9'",
            told(
                "booking-updated",
                json!({ "boardroomId": "r1", "changes": changes(false, false, true) }),
            ),
        ),
        (
            move_it,
            told(
                "booking-updated",
                json!({ "boardroomId": "r2", "changes": changes(true, false, false) }),
            ),
        ),
    ];
    for (sql, told) in at_oak {
        app.batch_execute(sql).await.expect(sql);
        for tab in [&mut calendar, &mut dashboard, &mut oak] {
            assert_eq!(heard(tab).await, told, "{sql}");
        }
        if sql == move_it {
            assert_eq!(heard(&mut elm).await, told);
        }
    }
    let at_elm = [
        (
            cancel,
            told(
                "booking-cancelled",
                json!({ "boardroomId": "r2", "cancelledBy": "user" }),
            ),
        ),
        (
            "delete from boardroom.bookings",
            told(
                "booking-deleted",
                json!({ "boardroomId": "r2", "deletedBy": "admin" }),
            ),
        ),
    ];
    for (sql, told) in at_elm {
        app.batch_execute(sql).await.expect(sql);
        for tab in [&mut calendar, &mut dashboard, &mut elm] {
            assert_eq!(heard(tab).await, told, "{sql}");
        }
    }
    // The room that was left behind hears no more of it.
    marker(&database, &["boardroom-r1"]).await;
    assert_eq!(oak.next_event().await.0, "marker");
    server.stop().await;
}

/// All words for joining and leaving do the same, with an acknowledgement or without.
#[tokio::test]
async fn rooms_are_joined_and_left_by_each_of_three_words() {
    let (database, server) = opened().await;
    let node = Clients::start();
    let mut page = tab(&node, &server, signed_in("of ann", &["websocket"])).await;
    for (comes, goes) in [
        ("join-room", "leave-room"),
        ("joinRoom", "leaveRoom"),
        ("join", "leave"),
    ] {
        join(&page, comes, "boardroom-r1").await;
        marker(&database, &["boardroom-r1"]).await;
        assert_eq!(page.next_event().await.0, "marker");
        join(&page, goes, "boardroom-r1").await;
        marker(&database, &["boardroom-r1"]).await;
        // Without a callback, as the pages have it; the answer to the next shows that it is done.
        page.emit(comes, json!(["boardroom-r2"])).await;
        join(&page, comes, "bookings").await;
        database
            .run("select rowcast.emit('marker', 'after', array['boardroom-r2'], '{}')")
            .await;
        assert_eq!(page.next_event().await.0, "after");
        for room in ["boardroom-r2", "bookings"] {
            join(&page, goes, room).await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_forged_join_and_a_refused_session_get_nothing() {
    let (database, server) = opened().await;
    let node = Clients::start();
    for transports in [["websocket"], ["polling"]] {
        for secret in ["of old", "of nobody", ""] {
            let options = signed_in(secret, &transports);
            let mut refused = node.connect(&server.url, options).await;
            assert_eq!(
                refused.refused().await,
                "Authentication required",
                "{secret}"
            );
        }
        let mut page = tab(&node, &server, signed_in("of bob", &transports)).await;
        for room in ["boardroom-r7", "boardroom-", "user:u9", "admin", ""] {
            let answer = page.ask("join-room", json!([room])).await;
            assert_eq!(answer[0]["success"], json!(false), "{room}: {answer:?}");
            assert!(answer[0]["error"].is_string(), "{answer:?}");
        }
        let answer = page.ask("join-room", json!([{ "room": "bookings" }])).await;
        assert_eq!(answer[0]["success"], json!(false), "{answer:?}");
        marker(&database, &["boardroom-r7", "user:u9", "admin"]).await;
        join(&page, "join", "bookings").await;
        database
            .run("select rowcast.emit('marker', 'after', array['bookings'], '{}')")
            .await;
        assert_eq!(page.next_event().await.0, "after");
    }
    // Whoever signs out elsewhere is out.
    let mut page = tab(&node, &server, signed_in("of bob", &["websocket"])).await;
    let legacy = database.legacy().await;
    let sign_out = "delete from boardroom.sessions where user_id = 'u2'";
    legacy.batch_execute(sign_out).await.expect("signed out");
    assert_eq!(page.disconnected().await, "io server disconnect");
    server.stop().await;
}

/// A tab that was away brings its last bookmark and its rooms, and hears in order what it missed.
#[tokio::test]
async fn a_tab_that_comes_back_hears_what_it_missed() {
    let (database, server) = opened().await;
    let app = database.legacy().await;
    let node = Clients::start();
    // A page may say its rooms in the address, or where it says its bookmark.
    for (transport, said) in [("websocket", "query"), ("polling", "auth")] {
        let mut options = signed_in("of ann", &[transport]);
        options[said] = json!({ "rooms": ["bookings", "boardroom-r2"] });
        if said == "query" {
            options[said] = json!({ "rooms": "bookings,boardroom-r2" });
        }
        let mut page = node.resuming(&server.url, options.clone()).await;
        page.connected().await;
        // Only then is it in its rooms.
        page.until_event("rowcast:welcome").await;
        app.batch_execute(BOOK).await.expect("a booking");
        assert_eq!(heard(&mut page).await.0, "booking-created");
        page.disconnect().await;
        page.disconnected().await;
        for meanwhile in ["boardroom_id = 'r2'", "status = 'cancelled'"] {
            let sql = format!("update boardroom.bookings set {meanwhile}");
            app.batch_execute(&sql).await.expect("an event");
        }
        page.connect().await;
        page.connected().await;
        assert_eq!(heard(&mut page).await.0, "booking-updated");
        assert_eq!(heard(&mut page).await.0, "booking-cancelled");
        app.batch_execute("delete from boardroom.bookings")
            .await
            .expect("gone");
        assert_eq!(heard(&mut page).await.0, "booking-deleted");

        options[said] = json!({ "rooms": "bookings,boardroom-r7" });
        let mut forged = node.connect(&server.url, options).await;
        assert_eq!(forged.refused().await, "forbidden");
    }
    server.stop().await;
}

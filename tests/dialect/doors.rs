//! The doors of dialects: whoever comes by a path of a file is admitted, heard, answered and cut by the
//! same rules as on `/ws`, in that file's words.

use crate::support::{
    self, Database, Server, Subscriber, eventually, marker, raw, serve, socket, token_with,
};
use rowcast::config::Settings;
use rowcast::connection::unix_now;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// A lot is open to those whose claim `lots` holds it, while it is not closed.
const GARAGE: &str = "
    create schema garage;
    grant usage on schema garage to rowcast_owner;
    create table garage.closed (room text);
    create table garage.car (lot int, plate text);
    grant select on garage.closed, garage.car to rowcast_owner;
    create function garage.may_enter(claims jsonb, room text) returns boolean language sql stable as $$
      select claims -> 'lots' @> to_jsonb(substr(room, 5)::int)
        and not exists (select from garage.closed c where c.room = may_enter.room)
    $$;
    create function garage.home_rooms(claims jsonb) returns text[] language sql stable
      as $$ select array['driver:' || (claims ->> 'sub')] $$;
    create function garage.cars(lot int) returns json language sql stable
      as $$ select json_agg(c.plate order by c.plate) from garage.car c where c.lot = cars.lot $$;
    insert into rowcast.room_rule values ('lot:*', 'garage.may_enter(jsonb,text)');
    insert into rowcast.home_rule values ('garage.home_rooms(jsonb)');
    insert into rowcast.callable (name, function) values ('cars', 'garage.cars(int)')";

async fn garage() -> Database {
    let database = support::database().await;
    database.run(GARAGE).await;
    database
}

/// The dialects of these tests, and what else they want.
fn speaking(settings: &mut Settings) {
    let file = |name: &str| format!("{}/tests/dialect/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    settings.http.dialects = vec![file("parking"), file("kiosk")];
}

async fn opened() -> (Database, Server) {
    let database = garage().await;
    let server = serve(&database, speaking).await;
    (database, server)
}

fn ticket(driver: &str, lots: &[i64]) -> String {
    token_with(&json!({ "sub": driver, "lots": lots, "exp": unix_now() + 600 }))
}

/// Comes to a path with a ticket.
async fn come(server: &Server, path: &str, ticket: &str) -> Subscriber {
    let bearer = format!("Bearer {ticket}");
    socket(server, path, &[("authorization", &bearer)]).await
}

/// Comes to lot 1 as driver 7, who may enter lots 1 and 2, and is welcomed.
async fn driver(server: &Server) -> Subscriber {
    let mut driver = come(server, "/live/1/7", &ticket("7", &[1, 2])).await;
    assert_eq!(driver.next().await["kind"], "hello");
    driver
}

async fn emit(database: &Database, name: &str, room: &str, data: &Value) {
    let sql = format!("select rowcast.emit('lots', '{name}', array['{room}'], '{data}')");
    database.run(&sql).await;
}

/// The next frame has to be of this kind.
async fn expect(driver: &mut Subscriber, kind: &str) -> Value {
    let frame = driver.next().await;
    assert_eq!(frame["kind"], kind, "{frame}");
    frame
}

#[tokio::test]
async fn whoever_comes_in_is_welcomed_and_hears_the_rooms_of_the_door_and_of_home() {
    let (database, server) = opened().await;
    let mut driver = come(&server, "/live/1/7", &ticket("7", &[1])).await;
    let welcome = driver.next().await;
    let place = welcome["place"].as_str().expect("a bookmark").to_owned();
    let rooms = json!(["driver:7", "lot:1"]);
    assert_eq!(
        welcome,
        json!({ "kind": "hello", "lot": 1, "you": "7", "rooms": rooms, "place": place })
    );
    emit(&database, "parked", "lot:2", &json!({ "car": "other" })).await;
    emit(
        &database,
        "parked",
        "lot:1",
        &json!({ "car": "B-1", "kind": "hers" }),
    )
    .await;
    emit(&database, "fined", "driver:7", &json!({ "sum": 20 })).await;
    let parked = driver.next().await;
    let place = &parked["place"];
    assert_eq!(
        driver.raw,
        format!(r#"{{"kind":"parked","place":{place},"car":"B-1"}}"#)
    );
    assert_eq!(expect(&mut driver, "fined").await["sum"], 20);
    server.stop().await;
}

#[tokio::test]
async fn messages_mean_what_the_file_says_and_are_answered_in_its_words() {
    let (database, server) = opened().await;
    database
        .run("insert into garage.car values (2, 'B-2'), (2, 'A-1')")
        .await;
    let mut driver = driver(&server).await;
    driver.send(json!({ "kind": "enter", "lot": 2 })).await;
    assert_eq!(
        driver.next().await,
        json!({ "kind": "entered", "lot": 2, "rooms": ["lot:2"] })
    );
    emit(&database, "parked", "lot:2", &json!({ "car": "C-3" })).await;
    assert_eq!(expect(&mut driver, "parked").await["car"], "C-3");

    driver
        .send(json!({ "kind": "count", "data": { "lot": 2 } }))
        .await;
    let count = expect(&mut driver, "count").await;
    assert_eq!(
        (&count["lot"], &count["cars"]),
        (&json!(2), &json!(["A-1", "B-2"]))
    );
    assert!(count["place"].is_string(), "{count}");

    driver.send(json!({ "kind": "exit", "lot": 2 })).await;
    assert_eq!(
        driver.next().await,
        json!({ "kind": "left", "lot": 2, "room": "lot:2" })
    );
    emit(&database, "parked", "lot:2", &json!({ "car": "D-4" })).await;
    // Nothing is said where the file says nothing.
    driver.send(json!({ "kind": "wave" })).await;
    driver.send(json!({ "kind": "honk" })).await;
    assert_eq!(driver.next().await, json!({ "kind": "beep", "to": "7" }));
    marker(&database, &["lot:1"]).await;
    expect(&mut driver, "marker").await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_message_is_answered_in_the_files_words_and_ends_nothing() {
    let (_database, server) = opened().await;
    let mut driver = driver(&server).await;
    for (said, what) in [
        ("{", Value::Null),
        ("[]", Value::Null),
        (r#"{"type":"enter","lot":2}"#, Value::Null),
        (r#"{"kind":"enter"}"#, json!("enter")),
        (r#"{"kind":"enter","lot":"two"}"#, json!("enter")),
        (r#"{"kind":"enter","lot":null}"#, json!("enter")),
        (r#"{"kind":"count","lot":2}"#, json!("count")),
    ] {
        driver.send_message(Message::text(said)).await;
        let answer = expect(&mut driver, "no").await;
        assert_eq!(answer["code"], "bad-message", "{said}");
        assert_eq!(answer["why"], "say that again", "{said}");
        assert_eq!(answer["what"], what, "{said}");
    }
    driver.send_message(Message::binary(vec![1])).await;
    assert_eq!(expect(&mut driver, "no").await["code"], "bad-message");
    driver.send(json!({ "kind": "fly" })).await;
    let unknown = json!({ "kind": "no", "code": "unknown-type", "what": "fly",
        "why": "nobody here understands fly" });
    assert_eq!(driver.next().await, unknown);
    // A function that refuses its arguments says so in the same frame.
    driver
        .send(json!({ "kind": "count", "data": { "lot": 99_999_999_999_u64 } }))
        .await;
    let refused = expect(&mut driver, "no").await;
    assert_eq!(
        (&refused["code"], &refused["what"]),
        (&json!("bad-arguments"), &json!("count"))
    );
    driver.send(json!({ "kind": "honk" })).await;
    expect(&mut driver, "beep").await;
    server.stop().await;
}

/// A number in a message is no proof of anything.
#[tokio::test]
async fn a_forged_join_is_refused_and_brings_nothing() {
    let (database, server) = opened().await;
    let mut driver = driver(&server).await;
    for lot in [3, 4] {
        driver.send(json!({ "kind": "enter", "lot": lot })).await;
        let refused = json!({ "kind": "no", "code": "forbidden", "what": "enter",
            "why": "not your lot", "room": format!("lot:{lot}") });
        assert_eq!(driver.next().await, refused);
    }
    emit(&database, "parked", "lot:3", &json!({ "car": "X-9" })).await;
    marker(&database, &["lot:1"]).await;
    expect(&mut driver, "marker").await;
    server.stop().await;
}

#[tokio::test]
async fn the_door_stays_shut_to_who_may_not_enter_all_of_its_rooms() {
    let (_database, server) = opened().await;
    let mine = ticket("7", &[1]);
    for (path, ticket, code, reason) in [
        ("/live/2/7", mine.as_str(), 4403, "not your lot"),
        (
            "/live/1/8",
            mine.as_str(),
            1008,
            "the address names somebody else",
        ),
        (
            "/live/1/7",
            "forged",
            1008,
            "the token was refused: malformed",
        ),
        ("/kiosk/a", mine.as_str(), 4004, "this is not the protocol"),
        (
            "/kiosk/a?lot=x",
            mine.as_str(),
            4004,
            "this is not the protocol",
        ),
        (
            "/kiosk/a?lot=2",
            mine.as_str(),
            1008,
            "no such room for you",
        ),
    ] {
        let mut came = come(&server, path, ticket).await;
        let closed = came.closed().await;
        assert_eq!(closed, (code, reason.to_owned()), "{path}");
        assert!(came.received.is_empty(), "{path}: {:?}", came.received);
    }
    for path in [
        "/live/one/7",
        "/live/1/",
        "/live/1/7/8",
        "/kiosk",
        "/live/1/%00",
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let answer = raw(
            &server,
            &request.replace("connection: upgrade", "connection: upgrade, close"),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    eventually("nobody sits", async || {
        (server.gate.seats.taken() == 0).then_some(())
    })
    .await;
    server.stop().await;
}

//! The doors of dialects: whoever comes by a path of a file is admitted, heard, answered and cut by the
//! same rules as on `/ws`, in that file's words.

use crate::support::{
    self, Database, Server, Subscriber, brief, eventually, marker, raw, serve, socket, token_with,
    within,
};
use rowcast::clock::unix_now;
use rowcast::config::Settings;
use rowcast::event::GapReason;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
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
    settings.http.dialects = vec![file("parking"), file("kiosk"), file("meter")];
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

async fn place(database: &Database) -> String {
    database.ask("select rowcast.bookmark()").await
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
    let unknown = json!({ "kind": "no", "code": "unknown-type", "what": "fly", "to": "7",
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
        let refused = json!({ "kind": "no", "code": "forbidden", "what": "enter", "to": "7",
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
        (
            "/kiosk/a",
            mine.as_str(),
            4004,
            "a parameter that this address needs is missing, or not of its kind",
        ),
        (
            "/kiosk/a?lot=x",
            mine.as_str(),
            4004,
            "a parameter that this address needs is missing, or not of its kind",
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

/// A number of each, in one statement: what a queue holds at most is then exceeded at once.
async fn emit_many(database: &Database, room: &str, numbers: std::ops::Range<usize>) {
    let (from, to) = (numbers.start, numbers.end - 1);
    let data = "json_build_object('number', n, 'filler', repeat('x', 500))::text::json";
    let sql = format!(
        "select rowcast.emit('lots', 'parked', array['{room}'], {data}) \
         from generate_series({from}, {to}) n"
    );
    database.run(&sql).await;
}

#[tokio::test]
async fn a_room_of_the_door_that_is_taken_shuts_it_and_another_does_not() {
    let (database, server) = opened().await;
    let mut one = driver(&server).await;
    one.send(json!({ "kind": "enter", "lot": 2 })).await;
    expect(&mut one, "entered").await;
    let close = |lot: i32| {
        format!("insert into garage.closed values ('lot:{lot}'); select rowcast.recheck()")
    };
    database.run(&close(2)).await;
    let taken = expect(&mut one, "no").await;
    assert_eq!(
        (&taken["code"], &taken["room"]),
        (&json!("withdrawn"), &json!("lot:2"))
    );
    one.send(json!({ "kind": "honk" })).await;
    expect(&mut one, "beep").await;
    database.run(&close(1)).await;
    assert_eq!(one.closed().await, (4403, "not your lot".to_owned()));
    server.stop().await;
}

/// Its address says `customer`: it heard on as one, and no page of another role was told to come back.
#[tokio::test]
async fn a_door_that_names_a_role_is_shut_when_the_session_has_another() {
    let database = garage().await;
    database
        .run(
            "create table garage.sessions (id text, role text);
             insert into garage.sessions values ('a', 'customer'), ('b', 'customer');
             grant select on garage.sessions to rowcast_owner;
             create function garage.claims_of(p_id text) returns jsonb language sql stable as $$
               select jsonb_build_object(
                 'sub', '7', 'role', role, 'exp', extract(epoch from now())::bigint + 600)
               from garage.sessions where id = p_id $$;
             insert into rowcast.session_rule values ('sid', 'garage.claims_of(text)')",
        )
        .await;
    let server = serve(&database, |settings| {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/dialects/spa.toml");
        settings.http.dialects = vec![file.into()];
    })
    .await;
    let own = format!("http://{}", server.address);
    let mut both = Vec::new();
    for cookie in ["sid=a", "sid=b"] {
        let headers = [("cookie", cookie), ("origin", own.as_str())];
        let mut one = socket(&server, "/websocket/booking/customer/7", &headers).await;
        assert_eq!(one.next().await["type"], "CONNECTION_ESTABLISHED");
        both.push(one);
    }
    database
        .run("update garage.sessions set role = 'manager' where id = 'a'; select rowcast.recheck()")
        .await;
    assert_eq!(both[0].closed().await.0, 1008);
    emit(&database, "marker", "driver:7", &json!({})).await;
    assert_eq!(both[1].next().await["type"], "marker");
    server.stop().await;
}

#[tokio::test]
async fn ends_have_the_codes_and_reasons_of_the_file() {
    let database = garage().await;
    let server = serve(&database, |settings| {
        speaking(settings);
        settings.limits.queue_bytes = 5000;
        settings.limits.message_bytes = 4000;
    })
    .await;
    // The file says nothing: as everywhere.
    let mut talker = driver(&server).await;
    talker
        .send(json!({ "kind": "honk", "loud": "x".repeat(5000) }))
        .await;
    assert_eq!(
        talker.closed().await,
        (1009, "the message is too big".to_owned())
    );

    let (brief, _) = brief(json!({ "sub": "7", "lots": [1] }));
    let mut late = come(&server, "/live/1/7", &brief).await;
    expect(&mut late, "hello").await;
    assert_eq!(
        late.closed().await,
        (4401, "the ticket has run out".to_owned())
    );

    let mut slow = driver(&server).await;
    emit_many(&database, "lot:1", 0..50).await;
    assert_eq!(slow.closed().await, (4100, "too slow".to_owned()));

    // The code is ours, the reason theirs.
    let mut towed = driver(&server).await;
    database.run("select rowcast.revoke('7')").await;
    assert_eq!(towed.closed().await, (4002, "towed away".to_owned()));

    let mut last = come(&server, "/live/1/8", &ticket("8", &[1])).await;
    expect(&mut last, "hello").await;
    let mut screen = come(&server, "/kiosk/a?lot=1", &ticket("8", &[1])).await;
    screen.send(json!({ "type": "x" })).await;
    assert_eq!(screen.next().await["code"], "unknown-type", "it is in");
    server.stop().await;
    let (code, reason) = last.closed().await;
    let wait = reason.strip_prefix("back in ").unwrap_or_default();
    assert_eq!(code, 4012, "{reason}");
    assert!(wait.parse::<u64>().is_ok(), "{reason}");
    let (code, reason) = screen.closed().await;
    assert_eq!(code, 1012, "{reason}");
    assert!(reason.parse::<u64>().is_ok(), "{reason}");
}

#[tokio::test]
async fn a_gap_is_told_or_the_page_is_sent_back() {
    let (_database, server) = opened().await;
    let mut driver = driver(&server).await;
    let mut screen = come(&server, "/kiosk/a?lot=1", &ticket("7", &[1])).await;
    screen.send(json!({ "type": "x" })).await;
    assert_eq!(screen.next().await["code"], "unknown-type", "it is in");
    server.gate.hub.tell_gap(GapReason::Listener);
    let lost = expect(&mut driver, "lost").await;
    assert_eq!(lost["why"], "listener");
    assert!(lost["place"].is_string(), "{lost}");
    driver.send(json!({ "kind": "honk" })).await;
    expect(&mut driver, "beep").await;
    let (code, reason) = screen.closed().await;
    assert_eq!(code, 1012, "{reason}");
    assert!(reason.parse::<u64>().is_ok(), "{reason}");

    // What can't be resumed is a gap from the start.
    let seven = ticket("7", &[1]);
    let mut stale = come(&server, "/live/1/7?since=nonsense", &seven).await;
    expect(&mut stale, "hello").await;
    assert_eq!(expect(&mut stale, "no").await["code"], "bad-bookmark");
    assert_eq!(expect(&mut stale, "lost").await["why"], "bookmark");
    let mut screen = come(&server, "/kiosk/a?lot=1&since=nonsense", &seven).await;
    assert_eq!(screen.closed().await.0, 1012);
    server.stop().await;
}

/// A page that knows nothing of `reset` would go on showing what is no longer so.
#[tokio::test]
async fn an_event_that_a_page_has_no_word_for_sends_it_back() {
    let (database, server) = opened().await;
    let mut driver = driver(&server).await;
    let seven = ticket("7", &[1]);
    let path = format!("/kiosk/a?lot=1&since={}", place(&database).await);
    for name in ["reset", "emptied"] {
        let mut screen = come(&server, "/kiosk/a?lot=1", &seven).await;
        screen.send(json!({ "type": "x" })).await;
        assert_eq!(screen.next().await["code"], "unknown-type", "it is in");
        emit(&database, name, "lot:1", &json!({})).await;
        let (code, reason) = screen.closed().await;
        assert_eq!(code, 1012, "{name}: {reason}");
        assert!(reason.parse::<u64>().is_ok(), "{reason}");
        // Others have it as any event.
        expect(&mut driver, name).await;
    }
    let mut screen = come(&server, &path, &seven).await;
    assert_eq!(screen.closed().await.0, 1012, "it lies behind");
    server.stop().await;
}

#[tokio::test]
async fn a_frame_that_says_whose_it_is_is_everybodys_own() {
    let (database, server) = opened().await;
    let mut screens = Vec::new();
    for name in ["north", "süd"] {
        let path = format!("/kiosk/{}?lot=1", name.replace('ü', "%C3%BC"));
        let mut screen = come(&server, &path, &ticket("7", &[1])).await;
        screen.send(json!("x")).await;
        assert_eq!(screen.next().await["code"], "bad-message", "it is in");
        screens.push((name, screen));
    }
    emit(&database, "parked", "lot:1", &json!({ "car": "B-1" })).await;
    for (name, screen) in &mut screens {
        let frame = screen.next().await;
        let when = frame["when"].as_str().expect("a time");
        assert!(when.len() == 24 && when.ends_with('Z'), "{when}");
        let whole = json!({ "to": name, "what": "parked", "of": { "car": "B-1" }, "when": when });
        assert_eq!(frame, whole);
    }
    server.stop().await;
}

#[tokio::test]
async fn who_says_too_much_is_told_so_in_the_files_words() {
    let database = garage().await;
    let server = serve(&database, |settings| {
        speaking(settings);
        settings.limits.messages_per_second = 1;
    })
    .await;
    let mut driver = driver(&server).await;
    let mut kinds = Vec::new();
    for _ in 0..20 {
        driver.send(json!({ "kind": "honk" })).await;
    }
    for _ in 0..20 {
        let frame = driver.next().await;
        if frame["kind"] == "no" {
            assert_eq!(frame["code"], "rate-limited", "{frame}");
            assert_eq!(frame["what"], "honk", "{frame}");
        }
        kinds.push(frame["kind"].clone());
    }
    assert_eq!(kinds[..2], [json!("beep"), json!("beep")]);
    assert!(kinds.contains(&json!("no")), "{kinds:?}");
    server.stop().await;
}

/// Cut again and again while events are committed, it has each of them once and in order.
#[tokio::test]
async fn a_resume_by_a_door_is_exact_across_cuts() {
    const EVENTS: usize = 120;
    let (database, server) = opened().await;
    let seven = ticket("7", &[1]);
    let mut one = driver(&server).await;
    let mut place = one.received[0]["place"]
        .as_str()
        .expect("a place")
        .to_owned();
    let (mut heard, mut cuts) = (Vec::new(), 0);
    let writing = async {
        for number in 0..EVENTS {
            let data = json!({ "number": number });
            emit(&database, "parked", "lot:1", &data).await;
            emit(&database, "parked", "lot:2", &data).await;
        }
    };
    let reading = async {
        while heard.len() < EVENTS {
            let frame = one.next().await;
            place = frame["place"].as_str().expect("a place").to_owned();
            if frame["kind"] == "parked" {
                heard.push(frame["number"].clone());
                if heard.len() % 7 == 0 {
                    cuts += 1;
                    one = come(&server, &format!("/live/1/7?since={place}"), &seven).await;
                }
            } else {
                assert_eq!(frame["kind"], "hello");
            }
        }
    };
    tokio::join!(writing, reading);
    let all: Vec<Value> = (0..EVENTS).map(Value::from).collect();
    assert_eq!(heard, all);
    assert!(cuts > 10, "{cuts}");
    server.stop().await;
}

#[tokio::test]
async fn a_durable_reader_acknowledges_in_the_files_words() {
    let (database, server) = opened().await;
    let seven = ticket("7", &[1]);
    let mut one = come(&server, "/live/1/7?reader=desk", &seven).await;
    expect(&mut one, "hello").await;
    emit(&database, "parked", "lot:1", &json!({ "number": 1 })).await;
    emit(&database, "parked", "lot:1", &json!({ "number": 2 })).await;
    let first = expect(&mut one, "parked").await["place"].clone();
    expect(&mut one, "parked").await;
    one.send(json!({ "kind": "seen", "place": first })).await;
    assert_eq!(one.next().await, json!({ "kind": "noted", "place": first }));
    one.send(json!({ "kind": "seen", "place": "nowhere" }))
        .await;
    let refused = expect(&mut one, "no").await;
    assert_eq!(
        (&refused["code"], &refused["what"]),
        (&json!("bad-bookmark"), &json!("seen"))
    );
    drop(one);
    let mut again = come(&server, "/live/1/7?reader=desk", &seven).await;
    expect(&mut again, "hello").await;
    assert_eq!(expect(&mut again, "parked").await["number"], 2);
    server.stop().await;
}

#[tokio::test]
async fn doors_lie_below_the_base_path() {
    let database = garage().await;
    let server = serve(&database, |settings| {
        speaking(settings);
        settings.http.base_path = "/G1_Parking".into();
    })
    .await;
    let seven = ticket("7", &[1]);
    let mut one = come(&server, "/G1_Parking/live/1/7", &seven).await;
    expect(&mut one, "hello").await;
    let poll = ask_poll(&server, "/G1_Parking/updates/1", &seven).await;
    assert_eq!(poll.status, 200, "{poll:?}");
    for path in [
        "/live/1/7",
        "/updates/1",
        "/G1_Parking/G1_Parking/updates/1",
    ] {
        let answer = ask_poll(&server, path, &seven).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    server.stop().await;
}

/// An answer as it came; a dialect's is none of the documents'.
#[derive(Debug)]
struct Polled {
    status: u16,
    head: String,
    body: String,
}

impl Polled {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Where to go on.
    fn next(&self) -> String {
        self.json()["next"].as_str().expect("a place").to_owned()
    }
}

async fn ask_poll(server: &Server, path: &str, ticket: &str) -> Polled {
    ask_poll_as(
        server,
        "GET",
        path,
        &format!("authorization: Bearer {ticket}\r\n"),
    )
    .await
}

async fn ask_poll_as(server: &Server, method: &str, path: &str, headers: &str) -> Polled {
    let asked = async {
        let mut stream = TcpStream::connect(&server.address)
            .await
            .expect("somebody listens");
        // HTTP/1.0: the body comes as it is, to the end.
        let request = format!("{method} {path} HTTP/1.0\r\nhost: a\r\n{headers}\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it is read");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        answer
    };
    let answer = within("an answer", asked).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Polled {
        status: status.expect("a status"),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn a_poll_answers_in_the_files_words_with_frames_as_the_socket_has_them() {
    let (database, server) = opened().await;
    let seven = ticket("7", &[1]);
    let mut one = driver(&server).await;
    let first = ask_poll(&server, "/updates/1", &seven).await;
    let place = first.next();
    assert_eq!(
        first.body,
        format!(r#"{{"state":"live","updates":[],"next":"{place}","again":false,"troubles":[]}}"#)
    );
    assert!(
        first.head.contains("content-type: application/json"),
        "{first:?}"
    );
    assert!(first.head.contains("cache-control: no-store"), "{first:?}");
    emit(
        &database,
        "parked",
        "lot:1",
        &json!({ "car": "B-1", "note": "\"}],\\" }),
    )
    .await;
    emit(&database, "parked", "lot:2", &json!({ "car": "other" })).await;
    emit(&database, "fined", "driver:7", &json!({ "sum": 20 })).await;
    let mut frames = Vec::new();
    for kind in ["parked", "fined"] {
        let frame = expect(&mut one, kind).await;
        frames.push((one.raw.clone(), frame["place"].clone()));
    }
    let missed = ask_poll(&server, &format!("/updates/1?since={place}"), &seven).await;
    let (updates, next) = (missed.json()["updates"].clone(), missed.next());
    // A place may be written otherwise for who comes from elsewhere; all else is the same text.
    let frames = frames.iter().enumerate().map(|(number, (frame, place))| {
        frame.replace(&place.to_string(), &updates[number]["place"].to_string())
    });
    let updates = frames.collect::<Vec<_>>().join(",");
    assert_eq!(
        missed.body,
        format!(
            r#"{{"state":"recovered","updates":[{updates}],"next":"{next}","again":false,"troubles":[]}}"#
        )
    );
    // Nothing more: it waits, and answers with nothing but where it stands.
    let empty = ask_poll(&server, &format!("/updates/1?since={next}&wait=0"), &seven).await;
    assert_eq!(empty.json()["updates"], json!([]));
    // What comes while it waits ends the wait.
    let path = format!("/updates/1?since={next}&wait=60");
    let (waited, ()) = tokio::join!(ask_poll(&server, &path, &seven), async {
        emit(&database, "left", "lot:1", &json!({ "car": "B-1" })).await;
    });
    assert_eq!(waited.json()["updates"][0]["kind"], "left", "{waited:?}");
    server.stop().await;
}

/// A front end that can't be changed says neither `token` nor `since`.
#[tokio::test]
async fn a_door_calls_what_every_door_has_by_the_names_of_the_file() {
    let (database, server) = opened().await;
    let key = ticket("7", &[1]);
    let ask = async |query: &str| {
        let path = format!("/meters/1?{query}");
        ask_poll_as(&server, "GET", &path, "").await
    };
    for query in [&*format!("token={key}"), ""] {
        assert_eq!(ask(query).await.status, 401, "{query}");
    }
    let ask = async |query: &str| ask(&format!("key={key}&{query}")).await.json();
    let cursor = ask("").await["cursor"].as_str().unwrap().to_owned();
    emit(&database, "parked", "lot:1", &json!({})).await;
    let missed = ask(&format!("cursor={cursor}&since=1987")).await;
    assert_eq!(
        missed["list"],
        json!([{ "name": "parked", "meter": "1987" }])
    );
    let next = missed["cursor"].as_str().unwrap();
    let waited = ask(&format!("cursor={next}&hold=0")).await;
    assert_eq!(
        (&waited["list"], &waited["errors"]),
        (&json!([]), &json!([]))
    );
    let path = format!("/meters/1/live?key={key}&cursor={cursor}");
    let mut live = socket(&server, &path, &[]).await;
    assert!(live.next().await["cursor"].is_string());
    assert_eq!(live.next().await, json!({ "name": "parked" }));
    server.stop().await;
}

/// Its bookmark lies behind what is left out of a room that was taken while it was written: where that can't be
/// said behind the frames, or ends the visit, the answer is torn, and its reader comes back with the bookmark it had.
#[tokio::test]
async fn a_poll_that_cannot_say_that_a_room_was_taken_is_torn() {
    let files = tempfile::tempdir().expect("a directory");
    let errors_first = files.path().join("parking.toml");
    let (errors, answer) = (r#", troubles = "{errors}""#, r#"answer = { state"#);
    let text = include_str!("parking.toml");
    let moved = text.replacen(errors, "", 1);
    let moved = moved.replacen(answer, r#"answer = { troubles = "{errors}", state"#, 1);
    assert_eq!(moved.len(), text.len(), "moved");
    std::fs::write(&errors_first, moved).expect("a file");
    let not_at_home = "delete from rowcast.home_rule";
    let closed = "insert into garage.closed values ('lot:1'); select rowcast.recheck()";
    for (is_moved, room, change, is_whole) in [
        (false, "driver:7", not_at_home, true),
        (true, "driver:7", not_at_home, false),
        (false, "lot:1", closed, false),
    ] {
        let database = garage().await;
        let (since, _) = support::long_replay(&database, room).await;
        let server = serve(&database, |settings| {
            speaking(settings);
            if is_moved {
                settings.http.dialects[0] = errors_first.display().to_string();
            }
            settings.limits.queue_bytes = 50_000_000;
        })
        .await;
        let seven = ticket("7", &[1]);
        let request = format!(
            "GET /updates/1?since={since} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
             authorization: Bearer {seven}\r\n\r\n"
        );
        let asked = support::reluctant(&server.address, &request).await;
        let mut stream = asked.expect("somebody listens");
        let mut answer = vec![0; 100_000];
        let some = within("the answer", stream.read_exact(&mut answer)).await;
        some.expect("it comes");
        database.run(change).await;
        eventually("the room is empty", async || {
            // The one of everybody and the other of the two.
            (server.gate.hub.sizes().rooms == 2).then_some(())
        })
        .await;
        let _ = within("the end", stream.read_to_end(&mut answer)).await;
        assert_eq!(answer.ends_with(b"0\r\n\r\n"), is_whole, "{room}");
        let tail = String::from_utf8_lossy(&answer[answer.len() - 400..]).into_owned();
        assert_eq!(tail.contains("troubles"), is_whole, "{tail}");
        assert_eq!(tail.contains("forbidden"), is_whole, "{tail}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_poll_is_refused_in_the_files_words_by_the_usual_status() {
    let database = garage().await;
    let server = serve(&database, |settings| {
        speaking(settings);
        settings.http.allowed_origins = vec!["https://park.example".into()];
    })
    .await;
    let seven = ticket("7", &[1]);
    for (path, ticket, status, code) in [
        ("/updates/2", &*seven, 403, "forbidden"),
        ("/updates/1", "forged", 401, "unauthorized"),
        ("/updates/1?wait=long", &*seven, 400, "protocol-error"),
    ] {
        let refused = ask_poll(&server, path, ticket).await;
        assert_eq!(refused.status, status, "{path}: {refused:?}");
        let frame = refused.json();
        assert_eq!(
            (&frame["kind"], &frame["code"]),
            (&json!("no"), &json!(code)),
            "{path}"
        );
    }
    assert_eq!(ask_poll(&server, "/updates/one", &seven).await.status, 404);
    let gap = ask_poll(&server, "/updates/1?since=nonsense", &seven)
        .await
        .json();
    assert_eq!(gap["state"], "gap", "{gap}");
    assert_eq!(gap["troubles"][0]["kind"], "no", "{gap}");
    assert_eq!(gap["troubles"][0]["code"], "bad-bookmark", "{gap}");
    assert_eq!(gap["troubles"][0]["to"], "7", "{gap}");
    // One that comes while it waits ends the wait.
    let place = ask_poll(&server, "/updates/1", &seven).await.next();
    let path = format!("/updates/1?since={place}&wait=60");
    let (gap, ()) = tokio::join!(ask_poll(&server, &path, &seven), async {
        eventually("it waits", async || {
            (server.gate.hub.sizes().subscriptions == 1).then_some(())
        })
        .await;
        server.gate.hub.tell_gap(GapReason::Listener);
    });
    let gap = gap.json();
    assert_eq!(gap["state"], "gap", "{gap}");
    assert_eq!(gap["updates"][0]["kind"], "lost", "{gap}");
    let origin = "origin: https://park.example\r\n";
    for (method, headers, status) in [
        ("OPTIONS", origin.to_owned(), 204),
        (
            "GET",
            format!("{origin}authorization: Bearer {seven}\r\n"),
            200,
        ),
        ("GET", origin.to_owned(), 401),
    ] {
        let answer = ask_poll_as(&server, method, "/updates/1", &headers).await;
        assert_eq!(answer.status, status, "{method}: {answer:?}");
        let allowed = "access-control-allow-origin: https://park.example";
        assert!(answer.head.contains(allowed), "{method}: {answer:?}");
    }
    let posted = ask_poll_as(&server, "POST", "/updates/1", origin).await;
    assert_eq!(posted.status, 404, "{posted:?}");
    server.stop().await;
}

/// Answer by answer, whatever is committed meanwhile, each once and in order.
#[tokio::test]
async fn a_poll_door_is_as_exact_as_a_stream() {
    const EVENTS: usize = 150;
    let database = garage().await;
    let server = serve(&database, |settings| {
        speaking(settings);
        // An answer holds a few, and the next the rest.
        settings.limits.queue_bytes = 5000;
    })
    .await;
    let seven = ticket("7", &[1]);
    let mut place = ask_poll(&server, "/updates/1", &seven).await.next();
    let (mut heard, mut cut_short) = (Vec::new(), 0);
    let writing = async {
        for from in (0..EVENTS).step_by(15) {
            emit_many(&database, "lot:1", from..from + 15).await;
        }
    };
    let reading = async {
        while heard.len() < EVENTS {
            let path = format!("/updates/1?since={place}&wait=5");
            let answer = ask_poll(&server, &path, &seven).await;
            if answer.status == 503 {
                // More at once than waits for one: it comes back with the place it had.
                assert_eq!(answer.json()["code"], "lagged", "{answer:?}");
                continue;
            }
            // An answer that is lost is asked for again.
            let same = ask_poll(&server, &path, &seven).await.json();
            let first = answer.json();
            if first["updates"] != json!([]) && same["code"] != "lagged" {
                assert_eq!(first["updates"][0], same["updates"][0]);
            }
            let updates = first["updates"].as_array().expect("a list").clone();
            heard.extend(updates.iter().map(|frame| frame["number"].clone()));
            cut_short += usize::from(first["again"] == true);
            place = answer.next();
        }
    };
    tokio::join!(writing, reading);
    let all: Vec<Value> = (0..EVENTS).map(Value::from).collect();
    assert_eq!(heard, all);
    assert!(cut_short > 0);
    server.stop().await;
}

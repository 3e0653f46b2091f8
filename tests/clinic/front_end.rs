//! The clinic by the front end that it has: socket.io-client, signed in by session cookie, with the
//! messages and events of its document, against nothing but SQL.

use super::{
    CALL_NEXT, SAMPLE, called, get_ready, new_patient, position, queue_refresh, queue_update,
    timeless,
};
use crate::support::socketio::{Client, Clients};
use crate::support::{Database, Server, marker, serve, system, unhurried, within};
use rowcast::config::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The clinic as its operators run it, and its client library.
async fn opened() -> (Database, Server, Clients) {
    let database = system("clinic").await;
    database.run(SAMPLE).await;
    let speaking = |settings: &mut Settings| {
        unhurried(settings);
        settings.http.dialects = vec!["clinic".into()];
    };
    let server = serve(&database, speaking).await;
    (database, server, Clients::start())
}

/// What a browser with this session sends from the application's own page.
fn session(server: &Server, id: &str) -> Value {
    json!({ "extraHeaders": { "cookie": format!("clinic_session=of-{id}"), "origin": server.url } })
}

async fn patient<'a>(clients: &'a Clients, server: &Server, id: &str) -> Client<'a> {
    let mut patient = clients.connect(&server.url, session(server, id)).await;
    patient.connected().await;
    for (join, args, room) in [
        ("join-patient-room", json!([id]), format!("patient_{id}")),
        ("join-patients-room", json!([]), "patients".to_owned()),
    ] {
        assert_eq!(
            patient.ask(join, args).await,
            [json!({ "ok": true, "room": room })]
        );
    }
    patient
}

async fn staff<'a>(clients: &'a Clients, server: &Server) -> Client<'a> {
    let mut staff = clients.connect(&server.url, session(server, "s1")).await;
    staff.connected().await;
    let joined = staff.ask("join-staff-room", json!(["s1"])).await;
    assert_eq!(joined, [json!({ "ok": true, "room": "staff" })]);
    staff
}

/// The events of the application since this was last asked, each with its payload.
async fn heard(
    database: &Database,
    everybody: &mut [&mut Client<'_>],
) -> Vec<Vec<(String, Value)>> {
    marker(database, &["*"]).await;
    let mut all = Vec::new();
    for one in everybody {
        let mut events = one.events_until("marker").await;
        events.pop();
        let events = events
            .into_iter()
            .filter(|(name, _)| !name.starts_with("rowcast:"));
        let plain = events.map(|(name, args)| {
            let [data, place] = &args[..] else {
                panic!("{name} has {args:?}");
            };
            assert!(
                place["id"].is_string() && place["bookmark"].is_string(),
                "{place}"
            );
            assert!(place["at"].is_string(), "{place}");
            assert_eq!(data["type"], name);
            let mut data = data.clone();
            timeless(&mut data);
            (name, data)
        });
        all.push(plain.collect());
    }
    all
}

fn told(events: &[(&str, Value)]) -> Vec<(String, Value)> {
    let told = events.iter();
    told.map(|(name, data)| ((*name).to_owned(), data.clone()))
        .collect()
}

fn update(waiting: u32) -> (&'static str, Value) {
    let (name, _, data) = queue_update(waiting);
    (name, data)
}

fn refresh(visits: &[(u32, &str, &str, Option<&str>)]) -> (&'static str, Value) {
    let (name, _, data) = queue_refresh(visits);
    (name, data)
}

fn new(id: &str, name: &str, place: u32) -> (&'static str, Value) {
    let (event, _, data) = new_patient(id, name, place);
    (event, data)
}

#[tokio::test]
async fn from_check_in_to_call() {
    let (database, server, clients) = opened().await;
    let mut ada = patient(&clients, &server, "123").await;
    let mut ben = patient(&clients, &server, "abc-def-456").await;
    let mut staff = staff(&clients, &server).await;
    let legacy = database.legacy().await;
    let mut step = async |sql: &str,
                          ada_hears: &[(&str, Value)],
                          ben_hears: &[(&str, Value)],
                          staff_hear: &[(&str, Value)]| {
        legacy
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let heard = heard(&database, &mut [&mut ada, &mut ben, &mut staff]).await;
        assert_eq!(heard[0], told(ada_hears), "Ada: {sql}");
        assert_eq!(heard[1], told(ben_hears), "Ben: {sql}");
        assert_eq!(heard[2], told(staff_hear), "staff: {sql}");
    };

    // Three are there, then Ada and Ben check in.
    step(
        "insert into clinic.queue (patient_id) values ('3'), ('4'), ('5')",
        &[update(3)],
        &[update(3)],
        &[
            new("3", "Cid", 1),
            new("4", "Dot", 2),
            new("5", "Eve", 3),
            update(3),
            refresh(&[
                (1, "3", "Cid", None),
                (2, "4", "Dot", None),
                (3, "5", "Eve", None),
            ]),
        ],
    )
    .await;
    let four = [
        (1, "3", "Cid", None),
        (2, "4", "Dot", None),
        (3, "5", "Eve", None),
        (4, "123", "Ada", None),
    ];
    step(
        "insert into clinic.queue (patient_id) values ('123')",
        &[update(4), ("position_update", position(4))],
        &[update(4)],
        &[new("123", "Ada", 4), update(4), refresh(&four)],
    )
    .await;
    let five = (5, "abc-def-456", "Ben", None);
    step(
        "insert into clinic.queue (patient_id) values ('abc-def-456')",
        &[update(5)],
        &[update(5), ("position_update", position(5))],
        &[
            new("abc-def-456", "Ben", 5),
            update(5),
            refresh(&[four[0], four[1], four[2], four[3], five]),
        ],
    )
    .await;
    // The first is called: Ada is two places away.
    let cid = (1, "3", "Cid", Some("Room 2"));
    step(
        CALL_NEXT,
        &[
            update(4),
            ("position_update", position(3)),
            ("get_ready", get_ready(3)),
        ],
        &[update(4), ("position_update", position(4))],
        &[update(4), refresh(&[cid, four[1], four[2], four[3], five])],
    )
    .await;
    // He is done; the next two do not appear.
    step(
        "update clinic.queue set status = 'completed' where visit_id = 1",
        &[update(4)],
        &[update(4)],
        &[update(4), refresh(&[four[1], four[2], four[3], five])],
    )
    .await;
    step(
        "update clinic.queue set status = 'no_show' where visit_id in (2, 3)",
        &[update(2), ("position_update", position(1))],
        &[
            update(2),
            ("position_update", position(2)),
            ("get_ready", get_ready(2)),
        ],
        &[update(2), refresh(&[four[3], five])],
    )
    .await;
    step(
        CALL_NEXT,
        &[("patient_called", called(Some("Room 2"))), update(1)],
        &[update(1), ("position_update", position(1))],
        &[
            update(1),
            refresh(&[(4, "123", "Ada", Some("Room 2")), five]),
        ],
    )
    .await;
    let news = json!({ "type": "system_announcement", "message": "Tea", "timestamp": "T" });
    let news = [("system_announcement", news)];
    step(
        "insert into clinic.announcements (message) values ('Tea')",
        &news,
        &news,
        &[],
    )
    .await;
    let alert =
        json!({ "type": "system_alert", "message": "Ink", "severity": "info", "timestamp": "T" });
    step(
        "insert into clinic.alerts (message) values ('Ink')",
        &[],
        &[],
        &[("system_alert", alert)],
    )
    .await;
    drop((ada, ben, staff));
    server.stop().await;
}

/// Whose id is named proves nothing: the session decides, whether somebody waits for an answer or not.
#[tokio::test]
async fn a_forged_join_is_refused() {
    let (database, server, clients) = opened().await;
    let mut ada = patient(&clients, &server, "123").await;
    for (join, args) in [
        ("join-staff-room", json!(["s1"])),
        ("join-patient-room", json!(["abc-def-456"])),
        ("join-patient-room", json!(["123 "])),
        ("join-patient-room", json!(["*"])),
        ("join-patient-room", json!([])),
        ("join-patient-room", json!([{ "patientId": "123" }])),
        ("get-queue", json!([])),
    ] {
        let answer = ada.ask(join, args.clone()).await;
        assert_eq!(answer.len(), 1, "{join} {args}");
        let refused = answer[0]["ok"] == false || answer[0]["type"] == "error";
        assert!(refused, "{join} {args}: {answer:?}");
        ada.emit(join, args).await;
    }
    database
        .run(
            "insert into clinic.queue (patient_id) values ('abc-def-456');
              insert into clinic.alerts (message) values ('Ink')",
        )
        .await;
    let heard = heard(&database, &mut [&mut ada]).await;
    assert_eq!(heard[0], told(&[update(1)]));
    drop(ada);
    server.stop().await;
}

/// A patient's second tab hears the same, and goes on when the first is closed. Staff may watch a
/// patient's room and the patients', once they ask for them.
#[tokio::test]
async fn two_tabs_and_what_staff_may_watch() {
    let (database, server, clients) = opened().await;
    let first = patient(&clients, &server, "123").await;
    let mut second = patient(&clients, &server, "123").await;
    let mut staff = staff(&clients, &server).await;
    for (join, args) in [
        ("join-patient-room", json!(["123"])),
        ("join-patients-room", json!([])),
    ] {
        assert_eq!(staff.ask(join, args).await[0]["ok"], true);
    }
    let mut first = first;
    let sql = "insert into clinic.queue (patient_id) values ('123')";
    database.run(sql).await;
    let names = |events: &[(String, Value)]| -> Vec<String> {
        events.iter().map(|(name, _)| name.clone()).collect()
    };
    let mine = ["queue_update", "position_update", "get_ready"];
    let all = heard(&database, &mut [&mut first, &mut second, &mut staff]).await;
    assert_eq!(names(&all[0]), mine);
    assert_eq!(names(&all[1]), mine);
    let watched = [
        "new_patient",
        "queue_update",
        "queue_refresh",
        "position_update",
        "get_ready",
    ];
    assert_eq!(names(&all[2]), watched);
    first.disconnect().await;
    database.run(CALL_NEXT).await;
    let all = heard(&database, &mut [&mut second]).await;
    assert_eq!(names(&all[0]), ["patient_called", "queue_update"]);
    drop((first, second, staff));
    server.stop().await;
}

/// Who comes back says where it was, and hears what it missed: not more than happened, up to now.
#[tokio::test]
async fn who_comes_back_hears_what_was_missed() {
    let (database, server, clients) = opened().await;
    let mut ada = clients.resuming(&server.url, session(&server, "123")).await;
    ada.connected().await;
    // Only then is it in its rooms, and has a place to come back with.
    ada.until_event("rowcast:welcome").await;
    ada.emit("join-patient-room", json!(["123"])).await;
    database
        .run("insert into clinic.queue (patient_id) values ('3'), ('4'), ('5'), ('123')")
        .await;
    let before = heard(&database, &mut [&mut ada]).await;
    assert_eq!(
        before[0],
        told(&[update(4), ("position_update", position(4))])
    );
    ada.disconnect().await;
    ada.disconnected().await;
    for _ in 0..3 {
        database.run(CALL_NEXT).await;
    }
    ada.connect().await;
    ada.reconnected().await;
    let missed = heard(&database, &mut [&mut ada]).await.swap_remove(0);
    let last = |name: &str| missed.iter().rfind(|(heard, _)| heard == name).cloned();
    let all = |name: &str| missed.iter().filter(|(heard, _)| heard == name).count();
    assert_eq!(all("get_ready"), 1, "{missed:?}");
    assert_eq!(
        last("get_ready"),
        told(&[("get_ready", get_ready(3))]).pop()
    );
    assert_eq!(last("queue_update"), told(&[update(1)]).pop());
    assert_eq!(
        last("position_update"),
        told(&[("position_update", position(1))]).pop()
    );
    assert!(
        all("queue_update") <= 3 && all("position_update") <= 3,
        "{missed:?}"
    );
    drop(ada);
    server.stop().await;
}

#[tokio::test]
async fn nobody_gets_in_without_a_session_of_the_clinic() {
    let (database, server, clients) = opened().await;
    database
        .run("insert into clinic.sessions values ('of-old', '3', null, now(), now() - interval '1 s')")
        .await;
    let elsewhere = json!({ "extraHeaders":
        { "cookie": "clinic_session=of-123", "origin": "https://elsewhere.example" } });
    for (options, why) in [
        (json!({}), "unauthorized"),
        (session(&server, "nobody"), "unauthorized"),
        (session(&server, "old"), "unauthorized"),
        (elsewhere, "forbidden-origin"),
    ] {
        let mut nobody = clients.connect(&server.url, options.clone()).await;
        assert_eq!(nobody.refused().await, why, "{options}");
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_signs_out_is_out() {
    let (database, server, clients) = opened().await;
    let legacy = database.legacy().await;
    for sign_out in [
        "update clinic.sessions set ends_at = now() where session_id = 'of-123'",
        "delete from clinic.sessions where session_id = 'of-s1'",
    ] {
        let who = if sign_out.contains("s1") { "s1" } else { "123" };
        let mut page = clients.connect(&server.url, session(&server, who)).await;
        page.connected().await;
        // Who is cut on the way over to a WebSocket may be gone before it was told why.
        page.upgraded().await;
        assert_eq!(
            page.ask("join-patients-room", json!([])).await[0]["ok"],
            true
        );
        legacy.batch_execute(sign_out).await.expect("signed out");
        assert_eq!(page.disconnected().await, "io server disconnect");
    }
    server.stop().await;
}

#[tokio::test]
async fn pages_ask_for_what_they_show_first() {
    let (database, server, clients) = opened().await;
    database
        .run("insert into clinic.queue (patient_id) values ('3'), ('123')")
        .await;
    let staff = staff(&clients, &server).await;
    let mut queue = staff.ask("get-queue", json!([])).await;
    queue.iter_mut().for_each(timeless);
    assert_eq!(
        queue,
        [refresh(&[(1, "3", "Cid", None), (2, "123", "Ada", None)]).1]
    );
    let ada = patient(&clients, &server, "123").await;
    let mut visit = ada.ask("get-my-visit", json!([])).await;
    visit.iter_mut().for_each(timeless);
    let mine = json!({ "status": "waiting", "position": 2, "estimatedWait": 6, "checkInTime": "T",
        "calledAt": null, "room": null });
    assert_eq!(visit, [mine]);
    drop((staff, ada));
    server.stop().await;
}

/// What operators' tools get: head and body.
async fn fetch(server: &Server, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(&server.address)
        .await
        .expect("somebody listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    within("an answer", read).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn its_health_is_what_it_was() {
    let (_database, server, clients) = opened().await;
    let ada = patient(&clients, &server, "123").await;
    let (head, body) = fetch(&server, "/health").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut health: Value = serde_json::from_str(&body).expect("JSON");
    timeless(&mut health);
    let expected = json!({ "status": "healthy", "connectedClients": 1, "redisAdapter": true,
        "timestamp": "T" });
    assert_eq!(health, expected);
    drop(ada);
    server.stop().await;
}

//! The clinic end to end: SQL as its application writes it, the exact frames at exactly the rooms that
//! should have them, for patients and staff who are signed in by its own session cookie.

/// By the front end that it has.
mod front_end;
/// While other transactions are under way, at all isolation levels.
mod transactions;

use crate::support::stage::{Stage, stay_in};
use crate::support::{
    Database, Server, Subscriber, Version, marker, on_every_version, serve, system, unhurried,
    within, ws_with,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Everybody's session is called `of-` and their id.
pub const SAMPLE: &str = "
    insert into clinic.patients (patient_id, name, phone) values
      ('123', 'Ada', '070'), ('abc-def-456', 'Ben', null), ('3', 'Cid', null), ('4', 'Dot', null),
      ('5', 'Eve', null), ('50', 'Flo', null), ('99', 'Gil', null);
    insert into clinic.staff values ('s1', 'Dr Hay');
    insert into clinic.sessions (session_id, patient_id) select 'of-' || patient_id, patient_id
      from clinic.patients;
    insert into clinic.sessions (session_id, staff_id) values ('of-s1', 's1');
";

/// Each room with somebody who may be in it and has no other.
const ROOMS: [(&str, &str); 8] = [
    ("patient_123", "123"),
    ("patient_abc-def-456", "abc-def-456"),
    ("patient_3", "3"),
    ("patient_4", "4"),
    ("patient_5", "5"),
    ("patients", "50"),
    ("staff", "s1"),
    // A bystander, who is in no line.
    ("patient_99", "99"),
];

/// An event that is to come: name, rooms, data.
type Told<'a> = (&'a str, &'a [&'a str], Value);

struct Clinic {
    stage: Stage,
}

impl Clinic {
    /// The clinic with this much more in it, and somebody in each room.
    async fn open(version: Version, more: &str) -> Self {
        let mut stage = Stage::open(version, "clinic", &[SAMPLE, more], |_| ()).await;
        for (room, id) in ROOMS {
            let mut somebody = signed_in(&stage.server, id, &format!("rooms={room}")).await;
            stay_in(&mut somebody, room).await;
            stage.seats.push((room, somebody));
        }
        Self { stage }
    }

    /// Runs SQL as the application; exactly these events reach exactly their rooms, in this order.
    async fn tells(&mut self, sql: &str, expected: &[Told<'_>]) {
        self.stage.writes(sql).await;
        for (room, heard) in self.stage.heard().await {
            let wanted: Vec<_> = expected
                .iter()
                .filter(|(_, rooms, _)| rooms.contains(&room) || *rooms == ["*"])
                .map(|(name, _, data)| json!({ "type": "event", "name": name, "data": data }))
                .collect();
            let heard: Vec<_> = heard.iter().map(plain).collect();
            assert_eq!(heard, wanted, "{room}\n{sql}");
        }
    }

    async fn one(&self, sql: &str) -> i64 {
        let row = self
            .stage
            .database
            .superuser()
            .await
            .query_one(sql, &[])
            .await;
        row.expect("a row").get(0)
    }
}

/// Connects with the application's session cookie, from its own page.
async fn signed_in(server: &Server, id: &str, query: &str) -> Subscriber {
    let cookie = format!("theme=dark; clinic_session=of-{id}");
    let headers = [("cookie", cookie.as_str()), ("origin", &server.url)];
    ws_with(server, query, &headers).await
}

/// A frame without what differs from run to run; times have been looked at.
fn plain(frame: &Value) -> Value {
    let mut plain = frame.clone();
    if frame["type"] == "event" {
        let name = frame["name"].as_str().expect("a name");
        let channel = match name {
            "system_announcement" => "announcements",
            "system_alert" => "alerts",
            _ => "queue",
        };
        assert!(name == "reset" || frame["channel"] == channel, "{frame}");
        plain = json!({ "type": "event", "name": name, "data": frame["data"] });
    }
    timeless(&mut plain);
    plain
}

/// Replaces times by `T`; each has milliseconds and Z.
fn timeless(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let is_time = matches!(name.as_str(), "timestamp" | "checkInTime" | "calledAt");
                match field {
                    Value::String(text) if is_time => {
                        let shape = text.replace(|c: char| c.is_ascii_digit(), "0");
                        assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{name}");
                        *text = "T".to_owned();
                    }
                    other => timeless(other),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(timeless),
        _ => (),
    }
}

fn position(place: u32) -> Value {
    json!({ "type": "position_update", "position": place, "estimatedWait": place * 3,
        "timestamp": "T" })
}

fn get_ready(place: u32) -> Value {
    json!({ "type": "get_ready", "position": place, "estimatedWait": place * 3, "timestamp": "T",
        "message": format!("Please get ready: you are number {place} in line.") })
}

fn called(room: Option<&str>) -> Value {
    let message = room.map_or("It is your turn.".into(), |room| {
        format!("It is your turn: {room}.")
    });
    json!({ "type": "patient_called", "message": message, "room": room, "timestamp": "T" })
}

fn queue_update(waiting: u32) -> Told<'static> {
    let data = json!({ "type": "queue_update", "waiting": waiting,
        "estimatedWait": (waiting + 1) * 3, "timestamp": "T" });
    ("queue_update", &["patients", "staff"], data)
}

/// Visits in the queue: id, patient, name, room if called.
fn queue_refresh(visits: &[(u32, &str, &str, Option<&str>)]) -> Told<'static> {
    let mut place = 0;
    let data: Vec<_> = visits
        .iter()
        .map(|(id, patient, name, room)| {
            let phone = (*patient == "123").then_some("070");
            let mut visit = json!({ "id": id, "patientId": patient, "name": name, "phone": phone,
                "status": "called", "position": null, "estimatedWait": null, "checkInTime": "T",
                "calledAt": "T", "room": room });
            if room.is_none() {
                place += 1;
                visit["status"] = "waiting".into();
                visit["position"] = place.into();
                visit["estimatedWait"] = (place * 3).into();
                visit["calledAt"] = Value::Null;
            }
            visit
        })
        .collect();
    let data = json!({ "type": "queue_refresh", "timestamp": "T", "data": data });
    ("queue_refresh", &["staff"], data)
}

fn new_patient(id: &str, name: &str, place: u32) -> Told<'static> {
    let phone = (id == "123").then_some("070");
    let data = json!({ "type": "new_patient", "timestamp": "T", "patient": { "id": id,
        "name": name, "phone": phone, "position": place, "estimatedWait": place * 3,
        "checkInTime": "T" } });
    ("new_patient", &["staff"], data)
}

/// Five are waiting, in this order: visit 1 of 123, 2 of abc-def-456, 3 of 3, 4 of 4, 5 of 5.
const LINE: &str = "
    insert into clinic.queue (patient_id, checked_in_at) values
      ('123', '2026-11-20 08:01Z'), ('abc-def-456', '2026-11-20 08:02Z'),
      ('3', '2026-11-20 08:03Z'), ('4', '2026-11-20 08:04Z'), ('5', '2026-11-20 08:05Z');
";

/// A call of the first in line; rooms are the clinic's business.
const CALL_NEXT: &str = "
    update clinic.queue set status = 'called', called_at = clock_timestamp(), room = 'Room 2'
    where visit_id = (
      select visit_id from clinic.queue where status = 'waiting'
      order by checked_in_at, visit_id limit 1 for update skip locked
    )";

async fn from_check_in_to_call(version: Version) {
    let mut clinic = Clinic::open(version, "").await;
    clinic
        .tells(
            "insert into clinic.queue (visit_id, patient_id) values (1, '123')",
            &[
                new_patient("123", "Ada", 1),
                queue_update(1),
                queue_refresh(&[(1, "123", "Ada", None)]),
                ("position_update", &["patient_123"], position(1)),
                ("get_ready", &["patient_123"], get_ready(1)),
            ],
        )
        .await;
    clinic
        .tells(
            "insert into clinic.queue (visit_id, patient_id) values (2, 'abc-def-456')",
            &[
                new_patient("abc-def-456", "Ben", 2),
                queue_update(2),
                queue_refresh(&[(1, "123", "Ada", None), (2, "abc-def-456", "Ben", None)]),
                ("position_update", &["patient_abc-def-456"], position(2)),
                ("get_ready", &["patient_abc-def-456"], get_ready(2)),
            ],
        )
        .await;
    let both = [
        (1, "123", "Ada", Some("Room 2")),
        (2, "abc-def-456", "Ben", None),
    ];
    clinic
        .tells(
            CALL_NEXT,
            &[
                ("patient_called", &["patient_123"], called(Some("Room 2"))),
                queue_update(1),
                queue_refresh(&both),
                ("position_update", &["patient_abc-def-456"], position(1)),
            ],
        )
        .await;
    // Nobody came: called once more.
    clinic
        .tells(
            "update clinic.queue set called_at = called_at + '1 min' where visit_id = 1",
            &[
                ("patient_called", &["patient_123"], called(Some("Room 2"))),
                queue_update(1),
                queue_refresh(&both),
            ],
        )
        .await;
    clinic
        .tells(
            "update clinic.queue set status = 'completed', ended_at = now() where visit_id = 1",
            &[
                queue_update(1),
                queue_refresh(&[(2, "abc-def-456", "Ben", None)]),
            ],
        )
        .await;
    clinic
        .tells(
            "update clinic.queue set status = 'no_show', ended_at = now() where visit_id = 2",
            &[queue_update(0), queue_refresh(&[])],
        )
        .await;
    // Housekeeping, and what changes nothing.
    clinic.tells("delete from clinic.queue", &[]).await;
    assert_eq!(
        clinic.one("select count(*) from clinic_push.readied").await,
        0
    );
    clinic
        .tells(
            "begin; insert into clinic.queue (patient_id) values ('3'); rollback",
            &[],
        )
        .await;
    clinic.stage.close().await;
}

async fn many_by_one_statement(version: Version) {
    let mut clinic = Clinic::open(version, "").await;
    let names = ["Ada", "Ben", "Cid", "Dot", "Eve"];
    let ids = ["123", "abc-def-456", "3", "4", "5"];
    let rooms: Vec<String> = ids.iter().map(|id| format!("patient_{id}")).collect();
    let rooms: Vec<[&str; 1]> = rooms.iter().map(|room| [room.as_str()]).collect();
    let line: Vec<_> = (1..).zip(ids).zip(names).collect();
    let line: Vec<_> = line
        .iter()
        .map(|((n, id), name)| (*n, *id, *name, None))
        .collect();
    let mut told: Vec<Told<'_>> = line
        .iter()
        .map(|(n, id, name, _)| new_patient(id, name, *n))
        .collect();
    told.extend([queue_update(5), queue_refresh(&line)]);
    for (place, room) in (1..).zip(&rooms) {
        told.push(("position_update", room, position(place)));
        if place <= 3 {
            told.push(("get_ready", room, get_ready(place)));
        }
    }
    clinic.tells(LINE, &told).await;
    // Four do not come: the last jumps past the places where it would have been told to get ready.
    clinic
        .tells(
            "update clinic.queue set status = 'no_show' where visit_id < 5",
            &[
                queue_update(1),
                queue_refresh(&[(5, "5", "Eve", None)]),
                ("position_update", &["patient_5"], position(1)),
                ("get_ready", &["patient_5"], get_ready(1)),
            ],
        )
        .await;
    clinic.stage.close().await;
}

async fn get_ready_comes_once_a_visit(version: Version) {
    let mut clinic = Clinic::open(version, LINE).await;
    clinic.stage.writes(CALL_NEXT).await;
    let fourth = clinic.stage.heard().await.swap_remove(3);
    let fourth: Vec<_> = fourth
        .1
        .iter()
        .map(|frame| plain(frame)["data"].clone())
        .collect();
    assert_eq!(fourth, [position(3), get_ready(3)]);
    // The first is put back and called again: places change, nobody is told to get ready again.
    for (sql, place) in [
        (
            "update clinic.queue set status = 'waiting' where visit_id = 1",
            4,
        ),
        (CALL_NEXT, 3),
        (
            "update clinic.queue set checked_in_at = '2026-11-20 07:00Z' where visit_id = 5",
            4,
        ),
        (CALL_NEXT, 3),
    ] {
        clinic.stage.writes(sql).await;
        let heard = clinic.stage.heard().await;
        let fourth: Vec<_> = heard[3]
            .1
            .iter()
            .map(|frame| plain(frame)["data"].clone())
            .collect();
        assert_eq!(fourth, [position(place)], "{sql}");
        if sql.ends_with("visit_id = 1") {
            let first: Vec<_> = heard[0]
                .1
                .iter()
                .map(|frame| plain(frame)["data"].clone())
                .collect();
            assert_eq!(first, [position(1)], "{sql}");
        }
    }
    // Another visit, another time.
    clinic
        .stage
        .writes(
            "update clinic.queue set status = 'completed' where visit_id = 4;
             insert into clinic.queue (patient_id) values ('4')",
        )
        .await;
    let fourth = clinic.stage.heard().await.swap_remove(3).1;
    let names: Vec<_> = fourth.iter().map(|frame| frame["name"].clone()).collect();
    assert_eq!(names, ["position_update", "get_ready"]);
    clinic.stage.close().await;
}

async fn a_visit_that_is_given_to_another_patient(version: Version) {
    let mut clinic = Clinic::open(version, LINE).await;
    clinic
        .tells(
            "update clinic.queue set patient_id = '99' where visit_id = 2",
            &[
                new_patient("99", "Gil", 2),
                queue_update(5),
                queue_refresh(&[
                    (1, "123", "Ada", None),
                    (2, "99", "Gil", None),
                    (3, "3", "Cid", None),
                    (4, "4", "Dot", None),
                    (5, "5", "Eve", None),
                ]),
                ("position_update", &["patient_99"], position(2)),
                ("get_ready", &["patient_99"], get_ready(2)),
            ],
        )
        .await;
    clinic.stage.close().await;
}

/// The room is written after the status, or another one later; or the call is undone at once.
async fn what_a_call_tells_is_as_it_is_when_it_is_read(version: Version) {
    let mut clinic = Clinic::open(version, LINE).await;
    let others = [
        (2, "abc-def-456", "Ben", None),
        (3, "3", "Cid", None),
        (4, "4", "Dot", None),
        (5, "5", "Eve", None),
    ];
    let with = |first| queue_refresh(&[first, others[0], others[1], others[2], others[3]]);
    let told = |room| {
        [
            ("patient_called", &["patient_123"][..], called(Some(room))),
            queue_update(4),
            with((1, "123", "Ada", Some(room))),
        ]
    };
    // The places of the others are told by other tests.
    clinic
        .stage
        .writes("update clinic.queue set status = 'called', called_at = now() where visit_id = 1")
        .await;
    let first = clinic.stage.heard().await.swap_remove(0).1;
    assert_eq!(plain(&first[0])["data"], called(None));
    clinic
        .tells(
            "update clinic.queue set room = 'Room 4' where visit_id = 1",
            &told("Room 4"),
        )
        .await;
    clinic
        .tells(
            "begin; update clinic.queue set called_at = clock_timestamp() where visit_id = 1;
             update clinic.queue set room = 'Room 9' where visit_id = 1; commit",
            &told("Room 9"),
        )
        .await;
    clinic
        .tells(
            "begin; update clinic.queue set status = 'called' where visit_id = 2;
             update clinic.queue set status = 'waiting' where visit_id = 2; commit",
            &[queue_update(4), with((1, "123", "Ada", Some("Room 9")))],
        )
        .await;
    clinic.stage.close().await;
}

async fn what_the_other_tables_tell(version: Version) {
    let mut clinic = Clinic::open(
        version,
        "insert into clinic.queue (visit_id, patient_id) values (1, '123')",
    )
    .await;
    clinic
        .tells(
            "set time zone 'Asia/Tokyo';
             insert into clinic.announcements (message) values ('We close at six')",
            &[(
                "system_announcement",
                &["patients"],
                json!({ "type": "system_announcement", "message": "We close at six",
                    "timestamp": "T" }),
            )],
        )
        .await;
    clinic
        .tells(
            "insert into clinic.alerts (message, severity) values ('Printer', 'warning')",
            &[(
                "system_alert",
                &["staff"],
                json!({ "type": "system_alert", "message": "Printer", "severity": "warning",
                    "timestamp": "T" }),
            )],
        )
        .await;
    let renamed = "update clinic.patients set name = 'Adah' where patient_id = '123'";
    clinic
        .tells(renamed, &[queue_refresh(&[(1, "123", "Adah", None)])])
        .await;
    let not_there = "update clinic.patients set name = 'Gilda' where patient_id = '99'";
    clinic.tells(not_there, &[]).await;

    clinic
        .stage
        .writes("update clinic.settings set minutes_between_calls = 5")
        .await;
    let heard: BTreeMap<_, _> = clinic.stage.heard().await.into_iter().collect();
    assert_eq!(heard["patient_123"].len(), 1, "{heard:?}");
    assert_eq!(heard["patient_123"][0]["data"]["estimatedWait"], 5);
    assert_eq!(heard["patients"][0]["data"]["estimatedWait"], 10);
    assert_eq!(heard["staff"][1]["data"]["data"][0]["estimatedWait"], 5);
    assert!(heard["patient_99"].is_empty(), "{heard:?}");

    // A row that comes or goes may be another wait; one that is written as it was is none.
    let all = [
        queue_update(1),
        queue_refresh(&[(1, "123", "Adah", None)]),
        ("position_update", &["patient_123"], position(1)),
    ];
    for (sql, told) in [
        (
            "update clinic.settings set minutes_between_calls = 3",
            &all[..],
        ),
        ("update clinic.settings set minutes_between_calls = 3", &[]),
        (
            "insert into clinic.settings default values on conflict do nothing",
            &[],
        ),
        ("delete from clinic.settings", &all),
        ("delete from clinic.settings", &[]),
        ("insert into clinic.settings default values", &all),
        ("truncate clinic.settings", &all),
    ] {
        clinic.tells(sql, told).await;
    }

    let reset = |table: &str| json!({ "table": table });
    for table in ["announcements", "alerts"] {
        let table = format!("clinic.{table}");
        clinic
            .tells(
                &format!("truncate {table}"),
                &[("reset", &["*"], reset(&table))],
            )
            .await;
    }
    clinic
        .tells(
            "truncate clinic.queue",
            &[("reset", &["*"], reset("clinic.queue"))],
        )
        .await;
    assert_eq!(
        clinic.one("select count(*) from clinic_push.readied").await,
        0
    );
    clinic.stage.close().await;
}

/// Times are of the moment, in UTC, whatever the session's zone.
#[tokio::test]
async fn times_are_utc() {
    let mut clinic = Clinic::open(Version::Installed, "").await;
    let now =
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";
    let before: String = clinic.stage.database.ask(now).await;
    clinic
        .stage
        .writes(
            "set time zone 'Asia/Tokyo'; insert into clinic.queue (patient_id) values ('123');
             insert into clinic.alerts (message) values ('!');
             insert into clinic.announcements (message) values ('!')",
        )
        .await;
    let heard = clinic.stage.heard().await;
    let after: String = clinic.stage.database.ask(now).await;
    let mut seen = 0;
    for frame in heard.iter().flat_map(|(_, frames)| frames) {
        let at = frame["data"]["timestamp"].as_str().expect("a timestamp");
        assert!(*before <= *at && *at <= *after, "{before} {at} {after}");
        seen += 1;
    }
    assert_eq!(seen, 8, "{heard:?}");
    clinic.stage.close().await;
}

/// Fifty check in at once; then forty are called while five leave and five more come.
async fn many_at_once(version: Version) {
    let clinic = Clinic::open(
        version,
        "insert into clinic.patients select 'p' || n, 'N' from generate_series(1, 55) n;
         insert into clinic.sessions (session_id, patient_id)
           select 'of-' || patient_id, patient_id from clinic.patients where patient_id like 'p%'",
    )
    .await;
    // However slow the machine: nobody gives up waiting for the others' commits.
    clinic
        .stage
        .database
        .run(
            "alter function clinic_push.may_compare() set lock_timeout = '60s';
             alter function clinic_push.tell_moved(clinic_push.changed[]) set lock_timeout = '60s'",
        )
        .await;
    let mut patients = BTreeMap::new();
    for number in 1..=55 {
        let id = format!("p{number}");
        let mut patient = signed_in(&clinic.stage.server, &id, "").await;
        let welcome = patient.expect("welcome").await;
        assert_eq!(
            welcome["rooms"],
            json!([format!("patient_{id}"), "patients"])
        );
        patients.insert(id, patient);
    }
    let check_in = |number| format!("insert into clinic.queue (patient_id) values ('p{number}')");
    together(&clinic.stage.database, (1..=50).map(check_in)).await;
    let leave = |number| {
        format!("update clinic.queue set status = 'no_show' where patient_id = 'p{number}'")
    };
    let calls = (0..40).map(|_| CALL_NEXT.to_owned());
    let others = (46..=50).map(leave).chain((51..=55).map(check_in));
    together(&clinic.stage.database, calls.chain(others)).await;

    let places = clinic
        .stage
        .legacy
        .query(
            "select patient_id, row_number() over (order by checked_in_at, visit_id)
             from clinic.queue where status = 'waiting'",
            &[],
        )
        .await
        .expect("the line");
    let places: BTreeMap<String, i64> = places.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!((10..=15).contains(&places.len()), "{places:?}");
    // Who leaves as soon as called may not hear of it: by then it is no more so.
    let still_called = "select patient_id from clinic.queue where status = 'called'";
    let still_called = clinic.stage.legacy.query(still_called, &[]).await;
    let still_called: Vec<String> = still_called
        .expect("those who were called")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!((35..=40).contains(&still_called.len()), "{still_called:?}");
    marker(&clinic.stage.database, &["patients"]).await;
    for (id, patient) in &mut patients {
        let heard = patient.events_until("marker").await;
        let of = |name: &str| -> Vec<&Value> {
            heard.iter().filter(|frame| frame["name"] == name).collect()
        };
        assert!(of("get_ready").len() <= 1, "{id}: {heard:#?}");
        match places.get(id) {
            Some(place) => {
                let last = of("position_update");
                assert_eq!(
                    last.last().expect("a place")["data"]["position"],
                    *place,
                    "{id}"
                );
                // Others may be told, too: who was here first may have committed last.
                let ready = of("get_ready").len();
                assert!(*place > 3 || ready == 1, "{id}: {heard:#?}");
                assert!(of("patient_called").is_empty(), "{id}");
            }
            None if still_called.contains(id) => assert_eq!(of("patient_called").len(), 1, "{id}"),
            None => assert!(of("patient_called").len() <= 1, "{id}"),
        }
    }
    assert_eq!(clinic.one("select count(*) from rowcast.failure").await, 0);
    clinic.stage.close().await;
}

/// Runs each of these statements on a connection of its own, all at the same time.
async fn together(database: &Database, statements: impl Iterator<Item = String>) {
    let mut tasks = tokio::task::JoinSet::new();
    let ready = std::sync::Arc::new(tokio::sync::Barrier::new(50));
    for sql in statements {
        let client = database.legacy().await;
        let ready = std::sync::Arc::clone(&ready);
        tasks.spawn(async move {
            ready.wait().await;
            client.batch_execute(&sql).await.expect("a write");
        });
    }
    assert_eq!(tasks.len(), 50);
    within("all have written", async {
        while let Some(done) = tasks.join_next().await {
            done.expect("no panic");
        }
    })
    .await;
}

/// Above what is replayed to anybody, rooms are told to read anew; the first are still told to get
/// ready.
#[tokio::test]
async fn more_than_ten_thousand_at_once_are_told_to_read_anew() {
    let mut clinic = Clinic::open(
        Version::Installed,
        "insert into clinic.patients select 'p' || n, 'N' from generate_series(1, 10000) n",
    )
    .await;
    let first = "insert into clinic.queue (patient_id) values ('123')";
    clinic.stage.writes(first).await;
    let others = "insert into clinic.queue (patient_id)
        select patient_id from clinic.patients where patient_id <> '123'";
    clinic.stage.writes(others).await;
    let heard: BTreeMap<_, _> = clinic.stage.heard().await.into_iter().collect();
    let names = |room: &str| -> Vec<_> {
        heard[room]
            .iter()
            .map(|frame| frame["name"].clone())
            .collect()
    };
    assert_eq!(names("patient_123"), ["position_update", "get_ready"]);
    assert_eq!(names("patient_99"), ["reset"]);
    assert_eq!(names("patients"), ["queue_update", "reset"]);
    assert_eq!(names("staff").last(), Some(&json!("reset")));
    assert_eq!(
        clinic.one("select count(*) from clinic_push.readied").await,
        3
    );
    let ready = "select count(*) from rowcast.event where name = 'get_ready'";
    assert_eq!(clinic.one(ready).await, 3);
    clinic.stage.close().await;
}

#[tokio::test]
async fn everybody_hears_what_access_sql_says_and_nothing_else() {
    let database = system("clinic").await;
    database.run(SAMPLE).await;
    database
        .run("insert into clinic.sessions values ('of-old', '3', null, now(), now() - interval '1 s')")
        .await;
    let server = serve(&database, unhurried).await;
    for (id, home, granted, refused) in [
        (
            "123",
            json!(["patient_123", "patients"]),
            vec!["patient_123", "patients"],
            vec![
                "patient_1234",
                "patient_12",
                "patient_abc-def-456",
                "patient_",
                "staff",
                "nurses",
            ],
        ),
        (
            "s1",
            json!(["staff"]),
            vec!["staff", "patients", "patient_123"],
            vec!["staff_s1", "nurses"],
        ),
    ] {
        let mut one = signed_in(&server, id, "").await;
        let welcome = one.expect("welcome").await;
        assert_eq!((&welcome["user"], &welcome["rooms"]), (&json!(id), &home));
        for room in granted {
            one.send(json!({ "type": "subscribe", "rooms": [room] }))
                .await;
            assert_eq!(one.expect("subscribed").await["rooms"], json!([room]));
        }
        for room in refused {
            one.send(json!({ "type": "subscribe", "rooms": [room] }))
                .await;
            let error = one.expect("error").await;
            assert_eq!(
                (&error["code"], &error["room"]),
                (&json!("forbidden"), &json!(room))
            );
            one.expect("subscribed").await;
        }
    }
    for (cookie, why) in [
        ("clinic_session=of-old", "ended"),
        ("clinic_session=of-nobody", "session"),
        ("session=of-123", "no token"),
    ] {
        let headers = [("cookie", cookie), ("origin", &server.url)];
        let mut nobody = ws_with(&server, "", &headers).await;
        let (code, reason) = nobody.closed().await;
        assert_eq!(code, 1008, "{cookie}: {reason}");
        assert!(reason.contains(why), "{cookie}: {reason}");
    }
    // The application's own pages only.
    let headers = [
        ("cookie", "clinic_session=of-123"),
        ("origin", "https://elsewhere.example"),
    ];
    let mut elsewhere = ws_with(&server, "", &headers).await;
    assert_eq!(elsewhere.closed().await.0, 1008);
    // Nor does the application's role reach what was made for rowcast.
    let legacy = database.legacy().await;
    assert!(
        legacy
            .batch_execute("select clinic_push.line()")
            .await
            .is_err()
    );
    assert!(
        legacy
            .batch_execute("select * from clinic_push.readied")
            .await
            .is_err()
    );
    server.stop().await;
}

/// Seconds are never later than the time that they stand for: a session that began in the second of a
/// revocation began before it.
#[tokio::test]
async fn a_session_may_last_for_ever_and_begins_no_later_than_it_began() {
    let database = system("clinic").await;
    let sessions = "insert into clinic.sessions values
        ('of-ever', '123', null, '-infinity', 'infinity'),
        ('of-now', '123', null, '2026-11-20 08:00:00.6Z', '2126-11-20 08:00:00.9Z')";
    database.run(&[SAMPLE, sessions].concat()).await;
    let claims = "select clinic_push.claims_of('of-now')::text";
    let claims: String = database.ask(claims).await;
    let claims: Value = serde_json::from_str(&claims).expect("claims");
    assert_eq!(
        claims,
        json!({ "sub": "123", "role": "patient", "iat": 1_795_161_600, "exp": 4_950_835_200_i64 })
    );
    let server = serve(&database, unhurried).await;
    let mut ever = signed_in(&server, "ever", "").await;
    assert_eq!(ever.expect("welcome").await["user"], "123");
    server.stop().await;
}

/// The page stays in the rooms of whom it was opened for, or it comes back.
#[tokio::test]
async fn a_session_of_somebody_else_ends_the_connections_of_who_had_it() {
    let database = system("clinic").await;
    database.run(SAMPLE).await;
    let server = serve(&database, unhurried).await;
    let legacy = database.legacy().await;
    for (id, sql) in [
        (
            "123",
            "update clinic.sessions set patient_id = '99' where session_id = 'of-123'",
        ),
        (
            "3",
            "update clinic.sessions set session_id = 'other' where session_id = 'of-3'",
        ),
        // A session of theirs follows.
        (
            "4",
            "update clinic.patients set patient_id = '44' where patient_id = '4'",
        ),
    ] {
        let mut page = signed_in(&server, id, "").await;
        page.expect("welcome").await;
        let prolong = format!(
            "update clinic.sessions set ends_at = ends_at + '1 hour' where session_id = 'of-{id}'"
        );
        legacy.batch_execute(&prolong).await.expect("a longer one");
        marker(&database, &["patients"]).await;
        page.events_until("marker").await;
        legacy.batch_execute(sql).await.expect("another's");
        assert_eq!(page.closed().await.0, 1008, "{sql}");
    }
    server.stop().await;
}

#[tokio::test]
async fn staff_ask_for_the_queue_and_patients_for_their_visit() {
    let database = system("clinic").await;
    database.run(&[SAMPLE, LINE, CALL_NEXT].concat()).await;
    let server = serve(&database, unhurried).await;
    let ask = async |id: &str, function: &str| {
        let mut one = signed_in(&server, id, "").await;
        one.expect("welcome").await;
        one.send(json!({ "type": "call", "id": 1, "function": function, "args": {} }))
            .await;
        let mut answer = one.next().await;
        timeless(&mut answer);
        answer
    };
    let queue = ask("s1", "queue_refresh").await;
    let (_, _, expected) = queue_refresh(&[
        (1, "123", "Ada", Some("Room 2")),
        (2, "abc-def-456", "Ben", None),
        (3, "3", "Cid", None),
        (4, "4", "Dot", None),
        (5, "5", "Eve", None),
    ]);
    assert_eq!(queue["data"], expected);
    assert_eq!(
        ask("123", "queue_refresh").await["code"],
        "no-such-function"
    );
    assert_eq!(ask("s1", "my_visit").await["code"], "no-such-function");
    let mine = |status: &str, place: Option<u32>, called: Option<&str>, room: Option<&str>| {
        json!({ "status": status, "position": place, "estimatedWait": place.map(|n| n * 3),
            "checkInTime": "T", "calledAt": called, "room": room })
    };
    assert_eq!(
        ask("4", "my_visit").await["data"],
        mine("waiting", Some(3), None, None)
    );
    let called = mine("called", None, Some("T"), Some("Room 2"));
    assert_eq!(ask("123", "my_visit").await["data"], called);
    assert_eq!(ask("99", "my_visit").await["data"], Value::Null);
    server.stop().await;
}

on_every_version! {
    from_check_in_to_call
    many_by_one_statement
    get_ready_comes_once_a_visit
    a_visit_that_is_given_to_another_patient
    what_the_other_tables_tell
    many_at_once
    what_a_call_tells_is_as_it_is_when_it_is_read
}

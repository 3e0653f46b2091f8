//! Dialects: a sixth system that is SQL and a file alone, against the program as it is; health doors;
//! what is said about files that are wrong; and the page that says how to write one.

/// Their WebSocket and poll doors.
mod doors;

use crate::support::{
    self, Database, Process, Subscriber, get, serve, serve_process, serve_unready, socket,
    token_with,
};
use nix::sys::signal::Signal;
use rowcast::clock::unix_now;
use rowcast::dialect::{CODES, KINDS, SECTIONS, WORDS, places};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::process::Command;

fn sixth() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sixth")
}

/// Its file, as `http.dialects` has it.
fn file() -> String {
    sixth().join("sixth.toml").display().to_string()
}

async fn rowcast(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
    let ran = command
        .env_clear()
        .env("DATABASE_URL", url)
        .args(arguments)
        .kill_on_drop(true)
        .output();
    support::within("the program ends", ran).await.unwrap()
}

/// The sixth system's database: ten spots on each of three floors above the ground and one below it.
async fn park() -> Database {
    let db = support::database().await;
    let directory = sixth().display().to_string();
    let applied = rowcast(&db.superuser_url, &["triggers", "apply", &directory]).await;
    assert!(applied.status.success(), "{applied:?}");
    db.run(
        "insert into park.spots (spot_id, garage_id, floor)
         select g * 1000 + f * 10 + n, g, f
         from unnest(array[7, 8]) g, unnest(array[-1, 1, 2, 3]) f, generate_series(1, 9) n",
    )
    .await;
    db
}

/// A badge that opens these garages.
fn badge(user: &str, garages: &[i64]) -> String {
    let plate = format!("B-{}", user.to_uppercase());
    let exp = unix_now() + 600;
    token_with(&json!({ "sub": user, "garages": garages, "plate": plate, "exp": exp }))
}

async fn drive_in(server: &Process, garage: &str, query: &str) -> Subscriber {
    let path = format!("/live/v2/garage-{garage}.ws?{query}");
    socket(server, &path, &[]).await
}

/// An event's name and data; what else its frame has is looked at on the way.
fn event(frame: &Value) -> (&str, &Value) {
    assert_eq!(
        (frame.as_array().unwrap().len(), &frame[0]),
        (6, &json!("EVT"))
    );
    let (id, at) = (frame[1].as_u64().unwrap(), frame[4].as_u64().unwrap());
    let bookmark = frame[5].as_str().unwrap();
    assert!(bookmark.ends_with(&format!(".{id}")), "{frame}");
    assert!(at / 1000 >= unix_now() - 600, "{frame}");
    (frame[2].as_str().unwrap(), &frame[3])
}

/// Front ends would be told that there is no such function, and operators nothing.
#[tokio::test]
async fn the_start_names_calls_that_are_not_listed() {
    for gone in [
        "delete from rowcast.callable",
        "do $$ begin execute (select 'drop function ' || function from rowcast.callable); end $$",
    ] {
        let db = park().await;
        db.run(gone).await;
        let mut server = serve_process(&db, &[("ROWCAST__HTTP__DIALECTS", &file())]).await;
        let line = server.log_line("dialects call what").await;
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["fields"]["functions"], "park.reserve", "{gone}");
        server.signal(Signal::SIGTERM);
        server.exited().await;
    }
}

#[tokio::test]
async fn a_sixth_system_is_sql_and_a_file() {
    let db = park().await;
    let mut server = serve_process(&db, &[("ROWCAST__HTTP__DIALECTS", &file())]).await;
    let token = badge("ann", &[7]);

    // Floors of the query are joined at once, the gate's room besides.
    let mut ann = drive_in(&server, "7", &format!("floors=1,2&token={token}")).await;
    let hello = ann.next().await;
    let (said, place) = (&hello[1], hello[1]["place"].as_str().unwrap().to_owned());
    assert_eq!(
        (&hello[0], &said["you"], &said["garage"], &said["floors"]),
        (&json!("HELLO"), &json!("ann"), &json!(7), &json!([1, 2]))
    );
    assert_eq!(said["session"].as_str().unwrap().len(), 8);
    assert!(said["clock"].as_u64().unwrap() / 1000 >= unix_now() - 60);

    // One floor's spots and what is left at the gate; not floor 3, not garage 8.
    for (sql, name, free) in [
        (
            "set plate = 'X 1' where spot_id = 7011",
            Some("spot.taken"),
            35,
        ),
        (
            "set plate = 'X ' || spot_id where spot_id in (7031, 8011)",
            None,
            34,
        ),
        (
            "set plate = null where spot_id = 7011",
            Some("spot.free"),
            35,
        ),
    ] {
        db.run(&format!("update park.spots {sql}")).await;
        let heard = until_free(&mut ann, free).await;
        let spot = |name: &str| (name.to_owned(), json!({ "spot": 7011, "floor": 1 }));
        assert_eq!(heard, Vec::from_iter(name.map(spot)), "{sql}");
    }

    commands(&db, &mut ann).await;

    // Back with the last place, everything that was missed comes first.
    let last = ann
        .received
        .iter()
        .rev()
        .find(|frame| frame[0] == "EVT")
        .unwrap()[5]
        .clone();
    drop(ann);
    db.run("update park.spots set plate = 'X 3' where spot_id = 7012")
        .await;
    let since = last.as_str().unwrap();
    let mut back = drive_in(
        &server,
        "7",
        &format!("floors=1&token={token}&since={since}"),
    )
    .await;
    assert_eq!(back.next().await[0], "HELLO");
    let missed = ("spot.taken".to_owned(), json!({ "spot": 7012, "floor": 1 }));
    assert_eq!(until_free(&mut back, 31).await, [missed]);

    // A place of another history is stale: the display reads everything anew.
    let (_, elsewhere) = place.split_once('.').unwrap();
    let lost = format!("floors=1&token={token}&since=zz.{elsewhere}");
    let mut stale = drive_in(&server, "7", &lost).await;
    assert_eq!(stale.next().await[0], "HELLO");
    let told = stale.next().await;
    assert_eq!((&told[0], &told[1]), (&json!("STALE"), &json!("history")));

    changes(&db, &server, &token).await;
    refusals(&server, &token).await;

    server.signal(Signal::SIGTERM);
    let (code, reason) = back.closed().await;
    assert_eq!(code, 4503, "{reason}");
    assert!(
        reason.starts_with("back in ") && reason.ends_with(" ms"),
        "{reason}"
    );
    server.exited().await;
}

/// What is heard before the gate knows that so many spots are left, events of one batch in any order.
async fn until_free(ann: &mut Subscriber, free: u32) -> Vec<(String, Value)> {
    let mut heard = Vec::new();
    loop {
        let frame = ann.next().await;
        let (name, data) = event(&frame);
        if name != "garage.free" {
            heard.push((name.to_owned(), data.clone()));
        } else if data["free"] == free {
            return heard;
        }
    }
}

/// Numbered commands, each with its answer.
async fn commands(db: &Database, ann: &mut Subscriber) {
    for (said, answer) in [
        (
            json!({ "cmd": 1, "floors": [3], "seq": 1 }),
            json!(["OK", 1, ["garage:7:floor:3"]]),
        ),
        (
            json!({ "cmd": 1, "floors": [2, 3] }),
            json!(["OK", null, ["garage:7:floor:2", "garage:7:floor:3"]]),
        ),
        (
            json!({ "cmd": 1, "floors": [-1], "seq": 2 }),
            json!(["NO", 2, "forbidden", "garage:7:floor:-1"]),
        ),
        (
            json!({ "cmd": 2, "floors": [1, 2], "seq": 3 }),
            json!(["OK", 3, ["garage:7:floor:1", "garage:7:floor:2"]]),
        ),
        (
            json!({ "cmd": 8 }),
            json!(["BAD", "command 8 is not known"]),
        ),
        (
            json!({ "cmd": 1, "floors": "all", "seq": 6 }),
            json!(["NO", 6, "bad-message", null]),
        ),
        (
            json!({ "type": "ping" }),
            json!(["BAD", "a frame needs cmd and its fields"]),
        ),
    ] {
        ann.send(said.clone()).await;
        assert_eq!(ann.next().await, answer, "{said}");
    }
    ann.send_message("HELLO?".into()).await;
    let here = ann.next().await;
    assert_eq!(
        (&here[0], &here[1]),
        (&json!("HERE"), &Value::Null),
        "a bare name is a message"
    );
    assert!(here[2].as_u64().unwrap() / 1000 >= unix_now() - 60);

    // A call, its answer with the bookmark that it was read at, and the event that it made.
    ann.send(json!({ "cmd": 3, "spot": { "id": 7032 }, "seq": 4 }))
        .await;
    let mut frames = [ann.next().await, ann.next().await, ann.next().await];
    frames.sort_by_key(|frame| frame[0] != "OK");
    assert_eq!(
        frames[0][2],
        json!({ "spot": 7032, "plate": "B-ANN" }),
        "{frames:?}"
    );
    assert!(frames[0][3].is_string(), "{frames:?}");
    let mut names = [event(&frames[1]).0, event(&frames[2]).0];
    names.sort_unstable();
    assert_eq!(names, ["garage.free", "spot.taken"]);
    ann.send(json!({ "cmd": 3, "spot": { "id": 7032 }, "seq": 5 }))
        .await;
    assert_eq!(
        ann.next().await,
        json!(["NO", 5, "call-failed", "spot 7032 is taken"])
    );

    // What was left is silent, what was joined is not.
    db.run("update park.spots set plate = 'X 4' where spot_id = 7021")
        .await;
    db.run("update park.spots set plate = 'X 5' where spot_id = 7033")
        .await;
    let taken = |spot: u32, floor: u32| {
        (
            "spot.taken".to_owned(),
            json!({ "spot": spot, "floor": floor }),
        )
    };
    assert_eq!(until_free(ann, 32).await, [taken(7033, 3)]);
}

/// Displays that only poll: the same frames, in an envelope of their own.
async fn changes(db: &Database, server: &Process, token: &str) {
    let path = format!("/live/v2/garage-7/changes?token={token}&floors=1,2");
    let first = get(server, &path, &[]).await.json();
    assert_eq!(
        (&first["changes"], &first["hurry"]),
        (&json!([]), &json!("no"))
    );
    let next = first["next"].as_str().unwrap();
    db.run("update park.spots set plate = 'X 6' where spot_id = 7022")
        .await;
    let mut taken = Vec::new();
    let mut next = next.to_owned();
    while taken.is_empty() {
        let answer = get(server, &format!("{path}&since={next}&wait=20"), &[])
            .await
            .json();
        assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");
        let changes = answer["changes"].as_array().unwrap();
        let heard = changes.iter().map(event);
        taken.extend(
            heard
                .filter(|(name, _)| *name == "spot.taken")
                .map(|(_, data)| data.clone()),
        );
        next = answer["next"].as_str().unwrap().to_owned();
    }
    assert_eq!(taken, [json!({ "spot": 7022, "floor": 2 })]);
    let forged = get(server, &path.replace("garage-7", "garage-8"), &[]).await;
    assert_eq!(forged.status, 401, "{forged:?}");
    let below = get(server, &path.replace("1,2", "-1"), &[]).await;
    assert_eq!(below.status, 403, "{below:?}");
}

/// Who may not come in hears so by the dialect's own codes.
async fn refusals(server: &Process, token: &str) {
    let staff = badge("bob", &[8]);
    for (garage, query, code, reason) in [
        ("7", "floors=1".to_owned(), 4401, "no valid badge"),
        (
            "7",
            "floors=1&token=forged".to_owned(),
            4401,
            "no valid badge",
        ),
        (
            "7",
            format!("floors=1&token={staff}"),
            4401,
            "no valid badge",
        ),
        (
            "7",
            format!("floors=1,-1&token={token}"),
            4403,
            "not your garage",
        ),
    ] {
        let mut turned_away = drive_in(server, garage, &query).await;
        assert_eq!(
            turned_away.closed().await,
            (code, reason.to_owned()),
            "{query}"
        );
        assert!(
            turned_away.received.is_empty(),
            "{:?}",
            turned_away.received
        );
    }
    let mut misled = drive_in(server, "7", &format!("floors=one&token={token}")).await;
    assert_eq!(misled.closed().await.0, 4004);
    for elsewhere in [
        "/live/v2/garage-x.ws",
        "/live/v2/garage-7",
        "/live/v2/garage-7.ws/x",
    ] {
        assert_eq!(get(server, elsewhere, &[]).await.status, 404, "{elsewhere}");
    }
}

#[tokio::test]
async fn a_health_door_answers_in_its_own_words() {
    let db = support::database().await;
    let listed = vec![file()];
    let server = serve(&db, |settings| settings.http.dialects = listed.clone()).await;
    let ask = async || get(&server, "/live/v2/status", &[]).await;
    let answer = ask().await;
    assert_eq!(
        (
            answer.status,
            answer.headers["content-type"].to_str().unwrap()
        ),
        (200, "application/json")
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    let probed = crate::support::ask(&server, "HEAD", "/live/v2/status", &[], "").await;
    assert_eq!((probed.status, &*probed.body), (200, ""));
    let said = answer.json();
    assert_eq!((&said[0], &said[1]), (&json!("UP"), &json!(0)));
    assert!(said[2].as_u64().unwrap() >= unix_now() - 60);
    let _somebody = support::ws(&server, &support::token("1", "", ""), "")
        .await
        .expect("welcome")
        .await;
    let _another = support::ws(&server, &support::token("1", "", ""), "").await;
    support::eventually("those who are there are counted", async || {
        (ask().await.json()[1] == 1).then_some(())
    })
    .await;

    let nowhere = "postgres://nobody@127.0.0.1:1/none".to_owned();
    let deaf = serve_unready(&db, |settings| {
        settings.http.dialects = listed;
        settings.database.listen_url = Some(nowhere);
    })
    .await;
    let answer = get(&deaf, "/live/v2/status", &[]).await;
    assert_eq!((answer.status, &answer.json()[0]), (500, &json!("DOWN")));
    assert!(!answer.body.contains("127.0.0.1"), "{}", answer.body);
}

#[tokio::test]
async fn a_mistake_in_a_dialect_is_named_before_anything_starts() {
    let db = support::database().await;
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("wrong.toml");
    let text = std::fs::read_to_string(file()).unwrap();
    let text = text
        .replace("\"{at:unix-ms}\"", "\"{at:hours}\"")
        .replace("[poll]", "[pole]");
    std::fs::write(&wrong, text).unwrap();
    let wrong = wrong.display().to_string();
    let listed = format!("http.dialects={wrong}");
    for command in ["config", "serve"] {
        let ran = rowcast(&db.service_url, &[command, "--set", &listed]).await;
        assert!(!ran.status.success(), "{command}");
        let said = String::from_utf8_lossy(&ran.stderr);
        for problem in [
            format!("{wrong}:17: event.frame: {{at:hours}} has no such form: write "),
            format!("{wrong}:58: pole: nobody knows this key: did you mean `poll`? "),
        ] {
            assert!(said.contains(&problem), "{command}: {said}");
        }
    }
    for (listed, problem) in [
        (
            "tickts".to_owned(),
            "`http.dialects`: no dialect `tickts` is built in: ",
        ),
        (format!("{0},{0}", file()), ": list each dialect once."),
    ] {
        let ran = rowcast(
            &db.service_url,
            &["config", "--set", &format!("http.dialects={listed}")],
        )
        .await;
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && said.contains(problem), "{said}");
    }
    let right = format!("http.dialects={}", file());
    let ran = rowcast(&db.service_url, &["config", "--set", &right]).await;
    assert!(ran.status.success(), "{ran:?}");
}

/// Everything that the wire may say is wrong can be worded, and `withdrawn`, which it says as forbidden.
#[test]
fn dialects_know_the_codes_of_all_errors() {
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/asyncapi.yaml");
    let documents = std::fs::read_to_string(documents).expect("the documents are there");
    let documents: Value = yaml_serde::from_str(&documents).expect("YAML");
    let codes = &documents["components"]["schemas"]["errorCode"]["enum"];
    let mut told: Vec<_> = codes
        .as_array()
        .expect("codes")
        .iter()
        .flat_map(Value::as_str)
        .collect();
    told.push("withdrawn");
    told.sort_unstable();
    let mut codes = CODES.to_vec();
    codes.sort_unstable();
    assert_eq!(codes, told);
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dialects.md");
    std::fs::read_to_string(page).expect("the page is there")
}

/// What stands below a heading, to the next.
fn below<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("docs/dialects.md has no {heading}"));
    rest.split("\n#").next().unwrap_or(rest)
}

#[test]
fn the_example_of_the_page_is_the_file_of_the_test() {
    let text = std::fs::read_to_string(file()).expect("the file is there");
    assert!(
        page().contains(&format!("```toml\n{text}```")),
        "docs/dialects.md shows another"
    );
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let page = page();
    for (section, keys) in SECTIONS {
        let heading = match *section {
            "" => continue,
            "message.*" => "### `[message.NAME]`".to_owned(),
            "close.*" => "### `[close]`".to_owned(),
            section => format!("### `[{section}]`"),
        };
        let rows = below(&page, &heading)
            .lines()
            .filter(|line| line.starts_with("| `"));
        let said: Vec<&str> = rows
            .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split_whitespace())
            .map(|key| key.trim_matches('`'))
            .collect();
        let mut said = said;
        said.sort_unstable();
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        assert_eq!(said, keys, "{heading}");
    }
}

#[test]
fn the_page_has_every_slot_kind_and_word() {
    let page = page();
    let slots = below(&page, "### Slots by place");
    for (places, named) in places::ALL {
        let row = slots.lines().find(|line| {
            let first = line.split('|').nth(1).unwrap_or_default().replace('`', "");
            first.trim() == *places
        });
        let row = row.unwrap_or_else(|| panic!("no row for {places}"));
        for (slot, _) in *named {
            let written = [format!("`{{{slot}}}`"), format!("`{{{slot}:6}}`")];
            assert!(
                written.iter().any(|one| row.contains(one)),
                "{places}: {slot}"
            );
        }
    }
    for (section, words) in [
        (
            "## Parameters and fields",
            KINDS.iter().map(|(word, _)| *word).collect(),
        ),
        ("### `[errors]`", CODES.to_vec()),
        ("### `[close]`", WORDS.to_vec()),
    ] {
        let text = below(&page, section);
        for word in words {
            assert!(
                text.contains(&format!("`{word}`")),
                "{section} lacks {word}"
            );
        }
    }
}

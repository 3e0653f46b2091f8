//! `docs/asyncapi.yaml` and `docs/openapi.yaml`: valid as documents, at one with `docs/protocol.md`
//! and the settings, and all of what they say is seen here, of a running server.
//! What servers send in any other test is held against them as well (`support/documented.rs`).

mod everything;
mod page;

use crate::support;
use crate::support::documented::{ASYNCAPI, OPENAPI, Schema, messages, raw, text};
use crate::support::{Database, Subscriber, serve, token, ws};
use rowcast::connection::Refusal;
use rowcast::connection::call::CallRefusal;
use rowcast::connection::reader::AckRefusal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Rooms `open:*` are for anybody, and so are functions that answer or fail in each way.
const RULES: &str = "
    create function public.anybody(claims jsonb, room text) returns boolean language sql
      as 'select true';
    insert into rowcast.room_rule values ('open:*', 'public.anybody(jsonb, text)');
    create function public.lab_week(lab integer) returns integer language sql stable
      as 'select lab';
    create function public.letters(n integer) returns text language sql stable
      as $$ select repeat('x', n) $$;
    create function public.sleeps() returns void language sql stable as 'select pg_sleep(60)';
    create function public.raises() returns void language plpgsql stable
      as $$ begin raise exception 'told'; end $$;
    insert into rowcast.callable (name, function, timeout)
      select proname, oid, case proname when 'sleeps' then '0.5 seconds' else '30 seconds' end::interval
      from pg_proc where pronamespace = 'public'::regnamespace and proname <> 'anybody'";

async fn database() -> Database {
    let database = support::database().await;
    database.run(RULES).await;
    database
}

#[test]
fn both_documents_are_valid() {
    for (file, schema) in [
        (
            "asyncapi.yaml",
            include_str!("specification/asyncapi-3.0.0.json"),
        ),
        (
            "openapi.yaml",
            include_str!("specification/openapi-3.1.json"),
        ),
    ] {
        let schema: Value = serde_json::from_str(schema).expect("JSON");
        let validator =
            jsonschema::validator_for(&schema).unwrap_or_else(|e| panic!("{file}: {e}"));
        let document = raw(file);
        let wrong: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn every_example_is_one() {
    let mut examples = 0;
    for channel in ["ws", "sse"] {
        for message in messages(channel, "send")
            .iter()
            .chain(&messages(channel, "receive"))
        {
            let name = &message.name;
            let listed = &ASYNCAPI["channels"][channel]["messages"][name]["examples"];
            let listed = listed
                .as_array()
                .unwrap_or_else(|| panic!("{name} has no example"));
            for example in listed {
                for (part, schema) in [("headers", &message.headers), ("payload", &message.payload)]
                {
                    let Some(schema) = schema else { continue };
                    let errors = schema.errors(&example[part]);
                    assert!(errors.is_empty(), "{name}, {part}: {errors:?}");
                    examples += 1;
                }
            }
        }
    }
    each_object(&OPENAPI, &mut |object| {
        if let (Some(schema), Some(example)) = (object.get("schema"), object.get("example")) {
            let errors = Schema::of(schema).errors(example);
            assert!(errors.is_empty(), "{example}: {errors:?}");
            examples += 1;
        }
    });
    assert!(examples > 30, "{examples}");
}

fn each_object(value: &Value, look: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            look(map);
            map.values().for_each(|value| each_object(value, look));
        }
        Value::Array(list) => list.iter().for_each(|value| each_object(value, look)),
        _ => {}
    }
}

fn words(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_refusal_of_the_table_is_documented() {
    let closes = ASYNCAPI["channels"]["ws"]["x-close-codes"]
        .as_array()
        .expect("a list");
    for (_, code, word) in Refusal::TOLD.map(Refusal::row) {
        // What only doors of dialects know: they stay shut for whoever may not join all that they
        // lead to, and some have no frame for a gap.
        if ["forbidden", "gap"].contains(&word) {
            continue;
        }
        let close = closes.iter().find(|close| close["code"] == code);
        let close = close.unwrap_or_else(|| panic!("no close code {code}"));
        assert!(
            words(&close["words"]).contains(word),
            "{word} is not of {code}"
        );
    }
}

/// Each is an error of the frame, and a code of the answer with its status.
fn are_documented(
    operation: &str,
    path: &str,
    refusals: impl IntoIterator<Item = (u16, &'static str)>,
) {
    let frame = words(&ASYNCAPI["operations"][operation]["x-errors"]);
    let responses = &OPENAPI["paths"][path]["post"]["responses"];
    for (status, code) in refusals {
        let codes = words(&responses[status.to_string()]["x-codes"]);
        assert!(codes.contains(code), "POST {path}: {status} {code}");
        assert!(frame.contains(code), "{operation}: {code}");
    }
}

#[test]
fn every_refusal_of_a_call_is_documented() {
    let rows = CallRefusal::ALL.map(|refusal| refusal.row());
    are_documented("call", "/call/{name}", rows);
}

#[test]
fn every_refusal_of_an_acknowledgement_is_documented() {
    let rows = AckRefusal::ALL.map(AckRefusal::row);
    are_documented("ack", "/ack/{name}", rows);
}

/// Rows of the table below a heading of `docs/protocol.md`, without its head, cell by cell.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = text("protocol.md");
    let start = text
        .find(heading)
        .unwrap_or_else(|| panic!("no {heading:?}"));
    let lines = text[start..]
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .skip(2);
    lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

fn first(rows: &[Vec<String>]) -> BTreeSet<String> {
    rows.iter().map(|row| row[0].clone()).collect()
}

#[test]
fn the_prose_lists_the_same_codes_and_reasons() {
    let schemas = &ASYNCAPI["components"]["schemas"];
    let calls = table("## Calls");
    let errors: BTreeSet<_> = first(&table("### Errors"))
        .union(&first(&calls))
        .cloned()
        .collect();
    assert_eq!(errors, words(&schemas["errorCode"]["enum"]));
    let responses = &OPENAPI["paths"]["/call/{name}"]["post"]["responses"];
    for row in &calls {
        let codes = words(&responses[&row[1]]["x-codes"]);
        assert!(codes.contains(&row[0]), "{row:?}: {codes:?}");
    }
    for row in table("| status | `code` | come back |") {
        let codes = row[1].split(':').next().unwrap_or_default();
        let codes: BTreeSet<_> = codes.split(", ").map(str::to_owned).collect();
        let documented = &OPENAPI["paths"]["/poll"]["get"]["responses"][&row[0]]["x-codes"];
        assert_eq!(codes, words(documented), "{row:?}");
    }

    let closes = ASYNCAPI["channels"]["ws"]["x-close-codes"]
        .as_array()
        .expect("a list");
    let closes: Vec<(String, &Value)> = closes
        .iter()
        .map(|close| (close["code"].to_string(), &close["comeBack"]))
        .collect();
    let prose = table("### Close codes");
    let prose: Vec<(String, Value)> = prose
        .iter()
        .map(|row| (row[0].clone(), row[2].as_str().into()))
        .collect();
    let prose: Vec<(String, &Value)> = prose
        .iter()
        .map(|(code, back)| (code.clone(), back))
        .collect();
    assert_eq!(prose, closes);

    let reasons = table("| `reason` | in | why |");
    for (kind, schema) in [("subscribed", "subscribedReason"), ("gap", "gapReason")] {
        let here = |row: &&Vec<String>| row[1] == kind || row[1] == "both";
        let prose: BTreeSet<_> = reasons
            .iter()
            .filter(here)
            .map(|row| row[0].clone())
            .collect();
        assert_eq!(prose, words(&schemas[schema]["enum"]), "{kind}");
    }
    let outcomes = first(&table("| `outcome` | what follows |"));
    assert_eq!(
        outcomes,
        words(&schemas["subscribed"]["properties"]["outcome"]["enum"])
    );

    let frames: BTreeSet<_> = messages("ws", "receive")
        .into_iter()
        .map(|m| m.name)
        .collect();
    assert!(first(&table("### From the client")).is_subset(&frames));
    for operation in ASYNCAPI["operations"]
        .as_object()
        .expect("operations")
        .values()
    {
        let codes = words(&operation["x-errors"]);
        let of_sse = operation["channel"]["address"] == "/sse";
        let all = if of_sse {
            let payload = |name: &str| {
                let message = &ASYNCAPI["components"]["messages"][name]["payload"];
                words(&message["properties"]["code"]["enum"])
            };
            let all: BTreeSet<_> = payload("rowcastError")
                .union(&payload("rowcastEnd"))
                .cloned()
                .collect();
            assert_eq!(codes, all);
            all
        } else {
            words(&schemas["errorCode"]["enum"])
        };
        assert!(codes.is_subset(&all), "{codes:?}");
    }

    // What `/sse` answers: statuses, and words of a stream that ends.
    let (mut statuses, mut ends) = (BTreeMap::new(), BTreeSet::new());
    for row in table("| answer | `code` |") {
        let codes = row[1].split(';').next().unwrap_or_default();
        let codes = codes.split(", ").map(str::to_owned);
        if row[0].parse::<u16>().is_ok() {
            statuses.insert(row[0].clone(), codes.collect::<BTreeSet<_>>());
        } else {
            ends.extend(codes);
        }
    }
    let end = &ASYNCAPI["components"]["messages"]["rowcastEnd"]["payload"]["properties"]["code"];
    assert_eq!(ends, words(&end["enum"]));
    let responses = OPENAPI["paths"]["/sse"]["get"]["responses"]
        .as_object()
        .expect("responses");
    let documented: BTreeMap<_, _> = responses
        .iter()
        .filter(|(status, _)| *status != "200")
        .map(|(status, response)| (status.clone(), words(&response["x-codes"])))
        .collect();
    assert_eq!(statuses, documented);
}

/// Numbers of `config/default.toml`, as `limits.queue_bytes`.
fn defaults() -> BTreeMap<String, i64> {
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in include_str!("../config/default.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once(" = ")
            && let Ok(number) = value.parse()
        {
            found.insert(format!("{section}.{key}"), number);
        }
    }
    found
}

#[test]
fn limits_are_those_of_the_settings_and_of_the_prose() {
    let defaults = defaults();
    let mut listed = BTreeMap::new();
    for document in [&*ASYNCAPI, &*OPENAPI] {
        each_object(document, &mut |object| {
            for limit in object
                .get("x-limits")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let name = limit["name"].as_str().expect("a name").to_owned();
                let number = limit["default"].as_i64().expect("a number");
                if let Some(setting) = limit["setting"].as_str() {
                    assert_eq!(defaults.get(setting), Some(&number), "{setting}");
                }
                listed.insert(name, number);
            }
        });
    }
    // The prose writes numbers for people.
    let prose: String = table("## Limits")
        .iter()
        .map(|row| format!("{}\n", row.join(" | ")))
        .collect();
    for (name, written) in [
        ("request head", "request head | 16 KiB"),
        ("connections in all", "20000, 1000, 100"),
        ("connections per address", "20000, 1000, 100"),
        ("connections per user", "20000, 1000, 100"),
        ("rooms per connection", "rooms per connection | 200"),
        ("name of a room", "name of a room | 200 bytes"),
        ("message", "message | 64 KiB"),
        ("messages a second", "of an address without one | 50"),
        ("bookmark", "bookmark | 2048 bytes"),
        ("events of a replay", "replay | 10000 events, 16 MiB"),
        ("bytes of a replay", "replay | 10000 events, 16 MiB"),
        ("bytes that wait", "1 MiB | 4000"),
    ] {
        assert!(prose.contains(written), "{name}: {written}");
        let number = listed
            .get(name)
            .unwrap_or_else(|| panic!("no limit {name}"));
        let shown = match number {
            1_048_576.. => format!("{} MiB", number / 1_048_576),
            16384 | 65536 => format!("{} KiB", number / 1024),
            other => other.to_string(),
        };
        assert!(
            written.contains(&shown),
            "{name}: {number} is {shown}, not in {written:?}"
        );
    }
}

/// What stands behind each of these words in a text, as far as it is a name.
fn names_behind<'a>(word: &str, text: &'a str) -> impl Iterator<Item = &'a str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let parts = text.split(word).skip(1);
    let names = parts.map(move |rest| rest.split(|letter| !is_part(letter)).next());
    names.flatten().filter(|name| !name.is_empty())
}

/// Somebody at three in the morning types what the page says.
#[test]
fn what_the_pages_name_of_sql_and_of_the_settings_is_there() {
    let there: BTreeSet<_> = names_behind("rowcast.", include_str!("../sql/schema.sql")).collect();
    let (mut section, mut keys) = ("", BTreeSet::new());
    for line in include_str!("../config/default.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            keys.insert((section, ""));
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            keys.insert((section, key));
        }
    }
    let sections: Vec<_> = keys.iter().filter(|key| key.1.is_empty()).collect();
    let mut wrong = Vec::new();
    for page in [
        "../README.md",
        "operations.md",
        "performance.md",
        "reliability.md",
        "sql.md",
    ] {
        let text = text(page);
        let names = names_behind("rowcast.", &text).filter(|name| !there.contains(name));
        wrong.extend(names.map(|name| format!("{page}: rowcast.{name}")));
        for (section, _) in &sections {
            let word = format!("`{section}.");
            // Files of the source are called as sections are.
            let names = names_behind(&word, &text).filter(|name| *name != "rs");
            let names = names.filter(|name| !keys.contains(&(*section, *name)));
            wrong.extend(names.map(|name| format!("{page}: {section}.{name}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An answer to a frame, which is neither a heartbeat nor an event.
async fn answer(socket: &mut Subscriber) -> Value {
    loop {
        let frame = socket.next().await;
        if !["heartbeat", "event"].contains(&frame["type"].as_str().unwrap_or_default()) {
            return frame;
        }
    }
}

/// Names of operations by the message that they take.
fn operation_of(message: &str) -> &'static Value {
    let pointer = format!("#/channels/ws/messages/{message}");
    let written = raw("asyncapi.yaml");
    let operations = written["operations"].as_object().expect("operations");
    let (name, _) = operations
        .iter()
        .find(|(_, operation)| {
            operation["action"] == "receive" && operation["messages"][0]["$ref"] == pointer.as_str()
        })
        .unwrap_or_else(|| panic!("no operation takes {message}"));
    &ASYNCAPI["operations"][name]
}

#[tokio::test]
async fn every_frame_of_a_client_is_taken_and_a_bent_one_is_told() {
    let database = database().await;
    let server = serve(&database, |settings| {
        settings.limits.messages_per_second = 1000;
    })
    .await;
    let here = token("456", "", "");
    let mut socket = ws(&server, &here, "reader=a").await;
    socket.expect("welcome").await;
    socket.expect("subscribed").await;
    let mut bent = 0;
    for message in messages("ws", "receive") {
        let operation = operation_of(&message.name);
        let schema = message.payload.as_ref().expect("a frame has a schema");
        let replies = operation["reply"]["messages"].as_array().expect("replies");
        let replies: Vec<&Value> = replies
            .iter()
            .map(|reply| &reply["payload"]["properties"]["type"]["const"])
            .collect();
        let codes = words(&operation["x-errors"]);
        let name = &message.name;
        for example in ASYNCAPI["channels"]["ws"]["messages"][name]["examples"]
            .as_array()
            .expect("a list")
        {
            let mut frame = example["payload"].clone();
            if name == "auth" {
                frame["token"] = here.as_str().into();
            }
            if let Some(rooms) = frame.get_mut("rooms") {
                *rooms = json!(["open:1", "open:2"]);
            }
            if name == "ack" {
                frame["bookmark"] = database.bookmark().await.into();
            }
            socket.send(frame.clone()).await;
            let said = answer(&mut socket).await;
            assert_eq!(said["id"], frame["id"], "{frame}: {said}");
            assert_eq!(&said["type"], replies[0], "{frame}: {said}");

            for (what, bad) in bends(&frame, &schema.schema) {
                assert!(
                    !schema.errors(&bad).is_empty(),
                    "{what}: the schema takes {bad}"
                );
                socket.send(bad.clone()).await;
                let said = answer(&mut socket).await;
                let code = said["code"].as_str().unwrap_or_default();
                assert!(
                    said["type"] == "error" && codes.contains(code),
                    "{what}: {bad}: {said}"
                );
                bent += 1;
            }
        }
    }
    assert!(bent >= 8, "{bent}");
    server.stop().await;
}

/// A frame with one field taken away or of a wrong type, for each field that the server has to read.
fn bends(frame: &Value, schema: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for field in words(&schema["required"]) {
        let mut without = frame.clone();
        without.as_object_mut().expect("an object").remove(&field);
        all.push((format!("without {field}"), without));
    }
    for (field, of) in schema["properties"].as_object().expect("properties") {
        if of.get("type").is_some() && field != "args" && frame.get(field).is_some() {
            let mut other = frame.clone();
            other[field] = json!({ "bent": true });
            all.push((format!("{field} of another type"), other));
        }
    }
    all
}

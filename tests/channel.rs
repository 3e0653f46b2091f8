//! How events get into the log and round it: notifications that exist already, announcements,
//! pauses, hand-written and attached triggers, state events, and how the log is read.

use crate::support::{
    Database, Server, Subscriber, TRANSPORTS, Version, connect, marker, on, on_every_version,
    serve, serve_process, token, within, ws,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls, Notification, SimpleQueryMessage};

/// `open:*` is for everybody; a table to attach to, which the legacy application writes.
const SETUP: &str = "
    create function public.anybody(claims jsonb, room text) returns boolean language sql
      as 'select true';
    insert into rowcast.room_rule values ('open:*', 'public.anybody(jsonb, text)');
    create table public.note (id int primary key, text text);
    grant select, insert, update, delete on public.note to lab_app;
    grant select on public.note to rowcast_owner";

async fn database(version: Version) -> Database {
    let database = on(version).await.database().await;
    database.run(SETUP).await;
    database
}

/// Somebody in `open:1` by each transport, welcomed.
async fn everybody(server: &Server) -> Vec<Subscriber> {
    let mut everybody = Vec::new();
    for transport in TRANSPORTS {
        let token = token("1", "", "");
        let mut somebody = connect(transport, server, &token, "rooms=open:1").await;
        somebody.expect("welcome").await;
        everybody.push(somebody);
    }
    everybody
}

/// What arrives before an event that is written now.
async fn until_now(database: &Database, everybody: &mut [Subscriber]) -> Vec<Vec<Value>> {
    marker(database, &["*"]).await;
    let mut all = Vec::new();
    for somebody in everybody {
        all.push(somebody.frames_until("marker").await);
    }
    all
}

/// Waits until the running service has taken a change of `rowcast.channel`: the listener looks at
/// it before it looks at the log, and the second marker is read by a look that began afterwards.
async fn taken(database: &Database, everybody: &mut [Subscriber]) {
    for _ in 0..2 {
        until_now(database, everybody).await;
    }
}

async fn existing_notifications_are_pushed_by_one_row(version: Version) {
    let database = database(version).await;
    let mut program = serve_process(&database, &[]).await;
    let rooms = "rooms=open:7,open:lab:x,open:hello";
    let mut socket = ws(&program, &token("1", "", ""), rooms).await;
    socket.expect("welcome").await;
    database
        .run(
            "insert into rowcast.channel (name, delivery, rooms, event) values
               ('Old \"one\"', 'notify', array['open:{userId}', 'open:lab:{lab.id}'], 'booking:{action}'),
               ('plain', 'notify', array['open:{payload}'], 'changed')",
        )
        .await;
    taken(&database, std::slice::from_mut(&mut socket)).await;
    let payload = r#"{"userId":7,"lab":{"id":"x"},"action":"made","more":[1]}"#;
    let legacy = database.legacy().await;
    let notify = async |channel: &str, payload: &str| {
        let sent = legacy
            .execute("select pg_notify($1, $2)", &[&channel, &payload])
            .await;
        sent.expect("anybody may notify");
    };
    // Once, though it comes through two rooms.
    notify("Old \"one\"", payload).await;
    notify("plain", "hello").await;
    notify("plain", "7").await;
    let event = socket.expect_event("booking:made").await;
    assert_eq!(event["channel"], "Old \"one\"");
    assert_eq!(
        event["data"],
        serde_json::from_str::<Value>(payload).expect("JSON")
    );
    assert!(
        event["bookmark"].is_null() && event["id"].is_null(),
        "in no log: {event}"
    );
    assert_eq!(socket.expect_event("changed").await["data"], "hello");
    assert_eq!(socket.expect_event("changed").await["data"], 7);

    let began = Instant::now();
    for (channel, unmapped) in [
        ("Old \"one\"", "{}"),
        ("Old \"one\"", "text"),
        ("plain", "\u{1}"),
        (
            "Old \"one\"",
            r#"{"userId":null,"lab":{"id":"x"},"action":"a"}"#,
        ),
    ] {
        notify(channel, unmapped).await;
    }
    for number in 0..300 {
        notify("Old \"one\"", &number.to_string()).await;
    }
    notify("plain", "hello").await;
    socket.expect_event("changed").await;
    let dropped = "a notification was dropped";
    program.log_line(dropped).await;
    // Each wrote a line: any role could fill the disk.
    let told = program.log().matches(dropped).count() as u64;
    let most = 2 * (2 + began.elapsed().as_secs());
    assert!(told <= most, "{told} lines for two channels");

    database
        .run("update rowcast.channel set event = 'other' where name = 'plain'")
        .await;
    taken(&database, std::slice::from_mut(&mut socket)).await;
    notify("plain", "hello").await;
    socket.expect_event("other").await;
    database
        .run("delete from rowcast.channel where name = 'plain'")
        .await;
    taken(&database, std::slice::from_mut(&mut socket)).await;
    notify("plain", "hello").await;
    notify("Old \"one\"", payload).await;
    socket.expect_event("booking:made").await;
    // All at once, for which no row says anything.
    database.run("truncate rowcast.channel").await;
    taken(&database, std::slice::from_mut(&mut socket)).await;
    notify("Old \"one\"", payload).await;
    for frames in until_now(&database, std::slice::from_mut(&mut socket)).await {
        assert!(frames.is_empty(), "{frames:?}");
    }
}

/// A program that is not ours and listens to this channel.
async fn listen(
    database: &Database,
    channel: &str,
) -> (Client, mpsc::UnboundedReceiver<Notification>) {
    let connected = tokio_postgres::connect(&database.legacy_url, NoTls).await;
    let (client, mut connection) = connected.expect("the database answers");
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut messages).await {
            if let AsyncMessage::Notification(note) = message {
                let _ = sender.send(note);
            }
        }
    });
    let listening = client.batch_execute(&format!("listen {channel}")).await;
    listening.expect("anybody may listen");
    (client, receiver)
}

/// The sizes at the limit of NOTIFY, in bytes of the announcement, whatever it is made of.
async fn announcements_reach_other_programs_and_never_abort_a_write(version: Version) {
    let database = database(version).await;
    let query = "select 'e' as name, array['open:1', 'open:2'] as rooms, \
                 json_build_object('t', text) as data from new_rows";
    database
        .run(&format!(
            "insert into rowcast.channel (name, delivery) values ('note', 'announce');
             select rowcast.attach('public.note', 'insert', $q${query}$q$)"
        ))
        .await;
    // What they are sent, which is more than a socket holds, they read in the end.
    let server = serve(&database, |settings| {
        settings.limits.write_stall = Duration::from_secs(600);
    })
    .await;
    let mut everybody = everybody(&server).await;
    // Not what nobody announces, though it has a row of its own.
    let (_other, mut silent) = listen(&database, "other").await;
    database
        .run(
            "insert into rowcast.channel (name) values ('other');
             select rowcast.emit('other', 'e', array['*'], '{}');
             notify other, 'the end'",
        )
        .await;
    let first = within("a notification", silent.recv()).await;
    assert_eq!(first.expect("it listens").payload(), "the end");
    until_now(&database, &mut everybody).await;
    // As many digits in every id.
    database
        .run("alter sequence rowcast.event_id_seq restart 1000")
        .await;
    let (_client, mut heard) = listen(&database, "note").await;
    let legacy = database.legacy().await;
    let mut number = 0;
    let mut announced = async |text: &str| {
        number += 1;
        let written = legacy
            .execute("insert into public.note values ($1, $2)", &[&number, &text])
            .await;
        written.unwrap_or_else(|error| panic!("{} bytes: {error:?}", text.len()));
        let note = within("an announcement", heard.recv()).await;
        note.expect("it listens").payload().to_owned()
    };
    let empty = announced("").await;
    let told: Value = serde_json::from_str(&empty).expect("JSON");
    let rooms = json!(["open:1", "open:2"]);
    assert_eq!(
        told,
        json!({ "id": "1000", "name": "e", "rooms": rooms, "data": { "t": "" } })
    );
    let mut texts = vec![String::new()];
    for letter in ["x", "é", "😀"] {
        for size in [7998, 7999, 8000, 8001, 80_000] {
            // Exactly as many bytes, filled up with some of one byte.
            let bytes = size - empty.len();
            let text = letter.repeat(bytes / letter.len()) + &"y".repeat(bytes % letter.len());
            let payload = announced(&text).await;
            let told: Value = serde_json::from_str(&payload).expect("JSON");
            let id = (1000 + texts.len()).to_string();
            let what = format!("{letter} {size}: {}", payload.len());
            if size <= 7999 {
                assert_eq!(payload.len(), size, "{what}");
                assert_eq!(
                    told,
                    json!({ "id": id, "name": "e", "rooms": rooms, "data": { "t": text } }),
                    "{what}"
                );
            } else {
                assert_eq!(told, json!({ "id": id }), "{what}");
            }
            texts.push(text);
        }
    }
    // Through the log all of them came whole, by either transport.
    for frames in until_now(&database, &mut everybody).await {
        let told: Vec<&str> = frames
            .iter()
            .filter_map(|frame| frame["data"]["t"].as_str())
            .collect();
        assert!(told == texts, "{} of {}", told.len(), texts.len());
    }
    server.stop().await;
}

async fn a_pause_ends_with_a_gap(version: Version) {
    let database = database(version).await;
    let server = serve(&database, |_| ()).await;
    let mut everybody = everybody(&server).await;
    let emit = "select rowcast.emit('held', 'e', array['open:1'], '{}')";
    database
        .run("insert into rowcast.channel (name, paused) values ('held', true)")
        .await;
    taken(&database, &mut everybody).await;
    let from: String = database.ask("select pg_current_snapshot()::text").await;
    database.run(emit).await;
    let held =
        format!("select count(*) filter (where channel = 'held') from rowcast.read_log('{from}')");
    assert_eq!(
        database.ask::<i64>(&held).await,
        0,
        "nor does a replay tell"
    );
    for frames in until_now(&database, &mut everybody).await {
        assert!(frames.is_empty(), "held back: {frames:?}");
    }
    // Who leaves now has read past what is held, and hears of it all the same.
    let past = everybody[0].bookmark.clone().expect("a bookmark");
    database
        .run("update rowcast.channel set paused = false")
        .await;
    for somebody in &mut everybody {
        let gap = somebody.expect("gap").await;
        assert_eq!(
            (&gap["reason"], &gap["rooms"]),
            (&json!("paused"), &json!(["*"]))
        );
    }
    database.run(emit).await;
    for somebody in &mut everybody {
        somebody.expect_event("e").await;
    }
    for transport in TRANSPORTS {
        let query = format!("rooms=open:1&since={past}");
        let mut back = connect(transport, &server, &token("1", "", ""), &query).await;
        back.expect("welcome").await;
        assert_eq!(back.expect("subscribed").await["outcome"], "gap");
    }
    server.stop().await;
}

async fn each_way_to_let_a_paused_channel_go_tells_a_gap(version: Version) {
    let database = database(version).await;
    let gaps = "select count(*) from rowcast.event where name = 'rowcast:gap'";
    for (change, told) in [
        ("update rowcast.channel set paused = false", 1),
        ("update rowcast.channel set name = 'renamed'", 1),
        ("delete from rowcast.channel", 1),
        ("update rowcast.channel set paused = true", 0),
        ("update rowcast.channel set delivery = 'announce'", 0),
    ] {
        let pause = "insert into rowcast.channel (name, paused) values ('held', true)";
        database.run(pause).await;
        let before: i64 = database.ask(gaps).await;
        database.run(change).await;
        assert_eq!(database.ask::<i64>(gaps).await - before, told, "{change}");
        database.run("delete from rowcast.channel").await;
    }
}

async fn truncating_the_channels_lets_a_paused_one_go_with_a_gap(version: Version) {
    let database = database(version).await;
    let gaps = "select count(*) from rowcast.event where name = 'rowcast:gap'";
    for (channel, told) in [("('heard', false)", 0), ("('held', true)", 1)] {
        database
            .run(&format!(
                "insert into rowcast.channel (name, paused) values {channel}; truncate rowcast.channel"
            ))
            .await;
        assert_eq!(database.ask::<i64>(gaps).await, told, "{channel}");
    }
}

/// As by a script that loads data: the triggers of channels did not fire there.
#[tokio::test]
async fn a_session_that_plays_a_replica_changes_channels_like_any_other() {
    let database = database(Version::Installed).await;
    database
        .run(
            "insert into rowcast.channel (name, paused) values ('held', true);
             begin; set local session_replication_role = replica;
             update rowcast.channel set paused = false;
             insert into rowcast.channel (name, delivery) values ('note', 'announce'); commit",
        )
        .await;
    let gaps = "select count(*) from rowcast.event where name = 'rowcast:gap'";
    assert_eq!(database.ask::<i64>(gaps).await, 1);
    let announcing = "select pg_sequence_last_value('rowcast.announcing')";
    assert_eq!(database.ask::<i64>(announcing).await, 1);
}

async fn a_trigger_by_hand_inserts_into_the_log(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create function public.note_written() returns trigger language plpgsql
               security definer set search_path = pg_catalog, pg_temp as $$
               begin
                 insert into rowcast.event (channel, name, rooms, data)
                 values ('notes', 'note:written', array['open:1'], to_json(new));
                 return null;
               end $$;
             create trigger note_written after insert on public.note
               for each row execute function public.note_written()",
        )
        .await;
    let server = serve(&database, |_| ()).await;
    let legacy = database.legacy().await;
    for mut somebody in everybody(&server).await {
        let wrote = legacy
            .batch_execute("insert into public.note values (1, 'a'), (2, 'b')")
            .await;
        wrote.expect("it may");
        for (id, text) in [(1, "a"), (2, "b")] {
            let event = somebody.expect_event("note:written").await;
            assert_eq!(event["data"], json!({ "id": id, "text": text }));
        }
        legacy
            .batch_execute("delete from public.note")
            .await
            .expect("it may");
    }
    server.stop().await;
}

/// The event of a note; its text has to be a number.
const QUERY: &str = "select 'note' as name, array['open:1'] as rooms, \
                     json_build_object('n', text::int) as data from new_rows";

async fn a_lossy_trigger_lets_the_write_go_and_tells_a_gap(version: Version) {
    let database = database(version).await;
    database
        .run(&format!(
            "select rowcast.attach('public.note', 'insert', $q${QUERY}$q$)"
        ))
        .await;
    let server = serve(&database, |_| ()).await;
    let before = database.bookmark().await;
    let mut everybody = everybody(&server).await;
    let legacy = database.legacy().await;
    let wrote = legacy
        .batch_execute("insert into public.note values (1, '1'), (2, 'two')")
        .await;
    wrote.expect("the write goes through");
    for somebody in &mut everybody {
        let gap = somebody.expect("gap").await;
        assert_eq!(gap["reason"], "trigger");
    }
    legacy
        .batch_execute("insert into public.note values (3, '3')")
        .await
        .expect("it may");
    for somebody in &mut everybody {
        assert_eq!(somebody.expect_event("note").await["data"]["n"], 3);
    }
    assert_eq!(
        database
            .ask::<i64>("select count(*) from public.note")
            .await,
        3
    );
    let failure =
        "select concat_ws(' ', channel, relation, operation, sqlstate) from rowcast.failure";
    assert_eq!(
        database.ask::<String>(failure).await,
        "note public.note insert 22P02"
    );
    // Who was away hears of it too, whether it is read from memory or from the log.
    let other = serve(&database, |_| ()).await;
    for server in [&server, &other] {
        for transport in TRANSPORTS {
            let query = format!("rooms=open:1&since={before}");
            let mut somebody = connect(transport, server, &token("2", "", ""), &query).await;
            somebody.expect("welcome").await;
            let answer = somebody.expect("subscribed").await;
            assert_eq!(
                (&answer["outcome"], &answer["reason"]),
                (&json!("gap"), &json!("trigger"))
            );
        }
    }
    other.stop().await;
    server.stop().await;
}

async fn what_the_log_would_refuse_is_lost_and_not_the_write(version: Version) {
    let database = database(version).await;
    let server = serve(&database, |_| ()).await;
    let mut everybody = everybody(&server).await;
    let legacy = database.legacy().await;
    for (number, (name, rooms, data)) in [
        ("null", "array['open:1']", "'{}'::json"),
        ("''", "array['open:1']", "'{}'::json"),
        ("repeat('x', 201)", "array['open:1']", "'{}'::json"),
        ("'e' || chr(10)", "array['open:1']", "'{}'::json"),
        ("'e'", "array['open:1', null]", "'{}'::json"),
        ("'e'", "array['open:' || chr(9)]", "'{}'::json"),
        ("'e'", "array[repeat('x', 70000)]", "'{}'::json"),
        ("'e'", "array['open:1']", "to_json(repeat('x', 1100000))"),
    ]
    .into_iter()
    .enumerate()
    {
        let query =
            format!("select {name}::text as name, {rooms} as rooms, {data} as data from new_rows");
        database
            .run(&format!(
                "select rowcast.attach('public.note', 'insert', $q${query}$q$)"
            ))
            .await;
        let wrote = legacy
            .batch_execute(&format!("insert into public.note values ({number})"))
            .await;
        wrote.unwrap_or_else(|error| panic!("{query}: {error:?}"));
        for somebody in &mut everybody {
            assert_eq!(somebody.expect("gap").await["reason"], "trigger", "{query}");
        }
    }
    // No rooms: nobody is concerned, and nothing is wrong.
    for (number, rooms) in [(100, "null::text[]"), (101, "'{}'::text[]")] {
        let query =
            format!("select 'e' as name, {rooms} as rooms, '{{}}'::json as data from new_rows");
        database
            .run(&format!(
                "select rowcast.attach('public.note', 'insert', $q${query}$q$)"
            ))
            .await;
        let wrote = legacy
            .batch_execute(&format!("insert into public.note values ({number})"))
            .await;
        wrote.expect("it may");
    }
    for frames in until_now(&database, &mut everybody).await {
        assert!(frames.is_empty(), "{frames:?}");
    }
    assert_eq!(
        database
            .ask::<i64>("select count(*) from public.note")
            .await,
        10
    );
    server.stop().await;
}

/// Channel, name, rooms and data of an event, and the bound that it breaks, if it breaks one.
const BOUNDS: [(&str, &str, &str, &str, Option<&str>); 21] = [
    ("'c'", "'e'", "array['a']", "'{}'", None),
    ("null", "repeat('é', 100)", "array['a', 'b']", "null", None),
    ("repeat('c', 200)", "'e'", "array['a']", "'{}'", None),
    ("'c'", "'e'", "array[repeat('a', 65535), 'b']", "'{}'", None),
    (
        "'c'",
        "'e'",
        "array['a']",
        "to_json(repeat('x', 1048574))",
        None,
    ),
    ("'c'", "null", "array['a']", "'{}'", Some("name_is_bounded")),
    ("'c'", "''", "array['a']", "'{}'", Some("name_is_bounded")),
    ("''", "'e'", "array['a']", "'{}'", Some("name_is_bounded")),
    (
        "'c'",
        "repeat('é', 100) || 'e'",
        "array['a']",
        "'{}'",
        Some("name_is_bounded"),
    ),
    (
        "repeat('c', 201)",
        "'e'",
        "array['a']",
        "'{}'",
        Some("name_is_bounded"),
    ),
    (
        "'c'",
        "chr(127)",
        "array['a']",
        "'{}'",
        Some("name_has_no_control_characters"),
    ),
    (
        "'c' || chr(10)",
        "'e'",
        "array['a']",
        "'{}'",
        Some("name_has_no_control_characters"),
    ),
    (
        "'c'",
        "'e'",
        "array['a', chr(10)]",
        "'{}'",
        Some("rooms_have_no_control_characters"),
    ),
    (
        "'c'",
        "'e'",
        "array['a', repeat('b', 300) || chr(1)]",
        "'{}'",
        Some("rooms_have_no_control_characters"),
    ),
    (
        "'c'",
        "'e'",
        "array['a', null]",
        "'{}'",
        Some("rooms_are_named"),
    ),
    (
        "'c'",
        "'e'",
        "array[null]::text[]",
        "'{}'",
        Some("rooms_are_named"),
    ),
    (
        "'c'",
        "'e'",
        "array[null, repeat('b', 300)]",
        "'{}'",
        Some("rooms_are_named"),
    ),
    (
        "'c'",
        "'e'",
        "array[repeat('a', 65536), 'b']",
        "'{}'",
        Some("rooms_are_bounded"),
    ),
    (
        "'c'",
        "'e'",
        "array['a']",
        "to_json(repeat('x', 1048575))",
        Some("payload_is_bounded"),
    ),
    (
        "'c'",
        "'e'",
        "array[['a', 'b'], ['c', 'd']]",
        "'{}'",
        Some("rooms_are_a_list"),
    ),
    // Compressed it takes a hundredth.
    (
        "'c'",
        "'e'",
        "array['a']",
        "(select data from public.large)",
        Some("payload_is_bounded"),
    ),
];

async fn the_bounds_are_kept_where_events_are_written(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create table public.large (data json);
             insert into public.large values (to_json(repeat('x', 1048575)));
             grant select on public.large to rowcast_owner",
        )
        .await;
    let compressed = "select pg_column_size(data) < 65536 from public.large";
    assert!(database.ask::<bool>(compressed).await);
    let (legacy, owner) = (database.legacy().await, database.client("postgres").await);
    for (channel, name, rooms, data, bound) in BOUNDS {
        // Left out, the column is a constant.
        let column = match channel {
            "'c'" => String::new(),
            channel => format!(", {channel}::text as channel"),
        };
        let query = format!(
            "select {name}::text as name, {rooms} as rooms, {data}::json as data{column} from new_rows"
        );
        let attach =
            format!("select rowcast.attach('public.note', 'insert', $q${query}$q$, 'strict')");
        database.run(&attach).await;
        // One row and many, within the first eight statements of a transaction and after them.
        for spent in ["", "xxxxxxxx"] {
            for rows in [1, 101] {
                let sql = format!(
                    "begin; set local rowcast.guarded = '{spent}';
                     insert into public.note select generate_series(1, {rows})"
                );
                let wrote = legacy.batch_execute(&sql).await;
                legacy.batch_execute("rollback").await.expect("it may");
                keeps(&format!("{sql} {query}"), wrote.err(), bound);
            }
        }
        let channel = channel.replace("null", "'c'");
        let emit = format!("select rowcast.emit({channel}, {name}, {rooms}, {data})");
        keeps(&emit, owner.batch_execute(&emit).await.err(), bound);
    }
}

/// Nobody checks what is inserted by hand, and no reader takes it for an event.
async fn what_breaks_the_bounds_by_hand_is_a_gap(version: Version) {
    let database = database(version).await;
    let server = serve(&database, |_| ()).await;
    let before = database.bookmark().await;
    let mut everybody = everybody(&server).await;
    for (channel, name, rooms, data, bound) in BOUNDS {
        let there = ["array['a']", "array['a', null]"].contains(&rooms) && name != "null";
        if bound.is_none() || !there || data.contains("large") {
            continue;
        }
        let rooms = rooms.replace("'a'", "'open:1'");
        let row = format!("{channel}, {name}, {rooms}, {data}");
        let insert = "insert into rowcast.event (channel, name, rooms, data) select";
        database
            .run(&format!("{insert} {}", row.replace("'{}'", "'{}'::json")))
            .await;
        for somebody in &mut everybody {
            let gap = somebody.expect("gap").await;
            assert_eq!(gap["reason"], "trigger", "{row}");
        }
    }
    // Rooms that can't be read: everybody is told.
    let square = "insert into rowcast.event (channel, name, rooms, data) \
                  values ('c', 'n', array[['a', 'b'], ['c', 'd']], '{}')";
    database.run(square).await;
    for somebody in &mut everybody {
        somebody.expect("gap").await;
    }
    for frames in until_now(&database, &mut everybody).await {
        assert!(frames.is_empty(), "{frames:?}");
    }
    let other = serve(&database, |_| ()).await;
    for server in [&server, &other] {
        for transport in TRANSPORTS {
            let query = format!("rooms=open:1&since={before}");
            let mut somebody = connect(transport, server, &token("1", "", ""), &query).await;
            somebody.expect("welcome").await;
            assert_eq!(somebody.expect("subscribed").await["outcome"], "gap");
        }
    }
    other.stop().await;
    server.stop().await;
}

fn keeps(what: &str, error: Option<tokio_postgres::Error>, bound: Option<&str>) {
    let Some(bound) = bound else {
        assert!(error.is_none(), "{what}: {error:?}");
        return;
    };
    let error = error.unwrap_or_else(|| panic!("{what} went through"));
    let error = error.as_db_error().expect("the server refused");
    assert_eq!(error.code().code(), "23514", "{what}: {error:?}");
    assert!(error.message().contains(bound), "{what}: {error:?}");
}

async fn a_strict_trigger_aborts_the_write(version: Version) {
    let database = database(version).await;
    let attach = format!("select rowcast.attach('public.note', 'insert', $q${QUERY}$q$, 'strict')");
    database.run(&attach).await;
    let server = serve(&database, |_| ()).await;
    let mut everybody = everybody(&server).await;
    let legacy = database.legacy().await;
    let refused = legacy
        .batch_execute("insert into public.note values (1, '1'), (2, 'two')")
        .await;
    let refused = refused.expect_err("strict");
    assert_eq!(refused.code().map(|code| code.code()), Some("22P02"));
    assert_eq!(
        database
            .ask::<i64>("select count(*) from public.note")
            .await,
        0
    );
    assert_eq!(
        database
            .ask::<i64>("select count(*) from rowcast.failure")
            .await,
        0
    );
    legacy
        .batch_execute("insert into public.note values (1, '1')")
        .await
        .expect("a number");
    for frames in until_now(&database, &mut everybody).await {
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0]["data"], json!({ "n": 1 }));
    }
    server.stop().await;
}

async fn attach_says_what_is_wrong_with_a_query(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create view public.notes as select * from public.note;
             create table public.secret (id int);
             create schema hidden; create table hidden.open (id int);
             grant select on hidden.open to rowcast_owner;
             create foreign data wrapper far; create server away foreign data wrapper far;
             create foreign table public.afar (id int) server away",
        )
        .await;
    let superuser = database.superuser().await;
    superuser
        .batch_execute("create temporary table fleeting (id int)")
        .await
        .expect("a temporary table");
    let good = "'e' as name, array['open:1'] as rooms";
    let data = "'{}'::json as data";
    for (call, code, words) in [
        (
            format!("'note', 'merge', $${QUERY}$$"),
            "RC003",
            "no operation 'merge'",
        ),
        (
            format!("'note', null, $${QUERY}$$"),
            "RC003",
            "no operation",
        ),
        (
            format!("'note', 'insert', $${QUERY}$$, 'best'"),
            "RC003",
            "no mode 'best'",
        ),
        (
            format!("'notes', 'insert', $${QUERY}$$"),
            "RC003",
            "notes is not a table",
        ),
        (
            format!("'afar', 'insert', $${QUERY}$$"),
            "RC003",
            "afar is a foreign table",
        ),
        (
            format!("'fleeting', 'insert', $${QUERY}$$"),
            "RC003",
            "fleeting is a temporary table",
        ),
        // What the function puts round a query, and round itself.
        (
            "'note', 'insert', 'select $query$e$query$ as name'".into(),
            "RC003",
            "contains $body$ or $query$",
        ),
        (
            "'note', 'insert', 'select $body$e$body$ as name'".into(),
            "RC003",
            "contains $body$ or $query$",
        ),
        // It would tell of itself without end: every write of every table would hang.
        (
            format!("'rowcast.event', 'insert', $${QUERY}$$"),
            "RC003",
            "rowcast.event is a table of Rowcast's own",
        ),
        (
            format!("'note', 'insert', $${QUERY}$$, 'lossy', -1"),
            "RC003",
            "-1 is no number of events",
        ),
        (
            "'note', 'insert', $$selec 1$$".into(),
            "RC003",
            "syntax error",
        ),
        (
            format!("'note', 'insert', $${QUERY}; -- and no more$$"),
            "RC003",
            "syntax error",
        ),
        (
            "'note', 'insert', null".into(),
            "RC003",
            "there is no query",
        ),
        ("'note', 'insert', ' '".into(), "RC003", "there is no query"),
        (
            "'note', 'insert', $$delete from public.note$$".into(),
            "RC003",
            "does not work",
        ),
        (
            format!("'note', 'delete', $${QUERY}$$"),
            "RC003",
            "new_rows",
        ),
        (
            format!("'note', 'truncate', $${QUERY}$$"),
            "RC003",
            "new_rows",
        ),
        (
            format!("'note', 'insert', $$select {good}, {data} from note$$"),
            "RC003",
            "note",
        ),
        (
            format!("'note', 'insert', $$select {good} from new_rows$$"),
            "RC003",
            "data is missing",
        ),
        (
            format!(
                "'note', 'insert', $$select 'e' as name, 'open:1' as rooms, {data} from new_rows$$"
            ),
            "RC003",
            "rooms is text, not text[]",
        ),
        (
            format!("'note', 'insert', $$select {good}, 5 as data from new_rows$$"),
            "RC003",
            "data is integer, not json or jsonb",
        ),
        (
            format!("'note', 'insert', $$select {good}, {data}, 1 as extra from new_rows$$"),
            "RC003",
            "extra",
        ),
        (
            format!("'note', 'insert', $$select {good}, {data} from new_rows, public.secret$$"),
            "RC004",
            "may not read public.secret",
        ),
        (
            format!("'note', 'insert', $$select {good}, {data} from new_rows, hidden.open$$"),
            "RC004",
            "may not read hidden.open",
        ),
        (
            format!("'note', 'insert', $$select {good}, {data} from pg_temp . \"new_rows\"$$"),
            "RC003",
            "in pg_temp",
        ),
        (
            format!("'note', 'insert', $$select {good}, {data} from new_rows for update$$"),
            "RC004",
            "permission denied for table new_rows",
        ),
    ] {
        let attached = superuser
            .batch_execute(&format!("select rowcast.attach({call})"))
            .await;
        let error = attached.expect_err(&call);
        let error = error.as_db_error().unwrap_or_else(|| panic!("{call}"));
        assert_eq!(error.code().code(), code, "{call}: {error:?}");
        assert!(
            error.message().contains(words),
            "{call}: {}",
            error.message()
        );
        assert!(
            error.hint().is_some_and(|hint| !hint.is_empty()),
            "{call}: no hint"
        );
        let locks = call.contains("for update");
        assert!(
            !locks || error.hint().unwrap_or_default().contains("leave out"),
            "{call}: {error:?}"
        );
    }
    let attached = "select count(*) from rowcast.attached";
    assert_eq!(database.ask::<i64>(attached).await, 0);
    let triggers = "select count(*) from pg_trigger where tgname like '\\_900\\_rowcast\\_insert'";
    assert_eq!(database.ask::<i64>(triggers).await, 0);
    // The column of an application is as often varchar as text.
    let query =
        format!("select 'e'::varchar(9) as name, array['open:1'] as rooms, {data} from new_rows");
    let varchar = format!("select rowcast.attach('note', 'insert', $${query}$$)");
    let attached = superuser.batch_execute(&varchar).await;
    attached.unwrap_or_else(|error| panic!("{varchar}: {error:?}"));
}

async fn writes_straight_to_a_leaf_are_seen(version: Version) {
    let database = database(version).await;
    database
        .run(
            "create table public.part (id int, k int) partition by list (k);
             create table public.part_1 partition of public.part for values in (1);
             create table public.part_2 partition of public.part for values in (2) partition by list (k);
             create table public.part_2_2 partition of public.part_2 for values in (2);
             create table public.parent (id int);
             create table public.child (more text) inherits (public.parent);
             grant select on public.part, public.parent to rowcast_owner;
             select rowcast.attach('public.part', 'insert', $q$ select 'part' as name,
               array['open:1'] as rooms, json_build_object('id', id) as data from new_rows $q$);
             select rowcast.attach('public.parent', 'insert', $q$ select 'row' as name,
               array['open:1'] as rooms, json_build_object('id', id) as data from new_rows $q$);
             select rowcast.attach('public.parent', 'update', $q$ select 'row' as name,
               array['open:1'] as rooms, json_build_object('id', id) as data from new_rows $q$)",
        )
        .await;
    let server = serve(&database, |_| ()).await;
    let mut everybody = everybody(&server).await;
    for (sql, ids) in [
        ("insert into public.part values (1, 1), (2, 2)", vec![1, 2]),
        ("insert into public.part_1 values (3, 1)", vec![3]),
        ("insert into public.part_2 values (4, 2)", vec![4]),
        (
            "insert into public.part_2_2 values (5, 2), (6, 2)",
            vec![5, 6],
        ),
        ("insert into public.parent values (7)", vec![7]),
        ("insert into public.child values (8, 'x')", vec![8]),
        ("update public.parent set id = id + 10", vec![17, 18]),
        ("update public.child set id = 9", vec![9]),
    ] {
        database.run(sql).await;
        for frames in until_now(&database, &mut everybody).await {
            let told: Vec<_> = frames
                .iter()
                .filter_map(|frame| frame["data"]["id"].as_i64())
                .collect();
            assert_eq!(
                (told, frames.len()),
                (ids.clone(), ids.len()),
                "{sql}: {frames:?}"
            );
        }
    }
    server.stop().await;
}

/// Spots, rendered when the log is read; a negative number can't be.
const SPOTS: &str = "
    create table public.spots (id int primary key, spots int);
    grant select on public.spots to rowcast_owner;
    create function public.render_spots(p_keys jsonb[]) returns table (key jsonb, data json)
      language sql stable as $$
        select k, json_build_object('id', s.id, 'spots', s.spots, 'root', sqrt(s.spots))
        from unnest(p_keys) k join public.spots s on s.id = (k ->> 'id')::int
      $$;
    create function public.set_spots(p_id int, p_spots int) returns void language sql as $$
      insert into public.spots values (p_id, p_spots)
        on conflict (id) do update set spots = excluded.spots;
      insert into rowcast.event (channel, name, rooms, data, render) values
        ('spots', 'spots', array['open:1'], json_build_object('id', p_id), 'public.render_spots')
    $$";

async fn state_events_collapse_and_are_rendered_at_the_end(version: Version) {
    let database = database(version).await;
    database.run(SPOTS).await;
    let server = serve(&database, |_| ()).await;
    let before = database.bookmark().await;
    let from: String = database.ask("select pg_current_snapshot()::text").await;
    let mut everybody = everybody(&server).await;
    database
        .run(
            "begin;
             select public.set_spots(1, 9), public.set_spots(2, 4), public.set_spots(1, 1),
               public.set_spots(3, 7);
             delete from public.spots where id = 3;
             commit",
        )
        .await;
    let expected = [
        json!({ "id": 2, "spots": 4, "root": 2 }),
        json!({ "id": 1, "spots": 1, "root": 1 }),
    ];
    for frames in until_now(&database, &mut everybody).await {
        let told: Vec<_> = frames.iter().map(|frame| frame["data"].clone()).collect();
        assert_eq!(told, expected);
    }
    // Whoever keeps them for others is told each, and which are equal.
    for (equals, expected) in [("false", "2=4 1=1"), ("true", "1=1 2=4 1=1")] {
        let sql = format!(
            "select string_agg(concat(data ->> 'id', '=', data ->> 'spots'), ' ' order by id)
               filter (where state is not null)
             from rowcast.read_log('{from}', p_equals => {equals})
             having count(distinct state) = 2"
        );
        assert_eq!(database.ask::<String>(&sql).await, expected);
    }
    let other = serve(&database, |_| ()).await;
    for transport in TRANSPORTS {
        let query = format!("rooms=open:1&since={before}");
        let mut somebody = connect(transport, &other, &token("2", "", ""), &query).await;
        somebody.expect("welcome").await;
        let answer = somebody.expect("subscribed").await;
        assert_eq!(
            (&answer["outcome"], &answer["count"]),
            (&json!("recovered"), &json!(3))
        );
        let events = somebody.events_until("marker").await;
        let told: Vec<_> = events.iter().map(|event| event["data"].clone()).collect();
        assert_eq!(told, expected);
    }
    other.stop().await;
    // One that can't be rendered is a gap, and what stands beside it is delivered.
    database
        .run("begin; select public.set_spots(4, -1), rowcast.emit('c', 'e', array['open:1'], '{}'); commit")
        .await;
    for frames in until_now(&database, &mut everybody).await {
        assert_eq!(
            (frames.len(), &frames[0]["type"]),
            (2, &json!("gap")),
            "{frames:?}"
        );
        assert_eq!(
            (&frames[0]["reason"], &frames[0]["rooms"]),
            (&json!("trigger"), &json!(["open:1"]))
        );
        assert_eq!(frames[1]["name"], "e");
    }
    database
        .run("drop function public.render_spots; select public.set_spots(1, 5)")
        .await;
    for frames in until_now(&database, &mut everybody).await {
        assert_eq!(
            (frames.len(), &frames[0]["type"]),
            (1, &json!("gap")),
            "{frames:?}"
        );
    }
    server.stop().await;
}

/// What a state event holds may be no key, and its function may fail in ways that are no error like
/// others: looks at it failed for good, on every node, and nobody heard anything any more.
async fn no_state_event_stops_the_log(version: Version) {
    let database = database(version).await;
    database.run(SPOTS).await;
    database
        .run(
            "create function public.render_nothing(p_keys jsonb[]) returns table (key jsonb, data json)
               language plpgsql stable as $$ begin assert false, 'never'; end $$",
        )
        .await;
    let server = serve(&database, |_| ()).await;
    let before = database.bookmark().await;
    let mut everybody = everybody(&server).await;
    let bad = [
        (r#"{"id":"a\u0000b"}"#, "public.render_spots"),
        (r#"{"id":1e400000}"#, "public.render_spots"),
        (r#"{"id":1}"#, "public.render_nothing"),
        (r#"{"id":1}"#, "a.b.c.d"),
        (r#"{"id":1}"#, "no name"),
    ];
    for (key, render) in bad {
        // What stands beside it is rendered, and delivered.
        let sql = format!(
            "begin;
             insert into rowcast.event (channel, name, rooms, data, render)
               values ('c', 'bad', array['open:1'], '{key}', '{render}');
             select public.set_spots(2, 4), rowcast.emit('c', 'e', array['open:1'], '{{}}');
             commit"
        );
        database.run(&sql).await;
        for frames in until_now(&database, &mut everybody).await {
            let told: Vec<_> = frames.iter().map(|frame| &frame["type"]).collect();
            assert_eq!(
                told,
                ["gap", "event", "event"],
                "{key} {render}: {frames:?}"
            );
            assert_eq!(frames[0]["rooms"], json!(["open:1"]));
            assert_eq!(frames[1]["data"]["spots"], 4);
        }
    }
    let gap = format!("select outcome || ' ' || reason from rowcast.events_since('{before}')");
    assert_eq!(database.ask::<String>(&gap).await, "gap trigger");
    server.stop().await;
}

/// The trigger that `attach` makes refuses such a key where it is written: whose it is, is known.
async fn a_key_that_is_none_fails_where_it_is_written(version: Version) {
    let database = database(version).await;
    database.run(SPOTS).await;
    let attach = |mode: &str| {
        format!(
            "select rowcast.attach('public.note', 'insert', $$
               select 'note' as name, array['open:1'] as rooms,
                 json_build_object('id', n.text::json) as data, 'public.render_spots' as render
               from new_rows n
             $$, '{mode}')"
        )
    };
    database.run(&attach("lossy")).await;
    database.run("select rowcast.ensure_history()").await;
    let (from, legacy) = (database.bookmark().await, database.legacy().await);
    let write = |id: u32, key: &str| format!("insert into public.note values ({id}, '{key}')");
    let written = legacy.batch_execute(&write(1, r#""\u0000""#)).await;
    written.expect("the write goes through");
    let states = "select string_agg(sqlstate, ' ') from rowcast.failure";
    assert_eq!(database.ask::<String>(states).await, "22P05");
    let gap = format!("select outcome || ' ' || reason from rowcast.events_since('{from}')");
    assert_eq!(database.ask::<String>(&gap).await, "gap trigger");
    database.run(&attach("strict")).await;
    let refused = legacy.batch_execute(&write(2, "1e400000")).await;
    refused.expect_err("the write is refused");
    let written = legacy.batch_execute(&write(3, "1")).await;
    written.expect("a key");
}

/// A renderer that wants what somebody has locked held up everybody, for as long as the lock was held.
async fn a_renderer_that_waits_holds_nobody_up(version: Version) {
    let database = database(version).await;
    database.run(SPOTS).await;
    let server = serve(&database, |_| ()).await;
    let mut everybody = everybody(&server).await;
    let holder = database.client("postgres").await;
    database.run("select public.set_spots(1, 9)").await;
    until_now(&database, &mut everybody).await;
    let lock = "begin; lock table public.spots in access exclusive mode";
    holder.batch_execute(lock).await.expect("a lock");
    database
        .run(
            "insert into rowcast.event (channel, name, rooms, data, render) values
               ('spots', 'spots', array['open:1'], '{\"id\":1}', 'public.render_spots')",
        )
        .await;
    // The lock is still held when these arrive.
    for frames in until_now(&database, &mut everybody).await {
        assert_eq!((frames.len(), &frames[0]["type"]), (1, &json!("gap")));
        assert_eq!(frames[0]["reason"], "trigger");
    }
    holder.batch_execute("rollback").await.expect("it ends");
    database.run("select public.set_spots(1, 4)").await;
    for frames in until_now(&database, &mut everybody).await {
        assert_eq!((frames.len(), &frames[0]["name"]), (1, &json!("spots")));
    }
    server.stop().await;
}

/// As migration tools change a table: a copy takes its place and its name.
const REPLACE: &str = "begin; create table public.copied (like public.spots including all);
    grant select on public.copied to rowcast_owner;
    insert into public.copied select * from public.spots;
    drop table public.spots; alter table public.copied rename to spots; commit";

/// To a snapshot from before, a table that an ALTER TABLE has rewritten is empty. Whoever had waited for its
/// lock believed that: a state was nought or missing and stayed so, a room was forbidden, a call answered
/// with nothing.
async fn a_table_rewritten_meanwhile_is_not_believed(version: Version) {
    let database = database(version).await;
    database.run(SPOTS).await;
    database
        .run(
            "create function public.may_see(claims jsonb, name text) returns boolean
               language sql stable as 'select exists (select from public.spots)';
             create function public.count_spots() returns bigint
               language sql stable as 'select count(*) from public.spots';
             create function public.must_see(claims jsonb, name text) returns boolean language plpgsql stable
               as $$ begin
                 if not exists (select from public.spots) then raise 'there is none'; end if;
                 return true;
               end $$;
             create function public.first_spot() returns boolean
               language sql stable as 'select public.must_see(null, null)';
             insert into rowcast.room_rule values ('seen', 'public.may_see(jsonb, text)'),
               ('held', 'public.must_see(jsonb, text)');
             insert into rowcast.callable (name, function) values ('raises', 'public.first_spot()');
             insert into rowcast.callable (name, function, may_call)
               values ('ruled_too', 'public.count_spots()', 'public.must_see(jsonb, text)');
             insert into rowcast.callable (name, function) values ('plain', 'public.count_spots()');
             insert into rowcast.callable (name, function, may_call)
               values ('ruled', 'public.count_spots()', 'public.may_see(jsonb, text)');
             select public.set_spots(1, 9)",
        )
        .await;
    let call = |name: &str, then: &str| {
        format!(
            "select rowcast.begin_call('{name}', '{{}}', 0, null, 1000) {then};
             select data from rowcast.call('{{}}', 1000)"
        )
    };
    let render = "select concat(data, failed) from rowcast.render(
        'public.render_spots', array['{\"id\":1}'::jsonb])";
    let access =
        r#"select allowed from rowcast.access('[{"claims":{"sub":"1"},"rooms":["seen"]}]')"#;
    // A rule that fails says no, but not this one: it is asked again.
    let fails = r#"select failed is not null or allowed = '{held}'
        from rowcast.access('[{"claims":{"sub":"1"},"rooms":["held"]}]')"#;
    let rendered = r#"{"id" : 1, "spots" : 9, "root" : 3}f"#;
    let reader = database.client("postgres").await;
    let mut types = ["bigint", "int"].into_iter().cycle();
    for (question, before, after) in [
        (render.to_owned(), Some(rendered), Some("t")),
        (access.to_owned(), Some("{seen}"), None),
        (fails.to_owned(), Some("t"), Some("t")),
        (call("plain", ""), Some("1"), None),
        (call("raises", ""), Some("true"), None),
        // It is refused by the first of the two statements.
        (call("ruled", "is not null"), Some("1"), None),
        (call("ruled_too", "is not null"), Some("1"), None),
    ] {
        let other = types.next().expect("it is endless");
        let alter = format!("alter table public.spots alter spots type {other}");
        for (rewrite, expected) in [("", before), (&alter, after), (REPLACE, after)] {
            let begin = "begin isolation level repeatable read; select rowcast.bookmark()";
            reader.batch_execute(begin).await.expect("a snapshot");
            database.run(rewrite).await;
            let answer = reader.simple_query(&question).await;
            let told = answer
                .as_ref()
                .map(|rows| last_value(rows).map(str::to_owned));
            match expected {
                Some(expected) => assert_eq!(told.expect("an answer").as_deref(), Some(expected)),
                None => {
                    let code = answer.expect_err("it is not believed").code().cloned();
                    assert_eq!(
                        code,
                        Some(SqlState::T_R_SERIALIZATION_FAILURE),
                        "{question} {rewrite}"
                    );
                }
            }
            reader.batch_execute("rollback").await.expect("it ends");
        }
    }
}

/// An index that is made, or made anew, and a table of its own that a call drops again: what was read with
/// them around is believed.
async fn a_table_that_stayed_as_it_was_is_believed(version: Version) {
    let database = database(version).await;
    database.run(SPOTS).await;
    database
        .run(
            "create index spots_index on public.spots (spots);
             create function public.count_spots() returns bigint language plpgsql as $$
               declare n bigint;
               begin
                 create temporary table found as select * from public.spots;
                 select count(*) into n from found;
                 drop table found;
                 return n;
               end $$;
             insert into rowcast.callable (name, function, writes)
               values ('counted', 'public.count_spots()', true);
             create table public.other (n int);
             select public.set_spots(1, 9)",
        )
        .await;
    let render =
        "select data from rowcast.render('public.render_spots', array['{\"id\":1}'::jsonb])";
    let call = "select rowcast.begin_call('counted', '{}', 0, null, 1000);
        select data from rowcast.call('{}', 1000)";
    let reader = database.client("postgres").await;
    let somebody = database.client("postgres").await;
    // As a look does; leaves of the log are emptied at any time, and the horizon tells of that.
    let read = format!("select id from rowcast.event; {render}");
    let rendered = r#"{"id" : 1, "spots" : 9, "root" : 3}"#;
    for (question, answer) in [(render, rendered), (&read, rendered), (call, "1")] {
        for meanwhile in [
            "truncate rowcast.event_3",
            "truncate public.other",
            "create index on public.spots (id, spots)",
            "reindex table public.spots",
            "analyze public.spots",
            "grant select on public.spots to lab_app",
        ] {
            let begin = "begin isolation level repeatable read; select rowcast.bookmark()";
            reader.batch_execute(begin).await.expect("a snapshot");
            database.run(meanwhile).await;
            // With nothing in the catalog that has changed nobody looks any closer.
            let change = "begin; alter table public.note rename to noted; rollback";
            database.run(change).await;
            // What others have read is theirs.
            let theirs = "begin; lock table public.other in access share mode";
            somebody.batch_execute(theirs).await.expect("a lock");
            let told = reader.simple_query(question).await;
            let told = told.unwrap_or_else(|error| panic!("{question} {meanwhile}: {error:?}"));
            assert_eq!(last_value(&told), Some(answer), "{question} {meanwhile}");
            for client in [&reader, &somebody] {
                client.batch_execute("rollback").await.expect("it ends");
            }
        }
    }
}

/// The first column of the last row.
fn last_value(messages: &[SimpleQueryMessage]) -> Option<&str> {
    messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

/// Of a batch that fails half-way, what was rendered before was sent, and a gap for it as well.
async fn a_batch_that_fails_half_way_is_told_once(version: Version) {
    let database = database(version).await;
    database.run(SPOTS).await;
    let from: String = database.ask("select pg_current_snapshot()::text").await;
    database
        .run("select public.set_spots(1, 1), public.set_spots(2, -1)")
        .await;
    let told = format!(
        "select string_agg(concat(data ->> 'id', failed), ' ') from rowcast.read_log('{from}')"
    );
    assert_eq!(database.ask::<String>(&told).await, "t t");
}

async fn a_replay_above_its_limit_is_a_gap_and_never_cut_short(version: Version) {
    let database = database(version).await;
    database.run(SPOTS).await;
    // A copied database has no history before somebody serves it.
    serve(&database, |_| ()).await.stop().await;
    let emit =
        |number: u32| format!("select rowcast.emit('c', 'e{number}', array['open:1'], '{{}}');");
    // Twenty rows that collapse into one, then others: only the rows are counted before the limit.
    let long = database.bookmark().await;
    database
        .run(&"select public.set_spots(1, 4);".repeat(20))
        .await;
    let longer = database.bookmark().await;
    database
        .run(&(emit(1) + &emit(2) + &emit(3) + &emit(4)))
        .await;
    let short = database.bookmark().await;
    database
        .run(&(emit(5) + &emit(6) + "select public.set_spots(1, 9)"))
        .await;
    for (since, limit, told) in [
        (&short, 3, "end , event "),
        (&short, 2, "gap limit"),
        (&longer, 3, "gap limit"),
    ] {
        let asked = format!(
            "select string_agg(distinct concat(outcome, ' ', reason), ', ')
             from rowcast.events_since('{since}', null, {limit})"
        );
        assert_eq!(database.ask::<String>(&asked).await, told, "{limit}");
    }
    for transport in TRANSPORTS {
        // Opened anew, it has nothing in memory.
        let server = serve(&database, |settings| settings.limits.replay_events = 3).await;
        for (since, outcome) in [(&long, "gap"), (&longer, "gap"), (&short, "recovered")] {
            let query = format!("rooms=open:1&since={since}");
            let mut somebody = connect(transport, &server, &token("1", "", ""), &query).await;
            somebody.expect("welcome").await;
            let answer = somebody.expect("subscribed").await;
            assert_eq!(answer["outcome"], outcome, "{transport:?}: {answer}");
            if outcome == "gap" {
                assert_eq!(answer["reason"], "limit");
                continue;
            }
            for name in ["e5", "e6", "spots"] {
                somebody.expect_event(name).await;
            }
        }
        server.stop().await;
    }
}

async fn the_log_is_never_read_by_a_sequential_scan(version: Version) {
    let database = database(version).await;
    let busy = database.legacy().await;
    let mut reader = database.client("postgres").await;
    let emit = "select rowcast.emit('c', 'e', array['open:1'], '{}') from generate_series(1, 3)";
    // Somebody in the list of those in progress, so that both halves of the question are asked.
    busy.batch_execute("begin; select pg_current_xact_id()")
        .await
        .expect("a transaction");
    for round in ["young", "truncated", "analyzed", "large"] {
        match round {
            "truncated" => database.run("truncate rowcast.event").await,
            "analyzed" => database.run("analyze rowcast.event").await,
            "large" => database.run(&emit.replace("1, 3", "1, 20000")).await,
            _ => {}
        }
        let snapshot: String = database.ask("select pg_current_snapshot()::text").await;
        database.run(emit).await;
        let transaction = reader.transaction().await.expect("a transaction");
        for rooms in ["null", "array['open:1']"] {
            for limit in ["null", "100"] {
                let sql = format!(
                    "select count(*) from rowcast.read_log('{snapshot}', null, null, {rooms}, {limit})"
                );
                let row = transaction.query_one(&sql, &[]).await.expect("the log");
                assert_eq!(row.get::<_, i64>(0), 3, "{round}");
            }
        }
        let scans = "select coalesce(sum(seq_scan), 0)::bigint, sum(idx_scan)::bigint \
                     from pg_stat_xact_user_tables where schemaname = 'rowcast' and relname ~ '^event'";
        let row = transaction.query_one(scans, &[]).await.expect("statistics");
        assert_eq!(row.get::<_, i64>(0), 0, "{round}");
        assert!(
            row.get::<_, Option<i64>>(1) > Some(0),
            "{round}: the statistics are none"
        );
        transaction.commit().await.expect("it ends");
    }
}

on_every_version! {
    existing_notifications_are_pushed_by_one_row
    announcements_reach_other_programs_and_never_abort_a_write
    a_pause_ends_with_a_gap
    each_way_to_let_a_paused_channel_go_tells_a_gap
    truncating_the_channels_lets_a_paused_one_go_with_a_gap
    a_trigger_by_hand_inserts_into_the_log
    a_lossy_trigger_lets_the_write_go_and_tells_a_gap
    what_the_log_would_refuse_is_lost_and_not_the_write
    the_bounds_are_kept_where_events_are_written
    what_breaks_the_bounds_by_hand_is_a_gap
    a_strict_trigger_aborts_the_write
    attach_says_what_is_wrong_with_a_query
    writes_straight_to_a_leaf_are_seen
    state_events_collapse_and_are_rendered_at_the_end
    no_state_event_stops_the_log
    a_key_that_is_none_fails_where_it_is_written
    a_renderer_that_waits_holds_nobody_up
    a_table_rewritten_meanwhile_is_not_believed
    a_table_that_stayed_as_it_was_is_believed
    a_batch_that_fails_half_way_is_told_once
    a_replay_above_its_limit_is_a_gap_and_never_cut_short
    the_log_is_never_read_by_a_sequential_scan
}

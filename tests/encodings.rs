//! Databases whose encoding is not UTF-8: what is written there and can't be sent is a gap for its rooms,
//! what is asked and can't be held is its sender's mistake, and neither costs anybody else anything.

use crate::support::{
    Database, Server, Version, marker, on, on_every_version, post, serve, token, token_with, ws,
};
use rowcast::clock::unix_now;
use rowcast::migrate;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// An encoding, and a text of it that has no form in UTF-8, as SQL.
const ENCODINGS: [(&str, &str); 2] = [
    ("WIN1252", "convert_from('\\x81', 'WIN1252')"),
    ("SQL_ASCII", "convert_from('\\xe9', 'SQL_ASCII')"),
];

const SHOP: &str = "
    create schema shop;
    create table shop.orders (id int generated always as identity, room text, word text);
    grant usage on schema shop to rowcast_owner;
    select rowcast.attach('shop.orders', 'insert', $$
      select 'order' as name, array[n.room, 'all'] as rooms, to_json(n.word) as data from new_rows n
    $$);
    create function shop.yes(claims jsonb, room text) returns boolean language sql
      as $$ select room <> 'shut' $$;
    insert into rowcast.room_rule values ('*', 'shop.yes(jsonb, text)');
    create function shop.echo(word text) returns text language sql as $$ select word $$;
    create function shop.odd(word text) returns text language sql
      as $$ select convert_from('\\x81', 'WIN1252') $$;
    insert into rowcast.callable (name, function) values ('echo', 'shop.echo(text)'),
      ('odd', 'shop.odd(text)')";

async fn shop(version: Version, encoding: &str) -> (Database, Server) {
    let database = on(version).await.encoded(encoding).await;
    database.run(SHOP).await;
    let server = serve(&database, |settings| {
        // The first of a function takes its time on a busy machine.
        settings.calls.timeout = Duration::from_secs(30);
    })
    .await;
    (database, server)
}

on_every_version! {
    what_has_no_utf8_is_a_gap_and_stops_nobody
    a_letter_is_no_control_character_in_any_encoding
}

async fn what_has_no_utf8_is_a_gap_and_stops_nobody(version: Version) {
    for (encoding, odd) in ENCODINGS {
        let (database, server) = shop(version, encoding).await;
        let since = database.bookmark().await;
        let mut one = ws(&server, &token("1", "", ""), "rooms=one").await;
        let mut other = ws(&server, &token("2", "", ""), "rooms=other").await;
        one.expect("welcome").await;
        other.expect("welcome").await;
        let insert = format!("insert into shop.orders (room, word) values ('one', {odd})");
        for wrong in [
            insert.clone(),
            // From the ninth statement on, the insert into the log has no safety net.
            format!("do $$ begin for i in 1..10 loop {insert}; end loop; end $$"),
            // A room that is none does not keep the other from its gap.
            format!("insert into shop.orders (room, word) values ('one' , 'x'), ({odd}, 'x')"),
            // By hand nothing is checked, neither alone nor among others.
            format!(
                "insert into rowcast.event (channel, name, rooms, data)
                 values ('c', 'n', array['one', {odd}], to_json({odd}))"
            ),
            format!(
                "insert into rowcast.event (channel, name, rooms, data, render)
                 values ('c', {odd}, array['one'], '1', null), ('c', 'n', array['one'], '1', {odd})"
            ),
            format!(
                "create or replace function shop.state(k jsonb[]) returns table (key jsonb, data json)
                   language sql stable as $$ select x, to_json({odd}) from unnest(k) x $$;
                 insert into rowcast.event (channel, name, rooms, data, render)
                 values ('c', 'n', array['one'], '1', 'shop.state')"
            ),
        ] {
            database.run(&wrong).await;
            let id = marker(&database, &["one", "other"]).await;
            let heard = one.frames_until("marker").await;
            assert!(!heard.is_empty(), "{encoding}: {wrong}: silence");
            for frame in &heard {
                assert_eq!(frame["type"], "gap", "{encoding}: {wrong}: {frame}");
                assert_eq!(frame["reason"], "trigger", "{encoding}: {wrong}: {frame}");
            }
            assert!(other.events_until("marker").await.is_empty(), "{id}");
        }
        // Nobody's claims can name such a user, and no node could be told whom to send away.
        database.run(&format!("select rowcast.revoke({odd})")).await;
        let revoked = "select count(*) from rowcast.revocation";
        assert_eq!(database.ask::<i64>(revoked).await, 0, "{encoding}");
        // Nor is anybody kept from coming back.
        let mut back = ws(
            &server,
            &token("1", "", ""),
            &format!("rooms=one&since={since}"),
        )
        .await;
        back.expect("welcome").await;
        let subscribed = back.expect("subscribed").await;
        assert_eq!(
            (&subscribed["outcome"], &subscribed["reason"]),
            (&json!("gap"), &json!("trigger")),
            "{encoding}"
        );
        let strict = "select rowcast.attach('shop.orders', 'insert', query, 'strict')
            from rowcast.attached where relation = 'shop.orders'::regclass";
        database.run(strict).await;
        let refused = database.superuser().await.batch_execute(&insert).await;
        let refused = refused.expect_err("strict");
        let code = refused.code().map(|code| code.code().to_owned());
        assert!(
            matches!(code.as_deref(), Some("22P05" | "22021")),
            "{encoding}: {refused:?}"
        );
        server.stop().await;
    }
}

/// Encodings, and a word of them in which some byte is between 128 and 159, where PostgreSQL's regular
/// expressions see control characters.
const WORDS: [(&str, &str); 4] = [
    ("WIN1252", "\u{20ac} \u{2018}\u{153}\u{2019}"),
    ("WIN1251", "\u{409}\u{403}"),
    ("WIN866", "\u{418}\u{412}\u{410}\u{41d}"),
    ("SQL_ASCII", "\u{df}\u{c0}\u{410}"),
];

async fn a_letter_is_no_control_character_in_any_encoding(version: Version) {
    for (encoding, word) in WORDS {
        let (database, server) = shop(version, encoding).await;
        database
            .run(&format!(
                "create table shop.\"{word}\" (room text);
                 select rowcast.attach('shop.\"{word}\"', 'insert', $$
                   select n.room as name, array[n.room] as rooms, null::json as data from new_rows n
                 $$);
                 insert into rowcast.room_rule values ('{word}*', 'shop.yes(jsonb, text)')"
            ))
            .await;
        let encoded: String = word.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let query = format!("rooms={encoded}&reader={encoded}");
        let mut somebody = ws(&server, &token("1", "", ""), &query).await;
        assert_eq!(somebody.expect("welcome").await["rooms"], json!([word]));
        somebody.expect("subscribed").await;
        let insert = format!("insert into shop.\"{word}\" values ('{word}')");
        database.run(&insert).await;
        let event = somebody.expect_event(word).await;
        assert_eq!(
            (&event["name"], &event["channel"]),
            (&json!(word), &json!(word)),
            "{encoding}: {event}"
        );
        // What is one stays refused.
        for control in ["chr(1)", "chr(31)", "chr(127)"] {
            let emit = format!("select rowcast.emit('c', 'n' || {control}, array['one'], '1')");
            let refused = database.superuser().await.batch_execute(&emit).await;
            let refused = refused.expect_err("a control character");
            assert_eq!(
                refused.code(),
                Some(&SqlState::CHECK_VIOLATION),
                "{refused:?}"
            );
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn what_an_encoding_lacks_is_its_senders_mistake() {
    let (_database, server) = shop(Version::Installed, "WIN1252").await;
    let of = |name: &str| token_with(&json!({ "sub": "1", "name": name, "exp": unix_now() + 600 }));
    let (good, bad) = (of("Zoë"), of("Zoë 😀"));
    let mut refused = ws(&server, &bad, "").await;
    let (code, reason) = refused.closed().await;
    assert!(
        code == 1008 && reason.contains("malformed"),
        "{code} {reason}"
    );
    let mut socket = ws(&server, &good, "rooms=%C3%A9,shut,b%F0%9F%98%80&reader=a").await;
    let welcome = socket.expect("welcome").await;
    assert_eq!(welcome["rooms"], json!(["é"]));
    let mut rooms = Vec::new();
    for _ in 0..2 {
        let error = socket.expect("error").await;
        assert_eq!(error["code"], "forbidden", "{error}");
        rooms.push(error["room"].clone());
    }
    assert_eq!(rooms, ["shut", "b😀"]);
    socket.expect("subscribed").await;
    socket
        .send(json!({ "type": "subscribe", "rooms": ["c😀", "ö"] }))
        .await;
    assert_eq!(socket.expect("error").await["code"], "forbidden");
    assert_eq!(socket.expect("subscribed").await["rooms"], json!(["ö"]));
    // Calls, with what is in them and by whom.
    let call = async |bearer: &str, function: &str, word: &str| -> (u16, Value) {
        let bearer = format!("Bearer {bearer}");
        let headers = [
            ("authorization", &*bearer),
            ("content-type", "application/json"),
        ];
        let path = format!("/call/{function}");
        let answer = post(
            &server,
            &path,
            &headers,
            json!({ "word": word }).to_string(),
        )
        .await;
        (answer.status, answer.json())
    };
    let (status, answer) = call(&good, "echo", "Zoë").await;
    assert_eq!((status, &answer["data"]), (200, &json!("Zoë")), "{answer}");
    let (status, answer) = call(&good, "echo", "😀").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!("bad-arguments")),
        "{answer}"
    );
    let (status, answer) = call(&bad, "echo", "Zoë").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (401, &json!("unauthorized")),
        "{answer}"
    );
    // What the function itself makes of it is nobody's mistake but its own.
    let (status, answer) = call(&good, "odd", "x").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (422, &json!("call-failed")),
        "{answer}"
    );
    // One name that is none must not keep others' places from being written.
    let bearer = format!("Bearer {good}");
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/json"),
    ];
    let said = json!({ "bookmark": welcome["bookmark"] }).to_string();
    let none = post(&server, "/ack/%F0%9F%98%80", &headers, said.clone());
    let (none, stored) = tokio::join!(none, post(&server, "/ack/a", &headers, said.clone()));
    assert_eq!(
        (none.status, stored.status),
        (404, 200),
        "{none:?} {stored:?}"
    );
    let mut refused = ws(&server, &good, "reader=%F0%9F%98%80").await;
    assert_eq!(refused.closed().await.0, 4004);
    server.stop().await;
}

/// PostgreSQL converts all that it is sent, comments too: LATIN1 has no ellipsis, KOI8R and EUC_JP no micro sign.
#[tokio::test]
async fn a_database_of_any_encoding_is_migrated() {
    for encoding in ["LATIN1", "KOI8R", "EUC_JP"] {
        let database = on(Version::Installed).await.encoded(encoding).await;
        database.run(SHOP).await;
        let insert = "insert into shop.orders (room, word) values ('one', 'x')";
        database.run(insert).await;
        let told = "select count(*) from rowcast.event where name = 'order'";
        assert_eq!(database.ask::<i64>(told).await, 1, "{encoding}");
    }
    // As a DBA runs it, whose psql says that it speaks UTF-8.
    let script = migrate::script().expect("the script");
    assert!(script.is_ascii(), "rowcast migrate --print");
}

/// A warning that its encoding has no characters for would fail the write that it is about.
#[tokio::test]
async fn a_session_of_another_encoding_writes_on_where_events_are_lost() {
    let database = on(Version::Installed).await.database().await;
    for table in ["notes", "\"中\""] {
        database
            .run(&format!(
                "create table public.{table} (note text); grant insert on public.{table} to lab_app;
                 select rowcast.attach('public.{table}', 'insert', $q$
                   select 'noted' as name, array['*'] as rooms, to_json(n.note::int) as data
                   from new_rows n $q$)"
            ))
            .await;
    }
    let legacy = database.legacy().await;
    let latin = "set client_encoding = 'LATIN1'";
    legacy.batch_execute(latin).await.expect("an encoding");
    for table in ["notes", "U&\"\\4E2D\""] {
        let insert = format!("insert into public.{table} values (U&'\\4E2D')");
        let wrote = legacy.batch_execute(&insert).await;
        wrote.unwrap_or_else(|error| panic!("{table}: {error:?}"));
    }
    let told =
        "select string_agg(relation, ' ' order by id) || (select count(*) from rowcast.event)
        from rowcast.failure";
    assert_eq!(
        database.ask::<String>(told).await,
        "public.notes public.\"中\"2"
    );
    // Whoever can be warned in ASCII is.
    let written = "alter table public.notes rename to \"notes 中\"; set client_encoding = 'LATIN1';
        insert into public.U&\"notes \\4E2D\" values ('x'); select no_more";
    let said = database.psql(written).await.expect_err("the last");
    let warning = "rowcast: events of insert on public.\"notes ?\" are lost";
    assert!(said.contains(warning), "{said}");
}

//! Asking: what can be called and by whom, with which arguments and limits, over both transports; and
//! that an answer and the events after its bookmark are together exactly what there is.

use crate::support::{
    self, Answer, Database, Server, Subscriber, Version, eventually, get, lab, marker,
    on_every_version, post, serve, serve_process, token, token_with, within, ws, ws_with,
};
use nix::sys::signal::Signal;
use rowcast::clock::unix_now;
use rowcast::config::Settings;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_tungstenite::tungstenite::Message;

/// Things that tell of themselves in the room `things`, and functions to ask. `gate(n)` waits while
/// somebody holds the advisory lock n: a test then acts in the middle of a call.
const SETUP: &str = r#"
    create schema ask;
    grant usage on schema ask to rowcast_owner;
    create table ask.thing (id bigint generated always as identity primary key, word text not null);
    create table ask.counter (n bigint not null);
    insert into ask.counter values (0);
    grant select, insert, update on all tables in schema ask to rowcast_owner;
    select rowcast.attach('ask.thing', 'insert', $$
      select 'thing' as name, array['things'] as rooms, to_json(n.word) as data from new_rows n $$);
    create function ask.yes(claims jsonb, room text) returns boolean language sql as 'select true';
    create function ask.staff(claims jsonb, name text) returns boolean language sql
      as $$ select claims ->> 'role' = 'staff' $$;
    create function ask.fails(claims jsonb, name text) returns boolean language sql
      as $$ select 1 / 0 = 1 $$;
    insert into rowcast.room_rule values ('things', 'ask.yes(jsonb, text)');

    create function ask.gate(n integer) returns void language plpgsql
      as $$ begin perform pg_advisory_xact_lock_shared(n); end $$;
    create function ask.all_things() returns setof text language plpgsql as $$ begin
      perform ask.gate(1);
      return query select word from ask.thing order by id;
      perform ask.gate(2);
    end $$;
    create function ask.put(word text) returns setof text language plpgsql as $$ begin
      perform ask.gate(1);
      insert into ask.thing (word) values (put.word);
      return query select t.word from ask.thing t order by id;
      perform ask.gate(2);
    end $$;
    create function ask.put_many(n integer) returns setof bigint language sql
      as $$ insert into ask.thing (word) select 'many' from generate_series(1, n) returning id $$;
    create function ask.count_up() returns bigint language sql
      as $$ update ask.counter set n = n + 1 returning n $$;

    create function ask.add(a integer, b integer default 10) returns integer language sql stable
      as 'select a + b';
    create function ask.echo(n numeric default null, at timestamptz default null,
      words text[] default null, j json default null, t ask.thing default null,
      "odd Name" text default null)
      returns table (n numeric, at text, words text[], j json, t ask.thing, odd text)
      language sql stable
      as $$ select $1, to_char($2 at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), $3, $4, $5, $6 $$;
    create function ask.bag(jsonb) returns jsonb language sql stable as 'select $1';
    create function ask.series(n integer) returns setof integer language sql stable
      as 'select generate_series(1, n)';
    create function ask.gaps() returns setof integer language sql stable
      as 'values (1), (null), (3)';
    create function ask.column(n integer) returns table (x integer) language sql stable
      as 'select generate_series(1, n)';
    create function ask.one(missing boolean) returns ask.counter language sql stable
      as 'select * from ask.counter where not missing';
    create function ask.outs(a integer, out b integer, out c text) language sql stable
      as $$ select a, 'x' $$;
    create function ask.nothing() returns void language sql stable as 'select 1';
    create function ask.letters(n integer) returns text language sql stable
      as $$ select repeat('x', n) $$;
    create function ask.claims() returns jsonb language sql stable
      as $$ select current_setting('request.jwt.claims')::jsonb $$;
    create function ask.write_anyway(secret text) returns void language sql
      as 'insert into ask.thing (word) values (secret)';
    create function ask.turn_writable() returns void language plpgsql as $$ begin
      perform set_config('transaction_read_only', 'off', true);
      insert into ask.thing (word) values ('x');
    end $$;
    create function ask.raise(code text, secret text) returns void language plpgsql
      as $$ begin raise exception using errcode = code, message = 'told: ' || secret; end $$;
    create function ask.divide(secret integer) returns integer language plpgsql
      as $$ begin return secret / 0; end $$;
    create function ask.cast_badly(secret text) returns integer language plpgsql
      as $$ begin return secret::integer; end $$;
    insert into rowcast.callable (name, function, writes, timeout)
      select proname, oid, proname in ('put', 'put_many', 'count_up'), '1 minute' from pg_proc
      where pronamespace = 'ask'::regnamespace and proname not in ('yes', 'staff', 'fails');
    insert into rowcast.callable (name, function, may_call) values
      ('staff.add', 'ask.add(integer, integer)', 'ask.staff(jsonb, text)'),
      ('broken.rule', 'ask.add(integer, integer)', 'ask.fails(jsonb, text)');
"#;

async fn database(version: Version) -> Database {
    let database = support::on(version).await.database().await;
    database.run(SETUP).await;
    database
}

/// Calls may take as long as the test takes for what it does in their middle.
fn patient(settings: &mut Settings) {
    settings.calls.timeout = Duration::from_secs(60);
    settings.database.statement_timeout = Duration::from_secs(60);
}

fn user() -> String {
    token("1", "user", "1")
}

async fn call(server: &impl support::Served, token: &str, name: &str, args: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    post(server, &format!("/call/{name}"), &headers, args.to_string()).await
}

async fn welcomed(server: &impl support::Served, token: &str, query: &str) -> Subscriber {
    let mut socket = ws(server, token, query).await;
    socket.expect("welcome").await;
    socket
}

/// Asks both transports, which have to say the same: data, or code and message.
async fn ask_both(server: &Server, name: &str, args: &Value) -> Result<Value, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let answer = call(server, &user(), name, args).await;
    let http = if answer.status == 200 {
        assert!(!text(&answer.json()["bookmark"]).is_empty());
        Ok(answer.json()["data"].clone())
    } else {
        let error = &answer.json()["error"];
        let (status, code) = (answer.status, text(&error["code"]));
        let expected = match code.as_str() {
            "no-such-function" => 404,
            "bad-arguments" => 400,
            "call-timeout" => 504,
            "too-large" => 413,
            "call-failed" => 422,
            other => panic!("{name} {args}: {status} {other}"),
        };
        assert_eq!(status, expected, "{code}");
        Err((code, text(&error["message"])))
    };
    let mut socket = welcomed(server, &user(), "").await;
    socket
        .send(json!({ "type": "call", "function": name, "args": args, "id": [7] }))
        .await;
    let frame = socket.next().await;
    assert_eq!(frame["id"], json!([7]), "{frame}");
    let websocket = if frame["type"] == "result" {
        assert!(!text(&frame["bookmark"]).is_empty());
        Ok(frame["data"].clone())
    } else {
        Err((text(&frame["code"]), text(&frame["message"])))
    };
    assert_eq!(http, websocket, "{name} {args}: transports differ");
    http
}

on_every_version! {
    answers_are_json
    arguments_fit_by_name_and_type
    what_can_not_be_called_can_not_be_listed
    only_what_is_listed_as_writing_writes
    an_answer_and_what_follows_are_all_there_is
    a_writing_call_is_told_of_others_and_not_of_itself
    a_collision_is_tried_again
}

async fn answers_are_json(version: Version) {
    let database = database(version).await;
    let server = serve(&database, |_| ()).await;
    for (name, args, expected) in [
        ("add", json!({ "a": 1 }), json!(11)),
        ("add", json!({ "a": null }), json!(null)),
        ("series", json!({ "n": 3 }), json!([1, 2, 3])),
        ("series", json!({ "n": 0 }), json!([])),
        ("gaps", json!({}), json!([1, null, 3])),
        ("column", json!({ "n": 2 }), json!([{ "x": 1 }, { "x": 2 }])),
        ("one", json!({ "missing": false }), json!({ "n": 0 })),
        ("one", json!({ "missing": true }), json!(null)),
        ("outs", json!({ "a": 4 }), json!({ "b": 4, "c": "x" })),
        ("nothing", json!({}), json!(null)),
        ("letters", json!({ "n": 3 }), json!("xxx")),
    ] {
        let answer = ask_both(&server, name, &args).await;
        assert_eq!(answer, Ok(expected), "{name} {args}");
    }
    let unknown = "there is no such function for you".to_owned();
    for name in [
        "nix",
        "yes",
        "staff.add",
        "broken.rule",
        "ask.add",
        "pg_sleep",
        "%00",
    ] {
        let refused = ask_both(&server, name, &json!({ "a": 1 })).await;
        assert_eq!(
            refused,
            Err(("no-such-function".into(), unknown.clone())),
            "{name}"
        );
    }
    // No URL can hold it; PostgreSQL can't either.
    let mut socket = welcomed(&server, &user(), "").await;
    socket
        .send(json!({ "type": "call", "function": "a\u{0}b", "args": {}, "id": 7 }))
        .await;
    let frame = socket.next().await;
    assert_eq!(frame["code"], "no-such-function", "{frame}");
    // A rule that can't tell says no: of no role it is unknown whether it is this one.
    let nobody = token("3", "", "1");
    let answer = call(&server, &nobody, "staff.add", &json!({ "a": 1 })).await;
    assert_eq!(answer.json()["error"]["code"], "no-such-function");
    let staff = token("2", "staff", "1");
    let answer = call(&server, &staff, "staff.add", &json!({ "a": 1 })).await;
    assert_eq!(answer.json()["data"], 11);
    // Listed, and dropped since.
    database
        .run("drop function ask.add(integer, integer)")
        .await;
    let refused = ask_both(&server, "add", &json!({ "a": 1 })).await;
    assert_eq!(refused, Err(("no-such-function".into(), unknown)));
    // And created again, which is how a deploy changes what it returns.
    database
        .run(
            "create function ask.add(a integer, b integer default 10) returns text language sql
               stable as $$ select 'again ' || a + b $$",
        )
        .await;
    let answer = call(&server, &staff, "add", &json!({ "a": 1 })).await;
    assert_eq!(answer.json()["data"], "again 11");
    server.stop().await;
}

async fn arguments_fit_by_name_and_type(version: Version) {
    let database = database(version).await;
    let server = serve(&database, |_| ()).await;
    let nothing =
        json!({ "n": null, "at": null, "words": null, "j": null, "t": null, "odd": null });
    for (args, (field, expected)) in [
        (json!({ "n": "1.50" }), ("n", json!(1.5))),
        (
            json!({ "at": "2026-11-20T10:30:00+02:00" }),
            ("at", json!("2026-11-20 08:30")),
        ),
        (
            json!({ "words": ["a", "b,c", null] }),
            ("words", json!(["a", "b,c", null])),
        ),
        (
            json!({ "j": { "b": [1], "a": {} } }),
            ("j", json!({ "b": [1], "a": {} })),
        ),
        (
            json!({ "t": { "id": 5, "word": "w" } }),
            ("t", json!({ "id": 5, "word": "w" })),
        ),
        (json!({ "odd Name": "o" }), ("odd", json!("o"))),
    ] {
        let mut row = nothing.clone();
        row[field] = expected;
        assert_eq!(
            ask_both(&server, "echo", &args).await,
            Ok(json!([row])),
            "{args}"
        );
    }
    let bag = json!({ "any": 1, "thing": [] });
    assert_eq!(ask_both(&server, "bag", &bag).await, Ok(bag));
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    for (name, args, words) in [
        ("add", json!({}), "argument a is missing"),
        ("add", json!({ "b": 1 }), "argument a is missing"),
        ("add", json!({ "a": 1, "c": 2 }), "no argument c"),
        ("nothing", json!({ "a": 1 }), "no argument a"),
        ("add", json!({ "a": "one" }), "fit its type: a integer"),
        (
            "add",
            json!({ "a": 1, "b": 1e30 }),
            "fit its type: b integer",
        ),
        (
            "echo",
            json!({ "words": "a" }),
            "fit its type: words text[]",
        ),
        (
            "echo",
            json!({ "n": 1, "at": "noon" }),
            "fit its type: at timestamp with time zone",
        ),
        ("letters", json!([1]), "one JSON object"),
        ("add", json!("a"), "one JSON object"),
        ("bag", json!({ "a": "\u{0}" }), "one JSON object"),
    ] {
        let Err((code, message)) = ask_both(&server, name, &args).await else {
            panic!("{name} {args} was answered");
        };
        assert_eq!(code, "bad-arguments", "{name} {args}");
        assert!(message.contains(words), "{name} {args}: {message}");
    }
    // A name is as long as PostgreSQL's, however much was sent for one.
    let long = json!({ "a": 1, "c".repeat(70): 2 });
    let answer = ask_both(&server, "add", &long).await;
    let message = format!("there is no argument {}", "c".repeat(63));
    assert_eq!(answer, Err(("bad-arguments".to_owned(), message)));
    // Every digit arrives, which no float would keep; and what only a fool sends is the fool's.
    let digits = "12345678901234567890.12345678901234567890";
    let mut socket = welcomed(&server, &user(), "").await;
    let frame = format!(r#"{{"type":"call","function":"echo","args":{{"n":{digits}}}}}"#);
    socket.send_message(Message::text(frame)).await;
    socket.expect("result").await;
    assert!(socket.raw.contains(digits), "{}", socket.raw);
    // Of 131,072 digits each, which PostgreSQL would write out, however many there are.
    let bearer = format!("Bearer {}", user());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let answer = post(&server, "/call/bag", &headers, r#"{"n":[1e131071]}"#).await;
    let error = &answer.json()["error"];
    assert_eq!(
        (answer.status, &error["code"]),
        (400, &json!("bad-arguments"))
    );
    assert!(error["message"].to_string().contains("308"), "{error}");
    let frame = format!(
        r#"{{"type":"call","function":"bag","args":{{"n":{}}}}}"#,
        deep(20_000)
    );
    socket.send_message(Message::text(frame)).await;
    let error = socket.expect("error").await;
    assert!(["bad-arguments", "bad-message"].contains(&error["code"].as_str().unwrap_or("")));
    socket
        .send(json!({ "type": "call", "function": "nothing", "args": null }))
        .await;
    assert_eq!(socket.expect("result").await.get("id"), None);
    socket
        .send(json!({ "type": "call", "args": {}, "id": 3 }))
        .await;
    assert_eq!(socket.expect("error").await["code"], "bad-message");
    server.stop().await;
}

async fn what_can_not_be_called_can_not_be_listed(version: Version) {
    let database = database(version).await;
    let list = async |definition: &str, signature: &str, rule: &str| {
        let superuser = database.superuser().await;
        let sql = format!(
            "begin; {definition}; insert into rowcast.callable (name, function, may_call) \
             values ('it', '{signature}', {rule})"
        );
        let done = superuser.batch_execute(&sql).await;
        superuser.batch_execute("rollback").await.expect("rollback");
        done.map_err(|error| {
            let db = error.as_db_error().expect("the server's word");
            (db.code().code().to_owned(), db.message().to_owned())
        })
    };
    for (definition, signature, words) in [
        (
            "create function ask.f(variadic a int[]) returns int language sql as 'select 1'",
            "ask.f(int[])",
            "variadic",
        ),
        (
            "create function ask.f(int) returns int language sql as 'select 1'",
            "ask.f(int)",
            "no name",
        ),
        (
            "create function ask.f(a int, jsonb) returns int language sql as 'select 1'",
            "ask.f(int, jsonb)",
            "no name",
        ),
        (
            "create function ask.f(a anyelement) returns int language sql as 'select 1'",
            "ask.f(anyelement)",
            "pseudo-type",
        ),
        (
            "create function ask.f() returns setof record language sql as 'select 1'",
            "ask.f()",
            "record",
        ),
        (
            "create function ask.f() returns trigger language plpgsql as 'begin end'",
            "ask.f()",
            "pseudo-type",
        ),
        (
            "create procedure ask.f() language sql as 'select 1'",
            "ask.f()",
            "no plain function",
        ),
    ] {
        let Err((code, message)) = list(definition, signature, "null").await else {
            panic!("listed: {definition}");
        };
        assert_eq!(code, "RC003", "{definition}: {message}");
        assert!(message.contains(words), "{definition}: {message}");
    }
    let good = "create function ask.f() returns int language sql as 'select 1'";
    assert_eq!(
        list(good, "ask.f()", "'ask.staff(jsonb, text)'").await,
        Ok(())
    );
    let (code, _) = list(good, "ask.f()", "'ask.f()'")
        .await
        .expect_err("no rule");
    assert_eq!(code, "RC003");
    let (code, message) = list(good, "ask.f", "null").await.expect_err("no arguments");
    assert_eq!(code, "RC003", "{message}");
    assert!(message.contains("rowcast.callable.function"), "{message}");
    let closed = format!("{good}; revoke all on function ask.f() from public");
    let (code, message) = list(&closed, "ask.f()", "null").await.expect_err("closed");
    assert_eq!(code, "RC004", "{message}");
    let closed = format!("{good}; revoke all on function ask.staff(jsonb, text) from public");
    let refused = list(&closed, "ask.f()", "'ask.staff(jsonb, text)'").await;
    let (code, message) = refused.expect_err("its rule is closed");
    assert_eq!(code, "RC004", "{message}");
    let closed = format!("{good}; revoke all on schema ask from public, rowcast_owner");
    let refused = list(&closed, "ask.f()", "null").await;
    let (code, message) = refused.expect_err("its schema is closed");
    assert_eq!(code, "RC004", "{message}");
    for name in ["", "1a", "a/b", "a b", "ä"] {
        let sql = format!("insert into rowcast.callable values ('{name}', 'ask.nothing()')");
        assert!(
            database
                .superuser()
                .await
                .batch_execute(&sql)
                .await
                .is_err(),
            "{name:?}"
        );
    }
}

async fn only_what_is_listed_as_writing_writes(version: Version) {
    let database = database(version).await;
    let server = serve(&database, |_| ()).await;
    let failed = Err(("call-failed".to_owned(), "the function failed".to_owned()));
    assert_eq!(
        ask_both(&server, "write_anyway", &json!({ "secret": "x" })).await,
        failed
    );
    assert_eq!(ask_both(&server, "turn_writable", &json!({})).await, failed);
    // Too large, and undone: an error means that nothing has happened.
    let (code, _) = ask_both(&server, "put_many", &json!({ "n": 1001 }))
        .await
        .expect_err("too many");
    assert_eq!(code, "too-large");
    assert_eq!(
        database.ask::<i64>("select count(*) from ask.thing").await,
        0
    );
    let put = call(&server, &user(), "put_many", &json!({ "n": 2 })).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(
        database.ask::<i64>("select count(*) from ask.thing").await,
        2
    );
    // One that is listed as writing, and wrote nothing, is at a place like any other: before what is open.
    let open = database.client("postgres").await;
    let begun = "begin; insert into ask.thing (word) values ('open')";
    open.batch_execute(begun).await.expect("a write");
    database.run("select pg_current_xact_id()").await;
    let none = call(&server, &user(), "put_many", &json!({ "n": 0 })).await;
    let place = none.json()["bookmark"].as_str().map(str::to_owned);
    let place = place.unwrap_or_else(|| panic!("{none:?}"));
    open.batch_execute("commit").await.expect("a commit");
    assert_eq!(told_since(&database, &place).await, ["open"]);
    // What fails at the commit has failed.
    database.run("alter table ask.counter add constraint small unique (n) deferrable initially deferred;
        insert into ask.counter values (1); create function ask.clash() returns bigint language sql
        as 'update ask.counter set n = 1 where n = 0 returning n';
        insert into rowcast.callable (name, function, writes) values ('clash', 'ask.clash()', true)").await;
    assert_eq!(ask_both(&server, "clash", &json!({})).await, failed);
    server.stop().await;
}

/// Straight to the functions, as whoever serves: what the first has refused, the second does not call.
#[tokio::test]
async fn what_was_refused_is_not_called_by_the_second_statement() {
    let database = database(Version::Installed).await;
    let service = database.client("rowcast_service").await;
    for (name, claims, verdict, rows) in [
        ("staff.add", r#"{"role":"staff"}"#, "ok", 1),
        ("staff.add", "{}", "forbidden", 0),
        ("nothing of the kind", "{}", "not listed", 0),
    ] {
        let begin =
            format!("begin; select rowcast.begin_call('{name}', '{claims}', 0, null, 1000)");
        let call = "select from rowcast.call('{\"a\": 1}', 1000)";
        let begun = service.simple_query(&begin).await.expect("a verdict");
        let told = begun.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(told, Some(verdict), "{name} {claims}");
        let answers = service.query(call, &[]).await.expect("rows");
        assert_eq!(answers.len(), rows, "{name} {claims}");
        service.batch_execute("rollback").await.expect("an end");
    }
}

/// Holds a gate; dropped, it opens.
async fn close_gate(database: &Database, number: i32) -> Client {
    let client = database.client("postgres").await;
    let sql = format!("select pg_advisory_lock({number})");
    client.batch_execute(&sql).await.expect("a lock");
    client
}

/// Waits until so many calls stand before a gate.
async fn waiting_at(database: &Database, number: i32, calls: i64) {
    let gate = format!("locktype = 'advisory' and objid = {number}");
    eventually(&format!("{calls} calls at gate {number}"), async || {
        (database.waiters(&gate).await == calls).then_some(())
    })
    .await;
}

/// The words of the things told after a bookmark; never a gap.
async fn told_since(database: &Database, bookmark: &str) -> Vec<String> {
    let sql = "select outcome, data #>> '{}' from rowcast.events_since($1, array['things'])";
    let rows = database.superuser().await.query(sql, &[&bookmark]).await;
    let rows = rows.unwrap_or_else(|error| panic!("{error:?}"));
    let mut words = Vec::new();
    for row in &rows {
        match row.get(0) {
            "event" => words.push(row.get(1)),
            "end" => {}
            other => panic!("{bookmark}: {other}"),
        }
    }
    words
}

fn words(data: &Value) -> Vec<String> {
    let list = data.as_array().expect("a list").iter();
    list.map(|word| word.as_str().expect("a word").to_owned())
        .collect()
}

async fn insert(client: &Client, word: &str) {
    let sql = format!("insert into ask.thing (word) values ('{word}')");
    client.batch_execute(&sql).await.expect("an insert");
}

/// Others commit before, in the middle of and after what a call reads, and it holds up its snapshot.
async fn an_answer_and_what_follows_are_all_there_is(version: Version) {
    let database = database(version).await;
    let server = serve(&database, patient).await;
    let (writer, open) = (
        database.client("postgres").await,
        database.client("postgres").await,
    );
    insert(&writer, "before").await;
    open.batch_execute("begin").await.expect("begin");
    insert(&open, "open").await;
    let gates = [
        close_gate(&database, 1).await,
        close_gate(&database, 2).await,
    ];
    let asked = {
        let address = server.address.clone();
        let nowhere = json!({});
        async move { call(&address, &user(), "all_things", &nowhere).await }
    };
    let asked = tokio::spawn(asked);
    waiting_at(&database, 1, 1).await;
    insert(&writer, "while it waits to read").await;
    let [first, second] = gates;
    drop(first);
    waiting_at(&database, 2, 1).await;
    insert(&writer, "while it has read").await;
    open.batch_execute("commit").await.expect("commit");
    drop(second);
    let answer = within("the answer", asked).await.expect("no panic").json();
    insert(&writer, "after").await;
    assert_eq!(words(&answer["data"]), ["before"]);
    let bookmark = answer["bookmark"].as_str().expect("a bookmark");
    let told = told_since(&database, bookmark).await;
    let expected = [
        "open",
        "while it waits to read",
        "while it has read",
        "after",
    ];
    assert_eq!(told, expected);
    // And as a client does it: ask, then stream on from there. Not before this node has read what came
    // after, which would else follow behind the four.
    server.has_read(&database).await;
    let mut socket = welcomed(&server, &user(), &format!("rooms=things&since={bookmark}")).await;
    assert_eq!(socket.expect("subscribed").await["count"], 4);
    // In the order in which they were committed, which is not that of their ids.
    let mut heard = Vec::new();
    for _ in expected {
        heard.push(socket.expect_event("thing").await["data"].clone());
    }
    for word in expected {
        assert!(heard.contains(&json!(word)), "{word}: {heard:?}");
    }
    server.stop().await;
}

async fn a_writing_call_is_told_of_others_and_not_of_itself(version: Version) {
    let database = database(version).await;
    let server = serve(&database, patient).await;
    let (writer, open) = (
        database.client("postgres").await,
        database.client("postgres").await,
    );
    insert(&writer, "before").await;
    open.batch_execute("begin").await.expect("begin");
    insert(&open, "open").await;
    let gates = [
        close_gate(&database, 1).await,
        close_gate(&database, 2).await,
    ];
    // What was committed before is not to come live.
    server.has_read(&database).await;
    let mut socket = welcomed(&server, &user(), "rooms=things").await;
    let frame = json!({ "type": "call", "function": "put", "args": { "word": "own" }, "id": 1 });
    socket.send(frame).await;
    waiting_at(&database, 1, 1).await;
    insert(&writer, "while it waits").await;
    // More transactions than a bookmark could name, had the call's own not begun before them.
    for _ in 0..200 {
        writer
            .batch_execute("select pg_current_xact_id()")
            .await
            .expect("an id");
    }
    let [first, second] = gates;
    drop(first);
    waiting_at(&database, 2, 1).await;
    insert(&writer, "while it has written").await;
    open.batch_execute("commit").await.expect("commit");
    drop(second);
    // Live, in whatever order, come all four; the answer's bookmark is of the answer alone.
    let (mut heard, mut answer) = (Vec::new(), None);
    while heard.len() < 4 || answer.is_none() {
        let frame = socket.next().await;
        match frame["type"].as_str() {
            Some("event") => heard.push(frame["data"].as_str().expect("a word").to_owned()),
            Some("result") => answer = Some(frame),
            Some("heartbeat") => {}
            other => panic!("{other:?}: {frame}"),
        }
    }
    heard.sort();
    assert_eq!(
        heard,
        ["open", "own", "while it has written", "while it waits"]
    );
    let answer = answer.expect("an answer");
    assert_eq!(words(&answer["data"]), ["before", "own"]);
    let bookmark = answer["bookmark"].as_str().expect("a bookmark");
    let mut told = told_since(&database, bookmark).await;
    told.sort();
    assert_eq!(told, ["open", "while it has written", "while it waits"]);

    // Transactions that begin between the snapshot and the call's own id are not in the answer.
    let service = database.client("rowcast_service").await;
    let begin = "begin isolation level repeatable read read write; select 1";
    service.batch_execute(begin).await.expect("begin");
    insert(&writer, "between").await;
    let verdict = service
        .query_one("select rowcast.begin_call('put', '{}', 0, null, 5000)", &[])
        .await;
    assert_eq!(verdict.expect("a verdict").get::<_, &str>(0), "ok");
    let row = service
        .query_one(
            "select data, bookmark from rowcast.call('{\"word\":\"second\"}', 10000)",
            &[],
        )
        .await
        .expect("an answer");
    service.batch_execute("commit").await.expect("commit");
    assert!(
        row.get::<_, &str>(0).ends_with("\"second\"]")
            && !row.get::<_, &str>(0).contains("between")
    );
    assert_eq!(told_since(&database, row.get(1)).await, ["between"]);
    server.stop().await;
}

async fn a_collision_is_tried_again(version: Version) {
    let database = database(version).await;
    for attempts in [1, 2] {
        let server = serve(&database, |settings| {
            patient(settings);
            settings.calls.attempts = attempts;
        })
        .await;
        database.run("update ask.counter set n = 0").await;
        let other = database.client("postgres").await;
        let hold = "begin; update ask.counter set n = n + 100";
        other.batch_execute(hold).await.expect("an update");
        let mut socket = welcomed(&server, &user(), "").await;
        let frame = json!({ "type": "call", "function": "count_up", "id": 1 });
        socket.send(frame).await;
        let waits = "locktype = 'transactionid'";
        database.awaits("the call waits for the row", waits).await;
        other.batch_execute("commit").await.expect("commit");
        let frame = socket.next().await;
        if attempts == 1 {
            assert_eq!(frame["code"], "overloaded", "{frame}");
        } else {
            assert_eq!(
                (&frame["type"], &frame["data"]),
                (&json!("result"), &json!(101))
            );
        }
        server.stop().await;
    }
}

/// Writers that commit, roll back and stay open for a while, and somebody who asks all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_busy_writers_nothing_is_missing_and_nothing_twice() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        patient(settings);
        settings.calls.result_bytes = 16 << 20;
        settings.limits.messages_per_second = 1_000_000;
    })
    .await;
    database
        .run("update rowcast.callable set max_rows = 1000000, max_bytes = 100000000")
        .await;
    let mut writers = Vec::new();
    for writer in 0..4 {
        let client = database.client("postgres").await;
        writers.push(tokio::spawn(async move {
            for round in 0..60 {
                let end = if round % 5 == 0 { "rollback" } else { "commit" };
                client.batch_execute("begin").await.expect("begin");
                for part in 0..3 {
                    insert(&client, &format!("{writer}-{round}-{part}")).await;
                }
                client.batch_execute(end).await.expect("an end");
            }
        }));
    }
    let mut answers = Vec::new();
    let mut asked = 0;
    while asked < 10 || writers.iter().any(|writer| !writer.is_finished()) {
        let (name, args) = if asked % 2 == 0 {
            ("all_things", json!({}))
        } else {
            ("put", json!({ "word": format!("asked-{asked}") }))
        };
        let answer = call(&server, &user(), name, &args).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answers.push(answer.json());
        asked += 1;
    }
    for writer in writers {
        within("a writer", writer).await.expect("no panic");
    }
    let rows = database
        .superuser()
        .await
        .query("select word from ask.thing", &[])
        .await;
    let all: Vec<String> = rows.expect("things").iter().map(|row| row.get(0)).collect();
    for answer in &answers {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let bookmark = answer["bookmark"].as_str().expect("a bookmark");
        let told = told_since(&database, bookmark).await;
        for word in words(&answer["data"]).into_iter().chain(told) {
            *seen.entry(word).or_default() += 1;
        }
        let wrong: Vec<_> = all
            .iter()
            .filter(|word| seen.get(*word) != Some(&1))
            .collect();
        assert!(wrong.is_empty(), "not once: {wrong:?} at {bookmark}");
        assert_eq!(seen.len(), all.len());
    }
    server.stop().await;
}

#[tokio::test]
async fn limits_hold_and_nothing_is_cut_short() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        patient(settings);
        settings.calls.result_bytes = 5000;
    })
    .await;
    let code = async |name: &str, args: Value| match ask_both(&server, name, &args).await {
        Ok(_) => "ok".to_owned(),
        Err((code, _)) => code,
    };
    assert_eq!(code("series", json!({ "n": 1000 })).await, "ok");
    assert_eq!(code("series", json!({ "n": 1001 })).await, "too-large");
    // With its quotes.
    assert_eq!(code("letters", json!({ "n": 4998 })).await, "ok");
    assert_eq!(code("letters", json!({ "n": 4999 })).await, "too-large");
    database
        .run("update rowcast.callable set max_bytes = 1000, max_rows = 2")
        .await;
    assert_eq!(code("letters", json!({ "n": 998 })).await, "ok");
    assert_eq!(code("letters", json!({ "n": 999 })).await, "too-large");
    assert_eq!(code("series", json!({ "n": 2 })).await, "ok");
    assert_eq!(code("series", json!({ "n": 3 })).await, "too-large");
    // The service's bound on time, then the function's own.
    let _gate = close_gate(&database, 1).await;
    database
        .run("update rowcast.callable set timeout = '1 hour'")
        .await;
    let other = serve(&database, |settings| {
        settings.calls.timeout = Duration::from_millis(300);
    })
    .await;
    let refused = ask_both(&other, "gate", &json!({ "n": 1 })).await;
    assert_eq!(
        refused.map_err(|(code, _)| code),
        Err("call-timeout".into())
    );
    database
        .run("update rowcast.callable set timeout = '200 milliseconds'")
        .await;
    assert_eq!(code("gate", json!({ "n": 1 })).await, "call-timeout");
    server.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_function_tells_the_caller_only_what_it_means_to() {
    let database = database(Version::Installed).await;
    let mut server = serve_process(&database, &[("ROWCAST__LOG__LEVEL", "trace")]).await;
    let token = user();
    let secret = "s3cret-word";
    let raise = |code: &str| json!({ "code": code, "secret": secret });
    let told = format!("told: {secret}");
    for (name, args, code, message) in [
        ("raise", raise("P0001"), "call-failed", told.as_str()),
        ("raise", raise("RC123"), "call-failed", told.as_str()),
        (
            "raise",
            raise("23505"),
            "call-failed",
            "the function failed",
        ),
        (
            "raise",
            raise("RC003"),
            "call-failed",
            "the function failed",
        ),
        (
            "divide",
            json!({ "secret": 48_151_623 }),
            "call-failed",
            "the function failed",
        ),
        (
            "cast_badly",
            json!({ "secret": secret }),
            "call-failed",
            "the function failed",
        ),
        (
            "divide",
            json!({ "secret": secret }),
            "bad-arguments",
            "this argument does not fit its type: secret integer",
        ),
        (
            secret,
            json!({ "secret": secret }),
            "no-such-function",
            "there is no such function for you",
        ),
        (
            "write_anyway",
            json!({ "secret": secret }),
            "call-failed",
            "the function failed",
        ),
    ] {
        let answer = call(&server, &token, name, &args).await.json();
        assert_eq!(answer["error"]["code"], code, "{name} {args}");
        assert_eq!(answer["error"]["message"], message, "{name} {args}");
    }
    let echoed = call(&server, &token, "bag", &json!({ "s": secret })).await;
    assert_eq!(echoed.json()["data"]["s"], secret);
    // Operators are told where.
    let line = server.log_line("SQLSTATE 22012").await;
    for part in [
        "call failed",
        "\"divide\"",
        "PL/pgSQL function ask.divide(integer) line 1",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    server.log_line("SQLSTATE 25006").await;
    let metrics = get(&server, "/metrics", &[]).await.body;
    for line in [
        "rowcast_calls_total{outcome=\"ok\"} 1",
        "rowcast_calls_total{outcome=\"call-failed\"} 7",
        "rowcast_calls_total{outcome=\"bad-arguments\"} 1",
        "rowcast_calls_total{outcome=\"no-such-function\"} 1",
        "rowcast_calls_inside 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    server.signal(Signal::SIGTERM);
    server.exited().await;
    let log = server.log();
    for word in [secret, "48151623", token.as_str()] {
        assert!(!log.contains(word), "{word} is in the log");
    }
}

#[tokio::test]
async fn a_call_keeps_nobody_waiting() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        settings.websocket.heartbeat = Duration::from_secs(1);
        settings.calls.per_connection = 2;
        settings.calls.timeout = Duration::from_secs(60);
    })
    .await;
    database
        .run("update rowcast.callable set timeout = '1 minute'")
        .await;
    let gate = close_gate(&database, 1).await;
    let mut socket = welcomed(&server, &user(), "rooms=things").await;
    for id in [1, 2] {
        socket
            .send(json!({ "type": "call", "function": "gate", "args": { "n": 1 }, "id": id }))
            .await;
    }
    waiting_at(&database, 1, 2).await;
    socket
        .send(json!({ "type": "call", "function": "claims", "id": 3 }))
        .await;
    let refused = socket.expect("error").await;
    assert_eq!(
        (&refused["id"], &refused["code"]),
        (&json!(3), &json!("rate-limited"))
    );
    marker(&database, &["things"]).await;
    socket.expect_event("marker").await;
    socket.send(json!({ "type": "ping", "id": 4 })).await;
    assert_eq!(socket.expect("pong").await["id"], 4);
    while socket.next().await["type"] != "heartbeat" {}
    let renewed = token_with(&json!({ "sub": "1", "role": "new", "exp": unix_now() + 900 }));
    socket
        .send(json!({ "type": "auth", "token": renewed, "id": 5 }))
        .await;
    assert_eq!(socket.expect("authenticated").await["id"], 5);
    drop(gate);
    for _ in 0..2 {
        assert_eq!(socket.expect("result").await["data"], Value::Null);
    }
    // Two are free again, and the claims are the new ones.
    socket
        .send(json!({ "type": "call", "function": "claims", "id": 6 }))
        .await;
    let answer = socket.expect("result").await;
    assert_eq!(
        (&answer["id"], &answer["data"]["role"]),
        (&json!(6), &json!("new"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_call_ends_with_its_connection() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        settings.calls.timeout = Duration::from_secs(600);
    })
    .await;
    database
        .run("update rowcast.callable set timeout = '10 minutes'")
        .await;
    let _gate = close_gate(&database, 1).await;
    let mut socket = welcomed(&server, &user(), "").await;
    socket
        .send(json!({ "type": "call", "function": "gate", "args": { "n": 1 } }))
        .await;
    let address = server.address.clone();
    let http =
        tokio::spawn(async move { call(&address, &user(), "gate", &json!({ "n": 1 })).await });
    waiting_at(&database, 1, 2).await;
    drop(socket);
    waiting_at(&database, 1, 1).await;
    http.abort();
    waiting_at(&database, 1, 0).await;
    // As when the service ends it: the user is revoked.
    let mut socket = welcomed(&server, &user(), "").await;
    socket
        .send(json!({ "type": "call", "function": "gate", "args": { "n": 1 } }))
        .await;
    waiting_at(&database, 1, 1).await;
    database.run("select rowcast.revoke('1')").await;
    assert_eq!(socket.closed().await.0, 4002);
    waiting_at(&database, 1, 0).await;
    // The connections' places in the pool are free.
    let other = token("2", "user", "1");
    for _ in 0..8 {
        assert_eq!(
            call(&server, &other, "nothing", &json!({})).await.status,
            200
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn calls_have_a_bound_in_all_and_admission_is_none_of_theirs() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        settings.calls.running = 1;
        settings.calls.waiting = 1;
        settings.calls.timeout = Duration::from_secs(60);
        settings.database.pool_size = 1;
        settings.database.pool_wait = Duration::from_secs(60);
    })
    .await;
    database
        .run("update rowcast.callable set timeout = '1 minute'")
        .await;
    let gate = close_gate(&database, 1).await;
    let mut socket = welcomed(&server, &user(), "").await;
    for id in [1, 2] {
        socket
            .send(json!({ "type": "call", "function": "gate", "args": { "n": 1 }, "id": id }))
            .await;
    }
    eventually("one runs and one waits", async || {
        (server.gate.database.calls_inside() == 2).then_some(())
    })
    .await;
    let answer = call(&server, &user(), "nothing", &json!({})).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (503, &json!("overloaded"))
    );
    let wait: u64 = answer.headers["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!((1..=10).contains(&wait));
    welcomed(&server, &user(), "rooms=things").await;
    drop(gate);
    for _ in 0..2 {
        socket.expect("result").await;
    }
    assert_eq!(
        call(&server, &user(), "nothing", &json!({})).await.status,
        200
    );
    server.stop().await;
}

/// Each wrote a line, those too that came too often.
#[tokio::test]
async fn refused_posts_fill_no_log() {
    let database = database(Version::Installed).await;
    let mut program = serve_process(&database, &[]).await;
    let bearer = format!("Bearer {}", user());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "text/plain"),
    ];
    let began = Instant::now();
    for _ in 0..300 {
        let status = post(&program, "/call/nothing", &headers, "{}").await.status;
        assert!([415, 429].contains(&status), "{status}");
    }
    program.log_line("call refused").await;
    let told = program.log().matches("call refused").count() as u64;
    let most = began.elapsed().as_secs() + 2;
    assert!(told <= most, "{told} lines");
}

/// One user's calls of a slow function had all connections, and nobody else's were answered.
#[tokio::test]
async fn nobody_s_calls_keep_others_from_theirs() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        patient(settings);
        settings.database.pool_wait = Duration::from_secs(60);
    })
    .await;
    let gate = close_gate(&database, 1).await;
    let mut sockets = vec![
        welcomed(&server, &user(), "").await,
        welcomed(&server, &user(), "").await,
    ];
    for socket in &mut sockets {
        for id in 0..4 {
            socket
                .send(json!({ "type": "call", "function": "gate", "args": { "n": 1 }, "id": id }))
                .await;
        }
    }
    eventually("all are inside", async || {
        (server.gate.database.calls_inside() == 8).then_some(())
    })
    .await;
    waiting_at(&database, 1, 3).await;
    let other = token("2", "user", "1");
    let answer = call(&server, &other, "nothing", &json!({})).await;
    assert_eq!(answer.status, 200);
    drop(gate);
    for socket in &mut sockets {
        for _ in 0..4 {
            socket.expect("result").await;
        }
    }
    server.stop().await;
}

/// Three users with a hundred connections each had all places to wait in, and everybody else was refused.
#[tokio::test]
async fn who_has_many_calls_inside_leaves_half_of_the_places_to_others() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        patient(settings);
        settings.calls.waiting = 8;
        settings.database.pool_wait = Duration::from_secs(60);
    })
    .await;
    let gate = close_gate(&database, 1).await;
    let mut sockets = Vec::new();
    // Of twelve places: while half are free one may have more than on one connection, then none.
    for (user, refused, inside) in [("1", 2, 6), ("2", 4, 10)] {
        for _ in 0..2 {
            let mut socket = welcomed(&server, &token(user, "user", "1"), "").await;
            for id in 0..4 {
                let gate =
                    json!({ "type": "call", "function": "gate", "args": { "n": 1 }, "id": id });
                socket.send(gate).await;
            }
            sockets.push(socket);
        }
        let last = sockets.last_mut().expect("a socket");
        for _ in 0..refused {
            assert_eq!(last.expect("error").await["code"], "overloaded");
        }
        assert_eq!(server.gate.database.calls_inside(), inside);
    }
    let address = server.address.clone();
    let other = tokio::spawn(async move {
        let other = token("3", "user", "1");
        call(&address, &other, "nothing", &json!({})).await
    });
    eventually("there is a place for others", async || {
        (server.gate.database.calls_inside() == 11).then_some(())
    })
    .await;
    drop(gate);
    assert_eq!(other.await.expect("an answer").status, 200);
    server.stop().await;
}

/// As many users as there are connections called a function that is slow, and nobody else's calls were answered.
#[tokio::test]
async fn a_function_that_is_slow_keeps_no_other_from_its_answers() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        patient(settings);
        settings.database.pool_wait = Duration::from_secs(60);
    })
    .await;
    let mut sockets = Vec::new();
    for user in 0..6 {
        let token = token(&user.to_string(), "user", "1");
        sockets.push(welcomed(&server, &token, "").await);
    }
    let slow = json!({ "type": "call", "function": "gate", "args": { "n": 1 } });
    let gate = close_gate(&database, 1).await;
    for socket in &mut sockets {
        socket.send(slow.clone()).await;
    }
    waiting_at(&database, 1, 4).await;
    // So long that it is slow.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(gate);
    for socket in &mut sockets {
        socket.expect("result").await;
    }
    let gate = close_gate(&database, 1).await;
    for socket in &mut sockets {
        socket.send(slow.clone()).await;
    }
    eventually("all are inside", async || {
        (server.gate.database.calls_inside() == 6).then_some(())
    })
    .await;
    waiting_at(&database, 1, 3).await;
    let answer = call(&server, &token("7", "user", "1"), "nothing", &json!({})).await;
    assert_eq!(answer.status, 200);
    waiting_at(&database, 1, 3).await;
    drop(gate);
    for socket in &mut sockets {
        socket.expect("result").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_large_answer_is_no_lag() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        settings.limits.queue_bytes = 65_536;
        // Longer than nothing is read below.
        settings.limits.write_stall = Duration::from_secs(60);
        settings.calls.result_bytes = 8 << 20;
        // Longer than the lock below is held.
        settings.database.statement_timeout = Duration::from_secs(60);
        settings.calls.timeout = Duration::from_secs(60);
    })
    .await;
    database
        .run("update rowcast.callable set max_bytes = 100000000, timeout = '1 minute'")
        .await;
    let mut socket = welcomed(&server, &user(), "rooms=things").await;
    // Nobody can look up what is listed, until all have asked.
    database
        .run("begin; lock table rowcast.callable in access exclusive mode")
        .await;
    for id in 0..4 {
        let args = json!({ "n": 5 << 20 });
        let frame = json!({ "type": "call", "function": "letters", "args": args, "id": id });
        socket.send(frame).await;
    }
    // Nothing is read yet: all but the first answer wait for the socket, and so do the events.
    eventually("all are asked", async || {
        (server.gate.database.calls_inside() == 4).then_some(())
    })
    .await;
    database.run("commit").await;
    eventually("all are answered", async || {
        (server.gate.database.calls_inside() == 0).then_some(())
    })
    .await;
    for _ in 0..20 {
        marker(&database, &["things"]).await;
    }
    let (mut markers, mut answers) = (0, 0);
    while markers < 20 || answers < 4 {
        let frame = socket.next().await;
        match frame["type"].as_str() {
            Some("event") => markers += 1,
            Some("result") => {
                assert_eq!(frame["data"].as_str().map(str::len), Some(5 << 20));
                answers += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn every_credential_counts_and_no_other_page() {
    let database = database(Version::Installed).await;
    database
        .run(
            "create function ask.session(p_cookie text) returns jsonb language sql stable as $$
               select jsonb_build_object('sub', 'by session', 'exp', 4000000000)
               where p_cookie = 'good' $$;
             insert into rowcast.session_rule values ('sid', 'ask.session(text)')",
        )
        .await;
    let server = serve(&database, |settings| {
        settings.auth.cookie = Some("jwt".into());
        settings.http.allowed_origins = vec!["https://app.example".into()];
        settings.limits.message_bytes = 2048;
    })
    .await;
    let (jwt, bearer) = (user(), format!("Bearer {}", user()));
    let (cookie, session) = (format!("jwt={jwt}"), "sid=good");
    let json_type = ("content-type", "application/json");
    let (own, listed) = (format!("http://{}", server.address), "https://app.example");
    let same = ("sec-fetch-site", "same-origin");
    for (path, headers, body, expected) in [
        (
            "",
            vec![("authorization", bearer.as_str()), json_type],
            "{}",
            "1",
        ),
        ("", vec![("authorization", bearer.as_str())], "", "1"),
        (
            "",
            vec![
                ("authorization", bearer.as_str()),
                ("content-type", "Application/JSON; charset=utf-8"),
            ],
            "{}",
            "1",
        ),
        (&format!("?token={jwt}"), vec![json_type], "{}", "1"),
        (
            "",
            vec![
                ("cookie", cookie.as_str()),
                ("origin", own.as_str()),
                json_type,
            ],
            "{}",
            "1",
        ),
        (
            "",
            vec![("cookie", cookie.as_str()), ("origin", listed), json_type],
            "{}",
            "1",
        ),
        (
            "",
            vec![("cookie", session), same, json_type],
            "{}",
            "by session",
        ),
        (
            "",
            vec![("cookie", cookie.as_str()), json_type],
            "{}",
            "403 forbidden-origin",
        ),
        (
            "",
            vec![("cookie", session), json_type],
            "{}",
            "403 forbidden-origin",
        ),
        (
            "",
            vec![
                ("cookie", cookie.as_str()),
                ("origin", "https://evil.example"),
                json_type,
            ],
            "{}",
            "403 forbidden-origin",
        ),
        (
            "",
            vec![
                ("authorization", bearer.as_str()),
                ("origin", "https://evil.example"),
                json_type,
            ],
            "{}",
            "403 forbidden-origin",
        ),
        (
            "",
            vec![("cookie", "sid=bad"), same, json_type],
            "{}",
            "401 unauthorized",
        ),
        (
            "",
            vec![("authorization", "Bearer x"), json_type],
            "{}",
            "401 unauthorized",
        ),
        ("", vec![json_type], "{}", "401 unauthorized"),
        (
            "",
            vec![("authorization", bearer.as_str())],
            "{}",
            "415 unsupported-media-type",
        ),
        (
            "",
            vec![
                ("authorization", bearer.as_str()),
                ("content-type", "text/plain"),
            ],
            "{}",
            "415 unsupported-media-type",
        ),
        (
            "",
            vec![("authorization", bearer.as_str()), json_type],
            "{",
            "400 bad-arguments",
        ),
        (
            "",
            vec![("authorization", bearer.as_str()), json_type],
            &"x".repeat(2049),
            "413 message-too-big",
        ),
    ] {
        let answer = post(
            &server,
            &format!("/call/claims{path}"),
            &headers,
            body.to_owned(),
        )
        .await;
        let said = answer.json();
        let said = if answer.status == 200 {
            said["data"]["sub"].as_str().expect("claims").to_owned()
        } else {
            format!(
                "{} {}",
                answer.status,
                said["error"]["code"].as_str().unwrap_or("")
            )
        };
        assert_eq!(said, expected, "{path} {headers:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        let allowed = answer.headers.get("access-control-allow-origin");
        let from_listed = headers.contains(&("origin", listed));
        assert_eq!(allowed.is_some(), from_listed, "{headers:?}");
    }
    // No other method, and a preflight that lets a listed page send JSON with a token.
    assert_eq!(
        get(&server, "/call/claims", &[("authorization", &bearer)])
            .await
            .status,
        404
    );
    let preflight = preflight(&server, listed).await;
    for part in [
        "HTTP/1.1 204",
        "access-control-allow-origin: https://app.example",
        "authorization, content-type",
        "GET, POST",
    ] {
        assert!(preflight.contains(part), "{part}: {preflight}");
    }
    // A cookie opens a WebSocket too, and calls there are that user's.
    let mut socket = ws_with(&server, "", &[("cookie", session), ("origin", listed)]).await;
    socket.expect("welcome").await;
    socket
        .send(json!({ "type": "call", "function": "claims" }))
        .await;
    assert_eq!(socket.expect("result").await["data"]["sub"], "by session");
    // Nobody calls as anybody who was revoked.
    database.run("select rowcast.revoke('1')").await;
    let answer = call(&server, &jwt, "claims", &json!({})).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (401, &json!("unauthorized"))
    );
    let service = database.client("rowcast_service").await;
    let version: i64 = database
        .ask("select access_version from rowcast.setting")
        .await;
    for (version, expected) in [(version - 1, "revoked"), (version, "ok")] {
        let sql = format!(
            "select rowcast.begin_call('claims', '{{\"sub\":\"1\",\"iat\":4000000000}}', 0, {version}, 1000)"
        );
        let verdict = service.query_one(&sql, &[]).await.expect("a verdict");
        assert_eq!(verdict.get::<_, &str>(0), expected);
    }
    server.stop().await;
    let server = serve(&database, |settings| {
        settings.auth.anonymous_claims = Some("{\"role\":\"anonymous\"}".into());
    })
    .await;
    let answer = post(&server, "/call/claims", &[json_type], "{}").await;
    assert_eq!(answer.json()["data"]["role"], "anonymous");
    server.stop().await;
}

async fn preflight(server: &Server, origin: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(&server.address)
        .await
        .expect("an answer");
    let head = format!(
        "OPTIONS /call/claims HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\nconnection: close\r\n\
         access-control-request-method: POST\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer))
        .await
        .expect("text");
    answer
}

#[tokio::test]
async fn too_many_calls_are_refused_by_their_id() {
    let database = database(Version::Installed).await;
    let server = serve(&database, |settings| {
        settings.limits.messages_per_second = 1;
    })
    .await;
    let mut codes = Vec::new();
    let began = Instant::now();
    eventually("one is refused", async || {
        codes.push(call(&server, &user(), "nothing", &json!({})).await.status);
        codes.contains(&429).then_some(())
    })
    .await;
    let (seconds, answered) = (began.elapsed().as_secs(), codes.len() - 1);
    assert_eq!(codes[..2], [200, 200]);
    // The burst, and one for each second since.
    let most = 2 + usize::try_from(seconds).expect("a few");
    assert!(answered <= most, "{codes:?} in {seconds} s");
    // Another user has an allowance of their own.
    assert_eq!(
        call(&server, &token("2", "", ""), "nothing", &json!({}))
            .await
            .status,
        200
    );
    let mut socket = welcomed(&server, &user(), "").await;
    for id in 0..20 {
        socket
            .send(json!({ "type": "call", "function": "nothing", "id": id }))
            .await;
    }
    let mut ids = Vec::new();
    let mut limited = 0;
    while ids.len() < 20 {
        let frame = socket.next().await;
        limited += usize::from(frame["code"] == "rate-limited");
        ids.push(frame["id"].as_i64().expect("an id"));
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
    assert!(limited >= 10, "{limited}");
    server.stop().await;
}

#[tokio::test]
async fn the_lab_answers_what_its_page_needs() {
    let database = lab().await;
    let legacy = database.legacy().await;
    legacy
        .batch_execute(
            "insert into lab.organizations (name) values ('o');
             insert into lab.labs (org_id, name) values (1, 'Laser'), (1, 'Other');
             insert into lab.slots (lab_id, starts_at, ends_at, capacity) values
               (1, '2026-11-23 08:00Z', '2026-11-23 10:00Z', 2),
               (1, '2026-11-29 22:00Z', '2026-11-29 23:00Z', 1),
               (1, '2026-11-30 00:00Z', '2026-11-30 01:00Z', 1),
               (2, '2026-11-23 08:00Z', '2026-11-23 10:00Z', 1);
             insert into lab.bookings (user_id, slot_id, lab_id, status) values
               ('1', 1, 1, 'confirmed'), ('2', 2, 1, 'pending'), ('1', 3, 1, 'cancelled'),
               ('1', 4, 2, 'pending');
             insert into lab.waitlist (user_id, slot_id) values ('3', 2), ('1', 2), ('4', 2)",
        )
        .await
        .expect("sample data");
    let server = serve(&database, |_| ()).await;
    let labs = call(&server, &user(), "lab_list", &json!({})).await.json();
    assert_eq!(
        labs["data"][1],
        json!({ "labId": 2, "orgId": 1, "name": "Other", "status": "open", "reason": null })
    );
    let week = call(
        &server,
        &user(),
        "lab_week",
        &json!({ "lab": 1, "week": "2026-11-25" }),
    )
    .await
    .json();
    let bookmark = week["bookmark"].as_str().expect("a bookmark").to_owned();
    let week = &week["data"];
    assert_eq!(week["lab"]["name"], "Laser");
    assert_eq!(
        (&week["from"], &week["until"]),
        (
            &json!("2026-11-23T00:00:00Z"),
            &json!("2026-11-30T00:00:00Z")
        )
    );
    assert_eq!(
        week["slots"],
        json!([
            { "slotId": 1, "labId": 1, "startsAt": "2026-11-23T08:00:00Z", "endsAt": "2026-11-23T10:00:00Z",
              "capacity": 2, "availableSpots": 1, "status": "open" },
            { "slotId": 2, "labId": 1, "startsAt": "2026-11-29T22:00:00Z", "endsAt": "2026-11-29T23:00:00Z",
              "capacity": 1, "availableSpots": 0, "status": "full" }
        ])
    );
    assert_eq!(
        week["bookings"],
        json!([
            { "bookingId": 1, "userId": "1", "slotId": 1, "labId": 1, "status": "confirmed" }
        ])
    );
    let lines = call(&server, &user(), "user_waitlists", &json!({}))
        .await
        .json();
    assert_eq!(
        lines["data"],
        json!([{ "waitlistId": 2, "userId": "1", "slotId": 2, "labId": 1,
        "status": "waiting", "position": 2, "startsAt": "2026-11-29T22:00:00Z", "endsAt": "2026-11-29T23:00:00Z" }])
    );
    let bookings = call(
        &server,
        &user(),
        "user_bookings",
        &json!({ "since": "2026-01-01" }),
    )
    .await
    .json();
    let ids: Vec<_> = bookings["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|b| b["bookingId"].clone())
        .collect();
    assert_eq!(ids, [json!(1), json!(4)]);

    // Whose room one may join decides.
    let code = async |token: &str, name: &str, args: Value| {
        call(&server, token, name, &args).await.json()["error"]["code"]
            .as_str()
            .unwrap_or("ok")
            .to_owned()
    };
    let (boss, nobody) = (
        token("9", "super_admin", ""),
        token_with(&json!({ "exp": unix_now() + 60 })),
    );
    assert_eq!(
        code(&user(), "lab_week", json!({ "lab": 3 })).await,
        "call-failed"
    );
    assert_eq!(
        code(&user(), "user_waitlists", json!({ "user_id": "3" })).await,
        "call-failed"
    );
    assert_eq!(
        code(&boss, "user_waitlists", json!({ "user_id": "3" })).await,
        "ok"
    );
    assert_eq!(
        code(&user(), "user_bookings", json!({ "user_id": "2" })).await,
        "call-failed"
    );
    for name in ["lab_list", "lab_week", "user_bookings", "user_waitlists"] {
        assert_eq!(
            code(&nobody, name, json!({})).await,
            "no-such-function",
            "{name}"
        );
    }
    // And on from there: the booking is told once, the slot as it is now.
    legacy
        .batch_execute("insert into lab.bookings (user_id, slot_id, lab_id) values ('5', 1, 1)")
        .await
        .expect("booked");
    let mut socket = welcomed(&server, &user(), &format!("rooms=lab:1&since={bookmark}")).await;
    assert_eq!(socket.expect("subscribed").await["outcome"], "recovered");
    assert_eq!(
        socket.expect_event("booking:created").await["data"]["userId"],
        "5"
    );
    assert_eq!(
        socket.expect_event("time-slot:updated").await["data"]["availableSpots"],
        0
    );
    server.stop().await;
}

//! The console: nobody sees it who may not, what it says is true, and what is personal stays out.
//! Counters belong to the process, so whoever counts runs the program itself.

use crate::support::socketio::Clients;
use crate::support::{
    self, Answer, Database, PATIENCE, Process, SECRET, Served, Server, Subscriber, brief, connect,
    database, eventually, get, marker, reluctant, serve, serve_process, stream, token, token_with,
    unused_address, within,
};
use rowcast::clock::unix_now;
use rowcast::config::Settings;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const ENABLED: (&str, &str) = ("ROWCAST__CONSOLE__ENABLED", "true");

fn enabled(settings: &mut Settings) {
    settings.console.enabled = true;
}

fn admin() -> String {
    token("ops", "admin", "")
}

async fn with_rules() -> Database {
    database().await.with_open_rooms().await
}

/// Opens a stream of the console with this token.
async fn open(server: &impl Served, path: &str, token: &str) -> Result<Subscriber, Answer> {
    let bearer = format!("Bearer {token}");
    stream(server, path, &[("authorization", &bearer)]).await
}

async fn watch(server: &impl Served) -> Subscriber {
    let opened = open(server, "/console/watch", &admin()).await;
    opened.unwrap_or_else(|refused| panic!("{refused:?}"))
}

/// The next frame of this name.
async fn frame(watching: &mut Subscriber, name: &str) -> Value {
    loop {
        let frame = watching.next().await;
        if frame["name"] == name {
            return frame["data"].clone();
        }
    }
}

/// The first of the frames to come of which this is true.
async fn now_with(watching: &mut Subscriber, what: &str, fact: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = async {
        loop {
            last = frame(watching, "now").await;
            if fact(&last) {
                return last.clone();
            }
        }
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(found) => found,
        Err(_) => panic!("not in time: {what}"),
    }
}

async fn tail(server: &impl Served, filter: &str) -> Subscriber {
    let path = format!("/console/tail?filter={filter}");
    let opened = open(server, &path, &admin()).await;
    let mut tail = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
    frame(&mut tail, "begins").await;
    tail
}

/// The lines of a tail, up to one of this name.
async fn lines_until(tail: &mut Subscriber, name: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    loop {
        for line in frame(tail, "events").await["lines"].as_array().unwrap() {
            lines.push(line.clone());
            if line["name"] == name {
                return lines;
            }
        }
    }
}

/// A row of samples by the names of its columns.
fn column(history: &Value, name: &str) -> usize {
    let columns = history["columns"].as_array().unwrap();
    columns.iter().position(|column| column == name).unwrap()
}

#[tokio::test]
async fn it_is_off_unless_somebody_turns_it_on() {
    let db = database().await;
    let server = serve(&db, |_| {}).await;
    for path in ["", "/", "/watch", "/tail", "/connections", "/main.js"] {
        let path = format!("/console{path}");
        let bearer = format!("Bearer {}", admin());
        let answer = get(&server, &path, &[("authorization", &bearer)]).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    server.stop().await;
}

/// What operators ask has one place: a console on the public port would undo `http.admin_listen`.
#[tokio::test]
async fn it_stands_where_the_metrics_stand() {
    let db = database().await;
    let elsewhere = unused_address();
    let server = serve(&db, |settings| {
        enabled(settings);
        settings.http.admin_listen = Some(elsewhere.clone());
    })
    .await;
    for path in ["/console", "/console/watch", "/console/main.js"] {
        assert_eq!(get(&server, path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(get(&elsewhere, "/console", &[]).await.status, 200);
    let mut watching = watch(&elsewhere).await;
    frame(&mut watching, "now").await;
    server.stop().await;
}

#[tokio::test]
async fn it_opens_to_the_claim_and_to_nobody_else() {
    let db = database().await;
    let server = serve(&db, |settings| {
        enabled(settings);
        // Claims that anybody has must not be the key, whatever they say.
        settings.auth.anonymous_claims = Some(r#"{"role":"admin"}"#.into());
    })
    .await;
    db.run("select rowcast.revoke('gone')").await;
    let expired = json!({ "sub": "ops", "role": "admin", "exp": unix_now() - 1 });
    let listed = json!({ "sub": "ops", "role": ["user", "admin"], "exp": unix_now() + 600 });
    let before =
        json!({ "sub": "gone", "role": "admin", "iat": unix_now() - 60, "exp": unix_now() + 600 });
    for path in ["/console/watch", "/console/tail", "/console/connections"] {
        for (token, status, code) in [
            (String::new(), 401, "unauthorized"),
            ("nonsense".into(), 401, "unauthorized"),
            (token_with(&expired), 401, "unauthorized"),
            (token_with(&before), 401, "unauthorized"),
            (token("ops", "user", ""), 403, "forbidden"),
            (token("admin", "", ""), 403, "forbidden"),
        ] {
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str())];
            let headers = &headers[usize::from(token.is_empty())..];
            let answer = get(&server, path, headers).await;
            assert_eq!(answer.status, status, "{path} {answer:?}");
            assert_eq!(answer.json()["error"]["code"], code, "{path}");
        }
    }
    for token in [admin(), token_with(&listed)] {
        let mut watching = open(&server, "/console/watch", &token).await.unwrap();
        frame(&mut watching, "history").await;
    }
    let other = [
        ("authorization", &*format!("Bearer {}", admin())),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(get(&server, "/console/watch", &other).await.status, 403);
    server.stop().await;
}

/// The page is in everybody's reach: it holds nothing, and can load nothing from elsewhere.
#[tokio::test]
async fn the_page_is_bare_and_stays_at_home() {
    let db = database().await;
    let server = serve(&db, enabled).await;
    let page = get(&server, "/console", &[]).await;
    assert_eq!(page.status, 200);
    assert!(
        page.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    assert!(!page.body.contains("://"), "another host");
    assert!(
        !page.body.contains("style=") && !page.body.contains("onclick"),
        "inline"
    );
    let mut files = 0;
    for part in page.body.split(['"', '\'']) {
        if let Some(file) = part.strip_prefix("console/") {
            let found = get(&server, &format!("/console/{file}"), &[]).await;
            assert_eq!(found.status, 200, "{file}");
            files += 1;
        }
    }
    assert!(files >= 3, "{files} files");
    assert_eq!(
        get(&server, "/console/../Cargo.toml", &[]).await.status,
        404
    );
    assert_eq!(
        get(&server, "/console/vendor/LICENSE", &[]).await.status,
        404
    );
    assert_eq!(
        get(&server, "/console/", &[]).await.headers["location"],
        "../console"
    );
    server.stop().await;
}

#[tokio::test]
async fn its_numbers_are_those_of_the_connections_that_were_made() {
    let db = with_rules().await;
    let dialect = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/socketio/plain.toml");
    let settings = [
        ENABLED,
        ("ROWCAST__LOG__LEVEL", "debug"),
        ("ROWCAST__HTTP__DIALECTS", dialect),
    ];
    let mut program = serve_process(&db, &settings).await;
    let mut watching = watch(&program).await;
    let history = frame(&mut watching, "history").await;
    let mut readers = Vec::new();
    for (transport, user, room) in [
        (support::Transport::WebSocket, "1", "r:a"),
        (support::Transport::WebSocket, "2", "r:a"),
        (support::Transport::Sse, "2", "r:b"),
    ] {
        let query = format!("rooms={room}");
        let mut reader = connect(transport, &program, &token(user, "", ""), &query).await;
        reader.expect("welcome").await;
        readers.push(reader);
    }
    let node = Clients::start();
    let signed_in = json!({ "auth": { "token": token("4", "", "") } });
    let mut other = node.connect(&program.url, signed_in).await;
    other.connected().await;
    for _ in 0..20 {
        marker(&db, &["r:a"]).await;
    }
    for reader in &mut readers[..2] {
        for _ in 0..20 {
            reader.expect_event("marker").await;
        }
    }
    let now = now_with(&mut watching, "all is counted, and it leads", |now| {
        now["totals"]["deliveries"] == 40
            && now["connections"]["count"] == 4
            && now["node"]["leads"] == true
    })
    .await;
    assert_eq!(now["totals"]["events"], 20);
    let rooms = &now["rooms"];
    assert_eq!(rooms["count"], 3, "{rooms}");
    for (place, (room, size)) in [("*", 4), ("r:a", 2), ("r:b", 1)].into_iter().enumerate() {
        assert_eq!(rooms["list"][place], json!([room, size]));
    }
    let sample = |name| &now["sample"][column(&history, name)];
    let transports = history["transports"].as_array().unwrap();
    let counts = transports.iter().map(|name| {
        let name = name.as_str().unwrap();
        (name, sample(name).as_u64().unwrap())
    });
    let all = [("websocket", 2), ("sse", 1), ("poll", 0), ("socketio", 1)];
    assert!(counts.eq(all), "{history}");
    let list = now["connections"]["list"].as_array().unwrap();
    let sse = list.iter().find(|one| one["transport"] == "sse").unwrap();
    assert_eq!(
        (&sse["user"], &sse["named"]),
        (&"2".into(), &json!(["r:b"]))
    );
    assert!(sse["address"] == "127.0.0.1" && sse["rooms"] == 1, "{sse}");
    assert!(
        sse["since"].as_u64().unwrap() / 1000 + 60 > unix_now(),
        "{sse}"
    );
    assert_eq!((&sse["queue"], &sse["slow"]), (&0.into(), &Value::Null));
    assert_eq!(now["slow"]["count"], 0);

    // Every delivery has its place in the histogram, once: asked anew, with all seconds so far. It is
    // counted there a moment after it has left.
    let (mut again, counted) = eventually("all have reached a socket", async || {
        let mut again = watch(&program).await;
        let history = frame(&mut again, "history").await;
        let place = column(&history, "toSocket");
        let rows = history["rows"].as_array().unwrap();
        let counts = rows.iter().flat_map(|row| row[place].as_array().unwrap());
        let counted = counts.map(|count| count.as_u64().unwrap()).sum::<u64>();
        (counted >= 40).then_some((again, counted))
    })
    .await;
    assert_eq!(counted, 40);
    let metrics = get(&program, "/metrics", &[]).await.body;
    assert!(
        metrics.contains("rowcast_commit_to_socket_seconds_count 40\n"),
        "{metrics}"
    );

    // A replay has been under way for as long as its reader was away: that is no delay of ours.
    let bookmark = readers[0].received[0]["bookmark"]
        .as_str()
        .unwrap()
        .to_owned();
    let query = format!("rooms=r:a&since={bookmark}");
    for transport in support::TRANSPORTS {
        let mut back = connect(transport, &program, &token("3", "", ""), &query).await;
        back.expect("welcome").await;
        back.expect("subscribed").await;
        for _ in 0..20 {
            back.expect_event("marker").await;
        }
    }
    now_with(&mut again, "the replays", |now| {
        now["totals"]["deliveries"] == 80
    })
    .await;
    let metrics = get(&program, "/metrics", &[]).await.body;
    assert!(
        metrics.contains("rowcast_commit_to_socket_seconds_count 40\n"),
        "{metrics}"
    );

    // Nor is what a poll finds there; but what comes to one that waits was under way to it.
    let polled = async |query: &str| {
        let bearer = format!("Bearer {}", token("3", "", ""));
        let path = format!("/poll?{query}");
        let answer = get(&program, &path, &[("authorization", &bearer)]).await;
        answer.json()
    };
    let found = polled(&query).await;
    assert_eq!(found["events"].as_array().unwrap().len(), 20);
    // A load is a replay too, and stands behind its `subscribed`.
    let place = found["bookmark"].as_str().unwrap();
    let loaded = polled(&format!("load=r:a&from={bookmark}&since={place}")).await;
    assert_eq!(loaded["events"].as_array().unwrap().len(), 21);
    let query = format!(
        "rooms=r:a&wait=60&since={}",
        found["bookmark"].as_str().unwrap()
    );
    // Beside those who have stayed: whoever left and is there still would be told, too.
    let is_held = now_with(&mut again, "a poll that waits", |now| {
        let connections = &now["connections"];
        connections["list"][0]["transport"] == "poll" && connections["count"] == 5
    });
    let wake = async {
        is_held.await;
        marker(&db, &["r:a"]).await;
    };
    let (woken, ()) = tokio::join!(polled(&query), wake);
    assert_eq!(woken["events"][0]["name"], "marker");
    // The two readers that have stayed have it too.
    eventually("the poll's delay", async || {
        let metrics = get(&program, "/metrics", &[]).await.body;
        metrics
            .contains("rowcast_commit_to_socket_seconds_count 43\n")
            .then_some(())
    })
    .await;

    // Who looks for somebody finds them, by any of these.
    for (word, count) in [
        ("r:b", 1),
        ("sse", 1),
        ("socketio", 1),
        ("127.0.0", 4),
        ("nobody", 0),
    ] {
        let path = format!("/console/connections?find={word}");
        let bearer = format!("Bearer {}", admin());
        let found = eventually("who left is gone", async || {
            let found = get(&program, &path, &[("authorization", &bearer)])
                .await
                .json();
            (found["count"] == count).then_some(found)
        })
        .await;
        assert_eq!(found["list"].as_array().unwrap().len(), count);
    }
    assert_secret_free(&program, &mut again).await;
    let wrong = token("ops", "user", "");
    let refused = open(&program, "/console/watch", &wrong).await;
    assert_eq!(refused.err().unwrap().status, 403);
    program.log_line("without the claim of the console").await;
    let log = program.log();
    assert!(!log.contains("eyJ") && !log.contains(SECRET), "a token");
    assert!(!log.contains(wrong.rsplit('.').next().unwrap()));
    program.signal(nix::sys::signal::Signal::SIGTERM);
    let end = frame(&mut again, "end").await;
    assert_eq!(end["code"], "restart");
    assert!(program.exited().await.success());
}

/// Neither a token nor its signature is in anything that the console has said.
async fn assert_secret_free(program: &Process, watching: &mut Subscriber) {
    let secret = token("9", "", "");
    let query = format!("token={secret}");
    let mut reader = support::ws(program, "", &query).await;
    reader.expect("welcome").await;
    now_with(watching, "they are listed", |now| {
        let list = now["connections"]["list"].as_array().unwrap();
        list.iter().any(|one| one["user"] == "9")
    })
    .await;
    let said = format!("{:?}", watching.received);
    assert!(
        said.contains("127.0.0.1") && !said.contains("eyJ"),
        "a token"
    );
    assert!(!said.contains(secret.rsplit('.').next().unwrap()) && !said.contains(SECRET));
}

/// Somebody who reads nothing, with a small buffer.
async fn stall(address: &str, user: &str) -> TcpStream {
    let token = token(user, "", "");
    let request = format!("GET /sse?rooms=r:slow&token={token} HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut stream = reluctant(address, &request).await.unwrap();
    let mut first = [0; 1];
    within("an answer", stream.read_exact(&mut first))
        .await
        .unwrap();
    stream
}

#[tokio::test]
async fn who_does_not_read_is_shown_as_slow_and_then_as_lagged() {
    let db = with_rules().await;
    let program = serve_process(
        &db,
        &[
            ENABLED,
            ("ROWCAST__LIMITS__QUEUE_BYTES", "4000000"),
            ("ROWCAST__LIMITS__WRITE_STALL_MS", "60000"),
        ],
    )
    .await;
    let held = stall(&program.address, "sleeper").await;
    let mut other = support::ws(&program, &token("1", "", ""), "rooms=r:fine").await;
    other.expect("welcome").await;
    let writer = db.superuser().await;
    let emit = "select rowcast.emit('c', 'big', array['r:slow'], to_json(repeat('x', 500000)))";
    let mut watching = watch(&program).await;
    // One after the other, while few wait: those that are read together are written together.
    let now = eventually("it is slow", async || {
        let now = frame(&mut watching, "now").await;
        let queue = &now["connections"]["list"][0]["queue"];
        if queue.as_u64().unwrap() < 1_000_000 {
            writer.batch_execute(emit).await.unwrap();
        }
        (now["slow"]["count"] == 1 && now["slow"]["list"][0]["queue"] != 0).then_some(now)
    })
    .await;
    let slow = &now["slow"]["list"][0];
    assert_eq!(
        (&slow["user"], &slow["transport"]),
        (&"sleeper".into(), &"sse".into())
    );
    assert!(slow["queue"].as_u64().unwrap() >= 500_000, "{slow}");
    let since = slow["slow"].as_u64().unwrap();
    assert_eq!(
        now["connections"]["list"][0]["user"], "sleeper",
        "the worst comes first"
    );
    // Since when: it stays what it was, and the reader's bookmark falls behind meanwhile.
    let later = now_with(&mut watching, "it is behind", |now| {
        now["slow"]["list"][0]["behind"].as_u64().unwrap_or(0) > 1500
    })
    .await;
    assert!(
        later["slow"]["list"][0]["slow"]
            .as_u64()
            .unwrap()
            .abs_diff(since)
            < 1000
    );

    for _ in 0..10 {
        writer.batch_execute(emit).await.unwrap();
    }
    let now = now_with(&mut watching, "it was closed", |now| {
        now["recent"][0]["word"] == "lagged"
    })
    .await;
    let closed = &now["recent"][0];
    assert_eq!(
        (&closed["what"], &closed["close"]),
        (&"closed".into(), &4000.into())
    );
    assert_eq!(
        (&closed["user"], &closed["address"]),
        (&"sleeper".into(), &"127.0.0.1".into())
    );
    assert_eq!(now["totals"]["closes"]["lagged"], 1);
    drop(held);
}

/// Whose writer is called for each event, as a durable reader's, was slow from its first event on.
#[tokio::test]
async fn a_durable_reader_that_has_it_all_is_not_slow() {
    let db = with_rules().await;
    let program = serve_process(&db, &[ENABLED, ("ROWCAST__CONSOLE__SLOW_MS", "1")]).await;
    let mut watching = watch(&program).await;
    let mut reader = support::ws(&program, &token("1", "", ""), "rooms=r:a&reader=box").await;
    reader.expect("welcome").await;
    reader.expect("subscribed").await;
    marker(&db, &["r:a"]).await;
    reader.expect_event("marker").await;
    let now = now_with(&mut watching, "it is at rest", |now| {
        now["totals"]["deliveries"] == 1 && now["slow"]["count"] == 0
    })
    .await;
    assert_eq!(now["connections"]["list"][0]["writing"], Value::Null);
}

/// Of ten thousand an operator wants the last.
#[tokio::test]
async fn the_youngest_failures_are_shown_first() {
    let db = support::database().await;
    let failures = "insert into rowcast.failure (channel, relation, operation, sqlstate, message)
        select 'c', 'shop.orders', 'insert', '22012', g::text from generate_series(1, 5) g";
    db.run(failures).await;
    let shown = "select string_agg(f ->> 'message', ' ' order by place)
        from jsonb_array_elements(rowcast.overview(3) -> 'failures') with ordinality t (f, place)";
    assert_eq!(db.ask::<String>(shown).await, "5 4 3");
}

#[tokio::test]
async fn refusals_and_failures_appear_with_what_they_were() {
    let db = with_rules().await;
    db.run(
        "create table app.orders (id int primary key); grant usage on schema app to public; \
         select rowcast.attach('app.orders', 'insert', $$ select 'o' as name, array['r:a'] as rooms, \
           json_build_object('x', 1 / (n.id - 7)) as data from new_rows n $$)",
    )
    .await;
    let program = serve_process(&db, &[ENABLED, ("ROWCAST__CONSOLE__DATABASE_S", "1")]).await;
    let mut watching = watch(&program).await;
    let mut refused = support::ws(&program, "nonsense", "").await;
    assert_eq!(refused.closed().await.0, 1008);
    let now = now_with(&mut watching, "the refusal", |now| {
        now["recent"][0]["word"] == "unauthorized"
    })
    .await;
    let turn = &now["recent"][0];
    assert_eq!(
        (&turn["what"], &turn["transport"]),
        (&"refused".into(), &"websocket".into())
    );
    assert_eq!(
        (&turn["status"], &turn["close"]),
        (&401.into(), &1008.into())
    );
    assert!(turn["at"].as_u64().unwrap() / 1000 + 60 > unix_now());
    assert!(!turn.to_string().contains("nonsense"));

    db.run("insert into app.orders values (7)").await;
    // The database is asked, the log is read and the lead is taken, each in its own time.
    let now = now_with(&mut watching, "the failure", |now| {
        now["database"]["failures"][0]["sqlstate"] == "22012"
            && now["totals"]["failures"] != 0
            && now["database"]["leader"] != Value::Null
    })
    .await;
    let failure = &now["database"]["failures"][0];
    assert_eq!(
        (&failure["operation"], &failure["message"]),
        (&"insert".into(), &"division by zero".into())
    );
    assert_eq!(now["totals"]["failures"], 1);
    assert!(now["database"]["log"]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(now["database"]["log"]["keepFor"], 86_400);
    let leader = &now["database"]["leader"]["name"];
    assert_eq!(
        leader,
        &format!("rowcast {}", now["node"]["name"].as_str().unwrap())
    );
    assert_eq!(now["database"]["drift"], json!([]));
    db.run("alter table app.orders disable trigger _900_rowcast_insert")
        .await;
    let now = now_with(&mut watching, "the drift", |now| {
        now["database"]["drift"] != json!([])
    })
    .await;
    assert_eq!(now["database"]["drift"][0]["state"], "disabled");
}

/// A room rule that was dropped counted nowhere; and a room that was refused to somebody who stays had the code
/// of a close.
#[tokio::test]
async fn a_room_rule_that_is_gone_is_a_failure_and_one_that_says_no_is_none() {
    let db = with_rules().await;
    db.run(
        "create function app.gone(claims jsonb, room text) returns boolean language sql \
           as 'select true'; \
         create function app.number(claims jsonb, room text) returns boolean language sql \
           as 'select substr(room, 3)::int > 0'; \
         insert into rowcast.room_rule values ('gone', 'app.gone(jsonb,text)'), \
           ('n:*', 'app.number(jsonb,text)'); \
         drop function app.gone(jsonb, text)",
    )
    .await;
    let program = serve_process(&db, &[ENABLED]).await;
    let mut watching = watch(&program).await;
    for (room, failures) in [("n:x", 0), ("gone", 1), ("n:y", 1)] {
        let mut asks = support::ws(&program, &token("1", "", ""), &format!("rooms={room}")).await;
        asks.expect("welcome").await;
        assert_eq!(asks.expect("error").await["code"], "forbidden");
        let now = now_with(&mut watching, "the refusal", |now| {
            now["recent"][0]["detail"] == format!("room {room}")
        })
        .await;
        let turn = &now["recent"][0];
        assert_eq!(turn["word"], "forbidden");
        assert_eq!(
            (&turn["status"], &turn["close"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(now["totals"]["failures"], failures, "{room}");
    }
}

/// Whoever opened the console while a home rule failed counted one failure more each time, and the next time
/// that rules were asked again.
#[tokio::test]
async fn a_home_rule_that_fails_is_none_of_the_consoles_business() {
    let db = with_rules().await;
    let mut program = serve_process(&db, &[ENABLED]).await;
    db.run(
        "create function app.home(claims jsonb) returns text[] language sql \
           as $$ select array[(1 / (length(claims::text) * 0))::text] $$; \
         insert into rowcast.home_rule values ('app.home(jsonb)')",
    )
    .await;
    let mut watching = watch(&program).await;
    frame(&mut watching, "now").await;
    db.run("select rowcast.recheck()").await;
    let line = program.log_line("\"rechecked\"").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["fields"]["failed"], 0, "{line}");
    let now = frame(&mut watching, "now").await;
    assert_eq!(now["totals"]["failures"], 0);
    // It does fail.
    let mut refused = support::ws(&program, &token("1", "", ""), "").await;
    assert_eq!(refused.closed().await.0, 1013);
    now_with(&mut watching, "a failure", |now| {
        now["totals"]["failures"] == 1
    })
    .await;
}

/// Two nodes: each shows its own, and names the one that leads.
#[tokio::test]
async fn a_node_that_follows_names_the_one_that_leads() {
    let db = with_rules().await;
    // Two numbers are another lock than the one number of the lead, beside which it stands in pg_locks.
    let stranger = db.legacy().await;
    let lock = "select pg_advisory_lock(0, 7692279)";
    stranger.batch_execute(lock).await.unwrap();
    let nobody = "select rowcast.overview(1)->>'leader' is null";
    assert!(db.ask::<bool>(nobody).await);
    let first = serve_process(&db, &[ENABLED]).await;
    let mut watching = watch(&first).await;
    let leads =
        |now: &Value| now["node"]["leads"] == true && now["database"]["leader"] != Value::Null;
    let leader = now_with(&mut watching, "the first leads", leads).await;
    let second = serve_process(&db, &[ENABLED]).await;
    let mut watching = watch(&second).await;
    let now = now_with(&mut watching, "it was asked", |now| {
        now["database"]["leader"] != Value::Null
    })
    .await;
    assert_eq!(now["node"]["leads"], false);
    assert_ne!(now["node"]["name"], leader["node"]["name"]);
    assert_eq!(
        now["database"]["leader"]["name"],
        leader["database"]["leader"]["name"]
    );
}

#[tokio::test]
async fn the_tail_shows_what_is_committed_and_its_filter_what_fits() {
    let db = with_rules().await;
    let server = serve(&db, enabled).await;
    let (mut all, mut some) = (tail(&server, "").await, tail(&server, "r:2%20-loud").await);
    db.run(
        "select rowcast.emit('c', 'plain', array['r:1'], '{\"secret\":\"personal\"}'); \
         select rowcast.emit('c', 'loud', array['r:2'], '{}'); \
         select rowcast.emit('c', 'wanted', array['r:2', 'r:3'], '{}'); \
         select rowcast.emit('c', 'last', array['r:1'], '{}')",
    )
    .await;
    let lines = lines_until(&mut all, "last").await;
    let names: Vec<_> = lines
        .iter()
        .map(|line| line["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["plain", "loud", "wanted", "last"]);
    assert_eq!(
        (&lines[0]["channel"], &lines[0]["named"]),
        (&"c".into(), &json!(["r:1"]))
    );
    assert!(
        lines[0]["id"].is_string() && lines[0]["bytes"] == 21,
        "{}",
        lines[0]
    );
    assert!(lines[0]["at"].as_u64().unwrap() / 1000 + 60 > unix_now());
    let lines = lines_until(&mut some, "wanted").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["rooms"], 2);
    assert!(
        !format!("{:?}", all.received).contains("personal"),
        "a payload"
    );
    server.stop().await;
}

#[tokio::test]
async fn payloads_are_shown_where_a_setting_allows_it() {
    let db = with_rules().await;
    let server = serve(&db, |settings| {
        enabled(settings);
        settings.console.payloads = true;
        settings.console.payload_bytes = 16;
    })
    .await;
    let mut tail = tail(&server, "").await;
    db.run("select rowcast.emit('c', 'e', array['r:1'], '{\"a\":\"0123456789abcdef\"}')")
        .await;
    let lines = lines_until(&mut tail, "e").await;
    assert_eq!(lines[0]["data"], "{\"a\":\"0123456789");
    server.stop().await;
}

/// A tail that nobody reads is cut as any reader, and costs the others nothing.
#[tokio::test]
async fn a_tail_counts_what_it_can_not_show() {
    let db = with_rules().await;
    let server = serve(&db, |settings| {
        enabled(settings);
        settings.console.tail_events = 5;
    })
    .await;
    let mut tail = tail(&server, "").await;
    db.run("select rowcast.emit('c', 'n' || n, array['r:1'], '{}') from generate_series(1, 40) n")
        .await;
    let (mut shown, mut skipped) = (0, 0);
    while shown + skipped < 40 {
        let events = frame(&mut tail, "events").await;
        let lines = events["lines"].as_array().unwrap();
        assert!(lines.len() <= 5);
        shown += lines.len() as u64;
        skipped += events["skipped"].as_u64().unwrap();
    }
    assert!((5..40).contains(&shown), "{shown} and {skipped}");
    server.stop().await;
}

#[tokio::test]
async fn so_many_may_watch_and_no_more() {
    let db = database().await;
    let server = serve(&db, |settings| {
        enabled(settings);
        settings.console.watchers = 1;
    })
    .await;
    for path in ["/console/watch", "/console/tail"] {
        let first = open(&server, path, &admin()).await.unwrap();
        let refused = open(&server, path, &admin())
            .await
            .err()
            .expect("a refusal");
        assert_eq!(refused.status, 429, "{path}");
        drop(first);
        eventually("the place is free again", async || {
            open(&server, path, &admin()).await.ok()
        })
        .await;
    }
    eventually("nothing of them is left", async || {
        (server.gate.hub.sizes().subscriptions == 0).then_some(())
    })
    .await;
    assert_eq!(server.gate.seats.taken(), 0, "they took nobody's seat");
    server.stop().await;
}

async fn ends(server: &Server, token: &str, why: &str, meanwhile: impl AsyncFnOnce()) {
    let mut streams = Vec::new();
    for path in ["/console/watch", "/console/tail"] {
        streams.push(open(server, path, token).await.unwrap());
    }
    meanwhile().await;
    for stream in &mut streams {
        assert_eq!(frame(stream, "end").await["code"], why);
        assert_eq!(stream.closed().await.0, 200);
    }
}

#[tokio::test]
async fn a_stream_never_outlives_its_token() {
    let db = database().await;
    let server = serve(&db, enabled).await;
    let (short, expires) = brief(json!({ "sub": "ops", "role": "admin" }));
    ends(&server, &short, "token-expired", async || {}).await;
    assert!(unix_now() >= expires);
    ends(&server, &admin(), "revoked", async || {
        db.run("select rowcast.revoke('ops')").await;
    })
    .await;
    server.stop().await;
}

/// Whoever was an operator by a session watched on for as long as that lasted.
#[tokio::test]
async fn a_stream_ends_when_its_session_loses_the_claim() {
    let db = database().await;
    db.run(
        "create table public.sessions (id text, role text);
         insert into public.sessions values ('a', 'admin'), ('b', 'admin');
         grant select on public.sessions to rowcast_owner;
         create function public.claims_of(p_id text) returns jsonb language sql stable as $$
           select jsonb_build_object(
             'sub', id, 'role', role, 'exp', extract(epoch from now())::bigint + 600)
           from public.sessions where id = p_id $$;
         insert into rowcast.session_rule values ('sid', 'public.claims_of(text)')",
    )
    .await;
    let server = serve(&db, enabled).await;
    let own = format!("http://{}", server.address);
    let mut streams = Vec::new();
    for cookie in ["sid=a", "sid=b"] {
        for path in ["/console/watch", "/console/tail"] {
            let headers = [("cookie", cookie), ("origin", own.as_str())];
            streams.push(stream(&server, path, &headers).await.unwrap());
        }
    }
    db.run("update public.sessions set role = 'none' where id = 'a'; select rowcast.recheck()")
        .await;
    let (theirs, others) = streams.split_at_mut(2);
    for ended in theirs {
        // Without an end, what it shows would go on and on.
        let end = within("it ends", frame(ended, "end")).await;
        assert_eq!(end["code"], "unauthorized");
    }
    frame(&mut others[0], "now").await;
    marker(&db, &["*"]).await;
    lines_until(&mut others[1], "marker").await;
    server.stop().await;
}

/// Between two who watch, turns are taken, but nobody is asked anything for them.
#[tokio::test]
async fn the_database_is_left_alone_while_nobody_watches() {
    let db = database().await;
    let server = serve(&db, |settings| {
        enabled(settings);
        settings.console.database = std::time::Duration::from_secs(1);
    })
    .await;
    let asked = |now: &Value| now["database"]["at"].as_u64();
    let mut watching = watch(&server).await;
    let first = now_with(&mut watching, "an answer", |now| asked(now).is_some()).await;
    now_with(&mut watching, "the next answer", |now| {
        asked(now) > asked(&first)
    })
    .await;
    drop(watching);
    eventually("nobody watches", async || {
        (server.gate.hub.sizes().subscriptions == 0).then_some(())
    })
    .await;
    let left = unix_now();
    eventually("some turns", async || (unix_now() > left + 8).then_some(())).await;
    let mut watching = watch(&server).await;
    let history = frame(&mut watching, "history").await;
    let turns = history["rows"].as_array().unwrap().iter();
    let unseen = turns.filter(|row| row[0].as_u64().unwrap() / 1000 > left);
    assert!(unseen.count() >= 2, "{history}");
    // A turn shows what was answered before it.
    let now = frame(&mut watching, "now").await;
    assert!(asked(&now).unwrap() / 1000 < left + 6, "{left} {now}");
    now_with(&mut watching, "it is asked again", |later| {
        asked(later) > asked(&now)
    })
    .await;
    server.stop().await;
}

/// Whoever was revoked and came while nobody could be asked stayed for as long as their token.
#[tokio::test]
async fn who_was_revoked_is_out_as_soon_as_somebody_can_be_asked() {
    let db = database().await;
    let server = serve(&db, enabled).await;
    db.run("select rowcast.revoke('ops')").await;
    let revoked: i64 = db.ask("select access_version from rowcast.setting").await;
    eventually("the revocation is heard of", async || {
        (server.gate.hub.access_known() == revoked).then_some(())
    })
    .await;
    let mut locker = db.client("postgres").await;
    let lock = locker.transaction().await.unwrap();
    let locked = lock.batch_execute("lock table rowcast.revocation").await;
    locked.unwrap();
    let mut watching = open(&server, "/console/watch", &admin()).await.unwrap();
    frame(&mut watching, "now").await;
    lock.rollback().await.unwrap();
    assert_eq!(frame(&mut watching, "end").await["code"], "revoked");
    server.stop().await;
}

/// At three in the morning the database is what is away.
#[tokio::test]
async fn it_opens_while_the_database_is_away() {
    let db = database().await;
    let server = support::serve_unready(&db, |settings| {
        enabled(settings);
        settings.database.url = Some("postgres://nobody@127.0.0.1:1/none".into());
    })
    .await;
    let mut watching = watch(&server).await;
    let now = now_with(&mut watching, "what is wrong", |now| {
        now["database"]["error"].is_string()
    })
    .await;
    let trouble = now["node"]["trouble"].as_str().unwrap();
    assert!(trouble.contains("connect"), "{trouble}");
    server.stop().await;
}

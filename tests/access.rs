//! Who may hear what can change while they listen: a user revoked in SQL and a rule withdrawn take
//! effect within a second on every node and transport, and a token ends in mid-stream.

use crate::support::{
    self, Database, EVERY_TRANSPORT, Postgres, SLACK, Server, Subscriber, TRANSPORTS, Transport,
    Version, brief, connect, eventually, get, marker, on, on_every_version, serve, serve_process,
    sse, token_with, try_sse, within, ws,
};
use rowcast::clock::unix_now;
use rowcast::command::postgres::{Mode, SUPERUSER};
use rowcast::config::Settings;
use rowcast::connection::Refusal;
use rowcast::hub::{Identity, Since};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;

/// What docs/sql.md promises, whether or not NOTIFY tells of it.
const SECOND: Duration = Duration::from_secs(1);

/// So long that only a notification can be in time.
const NO_FLOOR: Duration = Duration::from_secs(600);

/// How nodes may hear of a change.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Notified,
    /// The notification never comes: the next look finds it, by the floor.
    Looked,
}

const WAYS: [Way; 2] = [Way::Notified, Way::Looked];

impl Way {
    async fn database(self) -> Database {
        let database = support::database().await;
        if self == Self::Looked {
            database
                .run("drop trigger _900_rowcast_ring on rowcast.setting")
                .await;
        }
        database
    }

    fn floor(self, settings: &mut Settings) {
        // Longer than any test holds up a rule, or a replay.
        settings.database.statement_timeout = Duration::from_secs(60);
        assert!(settings.listener.floor < SECOND, "a look is in time");
        if self == Self::Notified {
            settings.listener.floor = NO_FLOOR;
        }
    }

    /// Since the commit, with what a busy machine takes for all the rest.
    fn assert_in_time(self, began: Instant) {
        let took = began.elapsed();
        eprintln!("{self:?}: {took:?}");
        assert!(took < SECOND + SLACK, "{self:?}: {took:?}");
    }
}

/// As docs/sql.md has it, whatever the order in which they were written.
#[tokio::test]
async fn the_literal_wins_and_then_the_longest_prefix() {
    let database = support::database().await;
    let rules = "
        create function public.yes(claims jsonb, room text) returns boolean language sql as 'select true';
        create function public.no(claims jsonb, room text) returns boolean language sql as 'select false';
        insert into rowcast.room_rule values
          ('*', 'public.no(jsonb,text)'), ('r:*', 'public.yes(jsonb,text)'),
          ('r:1', 'public.no(jsonb,text)'), ('r:1*', 'public.yes(jsonb,text)'),
          ('r:12*', 'public.no(jsonb,text)'), ('r:12', 'public.yes(jsonb,text)')";
    database.run(rules).await;
    let asked = r#"select array_to_string(allowed, ' ') from rowcast.access('[{"claims": {"sub": "1"},
        "rooms": ["other", "r:", "r:1", "r:13", "r:12", "r:123", "r:2"]}]')"#;
    let allowed: String = database.ask(asked).await;
    assert_eq!(allowed, "r: r:13 r:12 r:2");
}

/// The counter's row is taken at the commit: a deploy that writes rules and goes on keeps nobody in.
#[tokio::test]
async fn a_change_of_rules_keeps_no_revocation_waiting_before_its_commit() {
    let database = support::database().await;
    database.run(RULES).await;
    let deploy = database.client(SUPERUSER).await;
    let change = "begin; update rowcast.room_rule set may_join = 'public.no(jsonb, text)'";
    deploy.batch_execute(change).await.expect("a change");
    database
        .run("set lock_timeout = '10s'; select rowcast.revoke('1')")
        .await;
    deploy.batch_execute("commit").await.expect("its end");
}

/// Every rule may read the claims where a callable reads them, in the setting.
#[tokio::test]
async fn rules_find_the_claims_in_the_setting_too() {
    let database = support::database().await;
    let rules = "
        create function public.me() returns text language sql stable
          as $$ select 'user:' || (current_setting('request.jwt.claims', true)::jsonb ->> 'sub') $$;
        create function public.mine(claims jsonb, room text) returns boolean language sql stable
          as $$ select room = public.me() || ':2' $$;
        create function public.home(claims jsonb) returns text[] language sql stable
          as $$ select array[public.me()] $$;
        insert into rowcast.room_rule values ('user:*', 'public.mine(jsonb,text)');
        insert into rowcast.home_rule values ('public.home(jsonb)')";
    database.run(rules).await;
    let asked = r#"select string_agg(concat(home, allowed), ' ') from rowcast.access('[
        {"claims": {"sub": "1"}, "rooms": ["user:1:2", "user:7:2"]},
        {"claims": {"sub": "7"}, "rooms": ["user:1:2", "user:7:2"]}]')"#;
    let rooms: String = database.ask(asked).await;
    assert_eq!(rooms, "{user:1}{user:1:2} {user:7}{user:7:2}");
}

/// A database for reports has PostgreSQL compile plans that seem to cost much, and rules were, too: a tenth of
/// a second for each who came in.
#[tokio::test]
async fn no_rule_is_compiled() {
    let database = support::database().await;
    let rule = "
        create function public.plain(claims jsonb, room text) returns boolean language sql
          as $$ select current_setting('jit') = 'off' $$;
        insert into rowcast.room_rule values ('r:*', 'public.plain(jsonb,text)')";
    database.run(rule).await;
    let set = format!("alter database {} set jit = on", database.name);
    database.run(&set).await;
    let server = serve(&database, |_| ()).await;
    let mut socket = ws(&server, &issued("1", 0), "rooms=r:1").await;
    let welcome = socket.expect("welcome").await;
    assert_eq!(welcome["rooms"], json!(["r:1"]));
    server.stop().await;
}

/// A token of this user that was issued some seconds from now.
fn issued(user: &str, seconds: i64) -> String {
    let now = i64::try_from(unix_now()).expect("this century");
    token_with(&json!({ "sub": user, "iat": now + seconds, "exp": now + 600 }))
}

/// Rooms `org:N` by a table of members, `open` for all, and one rule for home rooms.
const RULES: &str = "
    create table public.members (sub text, org text);
    insert into public.members values ('1', '1'), ('2', '1'), ('3', '1');
    grant select on public.members to rowcast_owner;
    create function public.in_org(claims jsonb, room text) returns boolean language sql as $$
      select exists (select from public.members m
        where m.sub = claims ->> 'sub' and room = 'org:' || m.org)
    $$;
    create function public.yes(claims jsonb, room text) returns boolean language sql as 'select true';
    create function public.no(claims jsonb, room text) returns boolean language sql as 'select false';
    create function public.home(claims jsonb) returns text[] language sql as $$
      select array['home:' || (claims ->> 'sub')]
    $$;
    insert into rowcast.room_rule values ('org:*', 'public.in_org(jsonb, text)'),
      ('open', 'public.yes(jsonb, text)');
    insert into rowcast.home_rule values ('public.home(jsonb)')";

async fn assert_cut(subscriber: &mut Subscriber) {
    match subscriber.closed().await {
        (4002, reason) => assert!(reason.contains("revoked"), "{reason}"),
        (200, word) => assert_eq!(word, "revoked"),
        // Of a poll: while it was held, or asked between two.
        (401, word) => assert!(["revoked", "unauthorized"].contains(&&*word), "{word}"),
        other => panic!("not as revoked: {other:?}"),
    }
}

/// What both transports say to a token: in, or refused as revoked.
async fn may_enter(server: &Server, token: &str) -> bool {
    let mut socket = ws(server, token, "").await;
    let by_socket = match socket.next_or_end().await {
        Ok(_) => true,
        Err((1008, reason)) if reason.contains("revoked") => false,
        Err(other) => panic!("neither in nor revoked: {other:?}"),
    };
    let by_stream = match try_sse(server, token, "", &[]).await {
        Ok(mut stream) => stream.expect("welcome").await["type"] == "welcome",
        Err(answer) => {
            assert_eq!(answer.status, 401, "{answer:?}");
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "unauthorized");
            assert!(
                error["message"]
                    .as_str()
                    .is_some_and(|m| m.contains("revoked"))
            );
            false
        }
    };
    assert_eq!(by_socket, by_stream, "transports differ");
    by_socket
}

#[tokio::test]
async fn a_revoked_user_is_cut_on_every_node() {
    for way in WAYS {
        let database = way.database().await;
        let servers = [
            serve(&database, |settings| way.floor(settings)).await,
            serve(&database, |settings| way.floor(settings)).await,
        ];
        let (old, none) = (
            issued("1", -5),
            token_with(&json!({ "sub": "1", "exp": unix_now() + 600 })),
        );
        let (mut theirs, mut others) = (Vec::new(), Vec::new());
        for server in &servers {
            for transport in EVERY_TRANSPORT {
                for token in [&old, &none, &issued("1", 20)] {
                    theirs.push(connect(transport, server, token, "").await);
                }
                others.push(connect(transport, server, &issued("2", -5), "").await);
            }
        }
        for somebody in theirs.iter_mut().chain(&mut others) {
            somebody.expect("welcome").await;
        }
        // Between two polls the token that was issued later would come in again.
        for server in &servers {
            eventually("the polls are held", async || {
                (server.gate.hub.sizes().subscriptions == 12).then_some(())
            })
            .await;
        }
        database.run("select rowcast.revoke('1')").await;
        let began = Instant::now();
        for cut in &mut theirs {
            assert_cut(cut).await;
        }
        way.assert_in_time(began);
        marker(&database, &["*"]).await;
        for other in &mut others {
            other.expect_event("marker").await;
        }
        for cut in &theirs {
            assert!(cut.received.iter().all(|frame| frame["type"] != "event"));
        }
        for server in servers {
            assert!(!may_enter(&server, &old).await);
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn only_a_token_issued_later_gets_in_again() {
    let database = support::database().await;
    let server = serve(&database, |_| ()).await;
    database.run("select rowcast.revoke('1')").await;
    let at: i64 = database
        .ask("select floor(extract(epoch from at))::bigint from rowcast.revocation")
        .await;
    let issued_at =
        |iat: Value| token_with(&json!({ "sub": "1", "iat": iat, "exp": unix_now() + 600 }));
    // A fraction does not make it later than the second it lies in.
    for (iat, expected) in [
        (json!(at - 1), false),
        (json!(at), false),
        (
            json!(format!("{at}.999").parse::<f64>().expect("a number")),
            false,
        ),
        (json!(null), false),
        (json!(at + 1), true),
    ] {
        assert_eq!(
            may_enter(&server, &issued_at(iat.clone())).await,
            expected,
            "{iat}"
        );
    }
    // Whoever came with a new token may not go back to an old one.
    let mut socket = ws(&server, &issued_at(json!(at + 1)), "").await;
    socket.expect("welcome").await;
    let old = issued_at(json!(at));
    socket
        .send(json!({ "type": "auth", "token": old, "id": 1 }))
        .await;
    let error = socket.expect("error").await;
    assert_eq!(
        (&error["id"], &error["code"]),
        (&json!(1), &json!("unauthorized"))
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("revoked")),
        "{error}"
    );
    marker(&database, &["*"]).await;
    socket.expect_event("marker").await;
    // Another user of that name's beginning is somebody else, and a number is its digits.
    assert!(may_enter(&server, &issued("11", -5)).await);
    let number = token_with(&json!({ "sub": 1, "iat": at, "exp": unix_now() + 600 }));
    assert!(!may_enter(&server, &number).await);

    assert!(database.ask::<bool>("select rowcast.restore('1')").await);
    assert!(!database.ask::<bool>("select rowcast.restore('1')").await);
    assert!(may_enter(&server, &issued_at(json!(at - 1))).await);
    server.stop().await;
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    let database = support::database().await;
    let server = serve(&database, |settings| {
        settings.auth.leeway = Duration::from_secs(20);
    })
    .await;
    database.run("select rowcast.revoke('1')").await;
    let at: u64 = database
        .ask::<i64>("select floor(extract(epoch from at))::bigint from rowcast.revocation")
        .await
        .try_into()
        .expect("this century");
    for (iat, expected) in [(at + 20, false), (at + 21, true)] {
        let token = token_with(&json!({ "sub": "1", "iat": iat, "exp": unix_now() + 600 }));
        assert_eq!(may_enter(&server, &token).await, expected, "{}", iat - at);
    }
    server.stop().await;
}

on_every_version! { a_revocation_counts_from_its_commit revocations_are_forgotten_by_age }

/// An application that blocks a user and revokes them in one transaction issues tokens to others
/// meanwhile, and perhaps to this one.
async fn a_revocation_counts_from_its_commit(version: Version) {
    let database = support::on(version).await.database().await;
    let (mut one, other) = (database.client(SUPERUSER).await, database.superuser().await);
    let transaction = one.transaction().await.expect("a transaction");
    transaction
        .batch_execute("set constraints all immediate; select rowcast.revoke('1')")
        .await
        .expect("it is theirs");
    // Nobody else's revocation waits for it.
    database
        .run("set lock_timeout = '3s'; select rowcast.revoke('2'); select rowcast.recheck()")
        .await;
    let second = "select floor(extract(epoch from clock_timestamp()))::bigint";
    let began: i64 = database.ask(second).await;
    let issued_at = eventually("a second passes", async || {
        let now: i64 = database.ask(second).await;
        (now > began).then_some(now)
    })
    .await;
    transaction.commit().await.expect("a commit");
    let sql = "select rowcast.is_revoked(jsonb_build_object('sub', '1', 'iat', $1::bigint))";
    let revoked: bool = other
        .query_one(sql, &[&issued_at])
        .await
        .expect("it answers")
        .get(0);
    assert!(revoked, "issued before the commit, and survived");
    let versions = "select string_agg(sub || ' ' || version, ', ' order by sub) || ', ' ||
        (select access_version || ' ' || rules_version from rowcast.setting) from rowcast.revocation";
    assert_eq!(database.ask::<String>(versions).await, "1 3, 2 2, 3 1");
    // Again: later, and another version.
    database.run("select rowcast.revoke('1')").await;
    let again = "select version from rowcast.revocation where sub = '1'";
    assert_eq!(database.ask::<i64>(again).await, 4);
}

async fn revocations_are_forgotten_by_age(version: Version) {
    let database = support::on(version).await.database().await;
    database
        .run("select rowcast.revoke(n::text) from generate_series(1, 3) n")
        .await;
    database
        .run("update rowcast.revocation set at = at - interval '2 days' where sub <> '3'")
        .await;
    let forget = "select rowcast.forget_revocations('1 day')";
    assert_eq!(database.ask::<i64>(forget).await, 2);
    assert_eq!(database.ask::<i64>(forget).await, 0);
    // A negative age would remove those of this moment, too.
    let superuser = database.superuser().await;
    let negative = "select rowcast.forget_revocations('-1 day')";
    let refused = superuser.batch_execute(negative).await;
    let refused = refused.expect_err("that is no age");
    assert_eq!(refused.code().map(SqlState::code), Some("RC003"));
    assert!(
        !database
            .ask::<bool>("select rowcast.is_revoked('{\"sub\":\"1\"}')")
            .await
    );
    assert!(
        database
            .ask::<bool>("select rowcast.is_revoked('{\"sub\":\"3\"}')")
            .await
    );
    assert!(
        !database
            .ask::<bool>("select rowcast.is_revoked('{\"iat\":1}')")
            .await
    );
}

#[tokio::test]
async fn a_revocation_while_the_listener_is_lost_is_heard_when_it_is_back() {
    let database = Way::Looked.database().await;
    let server = serve(&database, |_| ()).await;
    let mut theirs = ws(&server, &issued("1", -5), "").await;
    theirs.expect("welcome").await;
    database
        .run(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid();
             select rowcast.revoke('1')",
        )
        .await;
    assert_cut(&mut theirs).await;
    server.stop().await;
}

/// Somebody with small buffers, who asks by this transport and then reads nothing.
async fn stalled(server: &Server, transport: Transport, token: &str, query: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let address = server.address.parse().expect("an address");
    let mut stream = socket.connect(address).await.expect("it listens");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (path, more) = match transport {
        Transport::WebSocket => ("/ws", upgrade),
        Transport::Sse => ("/sse", "connection: close\r\n"),
        Transport::Poll => panic!("a poll does not stay open"),
    };
    let request = format!("GET {path}?token={token}&{query} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    within("the request", stream.write_all(request.as_bytes()))
        .await
        .expect("it takes it");
    let mut first = [0; 1];
    within("an answer", stream.read_exact(&mut first))
        .await
        .expect("an answer");
    stream
}

const BIG: &str = "select rowcast.emit('c', 'big', array['*'], to_json(repeat('x', 50000)))";

/// What is still to be read.
struct Rest {
    bytes: Vec<u8>,
    /// Whole ones.
    events: usize,
}

impl Rest {
    /// Torn or closed, it ends.
    async fn of(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut bytes)).await;
        let events = bytes
            .windows(9)
            .filter(|nine| nine == b"xxxxxxxx\"")
            .count();
        Self { bytes, events }
    }

    fn says(&self, word: &str) -> bool {
        self.bytes
            .windows(word.len())
            .any(|bytes| bytes == word.as_bytes())
    }
}

#[tokio::test]
async fn a_stalled_reader_is_cut_as_soon_as_it_is_revoked() {
    for transport in TRANSPORTS {
        let database = support::database().await;
        let server = serve(&database, |settings| {
            settings.limits.queue_bytes = 100_000_000;
            settings.limits.write_stall = Duration::from_secs(60);
            Way::Notified.floor(settings);
        })
        .await;
        let stuck = stalled(&server, transport, &issued("1", -5), "").await;
        // Some more than 20: what lies in the kernel's buffers may still grow a little.
        let sent = server.fill(&database, BIG, 1_500_000).await;
        database.run("select rowcast.revoke('1')").await;
        let began = Instant::now();
        eventually("it is cut", async || {
            (server.gate.seats.taken() == 0).then_some(())
        })
        .await;
        Way::Notified.assert_in_time(began);
        assert_eq!(server.gate.hub.sizes().queue_bytes, 0);
        if transport == Transport::WebSocket {
            // What the system had taken is thrown away, and not sent to whoever reads on.
            eventually("it is reset", async || {
                let error = socket2::SockRef::from(&stuck).take_error();
                error.expect("it is a socket").map(drop)
            })
            .await;
        }
        let rest = Rest::of(stuck).await;
        Way::Notified.assert_in_time(began);
        let (came, bytes) = (rest.events, rest.bytes.len());
        eprintln!("{transport:?}: {came} of {sent}, {bytes} bytes");
        assert!(
            came + 20 < sent,
            "{transport:?}: {came} of {sent}, and 20 waited"
        );
        let bound = if transport == Transport::Sse {
            200_000
        } else {
            50_000
        };
        assert!(
            bytes < bound,
            "{transport:?}: {bytes} bytes came after the cut"
        );
        server.stop().await;
    }
}

/// A server, and somebody who has been revoked just now in the middle of a long replay.
async fn revoked_in_a_replay(transport: Transport) -> (Server, TcpStream) {
    let database = support::database().await;
    let (since, _) = support::long_replay(&database, "*").await;
    let server = serve(&database, |settings| Way::Notified.floor(settings)).await;
    let query = format!("since={since}");
    let mut reader = stalled(&server, transport, &issued("1", -5), &query).await;
    let mut some = vec![0; 100_000];
    within("the replay", reader.read_exact(&mut some))
        .await
        .expect("it comes");
    database.run("select rowcast.revoke('1')").await;
    (server, reader)
}

#[tokio::test]
async fn a_replay_ends_in_the_middle_when_its_reader_is_revoked() {
    for transport in TRANSPORTS {
        let (server, reader) = revoked_in_a_replay(transport).await;
        let began = Instant::now();
        eventually("it is cut", async || {
            (server.gate.seats.taken() == 0).then_some(())
        })
        .await;
        Way::Notified.assert_in_time(began);
        let came = Rest::of(reader).await.events;
        Way::Notified.assert_in_time(began);
        assert!(came < 1000, "{transport:?}: {came} of 1500");
        server.stop().await;
    }
}

/// The same by a reader that reads on, as fast as it can: it is told why.
#[tokio::test]
async fn a_replay_that_flows_ends_when_its_reader_is_revoked() {
    for transport in TRANSPORTS {
        let (server, reader) = revoked_in_a_replay(transport).await;
        let mut unheard = Instant::now();
        eventually("it has heard", async || {
            let now = Instant::now();
            if server.gate.hub.access_known() == 1 {
                return Some(());
            }
            unheard = now;
            None
        })
        .await;
        let rest = Rest::of(reader).await;
        let took = unheard.elapsed();
        eprintln!("{transport:?}: {} of 1500 more", rest.events);
        assert!(rest.events < 1000, "{transport:?}: {}", rest.events);
        // Whoever stood still for as long as last words may take is torn, and rightly.
        assert!(
            rest.says("revoked") || took > Refusal::Revoked.grace(),
            "{transport:?}: torn after {took:?}"
        );
        server.stop().await;
    }
}

#[tokio::test]
async fn a_token_that_expires_cuts_a_stalled_reader_in_its_replay() {
    let database = support::database().await;
    let (since, _) = support::long_replay(&database, "*").await;
    let server = serve(&database, |settings| {
        settings.database.statement_timeout = Duration::from_secs(60);
        // Longer than the token lasts.
        settings.limits.write_stall = Duration::from_secs(60);
    })
    .await;
    let (brief, expires) = brief(json!({ "sub": "1" }));
    let mut readers = Vec::new();
    for transport in TRANSPORTS {
        for query in [format!("since={since}"), String::new()] {
            readers.push(stalled(&server, transport, &brief, &query).await);
        }
    }
    // Those without a replay stand still, too.
    eventually("their events wait", async || {
        database.run(BIG).await;
        // All at once could be more than a queue holds.
        server.has_read(&database).await;
        (server.gate.hub.sizes().queue_bytes > 100_000).then_some(())
    })
    .await;
    assert_eq!(server.gate.seats.taken(), 4);
    eventually("all are cut", async || {
        (server.gate.seats.taken() == 0).then_some(())
    })
    .await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let late = now
        .expect("after 1970")
        .saturating_sub(Duration::from_secs(expires));
    eprintln!("{late:?} after expiry");
    assert!(unix_now() >= expires && late < SECOND + SLACK, "{late:?}");
    server.stop().await;
}

/// The next frame has to say that this room is gone.
async fn assert_withdrawn(subscriber: &mut Subscriber, room: &str) {
    let error = subscriber.expect("error").await;
    assert_eq!(
        (&error["code"], &error["room"]),
        (&json!("forbidden"), &json!(room))
    );
}

#[tokio::test]
async fn a_withdrawn_rule_takes_its_rooms_on_every_node() {
    for way in WAYS {
        for change in [
            "delete from rowcast.room_rule where pattern = 'org:*'",
            "update rowcast.room_rule set may_join = 'public.no(jsonb, text)' where pattern = 'org:*'",
            "insert into rowcast.room_rule values ('org:1', 'public.no(jsonb, text)')",
            "alter table rowcast.room_rule disable trigger _800_rowcast_access;
             truncate rowcast.room_rule;
             insert into rowcast.room_rule values ('open', 'public.yes(jsonb, text)');
             alter table rowcast.room_rule enable always trigger _800_rowcast_access",
            "delete from public.members; select rowcast.recheck()",
        ] {
            let database = way.database().await;
            database.run(RULES).await;
            let servers = [
                serve(&database, |settings| way.floor(settings)).await,
                serve(&database, |settings| way.floor(settings)).await,
            ];
            let mut everybody = Vec::new();
            for server in &servers {
                for transport in EVERY_TRANSPORT {
                    let query = "rooms=org:1,open";
                    let mut one = connect(transport, server, &issued("1", -5), query).await;
                    let rooms = one.expect("welcome").await["rooms"].clone();
                    assert_eq!(rooms, json!(["home:1", "org:1", "open"]));
                    everybody.push(one);
                }
            }
            database.run(change).await;
            let began = Instant::now();
            for one in &mut everybody {
                assert_withdrawn(one, "org:1").await;
            }
            way.assert_in_time(began);
            database
                .run("select rowcast.emit('c', 'secret', array['org:1'], '{}')")
                .await;
            for room in ["open", "home:1", "*"] {
                marker(&database, &[room]).await;
                for one in &mut everybody {
                    one.expect_event("marker").await;
                }
            }
            for server in servers {
                server.stop().await;
            }
        }
    }
}

/// Where names are always quoted, no function was a rule, and no query had the right columns.
#[tokio::test]
async fn quoted_identifiers_change_no_type() {
    let database = support::database().await;
    database
        .run(
            "create schema app; grant usage on schema app to rowcast_owner; create table app.t (id int);
             create function app.home(jsonb) returns text[] language sql as 'select null::text[]';
             set quote_all_identifiers = on;
             insert into rowcast.home_rule values ('app.home(jsonb)');
             select rowcast.attach('app.t', 'insert', $$ select 'made' as name, array['*'] as rooms,
               to_json(id) as data from new_rows $$);
             reset quote_all_identifiers",
        )
        .await;
    let rule = "select rooms_of from rowcast.home_rule";
    assert_eq!(database.ask::<String>(rule).await, "app.home(jsonb)");
}

/// One home rule that can't be asked would keep everybody out.
#[tokio::test]
async fn a_rule_that_cant_be_asked_is_refused_where_it_is_written() {
    let database = support::database().await;
    database.run(RULES).await;
    database
        .run(
            "create schema closed;
             create function closed.home(jsonb) returns text[] language sql as 'select null::text[]';
             create function public.shut(jsonb) returns text[] language sql as 'select null::text[]';
             revoke execute on function public.shut(jsonb) from public;
             create function public.many(jsonb) returns setof text[] language sql as 'select null::text[]';
             create function public.session(text) returns jsonb language sql as 'select null::jsonb'",
        )
        .await;
    let superuser = database.superuser().await;
    for (written, code) in [
        (
            "insert into rowcast.home_rule values ('lower(text)')",
            "RC003",
        ),
        (
            "insert into rowcast.home_rule values ('public.home')",
            "RC003",
        ),
        (
            "insert into rowcast.home_rule values ('nowhere.home(jsonb)')",
            "RC003",
        ),
        ("insert into rowcast.home_rule values (null)", "RC003"),
        (
            "insert into rowcast.home_rule values ('public.many(jsonb)')",
            "RC003",
        ),
        (
            "insert into rowcast.home_rule values ('public.session(text)')",
            "RC003",
        ),
        (
            "insert into rowcast.home_rule values ('closed.home(jsonb)')",
            "RC004",
        ),
        (
            "insert into rowcast.home_rule values ('public.shut(jsonb)')",
            "RC004",
        ),
        (
            "insert into rowcast.room_rule values ('x', 'public.home(jsonb)')",
            "RC003",
        ),
        (
            "update rowcast.room_rule set may_join = 'lower(text)'",
            "RC003",
        ),
        (
            "insert into rowcast.session_rule values ('s', 'public.home(jsonb)')",
            "RC003",
        ),
    ] {
        let error = superuser.batch_execute(written).await.expect_err(written);
        let error = error.as_db_error().expect(written);
        assert_eq!(error.code().code(), code, "{written}: {error:?}");
        assert!(error.hint().is_some(), "{written}: no hint");
    }
    database
        .run("insert into rowcast.session_rule values ('s', 'public.session(text)')")
        .await;
}

/// A deploy that changes what a function returns drops it and creates another.
async fn a_rule_finds_its_function_after_a_deploy(version: Version) {
    const ACCESS: &str = "select concat_ws(' ', array_to_string(home, ','),
          array_to_string(allowed, ','), failed)
        from rowcast.access('[{\"claims\": {\"sub\": \"1\"}, \"rooms\": [\"org:1\", \"open\"]},
          {\"claims\": null, \"rooms\": [], \"session\": {\"s\": \"x\"}}]')";
    let database = on(version).await.database().await;
    database.run(RULES).await;
    database
        .run(
            "create function public.session(text) returns jsonb language sql
               as $$ select '{\"sub\": \"2\"}'::jsonb $$;
             insert into rowcast.session_rule values ('s', 'public.session(text)')",
        )
        .await;
    let answers = async || -> Vec<String> {
        let rows = database.superuser().await.query(ACCESS, &[]).await;
        let rows = rows.expect("answers");
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(answers().await, ["home:1 org:1,open", "home:2 "]);
    let gone = "there is no function public.";
    let all = "home(jsonb), public.yes(jsonb, text), public.session(text)";
    database.run(&format!("drop function public.{all}")).await;
    let failed = answers().await;
    for (answer, rule) in failed.iter().zip([
        "the home rule public.home(jsonb)",
        "the session rule public.session(text)",
    ]) {
        let answer = answer.trim_start();
        assert!(answer.starts_with(rule), "let in, or not named: {answer}");
        assert!(answer.contains(gone), "{answer}");
    }
    // A room rule that can't be asked says no, and no more than that.
    database
        .run(
            "create function public.home(c jsonb) returns text[] language sql
               as $$ select array['new:' || (c ->> 'sub')] $$;
             create function public.session(text) returns jsonb language sql
               as $$ select '{\"sub\": \"3\"}'::jsonb $$",
        )
        .await;
    assert_eq!(answers().await, ["new:1 org:1", "new:3 "]);
    database
        .run(
            "create function public.yes(c jsonb, room text) returns boolean language sql
               as $$ select room = 'open' $$",
        )
        .await;
    assert_eq!(answers().await, ["new:1 org:1,open", "new:3 "]);
    // One that is there and fails is named as well: operators have to find it.
    database
        .run(
            "create or replace function public.home(c jsonb) returns text[] language plpgsql
               as $$ begin raise exception 'out of order'; end $$",
        )
        .await;
    let named = "the home rule public.home(jsonb) failed with SQLSTATE P0001";
    assert_eq!(answers().await[0].trim_start(), named);
}

/// By the search_path of whoever writes, as a value of type regprocedure, or as an oid.
async fn a_rule_is_kept_by_its_full_signature(version: Version) {
    let database = on(version).await.database().await;
    database.run(RULES).await;
    database
        .run(
            "create schema \"My app\"; grant usage on schema \"My app\" to rowcast_owner;
             create function \"My app\".\"Home\"(jsonb) returns text[] language sql
               as $$ select array['mine'] $$",
        )
        .await;
    let superuser = database.superuser().await;
    for same in [
        "('public.home(jsonb)')",
        "('home( jsonb )')",
        "('home(jsonb)'::regprocedure)",
        "('public.home(jsonb)'::regprocedure::oid)",
    ] {
        let sql = format!("insert into rowcast.home_rule values {same}");
        let error = superuser.batch_execute(&sql).await.expect_err(same);
        assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION), "{same}");
    }
    let missing = "insert into rowcast.home_rule values ('public.nowhere(jsonb)')";
    let error = superuser.batch_execute(missing).await.expect_err(missing);
    let error = error.as_db_error().expect(missing);
    assert_eq!(error.code().code(), "RC003", "{error}");
    assert!(error.message().contains("does not exist"), "{error}");
    database
        .run(
            "set search_path = \"My app\";
             insert into rowcast.home_rule values ('\"Home\"(jsonb)');
             update rowcast.room_rule set may_join = 'public.no(jsonb,text)'::regprocedure
               where pattern = 'open';
             reset search_path",
        )
        .await;
    let kept = "select string_agg(r, ' ' order by r collate \"C\") from (
        select rooms_of from rowcast.home_rule union select may_join from rowcast.room_rule) k (r)";
    assert_eq!(
        database.ask::<String>(kept).await,
        "\"My app\".\"Home\"(jsonb) public.home(jsonb) public.in_org(jsonb,text) public.no(jsonb,text)"
    );
    let home = "select array_to_string(home, ' ') from rowcast.access(
        '[{\"claims\": {\"sub\": \"1\"}, \"rooms\": []}]')";
    assert_eq!(database.ask::<String>(home).await, "mine home:1");
}

on_every_version! {
    a_rule_finds_its_function_after_a_deploy
    a_rule_is_kept_by_its_full_signature
}

#[tokio::test]
async fn a_home_room_is_kept_where_a_rule_admits_it() {
    let database = support::database().await;
    database.run(RULES).await;
    database
        .run("insert into rowcast.room_rule values ('home:2', 'public.yes(jsonb, text)')")
        .await;
    let server = serve(&database, |_| ()).await;
    let mut one = ws(&server, &issued("1", -5), "").await;
    let mut two = sse(&server, &issued("2", -5), "").await;
    one.expect("welcome").await;
    two.expect("welcome").await;
    database.run("delete from rowcast.home_rule").await;
    assert_withdrawn(&mut one, "home:1").await;
    marker(&database, &["home:1", "home:2"]).await;
    two.expect_event("marker").await;
    // A home room that is granted later is not joined by itself, but may be asked for.
    database
        .run("insert into rowcast.home_rule values ('public.home(jsonb)')")
        .await;
    one.send(json!({ "type": "subscribe", "rooms": ["home:1"] }))
        .await;
    one.expect("subscribed").await;
    marker(&database, &["home:1"]).await;
    one.expect_event("marker").await;
    server.stop().await;
}

/// Withdraws the rule of `org:1`, and waits until nobody is in it: until there are so many rooms, the one of
/// everybody among them.
async fn withdraw_org(database: &Database, server: &Server, left: usize) {
    database
        .run("delete from rowcast.room_rule where pattern = 'org:*'")
        .await;
    eventually("the room is empty", async || {
        (server.gate.hub.sizes().rooms == left).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_a_withdrawn_room_is_not_delivered() {
    for transport in TRANSPORTS {
        let database = support::database().await;
        database.run(RULES).await;
        let server = serve(&database, |settings| {
            settings.limits.queue_bytes = 100_000_000;
            settings.limits.write_stall = Duration::from_secs(60);
        })
        .await;
        let mut reader = connect(transport, &server, &issued("1", -5), "rooms=org:1,open").await;
        reader.expect("welcome").await;
        let emit = "insert into rowcast.event (channel, name, rooms, data)
            select 'c', 'secret', array['org:1'], to_json(repeat('x', 100000)) from generate_series(1, 20)";
        let sent = 20 * server.fill(&database, emit, 5_000_000).await;
        // What one look finds together with the change comes behind the news of it: somebody else has
        // to have the marker first.
        let mut witness = connect(transport, &server, &issued("1", -5), "rooms=open").await;
        witness.expect("welcome").await;
        marker(&database, &["open"]).await;
        witness.frames_until("marker").await;
        withdraw_org(&database, &server, 3).await;
        let before = reader.frames_until("marker").await;
        assert!(
            before.len() + 40 < sent,
            "{transport:?}: {} of {sent}",
            before.len()
        );
        // Told before a bookmark that lies behind what is left out: whoever was cut off between them came back
        // from there, and lacked it in silence if the room was granted again meanwhile.
        let last = before.last().expect("the word that it was taken");
        assert_eq!(
            (&last["code"], &last["room"]),
            (&json!("forbidden"), &json!("org:1"))
        );
        server.stop().await;
    }
}

/// It came for as long as a slow reader took to read all that had waited when the room was taken, a
/// mebibyte and more: each of the two ways to the socket had it spelled already.
#[tokio::test]
async fn a_reader_that_takes_little_gets_little_more_of_a_withdrawn_room() {
    for (transport, size) in [
        (Transport::WebSocket, 1000),
        (Transport::WebSocket, 40_000),
        (Transport::Sse, 1000),
        (Transport::Sse, 40_000),
    ] {
        let database = support::database().await;
        database.run(RULES).await;
        let server = serve(&database, |settings| {
            settings.limits.queue_bytes = 100_000_000;
            settings.limits.write_stall = Duration::from_secs(60);
        })
        .await;
        let query = "rooms=org:1";
        let mut reader = stalled(&server, transport, &issued("1", -5), query).await;
        let sent = 2_000_000 / size;
        let emit = format!(
            "insert into rowcast.event (channel, name, rooms, data)
             select 'c', 'secret', array['org:1'], to_json(repeat('x', {size})) from generate_series(1, {sent})"
        );
        database.run(&emit).await;
        server.has_read(&database).await;
        // A little of it: it is not at rest.
        let mut some = vec![0; 10_000];
        within("some", reader.read_exact(&mut some))
            .await
            .expect("it comes");
        withdraw_org(&database, &server, 2).await;
        let mut rest = Vec::new();
        let told = async {
            while !rest.windows(9).any(|nine| nine == b"forbidden") {
                reader.read_buf(&mut rest).await.expect("it goes on");
            }
        };
        within("the word that it was taken", told).await;
        eprintln!("{transport:?}, {size}: {} bytes", rest.len());
        // As the documents have it: `limits.unsent_bytes`, a step, and what systems take.
        assert!(rest.len() < 500_000, "{transport:?}: {}", rest.len());
        server.stop().await;
    }
}

/// Renders a state once the test lets it. With a lock_timeout of its own, for a renderer is given 200 ms, and a test may
/// take longer.
const HELD: &str = "
    create function public.held(keys jsonb[]) returns table (key jsonb, data json)
    language plpgsql stable set lock_timeout = '1min' as $$
    begin
      perform pg_advisory_xact_lock_shared(42);
      return query select k, k::json from unnest(keys) k;
    end $$;
    select rowcast.ensure_history()";

/// A number that was counted while a room was still theirs is not told once it is taken: what follows is as
/// many as it says.
#[tokio::test]
async fn a_room_that_is_taken_while_its_replay_is_read_is_not_counted() {
    let database = support::database().await;
    database.run(RULES).await;
    database.run(HELD).await;
    let since = database.bookmark().await;
    database
        .run(
            "insert into rowcast.event (channel, name, rooms, data, render) values
               ('c', 'secret', array['org:1'], '{}', null),
               ('c', 'state', array['open'], '{}', 'public.held')",
        )
        .await;
    // Its ring does not reach back so far.
    let server = serve(&database, |settings| Way::Notified.floor(settings)).await;
    database.run("select pg_advisory_lock(42)").await;
    let query = format!("rooms=org:1,open&since={since}");
    let mut reader = ws(&server, &issued("1", -5), &query).await;
    rule_waits(&database).await;
    withdraw_org(&database, &server, 3).await;
    database.run("select pg_advisory_unlock(42)").await;
    let rooms = reader.expect("welcome").await["rooms"].clone();
    assert_eq!(rooms, json!(["home:1", "open"]));
    assert_withdrawn(&mut reader, "org:1").await;
    assert_eq!(reader.expect("subscribed").await["count"], 1);
    reader.expect_event("state").await;
    server.stop().await;
}

/// Nothing was left of the replay, and so the first frame had the place behind it: whoever was cut off there, and
/// was granted the room again, lacked it in silence.
#[tokio::test]
async fn a_welcome_does_not_lie_behind_what_a_room_that_is_taken_leaves_out() {
    for transport in TRANSPORTS {
        let database = support::database().await;
        database.run(RULES).await;
        database.run(HELD).await;
        let since = database.bookmark().await;
        database
            .run(
                "insert into rowcast.event (channel, name, rooms, data, render)
                 values ('c', 'state', array['org:1'], '{}', 'public.held')",
            )
            .await;
        // Its ring does not reach back so far.
        let server = serve(&database, |settings| Way::Notified.floor(settings)).await;
        database.run("select pg_advisory_lock(42)").await;
        let query = format!("rooms=org:1&since={since}");
        let mut reader = connect(transport, &server, &issued("1", -5), &query).await;
        rule_waits(&database).await;
        withdraw_org(&database, &server, 2).await;
        database.run("select pg_advisory_unlock(42)").await;
        let welcome = reader.expect("welcome").await;
        assert_eq!(welcome["rooms"], json!(["home:1"]), "{transport:?}");
        assert_withdrawn(&mut reader, "org:1").await;
        // From here on it is told.
        assert_eq!(reader.expect("subscribed").await["count"], 0);
        let again = "insert into rowcast.room_rule values ('org:*', 'public.in_org(jsonb, text)')";
        heard(&database, &server, again).await;
        let place = welcome["bookmark"].as_str().expect("a place");
        let query = format!("rooms=org:1&since={place}");
        let mut back = connect(transport, &server, &issued("1", -5), &query).await;
        back.expect("welcome").await;
        assert_eq!(back.expect("subscribed").await["count"], 1);
        back.expect_event("state").await;
        server.stop().await;
    }
}

/// Who counted took the live events behind it for the rest of the replay: what follows another state, in the
/// browser, never heard of them.
#[tokio::test]
async fn a_replay_that_a_withdrawn_room_cuts_short_says_where_it_ends() {
    for transport in TRANSPORTS {
        let database = support::database().await;
        database.run(RULES).await;
        let (since, count) = support::long_replay(&database, "org:1").await;
        let server = serve(&database, |settings| {
            settings.limits.write_stall = Duration::from_secs(60);
        })
        .await;
        let query = format!("rooms=org:1,open&since={since}");
        let mut reader = connect(transport, &server, &issued("1", -5), &query).await;
        reader.expect("welcome").await;
        assert_eq!(reader.expect("subscribed").await["count"], count);
        marker(&database, &["open"]).await;
        eventually("the marker waits", async || {
            (server.gate.hub.sizes().queue_bytes > 0).then_some(())
        })
        .await;
        withdraw_org(&database, &server, 3).await;
        reader.frames_until("marker").await;
        let kinds = reader.received.iter().map(|frame| &frame["name"]);
        let events = kinds.filter(|name| *name == "big").count();
        assert!(events < count, "{transport:?}");
        let [.., last, taken, end, marker] = &*reader.received else {
            panic!("less than that")
        };
        assert_eq!(
            (&last["name"], &taken["room"], &end["type"]),
            (&json!("big"), &json!("org:1"), &json!("heartbeat"))
        );
        assert_eq!(marker["name"], "marker", "{transport:?}");
        // Whoever comes back from there lacks the marker.
        let place = end["bookmark"].as_str().expect("a place").to_owned();
        let query = format!("rooms=open&since={place}");
        let mut back = connect(transport, &server, &issued("1", -5), &query).await;
        back.expect("welcome").await;
        assert_eq!(back.expect("subscribed").await["count"], 1);
        server.stop().await;
    }
}

/// The rule waits for the test, with the snapshot of the question taken already.
const SLOW_RULE: &str = "
    create or replace function public.in_org(claims jsonb, room text) returns boolean
    language plpgsql as $$
    begin
      perform pg_advisory_xact_lock_shared(42);
      return true;
    end $$";

/// Asks for a room while `change` is committed and heard, and before the answer.
async fn admitted_under_old_rules(
    database: &Database,
    server: &Server,
    change: &str,
    ask: impl AsyncFnOnce(),
) {
    database.run(SLOW_RULE).await;
    database.run("select pg_advisory_lock(42)").await;
    let changed = async {
        rule_waits(database).await;
        heard(database, server, change).await;
        database.run("select pg_advisory_unlock(42)").await;
    };
    tokio::join!(ask(), changed);
}

async fn rule_waits(database: &Database) {
    eventually("the rule waits", async || {
        let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database())";
        (database.ask::<i64>(waits).await == 1).then_some(())
    })
    .await;
}

/// Commits a change, of which the node has heard then.
async fn heard(database: &Database, server: &Server, change: &str) {
    let before = server.gate.hub.access_known();
    database.run(change).await;
    eventually("the node has heard", async || {
        (server.gate.hub.access_known() > before).then_some(())
    })
    .await;
}

/// Both were told that the room was no longer theirs, and stayed away from it: one who was granted it again
/// and subscribed meanwhile, and one to whom a new token gave it.
#[tokio::test]
async fn an_answer_takes_nothing_that_was_granted_behind_its_question() {
    let database = support::database().await;
    database.run(RULES).await;
    // For user 3 it waits for the test; all see the snapshot of their question.
    database
        .run(
            "create or replace function public.in_org(claims jsonb, room text) returns boolean
             language plpgsql stable as $$
             begin
               if claims ->> 'sub' = '3' then
                 perform pg_advisory_xact_lock_shared(42);
               end if;
               return claims ->> 'role' = 'member' or exists (select from public.members m
                 where m.sub = claims ->> 'sub' and room = 'org:' || m.org);
             end $$",
        )
        .await;
    let server = serve(&database, |settings| Way::Notified.floor(settings)).await;
    let mut sockets = Vec::new();
    for user in ["1", "2", "3"] {
        let mut socket = ws(&server, &issued(user, -5), "rooms=org:1").await;
        socket.expect("welcome").await;
        sockets.push(socket);
    }
    database.run("select pg_advisory_lock(42)").await;
    let recheck = "delete from public.members where sub < '3'; select rowcast.recheck()";
    heard(&database, &server, recheck).await;
    rule_waits(&database).await;
    let recheck = "insert into public.members values ('1', '1'); select rowcast.recheck()";
    heard(&database, &server, recheck).await;
    sockets[0]
        .send(json!({ "type": "subscribe", "rooms": ["org:1"] }))
        .await;
    sockets[0].expect("subscribed").await;
    let renewed = json!({ "sub": "2", "role": "member", "exp": unix_now() + 600 });
    sockets[1]
        .send(json!({ "type": "auth", "token": token_with(&renewed) }))
        .await;
    sockets[1].expect("authenticated").await;
    database.run("select pg_advisory_unlock(42)").await;
    eventually("all are asked for", async || {
        server.gate.hub.stale().is_empty().then_some(())
    })
    .await;
    marker(&database, &["org:1"]).await;
    marker(&database, &["*"]).await;
    for socket in &mut sockets {
        assert_eq!(socket.frames_until("marker").await, [] as [Value; 0]);
        socket.expect_event("marker").await;
    }
    // And what they are asked for next is obeyed.
    database
        .run("delete from public.members; select rowcast.recheck()")
        .await;
    assert_withdrawn(&mut sockets[0], "org:1").await;
    marker(&database, &["*"]).await;
    sockets[1].expect_event("marker").await;
    server.stop().await;
}

#[tokio::test]
async fn who_is_admitted_under_old_rules_and_enters_after_the_change_is_asked_again() {
    let withdraw = "delete from rowcast.room_rule where pattern = 'org:*'";
    for transport in EVERY_TRANSPORT {
        let database = support::database().await;
        database.run(RULES).await;
        let server = serve(&database, |settings| Way::Notified.floor(settings)).await;
        admitted_under_old_rules(&database, &server, withdraw, async || {
            let mut late = connect(transport, &server, &issued("1", -5), "rooms=org:1").await;
            let rooms = late.expect("welcome").await["rooms"].clone();
            // It may be asked for again before the welcome is written.
            assert!(rooms == json!(["home:1", "org:1"]) || rooms == json!(["home:1"]));
            assert_withdrawn(&mut late, "org:1").await;
        })
        .await;
        server.stop().await;
        if transport == Transport::Poll {
            // It asks anew with each poll, as who reconnects would.
            continue;
        }

        let database = support::database().await;
        database.run(RULES).await;
        let server = serve(&database, |settings| Way::Notified.floor(settings)).await;
        let revoke = "select rowcast.revoke('1')";
        admitted_under_old_rules(&database, &server, revoke, async || {
            // What it says of its issue does not help it: it was shown before.
            let token = issued("1", 30);
            assert_cut(&mut connect(transport, &server, &token, "rooms=org:1").await).await;
        })
        .await;
        server.stop().await;
    }
    let database = support::database().await;
    database.run(RULES).await;
    let server = serve(&database, |settings| Way::Notified.floor(settings)).await;
    let mut socket = ws(&server, &issued("1", -5), "").await;
    socket.expect("welcome").await;
    admitted_under_old_rules(&database, &server, withdraw, async || {
        socket
            .send(json!({ "type": "subscribe", "rooms": ["org:1"] }))
            .await;
        socket.expect("subscribed").await;
        assert_withdrawn(&mut socket, "org:1").await;
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_rule_that_fails_is_asked_again_and_nobody_is_cut_for_it() {
    let database = support::database().await;
    database.run(RULES).await;
    database
        .run(
            "create or replace function public.home(claims jsonb) returns text[] language sql as $$
               select array_agg('org:' || m.org) from public.members m where m.sub = claims ->> 'sub'
             $$",
        )
        .await;
    let server = serve(&database, |settings| {
        // Longer than it fails below.
        settings.limits.recheck_patience = Duration::from_secs(60);
    })
    .await;
    let mut one = ws(&server, &issued("1", -5), "").await;
    let mut two = sse(&server, &issued("2", -5), "").await;
    for somebody in [&mut one, &mut two] {
        assert_eq!(somebody.expect("welcome").await["rooms"], json!(["org:1"]));
    }
    database
        .run("alter table public.members rename to away; select rowcast.recheck()")
        .await;
    eventually("it has heard", async || {
        (!server.gate.hub.stale().is_empty()).then_some(())
    })
    .await;
    marker(&database, &["*"]).await;
    for somebody in [&mut one, &mut two] {
        somebody.expect_event("marker").await;
    }
    assert_eq!(
        server.gate.hub.stale().len(),
        2,
        "nobody is confirmed by a failure"
    );
    database
        .run("delete from public.away where sub = '1'; alter table public.away rename to members")
        .await;
    assert_withdrawn(&mut one, "org:1").await;
    eventually("all are asked for", async || {
        server.gate.hub.stale().is_empty().then_some(())
    })
    .await;
    marker(&database, &["org:1"]).await;
    two.expect_event("marker").await;
    marker(&database, &["*"]).await;
    assert!(one.events_until("marker").await.is_empty());
    server.stop().await;
}

/// Whoever looks for the reason has to be sent to their own SQL.
#[tokio::test]
async fn a_rule_that_fails_is_not_told_as_a_database_that_is_away() {
    let database = support::database().await;
    database.run(RULES).await;
    database
        .run(
            "create or replace function public.home(claims jsonb) returns text[] language sql as $$
               select array[(1 / (length(claims ->> 'sub') - 1))::text]
             $$",
        )
        .await;
    let mut program = serve_process(&database, &[]).await;
    let bearer = format!("Bearer {}", issued("1", -5));
    let headers = [("authorization", bearer.as_str())];
    let answer = eventually("it is ready to ask", async || {
        let answer = get(&program, "/poll", &headers).await;
        (!answer.body.contains("away")).then_some(answer)
    })
    .await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (503, &json!("overloaded"))
    );
    assert!(answer.body.contains("a rule of this session"), "{answer:?}");
    let line = program.log_line("a rule failed").await;
    let named = "the home rule public.home(jsonb) failed with SQLSTATE 22012";
    assert!(line.contains("admission") && line.contains(named), "{line}");
    assert!(!program.log().contains("the database could not be asked"));
}

/// What a rule fails with quotes what it was asked with, and whoever sends it again and again would
/// have filled the disk with that.
#[tokio::test]
async fn no_cookie_is_logged_and_no_client_fills_a_log() {
    let database = support::database().await;
    database
        .run(
            "create function public.session(cookie text) returns jsonb language sql stable
               as $$ select jsonb_build_object('sub', cookie::uuid) $$;
             create function public.numbered(claims jsonb, room text) returns boolean
               language sql stable as $$ select room::bigint > 0 $$;
             insert into rowcast.session_rule values ('sid', 'public.session(text)');
             insert into rowcast.room_rule values ('*', 'public.numbered(jsonb, text)')",
        )
        .await;
    let mut program = serve_process(&database, &[]).await;
    let headers = [("cookie", "sid=SECRET"), ("sec-fetch-site", "same-origin")];
    const TIMES: usize = 60;
    for _ in 0..TIMES {
        let answer = get(&program, "/poll", &headers).await;
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    let line = program.log_line("a rule failed").await;
    let named = "the session rule public.session(text) failed with SQLSTATE 22P02";
    assert!(line.contains(named), "{line}");
    let lines = program.log().matches("a rule failed").count();
    assert!(lines < TIMES / 2, "{lines} lines for {TIMES} cookies");
    assert!(!program.log().contains("SECRET"));

    let asked = "select refusing from rowcast.access(
        '[{\"claims\": {\"sub\": \"1\"}, \"rooms\": [\"1\", \"SECRET\", \"other\"]}]')";
    assert_eq!(
        database.ask::<String>(asked).await,
        "the room rule public.numbered(jsonb,text) failed with SQLSTATE 22P02; it says no"
    );
    let mut socket = ws(&program, &issued("1", -5), "rooms=1").await;
    assert_eq!(socket.expect("welcome").await["rooms"], json!(["1"]));
    // Of all rules together, one line a second.
    eventually("the room rule is named", async || {
        let subscribe = json!({ "type": "subscribe", "rooms": ["other"] });
        socket.send(subscribe).await;
        assert_eq!(socket.expect("error").await["code"], "forbidden");
        socket.expect("subscribed").await;
        program.log().contains("the room rule").then_some(())
    })
    .await;
    // The refusal's own line names the room that was asked for; the rule's does not.
    let log = program.log();
    let mut told = log.lines().filter(|line| line.contains("the room rule"));
    assert!(told.all(|line| !line.contains("other")), "{log}");
}

#[tokio::test]
async fn a_rule_that_hangs_for_one_holds_up_nobody_else() {
    let database = support::database().await;
    database.run(RULES).await;
    let server = serve(&database, |settings| {
        settings.database.statement_timeout = Duration::from_millis(500);
        // Longer than it takes to find out who hangs: each is asked for alone in the fourth round.
        settings.limits.recheck_patience = Duration::from_secs(8);
    })
    .await;
    let mut everybody = Vec::new();
    for user in ["1", "2", "3"] {
        for transport in TRANSPORTS {
            // On a busy machine any rule may take so long: who is told to come back does.
            let one = eventually("it is let in", async || {
                let mut one = connect(transport, &server, &issued(user, -5), "rooms=org:1").await;
                let first = one.next_or_end().await;
                first
                    .is_ok_and(|frame| frame["type"] == "welcome")
                    .then_some(one)
            })
            .await;
            everybody.push((user, one));
        }
    }
    database
        .run(
            "create or replace function public.in_org(claims jsonb, room text) returns boolean
             language sql as $$
               select case when claims ->> 'sub' = '3' then pg_sleep(60) is null else false end
             $$;
             select rowcast.recheck()",
        )
        .await;
    for (user, one) in &mut everybody {
        if *user != "3" {
            assert_withdrawn(one, "org:1").await;
        }
    }
    // Nobody may stay on the strength of an answer that never comes.
    for (user, one) in &mut everybody {
        if *user == "3" {
            let (code, reason) = one.closed().await;
            assert!(
                code == 1013 || (code, reason.as_str()) == (200, "overloaded"),
                "{code} {reason}"
            );
        }
    }
    marker(&database, &["*"]).await;
    for (user, one) in &mut everybody {
        if *user != "3" {
            one.expect_event("marker").await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn nobody_is_cut_while_the_database_is_away() {
    let mut postgres = Postgres::start(Version::Installed, &[]).await;
    let database = postgres.database().await;
    database.run(RULES).await;
    let server = serve(&database, |settings| {
        // Longer than the database takes to stop.
        settings.limits.recheck_patience = 6 * SECOND;
        settings.listener.ready_lag = 3 * SECOND / 2;
    })
    .await;
    let mut one = ws(&server, &issued("1", -5), "rooms=org:1,open").await;
    one.expect("welcome").await;
    // The rules can't be asked, and then not even the log can be read.
    database
        .run(
            "create or replace function public.home(claims jsonb) returns text[] language plpgsql
               as $$ begin raise 'broken'; end $$;
             delete from rowcast.room_rule where pattern = 'org:*'",
        )
        .await;
    eventually("it has heard", async || {
        (!server.gate.hub.stale().is_empty()).then_some(())
    })
    .await;
    postgres.cluster.stop(Mode::Fast).await.expect("it stops");
    eventually("it is away for longer than patience", async || {
        (server.gate.pulse.lag() > 8 * SECOND).then_some(())
    })
    .await;
    assert_eq!(server.gate.seats.taken(), 1);
    assert_eq!(server.gate.hub.stale().len(), 1, "nobody could ask");
    postgres.cluster.start_again().await.expect("it starts");
    let writer = database.client(SUPERUSER).await;
    writer
        .batch_execute(
            "create or replace function public.home(claims jsonb) returns text[] language sql
               as $$ select array['home:1'] $$",
        )
        .await
        .expect("it is back");
    assert_withdrawn(&mut one, "org:1").await;
    writer
        .batch_execute("select rowcast.emit('c', 'after', array['open'], '{}')")
        .await
        .expect("it is back");
    one.expect_event("after").await;
    server.stop().await;
}

/// As by whoever signs everybody out at once.
#[tokio::test]
async fn emptying_the_table_of_sessions_has_everybody_asked_for_again() {
    for (system, sessions) in [
        ("clinic", "clinic.sessions"),
        ("boardroom", "boardroom.sessions"),
        ("spa", "spa.http_sessions"),
    ] {
        let database = support::system(system).await;
        let asked = "select access_version from rowcast.setting";
        let before: i64 = database.ask(asked).await;
        let taken_back = format!("begin; truncate {sessions}; rollback");
        database.run(&taken_back).await;
        assert_eq!(database.ask::<i64>(asked).await, before, "{system}");
        database.run(&format!("truncate {sessions}")).await;
        assert_eq!(database.ask::<i64>(asked).await, before + 1, "{system}");
    }
}

/// The second can't count itself under REPEATABLE READ, and nobody was asked for again.
#[tokio::test]
async fn of_two_who_sign_out_at_once_both_are_out() {
    let database = support::system("boardroom").await;
    database.run(crate::boardroom::SAMPLE).await;
    let server = serve(&database, |_| ()).await;
    let (first, second) = (
        database.client(SUPERUSER).await,
        database.client(SUPERUSER).await,
    );
    let mut seats = Vec::new();
    for (client, user, secret) in [(&first, "u1", "of ann"), (&second, "u2", "of bob")] {
        let mut somebody = crate::boardroom::enter(&server, secret, "rooms=bookings").await;
        somebody.expect("welcome").await;
        let sign_out = format!(
            "begin isolation level repeatable read;
             delete from boardroom.sessions where user_id = '{user}'"
        );
        client.batch_execute(&sign_out).await.expect("signed out");
        seats.push((client, somebody));
    }
    for (client, mut somebody) in seats {
        client.batch_execute("commit").await.expect("a commit");
        within("it is closed", somebody.closed()).await;
    }
    let left = "select (select count(*) from rowcast.recheck_due) + (select count(*) from rowcast.failure)";
    assert_eq!(database.ask::<i64>(left).await, 0);
    server.stop().await;
}

/// It waited until the other's end, however long that was, and the other was shot if it waited in turn.
#[tokio::test]
async fn who_signs_out_does_not_wait_for_who_has_counted_and_goes_on() {
    let database = support::system("boardroom").await;
    database.run(crate::boardroom::SAMPLE).await;
    let server = serve(&database, |_| ()).await;
    let mut bob = crate::boardroom::enter(&server, "of bob", "rooms=bookings").await;
    bob.expect("welcome").await;
    let goes_on = database.client(SUPERUSER).await;
    let counted = "begin; set constraints all immediate;
        update boardroom.users set role = 'admin' where user_id = 'u1'";
    goes_on.batch_execute(counted).await.expect("counted");
    let writer = database.client(SUPERUSER).await;
    let sign_out =
        "set statement_timeout = '5s'; delete from boardroom.sessions where user_id = 'u2'";
    writer.batch_execute(sign_out).await.expect("signed out");
    goes_on.batch_execute("rollback").await.expect("it ends");
    within("it is closed", bob.closed()).await;
    server.stop().await;
}

/// Connects with the cookie `sid`, as a page of the server's own origin.
async fn by_session(server: &Server, id: &str, transport: Transport) -> Subscriber {
    let (cookie, own) = (format!("sid={id}"), format!("http://{}", server.address));
    let headers = [("cookie", cookie.as_str()), ("origin", own.as_str())];
    match transport {
        Transport::WebSocket => support::ws_with(server, "", &headers).await,
        Transport::Sse => try_sse(server, "", "", &headers)
            .await
            .unwrap_or_else(|answer| panic!("{answer:?}")),
        Transport::Poll => panic!("a poll does not stay open"),
    }
}

/// The same once by `/poll`.
async fn poll_by_session(server: &Server, id: &str, query: &str) -> Value {
    let (cookie, own) = (format!("sid={id}"), format!("http://{}", server.address));
    let headers = [("cookie", cookie.as_str()), ("origin", own.as_str())];
    get(server, &format!("/poll?{query}"), &headers)
        .await
        .json()
}

/// To PostgreSQL an ASSERT that fails is no error like others: it failed for all who were asked for together.
#[tokio::test]
async fn an_assert_in_a_home_rule_fails_for_one_alone() {
    let database = support::database().await;
    database
        .run(
            "create function public.home(claims jsonb) returns text[] language plpgsql stable as $$
               begin assert claims ->> 'sub' <> '1'; return array['home']; end $$;
             insert into rowcast.home_rule values ('public.home(jsonb)')",
        )
        .await;
    let asked = r#"select string_agg(concat(failed is not null, ' ', home), ', ') from rowcast.access(
        '[{"claims":{"sub":"1"},"rooms":[]},{"claims":{"sub":"2"},"rooms":[]}]')"#;
    assert_eq!(database.ask::<String>(asked).await, "t {}, f {home}");
}

/// No rule decides on it, not even one for all rooms.
#[tokio::test]
async fn everybody_is_in_the_room_of_everybody() {
    let database = support::database().await;
    database
        .run(
            "create function public.never(claims jsonb, room text) returns boolean language sql
               as 'select false';
             insert into rowcast.room_rule values ('*', 'public.never(jsonb, text)')",
        )
        .await;
    let asked =
        r#"select allowed from rowcast.access('[{"claims":{"sub":"1"},"rooms":["a","*"]}]')"#;
    assert_eq!(database.ask::<Vec<String>>(asked).await, ["*"]);
}

/// Of several cookies the first that is a session counts, in the order of their names.
#[tokio::test]
async fn the_first_session_of_several_counts() {
    let database = support::database().await;
    database
        .run(
            "create function public.own(p_id text) returns jsonb language sql stable as $$
               select jsonb_build_object('sub', coalesce(p_id, 'nobody'))
               where p_id is distinct from 'none' $$;
             insert into rowcast.session_rule values
               ('b', 'public.own(text)'), ('a', 'public.own(text)'), ('c', 'public.own(text)')",
        )
        .await;
    for (cookies, sub) in [
        (r#"{"a":"1","b":"2","c":"none"}"#, Some("1")),
        (r#"{"a":"none","b":"2","c":"3"}"#, Some("2")),
        (r#"{"a":"none","d":"4"}"#, None),
    ] {
        let asked = format!("select rowcast.session_claims('{cookies}') ->> 'sub'");
        let found: Option<String> = database.ask(&asked).await;
        assert_eq!(found.as_deref(), sub, "{cookies}");
    }
}

/// Sessions with a role, which their question tells as it was before it waits for the test; rooms `staff:*`
/// are for one of them, and for `staff:held` that waits for the test, too.
const ROLES: &str = "
    create table public.sessions (id text primary key, role text);
    insert into public.sessions values ('a', 'staff');
    grant select on public.sessions to rowcast_owner;
    create function public.claims_of(p_id text) returns jsonb language plpgsql stable as $$
    declare
      v_role text := (select role from public.sessions where id = p_id);
    begin
      perform pg_advisory_xact_lock_shared(42);
      return jsonb_build_object(
        'sub', '1', 'role', v_role, 'exp', extract(epoch from now())::bigint + 600);
    end $$;
    insert into rowcast.session_rule values ('sid', 'public.claims_of(text)');
    create function public.staff(claims jsonb, room text) returns boolean language plpgsql stable as $$
    begin
      if room = 'staff:held' then
        perform pg_advisory_xact_lock_shared(43);
      end if;
      return claims ->> 'role' = 'staff';
    end $$;
    insert into rowcast.room_rule values ('staff:*', 'public.staff(jsonb, text)')";

const DEMOTED: &str = "update public.sessions set role = 'none'; select rowcast.recheck()";

/// Who it is and what is theirs are two questions. What was said to the second, of claims from before a
/// change, was kept as if it had been said behind it: until the rules were asked again for somebody else.
#[tokio::test]
async fn a_session_that_says_less_between_its_two_questions_is_asked_for_again() {
    for transport in EVERY_TRANSPORT {
        let database = support::database().await;
        database.run(ROLES).await;
        let server = serve(&database, |settings| Way::Notified.floor(settings)).await;
        database.run("select pg_advisory_lock(42)").await;
        let enters = async {
            if transport == Transport::Poll {
                let first = poll_by_session(&server, "a", "rooms=staff:1&wait=0").await;
                let since = first["bookmark"].as_str().expect("a bookmark");
                let query = format!("rooms=staff:1&wait=0&since={since}");
                assert_eq!(
                    poll_by_session(&server, "a", &query).await["rooms"],
                    json!([])
                );
                return;
            }
            let (cookie, own) = ("sid=a", format!("http://{}", server.address));
            let headers = [("cookie", cookie), ("origin", own.as_str())];
            let mut late = match transport {
                Transport::WebSocket => support::ws_with(&server, "rooms=staff:1", &headers).await,
                _ => try_sse(&server, "", "rooms=staff:1", &headers)
                    .await
                    .unwrap(),
            };
            // It may be asked for again before the welcome is written.
            let rooms = late.expect("welcome").await["rooms"].clone();
            assert!([json!(["staff:1"]), json!([])].contains(&rooms), "{rooms}");
            assert_withdrawn(&mut late, "staff:1").await;
        };
        let changed = async {
            rule_waits(&database).await;
            heard(&database, &server, DEMOTED).await;
            database.run("select pg_advisory_unlock(42)").await;
        };
        tokio::join!(enters, changed);
        server.stop().await;
    }
}

/// The same of a room that it asked for before it was found to say less, and was granted behind that.
#[tokio::test]
async fn a_session_that_says_less_while_it_subscribes_is_asked_for_again() {
    let database = support::database().await;
    database.run(ROLES).await;
    let server = serve(&database, |settings| Way::Notified.floor(settings)).await;
    let mut one = by_session(&server, "a", Transport::WebSocket).await;
    one.expect("welcome").await;
    for lock in [42, 43] {
        database
            .run(&format!("select pg_advisory_lock({lock})"))
            .await;
    }
    heard(&database, &server, DEMOTED).await;
    rule_waits(&database).await;
    one.send(json!({ "type": "subscribe", "rooms": ["staff:held"] }))
        .await;
    database.awaits("its question", "objid = 43").await;
    database.run("select pg_advisory_unlock(42)").await;
    eventually("it has been asked for", async || {
        server.gate.hub.stale().is_empty().then_some(())
    })
    .await;
    database.run("select pg_advisory_unlock(43)").await;
    one.expect("subscribed").await;
    assert_withdrawn(&mut one, "staff:held").await;
    server.stop().await;
}

/// What was found out when it was asked for again counts for what it asks for next.
#[tokio::test]
async fn a_session_that_says_less_by_now_subscribes_to_less() {
    let database = support::database().await;
    database
        .run(
            "create table public.sessions (id text primary key, role text);
             insert into public.sessions values ('a', 'staff');
             grant select on public.sessions to rowcast_owner;
             create function public.claims_of(p_id text) returns jsonb language sql stable as $$
               select jsonb_build_object(
                 'sub', '1', 'role', role, 'exp', extract(epoch from now())::bigint + 600)
               from public.sessions where id = p_id
             $$;
             insert into rowcast.session_rule values ('sid', 'public.claims_of(text)');
             create function public.staff(claims jsonb, room text) returns boolean language sql stable
               as $$ select claims ->> 'role' = 'staff' $$;
             insert into rowcast.room_rule values ('staff:*', 'public.staff(jsonb, text)')",
        )
        .await;
    let server = serve(&database, |_| ()).await;
    let mut one = by_session(&server, "a", Transport::WebSocket).await;
    one.expect("welcome").await;
    one.send(json!({ "type": "subscribe", "rooms": ["staff:1"], "id": 1 }))
        .await;
    assert_eq!(one.expect("subscribed").await["rooms"], json!(["staff:1"]));
    let demoted = "update public.sessions set role = 'none'; select rowcast.recheck()";
    database.run(demoted).await;
    assert_withdrawn(&mut one, "staff:1").await;
    eventually("nobody is left to be asked for", async || {
        server.gate.hub.stale().is_empty().then_some(())
    })
    .await;
    one.send(json!({ "type": "subscribe", "rooms": ["staff:2"], "id": 2 }))
        .await;
    let refused = one.expect("error").await;
    assert_eq!(
        (&refused["code"], &refused["room"]),
        (&json!("forbidden"), &json!("staff:2"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_ended_is_noticed_when_the_rules_are_asked_again() {
    let database = support::database().await;
    database
        .run(
            "create table public.sessions (id text primary key, sub text);
             insert into public.sessions values ('a', '1'), ('b', '1'), ('c', '1');
             grant select on public.sessions to rowcast_owner;
             create function public.claims_of(p_id text) returns jsonb language sql stable as $$
               select jsonb_build_object('sub', sub, 'exp', extract(epoch from now())::bigint + 600)
               from public.sessions where id = p_id
             $$;
             insert into rowcast.session_rule values ('sid', 'public.claims_of(text)')",
        )
        .await;
    let server = serve(&database, |_| ()).await;
    let open = async |id: &str, transport: Transport| {
        let mut one = by_session(&server, id, transport).await;
        assert_eq!(one.expect("welcome").await["user"], "1");
        one
    };
    let mut bearer = ws(&server, &issued("1", -5), "").await;
    bearer.expect("welcome").await;
    for (change, gone, stays) in [
        (
            "delete from public.sessions where id = 'a'; select rowcast.recheck()",
            "a",
            Some("b"),
        ),
        (
            "update public.sessions set sub = '2' where id = 'b'; select rowcast.recheck()",
            "b",
            Some("c"),
        ),
        ("delete from rowcast.session_rule", "c", None),
    ] {
        for transport in TRANSPORTS {
            if transport == TRANSPORTS[1] {
                database
                    .run(
                        "insert into rowcast.session_rule values ('sid', 'public.claims_of(text)')
                           on conflict do nothing;
                         insert into public.sessions values ('a', '1'), ('b', '1')
                           on conflict (id) do update set sub = '1'",
                    )
                    .await;
            }
            let mut over = open(gone, transport).await;
            let mut other = match stays {
                Some(id) => Some(open(id, transport).await),
                None => None,
            };
            database.run(change).await;
            let (code, reason) = over.closed().await;
            assert!(
                code == 1008 || (code, reason.as_str()) == (200, "unauthorized"),
                "{code} {reason}"
            );
            marker(&database, &["*"]).await;
            if let Some(other) = &mut other {
                other.expect_event("marker").await;
            }
            bearer.expect_event("marker").await;
        }
    }
    server.stop().await;
}

const ENDS_EARLIER: &str = "the session ends earlier than you were told: come back";

/// It kept the end that it had come with: for a day, perhaps, instead of some minutes.
#[tokio::test]
async fn who_comes_by_a_session_that_is_to_end_earlier_comes_back_and_is_told_so() {
    let database = support::database().await;
    database
        .run(
            "create table public.sessions (id text primary key, ends bigint);
             insert into public.sessions
               select id, extract(epoch from now())::bigint + 6000 from unnest('{a,b}'::text[]) id;
             grant select on public.sessions to rowcast_owner;
             create function public.claims_of(p_id text) returns jsonb language sql stable as $$
               select jsonb_build_object('sub', id, 'exp', ends) from public.sessions where id = p_id
             $$;
             insert into rowcast.session_rule values ('sid', 'public.claims_of(text)')",
        )
        .await;
    let server = serve(&database, |_| ()).await;
    let open = async |id: &str, transport: Transport| {
        let mut one = by_session(&server, id, transport).await;
        let ends = one.expect("welcome").await["expiresAt"].as_i64();
        (one, ends.expect("a session ends"))
    };
    for transport in TRANSPORTS {
        let (mut one, ends) = open("a", transport).await;
        let (mut other, _) = open("b", transport).await;
        // Whose ends later goes on, and comes back at the end that it knows of.
        database
            .run(
                "update public.sessions set ends = ends + case id when 'a' then -1000 else 1000 end;
                 select rowcast.recheck()",
            )
            .await;
        let (code, reason) = one.closed().await;
        assert!(
            code == 1013 || (code, reason.as_str()) == (200, "overloaded"),
            "{code} {reason}"
        );
        // And is told why, where there is room for words.
        let why = one.received.last().expect("something")["message"].as_str();
        let why = why.filter(|_| transport == Transport::Sse);
        assert!(why.is_none_or(|why| why == ENDS_EARLIER), "{why:?}");
        assert_eq!(why.is_some(), transport == Transport::Sse);
        assert_eq!(open("a", transport).await.1, ends - 1000);
        marker(&database, &["*"]).await;
        other.expect_event("marker").await;
    }
    let subscribed = async |count: usize| {
        eventually("so many are here", async || {
            (server.gate.hub.sizes().subscriptions == count).then_some(())
        })
        .await;
    };
    let query = format!("wait=60&since={}", database.bookmark().await);
    subscribed(0).await;
    let polled = poll_by_session(&server, "a", &query);
    let earlier = async {
        subscribed(1).await;
        database
            .run("update public.sessions set ends = ends - 1000; select rowcast.recheck()")
            .await;
    };
    let (answer, ()) = tokio::join!(polled, earlier);
    assert_eq!(answer["error"]["code"], "overloaded");
    assert_eq!(answer["error"]["message"], ENDS_EARLIER);
    server.stop().await;
}

/// Many connections, without their sockets: what it costs to ask for all of them.
#[tokio::test]
async fn ten_thousand_connections_are_asked_for_together() {
    let database = support::database().await;
    database.run(RULES).await;
    let server = serve(&database, |settings| {
        settings.database.statement_timeout = Duration::from_secs(60);
    })
    .await;
    let hub = &server.gate.hub;
    let version = hub.access_known();
    let rooms: [Arc<str>; 3] = ["org:1".into(), "open".into(), "home:1".into()];
    let everybody: Vec<_> = (0..10_000)
        .map(|user| {
            let subscription = hub.open();
            let identity = Identity {
                user: Some(user.to_string()),
                expires_at: u64::MAX,
                claims: json!({ "sub": user.to_string() }).to_string().into(),
                session: None,
                as_of: i64::MAX,
            };
            hub.enter(&subscription, identity, version);
            hub.join(&subscription, &rooms, Since::Now, None, version);
            subscription
        })
        .collect();
    let began = Instant::now();
    database.run("select rowcast.recheck()").await;
    eventually("all are asked for", async || {
        (hub.access_known() > version && hub.stale().is_empty()).then_some(())
    })
    .await;
    eprintln!("10,000 identities in 3 rooms each: {:?}", began.elapsed());
    // Three are members, all may be in the open one, and one is at home there.
    for (user, subscription) in everybody.iter().enumerate() {
        let member = usize::from((1..=3).contains(&user));
        let home = usize::from(user == 1);
        assert_eq!(subscription.rooms().len(), 1 + member + home, "{user}");
        subscription.close();
    }
    server.stop().await;
}

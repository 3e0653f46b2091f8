//! What a crowd costs the database that comes in at once, or comes back to a service that was started
//! anew: few statements for many, whatever hangs or fails for one of them.

use crate::support::{
    self, Database, Process, Subscriber, eventually, metric, serve_process, token, token_with, ws,
    ws_with,
};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rowcast::clock::unix_now;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const CLIENTS: usize = 100;

/// Milliseconds of a statement's timeout, a part of which those have who are asked for together: more than
/// a crowd takes to come.
const PATIENT: &str = "120000";

/// Rules that wait for a lock, so that whoever comes meanwhile is asked for together.
const HELD: &str = "
    create function public.held(claims jsonb, room text) returns boolean language plpgsql as $$
    begin
      perform pg_advisory_lock_shared(77), pg_advisory_unlock_shared(77);
      -- Caught by nobody: the whole statement fails.
      if claims ->> 'sub' = 'fails' then
        raise query_canceled;
      end if;
      return case claims ->> 'sub' when 'hangs' then pg_sleep(60) is null else true end;
    end $$;
    create function public.session_of(cookie text) returns jsonb language plpgsql as $$
    begin
      perform pg_advisory_lock_shared(77), pg_advisory_unlock_shared(77);
      return jsonb_build_object('sub', cookie, 'exp', extract(epoch from now() + interval '1 h'));
    end $$;
    insert into rowcast.room_rule values ('room:*', 'public.held(jsonb, text)');
    insert into rowcast.session_rule values ('sid', 'public.session_of(text)')";

async fn database() -> Database {
    let database = support::database().await;
    database.run(HELD).await;
    database
}

/// Holds all rules up until it is dropped.
async fn hold(database: &Database) -> Client {
    hold_for(database, 77).await
}

/// Holds up those that wait for this lock.
async fn hold_for(database: &Database, lock: i32) -> Client {
    let holder = database.client("rowcast_service").await;
    let held = format!("select pg_advisory_lock({lock})");
    holder.batch_execute(&held).await.expect("a lock");
    holder
}

/// A service whose statements may take their time, and of which so many go on at once.
async fn serve(database: &Database, timeout_ms: &str, pool: &str) -> Process {
    let env = [
        ("ROWCAST__DATABASE__STATEMENT_TIMEOUT_MS", timeout_ms),
        ("ROWCAST__DATABASE__POOL_SIZE", pool),
    ];
    serve_with(database, &env).await
}

/// One that lets a crowd in from a single address.
async fn serve_with(database: &Database, env: &[(&str, &str)]) -> Process {
    let crowd = [
        ("ROWCAST__LIMITS__CONNECTIONS_PER_ADDRESS", "1000"),
        ("ROWCAST__DATABASE__POOL_WAIT_MS", "20000"),
        ("ROWCAST__HTTP__ALLOWED_ORIGINS", "https://app.example.org"),
    ];
    serve_process(database, &[&crowd, env].concat()).await
}

/// Statements for those who came, by purpose.
async fn statements(server: &Process, purpose: &str) -> usize {
    let sample = format!("rowcast_statements_total{{purpose=\"{purpose}\"}}");
    metric(server, &sample).await as usize
}

/// Waits until so many are seated, and somebody's question has met the lock.
async fn all_have_come(server: &Process, database: &Database, count: usize) {
    eventually("all have come", async || {
        let seated = metric(server, "rowcast_connections").await as usize;
        let waits = database.waiters("locktype = 'advisory'").await > 0;
        (seated >= count && waits).then_some(())
    })
    .await;
}

async fn all_welcome(crowd: &mut [Subscriber]) {
    join_all(crowd.iter_mut().map(|one| one.expect("welcome"))).await;
}

#[tokio::test]
async fn a_crowd_is_asked_for_together() {
    let database = database().await;
    let server = serve(&database, PATIENT, "8").await;
    let holder = hold(&database).await;
    let tokens: Vec<String> = (0..CLIENTS)
        .map(|n| token(&n.to_string(), "", ""))
        .collect();
    let come = tokens
        .iter()
        .map(|token| ws(&server, token, "rooms=room:1,room:2"));
    let mut crowd = join_all(come).await;
    all_have_come(&server, &database, CLIENTS).await;
    drop(holder);
    all_welcome(&mut crowd).await;
    let asked = statements(&server, "access").await;
    assert!(
        (1..=20).contains(&asked),
        "{asked} statements for {CLIENTS} clients"
    );
    // Alone, one is asked for at once, and for nobody else.
    ws(&server, &token("one", "", ""), "rooms=room:1")
        .await
        .expect("welcome")
        .await;
    assert_eq!(statements(&server, "access").await, asked + 1);
}

#[tokio::test]
async fn sessions_of_a_crowd_are_exchanged_together() {
    let database = database().await;
    let server = serve(&database, PATIENT, "8").await;
    let holder = hold(&database).await;
    let cookies: Vec<String> = (0..CLIENTS)
        .map(|n| format!("theme=dark; sid=user{n}"))
        .collect();
    let origin = ("origin", "https://app.example.org");
    let headers = cookies
        .iter()
        .map(|cookie| [("cookie", cookie.as_str()), origin]);
    let headers: Vec<_> = headers.collect();
    let come = headers
        .iter()
        .map(|headers| ws_with(&server, "rooms=room:1", headers));
    let mut crowd = join_all(come).await;
    all_have_come(&server, &database, CLIENTS).await;
    drop(holder);
    let welcomes = join_all(crowd.iter_mut().map(|one| one.expect("welcome"))).await;
    for (number, welcome) in welcomes.iter().enumerate() {
        assert_eq!(welcome["user"], format!("user{number}"), "each its own");
    }
    let asked = statements(&server, "access").await;
    assert!(
        (2..=40).contains(&asked),
        "{asked} statements for {CLIENTS} clients"
    );
    let named = statements(&server, "cookies").await;
    assert!(
        (1..=2).contains(&named),
        "asked {named} times which cookies count"
    );
    // Once the rules that name them have changed, another counts.
    let another = "insert into rowcast.session_rule values ('other', 'public.session_of(text)')";
    database.run(another).await;
    eventually("the new cookie counts", async || {
        let headers = [("cookie", "other=newcomer"), origin];
        let mut one = ws_with(&server, "", &headers).await;
        one.next_or_end()
            .await
            .ok()
            .filter(|frame| frame["user"] == "newcomer")
    })
    .await;
}

/// Rules that wait for a lock for one user, and for cookies that nobody knows.
const SLOW: &str = "
    create function public.slow(name text) returns void language sql as $$
      select pg_advisory_lock_shared(78), pg_advisory_unlock_shared(78) where name like 'slow%';
    $$;
    create function public.slow_room(claims jsonb, room text) returns boolean language plpgsql as $$
    begin
      perform public.slow(claims ->> 'sub');
      return true;
    end $$;
    create function public.slow_session(cookie text) returns jsonb language plpgsql as $$
    begin
      perform public.slow(cookie);
      return null;
    end $$;
    insert into rowcast.room_rule values ('slow:*', 'public.slow_room(jsonb, text)');
    insert into rowcast.session_rule values ('slow', 'public.slow_session(text)')";

/// One token in a loop, or made-up cookies of one address, took all statements, and shared them with
/// everybody else, who waited for seconds.
#[tokio::test]
async fn whose_rule_is_slow_takes_half_of_the_statements_and_shares_none() {
    let database = database().await;
    database.run(SLOW).await;
    // Two statements at once.
    let server = serve(&database, PATIENT, "3").await;
    let bearer = format!("Bearer {}", token("slow", "", ""));
    let cookies: Vec<String> = (0..10).map(|n| format!("slow=slow{n}")).collect();
    let origin = ("origin", "https://app.example.org");
    let by_token = vec![vec![("authorization", bearer.as_str())]; 10];
    let by_cookie: Vec<_> = cookies
        .iter()
        .map(|cookie| vec![("cookie", &**cookie), origin])
        .collect();
    for slow in [by_token, by_cookie] {
        let enter = |headers| ws_with(&server, "rooms=slow:1", headers);
        // Found out to be slow: by one that is asked for alone.
        let holder = hold_for(&database, 78).await;
        let mut first = enter(&slow[0]).await;
        let long = "locktype = 'advisory' and query_start < clock_timestamp() - interval '500 ms'";
        database.awaits("it is slow", long).await;
        drop(holder);
        let _ = first.next_or_end().await;
        drop(first);
        let holder = hold_for(&database, 78).await;
        let mut crowd = join_all(slow[1..].iter().map(|headers| enter(headers))).await;
        all_have_come(&server, &database, crowd.len()).await;
        for user in ["1", "2", "3"] {
            let mut other = ws(&server, &token(user, "", ""), "rooms=slow:1").await;
            other.expect("welcome").await;
        }
        drop(holder);
        for one in &mut crowd {
            let _ = one.next_or_end().await;
        }
    }
}

/// Somebody locked a table that one rule reads. Those who had met it were asked for one by one, in all
/// statements, and whoever came meanwhile waited behind them until the lock was gone.
#[tokio::test]
async fn a_rule_that_hangs_for_many_keeps_nobody_else_out() {
    // Two statements at once, each so long that thirty take minutes.
    others_come_in(2, "8000").await;
}

/// Where one goes on at once, every other is theirs.
#[tokio::test]
async fn a_rule_that_hangs_for_many_leaves_others_every_other_statement() {
    others_come_in(1, "6000").await;
}

async fn others_come_in(at_once: usize, timeout_ms: &str) {
    let database = database().await;
    database.run(SLOW).await;
    let server = &mut serve(&database, timeout_ms, &(at_once + 1).to_string()).await;
    let holder = hold_for(&database, 78).await;
    let hangs = async |n: usize| {
        let in_time = json!({ "sub": format!("slow{n}"), "exp": unix_now() + 600 });
        ws(server, &token_with(&in_time), "rooms=slow:1").await
    };
    // All statements are taken by one each: those who come meanwhile share the next, and whoever comes
    // behind that shares none with them.
    let mut crowd = Vec::new();
    for n in 0..at_once {
        crowd.push(hangs(n).await);
        let taken = format!("statement {n} hangs");
        let waits = async || database.waiters("locktype = 'advisory'").await > n as i64;
        eventually(&taken, async || waits().await.then_some(())).await;
    }
    crowd.extend(join_all((at_once..30).map(hangs)).await);
    let together = format!("\"questions\":{}", 30 - at_once);
    server.log_line(&together).await;
    let others = ["1", "2", "3"].map(|user| token(user, "", ""));
    let others = others.iter().map(|token| ws(server, token, "rooms=slow:1"));
    all_welcome(&mut join_all(others).await).await;
    let inside = metric(server, "rowcast_connections").await as usize;
    assert!(inside > 20, "the crowd was answered first: {inside}");
    drop(holder);
    for one in &mut crowd {
        let _ = one.next_or_end().await;
    }
}

/// Nobody waits in silence behind them, either.
#[tokio::test]
async fn whoever_waits_for_long_behind_rules_that_hang_is_told_to_come_back() {
    let database = database().await;
    database.run(SLOW).await;
    let server = serve(&database, "500", "2").await;
    let _holder = hold_for(&database, 78).await;
    let tokens: Vec<String> = (0..60)
        .map(|n| token(&format!("slow{n}"), "", ""))
        .collect();
    let come = tokens
        .iter()
        .map(|token| ws(&server, token, "rooms=slow:1"));
    let crowd = join_all(come).await;
    let came = Instant::now();
    let told = join_all(crowd.into_iter().map(async |mut one| one.closed().await.0)).await;
    assert_eq!(told, [1013; 60]);
    // Each alone takes half a second.
    let took = came.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test]
async fn a_rule_that_hangs_or_fails_for_one_keeps_nobody_out() {
    let database = database().await;
    // One statement at once: whatever hangs stands in everybody's way. Long enough for the others to come
    // while the first is held up.
    let server = serve(&database, "5000", "2").await;
    let in_time = |user: &str| json!({ "sub": user, "exp": unix_now() + 600 });
    let mut tokens = vec![token_with(&in_time("hangs")), token_with(&in_time("fails"))];
    tokens.extend((0..30).map(|n| token(&n.to_string(), "", "")));
    let holder = hold(&database).await;
    let first = ws(&server, &token("first", "", ""), "rooms=room:1").await;
    all_have_come(&server, &database, 1).await;
    let come = tokens
        .iter()
        .map(|token| ws(&server, token, "rooms=room:1"));
    let mut crowd = join_all(come).await;
    all_have_come(&server, &database, 33).await;
    drop(holder);
    crowd.push(first);
    all_welcome(&mut crowd[2..]).await;
    for one in &mut crowd[..2] {
        let (code, _) = one.closed().await;
        assert_eq!(code, 1013, "comes back later");
    }
    let asked = statements(&server, "access").await;
    assert!(
        asked < 33,
        "{asked} statements: those who share one are asked in parts"
    );
}

/// Spots of a slot, rendered when the log is read.
const STATE: &str = "
    create table public.spots (id int primary key, spots int);
    insert into public.spots values (1, 10);
    grant select on public.spots to rowcast_owner;
    create function public.render_spots(p_keys jsonb[]) returns table (key jsonb, data json)
    language sql stable as $$
      select k, json_build_object('spots', s.spots) from unnest(p_keys) k
      join public.spots s on s.id = (k ->> 'id')::int
    $$;
    create function public.book() returns void language sql as $$
      update public.spots set spots = spots - 1;
      insert into rowcast.event (channel, name, rooms, data, render) values
        ('spots', 'spots', array['room:all'], '{\"id\":1}', 'public.render_spots');
    $$";

#[tokio::test]
async fn a_crowd_that_lost_its_service_is_told_all_by_few_statements() {
    lose_and_come_back("50000", 15).await;
}

/// One user's requests from far away had all connections of the pool, and nobody else came in.
#[tokio::test]
async fn who_reads_the_log_leaves_connections_to_those_who_come() {
    let database = database().await;
    let env = [
        ("ROWCAST__DATABASE__STATEMENT_TIMEOUT_MS", PATIENT),
        ("ROWCAST__DATABASE__POOL_SIZE", "4"),
        ("ROWCAST__HUB__RING_BYTES", "0"),
    ];
    let server = serve_with(&database, &env).await;
    let since: String = database.ask("select rowcast.bookmark()").await;
    support::marker(&database, &["room:1"]).await;
    let mut locker = database.client("postgres").await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("lock table rowcast.log").await.unwrap();
    let query = format!("rooms=room:1&since={since}");
    let token = token("1", "", "");
    let mut readers = join_all((0..12).map(|_| ws(&server, &token, &query))).await;
    eventually("they read, and so does the listener", async || {
        (database.waiters("locktype = 'relation'").await >= 4).then_some(())
    })
    .await;
    ws(&server, &token, "").await.expect("welcome").await;
    lock.rollback().await.unwrap();
    for reader in &mut readers {
        reader.expect("welcome").await;
        reader.expect("subscribed").await;
        reader.expect_event("marker").await;
    }
}

/// What everybody missed is more than the ring is read back for: each read the log for itself then, and
/// most were cut because all connections of the pool were taken.
#[tokio::test]
async fn a_crowd_from_far_away_is_told_all_by_few_statements() {
    lose_and_come_back("60", 30).await;
}

/// A crowd whose service dies and comes back, and reads so many events at once for others: in no more
/// statements than these.
async fn lose_and_come_back(refill_events: &str, most: usize) {
    let database = database().await;
    database.run(STATE).await;
    let mut server = serve(&database, PATIENT, "8").await;
    let tokens: Vec<String> = (0..CLIENTS)
        .map(|n| token(&n.to_string(), "", ""))
        .collect();
    let rooms: Vec<String> = (0..CLIENTS)
        .map(|n| format!("rooms=room:{n},room:all"))
        .collect();
    let both = tokens.iter().zip(&rooms);
    let mut crowd = join_all(both.map(|(token, rooms)| ws(&server, token, rooms))).await;
    all_welcome(&mut crowd).await;
    // Each is left at a place of its own.
    let mut places = Vec::new();
    for (number, one) in crowd.iter_mut().enumerate() {
        support::marker(&database, &[&format!("room:{number}")]).await;
        one.expect_event("marker").await;
        places.push(one.bookmark.clone().expect("a bookmark"));
    }
    server.signal(Signal::SIGKILL);
    server.exited().await;
    drop(crowd);
    // All that comes is missed by somebody: of everybody's three states the last is told.
    for number in 0..CLIENTS {
        support::marker(&database, &[&format!("room:{number}")]).await;
        if number % 40 == 0 {
            database.run("select public.book()").await;
        }
    }
    let server = serve_with(
        &database,
        &[
            ("ROWCAST__DATABASE__STATEMENT_TIMEOUT_MS", PATIENT),
            ("ROWCAST__HUB__REFILL_EVENTS", refill_events),
        ],
    )
    .await;
    let began = Instant::now();
    let holder = hold(&database).await;
    let queries: Vec<String> = rooms
        .iter()
        .zip(&places)
        .map(|(rooms, place)| format!("{rooms}&since={place}"))
        .collect();
    let both = tokens.iter().zip(&queries);
    let mut crowd = join_all(both.map(|(token, query)| ws(&server, token, query))).await;
    all_have_come(&server, &database, CLIENTS).await;
    drop(holder);
    all_welcome(&mut crowd).await;
    join_all(crowd.iter_mut().map(|one| one.expect("subscribed"))).await;
    support::marker(&database, &["*"]).await;
    for (number, one) in crowd.iter_mut().enumerate() {
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        // Its own marker of before, a state, and everybody's marker: all the others are not for it.
        for _ in 0..3 {
            let event = one.expect("event").await;
            *told.entry(event["name"].to_string()).or_default() += 1;
            if event["name"] == "spots" {
                assert_eq!(event["data"]["spots"], 7, "the state as it is");
            }
        }
        let expected = [("\"marker\"".to_owned(), 2), ("\"spots\"".to_owned(), 1)];
        let found: Vec<_> = told.into_iter().collect();
        assert_eq!(found, expected, "client {number}");
    }
    let seconds = began.elapsed().as_secs() as usize;
    let replays = statements(&server, "replay").await;
    let refills = statements(&server, "refill").await;
    let asked = statements(&server, "access").await;
    eprintln!("{asked} for admission, {replays} alone, {refills} for all, within {seconds} s");
    // Ten in a second read for themselves, which is no crowd.
    assert!(
        replays <= 10 * (seconds + 2),
        "{replays} read for themselves"
    );
    assert!((1..=most).contains(&refills), "{refills} read for many");
    assert!(asked <= 20, "{asked} statements for admission");
}

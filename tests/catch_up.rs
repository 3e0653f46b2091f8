//! Much at a time: a listener that was away reads the log in parts, each as far as its bytes go, and
//! over a link as slow as may be.

use crate::support::proxy::{Proxy, Way};
use crate::support::{
    Database, Subscriber, database, eventually, let_in, marker, serve, token, within, ws,
};
use rowcast::config::{Doorbell, Settings};
use std::time::{Duration, Instant};

/// So many events, each in a transaction of its own, and nobody's bell rings. Long enough ago for the
/// next look to measure them.
async fn write_in_silence(db: &Database, events: i64) {
    db.run(&format!(
        "do $$ begin for n in 1..{events} loop \
           insert into rowcast.event_0 (channel, name, rooms, data) \
             values ('c', 'e', '{{*}}', json_build_object('n', n)); \
           commit; end loop; perform pg_sleep(0.2); end $$"
    ))
    .await;
}

/// Looks when it is rung, or asked to, and reads little at a time.
fn in_small_parts(settings: &mut Settings) {
    settings.listener.look_timeout = Duration::from_secs(60);
    settings.listener.doorbell = Some(Doorbell::Always);
    settings.listener.floor = Duration::from_secs(3600);
    settings.listener.look_bytes = 1024;
}

/// What one look brings from a place: the place that it ends at, whether there is more, and the
/// row and version of each event.
async fn look(db: &Database, from: &str, bytes: i64) -> (String, bool, Vec<(i64, i64)>) {
    let sql = format!(
        "select snapshot, more, (data ->> 'row')::bigint, (data ->> 'version')::bigint \
         from rowcast.look('{from}', false, {bytes})"
    );
    let rows = db.superuser().await.query(&sql, &[]).await.unwrap();
    let events = rows[1..].iter().map(|row| (row.get(2), row.get(3)));
    (rows[0].get(0), rows[0].get(1), events.collect())
}

/// Of fewer bytes than its first transaction has, a part holds that one: a listener that came no further
/// would look again and again.
#[tokio::test]
async fn a_part_is_at_least_a_transaction() {
    let db = database().await;
    let from: String = db.ask("select pg_current_snapshot()::text").await;
    let emit = "select rowcast.emit('c', 'e', array['*'], '{\"row\":1,\"version\":1}')";
    db.run(&format!("begin; {emit}; {emit}; commit")).await;
    // So far that it is measured.
    for _ in 0..101 {
        db.run("select pg_current_xact_id()").await;
    }
    db.run(emit).await;
    let (to, more, events) = look(&db, &from, 1).await;
    assert_eq!((more, events.len()), (true, 2), "{to}");
    // Rendered it is the same part.
    let rendered = format!("select count(id) from rowcast.look('{from}', true, 1)");
    assert_eq!(db.ask::<i64>(&rendered).await, 2);
    let (_, more, events) = look(&db, &to, 1).await;
    assert_eq!((more, events.len()), (false, 1));
}

/// Pairs of transactions, of which the older writes a row behind the younger; one that was open
/// before, and one that stays open. In parts it is the same as in one look: each once, and a row's
/// versions in order.
#[tokio::test]
async fn a_look_in_parts_brings_each_event_once_and_a_row_in_order() {
    let db = database().await;
    let (elder, younger) = (db.client("postgres").await, db.client("postgres").await);
    let (before, open) = (db.client("postgres").await, db.client("postgres").await);
    let meanwhile = db.client("postgres").await;
    let begin = "begin; select pg_current_xact_id()";
    let emit = |row: i64, version: i64| {
        format!(
            "select rowcast.emit('c', 'e', array['*'], '{{\"row\":{row},\"version\":{version}}}')"
        )
    };
    before.batch_execute(begin).await.unwrap();
    let from: String = db.ask("select pg_current_snapshot()::text").await;
    open.batch_execute(begin).await.unwrap();
    open.batch_execute(&emit(-1, 1)).await.unwrap();
    meanwhile.batch_execute(begin).await.unwrap();
    meanwhile.batch_execute(&emit(-2, 1)).await.unwrap();
    for row in 0..60 {
        elder.batch_execute(begin).await.unwrap();
        // Where a transaction stands among others its last event says, not its first.
        elder.batch_execute(&emit(100 + row, 1)).await.unwrap();
        younger.batch_execute(&emit(row, 1)).await.unwrap();
        if row == 30 {
            before.batch_execute(&emit(row, 2)).await.unwrap();
            before.batch_execute("commit").await.unwrap();
        }
        elder.batch_execute(&emit(row, 3)).await.unwrap();
        elder.batch_execute("commit").await.unwrap();
    }

    let (whole, more, expected) = look(&db, &from, 1 << 30).await;
    assert!(!more && expected.len() == 181, "{whole}: {expected:?}");
    let (mut place, mut found, mut parts) = (from, Vec::new(), 0);
    loop {
        let (to, more, events) = look(&db, &place, 1024).await;
        place = to;
        found.extend(events);
        parts += 1;
        if parts == 1 {
            // Begun before that place, and ended behind it.
            meanwhile.batch_execute("commit").await.unwrap();
        }
        if !more {
            break;
        }
    }
    // The last hundred transactions are not measured.
    assert!(parts > 3, "{parts}");
    for row in 0..60 {
        let versions = |events: &[(i64, i64)]| -> Vec<i64> {
            let of_row = events.iter().filter(|event| event.0 == row);
            of_row.map(|event| event.1).collect()
        };
        assert_eq!(versions(&found), versions(&expected), "row {row}");
    }
    assert!(found.contains(&(-2, 1)), "{found:?}");
    assert_eq!(found.len(), expected.len() + 1);
    open.batch_execute("commit").await.unwrap();
    assert_eq!(look(&db, &place, 1024).await.2, [(-1, 1)]);
}

/// Behind a part nobody waits for the bell, which has rung once for all of it.
#[tokio::test]
async fn a_listener_that_has_read_a_part_goes_on() {
    let db = database().await;
    let server = serve(&db, in_small_parts).await;
    let mut reader = ws(&server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    // One that comes while they are written, for whatever reason, would take many at once.
    let holder = db.hold_a_look(&server).await;
    write_in_silence(&db, 300).await;
    holder.batch_execute("commit").await.unwrap();
    marker(&db, &["*"]).await;
    let heard = reader.events_until("marker");
    let events = within("all of it is heard", heard).await;
    let numbers = events.iter().map(|event| event["data"]["n"].as_i64());
    assert!(numbers.eq((1..=300).map(Some)), "{events:?}");
    let batches = server.gate.hub.sizes().ring_batches;
    assert!(batches > 20, "{batches}");
}

/// Who comes from ahead of it is not told that the place is from elsewhere, however many parts there
/// are up to it.
#[tokio::test]
async fn a_bookmark_from_ahead_is_waited_for_through_all_parts() {
    let db = database().await;
    let server = serve(&db, in_small_parts).await;
    let mut first = ws(&server, &token("1", "user", ""), "").await;
    first.expect("welcome").await;
    // The last hundred come in one part. More parts take more of the time that is waited.
    write_in_silence(&db, 150).await;
    let ahead: String = db.ask("select rowcast.bookmark()").await;
    let query = format!("since={ahead}");
    // More may have come meanwhile than it waits for.
    let mut reader = let_in(&server, &token("1", "user", ""), &query).await;
    let subscribed = reader.expect("subscribed").await;
    assert_eq!(subscribed["outcome"], "recovered", "{subscribed}");
    assert_eq!(subscribed["count"], 0);
}

/// How long a look may be silent: more than a busy machine takes to build it.
const SILENCE: Duration = Duration::from_secs(5);

/// Twelve megabytes of one transaction, which no part can be smaller than, and a marker behind them, over a
/// link that takes longer for them: until the marker is heard.
async fn much_comes(db: &Database, link: &Proxy, reader: &mut Subscriber) {
    link.set(Way::Delay(Duration::from_millis(300)));
    db.run(
        "select rowcast.emit('c', 'e', array['nobody'], to_json(repeat(lpad(n::text, 32, '0'), 640))) \
         from generate_series(1, 600) n",
    )
    .await;
    let began = Instant::now();
    marker(db, &["*"]).await;
    within("what is behind it is heard", reader.expect_event("marker")).await;
    let took = began.elapsed();
    assert!(took > SILENCE, "{took:?} is too little to show anything");
}

fn little_silence(settings: &mut Settings) {
    settings.listener.look_timeout = SILENCE;
    settings.listener.look_timeout_max = SILENCE;
}

/// Longer than any look may be silent.
#[tokio::test]
async fn a_look_that_takes_long_over_a_slow_link_comes_to_its_end() {
    let mut db = database().await;
    let (link, url) = Proxy::to(&db).await;
    db.service_url = url;
    let server = serve(&db, little_silence).await;
    let mut reader = ws(&server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    much_comes(&db, &link, &mut reader).await;
}

/// What a DBA sets for the role is meant for what people do by it: each look was cancelled, and begun
/// again from the same place for good.
#[tokio::test]
async fn a_timeout_of_the_role_ends_no_catch_up() {
    let mut db = database().await;
    db.run(&format!(
        "alter role rowcast_service in database {} set statement_timeout = '700ms'",
        db.name
    ))
    .await;
    let (link, url) = Proxy::to(&db).await;
    db.service_url = url;
    let server = serve(&db, |_| {}).await;
    let mut reader = ws(&server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    much_comes(&db, &link, &mut reader).await;
}

/// It rang, and was read by itself, with one timeout for all of it.
#[tokio::test]
async fn a_large_transaction_that_rang_costs_no_connection() {
    let mut db = database().await;
    let (link, url) = Proxy::to(&db).await;
    db.service_url = url;
    let server = serve(&db, |settings| {
        little_silence(settings);
        settings.listener.doorbell = Some(Doorbell::Always);
        settings.listener.floor = Duration::from_secs(3600);
        settings.listener.proof = Duration::from_secs(3600);
    })
    .await;
    let mut reader = ws(&server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    eventually("it leads, and all ring", async || {
        let bell = server.gate.pulse.bell()?;
        (bell.leads && bell.rings).then_some(())
    })
    .await;
    // Behind one that rang, the listener sleeps.
    for _ in 0..3 {
        marker(&db, &["*"]).await;
        reader.expect_event("marker").await;
    }
    let leader = "select pid from pg_stat_activity where datname = current_database() \
         and application_name like 'rowcast %'";
    let before: i32 = db.ask(leader).await;
    much_comes(&db, &link, &mut reader).await;
    assert_eq!(db.ask::<i32>(leader).await, before);
}

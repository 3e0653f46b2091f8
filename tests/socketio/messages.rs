use super::*;
use crate::support::lab;

pub async fn with_lab(database: &Database) {
    database
        .run(
            "insert into lab.organizations (org_id, name) values (1, 'one') on conflict do nothing;
             insert into lab.labs (lab_id, org_id, name) values (1, 1, 'a'), (2, 1, 'b')
             on conflict do nothing",
        )
        .await;
    at_home_alone(database).await;
}

/// Nobody is in a lab's room from the start.
pub async fn at_home_alone(database: &Database) {
    database
        .run(
            "create function public.home(claims jsonb) returns text[] language sql as $$
               select array['user:' || (claims ->> 'sub')]
             $$;
             delete from rowcast.home_rule;
             insert into rowcast.home_rule values ('public.home(jsonb)')",
        )
        .await;
}

/// A browser sends it once more, by itself, where the link is torn before the answer has come: what a page asked
/// for once was done twice.
#[tokio::test]
async fn what_is_sent_again_is_heard_once() {
    let database = lab().await;
    with_lab(&database).await;
    let server = serve_dialect(&database, "chat", |_| {}).await;
    let path = polled(&server).await;
    for (stamp, packet) in [
        ("a", r#"420["join-lab",1]"#),
        ("b", r#"420["join-lab",1]"#),
        ("b", r#"420["join-lab",1]"#),
        ("c", r#"421["join-lab",2]"#),
    ] {
        assert_eq!(
            post(&server, &format!("{path}&t={stamp}"), packet).await,
            200
        );
    }
    let mut heard = String::new();
    while !heard.contains("431[") {
        heard += &get(&server, &path, &[]).await.body;
    }
    assert_eq!(heard.matches("430[").count(), 2, "{heard}");
    server.stop().await;
}

#[tokio::test]
async fn a_join_is_admitted_and_acknowledged_and_a_forged_one_is_not() {
    let database = lab().await;
    with_lab(&database).await;
    let server = serve_dialect(&database, "chat", |_| {}).await;
    let node = Clients::start();
    for transports in WAYS {
        let mut client = client(&node, &server, signed_in(&alice(), transports)).await;
        for (name, room) in [("not for her", "lab:1"), ("settled", "user:1")] {
            let emit = format!("select rowcast.emit('c', '{name}', array['{room}'], '{{}}')");
            database.run(&emit).await;
        }
        let events = client.events_until("settled").await;
        assert_eq!(events.len(), 1, "{events:?}");
        let answer = client.ask("join-lab", json!([1])).await;
        assert_eq!(answer, [json!({ "ok": true, "room": "lab:1" })]);
        // As text, and by its other name.
        let answer = client.ask("joinLab", json!(["2"])).await;
        assert_eq!(answer, [json!({ "ok": true, "room": "lab:2" })]);
        let answer = client.ask("join-lab", json!([99])).await;
        assert_eq!(
            answer,
            [json!({ "ok": false, "why": "forbidden", "room": "lab:99" })]
        );
        let answer = client.ask("join-lab", json!([{ "id": 1 }])).await;
        assert_eq!(answer[0]["why"], "bad-message", "{answer:?}");
        marker(&database, &["lab:1"]).await;
        client.until_event("marker").await;
        let answer = client.ask("leave-lab", json!([1])).await;
        assert_eq!(answer, [json!({ "left": "lab:1" })]);
        marker(&database, &["lab:1"]).await;
        database
            .run("select rowcast.emit('c', 'after', array['user:1'], '{}')")
            .await;
        let events = client.events_until("after").await;
        assert!(
            events.iter().all(|(name, _)| name != "marker"),
            "{events:?}"
        );
        client.disconnect().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_join_without_a_callback_joins_and_a_refused_one_is_told() {
    let database = lab().await;
    with_lab(&database).await;
    let server = serve_dialect(&database, "chat", |_| {}).await;
    let node = Clients::start();
    let mut client = client(&node, &server, signed_in(&alice(), &["websocket"])).await;
    client.emit("join-lab", json!([99])).await;
    let error = client.until_event("rowcast:error").await;
    assert_eq!(error[0]["code"], "forbidden", "{error:?}");
    assert_eq!(error[0]["room"], "lab:99");
    client.emit("join-lab", json!([1])).await;
    // Messages are heard in their order.
    assert_eq!(
        client.ask("where", json!([])).await,
        [json!({ "you": "1" })]
    );
    marker(&database, &["lab:1"]).await;
    client.until_event("marker").await;
    server.stop().await;
}

#[tokio::test]
async fn a_call_is_answered_by_its_acknowledgement() {
    let database = lab().await;
    with_lab(&database).await;
    let server = serve_dialect(&database, "chat", |_| {}).await;
    let node = Clients::start();
    let client = client(
        &node,
        &server,
        signed_in(&alice(), &["polling", "websocket"]),
    )
    .await;
    let answer = client.ask("week", json!([{ "lab": 1 }])).await;
    assert_eq!(answer.len(), 1, "{answer:?}");
    assert!(answer[0]["slots"].is_array(), "{answer:?}");
    let answer = client.ask("week", json!([{ "lab": 99 }])).await;
    assert_eq!(answer[0]["type"], "error", "{answer:?}");
    let answer = client
        .ask("watch", json!([{ "data": { "labs": [1, 2] } }]))
        .await;
    assert_eq!(answer, [json!({ "rooms": ["lab:1", "lab:2"] })]);
    server.stop().await;
}

#[tokio::test]
async fn what_nobody_knows_is_ignored_and_counts_against_the_rate() {
    let database = lab().await;
    let server = serve_dialect(&database, "chat", |settings| {
        settings.limits.messages_per_second = 2;
    })
    .await;
    let path = polled(&server).await;
    // In one: between two, time would allow another.
    let mut packets = vec![r#"42["nobody knows",1,{"a":[null]}]"#; 20];
    packets.push(r#"427["where"]"#);
    assert_eq!(post(&server, &path, &packets.join("\u{1e}")).await, 200);
    marker(&database, &["user:1"]).await;
    let mut heard: Vec<String> = Vec::new();
    eventually("the answer and the marker", async || {
        let answer = get(&server, &path, &[]).await.body;
        heard.extend(answer.split('\u{1e}').map(str::to_owned));
        (heard.len() > 1).then_some(())
    })
    .await;
    heard.sort_unstable();
    assert!(
        heard[0].starts_with("42[\"marker\"")
            && heard[1].starts_with("437[")
            && heard[1].contains("rate-limited"),
        "{heard:?}"
    );
    assert_eq!(heard.len(), 2, "nothing is said about them");
    server.stop().await;
}

#[tokio::test]
async fn the_dialects_welcome_comes_first() {
    let database = lab().await;
    let server = serve_dialect(&database, "chat", |_| {}).await;
    let node = Clients::start();
    let mut client = node
        .connect(&server.url, signed_in(&alice(), &["websocket"]))
        .await;
    let events = client.events_until("rowcast:welcome").await;
    let (name, args) = &events[0];
    assert_eq!(name, "hello", "{events:?}");
    assert_eq!(args[0]["you"], "1");
    assert_eq!(events.len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_big_ends_the_connection_and_it_comes_back() {
    let database = lab().await;
    let server = serve_dialect(&database, "chat", |settings| {
        settings.limits.message_bytes = 2048;
    })
    .await;
    let node = Clients::start();
    let mut client = client(&node, &server, signed_in(&alice(), &["websocket"])).await;
    client.emit("where", json!(["x".repeat(5000)])).await;
    let reason = client.disconnected().await;
    assert!(reason.starts_with("transport"), "{reason}");
    client.reconnected().await;
    server.stop().await;
}

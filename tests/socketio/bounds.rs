use super::*;
use crate::support::socketio::Heard;
use crate::support::{SLACK, eventually, get, lab, long_replay, metric, token_with, within};
use futures_util::{SinkExt, StreamExt};
use rowcast::clock::unix_now;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_burst_comes_whole_to_whoever_reads() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.queue_bytes = 16 << 20;
        // The first is quiet until the last has come in.
        settings.socketio.heartbeat = Duration::from_secs(600);
    })
    .await;
    let node = Clients::start();
    let mut clients = Vec::new();
    for transports in WAYS {
        clients.push(client(&node, &server, signed_in(&alice(), transports)).await);
    }
    database.run(&numbered(1, 10_000, "user:1")).await;
    for client in &mut clients {
        for expected in 1..=10_000 {
            let heard = client.next().await;
            let Heard::Event { args, .. } = &heard else {
                panic!("{heard:?} before {expected}");
            };
            assert_eq!(number(args), expected);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_falls_behind_is_cut_and_misses_nothing_when_it_comes_back() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.queue_bytes = 100_000;
        settings.limits.message_bytes = 50_000;
    })
    .await;
    let lagged = "rowcast_connections_closed_total{reason=\"lagged\"}";
    let before = metric(&server, lagged).await;
    let node = Clients::start();
    let mut client = node
        .resuming(&server.url, signed_in(&alice(), &["websocket"]))
        .await;
    client.connected().await;
    client.until_event("rowcast:welcome").await;
    database.run(&numbered(1, 5000, "user:1")).await;
    let reason = client.disconnected().await;
    assert!(reason.starts_with("transport"), "{reason}");
    for expected in 1..=5000 {
        let (_, args) = client.next_event().await;
        assert_eq!(number(&args), expected);
    }
    assert!(metric(&server, lagged).await > before);
    server.stop().await;
}

const BIG: &str = "select rowcast.emit('c', 'big', array['user:1'], to_json(repeat('x', 50000)))";

#[tokio::test]
async fn whoever_stops_reading_is_cut_within_its_bounds() {
    let database = lab().await;
    for revoked in [false, true] {
        let server = serve_dialect(&database, "plain", |settings| {
            settings.limits.queue_bytes = 500_000;
            settings.limits.write_stall = Duration::from_secs(if revoked { 600 } else { 1 });
        })
        .await;
        let node = Clients::start();
        let stalled = client(&node, &server, signed_in(&alice(), &["websocket"])).await;
        stalled.stop_reading().await;
        if revoked {
            eventually("its events wait", async || {
                database.run(BIG).await;
                // Not many at one look: its queue would be full.
                server.has_read(&database).await;
                (server.gate.hub.sizes().queue_bytes > 100_000).then_some(())
            })
            .await;
            database.run("select rowcast.revoke('1')").await;
            let began = Instant::now();
            free(&server).await;
            let took = began.elapsed();
            assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");
        } else {
            eventually("it is cut", async || {
                database.run(BIG).await;
                (server.gate.seats.taken() == 0).then_some(())
            })
            .await;
        }
        assert_eq!(server.gate.hub.sizes().queue_bytes, 0);
        eventually("nothing of it is left", async || {
            let sizes = server.gate.hub.sizes();
            (sizes.subscriptions == 0).then_some(())
        })
        .await;
        server.stop().await;
    }
}

#[tokio::test]
async fn who_takes_nothing_is_cut_by_the_clock_even_if_little_happens() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        // Long enough to be seen inside.
        settings.limits.write_stall = Duration::from_secs(4);
        settings.limits.unsent_bytes = 4096;
    })
    .await;
    // A page that polls once, and then never again.
    let path = opened(&server).await;
    let connect = format!("40{}", json!({ "token": alice() }));
    assert_eq!(post(&server, &path, &connect).await, 200);
    eventually("it is in", async || {
        (server.gate.seats.taken() == 1).then_some(())
    })
    .await;
    free(&server).await;
    let answer = get(&server, &path, &[]).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    server.stop().await;
}

/// What the other namespace was sent meanwhile made more wait than before, and nothing that was fetched
/// counted until that was less again.
#[tokio::test]
async fn who_fetches_steadily_is_not_cut_for_what_came_meanwhile_in_another_namespace() {
    let database = lab().await;
    messages::with_lab(&database).await;
    let stall = Duration::from_secs(1);
    let server = serve_dialect(&database, "chat", |settings| {
        settings.limits.write_stall = stall;
        // A few packets in an answer.
        settings.limits.message_bytes = 1000;
    })
    .await;
    let path = opened(&server).await;
    for (namespace, lab) in [("", 1), ("/staff,", 2)] {
        let connect = format!("40{namespace}{}", json!({ "token": alice() }));
        assert_eq!(post(&server, &path, &connect).await, 200);
        fetch_until(&server, &path, "rowcast:welcome").await;
        let join = format!("42{namespace}1[\"join-lab\",{lab}]");
        assert_eq!(post(&server, &path, &join).await, 200);
        fetch_until(&server, &path, &format!("43{namespace}1[")).await;
    }
    for sql in [numbered(0, 1, "lab:1"), numbered(1, 200, "lab:2")] {
        database.run(&sql).await;
        server.has_read(&database).await;
        eventually("it is on its way", async || {
            (server.gate.hub.sizes().queue_bytes == 0).then_some(())
        })
        .await;
    }
    let (began, mut pace) = (Instant::now(), tokio::time::interval(stall / 10));
    let mut fetched = 0;
    while fetched < 201 {
        pace.tick().await;
        let answer = get(&server, &path, &[]).await;
        assert_eq!(answer.status, 200, "after {fetched}: {}", answer.body);
        fetched += answer.body.matches("\"numbered\"").count();
    }
    assert!(began.elapsed() > 2 * stall);
    marker(&database, &["user:1"]).await;
    fetch_until(&server, &path, "marker").await;
    server.stop().await;
}

/// A proxy that lets a WebSocket begin and then tears it.
#[tokio::test]
async fn an_upgrade_that_fails_leaves_no_ghost() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let path = polled(&server).await;
    // It has given its sign of life: nothing waits for it that could be waited for too long.
    post(&server, &path, "3").await;
    let request = path.replace("polling", "websocket");
    let request = format!("ws://{}{request}", server.address);
    let stream = tokio::net::TcpStream::connect(&server.address).await;
    let connected = tokio_tungstenite::client_async(request, stream.expect("it listens")).await;
    drop(connected.expect("a WebSocket"));
    free(&server).await;
    assert_eq!(get(&server, &path, &[]).await.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_expires_and_a_user_who_is_revoked_are_disconnected() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let node = Clients::start();
    for (user, transports) in ["3", "4", "5"].into_iter().zip(WAYS) {
        let issued = json!({ "sub": user, "iat": unix_now() - 5, "exp": unix_now() + 600 });
        let mut cut = client(&node, &server, signed_in(&token_with(&issued), transports)).await;
        if transports.len() > 1 {
            cut.upgraded().await;
        }
        // Whoever can't be told at once is cut without a word.
        cut.asks_for_more().await;
        let began = Instant::now();
        let revoke = format!("select rowcast.revoke('{user}')");
        database.run(&revoke).await;
        let reason = cut.disconnected().await;
        assert_eq!(reason, "io server disconnect", "revoked, {transports:?}");
        eprintln!("{transports:?}: cut after {:?}", began.elapsed());
        free(&server).await;
        cut.connect().await;
        let refused = cut.refused_again().await;
        assert_eq!(refused, "unauthorized");
    }
    // Later than the last of them is in.
    let brief = token_with(&json!({ "sub": "2", "exp": unix_now() + 10 }));
    let mut late = Vec::new();
    for transports in WAYS {
        late.push(client(&node, &server, signed_in(&brief, transports)).await);
    }
    for (late, transports) in late.iter_mut().zip(WAYS) {
        let reason = late.disconnected().await;
        assert_eq!(reason, "io server disconnect", "expired, {transports:?}");
    }
    free(&server).await;
    server.stop().await;
}

/// For a third of a second it was told what happened, until the connection was closed for it.
#[tokio::test]
async fn whoever_has_expired_hears_nothing_behind_the_word_for_it() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let brief = token_with(&json!({ "sub": "1", "exp": unix_now() + 3 }));
    let mut late = ByHand::open(&server).await;
    late.say(&format!("40{}", json!({ "token": brief }))).await;
    while late.hears().await != "41" {}
    database.run(&numbered(1, 1, "user:1")).await;
    let mut behind = Vec::new();
    while let Some(packet) = late.next().await {
        behind.push(packet);
    }
    assert_eq!(behind, [] as [&str; 0]);
    server.stop().await;
}

/// As applications do, on the connection that lives on for another namespace: its sign-in was taken for
/// one of somebody who is in, and never answered.
#[tokio::test]
async fn who_signs_in_anew_as_soon_as_it_has_expired_is_let_in() {
    let database = lab().await;
    let server = serve_dialect(&database, "chat", |_| {}).await;
    let node = Clients::start();
    for transports in WAYS {
        let mut lives = client(&node, &server, signed_in(&alice(), transports)).await;
        if transports.len() > 1 {
            lives.upgraded().await;
        }
        let brief = token_with(&json!({ "sub": "2", "exp": unix_now() + 3 }));
        let mut expires = lives.beside("/staff", signed_in(&brief, transports)).await;
        expires.until_event("rowcast:welcome").await;
        let anew = json!({ "token": token("2", "user", "1") });
        expires.sign_in_with(anew).await;
        assert_eq!(expires.disconnected().await, "io server disconnect");
        expires.connect().await;
        expires.connected().await;
        let welcome = expires.until_event("rowcast:welcome").await;
        assert_eq!(welcome[0]["user"], "2", "{transports:?}");
        marker(&database, &["user:1", "user:2"]).await;
        expires.until_event("marker").await;
        lives.until_event("marker").await;
        lives.disconnect().await;
        expires.disconnect().await;
        free(&server).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_room_that_is_taken_away_falls_silent_and_is_told_of() {
    let database = lab().await;
    database
        .run(
            "insert into lab.organizations (org_id, name) values (1, 'one');
             insert into lab.labs (lab_id, org_id, name) values (7, 1, 'a')",
        )
        .await;
    messages::at_home_alone(&database).await;
    let server = serve_dialect(&database, "chat", |_| {}).await;
    let node = Clients::start();
    for transports in WAYS {
        let mut client = client(&node, &server, signed_in(&alice(), transports)).await;
        assert_eq!(client.ask("join-lab", json!([7])).await[0]["ok"], true);
        database
            .run("delete from rowcast.room_rule where pattern = 'lab:*'")
            .await;
        let error = client.until_event("rowcast:error").await;
        assert_eq!(error[0]["room"], "lab:7", "{error:?}");
        marker(&database, &["lab:7"]).await;
        database
            .run("select rowcast.emit('c', 'after', array['user:1'], '{}')")
            .await;
        let events = client.events_until("after").await;
        assert_eq!(events.len(), 1, "{events:?}");
        client.disconnect().await;
        database
            .run("insert into rowcast.room_rule values ('lab:*', 'lab_push.may_join_lab(jsonb, text)')")
            .await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_quiet_client_is_told_where_it_stands() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.socketio.heartbeat = Duration::from_millis(300);
    })
    .await;
    let node = Clients::start();
    for transports in WAYS {
        let mut client = client(&node, &server, signed_in(&alice(), transports)).await;
        let heartbeat = client.until_event("rowcast:heartbeat").await;
        assert!(heartbeat[0]["bookmark"].is_string(), "{heartbeat:?}");
        client.disconnect().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_link_that_died_is_noticed_by_both_sides() {
    use crate::support::proxy::{Proxy, Upstream};
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.socketio.ping = Duration::from_secs(1);
        // Long enough for a pong on a busy machine, while the link is whole.
        settings.socketio.pong_timeout = Duration::from_secs(5);
    })
    .await;
    let proxy = Proxy::start(Upstream::Tcp(server.address.clone()), 7).await;
    let url = format!("http://{}", proxy.address);
    let node = Clients::start();
    let mut client = node
        .connect(&url, signed_in(&alice(), &["websocket"]))
        .await;
    client.connected().await;
    proxy.freeze_present();
    assert_eq!(client.disconnected().await, "ping timeout");
    client.reconnected().await;
    // The old one is gone, the new one is in.
    eventually("one seat", async || {
        (server.gate.seats.taken() == 1).then_some(())
    })
    .await;
    server.stop().await;
}

/// A connection that a WebSocket carries, spoken to by hand, which nobody has signed in to.
struct ByHand(WebSocketStream<TcpStream>);

impl ByHand {
    async fn open(server: &Server) -> Self {
        let url = format!(
            "ws://{}/socket.io/?EIO=4&transport=websocket",
            server.address
        );
        let stream = TcpStream::connect(&server.address).await;
        let opened = tokio_tungstenite::client_async(url, stream.expect("it listens")).await;
        let mut opened = Self(opened.expect("a WebSocket").0);
        assert!(opened.hears().await.starts_with('0'));
        opened
    }

    /// Whether it could be said.
    async fn say(&mut self, packet: &str) -> bool {
        self.0.send(Message::text(packet)).await.is_ok()
    }

    /// The next packet; nothing at the end.
    async fn next(&mut self) -> Option<String> {
        let next = within("a packet, or the end", self.0.next()).await?;
        next.ok()?
            .into_text()
            .ok()
            .filter(|text| !text.is_empty())
            .map(|text| text.to_string())
    }

    async fn hears(&mut self) -> String {
        self.next().await.expect("a packet")
    }

    /// The next event of this name, with its arguments.
    async fn event(&mut self, name: &str) -> Value {
        loop {
            let packet = self.hears().await;
            let list = packet.strip_prefix("42").unwrap_or("null");
            let list: Value = serde_json::from_str(list).expect("JSON");
            if list[0] == name {
                return list;
            }
        }
    }

    /// All that comes before a packet with this word.
    async fn until(&mut self, word: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let packet = self.hears().await;
            if packet.contains(word) {
                return before;
            }
            before.push(packet);
        }
    }
}

/// The packets of all polls up to the one that brings this word.
async fn fetch_until(server: &Server, path: &str, word: &str) -> Vec<String> {
    let mut packets = Vec::new();
    loop {
        let answer = get(server, path, &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        packets.extend(answer.body.split('\u{1e}').map(str::to_owned));
        if answer.body.contains(word) {
            return packets;
        }
    }
}

/// The ping waits behind the replay, and what is still to be taken of that is no reason to cut anybody.
#[tokio::test]
async fn a_ping_in_a_long_replay_cuts_nobody_who_takes_it() {
    let database = lab().await;
    let (since, count) = long_replay(&database, "*").await;
    let server = serve_dialect(&database, "plain", |settings| {
        // Mostly later than the replay has begun.
        settings.socketio.ping = Duration::from_secs(3);
        settings.socketio.pong_timeout = Duration::from_secs(600);
        settings.socketio.connect = Duration::from_secs(600);
        settings.limits.write_stall = Duration::from_secs(600);
        // All of it is read in one.
        settings.database.statement_timeout = Duration::from_secs(60);
    })
    .await;
    let connect = format!("40{}", json!({ "token": alice(), "since": since }));
    let mut socket = ByHand::open(&server).await;
    assert!(socket.say(&connect).await);
    let mut heard = socket.until("rowcast:subscribed").await;
    let path = opened(&server).await;
    assert_eq!(post(&server, &path, &connect).await, 200);
    let mut fetched = fetch_until(&server, &path, "rowcast:subscribed").await;
    // It was opened last, and is pinged last.
    let mut clock = ByHand::open(&server).await;
    clock.until("2").await;
    marker(&database, &["user:1"]).await;
    heard.extend(socket.until("marker").await);
    let is_big = |packet: &str| packet.contains("\"big\"");
    let events = heard.iter().filter(|packet| is_big(packet)).count();
    let pings = heard.iter().filter(|packet| *packet == "2").count();
    assert_eq!((events, pings), (count, 1));
    fetched.extend(fetch_until(&server, &path, "marker").await);
    let events = fetched.iter().filter(|packet| is_big(packet)).count();
    let pings = fetched.iter().filter(|packet| *packet == "2").count();
    assert_eq!((events, pings), (count, 1));
    server.stop().await;
}

#[tokio::test]
async fn sign_ins_that_fail_keep_nobody_here() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.messages_per_second = 1_000_000;
        settings.socketio.connect = Duration::from_secs(1);
    })
    .await;
    let mut socket = ByHand::open(&server).await;
    let trying = async {
        while socket.say("40{\"token\":\"forged\"}").await && socket.next().await.is_some() {}
    };
    within("the end", trying).await;
    server.stop().await;
}

#[tokio::test]
async fn sign_ins_above_the_rate_are_refused_unseen() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.messages_per_second = 1;
    })
    .await;
    let limited = "rowcast_refusals_total{code=\"rate-limited\"}";
    let before = metric(&server, limited).await;
    let mut socket = ByHand::open(&server).await;
    for _ in 0..40 {
        assert!(socket.say("40/elsewhere,").await);
    }
    let (mut looked_at, mut refused) = (0, 0);
    while looked_at + refused < 40 {
        match socket.hears().await.as_str() {
            r#"44/elsewhere,{"message":"Invalid namespace"}"# => looked_at += 1,
            r#"44/elsewhere,{"message":"rate-limited"}"# => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(
        looked_at >= 2 && refused >= 20,
        "{looked_at} looked at, {refused} refused"
    );
    let counted = metric(&server, limited).await - before;
    assert!(counted >= f64::from(refused), "{counted} of {refused}");
    server.stop().await;
}

/// Its place in the namespace is free before it hears of the refusal.
#[tokio::test]
async fn who_signs_in_at_once_after_a_refusal_is_answered() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.messages_per_second = 10_000;
        settings.socketio.connect = Duration::from_secs(600);
    })
    .await;
    let mut socket = ByHand::open(&server).await;
    for _ in 0..500 {
        assert!(socket.say("40{\"token\":\"forged\"}").await);
        assert!(socket.hears().await.starts_with("44"));
    }
    let connect = format!("40{}", json!({ "token": alice() }));
    assert!(socket.say(&connect).await);
    socket.until("rowcast:welcome").await;
    server.stop().await;
}

/// Packets say the namespace, and not for whom they are: nothing that somebody asked for who has left may
/// come to the next. What they acknowledged counts.
#[tokio::test]
async fn who_comes_to_a_namespace_hears_nothing_of_who_left_it() {
    let database = lab().await;
    messages::at_home_alone(&database).await;
    database
        .run(
            "create function public.in_time(claims jsonb, room text) returns boolean
             language plpgsql as $$
             begin
               perform pg_advisory_xact_lock_shared(4711);
               return true;
             end $$;
             update rowcast.room_rule set may_join = 'public.in_time(jsonb, text)'
             where pattern = 'lab:*'",
        )
        .await;
    let server = serve_dialect(&database, "chat", |settings| {
        settings.database.statement_timeout = Duration::from_secs(60);
    })
    .await;
    let held = database.client("postgres").await;
    let hold = "select pg_advisory_lock(4711)";
    held.batch_execute(hold).await.expect("a lock");
    let mut socket = ByHand::open(&server).await;
    let auth = json!({ "token": alice(), "reader": "page" });
    assert!(socket.say(&format!("40{auth}")).await);
    socket.until("rowcast:welcome").await;
    marker(&database, &["user:1"]).await;
    let event = socket.event("marker").await;
    let place = event[2]["bookmark"]
        .as_str()
        .expect("a bookmark")
        .to_owned();
    for lab in 0..3 {
        assert!(socket.say(&format!("42[\"join-lab\",{lab}]")).await);
    }
    assert!(socket.say(&format!("42[\"seen\",\"{place}\"]")).await);
    database
        .awaits("a rule is waited for", "locktype = 'advisory'")
        .await;
    let connect = format!("40{}", json!({ "token": token("2", "user", "1") }));
    assert!(socket.say("41").await && socket.say(&connect).await);
    let welcome = socket.event("rowcast:welcome").await;
    assert_eq!(welcome[1]["user"], "2");
    assert_eq!(server.gate.seats.taken(), 1);
    marker(&database, &["user:1"]).await;
    marker(&database, &["user:2"]).await;
    database
        .run("select rowcast.emit('c', 'after', array['user:2'], '{}')")
        .await;
    let mut markers = 0;
    loop {
        let packet = socket.hears().await;
        if packet.starts_with("42[\"after\"") {
            break;
        }
        markers += usize::from(packet.starts_with("42[\"marker\""));
    }
    assert_eq!(markers, 1);
    eventually("it is stored", async || {
        let stored = format!("select count(*) from rowcast.reader where bookmark = '{place}'");
        (database.ask::<i64>(&stored).await == 1).then_some(())
    })
    .await;
    drop(held);
    server.stop().await;
}

#[tokio::test]
async fn whoever_goes_on_by_requests_outlives_a_websocket_that_was_torn() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        // Later than whoever asks for nothing is let go.
        settings.socketio.ping = Duration::from_secs(4);
    })
    .await;
    let path = polled(&server).await;
    // The next ping is one that it has not fetched yet.
    assert_eq!(post(&server, &path, "3").await, 200);
    let request = path.replace("polling", "websocket");
    let request = format!("ws://{}{request}", server.address);
    let stream = tokio::net::TcpStream::connect(&server.address).await;
    let torn = tokio_tungstenite::client_async(request, stream.expect("it listens")).await;
    drop(torn.expect("a WebSocket"));
    let answer = within("a ping", get(&server, &path, &[])).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "2"));
    assert_eq!(post(&server, &path, "3").await, 200);
    marker(&database, &["user:1"]).await;
    eventually("it hears on", async || {
        let answer = get(&server, &path, &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        // Perhaps behind the next ping.
        answer.body.contains("marker").then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn binary_arguments_are_refused_and_nothing_else_ends_with_them() {
    let database = lab().await;
    let server = serve_dialect(&database, "chat", |_| {}).await;
    let path = polled(&server).await;
    let event = "451-7[\"where\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQID";
    assert_eq!(post(&server, &path, event).await, 200);
    let answer = get(&server, &path, &[]).await.body;
    assert!(
        answer.starts_with("437[") && answer.contains("bad-message"),
        "{answer}"
    );
    assert_eq!(post(&server, &path, "428[\"where\"]").await, 200);
    assert_eq!(get(&server, &path, &[]).await.body, "438[{\"you\":\"1\"}]");
    server.stop().await;
}

#[tokio::test]
async fn whoever_has_much_answered_and_fetches_nothing_is_cut() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.queue_bytes = 10_000;
    })
    .await;
    let path = polled(&server).await;
    let stranger = format!("40/{},", "x".repeat(100));
    let packets = vec![stranger.as_str(); 200].join("\u{1e}");
    post(&server, &path, &packets).await;
    free(&server).await;
    server.stop().await;
}

/// Before anybody has signed in.
#[tokio::test]
async fn who_asks_for_pongs_and_takes_none_is_cut() {
    use tokio::io::AsyncWriteExt;
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.queue_bytes = 300_000;
        settings.socketio.connect = Duration::from_secs(600);
    })
    .await;
    let stream = tokio::net::TcpStream::connect(&server.address).await;
    let mut stream = stream.expect("it listens");
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\n\
                   connection: upgrade\r\nupgrade: foo, websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let pings = [0x89, 0x80, 0, 0, 0, 0].repeat(100);
    let asking = async { while stream.write_all(&pings).await.is_ok() {} };
    within("the cut", asking).await;
    server.stop().await;
}

#[tokio::test]
async fn who_has_not_signed_in_keeps_nobody_of_another_address_out() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |settings| {
        settings.limits.connections_per_address = 5;
        settings.http.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        settings.socketio.connect = Duration::from_secs(600);
    })
    .await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let open = async |address: &str| {
        let answer = get(&server, path, &[("x-forwarded-for", address)]).await;
        (answer.status, answer.body)
    };
    let too_many = "rowcast_refusals_total{code=\"too-many-connections\"}";
    let before = metric(&server, too_many).await;
    let mut sids = Vec::new();
    for _ in 0..5 {
        let (status, body) = open("192.0.2.1").await;
        assert_eq!(status, 200, "{body}");
        sids.push(
            serde_json::from_str::<Value>(&body[1..]).expect("an open packet")["sid"].clone(),
        );
    }
    let (status, body) = open("192.0.2.1").await;
    assert_eq!(status, 429, "{body}");
    assert!(body.contains("too-many-connections"), "{body}");
    assert_eq!(open("192.0.2.2").await.0, 200);
    assert!(metric(&server, too_many).await > before);
    // Who closes makes room.
    let path = format!("{path}&sid={}", sids[0].as_str().expect("a sid"));
    post(&server, &path, "1").await;
    eventually("there is room again", async || {
        (open("192.0.2.1").await.0 == 200).then_some(())
    })
    .await;
    // Nor do a few addresses together: two were enough, each with a thousand.
    for number in 0..1100 {
        let address = format!("198.51.{}.{}", number / 250, number % 250);
        assert_eq!(open(&address).await.0, 200, "{address}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_packet_ends_the_connection() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    for packets in ["hello", "45x[]", "40{", "3\u{1e}"] {
        let path = polled(&server).await;
        assert_eq!(post(&server, &path, packets).await, 400, "{packets}");
        free(&server).await;
    }
    // Larger than any may be.
    let path = polled(&server).await;
    assert_eq!(post(&server, &path, &"3".repeat(100_000)).await, 413);
    free(&server).await;
    // Two at once would tear what they fetch.
    let path = polled(&server).await;
    let (first, second) = tokio::join!(get(&server, &path, &[]), get(&server, &path, &[]));
    let mut answers = [(first.status, first.body), (second.status, second.body)];
    answers.sort();
    assert_eq!(answers[0], (200, "1".to_owned()), "it is closed");
    assert_eq!(answers[1].0, 400);
    free(&server).await;
    let refused = "rowcast_refusals_total{code=\"protocol-error\"}";
    for (query, code) in [
        ("EIO=3&transport=polling", 5),
        ("EIO=4&transport=flash", 0),
        ("EIO=4&transport=polling&sid=none", 1),
    ] {
        let before = metric(&server, refused).await;
        let answer = get(&server, &format!("/socket.io/?{query}"), &[]).await;
        let error: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(
            (answer.status, &error["code"]),
            (400, &json!(code)),
            "{query}"
        );
        // Clients can't tell why: operators have to see it.
        assert!(metric(&server, refused).await > before, "{query}");
    }
    server.stop().await;
}

use super::*;
use crate::support::proxy::{Proxy, Upstream};
use crate::support::socketio::{Client, Heard};
use crate::support::within;
use crate::support::{eventually, get, lab};
use futures_util::{SinkExt, StreamExt};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn two_tabs_hear_the_same_in_the_same_order() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let node = Clients::start();
    let mut first = client(
        &node,
        &server,
        signed_in(&alice(), &["polling", "websocket"]),
    )
    .await;
    let mut second = client(&node, &server, signed_in(&alice(), &["polling"])).await;
    database.run(&numbered(1, 50, "user:1")).await;
    for tab in [&mut first, &mut second] {
        for expected in 1..=50 {
            let (_, args) = tab.next_event().await;
            assert_eq!(number(&args), expected);
        }
    }
    server.stop().await;
}

/// A browser asks once more, by itself, where the link is torn before an answer has come. What had been answered
/// was gone, and neither the page nor anybody else was told.
#[tokio::test]
async fn an_answer_that_is_asked_for_again_was_lost() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let path = polled(&server).await;
    let mut stamped = format!("{path}&t=0");
    for n in 1..=3 {
        database.run(&numbered(n, 1, "user:1")).await;
        stamped = format!("{path}&t={n}");
        let answer = get(&server, &stamped, &[]).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("numbered"), "{}", answer.body);
    }
    database.run(&numbered(4, 1, "user:1")).await;
    // Its client comes back, with the bookmark that it has.
    let answer = get(&server, &stamped, &[]).await;
    assert_eq!(
        (answer.status, answer.body.contains("numbered")),
        (400, false)
    );
    let answer = get(&server, &format!("{path}&t=4"), &[]).await;
    assert_eq!(answer.status, 400);
    free(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_brings_its_bookmark_gets_what_it_missed_and_nothing_twice() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let node = Clients::start();
    for transports in WAYS {
        let mut client = client(&node, &server, signed_in(&alice(), transports)).await;
        marker(&database, &["user:1"]).await;
        let seen = client.until_event("marker").await;
        client.disconnect().await;
        database.run(&numbered(1, 30, "user:1")).await;
        let since = &seen[1]["bookmark"];
        // The second of them hears the first one's marker, too.
        let ways = [
            json!({ "auth": { "token": alice(), "since": since } }),
            json!({ "auth": { "token": alice() }, "query": { "since": since } }),
        ];
        for (count, options) in (30..).zip(ways) {
            let mut options = options;
            options["transports"] = json!(transports);
            let mut client = node.connect(&server.url, options).await;
            let events = client.events_until("rowcast:subscribed").await;
            let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(
                names,
                ["rowcast:welcome", "rowcast:subscribed"],
                "before the replay"
            );
            let subscribed = &events[1].1[0];
            assert_eq!(subscribed["outcome"], "recovered", "{subscribed}");
            // What the service has not read yet comes live.
            let recovered = subscribed["count"].as_u64().expect("a count");
            assert!(recovered <= count, "{subscribed}");
            for expected in 1..=30 {
                let (_, args) = client.next_event().await;
                assert_eq!(number(&args), expected);
            }
            marker(&database, &["user:1"]).await;
            for _ in 30..=count {
                assert_eq!(client.next_event().await.0, "marker");
            }
            client.disconnect().await;
        }
    }
    server.stop().await;
}

/// A client, with what it was told.
struct Told<'a> {
    client: Client<'a>,
    ids: BTreeSet<Option<String>>,
    numbers: Vec<u64>,
    cuts: usize,
}

impl Told<'_> {
    /// Takes what comes, up to this number, or without one up to the end.
    async fn up_to(&mut self, last: Option<u64>) {
        within("all of it", async {
            while last.is_none() || self.numbers.last() < last.as_ref() {
                match self.client.next().await {
                    // At least once; the id tells.
                    Heard::Event { name, args }
                        if name == "numbered"
                            && self.ids.insert(args[1]["id"].as_str().map(str::to_owned)) =>
                    {
                        self.numbers.push(number(&args));
                    }
                    Heard::Event { name, .. } if name == "end" => break,
                    Heard::Event { name, args } => assert_ne!(name, "rowcast:gap", "{args:?}"),
                    Heard::Disconnected { active, .. } => {
                        assert!(active, "it comes back by itself");
                        self.cuts += 1;
                    }
                    _ => {}
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn links_that_are_cut_in_mid_stream_lose_nothing() {
    let database = lab().await;
    // A client that is cut while it goes over to WebSocket hears of it when no ping comes any more.
    let server = serve_dialect(&database, "plain", |settings| {
        settings.socketio.ping = Duration::from_secs(2);
        settings.socketio.pong_timeout = Duration::from_secs(2);
    })
    .await;
    let proxy = Proxy::start(Upstream::Tcp(server.address.clone()), 7).await;
    let url = format!("http://{}", proxy.address);
    let node = Clients::start();
    let mut clients = Vec::new();
    for transports in WAYS {
        let mut client = node.resuming(&url, signed_in(&alice(), transports)).await;
        client.connected().await;
        client.until_event("rowcast:welcome").await;
        clients.push(Told {
            client,
            ids: BTreeSet::new(),
            numbers: Vec::new(),
            cuts: 0,
        });
    }
    let rounds = 6;
    for round in 0..rounds {
        let first = round * 100 + 1;
        database.run(&numbered(first, 100, "user:1")).await;
        for told in &mut clients {
            told.up_to(Some(u64::from(first))).await;
        }
        proxy.cut();
    }
    database
        .run("select rowcast.emit('c', 'end', array['user:1'], '{}')")
        .await;
    for told in &mut clients {
        told.up_to(None).await;
        assert_eq!(
            told.numbers,
            (1..=u64::from(rounds) * 100).collect::<Vec<_>>()
        );
        assert!(told.cuts > 0, "nothing was cut");
    }
    server.stop().await;
}

/// What an answer to a poll has no room for, the library keeps for the next one, and forgets if there
/// is none: it must never have to. Step by step, because it depends on the moment.
#[tokio::test]
async fn nothing_is_lost_when_a_connection_goes_over_to_websocket() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let path = polled(&server).await;
    // More than an answer holds.
    database
        .run(
            "insert into rowcast.event (channel, name, rooms, data)
             select 'c', 'numbered', array['user:1'],
               json_build_object('n', n, 'x', repeat('x', 4000))
             from generate_series(1, 40) n",
        )
        .await;
    let numbers = |packet: &str| {
        let list = packet.strip_prefix("42").expect("an event");
        let list: Vec<Value> = serde_json::from_str(list).expect("a list");
        number(&list[1..])
    };
    let mut heard: Vec<u64> = Vec::new();
    for _ in 0..2 {
        let answer = get(&server, &path, &[]).await.body;
        heard.extend(answer.split('\u{1e}').map(numbers));
        // The first may have been waited for, and be the answer to a poll by itself.
        eventually("the library has what it may have", async || {
            (server.gate.hub.sizes().queue_bytes == 0).then_some(())
        })
        .await;
    }
    let request = format!(
        "ws://{}{}",
        server.address,
        path.replace("polling", "websocket")
    );
    let stream = tokio::net::TcpStream::connect(&server.address).await;
    let stream = stream.expect("it listens");
    let connected = within(
        "an upgrade",
        tokio_tungstenite::client_async(request, stream),
    )
    .await;
    let (mut socket, _) = connected.expect("a WebSocket");
    for said in ["2probe", "5"] {
        socket.send(Message::text(said)).await.expect("it is taken");
        if said == "2probe" {
            let answer = within("the probe", socket.next()).await;
            let answer = answer.expect("an answer").expect("a frame");
            assert_eq!(answer.into_text().expect("text").as_str(), "3probe");
        }
    }
    while heard.len() < 40 {
        let packet = within("the rest", socket.next()).await;
        let packet = packet.expect("it goes on").expect("a frame");
        let packet = packet.into_text().expect("text");
        if packet.starts_with("42[\"numbered\"") {
            heard.push(numbers(&packet));
        }
        assert_eq!(heard, (1..=heard.len() as u64).collect::<Vec<_>>());
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_resumes_is_told_of_a_gap_and_stays() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let node = Clients::start();
    for since in ["not-a-bookmark", "0000000000.5_0"] {
        let auth = json!({ "token": alice(), "since": since });
        let options = json!({ "auth": auth, "transports": ["websocket"] });
        let mut client = node.connect(&server.url, options).await;
        let subscribed = client.until_event("rowcast:subscribed").await;
        assert_eq!(subscribed[0]["outcome"], "gap", "{subscribed:?}");
        marker(&database, &["user:1"]).await;
        client.until_event("marker").await;
        assert_eq!(server.gate.seats.taken(), 1);
        client.disconnect().await;
        free(&server).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_that_knows_no_gaps_loads_anew_and_one_that_has_a_word_for_them_stays() {
    let database = lab().await;
    for (name, path) in [("plain", "/socket.io/"), ("gaps", "/live/io/")] {
        let server = serve_dialect(&database, name, |settings| {
            settings.http.spread = std::time::Duration::from_millis(50);
        })
        .await;
        let node = Clients::start();
        for transports in WAYS {
            let mut options = signed_in(&alice(), transports);
            options["path"] = path.into();
            let mut client = client(&node, &server, options).await;
            gap(&database).await;
            if name == "gaps" {
                let stale = client.until_event("stale").await;
                assert_eq!(stale[0]["why"], "trigger");
                marker(&database, &["user:1"]).await;
                client.until_event("marker").await;
            } else {
                let reason = client.disconnected().await;
                assert!(reason.starts_with("transport"), "{reason}");
                client.reconnected().await;
            }
            client.disconnect().await;
        }
        server.stop().await;
    }
}

/// As a trigger that fails has it.
async fn gap(database: &Database) {
    database
        .run(
            "insert into rowcast.event (channel, name, rooms, data)
             values ('c', 'rowcast:gap', array['*'], '{}')",
        )
        .await;
}

#[tokio::test]
async fn clients_come_back_by_themselves_after_a_restart() {
    let database = lab().await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    let proxy = Proxy::start(Upstream::Tcp(server.address.clone()), 7).await;
    let url = format!("http://{}", proxy.address);
    let node = Clients::start();
    let mut clients = Vec::new();
    for transports in WAYS {
        let mut client = node.resuming(&url, signed_in(&alice(), transports)).await;
        client.connected().await;
        client.until_event("rowcast:welcome").await;
        clients.push(client);
    }
    server.stop().await;
    database.run(&numbered(1, 10, "user:1")).await;
    let server = serve_dialect(&database, "plain", |_| {}).await;
    proxy.lead_to(Upstream::Tcp(server.address.clone()));
    for client in &mut clients {
        let reason = client.disconnected().await;
        assert!(reason.starts_with("transport"), "{reason}");
        client.reconnected().await;
        for expected in 1..=10 {
            let (_, args) = client.next_event().await;
            assert_eq!(number(&args), expected);
        }
    }
    server.stop().await;
}

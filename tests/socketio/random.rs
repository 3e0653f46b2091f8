//! Everything at once, at random from a printed seed: links that end in the middle of what they bring, stand
//! still or are slow, under clients that poll, that go over and that do not; servers that are killed.

use super::{WAYS, alice, dialect, number, numbered, signed_in};
use crate::support::proxy::{Proxy, Upstream, Way};
use crate::support::socketio::{Client, Clients, Heard};
use crate::support::{Database, Process, lab, serve_process, within};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::time::Duration;

const STEPS: usize = 60;

async fn serve(database: &Database) -> Process {
    let settings = [
        ("ROWCAST__HTTP__DIALECTS", &*dialect("plain")),
        ("ROWCAST__HTTP__SPREAD_MS", "200"),
        // Places in the past are soon behind the ring.
        ("ROWCAST__HUB__RING_SECONDS", "1"),
        ("ROWCAST__SOCKETIO__PING_S", "1"),
        ("ROWCAST__SOCKETIO__PONG_TIMEOUT_S", "2"),
    ];
    serve_process(database, &settings).await
}

fn happens(door: &Proxy, random: &mut StdRng) {
    match random.random_range(0..10) {
        0..3 => door.set(Way::Halve(random.random_range(0.05..0.4))),
        3 => door.set(Way::Delay(Duration::from_millis(100))),
        4 | 5 => door.set(Way::Pass),
        6 | 7 => door.cut(),
        8 => door.freeze_present(),
        _ => {}
    }
}

/// What it heard first, in its order, up to the end; how often it was disconnected, and what it heard again.
async fn told(client: &mut Client<'_>) -> (Vec<u64>, usize, usize) {
    let (mut ids, mut numbers) = (BTreeSet::new(), Vec::new());
    let (mut cuts, mut again) = (0, 0);
    loop {
        match client.next().await {
            Heard::Event { name, .. } if name == "end" => return (numbers, cuts, again),
            // At least once; the id tells.
            Heard::Event { name, args } if name == "numbered" => {
                if ids.insert(args[1]["id"].to_string()) {
                    numbers.push(number(&args));
                } else {
                    again += 1;
                }
            }
            Heard::Event { name, args } => assert_ne!(name, "rowcast:gap", "{args:?}"),
            Heard::Disconnected { active, reason } => {
                assert!(active, "it comes back by itself: {reason}");
                cuts += 1;
            }
            Heard::Connected { .. } | Heard::Refused { .. } => {}
        }
    }
}

#[tokio::test]
async fn whatever_happens_all_is_heard_in_its_order() {
    let database = lab().await;
    let mut process = serve(&database).await;
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u32>).into();
    eprintln!("SEED={seed}");
    let random = &mut StdRng::seed_from_u64(seed);
    let node = Clients::start();
    let mut clients = Vec::new();
    for (transports, number) in WAYS.into_iter().zip(0..) {
        let upstream = Upstream::Tcp(process.address.clone());
        let door = Proxy::start(upstream, seed + number).await;
        let url = format!("http://{}", door.address);
        let mut client = node.resuming(&url, signed_in(&alice(), transports)).await;
        client.connected().await;
        client.until_event("rowcast:welcome").await;
        clients.push((door, client));
    }
    let mut last = 0;
    for step in 0..STEPS {
        let count = random.random_range(1..60);
        database.run(&numbered(last + 1, count, "user:1")).await;
        last += count;
        clients.iter().for_each(|(door, _)| happens(door, random));
        if step % 20 == 19 {
            process.signal(Signal::SIGKILL);
            process.exited().await;
            process = serve(&database).await;
            let upstream = Upstream::Tcp(process.address.clone());
            clients
                .iter()
                .for_each(|(door, _)| door.lead_to(upstream.clone()));
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(20..400))).await;
    }
    clients.iter().for_each(|(door, _)| door.set(Way::Pass));
    database
        .run("select rowcast.emit('c', 'end', array['user:1'], '{}')")
        .await;
    for ((_, client), ways) in clients.iter_mut().zip(WAYS) {
        let (numbers, cuts, again) = within("all of it", told(client)).await;
        eprintln!("{ways:?}: {cuts} times disconnected, {again} heard again");
        assert_eq!(
            numbers,
            (1..=u64::from(last)).collect::<Vec<_>>(),
            "{ways:?}"
        );
        assert!(cuts > 0, "{ways:?}: nothing was cut");
    }
}

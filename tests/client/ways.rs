//! Proxies that block a transport: another one does, by itself, and the better one again later.

use super::rig::{Application, By, ROOMS, Rig, Start};
use super::shop;
use crate::support::driver::Driver;
use crate::support::screen::{Kind, Screen};
use crate::support::{eventually, marker};
use serde_json::{Value, json};

/// Waits until events come by this transport.
async fn comes_by(rig: &Rig, application: &Application<'_>, transport: &str) {
    eventually(transport, async || {
        let id = marker(&rig.db, &ROOMS[..1]).await;
        application.hears(&id).await;
        (application.came_by(&id).await == transport).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_transport_when_one_is_blocked_and_the_better_one_when_it_works_again() {
    let driver = Driver::start().await;
    let rig = Rig::start(&[&driver], &[]).await;
    let process = rig.serve().await;
    let door = rig.door(&process, 0).await;
    door.screen(Kind::WebSocket, Screen::Refuse);
    let application = Application::start(&driver, door, Start::default()).await;
    let door = &application.door;
    let shop = rig.open_shop(100).await;
    comes_by(&rig, &application, "sse").await;
    // The stream is opened, and nothing ever comes out of it.
    door.screen(Kind::Sse, Screen::HoldBody);
    door.cut();
    comes_by(&rig, &application, "poll").await;
    door.screen(Kind::Sse, Screen::Pass);
    comes_by(&rig, &application, "sse").await;
    // Upgraded, and then silent.
    door.screen(Kind::WebSocket, Screen::HoldBody);
    door.screen(Kind::Sse, Screen::Refuse);
    door.cut();
    comes_by(&rig, &application, "poll").await;
    door.screen(Kind::WebSocket, Screen::Pass);
    comes_by(&rig, &application, "websocket").await;
    shop.close().await;
    rig.finish(&[application]).await.assert_clean();
}

/// A train comes out of a tunnel: no pause is waited for, however long it would be.
#[tokio::test]
async fn a_page_whose_network_returns_is_back_at_once() {
    let driver = Driver::start().await;
    // No link may end but by this test: nobody would come back to it within the hour.
    let settings = [
        ("ROWCAST__WEBSOCKET__HEARTBEAT_S", "25"),
        ("ROWCAST__WEBSOCKET__PING_S", "20"),
        ("ROWCAST__WEBSOCKET__PONG_TIMEOUT_S", "20"),
    ];
    let rig = Rig::start(&[&driver], &settings).await;
    let process = rig.serve().await;
    let door = rig.door(&process, 0).await;
    let hour = 3_600_000;
    let start = Start {
        options: json!({ "retryMin": hour, "retryMax": hour, "connectTimeout": 30_000 }),
        ..Start::default()
    };
    let application = Application::start(&driver, door, start).await;
    let shop = rig.open_shop(100).await;
    application.hears_more(200).await;
    application.place.offline(true).await;
    application.door.cut();
    application.place.ask("becomes", json!(["offline"])).await;
    application.place.offline(false).await;
    application.place.ask("becomes", json!(["live"])).await;
    shop.close().await;
    rig.finish(&[application]).await.assert_clean();
}

/// How many parts of the page load and follow the same rooms.
const WATCHED: usize = 12;

/// What people see: state loaded by a call, then kept by events, is the database's.
#[tokio::test]
async fn live_state_is_the_databases() {
    let driver = Driver::start().await;
    let rig = Rig::start(&[&driver], &[]).await;
    let process = rig.serve().await;
    let starts = [By::WebSocket, By::Sse, By::Poll].map(Start::by);
    let applications = rig.applications(&driver, &process, starts).await;
    let shop = rig.open_shop(300).await;
    // Loaded while it changes, and more of it while the rest is there already.
    let watch = json!([["shop_items", { "shelves": ROOMS }], ROOMS]);
    for round in 1..=WATCHED {
        for application in &applications {
            application.place.ask("watch", watch.clone()).await;
            let before = application.heard().await;
            application.hears_more(before + 20).await;
            if round % 3 == 0 {
                application.door.cut();
            }
        }
    }
    shop.close().await;
    rig.finish(&applications).await.assert_clean();
    let (_, versions) = shop::truth(&rig.db).await;
    let watched = versions.iter().filter(|(item, _)| *item % 4 != 3);
    let truth: Value = watched
        .map(|(item, version)| (item.to_string(), json!(version)))
        .collect();
    for application in &applications {
        assert_eq!(application.assert_shows(&truth).await, WATCHED);
    }
}

/// A page that is thrown away keeps nothing, and is given what it has not acknowledged, once and in
/// order, by any way and on another server.
#[tokio::test]
async fn a_page_opened_anew_by_its_durable_name_is_given_the_rest() {
    let driver = Driver::start().await;
    let rig = Rig::start(&[&driver], &[]).await;
    let nodes = [rig.serve().await, rig.serve().await];
    for (number, by) in [By::WebSocket, By::Sse, By::Poll].into_iter().enumerate() {
        let start = || Start {
            by,
            // Who gave up and came again would be known.
            options: json!({ "reader": format!("{by:?}"), "connectTimeout": 30_000 }),
            ..Start::default()
        };
        let door = rig.door(&nodes[0], number as u64).await;
        let first = Application::start(&driver, door, start()).await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(marker(&rig.db, &ROOMS[..1]).await);
        }
        first.hears(&ids[4]).await;
        let told = first.place.ask("report", json!([])).await["gaps"].clone();
        assert_eq!(told[0]["reason"], "reader", "nobody knew it: {told}");
        let stored = first.place.ask("ack", json!([ids[1]])).await;
        let place = format!("select bookmark from rowcast.reader where name = '{by:?}'");
        assert_eq!(stored, rig.db.ask::<String>(&place).await);
        first.place.leave().await;

        let door = rig.door(&nodes[1], 10 + number as u64).await;
        let second = Application::start(&driver, door, start()).await;
        second.hears(&ids[4]).await;
        let report = second.place.ask("report", json!([])).await;
        let heard = report["heard"].as_array().expect("a list").iter();
        let heard: Vec<_> = heard.filter_map(|event| event["id"].as_str()).collect();
        assert_eq!(heard, &ids[2..], "{by:?}");
        assert_eq!(report["gaps"], json!([]), "{by:?}");
    }
}

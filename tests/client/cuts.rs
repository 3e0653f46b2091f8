//! Links that are cut in the middle of frames, hundreds of times, and links that die in silence.

use super::rig::{Application, By, Rig, Start};
use crate::support::driver::{Driver, Environment};
use crate::support::proxy::Way;
use std::time::{Duration, Instant};

const EVENTS: u64 = 10_000;
/// Of each transport; where one takes the place of another, half as many.
const CUTS: u64 = 200;
/// It takes less than a minute where nobody else works.
const LONGEST: Duration = Duration::from_secs(600);

/// Where, by what: each transport in a page, and whatever works in a worker and in Node.js.
const APPLICATIONS: [(Environment, By); 5] = [
    (Environment::Page, By::WebSocket),
    (Environment::Page, By::Sse),
    (Environment::Page, By::Poll),
    (Environment::Worker, By::Itself),
    (Environment::Node, By::Itself),
];

/// A second of the run, for one door: mostly cuts, between them a delay and a silent death.
async fn hurt(application: &Application<'_>, second: usize) {
    let door = &application.door;
    match second % 10 {
        3 => door.set(Way::Delay(Duration::from_millis(30))),
        6 => {
            // Nothing comes any more, and nothing ends: heartbeats are missing.
            door.set(Way::Pass);
            door.freeze_present();
        }
        7 | 8 => {}
        _ => door.set(Way::Halve(0.15)),
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn ten_thousand_events_through_hundreds_of_cuts() {
    let driver = Driver::start().await;
    let rig = Rig::start(&[&driver], &[]).await;
    let process = rig.serve().await;
    let mut applications = Vec::new();
    for (number, (environment, by)) in APPLICATIONS.into_iter().enumerate() {
        let door = rig.door(&process, number as u64).await;
        let start = Start {
            by,
            environment,
            ..Start::default()
        };
        applications.push(Application::start(&driver, door, start).await);
    }
    let began = Instant::now();
    let shop = rig.open_shop(EVENTS / 40).await;
    for second in 0.. {
        let cuts: Vec<u64> = applications.iter().map(|a| a.door.cuts()).collect();
        let changes = shop.changes();
        let enough = |(by, cuts): (By, &u64)| match by {
            By::Itself => *cuts >= CUTS / 2,
            _ => *cuts >= CUTS,
        };
        let bys = APPLICATIONS.iter().map(|(_, by)| *by);
        if changes >= EVENTS && bys.zip(&cuts).all(enough) {
            break;
        }
        let late = began.elapsed() > LONGEST;
        assert!(!late, "{changes} changes, {cuts:?} cuts\n{}", driver.said());
        let hurts = applications.iter().map(|a| hurt(a, second));
        futures_util::future::join_all(hurts).await;
    }
    shop.close().await;
    let outcome = rig.finish(&applications).await;
    outcome.assert_clean();
    outcome.assert_unhurried();
    assert!(outcome.events as u64 >= EVENTS, "{}", outcome.events);
    for report in outcome.reports() {
        assert!(
            report
                .statuses
                .iter()
                .any(|(status, _)| status == "recovering")
        );
        // The server is asked for what is missing, not for everything once more.
        assert!(
            report.repeated * 50 <= report.arrived,
            "{}: {} of {} came again",
            report.story.name,
            report.repeated,
            report.arrived
        );
    }
}

/// A laptop that is closed: all of the browser stands still, its links die without a word, and
/// when it is opened the timers fire at once.
#[tokio::test]
async fn a_browser_that_was_asleep_notices_that_its_links_are_dead() {
    let driver = Driver::start().await;
    let rig = Rig::start(&[&driver], &[]).await;
    let process = rig.serve().await;
    let applications = rig
        .applications(&driver, &process, By::ALL.map(Start::by))
        .await;
    let shop = rig.open_shop(200).await;
    for application in &applications {
        application.hears_more(20).await;
    }
    for _ in 0..2 {
        let asleep = driver.fall_asleep().await;
        for application in &applications {
            application.door.freeze_present();
        }
        // Longer than heartbeats and pongs: the point is that time passes.
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(asleep);
        for application in &applications {
            let before = application.heard().await;
            application.hears_more(before + 100).await;
        }
    }
    shop.close().await;
    rig.finish(&applications).await.assert_clean();
}

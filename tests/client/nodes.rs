//! Servers that die or are replaced while applications listen.

use super::rig::{Application, By, Rig, Start};
use crate::support::Process;
use crate::support::driver::Driver;
use crate::support::proxy::Upstream;
use nix::sys::signal::Signal;

/// Where nothing listens.
const NOBODY: &str = "127.0.0.1:1";

/// Ends a server by this signal and brings the doors to another.
pub(super) async fn replace(
    rig: &Rig,
    process: &mut Process,
    doors: &[&Application<'_>],
    signal: Signal,
) {
    let graceful = signal == Signal::SIGTERM;
    let next = if graceful {
        Some(rig.serve().await)
    } else {
        None
    };
    let lead = |to: &str| {
        for application in doors {
            application.door.lead_to(Upstream::Tcp(to.to_owned()));
        }
    };
    // Another test's server may be given the port of one that is gone.
    lead(next.as_ref().map_or(NOBODY, |next| &next.address));
    process.signal(signal);
    process.exited().await;
    *process = match next {
        Some(next) => next,
        None => rig.serve().await,
    };
    lead(&process.address);
}

#[tokio::test]
async fn a_server_killed_under_the_page_and_started_again() {
    let driver = Driver::start().await;
    let rig = Rig::start(&[&driver], &[]).await;
    let mut process = rig.serve().await;
    let applications = rig
        .applications(&driver, &process, By::ALL.map(Start::by))
        .await;
    let shop = rig.open_shop(200).await;
    for _ in 0..3 {
        for application in &applications {
            let before = application.heard().await;
            application.hears_more(before + 50).await;
        }
        let doors: Vec<_> = applications.iter().collect();
        replace(&rig, &mut process, &doors, Signal::SIGKILL).await;
    }
    for application in &applications {
        let before = application.heard().await;
        application.hears_more(before + 50).await;
    }
    shop.close().await;
    let outcome = rig.finish(&applications).await;
    outcome.assert_clean();
    outcome.assert_unhurried();
}

#[tokio::test]
async fn two_browsers_on_two_nodes_that_are_replaced_in_turn() {
    let (one, two) = tokio::join!(Driver::start(), Driver::start());
    let drivers = [&one, &two];
    let rig = Rig::start(&drivers, &[]).await;
    let mut nodes = [rig.serve().await, rig.serve().await];
    let mut applications = Vec::new();
    for (number, driver) in drivers.into_iter().enumerate() {
        let door = rig.door(&nodes[number], number as u64).await;
        applications.push(Application::start(driver, door, Start::default()).await);
    }
    let shop = rig.open_shop(200).await;
    for round in 0..4 {
        for application in &applications {
            let before = application.heard().await;
            application.hears_more(before + 50).await;
        }
        let number = round % 2;
        replace(
            &rig,
            &mut nodes[number],
            &[&applications[number]],
            Signal::SIGTERM,
        )
        .await;
        // And once to the other node: a bookmark of one is a bookmark of the other.
        if round == 1 {
            let [first, second] = [&nodes[0].address, &nodes[1].address].map(Clone::clone);
            applications[0].door.lead_to(Upstream::Tcp(second));
            applications[1].door.lead_to(Upstream::Tcp(first));
            for application in &applications {
                application.door.cut();
            }
            nodes.swap(0, 1);
        }
    }
    shop.close().await;
    let outcome = rig.finish(&applications).await;
    outcome.assert_clean();
    for report in outcome.reports() {
        // Told to come back: nobody was cut off without a word but once, by this test.
        assert!(report.statuses.iter().any(|(_, reason)| !reason.is_empty()));
    }
}

//! Tokens that end while applications listen.

use super::rig::{By, Rig, Start};
use crate::support::driver::Driver;
use std::time::{Duration, Instant};

/// How long it goes on, and how long each token lasts: the issuer knows whole seconds only.
const WHILE: Duration = Duration::from_secs(24);
const SECONDS: u64 = 4;

#[tokio::test]
async fn a_token_that_expires_every_few_seconds_costs_nothing() {
    let driver = Driver::start().await;
    let rig = Rig::start(&[&driver], &[]).await;
    let process = rig.serve().await;
    let starts = By::ALL.map(|by| Start {
        seconds: SECONDS,
        ..Start::by(by)
    });
    let (mut applications, mut began) = (Vec::new(), Vec::new());
    for start in starts {
        applications.extend(rig.applications(&driver, &process, [start]).await);
        began.push(Instant::now());
    }
    let shop = rig.open_shop(200).await;
    tokio::time::sleep(WHILE).await;
    shop.close().await;
    let outcome = rig.finish(&applications).await;
    outcome.assert_clean();
    for (report, began) in outcome.reports().zip(began) {
        let lives = WHILE.as_secs() / SECONDS;
        // Who was there before the others has had more, and so has everybody where all takes longer.
        let most = began.elapsed().as_secs() / SECONDS;
        assert!(
            report.tokens >= lives,
            "{}: {}",
            report.story.name,
            report.tokens
        );
        // A socket lives on with a new one; and nobody asks for tokens without a pause.
        let sockets = report.asked.get("websocket");
        let sockets = u64::try_from(sockets.copied().unwrap_or(0)).unwrap();
        assert!(sockets < most, "{}: {sockets}", report.story.name);
        assert!(
            report.tokens <= 10 * most,
            "{}: {}",
            report.story.name,
            report.tokens
        );
        assert!(
            report
                .statuses
                .iter()
                .all(|(status, _)| status != "refused"),
            "{:?}",
            report.statuses
        );
    }
}

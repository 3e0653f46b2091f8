//! The comparison finds what it is for: a client that does not dedupe, and one that comes back
//! without its bookmark. Each is the client's own source with one line changed.

use super::rig::{Application, By, Rig, Start};
use crate::support::Postgres;
use crate::support::driver::{Driver, Patch};
use crate::support::proxy::Way;

/// Every event counts as new.
const NO_DEDUPE: Patch = Patch {
    file: "seen.js",
    from: "const fresh = !ids.delete(id)",
    to: "const fresh = ids.delete(id) || true",
};

/// It comes back for what happens from then on.
const NO_BOOKMARK: Patch = Patch {
    file: "connection.js",
    from: "rooms.opening(place, speaks)",
    to: "rooms.opening(undefined, speaks)",
};

#[tokio::test]
async fn a_client_without_dedupe_or_bookmark_is_found_out() {
    let driver = Driver::start().await;
    let postgres = Postgres::for_many().await;
    let rig = Rig::on(postgres.database().await, &[&driver], &[]).await;
    let process = rig.serve().await;
    // A bookmark is kept too early then.
    rig.db.open_many().await;
    let mut applications = Vec::new();
    let patches = [&[][..], &[NO_DEDUPE], &[NO_BOOKMARK]];
    for (number, patches) in patches.into_iter().enumerate() {
        let door = rig.door(&process, number as u64).await;
        let start = Start {
            by: By::WebSocket,
            patches,
            ..Start::default()
        };
        applications.push(Application::start(&driver, door, start).await);
    }
    let shop = rig.open_shop(200).await;
    for cut in [true, true, false] {
        for application in &applications {
            let before = application.heard().await;
            application.hears_more(before + 100).await;
        }
        if !cut {
            continue;
        }
        let [first, second, last] = &applications[..] else {
            panic!("three applications");
        };
        last.door.set(Way::Refuse);
        for application in &applications {
            application.door.cut();
        }
        // What they have heard is told before the last is back, and so it misses that.
        for application in [first, second] {
            let before = application.heard().await;
            application.hears_more(before + 20).await;
        }
        last.door.set(Way::Pass);
    }
    rig.db.end_many().await;
    shop.close().await;
    let outcome = rig.finish(&applications).await;
    let [(whole, right), (_, twice), (_, missing)] = outcome.told.as_slice() else {
        panic!("three applications");
    };
    assert!(
        whole.repeated > 0,
        "nothing came again, so nothing is proved"
    );
    assert!(right.is_empty(), "{right}");
    assert!(
        !twice.twice.is_empty() && twice.missing.is_empty(),
        "{twice}"
    );
    assert!(!missing.missing.is_empty(), "{missing}");
}

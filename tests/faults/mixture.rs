//! The faults in a random mixture: five lanes side by side, each of them one fault after another,
//! for as many minutes as `MINUTES` says. The plan follows from the seed alone.

use super::retention::{SMALL_LOG, SMALL_RING};
use super::rig::{Needs, Rig, seed};
use super::stalled::SHORT_BOUNDS;
use super::strike::Fault;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

/// Of the whole in `make test`; two mixtures run side by side.
const MINUTES: f64 = 0.5;

/// How often each comes, of its lane.
type Weighted = (Fault, u32);

const POSTGRES: &[Weighted] = &[
    (Fault::ListenersKilled, 4),
    (Fault::BackendsKilled, 3),
    (Fault::StoppedFast, 2),
    (Fault::StoppedImmediately, 1),
    (Fault::PostgresKilled, 1),
    (Fault::FailedOver, 1),
    (Fault::LinkCut, 3),
    (Fault::LinkHalved, 3),
    (Fault::LinkDelayed, 2),
    (Fault::LinkFrozen, 2),
    (Fault::LinkHalfOpen, 2),
    (Fault::AppLinkHalved, 2),
];

const SERVICES: &[Weighted] = &[
    (Fault::DoorCut, 2),
    (Fault::DoorHalved, 4),
    (Fault::DoorDelayed, 2),
    (Fault::DoorFrozen, 2),
    (Fault::ServiceKilled, 4),
    (Fault::ServiceStopped, 2),
    (Fault::Rolling, 2),
];

const TRANSACTIONS: &[Weighted] = &[(Fault::LongTransaction, 10), (Fault::Subtransactions, 1)];

const WITH_PREPARED: &[Weighted] = &[
    (Fault::LongTransaction, 5),
    (Fault::Subtransactions, 1),
    (Fault::Prepared, 5),
];

const ACCESS: &[Weighted] = &[
    (Fault::TokenExpired, 1),
    (Fault::Revoked, 2),
    (Fault::RuleWithdrawn, 2),
];

const READERS: &[Weighted] = &[(Fault::Stops, 1), (Fault::Crawls, 1), (Fault::Vanishes, 1)];

const LOG: &[Weighted] = &[(Fault::Rotated, 3), (Fault::Passed, 1)];

/// A lane's faults, each after a pause: the same for the same seed, however fast they go by.
fn plan(seed: u64, lane: &[Weighted]) -> impl Iterator<Item = (Duration, Fault)> {
    let mut random = StdRng::seed_from_u64(seed);
    std::iter::from_fn(move || {
        let pause = Duration::from_millis(random.random_range(0..1500));
        let (fault, _) = lane
            .choose_weighted(&mut random, |(_, weight)| *weight)
            .expect("a lane has faults");
        Some((pause, *fault))
    })
}

async fn drive(rig: &Rig, name: &str, seed: u64, lane: &[Weighted], began: Instant, end: Instant) {
    for (pause, fault) in plan(seed, lane) {
        tokio::time::sleep(pause).await;
        if Instant::now() > end {
            return;
        }
        let at = began.elapsed().as_secs_f64();
        eprintln!("{at:7.2} s, seed {}, {name}: {fault:?}", rig.seed);
        Box::pin(rig.strike(fault)).await;
    }
}

async fn mixture(prepared: bool) {
    let seed = seed();
    let minutes = std::env::var("MINUTES").ok();
    let minutes = minutes.filter(|minutes| !minutes.is_empty());
    let minutes = minutes.map_or(MINUTES, |minutes| {
        minutes.parse().expect("MINUTES is a number")
    });
    let rig = Rig::start(
        Needs {
            cluster: true,
            prepared,
            long: true,
            sql: if prepared { SMALL_LOG } else { "" },
            settings: if prepared {
                &[SMALL_RING]
            } else {
                SHORT_BOUNDS
            },
            ..Needs::default()
        },
        seed,
    )
    .await;
    rig.everybody_hears(10).await;
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(60.0 * minutes);
    // Big events for those who do not read would empty a small log at once.
    let (transactions, beside, name) = if prepared {
        (WITH_PREPARED, LOG, "log")
    } else {
        (TRANSACTIONS, READERS, "readers")
    };
    let postgres = async {
        drive(&rig, "PostgreSQL", seed, POSTGRES, began, end).await;
        // In every mixture once at least, with the others' last faults beside it.
        Box::pin(rig.strike(Fault::FailedOver)).await;
    };
    tokio::join!(
        postgres,
        drive(&rig, "services", seed + 1, SERVICES, began, end),
        drive(&rig, "transactions", seed + 2, transactions, began, end),
        drive(&rig, "access", seed + 3, ACCESS, began, end),
        drive(&rig, name, seed + 4, beside, began, end),
    );
    rig.everybody_hears(10).await;
    rig.finish().await.assert_clean();
}

#[tokio::test]
async fn a_random_mixture() {
    mixture(false).await;
}

/// Where transactions can be prepared, writers never ring, and the listener polls.
#[tokio::test]
async fn a_random_mixture_where_nobody_rings() {
    mixture(true).await;
}

#[test]
fn the_plan_follows_from_the_seed() {
    let faults = |seed| {
        let plan = plan(seed, SERVICES).take(50);
        plan.map(|(pause, fault)| (pause, format!("{fault:?}")))
            .collect::<Vec<_>>()
    };
    assert_eq!(faults(7), faults(7));
    assert_ne!(faults(7), faults(8));
}

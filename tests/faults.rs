//! Faults: each alone, while the application commits; then a random mixture of them. At the end
//! every pair of subscriber and event is compared with what was committed: none missing, none
//! twice, none forbidden, each row in order. `make faults SEED=… MINUTES=…` runs the mixture long.

mod access;
mod failover;
mod late;
mod link;
mod mistakes;
mod mixture;
mod node;
mod outcome;
mod readers;
mod retention;
mod rig;
mod seat;
mod stalled;
mod strike;
mod transact;
mod writers;

use rig::{Needs, Rig, seed};
use strike::Fault;

/// One fault, twice, in a run of its own.
async fn alone(fault: Fault) {
    let needs = Needs {
        cluster: fault.needs_cluster(),
        prepared: fault == Fault::Prepared,
        sql: fault.sql(),
        settings: fault.settings(),
        ..Needs::default()
    };
    let rig = Rig::start(needs, seed()).await;
    rig.everybody_hears(10).await;
    for _ in 0..2 {
        rig.strike(fault).await;
        rig.everybody_hears(10).await;
    }
    let result = rig.finish().await;
    result.assert_clean();
    let mut ends = result.ends;
    if let Some(word) = fault.ends_connections_by() {
        assert!(ends.remove(word).is_some(), "{word}: {}", result.summary);
    }
    // On their way back they may be refused for a moment; nothing else ends them.
    ends.retain(|how, _| how != "overloaded" && !how.starts_with("not opened"));
    assert!(ends.is_empty(), "{}", result.summary);
}

macro_rules! alone {
    ($($test:ident: $fault:expr;)*) => {
        $(#[tokio::test]
        async fn $test() {
            alone($fault).await;
        })*
    };
}

alone! {
    the_listeners_backend_killed: Fault::ListenersKilled;
    all_backends_killed: Fault::BackendsKilled;
    postgres_stopped_fast: Fault::StoppedFast;
    postgres_stopped_immediately: Fault::StoppedImmediately;
    postgres_killed: Fault::PostgresKilled;
    a_failover_to_a_standby: Fault::FailedOver;
    the_link_cut: Fault::LinkCut;
    the_link_halved: Fault::LinkHalved;
    the_link_delayed: Fault::LinkDelayed;
    the_link_frozen: Fault::LinkFrozen;
    the_link_half_open: Fault::LinkHalfOpen;
    answers_to_commit_lost: Fault::AppLinkHalved;
    a_door_cut: Fault::DoorCut;
    a_door_halved: Fault::DoorHalved;
    a_door_delayed: Fault::DoorDelayed;
    a_door_frozen: Fault::DoorFrozen;
    a_service_killed: Fault::ServiceKilled;
    a_service_stopped: Fault::ServiceStopped;
    services_replaced_in_turn: Fault::Rolling;
    a_transaction_open_for_the_whole_run: Fault::LongTransaction;
    ten_thousand_subtransactions: Fault::Subtransactions;
    a_transaction_prepared_and_committed_later: Fault::Prepared;
    a_token_that_expires: Fault::TokenExpired;
    a_user_revoked_and_back: Fault::Revoked;
    a_rule_withdrawn_and_granted_again: Fault::RuleWithdrawn;
    the_log_rotated: Fault::Rotated;
    the_log_passes_a_bookmark: Fault::Passed;
    a_reader_that_stops: Fault::Stops;
    a_reader_that_crawls: Fault::Crawls;
    a_reader_that_vanishes: Fault::Vanishes;
}

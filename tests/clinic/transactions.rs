//! The clinic's line while several transactions are under way: who waits for whom, and that nobody
//! fails or is held up for what is told.

use super::{
    CALL_NEXT, Clinic, LINE, get_ready, new_patient, plain, position, queue_refresh, queue_update,
};
use crate::support::{Version, eventually, on_every_version, within};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Gaps that each room has heard since this was last asked; and that nothing else tells of places.
async fn gaps(clinic: &mut Clinic) -> Vec<usize> {
    let mut all = Vec::new();
    for (room, heard) in clinic.stage.heard().await {
        let told = |frame: &Value| {
            let name = frame["name"].as_str().unwrap_or_default();
            matches!(name, "position_update" | "get_ready")
        };
        assert!(!heard.iter().any(told), "{room}: {heard:?}");
        all.push(heard.iter().filter(|frame| frame["type"] == "gap").count());
    }
    all
}

async fn run(client: &Client, sql: &str) {
    let done = client.batch_execute(sql).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// One has compared and has yet to commit when another checks in: that one waits, or it would be told
/// a place that the first has just made wrong, and nothing after it.
async fn who_compares_waits_for_who_compared(version: Version) {
    let mut clinic = Clinic::open(version, LINE).await;
    clinic
        .stage
        .database
        .run("alter function clinic_push.may_compare() set lock_timeout = '60s'")
        .await;
    let first = clinic.stage.database.legacy().await;
    first
        .batch_execute(
            "begin; update clinic.queue set status = 'no_show' where visit_id = 1;
             set constraints all immediate",
        )
        .await
        .expect("a comparison");
    let second = clinic.stage.database.legacy().await;
    let checked_in = tokio::spawn(async move {
        let check_in = "insert into clinic.queue (patient_id) values ('99')";
        second.batch_execute(check_in).await.expect("a check-in");
    });
    let waits = "locktype = 'advisory'";
    eventually("the second waits, or is done", async || {
        (checked_in.is_finished() || clinic.stage.database.waiters(waits).await == 1).then_some(())
    })
    .await;
    let mut told = clinic.stage.heard().await.swap_remove(7).1;
    first.batch_execute("commit").await.expect("the first");
    within("the second", checked_in).await.expect("no panic");
    told.extend(clinic.stage.heard().await.swap_remove(7).1);
    let told: Vec<_> = told
        .iter()
        .map(|frame| plain(frame)["data"].clone())
        .collect();
    assert_eq!(told, [position(5)]);
    clinic.stage.close().await;
}

/// A visit is deleted, and that transaction stays open: others check in meanwhile.
async fn a_visit_that_is_being_deleted_holds_nobody_up(version: Version) {
    let mut clinic = Clinic::open(version, LINE).await;
    let other = clinic.stage.database.legacy().await;
    run(&other, "begin; delete from clinic.queue where visit_id = 2").await;
    let check_in = "insert into clinic.queue (patient_id) values ('99')";
    within("a check-in", clinic.stage.writes(check_in)).await;
    let told: Vec<_> = clinic.stage.heard().await.swap_remove(7).1;
    let told: Vec<_> = told
        .iter()
        .map(|frame| plain(frame)["data"].clone())
        .collect();
    assert_eq!(told, [position(6)]);
    run(&other, "commit").await;
    let told: Vec<_> = clinic.stage.heard().await.swap_remove(7).1;
    let told: Vec<_> = told
        .iter()
        .map(|frame| plain(frame)["data"].clone())
        .collect();
    assert_eq!(told, [position(5)]);
    clinic.stage.close().await;
}

/// A repeatable read transaction compares if nobody else has since; otherwise it tells
/// everybody to read anew, and the next one tells who is to get ready.
async fn a_snapshot_of_its_own(version: Version) {
    let mut clinic = Clinic::open(version, LINE).await;
    let others = [
        (2, "abc-def-456", "Ben", None),
        (3, "3", "Cid", None),
        (4, "4", "Dot", None),
        (5, "5", "Eve", None),
    ];
    clinic
        .tells(
            "begin isolation level repeatable read;
             update clinic.queue set status = 'no_show' where visit_id = 1; commit",
            &[
                queue_update(4),
                queue_refresh(&others),
                ("position_update", &["patient_abc-def-456"], position(1)),
                ("position_update", &["patient_3"], position(2)),
                ("position_update", &["patient_4"], position(3)),
                ("get_ready", &["patient_4"], get_ready(3)),
                ("position_update", &["patient_5"], position(4)),
            ],
        )
        .await;
    let other = clinic.stage.database.legacy().await;
    let begin = "begin isolation level repeatable read; select 1";
    other.batch_execute(begin).await.expect("a snapshot");
    clinic
        .stage
        .writes("insert into clinic.queue (patient_id) values ('99')")
        .await;
    clinic.stage.heard().await;
    let last = "update clinic.queue set status = 'no_show' where visit_id = 2; commit";
    let done = other.batch_execute(last).await;
    done.expect("a write goes through");
    for (room, heard) in clinic.stage.heard().await {
        let gaps = heard.iter().filter(|frame| frame["type"] == "gap").count();
        assert_eq!(gaps, 1, "{room}: {heard:?}");
        let moved = heard.iter().any(|frame| {
            frame["channel"] == "queue"
                && frame["name"] != "queue_update"
                && frame["name"] != "queue_refresh"
        });
        assert!(!moved, "{room}: {heard:?}");
    }
    clinic
        .tells(
            "insert into clinic.queue (visit_id, patient_id) values (7, '123')",
            &[
                new_patient("123", "Ada", 5),
                queue_update(5),
                queue_refresh(&[
                    others[1],
                    others[2],
                    others[3],
                    (6, "99", "Gil", None),
                    (7, "123", "Ada", None),
                ]),
                ("position_update", &["patient_123"], position(5)),
                ("get_ready", &["patient_5"], get_ready(3)),
            ],
        )
        .await;
    clinic.stage.close().await;
}

/// To compare is to read, and serializable transactions that read what others write fail: these tell
/// everybody to read anew, once each.
async fn serializable_transactions_do_not_fail_each_other(version: Version) {
    let mut clinic = Clinic::open(version, LINE).await;
    let (first, second) = (
        clinic.stage.database.legacy().await,
        clinic.stage.database.legacy().await,
    );
    // By the index, or the deletions would read each other's visits themselves.
    for client in [&first, &second] {
        run(client, "set enable_seqscan = off").await;
    }
    for (one, other) in [
        (
            "insert into clinic.queue (patient_id) values ('50');
             update clinic.queue set status = 'no_show' where visit_id = 1",
            "insert into clinic.queue (patient_id) values ('99')",
        ),
        (
            "delete from clinic.queue where visit_id = 2",
            "delete from clinic.queue where visit_id = 3",
        ),
    ] {
        for client in [&first, &second] {
            run(client, "begin isolation level serializable; select 1").await;
        }
        run(&first, one).await;
        run(&second, other).await;
        run(&first, "commit").await;
        assert_eq!(gaps(&mut clinic).await, [1; 8], "{one}");
        run(&second, "commit").await;
        assert_eq!(gaps(&mut clinic).await, [1; 8], "{other}");
    }
    // What tells nobody of a place is no gap.
    let no_place = "begin isolation level serializable;
        update clinic.queue set room = 'Room 1' where visit_id = 4; commit";
    clinic.stage.writes(no_place).await;
    assert_eq!(gaps(&mut clinic).await, [0; 8]);
    // The next one who compares tells who is to get ready.
    clinic
        .stage
        .writes("insert into clinic.queue (patient_id) values ('3')")
        .await;
    let heard: BTreeMap<_, _> = clinic.stage.heard().await.into_iter().collect();
    for (room, expected) in [
        ("patient_3", vec![position(5)]),
        ("patient_4", vec![get_ready(1)]),
        ("patient_5", vec![get_ready(2)]),
    ] {
        let data: Vec<_> = heard[room]
            .iter()
            .map(|frame| plain(frame)["data"].clone())
            .collect();
        assert_eq!(data, expected, "{room}");
    }
    assert_eq!(
        clinic.one("select count(*) from clinic_push.changed").await,
        0
    );
    assert_eq!(clinic.one("select count(*) from rowcast.failure").await, 0);
    clinic.stage.close().await;
}

/// Whoever stands in the way of a comparison, or breaks it, fails no write.
#[tokio::test]
async fn a_write_never_fails_for_its_events() {
    let mut clinic = Clinic::open(Version::Installed, LINE).await;
    let blocker = clinic.stage.database.client("clinic_app").await;
    blocker
        .batch_execute("begin; select pg_advisory_xact_lock(hashtext('clinic_push.queue'), 0)")
        .await
        .expect("the lock");
    clinic.stage.writes(CALL_NEXT).await;
    for (room, heard) in clinic.stage.heard().await {
        let gaps = heard.iter().filter(|frame| frame["type"] == "gap").count();
        assert_eq!(gaps, 1, "{room}: {heard:?}");
    }
    blocker.batch_execute("commit").await.expect("free again");

    clinic
        .stage
        .database
        .run(
            "alter function clinic_push.line() rename to line_;
             create function clinic_push.line() returns table
               (visit_id bigint, patient_id text, \"position\" bigint, estimated_wait bigint)
             language sql as $$ select 1::bigint, '1', 1 / 0::bigint, 1::bigint $$",
        )
        .await;
    clinic.stage.writes(CALL_NEXT).await;
    assert_eq!(
        clinic
            .one(
                "select count(*) from rowcast.failure where context = 'clinic_push.tell_positions'"
            )
            .await,
        1
    );
    for (room, heard) in clinic.stage.heard().await {
        let gaps = heard.iter().filter(|frame| frame["type"] == "gap").count();
        assert!(gaps >= 1, "{room}: {heard:?}");
    }
    clinic
        .stage
        .database
        .run(
            "drop function clinic_push.line();
             alter function clinic_push.line_() rename to line",
        )
        .await;
    // Everybody has read anew; the next one tells who is to get ready.
    clinic
        .stage
        .writes("insert into clinic.queue (patient_id) values ('99')")
        .await;
    let heard: BTreeMap<_, _> = clinic.stage.heard().await.into_iter().collect();
    for (room, expected) in [
        ("patient_3", None),
        ("patient_4", Some(get_ready(2))),
        ("patient_5", Some(get_ready(3))),
        ("patient_99", Some(position(4))),
    ] {
        let data: Vec<_> = heard[room]
            .iter()
            .map(|frame| plain(frame)["data"].clone())
            .collect();
        assert_eq!(data, Vec::from_iter(expected), "{room}");
    }
    clinic.stage.close().await;
}

/// What is told waits no longer than a comparison does, whoever has locked what.
#[tokio::test]
async fn a_check_in_waits_for_a_lock_on_our_tables_only_so_long() {
    let mut clinic = Clinic::open(Version::Installed, LINE).await;
    let blocker = clinic.stage.database.client("postgres").await;
    run(
        &blocker,
        "begin; lock table clinic_push.readied in exclusive mode",
    )
    .await;
    let check_in = "insert into clinic.queue (patient_id) values ('99')";
    within("a check-in", clinic.stage.writes(check_in)).await;
    assert_eq!(gaps(&mut clinic).await, [1; 8]);
    run(&blocker, "commit").await;
    clinic.stage.close().await;
}

on_every_version! {
    who_compares_waits_for_who_compared
    a_visit_that_is_being_deleted_holds_nobody_up
    a_snapshot_of_its_own
    serializable_transactions_do_not_fail_each_other
}

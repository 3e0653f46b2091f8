//! The suite proves itself: mistakes built in on purpose, each in the test's own database or link,
//! and the reconciliation has to name what was lost by them. The same run without the mistake loses
//! nothing, so it is the mistake that is found.

use super::late::LateListen;
use super::outcome::Result;
use super::retention::SMALL_LOG;
use super::rig::{Needs, Rig};
use super::strike::Fault;
use super::writers::Outcome;
use crate::support::proxy::Upstream;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use tokio_postgres::Client;

/// Puts wrong ones in front of the right `rowcast.read_log` and `rowcast.look`, whatever their shape:
/// they leave out the events that the condition does not let through. Nor is any transaction read by
/// itself as it rings: there is always a look.
macro_rules! read_log_where {
    ($condition:literal) => {
        concat!(
            "do $do$ declare v_name text; v_right record; begin \
               foreach v_name in array array['read_log', 'look'] loop \
                 select pg_get_function_arguments(oid) as arguments, \
                   pg_get_function_result(oid) as result, \
                   (select string_agg('$' || n, ', ') from generate_series(1, pronargs) n) as call \
                 into strict v_right from pg_proc where oid = ('rowcast.' || v_name)::regproc; \
                 execute format('alter function rowcast.%1$s rename to %1$s_right', v_name); \
                 execute format('create function rowcast.%1$s(%2$s) returns %3$s language sql stable \
                   security definer set search_path = pg_catalog, pg_temp \
                   as $f$ select r.* from rowcast.%1$s_right(%4$s) r where r.id is null or (%5$s) $f$', \
                   v_name, v_right.arguments, v_right.result, v_right.call, $q$",
            $condition,
            "$q$); \
                 execute format('alter function rowcast.%s owner to rowcast_owner', v_name); \
                 execute format('grant execute on function rowcast.%s to rowcast_service', v_name); \
               end loop; \
               execute 'create or replace view rowcast.committed as ' \
                 || rtrim(pg_get_viewdef('rowcast.committed'::regclass), ';') || ' where false'; \
             end $do$"
        )
    };
}

/// A cursor by id: what comes is what lies above the highest id seen.
const BY_ID: &str = read_log_where!(
    "r.id > coalesce((select max(e.id) from rowcast.event e \
     where pg_visible_in_snapshot(e.xid, $1)), 0)"
);

/// What was in progress at the last look is forgotten.
const IGNORED_XIP: &str = read_log_where!("r.xid >= pg_snapshot_xmax($1)");

const RIGHT: &str = read_log_where!("true");

/// A committed entry that everybody may hear.
async fn commit(rig: &Rig, client: &Client) -> i64 {
    let number = rig.ledger.draw(1);
    let mut open = rig.ledger.begin();
    open.holds(number);
    // All at once: whoever is late between two of them may use up a transaction id there.
    let sql = format!("begin; insert into app.entry values ({number}, 0, null, '{{*}}'); commit");
    open.sends_commit();
    client.batch_execute(&sql).await.unwrap();
    open.settle(Outcome::Committed);
    number
}

/// One transaction writes first and commits last, with all of this in between.
async fn overtaken(rig: &Rig, meanwhile: impl Future<Output = ()>) -> i64 {
    let slow = rig.superuser().await;
    let number = rig.ledger.draw(1);
    let mut open = rig.ledger.begin();
    open.holds(number);
    let sql = format!("begin; insert into app.entry values ({number}, 0, null, '{{*}}')");
    slow.batch_execute(&sql).await.unwrap();
    meanwhile.await;
    open.sends_commit();
    slow.batch_execute("commit").await.unwrap();
    open.settle(Outcome::Committed);
    number
}

fn pairs(result: &Result, number: i64) -> BTreeSet<(String, String)> {
    let event = format!("entry {number}");
    let names = result.stories.iter().map(|story| story.name.clone());
    names.map(|name| (name, event.clone())).collect()
}

/// Those who hear of the first entry, and of how many there are.
fn assert_is_lost(result: &Result, number: i64) {
    assert_eq!(result.findings.missing, pairs(result, number));
    let stale = result.findings.other.iter();
    let stale = stale.filter(|what| what.contains("tally 0 is 1, and was told last as None"));
    assert_eq!((stale.count(), number), (2, 0), "{}", result.findings);
}

/// Nobody but the two uses up a transaction id: a tick or a proof in between would hide the second
/// from a reader that ignores the list, too.
const NO_OTHER_XIDS: &[(&str, &str)] = &[
    ("ROWCAST__LISTENER__DOORBELL", "always"),
    ("ROWCAST__LISTENER__PROOF_S", "3600"),
    // Nor does anybody begin anew, with a proof, because something took long.
    ("ROWCAST__DATABASE__CONNECT_TIMEOUT_MS", "30000"),
    ("ROWCAST__LISTENER__LOOK_TIMEOUT_MS", "30000"),
];

/// A quiet run with the one overtaking, over a database that was changed so. In a cluster of its own:
/// transaction ids are the cluster's.
async fn quiet_run(sql: &'static str) -> (Result, i64) {
    let needs = Needs {
        sql,
        cluster: true,
        no_writers: true,
        settings: NO_OTHER_XIDS,
        ..Needs::default()
    };
    let rig = Rig::start(needs, 1).await;
    rig.everybody_beats(1).await;
    let fast = rig.superuser().await;
    let heard_meanwhile = async {
        let hears_the_fast = rig.everybody_hears_of(1);
        commit(&rig, &fast).await;
        hears_the_fast.await;
    };
    let number = overtaken(&rig, heard_meanwhile).await;
    (rig.finish().await, number)
}

#[tokio::test]
async fn a_cursor_by_id_is_found() {
    let (result, number) = quiet_run(BY_ID).await;
    assert_is_lost(&result, number);
}

#[tokio::test]
async fn an_ignored_xip_list_is_found() {
    let (result, number) = quiet_run(IGNORED_XIP).await;
    assert_is_lost(&result, number);
}

/// The same detour without a mistake, and the same run.
#[tokio::test]
async fn the_detour_alone_loses_nothing() {
    let (result, _) = quiet_run(RIGHT).await;
    result.assert_clean();
}

/// Among the writers of a run. They overtake each other as well, but not in each of so short a one.
#[tokio::test]
async fn a_run_with_a_fault_finds_a_cursor_by_id_too() {
    let needs = Needs {
        sql: BY_ID,
        ..Needs::default()
    };
    let rig = Rig::start(needs, 1).await;
    rig.everybody_hears(30).await;
    rig.strike(Fault::BackendsKilled).await;
    // Everybody's place lies behind the one, whose entry is not committed yet.
    let hear_behind = async {
        let last = rig.ledger.draw(1);
        rig.until("everybody hears what was written behind it", async || {
            rig.seats.iter().all(|seat| seat.has_entry_behind(last))
        })
        .await;
    };
    let number = overtaken(&rig, hear_behind).await;
    let result = rig.finish().await;
    let lost = format!("entry {number}");
    let mut missing = result.findings.missing.iter();
    assert!(
        missing.any(|(_, event)| *event == lost),
        "{}",
        result.summary
    );
}

/// Whoever asks whether the log still reaches back is told that it does.
const REMEMBERS_ALL: &str = "update rowcast.setting set keep_bytes = 1048576; \
     create or replace function rowcast.remembers(p_from pg_snapshot) returns boolean \
       language sql volatile security definer set search_path = pg_catalog, pg_temp \
       as 'select true'";

/// The log passes a bookmark, and whoever comes back with it is told nothing.
#[tokio::test]
async fn a_log_that_forgets_in_silence_is_found() {
    let needs = Needs {
        sql: REMEMBERS_ALL,
        settings: Fault::Passed.settings(),
        ..Needs::default()
    };
    let rig = Rig::start(needs, 1).await;
    rig.everybody_hears(10).await;
    // The others have read whatever is forgotten, however late their instances are; and it has not.
    let others_read = async || {
        let event = rig.committed("*").await;
        rig.until("all but one hear what is committed now", async || {
            let mut seats = rig.seats.iter();
            seats.all(|seat| seat.is(&seat.away) || seat.has(&event))
        })
        .await;
    };
    let (place, seat) = rig.bookmark_passed(others_read).await;
    rig.returns(&[seat]).await;
    let result = rig.finish().await;
    let missing = &result.findings.missing;
    assert!(!missing.is_empty(), "{}", result.summary);
    let passed = &result.stories[place].name;
    assert!(
        missing.iter().all(|(who, _)| who == passed),
        "{}",
        result.findings
    );
}

/// Whoever has an older transaction open in their bookmark is told that the log does not reach back.
const DOUBTS_ALL: &str = "update rowcast.setting set keep_bytes = 1048576; \
     create or replace function rowcast.remembers(p_from pg_snapshot) returns boolean \
       language sql volatile security definer set search_path = pg_catalog, pg_temp \
       as $$ select coalesce(pg_snapshot_xmin(p_from)::text::bigint \
         >= pg_sequence_last_value('rowcast.horizon'), true) $$";

/// A leaf is emptied while a transaction is open that is older than what was in it.
async fn emptied_behind_an_old_transaction(sql: &'static str) -> Result {
    let needs = Needs {
        sql,
        settings: Fault::Rotated.settings(),
        ..Needs::default()
    };
    let rig = Rig::start(needs, 1).await;
    rig.everybody_hears(10).await;
    let client = rig.superuser().await;
    let (mut open, number) = (rig.ledger.begin(), rig.ledger.draw(1));
    open.holds(number);
    let sql = format!("begin; insert into app.entry values ({number}, 0, null, '{{*}}')");
    client.batch_execute(&sql).await.unwrap();
    rig.rotated().await;
    // The leaf is gone for all of them, and has been looked for since; who reads the data anew stands
    // behind that.
    let event = rig.committed("*").await;
    let again = async {
        rig.until("everybody has what is committed now", async || {
            rig.seats.iter().all(|seat| seat.has(&event))
        })
        .await;
        rig.everybody_hears(10).await;
    };
    let told = rig.until("somebody is told of gaps again and again", async || {
        let gaps = rig.seats.iter().map(|seat| &seat.gaps);
        gaps.clone().any(|gaps| gaps.load(Ordering::SeqCst) > 2)
    });
    let is_told = tokio::select! {
        () = again => false,
        () = told => true,
    };
    open.sends_commit();
    client.batch_execute("commit").await.unwrap();
    open.settle(Outcome::Committed);
    if is_told {
        return rig.break_off().await;
    }
    rig.finish().await
}

#[tokio::test]
async fn a_gap_without_need_is_found() {
    let result = emptied_behind_an_old_transaction(DOUBTS_ALL).await;
    let found = &result.findings.other;
    let needless = |what: &String| what.contains("not allowed") && what.contains("horizon");
    assert!(
        !found.is_empty() && found.iter().all(needless),
        "{}",
        result.findings
    );
}

#[tokio::test]
async fn behind_an_old_transaction_nobody_is_told_of_a_gap() {
    let result = emptied_behind_an_old_transaction(SMALL_LOG).await;
    result.assert_clean();
}

/// A fault that no COMMIT was under way for proves nothing, and the run says so.
#[tokio::test]
async fn a_fault_that_strikes_nothing_is_found() {
    let needs = Needs {
        no_writers: true,
        ..Needs::default()
    };
    let rig = Rig::start(needs, 1).await;
    rig.everybody_beats(1).await;
    rig.strike_anyway(Fault::ListenersKilled).await;
    let result = rig.finish().await;
    let found = &result.findings.other;
    assert_eq!(
        *found,
        ["ListenersKilled struck nothing: no COMMIT was under way"]
    );
}

/// Only the doorbell wakes the listener.
const BY_THE_BELL_ALONE: &[(&str, &str)] = &[
    ("ROWCAST__LISTENER__DOORBELL", "always"),
    ("ROWCAST__LISTENER__FLOOR_MS", "3600000"),
    ("ROWCAST__LISTENER__PROOF_S", "3600"),
    ("ROWCAST__LISTENER__PROOF_TIMEOUT_MS", "3600000"),
    ("ROWCAST__LISTENER__READY_LAG_MS", "7200000"),
    ("ROWCAST__LISTENER__LEAD_RETRY_MS", "3600000"),
    // Nor does it begin anew because something took long.
    ("ROWCAST__DATABASE__CONNECT_TIMEOUT_MS", "30000"),
    ("ROWCAST__LISTENER__LOOK_TIMEOUT_MS", "30000"),
];

/// The service has asked nothing for a while.
async fn is_quiet(client: &Client) -> bool {
    let sql = "select coalesce(bool_and(state = 'idle' and state_change < now() - interval '300 ms'), \
                 false) and count(*) filter (where backend_type = 'client backend') >= 2 \
               from pg_stat_activity \
               where datname = current_database() and usename = 'rowcast_service'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The listeners come back over a link that hands their LISTEN on only after they have read the
/// log; what is committed in between rings for nobody. With LISTEN first it is heard.
async fn read_around_listen(listen_first: bool) -> (Result, i64) {
    let needs = Needs {
        no_writers: true,
        settings: BY_THE_BELL_ALONE,
        ..Needs::default()
    };
    let rig = Rig::start(needs, 1).await;
    rig.everybody_beats(1).await;
    let client = rig.superuser().await;
    let hear = rig.everybody_hears_of(1);
    commit(&rig, &client).await;
    hear.await;
    let late = LateListen::start(rig.socket.clone(), listen_first).await;
    rig.links
        .primary()
        .lead_to(Upstream::Tcp(late.address.clone()));
    rig.links.primary().cut();
    rig.until("both listeners have read the log again", async || {
        late.asked() == 2 && late.looked() == 2 && is_quiet(&client).await
    })
    .await;
    let number = commit(&rig, &client).await;
    late.release();
    rig.until("both are listening", async || late.listening() == 2)
        .await;
    if listen_first {
        return (rig.finish().await, number);
    }
    // Two heartbeats each: whatever was queued for them has gone before.
    rig.everybody_beats(2).await;
    (rig.break_off().await, number)
}

#[tokio::test]
async fn a_log_read_before_listen_is_found() {
    let (result, number) = read_around_listen(false).await;
    assert_eq!(result.findings.missing, pairs(&result, number));
}

#[tokio::test]
async fn the_same_link_with_listen_first_loses_nothing() {
    read_around_listen(true).await.0.assert_clean();
}

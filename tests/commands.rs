//! The subcommands as a DBA and an operator type them: the real program, its output and exit code.

use crate::support::{self, Database};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertificateParams, KeyPair, date_time_ymd, generate_simple_self_signed};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/triggers/lab");

fn program(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
    command
        .env_clear()
        .env("DATABASE_URL", url)
        .args(arguments)
        .kill_on_drop(true);
    command
}

async fn run(db: &Database, arguments: &[&str]) -> Output {
    let ran = program(&db.superuser_url, arguments).output();
    support::within("the program ends", ran).await.unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// It panicked and then hung, where a supervisor would have started it anew.
#[tokio::test]
async fn without_threads_it_ends_and_says_what_to_allow() {
    let strace = std::env::var("ROWCAST_TEST_STRACE");
    let strace = strace.expect("ROWCAST_TEST_STRACE names it: source target/tools/test.env");
    // The first thread is to be had, and no other.
    let refuse = "inject=clone,clone3:error=EAGAIN:when=2+";
    let ran = Command::new(strace)
        .args(["-f", "-qq", "-o", "/dev/null", "-e", refuse])
        .args([env!("CARGO_BIN_EXE_rowcast"), "config"])
        .env("TOKIO_WORKER_THREADS", "2")
        .kill_on_drop(true)
        .output();
    let output = support::within("the program ends", ran).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains("allow it more threads"), "{said}");
}

#[tokio::test]
async fn triggers_are_applied_once_compared_and_detached() {
    let db = support::database().await;
    let first = run(&db, &["triggers", "apply", LAB]).await;
    assert!(first.status.success(), "{}", text(&first));
    let functions = "select array_agg(oid::regproc || ':' || xmin::text order by oid) from pg_proc \
                     where pronamespace = 'rowcast'::regnamespace";
    let before: Vec<String> = db.ask(functions).await;
    let again = run(&db, &["triggers", "apply", LAB]).await;
    assert!(
        again.status.success() && !text(&again).contains("changed by"),
        "{}",
        text(&again)
    );
    assert_eq!(
        before,
        db.ask::<Vec<String>>(functions).await,
        "nothing was replaced"
    );

    let status = run(&db, &["triggers", "status", LAB]).await;
    assert_eq!(status.status.code(), Some(0), "{}", text(&status));
    for (sql, word) in [
        (
            "alter table lab.bookings disable trigger _900_rowcast_insert",
            "disabled",
        ),
        (
            "drop trigger _900_rowcast_update on lab.bookings",
            "missing",
        ),
        (
            "select rowcast.attach('lab.labs', 'update', $$ select 'x' as name, array['*'] as rooms, \
             '{}'::json as data from new_rows $$)",
            "changed",
        ),
        (
            "create table lab.other (id int primary key); select rowcast.attach('lab.other', 'insert', \
             $$ select 'x' as name, array['*'] as rooms, '{}'::json as data from new_rows $$)",
            "foreign",
        ),
        (
            "do $$ declare a rowcast.attached; begin
               select * into strict a from rowcast.attached
               where relation = 'lab.payments'::regclass and operation = 'insert';
               perform rowcast.attach(a.relation, a.operation, a.query, a.mode, 7);
             end $$",
            "reset_above differs",
        ),
    ] {
        db.run(sql).await;
        let status = run(&db, &["triggers", "status", LAB]).await;
        assert_eq!(status.status.code(), Some(1), "{}", text(&status));
        assert!(text(&status).contains(word), "{word}: {}", text(&status));
    }
    db.run("select rowcast.detach('lab.other')").await;
    db.run("alter table lab.bookings enable trigger _900_rowcast_insert")
        .await;
    assert!(run(&db, &["triggers", "apply", LAB]).await.status.success());
    let thresholds = "select array_agg(distinct reset_above) from rowcast.attached";
    assert_eq!(db.ask::<Vec<i32>>(thresholds).await, [10_000]);
    assert_eq!(
        run(&db, &["triggers", "status", LAB]).await.status.code(),
        Some(0)
    );

    let detached = run(&db, &["triggers", "detach", LAB]).await;
    assert!(detached.status.success(), "{}", text(&detached));
    assert_eq!(
        db.ask::<i64>("select count(*) from rowcast.attachment")
            .await,
        0
    );
}

/// Where the systems of this repository lie.
fn files_of(system: &str) -> String {
    format!("{}/triggers/{system}", env!("CARGO_MANIFEST_DIR"))
}

/// What three of them make by a `create trigger` of their own told on, whatever was detached.
#[tokio::test]
async fn triggers_made_by_hand_are_detached_too() {
    let made = "select count(*) from pg_trigger t join pg_proc p on p.oid = t.tgfoid \
                where not t.tgisinternal and p.pronamespace::regnamespace::text ~ '_push$'";
    for (system, write) in [
        (
            "lab",
            "insert into lab.waitlist (user_id, slot_id) select '1', slot_id from lab.slots",
        ),
        (
            "clinic",
            "insert into clinic.queue (patient_id) select patient_id from clinic.patients",
        ),
        (
            "boardroom",
            "insert into boardroom.bookings (boardroom_id, organizer_id, title, starts_at, ends_at)
             values ('r1', 'u1', 'Another', '2026-11-23 08:00Z', '2026-11-23 09:00Z')",
        ),
        // The shop's own triggers, whose functions its files make too, stay.
        ("tickets", "update tickets.events set seat_capacity = 50"),
    ] {
        let db = support::system(system).await;
        let files = files_of(system);
        let files = files.as_str();
        let sample = match system {
            "lab" => crate::lab::SAMPLE,
            "clinic" => crate::clinic::SAMPLE,
            "boardroom" => crate::boardroom::SAMPLE,
            _ => crate::tickets::SAMPLE,
        };
        db.run(sample).await;
        let theirs = "select count(*) from pg_trigger t join pg_proc p on p.oid = t.tgfoid \
                      where not t.tgisinternal and p.pronamespace = 'tickets'::regnamespace";
        let detached = run(&db, &["triggers", "detach", files]).await;
        assert!(detached.status.success(), "{}", text(&detached));
        assert_eq!(db.ask::<i64>(made).await, 0, "{}", text(&detached));
        if system == "tickets" {
            assert!(db.ask::<i64>(theirs).await > 0, "{}", text(&detached));
        }
        let told = "select count(*) from rowcast.event";
        let before: i64 = db.ask(told).await;
        db.run(write).await;
        assert_eq!(db.ask::<i64>(told).await, before, "{system}");
        let status = run(&db, &["triggers", "status", files]).await;
        assert_eq!(status.status.code(), Some(1), "{}", text(&status));

        let applied = run(&db, &["triggers", "apply", files]).await;
        assert!(applied.status.success(), "{}", text(&applied));
        let status = run(&db, &["triggers", "status", files]).await;
        assert_eq!(status.status.code(), Some(0), "{}", text(&status));
    }
}

/// Somebody drops or disables what is attached by no `rowcast.attach`: triggers, rules, functions.
#[tokio::test]
async fn what_files_make_by_hand_is_compared_too() {
    let db = support::system("boardroom").await;
    let files = files_of("boardroom");
    let files = files.as_str();
    let compared = async |sql: &str| {
        db.run(sql).await;
        let status = run(&db, &["triggers", "status", files]).await;
        assert_eq!(status.status.code(), Some(1), "{sql}: {}", text(&status));
        text(&status)
    };
    for (sql, place) in [
        (
            "drop trigger _900_boardroom_push_insert on boardroom.bookings",
            "bookings_at_commit.sql:",
        ),
        ("delete from rowcast.session_rule", "access.sql:"),
        (
            "drop function boardroom_push.acting_as(text)",
            "booking_payloads.sql:",
        ),
        (
            "drop trigger _900_recheck_truncate on boardroom.sessions",
            "sessions.sql:",
        ),
    ] {
        let said = compared(sql).await;
        assert!(said.contains(place), "{sql}: {said}");
        let applied = run(&db, &["triggers", "apply", files]).await;
        assert!(applied.status.success(), "{}", text(&applied));
        let status = run(&db, &["triggers", "status", files]).await;
        assert_eq!(status.status.code(), Some(0), "{sql}: {}", text(&status));
    }
    // What somebody has disabled is left alone, as if it were attached; and is told of.
    for (table, trigger) in [
        ("boardroom.bookings", "_900_boardroom_push_update"),
        ("boardroom.sessions", "_900_recheck_delete"),
    ] {
        let said = compared(&format!("alter table {table} disable trigger {trigger}")).await;
        assert!(
            said.contains("disabled") && said.contains(trigger),
            "{said}"
        );
        let applied = run(&db, &["triggers", "apply", files]).await;
        assert_eq!(applied.status.code(), Some(1), "{}", text(&applied));
        let said = text(&applied);
        assert!(
            said.contains("still disabled") && said.contains(trigger),
            "{said}"
        );
        db.run(&format!("alter table {table} enable trigger {trigger}"))
            .await;
    }
    let status = run(&db, &["triggers", "status", files]).await;
    assert_eq!(status.status.code(), Some(0), "{}", text(&status));
}

/// Also for what a file does on the side: nobody in line is told because of it.
#[tokio::test]
async fn every_system_that_is_applied_again_is_left_alone() {
    for system in ["lab", "clinic", "tickets", "spa", "boardroom"] {
        let db = support::system(system).await;
        let files = files_of(system);
        let again = run(&db, &["triggers", "apply", files.as_str()]).await;
        assert!(again.status.success(), "{}", text(&again));
        assert!(!text(&again).contains("changed by"), "{}", text(&again));
        let status = run(&db, &["triggers", "status", files.as_str()]).await;
        assert_eq!(status.status.code(), Some(0), "{}", text(&status));
    }
}

/// Or other tables of the same name are meant.
#[tokio::test]
async fn a_path_that_a_file_sets_holds_for_that_file_and_every_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    let query = "select 'x' as name, array['*'] as rooms, '{}'::json as data from new_rows";
    let attach = format!("select rowcast.attach('orders', 'insert', $$ {query} $$);\n");
    let with_path = format!("set search_path = elsewhere;\n{attach}");
    std::fs::write(dir.path().join("a.sql"), with_path).unwrap();
    std::fs::write(dir.path().join("b.sql"), attach).unwrap();
    let files = dir.path().to_str().unwrap();
    let tables = "create schema elsewhere; create table elsewhere.orders (id int primary key);
                  create table public.orders (id int primary key);
                  grant usage on schema elsewhere to rowcast_owner";
    let attached = "select coalesce(array_agg(relation::text order by relation::text), '{}') \
                    from rowcast.attachment where state = 'ok'";
    for dry in [false, true] {
        let db = support::database().await;
        db.run(tables).await;
        if dry {
            let printed = run(&db, &["triggers", "apply", files, "--dry-run"]).await;
            assert!(printed.status.success(), "{}", text(&printed));
            let script = String::from_utf8(printed.stdout).unwrap();
            db.run(&script.replace("\\set ON_ERROR_STOP on", "")).await;
        } else {
            let applied = run(&db, &["triggers", "apply", files]).await;
            assert!(applied.status.success(), "{}", text(&applied));
        }
        let both = ["elsewhere.orders", "orders"];
        assert_eq!(db.ask::<Vec<String>>(attached).await, both, "dry: {dry}");
        let status = run(&db, &["triggers", "status", files]).await;
        assert_eq!(status.status.code(), Some(0), "{}", text(&status));
        let detached = run(&db, &["triggers", "detach", files]).await;
        assert!(detached.status.success(), "{}", text(&detached));
        assert_eq!(db.ask::<Vec<String>>(attached).await, [""; 0], "dry: {dry}");
    }
}

#[tokio::test]
async fn a_dry_run_prints_what_a_dba_can_run_and_changes_nothing() {
    let db = support::database().await;
    let printed = run(&db, &["triggers", "apply", LAB, "--dry-run"]).await;
    assert!(printed.status.success(), "{}", text(&printed));
    assert!(
        db.ask::<bool>("select to_regnamespace('lab') is null")
            .await
    );
    // For psql, of whose own commands there is one: it stops at errors.
    let script = String::from_utf8(printed.stdout).unwrap();
    // And for a session of any settings: the functions differed from those of apply.
    let script = script.replace("\\set ON_ERROR_STOP on", "");
    let session = "set quote_all_identifiers = on; set standard_conforming_strings = off";
    db.run(&format!("{session};\n{script}")).await;
    let status = run(&db, &["triggers", "status", LAB]).await;
    assert_eq!(status.status.code(), Some(0), "{}", text(&status));
}

/// What became of the tables since is told, and a script or `apply` mends it.
#[tokio::test]
async fn tables_that_changed_are_told_and_mended() {
    let query = "select 'x' as name, array['*'] as rooms, '{}'::json as data";
    let setup = format!(
        "create table public.whole (id int) partition by list (id);
         create table public.part partition of public.whole for values in (1);
         create table public.calls (id int primary key);
         select rowcast.attach('public.whole', 'insert', $$ {query} from new_rows $$);
         select rowcast.attach('public.calls', 'insert', $$ {query} from new_rows $$);
         alter table public.whole detach partition public.part;
         alter table public.calls rename to calls_old;
         create table public.calls (id int primary key);
         grant execute on function rowcast.\"public.whole insert\"() to lab_app;
         alter default privileges grant execute on functions to lab_app;"
    );
    let directory = tempfile::tempdir().unwrap();
    let file = format!(
        "select rowcast.attach('public.whole', 'insert', $$ {query} from new_rows $$);
         select rowcast.attach('public.calls', 'insert', $$ {query} from new_rows $$);"
    );
    std::fs::write(directory.path().join("all.sql"), file).unwrap();
    let files = directory.path().to_str().unwrap();
    for by_script in [true, false] {
        let db = support::database().await;
        db.run(&setup).await;
        let before = text(&run(&db, &["triggers", "status"]).await);
        assert!(before.contains("left behind on public.part"), "{before}");
        assert!(before.contains("executed by lab_app"), "{before}");
        if by_script {
            let printed = run(&db, &["triggers", "apply", files, "--dry-run"]).await;
            let script = String::from_utf8(printed.stdout).unwrap();
            db.run(&script.replace("\\set ON_ERROR_STOP on", "")).await;
        } else {
            let applied = run(&db, &["triggers", "apply", files]).await;
            assert!(applied.status.success(), "{}", text(&applied));
        }
        let open = "select count(*) from rowcast.attached
            where has_function_privilege('lab_app', function_name || '()', 'execute')";
        assert_eq!(db.ask::<i64>(open).await, 0);
        let functions = "select count(distinct function_name) from rowcast.attached";
        assert_eq!(db.ask::<i64>(functions).await, 3);
        let state = "select string_agg(relation::text, ', ' order by relation::text)
            from rowcast.attachment where state = 'ok'";
        assert_eq!(db.ask::<String>(state).await, "calls, calls_old, whole");
        db.run(
            "select rowcast.detach('public.calls_old');
             create foreign data wrapper far; create server away foreign data wrapper far;
             create foreign table public.far partition of public.whole for values in (2) server away",
        )
        .await;
        let after = text(&run(&db, &["triggers", "status", files]).await);
        assert!(after.contains("calls  insert  ok"), "{after}");
        assert!(after.contains("public.far is foreign"), "{after}");
    }
}

/// CREATE TRIGGER waits for writers, and makes others wait behind it: so it gives way.
#[tokio::test]
async fn apply_gives_way_to_an_open_writer_and_tries_again() {
    let db = support::lab().await;
    db.run("select rowcast.detach('lab.announcements', 'insert')")
        .await;
    let writer = db.client("postgres").await;
    let hold = "begin; insert into lab.announcements (message, severity) values ('m', 'info')";
    writer.batch_execute(hold).await.unwrap();
    let arguments = ["triggers", "apply", LAB, "--lock-timeout", "50"];
    let mut apply = program(&db.superuser_url, &arguments);
    let mut child = apply
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut quiet = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = async {
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line,
                line = quiet.next_line() => line,
            };
            if line
                .unwrap()
                .expect("it waits, and says so")
                .contains("lab.announcements")
            {
                return;
            }
        }
    };
    support::within("it says that it waits", told).await;
    writer.batch_execute("commit").await.unwrap();
    let rest = async {
        while let Ok(Some(_)) = quiet.next_line().await {}
        child.wait().await.unwrap()
    };
    assert!(support::within("it ends", rest).await.success());
    let state: String = db
        .ask("select state from rowcast.attachment where relation = 'lab.announcements'::regclass and operation = 'insert'")
        .await;
    assert_eq!(state, "ok");
}

/// Whoever waits for a lock makes everybody wait behind him: a dump holds one for hours.
#[tokio::test]
async fn migrate_gives_way_to_a_reader_and_tries_again() {
    let db = support::database().await;
    db.undo_migrations(17).await;
    let reader = db.client("postgres").await;
    let hold = "begin; lock table rowcast.setting in access share mode";
    reader.batch_execute(hold).await.unwrap();
    let pid: i32 = reader
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let once = run(&db, &["migrate", "--lock-timeout", "50", "--tries", "1"]).await;
    assert!(!once.status.success());
    assert!(text(&once).contains("a quieter moment"), "{}", text(&once));
    let arguments = ["migrate", "--lock-timeout", "50", "--tries", "10000"];
    let mut migrate = program(&db.superuser_url, &arguments);
    let mut child = migrate.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = async {
        for _ in 0..2 {
            let line = lines.next_line().await.unwrap().expect("it says so");
            assert!(line.contains("V17__schema_number"), "{line}");
            assert!(line.contains(&pid.to_string()), "{line}");
        }
    };
    support::within("it says what it waits for", told).await;
    let look = "select count(*) from rowcast.look(pg_current_snapshot(), false, null)";
    support::within("delivery goes on", db.ask::<i64>(look)).await;
    reader.batch_execute("commit").await.unwrap();
    let rest = async {
        while let Ok(Some(_)) = lines.next_line().await {}
        child.wait().await.unwrap()
    };
    assert!(support::within("it ends", rest).await.success());
    let number = "select schema_number from rowcast.setting";
    assert_eq!(
        db.ask::<i32>(number).await,
        rowcast::database::schema_number()
    );
}

/// The nightly dump of the application's own role failed, from the migration on.
#[tokio::test]
async fn an_owner_whose_dumps_fail_is_named() {
    let db = support::empty().await;
    let name = &db.name;
    db.run(&format!(
        "create role dumps login; alter database {name} owner to dumps"
    ))
    .await;
    let dumps = async || {
        let mut dump = Command::new(db.bin_dir.join("pg_dump"));
        let dump = dump.args(["--dbname", &db.url("dumps")]).output();
        support::within("a dump", dump).await.unwrap()
    };
    assert!(dumps().await.status.success());
    let migrated = run(&db, &["migrate"]).await;
    assert!(migrated.status.success(), "{}", text(&migrated));
    let remedy = "grant pg_read_all_data to dumps";
    assert!(text(&migrated).contains(remedy), "{}", text(&migrated));
    assert!(!dumps().await.status.success());
    db.run(remedy).await;
    let dumped = dumps().await;
    assert!(dumped.status.success(), "{}", text(&dumped));
    let migrated = run(&db, &["migrate"]).await;
    assert!(!text(&migrated).contains("note:"), "{}", text(&migrated));
}

/// Whoever owns an attached table can have the superuser run code of theirs who migrates or attaches.
#[tokio::test]
async fn a_superuser_is_told_whom_it_trusts() {
    let db = support::lab().await;
    for arguments in [&["migrate"][..], &["triggers", "apply", LAB]] {
        let done = run(&db, arguments).await;
        assert!(!text(&done).contains("superuser"), "{}", text(&done));
    }
    db.run("alter table lab.bookings owner to lab_app").await;
    for arguments in [&["migrate"][..], &["triggers", "apply", LAB]] {
        let done = run(&db, arguments).await;
        let said = text(&done);
        assert!(
            done.status.success() && said.contains("superuser"),
            "{said}"
        );
        assert!(said.contains(": lab_app."), "{said}");
    }
}

/// An audit's event trigger that failed looked like an error of ours.
#[tokio::test]
async fn whose_function_failed_is_named() {
    let db = support::empty().await;
    db.run(
        "create schema audit; create function audit.note() returns event_trigger language plpgsql
           as $$ begin perform 1 / 0; end $$;
         create event trigger note on ddl_command_end execute function audit.note()",
    )
    .await;
    let migrated = run(&db, &["migrate"]).await;
    let said = text(&migrated);
    assert!(!migrated.status.success(), "{said}");
    assert!(said.contains("in PL/pgSQL function audit.note()"), "{said}");
}

#[tokio::test]
async fn tail_prints_events_as_they_happen() {
    let db = support::database().await;
    // A copy of a template is a new history, which a service would begin.
    db.run("select rowcast.ensure_history()").await;
    let arguments = ["tail", "--json", "--room", "lab:1"];
    let mut tail = program(&db.service_url, &arguments);
    let mut child = tail
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    support::within("it says where it listens", told.next_line())
        .await
        .unwrap()
        .unwrap();
    db.run("select rowcast.emit('c', 'other', array['lab:2'], '{}'); select rowcast.emit('c', 'e', array['lab:1'], '{\"n\":1}')").await;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = support::within("an event", lines.next_line())
        .await
        .unwrap()
        .unwrap();
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&event["name"], &event["data"]["n"]),
        (&"e".into(), &1.into()),
        "{line}"
    );
    // Rooms that are no list: it ended by a panic, and its place was lost.
    db.run("insert into rowcast.event (channel, name, rooms, data) values ('c', 'x', '{{lab:1,b}}', '1')")
        .await;
    let line = support::within("a gap", lines.next_line()).await;
    let gap: serde_json::Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
    assert_eq!(
        (&gap["type"], &gap["reason"]),
        (&"gap".into(), &"trigger".into())
    );
    assert!(gap["bookmark"].is_string(), "{gap}");
    // A channel that was let go is no trigger that failed.
    db.run("insert into rowcast.channel (name, paused) values ('c', true)")
        .await;
    db.run("select rowcast.emit('c', 'held', array['lab:1'], '{}')")
        .await;
    db.run("update rowcast.channel set paused = false").await;
    let line = support::within("a gap", lines.next_line()).await;
    let gap: serde_json::Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
    assert_eq!(
        (&gap["type"], &gap["reason"]),
        (&"gap".into(), &"paused".into())
    );
    // As by systemd or `timeout`, which learn as well as people where to go on.
    stop(&child);
    let last = support::within("its place", told.next_line()).await;
    let last = last.unwrap().unwrap_or_default();
    assert!(last.contains("--since "), "{last}");
    assert!(child.wait().await.unwrap().success());
}

/// The words named what it was already.
#[tokio::test]
async fn a_member_that_does_not_inherit_is_told_that_it_has_to() {
    let db = support::database().await;
    db.run("create role idle_member login noinherit; grant rowcast_owner to idle_member")
        .await;
    for asked in [["triggers", "apply", LAB], ["triggers", "status", LAB]] {
        let ran = program(&db.url("idle_member"), &asked).output();
        let said = text(&support::within("the program ends", ran).await.unwrap());
        assert!(
            said.contains("a member of rowcast_owner that inherits its rights"),
            "{said}"
        );
    }
}

fn stop(child: &tokio::process::Child) {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
}

/// It ended without a word of its place, which by then lay behind events that nobody has.
#[tokio::test]
async fn a_tail_that_can_not_write_says_where_it_stood() {
    let db = support::database().await;
    db.run("select rowcast.ensure_history()").await;
    let place: String = db.ask("select rowcast.bookmark()").await;
    db.run("select rowcast.emit('c', 'e', array['lab:1'], '{}')")
        .await;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut tail = program(&db.service_url, &["tail", "--since", &place]);
    let child = tail.stdout(full.unwrap()).stderr(Stdio::piped());
    let ended = child.spawn().unwrap().wait_with_output();
    let output = support::within("it ends", ended).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains(&format!("--since {place}\n")), "{told}");
    // Where nothing began, there is no place to go on from.
    let refused = run(&db, &["tail", "--since", "none"]).await;
    let told = text(&refused);
    assert!(
        !refused.status.success() && !told.contains("--since none"),
        "{told}"
    );
}

/// What waited for a lock went on waiting in the server, behind each that had given up.
#[tokio::test]
async fn a_tail_that_gives_up_leaves_nothing_behind_that_waits() {
    let db = support::database().await;
    db.run("select rowcast.ensure_history()").await;
    let holder = db.client("postgres").await;
    let patience =
        ["look_timeout_ms", "look_timeout_max_ms"].map(|key| format!("listener.{key}=5000"));
    let arguments = ["tail", "--set", &patience[0], "--set", &patience[1]];
    let mut tail = program(&db.service_url, &arguments);
    let mut child = tail.stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = support::within("it says where it listens", told.next_line()).await;
    assert!(line.unwrap().unwrap().starts_with("listening to "));
    let lock = "begin; lock table rowcast.event_5 in access exclusive mode";
    holder.batch_execute(lock).await.unwrap();
    let waiting = "select coalesce(array_agg(pid), '{}') from pg_stat_activity \
         where datname = current_database() and usename = 'rowcast_service' \
           and wait_event_type = 'Lock'";
    let first = support::eventually("it waits", async || db.ask::<Vec<i32>>(waiting).await.pop());
    let first = first.await;
    support::eventually("only the next one waits", async || {
        let pids = db.ask::<Vec<i32>>(waiting).await;
        (pids.len() == 1 && pids[0] != first).then_some(())
    })
    .await;
    holder.batch_execute("rollback").await.unwrap();
    stop(&child);
    assert!(child.wait().await.unwrap().success());
}

/// The first process of a container hears no signal of which it does not ask to be told, and what it had
/// begun went on in the server when it was killed.
#[tokio::test]
async fn what_is_stopped_while_it_waits_leaves_nothing_behind() {
    let db = support::database().await;
    let holder = db.client("postgres").await;
    // One of each command at a time.
    let locks = "select pg_advisory_lock(7692278), pg_advisory_lock(7692281), pg_backend_pid()";
    let pid: i32 = holder.query_one(locks, &[]).await.unwrap().get(2);
    for arguments in [vec!["migrate"], vec!["triggers", "apply", LAB]] {
        let mut command = program(&db.superuser_url, &arguments);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let waiting = "select count(*) from pg_stat_activity \
             where datname = current_database() and wait_event = 'advisory'";
        let waits = async |count| (db.ask::<i64>(waiting).await == count).then_some(());
        support::eventually("it waits", async || waits(1).await).await;
        stop(&child);
        let ended = support::within("it ends", child.wait_with_output()).await;
        let output = ended.unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains("stopped"), "{}", text(&output));
        let command = arguments[0];
        let awaited = format!("waiting for another `rowcast {command}` to end (process {pid} of");
        assert!(text(&output).contains(&awaited), "{}", text(&output));
        support::eventually("nobody waits", async || waits(0).await).await;
    }
}

/// It was said to have been edited.
#[tokio::test]
async fn a_column_of_another_type_is_named_as_what_changes_a_trigger() {
    let db = support::database().await;
    db.run("create table public.visits (id int primary key, day text)")
        .await;
    let place = tempfile::tempdir().unwrap();
    let attach = "select rowcast.attach('public.visits', 'insert', $$ select 'visit' as name, \
         array['day:' || n.day] as rooms, '{}'::json as data from new_rows n $$);";
    std::fs::write(place.path().join("visits.sql"), attach).unwrap();
    let triggers = async |what| {
        let arguments = ["triggers", what, place.path().to_str().unwrap()];
        let output = run(&db, &arguments).await;
        (output.status.code(), text(&output))
    };
    assert_eq!(triggers("apply").await.0, Some(0));
    db.run("alter table public.visits alter day type date using day::date")
        .await;
    let (code, told) = triggers("status").await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("for other types of columns"), "{told}");
    assert_eq!(triggers("apply").await.0, Some(0));
    let (code, told) = triggers("status").await;
    assert_eq!(code, Some(0), "{told}");
}

/// Rows behind a COPY were "unexpected message from server", and a word of psql's a syntax error.
#[tokio::test]
async fn what_is_for_psql_is_said_to_be() {
    let db = support::database().await;
    let place = tempfile::tempdir().unwrap();
    for (text_of_file, word) in [
        (
            "select 1;\n\\i other.sql\n",
            "f.sql:2: `\\` has no place here: that is for psql",
        ),
        (
            "copy pg_am from stdin;\n1\n\\.\n",
            "f.sql:1: `copy … from stdin` has no place here",
        ),
        (
            "begin;\nselect 1;\ncommit;",
            "f.sql:1: `begin` has no place here: statements run one by",
        ),
    ] {
        std::fs::write(place.path().join("f.sql"), text_of_file).unwrap();
        let output = run(&db, &["triggers", "apply", place.path().to_str().unwrap()]).await;
        assert!(text(&output).contains(word), "{}", text(&output));
    }
}

#[tokio::test]
async fn wrong_words_get_an_answer_that_helps() {
    let db = support::database().await;
    let empty = support::empty().await;
    for (url, arguments, words) in [
        (
            &db.superuser_url,
            vec!["config", "--set", "http.listne=x"],
            vec!["http.listne", "http.listen"],
        ),
        (
            &db.superuser_url,
            vec!["config", "--set", "http"],
            vec!["KEY=VALUE"],
        ),
        // It said "invalid socket address", once a moment had passed.
        (
            &db.superuser_url,
            vec!["demo", "--listen", "8"],
            vec!["`http.listen` in a flag is `8`", "host:port"],
        ),
        // It had been taken for a list of one origin that is none.
        (
            &db.superuser_url,
            vec![
                "config",
                "--set",
                "http.allowed_origins=[https://a.example]",
            ],
            vec!["`http.allowed_origins` in a flag", "without brackets"],
        ),
        (
            &db.superuser_url,
            vec!["token", "--sub", "1"],
            vec!["ROWCAST__AUTH__HS256_SECRET"],
        ),
        (
            &db.superuser_url,
            vec!["triggers", "apply", "/nowhere"],
            vec!["/nowhere"],
        ),
        (
            &empty.superuser_url,
            vec!["triggers", "apply", LAB],
            vec!["rowcast migrate"],
        ),
        (&String::new(), vec!["migrate"], vec!["DATABASE_URL"]),
    ] {
        let output = support::within("an answer", program(url, &arguments).output())
            .await
            .unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        for word in words {
            assert!(
                text(&output).contains(word),
                "{arguments:?}: {}",
                text(&output)
            );
        }
    }
}

/// Whoever may create in `public` plants functions that fit our arguments better than PostgreSQL's own:
/// they would run as the superuser who migrates, or as the service, which reads every payload.
#[tokio::test]
async fn what_is_planted_in_public_is_never_called() {
    let plant = "create function public.trap() returns void language plpgsql as \
           $$ begin raise exception 'planted, and run as %', current_user; end $$; \
         create function public.pg_advisory_lock(integer) returns void language sql as \
           'select public.trap()'; \
         create function public.pg_try_advisory_lock(integer) returns boolean language sql as \
           'select public.trap(); select true'; \
         create function public.setval(text, integer) returns bigint language sql as \
           'select public.trap(); select 1::bigint'; \
         create function public.format(text, name, name) returns text language sql as \
           'select public.trap(); select $1'; \
         create function public.format(text, text, text) returns text language sql as \
           'select public.trap(); select $1'; \
         create function public.array_position(text[], text) returns integer language sql as \
           'select 1'";
    let stays = "select count(*) from pg_depend d join pg_proc p on p.oid = d.refobjid \
        where d.refclassid = 'pg_proc'::regclass and d.classid <> 'pg_proc'::regclass \
          and p.pronamespace = 'public'::regnamespace";
    let printed = support::empty().await;
    printed.run(plant).await;
    printed.run(&rowcast::migrate::script().unwrap()).await;
    assert_eq!(printed.ask::<i64>(stays).await, 0);

    let db = support::empty().await;
    db.run(plant).await;
    for arguments in [
        vec!["migrate"],
        vec!["triggers", "apply", LAB],
        vec!["triggers", "status", LAB],
        vec!["triggers", "status"],
        vec!["triggers", "apply", LAB, "--dry-run"],
        vec!["triggers", "detach", LAB],
    ] {
        let output = run(&db, &arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }
    assert_eq!(db.ask::<i64>(stays).await, 0);
    let mut tail = program(&db.service_url, &["tail"]);
    let mut child = tail.stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = support::within("it says where it listens", told.next_line()).await;
    let line = line.unwrap().unwrap();
    assert!(line.starts_with("listening to "), "{line}");
    // It tells writers to ring before it is ready.
    support::serve(&db, |_| {}).await;
}

/// A name that somebody chose with care looked like a line of the table's own.
#[tokio::test]
async fn no_name_forges_a_line_of_status() {
    let db = support::database().await;
    db.run(
        "create table public.t (id int);
         create trigger \"a\nshop.orders  insert  ok\u{1b}[2J\" after insert on public.t
           for each statement execute function rowcast.recheck_at_commit();
         alter table public.t disable trigger all",
    )
    .await;
    let output = run(&db, &["triggers", "status"]).await;
    let shown = text(&output);
    assert!(shown.contains("insert  ok\\u001b[2J"), "{shown}");
    assert!(
        !shown.contains("\nshop.orders") && !shown.contains('\u{1b}'),
        "{shown}"
    );
}

/// Only our own statements keep to PostgreSQL's functions: a file means the path that its author has,
/// or sets.
#[tokio::test]
async fn files_have_the_path_that_they_set() {
    let db = support::database().await;
    let dir = tempfile::tempdir().unwrap();
    let file = "create table if not exists plain (id int primary key);
        create schema if not exists shop;
        set search_path = shop, public;
        create table if not exists orders (id int primary key);
        select rowcast.attach('orders', 'insert', $$ select 'e' as name, array['*'] as rooms, \
          to_json(n) as data from new_rows n $$);";
    std::fs::write(dir.path().join("a.sql"), file).unwrap();
    let arguments = ["triggers", "apply", dir.path().to_str().unwrap()];
    for said in ["attached", "unchanged"] {
        let output = run(&db, &arguments).await;
        assert!(output.status.success(), "{}", text(&output));
        let line = format!("orders insert  {said}");
        assert!(text(&output).contains(&line), "{}", text(&output));
    }
    let made = "select to_regclass('public.plain') is not null and exists (
        select from rowcast.attached where relation = to_regclass('shop.orders'))";
    assert!(db.ask::<bool>(made).await);
}

/// Neither the effective configuration nor a complaint about it shows a secret.
#[tokio::test]
async fn config_redacts_secrets() {
    let secret = "a secret of more than thirty-two bytes";
    let output = program("postgres://u:hidden@localhost/app", &["config"])
        .env("ROWCAST__AUTH__HS256_SECRET", secret)
        .output();
    let output = support::within("an answer", output).await.unwrap();
    let shown = text(&output);
    assert!(
        output.status.success() && shown.contains("localhost/app"),
        "{shown}"
    );
    assert!(
        !shown.contains(secret) && !shown.contains("hidden"),
        "{shown}"
    );
}

/// What `serve` would refuse without a network is named by `config`, all at once, and by `serve` too.
#[tokio::test]
async fn all_that_can_not_be_used_is_named_at_once() {
    let url = "postgres://u@localhost/app?sslmode=verify_full";
    for command in ["config", "serve"] {
        let output = program(url, &[command])
            .env("ROWCAST__HTTP__LISTNE", "x")
            .env("ROWCAST__DATABASE__LISTEN_URL", "host=a port=many")
            .env("ROWCAST__AUTH__PUBLIC_KEY_FILE", "/nowhere/key")
            .env("ROWCAST__AUTH__JWKS", "/nowhere/jwks")
            .env("ROWCAST__HTTP__TLS_CERTIFICATE_FILE", "/nowhere/crt")
            .env("ROWCAST__HTTP__TLS_KEY_FILE", "/nowhere/crt.key")
            .env("ROWCAST__HTTP__DIALECTS", "/nowhere/dialect.toml")
            .output();
        let output = support::within("an answer", output).await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        for named in [
            "ROWCAST__HTTP__LISTNE",
            "`database.url`",
            "sslmode=verify_full",
            "`database.listen_url`",
            "/nowhere/key",
            "/nowhere/jwks",
            "/nowhere/crt",
            "/nowhere/dialect.toml",
        ] {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(told.contains(named), "{command}, {named}: {told}");
        }
    }
    // What is out of range is named beside what nobody knows.
    let arguments = ["config", "--set", "limits.conections=1"];
    let output = program("host=a", &arguments)
        .env("ROWCAST__LIMITS__CONNECTIONS", "0")
        .output();
    let told = text(&support::within("an answer", output).await.unwrap());
    for named in ["`limits.conections`", "`limits.connections`"] {
        assert!(told.contains(&format!("{named} i")), "{told}");
    }
}

/// `serve` refuses all of these, and `config` had called some of them right.
#[tokio::test]
async fn config_knows_what_serve_refuses() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let signed = || generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (ours, theirs) = (signed(), signed());
    let certificate = file("crt", &ours.cert.pem());
    let key = file("key", &ours.signing_key.serialize_pem());
    let other = file("other", &theirs.signing_key.serialize_pem());
    let reversed = file("reversed", &(theirs.cert.pem() + &ours.cert.pem()));
    let plain = ours.signing_key.serialize_pem();
    let locked = file("locked", &plain.replace("PRIVATE", "ENCRYPTED PRIVATE"));
    // As OpenSSL wrote them once, with a line that is none of base64.
    let old_locked = file(
        "old_locked",
        &plain.replacen("KEY-----", "KEY-----\nProc-Type: 4,ENCRYPTED\n", 1),
    );
    let weak = file(
        "weak",
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    );
    let url = "postgres://u@127.0.0.1:1/d";
    let tls = |certificate: &str, key: &str| {
        let certificate = format!("http.tls_certificate_file={certificate}");
        let key = format!("http.tls_key_file={key}");
        ["--set".to_owned(), certificate, "--set".to_owned(), key].to_vec()
    };
    let set = |pair: &str| vec!["--set".to_owned(), pair.to_owned()];
    for (url, arguments, words) in [
        ("", vec![], "set DATABASE_URL"),
        (url, set("log.level=info,rowcast=loud"), "`log.level`"),
        ("postgres://u@h/d?bogus=1", vec![], "`bogus`"),
        (url, tls(&certificate, &other), "not the key of"),
        (url, tls(&certificate, &other), "http.tls_key_file"),
        (url, tls(&key, &key), "no certificate in it"),
        (url, tls(&key, &key), "http.tls_certificate_file"),
        (url, tls(&certificate, &locked), "without a passphrase"),
        (url, tls(&certificate, &old_locked), "without a passphrase"),
        (url, tls(&certificate, &weak), "http.tls_key_file"),
        (url, tls(&reversed, &key), "own certificate the first"),
    ] {
        for command in ["config", "serve"] {
            let mut program = program(url, &[command]);
            let output = program.args(&arguments).output();
            let output = support::within("an answer", output).await.unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(1),
                "{command} {arguments:?}: {told}"
            );
            assert!(told.contains(words), "{command} {arguments:?}: {told}");
        }
    }
    let right = program(url, &["config"])
        .args(tls(&certificate, &key))
        .output();
    assert!(right.await.unwrap().status.success());
}

/// It began to serve without a word, and no client came in.
#[tokio::test]
async fn a_certificate_that_no_client_will_take_is_warned_of() {
    let place = tempfile::tempdir().unwrap();
    let (certificate, key) = (place.path().join("crt"), place.path().join("key"));
    for (from, until, words) in [
        (2001, 2002, Some("expired")),
        (4000, 4001, Some("not valid yet")),
        (2001, 4001, None),
    ] {
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(from, 1, 1);
        parameters.not_after = date_time_ymd(until, 1, 1);
        let signer = KeyPair::generate().unwrap();
        let signed = parameters.self_signed(&signer).unwrap();
        std::fs::write(&certificate, signed.pem()).unwrap();
        std::fs::write(&key, signer.serialize_pem()).unwrap();
        let mut program = program("postgres://u@127.0.0.1:1/d", &["config"]);
        program.env("ROWCAST__HTTP__TLS_CERTIFICATE_FILE", &certificate);
        program.env("ROWCAST__HTTP__TLS_KEY_FILE", &key);
        let output = support::within("an answer", program.output()).await;
        let output = output.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let warned = told.lines().find(|line| line.contains("certificate"));
        assert!(output.status.success(), "{told}");
        assert_eq!(warned.is_some(), words.is_some(), "{told}");
        let warned = warned.unwrap_or_default();
        assert!(warned.contains(words.unwrap_or_default()), "{told}");
    }
}

/// The 0 that stands for what could not be read is nobody's, and had been complained of as well.
#[tokio::test]
async fn what_can_not_be_read_is_said_once() {
    for key in [
        "database.pool_size",
        "limits.queue_bytes",
        "listener.ready_lag_ms",
    ] {
        let set = format!("{key}=-1");
        let output = program("host=a", &["config", "--set", &set]).output();
        let output = support::within("an answer", output).await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains(&format!("`{key}`")), "{told}");
    }
}

/// What the start warns of, `config` says too.
#[tokio::test]
async fn config_counts_open_files() {
    let limited = "ulimit -n 100; exec \"$0\" config";
    let output = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_rowcast")])
        .env("DATABASE_URL", "host=a")
        .output();
    let output = support::within("an answer", output).await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("LimitNOFILE="), "{}", text(&output));
}

/// It panicked, and 101 is no code that says anything.
#[tokio::test]
async fn errors_that_can_not_be_written_leave_the_exit_code() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let url = "postgres://u@127.0.0.1:1/d";
    for (arguments, code) in [
        (vec!["serve", "--listen", &taken], 1),
        (vec!["config"], 0),
        (vec!["tail"], 1),
        (vec!["triggers", "status"], 2),
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let mut command = program(url, &arguments);
        let ended = command.stdout(Stdio::null()).stderr(full.unwrap()).status();
        let ended = support::within("it ends", ended).await.unwrap();
        assert_eq!(ended.code(), Some(code), "{arguments:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_by_its_setting() {
    let db = support::database().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for key in ["http.listen", "http.admin_listen"] {
        let (free, taken) = ("http.listen=127.0.0.1:0", format!("{key}={taken}"));
        let ran = run(&db, &["serve", "--set", free, "--set", &taken]).await;
        assert!(!ran.status.success());
        assert!(
            text(&ran).contains(&format!(r#""not started","why":"{key} 127.0.0.1:"#)),
            "{}",
            text(&ran)
        );
    }
}

/// Whoever collects the log as JSON got the most important line as plain text.
#[tokio::test]
async fn why_it_does_not_start_is_told_in_the_logs_format() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("http.listen={}", taken.local_addr().unwrap());
    for (set, words) in [
        ("limits.conections=1", "`limits.connections`"),
        ("auth.public_key_file=/nowhere", "/nowhere"),
        ("log.format=xml", "auto, human or json"),
        (&*taken, "http.listen 127.0.0.1:"),
    ] {
        for (format, is_json) in [("json", true), ("auto", true), ("human", false)] {
            let format = format!("log.format={format}");
            let arguments = ["serve", "--set", &format, "--set", set];
            let output = program("postgres://u@127.0.0.1:1/d", &arguments).output();
            let output = support::within("an answer", output).await.unwrap();
            assert_eq!(output.status.code(), Some(1), "{}", text(&output));
            let told = String::from_utf8_lossy(&output.stderr);
            let last = told.lines().last().unwrap();
            assert!(
                last.contains("not started") && last.contains(words),
                "{told}"
            );
            // The last that is said of it counts, and so it is not asked for here.
            let is_json = is_json || set.starts_with("log.format");
            for line in told.lines() {
                let read = serde_json::from_str::<serde_json::Value>(line);
                assert_eq!(read.is_ok(), is_json, "{line}");
            }
        }
    }
}

/// A foreign variable is nobody's business, and the value of ours is not shown.
#[tokio::test]
async fn variables_that_are_no_text_are_named_if_they_are_ours() {
    let strange = OsStr::from_bytes(b"hid\xffden");
    let config = || program("host=a", &["config"]);
    let output = config().env("FOREIGN", strange).output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for name in ["DATABASE_URL", "ROWCAST__HTTP__LISTEN"] {
        let output = config().env(name, strange).output().await.unwrap();
        let told = text(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains(&format!("`{name}`")) && !told.contains("hid"),
            "{told}"
        );
    }
}

/// As behind `head`: whoever reads has seen enough.
#[tokio::test]
async fn nothing_is_wrong_where_nobody_reads_on() {
    let db = support::database().await;
    for arguments in [
        &["migrate", "--print"][..],
        &["config"],
        &["triggers", "apply", LAB, "--dry-run"],
        &["triggers", "apply", LAB],
        &["triggers", "status", LAB],
    ] {
        let (reader, unread) = std::io::pipe().unwrap();
        drop(reader);
        let ran = program(&db.superuser_url, arguments)
            .stdout(unread)
            .output();
        let ran = support::within("it ends", ran).await.unwrap();
        assert!(ran.status.success(), "{arguments:?}: {}", text(&ran));
    }
}

/// Distributions have old ones, and cargo's own words about that lead nowhere.
#[tokio::test]
async fn an_old_rust_is_told_before_anything_is_fetched() {
    let place = tempfile::tempdir().unwrap();
    let cargo = place.path().join("cargo");
    std::fs::write(&cargo, "#!/bin/sh\necho cargo 1.9.0\n").unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let setup = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/setup"))
        .arg("build")
        .env("PATH", format!("{}:{path}", place.path().display()))
        .env("CARGO_TARGET_DIR", place.path())
        .output();
    let setup = support::within("it ends", setup).await.unwrap();
    let (told, needed) = (text(&setup), env!("CARGO_PKG_RUST_VERSION"));
    assert!(!setup.status.success(), "{told}");
    assert!(
        told.contains(&format!("Rust {needed} or newer is needed, this is 1.9.0")),
        "{told}"
    );
}

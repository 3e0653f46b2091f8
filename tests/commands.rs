//! The subcommands as a DBA and an operator type them: the real program, its output and exit code.

use crate::support::{self, Database};
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
    db.run(&script.replace("\\set ON_ERROR_STOP on", "")).await;
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

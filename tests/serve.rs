//! The program itself. What it serves is the other stations' business.

use crate::support::proxy::{Proxy, Way};
use crate::support::{
    self, Database, SECRET, TRANSPORTS, connect, eventually, get, marker, serve, serve_process,
    serve_unready, settings, token, within,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rowcast::app::{App, Service, Socket};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;

#[tokio::test]
async fn the_program_serves_and_says_goodbye_at_sigterm() {
    let database = support::database().await;
    let mut program = serve_process(&database, &[]).await;
    assert_eq!(get(&program, "/healthz", &[]).await.status, 200);
    let mut everybody = support::ws(&program, &token("1", "", ""), "").await;
    everybody.expect("welcome").await;
    marker(&database, &["*"]).await;
    everybody.expect_event("marker").await;
    program.signal(Signal::SIGTERM);
    let (code, reason) = everybody.closed().await;
    assert_eq!(code, 1012, "{reason}");
    assert!(
        reason.parse::<u64>().is_ok_and(|wait| wait <= 500),
        "{reason}"
    );
    assert!(program.exited().await.success(), "{}", program.log());
    let log = program.log();
    assert!(log.contains(r#""message":"stopped""#), "{log}");
}

/// Or the log says that all went well, while another node waits for the lead.
#[tokio::test]
async fn a_lead_that_is_not_given_back_in_time_is_said() {
    let database = support::database().await;
    let (link, url) = Proxy::to(&database).await;
    let env = [("ROWCAST__DATABASE__LISTEN_URL", &*url)];
    let mut program = serve_process(&database, &env).await;
    program.log_line(r#""message":"leading""#).await;
    link.set(Way::Freeze);
    program.signal(Signal::SIGTERM);
    assert!(program.exited().await.success(), "{}", program.log());
    let log = program.log();
    let stopped = r#""message":"stopped","left":0,"in_time":false"#;
    assert!(log.contains(stopped), "{log}");
}

/// A terminal that is closed, or somebody who expects that settings are read again: clients had heard
/// nothing of the end.
#[tokio::test]
async fn a_hangup_says_goodbye_too() {
    let database = support::database().await;
    let mut program = serve_process(&database, &[]).await;
    let mut everybody = support::ws(&program, &token("1", "", ""), "").await;
    everybody.expect("welcome").await;
    program.signal(Signal::SIGHUP);
    assert_eq!(everybody.closed().await.0, 1012);
    assert!(program.exited().await.success(), "{}", program.log());
    // Or nobody finds out what stops it at night.
    let log = program.log();
    let why = r#""message":"told to stop","signal":"SIGHUP""#;
    assert!(log.contains(why), "{log}");
}

#[tokio::test]
async fn who_was_started_by_nohup_outlives_the_terminal() {
    let database = support::database().await;
    let ignoring = ["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    let program = support::serve_process_by(&ignoring, &database, &[]).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    assert_eq!(ignored & 1, 1, "{status}");
    program.signal(Signal::SIGHUP);
    assert_eq!(get(&program, "/readyz", &[]).await.status, 200);
}

/// A service at this socket whose database is away.
fn without_database(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
    command
        .args(["serve", "--listen", &format!("unix:{}", path.display())])
        .env_clear()
        // Nobody answers there.
        .env("DATABASE_URL", "postgres://u@127.0.0.1:1/d")
        .kill_on_drop(true);
    command
}

/// A node that was started while the issuer was away refused everybody, and no number said so.
#[tokio::test]
async fn keys_that_can_not_be_fetched_are_counted_as_failures() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _child = without_database(&path)
        // Nobody answers there either.
        .env("ROWCAST__AUTH__JWKS", "http://127.0.0.1:1/keys")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the failure is counted", async || {
        let metrics = ask_at(&path, "/metrics").await?;
        metrics
            .contains("\nrowcast_failures_total 1\n")
            .then_some(())
    })
    .await;
}

/// A series that begins with its first value has not increased by it, and one that is not there equals
/// nothing: the alerts of docs/operations.md heard of neither.
#[tokio::test]
async fn what_alerts_compare_is_there_before_anything_happens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _child = without_database(&path)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = eventually("it answers", async || ask_at(&path, "/metrics").await).await;
    for line in [
        "rowcast_ready 0",
        "rowcast_leads 0",
        "rowcast_failures_total 0",
        "rowcast_log_refusals_total 0",
        "rowcast_refusals_total{code=\"overloaded\"} 0",
        "rowcast_refusals_total{code=\"rate-limited\"} 0",
        "rowcast_refusals_total{code=\"unsupported-media-type\"} 0",
        "rowcast_connections_closed_total{reason=\"lagged\"} 0",
        "rowcast_connections_closed_total{reason=\"answered\"} 0",
    ] {
        assert!(
            metrics.contains(&format!("\n{line}\n")),
            "{line}\n{metrics}"
        );
    }
    // It would be the age of the process, and no lag.
    assert!(!metrics.contains("rowcast_lag_seconds"), "{metrics}");
    // Once each, though words stand in more than one table.
    let mut series: Vec<_> = metrics
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .collect();
    series.retain(|(name, _)| !name.starts_with('#'));
    series.sort_unstable();
    assert!(
        series.windows(2).all(|two| two[0].0 != two[1].0),
        "{metrics}"
    );
}

/// A line for each client that came, and came again, filled a gigabyte an hour with the same words.
#[tokio::test]
async fn a_database_that_is_away_fills_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let child = without_database(&path)
        .env("ROWCAST__AUTH__HS256_SECRET", SECRET)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it answers", async || ask_at(&path, "/healthz").await).await;
    let poll = format!("/poll?token={}", token("1", "", ""));
    for _ in 0..50 {
        let refused = ask_at(&path, &poll).await.unwrap();
        assert!(refused.contains("the database is away"), "{refused}");
    }
    let metrics = ask_at(&path, "/metrics").await.unwrap();
    let counted = "\nrowcast_refusals_total{code=\"overloaded\"} 50\n";
    assert!(metrics.contains(counted), "{metrics}");
    kill(
        Pid::from_raw(child.id().unwrap().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let ended = within("it ends", child.wait_with_output()).await.unwrap();
    let log = String::from_utf8(ended.stderr).unwrap();
    let told = log.matches("the database is away").count();
    assert!((1..25).contains(&told), "{told} lines for 50: {log}");
}

#[tokio::test]
async fn times_in_the_log_are_numbers() {
    let database = support::database().await;
    let mut program = serve_process(&database, &[]).await;
    let ours = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and usename = 'rowcast_service'";
    database.run(ours).await;
    let line = program.log_line("the listener lost the database").await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["fields"]["wait_ms"].is_u64(), "{line}");
}

#[tokio::test]
async fn both_transports_carry_the_same_events() {
    let database = support::database().await;
    let server = serve(&database, |_| ()).await;
    let mut events = Vec::new();
    for transport in TRANSPORTS {
        let mut somebody = connect(transport, &server, &token("1", "", ""), "").await;
        assert_eq!(somebody.expect("welcome").await["user"], "1");
        events.push(somebody);
    }
    let id = marker(&database, &["*"]).await;
    for somebody in &mut events {
        let event = somebody.expect_event("marker").await;
        assert_eq!(event["id"], id.as_str());
        assert_eq!(event["bookmark"].as_str(), somebody.bookmark.as_deref());
    }
    let mut server = server;
    server.begin_to_stop();
    assert_eq!(events[0].closed().await.0, 1012);
    assert_eq!(events[1].closed().await, (200, "restart".into()));
    server.stop().await;
}

/// As in the demo: each with a database and below a path of its own, and one goodbye for all.
#[tokio::test]
async fn several_services_share_a_socket_and_stop_together() {
    let databases = [support::database().await, support::database().await];
    let mut services = databases
        .iter()
        .zip(["/one", "/two"])
        .map(|(database, path)| {
            let mut settings = settings(database);
            settings.http.base_path = path.to_owned();
            Service::open(settings).unwrap()
        });
    let (first, second) = (services.next().unwrap(), services.next().unwrap());
    for gate in [&first.gate, &second.gate] {
        let ready = async || gate.pulse.check(&gate.settings.listener).ok();
        support::eventually("the service is ready", ready).await;
    }
    let socket = Socket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.address();
    let app = App::of(first, vec![second], socket).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(app.run(async {
        let _ = stopped.await;
    }));
    let mut everybody = Vec::new();
    for path in ["/one", "/two"] {
        let path = format!("{path}/ws?token={}", token("1", "", ""));
        let mut somebody = support::socket(&at, &path, &[]).await;
        somebody.expect("welcome").await;
        everybody.push(somebody);
    }
    for (database, somebody) in databases.iter().zip(&mut everybody) {
        let id = marker(database, &["*"]).await;
        assert_eq!(somebody.expect_event("marker").await["id"], id.as_str());
    }
    drop(stop);
    for somebody in &mut everybody {
        assert_eq!(somebody.closed().await.0, 1012);
    }
    within("both have ended", served).await.unwrap().unwrap();
}

/// What a program answers at its Unix socket; nothing while nobody listens there.
async fn ask_at(path: &std::path::Path, request: &str) -> Option<String> {
    let mut stream = UnixStream::connect(path).await.ok()?;
    let request = format!("GET {request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// Nobody is kept from anything by a log that can't be written: neither clients, nor the listener,
/// nor who wants the end.
async fn serves_with_its_log_at(database: &Database, log: Stdio, loses: bool) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
    command
        .args(["serve", "--listen", &format!("unix:{}", path.display())])
        .env_clear()
        .env("DATABASE_URL", &database.service_url)
        .env("ROWCAST__AUTH__HS256_SECRET", SECRET)
        .stderr(log)
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let ready = async || {
        let answer = ask_at(&path, "/readyz").await?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    };
    eventually("it is ready", ready).await;
    for _ in 0..20 {
        let refused = within("an answer", ask_at(&path, "/poll")).await.unwrap();
        assert!(refused.contains("unauthorized"), "{refused:?}");
    }
    database
        .run(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and usename = 'rowcast_service'",
        )
        .await;
    let lost_and_back = async || {
        let metrics = ask_at(&path, "/metrics").await?;
        let counted = |name: &str| !metrics.contains(&format!("\n{name} 0\n"));
        let told = counted("rowcast_log_lines_lost_total") == loses;
        (told && counted("rowcast_listener_losses_total")).then_some(())
    };
    eventually("the database was lost, and lines were", lost_and_back).await;
    eventually("it is ready again", ready).await;
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(within("it ends", child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let database = support::database().await;
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    serves_with_its_log_at(&database, full.into(), true).await;
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    serves_with_its_log_at(&database, closed.into(), true).await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let database = support::database().await;
    let (_reader, mut unread) = std::io::pipe().unwrap();
    fcntl(&unread, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while unread.write(&[b'\n'; 4096]).is_ok() {}
    while unread.write(b"\n").is_ok() {}
    fcntl(&unread, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    serves_with_its_log_at(&database, unread.into(), false).await;
}

/// Whoever comes while it drains is turned away at once, and does not hang.
#[tokio::test]
async fn a_service_that_drains_listens_no_more() {
    let database = support::database().await;
    let admin = tempfile::tempdir().unwrap();
    let operators = admin.path().join("operators");
    let mut server = serve(&database, |settings| {
        settings.http.admin_listen = Some(format!("unix:{}", operators.display()));
    })
    .await;
    // Somebody who does not go yet.
    let seat = server.gate.seats.sit(&server.gate, None).unwrap();
    server.begin_to_stop();
    let refused = async || {
        let come = tokio::net::TcpStream::connect(&server.address).await;
        (come.is_err() && !operators.exists()).then_some(())
    };
    eventually("nobody listens", refused).await;
    assert_eq!(server.gate.seats.taken(), 1, "it drains still");
    drop(seat);
    server.stop().await;
}

async fn serve_with_files(database: &Database, limit: &str) -> support::Process {
    let limited = format!("ulimit {limit}; exec \"$0\" \"$@\"");
    support::serve_process_by(&["sh", "-c", &limited], database, &[]).await
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised() {
    let database = support::database().await;
    let program = serve_with_files(&database, "-Sn 64").await;
    let mut everybody = Vec::new();
    for _ in 0..60 {
        let mut somebody = support::ws(&program, &token("1", "", ""), "").await;
        somebody.expect("welcome").await;
        everybody.push(somebody);
    }
    assert_eq!(get(&program, "/healthz", &[]).await.status, 200);
}

/// Nobody hangs: whoever finds no room is told so.
#[tokio::test]
async fn too_few_open_files_are_told_at_the_start_and_to_whom_it_concerns() {
    let database = support::database().await;
    let program = serve_with_files(&database, "-n 100").await;
    assert!(program.log().contains("LimitNOFILE="), "{}", program.log());
    let (_, port) = program.address.rsplit_once(':').unwrap();
    let port = format!(":{:04X}", port.parse::<u16>().unwrap());
    // Those of clients that it has: one that is closed, or not accepted yet, belongs to no file. The
    // pool's come and go by themselves.
    let sockets = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let lines = table.lines().map(|line| line.split_whitespace().collect());
        let is_ours = |line: &Vec<&str>| line[1].ends_with(&port) && line[9] != "0";
        lines.skip(1).filter(is_ours).count()
    };
    let (mut inside, mut overloaded) = (Vec::new(), 0);
    for _ in 0..60 {
        let before = sockets();
        let mut somebody = support::ws(&program, &token("1", "", ""), "").await;
        match somebody.next_or_end().await {
            Ok(_) => inside.push(somebody),
            Err((code, _)) => {
                assert_eq!(code, 1013);
                overloaded += 1;
                drop(somebody);
                // One that is being closed would take the room of the next.
                eventually("its socket is closed", async || {
                    (sockets() <= before).then_some(())
                })
                .await;
            }
        }
    }
    // 100 less those of its own and of the pools are 56, and a quarter of them is for refusals.
    assert_eq!((inside.len(), overloaded), (42, 18));
    assert_eq!(get(&program, "/healthz", &[]).await.status, 200);
    assert!(
        !program.log().contains("accept failed"),
        "{}",
        program.log()
    );
}

#[tokio::test]
async fn a_role_that_may_do_all_is_told_at_the_start() {
    let database = support::database().await;
    let url = database.superuser_url.as_str();
    let mut mighty = serve_process(&database, &[("DATABASE_URL", url)]).await;
    mighty.log_line("runs as a superuser").await;
    let mut meek = serve_process(&database, &[]).await;
    let mut reader = support::ws(&meek, &token("1", "", ""), "").await;
    reader.expect("welcome").await;
    // Behind what is looked at once, at the start.
    marker(&database, &["*"]).await;
    reader.expect_event("marker").await;
    meek.signal(Signal::SIGTERM);
    meek.exited().await;
    assert!(!meek.log().contains("superuser"), "{}", meek.log());
}

/// Of two versions, the node says which is the older, and works if it can.
#[tokio::test]
async fn a_schema_of_another_version_is_told() {
    for (sql, words) in [
        (
            "update rowcast.setting set schema_number = 9999",
            "newer than this program",
        ),
        (
            "alter table rowcast.setting drop column schema_number",
            "older than this program",
        ),
    ] {
        let database = support::database().await;
        database.run(sql).await;
        let mut program = serve_process(&database, &[]).await;
        program.log_line(words).await;
    }
}

/// Where the role may not be idle for long, the pool finds its connections ended, and replaces them:
/// that is no fault, and was warned of again and again.
#[tokio::test]
async fn connections_of_the_pool_that_were_idle_too_long_are_no_warning() {
    let database = support::database().await;
    database
        .run(&format!(
            "alter role rowcast_service in database {} set idle_session_timeout = '50ms'",
            database.name
        ))
        .await;
    let env = [
        ("ROWCAST__LISTENER__PROOF_S", "1"),
        ("ROWCAST__LISTENER__PROOF_TIMEOUT_MS", "900"),
    ];
    let program = serve_process(&database, &env).await;
    // What the pool's connection said last; the listening one says no COMMIT.
    let pool = "select coalesce(array_agg(pid), '{}') from pg_stat_activity \
         where datname = current_database() and query = 'commit'";
    let mut seen = BTreeSet::new();
    eventually("the pool has had three connections", async || {
        seen.extend(database.ask::<Vec<i32>>(pool).await);
        (seen.len() >= 3).then_some(())
    })
    .await;
    let log = program.log();
    assert!(!log.contains("deadpool"), "{log}");
    assert!(!log.contains("the database ended"), "{log}");
}

/// Many DBAs take CONNECT from everybody. Who signed in as `rowcast_service` was told to.
#[tokio::test]
async fn a_role_without_connect_is_told_what_it_lacks() {
    let database = support::database().await;
    let name = &database.name;
    let taken = format!("revoke connect on database {name} from public");
    database.run(&taken).await;
    let server = serve_unready(&database, |_| ()).await;
    eventually("it says what is wrong", async || {
        let answer = get(&server, "/readyz", &[]).await.body;
        let said = answer.contains("grant connect on database … to rowcast_service");
        said.then_some(())
    })
    .await;
    let given = format!("grant connect on database {name} to rowcast_service");
    database.run(&given).await;
    eventually("it is ready", async || {
        (get(&server, "/readyz", &[]).await.status == 200).then_some(())
    })
    .await;
    server.stop().await;
}

/// It said no more than PostgreSQL does, and not how many a node takes.
#[tokio::test]
async fn where_no_connection_is_left_it_says_so_and_comes_back_by_itself() {
    let database = support::database().await;
    let limit = async |most: i32| {
        let sql = format!("alter database {} connection limit {most}", database.name);
        database.run(&sql).await;
    };
    // The listener's, and none for the pool.
    limit(1).await;
    let server = serve_unready(&database, |_| ()).await;
    eventually("it says what is wrong", async || {
        let answer = get(&server, "/readyz", &[]).await.body;
        let said = answer.contains("too many connections")
            && answer.contains("database.pool_size + calls.running + 1");
        said.then_some(())
    })
    .await;
    limit(-1).await;
    eventually("it is ready", async || {
        let answer = get(&server, "/readyz", &[]).await;
        (answer.status == 200).then_some(())
    })
    .await;
    server.stop().await;
}

/// It stood in the log at `debug` alone, and the next statement only heard that the connection is closed.
#[tokio::test]
async fn why_the_server_ended_a_connection_of_the_pool_is_told() {
    let database = support::database().await;
    let mut program = serve_process(&database, &[]).await;
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where datname = current_database() and query = 'commit' and state = 'idle'";
    eventually("the pool has a connection", async || {
        (database.ask::<i64>(end).await > 0).then_some(())
    })
    .await;
    let line = program
        .log_line("the database ended a connection of the pool")
        .await;
    let why = "terminating connection due to administrator command [57P01]";
    assert!(line.contains(why), "{line}");
}

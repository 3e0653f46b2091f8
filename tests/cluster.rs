//! The throwaway PostgreSQL: it is what it says, and nothing of it outlives its owner, however that
//! one ended. Owners to kill are real demos, each with a temporary directory that nobody else sweeps.

use crate::support::{PATIENCE, VERSIONS, eventually, on, within};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rowcast::command::postgres::{Cluster, ClusterError, Mode, Options, SUPERUSER, sweep};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio_postgres::{NoTls, SimpleQueryMessage};

async fn started(options: Options) -> Cluster {
    let started = Cluster::start(options).await;
    started.unwrap_or_else(|error| panic!("{error}"))
}

/// The first column of the first row.
async fn query(url: &str, sql: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let driver = tokio::spawn(connection);
    let answer = client.simple_query(sql).await?;
    drop(client);
    let _ = driver.await;
    let mut rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(rows.next().unwrap_or_default())
}

fn home(cluster: &Cluster) -> PathBuf {
    cluster.socket_dir().parent().unwrap().to_owned()
}

/// The processes whose command line has all of these words.
fn processes(words: &[&str]) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        if words.iter().all(|word| command.contains(word)) {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

/// Neither the directory nor a process that works in it.
async fn is_gone(directory: &Path) {
    let name = directory.to_str().unwrap();
    eventually(&format!("{name} is gone"), async || {
        (!directory.exists() && processes(&[name]).is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_answers_and_leaves_nothing() {
    let mut cluster = started(Options::default()).await;
    let url = cluster.url("postgres", SUPERUSER);
    for (setting, value) in [
        ("server_encoding", "UTF8"),
        ("listen_addresses", ""),
        ("fsync", "off"),
    ] {
        let shown = query(&url, &format!("show {setting}")).await.unwrap();
        assert_eq!(shown, value, "{setting}");
    }
    assert!(cluster.tcp_url("postgres", SUPERUSER, None).is_none());
    assert!(cluster.pid().is_some());
    let home = home(&cluster);
    drop(cluster);
    assert!(!home.exists());
    is_gone(&home).await;
}

#[tokio::test]
async fn tcp_asks_for_the_password() {
    let cluster = started(Options {
        tcp: true,
        durable: true,
        settings: vec![("max_connections".into(), "17".into())],
        ..Options::default()
    })
    .await;
    let url = cluster.tcp_url("postgres", SUPERUSER, None).unwrap();
    assert_eq!(query(&url, "show max_connections").await.unwrap(), "17");
    assert_eq!(query(&url, "show fsync").await.unwrap(), "on");
    let wrong = cluster.tcp_url("postgres", SUPERUSER, Some("wrong"));
    assert!(query(&wrong.unwrap(), "select 1").await.is_err());
}

#[tokio::test]
async fn data_survives_every_way_to_stop() {
    let mut cluster = started(Options {
        tcp: true,
        ..Options::default()
    })
    .await;
    let url = cluster.url("postgres", SUPERUSER);
    let tcp = cluster.tcp_url("postgres", SUPERUSER, None).unwrap();
    query(&url, "create table t as select 1 as n")
        .await
        .unwrap();
    for mode in [
        Some(Mode::Smart),
        Some(Mode::Fast),
        Some(Mode::Immediate),
        None,
    ] {
        let before = cluster.pid().unwrap();
        match mode {
            Some(mode) => cluster.stop(mode).await.unwrap(),
            None => cluster.kill9().await.unwrap(),
        }
        assert!(cluster.pid().is_none());
        assert!(query(&url, "select 1").await.is_err());
        cluster.start_again().await.unwrap();
        assert_ne!(cluster.pid().unwrap(), before);
        let kept = query(&tcp, "select n from t").await.unwrap();
        assert_eq!(kept, "1", "{mode:?}");
    }
    // A connection that hangs about while the server is killed.
    let (_client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    cluster.kill9().await.unwrap();
    cluster.start_again().await.unwrap();
    cluster.kill9().await.unwrap();
    let home = home(&cluster);
    drop(cluster);
    assert!(!home.exists());
}

#[tokio::test]
async fn a_bad_setting_is_told_in_the_servers_words() {
    let nonsense = Options {
        settings: vec![("nonsense".into(), "1".into())],
        ..Options::default()
    };
    let error = Cluster::start(nonsense).await.unwrap_err();
    assert!(
        matches!(&error, ClusterError::Failed { output, .. } if output.contains("nonsense")),
        "{error}"
    );
    let nowhere = Options {
        bin_dir: Some("/nonexistent".into()),
        ..Options::default()
    };
    let error = Cluster::start(nowhere).await.unwrap_err();
    assert!(matches!(error, ClusterError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn every_version_runs() {
    for version in VERSIONS {
        let database = on(version).await.empty().await;
        let number: String = database.ask("show server_version").await;
        let major = number.split(['.', ' ']).next().unwrap();
        assert_eq!(database.version.to_string(), major, "{version:?}");
        let upper: String = database.ask("select upper('ä')").await;
        assert_eq!(upper, "Ä", "{version:?}");
    }
}

#[tokio::test]
async fn strangers_directories_are_left_alone() {
    let stranger = tempfile::Builder::new()
        .prefix("rowcast-")
        .tempdir()
        .unwrap();
    // Without our mark, and with one that is just being made.
    sweep();
    assert!(stranger.path().exists());
    std::fs::write(stranger.path().join("owner"), "").unwrap();
    sweep();
    assert!(stranger.path().exists());
}

/// A temporary directory that the server's user may pass through.
fn place() -> TempDir {
    let place = tempfile::Builder::new().prefix("demo-").tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path(), open).unwrap();
    place
}

fn homes(place: &TempDir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.path()).unwrap().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// A real `rowcast demo` that serves.
struct Demo {
    child: Child,
    home: PathBuf,
}

impl Demo {
    async fn start(place: &TempDir) -> Self {
        let before = homes(place);
        let mut child = Command::new(env!("CARGO_BIN_EXE_rowcast"))
            .args(["demo", "--quiet", "--listen", "127.0.0.1:0"])
            .env("TMPDIR", place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program was built");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It has a PostgreSQL to make first.
        let serves = tokio::time::timeout(2 * PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("demo is at") {
                    return;
                }
            }
            panic!("the demo ended");
        });
        serves.await.expect("the demo serves");
        let mut new = homes(place);
        new.retain(|home| !before.contains(home));
        assert_eq!(new.len(), 1, "{new:?}");
        let home = new.remove(0);
        Self { child, home }
    }

    fn name(&self) -> &str {
        self.home.to_str().unwrap()
    }

    async fn ends(&mut self, signal: Signal) -> ExitStatus {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        within("the demo ends", self.child.wait()).await.unwrap()
    }
}

#[tokio::test]
async fn a_demo_that_is_killed_takes_everything_along() {
    let place = place();
    let mut demo = Demo::start(&place).await;
    assert!(!processes(&[demo.name(), "postgres"]).is_empty());
    demo.ends(Signal::SIGKILL).await;
    is_gone(&demo.home).await;
    assert!(homes(&place).is_empty());
}

#[tokio::test]
async fn what_a_killed_demo_left_the_next_start_sweeps_and_the_living_are_spared() {
    let place = place();
    let mut alive = Demo::start(&place).await;
    for kill_server in [false, true] {
        let mut killed = Demo::start(&place).await;
        // The guard first, or it would clear up.
        let mut victims = processes(&["rowcast-guard", killed.name()]);
        assert_eq!(victims.len(), 1);
        let server = std::fs::read_to_string(killed.home.join("data/postmaster.pid")).unwrap();
        let server = Pid::from_raw(server.lines().next().unwrap().parse().unwrap());
        if kill_server {
            victims.push(server);
        }
        for victim in victims {
            kill(victim, Signal::SIGKILL).unwrap();
        }
        killed.ends(Signal::SIGKILL).await;
        assert!(killed.home.exists(), "nobody was left to remove it");
        if !kill_server {
            kill(server, None).expect("the server outlives its owner");
        }
        let mut next = Demo::start(&place).await;
        assert!(!killed.home.exists(), "swept");
        is_gone(&killed.home).await;
        assert!(alive.home.exists());
        assert!(next.ends(Signal::SIGTERM).await.success());
        is_gone(&next.home).await;
    }
    assert!(!processes(&[alive.name(), "postgres"]).is_empty());
    assert!(alive.ends(Signal::SIGINT).await.success());
    is_gone(&alive.home).await;
    assert!(homes(&place).is_empty());
}

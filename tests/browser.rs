//! Real Chromium on the demo's page: a statement is run, its event becomes pixels.
//! `UPDATE=1` rewrites `docs/demo.png`.

use crate::support::driver::Driver;
use serde_json::json;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// For the demo, whose PostgreSQL has to be made first.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_statement_in_sql_becomes_pixels_in_both_views() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_rowcast"))
        .args(["demo", "--quiet", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let serves = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(at) = line.find("http://") {
                return line[at..].trim().to_owned();
            }
        }
        panic!("the demo ended")
    };
    let url = timeout(PATIENCE, serves).await.expect("the demo serves");
    let driver = Driver::start().await;
    let page = driver.visit(&url, json!({})).await;

    for view in ["user", "admin"] {
        page.until(&format!(
            "document.querySelector('#connection-{view}[data-status=live]') !== null"
        ))
        .await;
    }
    page.evaluate("document.querySelector('button[data-run=\"1\"]').click()")
        .await;
    let created = "document.querySelector('#feed li[data-name=\"booking:created\"]')";
    page.until(&format!("{created}?.dataset.views")).await;
    page.until(&format!("{created}.dataset.views.includes('admin')"))
        .await;
    page.until("document.querySelector('#feed li[data-name=\"time-slot:updated\"]') !== null")
        .await;
    page.until("/\\d/.test(document.querySelector('#median-browser').textContent)")
        .await;

    if std::env::var_os("UPDATE").is_some() {
        let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/demo.png");
        page.screenshot(&picture, false).await;
    }

    // SIGINT is Ctrl-C: the page's connections are told to come back, and nothing is left behind.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(demo.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = timeout(PATIENCE, demo.wait())
        .await
        .expect("the demo ends in time")
        .unwrap();
    assert!(ended.success(), "{ended}");
}

//! What `docs/sse.md` shows, as it stands there: its page in real Chromium, its commands in a shell.

use super::everything::forget_all;
use crate::support::documented::text;
use crate::support::driver::{Driver, tool};
use crate::support::proxy::{Proxy, Upstream};
use crate::support::{self, Database, serve, token};
use rowcast::config::Settings;
use rowcast::event::GapReason;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncBufReadExt;

/// Where nothing listens.
const NOBODY: &str = "127.0.0.1:1";

/// The page's code blocks of this language.
fn blocks(language: &str) -> Vec<String> {
    let page = text("sse.md");
    let opening = format!("```{language}\n");
    let blocks = page.split(&opening).skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().expect("a block").to_owned());
    blocks.collect()
}

async fn book(database: &Database, number: u32) {
    let booked = format!(
        "select rowcast.emit('lab', 'booking:created', array['lab:1'], '{{\"n\": {number}}}')"
    );
    database.run(&booked).await;
}

/// It has the room, the name and the path that the block has, so that nothing in it is exchanged;
/// `show` is the reader's, and a `location` of ours counts what would be a reload.
#[tokio::test]
async fn the_script_of_the_page_on_sse_shows_resumes_and_tells_gaps() {
    let database = super::database().await;
    let rule = "insert into rowcast.room_rule values ('lab:*', 'public.anybody(jsonb, text)')";
    database.run(rule).await;
    let settings = |settings: &mut Settings| {
        settings.auth.cookie = Some("session".into());
        settings.sse.retry = Duration::from_millis(50);
    };
    let server = serve(&database, settings).await;
    let door = Proxy::start(Upstream::Tcp(server.address.clone()), 1).await;
    let driver = Driver::start().await;
    let [script] = &blocks("js")[..] else {
        panic!("docs/sse.md has one script");
    };

    // A page of Rowcast's own origin, as behind a proxy that serves both.
    let page = format!("http://{}/healthz", door.address);
    let page = driver.visit(&page, json!({})).await;
    let begin = format!(
        "(() => {{
          document.cookie = 'session={}'
          window.shown = []
          window.reloads = 0
          const show = (data) => window.shown.push(data.n)
          const location = {{ reload: () => window.reloads++ }}
          {script}
          window.opened = 0
          events.addEventListener('rowcast:welcome', () => window.opened++)
        }})()",
        token("1", "", "")
    );
    page.evaluate(&begin).await;
    page.until("window.opened === 1").await;
    book(&database, 1).await;
    page.until("window.shown.length === 1").await;

    // Cut, and something happens before it is back: the browser brings the last id by itself.
    door.lead_to(Upstream::Tcp(NOBODY.into()));
    door.cut();
    book(&database, 2).await;
    door.lead_to(Upstream::Tcp(server.address.clone()));
    page.until("window.opened === 2").await;
    book(&database, 3).await;
    page.until("window.shown.length >= 3").await;
    assert_eq!(page.evaluate("window.shown").await, json!([1, 2, 3]));
    assert_eq!(page.evaluate("window.reloads").await, 0);

    // A gap while it listens, and one that it comes back to.
    server.gate.hub.tell_gap(GapReason::Overflow);
    page.until("window.reloads === 1").await;
    door.lead_to(Upstream::Tcp(NOBODY.into()));
    door.cut();
    book(&database, 4).await;
    server.stop().await;
    forget_all(&database).await;
    // This one has nothing in memory: it reads the log.
    let server = serve(&database, settings).await;
    door.lead_to(Upstream::Tcp(server.address.clone()));
    page.until("window.reloads === 2").await;
    book(&database, 5).await;
    page.until("window.shown.length >= 4").await;
    assert_eq!(page.evaluate("window.shown").await, json!([1, 2, 3, 5]));
    server.stop().await;
}

/// Each shell command of `docs/sse.md`, as it stands there, prints what the page says of it.
#[tokio::test]
async fn the_commands_of_the_page_on_sse_work() {
    let database = super::database().await;
    let server = serve(&database, |_| ()).await;
    let curl = tool("ROWCAST_TEST_CURL");
    let beside = Path::new(&curl).parent().expect("a directory").display();
    let path = format!("{beside}:{}", std::env::var("PATH").expect("a PATH"));
    let blocks = blocks("sh");
    let printed = [
        "event: rowcast:welcome",
        "\"outcome\":\"recovered\"",
        // The reader is new.
        "\"outcome\":\"live\"",
        "{\"bookmark\":\"",
        "401",
    ];
    assert_eq!(blocks.len(), printed.len());
    for (block, mark) in blocks.iter().zip(printed) {
        let mut shell = tokio::process::Command::new("bash")
            .args(["-c", block])
            .env("PATH", &path)
            .env("ROWCAST", &server.url)
            .env("TOKEN", token("1", "", ""))
            .env("ROOMS", "open:1")
            .env("NAME", "page")
            .env("BOOKMARK", database.bookmark().await)
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("bash");
        let output = shell.stdout.take().expect("a pipe");
        let mut lines = tokio::io::BufReader::new(output).lines();
        support::within(mark, async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if line.contains(mark) {
                    return;
                }
            }
            panic!("{block} did not print {mark}");
        })
        .await;
        let _ = shell.kill().await;
    }
    server.stop().await;
}

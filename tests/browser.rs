//! Real Chromium on the demo's page: a statement is run, its event becomes pixels.
//! Speaks the DevTools protocol itself: four commands are needed, of a browser the system has.
//! `UPDATE=1` rewrites `docs/demo.png`.

use base64::Engine;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// For everything that is waited for: a loaded machine starts Chromium in ten.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits in the page for an expression to become true, woken by what changes there.
const UNTIL: &str = "window.until = (fact) => new Promise((done) => {
  const look = () => { const seen = fact(); if (seen) { watch.disconnect(); done(seen); } };
  const watch = new MutationObserver(look);
  watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  look();
});";

/// The first line of a child's output that holds `mark`.
async fn line_with(output: impl AsyncRead + Unpin, mark: &str) -> String {
    let mut lines = BufReader::new(output).lines();
    let found = async {
        let mut before = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(mark) {
                return line;
            }
            before.push_str(&line);
            before.push('\n');
        }
        panic!("no line with {mark:?} in:\n{before}")
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("no line with {mark:?} in time"))
}

struct Browser {
    socket: WebSocketStream<tokio::net::TcpStream>,
    page: String,
    next: u64,
    _child: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    async fn open(url: &str) -> Self {
        let program = std::env::var("ROWCAST_TEST_CHROMIUM").unwrap_or_else(|_| "chromium".into());
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(&program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--remote-debugging-port=0",
                "--window-size=1440,1000",
                "about:blank",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; `.ci/setup test` installs it"));
        let mark = "DevTools listening on ";
        let line = line_with(child.stderr.take().unwrap(), mark).await;
        let address = line.split_once(mark).unwrap().1.trim().to_owned();
        let host = address
            .strip_prefix("ws://")
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let stream = tokio::net::TcpStream::connect(host).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(&address, stream)
            .await
            .unwrap();
        let mut browser = Self {
            socket,
            page: String::new(),
            next: 0,
            _child: child,
            _profile: profile,
        };
        let target = browser
            .ask("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach).await;
        browser.page = session["sessionId"].as_str().unwrap().to_owned();
        browser.ask("Page.enable", json!({})).await;
        browser
            .ask(
                "Page.addScriptToEvaluateOnNewDocument",
                json!({ "source": UNTIL }),
            )
            .await;
        browser.ask("Page.navigate", json!({ "url": url })).await;
        browser
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut command = json!({ "id": self.next, "method": method, "params": params });
        if !self.page.is_empty() {
            command["sessionId"] = self.page.as_str().into();
        }
        self.socket
            .send(Message::text(command.to_string()))
            .await
            .unwrap();
        let answer = async {
            while let Some(message) = self.socket.next().await {
                let Message::Text(text) = message.unwrap() else {
                    continue;
                };
                let answer: Value = serde_json::from_str(&text).unwrap();
                if answer["id"] == self.next {
                    assert!(answer.get("error").is_none(), "{method}: {answer}");
                    return answer["result"].clone();
                }
            }
            panic!("Chromium went away")
        };
        timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| panic!("no answer to {method}: {params}"))
    }

    /// The value of an expression, or of the promise that it is.
    async fn evaluate(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let done = self.ask("Runtime.evaluate", params).await;
        assert!(
            done.get("exceptionDetails").is_none(),
            "{expression}: {done}"
        );
        done["result"]["value"].clone()
    }
}

#[tokio::test]
async fn a_statement_in_sql_becomes_pixels_in_both_views() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_rowcast"))
        .args(["demo", "--quiet", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = line_with(demo.stdout.take().unwrap(), "http://").await;
    let url = &line[line.find("http://").unwrap()..];
    let mut browser = Browser::open(url.trim()).await;

    for view in ["user", "admin"] {
        let live = format!(
            "until(() => document.querySelector('#connection-{view}[data-status=live]') !== null)"
        );
        assert_eq!(browser.evaluate(&live).await, true, "{view}");
    }
    browser
        .evaluate("document.querySelector('button[data-run=\"1\"]').click()")
        .await;
    let fed = "until(() => document.querySelector('#feed li[data-name=\"booking:created\"]')?.dataset.views)";
    let views = browser.evaluate(fed).await;
    assert!(!views.as_str().unwrap().is_empty());
    let both = "until(() => document.querySelector('#feed li[data-name=\"booking:created\"]').dataset.views.includes('admin'))";
    assert_eq!(browser.evaluate(both).await, true);
    let spots =
        "until(() => document.querySelector('#feed li[data-name=\"time-slot:updated\"]') !== null)";
    assert_eq!(browser.evaluate(spots).await, true);
    let median = "until(() => /\\d/.test(document.querySelector('#median-browser').textContent))";
    assert_eq!(browser.evaluate(median).await, true);

    if std::env::var_os("UPDATE").is_some() {
        let shot = browser
            .ask("Page.captureScreenshot", json!({ "format": "png" }))
            .await;
        let png = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap());
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/docs/demo.png"),
            png.unwrap(),
        )
        .unwrap();
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

/// The demo's console: charts with data, an event in the tail, nothing blocked, nobody else asked.
#[tokio::test]
async fn the_console_draws_what_happens_and_asks_nobody_else() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_rowcast"))
        .args(["demo", "--quiet", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let line = line_with(demo.stdout.take().unwrap(), "console#token=").await;
    let url = &line[line.find("http://").unwrap()..];
    let mut browser = Browser::open(url.trim()).await;

    let drawn = "until(() => Number(document.body?.dataset.drawn) >= 1)";
    assert_eq!(browser.evaluate(drawn).await, true);
    assert_eq!(
        browser.evaluate("location.hash + location.search").await,
        ""
    );
    // A reader of its own, an event for it, and what may go wrong with either.
    let reader = "(async () => {
      window.blocked = []
      addEventListener('securitypolicyviolation', (event) => blocked.push(event.blockedURI))
      const { token } = await (await fetch('/demo/token/admin')).json()
      window.reader = new WebSocket('ws://' + location.host + '/ws', ['rowcast.v1', 'bearer.' + token])
      await new Promise((done) => { reader.onmessage = done })
      return true
    })()";
    assert_eq!(browser.evaluate(reader).await, true);
    let run = "fetch('/demo/run/1', { method: 'POST', body: '{}', \
               headers: { 'content-type': 'application/json' } }).then((answer) => answer.ok)";
    assert_eq!(browser.evaluate(run).await, true);
    for (what, fact) in [
        (
            "the tail",
            "[...document.querySelectorAll('#tail .name')].some((name) => name.textContent === 'booking:created')",
        ),
        (
            "the connection",
            "document.querySelector('#connections tbody th')?.textContent === '100'",
        ),
        (
            "the verdict",
            "document.querySelector('#verdict').dataset.level === 'well'",
        ),
        (
            "the leader",
            "document.querySelector('#facts').textContent.includes('this node leads')",
        ),
        (
            "the histogram",
            "/[1-9]/.test(document.querySelector('[data-chart=histogram] .legend').textContent)",
        ),
        (
            "the charts",
            "[...document.querySelectorAll('.chart')].length === 6 \
             && [...document.querySelectorAll('.chart canvas')].length === 6",
        ),
    ] {
        let seen = browser.evaluate(&format!("until(() => {fact})")).await;
        assert_eq!(seen, true, "{what}");
    }
    // The bar of the histogram is there in pixels: the accent's colour in its canvas.
    let pixels = "(() => {
      const canvas = document.querySelector('[data-chart=histogram] canvas')
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
      let accent = 0
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 100 && data[at + 1] > data[at] + 60) accent += 1
      }
      return accent > 200
    })()";
    assert_eq!(browser.evaluate(pixels).await, true, "a bar");
    let elsewhere = "JSON.stringify([blocked, performance.getEntriesByType('resource')
      .map((entry) => new URL(entry.name).host).filter((host) => host !== location.host)])";
    assert_eq!(browser.evaluate(elsewhere).await, "[[],[]]");
    // A token that does not open it brings back the field, and what was shown stays.
    let paste = "(document.querySelector('#token').value = 'nonsense', \
                 document.querySelector('#gate').requestSubmit(), true)";
    assert_eq!(browser.evaluate(paste).await, true);
    let asked = "until(() => !document.querySelector('#gate').hidden \
                 && document.body.dataset.status === 'refused')";
    assert_eq!(browser.evaluate(asked).await, true);
    assert_eq!(
        browser
            .evaluate("document.querySelector('.chart').offsetHeight > 0")
            .await,
        true
    );
}

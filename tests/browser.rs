//! Real Chromium on the demo's pages: a statement is run, its event becomes pixels.
//! `UPDATE=1` rewrites `docs/demo.png` and `docs/console.png`.

mod pages;

use crate::support::{self, driver::Driver, token};
use serde_json::json;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// For the demo, whose PostgreSQL has to be made first.
const PATIENCE: Duration = Duration::from_secs(60);

/// What somebody with a keyboard, a screen reader or tired eyes can't use: words of a status that are
/// hard to see on their ground or paled, a title outside of all landmarks, lists that are none any more, or
/// that scroll and take no focus.
const UNUSABLE: &str = "(() => {
  const ink = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const light = (layers) => {
    for (ink.fillStyle of layers) ink.fillRect(0, 0, 1, 1)
    const linear = (part) => part <= 10 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4
    const [red, green, blue] = [...ink.getImageData(0, 0, 1, 1).data].map(linear)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
  }
  const isFaint = (word) => {
    const layers = []
    for (let at = word; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor)
    const [one, other] = [light(layers), light([...layers, getComputedStyle(word).color])]
    return Math.max(one, other) / Math.min(one, other) < 4.5
  }
  const isStuck = (list) => list.scrollHeight > list.clientHeight && list.tabIndex < 0
    && getComputedStyle(list).overflowY === 'auto' && !list.querySelector('button, a, summary, input')
  const all = (what) => [...document.querySelectorAll(what)]
  const isPale = (words) => getComputedStyle(words).opacity < 1
  return [...all('.pill b').filter(isFaint), ...all('ol, ul').filter(isStuck),
    ...all('[data-status=cancelled], [data-status=cancelled] p').filter(isPale),
    ...all('h1').filter((title) => !title.closest('main, header')),
    ...all('ol[role], ul[role], dl > :not(div, dt, dd)')].map((at) => at.outerHTML.slice(0, 99))
})()";

/// A demo in which nothing happens by itself, and its address.
async fn demo() -> (Child, String) {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_rowcast"))
        .args(["demo", "--quiet", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let serves = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(at) = line.find("http://") {
                return line[at..].trim().to_owned();
            }
        }
        panic!("the demo ended before it served")
    };
    let url = timeout(PATIENCE, serves).await.expect("the demo serves");
    (demo, url)
}

/// The process of a demo's PostgreSQL, by its parent.
/// Nothing while it is being brought back.
async fn database_of(demo: &Child) -> Option<nix::unistd::Pid> {
    let parent = demo.id().unwrap().to_string();
    let found = Command::new("pgrep")
        .args(["-P", &parent, "-x", "postgres"])
        .output()
        .await
        .expect("pgrep runs");
    let found = String::from_utf8(found.stdout).unwrap();
    let found = found.trim().parse().ok()?;
    Some(nix::unistd::Pid::from_raw(found))
}

#[tokio::test]
async fn a_statement_in_sql_becomes_pixels_in_both_views() {
    let (mut demo, url) = demo().await;
    let driver = Driver::start().await;
    let page = driver.visit(&format!("{url}lab/"), json!({})).await;

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

    // Visitors kill the database: it comes back, and the page with it.
    let postmaster = database_of(&demo).await.expect("one PostgreSQL");
    nix::sys::signal::kill(postmaster, nix::sys::signal::Signal::SIGKILL).unwrap();
    let again = "fetch('/lab/demo/run/1', { method: 'POST', body: '{}', \
        headers: { 'content-type': 'application/json' } }).then((answer) => answer.ok)";
    // For a moment the old one's backends may go on answering.
    support::eventually("a statement runs again, in another database", async || {
        let runs = page.evaluate(again).await == json!(true);
        let database = database_of(&demo).await;
        (runs && database.is_some_and(|database| database != postmaster)).then_some(())
    })
    .await;

    // SIGINT is Ctrl-C: the page's connections are told to come back, and nothing is left behind.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(demo.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = timeout(PATIENCE, demo.wait())
        .await
        .expect("the demo ends in time")
        .unwrap();
    assert!(ended.success(), "{ended}");
    // In words of the page, not in the browser's: "TypeError: Failed to fetch".
    let why = "document.querySelector('[data-reason=user]').textContent";
    page.until(&format!("{why} === 'No answer: does the demo still run?'"))
        .await;
}

/// The demo's console: charts with data, an event in the tail, nothing blocked, nobody else asked.
#[tokio::test]
async fn the_console_draws_what_happens_and_asks_nobody_else() {
    let (demo, url) = demo().await;
    let driver = Driver::start().await;
    let page = driver.visit(&format!("{url}lab/"), json!({})).await;
    let console = "document.querySelector('.title a').href";
    let console = page.evaluate(console).await;
    let console = console.as_str().expect("an address");
    // Without what draws, or the tab's storage, it stayed at "Connecting" and said no word.
    let look = json!({
        "blocked": "**/uPlot*",
        "before": "Object.defineProperty(window, 'sessionStorage', {
          get() { throw new DOMException('denied', 'SecurityError') },
        })",
    });
    let bare = driver.visit(console, look).await;
    bare.until("document.querySelector('#facts')?.textContent.includes('this node leads')")
        .await;
    let page = driver.visit(console, json!({})).await;

    page.until("Number(document.body?.dataset.drawn) >= 1")
        .await;
    assert_eq!(page.evaluate("location.hash + location.search").await, "");
    // A reader of its own, an event for it, and what may go wrong with either.
    let reader = "(async () => {
      window.blocked = []
      addEventListener('securitypolicyviolation', (event) => blocked.push(event.blockedURI))
      const { token } = await (await fetch('/lab/demo/sign-in/admin', { method: 'POST',
        headers: { 'content-type': 'application/json' } })).json()
      window.reader = new WebSocket('ws://' + location.host + '/lab/ws', ['rowcast.v1', 'bearer.' + token])
      await new Promise((done) => { reader.onmessage = done })
      return true
    })()";
    assert_eq!(page.evaluate(reader).await, true);
    let run = "fetch('/lab/demo/run/1', { method: 'POST', body: '{}', \
               headers: { 'content-type': 'application/json' } }).then((answer) => answer.ok)";
    assert_eq!(page.evaluate(run).await, true);
    for fact in [
        "[...document.querySelectorAll('#tail .name')].some((name) => name.textContent === 'booking:created')",
        "document.querySelector('#connections tbody th')?.textContent === '100'",
        "document.querySelector('#verdict').dataset.level === 'well'",
        "document.querySelector('#facts').textContent.includes('this node leads')",
        "/[1-9]/.test(document.querySelector('[data-chart=histogram] .legend').textContent)",
        "[...document.querySelectorAll('.chart')].length === 6 \
             && [...document.querySelectorAll('.chart canvas')].length === 6",
    ] {
        page.until(fact).await;
    }
    assert_eq!(page.evaluate(UNUSABLE).await, json!([]));
    if std::env::var_os("UPDATE").is_some() {
        let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/console.png");
        page.screenshot(&picture, false).await;
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
    page.until(pixels).await;
    let elsewhere = "JSON.stringify([blocked, performance.getEntriesByType('resource')
      .map((entry) => new URL(entry.name).host).filter((host) => host !== location.host)])";
    assert_eq!(page.evaluate(elsewhere).await, "[[],[]]");
    // What failed three days ago seemed to be of today, and who has lost the lead was led by itself.
    let words = "(async () => {
      const { clock, otherLeader } = await import('/lab/console/format.js')
      const now = Date.now()
      const led = otherLeader({ name: 'a:1' }, { name: 'rowcast b:2' })
      const lost = otherLeader({ name: 'a:1' }, { name: 'rowcast a:1' })
      return clock(now).length < 12 && clock(now - 3 * 86400000).length > clock(now).length
        && led === 'b:2' && lost === undefined
    })()";
    assert_eq!(page.evaluate(words).await, true);
    // A token that does not open it brings back the field, and what was shown stays.
    let paste = "(document.querySelector('#token').value = 'nonsense', \
                 document.querySelector('#gate').requestSubmit(), true)";
    assert_eq!(page.evaluate(paste).await, true);
    page.until(
        "!document.querySelector('#gate').hidden && document.body.dataset.status === 'refused'",
    )
    .await;
    let shown = "document.querySelector('.chart').offsetHeight > 0";
    assert_eq!(page.evaluate(shown).await, true);
    // One that never opened it is told why, too: the page only asked for a token.
    let (address, _) = console.split_once('#').expect("a token behind it");
    let stranger = driver
        .visit(&format!("{address}#token=nonsense"), json!({}))
        .await;
    let why = "document.querySelector('#gate-why').textContent";
    stranger
        .until(&format!(
            "{why}.includes('does not count (the token was refused: malformed)')"
        ))
        .await;
    // What was well is no verdict on a node that tells no more.
    let unknown = "document.querySelector('#verdict').dataset.level === 'bad' \
                   && document.querySelector('#verdict-title').textContent === 'Not known'";
    assert_eq!(page.evaluate(unknown).await, true);
    drop(demo);
    bare.until(unknown).await;
}

/// Nobody got in, and the first line said that all was well: whoever was turned away counted as anybody
/// who knocks at a public port.
#[tokio::test]
async fn the_console_says_that_a_rule_fails() {
    let database = support::database().await;
    database
        .run(
            "create function public.gone(claims jsonb) returns text[] language sql
               as $$ select array['a'] $$;
             insert into rowcast.home_rule values ('public.gone(jsonb)')",
        )
        .await;
    let enabled = ("ROWCAST__CONSOLE__ENABLED", "true");
    let program = support::serve_process(&database, &[enabled]).await;
    let (url, operator) = (&program.url, token("ops", "admin", ""));
    let driver = Driver::start().await;
    let page = driver
        .visit(&format!("{url}/console#token={operator}"), json!({}))
        .await;
    page.until("document.querySelector('#verdict')?.dataset.level === 'well'")
        .await;
    database.run("drop function public.gone(jsonb)").await;
    let mut refused = support::ws(&program, &token("1", "", ""), "").await;
    assert_eq!(refused.closed().await.0, 1013);
    page.until(
        "document.querySelector('#verdict').dataset.level === 'warn' \
         && document.querySelector('#verdict-list').textContent.includes('1 failure of rules')",
    )
    .await;
}

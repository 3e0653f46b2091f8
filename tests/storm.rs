//! A thousand who lose the server at once come back within the time they are spread over and the
//! time that the accept rate takes, and at no moment faster than that rate.

use crate::support::{
    self, Database, Process, get, marker, serve, serve_process_at, token, within,
};
use futures_util::StreamExt;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const CLIENTS: usize = 1000;
const RATE: usize = 100;

/// How long a thousand may take at this rate, with the waits' fifth, the spread of a restart, and a
/// machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

/// It spent what everybody comes by: who came from elsewhere was told to wait, again and again.
#[tokio::test]
async fn a_loop_of_one_address_keeps_no_other_out() {
    let database = support::lab().await;
    let server = serve(&database, |settings| {
        settings.http.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        let limits = &mut settings.limits;
        (limits.connections, limits.connections_per_address) = (1000, 100);
        limits.connects_per_second = 4;
    })
    .await;
    let bearer = format!("Bearer {}", token("1", "", ""));
    let come = async |address: &str| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-forwarded-for", address),
        ];
        get(&server, "/poll?wait=0", &headers).await.status
    };
    for address in ["203.0.113.2", "2001:db8::2"] {
        while come("203.0.113.1").await != 503 {}
        assert_eq!(come(address).await, 200, "{address}");
    }
    server.stop().await;
}

/// What they have in common.
struct Crowd {
    address: String,
    welcomed: AtomicUsize,
    markers: AtomicUsize,
    refused: AtomicUsize,
    /// Who has been told for the first time whether it may come in.
    answered: AtomicUsize,
}

/// One that stays, as a good client does: it honours the wait it is told, and else waits with full
/// jitter; it brings its bookmark, and counts a marker once.
async fn stay(crowd: Arc<Crowd>, user: usize) {
    let (mut since, mut failures) = (String::new(), 0);
    let mut is_new = true;
    loop {
        let told = attend(&crowd, user, &mut since, &mut failures, &mut is_new).await;
        failures += 1;
        let most = Duration::from_secs(5).min(Duration::from_millis(250) * (1 << failures.min(6)));
        let wait = told.unwrap_or_else(|| most.mul_f64(rand::random_range(0.0..=1.0)));
        tokio::time::sleep(wait).await;
    }
}

/// One connection; the wait that its end told.
async fn attend(
    crowd: &Crowd,
    user: usize,
    since: &mut String,
    failures: &mut u32,
    is_new: &mut bool,
) -> Option<Duration> {
    let stream = TcpStream::connect(&crowd.address).await.ok()?;
    let url = format!("ws://{}/ws?since={since}", crowd.address);
    let mut request = url.into_client_request().expect("a request");
    let bearer = format!("Bearer {}", token(&user.to_string(), "", ""));
    let bearer = bearer.parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .ok()?;
    let mut inside = Inside(None);
    let mut answered = || {
        let first = usize::from(std::mem::take(is_new));
        crowd.answered.fetch_add(first, Ordering::Relaxed);
    };
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                if frame["type"] == "welcome" {
                    crowd.welcomed.fetch_add(1, Ordering::Relaxed);
                    inside.0 = Some(&crowd.welcomed);
                    answered();
                    *failures = 0;
                }
                if frame["name"] == "marker" {
                    crowd.markers.fetch_add(1, Ordering::Relaxed);
                }
                assert_ne!(frame["outcome"], "gap", "{frame}");
                if let Some(bookmark) = frame["bookmark"].as_str() {
                    bookmark.clone_into(since);
                }
            }
            Message::Close(Some(close)) => {
                let code = u16::from(close.code);
                assert!([1012, 1013].contains(&code), "{code} {}", close.reason);
                crowd
                    .refused
                    .fetch_add(usize::from(code == 1013), Ordering::Relaxed);
                answered();
                return close.reason.parse().ok().map(Duration::from_millis);
            }
            _ => {}
        }
    }
    None
}

/// Counts somebody as in for as long as it is.
struct Inside<'a>(Option<&'a AtomicUsize>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Crowd {
    async fn reaches(&self, what: &str, count: impl Fn(&Self) -> usize, aim: usize) -> Duration {
        let began = Instant::now();
        while count(self) != aim {
            let found = count(self);
            assert!(began.elapsed() < PATIENCE, "{what}: {found} of {aim}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    async fn all_in(&self) -> Duration {
        let welcomed = |crowd: &Self| crowd.welcomed.load(Ordering::Relaxed);
        self.reaches("all are in", welcomed, CLIENTS).await
    }

    async fn all_heard(&self, markers: usize) {
        let heard = |crowd: &Self| crowd.markers.load(Ordering::Relaxed);
        self.reaches("all have heard", heard, CLIENTS * markers)
            .await;
    }
}

async fn start(database: &Database, address: &str) -> Process {
    let env = [
        ("ROWCAST__LIMITS__CONNECTS_PER_SECOND", RATE.to_string()),
        ("ROWCAST__LIMITS__CONNECTIONS_PER_ADDRESS", "5000".into()),
        // What takes too long to be read is a gap, and a thousand clients need both cores.
        ("ROWCAST__DATABASE__STATEMENT_TIMEOUT_MS", "10000".into()),
        ("ROWCAST__LOG__LEVEL", "info,rowcast::report=debug".into()),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    serve_process_at(database, address, &env).await
}

/// When each was let in, by the server's own clock, in seconds.
fn arrivals(log: &str) -> Vec<f64> {
    let arrived = log
        .lines()
        .filter(|line| line.contains(r#""message":"arrived""#));
    let mut times: Vec<f64> = arrived
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON logs");
            let at: jiff::Timestamp = line["timestamp"]
                .as_str()
                .expect("a time")
                .parse()
                .expect("a time");
            at.as_microsecond() as f64 / 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Three seconds hold the burst and what the rate lets in meanwhile; and what it lets in within one
/// more, for a line may be written after its turn was taken. At twice the rate it would be too many.
fn assert_rate(log: &str, least: usize) {
    let times = arrivals(log);
    assert!(times.len() >= least, "{} of {least} came", times.len());
    let most = (0..times.len())
        .map(|first| times[first..].partition_point(|at| *at < times[first] + 3.0))
        .max();
    let (bound, most) = (5 * RATE, most.unwrap_or(0));
    eprintln!("{} came, at most {most} in three seconds", times.len());
    assert!(
        most <= bound,
        "{most} in three seconds, {bound} are allowed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_come_back_at_the_accept_rate() {
    let database = support::database().await;
    // Whoever comes back asks where it was.
    let address = support::unused_address();
    let mut server = start(&database, &address).await;
    let crowd = Arc::new(Crowd {
        address: address.clone(),
        welcomed: AtomicUsize::new(0),
        markers: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        answered: AtomicUsize::new(0),
    });
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for user in 0..CLIENTS {
        clients.spawn(stay(Arc::clone(&crowd), user));
    }
    let answered = |crowd: &Crowd| crowd.answered.load(Ordering::Relaxed);
    crowd.reaches("all are answered", answered, CLIENTS).await;
    let knocked = began.elapsed();
    // The burst, and what the rate lets in for as long as they took to come.
    let seconds = usize::try_from(knocked.as_secs()).expect("a while") + 1;
    let let_in = RATE * (1 + seconds);
    let refused = crowd.refused.load(Ordering::Relaxed);
    assert!(
        refused + let_in >= CLIENTS,
        "a storm: {refused} in {knocked:?}"
    );
    let all_in = crowd.all_in().await;
    eprintln!("the first time: {knocked:?} and {all_in:?}");
    for (markers, signal) in [(1, Signal::SIGTERM), (2, Signal::SIGKILL)] {
        server.signal(signal);
        server.exited().await;
        assert_rate(&server.log(), CLIENTS);
        crowd
            .reaches(
                "all are out",
                |crowd| crowd.welcomed.load(Ordering::Relaxed),
                0,
            )
            .await;
        marker(&database, &["*"]).await;
        let refused = crowd.refused.load(Ordering::Relaxed);
        server = start(&database, &address).await;
        let took = crowd.all_in().await;
        let refused = crowd.refused.load(Ordering::Relaxed) - refused;
        eprintln!("after {signal}: {took:?}, {refused} sent away meanwhile");
        // None was missed, and none heard twice.
        crowd.all_heard(markers).await;
    }
    clients.abort_all();
    within("they leave", async {
        while clients.join_next().await.is_some() {}
    })
    .await;
    server.signal(Signal::SIGTERM);
    server.exited().await;
    assert_rate(&server.log(), CLIENTS);
}

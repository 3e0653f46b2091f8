//! One run: a shop's database, real servers, and applications on the JavaScript client, each behind
//! a door of its own. Hands what each application heard over to the reconciliation.
//! It must never ask the client whether all went well.

use super::shop::{self, Shop};
use crate::support::driver::{Driver, Environment, Patch, Place};
use crate::support::proxy::{Proxy, Upstream, Way};
use crate::support::reconcile::{Findings, Gap, Heard, Page, Story, reconcile};
use crate::support::{Database, Process, database, marker, serve_process};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The rooms that every application asks for; a quarter of the shop is none of their business.
pub const ROOMS: [&str; 3] = ["shelf:0", "shelf:1", "shelf:2"];

/// The service's times, short, so that nothing has to be waited for as long as in earnest.
const SETTINGS: &[(&str, &str)] = &[
    ("ROWCAST__WEBSOCKET__HEARTBEAT_S", "1"),
    ("ROWCAST__WEBSOCKET__PING_S", "1"),
    ("ROWCAST__WEBSOCKET__PONG_TIMEOUT_S", "2"),
    ("ROWCAST__SSE__HEARTBEAT_S", "1"),
    ("ROWCAST__SSE__RETRY_MS", "100"),
    ("ROWCAST__HTTP__SPREAD_MS", "200"),
];

/// By which way an application has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    WebSocket,
    Sse,
    Poll,
    /// Whatever works, as it is meant.
    Itself,
}

impl By {
    pub const ALL: [Self; 4] = [Self::WebSocket, Self::Sse, Self::Poll, Self::Itself];

    /// The client's option.
    fn transports(self) -> Value {
        match self {
            Self::WebSocket => json!(["websocket"]),
            Self::Sse => json!(["sse"]),
            Self::Poll => json!(["poll"]),
            Self::Itself => json!(["websocket", "sse", "poll"]),
        }
    }
}

pub struct Rig {
    pub db: Database,
    pub settings: Vec<(&'static str, String)>,
    pub seed: u64,
}

impl Rig {
    /// A shop, to be served to pages of this driver, with these settings above ours.
    pub async fn start(drivers: &[&Driver], settings: &[(&'static str, &str)]) -> Self {
        Self::on(database().await, drivers, settings).await
    }

    /// The same, in this database.
    pub async fn on(db: Database, drivers: &[&Driver], settings: &[(&'static str, &str)]) -> Self {
        shop::prepare(&db).await;
        let ours = SETTINGS.iter().chain(settings);
        let mut settings: Vec<_> = ours
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();
        let origins: Vec<_> = drivers.iter().map(|driver| driver.origin.clone()).collect();
        settings.push(("ROWCAST__HTTP__ALLOWED_ORIGINS", origins.join(",")));
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(rand::random::<u32>).into();
        eprintln!("SEED={seed}");
        Self { db, settings, seed }
    }

    /// A server.
    pub async fn serve(&self) -> Process {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(k, v)| (*k, v.as_str()))
            .collect();
        serve_process(&self.db, &settings).await
    }

    pub async fn open_shop(&self, rate: u64) -> Shop {
        Shop::open(&self.db, self.seed, rate).await
    }

    /// Applications that were started so, each behind a door of its own, when all are live.
    pub async fn applications<'a>(
        &self,
        driver: &'a Driver,
        process: &Process,
        starts: impl IntoIterator<Item = Start<'_>>,
    ) -> Vec<Application<'a>> {
        let mut applications = Vec::new();
        for (number, start) in (0..).zip(starts) {
            let door = self.door(process, number).await;
            applications.push(Application::start(driver, door, start).await);
        }
        applications
    }

    /// A door to this server.
    pub async fn door(&self, process: &Process, number: u64) -> Proxy {
        Proxy::start(
            Upstream::Tcp(process.address.clone()),
            self.seed + 100 * number,
        )
        .await
    }

    /// Waits until all of them have heard what is written now, and compares.
    pub async fn finish(&self, applications: &[Application<'_>]) -> Outcome {
        for application in applications {
            application.door.set(Way::Pass);
        }
        let marker = marker(&self.db, &ROOMS[..1]).await;
        for application in applications {
            application.hears(&marker).await;
        }
        let (truth, _) = shop::truth(&self.db).await;
        let mut outcome = Outcome {
            told: Vec::new(),
            events: truth.len(),
        };
        for application in applications {
            let report = application.report().await;
            eprintln!("{}: {}", report.story.name, report.summary());
            let findings = reconcile(&truth, std::slice::from_ref(&report.story), 0);
            outcome.told.push((report, findings));
        }
        outcome
    }
}

/// What came of a run: what each application told, and what was wrong with it.
pub struct Outcome {
    pub told: Vec<(Report, Findings)>,
    pub events: usize,
}

impl Outcome {
    /// Nothing missing, nothing twice, each item's versions in order, no gap.
    pub fn assert_clean(&self) {
        for (report, findings) in &self.told {
            assert!(findings.is_empty(), "{}:\n{findings}", report.story.name);
        }
    }

    /// Nobody who has lost a link or a server comes back without a pause. (Who polls, and who tries
    /// what is better, has other reasons to ask.)
    pub fn assert_unhurried(&self) {
        for (report, _) in &self.told {
            let by = [By::WebSocket, By::Sse];
            if by
                .iter()
                .any(|by| report.story.name.ends_with(&format!("by {by:?}")))
            {
                // The client's least is 100, by a clock that rounds.
                assert!(
                    report.soonest >= 90,
                    "{}: {} ms",
                    report.story.name,
                    report.soonest
                );
            }
        }
    }

    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.told.iter().map(|(report, _)| report)
    }
}

/// An application behind its door.
pub struct Application<'a> {
    pub name: String,
    pub door: Proxy,
    pub place: Place<'a>,
}

/// How an application is started.
pub struct Start<'a> {
    pub by: By,
    pub environment: Environment,
    /// Of the client, above those that hurry it.
    pub options: Value,
    /// How many seconds a token lasts.
    pub seconds: u64,
    pub patches: &'a [Patch],
}

impl Start<'_> {
    pub fn by(by: By) -> Self {
        Self {
            by,
            ..Self::default()
        }
    }
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self {
            by: By::Itself,
            environment: Environment::Page,
            options: json!({}),
            seconds: 600,
            patches: &[],
        }
    }
}

/// A client that comes back as fast as it may: a test has less time than people.
fn hurried() -> Value {
    json!({ "retryMin": 100, "retryMax": 200, "stableAfter": 500, "connectTimeout": 3000,
        "upgradeMin": 1000, "upgradeMax": 2000, "pollWait": 2, "storage": null })
}

impl<'a> Application<'a> {
    /// Opens a place, begins there behind this door, and waits until it is live.
    pub async fn start(driver: &'a Driver, door: Proxy, start: Start<'_>) -> Self {
        let application = Self::begin(driver, door, start).await;
        application.place.ask("becomes", json!(["live"])).await;
        application
    }

    /// The same, for those who want to see it before it is live.
    pub async fn begin(driver: &'a Driver, door: Proxy, start: Start<'_>) -> Self {
        let place = driver.open(start.environment, start.patches).await;
        let mut options = hurried();
        options["transports"] = start.by.transports();
        for (name, value) in start.options.as_object().expect("options") {
            options[name] = value.clone();
        }
        let seconds = start.seconds.to_string();
        let begin = json!({
            "url": format!("http://{}", door.address),
            "rooms": ROOMS,
            "issuer": driver.origin,
            "claims": { "sub": "1", "seconds": seconds },
            "options": options,
        });
        place.ask("start", json!([begin])).await;
        let name = format!("{:?} by {:?}", start.environment, start.by);
        Self { name, door, place }
    }

    /// Waits for an event by its id.
    pub async fn hears(&self, id: &str) {
        self.place.ask("hears", json!([id])).await;
    }

    /// Waits until it has heard so many events.
    pub async fn hears_more(&self, count: usize) {
        self.place.ask("hearsMore", json!([count])).await;
    }

    /// How many events it has heard.
    pub async fn heard(&self) -> usize {
        let glance = self.place.ask("glance", json!([])).await;
        usize::try_from(glance["heard"].as_u64().expect("a number")).expect("not that many")
    }

    /// The transport by which an event came first.
    pub async fn came_by(&self, id: &str) -> String {
        let report = self.place.ask("report", json!([])).await;
        let arrived = report["arrived"].as_array().expect("a list");
        let found = arrived.iter().find(|pair| pair[1] == id);
        found.unwrap_or_else(|| panic!("{id} never arrived"))[0]
            .as_str()
            .expect("a word")
            .to_owned()
    }

    /// Its live states, as many as it has, show this, and none was handed what it had, or older.
    pub async fn assert_shows(&self, truth: &Value) -> usize {
        let states = self.place.ask("watched", json!([])).await;
        let states = states.as_array().expect("a list");
        for state in states {
            assert_eq!(state, truth, "{}", self.name);
        }
        let report = self.place.ask("report", json!([])).await;
        assert_eq!(report["stale"], json!([]), "{}", self.name);
        states.len()
    }

    pub async fn report(&self) -> Report {
        Report::read(self, &self.place.ask("report", json!([])).await)
    }
}

/// What an application has to tell.
pub struct Report {
    pub story: Story,
    /// How many events the wire carried in whole, and how many of those it had carried before.
    pub arrived: usize,
    pub repeated: usize,
    pub heard: usize,
    /// How many tokens were asked for.
    pub tokens: u64,
    /// Connections by transport.
    pub asked: BTreeMap<String, usize>,
    /// Milliseconds between two attempts to connect by one transport, at least.
    pub soonest: i64,
    /// Each status that it had, with its reason.
    pub statuses: Vec<(String, String)>,
    pub cuts: u64,
}

impl Report {
    fn read(application: &Application<'_>, report: &Value) -> Self {
        let list = |name: &str| report[name].as_array().expect("a list").iter();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut page = Page::default();
        for event in list("heard").filter(|event| event["name"] == "item:changed") {
            let row = event["item"].as_i64().zip(event["version"].as_i64());
            let (item, version) = row.expect("our own trigger says both");
            page.heard.push(Heard {
                event: shop::event(item, version),
                row,
                lost: BTreeSet::new(),
                expires: None,
            });
        }
        let gaps = list("gaps").map(|gap| Gap {
            reason: word(&gap["reason"]),
            before: String::new(),
            after: String::new(),
            behind: false,
        });
        let mut seen = BTreeSet::new();
        let repeated = list("arrived")
            .filter(|pair| !seen.insert(word(&pair[1])))
            .count();
        let mut asked = BTreeMap::<String, Vec<i64>>::new();
        for pair in list("asked") {
            let when = pair[1].as_i64().expect("milliseconds");
            asked.entry(word(&pair[0])).or_default().push(when);
        }
        let pauses = asked.values().flat_map(|times| times.windows(2));
        let soonest = pauses.map(|pair| pair[1] - pair[0]).min();
        Self {
            story: Story {
                name: application.name.clone(),
                rooms: ROOMS.iter().map(|room| (*room).to_owned()).collect(),
                gaps: gaps.collect(),
                pages: vec![page],
                ..Story::default()
            },
            arrived: list("arrived").count(),
            repeated,
            heard: list("heard").count(),
            tokens: report["tokens"].as_u64().expect("a number"),
            asked: asked
                .into_iter()
                .map(|(by, times)| (by, times.len()))
                .collect(),
            soonest: soonest.unwrap_or(i64::MAX),
            statuses: list("statuses")
                .map(|s| (word(&s[0]), word(&s[1])))
                .collect(),
            cuts: application.door.cuts(),
        }
    }

    fn summary(&self) -> String {
        format!(
            "{} events heard, {} arrived, {} of them again; {} cuts, connections {:?}, {} tokens",
            self.heard, self.arrived, self.repeated, self.cuts, self.asked, self.tokens
        )
    }
}

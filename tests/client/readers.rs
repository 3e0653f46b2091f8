//! Durable readers at random from a printed seed: pages that acknowledge some of what they were given and are
//! thrown away at any moment, over links that end in the middle of what they bring, on servers that are
//! killed or replaced. What was not dealt with comes again to the next page; what was stored as dealt with does not.

use super::nodes::replace;
use super::random::{long, rooms, tell_to_and_fro};
use super::rig::{Application, By, Rig, Start};
use super::shop;
use crate::support::driver::Driver;
use crate::support::proxy::Way;
use crate::support::{Process, marker};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const STEPS: usize = 40;

fn start(by: By) -> Start<'static> {
    Start {
        by,
        seconds: 20,
        options: json!({ "rooms": rooms(), "reader": format!("{by:?}") }),
        ..Start::default()
    }
}

/// What one page was told, in its order.
struct Told {
    events: Vec<String>,
    /// So many of them were acknowledged.
    acknowledged: usize,
    /// Of so many it was heard that they are.
    stored: usize,
    /// Reasons of gaps.
    gaps: Vec<Value>,
}

impl Told {
    async fn to(application: &Application<'_>) -> Self {
        let report = application.place.ask("report", json!([])).await;
        assert_eq!(report["unstored"], json!([]), "{}", application.name);
        let count = |name: &str| usize::try_from(report[name].as_u64().expect("a number"));
        let list = |name: &str| report[name].as_array().expect("a list").iter();
        let name = |event: &Value| match event["item"].as_i64().zip(event["version"].as_i64()) {
            Some((item, version)) => shop::event(item, version),
            None => event["id"].to_string(),
        };
        Self {
            events: list("heard").map(name).collect(),
            acknowledged: count("acknowledged").expect("a count"),
            stored: count("stored").expect("a count"),
            gaps: list("gaps").map(|gap| gap["reason"].clone()).collect(),
        }
    }

    /// Nothing twice, and each item's versions in order.
    fn assert_in_order(&self, name: &str) {
        let once: BTreeSet<_> = self.events.iter().collect();
        assert_eq!(once.len(), self.events.len(), "{name}");
        let mut versions = BTreeMap::new();
        for (item, version) in self.events.iter().filter_map(|event| event.split_once('.')) {
            let version: u64 = version.parse().expect("a version");
            let before = versions.insert(item, version);
            assert!(
                before < Some(version),
                "{name}: {item}.{version} behind {before:?}"
            );
        }
    }
}

/// A durable reader: the page that is open, and what those before it were told.
struct Reader<'a> {
    by: By,
    page: Application<'a>,
    told: Vec<Told>,
    random: StdRng,
}

impl<'a> Reader<'a> {
    /// Something that happens to it, or that it does.
    async fn lives(&mut self, rig: &Rig, driver: &'a Driver, process: &Process) {
        let (random, door) = (&mut self.random, &self.page.door);
        match random.random_range(0..12) {
            0 | 1 => door.set(Way::Halve(random.random_range(0.05..0.4))),
            2 => door.set(Way::Delay(Duration::from_millis(100))),
            3 => door.set(Way::Pass),
            4 => door.cut(),
            5 => door.freeze_present(),
            6..10 => {
                let share = json!([random.random_range(0.0..=1.0)]);
                self.page.place.ask("acknowledge", share).await;
            }
            _ => {
                self.told.push(Told::to(&self.page).await);
                let door = rig.door(process, random.random_range(0..100)).await;
                let next = Application::begin(driver, door, start(self.by)).await;
                let last = std::mem::replace(&mut self.page, next);
                last.place.leave().await;
            }
        }
    }

    /// Nothing is missing, nothing comes again that was stored, and there is no gap but that of a new name.
    fn check(&self, truth: &BTreeSet<String>) {
        let (mut dealt, mut stored) = (BTreeSet::new(), BTreeSet::new());
        for (number, told) in self.told.iter().enumerate() {
            let name = format!("{:?}, page {number}", self.by);
            told.assert_in_order(&name);
            let again = told.events.iter().filter(|event| stored.contains(event));
            assert_eq!(again.collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
            let gaps = if number == 0 {
                vec![json!("reader")]
            } else {
                vec![]
            };
            assert_eq!(told.gaps, gaps, "{name}");
            dealt.extend(&told.events[..told.acknowledged]);
            stored.extend(&told.events[..told.stored]);
        }
        // Who is still there may deal with it yet.
        dealt.extend(
            self.told
                .iter()
                .next_back()
                .into_iter()
                .flat_map(|told| &told.events),
        );
        let missing = truth.iter().filter(|event| !dealt.contains(event));
        assert_eq!(
            missing.collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{:?}",
            self.by
        );
    }
}

#[tokio::test]
async fn what_a_reader_has_not_dealt_with_comes_again_and_what_is_stored_does_not() {
    let driver = Driver::start().await;
    let settings = [
        ("ROWCAST__HUB__RING_SECONDS", "1"),
        ("ROWCAST__READERS__WRITE_MS", "100"),
        ("ROWCAST__READERS__QUIET_S", "5"),
    ];
    let rig = Rig::start(&[&driver], &settings).await;
    tell_to_and_fro(&rig).await;
    let mut process = rig.serve().await;
    let random = &mut StdRng::seed_from_u64(rig.seed);
    let pages = rig
        .applications(&driver, &process, By::ALL.map(start))
        .await;
    let readers = By::ALL.into_iter().zip(pages);
    let readers = readers.map(|(by, page)| Reader {
        by,
        page,
        told: Vec::new(),
        random: StdRng::seed_from_u64(random.random()),
    });
    let mut readers: Vec<_> = readers.collect();
    let shop = rig.open_shop(200).await;
    for step in 0..STEPS {
        let each = readers.iter_mut();
        join_all(each.map(|reader| reader.lives(&rig, &driver, &process))).await;
        if step % 15 == 14 {
            let pages: Vec<_> = readers.iter().map(|reader| &reader.page).collect();
            let signal = [Signal::SIGKILL, Signal::SIGTERM][random.random_range(0..2)];
            replace(&rig, &mut process, &pages, signal).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(20..400))).await;
    }
    readers
        .iter()
        .for_each(|reader| reader.page.door.set(Way::Pass));
    shop.close().await;
    let last = marker(&rig.db, &["shelf:0", &long('z')]).await;
    let truth = shop::truth(&rig.db).await.0.into_keys().collect();
    for mut reader in readers {
        reader.page.hears(&last).await;
        reader.told.push(Told::to(&reader.page).await);
        let told = reader.told.iter();
        let told: Vec<_> = told
            .map(|told| (told.events.len(), told.acknowledged, told.stored))
            .collect();
        eprintln!("{:?}: heard, acknowledged and stored {told:?}", reader.by);
        reader.check(&truth);
    }
}

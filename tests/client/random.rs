//! Everything at once, at random from a printed seed: links that end in the middle of what they bring, stand
//! still or are slow; rooms that are joined and left, from places in the past as well; states that are
//! loaded meanwhile; rooms that are taken away; servers that are killed or replaced; a channel that is held
//! back. Each version of an item is told in another room than the one before, and some applications have more
//! rooms than an address.

use super::nodes::replace;
use super::rig::{Application, By, Rig, Start};
use super::shop;
use crate::support::driver::{Driver, Environment};
use crate::support::proxy::Way;
use crate::support::{eventually, marker};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const STEPS: usize = 50;

/// A room with so long a name that an address has a place for nineteen like it.
pub(super) fn long(letter: char) -> String {
    format!("shelf:{}", letter.to_string().repeat(190))
}

pub(super) fn rooms() -> Value {
    json!(["shelf:0", long('z')])
}

/// Where, by what, and whether it asks for others first, so that its address has no place for the last of
/// [`rooms`].
const APPLICATIONS: [(Environment, By, bool); 6] = [
    (Environment::Page, By::WebSocket, true),
    (Environment::Node, By::WebSocket, true),
    (Environment::Page, By::WebSocket, false),
    (Environment::Page, By::Sse, false),
    (Environment::Page, By::Poll, false),
    (Environment::Worker, By::Itself, false),
];

fn start((environment, by, is_long): (Environment, By, bool)) -> Start<'static> {
    let others = ('a'..='t').map(|letter| json!(long(letter)));
    let mut asked: Vec<Value> = others.filter(|_| is_long).collect();
    asked.extend(rooms().as_array().cloned().unwrap_or_default());
    Start {
        by,
        environment,
        seconds: 20,
        options: json!({ "rooms": asked }),
        ..Start::default()
    }
}

/// Every third version is told in both rooms, and in one that is joined now and then.
pub(super) async fn tell_to_and_fro(rig: &Rig) {
    let attach = format!(
        "select rowcast.attach('shop.item', 'update', $$
           select 'item:changed' as name, json_build_object('item', n.item, 'version', n.version) as data,
             case n.version % 3 when 0 then array['shelf:0'] when 1 then array['{0}']
               else array['shelf:0', '{0}', 'shelf:9'] end as rooms
           from new_rows n $$);
         insert into rowcast.channel (name) values ('shop.item')",
        long('z')
    );
    rig.db.run(&attach).await;
}

/// One of the rooms that are joined now and then is for nobody any more; the one before is again.
fn forbid(room: u32) -> String {
    format!(
        "create or replace function shop.may_join(claims jsonb, room text) returns boolean
           language sql stable as $$ select room <> 'shelf:{room}' $$;
         select rowcast.recheck()"
    )
}

/// Something that happens to an application, or that it does.
async fn happens(application: &Application<'_>, random: &mut StdRng, loads: bool) {
    let Application { door, place, .. } = application;
    let room = json!([format!("shelf:{}", random.random_range(1..12))]);
    match random.random_range(0..14) {
        0..3 => door.set(Way::Halve(random.random_range(0.05..0.4))),
        3 => door.set(Way::Delay(Duration::from_millis(100))),
        4 | 5 => door.set(Way::Pass),
        6 => door.cut(),
        7 => door.freeze_present(),
        8 => drop(place.ask("wish", json!([room])).await),
        9 => drop(place.ask("unsubscribe", json!([room])).await),
        10 => {
            let since = place.ask("glance", json!([])).await["bookmark"].clone();
            tokio::time::sleep(Duration::from_millis(300)).await;
            let from_there = json!([room, { "since": since }]);
            place.ask("wish", from_there).await;
        }
        11 => drop(place.ask("wish", json!([rooms()])).await),
        12 => drop(place.ask("reload", json!([])).await),
        _ if loads => {
            let all: Vec<_> = (0..4).map(|n| format!("shelf:{n}")).collect();
            let watch = json!([["shop_items", { "shelves": all }], rooms()]);
            place.ask("watch", watch).await;
        }
        _ => {}
    }
}

/// What lies within a gap it never hears: so until it does.
async fn hears_what_is_written_now(rig: &Rig, application: &Application<'_>) {
    eventually("it hears what is written now", async || {
        let id = marker(&rig.db, &["shelf:0", &long('z')]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let report = application.place.ask("report", json!([])).await;
        let mut heard = report["heard"].as_array().expect("a list").iter();
        heard.any(|event| event["id"] == id).then_some(())
    })
    .await;
}

/// Lets it happen until all is quiet, and compares what the live states show, and the journals if nothing
/// was `held` back: none missing, none twice.
async fn run(is_held: bool) {
    let driver = Driver::start().await;
    // Places in the past are soon behind the ring.
    let rig = Rig::start(&[&driver], &[("ROWCAST__HUB__RING_SECONDS", "1")]).await;
    tell_to_and_fro(&rig).await;
    let mut process = rig.serve().await;
    let starts = APPLICATIONS.map(start);
    let applications = rig.applications(&driver, &process, starts).await;
    let doors: Vec<_> = applications.iter().collect();
    let random = &mut StdRng::seed_from_u64(rig.seed);
    let mut randoms: Vec<_> = doors
        .iter()
        .map(|_| StdRng::seed_from_u64(random.random()))
        .collect();
    let shop = rig.open_shop(200).await;
    for step in 0..STEPS {
        let each = doors.iter().zip(&mut randoms);
        let loads = step < STEPS / 2;
        join_all(each.map(|(application, random)| happens(application, random, loads))).await;
        if step % 20 == 19 {
            let signal = [Signal::SIGKILL, Signal::SIGTERM][random.random_range(0..2)];
            replace(&rig, &mut process, &doors, signal).await;
        }
        if step % 7 == 3 {
            let forbidden = random.random_range(1..12);
            rig.db.run(&forbid(forbidden)).await;
        }
        if is_held && step % 10 == 4 {
            let paused = step % 20 == 4;
            let hold = format!("update rowcast.channel set paused = {paused}");
            rig.db.run(&hold).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(20..400))).await;
    }
    doors
        .iter()
        .for_each(|application| application.door.set(Way::Pass));
    if is_held {
        let let_go = "update rowcast.channel set paused = false where paused";
        rig.db.run(let_go).await;
    }
    shop.close().await;
    let (truth, versions) = shop::truth(&rig.db).await;
    let shown = versions
        .iter()
        .map(|(item, version)| (item.to_string(), json!(version)));
    let shown = shown.collect();
    for application in doors {
        hears_what_is_written_now(&rig, application).await;
        let states = application.assert_shows(&shown).await;
        let report = application.report().await;
        eprintln!(
            "{}: {} heard, {states} states, {} cuts",
            application.name, report.heard, report.cuts
        );
        if is_held {
            continue;
        }
        let mut heard: BTreeMap<&str, usize> = BTreeMap::new();
        for event in report.story.pages.iter().flat_map(|page| &page.heard) {
            *heard.entry(&event.event).or_default() += 1;
        }
        let wrong: Vec<_> = truth
            .keys()
            .filter(|event| heard.get(event.as_str()) != Some(&1))
            .map(|event| (event, heard.get(event.as_str())))
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", application.name);
        assert!(report.story.gaps.is_empty(), "{}", application.name);
    }
}

#[tokio::test]
async fn whatever_happens_nothing_is_missing_and_nothing_twice() {
    run(false).await;
}

/// What was held back is told as a gap: live states are loaded anew.
#[tokio::test]
async fn whatever_happens_live_states_are_the_databases_behind_gaps_too() {
    run(true).await;
}

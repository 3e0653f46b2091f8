//! The five systems' pages: each in light and dark, on a wide screen and on a phone, and its story:
//! a statement changes the views that may see it, and a view that was cut off gets what it missed.

use super::demo;
use crate::support::driver::{Driver, Place};
use serde_json::json;
use std::collections::BTreeMap;

const SYSTEMS: [&str; 5] = ["lab", "clinic", "tickets", "spa", "boardroom"];

/// Every view of the page says that it is live.
const LIVE: &str = "document.querySelectorAll('.view').length > 0 && document.querySelectorAll(\
                    '.view .pill[data-status=live]').length === document.querySelectorAll('.view').length";

async fn run(page: &Place<'_>, number: u32) {
    let button = format!("document.querySelector('button[data-run=\"{number}\"]')");
    page.evaluate(&format!("{button}.click()")).await;
    // Rows and time, or why not.
    page.until("!document.querySelector('.result').textContent.startsWith('running')")
        .await;
}

/// What the page, or the driver, had to complain about.
fn complaints(driver: &Driver) -> Vec<String> {
    let said = driver.said();
    let lines = said
        .lines()
        .filter(|line| line.starts_with("console:") || line.starts_with("page:"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_page_is_live_and_fits_in_light_and_dark_wide_and_on_a_phone() {
    let (_demo, url) = demo().await;
    let driver = Driver::start().await;
    let index = driver.visit(&url, json!({})).await;
    let listed =
        "[...document.querySelectorAll('.gallery a')].map((a) => new URL(a.href).pathname)";
    let listed = index.evaluate(listed).await;
    assert_eq!(listed, json!(SYSTEMS.map(|system| format!("/{system}/"))));
    for system in SYSTEMS
        .iter()
        .map(|system| format!("{system}/"))
        .chain([String::new()])
    {
        for (width, height) in [(1440, 1000), (390, 844)] {
            let mut grounds = BTreeMap::new();
            for scheme in ["light", "dark"] {
                let look = json!({ "viewport": { "width": width, "height": height }, "colorScheme": scheme });
                let page = driver.visit(&format!("{url}{system}"), look).await;
                if !system.is_empty() {
                    page.until(LIVE).await;
                }
                let overflow = "document.documentElement.scrollWidth - innerWidth";
                let place = format!("/{system} at {width} in {scheme}");
                assert_eq!(page.evaluate(overflow).await, 0, "{place}");
                let ground = "getComputedStyle(document.body).backgroundColor";
                grounds.insert(scheme, page.evaluate(ground).await);
                page.leave().await;
                assert_eq!(complaints(&driver), Vec::<String>::new(), "{place}");
            }
            assert_ne!(grounds["light"], grounds["dark"]);
        }
    }
}

/// What a story shows: expressions that become true.
struct Story {
    system: &'static str,
    /// Statements to run one after the other, and what each changes in the views.
    acts: &'static [(u32, &'static [&'static str])],
    /// A view to be cut off, the statement that is run meanwhile, what the others see of it, and what
    /// the view shows when it is back.
    cut: (&'static str, u32, &'static str, &'static str),
}

async fn tell(story: Story) {
    let (_demo, url) = demo().await;
    let driver = Driver::start().await;
    let page = driver
        .visit(&format!("{url}{}/", story.system), json!({}))
        .await;
    page.until(LIVE).await;
    for (number, changes) in story.acts {
        run(&page, *number).await;
        for change in *changes {
            page.until(change).await;
        }
    }
    let (view, number, others, back) = story.cut;
    let cut = format!("document.querySelector('[data-cut={view}]').click()");
    page.evaluate(&cut).await;
    let away = format!("document.querySelector('#connection-{view}').dataset.status === 'offline'");
    page.until(&away).await;
    run(&page, number).await;
    page.until(others).await;
    let missing = page.evaluate(&format!("Boolean({back})")).await;
    assert_eq!(missing, false, "it was cut off");
    let again = format!("document.querySelector('[data-again={view}]').click()");
    page.evaluate(&again).await;
    page.until(back).await;
    page.until(LIVE).await;
    let reason = format!("document.querySelector('[data-reason={view}]').textContent");
    page.until(&format!("{reason}.startsWith('Recovered ')"))
        .await;
    assert_eq!(complaints(&driver), Vec::<String>::new());
}

#[tokio::test]
async fn a_user_who_was_cut_off_sees_that_the_lab_has_opened_again() {
    tell(Story {
        system: "lab",
        acts: &[(
            6,
            &[
                "!document.querySelector('#lab-notice').hidden",
                "document.querySelector('#admin-labs [data-lab=\"1\"]').dataset.status === 'closed'",
            ],
        )],
        cut: (
            "user",
            7,
            "document.querySelector('#admin-labs [data-lab=\"1\"]').dataset.status === 'open'",
            "document.querySelector('#lab-notice').hidden",
        ),
    })
    .await;
}

/// Sixth in line at first: one is called, then four before her do not appear while she is away.
#[tokio::test]
async fn a_patient_moves_up_and_is_told_once_to_get_ready() {
    tell(Story {
        system: "clinic",
        acts: &[
            (
                2,
                &[
                    "document.querySelector('#place').textContent === '5'",
                    "document.querySelector('#queue [data-me] .lead').textContent === '5'",
                    "document.querySelector('#count-called').textContent === '3'",
                ],
            ),
            (
                7,
                &["document.querySelector('#messages [data-kind=news]') !== null"],
            ),
            (
                8,
                &["document.querySelector('#alerts').children.length === 1"],
            ),
        ],
        cut: (
            "patient",
            5,
            "document.querySelector('#queue [data-me] .lead').textContent === '1'",
            "document.querySelector('#place').textContent === '1' \
             && document.querySelectorAll('#messages [data-kind=ready]').length === 1",
        ),
    })
    .await;
}

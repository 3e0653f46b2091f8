//! The five systems' pages: each in light and dark, on a wide screen and on a phone, and its story:
//! a statement changes the views that may see it, and a view that was cut off gets what it missed.

use super::{UNUSABLE, demo};
use crate::support::driver::{Driver, Place};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

const SYSTEMS: [&str; 5] = ["lab", "clinic", "tickets", "spa", "boardroom"];

/// Every view of the page says that it is live.
const LIVE: &str = "document.querySelectorAll('.view').length > 0 && document.querySelectorAll(\
                    '.view .pill[data-status=live]').length === document.querySelectorAll('.view').length";

/// Tiles that are narrower than what stands in them, on a day that went well.
const SPILLS: &str = "[...document.querySelectorAll('.tally dd')].forEach((figure) => { \
                      if (figure.id === 'takings') figure.textContent = '17,355.00' }), \
                      [...document.querySelectorAll('.tally div')].filter((tile) => \
                      tile.scrollWidth > tile.clientWidth).map((tile) => tile.textContent)";

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
        // Each is loaded in one scheme, and turns to the other as the visitor's system does.
        for (width, height, schemes) in [
            (1440, 1000, ["light", "dark"]),
            (1280, 800, ["dark", "light"]),
            (768, 1024, ["light", "dark"]),
            (390, 844, ["light", "dark"]),
        ] {
            let mut grounds = BTreeMap::new();
            let look = json!({ "viewport": { "width": width, "height": height }, "colorScheme": schemes[0] });
            let page = driver.visit(&format!("{url}{system}"), look).await;
            if !system.is_empty() {
                page.until(LIVE).await;
            }
            for scheme in schemes {
                page.in_scheme(scheme).await;
                let overflow = "document.documentElement.scrollWidth - innerWidth";
                let place = format!("/{system} at {width} in {scheme}");
                assert_eq!(page.evaluate(overflow).await, 0, "{place}");
                assert_eq!(page.evaluate(SPILLS).await, json!([]), "{place}");
                assert_eq!(page.evaluate(UNUSABLE).await, json!([]), "{place}");
                let ground = "getComputedStyle(document.body).backgroundColor";
                grounds.insert(scheme, page.evaluate(ground).await);
                assert_eq!(complaints(&driver), Vec::<String>::new(), "{place}");
            }
            // As a translation into Arabic shows it: the skip link made it scroll by 999 pixels.
            let turned = "(document.documentElement.dir = 'rtl', \
                          document.documentElement.scrollWidth - innerWidth)";
            assert_eq!(page.evaluate(turned).await, 0, "/{system} at {width}");
            page.leave().await;
            assert_eq!(complaints(&driver), Vec::<String>::new(), "/{system}");
            assert_ne!(grounds["light"], grounds["dark"]);
        }
    }
}

/// What a story shows, by statements and by expressions that become true.
struct Story {
    system: &'static str,
    /// Statements to run one after the other, and what each changes in the views.
    acts: &'static [(u32, &'static [&'static str])],
    cuts: &'static [Cut],
}

struct Cut {
    /// Who is cut off.
    view: &'static str,
    /// The statement that is run meanwhile.
    statement: u32,
    /// What the others see of it at once.
    others: &'static str,
    /// What the view shows only when it is back.
    back: &'static str,
    /// How the view says so.
    words: &'static str,
}

async fn tell(story: Story) {
    let (_demo, url) = demo().await;
    let driver = Driver::start().await;
    let page = driver
        .visit(&format!("{url}{}/", story.system), json!({}))
        .await;
    page.until(LIVE).await;
    for (place, (number, changes)) in story.acts.iter().enumerate() {
        run(&page, *number).await;
        for change in *changes {
            page.until(change).await;
        }
        if (story.system, place) == ("clinic", 0) && std::env::var_os("UPDATE").is_some() {
            page.until("document.querySelector('.flash') === null")
                .await;
            let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/demo.png");
            page.screenshot(&picture, false).await;
        }
    }
    for cut in story.cuts {
        let view = cut.view;
        let click = |button| format!("document.querySelector('[data-{button}={view}]').click()");
        // Not until the page has waited long enough: it is back when it is told to be.
        let click_for_good = format!(
            "(() => {{ const real = window.setTimeout
              window.setTimeout = (work, ms) => (ms === 5000 ? 0 : real(work, ms))
              {}
              window.setTimeout = real }})()",
            click("cut")
        );
        page.evaluate(&click_for_good).await;
        let status = format!("document.querySelector('#connection-{view}').dataset.status");
        page.until(&format!("{status} === 'offline'")).await;
        run(&page, cut.statement).await;
        page.until(cut.others).await;
        let early = page.evaluate(&format!("Boolean({})", cut.back)).await;
        assert_eq!(early, false, "{view} was cut off");
        page.evaluate(&click("again")).await;
        page.until(cut.back).await;
        page.until(LIVE).await;
        let reason = format!("document.querySelector('[data-reason={view}]').textContent");
        page.until(&format!("{reason}.startsWith('{}')", cut.words))
            .await;
    }
    assert_eq!(page.evaluate(UNUSABLE).await, json!([]));
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
        cuts: &[Cut {
            view: "user",
            statement: 7,
            others: "document.querySelector('#admin-labs [data-lab=\"1\"]').dataset.status === 'open'",
            back: "document.querySelector('#lab-notice').hidden",
            words: "Recovered 1 missed event,",
        }],
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
        cuts: &[Cut {
            view: "patient",
            statement: 5,
            others: "document.querySelector('#queue [data-me] .lead').textContent === '1'",
            back: "document.querySelector('#place').textContent === '1' \
                   && document.querySelectorAll('#messages [data-kind=ready]').length === 1",
            words: "Recovered ",
        }],
    })
    .await;
}

/// Bob is on the JavaScript client, Alice on the door that her page has always used.
#[tokio::test]
async fn alice_and_bob_see_the_same_seats_left_whatever_their_pages_speak() {
    tell(Story {
        system: "tickets",
        acts: &[
            (
                1,
                &[
                    "document.querySelector('#view-alice [data-seats]').textContent === '45'",
                    "document.querySelector('#view-bob [data-seats]').textContent === '45'",
                    "document.querySelector('#feed li').dataset.views === 'alice bob' \
                     || document.querySelector('#feed li').dataset.views === 'bob alice'",
                ],
            ),
            (
                4,
                &[
                    "document.querySelector('#view-alice [data-seats]').textContent === '25'",
                    "document.querySelector('#view-bob [data-seats]').textContent === '25'",
                ],
            ),
            (
                6,
                &[
                    "document.querySelector('.result[data-failed]') !== null",
                    "document.querySelector('#view-bob [data-seats]').textContent === '25'",
                ],
            ),
        ],
        cuts: &[
            Cut {
                view: "bob",
                statement: 5,
                others: "document.querySelector('#view-alice [data-seats]').textContent === '75'",
                back: "document.querySelector('#view-bob [data-seats]').textContent === '75'",
                words: "Recovered 50 missed events,",
            },
            Cut {
                view: "alice",
                statement: 7,
                others: "document.querySelector('#view-bob .left').textContent.includes('of 120')",
                back: "document.querySelector('#view-alice .left').textContent.includes('of 120')",
                words: "Recovered 1 missed event,",
            },
        ],
    })
    .await;
}

#[tokio::test]
async fn a_booking_of_the_spa_reaches_three_roles_each_with_its_own_part() {
    tell(Story {
        system: "spa",
        acts: &[
            (
                1,
                &[
                    "document.querySelectorAll('#paid li').length === 3",
                    "document.querySelector('#takings').textContent === '525.00'",
                    "[...document.querySelectorAll('#feed [data-name=PAYMENT_COMPLETED]')]\
                     .every((row) => !row.dataset.views.includes('therapist'))",
                ],
            ),
            (
                4,
                &[
                    "document.querySelector('#mine li').dataset.status === 'CONFIRMED'",
                    "[...document.querySelectorAll('#day li')].some((row) => \
                     row.textContent.includes('Mia') && row.dataset.status === 'CONFIRMED')",
                    "[...document.querySelectorAll('#all li')].some((row) => \
                     row.textContent.includes('Mia') && row.dataset.status === 'CONFIRMED')",
                ],
            ),
            (
                3,
                &["document.querySelector('.result[data-failed]') !== null"],
            ),
        ],
        cuts: &[Cut {
            view: "therapist",
            statement: 4,
            others: "document.querySelector('#mine li').dataset.status === 'IN_PROGRESS'",
            back: "document.querySelector('#day li[data-status=IN_PROGRESS]') !== null",
            words: "Recovered ",
        }],
    })
    .await;
}

/// What an event changes in what a view knows, as a page that has run for a night has it. Each of these
/// was on show for good, and in no table.
#[tokio::test]
async fn a_page_left_open_shows_nothing_that_is_not_so() {
    let (_demo, url) = demo().await;
    let driver = Driver::start().await;
    let of = async |system: &str, look: &str| {
        let page = driver.visit(&format!("{url}{system}/"), json!({})).await;
        page.until(LIVE).await;
        let views = "import('/demo/statements.js').then(async ({ statements: { views } }) =>";
        let found = page.evaluate(&format!("{views} {{ {look} }})")).await;
        page.leave().await;
        found
    };
    // A booking that is changed after it was cancelled.
    let cancelled = "const { calendar } = views
      const booking = { ...calendar.state.bookings[0], status: 'cancelled' }
      const told = (state, name) => calendar.reduce(state, { name, data: { booking, changes: {} } }, () => {})
      const others = { ...calendar.state, bookings: [] }
      const { status } = told(calendar.state, 'booking-updated').bookings.find(({ _id }) => _id === booking._id)
      return [status, told(others, 'booking-updated').bookings.length]";
    assert_eq!(of("boardroom", cancelled).await, json!(["cancelled", 0]));
    // Payments of which the oldest were tidied away.
    let paid = "const { manager } = views
      const paid = (state, paymentId) => manager.reduce(state,
        { name: 'PAYMENT_COMPLETED', data: { paymentId, totalAmount: 1 } }, () => {})
      const { takings } = Array.from({ length: 60 }, (_, more) => 1000 + more).reduce(paid, manager.state)
      return [takings.length, takings[0].paymentId]";
    assert_eq!(of("spa", paid).await, json!([50, 1059]));
    // A spot that was there for the first in line, and then went to somebody else.
    let spot = "const { Model } = await import('/lab/page/model.js')
      let told
      const line = { user: '1', live: (load, rooms, reduce) => ((told = reduce), { subscribe() {} }) }
      new Model(line, { now: '', labs: [], slots: [] }, () => {}).openOwn('user:1')
      const spot = told([], { name: 'waitlist:spot-available', data: { waitlistId: 1, userId: '1', slotId: 7 } })
      const full = { slotId: 7, labId: 1, status: 'full', availableSpots: 0 }
      const gone = told(spot, { name: 'time-slot:updated', data: full })
      const other = told(spot, { name: 'time-slot:updated', data: { ...full, slotId: 8 } })
      return [spot, gone, other].map(([row]) => row.isFree)";
    assert_eq!(of("lab", spot).await, json!([true, false, true]));
    // What the network has swallowed, or cut, is no answer: it is asked again, and not shown.
    let silence = "const { fetchState } = await import('/demo/server.js')
      const timeout = AbortSignal.timeout.bind(AbortSignal)
      AbortSignal.timeout = () => timeout(50)
      const says = () => fetchState().then(() => 'something', (error) => error.message)
      window.fetch = (at, { signal }) => new Promise((done, fail) => {
        signal.addEventListener('abort', () => fail(signal.reason)) })
      const silent = await says()
      window.fetch = async () => new Response('{\"book')
      return [silent, await says()]";
    // What comes while a state is read anew may be newer than that.
    let late = "const { Story } = await import('/demo/story.js')
      const told = { status: [], event: [], gap: [], error: [] }
      const line = { status: 'live', reason: '', over: '', on: (kind, listener) => told[kind].push(listener) }
      const tell = (kind, what) => told[kind].forEach((listener) => listener(what))
      class Count extends Story {
        know({ n }) { return { n } }
        reduce(state, { data }) { return { n: data } }
      }
      const count = new Count('alice', line, { n: 0 })
      let answer
      window.fetch = () => new Promise((done) => { answer = () => done(new Response('{\"n\":1}')) })
      tell('gap', { reason: 'trigger' })
      tell('event', { id: '1', name: 'counted', data: 2 })
      answer()
      while (!count.isCaughtUp) await new Promise((done) => setTimeout(done))
      return count.state.n";
    assert_eq!(of("tickets", late).await, json!(2));
    let why = "No answer: does the demo still run?";
    assert_eq!(of("tickets", silence).await, json!([why, why]));
}

/// No event of the clinic says that a visit is over, whether somebody was called or went home.
#[tokio::test]
async fn a_phone_shows_no_visit_that_is_over() {
    let (_demo, url) = demo().await;
    let driver = Driver::start().await;
    let page = driver.visit(&format!("{url}clinic/"), json!({})).await;
    page.until(LIVE).await;
    // Six are called, the last of them Ada; then all eight who were called are done.
    for (number, times, status) in [(2, 6, "called"), (3, 8, "none")] {
        let run = format!(
            "(async () => {{ for (let time = 0; time < {times}; time += 1) await fetch('demo/run/{number}',
              {{ method: 'POST', headers: {{ 'content-type': 'application/json' }} }}) }})()"
        );
        page.evaluate(&run).await;
        page.until(&format!(
            "document.querySelector('.phone').dataset.status === '{status}'"
        ))
        .await;
    }
    assert_eq!(complaints(&driver), Vec::<String>::new());
}

#[tokio::test]
async fn a_boardroom_booking_shows_in_the_calendar_and_at_its_door() {
    tell(Story {
        system: "boardroom",
        acts: &[
            (
                1,
                &[
                    // The first, for it does not stay.
                    "document.querySelector('#toasts').textContent.includes('Booking created')",
                    "[...document.querySelectorAll('.meeting')]\
                     .some((meeting) => meeting.textContent.startsWith('Retrospective'))",
                    "document.querySelector('#agenda').textContent.includes('Retrospective')",
                    "document.querySelector('#booked').textContent === '3 meetings'",
                    // It began by polling, and says so no longer than that was so.
                    "[...document.querySelectorAll('[data-reason]')]\
                     .every((reason) => reason.textContent.endsWith('over Socket.IO, WebSocket'))",
                ],
            ),
            (
                2,
                &["document.querySelector('#booked').textContent !== '3 meetings'"],
            ),
        ],
        cuts: &[Cut {
            view: "door",
            statement: 7,
            others: "![...document.querySelectorAll('.meeting:not([data-status=cancelled])')]\
                     .some((meeting) => meeting.textContent.startsWith('Retrospective'))",
            back: "!document.querySelector('#agenda').textContent.includes('Retrospective')",
            words: "Recovered 1 missed event,",
        }],
    })
    .await;
}

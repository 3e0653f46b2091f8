//! The comparison at the end: what was committed, and what each subscriber made of it.
//! Hands findings over to the station, which says whether there may be any.
//! It must never forgive: an event that did not come counts, whatever the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

/// Each event that was committed, by a name of its own, with the rooms that hear it.
pub type Truth = BTreeMap<String, BTreeSet<String>>;

/// One event as a subscriber got it.
#[derive(Clone, Debug)]
pub struct Heard {
    pub event: String,
    /// The row that it tells of, and that row's version.
    pub row: Option<(i64, i64)>,
    /// Rooms that were its own once, and that it had been told are not any more.
    pub lost: BTreeSet<String>,
    /// When the token ended that it was let in by.
    pub expires: Option<Instant>,
}

/// What a subscriber did between two pages: it read the data, then heard what followed.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events whose outcome the data showed.
    pub shown: BTreeSet<String>,
    /// The version in which each row was shown.
    pub rows: BTreeMap<i64, i64>,
    /// States, as they were shown and then told last.
    pub states: BTreeMap<i64, i64>,
    pub heard: Vec<Heard>,
}

/// A gap as it was told, with the histories of the bookmarks before and in it.
#[derive(Clone, Debug)]
pub struct Gap {
    pub reason: String,
    pub before: String,
    pub after: String,
    /// Something that the bookmark before did not have is not in the log any more.
    pub behind: bool,
}

/// A room was taken from a subscriber for a while. What was under way then may have been withheld.
#[derive(Clone, Debug)]
pub struct Excuse {
    pub room: String,
    pub from: Instant,
    pub until: Instant,
}

/// One subscriber's side of it.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub name: String,
    /// The rooms that it asked for and may hear, `*` included.
    pub rooms: BTreeSet<String>,
    pub pages: Vec<Page>,
    pub gaps: Vec<Gap>,
    /// Frames whose bookmark was of another history, and no gap was told.
    pub silent: Vec<String>,
    pub excuses: Vec<Excuse>,
    /// Events that may be missing by those, and only by those.
    pub excused: BTreeSet<String>,
    /// What else must not have been, in words.
    pub wrong: Vec<String>,
}

/// What is wrong. Nothing, if all is well.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Subscriber and event, of those that should have come and did not.
    pub missing: BTreeSet<(String, String)>,
    pub twice: BTreeSet<(String, String)>,
    /// Events of rooms that are not the subscriber's.
    pub forbidden: BTreeSet<(String, String)>,
    /// Events that nobody committed.
    pub invented: BTreeSet<(String, String)>,
    /// Events of a row that came behind a later one of it.
    pub disordered: BTreeSet<(String, String)>,
    /// Everything else, in words.
    pub other: Vec<String>,
}

impl Findings {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, pairs) in [
            ("missing", &self.missing),
            ("twice", &self.twice),
            ("forbidden", &self.forbidden),
            ("never committed", &self.invented),
            ("out of order", &self.disordered),
        ] {
            if !pairs.is_empty() {
                let first: Vec<_> = pairs.iter().take(10).collect();
                writeln!(f, "{} {what}, such as {first:?}", pairs.len())?;
            }
        }
        self.other.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Compares every pair of subscriber and event. `ended`: how many faults ended the history; after
/// one of them each subscriber has to be told of a gap, and else nobody may be.
pub fn reconcile(truth: &Truth, stories: &[Story], ended: u32) -> Findings {
    let mut findings = Findings::default();
    for story in stories {
        story.compare(truth, &mut findings);
        story.judge_gaps(ended, &mut findings);
    }
    findings
}

impl Story {
    fn hears(&self, rooms: &BTreeSet<String>) -> bool {
        !self.rooms.is_disjoint(rooms)
    }

    /// Whether it hears of it by no other room.
    pub fn hears_only_by(&self, room: &str, rooms: &BTreeSet<String>) -> bool {
        self.rooms.intersection(rooms).eq([room])
    }

    fn may_hear(&self, heard: &Heard, rooms: &BTreeSet<String>) -> bool {
        let mut mine = self.rooms.intersection(rooms);
        mine.any(|room| !heard.lost.contains(room))
    }

    fn compare(&self, truth: &Truth, findings: &mut Findings) {
        let pair = |event: &str| (self.name.clone(), event.to_owned());
        let mut had = BTreeSet::new();
        for page in &self.pages {
            // Whoever was told of a gap has forgotten what came before, and read the data anew.
            had.clone_from(&page.shown);
            let mut rows = page.rows.clone();
            for heard in &page.heard {
                if !had.insert(heard.event.clone()) {
                    findings.twice.insert(pair(&heard.event));
                }
                match truth.get(&heard.event) {
                    None => {
                        findings.invented.insert(pair(&heard.event));
                    }
                    Some(rooms) if !self.may_hear(heard, rooms) => {
                        findings.forbidden.insert(pair(&heard.event));
                    }
                    Some(_) => {}
                }
                if let Some((row, version)) = heard.row
                    && rows.insert(row, version).is_some_and(|old| old >= version)
                {
                    findings.disordered.insert(pair(&heard.event));
                }
            }
        }
        for (event, rooms) in truth {
            if self.hears(rooms) && !had.contains(event) && !self.excused.contains(event) {
                findings.missing.insert(pair(event));
            }
        }
    }

    fn judge_gaps(&self, ended: u32, findings: &mut Findings) {
        let mut wrong = |what: String| findings.other.push(format!("{}: {what}", self.name));
        for frame in &self.silent {
            wrong(format!("another history, and no gap was told: {frame}"));
        }
        for what in &self.wrong {
            wrong(what.clone());
        }
        for gap in &self.gaps {
            let allowed = match gap.reason.as_str() {
                "history" => ended > 0 && gap.before != gap.after,
                "horizon" => gap.behind,
                _ => false,
            };
            if !allowed {
                wrong(format!("a gap that is not allowed: {gap:?}"));
            }
        }
        if ended > 0 && self.gaps.is_empty() {
            wrong("the history has ended, and no gap was told".into());
        }
    }
}

/// The comparison itself, on stories made by hand: each mistake is found, and nothing else.
#[test]
fn each_mistake_is_found_and_only_that() {
    let rooms = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let truth: Truth = [("a", "r"), ("b", "r"), ("c", "s")]
        .map(|(event, room)| (event.to_owned(), rooms(&[room])))
        .into();
    let tell = |heard: &[(&str, i64)]| Story {
        name: "1".into(),
        rooms: rooms(&["r"]),
        pages: vec![Page {
            heard: heard
                .iter()
                .map(|(event, version)| Heard {
                    event: (*event).to_owned(),
                    row: Some((1, *version)),
                    lost: BTreeSet::new(),
                    expires: None,
                })
                .collect(),
            ..Page::default()
        }],
        ..Story::default()
    };
    let pair = |event: &str| BTreeSet::from([("1".to_owned(), event.to_owned())]);
    let found = |heard: &[(&str, i64)]| reconcile(&truth, &[tell(heard)], 0);
    assert_eq!(found(&[("a", 1), ("b", 2)]), Findings::default());
    assert_eq!(found(&[("b", 2)]).missing, pair("a"));
    assert_eq!(found(&[("a", 1), ("b", 2), ("b", 3)]).twice, pair("b"));
    assert_eq!(found(&[("a", 1), ("b", 2), ("c", 3)]).forbidden, pair("c"));
    assert_eq!(found(&[("a", 1), ("b", 2), ("x", 3)]).invented, pair("x"));
    assert_eq!(found(&[("b", 2), ("a", 1)]).disordered, pair("a"));
    assert!(
        !reconcile(&truth, &[tell(&[("a", 1), ("b", 2)])], 1)
            .other
            .is_empty()
    );

    let mut told = tell(&[("a", 1)]);
    told.gaps.push(Gap {
        reason: "history".into(),
        before: "x".into(),
        after: "y".into(),
        behind: false,
    });
    told.pages.push(Page {
        shown: rooms(&["a", "b"]),
        ..Page::default()
    });
    let told = |ended, change: &dyn Fn(&mut Story)| {
        let mut told = told.clone();
        change(&mut told);
        reconcile(&truth, &[told], ended)
    };
    assert_eq!(told(1, &|_| {}), Findings::default());
    assert_eq!(told(0, &|_| {}).other.len(), 1);
    assert_eq!(
        told(1, &|told| told.gaps[0].reason = "limit".into())
            .other
            .len(),
        1
    );
    assert_eq!(told(1, &|told| told.silent.push("…".into())).other.len(), 1);
    // A log that is said not to reach back has to lack something.
    let horizon = |behind| {
        let gap = move |told: &mut Story| {
            told.gaps[0].reason = "horizon".into();
            told.gaps[0].behind = behind;
        };
        told(0, &gap).other.len()
    };
    assert_eq!((horizon(true), horizon(false)), (0, 1));
    // A room that was taken away: what was under way may be missing, and nothing may still come.
    let mut taken = tell(&[("a", 1), ("b", 2)]);
    taken.pages[0].heard[1].lost = rooms(&["r"]);
    assert_eq!(reconcile(&truth, &[taken.clone()], 0).forbidden, pair("b"));
    taken.pages[0].heard.pop();
    assert_eq!(reconcile(&truth, &[taken.clone()], 0).missing, pair("b"));
    taken.excused = rooms(&["b"]);
    assert_eq!(reconcile(&truth, &[taken], 0), Findings::default());
    // What was heard before the gap no longer counts.
    assert_eq!(
        told(1, &|told| told.pages[1].shown.retain(|event| event != "a")).missing,
        pair("a")
    );
}

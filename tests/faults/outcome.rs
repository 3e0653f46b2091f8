//! What came out of a run: the findings, and whether each fault struck anything.
//! Hands the verdict over to the test. It must never pass a run whose faults proved nothing.

use super::writers::{Entries, Transaction, hears_tally};
use crate::support::reconcile::{Findings, Story};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// When a fault struck.
#[derive(Clone, Debug)]
pub struct Strike {
    pub name: String,
    pub from: Instant,
}

/// What came out of a run.
pub struct Result {
    pub findings: Findings,
    pub stories: Vec<Story>,
    /// How often connections ended in which way.
    pub ends: BTreeMap<String, u32>,
    pub summary: String,
}

impl Result {
    pub fn assert_clean(&self) {
        eprintln!("{}", self.summary);
        assert!(
            self.findings.is_empty(),
            "{}\n{}",
            self.summary,
            self.findings
        );
    }
}

impl Strike {
    /// Why it proves nothing, if it does not: some COMMIT has to be under way when it strikes.
    pub fn missed(&self, transactions: &[Transaction]) -> Option<String> {
        let under_way = |t: &Transaction| {
            t.sent.is_some_and(|sent| sent <= self.from) && t.settled >= self.from
        };
        let struck = transactions.iter().any(under_way);
        (!struck).then(|| format!("{} struck nothing: no COMMIT was under way", self.name))
    }
}

/// What each subscriber was shown, or told last, of a state: in the end that is how it is. What its room
/// did not hear while it was taken away is told by nobody.
pub fn check_states(stories: &mut [Story], entries: &Entries) {
    for story in stories {
        let lost = story.excuses.iter().map(|excuse| excuse.room.clone());
        let lost = lost.collect();
        let told = story.pages.last().map(|page| &page.states);
        for (tally, is) in &entries.tallies {
            let told = told.and_then(|told| told.get(tally));
            if told != Some(is) && hears_tally(*tally, &story.rooms, &lost) {
                let wrong = format!("tally {tally} is {is}, and was told last as {told:?}");
                story.wrong.push(wrong);
            }
        }
    }
}

/// After its token has expired, a connection may hear what is committed for this long.
const EXPIRY: Duration = Duration::from_secs(1);

/// Sets what subscribers noted of moments against when each event was committed: what may be missing
/// because its room was taken away just then, and what came too late for a token.
pub fn settle(stories: &mut [Story], transactions: &[Transaction], entries: &Entries) {
    let mut when = BTreeMap::new();
    for transaction in transactions {
        if let Some(sent) = transaction.sent {
            let numbers = transaction.numbers.iter();
            when.extend(numbers.map(|number| (*number, (sent, transaction.settled))));
        }
    }
    let when = |event: &str| entries.with.get(event).and_then(|with| when.get(with));
    for story in stories {
        for excuse in &story.excuses {
            for (event, rooms) in &entries.truth {
                let under_way = when(event).is_some_and(|(sent, settled)| {
                    *settled >= excuse.from && *sent <= excuse.until
                });
                if under_way && story.hears_only_by(&excuse.room, rooms) {
                    story.excused.insert(event.clone());
                }
            }
        }
        for heard in story.pages.iter().flat_map(|page| &page.heard) {
            let sent = when(&heard.event).map(|(sent, _)| *sent);
            let late = sent.zip(heard.expires);
            if late.is_some_and(|(sent, expires)| sent > expires + EXPIRY) {
                let what = format!("{} was heard by a token that had expired", heard.event);
                story.wrong.push(what);
            }
        }
    }
}

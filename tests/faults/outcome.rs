//! What came out of a run: the findings, and whether each fault struck anything.
//! Hands the verdict over to the test. It must never pass a run whose faults proved nothing.

use super::writers::Transaction;
use crate::support::reconcile::{Findings, Story};
use std::collections::BTreeMap;
use std::time::Instant;

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

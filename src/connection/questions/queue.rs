//! Those who wait for an answer of the rules. Hands out who is asked for next, as many as one statement
//! may hold. It must never let somebody who is slow share a statement with others.

use super::{Answered, Asker, Question};
use crate::slow::Slow;
use std::collections::VecDeque;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Whoever waits for an answer. There are no more of them than `limits.connections`.
#[derive(Debug)]
pub(super) struct Waiting {
    pub question: Question,
    pub answer: oneshot::Sender<Answered>,
}

/// Whoever waits, in their order.
#[derive(Debug)]
pub(super) struct Queue {
    pub waiting: VecDeque<Waiting>,
    /// What the next statement may hold.
    pub size: usize,
}

impl Queue {
    pub fn new(size: usize) -> Self {
        let waiting = VecDeque::new();
        Self { waiting, size }
    }

    /// A statement was answered.
    pub fn grow(&mut self, most: usize) {
        self.size = (self.size * 2).min(most);
    }

    /// Those who are next, and whether they are one who is slow, if it `may_be_slow`.
    pub fn next(
        &mut self,
        slow: &Slow<Asker>,
        may_be_slow: bool,
        now: Instant,
    ) -> Option<(Vec<Waiting>, bool)> {
        let (mut asked, mut weight, mut passed_over) = (Vec::new(), 0, Vec::new());
        let mut whose = None;
        while let Some(one) = self.waiting.pop_front() {
            if one.answer.is_closed() {
                continue;
            }
            let asker = slow_asker(slow, &one.question, now);
            if asked.is_empty() && (asker.is_none() || may_be_slow) {
                whose = asker;
            } else if asked.is_empty() || asker != whose {
                passed_over.push(one);
                continue;
            }
            weight += one.question.weight();
            if weight > self.size && !asked.is_empty() {
                self.waiting.push_front(one);
                break;
            }
            asked.push(one);
        }
        let behind = passed_over.into_iter().rev();
        behind.for_each(|one| self.waiting.push_front(one));
        (!asked.is_empty()).then_some((asked, whose.is_some()))
    }
}

/// Whose question it is, if they are slow.
fn slow_asker(slow: &Slow<Asker>, question: &Question, now: Instant) -> Option<Asker> {
    // A name is copied to be looked for: mostly nobody is slow.
    if slow.is_empty() {
        return None;
    }
    let asker = question.asker();
    slow.knows(&asker, now).then_some(asker)
}

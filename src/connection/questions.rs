//! What is asked of SQL at the door: whose session it is, and who may hear what. Questions that come
//! while a statement is under way, or just behind one, are asked together in the next; alone, one is
//! asked at once.
//! Hands answers to admission. It must never let somebody whose rule hangs or fails keep others from
//! their answers: what failed together is asked again in parts, and in the end each alone; and whose
//! statement was slow without others is asked for without them from then on, in half of the statements.

use super::Refusal;
use super::seats::network;
use crate::config::Settings;
use crate::database::{AccessAnswer, AccessQuestion, Database, DatabaseError};
use crate::hub::Identity;
use crate::report;
use crate::slow::{SLOW, Slow};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long the statements under way may keep a question waiting before another is begun beside
/// them: several times what a rule takes that looks at an index. Each time it is waited twice as long.
const PATIENCE: Duration = Duration::from_millis(20);

/// Between the beginnings of two statements, so that a crowd is asked for in fewer: a hundred a second
/// are noticed by nobody who waits for one, and each holds all who came meanwhile.
const PACE: Duration = Duration::from_millis(10);

/// What several ask together may take this part of `database.statement_timeout_ms`, so that whoever
/// shares a statement with a rule that hangs is asked again, and answered, within it.
const SHARE: u32 = 4;

/// By how much statements shrink when one has failed. With each that is answered they double again.
const SHRINK: usize = 10;

/// A question of somebody's.
#[derive(Debug)]
pub struct Question {
    pub identity: Identity,
    /// The rooms; nothing if it is only asked who they are, and no rule of rooms.
    pub rooms: Option<Vec<Arc<str>>>,
    /// Whether their session is to be exchanged for claims.
    pub exchanges: bool,
    /// Where a session comes from of which nobody knows yet whose it is.
    pub address: Option<IpAddr>,
}

/// For whom it is asked: a user, or an address of which nobody has a name.
type Asker = (Option<String>, Option<IpAddr>);

/// An answer, or why there is none: the database did not give one, or a rule failed or ran out of
/// time. That is in the log already.
type Answered = Result<AccessAnswer, Refusal>;

/// Whoever waits for an answer. There are no more of them than `limits.connections`.
#[derive(Debug)]
struct Waiting {
    question: Question,
    answer: oneshot::Sender<Answered>,
}

/// All questions of a service.
#[derive(Debug)]
pub struct Questions {
    database: Database,
    /// Rooms and identities in a statement at most.
    most: usize,
    /// Statements at once at most.
    at_once: usize,
    timeout: Duration,
    /// Seconds.
    leeway: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Statements under way.
    asking: usize,
    /// Those of them that ask for somebody who is slow.
    asking_slow: usize,
    slow: Slow<Asker>,
    /// What the next may hold.
    size: usize,
}

impl Question {
    fn asker(&self) -> Asker {
        (self.identity.user.clone(), self.address.map(network))
    }

    fn asked(&self) -> AccessQuestion<'_> {
        AccessQuestion {
            identity: &self.identity,
            rooms: self.rooms.as_deref(),
            version: None,
            again: self.exchanges,
        }
    }

    /// As `limits.recheck_questions` counts: one for who it is, and one for each room.
    fn weight(&self) -> usize {
        1 + self.rooms.as_ref().map_or(0, Vec::len)
    }
}

impl Questions {
    #[must_use]
    pub fn new(database: Database, settings: &Settings) -> Self {
        let most = settings.limits.recheck_questions;
        Self {
            database,
            most,
            // One connection of the pool stays for those who are in and read the log.
            at_once: (settings.database.pool_size - 1).max(1),
            timeout: settings.database.statement_timeout,
            leeway: settings.auth.leeway.as_secs(),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                asking: 0,
                asking_slow: 0,
                slow: Slow::default(),
                size: most,
            }),
        }
    }

    /// Asks a question, with those of others.
    ///
    /// # Errors
    /// The database, or a rule that failed or ran out of time.
    pub async fn ask(self: &Arc<Self>, question: Question) -> Answered {
        let (answer, mut answered) = oneshot::channel();
        self.state
            .lock()
            .waiting
            .push_back(Waiting { question, answer });
        self.begin(1);
        let mut patience = PATIENCE;
        loop {
            match tokio::time::timeout(patience, &mut answered).await {
                Ok(answer) => return answer.unwrap_or(Err(Refusal::DatabaseAway)),
                Err(_) => self.begin(self.at_once),
            }
            patience *= 2;
        }
    }

    /// Begins a statement if somebody waits and fewer than so many are under way.
    fn begin(self: &Arc<Self>, at_once: usize) {
        let mut state = self.state.lock();
        if state.waiting.is_empty() || state.asking >= at_once {
            return;
        }
        state.asking += 1;
        drop(state);
        let mut asking = Asking {
            questions: Arc::clone(self),
            counts: true,
            is_slow: false,
        };
        tokio::spawn(async move {
            // Whoever leaves meanwhile leaves their question to this task, not their turn to nobody.
            while let Some(batch) = asking.next() {
                let next = Instant::now() + PACE;
                asking.questions.put(batch).await;
                tokio::time::sleep_until(next).await;
            }
        });
    }

    /// What the next statement asks, and whether that is for somebody who is slow; nothing if nobody
    /// waits whose turn it is.
    fn next(&self, state: &mut State, now: Instant) -> Option<(Vec<Waiting>, bool)> {
        let has_room = state.asking_slow < (self.at_once / 2).max(1);
        let (mut batch, mut weight, mut passed_over) = (Vec::new(), 0, Vec::new());
        let mut whose = None;
        while let Some(one) = state.waiting.pop_front() {
            if one.answer.is_closed() {
                continue;
            }
            let slow = state.slow_asker(&one.question, now);
            if batch.is_empty() && (slow.is_none() || has_room) {
                whose = slow;
            } else if batch.is_empty() || slow != whose {
                passed_over.push(one);
                continue;
            }
            weight += one.question.weight();
            if weight > state.size && !batch.is_empty() {
                state.waiting.push_front(one);
                break;
            }
            batch.push(one);
        }
        let behind = passed_over.into_iter().rev();
        behind.for_each(|one| state.waiting.push_front(one));
        (!batch.is_empty()).then_some((batch, whose.is_some()))
    }

    async fn put(&self, batch: Vec<Waiting>) {
        let asker = only_asker(&batch);
        if self.answer(batch).await
            && let Some(asker) = asker
        {
            self.state.lock().slow.note(asker, Instant::now());
        }
    }

    /// Asks, and tells each the answer. Whether the rules were slow, or failed as a whole.
    async fn answer(&self, batch: Vec<Waiting>) -> bool {
        let began = Instant::now();
        let asked: Vec<AccessQuestion<'_>> = batch.iter().map(|one| one.question.asked()).collect();
        let within = if batch.len() > 1 {
            self.timeout / SHARE
        } else {
            self.timeout
        };
        match self.database.access(&asked, self.leeway, within).await {
            Ok(answers) => {
                let mut state = self.state.lock();
                state.size = (state.size * 2).min(self.most);
                drop(state);
                for (one, answer) in batch.into_iter().zip(answers) {
                    // Who has left wants no answer.
                    let _ = one.answer.send(judged(answer));
                }
                began.elapsed() >= SLOW
            }
            Err(error) if batch.len() > 1 && error.is_of_statement() => {
                report::asked_again(batch.len(), &error);
                let weight: usize = batch.iter().map(|one| one.question.weight()).sum();
                let mut state = self.state.lock();
                state.size = (weight / SHRINK).max(1);
                for one in batch.into_iter().rev() {
                    state.waiting.push_front(one);
                }
                true
            }
            Err(error) => {
                let why = report_unanswered("admission", &error);
                for one in batch {
                    let _ = one.answer.send(Err(why));
                }
                error.is_of_statement()
            }
        }
    }
}

impl State {
    /// Whose question it is, if they are slow.
    fn slow_asker(&self, question: &Question, now: Instant) -> Option<Asker> {
        // A name is copied to be looked for: mostly nobody is slow.
        if self.slow.is_empty() {
            return None;
        }
        let asker = question.asker();
        self.slow.knows(&asker, now).then_some(asker)
    }
}

/// For whom all of these are, if they are one's.
fn only_asker(batch: &[Waiting]) -> Option<Asker> {
    let (first, others) = batch.split_first()?;
    let asker = first.question.asker();
    let is_one = others.iter().all(|one| one.question.asker() == asker);
    is_one.then_some(asker)
}

/// A task that asks. However it ends, even by a panic, it is no longer counted: or nobody would begin
/// another.
struct Asking {
    questions: Arc<Questions>,
    /// It is among `State::asking`.
    counts: bool,
    /// And among `State::asking_slow`.
    is_slow: bool,
}

impl Asking {
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut state = self.questions.state.lock();
        state.asking_slow -= usize::from(std::mem::take(&mut self.is_slow));
        let next = self.questions.next(&mut state, Instant::now());
        let Some((batch, is_slow)) = next else {
            // Under the same lock: whoever comes now begins another.
            state.asking -= 1;
            self.counts = false;
            return None;
        };
        state.asking_slow += usize::from(is_slow);
        self.is_slow = is_slow;
        Some(batch)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.counts {
            let mut state = self.questions.state.lock();
            state.asking -= 1;
            state.asking_slow -= usize::from(self.is_slow);
        }
    }
}

/// Reports why a statement that asks rules has no answer. Of what it does only they can take long.
pub(super) fn report_unanswered(what: &str, error: &DatabaseError) -> Refusal {
    if error.is_too_long() {
        report::rule_failed(what, error);
        return Refusal::RuleFailed;
    }
    report::database_failed(what, error);
    Refusal::DatabaseAway
}

fn judged(answer: AccessAnswer) -> Answered {
    if let Some(error) = &answer.failed {
        report::rule_failed("admission", error);
        return Err(Refusal::RuleFailed);
    }
    if let Some(rule) = &answer.refusing {
        report::rule_says_no("admission", rule);
    }
    Ok(answer)
}

//! What is asked of SQL at the door: whose session it is, and who may hear what. Questions that come
//! while a statement is under way, or just behind one, are asked together in the next; alone, one is
//! asked at once.
//! Hands answers to admission. It must never let somebody whose rule hangs or fails keep others from
//! their answers: what failed together is asked again in parts, and in the end each alone; and whose
//! statement was slow without others is asked for without them from then on. Both in half of the statements.

mod queue;

use self::queue::{Queue, Waiting};
use super::Refusal;
use super::whose::Whose;
use crate::config::Settings;
use crate::database::{AccessAnswer, AccessQuestion, Database, DatabaseError};
use crate::hub::Identity;
use crate::report;
use crate::slow::{SLOW, Slow};
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// How long the statements under way may keep a question waiting before another is begun beside
/// them: several times what a rule takes that looks at an index. Each time it is waited twice as long.
const PATIENCE: Duration = Duration::from_millis(20);

/// Between the beginnings of two statements, so that a crowd is asked for in fewer: a hundred a second
/// are noticed by nobody who waits for one, and each holds all who came meanwhile.
const PACE: Duration = Duration::from_millis(10);

/// What several ask together may take this part of `database.statement_timeout_ms`, so that whoever
/// shares a statement with a rule that hangs is asked again, and answered, within it.
const SHARE: u32 = 4;

/// By how much statements shrink when one has failed: for those who were in it, down to a single question.
/// With each that is answered they double again.
const SHRINK: usize = 10;

/// Statements, each as long as one may take, within which somebody is answered: behind many whose rule
/// hangs it is not waited in silence, but refused, and tried again.
const BOUND: u32 = 4;

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

/// For whom it is asked. Those who are nobody are as one.
type Asker = Option<Whose>;

/// An answer, or why there is none: the database did not give one, or a rule failed or ran out of
/// time. That is in the log already.
type Answered = Result<AccessAnswer, Refusal>;

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
    new: Queue,
    /// Those whose statement failed with others in it.
    doubtful: Queue,
    /// Statements under way.
    asking: usize,
    /// Those of them that ask for somebody who is slow, or doubtful.
    asking_apart: usize,
    /// The last that was begun is one of these.
    was_apart: bool,
    slow: Slow<Asker>,
}

/// What one statement asks.
#[derive(Debug)]
struct Batch {
    asked: Vec<Waiting>,
    /// For somebody who is slow, or doubtful: it counts among `State::asking_apart`.
    is_apart: bool,
    is_doubtful: bool,
}

impl Question {
    fn asker(&self) -> Asker {
        Whose::of(self.identity.user.as_deref(), self.address)
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
                new: Queue::new(most),
                doubtful: Queue::new(most),
                asking: 0,
                asking_apart: 0,
                was_apart: false,
                slow: Slow::default(),
            }),
        }
    }

    /// Asks a question, with those of others.
    ///
    /// # Errors
    /// The database, or a rule that failed or ran out of time, perhaps somebody else's.
    pub async fn ask(self: &Arc<Self>, question: Question) -> Answered {
        let (answer, mut answered) = oneshot::channel();
        let waiting = Waiting { question, answer };
        self.state.lock().new.waiting.push_back(waiting);
        self.begin(1);
        let answer = async {
            let mut patience = PATIENCE;
            loop {
                match timeout(patience, &mut answered).await {
                    Ok(answer) => return answer.unwrap_or(Err(Refusal::DatabaseAway)),
                    Err(_) => self.begin(self.at_once),
                }
                patience *= 2;
            }
        };
        let answer = timeout(self.timeout * BOUND, answer).await;
        answer.unwrap_or(Err(Refusal::RuleFailed))
    }

    /// Begins a statement if somebody waits and fewer than so many are under way.
    fn begin(self: &Arc<Self>, at_once: usize) {
        let mut state = self.state.lock();
        let waits = [&state.new, &state.doubtful];
        if waits.iter().all(|queue| queue.waiting.is_empty()) || state.asking >= at_once {
            return;
        }
        state.asking += 1;
        drop(state);
        let mut asking = Asking {
            questions: Arc::clone(self),
            counts: true,
            is_apart: false,
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

    /// What the next statement asks; nothing if nobody waits whose turn it is.
    fn next(&self, state: &mut State, now: Instant) -> Option<Batch> {
        let has_room = state.asking_apart < (self.at_once / 2).max(1);
        // Half of one is every other.
        let yields = self.at_once == 1 && state.was_apart;
        let others = yields.then(|| state.next(false, now)).flatten();
        let batch = others.or_else(|| state.next(has_room, now))?;
        state.was_apart = batch.is_apart;
        Some(batch)
    }

    async fn put(&self, batch: Batch) {
        let asker = only_asker(&batch.asked);
        if self.answer(batch).await
            && let Some(asker) = asker
        {
            self.state.lock().slow.note(asker, Instant::now());
        }
    }

    /// Asks, and tells each the answer. Whether the rules were slow, or failed as a whole.
    async fn answer(&self, batch: Batch) -> bool {
        let began = Instant::now();
        let Batch {
            asked, is_doubtful, ..
        } = batch;
        let questions: Vec<AccessQuestion<'_>> =
            asked.iter().map(|one| one.question.asked()).collect();
        let within = if asked.len() > 1 {
            self.timeout / SHARE
        } else {
            self.timeout
        };
        match self.database.access(&questions, self.leeway, within).await {
            Ok(answers) => {
                self.state.lock().queue(is_doubtful).grow(self.most);
                for (one, answer) in asked.into_iter().zip(answers) {
                    // Who has left wants no answer.
                    let _ = one.answer.send(judged(answer));
                }
                began.elapsed() >= SLOW
            }
            Err(error) if asked.len() > 1 && error.is_of_statement() => {
                report::asked_again(asked.len(), &error);
                self.state.lock().doubt(asked, is_doubtful, self.most);
                true
            }
            Err(error) => {
                let why = report_unanswered("admission", &error);
                for one in asked {
                    let _ = one.answer.send(Err(why));
                }
                error.is_of_statement()
            }
        }
    }
}

impl State {
    fn queue(&mut self, is_doubtful: bool) -> &mut Queue {
        if is_doubtful {
            &mut self.doubtful
        } else {
            &mut self.new
        }
    }

    /// What to ask next; for somebody who is slow, or doubtful, if it `may_be_apart`.
    fn next(&mut self, may_be_apart: bool, now: Instant) -> Option<Batch> {
        let Self { doubtful, slow, .. } = self;
        if may_be_apart && let Some((asked, _)) = doubtful.next(slow, true, now) {
            return Some(Batch {
                asked,
                is_apart: true,
                is_doubtful: true,
            });
        }
        let (asked, is_apart) = self.new.next(slow, may_be_apart, now)?;
        Some(Batch {
            asked,
            is_apart,
            is_doubtful: false,
        })
    }

    /// Takes back those whose statement failed, to be asked for in smaller ones.
    fn doubt(&mut self, asked: Vec<Waiting>, were_doubtful: bool, most: usize) {
        if !were_doubtful {
            // No less: alone, each whose rule hangs would take a statement from those who are new.
            self.new.size = (most / SHRINK).max(1);
        }
        let weight: usize = asked.iter().map(|one| one.question.weight()).sum();
        self.doubtful.size = (weight / SHRINK).max(1);
        for one in asked.into_iter().rev() {
            self.doubtful.waiting.push_front(one);
        }
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
    /// And among `State::asking_apart`.
    is_apart: bool,
}

impl Asking {
    fn next(&mut self) -> Option<Batch> {
        let mut state = self.questions.state.lock();
        state.asking_apart -= usize::from(std::mem::take(&mut self.is_apart));
        let next = self.questions.next(&mut state, Instant::now());
        let Some(batch) = next else {
            // Under the same lock: whoever comes now begins another.
            state.asking -= 1;
            self.counts = false;
            return None;
        };
        state.asking_apart += usize::from(batch.is_apart);
        self.is_apart = batch.is_apart;
        Some(batch)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.counts {
            let mut state = self.questions.state.lock();
            state.asking -= 1;
            state.asking_apart -= usize::from(self.is_apart);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawSettings;

    /// Ten questions in a statement, and seven statements at once; nobody asks the database.
    fn questions() -> Questions {
        let set = [
            ("database.url", "host=/nowhere"),
            ("limits.recheck_questions", "10"),
        ];
        let set = set.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let raw = RawSettings::load(None, std::iter::empty(), &set).unwrap();
        let settings = Settings::check(raw).unwrap();
        let database = Database::new("host=/nowhere", &settings.database, &settings.calls);
        Questions::new(database.unwrap(), &settings)
    }

    /// Somebody who asks for no room.
    fn ask(state: &mut State, user: &str) -> oneshot::Receiver<Answered> {
        let (answer, answered) = oneshot::channel();
        let identity = Identity {
            user: Some(user.to_owned()),
            expires_at: u64::MAX,
            claims: "{}".into(),
            session: None,
            as_of: i64::MAX,
        };
        let question = Question {
            identity,
            rooms: None,
            exchanges: false,
            address: None,
        };
        state.new.waiting.push_back(Waiting { question, answer });
        answered
    }

    fn asked(batch: &Batch) -> String {
        let users = batch.asked.iter().map(|one| &one.question.identity.user);
        users.flatten().map(String::as_str).collect()
    }

    #[test]
    fn who_is_slow_or_doubtful_has_half_of_the_statements() {
        let questions = questions();
        let (state, now) = (&mut *questions.state.lock(), Instant::now());
        state.slow.note(Whose::of(Some("s"), None), now);
        let mut waiting: Vec<_> = ["s", "a", "s", "b"].map(|user| ask(state, user)).into();
        state.asking_apart = 3;
        let next = questions.next(state, now).unwrap();
        assert_eq!((asked(&next).as_str(), next.is_apart), ("ab", false));
        assert!(questions.next(state, now).is_none());
        // They shared a statement that failed.
        state.doubt(next.asked, next.is_doubtful, 10);
        assert!(questions.next(state, now).is_none());
        state.asking_apart = 2;
        let alone = [(); 2].map(|()| questions.next(state, now).unwrap());
        assert!(alone.iter().all(|next| next.is_apart && next.is_doubtful));
        assert_eq!(alone.each_ref().map(asked), ["a", "b"]);
        waiting.push(ask(state, "c"));
        state.new.size = 10;
        let next = questions.next(state, now).unwrap();
        assert_eq!((asked(&next).as_str(), next.is_apart), ("ss", true));
        assert_eq!(asked(&questions.next(state, now).unwrap()), "c");
    }

    #[test]
    fn statements_shrink_with_one_that_failed_and_grow_with_each_that_is_answered() {
        let questions = questions();
        let (state, now) = (&mut *questions.state.lock(), Instant::now());
        let _waiting: Vec<_> = (0..40).map(|_| ask(state, "a")).collect();
        let failed = questions.next(state, now).unwrap();
        assert_eq!(asked(&failed).len(), 10);
        state.doubt(failed.asked, false, 10);
        for (is_doubtful, sizes) in [(false, [1, 2, 4, 8, 10]), (true, [1, 2, 4, 3, 0])] {
            for size in sizes {
                let room = if is_doubtful { 0 } else { 3 };
                state.asking_apart = room;
                let next = questions.next(state, now);
                let next = next.filter(|next| next.is_doubtful == is_doubtful);
                assert_eq!(next.as_ref().map_or(0, |next| asked(next).len()), size);
                state.queue(is_doubtful).grow(10);
            }
        }
    }
}

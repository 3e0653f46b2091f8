//! Asks again for everybody who was let in under older rules, and takes from them what is no longer
//! theirs: many in one statement, few statements at once.
//! Hands rooms to be withdrawn and connections to be ended over to the hub. It must never leave
//! somebody unasked in silence, nor end anybody because the database did not answer at once.

use super::Gate;
use super::questions::report_unanswered;
use crate::database::{AccessAnswer, AccessQuestion};
use crate::hub::{Ended, Identity, Member};
use crate::report;
use futures_util::StreamExt;
use futures_util::stream;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Before the first retry; each later one waits twice as long, up to the second.
const RETRY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// By how much a failed round shrinks the next one's statements: a rule that is slow or fails for
/// one is then soon alone in its statement.
const SHRINK: usize = 10;

/// Everybody who holds the same claims and was let in under the same version: one question.
struct Group {
    identity: Identity,
    version: i64,
    rooms: Vec<Arc<str>>,
    members: Vec<Member>,
}

/// A part of a group's question: as many of its rooms as one statement may ask for.
#[derive(Clone, Debug)]
struct Part {
    group: usize,
    rooms: Range<usize>,
}

/// What is known so far of a group's answer.
#[derive(Clone, Default)]
struct Heard {
    parts_left: usize,
    version: Option<i64>,
    claims: Option<Arc<str>>,
    over: bool,
}

/// Follows changes of rules until dropped.
pub async fn run(gate: Arc<Gate>) {
    let most = gate.settings.limits.recheck_questions;
    let (mut size, mut wait) = (most, RETRY[0]);
    let mut failing: Option<Instant> = None;
    loop {
        if failing.is_none() {
            gate.hub.stale_noticed().await;
        } else {
            tokio::select! {
                () = gate.hub.stale_noticed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        if gate.recheck(size).await {
            (size, wait, failing) = (most, RETRY[0], None);
            continue;
        }
        size = (size / SHRINK).max(1);
        wait = (wait * 2).min(RETRY[1]);
        // While the log is not read either, nothing is delivered, and nobody has to go.
        let since = failing.filter(|_| gate.pulse.lag() < gate.settings.listener.ready_lag);
        let since = *failing.insert(since.unwrap_or_else(Instant::now));
        if since.elapsed() > gate.settings.limits.recheck_patience {
            for stale in gate.hub.stale() {
                gate.hub.expel(&stale, Ended::Unconfirmed);
            }
            failing = None;
        }
    }
}

impl Gate {
    /// One round for all who are stale, with at most `size` questions in a statement; true if
    /// all were answered.
    async fn recheck(&self, size: usize) -> bool {
        let began = Instant::now();
        let groups = group(self.hub.stale());
        let batches = batches(&groups, size);
        let mut heard = vec![Heard::default(); groups.len()];
        for part in batches.iter().flatten() {
            heard[part.group].parts_left += 1;
        }
        let leeway = self.settings.auth.leeway.as_secs();
        let within = self.settings.database.statement_timeout;
        let mut asked = Vec::with_capacity(batches.len());
        for parts in &batches {
            let questions: Vec<AccessQuestion<'_>> =
                parts.iter().map(|part| part.ask(&groups)).collect();
            asked.push(async move {
                (
                    parts,
                    self.database.access(&questions, leeway, within).await,
                )
            });
        }
        // Half of the pool: those who connect meanwhile need the rest.
        let at_once = (self.settings.database.pool_size / 2).max(1);
        let mut answers = stream::iter(asked).buffer_unordered(at_once);
        let (mut withdrawn, mut failed) = (0, 0);
        while let Some((parts, answers)) = answers.next().await {
            let answers = match answers {
                Ok(answers) => answers,
                Err(error) => {
                    report_unanswered("recheck", &error);
                    failed += parts.len();
                    continue;
                }
            };
            for (part, answer) in parts.iter().zip(answers) {
                if let Some(error) = &answer.failed {
                    report::rule_failed("recheck", error);
                    failed += 1;
                    continue;
                }
                if let Some(rule) = &answer.refusing {
                    report::rule_says_no("recheck", rule);
                }
                let group = &groups[part.group];
                withdrawn += self.apply(group, part, answer, &mut heard[part.group]);
            }
        }
        if !groups.is_empty() {
            report::rechecked(groups.len(), withdrawn, failed, began.elapsed());
        }
        failed == 0
    }

    /// Does to a group what the answer to a part of its question says; how many rooms were taken.
    fn apply(&self, group: &Group, part: &Part, answer: AccessAnswer, heard: &mut Heard) -> usize {
        let end = |why| {
            let members = group.members.iter();
            members.for_each(|member| self.hub.expel(member, why));
        };
        if heard.over {
            return 0;
        }
        if group.identity.session.is_some() {
            let now = self.identity_of_session(answer.claims.as_deref());
            match now.ok().filter(|now| now.user == group.identity.user) {
                Some(now) => {
                    for member in &group.members {
                        // A door that names a role is not theirs any more if they have another.
                        if !member.subscription.is_for(&now.claims) {
                            self.hub.expel(member, Ended::NoSession);
                        } else if now.expires_at < member.identity.expires_at {
                            self.hub.expel(member, Ended::EndsEarlier);
                        }
                    }
                    heard.claims = Some(now.claims);
                }
                None => {
                    heard.over = true;
                    end(Ended::NoSession);
                    return 0;
                }
            }
        }
        if answer.revoked {
            heard.over = true;
            end(Ended::Revoked);
            return 0;
        }
        let asked = group.rooms[part.rooms.clone()].iter();
        let lost: Vec<_> = asked.filter(|room| !answer.grants(room)).cloned().collect();
        let mut withdrawn = 0;
        if !lost.is_empty() {
            for member in &group.members {
                withdrawn += self.hub.withdraw(member, &lost, answer.version);
            }
        }
        heard.parts_left -= 1;
        let version = heard
            .version
            .map_or(answer.version, |v| v.min(answer.version));
        heard.version = Some(version);
        if heard.parts_left == 0 {
            for member in &group.members {
                self.hub.confirm(member, heard.claims.clone(), version);
            }
        }
        withdrawn
    }
}

impl Part {
    fn ask<'a>(&self, groups: &'a [Group]) -> AccessQuestion<'a> {
        let group = &groups[self.group];
        let rooms = &group.rooms[self.rooms.clone()];
        AccessQuestion {
            identity: &group.identity,
            // Nobody's room is to be judged: a rule that fails would keep an open console from its answer.
            rooms: (!rooms.is_empty()).then_some(rooms),
            // Of another database's versions nothing follows.
            version: (group.version != i64::MIN).then_some(group.version),
            again: true,
        }
    }
}

/// Those who hold the same claims, together, with all rooms that any of them is in.
fn group(stale: Vec<Member>) -> Vec<Group> {
    type Key = (Arc<str>, Option<Arc<str>>, i64);
    let mut groups: HashMap<Key, (Vec<Member>, HashSet<Arc<str>>)> = HashMap::new();
    for one in stale {
        let (claims, session) = (&one.identity.claims, &one.identity.session);
        let key = (Arc::clone(claims), session.clone(), one.version);
        let (members, rooms) = groups.entry(key).or_default();
        rooms.extend(one.subscription.rooms());
        members.push(one);
    }
    let groups = groups.into_values().filter_map(|(members, rooms)| {
        let first = members.first()?;
        Some(Group {
            identity: first.identity.clone(),
            version: first.version,
            rooms: rooms.into_iter().collect(),
            members,
        })
    });
    groups.collect()
}

/// Statements of at most `size` questions: one for each room, and one for who it is. At least one
/// part goes into each.
fn batches(groups: &[Group], size: usize) -> Vec<Vec<Part>> {
    let (mut batches, mut batch, mut questions) = (Vec::new(), Vec::new(), 0);
    for (group, of) in groups.iter().enumerate() {
        let mut from = 0;
        loop {
            let to = of.rooms.len().min(from + size);
            let weight = 1 + to - from;
            if questions + weight > size && !batch.is_empty() {
                batches.push(std::mem::take(&mut batch));
                questions = 0;
            }
            questions += weight;
            batch.push(Part {
                group,
                rooms: from..to,
            });
            from = to;
            if from == of.rooms.len() {
                break;
            }
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_asks_no_more_than_its_bound() {
        let group = |rooms: usize| Group {
            identity: Identity {
                user: None,
                expires_at: 0,
                claims: "{}".into(),
                session: None,
                as_of: i64::MAX,
            },
            version: 0,
            rooms: (0..rooms).map(|room| room.to_string().into()).collect(),
            members: Vec::new(),
        };
        for (rooms, size) in [
            (vec![0, 0, 0, 0, 0], 2),
            (vec![1, 1, 1], 4),
            (vec![25, 3, 0, 7], 10),
            (vec![3, 3], 1),
        ] {
            let groups: Vec<Group> = rooms.iter().map(|rooms| group(*rooms)).collect();
            let batches = batches(&groups, size);
            let mut asked = vec![0; groups.len()];
            for batch in &batches {
                assert!(!batch.is_empty());
                let weights = batch.iter().map(|part| part.rooms.len() + 1);
                let questions: usize = weights.sum();
                assert!(
                    questions <= size || batch.len() == 1,
                    "{rooms:?}: {batches:?}"
                );
                assert!(batch.iter().all(|part| part.rooms.len() <= size));
                for part in batch {
                    assert_eq!(
                        part.rooms.start, asked[part.group],
                        "none left out, none twice"
                    );
                    asked[part.group] = part.rooms.end;
                }
            }
            assert_eq!(asked, rooms, "{batches:?}");
            let mentioned: HashSet<usize> = batches.iter().flatten().map(|p| p.group).collect();
            assert_eq!(
                mentioned.len(),
                groups.len(),
                "who is in no room is asked for too"
            );
        }
    }
}

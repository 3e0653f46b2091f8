//! Who is connected, as whom, and under which version of rules and revocations they were let in.
//! Hands whoever was revoked to their end at once, and whoever may have lost rooms to whoever asks.
//! It must never count somebody as confirmed for rooms that were joined after the question.

use super::access::{Access, Concern};
use super::memory::Memory;
use super::{Ended, Subscription};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Somebody who has proved who they are.
#[derive(Clone)]
pub struct Identity {
    /// The claim `sub`.
    pub user: Option<String>,
    /// Unix seconds.
    pub expires_at: u64,
    /// JSON text, for SQL.
    pub claims: Arc<str>,
    /// The cookies that were exchanged for these claims, as JSON text, to be exchanged again.
    pub session: Option<Arc<str>>,
    /// The version of rules and revocations under which they were exchanged: what is granted to these
    /// claims is no newer. A token's claims are those of every version, and have the highest.
    pub as_of: i64,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Claims are the user's business, and a session is as good as a password.
        f.debug_struct("Identity")
            .field("user", &self.user)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Somebody who is connected; a copy says who they were when the rules were asked again.
#[derive(Clone, Debug)]
pub struct Member {
    pub subscription: Arc<Subscription>,
    pub identity: Identity,
    /// Of rules and revocations, under which they were let in.
    pub version: i64,
    /// Counts joins and renewals, of which an answer to an earlier question can't know.
    joins: u64,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    /// The version that the listener saw last.
    known: i64,
    members: HashMap<u64, Member>,
    pub memory: Memory,
}

impl Roster {
    pub fn known(&self) -> i64 {
        self.known
    }

    /// Puts somebody on the list; true if their answer is older than what is known by now.
    pub fn enter(
        &mut self,
        subscription: &Arc<Subscription>,
        identity: Identity,
        version: i64,
    ) -> bool {
        let member = Member {
            subscription: Arc::clone(subscription),
            identity,
            version,
            joins: 0,
        };
        self.members.insert(subscription.id, member);
        version < self.known
    }

    pub fn leave(&mut self, id: u64) {
        self.members.remove(&id);
    }

    pub fn standing(&self, id: u64) -> Option<(Identity, i64)> {
        let member = self.members.get(&id)?;
        Some((member.identity.clone(), member.version))
    }

    /// Somebody joined rooms that were allowed under this version; true if that is an old one.
    pub fn joined(&mut self, id: u64, version: i64) -> bool {
        let known = self.known;
        self.members.get_mut(&id).is_some_and(|member| {
            member.joins += 1;
            if member.version == i64::MIN {
                // It may have been admitted by the database that was replaced.
                member.subscription.distrust();
            }
            member.version = member.version.min(version);
            member.version < known
        })
    }

    /// Somebody proved anew who they are, and all their rooms were asked for under this version.
    pub fn renew(&mut self, id: u64, identity: Identity, version: i64) -> bool {
        let known = self.known;
        self.members.get_mut(&id).is_some_and(|member| {
            member.joins += 1;
            (member.identity, member.version) = (identity, version);
            version < known
        })
    }

    /// Takes what has changed since the version that was known: ends the connections of revoked
    /// users; true if others have to be asked for.
    pub fn change(&mut self, access: &Access) -> bool {
        let before = std::mem::replace(&mut self.known, access.version);
        let mut stale = false;
        for member in self.members.values_mut() {
            let user = member.identity.user.as_deref();
            match access.concern(user, member.version, before) {
                Concern::Nothing => {}
                Concern::Confirmed => member.version = access.version,
                Concern::Revoked => member.subscription.end(Ended::Revoked),
                Concern::Unclear => {
                    stale = true;
                    if access.version < before {
                        // Another database: its versions and those before can't be compared.
                        member.version = i64::MIN;
                        member.subscription.distrust();
                    }
                }
            }
        }
        self.memory.change(access, before);
        stale
    }

    pub fn everybody(&self) -> impl Iterator<Item = Arc<Subscription>> {
        self.members
            .values()
            .map(|member| Arc::clone(&member.subscription))
    }

    /// Everybody whose answer is older than what is known.
    pub fn stale(&self) -> Vec<Member> {
        let is_stale =
            |member: &&Member| member.version < self.known && member.subscription.over().is_none();
        self.members.values().filter(is_stale).cloned().collect()
    }

    /// Whether somebody is still here as whom it was asked, and not with another token.
    pub fn is_as_asked(&self, asked: &Member) -> bool {
        let member = self.members.get(&asked.subscription.id);
        member.is_some_and(|member| Arc::ptr_eq(&member.identity.claims, &asked.identity.claims))
    }

    /// Somebody's rooms were asked for under this version. What they joined meanwhile was not.
    pub fn confirm(&mut self, asked: &Member, claims: Option<Arc<str>>, version: i64) {
        let member = self.members.get_mut(&asked.subscription.id);
        let Some(member) = member.filter(|member| member.joins == asked.joins) else {
            return;
        };
        member.version = version;
        if let Some(claims) = claims {
            (member.identity.claims, member.identity.as_of) = (claims, version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::tests::{LIMITS, hub};
    use crate::hub::{Admission, Hub, Since};
    use futures_util::FutureExt;
    use std::time::Instant;

    fn identity(user: &str) -> Identity {
        Identity {
            user: (!user.is_empty()).then(|| user.to_owned()),
            expires_at: u64::MAX,
            claims: "{}".into(),
            session: None,
            as_of: i64::MAX,
        }
    }

    fn enter(hub: &Hub, user: &str, version: i64) -> Arc<Subscription> {
        let subscription = hub.open();
        hub.enter(&subscription, identity(user), version);
        hub.join(&subscription, &["a".into()], Since::Now, None, version);
        subscription
    }

    fn change(hub: &Hub, version: i64, rules: i64, revoked: &[(&str, i64)]) {
        let revoked = revoked.iter();
        let revoked = revoked
            .map(|(user, at)| ((*user).to_owned(), *at))
            .collect();
        hub.access_changed(&Access {
            version,
            rules,
            revoked,
        });
    }

    #[test]
    fn a_revoked_user_ends_and_nobody_else_is_asked_for() {
        let hub = hub(LIMITS);
        change(&hub, 5, 0, &[]);
        let (old, other, nobody) = (enter(&hub, "1", 5), enter(&hub, "2", 5), enter(&hub, "", 5));
        // Came back with a new token before the listener saw either of these.
        let back = enter(&hub, "1", 6);
        change(&hub, 7, 4, &[("1", 6), ("9", 7)]);
        assert_eq!(old.over(), Some(Ended::Revoked));
        for alive in [&other, &nobody, &back] {
            assert_eq!(alive.over(), None);
        }
        assert!(hub.stale().is_empty());
    }

    /// Whoever is in no room has nothing else that would have them asked for, until the rules change again.
    #[test]
    fn who_comes_in_by_an_older_verdict_is_asked_for_at_once() {
        let hub = hub(LIMITS);
        change(&hub, 5, 5, &[]);
        let noticed = || hub.stale_noticed().now_or_never().is_some();
        let somebody = hub.open();
        hub.enter(&somebody, identity("1"), 5);
        hub.renew(&somebody, identity("1"), 5);
        hub.join(&somebody, &["a".into()], Since::Now, None, 5);
        assert!(!noticed());
        hub.enter(&hub.open(), identity("2"), 4);
        assert!(noticed());
        hub.renew(&somebody, identity("1"), 4);
        assert!(noticed());
        hub.renew(&somebody, identity("1"), 5);
        hub.join(&somebody, &["b".into()], Since::Now, None, 4);
        assert!(noticed());
    }

    #[test]
    fn a_change_of_rules_asks_for_those_who_came_before_it() {
        let hub = hub(LIMITS);
        change(&hub, 5, 0, &[]);
        let (old, new) = (enter(&hub, "1", 5), enter(&hub, "2", 6));
        change(&hub, 6, 6, &[]);
        let stale = hub.stale();
        assert_eq!(stale.len(), 1);
        assert_eq!(stale[0].subscription.id, old.id);
        hub.confirm(&stale[0], None, 6);
        assert!(hub.stale().is_empty());
        // Later, a revocation of somebody else confirms both.
        change(&hub, 7, 6, &[("9", 7)]);
        assert!(hub.stale().is_empty() && new.over().is_none());
    }

    /// It came back to what the rules before had granted, for as long as a poller is remembered.
    #[test]
    fn what_older_rules_have_answered_is_not_kept_for_who_polls() {
        let hub = hub(LIMITS);
        change(&hub, 6, 6, &[]);
        let now = Instant::now();
        let asker = |who: &str| (Arc::from(who), vec!["a".to_owned()]);
        for (version, kept) in [(5, false), (6, true), (7, true)] {
            let admission = Admission {
                user: None,
                rooms: vec!["a".into()],
                home: 0,
                refused: Vec::new(),
                version,
            };
            let asker = asker(&version.to_string());
            hub.remember(asker.clone(), admission, now);
            assert_eq!(hub.recall(&asker, now).is_some(), kept, "{version}");
        }
    }

    #[test]
    fn who_was_let_in_before_and_enters_after_a_change_is_asked_for() {
        let hub = hub(LIMITS);
        change(&hub, 6, 6, &[]);
        let late = enter(&hub, "1", 5);
        assert_eq!(hub.stale().len(), 1);
        late.close();
        assert!(hub.stale().is_empty(), "who has left is not");
    }

    #[test]
    fn a_room_that_was_joined_after_the_question_is_not_confirmed_by_its_answer() {
        let hub = hub(LIMITS);
        change(&hub, 5, 0, &[]);
        let subscription = enter(&hub, "1", 5);
        change(&hub, 6, 6, &[]);
        let asked = hub.stale();
        // Allowed under the old rules, joined now.
        hub.join(&subscription, &["b".into()], Since::Now, None, 5);
        hub.confirm(&asked[0], None, 6);
        assert_eq!(hub.stale().len(), 1);
    }

    #[test]
    fn an_older_database_in_its_place_asks_for_everybody() {
        let hub = hub(LIMITS);
        change(&hub, 9, 3, &[]);
        let _here = enter(&hub, "1", 9);
        change(&hub, 4, 3, &[]);
        assert_eq!(hub.stale().len(), 1);
        hub.confirm(&hub.stale()[0], None, 4);
        assert!(hub.stale().is_empty());
    }

    /// For which rooms an answer under this version, that grants none, is obeyed.
    fn withdraw(hub: &Hub, asked: &Member, version: i64) -> usize {
        hub.withdraw(asked, &["a".into(), "b".into()], version)
    }

    /// It stayed away from a room that was its own again: the next question asks only for those it is in.
    #[test]
    fn an_answer_takes_no_room_that_was_granted_behind_its_question() {
        let hub = hub(LIMITS);
        change(&hub, 5, 0, &[]);
        let one = enter(&hub, "1", 5);
        change(&hub, 6, 6, &[]);
        let asked = hub.stale();
        change(&hub, 7, 7, &[]);
        // It is still in the one, and comes into the other.
        hub.join(&one, &["a".into(), "b".into()], Since::Now, None, 7);
        assert_eq!(withdraw(&hub, &asked[0], 6), 0);
        assert_eq!(one.count_rooms(), 2);
        // What is asked behind that counts.
        hub.confirm(&asked[0], None, 6);
        assert_eq!(withdraw(&hub, &hub.stale()[0], 7), 2);
        assert_eq!(one.count_rooms(), 0);
    }

    #[test]
    fn who_subscribes_without_end_loses_its_rooms_all_the_same() {
        let hub = hub(LIMITS);
        change(&hub, 5, 0, &[]);
        let one = enter(&hub, "1", 5);
        change(&hub, 6, 6, &[]);
        let asked = hub.stale();
        for under in [5, 6] {
            let rooms = ["a".into(), "b".into()];
            hub.join(&one, &rooms, Since::Now, None, under);
            assert_eq!(withdraw(&hub, &asked[0], 6), 2, "{under}");
        }
    }

    #[test]
    fn an_answer_for_old_claims_says_nothing_of_who_has_renewed() {
        let hub = hub(LIMITS);
        change(&hub, 5, 0, &[]);
        let (one, two) = (enter(&hub, "1", 5), enter(&hub, "2", 5));
        change(&hub, 6, 6, &[]);
        let mut asked = hub.stale();
        asked.sort_by_key(|stale| stale.subscription.id);
        let identity = Identity {
            claims: "{}".into(),
            ..asked[0].identity.clone()
        };
        // Under old rules: it is asked for again, as whom it is now.
        hub.renew(&one, identity, 5);
        for (stale, lost) in asked.iter().zip([0, 1]) {
            assert_eq!(withdraw(&hub, stale, 6), lost);
            hub.confirm(stale, None, 6);
            hub.expel(stale, Ended::NoSession);
        }
        assert_eq!((one.over(), one.count_rooms()), (None, 1));
        assert_eq!(two.over(), Some(Ended::NoSession));
        let again = hub.stale();
        assert_eq!((again.len(), withdraw(&hub, &again[0], 6)), (1, 1));
    }

    /// Its versions are lower, and its answers are the later ones all the same.
    #[test]
    fn what_a_replaced_database_granted_is_taken_by_the_next_ones_answers() {
        let hub = hub(LIMITS);
        change(&hub, 9, 9, &[]);
        let one = enter(&hub, "1", 9);
        change(&hub, 4, 3, &[]);
        // Admitted by the one before, and late.
        hub.join(&one, &["b".into()], Since::Now, None, 9);
        hub.confirm(&hub.stale()[0], None, 4);
        change(&hub, 5, 5, &[]);
        assert_eq!(withdraw(&hub, &hub.stale()[0], 5), 2);
    }

    #[test]
    fn what_a_replaced_database_had_granted_before_is_taken_too() {
        let hub = hub(LIMITS);
        change(&hub, 9, 9, &[]);
        let _one = enter(&hub, "1", 9);
        change(&hub, 4, 3, &[]);
        assert_eq!(withdraw(&hub, &hub.stale()[0], 4), 1);
    }

    /// It was let in before a revocation of its own, of which the next change does not tell once more.
    #[test]
    fn who_missed_a_change_is_not_confirmed_by_the_next() {
        let hub = hub(LIMITS);
        change(&hub, 7, 0, &[("1", 6)]);
        let _late = enter(&hub, "1", 5);
        change(&hub, 8, 0, &[("9", 8)]);
        assert_eq!(hub.stale().len(), 1);
    }

    #[test]
    fn nothing_of_a_withdrawn_room_may_be_written_any_more() {
        let hub = hub(LIMITS);
        let subscription = enter(&hub, "1", 0);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        hub.join(&subscription, &[Arc::clone(&b)], Since::Now, None, 0);
        let lost = [Arc::clone(&a), "c".into()];
        hub.take_away(&subscription, &lost);
        assert_eq!(subscription.take_withdrawn(), lost[..1]);
        assert!(!subscription.may_hear(&[Arc::clone(&a)]));
        assert!(subscription.may_hear(&[Arc::clone(&a), Arc::clone(&b)]));
        assert!(subscription.may_hear(&["*".into()]));
        // Nor of its replay what is also for a room that was joined later.
        let both = [Arc::clone(&a), Arc::clone(&b)];
        assert!(!subscription.may_hear_of(&both[..1], &both));
        assert!(subscription.may_hear_of(&both[1..], &both));
        assert_eq!(subscription.not_withdrawn(vec![a, Arc::clone(&b)]), [b]);
    }
}

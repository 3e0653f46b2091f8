//! Whom the hub knows: who is let in as whom, and what a change of rules or revocations means.
//! Hands the roster what admission has found out, and whoever asks again those who are stale.
//! It must never take the roster's lock under the table's: delivery would wait for a look at everybody.

use super::access::Access;
use super::admission::Admission;
use super::memory::Asker;
use super::roster::{Identity, Member, Roster};
use super::{Ended, Hub, Subscription};
use std::sync::Arc;
use std::time::Instant;

impl Hub {
    /// Says who a subscription belongs to, and under which version they were let in. Before the
    /// first join.
    pub fn enter(&self, subscription: &Arc<Subscription>, identity: Identity, version: i64) {
        self.judge(|roster| roster.enter(subscription, identity, version));
    }

    /// As whom a subscription is to be judged now.
    #[must_use]
    pub fn identity(&self, subscription: &Subscription) -> Option<Identity> {
        self.standing(subscription).map(|(identity, _)| identity)
    }

    /// The same, and under which version they were let in.
    #[must_use]
    pub fn standing(&self, subscription: &Subscription) -> Option<(Identity, i64)> {
        self.0.roster.lock().standing(subscription.id)
    }

    /// Somebody brought a new token: all their rooms were admitted under this version.
    pub fn renew(&self, subscription: &Subscription, identity: Identity, version: i64) {
        self.judge(|roster| roster.renew(subscription.id, identity, version));
    }

    /// Keeps what somebody was admitted to, unless rules or revocations have changed meanwhile.
    pub fn remember(&self, asker: Asker, admission: Admission, now: Instant) {
        let bounds = (self.0.limits.memory_bytes, self.0.limits.memory_age);
        let mut roster = self.0.roster.lock();
        if admission.version >= roster.known() {
            roster.memory.keep(asker, admission, bounds, now);
        }
    }

    /// What somebody was admitted to a moment ago, if that still holds.
    #[must_use]
    pub fn recall(&self, asker: &Asker, now: Instant) -> Option<Admission> {
        let age = self.0.limits.memory_age;
        self.0.roster.lock().memory.recall(asker, age, now)
    }

    /// The version of rules and revocations that the listener saw last.
    #[must_use]
    pub fn access_known(&self) -> i64 {
        self.0.roster.lock().known()
    }

    /// Takes a change of rules or revocations: connections of revoked users end here and now.
    pub fn access_changed(&self, access: &Access) {
        self.judge(|roster| roster.change(access));
    }

    /// Changes the roster, and has it noticed if somebody is stale by that.
    pub(super) fn judge(&self, change: impl FnOnce(&mut Roster) -> bool) {
        if change(&mut self.0.roster.lock()) {
            self.0.stale.notify_one();
        }
    }

    /// Ends when somebody has to be asked for.
    pub async fn stale_noticed(&self) {
        self.0.stale.notified().await;
    }

    /// Those whose rooms have to be asked for.
    #[must_use]
    pub fn stale(&self) -> Vec<Member> {
        self.0.roster.lock().stale()
    }

    /// Takes rooms from somebody that an answer under this version does not grant, for their
    /// writer to tell; returns how many. The answer may be old by now, and takes nothing granted behind it:
    ///
    /// - Who has renewed since the question is somebody else. All their rooms were admitted as that, and if
    ///   it was under old rules, they are stale and asked for again.
    /// - A room that was granted under a higher version stays. Versions are committed one after another, so
    ///   that grant was read in a later snapshot, and knows all that this answer knows. Who joins under the
    ///   same or a lower one, however often, loses it: nobody can tell which of the two was read first.
    ///   Versions of a database that another has replaced count for nothing: the roster has them forgotten.
    ///
    /// Neither a renewal nor a joining comes in between: both locks are held until all of it is done.
    pub fn withdraw(&self, asked: &Member, rooms: &[Arc<str>], version: i64) -> usize {
        let roster = self.0.roster.lock();
        if !roster.is_as_asked(asked) {
            return 0;
        }
        let subscription = &asked.subscription;
        let mut table = self.0.table.lock();
        let lost = subscription.granted_until(version, rooms);
        let left = table.take_away(subscription, &lost);
        drop(table);
        subscription.wake();
        left.len()
    }

    /// Ends somebody by what was answered of who they were at the question; nobody who has renewed since.
    pub fn expel(&self, asked: &Member, why: Ended) {
        let roster = self.0.roster.lock();
        if roster.is_as_asked(asked) {
            asked.subscription.end(why);
        }
    }

    /// Notes that somebody's rooms were asked for under this version, perhaps with new claims.
    pub fn confirm(&self, asked: &Member, claims: Option<Arc<str>>, version: i64) {
        self.0.roster.lock().confirm(asked, claims, version);
    }
}

//! Whom the hub knows: who is let in as whom, and what a change of rules or revocations means.
//! Hands the roster what admission has found out, and whoever asks again those who are stale.
//! It must never hold the roster's lock while it waits.

use super::access::Access;
use super::admission::Admission;
use super::memory::Asker;
use super::roster::{Identity, Stale};
use super::{Hub, Subscription};
use std::sync::Arc;
use std::time::Instant;

impl Hub {
    /// Says who a subscription belongs to, and under which version they were let in. Before the
    /// first join.
    pub fn enter(&self, subscription: &Arc<Subscription>, identity: Identity, version: i64) {
        if self.0.roster.lock().enter(subscription, identity, version) {
            self.0.stale.notify_one();
        }
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
        if self
            .0
            .roster
            .lock()
            .renew(subscription.id, identity, version)
        {
            self.0.stale.notify_one();
        }
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
        if self.0.roster.lock().change(access) {
            self.0.stale.notify_one();
        }
    }

    /// Ends when somebody has to be asked for.
    pub async fn stale_noticed(&self) {
        self.0.stale.notified().await;
    }

    /// Those whose rooms have to be asked for.
    #[must_use]
    pub fn stale(&self) -> Vec<Stale> {
        self.0.roster.lock().stale()
    }

    /// Notes that somebody's rooms were asked for under this version, perhaps with new claims.
    pub fn confirm(&self, stale: &Stale, claims: Option<Arc<str>>, version: i64) {
        self.0.roster.lock().confirm(stale, claims, version);
    }
}

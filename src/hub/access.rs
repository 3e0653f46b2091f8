//! How rules and revocations stand, and what a change of them means for whoever was let in before.
//! Hands its judgement over to the roster and the memory. It must never call anything unchanged
//! that it can't prove to be.

use std::collections::HashMap;

/// How rules and revocations stand in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Counts every change.
    pub version: i64,
    /// The version of the last change of rules.
    pub rules: i64,
    /// Users revoked since the version that was asked from, each with the version that did it.
    pub revoked: HashMap<String, i64>,
}

/// What a change means for somebody who was let in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// They were let in under this version, or a later one.
    Nothing,
    /// What has changed is not about them: what they were let in under holds under this version.
    Confirmed,
    Revoked,
    /// They have to be asked for again.
    Unclear,
}

impl Access {
    /// What this means for a user who was let in under a version; `before` is the one that was
    /// known until now.
    pub(super) fn concern(&self, user: Option<&str>, version: i64, before: i64) -> Concern {
        // Another database, or an older one, in the place of the one we knew: nothing holds.
        let is_other = self.version < before;
        let version = if is_other { i64::MIN } else { version };
        let revoked = user.and_then(|user| self.revoked.get(user));
        if !is_other && version >= self.version {
            Concern::Nothing
        } else if revoked.is_some_and(|at| *at > version) {
            // Let in before it: the token is older, whatever it says of itself.
            Concern::Revoked
        } else if version >= before.max(self.rules) {
            Concern::Confirmed
        } else {
            Concern::Unclear
        }
    }
}

//! Who may look: the same tokens as everywhere, and a claim besides.
//! Hands over what a stream needs to live no longer than its visitor may.
//! It must never let anybody in as nobody, and never leave a stream open for a token that has ended.

use super::Console;
use crate::clock::until;
use crate::connection::cut::{Cut, Watch};
use crate::connection::visit::Visit;
use crate::connection::{Refusal, answer};
use crate::hub::{Delivery, Identity, Subscription};
use crate::report;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::reply::Response;

/// How long the database may take to say whether a visitor was revoked: where it is away, the
/// console is needed most.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why nobody gets in.
pub enum Closed {
    Refused(Refusal),
    /// Somebody, but without the claim.
    Forbidden,
}

impl From<Refusal> for Closed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A stream that is open. It takes no seat among the connections, but has a subscription: so that
/// it ends as all others do.
pub struct Open {
    pub subscription: Arc<Subscription>,
    /// Unix seconds.
    pub expires_at: u64,
    _watch: Watch,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.subscription.close();
    }
}

impl Open {
    /// What is queued, or why the stream ends. It doesn't wait for [`Subscription::ended`], which wakes
    /// a single waiter: the watch that cuts a stuck stream.
    pub async fn take(&self) -> Result<VecDeque<Delivery>, Refusal> {
        tokio::select! {
            taken = self.subscription.take() => taken.map_err(Refusal::from),
            () = until(self.expires_at) => Err(Refusal::Expired),
        }
    }
}

impl Console {
    /// Lets a visitor open a stream, if `seats` has one left.
    pub(super) async fn enter(
        &self,
        visit: &Visit,
        cut: Cut,
        seats: &Arc<Semaphore>,
    ) -> Result<Open, Closed> {
        let (identity, version) = self.identify(visit).await?;
        let permit = Arc::clone(seats).try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::TooMany)?;
        let subscription = self.gate.hub.open();
        let expires_at = identity.expires_at;
        // A session may lose the claim while its stream is open.
        let settings = &self.gate.settings.console;
        let (claim, value) = (settings.claim.clone(), settings.value.clone());
        subscription.reserve(move |claims| holds(claims, &claim, &value));
        self.gate.hub.enter(&subscription, identity, version);
        Ok(Open {
            // The body ends by itself while its socket takes bytes; one that is stuck is cut.
            _watch: cut.watch(&subscription, expires_at),
            subscription,
            expires_at,
            _permit: permit,
        })
    }

    /// Who it is, and under which version of revocations that was asked.
    pub(super) async fn identify(&self, visit: &Visit) -> Result<(Identity, i64), Closed> {
        let identity = self.gate.identify(visit).await?;
        if identity.expires_at == u64::MAX {
            // Only anonymous claims last for ever, and they identify nobody.
            return Err(Refusal::NoToken.into());
        }
        let settings = &self.gate.settings.console;
        if !holds(&identity.claims, &settings.claim, &settings.value) {
            return Err(Closed::Forbidden);
        }
        let asked = self.gate.confirm(&identity);
        let version = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(version)) => version,
            // Let in all the same, and asked for again until there is an answer: nobody has said yet that
            // they were not revoked long ago.
            Ok(Err(Refusal::DatabaseAway | Refusal::RuleFailed)) | Err(_) => i64::MIN,
            Ok(Err(refusal)) => return Err(refusal.into()),
        };
        Ok((identity, version))
    }

    /// Turns a visitor away.
    pub(super) fn refuse(&self, visit: &Visit, why: &Closed) -> Response {
        let (word, detail) = match why {
            Closed::Refused(refusal) => (refusal.word(), refusal.to_string()),
            Closed::Forbidden => ("forbidden", "without the claim of the console".to_owned()),
        };
        report::refused("console", word, &detail, &visit.shown(&self.gate));
        match why {
            Closed::Refused(refusal) => self.gate.refuse(*refusal),
            Closed::Forbidden => {
                let settings = &self.gate.settings.console;
                let message = format!(
                    "the console needs a token with the claim {}",
                    settings.claim
                );
                answer::error(403, word, &message)
            }
        }
    }
}

/// Whether these claims (JSON text) have this value: under the name as it stands, or where the name
/// leads by its dots.
fn holds(claims: &str, name: &str, value: &str) -> bool {
    let Ok(claims) = serde_json::from_str::<Value>(claims) else {
        return false;
    };
    let by_path = || {
        name.split('.')
            .try_fold(&claims, |inner, key| inner.get(key))
    };
    match claims.get(name).or_else(by_path) {
        Some(Value::Array(list)) => list.iter().any(|one| is(one, value)),
        Some(one) => is(one, value),
        None => false,
    }
}

fn is(found: &Value, value: &str) -> bool {
    match found {
        Value::String(text) => text == value,
        Value::Bool(_) | Value::Number(_) => {
            serde_json::from_str::<Value>(value).is_ok_and(|value| value == *found)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn a_claim_is_found_by_name_and_by_path() {
        let claims = r#"{"role":"admin","https://a.b/c":"x","realm_access":{"roles":["u","ops"]},
            "is_admin":true,"level":9,"odd":{"admin":1},"none":null}"#;
        for (name, value) in [
            ("role", "admin"),
            ("https://a.b/c", "x"),
            ("realm_access.roles", "ops"),
            ("is_admin", "true"),
            ("level", "9"),
        ] {
            assert!(holds(claims, name, value), "{name}");
        }
        for (name, value) in [
            ("role", "adm"),
            ("role", "Admin"),
            ("realm_access.roles", "op"),
            ("realm_access", "ops"),
            ("missing", "admin"),
            ("odd", "admin"),
            ("none", "null"),
            ("role.x", "admin"),
        ] {
            assert!(!holds(claims, name, value), "{name} {value}");
        }
        assert!(!holds("[]", "role", "admin") && !holds("", "role", ""));
    }
}

//! Tokens that were found genuine a moment ago: whoever comes back with one is not verified again.
//! Hands their claims to the verifier. It must never hold a token that was not verified, nor the text
//! of one, nor believe one longer than its claims and its keys hold.

use super::Claims;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// What claims take in memory, for each byte of their token's text, and what surrounds them.
const WEIGHT: (usize, usize) = (6, 300);

/// By a hash of the whole token, signature included, that nobody can make two tokens for.
type Hash = [u8; 32];

pub(super) struct TokenCache {
    /// Bytes that may be kept.
    most: usize,
    /// For how many seconds.
    age: u64,
    kept: Mutex<Kept>,
}

/// Two halves: when the young one is full, the old one goes.
#[derive(Default)]
struct Kept {
    young: HashMap<Hash, Found>,
    old: HashMap<Hash, Found>,
    /// Bytes of the young.
    bytes: usize,
}

struct Found {
    claims: Arc<Claims>,
    /// Counts changes of the keys.
    keys: u64,
    /// When it was verified, in Unix seconds.
    at: u64,
}

impl TokenCache {
    /// `most` bytes, each token for `age` seconds.
    pub(super) fn new(most: usize, age: u64) -> Self {
        let kept = Mutex::default();
        Self { most, age, kept }
    }

    /// The claims of a token that was verified by these keys and holds at `now`. Time may have passed
    /// since, which makes no token hold that did not; a clock that was set back has it verified again.
    pub(super) fn find(&self, token: &str, keys: u64, now: u64) -> Option<Arc<Claims>> {
        if self.most == 0 {
            return None;
        }
        let hash: Hash = Sha256::digest(token).into();
        let kept = self.kept.lock();
        let found = kept.young.get(&hash).or_else(|| kept.old.get(&hash))?;
        let is_fresh = found.keys == keys && (found.at..found.at + self.age).contains(&now);
        (is_fresh && now < found.claims.expires_at).then(|| Arc::clone(&found.claims))
    }

    /// Keeps what was verified at `at` by these keys.
    pub(super) fn keep(&self, token: &str, claims: &Arc<Claims>, keys: u64, at: u64) {
        let bytes = token.len() * WEIGHT.0 + WEIGHT.1;
        let half = self.most / 2;
        if bytes > half {
            return;
        }
        let found = Found {
            claims: Arc::clone(claims),
            keys,
            at,
        };
        let mut kept = self.kept.lock();
        if kept.bytes + bytes > half {
            kept.old = std::mem::take(&mut kept.young);
            kept.bytes = 0;
        }
        let hash = Sha256::digest(token).into();
        if kept.young.insert(hash, found).is_none() {
            kept.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::sample::{NOW, claims};

    fn genuine(expires_at: u64) -> Arc<Claims> {
        Arc::new(Claims {
            subject: None,
            expires_at,
            json: claims(),
        })
    }

    #[test]
    fn a_token_is_known_for_as_long_as_its_claims_its_keys_and_its_age() {
        let known = TokenCache::new(10_000, 300);
        known.keep("a.b.c", &genuine(NOW + 200), 1, NOW);
        known.keep("a.b.d", &genuine(NOW + 900), 1, NOW);
        for (token, keys, now, is_known) in [
            ("a.b.c", 1, NOW, true),
            ("a.b.c", 1, NOW + 199, true),
            ("a.b.c", 1, NOW + 200, false),
            ("a.b.d", 1, NOW + 299, true),
            ("a.b.d", 1, NOW + 300, false),
            // Verified anew: by then it may not be valid yet.
            ("a.b.d", 1, NOW - 1, false),
            ("a.b.d", 2, NOW, false),
            ("a.b.", 1, NOW, false),
            ("a.b.e", 1, NOW, false),
        ] {
            let found = known.find(token, keys, now).is_some();
            assert_eq!(found, is_known, "{token} by keys {keys} at {now}");
        }
    }

    #[test]
    fn what_is_kept_has_a_bound_and_the_youngest_stay() {
        let known = TokenCache::new(10_000, 300);
        for number in 0..1000 {
            known.keep(&format!("token {number}"), &genuine(NOW + 9), 0, NOW);
            let kept = known.kept.lock();
            assert!(kept.bytes <= 5000 && kept.young.len() + kept.old.len() <= 30);
        }
        assert!(known.find("token 999", 0, NOW).is_some());
        assert!(known.find("token 990", 0, NOW).is_some());
        assert!(known.find("token 1", 0, NOW).is_none());
        // One that takes it all is verified each time.
        let long = "x".repeat(2000);
        known.keep(&long, &genuine(NOW + 9), 0, NOW);
        assert!(known.find(&long, 0, NOW).is_none());
        let none = TokenCache::new(0, 300);
        none.keep("token", &genuine(NOW + 9), 0, NOW);
        assert!(none.find("token", 0, NOW).is_none());
    }
}

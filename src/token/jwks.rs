//! A set of public keys that its issuer rotates: which key a token names, and when to look again.
//! Hands the payload of a genuine token to the verifier, and a look that failed to whoever asked for it.
//! It must never look more often than its pause allows, nor give up keys at hand for an answer that is none.

use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::Header;
use serde_json::Value;

use super::fetch::Source;
use super::keys::{self, Key};
use super::{TokenError, VerifierError};

/// Seconds between two looks at the JWKS, however many tokens name unknown keys: anybody can write
/// those.
pub(super) const REFRESH_PAUSE_S: u64 = 10;

/// A JWKS with what is known of it now; all times are Unix seconds as passed in.
pub(super) struct KeySet {
    source: Source,
    every: u64,
    keys: RwLock<Vec<Key>>,
    /// Counts the sets that were read.
    changes: AtomicU64,
    looks: Mutex<Looks>,
    /// Held during a look, so that a rush of tokens makes one request.
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Looks {
    tried: Option<u64>,
    succeeded: Option<u64>,
    /// A token named a key that was not there.
    wanted: bool,
}

impl KeySet {
    /// Reads a file; a set behind a URL is empty until the first look. `every` is in seconds.
    pub(super) fn open(jwks: &str, every: u64) -> Result<KeySet, VerifierError> {
        let source = Source::new(jwks)?;
        let keys = match source.at_once()? {
            Some(text) => usable(&source, &text)?,
            None => Vec::new(),
        };
        Ok(KeySet {
            source,
            every,
            keys: RwLock::new(keys),
            changes: AtomicU64::new(0),
            looks: Mutex::default(),
            looking: Arc::default(),
        })
    }

    /// The payload, if the key that the header names signed it.
    pub(super) fn payload(&self, token: &str, header: &Header) -> Result<Value, TokenError> {
        let keys = self.keys.read();
        let named: Vec<&Key> = match &header.kid {
            Some(kid) => keys
                .iter()
                .filter(|key| key.id.as_ref() == Some(kid))
                .collect(),
            // Without a name only the one key it can be is tried: no guessing through a set.
            None => {
                let able: Vec<&Key> = keys.iter().filter(|key| key.suits(header.alg)).collect();
                if able.len() == 1 { able } else { Vec::new() }
            }
        };
        if named.is_empty() {
            self.looks.lock().wanted = true;
            return Err(TokenError::UnknownKey);
        }
        keys::payload(named, token, header.alg)
    }

    /// How many sets were read so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether it is time to look, or a token wants it, and the last look is not a moment ago.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let looks = self.looks.lock();
        // A clock set back makes a look due rather than putting it off.
        let passed = |since: Option<u64>, pause: u64| {
            since.is_none_or(|since| now < since || now - since >= pause)
        };
        let due = looks.wanted || passed(looks.succeeded, self.every);
        due && passed(looks.tried, REFRESH_PAUSE_S.min(self.every))
    }

    /// Looks if that is due, or waits for the look under way; after an error the keys at hand go on
    /// to count. The look goes on without whoever asked for it: anybody can ask, and hang up.
    pub(super) async fn refresh(self: &Arc<Self>, now: u64) -> Result<(), VerifierError> {
        let looking = Arc::clone(&self.looking).lock_owned().await;
        // Whoever waited here finds the work done.
        if !self.is_due(now) {
            return Ok(());
        }
        self.looks.lock().tried = Some(now);
        let set = Arc::clone(self);
        let look = tokio::spawn(async move {
            let _looking = looking;
            set.look(now).await
        });
        look.await.unwrap_or_else(|error| {
            let name = self.source.name.clone();
            Err(VerifierError::Fetch(name, error.to_string()))
        })
    }

    async fn look(&self, now: u64) -> Result<(), VerifierError> {
        let keys = usable(&self.source, &self.source.read().await?)?;
        let mut known = self.keys.write();
        *known = keys;
        // Under the lock: whoever has seen the new number uses the new keys.
        self.changes.fetch_add(1, Ordering::Release);
        drop(known);
        let mut looks = self.looks.lock();
        looks.succeeded = Some(now);
        looks.wanted = false;
        Ok(())
    }
}

fn usable(source: &Source, text: &[u8]) -> Result<Vec<Key>, VerifierError> {
    Key::set(text).map_err(|reason| VerifierError::Unusable(source.name.clone(), reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::sample::*;
    use jsonwebtoken::{Algorithm, EncodingKey};

    #[test]
    fn without_a_kid_only_a_sole_key_is_tried() {
        let set = file(&jwks(&[
            member(P256_PUBLIC, Some("a")),
            member(ED25519_PUBLIC, None),
        ]));
        let verifier = by_jwks(set.path().to_str().unwrap()).unwrap();
        assert!(verifier.verify(&token(Algorithm::ES256, None), NOW).is_ok());
        assert!(verifier.verify(&token(Algorithm::EdDSA, None), NOW).is_ok());
        let two = file(&jwks(&[
            member(P256_PUBLIC, Some("a")),
            member(P256_PUBLIC, Some("b")),
        ]));
        let verifier = by_jwks(two.path().to_str().unwrap()).unwrap();
        assert_eq!(
            refused(&verifier, &token(Algorithm::ES256, None)),
            TokenError::UnknownKey
        );
    }

    #[tokio::test]
    async fn a_rotated_jwks_is_read_at_once_but_not_at_will() {
        let set = file(&jwks(&[member(RSA_PUBLIC, Some("old"))]));
        let verifier = by_jwks(set.path().to_str().unwrap()).unwrap();
        verifier.refresh(NOW).await.unwrap();
        assert!(!verifier.needs_refresh(NOW), "it has just been read");
        assert!(
            verifier
                .verify(&token(Algorithm::RS256, Some("old")), NOW)
                .is_ok()
        );

        let members = [
            member(RSA_PUBLIC, Some("old")),
            member(P256_PUBLIC, Some("new")),
        ];
        std::fs::write(set.path(), jwks(&members)).unwrap();
        let rotated = token(Algorithm::ES256, Some("new"));
        assert_eq!(refused(&verifier, &rotated), TokenError::UnknownKey);
        let soon = NOW + REFRESH_PAUSE_S - 1;
        assert!(
            !verifier.needs_refresh(soon),
            "the pause bounds what strangers can cause"
        );
        assert_eq!(
            verifier.verify_or_refresh(&rotated, soon).await,
            Err(TokenError::UnknownKey)
        );
        assert!(
            verifier
                .verify_or_refresh(&rotated, NOW + REFRESH_PAUSE_S)
                .await
                .is_ok()
        );
        assert!(
            !verifier.needs_refresh(NOW + 2 * REFRESH_PAUSE_S),
            "nobody wants another look"
        );

        // The old key goes, and a broken file after that takes no key away.
        std::fs::write(set.path(), jwks(&members[1..])).unwrap();
        let due = NOW + REFRESH_PAUSE_S + 300;
        assert!(verifier.needs_refresh(due) && !verifier.needs_refresh(due - 1));
        verifier.refresh(due).await.unwrap();
        let old = token(Algorithm::RS256, Some("old"));
        assert_eq!(refused(&verifier, &old), TokenError::UnknownKey);
        std::fs::write(set.path(), "{").unwrap();
        assert!(verifier.refresh(due + 300).await.is_err());
        assert!(verifier.verify(&rotated, NOW).is_ok());
        assert!(
            !verifier.needs_refresh(due + 301),
            "a failure is followed by a pause as well"
        );
        assert!(verifier.needs_refresh(due + 300 + REFRESH_PAUSE_S));
    }

    #[tokio::test]
    async fn a_token_is_forgotten_with_its_key() {
        let set = file(&jwks(&[member(RSA_PUBLIC, Some("old"))]));
        let verifier = by_jwks(set.path().to_str().unwrap()).unwrap();
        verifier.refresh(NOW).await.unwrap();
        let old = token(Algorithm::RS256, Some("old"));
        for seconds in 0..3 {
            let again = verifier.verify_or_refresh(&old, NOW + seconds).await;
            assert_eq!(again.unwrap().json, claims());
        }
        std::fs::write(set.path(), jwks(&[member(P256_PUBLIC, Some("new"))])).unwrap();
        // Not yet: the set is not read at each token.
        assert!(verifier.verify_or_refresh(&old, NOW + 9).await.is_ok());
        verifier.refresh(NOW + 300).await.unwrap();
        assert_eq!(
            verifier.verify_or_refresh(&old, NOW + 9).await,
            Err(TokenError::UnknownKey)
        );
    }

    #[tokio::test]
    async fn no_hmac_token_makes_a_look() {
        let set = file(&jwks(&[member(RSA_PUBLIC, Some("a"))]));
        let verifier = by_jwks(set.path().to_str().unwrap()).unwrap();
        verifier.refresh(NOW).await.unwrap();
        let header = Header {
            kid: Some("x".to_owned()),
            ..Header::new(Algorithm::HS256)
        };
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        assert_eq!(refused(&verifier, &token), TokenError::Algorithm);
        assert!(!verifier.needs_refresh(NOW + REFRESH_PAUSE_S));
    }
}

//! Turns a JWT into [`Claims`](crate::token::Claims), or says in one word why not; also mints tokens for development.
//! It hands the claims to admission, and a key it lacks to whoever calls [`Verifier::refresh`](crate::token::Verifier::refresh).
//! It must never read the clock, believe a token about its own algorithm, or show a token to anybody.
//!
//! Which algorithms are allowed follows from each configured key: a secret does HMAC, an RSA key RS
//! and PS, a curve its own. A token's header only picks among them, so `none`, or an RSA public key
//! used as HMAC secret, find no key at all.

mod claims;
mod fetch;
mod jwks;
mod keys;
mod known;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;
use std::sync::Arc;

use crate::config;
pub use claims::Claims;
use jwks::KeySet;
use keys::{HMAC, Key};
use known::TokenCache;

/// Bytes of the longest token looked at: twice what issuers with many roles write.
const TOKEN_BYTES: usize = 8192;

/// Why a token is refused. Never holds any part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token comes from another issuer")]
    WrongIssuer,
    #[error("the token is meant for another audience")]
    WrongAudience,
    #[error("the token's signature does not match")]
    BadSignature,
    #[error("this is not a token")]
    Malformed,
    #[error("the token's algorithm is not one of the configured keys")]
    Algorithm,
    #[error("the token never expires, but must")]
    MissingExpiry,
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// Said by the database, see `rowcast.is_revoked`.
    #[error("the token's user was revoked after it was issued")]
    Revoked,
}

impl TokenError {
    /// The word for logs, metrics and clients; it stays as it is.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::WrongIssuer => "wrong-issuer",
            Self::WrongAudience => "wrong-audience",
            Self::BadSignature => "bad-signature",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::MissingExpiry => "missing-expiry",
            Self::UnknownKey => "unknown-key",
            Self::Revoked => "revoked",
        }
    }
}

/// Why keys can't be had; names the place without its credentials.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    #[error("the key file {0} can't be read: {1}")]
    Unreadable(String, std::io::Error),
    #[error("{0}: {1}")]
    Unusable(String, String),
    #[error("the JWKS at {0} can't be fetched: {1}")]
    Fetch(String, String),
}

/// Verifies tokens by the configured keys. Shared by all connections.
pub struct Verifier {
    fixed: Vec<Key>,
    set: Option<Arc<KeySet>>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: u64,
    known: TokenCache,
}

impl Verifier {
    /// Reads key files. A JWKS behind a URL is empty until the first [`Verifier::refresh`].
    pub fn new(auth: &config::Auth) -> Result<Verifier, VerifierError> {
        let secret = auth.hs256_secret.as_deref();
        let mut fixed: Vec<Key> = secret.map(Key::secret).into_iter().collect();
        if let Some(path) = &auth.public_key_file {
            let name = path.display().to_string();
            let text = std::fs::read(path)
                .map_err(|error| VerifierError::Unreadable(name.clone(), error))?;
            fixed.push(Key::pem(&text).map_err(|reason| VerifierError::Unusable(name, reason))?);
        }
        let every = auth.jwks_refresh.as_secs();
        let jwks = auth.jwks.as_deref();
        let set = jwks.map(|jwks| KeySet::open(jwks, every)).transpose()?;
        Ok(Verifier {
            fixed,
            set: set.map(Arc::new),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            leeway: auth.leeway.as_secs(),
            known: TokenCache::new(auth.remember_bytes, auth.remember.as_secs()),
        })
    }

    /// The claims of a token that is genuine and holds at `now_unix`. The signature is looked at
    /// first, so that a forger learns nothing about the rest.
    pub fn verify(&self, token: &str, now_unix: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| keys::refusal(&error))?;
        // RFC 7515: who does not understand what is critical must refuse, and nothing is here.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let json = self.payload(token, &header)?;
        let claims = Claims::from_json(json, now_unix, self.leeway)?;
        if self.issuer.is_some() && claims.json["iss"].as_str() != self.issuer.as_deref() {
            return Err(TokenError::WrongIssuer);
        }
        if let Some(audience) = &self.audience {
            let meant = match &claims.json["aud"] {
                Value::String(text) => text == audience,
                Value::Array(list) => list.iter().any(|item| item == audience),
                _ => false,
            };
            if !meant {
                return Err(TokenError::WrongAudience);
            }
        }
        Ok(claims)
    }

    /// As [`Verifier::verify`], but remembers what was found genuine a moment ago, and looks for an
    /// unknown key at once where that is allowed.
    pub async fn verify_or_refresh(
        &self,
        token: &str,
        now_unix: u64,
    ) -> Result<Arc<Claims>, TokenError> {
        // Asked before the keys are used: if they change meanwhile, what the old ones verified is kept
        // as theirs, and is verified again by the new ones.
        let mut keys = self.changes();
        if let Some(claims) = self.known.find(token, keys, now_unix) {
            return Ok(claims);
        }
        let mut answer = self.verify(token, now_unix);
        if answer == Err(TokenError::UnknownKey) {
            // Not only where it is due: a look under way may bring the key. The caller of the periodic
            // refresh reports failures; here the answer is the same.
            let _ = self.refresh(now_unix).await;
            keys = self.changes();
            answer = self.verify(token, now_unix);
        }
        let claims = Arc::new(answer?);
        self.known.keep(token, &claims, keys, now_unix);
        Ok(claims)
    }

    /// How often the keys have changed.
    fn changes(&self) -> u64 {
        self.set.as_ref().map_or(0, |set| set.changes())
    }

    /// Whether [`Verifier::refresh`] would look at the JWKS now: it is due, or a token named an
    /// unknown key, and the last look is not a moment ago.
    #[cfg(test)]
    fn needs_refresh(&self, now_unix: u64) -> bool {
        self.set.as_ref().is_some_and(|set| set.is_due(now_unix))
    }

    /// Reads the JWKS if that is needed, and to its end even if nobody waits for it any more; after an
    /// error the keys at hand go on to count.
    pub async fn refresh(&self, now_unix: u64) -> Result<(), VerifierError> {
        match &self.set {
            Some(set) => set.refresh(now_unix).await,
            None => Ok(()),
        }
    }

    /// The payload, if one of the keys that the header leads to signed it.
    fn payload(&self, token: &str, header: &Header) -> Result<Value, TokenError> {
        match (keys::payload(&self.fixed, token, header.alg), &self.set) {
            // No set holds secrets, so a token by HMAC is no reason to look for newer keys.
            (Err(first), Some(set)) if !HMAC.contains(&header.alg) => set
                .payload(token, header)
                // Of two reasons the one of a key that was tried says more.
                .map_err(|second| match first {
                    TokenError::Algorithm => second,
                    first => first,
                }),
            (answer, _) => answer,
        }
    }
}

/// A token for development; `algorithm` is one of HS256, HS384 and HS512.
pub fn mint(secret: &str, claims: &Value, algorithm: Algorithm) -> Result<String, TokenError> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    if !HMAC.contains(&algorithm) || !claims.is_object() {
        return Err(TokenError::Algorithm);
    }
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key)
        .map_err(|error| keys::refusal(&error))
}

#[cfg(test)]
mod sample;

#[cfg(test)]
mod tests {
    use super::sample::*;
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn a_good_token_by_each_hmac() {
        for algorithm in HMAC {
            let token = mint(SECRET, &claims(), *algorithm).unwrap();
            let found = by_secret().verify(&token, NOW).unwrap();
            assert_eq!(found.subject.as_deref(), Some("456"));
            assert_eq!(found.expires_at, NOW + 60);
            assert_eq!(found.json, claims());
        }
        assert_eq!(
            mint(SECRET, &claims(), Algorithm::RS256),
            Err(TokenError::Algorithm)
        );
    }

    #[test]
    fn leeway_counts_both_ways() {
        let leeway = Duration::from_secs(30);
        let secret = Some(SECRET.to_owned());
        let verifier = Verifier::new(&config::Auth {
            hs256_secret: secret,
            leeway,
            ..auth()
        })
        .unwrap();
        let at = |exp: u64, nbf: u64| verifier.verify(&hs(&json!({ "exp": exp, "nbf": nbf })), NOW);
        assert_eq!(at(NOW - 29, 0).unwrap().expires_at, NOW + 1);
        assert_eq!(at(NOW - 30, 0), Err(TokenError::Expired));
        assert!(at(NOW + 9, NOW + 30).is_ok());
        assert_eq!(at(NOW + 9, NOW + 31), Err(TokenError::NotYetValid));
    }

    #[test]
    fn issuer_and_audience_where_configured() {
        let verifier = Verifier::new(&config::Auth {
            hs256_secret: Some(SECRET.to_owned()),
            issuer: Some("us".to_owned()),
            audience: Some("rowcast".to_owned()),
            ..auth()
        })
        .unwrap();
        let with = |iss: Value, aud: Value| {
            verifier.verify(&hs(&json!({ "exp": NOW + 9, "iss": iss, "aud": aud })), NOW)
        };
        assert!(with(json!("us"), json!("rowcast")).is_ok());
        assert!(with(json!("us"), json!(["other", "rowcast"])).is_ok());
        for iss in [json!("them"), json!(null), json!(["us"]), json!("")] {
            assert_eq!(with(iss, json!("rowcast")), Err(TokenError::WrongIssuer));
        }
        for aud in [
            json!("other"),
            json!(null),
            json!([]),
            json!(["other", ["rowcast"]]),
            json!("rowcast2"),
        ] {
            assert_eq!(with(json!("us"), aud), Err(TokenError::WrongAudience));
        }
        assert_eq!(
            refused(&verifier, &hs(&json!({ "exp": NOW + 9 }))),
            TokenError::WrongIssuer
        );
    }

    #[test]
    fn a_forged_token_learns_only_that() {
        let verifier = by_secret();
        let other = mint(
            "another secret of more than thirty-two bytes",
            &claims(),
            Algorithm::HS256,
        );
        assert_eq!(
            refused(&verifier, &other.unwrap()),
            TokenError::BadSignature
        );
        let expired = mint(
            "another secret, an expired token, 32 bytes",
            &json!({ "exp": 1 }),
            Algorithm::HS256,
        );
        assert_eq!(
            refused(&verifier, &expired.unwrap()),
            TokenError::BadSignature
        );
        // The payload of one token under the signature of another.
        let (left, right) = (hs(&claims()), hs(&json!({ "exp": NOW + 60, "sub": "1" })));
        let parts: Vec<&str> = left.split('.').chain(right.split('.')).collect();
        let mixed = format!("{}.{}.{}", parts[0], parts[4], parts[2]);
        assert_eq!(refused(&verifier, &mixed), TokenError::BadSignature);
    }

    #[test]
    fn garbage_is_malformed() {
        let good = hs(&claims());
        let long = hs(&json!({ "exp": NOW + 9, "x": "x".repeat(TOKEN_BYTES) }));
        let cut = &good[..good.rfind('.').unwrap()];
        let (space, padded) = (format!(" {good}"), format!("{good}=="));
        for text in [
            "", ".", "..", "...", "a.b.c", "é.é.é", cut, &space, &padded, &long,
        ] {
            assert_eq!(
                refused(&by_secret(), text),
                TokenError::Malformed,
                "{text:.20}"
            );
        }
        assert_eq!(judged(&json!({ "exp": {} })), Err(TokenError::Malformed));
        assert_eq!(
            Claims::from_json(json!([1]), NOW, 0),
            Err(TokenError::Malformed)
        );
        let header = Header {
            crit: Some(vec!["b64".to_owned()]),
            ..Header::new(Algorithm::HS256)
        };
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let critical = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        assert_eq!(refused(&by_secret(), &critical), TokenError::Malformed);
    }

    #[test]
    fn words_are_stable_and_no_error_shows_a_token() {
        use TokenError::{
            BadSignature, Expired, Malformed, MissingExpiry, NotYetValid, UnknownKey,
            WrongAudience, WrongIssuer,
        };
        let all = [
            (Expired, "expired"),
            (NotYetValid, "not-yet-valid"),
            (WrongIssuer, "wrong-issuer"),
            (WrongAudience, "wrong-audience"),
            (BadSignature, "bad-signature"),
            (Malformed, "malformed"),
            (TokenError::Algorithm, "algorithm"),
            (MissingExpiry, "missing-expiry"),
            (UnknownKey, "unknown-key"),
            (TokenError::Revoked, "revoked"),
        ];
        for (error, word) in all {
            assert_eq!(error.word(), word);
        }
        let forged = mint(
            "another secret of more than thirty-two bytes",
            &claims(),
            Algorithm::HS256,
        );
        let forged = forged.unwrap();
        let error = refused(&by_secret(), &forged);
        for part in forged.split('.') {
            assert!(!format!("{error} {error:?}").contains(part));
        }
    }
}

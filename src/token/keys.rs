//! Keys and what each may verify: a secret does HMAC, an RSA key RS and PS, a curve its own.
//! Hands the payload of a genuine token to the verifier, unjudged.
//! It must never take an algorithm from a token that its key was not made for.

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::TokenError;

/// Keys of a JWKS that are used; issuers publish two or three.
const JWKS_KEYS: usize = 64;

pub(super) const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A key with what it may verify.
pub(super) struct Key {
    pub(super) id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Key {
    pub(super) fn suits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    pub(super) fn secret(secret: &str) -> Key {
        Key {
            id: None,
            algorithms: HMAC.to_vec(),
            key: DecodingKey::from_secret(secret.as_bytes()),
        }
    }

    /// A public key in PEM; a certificate or a private key is not one.
    pub(super) fn pem(text: &[u8]) -> Result<Key, String> {
        let has = |word: &str| {
            text.windows(word.len())
                .any(|window| window == word.as_bytes())
        };
        if has("PRIVATE KEY-----") {
            return Err("this is a private key, which only the issuer should have; \
                        `openssl pkey -pubout` extracts the public one"
                .to_owned());
        }
        if has("BEGIN CERTIFICATE") {
            return Err(
                "this is a certificate; `openssl x509 -pubkey -noout` extracts its key".to_owned(),
            );
        }
        let key = DecodingKey::from_rsa_pem(text)
            .or_else(|_| DecodingKey::from_ec_pem(text))
            .or_else(|_| DecodingKey::from_ed_pem(text))
            .map_err(|_| {
                "this is no public key in PEM of RSA, P-256, P-384 or Ed25519".to_owned()
            })?;
        let jwk = Jwk::from_decoding_key(&key, None).map_err(|error| error.to_string())?;
        Key::jwk(&jwk)
    }

    fn jwk(jwk: &Jwk) -> Result<Key, String> {
        let mut algorithms = match &jwk.algorithm {
            // 2048 bits in base64; RFC 7518 allows no smaller key.
            AlgorithmParameters::RSA(rsa) if rsa.n.len() < 342 => {
                return Err("this RSA key has fewer than 2048 bits".to_owned());
            }
            AlgorithmParameters::RSA(_) => RSA.to_vec(),
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return Err("this curve is none of P-256, P-384 and Ed25519".to_owned()),
            },
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                vec![Algorithm::EdDSA]
            }
            // A secret that is published is none, and the rest is not for signatures.
            _ => return Err("this kind of key verifies no tokens".to_owned()),
        };
        if let Some(named) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == named);
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
        let Some(first) = algorithms.first() else {
            return Err("this key is not for an algorithm of its kind".to_owned());
        };
        // A point off its curve only shows when the key is used.
        jsonwebtoken::crypto::verify("AAAA", b"", &key, *first)
            .map_err(|error| error.to_string())?;
        Ok(Key {
            id: jwk.common.key_id.clone(),
            algorithms,
            key,
        })
    }

    /// The usable keys of a set; others are passed over, since issuers add kinds as they please.
    pub(super) fn set(text: &[u8]) -> Result<Vec<Key>, String> {
        let set: Value = serde_json::from_slice(text).map_err(|_| "this is not JSON".to_owned())?;
        let members = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or("`keys` is missing")?;
        let keys: Vec<Key> = members
            .iter()
            .filter_map(|member| serde_json::from_value::<Jwk>(member.clone()).ok())
            .filter(|jwk| !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)))
            .filter_map(|jwk| Key::jwk(&jwk).ok())
            .take(JWKS_KEYS)
            .collect();
        if keys.is_empty() {
            Err("it holds no key that verifies tokens".to_owned())
        } else {
            Ok(keys)
        }
    }

    /// The payload of a token signed with this key; its claims are judged elsewhere.
    fn payload(&self, token: &str, algorithm: Algorithm) -> Result<Value, TokenError> {
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, &self.key, &validation)
            .map(|token| token.claims)
            .map_err(|error| refusal(&error))
    }
}

/// The payload of a token that one of these keys signed by this algorithm.
pub(super) fn payload<'a>(
    keys: impl IntoIterator<Item = &'a Key>,
    token: &str,
    algorithm: Algorithm,
) -> Result<Value, TokenError> {
    let mut answer = Err(TokenError::Algorithm);
    for key in keys.into_iter().filter(|key| key.suits(algorithm)) {
        answer = key.payload(token, algorithm);
        if answer.is_ok() {
            break;
        }
    }
    answer
}

/// The word for what the library says.
pub(super) fn refusal(error: &JwtError) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
        // So the header's reader words an algorithm it has no name for, `none` among them.
        ErrorKind::Json(error) if error.to_string().starts_with("unknown variant") => {
            TokenError::Algorithm
        }
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::token::Verifier;
    use crate::token::sample::*;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    #[test]
    fn a_good_token_by_each_public_key() {
        let keys: [(&str, &[Algorithm]); 4] = [
            (RSA_PUBLIC, RSA),
            (P256_PUBLIC, &[Algorithm::ES256]),
            (P384_PUBLIC, &[Algorithm::ES384]),
            (ED25519_PUBLIC, &[Algorithm::EdDSA]),
        ];
        let all: Vec<Algorithm> = keys
            .iter()
            .flat_map(|(_, own)| own.iter().copied())
            .collect();
        for (pem, own) in keys {
            let verifier = by_pem(pem).unwrap();
            for algorithm in &all {
                let answer = verifier.verify(&token(*algorithm, None), NOW);
                if own.contains(algorithm) {
                    assert_eq!(answer.unwrap().json, claims(), "{algorithm:?}");
                } else {
                    assert_eq!(answer, Err(TokenError::Algorithm), "{algorithm:?}");
                }
            }
        }
    }

    #[test]
    fn no_algorithm_is_none() {
        // {"alg":"none"}, {"alg":"None"}, {"alg":"ES512"} over {"exp":9999999999}.
        let payload = "eyJleHAiOjk5OTk5OTk5OTl9";
        for header in [
            "eyJhbGciOiJub25lIn0",
            "eyJhbGciOiJOb25lIn0",
            "eyJhbGciOiJFUzUxMiJ9",
        ] {
            for signature in ["", "AAAA"] {
                let token = format!("{header}.{payload}.{signature}");
                assert_eq!(refused(&by_secret(), &token), TokenError::Algorithm);
            }
        }
    }

    #[test]
    fn a_public_key_is_no_hmac_secret() {
        let set = file(&jwks(&[member(RSA_PUBLIC, Some("a"))]));
        for (verifier, kid) in [
            (by_pem(RSA_PUBLIC).unwrap(), None),
            (by_pem(P256_PUBLIC).unwrap(), None),
            (
                by_jwks(set.path().to_str().unwrap()).unwrap(),
                Some("a".to_owned()),
            ),
        ] {
            let header = Header {
                kid,
                ..Header::new(Algorithm::HS256)
            };
            for secret in [RSA_PUBLIC, RSA_PUBLIC.trim(), P256_PUBLIC] {
                let key = EncodingKey::from_secret(secret.as_bytes());
                let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
                assert_eq!(refused(&verifier, &token), TokenError::Algorithm);
            }
        }
        assert_eq!(
            refused(&by_secret(), &token(Algorithm::RS256, None)),
            TokenError::Algorithm
        );
        assert_eq!(
            refused(&Verifier::new(&auth()).unwrap(), &hs(&claims())),
            TokenError::Algorithm
        );
    }

    #[test]
    fn wrong_key_files_say_what_they_are() {
        let reason = |text: &str| by_pem(text).err().expect("an error").to_string();
        assert!(reason(RSA_PRIVATE).contains("private key"));
        assert!(reason(ED25519_PRIVATE).contains("private key"));
        assert!(reason("-----BEGIN CERTIFICATE-----\n").contains("certificate"));
        assert!(reason("nonsense").contains("no public key"));
        assert!(reason(RSA_1024_PUBLIC).contains("2048"));
        let missing = config::Auth {
            public_key_file: Some("/no/such.pem".into()),
            ..auth()
        };
        assert!(
            Verifier::new(&missing)
                .err()
                .unwrap()
                .to_string()
                .contains("/no/such.pem")
        );
    }

    #[test]
    fn a_jwks_keeps_what_it_can_use() {
        let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256" });
        let unknown = json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "q", "pub": "AAAA" });
        let curve =
            json!({ "kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA", "kid": "k" });
        let off = json!({ "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "o" });
        let mut encryption = member(RSA_PUBLIC, Some("e"));
        encryption["use"] = json!("enc");
        let mut pinned = member(RSA_PUBLIC, Some("p"));
        pinned["alg"] = json!("RS512");
        let mut odd = member(RSA_PUBLIC, Some("h"));
        odd["alg"] = json!("HS256");
        let useless = [secret, unknown, curve, off, encryption, odd, json!("key")];
        let none = file(&jwks(&useless));
        assert!(by_jwks(none.path().to_str().unwrap()).is_err());

        let set = file(&jwks(&[&useless[..], &[pinned]].concat()));
        let verifier = by_jwks(set.path().to_str().unwrap()).unwrap();
        assert!(
            verifier
                .verify(&token(Algorithm::RS512, Some("p")), NOW)
                .is_ok()
        );
        assert_eq!(
            refused(&verifier, &token(Algorithm::RS256, Some("p"))),
            TokenError::Algorithm
        );
        for kid in ["e", "h", "o"] {
            let error = refused(&verifier, &token(Algorithm::RS256, Some(kid)));
            assert_eq!(error, TokenError::UnknownKey);
        }
    }

    #[test]
    fn of_keys_with_one_name_each_is_tried_and_of_a_set_so_many() {
        // The curve's own point, which signed nothing here.
        let other = json!({ "kty": "EC", "crv": "P-256", "kid": "a",
            "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
            "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU" });
        let good = member(P256_PUBLIC, Some("a"));
        let by = |members: &[Value]| {
            let set = file(&jwks(members));
            let verifier = by_jwks(set.path().to_str().unwrap()).unwrap();
            verifier.verify(&token(Algorithm::ES256, Some("a")), NOW)
        };
        assert!(by(&[other.clone(), good.clone()]).is_ok());
        assert!(by(&[good.clone(), other.clone()]).is_ok());
        assert_eq!(
            by(std::slice::from_ref(&other)),
            Err(TokenError::BadSignature)
        );
        let crowd = [vec![other; JWKS_KEYS], vec![good]].concat();
        assert!(by(&crowd[1..]).is_ok());
        assert_eq!(by(&crowd), Err(TokenError::BadSignature));
    }
}

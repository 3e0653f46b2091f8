//! Turns a JWT into [`Claims`](crate::token::Claims), or says in one word why not; also mints tokens for development.
//! It hands the claims to admission, and a key it lacks to whoever calls [`Verifier::refresh`](crate::token::Verifier::refresh).
//! It must never read the clock, believe a token about its own algorithm, or show a token to anybody.
//!
//! Which algorithms are allowed follows from each configured key: a secret does HMAC, an RSA key RS
//! and PS, a curve its own. A token's header only picks among them, so `none`, or an RSA public key
//! used as HMAC secret, find no key at all.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};
use tokio_rustls::rustls;

use crate::config;

/// Bytes of the longest token looked at: twice what issuers with many roles write.
pub const TOKEN_BYTES: usize = 8192;
/// Seconds by which `iat` may lie ahead; it decides nothing and only shows a clock gone astray.
const ISSUED_AHEAD_S: u64 = 60;
/// The last second of the year 9999: every later `exp` means this, so that no timer overflows.
const LATEST_S: u64 = 253_402_300_799;
/// Bytes of a JWKS: hundreds of keys.
const JWKS_BYTES: usize = 256 * 1024;
/// Keys of a JWKS that are used; issuers publish two or three.
const JWKS_KEYS: usize = 64;
/// An issuer that does not answer within this is away; the keys at hand go on to count.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds between two looks at the JWKS, however many tokens name unknown keys: anybody can write those.
const REFRESH_PAUSE_S: u64 = 10;

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

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

/// What a token or a session says about whoever holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// `sub`; a number is taken as its digits.
    pub subject: Option<String>,
    /// Unix second from which these claims no longer count, leeway included; at most the year 9999.
    pub expires_at: u64,
    /// All claims; always an object.
    pub json: Value,
}

impl Claims {
    /// Claims of a session or of a verified token, if they hold at `now_unix`; `leeway` in seconds.
    pub fn from_json(json: Value, now_unix: u64, leeway: u64) -> Result<Claims, TokenError> {
        let claims = json.as_object().ok_or(TokenError::Malformed)?;
        let expires_at = second(claims, "exp")?
            .ok_or(TokenError::MissingExpiry)?
            .saturating_add(leeway)
            .min(LATEST_S);
        if expires_at <= now_unix {
            return Err(TokenError::Expired);
        }
        let soon = now_unix.saturating_add(leeway);
        if second(claims, "nbf")?.is_some_and(|start| start > soon) {
            return Err(TokenError::NotYetValid);
        }
        if second(claims, "iat")?.is_some_and(|issued| issued > soon.saturating_add(ISSUED_AHEAD_S))
        {
            return Err(TokenError::NotYetValid);
        }
        let subject = match claims.get("sub") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) if !number.is_f64() => Some(number.to_string()),
            Some(_) => return Err(TokenError::Malformed),
        };
        Ok(Claims {
            subject,
            expires_at,
            json,
        })
    }
}

/// A NumericDate of RFC 7519: seconds, perhaps with a fraction, which is cut off.
fn second(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    let value = match claims.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let whole = value.as_u64().or_else(|| value.as_i64().map(|_| 0));
    // A cast from float saturates, and what is negative or huge stays long past or far ahead.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturating is right here"
    )]
    let fraction = || value.as_f64().map(|number| number as u64);
    whole
        .or_else(fraction)
        .map(Some)
        .ok_or(TokenError::Malformed)
}

/// A key with what it may verify.
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Key {
    fn suits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    fn secret(secret: &str) -> Key {
        Key {
            id: None,
            algorithms: HMAC.to_vec(),
            key: DecodingKey::from_secret(secret.as_bytes()),
        }
    }

    /// A public key in PEM; a certificate or a private key is not one.
    fn pem(text: &[u8]) -> Result<Key, String> {
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
    fn set(text: &[u8]) -> Result<Vec<Key>, String> {
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
}

/// Where a JWKS comes from.
enum Place {
    File(PathBuf),
    Url(
        hyper::Uri,
        Box<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>>,
    ),
}

/// A JWKS with what is known of it now; all times are Unix seconds as passed in.
struct KeySet {
    place: Place,
    /// For errors, without credentials.
    name: String,
    every: u64,
    keys: RwLock<Vec<Key>>,
    looks: Mutex<Looks>,
    /// Held during a look, so that a rush of tokens makes one request.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Looks {
    tried: Option<u64>,
    succeeded: Option<u64>,
    /// A token named a key that was not there.
    wanted: bool,
}

/// Verifies tokens by the configured keys. Shared by all connections.
pub struct Verifier {
    fixed: Vec<Key>,
    set: Option<KeySet>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: u64,
}

impl Verifier {
    /// Reads key files. A JWKS behind a URL is empty until the first [`Verifier::refresh`].
    pub fn new(auth: &config::Auth) -> Result<Verifier, VerifierError> {
        let mut fixed: Vec<Key> = auth
            .hs256_secret
            .as_deref()
            .map(Key::secret)
            .into_iter()
            .collect();
        if let Some(path) = &auth.public_key_file {
            let name = path.display().to_string();
            let text = std::fs::read(path)
                .map_err(|error| VerifierError::Unreadable(name.clone(), error))?;
            fixed.push(Key::pem(&text).map_err(|reason| VerifierError::Unusable(name, reason))?);
        }
        let set = match &auth.jwks {
            Some(jwks) => Some(KeySet::open(jwks, auth.jwks_refresh.as_secs())?),
            None => None,
        };
        Ok(Verifier {
            fixed,
            set,
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            leeway: auth.leeway.as_secs(),
        })
    }

    /// The claims of a token that is genuine and holds at `now_unix`. The signature is looked at
    /// first, so that a forger learns nothing about the rest.
    pub fn verify(&self, token: &str, now_unix: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| refusal(&error))?;
        // RFC 7515: who does not understand what is critical must refuse, and nothing is here.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let json = self.genuine(token, &header)?;
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

    /// As [`Verifier::verify`], but looks for an unknown key at once where that is allowed.
    pub async fn verify_or_refresh(
        &self,
        token: &str,
        now_unix: u64,
    ) -> Result<Claims, TokenError> {
        match self.verify(token, now_unix) {
            Err(TokenError::UnknownKey) if self.needs_refresh(now_unix) => {
                // The caller of the periodic refresh reports failures; here the answer is the same.
                let _ = self.refresh(now_unix).await;
                self.verify(token, now_unix)
            }
            answer => answer,
        }
    }

    /// Whether [`Verifier::refresh`] would look at the JWKS now: it is due, or a token named an
    /// unknown key, and the last look is not a moment ago.
    pub fn needs_refresh(&self, now_unix: u64) -> bool {
        self.set.as_ref().is_some_and(|set| set.is_due(now_unix))
    }

    /// Reads the JWKS if that is needed; after an error the keys at hand go on to count.
    pub async fn refresh(&self, now_unix: u64) -> Result<(), VerifierError> {
        match &self.set {
            Some(set) => set.refresh(now_unix).await,
            None => Ok(()),
        }
    }

    /// The payload, if one of the keys that the header leads to signed it.
    fn genuine(&self, token: &str, header: &Header) -> Result<Value, TokenError> {
        let mut answer = Err(TokenError::Algorithm);
        for key in self.fixed.iter().filter(|key| key.suits(header.alg)) {
            answer = signed(token, key, header.alg);
            if answer.is_ok() {
                return answer;
            }
        }
        match &self.set {
            // No set holds secrets, so a token by HMAC is no reason to look for newer keys.
            Some(set) if !HMAC.contains(&header.alg) => {
                set.genuine(token, header).or_else(|error| {
                    // Of two reasons the one of a key that was tried says more.
                    answer.map_err(|first| {
                        if first == TokenError::Algorithm {
                            error
                        } else {
                            first
                        }
                    })
                })
            }
            _ => answer,
        }
    }
}

impl KeySet {
    fn open(jwks: &str, every: u64) -> Result<KeySet, VerifierError> {
        let name = config::redact_url(jwks);
        let remote = jwks.starts_with("http://") || jwks.starts_with("https://");
        let place = if remote {
            let uri = jwks.parse().map_err(|_| {
                VerifierError::Unusable(name.clone(), "this is not a URL".to_owned())
            })?;
            Place::Url(uri, Box::new(client()))
        } else {
            Place::File(PathBuf::from(jwks))
        };
        let keys = match &place {
            Place::File(path) => {
                let text = std::fs::read(path)
                    .map_err(|error| VerifierError::Unreadable(name.clone(), error))?;
                Key::set(&text).map_err(|reason| VerifierError::Unusable(name.clone(), reason))?
            }
            Place::Url(..) => Vec::new(),
        };
        Ok(KeySet {
            place,
            name,
            every,
            keys: RwLock::new(keys),
            looks: Mutex::default(),
            looking: tokio::sync::Mutex::new(()),
        })
    }

    fn genuine(&self, token: &str, header: &Header) -> Result<Value, TokenError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
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
            self.looks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .wanted = true;
            return Err(TokenError::UnknownKey);
        }
        let mut answer = Err(TokenError::Algorithm);
        for key in named.iter().filter(|key| key.suits(header.alg)) {
            answer = signed(token, key, header.alg);
            if answer.is_ok() {
                break;
            }
        }
        answer
    }

    fn is_due(&self, now: u64) -> bool {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock set back makes a look due rather than putting it off.
        let passed = |since: Option<u64>, pause: u64| {
            since.is_none_or(|since| now < since || now - since >= pause)
        };
        let due = looks.wanted || passed(looks.succeeded, self.every);
        due && passed(looks.tried, REFRESH_PAUSE_S.min(self.every))
    }

    async fn refresh(&self, now: u64) -> Result<(), VerifierError> {
        let _looking = self.looking.lock().await;
        // Whoever waited here finds the work done.
        if !self.is_due(now) {
            return Ok(());
        }
        self.looks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tried = Some(now);
        let text = tokio::time::timeout(FETCH_TIMEOUT, self.text())
            .await
            .map_err(|_| {
                VerifierError::Fetch(self.name.clone(), "no answer in time".to_owned())
            })??;
        let keys =
            Key::set(&text).map_err(|reason| VerifierError::Unusable(self.name.clone(), reason))?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.succeeded = Some(now);
        looks.wanted = false;
        Ok(())
    }

    async fn text(&self) -> Result<Bytes, VerifierError> {
        let failed = |reason: String| VerifierError::Fetch(self.name.clone(), reason);
        match &self.place {
            Place::File(path) => tokio::fs::read(path)
                .await
                .map(Bytes::from)
                .map_err(|error| VerifierError::Unreadable(self.name.clone(), error)),
            Place::Url(uri, client) => {
                let answer = client
                    .get(uri.clone())
                    .await
                    .map_err(|error| failed(causes(&error)))?;
                if answer.status() != hyper::StatusCode::OK {
                    return Err(failed(format!("the answer was {}", answer.status())));
                }
                let body = Limited::new(answer.into_body(), JWKS_BYTES).collect().await;
                body.map(|body| body.to_bytes())
                    .map_err(|error| failed(error.to_string()))
            }
        }
    }
}

/// The system's certificates, so that a company's own authority counts; else those of the web.
fn client() -> Client<HttpsConnector<HttpConnector>, Empty<Bytes>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = rustls::crypto::ring::default_provider();
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("ring knows the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    Client::builder(TokioExecutor::new()).build(connector)
}

/// An error with its causes, for "client error (Connect)" alone helps nobody.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

/// The payload of a token signed with this key by this algorithm; its claims are judged elsewhere.
fn signed(token: &str, key: &Key, algorithm: Algorithm) -> Result<Value, TokenError> {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, &key.key, &validation)
        .map(|token| token.claims)
        .map_err(|error| refusal(&error))
}

fn refusal(error: &JwtError) -> TokenError {
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

/// A token for development; `algorithm` is one of HS256, HS384 and HS512.
pub fn mint(secret: &str, claims: &Value, algorithm: Algorithm) -> Result<String, TokenError> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    if !HMAC.contains(&algorithm) || !claims.is_object() {
        return Err(TokenError::Algorithm);
    }
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).map_err(|error| refusal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const NOW: u64 = 1_800_000_000;
    const SECRET: &str = "a test secret of more than thirty-two bytes";

    // Test keys, made by `openssl genpkey` for this file; they open nothing anywhere.
    const RSA_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQC0oEdiUcWC0+Su
MuH5TOPo7/h9yBO86Ng3dgZa2rIaCSq5Y+riMzHduZxsOvN+sub5kiHr5yHNOfi/
qSdAULwNa+TT5HoxgoFNwDrxHH8VGz8zUArPVDgtoXDvG/aU9dKXCHwEYwJdLc95
goqOyn/N6fZ/lr1NC+XutPrlpXvCyx3Gj7eQ0Js9zk7t5AjgrxVEevWIxUDoNDrZ
wUvEcs1khpxp29bhMERbzZswetjo8IEvKpytACPGnx6B0NH3jXql+L/FFfOAojDE
dxh5vk6816flg/hA24j/RvUblBz70ALtAn6edxoUzs1IIuoytdZbR2kuUASZmPea
DkBewSUdAgMBAAECggEAAnVtYXtzDE7fgp4RReUcc8pVhkTyWnNQkf4VC2jAk0+T
cPEZCMdBMxzIo1RwyuLbHtd0zCy+75BSx61Dh8RXugzQGzDTIV+XWLsTn9wC7JvC
0iZbODyKEv8+rmXwfSnyUBSAAVxvbj6ypKBihvRVSCYG3YQsStb731TAEfKwvV+3
iwJ1aCn4W74GJBdcHoLfEP2UDSvUGVbbPC6HWUWaKXxI7CwEzE+4C6GEY80opaC6
XBViUVlC7HD36Z01v40GliQHfXDBSyE4REmcyRbLufVPz1Y0y3ia9ZYmejcaydUl
aO3C6CUg86g1/PAD2Uhe44+LSBQIpVqFIAk1bkYe4QKBgQDYDiseedf+h9b4fqMA
dlBTz8J0AVF+3T6lc0Xowk6GRbQSW2h8b5Fv79yzBZ3WEkX1cGojRGalck3NbQaW
aXkMvFmGoSTDvgk8h5wWpjr/ZF7dM8AULSzAirzCaAjQQG11epE+1i8euAxeLAoa
a7VbHEc8GIQFrFGKY7C9LDa0IQKBgQDWBUE+F6FJJg9BYwqPQQ4zg6rm2CPmFgJc
Ge+MiwKjnoaekJKhR20dmLeXPu5ucJNnl44tzcxQG8iTbdt5NIMrVrUAIaXYrtIZ
yhI7fKZSqqYOI1wjNqCU6YBq2j/xYR1hMcKOliVf911abuyICgAVotyMqhg7H1b+
udknc3URfQKBgDZhAotOIYYnzHyI6x/fp4IgxZGLD2b96pmb9NmLplX3T0ZbiWXg
ctuYpJTOchaCTOdknuI3ghpcNabhrQnIjDYfZe0Tu/wkZZC9lRTCTBEhwxqrvsmV
QTFI+g94Pdekj6hE7C/DmuKBcmN1dCmIOIIxEODYTspav780LjS+3xnhAoGBAK/A
8voFt7p1WdPNfK91si7VsrQNzTU238s4tULKKWmqVkzC1tdA67eBYUsAMBdbtYE9
sVGmDmG+3zFK5xAa8pjVhKBOAX722ay6B8z4KTH715AGs7RrOOXw9zdIcXhM0y6t
CWPEo36yieQo8W8qHzWlX87YJDvxGaTnhA/kvb+VAoGBAJh+nG/koO1ejNULxNPt
NxvVWSJaAEbGWUgIM7oO4oBk9GAtJYFbVreNMBwwHH5ztSQciB89RiJX4UUzxxS9
3lvMlrGW1pd/mR3uIEZJr7iuFy9nJFTlIdLGhUiVxqJVbZAWRfz/Q8/YmhfJm9Mg
gfwkzBu2MzM7DJGhsEnMMX9P
-----END PRIVATE KEY-----
";
    const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtKBHYlHFgtPkrjLh+Uzj
6O/4fcgTvOjYN3YGWtqyGgkquWPq4jMx3bmcbDrzfrLm+ZIh6+chzTn4v6knQFC8
DWvk0+R6MYKBTcA68Rx/FRs/M1AKz1Q4LaFw7xv2lPXSlwh8BGMCXS3PeYKKjsp/
zen2f5a9TQvl7rT65aV7wssdxo+3kNCbPc5O7eQI4K8VRHr1iMVA6DQ62cFLxHLN
ZIacadvW4TBEW82bMHrY6PCBLyqcrQAjxp8egdDR9416pfi/xRXzgKIwxHcYeb5O
vNen5YP4QNuI/0b1G5Qc+9AC7QJ+nncaFM7NSCLqMrXWW0dpLlAEmZj3mg5AXsEl
HQIDAQAB
-----END PUBLIC KEY-----
";
    const RSA_1024_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDBY1fyTJUtwv9Cdto8+WmMYlwr
VE01dfV0gEnoDUumcXQikz6141pHf1gyKV7VIjfPdB5Ys+yXQwcSjdKtZMBbCKht
lBuMOBh4ECXTElXqb2LsaaAeEtgLJr1HLnUAh23P48KVm1lbQjZzKL3G3WJwfuPY
WnNBFtfajaUwRgTAxQIDAQAB
-----END PUBLIC KEY-----
";
    const P256_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRKghiYlUP35CoHnp
3lWxeIk7NW1ngfTtOOxRVTDcX82hRANCAARcCfrg/CTXVQkX5SCze4Bo55Hfu6np
7CN2dLNyr+WoJ1+5UKtUrSjRcMfIRVipOmEcF0XVQQibZTk83dsyxSzO
-----END PRIVATE KEY-----
";
    const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXAn64Pwk11UJF+Ugs3uAaOeR37up
6ewjdnSzcq/lqCdfuVCrVK0o0XDHyEVYqTphHBdF1UEIm2U5PN3bMsUszg==
-----END PUBLIC KEY-----
";
    const P384_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCfNDdBA9iIo7s2q/HS
8vYyImmDSNNl4Q3AJ6BBo3BSEPicZhNzZrDMrkM4rV0sCYuhZANiAAScPzrlMgKj
L0nKYGu4UXQD7fC1+xGGagp6bvUpIFt/jXfF9Z9cOhhMPsjkmrNkAfEVNvDLDahr
vm0LIhW319KGHvtrYU72EGS8oNv9+L7kwxgyllXq2hf8FN7mcrd7+XQ=
-----END PRIVATE KEY-----
";
    const P384_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEnD865TICoy9JymBruFF0A+3wtfsRhmoK
em71KSBbf413xfWfXDoYTD7I5JqzZAHxFTbwyw2oa75tCyIVt9fShh77a2FO9hBk
vKDb/fi+5MMYMpZV6toX/BTe5nK3e/l0
-----END PUBLIC KEY-----
";
    const ED25519_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJEXe4f5xCtJMKop0QM51cRSJ0PUkKzB4KxWA+iyzWhi
-----END PRIVATE KEY-----
";
    const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAZF3l0itDs7+3730BnNiZ55LV5Ua6WBZVWAWXl2xAyTU=
-----END PUBLIC KEY-----
";

    fn auth() -> config::Auth {
        let raw = config::RawSettings::load(None, std::iter::empty(), &[]).unwrap();
        config::Settings::check(raw).unwrap().auth
    }

    fn by_secret() -> Verifier {
        Verifier::new(&config::Auth {
            hs256_secret: Some(SECRET.to_owned()),
            ..auth()
        })
        .unwrap()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn by_pem(text: &str) -> Result<Verifier, VerifierError> {
        let file = file(text);
        Verifier::new(&config::Auth {
            public_key_file: Some(file.path().to_owned()),
            ..auth()
        })
    }

    fn by_jwks(jwks: &str) -> Result<Verifier, VerifierError> {
        Verifier::new(&config::Auth {
            jwks: Some(jwks.to_owned()),
            ..auth()
        })
    }

    fn claims() -> Value {
        json!({ "sub": "456", "exp": NOW + 60, "role": "user" })
    }

    fn hs(claims: &Value) -> String {
        mint(SECRET, claims, Algorithm::HS256).unwrap()
    }

    fn private_key(algorithm: Algorithm) -> EncodingKey {
        match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_pem(P256_PRIVATE.as_bytes()).unwrap(),
            Algorithm::ES384 => EncodingKey::from_ec_pem(P384_PRIVATE.as_bytes()).unwrap(),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(ED25519_PRIVATE.as_bytes()).unwrap(),
            _ => EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap(),
        }
    }

    fn token(algorithm: Algorithm, kid: Option<&str>) -> String {
        let header = Header {
            kid: kid.map(str::to_owned),
            ..Header::new(algorithm)
        };
        jsonwebtoken::encode(&header, &claims(), &private_key(algorithm)).unwrap()
    }

    /// A public key in PEM as a member of a JWKS.
    fn member(pem: &str, kid: Option<&str>) -> Value {
        let key = DecodingKey::from_rsa_pem(pem.as_bytes())
            .or_else(|_| DecodingKey::from_ec_pem(pem.as_bytes()))
            .or_else(|_| DecodingKey::from_ed_pem(pem.as_bytes()))
            .unwrap();
        let mut jwk = Jwk::from_decoding_key(&key, None).unwrap();
        jwk.common.key_id = kid.map(str::to_owned);
        serde_json::to_value(jwk).unwrap()
    }

    fn jwks(members: &[Value]) -> String {
        json!({ "keys": members }).to_string()
    }

    fn refused(verifier: &Verifier, token: &str) -> TokenError {
        verifier
            .verify(token, NOW)
            .expect_err("the token is refused")
    }

    fn judged(claims: &Value) -> Result<Claims, TokenError> {
        by_secret().verify(&hs(claims), NOW)
    }

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
    fn expiry_is_required_and_exact() {
        assert_eq!(
            judged(&json!({ "sub": "1" })),
            Err(TokenError::MissingExpiry)
        );
        assert_eq!(
            judged(&json!({ "exp": null })),
            Err(TokenError::MissingExpiry)
        );
        assert_eq!(judged(&json!({ "exp": NOW })), Err(TokenError::Expired));
        assert_eq!(judged(&json!({ "exp": -5 })), Err(TokenError::Expired));
        assert_eq!(
            judged(&json!({ "exp": "soon" })),
            Err(TokenError::Malformed)
        );
        assert_eq!(
            judged(&json!({ "exp": NOW + 1 })).unwrap().expires_at,
            NOW + 1
        );
        let fraction = json!({ "exp": 1_800_000_001.9 });
        assert_eq!(judged(&fraction).unwrap().expires_at, NOW + 1);
    }

    #[test]
    fn a_huge_expiry_overflows_no_timer() {
        for exp in [json!(u64::MAX), json!(1e300)] {
            assert_eq!(judged(&json!({ "exp": exp })).unwrap().expires_at, LATEST_S);
        }
    }

    #[test]
    fn not_before_and_issued_at() {
        let with = |name: &str, at: u64| judged(&json!({ "exp": NOW + 999, name: at }));
        assert!(with("nbf", NOW).is_ok());
        assert_eq!(with("nbf", NOW + 1), Err(TokenError::NotYetValid));
        assert!(with("iat", NOW + ISSUED_AHEAD_S).is_ok());
        assert_eq!(
            with("iat", NOW + ISSUED_AHEAD_S + 1),
            Err(TokenError::NotYetValid)
        );
        let odd = judged(&json!({ "exp": NOW + 9, "nbf": "x" }));
        assert_eq!(odd, Err(TokenError::Malformed));
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
        for aud in [json!("other"), json!(null), json!([]), json!("rowcast2")] {
            assert_eq!(with(json!("us"), aud), Err(TokenError::WrongAudience));
        }
        assert_eq!(
            refused(&verifier, &hs(&json!({ "exp": NOW + 9 }))),
            TokenError::WrongIssuer
        );
    }

    #[test]
    fn subjects() {
        let of = |sub: Value| judged(&json!({ "exp": NOW + 9, "sub": sub })).map(|c| c.subject);
        assert_eq!(of(json!("a")), Ok(Some("a".to_owned())));
        assert_eq!(of(json!(456)), Ok(Some("456".to_owned())));
        assert_eq!(of(json!(null)), Ok(None));
        for odd in [json!(""), json!(1.5), json!(["a"]), json!({})] {
            assert_eq!(of(odd), Err(TokenError::Malformed));
        }
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

    #[tokio::test]
    async fn a_jwks_behind_a_url() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://me:hidden@{}/jwks.json",
            listener.local_addr().unwrap()
        );
        let good = jwks(&[member(ED25519_PUBLIC, Some("a"))]);
        let answers = [
            ("503 Service Unavailable", String::new()),
            ("302 Found", good.clone()),
            ("200 OK", "x".repeat(JWKS_BYTES + 1)),
            ("200 OK", good),
        ];
        let count = answers.len();
        let server = tokio::spawn(async move {
            for (status, body) in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                // The client hangs up on a body that is too long.
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });

        let verifier = by_jwks(&url).unwrap();
        let token = token(Algorithm::EdDSA, Some("a"));
        assert_eq!(refused(&verifier, &token), TokenError::UnknownKey);
        assert!(
            verifier.needs_refresh(NOW),
            "a set that was never read is due"
        );
        for round in 0..count as u64 {
            let answer = verifier.refresh(NOW + round * REFRESH_PAUSE_S).await;
            assert_eq!(answer.is_ok(), round == 3, "{answer:?}");
            let text = answer
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(!text.contains("hidden"), "{text}");
        }
        assert!(verifier.verify(&token, NOW).is_ok());
        server.await.unwrap();
    }
}

//! Keys and tokens that the unit tests of this folder verify.
//! Hands them to those tests only.
//! It must never be part of the service, and no key here may open anything anywhere.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};

use super::{Claims, TokenError, Verifier, VerifierError, mint};
use crate::config;

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const SECRET: &str = "a test secret of more than thirty-two bytes";

// Test keys, made by `openssl genpkey` for this file; they open nothing anywhere.
pub(super) const RSA_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
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
pub(super) const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtKBHYlHFgtPkrjLh+Uzj
6O/4fcgTvOjYN3YGWtqyGgkquWPq4jMx3bmcbDrzfrLm+ZIh6+chzTn4v6knQFC8
DWvk0+R6MYKBTcA68Rx/FRs/M1AKz1Q4LaFw7xv2lPXSlwh8BGMCXS3PeYKKjsp/
zen2f5a9TQvl7rT65aV7wssdxo+3kNCbPc5O7eQI4K8VRHr1iMVA6DQ62cFLxHLN
ZIacadvW4TBEW82bMHrY6PCBLyqcrQAjxp8egdDR9416pfi/xRXzgKIwxHcYeb5O
vNen5YP4QNuI/0b1G5Qc+9AC7QJ+nncaFM7NSCLqMrXWW0dpLlAEmZj3mg5AXsEl
HQIDAQAB
-----END PUBLIC KEY-----
";
pub(super) const RSA_1024_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDBY1fyTJUtwv9Cdto8+WmMYlwr
VE01dfV0gEnoDUumcXQikz6141pHf1gyKV7VIjfPdB5Ys+yXQwcSjdKtZMBbCKht
lBuMOBh4ECXTElXqb2LsaaAeEtgLJr1HLnUAh23P48KVm1lbQjZzKL3G3WJwfuPY
WnNBFtfajaUwRgTAxQIDAQAB
-----END PUBLIC KEY-----
";
pub(super) const P256_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRKghiYlUP35CoHnp
3lWxeIk7NW1ngfTtOOxRVTDcX82hRANCAARcCfrg/CTXVQkX5SCze4Bo55Hfu6np
7CN2dLNyr+WoJ1+5UKtUrSjRcMfIRVipOmEcF0XVQQibZTk83dsyxSzO
-----END PRIVATE KEY-----
";
pub(super) const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXAn64Pwk11UJF+Ugs3uAaOeR37up
6ewjdnSzcq/lqCdfuVCrVK0o0XDHyEVYqTphHBdF1UEIm2U5PN3bMsUszg==
-----END PUBLIC KEY-----
";
pub(super) const P384_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCfNDdBA9iIo7s2q/HS
8vYyImmDSNNl4Q3AJ6BBo3BSEPicZhNzZrDMrkM4rV0sCYuhZANiAAScPzrlMgKj
L0nKYGu4UXQD7fC1+xGGagp6bvUpIFt/jXfF9Z9cOhhMPsjkmrNkAfEVNvDLDahr
vm0LIhW319KGHvtrYU72EGS8oNv9+L7kwxgyllXq2hf8FN7mcrd7+XQ=
-----END PRIVATE KEY-----
";
pub(super) const P384_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEnD865TICoy9JymBruFF0A+3wtfsRhmoK
em71KSBbf413xfWfXDoYTD7I5JqzZAHxFTbwyw2oa75tCyIVt9fShh77a2FO9hBk
vKDb/fi+5MMYMpZV6toX/BTe5nK3e/l0
-----END PUBLIC KEY-----
";
pub(super) const ED25519_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJEXe4f5xCtJMKop0QM51cRSJ0PUkKzB4KxWA+iyzWhi
-----END PRIVATE KEY-----
";
pub(super) const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAZF3l0itDs7+3730BnNiZ55LV5Ua6WBZVWAWXl2xAyTU=
-----END PUBLIC KEY-----
";

pub(super) fn auth() -> config::Auth {
    let raw = config::RawSettings::load(None, std::iter::empty(), &[]).unwrap();
    config::Settings::check(raw).unwrap().auth
}

pub(super) fn by_secret() -> Verifier {
    Verifier::new(&config::Auth {
        hs256_secret: Some(SECRET.to_owned()),
        ..auth()
    })
    .unwrap()
}

pub(super) fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

pub(super) fn by_pem(text: &str) -> Result<Verifier, VerifierError> {
    let file = file(text);
    Verifier::new(&config::Auth {
        public_key_file: Some(file.path().to_owned()),
        ..auth()
    })
}

pub(super) fn by_jwks(jwks: &str) -> Result<Verifier, VerifierError> {
    Verifier::new(&config::Auth {
        jwks: Some(jwks.to_owned()),
        ..auth()
    })
}

pub(super) fn claims() -> Value {
    json!({ "sub": "456", "exp": NOW + 60, "role": "user" })
}

pub(super) fn hs(claims: &Value) -> String {
    mint(SECRET, claims, Algorithm::HS256).unwrap()
}

pub(super) fn private_key(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(P256_PRIVATE.as_bytes()).unwrap(),
        Algorithm::ES384 => EncodingKey::from_ec_pem(P384_PRIVATE.as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED25519_PRIVATE.as_bytes()).unwrap(),
        _ => EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()).unwrap(),
    }
}

pub(super) fn token(algorithm: Algorithm, kid: Option<&str>) -> String {
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    };
    jsonwebtoken::encode(&header, &claims(), &private_key(algorithm)).unwrap()
}

/// A public key in PEM as a member of a JWKS.
pub(super) fn member(pem: &str, kid: Option<&str>) -> Value {
    let key = DecodingKey::from_rsa_pem(pem.as_bytes())
        .or_else(|_| DecodingKey::from_ec_pem(pem.as_bytes()))
        .or_else(|_| DecodingKey::from_ed_pem(pem.as_bytes()))
        .unwrap();
    let mut jwk = Jwk::from_decoding_key(&key, None).unwrap();
    jwk.common.key_id = kid.map(str::to_owned);
    serde_json::to_value(jwk).unwrap()
}

pub(super) fn jwks(members: &[Value]) -> String {
    json!({ "keys": members }).to_string()
}

pub(super) fn refused(verifier: &Verifier, token: &str) -> TokenError {
    verifier
        .verify(token, NOW)
        .expect_err("the token is refused")
}

pub(super) fn judged(claims: &Value) -> Result<Claims, TokenError> {
    by_secret().verify(&hs(claims), NOW)
}

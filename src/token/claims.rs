//! What a token or a session says about whoever holds it, and whether it holds now.
//! Hands [`Claims`] to the verifier and to admission.
//! It must never read the clock: the second is passed in.

use serde_json::{Map, Value};

use super::TokenError;

/// Seconds by which `iat` may lie ahead; it decides nothing and only shows a clock gone astray.
const ISSUED_AHEAD_S: u64 = 60;
/// The last second of the year 9999: every later `exp` means this, so that no timer overflows.
const LATEST_S: u64 = 253_402_300_799;

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
        if holds_nul(&json) {
            return Err(TokenError::Malformed);
        }
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

/// Whether a text or a name in it holds the one character that jsonb can't: SQL would take no
/// question about such claims, nor any that is asked with it.
fn holds_nul(json: &Value) -> bool {
    match json {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(holds_nul),
        Value::Object(members) => {
            let mut members = members.iter();
            members.any(|(name, value)| name.contains('\0') || holds_nul(value))
        }
        _ => false,
    }
}

/// A NumericDate of RFC 7519: seconds, perhaps with a fraction, which is cut off.
fn second(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    let value = match claims.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    // A cast from float saturates, and what is negative or huge stays long past or far ahead.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturating is right here"
    )]
    let fraction = || value.as_f64().map(|number| number as u64);
    value
        .as_u64()
        .or_else(fraction)
        .map(Some)
        .ok_or(TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::sample::{NOW, judged};
    use serde_json::json;

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

    /// One such token made the statement fail that asked for all who came with it.
    #[test]
    fn what_jsonb_can_not_hold_is_malformed() {
        let with = |odd: Value| judged(&json!({ "exp": NOW + 9, "x": odd }));
        for odd in [
            json!("a\0"),
            json!([["\0"]]),
            json!({ "\0": 1 }),
            json!({ "a": [{ "b": "\0" }] }),
        ] {
            assert_eq!(with(odd.clone()), Err(TokenError::Malformed), "{odd}");
        }
        for good in [json!("\\u0000"), json!("\u{1}"), json!([1e300, {}])] {
            assert!(with(good.clone()).is_ok(), "{good}");
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
    fn subjects() {
        let of = |sub: Value| judged(&json!({ "exp": NOW + 9, "sub": sub })).map(|c| c.subject);
        assert_eq!(of(json!("a")), Ok(Some("a".to_owned())));
        assert_eq!(of(json!(456)), Ok(Some("456".to_owned())));
        assert_eq!(of(json!(null)), Ok(None));
        for odd in [json!(""), json!(1.5), json!(["a"]), json!({})] {
            assert_eq!(of(odd), Err(TokenError::Malformed));
        }
    }
}

//! How a key is spelled in the environment, and which key a misspelled one was meant to be.
//! Hands names to the layers, for their problems.
//! It must never let a guess stand in for the key: guesses are said, not used.

use super::raw::KEYS;

/// Of every variable that is ours.
pub(super) const PREFIX: &str = "ROWCAST__";

/// The known key that looks most like `key`; the section may be missing.
pub(super) fn nearest(key: &str) -> &'static str {
    let distance = |known: &&&str| {
        let bare = known.split_once('.').map_or(**known, |(_, name)| name);
        let whole = strsim::damerau_levenshtein(key, known);
        if key.contains('.') {
            whole
        } else {
            whole.min(strsim::damerau_levenshtein(key, bare))
        }
    };
    KEYS.iter()
        .min_by_key(distance)
        .copied()
        .unwrap_or_default()
}

/// `http.listen` as `ROWCAST__HTTP__LISTEN`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// `ROWCAST_HTTP_LISTEN` is not ours to read, but surely meant for us.
pub(super) fn meant_by(name: &str) -> Option<&'static str> {
    let rest = name
        .strip_prefix("ROWCAST_")?
        .to_lowercase()
        .replace("__", "_");
    KEYS.iter()
        .find(|key| key.replace('.', "_") == rest)
        .copied()
}

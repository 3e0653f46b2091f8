//! How a key is spelled in the environment, and which key a misspelled one was meant to be.
//! Hands names to the layers, for their problems.
//! It must never let a guess stand in for the key: guesses are said, not used.

use super::raw::KEYS;

/// Of every variable that is ours.
pub(super) const PREFIX: &str = "ROWCAST__";

/// What to say of a key that is none: the known one that looks most like it, if one does; the section
/// may be missing.
pub(super) fn remedy(key: &str, spelled: impl Fn(&str) -> String) -> String {
    nearest(key).map_or_else(
        || "`rowcast config` shows them all".to_owned(),
        |near| format!("the nearest is `{}`", spelled(near)),
    )
}

fn nearest(key: &str) -> Option<&'static str> {
    let distance = |known: &&&str| {
        let bare = known.split_once('.').map_or(**known, |(_, name)| name);
        let whole = strsim::damerau_levenshtein(key, known);
        if key.contains('.') {
            whole
        } else {
            whole.min(strsim::damerau_levenshtein(key, bare))
        }
    };
    let nearest = KEYS.iter().min_by_key(distance)?;
    // Where half of it is another, it was hardly meant.
    (distance(&nearest) <= key.len() / 2).then_some(nearest)
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

//! Every section and key that a dialect's file may have.
//! Hands names to the reader of files, and to the test that holds docs/dialects.md against them.
//! It must never have a key that nothing reads.

/// Every section and its keys. `*` stands for names that the author chooses.
pub const SECTIONS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "websocket",
            "poll",
            "socketio",
            "health",
            "event",
            "messages",
            "message",
            "errors",
            "close",
        ],
    ),
    (
        "websocket",
        &[
            "path",
            "query",
            "names",
            "rooms",
            "claims",
            "welcome",
            "heartbeat",
            "gap",
            "reload",
        ],
    ),
    (
        "poll",
        &["path", "query", "names", "rooms", "claims", "answer"],
    ),
    (
        "socketio",
        &[
            "path",
            "namespaces",
            "query",
            "names",
            "rooms",
            "claims",
            "welcome",
            "gap",
            "arguments",
            "refusals",
        ],
    ),
    ("health", &["path", "answer", "unready"]),
    ("event", &["flat", "frame"]),
    ("messages", &["name"]),
    (
        "message.*",
        &[
            "also",
            "fields",
            "arguments",
            "join",
            "leave",
            "call",
            "args",
            "acknowledge",
            "answer",
            "refused",
        ],
    ),
    ("errors", &["frame", "messages"]),
    ("close.*", &["code", "reason"]),
];

/// How a sentence ends that says of a word that it is none of these: with the one that may have been
/// meant, and with all of them, each once.
pub(super) fn known_here(word: &str, known: &[&str], spelled: impl Fn(&str) -> String) -> String {
    let near = nearest(word, known).map(|near| format!(": did you mean {}?", spelled(near)));
    let near = near.unwrap_or_else(|| ".".to_owned());
    let mut all: Vec<&str> = Vec::new();
    for word in known {
        if !all.contains(word) {
            all.push(word);
        }
    }
    let all: Vec<String> = all.into_iter().map(spelled).collect();
    let all = if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    };
    format!("{near} Known here: {all}")
}

/// A word that a file has, as such sentences have it.
pub(super) fn quoted(word: &str) -> String {
    format!("`{word}`")
}

/// The known word that looks most like this one, if it looks like it at all.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |known: &&&str| strsim::damerau_levenshtein(word, known);
    let near = known.iter().min_by_key(distance).copied()?;
    (strsim::damerau_levenshtein(word, near) <= near.len().max(3) / 2).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_named_once_behind_one_colon() {
        let known = ["garage", "seq", "garage"];
        let braces = |word: &str| format!("{{{word}}}");
        for (word, said) in [
            (
                "garag",
                ": did you mean {garage}? Known here: {garage}, {seq}",
            ),
            ("lost", ". Known here: {garage}, {seq}"),
        ] {
            assert_eq!(known_here(word, &known, braces), said);
        }
        assert_eq!(known_here("lost", &[], quoted), ". Known here: none");
    }
}

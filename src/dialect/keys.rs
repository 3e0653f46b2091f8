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
            "rooms",
            "claims",
            "welcome",
            "heartbeat",
            "gap",
            "reload",
        ],
    ),
    ("poll", &["path", "query", "rooms", "claims", "answer"]),
    (
        "socketio",
        &[
            "path",
            "namespaces",
            "query",
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

/// The known word that looks most like this one, if it looks like it at all.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |known: &&&str| strsim::damerau_levenshtein(word, known);
    let near = known.iter().min_by_key(distance).copied()?;
    (strsim::damerau_levenshtein(word, near) <= near.len().max(3) / 2).then_some(near)
}

//! What may be shown of a value that is a secret or holds one.
//! Hands texts to everything that prints, logs or answers a setting.
//! It must never show too much: where a password cannot be told from its surroundings, both go.

use percent_encoding::percent_decode_str;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// What names of parameters with a secret hold.
const WORD: &str = "password";

/// The value of `key` as it may be printed; `shown` and the answer are TOML.
pub(super) fn redact(key: &str, shown: &str) -> String {
    match key {
        "auth.hs256_secret" => "\"***\"".to_owned(),
        "database.url" | "database.listen_url" | "auth.jwks" => {
            let text: String = serde_json::from_str(shown).unwrap_or_default();
            let redact = if key == "auth.jwks" {
                redact_jwks
            } else {
                redact_url
            };
            serde_json::Value::from(redact(&text)).to_string()
        }
        _ => shown.to_owned(),
    }
}

/// Where keys lie: a path is no secret, unless it is an address with a mistake in its scheme.
pub fn redact_jwks(text: &str) -> String {
    if text.contains("://") || text.contains('@') {
        return redact_url(text);
    }
    text.to_owned()
}

/// The URL or keyword string with every password as `***`. Where passwords hold characters that
/// should have been encoded, rather too much is hidden than too little; all of it, where it is
/// neither.
pub fn redact_url(text: &str) -> String {
    let is_scheme = |scheme: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        !scheme.is_empty() && scheme.bytes().all(letter)
    };
    let shown = redact_parameters(text);
    let Some((scheme, rest)) = shown.split_once("://").filter(|parts| is_scheme(parts.0)) else {
        return if are_keywords(text) {
            shown
        } else {
            HIDDEN.to_owned()
        };
    };
    let rest = match rest.split_once('?') {
        Some((before, query)) if scheme.starts_with("postgres") => {
            format!("{before}?{}", redact_query(query))
        }
        // The `?` may be one of a password.
        Some((_, query)) if query.contains('@') => HIDDEN.to_owned(),
        // A JWKS may carry a key of its own in the query, under any name.
        Some((before, _)) => format!("{before}?{HIDDEN}"),
        None => rest.to_owned(),
    };
    match rest.rsplit_once('@') {
        Some((userinfo, place)) => match userinfo.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{place}"),
            None => format!("{scheme}://{userinfo}@{place}"),
        },
        None => format!("{scheme}://{rest}"),
    }
}

/// Hides the values of `password` and `sslpassword`, as query parameters or keywords.
fn redact_parameters(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.to_ascii_lowercase().find(WORD) {
        let (before, after) = rest.split_at(at + WORD.len());
        out += before;
        rest = after;
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            continue;
        };
        out += "=";
        out += HIDDEN;
        rest = &value[value_length(value)..];
    }
    out + rest
}

/// Hides what [`redact_parameters`] does not see, for the name is percent-encoded.
fn redact_query(query: &str) -> String {
    let pairs = query.split('&').map(|pair| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let decoded = percent_decode_str(name).decode_utf8_lossy();
        if name.contains('%') && decoded.to_ascii_lowercase().contains(WORD) {
            format!("{name}={HIDDEN}")
        } else {
            pair.to_owned()
        }
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Whether it is nothing but `key=value`, as libpq reads it.
fn are_keywords(text: &str) -> bool {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((key, value)) = rest.split_once('=') else {
            return false;
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let key = key.trim_end();
        if key.is_empty() || !key.bytes().all(is_word) {
            return false;
        }
        let value = value.trim_start();
        rest = value[value_length(value)..].trim_start();
    }
    true
}

/// libpq's rules: a value ends at a blank or `&`, or is quoted; a backslash escapes.
fn value_length(value: &str) -> usize {
    let quoted = value.starts_with('\'');
    let mut escaped = false;
    for (at, letter) in value.char_indices().skip(usize::from(quoted)) {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if quoted && letter == '\'' {
            return at + 1;
        } else if !quoted && (letter.is_whitespace() || letter == '&') {
            return at;
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::{redact, redact_url};

    #[test]
    fn passwords_in_urls_are_hidden_wherever_they_stand() {
        for (url, shown) in [
            ("postgres://u:p@h/d", "postgres://u:***@h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u:a/b@c@h/d", "postgres://u:***@h/d"),
            (
                "postgres:///d?host=/run&user=u&password=p&x=1",
                "postgres:///d?host=/run&user=u&password=***&x=1",
            ),
            (
                "postgres://h/d?password=a@b&sslpassword=c",
                "postgres://h/d?password=***&sslpassword=***",
            ),
            (
                "host=h PASSWORD = p dbname=d",
                "host=h PASSWORD=*** dbname=d",
            ),
            ("host=h passfile=/f", "host=h passfile=/f"),
            ("password='open", "password=***"),
            (
                "postgresql://h/db?user=u&pass%77ord=SECRET",
                "postgresql://h/db?user=u&pass%77ord=***",
            ),
            ("postgres://u:a?b@h/d", "postgres://u:***@h/d"),
            ("https://u:p@h/keys", "https://u:***@h/keys"),
            ("https://h/keys?key=SECRET", "https://h/keys?***"),
            // The scheme is wrong for keys, and the message that says so shows the address.
            ("HTTPS://h/keys?key=SECRET", "HTTPS://h/keys?***"),
            ("ftp://h/keys?key=SECRET", "ftp://h/keys?***"),
            ("https://u:SEC?RET@h/keys", "https://***"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    /// Whoever mistypes the scheme has the line in the log of whatever starts the service.
    #[test]
    fn an_address_that_is_none_shows_nothing() {
        for text in [
            "me:SECRET@host/db",
            "postgres//me:SECRET@host/db",
            "postgres:me:SECRET@host/db",
            "postgres:/me:SECRET@host/db?x=://",
            "host=h user=u password SECRET",
            "SECRET",
        ] {
            assert_eq!(redact_url(text), "***", "{text}");
            let text = serde_json::Value::from(text).to_string();
            assert!(!redact("database.url", &text).contains("SECRET"), "{text}");
        }
        let path = r#""/etc/keys.json""#;
        assert_eq!(redact("auth.jwks", path), path);
        assert_eq!(
            redact("auth.jwks", r#""http//u:SECRET@h/keys""#),
            r#""***""#
        );
    }
}

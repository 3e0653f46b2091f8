//! What may be shown of a value that is a secret or holds one.
//! Hands texts to everything that prints, logs or answers a setting.
//! It must never show too much: where a password cannot be told from its surroundings, both go.

/// The value of `key` as it may be printed; `shown` and the answer are TOML.
pub(super) fn redact(key: &str, shown: &str) -> String {
    match key {
        "auth.hs256_secret" => "\"***\"".to_owned(),
        "database.url" | "database.listen_url" | "auth.jwks" => {
            let text: String = serde_json::from_str(shown).unwrap_or_default();
            serde_json::Value::from(redact_url(&text)).to_string()
        }
        _ => shown.to_owned(),
    }
}

/// The URL or keyword string with every password as `***`. Where passwords hold characters that
/// should have been encoded, rather too much is hidden than too little.
pub fn redact_url(text: &str) -> String {
    let text = redact_parameters(text);
    let Some((scheme, rest)) = text.split_once("://") else {
        return text;
    };
    // A JWKS may carry a key of its own in the query, under any name.
    let rest = match rest.split_once('?') {
        Some((before, _)) if scheme.starts_with("http") => format!("{before}?***"),
        _ => rest.to_owned(),
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
    const WORD: &str = "password";
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.to_ascii_lowercase().find(WORD) {
        let (before, after) = rest.split_at(at + WORD.len());
        out += before;
        rest = after;
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            continue;
        };
        out += "=***";
        rest = &value[value_length(value)..];
    }
    out + rest
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
    use super::redact_url;

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
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }
}

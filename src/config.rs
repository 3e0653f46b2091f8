//! Configuration in two steps: [`RawSettings`](crate::config::RawSettings) is what was said,
//! [`Settings`](crate::config::Settings) is what is meant.
//! It hands checked values to everybody above and is asked by the `config` subcommand what is wrong.
//! It must never open a socket, and no secret may leave it through `Debug`, an error or a printout.
//!
//! Four layers, later ones win: `config/default.toml` (embedded), a file, `ROWCAST__SECTION__KEY` in
//! the environment, flags. A key nobody knows is an error, since a typo would otherwise be a setting
//! that silently does nothing. A new key is a line in `default.toml`, one in `raw.rs`, a field in
//! `settings.rs` and its check in `check.rs`, or in `check_doors.rs` for the ways in.

mod check;
mod check_doors;
mod layers;
mod names;
mod raw;
mod redact;
mod settings;
mod value;
mod warnings;
mod written;

pub use names::variable;
pub use raw::{KEYS, RawSettings};
pub use redact::{redact_jwks, redact_url};
pub use settings::{
    Auth, Calls, Console, Database, Doorbell, Http, Hub, Limits, Listener, Log, LogFormat, Poll,
    Readers, Settings, Socketio, Sse, Websocket,
};
pub(crate) use value::is_http;
pub(crate) use warnings::is_local;

/// The defaults with their reasons, as a user reads them.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

/// Everything that is wrong with a configuration, one sentence a problem, without any secret.
#[derive(Debug, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

/// The value, if nothing was wrong on the way to it.
fn settled<T>(value: T, problems: Vec<String>) -> Result<T, ConfigError> {
    if problems.is_empty() {
        Ok(value)
    } else {
        Err(ConfigError { problems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    pub const SECRET: &str = "0123456789-0123456789-0123456789";

    pub fn load(env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<RawSettings, ConfigError> {
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        RawSettings::load(None, pairs(env).into_iter(), &pairs(flags))
    }

    pub fn load_file(text: &str) -> Result<RawSettings, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        RawSettings::load(Some(file.path()), std::iter::empty(), &[])
    }

    pub fn checked(env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        Settings::check(load(env, &[]).unwrap())
    }

    pub fn problems<T>(result: Result<T, ConfigError>) -> String {
        result.err().expect("a problem").to_string()
    }

    #[test]
    fn defaults_are_as_documented() {
        let settings = checked(&[]).unwrap();
        assert_eq!(settings.http.listen, "127.0.0.1:8080");
        assert_eq!(settings.database.pool_size, 8);
        assert_eq!(settings.database.url, None);
        assert_eq!(settings.database.statement_timeout, Duration::from_secs(2));
        assert_eq!(settings.limits.queue_bytes, 1_048_576);
        assert_eq!(settings.hub.ring_age, Duration::from_secs(300));
        assert_eq!(settings.listener.floor, Duration::from_millis(500));
        assert_eq!(settings.websocket.heartbeat, Duration::from_secs(25));
        assert_eq!(settings.log.format, LogFormat::Auto);
        assert!(settings.http.trusted_proxies.is_empty());
    }

    /// Each key stands once in default.toml, in the order of `KEYS`, right below one comment line.
    #[test]
    fn every_key_is_explained_in_default_toml() {
        let mut found = Vec::new();
        let mut section = String::new();
        let mut above = "";
        for line in DEFAULT_TOML.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            }
            let assignment = line.trim_start_matches("# ");
            if let Some((key, _)) = assignment.split_once(" = ")
                && key
                    .chars()
                    .all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
            {
                assert!(above.starts_with("# "), "{section}.{key} has no comment");
                let said = above.contains("efault") || !line.starts_with('#');
                assert!(said, "{section}.{key} does not say its default");
                found.push(format!("{section}.{key}"));
            }
            above = line;
        }
        assert_eq!(found, KEYS);
    }

    #[test]
    fn the_default_in_a_comment_is_the_default() {
        let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
        for pair in lines.windows(2) {
            let Some((_, value)) = pair[1].split_once(" = ") else {
                continue;
            };
            if !pair[1].starts_with('#') && value.parse::<u64>().is_ok() {
                let said = pair[0].contains(&format!("efault {value}"));
                assert!(
                    said,
                    "the comment above `{}` names another default",
                    pair[1]
                );
            }
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let env = [
            (
                "DATABASE_URL",
                "postgres://app:hidden1@db.example/app?sslmode=require",
            ),
            (
                "ROWCAST__DATABASE__LISTEN_URL",
                "host=db password='hidden2 \\' x' user=app",
            ),
            ("ROWCAST__AUTH__HS256_SECRET", &format!("hidden3-{SECRET}")),
            (
                "ROWCAST__AUTH__JWKS",
                "https://me:hidden4@id.example/jwks?key=hidden5",
            ),
        ];
        let raw = load(&env, &[]).unwrap();
        let shown = [raw.effective_toml(), format!("{raw:?}")];
        for text in &shown {
            assert!(!text.contains("hidden"), "{text}");
            assert!(text.contains("app:***@db.example"), "{text}");
        }
        assert!(shown[0].contains("sslmode=require"), "{}", shown[0]);
    }
}

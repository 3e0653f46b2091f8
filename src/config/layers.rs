//! Reads the four layers and merges them: defaults, a file, the environment, flags.
//! Hands [`RawSettings`] to the check, or every unknown key and wrong type with the place it came from.
//! It must never quote a value or a line of a file in a problem, for a secret may stand there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ::config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::names::{PREFIX, meant_by, remedy, variable};
use super::raw::{KEYS, RawSettings};
use super::{ConfigError, DEFAULT_TOML, settled};

impl RawSettings {
    /// Merges the layers. `env` is the whole environment (other variables are passed over, except
    /// `DATABASE_URL`, the default of `database.url`); `overrides` are flags as (`section.key`, text).
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        overrides: &[(String, String)],
    ) -> Result<RawSettings, ConfigError> {
        let (raw, problems) = Self::read(file, env, overrides);
        settled(raw, problems)
    }

    /// The same: what could be read, and what is wrong with the rest.
    pub fn read(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        overrides: &[(String, String)],
    ) -> (RawSettings, Vec<String>) {
        let mut layers = Layers::default();
        layers.toml("config/default.toml", DEFAULT_TOML);
        let defaults = layers.values.clone();
        if let Some(path) = file {
            let name = path.display().to_string();
            match fs::read_to_string(path) {
                Ok(text) => layers.toml(&name, &text),
                Err(error) => layers.say(format!("The file {name} can't be read: {error}.")),
            }
        }
        let database_url = layers.environment(env);
        for (key, text) in overrides {
            layers.put(key.clone(), "a flag", ValueKind::String(text.clone()));
        }

        let Layers {
            values,
            mut problems,
        } = layers;
        let mut raw = RawSettings::default();
        for (key, (value, origin)) in &values {
            if let Err(wanted) = raw.set(key, value) {
                problems.push(format!("`{key}` in {origin} must be {wanted}."));
                // Else the check would complain of a 0, too, which nobody wrote.
                if let Some((default, _)) = defaults.get(key) {
                    let _ = raw.set(key, default);
                }
            }
        }
        let origins = values.into_iter().map(|(key, (_, origin))| (key, origin));
        raw.origins = origins.collect();
        if raw.database.url.is_none() && database_url.is_some() {
            raw.database.url = database_url;
            let origin = "the environment (DATABASE_URL)".to_owned();
            raw.origins.insert("database.url".to_owned(), origin);
        }
        (raw, problems)
    }
}

/// The layers, one put upon the other.
#[derive(Default)]
struct Layers {
    /// By key, which is known to exist: the value of the topmost layer, and the place it comes from.
    values: BTreeMap<String, (ValueKind, String)>,
    problems: Vec<String>,
}

impl Layers {
    fn toml(&mut self, origin: &str, text: &str) {
        match File::from_str(text, FileFormat::Toml).collect() {
            Ok(table) => {
                for (key, value) in leaves(table) {
                    self.put(key, origin, value);
                }
            }
            Err(error) => {
                // The parser quotes the line it stumbled over, and a secret may stand on it.
                let full = error.to_string();
                let lines: Vec<&str> = full.lines().filter(|line| !line.contains('|')).collect();
                self.say(format!("{origin} is not TOML: {}.", lines.join(", ")));
            }
        }
    }

    /// Puts the variables with our prefix on top, and returns `DATABASE_URL`.
    fn environment(&mut self, env: impl Iterator<Item = (String, String)>) -> Option<String> {
        let mut database_url = None;
        for (name, text) in env {
            if name == "DATABASE_URL" {
                database_url = Some(text).filter(|url| !url.is_empty());
            } else if let Some(rest) = name.strip_prefix(PREFIX) {
                let key = rest.to_lowercase().replace("__", ".");
                if KEYS.contains(&key.as_str()) {
                    let origin = format!("the environment ({name})");
                    self.put(key, &origin, ValueKind::String(text));
                } else {
                    let remedy = remedy(&key, variable);
                    self.say(format!(
                        "`{name}` in the environment is not a key; {remedy}."
                    ));
                }
            } else if let Some(key) = meant_by(&name) {
                self.say(format!(
                    "`{name}` in the environment does nothing; write `{}`, with double underscores.",
                    variable(key)
                ));
            }
        }
        database_url
    }

    /// Puts a value on top, or names the key that was probably meant.
    fn put(&mut self, key: String, origin: &str, value: ValueKind) {
        if KEYS.contains(&key.as_str()) {
            self.values.insert(key, (value, origin.to_owned()));
        } else {
            let remedy = remedy(&key, str::to_owned);
            self.say(format!("`{key}` in {origin} is not a key; {remedy}."));
        }
    }

    fn say(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

/// The values of a table two levels deep as `section.key`, sorted, so that errors come in one order.
fn leaves(table: Map<String, Value>) -> Vec<(String, ValueKind)> {
    let mut found = Vec::new();
    for (section, value) in table {
        match value.kind {
            ValueKind::Table(keys) => found.extend(
                keys.into_iter()
                    .map(|(key, value)| (format!("{section}.{key}"), value.kind)),
            ),
            other => found.push((section, other)),
        }
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{load, load_file, problems};

    #[test]
    fn every_key_can_be_written_in_the_environment_and_as_a_flag() {
        let defaults = load(&[], &[]).unwrap().shown();
        for (at, key) in KEYS.iter().enumerate() {
            let (value, other) = match defaults[at].as_deref() {
                Some("false") => ("true", "false"),
                _ => ("4711", "12"),
            };
            let by_variable = load(&[(&variable(key), value)], &[]).unwrap().shown();
            let by_flag = load(&[(&variable(key), other)], &[(key, value)])
                .unwrap()
                .shown();
            assert_ne!(by_variable[at], defaults[at], "{key}");
            assert_eq!(by_variable, by_flag, "{key}");
            let others = |shown: &[Option<String>]| {
                let mut shown = shown.to_vec();
                shown.remove(at);
                shown
            };
            assert_eq!(
                others(&by_variable),
                others(&defaults),
                "{key} changed another key"
            );
        }
    }

    #[test]
    fn unknown_keys_name_their_place_and_the_nearest_key() {
        let text = problems(load(
            &[("ROWCAST__HTPP__LISTEN", "x")],
            &[("http.listne", "y")],
        ));
        assert!(
            text.contains("`ROWCAST__HTPP__LISTEN` in the environment"),
            "{text}"
        );
        assert!(
            text.contains("the nearest is `ROWCAST__HTTP__LISTEN`"),
            "{text}"
        );
        assert!(text.contains("`http.listne` in a flag"), "{text}");
        assert!(text.contains("the nearest is `http.listen`"), "{text}");

        let text = problems(load_file("listen = 'x'\n[limits]\nconections = 5\n"));
        assert!(text.contains("`listen` in /"), "{text}");
        assert!(text.contains("the nearest is `http.listen`"), "{text}");
        assert!(text.contains("`limits.conections`"), "{text}");
        assert!(
            text.contains("the nearest is `limits.connections`"),
            "{text}"
        );
        let text = problems(load_file("[http]\nfoo = 1\n"));
        assert!(text.contains("`http.foo`"), "{text}");
        assert!(!text.contains("nearest"), "nothing is near: {text}");
    }

    #[test]
    fn a_single_underscore_is_no_silent_loss() {
        let text = problems(load(&[("ROWCAST_HTTP_LISTEN", "x")], &[]));
        assert!(text.contains("write `ROWCAST__HTTP__LISTEN`"), "{text}");
        let text = problems(load(&[("ROWCAST_LIMITS__CONNECTIONS_PER_USER", "x")], &[]));
        assert!(
            text.contains("write `ROWCAST__LIMITS__CONNECTIONS_PER_USER`"),
            "{text}"
        );
        assert!(load(&[("ROWCAST_OTHER", "x"), ("PATH", "/bin")], &[]).is_ok());
    }

    #[test]
    fn wrong_types_name_key_and_place_without_the_value() {
        let env = [("ROWCAST__DATABASE__POOL_SIZE", "many")];
        let text = problems(load(&env, &[]));
        assert!(text.contains("`database.pool_size`"), "{text}");
        assert!(text.contains("ROWCAST__DATABASE__POOL_SIZE"), "{text}");
        assert!(text.contains("whole number"), "{text}");
        for wrong in [
            "pool_size = 1.5",
            "pool_size = -1",
            "pool_size = true",
            "pool_size.a = 1",
        ] {
            let text = problems(load_file(&format!("[database]\n{wrong}\n")));
            assert!(text.contains("whole number"), "{wrong}: {text}");
        }
        assert!(problems(load_file("[http]\nlisten = 8080\n")).contains("text in quotes"));
    }

    #[test]
    fn layers_override_in_order_and_lists_are_replaced() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[http]\nlisten = '1.1.1.1:1'\nadmin_listen = '1.1.1.1:2'\n\
                    trusted_proxies = ['10.0.0.0/8', '::1']\n[database]\nurl = 'postgres://file/a'\n";
        std::fs::write(file.path(), text).unwrap();
        let env = [
            ("DATABASE_URL", "postgres://default/a"),
            ("ROWCAST__HTTP__LISTEN", "2.2.2.2:2"),
            ("ROWCAST__HTTP__ADMIN_LISTEN", ""),
            ("ROWCAST__HTTP__TRUSTED_PROXIES", "192.168.0.1"),
        ];
        let env = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let flags = [("http.listen".to_owned(), "3.3.3.3:3".to_owned())];
        let raw = RawSettings::load(Some(file.path()), env.into_iter(), &flags).unwrap();
        assert_eq!(raw.http.listen, "3.3.3.3:3");
        assert_eq!(raw.http.admin_listen, None, "an empty variable unsets");
        assert_eq!(raw.http.trusted_proxies, ["192.168.0.1"]);
        assert_eq!(raw.database.url.as_deref(), Some("postgres://file/a"));

        let raw = load(&[("DATABASE_URL", "postgres://default/a")], &[]).unwrap();
        assert_eq!(raw.database.url.as_deref(), Some("postgres://default/a"));
    }

    #[test]
    fn a_broken_file_is_reported_without_its_lines() {
        let text = problems(load_file("[auth]\nhs256_secret = \"hidden\n"));
        assert!(text.contains("line 2"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
        let missing = RawSettings::load(Some(Path::new("/no/such.toml")), std::iter::empty(), &[]);
        assert!(problems(missing).contains("/no/such.toml can't be read"));
    }
}

//! The types a key can have: how each is read from a layer and shown as TOML.
//! Hands typed values to the raw settings, and what would have been right to whoever words the problem.
//! It must never put the wrong value into its answer, for that value may be a secret.

use ::config::ValueKind;

/// A type a key can have: how it is read from a layer and shown as TOML.
pub(super) trait Written: Sized {
    /// Answers what would have been right if `value` isn't.
    fn read(value: &ValueKind) -> Result<Self, &'static str>;
    /// `None` for an optional key that is not set.
    fn show(&self) -> Option<String>;
}

impl Written for u64 {
    fn read(value: &ValueKind) -> Result<Self, &'static str> {
        match value {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            ValueKind::U64(number) => Some(*number),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        }
        .ok_or("a whole number that is not negative")
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Written for bool {
    fn read(value: &ValueKind) -> Result<Self, &'static str> {
        match value {
            ValueKind::Boolean(truth) => Some(*truth),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        }
        .ok_or("true or false")
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Written for String {
    fn read(value: &ValueKind) -> Result<Self, &'static str> {
        match value {
            ValueKind::String(text) => Ok(text.clone()),
            _ => Err("text in quotes"),
        }
    }

    fn show(&self) -> Option<String> {
        // JSON's escapes are a subset of those of TOML's basic strings.
        Some(serde_json::Value::from(self.as_str()).to_string())
    }
}

impl Written for Option<String> {
    /// Empty means unset, for compose files and charts pass on variables that nobody filled.
    fn read(value: &ValueKind) -> Result<Self, &'static str> {
        String::read(value).map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Written::show)
    }
}

impl Written for Vec<String> {
    fn read(value: &ValueKind) -> Result<Self, &'static str> {
        match value {
            // As TOML has it, less the quotes, which a shell has taken.
            ValueKind::String(text) if text.trim_start().starts_with('[') => {
                Err("a list with commas and without brackets, as in a,b")
            }
            ValueKind::String(text) => Ok(text
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect()),
            ValueKind::Array(items) => items.iter().map(|item| String::read(&item.kind)).collect(),
            _ => Err("a list of texts"),
        }
    }

    fn show(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(Written::show).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

//! `rowcast token`: mints a token for development with the configured secret.
//! Hands it to standard output. It must never be mistaken for a login: it asks nobody.

use super::Failure;
use crate::clock::unix_now;
use crate::config::Settings;
use clap::Args;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use std::process::ExitCode;

/// Seconds: beyond it a token is meant to last for ever, and none does.
const CENTURY_S: u64 = 100 * 366 * 24 * 60 * 60;

#[derive(Args, Debug)]
pub struct TokenArgs {
    /// Whom it names (claim sub).
    #[arg(long, value_name = "USER")]
    sub: String,
    /// The claim role, such as user, admin or super_admin.
    #[arg(long)]
    role: Option<String>,
    /// The claim org.
    #[arg(long)]
    org: Option<String>,
    /// Seconds until it expires, at most a century.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(..=CENTURY_S))]
    expires_in: u64,
    /// A further claim: NAME=VALUE, where VALUE is JSON or else text.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
}

pub fn run(args: &TokenArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let secret = settings.auth.hs256_secret.as_deref().ok_or(
        "no secret to sign with: set ROWCAST__AUTH__HS256_SECRET to the one that serve uses",
    )?;
    let claims = claims(args, settings, unix_now())?;
    let claims = Value::Object(claims);
    super::say(crate::token::mint(secret, &claims, Algorithm::HS256)?)?;
    Ok(ExitCode::SUCCESS)
}

fn claims(args: &TokenArgs, settings: &Settings, now: u64) -> Result<Map<String, Value>, Failure> {
    let mut claims = Map::new();
    for pair in &args.claims {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("--claim {pair}: NAME=VALUE was expected"))?;
        let otherwise = match name {
            "sub" => Some("say it by --sub"),
            "role" if args.role.is_some() => Some("it is said by --role already"),
            "org" if args.org.is_some() => Some("it is said by --org already"),
            "exp" => Some("say it by --expires-in"),
            "iat" => Some("it is the time of this command"),
            _ => None,
        };
        if let Some(otherwise) = otherwise {
            return Err(format!("--claim {pair}: {otherwise}").into());
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        claims.insert(name.to_owned(), value);
    }
    let named = [
        ("sub", Some(&args.sub)),
        ("role", args.role.as_ref()),
        ("org", args.org.as_ref()),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value.as_str().into());
        }
    }
    claims.insert("iat".into(), now.into());
    claims.insert("exp".into(), (now + args.expires_in).into());
    for (name, value) in [
        ("iss", &settings.auth.issuer),
        ("aud", &settings.auth.audience),
    ] {
        if let Some(value) = value {
            claims.entry(name).or_insert_with(|| value.as_str().into());
        }
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawSettings;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TokenArgs,
    }

    fn claimed(words: &[&str]) -> Result<Value, String> {
        let words = ["token", "--sub", "1"].iter().chain(words);
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let raw = RawSettings::load(None, std::iter::empty(), &[]).unwrap();
        let claims = claims(&line.args, &Settings::check(raw).unwrap(), 1000);
        claims.map(Value::Object).map_err(|error| error.to_string())
    }

    #[test]
    fn no_word_is_dropped_in_silence() {
        let words = ["--role", "user", "--claim", "org=7", "--expires-in", "60"];
        let expected = json!({ "sub": "1", "role": "user", "org": 7, "iat": 1000, "exp": 1060 });
        assert_eq!(claimed(&words), Ok(expected));
        for (words, named) in [
            (["--claim", "exp=1"], "--expires-in"),
            (["--claim", "sub=2"], "--sub"),
            (["--claim", "iat=1"], "iat"),
            (["--claim", "role"], "NAME=VALUE"),
            (["--expires-in", "18446744073709551615"], "--expires-in"),
        ] {
            let why = claimed(&words).unwrap_err();
            assert!(why.contains(named), "{words:?}: {why}");
        }
        let twice = claimed(&["--role", "user", "--claim", "role=admin"]);
        assert!(twice.is_err_and(|why| why.contains("--role")));
    }
}

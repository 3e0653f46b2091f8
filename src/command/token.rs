//! `rowcast token`: mints a token for development with the configured secret.
//! Hands it to standard output. It must never be mistaken for a login: it asks nobody.

use super::Failure;
use crate::config::Settings;
use crate::connection::unix_now;
use clap::Args;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use std::process::ExitCode;

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
    /// Seconds until it expires.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    expires_in: u64,
    /// A further claim: NAME=VALUE, where VALUE is JSON or else text.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
}

pub fn run(args: &TokenArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let secret = settings.auth.hs256_secret.as_deref().ok_or(
        "no secret to sign with: set ROWCAST__AUTH__HS256_SECRET to the one that serve uses",
    )?;
    let mut claims = Map::new();
    for pair in &args.claims {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("--claim {pair}: NAME=VALUE was expected"))?;
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
    let now = unix_now();
    claims.insert("iat".into(), now.into());
    claims.insert("exp".into(), (now + args.expires_in).into());
    if let Some(issuer) = &settings.auth.issuer {
        claims
            .entry("iss")
            .or_insert_with(|| issuer.as_str().into());
    }
    if let Some(audience) = &settings.auth.audience {
        claims
            .entry("aud")
            .or_insert_with(|| audience.as_str().into());
    }
    super::say(crate::token::mint(
        secret,
        &Value::Object(claims),
        Algorithm::HS256,
    )?)?;
    Ok(ExitCode::SUCCESS)
}

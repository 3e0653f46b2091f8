//! What is allowed but should not go unsaid at the start.
//! Hands its sentences to the commands that start the service or show its configuration.
//! It must never refuse anything: what cannot work is a problem, and `check` names it.

use ipnet::IpNet;
use std::net::IpAddr;

use super::redact::redact_url;
use super::settings::Settings;

impl Settings {
    /// What is allowed but should not go unsaid at the start, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |text: &str| warnings.push(text.to_owned());
        let auth = &self.auth;
        if auth.has_key() {
            if auth.issuer.is_none() {
                warn("auth.issuer is not set: `iss` is not checked.");
            }
            if auth.audience.is_none() {
                warn("auth.audience is not set: `aud` is not checked, tokens for others get in.");
            }
        } else {
            warn(
                "No key for tokens (auth.hs256_secret, auth.public_key_file or auth.jwks): \
                 only what rowcast.session_rule and auth.anonymous_claims admit gets in.",
            );
        }
        if auth.anonymous_claims.is_some() {
            warn("auth.anonymous_claims is set: clients without a token get in with these claims.");
        }
        if auth.jwks.as_deref().is_some_and(is_plain_remote) {
            warn("auth.jwks is fetched without TLS: whoever sits between can sign tokens.");
        }
        if !is_local(&self.http.listen)
            && self.http.tls_key_file.is_none()
            && self.http.trusted_proxies.is_empty()
        {
            warn(
                "http.listen is open to other machines without TLS and without http.trusted_proxies: \
                 tokens travel in the clear, or all clients share their proxy's address.",
            );
        }
        if self.http.trusted_proxies.iter().any(is_everybody) {
            warn(
                "http.trusted_proxies holds all addresses: anybody says by X-Forwarded-For who they are, \
                 and limits by address hold for nobody.",
            );
        }
        let operators = self.http.admin_listen.as_deref();
        if self.console.enabled && operators.is_some_and(|listen| !is_local(listen)) {
            warn(
                "http.admin_listen is open to other machines and has no TLS: \
                 tokens for the console travel in the clear.",
            );
        }
        if self.database.listen_url.is_none()
            && self.database.url.as_deref().is_some_and(looks_like_pooler)
        {
            warn(
                "database.url looks like a pooler and database.listen_url is not set: \
                 LISTEN needs a direct connection.",
            );
        }
        warnings
    }
}

/// A JWKS that another machine serves in the clear.
fn is_plain_remote(jwks: &str) -> bool {
    jwks.starts_with("http://")
        && url::Url::parse(jwks).is_ok_and(|url| !is_local_host(url.host_str().unwrap_or_default()))
}

/// Whether this network leaves nobody out.
fn is_everybody(network: &IpNet) -> bool {
    network.prefix_len() == 0
}

/// Whether only this machine reaches the address.
pub fn is_local(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    listen.starts_with("unix:") || is_local_host(host)
}

/// An unknown name counts as reachable from elsewhere.
fn is_local_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// PgBouncer's own port, and the names that hosted poolers go by.
fn looks_like_pooler(url: &str) -> bool {
    let url = redact_url(url);
    [":6432", "port=6432", "pooler", "pgbouncer"]
        .iter()
        .any(|sign| url.contains(sign))
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{SECRET, checked};

    #[test]
    fn warnings_say_what_is_not_checked() {
        let text = |env: &[(&str, &str)]| checked(env).unwrap().warnings().join("\n");
        assert!(text(&[]).contains("No key for tokens"));
        let loose = text(&[("ROWCAST__AUTH__HS256_SECRET", SECRET)]);
        assert!(loose.contains("`iss` is not checked") && loose.contains("`aud` is not checked"));
        let strict = [
            ("ROWCAST__AUTH__HS256_SECRET", SECRET),
            ("ROWCAST__AUTH__ISSUER", "a"),
            ("ROWCAST__AUTH__AUDIENCE", "b"),
        ];
        assert_eq!(text(&strict), "");
        assert!(text(&[("ROWCAST__HTTP__LISTEN", "0.0.0.0:80")]).contains("http.listen"));
        for all in ["10.0.0.0/8,0.0.0.0/0", "::/0"] {
            assert!(text(&[("ROWCAST__HTTP__TRUSTED_PROXIES", all)]).contains("all addresses"));
        }
        let network = text(&[("ROWCAST__HTTP__TRUSTED_PROXIES", "10.0.0.0/8")]);
        assert!(!network.contains("all addresses"), "{network}");
        let console = |listen| {
            text(&[
                ("ROWCAST__CONSOLE__ENABLED", "true"),
                ("ROWCAST__HTTP__ADMIN_LISTEN", listen),
            ])
        };
        assert!(console("0.0.0.0:9090").contains("tokens for the console"));
        assert!(!console("127.0.0.1:9090").contains("tokens for the console"));
        assert!(text(&[("DATABASE_URL", "postgres://h:6432/d")]).contains("database.listen_url"));
        assert!(text(&[("ROWCAST__AUTH__JWKS", "http://id/jwks")]).contains("without TLS"));
        assert!(!text(&[("ROWCAST__AUTH__JWKS", "http://localhost/jwks")]).contains("without TLS"));
    }
}

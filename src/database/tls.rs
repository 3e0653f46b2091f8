//! libpq's sslmodes for a crate that knows three of the six: the address is read here, rustls
//! verifies what the mode demands. So is `target_session_attrs`, of which it lacks some as well.
//! Hands a connector over to the connections. It must never accept less than the mode says.

use super::DatabaseError;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// The system's authorities, once some were found: some hundred, and a connect would wait for them.
static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();

/// What a connection to Postgres is wrapped in.
pub type PgStream =
    <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// `prefer`, `require`: encrypted, whoever answers.
    Nothing,
    /// `verify-ca`: a certificate of our authority, for whatever name.
    Authority,
    /// `verify-full`: and for the host we asked for.
    Host,
}

/// Reads an address with libpq's `sslmode` and `sslrootcert`.
pub fn parse(address: &str) -> Result<(tokio_postgres::Config, MakeRustlsConnect), DatabaseError> {
    let Parts {
        address,
        mode,
        root,
        target,
    } = split(address)?;
    // libpq: anybody can have a certificate of a public authority, so it counts for its own host alone.
    let public = root.as_deref() == Some("system");
    let mode = mode.or_else(|| public.then(|| "verify-full".to_owned()));
    if public && mode.as_deref() != Some("verify-full") {
        let mode = mode.unwrap_or_default();
        return Err(DatabaseError::Address(format!(
            "sslmode={mode} is too weak with sslrootcert=system: leave it out, or say verify-full"
        )));
    }
    let check = match mode.as_deref() {
        None | Some("disable" | "allow" | "prefer") => Check::Nothing,
        Some("require") if root.is_none() => Check::Nothing,
        // libpq: with a root certificate, require means verify-ca.
        Some("require" | "verify-ca") => Check::Authority,
        Some("verify-full") => Check::Host,
        Some(other) => {
            return Err(DatabaseError::Address(format!(
                "sslmode={other} is none of disable, allow, prefer, require, verify-ca, verify-full"
            )));
        }
    };
    let mut config = tokio_postgres::Config::from_str(&address)
        .map_err(|error| DatabaseError::Address(unread(&address, &error)))?;
    config.ssl_mode(match mode.as_deref() {
        Some("disable") => SslMode::Disable,
        None | Some("allow" | "prefer") => SslMode::Prefer,
        Some(_) => SslMode::Require,
    });
    config.target_session_attrs(match target.as_deref() {
        // A standby can't LISTEN, has no history to begin, and what it has not replayed yet would
        // be missing from a replay.
        None | Some("read-write" | "primary") => TargetSessionAttrs::ReadWrite,
        Some("any") => TargetSessionAttrs::Any,
        Some(other) => {
            return Err(DatabaseError::Address(format!(
                "target_session_attrs={other}: Rowcast works on the primary; \
                 leave it out, or say read-write, primary or any"
            )));
        }
    });
    if config.get_application_name().is_none() {
        config.application_name("rowcast");
    }
    // A half-open link must be noticed in seconds, not in the two hours of the kernel's default.
    config.keepalives_idle(std::time::Duration::from_secs(15));
    config.tcp_user_timeout(std::time::Duration::from_secs(15));
    let client = client_config(check, root.as_deref())?;
    Ok((config, MakeRustlsConnect::new(client)))
}

/// An address without what is read here.
#[derive(Default)]
struct Parts {
    address: String,
    mode: Option<String>,
    root: Option<String>,
    target: Option<String>,
}

impl Parts {
    /// Takes a parameter that tokio-postgres doesn't know, or not all of; false if it is another.
    fn take(&mut self, key: &str, value: &str) -> bool {
        let place = match key {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root,
            "target_session_attrs" => &mut self.target,
            _ => return false,
        };
        *place = Some(value.to_owned());
        true
    }
}

fn split(address: &str) -> Result<Parts, DatabaseError> {
    let mut parts = Parts::default();
    let mut kept = Vec::new();
    if !address.starts_with("postgres://") && !address.starts_with("postgresql://") {
        // Keywords and values, as libpq takes them too.
        let mut rest = address.trim_start();
        while !rest.is_empty() {
            let (key, value, behind) = keyword(rest)?;
            if !parts.take(key, &value) {
                // As it was written: blanks in quotes may be a password's.
                kept.push(&rest[..rest.len() - behind.len()]);
            }
            rest = behind.trim_start();
        }
        parts.address = kept.join(" ");
        return Ok(parts);
    }
    let (rest, query) = address.split_once('?').unwrap_or((address, ""));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_encoding::percent_decode_str(value)
            .decode_utf8()
            .map_err(|_| DatabaseError::Address(format!("{key} is not UTF-8")))?;
        if !parts.take(key, &value) {
            kept.push(pair);
        }
    }
    parts.address = rest.to_owned();
    if !kept.is_empty() {
        parts.address = format!("{rest}?{}", kept.join("&"));
    }
    Ok(parts)
}

/// Takes the first keyword and its value off a text that begins with one, by libpq's rules: a value
/// ends at a blank or is quoted, and a backslash escapes.
fn keyword(text: &str) -> Result<(&str, String, &str), DatabaseError> {
    let wrong = |what: &str| {
        Err(DatabaseError::Address(format!(
            "{what}: write keyword=value, and what holds blanks in quotes, as in password='two words'"
        )))
    };
    // The word itself may be half of a password.
    let Some((key, rest)) = text.split_once('=') else {
        return wrong("a word without `=`");
    };
    let key = key.trim_end();
    if key.contains(char::is_whitespace) {
        return wrong("a word without `=`");
    }
    let rest = rest.trim_start();
    let (quoted, body) = rest
        .strip_prefix('\'')
        .map_or((false, rest), |body| (true, body));
    let (mut value, mut escaped) = (String::new(), false);
    for (at, letter) in body.char_indices() {
        match letter {
            _ if escaped => {
                escaped = false;
                value.push(letter);
            }
            '\\' => escaped = true,
            '\'' if quoted => return Ok((key, value, &body[at + 1..])),
            _ if !quoted && letter.is_whitespace() => return Ok((key, value, &body[at..])),
            _ => value.push(letter),
        }
    }
    if quoted {
        return wrong(&format!("the quote of `{key}` is never closed"));
    }
    Ok((key, value, ""))
}

/// What is wrong with an address, by tokio-postgres' words for it, which name parameters and no values.
fn unread(address: &str, error: &tokio_postgres::Error) -> String {
    let (before, query) = address.split_once('?').unwrap_or((address, ""));
    // What it takes for a host and parameters is a part of the password then.
    if before.contains('@') && query.contains('@') {
        return format!("{error}: in a password, write %3F for ? and %40 for @");
    }
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn client_config(check: Check, root: Option<&str>) -> Result<ClientConfig, DatabaseError> {
    let failed =
        |what: &str, error: &dyn std::fmt::Display| DatabaseError::Tls(format!("{what}: {error}"));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let authority = if check == Check::Nothing {
        None
    } else {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots(root)?, Arc::clone(&provider));
        Some(
            verifier
                .build()
                .map_err(|error| failed("sslrootcert", &error))?,
        )
    };
    let verifier = Arc::new(Verifier {
        check,
        authority,
        provider: Arc::clone(&provider),
    });
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("protocol versions", &error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Those of a file as it is now, or the system's.
fn roots(file: Option<&str>) -> Result<Arc<RootCertStore>, DatabaseError> {
    let Some(path) = file.filter(|path| *path != "system") else {
        if let Some(known) = SYSTEM.get() {
            return Ok(Arc::clone(known));
        }
        let found = usable(rustls_native_certs::load_native_certs().certs)?;
        return Ok(Arc::clone(SYSTEM.get_or_init(|| found)));
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| DatabaseError::Tls(format!("sslrootcert {path}: {error}")))?;
    usable(certificates)
}

fn usable(certificates: Vec<CertificateDer<'static>>) -> Result<Arc<RootCertStore>, DatabaseError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(DatabaseError::Tls(
            "no root certificate: name a PEM file in sslrootcert, or install ca-certificates"
                .into(),
        ));
    }
    Ok(Arc::new(roots))
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authority) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        match authority.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check == Check::Authority => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(address: &str) -> String {
        parse(address).err().expect("a problem").to_string()
    }

    #[test]
    fn what_is_wrong_with_an_address_is_named() {
        for (address, named) in [
            ("postgres://u@h:many/d", "port"),
            ("postgres://u@h/d?bogus=1", "`bogus`"),
            ("host=h port=many", "port"),
            ("host=h bogus=1", "`bogus`"),
            ("host=h stray dbname=d", "word without `=`"),
            ("host=h stray", "word without `=`"),
            ("host=h password='hidden", "quote of `password`"),
        ] {
            let told = problem(address);
            assert!(told.contains(named), "{address}: {told}");
        }
        for address in [
            "postgres://u:hid@den?den=1@h/d",
            "host=h password=hid den",
            "host=h password=hid den dbname=d",
            "host=h password='hidden",
        ] {
            let told = problem(address);
            assert!(!told.contains("hid") && !told.contains("den"), "{told}");
        }
    }

    /// Two blanks in a quoted password had become one on the way.
    #[test]
    fn a_quoted_value_stays_as_it_is() {
        let address = r"user = u  password='ge  heim\'s' sslmode='disable' sslrootcert='' host='h'";
        let (config, _) = parse(address).unwrap();
        assert_eq!(config.get_password(), Some(&b"ge  heim's"[..]));
        assert_eq!(config.get_ssl_mode(), SslMode::Disable);
        assert_eq!(config.get_user(), Some("u"));
    }

    /// A pool that connected anew read some hundred certificates for each connection, and each cancel request.
    #[test]
    fn the_systems_authorities_are_read_once() {
        // Where this machine has none, any will do.
        let none = |_| Arc::clone(SYSTEM.get_or_init(|| Arc::new(RootCertStore::empty())));
        let first = roots(None).unwrap_or_else(none);
        assert!(Arc::ptr_eq(&first, &roots(Some("system")).unwrap()));
    }

    /// As libpq: any other mode would take anybody's certificate.
    #[test]
    fn the_systems_authorities_are_asked_about_the_host() {
        let ask = |query: &str| parse(&format!("postgres://u@h/d?sslrootcert=system{query}"));
        for query in ["", "&sslmode=verify-full"] {
            match ask(query) {
                Ok((config, _)) => assert_eq!(config.get_ssl_mode(), SslMode::Require, "{query}"),
                // It did look for the system's authorities, and this machine has none.
                Err(DatabaseError::Tls(_)) => {}
                Err(error) => panic!("{query}: {error}"),
            }
        }
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let weak = ask(&format!("&sslmode={mode}"));
            assert!(matches!(weak, Err(DatabaseError::Address(_))), "{mode}");
        }
    }
}

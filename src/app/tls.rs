//! TLS of `http.listen`: certificate and key, read from their files.
//! Hands an acceptor to the accept loop. It must never serve with a key that is not the certificate's.

use super::OpenError;
use crate::config::Settings;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::CertificateError as Wrong;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

/// What shakes hands, if TLS is configured.
pub(super) fn acceptor(settings: &Settings) -> Result<Option<TlsAcceptor>, OpenError> {
    let http = &settings.http;
    let (Some(certificate), Some(key)) = (&http.tls_certificate_file, &http.tls_key_file) else {
        return Ok(None);
    };
    let failed = |key: &str, path: &Path, error: &dyn std::fmt::Display| {
        OpenError::Tls(format!("http.{key} {}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed("tls_certificate_file", certificate, &error))?;
    if chain.is_empty() {
        let error = "there is no certificate in it; write the chain in PEM";
        return Err(failed("tls_certificate_file", certificate, &error));
    }
    let secret = PrivateKeyDer::from_pem_file(key);
    let secret = secret.map_err(|error| match error {
        pem::Error::Io(_) => failed("tls_key_file", key, &error),
        error => {
            let error = format!("{error}; write a private key in PEM, without a passphrase");
            failed("tls_key_file", key, &error)
        }
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Tls(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let of = format!(
                    "this is not the key of {}: is the server's own certificate the first in it?",
                    certificate.display()
                );
                failed("tls_key_file", key, &of)
            }
            error @ rustls::Error::InvalidCertificate(_) => {
                failed("tls_certificate_file", certificate, &error)
            }
            error => failed("tls_key_file", key, &error),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// A certificate that no client will take now: it has ended, or is yet to begin. What else may be wrong
/// with it is for the acceptor to say, or for the clients.
pub fn untimely_certificate(settings: &Settings) -> Option<String> {
    let path = settings.http.tls_certificate_file.as_ref()?;
    let certificate = CertificateDer::from_pem_file(path).ok()?;
    // Any will do: the time is looked at before who signed it.
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let (name, now) = (ServerName::try_from("localhost").ok()?, UnixTime::now());
    match verifier
        .ok()?
        .verify_server_cert(&certificate, &[], &name, &[], now)
    {
        Err(rustls::Error::InvalidCertificate(
            error @ (Wrong::Expired
            | Wrong::ExpiredContext { .. }
            | Wrong::NotValidYet
            | Wrong::NotValidYetContext { .. }),
        )) => {
            let path = path.display();
            Some(format!(
                "http.tls_certificate_file {path}: {error}: clients will refuse it."
            ))
        }
        _ => None,
    }
}

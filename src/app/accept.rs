//! The way in: sockets accepted, TLS shaken hands on, and each request handed to the front.
//! Hands over to the front's services. It must never leave one connection waiting for another.

use super::front::Front;
use super::{OpenError, SPARE_SOCKETS, Socket};
use crate::config::Settings;
use crate::connection::Gate;
use crate::connection::presence::Cut;
use crate::connection::visit::Peer;
use crate::stream::Stream;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Accepts until it is dropped; those who are in stay.
pub(super) async fn accept_all(
    gate: &Arc<Gate>,
    socket: &Socket,
    tls: Option<TlsAcceptor>,
    front: Front,
    stopping: watch::Receiver<bool>,
) {
    let sockets = Arc::new(tokio::sync::Semaphore::new(
        gate.settings.limits.connections + SPARE_SOCKETS,
    ));
    // Not the builder that guesses HTTP's version: it would wait for a first byte without a limit.
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(gate.settings.http.header_timeout)
        .max_buf_size(gate.settings.limits.request_head_bytes.max(8192));
    loop {
        let (stream, peer) = match socket.accept(&gate.settings.limits).await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: a pause lets some be closed.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Beyond every limit nothing is said any more: the socket is closed unread.
        let Ok(permit) = Arc::clone(&sockets).try_acquire_owned() else {
            continue;
        };
        let (builder, front, tls, timeout) = (
            builder.clone(),
            front.clone(),
            tls.clone(),
            gate.settings.http.header_timeout,
        );
        let mut stopping = stopping.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let Some(stream) = wrap(stream, tls, timeout).await else {
                return;
            };
            let cut = Cut::default();
            let with_peer = WithPeer {
                inner: front,
                peer,
                cut: cut.clone(),
            };
            let connection = builder
                .serve_connection(TokioIo::new(stream), with_peer)
                .with_upgrades();
            tokio::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                }
                () = cut.0.notified() => {}
                () = async { drop(stopping.wait_for(|stop| *stop).await) } => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        _ = connection.as_mut() => {}
                        () = cut.0.notified() => {}
                    }
                }
            }
        });
    }
}

async fn wrap(stream: Stream, tls: Option<TlsAcceptor>, timeout: Duration) -> Option<Stream> {
    match (stream, tls) {
        (Stream::Tcp(stream), Some(tls)) => {
            match tokio::time::timeout(timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS handshake failed");
                    None
                }
                Err(_) => None,
            }
        }
        (stream, _) => Some(stream),
    }
}

pub(super) fn tls_acceptor(settings: &Settings) -> Result<Option<TlsAcceptor>, OpenError> {
    let http = &settings.http;
    let (Some(certificate), Some(key)) = (&http.tls_certificate_file, &http.tls_key_file) else {
        return Ok(None);
    };
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        OpenError::Tls(format!("{}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(certificate, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| failed(certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Tells the routes what only the accept loop knows.
#[derive(Clone)]
struct WithPeer<S> {
    inner: S,
    peer: Peer,
    cut: Cut,
}

impl<S, B> Service<hyper::Request<B>> for WithPeer<S>
where
    S: Service<hyper::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: hyper::Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.cut.clone());
        self.inner.call(request)
    }
}

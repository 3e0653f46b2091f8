//! Where a JWKS comes from: a file, or a URL by HTTP(S).
//! Hands its bytes to the key set, or why they can't be had.
//! It must never wait for an issuer without a bound, follow a redirect, or name credentials in an error.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector, dns::GaiResolver};
use hyper_util::rt::TokioExecutor;
use tokio_rustls::rustls;

use super::VerifierError;
use crate::config;

/// Bytes of a JWKS: hundreds of keys.
pub(super) const JWKS_BYTES: usize = 256 * 1024;
/// An issuer that does not answer within this is away; the keys at hand go on to count.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

type HttpsClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// A place with its name for errors, without credentials.
pub(super) struct Source {
    pub(super) name: String,
    kind: Kind,
}

enum Kind {
    File(PathBuf),
    Url(hyper::Uri, Box<HttpsClient>),
}

impl Source {
    pub(super) fn new(jwks: &str) -> Result<Source, VerifierError> {
        let name = config::redact_jwks(jwks);
        let kind = if config::is_http(jwks) {
            let uri = jwks.parse().map_err(|_| {
                VerifierError::Unusable(name.clone(), "this is not a URL".to_owned())
            })?;
            let client = Client::builder(TokioExecutor::new());
            Kind::Url(uri, Box::new(client.build(connector(GaiResolver::new()))))
        } else {
            Kind::File(PathBuf::from(jwks))
        };
        Ok(Source { name, kind })
    }

    /// What can be read without waiting: a file, but no URL.
    pub(super) fn at_once(&self) -> Result<Option<Vec<u8>>, VerifierError> {
        match &self.kind {
            Kind::File(path) => std::fs::read(path)
                .map(Some)
                .map_err(|error| VerifierError::Unreadable(self.name.clone(), error)),
            Kind::Url(..) => Ok(None),
        }
    }

    pub(super) async fn read(&self) -> Result<Bytes, VerifierError> {
        let failed = |reason: String| VerifierError::Fetch(self.name.clone(), reason);
        tokio::time::timeout(FETCH_TIMEOUT, async {
            match &self.kind {
                Kind::File(path) => tokio::fs::read(path)
                    .await
                    .map(Bytes::from)
                    .map_err(|error| VerifierError::Unreadable(self.name.clone(), error)),
                Kind::Url(uri, client) => get(client, uri).await.map_err(failed),
            }
        })
        .await
        .unwrap_or_else(|_| Err(failed("no answer in time".to_owned())))
    }
}

async fn get<C>(client: &Client<C, Empty<Bytes>>, uri: &hyper::Uri) -> Result<Bytes, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let answer = client.get(uri.clone()).await;
    let answer = answer.map_err(|error| causes(&error))?;
    if answer.status() != hyper::StatusCode::OK {
        return Err(format!("the answer was {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), JWKS_BYTES).collect().await;
    body.map(|body| body.to_bytes())
        .map_err(|error| error.to_string())
}

/// The system's certificates, so that a company's own authority counts; else those of the web. The
/// addresses of a name share half of the time, which leaves the other for the answer: one that says
/// nothing keeps nobody from the next.
fn connector<R>(resolver: R) -> HttpsConnector<HttpConnector<R>> {
    let mut http = HttpConnector::new_with_resolver(resolver);
    http.enforce_http(false);
    http.set_connect_timeout(Some(FETCH_TIMEOUT / 2));
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = rustls::crypto::ring::default_provider();
    let tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("ring knows the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http)
}

/// An error with its causes, for "client error (Connect)" alone helps nobody.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenError;
    use crate::token::jwks::REFRESH_PAUSE_S;
    use crate::token::sample::*;
    use hyper_util::client::legacy::connect::dns;
    use jsonwebtoken::Algorithm;
    use socket2::{Domain, Type};
    use std::future::{Ready, ready};
    use std::net::SocketAddr;
    use std::task::{Context, Poll};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Somebody who has sent the head of a request.
    async fn asked(listener: &TcpListener) -> TcpStream {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        socket
    }

    async fn answer(socket: &mut TcpStream, status: &str, body: &str) {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        // The client hangs up on a body that is too long.
        let _ = socket.write_all(answer.as_bytes()).await;
    }

    #[tokio::test]
    async fn a_jwks_behind_a_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://me:hidden@{}/jwks.json",
            listener.local_addr().unwrap()
        );
        let good = jwks(&[member(ED25519_PUBLIC, Some("a"))]);
        let answers = [
            ("503 Service Unavailable", String::new()),
            ("302 Found", good.clone()),
            // Good but for its length.
            ("200 OK", good.clone() + &" ".repeat(JWKS_BYTES)),
            ("200 OK", good),
        ];
        let count = answers.len();
        let server = tokio::spawn(async move {
            for (status, body) in answers {
                answer(&mut asked(&listener).await, status, &body).await;
            }
        });

        let verifier = by_jwks(&url).unwrap();
        let token = token(Algorithm::EdDSA, Some("a"));
        assert_eq!(refused(&verifier, &token), TokenError::UnknownKey);
        assert!(
            verifier.needs_refresh(NOW),
            "a set that was never read is due"
        );
        for round in 0..count as u64 {
            let answer = verifier.refresh(NOW + round * REFRESH_PAUSE_S).await;
            assert_eq!(answer.is_ok(), round == 3, "{answer:?}");
            let text = answer
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(!text.contains("hidden"), "{text}");
        }
        assert!(verifier.verify(&token, NOW).is_ok());
        server.await.unwrap();
    }

    /// A name with these addresses.
    #[derive(Clone)]
    struct Name([SocketAddr; 2]);

    impl tower_service::Service<dns::Name> for Name {
        type Response = std::array::IntoIter<SocketAddr, 2>;
        type Error = std::convert::Infallible;
        type Future = Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: dns::Name) -> Self::Future {
            ready(Ok(self.0.into_iter()))
        }
    }

    /// The first had all of the time, and the next was never asked.
    #[tokio::test]
    async fn an_address_that_says_nothing_keeps_nobody_from_the_next() {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let silent = SocketAddr::from(([127, 0, 0, 3], there.port()));
        let full = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&silent.into()).unwrap();
        // Room for one, who is never accepted.
        full.listen(0).unwrap();
        let _first = TcpStream::connect(silent).await.unwrap();
        let client: Client<_, Empty<Bytes>> =
            Client::builder(TokioExecutor::new()).build(connector(Name([silent, there])));
        let uri = format!("http://issuer:{}/jwks.json", there.port());
        let uri = uri.parse().unwrap();
        let (found, ()) = tokio::join!(get(&client, &uri), async {
            let asked = tokio::time::timeout(FETCH_TIMEOUT * 12, asked(&listener)).await;
            answer(&mut asked.expect("the next is asked"), "200 OK", "{}").await;
        });
        assert_eq!(&*found.unwrap(), b"{}");
    }

    /// A client of which nobody knows who it is made a look, hung up, and came back as soon as the
    /// pause was over: no look ever came to its end.
    #[tokio::test]
    async fn a_look_goes_on_when_who_asked_for_it_has_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let verifier = by_jwks(&url).unwrap();
        let token = token(Algorithm::EdDSA, Some("new"));
        let mut socket = tokio::select! {
            biased;
            found = verifier.verify_or_refresh(&token, NOW) => panic!("{found:?}"),
            socket = asked(&listener) => socket,
        };
        // Whoever comes meanwhile waits for what is on its way.
        let next = verifier.verify_or_refresh(&token, NOW + 1);
        let set = jwks(&[member(ED25519_PUBLIC, Some("new"))]);
        let (found, ()) = tokio::join!(next, answer(&mut socket, "200 OK", &set));
        assert!(found.is_ok(), "{found:?}");
        assert!(!verifier.needs_refresh(NOW + REFRESH_PAUSE_S));
    }
}

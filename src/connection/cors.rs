//! Who may read an answer in a page of another origin: those that are listed, with credentials.
//! Hands the answer back with its headers. It must never let an origin read that is not listed.

use super::Gate;
use warp::http::{HeaderMap, HeaderValue, Response};

/// Lets a listed origin's page read the answer.
#[must_use]
pub fn with_cors<B>(gate: &Gate, asked: &HeaderMap, mut answer: Response<B>) -> Response<B> {
    let headers = answer.headers_mut();
    headers.insert("vary", HeaderValue::from_static("origin"));
    let origin = asked.get("origin");
    let listed = origin
        .and_then(|origin| origin.to_str().ok())
        .is_some_and(|origin| {
            gate.settings
                .http
                .allowed_origins
                .iter()
                .any(|one| one == origin)
        });
    if let (true, Some(origin)) = (listed, origin) {
        headers.insert("access-control-allow-origin", origin.clone());
        for (name, value) in [
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET, POST"),
            (
                "access-control-allow-headers",
                "authorization, content-type, last-event-id",
            ),
            ("access-control-expose-headers", "retry-after"),
            ("access-control-max-age", "600"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    answer
}

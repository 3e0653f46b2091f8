//! Who may read an answer in a page of another origin: those that are listed, with credentials.
//! Hands the answer back with its headers. It must never let an origin read that is not listed.

use super::Gate;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Response};

/// Lets a listed origin's page read the answer.
#[must_use]
pub fn with_cors<B>(gate: &Gate, asked: &HeaderMap, mut answer: Response<B>) -> Response<B> {
    let headers = answer.headers_mut();
    let wanted = asked.get("access-control-request-headers");
    let varies = match wanted {
        Some(_) => "origin, access-control-request-headers",
        None => "origin",
    };
    headers.insert("vary", HeaderValue::from_static(varies));
    let listed = &gate.settings.http.allowed_origins;
    let is_listed = |origin: &str| listed.iter().any(|one| one == origin);
    let origin = asked.get("origin");
    if let Some(origin) = origin.filter(|origin| origin.to_str().is_ok_and(is_listed)) {
        headers.insert("access-control-allow-origin", origin.clone());
        for (name, value) in [
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET, POST"),
            ("access-control-expose-headers", "retry-after"),
            ("access-control-max-age", "600"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let wanted = wanted.filter(|wanted| are_names(wanted)).cloned();
        let usual = HeaderValue::from_static("authorization, content-type, last-event-id");
        headers.insert("access-control-allow-headers", wanted.unwrap_or(usual));
    }
    answer
}

/// Whether these are names of headers. Any may be sent: scripts trace requests and name clients by
/// headers of their own, and what an origin may do is not up to those.
fn are_names(list: &HeaderValue) -> bool {
    let mut names = list.as_bytes().split(|byte| *byte == b',');
    names.all(|name| HeaderName::from_bytes(name.trim_ascii()).is_ok())
}

//! The page itself: files that hold no data, so anybody may have them. Hands them over.
//! It must never load anything from elsewhere: what it needs is in the binary.

use include_dir::{Dir, include_dir};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

static FILES: Dir = include_dir!("$CARGO_MANIFEST_DIR/src/console/page");

/// No other host, no script but ours, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One of the page's files by its path below `/console/`; the page itself by an empty one.
#[must_use]
pub fn file(path: &str) -> Option<Response> {
    let path = if path.is_empty() { "index.html" } else { path };
    let kind = match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    };
    let mut response = FILES.get_file(path)?.contents().into_response();
    for (name, value) in [
        ("content-type", kind),
        ("content-security-policy", POLICY),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// Its files are named relative to `/console`, whatever a proxy puts before that: not to `/console/`.
#[must_use]
pub fn without_slash() -> Response {
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    response
        .headers_mut()
        .insert("location", HeaderValue::from_static("../console"));
    response
}

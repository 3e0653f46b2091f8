//! What answers of HTTP have in common, of all paths: bodies as one type, how an error is spelled,
//! and that nobody keeps a copy. Hands them over to whoever answers. It must never choose the words.

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body;
use serde_json::{Value, json};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

/// What a body may fail with, on its way.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An answer, with a body of whatever kind.
pub type Boxed = hyper::Response<UnsyncBoxBody<Bytes, Failure>>;

/// An answer as one of that type.
pub fn boxed<B>(answer: hyper::Response<B>) -> Boxed
where
    B: Body<Data = Bytes, Error: Into<Failure>> + Send + 'static,
{
    answer.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// An answer that says what was wrong.
#[must_use]
pub fn error(status: u16, code: &str, message: &str) -> Response {
    error_of(status, &json!({ "code": code, "message": message }))
}

/// The same, where more is to be said than a code and a message.
#[must_use]
pub fn error_of(status: u16, error: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = warp::reply::json(&json!({ "error": error }));
    warp::reply::with_status(body, status).into_response()
}

/// An answer that holds only now.
#[must_use]
pub fn no_store<B>(mut answer: hyper::Response<B>) -> hyper::Response<B> {
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert("cache-control", no_store);
    answer
}

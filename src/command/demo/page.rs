//! The demo's page and what stands behind it: the state that a legacy server would render, the
//! listed statements, and tokens for the two views. Hands nothing over.
//! It must never run SQL text that a page sends.

use crate::connection::{Gate, unix_now};
use include_dir::{Dir, include_dir};
use jsonwebtoken::Algorithm;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use tokio_postgres::Client;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

static PAGE: Dir = include_dir!("$CARGO_MANIFEST_DIR/src/command/demo/page");
/// The client as it is published: modules that a browser takes without a build.
static CLIENT: Dir = include_dir!("$CARGO_MANIFEST_DIR/clients/javascript/src");
const HTML: &str = include_str!("page/page.html");
const POLICY: &str = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'";

/// How long the views' tokens live, in seconds: short enough to see one renewed.
const TOKEN_SECONDS: u64 = 600;

pub fn routes(
    legacy: Arc<Client>,
    gate: Arc<Gate>,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    let for_page = Arc::clone(&legacy);
    let page = warp::path::end().and(warp::get()).then(move || {
        let legacy = Arc::clone(&for_page);
        async move { answer(render(&legacy).await) }
    });
    let files = warp::path!("demo" / String)
        .and(warp::get())
        .and_then(|name: String| async move { embedded(&PAGE, &name) });
    let client = warp::path!("client" / String)
        .and(warp::get())
        .and_then(|name: String| async move { embedded(&CLIENT, &name) });
    let icon = warp::path!("favicon.ico")
        .and(warp::get())
        .map(|| StatusCode::NO_CONTENT.into_response());
    let run = warp::path!("demo" / "run" / i32)
        .and(warp::post())
        .and(warp::header::exact_ignore_case(
            "content-type",
            "application/json",
        ))
        .then(move |number: i32| {
            let legacy = Arc::clone(&legacy);
            async move { answer(run_statement(&legacy, number).await) }
        });
    let token = warp::path!("demo" / "token" / String)
        .and(warp::get())
        .map(move |view: String| {
            mint(&gate, &view)
                .unwrap_or_else(|| failed(StatusCode::NOT_FOUND, "not-found", "user or admin"))
        });
    page.or(files)
        .unify()
        .or(client)
        .unify()
        .or(icon)
        .unify()
        .or(run)
        .unify()
        .or(token)
        .unify()
}

fn file(kind: &'static str, text: String) -> Response {
    let mut response = text.into_response();
    for (name, value) in [
        ("content-type", kind),
        ("cache-control", "no-store"),
        ("content-security-policy", POLICY),
    ] {
        response
            .headers_mut()
            .insert(name, warp::http::HeaderValue::from_static(value));
    }
    response
}

/// One of the files that were built in, none of any other kind.
fn embedded(from: &'static Dir, name: &str) -> Result<Response, Rejection> {
    let kind = match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => return Err(warp::reject::not_found()),
    };
    let text = from.get_file(name).and_then(|found| found.contents_utf8());
    text.map(|text| file(kind, text.into()))
        .ok_or_else(warp::reject::not_found)
}

fn failed(status: StatusCode, code: &str, message: &str) -> Response {
    let error = json!({ "error": { "code": code, "message": message } });
    warp::reply::with_status(warp::reply::json(&error), status).into_response()
}

fn answer(done: Result<Response, tokio_postgres::Error>) -> Response {
    done.unwrap_or_else(|error| {
        let message = error
            .as_db_error()
            .map_or_else(|| error.to_string(), |db| db.message().to_owned());
        failed(StatusCode::SERVICE_UNAVAILABLE, "database", &message)
    })
}

/// The page as a legacy server would render it: data and bookmark from one statement.
async fn render(legacy: &Client) -> Result<Response, tokio_postgres::Error> {
    // In a script element nothing but `<` can end it.
    let state: String = legacy
        .query_one("select demo.state()::text", &[])
        .await?
        .get(0);
    let state = state.replace('<', "\\u003c");
    Ok(file(
        "text/html; charset=utf-8",
        HTML.replace("{{STATE}}", &state),
    ))
}

async fn run_statement(legacy: &Client, number: i32) -> Result<Response, tokio_postgres::Error> {
    let listed = legacy
        .query_opt(
            "select sql from demo.statement where number = $1",
            &[&number],
        )
        .await?;
    let Some(listed) = listed else {
        return Ok(failed(
            StatusCode::NOT_FOUND,
            "not-found",
            "no statement of this number is listed",
        ));
    };
    let began = Instant::now();
    let sql: &str = listed.get(0);
    Ok(match legacy.execute(sql, &[]).await {
        Ok(rows) => {
            let ms = began.elapsed().as_secs_f64() * 1000.0;
            warp::reply::json(&json!({ "ok": true, "rows": rows, "ms": ms })).into_response()
        }
        Err(error) => {
            let message = error
                .as_db_error()
                .map_or_else(|| error.to_string(), |db| db.message().to_owned());
            failed(StatusCode::CONFLICT, "statement", &message)
        }
    })
}

/// Where its operator looks, with a token for a day in what no server sees of a URL.
pub fn console_url(url: &str, gate: &Gate) -> Option<String> {
    let claims = json!({ "sub": "operator", "role": gate.settings.console.value, "exp": unix_now() + 86_400 });
    let secret = gate.settings.auth.hs256_secret.as_deref()?;
    let token = crate::token::mint(secret, &claims, Algorithm::HS256).ok()?;
    Some(format!("{url}console#token={token}"))
}

fn mint(gate: &Gate, view: &str) -> Option<Response> {
    let (sub, role) = match view {
        "user" => ("1", "user"),
        "admin" => ("100", "admin"),
        _ => return None,
    };
    let claims = json!({ "sub": sub, "role": role, "org": "1", "exp": unix_now() + TOKEN_SECONDS });
    let secret = gate.settings.auth.hs256_secret.as_deref()?;
    let token = crate::token::mint(secret, &claims, Algorithm::HS256).ok()?;
    Some(warp::reply::json(&json!({ "token": token })).into_response())
}

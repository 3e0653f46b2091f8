//! The demo's pages and what stands behind them: the index, the state that an old server would
//! render, the listed statements, and how a view signs in. Hands nothing over.
//! It must never run SQL text that a page sends.

use super::Failure;
use super::application::Application;
use super::system::{SYSTEMS, Stage};
use crate::app::front::{Front, Service};
use crate::clock::unix_now;
use crate::connection::{Gate, answer};
use include_dir::{Dir, include_dir};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use std::fmt::Write;
use std::future::ready;
use std::sync::Arc;
use std::time::Instant;
use warp::filters::BoxedFilter;
use warp::http::{HeaderValue, StatusCode, Uri};
use warp::path::FullPath;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

/// What all pages share; view.js says how a system's own part is written.
static SHELL: Dir = include_dir!("$CARGO_MANIFEST_DIR/src/command/demo/shell");
/// socket.io-client, for the systems whose front ends speak it.
static VENDOR: Dir = include_dir!("$CARGO_MANIFEST_DIR/src/command/demo/shell/vendor");
/// The client as it is published: modules that a browser takes without a build.
static CLIENT: Dir = include_dir!("$CARGO_MANIFEST_DIR/clients/javascript/src");
const PAGE: &str = include_str!("shell/shell.html");
const INDEX: &str = include_str!("shell/index.html");
/// What the pages look like, as the console does.
const BASE: &str = include_str!("../../console/page/base.css");
const POLICY: &str = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'";

const CSS: &str = "text/css; charset=utf-8";

/// How long a view's JWT lives, in seconds: short enough to see one renewed.
const TOKEN_SECONDS: u64 = 600;

/// How long the console's token lives, in seconds: a day at most that a demo is left open.
const CONSOLE_SECONDS: u64 = 86_400;

/// The index, what all pages share, and below its base path each system's own.
pub fn routes(stages: &[Stage]) -> BoxedFilter<(Response,)> {
    let index = warp::path::end().and(warp::get()).map(index);
    let base = warp::path!("demo" / "base.css").and(warp::get());
    let base = base.map(|| file(CSS, BASE.to_owned()));
    let files = warp::path("demo").and(files_of(&SHELL));
    let vendor = warp::path("demo")
        .and(warp::path("vendor"))
        .and(files_of(&VENDOR));
    let client = warp::path("client").and(files_of(&CLIENT));
    let icon = warp::path!("favicon.ico")
        .and(warp::get())
        .map(|| StatusCode::NO_CONTENT.into_response());
    let shared = index.or(base).unify().or(files).unify();
    let shared = shared.or(vendor).unify();
    let shared = shared.or(client).unify().or(icon).unify().boxed();
    stages.iter().fold(shared, |before, stage| {
        before.or(routes_of(stage.clone())).unify().boxed()
    })
}

fn routes_of(stage: Stage) -> BoxedFilter<(Response,)> {
    let (name, own) = (stage.system.name, &stage.system.page);
    let staged = warp::any().map(move || stage.clone());
    let posted = warp::post().and(warp::header::exact_ignore_case(
        "content-type",
        "application/json",
    ));
    let page = warp::path::end()
        .and(warp::get())
        .and(warp::path::full())
        .and(staged.clone())
        .then(|path: FullPath, stage: Stage| async move {
            if path.as_str().ends_with('/') {
                return or_error(render(&stage).await);
            }
            with_slash(&path)
        });
    let files = warp::path("page").and(files_of(own));
    let state = warp::path!("demo" / "state")
        .and(warp::get())
        .and(staged.clone())
        .then(|stage: Stage| async move {
            let state = state(&stage.legacy).await;
            or_error(state.map(|state| file("application/json", state)))
        });
    let run = warp::path!("demo" / "run" / i32)
        .and(posted)
        .and(staged.clone())
        .then(|number: i32, stage: Stage| async move {
            or_error(run_statement(&stage.legacy, number).await)
        });
    let sign_in = warp::path!("demo" / "sign-in" / String)
        .and(posted)
        .and(staged)
        .then(|view: String, stage: Stage| async move { or_error(sign_in(&stage, &view).await) });
    let all = page.or(files).unify().or(state).unify();
    let all = all.or(run).unify().or(sign_in).unify();
    warp::path(name).and(all).boxed()
}

/// Each view is a browser of its own: its session cookie lies below a path of its own, which means
/// what the path without it means: `/clinic/as/staff/ws` is `/clinic/ws`.
pub fn with_views(front: Front) -> Front {
    let behind = front.into_service();
    let mounts = SYSTEMS.iter().map(|system| {
        let behind = Arc::clone(&behind);
        let renamed: Service = Arc::new(move |mut request| {
            if let Some(uri) = without_view(request.uri()) {
                *request.uri_mut() = uri;
            }
            behind(request)
        });
        (format!("/{}/as", system.name), renamed)
    });
    Front::new(mounts.collect::<Vec<_>>(), behind.clone())
}

fn without_view(uri: &Uri) -> Option<Uri> {
    let (before, rest) = uri.path().split_once("/as/")?;
    let (_, rest) = rest.split_once('/')?;
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{before}/{rest}{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn file(kind: &'static str, text: String) -> Response {
    let mut response = text.into_response();
    for (name, value) in [
        ("content-type", kind),
        ("cache-control", "no-store"),
        ("content-security-policy", POLICY),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// A folder that was built in: each of its files, by name.
fn files_of(
    folder: &'static Dir,
) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::path!(String)
        .and(warp::get())
        .and_then(move |name: String| ready(embedded(folder, &name)))
}

/// One of the files that were built in, none of any other kind.
fn embedded(from: &'static Dir, name: &str) -> Result<Response, Rejection> {
    let kind = match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => CSS,
        _ => return Err(warp::reject::not_found()),
    };
    let found = from.files().find(|found| found.path().ends_with(name));
    let text = found.and_then(|found| found.contents_utf8());
    text.map(|text| file(kind, text.into()))
        .ok_or_else(warp::reject::not_found)
}

/// The page's addresses are relative to its own.
fn with_slash(path: &FullPath) -> Response {
    let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
    if let Ok(to) = HeaderValue::from_str(&format!("{}/", path.as_str())) {
        response.headers_mut().insert("location", to);
    }
    response
}

fn or_error(done: Result<Response, Failure>) -> Response {
    done.unwrap_or_else(|error| answer::error(503, "database", &error.to_string()))
}

fn index() -> Response {
    let mut cards = String::new();
    for system in SYSTEMS {
        let _ = write!(
            cards,
            "<li><a class=\"card\" href=\"/{}/\"><h2>{}</h2><p>{}</p><p class=\"look\">{}</p>\
             <p class=\"speaks\">{}</p></a></li>",
            system.name, system.title, system.about, system.look, system.speaks
        );
    }
    let text = INDEX.replace("{{SYSTEMS}}", &cards);
    file("text/html; charset=utf-8", text)
}

/// Data and the bookmark that belongs to it, from one statement, as JSON.
async fn state(legacy: &Application) -> Result<String, Failure> {
    let asked = legacy.connection().await?;
    let state = asked.query_one("select demo.state()::text", &[]).await?;
    Ok(state.try_get(0)?)
}

/// The page as an old server would render it.
async fn render(stage: &Stage) -> Result<Response, Failure> {
    // In a script element nothing but `<` can end it.
    let state = state(&stage.legacy).await?.replace('<', "\\u003c");
    let system = stage.system;
    let views = system.page.get_file("views.html");
    let views = views.and_then(|file| file.contents_utf8());
    let mut nav = String::new();
    for other in SYSTEMS {
        let current = if other.name == system.name {
            " aria-current=\"page\""
        } else {
            ""
        };
        let _ = write!(
            nav,
            "<a href=\"/{}/\"{current}>{}</a>",
            other.name, other.title
        );
    }
    let text = PAGE
        .replace("{{NAME}}", system.name)
        .replace("{{TITLE}}", system.title)
        .replace("{{ABOUT}}", system.about)
        .replace("{{SPEAKS}}", system.speaks)
        .replace("{{NAV}}", &nav)
        .replace("{{CONSOLE}}", &console(&stage.gate).unwrap_or_default())
        .replace("{{VIEWS}}", views.unwrap_or_default())
        .replace("{{STATE}}", &state);
    Ok(file("text/html; charset=utf-8", text))
}

async fn run_statement(legacy: &Application, number: i32) -> Result<Response, Failure> {
    let legacy = legacy.connection().await?;
    let listed = "select sql from demo.statement where number = $1";
    let Some(listed) = legacy.query_opt(listed, &[&number]).await? else {
        let words = "no statement of this number is listed";
        return Ok(answer::error(404, "not-found", words));
    };
    let began = Instant::now();
    let sql: &str = listed.try_get(0)?;
    Ok(match legacy.execute(sql, &[]).await {
        Ok(rows) => {
            let ms = began.elapsed().as_secs_f64() * 1000.0;
            warp::reply::json(&json!({ "rows": rows, "ms": ms })).into_response()
        }
        // PostgreSQL said no, as it may: an answer like any other.
        Err(error) => {
            let words = match error.as_db_error() {
                Some(refused) => refused.message().to_owned(),
                None => error.to_string(),
            };
            warp::reply::json(&json!({ "refused": words })).into_response()
        }
    })
}

/// What the old application's login would answer: its session cookie, or a JWT.
async fn sign_in(stage: &Stage, view: &str) -> Result<Response, Failure> {
    let asked = "select demo.sign_in($1)::text";
    let legacy = stage.legacy.connection().await?;
    let signed_in = legacy.query_one(asked, &[&view]).await?;
    let Some(proof) = signed_in.try_get::<_, Option<String>>(0)? else {
        let words = "this system has no such view";
        return Ok(answer::error(404, "not-found", words));
    };
    let Some(cookie) = &stage.cookie else {
        let claims = serde_json::from_str(&proof).unwrap_or_default();
        let token = mint(&stage.gate, claims, TOKEN_SECONDS);
        return Ok(warp::reply::json(&json!({ "token": token })).into_response());
    };
    let name = stage.system.name;
    let value = format!("{cookie}={proof}; Path=/{name}/as/{view}/; HttpOnly; SameSite=Strict");
    let mut response = warp::reply::json(&json!({})).into_response();
    if let Ok(value) = HeaderValue::from_str(&value) {
        response.headers_mut().insert("set-cookie", value);
    }
    Ok(response)
}

/// Where the system's operator looks, with a token in what no server sees of a URL.
fn console(gate: &Gate) -> Option<String> {
    let claims = json!({ "sub": "operator", "role": gate.settings.console.value });
    let token = mint(gate, claims, CONSOLE_SECONDS)?;
    Some(format!("console#token={token}"))
}

fn mint(gate: &Gate, mut claims: Value, seconds: u64) -> Option<String> {
    let claims = claims.as_object_mut()?;
    claims.insert("exp".into(), (unix_now() + seconds).into());
    let secret = gate.settings.auth.hs256_secret.as_deref()?;
    crate::token::mint(secret, &json!(claims), Algorithm::HS256).ok()
}

#[cfg(test)]
mod tests {
    use super::without_view;

    #[test]
    fn a_view_has_the_paths_of_its_system() {
        for (path, meant) in [
            ("/lab/as/user/ws", Some("/lab/ws")),
            (
                "/lab/as/user/sse?since=1&rooms=a/as/b/c",
                Some("/lab/sse?since=1&rooms=a/as/b/c"),
            ),
            ("/lab/as/user/socket.io/", Some("/lab/socket.io/")),
            ("/lab/as/user", None),
            ("/lab/ws", None),
        ] {
            let uri = without_view(&path.parse().expect("a URI"));
            assert_eq!(uri.map(|uri| uri.to_string()).as_deref(), meant, "{path}");
        }
    }
}

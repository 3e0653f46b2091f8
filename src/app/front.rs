//! Which service answers a request: the mount with the longest path that it lies below, or else
//! the one behind them all. Hands a request over as it came, with its whole path.
//! It must never look further into one than that path.

use crate::connection::answer::{self, Boxed, Failure, boxed};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use warp::Filter;

type Answering = Pin<Box<dyn Future<Output = Boxed> + Send>>;

/// Whatever answers requests.
pub type Service = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

/// Services by path, and the one behind them all.
#[derive(Clone)]
pub struct Front {
    /// The longest paths first.
    mounts: Arc<[(String, Service)]>,
    rest: Service,
}

impl Front {
    /// Everything below one of these paths (`/socket.io`) goes to its service, all else to `rest`.
    #[must_use]
    pub fn new(mounts: impl IntoIterator<Item = (String, Service)>, rest: Service) -> Self {
        let mounts = mounts.into_iter();
        let mut mounts: Vec<_> = mounts
            .map(|(path, service)| (path.trim_end_matches('/').to_owned(), service))
            .collect();
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self {
            mounts: mounts.into(),
            rest,
        }
    }

    fn find(&self, path: &str) -> &Service {
        let below = |mount: &str| {
            let rest = path.strip_prefix(mount);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = self.mounts.iter().find(|(mount, _)| below(mount));
        found.map_or(&self.rest, |(_, service)| service)
    }

    pub(super) fn answer(&self, request: Request<Incoming>) -> Answering {
        self.find(request.uri().path())(request)
    }

    /// Itself as one of the services of another front.
    #[must_use]
    pub fn into_service(self) -> Service {
        Arc::new(move |request| self.answer(request))
    }
}

/// A service that answers by an async function.
pub fn service<F, B>(answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Service
where
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Failure>> + Send + 'static,
{
    Arc::new(move |request| {
        let answer = answer(request);
        Box::pin(async move { boxed(answer.await) })
    })
}

/// The paths of clients, as told to whoever asks for what is not there.
pub const CLIENTS: &str =
    "/ws, /sse, /poll, POST /call/NAME, POST /ack/NAME, the paths of http.dialects";
/// Those of operators.
pub const OPERATORS: &str = "/healthz, /readyz, /metrics";

/// The service of warp's filters, which take these paths below one of those; all else is not found.
pub fn filtered<F>(filter: F, paths: &[&str], base_paths: &[&str]) -> Service
where
    F: Filter<Extract = (warp::reply::Response,), Error = warp::Rejection>
        + Clone
        + Send
        + Sync
        + 'static,
{
    use hyper::service::Service as _;
    let not_found: Arc<str> = not_found(paths, base_paths).into();
    let pathless = Arc::clone(&not_found);
    let filters = warp::service(filter.recover(move |_| {
        let not_found = Arc::clone(&not_found);
        async move { Ok::<_, Infallible>((answer::error(404, "not-found", &not_found),)) }
    }));
    let filters = hyper_util::service::TowerToHyperService::new(filters);
    Arc::new(move |request| {
        // A CONNECT has no path, and warp's filters of paths panic then.
        if request.uri().path_and_query().is_none() {
            let answer = answer::error(404, "not-found", &pathless);
            return Box::pin(async move { boxed(answer) });
        }
        let answer = filters.call(request);
        Box::pin(async move {
            match answer.await {
                Ok(answer) => boxed(answer),
                Err(never) => match never {},
            }
        })
    })
}

fn not_found(paths: &[&str], base_paths: &[&str]) -> String {
    let paths = paths.join(", ");
    let mut message = format!("nothing answers this path and method here; try {paths}");
    if base_paths.iter().any(|path| !path.is_empty()) {
        message += "; all of them lie below ";
        message += &base_paths.join(" or ");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_that_a_request_lies_below_counts() {
        let named = || service(async |_| Response::new(http_body_util::Empty::<Bytes>::new()));
        let services = [named(), named(), named()];
        let front = Front::new(
            [
                ("/lab".to_owned(), services[0].clone()),
                ("/lab/socket.io/".to_owned(), services[1].clone()),
            ],
            services[2].clone(),
        );
        for (path, expected) in [
            ("/lab", 0),
            ("/lab/", 0),
            ("/lab/ws", 0),
            ("/lab/socket.io", 1),
            ("/lab/socket.io/", 1),
            ("/lab/socket.io-admin", 0),
            ("/labs", 2),
            ("/", 2),
        ] {
            let found = front.find(path);
            assert!(Arc::ptr_eq(found, &services[expected]), "{path}");
        }
    }
}

//! The service as a whole: opened from settings, it accepts connections until it is told to stop.
//! Hands each connection to the routes. It must never serve before its socket is bound, and never
//! leave one connection waiting for another.

mod accept;
pub mod front;
mod handover;
mod socket;
mod tls;

pub use socket::Socket;
pub use tls::untimely_certificate;

use crate::clock::unix_now;
use crate::config::Settings;
use crate::connection::allowance::Allowances;
use crate::connection::ledger::Ledger;
use crate::connection::questions::Questions;
use crate::connection::replays::Replays;
use crate::connection::sessions::Cookies;
use crate::connection::socketio::{self, Host};
use crate::connection::speech::stream::Streams;
use crate::connection::{Gate, arrivals::Arrivals, call, recheck, seats::Seats};
use crate::database::{Database, DatabaseError};
use crate::dialect::{Dialect, DialectError};
use crate::hub::{Ended, Hub, Limits};
use crate::listener::{Listener, Pulse, Thread};
use crate::report;
use crate::routes::{operators, routes};
use crate::token::{Verifier, VerifierError};
use accept::accept_all;
use front::Front;
use futures_util::future::{join_all, select_all};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// How long the last acknowledgements may take to be written, after the drain.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long the listener may take to give the lead back, after the drain.
const STEP_DOWN: Duration = Duration::from_secs(1);

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no database: set DATABASE_URL, such as postgres://rowcast_service@localhost/app")]
    NoDatabase,
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("auth: {0}")]
    Verifier(#[from] VerifierError),
    #[error(transparent)]
    Dialect(#[from] DialectError),
    #[error("{0} {1}: {2}")]
    Listen(&'static str, String, io::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("no thread for the listener: {0}")]
    Thread(io::Error),
}

/// A part has ended that should run as long as the service: its supervisor is to start the process
/// again. The log has the panic.
#[derive(Debug, thiserror::Error)]
#[error("{0} has ended unasked")]
pub struct PartEnded(&'static str);

/// What these settings name that can't be used, as far as it shows without a network.
#[must_use]
pub fn problems(settings: &Settings) -> Vec<String> {
    let (database, auth) = (&settings.database, &settings.auth);
    let mut problems = Vec::new();
    if database.url.is_none() {
        problems.push(OpenError::NoDatabase.to_string());
    }
    for (key, address) in [
        ("database.url", &database.url),
        ("database.listen_url", &database.listen_url),
    ] {
        if let Some(Err(error)) = address.as_deref().map(crate::database::check) {
            problems.push(format!("`{key}`: {error}."));
        }
    }
    let (mut file, mut set) = (auth.clone(), auth.clone());
    // One by one, so that neither hides the other.
    (file.jwks, set.public_key_file) = (None, None);
    for keys in [file, set] {
        if let Err(error) = Verifier::new(&keys) {
            problems.push(OpenError::from(error).to_string());
        }
    }
    let tls = tls::acceptor(settings).err();
    problems.extend(tls.map(|error| error.to_string()));
    let dialects = Dialect::load(&settings.http.dialects).err();
    problems.extend(dialects.map(|error| error.to_string()));
    problems
}

/// A service that is open: its listener runs. It serves nobody before an [`App`] has it.
pub struct Service {
    pub gate: Arc<Gate>,
    hosts: Vec<(String, Arc<Host>)>,
    listener: Thread,
    /// True: the listener is to give back the lead and end.
    listener_stops: watch::Sender<bool>,
    /// Ends with the service, whichever way that goes.
    tasks: JoinSet<()>,
}

impl Service {
    /// Opens all of a service but its socket.
    ///
    /// # Errors
    /// What the settings name and can't be used.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let url = settings.database.url.clone().ok_or(OpenError::NoDatabase)?;
        let direct = settings.database.direct_url().unwrap_or(&url).to_owned();
        let database = Database::new(&url, &settings.database, &settings.calls)?;
        let dialects = Dialect::load(&settings.http.dialects)?;
        let hub = Hub::new(Limits {
            queue_bytes: settings.limits.queue_bytes,
            replay_events: settings.limits.replay_events,
            replay_bytes: settings.limits.replay_bytes,
            ring_bytes: settings.hub.ring_bytes,
            ring_age: settings.hub.ring_age,
            refill_events: settings.hub.refill_events,
            memory_bytes: settings.poll.remember_bytes,
            memory_age: settings.poll.remember,
        });
        let pulse = Arc::new(Pulse::default());
        let listener = Listener {
            url: direct,
            connect: settings.database.clone(),
            settings: settings.listener.clone(),
            database: database.clone(),
            hub: hub.clone(),
            pulse: Arc::clone(&pulse),
        };
        let verifier = Verifier::new(&settings.auth)?;
        let limits = &settings.limits;
        let arrivals = Arrivals::new(
            limits.connects_per_second,
            limits.connections,
            limits.connections_per_address,
            std::time::Instant::now(),
        );
        let ledger = Ledger::new(settings.readers.clone(), database.clone());
        let questions = Questions::new(database.clone(), &settings);
        let gate = Gate {
            questions: Arc::new(questions),
            cookies: Cookies::default(),
            streams: Streams::new(settings.sse.retry),
            replays: Replays::new(settings.database.pool_size, std::time::Instant::now()),
            arrivals,
            settings,
            hub,
            database,
            verifier,
            seats: Seats::default(),
            allowances: Allowances::default(),
            ledger: Arc::new(ledger),
            pulse,
            dialects,
        };
        let gate = Arc::new(gate);
        tokio::spawn(refresh_keys(Arc::downgrade(&gate)));
        let (mut tasks, ledger) = (JoinSet::new(), Arc::clone(&gate.ledger));
        tasks.spawn(async move { ledger.run().await });
        let (listener_stops, stopping) = watch::channel(false);
        let listener = listener.start(stopping).map_err(OpenError::Thread)?;
        tasks.spawn(recheck::run(Arc::clone(&gate)));
        tasks.spawn(call::check_dialects(Arc::clone(&gate)));
        Ok(Self {
            hosts: socketio::hosts(&gate),
            gate,
            listener,
            listener_stops,
            tasks,
        })
    }

    /// Ends when something of it does that is to run as long as it; says what.
    async fn broken(&mut self) -> PartEnded {
        let panicked = async {
            loop {
                match self.tasks.join_next().await {
                    Some(Err(_)) => return,
                    // One that has done what it had to.
                    Some(Ok(())) => {}
                    None => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = self.listener.ended() => PartEnded("the listener"),
            () = panicked => PartEnded("a task of the service"),
        }
    }

    /// Says goodbye to everybody: whoever is told to come back meets the next run, or another node.
    fn end(&self) {
        let gate = &self.gate;
        report::stopping(gate.seats.taken());
        gate.arrivals.send_away(gate.seats.taken());
        gate.hub.end_all(Ended::Restart);
        gate.ledger.hurry();
        // Nobody here waits for events any more: another node may lead.
        self.listener_stops.send_replace(true);
    }

    /// Waits until everybody has gone and the lead is given back, both within bounds.
    async fn ended(&mut self) {
        let gate = &self.gate;
        let drained = comes_true(gate.settings.http.drain, || gate.seats.taken() == 0).await;
        let settled = comes_true(LAST_WORDS, || gate.ledger.is_settled()).await;
        let stepped_down = timeout(STEP_DOWN, self.listener.ended()).await.is_ok();
        let hosts = self.hosts.iter().map(|(_, host)| host.close());
        let closed = timeout(STEP_DOWN, join_all(hosts)).await.is_ok();
        let in_time = drained && settled && stepped_down && closed;
        report::stopped(gate.seats.taken(), in_time);
    }
}

/// Services on a bound socket: one, or several of which each lies below its `http.base_path`.
pub struct App {
    /// The first one's, or the only one's: its settings say what concerns the socket.
    pub gate: Arc<Gate>,
    services: Vec<Service>,
    socket: Socket,
    admin: Option<Socket>,
    tls: Option<TlsAcceptor>,
}

impl App {
    /// Opens a service on a socket that was bound before.
    ///
    /// # Errors
    /// What the settings name and can't be used.
    pub async fn open(settings: Settings, socket: Socket) -> Result<Self, OpenError> {
        Self::of(Service::open(settings)?, Vec::new(), socket).await
    }

    /// Several services on one socket, which stop together.
    ///
    /// # Errors
    /// What the first one's settings name and can't be used.
    pub async fn of(
        first: Service,
        others: Vec<Service>,
        socket: Socket,
    ) -> Result<Self, OpenError> {
        let gate = Arc::clone(&first.gate);
        let admin = match &gate.settings.http.admin_listen {
            Some(address) => Some(Socket::bind_as("http.admin_listen", address).await?),
            None => None,
        };
        let tls = tls::acceptor(&gate.settings)?;
        let mut services = vec![first];
        services.extend(others);
        Ok(Self {
            gate,
            services,
            socket,
            admin,
            tls,
        })
    }

    /// The gates of all services, in their order.
    pub fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        self.services.iter().map(|service| &service.gate)
    }

    /// What all services answer.
    #[must_use]
    pub fn routes(&self) -> BoxedFilter<(Response,)> {
        let first = routes(&self.gate);
        self.gates().skip(1).fold(first, |before, gate| {
            before.or(routes(gate)).unify().boxed()
        })
    }

    /// Serves until `shutdown` ends, then says goodbye to everybody within `http.drain_ms`.
    ///
    /// # Errors
    /// A part of a service ended before that; the goodbye was said all the same.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), PartEnded> {
        let front = self.front(self.routes());
        self.run_front(front, shutdown).await
    }

    /// What answers here: the services that are no routes, and behind them these routes.
    pub fn front<F>(&self, filter: F) -> Front
    where
        F: Filter<Extract = (Response,), Error = warp::Rejection> + Clone + Send + Sync + 'static,
    {
        let paths: Vec<&str> = self
            .gates()
            .map(|gate| &*gate.settings.http.base_path)
            .collect();
        let hosts = self.services.iter().flat_map(|service| &service.hosts);
        let mounts = hosts.map(|(path, host)| {
            let host = Arc::clone(host);
            let service = front::service(move |request| Arc::clone(&host).answer(request));
            (path.clone(), service)
        });
        let mut answered = vec![front::CLIENTS];
        if self.admin.is_none() {
            answered.push(front::OPERATORS);
        }
        Front::new(mounts, front::filtered(filter, &answered, &paths))
    }

    /// The same as [`App::run`], with a front of the caller's, which is to include [`App::front`].
    ///
    /// # Errors
    /// As [`App::run`].
    pub async fn run_front(
        self,
        front: Front,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), PartEnded> {
        let Self {
            gate,
            mut services,
            socket,
            admin,
            tls,
        } = self;
        let (stop, stopping) = watch::channel(false);
        let public = accept_all(&gate, &socket, tls, front, stopping.clone());
        let operated = async {
            match &admin {
                Some(socket) => {
                    let path = &*gate.settings.http.base_path;
                    let filter = operators(Arc::clone(&gate));
                    let rest = front::filtered(filter, &[front::OPERATORS], &[path]);
                    let front = Front::new([], rest);
                    accept_all(&gate, socket, None, front, stopping).await;
                }
                None => std::future::pending().await,
            }
        };
        let broken = select_all(
            services
                .iter_mut()
                .map(|service| Box::pin(service.broken())),
        );
        let ended = tokio::select! {
            () = public => Ok(()),
            () = operated => Ok(()),
            () = shutdown => Ok(()),
            (part, ..) = broken => Err(part),
        };
        // Whoever comes now goes elsewhere at once, or to the next run: nobody would answer here.
        for socket in [Some(socket), admin].into_iter().flatten() {
            socket.close();
        }
        // Idle sockets close at this; those that stream, when their service ends.
        stop.send_replace(true);
        for service in &services {
            service.end();
        }
        join_all(services.iter_mut().map(Service::ended)).await;
        ended
    }
}

/// Waits until this is so, which nobody announces; false if it is not in time.
async fn comes_true(time: Duration, fact: impl Fn() -> bool) -> bool {
    let comes = async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(time, comes).await.is_ok()
}

async fn refresh_keys(gate: std::sync::Weak<Gate>) {
    while let Some(held) = gate.upgrade() {
        if let Err(error) = held.verifier.refresh(unix_now()).await {
            report::keys_not_refreshed(&error);
        }
        drop(held);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawSettings;

    fn open() -> Service {
        let url = ("database.url".to_owned(), "host=/nowhere".to_owned());
        let raw = RawSettings::load(None, std::iter::empty(), &[url]).unwrap();
        Service::open(Settings::check(raw).unwrap()).unwrap()
    }

    async fn ends_unasked(service: Service) {
        let socket = Socket::bind("127.0.0.1:0").await.unwrap();
        let app = App::of(service, Vec::new(), socket).await.unwrap();
        assert!(app.run(std::future::pending()).await.is_err());
    }

    /// Without it, everybody would stay connected and hear nothing.
    #[tokio::test]
    async fn a_listener_that_ends_unasked_ends_the_service() {
        let service = open();
        service.listener_stops.send_replace(true);
        ends_unasked(service).await;
    }

    /// Else acknowledgements would be taken, and never written.
    #[tokio::test]
    async fn a_task_that_panics_ends_the_service() {
        let mut service = open();
        service.tasks.spawn(async { panic!("as a defect would") });
        ends_unasked(service).await;
    }
}

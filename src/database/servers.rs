//! The servers that an address names, asked in turn: the first that answers in time and takes writes
//! is the one. Hands connections over to the pool and to the listener.
//! It must never let a server that says nothing keep us from the next.

use super::connections::Connections;
use super::{DatabaseError, describe, session, tls};
use crate::report;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use std::fmt::Write;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A client, and what has to be driven for it.
pub type Connected = (Client, Connection<Socket, tls::PgStream>);

/// All that an address names, in its order.
#[derive(Clone)]
pub struct Servers {
    first: Vec<Config>,
    last: Config,
    /// As it was written: what it names may change.
    address: String,
    /// What connections were to be wrapped with when the address was read.
    connector: MakeRustlsConnect,
    /// How long each has to let us in.
    pub(super) timeout: Duration,
    /// Whether who connects just now waits for what a name means.
    looks_up: Arc<AtomicBool>,
    /// Where this was read: a pool's connections live there.
    runtime: Option<Handle>,
}

impl Servers {
    /// Reads an address; each server then has `timeout` to let us in. tokio-postgres goes through
    /// them by itself, but waits without an end for one that accepts and is frozen.
    pub fn parse(
        address: &str,
        timeout: Duration,
        link_timeout: Option<Duration>,
    ) -> Result<Self, DatabaseError> {
        let (mut config, connector) = tls::parse(address)?;
        config.connect_timeout(to_accept(timeout));
        if let Some(dead_after) = link_timeout {
            watch_link(&mut config, dead_after);
        }
        let mut first = each(&config);
        let last = first.pop().unwrap_or(config);
        Ok(Self {
            first,
            last,
            address: address.to_owned(),
            connector,
            timeout,
            looks_up: Arc::default(),
            runtime: Handle::try_current().ok(),
        })
    }

    /// A pool of so many connections, which `size_key` says, made when they are asked for.
    ///
    /// # Errors
    /// The address.
    pub fn pool(
        &self,
        size_key: &'static str,
        size: usize,
        wait: Duration,
    ) -> Result<Connections, DatabaseError> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(self.last.clone(), self.clone(), recycling);
        let pool = Pool::builder(manager)
            .max_size(size)
            .wait_timeout(Some(wait))
            .create_timeout(Some(self.patience()))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| DatabaseError::Address(error.to_string()))?;
        Ok(Connections {
            pool,
            size_key,
            server: self.name().into(),
            looks_up: Arc::clone(&self.looks_up),
        })
    }

    /// What each connection to one of them is wrapped with, a cancel request's too: the certificates that
    /// the address names may have been replaced. Where they can't be read just now, those of before count.
    pub(super) fn connector(&self) -> MakeRustlsConnect {
        tls::parse(&self.address).map_or_else(|_| self.connector.clone(), |(_, now)| now)
    }

    /// All of them, the database and the user, for people; never the password.
    fn name(&self) -> String {
        let all = self.first.iter().chain([&self.last]);
        let mut name = all.map(name).collect::<Vec<_>>().join(",");
        if let Some(database) = self.last.get_dbname().or(self.last.get_user()) {
            let _ = write!(name, "/{database}");
        }
        if let Some(user) = self.last.get_user() {
            let _ = write!(name, " as {user}");
        }
        name
    }

    /// How long it may take until all have been asked.
    fn patience(&self) -> Duration {
        let count = self.first.len() + 1;
        self.timeout * u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Connects to the first that will do, and makes it a [`session`].
    ///
    /// # Errors
    /// What each of them said.
    pub async fn connect(&self) -> Result<Connected, DatabaseError> {
        let (client, mut connection) = self.try_all().await?;
        let set = tokio::time::timeout(self.timeout, begin(&client, &mut connection));
        set.await
            .map_err(|_| DatabaseError::Timeout(self.timeout))??;
        Ok((client, connection))
    }

    async fn try_all(&self) -> Result<Connected, DatabaseError> {
        let mut said = String::new();
        if let Some(connected) = self.try_first(&mut said).await {
            return Ok(connected);
        }
        self.try_one(&self.last).await.map_err(|error| {
            if said.is_empty() {
                return DatabaseError::Unreached {
                    server: self.name(),
                    error: Box::new(error),
                };
            }
            let _ = write!(said, "{}: {error}", name(&self.last));
            DatabaseError::Servers(said)
        })
    }

    async fn try_first(&self, said: &mut String) -> Option<Connected> {
        for server in &self.first {
            match self.try_one(server).await {
                Ok(connected) => return Some(connected),
                Err(error) => {
                    let _ = write!(said, "{}: {error}; ", name(server));
                }
            }
        }
        None
    }

    async fn try_one(&self, server: &Config) -> Result<Connected, DatabaseError> {
        let asked = tokio::time::timeout(self.timeout, self.ask(server));
        let late = |_| DatabaseError::late(&self.looks_up, self.timeout);
        Ok(asked.await.map_err(late)??)
    }

    /// One server, by all addresses that its name has now.
    async fn ask(&self, server: &Config) -> Result<Connected, tokio_postgres::Error> {
        let began = Instant::now();
        let host = match (server.get_hosts(), server.get_hostaddrs()) {
            ([Host::Tcp(host)], []) => Some(&**host),
            _ => None,
        };
        self.looks_up.store(host.is_some(), Ordering::Relaxed);
        let mut addresses = Vec::new();
        if let Some(host) = host
            // Where it fails, tokio-postgres looks it up once more, and says why.
            && let Ok(found) = tokio::net::lookup_host((host, 0)).await
        {
            addresses.extend(found.map(|place| place.ip()));
            self.looks_up.store(false, Ordering::Relaxed);
        }
        let left = self.timeout.saturating_sub(began.elapsed());
        self.ask_at(server, addresses, left).await
    }

    /// They share what is left of its time: tokio-postgres would give all of it to one that says nothing.
    /// Where there are none, it says why.
    async fn ask_at(
        &self,
        server: &Config,
        addresses: Vec<IpAddr>,
        left: Duration,
    ) -> Result<Connected, tokio_postgres::Error> {
        let share = left / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut places = addresses.into_iter().map(|address| {
            let mut place = server.clone();
            place.hostaddr(address);
            place.connect_timeout(to_accept(share));
            place
        });
        let last = places.next_back();
        let connector = self.connector();
        for place in places {
            let asked = tokio::time::timeout(share, place.connect(connector.clone()));
            if let Ok(Ok(connected)) = asked.await {
                return Ok(connected);
            }
        }
        let last = last.as_ref().unwrap_or(server);
        last.connect(connector).await
    }
}

/// How long a server has to accept a connection, of all the time that it has to let us in: it ends first,
/// so that a place where nobody answers is told from a server that says nothing.
fn to_accept(time: Duration) -> Duration {
    time * 9 / 10
}

/// Tells of a pool's connection that has ended. Who may not be idle for long is replaced, and that is all.
fn ended(error: &tokio_postgres::Error) {
    let why = describe(error);
    match error.as_db_error() {
        Some(said) if *said.code() != SqlState::IDLE_SESSION_TIMEOUT => {
            report::link_ended_by_server(&why);
        }
        _ => report::link_ended("the pool", &why),
    }
}

/// As statements, since poolers refuse them as parameters of the start; what the address, the role or
/// the database says is what `reset all` brings back. The connection is driven here, and hears nothing
/// yet that could be lost.
async fn begin(
    client: &Client,
    connection: &mut Connection<Socket, tls::PgStream>,
) -> Result<(), tokio_postgres::Error> {
    let session = session();
    let mut done = pin!(client.batch_execute(&session));
    poll_fn(|context| {
        if let Poll::Ready(done) = done.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        while let Poll::Ready(Some(heard)) = connection.poll_message(context) {
            heard?;
        }
        done.as_mut().poll(context)
    })
    .await
}

type Opening<'a> = Pin<
    Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + 'a>,
>;

impl deadpool_postgres::Connect for Servers {
    fn connect(&self, _: &Config) -> Opening<'_> {
        let mut opening = Box::pin(async move {
            let mut said = String::new();
            let (client, connection) = match self.try_first(&mut said).await {
                Some(connected) => connected,
                // The pool's own timeout is ours for all: see `patience`.
                None => self.ask(&self.last).await?,
            };
            let driver = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    ended(&error);
                }
            });
            Ok((client, driver))
        });
        // What is opened lives as long as the pool, wherever it was first asked for.
        let runtime = self.runtime.clone();
        Box::pin(poll_fn(move |context| {
            let _on = runtime.as_ref().map(Handle::enter);
            opening.as_mut().poll(context)
        }))
    }
}

/// A link that dies in silence is noticed within this time, by keepalives or by what it does not
/// acknowledge.
fn watch_link(config: &mut Config, dead_after: Duration) {
    // The system counts keepalives in whole seconds, and refuses zero.
    let part = |parts: u32| (dead_after / parts).max(Duration::from_secs(1));
    config
        .keepalives(true)
        .keepalives_idle(part(2))
        .keepalives_interval(part(6))
        .keepalives_retries(3)
        .tcp_user_timeout(dead_after);
}

/// The same address for each server alone. Empty where the lists contradict each other: whoever
/// connects is then told so.
fn each(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let count = hosts.len().max(addresses.len());
    let ports_fit = ports.len() <= 1 || ports.len() == count;
    let places_fit = [hosts.len(), addresses.len()]
        .iter()
        .all(|length| [0, count].contains(length));
    if count < 2 || !ports_fit || !places_fit {
        return Vec::new();
    }
    let one = |index: usize| {
        let mut one = without_place(config);
        match hosts.get(index) {
            Some(Host::Tcp(host)) => {
                one.host(host);
            }
            #[cfg(unix)]
            Some(Host::Unix(path)) => {
                one.host_path(path);
            }
            None => {}
        }
        if let Some(address) = addresses.get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(index).or_else(|| ports.first()) {
            one.port(*port);
        }
        one
    };
    (0..count).map(one).collect()
}

/// Everything but the places: tokio-postgres only adds to those.
fn without_place(config: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    one
}

/// A server's place, for people.
fn name(config: &Config) -> String {
    let place = match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(Host::Tcp(host)), _) => host.clone(),
        #[cfg(unix)]
        (Some(Host::Unix(path)), _) => path.display().to_string(),
        (None, Some(address)) => address.to_string(),
        (None, None) => String::new(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{place}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn servers(address: &str) -> Vec<Config> {
        let servers = Servers::parse(address, SECOND, None).unwrap();
        let mut all = servers.first;
        all.push(servers.last);
        all
    }

    #[test]
    fn each_server_is_the_address_with_one_place() {
        let rest = "user=u password=p dbname=d options='-c x=1' sslmode=require channel_binding=require \
                    keepalives_interval=3 keepalives_retries=4 application_name=a";
        let place = |place: &str| {
            Servers::parse(&format!("{place} {rest}"), SECOND, None)
                .unwrap()
                .last
        };
        for (several, one) in [
            ("host=a,/b port=1,2", ["host=a port=1", "host=/b port=2"]),
            ("host=a,b", ["host=a", "host=b"]),
            ("host=a,b port=7", ["host=a port=7", "host=b port=7"]),
            (
                "host=a,b hostaddr=10.0.0.1,10.0.0.2",
                ["host=a hostaddr=10.0.0.1", "host=b hostaddr=10.0.0.2"],
            ),
        ] {
            let found = servers(&format!("{several} {rest}"));
            assert_eq!(found, one.map(place), "{several}");
        }
        let url = "postgres://u:p@a:1,%2Fb:2/d?target_session_attrs=read-write";
        let names: Vec<String> = servers(url).iter().map(name).collect();
        assert_eq!(names, ["a:1", "/b:2"]);
        let whole = Servers::parse(url, SECOND, None).unwrap().name();
        assert_eq!(whole, "a:1,/b:2/d as u", "never the password");
        // What contradicts itself is left whole, for tokio-postgres to refuse.
        assert_eq!(servers("host=a,b port=1,2,3").len(), 1);
    }

    /// Whoever reads it in a log knows neither the address nor the settings by heart.
    #[tokio::test]
    async fn who_can_not_be_reached_is_named_and_how_long_was_waited() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = silent.local_addr().unwrap();
        let url = format!("postgres://u:secret@{place}/d");
        let servers = Servers::parse(&url, Duration::from_millis(50), None).unwrap();
        let late = format!(
            "no connection to {place}/d as u: it did not let us in within 50 ms \
             (database.connect_timeout_ms)"
        );
        let alone = servers.connect().await.map(drop).unwrap_err();
        assert_eq!(alone.to_string(), late);
        let pool = servers.pool("database.pool_size", 1, SECOND).unwrap();
        assert_eq!(pool.get().await.unwrap_err().to_string(), late);
        // The first is not let in before the second has waited.
        let patient = Servers::parse(&url, 60 * SECOND, None).unwrap();
        let hurried = patient.pool("database.pool_size", 1, Duration::from_millis(1));
        let hurried = hurried.unwrap();
        let second = tokio::select! {
            biased;
            _ = hurried.get() => panic!("nobody lets it in"),
            second = hurried.get() => second,
        };
        assert_eq!(
            second.unwrap_err().to_string(),
            "no connection to the database: none of the 1 (database.pool_size) came free within \
             1 ms (database.pool_wait_ms)"
        );
        drop(silent);
        let refused = servers.connect().await.map(drop).unwrap_err().to_string();
        let named = format!("no connection to {place}/d as u: error connecting to server: ");
        assert!(refused.starts_with(&named), "{refused}");
    }

    /// It was told as a server that did not let us in.
    #[test]
    fn a_name_that_is_looked_up_for_too_long_is_told_as_such() {
        // Names are looked up on a thread that may block, and the only one is taken.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (free, taken) = std::sync::mpsc::channel::<()>();
        runtime.spawn_blocking(move || taken.recv());
        runtime.block_on(async {
            // Nobody listens at port 1.
            let url = "postgres://u@localhost:1/d";
            let servers = Servers::parse(url, Duration::from_millis(50), None).unwrap();
            let late = "no connection to localhost:1/d as u: its name was not looked up within 50 ms \
                        (database.connect_timeout_ms)";
            let alone = servers.connect().await.map(drop).unwrap_err();
            assert_eq!(alone.to_string(), late);
            let pool = servers.pool("database.pool_size", 1, SECOND).unwrap();
            assert_eq!(pool.get().await.unwrap_err().to_string(), late);
            drop(free);
            let patient = Servers::parse(url, 60 * SECOND, None).unwrap();
            let refused = patient.connect().await.map(drop).unwrap_err().to_string();
            assert!(refused.contains("refused"), "{refused}");
        });
    }

    /// A firewall that swallows what is sent was told as a server that did not let us in.
    #[tokio::test]
    async fn a_place_where_nobody_answers_is_told_from_a_server_that_says_nothing() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let place = full.local_addr().unwrap();
        // Whoever comes when as many wait as may is not answered.
        let mut waiting = Vec::new();
        let quick = Duration::from_millis(200);
        while let Ok(one) = tokio::time::timeout(quick, tokio::net::TcpStream::connect(place)).await
        {
            waiting.push(one.unwrap());
        }
        let servers = Servers::parse(&format!("postgres://u@{place}/d"), quick, None).unwrap();
        let silent = format!(
            "no connection to {place}/d as u: error connecting to server: connection timed out \
             (nobody answers there, or a firewall swallows what is sent; database.connect_timeout_ms)"
        );
        let alone = servers.connect().await.map(drop).unwrap_err();
        assert_eq!(alone.to_string(), silent);
        let pool = servers.pool("database.pool_size", 1, SECOND).unwrap();
        assert_eq!(pool.get().await.unwrap_err().to_string(), silent);
    }

    /// A name has several, of IPv6 and IPv4 mostly, and a network may swallow what is sent to the first: the
    /// second was never asked.
    #[tokio::test]
    async fn an_address_that_says_nothing_keeps_nobody_from_the_next() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "postgres://u@name:{}/d",
            silent.local_addr().unwrap().port()
        );
        let servers = Servers::parse(&url, Duration::from_millis(100), None).unwrap();
        let addresses = ["127.0.0.1", "127.0.0.2"].map(|text| text.parse().unwrap());
        let asked = servers.ask_at(&servers.last, addresses.to_vec(), servers.timeout);
        let asked = tokio::time::timeout(60 * SECOND, asked).await;
        let refused = describe(&asked.expect("the next is asked").map(drop).unwrap_err());
        assert!(refused.contains("refused"), "{refused}");
    }

    #[test]
    fn only_a_primary_will_do_unless_any_is_said() {
        use tokio_postgres::config::TargetSessionAttrs::{Any, ReadWrite};
        for (said, means) in [
            ("", ReadWrite),
            ("?target_session_attrs=read-write", ReadWrite),
            ("?target_session_attrs=primary", ReadWrite),
            ("?target_session_attrs=any", Any),
        ] {
            for server in servers(&format!("postgres://u@a,b/d{said}")) {
                assert_eq!(server.get_target_session_attrs(), means, "{said}");
            }
        }
        let standby = "postgres://u@a,b/d?target_session_attrs=standby";
        assert!(Servers::parse(standby, SECOND, None).is_err());
    }
}

//! What lies between: poolers, TLS on both sides, Unix sockets, a database that goes away, readers
//! that stall, a restart, and what operators see of it.

use crate::support::documented::BASE_PATH;
use crate::support::proxy::{Proxy, Way};
use crate::support::{
    self, Database, PATIENCE, Postgres, SLACK, Served, Server, Subscriber, TRANSPORTS, Version,
    ask, connect, eventually, get, marker, metric, raw, serve, serve_process, serve_unready,
    socket, sse, stream, token, try_sse, unused_address, within, ws,
};
use futures_util::StreamExt;
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rowcast::command::postgres::{Cluster, Mode, Options, SUPERUSER};
use rowcast::config::{RawSettings, Settings};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto, pki_types::CertificateDer};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A directory that any user may look into, for servers that run as another.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everybody).expect("ours");
    directory
}

/// PgBouncer in transaction mode before the shared cluster.
struct Pooler {
    address: String,
    _child: tokio::process::Child,
    _directory: tempfile::TempDir,
}

impl Pooler {
    fn program() -> Option<PathBuf> {
        if let Some(named) = std::env::var_os("ROWCAST_TEST_PGBOUNCER") {
            return Some(named.into());
        }
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain([unpacked, "/usr/sbin".into()])
            .map(|directory| directory.join("pgbouncer"))
            .find(|program| program.exists())
    }

    /// The real one: `make test` brings it.
    async fn start() -> Self {
        let program = Self::program().expect("PgBouncer is missing: `.ci/setup test` brings it");
        let cluster = &support::on(Version::Installed).await.cluster;
        let (directory, address) = (open_directory(), unused_address());
        let (_, port) = address.rsplit_once(':').expect("a port");
        let users = directory.path().join("users");
        std::fs::write(&users, "\"rowcast_service\" \"\"\n").expect("a file");
        let file = directory.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\npool_mode = transaction\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\ndefault_pool_size = 3\n",
            cluster.socket_dir().display(),
            cluster.port(),
            users.display(),
        );
        std::fs::write(&file, settings).expect("a file");
        let mut command = tokio::process::Command::new(program);
        // It refuses to run as root; as the server's user it may enter the socket's directory.
        let owner = std::fs::metadata(cluster.socket_dir())
            .expect("it is there")
            .uid();
        if nix::unistd::geteuid().is_root() {
            let user = nix::unistd::User::from_uid(owner.into())
                .expect("users")
                .expect("a user");
            command.args(["-u", &user.name]);
        }
        let child = command
            .arg("-q")
            .arg(&file)
            .current_dir(directory.path())
            .kill_on_drop(true)
            .spawn()
            .expect("PgBouncer runs");
        eventually("PgBouncer listens", async || {
            TcpStream::connect(&address).await.ok()
        })
        .await;
        Self {
            address,
            _child: child,
            _directory: directory,
        }
    }

    fn url(&self, database: &Database) -> String {
        format!(
            "postgresql://rowcast_service@{}/{}",
            self.address, database.name
        )
    }
}

#[tokio::test]
async fn the_pool_goes_through_a_pooler_in_transaction_mode() {
    let pooler = Pooler::start().await;
    let database = support::lab().await;
    let through = |settings: &mut rowcast::config::Settings| {
        settings.database.listen_url = settings.database.url.replace(pooler.url(&database));
    };
    let server = serve(&database, through).await;
    database
        .run("insert into lab.organizations values (1, 'one') on conflict do nothing")
        .await;
    let before = database.bookmark().await;
    let mut bookmarks = vec![before];
    for _ in 0..3 {
        marker(&database, &["user:1"]).await;
        bookmarks.push(database.bookmark().await);
    }
    // The second was opened after the events, and has to read them from the log.
    let other = serve(&database, through).await;
    let mut everybody = Vec::new();
    for server in [&server, &other] {
        for (missed, since) in bookmarks.iter().rev().enumerate() {
            for transport in TRANSPORTS {
                let query = format!("rooms=user:1,user:2,admin:all&since={since}");
                let token = token("1", "user", "1");
                let mut somebody = connect(transport, server, &token, &query).await;
                assert_eq!(somebody.expect("welcome").await["rooms"], json!(["user:1"]));
                let frames = {
                    let mut frames = Vec::new();
                    // Two rooms are refused, and the replay is announced.
                    while frames.len() < 3 + missed {
                        frames.push(somebody.next().await);
                    }
                    frames
                };
                let kinds = |kind: &str| frames.iter().filter(|f| f["type"] == kind).count();
                assert_eq!(
                    (kinds("error"), kinds("subscribed"), kinds("event")),
                    (2, 1, missed)
                );
                everybody.push(somebody);
            }
        }
    }
    marker(&database, &["user:1"]).await;
    for somebody in &mut everybody {
        somebody.expect_event("marker").await;
    }
    // What is written goes this way, too.
    let mut reader = ws(&server, &token("1", "user", "1"), "reader=a").await;
    reader.expect("welcome").await;
    reader.expect("subscribed").await;
    marker(&database, &["user:1"]).await;
    let bookmark = reader.expect_event("marker").await["bookmark"].clone();
    reader
        .send(json!({ "type": "ack", "bookmark": bookmark }))
        .await;
    assert_eq!(reader.expect("acked").await["bookmark"], bookmark);
    for server in [server, other] {
        assert_eq!(get(&server, "/readyz", &[]).await.status, 200);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_pooler_before_the_listener_is_named() {
    let pooler = Pooler::start().await;
    let database = support::database().await;
    let server = serve_unready(&database, |settings| {
        settings.database.url = Some(pooler.url(&database));
        settings.listener.proof_timeout = Duration::from_millis(300);
    })
    .await;
    let why = eventually("it says that it hears nothing", async || {
        let answer = get(&server, "/readyz", &[]).await;
        eprintln!("{} {}", answer.status, answer.body);
        (answer.status == 503 && answer.body.contains("LISTEN")).then_some(answer.body)
    })
    .await;
    assert!(
        why.contains("pooler") && why.contains("ROWCAST__DATABASE__LISTEN_URL"),
        "{why}"
    );
    server.stop().await;
}

/// The listener has an address of its own, and what it brings is delivered: it was taken for deaf, and
/// a pooler was blamed.
#[tokio::test]
async fn a_pool_that_is_away_is_said_and_ends_no_listening() {
    let database = support::database().await;
    let (link, pool) = Proxy::to(&database).await;
    let over_the_link = |settings: &mut rowcast::config::Settings| {
        settings.database.listen_url = settings.database.url.replace(pool.clone());
        settings.listener.proof = Duration::from_secs(1);
        settings.listener.proof_timeout = Duration::from_secs(5);
    };
    let server = serve(&database, over_the_link).await;
    let mut reader = ws(&server, &token("1", "user", ""), "").await;
    reader.expect("welcome").await;
    let listening = "select pid from pg_stat_activity where datname = current_database() \
         and application_name like 'rowcast %'";
    let before = eventually("it leads", async || {
        let rows = database.superuser().await.query(listening, &[]).await;
        Some(rows.unwrap().first()?.get::<_, i32>(0))
    })
    .await;
    link.set(Way::Refuse);
    link.cut();
    // One that is in its place later, and can't hear the pool even once.
    let other = serve_unready(&database, over_the_link).await;
    for server in [&server, &other] {
        eventually("it says what is away", async || {
            let answer = get(server, "/readyz", &[]).await;
            let says = answer.body.contains("the pool's address (database.url)");
            assert!(!answer.body.contains("PgBouncer"), "{}", answer.body);
            (answer.status == 503 && says).then_some(())
        })
        .await;
    }
    marker(&database, &["*"]).await;
    reader.expect_event("marker").await;
    link.set(Way::Pass);
    for server in [&server, &other] {
        eventually("it is ready again", async || {
            (get(server, "/readyz", &[]).await.status == 200).then_some(())
        })
        .await;
    }
    assert_eq!(database.ask::<i32>(listening).await, before);
}

/// Each of those who came while the database was away wrote a line, thousands in a moment.
#[tokio::test]
async fn who_comes_while_the_database_is_away_fills_no_log() {
    const COMERS: u32 = 100;
    let mut database = support::database().await;
    let (link, pool) = Proxy::to(&database).await;
    database.service_url = pool;
    let mut program = serve_process(&database, &[]).await;
    link.set(Way::Refuse);
    link.cut();
    let began = Instant::now();
    for number in 0..COMERS {
        let bearer = format!("Bearer {}", token(&number.to_string(), "user", ""));
        let answer = get(&program, "/poll", &[("authorization", &bearer)]).await;
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    let counted = metric(&program, "rowcast_failures_total").await;
    assert!(counted >= f64::from(COMERS), "each counts: {counted}");
    let most = began.elapsed().as_secs() + 2;
    let line = r#""message":"the database could not be asked","what":"admission""#;
    program.log_line(line).await;
    let told = program.log().matches(line).count() as u64;
    assert!(told <= most, "{told} lines");
    link.set(Way::Pass);
}

/// An authority of our own, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Certificate and key for this host.
    fn sign(&self, host: &str) -> (String, String) {
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A WebSocket over any stream, for transports that the shared subscribers don't have.
async fn socket_over<S>(stream: S) -> WebSocketStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = "ws://localhost/ws"
        .into_client_request()
        .expect("a request");
    let bearer = format!("Bearer {}", token("1", "", ""))
        .parse()
        .expect("a header");
    request.headers_mut().insert("authorization", bearer);
    let opened = tokio_tungstenite::client_async(request, stream);
    within("a WebSocket opens", opened)
        .await
        .expect("an upgrade")
        .0
}

async fn frame<S>(socket: &mut WebSocketStream<S>) -> Value
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match within("a frame", socket.next()).await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("no frame: {other:?}"),
        }
    }
}

async fn ask_over(stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    ask_from(stream, path, "https://localhost").await
}

/// What a page of this origin is answered.
async fn ask_from(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    origin: &str,
) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\nconnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it takes it");
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer))
        .await
        .expect("it ends");
    answer
}

#[tokio::test]
async fn tls_ends_here_where_it_is_configured() {
    let database = support::database().await;
    let (authority, directory) = (Authority::new("ours"), open_directory());
    let (certificate, key) = authority.sign("localhost");
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("crt"), certificate).expect("a file");
    std::fs::write(path("key"), key).expect("a file");
    let server = serve(&database, |settings| {
        settings.http.tls_certificate_file = Some(path("crt"));
        settings.http.tls_key_file = Some(path("key"));
        // As long as it may take those who do speak TLS.
        settings.http.header_timeout = Duration::from_secs(8);
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("ours"))
        .expect("ours");
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let open = async || {
        let stream = TcpStream::connect(&server.address)
            .await
            .expect("it listens");
        let name = ServerName::try_from("localhost").expect("a name");
        within("a handshake", connector.connect(name, stream))
            .await
            .expect("TLS")
    };
    assert!(
        ask_over(open().await, "/healthz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let mut socket = socket_over(open().await).await;
    assert_eq!(frame(&mut socket).await["type"], "welcome");
    let id = marker(&database, &["*"]).await;
    assert_eq!(frame(&mut socket).await["id"], id.as_str());
    // A page of the same name by plain http is whoever sits between: it came in with cookies that are
    // only for https.
    let path = format!("/poll?token={}", token("7", "", ""));
    for (origin, status) in [
        ("https://localhost", "200"),
        ("http://localhost", "403"),
        ("https://elsewhere", "403"),
    ] {
        let answer = ask_from(open().await, &path, origin).await;
        let head = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&head), "{origin}: {answer}");
    }
    // Who does not speak TLS, or stops in the middle, is cut.
    let beginnings = [&b"GET /healthz HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01", b""];
    let cut = beginnings.map(async |beginning| {
        let mut stream = TcpStream::connect(&server.address)
            .await
            .expect("it listens");
        stream.write_all(beginning).await.expect("it takes it");
        let mut rest = Vec::new();
        let _ = within("it is cut", stream.read_to_end(&mut rest)).await;
        assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    });
    futures_util::future::join_all(cut).await;
    server.stop().await;
}

#[tokio::test]
async fn a_unix_socket_serves_and_is_removed() {
    let database = support::database().await;
    let directory = open_directory();
    let path = directory.path().join("rowcast.sock");
    let listen = format!("unix:{}", path.display());
    // What a killed run left is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let server = serve(&database, |settings| settings.http.listen = listen.clone()).await;
    let open = async || UnixStream::connect(&path).await.expect("it listens");
    assert!(
        ask_over(open().await, "/readyz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let mut socket = socket_over(open().await).await;
    assert_eq!(frame(&mut socket).await["type"], "welcome");
    let id = marker(&database, &["*"]).await;
    assert_eq!(frame(&mut socket).await["id"], id.as_str());
    // One that is in use stays.
    assert!(rowcast::app::Socket::bind(&listen).await.is_err());
    let stopping = tokio::spawn(server.stop());
    while let Some(Ok(_)) = within("the goodbye", socket.next()).await {}
    within("it stops", stopping).await.expect("it stops");
    assert!(!path.exists());
}

#[tokio::test]
async fn nothing_but_a_dead_socket_is_taken_away() {
    let directory = open_directory();
    let path = directory.path().join("busy.sock");
    let listen = format!("unix:{}", path.display());
    // Alive, but it has not accepted for so long that the kernel lets nobody wait.
    let busy = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let address = socket2::SockAddr::unix(&path).unwrap();
    busy.bind(&address).unwrap();
    busy.listen(0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(one) = UnixStream::connect(&path).await {
        waiting.push(one);
    }
    let refused = async || {
        let bound = rowcast::app::Socket::bind(&listen).await;
        bound
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let error = refused().await;
    assert!(error.contains("somebody listens there"), "{error}");
    busy.accept().expect("somebody waits");
    assert!(path.exists());
    drop((busy, waiting));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    let error = refused().await;
    assert!(error.contains("this file is no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

/// Whether this address gives an encrypted connection.
async fn is_encrypted(url: &str) -> Result<bool, String> {
    let client = rowcast::database::connect_and_drive(url, PATIENCE).await;
    let client = client.map_err(|error| error.to_string())?;
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(|error| error.to_string())?;
    Ok(row.get(0))
}

#[tokio::test]
async fn every_sslmode_demands_what_libpq_demands() {
    let (ours, foreign, directory) = (
        Authority::new("ours"),
        Authority::new("foreign"),
        open_directory(),
    );
    let (certificate, key) = ours.sign("localhost");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (crt, key) = (write("crt", &certificate), write("key", &key));
    let (right, wrong) = (write("right", &ours.pem), write("wrong", &foreign.pem));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("ours");
    if nix::unistd::geteuid().is_root() {
        let socket = support::on(Version::Installed).await.cluster.socket_dir();
        let owner = std::fs::metadata(socket).expect("it is there").uid();
        chown(&key, Some(owner), None).expect("root may");
    }
    let settings = [
        ("ssl", "on"),
        ("ssl_cert_file", &crt),
        ("ssl_key_file", &key),
    ];
    let settings = settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let encrypted = Options {
        tcp: true,
        settings,
        ..Options::default()
    };
    let encrypted = Cluster::start(encrypted)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let plain = Options {
        tcp: true,
        ..Options::default()
    };
    let plain = Cluster::start(plain)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let url = |cluster: &Cluster| cluster.tcp_url("postgres", SUPERUSER, None).expect("TCP");
    let by_address = url(&encrypted);
    let by_name = by_address.replace("@127.0.0.1:", "@localhost:");
    let (right, wrong) = (
        format!("&sslrootcert={right}"),
        format!("&sslrootcert={wrong}"),
    );
    for (base, mode, expected) in [
        (&by_address, "disable".to_owned(), Some(false)),
        (&by_address, "allow".into(), Some(true)),
        (&by_address, "prefer".into(), Some(true)),
        (&by_address, "require".into(), Some(true)),
        (&by_address, format!("require{right}"), Some(true)),
        (&by_address, format!("require{wrong}"), None),
        (&by_address, format!("prefer{wrong}"), Some(true)),
        (&by_address, format!("verify-ca{right}"), Some(true)),
        (&by_name, format!("verify-ca{right}"), Some(true)),
        (&by_name, format!("verify-ca{wrong}"), None),
        (&by_name, format!("verify-full{right}"), Some(true)),
        (&by_address, format!("verify-full{right}"), None),
        (&by_name, format!("verify-full{wrong}"), None),
        (&by_name, "verify-full&sslrootcert=/nowhere".into(), None),
        (&by_name, "verify-full".into(), None),
        (&by_name, "verify-full&sslrootcert=system".into(), None),
        (&by_name, "require&sslrootcert=system".into(), None),
        (&by_name, "verify-everything".into(), None),
        (&url(&plain), "prefer".into(), Some(false)),
        (&url(&plain), "require".into(), None),
        (&url(&plain), format!("verify-full{right}"), None),
    ] {
        // Whoever else is in the place of the names of the machine's own authorities did not sign it.
        let found = is_encrypted(&format!("{base}?sslmode={mode}")).await;
        assert_eq!(
            found.as_ref().ok(),
            expected.as_ref(),
            "{mode} at {base}: {found:?}"
        );
    }
    // Many servers show what `openssl req -x509` made, which libpq takes: the error said no remedy.
    let (crt_of_ca, key_of_ca) = (&ours.pem, ours.issuer.key().serialize_pem());
    let (crt_before, key_before) = [&crt, &key]
        .map(|path| std::fs::read_to_string(path).expect("ours"))
        .into();
    let serve_with = async |certificate: &str, of_it: &str| {
        std::fs::write(&crt, certificate).expect("ours");
        std::fs::write(&key, of_it).expect("ours");
        let client = rowcast::database::connect_and_drive(&by_address, PATIENCE).await;
        let client = client.expect("it is there");
        let reload = "select pg_reload_conf()";
        client.query_one(reload, &[]).await.expect("a superuser");
    };
    serve_with(crt_of_ca, &key_of_ca).await;
    let refused = eventually("the server has read it", async || {
        let found = is_encrypted(&format!("{by_name}?sslmode=verify-ca{right}")).await;
        found.err()
    });
    let refused = refused.await;
    assert!(
        refused.contains("give it one that says CA:FALSE"),
        "{refused}"
    );
    serve_with(&crt_before, &key_before).await;
    eventually("the server has read it", async || {
        let found = is_encrypted(&format!("{by_name}?sslmode=verify-ca{right}")).await;
        found.ok()
    })
    .await;
    // The pool kept to the authority of its start, until somebody restarted the service.
    let renewed = write("renewed", &foreign.pem);
    let url = format!("{by_name}?sslmode=verify-full&sslrootcert={renewed}");
    let raw = RawSettings::load(None, std::iter::empty(), &[]).expect("the defaults");
    let settings = Settings::check(raw).expect("the defaults");
    let pool = rowcast::database::Database::new(&url, &settings.database, &settings.calls);
    let pool = pool.expect("an address");
    let foreign = pool.echo("a word").await;
    foreign.expect_err("signed by another");
    write("renewed", &ours.pem);
    pool.echo("a word").await.expect("signed by this one");
}

/// Who comes now is told to come back: by code, and by a stream with the time to wait.
async fn assert_come_back(server: &Server) {
    let token = token("9", "", "");
    let (code, reason) = ws(server, &token, "").await.closed().await;
    assert_eq!(code, 1013, "{reason}");
    assert!(reason.parse::<u64>().is_ok(), "milliseconds: {reason}");
    let mut stream = sse(server, &token, "").await;
    assert_eq!(stream.closed().await, (200, "overloaded".into()));
    assert!(stream.retry.is_some(), "when to come back");
}

#[tokio::test]
async fn clients_stay_while_the_database_is_away_and_catch_up() {
    let mut postgres = Postgres::start(Version::Installed, &[]).await;
    let database = postgres.database().await;
    let server = serve(&database, |_| ()).await;
    let mut everybody = Vec::new();
    for transport in TRANSPORTS {
        let mut somebody = connect(transport, &server, &token("1", "", ""), "").await;
        somebody.expect("welcome").await;
        everybody.push(somebody);
    }
    let emit = "select rowcast.emit('c', $1, array['*'], '{}')";
    let writer = database.client(SUPERUSER).await;
    writer
        .execute(emit, &[&"before"])
        .await
        .expect("it is there");
    postgres.cluster.stop(Mode::Fast).await.expect("it stops");
    let why = eventually("it says that it is not ready", async || {
        let answer = get(&server, "/readyz", &[]).await;
        (answer.status == 503).then_some(answer.body)
    })
    .await;
    assert!(why.starts_with("not ready: ") && why.len() > 20, "{why}");
    assert_eq!(get(&server, "/healthz", &[]).await.status, 200);
    assert_come_back(&server).await;

    postgres.cluster.start_again().await.expect("it starts");
    let writer = database.client(SUPERUSER).await;
    writer.execute(emit, &[&"after"]).await.expect("it is back");
    for somebody in &mut everybody {
        somebody.expect_event("before").await;
        somebody.expect_event("after").await;
    }
    lets_in(&server).await;
    server.stop().await;
}

/// Waits until it is ready, and somebody gets in.
async fn lets_in(server: &Server) {
    eventually("it is ready", async || {
        (get(server, "/readyz", &[]).await.status == 200).then_some(())
    })
    .await;
    ws(server, &token("9", "", ""), "")
        .await
        .expect("welcome")
        .await;
}

#[tokio::test]
async fn who_comes_before_the_database_is_told_to_come_back() {
    let mut postgres = Postgres::start(Version::Installed, &[]).await;
    let database = postgres.database().await;
    postgres.cluster.stop(Mode::Fast).await.expect("it stops");
    let server = serve_unready(&database, |_| ()).await;
    assert_eq!(get(&server, "/readyz", &[]).await.status, 503);
    assert_come_back(&server).await;
    postgres.cluster.start_again().await.expect("it starts");
    lets_in(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn sigterm_says_goodbye_within_its_bound() {
    let database = support::database().await;
    let mut program = serve_process(&database, &[("ROWCAST__HTTP__DRAIN_MS", "1000")]).await;
    let token = token("1", "", "");
    let mut socket = ws(&program, &token, "").await;
    let mut stream = sse(&program, &token, "").await;
    // One that answers no close, and one that never asked anything.
    let mute = TcpStream::connect(program.address())
        .await
        .expect("it listens");
    let _deaf = socket_over(
        TcpStream::connect(program.address())
            .await
            .expect("it listens"),
    )
    .await;
    for somebody in [&mut socket, &mut stream] {
        somebody.expect("welcome").await;
    }
    program.signal(Signal::SIGTERM);
    let began = Instant::now();
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 1012);
    assert!(
        reason.parse::<u64>().is_ok_and(|wait| wait <= 500),
        "{reason}"
    );
    assert_eq!(stream.closed().await, (200, "restart".into()));
    assert!(
        stream.retry.is_some_and(|wait| wait <= 500),
        "{:?}",
        stream.retry
    );
    assert!(program.exited().await.success(), "{}", program.log());
    assert!(
        began.elapsed() < Duration::from_secs(1) + SLACK,
        "{:?}",
        began.elapsed()
    );
    assert!(
        TcpStream::connect(program.address()).await.is_err(),
        "nobody listens any more"
    );
    drop(mute);
}

#[tokio::test]
async fn operators_paths_can_be_moved_away() {
    let database = support::database().await;
    let admin = unused_address();
    let server = serve(&database, |settings| {
        settings.http.admin_listen = Some(admin.clone());
    })
    .await;
    for path in ["/metrics", "/readyz", "/healthz"] {
        assert_eq!(get(&server, path, &[]).await.status, 404, "{path}");
        assert_eq!(get(&admin, path, &[]).await.status, 200, "{path}");
        // As `wget --spider` and monitors ask.
        let probed = ask(&admin, "HEAD", path, &[], "").await;
        assert_eq!((probed.status, &*probed.body), (200, ""), "{path}");
    }
    for path in ["/sse", "/ws"] {
        assert_eq!(get(&admin, path, &[]).await.status, 404, "{path}");
    }
    assert!(try_sse(&server, &token("1", "", ""), "", &[]).await.is_ok());
    server.stop().await;
}

/// Samples by name and labels. Panics at what Prometheus would not read.
fn samples(text: &str) -> HashMap<String, f64> {
    let (mut types, mut helps) = (HashMap::new(), HashSet::new());
    let mut found = HashMap::new();
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a help");
            assert!(
                is_name(name) && !words.is_empty() && helps.insert(name),
                "{line}"
            );
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "twice: {line}");
            continue;
        }
        let (sample, value) = line
            .rsplit_once(' ')
            .unwrap_or_else(|| panic!("no sample: {line}"));
        let value: f64 = value
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        for pair in labels
            .strip_suffix('}')
            .expect("a closing brace")
            .split(',')
            .filter(|p| !p.is_empty())
        {
            let (label, text) = pair.split_once('=').expect("a label");
            assert!(
                is_name(label) && text.len() >= 2 && text.starts_with('"') && text.ends_with('"')
            );
        }
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let family = name.strip_suffix(suffix)?;
            (types.get(family) == Some(&"histogram")).then_some(family)
        });
        let kind = types
            .get(family.unwrap_or(name))
            .unwrap_or_else(|| panic!("no type: {line}"));
        assert!(*kind != "counter" || name.ends_with("_total"), "{line}");
        assert!(is_name(name) && name.starts_with("rowcast_"), "{line}");
        assert!(
            found.insert(sample.to_owned(), value).is_none(),
            "twice: {line}"
        );
    }
    assert_eq!(
        helps,
        types.keys().copied().collect(),
        "each has a help and a type"
    );
    found
}

/// As behind an application server's context path: `window.spaConfig.contextPath + …`.
#[tokio::test]
async fn every_path_lies_below_the_base_path_and_none_above_it() {
    let database = support::database().await;
    database
        .run(
            "create function public.hello() returns text language sql as $$ select 'hello' $$; \
             insert into rowcast.callable (name, function) values ('hello', 'public.hello()')",
        )
        .await;
    let server = serve(&database, |settings| {
        settings.http.base_path = BASE_PATH.into();
        settings.console.enabled = true;
    })
    .await;
    let bearer = format!("Bearer {}", token("1", "", ""));
    let headers = [("authorization", bearer.as_str())];
    for path in ["/healthz", "/readyz", "/metrics", "/poll"] {
        let answer = get(&server, &format!("{BASE_PATH}{path}"), &headers).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        for elsewhere in [
            path.to_owned(),
            format!("/below{path}"),
            format!("/else/here{path}"),
        ] {
            let answer = get(&server, &elsewhere, &headers).await;
            assert_eq!(answer.status, 404, "{elsewhere}: {answer:?}");
            assert!(answer.body.contains(BASE_PATH), "{answer:?}");
        }
    }
    for (path, status) in [
        ("/console", 200),
        ("/console/main.js", 200),
        ("/console/", 308),
    ] {
        let answer = raw(
            &server,
            &format!("GET {BASE_PATH}{path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        )
        .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
    }
    assert_eq!(get(&server, "/console", &[]).await.status, 404);
    let path = format!("{BASE_PATH}/call/hello");
    let answer = ask(&server, "POST", &path, &headers, "").await;
    assert_eq!(answer.json()["data"], "hello", "{answer:?}");
    let opened = stream(&server, &format!("{BASE_PATH}/sse"), &headers).await;
    let mut sse = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
    sse.expect("welcome").await;
    let mut ws = socket(&server, &format!("{BASE_PATH}/ws"), &headers).await;
    ws.expect("welcome").await;
}

/// Operators' own port, too: whoever routes by paths finds all of a service below one.
#[tokio::test]
async fn operators_own_port_has_the_same_base_path() {
    let database = support::database().await;
    let admin = unused_address();
    let server = serve(&database, |settings| {
        settings.http.base_path = BASE_PATH.into();
        settings.http.admin_listen = Some(admin.clone());
    })
    .await;
    let ready = format!("{BASE_PATH}/readyz");
    assert_eq!(get(&admin, &ready, &[]).await.status, 200);
    assert_eq!(get(&admin, "/readyz", &[]).await.status, 404);
    // Whoever asks at the wrong one is told what is there: it was all paths, of both.
    let here = get(&server, &ready, &[]).await;
    assert_eq!(here.status, 404);
    assert!(
        here.body.contains("/ws, ") && !here.body.contains("/readyz"),
        "{here:?}"
    );
    let there = get(&admin, &format!("{BASE_PATH}/ws"), &[]).await;
    assert_eq!(there.status, 404);
    assert!(
        there.body.contains("/readyz") && !there.body.contains("/ws, "),
        "{there:?}"
    );
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let database = support::database().await;
    // Counters are the process's, so nobody else may count in it.
    let server = serve_process(&database, &[]).await;
    let mut socket: Subscriber = ws(&server, &token("1", "", ""), "rooms=nowhere").await;
    socket.expect("welcome").await;
    marker(&database, &["*"]).await;
    socket.frames_until("marker").await;
    ws(&server, "garbage", "").await.closed().await;
    eventually("what was written is counted, behind it", async || {
        (metric(&server, "rowcast_deliveries_total").await >= 1.0).then_some(())
    })
    .await;
    let answer = get(&server, "/metrics", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4");
    let found = samples(&answer.body);
    for name in [
        "rowcast_events_total",
        "rowcast_deliveries_total",
        "rowcast_connections",
        "rowcast_ready",
        "rowcast_rooms",
        "rowcast_subscriptions",
        "rowcast_connections_opened_total{transport=\"websocket\"}",
        "rowcast_refusals_total{code=\"unauthorized\"}",
        "rowcast_refusals_total{code=\"forbidden\"}",
    ] {
        assert!(
            found.get(name).is_some_and(|value| *value >= 1.0),
            "{name}\n{}",
            answer.body
        );
    }
    let histogram = "rowcast_commit_to_queue_seconds";
    let mut buckets: Vec<(f64, f64)> = found
        .iter()
        .filter_map(|(name, count)| {
            let bound = name
                .strip_prefix(histogram)?
                .strip_prefix("_bucket{le=\"")?;
            let bound = bound.strip_suffix("\"}")?;
            Some((
                if bound == "+Inf" {
                    f64::INFINITY
                } else {
                    bound.parse().ok()?
                },
                *count,
            ))
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(
        buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
        "cumulative: {buckets:?}"
    );
    let last = buckets.last().expect("buckets");
    assert_eq!(last, &(f64::INFINITY, found[&format!("{histogram}_count")]));
    assert!(found.contains_key(&format!("{histogram}_sum")));
}

/// Alerts are written from the page.
#[tokio::test]
async fn the_page_on_operations_has_every_metric_and_no_other() {
    let page = support::documented::text("operations.md");
    let (_, table) = page.split_once("\n## Metrics\n").expect("a section");
    let (table, _) = table.split_once("| alert on |").expect("a table behind");
    let rows = table.lines().filter_map(|row| row.strip_prefix("| `"));
    let cells = rows.filter_map(|row| Some(row.split_once(" |")?.0));
    let words = cells.flat_map(|cell| cell.split(['`', ',', ' ', '{', '}']));
    let listed: BTreeSet<_> = words
        .filter(|word| word.starts_with("rowcast_"))
        .map(str::to_owned)
        .collect();
    let database = support::database().await;
    let server = serve(&database, |_| ()).await;
    // Not there before their first, as the page says.
    let later = ["rowcast_calls_total", "rowcast_statements_total"].map(str::to_owned);
    eventually("all that is listed is shown", async || {
        let shown = get(&server, "/metrics", &[]).await.body;
        let shown = shown
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "));
        let shown = shown.filter_map(|line| Some(line.split_once(' ')?.0.to_owned()));
        let shown: BTreeSet<_> = shown.chain(later.clone()).collect();
        let untold: Vec<_> = shown.difference(&listed).collect();
        assert!(untold.is_empty(), "not on the page: {untold:?}");
        (shown == listed).then_some(())
    })
    .await;
    server.stop().await;
}

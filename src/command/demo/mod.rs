//! `rowcast demo`: a throwaway PostgreSQL, the lab system with sample data, a modest legacy writer
//! in plain SQL, and the service with a page beside it. Hands over to the app.
//! It must never touch a database that it did not make, and never take SQL from the page.

mod page;

use super::Failure;
use super::postgres::{self, Cluster, Options};
use super::serve::stop_signal;
use super::triggers::files::rank;
use crate::app::{App, Socket};
use crate::config::Settings;
use crate::routes::routes;
use crate::{database, migrate};
use clap::Args;
use include_dir::{Dir, include_dir};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;
use warp::Filter;

static LAB: Dir = include_dir!("$CARGO_MANIFEST_DIR/triggers/lab");
const SAMPLE: &str = include_str!("demo.sql");

/// Name of the demo's database.
const DATABASE: &str = "demo";

/// Time between two writes of the legacy application: busy enough to watch, slow enough to follow.
const WRITER_PAUSE: Duration = Duration::from_millis(1500);

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Where to listen; a free port of 127.0.0.1 if 8080 is taken.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Without the legacy writer: nothing happens that you do not do.
    #[arg(long)]
    quiet: bool,
}

pub async fn run(args: DemoArgs, mut settings: Settings) -> Result<ExitCode, Failure> {
    // From the first moment on: Ctrl-C during the start leaves nothing behind either.
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let opened = tokio::select! {
        opened = open(&args, &mut settings) => opened?,
        () = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    let Demo {
        app,
        legacy,
        cluster,
        url,
    } = opened;
    let legacy = Arc::new(legacy);
    let filter = page::routes(Arc::clone(&legacy), Arc::clone(&app.gate))
        .or(routes(&app.gate))
        .unify();
    let writer = async {
        if args.quiet {
            std::future::pending::<()>().await;
        }
        write_on(&legacy).await;
    };
    let console = page::console_url(&url, &app.gate).unwrap_or_default();
    println!(
        "\n  Rowcast's demo is at  {url}\n  its console at        {console}\n\n  \
         Ctrl-C ends it and leaves nothing behind.\n"
    );
    tokio::select! {
        () = app.run_with(filter, stop) => {}
        () = writer => {}
    }
    drop(legacy);
    drop(cluster);
    Ok(ExitCode::SUCCESS)
}

struct Demo {
    app: App,
    legacy: Client,
    cluster: Cluster,
    url: String,
}

async fn open(args: &DemoArgs, settings: &mut Settings) -> Result<Demo, Failure> {
    let socket = bind(args, settings).await?;
    let url = format!("http://{}/", socket.address());
    eprintln!("starting a throwaway PostgreSQL …");
    let cluster = Cluster::start(Options::default()).await?;
    let timeout = settings.database.connect_timeout;
    let maintenance =
        database::connect_and_drive(&cluster.url("postgres", postgres::SUPERUSER), timeout).await?;
    maintenance
        .batch_execute(&format!("create database {DATABASE}"))
        .await?;
    let mut owner =
        database::connect_and_drive(&cluster.url(DATABASE, postgres::SUPERUSER), timeout).await?;
    eprintln!("installing schema, triggers and sample data …");
    migrate::run(&mut owner).await?;
    apply(&owner).await?;
    owner.batch_execute(SAMPLE).await?;
    owner
        .batch_execute("alter role rowcast_service login; alter role lab_app login")
        .await?;
    let legacy = database::connect_and_drive(&cluster.url(DATABASE, "lab_app"), timeout).await?;

    settings.database.url = Some(cluster.url(DATABASE, "rowcast_service"));
    settings.database.listen_url = None;
    if settings.auth.hs256_secret.is_none() {
        settings.auth.hs256_secret = Some(format!("{:032x}", rand::random::<u128>()));
    }
    settings.console.enabled = true;
    settings.console.payloads = true;
    let app = App::open(settings.clone(), socket).await?;
    let ready = async {
        while app.gate.pulse.check(&app.gate.settings.listener).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ready)
        .await
        .map_err(|_| {
            let why = app
                .gate
                .pulse
                .check(&app.gate.settings.listener)
                .err()
                .unwrap_or_default();
            format!("the service did not become ready: {why}")
        })?;
    Ok(Demo {
        app,
        legacy,
        cluster,
        url,
    })
}

/// As `rowcast triggers apply` orders them; nobody writes yet who could be made to wait.
async fn apply(owner: &Client) -> Result<(), Failure> {
    let mut files: Vec<_> = LAB
        .files()
        .filter_map(|file| Some((file.path().to_str()?, file.contents_utf8()?)))
        .collect();
    files.sort_unstable_by_key(|(name, _)| (rank(name), *name));
    for (name, text) in files {
        owner.batch_execute(text).await.map_err(|error| {
            let words = error
                .as_db_error()
                .map_or_else(|| error.to_string(), ToString::to_string);
            format!("triggers/lab/{name}: {words}")
        })?;
    }
    Ok(())
}

async fn bind(args: &DemoArgs, settings: &Settings) -> Result<Socket, Failure> {
    if let Some(address) = &args.listen {
        return Ok(Socket::bind(address).await?);
    }
    match Socket::bind(&settings.http.listen).await {
        Ok(socket) => Ok(socket),
        Err(_) => Ok(Socket::bind("127.0.0.1:0").await?),
    }
}

/// The legacy application: plain SQL as a role that knows nothing of Rowcast.
async fn write_on(legacy: &Client) {
    loop {
        tokio::time::sleep(WRITER_PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
        if let Err(error) = legacy.batch_execute("select demo.writer_step()").await {
            tracing::warn!(%error, "the demo's writer could not write");
            if legacy.is_closed() {
                std::future::pending::<()>().await;
            }
        }
    }
}

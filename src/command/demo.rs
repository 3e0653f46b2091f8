//! `rowcast demo`: a throwaway PostgreSQL, five systems with sample data, a modest old application
//! in plain SQL behind each, and one service a system, all in this process and on one port, with
//! pages beside them. Hands over to the app.
//! It must never touch a database that it did not make, and never take SQL from a page.

mod application;
mod page;
mod system;

use super::postgres::{self, Cluster, Options};
use super::serve::stop_signal;
use super::{Failure, remark};
use crate::app::{App, Service, Socket};
use crate::config::{Settings, is_local};
use crate::{database, migrate, report};
use application::Application;
use clap::Args;
use futures_util::future::{join_all, try_join_all};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use system::{SYSTEMS, Stage};
use warp::Filter;

/// Time between two writes of an old application: busy enough to watch, slow enough to follow.
const WRITER_PAUSE: Duration = Duration::from_millis(1500);

/// How long a database that was killed stays away, at most twice that: long enough to be noticed.
const REVIVE_AFTER: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Where to listen, host:port; without it, a free port of 127.0.0.1 if 8080 is taken.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Without the old applications' writers: nothing happens that you do not do.
    #[arg(long)]
    quiet: bool,
}

pub async fn run(args: DemoArgs, settings: Settings) -> Result<ExitCode, Failure> {
    // From the first moment on: Ctrl-C during the start leaves nothing behind either.
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let opened = tokio::select! {
        opened = open(&args, settings) => opened?,
        () = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    let Demo {
        mut cluster,
        socket,
        services,
        stages,
    } = opened;
    let words = words(&socket.address());
    let pages = page::routes(&stages);
    let mut services = services.into_iter();
    let first = services.next().ok_or("the demo has no system")?;
    let app = App::of(first, services.collect(), socket).await?;
    let front = page::with_views(app.front(pages.or(app.routes()).unify()));
    // In one piece, and whoever stopped reading has missed words, not the demo.
    if let Err(error) = std::io::stdout().write_all(words.as_bytes()) {
        report::demo_failed("saying where it is", &error);
    }
    let writers = async {
        if args.quiet {
            std::future::pending::<()>().await;
        }
        join_all(stages.iter().map(|stage| write_on(&stage.legacy))).await;
    };
    tokio::select! {
        ended = app.run_front(front, stop) => ended?,
        () = writers => {}
        failed = revive(&mut cluster) => failed?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is said once it is there.
fn words(address: &str) -> String {
    let open = if is_local(address) {
        ""
    } else {
        "Whoever reaches this address may do all there is to do here: nobody is asked for a password.\n  "
    };
    let place = place(address);
    format!(
        "\n  Rowcast's demo is at  {place}\n\n  {open}Ctrl-C ends it and leaves nothing behind.\n\n"
    )
}

/// Where it is, for people: a browser opens a port, and no socket file.
fn place(address: &str) -> String {
    if address.starts_with("unix:") {
        format!("{address}, which a browser opens through a proxy only")
    } else {
        format!("http://{address}/")
    }
}

struct Demo {
    cluster: Cluster,
    socket: Socket,
    services: Vec<Service>,
    stages: Vec<Stage>,
}

async fn open(args: &DemoArgs, settings: Settings) -> Result<Demo, Failure> {
    let socket = bind(args, &settings).await?;
    remark("starting a throwaway PostgreSQL …");
    let cluster = Cluster::start(Options::default()).await?;
    let timeout = settings.database.connect_timeout;
    remark("installing five systems with sample data …");
    let maintenance = cluster.url("postgres", postgres::SUPERUSER);
    let maintenance = database::connect_and_drive(&maintenance, timeout).await?;
    // Migrated once: each system's database is a copy.
    let template = cluster.url("template1", postgres::SUPERUSER);
    let mut template = database::connect_and_drive(&template, timeout).await?;
    migrate::run(&mut template).await?;
    template
        .batch_execute(include_str!("demo/demo.sql"))
        .await?;
    drop(template);
    // What somebody is connected to can't be copied, and our own session may take a while to end.
    let alone = "select pg_terminate_backend(pid, 20000) from pg_stat_activity \
                 where datname = 'template1'";
    maintenance.batch_execute(alone).await?;

    let settings = of_its_own(settings);
    let opened = SYSTEMS
        .iter()
        .map(|system| system.open(&cluster, &settings));
    let (stages, services) = try_join_all(opened).await?.into_iter().unzip();
    Ok(Demo {
        cluster,
        socket,
        services,
        stages,
    })
}

/// The settings, but for what is the demo's own.
fn of_its_own(mut settings: Settings) -> Settings {
    // One port for everything, whatever the settings say of others.
    settings.http.admin_listen = None;
    settings.console.enabled = true;
    settings.console.payloads = true;
    // Pages hand out tokens to whoever looks at them: never by a secret that signs anything else.
    settings.auth.hs256_secret = Some(format!("{:032x}", rand::random::<u128>()));
    (settings.auth.issuer, settings.auth.audience) = (None, None);
    settings
}

async fn bind(args: &DemoArgs, settings: &Settings) -> Result<Socket, Failure> {
    match Socket::bind(&settings.http.listen).await {
        Err(_) if args.listen.is_none() => Ok(Socket::bind("127.0.0.1:0").await?),
        bound => Ok(bound?),
    }
}

/// Starts the database again whenever somebody has killed it: everybody catches up, as anywhere else.
async fn revive(cluster: &mut Cluster) -> Result<(), Failure> {
    loop {
        tokio::time::sleep(REVIVE_AFTER).await;
        if cluster.pid().is_none() {
            remark("the throwaway PostgreSQL has ended; starting it again …");
            cluster.start_again().await?;
        }
    }
}

/// The old application, as it writes by itself.
async fn write_on(legacy: &Application) {
    loop {
        tokio::time::sleep(WRITER_PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
        let step = async {
            let connection = legacy.connection().await?;
            connection
                .batch_execute("select demo.writer_step()")
                .await?;
            Ok::<_, Failure>(())
        };
        if let Err(error) = step.await {
            report::demo_failed("a writer's step", &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{of_its_own, place, words};
    use crate::config::{RawSettings, Settings};

    /// Started where a service's secret is in the environment, the pages handed out tokens for its console.
    #[test]
    fn no_token_of_the_demo_counts_elsewhere() {
        let secret = "a secret that signs somebody's tokens";
        let env = ("ROWCAST__AUTH__HS256_SECRET".to_owned(), secret.to_owned());
        let raw = RawSettings::load(None, [env].into_iter(), &[]).unwrap();
        let own = of_its_own(Settings::check(raw).unwrap()).auth.hs256_secret;
        assert!(own.is_some_and(|own| own.len() >= 32 && own != secret));
    }

    #[test]
    fn whoever_opens_it_to_others_is_told() {
        assert!(!words("127.0.0.1:8080").contains("Whoever"));
        assert!(words("0.0.0.0:8080").contains("Whoever reaches this address"));
    }

    #[test]
    fn a_socket_file_is_no_address_for_a_browser() {
        assert_eq!(place("127.0.0.1:8080"), "http://127.0.0.1:8080/");
        assert!(place("unix:/run/demo.sock").starts_with("unix:/run/demo.sock, "));
    }
}

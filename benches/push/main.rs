//! `make bench`: what pushing costs, and how soon it is there, for Rowcast, for the bare system calls
//! and for what people would pick instead: one table and one JSON file.
//! Hands over to `measure`, which sets a scene for each server and scenario.
//! It must never touch a server that it did not start, nor anybody but 127.0.0.0/8.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for people, who see where it can't speak"
)]

mod avalanche;
mod cores;
mod crowd;
mod floor;
mod measure;
#[allow(
    dead_code,
    reason = "what judges a run is here; `make bench-plots` draws it"
)]
#[path = "../plots/pages/mod.rs"]
mod pages;
mod peers;
mod process;
mod report;
mod scenario;
mod server;
mod source;
mod stage;
#[path = "../yardstick/mod.rs"]
mod yardstick;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use stage::Stage;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long one server may take for a scenario, besides its seconds: far more than any does.
const LONGEST: Duration = Duration::from_secs(180);

/// Files besides the connections, of the crowd as of any server.
const SPARE_FILES: u64 = 500;

/// What is measured, and for how long.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "bench",
    about = "Measures what pushing costs, against the floor and peers."
)]
pub struct Plan {
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Scenarios, by name; all, if none is given.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Servers, by name; if none is given, those that a scenario tells something about.
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// A glance, in a minute: two scenarios, the floor and Rowcast.
    #[arg(long, conflicts_with_all = ["scenarios", "servers"])]
    quick: bool,
    /// Where the JSON goes; by default target/bench/push-DATE.json.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The other role of this program: the floor, on this port.
    #[arg(long, hide = true)]
    floor: Option<u16>,
    /// The same, fed by LISTEN from the database of `DATABASE_URL`.
    #[arg(long, hide = true)]
    listening_floor: Option<u16>,
    /// What cargo bench adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a glance looks at.
const QUICK_SCENARIOS: [&str; 2] = ["room-1000-calm", "latency-100"];
const QUICK_SERVERS: [&str; 5] = [
    "floor",
    "floor-listen",
    "rowcast-ws",
    "rowcast-sse",
    "rowcast-socketio",
];
const QUICK_SECONDS: u64 = 2;

fn main() -> ExitCode {
    let mut plan = Plan::parse();
    if plan.quick {
        plan.seconds = QUICK_SECONDS;
        plan.scenarios = QUICK_SCENARIOS.map(str::to_owned).into();
        plan.servers = QUICK_SERVERS.map(str::to_owned).into();
    }
    let outcome = match (plan.floor, plan.listening_floor) {
        (Some(port), _) => floor::obey(port),
        (_, Some(port)) => floor::listen(port),
        _ => run(&plan),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {}", yardstick::reasons(&*error));
            ExitCode::FAILURE
        }
    }
}

/// One thread besides the crowd's: the servers need the others.
#[tokio::main(flavor = "current_thread")]
async fn run(plan: &Plan) -> Result<(), Failure> {
    let scenarios = chosen(&plan.scenarios, scenario::all(), |scenario| scenario.name)?;
    let servers = chosen(&plan.servers, peers::ALL.to_vec(), |server| server.name)?;
    let most = scenarios.iter().map(|scenario| scenario.connections).max();
    let most = most.unwrap_or_default();
    raise_limit(most as u64)?;
    let date = jiff::Timestamp::now()
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    let path = format!("target/bench/push-{date}.json").into();
    let path = plan.out.clone().unwrap_or(path);
    let mut stage = Stage::build(most).await?;
    let mut machine = serde_json::to_value(yardstick::machine::Machine::look()?)?;
    machine["postgres"] = stage.version().await?.into();
    machine["date"] = date.into();
    machine["commit"] = commit().into();
    println!("{machine}\n\n{}", report::HEAD);
    let mut results = Vec::new();
    let mut failed = 0;
    for scenario in &scenarios {
        for &server in &servers {
            if plan.servers.is_empty() && !scenario.is_for(&server) {
                continue;
            }
            match measure_once(&mut stage, server, scenario, plan, &results).await {
                Ok(measured) => {
                    println!("{}", measured.line());
                    results.push(measured);
                }
                Err(error) => {
                    let why = yardstick::reasons(&*error);
                    println!("{:18} {:16} failed: {why}", scenario.name, server.name);
                    failed += 1;
                }
            }
            // What a run that is stopped has found is not lost.
            report::write(&path, &machine, &results)?;
        }
    }
    println!();
    for [target, aim, measured, reached] in pages::targets::judged(&pages::Run::read(&path)?) {
        println!("{:8} {target} {aim}: {measured}", reached.trim_matches('*'));
    }
    println!("\n{}", path.display());
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} measurements failed, and are not in the file").into()),
    }
}

/// Unless another scenario has measured just that already.
async fn measure_once(
    stage: &mut Stage,
    server: peers::Server,
    scenario: &scenario::Scenario,
    plan: &Plan,
    results: &[report::Measured],
) -> Result<report::Measured, Failure> {
    let twin = |of: &&report::Measured| of.scenario == scenario.same_as && of.server == server.name;
    match results.iter().find(twin) {
        Some(twin) => Ok(report::Measured {
            scenario: scenario.name,
            ..twin.clone()
        }),
        None => {
            let longest = LONGEST + Duration::from_secs(plan.seconds);
            let measuring = measure::measure(stage, server, scenario, plan);
            tokio::time::timeout(longest, measuring).await?
        }
    }
}

/// What is measured, if this is a working copy.
fn commit() -> Option<String> {
    let git = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let said = git.ok().filter(|output| output.status.success())?.stdout;
    Some(String::from_utf8_lossy(&said).trim().to_owned())
}

/// Those that were named, or all.
fn chosen<T>(
    named: &[String],
    all: Vec<T>,
    name: impl Fn(&T) -> &'static str,
) -> Result<Vec<T>, Failure> {
    if let Some(unknown) = named
        .iter()
        .find(|wanted| !all.iter().any(|of| name(of) == *wanted))
    {
        let all: Vec<_> = all.iter().map(name).collect();
        return Err(format!("there is no {unknown}; there are {}", all.join(", ")).into());
    }
    let wanted = |of: &T| named.is_empty() || named.iter().any(|wanted| wanted == name(of));
    Ok(all.into_iter().filter(wanted).collect())
}

/// As many open files as the system lets us have: ours, and by inheritance each server's.
fn raise_limit(connections: u64) -> Result<(), Failure> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let needed = connections + SPARE_FILES;
    if hard < needed {
        let why = format!(
            "{connections} connections need {needed} open files in one process, and {hard} are \
             allowed: raise the hard limit (ulimit -Hn), or choose smaller --scenarios"
        );
        return Err(why.into());
    }
    Ok(())
}

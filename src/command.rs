//! The subcommands: one file each. Reads settings, starts the log, hands over.
//! It must never print a secret.

mod demo;
mod files;
mod log;
mod patience;
pub mod postgres;
mod serve;
mod statements;
mod tail;
mod token;
mod triggers;

use crate::app;
use crate::config::{ConfigError, LogFormat, RawSettings, Settings};
use crate::{database, migrate, report};
use clap::{Args, Parser, Subcommand};
use patience::PatienceArgs;
use std::error::Error;
use std::fmt::Display;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// What a subcommand may fail with: its words go to the user as they are.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Pushes what happens in a Postgres database to browsers.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "`rowcast config` shows all settings; each can be given as ROWCAST__SECTION__KEY, \
the database as DATABASE_URL."
)]
pub struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Settings")]
struct SettingsArgs {
    /// A file of settings (TOML), above the defaults and below the environment.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database: postgres://user@host/name, with libpq's sslmode and sslrootcert.
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// One setting, above everything else, such as http.listen=0.0.0.0:8080.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves subscribers by WebSocket, server-sent events, long poll and Socket.IO.
    Serve(serve::ServeArgs),
    /// Shows it all: five live systems on a throwaway PostgreSQL, and old applications that write.
    Demo(demo::DemoArgs),
    /// Brings the database to the schema of this version; again is harmless.
    Migrate {
        /// Only prints the SQL, for an empty database.
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        patience: PatienceArgs,
    },
    /// Applies, compares or detaches the triggers in a directory of SQL files.
    Triggers(triggers::Args),
    /// Mints a token for development.
    Token(token::TokenArgs),
    /// Prints events from the log as they happen.
    Tail(tail::Args),
    /// Prints the effective configuration without secrets, and what is wrong with it.
    Config,
}

/// Runs a command line.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let done = runtime()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run(cli)));
    done.unwrap_or_else(|error| {
        remark(format_args!("rowcast: {error}"));
        ExitCode::FAILURE
    })
}

/// The threads that all is done on. Where the system has too few, tokio panics, and would then wait without
/// end for those that it has.
fn runtime() -> io::Result<Runtime> {
    std::panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("panicked");
        remark(format_args!(
            "rowcast: {why}: allow it more threads (TasksMax= with systemd, --pids-limit with Docker, \
             ulimit -u)"
        ));
        std::process::exit(1);
    }));
    let built = Builder::new_multi_thread().enable_all().build();
    drop(std::panic::take_hook());
    built
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let (raw, problems) = read_settings(&cli)?;
    if matches!(cli.command, Command::Config) {
        return show_config(raw, problems);
    }
    if matches!(cli.command, Command::Serve(_)) {
        return serve(raw, problems).await;
    }
    let settings = checked(raw, problems, false)?;
    let _log = log::start("warn", settings.log.format)?;
    match cli.command {
        Command::Demo(args) => demo::run(args, settings).await,
        Command::Migrate { print: true, .. } => {
            print(&migrate::script()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Migrate { patience, .. } => unless_stopped(run_migrate(&settings, patience)).await,
        Command::Triggers(args) => unless_stopped(triggers::run(args, &settings)).await,
        Command::Tail(args) => tail::run(args, &settings).await,
        Command::Token(args) => token::run(&args, &settings),
        // Done above.
        Command::Serve(_) | Command::Config => Ok(ExitCode::SUCCESS),
    }
}

/// Serves, or says by the log why not: whoever collects its lines can read those, too.
async fn serve(raw: RawSettings, problems: Vec<String>) -> Result<ExitCode, Failure> {
    let format = LogFormat::read(&raw.log.format).unwrap_or_default();
    let settings = match checked(raw, problems, true) {
        Ok(settings) => settings,
        Err(ConfigError { problems }) => {
            let _log = log::start("error", format)?;
            problems.iter().for_each(report::not_started);
            return Ok(ExitCode::FAILURE);
        }
    };
    let _log = log::start(&settings.log.level, format)?;
    serve::run(settings).await.or_else(|error| {
        report::not_started(&error);
        Ok(ExitCode::FAILURE)
    })
}

/// What could be read, and what is wrong with the rest.
fn read_settings(cli: &Cli) -> Result<(RawSettings, Vec<String>), Failure> {
    let args = &cli.settings;
    let mut overrides = Vec::new();
    if let Some(url) = &args.database_url {
        overrides.push(("database.url".to_owned(), url.clone()));
    }
    for pair in &args.set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("--set {pair}: KEY=VALUE was expected"))?;
        overrides.push((key.to_owned(), value.to_owned()));
    }
    let listen = match &cli.command {
        Command::Serve(args) => args.listen.clone(),
        Command::Demo(args) => args.listen.clone(),
        _ => None,
    };
    overrides.extend(listen.map(|listen| ("http.listen".to_owned(), listen)));
    let (env, mut problems) = environment();
    let (raw, wrong) = RawSettings::read(args.config.as_deref(), env.into_iter(), &overrides);
    problems.extend(wrong);
    Ok((raw, problems))
}

/// The environment, and what of ours in it is no text; what is foreign may be what it likes.
fn environment() -> (Vec<(String, String)>, Vec<String>) {
    let (mut env, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => env.push((name, value)),
            (Ok(name), Err(_)) if name == "DATABASE_URL" || name.starts_with("ROWCAST_") => {
                problems.push(format!("`{name}` in the environment is not UTF-8."));
            }
            _ => {}
        }
    }
    (env, problems)
}

/// The settings, or all that is wrong with them; for those who serve also what they name that can't
/// be used.
fn checked(
    raw: RawSettings,
    mut problems: Vec<String>,
    opens: bool,
) -> Result<Settings, ConfigError> {
    let checked = Settings::check(raw);
    match &checked {
        Ok(settings) if opens => problems.extend(app::problems(settings)),
        Ok(_) => {}
        Err(error) => problems.extend_from_slice(&error.problems),
    }
    match checked {
        Ok(settings) if problems.is_empty() => Ok(settings),
        _ => Err(ConfigError { problems }),
    }
}

fn show_config(raw: RawSettings, problems: Vec<String>) -> Result<ExitCode, Failure> {
    print(&raw.effective_toml())?;
    let mut settings = checked(raw, problems, true)?;
    for warning in serve::warnings(&mut settings) {
        remark(format_args!("rowcast: warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints, and is content where nobody reads on, as behind `head`.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// The same, of a line.
fn say(line: impl Display) -> io::Result<()> {
    print(&format!("{line}\n"))
}

/// Says something beside the output. Where that can't be written, whoever would read it lacks it, and
/// nothing else goes wrong.
fn remark(line: impl Display) {
    let _ = io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}

fn remark_if(said: Option<String>) {
    if let Some(said) = said {
        remark(format_args!("rowcast: {said}"));
    }
}

/// What stays one line, obeys no terminal and reads in the order in which it is written. JSON stays the
/// same: raw line breaks can only be white space there, and the other characters have an escape.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => line.push(' '),
            hidden if is_obeyed(hidden) => {
                let _ = write!(line, "\\u{:04x}", u32::from(hidden));
            }
            other => line.push(other),
        }
    }
    line
}

/// Whether it is no character to see, but a word to whatever shows it: a control, a line's end, or a mark
/// that turns the direction of text.
fn is_obeyed(character: char) -> bool {
    let turns = |other| {
        matches!(
            other,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2066}'..='\u{2069}'
        )
    };
    let ends = |other| matches!(other, '\u{2028}'..='\u{202e}');
    character.is_control() || ends(character) || turns(character)
}

/// Ends at the signals that `serve` ends at: the first process of a container has none by itself. What
/// was under way in the server is undone as soon as that finds us gone.
async fn unless_stopped(
    work: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let stop = serve::stop_signal()?;
    tokio::select! {
        done = work => done,
        () = stop => {
            remark("rowcast: stopped; what was done before is kept, and the same again goes on from there");
            // Of `triggers status`, 1 is an answer.
            Ok(ExitCode::from(2))
        }
    }
}

async fn run_migrate(settings: &Settings, patience: PatienceArgs) -> Result<ExitCode, Failure> {
    let url = direct_url(settings)?;
    let mut client = database::connect_and_drive(url, settings.database.connect_timeout).await?;
    remark_if(migrate::trusted(&client).await?);
    let done = migrate::run_with(&mut client, &patience.into()).await?;
    say(format_args!(
        "migrations applied: {}, scripts replaced: {}",
        done.migrations, done.scripts
    ))?;
    remark_if(migrate::outdated(&done));
    remark_if(migrate::dumps_fail(&client).await?);
    Ok(ExitCode::SUCCESS)
}

/// The server itself, past a pooler.
fn direct_url(settings: &Settings) -> Result<&str, Failure> {
    settings.database.direct_url().ok_or_else(|| {
        "no database: set DATABASE_URL or pass --database-url postgres://user@host/name".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// They stood between what the subcommand alone takes, one here and one there.
    #[test]
    fn what_every_subcommand_takes_stands_behind_its_own() {
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands_mut() {
            let help = command.render_help().to_string();
            let Some((own, settings)) = help.split_once("\nSettings:\n") else {
                assert_eq!(command.get_name(), "help", "{help}");
                continue;
            };
            assert!(!own.contains("--config"), "{help}");
            assert_eq!(settings.matches("\n").count(), 3, "{help}");
        }
    }

    #[test]
    fn no_payload_speaks_to_the_terminal() {
        assert_eq!(
            one_line("{\n\t\"a\": \"\u{9b}31m\u{7f}\u{202e}é\"\r\n}"),
            "{  \"a\": \"\\u009b31m\\u007f\\u202eé\"  }"
        );
    }
}

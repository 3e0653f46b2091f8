//! `rowcast serve`: the service until SIGTERM, SIGHUP or Ctrl-C. Hands over to the app.
//! It must never run as a role that may do more than the service needs without saying so.

use super::{Failure, files};
use crate::app::{App, Socket, untimely_certificate};
use crate::config::Settings;
use crate::report;
use clap::Args;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Where to listen: host:port, or unix:/path.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
}

pub async fn run(mut settings: Settings) -> Result<ExitCode, Failure> {
    for warning in warnings(&mut settings) {
        report::unwise(&warning);
    }
    let socket = Socket::bind(&settings.http.listen).await?;
    let address = socket.address();
    let app = App::open(settings, socket).await?;
    report::serving(&address);
    // Said by the log, as all else: nobody may read it any more, and the end waits for nobody.
    Ok(match app.run(stop_signal()?).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::ended(&error);
            ExitCode::FAILURE
        }
    })
}

/// What is allowed but unwise, after the settings were fitted to what the process may have.
pub(super) fn warnings(settings: &mut Settings) -> Vec<String> {
    let few_files = files::fit(settings);
    let warnings = settings.warnings().into_iter().chain(few_files);
    warnings.chain(untimely_certificate(settings)).collect()
}

/// Ends at SIGTERM or SIGINT, or at SIGHUP: a terminal that is closed, or somebody who expects that
/// settings are read again.
pub fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = match ignores_hangup() {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    let hung_up = async move {
        match &mut hangup {
            Some(hangup) => _ = hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = hung_up => "SIGHUP",
        };
        report::told_to_stop(signal);
    })
}

/// Whether whoever started the process had it ignore SIGHUP, as `nohup` does: then it is to outlive
/// its terminal. Where the system doesn't show that, the signal is left as it is.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & 1 != 0)
}

//! `rowcast serve`: the service until SIGTERM or Ctrl-C. Hands over to the app.
//! It must never run as a role that may do more than the service needs without saying so.

use super::{Failure, files};
use crate::app::{App, Socket};
use crate::config::Settings;
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
    let few_files = files::fit(&mut settings);
    for warning in settings.warnings().into_iter().chain(few_files) {
        tracing::warn!("{warning}");
    }
    let socket = Socket::bind(&settings.http.listen).await?;
    let address = socket.address();
    let app = App::open(settings, socket).await?;
    tracing::info!(address, version = env!("CARGO_PKG_VERSION"), "serving");
    // Said by the log, as all else: nobody may read it any more, and the end waits for nobody.
    Ok(match app.run(stop_signal()?).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// Ends at SIGTERM or SIGINT.
pub fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

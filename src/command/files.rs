//! How many files the process may have open, of which each connection is one.
//! Hands back limits that fit, and a sentence if they are lower than was configured.
//! It must never leave more to be accepted than can be opened: who comes then hears nothing at all.

use crate::config::Settings;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files besides connections and the pools': the log, timers, sockets to listen on, the listener's
/// connection, a JWKS.
const OWN: usize = 32;

/// Allows the process what its settings need, or lowers them to what it may have.
pub(super) fn fit(settings: &mut Settings) -> Option<String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // The soft limit is low for programs that use select(2), and this one does not.
    let raised = hard.min(needed(settings) as u64).max(soft);
    let raised = setrlimit(Resource::RLIMIT_NOFILE, raised, hard).map_or(soft, |()| raised);
    fit_into(settings, usize::try_from(raised).unwrap_or(usize::MAX))
}

fn needed(settings: &Settings) -> usize {
    own(settings) + settings.limits.sockets
}

fn own(settings: &Settings) -> usize {
    OWN + settings.database.pool_size + settings.calls.running
}

fn fit_into(settings: &mut Settings, files: usize) -> Option<String> {
    let needed = needed(settings);
    if files >= needed {
        return None;
    }
    let sockets = files.saturating_sub(own(settings)).max(2);
    let limits = &mut settings.limits;
    let configured = limits.connections;
    // As many as ever are for those who are told that there is no room, where there are many.
    let spare = (limits.sockets - configured).min(sockets.div_ceil(4));
    limits.connections = configured.min(sockets - spare);
    limits.sockets = sockets;
    Some(format!(
        "limits.connections is {configured}, but the process may open {files} files: no more than \
         {} connections are let in. Allow it {needed}: LimitNOFILE={needed} with systemd, \
         or ulimit -n {needed}.",
        limits.connections
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawSettings;

    #[test]
    fn connections_fit_into_the_files_that_may_be_open() {
        let raw = RawSettings::load(None, std::iter::empty(), &[]).unwrap();
        let settings = Settings::check(raw).unwrap();
        let needed = needed(&settings);
        for (files, connections, sockets) in [
            (needed, 20_000, 21_000),
            (needed - 1, 19_999, 20_999),
            (1024, 735, 980),
            (0, 1, 2),
        ] {
            let mut fitted = settings.clone();
            let warning = fit_into(&mut fitted, files);
            let limits = fitted.limits;
            assert_eq!((limits.connections, limits.sockets), (connections, sockets));
            assert_eq!(warning.is_none(), files == needed, "{warning:?}");
        }
    }
}

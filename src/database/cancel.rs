//! Cancel requests: what nobody waits for any more would otherwise go on in the server until it comes to
//! its end, and what waits for a lock does not notice that its client has left.
//! Hands over to nobody. It must never keep those waiting who have given up.

use super::servers::Servers;
use tokio::runtime::Handle;
use tokio_postgres::CancelToken;

/// Sends cancel requests, each over a connection of its own.
#[derive(Clone)]
pub(super) struct Canceller {
    servers: Servers,
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Canceller")
    }
}

impl Canceller {
    /// Of connections to these; a request takes no longer than it may take to connect.
    pub fn of(servers: &Servers) -> Self {
        Self {
            servers: servers.clone(),
        }
    }

    /// Has the server stop what it does on a connection, as a task of its own, and `then` lets go of what
    /// is kept until that was asked. It may strike late: what comes next on this connection must be
    /// nobody's.
    pub fn cancel(&self, token: CancelToken, then: impl FnOnce() + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else {
            return then();
        };
        let servers = self.servers.clone();
        runtime.spawn(async move {
            let asked = token.cancel_query(servers.connector());
            let _ = tokio::time::timeout(servers.timeout, asked).await;
            then();
        });
    }
}

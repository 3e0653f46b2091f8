//! The links between the service and its servers: one to the primary, one to wherever its standby is.
//! Hands over the one to be hurt. It must never lead to two servers that take writes.

use crate::support::proxy::{Proxy, Upstream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Links {
    both: [Proxy; 2],
    primary: AtomicUsize,
}

impl Links {
    /// Behind the second there is nobody yet.
    pub async fn start(primary: PathBuf, seed: u64) -> Self {
        let nobody = Upstream::Unix(primary.with_extension("nobody"));
        Self {
            both: [
                Proxy::start(Upstream::Unix(primary), seed).await,
                Proxy::start(nobody, seed + 2).await,
            ],
            primary: AtomicUsize::new(0),
        }
    }

    /// The one to the server that takes writes.
    pub fn primary(&self) -> &Proxy {
        &self.both[self.primary.load(Ordering::SeqCst)]
    }

    pub fn standby(&self) -> &Proxy {
        &self.both[1 - self.primary.load(Ordering::SeqCst)]
    }

    /// The standby was promoted, and the primary is dead.
    pub fn fail_over(&self) {
        self.primary.fetch_xor(1, Ordering::SeqCst);
    }

    /// Both, as libpq's URLs name several servers; nobody is asked for a password behind them.
    pub fn url(&self, role: &str, name: &str) -> String {
        let [one, other] = &self.both;
        format!(
            "postgresql://{role}@{},{}/{name}?sslmode=disable&target_session_attrs=read-write",
            one.address, other.address
        )
    }
}

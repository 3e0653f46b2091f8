//! The end of a connection from outside of what serves it, which may be stuck in a write.
//! Hands over to whoever has the socket. It must never strike before the time for last words is over.

use super::Refusal;
use crate::clock::until;
use crate::hub::Subscription;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Cuts a connection.
#[derive(Clone, Debug, Default)]
pub struct Cut(Arc<Notify>);

/// A task that watches over somebody, for as long as this is kept.
#[derive(Debug)]
pub struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Cut {
    /// Has a task watch over whoever reads here: who is ended or expires, and has not gone when the time
    /// for its last words is over, is cut.
    #[must_use]
    pub fn watch(self, watched: &Arc<Subscription>, expires_at: u64) -> Watch {
        let watched = Arc::clone(watched);
        Watch(tokio::spawn(async move {
            let why: Refusal = tokio::select! {
                ended = watched.ended() => ended.into(),
                () = until(expires_at) => Refusal::Expired,
            };
            tokio::time::sleep(why.grace()).await;
            self.0.notify_one();
        }))
    }

    /// Ends when the connection is to be cut.
    pub async fn called(&self) {
        self.0.notified().await;
    }
}

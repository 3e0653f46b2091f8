//! A thread for the listener: nothing that is done for connections delays a look, and no core has to
//! be woken for one. Hands over to the listener, on a runtime of its own.
//! It must never outlive the service whose it is.

use super::Listener;
use std::io;
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

/// The thread, as long as somebody has this.
pub struct Thread {
    ended: oneshot::Receiver<()>,
    _held: oneshot::Sender<()>,
}

impl Listener {
    /// Has it listen until `stopping` says true, or the thread is dropped.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(self, stopping: watch::Receiver<bool>) -> io::Result<Thread> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (ends, ended) = oneshot::channel();
        let (_held, dropped) = oneshot::channel();
        let listen = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.run(stopping) => {}
                    _ = dropped => {}
                }
            });
            drop(ends);
        };
        std::thread::Builder::new()
            .name("listener".to_owned())
            .spawn(listen)?;
        Ok(Thread { ended, _held })
    }
}

impl Thread {
    /// Waits until it has ended, however that came.
    pub async fn ended(&mut self) {
        if !self.ended.is_terminated() {
            let _ = (&mut self.ended).await;
        }
    }
}

//! A service that has a thread and a runtime for itself, so that what is allocated there is its own.
//! It works only while [`Counted::during`] waits: nothing happens between two measurements.

use crate::support::{Database, serve, within};
use allocation_counter::{AllocationInfo, measure};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// Until then the service works; then what it allocated is sent.
type Phase = (oneshot::Receiver<()>, oneshot::Sender<AllocationInfo>);

pub struct Counted {
    pub address: String,
    phases: mpsc::Sender<Phase>,
    thread: std::thread::JoinHandle<()>,
}

impl Counted {
    /// With quiet settings: nothing beats, pings or bounds while there is something to count.
    pub async fn open(database: &Arc<Database>) -> Self {
        let database = Arc::clone(database);
        let (opened, address) = oneshot::channel();
        let (phases, given) = mpsc::channel();
        let thread = std::thread::spawn(move || run(&database, opened, &given));
        let address = within("the service opens", address).await;
        Self {
            address: address.expect("it opens"),
            phases,
            thread,
        }
    }

    /// What the service allocates until this is done, and it has nothing left to do.
    pub async fn during(&self, fact: impl Future<Output = ()>) -> AllocationInfo {
        let (done, until) = oneshot::channel();
        let (answer, counted) = oneshot::channel();
        self.phases.send((until, answer)).expect("it runs");
        fact.await;
        let _ = done.send(());
        within("the count", counted).await.expect("it runs")
    }

    /// Ends both.
    pub async fn close(self, crowd: super::Crowd) {
        drop(crowd);
        drop(self.phases);
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join());
        within("the service stops", ended)
            .await
            .expect("a thread")
            .expect("no panic");
    }
}

fn run(database: &Database, opened: oneshot::Sender<String>, phases: &mpsc::Receiver<Phase>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let far = Duration::from_secs(3600);
    let server = runtime.block_on(serve(database, |settings| {
        settings.http.dialects = vec![format!(
            "{}/tests/cost/crowd.toml",
            env!("CARGO_MANIFEST_DIR")
        )];
        settings.limits.connects_per_second = 100_000;
        // The only one is made by the listener, whose thread is not counted: else the database's pace
        // would decide how many there are, and how much is said on them meanwhile.
        settings.database.pool_size = 1;
        settings.database.pool_wait = far;
        settings.database.statement_timeout = far;
        settings.websocket.ping = far;
        settings.websocket.heartbeat = far;
        settings.sse.heartbeat = far;
        settings.socketio.ping = far;
    }));
    opened.send(server.address.clone()).expect("somebody waits");
    while let Ok((until, answer)) = phases.recv() {
        let counted = measure(|| {
            runtime.block_on(async {
                let _ = until.await;
                // What was heard may have to be tidied up.
                for _ in 0..1000 {
                    tokio::task::yield_now().await;
                }
            });
        });
        let _ = answer.send(counted);
    }
    runtime.block_on(server.stop());
}

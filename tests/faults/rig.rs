//! One run: a database behind a link, two instances of the real program each behind a door, the
//! legacy application's writers, and six subscribers. Faults strike it in `strike.rs`.
//! Hands everything that was written and heard over to the reconciliation.
//! It must never count a fault that struck nothing.

use super::link::Links;
use super::node::Node;
use super::outcome::{Result, Strike, check_states, settle};
use super::readers::{READERS, Strings, read};
use super::seat::Seat;
use super::writers::{Entries, Ledger, audit, connected, page, schema, write};
use crate::support::proxy::{Proxy, Upstream};
use crate::support::reconcile::{Story, reconcile};
use crate::support::{Database, Postgres, Process, Version, eventually, on, serve_process};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rowcast::command::postgres::SUPERUSER;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const NODES: usize = 2;
const WRITERS: u64 = 4;

/// The service's timeouts, short, so that a test need not wait for the real ones; but not so short that
/// a listener begins anew again and again where each thing that it asks for takes a second or two.
const SETTINGS: &[(&str, &str)] = &[
    ("ROWCAST__DATABASE__CONNECT_TIMEOUT_MS", "4000"),
    // A replay that took longer would be a gap, be it of ten thousand events or on a busy machine.
    ("ROWCAST__DATABASE__STATEMENT_TIMEOUT_MS", "8000"),
    ("ROWCAST__DATABASE__POOL_WAIT_MS", "1000"),
    ("ROWCAST__DATABASE__POOL_SIZE", "4"),
    ("ROWCAST__DATABASE__LINK_TIMEOUT_MS", "3000"),
    ("ROWCAST__LISTENER__LOOK_TIMEOUT_MS", "4000"),
    // Whoever was away for a second comes back in parts.
    ("ROWCAST__LISTENER__LOOK_BYTES", "65536"),
    // About as many as the writers make: the doorbell falls silent and rings again.
    ("ROWCAST__LISTENER__BUSY_COMMITS", "100"),
    ("ROWCAST__LISTENER__PROOF_S", "5"),
    ("ROWCAST__LISTENER__PROOF_TIMEOUT_MS", "4000"),
    // Long enough to be seen at /readyz.
    ("ROWCAST__LISTENER__BACKOFF_MIN_MS", "600"),
    ("ROWCAST__LISTENER__BACKOFF_MAX_MS", "800"),
    ("ROWCAST__LISTENER__READY_LAG_MS", "2000"),
    ("ROWCAST__WEBSOCKET__HEARTBEAT_S", "1"),
    ("ROWCAST__SSE__HEARTBEAT_S", "1"),
    ("ROWCAST__HTTP__SPREAD_MS", "200"),
    // Ten thousand events of one transaction are no reason for a gap here.
    ("ROWCAST__LIMITS__QUEUE_BYTES", "33554432"),
    ("ROWCAST__LIMITS__REPLAY_EVENTS", "100000"),
];

/// What a run needs that others do not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// A cluster of its own, because the fault strikes the server.
    pub cluster: bool,
    pub prepared: bool,
    /// Faults in turn, each for so long: more patience and a slower pace.
    pub long: bool,
    pub no_writers: bool,
    /// SQL for the database before anybody serves it.
    pub sql: &'static str,
    /// Settings of the service above those of all runs.
    pub settings: &'static [(&'static str, &'static str)],
}

pub struct Rig {
    /// The server, if it is this run's own.
    pub postgres: Option<tokio::sync::Mutex<Postgres>>,
    pub db: Database,
    pub socket: PathBuf,
    /// Between the service and PostgreSQL, and between the application and PostgreSQL; and the one
    /// that nobody hurts, to whichever server is the primary.
    pub links: Links,
    pub app_link: Proxy,
    pub front: Proxy,
    pub nodes: Vec<Node>,
    pub ledger: Arc<Ledger>,
    pub strikes: Mutex<Vec<Strike>>,
    /// Instances that were seen red since a strike began that stops delivery.
    pub seen_red: tokio::sync::Mutex<BTreeSet<usize>>,
    /// How many faults ended the history.
    pub ended: AtomicU32,
    pub seed: u64,
    settings: Vec<(&'static str, &'static str)>,
    /// Of each subscriber.
    pub seats: Vec<Arc<Seat>>,
    turn: AtomicUsize,
    writers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<Story>>,
    leave: watch::Sender<bool>,
    patience: Duration,
}

impl Rig {
    pub async fn start(needs: Needs, seed: u64) -> Self {
        let settings: &[(&str, &str)] = match (needs.prepared, needs.no_writers) {
            (true, _) => &[("max_prepared_transactions", "10")],
            // Where nobody writes, no worker uses up a transaction id either.
            (false, true) => &[("autovacuum", "off")],
            (false, false) => &[],
        };
        let own = needs.cluster || needs.prepared;
        let (postgres, mut db, socket) = if own {
            let postgres = Postgres::start(Version::Installed, settings).await;
            let (db, socket) = (postgres.database().await, socket(&postgres));
            (Some(tokio::sync::Mutex::new(postgres)), db, socket)
        } else {
            let postgres = on(Version::Installed).await;
            (None, postgres.database().await, socket(postgres))
        };
        db.run(&schema()).await;
        db.run(needs.sql).await;
        let settings: Vec<_> = SETTINGS.iter().chain(needs.settings).copied().collect();
        let links = Links::start(socket.clone(), seed).await;
        let app_link = Proxy::start(Upstream::Unix(socket.clone()), seed + 1).await;
        let front = Proxy::start(Upstream::Unix(socket.clone()), seed + 3).await;
        db.service_url = links.url("rowcast_service", &db.name);
        if own {
            db.legacy_url = through(&front, "lab_app", &db.name);
            db.superuser_url = through(&front, SUPERUSER, &db.name);
        }
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let process = serve_process(&db, &settings).await;
            nodes.push(Node::behind_a_door(process, seed + 10 + number as u64).await);
        }
        let ledger = Arc::new(Ledger::default());
        ledger
            .pace
            .store(if needs.long { 16_000 } else { 8000 }, Ordering::Relaxed);
        let mut rig = Self {
            postgres,
            socket,
            links,
            app_link,
            front,
            nodes,
            ledger,
            strikes: Mutex::default(),
            seen_red: tokio::sync::Mutex::default(),
            ended: AtomicU32::new(0),
            seed,
            settings,
            seats: Vec::new(),
            turn: AtomicUsize::new(0),
            writers: Vec::new(),
            readers: Vec::new(),
            leave: watch::Sender::new(false),
            patience: Duration::from_secs(if needs.long { 60 } else { 30 }),
            db,
        };
        rig.seat_readers();
        if !needs.no_writers {
            rig.employ_writers();
        }
        rig
    }

    fn seat_readers(&mut self) {
        for (number, who) in READERS.into_iter().enumerate() {
            let seat = Arc::<Seat>::default();
            let strings = Strings {
                doors: self.nodes.iter().map(|n| n.door.address.clone()).collect(),
                database: self.db.legacy_url.clone(),
                log: self.db.superuser_url.clone(),
                ledger: Arc::clone(&self.ledger),
                leave: self.leave.subscribe(),
                seat: Arc::clone(&seat),
            };
            self.seats.push(seat);
            let seed = self.seed + 100 + number as u64;
            self.readers.push(tokio::spawn(read(who, strings, seed)));
        }
    }

    /// Half of them write over the link that may be hurt, half straight.
    fn employ_writers(&mut self) {
        let linked = through(&self.app_link, "lab_app", &self.db.name);
        for number in 0..WRITERS {
            let straight = number % 2 == 0;
            let url = if straight {
                &self.db.legacy_url
            } else {
                &linked
            };
            let written = write(url.clone(), Arc::clone(&self.ledger), self.seed + number);
            self.writers.push(tokio::spawn(written));
        }
    }

    /// Waits for a fact, and for no longer than the run's patience.
    pub async fn until(&self, what: &str, mut fact: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + self.patience;
        while !fact().await {
            assert!(
                Instant::now() < deadline,
                "not within {:?}: {what}\n{}",
                self.patience,
                Box::pin(self.situation()).await
            );
            if let Some(gone) = self.readers.iter().position(JoinHandle::is_finished) {
                panic!(
                    "{:?} has left while it was waited for: {what}",
                    READERS[gone]
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn situation(&self) -> String {
        let mut text = format!("heard {:?}\n", self.counts(|seat| &seat.heard));
        for node in &self.nodes {
            text += &format!("{:?}\n", node.readyz().await);
            let process = node.process.lock().await;
            let log = process.log();
            let lines: Vec<&str> = log.lines().rev().take(15).collect();
            text += &lines.into_iter().rev().collect::<Vec<_>>().join("\n");
            text.push('\n');
        }
        text + &self.backends_in_words().await
    }

    /// What the database is doing, and how its log stands.
    async fn backends_in_words(&self) -> String {
        let sql = "select concat_ws(' ', pid, usename, state, wait_event, now() - xact_start, \
              left(query, 100), array(select relation::regclass::text || ' ' || mode from pg_locks l \
                where l.pid = a.pid and relation in \
                  (select inhrelid from pg_inherits where inhparent = 'rowcast.log'::regclass))) \
            from pg_stat_activity a where datname = current_database() and pid <> pg_backend_pid() \
            union all select concat_ws(' ', 'prepared', gid, now() - prepared) from pg_prepared_xacts \
            union all select concat_ws(' ', l, pg_total_relation_size('rowcast.event_' || leaf)) \
              from rowcast.leaf l";
        let asked = async {
            let client = self.superuser().await;
            client.query(sql, &[]).await
        };
        match tokio::time::timeout(Duration::from_secs(5), asked).await {
            Ok(Ok(rows)) => {
                let lines = rows.iter().map(|row| row.get::<_, String>(0));
                lines.collect::<Vec<_>>().join("\n")
            }
            silent => format!("the database says nothing: {silent:?}"),
        }
    }

    /// Waits until every subscriber has heard so many events more, but for who is told to stay away:
    /// it waits for the log to pass its bookmark, and what is waited for here may keep the log.
    pub async fn everybody_hears(&self, more: u64) {
        self.everybody_hears_of(more).await;
    }

    /// The same, counted from the call on, however late it is waited for.
    pub fn everybody_hears_of(&self, more: u64) -> impl Future<Output = ()> {
        self.reach(|seat| &seat.heard, more, "heard")
    }

    /// Waits until every subscriber was answered so many times more that it is up to date.
    pub async fn everybody_beats(&self, more: u64) {
        self.reach(|seat| &seat.beats, more, "beats").await;
    }

    fn reach(
        &self,
        counter: fn(&Seat) -> &AtomicU64,
        more: u64,
        what: &str,
    ) -> impl Future<Output = ()> {
        let counts = self.counts(counter);
        let goals: Vec<u64> = counts.iter().map(|count| count + more).collect();
        let what = format!("everybody: {more} {what} more");
        async move {
            self.until(&what, async || {
                let counts = self.counts(counter);
                let mut seats = counts.iter().zip(&goals).zip(&self.seats);
                seats.all(|((count, goal), seat)| count >= goal || seat.is(&seat.away))
            })
            .await;
        }
    }

    fn counts(&self, counter: fn(&Seat) -> &AtomicU64) -> Vec<u64> {
        let counts = self.seats.iter().map(|seat| counter(seat));
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Strikes that concern one of several take turns.
    pub fn turn<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.turn.fetch_add(1, Ordering::Relaxed) % of.len()]
    }

    /// A connection to the database as its superuser, however long it is away.
    pub async fn superuser(&self) -> tokio_postgres::Client {
        let fresh = Ledger::default();
        eventually("the database answers", async || {
            let connected = connected(&self.db.superuser_url, &fresh);
            tokio::time::timeout(Duration::from_secs(5), connected)
                .await
                .ok()?
        })
        .await
    }

    /// Replaces a program that has ended.
    pub async fn start_anew(&self, node: &Node) {
        let process = serve_process(&self.db, &self.settings).await;
        node.lead_to(&process.address);
        *node.process.lock().await = process;
    }

    /// A second program beside the first, for a rolling restart.
    pub async fn another(&self) -> Process {
        serve_process(&self.db, &self.settings).await
    }

    /// Ends the writing: what is open is settled.
    pub async fn writers_stop(&mut self) {
        self.ledger.closed.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            writer.await.expect("a writer that does not panic");
        }
        // Readers go by it too, and may still have to read a page.
        self.ledger.closed.store(false, Ordering::Relaxed);
    }

    /// Sends everybody home by an event behind all others, and compares.
    pub async fn finish(mut self) -> Result {
        self.writers_stop().await;
        let sql = "with shown as (insert into app.marker values (true)) \
                   select rowcast.emit('marker', 'marker', array['*'], '{}')";
        let client = self.superuser().await;
        client.batch_execute(sql).await.expect("a marker");
        let deadline = Instant::now() + self.patience;
        while !self.readers.iter().all(JoinHandle::is_finished) {
            assert!(
                Instant::now() < deadline,
                "the end: {}",
                self.situation().await
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.compare(check_states).await
    }

    /// Sends everybody home as they are, and compares.
    pub async fn break_off(mut self) -> Result {
        self.writers_stop().await;
        self.leave.send_replace(true);
        // They left before the end.
        self.compare(|_, _| ()).await
    }

    async fn compare(self, check: fn(&mut [Story], &Entries)) -> Result {
        let (_, entries) = page(&self.superuser().await).await.expect("the data");
        let mut stories = Vec::new();
        let mut ends: BTreeMap<String, u32> = BTreeMap::new();
        for reader in self.readers {
            stories.push(reader.await.expect("a reader that does not panic"));
        }
        for seat in &self.seats {
            for (how, count) in &seat.known().ends {
                *ends.entry(how.clone()).or_default() += count;
            }
        }
        let transactions = self.ledger.transactions();
        settle(&mut stories, &transactions, &entries);
        check(&mut stories, &entries);
        let ended = self.ended.load(Ordering::Relaxed);
        let mut findings = reconcile(&entries.truth, &stories, ended);
        findings
            .other
            .extend(audit(&transactions, &entries.numbers));
        let strikes = self.strikes.into_inner();
        findings.other.extend(
            strikes
                .iter()
                .filter_map(|strike| strike.missed(&transactions)),
        );
        let heard: usize = stories
            .iter()
            .flat_map(|story| &story.pages)
            .map(|page| page.heard.len())
            .sum();
        let summary = format!(
            "seed {}: {} strikes, {} transactions, {} events, heard {heard} times, {} gaps, ends {ends:?}",
            self.seed,
            strikes.len(),
            transactions.len(),
            entries.truth.len(),
            stories.iter().map(|story| story.gaps.len()).sum::<usize>(),
        );
        Result {
            findings,
            stories,
            ends,
            summary,
        }
    }
}

pub fn socket(postgres: &Postgres) -> PathBuf {
    let name = format!(".s.PGSQL.{}", postgres.cluster.port());
    postgres.cluster.socket_dir().join(name)
}

/// A URL over a link; nobody is asked for a password behind it.
fn through(link: &Proxy, role: &str, name: &str) -> String {
    format!(
        "postgresql://{role}@{}/{name}?sslmode=disable",
        link.address
    )
}

/// The seed of this run, from `SEED` or by chance, and told.
pub fn seed() -> u64 {
    let given = std::env::var("SEED").ok();
    let given = given.filter(|seed| !seed.is_empty());
    let given = given.map(|seed| seed.parse().expect("SEED is a number"));
    let seed =
        given.unwrap_or_else(|| StdRng::from_rng(&mut rand::rng()).random_range(0..1_000_000));
    eprintln!("SEED={seed}");
    seed
}

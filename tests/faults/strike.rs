//! The faults: how each strikes, how long it lasts, and what `/readyz` has to say of it.
//! A fault lasts until a fact is seen: both instances red, or everybody hearing again.
//! It must never leave anything hurt behind: each ends what it began.

use super::node::Node;
use super::outcome::Strike;
use super::retention::{SMALL_LOG, SMALL_RING};
use super::rig::Rig;
use super::stalled::SHORT_BOUNDS;
use crate::readers::Habit;
use crate::support::proxy::Way;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rowcast::command::postgres::Mode;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio_postgres::types::ToSql;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    // PostgreSQL.
    ListenersKilled,
    BackendsKilled,
    StoppedFast,
    StoppedImmediately,
    PostgresKilled,
    FailedOver,
    // The link between the service and PostgreSQL.
    LinkCut,
    LinkHalved,
    LinkDelayed,
    /// Nothing passes, and nothing new either, for longer than the timeouts.
    LinkFrozen,
    /// The sockets that are open are dead for good, and nobody says so; new ones pass.
    LinkHalfOpen,
    // The link between the application and PostgreSQL: answers to COMMIT are lost.
    AppLinkHalved,
    // The door between subscribers and the instance that has most of them.
    DoorCut,
    DoorHalved,
    DoorDelayed,
    DoorFrozen,
    // The instance itself, and both in turn.
    ServiceKilled,
    ServiceStopped,
    Rolling,
    // Transactions of a kind.
    LongTransaction,
    Subtransactions,
    Prepared,
    // What was granted, and is taken away and granted again.
    TokenExpired,
    Revoked,
    RuleWithdrawn,
    // The log, which is rotated, and passes somebody's bookmark.
    Rotated,
    Passed,
    // Others, who do not read.
    Stops,
    Crawls,
    Vanishes,
}

use Fault::{
    AppLinkHalved, BackendsKilled, Crawls, DoorCut, DoorDelayed, DoorFrozen, DoorHalved,
    FailedOver, LinkCut, LinkDelayed, LinkFrozen, LinkHalfOpen, LinkHalved, ListenersKilled,
    LongTransaction, Passed, PostgresKilled, Prepared, Revoked, Rolling, Rotated, RuleWithdrawn,
    ServiceKilled, ServiceStopped, StoppedFast, StoppedImmediately, Stops, Subtransactions,
    TokenExpired, Vanishes,
};

impl Fault {
    /// Whether nothing is delivered by any instance while it lasts: all of them have to turn red.
    fn stops_delivery(self) -> bool {
        matches!(
            self,
            ListenersKilled
                | BackendsKilled
                | StoppedFast
                | StoppedImmediately
                | PostgresKilled
                | FailedOver
                | LinkCut
                | LinkHalved
                | LinkFrozen
                | LinkHalfOpen
        )
    }

    /// Whether PostgreSQL comes back with another history.
    fn ends_history(self) -> bool {
        matches!(self, StoppedImmediately | PostgresKilled | FailedOver)
    }

    /// How connections of subscribers end because of it; nothing: they stay.
    pub fn ends_connections_by(self) -> Option<&'static str> {
        match self {
            DoorCut | DoorHalved | ServiceKilled => Some("torn"),
            DoorFrozen => Some("silence"),
            ServiceStopped | Rolling => Some("restart"),
            TokenExpired => Some("expired"),
            Revoked => Some("revoked"),
            _ => None,
        }
    }

    /// Settings of the service that it is shown with.
    pub fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Rotated | Passed => &[SMALL_RING],
            Stops | Crawls | Vanishes => SHORT_BOUNDS,
            _ => &[],
        }
    }

    pub fn sql(self) -> &'static str {
        match self {
            Rotated | Passed => SMALL_LOG,
            _ => "",
        }
    }

    pub fn needs_cluster(self) -> bool {
        matches!(
            self,
            StoppedFast | StoppedImmediately | PostgresKilled | FailedOver
        )
    }
}

impl Rig {
    /// Lets a fault strike while somebody's COMMIT is under way, sees it over, and sees all
    /// instances green again.
    pub async fn strike(&self, fault: Fault) {
        self.ledger.commit_sent().await;
        self.strike_anyway(fault).await;
    }

    /// The same, whether or not there is anything to strike.
    pub async fn strike_anyway(&self, fault: Fault) {
        let from = Instant::now();
        if fault.ends_history() {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        if fault.stops_delivery() {
            let what = format!("{fault:?}: /readyz turns red");
            self.seen_red.lock().await.clear();
            tokio::join!(self.red(&what), Box::pin(self.inflict(fault)));
        } else {
            Box::pin(self.inflict(fault)).await;
        }
        self.green(&format!("{fault:?} is over: /readyz turns green"))
            .await;
        self.struck(&format!("{fault:?}"), from);
    }

    /// It counts only if a COMMIT was under way then.
    pub fn struck(&self, name: &str, from: Instant) {
        self.strikes.lock().push(Strike {
            name: name.to_owned(),
            from,
        });
    }

    /// Until every instance was seen red at least once since the strike began, by whoever looks.
    pub async fn red(&self, what: &str) {
        // Each by itself: one that is being stopped may take seconds to answer, and another is not
        // red for that long.
        let nodes = self.nodes.iter().enumerate();
        let seen = nodes.map(async |(number, node)| {
            self.until(what, async || {
                let ready = node.is_ready().await;
                let mut seen = self.seen_red.lock().await;
                if !ready {
                    seen.insert(number);
                }
                seen.contains(&number)
            })
            .await;
        });
        join_all(seen).await;
    }

    async fn green(&self, what: &str) {
        self.until(what, async || {
            let mut ready = true;
            for node in &self.nodes {
                ready &= node.is_ready().await;
            }
            ready
        })
        .await;
    }

    async fn inflict(&self, fault: Fault) {
        match fault {
            ListenersKilled => {
                self.kill_until_red(async |seen| self.listeners(seen).await)
                    .await;
            }
            BackendsKilled => self.kill_until_red(async |_| self.backends().await).await,
            StoppedFast => self.stop_postgres(Some(Mode::Fast)).await,
            StoppedImmediately => self.stop_postgres(Some(Mode::Immediate)).await,
            PostgresKilled => self.stop_postgres(None).await,
            FailedOver => self.failed_over().await,
            LinkCut => {
                self.links.primary().set(Way::Refuse);
                self.links.primary().cut();
                self.red("the link is cut: /readyz turns red").await;
                self.links.primary().set(Way::Pass);
            }
            LinkHalved => {
                let before = self.links.primary().halved();
                self.links.primary().set(Way::Halve(0.5));
                let cut = async || self.links.primary().halved() > before;
                self.until("the service is cut", cut).await;
                self.red("the link is halved: /readyz turns red").await;
                self.links.primary().set(Way::Pass);
            }
            LinkDelayed => {
                self.links
                    .primary()
                    .set(Way::Delay(Duration::from_millis(20)));
                self.everybody_hears(20).await;
                self.links.primary().set(Way::Pass);
            }
            LinkFrozen => {
                self.links.primary().set(Way::Freeze);
                self.red("the link is frozen: /readyz turns red").await;
                self.links.primary().set(Way::Pass);
            }
            LinkHalfOpen => self.link_half_open().await,
            AppLinkHalved => {
                let lost = self.ledger.lost();
                // Seldom, or hardly anybody would come as far as COMMIT.
                self.app_link.set(Way::Halve(0.1));
                let another = async || self.ledger.lost() > lost;
                self.until("an answer to COMMIT is lost", another).await;
                self.app_link.set(Way::Pass);
            }
            DoorCut | DoorHalved | DoorDelayed | DoorFrozen => self.hurt_door(fault).await,
            ServiceKilled => self.end_service(Signal::SIGKILL).await,
            ServiceStopped => self.end_service(Signal::SIGTERM).await,
            Rolling => self.roll().await,
            LongTransaction => self.long_transaction().await,
            Subtransactions => self.subtransactions().await,
            Prepared => self.prepared().await,
            TokenExpired => self.token_expired().await,
            Revoked => self.revoked().await,
            RuleWithdrawn => self.rule_withdrawn().await,
            Rotated => self.rotated().await,
            Passed => self.passed().await,
            Stops => self.stalled(Habit::Stops).await,
            Crawls => self.stalled(Habit::Crawls).await,
            Vanishes => self.stalled(Habit::Vanishes).await,
        }
    }

    /// The service's backends.
    async fn backends(&self) -> BTreeSet<i32> {
        let sql = "select pid from pg_stat_activity where datname = current_database() \
                   and usename = 'rowcast_service'";
        self.pids(sql, &[]).await
    }

    /// Those that read the log on their listening connection: that are seen to now, or were and are
    /// still there.
    async fn listeners(&self, seen: &BTreeSet<i32>) -> BTreeSet<i32> {
        let seen: Vec<i32> = seen.iter().copied().collect();
        let sql = "select pid from pg_stat_activity where datname = current_database() \
                   and usename = 'rowcast_service' \
                   and (query like '%rowcast.look(%' or pid = any ($1::int[]))";
        self.pids(sql, &[&seen]).await
    }

    async fn pids(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> BTreeSet<i32> {
        let client = self.superuser().await;
        // Another fault may strike the server meanwhile; then there are none.
        let rows = client.query(sql, values).await.unwrap_or_default();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// They also say other things: looked at until there is one for each instance.
    pub async fn kill_listeners(&self) {
        let mut found = BTreeSet::new();
        self.until(
            "each instance's listener is found and terminated",
            async || {
                // One that another fault has ended would be counted beside the one that followed it.
                found = self.listeners(&found).await;
                found.len() >= self.nodes.len() && self.terminate(&found).await
            },
        )
        .await;
    }

    /// Terminates whom it finds, until every instance was seen red. None of them comes back before that:
    /// it would be red for less than a second, and whoever looks may be late.
    async fn kill_until_red(&self, find: impl AsyncFn(&BTreeSet<i32>) -> BTreeSet<i32>) {
        let link = self.links.primary();
        let (mut found, mut struck) = (BTreeSet::new(), false);
        let what = "the service's backends are terminated, and all instances were red";
        self.until(what, async || {
            found = find(&found).await;
            link.set(Way::Refuse);
            struck |= self.terminate(&found).await;
            if !struck {
                link.set(Way::Pass);
            }
            struck && self.seen_red.lock().await.len() == self.nodes.len()
        })
        .await;
        link.set(Way::Pass);
    }

    /// Whether somebody was there to be terminated.
    async fn terminate(&self, pids: &BTreeSet<i32>) -> bool {
        let pids: Vec<i32> = pids.iter().copied().collect();
        let sql = "select count(*) filter (where pg_terminate_backend(pid)) > 0 \
                   from unnest($1::int[]) pid";
        let client = self.superuser().await;
        let row = client.query_one(sql, &[&pids]).await;
        row.is_ok_and(|row| row.get(0))
    }

    async fn stop_postgres(&self, mode: Option<Mode>) {
        let mut postgres = self
            .postgres
            .as_ref()
            .expect("a cluster of its own")
            .lock()
            .await;
        let stopped = match mode {
            Some(mode) => postgres.cluster.stop(mode).await,
            None => postgres.cluster.kill9().await,
        };
        stopped.unwrap_or_else(|error| panic!("{error}"));
        self.red("PostgreSQL is away: /readyz turns red").await;
        let started = postgres.cluster.start_again().await;
        started.unwrap_or_else(|error| panic!("{error}"));
    }

    /// New sockets pass once the dead ones were seen: a moment later that would be over.
    async fn link_half_open(&self) {
        let link = self.links.primary();
        link.set(Way::Refuse);
        link.freeze_present();
        self.red("the sockets are dead: /readyz turns red").await;
        link.set(Way::Pass);
        self.green("over other sockets: /readyz turns green").await;
        self.everybody_hears(10).await;
        link.cut();
    }

    /// The node with most subscribers; somebody is with one of them before long.
    async fn busiest(&self) -> &Node {
        let present = |node: &&Node| node.door.present();
        self.until("somebody is connected", async || {
            self.nodes.iter().any(|node| present(&node) > 0)
        })
        .await;
        self.nodes.iter().max_by_key(present).expect("a node")
    }

    async fn hurt_door(&self, fault: Fault) {
        let door = &self.busiest().await.door;
        match fault {
            DoorCut => door.cut(),
            DoorHalved => {
                let before = door.halved();
                door.set(Way::Halve(0.5));
                let cut = async || door.halved() > before;
                self.until("subscribers are cut", cut).await;
                door.set(Way::Pass);
            }
            DoorDelayed => {
                door.set(Way::Delay(Duration::from_millis(100)));
                self.everybody_hears(20).await;
                door.set(Way::Pass);
            }
            DoorFrozen => {
                door.set(Way::Freeze);
                // Those who were behind it find out by themselves and go to the other one.
                self.everybody_hears(10).await;
                door.set(Way::Pass);
            }
            _ => unreachable!("no fault of a door"),
        }
        self.everybody_hears(10).await;
    }

    async fn end_service(&self, signal: Signal) {
        let node = self.busiest().await;
        let mut process = node.process.lock().await;
        process.signal(signal);
        process.exited().await;
        drop(process);
        assert!(!node.is_ready().await, "it has ended");
        self.everybody_hears(10).await;
        self.start_anew(node).await;
    }

    /// One instance after the other is replaced: the new one comes first.
    async fn roll(&self) {
        for node in &self.nodes {
            let new = self.another().await;
            node.lead_to(&new.address);
            let mut old = std::mem::replace(&mut *node.process.lock().await, new);
            old.signal(Signal::SIGTERM);
            old.exited().await;
            self.everybody_hears(10).await;
        }
    }
}

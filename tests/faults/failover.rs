//! Failover: a standby streams from the primary, the primary dies for good, and the standby takes its
//! place. The service knows both by `target_session_attrs`, the application by one address.
//! It must never lose a COMMIT that was answered: from before the primary dies, COMMIT waits for the
//! standby. What a failover loses without that is shown in `tests/histories.rs`.

use super::rig::{Rig, socket};
use crate::support::Postgres;
use crate::support::proxy::{Upstream, Way};
use rowcast::command::postgres::SUPERUSER;
use std::time::{Duration, Instant};

/// How often a standby that lost its primary tries again.
const STANDBY: &[(&str, &str)] = &[("wal_retrieve_retry_interval", "100ms")];

impl Rig {
    pub async fn failed_over(&self) {
        let postgres = self.postgres.as_ref().expect("a cluster of its own");
        let mut primary = postgres.lock().await;
        let standby = primary.standby(STANDBY).await;
        let upstream = Upstream::Unix(socket(&standby));
        self.links.standby().lead_to(upstream.clone());
        self.done("alter system set synchronous_standby_names = '*'")
            .await;
        self.done("select pg_reload_conf()").await;
        self.until("a COMMIT waits for the standby", async || {
            let sql = "select exists (select from pg_stat_activity where wait_event = 'SyncRep')";
            let client = self.superuser().await;
            let row = client.query_one(sql, &[]).await;
            row.is_ok_and(|row| row.get(0))
        })
        .await;
        // These waited for it, so it has whatever was committed before them.
        self.everybody_hears(10).await;

        self.ledger.commit_sent().await;
        let from = Instant::now();
        self.seen_red.lock().await.clear();
        self.primary_dies(&mut primary).await;
        self.struck("the primary dies", from);
        self.red("the primary is dead: /readyz turns red").await;
        let url = standby.cluster.url("postgres", SUPERUSER) + "?target_session_attrs=any";
        let client = rowcast::database::connect_and_drive(&url, Duration::from_secs(10)).await;
        let client = client.unwrap_or_else(|error| panic!("the standby: {error}"));
        let row = client.query_one("select pg_promote(true, 60)", &[]).await;
        assert!(row.expect("an answer").get::<_, bool>(0), "promoted");
        self.links.fail_over();
        self.front.lead_to(upstream.clone());
        self.app_link.lead_to(upstream);
        *primary = standby;
    }

    /// With its links: a backend that waits for the standby when its postmaster dies waits no longer,
    /// and until it ends itself others see its commit.
    async fn primary_dies(&self, primary: &mut Postgres) {
        let links = [self.links.primary(), &self.front, &self.app_link];
        for link in links {
            link.set(Way::Refuse);
            link.cut();
        }
        let killed = primary.cluster.kill9().await;
        killed.unwrap_or_else(|error| panic!("{error}"));
        links.iter().for_each(|link| link.set(Way::Pass));
    }
}

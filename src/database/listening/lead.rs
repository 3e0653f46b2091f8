//! What the leading node says on the listening connection: that it leads, whether writers ring, and
//! words for the other nodes.
//! Hands over to the listener, which decides. It must never wait for a standby: that would hang us.

use super::super::overview;
use super::{DOORBELL, DatabaseError, Heard, Listening};
use std::time::Duration;

/// The session advisory lock of the leading node ([`crate::migrate`] has the number before it).
const LEADER_LOCK: i64 = 7_692_279;

impl Listening {
    /// Takes the lead, if nobody has it: the lock is this connection's, and ends with it. `alive`:
    /// silence of this connection after which the server may end it, and give the lead to another.
    ///
    /// # Errors
    /// The connection.
    pub async fn try_to_lead(&self, alive: Duration) -> Result<bool, DatabaseError> {
        // On a standby the lock would be had, and the flag could not be set.
        let sql = format!(
            "select case when pg_is_in_recovery() then false \
             else pg_try_advisory_lock({LEADER_LOCK}) end"
        );
        let leads = self.ask(&sql).await?;
        if leads {
            let (link, alive) = (self.link_timeout, alive.as_millis());
            let (unacknowledged, idle) = (link.as_millis(), link.as_secs().div_ceil(2).max(1));
            self.execute(&format!(
                "set application_name = 'rowcast {}'; \
                 set idle_session_timeout = {alive}; set tcp_user_timeout = {unacknowledged}; \
                 set tcp_keepalives_idle = {idle}; set tcp_keepalives_interval = {idle}; \
                 set tcp_keepalives_count = 2",
                overview::node()
            ))
            .await?;
        }
        Ok(leads)
    }

    /// Who has the lead without being a service, for the lock is anybody's to take: role and process.
    ///
    /// # Errors
    /// The connection.
    pub async fn stranger_in_the_lead(&self) -> Result<Option<String>, DatabaseError> {
        self.ask(&format!(
            "select max(format('%s, process %s', a.usename, a.pid)) \
             from pg_locks l join pg_stat_activity a using (pid) \
             where l.locktype = 'advisory' and l.classid = 0 and l.objid = {LEADER_LOCK} \
               and l.objsubid = 1 and l.granted \
               and l.database = (select oid from pg_database where datname = current_database()) \
               and not pg_has_role(a.usesysid, 'rowcast_service', 'member')"
        ))
        .await
    }

    /// Tells writers to ring, or not to. In a transaction of its own: its xid lifts the next
    /// snapshot above those of all who have read the flag before.
    ///
    /// # Errors
    /// The connection.
    pub async fn set_doorbell(&self, rings: bool) -> Result<(), DatabaseError> {
        let flag = u8::from(rings);
        self.commit(&format!("select setval('rowcast.doorbell', {flag})"))
            .await
    }

    /// Tells the other nodes.
    ///
    /// # Errors
    /// The connection, or a full NOTIFY queue.
    pub async fn tell(&self, word: &str) -> Result<(), DatabaseError> {
        self.commit(&format!("notify {DOORBELL}, '{word}'")).await
    }

    /// Commits a statement in a transaction of its own, which waits for no disk and no standby: a
    /// missing one would hang us.
    async fn commit(&self, statement: &str) -> Result<(), DatabaseError> {
        let begin = "begin; set local synchronous_commit = off";
        self.execute(&format!("{begin}; {statement}; commit")).await
    }

    /// How many writers wait for each other at NOTIFY's lock.
    ///
    /// # Errors
    /// The connection.
    pub async fn waiting_writers(&self) -> Result<i64, DatabaseError> {
        // The lock that NOTIFY takes at commit, on "database 0".
        self.ask(
            "select count(*) from pg_locks where not granted and locktype = 'object' \
             and classid = 'pg_database'::regclass and objid = 0",
        )
        .await
    }

    /// Gives the lead back, with writers silent: whoever looks next will look anyway.
    ///
    /// # Errors
    /// The connection.
    pub async fn step_down(&self, keep_ringing: bool) -> Result<(), DatabaseError> {
        if !keep_ringing {
            self.set_doorbell(false).await?;
        }
        self.ask::<bool>(&format!("select pg_advisory_unlock({LEADER_LOCK})"))
            .await?;
        self.tell(Heard::LEAD).await
    }
}

//! A hot standby of a cluster: a base backup of it in a directory of its own, which then streams.
//! Hands over a second cluster, dropped like the first.
//! It must never outlive its own directory, nor write to the cluster that it copies.

use super::error::{failing, succeeded};
use super::{Cluster, ClusterError, SUPERUSER};

impl Cluster {
    /// Makes a standby of this cluster, which has to run, with its settings and these, and waits
    /// until it answers. Needs `pg_basebackup` beside the server's programs.
    ///
    /// # Errors
    /// Any [`ClusterError`]; nothing is left behind then.
    pub async fn standby(&self, settings: &[(&str, &str)]) -> Result<Self, ClusterError> {
        let options = self.options_with(settings);
        // The part about the database is only for a server that is asked for rows.
        let source = self.url("postgres", SUPERUSER);
        Self::made(move || Self::make(options, |standby| standby.back_up(&source))).await
    }

    fn back_up(&self, source: &str) -> Result<(), ClusterError> {
        let output = self
            .program("pg_basebackup")
            .args(["--dbname", source, "--write-recovery-conf", "--no-sync"])
            .args(["--checkpoint=fast", "--wal-method=stream", "--pgdata"])
            .arg(self.path("data"))
            .output()
            .map_err(failing("running", &self.bin_dir.join("pg_basebackup")))?;
        succeeded("pg_basebackup", &output)
    }
}

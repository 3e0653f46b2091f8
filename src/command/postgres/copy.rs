//! A second cluster out of the files of one that is stopped: what both begin with is made once.
//! Hands over a cluster that answers, dropped like the first; PostgreSQL takes the two for one system.
//! It must never read files that a server may be writing.

use std::io;
use std::process::Command;

use super::error::{failing, succeeded};
use super::{Cluster, ClusterError};

impl Cluster {
    /// Makes a cluster of this one's files, with its settings and these, and waits until it answers.
    ///
    /// # Errors
    /// [`ClusterError::System`] if this one runs, and any other; nothing is left behind then.
    pub async fn copy(&self, settings: &[(&str, &str)]) -> Result<Self, ClusterError> {
        if self.server.is_some() {
            return Err(ClusterError::System {
                what: "copying a cluster".into(),
                source: io::Error::other("it has not been stopped"),
            });
        }
        let options = self.options_with(settings);
        // All that lies in it, and not the directory itself, which is there.
        let data = self.path("data").join(".");
        let fill = move |copy: &Self| {
            let mut cp = Command::new("cp");
            let output = cp.arg("-a").arg(&data).arg(copy.path("data")).output();
            succeeded("cp", &output.map_err(failing("copying", &data))?)
        };
        Self::made(move || Self::make(options, fill)).await
    }
}

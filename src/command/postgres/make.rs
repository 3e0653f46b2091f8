//! Makes a cluster: its directories, which nobody else may enter, and what `initdb` puts there.
//! Hands it over to `run`, which starts it.
//! It must never leave anything behind of a cluster that could not be made.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};

use rand::RngExt;

use super::error::{failing, succeeded};
use super::{Cluster, ClusterError, Options, SUPERUSER, binaries, leftovers, place};

/// The socket's name is made of the port even if nobody listens on TCP.
const SOCKET_PORT: u16 = 5432;

impl Cluster {
    /// Sweeps what dead owners left, makes a cluster and waits until it answers.
    ///
    /// # Errors
    /// Any [`ClusterError`]; nothing is left behind then.
    pub async fn start(options: Options) -> Result<Self, ClusterError> {
        Self::made(move || {
            leftovers::sweep();
            Self::make(options, Self::initdb)
        })
        .await
    }

    /// One that is made where it may block, and then started.
    pub(super) async fn made(
        make: impl FnOnce() -> Result<Self, ClusterError> + Send + 'static,
    ) -> Result<Self, ClusterError> {
        let made = tokio::task::spawn_blocking(make).await;
        let mut cluster = made.map_err(|source| ClusterError::System {
            what: "making a cluster".into(),
            source: io::Error::other(source),
        })??;
        cluster.start_again().await?;
        Ok(cluster)
    }

    /// Everything up to the start: binaries, directories, and what `fill` puts there. Blocks.
    pub(super) fn make(
        options: Options,
        fill: impl FnOnce(&Self) -> Result<(), ClusterError>,
    ) -> Result<Self, ClusterError> {
        let user = place::unprivileged_user()?;
        let (bin_dir, version) = binaries::find(options.bin_dir.as_deref(), user.as_ref())?;
        let directory = place::directory(user.as_ref())?;
        let lock =
            leftovers::mark(directory.path()).map_err(failing("marking", directory.path()))?;
        let guard = leftovers::Guard::over(directory.path())
            .map_err(failing("guarding", directory.path()))?;
        let password: String = {
            let mut random = rand::rng();
            (0..32)
                .map(|_| char::from(random.sample(rand::distr::Alphanumeric)))
                .collect()
        };
        let port = if options.tcp {
            place::free_port()?
        } else {
            SOCKET_PORT
        };
        let cluster = Self {
            options,
            bin_dir,
            version,
            user,
            port,
            password,
            address_is_known: false,
            server: None,
            directory,
            _guard: guard,
            _lock: lock,
        };
        for part in ["data", "socket", "log"] {
            cluster.make_private(part)?;
        }
        fill(&cluster)?;
        Ok(cluster)
    }

    fn initdb(&self) -> Result<(), ClusterError> {
        let password_file = self.path("socket").join("password");
        fs::write(&password_file, &self.password).map_err(failing("writing", &password_file))?;
        // macOS knows no C.UTF-8; C with UTF8 sorts and compares alike.
        let locale = if cfg!(target_os = "macos") {
            "C"
        } else {
            "C.UTF-8"
        };
        let output = self
            .program("initdb")
            .arg("--pgdata")
            .arg(self.path("data"))
            .arg("--pwfile")
            .arg(&password_file)
            .args([
                "--username",
                SUPERUSER,
                "--encoding=UTF8",
                "--no-sync",
                "--no-instructions",
            ])
            // The socket lies in a directory that only we can enter; a port is open to everybody.
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .arg(format!("--locale={locale}"))
            .output()
            .map_err(failing("running", &self.bin_dir.join("initdb")))?;
        fs::remove_file(&password_file).map_err(failing("removing", &password_file))?;
        succeeded("initdb", &output)
    }

    /// A directory that only the server's user can enter.
    fn make_private(&self, part: &str) -> Result<(), ClusterError> {
        let path = self.path(part);
        fs::create_dir(&path).map_err(failing("making", &path))?;
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&path, closed).map_err(failing("closing", &path))?;
        if let Some(user) = &self.user {
            let owner = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            chown(&path, owner.0, owner.1).map_err(failing("giving away", &path))?;
        }
        Ok(())
    }
}

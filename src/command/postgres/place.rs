//! Finds what a cluster needs of the machine: a user who is not root, a directory, a port.
//! Hands them to `Cluster`, and lists for `leftovers` where directories can lie.
//! It must never choose a directory whose socket would have too long a path, or one that the
//! server's user cannot reach.

use std::env;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use rand::RngExt;
use tempfile::TempDir;

use super::ClusterError;
use super::error::failing;

/// Each cluster's directory starts with it.
pub(super) const PREFIX: &str = "rowcast-";

/// `sun_path` holds 108 bytes with its closing zero.
const SOCKET_PATH_BYTES: usize = 107;

/// What a directory's name, `/socket/.s.PGSQL.` and five digits add to the temporary directory.
const SOCKET_PATH_TAIL: usize = "/rowcast-XXXXXX/socket/.s.PGSQL.65535".len();

/// Below Linux's range for outgoing connections (from 32768), so that a port that a stopped
/// cluster left is still free when it starts again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Where clusters' directories are made, best first.
pub(super) fn parents() -> Vec<PathBuf> {
    let mut parents = vec![env::temp_dir()];
    for usual in ["/tmp", "/var/tmp"] {
        if !parents.iter().any(|parent| parent == Path::new(usual)) {
            parents.push(usual.into());
        }
    }
    parents
}

/// Whom to run PostgreSQL as, if we are root.
pub(super) fn unprivileged_user() -> Result<Option<User>, ClusterError> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let named = |name| {
        User::from_name(name)
            .ok()
            .flatten()
            .filter(|user| !user.uid.is_root())
    };
    named("postgres")
        .or_else(|| named("nobody"))
        .map(Some)
        .ok_or(ClusterError::NoUser)
}

/// A fresh directory of ours. The server's user may pass through it to the parts that are his.
pub(super) fn directory(user: Option<&User>) -> Result<TempDir, ClusterError> {
    let mut tried = String::new();
    for parent in parents() {
        let length = parent.as_os_str().len() + SOCKET_PATH_TAIL;
        let why = if length > SOCKET_PATH_BYTES {
            "too long for a socket".to_owned()
        } else if user.is_some_and(|user| !reachable(&parent, user)) {
            "closed to the server's user".to_owned()
        } else {
            match tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent) {
                Ok(directory) => {
                    let mode = if user.is_some() { 0o711 } else { 0o700 };
                    fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode))
                        .map_err(failing("opening", directory.path()))?;
                    return Ok(directory);
                }
                Err(error) => error.to_string(),
            }
        };
        tried += &format!("\n  {}: {why}", parent.display());
    }
    Err(ClusterError::NoDirectory(tried))
}

/// Whether the user may pass through every directory down to `path`.
fn reachable(path: &Path, user: &User) -> bool {
    path.ancestors().all(|directory| {
        fs::metadata(directory).is_ok_and(|found| {
            let bit = if found.uid() == user.uid.as_raw() {
                0o100
            } else if found.gid() == user.gid.as_raw() {
                0o010
            } else {
                0o001
            };
            found.mode() & bit != 0
        })
    })
}

pub(super) fn free_port() -> Result<u16, ClusterError> {
    let mut random = rand::rng();
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    // A machine on which two hundred random ports are all taken has other troubles.
    (0..200)
        .map(|_| random.random_range(PORTS))
        .find(free)
        .ok_or_else(|| ClusterError::System {
            what: "looking for a free port".into(),
            source: io::ErrorKind::AddrInUse.into(),
        })
}

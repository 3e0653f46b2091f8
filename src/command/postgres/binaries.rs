//! Finds the PostgreSQL to run: distributions hide `initdb` and `postgres` from PATH.
//! Hands `Cluster` a directory and a version.
//! It must never choose one that does not run as the user who will have to run it.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::User;

use super::ClusterError;

/// The oldest major version that the schema runs on.
pub(super) const OLDEST: u32 = 14;

/// Names a directory that is then the only one looked at.
const VARIABLE: &str = "ROWCAST_POSTGRES_BIN";

/// The binaries' directory and major version: the given one, else the one that the environment
/// names, else the newest at the first of the usual places that has any.
pub(super) fn find(
    given: Option<&Path>,
    user: Option<&User>,
) -> Result<(PathBuf, u32), ClusterError> {
    let named = env::var_os(VARIABLE)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    let places = match given.map(Path::to_owned).or(named) {
        Some(directory) => vec![vec![directory]],
        None => usual_places(),
    };
    let mut searched = String::new();
    for place in places {
        let mut newest: Option<(PathBuf, u32)> = None;
        for directory in place {
            match version(&directory, user) {
                Ok(version) if version < OLDEST => {
                    searched += &format!("\n  {}: version {version}", directory.display());
                }
                Ok(version) if newest.as_ref().is_none_or(|(_, found)| version > *found) => {
                    newest = Some((directory, version));
                }
                Ok(_) => {}
                Err(why) => searched += &format!("\n  {}: {why}", directory.display()),
            }
        }
        if let Some(found) = newest {
            return Ok(found);
        }
    }
    Err(ClusterError::NotFound {
        searched,
        install: install_hint(),
    })
}

/// In order of preference; within one place the newest wins.
fn usual_places() -> Vec<Vec<PathBuf>> {
    let path = env::var_os("PATH").unwrap_or_default();
    vec![
        unpacked(),
        versions_in("/usr/lib/postgresql", ""),
        // Fedora's and the PostgreSQL project's own packages.
        versions_in("/usr", "pgsql-"),
        versions_in("/opt/homebrew/opt", "postgresql@"),
        versions_in("/usr/local/opt", "postgresql@"),
        env::split_paths(&path)
            .filter(|directory| directory.join("initdb").exists())
            .collect(),
    ]
}

/// Where `.ci/setup` unpacks packages for users who can't install any: `tools/bin` in Cargo's
/// target directory, in which this program then lies, at most four levels deep.
fn unpacked() -> Vec<PathBuf> {
    let program = env::current_exe().unwrap_or_default();
    let above = program.ancestors().skip(1).take(4);
    above
        .map(|level| level.join("tools/bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect()
}

fn versions_in(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    named
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect()
}

/// Asks the server itself: only so is it known to run as this user.
fn version(directory: &Path, user: Option<&User>) -> Result<u32, String> {
    for needed in ["initdb", "postgres"] {
        if !directory.join(needed).exists() {
            return Err(format!("no {needed}"));
        }
    }
    let mut command = program(directory, "postgres", user);
    let output = command.current_dir("/").arg("--version").output();
    let output = output.map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    parse_version(&words).ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!(
            "does not run ({})",
            errors.lines().next().unwrap_or("no version printed")
        )
    })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, `postgres (PostgreSQL) 19devel`.
fn parse_version(words: &str) -> Option<u32> {
    let (_, version) = words.split_once("(PostgreSQL) ")?;
    let digits = version
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

/// A program of PostgreSQL's, run as the user if there is one, deaf to the caller's `PG…`
/// variables, which may name another server.
pub(super) fn program(directory: &Path, name: &str, user: Option<&User>) -> Command {
    let mut command = Command::new(directory.join(name));
    command.stdin(Stdio::null());
    for (variable, _) in env::vars_os() {
        if variable.to_string_lossy().starts_with("PG") {
            command.env_remove(variable);
        }
    }
    if let Some(user) = user {
        // Setting the user this way drops root's supplementary groups too.
        command
            .gid(user.gid.as_raw())
            .uid(user.uid.as_raw())
            .env("HOME", "/");
    }
    command
}

fn install_hint() -> String {
    let command = if cfg!(target_os = "macos") {
        "brew install postgresql@17"
    } else if Path::new("/usr/bin/apt-get").exists() {
        "sudo apt-get install postgresql"
    } else if Path::new("/usr/bin/dnf").exists() {
        "sudo dnf install postgresql-server"
    } else {
        return format!("install it, or name the directory of its initdb in {VARIABLE}");
    };
    format!("run `{command}`, or name the directory of its initdb in {VARIABLE}")
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn the_major_version_is_read_from_every_kind_of_build() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_version(debian), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 19devel\n"), Some(19));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_version("error while loading shared libraries"), None);
    }
}

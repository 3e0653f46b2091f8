//! Sees to it that a cluster does not outlive its owner, however the owner ended.
//! A guard process clears up at once; what even that missed, the next start sweeps.
//! It must never touch a directory without our mark, or a mark whose owner is alive.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::place;

/// Locked by the owner as long as it lives: unlike a process id, a lock holds across containers too.
/// An empty mark is just being made.
const MARK: &str = "owner";

/// How long a server left behind has to end by itself before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for the owner's end, which closes the pipe, and does then what the owner could not. `$1`
/// is the cluster's directory. The process is compared with the directory before it is hit: ids
/// come round again.
const GUARD: &str = r#"
read -r _
test -s "$1/owner" || exit 0
if read -r pid 2>/dev/null <"$1/data/postmaster.pid"; then
  command=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" || ps -o command= -p "$pid")
  case $command in *"$1/data"*) kill -QUIT "$pid" ;; esac
  tries=0
  while test -e "$1/data/postmaster.pid" && test "$tries" -lt 50; do
    sleep 0.1
    tries=$((tries + 1))
  done
fi
rm -rf "$1"
"#;

/// A process that outlives us by a moment. The kernel's parent-death signal would not do: it is
/// sent when the thread ends that started the server, and a test's thread ends long before the
/// tests do.
#[derive(Debug)]
pub(super) struct Guard {
    // Open as long as we live; the guard reads it to its end.
    _pipe: ChildStdin,
}

impl Guard {
    pub(super) fn over(directory: &Path) -> io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", GUARD, "rowcast-guard"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for the owner.
            .process_group(0)
            .current_dir("/")
            .spawn()?;
        let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        // Reaped as soon as it ends; the thread is the price of not leaving a zombie.
        std::thread::Builder::new()
            .name("guard".into())
            .spawn(move || child.wait())?;
        Ok(Self { _pipe: pipe })
    }
}

/// Writes and locks the mark.
pub(super) fn mark(directory: &Path) -> io::Result<File> {
    let path = directory.join(MARK);
    let mut mark = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    mark.try_lock()?;
    writeln!(mark, "{}", std::process::id())?;
    Ok(mark)
}

/// Stops the servers and removes the directories of owners who died without doing so, and says
/// how many. Blocks, for a moment a server. What can't be removed is left to the next sweep.
pub fn sweep() -> usize {
    let entries = place::parents()
        .into_iter()
        .filter_map(|parent| fs::read_dir(parent).ok())
        .flatten();
    let directories = entries.flatten().filter(|entry| {
        entry.file_name().to_string_lossy().starts_with(place::PREFIX)
            // Anybody may put anything into a temporary directory; only our own is believed.
            && entry.metadata().is_ok_and(|found| {
                found.is_dir() && found.uid() == Uid::effective().as_raw()
            })
    });
    directories
        .filter(|entry| sweep_one(&entry.path()).unwrap_or(false))
        .count()
}

fn sweep_one(directory: &Path) -> io::Result<bool> {
    let mark = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(directory.join(MARK))?;
    match mark.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if mark.metadata()?.len() == 0 {
        return Ok(false);
    }
    if let Some(pid) = server_of(directory) {
        let deadline = Instant::now() + PATIENCE;
        let _ = kill(pid, Signal::SIGQUIT);
        while server_of(directory) == Some(pid) {
            if Instant::now() > deadline {
                let _ = kill(pid, Signal::SIGKILL);
            }
            std::thread::sleep(super::LOOK_EVERY);
        }
    }
    free_shared_memory(directory);
    fs::remove_dir_all(directory)?;
    Ok(true)
}

/// The server that runs on this directory's data, if its pid file names one and that process says
/// so itself.
fn server_of(directory: &Path) -> Option<Pid> {
    let data = directory.join("data");
    let file = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid: i32 = file
        .lines()
        .next()?
        .trim()
        .parse()
        .ok()
        .filter(|pid| *pid > 1)?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).or_else(|_| {
        let asked = Command::new("ps")
            .args(["-o", "command=", "-p", &pid.to_string()])
            .output();
        asked.map(|output| output.stdout)
    });
    let command = String::from_utf8_lossy(&command.ok()?).into_owned();
    command
        .contains(&data.display().to_string())
        .then_some(Pid::from_raw(pid))
}

/// A killed server leaves a few bytes of System V shared memory, which only its next start would
/// free; the seventh line of its pid file names them. Only Linux tells whether they are still ours.
pub(super) fn free_shared_memory(directory: &Path) {
    let file = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
    let Some(line) = file.lines().nth(6) else {
        return;
    };
    let ours: Vec<&str> = line.split_whitespace().collect();
    let deadline = Instant::now() + PATIENCE;
    while let Some(attached) = attached_to(&ours) {
        if attached == 0 {
            let _ = Command::new("ipcrm")
                .args(["-m", ours[1]])
                .stderr(Stdio::null())
                .status();
            return;
        }
        // Backends of a killed server notice by themselves, a moment later.
        if Instant::now() > deadline {
            return;
        }
        std::thread::sleep(super::LOOK_EVERY);
    }
}

/// How many processes use the shared memory with this key and id; none if there is no such.
fn attached_to(key_and_id: &[&str]) -> Option<u32> {
    let table = fs::read_to_string("/proc/sysvipc/shm").ok()?;
    table.lines().find_map(|row| {
        // key, id, mode, size, creator, last to attach or detach, attached.
        let row: Vec<&str> = row.split_whitespace().collect();
        (row.get(..2)? == key_and_id).then(|| row.get(6)?.parse().ok())?
    })
}

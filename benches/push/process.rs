//! What a server's processes have used: CPU time, memory, system calls, from `/proc` and `strace`.
//! Hands over numbers. It must never count a process that is not the server's.

use crate::Failure;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use tokio::process::Command;

/// Memory of a process tree, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub rss: u64,
    /// Shared pages are divided by how many share them.
    pub pss: u64,
}

/// Seconds of CPU time, in programs and in the system, of this process and all below it.
pub fn cpu(root: u32) -> Result<f64, Failure> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?;
    let ticks = ticks.ok_or("the system does not tell how long a tick is")? as f64;
    let mut used = 0;
    for pid in tree(root)? {
        if let Some(fields) = stat(pid) {
            used += field(&fields, UTIME) + field(&fields, STIME);
        }
    }
    Ok(used as f64 / ticks)
}

/// Memory of this process and all below it.
pub fn memory(root: u32) -> Result<Memory, Failure> {
    let mut memory = Memory::default();
    for pid in tree(root)? {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let bytes = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            kib.unwrap_or_default() * 1024
        };
        memory.rss += bytes("Rss:");
        memory.pss += bytes("Pss:");
    }
    if memory.rss == 0 {
        return Err(format!("process {root} tells nothing of its memory").into());
    }
    Ok(memory)
}

/// How many system calls these processes make while something runs; none without strace.
pub async fn system_calls<T>(
    root: u32,
    during: impl Future<Output = T>,
) -> Result<(Option<u64>, T), Failure> {
    let place = tempfile::tempdir()?;
    let counts = place.path().join("counts");
    let mut command =
        Command::new(std::env::var_os("ROWCAST_BENCH_STRACE").unwrap_or("strace".into()));
    command
        .args(["-c", "-f", "-q", "-U", "calls,name", "-o"])
        .arg(&counts);
    for pid in tree(root)? {
        command.arg("-p").arg(pid.to_string());
    }
    command.stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::null());
    let strace = command.kill_on_drop(true).spawn();
    let Ok(mut strace) = strace else {
        return Ok((None, during.await));
    };
    // It attaches to each thread in turn, and says nothing when it has.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let outcome = during.await;
    if let Some(pid) = strace.id().and_then(|pid| i32::try_from(pid).ok()) {
        let pid = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), strace.wait()).await;
    let counts = fs::read_to_string(&counts).unwrap_or_default();
    let total = counts.lines().rev().find(|line| line.contains("total"));
    let total = total.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok((total, outcome))
}

/// Where in `/proc/PID/stat`, behind the name, these stand.
const PARENT: usize = 1;
const UTIME: usize = 11;
const STIME: usize = 12;

fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let fields = text.rsplit_once(')')?.1.split_whitespace();
    Some(
        fields
            .map(|field| field.parse().unwrap_or_default())
            .collect(),
    )
}

fn field(fields: &[u64], place: usize) -> u64 {
    fields.get(place).copied().unwrap_or_default()
}

/// This process and all that it has started, and they in turn.
fn tree(root: u32) -> Result<Vec<u32>, Failure> {
    let mut children: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(fields) = stat(pid) {
            children
                .entry(field(&fields, PARENT))
                .or_default()
                .push(pid);
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        found.extend(children.get(&pid.into()).into_iter().flatten());
        at += 1;
    }
    Ok(found)
}

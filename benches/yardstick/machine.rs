//! What a bench ran on. Hands over a description, for figures hold only there.
//! It must never name the machine or who uses it.

use crate::Failure;
use serde::Serialize;
use std::fs;
use std::io::{Seek, Write};
use std::time::Instant;

#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cores: usize,
    /// The processor's name, or its architecture.
    pub cpu: String,
    pub kernel: String,
    pub memory_bytes: u64,
    /// How long 8 kB take to the disk, where temporary files lie.
    pub disk_ms: f64,
}

impl Machine {
    pub fn look() -> Result<Self, Failure> {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = field(&processors, "model name");
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = field(&memory, "MemTotal").unwrap_or_default();
        let kib = kib.split(' ').next().unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            cpu: name.unwrap_or(std::env::consts::ARCH).to_owned(),
            kernel: kernel.trim().to_owned(),
            memory_bytes: kib.parse().unwrap_or(0) * 1024,
            disk_ms: disk_ms()?,
        })
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':']))
}

/// The median of 200 synchronous writes of one page, where temporary files lie, as the cluster does.
fn disk_ms() -> Result<f64, Failure> {
    let mut file = tempfile::tempfile()?;
    let page = [7; 8192];
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        file.rewind()?;
        file.write_all(&page)?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

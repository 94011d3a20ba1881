//! What processes cost, by the kernel's account.

use std::fs;
use std::time::Duration;

use procfs::process::Process;

/// The seconds on processors that a process has had so far, in whole ticks of 10 ms; threads that
/// have ended are counted.
pub(crate) fn cpu_secs(pid: i32) -> f64 {
    let stat = Process::new(pid).and_then(|process| process.stat()).unwrap();
    let ticks = procfs::ticks_per_second();
    let cpu = Duration::from_secs(stat.utime + stat.stime) / u32::try_from(ticks).unwrap();
    cpu.as_secs_f64()
}

/// The seconds on processors of a process's present threads, to the nanosecond. Exact only while
/// they wait.
pub(crate) fn ran_secs(pid: i32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = tasks.flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum()).as_secs_f64()
}

/// What a process holds in memory, in MB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) rss_mb: f64,
    /// Its share, where pages are shared. Not every process shows it to everybody.
    pub(crate) pss_mb: Option<f64>,
}

/// What a process holds in memory.
pub(crate) fn memory(pid: i32) -> Memory {
    let rss_mb = megabytes(&format!("/proc/{pid}/status"), "VmRSS:").unwrap();
    Memory { rss_mb, pss_mb: megabytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:") }
}

fn megabytes(path: &str, field: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = value.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// This process's id.
pub(crate) fn own() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

//! What processes cost, by the kernel's account.

use std::fs;
use std::time::Duration;

use procfs::process::Process;

/// The time on processors that a process has had so far, in whole ticks (10 ms); threads that have
/// ended are counted.
pub(crate) fn cpu(pid: i32) -> Duration {
    let stat = Process::new(pid).and_then(|process| process.stat()).unwrap();
    let ticks = procfs::ticks_per_second();
    Duration::from_secs(stat.utime + stat.stime) / u32::try_from(ticks).unwrap()
}

/// The time on processors of a process's present threads, in nanoseconds. Exact only while they
/// wait.
pub(crate) fn ran(pid: i32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = tasks.flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum())
}

/// What a process holds in memory, in MB: all of it, or its share where pages are shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) rss_mb: f64,
    pub(crate) pss_mb: f64,
}

/// What a process holds in memory.
pub(crate) fn memory(pid: i32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let megabytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024.0 / 1e6
    };
    Memory { rss_mb: megabytes("Rss:"), pss_mb: megabytes("Pss:") }
}

/// This process's id.
pub(crate) fn own() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

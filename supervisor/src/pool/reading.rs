//! One raw sample of one process, as the kernel accounts for it.

use std::time::Duration;

use procfs::process::{ProcState, Process};

/// A sample. What could not be read is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Processor time used so far, user and system.
    pub cpu: Duration,
    /// Resident memory, in bytes. Memory shared with others counts in full.
    pub rss_bytes: u64,
    /// Proportional memory, in bytes: memory shared with others counts in part. This is what adds
    /// up.
    pub pss_bytes: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub fds: Option<u64>,
    /// Context switches so far, voluntary and not.
    pub context_switches: Option<u64>,
}

/// What a process is doing, and the processor time that it has used: what tells a hang from a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Whether it is stopped by a signal.
    pub stopped: bool,
    /// Whether it wants the processor, or waits for the disk.
    pub runnable: bool,
    /// Processor time used so far.
    pub cpu: Duration,
}

/// Reads a process's sample. Costs about 0.2 ms, most of it for the proportional memory.
pub fn read(pid: i32) -> Option<Reading> {
    let process = Process::new(pid).ok()?;
    let stat = process.stat().ok()?;
    let status = process.status().ok();
    let pss = process.smaps_rollup().ok().and_then(|rollup| {
        rollup.memory_map_rollup.0.first().and_then(|map| map.extension.map.get("Pss").copied())
    });
    let switches = status.and_then(|status| {
        Some(status.voluntary_ctxt_switches? + status.nonvoluntary_ctxt_switches?)
    });
    Some(Reading {
        cpu: cpu(&process, &stat),
        rss_bytes: stat.rss * procfs::page_size(),
        pss_bytes: pss,
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        fds: process.fd_count().ok().map(|count| count as u64),
        context_switches: switches,
    })
}

/// Resident memory, in bytes: the cheapest of all readings.
pub fn resident_bytes(pid: i32) -> Option<u64> {
    let pages = Process::new(pid).ok()?.statm().ok()?.resident;
    Some(pages * procfs::page_size())
}

/// The parts of a process's memory.
#[expect(clippy::struct_field_names, reason = "units stand last in names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it that is not swapped out.
    pub resident_bytes: u64,
    /// The same, with what is shared counted in part.
    pub proportional_bytes: u64,
    /// That of no file.
    pub anonymous_bytes: u64,
}

/// Reads the parts of a process's memory, which takes up to a millisecond.
pub fn memory(pid: i32) -> Option<Memory> {
    let rollup = Process::new(pid).ok()?.smaps_rollup().ok()?;
    let all = &rollup.memory_map_rollup.0.first()?.extension.map;
    let part = |name: &str| all.get(name).copied();
    Some(Memory {
        resident_bytes: part("Rss")?,
        proportional_bytes: part("Pss")?,
        anonymous_bytes: part("Anonymous")?,
    })
}

/// Reads what a process is doing, as one: all its threads.
pub fn activity(pid: i32) -> Option<Activity> {
    let process = Process::new(pid).ok()?;
    let state_of =
        |task: procfs::process::Task| task.stat().ok().and_then(|stat| stat.state().ok());
    let states: Vec<ProcState> = process.tasks().ok()?.flatten().filter_map(state_of).collect();
    let stat = process.stat().ok()?;
    Some(Activity {
        stopped: states.iter().any(|state| matches!(state, ProcState::Stopped)),
        runnable: states
            .iter()
            .any(|state| matches!(state, ProcState::Running | ProcState::Waiting)),
        cpu: cpu(&process, &stat),
    })
}

fn cpu(process: &Process, stat: &procfs::process::Stat) -> Duration {
    let ticks_per_sec = procfs::ticks_per_second().max(1);
    let coarse = Duration::from_millis((stat.utime + stat.stime) * 1000 / ticks_per_sec);
    // The main thread's clock counts nanoseconds, and the others of a worker are idle: where it is
    // ahead of the coarse one, it is the better of the two.
    process
        .schedstat()
        .map_or(coarse, |fine| Duration::from_nanos(fine.sum_exec_runtime).max(coarse))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_reading() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let reading = read(pid).unwrap();
        assert!(reading.rss_bytes > 100_000);
        assert!(reading.pss_bytes.is_some_and(|pss| pss <= reading.rss_bytes));
        assert!(reading.fds.is_some_and(|fds| fds > 2));
        let parts = memory(pid).unwrap();
        assert!(parts.proportional_bytes <= parts.resident_bytes);
        assert!(parts.anonymous_bytes <= parts.resident_bytes);
        assert!(activity(pid).unwrap().runnable);
    }

    #[test]
    fn a_process_that_is_gone_has_none() {
        assert_eq!(read(i32::MAX), None);
    }
}

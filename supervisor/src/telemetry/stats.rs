//! The pool at a glance.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sysinfo::{MemoryRefreshKind, System};

use super::{ProcessReport, Watch};
use crate::pool::turns;
use crate::sessions::Sessions;

/// The pool at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PoolStats {
    /// Sessions by state.
    pub sessions_by_state: BTreeMap<String, u64>,
    /// Sessions that there are.
    pub sessions: u64,
    /// Sessions that there may be.
    pub sessions_max: u64,
    /// Sessions that one tenant may have.
    pub sessions_per_tenant_max: u64,
    /// Sessions created since the daemon's start.
    pub sessions_created_total: u64,
    /// Sessions that may have a worker at a time.
    pub sessions_awake_max: u64,
    /// Worker processes that there are.
    pub workers: u64,
    /// Processes that are being started now.
    pub starting: u64,
    /// Starts that wait for their turn.
    pub starts_waiting: u64,
    /// Processes that may be starting at a time.
    pub starting_max: u64,
    /// Starts that may wait.
    pub starts_waiting_max: u64,
    /// First and last port, such as `8001-9000`.
    pub ports_range: String,
    /// Ports of sessions.
    pub ports_used: u64,
    /// Ports that could be leased now, unless other programs hold them.
    pub ports_free: u64,
    /// Returned ports that rest before they are leased again.
    pub ports_resting: u64,
    /// How long a worker may be busy without progress, in seconds.
    pub hang_after_secs: f64,
    /// Workers that were replaced, in living sessions.
    pub restarts: u64,
    /// Processor use of all workers, where 1 is one core.
    pub cpu_ratio: f64,
    /// Resident memory of all workers, in bytes; shared memory counts once per worker.
    pub rss_bytes: u64,
    /// Proportional memory of all workers, in bytes: what they take together.
    pub pss_bytes: u64,
    /// Steps per second of all workers.
    pub steps_per_sec: f64,
    /// The machine's memory, in bytes.
    pub host_memory_bytes: u64,
    /// The part of it that is available, in bytes.
    pub host_memory_available_bytes: u64,
    /// The machine's cores.
    pub host_cores: u64,
    /// Whether the machine has room: `plenty`, `tight` (idle sessions hibernate) or `full` (new work
    /// is refused).
    pub room: String,
    /// What control groups can enforce here, and which version of them; empty where there are none.
    pub control_groups: BTreeMap<String, String>,
}

impl PoolStats {
    /// Looks at the pool.
    pub async fn look(watch: &Watch, sessions: &Sessions) -> Self {
        let processes = watch.look(sessions).await.processes;
        let pool = sessions.pool();
        let turns::Counts { running: starting, waiting } = pool.gate().counts();
        let ports = pool.ports().counts();
        let (config, limits) = (pool.config(), sessions.config());
        let mut by_state = BTreeMap::new();
        for process in &processes {
            *by_state.entry(process.state.clone()).or_default() += 1;
        }
        // Sessions that share a worker count it once.
        let mut seen = BTreeSet::new();
        let workers: Vec<&ProcessReport> = processes
            .iter()
            .filter(|process| process.pid.is_some_and(|pid| seen.insert(pid)))
            .collect();
        let mut host = System::new().ok();
        if let Some(host) = &mut host {
            host.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        }
        let host = host.as_ref();
        let can = pool.groups().can().into_iter();
        let groups =
            can.map(|it| (format!("{:?}", it.what).to_lowercase(), it.by.to_string())).collect();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            sessions_by_state: by_state,
            sessions: count(processes.len()),
            sessions_max: count(limits.max),
            sessions_per_tenant_max: count(limits.per_tenant_max),
            sessions_created_total: sessions.created_total(),
            sessions_awake_max: count(limits.awake_max),
            workers: count(workers.len()),
            starting: count(starting),
            starts_waiting: count(waiting),
            starting_max: count(config.spawn_concurrent_max),
            starts_waiting_max: count(config.spawn_queue_max),
            ports_range: pool.ports().range().to_string(),
            ports_used: count(ports.leased),
            ports_free: count(ports.total.saturating_sub(ports.leased + ports.resting)),
            ports_resting: count(ports.resting),
            hang_after_secs: config.hang_after_secs,
            restarts: processes.iter().map(|process| process.restarts).sum(),
            cpu_ratio: sum(&workers, |process| process.cpu_ratio),
            rss_bytes: workers.iter().filter_map(|process| process.rss_bytes).sum(),
            pss_bytes: workers.iter().filter_map(|process| process.pss_bytes).sum(),
            steps_per_sec: sum(&workers, |process| process.steps_per_sec),
            host_memory_bytes: host.map_or(0, System::total_memory),
            host_memory_available_bytes: host.map_or(0, System::available_memory),
            host_cores: count(cores),
            room: format!("{:?}", pool.room().level()).to_lowercase(),
            control_groups: groups,
        }
    }
}

fn count(number: usize) -> u64 {
    number as u64
}

/// The empty sum of the standard library is -0.
fn sum(workers: &[&ProcessReport], value: impl Fn(&ProcessReport) -> Option<f64>) -> f64 {
    workers.iter().filter_map(|process| value(process)).fold(0.0, std::ops::Add::add)
}

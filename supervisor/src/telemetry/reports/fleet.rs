//! Everything that goes on, as a terminal shows it: the machine, the pool, sessions, tools.
//!
//! Cheap enough to be asked for every second: what uses the processor is read from the series, and of
//! a process no more than its resident memory. The close look is that of [`Watch`].
//!
//! [`Watch`]: crate::telemetry::Watch

use std::collections::BTreeSet;

use procfs::{Current as _, Meminfo};
use serde::{Deserialize, Serialize};

use super::Times;
use super::overview::Overview;
use super::tools::{self, Tool};
use crate::pool::reading;
use crate::session::Session;
use crate::sessions::Sessions;
use crate::telemetry::metric::Id;
use crate::telemetry::monitor::Monitor;
use crate::telemetry::query::{Sight, rounded};
use crate::telemetry::series::Subject;

/// Everything that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// What is measured of everything together, and of the machine.
    pub overview: Overview,
    /// What there is, and what there may be.
    pub pool: Pool,
    /// Sessions: those that have a worker first, and of those the ones that were used last.
    pub sessions: Vec<Row>,
    /// Sessions that were left out.
    pub sessions_cut: u64,
    /// Tools that were called.
    pub tools: Vec<Tool>,
}

/// What there is, and what there may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Sessions that there are.
    pub sessions: u64,
    /// Sessions that there may be.
    pub sessions_max: u64,
    /// Sessions that have a worker.
    pub awake: u64,
    /// Sessions that may have one at a time.
    pub awake_max: u64,
    /// Worker processes behind sessions.
    pub workers: u64,
    /// Processes that are being started now.
    pub starting: u64,
    /// Starts that wait for their turn.
    pub starts_waiting: u64,
    /// Ports of sessions.
    pub ports_used: u64,
    /// Ports that could be leased now, unless other programs hold them.
    pub ports_free: u64,
    /// Whether the machine has room: `plenty`, `tight` or `full`.
    pub room: String,
    /// The machine's cores.
    pub host_cores: u64,
    /// The machine's memory, in bytes; 0 if it is not known.
    pub host_memory_bytes: u64,
}

/// A session in a line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The session's handle.
    pub session_id: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whose it is.
    pub tenant: String,
    /// Its process, which may be other sessions' too.
    pub pid: Option<u32>,
    /// Where it is in its life.
    pub state: String,
    /// Processor use of its process; 1 is one core.
    pub cpu_ratio: Option<f64>,
    /// Resident memory of its process.
    pub resident_bytes: Option<u64>,
    /// Steps in a second.
    pub steps_per_sec: Option<f64>,
    /// Simulated seconds in a second of the clock.
    pub real_time_factor: Option<f64>,
    /// How long a step takes; null if none was timed.
    pub step_secs: Option<Times>,
    /// Contacts after the last step.
    pub contacts: Option<u64>,
    /// How often its worker was replaced.
    pub restarts: u64,
    /// How long nobody has used it.
    pub idle_secs: f64,
}

/// Sessions that are told of at a time.
const SESSIONS_MAX: usize = 2000;

impl Fleet {
    /// Now, where means are taken over the last seconds. Reads files, and waits for the disk.
    pub fn look(monitor: &Monitor, sessions: &Sessions, window_secs: i64) -> Self {
        let mut all: Vec<(Session, Option<u32>)> =
            sessions.all().into_iter().map(with_pid).collect();
        let pool = Pool::look(sessions, all.iter().map(|(_, pid)| *pid));
        all.sort_by_cached_key(|(session, pid)| (pid.is_none(), session.idle()));
        let sessions_cut = count(all.len().saturating_sub(SESSIONS_MAX));
        all.truncate(SESSIONS_MAX);
        let row =
            |(session, pid): &(Session, Option<u32>)| Row::of(session, *pid, monitor, window_secs);
        Self {
            overview: Overview::of(monitor, None, window_secs),
            pool,
            sessions: all.iter().map(row).collect(),
            sessions_cut,
            tools: tools::all(monitor, None),
        }
    }
}

impl Pool {
    fn look(sessions: &Sessions, pids: impl Iterator<Item = Option<u32>> + Clone) -> Self {
        let (pool, config) = (sessions.pool(), sessions.config());
        let (ports, turns) = (pool.ports().counts(), pool.gate().counts());
        // Sessions that share a worker count it once.
        let workers: BTreeSet<u32> = pids.clone().flatten().collect();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            sessions: count(pids.clone().count()),
            sessions_max: count(config.max),
            awake: count(pids.flatten().count()),
            awake_max: count(config.awake_max),
            workers: count(workers.len()),
            starting: count(turns.running),
            starts_waiting: count(turns.waiting),
            ports_used: count(ports.leased),
            ports_free: count(ports.total.saturating_sub(ports.leased + ports.resting)),
            room: format!("{:?}", pool.room().level()).to_lowercase(),
            host_cores: count(cores),
            host_memory_bytes: Meminfo::current().map_or(0, |memory| memory.mem_total),
        }
    }
}

impl Row {
    fn of(session: &Session, pid: Option<u32>, monitor: &Monitor, window_secs: i64) -> Self {
        let plan = session.plan();
        let (state, restarts, meter) = {
            let status = session.status();
            (status.state.name(), status.restarts, status.meter.clone())
        };
        let mut row = Self {
            session_id: plan.id.to_string(),
            name: plan.name.clone(),
            tenant: plan.tenant.to_string(),
            pid,
            state: state.to_owned(),
            restarts,
            idle_secs: rounded(session.idle().as_secs_f64()),
            ..Self::default()
        };
        let Some(pid) = pid else { return row };
        row.resident_bytes = i32::try_from(pid).ok().and_then(reading::resident_bytes);
        row.contacts = meter.and_then(|meter| meter.head()).map(|head| head.contacts);
        let subject = Subject::Session(plan.tenant.clone(), plan.id.clone());
        let point = monitor.measured().recent(&subject, window_secs, &Sight::All);
        let mean = |id| point.mean(id).map(rounded);
        row.cpu_ratio = mean(Id::Cpu);
        row.steps_per_sec = mean(Id::Steps);
        row.real_time_factor = mean(Id::RealTime);
        row.step_secs = point.durations(Id::StepTime).and_then(Times::of);
        row
    }
}

fn with_pid(session: Session) -> (Session, Option<u32>) {
    let worker = session.status().worker.clone();
    let pid = worker.map(|(worker, _)| worker.facts().pid.unsigned_abs());
    (session, pid)
}

fn count(number: usize) -> u64 {
    number as u64
}

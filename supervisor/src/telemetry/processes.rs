//! The processes of all sessions, with what they use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use simward_protocol::session::Vitals;

use crate::pool::guard::Enforcement;
use crate::pool::reading::{self, Reading};
use crate::session::{Isolation, Session};
use crate::sessions::Sessions;

/// The processes of all sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Processes {
    /// One entry per session, by handle.
    pub processes: Vec<ProcessReport>,
}

/// The process behind a session. Ratios and rates are over the time since the last look, which was a
/// second ago at least, or since the process's start at the first one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProcessReport {
    /// The session's handle.
    pub session_id: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whose it is.
    pub tenant: String,
    /// The worker's process id; absent while there is no worker.
    pub pid: Option<u32>,
    /// The session's port, if it has one.
    pub port: Option<u16>,
    /// `starting`, `ready`, `restarting`, `hibernating`, `hibernated`, `parked`, `closing` or `closed`.
    pub state: String,
    /// `idle`, `busy`, `running` (in the background) or `none` (no worker).
    pub activity: String,
    /// Whether the worker is the session's own.
    pub isolation: Isolation,
    /// Processor time over elapsed time: 1 is one core.
    pub cpu_ratio: Option<f64>,
    /// Processor time since the start, in seconds.
    pub cpu_secs_total: Option<f64>,
    /// Resident memory, in bytes; memory shared with other processes counts in full.
    pub rss_bytes: Option<u64>,
    /// Proportional memory, in bytes; memory shared with other processes counts in part.
    pub pss_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors.
    pub fds: Option<u64>,
    /// Context switches since the start.
    pub context_switches_total: Option<u64>,
    /// Seconds since the worker's start.
    pub uptime_secs: Option<f64>,
    /// Seconds since the session's creation.
    pub age_secs: f64,
    /// Seconds since the session was last used.
    pub idle_secs: f64,
    /// How often the session's worker was replaced.
    pub restarts: u64,
    /// How the last lost worker ended.
    pub last_ending: Option<String>,
    /// Simulation steps since the worker's start.
    pub steps_total: Option<u64>,
    /// Simulation steps per second.
    pub steps_per_sec: Option<f64>,
    /// The share of time in which the worker was simulating or answering.
    pub busy_ratio: Option<f64>,
    /// The isolation layers in force in the worker.
    pub layers: Vec<String>,
    /// By what each limit of the worker is enforced.
    pub limits_enforced_by: Enforcement,
}

/// Looks at processes, and remembers the last look for rates.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    last: Arc<Mutex<HashMap<u32, Look>>>,
}

/// What was seen of a process at a moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    started: Instant,
    cpu: Duration,
    vitals: Vitals,
    rates: Rates,
}

/// Over the time until then.
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    cpu_ratio: f64,
    steps_per_sec: f64,
    busy_ratio: f64,
}

/// Looks that are closer to each other share their rates: workers tell what they did five times a
/// second, and a shorter window says nothing.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// For how long it is known what was seen of a process that nobody asks after.
const KEPT: Duration = Duration::from_mins(10);

impl Watch {
    /// Looks at every session's process. Reads files, so it runs apart from the tasks.
    pub async fn look(&self, sessions: &Sessions) -> Processes {
        let (watch, sessions) = (self.clone(), sessions.all());
        let look = move || watch.look_at(&sessions);
        let processes = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        Processes { processes }
    }

    /// Looks at the processes of these sessions, and leaves alone what was seen of others. Reads
    /// files.
    pub fn look_only_at(&self, sessions: &[Session]) -> Vec<ProcessReport> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Of processes that nobody asked after for long, nobody does any more.
        last.retain(|_, look| look.at.elapsed() < KEPT);
        let mut next = HashMap::with_capacity(sessions.len());
        let reports = sessions.iter().map(|session| report(session, &last, &mut next)).collect();
        last.extend(next);
        reports
    }

    fn look_at(&self, sessions: &[Session]) -> Vec<ProcessReport> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::with_capacity(sessions.len());
        let reports = sessions.iter().map(|session| report(session, &last, &mut next)).collect();
        *last = next;
        reports
    }
}

fn report(
    session: &Session,
    last: &HashMap<u32, Look>,
    next: &mut HashMap<u32, Look>,
) -> ProcessReport {
    let plan = session.plan();
    let idle_secs = session.idle().as_secs_f64();
    let status = session.status().clone();
    let mut report = ProcessReport {
        session_id: plan.id.to_string(),
        name: plan.name.clone(),
        tenant: plan.tenant.to_string(),
        port: session.port().map(|lease| lease.port),
        state: status.state.name().to_owned(),
        activity: "none".to_owned(),
        isolation: plan.isolation,
        age_secs: session.age().as_secs_f64(),
        idle_secs,
        restarts: status.restarts,
        last_ending: status.last_ending.map(|ending| ending.to_string()),
        ..ProcessReport::default()
    };
    let Some((worker, _)) = status.worker else { return report };
    let facts = worker.facts();
    let vitals = worker.status().vitals;
    let Some(reading) = reading::read(facts.pid) else { return report };
    let pid = facts.pid.unsigned_abs();
    let (at, started) = (Instant::now(), facts.started);
    let now = Look { at, started, cpu: reading.cpu, vitals, rates: Rates::default() };
    let last = last.get(&pid).filter(|last| last.started == started);
    let look = match last {
        Some(last) if at.saturating_duration_since(last.at) < WINDOW_MIN => *last,
        last => Look { rates: rates(&now, last), ..now },
    };
    next.insert(pid, look);
    fill(&mut report, reading, vitals, look.rates);
    report.pid = Some(pid);
    report.uptime_secs = Some(facts.started.elapsed().as_secs_f64());
    report.layers.clone_from(&facts.hello.layers);
    report.limits_enforced_by.clone_from(&worker.held().enforcement);
    report
}

/// Since the look before; since the process's start if there was none.
#[expect(clippy::cast_precision_loss, reason = "rates are floating point")]
fn rates(now: &Look, last: Option<&Look>) -> Rates {
    let born = Look { at: now.started, cpu: Duration::ZERO, vitals: Vitals::default(), ..*now };
    let before = last.unwrap_or(&born);
    let secs = now.at.saturating_duration_since(before.at).as_secs_f64().max(1e-6);
    let steps = now.vitals.steps_total.saturating_sub(before.vitals.steps_total);
    let busy_nanos = now.vitals.busy_nanos.saturating_sub(before.vitals.busy_nanos);
    Rates {
        cpu_ratio: now.cpu.saturating_sub(before.cpu).as_secs_f64() / secs,
        steps_per_sec: steps as f64 / secs,
        busy_ratio: busy_nanos as f64 / 1e9 / secs,
    }
}

fn fill(report: &mut ProcessReport, reading: Reading, vitals: Vitals, rates: Rates) {
    let activity = match vitals {
        Vitals { running: true, .. } => "running",
        Vitals { busy: true, .. } => "busy",
        _ => "idle",
    };
    activity.clone_into(&mut report.activity);
    report.cpu_ratio = Some(rates.cpu_ratio);
    report.cpu_secs_total = Some(reading.cpu.as_secs_f64());
    report.rss_bytes = Some(reading.rss_bytes);
    report.pss_bytes = reading.pss_bytes;
    report.threads = Some(reading.threads);
    report.fds = reading.fds;
    report.context_switches_total = reading.context_switches;
    report.steps_total = Some(vitals.steps_total);
    report.steps_per_sec = Some(rates.steps_per_sec);
    report.busy_ratio = Some(rates.busy_ratio);
}

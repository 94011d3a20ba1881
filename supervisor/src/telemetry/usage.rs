//! What a tenant and a session use of what they may.

use serde::{Deserialize, Serialize};

use crate::pool::reading;
use crate::runs::Runs;
use crate::session::Session;
use crate::sessions::Sessions;
use crate::telemetry::{ProcessReport, Watch};
use crate::tenants::Tenant;
use crate::uploads::Uploads;

/// Use of one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Use {
    /// What is used, with its unit.
    pub resource: String,
    /// How much of it.
    pub used: f64,
    /// How much there may be; null where there is no limit.
    pub max: Option<f64>,
    /// The first over the second.
    pub ratio: Option<f64>,
}

impl Use {
    #[expect(clippy::cast_precision_loss, reason = "shares are floating point")]
    fn of(resource: &str, used: u64, max: Option<u64>) -> Self {
        Self::share(resource, used as f64, max.map(|max| max as f64))
    }

    fn share(resource: &str, used: f64, max: Option<f64>) -> Self {
        let ratio = max.filter(|max| 0.0 < *max).map(|max| used / max);
        Self { resource: resource.to_owned(), used, max, ratio }
    }
}

/// Sessions that share a process have it once.
fn one_for_each_process(mut reports: Vec<ProcessReport>) -> Vec<ProcessReport> {
    reports.sort_by_key(|report| report.pid);
    reports.dedup_by_key(|report| report.pid);
    reports
}

/// The empty sum of the standard library is -0.
fn sum(reports: &[ProcessReport], value: impl Fn(&ProcessReport) -> Option<f64>) -> f64 {
    reports.iter().filter_map(value).fold(0.0, std::ops::Add::add)
}

/// Where what a tenant uses is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// Its sessions.
    pub sessions: &'a Sessions,
    /// What they were seen to use before.
    pub watch: &'a Watch,
    /// Its runs.
    pub runs: &'a Runs,
    /// Its files.
    pub uploads: &'a Uploads,
}

/// What a tenant uses. Waits for the disk, and reads files of every worker of its.
pub fn of_tenant(tenant: &Tenant, counted: &Counted<'_>) -> Vec<Use> {
    let Counted { sessions, watch, runs, uploads } = *counted;
    let own = sessions.list(tenant);
    let mut pids: Vec<i32> = own.iter().filter_map(pid_of).collect();
    let awake = pids.len();
    // Sessions that share a worker have it once.
    pids.sort_unstable();
    pids.dedup();
    let memory = pids.iter().filter_map(|pid| reading::resident_bytes(*pid)).sum();
    let limits = sessions.config();
    let together = limits.tenant_limits;
    let account = sessions.accounts().find(tenant);
    // What is counted is what the control group counts, or else what is given out.
    let counted = account.as_ref().map_or(0, |account| account.memory_bytes());
    let reports = one_for_each_process(watch.look_only_at(&own));
    let kept = runs.list(tenant);
    let going = kept.iter().filter(|run| run.outcome().is_none()).count();
    let running_max = runs.config().running_per_tenant_max;
    let (files, bytes) = uploads.used(tenant);
    let arriving = uploads.config();
    let models = sessions.store().models().usage(tenant);
    vec![
        Use::of("sessions", count(own.len()), Some(count(limits.per_tenant_max))),
        // The places for these are of all tenants together.
        Use::of("sessions awake", count(awake), None),
        Use::of("processes", count(pids.len()), None),
        Use::of("resident memory of processes, bytes", memory, None),
        Use::of("memory that counts, bytes", counted, together.memory_bytes()),
        Use::share(
            "processor, cores since the last look",
            sum(&reports, |report| report.cpu_ratio),
            together.cpu_ratio(),
        ),
        Use::share(
            "simulation steps per second since the last look",
            sum(&reports, |report| report.steps_per_sec),
            together.step_rate(),
        ),
        Use::of("runs under way", count(going), Some(count(running_max))),
        Use::of("compiled models, bytes", models.bytes, Some(models.bytes_max)),
        Use::of("uploaded files", count(files), Some(count(arriving.per_tenant_max))),
        Use::of("uploaded files, bytes", bytes, Some(arriving.per_tenant_bytes_max)),
    ]
}

/// What a session uses.
pub fn of_session(session: &Session) -> Vec<Use> {
    let plan = session.plan();
    let limits = plan.limits();
    let holdings = session.holdings();
    let mut all = vec![
        Use::of("models", count(holdings.models().len()), Some(plan.models_max().into())),
        Use::of(
            "checkpoints and snapshots, bytes",
            holdings.checkpoint_bytes(),
            Some(plan.checkpoint_bytes_max),
        ),
        Use::of(
            "recordings, bytes",
            holdings.recording_bytes(),
            Some(plan.recordings.session_bytes_max),
        ),
    ];
    let Some((pid, started)) = process_of(session) else { return all };
    let Some(reading) = reading::read(pid) else { return all };
    let secs = started.elapsed().as_secs_f64().max(1e-3);
    all.extend([
        Use::of("resident memory of its process, bytes", reading.rss_bytes, limits.memory_bytes),
        Use::of("threads of its process", reading.threads, plan.threads_max),
        Use::share(
            "processor, cores on average since the process's start",
            reading.cpu.as_secs_f64() / secs,
            limits.cpu_ratio,
        ),
    ]);
    all
}

fn process_of(session: &Session) -> Option<(i32, std::time::Instant)> {
    let status = session.status();
    let facts = status.worker.as_ref()?.0.facts();
    Some((facts.pid, facts.started))
}

fn pid_of(session: &Session) -> Option<i32> {
    process_of(session).map(|(pid, _)| pid)
}

fn count(number: usize) -> u64 {
    number as u64
}

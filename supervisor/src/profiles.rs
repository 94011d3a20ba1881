//! Profiles: where a session's worker, or the daemon itself, spends its time and its memory, over
//! some seconds in the background.
//!
//! A `cpu` profile is taken from outside by another program (`profiler`), the `phases` of steps by the
//! worker itself, with the engine's timers (`phases`), and `memory` by the accounts of the kernel, of
//! the allocator and of the worker (`memory`). One at a time of each target; what comes of one is kept for a
//! while, in memory.

mod error;
mod memory;
mod phases;
mod profiler;
mod report;
mod subject;
mod table;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use self::error::Error;
use self::profiler::Profiler;
pub use self::report::{Form, Look, Report, View};
use self::subject::Subject;
use self::table::Table;
use crate::handle;
use crate::pool::Pool;
use crate::session::Session;
use crate::tenants::Tenant;
use crate::worker::Worker;

/// How many profiles there may be, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The profiler's program; empty means the one beside the
    /// worker's, with `profiler` in its name instead of `worker`.
    pub program: PathBuf,
    /// Profiles under way, of all tenants.
    pub running_max: usize,
    /// Profiles under way, of one tenant.
    pub running_per_tenant_max: usize,
    /// Profiles that have ended and are kept, of one tenant. The oldest one makes room.
    pub kept_per_tenant_max: usize,
    /// How long what came of a profile is kept, in seconds.
    pub keep_secs: f64,
    /// What all of them may take, in bytes. The oldest ones make room.
    pub kept_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            program: PathBuf::new(),
            running_max: 4,
            running_per_tenant_max: 2,
            kept_per_tenant_max: 16,
            keep_secs: 3600.0,
            kept_bytes_max: 64 << 20,
        }
    }
}

/// The bounds of a profile's duration, in seconds.
pub const DURATION_SECS: (f64, f64) = (1.0, 300.0);

/// The bounds of the sampling frequency.
pub use simward_profiler::FREQUENCY_HZ;

/// Whose profile.
#[derive(Clone, Debug)]
pub enum Target {
    /// A session's worker.
    Session(Session),
    /// This process.
    Supervisor,
}

impl Target {
    fn session_id(&self) -> Option<&str> {
        match self {
            Self::Session(session) => Some(&session.plan().id),
            Self::Supervisor => None,
        }
    }

    /// What no two profiles at a time may have in common.
    fn key(&self) -> &str {
        self.session_id().unwrap_or("supervisor")
    }
}

/// What is looked at.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Kind {
    /// Which functions take the processor's time.
    #[default]
    Cpu,
    /// Which phases of a step take its time.
    Phases,
    /// What takes the memory.
    Memory,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    /// What is looked at.
    pub kind: Kind,
    /// For how long.
    pub duration: Duration,
    /// Samples per second, of a `cpu` profile.
    pub frequency_hz: u64,
}

/// All profiles. Clones are the same.
#[derive(Clone, Debug)]
pub struct Profiles {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    pool: Pool,
    program: PathBuf,
    table: Mutex<Table<Job>>,
}

/// A profile, under way or over.
#[derive(Clone, Debug)]
pub struct Job {
    inner: Arc<JobInner>,
}

#[derive(Debug)]
struct JobInner {
    id: String,
    session_id: Option<String>,
    ask: Ask,
    begun: Instant,
    /// Samples or steps so far.
    seen: watch::Receiver<u64>,
    outcome: watch::Receiver<Option<Arc<Outcome>>>,
}

/// What came of a profile.
#[derive(Debug)]
pub(crate) enum Outcome {
    Cpu(Box<simward_profiler::Profile>),
    Phases(phases::Phases),
    Memory(Box<memory::Memory>),
    Failed(Arc<Error>),
}

impl Outcome {
    fn bytes(&self) -> usize {
        match self {
            Self::Cpu(profile) => profile.bytes(),
            Self::Phases(phases) => phases.bytes(),
            Self::Memory(memory) => memory.bytes(),
            Self::Failed(_) => 0,
        }
    }
}

impl Profiles {
    /// Profiles of processes out of `pool`; none yet.
    pub fn new(pool: Pool, config: Config) -> Self {
        let program = profiler::program(&config.program, pool.program());
        Self { inner: Arc::new(Inner { config, pool, program, table: Mutex::default() }) }
    }

    /// Begins a profile. A `cpu` profile has begun when this returns, or is refused.
    pub async fn start(&self, tenant: &Tenant, target: Target, ask: Ask) -> Result<Job, Error> {
        let id = handle::new("prof_");
        let (tell, seen) = watch::channel(0);
        let (end, outcome) = watch::channel(None);
        let session_id = target.session_id().map(str::to_owned);
        let begun = Instant::now();
        let job = JobInner { id: id.clone(), session_id, ask, begun, seen, outcome };
        let job = Job { inner: Arc::new(job) };
        let config = &self.inner.config;
        let whose = (tenant, target.key());
        self.table().begin(&id, whose, job.clone(), Instant::now(), config)?;
        // Whatever becomes of this call, its place is given back.
        let place = Place { profiles: self.clone(), id, end };
        let sampling = match ask.kind {
            Kind::Cpu => Some(self.sample(tenant, &Subject::of(&target).await?, ask).await?),
            Kind::Phases | Kind::Memory => None,
        };
        let (profiles, tenant) = (self.clone(), tenant.clone());
        tokio::spawn(async move {
            let outcome = profiles.carry_out(sampling, (&tenant, &target), ask, &tell).await;
            place.finish(outcome.unwrap_or_else(|error| Outcome::Failed(Arc::new(error))));
        });
        Ok(job)
    }

    /// Tries whether a worker can be sampled; tells what is missing if not.
    pub async fn check(&self, worker: &Worker) -> Result<(), Error> {
        let ask = Ask { kind: Kind::Cpu, duration: Duration::ZERO, frequency_hz: 99 };
        let subject = Subject::alone(worker.clone());
        self.sample(&Tenant::local(), &subject, ask).await?.finish(|_| ()).await.map(drop)
    }

    /// Finds a profile of `tenant`. Another tenant's profile does not exist.
    pub fn get(&self, tenant: &Tenant, id: &str) -> Result<Job, Error> {
        let keep = Duration::from_secs_f64(self.inner.config.keep_secs);
        let found = self.table().get(tenant, id, Instant::now(), keep);
        found.ok_or_else(|| Error::Unknown(id.chars().take(TOLD_CHARS_MAX).collect()))
    }

    async fn sample(
        &self,
        tenant: &Tenant,
        subject: &Subject,
        ask: Ask,
    ) -> Result<Profiler, Error> {
        Profiler::sample(self.place(tenant), subject, ask).await
    }

    fn place<'a>(&'a self, tenant: &'a Tenant) -> profiler::Place<'a> {
        profiler::Place { pool: &self.inner.pool, program: &self.inner.program, tenant }
    }

    async fn carry_out(
        &self,
        sampling: Option<Profiler>,
        (tenant, target): (&Tenant, &Target),
        ask: Ask,
        tell: &watch::Sender<u64>,
    ) -> Result<Outcome, Error> {
        if let Some(sampling) = sampling {
            let tell = |samples| {
                tell.send_replace(samples);
            };
            return Ok(Outcome::Cpu(Box::new(sampling.finish(tell).await?)));
        }
        match (ask.kind, target) {
            (Kind::Memory, _) => {
                let told = memory::profile(self.place(tenant), target, ask.duration).await?;
                Ok(Outcome::Memory(Box::new(told)))
            }
            (Kind::Phases, Target::Session(_)) => {
                phases::profile(target, ask.duration, tell).await.map(Outcome::Phases)
            }
            (Kind::Phases | Kind::Cpu, _) => Err(Error::NoSteps),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table<Job>> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest part of an unknown handle that is told back.
const TOLD_CHARS_MAX: usize = 80;

/// A place in the table, given back if nothing comes of it.
struct Place {
    profiles: Profiles,
    id: String,
    end: watch::Sender<Option<Arc<Outcome>>>,
}

impl Place {
    fn finish(self, outcome: Outcome) {
        let outcome = Arc::new(outcome);
        let (bytes, config) = (outcome.bytes(), &self.profiles.inner.config);
        self.profiles.table().end(&self.id, Instant::now(), bytes, config);
        self.end.send_replace(Some(outcome));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.profiles.table().drop_if_running(&self.id);
    }
}

impl Job {
    /// Its handle.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The session whose it is; nothing if it is the daemon's.
    pub fn session_id(&self) -> Option<&str> {
        self.inner.session_id.as_deref()
    }

    /// What was asked for.
    pub fn ask(&self) -> &Ask {
        &self.inner.ask
    }

    fn elapsed(&self) -> Duration {
        self.inner.begun.elapsed()
    }

    fn seen(&self) -> u64 {
        *self.inner.seen.borrow()
    }

    pub(crate) fn outcome(&self) -> Option<Arc<Outcome>> {
        self.inner.outcome.borrow().clone()
    }
}

//! Runs: long work that nobody waits for. It goes on by itself, is asked about, and can be
//! withdrawn; what came of it is kept for a while.
//!
//! What the work is, is its starter's business: here it is a future, and its result is JSON.

mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::table::Table;
use crate::code::Code;
use crate::handle;
use crate::tenants::Tenant;

/// How many runs there may be, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Runs under way, of all tenants.
    pub running_max: usize,
    /// Runs under way, of one tenant.
    pub running_per_tenant_max: usize,
    /// Runs that have ended and are kept, of one tenant. The oldest one makes room.
    pub kept_per_tenant_max: usize,
    /// How long what came of a run is kept, in seconds.
    pub keep_secs: f64,
    /// What the results of all runs may take, in bytes. The oldest ones make room.
    pub kept_bytes_max: usize,
    /// How long a run may compute, in seconds.
    pub budget_secs: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            running_max: 256,
            running_per_tenant_max: 16,
            kept_per_tenant_max: 64,
            keep_secs: 900.0,
            kept_bytes_max: 64 << 20,
            budget_secs: 600.0,
        }
    }
}

/// A cheap handle to the table of runs.
#[derive(Clone, Debug)]
pub struct Runs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    table: Mutex<Table<Run>>,
}

/// A cheap handle to a run.
#[derive(Clone, Debug)]
pub struct Run {
    inner: Arc<RunInner>,
}

#[derive(Debug)]
struct RunInner {
    about: About,
    id: String,
    begun: Instant,
    at: SystemTime,
    progress: watch::Receiver<(u64, u64)>,
    outcome: watch::Receiver<Option<Arc<Outcome>>>,
    withdrawn: CancellationToken,
}

/// What a run is for.
#[derive(Clone, Debug)]
pub struct About {
    /// The tool that began it.
    pub tool: &'static str,
    /// The session that it works on, if it is one.
    pub session_id: Option<String>,
}

/// What the work of a run is given.
#[derive(Debug)]
pub struct Job {
    /// Where it tells how far it is: done, of as much as there is to do.
    pub progress: watch::Sender<(u64, u64)>,
    /// Cancelled when nobody wants it any more.
    pub withdrawn: CancellationToken,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it answered: a result or a refusal.
    pub answer: Result<Value, Value>,
    /// When.
    pub at: Instant,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It did what it was to do.
    Completed,
    /// It was refused.
    Refused,
    /// It was withdrawn. What it did until then may be in its result.
    Cancelled,
}

impl End {
    /// The name that clients see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// No run, or not that one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller has no run of that handle. The same for what never was, what is not kept any
    /// more, and what is somebody else's.
    #[error("run `{0}` does not exist, or is not kept any more")]
    Unknown(String),
    /// There are as many as there may be.
    #[error("{max} runs are under way already (runs.running_max)")]
    Full {
        /// The limit.
        max: usize,
    },
    /// The tenant has as many as it may have.
    #[error("{max} of your runs are under way already (runs.running_per_tenant_max)")]
    TenantFull {
        /// The limit.
        max: usize,
    },
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "run_unknown",
            Self::Full { .. } => "runs_exhausted",
            Self::TenantFull { .. } => "tenant_runs_exhausted",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unknown(_) => "list_runs shows yours",
            Self::Full { .. } => return None,
            Self::TenantFull { .. } => "cancel_run ends one; list_runs shows yours",
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Full { .. }).then_some(Duration::from_secs(5))
    }
}

/// The longest part of an unknown handle that is told back.
const TOLD_CHARS_MAX: usize = 80;

impl Runs {
    /// No runs yet.
    pub fn new(config: Config) -> Self {
        Self { inner: Arc::new(Inner { config, table: Mutex::default() }) }
    }

    /// How many runs there may be, and for how long.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// How long a run may compute.
    pub fn budget(&self) -> Duration {
        Duration::from_secs_f64(self.inner.config.budget_secs)
    }

    /// How long what came of a run is kept.
    pub fn keep(&self) -> Duration {
        Duration::from_secs_f64(self.inner.config.keep_secs)
    }

    /// Begins a run. Its work answers with a result, or with a refusal.
    pub fn start<F>(
        &self,
        tenant: &Tenant,
        about: About,
        work: impl FnOnce(Job) -> F,
    ) -> Result<Run, Error>
    where
        F: Future<Output = Result<Value, Value>> + Send + 'static,
    {
        let (tell, progress) = watch::channel((0, 0));
        let (end, outcome) = watch::channel(None);
        let withdrawn = CancellationToken::new();
        let job = Job { progress: tell, withdrawn: withdrawn.clone() };
        let inner = RunInner {
            about,
            id: handle::new("run_"),
            begun: Instant::now(),
            at: SystemTime::now(),
            progress,
            outcome,
            withdrawn: withdrawn.clone(),
        };
        let run = Run { inner: Arc::new(inner) };
        let id = run.id().to_owned();
        self.table().begin(&id, tenant, run.clone(), Instant::now(), &self.inner.config)?;
        let (work, runs) = (work(job), self.clone());
        tokio::spawn(async move {
            let answer = work.await;
            let how = match &answer {
                _ if withdrawn.is_cancelled() => End::Cancelled,
                Ok(_) => End::Completed,
                Err(_) => End::Refused,
            };
            let bytes = answer.as_ref().unwrap_or_else(|refusal| refusal).to_string().len();
            let at = Instant::now();
            runs.table().end(&id, at, bytes, &runs.inner.config);
            end.send_replace(Some(Arc::new(Outcome { end: how, answer, at })));
        });
        Ok(run)
    }

    /// Finds a run of `tenant`. Another tenant's run does not exist.
    pub fn get(&self, tenant: &Tenant, id: &str) -> Result<Run, Error> {
        let found = self.table().get(tenant, id, Instant::now(), self.keep());
        found.ok_or_else(|| Error::Unknown(id.chars().take(TOLD_CHARS_MAX).collect()))
    }

    /// A tenant's runs, the oldest first.
    pub fn list(&self, tenant: &Tenant) -> Vec<Run> {
        self.table().list(tenant, Instant::now(), self.keep())
    }

    fn table(&self) -> MutexGuard<'_, Table<Run>> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Its handle.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// What it is for.
    pub fn about(&self) -> &About {
        &self.inner.about
    }

    /// When it was begun.
    pub fn begun(&self) -> SystemTime {
        self.inner.at
    }

    /// How long it has taken, or took.
    pub fn elapsed(&self) -> Duration {
        let end = self.outcome().map_or_else(Instant::now, |outcome| outcome.at);
        end.saturating_duration_since(self.inner.begun)
    }

    /// How far it is: done, of as much as there is to do; 0 where it is not known.
    pub fn progress(&self) -> watch::Receiver<(u64, u64)> {
        self.inner.progress.clone()
    }

    /// What came of it, once it has ended.
    pub fn outcome(&self) -> Option<Arc<Outcome>> {
        self.inner.outcome.borrow().clone()
    }

    /// Waits for its end.
    pub async fn ended(&self) {
        let mut outcome = self.inner.outcome.clone();
        // An error means that the daemon is ending.
        outcome.wait_for(Option::is_some).await.ok();
    }

    /// Withdraws it: it ends soon, and keeps what it has done.
    pub fn cancel(&self) {
        self.inner.withdrawn.cancel();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn about() -> About {
        About { tool: "step_simulation", session_id: None }
    }

    #[tokio::test]
    async fn a_run_tells_its_progress_and_what_came_of_it() {
        let runs = Runs::new(Config::default());
        let tenant = Tenant::local();
        let work = |job: Job| async move {
            job.progress.send_replace((3, 4));
            Ok(json!({ "sum": 7 }))
        };
        let run = runs.start(&tenant, about(), work).unwrap();
        run.ended().await;
        let outcome = runs.get(&tenant, run.id()).unwrap().outcome().unwrap();
        assert_eq!((outcome.end, &outcome.answer), (End::Completed, &Ok(json!({ "sum": 7 }))));
        assert_eq!(*run.progress().borrow(), (3, 4));
    }

    #[tokio::test]
    async fn a_withdrawn_run_keeps_what_it_has_done() {
        let runs = Runs::new(Config::default());
        let tenant = Tenant::local();
        let work = |job: Job| async move {
            job.withdrawn.cancelled().await;
            Ok(json!({ "steps": 5 }))
        };
        let run = runs.start(&tenant, about(), work).unwrap();
        assert!(run.outcome().is_none());
        run.cancel();
        run.ended().await;
        let outcome = run.outcome().unwrap();
        assert_eq!((outcome.end, &outcome.answer), (End::Cancelled, &Ok(json!({ "steps": 5 }))));
    }

    #[tokio::test]
    async fn somebody_elses_run_does_not_exist() {
        let runs = Runs::new(Config::default());
        let work = |_: Job| async { Ok(json!({})) };
        let run = runs.start(&Tenant::local(), about(), work).unwrap();
        let other = Tenant::named("other");
        let hidden = runs.get(&other, run.id()).unwrap_err().to_string();
        let missing = runs.get(&other, "run_0").unwrap_err().to_string();
        assert_eq!(hidden.replace(run.id(), "ID"), missing.replace("run_0", "ID"));
        assert!(runs.list(&other).is_empty());
        assert_eq!(runs.list(&Tenant::local()).len(), 1);
    }
}

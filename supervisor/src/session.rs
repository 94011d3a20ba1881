//! One session: a tenant's simulator, with whatever worker stands behind it at the moment.
//!
//! The session's `keeper` starts its worker, hears of the worker's end and decides whether
//! another one is started; everybody else holds a handle. A worker's end is told once, to the
//! session's next call: what was in the worker is lost with it.

mod keeper;
pub mod lifecycle;
mod restart;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use simward_protocol::call::Call;
use simward_protocol::fault::Fault;
use simward_protocol::session::Listen;
use tokio::sync::watch;

pub(crate) use self::keeper::{Crew, open};
use self::lifecycle::{Closed, State};
pub use self::restart::Config as RestartConfig;
use crate::code::Code;
use crate::pool::ports;
use crate::tenants::Tenant;
use crate::worker::{self, Ending, Options, StartError, Worker};

/// Whether a session has its worker to itself.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A worker process of its own: nothing that happens in another session reaches it.
    #[default]
    Process,
    /// A worker process together with the same tenant's other shared sessions. Their models do not
    /// see each other, but they share its time and its end.
    Shared,
}

/// A cheap handle to a session.
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    plan: Plan,
    status: watch::Receiver<Status>,
    close: watch::Sender<Option<Closed>>,
    port: Arc<Place>,
    usage: Usage,
}

/// Where a session keeps its port, which outlives its workers.
pub(crate) type Place = Mutex<Option<Arc<ports::Lease>>>;

/// What a session is, decided when it is created.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its handle.
    pub id: Arc<str>,
    /// Whose it is.
    pub tenant: Tenant,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whether it has its worker to itself.
    pub isolation: Isolation,
    /// How many models it may hold.
    pub models_max: u32,
    /// What a client of its port must present.
    pub token: Arc<str>,
    /// How long it may be unused.
    pub idle_timeout: Duration,
    /// How long it may live.
    pub max_age: Duration,
    /// When it was created.
    pub created: (Instant, SystemTime),
}

/// How a session stands.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Where it is in its life.
    pub state: State,
    /// The worker behind it, and its slot there.
    pub worker: Option<(Worker, u32)>,
    /// How often its worker was replaced.
    pub restarts: u64,
    /// How many workers it has lost.
    pub losses: u64,
    /// How the last of them ended.
    pub last_ending: Option<Ending>,
    /// Why there is no worker, if one could not be started.
    pub start_failed: Option<Arc<StartError>>,
}

/// How a session is used.
#[derive(Debug)]
struct Usage {
    /// Calls that are being made.
    in_flight: AtomicU64,
    /// When the last one ended, in milliseconds after creation.
    last_millis: AtomicU64,
    /// How many of its losses its owner was told of.
    told: AtomicU64,
    /// Whether anybody has named it by its handle.
    addressed: AtomicBool,
}

/// A call that was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The worker said no.
    #[error(transparent)]
    Fault(Fault),
    /// The worker ended, and with it everything in it.
    #[error(
        "the session's worker was lost: {ending}. Its models and their states are gone; a new \
         worker takes its place"
    )]
    WorkerLost {
        /// How it ended.
        ending: Ending,
    },
    /// Too many workers ended in too short a time.
    #[error(
        "the session is parked because {losses} of its workers were lost; the last one: {ending}"
    )]
    Parked {
        /// How many.
        losses: u64,
        /// How the last one ended.
        ending: Ending,
    },
    /// No worker can be started.
    #[error("the session has no worker")]
    NoWorker(#[source] Arc<StartError>),
    /// No worker was ready in time.
    #[error("the session's new worker is not ready yet")]
    Restarting,
    /// The session has ended.
    #[error("session `{id}` does not exist, or has ended or expired")]
    Closed {
        /// The handle.
        id: String,
    },
    /// Too many calls wait already.
    #[error("{max} calls of the session wait already")]
    Busy {
        /// The limit.
        max: usize,
    },
    /// The worker answered another question.
    #[error("the worker answered another question")]
    WrongReply,
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code(),
            Self::WorkerLost { .. } => "worker_lost",
            Self::Parked { .. } => "session_parked",
            Self::NoWorker(error) => error.code(),
            Self::Restarting => "worker_starting",
            Self::Closed { .. } => "session_unknown",
            Self::Busy { .. } => "busy",
            Self::WrongReply => "internal_error",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Fault(fault) => fault.hint()?,
            Self::WorkerLost { ending } if ending.kind == worker::Kind::Spinning => {
                "one step may have taken longer than pool.hang_after_secs; load a smaller model"
            }
            Self::WorkerLost { .. } => "load the model again",
            Self::Parked { .. } => "close this session and create another one",
            Self::Closed { .. } => "call create_session to start a new one",
            Self::NoWorker(_) | Self::Restarting | Self::Busy { .. } | Self::WrongReply => {
                return None;
            }
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Restarting => Some(Duration::from_millis(500)),
            Self::Busy { .. } => Some(Duration::from_millis(100)),
            Self::NoWorker(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenPortError {
    /// There is none.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// The worker could not be asked.
    #[error(transparent)]
    Call(#[from] Error),
}

impl Code for OpenPortError {
    fn code(&self) -> &'static str {
        match self {
            Self::Port(error) => error.code(),
            Self::Call(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Port(error) => error.hint(),
            Self::Call(error) => error.hint(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Port(error) => error.retry_after(),
            Self::Call(error) => error.retry_after(),
        }
    }
}

/// How long a call waits for a worker that is being started.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// How long the news of a worker's end may lag behind the end of a call that it took along.
const NEWS_LAG: Duration = Duration::from_secs(2);

impl Session {
    /// What the session is.
    pub fn plan(&self) -> &Plan {
        &self.inner.plan
    }

    /// How it stands.
    pub fn status(&self) -> watch::Ref<'_, Status> {
        self.inner.status.borrow()
    }

    /// For how long nobody has used it.
    pub fn idle(&self) -> Duration {
        let usage = &self.inner.usage;
        if usage.in_flight.load(Ordering::Relaxed) != 0 || self.is_running() {
            self.touch();
            return Duration::ZERO;
        }
        let last = Duration::from_millis(usage.last_millis.load(Ordering::Relaxed));
        self.age().saturating_sub(last)
    }

    /// How old it is.
    pub fn age(&self) -> Duration {
        self.inner.plan.created.0.elapsed()
    }

    /// Its owner has named it by its handle, which counts as use.
    pub fn address(&self) {
        self.touch();
        self.inner.usage.addressed.store(true, Ordering::Relaxed);
    }

    /// Whether its owner has ever named it by its handle.
    pub fn is_addressed(&self) -> bool {
        self.inner.usage.addressed.load(Ordering::Relaxed)
    }

    /// Its port, leased for as long as the session lives.
    pub fn port(&self) -> Option<Arc<ports::Lease>> {
        self.inner.port.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the session's port, if it has none yet.
    pub async fn open_port(&self, ports: &ports::Ports) -> Result<(), OpenPortError> {
        let lease = {
            let mut place = self.inner.port.lock().unwrap_or_else(PoisonError::into_inner);
            if place.is_some() {
                return Ok(());
            }
            Arc::clone(place.insert(Arc::new(ports.lease()?)))
        };
        let attached = Some(Arc::new(lease.socket()?));
        self.call(Listen {}, Options { attached, ..Options::default() }).await?;
        Ok(())
    }

    /// Asks the session's worker.
    pub async fn call<C: Call>(&self, call: C, options: Options) -> Result<C::Reply, Error> {
        let _using = Using::enter(&self.inner);
        let (worker, slot, losses) = self.worker().await?;
        match worker.call(slot, call, options).await {
            Ok(reply) => Ok(reply),
            Err(worker::Error::Fault(fault)) => Err(Error::Fault(fault)),
            Err(worker::Error::WrongReply) => Err(Error::WrongReply),
            Err(worker::Error::Busy { max }) => Err(Error::Busy { max }),
            Err(worker::Error::Ended(ending)) => Err(self.lost(ending, losses).await),
        }
    }

    /// Ends the session; returns once its worker is gone or has let go of it.
    pub async fn close(&self, why: Closed) {
        self.inner.close.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(why);
            first
        });
        self.closed().await;
    }

    /// Waits until the session is gone.
    pub async fn closed(&self) {
        let mut status = self.inner.status.clone();
        // An error means that the keeper is gone, and the session with it.
        status.wait_for(|status| matches!(status.state, State::Closed(_))).await.ok();
    }

    /// The worker that takes calls now, with the number of losses so far.
    async fn worker(&self) -> Result<(Worker, u32, u64), Error> {
        if let Some(found) = self.judge(&self.status())? {
            return Ok(found);
        }
        let mut status = self.inner.status.clone();
        let settled = status.wait_for(|status| !status.state.is_passing());
        match tokio::time::timeout(START_PATIENCE, settled).await {
            Ok(Ok(status)) => self.judge(&status)?.ok_or(Error::Restarting),
            Ok(Err(_gone)) => Err(self.gone()),
            Err(_elapsed) => Err(Error::Restarting),
        }
    }

    /// What a call meets: a worker, a refusal, or (nothing) a worker to be waited for.
    fn judge(&self, status: &Status) -> Result<Option<(Worker, u32, u64)>, Error> {
        let Status { losses, last_ending, .. } = status;
        if let (State::Parked, Some(ending)) = (status.state, last_ending) {
            return Err(Error::Parked { losses: *losses, ending: ending.clone() });
        }
        if let State::Closed(_) = status.state {
            return Err(self.gone());
        }
        // Every loss is told once, and before anything else happens.
        let told = self.inner.usage.told.swap(*losses, Ordering::Relaxed);
        if let (true, Some(ending)) = (told < *losses, last_ending) {
            return Err(Error::WorkerLost { ending: ending.clone() });
        }
        match (status.state, &status.worker, &status.start_failed) {
            (State::Ready, Some((worker, slot)), _) => Ok(Some((worker.clone(), *slot, *losses))),
            (_, _, Some(error)) => Err(Error::NoWorker(Arc::clone(error))),
            _ => Ok(None),
        }
    }

    /// A call was lost with its worker: its caller is told here, and not again.
    async fn lost(&self, ending: Ending, losses_before: u64) -> Error {
        let mut status = self.inner.status.clone();
        let news = status.wait_for(|status| {
            losses_before < status.losses || matches!(status.state, State::Closed(_))
        });
        match tokio::time::timeout(NEWS_LAG, news).await {
            Ok(Ok(status)) if matches!(status.state, State::Closed(_)) => self.gone(),
            _ => {
                self.inner.usage.told.fetch_max(losses_before + 1, Ordering::Relaxed);
                Error::WorkerLost { ending }
            }
        }
    }

    fn gone(&self) -> Error {
        Error::Closed { id: self.inner.plan.id.to_string() }
    }

    fn is_running(&self) -> bool {
        let status = self.status();
        status.worker.as_ref().is_some_and(|(worker, _)| worker.status().vitals.running)
    }

    fn touch(&self) {
        touch(&self.inner);
    }
}

fn touch(inner: &Inner) {
    let age = inner.plan.created.0.elapsed().as_millis();
    inner.usage.last_millis.store(u64::try_from(age).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// A session in use.
struct Using<'a>(&'a Inner);

impl<'a> Using<'a> {
    fn enter(inner: &'a Inner) -> Self {
        inner.usage.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(inner)
    }
}

impl Drop for Using<'_> {
    fn drop(&mut self) {
        touch(self.0);
        self.0.usage.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

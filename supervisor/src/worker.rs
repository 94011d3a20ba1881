//! A worker, as the rest of the daemon sees it: it takes calls, and it ends.
//!
//! A worker serves one session, or several sessions of one tenant, each in a slot. Only its
//! `driver` touches the process; everybody else holds a cheap handle.

mod driver;
mod ending;
mod health;
mod launch;
pub mod lifecycle;
mod limiting;
mod link;
mod waits;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use simward_protocol::call::{Call, Reply, Request};
use simward_protocol::fault::Fault;
use simward_protocol::handshake::Hello;
use simward_protocol::session::Vitals;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::ending::is_of_memory;
pub use self::ending::{Ending, Kind};
use self::lifecycle::State;
use self::limiting::Handle as Limiting;
pub use self::limiting::{Held, LimitError};
pub(crate) use self::link::Link;
use crate::code::Code;
use crate::pool::accounts::Member;
use crate::pool::groups::Limits;
use crate::pool::layers::Role;
use crate::pool::process::Presence;
use crate::pool::{Pool, turns};
use crate::spans::phases;
use crate::tenants::Tenant;

/// How many calls may wait for one worker.
const QUEUE_CALLS_MAX: usize = 256;

/// A cheap handle to a worker. The worker is stopped when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Worker {
    calls: mpsc::Sender<Pending>,
    // Apart from the queue of calls, so that a stop never waits behind them.
    stop: watch::Sender<Wish>,
    status: watch::Receiver<Status>,
    limiting: Limiting,
    facts: Arc<Facts>,
}

/// What is known of a worker and does not change.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its process's id.
    pub pid: i32,
    /// Whether that process is still there, and the id its own.
    pub presence: Presence,
    /// When it was started.
    pub started: Instant,
    /// What it said of itself.
    pub hello: Hello,
}

/// How a worker stands.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Where it is in its life.
    pub state: State,
    /// What it last told of itself.
    pub vitals: Vitals,
    /// How it ended, once it has.
    pub ending: Option<Ending>,
    /// The call that it was asked and has not answered, once it has ended.
    pub unanswered: Option<u64>,
}

/// What is wanted of a worker's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    #[default]
    Live,
    Stop,
    Kill,
}

/// A call in the queue.
#[derive(Debug)]
struct Pending {
    slot: u32,
    request: Request,
    options: Options,
    answer: oneshot::Sender<Answer>,
}

/// What becomes of a call.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is moved once, and rarely the smaller one")]
enum Answer {
    /// The worker answered.
    Given {
        /// What.
        outcome: Result<Reply, Fault>,
        /// Between which moments it had the call.
        served: (Instant, Instant),
    },
    /// The worker ended before it was asked: the call may be made of another one.
    Unasked(Request),
}

/// How a call is to be made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Descriptors that travel with it.
    pub attached: Vec<Arc<OwnedFd>>,
    /// How long it may take without showing progress, where that is longer than usual.
    pub patience: Option<Duration>,
    /// How long it may take in all, whatever progress the worker shows.
    pub within: Option<Duration>,
    /// Where its progress is told: steps taken, of steps asked for.
    pub progress: Option<watch::Sender<(u64, u64)>>,
    /// Withdraws it: what was done so far is kept, and answered.
    pub withdrawn: CancellationToken,
}

/// A call that was not answered with a reply.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The worker said no.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The worker ended before it answered.
    #[error("the worker ended: {0}")]
    Ended(Ending),
    /// The worker ended before it was asked: here is the call again.
    #[error("the worker ended before it was asked")]
    Unasked(Box<Request>),
    /// Too many calls wait already.
    #[error("{max} calls wait already")]
    Busy {
        /// The limit.
        max: usize,
    },
    /// The worker answered another question.
    #[error("the worker answered another question")]
    WrongReply,
}

/// A worker that did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Too many are starting.
    #[error(transparent)]
    Busy(#[from] turns::Error),
    /// The system started no process.
    #[error("no process could be started")]
    Spawn(#[source] std::io::Error),
    /// The session's port could not be handed over.
    #[error("the session's port could not be handed over")]
    Port(#[source] crate::pool::ports::Error),
    /// The process did not become a worker.
    #[error("the worker did not start: {0}")]
    Ended(Ending),
    /// It is not as isolated as it must be.
    #[error("the worker lacks isolation layers that pool.require_layers names: {}", .missing.join(", "))]
    Weak {
        /// What it lacks.
        missing: Vec<String>,
    },
}

impl Code for StartError {
    fn code(&self) -> &'static str {
        match self {
            Self::Busy(error) => error.code(),
            Self::Spawn(_) | Self::Port(_) | Self::Ended(_) | Self::Weak { .. } => {
                "worker_start_failed"
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(error) => error.retry_after(),
            Self::Spawn(_) | Self::Port(_) | Self::Ended(_) | Self::Weak { .. } => {
                Some(Duration::from_secs(1))
            }
        }
    }
}

impl Worker {
    /// Starts a worker for a tenant, and returns once it takes calls. One that lacks a layer that it
    /// must have is ended again.
    pub async fn start(
        pool: &Pool,
        tenant: &Tenant,
        limits: Limits,
        member: Member,
    ) -> Result<Self, StartError> {
        let worker = Self::start_anyhow(pool, tenant, limits, Some(member)).await?;
        let missing = pool.lacking(Role::Simulate, &worker.facts.hello.layers);
        if missing.is_empty() {
            return Ok(worker);
        }
        worker.stop().await;
        Err(StartError::Weak { missing })
    }

    /// Starts a worker however well it is isolated, to have a look at it.
    pub async fn start_anyhow(
        pool: &Pool,
        tenant: &Tenant,
        limits: Limits,
        member: Option<Member>,
    ) -> Result<Self, StartError> {
        let turn = pool.gate().enter(tenant).await?;
        let starting = launch::launch(pool, limits, member).await.map_err(StartError::Spawn)?;
        let (calls, pending) = mpsc::channel(QUEUE_CALLS_MAX);
        let (stop, wish) = watch::channel(Wish::Live);
        let (publish, mut status) = watch::channel(Status::default());
        let (said, hello) = oneshot::channel();
        let (pid, presence) = (starting.pid(), starting.presence());
        let started = starting.started();
        let (limiting, limited) = limiting::handle(&starting.guard);
        tokio::spawn(starting.run(driver::Ends {
            pending,
            wish,
            publish,
            said: Some(said),
            limited,
        }));
        let hello = hello.await;
        drop(turn);
        match hello {
            Ok(hello) => {
                pool.tally().ready(started.elapsed());
                let facts = Arc::new(Facts { pid, presence, started, hello });
                Ok(Self { calls, stop, status, limiting, facts })
            }
            Err(_ended) => Err(StartError::Ended(ending_of(&mut status).await)),
        }
    }

    /// What is known of it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether that is a handle to the same worker.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.facts, &other.facts)
    }

    /// How it stands.
    pub fn status(&self) -> watch::Ref<'_, Status> {
        self.status.borrow()
    }

    /// Asks it, and waits for the answer. Whoever stops waiting withdraws the call.
    pub async fn call<C: Call>(
        &self,
        slot: u32,
        call: C,
        options: Options,
    ) -> Result<C::Reply, Error> {
        let withdrawn = options.withdrawn.clone();
        let _withdraw_if_dropped = withdrawn.drop_guard();
        C::reply(self.ask(slot, call.into(), options).await?).ok_or(Error::WrongReply)
    }

    /// Asks it, and waits for the answer. Whoever stops waiting sees to the call's withdrawal.
    pub async fn ask(&self, slot: u32, request: Request, options: Options) -> Result<Reply, Error> {
        let (answer, answered) = oneshot::channel();
        match self.calls.try_send(Pending { slot, request, options, answer }) {
            Ok(()) => (),
            Err(TrySendError::Full(_)) => return Err(Error::Busy { max: QUEUE_CALLS_MAX }),
            Err(TrySendError::Closed(pending)) => {
                return Err(Error::Unasked(Box::new(pending.request)));
            }
        }
        match answered.await {
            Ok(Answer::Given { outcome, served: (asked, answered) }) => {
                phases::served(asked, answered);
                Ok(outcome?)
            }
            Ok(Answer::Unasked(request)) => Err(Error::Unasked(Box::new(request))),
            Err(_dropped) => Err(Error::Ended(self.ended().await)),
        }
    }

    /// Waits until it has ended, and tells how.
    pub async fn ended(&self) -> Ending {
        ending_of(&mut self.status.clone()).await
    }

    /// Asks it to end, tells it to, and makes it; returns once it has.
    pub async fn stop(&self) -> Ending {
        self.wish(Wish::Stop);
        self.ended().await
    }

    /// Ends it at once; returns once it has ended.
    pub async fn kill(&self) -> Ending {
        self.wish(Wish::Kill);
        self.ended().await
    }

    fn wish(&self, wish: Wish) {
        self.stop.send_if_modified(|current| {
            let stronger = *current < wish;
            *current = (*current).max(wish);
            stronger
        });
    }
}

async fn ending_of(status: &mut watch::Receiver<Status>) -> Ending {
    // The driver publishes an ending before it goes; if it panicked, there is none.
    let ended = status.wait_for(|status| status.ending.is_some()).await;
    let ending = ended.ok().and_then(|status| status.ending.clone());
    ending.unwrap_or_else(|| Ending::of(Kind::Lost))
}

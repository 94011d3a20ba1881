//! One session: a tenant's simulator, with whatever worker stands behind it at the moment.
//!
//! The session's `keeper` starts its worker, hears of the worker's end, starts another one and
//! brings it to where the last one was; everybody else holds a handle. What the session holds
//! outlives its workers; a call that was in flight when one ended is refused, and what it did is
//! undone.

mod crew;
mod error;
mod holdings;
mod keeper;
pub mod lifecycle;
mod limiting;
mod meter;
mod models;
mod plan;
mod recordings;
mod replacing;
mod restart;
mod snapshots;
mod usage;
mod viewers;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use simward_protocol::call::{Call, Reply, Request};
use simward_protocol::model::Restored;
use simward_protocol::session::Listen;
use tokio::sync::watch;

pub(crate) use self::crew::Crew;
pub use self::crew::Error as StartError;
pub use self::error::{AwakeError, Error, Fate, OpenPortError};
pub(crate) use self::holdings::Holdings;
use self::keeper::Signals;
pub(crate) use self::keeper::{Parts, open, take_up};
use self::lifecycle::{Closed, State};
pub use self::limiting::{Hold, Limited, LimitsError};
pub use self::meter::Meter;
pub(crate) use self::models::Copied;
pub use self::models::{MODEL_ID_CHARS_MAX, is_model_id};
pub use self::plan::{Allowed, Birth, MayUse, Plan};
pub use self::recordings::{Config as RecordingsConfig, Started as RecordingStarted};
pub(crate) use self::recordings::{Kept as KeptRecording, is_recording_id};
pub use self::replacing::Edition;
pub use self::restart::Config as RestartConfig;
pub use self::snapshots::{SNAPSHOTS_MAX, Snapshot};
use self::usage::{Asking, Usage, Using, only_looks};
pub use self::viewers::Viewer;
use crate::pool::accounts::Account;
use crate::pool::ports;
use crate::spans::phases;
use crate::worker::{self, Ending, Options, Worker};

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
    usage: Arc<Usage>,
    signals: Arc<Signals>,
    holdings: Arc<Holdings>,
    /// Held while the port is opened.
    opening: tokio::sync::Mutex<()>,
    /// Held by whoever changes its limits.
    limiting: Arc<tokio::sync::Mutex<()>>,
    /// Held by whoever puts one model in another one's place, and shared by those who need a model
    /// to stay what it is between two calls.
    changing: tokio::sync::RwLock<()>,
}

/// Where a session keeps its port, which outlives its workers.
pub(crate) type Place = Mutex<Option<Arc<ports::Lease>>>;

/// How a session stands.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Where it is in its life.
    pub state: State,
    /// The worker behind it, and its slot there.
    pub worker: Option<(Worker, u32)>,
    /// What that counts of its steps.
    pub meter: Option<Meter>,
    /// The account that it has a share of, as long as it has a worker.
    pub account: Option<Arc<Account>>,
    /// Whether other sessions may be in the same worker.
    pub is_shared: bool,
    /// How often its worker was replaced.
    pub restarts: u64,
    /// How many workers it has lost.
    pub losses: u64,
    /// How the last of them ended.
    pub last_ending: Option<Ending>,
    /// What the last worker brought back when it started.
    pub restored: Arc<[Restored]>,
    /// Why there is no worker, if one could not be started.
    pub start_failed: Option<Arc<StartError>>,
    /// How often none could be started.
    pub starts_failed: u64,
}

impl Status {
    /// There is no worker any more.
    fn leave_worker(&mut self) {
        (self.worker, self.meter, self.account) = (None, None, None);
    }

    /// Whether a call that waits for a worker has waited enough.
    fn is_settled(&self, starts_failed_before: u64) -> bool {
        match self.state {
            State::Asleep => self.starts_failed != starts_failed_before,
            state => !state.is_passing() || self.start_failed.is_some(),
        }
    }
}

/// How long a call waits for a worker that is being started.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// How long a call that was lost with its worker waits for the session's return, which it tells of.
const RETURN_PATIENCE: Duration = Duration::from_secs(10);

/// How long a session may take to fall asleep.
const SLEEP_PATIENCE: Duration = Duration::from_secs(10);

/// A worker that takes calls, its slot, and the losses before it. It stays while this is held.
type Found<'a> = (Worker, u32, u64, Asking<'a>);

impl Session {
    /// What the session is.
    pub fn plan(&self) -> &Plan {
        &self.inner.plan
    }

    /// How it stands.
    pub fn status(&self) -> watch::Ref<'_, Status> {
        self.inner.status.borrow()
    }

    /// Whether it is gone, and may be found only for a moment more.
    pub fn is_closed(&self) -> bool {
        matches!(self.status().state, State::Closed(_))
    }

    /// What it holds.
    pub(crate) fn holdings(&self) -> &Arc<Holdings> {
        &self.inner.holdings
    }

    /// For how long nobody has used it.
    pub fn idle(&self) -> Duration {
        if self.is_running() {
            self.inner.usage.touch();
        }
        self.inner.usage.idle()
    }

    /// How old it is.
    pub fn age(&self) -> Duration {
        self.inner.plan.birth.age()
    }

    /// Its owner has named it by its handle, which counts as use.
    pub fn address(&self) {
        self.inner.usage.address();
    }

    /// Whether its owner has ever named it by its handle.
    pub fn is_addressed(&self) -> bool {
        self.inner.usage.is_addressed()
    }

    /// A number that grows with whatever may have changed its models.
    pub fn changes(&self) -> u64 {
        self.inner.usage.changes()
    }

    /// Its port, leased for as long as the session is awake.
    pub fn port(&self) -> Option<Arc<ports::Lease>> {
        self.inner.port.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the session's port, if it has none yet.
    pub async fn open_port(&self, ports: &ports::Ports) -> Result<(), OpenPortError> {
        let _using = Using::enter(&self.inner.usage);
        // It may get one with its worker.
        self.wake().await?;
        let _opening = self.inner.opening.lock().await;
        if self.port().is_some() {
            return Ok(());
        }
        let lease = Arc::new(ports.lease()?);
        let attached = vec![Arc::new(lease.socket()?)];
        let options = Options { attached, ..Options::default() };
        // The session has it only once somebody answers there.
        if !self.call(Listen {}, options).await?.listening {
            return Err(Error::WrongReply.into());
        }
        *self.inner.port.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
        Ok(())
    }

    /// Asks the session's worker.
    pub async fn call<C: Call>(&self, call: C, options: Options) -> Result<C::Reply, Error> {
        let withdrawn = options.withdrawn.clone();
        let _withdraw_if_dropped = withdrawn.drop_guard();
        let (reply, _) = self.ask(call.into(), options).await?;
        C::reply(reply).ok_or(Error::WrongReply)
    }

    /// Asks one worker of the session, and no other one. A session that sleeps is not woken.
    pub(crate) async fn call_only<C: Call>(
        &self,
        (worker, slot): (&Worker, u32),
        call: C,
    ) -> Result<C::Reply, worker::Error> {
        let _using = Using::enter(&self.inner.usage);
        let _asking = Asking::enter(&self.inner.usage);
        let within = Some(self.inner.plan.call_within);
        worker.call(slot, call, Options { within, ..Options::default() }).await
    }

    /// Asks the session's worker; if that ends before it was asked, the next one. Tells also how
    /// many workers were lost before the one that answered.
    async fn ask(&self, mut request: Request, mut options: Options) -> Result<(Reply, u64), Error> {
        // One that may be silent for long may take long.
        let silent = options.patience.unwrap_or_default() * 2;
        let within = self.inner.plan.call_within.max(silent);
        options.within = options.within.or(Some(within));
        let _using = Using::enter(&self.inner.usage);
        // Until the worker says since when it was asked.
        let _waiting = phases::waiting();
        loop {
            let (worker, slot, losses, asking) = self.worker().await?;
            if matches!(request, Request::Run(_)) {
                self.inner.usage.run_begun(true);
            }
            let looks = only_looks(&request);
            let outcome = worker.ask(slot, request, options.clone()).await;
            drop(asking);
            if !looks {
                self.inner.usage.changed();
            }
            match outcome {
                Ok(reply) => return Ok((reply, losses)),
                Err(worker::Error::Fault(fault)) => return Err(Error::Fault(fault)),
                Err(worker::Error::WrongReply) => return Err(Error::WrongReply),
                Err(worker::Error::Busy { max }) => return Err(Error::Busy { max }),
                Err(worker::Error::Ended(ending)) => return Err(self.lost(ending, losses).await),
                Err(worker::Error::Unasked(again)) => {
                    request = *again;
                    self.hear_of_loss(losses).await?;
                }
            }
        }
    }

    /// Gives a parked session another chance.
    pub async fn revive(&self) -> Result<(), Error> {
        let starts_failed = {
            let status = self.status();
            if status.state != State::Parked {
                return Ok(());
            }
            status.starts_failed
        };
        let mut status = self.inner.status.clone();
        self.inner.signals.revive.notify_one();
        let revived = status.wait_for(|status| {
            !matches!(status.state, State::Parked | State::Starting | State::Waiting)
                || status.starts_failed != starts_failed
        });
        match tokio::time::timeout(START_PATIENCE, revived).await {
            Ok(Ok(status)) => match (status.state, &status.start_failed) {
                (State::Closing(_) | State::Closed(_), _) => Err(self.gone()),
                (_, Some(error)) => Err(Error::NoWorker(Arc::clone(error))),
                _ => Ok(()),
            },
            Ok(Err(_gone)) => Err(self.gone()),
            Err(_elapsed) => Err(Error::Restarting),
        }
    }

    /// Gives the session another worker, in the state that was last acknowledged. A call that is
    /// under way is refused.
    pub async fn replace_worker(&self) -> Result<(), Error> {
        // One that nobody uses sleeps for a moment; but a worker that others use stays with them.
        let is_shared = self.status().is_shared;
        if is_shared || self.hibernate().await.is_err() {
            let (worker, losses) = {
                let status = self.status();
                (status.worker.clone(), status.losses)
            };
            if let Some((worker, _)) = worker {
                worker.kill().await;
                self.hear_of_loss(losses).await?;
            }
        }
        self.revive().await?;
        self.wake().await
    }

    /// Sees to it that the session has a worker.
    pub async fn wake(&self) -> Result<(), Error> {
        self.worker().await.map(drop)
    }

    /// Lets the session sleep if nobody uses it.
    pub fn may_sleep(&self) {
        if self.status().state == State::Ready {
            self.inner.signals.sleep.notify_one();
        }
    }

    /// Puts the session to sleep; returns once its worker is gone or has let go of it.
    pub async fn hibernate(&self) -> Result<(), AwakeError> {
        let state = self.status().state;
        match state {
            State::Asleep => return Ok(()),
            State::Dozing => (),
            State::Ready if self.is_running() => return Err(AwakeError::Running),
            State::Ready if self.inner.usage.is_asking() => return Err(AwakeError::InUse),
            State::Ready => (),
            _ => return Err(AwakeError::State(state)),
        }
        self.inner.signals.sleep.notify_one();
        let mut status = self.inner.status.clone();
        let asleep =
            status.wait_for(|status| !matches!(status.state, State::Ready | State::Dozing));
        match tokio::time::timeout(SLEEP_PATIENCE, asleep).await {
            Ok(Ok(status)) if status.state == State::Asleep => Ok(()),
            Ok(Ok(status)) => Err(AwakeError::State(status.state)),
            Ok(Err(_)) | Err(_) => Err(AwakeError::InUse),
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

    /// The worker that takes calls now. A session that sleeps is woken.
    async fn worker(&self) -> Result<Found<'_>, Error> {
        // Counted before the look: a session is put to sleep only if nobody is counted.
        let asking = Asking::enter(&self.inner.usage);
        let starts_failed = {
            let status = self.status();
            if let Some((worker, slot, losses)) = self.judge(&status)? {
                return Ok((worker, slot, losses, asking));
            }
            status.starts_failed
        };
        self.inner.signals.wake.notify_one();
        let mut status = self.inner.status.clone();
        let settled = status.wait_for(|status| status.is_settled(starts_failed));
        match tokio::time::timeout(START_PATIENCE, settled).await {
            Ok(Ok(status)) => match self.judge(&status)? {
                Some((worker, slot, losses)) => Ok((worker, slot, losses, asking)),
                None => Err(status
                    .start_failed
                    .as_ref()
                    .map_or(Error::Restarting, |error| Error::NoWorker(Arc::clone(error)))),
            },
            Ok(Err(_gone)) => Err(self.gone()),
            Err(_elapsed) => Err(Error::Restarting),
        }
    }

    /// What a call meets: a worker, a refusal, or (nothing) a worker to be waited for.
    fn judge(&self, status: &Status) -> Result<Option<(Worker, u32, u64)>, Error> {
        let Status { losses, last_ending, start_failed, .. } = status;
        match (status.state, &status.worker) {
            (State::Ready, Some((worker, slot))) => Ok(Some((worker.clone(), *slot, *losses))),
            (State::Closing(_) | State::Closed(_), _) => Err(self.gone()),
            (State::Parked, _) => Err(match (start_failed, last_ending) {
                (None, Some(ending)) => Error::Parked { losses: *losses, ending: ending.clone() },
                (Some(error), _) => Error::NoWorker(Arc::clone(error)),
                (None, None) => Error::Restarting,
            }),
            // Nobody tries again at once what has just failed.
            (State::Waiting, _) => match start_failed {
                Some(error) => Err(Error::NoWorker(Arc::clone(error))),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Waits until the keeper has heard what a caller has: the worker is gone.
    async fn hear_of_loss(&self, losses_before: u64) -> Result<(), Error> {
        let mut status = self.inner.status.clone();
        let news = status
            .wait_for(|status| status.state != State::Ready || losses_before != status.losses);
        match tokio::time::timeout(START_PATIENCE, news).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_gone)) => Err(self.gone()),
            Err(_elapsed) => Err(Error::Restarting),
        }
    }

    /// A call was lost with its worker: tells what became of the session.
    async fn lost(&self, ending: Ending, losses_before: u64) -> Error {
        let mut status = self.inner.status.clone();
        let news =
            status.wait_for(|status| losses_before < status.losses && !status.state.is_passing());
        let fate = match tokio::time::timeout(RETURN_PATIENCE, news).await {
            Ok(Ok(status)) => match status.state {
                State::Closed(_) => return self.gone(),
                State::Ready | State::Asleep if status.start_failed.is_none() => {
                    Fate::Restored(Arc::clone(&status.restored))
                }
                _ => Fate::Kept,
            },
            Ok(Err(_gone)) => return self.gone(),
            Err(_elapsed) => Fate::Returning,
        };
        Error::WorkerLost { ending, fate }
    }

    /// A change was interrupted by a loss after the worker had made it.
    fn interrupted(&self) -> Error {
        let status = self.status();
        let ending = status.last_ending.clone();
        let ending = ending.unwrap_or_else(|| Ending::of(worker::Kind::Lost));
        Error::WorkerLost { ending, fate: Fate::Restored(Arc::clone(&status.restored)) }
    }

    fn gone(&self) -> Error {
        Error::Closed { id: self.inner.plan.id.to_string() }
    }

    fn is_running(&self) -> bool {
        self.inner.usage.is_running(&self.status())
    }
}

//! Who gives sessions their workers, and brings what a session holds into them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use simward_protocol::fault::Fault;
use simward_protocol::model::{RestoreModel, Restored};
use simward_protocol::session::{CloseSession, OpenSession};
use simward_protocol::viewer::AdmitViewers;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::holdings::{Held, Holdings};
use super::limiting::{self, may_use, terms};
use super::meter::Meter;
use super::{Isolation, Plan};
use crate::code::Code;
use crate::limits::TenantAllowance;
use crate::pool::accounts::{self, Account, Accounts, Awake};
use crate::pool::headroom::Level;
use crate::pool::{Pool, ports};
use crate::store;
use crate::tenants::Tenant;
use crate::worker::{self, Ending, Kind, Options, StartError, Worker};

/// How long a worker may take to load a compiled model, which shows no progress.
pub(super) const LOAD_PATIENCE: Duration = Duration::from_secs(30);

/// How long a session waits until another one was put to sleep for it.
const SEAT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a worker may take for what it is asked while a session starts in it.
const WITHIN: Option<Duration> = Some(Duration::from_mins(1));

/// How long who leaves a shared worker waits before it tries again.
const CLOSE_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked for one.
const SEAT_ROUND: Duration = Duration::from_millis(250);

/// No worker, or not one in which the session goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No worker started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Too many sessions are awake.
    #[error("{max} sessions are awake already, and none of them is idle (sessions.awake_max)")]
    NoSeat {
        /// The limit.
        max: usize,
    },
    /// The machine has no room.
    #[error("the machine has no room for another simulator: {0}")]
    Overloaded(String),
    /// The tenant has not so much memory left.
    #[error(transparent)]
    TenantMemory(#[from] accounts::Full),
    /// No port.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// A model cannot be brought back.
    #[error("the model `{model_id}` cannot be brought back")]
    Model {
        /// The model.
        model_id: String,
        /// Why.
        #[source]
        why: Unrestorable,
    },
}

/// Why a model cannot be brought back.
#[derive(Debug, thiserror::Error)]
pub enum Unrestorable {
    /// Its compiled form is gone.
    #[error("its compiled model is not there any more")]
    Gone,
    /// What was kept cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The worker says no.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Error {
    /// Whether another try may do better.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Model { why: Unrestorable::Store(error), .. } => {
                matches!(error, store::Error::Damaged { .. })
            }
            Self::Model { .. } => true,
            _ => false,
        }
    }

    /// Whether it is for want of room, which no other try would find either.
    pub(super) fn is_for_want_of_room(&self) -> bool {
        match self {
            Self::NoSeat { .. } | Self::Overloaded(_) | Self::TenantMemory(_) | Self::Port(_) => {
                true
            }
            Self::Start(error) => matches!(error, StartError::Busy(_)),
            Self::Model { .. } => false,
        }
    }
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Start(error) => error.code(),
            Self::NoSeat { .. } | Self::Overloaded(_) => "overloaded",
            Self::TenantMemory(_) => "tenant_memory_exhausted",
            Self::Port(error) => error.code(),
            Self::Model { why: Unrestorable::Store(error), .. } => error.code(),
            Self::Model { .. } => "checkpoint_unusable",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TenantMemory(full) => Some(full.hint()),
            Self::Port(error) => error.hint(),
            Self::Model { why: Unrestorable::Store(error), .. } if !self.is_final() => error.hint(),
            Self::Model { .. } => {
                Some("this session cannot go on: close_session it, and create another one".into())
            }
            Self::Start(_) | Self::NoSeat { .. } | Self::Overloaded(_) => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Start(error) => error.retry_after(),
            Self::NoSeat { .. } | Self::Overloaded(_) => Some(Duration::from_secs(5)),
            Self::Port(error) => error.retry_after(),
            Self::Model { why: Unrestorable::Store(error), .. } => error.retry_after(),
            Self::TenantMemory(_) | Self::Model { .. } => None,
        }
    }
}

/// Who gives sessions their workers.
#[derive(Debug)]
pub(crate) struct Crew {
    pool: Pool,
    accounts: Accounts,
    /// Seats for sessions that have a worker.
    seats: Arc<Semaphore>,
    seats_max: usize,
    /// Told when there are too few.
    short: Arc<Notify>,
    /// The worker that a tenant's shared sessions share, while there is one.
    shared: Mutex<BTreeMap<Tenant, Arc<tokio::sync::Mutex<Weak<Shared>>>>>,
}

/// A worker with several slots. It stops with the last session.
#[derive(Debug)]
struct Shared {
    worker: Worker,
    next_slot: AtomicU32,
}

/// A session's place in a worker.
pub(super) struct Berth {
    pub(super) worker: Worker,
    pub(super) slot: u32,
    pub(super) meter: Meter,
    /// Keeps a shared worker for as long as anybody uses it.
    shared: Option<Arc<Shared>>,
    /// Its share of what the tenant's sessions use together.
    awake: Awake,
    _seat: OwnedSemaphorePermit,
}

impl Drop for Berth {
    /// A slot of a shared worker is freed however the session leaves it. (A worker of its own stops
    /// when its last handle is dropped.)
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            tokio::spawn(close_slot(self.worker.clone(), self.slot, shared));
        }
    }
}

/// Waits for the others' calls, which is nobody's concern who leaves.
async fn close_slot(worker: Worker, slot: u32, shared: Arc<Shared>) {
    // The last of them takes the worker along.
    drop(shared);
    worker.forget_terms(slot);
    while let Err(worker::Error::Busy { .. }) =
        worker.call(slot, CloseSession {}, Options::default()).await
    {
        tokio::time::sleep(CLOSE_PAUSE).await;
    }
}

impl Crew {
    pub(crate) fn new(pool: Pool, seats_max: usize, tenants: TenantAllowance) -> Self {
        let seats = Arc::new(Semaphore::new(seats_max.max(1)));
        let accounts = Accounts::new(pool.groups().clone(), tenants);
        let (short, shared) = (Arc::default(), Mutex::default());
        Self { pool, accounts, seats, seats_max, short, shared }
    }

    /// The machine.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What tenants' sessions may use together.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Told when a session waits for another one to be put to sleep.
    pub(crate) fn short(&self) -> &Arc<Notify> {
        &self.short
    }

    pub(super) async fn berth(&self, plan: &Plan) -> Result<Berth, Error> {
        let room = self.pool.room();
        if room.level() == Level::Full {
            return Err(Error::Overloaded(room.to_string()));
        }
        let seat = self.seat().await?;
        let meter = Meter::new().map_err(StartError::Spawn)?;
        match plan.isolation {
            Isolation::Process => {
                let worker = self.start(plan).await?;
                let awake = self.accounts.of(&plan.tenant).wake();
                Ok(Berth { worker, slot: 0, meter, shared: None, awake, _seat: seat })
            }
            Isolation::Shared => self.shared_berth(plan, meter, seat).await,
        }
    }

    async fn start(&self, plan: &Plan) -> Result<Worker, Error> {
        let limits = may_use(plan);
        let member = self.accounts.of(&plan.tenant).admit(&limits)?;
        Ok(Worker::start(&self.pool, &plan.tenant, limits, member).await?)
    }

    async fn seat(&self) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() {
            return Ok(seat);
        }
        let (begun, none) = (Instant::now(), || Error::NoSeat { max: self.seats_max });
        // One wait for all rounds: whoever came first is first.
        let mut seat = std::pin::pin!(Arc::clone(&self.seats).acquire_owned());
        while begun.elapsed() < SEAT_PATIENCE {
            // One that is in use now may be idle soon.
            self.short.notify_one();
            if let Ok(seat) = tokio::time::timeout(SEAT_ROUND, &mut seat).await {
                // The semaphore is never closed.
                return seat.map_err(|_closed| none());
            }
        }
        Err(none())
    }

    async fn shared_berth(
        &self,
        plan: &Plan,
        meter: Meter,
        seat: OwnedSemaphorePermit,
    ) -> Result<Berth, Error> {
        let place = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            // Tenants whose shared sessions are all gone leave nothing behind.
            shared.retain(|_, place| {
                Arc::strong_count(place) > 1
                    || place.try_lock().is_ok_and(|weak| weak.strong_count() != 0)
            });
            Arc::clone(shared.entry(plan.tenant.clone()).or_default())
        };
        // Held while the worker starts: the tenant's other sessions wait for the same one.
        let mut place = place.lock().await;
        let living = place.upgrade().filter(|shared| {
            matches!(shared.worker.status().state, worker::lifecycle::State::Ready)
        });
        let shared = if let Some(shared) = living {
            shared
        } else {
            let worker = self.start(plan).await?;
            let shared = Arc::new(Shared { worker, next_slot: AtomicU32::new(0) });
            *place = Arc::downgrade(&shared);
            shared
        };
        let slot = shared.next_slot.fetch_add(1, Ordering::Relaxed);
        let (worker, awake) = (shared.worker.clone(), self.accounts.of(&plan.tenant).wake());
        Ok(Berth { worker, slot, meter, shared: Some(shared), awake, _seat: seat })
    }
}

impl Berth {
    /// Makes the session known to the worker, and gives it the meter and the port.
    pub(super) async fn open(&self, plan: &Plan, port: Option<&ports::Lease>) -> Result<(), Error> {
        let socket = port.map(ports::Lease::socket).transpose()?;
        let call = OpenSession {
            session_id: plan.id.to_string(),
            token: plan.token.to_string(),
            terms: terms(plan.may_use.now(), &self.worker, self.account()),
        };
        let attached = std::iter::once(self.meter.file()).chain(socket.map(Arc::new)).collect();
        let options = Options { attached, within: WITHIN, ..Options::default() };
        match self.worker.call(self.slot, call, options).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.broken(error).await),
        }
    }

    /// Lets those in who may watch.
    pub(super) async fn admit(&self, viewers: AdmitViewers) -> Result<(), Error> {
        if viewers == AdmitViewers::default() {
            return Ok(());
        }
        let options = Options { within: WITHIN, ..Options::default() };
        match self.worker.call(self.slot, viewers, options).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.broken(error).await),
        }
    }

    /// The account of the session's tenant.
    pub(super) fn account(&self) -> &Arc<Account> {
        self.awake.account()
    }

    /// Tells when the session's share has changed.
    pub(super) fn shares(&self) -> watch::Receiver<usize> {
        self.awake.shares()
    }

    /// Tells the worker what the session may use from now on.
    pub(super) fn tell_terms(&self, plan: &Plan) {
        limiting::tell_terms(plan, &self.worker, self.slot, self.account());
    }

    /// Puts in force what the session may use by now.
    pub(super) async fn catch_up(&self, plan: &Plan) {
        limiting::catch_up(plan, &self.worker, self.slot, self.account()).await;
    }

    /// Brings back what the session holds; `resume` tells whether simulations in the background go
    /// on.
    pub(super) async fn restore(
        &self,
        holdings: &Arc<Holdings>,
        resume: bool,
    ) -> Result<Vec<Restored>, Error> {
        let mut restored = Vec::new();
        self.attach(holdings).await?;
        let models = {
            let _turn = holdings.turn().await;
            holdings.models()
        };
        for (model_id, held) in models {
            match self.restore_one(holdings, model_id.clone(), held, resume).await {
                Ok(one) => restored.push(one),
                // It was unloaded meanwhile.
                Err(_) if holdings.model(&model_id).is_none() => (),
                Err(error) => return Err(error),
            }
        }
        Ok(restored)
    }

    /// Hands over the recordings that are under way, which go on with their models.
    async fn attach(&self, holdings: &Arc<Holdings>) -> Result<(), Error> {
        for kept in holdings.recordings_under_way() {
            let (from, number) = (Arc::clone(holdings), kept.number);
            let file = holdings.store().run(move |_| from.recording_file(number)).await;
            let Ok(file) = file else { continue };
            let options = Options { attached: vec![file], within: WITHIN, ..Options::default() };
            match self.worker.call(self.slot, kept.attach(), options).await {
                // A recording that cannot go on costs itself and nothing else.
                Ok(_) | Err(worker::Error::Fault(_)) => (),
                Err(error) => return Err(self.broken(error).await),
            }
        }
        Ok(())
    }

    async fn restore_one(
        &self,
        holdings: &Arc<Holdings>,
        model_id: String,
        held: Held,
        resume: bool,
    ) -> Result<Restored, Error> {
        let lost = |why: Unrestorable| Error::Model { model_id: model_id.clone(), why };
        let model = held.model.ok_or_else(|| lost(Unrestorable::Gone))?;
        let bytes = model.about.bytes;
        let from = Arc::clone(holdings);
        let files = holdings
            .store()
            .run(move |_| Ok(vec![model.file()?, from.checkpoint(held.checkpoint)?]));
        let attached = files.await.map_err(|error| lost(error.into()))?;
        let patience = Some(LOAD_PATIENCE);
        let options = Options { attached, patience, within: WITHIN, ..Options::default() };
        let call = RestoreModel { model_id: model_id.clone(), bytes, resume };
        match self.worker.call(self.slot, call, options).await {
            // Its own name for it, whatever the worker says.
            Ok(restored) => Ok(Restored { model_id, ..restored }),
            Err(worker::Error::Fault(fault)) => Err(lost(fault.into())),
            Err(error) => Err(self.broken(error).await),
        }
    }

    /// A worker that does not do what every worker does.
    async fn broken(&self, error: worker::Error) -> Error {
        let ending = match error {
            worker::Error::Ended(ending) => ending,
            worker::Error::Unasked(_) => self.worker.ended().await,
            worker::Error::Busy { max } => {
                return Error::Overloaded(format!("{max} calls of the shared worker wait already"));
            }
            _ => Ending::of(Kind::BrokeProtocol),
        };
        StartError::Ended(ending).into()
    }

    /// Leaves the worker: a worker of its own is stopped, a shared one forgets the session.
    pub(super) async fn leave(self) {
        let mut berth = self;
        let shared = berth.shared.take();
        // Exactly one of those who leave together is the last.
        match shared.map(Arc::try_unwrap) {
            None | Some(Ok(_)) => drop(berth.worker.stop().await),
            Some(Err(shared)) => {
                tokio::spawn(close_slot(berth.worker.clone(), berth.slot, shared));
            }
        }
    }

    /// Whether other sessions may be in the same worker.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }
}

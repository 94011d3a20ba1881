//! The one task that keeps a session: starts its worker, replaces it, lets it go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use simward_protocol::session::{CloseSession, OpenSession};
use tokio::sync::watch;

use super::lifecycle::{self, Closed, Event, State};
use super::restart::{Decision, Restarts};
use super::{Inner, Isolation, Place, Plan, RestartConfig, Session, Status, Usage};
use crate::pool::Pool;
use crate::pool::ports::{self, Lease};
use crate::tenants::Tenant;
use crate::worker::{Ending, Kind, Options, StartError, Worker};

/// Opens a session, and returns once its first worker takes calls.
pub(crate) async fn open(
    plan: Plan,
    port: Option<Lease>,
    crew: Arc<Crew>,
    restart: RestartConfig,
) -> Result<Session, Arc<StartError>> {
    let (publish, mut watching) = watch::channel(Status::default());
    let port = Arc::new(Place::new(port.map(Arc::new)));
    let (close, wanted) = watch::channel(None);
    let keeper = Keeper {
        plan: plan.clone(),
        port: Arc::clone(&port),
        crew,
        restarts: Restarts::new(restart),
        publish,
        wanted,
    };
    tokio::spawn(keeper.keep());
    let usage = Usage {
        in_flight: AtomicU64::new(0),
        last_millis: AtomicU64::new(0),
        told: AtomicU64::new(0),
        addressed: AtomicBool::new(false),
    };
    // If this is given up, the keeper hears that nobody wants the session.
    let inner = Inner { plan, status: watching.clone(), close, port, usage };
    let session = Session { inner: Arc::new(inner) };
    let settled = watching.wait_for(|status| status.state != State::Starting).await;
    let failed = settled.ok().and_then(|status| status.start_failed.clone());
    match failed {
        None => Ok(session),
        Some(error) => {
            session.close(Closed::NeverStarted).await;
            Err(error)
        }
    }
}

/// Who gives sessions their workers.
#[derive(Debug)]
pub(crate) struct Crew {
    pool: Pool,
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
struct Berth {
    worker: Worker,
    slot: u32,
    /// Keeps a shared worker for as long as anybody uses it.
    shared: Option<Arc<Shared>>,
}

impl Crew {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, shared: Mutex::default() }
    }

    async fn berth(&self, plan: &Plan) -> Result<Berth, StartError> {
        match plan.isolation {
            Isolation::Process => {
                let worker = Worker::start(&self.pool).await?;
                Ok(Berth { worker, slot: 0, shared: None })
            }
            Isolation::Shared => self.shared_berth(&plan.tenant).await,
        }
    }

    async fn shared_berth(&self, tenant: &Tenant) -> Result<Berth, StartError> {
        let place = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            // Tenants whose shared sessions are all gone leave nothing behind.
            shared.retain(|_, place| {
                Arc::strong_count(place) > 1
                    || place.try_lock().is_ok_and(|weak| weak.strong_count() != 0)
            });
            Arc::clone(shared.entry(tenant.clone()).or_default())
        };
        // Held while the worker starts: the tenant's other sessions wait for the same one.
        let mut place = place.lock().await;
        let living = place.upgrade().filter(|shared| {
            matches!(shared.worker.status().state, crate::worker::lifecycle::State::Ready)
        });
        let shared = if let Some(shared) = living {
            shared
        } else {
            let worker = Worker::start(&self.pool).await?;
            let shared = Arc::new(Shared { worker, next_slot: AtomicU32::new(0) });
            *place = Arc::downgrade(&shared);
            shared
        };
        let slot = shared.next_slot.fetch_add(1, Ordering::Relaxed);
        Ok(Berth { worker: shared.worker.clone(), slot, shared: Some(shared) })
    }
}

impl Berth {
    /// Makes the session known to the worker, and gives it the port.
    async fn open(&self, plan: &Plan, port: Option<&ports::Lease>) -> Result<(), StartError> {
        let socket = port.map(ports::Lease::socket).transpose();
        let attached = socket.map_err(StartError::Port)?.map(Arc::new);
        let call = OpenSession {
            session_id: plan.id.to_string(),
            token: plan.token.to_string(),
            models_max: plan.models_max,
        };
        let options = Options { attached, ..Options::default() };
        match self.worker.call(self.slot, call, options).await {
            Ok(_) => Ok(()),
            Err(crate::worker::Error::Ended(ending)) => Err(StartError::Ended(ending)),
            Err(_) => Err(StartError::Ended(Ending::of(Kind::BrokeProtocol))),
        }
    }

    /// Leaves the worker: a worker of its own is stopped, a shared one forgets the session.
    async fn leave(self) {
        let Self { worker, slot, shared } = self;
        // Exactly one of those who leave together is the last.
        if shared.is_none_or(|shared| Arc::into_inner(shared).is_some()) {
            worker.stop().await;
        } else {
            // Waits for the others' calls, which is nobody's concern who leaves. Fails only if the
            // worker is gone.
            tokio::spawn(async move {
                worker.call(slot, CloseSession {}, Options::default()).await.ok();
            });
        }
    }
}

struct Keeper {
    plan: Plan,
    port: Arc<Place>,
    crew: Arc<Crew>,
    restarts: Restarts,
    publish: watch::Sender<Status>,
    wanted: watch::Receiver<Option<Closed>>,
}

impl Keeper {
    async fn keep(mut self) {
        loop {
            match self.state() {
                State::Starting => {
                    if let Some(berth) = self.start().await {
                        self.serve(berth).await;
                    }
                }
                State::Waiting | State::Ready => self.pause(Duration::ZERO).await,
                State::Parked => {
                    let why = close_asked(&mut self.wanted).await;
                    self.apply(Event::Close(why));
                }
                State::Closing(_) => {
                    *self.port.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    self.publish.send_modify(|status| status.worker = None);
                    self.apply(Event::Gone);
                }
                State::Closed(why) => {
                    tracing::info!(session_id = %self.plan.id, ?why, "session closed");
                    return;
                }
            }
        }
    }

    /// Starts a worker, unless the session is closed meanwhile.
    async fn start(&mut self) -> Option<Berth> {
        let port = self.port.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let start = async {
            let berth = self.crew.berth(&self.plan).await?;
            match berth.open(&self.plan, port.as_deref()).await {
                Ok(()) => Ok(berth),
                Err(error) => {
                    berth.leave().await;
                    Err(error)
                }
            }
        };
        let started = tokio::select! {
            biased;
            why = close_asked(&mut self.wanted) => {
                // Dropping the start stops the worker, however far it is.
                self.apply(Event::Close(why));
                return None;
            }
            started = start => started,
        };
        match started {
            Ok(berth) => Some(berth),
            Err(error) => {
                self.start_failed(error).await;
                None
            }
        }
    }

    async fn start_failed(&mut self, error: StartError) {
        let text = crate::code::chain(&error);
        tracing::warn!(session_id = %self.plan.id, error = text, "no worker could be started");
        let error = Arc::new(error);
        self.go_on_after(Event::StartFailed, |status| {
            if let StartError::Ended(ending) = &*error {
                status.last_ending = Some(ending.clone());
            }
            status.start_failed = Some(error);
        })
        .await;
    }

    /// Lets the session use its worker until one of them ends.
    async fn serve(&mut self, berth: Berth) {
        self.publish.send_modify(|status| {
            status.worker = Some((berth.worker.clone(), berth.slot));
            status.start_failed = None;
        });
        self.apply(Event::WorkerReady);
        let ending = tokio::select! {
            biased;
            ending = berth.worker.ended() => ending,
            why = close_asked(&mut self.wanted) => {
                self.apply(Event::Close(why));
                berth.leave().await;
                return;
            }
        };
        tracing::warn!(session_id = %self.plan.id, %ending, "session lost its worker");
        self.go_on_after(Event::WorkerLost, |status| {
            status.worker = None;
            status.losses += 1;
            status.last_ending = Some(ending);
        })
        .await;
    }

    /// Publishes a loss as one change, so that no call goes to a worker that is gone; then waits
    /// for the time of the next worker, unless the session is parked.
    async fn go_on_after(&mut self, loss: Event, change: impl FnOnce(&mut Status)) {
        let decision = self.restarts.decide(Instant::now());
        let event = if decision == Decision::Park { Event::TooManyLosses } else { loss };
        self.publish.send_modify(|status| {
            change(status);
            status.state = lifecycle::next(status.state, event);
        });
        match decision {
            Decision::Restart(pause) => self.pause(pause).await,
            Decision::Park => tracing::warn!(session_id = %self.plan.id, "session parked"),
        }
    }

    async fn pause(&mut self, pause: Duration) {
        let event = tokio::select! {
            biased;
            why = close_asked(&mut self.wanted) => Event::Close(why),
            () = tokio::time::sleep(pause) => Event::BackOffOver,
        };
        if event == Event::BackOffOver {
            self.publish.send_modify(|status| status.restarts += 1);
        }
        self.apply(event);
    }

    fn apply(&self, event: Event) {
        self.publish.send_if_modified(|status| {
            let next = lifecycle::next(status.state, event);
            let changed = next != status.state;
            if changed {
                tracing::debug!(
                    session_id = %self.plan.id, state = %status.state, %next, ?event,
                    "session changed state"
                );
            }
            status.state = next;
            changed
        });
    }

    fn state(&self) -> State {
        self.publish.borrow().state
    }
}

/// Waits until the session is wanted no more.
async fn close_asked(wanted: &mut watch::Receiver<Option<Closed>>) -> Closed {
    match wanted.wait_for(Option::is_some).await {
        Ok(why) => why.unwrap_or(Closed::ByOwner),
        // Every handle was dropped.
        Err(_) => Closed::Shutdown,
    }
}

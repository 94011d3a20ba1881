//! The one task that keeps a session: starts its worker, replaces it, puts it to sleep, lets it go.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use simward_protocol::model::Restored;
use tokio::sync::{Notify, watch};

use super::crew::{Berth, Crew, Error};
use super::holdings::Holdings;
use super::lifecycle::{self, Closed, Event, State};
use super::restart::{Decision, Restarts};
use super::usage::Usage;
use super::{Inner, Place, Plan, RestartConfig, Session, Status};
use crate::pool::ports::When;
use crate::worker::StartError;

/// What a session is made of.
pub(crate) struct Parts {
    pub(crate) plan: Plan,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) crew: Arc<Crew>,
    pub(crate) restart: RestartConfig,
}

/// Opens a session, and returns once its first worker takes calls.
pub(crate) async fn open(parts: Parts) -> Result<Session, Arc<Error>> {
    let session = start(parts, State::Starting);
    let mut watching = session.inner.status.clone();
    // If this is given up, the keeper hears that nobody wants the session.
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

/// Takes up a session that was kept: it sleeps until somebody calls.
pub(crate) fn take_up(parts: Parts) -> Session {
    start(parts, State::Asleep)
}

fn start(parts: Parts, state: State) -> Session {
    let Parts { plan, holdings, crew, restart } = parts;
    let (publish, status) = watch::channel(Status { state, ..Status::default() });
    let (close, wanted) = watch::channel(None);
    let port = Arc::new(Place::default());
    // One that was kept may be known by its handle to somebody.
    let usage = Arc::new(Usage::new(state == State::Asleep));
    let signals = Arc::new(Signals::default());
    let keeper = Keeper {
        plan: plan.clone(),
        port: Arc::clone(&port),
        usage: Arc::clone(&usage),
        signals: Arc::clone(&signals),
        holdings: Arc::clone(&holdings),
        crew,
        restarts: Restarts::new(restart.clone()),
        restart,
        lost: None,
        resume: true,
        publish,
        wanted,
    };
    tokio::spawn(keeper.keep());
    let inner = Inner {
        plan,
        status,
        close,
        port,
        usage,
        signals,
        holdings,
        opening: tokio::sync::Mutex::new(()),
        limiting: Arc::default(),
        changing: tokio::sync::RwLock::new(()),
    };
    Session { inner: Arc::new(inner) }
}

/// What a session is asked, beside its end.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Somebody calls it.
    pub(super) wake: Notify,
    /// It may sleep, if nobody uses it.
    pub(super) sleep: Notify,
    /// It shall get another worker although it lost too many.
    pub(super) revive: Notify,
}

struct Keeper {
    plan: Plan,
    port: Arc<Place>,
    usage: Arc<Usage>,
    signals: Arc<Signals>,
    holdings: Arc<Holdings>,
    crew: Arc<Crew>,
    restart: RestartConfig,
    restarts: Restarts,
    /// When the session lost its worker, until it has another one.
    lost: Option<Instant>,
    /// Whether simulations in the background go on in the next worker.
    resume: bool,
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
                // Nothing is left of its worker.
                State::Dozing => self.apply(Event::Gone),
                State::Asleep => self.sleep().await,
                State::Parked => self.park().await,
                State::Closing(why) => {
                    self.clear_up(why).await;
                    self.apply(Event::Gone);
                }
                State::Closed(why) => {
                    let is_kept = self.is_kept_after(why);
                    tracing::info!(session_id = %self.plan.id, ?why, is_kept, "session closed");
                    return;
                }
            }
        }
    }

    /// Starts a worker and brings back what the session holds, unless it is closed meanwhile.
    async fn start(&mut self) -> Option<Berth> {
        let started = tokio::select! {
            biased;
            why = close_asked(&mut self.wanted) => {
                // Dropping the start stops the worker, however far it is.
                self.apply(Event::Close(why));
                return None;
            }
            started = berth(&self.crew, &self.plan, &self.port, &self.holdings, self.resume) => {
                started
            }
        };
        match started {
            Ok((berth, restored)) => {
                self.resume = true;
                self.usage.run_begun(restored.iter().any(|model| model.running));
                self.publish.send_modify(|status| status.restored = restored.into());
                Some(berth)
            }
            Err(error) => {
                self.start_failed(error).await;
                None
            }
        }
    }

    async fn start_failed(&mut self, error: Error) {
        let text = crate::code::chain(&error);
        tracing::warn!(session_id = %self.plan.id, error = text, "no worker could be started");
        let error = Arc::new(error);
        let event = match &*error {
            error if error.is_final() => Event::Unrestorable,
            error if error.is_for_want_of_room() => Event::NoRoom,
            _ => Event::StartFailed,
        };
        let fail = |status: &mut Status| {
            if let Error::Start(StartError::Ended(ending)) = &*error {
                status.last_ending = Some(ending.clone());
            }
            status.start_failed = Some(Arc::clone(&error));
            status.starts_failed += 1;
        };
        if event == Event::StartFailed {
            self.go_on_after(event, fail).await;
            return;
        }
        self.give_port_back();
        self.forget_calls();
        self.forget_revivals();
        self.publish.send_modify(|status| {
            fail(status);
            status.state = lifecycle::next(status.state, event);
        });
    }

    /// Lets the session use its worker until one of them ends, or the session may sleep.
    async fn serve(&mut self, berth: Berth) {
        self.publish.send_modify(|status| {
            status.worker = Some((berth.worker.clone(), berth.slot));
            status.meter = Some(berth.meter.clone());
            status.account = Some(Arc::clone(berth.account()));
            status.is_shared = berth.is_shared();
            status.start_failed = None;
        });
        // Its limits may have changed while it started.
        berth.catch_up(&self.plan).await;
        // Before anybody can see that it is over.
        if let Some(lost) = self.lost.take() {
            self.crew.pool().tally().recovered(lost.elapsed());
        }
        self.apply(Event::WorkerReady);
        let mut shares = berth.shares();
        let ending = loop {
            tokio::select! {
                biased;
                ending = berth.worker.ended() => break ending,
                why = close_asked(&mut self.wanted) => {
                    self.apply(Event::Close(why));
                    berth.leave().await;
                    return;
                }
                Ok(()) = shares.changed() => berth.tell_terms(&self.plan),
                () = self.signals.sleep.notified() => {
                    if self.fall_asleep() {
                        tracing::debug!(session_id = %self.plan.id, "session sleeps");
                        berth.leave().await;
                        self.give_port_back();
                        self.rest().await;
                        return;
                    }
                }
            }
        };
        self.lost = Some(Instant::now());
        tracing::warn!(session_id = %self.plan.id, %ending, "session lost its worker");
        let unanswered = berth.worker.status().unanswered;
        if let Some(call) = unanswered {
            self.undo(call).await;
        }
        // Its seat is its own until the next worker is asked for.
        drop(berth);
        self.go_on_after(Event::WorkerLost, |status| {
            status.leave_worker();
            status.losses += 1;
            status.last_ending = Some(ending);
        })
        .await;
    }

    /// Undoes what the worker has not answered for, before anybody is told that it was not done.
    async fn undo(&self, call: u64) {
        let holdings = Arc::clone(&self.holdings);
        let undone = self.holdings.store().run(move |_| holdings.undo(call)).await;
        if let Err(error) = undone {
            let error = crate::code::chain(&error);
            tracing::error!(session_id = %self.plan.id, error, "a call could not be undone");
        }
    }

    /// Takes the worker away from the session, unless a call has it or something runs in it. Calls
    /// that come from now on wake it.
    fn fall_asleep(&self) -> bool {
        self.forget_calls();
        self.publish.send_if_modified(|status| {
            if self.usage.is_running(status) || self.usage.is_asking() {
                return false;
            }
            status.leave_worker();
            status.state = lifecycle::next(status.state, Event::Sleep);
            true
        })
    }

    /// Sleeps until somebody calls.
    async fn sleep(&mut self) {
        let event = tokio::select! {
            biased;
            why = close_asked(&mut self.wanted) => Event::Close(why),
            () = self.signals.wake.notified() => Event::Wake,
        };
        if event == Event::Wake {
            self.publish.send_modify(|status| status.start_failed = None);
        }
        self.apply(event);
    }

    /// Whoever called before the session sleeps does not call it out of that sleep.
    fn forget_calls(&self) {
        self.signals.wake.notified().now_or_never();
    }

    /// Whoever revived the session before it is parked does not revive it after that.
    fn forget_revivals(&self) {
        self.signals.revive.notified().now_or_never();
    }

    /// Waits until somebody gives the session another chance.
    async fn park(&mut self) {
        self.rest().await;
        let event = tokio::select! {
            biased;
            why = close_asked(&mut self.wanted) => Event::Close(why),
            () = self.signals.revive.notified() => Event::Revive,
        };
        if event == Event::Revive {
            self.restarts = Restarts::new(self.restart.clone());
            // What ran in the background may be what ended the workers.
            self.resume = false;
            self.publish.send_modify(|status| status.start_failed = None);
        }
        self.apply(event);
    }

    /// Publishes a loss as one change, so that no call goes to a worker that is gone; then waits
    /// for the time of the next worker, unless the session is parked.
    async fn go_on_after(&mut self, loss: Event, change: impl FnOnce(&mut Status)) {
        let decision = self.restarts.decide(Instant::now());
        let event = if decision == Decision::Park { Event::TooManyLosses } else { loss };
        self.forget_revivals();
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

    /// Nothing of the session is left in memory; what is kept of it stays only if the daemon stops.
    async fn clear_up(&self, why: Closed) {
        self.give_port_back();
        self.publish.send_modify(Status::leave_worker);
        if self.is_kept_after(why) {
            self.rest().await;
            return;
        }
        let holdings = Arc::clone(&self.holdings);
        tokio::task::spawn_blocking(move || holdings.forget()).await.ok();
    }

    /// Whether the session is there again after a restart of the daemon.
    fn is_kept_after(&self, why: Closed) -> bool {
        why == Closed::Shutdown && self.holdings.store().is_durable()
    }

    /// No worker writes the session's checkpoints for a while.
    async fn rest(&self) {
        let holdings = Arc::clone(&self.holdings);
        tokio::task::spawn_blocking(move || holdings.rest()).await.ok();
    }

    fn give_port_back(&self) {
        *self.port.lock().unwrap_or_else(PoisonError::into_inner) = None;
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

/// A worker in which the session goes on where it was.
async fn berth(
    crew: &Crew,
    plan: &Plan,
    port: &Place,
    holdings: &Arc<Holdings>,
    resume: bool,
) -> Result<(Berth, Vec<Restored>), Error> {
    let berth = crew.berth(plan).await?;
    let opened = async {
        let lease = {
            let mut place = port.lock().unwrap_or_else(PoisonError::into_inner);
            let ports = crew.pool().ports();
            if place.is_none() && crew.pool().config().ports.lease == When::AtCreation {
                *place = Some(Arc::new(ports.lease()?));
            }
            place.clone()
        };
        berth.open(plan, lease.as_deref()).await?;
        berth.admit(holdings.admitted()).await?;
        berth.restore(holdings, resume).await
    };
    match opened.await {
        Ok(restored) => Ok((berth, restored)),
        Err(error) => {
            berth.leave().await;
            Err(error)
        }
    }
}

/// Waits until the session is wanted no more.
async fn close_asked(wanted: &mut watch::Receiver<Option<Closed>>) -> Closed {
    match wanted.wait_for(Option::is_some).await {
        Ok(why) => why.unwrap_or(Closed::ByOwner),
        // Every handle was dropped: it never got into the table.
        Err(_) => Closed::NeverStarted,
    }
}

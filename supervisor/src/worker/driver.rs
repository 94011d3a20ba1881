//! The one task that touches a worker's process.
//!
//! The driver keeps one call in flight: a worker serves calls in order anyway. When the worker
//! ends, the calls that wait are lost like the one in flight, and each caller is told.

mod limiting;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use simward_protocol::fault::{Fault, cut};
use simward_protocol::handshake::{Hello, VERSION};
use simward_protocol::session::Vitals;
use simward_protocol::wire::{FromWorker, ToWorker};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::limiting::GUARD_PAUSE;
use super::ending::{Ending, Kind, kind_of, of_address_space};
use super::health::Health;
use super::launch::{Limits, Starting};
use super::lifecycle::{self, Effect, Event, State};
use super::limiting::{Limited, Order};
use super::link::Link;
use super::waits::{cancelled, sleep_until};
use super::{Answer, Options, Pending, Status, Wish};
use crate::pool::guard::Guard;
use crate::pool::process::{Exit, Process};
use crate::pool::reading;
use crate::pool::tally::Tally;

/// What connects the driver to the handles.
pub(super) struct Ends {
    pub(super) pending: mpsc::Receiver<Pending>,
    pub(super) wish: watch::Receiver<Wish>,
    pub(super) publish: watch::Sender<Status>,
    pub(super) said: Option<oneshot::Sender<Hello>>,
    pub(super) limited: Limited,
}

impl Starting {
    /// Drives the worker until it has ended.
    pub(super) async fn run(self, ends: Ends) {
        let Self { process, guard, link, limits, tally } = self;
        let guard_at = guard.needs_looks().then(|| Instant::now() + GUARD_PAUSE);
        let alarm = Some(Instant::now() + limits.ready_within);
        let stopped = process.stopped();
        let mut driver = Driver {
            process,
            guard,
            guard_at,
            link,
            limits,
            tally,
            publish: ends.publish,
            said: ends.said,
            limited: ends.limited,
            in_flight: None,
            next_id: 1,
            ping: None,
            alarm,
            look_at: None,
            suspended: false,
            hung_up: false,
            health: Health::new(limits.hang_after),
            last_words: None,
            state: State::Starting,
            vitals: Vitals::default(),
        };
        driver.drive(ends.pending, ends.wish, &stopped).await;
    }
}

struct Driver {
    process: Process,
    /// After the process, whose group can only go when it is empty.
    guard: Guard,
    /// When to look whether it has too much.
    guard_at: Option<Instant>,
    link: Link,
    limits: Limits,
    tally: Tally,
    publish: watch::Sender<Status>,
    said: Option<oneshot::Sender<Hello>>,
    limited: Limited,
    in_flight: Option<InFlight>,
    next_id: u64,
    /// The ping that is not answered yet: there is never a second one.
    ping: Option<u64>,
    /// When the time for the current state is over.
    alarm: Option<Instant>,
    /// When to look whether the worker makes progress.
    look_at: Option<Instant>,
    /// A signal stopped it a while ago.
    suspended: bool,
    /// It closed its socket, or we cannot write to it any more.
    hung_up: bool,
    health: Health,
    last_words: Option<String>,
    state: State,
    vitals: Vitals,
}

struct InFlight {
    id: u64,
    asked: Instant,
    patience: Option<Duration>,
    /// When the worker must have answered, whatever progress it claims.
    deadline: Option<Instant>,
    withdrawn: CancellationToken,
    /// Whether the worker was told of the withdrawal.
    cancelled: bool,
    progress: Option<watch::Sender<(u64, u64)>>,
    answer: oneshot::Sender<Answer>,
}

/// What woke the driver.
enum Wake {
    Wish(Wish),
    Exit(Exit),
    Link(io::Result<()>),
    Withdrawn,
    Suspended,
    Look,
    Guard,
    Late,
    Order(Order),
    Terms,
    Call(Box<Pending>),
}

impl Driver {
    async fn drive(
        &mut self,
        mut pending: mpsc::Receiver<Pending>,
        mut wish: watch::Receiver<Wish>,
        stopped: &Arc<Notify>,
    ) {
        let mut orphaned = false;
        while !matches!(self.state, State::Ended(_)) {
            let idle = self.in_flight.is_none() && self.state == State::Ready;
            let withdrawn = self.in_flight.as_ref().filter(|call| !call.cancelled);
            let withdrawn = withdrawn.map(|call| call.withdrawn.clone());
            // Every branch is cancel safe and only waits. The end comes first, so that nothing is
            // asked of a worker that is gone; frames before the clock: in time is never late.
            let wake = tokio::select! {
                biased;
                exit = self.process.ended() => Wake::Exit(exit),
                changed = wish.changed(), if !orphaned => {
                    // An error means that the last handle was dropped.
                    orphaned = changed.is_err();
                    Wake::Wish(if orphaned { Wish::Stop } else { *wish.borrow_and_update() })
                }
                ready = self.link.ready(), if self.listens() => Wake::Link(ready),
                () = cancelled(withdrawn.as_ref()) => Wake::Withdrawn,
                () = stopped.notified() => Wake::Suspended,
                () = sleep_until(self.alarm) => Wake::Late,
                () = sleep_until(self.look_at) => Wake::Look,
                () = sleep_until(self.guard_at) => Wake::Guard,
                Some(order) = self.limited.orders.recv() => Wake::Order(order),
                // Before the next call, so that it is served by what was said before it.
                Ok(()) = self.limited.terms.changed(), if self.state == State::Ready => Wake::Terms,
                call = pending.recv(), if idle => match call {
                    Some(call) => Wake::Call(Box::new(call)),
                    None => Wake::Wish(Wish::Stop),
                },
            };
            self.handle(wake).await;
        }
        // Nobody has asked the worker these: whoever waits may ask the next one.
        pending.close();
        while let Ok(Pending { request, answer, .. }) = pending.try_recv() {
            answer.send(Answer::Unasked(request)).ok();
        }
    }

    /// Whether it is neither stopping nor ending.
    fn is_wanted(&self) -> bool {
        matches!(self.state, State::Starting | State::Ready)
    }

    fn listens(&self) -> bool {
        self.is_wanted() && !self.hung_up
    }

    async fn handle(&mut self, wake: Wake) {
        match wake {
            Wake::Exit(exit) => self.end(exit).await,
            Wake::Wish(Wish::Live) => (),
            Wake::Wish(Wish::Stop) => self.apply(Event::StopAsked),
            Wake::Wish(Wish::Kill) => self.apply(Event::KillAsked),
            Wake::Link(ready) => {
                if let Err(error) = ready.and_then(|()| self.link.flush()) {
                    self.silenced(&error);
                }
                self.receive();
            }
            Wake::Withdrawn => self.cancel(),
            Wake::Suspended => {
                self.suspended = true;
                self.look_at = Some(Instant::now() + Health::pause(self.limits.hang_after));
            }
            Wake::Late => {
                // Whatever follows: an alarm that stays set would ring for ever.
                self.alarm = None;
                let overdue = self.hung_up && self.is_wanted();
                self.apply(if overdue { Event::Nonsense } else { Event::Late });
            }
            Wake::Look => self.look(),
            Wake::Guard => self.guard(),
            Wake::Order(order) => self.limit(order),
            Wake::Terms => self.tell_terms(),
            Wake::Call(call) => self.ask(*call),
        }
    }

    /// Takes every frame that is there.
    fn receive(&mut self) {
        while self.listens() {
            let event = if self.state == State::Starting {
                match self.link.receive::<Hello>() {
                    Ok(Some(hello)) => self.greet(hello),
                    Ok(None) => return,
                    Err(error) => match self.silenced(&error) {
                        Some(event) => event,
                        None => return,
                    },
                }
            } else {
                match self.link.receive::<FromWorker>() {
                    Ok(Some(frame)) => match self.take(frame) {
                        Some(event) => event,
                        None => continue,
                    },
                    Ok(None) => return,
                    Err(error) => match self.silenced(&error) {
                        Some(event) => event,
                        None => return,
                    },
                }
            };
            self.apply(event);
        }
    }

    /// The socket gives nothing more. If the worker closed it, its exit is on its way and says
    /// more than that; if its exit does not come, it broke the protocol.
    fn silenced(&mut self, error: &io::Error) -> Option<Event> {
        if error.kind() == io::ErrorKind::InvalidData {
            return Some(Event::Nonsense);
        }
        // The alarm of a worker that is stopping is set already.
        if self.listens() {
            self.hung_up = true;
            self.alarm = Some(Instant::now() + HUNG_UP_GRACE);
        }
        None
    }

    fn greet(&mut self, hello: Hello) -> Event {
        if hello.version != VERSION {
            return Event::OtherVersion;
        }
        if let Some(said) = self.said.take() {
            // Whoever started it may have given up.
            said.send(hello).ok();
        }
        Event::Hello
    }

    fn take(&mut self, frame: FromWorker) -> Option<Event> {
        match frame {
            FromWorker::Answer { id, outcome, vitals } => {
                self.note(vitals);
                let Some(call) = self.in_flight.take_if(|call| call.id == id) else {
                    return Some(Event::Nonsense);
                };
                self.publish();
                self.health.content();
                self.look_at = None;
                self.look_later();
                // The caller may have stopped waiting.
                let served = (call.asked, Instant::now());
                call.answer.send(Answer::Given { outcome, served }).ok();
            }
            FromWorker::Pong { id, vitals } => {
                // A worker that says more than it is asked would keep its driver busy for ever.
                if self.ping.take_if(|ping| *ping == id).is_none() {
                    return Some(Event::Nonsense);
                }
                self.note(vitals);
                self.publish();
                if let Some(progress) =
                    self.in_flight.as_ref().and_then(|call| call.progress.as_ref())
                {
                    progress.send_replace(vitals.call_steps);
                }
            }
            FromWorker::LastWords { text } => {
                if self.last_words.replace(cut(text)).is_some() {
                    return Some(Event::Nonsense);
                }
            }
        }
        None
    }

    fn ask(&mut self, call: Pending) {
        let Pending { slot, request, options, answer } = call;
        let Options { attached, patience, within, progress, withdrawn } = options;
        let id = self.next_id;
        self.next_id += 1;
        let asked = Instant::now();
        let frame = ToWorker::Question { id, slot, request };
        match self.link.send(&frame, attached) {
            Ok(()) => (),
            // Nobody is there who could have read it: it may go to the next worker.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.link.is_unsent() => {
                if let ToWorker::Question { request, .. } = frame {
                    answer.send(Answer::Unasked(request)).ok();
                }
                self.silenced(&error);
                return;
            }
            // Too long for a frame: the worker knows nothing of it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let max = simward_protocol::wire::TO_WORKER_BYTES_MAX as u64;
                let what = "bytes of one call".to_owned();
                let fault = Fault::LimitExceeded { what, value: max + 1, max };
                answer.send(Answer::Given { outcome: Err(fault), served: (asked, asked) }).ok();
                return;
            }
            Err(error) => {
                self.silenced(&error);
            }
        }
        let deadline = within.map(|within| asked + within);
        self.in_flight = Some(InFlight {
            id,
            asked,
            patience,
            deadline,
            withdrawn,
            cancelled: false,
            progress,
            answer,
        });
        self.look_later();
    }

    fn cancel(&mut self) {
        let wanted = self.is_wanted();
        let Some(call) = &mut self.in_flight else { return };
        call.cancelled = true;
        if !wanted {
            return;
        }
        let frame = ToWorker::Cancel { id: call.id };
        if let Err(error) = self.link.send(&frame, Vec::new()) {
            self.silenced(&error);
        }
    }

    /// Looks whether a worker that owes progress makes any, and asks for news.
    fn look(&mut self) {
        self.look_at = None;
        if self.guard_at.is_some() {
            // While it works, it is looked at as often as for its progress.
            self.guard();
        }
        if self.suspended {
            // It may have been let go on meanwhile; and if not, it may be let go on soon.
            self.suspended = self.activity().is_some_and(|activity| activity.stopped);
        }
        let owes = self.in_flight.is_some() || self.vitals.running || self.suspended;
        if !owes || self.state != State::Ready {
            self.health.content();
            return;
        }
        // A paced background simulation that waits for its time owes nothing until it is busy.
        let resting = self.in_flight.is_none() && !self.vitals.busy && !self.suspended;
        if resting {
            self.health.content();
        } else {
            let patience = self.in_flight.as_ref().and_then(|call| call.patience);
            let pid = self.process.pid().as_raw_nonzero().get();
            let now = Instant::now();
            let progress = self.vitals.progress;
            let verdict = self.health.look(now, progress, patience, || reading::activity(pid));
            let deadline = self.in_flight.as_ref().and_then(|call| call.deadline);
            let overdue = deadline.filter(|deadline| *deadline < now).map(|_| Kind::Overdue);
            if let Some(kind) = verdict.or(overdue) {
                self.apply(Event::Hung(kind));
                return;
            }
        }
        if self.ping.is_none() {
            let id = self.next_id;
            self.next_id += 1;
            self.ping = Some(id);
            if let Err(error) = self.link.send(&ToWorker::Ping { id }, Vec::new()) {
                self.silenced(&error);
            }
        }
        self.look_later();
    }

    fn activity(&self) -> Option<reading::Activity> {
        reading::activity(self.process.pid().as_raw_nonzero().get())
    }

    /// Looks at the worker in a while, if it owes progress.
    fn look_later(&mut self) {
        if self.in_flight.is_some() || self.vitals.running || self.suspended {
            let pause = Health::pause(self.limits.hang_after);
            self.look_at.get_or_insert_with(|| Instant::now() + pause);
        }
    }

    fn apply(&mut self, event: Event) {
        let state = self.state;
        let (next, effect) = lifecycle::next(state, event);
        if next == state {
            return;
        }
        self.alarm = None;
        match effect {
            Effect::Nothing => (),
            Effect::HangUp => {
                self.link.hang_up();
                self.alarm = Some(Instant::now() + self.limits.stop_grace);
            }
            Effect::Terminate => {
                self.process.terminate();
                self.alarm = Some(Instant::now() + self.limits.stop_grace);
            }
            Effect::Kill => self.process.kill(),
        }
        let pid = self.process.pid().as_raw_nonzero();
        tracing::debug!(pid, ?state, ?next, ?event, "worker changed state");
        self.state = next;
        self.publish();
    }

    /// The process is gone: tells how it ended, and then lets go of whoever waits.
    async fn end(&mut self, exit: Exit) {
        // What it said before it went may still be on its way.
        let is_nonsense = matches!(
            self.state,
            State::Starting
                | State::Ending(Kind::BrokeProtocol | Kind::Mismatch | Kind::NeverReady)
        );
        if !is_nonsense {
            self.drain();
        }
        let written = self.process.last_output().await;
        let words =
            self.last_words.take().or_else(|| Some(written).filter(|text| !text.is_empty()));
        let bytes = self.limits.address_space_bytes;
        let limit = self.guard.verdict(exit).or_else(|| of_address_space(words.as_deref(), bytes));
        let unasked = if limit.is_some() { Kind::Greedy } else { kind_of(exit) };
        self.apply(Event::Exited(unasked));
        let State::Ended(kind) = self.state else { return };
        let limit = limit.filter(|_| kind == Kind::Greedy);
        let ending = Ending { kind, exit: Some(exit), limit, last_words: words };
        let pid = self.process.pid().as_raw_nonzero();
        tracing::info!(pid, ending = %ending, "worker ended");
        self.tally.ended(kind.name());
        // Before anybody hears of it who starts the next one.
        self.guard.release();
        let (state, vitals) = (self.state, self.vitals);
        let unanswered = self.in_flight.as_ref().map(|call| call.id);
        self.publish.send_replace(Status { state, vitals, ending: Some(ending), unanswered });
        self.in_flight = None;
        self.said = None;
    }

    /// Takes what the worker sent before it went: an answer, or last words.
    fn drain(&mut self) {
        while let Ok(Some(frame)) = self.link.receive::<FromWorker>() {
            self.take(frame);
        }
    }

    fn note(&mut self, vitals: Vitals) {
        self.tally.worked(self.vitals, vitals);
        self.vitals = vitals;
    }

    fn publish(&self) {
        let Self { state, vitals, .. } = *self;
        // Without an ending the state may still be `Ended` for a moment: whoever waits, waits for
        // the ending.
        self.publish.send_replace(Status { state, vitals, ending: None, unanswered: None });
    }
}

/// How long the exit of a worker that closed its socket may take.
const HUNG_UP_GRACE: Duration = Duration::from_millis(250);

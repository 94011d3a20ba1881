//! Where the time of a call goes. Every moment of it is of one phase, so phases add up to the whole.
//!
//! ```text
//!  begun ──validate──▶ waits ──queue──▶ asked ──worker──▶ answered ──format──▶ over
//!                        ▲                                    │
//!                        └──────────── asks again ────────────┘
//! ```
//!
//! A call carries its clock along, and whoever lets it wait says so; nobody is handed anything. What
//! a call starts and does not wait for has no clock, and costs nothing.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::TraceId;

/// How long a call was in each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// From its arrival until there was something to wait for: who may, and with which arguments.
    pub validate: Duration,
    /// It waited: for its turn, for a process to start, for a worker that was busy.
    pub queue: Duration,
    /// A process had it: a worker, a renderer, or one that compiles.
    pub worker: Duration,
    /// The rest: making an answer of what came, or the next question.
    pub format: Duration,
}

impl Phases {
    /// Their names, and how long each took.
    pub fn named(&self) -> [(&'static str, Duration); 4] {
        let Self { validate, queue, worker, format } = *self;
        [("validate", validate), ("queue", queue), ("worker", worker), ("format", format)]
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Validate,
    Queue,
    Worker,
    Format,
}

/// A call's own, as far as it has come.
#[derive(Clone, Copy, Debug)]
struct Clock {
    phase: Phase,
    since: Instant,
    spent: Phases,
}

impl Clock {
    fn new(begun: Instant) -> Self {
        Self { phase: Phase::Validate, since: begun, spent: Phases::default() }
    }

    /// From `at` on it is another phase. Several that wait at a time may tell of moments that have
    /// been told of already: none counts twice.
    fn enter(mut self, phase: Phase, at: Instant) -> Self {
        let spent = at.saturating_duration_since(self.since);
        let Phases { validate, queue, worker, format } = &mut self.spent;
        *match self.phase {
            Phase::Validate => validate,
            Phase::Queue => queue,
            Phase::Worker => worker,
            Phase::Format => format,
        } += spent;
        Self { phase, since: self.since + spent, ..self }
    }
}

struct Timed {
    trace_id: TraceId,
    clock: Cell<Clock>,
    session_id: OnceCell<Arc<str>>,
}

tokio::task_local! {
    static CALL: Timed;
}

/// Carries out a call that has begun a moment ago, by the clock.
pub async fn timed<F: Future>(begun: Instant, trace_id: TraceId, call: F) -> F::Output {
    let clock = Cell::new(Clock::new(begun));
    CALL.scope(Timed { trace_id, clock, session_id: OnceCell::new() }, call).await
}

/// The trace of the call that is being carried out.
pub fn trace_id() -> Option<TraceId> {
    CALL.try_with(|timed| timed.trace_id).ok()
}

/// The call waits until this is dropped, unless it is told otherwise meanwhile.
#[derive(Debug)]
#[must_use]
pub struct Waiting(());

/// From now on the call waits.
pub fn waiting() -> Waiting {
    enter(Phase::Queue);
    Waiting(())
}

impl Drop for Waiting {
    fn drop(&mut self) {
        enter(Phase::Format);
    }
}

impl Waiting {
    /// A process has the call from now on, until this is dropped.
    pub fn over_and_served(self) -> Self {
        enter(Phase::Worker);
        self
    }
}

/// A process had the call between these two moments.
pub fn served(asked: Instant, answered: Instant) {
    change(|clock| clock.enter(Phase::Worker, asked).enter(Phase::Format, answered));
}

/// The session that the call is about.
pub fn of_session(id: &Arc<str>) {
    // The first one that it names is told.
    CALL.try_with(|timed| timed.session_id.set(Arc::clone(id)).ok()).ok();
}

/// How long the call has been in each phase, up to `at`, and the session that it is about.
pub fn so_far(at: Instant) -> (Phases, Option<Arc<str>>) {
    let told = CALL.try_with(|timed| {
        let clock = timed.clock.get().enter(Phase::Format, at);
        (clock.spent, timed.session_id.get().cloned())
    });
    told.unwrap_or_default()
}

fn enter(phase: Phase) {
    change(|clock| clock.enter(phase, Instant::now()));
}

fn change(change: impl FnOnce(Clock) -> Clock) {
    // Whatever has no clock is no call.
    CALL.try_with(|timed| timed.clock.set(change(timed.clock.get()))).ok();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(begun: Instant, millis: u64) -> Instant {
        begun + Duration::from_millis(millis)
    }

    fn millis(phases: Phases) -> [u128; 4] {
        phases.named().map(|(_, took)| took.as_millis())
    }

    #[test]
    fn each_moment_is_of_one_phase_and_what_is_told_late_counts_once() {
        let begun = Instant::now();
        let at = |millis| after(begun, millis);
        let clock = Clock::new(begun).enter(Phase::Queue, at(1));
        let clock = clock.enter(Phase::Worker, at(3)).enter(Phase::Format, at(10));
        // Another one that was asked at the same time is answered.
        let clock = clock.enter(Phase::Worker, at(5)).enter(Phase::Format, at(14));
        assert_eq!(millis(clock.enter(Phase::Format, at(15)).spent), [1, 2, 11, 1]);
    }

    #[tokio::test]
    async fn a_call_carries_its_clock_along_and_what_it_starts_does_not() {
        let begun = Instant::now();
        let (spent, session_id, of_another) = timed(begun, TraceId(7), async {
            {
                let _waiting = waiting();
                tokio::task::yield_now().await;
                served(Instant::now(), Instant::now() + Duration::from_secs(5));
            }
            of_session(&"sim_1".into());
            of_session(&"sim_2".into());
            assert_eq!(trace_id(), Some(TraceId(7)));
            let of_another = tokio::spawn(async { so_far(Instant::now()) }).await.unwrap();
            let (spent, session_id) = so_far(begun + Duration::from_mins(1));
            (spent, session_id, of_another)
        })
        .await;
        assert_eq!(of_another, (Phases::default(), None));
        assert_eq!(session_id.as_deref(), Some("sim_1"));
        assert!(Duration::from_secs(4) < spent.worker, "{spent:?}");
        let sum: Duration = spent.named().iter().map(|(_, took)| *took).sum();
        assert_eq!(sum, Duration::from_mins(1));
    }

    proptest! {
        #[test]
        fn phases_add_up_whatever_is_told_in_whatever_order(
            told in proptest::collection::vec((0_u64..4, 0_u64..1000), 0..40),
        ) {
            let begun = Instant::now();
            let mut clock = Clock::new(begun);
            for (phase, millis) in told {
                let phase = match phase {
                    0 => Phase::Validate,
                    1 => Phase::Queue,
                    2 => Phase::Worker,
                    _ => Phase::Format,
                };
                clock = clock.enter(phase, after(begun, millis));
            }
            let spent = clock.enter(Phase::Format, after(begun, 1000)).spent;
            prop_assert_eq!(millis(spent).iter().sum::<u128>(), 1000);
        }
    }
}

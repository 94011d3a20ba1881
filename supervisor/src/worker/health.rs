//! Is a worker alive?
//!
//! Only progress counts: the number that the simulation loop itself moves. A worker that owes
//! progress and shows none is looked at closer, because there are four reasons for it: a signal
//! stopped it, it computes for nothing, it waits for nothing, or the machine gives it no time. The
//! last one is not its fault.

use std::time::{Duration, Instant};

use super::ending::Kind;
use crate::pool::reading::Activity;

/// How often a worker that owes progress is looked at, and how long it may show none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    patience: Duration,
    suspicion: Option<Suspicion>,
}

/// Since when there was no progress.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    progress: u64,
    since: Instant,
    cpu: Duration,
}

/// A starved worker gets this many times the patience.
const STARVED_FACTOR: u32 = 10;

impl Health {
    /// A hang is to be noticed within `hang_after`.
    pub(super) fn new(hang_after: Duration) -> Self {
        // Progress may stop right after a look, and the verdict falls at a look.
        Self { patience: hang_after * 3 / 5, suspicion: None }
    }

    /// The time between two looks.
    pub(super) fn pause(hang_after: Duration) -> Duration {
        hang_after / 5
    }

    /// The worker owes nothing.
    pub(super) fn content(&mut self) {
        self.suspicion = None;
    }

    /// A look at a worker that owes progress. `at_least` lengthens the patience for work that
    /// shows no progress by nature.
    pub(super) fn look(
        &mut self,
        now: Instant,
        progress: u64,
        at_least: Option<Duration>,
        activity: impl FnOnce() -> Option<Activity>,
    ) -> Option<Kind> {
        let patience = self.patience.max(at_least.unwrap_or_default());
        let suspicion = self.suspicion.filter(|suspicion| suspicion.progress == progress);
        let Some(Suspicion { since, cpu, .. }) = suspicion else {
            let cpu = activity().map(|activity| activity.cpu).unwrap_or_default();
            self.suspicion = Some(Suspicion { progress, since: now, cpu });
            return None;
        };
        let silent = now.saturating_duration_since(since);
        if silent < patience {
            return None;
        }
        // A process that cannot be looked at is about to be reaped.
        let activity = activity()?;
        if activity.stopped {
            Some(Kind::Suspended)
        } else if patience <= activity.cpu.saturating_sub(cpu) {
            Some(Kind::Spinning)
        } else if !activity.runnable {
            Some(Kind::Stuck)
        } else if patience * STARVED_FACTOR <= silent {
            Some(Kind::Spinning)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks every 200 ms at a worker that makes no progress, for 20 s, and tells after how long
    /// it is given up.
    fn given_up(activity: impl Fn(Duration) -> Activity) -> Option<(Duration, Kind)> {
        let mut health = Health::new(SECOND);
        let begun = Instant::now();
        (0..100).map(|look| Health::pause(SECOND) * look).find_map(|elapsed| {
            let verdict = health.look(begun + elapsed, 7, None, || Some(activity(elapsed)));
            verdict.map(|kind| (elapsed, kind))
        })
    }

    #[test]
    fn a_hang_is_noticed_within_the_limit_and_named() {
        let idle = Activity { stopped: false, runnable: false, cpu: Duration::ZERO };
        let (after, kind) = given_up(|_| idle).unwrap();
        assert!(after < SECOND && kind == Kind::Stuck);
        let (after, kind) = given_up(|_| Activity { stopped: true, ..idle }).unwrap();
        assert!(after < SECOND && kind == Kind::Suspended);
        let busy = |elapsed| Activity { stopped: false, runnable: true, cpu: elapsed };
        let (after, kind) = given_up(busy).unwrap();
        assert!(after < SECOND && kind == Kind::Spinning);
    }

    #[test]
    fn a_starved_worker_is_given_more_time() {
        let starved = |elapsed| Activity { stopped: false, runnable: true, cpu: elapsed / 100 };
        let (after, _) = given_up(starved).unwrap();
        assert!(5 * SECOND < after, "{after:?}");
    }

    #[test]
    fn progress_clears_all_suspicion() {
        let mut health = Health::new(SECOND);
        let begun = Instant::now();
        let idle = Activity { stopped: false, runnable: false, cpu: Duration::ZERO };
        for look in 0..100 {
            let now = begun + Health::pause(SECOND) * look;
            assert_eq!(health.look(now, u64::from(look), None, || Some(idle)), None);
        }
    }
}

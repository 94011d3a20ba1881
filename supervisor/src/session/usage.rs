//! How a session is used: what decides whether it is idle, and whether it may be put to sleep.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simward_protocol::call::Request;

use super::Status;

/// How a session is used.
#[derive(Debug)]
pub(super) struct Usage {
    /// Since when this daemon has it.
    since: Instant,
    /// Calls that are being made, those that wait for a worker included.
    in_flight: AtomicU64,
    /// Calls that have got the worker and not its answer.
    asking: AtomicU64,
    /// When the last one ended, in milliseconds after `since`.
    last_millis: AtomicU64,
    /// Whether anybody has named it by its handle.
    addressed: AtomicBool,
    /// Calls answered that may have changed something.
    changes: AtomicU64,
    /// Whether it has begun a simulation in the background, which may have ended by itself.
    has_run: AtomicBool,
}

impl Usage {
    pub(super) fn new(addressed: bool) -> Self {
        Self {
            since: Instant::now(),
            in_flight: AtomicU64::new(0),
            asking: AtomicU64::new(0),
            last_millis: AtomicU64::new(0),
            addressed: AtomicBool::new(addressed),
            changes: AtomicU64::new(0),
            has_run: AtomicBool::new(false),
        }
    }

    /// For how long nobody has used it; nothing while somebody does.
    pub(super) fn idle(&self) -> Duration {
        if self.in_flight.load(Ordering::Relaxed) != 0 {
            self.touch();
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(last)
    }

    /// It is used now.
    pub(super) fn touch(&self) {
        let millis = self.since.elapsed().as_millis();
        self.last_millis.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Somebody has named it by its handle.
    pub(super) fn address(&self) {
        self.touch();
        self.addressed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_addressed(&self) -> bool {
        self.addressed.load(Ordering::Relaxed)
    }

    /// How many calls were answered that may have changed something.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// A call was answered that may have changed something.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a simulation in the background was begun in its worker.
    pub(super) fn run_begun(&self, begun: bool) {
        self.has_run.store(begun, Ordering::Relaxed);
    }

    /// Whether something of the session may run in the background: it has begun something, and
    /// something runs in its worker.
    pub(super) fn is_running(&self, status: &Status) -> bool {
        self.has_run.load(Ordering::Relaxed)
            && status.worker.as_ref().is_some_and(|(worker, _)| worker.status().vitals.running)
    }

    /// Whether a call has got the worker. Asked under the lock of the session's status, under which
    /// calls get it.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.load(Ordering::SeqCst) != 0
    }
}

/// Whether a call leaves everything as it is. What is not known to do so may change something:
/// then subscribers look once too often.
pub(super) fn only_looks(request: &Request) -> bool {
    use Request::{
        DescribeModel, GetState, ListModels, Listen, MeasureMemory, SaveModel, TimePhases,
    };
    matches!(
        request,
        DescribeModel(_)
            | GetState(_)
            | ListModels(_)
            | Listen(_)
            | MeasureMemory(_)
            | SaveModel(_)
            | TimePhases(_)
    )
}

/// A session in use, from the beginning of a call to its end.
pub(super) struct Using<'a>(&'a Usage);

impl<'a> Using<'a> {
    pub(super) fn enter(usage: &'a Usage) -> Self {
        usage.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(usage)
    }
}

impl Drop for Using<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session whose worker is being asked: it stays awake.
pub(super) struct Asking<'a>(&'a Usage);

impl<'a> Asking<'a> {
    pub(super) fn enter(usage: &'a Usage) -> Self {
        usage.asking.fetch_add(1, Ordering::SeqCst);
        Self(usage)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::SeqCst);
    }
}

//! What is counted of workers since the daemon's start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use simward_protocol::session::Vitals;

/// Seconds, from what a start takes on an idle machine to what nobody waits for.
const SECS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 10.0];

/// The most that a worker can do between two looks, in steps or nanoseconds: half an hour's work. That
/// a sum of these goes round takes more looks than there will be.
const MORE_MAX: u64 = 1 << 41;

/// The label of an ending.
type Kind = [(&'static str, &'static str); 1];

/// The counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tally {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ready_secs: Histogram,
    recovery_secs: Histogram,
    endings: Family<Kind, Counter>,
    steps: AtomicU64,
    busy_nanos: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        let inner = Inner {
            ready_secs: Histogram::new(SECS),
            recovery_secs: Histogram::new(SECS),
            endings: Family::default(),
            steps: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Tally {
    /// A worker was ready that long after its start.
    pub(crate) fn ready(&self, after: Duration) {
        self.inner.ready_secs.observe(after.as_secs_f64());
    }

    /// A session had a worker again that long after it had lost one.
    pub(crate) fn recovered(&self, after: Duration) {
        self.inner.recovery_secs.observe(after.as_secs_f64());
    }

    /// A worker ended.
    pub(crate) fn ended(&self, kind: &'static str) {
        self.inner.endings.get_or_create_owned(&[("ending", kind)]).inc();
    }

    /// What a worker tells of itself has changed. It only grows, and not beyond reason; one that says
    /// otherwise counts for nothing, or for little.
    pub(crate) fn worked(&self, before: Vitals, now: Vitals) {
        let Inner { steps, busy_nanos, .. } = &*self.inner;
        let more = |now: u64, before: u64| now.saturating_sub(before).min(MORE_MAX);
        steps.fetch_add(more(now.steps_total, before.steps_total), Ordering::Relaxed);
        busy_nanos.fetch_add(more(now.busy_nanos, before.busy_nanos), Ordering::Relaxed);
    }

    /// How long workers take until they are ready, in seconds.
    pub fn ready_secs(&self) -> &Histogram {
        &self.inner.ready_secs
    }

    /// How long sessions take to get over the loss of a worker, in seconds.
    pub fn recovery_secs(&self) -> &Histogram {
        &self.inner.recovery_secs
    }

    /// How workers have ended.
    pub fn endings(&self) -> &Family<Kind, Counter> {
        &self.inner.endings
    }

    /// Simulation steps of all workers.
    pub fn steps(&self) -> u64 {
        self.inner.steps.load(Ordering::Relaxed)
    }

    /// How long all workers were busy.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.inner.busy_nanos.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_adds_up_over_workers_and_never_goes_back() {
        let tally = Tally::default();
        let at = |steps_total, busy_nanos| Vitals { steps_total, busy_nanos, ..Vitals::default() };
        tally.worked(at(0, 0), at(10, 1_000_000_000));
        tally.worked(at(10, 1_000_000_000), at(15, 1_500_000_000));
        tally.worked(at(15, 1_500_000_000), at(3, 0));
        tally.worked(at(0, 0), at(7, 0));
        assert_eq!((tally.steps(), tally.busy()), (22, Duration::from_millis(1500)));
        for _ in 0..1000 {
            let before = tally.steps();
            tally.worked(at(0, 0), at(u64::MAX, u64::MAX));
            assert!(before < tally.steps());
        }
    }
}

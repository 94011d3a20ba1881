//! Where the simulation thread puts up a snapshot, and the port's threads read it.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::nudge;
use crate::control::Job;
use crate::pulse::Pulse;

/// How long a client waits for a snapshot.
const PATIENCE: Duration = Duration::from_secs(1);

/// A model at a moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Glance {
    pub(crate) model_id: String,
    pub(crate) time_secs: f64,
    pub(crate) qpos: Vec<f64>,
}

/// The models of each slot at a moment.
type Snapshot = BTreeMap<u32, Vec<Glance>>;

/// The latest snapshot, with its number.
#[derive(Debug, Default)]
pub(crate) struct Board {
    latest: Mutex<(u64, Arc<Snapshot>)>,
    changed: Condvar,
}

impl Board {
    /// Puts up a snapshot.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = (latest.0 + 1, Arc::new(snapshot));
        self.changed.notify_all();
    }

    /// Asks for a snapshot and waits for it. Nothing if the simulation thread is too busy, with one
    /// long step.
    pub(crate) fn ask(&self, pulse: &Pulse, jobs: &SyncSender<Job>) -> Option<Arc<Snapshot>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = latest.0;
        pulse.want_snapshot();
        nudge(pulse, jobs);
        let (latest, waited) = self
            .changed
            .wait_timeout_while(latest, PATIENCE, |latest| latest.0 == before)
            .unwrap_or_else(PoisonError::into_inner);
        (!waited.timed_out()).then(|| Arc::clone(&latest.1))
    }
}

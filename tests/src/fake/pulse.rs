//! What the simulation thread tells the control thread, and the other way round.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use simward_protocol::session::Vitals;

/// Shared by the two threads.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Beat>);

#[derive(Debug, Default)]
struct Beat {
    vitals: Vitals,
    call: Option<u64>,
    cancelled: Option<u64>,
}

impl Pulse {
    /// A call begins, unless it was withdrawn already. Background work has no id.
    pub(crate) fn begin(&self, call: Option<u64>) -> bool {
        let mut beat = self.beat();
        if call.is_some() && beat.cancelled == call {
            return false;
        }
        beat.call = call;
        beat.vitals.busy = true;
        beat.vitals.call_steps = (0, 0);
        true
    }

    /// How many steps the current call wants.
    pub(crate) fn expects(&self, steps: u64) {
        self.beat().vitals.call_steps = (0, steps);
    }

    /// Steps were taken.
    pub(crate) fn stepped(&self, steps: u64) {
        let vitals = &mut self.beat().vitals;
        vitals.progress += steps;
        vitals.steps_total += steps;
        vitals.call_steps.0 += steps;
    }

    /// A piece of work is done.
    pub(crate) fn end(&self, took: Duration) {
        let mut beat = self.beat();
        beat.call = None;
        beat.vitals.progress += 1;
        beat.vitals.busy = false;
        beat.vitals.busy_nanos += u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Whether background simulations are under way.
    pub(crate) fn runs(&self, running: bool) {
        self.beat().vitals.running = running;
    }

    /// Withdraws a call.
    pub(crate) fn cancel(&self, call: u64) {
        self.beat().cancelled = Some(call);
    }

    /// Whether the current call was withdrawn.
    pub(crate) fn is_cancelled(&self) -> bool {
        let beat = self.beat();
        beat.call.is_some() && beat.call == beat.cancelled
    }

    /// Everything at a glance.
    pub(crate) fn vitals(&self) -> Vitals {
        self.beat().vitals
    }

    fn beat(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

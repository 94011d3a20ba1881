//! What the simulation thread tells the others while it works.
//!
//! Plain atomics with one writer each, so that telling costs a step nothing.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64};

use simward_protocol::session::Vitals;

/// Written by the simulation thread, read by everybody.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    progress: AtomicU64,
    steps_total: AtomicU64,
    busy_nanos: AtomicU64,
    busy: AtomicBool,
    running: AtomicBool,
    call_id: AtomicU64,
    call_steps: AtomicU64,
    call_steps_asked: AtomicU64,
    /// Written by the control thread: the id of a call that shall end early.
    cancelled: AtomicU64,
    /// Written by the port's threads: a snapshot is wanted.
    snapshot_wanted: AtomicBool,
    /// Written by viewers: a frame is wanted.
    view_wanted: AtomicBool,
    /// Written by viewers: something shall be done.
    order_given: AtomicBool,
    /// Whether the simulation thread was nudged and has not noticed yet.
    nudged: AtomicBool,
}

impl Pulse {
    /// A step was taken: the `steps`-th of the current call, or of a background slice.
    pub(crate) fn stepped(&self, steps: u64) {
        add(&self.progress, 1);
        add(&self.steps_total, 1);
        self.call_steps.store(steps, Relaxed);
    }

    /// Several simulations took steps together: so many by now, of the current call.
    pub(crate) fn stepped_together(&self, steps: u64, steps_of_call: u64) {
        add(&self.progress, steps);
        add(&self.steps_total, steps);
        self.call_steps.store(steps_of_call, Relaxed);
    }

    /// It rests between two steps, because it may not go faster: that is no hang.
    pub(crate) fn rested(&self) {
        add(&self.progress, 1);
    }

    /// A call begins. `id` 0 stands for none.
    pub(crate) fn begin(&self, id: u64) {
        self.call_steps.store(0, Relaxed);
        self.call_steps_asked.store(0, Relaxed);
        self.call_id.store(id, Relaxed);
        self.busy.store(true, Relaxed);
    }

    /// How many steps the current call wants.
    pub(crate) fn expects(&self, steps: u64) {
        self.call_steps_asked.store(steps, Relaxed);
    }

    /// A piece of work is done, after so many nanoseconds.
    pub(crate) fn end(&self, nanos: u64) {
        add(&self.progress, 1);
        add(&self.busy_nanos, nanos);
        self.busy.store(false, Relaxed);
        self.call_id.store(0, Relaxed);
    }

    /// Whether background simulations are under way.
    pub(crate) fn runs(&self, running: bool) {
        self.running.store(running, Relaxed);
    }

    /// Withdraws a call.
    pub(crate) fn cancel(&self, id: u64) {
        self.cancelled.store(id, Relaxed);
    }

    /// Whether that call was withdrawn before it began.
    pub(crate) fn is_cancelled(&self, id: u64) -> bool {
        self.cancelled.load(Relaxed) == id
    }

    /// Whether the current call was withdrawn.
    pub(crate) fn current_is_cancelled(&self) -> bool {
        let current = self.call_id.load(Relaxed);
        current != 0 && self.cancelled.load(Relaxed) == current
    }

    /// Asks the simulation thread for a snapshot.
    pub(crate) fn want_snapshot(&self) {
        self.snapshot_wanted.store(true, Relaxed);
    }

    /// Whether somebody asked for a snapshot, once.
    pub(crate) fn take_snapshot_wish(&self) -> bool {
        self.snapshot_wanted.load(Relaxed) && self.snapshot_wanted.swap(false, Relaxed)
    }

    /// Asks the simulation thread for what viewers see.
    pub(crate) fn want_view(&self) {
        self.view_wanted.store(true, Relaxed);
    }

    /// Whether viewers want to see something, once.
    pub(crate) fn take_view_wish(&self) -> bool {
        self.view_wanted.load(Relaxed) && self.view_wanted.swap(false, Relaxed)
    }

    /// Tells the simulation thread that a viewer has given an order.
    pub(crate) fn give_order(&self) {
        self.order_given.store(true, Relaxed);
    }

    /// Whether orders were given, once.
    pub(crate) fn take_order(&self) -> bool {
        self.order_given.load(Relaxed) && self.order_given.swap(false, Relaxed)
    }

    /// Whether the simulation thread is to be nudged: not if it will find an earlier nudge, after
    /// which it sees everything that was wanted before this.
    pub(crate) fn nudge(&self) -> bool {
        !self.nudged.swap(true, AcqRel)
    }

    /// The simulation thread has found the nudge, or none could be sent.
    pub(crate) fn forget_nudge(&self) {
        self.nudged.swap(false, AcqRel);
    }

    /// Everything at a glance.
    pub(crate) fn vitals(&self) -> Vitals {
        Vitals {
            progress: self.progress.load(Relaxed),
            steps_total: self.steps_total.load(Relaxed),
            busy_nanos: self.busy_nanos.load(Relaxed),
            busy: self.busy.load(Relaxed),
            running: self.running.load(Relaxed),
            call_steps: (self.call_steps.load(Relaxed), self.call_steps_asked.load(Relaxed)),
        }
    }
}

/// Adds without a locked instruction: there is one writer.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed) + amount, Relaxed);
}

//! What the driver does about its worker's limits.

use std::time::{Duration, Instant};

use super::{Driver, Event, Kind, Order};

/// How often an idle worker is looked at that no control group holds to its limits.
pub(super) const GUARD_PAUSE: Duration = Duration::from_secs(2);

impl Driver {
    /// Looks whether the worker has more than it may have.
    pub(super) fn guard(&mut self) {
        self.guard_at = Some(Instant::now() + GUARD_PAUSE);
        if self.guard.finds_too_much() {
            self.apply(Event::Hung(Kind::Greedy));
        }
    }

    /// Holds the process to other limits.
    pub(super) fn limit(&mut self, order: Order) {
        self.limited.obey(order, &mut self.guard);
        let looks = self.guard.needs_looks();
        self.guard_at = self.guard_at.filter(|_| looks);
        if looks {
            self.guard_at.get_or_insert_with(|| Instant::now() + GUARD_PAUSE);
        }
    }

    /// Tells the worker what its sessions may use from now on.
    pub(super) fn tell_terms(&mut self) {
        for frame in self.limited.news() {
            if let Err(error) = self.link.send(&frame, Vec::new()) {
                self.silenced(&error);
                return;
            }
        }
    }
}

//! What the driver does when somebody has changed what its worker may use.

use std::time::Instant;

use super::{Driver, GUARD_PAUSE, Order};

impl Driver {
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

//! What the sessions of this worker may use, as it was last told: the control thread hears of it at
//! any moment, and the simulation thread puts it in force between two slices of work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use simward_protocol::session::Terms;

/// The terms of each session that there is.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// How often they were changed: what the simulation thread looks at between two slices.
    changes: AtomicU64,
    by_slot: Mutex<BTreeMap<u32, Terms>>,
}

impl Told {
    /// A session has come.
    pub(crate) fn open(&self, slot: u32, terms: Terms) {
        self.lock().insert(slot, terms);
    }

    /// A session has gone.
    pub(crate) fn close(&self, slot: u32) {
        self.lock().remove(&slot);
    }

    /// A session has other terms from now on; tells whether there is one.
    pub(crate) fn change(&self, slot: u32, terms: Terms) -> bool {
        let mut by_slot = self.lock();
        let Some(current) = by_slot.get_mut(&slot) else { return false };
        *current = terms;
        // Within the lock, so that whoever sees the number sees the terms.
        self.changes.fetch_add(1, Ordering::Release);
        true
    }

    /// The number of changes, and all terms, if there were more than `heard`.
    pub(crate) fn since(&self, heard: u64) -> Option<(u64, BTreeMap<u32, Terms>)> {
        if self.changes.load(Ordering::Acquire) == heard {
            return None;
        }
        let by_slot = self.lock();
        Some((self.changes.load(Ordering::Acquire), by_slot.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Terms>> {
        self.by_slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_heard_of_once_and_of_sessions_that_there_are() {
        let told = Told::default();
        let of = |models_max| Terms { models_max, ..Terms::default() };
        assert!(!told.change(3, of(1)));
        told.open(3, of(1));
        assert_eq!(told.since(0), None);
        assert!(told.change(3, of(2)));
        let (heard, terms) = told.since(0).unwrap();
        assert_eq!(terms, BTreeMap::from([(3, of(2))]));
        assert_eq!(told.since(heard), None);
        told.close(3);
        assert!(!told.change(3, of(1)));
        assert_eq!(told.since(heard), None);
    }
}

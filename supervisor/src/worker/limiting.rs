//! Other limits for a worker that is there already: those of its process, which its guard puts in
//! force, and those that it sees to itself, of which it is told beside its calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use simward_protocol::session::Terms;
use simward_protocol::wire::ToWorker;
use tokio::sync::{mpsc, oneshot, watch};

use super::Worker;
use crate::pool::accounts::Full;
use crate::pool::groups::Limits;
use crate::pool::guard::{Enforcement, Guard, Unfit};

/// How many changes of one process's limits may wait.
const ORDERS_MAX: usize = 16;

/// What a worker's process is held to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// What it may use.
    pub limits: Limits,
    /// By what that is enforced.
    pub enforcement: Enforcement,
}

/// Limits that were not put in force.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// They do not fit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Too many changes wait already.
    #[error("{max} changes of its limits wait already")]
    Busy {
        /// The limit.
        max: usize,
    },
    /// The worker has ended.
    #[error("its worker has ended")]
    Ended,
}

impl LimitError {
    /// More memory than the tenant has left, if it is that.
    pub fn tenants(&self) -> Option<&Full> {
        if let Self::Unfit(Unfit::Tenant(full)) = self { Some(full) } else { None }
    }
}

/// A change of a process's limits.
#[derive(Debug)]
pub(super) struct Order {
    limits: Limits,
    done: oneshot::Sender<Result<(), Unfit>>,
}

/// What everybody else has of it.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    orders: mpsc::Sender<Order>,
    /// What each session may use, by its slot: the newest is what counts.
    terms: watch::Sender<BTreeMap<u32, Terms>>,
    held: watch::Receiver<Arc<Held>>,
}

/// The driver's end.
pub(super) struct Limited {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) terms: watch::Receiver<BTreeMap<u32, Terms>>,
    held: watch::Sender<Arc<Held>>,
    /// What the worker was told.
    told: BTreeMap<u32, Terms>,
}

pub(super) fn handle(guard: &Guard) -> (Handle, Limited) {
    let (orders, ordered) = mpsc::channel(ORDERS_MAX);
    let (tell, terms) = watch::channel(BTreeMap::new());
    let (publish, held) = watch::channel(Arc::new(held_by(guard)));
    let limited = Limited { orders: ordered, terms, held: publish, told: BTreeMap::new() };
    (Handle { orders, terms: tell, held }, limited)
}

fn held_by(guard: &Guard) -> Held {
    Held { limits: guard.limits(), enforcement: guard.enforcement().clone() }
}

impl Worker {
    /// What its process is held to.
    pub fn held(&self) -> Arc<Held> {
        Arc::clone(&self.limiting.held.borrow())
    }

    /// Holds its process to other limits; returns once they are in force.
    pub async fn limit(&self, limits: Limits) -> Result<(), LimitError> {
        let (done, outcome) = oneshot::channel();
        match self.limiting.orders.try_send(Order { limits, done }) {
            Ok(()) => (),
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(LimitError::Busy { max: ORDERS_MAX });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(LimitError::Ended),
        }
        outcome.await.map_err(|_gone| LimitError::Ended)?.map_err(LimitError::Unfit)
    }

    /// Tells it what the session in a slot may use from now on: before whatever it is asked after
    /// this, and also while a call runs.
    pub fn allow(&self, slot: u32, terms: Terms) {
        self.limiting.terms.send_if_modified(|all| all.insert(slot, terms) != Some(terms));
    }

    /// The session in a slot is gone.
    pub(crate) fn forget_terms(&self, slot: u32) {
        self.limiting.terms.send_if_modified(|all| all.remove(&slot).is_some());
    }
}

impl Limited {
    /// Puts other limits in force.
    pub(super) fn obey(&self, order: Order, guard: &mut Guard) {
        let Order { limits, done } = order;
        let changed = guard.change(limits);
        self.held.send_replace(Arc::new(held_by(guard)));
        // Whoever ordered it may have stopped waiting.
        done.send(changed).ok();
    }

    /// The frames that tell the worker what has changed.
    pub(super) fn news(&mut self) -> Vec<ToWorker> {
        let terms = self.terms.borrow_and_update();
        let is_new = |(slot, terms): &(&u32, &Terms)| self.told.get(slot) != Some(*terms);
        let changed = terms.iter().filter(is_new);
        let frames = changed.map(|(&slot, &terms)| ToWorker::Allow { slot, terms }).collect();
        self.told.clone_from(&terms);
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_told_what_is_new_and_of_many_changes_the_last() {
        let (handle, mut limited) = handle(&Guard::default());
        let of = |models_max| Terms { models_max, ..Terms::default() };
        for models_max in 1..=5 {
            handle.terms.send_modify(|all| {
                all.insert(3, of(models_max));
            });
        }
        assert_eq!(limited.news(), [ToWorker::Allow { slot: 3, terms: of(5) }]);
        assert!(limited.news().is_empty());
        handle.terms.send_modify(|all| {
            all.insert(4, of(1));
        });
        assert_eq!(limited.news(), [ToWorker::Allow { slot: 4, terms: of(1) }]);
        handle.terms.send_modify(BTreeMap::clear);
        assert!(limited.news().is_empty());
        assert!(limited.told.is_empty());
    }
}

//! Whose turn it is: the policy, without locks, clocks and tasks.
//!
//! Within a tenant, first come, first served. Between tenants, the one who has the fewest turns at
//! the moment is next, so that nobody holds more than a fair share while others wait; and among
//! equals the one whose last turn is longest ago.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Bounds, Counts};
use crate::tenants::Tenant;

/// A place on the rota.
pub(super) type Ticket = u64;

/// What became of one who came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is its turn.
    Runs(Ticket),
    /// It has to wait.
    Waits(Ticket),
}

/// Why one who came was sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    All { max: usize },
    Tenant { max: usize },
}

/// Who has a turn, and who waits.
///
/// Nobody waits while there is a turn to be had.
#[derive(Debug)]
pub(super) struct Rota {
    concurrent_max: usize,
    waiting_max: usize,
    waiting_per_tenant_max: usize,
    counts: Counts,
    last_ticket: Ticket,
    tenants: BTreeMap<Tenant, Own>,
    /// Tenants who wait, the one whose last turn is longest ago first.
    ring: VecDeque<Tenant>,
}

/// One tenant's turns.
#[derive(Debug, Default)]
struct Own {
    running: BTreeSet<Ticket>,
    waiting: VecDeque<Ticket>,
}

impl Rota {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let &Bounds { concurrent_max, waiting_max, waiting_per_tenant_max, patience: _ } = bounds;
        Self {
            // Zero would let nobody through, ever.
            concurrent_max: concurrent_max.max(1),
            waiting_max,
            waiting_per_tenant_max,
            counts: Counts::default(),
            last_ticket: 0,
            tenants: BTreeMap::new(),
            ring: VecDeque::new(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Somebody wants a turn.
    pub(super) fn arrive(&mut self, tenant: &Tenant) -> Result<Arrival, Full> {
        let ticket = self.last_ticket + 1;
        if self.counts.running < self.concurrent_max {
            self.own(tenant).running.insert(ticket);
            self.counts.running += 1;
            self.last_ticket = ticket;
            return Ok(Arrival::Runs(ticket));
        }
        let own_waiting = self.tenants.get(tenant).map_or(0, |own| own.waiting.len());
        // The tenant's own bound first: it can do something about that.
        if self.waiting_per_tenant_max <= own_waiting {
            return Err(Full::Tenant { max: self.waiting_per_tenant_max });
        }
        if self.waiting_max <= self.counts.waiting {
            return Err(Full::All { max: self.waiting_max });
        }
        if own_waiting == 0 {
            self.ring.push_back(tenant.clone());
        }
        self.own(tenant).waiting.push_back(ticket);
        self.counts.waiting += 1;
        self.last_ticket = ticket;
        Ok(Arrival::Waits(ticket))
    }

    /// Somebody's turn has ended, or somebody does not wait any longer. Returns whose turn it is
    /// because of that.
    pub(super) fn leave(&mut self, tenant: &Tenant, ticket: Ticket) -> Option<Ticket> {
        let own = self.tenants.get_mut(tenant)?;
        if own.running.remove(&ticket) {
            self.counts.running -= 1;
        } else if let Some(place) = own.waiting.iter().position(|it| *it == ticket) {
            own.waiting.remove(place);
            self.counts.waiting -= 1;
            if own.waiting.is_empty() {
                self.ring.retain(|it| it != tenant);
            }
        }
        if own.running.is_empty() && own.waiting.is_empty() {
            self.tenants.remove(tenant);
        }
        self.grant()
    }

    /// Gives the free turn, if there is one, to the next.
    fn grant(&mut self) -> Option<Ticket> {
        if self.concurrent_max <= self.counts.running {
            return None;
        }
        let running = |tenant: &Tenant| self.tenants.get(tenant).map_or(0, |own| own.running.len());
        // The first of those with the fewest.
        let (place, _) = self.ring.iter().enumerate().min_by_key(|(_, it)| running(it))?;
        let tenant = self.ring.remove(place)?;
        let own = self.own(&tenant);
        let ticket = own.waiting.pop_front()?;
        own.running.insert(ticket);
        let waits_on = !own.waiting.is_empty();
        if waits_on {
            self.ring.push_back(tenant);
        }
        self.counts.waiting -= 1;
        self.counts.running += 1;
        Some(ticket)
    }

    fn own(&mut self, tenant: &Tenant) -> &mut Own {
        self.tenants.entry(tenant.clone()).or_default()
    }
}

#[cfg(test)]
mod tests;

//! Turns at something of which only so much can go on at a time, such as starts of processes.
//!
//! Who waits is served fairly by tenant: one with a thousand waiting starts keeps another from its
//! first start for the length of one turn, and not of a thousand. Whose turn it is decides the
//! `rota`; this file waits and obeys.

mod rota;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use self::rota::{Arrival, Full, Rota, Ticket};
use crate::code::Code;
use crate::tenants::Tenant;

/// How many may do it, and how many may wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many turns there are at a time; at least one.
    pub concurrent_max: usize,
    /// How many may wait, of all tenants.
    pub waiting_max: usize,
    /// How many may wait, of each tenant.
    pub waiting_per_tenant_max: usize,
    /// How long each may wait.
    pub patience: Duration,
}

/// What the turns and their bounds are called, for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// What a turn is for, in the plural: `starts`.
    pub what: &'static str,
    /// The configuration's key of [`Bounds::waiting_max`].
    pub waiting_max: &'static str,
    /// The configuration's key of [`Bounds::waiting_per_tenant_max`].
    pub waiting_per_tenant_max: &'static str,
    /// The configuration's key of [`Bounds::patience`].
    pub patience: &'static str,
}

/// No turn now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many wait already.
    #[error("{max} {what} are waiting already ({key})")]
    QueueFull {
        /// What the turn was for.
        what: &'static str,
        /// The limit.
        max: usize,
        /// Its name in the configuration.
        key: &'static str,
    },
    /// Too many of this tenant's wait already.
    #[error("{max} {what} of this tenant are waiting already ({key})")]
    TenantQueueFull {
        /// What the turn was for.
        what: &'static str,
        /// The limit.
        max: usize,
        /// Its name in the configuration.
        key: &'static str,
    },
    /// The wait was too long.
    #[error("too many {what}: no turn within {} s ({key})", .patience.as_secs_f64())]
    TooLong {
        /// What the turn was for.
        what: &'static str,
        /// The limit.
        patience: Duration,
        /// Its name in the configuration.
        key: &'static str,
    },
}

impl Code for Error {
    fn code(&self) -> &'static str {
        "busy"
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}

/// How many have a turn, and how many wait for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those who have one.
    pub running: usize,
    /// Those who wait.
    pub waiting: usize,
}

/// A cheap handle to the turns.
#[derive(Clone, Debug)]
pub struct Turns {
    patience: Duration,
    names: Names,
    queue: Arc<Mutex<Queue>>,
}

/// The rota, and how to reach those who are on it.
#[derive(Debug)]
struct Queue {
    rota: Rota,
    waiting: BTreeMap<Ticket, oneshot::Sender<()>>,
}

/// A turn. It ends when this is dropped.
pub struct Turn {
    tenant: Tenant,
    ticket: Ticket,
    queue: Arc<Mutex<Queue>>,
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl Turns {
    /// Turns within bounds. A bound of zero on those who wait lets nobody wait.
    pub fn new(bounds: Bounds, names: Names) -> Self {
        let queue = Queue { rota: Rota::new(&bounds), waiting: BTreeMap::new() };
        let queue = Arc::new(Mutex::new(queue));
        Self { patience: bounds.patience, names, queue }
    }

    /// Waits for a turn. Cancel safe: who gives up leaves the queue, and a turn that comes at the
    /// same moment goes to the next.
    pub async fn enter(&self, tenant: &Tenant) -> Result<Turn, Error> {
        let (turn, granted) = self.arrive(tenant)?;
        let Some(granted) = granted else { return Ok(turn) };
        match tokio::time::timeout(self.patience, granted).await {
            Ok(Ok(())) => Ok(turn),
            // Dropping the turn leaves the queue.
            Err(_) | Ok(Err(_)) => Err(self.too_long()),
        }
    }

    /// How many have a turn, and how many wait for one.
    pub fn counts(&self) -> Counts {
        lock(&self.queue).rota.counts()
    }

    /// A place in the queue, and what tells when it has become a turn if it is none yet.
    fn arrive(&self, tenant: &Tenant) -> Result<(Turn, Option<oneshot::Receiver<()>>), Error> {
        let mut queue = lock(&self.queue);
        let turn = |ticket| {
            let (tenant, queue) = (tenant.clone(), Arc::clone(&self.queue));
            Turn { tenant, ticket, queue }
        };
        match queue.rota.arrive(tenant).map_err(|full| self.full(full))? {
            Arrival::Runs(ticket) => Ok((turn(ticket), None)),
            Arrival::Waits(ticket) => {
                let (grant, granted) = oneshot::channel();
                queue.waiting.insert(ticket, grant);
                Ok((turn(ticket), Some(granted)))
            }
        }
    }

    fn full(&self, full: Full) -> Error {
        let Names { what, waiting_max, waiting_per_tenant_max, .. } = self.names;
        match full {
            Full::All { max } => Error::QueueFull { what, max, key: waiting_max },
            Full::Tenant { max } => {
                Error::TenantQueueFull { what, max, key: waiting_per_tenant_max }
            }
        }
    }

    fn too_long(&self) -> Error {
        let Names { what, patience: key, .. } = self.names;
        Error::TooLong { what, patience: self.patience, key }
    }
}

impl Drop for Turn {
    /// Also the end of a wait: a turn that was never received is a turn that ends.
    fn drop(&mut self) {
        let granted = {
            let mut queue = lock(&self.queue);
            queue.waiting.remove(&self.ticket);
            let next = queue.rota.leave(&self.tenant, self.ticket);
            next.and_then(|ticket| queue.waiting.remove(&ticket))
        };
        if let Some(granted) = granted {
            // Whoever gave up in this moment drops the turn, which is now its own.
            granted.send(()).ok();
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! What a session is: decided when it is created, and the same for all its workers; but for what it
//! may use, which may change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::{Isolation, RecordingsConfig};
use crate::limits::Limits;
use crate::tenants::Tenant;

/// What a session is, decided when it is created.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its handle.
    pub id: Arc<str>,
    /// Whose it is.
    pub tenant: Tenant,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whether it has its worker to itself.
    pub isolation: Isolation,
    /// What it may use.
    pub may_use: MayUse,
    /// How many threads its worker may have.
    pub threads_max: Option<u64>,
    /// How much the checkpoints of its models may take, in bytes.
    pub checkpoint_bytes_max: u64,
    /// What it may record.
    pub recordings: RecordingsConfig,
    /// How long a call may take in all, whatever progress its worker claims.
    pub call_within: Duration,
    /// What a client of its port must present.
    pub token: Arc<str>,
    /// How long it may be unused.
    pub idle_timeout: Duration,
    /// How long it may live.
    pub max_age: Duration,
    /// When it was created.
    pub birth: Birth,
}

/// What a session may use. Copies are of the same session, and change with it.
#[derive(Clone, Debug)]
pub struct MayUse {
    current: Arc<Mutex<Allowed>>,
}

/// What a session may use at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed {
    /// The limits.
    pub limits: Limits,
    /// How many models it may hold.
    pub models_max: u32,
}

impl MayUse {
    pub(crate) fn new(allowed: Allowed) -> Self {
        Self { current: Arc::new(Mutex::new(allowed)) }
    }

    /// What it may use now.
    pub fn now(&self) -> Allowed {
        *self.lock()
    }

    /// Another thing from now on.
    pub(super) fn change(&self, allowed: Allowed) {
        *self.lock() = allowed;
    }

    /// Tells it to somebody, while nobody changes it: so the last who is told hears the newest.
    pub(super) fn tell(&self, tell: impl FnOnce(Allowed)) {
        let current = self.lock();
        tell(*current);
    }

    fn lock(&self) -> MutexGuard<'_, Allowed> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// What it may use now.
    pub fn limits(&self) -> Limits {
        self.may_use.now().limits
    }

    /// How many models it may hold now.
    pub fn models_max(&self) -> u32 {
        self.may_use.now().models_max
    }

    /// On how many processors a call may compute at a time.
    pub fn threads_of_work(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        // A thread beside these speaks with the supervisor.
        let threads = self.threads_max.map_or(u64::MAX, |max| max.saturating_sub(2));
        let share = self.limits().cpu_ratio.unwrap_or(f64::INFINITY).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let share = share as u32;
        cores.min(share).min(u32::try_from(threads).unwrap_or(u32::MAX)).max(1)
    }
}

/// When something began, possibly before this daemon.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// By the calendar.
    pub at: SystemTime,
    /// How old it was when this daemon got it, and when that was.
    seen: (Duration, Instant),
}

impl Birth {
    /// At a time that has passed.
    pub fn at(at: SystemTime) -> Self {
        // A clock that was set back makes things young, and no more.
        Self { at, seen: (at.elapsed().unwrap_or_default(), Instant::now()) }
    }

    /// How long ago.
    pub fn age(&self) -> Duration {
        let (before, seen) = self.seen;
        before + seen.elapsed()
    }
}

//! What a session is: decided when it is created, and the same for all its workers.

use std::sync::Arc;
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
    pub limits: Limits,
    /// How many threads its worker may have.
    pub threads_max: Option<u64>,
    /// How many models it may hold.
    pub models_max: u32,
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

impl Plan {
    /// On how many processors a call may compute at a time.
    pub fn threads_of_work(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        // A thread beside these speaks with the supervisor.
        let threads = self.threads_max.map_or(u64::MAX, |max| max.saturating_sub(2));
        let share = self.limits.cpu_ratio.unwrap_or(f64::INFINITY).ceil();
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

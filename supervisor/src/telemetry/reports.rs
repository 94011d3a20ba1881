//! What people ask most, as they ask it: made of series, totals and meters.

pub mod fleet;
pub mod memory;
pub mod overview;
pub mod simulations;
pub mod tools;

use serde::{Deserialize, Serialize};

use super::query::rounded;
use crate::durations::Durations;

/// How long something takes.
#[expect(clippy::struct_field_names, reason = "units stand last in names")]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Times {
    /// On average.
    pub mean_secs: f64,
    /// What half of them do not exceed.
    pub p50_secs: f64,
    /// What 95 % of them do not exceed.
    pub p95_secs: f64,
    /// What 99 % of them do not exceed.
    pub p99_secs: f64,
}

impl Times {
    /// Of these; nothing of none.
    pub fn of(durations: &Durations) -> Option<Self> {
        let percentile = |ratio| durations.percentile(ratio).map(rounded);
        Some(Self {
            mean_secs: rounded(durations.mean()?),
            p50_secs: percentile(0.5)?,
            p95_secs: percentile(0.95)?,
            p99_secs: percentile(0.99)?,
        })
    }
}

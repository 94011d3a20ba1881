//! What one session may use.

use serde::{Deserialize, Serialize};

/// The limits of a session. What is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Resident memory of its process, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time over elapsed time: 0.5 is half a core.
    pub cpu_ratio: Option<f64>,
    /// Simulation steps per second, all models together.
    pub step_rate: Option<f64>,
    /// Models that it may hold.
    pub models: Option<u32>,
}

//! What one session may use: what its owner asks, within what the operator allows.

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

impl Limits {
    /// These, and of the others those that are given.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        Self {
            memory_bytes: others.memory_bytes.or(self.memory_bytes),
            cpu_ratio: others.cpu_ratio.or(self.cpu_ratio),
            step_rate: others.step_rate.or(self.step_rate),
            models: others.models.or(self.models),
        }
    }
}

/// What the operator allows each session. Zero means no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allowance {
    /// Resident memory of its process, in bytes.
    pub memory_bytes: u64,
    /// Processor time over elapsed time.
    pub cpu_ratio: f64,
    /// Simulation steps per second, all models together.
    pub step_rate: f64,
    /// Threads of its process.
    pub threads: u64,
}

/// What the operator allows all sessions of a tenant together. Zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantAllowance {
    /// Memory of their processes, in bytes.
    pub memory_bytes: u64,
    /// Processor time over elapsed time.
    pub cpu_ratio: f64,
    /// Simulation steps per second.
    pub step_rate: f64,
}

impl TenantAllowance {
    /// The memory limit, if there is one.
    pub fn memory_bytes(&self) -> Option<u64> {
        Some(self.memory_bytes).filter(|bytes| *bytes != 0)
    }

    /// The processor limit, if there is one.
    pub fn cpu_ratio(&self) -> Option<f64> {
        Some(self.cpu_ratio).filter(|ratio| 0.0 < *ratio)
    }

    /// The limit of steps, if there is one.
    pub fn step_rate(&self) -> Option<f64> {
        Some(self.step_rate).filter(|rate| 0.0 < *rate)
    }
}

/// The lesser of two limits, where what is absent does not limit.
pub fn least<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).reduce(|one, other| if other < one { other } else { one })
}

impl Default for Allowance {
    fn default() -> Self {
        Self { memory_bytes: 2 << 30, cpu_ratio: 0.0, step_rate: 0.0, threads: 64 }
    }
}

impl Allowance {
    /// What its owner asks for, where that is less than what is allowed.
    pub fn within(&self, asked: &Limits) -> Limits {
        let allowed = |ratio: f64| Some(ratio).filter(|ratio| 0.0 < *ratio);
        let allowed_bytes = Some(self.memory_bytes).filter(|bytes| *bytes != 0);
        Limits {
            memory_bytes: least(asked.memory_bytes, allowed_bytes),
            cpu_ratio: least(asked.cpu_ratio, allowed(self.cpu_ratio)),
            step_rate: least(asked.step_rate, allowed(self.step_rate)),
            models: asked.models,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_more_than_is_allowed_gets_what_is_allowed() {
        let allowance = Allowance { memory_bytes: 100, cpu_ratio: 0.5, ..Allowance::default() };
        let asked = Limits { memory_bytes: Some(1000), step_rate: Some(5.0), ..Limits::default() };
        let limits = allowance.within(&asked);
        assert_eq!(limits.memory_bytes, Some(100));
        assert_eq!((limits.cpu_ratio, limits.step_rate), (Some(0.5), Some(5.0)));
        let less = Limits { memory_bytes: Some(10), cpu_ratio: Some(0.1), ..Limits::default() };
        assert_eq!(allowance.within(&less), less);
    }

    #[test]
    fn zero_is_no_limit() {
        let none = Allowance { memory_bytes: 0, cpu_ratio: 0.0, step_rate: 0.0, threads: 0 };
        assert_eq!(none.within(&Limits::default()), Limits::default());
    }
}

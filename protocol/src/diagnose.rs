//! Finding out why a simulation is unstable.

use serde::{Deserialize, Serialize};

use crate::named::Named;
use crate::real::Real;
use crate::simulation::Warning;

/// Looks ahead on a copy for instability, and for what causes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnose {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// How far to look, in simulated seconds.
    pub duration_secs: f64,
    /// Milliseconds after which the call ends with what it has found so far.
    pub budget_millis: u64,
}

impl Diagnose {
    /// The bounds of `duration_secs`.
    pub const DURATION_SECS: (f64, f64) = (1e-6, 600.0);
}

/// The answer to [`Diagnose`]. The simulation itself was not touched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Diagnosis {
    /// The model.
    pub model_id: String,
    /// Simulated time where it looked from, in seconds.
    pub from_secs: Real,
    /// How it goes on, with the present controls.
    pub outlook: Outlook,
    /// The same with one thing changed, on copies; only if it diverges.
    pub trials: Vec<Trial>,
    /// What is suspicious, the worst first, with the numbers that say so.
    pub findings: Vec<Finding>,
    /// Whether time was over before all was looked at.
    pub is_cut_short: bool,
}

/// How a simulation goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outlook {
    /// How far it was looked, in simulated seconds.
    pub seconds: Real,
    /// Whether the engine finds no number too large on the way.
    pub is_stable: bool,
    /// When it diverges, in seconds from now.
    pub diverges_after_secs: Option<Real>,
    /// The degree of freedom whose number was too large first.
    pub dof: Option<String>,
    /// What the engine warns of on the way.
    pub warnings: Vec<Warning>,
    /// The fastest degree of freedom.
    pub fastest_dof: Option<String>,
    /// Its velocity, in rad/s or m/s.
    pub fastest_velocity: Real,
    /// The deepest contact on the way, in metres.
    pub deepest_contact_m: Real,
    /// Mechanical energy now, in joules.
    pub energy_begin_j: Real,
    /// The largest on the way.
    pub energy_max_j: Real,
}

/// The same future with one thing changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Trial {
    /// What was changed.
    pub change: String,
    /// Whether it does not diverge then.
    pub is_stable: bool,
    /// When it diverges, in seconds from now.
    pub diverges_after_secs: Option<Real>,
}

/// Something suspicious.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// What it is; it never changes.
    pub code: String,
    /// How bad.
    pub severity: Severity,
    /// What was found, and on what.
    pub message: String,
    /// The numbers that say so.
    pub evidence: Named,
    /// What helps.
    pub advice: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Severity {
    /// A trial has shown that this is a cause.
    Cause,
    /// It often makes a simulation unstable.
    Suspicious,
    /// Worth knowing.
    Note,
}

/// The most findings of one answer.
pub const FINDINGS_MAX: usize = 20;

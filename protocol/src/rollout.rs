//! Many futures of one state at once.

use serde::{Deserialize, Serialize};

use crate::real::Real;
use crate::simulation::Warning;
use crate::state::{Part, State};

/// Tries control sequences from a model's present state, which stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The sequences: each a list of control vectors.
    pub controls: Vec<Vec<Vec<f64>>>,
    /// How many steps each takes.
    pub steps: u64,
    /// For how many steps a control vector holds; the last one holds to the end.
    pub hold_steps: u64,
    /// What to report of the state, in the end and at each sample.
    pub outputs: Vec<Part>,
    /// How many samples to take on the way, at equal distances.
    pub samples: u32,
    /// On how many processors.
    pub threads: u32,
    /// Milliseconds after which the call ends with what it has done so far.
    pub budget_millis: u64,
}

impl Rollout {
    /// The most sequences of one call.
    pub const SEQUENCES_MAX: usize = 1024;
    /// The most steps of one call, all its sequences together.
    pub const STEPS_MAX: u64 = 100_000_000;
    /// The most samples of one sequence.
    pub const SAMPLES_MAX: u32 = 1000;
    /// The most values of states that are held at a time.
    pub const HELD_MAX: usize = 32 << 20;
    /// The most values of one answer.
    pub const VALUES_MAX: usize = 200_000;
}

/// The answer to [`Rollout`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RolledOut {
    /// The model.
    pub model_id: String,
    /// The simulated time at which all of them began, in seconds.
    pub from_secs: Real,
    /// Steps that each of them took.
    pub steps_done: u64,
    /// Whether the call was cancelled or out of time before all steps were taken.
    pub is_cut_short: bool,
    /// On how many processors.
    pub threads: u32,
    /// What came of each sequence, in the order given.
    pub rollouts: Vec<Outcome>,
}

/// What came of one sequence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outcome {
    /// Why this one was not simulated to its end; the others were.
    pub error: Option<String>,
    /// What the engine warned of.
    pub warnings: Vec<Warning>,
    /// Its simulated time in the end, in seconds.
    pub time_secs: Real,
    /// The state in the end.
    pub state: Option<State>,
    /// States on the way.
    pub samples: Vec<State>,
}

//! One simulation under many parameters.

use serde::{Deserialize, Serialize};

use crate::real::{Real, Reals};
use crate::rollout::Outcome;
use crate::state::Part;

/// Simulates a model's present state under many parameters. The model stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// What varies.
    pub parameters: Vec<Parameter>,
    /// How many combinations to draw between bounds; nothing means every combination of values.
    pub draws: Option<u32>,
    /// The seed of what is drawn.
    pub seed: u64,
    /// How many steps to take.
    pub steps: u64,
    /// Controls, all nu of them; without them as they are.
    pub control: Option<Vec<f64>>,
    /// What to report of the state, in the end and at each sample.
    pub outputs: Vec<Part>,
    /// How many samples to take on the way.
    pub samples: u32,
    /// On how many processors.
    pub threads: u32,
    /// Milliseconds after which the call ends with what it has done so far.
    pub budget_millis: u64,
}

impl Sweep {
    /// The most parameters of one call.
    pub const PARAMETERS_MAX: usize = 8;
}

/// A value of the compiled model that varies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Parameter {
    /// MuJoCo's name of the field, as in `modify_model`.
    pub field: String,
    /// The body, geom, joint or actuator that it belongs to.
    #[serde(default)]
    pub name: Option<String>,
    /// Which value of several, from 0.
    #[serde(default)]
    pub component: Option<u32>,
    /// The values to try; or with `draws` the lower and the upper bound.
    pub values: Vec<f64>,
}

/// The answer to [`Sweep`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Swept {
    /// The model.
    pub model_id: String,
    /// The simulated time at which all of them began, in seconds.
    pub from_secs: Real,
    /// Steps that each of them took.
    pub steps_done: u64,
    /// Whether the call was cancelled or out of time before all steps were taken.
    pub is_cut_short: bool,
    /// The combinations, each with what came of it.
    pub results: Vec<SweepResult>,
}

/// What came of one combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SweepResult {
    /// The parameters' values, in the order given.
    pub parameters: Reals,
    /// What came of it.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub outcome: Outcome,
}

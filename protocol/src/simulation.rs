//! Advancing a simulation.

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::real::Real;
use crate::recording::{Selection, Table};
use crate::state::{Part, State, Values};

/// Advances a model by whole timesteps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// How many steps, from 1 to [`Step::STEPS_MAX`].
    pub steps: u64,
    /// Instead of `steps`: how much simulated time, in seconds.
    pub duration_secs: Option<f64>,
    /// Controls to set first; they stay until they are set again.
    pub control: Option<Values>,
    /// What ends the call early, looked at after each step.
    pub stop_when: Option<Box<Condition>>,
    /// What to report of the state afterwards, beside the time.
    pub include: Vec<Part>,
    /// What to record of its steps, into the answer.
    pub record: Option<Selection>,
    /// Milliseconds after which the call ends with what it has done so far.
    pub budget_millis: u64,
}

impl Step {
    /// The most steps of one call.
    pub const STEPS_MAX: u64 = 1_000_000;
}

/// The answer to [`Step`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stepped {
    /// The model that was advanced.
    pub model_id: String,
    /// Simulated time after the last step, in seconds.
    pub time_secs: Real,
    /// Steps taken.
    pub steps_done: u64,
    /// Why the call ended.
    pub stopped_by: StoppedBy,
    /// What the engine warned of during this call; empty when all was well.
    pub warnings: Vec<Warning>,
    /// How often the engine found the simulation unstable and started it anew from time 0.
    pub auto_resets: u64,
    /// What was asked for with `include`.
    pub state: Option<State>,
    /// What was asked for with `record`.
    pub table: Option<Table>,
}

/// Why a call that steps ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum StoppedBy {
    /// All steps were taken.
    Steps,
    /// The condition of `stop_when` was met.
    Condition,
    /// The caller withdrew the call.
    Cancelled,
    /// The call's time was over.
    Deadline,
    /// The engine found the simulation unstable and started it anew: only what follows a trajectory
    /// ends then.
    Unstable,
}

/// Something that the engine warned of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Warning {
    /// `inertia`, `contact_full`, `constraint_full`, `bad_qpos`, `bad_qvel`, `bad_qacc` or
    /// `bad_ctrl`.
    pub code: String,
    /// How often.
    pub count: u64,
    /// What it means.
    pub message: String,
}

/// Advances a model in the background, while other calls are answered between its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// Simulated seconds to advance.
    pub duration_secs: f64,
    /// Simulated seconds per second; nothing means as fast as possible.
    pub real_time_factor: Option<f64>,
    /// Controls to set first.
    pub control: Option<Values>,
}

impl Run {
    /// The longest simulated time of one background simulation, in seconds.
    pub const DURATION_SECS_MAX: f64 = 86_400.0;
    /// The bounds of the real-time factor.
    pub const REAL_TIME_FACTOR: (f64, f64) = (0.001, 1000.0);
}

/// Ends a background simulation where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
}

/// How a background simulation stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunStatus {
    /// The model.
    pub model_id: String,
    /// Whether it is being advanced now.
    pub running: bool,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The simulated time at which the background simulation ends by itself, in seconds.
    pub until_secs: Real,
    /// Steps of this background simulation so far.
    pub steps_done: u64,
    /// What the engine warned of meanwhile.
    pub warnings: Vec<Warning>,
    /// How often the engine found the simulation unstable and started it anew from time 0.
    pub auto_resets: u64,
}

/// Brings a model back to its initial state, or to a keyframe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The keyframe's name, or `#` and its index.
    pub keyframe: Option<String>,
}

/// The answer to every call that sets something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Applied {
    /// The model that was changed.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// How many values were set.
    pub values_set: u64,
    /// Whether the engine will clamp a control to its range, by actuator name.
    pub clamped: Vec<String>,
}

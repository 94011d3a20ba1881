//! Joints by name, what drives them, and forces from outside.

use serde::{Deserialize, Serialize};

use crate::named::Named;
use crate::real::{Real, Reals};

/// Reads joints by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadJoints {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// Which joints; all of them if there are none.
    pub joints: Vec<String>,
    /// The most joints of the answer.
    pub items_max: u32,
}

/// The answer to [`ReadJoints`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joints {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// Positions: 7 values for a free joint, 4 for a ball joint, else 1.
    pub positions: Named,
    /// Velocities: 6 values for a free joint, 3 for a ball joint, else 1.
    pub velocities: Named,
    /// How many joints were left out.
    pub items_cut: u32,
}

/// Reads what the actuators do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadActuators {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// Which actuators; all of them if there are none.
    pub actuators: Vec<String>,
    /// The most actuators of the answer.
    pub items_max: u32,
}

/// The answer to [`ReadActuators`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(clippy::struct_field_names, reason = "what a client reads")]
pub struct Actuators {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The actuators, in the order of `ctrl`.
    pub actuators: Vec<ActuatorState>,
    /// How many actuators were left out.
    pub items_cut: u32,
}

/// What an actuator does, in the state as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ActuatorState {
    /// Its name, or `#` and its index where it has none.
    pub name: String,
    /// Its controls; one for nearly every actuator.
    pub ctrl: Reals,
    /// Its activations, where it has any.
    pub act: Reals,
    /// Its force, in newtons or newton-metres before the gear.
    pub force: Reals,
    /// The length that it acts along: metres or radians, times the gear.
    pub length: Reals,
    /// The velocity that it acts along, per second.
    pub velocity: Reals,
    /// Whether a control lies outside its range, so that the engine clamps it.
    pub clamped: bool,
    /// Whether its force is at its limit.
    pub saturated: bool,
}

/// Asks what the actuators are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeActuators {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// Which actuators; all of them if there are none.
    pub actuators: Vec<String>,
    /// The most actuators of the answer.
    pub items_max: u32,
}

/// The answer to [`DescribeActuators`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ActuatorInfos {
    /// The model.
    pub model_id: String,
    /// The actuators, in the order of `ctrl`.
    pub actuators: Vec<ActuatorInfo>,
    /// How many actuators were left out.
    pub items_cut: u32,
}

/// What an actuator is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ActuatorInfo {
    /// Its name, or `#` and its index where it has none.
    pub name: String,
    /// What it acts on, such as `joint elbow`.
    pub acts_on: String,
    /// `motor` (the control is a force), `position` (a set point), `velocity`, or `other`.
    pub kind: String,
    /// Lowest and highest control, where controls are limited.
    pub ctrl_range: Option<(Real, Real)>,
    /// Lowest and highest force, where forces are limited.
    pub force_range: Option<(Real, Real)>,
    /// What its force is multiplied by; 6 values, of which a joint uses the first.
    pub gear: Reals,
    /// The gain's parameters, as in MJCF's `gainprm`, without zeros at the end.
    pub gain: Reals,
    /// The bias's parameters, as in MJCF's `biasprm`, without zeros at the end.
    pub bias: Reals,
}

/// Pushes a body from outside. It stays until it is set again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApplyForce {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The body.
    pub body: String,
    /// Force, in newtons, along the axes of the world.
    pub force: [f64; 3],
    /// Torque, in newton-metres, about the axes of the world.
    pub torque: [f64; 3],
    /// Where the force acts, in the world's coordinates; without it at the body's centre of mass.
    pub point: Option<[f64; 3]>,
}

/// The answer to [`ApplyForce`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ForceApplied {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The body.
    pub body: String,
    /// Force on the body from now on, in newtons, along the axes of the world.
    pub force: Reals,
    /// Torque about its centre of mass from now on, in newton-metres.
    pub torque: Reals,
}

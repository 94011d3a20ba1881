//! Loading models, and what there is to know of them.

use serde::{Deserialize, Serialize};

use crate::real::{Real, Reals};

/// Loads a compiled model. Two files travel with the call: the compiled model, and an empty
/// [checkpoint](crate::checkpoint) for its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadModel {
    /// The id that the model gets; without one the worker finds a free one.
    pub model_id: Option<String>,
    /// The size of the compiled model.
    pub bytes: u64,
}

/// Loads a compiled model and brings it to the state of its checkpoint. Both files travel with the
/// call, as with [`LoadModel`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreModel {
    /// The model's id.
    pub model_id: String,
    /// The size of the compiled model.
    pub bytes: u64,
    /// Whether a simulation in the background goes on.
    pub resume: bool,
}

/// The answer to [`RestoreModel`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// The model.
    pub model_id: String,
    /// The simulated time that it was brought to, in seconds.
    pub time_secs: Real,
    /// Steps taken since it was first loaded.
    pub steps_total: u64,
    /// Whether a simulation in the background goes on.
    pub running: bool,
}

/// Writes a model's state into another checkpoint, which travels with the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaveModel {
    /// The model's id.
    pub model_id: String,
}

/// The answer to [`SaveModel`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The simulated time, in seconds.
    pub time_secs: Real,
}

/// Brings a loaded model to the state of another checkpoint of the same compiled model, which
/// travels with the call. What was counted of the model stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptState {
    /// The model's id.
    pub model_id: String,
}

/// What a loaded model is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelSummary {
    /// The model's id in its session.
    pub model_id: String,
    /// The name that the model's source gives it, if any.
    pub name: Option<String>,
    /// Position coordinates: the length of `qpos`.
    pub nq: u32,
    /// Degrees of freedom: the length of `qvel`.
    pub nv: u32,
    /// Controls: the length of `ctrl`.
    pub nu: u32,
    /// Actuator activations: the length of `act`.
    pub na: u32,
    /// Bodies, the world included.
    pub nbody: u32,
    /// Joints.
    pub njnt: u32,
    /// Collision and visual geometries.
    pub ngeom: u32,
    /// Sites.
    pub nsite: u32,
    /// Sensors.
    pub nsensor: u32,
    /// Sensor outputs: the length of `sensordata`.
    pub nsensordata: u32,
    /// Cameras.
    pub ncam: u32,
    /// Keyframes.
    pub nkey: u32,
    /// Mocap bodies.
    pub nmocap: u32,
    /// Simulated seconds that one step advances.
    pub timestep_secs: Real,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// Steps taken since it was loaded.
    pub steps_total: u64,
    /// Whether the simulation goes on bit by bit after its process was lost or put to sleep. Not
    /// so for a model that lets islands sleep: its sleeping islands are then awake.
    pub restores_exactly: bool,
    /// Memory that the model takes, in bytes.
    pub model_bytes: u64,
    /// Memory that the model's data take, in bytes, the unused part of the arena included.
    pub data_bytes: u64,
}

/// Asks for the session's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListModels {}

/// The answer to [`ListModels`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Models {
    /// The models, by id.
    pub models: Vec<ModelSummary>,
}

/// Frees a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnloadModel {
    /// Which one; may be left out where there is only one.
    pub model_id: Option<String>,
}

/// The answer to [`UnloadModel`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unloaded {
    /// The model that was freed.
    pub model_id: String,
    /// The models that are left.
    pub models_left: u32,
}

/// Asks what a model consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeModel {
    /// Which one; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The most entries of each list.
    pub items_max: u32,
}

/// What a model consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelDescription {
    /// Sizes and times.
    pub model: ModelSummary,
    /// Gravity, in metres per second squared.
    pub gravity: Reals,
    /// The integrator: `euler`, `rk4`, `implicit` or `implicitfast`.
    pub integrator: String,
    /// The mass of everything, in kilograms.
    pub total_mass_kg: Real,
    /// The bodies, in order; a body's parent stands before it.
    pub bodies: Vec<Body>,
    /// The joints, in order.
    pub joints: Vec<Joint>,
    /// The actuators, in the order of `ctrl`.
    pub actuators: Vec<Actuator>,
    /// The sensors, in the order of `sensordata`.
    pub sensors: Vec<Sensor>,
    /// The names of the cameras.
    pub cameras: Vec<String>,
    /// The names of the sites.
    pub sites: Vec<String>,
    /// The names of the keyframes.
    pub keyframes: Vec<String>,
    /// How many entries were left out of the lists above, because of `max_items`.
    pub items_cut: u32,
}

/// A body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Body {
    /// Its name, or `#` and its index where it has none.
    pub name: String,
    /// Its parent's name.
    pub parent: String,
    /// Its own mass, in kilograms.
    pub mass_kg: Real,
}

/// A joint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Joint {
    /// Its name, or `#` and its index where it has none.
    pub name: String,
    /// `free`, `ball`, `slide` or `hinge`.
    pub kind: String,
    /// The body that it moves.
    pub body: String,
    /// Where its coordinates begin in `qpos`.
    pub qpos_index: u32,
    /// How many coordinates it has in `qpos`: 7 (free), 4 (ball) or 1.
    pub qpos_count: u32,
    /// Where its velocities begin in `qvel`.
    pub qvel_index: u32,
    /// How many velocities it has in `qvel`: 6 (free), 3 (ball) or 1.
    pub qvel_count: u32,
    /// Lower and upper limit, in `unit`, where it is limited.
    pub range: Option<(Real, Real)>,
    /// `rad`, `m`, or both for a free joint.
    pub unit: String,
}

/// An actuator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Actuator {
    /// Its name, or `#` and its index where it has none.
    pub name: String,
    /// What it acts on, such as `joint elbow`.
    pub acts_on: String,
    /// Lowest and highest control, where controls are limited.
    pub ctrl_range: Option<(Real, Real)>,
    /// Lowest and highest force, where forces are limited.
    pub force_range: Option<(Real, Real)>,
}

/// A sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sensor {
    /// Its name, or `#` and its index where it has none.
    pub name: String,
    /// MuJoCo's name of its kind, such as `jointpos`.
    pub kind: String,
    /// Where its values begin in `sensordata`.
    pub index: u32,
    /// How many values it has.
    pub count: u32,
}

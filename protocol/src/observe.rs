//! Looking at what a simulation does: bodies, sensors, contacts, energy, forces.
//!
//! Everything is of the state as it is now, and looking changes nothing.

use serde::{Deserialize, Serialize};

use crate::real::{Real, Reals};

/// The most entries that one look returns.
pub const ITEMS_MAX: u32 = 10_000;

/// Asks where bodies are and how they move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetBodies {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The bodies; all where none is named.
    pub bodies: Vec<String>,
    /// The most entries of the answer.
    pub items_max: u32,
}

/// The answer to [`GetBodies`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BodyStates {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The bodies.
    pub bodies: Vec<BodyState>,
    /// How many were left out, because of `max_items`.
    pub items_cut: u32,
}

/// Where a body is and how it moves, in world coordinates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BodyState {
    /// Its name, or `#` and its index where it has none.
    pub name: String,
    /// The origin of its frame, in metres.
    pub position_m: Reals,
    /// Its orientation: w, x, y, z.
    pub quaternion: Reals,
    /// The velocity of its frame's origin, in metres per second.
    pub linear_velocity_m_per_s: Reals,
    /// Its angular velocity, in radians per second.
    pub angular_velocity_rad_per_s: Reals,
    /// Its centre of mass, in metres.
    pub com_m: Reals,
}

/// Asks what sensors read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetSensors {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The sensors; all where none is named.
    pub sensors: Vec<String>,
    /// The most entries of the answer.
    pub items_max: u32,
}

/// The answer to [`GetSensors`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SensorData {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The sensors.
    pub sensors: Vec<SensorReading>,
    /// How many were left out, because of `max_items`.
    pub items_cut: u32,
}

/// What a sensor reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SensorReading {
    /// Its name, or `#` and its index where it has none.
    pub name: String,
    /// MuJoCo's name of its kind, such as `jointpos`.
    pub kind: String,
    /// Its values.
    pub values: Reals,
    /// Their unit; `1` where they have none, `?` where the kind alone does not tell.
    pub unit: String,
}

/// Asks what touches what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetContacts {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// Only contacts of this body.
    pub body: Option<String>,
    /// The most entries of the answer.
    pub items_max: u32,
}

/// The answer to [`GetContacts`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(clippy::struct_field_names, reason = "what a client reads")]
pub struct Contacts {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The contacts, in the engine's order.
    pub contacts: Vec<Contact>,
    /// The deepest penetration of all contacts asked for, in metres; 0 where nothing penetrates.
    pub depth_max_m: Real,
    /// How many were left out, because of `max_items`.
    pub items_cut: u32,
}

/// Two things that touch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Contact {
    /// The two geoms (or flexes, as `flex NAME`).
    pub geoms: (String, String),
    /// The two bodies; a flex has none.
    pub bodies: (Option<String>, Option<String>),
    /// The point between the two surfaces, in world coordinates, in metres.
    pub position_m: Reals,
    /// The direction from the first to the second, a unit vector.
    pub normal: Reals,
    /// How deep they are in each other, in metres; negative where they are apart, within a margin.
    pub depth_m: Real,
    /// How hard they press, in newtons.
    pub normal_force_n: Real,
    /// The length of the friction force, in newtons.
    pub friction_force_n: Real,
    /// The whole force on the second, in world coordinates, in newtons.
    pub force_n: Reals,
}

/// Asks for the energy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetEnergy {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
}

/// The answer to [`GetEnergy`], in joules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Energy {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// Energy of motion.
    pub kinetic_j: Real,
    /// Energy of height (0 at the world's origin) and of springs.
    pub potential_j: Real,
    /// Both.
    pub total_j: Real,
}

/// Asks what drives the joints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetForces {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The joints; all where none is named.
    pub joints: Vec<String>,
    /// The most entries of the answer.
    pub items_max: u32,
}

/// The answer to [`GetForces`].
///
/// For each joint: inertial = actuator + passive + constraint + applied - bias.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Forces {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// The joints.
    pub joints: Vec<JointForces>,
    /// How many were left out, because of `max_items`.
    pub items_cut: u32,
}

/// What drives a joint: one value for each of its degrees of freedom, in newtons (slide) or
/// newton-metres (hinge).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JointForces {
    /// Its name, or `#` and its index where it has none.
    pub joint: String,
    /// Of the actuators (`qfrc_actuator`).
    pub actuator: Reals,
    /// Of springs, dampers, gravity compensation and fluid (`qfrc_passive`).
    pub passive: Reals,
    /// Of contacts, limits, equalities and dry friction (`qfrc_constraint`).
    pub constraint: Reals,
    /// What gravity, Coriolis and centrifugal forces take (`qfrc_bias`).
    pub bias: Reals,
    /// The part of `bias` that gravity alone takes: `bias` at rest.
    pub gravity: Reals,
    /// What was applied from outside (`qfrc_applied` and `xfrc_applied`).
    pub applied: Reals,
    /// Mass matrix times acceleration.
    pub inertial: Reals,
}

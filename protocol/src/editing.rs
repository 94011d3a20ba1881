//! Editing a model's source, and putting what came of it in the place of the loaded model.

use serde::{Deserialize, Serialize};

use crate::compile::{Compile, Compiled};
use crate::model::ModelSummary;

/// The most edits of one call.
pub const EDITS_MAX: usize = 64;

/// The longest source that is written as one document, in bytes.
pub const XML_BYTES_MAX: usize = 8 << 20;

/// The longest piece of MJCF that is added, in bytes.
pub const FRAGMENT_BYTES_MAX: usize = 1 << 20;

/// The longest name or prefix that an edit has, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Changes a source, all or none of it, and compiles what comes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// The source that is changed.
    pub base: Compile,
    /// Sources of models that are attached.
    pub others: Vec<Compile>,
    /// What to do, in order.
    pub edits: Vec<Change>,
}

/// One change of a source. Who reads the sources first names what is attached otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change<Other = u32> {
    /// Puts another model into this one.
    Attach {
        /// Which of the other sources.
        other: Other,
        /// Where.
        to: Target,
        /// What its names begin with from then on.
        prefix: String,
        /// Where its origin lies in the target's frame, in metres.
        position: [f64; 3],
        /// How it is turned there: w, x, y, z.
        quaternion: [f64; 4],
    },
    /// Adds a piece of MJCF.
    Add {
        /// One element, or several.
        xml: String,
        /// The body that gets it; without one the world, or for a section the model.
        to: Option<String>,
    },
    /// Removes what has that name.
    Remove {
        /// MuJoCo's word for what it is, such as `geom`.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// What a model is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The world.
    World,
    /// The body of that name.
    Body(String),
    /// The site of that name: its body, at its pose.
    Site(String),
}

/// A source as one document, and the files that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flattened {
    /// The document, in MJCF. Every path in it is one of `assets`.
    pub model_xml: String,
    /// The files.
    pub assets: Vec<Taken>,
}

/// A file out of a source, and the path that it has now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The path.
    pub path: String,
    /// Which source: 0 is the base, and 1 the first of the others.
    pub source: u32,
    /// Which of its assets.
    pub index: u32,
}

/// A source that was changed and compiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// The source now.
    pub source: Flattened,
    /// What was compiled of it.
    pub compiled: Compiled,
}

/// Puts another compiled model in the place of a loaded one, with as much of its state as the two
/// have in common. Two files travel with the call: the compiled model, and an empty
/// [checkpoint](crate::checkpoint).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceModel {
    /// The model's id, which stays.
    pub model_id: String,
    /// The size of the compiled model.
    pub bytes: u64,
}

/// The answer to [`ReplaceModel`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Replaced {
    /// The model as it is now.
    pub model: ModelSummary,
    /// What it has kept of its state.
    pub carried: Carried,
    /// What is new, such as `joint elbow`.
    pub added: Vec<String>,
    /// What is gone.
    pub removed: Vec<String>,
    /// What `modify_model` had changed and is as it was compiled now, such as `body_mass of hand`.
    pub modifications_reset: Vec<String>,
    /// How many entries were left out of the lists above.
    pub items_cut: u32,
}

impl Replaced {
    /// The most entries of each list.
    pub const ITEMS_MAX: usize = 100;
}

/// How much of a state was carried over, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Carried {
    /// Joints that have their positions and velocities.
    pub joints: u32,
    /// Actuators that have their controls and activations.
    pub actuators: u32,
    /// Mocap bodies that have their poses.
    pub mocap_bodies: u32,
    /// Values that `modify_model` had changed and that are changed still.
    pub modifications: u32,
}

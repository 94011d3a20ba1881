//! The built-in scenes: our own MJCF models, and the text of one with its parameters filled in.
//!
//! A scene is here so that a client has a sound model to work with before it brings its own: each
//! is self-contained (no meshes, no files), in SI units, and takes a handful of bounded parameters.
//! This module only makes MJCF text; it compiles nothing, touches no file and knows nothing of
//! workers, sessions or models that clients upload.

mod derive;
mod list;

use std::collections::BTreeMap;

pub use self::list::SCENES;
use crate::code::Code;

/// The values a template is filled with, by the name of the placeholder.
pub type Values = BTreeMap<&'static str, f64>;

/// A built-in model with parameters.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// The name a client asks for.
    pub name: &'static str,
    /// What the scene models, in one sentence.
    pub help: &'static str,
    /// What can be set; everything else is fixed.
    pub parameters: &'static [Parameter],
    /// MJCF with a `{placeholder}` for each parameter and each derived value.
    pub template: &'static str,
    /// Adds the values that follow from the parameters and that MJCF cannot work out by itself.
    pub derive: fn(&mut Values),
}

/// Two scenes are the same scene when they bear the same name.
impl PartialEq for Scene {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A number that a client may set when it asks for a scene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// The name, with its unit last where it has one.
    pub name: &'static str,
    /// What it is, with its unit.
    pub help: &'static str,
    /// The value it has when it is not given.
    pub default: f64,
    /// The smallest value allowed.
    pub min: f64,
    /// The largest value allowed.
    pub max: f64,
}

/// Why a scene could not be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is no scene of this name.
    #[error("unknown scene {name:?}, the scenes are {}", scene_names())]
    UnknownScene {
        /// The name asked for.
        name: String,
    },
    /// The scene has no parameter of this name.
    #[error(
        "unknown parameter {parameter:?}, the parameters of {} are {}",
        .scene.name,
        parameter_names(.scene.parameters)
    )]
    UnknownParameter {
        /// The scene asked for.
        scene: &'static Scene,
        /// The name given.
        parameter: String,
    },
    /// The value is outside its bounds, or is no number at all.
    #[error("{parameter} must be between {min} and {max}, not {value}")]
    OutOfRange {
        /// The parameter's name.
        parameter: &'static str,
        /// The value given.
        value: f64,
        /// The smallest value allowed.
        min: f64,
        /// The largest value allowed.
        max: f64,
    },
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownScene { .. } => "scene_unknown",
            Self::UnknownParameter { .. } => "parameter_unknown",
            Self::OutOfRange { .. } => "parameter_out_of_range",
        }
    }
}

/// The MJCF text of the scene `name`, with defaults for every parameter not `given`.
///
/// # Errors
///
/// When there is no such scene, when it has no such parameter, or when a value is outside the
/// parameter's bounds (NaN always is).
pub fn build(name: &str, given: &BTreeMap<String, f64>) -> Result<String, Error> {
    let scene = SCENES
        .iter()
        .find(|scene| scene.name == name)
        .ok_or_else(|| Error::UnknownScene { name: name.to_owned() })?;
    let mut values = defaults(scene);
    for (key, &value) in given {
        let parameter = scene
            .parameters
            .iter()
            .find(|parameter| parameter.name == key)
            .ok_or_else(|| Error::UnknownParameter { scene, parameter: key.clone() })?;
        let Parameter { name, min, max, .. } = *parameter;
        if !(min..=max).contains(&value) {
            return Err(Error::OutOfRange { parameter: name, value, min, max });
        }
        // Templates write a minus before some values: what is zero must not bring its own.
        values.insert(name, value + 0.0);
    }
    (scene.derive)(&mut values);
    Ok(fill(scene.template, &values))
}

/// What a scene's parameters are when none is given.
fn defaults(scene: &Scene) -> Values {
    scene.parameters.iter().map(|parameter| (parameter.name, parameter.default)).collect()
}

/// The template with every placeholder that has a value replaced by it.
fn fill(template: &str, values: &Values) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), &value.to_string())
    })
}

/// The names of all scenes, for a message.
fn scene_names() -> String {
    SCENES.iter().map(|scene| scene.name).collect::<Vec<_>>().join(", ")
}

/// The names of a scene's parameters, for a message.
fn parameter_names(parameters: &[Parameter]) -> String {
    parameters.iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;

//! The built-in scenes: our own MJCF models, and the text of one with its parameters filled in.
//!
//! A scene is here so that a client has a sound model to work with before it brings its own: each
//! is self-contained (no meshes, no files), in SI units, and takes a handful of bounded parameters.
//! This module only makes MJCF text; it compiles nothing, touches no file and knows nothing of
//! workers, sessions or models that clients upload.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use crate::code::Code;

/// The gravity on Earth, m/s².
const STANDARD_GRAVITY: f64 = 9.81;

/// The density of steel, kg/m³, for bobs whose size follows from their mass.
const STEEL_DENSITY: f64 = 7850.0;

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

/// Gravity, which every scene has.
const GRAVITY: Parameter = Parameter {
    name: "gravity",
    help: "gravity, m/s^2, downwards",
    default: STANDARD_GRAVITY,
    min: 0.0,
    max: 30.0,
};

/// Every built-in scene.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "pendulum",
        help: "a simple pendulum: a bob on a massless rod, with a damped hinge and a torque motor",
        parameters: &[
            parameter("length_m", "pivot to the bob's centre, m", 1.0, 0.2, 3.0),
            parameter("mass_kg", "mass of the bob, kg", 1.0, 0.1, 20.0),
            parameter("damping", "viscous damping of the hinge, N m s/rad", 0.02, 0.0, 5.0),
            parameter("torque_limit_nm", "the motor's largest torque, N m", 5.0, 0.1, 200.0),
            GRAVITY,
        ],
        template: include_str!("scenes/pendulum.xml"),
        derive: derive_pendulum,
    },
    Scene {
        name: "double_pendulum",
        help: "a double pendulum with damped hinges and a torque motor at shoulder and elbow",
        parameters: &[
            parameter("upper_length_m", "shoulder to elbow, m", 0.5, 0.2, 2.0),
            parameter("lower_length_m", "elbow to tip, m", 0.5, 0.2, 2.0),
            parameter("upper_mass_kg", "mass of the bob at the elbow, kg", 1.0, 0.2, 5.0),
            parameter("lower_mass_kg", "mass of the bob at the tip, kg", 1.0, 0.2, 5.0),
            parameter("damping", "viscous damping of each hinge, N m s/rad", 0.01, 0.0, 5.0),
            GRAVITY,
        ],
        template: include_str!("scenes/double_pendulum.xml"),
        derive: derive_double_pendulum,
    },
    Scene {
        name: "cart_pole",
        help: "a cart on a rail with a free pole on a hinge; a motor pushes the cart",
        parameters: &[
            parameter("cart_mass_kg", "mass of the cart, kg", 1.0, 0.1, 20.0),
            parameter("pole_mass_kg", "mass of the uniform pole, kg", 0.1, 0.02, 5.0),
            parameter("pole_length_m", "length of the pole, m", 1.0, 0.2, 3.0),
            parameter("damping", "viscous friction of the cart on the rail, N s/m", 0.1, 0.0, 20.0),
            parameter("force_limit_n", "the motor's largest force, N", 20.0, 0.1, 500.0),
            GRAVITY,
        ],
        template: include_str!("scenes/cart_pole.xml"),
        derive: derive_cart_pole,
    },
    Scene {
        name: "arm",
        help: "a six-axis arm with a parallel gripper at a table with a cube and a cylinder",
        parameters: &[
            parameter("reach_scale", "scale of the upper arm and the forearm", 1.0, 0.7, 1.3),
            parameter("payload_mass_kg", "mass of each object on the table, kg", 0.1, 0.01, 1.0),
            parameter("gripper_force_n", "most force of each finger pad, N", 40.0, 5.0, 100.0),
            parameter("friction", "sliding friction coefficient of every contact", 1.0, 0.3, 2.0),
            GRAVITY,
        ],
        template: include_str!("scenes/arm.xml"),
        derive: derive_arm,
    },
];

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

/// A parameter, on one line of the table.
const fn parameter(
    name: &'static str,
    help: &'static str,
    default: f64,
    min: f64,
    max: f64,
) -> Parameter {
    Parameter { name, help, default, min, max }
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

/// Adds a derived value, rounded to a nanounit so that the MJCF stays readable.
fn put(values: &mut Values, name: &'static str, value: f64) {
    values.insert(name, (value * 1e9).round() / 1e9);
}

/// The radius of a steel ball of this mass, m.
fn ball_radius(mass: f64) -> f64 {
    (mass * 3.0 / (4.0 * PI * STEEL_DENSITY)).cbrt()
}

/// Puts the pivot high enough for the bob to clear the floor, and the camera far enough back.
fn derive_pendulum(values: &mut Values) {
    let (length, mass) = (values["length_m"], values["mass_kg"]);
    put(values, "bob_radius_m", ball_radius(mass));
    put(values, "pivot_height_m", length + 0.3);
    put_view(values, length);
}

/// As for the pendulum, and what each motor needs to hold its side level.
fn derive_double_pendulum(values: &mut Values) {
    let (upper, lower) = (values["upper_length_m"], values["lower_length_m"]);
    let (upper_mass, lower_mass) = (values["upper_mass_kg"], values["lower_mass_kg"]);
    put(values, "upper_radius_m", ball_radius(upper_mass));
    put(values, "lower_radius_m", ball_radius(lower_mass));
    put(values, "pivot_height_m", upper + lower + 0.3);
    put_view(values, upper + lower);
    let moment = upper_mass * upper + lower_mass * (upper + lower);
    put(values, "shoulder_torque_nm", STANDARD_GRAVITY * moment);
    put(values, "elbow_torque_nm", STANDARD_GRAVITY * lower_mass * lower);
}

/// Puts the rail high enough for the pole to hang clear of the floor.
fn derive_cart_pole(values: &mut Values) {
    let length = values["pole_length_m"];
    put(values, "rail_height_m", length + 0.3);
    // The rail is 5.1 m long and is to be seen whole in a 4:3 picture.
    put_view(values, length.max(2.0));
}

/// A camera that sees everything within `radius` of the point it looks at, and a light above.
fn put_view(values: &mut Values, radius: f64) {
    put(values, "extent_m", radius + 0.2);
    put(values, "camera_m", 2.9 * (radius + 0.2));
    put(values, "light_height_m", 3.0 * (radius + 0.2));
}

/// The arm's links, the gripper's gains, where the objects stand, and how to reach the cube.
fn derive_arm(values: &mut Values) {
    let scale = values["reach_scale"];
    let (upper, fore) = (0.32 * scale, 0.28 * scale);
    put(values, "upper_arm_m", upper);
    put(values, "forearm_m", fore);
    put(values, "forearm_tube_m", fore - 0.08);
    put(values, "upper_arm_kg", 2.2 * scale);
    put(values, "forearm_kg", scale);
    // Full force from 20 mm of squeeze on; critically damped with 1.06 kg felt at each pad. The
    // damping is the joints' and not the servo's: that of a servo at its force limit is not
    // integrated implicitly, and would chatter.
    let stiffness = values["gripper_force_n"] / 0.02;
    put(values, "grip_kp", stiffness);
    put(values, "finger_damping", 2.0 * (2.0 * stiffness * 1.06).sqrt());

    // The wrist centre stands 0.16 m of tool above the cube's centre, 0.02 m above the table; the
    // shoulder is 0.2 m above the table.
    let (out, up) = (0.4 * scale, 0.16 + 0.02 - 0.2);
    put(values, "cube_x_m", out);
    put(values, "cylinder_x_m", 0.35 * scale);
    // Two links, elbow up; angles from the vertical. The tool then points straight down.
    let cosine = (out * out + up * up - upper * upper - fore * fore) / (2.0 * upper * fore);
    let elbow = cosine.acos();
    let shoulder = out.atan2(up) - (fore * elbow.sin()).atan2(upper + fore * elbow.cos());
    put(values, "reach_shoulder_rad", shoulder);
    put(values, "reach_elbow_rad", elbow);
    put(values, "reach_wrist_rad", PI - shoulder - elbow);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names between braces in `text`.
    fn placeholders(text: &str) -> Vec<&str> {
        text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect()
    }

    fn one(name: &str, value: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([(name.to_owned(), value)])
    }

    #[test]
    fn every_placeholder_is_known_and_every_value_is_used() {
        for scene in SCENES {
            let mut values = defaults(scene);
            (scene.derive)(&mut values);
            let used = placeholders(scene.template);
            for name in &used {
                assert!(values.contains_key(name), "{}: {name} has no value", scene.name);
            }
            for name in values.keys() {
                // The scale works through derived values only.
                let through = *name == "reach_scale";
                assert!(through || used.contains(name), "{}: {name} is unused", scene.name);
            }
            let text = build(scene.name, &BTreeMap::new()).unwrap();
            assert!(!text.contains(['{', '}']), "{}: something is unfilled", scene.name);
        }
    }

    #[test]
    fn names_are_unique_and_templates_bear_them() {
        for (index, scene) in SCENES.iter().enumerate() {
            assert!(SCENES[..index].iter().all(|other| other.name != scene.name));
            assert!(scene.template.contains(&format!("<mujoco model=\"{}\">", scene.name)));
            assert!(scene.template.contains("<key name=\"home\""));
            assert!(!scene.template.contains("file="), "{} refers to a file", scene.name);
            assert!((3..=6).contains(&scene.parameters.len()));
            for (index, parameter) in scene.parameters.iter().enumerate() {
                let before = &scene.parameters[..index];
                assert!(before.iter().all(|other| other.name != parameter.name));
            }
        }
    }

    #[test]
    fn defaults_lie_in_range() {
        for parameter in SCENES.iter().flat_map(|scene| scene.parameters) {
            let Parameter { name, default, min, max, .. } = *parameter;
            assert!(min < max && (min..=max).contains(&default), "{name}");
            // Templates write the minus of a mirrored range themselves.
            assert!(min.is_finite() && min >= 0.0 && max.is_finite(), "{name}");
        }
    }

    #[test]
    fn every_scene_builds_at_every_bound() {
        for scene in SCENES {
            for parameter in scene.parameters {
                for value in [parameter.min, parameter.max] {
                    let text = build(scene.name, &one(parameter.name, value)).unwrap();
                    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
                }
            }
            for bound in [|p: &Parameter| p.min, |p: &Parameter| p.max] {
                let given = scene.parameters.iter().map(|p| (p.name.to_owned(), bound(p)));
                let text = build(scene.name, &given.collect()).unwrap();
                assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            }
        }
    }

    #[test]
    fn a_given_value_takes_the_place_of_the_default() {
        let text = build("pendulum", &one("length_m", 2.5)).unwrap();
        assert!(text.contains("fromto=\"0 0 0 0 0 -2.5\""));
        assert!(text.contains("gravity=\"0 0 -9.81\""));
    }

    #[test]
    fn a_minus_zero_makes_no_double_minus() {
        let text = build("cart_pole", &one("gravity", -0.0)).unwrap();
        assert!(text.contains("gravity=\"0 0 -0\""));
    }

    #[test]
    fn an_unknown_scene_is_refused() {
        let error = build("unicycle", &BTreeMap::new()).unwrap_err();
        assert_eq!(error.code(), "scene_unknown");
        let message = error.to_string();
        assert!(SCENES.iter().all(|scene| message.contains(scene.name)), "{message}");
        assert!(message.contains("\"unicycle\""), "{message}");
    }

    #[test]
    fn an_unknown_parameter_is_refused() {
        for scene in SCENES {
            let error = build(scene.name, &one("colour", 1.0)).unwrap_err();
            assert_eq!(error.code(), "parameter_unknown");
            let message = error.to_string();
            assert!(scene.parameters.iter().all(|p| message.contains(p.name)), "{message}");
            assert!(message.contains("\"colour\""), "{message}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        for scene in SCENES {
            for &Parameter { name, min, max, .. } in scene.parameters {
                let outside = [min - 1e-6, max + 1e-6, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
                for value in outside {
                    let error = build(scene.name, &one(name, value)).unwrap_err();
                    assert_eq!(error.code(), "parameter_out_of_range", "{name} {value}");
                    assert!(error.to_string().starts_with(name), "{error}");
                }
            }
        }
    }
}

//! Checking and placing the vectors that a client gives.
//!
//! Everything is checked before anything is changed.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtJoint};
use simward_protocol::fault::Fault;
use simward_protocol::state::Values;

use super::names::{self, Kind};

/// A vector of the state that can be set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Qpos,
    Qvel,
    Ctrl,
    Act,
}

/// Values at their places: where each run of values begins, and the values.
pub(crate) type Placed = Vec<(usize, Vec<f64>)>;

impl Target {
    /// MuJoCo's name of it.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Qpos => "qpos",
            Self::Qvel => "qvel",
            Self::Ctrl => "ctrl",
            Self::Act => "act",
        }
    }

    fn length(self, model: &MjModel) -> usize {
        let ffi = model.ffi();
        usize::try_from(match self {
            Self::Qpos => ffi.nq,
            Self::Qvel => ffi.nv,
            Self::Ctrl => ffi.nu,
            Self::Act => ffi.na,
        })
        .unwrap_or(0)
    }

    /// Where a joint's positions or velocities begin, and how many they are.
    pub(crate) fn of_joint(self, model: &MjModel, joint: usize) -> (usize, usize) {
        let (positions, velocities) = joint_widths(model.jnt_type()[joint]);
        match self {
            Self::Qpos => (at(model.jnt_qposadr()[joint]), positions),
            _ => (at(model.jnt_dofadr()[joint]), velocities),
        }
    }

    /// Where the values of what has that name begin, and how many they are.
    fn place(self, model: &MjModel, name: &str) -> Result<(usize, usize), Fault> {
        match self {
            Self::Qpos | Self::Qvel => {
                let joint = names::find(model, Kind::Joint, name)?;
                Ok(self.of_joint(model, joint))
            }
            Self::Ctrl => {
                let actuator = names::find(model, Kind::Actuator, name)?;
                let count = at(model.actuator_ctrlnum()[actuator]);
                Ok((at(model.actuator_ctrladr()[actuator]), count))
            }
            Self::Act => {
                let actuator = names::find(model, Kind::Actuator, name)?;
                let count = at(model.actuator_actnum()[actuator]);
                Ok((at(model.actuator_actadr()[actuator]), count))
            }
        }
    }
}

/// How many positions and velocities a joint has.
pub(crate) fn joint_widths(kind: MjtJoint) -> (usize, usize) {
    match kind {
        MjtJoint::mjJNT_FREE => (7, 6),
        MjtJoint::mjJNT_BALL => (4, 3),
        MjtJoint::mjJNT_SLIDE | MjtJoint::mjJNT_HINGE => (1, 1),
    }
}

/// Checks values and finds their places.
///
/// `field` is what the client calls the argument; `max` is the largest magnitude.
pub(crate) fn place(
    model: &MjModel,
    target: Target,
    field: &str,
    values: Values,
    max: f64,
) -> Result<Placed, Fault> {
    match values {
        Values::All(values) => {
            let expected = target.length(model);
            if values.len() != expected {
                return Err(wrong_length(field, expected, values.len()));
            }
            check(field, |index| format!("value {index}"), &values, max)?;
            Ok(vec![(0, values)])
        }
        Values::Named(named) => {
            let mut placed = Vec::with_capacity(named.len());
            for (name, values) in named {
                let (begin, expected) = target.place(model, &name)?;
                if values.len() != expected {
                    return Err(wrong_length(&format!("{field}.{name}"), expected, values.len()));
                }
                check(field, |_| format!("`{name}`"), &values, max)?;
                placed.push((begin, values));
            }
            Ok(placed)
        }
    }
}

/// Puts placed values into a vector; tells how many they are.
pub(crate) fn put(placed: &Placed, into: &mut [f64]) -> u64 {
    let mut count = 0;
    for (begin, values) in placed {
        into[*begin..*begin + values.len()].copy_from_slice(values);
        count += values.len() as u64;
    }
    count
}

/// The actuators whose controls lie outside their range, so that the engine will clamp them.
pub(crate) fn clamped(model: &MjModel, ctrl: &[f64]) -> Vec<String> {
    let ranges = model.actuator_ctrlrange();
    let limited = model.actuator_ctrllimited();
    let outside = |index: usize| {
        limited[index] && !(ranges[index][0]..=ranges[index][1]).contains(&ctrl[index])
    };
    let object = mujoco_rs::wrappers::mj_model::MjtObjBase::mjOBJ_ACTUATOR;
    let actuators = model.actuator_ctrladr().iter().zip(model.actuator_ctrlnum()).enumerate();
    actuators
        .filter(|(_, (begin, count))| (at(**begin)..at(**begin) + at(**count)).any(outside))
        .map(|(actuator, _)| names::of(model, object, actuator))
        .collect()
}

/// Refuses what is not finite, or larger than `max`.
pub(crate) fn check(
    field: &str,
    at: impl Fn(usize) -> String,
    values: &[f64],
    max: f64,
) -> Result<(), Fault> {
    for (index, value) in values.iter().copied().enumerate() {
        if !value.is_finite() {
            return Err(Fault::NotFinite { field: field.into(), at: at(index) });
        }
        if max < value.abs() {
            let field = format!("{field}: {}", at(index));
            return Err(Fault::OutOfRange { field, value, min: -max, max });
        }
    }
    Ok(())
}

/// Refuses a number that lies outside its bounds.
pub(crate) fn in_range(field: &str, value: f64, (min, max): (f64, f64)) -> Result<(), Fault> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    if !value.is_finite() {
        return Err(Fault::NotFinite { field: field.into(), at: "it".into() });
    }
    Err(Fault::OutOfRange { field: field.into(), value, min, max })
}

fn wrong_length(field: &str, expected: usize, got: usize) -> Fault {
    Fault::WrongLength { field: field.into(), expected: expected as u64, got: got as u64 }
}

fn at(index: i32) -> usize {
    usize::try_from(index).unwrap_or(0)
}

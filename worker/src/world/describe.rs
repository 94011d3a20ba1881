//! What a model consists of.

use mujoco_rs::mujoco_c::mjtIntegrator;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtJoint, MjtObjBase, MjtTrn};
use simward_protocol::model::{Actuator, Body, Joint, ModelDescription, Sensor};
use simward_protocol::real::{Real, Reals};

use super::names;
use super::simulation::Simulation;
use super::values::joint_widths;

/// Counts what a bounded list leaves out.
struct Bounded {
    items_max: usize,
    items_cut: usize,
}

impl Bounded {
    fn list<T>(&mut self, count: i64, item: impl Fn(usize) -> T) -> Vec<T> {
        let count = usize::try_from(count).unwrap_or(0);
        self.items_cut += count.saturating_sub(self.items_max);
        (0..count.min(self.items_max)).map(item).collect()
    }

    fn names(&mut self, model: &MjModel, object: MjtObjBase, count: i64) -> Vec<String> {
        self.list(count, |index| names::of(model, object, index))
    }
}

/// Describes a model, with at most `items_max` entries of each kind.
pub(crate) fn describe(
    simulation: &Simulation,
    model_id: &str,
    items_max: usize,
) -> ModelDescription {
    let model = simulation.data.model();
    let ffi = model.ffi();
    let mut bounded = Bounded { items_max, items_cut: 0 };
    let mut description = ModelDescription {
        model: simulation.summary(model_id),
        gravity: Reals(model.opt().gravity.to_vec()),
        integrator: integrator(model).to_owned(),
        total_mass_kg: Real(model.totalmass()),
        bodies: bounded.list(ffi.nbody, |index| body(model, index)),
        joints: bounded.list(ffi.njnt, |index| joint(model, index)),
        actuators: bounded.list(ffi.nactuator, |index| actuator(model, index)),
        sensors: bounded.list(ffi.nsensor, |index| sensor(model, index)),
        cameras: bounded.names(model, MjtObjBase::mjOBJ_CAMERA, ffi.ncam),
        sites: bounded.names(model, MjtObjBase::mjOBJ_SITE, ffi.nsite),
        keyframes: bounded.names(model, MjtObjBase::mjOBJ_KEY, ffi.nkey),
        items_cut: 0,
    };
    description.items_cut = u32::try_from(bounded.items_cut).unwrap_or(u32::MAX);
    description
}

fn integrator(model: &MjModel) -> &'static str {
    let kind = model.opt().integrator;
    [
        (mjtIntegrator::mjINT_EULER, "euler"),
        (mjtIntegrator::mjINT_RK4, "rk4"),
        (mjtIntegrator::mjINT_IMPLICIT, "implicit"),
        (mjtIntegrator::mjINT_IMPLICITFAST, "implicitfast"),
        (mjtIntegrator::mjINT_DISCRETE, "discrete"),
    ]
    .into_iter()
    .find(|(known, _)| *known as i32 == kind)
    .map_or("unknown", |(_, name)| name)
}

fn body(model: &MjModel, index: usize) -> Body {
    let parent = usize::try_from(model.body_parentid()[index]).unwrap_or(0);
    Body {
        name: names::of(model, MjtObjBase::mjOBJ_BODY, index),
        parent: names::of(model, MjtObjBase::mjOBJ_BODY, parent),
        mass_kg: Real(model.body_mass()[index]),
    }
}

fn joint(model: &MjModel, index: usize) -> Joint {
    let kind = model.jnt_type()[index];
    let (kind_name, unit) = match kind {
        MjtJoint::mjJNT_FREE => ("free", "m and quaternion"),
        MjtJoint::mjJNT_BALL => ("ball", "quaternion"),
        MjtJoint::mjJNT_SLIDE => ("slide", "m"),
        MjtJoint::mjJNT_HINGE => ("hinge", "rad"),
    };
    let (positions, velocities) = joint_widths(kind);
    let body = usize::try_from(model.jnt_bodyid()[index]).unwrap_or(0);
    let [low, high] = model.jnt_range()[index];
    Joint {
        name: names::of(model, MjtObjBase::mjOBJ_JOINT, index),
        kind: kind_name.to_owned(),
        body: names::of(model, MjtObjBase::mjOBJ_BODY, body),
        qpos_index: u32::try_from(model.jnt_qposadr()[index]).unwrap_or(0),
        qpos_count: u32::try_from(positions).unwrap_or(0),
        qvel_index: u32::try_from(model.jnt_dofadr()[index]).unwrap_or(0),
        qvel_count: u32::try_from(velocities).unwrap_or(0),
        range: model.jnt_limited()[index].then_some((Real(low), Real(high))),
        unit: unit.to_owned(),
    }
}

/// What an actuator acts on, and within which bounds.
pub(crate) fn actuator(model: &MjModel, index: usize) -> Actuator {
    let kind = model.actuator_trntype()[index];
    let (word, object) = match kind {
        MjtTrn::mjTRN_JOINT | MjtTrn::mjTRN_JOINTINPARENT => ("joint", MjtObjBase::mjOBJ_JOINT),
        MjtTrn::mjTRN_TENDON => ("tendon", MjtObjBase::mjOBJ_TENDON),
        MjtTrn::mjTRN_BODY => ("body", MjtObjBase::mjOBJ_BODY),
        _ => ("site", MjtObjBase::mjOBJ_SITE),
    };
    let target = usize::try_from(model.actuator_trnid()[index][0]).unwrap_or(0);
    let control = usize::try_from(model.actuator_ctrladr()[index]).unwrap_or(0);
    let limited = model.actuator_ctrllimited().get(control).copied().unwrap_or(false);
    let range = |[low, high]: [f64; 2]| (Real(low), Real(high));
    let ctrl_range = model.actuator_ctrlrange().get(control).filter(|_| limited);
    Actuator {
        name: names::of(model, MjtObjBase::mjOBJ_ACTUATOR, index),
        acts_on: format!("{word} {}", names::of(model, object, target)),
        ctrl_range: ctrl_range.copied().map(range),
        force_range: model.actuator_forcelimited()[index]
            .then(|| range(model.actuator_forcerange()[index])),
    }
}

fn sensor(model: &MjModel, index: usize) -> Sensor {
    let kind = format!("{:?}", model.sensor_type()[index]);
    Sensor {
        name: names::of(model, MjtObjBase::mjOBJ_SENSOR, index),
        kind: kind.trim_start_matches("mjSENS_").to_ascii_lowercase(),
        index: u32::try_from(model.sensor_adr()[index]).unwrap_or(0),
        count: u32::try_from(model.sensor_dim()[index]).unwrap_or(0),
    }
}

//! What a simulation does: bodies, sensors, contacts, energy, forces.
//!
//! Each function is given data in which everything is derived, and reads.

use mujoco_rs::wrappers::mj_auxiliary::MjContact;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtObjBase};
use simward_protocol::observe::{BodyState, Contact, JointForces, SensorReading};
use simward_protocol::real::{Real, Reals};

use super::places::{index, turn};
use super::scratch::Scratch;
use super::values::joint_widths;
use super::{names, raw, units};

/// Where a body is and how it moves.
pub(crate) fn body(data: &Scratch<'_>, body: usize) -> BodyState {
    let velocity = data.object_velocity(MjtObjBase::mjOBJ_XBODY, body, false);
    BodyState {
        name: names::of(data.model(), MjtObjBase::mjOBJ_BODY, body),
        position_m: reals(&data.xpos()[body]),
        quaternion: reals(&data.xquat()[body]),
        linear_velocity_m_per_s: reals(&velocity[3..]),
        angular_velocity_rad_per_s: reals(&velocity[..3]),
        com_m: reals(&data.xipos()[body]),
    }
}

/// What a sensor reads.
pub(crate) fn sensor(data: &Scratch<'_>, sensor: usize) -> SensorReading {
    let model = data.model();
    let begin = index(model.sensor_adr()[sensor]);
    let count = index(model.sensor_dim()[sensor]);
    SensorReading {
        name: names::of(model, MjtObjBase::mjOBJ_SENSOR, sensor),
        kind: units::sensor_kind(model, sensor),
        values: reals(&data.sensordata()[begin..begin + count]),
        unit: units::of_sensor(model, sensor).to_owned(),
    }
}

/// Whether a body takes part in a contact.
pub(crate) fn is_of(model: &MjModel, contact: &MjContact, body: usize) -> bool {
    contact.geom.iter().any(|geom| body_of(model, *geom) == Some(body))
}

/// A contact and its force.
pub(crate) fn contact(data: &Scratch<'_>, number: usize) -> Contact {
    let model = data.model();
    let contact = &data.contact()[number];
    let frame = contact.frame;
    // In the contact's frame: the normal first, then two tangents.
    let force = data.contact_force(number);
    let [normal, tangent, other] = [force[0], force[1], force[2]];
    let world = turn(&transposed(&frame), [normal, tangent, other]);
    let thing = |side: usize| match usize::try_from(contact.geom[side]) {
        Ok(geom) => names::of(model, MjtObjBase::mjOBJ_GEOM, geom),
        Err(_none) => {
            let flex = index(contact.flex[side]);
            format!("flex {}", names::of(model, MjtObjBase::mjOBJ_FLEX, flex))
        }
    };
    let body = |side: usize| {
        let body = body_of(model, contact.geom[side])?;
        Some(names::of(model, MjtObjBase::mjOBJ_BODY, body))
    };
    Contact {
        geoms: (thing(0), thing(1)),
        bodies: (body(0), body(1)),
        position_m: reals(&contact.pos),
        normal: reals(&frame[..3]),
        depth_m: Real(-contact.dist),
        normal_force_n: Real(normal),
        friction_force_n: Real(tangent.hypot(other)),
        force_n: reals(&world),
    }
}

fn body_of(model: &MjModel, geom: i32) -> Option<usize> {
    let geom = usize::try_from(geom).ok()?;
    Some(index(model.geom_bodyid()[geom]))
}

fn transposed(matrix: &[f64; 9]) -> [f64; 9] {
    std::array::from_fn(|at| matrix[3 * (at % 3) + at / 3])
}

/// Kinetic and potential energy, whether the model asks for it or not.
pub(crate) fn energy(data: &mut Scratch<'_>) -> (f64, f64) {
    data.energy_pos();
    data.energy_vel();
    let [potential, kinetic] = *data.energy();
    (kinetic, potential)
}

/// The forces on all joints, a vector of nv each.
pub(crate) struct Split {
    actuator: Vec<f64>,
    passive: Vec<f64>,
    constraint: Vec<f64>,
    bias: Vec<f64>,
    gravity: Vec<f64>,
    applied: Vec<f64>,
    inertial: Vec<f64>,
}

impl Split {
    /// Splits the forces; the data are at rest afterwards.
    pub(crate) fn of(data: &mut Scratch<'_>) -> Self {
        let inertial = raw::mass_times(data, data.qacc());
        let mut applied = data.qfrc_applied().to_vec();
        add_wrenches(data, &mut applied);
        let split = Self {
            actuator: data.qfrc_actuator().to_vec(),
            passive: data.qfrc_passive().to_vec(),
            constraint: data.qfrc_constraint().to_vec(),
            bias: data.qfrc_bias().to_vec(),
            gravity: Vec::new(),
            applied,
            inertial,
        };
        data.qvel_mut().fill(0.0);
        data.fwd_velocity();
        Self { gravity: data.qfrc_bias().to_vec(), ..split }
    }

    /// The part of one joint.
    pub(crate) fn joint(&self, model: &MjModel, joint: usize) -> JointForces {
        let begin = index(model.jnt_dofadr()[joint]);
        let (_, count) = joint_widths(model.jnt_type()[joint]);
        let part = |forces: &[f64]| reals(&forces[begin..begin + count]);
        JointForces {
            joint: names::of(model, MjtObjBase::mjOBJ_JOINT, joint),
            actuator: part(&self.actuator),
            passive: part(&self.passive),
            constraint: part(&self.constraint),
            bias: part(&self.bias),
            gravity: part(&self.gravity),
            applied: part(&self.applied),
            inertial: part(&self.inertial),
        }
    }
}

/// Adds what forces and torques on bodies come to at the joints.
fn add_wrenches(data: &mut Scratch<'_>, applied: &mut [f64]) {
    for body in 1..data.xfrc_applied().len() {
        let wrench = data.xfrc_applied()[body];
        if wrench.iter().all(|value| *value == 0.0) {
            continue;
        }
        let [fx, fy, fz, tx, ty, tz] = wrench;
        let point = data.xipos()[body];
        // The body is one of the model's, and there are nv forces.
        data.apply_ft(&[fx, fy, fz], &[tx, ty, tz], &point, body, applied).ok();
    }
}

/// A vector of the answer.
pub(crate) fn reals(values: &[f64]) -> Reals {
    Reals(values.to_vec())
}

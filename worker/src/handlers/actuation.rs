//! Joints by name, actuators, and forces from outside.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtBias, MjtGain};
use simward_protocol::actuation::{
    ActuatorInfo, ActuatorInfos, ActuatorState, Actuators, ApplyForce, DescribeActuators,
    ForceApplied, Joints, ReadActuators, ReadJoints,
};
use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::named::Named;
use simward_protocol::real::{Real, Reals};
use simward_protocol::state::Part;

use crate::world::names::{self, Kind};
use crate::world::simulation::{COORDINATE_MAX, Simulation};
use crate::world::values::{Target, check};
use crate::world::{World, describe};

impl Serve<ReadJoints> for World {
    fn serve(&mut self, slot: u32, call: ReadJoints) -> Result<Joints, Fault> {
        let ReadJoints { model_id, joints, items_max } = call;
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        let model = simulation.data.model();
        let (wanted, items_cut) = names::pick(model, Kind::Joint, &joints, items_max)?;
        let read = |target: Target, values: &[f64]| {
            let one = |joint: &usize| {
                let (begin, count) = target.of_joint(model, *joint);
                let name = names::of(model, Kind::Joint.object(), *joint);
                (name, values[begin..begin + count].to_vec())
            };
            Named(wanted.iter().map(one).collect())
        };
        let positions = read(Target::Qpos, simulation.data.qpos());
        let velocities = read(Target::Qvel, simulation.data.qvel());
        let time_secs = Real(simulation.time_secs());
        Ok(Joints { model_id, time_secs, positions, velocities, items_cut })
    }
}

impl Serve<ReadActuators> for World {
    fn serve(&mut self, slot: u32, call: ReadActuators) -> Result<Actuators, Fault> {
        let ReadActuators { model_id, actuators, items_max } = call;
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        let model = simulation.data.model();
        let (wanted, items_cut) = names::pick(model, Kind::Actuator, &actuators, items_max)?;
        let forces = simulation.state(String::new(), &[Part::ActuatorForce]);
        let forces = forces.actuator_force.unwrap_or_default();
        let actuators = wanted.iter().map(|index| state(simulation, *index, &forces)).collect();
        let time_secs = Real(simulation.time_secs());
        Ok(Actuators { model_id, time_secs, actuators, items_cut })
    }
}

fn state(simulation: &Simulation, index: usize, forces: &Reals) -> ActuatorState {
    let (data, model) = (&simulation.data, simulation.data.model());
    let ctrl = span(model.actuator_ctrladr()[index], model.actuator_ctrlnum()[index]);
    let act = span(model.actuator_actadr()[index], model.actuator_actnum()[index]);
    let out = span(model.actuator_outadr()[index], model.actuator_outnum()[index]);
    let (limits, limited) = (model.actuator_ctrlrange(), model.actuator_ctrllimited());
    let outside =
        |at: usize| limited[at] && !(limits[at][0]..=limits[at][1]).contains(&data.ctrl()[at]);
    let force = Reals::from(&forces.0[out.clone()]);
    let [low, high] = model.actuator_forcerange()[index];
    let at_limit = |force: &f64| *force <= low || high <= *force;
    ActuatorState {
        name: names::of(model, Kind::Actuator.object(), index),
        clamped: ctrl.clone().any(outside),
        ctrl: data.ctrl()[ctrl].into(),
        act: data.act()[act].into(),
        saturated: model.actuator_forcelimited()[index] && force.0.iter().any(at_limit),
        force,
        length: data.actuator_length()[out.clone()].into(),
        velocity: data.actuator_velocity()[out].into(),
    }
}

fn span(begin: i32, count: i32) -> std::ops::Range<usize> {
    let begin = usize::try_from(begin).unwrap_or(0);
    begin..begin + usize::try_from(count).unwrap_or(0)
}

impl Serve<DescribeActuators> for World {
    fn serve(&mut self, slot: u32, call: DescribeActuators) -> Result<ActuatorInfos, Fault> {
        let DescribeActuators { model_id, actuators, items_max } = call;
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        let model = simulation.data.model();
        let (wanted, items_cut) = names::pick(model, Kind::Actuator, &actuators, items_max)?;
        let actuators = wanted.into_iter().map(|index| info(model, index)).collect();
        Ok(ActuatorInfos { model_id, actuators, items_cut })
    }
}

fn info(model: &MjModel, index: usize) -> ActuatorInfo {
    let seen = describe::actuator(model, index);
    let gain = trimmed(&model.actuator_gainprm()[index]);
    let bias = trimmed(&model.actuator_biasprm()[index]);
    let out = span(model.actuator_outadr()[index], 1).start;
    ActuatorInfo {
        name: seen.name,
        acts_on: seen.acts_on,
        kind: kind(model, index).to_owned(),
        ctrl_range: seen.ctrl_range,
        force_range: seen.force_range,
        gear: model.actuator_gear()[out].as_slice().into(),
        gain,
        bias,
    }
}

/// What MJCF's shortcuts make of gain and bias (<https://mujoco.readthedocs.io/en/stable/XMLreference.html#actuator>).
fn kind(model: &MjModel, index: usize) -> &'static str {
    let (gain, bias) = (model.actuator_gaintype()[index], model.actuator_biastype()[index]);
    let (gains, biases) = (model.actuator_gainprm()[index], model.actuator_biasprm()[index]);
    match (gain, bias) {
        (MjtGain::mjGAIN_FIXED, MjtBias::mjBIAS_NONE) => "motor",
        #[expect(clippy::float_cmp, reason = "the compiler copies the one into the other")]
        (MjtGain::mjGAIN_FIXED, MjtBias::mjBIAS_AFFINE) => match (biases[1], biases[2]) {
            (stiffness, _) if stiffness == -gains[0] && gains[0] != 0.0 => "position",
            (0.0, damping) if damping == -gains[0] && gains[0] != 0.0 => "velocity",
            _ => "other",
        },
        _ => "other",
    }
}

fn trimmed(values: &[f64]) -> Reals {
    let used = values.iter().rposition(|value| *value != 0.0).map_or(0, |last| last + 1);
    values[..used].into()
}

impl Serve<ApplyForce> for World {
    fn serve(&mut self, slot: u32, call: ApplyForce) -> Result<ForceApplied, Fault> {
        let ApplyForce { model_id, body, force, torque, point } = call;
        // Controls may change under way, and so may what pushes.
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        let axis = |index: usize| ["x", "y", "z"][index].to_owned();
        check("force", axis, &force, COORDINATE_MAX)?;
        check("torque", axis, &torque, COORDINATE_MAX)?;
        check("point", axis, &point.unwrap_or_default(), COORDINATE_MAX)?;
        let index = names::find(simulation.data.model(), Kind::Body, &body)?;
        if index == 0 {
            let (field, value) = ("body (the world cannot be pushed)".to_owned(), 0.0);
            return Err(Fault::OutOfRange { field, value, min: 1.0, max: f64::INFINITY });
        }
        let torque = match point {
            None => torque,
            Some(point) => {
                let arm = sub(point, simulation.centre_of_mass(index));
                add(torque, cross(arm, force))
            }
        };
        simulation.touch();
        let [fx, fy, fz] = force;
        let [tx, ty, tz] = torque;
        simulation.data.xfrc_applied_mut()[index] = [fx, fy, fz, tx, ty, tz];
        let body = names::of(simulation.data.model(), Kind::Body.object(), index);
        let (force, torque) = (force[..].into(), torque[..].into());
        let time_secs = Real(simulation.time_secs());
        Ok(ForceApplied { model_id, time_secs, body, force, torque })
    }
}

fn sub(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

fn add(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| a[axis] + b[axis])
}

fn cross([ax, ay, az]: [f64; 3], [bx, by, bz]: [f64; 3]) -> [f64; 3] {
    [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
}

//! Following a trajectory: what each actuator is told before each step.
//!
//! A position servo gets the set point at which, on the trajectory, it gives the force that the
//! motion takes; its own stiffness corrects errors. Any other actuator gets that force, with the
//! acceleration corrected by the errors (computed torque, Luh, Walker and Paul 1980). The force is
//! `M a + bias - passive` of the joints on the trajectory; contacts are not reckoned with.

use mujoco_rs::mujoco_c::mjtTrn;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::traits::ModelType;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtBias, MjtDyn, MjtGain, MjtObjBase};
use simward_protocol::fault::Fault;
use simward_protocol::motion::{Control, Followed};
use simward_protocol::real::Real;
use simward_protocol::simulation::StoppedBy;

use super::attend::Attend;
use super::condition::Watch;
use super::path::Moment;
use super::places::index;
use super::simulation::Simulation;
use super::trajectory::{Mover, Planned};
use super::{names, raw};

/// The highest share of the rate of steps that errors are corrected with.
const BANDWIDTH_SHARE: f64 = 0.1;

/// An actuator that can drive a joint: its force is `gain ctrl + bias[0] + bias[1] length + bias[2]
/// velocity`, and the joint's is `gear` times that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Motor {
    pub(crate) actuator: usize,
    joint: usize,
    /// Its place in `ctrl`, and among the forces.
    control: usize,
    output: usize,
    gear: f64,
    gain: f64,
    bias: [f64; 3],
}

impl Motor {
    /// The first actuator that can drive a joint.
    pub(crate) fn of(model: &MjModel, joint: usize) -> Option<Self> {
        let count = model.actuator_trntype().len();
        (0..count).find_map(|actuator| Self::new(model, actuator, joint))
    }

    fn new(model: &MjModel, actuator: usize, joint: usize) -> Option<Self> {
        let transmission = model.actuator_trntype()[actuator] as i32;
        let by_joint = [mjtTrn::mjTRN_JOINT as i32, mjtTrn::mjTRN_JOINTINPARENT as i32];
        let is_of_joint = by_joint.contains(&transmission)
            && usize::try_from(model.actuator_trnid()[actuator][0]) == Ok(joint);
        let has_one =
            model.actuator_ctrlnum()[actuator] == 1 && model.actuator_outnum()[actuator] == 1;
        let is_direct = matches!(
            model.actuator_dyntype()[actuator],
            MjtDyn::mjDYN_NONE | MjtDyn::mjDYN_FILTER | MjtDyn::mjDYN_FILTEREXACT
        );
        let is_affine = model.actuator_gaintype()[actuator] == MjtGain::mjGAIN_FIXED;
        let gain = model.actuator_gainprm()[actuator][0];
        if !(is_of_joint && has_one && is_direct && is_affine) || gain == 0.0 {
            return None;
        }
        let bias = match model.actuator_biastype()[actuator] {
            MjtBias::mjBIAS_NONE => [0.0; 3],
            MjtBias::mjBIAS_AFFINE => {
                let values = model.actuator_biasprm()[actuator];
                [values[0], values[1], values[2]]
            }
            _ => return None,
        };
        let output = index(model.actuator_outadr()[actuator]);
        let gear = model.actuator_gear()[output][0];
        let control = index(model.actuator_ctrladr()[actuator]);
        (gear != 0.0).then_some(Self { actuator, joint, control, output, gear, gain, bias })
    }

    /// How it drives.
    pub(crate) fn control(&self) -> Control {
        // What pulls back to a length is a servo.
        if self.gain * self.bias[1] < 0.0 {
            Control::PositionServo
        } else {
            Control::ComputedTorque
        }
    }

    /// How it acts on its joint: stiffness and damping.
    pub(crate) fn joint_gains(&self) -> (f64, f64) {
        let [_, stiffness, damping] = self.bias.map(|value| -value * self.gear * self.gear);
        (stiffness, damping)
    }

    /// The largest force that it can give the joint, where that is limited.
    pub(crate) fn force_max(&self, model: &MjModel) -> Option<f64> {
        let [low, high] = model.actuator_forcerange()[self.actuator];
        let by_force = model.actuator_forcelimited()[self.actuator]
            .then(|| low.abs().max(high.abs()) * self.gear.abs());
        // Without a bias the control's range is the force's as well.
        let by_control = (model.actuator_ctrllimited()[self.control]
            && self.bias.iter().all(|value| *value == 0.0))
        .then(|| {
            let [low, high] = model.actuator_ctrlrange()[self.control];
            low.abs().max(high.abs()) * (self.gain * self.gear).abs()
        });
        let by_joint = model.jnt_actfrclimited()[self.joint].then(|| {
            let [low, high] = model.jnt_actfrcrange()[self.joint];
            low.abs().max(high.abs())
        });
        [by_force, by_control, by_joint].into_iter().flatten().min_by(f64::total_cmp)
    }

    /// The control at which the joint gets a force, at a position and a velocity of the joint.
    fn control_for(&self, force: f64, position: f64, velocity: f64) -> f64 {
        let [constant, stiffness, damping] = self.bias;
        let bias = constant + self.gear * (stiffness * position + damping * velocity);
        (force / self.gear - bias) / self.gain
    }
}

/// Follows a trajectory.
pub(crate) struct Follower {
    planned: Planned,
    motors: Vec<Motor>,
    watch: Option<Watch>,
    timestep_secs: f64,
    bandwidth: f64,
    steps: u64,
    auto_resets: u64,
    moment: Moment,
    acceleration: Vec<f64>,
    inertial: Vec<f64>,
    errors: Vec<Errors>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Errors {
    max: f64,
    squares: f64,
    saturated_steps: u64,
}

impl Follower {
    /// Finds an actuator for each joint.
    pub(crate) fn new(
        simulation: &Simulation,
        planned: Planned,
        bandwidth: f64,
        watch: Option<Watch>,
    ) -> Result<Self, Fault> {
        let model = simulation.data.model();
        let motor = |mover: &Mover| {
            Motor::of(model, mover.joint).ok_or_else(|| Fault::Unsuitable {
                detail: format!(
                    "no actuator can drive the joint `{}` along a trajectory; one must act on this \
                     joint alone, be a motor, a position or a velocity servo",
                    mover.name
                ),
            })
        };
        let motors = planned.movers.iter().map(motor).collect::<Result<Vec<_>, _>>()?;
        let timestep_secs = model.opt().timestep;
        let nv = simulation.data.qvel().len();
        Ok(Self {
            watch,
            timestep_secs,
            bandwidth: bandwidth.min(BANDWIDTH_SHARE / timestep_secs),
            steps: 0,
            auto_resets: simulation.counts().auto_resets,
            moment: Moment::default(),
            acceleration: vec![0.0; nv],
            inertial: vec![0.0; nv],
            errors: vec![Errors::default(); motors.len()],
            motors,
            planned,
        })
    }

    /// The trajectory's time after so many steps.
    fn secs(&self, steps: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "steps of one call are exact")]
        let steps = steps as f64;
        steps * self.timestep_secs
    }

    /// How each joint has followed.
    pub(crate) fn told(&self, simulation: &Simulation) -> Vec<Followed> {
        let (model, qpos) = (simulation.data.model(), simulation.data.qpos());
        #[expect(clippy::cast_precision_loss, reason = "steps of one call are exact")]
        let steps = self.steps.max(1) as f64;
        let joints = self.planned.movers.iter().zip(&self.motors).zip(&self.errors).enumerate();
        let told =
            |(number, ((mover, motor), errors)): (usize, ((&Mover, &Motor), &Errors))| Followed {
                joint: mover.name.clone(),
                actuator: names::of(model, MjtObjBase::mjOBJ_ACTUATOR, motor.actuator),
                control: motor.control(),
                target: Real(self.moment.positions.get(number).copied().unwrap_or(f64::NAN)),
                position: Real(qpos[mover.position]),
                error_max: Real(errors.max),
                error_rms: Real((errors.squares / steps).sqrt()),
                saturated_steps: errors.saturated_steps,
            };
        joints.map(told).collect()
    }
}

impl Attend for Follower {
    fn before(&mut self, simulation: &mut Simulation) {
        // What it shall be after the step, so that the last step ends at the path's end.
        let ahead = self.secs(self.steps + 1);
        self.planned.path.at(ahead, &mut self.moment);
        let data = &mut simulation.data;
        let joints = self.planned.movers.iter().zip(&self.motors);
        self.acceleration.fill(0.0);
        for (number, (mover, motor)) in joints.clone().enumerate() {
            let mut wanted = self.moment.accelerations[number];
            if motor.control() == Control::ComputedTorque {
                let late = self.moment.positions[number] - data.qpos()[mover.position];
                let slow = self.moment.velocities[number] - data.qvel()[mover.dof];
                wanted += self.bandwidth * (self.bandwidth * late + 2.0 * slow);
            }
            self.acceleration[mover.dof] = wanted;
        }
        // The next step derives both anew.
        raw::inertia(data);
        data.fwd_velocity();
        raw::mass_times_into(data, &self.acceleration, &mut self.inertial);
        for (number, (mover, motor)) in joints.enumerate() {
            let force = self.inertial[mover.dof] + mover.held_by(data);
            let (position, velocity) = match motor.control() {
                Control::PositionServo => {
                    (self.moment.positions[number], self.moment.velocities[number])
                }
                Control::ComputedTorque => (data.qpos()[mover.position], data.qvel()[mover.dof]),
            };
            data.ctrl_mut()[motor.control] = motor.control_for(force, position, velocity);
        }
    }

    fn after(&mut self, simulation: &mut Simulation) -> Option<StoppedBy> {
        if simulation.counts().auto_resets != self.auto_resets {
            return Some(StoppedBy::Unstable);
        }
        self.steps += 1;
        let (data, model) = (&simulation.data, simulation.data.model());
        let joints = self.planned.movers.iter().zip(&self.motors).zip(&mut self.errors).enumerate();
        for (number, ((mover, motor), errors)) in joints {
            let error = (self.moment.positions[number] - data.qpos()[mover.position]).abs();
            errors.max = errors.max.max(error);
            errors.squares += error * error;
            errors.saturated_steps +=
                u64::from(motor.is_saturated(model, data) || mover.is_saturated(model, data));
        }
        self.watch
            .as_mut()
            .is_some_and(|watch| watch.is_met(simulation))
            .then_some(StoppedBy::Condition)
    }
}

impl Motor {
    fn is_saturated<M: ModelType>(&self, model: &MjModel, data: &MjData<M>) -> bool {
        let (ctrl, forces) = (data.ctrl(), data.actuator_force());
        let [low, high] = model.actuator_ctrlrange()[self.control];
        let outside = !(low..=high).contains(&ctrl[self.control]);
        let [least, most] = model.actuator_forcerange()[self.actuator];
        let force = forces[self.output];
        (model.actuator_ctrllimited()[self.control] && outside)
            || (model.actuator_forcelimited()[self.actuator] && (force <= least || most <= force))
    }
}

impl Mover {
    /// The force that its joint needs to keep its velocity: gravity and what velocities bring, less
    /// what springs, dampers and fluids give, and what the engine adds to its actuators.
    pub(crate) fn held_by<M: ModelType>(&self, data: &MjData<M>) -> f64 {
        let given = if data.model().jnt_actgravcomp()[self.joint] {
            data.qfrc_gravcomp()[self.dof]
        } else {
            0.0
        };
        data.qfrc_bias()[self.dof] - data.qfrc_passive()[self.dof] - given
    }

    /// Whether all actuators of its joint together were cut to what the joint may get.
    fn is_saturated<M: ModelType>(&self, model: &MjModel, data: &MjData<M>) -> bool {
        let [low, high] = model.jnt_actfrcrange()[self.joint];
        let force = data.qfrc_actuator()[self.dof];
        model.jnt_actfrclimited()[self.joint] && (force <= low || high <= force)
    }
}

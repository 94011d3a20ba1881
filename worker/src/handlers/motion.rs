//! Moving joints on purpose.

use std::sync::Arc;
use std::time::{Duration, Instant};

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::motion::{
    ExecuteTrajectory, Executed, IkSolution, JointMotion, PlanTrajectory, SolveIk, TrajectoryPlan,
};
use simward_protocol::named::Named;
use simward_protocol::real::{Real, Reals};
use simward_protocol::recording::{TABLE_VALUES_MAX, Table};
use simward_protocol::state::Values;

use crate::pulse::Pulse;
use crate::world::chain::{Chain, moved_bodies};
use crate::world::condition::Watch;
use crate::world::drive::{Follower, Motor};
use crate::world::names::{self, Kind};
use crate::world::path::Moment;
use crate::world::places::Spot;
use crate::world::random::Random;
use crate::world::reach::{Goal, Search};
use crate::world::scratch::Scratch;
use crate::world::simulation::{COORDINATE_MAX, Simulation, between};
use crate::world::touching::Touching;
use crate::world::trajectory::Planned;
use crate::world::values::{self, Target, in_range};
use crate::world::{World, linear, raw};

/// How many moments of a trajectory are looked at for collisions and forces.
const LOOKS: u32 = 200;

impl Serve<SolveIk> for World {
    fn serve(&mut self, slot: u32, call: SolveIk) -> Result<IkSolution, Fault> {
        let shared = Arc::clone(&self.shared);
        let (model_id, simulation) = self.model(slot, call.model_id.as_deref())?;
        let model = simulation.data.model();
        let spot = Spot::find(model, "place", &call.goal.place)?;
        let goal = Goal::new(spot, &call)?;
        let chain = Chain::of(model, spot, &call.joints)?;
        at_most("degrees of freedom that move", chain.dofs_total() as u64, SolveIk::DOFS_MAX)?;
        at_most("restarts", call.restarts.into(), SolveIk::RESTARTS_MAX.into())?;
        let start = positions(simulation, "start", call.start)?;
        let posture = call.posture.map(|posture| positions(simulation, "posture", Some(posture)));
        let posture = posture.transpose()?;
        let mut data = simulation.copy()?;
        let until = Instant::now() + Duration::from_millis(call.budget_millis);
        let pulse = &shared.pulse;
        let (data, chain, goal) = (&mut data, &chain, &goal);
        let search = Search { data, chain, goal, pulse, until, iterations: 0 };
        let mut random = Random::new(call.seed);
        let found = search.run(&start, posture.as_deref(), call.restarts, &mut random)?;

        data.qpos_mut().copy_from_slice(&found.qpos);
        data.fwd_position();
        let mut touching = Touching::new(chain.moved_bodies(model));
        touching.look(data, None);
        let (collisions, collisions_cut) = touching.told(data);
        let (is_placed, is_turned) = goal.asks_for();
        Ok(IkSolution {
            model_id,
            is_reached: goal.is_reached(found.distance),
            positions: Named(chain.positions(model, &found.qpos)),
            position_error_m: is_placed.then_some(Real(found.distance.position)),
            rotation_error_rad: is_turned.then_some(Real(found.distance.rotation)),
            at_limits: chain.at_limits(model, &found.qpos),
            conditioning: linear::conditioning(goal.jacobian(data, chain)),
            collisions,
            collisions_cut,
            iterations: found.iterations,
            attempts: found.attempts,
        })
    }
}

/// The present positions, with some of them changed.
fn positions(
    simulation: &Simulation,
    field: &str,
    changes: Option<Values>,
) -> Result<Vec<f64>, Fault> {
    let mut positions = simulation.data.qpos().to_vec();
    if let Some(changes) = changes {
        let model = simulation.data.model();
        let placed = values::place(model, Target::Qpos, field, changes, COORDINATE_MAX)?;
        values::put(&placed, &mut positions);
    }
    Ok(positions)
}

fn at_most(what: &str, value: u64, max: u64) -> Result<(), Fault> {
    if value <= max {
        return Ok(());
    }
    Err(Fault::LimitExceeded { what: what.to_owned(), value, max })
}

impl Serve<PlanTrajectory> for World {
    fn serve(&mut self, slot: u32, call: PlanTrajectory) -> Result<TrajectoryPlan, Fault> {
        let PlanTrajectory { model_id, trajectory, samples } = call;
        at_most("samples", samples.into(), PlanTrajectory::SAMPLES_MAX.into())?;
        let shared = Arc::clone(&self.shared);
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        let model = simulation.data.model();
        let planned = Planned::new(model, simulation.data.qpos(), &trajectory)?;
        let duration_secs = planned.path.duration_secs();
        let steps = Planned::steps(duration_secs, model.opt().timestep)?;
        let mut data = simulation.copy()?;
        let moved = moved_bodies(model, planned.movers.iter().map(|mover| mover.joint));
        let mut touching = Touching::new(moved);
        let forces = look_along(&mut data, &planned, &mut touching, &shared.pulse)?;
        let (collisions, collisions_cut) = touching.told(&data);
        Ok(TrajectoryPlan {
            model_id,
            duration_secs: Real(duration_secs),
            steps,
            waypoint_secs: planned.path.ends().map(Real).collect(),
            joints: motions(simulation, &planned, &forces),
            collisions,
            collisions_cut,
            table: table(&planned, samples)?,
        })
    }
}

/// Looks at moments along a trajectory: what overlaps, and the largest force of each joint.
fn look_along(
    data: &mut Scratch<'_>,
    planned: &Planned,
    touching: &mut Touching,
    pulse: &Pulse,
) -> Result<Vec<f64>, Fault> {
    let nv = data.qvel().len();
    let mut moment = Moment::default();
    let mut forces = vec![0.0_f64; planned.movers.len()];
    data.qvel_mut().fill(0.0);
    for look in 0..=LOOKS {
        if pulse.current_is_cancelled() {
            return Err(Fault::Cancelled);
        }
        pulse.rested();
        let secs = planned.path.duration_secs() * f64::from(look) / f64::from(LOOKS);
        planned.path.at(secs, &mut moment);
        let mut acceleration = vec![0.0; nv];
        for (number, mover) in planned.movers.iter().enumerate() {
            data.qpos_mut()[mover.position] = moment.positions[number];
            data.qvel_mut()[mover.dof] = moment.velocities[number];
            acceleration[mover.dof] = moment.accelerations[number];
        }
        data.fwd_position();
        touching.look(data, Some(secs));
        data.fwd_velocity();
        let inertial = raw::mass_times(data, &acceleration);
        for (force, mover) in forces.iter_mut().zip(&planned.movers) {
            *force = force.max((inertial[mover.dof] + mover.held_by(data)).abs());
        }
    }
    Ok(forces)
}

fn motions(simulation: &Simulation, planned: &Planned, forces: &[f64]) -> Vec<JointMotion> {
    let model = simulation.data.model();
    let mut end = Moment::default();
    planned.path.at(planned.path.duration_secs(), &mut end);
    let peaks = planned.path.peaks(planned.movers.len());
    let motion = |(number, mover): (usize, &crate::world::trajectory::Mover)| {
        let motor = Motor::of(model, mover.joint);
        JointMotion {
            joint: mover.name.clone(),
            from: Real(simulation.data.qpos()[mover.position]),
            to: Real(end.positions[number]),
            peak_velocity: Real(peaks[number].0),
            peak_acceleration: Real(peaks[number].1),
            peak_force: Real(forces[number]),
            actuator: motor.map(|motor| names::of(model, Kind::Actuator.object(), motor.actuator)),
            force_max: motor.and_then(|motor| motor.force_max(model)).map(Real),
        }
    };
    planned.movers.iter().enumerate().map(motion).collect()
}

/// Evenly spaced rows, the first at the beginning and the last at the end.
fn table(planned: &Planned, samples: u32) -> Result<Table, Fault> {
    let values = u64::from(samples) * (1 + 2 * planned.movers.len() as u64);
    at_most("values of a table in an answer", values, TABLE_VALUES_MAX)?;
    let names = |part: &'static str| {
        planned.movers.iter().map(move |mover| format!("{part}.{}", mover.name))
    };
    let columns = std::iter::once("time_secs".to_owned()).chain(names("qpos")).chain(names("qvel"));
    let mut moment = Moment::default();
    let rows = (0..samples).map(|row| {
        let share = f64::from(row) / f64::from(samples.max(2) - 1);
        let secs = planned.path.duration_secs() * share;
        planned.path.at(secs, &mut moment);
        let values = moment.positions.iter().chain(&moment.velocities).copied();
        Reals(std::iter::once(secs).chain(values).collect())
    });
    let rows = rows.collect();
    Ok(Table { columns: columns.collect(), rows })
}

impl Serve<ExecuteTrajectory> for World {
    fn serve(&mut self, slot: u32, call: ExecuteTrajectory) -> Result<Executed, Fault> {
        let ExecuteTrajectory { trajectory, settle_secs, bandwidth, include, .. } = call;
        in_range("settle_secs", settle_secs, ExecuteTrajectory::SETTLE_SECS)?;
        in_range("bandwidth", bandwidth, ExecuteTrajectory::BANDWIDTH)?;
        let (model_id, simulation) = self.still_model(slot, call.model_id.as_deref())?;
        let model = simulation.data.model();
        let watch = call.stop_when.map(|condition| Watch::new(model, &condition)).transpose()?;
        let planned = Planned::new(model, simulation.data.qpos(), &trajectory)?;
        let duration_secs = planned.path.duration_secs() + settle_secs;
        let steps = Planned::steps(duration_secs, model.opt().timestep)?;
        let mut follower = Follower::new(simulation, planned, bandwidth, watch)?;
        if let Some(selection) = &call.record {
            simulation.begin_table(selection, steps)?;
        }
        let before = simulation.counts();
        let budget = Duration::from_millis(call.budget_millis);
        let stepped = self.step(slot, &model_id, steps, Some(&mut follower), budget);
        let (_, simulation) = self.model(slot, Some(&model_id))?;
        let table = simulation.end_table();
        let (steps_done, stopped_by) = stepped?;
        let (warnings, auto_resets) = between(&before, &simulation.counts());
        let state = (!include.is_empty()).then(|| simulation.state(model_id.clone(), &include));
        Ok(Executed {
            model_id,
            time_secs: Real(simulation.time_secs()),
            duration_secs: Real(duration_secs),
            steps_done,
            stopped_by,
            joints: follower.told(simulation),
            warnings,
            auto_resets,
            state,
            table,
        })
    }
}

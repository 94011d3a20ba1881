//! A trajectory of a model's joints: what the client says of it, checked, and as a path.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtJoint, MjtObjBase};
use simward_protocol::fault::Fault;
use simward_protocol::motion::{Trajectory, Waypoint};
use simward_protocol::simulation::Step;

use super::names::{self, Kind};
use super::path::{Path, Rates};
use super::places::index;
use super::values::in_range;

/// A joint on a trajectory.
#[derive(Clone, Debug)]
pub(crate) struct Mover {
    pub(crate) joint: usize,
    pub(crate) name: String,
    /// Its places in `qpos` and `qvel`.
    pub(crate) position: usize,
    pub(crate) dof: usize,
}

/// A trajectory whose joints were found.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) movers: Vec<Mover>,
    pub(crate) path: Path,
}

impl Planned {
    /// Plans from where the joints are.
    pub(crate) fn new(model: &MjModel, qpos: &[f64], call: &Trajectory) -> Result<Self, Fault> {
        let Trajectory { waypoints, profile, velocity_max, acceleration_max } = call;
        in_range("velocity_max", *velocity_max, Trajectory::RATE)?;
        in_range("acceleration_max", *acceleration_max, Trajectory::RATE)?;
        if !(1..=Trajectory::WAYPOINTS_MAX).contains(&waypoints.len()) {
            let problem = format!("give 1 to {} of them", Trajectory::WAYPOINTS_MAX);
            return Err(Fault::Invalid { field: "waypoints".into(), problem });
        }
        let movers = movers(model, waypoints)?;
        let rates = Rates { velocity: *velocity_max, acceleration: *acceleration_max };
        let mut path = Path::new();
        let mut at: Vec<f64> = movers.iter().map(|mover| qpos[mover.position]).collect();
        for (number, waypoint) in waypoints.iter().enumerate() {
            if let Some(secs) = waypoint.duration_secs {
                in_range("duration_secs", secs, Trajectory::DURATION_SECS)?;
            }
            let to = next(model, &movers, &at, waypoint)?;
            let went = path.go(at, &to, *profile, rates, waypoint.duration_secs);
            went.map_err(|shortest| Fault::Invalid {
                field: format!("waypoints[{number}].duration_secs"),
                problem: format!(
                    "within `velocity_max` and `acceleration_max` it takes {shortest:.6} s at least"
                ),
            })?;
            at = to;
        }
        Ok(Self { movers, path })
    }

    /// The timesteps that so many seconds take.
    pub(crate) fn steps(secs: f64, timestep_secs: f64) -> Result<u64, Fault> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let steps = (secs / timestep_secs - 1e-6).ceil().max(1.0) as u64;
        if Step::STEPS_MAX < steps {
            let (what, max) = ("steps of a trajectory".to_owned(), Step::STEPS_MAX);
            return Err(Fault::LimitExceeded { what, value: steps, max });
        }
        Ok(steps)
    }
}

/// The joints that the waypoints name, in the model's order.
fn movers(model: &MjModel, waypoints: &[Waypoint]) -> Result<Vec<Mover>, Fault> {
    let mut joints = Vec::new();
    for (name, values) in waypoints.iter().flat_map(|waypoint| &waypoint.positions.0) {
        let joint = names::find(model, Kind::Joint, name)?;
        if !matches!(model.jnt_type()[joint], MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE) {
            let problem = "only hinges and slides can be on a trajectory".to_owned();
            return Err(Fault::Invalid { field: format!("positions.{name}"), problem });
        }
        if values.len() != 1 {
            let (field, got) = (format!("positions.{name}"), values.len() as u64);
            return Err(Fault::WrongLength { field, expected: 1, got });
        }
        joints.push(joint);
    }
    joints.sort_unstable();
    joints.dedup();
    if joints.is_empty() {
        let problem = "name at least one joint".to_owned();
        return Err(Fault::Invalid { field: "waypoints".into(), problem });
    }
    let mover = |joint: usize| Mover {
        joint,
        name: names::of(model, MjtObjBase::mjOBJ_JOINT, joint),
        position: index(model.jnt_qposadr()[joint]),
        dof: index(model.jnt_dofadr()[joint]),
    };
    Ok(joints.into_iter().map(mover).collect())
}

/// Where all joints are at the next waypoint.
fn next(
    model: &MjModel,
    movers: &[Mover],
    at: &[f64],
    waypoint: &Waypoint,
) -> Result<Vec<f64>, Fault> {
    let mut to = at.to_vec();
    for (name, values) in &waypoint.positions.0 {
        let joint = names::find(model, Kind::Joint, name)?;
        let place = movers.iter().position(|mover| mover.joint == joint);
        let (Some(place), Some(&value)) = (place, values.first()) else { continue };
        let field = format!("positions.{name}");
        let [low, high] = model.jnt_range()[joint];
        let range = if model.jnt_limited()[joint] { (low, high) } else { (-1e6, 1e6) };
        // What was read at the end of a range may lie a little beyond it.
        let slack = 1e-9 * (1.0 + range.0.abs().max(range.1.abs()));
        in_range(&field, value, (range.0 - slack, range.1 + slack))?;
        to[place] = value;
    }
    Ok(to)
}

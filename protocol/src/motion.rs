//! Moving joints on purpose: inverse kinematics, trajectories, and following them.

use serde::{Deserialize, Serialize};

use crate::analysis::{Conditioning, Place};
use crate::condition::Condition;
use crate::named::Named;
use crate::real::Real;
use crate::recording::{Selection, Table};
use crate::simulation::{StoppedBy, Warning};
use crate::state::{Part, State, Values};

/// Asks for joint positions that bring a place where it shall be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SolveIk {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// What is to be brought where.
    pub goal: Box<IkGoal>,
    /// The joints that may move; all that move the place, but free ones, if there are none.
    pub joints: Vec<String>,
    /// Where the search begins, instead of the present positions.
    pub start: Option<Values>,
    /// The posture to stay near where the goal leaves a choice.
    pub posture: Option<Values>,
    /// How far from the position is near enough, in metres.
    pub position_tolerance_m: f64,
    /// How far from the orientation is near enough, in radians.
    pub rotation_tolerance_rad: f64,
    /// How often to begin anew from random positions if the search fails.
    pub restarts: u32,
    /// The seed of those.
    pub seed: u64,
    /// Milliseconds after which the best that was found is the answer.
    pub budget_millis: u64,
}

impl SolveIk {
    /// The bounds of both tolerances.
    pub const TOLERANCE: (f64, f64) = (1e-9, 1.0);
    /// The most restarts.
    pub const RESTARTS_MAX: u32 = 1000;
    /// The most degrees of freedom that a search may move.
    pub const DOFS_MAX: u64 = 200;
}

/// Where a place shall be, or how it shall be turned, or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IkGoal {
    /// The place.
    pub place: Place,
    /// Where to, in world coordinates, in metres.
    pub position: Option<[f64; 3]>,
    /// Its orientation there: w, x, y, z.
    pub quaternion: Option<[f64; 4]>,
    /// Instead of a whole orientation: where one of its axes shall point.
    pub align: Option<Align>,
}

/// An axis of a place, and where it shall point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Align {
    /// The axis, in the place's own frame.
    pub axis: [f64; 3],
    /// The direction, in world coordinates.
    pub to: [f64; 3],
}

/// The answer to [`SolveIk`]: what was found; nothing was moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IkSolution {
    /// The model.
    pub model_id: String,
    /// Whether the goal is reached within its tolerances. If not, the positions are the best that
    /// were found.
    pub is_reached: bool,
    /// Positions of the joints that may move, by name: radians, metres, and quaternions of ball
    /// joints.
    pub positions: Named,
    /// How far the place is from where it shall be, in metres; none if no position was asked for.
    pub position_error_m: Option<Real>,
    /// How far it is turned from how it shall be, in radians; none if that was not asked for.
    pub rotation_error_rad: Option<Real>,
    /// Joints that are at the end of their range.
    pub at_limits: Vec<String>,
    /// How well the place can be moved from there in what was asked for.
    pub conditioning: Conditioning,
    /// What overlaps there, of what these joints move.
    pub collisions: Vec<Collision>,
    /// How many of those were left out.
    pub collisions_cut: u32,
    /// Iterations, of all attempts.
    pub iterations: u32,
    /// Attempts: the first one begins at the start, the others at random positions.
    pub attempts: u32,
}

/// Two geoms that overlap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Collision {
    /// The geoms.
    pub geoms: (String, String),
    /// Their bodies.
    pub bodies: (String, String),
    /// How deep they are in each other, in metres.
    pub depth_m: Real,
    /// On a trajectory: when it begins, in seconds from the start.
    pub since_secs: Option<Real>,
}

/// The most collisions of one answer.
pub const COLLISIONS_MAX: usize = 20;

/// A path of some joints through time, which comes to rest at every waypoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// Where to, one after the other; from 1 to [`Trajectory::WAYPOINTS_MAX`].
    pub waypoints: Vec<Waypoint>,
    /// How each stretch is run through.
    pub profile: Profile,
    /// The largest velocity of a joint, in rad/s or m/s.
    pub velocity_max: f64,
    /// The largest acceleration of a joint, in rad/s² or m/s².
    pub acceleration_max: f64,
}

impl Trajectory {
    /// The most waypoints.
    pub const WAYPOINTS_MAX: usize = 100;
    /// The bounds of the largest velocity and acceleration.
    pub const RATE: (f64, f64) = (1e-6, 1e6);
    /// The bounds of a stretch's time, in seconds.
    pub const DURATION_SECS: (f64, f64) = (1e-6, 86_400.0);
}

/// Joint positions to come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Waypoint {
    /// Positions by joint, in radians or metres. What is not named stays where it is.
    pub positions: Named,
    /// How long it takes to get there, in seconds; without it as long as the largest velocity and
    /// acceleration need.
    #[serde(default)]
    pub duration_secs: Option<f64>,
}

/// How a stretch is run through, all joints in time with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Profile {
    /// `10 τ³ - 15 τ⁴ + 6 τ⁵`: smooth, at rest at both ends in velocity and acceleration (Flash and
    /// Hogan 1985).
    #[default]
    MinimumJerk,
    /// Even acceleration, even velocity, even deceleration: the shortest time within the limits.
    Trapezoid,
}

/// Asks what a trajectory would be like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanTrajectory {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The trajectory, from where the joints are now.
    pub trajectory: Trajectory,
    /// How many rows of it to return, evenly spaced.
    pub samples: u32,
}

impl PlanTrajectory {
    /// The most rows.
    pub const SAMPLES_MAX: u32 = 1000;
}

/// The answer to [`PlanTrajectory`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TrajectoryPlan {
    /// The model.
    pub model_id: String,
    /// How long it takes, in simulated seconds.
    pub duration_secs: Real,
    /// How many timesteps that is.
    pub steps: u64,
    /// When each waypoint is reached, in seconds from the start.
    pub waypoint_secs: Vec<Real>,
    /// What each joint does.
    pub joints: Vec<JointMotion>,
    /// What overlaps on the way, of what these joints move; everything else stands where it is now.
    pub collisions: Vec<Collision>,
    /// How many of those were left out.
    pub collisions_cut: u32,
    /// Rows of it: time from the start, then `qpos` and `qvel` of each joint.
    pub table: Table,
}

/// What a joint does on a trajectory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JointMotion {
    /// The joint.
    pub joint: String,
    /// Where it begins, in radians or metres.
    pub from: Real,
    /// Where it ends.
    pub to: Real,
    /// Its largest velocity.
    pub peak_velocity: Real,
    /// Its largest acceleration.
    pub peak_acceleration: Real,
    /// The largest force that it takes, in newtons or newton-metres, by inverse dynamics without
    /// contacts.
    pub peak_force: Real,
    /// The actuator that can follow; none if no actuator can.
    pub actuator: Option<String>,
    /// The largest force that its actuator has, where that is limited.
    pub force_max: Option<Real>,
}

/// Follows a trajectory: advances the model to its end, driving the joints' actuators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecuteTrajectory {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// The trajectory, from where the joints are now.
    pub trajectory: Trajectory,
    /// How long to hold its end, in simulated seconds.
    pub settle_secs: f64,
    /// How fast errors are corrected by actuators that are no position servos, in rad/s.
    pub bandwidth: f64,
    /// What ends the call early, looked at after each step.
    pub stop_when: Option<Box<Condition>>,
    /// What to report of the state afterwards, beside the time.
    pub include: Vec<Part>,
    /// What to record of its steps, into the answer.
    pub record: Option<Selection>,
    /// Milliseconds after which the call ends with what it has done so far.
    pub budget_millis: u64,
}

impl ExecuteTrajectory {
    /// The bounds of `settle_secs`.
    pub const SETTLE_SECS: (f64, f64) = (0.0, 3600.0);
    /// The bounds of `bandwidth`.
    pub const BANDWIDTH: (f64, f64) = (0.0, 1000.0);
}

/// The answer to [`ExecuteTrajectory`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Executed {
    /// The model.
    pub model_id: String,
    /// Simulated time after the last step, in seconds.
    pub time_secs: Real,
    /// How long the trajectory is, in simulated seconds, holding included.
    pub duration_secs: Real,
    /// Steps taken.
    pub steps_done: u64,
    /// Why the call ended.
    pub stopped_by: StoppedBy,
    /// How each joint has followed.
    pub joints: Vec<Followed>,
    /// What the engine warned of during this call; empty when all was well.
    pub warnings: Vec<Warning>,
    /// How often the engine found the simulation unstable and started it anew from time 0.
    pub auto_resets: u64,
    /// What was asked for with `include`.
    pub state: Option<State>,
    /// What was asked for with `record`.
    pub table: Option<Table>,
}

/// How a joint has followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Followed {
    /// The joint.
    pub joint: String,
    /// The actuator that drove it.
    pub actuator: String,
    /// How it was driven.
    pub control: Control,
    /// Where it should be at the last step, in radians or metres.
    pub target: Real,
    /// Where it is.
    pub position: Real,
    /// The largest distance between the two on the way.
    pub error_max: Real,
    /// The root of the mean square of that distance.
    pub error_rms: Real,
    /// For how many steps its control or its force was at a limit.
    pub saturated_steps: u64,
}

/// How a joint is driven along a trajectory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Control {
    /// The actuator is a position servo: it gets the set point at which it gives the force that the
    /// motion takes. It holds the end afterwards.
    PositionServo,
    /// The actuator gets the force that the motion takes, and what corrects errors. It holds the end
    /// only as long as the call lasts.
    ComputedTorque,
}

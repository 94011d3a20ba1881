//! Moving joints on purpose.

use std::borrow::Cow;

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use simward_protocol::analysis::Place;
use simward_protocol::condition::Condition;
use simward_protocol::motion::{
    Align, ExecuteTrajectory, Executed, IkGoal, IkSolution, PlanTrajectory, Profile, SolveIk,
    Trajectory, TrajectoryPlan, Waypoint,
};
use simward_protocol::state::{Part, Values, values_from_json};

use super::recordings::SelectionArgs;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::long::OrRun;
use crate::mcp::refusal::Refusal;

/// Something whose shape another tool tells: saying it twice costs every client.
struct Object;

impl JsonSchema for Object {
    fn schema_name() -> Cow<'static, str> {
        "Object".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct IkArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// What to bring there: a site, or a body, perhaps with a point in its frame: {"site": "tip"}.
    place: Place,
    /// Where to, in world coordinates, in metres.
    #[serde(default)]
    position: Option<[f64; 3]>,
    /// Its orientation there: w, x, y, z.
    #[serde(default)]
    quaternion: Option<[f64; 4]>,
    /// Instead of `quaternion`: only where one of its axes points, such as {"axis": [0, 0, 1],
    /// "to": [0, 0, -1]} for a z axis that points down.
    #[serde(default)]
    align: Option<Align>,
    /// The joints that may move; without it all between the place and the world, but free ones.
    #[serde(default)]
    joints: Vec<String>,
    /// Positions to begin at, by joint; without it the present ones.
    #[serde(default, deserialize_with = "values_from_json")]
    #[schemars(with = "Option<Object>")]
    start: Option<Values>,
    /// Positions, by joint, to stay near where the goal leaves a choice.
    #[serde(default, deserialize_with = "values_from_json")]
    #[schemars(with = "Option<Object>")]
    posture: Option<Values>,
    /// Near enough, in metres.
    #[serde(default = "tolerance")]
    position_tolerance_m: f64,
    /// Near enough, in radians.
    #[serde(default = "tolerance")]
    rotation_tolerance_rad: f64,
    /// How often to begin anew by chance if it fails, up to 1000.
    #[serde(default = "restarts")]
    restarts: u32,
    /// The seed of that chance.
    #[serde(default)]
    seed: u64,
}

fn tolerance() -> f64 {
    1e-4
}

fn restarts() -> u32 {
    20
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlanArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Where to, one after the other, such as [{"positions": {"elbow": 1.2}}]; it comes to rest at
    /// each.
    waypoints: Vec<Waypoint>,
    /// How each stretch is run through.
    #[serde(default)]
    profile: Profile,
    /// The largest velocity of a joint, in rad/s or m/s.
    #[serde(default = "velocity")]
    velocity_max: f64,
    /// The largest acceleration, in rad/s² or m/s².
    #[serde(default = "acceleration")]
    acceleration_max: f64,
    /// How many rows of it to return, up to 1000.
    #[serde(default)]
    samples: u32,
}

fn velocity() -> f64 {
    1.0
}

fn acceleration() -> f64 {
    4.0
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExecuteArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// As for plan_trajectory.
    waypoints: Vec<Waypoint>,
    /// How each stretch is run through.
    #[serde(default)]
    profile: Profile,
    /// The largest velocity of a joint, in rad/s or m/s.
    #[serde(default = "velocity")]
    velocity_max: f64,
    /// The largest acceleration, in rad/s² or m/s².
    #[serde(default = "acceleration")]
    acceleration_max: f64,
    /// How long to hold the end, in simulated seconds.
    #[serde(default)]
    settle_secs: f64,
    /// How fast errors are corrected by actuators that are no position servos, in rad/s.
    #[serde(default = "bandwidth")]
    bandwidth: f64,
    /// End early when this holds after a step; as for step_simulation.
    #[serde(default)]
    #[schemars(with = "Option<Object>")]
    stop_when: Option<Box<Condition>>,
    /// Parts of the state to return with the result.
    #[serde(default)]
    include: Vec<Part>,
    /// Record the steps into `table` of the result; as for step_simulation.
    #[serde(default)]
    #[schemars(with = "Option<Object>")]
    record: Option<SelectionArgs>,
    /// Return a run_id for get_run at once.
    #[serde(default)]
    as_run: bool,
}

fn bandwidth() -> f64 {
    20.0
}

#[tool_router(router = motion_tools, vis = "pub(super)")]
impl McpServer {
    /// Find joint positions that bring a place where it shall be (inverse kinematics), within joint
    /// ranges. Nothing moves: give `positions` of the result to execute_trajectory or
    /// set_joint_positions. If `is_reached` is false they are only the best that was found.
    #[tool(
        title = "Solve inverse kinematics",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn solve_ik(
        &self,
        caller: Caller,
        Parameters(args): Parameters<IkArgs>,
    ) -> Result<Json<IkSolution>, Refusal> {
        let call = SolveIk {
            model_id: args.model_id,
            goal: Box::new(IkGoal {
                place: args.place,
                position: args.position,
                quaternion: args.quaternion,
                align: args.align,
            }),
            joints: args.joints,
            start: args.start,
            posture: args.posture,
            position_tolerance_m: args.position_tolerance_m,
            rotation_tolerance_rad: args.rotation_tolerance_rad,
            restarts: args.restarts,
            seed: args.seed,
            budget_millis: self.budget_millis(false),
        };
        Ok(Json(self.ask(&caller, args.session_id.as_deref(), call).await?))
    }

    /// What a joint trajectory from the present positions would be: its time, each joint's peak
    /// velocity, acceleration and force, and what collides on the way. Nothing moves.
    #[tool(
        title = "Plan a trajectory",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn plan_trajectory(
        &self,
        caller: Caller,
        Parameters(args): Parameters<PlanArgs>,
    ) -> Result<Json<TrajectoryPlan>, Refusal> {
        let PlanArgs { waypoints, profile, velocity_max, acceleration_max, .. } = args;
        let trajectory = Trajectory { waypoints, profile, velocity_max, acceleration_max };
        let call = PlanTrajectory { model_id: args.model_id, trajectory, samples: args.samples };
        Ok(Json(self.ask(&caller, args.session_id.as_deref(), call).await?))
    }

    /// Follow a joint trajectory to its end by the joints' own actuators, with what the motion takes
    /// fed forward, and tell how well each joint followed. Position servos hold the end afterwards;
    /// other actuators keep only their last force. Other controls stay as they are.
    #[tool(
        title = "Execute a trajectory",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn execute_trajectory(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ExecuteArgs>,
    ) -> Result<Json<OrRun<Executed>>, Refusal> {
        let ExecuteArgs {
            session_id,
            waypoints,
            profile,
            velocity_max,
            acceleration_max,
            as_run,
            ..
        } = args;
        let call = ExecuteTrajectory {
            model_id: args.model_id,
            trajectory: Trajectory { waypoints, profile, velocity_max, acceleration_max },
            settle_secs: args.settle_secs,
            bandwidth: args.bandwidth,
            stop_when: args.stop_when,
            include: args.include,
            record: args.record.map(Into::into),
            budget_millis: self.budget_millis(as_run),
        };
        let session_id = session_id.as_deref();
        Ok(Json(self.ask_or_run(&caller, "execute_trajectory", session_id, call, as_run).await?))
    }
}

//! Reading and setting the state.

use std::borrow::Cow;

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use simward_protocol::actuation::{Joints, ReadJoints};
use simward_protocol::named::Named;
use simward_protocol::real::Real;
use simward_protocol::simulation::Applied;
use simward_protocol::state::{GetState, Part, SetState, State, Values, values_from_json};

use super::models::{check_items, items_max};
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;

/// What a client reads about [`Values`].
pub(super) struct ValuesSchema;

impl JsonSchema for ValuesSchema {
    fn schema_name() -> Cow<'static, str> {
        "Values".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // What is said of items holds for lists, what is said of properties for objects.
        json_schema!({
            "type": ["array", "object"],
            "items": { "type": "number" },
            "additionalProperties": {
                "type": ["number", "array"],
                "items": { "type": "number" }
            }
        })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// The parts to read; without it qpos, qvel and ctrl.
    #[serde(default = "default_parts")]
    include: Vec<Part>,
}

fn default_parts() -> Vec<Part> {
    Part::DEFAULT.to_vec()
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SetArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Simulated time, in seconds.
    #[serde(default)]
    time_secs: Option<f64>,
    /// Positions: all nq of them, or some by joint name.
    #[serde(default, deserialize_with = "values_from_json")]
    #[schemars(with = "Option<ValuesSchema>")]
    qpos: Option<Values>,
    /// Velocities: all nv of them, or some by joint name.
    #[serde(default, deserialize_with = "values_from_json")]
    #[schemars(with = "Option<ValuesSchema>")]
    qvel: Option<Values>,
    /// Controls: all nu of them, or some by actuator name.
    #[serde(default, deserialize_with = "values_from_json")]
    #[schemars(with = "Option<ValuesSchema>")]
    ctrl: Option<Values>,
    /// Actuator activations: all na of them, or some by actuator name.
    #[serde(default, deserialize_with = "values_from_json")]
    #[schemars(with = "Option<ValuesSchema>")]
    act: Option<Values>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ControlArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// All nu controls in the order of the actuators, or some by actuator name, such as
    /// {"elbow": 0.5}.
    #[serde(deserialize_with = "values_from_json")]
    #[schemars(with = "ValuesSchema")]
    control: Option<Values>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PositionsArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// All nq positions, or some by joint name: a number for a hinge (rad) or slide (m) joint, 4
    /// for a ball joint, 7 for a free joint.
    #[serde(deserialize_with = "values_from_json")]
    #[schemars(with = "ValuesSchema")]
    positions: Option<Values>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VelocitiesArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// All nv velocities, or some by joint name: a number for a hinge (rad/s) or slide (m/s)
    /// joint, 3 for a ball joint, 6 for a free joint.
    #[serde(deserialize_with = "values_from_json")]
    #[schemars(with = "ValuesSchema")]
    velocities: Option<Values>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JointsArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// The joints by name; without them all joints.
    #[serde(default)]
    joints: Vec<String>,
    /// The most joints of the answer; what was cut is counted.
    #[serde(default = "items_max")]
    #[schemars(range(min = 1, max = 10_000))]
    max_items: u32,
}

/// Joint positions by name.
#[derive(Debug, Serialize, JsonSchema)]
struct JointPositions {
    /// The model.
    model_id: String,
    /// Simulated time, in seconds.
    time_secs: Real,
    /// By joint name: a number (rad or m), 4 for a ball joint, 7 for a free joint.
    positions: Named,
    /// How many joints were left out.
    items_cut: u32,
}

/// Joint velocities by name.
#[derive(Debug, Serialize, JsonSchema)]
struct JointVelocities {
    /// The model.
    model_id: String,
    /// Simulated time, in seconds.
    time_secs: Real,
    /// By joint name: a number (rad/s or m/s), 3 for a ball joint, 6 for a free joint.
    velocities: Named,
    /// How many joints were left out.
    items_cut: u32,
}

#[tool_router(router = state_tools, vis = "pub(super)")]
impl McpServer {
    /// Read a simulation's state. Numbers are exact to the last bit; NaN and infinities are
    /// strings. Derived parts (qacc, actuator_force, sensordata, xpos, xquat) are those of the
    /// state as it is now.
    #[tool(
        title = "Get the state",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_state(
        &self,
        caller: Caller,
        Parameters(args): Parameters<GetArgs>,
    ) -> Result<Json<State>, Refusal> {
        let GetArgs { session_id, model_id, include } = args;
        Ok(Json(self.ask(&caller, session_id.as_deref(), GetState { model_id, include }).await?))
    }

    /// Set parts of a simulation's state. What is left out stays as it is; all of it is checked
    /// before any of it is set.
    #[tool(
        title = "Set the state",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn set_state(
        &self,
        caller: Caller,
        Parameters(args): Parameters<SetArgs>,
    ) -> Result<Json<Applied>, Refusal> {
        let SetArgs { session_id, model_id, time_secs, qpos, qvel, ctrl, act } = args;
        let argument = None;
        let call = SetState { model_id, time_secs, qpos, qvel, ctrl, act, argument };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// Set controls. They act from the next step on and stay until they are set again; controls
    /// outside an actuator's range are clamped by the engine and named in the reply.
    #[tool(
        title = "Apply control",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn apply_control(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ControlArgs>,
    ) -> Result<Json<Applied>, Refusal> {
        let ControlArgs { session_id, model_id, control } = args;
        let ctrl = Some(given(control, "control")?);
        let argument = Some("control".to_owned());
        let call = SetState { model_id, ctrl, argument, ..SetState::default() };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// Read joint positions by name.
    #[tool(
        title = "Get joint positions",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_joint_positions(
        &self,
        caller: Caller,
        Parameters(args): Parameters<JointsArgs>,
    ) -> Result<Json<JointPositions>, Refusal> {
        let Joints { model_id, time_secs, positions, items_cut, .. } =
            self.read_joints(&caller, args).await?;
        Ok(Json(JointPositions { model_id, time_secs, positions, items_cut }))
    }

    /// Read joint velocities by name.
    #[tool(
        title = "Get joint velocities",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_joint_velocities(
        &self,
        caller: Caller,
        Parameters(args): Parameters<JointsArgs>,
    ) -> Result<Json<JointVelocities>, Refusal> {
        let Joints { model_id, time_secs, velocities, items_cut, .. } =
            self.read_joints(&caller, args).await?;
        Ok(Json(JointVelocities { model_id, time_secs, velocities, items_cut }))
    }

    async fn read_joints(&self, caller: &Caller, args: JointsArgs) -> Result<Joints, Refusal> {
        let JointsArgs { session_id, model_id, joints, max_items } = args;
        check_items(max_items)?;
        let call = ReadJoints { model_id, joints, items_max: max_items };
        self.ask(caller, session_id.as_deref(), call).await
    }

    /// Set joint positions at once, as if the robot were placed so; velocities stay as they are.
    #[tool(
        title = "Set joint positions",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn set_joint_positions(
        &self,
        caller: Caller,
        Parameters(args): Parameters<PositionsArgs>,
    ) -> Result<Json<Applied>, Refusal> {
        let PositionsArgs { session_id, model_id, positions } = args;
        let qpos = Some(given(positions, "positions")?);
        let argument = Some("positions".to_owned());
        let call = SetState { model_id, qpos, argument, ..SetState::default() };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// Set joint velocities at once; positions stay as they are.
    #[tool(
        title = "Set joint velocities",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn set_joint_velocities(
        &self,
        caller: Caller,
        Parameters(args): Parameters<VelocitiesArgs>,
    ) -> Result<Json<Applied>, Refusal> {
        let VelocitiesArgs { session_id, model_id, velocities } = args;
        let qvel = Some(given(velocities, "velocities")?);
        let argument = Some("velocities".to_owned());
        let call = SetState { model_id, qvel, argument, ..SetState::default() };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }
}

fn given(values: Option<Values>, field: &str) -> Result<Values, Refusal> {
    let missing = || {
        let message = format!("`{field}` must be a list of numbers or an object by name, not null");
        Refusal::argument(message)
    };
    values.ok_or_else(missing)
}

//! What drives a simulation: actuators, and forces from outside.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::Deserialize;
use simward_protocol::actuation::{
    ActuatorInfos, Actuators, ApplyForce, DescribeActuators, ForceApplied, ReadActuators,
};

use super::models::{check_items, items_max};
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ActuatorsArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// The actuators by name; without them all actuators.
    #[serde(default)]
    actuators: Vec<String>,
    /// The most actuators of the answer; what was cut is counted.
    #[serde(default = "items_max")]
    #[schemars(range(min = 1, max = 10_000))]
    max_items: u32,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForceArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// The body that is pushed.
    body: String,
    /// Force along the axes of the world, in newtons.
    #[serde(default)]
    force: [f64; 3],
    /// Torque about the axes of the world, in newton-metres.
    #[serde(default)]
    torque: [f64; 3],
    /// Where the force acts, in world coordinates (m); without it at the body's centre of mass.
    #[serde(default)]
    point: Option<[f64; 3]>,
}

#[tool_router(router = actuation_tools, vis = "pub(super)")]
impl McpServer {
    /// Read what each actuator does now: control, activation, force, length, velocity, and whether
    /// its control is clamped or its force at the limit.
    #[tool(
        title = "Get the actuators' state",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_control_state(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ActuatorsArgs>,
    ) -> Result<Json<Actuators>, Refusal> {
        let ActuatorsArgs { session_id, model_id, actuators, max_items } = args;
        check_items(max_items)?;
        let call = ReadActuators { model_id, actuators, items_max: max_items };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// What the actuators are: what each acts on, whether its control is a force (`motor`), a set
    /// point (`position`, `velocity`) or something else, ranges, gear, gain and bias.
    #[tool(
        title = "Describe the actuators",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_actuator_info(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ActuatorsArgs>,
    ) -> Result<Json<ActuatorInfos>, Refusal> {
        let ActuatorsArgs { session_id, model_id, actuators, max_items } = args;
        check_items(max_items)?;
        let call = DescribeActuators { model_id, actuators, items_max: max_items };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// Push a body from outside with a force (N) and a torque (N m). It acts in every step until
    /// it is set again; a force and torque of zero end it.
    #[tool(
        title = "Apply a force",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn apply_force(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ForceArgs>,
    ) -> Result<Json<ForceApplied>, Refusal> {
        let ForceArgs { session_id, model_id, body, force, torque, point } = args;
        let call = ApplyForce { model_id, body, force, torque, point };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }
}

//! Looking at what a simulation does.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::Deserialize;
use simward_protocol::observe::{
    BodyStates, Contacts, Energy, Forces, GetBodies, GetContacts, GetEnergy, GetForces, GetSensors,
    SensorData,
};

use super::models::check_items;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct BodiesArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Body names; without it all bodies.
    #[serde(default)]
    bodies: Vec<String>,
    /// The most entries to return.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    max_items: u32,
}

pub(super) fn hundred() -> u32 {
    100
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SensorsArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Sensor names; without it all sensors.
    #[serde(default)]
    sensors: Vec<String>,
    /// The most entries to return.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    max_items: u32,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ContactsArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Only contacts of this body.
    #[serde(default)]
    body: Option<String>,
    /// The most entries to return.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    max_items: u32,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct EnergyArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForcesArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Joint names; without it all joints.
    #[serde(default)]
    joints: Vec<String>,
    /// The most entries to return.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    max_items: u32,
}

#[tool_router(router = observation_tools, vis = "pub(super)")]
impl McpServer {
    /// Where bodies are and how they move, in world coordinates: position, orientation (w, x, y, z),
    /// velocities of the frame's origin, centre of mass.
    #[tool(
        title = "Get body states",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_body_states(
        &self,
        caller: Caller,
        Parameters(args): Parameters<BodiesArgs>,
    ) -> Result<Json<BodyStates>, Refusal> {
        let BodiesArgs { session_id, model_id, bodies, max_items } = args;
        check_items(max_items)?;
        let call = GetBodies { model_id, bodies, items_max: max_items };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// What sensors read now, by name, with their kind and unit.
    #[tool(
        title = "Get sensor data",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_sensor_data(
        &self,
        caller: Caller,
        Parameters(args): Parameters<SensorsArgs>,
    ) -> Result<Json<SensorData>, Refusal> {
        let SensorsArgs { session_id, model_id, sensors, max_items } = args;
        check_items(max_items)?;
        let call = GetSensors { model_id, sensors, items_max: max_items };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// What touches what: geoms, bodies, position, normal (from the first to the second), depth, normal
    /// and friction force.
    #[tool(
        title = "Get contacts",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_contacts(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ContactsArgs>,
    ) -> Result<Json<Contacts>, Refusal> {
        let ContactsArgs { session_id, model_id, body, max_items } = args;
        check_items(max_items)?;
        let call = GetContacts { model_id, body, items_max: max_items };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// Kinetic, potential and total energy, in joules, whether the model enables energy or not.
    #[tool(
        title = "Get the energy",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_energy(
        &self,
        caller: Caller,
        Parameters(args): Parameters<EnergyArgs>,
    ) -> Result<Json<Energy>, Refusal> {
        let EnergyArgs { session_id, model_id } = args;
        let call = GetEnergy { model_id };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// What drives each joint, in N or N·m: inertial = actuator + passive + constraint + applied - bias;
    /// gravity is the part of bias that is there at rest.
    #[tool(
        title = "Get joint forces",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_forces(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ForcesArgs>,
    ) -> Result<Json<Forces>, Refusal> {
        let ForcesArgs { session_id, model_id, joints, max_items } = args;
        check_items(max_items)?;
        let call = GetForces { model_id, joints, items_max: max_items };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }
}

//! Running a simulation.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::Deserialize;
use simward_protocol::condition::Condition;
use simward_protocol::simulation::{Applied, Pause, Reset, Run, RunStatus, Step, Stepped};
use simward_protocol::state::{Part, Values, values_from_json};

use super::recordings::SelectionArgs;
use super::state::ValuesSchema;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::long::OrRun;
use crate::mcp::refusal::Refusal;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct StepArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// How many timesteps to advance.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    steps: u64,
    /// Instead of `steps`: simulated seconds to advance, to the nearest timestep.
    #[serde(default)]
    duration_secs: Option<f64>,
    /// Controls to set first: all of them in the order of the actuators, or some by actuator name.
    /// They stay until they are set again.
    #[serde(default, deserialize_with = "values_from_json")]
    #[schemars(with = "Option<ValuesSchema>")]
    control: Option<Values>,
    /// End early when this holds after a step, such as {"quantity": "contact_force", "name":
    /// "ball", "above": 1} or {"any": [{"quantity": "joint_position", "name": "elbow", "above":
    /// 1.5}, {"quantity": "max_velocity", "below": 0.001, "for_secs": 0.1}]}.
    #[serde(default)]
    stop_when: Option<Box<Condition>>,
    /// Parts of the state to return with the result, such as ["qpos", "sensordata"].
    #[serde(default)]
    include: Vec<Part>,
    /// Record these steps into `table` of the result, such as {"channels": ["qpos"], "every": 10};
    /// up to 20000 values.
    #[serde(default)]
    record: Option<SelectionArgs>,
    /// Return a run_id for get_run at once; for what takes long.
    #[serde(default)]
    as_run: bool,
}

fn one() -> u64 {
    1
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Simulated seconds to advance, up to 86400.
    duration_secs: f64,
    /// Simulated seconds per second, between 0.001 and 1000: 1 is real time. Without it as fast
    /// as possible.
    #[serde(default)]
    real_time_factor: Option<f64>,
    /// Controls to set first: all of them, or some by actuator name. apply_control changes them
    /// under way.
    #[serde(default, deserialize_with = "values_from_json")]
    #[schemars(with = "Option<ValuesSchema>")]
    control: Option<Values>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct PauseArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResetArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// The keyframe to reset to, by name or as `#` and its index; without it the model's initial
    /// state.
    #[serde(default)]
    keyframe: Option<String>,
}

#[tool_router(router = simulation_tools, vis = "pub(super)")]
impl McpServer {
    /// Advance a simulation by whole timesteps and return the time reached, the steps taken, why
    /// it stopped and what the engine warned of. A call that takes too long, or is cancelled,
    /// keeps the steps it has taken and says so in `stopped_by`.
    #[tool(
        title = "Step the simulation",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn step_simulation(
        &self,
        caller: Caller,
        Parameters(args): Parameters<StepArgs>,
    ) -> Result<Json<OrRun<Stepped>>, Refusal> {
        let StepArgs {
            session_id,
            model_id,
            steps,
            duration_secs,
            control,
            stop_when,
            include,
            record,
            as_run,
        } = args;
        let budget_millis = self.budget_millis(as_run);
        let call = Step {
            model_id,
            steps,
            duration_secs,
            control,
            stop_when,
            include,
            record: record.map(Into::into),
            budget_millis,
        };
        let session_id = session_id.as_deref();
        Ok(Json(self.ask_or_run(&caller, "step_simulation", session_id, call, as_run).await?))
    }

    /// Advance a simulation in the background, in real time or as fast as possible, and return at
    /// once. get_state reads it under way, apply_control steers it, pause_simulation ends it.
    #[tool(
        title = "Run the simulation",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn run_simulation(
        &self,
        caller: Caller,
        Parameters(args): Parameters<RunArgs>,
    ) -> Result<Json<RunStatus>, Refusal> {
        let RunArgs { session_id, model_id, duration_secs, real_time_factor, control } = args;
        let call = Run { model_id, duration_secs, real_time_factor, control };
        Ok(Json(self.ask(&caller, session_id.as_deref(), call).await?))
    }

    /// End a background simulation where it is, and return how far it came and what the engine
    /// warned of. One that has ended by itself reports here, once.
    #[tool(
        title = "Pause the simulation",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn pause_simulation(
        &self,
        caller: Caller,
        Parameters(args): Parameters<PauseArgs>,
    ) -> Result<Json<RunStatus>, Refusal> {
        let PauseArgs { session_id, model_id } = args;
        Ok(Json(self.ask(&caller, session_id.as_deref(), Pause { model_id }).await?))
    }

    /// Bring a simulation back to its initial state or to a keyframe.
    #[tool(
        title = "Reset the simulation",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn reset_simulation(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ResetArgs>,
    ) -> Result<Json<Applied>, Refusal> {
        let ResetArgs { session_id, model_id, keyframe } = args;
        Ok(Json(self.ask(&caller, session_id.as_deref(), Reset { model_id, keyframe }).await?))
    }
}

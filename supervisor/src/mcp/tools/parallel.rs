//! Many simulations at once.

use futures::StreamExt as _;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};
use simward_protocol::rollout::{RolledOut, Rollout};
use simward_protocol::simulation::{Step, Stepped};
use simward_protocol::state::{Part, Values, values_from_json};
use simward_protocol::sweep::{Parameter, Sweep, Swept};
use tokio::sync::watch;

use super::state::ValuesSchema;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::long::OrRun;
use crate::mcp::refusal::Refusal;

/// The most items of one call.
const ITEMS_MAX: usize = 64;

/// How many of them are under way at a time; the others wait.
const CONCURRENT_MAX: usize = 16;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct BatchArgs {
    /// What to step, up to 64 items.
    items: Vec<Item>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Item {
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
    /// Controls to set first.
    #[serde(default, deserialize_with = "values_from_json")]
    #[schemars(with = "Option<ValuesSchema>")]
    control: Option<Values>,
    /// Parts of the state to return.
    #[serde(default)]
    include: Vec<Part>,
}

fn one() -> u64 {
    1
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ParallelArgs {
    /// The sessions, up to 64, each with one model.
    session_ids: Vec<String>,
    /// Simulated seconds to advance each of them.
    duration_secs: f64,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RolloutArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Up to 1024 sequences, each a list of control vectors (nu values each); [] keeps the controls
    /// as they are.
    controls: Vec<Vec<Vec<f64>>>,
    /// How many timesteps each sequence takes.
    steps: u64,
    /// For how many steps a control vector holds; the last one holds to the end.
    #[serde(default = "one")]
    hold_steps: u64,
    /// Parts of the state to return of each sequence.
    #[serde(default = "outputs")]
    include: Vec<Part>,
    /// How many states to return on the way as well, at equal distances.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    samples: u32,
    /// Return a run_id for get_run at once.
    #[serde(default)]
    as_run: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SweepArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// What varies, up to 8 fields and 1024 combinations.
    parameters: Vec<Parameter>,
    /// How many combinations to draw between the bounds; without it every combination is tried.
    #[serde(default)]
    draws: Option<u32>,
    /// The seed of what is drawn.
    #[serde(default)]
    seed: u64,
    /// How many timesteps each combination takes.
    steps: u64,
    /// Controls, all nu of them; without it as they are.
    #[serde(default)]
    control: Option<Vec<f64>>,
    /// Parts of the state to return of each combination.
    #[serde(default = "outputs")]
    include: Vec<Part>,
    /// How many states to return on the way as well, at equal distances.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    samples: u32,
    /// Return a run_id for get_run at once.
    #[serde(default)]
    as_run: bool,
}

fn outputs() -> Vec<Part> {
    vec![Part::Qpos, Part::Qvel]
}

/// What came of many simulations, in the order given.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Outcomes {
    /// One for each item.
    results: Vec<Outcome>,
    /// Steps taken by all of them.
    steps_total: u64,
    /// How many of them were refused.
    refused_total: u64,
    /// How long it took, in seconds.
    elapsed_secs: f64,
}

/// What came of one: either a result or a refusal.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Outcome {
    /// The session as it was named.
    session_id: Option<String>,
    /// What came of it.
    result: Option<Stepped>,
    /// Why it was not carried out; the others were.
    refused: Option<Refusal>,
}

#[tool_router(router = parallel_tools, vis = "pub(super)")]
impl McpServer {
    /// Step many sessions or models at once, each with its own controls. Sessions run in parallel;
    /// an item that is refused says why and leaves the others alone.
    #[tool(
        title = "Step many simulations",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn batch_step(
        &self,
        caller: Caller,
        Parameters(BatchArgs { items }): Parameters<BatchArgs>,
    ) -> Result<Json<Outcomes>, Refusal> {
        check_count("items", items.len())?;
        let steps = items.into_iter().map(|item| {
            let Item { session_id, model_id, steps, control, include } = item;
            let call = Step {
                model_id,
                steps,
                duration_secs: None,
                control,
                stop_when: None,
                record: None,
                include,
                budget_millis: self.budget_millis(false),
            };
            (session_id, call)
        });
        Ok(Json(self.step_all(&caller, steps.collect()).await))
    }

    /// Advance many sessions by the same simulated time, in parallel as far as there are
    /// processors. Each result says how far it came.
    #[tool(
        title = "Run many simulations",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn run_parallel(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ParallelArgs>,
    ) -> Result<Json<Outcomes>, Refusal> {
        let ParallelArgs { session_ids, duration_secs } = args;
        check_count("session_ids", session_ids.len())?;
        let steps = session_ids.into_iter().map(|session_id| {
            let call = Step {
                model_id: None,
                steps: 1,
                duration_secs: Some(duration_secs),
                control: None,
                stop_when: None,
                record: None,
                include: Vec::new(),
                budget_millis: self.budget_millis(false),
            };
            (Some(session_id), call)
        });
        Ok(Json(self.step_all(&caller, steps.collect()).await))
    }

    /// Try many control sequences from a model's present state, on all processors that the session
    /// may use, and return where each ends. The model itself stays as it is: for planning and
    /// sampling. Results are the same bits as stepping one by one.
    #[tool(
        title = "Roll out control sequences",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn rollout(
        &self,
        caller: Caller,
        Parameters(args): Parameters<RolloutArgs>,
    ) -> Result<Json<OrRun<RolledOut>>, Refusal> {
        let RolloutArgs { session_id, model_id, controls, steps, hold_steps, as_run, .. } = args;
        let session_id = session_id.as_deref();
        let session = self.session(&caller, session_id).await?;
        let call = Rollout {
            model_id,
            controls,
            steps,
            hold_steps,
            outputs: args.include,
            samples: args.samples,
            threads: session.plan().threads_of_work(),
            budget_millis: self.budget_millis(as_run),
        };
        Ok(Json(self.ask_or_run(&caller, "rollout", session_id, call, as_run).await?))
    }

    async fn step_all(&self, caller: &Caller, steps: Vec<(Option<String>, Step)>) -> Outcomes {
        let begun = std::time::Instant::now();
        let (tell, told) = watch::channel((0, steps.len() as u64));
        let (tell, quiet) = (&tell, &caller.without_progress());
        let asked = steps.into_iter().map(|(session_id, call)| async move {
            let asked = self.ask(quiet, session_id.as_deref(), call).await;
            tell.send_modify(|(done, _)| *done += 1);
            let (result, refused) = match asked {
                Ok(stepped) => (Some(stepped), None),
                Err(refusal) => (None, Some(refusal)),
            };
            Outcome { session_id, result, refused }
        });
        let all = futures::stream::iter(asked).buffered(CONCURRENT_MAX).collect();
        let results: Vec<Outcome> = caller.hearing_of_progress(told, all).await;
        let done = results.iter().filter_map(|outcome| outcome.result.as_ref());
        let steps_total = done.map(|stepped| stepped.steps_done).sum();
        let refused_total =
            results.iter().filter(|outcome| outcome.refused.is_some()).count() as u64;
        Outcomes {
            results,
            steps_total,
            refused_total,
            elapsed_secs: begun.elapsed().as_secs_f64(),
        }
    }
}

#[tool_router(router = sweep_tools, vis = "pub(super)")]
impl McpServer {
    /// Simulate a model's present state under many parameters at once and return where each
    /// combination ends. `parameters` are fields as in modify_model, such as {"field": "body_mass",
    /// "name": "torso", "values": [5, 7, 9]}; with `draws` the values are two bounds to draw
    /// between. The model itself stays as it is.
    #[tool(
        title = "Sweep parameters",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn run_sweep(
        &self,
        caller: Caller,
        Parameters(args): Parameters<SweepArgs>,
    ) -> Result<Json<OrRun<Swept>>, Refusal> {
        let (session_id, as_run) = (args.session_id.as_deref(), args.as_run);
        let session = self.session(&caller, session_id).await?;
        let call = Sweep {
            model_id: args.model_id,
            parameters: args.parameters,
            draws: args.draws,
            seed: args.seed,
            steps: args.steps,
            control: args.control,
            outputs: args.include,
            samples: args.samples,
            threads: session.plan().threads_of_work(),
            budget_millis: self.budget_millis(as_run),
        };
        Ok(Json(self.ask_or_run(&caller, "run_sweep", session_id, call, as_run).await?))
    }
}

fn check_count(field: &str, count: usize) -> Result<(), Refusal> {
    if (1..=ITEMS_MAX).contains(&count) {
        return Ok(());
    }
    let message = format!("`{field}` must have 1 to {ITEMS_MAX} entries, and has {count}");
    Err(Refusal::argument(message))
}

//! Runs: long work that nobody waits for.

use std::time::Duration;

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::JsonObject;
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::runs::Run;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetArgs {
    /// The run, as a call with as_run returned it.
    run_id: String,
    /// Seconds to wait for its end.
    #[serde(default)]
    #[schemars(range(min = 0, max = 30))]
    wait_secs: f64,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct CancelArgs {
    /// The run.
    run_id: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArgs {}

/// The longest wait of one call, in seconds.
const WAIT_SECS_MAX: f64 = 30.0;

/// How long a withdrawn run is waited for. It looks for a withdrawal at every step.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);

/// A run.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct RunInfo {
    /// Its handle.
    run_id: String,
    /// The tool that began it.
    tool: String,
    /// The session that it works on.
    session_id: Option<String>,
    /// `running`, `completed`, `refused`, or `cancelled`.
    state: String,
    /// How far it is, in steps or whatever its tool counts.
    progress_done: u64,
    /// How far it has to go; 0 while that is not known.
    progress_total: u64,
    /// Seconds since it began, or that it took.
    elapsed_secs: f64,
    /// Seconds for which it is still kept; nothing while it is under way.
    kept_secs: Option<f64>,
    /// What its tool answered, once it has ended; also if it was cancelled, for what it has done.
    result: Option<JsonObject>,
    /// Why it was refused, with `code` and `message`.
    refusal: Option<JsonObject>,
}

/// Runs.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct RunList {
    /// The runs, the oldest first, without their results.
    runs: Vec<RunInfo>,
}

#[tool_router(router = run_tools, vis = "pub(super)")]
impl McpServer {
    /// How a run stands and, once it has ended, its result. Give wait_secs instead of asking again
    /// and again.
    #[tool(
        title = "Get a run",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_run(
        &self,
        caller: Caller,
        Parameters(args): Parameters<GetArgs>,
    ) -> Result<Json<RunInfo>, Refusal> {
        let GetArgs { run_id, wait_secs } = args;
        if !(0.0..=WAIT_SECS_MAX).contains(&wait_secs) {
            let message =
                format!("`wait_secs` must lie between 0 and {WAIT_SECS_MAX}, and is {wait_secs}");
            return Err(Refusal::argument(message));
        }
        let run = self.runs().get(&caller.tenant, &run_id)?;
        let wait = tokio::time::timeout(Duration::from_secs_f64(wait_secs), run.ended());
        let wait = caller.hearing_of_progress(run.progress(), wait);
        let wait = async { Ok::<_, Refusal>(wait.await) };
        // In time or not: either is told.
        caller.unless_withdrawn(wait).await?.ok();
        Ok(Json(self.describe_run(&run, Detail::Result)))
    }

    /// List your runs, those that ended lately included.
    #[tool(
        title = "List runs",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn list_runs(
        &self,
        caller: Caller,
        Parameters(ListArgs {}): Parameters<ListArgs>,
    ) -> Result<Json<RunList>, Refusal> {
        let runs = self.runs().list(&caller.tenant);
        let runs = runs.iter().map(|run| self.describe_run(run, Detail::State)).collect();
        Ok(Json(RunList { runs }))
    }

    /// End a run early. What it has done stays done, and is in its result.
    #[tool(
        title = "Cancel a run",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn cancel_run(
        &self,
        caller: Caller,
        Parameters(args): Parameters<CancelArgs>,
    ) -> Result<Json<RunInfo>, Refusal> {
        let run = self.runs().get(&caller.tenant, &args.run_id)?;
        run.cancel();
        tokio::time::timeout(CANCEL_PATIENCE, run.ended()).await.ok();
        Ok(Json(self.describe_run(&run, Detail::Result)))
    }

    fn describe_run(&self, run: &Run, detail: Detail) -> RunInfo {
        let outcome = run.outcome();
        let (progress_done, progress_total) = *run.progress().borrow();
        let state = outcome.as_ref().map_or("running", |outcome| outcome.end.name());
        let answer = outcome.as_ref().filter(|_| detail == Detail::Result);
        let (result, refusal) = match answer.map(|outcome| outcome.answer.clone()) {
            Some(Ok(Value::Object(result))) => (Some(result), None),
            Some(Err(Value::Object(refusal))) => (None, Some(refusal)),
            _ => (None, None),
        };
        let kept = outcome.map(|outcome| self.runs().keep().saturating_sub(outcome.at.elapsed()));
        RunInfo {
            run_id: run.id().to_owned(),
            tool: run.about().tool.to_owned(),
            session_id: run.about().session_id.clone(),
            state: state.to_owned(),
            progress_done,
            progress_total,
            elapsed_secs: run.elapsed().as_secs_f64(),
            kept_secs: kept.map(|kept| kept.as_secs_f64()),
            result,
            refusal,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    State,
    Result,
}

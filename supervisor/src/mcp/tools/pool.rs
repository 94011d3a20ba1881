//! The processes behind the sessions, for operators.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::Deserialize;

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::telemetry::{PoolStats, Processes};
use crate::terminate::{Restarted, Target, Terminated, restart, terminate, would_terminate};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoArgs {}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::mcp) struct TargetArgs {
    /// The session whose process is meant. Give this or `pid`.
    #[serde(default)]
    session_id: Option<String>,
    /// The process, which must be one of ours. Give this or `session_id`.
    #[serde(default)]
    pid: Option<u32>,
    /// Only tell what would be ended.
    #[serde(default)]
    pub(in crate::mcp) dry_run: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RestartArgs {
    /// The session whose process is meant. Give this or `pid`.
    #[serde(default)]
    session_id: Option<String>,
    /// The process, which must be one of ours. Give this or `session_id`.
    #[serde(default)]
    pid: Option<u32>,
}

/// The tool that asks first.
pub(in crate::mcp) const TERMINATE: &str = "terminate_process";

#[tool_router(router = pool_tools, vis = "pub(super)")]
impl McpServer {
    /// The pool at a glance: sessions and workers by state, ports used and free, limits, processor
    /// and memory use.
    #[tool(
        title = "Process pool statistics",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_process_pool_stats(
        &self,
        _caller: Caller,
        Parameters(NoArgs {}): Parameters<NoArgs>,
    ) -> Result<Json<PoolStats>, Refusal> {
        Ok(Json(PoolStats::look(&self.inner.watch, self.sessions()).await))
    }

    /// Every session's process: pid, port, state, processor and memory use, steps per second,
    /// restarts, isolation.
    #[tool(
        title = "List active processes",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn list_active_processes(
        &self,
        _caller: Caller,
        Parameters(NoArgs {}): Parameters<NoArgs>,
    ) -> Result<Json<Processes>, Refusal> {
        Ok(Json(self.inner.watch.look(self.sessions()).await))
    }

    /// End a session's process, kindly first and killing if need be. Its session is closed with
    /// it; all of them, if several share the process. Asks the user, where the client can.
    #[tool(
        title = "Terminate a process",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn terminate_process(
        &self,
        _caller: Caller,
        Parameters(args): Parameters<TargetArgs>,
    ) -> Result<Json<Terminated>, Refusal> {
        let target = args.target()?;
        if args.dry_run {
            return Ok(Json(would_terminate(self.sessions(), &target)?));
        }
        Ok(Json(terminate(self.sessions(), target).await?))
    }

    /// Give a session another process. It goes on in the state that was last acknowledged; a call
    /// that is under way is refused, and had no effect.
    #[tool(
        title = "Restart a process",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn restart_process(
        &self,
        _caller: Caller,
        Parameters(RestartArgs { session_id, pid }): Parameters<RestartArgs>,
    ) -> Result<Json<Restarted>, Refusal> {
        Ok(Json(restart(self.sessions(), &target(session_id.as_deref(), pid)?).await?))
    }
}

impl TargetArgs {
    pub(in crate::mcp) fn target(&self) -> Result<Target, Refusal> {
        target(self.session_id.as_deref(), self.pid)
    }
}

fn target(session_id: Option<&str>, pid: Option<u32>) -> Result<Target, Refusal> {
    match (session_id, pid) {
        (Some(id), None) => Ok(Target::Session(id.to_owned())),
        (None, Some(pid)) => Ok(Target::Pid(pid)),
        _ => {
            let message = "exactly one of `session_id` and `pid` must be given".to_owned();
            Err(Refusal::argument(message))
        }
    }
}

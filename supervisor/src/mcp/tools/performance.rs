//! How fast it all is, and how much is left.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::telemetry::{Use, usage};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct UsageArgs {
    /// A session, to tell of it as well.
    #[serde(default)]
    session_id: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ResourceUsage {
    /// What you use, all sessions together.
    tenant: Vec<Use>,
    /// What the session uses; empty without `session_id`.
    session: Vec<Use>,
}

#[tool_router(router = performance_tools, vis = "pub(super)")]
impl McpServer {
    /// What you, and one of your sessions, use of what you may: value, limit, ratio.
    #[tool(
        title = "Resource usage",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_resource_usage(
        &self,
        caller: Caller,
        Parameters(args): Parameters<UsageArgs>,
    ) -> Result<Json<ResourceUsage>, Refusal> {
        let session = match &args.session_id {
            Some(id) => Some(self.session(&caller, Some(id)).await?),
            None => None,
        };
        let (sessions, runs) = (self.sessions().clone(), self.runs().clone());
        let (uploads, tenant) = (self.uploads().clone(), caller.tenant);
        // Files are read, which takes its time.
        let look = tokio::task::spawn_blocking(move || ResourceUsage {
            tenant: usage::of_tenant(&tenant, &sessions, &runs, &uploads),
            session: session.as_ref().map(usage::of_session).unwrap_or_default(),
        });
        Ok(Json(look.await.map_err(|_panic| Refusal::internal())?))
    }
}

//! How fast it all is, and how much is left.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};

use crate::auth::Scope;
use crate::limits::Limits;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::session::{Allowed, Limited};
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

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct LimitsArgs {
    /// Else your default one. Operators may name anybody's.
    #[serde(default)]
    session_id: Option<String>,
    /// Memory of its process, not less than it uses.
    #[serde(default)]
    memory_bytes: Option<u64>,
    /// Processor time over elapsed time.
    #[serde(default)]
    cpu_ratio: Option<f64>,
    /// Steps per second, all models together.
    #[serde(default)]
    step_rate: Option<f64>,
    /// Models that it may hold.
    #[serde(default)]
    models: Option<u32>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ResourceLimits {
    /// The session.
    session_id: String,
    /// Every limit of it.
    limits: Vec<ResourceLimit>,
}

/// A limit of a session.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ResourceLimit {
    /// `memory_bytes`, `cpu_ratio`, `step_rate` or `models`.
    limit: &'static str,
    /// What it was; null means none.
    old: Option<f64>,
    /// What it is; null means none.
    new: Option<f64>,
    /// By what it is enforced: `cgroup_v1`, `cgroup_v2`, `worker` or `watchdog`; null where nothing
    /// is limited, and while there is no process.
    enforced_by: Option<String>,
    /// Since when: `now`, or `next_process` if the session has none that can be held to it.
    in_force: &'static str,
}

impl ResourceLimits {
    fn of(session_id: String, limited: &Limited) -> Self {
        let Limited { before, after, held } = limited;
        #[expect(clippy::cast_precision_loss, reason = "numbers of JSON are floating point")]
        let values = |allowed: &Allowed| {
            let Limits { memory_bytes, cpu_ratio, step_rate, .. } = allowed.limits;
            let memory_bytes = memory_bytes.map(|bytes| bytes as f64);
            [memory_bytes, cpu_ratio, step_rate, Some(f64::from(allowed.models_max))]
        };
        let names = ["memory_bytes", "cpu_ratio", "step_rate", "models"];
        let limits = names.into_iter().zip(values(before).into_iter().zip(values(after)));
        let limit = |(limit, (old, new)): (&'static str, (Option<f64>, Option<f64>))| {
            let enforced_by = held.by(limit).filter(|_| new.is_some()).map(str::to_owned);
            let in_force = if held.is_now(limit) { "now" } else { "next_process" };
            ResourceLimit { limit, old, new, enforced_by, in_force }
        };
        Self { session_id, limits: limits.map(limit).collect() }
    }
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
        let watch = self.inner.usage_watch.clone();
        // Files are read, which takes its time.
        let look = tokio::task::spawn_blocking(move || {
            let (sessions, watch, runs, uploads) = (&sessions, &watch, &runs, &uploads);
            let counted = usage::Counted { sessions, watch, runs, uploads };
            ResourceUsage {
                tenant: usage::of_tenant(&tenant, &counted),
                session: session.as_ref().map(usage::of_session).unwrap_or_default(),
            }
        });
        Ok(Json(look.await.map_err(|_panic| Refusal::internal())?))
    }

    /// Change what a session may use, at once and for good; what is left out stays. More than the
    /// server allows becomes what it allows.
    #[tool(
        title = "Set resource limits",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn set_resource_limits(
        &self,
        caller: Caller,
        Parameters(args): Parameters<LimitsArgs>,
    ) -> Result<Json<ResourceLimits>, Refusal> {
        let LimitsArgs { session_id, memory_bytes, cpu_ratio, step_rate, models } = args;
        let given = Limits { memory_bytes, cpu_ratio, step_rate, models };
        let session = match &session_id {
            Some(id) if caller.principal.may(Scope::AdministerPool) => self.sessions().find(id)?,
            id => self.session(&caller, id.as_deref()).await?,
        };
        if given == Limits::default() {
            return Err(Refusal::argument("give at least one limit".to_owned()));
        }
        let limited = self.sessions().limit(&session, given).await?;
        Ok(Json(ResourceLimits::of(session.plan().id.to_string(), &limited)))
    }
}

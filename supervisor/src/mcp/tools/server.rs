//! The server itself.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};
use simward_protocol::handshake::Hello;

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::pool::guard::Enforcement;
use crate::scenes::SCENES;
use crate::store::CacheUse;
use crate::worker::Worker;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoArgs {}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ServerInfo {
    /// The server's version.
    version: String,
    /// The physics engine and its version; absent until the first worker has told.
    engine: Option<String>,
    /// The version of the protocol between supervisor and worker.
    worker_protocol: u32,
    /// The isolation layers in force in your sessions' workers; empty until there is one.
    isolation_layers: Vec<String>,
    /// Your sessions.
    sessions: u64,
    /// Sessions that you may have.
    sessions_max: u64,
    /// Models that a session may hold.
    models_per_session_max: u32,
    /// Steps that one call may take.
    steps_per_call_max: u64,
    /// Seconds that one call may step.
    call_budget_secs: f64,
    /// Seconds that a model may take to compile.
    compile_timeout_secs: f64,
    /// Seconds after which an unused session is closed, unless create_session said otherwise.
    idle_timeout_secs: f64,
    /// First and last port of sessions.
    ports_range: String,
    /// The built-in scenes.
    scenes: Vec<String>,
    /// Whether load_model takes a `model_path`.
    has_model_roots: bool,
    /// Whether there is a MuJoCo Menagerie.
    has_menagerie: bool,
    /// Your compiled models, which need not be compiled again.
    model_cache: CacheUse,
    /// Whether sessions outlive the server: then they are there again after its restart.
    is_durable: bool,
    /// By what limits on processes are enforced: a control group (`cgroup_v1`, `cgroup_v2`), or a
    /// watchdog where there is none.
    limits_enforced_by: Enforcement,
    /// Seconds since the server's start.
    uptime_secs: f64,
}

#[tool_router(router = server_tools, vis = "pub(super)")]
impl McpServer {
    /// Versions, limits and isolation of this server, and how many sessions you have.
    #[tool(
        title = "Server information",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_server_info(
        &self,
        caller: Caller,
        Parameters(NoArgs {}): Parameters<NoArgs>,
    ) -> Result<Json<ServerInfo>, Refusal> {
        let sessions = self.sessions();
        let own = sessions.list(&caller.tenant);
        let mut workers = own.iter().filter_map(|session| session.status().worker.clone());
        let told =
            |worker: &Worker| (worker.facts().hello.clone(), worker.held().enforcement.clone());
        let (hello, enforcement) = workers.next().map(|(worker, _)| told(&worker)).unzip();
        let config = sessions.config();
        let files = self.models().sources().config();
        let of = caller.tenant.clone();
        let model_cache = sessions.store().run(move |store| Ok(store.models().usage(&of)));
        let model_cache = model_cache.await?;
        Ok(Json(ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: hello.as_ref().map(|hello: &Hello| hello.engine.clone()),
            worker_protocol: simward_protocol::handshake::VERSION,
            isolation_layers: hello.map(|hello| hello.layers).unwrap_or_default(),
            sessions: own.len() as u64,
            sessions_max: config.per_tenant_max as u64,
            models_per_session_max: config.models_max,
            steps_per_call_max: simward_protocol::simulation::Step::STEPS_MAX,
            call_budget_secs: config.call_budget_secs,
            compile_timeout_secs: sessions.compiler().config().timeout_secs,
            idle_timeout_secs: config.idle_timeout_secs,
            ports_range: sessions.pool().ports().range().to_string(),
            scenes: SCENES.iter().map(|scene| scene.name.to_owned()).collect(),
            has_model_roots: !files.roots.is_empty(),
            has_menagerie: !files.menagerie_dir.as_os_str().is_empty(),
            model_cache,
            is_durable: sessions.store().is_durable(),
            limits_enforced_by: enforcement.unwrap_or_default(),
            uptime_secs: self.inner.started.elapsed().as_secs_f64(),
        }))
    }
}

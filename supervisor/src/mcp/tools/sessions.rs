//! Sessions come, are looked at, and go.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};

use crate::alerts::report::AlertReport;
use crate::limits::Limits;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::pool::guard::Enforcement;
use crate::session::lifecycle::Closed;
use crate::session::{Isolation, Session};
use crate::sessions::Request;
use crate::spans::phases;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateArgs {
    /// What you want to call the session, up to 100 characters.
    #[serde(default)]
    name: Option<String>,
    /// `process`: a simulator process of its own (the default). `shared`: one process together
    /// with your other shared sessions; saves memory, but they share its speed and its end.
    #[serde(default)]
    isolation: Isolation,
    /// Seconds without a call after which the session is closed. Between 1 and the server's limit.
    #[serde(default)]
    idle_timeout_secs: Option<f64>,
    /// What the session may use, such as {"memory_bytes": 1000000000, "step_rate": 5000}; what is
    /// left out is as the server has it.
    #[serde(default)]
    limits: Limits,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArgs {}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct InfoArgs {
    /// The session, as create_session returned it; without it your default session.
    #[serde(default)]
    session_id: Option<String>,
    /// Opens the session's port if it has none yet.
    #[serde(default)]
    open_port: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct CloseArgs {
    /// The session, as create_session returned it.
    session_id: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForkArgs {
    /// The session to copy; without it your default session.
    #[serde(default)]
    session_id: Option<String>,
    /// How many copies.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    count: usize,
    /// What to call the copies; without it as the original.
    #[serde(default)]
    name: Option<String>,
}

fn one() -> usize {
    1
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct OwnArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
}

/// A session, for its owner.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(in crate::mcp) struct SessionInfo {
    /// The session's handle: pass it to the other tools.
    session_id: String,
    /// What you call it.
    name: Option<String>,
    /// `starting`, `ready`, `restarting`, `hibernating`, `hibernated`, `parked`, `closing` or `closed`.
    state: String,
    /// Whether its simulator process is its own.
    isolation: Isolation,
    /// The simulator's process id.
    pid: Option<u32>,
    /// The session's own port.
    port: Option<u16>,
    /// The port's address: `/healthz`, and with the token `/state` and `/metrics`.
    endpoint: Option<String>,
    /// What the port asks for: `Authorization: Bearer …`, or `?token=…`.
    endpoint_token: Option<String>,
    /// The isolation layers in force in its process.
    layers: Vec<String>,
    /// What it may use.
    limits: Limits,
    /// By what each limit of its process is enforced: a control group (`cgroup_v1`, `cgroup_v2`),
    /// the `worker` itself, or the server's `watchdog`. Empty while it has no process.
    limits_enforced_by: Enforcement,
    /// Models that it may hold.
    models_max: u32,
    /// Seconds without a call after which it is closed.
    idle_timeout_secs: f64,
    /// Seconds after which it is closed in any case.
    max_age_secs: f64,
    /// Seconds since its creation.
    age_secs: f64,
    /// Seconds since its last call.
    idle_secs: f64,
    /// How often its simulator process was replaced.
    restarts: u64,
    /// How the last lost simulator process ended.
    last_ending: Option<String>,
    /// What is going to be done to it by a rule, and when; told by get_session_info.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<AlertReport>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct SessionList {
    /// Your sessions, by handle.
    sessions: Vec<SessionInfo>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ClosedSession {
    /// The session that was closed.
    session_id: String,
    /// `closed`.
    state: String,
}

#[tool_router(router = session_tools, vis = "pub(super)")]
impl McpServer {
    /// Start a simulator and return its session_id. Its process has a port of its own. What was
    /// acknowledged in it is never lost, not even when its process dies or the server is restarted.
    /// The session is closed, and everything in it freed, when nobody calls it for
    /// idle_timeout_secs (30 minutes unless you say otherwise); close it with close_session when
    /// you are done.
    #[tool(
        title = "Create a session",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn create_session(
        &self,
        caller: Caller,
        Parameters(args): Parameters<CreateArgs>,
    ) -> Result<Json<SessionInfo>, Refusal> {
        let CreateArgs { name, isolation, idle_timeout_secs, limits } = args;
        let request = Request { name, isolation, idle_timeout_secs, limits, is_default: false };
        let create = self.sessions().create(&caller.tenant, request);
        let session = {
            let _waiting = phases::waiting();
            caller.unless_withdrawn(create).await?
        };
        phases::of_session(&session.plan().id);
        session.address();
        Ok(Json(describe(&session)))
    }

    /// List your sessions.
    #[tool(
        title = "List sessions",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn list_sessions(
        &self,
        caller: Caller,
        Parameters(ListArgs {}): Parameters<ListArgs>,
    ) -> Result<Json<SessionList>, Refusal> {
        let sessions = self.sessions().list(&caller.tenant);
        Ok(Json(SessionList { sessions: sessions.iter().map(describe).collect() }))
    }

    /// State, process, port and limits of one of your sessions.
    #[tool(
        title = "Session information",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_session_info(
        &self,
        caller: Caller,
        Parameters(args): Parameters<InfoArgs>,
    ) -> Result<Json<SessionInfo>, Refusal> {
        let session = self.session(&caller, args.session_id.as_deref()).await?;
        if args.open_port {
            session.open_port(self.sessions().pool().ports()).await?;
        }
        let notices = self.alerts().notices(&session.plan().id);
        Ok(Json(SessionInfo { notices, ..describe(&session) }))
    }

    /// Copy a session with its models in their exact state, to try several things from the same
    /// point and compare. The copies are sessions of their own, each with a process of its own.
    #[tool(
        title = "Fork a session",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn fork_session(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ForkArgs>,
    ) -> Result<Json<SessionList>, Refusal> {
        let source = self.session(&caller, args.session_id.as_deref()).await?;
        let fork = self.sessions().fork(&source, args.count, args.name);
        let copies = caller.unless_withdrawn(fork).await?;
        copies.iter().for_each(Session::address);
        Ok(Json(SessionList { sessions: copies.iter().map(describe).collect() }))
    }

    /// Free a session's process and memory now and keep its state; the next call brings it back
    /// exactly as it was. Sessions that nobody uses for a while hibernate by themselves.
    #[tool(
        title = "Hibernate a session",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn hibernate_session(
        &self,
        caller: Caller,
        Parameters(args): Parameters<OwnArgs>,
    ) -> Result<Json<SessionInfo>, Refusal> {
        let session = self.session(&caller, args.session_id.as_deref()).await?;
        session.hibernate().await?;
        Ok(Json(describe(&session)))
    }

    /// Give a parked session another process, in the state that was last acknowledged. Simulations
    /// that ran in the background are paused.
    #[tool(
        title = "Revive a session",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn revive_session(
        &self,
        caller: Caller,
        Parameters(args): Parameters<OwnArgs>,
    ) -> Result<Json<SessionInfo>, Refusal> {
        let session = self.session(&caller, args.session_id.as_deref()).await?;
        session.revive().await?;
        Ok(Json(describe(&session)))
    }

    /// Close a session: its simulator process ends, and its models are freed.
    #[tool(
        title = "Close a session",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn close_session(
        &self,
        caller: Caller,
        Parameters(args): Parameters<CloseArgs>,
    ) -> Result<Json<ClosedSession>, Refusal> {
        let session = self.sessions().get(&caller.tenant, &args.session_id)?;
        session.close(Closed::ByOwner).await;
        Ok(Json(ClosedSession { session_id: args.session_id, state: "closed".to_owned() }))
    }
}

pub(in crate::mcp) fn describe(session: &Session) -> SessionInfo {
    let plan = session.plan();
    let idle_secs = session.idle().as_secs_f64();
    let port = session.port();
    let status = session.status();
    let facts = status.worker.as_ref().map(|(worker, _)| worker.facts());
    let held = status.worker.as_ref().map(|(worker, _)| worker.held());
    SessionInfo {
        session_id: plan.id.to_string(),
        name: plan.name.clone(),
        state: status.state.name().to_owned(),
        isolation: plan.isolation,
        pid: facts.map(|facts| facts.pid.unsigned_abs()),
        port: port.as_ref().map(|lease| lease.port),
        endpoint: port.as_ref().map(|lease| lease.url()),
        endpoint_token: port.map(|_| plan.token.to_string()),
        layers: facts.map(|facts| facts.hello.layers.clone()).unwrap_or_default(),
        limits: plan.limits(),
        limits_enforced_by: held.map(|held| held.enforcement.clone()).unwrap_or_default(),
        models_max: plan.models_max(),
        idle_timeout_secs: plan.idle_timeout.as_secs_f64(),
        max_age_secs: plan.max_age.as_secs_f64(),
        age_secs: session.age().as_secs_f64(),
        idle_secs,
        restarts: status.restarts,
        last_ending: status.last_ending.as_ref().map(ToString::to_string),
        notices: Vec::new(),
    }
}

//! What is measured, for whoever it is of, and for operators.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};

use crate::auth::Scope;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::session::Session;
use crate::telemetry::levels::Level;
use crate::telemetry::metric;
use crate::telemetry::query::{self, Aggregate, Frame, Query, Sight};
use crate::telemetry::reports::memory::Memory;
use crate::telemetry::reports::overview::Overview;
use crate::telemetry::reports::simulations::Simulations;
use crate::telemetry::reports::tools::{self, Tool};
use crate::telemetry::series::Subject;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct OverviewArgs {
    /// Seconds to look back.
    #[serde(default = "minute")]
    #[schemars(range(min = 1, max = 3600))]
    window_secs: i64,
    /// Of everybody.
    #[serde(default)]
    all_tenants: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SimulationsArgs {
    /// Only this session.
    #[serde(default)]
    session_id: Option<String>,
    /// Seconds to look back.
    #[serde(default = "minute")]
    #[schemars(range(min = 1, max = 3600))]
    window_secs: i64,
    /// Of everybody.
    #[serde(default)]
    all_tenants: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct MemoryArgs {
    /// Only this session.
    #[serde(default)]
    session_id: Option<String>,
    /// Of everybody.
    #[serde(default)]
    all_tenants: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ToolsArgs {
    /// Only this tool.
    #[serde(default)]
    tool: Option<String>,
    /// Of everybody.
    #[serde(default)]
    all_tenants: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct HistoryArgs {
    /// Names, such as `steps_per_sec` or `step_secs`; a wrong one is answered with those that there are.
    metrics: Vec<String>,
    /// Of what.
    #[serde(default = "tenant")]
    scope: metric::Scope,
    /// The session, model or tool; else all of them.
    #[serde(default)]
    name: Option<String>,
    /// How long, up to a year.
    #[serde(default = "hour")]
    duration_secs: i64,
    /// Until how long ago.
    #[serde(default)]
    until_ago_secs: i64,
    /// The time of a value; else chosen.
    #[serde(default)]
    step_secs: Option<i64>,
    /// What a value is of its time.
    #[serde(default)]
    aggregate: Aggregate,
    /// The most values of a column.
    #[serde(default = "points")]
    #[schemars(range(min = 1, max = 2000))]
    max_items: usize,
    /// Of everybody.
    #[serde(default)]
    all_tenants: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct LevelArgs {
    /// `off`: you see none. `detailed`: every step is timed.
    level: Level,
    /// Only this session.
    #[serde(default)]
    session_id: Option<String>,
    /// Of everybody.
    #[serde(default)]
    all_tenants: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClearArgs {
    /// Only this session.
    #[serde(default)]
    session_id: Option<String>,
    /// Of everybody.
    #[serde(default)]
    all_tenants: bool,
}

fn minute() -> i64 {
    60
}

fn hour() -> i64 {
    3600
}

fn tenant() -> metric::Scope {
    metric::Scope::Tenant
}

fn points() -> usize {
    120
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct AllSimulations {
    /// Over how many seconds rates and times are taken.
    window_secs: i64,
    /// One entry per session, those that step most first.
    sessions: Vec<Simulations>,
    /// Sessions that were left out.
    sessions_cut: usize,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct AllMemory {
    /// One entry per session, those that take most first.
    sessions: Vec<Memory>,
    /// Sessions that were left out.
    sessions_cut: usize,
    /// What all their models and data take, arenas as far as they were used.
    models_bytes: u64,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct AllTools {
    /// One entry per tool that was called.
    tools: Vec<Tool>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Tracking {
    /// How closely is looked from now on.
    level: Level,
    /// At whom: a session, `tenant` or `fleet`.
    of: String,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Cleared {
    /// Sessions, tenants, models and tools of which everything was forgotten.
    subjects: u64,
}

/// Sessions that are told of at a time.
const SESSIONS_MAX: usize = 50;

/// Sessions whose memory is looked at closely.
const CLOSE_LOOKS_MAX: usize = 20;

/// The longest time to look back for what is in memory alone.
const WINDOW_SECS_MAX: i64 = 3600;

#[tool_router(router = monitoring_tools, vis = "pub(super)")]
impl McpServer {
    /// Your simulators at a glance, or everybody's: processor, memory, steps, calls, sessions.
    #[tool(
        title = "Performance",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_performance_metrics(
        &self,
        caller: Caller,
        Parameters(args): Parameters<OverviewArgs>,
    ) -> Result<Json<Overview>, Refusal> {
        let window_secs = window(args.window_secs)?;
        let tenant = Self::whose(&caller, args.all_tenants)?;
        let monitor = self.monitor().clone();
        let look = move || Overview::of(&monitor, tenant.as_ref(), window_secs);
        Ok(Json(apart(look).await?))
    }

    /// How fast your simulations go: steps, step times with percentiles, real-time factor, contacts,
    /// solver, warnings; by session and model.
    #[tool(
        title = "Simulation performance",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_simulation_metrics(
        &self,
        caller: Caller,
        Parameters(args): Parameters<SimulationsArgs>,
    ) -> Result<Json<AllSimulations>, Refusal> {
        let window_secs = window(args.window_secs)?;
        let meant =
            self.measured_sessions(&caller, args.session_id.as_deref(), args.all_tenants)?;
        let sight = Self::whose(&caller, args.all_tenants)?.map_or(Sight::All, Sight::Of);
        let monitor = self.monitor().clone();
        let look = move || {
            let of = |session| Simulations::of(session, monitor.measured(), window_secs, &sight);
            let mut sessions: Vec<Simulations> = meant.iter().map(of).collect();
            sessions.sort_by(|a, b| b.steps.total_cmp(&a.steps));
            let sessions_cut = sessions.len().saturating_sub(SESSIONS_MAX);
            sessions.truncate(SESSIONS_MAX);
            AllSimulations { window_secs, sessions, sessions_cut }
        };
        Ok(Json(apart(look).await?))
    }

    /// Calls of each tool: count, errors, bytes, times with percentiles.
    #[tool(
        title = "Tool performance",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_tool_metrics(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ToolsArgs>,
    ) -> Result<Json<AllTools>, Refusal> {
        let tenant = Self::whose(&caller, args.all_tenants)?;
        if let Some(name) = &args.tool
            && !self.inner.router.has_route(name)
        {
            let name: String = name.chars().take(80).collect();
            return Err(Refusal::argument(format!("there is no tool `{name}`")));
        }
        let mut all = tools::all(self.monitor(), tenant.as_ref());
        all.retain(|tool| args.tool.as_ref().is_none_or(|name| *name == tool.tool));
        Ok(Json(AllTools { tools: all }))
    }

    /// What takes memory, exactly: each process, model, data, arena.
    #[tool(
        title = "Memory",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_memory_usage(
        &self,
        caller: Caller,
        Parameters(args): Parameters<MemoryArgs>,
    ) -> Result<Json<AllMemory>, Refusal> {
        let meant =
            self.measured_sessions(&caller, args.session_id.as_deref(), args.all_tenants)?;
        let look = move || {
            let closely = meant.len() <= CLOSE_LOOKS_MAX;
            let of = |session| Memory::of(session, closely);
            let mut sessions: Vec<Memory> = meant.iter().map(of).collect();
            let models = sessions.iter().flat_map(|session| &session.models);
            // These are a worker's own words.
            let models_bytes = models.fold(0_u64, |sum, of| {
                let parts = [of.model_bytes, of.data_bytes, of.arena_used_max_bytes];
                parts.into_iter().fold(sum, u64::saturating_add)
            });
            sessions.sort_by_key(|session| std::cmp::Reverse(session.resident_bytes));
            let sessions_cut = sessions.len().saturating_sub(SESSIONS_MAX);
            sessions.truncate(SESSIONS_MAX);
            AllMemory { sessions, sessions_cut, models_bytes }
        };
        Ok(Json(apart(look).await?))
    }

    /// Measurements over time: seconds for an hour, minutes for a week, hours for a year.
    #[tool(
        title = "Performance history",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_performance_history(
        &self,
        caller: Caller,
        Parameters(args): Parameters<HistoryArgs>,
    ) -> Result<Json<Frame>, Refusal> {
        // These are of nobody, and so of everybody.
        let is_shared = matches!(args.scope, metric::Scope::Fleet | metric::Scope::Tool);
        let tenant = Self::whose(&caller, args.all_tenants || is_shared)?;
        let sight = tenant.map_or(Sight::All, Sight::Of);
        let monitor = self.monitor().clone();
        let query = args.query(monitor.measured().table().now_secs())?;
        let _turn = self.monitor().turn().await.ok_or_else(busy)?;
        let frame = apart(move || monitor.measured().query(&query, &sight)).await??;
        Ok(Json(frame))
    }

    /// How closely is looked at your simulations. `basic` is the default.
    #[tool(
        title = "Performance tracking",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn enable_performance_tracking(
        &self,
        caller: Caller,
        Parameters(args): Parameters<LevelArgs>,
    ) -> Result<Json<Tracking>, Refusal> {
        let level = args.level;
        let (of, is_set) = match (&args.session_id, args.all_tenants) {
            (Some(id), _) => {
                let session = self.session(&caller, Some(id)).await?;
                let id = session.plan().id.to_string();
                let tenant = &session.plan().tenant;
                let is_set = self.monitor().levels().set_session(tenant, &id, level);
                (id, is_set)
            }
            (None, true) => {
                administers(&caller)?;
                self.monitor().levels().set_fleet(level);
                ("fleet".to_owned(), true)
            }
            (None, false) => {
                let is_set = self.monitor().levels().set_tenant(&caller.tenant, level);
                ("tenant".to_owned(), is_set)
            }
        };
        if !is_set {
            let message = "of too many something else than the default is said already";
            return Err(Refusal::argument(message.to_owned()));
        }
        Ok(Json(Tracking { level, of }))
    }

    /// Forget what was measured so far. Counters of /metrics go on.
    #[tool(
        title = "Clear performance data",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn clear_performance_data(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ClearArgs>,
    ) -> Result<Json<Cleared>, Refusal> {
        let monitor = self.monitor().clone();
        let _turn = self.monitor().turn().await.ok_or_else(busy)?;
        if let Some(id) = &args.session_id {
            let plan = self.session(&caller, Some(id)).await?.plan().clone();
            let meant = Subject::Session(plan.tenant, plan.id);
            let clear = move || monitor.forget(move |subject| *subject == meant, |_| false);
            return Ok(Json(Cleared { subjects: apart(clear).await?? }));
        }
        if args.all_tenants {
            administers(&caller)?;
            let clear = move || monitor.forget(|_| true, |_| true);
            return Ok(Json(Cleared { subjects: apart(clear).await?? }));
        }
        let tenant = caller.tenant;
        let clear = move || {
            let owner = tenant.clone();
            monitor.forget(move |subject| subject.owner() == Some(&owner), |(of, _)| *of == tenant)
        };
        Ok(Json(Cleared { subjects: apart(clear).await?? }))
    }
}

impl McpServer {
    /// Whose measurements are meant: one tenant's, or (nothing) everybody's, who may see them.
    fn whose(caller: &Caller, all: bool) -> Result<Option<crate::tenants::Tenant>, Refusal> {
        if !all {
            return Ok(Some(caller.tenant.clone()));
        }
        if caller.principal.may(Scope::ReadMetrics) {
            return Ok(None);
        }
        Err(Refusal::lacking(Scope::ReadMetrics))
    }

    /// The sessions that are meant.
    fn measured_sessions(
        &self,
        caller: &Caller,
        session_id: Option<&str>,
        all: bool,
    ) -> Result<Vec<Session>, Refusal> {
        let tenant = Self::whose(caller, all)?;
        let mut sessions = match tenant {
            Some(tenant) => self.sessions().list(&tenant),
            None => self.sessions().all(),
        };
        let Some(id) = session_id else { return Ok(sessions) };
        sessions.retain(|session| *session.plan().id == *id && !session.is_closed());
        if sessions.is_empty() {
            // Says what there is to say of a session that is not there.
            self.sessions().get(&caller.tenant, id)?;
        }
        Ok(sessions)
    }
}

impl HistoryArgs {
    /// The question, if anything was measured at that moment last, whatever the clock says.
    fn query(self, measured_secs: Option<i64>) -> Result<Query, Refusal> {
        let now = measured_secs.unwrap_or_else(|| jiff::Timestamp::now().as_second());
        if self.until_ago_secs < 0 || !(1..=2000).contains(&self.max_items) {
            let message = "`until_ago_secs` must not be negative, and `max_items` must lie between 1 \
                           and 2000";
            return Err(Refusal::argument(message.to_owned()));
        }
        let to_secs = now.saturating_add(1).saturating_sub(self.until_ago_secs);
        Ok(Query {
            metrics: self.metrics,
            scope: self.scope,
            name: self.name,
            from_secs: to_secs.saturating_sub(self.duration_secs),
            to_secs,
            step_secs: self.step_secs,
            aggregate: self.aggregate,
            points_max: self.max_items,
            columns_max: COLUMNS_MAX,
        })
    }
}

/// Columns that are told of at a time.
const COLUMNS_MAX: usize = 32;

fn window(secs: i64) -> Result<i64, Refusal> {
    if (1..=WINDOW_SECS_MAX).contains(&secs) {
        return Ok(secs);
    }
    let message = format!("`window_secs` must lie between 1 and {WINDOW_SECS_MAX}, and is {secs}");
    Err(Refusal::argument(message))
}

/// Too many ask for what is not at hand.
fn busy() -> Refusal {
    query::Error::Busy.into()
}

fn administers(caller: &Caller) -> Result<(), Refusal> {
    if caller.principal.may(Scope::AdministerPool) {
        return Ok(());
    }
    Err(Refusal::lacking(Scope::AdministerPool))
}

/// Does what waits for files, out of the way of others.
async fn apart<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(look).await.map_err(|_panic| Refusal::internal())
}

//! What is to be told when something is wrong, and what is wrong.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};

use crate::alerts::report::{Filter, RuleReport, Seen};
use crate::alerts::rule::{Action, Owner, Severity, Spec};
use crate::alerts::{Cleanup, LISTED_MAX, Listing};
use crate::auth::Scope;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::mcp::resources::seen_by;
use crate::sessions;

/// The most rules that one call sets or removes.
const RULES_MAX: usize = 20;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ThresholdsArgs {
    /// Rules to add or change.
    #[serde(default)]
    set: Vec<Spec>,
    /// Names.
    #[serde(default)]
    remove: Vec<String>,
    /// Of everybody.
    #[serde(default)]
    all_tenants: bool,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Thresholds {
    /// The rules that were set.
    rules: Vec<RuleReport>,
    /// The rules that were removed.
    removed: Vec<String>,
    /// What you should know of them.
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct AlertsArgs {
    /// Only of this rule.
    #[serde(default)]
    rule: Option<String>,
    /// Only about this session.
    #[serde(default)]
    session_id: Option<String>,
    /// At least that bad.
    #[serde(default)]
    severity: Option<Severity>,
    /// Entries of each kind.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    max: usize,
}

fn fifty() -> usize {
    50
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct CleanupArgs {
    /// False ends it.
    #[serde(default = "yes")]
    enabled: bool,
    /// Seconds without use.
    #[serde(default)]
    idle_secs: Option<f64>,
    /// Seconds since creation.
    #[serde(default)]
    age_secs: Option<f64>,
    /// By default `hibernate`. `drain` closes once nobody uses it.
    #[serde(default = "hibernate")]
    action: Action,
    /// Seconds from the notice to the action.
    #[serde(default = "minute")]
    grace_secs: f64,
    /// Of everybody.
    #[serde(default)]
    all_tenants: bool,
}

fn yes() -> bool {
    true
}

fn hibernate() -> Action {
    Action::Hibernate
}

fn minute() -> f64 {
    60.0
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct CleanupRules {
    /// The rules that do it; empty if nothing is done any more.
    rules: Vec<RuleReport>,
}

#[tool_router(router = alert_tools, vis = "pub(super)")]
impl McpServer {
    /// Rules that tell when a value passes a threshold, such as {"metric": "cpu", "value": 0.8}, in
    /// get_performance_alerts and performance://alerts.
    #[tool(
        title = "Set performance thresholds",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn set_performance_thresholds(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ThresholdsArgs>,
    ) -> Result<Json<Thresholds>, Refusal> {
        let ThresholdsArgs { set, remove, all_tenants } = args;
        let owner = owner(&caller, all_tenants)?;
        if !(1..=RULES_MAX).contains(&(set.len() + remove.len())) {
            let message = format!("`set` and `remove` must have 1 to {RULES_MAX} rules together");
            return Err(Refusal::argument(message));
        }
        let reports = self.alerts().change_all(owner, set, remove.clone()).await?;
        let (rules, warnings): (Vec<_>, Vec<_>) = reports.into_iter().unzip();
        let warnings = warnings.into_iter().flatten().collect();
        Ok(Json(Thresholds { rules, removed: remove, warnings }))
    }

    /// What is wrong now with your sessions, what was, and the rules.
    #[tool(
        title = "Performance alerts",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_performance_alerts(
        &self,
        caller: Caller,
        Parameters(args): Parameters<AlertsArgs>,
    ) -> Result<Json<Listing>, Refusal> {
        let AlertsArgs { rule, session_id, severity, max } = args;
        if !(1..=LISTED_MAX).contains(&max) {
            let message = format!("`max` must lie between 1 and {LISTED_MAX}, and is {max}");
            return Err(Refusal::argument(message));
        }
        let seen = seen_by(&caller.principal);
        let filter = Filter { rule, session_id: session_id.clone(), severity: None, max };
        let listing = self.alerts().list(&seen, &Filter { severity, ..filter.clone() });
        // What is told of a session that is gone is told; of one that never was, nothing is.
        if let Some(id) = session_id
            && !self.alerts().list(&seen, &Filter { rule: None, ..filter }).is_of_anything()
            && !self.sees_session(&caller, &id)
        {
            return Err(sessions::Error::Unknown(id.chars().take(80).collect()).into());
        }
        Ok(Json(listing))
    }

    /// Hibernate, drain or close sessions that nobody uses or that are old, or only warn. A notice
    /// comes first: in get_session_info and performance://alerts.
    #[tool(
        title = "Enable automatic cleanup",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn enable_auto_cleanup(
        &self,
        caller: Caller,
        Parameters(args): Parameters<CleanupArgs>,
    ) -> Result<Json<CleanupRules>, Refusal> {
        let CleanupArgs { enabled, idle_secs, age_secs, action, grace_secs, all_tenants } = args;
        let owner = owner(&caller, all_tenants)?;
        if enabled && idle_secs.is_none() && age_secs.is_none() {
            let message = "`idle_secs` or `age_secs` must be given".to_owned();
            return Err(Refusal::argument(message));
        }
        for (name, secs) in [("idle_secs", idle_secs), ("age_secs", age_secs)] {
            if let Some(secs) = secs.filter(|secs| secs.is_nan() || *secs <= 0.0) {
                let message = format!("`{name}` must be greater than 0, and is {secs}");
                return Err(Refusal::argument(message));
            }
        }
        let cleanup = Cleanup { idle_secs, age_secs, action, grace_secs };
        let rules = self.alerts().clean_up(&owner, enabled.then_some(cleanup)).await?;
        Ok(Json(CleanupRules { rules }))
    }
}

impl McpServer {
    /// Whether there is a session of that handle, for the caller. Looking is no use of it.
    fn sees_session(&self, caller: &Caller, id: &str) -> bool {
        let sessions = match seen_by(&caller.principal) {
            Seen::All => self.sessions().all(),
            Seen::Of(_) => self.sessions().list(&caller.tenant),
        };
        sessions.iter().any(|session| *session.plan().id == *id)
    }
}

fn owner(caller: &Caller, all_tenants: bool) -> Result<Owner, Refusal> {
    if !all_tenants {
        return Ok(Owner::Tenant(caller.tenant.to_string()));
    }
    if caller.principal.may(Scope::AdministerPool) {
        return Ok(Owner::Fleet);
    }
    Err(Refusal::lacking(Scope::AdministerPool))
}

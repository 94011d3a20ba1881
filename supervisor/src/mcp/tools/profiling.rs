//! Where the time and the memory go.

use std::time::Duration;

use rmcp::handler::server::tool::schema_for_output;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::{CallToolResult, ContentBlock, Resource};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};

use super::recordings::with_content;
use crate::auth::Scope;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::mcp::resources::profile as resource_of;
use crate::profiles::{Ask, DURATION_SECS, FREQUENCY_HZ, Kind, Look, Report, Target, View};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct StartArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// `supervisor` profiles the server itself.
    #[serde(default)]
    target: TargetArg,
    /// cpu: functions. phases: parts of a step. memory: sizes, and growth.
    #[serde(default)]
    kind: Kind,
    /// How long.
    #[serde(default = "duration_secs")]
    #[schemars(range(min = 1, max = 300))]
    duration_secs: f64,
    /// Samples per second; cpu only.
    #[serde(default = "frequency_hz")]
    #[schemars(range(min = 1, max = 999))]
    frequency_hz: u64,
}

/// Whose profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum TargetArg {
    #[default]
    Session,
    Supervisor,
}

fn duration_secs() -> f64 {
    10.0
}

/// Not a round number, so as not to march in step with what is profiled.
fn frequency_hz() -> u64 {
    99
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResultsArgs {
    /// The profile.
    profile_id: String,
    /// Of functions: top and tree are told; others are files.
    #[serde(default)]
    view: View,
    /// Functions or nodes.
    #[serde(default = "max_items")]
    #[schemars(range(min = 1, max = 500))]
    max_items: usize,
    /// Least share in the tree.
    #[serde(default = "hot_path_ratio")]
    #[schemars(range(min = 0, max = 1))]
    hot_path_ratio: f64,
}

fn max_items() -> usize {
    20
}

fn hot_path_ratio() -> f64 {
    0.05
}

/// A profile that has begun.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Begun {
    /// Its handle.
    profile_id: String,
    /// What it is of.
    kind: Kind,
    /// The session; null if it is of the server itself.
    session_id: Option<String>,
    /// How long it takes, in seconds.
    duration_secs: f64,
}

#[tool_router(router = profiling_tools, vis = "pub(super)")]
impl McpServer {
    /// Profile a session in the background. get_profile_results tells more.
    #[tool(
        title = "Start profiling",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn start_profiling(
        &self,
        caller: Caller,
        Parameters(args): Parameters<StartArgs>,
    ) -> Result<Json<Begun>, Refusal> {
        let StartArgs { session_id, target, kind, duration_secs, frequency_hz } = args;
        let (least, most) = DURATION_SECS;
        if !(least..=most).contains(&duration_secs) {
            let message = format!("`duration_secs` must lie between {least} and {most}");
            return Err(Refusal::argument(message));
        }
        let (least, most) = FREQUENCY_HZ;
        if !(least..=most).contains(&frequency_hz) {
            let message = format!("`frequency_hz` must lie between {least} and {most}");
            return Err(Refusal::argument(message));
        }
        let target = self.target(&caller, target, session_id.as_deref()).await?;
        if matches!((kind, &target), (Kind::Phases, Target::Supervisor)) {
            return Err(crate::profiles::Error::NoSteps.into());
        }
        let duration = Duration::from_secs_f64(duration_secs);
        let ask = Ask { kind, duration, frequency_hz };
        let start = self.profiles().start(&caller.tenant, target, ask);
        let job = caller.unless_withdrawn(start).await?;
        Ok(Json(Begun {
            profile_id: job.id().to_owned(),
            kind,
            session_id: job.session_id().map(str::to_owned),
            duration_secs,
        }))
    }

    /// How far a profile is, and what it found.
    #[tool(
        title = "Profile results",
        output_schema = schema_for_output::<Report>(),
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_profile_results(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ResultsArgs>,
    ) -> Result<CallToolResult, Refusal> {
        let ResultsArgs { profile_id, view, max_items, hot_path_ratio } = args;
        if !(1..=ITEMS_MAX).contains(&max_items) {
            let message = format!("`max_items` must lie between 1 and {ITEMS_MAX}");
            return Err(Refusal::argument(message));
        }
        if !(0.0..=1.0).contains(&hot_path_ratio) {
            let message = "`hot_path_ratio` must lie between 0 and 1".to_owned();
            return Err(Refusal::argument(message));
        }
        let job = self.profiles().get(&caller.tenant, &profile_id)?;
        let look = Look { view, items_max: max_items, hot_path_ratio };
        // Drawing takes its time.
        let looked = tokio::task::spawn_blocking(move || job.look(look)).await;
        let (report, text) = looked.map_err(|_panic| Refusal::internal())??;
        let told = report.cpu.as_ref().and_then(|cpu| Some((view.form()?, cpu.uri.clone()?)));
        let Some((form, uri)) = told else {
            let value = serde_json::to_value(&report).map_err(|_bad| Refusal::internal())?;
            return Ok(CallToolResult::structured(value));
        };
        let more = if let Some(bytes) = text {
            ContentBlock::resource(resource_of(form, bytes, &uri))
        } else {
            let name = format!("{profile_id}.{}", form.word());
            let link = Resource::new(uri, name).with_mime_type(form.media_type());
            ContentBlock::resource_link(link)
        };
        with_content(&report, more)
    }
}

/// The most functions or nodes of one answer.
const ITEMS_MAX: usize = 500;

impl McpServer {
    /// What is to be profiled. Operators may profile the server and everybody's sessions.
    async fn target(
        &self,
        caller: &Caller,
        target: TargetArg,
        session_id: Option<&str>,
    ) -> Result<Target, Refusal> {
        let is_operator = caller.principal.may(Scope::AdministerPool);
        if target == TargetArg::Supervisor {
            if session_id.is_some() {
                let message = "give `session_id`, or `target` `supervisor`".to_owned();
                return Err(Refusal::argument(message));
            }
            if !is_operator {
                return Err(Refusal::lacking(Scope::AdministerPool));
            }
            return Ok(Target::Supervisor);
        }
        if let Some(id) = session_id.filter(|_| is_operator) {
            let all = self.sessions().all();
            let found = all.into_iter().find(|it| *it.plan().id == *id && !it.is_closed());
            if let Some(session) = found {
                return Ok(Target::Session(session));
            }
        }
        Ok(Target::Session(self.session(caller, session_id).await?))
    }
}

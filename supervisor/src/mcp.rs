//! The MCP surface: what clients see, and nothing of how it is done.

mod caller;
mod completion;
mod confirm;
#[cfg(test)]
mod document;
mod handler;
mod instructions;
mod long;
mod prompts;
mod refusal;
mod resources;
mod subscriptions;
mod tasks;
mod trail;
mod tools;
mod toolsets;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, Implementation, ProtocolVersion,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use tokio_util::sync::CancellationToken;

use self::confirm::Questions;
use self::refusal::Refusal;
use self::subscriptions::Subscriptions;
pub use self::toolsets::{Config, Toolset};
use self::trail::Listeners;
pub use self::trail::Origin;
use crate::alerts::Alerts;
use crate::audit::Audit;
use crate::auth::{Principal, Scope};
use crate::metrics::Calls;
use crate::models::Models;
use crate::profiles::Profiles;
use crate::runs::Runs;
use crate::sessions::Sessions;
use crate::spans::Spans;
use crate::telemetry::{Monitor, Watch};
use crate::uploads::Uploads;

/// How long clients may keep lists, in milliseconds: they never change.
const LISTS_TTL_MILLIS: u64 = 3_600_000;

/// The MCP server. Clones are cheap: every connection, and every request of the newer protocol,
/// has one.
#[derive(Clone, Debug)]
pub struct McpServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // Built once: building it costs eight times as much as a call does.
    router: ToolRouter<McpServer>,
    toolsets: Vec<Toolset>,
    /// What the server says of itself.
    introduction: ServerConfig,
    sessions: Sessions,
    runs: Runs,
    profiles: Profiles,
    models: Models,
    uploads: Uploads,
    listeners: Listeners,
    monitor: Monitor,
    questions: Questions,
    watch: Watch,
    /// What tenants were last told that they use.
    usage_watch: Watch,
    alerts: Alerts,
    subscriptions: Subscriptions,
    started: Instant,
    /// The daemon stops.
    stop: CancellationToken,
}

/// What the server is in front of.
#[derive(Debug)]
pub struct Behind {
    /// The sessions.
    pub sessions: Sessions,
    /// Where their models come from.
    pub models: Models,
    /// Files that were sent ahead of models.
    pub uploads: Uploads,
    /// Long work that nobody waits for.
    pub runs: Runs,
    /// Where time and memory go.
    pub profiles: Profiles,
    /// What is measured of processes.
    pub watch: Watch,
    /// What is measured of everything, over time.
    pub monitor: Monitor,
    /// Rules about that, and what they have found.
    pub alerts: Alerts,
    /// Who did what.
    pub audit: Audit,
    /// Where the time of calls went.
    pub spans: Spans,
}

impl McpServer {
    /// A server in front of these sessions, until `stop`.
    pub fn new(config: &Config, behind: Behind, stop: CancellationToken) -> Self {
        let Behind {
            sessions,
            models,
            uploads,
            runs,
            profiles,
            watch,
            monitor,
            alerts,
            audit,
            spans,
        } = behind;
        let calls = monitor.calls().clone();
        let router = tools::of(&config.toolsets);
        let introduction = introduction(&router);
        let inner = Inner {
            router,
            toolsets: config.toolsets.clone(),
            introduction,
            sessions,
            models,
            uploads,
            listeners: Listeners { calls, audit, spans },
            monitor,
            questions: Questions::new(),
            runs,
            profiles,
            watch,
            usage_watch: Watch::default(),
            alerts,
            subscriptions: Subscriptions::default(),
            started: Instant::now(),
            stop,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether a toolset is on.
    fn has(&self, toolset: Toolset) -> bool {
        self.inner.toolsets.contains(&toolset)
    }

    fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    fn runs(&self) -> &Runs {
        &self.inner.runs
    }

    fn profiles(&self) -> &Profiles {
        &self.inner.profiles
    }

    fn alerts(&self) -> &Alerts {
        &self.inner.alerts
    }

    fn models(&self) -> &Models {
        &self.inner.models
    }

    /// Who did what.
    pub fn audit(&self) -> &Audit {
        &self.inner.listeners.audit
    }

    /// Where the time of calls went.
    pub fn spans(&self) -> &Spans {
        &self.inner.listeners.spans
    }

    /// What is counted of calls.
    pub fn calls(&self) -> &Calls {
        &self.inner.listeners.calls
    }

    /// What is measured of everything.
    pub fn monitor(&self) -> &Monitor {
        &self.inner.monitor
    }

    /// Files that were sent ahead.
    pub fn uploads(&self) -> &Uploads {
        &self.inner.uploads
    }
}

fn introduction(router: &ToolRouter<McpServer>) -> ServerConfig {
    let capabilities = ServerCapabilities::builder()
        .enable_tools()
        .enable_tasks()
        .enable_prompts()
        .enable_completions()
        .enable_resources()
        .enable_resources_subscribe()
        .build();
    ServerConfig::new(capabilities)
        .with_server_info(Implementation::new("simward", env!("CARGO_PKG_VERSION")))
        .with_instructions(instructions::text(|tool| router.has_route(tool)))
}

/// Nothing counted yet, of the tools that are on.
pub(crate) fn calls(config: &Config) -> Calls {
    let tools = tools::of(&config.toolsets).list_all();
    Calls::new(tools.iter().map(|tool| tool.name.as_ref()))
}

/// What a tool needs of its caller; nothing if there is no such tool.
pub(crate) fn scope_of_tool(name: &str) -> Option<Scope> {
    tools::scope_of(name)
}

/// What a resource needs of its reader.
pub(crate) fn scope_of_resource(uri: &str) -> Scope {
    resources::Address::parse(uri).map_or(Scope::Use, |address| address.scope())
}

/// Who may be shown what a list showed somebody: everybody, if everybody sees the same.
fn shared_by(principal: &Principal) -> CacheScope {
    if *principal == Principal::local() { CacheScope::Public } else { CacheScope::Private }
}

/// Whether the client of this request can be told of a task.
fn knows_tasks(context: &RequestContext<RoleServer>) -> bool {
    is_modern(context) && context.client_capabilities().is_some_and(|known| known.supports_tasks())
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

impl McpServer {
    /// Carries out a call of a tool, whatever becomes of it.
    async fn carry_out(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
        principal: &Principal,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = request.name.clone();
        // The gate has looked already; this is for whatever comes another way.
        if let Some(scope) = tools::scope_of(&tool).filter(|scope| !principal.may(*scope)) {
            return Ok(Refusal::lacking(scope).into_response());
        }
        if let Some(answer) = self.ask_first(&request, &context, principal) {
            return Ok(answer);
        }
        let call = self.inner.router.call(ToolCallContext::new(self, request, context));
        let mut response = unless_it_panics(&tool, call).await?;
        if let CallToolResponse::Complete(result) = &mut response {
            refusal::complete(result);
        }
        Ok(response)
    }
}

/// What a tool answers. A panic would leave the caller without an answer for ever.
async fn unless_it_panics(
    tool: &str,
    call: impl Future<Output = Result<CallToolResponse, ErrorData>>,
) -> Result<CallToolResponse, ErrorData> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_panic| {
        tracing::error!(tool, "a tool panicked");
        Ok(Refusal::internal().into_response())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_tool_is_titled_typed_and_annotated() {
        for tool in tools::of(&Toolset::ALL).list_all() {
            assert!(tool.output_schema.is_some(), "`{}` has no output schema", tool.name);
            let annotations = tool.annotations.unwrap_or_default();
            let title = tool.title.or(annotations.title);
            assert!(title.is_some(), "`{}` has no title", tool.name);
            assert!(annotations.read_only_hint.is_some(), "`{}` is not annotated", tool.name);
            assert_eq!(annotations.open_world_hint, Some(false), "`{}`", tool.name);
        }
    }

    #[test]
    fn every_tool_refuses_unknown_arguments_and_describes_its_own() {
        for tool in tools::of(&Toolset::ALL).list_all() {
            let schema = &tool.input_schema;
            assert_eq!(schema.get("additionalProperties"), Some(&json!(false)), "`{}`", tool.name);
            let properties = schema.get("properties").and_then(|value| value.as_object());
            for (name, property) in properties.into_iter().flatten() {
                let described = property.get("description").is_some();
                assert!(described, "`{}.{name}` has no description", tool.name);
            }
        }
    }

    #[tokio::test]
    async fn a_tool_that_panics_is_refused_and_nobody_waits_for_ever() {
        let broken = async { panic!("a defect") };
        let answered = unless_it_panics("broken", broken).await.unwrap();
        let CallToolResponse::Complete(result) = answered else { panic!("it is no result") };
        assert_eq!(result.is_error, Some(true));
        assert_eq!(result.structured_content.unwrap()["code"], "internal_error");
    }

    /// Everything that a model reads about us, in one file that reviewers see change.
    #[test]
    fn agent_surface() {
        let tools = tools::of(&Toolset::ALL);
        let surface = json!({
            "instructions": instructions::text(|tool| tools.has_route(tool)),
            "prompts": McpServer::prompts(),
            "tools": tools.list_all(),
        });
        insta::assert_json_snapshot!(surface);
    }
}

//! The MCP surface: what clients see, and nothing of how it is done.

mod caller;
mod completion;
mod confirm;
#[cfg(test)]
mod document;
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
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams,
    CompleteResult, DiscoverResult, GetPromptRequestParams, GetPromptResponse, GetTaskParams,
    GetTaskResult, Implementation, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
    SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::caller::Caller;
use self::confirm::Questions;
use self::refusal::Refusal;
use self::subscriptions::Subscriptions;
pub use self::toolsets::{Config, Toolset};
pub use self::trail::Origin;
use self::trail::Trail;
use crate::alerts::Alerts;
use crate::audit::Audit;
use crate::auth::{Principal, Scope};
use crate::metrics::Calls;
use crate::models::Models;
use crate::runs::Runs;
use crate::sessions::Sessions;
use crate::telemetry::Watch;
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
    models: Models,
    uploads: Uploads,
    audit: Audit,
    calls: Calls,
    questions: Questions,
    watch: Watch,
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
    /// What is measured of processes.
    pub watch: Watch,
    /// Rules about that, and what they have found.
    pub alerts: Alerts,
    /// Who did what.
    pub audit: Audit,
}

impl McpServer {
    /// A server in front of these sessions, until `stop`.
    pub fn new(config: &Config, behind: Behind, stop: CancellationToken) -> Self {
        let Behind { sessions, models, uploads, runs, watch, alerts, audit } = behind;
        let router = tools::of(&config.toolsets);
        let introduction = introduction(&router);
        let tools = router.list_all();
        let calls = Calls::new(tools.iter().map(|tool| tool.name.as_ref()));
        let inner = Inner {
            router,
            toolsets: config.toolsets.clone(),
            introduction,
            sessions,
            models,
            uploads,
            audit,
            calls,
            questions: Questions::new(),
            runs,
            watch,
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

    fn alerts(&self) -> &Alerts {
        &self.inner.alerts
    }

    fn models(&self) -> &Models {
        &self.inner.models
    }

    /// Who did what.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// What is counted of calls.
    pub fn calls(&self) -> &Calls {
        &self.inner.calls
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

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        self.inner.introduction.clone()
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.inner.router.get(name).cloned()
    }

    async fn discover(
        &self,
        _context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, self.get_info())
            .with_ttl_ms(LISTS_TTL_MILLIS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let principal = Caller::of(&context)?.principal;
        let mut tools = self.inner.router.list_all();
        tools.retain(|tool| tools::scope_of(&tool.name).is_none_or(|scope| principal.may(scope)));
        Ok(ListToolsResult { tools, ..Default::default() }
            .with_ttl_ms(LISTS_TTL_MILLIS)
            .with_cache_scope(shared_by(&principal)))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let modern = is_modern(&context);
        let knows_tasks = knows_tasks(&context);
        let Caller { tenant, principal, .. } = Caller::of(&context)?;
        let Inner { calls, audit, .. } = &*self.inner;
        let trail = Trail::begin(calls, audit, &principal, &request, &context);
        let answered = self.carry_out(request, context, &principal).await;
        trail.end(&answered);
        let mut response = answered?;
        if let CallToolResponse::Complete(result) = &mut response {
            if knows_tasks && let Some(task) = self.as_task(&tenant, result) {
                return Ok(task.into());
            }
            if modern {
                let info = json!({ "name": "simward", "version": env!("CARGO_PKG_VERSION") });
                let meta = result.meta.get_or_insert_default();
                meta.insert("io.modelcontextprotocol/serverInfo".into(), info);
            }
        }
        Ok(response)
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.task(&Caller::of(&context)?.tenant, &request.task_id)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.task_run(&Caller::of(&context)?.tenant, &request.task_id)?.cancel();
        Ok(())
    }

    /// No task of ours asks for anything, and answers that nothing asked for are passed over.
    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.task_run(&Caller::of(&context)?.tenant, &request.task_id).map(drop)
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult { prompts: Self::prompts(), ..Default::default() }
            .with_ttl_ms(LISTS_TTL_MILLIS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        Ok(self.prompt(&request)?.into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.completion(&Caller::of(&context)?, request).await
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let principal = Caller::of(&context)?.principal;
        let resources = self.resources(&principal);
        Ok(ListResourcesResult { resources, ..Default::default() }
            .with_ttl_ms(LISTS_TTL_MILLIS)
            .with_cache_scope(shared_by(&principal)))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let resource_templates = self.resource_templates();
        Ok(ListResourceTemplatesResult { resource_templates, ..Default::default() }
            .with_ttl_ms(LISTS_TTL_MILLIS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let caller = Caller::of(&context)?;
        let begun = Instant::now();
        let read = self.read(&caller, &request.uri).await;
        trail::note_read(
            &self.inner.audit,
            &caller.principal,
            &request.uri,
            &context,
            (begun.elapsed(), read.is_ok()),
        );
        Ok(read?.into())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(self.grant(requested))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.tell_listener(&context).await
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.subscribe_conversation(request.uri, &context)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.unsubscribe_conversation(request.uri, &context)
    }
}

#[cfg(test)]
mod tests {
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

//! What the official MCP conformance suite wants to find on a server, on top of ours.
//!
//! The suite calls tools, prompts and resources by names of its own. They are added here to the
//! real server, which answers everything else. So it tries the real command line, gate and
//! transport, and the real handlers wherever it does not need a fixture.

mod asking;
mod changes;
mod content;
mod prompts;
mod resources;
mod rounds;
mod running;
mod tasks;

use std::sync::Arc;

use futures::future::BoxFuture;
use rmcp::handler::server::router::tool::{ToolRoute, ToolRouter};
use rmcp::handler::server::tool::ToolCallContext;
#[expect(deprecated, reason = "the older protocol has it")]
use rmcp::model::SetLevelRequestParams;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams,
    CompleteRequestParams, CompleteResult, ContentBlock, DiscoverResult, ErrorCode,
    GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult, JsonObject,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, PromptsCapability, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, RequestStateCodec, ServerConfig, SubscribeRequestParams,
    SubscriptionFilter, Tool, ToolsCapability, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use simward_supervisor::http::Served;
use simward_supervisor::mcp::McpServer;

use self::changes::Changes;
use self::tasks::Tasks;

/// The real server, and on it what the suite looks for.
#[derive(Clone, Debug)]
pub struct Fixtures {
    real: McpServer,
    own: Arc<Own>,
}

#[derive(Debug)]
struct Own {
    router: ToolRouter<Fixtures>,
    changes: Changes,
    tasks: Tasks,
    /// Seals what a client keeps for us between two rounds.
    codec: RequestStateCodec,
}

/// A call of one of the tools.
type Call<'a> = ToolCallContext<'a, Fixtures>;

type Answer<'a> = BoxFuture<'a, Result<CallToolResponse, ErrorData>>;

impl Fixtures {
    /// The fixtures on a server.
    pub fn on(real: McpServer) -> Self {
        let routes = [
            content::routes(),
            running::routes(),
            asking::routes(),
            rounds::routes(),
            changes::routes(),
            tasks::routes(),
        ];
        let router = routes.into_iter().flatten().fold(ToolRouter::new(), ToolRouter::with_route);
        // It is no secret: who reaches this server may do everything.
        let codec = RequestStateCodec::try_new(*b"the state of a conformance suite").unwrap();
        Self {
            real,
            own: Arc::new(Own {
                router,
                changes: Changes::default(),
                tasks: Tasks::default(),
                codec,
            }),
        }
    }
}

/// A tool, and what it does.
fn route(
    tool: Tool,
    call: impl for<'a> Fn(Call<'a>) -> Answer<'a> + Send + Sync + 'static,
) -> ToolRoute<Fixtures> {
    ToolRoute::new_dyn(tool, call)
}

/// A tool without arguments.
fn tool(name: &'static str, description: &'static str) -> Tool {
    tool_of(name, description, json!({ "type": "object", "additionalProperties": false }))
}

/// The schema of one argument that is needed.
fn taking(name: &str, kind: &str) -> Value {
    json!({
        "type": "object",
        "properties": { name: { "type": kind } },
        "required": [name],
        "additionalProperties": false,
    })
}

/// A tool whose arguments that schema describes.
fn tool_of(name: &'static str, description: &'static str, schema: Value) -> Tool {
    let schema: JsonObject = serde_json::from_value(schema).unwrap();
    Tool::new(name, description, schema)
}

fn text_argument(call: &Call<'_>, name: &str) -> String {
    let value = call.arguments.as_ref().and_then(|arguments| arguments.get(name));
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn said(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

impl Served for Fixtures {
    fn ours(&self) -> &McpServer {
        &self.real
    }
}

impl ServerHandler for Fixtures {
    fn get_info(&self) -> ServerConfig {
        let mut info = self.real.get_info();
        let capabilities = &mut info.capabilities;
        capabilities.logging = Some(JsonObject::new());
        let mut tools = ToolsCapability::default();
        tools.list_changed = Some(true);
        capabilities.tools = Some(tools);
        let mut prompts = PromptsCapability::default();
        prompts.list_changed = Some(true);
        capabilities.prompts = Some(prompts);
        info
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.own.router.get(name).cloned().or_else(|| self.real.get_tool(name))
    }

    async fn discover(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let mut found = self.real.discover(context).await?;
        found.capabilities = self.get_info().capabilities;
        Ok(found)
    }

    #[expect(deprecated, reason = "the older protocol has it")]
    async fn set_level(
        &self,
        _request: SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if is_modern(&context) {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "logging/setLevel", None));
        }
        Ok(())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut listed = self.real.list_tools(request, context).await?;
        listed.tools.extend(self.own.router.list_all());
        Ok(listed)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if self.own.router.has_route(&request.name) {
            self.own.router.call(ToolCallContext::new(self, request, context)).await
        } else {
            self.real.call_tool(request, context).await
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        match self.own.tasks.0.get_task(&request.task_id) {
            Ok(task) => Ok(GetTaskResult::new(task)),
            Err(_unknown) => self.real.get_task(request, context).await,
        }
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        match self.own.tasks.0.cancel_task(&request.task_id) {
            Ok(()) => Ok(()),
            Err(_unknown) => self.real.cancel_task(request, context).await,
        }
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        match self.own.tasks.0.update_task(&request.task_id, request.input_responses.clone()) {
            Ok(()) => Ok(()),
            Err(_unknown) => self.real.update_task(request, context).await,
        }
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let mut listed = self.real.list_prompts(request, context).await?;
        listed.prompts.extend(prompts::list());
        Ok(listed)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        match prompts::get(&self.own.codec, &request, &context) {
            Some(found) => found,
            None => self.real.get_prompt(request, context).await,
        }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        if prompts::has(&request.r#ref) {
            return Ok(CompleteResult::default());
        }
        self.real.complete(request, context).await
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut listed = self.real.list_resources(request, context).await?;
        listed.resources.extend(resources::list());
        Ok(listed)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let mut listed = self.real.list_resource_templates(request, context).await?;
        listed.resource_templates.push(resources::template());
        Ok(listed)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match resources::read(&request.uri) {
            Some(read) => Ok(read.into()),
            None => self.real.read_resource(request, context).await,
        }
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        let mut accepted = self.real.accepted_subscription_filter(requested)?;
        accepted.tools_list_changed = requested.tools_list_changed;
        accepted.prompts_list_changed = requested.prompts_list_changed;
        Some(accepted)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let sink = context.sink().clone();
        tokio::select! {
            ended = self.real.listen(context) => ended,
            () = self.own.changes.tell(&sink) => Ok(()),
        }
    }

    #[expect(deprecated, reason = "the older protocol has it")]
    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if resources::is_watched(&request.uri) {
            return Ok(());
        }
        self.real.subscribe(request, context).await
    }

    #[expect(deprecated, reason = "the older protocol has it")]
    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if resources::is_watched(&request.uri) {
            return Ok(());
        }
        self.real.unsubscribe(request, context).await
    }
}

//! What clients may ask of us, and who answers it.

use std::time::Instant;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams,
    CompleteResult, DiscoverResult, GetPromptRequestParams, GetPromptResponse, GetTaskParams,
    GetTaskResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse,
    ServerConfig, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
    UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;

use super::caller::Caller;
use super::trail::{self, Trail};
use super::{LISTS_TTL_MILLIS, McpServer, is_modern, knows_tasks, shared_by, tools};
use crate::spans::phases;

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
        let trail = Trail::begin(&self.inner.listeners, &principal, &request, &context);
        let (begun, trace_id) = trail.begun();
        let call = async {
            let answered = self.carry_out(request, context, &principal).await;
            trail.end(&answered);
            answered
        };
        let mut response = phases::timed(begun, trace_id, call).await?;
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
            &self.inner.listeners.audit,
            &caller.principal,
            &request.uri,
            &context,
            (begun, read.is_ok()),
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

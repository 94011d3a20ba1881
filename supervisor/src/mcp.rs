//! The MCP surface: what clients see, and nothing of how it is done.

mod caller;
mod instructions;
mod refusal;
mod tools;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestMethod,
    CompleteRequestParams, CompleteResult, DiscoverResult, Implementation,
    ListPromptsRequestMethod, ListPromptsResult, ListResourceTemplatesRequestMethod,
    ListResourceTemplatesResult, ListResourcesRequestMethod, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;

use self::refusal::Refusal;
use crate::models::Models;
use crate::sessions::Sessions;
use crate::telemetry::Watch;

/// How long clients may keep the list of tools, in milliseconds: it never changes.
const TOOLS_TTL_MILLIS: u64 = 3_600_000;

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
    sessions: Sessions,
    models: Models,
    watch: Watch,
    started: Instant,
}

impl McpServer {
    /// A server in front of these sessions, which bring their models in so.
    pub fn new(sessions: Sessions, models: Models, watch: Watch) -> Self {
        let router = tools::all();
        let inner = Inner { router, sessions, models, watch, started: Instant::now() };
        Self { inner: Arc::new(inner) }
    }

    fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    fn models(&self) -> &Models {
        &self.inner.models
    }
}

fn config() -> ServerConfig {
    let capabilities = ServerCapabilities::builder().enable_tools().build();
    ServerConfig::new(capabilities)
        .with_server_info(Implementation::new("simward", env!("CARGO_PKG_VERSION")))
        .with_instructions(instructions::TEXT)
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        config()
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.inner.router.get(name).cloned()
    }

    async fn discover(
        &self,
        _context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, config())
            .with_ttl_ms(TOOLS_TTL_MILLIS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.inner.router.list_all();
        Ok(ListToolsResult { tools, ..Default::default() }
            .with_ttl_ms(TOOLS_TTL_MILLIS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let modern = is_modern(&context);
        let tool = request.name.clone();
        let call = self.inner.router.call(ToolCallContext::new(self, request, context));
        // A panic would leave the caller without an answer for ever.
        let outcome = AssertUnwindSafe(call).catch_unwind().await;
        let mut response = match outcome {
            Ok(response) => response?,
            Err(_panic) => {
                tracing::error!(%tool, "a tool panicked");
                Refusal::internal().into_response()
            }
        };
        if let CallToolResponse::Complete(result) = &mut response {
            refusal::complete(result);
            if modern {
                let info = json!({ "name": "simward", "version": env!("CARGO_PKG_VERSION") });
                let meta = result.meta.get_or_insert_default();
                meta.insert("io.modelcontextprotocol/serverInfo".into(), info);
            }
        }
        Ok(response)
    }

    // What is not declared must not be answered as if it were there.

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourcesRequestMethod>())
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourceTemplatesRequestMethod>())
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(ErrorData::method_not_found::<CompleteRequestMethod>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_titled_typed_and_annotated() {
        for tool in tools::all().list_all() {
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
        for tool in tools::all().list_all() {
            let schema = &tool.input_schema;
            assert_eq!(schema.get("additionalProperties"), Some(&json!(false)), "`{}`", tool.name);
            let properties = schema.get("properties").and_then(|value| value.as_object());
            for (name, property) in properties.into_iter().flatten() {
                let described = property.get("description").is_some();
                assert!(described, "`{}.{name}` has no description", tool.name);
            }
        }
    }

    /// Everything that a model reads about us, in one file that reviewers see change.
    #[test]
    fn agent_surface() {
        let surface =
            json!({ "instructions": instructions::TEXT, "tools": tools::all().list_all() });
        insta::assert_json_snapshot!(surface);
    }
}

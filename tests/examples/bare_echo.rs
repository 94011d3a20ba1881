//! A bare MCP server, to compare the endpoint with: rmcp on axum as they come, with one tool that
//! repeats what it is told. It asks nobody who they are, counts nothing and writes nothing down.
//!
//! Prints where it listens, and serves until it is killed.

#![expect(clippy::print_stdout, reason = "it says there where it listens")]

use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt as _;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(Clone)]
struct Server {
    // Built once: building it costs more than a call does.
    router: Arc<ToolRouter<Self>>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Said {
    text: String,
}

#[tool_router]
impl Server {
    /// Repeats a text.
    #[tool]
    async fn echo(&self, Parameters(Said { text }): Parameters<Said>) -> String {
        text
    }
}

#[tool_handler(router = self.router)]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let server = Server { router: Arc::new(Server::tool_router()) };
    let service = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(NeverSessionManager::default()),
        StreamableHttpServerConfig::default()
            .with_json_response(true)
            .with_legacy_session_mode(false),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", serde_json::json!({ "listen": listener.local_addr()? }));
    // As ours: small replies do not wait for the client's acknowledgement.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, Router::new().route_service("/mcp", service)).await
}

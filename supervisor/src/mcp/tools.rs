//! The tools, one module per family.
//!
//! A tool is an adapter: it names its arguments for a language model, makes one call into the
//! domain, and returns what it got. Anything longer belongs in the domain.

#![expect(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "the comments are the descriptions that language models read, as plain text"
)]

mod models;
mod pool;
mod server;
mod sessions;
mod simulation;
mod state;

use rmcp::handler::server::router::tool::ToolRouter;

use super::McpServer;

/// Every tool of every family.
pub(super) fn all() -> ToolRouter<McpServer> {
    McpServer::server_tools()
        + McpServer::session_tools()
        + McpServer::model_tools()
        + McpServer::simulation_tools()
        + McpServer::state_tools()
        + McpServer::pool_tools()
}

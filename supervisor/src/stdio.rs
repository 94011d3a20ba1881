//! MCP over standard input and output, for one client that starts us.

use anyhow::Context as _;
use rmcp::ServiceExt as _;
use tokio_util::sync::CancellationToken;

use crate::mcp::McpServer;

/// Serves until the client closes our standard input, or `stop`.
pub(crate) async fn serve(server: McpServer, stop: CancellationToken) -> anyhow::Result<()> {
    // Pipes are driven without a thread in between, where both are pipes.
    let transport = rmcp::transport::stdio_pipes();
    let running = tokio::select! {
        running = server.serve_with_ct(transport, stop.clone()) => running,
        () = stop.cancelled() => return Ok(()),
    };
    let running = match running {
        Ok(running) => running,
        // The client left before it said anything.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(error).context("the client did not introduce itself"),
    };
    running.waiting().await.context("the connection failed")?;
    Ok(())
}

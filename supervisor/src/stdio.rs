//! MCP over standard input and output, for one client that starts us.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use rmcp::ServiceExt as _;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::mcp::McpServer;
use crate::sessions::Sessions;

/// The longest message. Models come with their meshes, in base64.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long calls may go on once the client has hung up: a script may have asked and left.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves until the client closes our standard input, or `stop`.
pub(crate) async fn serve(
    server: McpServer,
    sessions: Sessions,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // Pipes are driven without a thread in between, where both are pipes.
    let (input, output) = rmcp::transport::stdio_pipes();
    let hung_up = CancellationToken::new();
    let input = Input { inner: input, hung_up: hung_up.clone() };
    let transport =
        AsyncRwTransport::new_server(input, output).with_max_line_length(LINE_BYTES_MAX);
    // Calls end with their sessions; and the connection, once its calls have ended.
    tokio::spawn(async move {
        hung_up.cancelled().await;
        tokio::time::sleep(LAST_ANSWERS).await;
        sessions.close_all().await;
    });
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

/// Standard input, whose end is told.
struct Input<R> {
    inner: R,
    hung_up: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for Input<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let ended = match &polled {
            Poll::Ready(Ok(())) => room != 0 && buffer.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.hung_up.cancel();
        }
        polled
    }
}

//! Tools that tell something while they run.

use std::time::Duration;

use futures::FutureExt as _;
use rmcp::ErrorData;
use rmcp::handler::server::router::tool::ToolRoute;
use rmcp::model::{CallToolResponse, ProgressNotificationParam, ServerNotification};
use serde_json::json;

use super::{Call, Fixtures, is_modern, route, said, tool};

/// Between two pieces of news, so that they do not go out in one.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn routes() -> Vec<ToolRoute<Fixtures>> {
    vec![
        route(tool("test_tool_with_progress", "Tells how far it is"), |call| {
            progress(call).boxed()
        }),
        route(tool("test_tool_with_logging", "Tells what it does"), |call| logging(call).boxed()),
        route(tool("test_logging_tool", "Tells what it does"), |call| logging(call).boxed()),
        route(tool("test_reconnection", "Takes a while"), |_| slow().boxed()),
    ]
}

async fn progress(call: Call<'_>) -> Result<CallToolResponse, ErrorData> {
    let context = call.request_context();
    for done in [0.0, 50.0, 100.0] {
        if let Some(token) = context.meta.get_progress_token() {
            let news = ProgressNotificationParam::new(token, done).with_total(100.0);
            context.peer.notify_progress(news).await.map_err(gone)?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(said("It is done."))
}

async fn logging(call: Call<'_>) -> Result<CallToolResponse, ErrorData> {
    let context = call.request_context();
    // In the newer protocol only a request that asks for it hears of it.
    let is_wanted = !is_modern(context) || context.meta.log_level().is_some();
    for text in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        if is_wanted {
            let params = json!({ "level": "info", "logger": "fixtures", "data": text });
            let news = json!({ "method": "notifications/message", "params": params });
            let news: ServerNotification = serde_json::from_value(news).unwrap();
            context.peer.send_notification(news).await.map_err(gone)?;
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(said("It is done."))
}

async fn slow() -> Result<CallToolResponse, ErrorData> {
    tokio::time::sleep(PAUSE).await;
    Ok(said("It is done."))
}

pub(super) fn gone(error: rmcp::ServiceError) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

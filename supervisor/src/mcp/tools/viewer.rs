//! Watching a session in a browser.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct UrlArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model to show first; without it the first one.
    #[serde(default)]
    model_id: Option<String>,
    /// Whether who has the link may also run, pause, step, reset and pull at the model.
    #[serde(default)]
    control: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct CloseArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ViewerUrl {
    /// The link, with its token.
    url: String,
    /// The session's port.
    port: u16,
    /// Whether who has the link may do more than look.
    control: bool,
    /// Whether the page was built into the server; if not, the link says how to get it.
    has_page: bool,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct ClosedViewer {
    /// How many were watching.
    viewers_closed: u32,
}

#[tool_router(router = viewer_tools, vis = "pub(super)")]
impl McpServer {
    /// Get a link to a page that shows the session's model live in 3D, to be opened in a browser on
    /// the server's machine. Give it to your user. It is for looking only, unless you ask for
    /// control, and works until close_viewer or the session's end; after a sleep get it anew.
    #[tool(
        title = "Link to the live viewer",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn get_viewer_url(
        &self,
        caller: Caller,
        Parameters(args): Parameters<UrlArgs>,
    ) -> Result<Json<ViewerUrl>, Refusal> {
        let UrlArgs { session_id, model_id, control } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        if let Some(model_id) = &model_id {
            session.must_hold(model_id)?;
        }
        let viewer = session.open_viewer(self.sessions().pool().ports(), control).await?;
        let mut url = format!("{}/viewer?token={}", viewer.port.url(), viewer.token);
        if let Some(model_id) = model_id {
            // A model's id has no character that would have to be escaped.
            url = format!("{url}&model={model_id}");
        }
        let (port, has_page) = (viewer.port.port, viewer.has_page);
        Ok(Json(ViewerUrl { url, port, control, has_page }))
    }

    /// Make all links to a session's viewer worthless and turn out who is watching.
    #[tool(
        title = "Close the live viewer",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn close_viewer(
        &self,
        caller: Caller,
        Parameters(args): Parameters<CloseArgs>,
    ) -> Result<Json<ClosedViewer>, Refusal> {
        let session = self.session(&caller, args.session_id.as_deref()).await?;
        Ok(Json(ClosedViewer { viewers_closed: session.close_viewers().await? }))
    }
}

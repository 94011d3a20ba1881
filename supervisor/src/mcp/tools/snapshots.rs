//! States that are kept for later.

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};
use simward_protocol::real::Real;
use simward_protocol::simulation::Applied;

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct TakeArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "what a client gives")]
struct RestoreArgs {
    /// The session whose model is brought to the snapshot; without it your default session.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// The snapshot, as get_snapshot returned it.
    snapshot_id: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteArgs {
    /// The snapshot, as get_snapshot returned it.
    snapshot_id: String,
}

/// A snapshot.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct SnapshotTaken {
    /// The snapshot's handle.
    snapshot_id: String,
    /// The session that keeps it: it ends with that.
    session_id: String,
    /// The model that it is of.
    model_id: String,
    /// The simulated time that it holds, in seconds.
    time_secs: Real,
}

/// A snapshot that is gone.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct SnapshotDeleted {
    /// The snapshot's handle.
    snapshot_id: String,
}

#[tool_router(router = snapshot_tools, vis = "pub(super)")]
impl McpServer {
    /// Keep a model's exact state, with what modify_model changed, for restore_snapshot. A session
    /// keeps up to 64 snapshots, until it ends.
    #[tool(
        title = "Take a snapshot",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn get_snapshot(
        &self,
        caller: Caller,
        Parameters(args): Parameters<TakeArgs>,
    ) -> Result<Json<SnapshotTaken>, Refusal> {
        let session = self.session(&caller, args.session_id.as_deref()).await?;
        let take = self.sessions().take_snapshot(&session, args.model_id.as_deref());
        let (snapshot_id, taken) = caller.unless_withdrawn(take).await?;
        let session_id = session.plan().id.to_string();
        let time_secs = Real(taken.time_secs);
        Ok(Json(SnapshotTaken { snapshot_id, session_id, model_id: taken.model_id, time_secs }))
    }

    /// Bring a model to a snapshot's exact state, in any of your sessions that has the same model
    /// loaded. What follows is the same to the last bit.
    #[tool(
        title = "Restore a snapshot",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn restore_snapshot(
        &self,
        caller: Caller,
        Parameters(args): Parameters<RestoreArgs>,
    ) -> Result<Json<Applied>, Refusal> {
        let RestoreArgs { session_id, model_id, snapshot_id } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        let restore = self.sessions().restore_snapshot(&session, &snapshot_id, model_id.as_deref());
        Ok(Json(restore.await?))
    }

    /// Forget a snapshot.
    #[tool(
        title = "Delete a snapshot",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn delete_snapshot(
        &self,
        caller: Caller,
        Parameters(DeleteArgs { snapshot_id }): Parameters<DeleteArgs>,
    ) -> Result<Json<SnapshotDeleted>, Refusal> {
        self.sessions().delete_snapshot(&caller.tenant, &snapshot_id).await?;
        Ok(Json(SnapshotDeleted { snapshot_id }))
    }
}

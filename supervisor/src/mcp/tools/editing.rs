//! Sources of models: given back, and edited.

use std::collections::BTreeMap;

use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::{tool, tool_router};
use serde::Deserialize;
use simward_protocol::editing::{EDITS_MAX, Target};

use super::models::SourceArgs;
use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::models::{self, Edit, EditedModel, Export, Form};
use crate::sources;

/// The longest source in a reply, in bytes.
const SOURCE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// `source`: what was loaded, or came of edit_model. `flattened`: one MJCF document, with
    /// includes and URDF resolved, every file under the path listed.
    #[serde(default)]
    form: Form,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct EditArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// Up to 64 edits, in order, each with exactly one of `attach`, `add` and `remove`.
    edits: Vec<EditArg>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct EditArg {
    #[serde(default)]
    attach: Option<AttachArgs>,
    #[serde(default)]
    add: Option<AddArgs>,
    #[serde(default)]
    remove: Option<RemoveArgs>,
}

/// Put another model, given as in load_model, into this one.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct AttachArgs {
    #[serde(default)]
    model_xml: Option<String>,
    #[serde(default)]
    assets: BTreeMap<String, String>,
    #[serde(default)]
    model_path: Option<String>,
    #[serde(default)]
    menagerie: Option<String>,
    /// Where: this site, or `body`, or the world.
    #[serde(default)]
    site: Option<String>,
    #[serde(default)]
    body: Option<String>,
    /// What all its names begin with, such as `gripper_`.
    #[serde(default)]
    prefix: String,
    /// In metres, in the frame of where it goes.
    #[serde(default)]
    position: [f64; 3],
    /// w, x, y, z.
    #[serde(default = "unturned")]
    quaternion: [f64; 4],
}

/// Add MJCF: parts of a body (`<body>`, `<geom>`, `<joint>`, `<site>`, …), or sections of the model
/// such as `<actuator>…</actuator>`. Angles are in radians.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct AddArgs {
    xml: String,
    /// The body that gets the parts; without it the world.
    #[serde(default)]
    to: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct RemoveArgs {
    /// Such as `body` (with all that is in it), `geom`, `joint`, `actuator` or `sensor`.
    kind: String,
    name: String,
}

fn unturned() -> [f64; 4] {
    [1.0, 0.0, 0.0, 0.0]
}

#[tool_router(router = editing_tools, vis = "pub(super)")]
impl McpServer {
    /// The source of a loaded model, and the files that it names with their sizes. What
    /// modify_model changed is not in it. Also as resource sim://{session_id}/model/{model_id}.xml.
    #[tool(
        title = "Export a model's source",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn export_model_xml(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ExportArgs>,
    ) -> Result<Json<Export>, Refusal> {
        let ExportArgs { session_id, model_id, form } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        let models = self.models();
        let export = models.export(&session, model_id.as_deref(), form, SOURCE_BYTES_MAX);
        Ok(Json(caller.unless_withdrawn(export).await?))
    }

    /// Change what a loaded model consists of and compile it anew: all edits are made or none. What
    /// keeps its name keeps its state (time, positions, velocities, controls, mocap poses) and what
    /// modify_model changed; the rest has its default. Not while it runs in the background or is
    /// recorded. Snapshots of the model before do not fit it any more.
    #[tool(
        title = "Edit a model",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn edit_model(
        &self,
        caller: Caller,
        Parameters(args): Parameters<EditArgs>,
    ) -> Result<Json<EditedModel>, Refusal> {
        let EditArgs { session_id, model_id, edits } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        // Before anything is read for one of them.
        if !(1..=EDITS_MAX).contains(&edits.len()) {
            return Err(
                models::limit("edits of one call", edits.len() as u64, EDITS_MAX as u64).into()
            );
        }
        let mut bytes_left = sources::BYTES_MAX;
        let mut meant = Vec::with_capacity(edits.len());
        for (number, edit) in edits.into_iter().enumerate() {
            meant.push(self.edit(&caller, number, edit, &mut bytes_left).await?);
        }
        let edit = self.models().edit(&session, model_id.as_deref(), meant);
        let edition = caller.unless_withdrawn(edit).await?;
        Ok(Json(self.models().replace(&session, edition).await?))
    }
}

impl McpServer {
    async fn edit(
        &self,
        caller: &Caller,
        number: usize,
        edit: EditArg,
        bytes_left: &mut u64,
    ) -> Result<Edit, Refusal> {
        match edit {
            EditArg { attach: Some(attach), add: None, remove: None } => {
                self.attachment(caller, number, attach, bytes_left).await
            }
            EditArg { attach: None, add: Some(AddArgs { xml, to }), remove: None } => {
                Ok(Edit::Add { xml, to })
            }
            EditArg { attach: None, add: None, remove: Some(RemoveArgs { kind, name }) } => {
                Ok(Edit::Remove { kind, name })
            }
            _ => {
                let one = "exactly one of `attach`, `add` and `remove`";
                Err(Refusal::argument(format!("edits[{number}]: {one} must be given")))
            }
        }
    }

    async fn attachment(
        &self,
        caller: &Caller,
        number: usize,
        attach: AttachArgs,
        bytes_left: &mut u64,
    ) -> Result<Edit, Refusal> {
        let AttachArgs { model_xml, assets, model_path, menagerie, site, body, .. } = attach;
        let to = match (site, body) {
            (None, None) => Target::World,
            (None, Some(body)) => Target::Body(body),
            (Some(site), None) => Target::Site(site),
            (Some(_), Some(_)) => {
                let problem = "`site` and `body` cannot both be given";
                return Err(Refusal::argument(format!("edits[{number}].attach: {problem}")));
            }
        };
        let args = SourceArgs { model_xml, assets, model_path, menagerie, ..SourceArgs::default() };
        let source = self.source(caller, args, bytes_left).await?;
        let AttachArgs { prefix, position, quaternion, .. } = attach;
        Ok(Edit::Attach { other: source, to, prefix, position, quaternion })
    }
}

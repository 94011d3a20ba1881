//! Recordings: tables of what every n-th step brought.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::handler::server::tool::schema_for_output;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::{CallToolResult, ContentBlock, Resource, ResourceContents};
use rmcp::{tool, tool_router};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use simward_protocol::recording::{Channel, Selection};

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::mcp::resources::recording as resource_of;
use crate::recordings::{
    self, Begun, Comparison, Drawing, Exported, Format, List, Picture, Plotted, Stopped,
};

/// What a client reads about [`Channel`].
struct ChannelSchema;

impl JsonSchema for ChannelSchema {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Channel".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "enum": [
                    "qpos", "qvel", "ctrl", "act", "qacc", "actuator_force", "sensordata", "xpos",
                    "xquat", "energy"
                ] },
                {
                    "type": "object",
                    "properties": {
                        "joint": { "type": "string" },
                        "actuator": { "type": "string" },
                        "sensor": { "type": "string" },
                        "body": { "type": "string" }
                    },
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// What to record, as `record` of step_simulation takes it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct SelectionArgs {
    /// Whole vectors, or parts by name: ["qpos", {"sensor": "force"}].
    #[schemars(with = "Vec<ChannelSchema>")]
    channels: Vec<Channel>,
    /// A row every so many steps.
    #[serde(default = "one")]
    every: u64,
}

impl From<SelectionArgs> for Selection {
    fn from(SelectionArgs { channels, every }: SelectionArgs) -> Self {
        Self { channels, every }
    }
}

fn one() -> u64 {
    1
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StartArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The model, if the session has several.
    #[serde(default)]
    model_id: Option<String>,
    /// What to record: whole vectors, or parts by name, such as ["qpos", {"joint": "elbow"},
    /// {"sensor": "force"}, {"body": "hand"}, {"actuator": "motor"}].
    #[schemars(with = "Vec<ChannelSchema>")]
    channels: Vec<Channel>,
    /// A row every so many steps.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    every: u64,
    /// Rows to have space for; without it 10000. A recording that is full ends.
    #[serde(default)]
    rows_max: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StopArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The recording.
    recording_id: String,
    /// Throw the recording away as well.
    #[serde(default)]
    discard: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The recording.
    recording_id: String,
    /// csv, json, npz (NumPy) or parquet.
    format: Format,
    /// The first row, from 0.
    #[serde(default)]
    first_row: Option<u64>,
    /// How many rows; without it all.
    #[serde(default)]
    rows: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlotArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The recording.
    recording_id: String,
    /// Columns or series to draw, such as ["qpos.elbow", "sensordata"]; without it the first 16.
    #[serde(default)]
    columns: Vec<String>,
    /// png is shown as an image, svg comes as text.
    #[serde(default)]
    format: Picture,
    /// In pixels.
    #[serde(default = "width")]
    #[schemars(range(min = 200, max = 2000))]
    width: u32,
    /// In pixels.
    #[serde(default = "height")]
    #[schemars(range(min = 150, max = 2000))]
    height: u32,
    /// The first row, from 0.
    #[serde(default)]
    first_row: Option<u64>,
    /// How many rows; without it all.
    #[serde(default)]
    rows: Option<u64>,
}

fn width() -> u32 {
    800
}

fn height() -> u32 {
    500
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CompareArgs {
    /// Else your default one.
    #[serde(default)]
    session_id: Option<String>,
    /// The recording.
    recording_id: String,
    /// The other one's session; without it the same.
    #[serde(default)]
    other_session_id: Option<String>,
    /// The other recording.
    other_recording_id: String,
    /// Differences up to this do not count for `first_differs_secs`.
    #[serde(default)]
    tolerance: f64,
}

/// A result with something to look at beside it.
pub(super) fn with_content<T: Serialize>(
    result: &T,
    more: ContentBlock,
) -> Result<CallToolResult, Refusal> {
    let value = serde_json::to_value(result).map_err(|_bad| Refusal::internal())?;
    let mut result = CallToolResult::structured(value);
    result.content.push(more);
    Ok(result)
}

#[tool_router(router = recording_tools, vis = "pub(super)")]
impl McpServer {
    /// Record chosen values of every step, or every n-th, of step_simulation and run_simulation
    /// from now on. Values are those right after the step; derived ones (qacc, actuator_force,
    /// sensordata, xpos, xquat, energy) are what the step computed, at its beginning. Recordings
    /// stay until the session ends. For a few rows, `record` of step_simulation is simpler.
    #[tool(
        title = "Start a recording",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn start_recording(
        &self,
        caller: Caller,
        Parameters(args): Parameters<StartArgs>,
    ) -> Result<Json<Begun>, Refusal> {
        let StartArgs { session_id, model_id, channels, every, rows_max } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        let selection = Selection { channels, every };
        Ok(Json(recordings::start(&session, model_id, selection, rows_max).await?))
    }

    /// End a recording. It can still be exported, plotted and compared, unless it is discarded.
    #[tool(
        title = "Stop a recording",
        annotations(
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn stop_recording(
        &self,
        caller: Caller,
        Parameters(args): Parameters<StopArgs>,
    ) -> Result<Json<Stopped>, Refusal> {
        let StopArgs { session_id, recording_id, discard } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        Ok(Json(recordings::stop(&session, &recording_id, discard).await?))
    }

    /// List a session's recordings: rows, space, and whether they go on.
    #[tool(
        title = "List recordings",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn list_recordings(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ListArgs>,
    ) -> Result<Json<List>, Refusal> {
        let session = self.session(&caller, args.session_id.as_deref()).await?;
        Ok(Json(recordings::list(&session).await?))
    }

    /// Export a recording, also while it goes on. What is short comes with the result; anything
    /// else is read at `uri`.
    #[tool(
        title = "Export a recording",
        output_schema = schema_for_output::<Exported>(),
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn export_recording(
        &self,
        caller: Caller,
        Parameters(args): Parameters<ExportArgs>,
    ) -> Result<CallToolResult, Refusal> {
        let ExportArgs { session_id, recording_id, format, first_row, rows } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        let rows = (first_row, rows);
        let exported = recordings::export(&session, &recording_id, format, rows);
        let (exported, bytes) = caller.unless_withdrawn(exported).await?;
        let more = content(&exported, bytes);
        with_content(&exported, more)
    }

    /// Draw columns of a recording over time, those of one unit in one panel.
    #[tool(
        title = "Plot a recording",
        output_schema = schema_for_output::<Plotted>(),
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn plot_recording(
        &self,
        caller: Caller,
        Parameters(args): Parameters<PlotArgs>,
    ) -> Result<CallToolResult, Refusal> {
        let PlotArgs { session_id, recording_id, columns, format, .. } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        let drawing = Drawing {
            columns,
            picture: format,
            size: (args.width, args.height),
            rows: (args.first_row, args.rows),
        };
        let plotted = recordings::plot(&session, &recording_id, drawing);
        let (plotted, bytes) = caller.unless_withdrawn(plotted).await?;
        let picture = match format {
            Picture::Png => ContentBlock::image(STANDARD.encode(bytes), "image/png"),
            Picture::Svg => {
                let session_id = &session.plan().id;
                let uri = format!("sim://{session_id}/recordings/{recording_id}.svg");
                let text = String::from_utf8_lossy(&bytes);
                let contents = ResourceContents::text(text, uri).with_mime_type("image/svg+xml");
                ContentBlock::resource(contents)
            }
        };
        with_content(&plotted, picture)
    }

    /// Compare two recordings of the same channels row by row, of one session or of two: largest
    /// and rms difference per column, when they part, and whether they are equal to the last bit.
    #[tool(
        title = "Compare recordings",
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn compare_recordings(
        &self,
        caller: Caller,
        Parameters(args): Parameters<CompareArgs>,
    ) -> Result<Json<Comparison>, Refusal> {
        let CompareArgs { session_id, recording_id, tolerance, .. } = args;
        let session = self.session(&caller, session_id.as_deref()).await?;
        let other = match args.other_session_id {
            None => session.clone(),
            Some(id) => self.session(&caller, Some(&id)).await?,
        };
        let other_id = args.other_recording_id;
        let compared =
            recordings::compare((&session, &recording_id), (&other, &other_id), tolerance);
        Ok(Json(caller.unless_withdrawn(compared).await?))
    }
}

/// An export beside its description: itself, or where it is.
fn content(exported: &Exported, bytes: Option<Vec<u8>>) -> ContentBlock {
    let (format, uri) = (exported.format, exported.uri.clone());
    let kind = format.media_type();
    match bytes {
        None => {
            let name = format!("{}.{}", exported.recording_id, format.word());
            ContentBlock::resource_link(Resource::new(uri, name).with_mime_type(kind))
        }
        Some(bytes) => ContentBlock::resource(resource_of(format, bytes, &uri)),
    }
}

//! Pictures and videos.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::handler::server::tool::{IntoCallToolResult, schema_for_output};
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::{CallToolResponse, ContentBlock, JsonObject, ResourceContents};
use rmcp::{ErrorData, tool, tool_router};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Deserialize as DeriveDeserialize, Serialize};
use serde_json::Value;
use simward_protocol::real::Real;
use simward_protocol::render::{Camera, Depth, Draw, Kind, Overlay, Quality, View};
use tokio::sync::watch;

use crate::mcp::McpServer;
use crate::mcp::caller::Caller;
use crate::mcp::refusal::Refusal;
use crate::pictures;
use crate::renderer::Picture;

/// The camera as a client gives it: a name, or how a free one stands.
#[derive(Debug, Default)]
struct CameraArg(Camera);

#[derive(Debug, DeriveDeserialize)]
#[serde(deny_unknown_fields)]
struct Free {
    #[serde(default)]
    lookat: Option<[f64; 3]>,
    #[serde(default)]
    distance: Option<f64>,
    #[serde(default)]
    azimuth: Option<f64>,
    #[serde(default)]
    elevation: Option<f64>,
}

impl<'de> Deserialize<'de> for CameraArg {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(from)? {
            Value::Null => Camera::default(),
            Value::String(name) => Camera { name: Some(name), ..Camera::default() },
            free => {
                let wrong = |error| D::Error::custom(format!("`camera`: {error}"));
                let free: Free = serde_json::from_value(free).map_err(wrong)?;
                let Free { lookat, distance, azimuth, elevation } = free;
                Camera { name: None, lookat, distance, azimuth, elevation }
            }
        }))
    }
}

impl JsonSchema for CameraArg {
    fn schema_name() -> Cow<'static, str> {
        "Camera".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "object", "null"] })
    }
}

/// What can be shown besides, in few words: descriptions of each would be said in every tool.
struct OverlaySchema;

impl JsonSchema for OverlaySchema {
    fn schema_name() -> Cow<'static, str> {
        "Overlay".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Overlay::NAMES })
    }
}

/// How much is spent on a picture.
struct QualitySchema;

impl JsonSchema for QualitySchema {
    fn schema_name() -> Cow<'static, str> {
        "Quality".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["draft", "standard", "fine"] })
    }
}

/// Arguments of a tool that draws: what all of them have, and what this one has besides.
macro_rules! args {
    ($name:ident, ($width:literal, $height:literal) { $($more:tt)* }) => {
        #[derive(Debug, DeriveDeserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $name {
            /// Else your default one.
            #[serde(default)]
            session_id: Option<String>,
            /// The model, if the session has several.
            #[serde(default)]
            model_id: Option<String>,
            /// Pixels of a frame.
            #[serde(default = $width)]
            #[schemars(range(min = 16, max = 2048))]
            width: u32,
            /// Pixels of a frame.
            #[serde(default = $height)]
            #[schemars(range(min = 16, max = 2048))]
            height: u32,
            /// A camera's name, or a free one: {"lookat": [x, y, z], "distance": m, "azimuth": deg,
            /// "elevation": deg}, each optional; negative elevation looks down.
            #[serde(default)]
            camera: CameraArg,
            /// What to show besides.
            #[serde(default)]
            #[schemars(with = "Vec<OverlaySchema>")]
            overlays: Vec<Overlay>,
            /// draft is quickest.
            #[serde(default)]
            #[schemars(with = "QualitySchema")]
            quality: Quality,
            $($more)*
        }

        impl $name {
            fn drawing(&mut self, kind: Kind) -> Drawing {
                let draw = Draw {
                    width: self.width,
                    height: self.height,
                    camera: std::mem::take(&mut self.camera.0),
                    overlays: std::mem::take(&mut self.overlays),
                    quality: self.quality,
                    kind,
                };
                Drawing { session_id: self.session_id.take(), model_id: self.model_id.take(), draw }
            }
        }
    };
}

mod defaults {
    pub(super) fn number<const N: u32>() -> u32 {
        N
    }

    pub(super) fn second() -> f64 {
        1.0
    }

    pub(super) fn seconds() -> f64 {
        2.0
    }
}

args!(FrameArgs, ("defaults::number::<640>", "defaults::number::<480>") {});
args!(DepthArgs, ("defaults::number::<640>", "defaults::number::<480>") {
    /// Pixels whose distance is wanted, as [column, row] from the upper left; up to 64.
    #[serde(default)]
    points: Vec<[u32; 2]>,
});
args!(StripArgs, ("defaults::number::<320>", "defaults::number::<240>") {
    /// Simulated seconds from the first frame to the last, up to 600.
    #[serde(default = "defaults::second")]
    duration_secs: f64,
    /// How many frames, evenly spaced.
    #[serde(default = "defaults::number::<6>")]
    #[schemars(range(min = 1, max = 16))]
    frames: u32,
});
args!(VideoArgs, ("defaults::number::<480>", "defaults::number::<360>") {
    /// Simulated seconds, up to 600.
    #[serde(default = "defaults::seconds")]
    duration_secs: f64,
    /// Frames per second; a video has up to 900 frames.
    #[serde(default = "defaults::number::<25>")]
    #[schemars(range(min = 1, max = 60))]
    fps: u32,
    /// Simulated seconds per second of the video, between 0.01 and 100: 0.25 is slow motion.
    #[serde(default = "defaults::second")]
    speed: f64,
});

/// A picture that is wanted of a session.
struct Drawing {
    session_id: Option<String>,
    model_id: Option<String>,
    draw: Draw,
}

/// A picture.
#[derive(Debug, Serialize, JsonSchema)]
struct Pictured {
    /// The model that was drawn.
    model_id: String,
    /// The width of the picture, in pixels.
    width: u32,
    /// The height of the picture, in pixels.
    height: u32,
    /// The simulated time of each frame, in seconds; of a video, of the first and the last.
    times_secs: Vec<Real>,
    /// How many frames.
    frames: u64,
    /// From where it was taken: as a free camera is given, and as position, forward, up and
    /// fovy_degrees.
    #[schemars(with = "JsonObject")]
    camera: View,
    /// How often the copy that was stepped was found unstable and started anew.
    auto_resets: u64,
    /// What the file is.
    mime_type: String,
    /// How long it is.
    bytes: u64,
    /// Distances along the direction in which the camera looks, not along rays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<JsonObject>")]
    depth: Option<Depth>,
}

/// A picture with what is said of it.
struct Shown {
    about: Pictured,
    content: ContentBlock,
}

impl Shown {
    fn new(model_id: String, picture: Picture) -> Self {
        let Picture { content, mime_type, drawn } = picture;
        let bytes = STANDARD.encode(&content);
        let content = if mime_type.starts_with("image/") {
            ContentBlock::image(bytes, mime_type)
        } else {
            let uri = format!("sim://video/{model_id}.mp4");
            let contents = ResourceContents::blob(bytes, uri).with_mime_type(mime_type);
            ContentBlock::resource(contents)
        };
        let about = Pictured {
            model_id,
            width: drawn.width,
            height: drawn.height,
            times_secs: drawn.times_secs,
            frames: drawn.frames,
            camera: drawn.view,
            auto_resets: drawn.auto_resets,
            mime_type: mime_type.to_owned(),
            bytes: drawn.bytes,
            depth: drawn.depth,
        };
        Self { about, content }
    }
}

impl IntoCallToolResult for Shown {
    /// The words first, where clients look for what is structured; then the picture.
    fn into_call_tool_result(self) -> Result<CallToolResponse, ErrorData> {
        let mut response = Json(self.about).into_call_tool_result()?;
        if let CallToolResponse::Complete(result) = &mut response {
            result.content.push(self.content);
        }
        Ok(response)
    }
}

#[tool_router(router = picture_tools, vis = "pub(super)")]
impl McpServer {
    /// Look at a simulation as it is now: a PNG. Nothing is stepped or changed. The reply tells
    /// where the camera stands, so that the next picture can be taken from elsewhere.
    #[tool(
        title = "Render a frame",
        output_schema = schema_for_output::<Pictured>(),
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn render_frame(
        &self,
        caller: Caller,
        Parameters(mut args): Parameters<FrameArgs>,
    ) -> Result<Shown, Refusal> {
        self.show(&caller, args.drawing(Kind::Frame)).await
    }

    /// Measure how far away everything is that a camera sees. `depth` has the nearest pixel, a coarse
    /// grid of the nearest distances (grid_metres: rows from above, null where nothing is) and the
    /// distances at `points` (points_metres); the 16-bit PNG's values times metres_per_unit are
    /// metres, 0 is nothing.
    #[tool(
        title = "Render depth",
        output_schema = schema_for_output::<Pictured>(),
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn render_depth(
        &self,
        caller: Caller,
        Parameters(mut args): Parameters<DepthArgs>,
    ) -> Result<Shown, Refusal> {
        let points = std::mem::take(&mut args.points);
        self.show(&caller, args.drawing(Kind::Depth { points })).await
    }

    /// Look at what would happen next, with the controls as they are: frames of a copy that is
    /// stepped, in one PNG, row by row. The simulation itself is not stepped.
    #[tool(
        title = "Render a strip of frames",
        output_schema = schema_for_output::<Pictured>(),
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn render_strip(
        &self,
        caller: Caller,
        Parameters(mut args): Parameters<StripArgs>,
    ) -> Result<Shown, Refusal> {
        let (frames, duration_secs) = (args.frames, args.duration_secs);
        let last = f64::from(frames.saturating_sub(1).max(1));
        // One more than there may be is enough to be refused.
        let times = (0..frames.min(100)).map(|index| duration_secs * f64::from(index) / last);
        self.show(&caller, args.drawing(Kind::Strip { times: times.collect() })).await
    }

    /// Film what would happen next, with the controls as they are: an MP4 (H.264) of a copy that is
    /// stepped. The simulation itself is not stepped. Width and height must be even.
    #[tool(
        title = "Record a video",
        output_schema = schema_for_output::<Pictured>(),
        annotations(
            read_only_hint = true,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        )
    )]
    async fn record_video(
        &self,
        caller: Caller,
        Parameters(mut args): Parameters<VideoArgs>,
    ) -> Result<Shown, Refusal> {
        let VideoArgs { duration_secs, fps, speed, .. } = args;
        self.show(&caller, args.drawing(Kind::Video { duration_secs, fps, speed })).await
    }

    async fn show(&self, caller: &Caller, drawing: Drawing) -> Result<Shown, Refusal> {
        let Drawing { session_id, model_id, draw } = drawing;
        let session = self.session(caller, session_id.as_deref()).await?;
        let (tell, told) = watch::channel((0, 0));
        let model_id = model_id.as_deref();
        // A process is started in it, which makes it large.
        let drawn = Box::pin(pictures::draw(self.sessions(), &session, model_id, draw, Some(tell)));
        let drawn = caller.unless_withdrawn(drawn);
        let (model_id, picture) = caller.hearing_of_progress(told, drawn).await?;
        Ok(Shown::new(model_id, picture))
    }
}

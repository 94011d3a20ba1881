//! Drawing a model, in a process that does nothing else.
//!
//! The supervisor sends an [`ToRenderer::Open`], with the compiled model attached, and then any
//! number of [`ToRenderer::Draw`], each with two memory files: a checkpoint of the state to draw,
//! and an empty one that takes the picture. The renderer steps a copy where time must pass, and
//! nothing that it does is ever brought back into a session.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::real::Real;

/// The shortest and the longest side of a picture, in pixels.
pub const SIDE_PIXELS: (u32, u32) = (16, 2048);

/// The most pixels of one picture, all frames of a strip together.
pub const PIXELS_MAX: u64 = 4 << 20;

/// The longest picture or video, in bytes.
pub const PICTURE_BYTES_MAX: u64 = 16 << 20;

/// The most frames of a strip.
pub const STRIP_FRAMES_MAX: usize = 16;

/// The most frames of a video.
pub const VIDEO_FRAMES_MAX: u64 = 900;

/// How many frames a video has: at least one, the one that is now.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is out of range becomes a bound"
)]
pub fn video_frames(duration_secs: f64, fps: u32, speed: f64) -> u64 {
    let frames = duration_secs / speed * f64::from(fps);
    (frames.round() as u64).max(1)
}

/// The most pixels of a video, all frames together.
pub const VIDEO_PIXELS_MAX: u64 = 600 << 20;

/// The most simulated time that passes in one picture, in seconds.
pub const DURATION_SECS_MAX: f64 = 600.0;

/// The most steps that are taken for one picture.
pub const STEPS_MAX: u64 = 1_000_000;

/// The most pixels whose distance can be asked for.
pub const POINTS_MAX: usize = 64;

/// The most overlays of one picture.
pub const OVERLAYS_MAX: usize = 16;

/// The columns and rows of the summary of distances.
pub const DEPTH_GRID: (u32, u32) = (8, 6);

/// What the supervisor sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToRenderer {
    /// Takes up a model, once. Answered by [`FromRenderer::Opened`].
    Open {
        /// How long the compiled model is, which travels with this.
        bytes: u64,
    },
    /// Answered by [`FromRenderer::Drawn`].
    Draw(Draw),
}

/// What the renderer sends, after its hello.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "decoded once and moved once")]
pub enum FromRenderer {
    /// The model can be drawn, or why not.
    Opened(Result<(), Fault>),
    /// How far a drawing has come.
    Progress {
        /// Frames that are drawn.
        done: u64,
        /// Frames that shall be.
        total: u64,
    },
    /// The picture is in its file, or why not.
    Drawn(Result<Drawn, Fault>),
    /// The engine met an error from which it cannot return. The process ends right after.
    LastWords {
        /// What the engine said.
        text: String,
    },
}

/// A picture to be drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    /// The width of a frame, in pixels.
    pub width: u32,
    /// The height of a frame, in pixels.
    pub height: u32,
    /// From where.
    pub camera: Camera,
    /// What is shown besides.
    pub overlays: Vec<Overlay>,
    /// How much is spent on it.
    pub quality: Quality,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// The state as it is, as a PNG.
    Frame,
    /// Distances, as a PNG of 16 bits.
    Depth {
        /// Pixels whose distance is wanted, as column and row from the upper left.
        points: Vec<[u32; 2]>,
    },
    /// The state at several times, in one PNG.
    Strip {
        /// Seconds from now, in order.
        times: Vec<f64>,
    },
    /// What happens from now on, as an MP4 with H.264.
    Video {
        /// How much simulated time passes.
        duration_secs: f64,
        /// Frames per second of the video.
        fps: u32,
        /// Simulated seconds per second of the video.
        speed: f64,
    },
}

/// Where a picture is taken from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// A camera of the model. Without it a free one, which the other fields move.
    pub name: Option<String>,
    /// The point that a free camera looks at, in metres.
    pub lookat: Option<[f64; 3]>,
    /// How far it is from there, in metres.
    pub distance: Option<f64>,
    /// Its direction around the vertical axis, in degrees.
    pub azimuth: Option<f64>,
    /// Its direction against the horizontal plane, in degrees: negative looks down.
    pub elevation: Option<f64>,
}

/// What can be shown besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlay {
    /// Where bodies touch.
    Contacts,
    /// How hard they press, as arrows.
    Forces,
    /// Joints and their axes.
    Joints,
    /// Actuators.
    Actuators,
    /// Tendons.
    Tendons,
    /// Centres of mass.
    CenterOfMass,
    /// Boxes of equal inertia.
    Inertia,
    /// Cameras of the model.
    Cameras,
    /// Lights of the model.
    Lights,
    /// The axes of all bodies.
    Frames,
    /// The names of all bodies.
    Labels,
    /// Moving bodies can be seen through.
    Transparent,
    /// Convex hulls instead of meshes: what collides.
    ConvexHull,
}

impl Overlay {
    /// All of them, as clients write them.
    pub const NAMES: [&str; 13] = [
        "contacts",
        "forces",
        "joints",
        "actuators",
        "tendons",
        "center_of_mass",
        "inertia",
        "cameras",
        "lights",
        "frames",
        "labels",
        "transparent",
        "convex_hull",
    ];
}

/// How much is spent on a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Neither shadows nor reflections.
    Draft,
    /// Shadows, coarse.
    #[default]
    Standard,
    /// Fine shadows, reflections, and smooth edges: several times slower.
    Fine,
}

/// What was drawn. The picture itself is in its file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    /// The length of the file.
    pub bytes: u64,
    /// The width of the whole picture, in pixels.
    pub width: u32,
    /// The height of the whole picture, in pixels.
    pub height: u32,
    /// From where.
    pub view: View,
    /// The simulated time of each frame, in seconds; of a video, of the first and the last.
    pub times_secs: Vec<Real>,
    /// How many frames.
    pub frames: u64,
    /// How often the copy was found unstable and started anew while time passed.
    pub auto_resets: u64,
    /// What the distances are.
    pub depth: Option<Depth>,
}

/// Where a picture was taken from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The camera of the model; absent for a free one.
    pub name: Option<String>,
    /// Where it is, in metres.
    pub position: [Real; 3],
    /// Where it looks to: a unit vector.
    pub forward: [Real; 3],
    /// What is upwards in the picture: a unit vector.
    pub up: [Real; 3],
    /// How much it sees from the lower to the upper edge, in degrees; 0 without perspective.
    pub fovy_degrees: Real,
    /// The point that a free camera looks at, in metres.
    pub lookat: Option<[Real; 3]>,
    /// How far a free camera is from there, in metres.
    pub distance: Option<Real>,
    /// The direction of a free camera around the vertical axis, in degrees.
    pub azimuth: Option<Real>,
    /// The direction of a free camera against the horizontal plane, in degrees.
    pub elevation: Option<Real>,
}

/// Distances, measured along the direction in which the camera looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Depth {
    /// A pixel's value times this is its distance; 0 means that there is nothing.
    pub metres_per_unit: Real,
    /// The nearest pixel.
    pub nearest: Option<Nearest>,
    /// The largest distance at which there is something.
    pub farthest_metres: Option<Real>,
    /// The nearest distances in the cells of a coarse grid, row by row from the upper left; nothing
    /// where nothing is.
    pub grid_metres: Vec<Vec<Option<Real>>>,
    /// The distances at the pixels that were asked for.
    pub points_metres: Vec<Option<Real>>,
}

/// A pixel and its distance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// Its column, from the left.
    pub x: u32,
    /// Its row, from above.
    pub y: u32,
    /// Its distance.
    pub metres: Real,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_video_has_more_frames() {
        assert_eq!(video_frames(2.0, 25, 1.0), 50);
        assert_eq!(video_frames(2.0, 25, 0.5), 100);
        assert_eq!(video_frames(0.0, 25, 1.0), 1);
        assert_eq!(video_frames(1e300, 60, 1e-3), u64::MAX);
    }

    #[test]
    fn every_overlay_is_called_by_its_name() {
        for name in Overlay::NAMES {
            let overlay: Overlay = serde_json::from_value(name.into()).unwrap();
            assert_eq!(serde_json::to_value(overlay).unwrap(), name);
        }
    }
}

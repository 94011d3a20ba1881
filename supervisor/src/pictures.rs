//! Pictures of sessions: what may be asked, and the state that is drawn.
//!
//! A picture is drawn of a copy. Neither the session nor its worker notices.

use std::sync::Arc;
use std::time::Duration;

use simward_protocol::fault::Fault;
use simward_protocol::render::{
    Camera, DURATION_SECS_MAX, Draw, Kind, OVERLAYS_MAX, PIXELS_MAX, POINTS_MAX, SIDE_PIXELS,
    STRIP_FRAMES_MAX, VIDEO_FRAMES_MAX, VIDEO_PIXELS_MAX, video_frames,
};
use tokio::sync::watch;

use crate::code::Code;
use crate::renderer::{self, Picture, Scene};
use crate::session::{self, Session};
use crate::sessions::Sessions;

/// The largest coordinate and distance of a camera, in metres.
const CAMERA_METRES_MAX: f64 = 1e6;

/// The slowest and the fastest a video can be, in simulated seconds per second.
const SPEED: (f64, f64) = (0.01, 100.0);

/// The slowest and the fastest a video can change, in frames per second.
const FPS: (f64, f64) = (1.0, 60.0);

/// A picture that was not drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be asked for.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The session did not give its state.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// It could not be drawn.
    #[error(transparent)]
    Renderer(#[from] renderer::Error),
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code(),
            Self::Session(error) => error.code(),
            Self::Renderer(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Fault(fault) => fault.hint().map(ToOwned::to_owned),
            Self::Session(error) => error.hint(),
            Self::Renderer(error) => error.hint(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Fault(_) => None,
            Self::Session(error) => error.retry_after(),
            Self::Renderer(error) => error.retry_after(),
        }
    }
}

/// Draws a model of a session, as it is now. Tells also which model that was.
pub async fn draw(
    sessions: &Sessions,
    session: &Session,
    model_id: Option<&str>,
    draw: Draw,
    progress: Option<watch::Sender<(u64, u64)>>,
) -> Result<(String, Picture), Error> {
    check(&draw)?;
    let copied = session.copy_one(model_id).await?;
    let session_id = Arc::clone(&session.plan().id);
    let tenant = session.plan().tenant.clone();
    let scene = Scene { session_id, tenant, model: copied.model, state: copied.state };
    tokio::select! {
        drawn = sessions.renderer().draw(scene, draw, progress) => Ok((copied.model_id, drawn?)),
        () = session.closed() => {
            // Also a renderer that was asked for after the session had ended.
            sessions.renderer().forget(&session.plan().id);
            Err(renderer::Error::Forgotten.into())
        }
    }
}

/// Refuses what cannot be drawn, or would take too much.
fn check(draw: &Draw) -> Result<(), Fault> {
    let (min, max) = SIDE_PIXELS;
    for (field, value) in [("width", draw.width), ("height", draw.height)] {
        within(field, value.into(), (min.into(), max.into()))?;
    }
    bounded("overlays", draw.overlays.len() as u64, OVERLAYS_MAX as u64)?;
    check_camera(&draw.camera)?;
    let pixels = u64::from(draw.width) * u64::from(draw.height);
    match &draw.kind {
        Kind::Frame => bounded("pixels of a picture", pixels, PIXELS_MAX),
        Kind::Depth { points } => {
            bounded("points", points.len() as u64, POINTS_MAX as u64)?;
            for point in points {
                for (value, side) in point.iter().zip([draw.width, draw.height]) {
                    within("points", (*value).into(), (0.0, f64::from(side) - 1.0))?;
                }
            }
            bounded("pixels of a picture", pixels, PIXELS_MAX)
        }
        Kind::Strip { times } => {
            let frames = times.len() as u64;
            #[expect(clippy::cast_precision_loss, reason = "a bound, to be told")]
            within("frames", frames as f64, (1.0, STRIP_FRAMES_MAX as f64))?;
            let mut before = 0.0;
            for secs in times {
                within("times_secs", *secs, (before, DURATION_SECS_MAX))?;
                before = *secs;
            }
            // A strip is filled up to whole rows.
            let tiles = (1..=frames).find(|side| frames <= side * side).unwrap_or(1);
            bounded("pixels of a picture", pixels * tiles * frames.div_ceil(tiles), PIXELS_MAX)
        }
        Kind::Video { duration_secs, fps, speed } => {
            within("duration_secs", *duration_secs, (0.0, DURATION_SECS_MAX))?;
            within("fps", (*fps).into(), FPS)?;
            within("speed", *speed, SPEED)?;
            even("width", draw.width)?;
            even("height", draw.height)?;
            let frames = video_frames(*duration_secs, *fps, *speed);
            bounded("frames of a video", frames, VIDEO_FRAMES_MAX)?;
            bounded("pixels of a video", frames * pixels, VIDEO_PIXELS_MAX)
        }
    }
}

fn check_camera(camera: &Camera) -> Result<(), Fault> {
    let Camera { name: _, lookat, distance, azimuth, elevation } = camera;
    for value in lookat.iter().flatten() {
        within("camera.lookat", *value, (-CAMERA_METRES_MAX, CAMERA_METRES_MAX))?;
    }
    let bounds = [
        ("camera.distance", distance, (1e-3, CAMERA_METRES_MAX)),
        ("camera.azimuth", azimuth, (-360.0, 360.0)),
        ("camera.elevation", elevation, (-90.0, 90.0)),
    ];
    for (field, value, range) in bounds {
        if let Some(value) = value {
            within(field, *value, range)?;
        }
    }
    Ok(())
}

fn within(field: &str, value: f64, (min, max): (f64, f64)) -> Result<(), Fault> {
    if !value.is_finite() {
        return Err(Fault::NotFinite { field: field.to_owned(), at: value.to_string() });
    }
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Fault::OutOfRange { field: field.to_owned(), value, min, max })
}

fn bounded(what: &str, value: u64, max: u64) -> Result<(), Fault> {
    if value <= max {
        return Ok(());
    }
    Err(Fault::LimitExceeded { what: what.to_owned(), value, max })
}

/// H.264 halves colours in both directions.
fn even(field: &str, value: u32) -> Result<(), Fault> {
    if value.is_multiple_of(2) {
        return Ok(());
    }
    let (min, max) = (f64::from(value - 1), f64::from(value + 1));
    let field = format!("{field} of a video, an even number");
    Err(Fault::OutOfRange { field, value: value.into(), min, max })
}

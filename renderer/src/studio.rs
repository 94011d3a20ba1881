//! One model, a copy of its state, and the context that draws it.
//!
//! What a drawing costs is decided here and not by the client's model: the sizes of buffers and of
//! shadows, the samples, and the number of corners are ours, whatever the model says.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use mujoco_rs::wrappers::mj_rendering::{MjrContext, MjrRectangle};
use mujoco_rs::wrappers::mj_visualization::{MjvCamera, MjvOption, MjvPerturb, MjvScene};
use simward_protocol::fault::{Fault, cut};
use simward_protocol::render::{Draw, Quality, SIDE_PIXELS, View};
use simward_worker::kin::{Checkpoint, DIVERGENCES, INTEGRATION, Modifications, check_timestep};

use crate::gl::Gl;
use crate::serve::lost;
use crate::view;

/// The most textures and materials that the engine draws with: with more it ends the process.
const TEXTURES_MAX: i64 = 1000;

/// The most bytes of textures.
const TEXTURE_BYTES_MAX: i64 = 512 << 20;

/// The longest side of a texture, which is what Mesa's software takes.
const TEXTURE_PIXELS_MAX: i32 = 8192;

/// The most shapes of a model that is drawn.
const GEOMS_MAX: i64 = 100_000;

/// Room for overlays, in shapes.
const OVERLAY_GEOMS: usize = 10_000;

/// The most corners that curved shapes are cut into.
const CORNERS_MAX: i32 = 64;

/// One model, ready to be drawn.
pub(crate) struct Studio {
    data: MjData<Box<MjModel>>,
    /// What the session has changed of the model.
    modified: Modifications,
    scene: MjvScene,
    camera: MjvCamera,
    option: MjvOption,
    /// Made for one quality; other sizes are taken as they come.
    context: Option<(Quality, MjrContext)>,
    size: (u32, u32),
    /// After the context, which is made in it.
    _gl: Gl,
}

impl Studio {
    /// Loads a compiled model.
    pub(crate) fn open(gl: Gl, file: Option<&OwnedFd>, bytes: u64) -> Result<Self, Fault> {
        let file = file.ok_or_else(|| lost(&"no compiled model came along"))?;
        let file = File::from(file.try_clone().map_err(|error| lost(&error))?);
        let mut compiled = vec![0; usize::try_from(bytes).map_err(|error| lost(&error))?];
        file.read_exact_at(&mut compiled, 0).map_err(|error| lost(&error))?;
        let mut model = MjModel::from_buffer(&compiled).map_err(|error| lost(&error))?;
        drop(compiled);
        check_timestep(model.opt().timestep)?;
        check_size(&model)?;
        tame(&mut model);
        let geoms = usize::try_from(model.ngeom()).unwrap_or(0);
        let scene = MjvScene::new(&model, geoms + OVERLAY_GEOMS);
        let camera = MjvCamera::new_free(&model);
        let data = MjData::try_new(Box::new(model)).map_err(|error| lost(&error))?;
        let (option, size) = (MjvOption::default(), (0, 0));
        let modified = Modifications::default();
        Ok(Self { data, modified, scene, camera, option, context: None, size, _gl: gl })
    }

    /// Takes the state that a checkpoint holds.
    pub(crate) fn take_state(&mut self, file: &OwnedFd) -> Result<(), Fault> {
        let unusable = |detail: String| Fault::CheckpointUnusable {
            model_id: "model".into(),
            detail: cut(detail),
        };
        let values = self.data.model().state_size(INTEGRATION);
        let (_, found) = Checkpoint::reopen(file, values).map_err(unusable)?;
        self.modified
            .take_over(&mut self.data, &found.modified)
            .map_err(|problem| unusable(problem.to_owned()))?;
        // Nothing of the picture before.
        self.data.reset();
        self.data
            .set_state(&found.state, INTEGRATION)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(())
    }

    /// Makes ready for a picture.
    pub(crate) fn prepare(&mut self, draw: &Draw) -> Result<(), Fault> {
        let (min, max) = SIDE_PIXELS;
        self.size = (draw.width.clamp(min, max), draw.height.clamp(min, max));
        self.camera = view::camera(self.data.model(), &draw.camera)?;
        self.option = view::option(&draw.overlays);
        view::light(&mut self.scene, draw.quality);
        if self.context.as_ref().is_none_or(|(quality, _)| *quality != draw.quality) {
            self.context = None;
            self.context = Some((draw.quality, self.context(draw.quality)));
        }
        if let Some((_, context)) = &mut self.context
            && (context.ffi().offWidth, context.ffi().offHeight) != signed(self.size)
        {
            context.resize_offscreen(self.size.0, self.size.1);
        }
        Ok(())
    }

    /// The context of the engine, which takes its settings from the model.
    #[expect(unsafe_code, reason = "the engine cannot know whether a context is current")]
    fn context(&mut self, quality: Quality) -> MjrContext {
        let (width, height) = signed(self.size);
        let visual = self.data.model_vis_mut();
        (visual.global.offwidth, visual.global.offheight) = (width, height);
        let (samples, shadow) = match quality {
            Quality::Draft => (0, 0),
            Quality::Standard => (0, 1024),
            Quality::Fine => (4, 4096),
        };
        (visual.quality.offsamples, visual.quality.shadowsize) = (samples, shadow);
        // SAFETY: `_gl` is current on this thread, which is the only one that draws.
        let mut context = unsafe { MjrContext::new(self.data.model()) };
        context.offscreen();
        context
    }

    /// The size of a frame, in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.size
    }

    pub(crate) fn time_secs(&self) -> f64 {
        self.data.time()
    }

    /// How much simulated time a step takes.
    pub(crate) fn timestep_secs(&self) -> f64 {
        self.data.model().opt().timestep
    }

    /// From where the last frame was drawn.
    pub(crate) fn seen_from(&self, draw: &Draw) -> View {
        view::seen(&self.scene, &self.camera, &draw.camera)
    }

    /// Draws the state as it is, and leaves its future as it was to the last bit.
    pub(crate) fn shoot(&mut self) -> &MjrContext {
        let kept = self.data.state(INTEGRATION);
        // What is drawn follows from the state, and the step before has left what followed from
        // the state before it.
        self.data.forward();
        let Self { data, scene, camera, option, .. } = self;
        // The engine puts the light at the camera where the camera was the time before.
        for _ in 0..2 {
            scene.update(data, option, &MjvPerturb::default(), camera);
        }
        // The lengths agree because the state came from the same data just now.
        self.data.set_state(&kept, INTEGRATION).ok();
        let (_, context) = self.context.as_ref().expect("a picture is prepared before it is drawn");
        self.scene.render(&rectangle(self.size), context);
        context
    }

    /// The colours of the state as it is, row by row from above, three bytes a pixel.
    pub(crate) fn colours(&mut self) -> Result<Vec<u8>, Fault> {
        let size = self.size;
        let mut pixels = vec![0; pixels(size) * 3];
        let context = self.shoot();
        context
            .read_pixels(Some(&mut pixels), None, &rectangle(size))
            .map_err(|error| lost(&error))?;
        turn(&mut pixels, size.0 as usize * 3);
        Ok(pixels)
    }

    /// The depth buffer of the state as it is, row by row from above, and its meaning.
    pub(crate) fn depths(&mut self) -> Result<(Vec<f32>, Lens), Fault> {
        let size = self.size;
        let mut depths = vec![1.0; pixels(size)];
        let context = self.shoot();
        context
            .read_pixels(None, Some(&mut depths), &rectangle(size))
            .map_err(|error| lost(&error))?;
        turn(&mut depths, size.0 as usize);
        let [camera, _] = &self.scene.ffi().camera;
        let (near, far) = (f64::from(camera.frustum_near), f64::from(camera.frustum_far));
        Ok((depths, Lens { near, far, is_orthographic: camera.orthographic != 0 }))
    }

    /// Lets time pass; tells how often the copy was found unstable and started anew.
    pub(crate) fn advance(&mut self, steps: u64) -> u64 {
        let mut resets = 0;
        for _ in 0..steps {
            let before = self.divergences();
            self.data.step();
            resets += u64::from(self.divergences() != before);
        }
        resets
    }

    fn divergences(&self) -> i64 {
        self.data.warning()[DIVERGENCES].iter().map(|warning| i64::from(warning.number)).sum()
    }
}

/// What the numbers in a depth buffer mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lens {
    pub(crate) near: f64,
    pub(crate) far: f64,
    pub(crate) is_orthographic: bool,
}

/// Refuses what the engine or a driver would end the process for.
fn check_size(model: &MjModel) -> Result<(), Fault> {
    let sizes = model.ffi();
    let longest = model.tex_width().iter().chain(model.tex_height()).copied().max().unwrap_or(0);
    let bounds = [
        ("textures of a model that is drawn", sizes.ntex, TEXTURES_MAX),
        ("materials of a model that is drawn", sizes.nmat, TEXTURES_MAX),
        ("bytes of textures of a model that is drawn", sizes.ntexdata, TEXTURE_BYTES_MAX),
        ("pixels of a side of a texture", longest.into(), TEXTURE_PIXELS_MAX.into()),
        ("geoms of a model that is drawn", sizes.ngeom, GEOMS_MAX),
    ];
    for (what, value, max) in bounds {
        if max < value {
            let [value, max] = [value, max].map(i64::cast_unsigned);
            return Err(Fault::LimitExceeded { what: what.to_owned(), value, max });
        }
    }
    Ok(())
}

/// Takes out of the model what it says about the cost of drawing it.
fn tame(model: &mut MjModel) {
    let quality = &mut model.vis_mut().quality;
    for corners in [&mut quality.numslices, &mut quality.numstacks, &mut quality.numquads] {
        *corners = (*corners).clamp(1, CORNERS_MAX);
    }
}

fn rectangle((width, height): (u32, u32)) -> MjrRectangle {
    let (width, height) = signed((width, height));
    MjrRectangle::new(0, 0, width, height)
}

fn signed((width, height): (u32, u32)) -> (i32, i32) {
    (width.cast_signed(), height.cast_signed())
}

fn pixels((width, height): (u32, u32)) -> usize {
    width as usize * height as usize
}

/// OpenGL counts rows from below.
fn turn<T>(pixels: &mut [T], row: usize) {
    let rows = pixels.len() / row;
    let (upper, lower) = pixels.split_at_mut(rows / 2 * row);
    let lower = lower.rchunks_exact_mut(row);
    upper.chunks_exact_mut(row).zip(lower).for_each(|(one, other)| one.swap_with_slice(other));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_turned() {
        let mut even = [1, 1, 2, 2, 3, 3, 4, 4];
        turn(&mut even, 2);
        assert_eq!(even, [4, 4, 3, 3, 2, 2, 1, 1]);
        let mut odd = [1, 2, 3];
        turn(&mut odd, 1);
        assert_eq!(odd, [3, 2, 1]);
    }
}

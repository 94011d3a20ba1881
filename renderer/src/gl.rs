//! The system's OpenGL, without a window: a context on the first device that gives one, which is
//! Mesa's software where there is no graphics card.

use std::num::NonZeroU32;

use glutin::api::egl::context::PossiblyCurrentContext;
use glutin::api::egl::device::Device;
use glutin::api::egl::display::Display;
use glutin::api::egl::surface::Surface;
use glutin::config::{ConfigSurfaceTypes, ConfigTemplateBuilder};
use glutin::context::{ContextApi, ContextAttributesBuilder, GlProfile, Version};
use glutin::prelude::{GlDisplay as _, NotCurrentGlContext as _};
use glutin::surface::{PbufferSurface, SurfaceAttributesBuilder};
use simward_protocol::fault::{Fault, cut};

/// A context that is current on this thread, for the rest of the process's life.
#[derive(Debug)]
pub(crate) struct Gl {
    _context: PossiblyCurrentContext,
    _surface: Surface<PbufferSurface>,
}

/// The engine draws into buffers of its own; this one is only there because a context needs one.
const SURFACE_PIXELS: NonZeroU32 = NonZeroU32::new(16).expect("16 is not 0");

impl Gl {
    /// Makes a context current. Nobody else may have a thread yet.
    pub(crate) fn open() -> Result<Self, Fault> {
        hurry();
        let missing = |detail: String| Fault::NoGraphics { detail: cut(detail) };
        let devices = Device::query_devices()
            .map_err(|error| missing(format!("EGL cannot be used ({error})")))?;
        let mut said = "EGL knows no device".to_owned();
        for device in devices {
            match Self::on(&device) {
                Ok(gl) => return Ok(gl),
                Err(error) => said = format!("EGL has no driver that works ({error})"),
            }
        }
        Err(missing(said))
    }

    #[expect(unsafe_code, reason = "every call of EGL is")]
    fn on(device: &Device) -> glutin::error::Result<Self> {
        // SAFETY: the device is one that EGL has just named.
        let display = unsafe { Display::with_device(device, None)? };
        let wanted = ConfigTemplateBuilder::new()
            .with_surface_type(ConfigSurfaceTypes::PBUFFER)
            .with_alpha_size(0)
            .with_depth_size(24)
            .with_stencil_size(8)
            .build();
        let none = glutin::error::ErrorKind::NotSupported("no configuration for pictures");
        // SAFETY: the template names no window.
        let config = unsafe { display.find_configs(wanted)? }.next().ok_or(none)?;
        // The engine uses functions of OpenGL that newer profiles have not.
        let asked = ContextAttributesBuilder::new()
            .with_profile(GlProfile::Compatibility)
            .with_context_api(ContextApi::OpenGl(Some(Version::new(2, 0))))
            .build(None);
        // SAFETY: the configuration is the display's, and no window is named.
        let context = unsafe { display.create_context(&config, &asked)? };
        let size =
            SurfaceAttributesBuilder::<PbufferSurface>::new().build(SURFACE_PIXELS, SURFACE_PIXELS);
        // SAFETY: the configuration is the display's.
        let surface = unsafe { display.create_pbuffer_surface(&config, &size)? };
        Ok(Self { _context: context.make_current(&surface)?, _surface: surface })
    }
}

/// Has Mesa's software take the code that it makes as it is. The first picture takes half the time,
/// and those that follow take no more: most of the work is in loops that are the same either way.
#[expect(unsafe_code, reason = "the environment is read by other threads without a lock")]
#[expect(clippy::disallowed_methods, reason = "there are no other threads")]
fn hurry() {
    // SAFETY: this process has one thread until the driver is loaded, which is after this.
    unsafe { std::env::set_var("GALLIVM_PERF", "nopt") };
}

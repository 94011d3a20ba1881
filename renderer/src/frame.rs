//! One frame, as a PNG.

use png::{BitDepth, ColorType, Compression, Encoder};
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;
use simward_protocol::render::Drawn;

use crate::serve::{Picture, lost};
use crate::studio::Studio;

/// Draws the state as it is.
pub(crate) fn draw(studio: &mut Studio) -> Result<Picture, Fault> {
    let (width, height) = studio.size();
    let pixels = studio.colours()?;
    let picture = encode((width, height), (ColorType::Rgb, BitDepth::Eight), &pixels)?;
    let times_secs = vec![Real(studio.time_secs())];
    Ok((picture, Drawn { width, height, times_secs, frames: 1, ..Drawn::default() }))
}

/// A PNG of these pixels.
pub(crate) fn encode(
    (width, height): (u32, u32),
    (colour, depth): (ColorType, BitDepth),
    pixels: &[u8],
) -> Result<Vec<u8>, Fault> {
    let mut picture = Vec::new();
    let mut encoder = Encoder::new(&mut picture, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header().map_err(|error| lost(&error))?;
    writer.write_image_data(pixels).map_err(|error| lost(&error))?;
    writer.finish().map_err(|error| lost(&error))?;
    Ok(picture)
}

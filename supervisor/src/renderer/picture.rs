//! A picture that came back: the file is believed, not the words about it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create};
use simward_protocol::render::{
    DEPTH_GRID, Draw, Drawn, Kind, PICTURE_BYTES_MAX, PIXELS_MAX, STRIP_FRAMES_MAX,
};

use super::Error;

/// A picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The file: a PNG or an MP4.
    pub content: Vec<u8>,
    /// What it is.
    pub mime_type: &'static str,
    /// What is in it.
    pub drawn: Drawn,
}

/// An empty memory file for a picture.
pub(super) fn empty() -> io::Result<Arc<OwnedFd>> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(Arc::new(memfd_create("simward-picture", flags)?))
}

/// Reads a picture, which nobody can change any more.
pub(super) fn read(file: &Arc<OwnedFd>, draw: &Draw, drawn: Drawn) -> Result<Picture, Error> {
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(file, seals).map_err(|error| Error::Start(error.into()))?;
    let stat = fstat(file).map_err(|error| Error::Start(error.into()))?;
    let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if bytes != drawn.bytes || PICTURE_BYTES_MAX < bytes || !is_plausible(draw, &drawn) {
        return Err(Error::BrokeProtocol);
    }
    let file = File::from(file.try_clone().map_err(Error::Start)?);
    let mut content = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut content, 0).map_err(Error::Start)?;
    let is_video = matches!(draw.kind, Kind::Video { .. });
    let (is_genuine, mime_type) = if is_video {
        (is_mp4(&content), "video/mp4")
    } else {
        (is_png(&content, &drawn), "image/png")
    };
    if !is_genuine {
        return Err(Error::BrokeProtocol);
    }
    Ok(Picture { content, mime_type, drawn })
}

/// Whether what is said can be said of what was asked, and is short.
fn is_plausible(draw: &Draw, drawn: &Drawn) -> bool {
    let depth = match (&draw.kind, &drawn.depth) {
        (Kind::Depth { points }, Some(depth)) => {
            let (columns, rows) = (DEPTH_GRID.0 as usize, DEPTH_GRID.1 as usize);
            let grid = &depth.grid_metres;
            depth.points_metres.len() == points.len()
                && grid.len() == rows
                && grid.iter().all(|row| row.len() == columns)
        }
        (Kind::Depth { .. }, None) | (_, Some(_)) => false,
        (_, None) => true,
    };
    depth
        && drawn.times_secs.len() <= STRIP_FRAMES_MAX
        && drawn.view.name == draw.camera.name
        && u64::from(drawn.width) * u64::from(drawn.height) <= PIXELS_MAX
}

/// Whether it begins as a PNG of that size.
fn is_png(content: &[u8], drawn: &Drawn) -> bool {
    let size = [drawn.width.to_be_bytes(), drawn.height.to_be_bytes()].concat();
    content.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR") && content.get(16..24) == Some(&size)
}

/// Whether it begins as an MP4.
fn is_mp4(content: &[u8]) -> bool {
    content.get(4..8) == Some(b"ftyp")
}

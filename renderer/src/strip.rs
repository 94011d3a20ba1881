//! Several frames of one motion, side by side in one PNG.

use png::{BitDepth, ColorType};
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;
use simward_protocol::render::{Drawn, STEPS_MAX, STRIP_FRAMES_MAX};

use crate::frame::encode;
use crate::serve::{Picture, Progress};
use crate::studio::Studio;

/// Bytes of a pixel.
const BYTES: usize = 3;

/// Draws the state at these times, in seconds from now.
pub(crate) fn draw(
    studio: &mut Studio,
    times: &[f64],
    progress: &Progress<'_>,
) -> Result<Picture, Fault> {
    let times = &times[..times.len().min(STRIP_FRAMES_MAX)];
    let (width, height) = studio.size();
    let columns = columns(times.len());
    let rows = times.len().div_ceil(columns);
    let row_bytes = width as usize * BYTES;
    let mut pixels = vec![0; columns * row_bytes * rows * height as usize];
    let mut clock = Clock::new(studio);
    let mut drawn = Drawn { frames: times.len() as u64, ..Drawn::default() };
    for (index, secs) in times.iter().enumerate() {
        drawn.auto_resets += clock.advance(studio, *secs)?;
        drawn.times_secs.push(Real(studio.time_secs()));
        let tile = studio.colours()?;
        let (row, column) = (index / columns, index % columns);
        let wide = columns * row_bytes;
        let place = &mut pixels[row * height as usize * wide..];
        for (line, from) in place.chunks_exact_mut(wide).zip(tile.chunks_exact(row_bytes)) {
            line[column * row_bytes..][..row_bytes].copy_from_slice(from);
        }
        progress.tell(index as u64 + 1, times.len() as u64);
    }
    let count = |count: usize| u32::try_from(count).unwrap_or(1);
    (drawn.width, drawn.height) = (width * count(columns), height * count(rows));
    let format = (ColorType::Rgb, BitDepth::Eight);
    Ok((encode((drawn.width, drawn.height), format, &pixels)?, drawn))
}

/// So that a strip is about as wide as it is high.
fn columns(frames: usize) -> usize {
    (1..=frames).find(|columns| frames <= columns * columns).unwrap_or(1)
}

/// Counts steps from one moment on, so that errors of rounding do not add up.
pub(crate) struct Clock {
    timestep_secs: f64,
    steps: u64,
}

impl Clock {
    pub(crate) fn new(studio: &Studio) -> Self {
        Self { timestep_secs: studio.timestep_secs(), steps: 0 }
    }

    /// Steps until so much time has passed since the beginning; tells how often the copy was
    /// started anew.
    pub(crate) fn advance(&mut self, studio: &mut Studio, secs: f64) -> Result<u64, Fault> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the supervisor has bounded it, and what is out of range becomes a bound"
        )]
        let wanted = (secs / self.timestep_secs).round() as u64;
        if STEPS_MAX < wanted {
            let what = "steps of all pictures of one call".to_owned();
            return Err(Fault::LimitExceeded { what, value: wanted, max: STEPS_MAX });
        }
        let steps = wanted.saturating_sub(self.steps);
        self.steps += steps;
        Ok(studio.advance(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_is_about_square() {
        assert_eq!([1, 2, 4, 5, 9, 16].map(columns), [1, 2, 2, 3, 3, 4]);
        assert_eq!(columns(0), 1);
    }
}

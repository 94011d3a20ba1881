//! Distances: a PNG of 16 bits, and what a reader of numbers wants to know of it.

use png::{BitDepth, ColorType};
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;
use simward_protocol::render::{DEPTH_GRID, Depth, Drawn, Nearest, POINTS_MAX};

use crate::frame::encode;
use crate::serve::Picture;
use crate::studio::{Lens, Studio};

/// A millimetre, in which robots' depth cameras count.
const FINEST_METRES: f64 = 0.001;

/// Draws how far away everything is.
pub(crate) fn draw(studio: &mut Studio, points: &[[u32; 2]]) -> Result<Picture, Fault> {
    let (width, height) = studio.size();
    let (buffer, lens) = studio.depths()?;
    let metres: Vec<Option<f64>> = buffer.iter().map(|value| lens.metres(*value)).collect();
    let map = Map { metres: &metres, width: width as usize, height: height as usize };
    let depth = map.describe(points);
    let scale = depth.metres_per_unit.0;
    let units = metres.iter().flat_map(|metres| unit(*metres, scale).to_be_bytes());
    let units: Vec<u8> = units.collect();
    let picture = encode((width, height), (ColorType::Grayscale, BitDepth::Sixteen), &units)?;
    let times_secs = vec![Real(studio.time_secs())];
    let depth = Some(depth);
    Ok((picture, Drawn { width, height, times_secs, frames: 1, depth, ..Drawn::default() }))
}

/// The number that stands for a distance; 0 stands for nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is out of range becomes a bound"
)]
fn unit(metres: Option<f64>, scale: f64) -> u16 {
    metres.map_or(0, |metres| ((metres / scale).round() as u16).max(1))
}

impl Lens {
    /// The distance that a value of the buffer stands for; nothing where nothing is.
    fn metres(self, value: f32) -> Option<f64> {
        let value = f64::from(value);
        if 1.0 <= value {
            return None;
        }
        let Self { near, far, is_orthographic } = self;
        let metres = if is_orthographic {
            near + value * (far - near)
        } else {
            near / (1.0 - value * (1.0 - near / far))
        };
        Some(metres).filter(|metres| metres.is_finite() && 0.0 <= *metres)
    }
}

/// The distances of a picture.
struct Map<'a> {
    metres: &'a [Option<f64>],
    width: usize,
    height: usize,
}

impl Map<'_> {
    fn describe(&self, points: &[[u32; 2]]) -> Depth {
        let there = || self.metres.iter().copied().flatten();
        let farthest = there().reduce(f64::max);
        // The picture holds all of it.
        let coarse = farthest.unwrap_or(0.0) / f64::from(u16::MAX);
        let point = |[x, y]: &[u32; 2]| self.at(*x as usize, *y as usize).map(Real);
        Depth {
            metres_per_unit: Real(coarse.max(FINEST_METRES)),
            nearest: self.nearest(),
            farthest_metres: farthest.map(Real),
            grid_metres: self.grid(),
            points_metres: points.iter().take(POINTS_MAX).map(point).collect(),
        }
    }

    fn at(&self, x: usize, y: usize) -> Option<f64> {
        let index = (x < self.width && y < self.height).then_some(y * self.width + x)?;
        self.metres.get(index).copied().flatten()
    }

    fn nearest(&self) -> Option<Nearest> {
        let there = self.metres.iter().enumerate();
        let there = there.filter_map(|(index, metres)| Some((index, (*metres)?)));
        let (index, metres) = there.min_by(|one, other| one.1.total_cmp(&other.1))?;
        let place = |pixels: usize| u32::try_from(pixels).unwrap_or(0);
        let (x, y) = (place(index % self.width), place(index / self.width));
        Some(Nearest { x, y, metres: Real(metres) })
    }

    fn grid(&self) -> Vec<Vec<Option<Real>>> {
        let (columns, rows) = (DEPTH_GRID.0 as usize, DEPTH_GRID.1 as usize);
        let cell = |column: usize, row: usize| {
            let lines = row * self.height / rows..(row + 1) * self.height / rows;
            let pixels = column * self.width / columns..(column + 1) * self.width / columns;
            let there = lines.flat_map(|y| pixels.clone().filter_map(move |x| self.at(x, y)));
            there.reduce(f64::min).map(Real)
        };
        (0..rows).map(|row| (0..columns).map(|column| cell(column, row)).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_s_ends_are_the_lens_s() {
        let lens = Lens { near: 0.1, far: 50.0, is_orthographic: false };
        assert!((lens.metres(0.0).unwrap() - 0.1).abs() < 1e-9);
        assert!((lens.metres(0.999_999_9).unwrap() - 50.0).abs() < 0.1);
        assert_eq!(lens.metres(1.0), None);
        let lens = Lens { is_orthographic: true, ..lens };
        assert!((lens.metres(0.5).unwrap() - 25.05).abs() < 1e-9);
    }

    #[test]
    fn a_map_is_told_in_numbers() {
        let mut metres = vec![None; 16 * 12];
        metres[16 * 11 + 15] = Some(100.0);
        metres[3] = Some(0.5);
        let map = Map { metres: &metres, width: 16, height: 12 };
        let depth = map.describe(&[[3, 0], [0, 0], [99, 99]]);
        assert_eq!(depth.nearest, Some(Nearest { x: 3, y: 0, metres: Real(0.5) }));
        assert_eq!(depth.farthest_metres, Some(Real(100.0)));
        assert_eq!(depth.grid_metres[0][1], Some(Real(0.5)));
        assert_eq!(depth.grid_metres[5][7], Some(Real(100.0)));
        assert_eq!(depth.grid_metres.iter().flatten().flatten().count(), 2);
        assert_eq!(depth.points_metres, [Some(Real(0.5)), None, None]);
        let scale = depth.metres_per_unit.0;
        assert_eq!(unit(Some(100.0), scale), u16::MAX);
        assert_eq!((unit(None, scale), unit(Some(0.0), scale)), (0, 1));
    }
}

//! The picture itself. Text is set in a font that the program brings along.

use std::sync::Once;

use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::{Curve, Picture};
use crate::recordings::Error;

const FONT: &str = "sans-serif";

/// Colours that are told apart by those who see red and green alike, too (Okabe and Ito), and
/// darker ones of the same after them.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
    RGBColor(148, 72, 20),
];

/// The share of a scale that stays free above and below.
const MARGIN: f64 = 0.05;

/// The least extent of a scale, relative to its numbers: below that, marks fall on the same number.
const EXTENT_MIN: f64 = 1e-9;

/// The longest name in a legend, in characters.
const NAME_CHARS_MAX: usize = 40;

/// Draws curves; those of one unit, which are beside each other, in one panel.
pub(super) fn picture(
    title: &str,
    curves: &[Curve],
    picture: Picture,
    size: (u32, u32),
) -> Result<Vec<u8>, Error> {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        // A font that is broken would show in every picture, and in the tests.
        register_font(FONT, FontStyle::Normal, UBUNTU_LIGHT).ok();
    });
    match picture {
        Picture::Svg => {
            let mut text = String::new();
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            draw(&area, title, curves).map_err(|problem| undrawn("svg", problem))?;
            drop(area);
            Ok(text.into_bytes())
        }
        Picture::Png => {
            let (width, height) = size;
            // At most 12 MB.
            let mut pixels = vec![255; width as usize * height as usize * 3];
            let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
            draw(&area, title, curves).map_err(|problem| undrawn("png", problem))?;
            drop(area);
            png(&pixels, size).map_err(|error| undrawn("png", error.to_string()))
        }
    }
}

fn undrawn(format: &'static str, problem: String) -> Error {
    Error::Unwritable { format, problem }
}

fn png(pixels: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    curves: &[Curve],
) -> Result<(), String> {
    let problem = |error: DrawingAreaErrorKind<B::ErrorType>| error.to_string();
    area.fill(&WHITE).map_err(problem)?;
    let (_, height) = area.dim_in_pixel();
    let title_size = (height / 25).clamp(12, 22);
    let area = area.titled(&short(title), (FONT, title_size)).map_err(problem)?;
    let panels: Vec<&[Curve]> = curves.chunk_by(|one, two| one.unit == two.unit).collect();
    let times =
        scale(curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.0)), 0.0);
    let parts = area.split_evenly((panels.len().max(1), 1));
    for (index, (part, panel)) in parts.iter().zip(&panels).enumerate() {
        let is_last = index + 1 == panels.len();
        draw_panel(part, panel, times.clone(), is_last)?;
    }
    area.present().map_err(problem)
}

fn draw_panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    curves: &[Curve],
    times: std::ops::Range<f64>,
    is_last: bool,
) -> Result<(), String> {
    let problem = |error: DrawingAreaErrorKind<B::ErrorType>| error.to_string();
    let (width, height) = area.dim_in_pixel();
    let text = (width / 55).min(height / 11).clamp(10, 16);
    let ends = curves.iter().filter_map(|curve| curve.range).flat_map(|(low, high)| [low, high]);
    let values = scale(ends, MARGIN);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(text * 5 / 2)
        .y_label_area_size(text * 5)
        .build_cartesian_2d(times, values)
        .map_err(problem)?;
    let unit = curves.first().map_or("", |curve| curve.unit.as_str());
    let names = match curves {
        [curve] => short(&curve.name),
        _ => kinds(curves),
    };
    let label = if unit.is_empty() { names } else { format!("{names} [{unit}]") };
    chart
        .configure_mesh()
        .light_line_style(RGBColor(240, 240, 240))
        .bold_line_style(RGBColor(215, 215, 215))
        .label_style((FONT, text))
        .axis_desc_style((FONT, text))
        .x_desc(if is_last { "time [s]" } else { "" })
        .y_desc(label)
        .x_label_formatter(&|value| number(*value))
        .y_label_formatter(&|value| number(*value))
        .draw()
        .map_err(problem)?;
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let style =
            if index < COLOURS.len() { colour.stroke_width(2) } else { colour.stroke_width(1) };
        let pieces = curve.points.split(|point| point.1.is_none());
        for (number, piece) in pieces.enumerate() {
            let points = piece.iter().filter_map(|(time, value)| Some((*time, (*value)?)));
            let drawn = chart.draw_series(LineSeries::new(points, style)).map_err(problem)?;
            if number == 0 {
                drawn
                    .label(short(&curve.name))
                    .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
            }
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, text))
        .draw()
        .map_err(problem)
}

/// What the curves of a panel are: `qpos`, `qpos, xpos`.
fn kinds(curves: &[Curve]) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for curve in curves {
        let kind = curve.name.split(['.', '[']).next().unwrap_or_default();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join(", ")
}

/// A scale on which all numbers have a place, and which marks can be told apart on.
fn scale(values: impl Iterator<Item = f64>, margin: f64) -> std::ops::Range<f64> {
    let ends = values.fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    });
    let (low, high) = ends.unwrap_or((0.0, 1.0));
    let least = (low.abs().max(high.abs()) * EXTENT_MIN).max(f64::MIN_POSITIVE.sqrt());
    if high - low < least {
        let room = if low == 0.0 { 1.0 } else { low.abs() * 0.5 };
        let middle = low + (high - low) / 2.0;
        return middle - room..middle + room;
    }
    let room = (high - low) * margin;
    low - room..high + room
}

/// A mark's number: short, and never hundreds of digits.
fn number(value: f64) -> String {
    let size = value.abs();
    if size < 1e-12 {
        return "0".to_owned();
    }
    if !(1e-3..1e5).contains(&size) {
        return format!("{value:.3e}").replace(".000e", "e");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn short(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    let begin: String = name.chars().take(NAME_CHARS_MAX - 1).collect();
    format!("{begin}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_room_for_everything_and_for_nothing() {
        assert_eq!(scale([].into_iter(), MARGIN), -0.05..1.05);
        assert_eq!(scale([0.0].into_iter(), MARGIN), -1.0..1.0);
        assert_eq!(scale([2.0, 2.0].into_iter(), MARGIN), 1.0..3.0);
        assert_eq!(scale([0.0, 10.0].into_iter(), 0.0), 0.0..10.0);
        // Marks between two neighbours would never come to an end.
        let close = scale([1e10, 1e10 + 1e-6].into_iter(), 0.0);
        assert!(1e9 < close.end - close.start);
    }

    #[test]
    fn marks_are_short() {
        let marks = [0.0, 0.25, -3.0, 1e300, 1.5e-7].map(number);
        assert_eq!(marks, ["0", "0.25", "-3", "1e300", "1.500e-7"]);
    }

    #[test]
    fn a_picture_is_drawn_of_whatever_there_is() {
        let curve = |points: Vec<(f64, Option<f64>)>, range| Curve {
            column: 0,
            name: "qpos.elbow<&>".into(),
            unit: "rad".into(),
            points,
            range,
        };
        let curves = [
            curve(vec![], None),
            curve(vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(1e149))], Some((1.0, 1e149))),
        ];
        for format in [Picture::Png, Picture::Svg] {
            let bytes = picture("title", &curves, format, (200, 150)).unwrap();
            match format {
                Picture::Png => assert!(bytes.starts_with(b"\x89PNG")),
                Picture::Svg => {
                    assert!(String::from_utf8(bytes).unwrap().contains("&lt;&amp;&gt;"));
                }
            }
        }
    }
}

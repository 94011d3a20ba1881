//! Drawing a recording: lines over time, those of one unit in one panel.
//!
//! Rows are gathered into as many pieces as the picture is wide, and of each the smallest and the
//! largest value are drawn: nothing that stands out is left out, and memory does not grow with the
//! recording.

mod draw;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use simward_protocol::real::Real;

use super::reading::{Reading, Row, blocking, open};
use super::{Error, rows_of};
use crate::session::Session;

/// Pictures that can be asked for, in pixels.
const WIDTH: std::ops::RangeInclusive<u32> = 200..=2000;
const HEIGHT: std::ops::RangeInclusive<u32> = 150..=2000;

/// Lines of one picture, and panels.
const LINES_MAX: usize = 16;
const PANELS_MAX: usize = 4;

/// What is larger is not drawn: a picture's scale cannot show it beside anything else.
const DRAWN_MAX: f64 = 1e150;

/// A form of picture.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Picture {
    /// Pixels.
    #[default]
    Png,
    /// Lines, as text.
    Svg,
}

/// What to draw.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// Columns or series by name; without any, as many as there is room for.
    pub columns: Vec<String>,
    /// The form.
    pub picture: Picture,
    /// Its size, in pixels.
    pub size: (u32, u32),
    /// The first row, and how many.
    pub rows: (Option<u64>, Option<u64>),
}

/// What was drawn.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Plotted {
    /// The recording.
    pub recording_id: String,
    /// The form.
    pub format: Picture,
    /// Rows that it shows.
    pub rows: u64,
    /// The lines.
    pub lines: Vec<Line>,
    /// Columns that there was no room for.
    pub columns_cut: u64,
}

/// One line of a picture.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Line {
    /// The column.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its smallest value.
    pub min: Real,
    /// Its largest value.
    pub max: Real,
}

/// A line's points: times and values, with gaps where a value is none or is out of all scales.
struct Curve {
    column: usize,
    name: String,
    unit: String,
    points: Vec<(f64, Option<f64>)>,
    range: Option<(f64, f64)>,
}

/// Draws a recording; the picture is a PNG's bytes or an SVG's text.
pub async fn plot(
    session: &Session,
    id: &str,
    drawing: Drawing,
) -> Result<(Plotted, Vec<u8>), Error> {
    check("width", drawing.size.0, &WIDTH)?;
    check("height", drawing.size.1, &HEIGHT)?;
    let reading = open(session, id).await?;
    let rows = rows_of(reading.head.rows, drawing.rows.0, drawing.rows.1)?;
    if rows.is_empty() {
        let problem = "has no rows yet: step the simulation first".to_owned();
        return Err(Error::Argument { field: "recording_id", problem });
    }
    blocking(move || draw_rows(&reading, rows, &drawing)).await
}

fn check(
    field: &'static str,
    value: u32,
    range: &std::ops::RangeInclusive<u32>,
) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    let problem = format!("must lie between {} and {}, and is {value}", range.start(), range.end());
    Err(Error::Argument { field, problem })
}

fn draw_rows(
    reading: &Reading,
    rows: Range<u64>,
    drawing: &Drawing,
) -> Result<(Plotted, Vec<u8>), Error> {
    let (columns, columns_cut) = choose(reading, &drawing.columns)?;
    let (panels, columns_cut) = panels(reading, &columns, columns_cut, drawing)?;
    let mut curves: Vec<Curve> = panels.into_iter().flatten().collect();
    gather(reading, rows.clone(), drawing.size.0, &mut curves)?;
    let title = format!("{} · {}", reading.kept.model_id, reading.kept.id);
    let bytes = draw::picture(&title, &curves, drawing.picture, drawing.size)?;
    let line = |curve: Curve| {
        let (min, max) = curve.range.unwrap_or((f64::NAN, f64::NAN));
        Line { name: curve.name, unit: curve.unit, min: Real(min), max: Real(max) }
    };
    let plotted = Plotted {
        recording_id: reading.kept.id.clone(),
        format: drawing.picture,
        rows: rows.end - rows.start,
        lines: curves.into_iter().map(line).collect(),
        columns_cut,
    };
    Ok((plotted, bytes))
}

/// The columns that are meant, by their places; and how many there is no room for.
fn choose(reading: &Reading, names: &[String]) -> Result<(Vec<usize>, u64), Error> {
    let layout = &reading.head.layout;
    let width = layout.width();
    if names.is_empty() {
        let cut = width.saturating_sub(LINES_MAX) as u64;
        return Ok(((0..width.min(LINES_MAX)).collect(), cut));
    }
    let mut chosen = Vec::new();
    for name in names {
        let mut begin = 0;
        let before = chosen.len();
        for series in &layout.series {
            for (offset, column) in series.columns.iter().enumerate() {
                if series.name == *name || column.name == *name {
                    chosen.push(begin + offset);
                }
            }
            begin += series.columns.len();
        }
        if chosen.len() == before {
            return Err(unknown_column(reading, name));
        }
        if LINES_MAX < chosen.len() {
            let problem = format!("mean more than {LINES_MAX} lines: name fewer of them");
            return Err(Error::Argument { field: "columns", problem });
        }
    }
    Ok((chosen, 0))
}

fn unknown_column(reading: &Reading, name: &str) -> Error {
    let layout = &reading.head.layout;
    let series = layout.series.iter().map(|series| series.name.as_str());
    let columns = layout.columns().map(|column| column.name.as_str());
    let name: String = name.chars().take(200).collect();
    let nearest = series.chain(columns).max_by(|one, two| {
        strsim::jaro_winkler(one, &name).total_cmp(&strsim::jaro_winkler(two, &name))
    });
    let nearest = format!("`{}`", nearest.unwrap_or_default());
    Error::ColumnUnknown { name, nearest }
}

/// The curves by unit: those of one unit share a panel.
fn panels(
    reading: &Reading,
    columns: &[usize],
    mut cut: u64,
    drawing: &Drawing,
) -> Result<(Vec<Vec<Curve>>, u64), Error> {
    let all: Vec<_> = reading.head.layout.columns().collect();
    let mut panels: Vec<Vec<Curve>> = Vec::new();
    for place in columns {
        let Some(column) = all.get(*place) else { continue };
        let curve = Curve {
            column: *place,
            name: column.name.clone(),
            unit: column.unit.clone(),
            points: Vec::new(),
            range: None,
        };
        let panel = panels.iter_mut().find(|panel| panel.iter().all(|it| it.unit == curve.unit));
        if let Some(panel) = panel {
            panel.push(curve);
        } else if panels.len() < PANELS_MAX {
            panels.push(vec![curve]);
        } else if drawing.columns.is_empty() {
            cut += 1;
        } else {
            let problem =
                format!("have more than {PANELS_MAX} different units: name fewer of them");
            return Err(Error::Argument { field: "columns", problem });
        }
    }
    Ok((panels, cut))
}

/// Reads the curves' points.
fn gather(
    reading: &Reading,
    rows: Range<u64>,
    width: u32,
    curves: &mut [Curve],
) -> Result<(), Error> {
    let per_piece = (rows.end - rows.start).div_ceil(width.into()).max(1);
    let mut pieces = vec![Piece::default(); curves.len()];
    let mut index = 0;
    reading.each(rows, |row| {
        for (curve, piece) in curves.iter_mut().zip(&mut pieces) {
            piece.add(&row, curve.column);
            if (index + 1) % per_piece == 0 {
                curve.take(std::mem::take(piece));
            }
        }
        index += 1;
        Ok(())
    })?;
    for (curve, piece) in curves.iter_mut().zip(pieces) {
        curve.take(piece);
    }
    Ok(())
}

/// Some rows of one column: where the smallest and the largest value are, in the order of rows.
#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    low: Option<(f64, f64)>,
    high: Option<(f64, f64)>,
    /// The time of a row without a value to be drawn.
    gap: Option<f64>,
}

impl Piece {
    fn add(&mut self, row: &Row<'_>, column: usize) {
        let (time, value) = (row.time_secs, row.value(column));
        if !time.is_finite() || DRAWN_MAX < time.abs() {
            return;
        }
        if !value.is_finite() || DRAWN_MAX < value.abs() {
            self.gap = Some(time);
            return;
        }
        if self.low.is_none_or(|(_, low)| value < low) {
            self.low = Some((time, value));
        }
        if self.high.is_none_or(|(_, high)| high < value) {
            self.high = Some((time, value));
        }
    }
}

impl Curve {
    fn take(&mut self, piece: Piece) {
        if let (Some(low), Some(high)) = (piece.low, piece.high) {
            let range = self.range.get_or_insert((low.1, high.1));
            *range = (range.0.min(low.1), range.1.max(high.1));
            let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
            self.points.push((first.0, Some(first.1)));
            if first != second {
                self.points.push((second.0, Some(second.1)));
            }
        }
        if let Some(time) = piece.gap {
            self.points.push((time, None));
        }
    }
}

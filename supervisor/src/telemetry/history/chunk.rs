//! How points lie in the file: a row of everything for a moment, columns of a subject for a stretch.

use std::collections::BTreeMap;

use pco::ChunkConfig;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress};
use serde::{Deserialize, Serialize};

use super::{Points, Wants};
use crate::durations::Durations;
use crate::telemetry::metric::{Id, METRICS, Metric};
use crate::telemetry::series::{Point, Summary};

/// How hard to compress: more takes much longer and gives little.
const LEVEL: usize = 4;

/// A point of one subject in a row of everything. Metrics are told of by name, so that a file
/// outlives changes of the list.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) subject: i64,
    gauges: Vec<(u16, f32, f32, f64, u32)>,
    histograms: Vec<(u16, Durations)>,
}

/// The numbers that metrics have in the file.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: BTreeMap<u16, Id>,
    numbers: BTreeMap<Id, u16>,
}

impl Names {
    /// Of metrics that there no longer are nothing is known.
    pub(super) fn new(names: Vec<(u16, String)>) -> Self {
        let id = |(number, name): (u16, String)| Some((number, Metric::named(&name)?.id));
        let ids: BTreeMap<u16, Id> = names.into_iter().filter_map(id).collect();
        let numbers = ids.iter().map(|(number, id)| (*id, *number)).collect();
        Self { ids, numbers }
    }

    pub(super) fn number(&self, id: Id) -> Option<u16> {
        self.numbers.get(&id).copied()
    }

    /// The metric of that number, if there still is such a one.
    fn id(&self, number: u16) -> Option<Id> {
        self.ids.get(&number).copied()
    }
}

impl Cell {
    pub(super) fn new(subject: i64, point: &Point, names: &Names) -> Self {
        let gauges = point.gauges.iter().filter_map(|(id, of)| {
            let Summary { min, max, sum, count } = *of;
            Some((names.number(*id)?, min, max, sum, count))
        });
        let histograms =
            point.histograms.iter().filter_map(|(id, of)| Some((names.number(*id)?, of.clone())));
        Self { subject, gauges: gauges.collect(), histograms: histograms.collect() }
    }

    /// What is wanted of it.
    pub(super) fn point(&self, names: &Names, wants: Wants<'_>) -> Point {
        let gauges = self.gauges.iter().filter_map(|(number, min, max, sum, count)| {
            let summary = Summary { min: *min, max: *max, sum: *sum, count: *count };
            names.id(*number).filter(|id| id.is_gauge() && wants(*id)).map(|id| (id, summary))
        });
        let histograms = self.histograms.iter().filter_map(|(number, of)| {
            let id = names.id(*number).filter(|id| !id.is_gauge() && wants(*id));
            id.map(|id| (id, of.clone()))
        });
        Point { gauges: gauges.collect(), histograms: histograms.collect() }
    }
}

/// The points of one subject: its gauges, after which its histograms lie.
#[derive(Debug, Serialize, Deserialize)]
struct Gauges<C> {
    /// When each begins, in steps after the chunk's own beginning.
    times: Vec<u16>,
    columns: Vec<C>,
}

/// A histogram's number, and its durations by the place of their time.
type Histogram = (u16, Vec<(u16, Durations)>);

/// A gauge's values, for each time. Where it had none, the count is 0.
#[derive(Debug, Serialize)]
struct Column {
    metric: u16,
    min: Vec<u8>,
    max: Vec<u8>,
    sum: Vec<u8>,
    count: Vec<u8>,
}

/// The same where it lies.
#[derive(Debug, Deserialize)]
struct Lying<'a> {
    metric: u16,
    min: &'a [u8],
    max: &'a [u8],
    sum: &'a [u8],
    count: &'a [u8],
}

/// Lays points into columns, for a chunk that begins then.
pub(super) fn pack(
    begin_secs: i64,
    step_secs: i64,
    points: &Points,
    names: &Names,
) -> Result<Vec<u8>, String> {
    let time = |at: i64| u16::try_from((at - begin_secs) / step_secs).map_err(text);
    let times = points.iter().map(|(at, _)| time(*at)).collect::<Result<Vec<u16>, _>>()?;
    let mut ids: Vec<Id> = points
        .iter()
        .flat_map(|(_, point)| {
            let gauges = point.gauges.iter().map(|(id, _)| *id);
            gauges.chain(point.histograms.iter().map(|(id, _)| *id))
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let (mut columns, mut histograms) = (Vec::new(), Vec::<Histogram>::new());
    for id in ids {
        let Some(metric) = names.number(id) else { continue };
        if id.is_gauge() {
            let of = |point: &Point| {
                let own = point.gauges.iter().find(|(own, _)| *own == id);
                own.map(|(_, summary)| *summary).unwrap_or_default()
            };
            let values: Vec<Summary> = points.iter().map(|(_, point)| of(point)).collect();
            columns.push(Column {
                metric,
                min: compress(values.iter().map(|value| value.min))?,
                max: compress(values.iter().map(|value| value.max))?,
                sum: compress(values.iter().map(|value| value.sum))?,
                count: compress(values.iter().map(|value| value.count))?,
            });
        } else {
            let of = |(place, (_, point)): (u16, &(i64, Point))| {
                let own = point.histograms.iter().find(|(own, _)| *own == id);
                own.map(|(_, durations)| (place, durations.clone()))
            };
            histograms.push((metric, (0_u16..).zip(points).filter_map(of).collect()));
        }
    }
    postcard::to_stdvec(&(Gauges { times, columns }, histograms)).map_err(text)
}

/// Reads them again, as far as they are wanted.
pub(super) fn unpack(
    begin_secs: i64,
    step_secs: i64,
    bytes: &[u8],
    names: &Names,
    wants: Wants<'_>,
) -> Result<Points, String> {
    let (chunk, histograms): (Gauges<Lying<'_>>, _) =
        postcard::take_from_bytes(bytes).map_err(text)?;
    let wanted = |number: u16| names.id(number).filter(|id| wants(*id));
    let at = |steps: &u16| begin_secs + i64::from(*steps) * step_secs;
    let is_wanted = |column: &&Lying<'_>| wanted(column.metric).is_some();
    let width = chunk.columns.iter().filter(is_wanted).count();
    let point = || Point { gauges: Vec::with_capacity(width), histograms: Vec::new() };
    let mut points: Points = chunk.times.iter().map(|at_| (at(at_), point())).collect();
    for column in &chunk.columns {
        let Some(id) = wanted(column.metric).filter(|id| id.is_gauge()) else { continue };
        let (min, max) = (decompress::<f32>(column.min)?, decompress::<f32>(column.max)?);
        let (sum, count) = (decompress::<f64>(column.sum)?, decompress::<u32>(column.count)?);
        let values = min.into_iter().zip(max).zip(sum.into_iter().zip(count));
        for ((_, point), ((min, max), (sum, count))) in points.iter_mut().zip(values) {
            if count != 0 {
                point.gauges.push((id, Summary { min, max, sum, count }));
            }
        }
    }
    // They take much longer to read than gauges.
    if !METRICS.iter().any(|metric| !metric.id.is_gauge() && wants(metric.id)) {
        return Ok(points);
    }
    let histograms: Vec<Histogram> = postcard::from_bytes(histograms).map_err(text)?;
    for (metric, values) in histograms {
        let Some(id) = wanted(metric).filter(|id| !id.is_gauge()) else { continue };
        for (place, durations) in values {
            if let Some((_, point)) = points.get_mut(usize::from(place)) {
                point.histograms.push((id, durations));
            }
        }
    }
    Ok(points)
}

fn compress<T: Number>(values: impl Iterator<Item = T>) -> Result<Vec<u8>, String> {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    simple_compress(&values.collect::<Vec<T>>(), &config).map_err(text)
}

fn decompress<T: Number>(bytes: &[u8]) -> Result<Vec<T>, String> {
    simple_decompress(bytes).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

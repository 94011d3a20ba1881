//! How points lie in the file: a row of everything for a moment, columns of a subject for a stretch.

use std::collections::BTreeMap;

use pco::ChunkConfig;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};
use serde::{Deserialize, Serialize};

use super::columns::Columns;
use super::{Range, Wants};
use crate::durations::Durations;
use crate::telemetry::metric::{Id, Metric};
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
            let id = names.id(*number).filter(|id| id.is_gauge() && wants.has(*id));
            id.map(|id| (id, summary))
        });
        let histograms = self.histograms.iter().filter_map(|(number, of)| {
            let id = names.id(*number).filter(|id| !id.is_gauge() && wants.has(*id));
            id.map(|id| (id, of.clone()))
        });
        Point { gauges: gauges.collect(), histograms: histograms.collect() }
    }
}

/// When a chunk begins, and how long its steps are; in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) begin_secs: i64,
    pub(super) step_secs: i64,
}

impl Clock {
    fn steps(self, at: i64) -> Result<u16, String> {
        u16::try_from((at - self.begin_secs) / self.step_secs).map_err(text)
    }

    fn at(self, steps: u16) -> i64 {
        self.begin_secs + i64::from(steps) * self.step_secs
    }
}

/// A chunk: gauges, and histograms apart from them, which take longer to read.
#[derive(Debug)]
pub(super) struct Chunk<B> {
    pub(super) gauges: B,
    pub(super) histograms: B,
}

/// All gauges of a subject.
#[derive(Debug, Serialize, Deserialize)]
struct Gauges<B, G> {
    /// How many times there are, and when, in steps after the chunk's own beginning.
    len: u16,
    times: B,
    columns: Vec<G>,
}

/// A gauge's values, for each time. Where it had none, the count is 0.
#[derive(Debug, Serialize)]
struct Gauge {
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

/// A histogram's number, and its durations by when there are some, in steps.
type Histogram = (u16, Vec<(u16, Durations)>);

/// Packs those columns that are wanted into a chunk that begins then. It tells of all times.
pub(super) fn pack(
    clock: Clock,
    all: &Columns,
    names: &Names,
    wants: Wants<'_>,
) -> Result<Chunk<Vec<u8>>, String> {
    let at = all.times();
    let len = u16::try_from(at.len()).map_err(text)?;
    let times = at.iter().map(|at| clock.steps(*at)).collect::<Result<Vec<u16>, _>>()?;
    let times = compress(times.into_iter())?;
    let mut columns = Vec::new();
    for (id, column) in all.gauges().filter(|(id, _)| wants.has(*id)) {
        let Some(metric) = names.number(id) else { continue };
        let values = filled(&at, column);
        columns.push(Gauge {
            metric,
            min: compress(values.iter().map(|value| value.min))?,
            max: compress(values.iter().map(|value| value.max))?,
            sum: compress(values.iter().map(|value| value.sum))?,
            count: compress(values.iter().map(|value| value.count))?,
        });
    }
    let mut histograms = Vec::<Histogram>::new();
    for (id, column) in all.histograms().filter(|(id, _)| wants.has(*id)) {
        let Some(metric) = names.number(id) else { continue };
        let timed = column.iter().map(|(at, of)| Ok((clock.steps(*at)?, of.clone())));
        histograms.push((metric, timed.collect::<Result<_, String>>()?));
    }
    Ok(Chunk {
        gauges: postcard::to_stdvec(&Gauges { len, times, columns }).map_err(text)?,
        histograms: postcard::to_stdvec(&histograms).map_err(text)?,
    })
}

/// A value for each time.
fn filled(times: &[i64], column: &[(i64, Summary)]) -> Vec<Summary> {
    let mut rest = column.iter().peekable();
    let value = |at: &i64| rest.next_if(|(own, _)| own == at).map(|(_, value)| *value);
    times.iter().map(value).map(Option::unwrap_or_default).collect()
}

/// Reads what is wanted of gauges, and begins in a stretch of time.
pub(super) fn unpack_gauges(
    clock: Clock,
    bytes: &[u8],
    names: &Names,
    (range, wants): (&Range, Wants<'_>),
    into: &mut Columns,
) -> Result<(), String> {
    let chunk: Gauges<&[u8], Lying<'_>> = postcard::from_bytes(bytes).map_err(text)?;
    let mut times = vec![0_u16; chunk.len.into()];
    decompress(chunk.times, &mut times)?;
    let times: Vec<i64> = times.into_iter().map(|steps| clock.at(steps)).collect();
    let mut values = Values::new(times.len());
    for column in &chunk.columns {
        let Some(id) = names.id(column.metric).filter(|id| id.is_gauge() && wants.has(*id)) else {
            continue;
        };
        let timed = times.iter().copied().zip(values.read(column, wants.with_ends)?);
        let is_meant = |(at, of): &(i64, Summary)| of.count != 0 && range.contains(at);
        into.gauge_mut(id).extend(timed.filter(is_meant));
    }
    times.into_iter().filter(|at| range.contains(at)).for_each(|at| into.note(at));
    Ok(())
}

/// Reads what is wanted of histograms, and begins in a stretch of time.
pub(super) fn unpack_histograms(
    clock: Clock,
    bytes: &[u8],
    names: &Names,
    (range, wants): (&Range, Wants<'_>),
    into: &mut Columns,
) -> Result<(), String> {
    let histograms: Vec<Histogram> = postcard::from_bytes(bytes).map_err(text)?;
    for (metric, values) in histograms {
        let Some(id) = names.id(metric).filter(|id| !id.is_gauge() && wants.has(*id)) else {
            continue;
        };
        let timed = values.into_iter().map(|(steps, of)| (clock.at(steps), of));
        into.histogram_mut(id).extend(timed.filter(|(at, _)| range.contains(at)));
    }
    Ok(())
}

/// Room for the values of one gauge after the other.
struct Values {
    min: Vec<f32>,
    max: Vec<f32>,
    sum: Vec<f64>,
    count: Vec<u32>,
}

impl Values {
    fn new(len: usize) -> Self {
        let Summary { min, max, .. } = Summary::default();
        Self { min: vec![min; len], max: vec![max; len], sum: vec![0.0; len], count: vec![0; len] }
    }

    fn read(
        &mut self,
        column: &Lying<'_>,
        with_ends: bool,
    ) -> Result<impl Iterator<Item = Summary>, String> {
        if with_ends {
            decompress(column.min, &mut self.min)?;
            decompress(column.max, &mut self.max)?;
        }
        decompress(column.sum, &mut self.sum)?;
        decompress(column.count, &mut self.count)?;
        let ends = self.min.iter().zip(&self.max);
        let values = ends.zip(self.sum.iter().zip(&self.count));
        let summary = |((min, max), (sum, count)): ((&f32, &f32), (&f64, &u32))| Summary {
            min: *min,
            max: *max,
            sum: *sum,
            count: *count,
        };
        Ok(values.map(summary))
    }
}

fn compress<T: Number>(values: impl Iterator<Item = T>) -> Result<Vec<u8>, String> {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    simple_compress(&values.collect::<Vec<T>>(), &config).map_err(text)
}

fn decompress<T: Number>(bytes: &[u8], into: &mut [T]) -> Result<(), String> {
    let progress = simple_decompress_into(bytes, into).map_err(text)?;
    let is_whole = progress.finished && progress.n_processed == into.len();
    is_whole.then_some(()).ok_or_else(|| "a column has another length".to_owned())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

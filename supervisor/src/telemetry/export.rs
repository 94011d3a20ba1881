//! The kept past as a table, for programs that read tables: a row for each metric of each subject in
//! each stretch of time.
//!
//! What is in memory is the columns of some subjects at a time.

mod columnar;
mod text;

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::history::{self, Archive, Columns, Range, Tier, Wants};
use super::metric::{Id, Metric, Scope, Unit};
use super::series::{Subject, Summary};
use crate::durations::Durations;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text: a line of names, then a line for each row.
    Csv,
    /// Text: a list with an object for each row.
    Json,
    /// Apache Parquet.
    Parquet,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of what.
    pub scope: Scope,
    /// Of which one; all of them, if it is not said.
    pub name: Option<String>,
    /// What; everything, if nothing is said.
    pub metrics: Vec<&'static Metric>,
    /// Minutes or hours.
    pub tier: Tier,
    /// Of when.
    pub range: Range,
}

/// One metric of one subject in one stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// When it begins, in seconds since 1970.
    pub begin_secs: i64,
    /// How long it is.
    pub step_secs: i64,
    /// Of what.
    pub scope: Scope,
    /// Whose tenant's; empty if it is nobody's.
    pub tenant: String,
    /// Of which one; empty if there is one.
    pub name: String,
    /// What.
    pub metric: String,
    /// In what.
    pub unit: Unit,
    /// How many values there were.
    pub count: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// The least of them.
    pub min: Option<f64>,
    /// The most of them.
    pub max: Option<f64>,
    /// What half of them do not exceed; of durations alone.
    pub p50: Option<f64>,
    /// What 95 % of them do not exceed.
    pub p95: Option<f64>,
    /// What 99 % of them do not exceed.
    pub p99: Option<f64>,
}

/// Something that does not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The past cannot be read.
    #[error(transparent)]
    History(#[from] history::Error),
    /// The table cannot be written.
    #[error("the table could not be written")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn unwritable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Write(Box::new(error))
}

/// Takes rows.
trait Table {
    fn put(&mut self, rows: &[Row]) -> Result<(), Error>;
    fn end(self: Box<Self>) -> Result<(), Error>;
}

/// Subjects that are read at a time: what waits to be laid into columns is read once for all of them.
const AT_A_TIME: usize = 64;

/// Writes what is wanted; tells how many rows there are.
pub fn export(
    archive: &Archive,
    question: &Question,
    format: Format,
    into: impl Write + Send,
) -> Result<u64, Error> {
    let mut table: Box<dyn Table + '_> = match format {
        Format::Csv => Box::new(text::Csv::new(into)?),
        Format::Json => Box::new(text::Json::new(into)),
        Format::Parquet => Box::new(columnar::Parquet::new(into)?),
    };
    let Question { scope, name, metrics, tier, range } = question;
    let mut count = 0;
    let wants = |id: Id| metrics.is_empty() || metrics.iter().any(|metric| metric.id == id);
    let is_meant = |subject: &Subject| name.as_deref().is_none_or(|name| name == subject.name());
    let subjects = archive.subjects(*scope, range)?;
    let subjects: Vec<&Subject> = subjects.iter().filter(|subject| is_meant(subject)).collect();
    for some in subjects.chunks(AT_A_TIME) {
        let mut all = archive.columns(some, *tier, range, Wants::of(&wants))?;
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (subject, columns) in all {
            let rows = rows(&subject, tier.step_secs(), &columns);
            count += rows.len() as u64;
            table.put(&rows)?;
        }
    }
    table.end()?;
    Ok(count)
}

/// A row for each value, by time.
fn rows(subject: &Subject, step_secs: i64, columns: &Columns) -> Vec<Row> {
    let empty = |id: Id, begin_secs: i64| Row {
        begin_secs,
        step_secs,
        scope: subject.scope(),
        tenant: subject.owner().map(ToString::to_string).unwrap_or_default(),
        name: subject.name().to_owned(),
        metric: id.metric().name.to_owned(),
        unit: id.metric().unit,
        count: 0,
        mean: None,
        min: None,
        max: None,
        p50: None,
        p95: None,
        p99: None,
    };
    let gauge = |id: Id, at: i64, of: &Summary| {
        let (min, max) = (Some(of.min.into()), Some(of.max.into()));
        Row { count: of.count.into(), mean: of.mean(), min, max, ..empty(id, at) }
    };
    let histogram = |id: Id, at: i64, of: &Durations| {
        let [min, p50, p95, p99, max] = [0.0, 0.5, 0.95, 0.99, 1.0].map(|it| of.percentile(it));
        Row { count: of.count(), mean: of.mean(), min, max, p50, p95, p99, ..empty(id, at) }
    };
    let mut rows = Vec::new();
    for (id, column) in columns.gauges() {
        rows.extend(column.iter().map(|(at, of)| gauge(id, *at, of)));
    }
    for (id, column) in columns.histograms() {
        rows.extend(column.iter().map(|(at, of)| histogram(id, *at, of)));
    }
    rows.sort_by_key(|row| row.begin_secs);
    rows
}

#[cfg(test)]
mod tests;

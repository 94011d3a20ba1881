//! What is answered: columns, those that say most.

use serde::{Deserialize, Serialize};

use super::gather::Bin;
use super::{Aggregate, Sight};
use crate::durations::Durations;
use crate::telemetry::metric::{Id, Metric, Unit};
use crate::telemetry::series::Subject;

/// What is answered: columns of the same length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Frame {
    /// When the first value's stretch of time begins, in seconds since 1970.
    pub from_secs: i64,
    /// How long the stretch of time of a value is.
    pub step_secs: i64,
    /// What was made of the values in it.
    pub aggregate: Aggregate,
    /// The columns.
    pub columns: Vec<Column>,
    /// Columns that were left out: those with the least values, or of more subjects than are looked
    /// at.
    pub columns_cut: usize,
}

/// One metric of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Column {
    /// What.
    pub metric: String,
    /// In what.
    pub unit: Unit,
    /// Whose tenant's, if the answer is of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Of which one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The values; null where there are none.
    pub values: Vec<Option<f64>>,
    /// The share of the time of which there are values.
    pub coverage_ratio: f64,
}

/// The columns with the largest values, which say most.
pub(super) struct Kept {
    columns: Vec<(f64, Column)>,
    max: usize,
    cut: usize,
}

impl Kept {
    pub(super) fn new(max: usize) -> Self {
        Self { columns: Vec::new(), max, cut: 0 }
    }

    pub(super) fn add(&mut self, column: Column) {
        let largest = |most: f64, value: &f64| most.max(value.abs());
        let weight = column.values.iter().flatten().fold(0.0, largest);
        self.columns.push((weight, column));
        // Not after each, which would sort all the time.
        if self.max.saturating_mul(2) < self.columns.len() {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let Some(more) = self.columns.len().checked_sub(self.max).filter(|more| *more != 0) else {
            return;
        };
        self.columns.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        self.columns.truncate(self.max);
        self.cut += more;
    }

    pub(super) fn end(mut self) -> (Vec<Column>, usize) {
        self.cut();
        (self.columns.into_iter().map(|(_, column)| column).collect(), self.cut)
    }
}

/// A column, unless there is nothing in it.
pub(super) fn column(
    metric: &Metric,
    subject: &Subject,
    sight: &Sight,
    bins: &[Bin],
    aggregate: Aggregate,
) -> Option<Column> {
    let values: Vec<Option<f64>> =
        bins.iter().map(|bin| bin.value(metric, aggregate).map(rounded)).collect();
    let filled = values.iter().flatten().count();
    if filled == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let coverage_ratio = rounded(filled as f64 / values.len() as f64);
    let tenant = subject.owner().filter(|_| *sight == Sight::All).map(ToString::to_string);
    Some(Column {
        metric: metric.name.to_owned(),
        unit: match metric.id {
            Id::BytesIn | Id::BytesOut if aggregate == Aggregate::Total => Unit::Bytes,
            _ if aggregate == Aggregate::Total => Unit::Count,
            _ => metric.unit,
        },
        tenant,
        name: subject.name().to_owned(),
        values,
        coverage_ratio,
    })
}

impl Bin {
    /// What is made of the values of a stretch of time.
    pub(super) fn value(&self, metric: &Metric, aggregate: Aggregate) -> Option<f64> {
        if metric.is_gauge() {
            let summary = self.summary;
            let mean = summary.mean()?;
            return Some(match aggregate {
                Aggregate::Min => f64::from(summary.min),
                Aggregate::Max => f64::from(summary.max),
                // There is a value a second, or less often of longer.
                Aggregate::Total if metric.unit == Unit::PerSecond => summary.sum,
                _ => mean,
            });
        }
        let durations: &Durations = &self.durations;
        #[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
        let count = durations.count() as f64;
        match aggregate {
            Aggregate::Mean => durations.mean(),
            Aggregate::Min => durations.percentile(0.0),
            Aggregate::Max => durations.percentile(1.0),
            Aggregate::P50 => durations.percentile(0.5),
            Aggregate::P95 => durations.percentile(0.95),
            Aggregate::P99 => durations.percentile(0.99),
            Aggregate::Total => (count != 0.0).then_some(count),
        }
    }
}

/// To four digits: more are noise, and cost whoever reads them.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    #[expect(clippy::cast_possible_truncation, reason = "an exponent")]
    let digits = 3 - value.abs().log10().floor() as i32;
    // What is nearly nothing, or nearly everything, has no room for a factor.
    if !(-290..=290).contains(&digits) {
        return value;
    }
    let scale = 10.0_f64.powi(digits);
    (value * scale).round() / scale
}

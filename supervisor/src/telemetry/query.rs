//! The one way in which series are read: what, of whom, of when, how coarsely, and which share of it.
//!
//! Whose series somebody may see is decided here, once. What is newer than an hour comes from
//! memory, what is older from the history; a stretch of time that has no values has none in the
//! answer, and the answer says how much of it has.

mod frame;
mod gather;
mod recent;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use self::frame::{Column, Frame, rounded};
use self::frame::{Kept, column};
use self::gather::Grid;
pub use self::recent::{Lately, Recent};
use super::history::{self, Tier};
use super::measured::Measured;
use super::metric::{Metric, Scope, Unit};
use super::series::Subject;
use crate::code::Code;
use crate::tenants::Tenant;

/// What is made of the values of a stretch of time.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Their mean.
    #[default]
    Mean,
    /// The least of them.
    Min,
    /// The most of them.
    Max,
    /// What half of them do not exceed.
    P50,
    /// What 95 % of them do not exceed.
    P95,
    /// What 99 % of them do not exceed.
    P99,
    /// How many there were in all: a rate's mean times the time, or a histogram's count.
    Total,
}

impl Aggregate {
    /// Whether it is made of the least or the most of a gauge's values.
    fn looks_at_ends(self) -> bool {
        matches!(self, Self::Min | Self::Max)
    }
}

/// Whose series somebody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Everybody's.
    All,
    /// Those of one tenant.
    Of(Tenant),
}

impl Sight {
    /// Whether it is seen.
    pub fn sees(&self, subject: &Subject) -> bool {
        match self {
            Self::All => true,
            Self::Of(tenant) => subject.owner() == Some(tenant),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What, by name.
    pub metrics: Vec<String>,
    /// Of what.
    pub scope: Scope,
    /// Of which one; all that are seen, if it is not said.
    pub name: Option<String>,
    /// From when on, in seconds since 1970.
    pub from_secs: i64,
    /// Until when.
    pub to_secs: i64,
    /// The stretch of time of an answer's value, in seconds; chosen, if it is not said.
    pub step_secs: Option<i64>,
    /// What is made of the values in it.
    pub aggregate: Aggregate,
    /// The most values of a column.
    pub points_max: usize,
    /// The most columns.
    pub columns_max: usize,
}

/// A question that has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such metric.
    #[error("there is no metric `{name}`; did you mean `{nearest}`?")]
    Metric {
        /// What was asked for.
        name: String,
        /// What is like it.
        nearest: &'static str,
    },
    /// Subjects of that scope have other metrics.
    #[error("`{name}` is not measured of a {scope}; what is: {known}")]
    Scope {
        /// What was asked for.
        name: &'static str,
        /// Of what.
        scope: Scope,
        /// What is measured of it.
        known: String,
    },
    /// A histogram has percentiles, a gauge has none.
    #[error("`{name}` is one value a second and has no percentiles: ask for mean, min or max")]
    Percentile {
        /// What was asked for.
        name: &'static str,
    },
    /// A level does not add up over time.
    #[error("`{name}` is a level, which does not add up: ask for mean, min or max")]
    Total {
        /// What was asked for.
        name: &'static str,
    },
    /// A stretch of time that is none.
    #[error("{0}")]
    Range(String),
    /// It takes too long to answer.
    #[error("the answer takes more than {} s: ask for a shorter time, or for one by name", DEADLINE.as_secs())]
    TooLong,
    /// Too many ask for what is not at hand.
    #[error("others' questions are being answered")]
    Busy,
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] history::Error),
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Metric { .. } | Self::Scope { .. } => "metric_unknown",
            Self::Percentile { .. } | Self::Total { .. } | Self::Range(_) => "invalid_argument",
            Self::TooLong => "query_too_long",
            Self::Busy => "query_busy",
            Self::History(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(Duration::from_secs(1)),
            Self::History(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// The most metrics of a question.
pub const METRICS_MAX: usize = 16;

/// The longest stretch of time that may be asked for.
pub const RANGE_SECS_MAX: i64 = 366 * 86_400;

/// Subjects that a question looks at, at most.
const SUBJECTS_MAX: usize = 2_000;

/// Values that a question looks at, at most: of all its subjects, metrics and stretches of time.
const VALUES_MAX: usize = 500_000;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Steps that are chosen, in seconds.
const STEPS: [i64; 14] =
    [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 12 * 3600, 86_400];

impl Measured {
    /// Answers a question of somebody who sees so much. May wait for the disk.
    pub fn query(&self, query: &Query, sight: &Sight) -> Result<Frame, Error> {
        let metrics = metrics_of(query)?;
        let begin_secs = self.memory_begin_secs();
        let now_secs = self.table().now_secs().unwrap_or(query.to_secs);
        let grid = grid(query, now_secs, self.is_kept_before(query.from_secs, begin_secs)?)?;
        let mut subjects = self.subjects(query, sight, grid.from..grid.end(), begin_secs)?;
        let subjects_max = (VALUES_MAX / (metrics.len() * grid.bins).max(1)).clamp(1, SUBJECTS_MAX);
        let subjects_cut = subjects.len().saturating_sub(subjects_max);
        subjects.truncate(subjects_max);
        let mut kept = Kept::new(query.columns_max);
        let deadline = Instant::now() + DEADLINE;
        self.gather(
            &subjects,
            (&metrics, query.aggregate),
            grid,
            deadline,
            |subject, gathered| {
                for (metric, bins) in metrics.iter().zip(gathered) {
                    if let Some(column) = column(metric, subject, sight, &bins, query.aggregate) {
                        kept.add(column);
                    }
                }
            },
        )?;
        let (columns, columns_cut) = kept.end();
        Ok(Frame {
            from_secs: grid.from,
            step_secs: grid.step,
            aggregate: query.aggregate,
            columns,
            columns_cut: columns_cut + subjects_cut * metrics.len(),
        })
    }

    /// One value of each subject over the seconds before a moment: what rules look at.
    pub fn values(
        &self,
        metric: &'static Metric,
        (scope, name): (Scope, Option<&str>),
        aggregate: Aggregate,
        (from_secs, to_secs): (i64, i64),
        sight: &Sight,
    ) -> Result<Vec<(Subject, Option<f64>)>, Error> {
        let query = Query {
            metrics: vec![metric.name.to_owned()],
            scope,
            name: name.map(str::to_owned),
            from_secs,
            to_secs,
            step_secs: None,
            aggregate,
            points_max: 1,
            columns_max: usize::MAX,
        };
        metrics_of(&query)?;
        let grid = Grid { from: from_secs, step: (to_secs - from_secs).max(1), bins: 1 };
        let mut values = Vec::new();
        let begin_secs = self.memory_begin_secs();
        let subjects = self.subjects(&query, sight, from_secs..to_secs, begin_secs)?;
        let deadline = Instant::now() + DEADLINE;
        self.gather(&subjects, (&[metric], aggregate), grid, deadline, |subject, gathered| {
            let bin = gathered.into_iter().flatten().next();
            values.push((subject.clone(), bin.and_then(|bin| bin.value(metric, aggregate))));
        })?;
        Ok(values)
    }

    fn subjects(
        &self,
        query: &Query,
        sight: &Sight,
        range: history::Range,
        begin_secs: Option<i64>,
    ) -> Result<Vec<Subject>, Error> {
        let is_shown = self.shown_to(sight);
        let is_meant = |subject: &Subject| {
            subject.scope() == query.scope
                && is_shown(subject)
                && query.name.as_deref().is_none_or(|name| name == subject.name())
        };
        let mut subjects: Vec<Subject> = {
            let table = self.table();
            let there = table
                .tracks()
                .filter(|(subject, track)| range.start <= track.last_secs() && is_meant(subject));
            there.map(|(subject, _)| subject.clone()).collect()
        };
        let is_old = begin_secs.is_none_or(|begin| range.start < begin);
        if let Some(history) = self.history().filter(|_| is_old) {
            subjects.extend(history.subjects(query.scope, &range)?.into_iter().filter(is_meant));
        }
        subjects.sort_unstable();
        subjects.dedup();
        Ok(subjects)
    }
}

/// The metrics that are meant, which subjects of the scope have.
fn metrics_of(query: &Query) -> Result<Vec<&'static Metric>, Error> {
    if !(1..=METRICS_MAX).contains(&query.metrics.len()) {
        return Err(Error::Range(format!("ask for 1 to {METRICS_MAX} metrics at a time")));
    }
    let find = |name: &String| {
        let Some(metric) = Metric::named(name) else {
            let name: String = name.chars().take(80).collect();
            return Err(Error::Metric { nearest: Metric::nearest(&name), name });
        };
        if !metric.scopes.contains(&query.scope) {
            let all = query.scope.gauges().chain(query.scope.histograms());
            let known = all.map(|metric| metric.name).collect::<Vec<_>>().join(", ");
            return Err(Error::Scope { name: metric.name, scope: query.scope, known });
        }
        let wants_percentile =
            matches!(query.aggregate, Aggregate::P50 | Aggregate::P95 | Aggregate::P99);
        if wants_percentile && metric.is_gauge() {
            return Err(Error::Percentile { name: metric.name });
        }
        if query.aggregate == Aggregate::Total && !adds_up(metric) {
            return Err(Error::Total { name: metric.name });
        }
        Ok(metric)
    };
    query.metrics.iter().map(find).collect()
}

/// Whether there is a sense in all of its values together.
fn adds_up(metric: &Metric) -> bool {
    !metric.is_gauge() || metric.unit == Unit::PerSecond
}

/// Where the answer's values begin, how long each is, and how many there are: not shorter than what
/// is kept of that time.
fn grid(query: &Query, now_secs: i64, is_kept_before: bool) -> Result<Grid, Error> {
    let Query { from_secs, to_secs, step_secs, points_max, .. } = *query;
    let span = to_secs.saturating_sub(from_secs);
    if !(1..=RANGE_SECS_MAX).contains(&span) || from_secs < 0 {
        return Err(Error::Range(format!(
            "ask for a stretch of time between 1 s and {RANGE_SECS_MAX} s, not {span} s"
        )));
    }
    let most = i64::try_from(points_max.max(1)).unwrap_or(i64::MAX);
    let least = if from_secs < now_secs.saturating_sub(Tier::Minutes.keep_secs()) {
        Tier::Hours.step_secs()
    } else if is_kept_before {
        Tier::Minutes.step_secs()
    } else {
        1
    };
    let chosen = STEPS.into_iter().find(|step| span <= step.saturating_mul(most));
    let step = step_secs.or(chosen).unwrap_or_else(|| ceil(span, most)).max(least);
    let from = from_secs - from_secs.rem_euclid(step);
    let bins = ceil(to_secs.saturating_sub(from), step);
    if most + 1 < bins {
        return Err(Error::Range(format!(
            "{span} s in steps of {step} s are more than {most} values: ask for longer steps, or a \
             shorter time"
        )));
    }
    Ok(Grid { from, step, bins: usize::try_from(bins).unwrap_or(0) })
}

fn ceil(span: i64, step: i64) -> i64 {
    span / step + i64::from(span % step != 0)
}

#[cfg(test)]
mod tests;

//! What rules look at: the seam to whoever measures.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

/// How the values of a window become one.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Their mean.
    #[default]
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The newest.
    Last,
    /// Of a rate: its mean.
    Rate,
    /// Of a rate: how many there were.
    Increase,
    /// What 95 % of them do not exceed.
    P95,
    /// What 99 % of them do not exceed.
    P99,
}

impl Aggregate {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Last,
        Self::Rate,
        Self::Increase,
        Self::P95,
        Self::P99,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
            Self::Rate => "rate",
            Self::Increase => "increase",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The metric's name.
    pub metric: String,
    /// What is made of its values.
    pub aggregate: Aggregate,
    /// Over how long, up to the moment that is asked for, in seconds.
    pub window_secs: u32,
    /// Only subjects with these labels.
    pub labels: BTreeMap<String, String>,
}

/// One subject's value.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which subject: the metric's labels, all of them.
    pub labels: BTreeMap<String, String>,
    /// Its value; nothing if it could not be read.
    pub value: Option<f64>,
}

/// A metric that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it is.
    pub help: &'static str,
    /// What tells its subjects apart. One with `tenant` can be looked at by tenants, one with
    /// `session_id` can have actions.
    pub labels: &'static [&'static str],
    /// What can be made of its values.
    pub kind: Kind,
}

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One at a time.
    Gauge,
    /// How many of something in a second: over a time they add up.
    Rate,
    /// Many durations.
    Durations,
}

impl Kind {
    /// Whether such values can be made one in that way.
    pub fn allows(self, aggregate: Aggregate) -> bool {
        match aggregate {
            Aggregate::Rate | Aggregate::Increase => self == Self::Rate,
            Aggregate::Last => self != Self::Durations,
            _ => true,
        }
    }
}

/// Whoever measures.
pub trait Readings: Debug + Send + Sync {
    /// The metrics that there are.
    fn metrics(&self) -> &[MetricInfo];

    /// Values at a moment, in seconds of Unix time: now, or in what is stored; nothing if nothing was
    /// measured yet. May wait for files.
    ///
    /// A subject that is absent is gone for good, and what is told of it is over; one that is there
    /// and could not be read has no value.
    fn read(&self, selection: &Selection, at_secs: f64) -> Option<Vec<Reading>>;

    /// Values at a moment that is past, in what is stored. May wait for files.
    fn read_past(&self, selection: &Selection, at_secs: f64) -> Option<Vec<Reading>> {
        self.read(selection, at_secs)
    }
}

//! Everything that goes on, in one answer: what a terminal shows anew every second.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Behind;
use crate::alerts::report::{AlertReport, moment, now_secs};
use crate::telemetry::measured::Measured;
use crate::telemetry::metric::{Id, Scope};
use crate::telemetry::query::{self, Aggregate, Query, Sight};
use crate::telemetry::reports::fleet::Fleet;

/// Everything that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Glance {
    /// The daemon's version.
    pub version: String,
    /// When it was looked.
    pub at: String,
    /// The machine, the pool, sessions, tools.
    #[serde(flatten)]
    pub fleet: Fleet,
    /// What is pending or fires, the worst first.
    pub alerts: Vec<AlertReport>,
    /// Alerts that were left out.
    pub alerts_cut: u64,
    /// The last minutes of what was asked for.
    pub trend: Trend,
}

/// The last minutes, with a value a second; null where there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Of which session; of all together without.
    pub session_id: Option<String>,
    /// When the first value was measured, in seconds since 1970.
    pub from_secs: i64,
    /// Steps in a second; nothing if none were measured.
    pub steps_per_sec: Vec<Option<f64>>,
    /// Processor use; 1 is one core.
    pub cpu_ratio: Vec<Option<f64>>,
}

/// Over how many seconds means are taken.
const WINDOW_SECS: i64 = 10;

/// How long a trend is, in seconds.
const TREND_SECS: i64 = 120;

/// Alerts that are told of at a time.
const ALERTS_MAX: usize = 100;

pub(super) async fn carry_out(trend_of: Option<String>, behind: &Behind) -> anyhow::Result<Value> {
    let Behind { sessions, monitor, alerts, .. } = behind.clone();
    let look = move || {
        let (alerts, alerts_cut) = alerts.worst(ALERTS_MAX);
        let trend = Trend::of(trend_of, monitor.measured())?;
        let glance = Glance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: moment(now_secs().floor()),
            fleet: Fleet::look(&monitor, &sessions, WINDOW_SECS),
            alerts,
            alerts_cut: alerts_cut as u64,
            trend,
        };
        anyhow::Ok(serde_json::to_value(glance)?)
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.context("the look at everything was broken off")?
}

impl Trend {
    fn of(session_id: Option<String>, measured: &Measured) -> Result<Self, query::Error> {
        let metrics = [Id::Steps, Id::Cpu].map(|id| id.metric().name);
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
        let to_secs = now_secs() as i64 + 1;
        let query = Query {
            metrics: metrics.map(str::to_owned).to_vec(),
            scope: if session_id.is_some() { Scope::Session } else { Scope::Fleet },
            name: session_id.clone(),
            from_secs: to_secs - TREND_SECS,
            to_secs,
            step_secs: Some(1),
            aggregate: Aggregate::Mean,
            points_max: usize::try_from(TREND_SECS).unwrap_or(usize::MAX),
            columns_max: metrics.len(),
        };
        let mut frame = measured.query(&query, &Sight::All)?;
        let mut values = |metric| {
            let column = frame.columns.iter_mut().find(|column| column.metric == metric);
            column.map_or_else(Vec::new, |column| std::mem::take(&mut column.values))
        };
        let [steps_per_sec, cpu_ratio] = metrics.map(&mut values);
        Ok(Self { session_id, from_secs: frame.from_secs, steps_per_sec, cpu_ratio })
    }
}

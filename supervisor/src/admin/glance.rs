//! Everything that goes on, in one answer: what a terminal shows anew every second.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Behind;
use crate::alerts::report::{AlertReport, moment, now_secs};
use crate::telemetry::metric::{Id, Scope};
use crate::telemetry::query::{Aggregate, Frame, Query, Sight};
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

/// Steps and processor use over the last minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Of which session; of all together without.
    pub session_id: Option<String>,
    /// A value a second.
    pub frame: Frame,
}

/// Over how many seconds means are taken.
const WINDOW_SECS: i64 = 10;

/// How long a trend is, in seconds.
pub const TREND_SECS: i64 = 120;

/// Alerts that are told of at a time.
pub const ALERTS_MAX: usize = 100;

pub(super) async fn carry_out(trend_of: Option<String>, behind: &Behind) -> anyhow::Result<Value> {
    let Behind { sessions, monitor, alerts, .. } = behind.clone();
    let look = move || {
        let (alerts, alerts_cut) = alerts.worst(ALERTS_MAX);
        let frame = monitor.measured().query(&trend(trend_of.as_deref()), &Sight::All)?;
        let glance = Glance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: moment(now_secs().floor()),
            fleet: Fleet::look(&monitor, &sessions, WINDOW_SECS),
            alerts,
            alerts_cut: alerts_cut as u64,
            trend: Trend { session_id: trend_of, frame },
        };
        anyhow::Ok(serde_json::to_value(glance)?)
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.context("the look at everything was broken off")?
}

/// What is asked for a trend.
fn trend(session_id: Option<&str>) -> Query {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    let to_secs = now_secs() as i64 + 1;
    let metrics = [Id::Steps, Id::Cpu].map(|id| id.metric().name.to_owned());
    Query {
        metrics: metrics.to_vec(),
        scope: if session_id.is_some() { Scope::Session } else { Scope::Fleet },
        name: session_id.map(str::to_owned),
        from_secs: to_secs - TREND_SECS,
        to_secs,
        step_secs: Some(1),
        aggregate: Aggregate::Mean,
        points_max: usize::try_from(TREND_SECS).unwrap_or(usize::MAX),
        columns_max: metrics.len(),
    }
}

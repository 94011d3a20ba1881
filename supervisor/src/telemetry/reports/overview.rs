//! All at a glance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Times;
use crate::telemetry::history::{CacheUse, History};
use crate::telemetry::levels::Level;
use crate::telemetry::metric::Id;
use crate::telemetry::monitor::Monitor;
use crate::telemetry::query::{Sight, rounded};
use crate::telemetry::series::Subject;
use crate::tenants::Tenant;

/// A tenant, or the fleet, at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Overview {
    /// How long the daemon has been up.
    pub uptime_secs: f64,
    /// Over how many seconds means are taken.
    pub window_secs: i64,
    /// Means, by metric.
    pub means: BTreeMap<String, f64>,
    /// How long simulation steps take; null if none was timed.
    pub step_secs: Option<Times>,
    /// How long calls of tools take; null if none ended.
    pub call_secs: Option<Times>,
    /// How closely is looked.
    pub level: Level,
    /// How the measuring fares; told of the fleet.
    pub measuring: Option<Measuring>,
}

/// How the measuring fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Measuring {
    /// What the series of everybody take in memory.
    pub memory_bytes: u64,
    /// What the history takes on the disk; null if none is kept.
    pub history_bytes: Option<u64>,
    /// The cache of months that were read of it; null if none is kept.
    pub history_cache: Option<CacheUse>,
    /// Minutes that could not be kept.
    pub minutes_dropped_total: u64,
    /// Samples of which there are too many.
    pub samples_dropped_total: u64,
    /// Calls of which there are too many.
    pub calls_dropped_total: u64,
}

impl Overview {
    /// Of a tenant, or of everybody. Waits for the disk.
    pub fn of(monitor: &Monitor, tenant: Option<&Tenant>, window_secs: i64) -> Self {
        let subject = tenant.cloned().map_or(Subject::Fleet, Subject::Tenant);
        let measured = monitor.measured();
        let sight = tenant.cloned().map_or(Sight::All, Sight::Of);
        let point = measured.recent(&subject, window_secs, &sight);
        let means = point.gauges.iter().filter_map(|(id, summary)| {
            Some((id.metric().name.to_owned(), rounded(summary.mean()?)))
        });
        let level = {
            let levels = monitor.levels();
            tenant.map_or_else(|| levels.fleet(), |tenant| levels.of_tenant(tenant))
        };
        Self {
            uptime_secs: rounded(monitor.started().elapsed().as_secs_f64()),
            window_secs,
            means: means.collect(),
            step_secs: point.durations(Id::StepTime).and_then(Times::of),
            call_secs: point.durations(Id::CallTime).and_then(Times::of),
            level,
            measuring: tenant.is_none().then(|| Measuring::of(monitor)),
        }
    }
}

impl Measuring {
    fn of(monitor: &Monitor) -> Self {
        let (memory_bytes, samples_dropped_total) = {
            let table = monitor.measured().table();
            (table.bytes() as u64, table.turned_away_total())
        };
        let history = monitor.measured().history();
        Self {
            memory_bytes,
            history_bytes: history.and_then(|history| history.bytes().ok()),
            history_cache: history.map(History::cache),
            minutes_dropped_total: history.map_or(0, History::dropped_total),
            samples_dropped_total,
            calls_dropped_total: monitor.calls().recent().lost_total(),
        }
    }
}

//! What of that which rules look at is on our page for Prometheus, and under which name.
//!
//! There is the newest value of each metric of the fleet and, if the operator wants it, of each session;
//! of durations, what shares of those of the last minute do not exceed.

use super::PREFIX;
use crate::alerts::readings::{Aggregate, Selection};
use crate::telemetry::metric::{METRICS, Metric, Scope, from_base_units};

/// What makes a value on the page that of a share of durations.
pub(super) const QUANTILE: &str = "quantile";

/// How far back these shares look, in seconds.
pub(super) const QUANTILES_SECS: u32 = 60;

/// A series on the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    scope: Scope,
    metric: &'static Metric,
}

impl Series {
    /// What a rule looks at, if it is there.
    pub(super) fn of(name: &str) -> Option<Self> {
        let of = |metric: &'static Metric| {
            metric.scopes.iter().map(move |scope| Self { scope: *scope, metric })
        };
        let mut all = METRICS.iter().flat_map(of);
        all.find(|it| matches!(it.scope, Scope::Fleet | Scope::Session) && it.ours() == name)
    }

    /// What it is called there.
    pub(super) fn name(self) -> String {
        self.metric.exposed(self.scope)
    }

    /// The keys of the configuration without which it is not there, with the labels that it is
    /// selected by.
    pub(super) fn needs(self, selection: &Selection) -> Vec<&'static str> {
        let of_sessions = (self.scope == Scope::Session).then_some("metrics.sessions");
        let of_tenants = selection.labels.contains_key("tenant").then_some("metrics.tenants");
        of_sessions.into_iter().chain(of_tenants).collect()
    }

    /// The share of durations that is looked at, or why the page has nothing to compare.
    pub(super) fn quantile(self, selection: &Selection) -> Result<Option<&'static str>, String> {
        let Selection { aggregate, window_secs, .. } = selection;
        let is_duration = !self.metric.is_gauge();
        match aggregate {
            Aggregate::P95 if is_duration && *window_secs == QUANTILES_SECS => Ok(Some("0.95")),
            Aggregate::P99 if is_duration && *window_secs == QUANTILES_SECS => Ok(Some("0.99")),
            _ if is_duration => Err(format!(
                "of durations only `p95` and `p99` of {QUANTILES_SECS} s are on /metrics"
            )),
            _ => Ok(None),
        }
    }

    fn ours(self) -> String {
        if self.metric.scopes == [Scope::Fleet] {
            self.metric.name.to_owned()
        } else {
            format!("{}_{}", self.scope, self.metric.name)
        }
    }
}

/// A name of Prometheus's as we have it.
pub(super) fn ours(theirs: &str) -> String {
    from_base_units(theirs.strip_prefix(PREFIX).unwrap_or(theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_what_is_not_on_the_page_has_none() {
        for (name, theirs) in [
            ("host_cpu_ratio", "simward_host_cpu_ratio"),
            ("fleet_steps_per_sec", "simward_fleet_steps_per_second"),
            ("session_step_secs", "simward_session_step_seconds"),
        ] {
            assert_eq!(Series::of(name).unwrap().name(), theirs);
            assert_eq!(ours(theirs), name);
        }
        for name in ["tool_call_secs", "tenant_cpu_ratio", "fleet_error_ratio", "load"] {
            assert!(Series::of(name).is_none(), "{name}");
        }
    }
}

//! What is counted of calls, as they come.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::recent::{Ended, Recent};
use crate::tenants::Tenant;

/// Seconds, from a look at a state to what a call may take at most.
const SECS: [f64; 15] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];

/// The most series; what is more is counted together.
const SERIES_MAX: usize = 2000;

/// The tool of calls that name none.
const NO_TOOL: &str = "unknown";

/// The names of the labels are those of OpenTelemetry's conventions for MCP.
type Labels = [(&'static str, Cow<'static, str>); 3];

#[derive(Clone, Debug)]
struct Secs;

impl MetricConstructor<Histogram> for Secs {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECS)
    }
}

/// The counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    durations: Family<Labels, Histogram, Secs>,
    /// Those of calls that go well, which are most, by tool.
    good: HashMap<Arc<str>, Histogram>,
    /// The name of calls of tools that there are not.
    unknown: Arc<str>,
    recent: Recent,
    in_flight: Gauge<i64, AtomicI64>,
    refused: Family<[(&'static str, u16); 1], Counter>,
    /// How many series of calls that go wrong there are.
    bad: AtomicUsize,
}

fn labels(tool: &str, error: &str) -> Labels {
    [
        ("mcp_method_name", Cow::Borrowed("tools/call")),
        ("gen_ai_tool_name", Cow::Owned(tool.to_owned())),
        ("error_type", Cow::Owned(error.to_owned())),
    ]
}

impl Calls {
    /// Nothing yet, of these tools.
    pub fn new<'a>(tools: impl IntoIterator<Item = &'a str>) -> Self {
        let durations = Family::new_with_constructor(Secs);
        let good = |tool: &str| durations.get_or_create_owned(&labels(tool, ""));
        let good = tools.into_iter().map(|tool| (tool.into(), good(tool))).collect();
        let inner = Inner {
            durations,
            good,
            unknown: NO_TOOL.into(),
            recent: Recent::default(),
            in_flight: Gauge::default(),
            refused: Family::default(),
            bad: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A call begins.
    pub(crate) fn begin(&self, tenant: &Tenant, tool: &str) {
        self.inner.in_flight.inc();
        self.inner.recent.begin(tenant, self.inner.known(tool));
    }

    /// It is over: `error` is why it went wrong, if it did. How long its request and its answer were
    /// is told in bytes.
    pub(crate) fn end(
        &self,
        (tenant, tool): (&Tenant, &str),
        error: Option<&str>,
        after: Duration,
        (request_bytes, result_bytes): (u64, u64),
    ) {
        self.inner.in_flight.dec();
        let ended = Ended { is_good: error.is_none(), after, request_bytes, result_bytes };
        let name = self.inner.known(tool);
        self.inner.recent.end(tenant, name, ended);
        let secs = after.as_secs_f64();
        match (error, self.inner.good.get(tool)) {
            (None, Some(good)) => good.observe(secs),
            _ => self.inner.bad(name, error).observe(secs),
        }
    }

    /// The calls that ended since somebody last looked.
    pub fn recent(&self) -> &Recent {
        &self.inner.recent
    }

    /// How many calls are being carried out.
    pub fn in_flight(&self) -> i64 {
        self.inner.in_flight.get()
    }

    /// A request was turned away at the door.
    pub(crate) fn refused(&self, status: u16) {
        self.inner.refused.get_or_create_owned(&[("status", status)]).inc();
    }

    /// Puts them where they are read.
    pub(super) fn register(&self, registry: &mut Registry) {
        let Inner { durations, in_flight, refused, .. } = &*self.inner;
        registry.register(
            "mcp_server_operation_duration_seconds",
            "Calls of tools: how long they took, and what went wrong",
            durations.clone(),
        );
        registry.register(
            "simward_calls_in_flight",
            "Calls of tools that are being carried out",
            in_flight.clone(),
        );
        registry.register(
            "simward_http_refused",
            "Requests that were turned away at the door, by HTTP status",
            refused.clone(),
        );
    }
}

impl Inner {
    /// The name under which calls of that tool are counted.
    fn known(&self, tool: &str) -> &Arc<str> {
        self.good.get_key_value(tool).map_or(&self.unknown, |(name, _)| name)
    }

    fn bad(&self, tool: &str, error: Option<&str>) -> Histogram {
        let own = labels(tool, error.unwrap_or_default());
        // A few more than that are no harm, when several are made at once.
        let is_known = self.durations.get(&own).is_some();
        if is_known || self.bad.fetch_add(1, Ordering::Relaxed) < SERIES_MAX {
            return self.durations.get_or_create_owned(&own);
        }
        self.durations.get_or_create_owned(&labels(NO_TOOL, "other"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_invent_makes_no_series() {
        let calls = Calls::new(["step_simulation"]);
        let second = Duration::from_secs(1);
        let tenant = Tenant::local();
        let series = || {
            let mut registry = Registry::default();
            calls.register(&mut registry);
            let mut page = String::new();
            prometheus_client::encoding::prometheus_text::encode(&mut page, &registry).unwrap();
            page.matches("duration_seconds_count{").count()
        };
        for number in 0..2 * SERIES_MAX {
            let tool = format!("tool_{number}");
            calls.begin(&tenant, &tool);
            calls.end((&tenant, &tool), Some("rejected"), second, (0, 0));
        }
        assert_eq!(series(), 2);
        // Nor do errors without end.
        for number in 0..2 * SERIES_MAX {
            calls.begin(&tenant, "step_simulation");
            let error = format!("error_{number}");
            calls.end((&tenant, "step_simulation"), Some(&error), second, (0, 0));
        }
        assert_eq!(series(), SERIES_MAX + 2);
        assert_eq!(calls.inner.in_flight.get(), 0);
    }
}

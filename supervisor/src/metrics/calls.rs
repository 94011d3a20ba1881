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
    good: HashMap<String, Histogram>,
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
        let good = tools.into_iter().map(|tool| (tool.to_owned(), good(tool))).collect();
        let inner = Inner {
            durations,
            good,
            in_flight: Gauge::default(),
            refused: Family::default(),
            bad: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A call begins.
    pub(crate) fn begin(&self) {
        self.inner.in_flight.inc();
    }

    /// It is over: `error` is why it went wrong, if it did.
    pub(crate) fn end(&self, tool: &str, error: Option<&str>, after: Duration) {
        self.inner.in_flight.dec();
        let secs = after.as_secs_f64();
        let known = self.inner.good.get(tool);
        match (error, known) {
            (None, Some(good)) => good.observe(secs),
            _ => self.inner.bad(known.map_or(NO_TOOL, |_| tool), error).observe(secs),
        }
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
        let series = || {
            let mut registry = Registry::default();
            calls.register(&mut registry);
            let mut page = String::new();
            prometheus_client::encoding::prometheus_text::encode(&mut page, &registry).unwrap();
            page.matches("duration_seconds_count{").count()
        };
        for number in 0..2 * SERIES_MAX {
            calls.begin();
            calls.end(&format!("tool_{number}"), Some("rejected"), second);
        }
        assert_eq!(series(), 2);
        // Nor do errors without end.
        for number in 0..2 * SERIES_MAX {
            calls.begin();
            calls.end("step_simulation", Some(&format!("error_{number}")), second);
        }
        assert_eq!(series(), SERIES_MAX + 2);
        assert_eq!(calls.inner.in_flight.get(), 0);
    }
}

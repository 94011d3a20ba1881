//! What is read when somebody asks: sessions, ports, starts, the daemon itself. Nothing of it is kept,
//! so nothing of what is gone is told.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric as _,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::audit::Audit;
use crate::pool::headroom::Level;
use crate::pool::{ports, turns};
use crate::sessions::Sessions;
use crate::spans::Spans;

/// Reads it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) sessions: Sessions,
    pub(super) audit: Audit,
    pub(super) spans: Spans,
}

impl Collector for Live {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.sessions(&mut page)?;
        self.pool(&mut page)?;
        page.counter(
            "simward_audit_dropped",
            "Lines of the audit that could not be written",
            self.audit.dropped_total(),
        )?;
        let (hits, misses) = self.sessions.store().models().hits_and_misses();
        page.counter(
            "simward_model_cache_hits",
            "Models that were compiled already when they were to be loaded",
            hits,
        )?;
        page.counter("simward_model_cache_misses", "Models that had to be compiled", misses)?;
        let dropped = self.spans.dropped_total().map(|(to, count)| ([("to", to)], count));
        page.counters(
            "simward_spans_dropped",
            "Spans that could not be written to the file, or not sent to the collector",
            dropped,
        )?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.gauges("simward_build_info", "Which simward it is", [(version, 1_u64)])?;
        own(&mut page)
    }
}

impl Live {
    fn sessions(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut by_state: BTreeMap<&'static str, u64> = BTreeMap::new();
        for session in self.sessions.all() {
            *by_state.entry(session.status().state.name()).or_default() += 1;
        }
        let by_state = by_state.into_iter().map(|(state, count)| ([("state", state)], count));
        page.gauges("simward_sessions", "Sessions that there are, by state", by_state)?;
        let max = self.sessions.config().max as u64;
        page.gauge("simward_sessions_max", "Sessions that there may be", max)?;
        let created = self.sessions.created_total();
        page.counter("simward_sessions_created", "Sessions that were created", created)
    }

    fn pool(&self, page: &mut Page<'_>) -> fmt::Result {
        let pool = self.sessions.pool();
        let ports::Counts { total, leased, resting } = pool.ports().counts();
        let free = total.saturating_sub(leased + resting);
        let states = [("free", free), ("leased", leased), ("resting", resting)];
        let states = states.map(|(state, count)| ([("state", state)], count as u64));
        page.gauges("simward_ports", "Ports of sessions, by state", states)?;
        let turns::Counts { running, waiting } = pool.gate().counts();
        let states = [("running", running), ("waiting", waiting)];
        let states = states.map(|(state, count)| ([("state", state)], count as u64));
        page.gauges("simward_starts", "Starts of processes, by state", states)?;
        let is_full = u64::from(pool.room().level() == Level::Full);
        page.gauge("simward_machine_full", "1 while the machine has no room for more", is_full)?;
        let tally = pool.tally();
        page.counter("simward_steps", "Simulation steps of all sessions", tally.steps())?;
        let busy = tally.busy().as_secs_f64();
        page.counter("simward_worker_busy_seconds", "Time in which workers were busy", busy)
    }
}

/// The daemon's own process, by the names that Prometheus's clients agree on.
fn own(page: &mut Page<'_>) -> fmt::Result {
    let Ok(process) = Process::myself() else { return Ok(()) };
    let Ok(stat) = process.stat() else { return Ok(()) };
    #[expect(clippy::cast_precision_loss, reason = "seconds are floating point")]
    let secs = |ticks: u64| ticks as f64 / procfs::ticks_per_second().max(1) as f64;
    let cpu = secs(stat.utime + stat.stime);
    page.counter("process_cpu_seconds", "Processor time of the daemon itself", cpu)?;
    let resident = stat.rss * procfs::page_size();
    page.gauge("process_resident_memory_bytes", "Memory of the daemon itself", resident)?;
    if let Ok(open) = process.fd_count() {
        page.gauge("process_open_fds", "Descriptors that the daemon has", open as u64)?;
    }
    let limits = process.limits().ok();
    if let Some(LimitValue::Value(most)) = limits.map(|limits| limits.max_open_files.soft_limit) {
        page.gauge("process_max_fds", "Descriptors that it may have", most)?;
    }
    let Ok(boot) = procfs::boot_time_secs() else { return Ok(()) };
    #[expect(clippy::cast_precision_loss, reason = "seconds are floating point")]
    let started = boot as f64 + secs(stat.starttime);
    page.gauge("process_start_time_seconds", "When it was started", started)
}

/// What is told.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

//! What Prometheus reads of the series: the newest values, as they are when it asks.
//!
//! Nothing is kept for it, so nothing of what is gone is told; and of what was not measured at the
//! last sample nothing is told either. Sessions are named only if the operator wants it, the busiest
//! first, and no more than may be.

use std::cmp::Reverse;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::history::History;
use super::metric::{Id, Metric, Scope};
use super::monitor::Monitor;
use super::remote_write::RemoteWrite;
use super::series::{LAP_SECS, Subject, Table, Track};
use crate::durations::Durations;
use crate::metrics::Config;

/// Shares of durations that are told of.
pub(super) const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)];

/// Stretches of durations that are about the last minute.
const LAPS_OF_MINUTE: usize = 6;

const _: () = assert!(LAPS_OF_MINUTE == 6 && LAP_SECS == 10);

/// When nothing was measured for so long, nothing is told: longer than the longest pause between two
/// samples.
const STALE_AFTER_SECS: i64 = 60;

/// Tells of the newest values.
#[derive(Debug)]
pub struct Exposition {
    monitor: Monitor,
    sessions_max: usize,
    with_tenants: bool,
}

/// What is told of one subject.
#[derive(Debug)]
struct Told {
    labels: Vec<(&'static str, String)>,
    gauges: Vec<(Id, f32)>,
    quantiles: Vec<(Id, &'static str, f64)>,
}

impl Exposition {
    /// Of what is measured there.
    pub fn new(config: &Config, monitor: Monitor) -> Self {
        let sessions_max = if config.sessions { config.sessions_max } else { 0 };
        Self { monitor, sessions_max, with_tenants: config.tenants }
    }

    /// The newest values, of the fleet and of sessions. Nothing is written while the table is held.
    fn look(&self) -> (Vec<Told>, Vec<Told>) {
        let table = self.monitor.measured().table();
        let Some(now) = table.now_secs().filter(|now| unix_secs() - now < STALE_AFTER_SECS) else {
            return Default::default();
        };
        let is_fresh = |track: &Track| track.last_secs() == now;
        let fleet = table.track(&Subject::Fleet).filter(|track| is_fresh(track));
        let fleet = fleet.map(|track| self.told(&Subject::Fleet, track));
        let sessions = self.busiest(&table, is_fresh);
        let sessions = sessions.into_iter().map(|(subject, track)| self.told(subject, track));
        (fleet.into_iter().collect(), sessions.collect())
    }

    /// The sessions that use most of a processor, as many as may be told of.
    fn busiest<'a>(
        &self,
        table: &'a Table,
        is_fresh: impl Fn(&Track) -> bool,
    ) -> Vec<(&'a Subject, &'a Track)> {
        if self.sessions_max == 0 {
            return Vec::new();
        }
        let sessions = table.tracks().filter(|(subject, _)| subject.scope() == Scope::Session);
        let mut sessions: Vec<_> = sessions.filter(|(_, track)| is_fresh(track)).collect();
        // Ratios are never negative, and such floats are in the order of their bits.
        let use_of = |track: &Track| newest(track, Id::Cpu).unwrap_or(0.0).max(0.0).to_bits();
        sessions.sort_by_cached_key(|(_, track)| Reverse(use_of(track)));
        sessions.truncate(self.sessions_max);
        sessions
    }

    fn told(&self, subject: &Subject, track: &Track) -> Told {
        let scope = subject.scope();
        let mut labels = Vec::new();
        if scope == Scope::Session {
            labels.push(("session_id", subject.name().to_owned()));
            let tenant = subject.owner().filter(|_| self.with_tenants);
            labels.extend(tenant.map(|tenant| ("tenant", tenant.to_string())));
        }
        let gauges = scope.gauges().filter(|metric| !is_told_elsewhere(metric.id));
        let gauges = gauges.filter_map(|metric| Some((metric.id, newest(track, metric.id)?)));
        let quantiles = scope.histograms().flat_map(|metric| {
            let durations = last_minute(track, metric.id);
            QUANTILES.into_iter().filter_map(move |(name, ratio)| {
                Some((metric.id, name, durations.percentile(ratio)?))
            })
        });
        Told { labels, gauges: gauges.collect(), quantiles: quantiles.collect() }
    }
}

/// The value that a gauge had when its subject was measured last.
fn newest(track: &Track, id: Id) -> Option<f32> {
    track.ring(id)?.newest_first().next().filter(|value| value.is_finite())
}

fn last_minute(track: &Track, id: Id) -> Durations {
    let mut sum = Durations::default();
    for durations in track.laps(id).take(LAPS_OF_MINUTE) {
        sum.add(durations);
    }
    sum
}

/// Whether it has that name on the page already, with the very moment's value.
fn is_told_elsewhere(id: Id) -> bool {
    id == Id::CallsInFlight
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (fleet, sessions) = self.look();
        for (scope, told) in [(Scope::Fleet, fleet), (Scope::Session, sessions)] {
            for metric in scope.gauges() {
                gauges(&mut encoder, metric, scope, &told)?;
            }
            for metric in scope.histograms() {
                quantiles(&mut encoder, metric, scope, &told)?;
            }
        }
        let history = self.monitor.measured().history();
        let cache = history.map(History::cache).unwrap_or_default();
        let history = history.map_or(0, History::dropped_total);
        let remote = self.monitor.remote_write().map_or(0, RemoteWrite::dropped_total);
        for (name, help, total) in [
            (
                "simward_history_cache_hits",
                "Months of the history that had been unpacked when they were asked for",
                cache.hits_total,
            ),
            (
                "simward_history_cache_misses",
                "Months of the history that had to be unpacked",
                cache.misses_total,
            ),
            ("simward_history_dropped_minutes", "Minutes that the history could not keep", history),
            (
                "simward_remote_write_dropped_minutes",
                "Minutes that could not be sent, or only a part of them",
                remote,
            ),
        ] {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(total).encode(encoder)?;
        }
        Ok(())
    }
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    scope: Scope,
    told: &[Told],
) -> fmt::Result {
    let value = |told: &Told| {
        told.gauges.iter().find(|(id, _)| *id == metric.id).map(|(_, value)| f64::from(*value))
    };
    if !told.iter().any(|told| value(told).is_some()) {
        return Ok(());
    }
    let (name, help) = (metric.exposed(scope), help(metric));
    let mut encoder = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
    for told in told {
        let Some(gauge) = value(told).map(ConstGauge::new) else { continue };
        if told.labels.is_empty() {
            gauge.encode(encoder)?;
            return Ok(());
        }
        gauge.encode(encoder.encode_family(&told.labels)?)?;
    }
    Ok(())
}

fn quantiles(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    scope: Scope,
    told: &[Told],
) -> fmt::Result {
    let of = |told: &Told| told.quantiles.iter().any(|(id, ..)| *id == metric.id);
    if !told.iter().any(of) {
        return Ok(());
    }
    let (name, help) = (metric.exposed(scope), help(metric));
    let mut encoder = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
    for told in told {
        let mut labels = told.labels.clone();
        labels.push(("quantile", String::new()));
        for (_, quantile, secs) in told.quantiles.iter().filter(|(id, ..)| *id == metric.id) {
            if let Some((_, value)) = labels.last_mut() {
                (*quantile).clone_into(value);
            }
            ConstGauge::new(*secs).encode(encoder.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// The encoder puts a full stop behind.
fn help(metric: &Metric) -> &'static str {
    metric.what.strip_suffix('.').unwrap_or(metric.what)
}

fn unix_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

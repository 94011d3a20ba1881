//! Readings of what is there now, with a short memory: sessions, their processes, and the machine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::readings::{Aggregate, MetricInfo, Reading, Readings, Selection};
use super::report::now_secs;
use crate::sessions::Sessions;
use crate::telemetry::{ProcessReport, Watch};

/// Samples that are remembered of each series.
const SAMPLES_MAX: usize = 120;

/// Series that are remembered. What is more is looked at, and has no past.
const SERIES_MAX: usize = 20_000;

/// Two looks closer than this are one: those of one round.
const LOOK_SECS: f64 = 0.05;

const SESSION: &[&str] = &["session_id", "tenant"];

const fn metric(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> MetricInfo {
    MetricInfo { name, unit, help, labels }
}

/// The metrics, in the order of `samples` and `of_machine`.
const METRICS: [MetricInfo; 9] = [
    metric("worker_cpu_ratio", "cores", "Processor time over elapsed time", SESSION),
    metric("worker_resident_bytes", "bytes", "Resident memory of the worker", SESSION),
    metric("worker_steps_per_sec", "1/s", "Simulation steps per second", SESSION),
    metric("session_idle_secs", "s", "Since the session's last use", SESSION),
    metric("session_age_secs", "s", "Since the session's creation", SESSION),
    metric("session_restarts_total", "count", "Workers that were replaced", SESSION),
    metric("host_memory_ratio", "ratio", "The part of the memory that is used", &[]),
    metric(
        "host_cpu_ratio",
        "ratio",
        "The part of the time in which a processor is waited for",
        &[],
    ),
    metric("pool_starts_waiting", "count", "Starts that wait for their turn", &[]),
];

type Labels = BTreeMap<String, String>;

/// Looks, and remembers.
#[derive(Debug)]
pub struct Live {
    sessions: Sessions,
    watch: Watch,
    memory: Mutex<Memory>,
}

/// When something was what.
type Samples = VecDeque<(f64, Option<f64>)>;

#[derive(Debug, Default)]
struct Memory {
    looked_at_secs: f64,
    series: BTreeMap<(&'static str, Labels), Samples>,
}

impl Live {
    /// Of these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions, watch: Watch::default(), memory: Mutex::default() }
    }

    fn look(&self) -> Vec<((&'static str, Labels), Option<f64>)> {
        let mut sessions = self.sessions.all();
        sessions.retain(|session| !session.is_closed());
        let mut all: Vec<_> = self.watch.look_at(&sessions).iter().flat_map(samples).collect();
        all.extend(self.of_machine());
        all
    }

    fn of_machine(&self) -> Vec<((&'static str, Labels), Option<f64>)> {
        let pool = self.sessions.pool();
        let room = pool.room();
        let waiting = f64::from(u32::try_from(pool.gate().counts().waiting).unwrap_or(u32::MAX));
        [
            ("host_memory_ratio", Some(1.0 - room.memory_available_ratio)),
            ("host_cpu_ratio", room.cpu_pressure_ratio),
            ("pool_starts_waiting", Some(waiting)),
        ]
        .map(|(name, value)| ((name, Labels::new()), value))
        .into()
    }
}

#[expect(clippy::cast_precision_loss, reason = "thresholds are floating point")]
fn samples(process: &ProcessReport) -> Vec<((&'static str, Labels), Option<f64>)> {
    let labels: Labels =
        [("session_id", process.session_id.clone()), ("tenant", process.tenant.clone())]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
    let of_session = [
        ("session_idle_secs", process.idle_secs),
        ("session_age_secs", process.age_secs),
        ("session_restarts_total", process.restarts as f64),
    ];
    let mut samples: Vec<_> =
        of_session.map(|(name, value)| ((name, labels.clone()), Some(value))).into();
    // A session that sleeps has no worker, and so nothing of one.
    if process.state != "hibernated" && process.state != "parked" {
        let of_worker = [
            ("worker_cpu_ratio", process.cpu_ratio),
            ("worker_resident_bytes", process.rss_bytes.map(|bytes| bytes as f64)),
            ("worker_steps_per_sec", process.steps_per_sec),
        ];
        samples.extend(of_worker.map(|(name, value)| ((name, labels.clone()), value)));
    }
    samples
}

impl Memory {
    /// Takes a look into account: what it does not show is gone.
    fn take(&mut self, look: Vec<((&'static str, Labels), Option<f64>)>, at_secs: f64) {
        let mut before = std::mem::take(&mut self.series);
        for (key, value) in look {
            let mut samples = before.remove(&key).unwrap_or_default();
            let max = if self.series.len() < SERIES_MAX { SAMPLES_MAX } else { 1 };
            while max <= samples.len() {
                samples.pop_front();
            }
            samples.push_back((at_secs, value));
            self.series.insert(key, samples);
        }
        self.looked_at_secs = at_secs;
    }
}

impl Readings for Live {
    fn metrics(&self) -> &[MetricInfo] {
        &METRICS
    }

    fn read(&self, selection: &Selection, at_secs: f64) -> Vec<Reading> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now_secs();
        if LOOK_SECS <= (now - memory.looked_at_secs).abs() {
            let look = self.look();
            memory.take(look, now);
        }
        let wanted = |labels: &Labels| {
            selection.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let found = memory
            .series
            .iter()
            .filter(|((name, labels), _)| *name == selection.metric.as_str() && wanted(labels));
        let read = |((_, labels), samples): (&(&'static str, Labels), &Samples)| {
            // The look that the question led to is a little later than the question.
            let until = at_secs + LOOK_SECS;
            let since = at_secs - f64::from(selection.window_secs);
            let inside = samples.iter().filter(|(at, _)| since <= *at && *at <= until);
            let (first, last) = (inside.clone().next()?, inside.clone().next_back()?);
            let values: Vec<f64> = inside.filter_map(|(_, value)| *value).collect();
            let span_secs = last.0 - first.0;
            let value =
                last.1.and_then(|last| aggregate(selection.aggregate, &values, last, span_secs));
            Some(Reading { labels: labels.clone(), value })
        };
        found.filter_map(read).collect()
    }
}

/// One value of those of a window, of which the newest is `last`.
#[expect(clippy::cast_precision_loss, reason = "a window has few samples")]
fn aggregate(how: Aggregate, values: &[f64], last: f64, span_secs: f64) -> Option<f64> {
    let increase = || values.windows(2).map(|pair| (pair[1] - pair[0]).max(0.0)).sum::<f64>();
    match how {
        Aggregate::Last => Some(last),
        Aggregate::Avg => Some(values.iter().sum::<f64>() / values.len() as f64),
        Aggregate::Min => values.iter().copied().min_by(f64::total_cmp),
        Aggregate::Max => values.iter().copied().max_by(f64::total_cmp),
        Aggregate::Increase => Some(increase()),
        Aggregate::Rate => (0.0 < span_secs).then(|| increase() / span_secs),
        Aggregate::P95 => quantile(values, 95),
        Aggregate::P99 => quantile(values, 99),
    }
}

fn quantile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_becomes_one_value() {
        let values = [1.0, 3.0, 2.0, 6.0];
        let of = |how| aggregate(how, &values, 6.0, 2.0);
        assert_eq!(of(Aggregate::Avg), Some(3.0));
        assert_eq!([of(Aggregate::Min), of(Aggregate::Max)], [Some(1.0), Some(6.0)]);
        assert_eq!(
            of(Aggregate::Increase),
            Some(6.0),
            "a counter that begins anew has lost nothing"
        );
        assert_eq!([of(Aggregate::Rate), of(Aggregate::P95)], [Some(3.0), Some(6.0)]);
        assert_eq!(aggregate(Aggregate::Rate, &[1.0], 1.0, 0.0), None);
    }

    #[test]
    fn what_a_look_does_not_show_is_gone_and_the_past_is_bounded() {
        let mut memory = Memory::default();
        let key = || ("session_idle_secs", Labels::new());
        for at in 0..300 {
            memory.take(vec![(key(), Some(1.0))], f64::from(at));
        }
        assert_eq!(memory.series[&key()].len(), SAMPLES_MAX);
        memory.take(Vec::new(), 300.0);
        assert!(memory.series.is_empty());
    }
}

//! A minute as series that others can take.

use std::collections::BTreeMap;

use super::wire::{Label, Sample, TimeSeries, WriteRequest};
use crate::durations::Durations;
use crate::telemetry::exposition::QUANTILES;
use crate::telemetry::metric::{Id, Scope};
use crate::telemetry::series::{Minute, Point, Subject};

/// Series of a request at most.
const REQUEST_SERIES_MAX: usize = 2000;

/// What all series are labelled with.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    pub(super) instance: String,
    /// Whether a model's tenant is named; otherwise models of the same name are told of together.
    pub(super) with_tenants: bool,
}

/// A subject, as far as it is named: its scope, its tenant, its name.
type Named = (Scope, Option<String>, String);

/// What is known of it: means of gauges, and durations.
#[derive(Debug, Default)]
struct Known {
    gauges: BTreeMap<Id, f64>,
    histograms: BTreeMap<Id, Durations>,
}

/// Whether a subject is told of: what is of one session, or of one tenant, stays here.
pub(super) fn is_told(subject: &Subject) -> bool {
    matches!(subject.scope(), Scope::Fleet | Scope::Model | Scope::Tool)
}

/// The requests that tell of a minute.
pub(super) fn requests(minute: &Minute, labels: &Labels) -> Vec<WriteRequest> {
    let mut subjects: BTreeMap<Named, Known> = BTreeMap::new();
    for (subject, point) in minute.points.iter().filter(|(subject, _)| is_told(subject)) {
        let tenant = subject.owner().filter(|_| labels.with_tenants).map(ToString::to_string);
        let named = (subject.scope(), tenant, subject.name().to_owned());
        subjects.entry(named).or_default().take_in(point);
    }
    // It is over then.
    let at_millis = (minute.begin_secs + 60).saturating_mul(1000);
    let all = subjects.iter().flat_map(|(named, known)| known.series(named, at_millis, labels));
    let all: Vec<TimeSeries> = all.collect();
    let request = |series: &[TimeSeries]| WriteRequest { timeseries: series.to_vec() };
    all.chunks(REQUEST_SERIES_MAX).map(request).collect()
}

impl Known {
    /// What there is of models in several tenants adds up.
    fn take_in(&mut self, point: &Point) {
        for (id, summary) in &point.gauges {
            if let Some(mean) = summary.mean() {
                *self.gauges.entry(*id).or_default() += mean;
            }
        }
        for (id, durations) in &point.histograms {
            self.histograms.entry(*id).or_default().add(durations);
        }
    }

    fn series(&self, named: &Named, at_millis: i64, labels: &Labels) -> Vec<TimeSeries> {
        let series = |id: Id, quantile: Option<&str>, value: f64| {
            let samples = vec![Sample { value, timestamp: at_millis }];
            TimeSeries { labels: labels.of(named, id, quantile), samples }
        };
        let gauges = self.gauges.iter().map(|(id, value)| series(*id, None, *value));
        let quantiles = self.histograms.iter().flat_map(|(id, durations)| {
            QUANTILES.iter().filter_map(move |(name, ratio)| {
                Some(series(*id, Some(name), durations.percentile(*ratio)?))
            })
        });
        gauges.chain(quantiles).collect()
    }
}

impl Labels {
    fn of(&self, (scope, tenant, name): &Named, id: Id, quantile: Option<&str>) -> Vec<Label> {
        let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
        let mut labels = vec![
            label("__name__", &id.metric().exposed(*scope)),
            label("instance", &self.instance),
            label("job", "simward"),
        ];
        if matches!(scope, Scope::Model | Scope::Tool) {
            labels.push(label(scope.name(), name));
        }
        labels.extend(tenant.iter().map(|tenant| label("tenant", tenant)));
        labels.extend(quantile.map(|quantile| label("quantile", quantile)));
        // Receivers want them so.
        labels.sort_unstable();
        labels
    }
}

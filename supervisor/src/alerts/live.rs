//! What rules look at: the series of what is measured, by names in which the scope stands first.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::readings::{Aggregate, Kind, MetricInfo, Reading, Readings, Selection};
use super::report::now_secs;
use crate::telemetry::Monitor;
use crate::telemetry::metric::{Id, METRICS, Metric, Scope, Unit};
use crate::telemetry::query::{self, Sight};
use crate::telemetry::series::Subject;
use crate::tenants::Tenant;

/// The series, as rules see them.
#[derive(Debug)]
pub struct Live {
    monitor: Monitor,
}

/// A metric of a scope, or the share of calls that went wrong.
#[derive(Debug)]
struct Seen {
    name: String,
    scope: Scope,
    /// Without one it is the share of calls that went wrong.
    metric: Option<&'static Metric>,
}

/// Scopes whose calls are counted.
const CALLED: [Scope; 3] = [Scope::Fleet, Scope::Tenant, Scope::Tool];

/// Everything that can be looked at.
static SEEN: LazyLock<Vec<Seen>> = LazyLock::new(|| {
    let of = |metric: &'static Metric| {
        metric.scopes.iter().map(move |scope| {
            let is_plain = metric.scopes == [Scope::Fleet];
            let name = if is_plain { metric.name.to_owned() } else { join(*scope, metric.name) };
            Seen { name, scope: *scope, metric: Some(metric) }
        })
    };
    let ratio = |scope| Seen { name: join(scope, "error_ratio"), scope, metric: None };
    METRICS.iter().flat_map(of).chain(CALLED.map(ratio)).collect()
});

fn join(scope: Scope, name: &str) -> String {
    format!("{scope}_{name}")
}

/// The same, as it is told.
static INFO: LazyLock<Vec<MetricInfo>> = LazyLock::new(|| SEEN.iter().map(Seen::info).collect());

/// A sample this old is none: whoever measures has stopped.
const STALE_AFTER_SECS: i64 = 60;

/// What is that long ago is looked up in the past.
const PAST_AFTER_SECS: i64 = 90;

impl Seen {
    fn info(&'static self) -> MetricInfo {
        let (unit, help, kind) = match self.metric {
            Some(metric) => (unit(metric.unit), metric.what, kind(metric)),
            None => ("ratio", "The share of calls that were refused or failed.", Kind::Gauge),
        };
        MetricInfo { name: &self.name, unit, help, labels: labels(self.scope), kind }
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "count",
        Unit::Ratio => "ratio",
        Unit::Bytes => "bytes",
        Unit::Seconds => "s",
        Unit::PerSecond => "1/s",
    }
}

fn kind(metric: &Metric) -> Kind {
    match metric.unit {
        Unit::PerSecond => Kind::Rate,
        _ if metric.is_gauge() => Kind::Gauge,
        _ => Kind::Durations,
    }
}

/// What tells the subjects of a scope apart.
fn labels(scope: Scope) -> &'static [&'static str] {
    match scope {
        Scope::Fleet => &[],
        Scope::Tenant => &["tenant"],
        Scope::Model => &["model", "tenant"],
        Scope::Tool => &["tool"],
        Scope::Session => &["session_id", "tenant"],
    }
}

fn labels_of(subject: &Subject) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if let Some(owner) = subject.owner() {
        all.insert("tenant".to_owned(), owner.to_string());
    }
    let name = match subject.scope() {
        Scope::Model => "model",
        Scope::Tool => "tool",
        Scope::Session => "session_id",
        Scope::Fleet | Scope::Tenant => return all,
    };
    all.insert(name.to_owned(), subject.name().to_owned());
    all
}

/// Which subjects a rule looks at, found without writing their labels.
#[derive(Debug)]
struct Meant<'a> {
    tenant: Option<Tenant>,
    name: Option<&'a str>,
    /// It asks for a label that there is not.
    is_none: bool,
}

impl<'a> Meant<'a> {
    fn of(scope: Scope, selection: &'a Selection) -> Self {
        let (known, asked) = (labels(scope), &selection.labels);
        let is_none = asked.keys().any(|key| !known.contains(&key.as_str()));
        let tenant = asked.get("tenant").map(|name| Tenant::named(name));
        let mut names = asked.iter().filter(|(key, _)| *key != "tenant");
        let name = names.next().map(|(_, name)| name.as_str());
        Self { tenant, name, is_none }
    }

    fn has(&self, subject: &Subject) -> bool {
        !self.is_none
            && (self.tenant.is_none() || subject.owner() == self.tenant.as_ref())
            && self.name.is_none_or(|name| subject.name() == name)
    }
}

impl Live {
    /// Of what is measured there.
    pub fn new(monitor: Monitor) -> Self {
        Self { monitor }
    }

    fn now(&self, seen: &Seen, selection: &Selection) -> Option<Vec<Reading>> {
        let (scope, window_secs) = (seen.scope, i64::from(selection.window_secs));
        let measured = self.monitor.measured();
        let meant = Meant::of(scope, selection);
        let lately = |id| {
            let owner = meant.tenant.as_ref();
            measured.lately((scope, owner), id, window_secs, |subject| meant.has(subject))
        };
        let is_fresh = |now: i64| unix_secs() - now < STALE_AFTER_SECS;
        let Some(metric) = seen.metric else {
            let (calls, errors) = (lately(Id::Calls)?, lately(Id::Errors)?);
            let is_fresh = is_fresh(calls.now_secs);
            let total = |recent: &query::Recent, id: Id| {
                recent.value(id.metric(), query::Aggregate::Total).unwrap_or(0.0)
            };
            let errors: BTreeMap<&Subject, f64> =
                errors.all.iter().map(|of| (&of.subject, total(of, Id::Errors))).collect();
            let ratios = calls.all.iter().map(|calls| {
                let all = total(calls, Id::Calls);
                let wrong = errors.get(&calls.subject).copied().unwrap_or(0.0);
                let value = (is_fresh && 0.0 < all).then(|| wrong / all);
                Reading { labels: labels_of(&calls.subject), value }
            });
            return Some(ratios.collect());
        };
        let lately = lately(metric.id)?;
        let is_fresh = is_fresh(lately.now_secs);
        let reading = |recent: query::Recent| {
            let value = self.value(metric, selection, &recent).filter(|_| is_fresh);
            Reading { labels: labels_of(&recent.subject), value }
        };
        Some(lately.all.into_iter().map(reading).collect())
    }

    fn value(
        &self,
        metric: &'static Metric,
        selection: &Selection,
        recent: &query::Recent,
    ) -> Option<f64> {
        let of = |aggregate| recent.value(metric, aggregate);
        let percentile = |ratio: f64, aggregate| {
            if !metric.is_gauge() {
                return of(aggregate);
            }
            let window_secs = i64::from(selection.window_secs);
            let measured = self.monitor.measured();
            let mut values = measured.values_lately(&recent.subject, metric.id, window_secs);
            quantile(&mut values, ratio)
        };
        match selection.aggregate {
            Aggregate::Last if metric.is_gauge() => recent.newest,
            Aggregate::Last | Aggregate::Avg | Aggregate::Rate => of(query::Aggregate::Mean),
            Aggregate::Min => of(query::Aggregate::Min),
            Aggregate::Max => of(query::Aggregate::Max),
            Aggregate::Increase => of(query::Aggregate::Total),
            Aggregate::P95 => percentile(0.95, query::Aggregate::P95),
            Aggregate::P99 => percentile(0.99, query::Aggregate::P99),
        }
    }

    /// At a moment that is long past. Waits for files.
    fn then(&self, seen: &Seen, selection: &Selection, at_secs: i64) -> Vec<Reading> {
        let range = (at_secs + 1 - i64::from(selection.window_secs), at_secs + 1);
        let read = |metric: &'static Metric, aggregate| {
            let measured = self.monitor.measured();
            let values = measured.values(metric, (seen.scope, None), aggregate, range, &Sight::All);
            let values = values.inspect_err(|error| {
                let error = crate::code::chain(error);
                tracing::warn!(error, "what was measured cannot be read");
            });
            let told = values.unwrap_or_default().into_iter();
            let meant = Meant::of(seen.scope, selection);
            let told = told.filter(|(subject, _)| meant.has(subject));
            told.map(|(subject, value)| (labels_of(&subject), value)).collect::<BTreeMap<_, _>>()
        };
        #[expect(clippy::single_match_else, reason = "both ways weigh the same")]
        let all = match seen.metric {
            Some(metric) => read(metric, then_aggregate(metric, selection.aggregate)),
            None => {
                let errors = read(Id::Errors.metric(), query::Aggregate::Total);
                let calls = read(Id::Calls.metric(), query::Aggregate::Total);
                let ratio = |(labels, calls): (BTreeMap<_, _>, Option<f64>)| {
                    let errors = errors.get(&labels).copied().flatten();
                    let ratio = calls.filter(|calls| 0.0 < *calls).zip(errors);
                    (labels, ratio.map(|(calls, errors)| errors / calls))
                };
                calls.into_iter().map(ratio).collect()
            }
        };
        all.into_iter().map(|(labels, value)| Reading { labels, value }).collect()
    }
}

/// Of what is kept of the past, single values are not.
fn then_aggregate(metric: &Metric, aggregate: Aggregate) -> query::Aggregate {
    match aggregate {
        Aggregate::P95 if !metric.is_gauge() => query::Aggregate::P95,
        Aggregate::P99 if !metric.is_gauge() => query::Aggregate::P99,
        Aggregate::Max | Aggregate::P95 | Aggregate::P99 => query::Aggregate::Max,
        Aggregate::Min => query::Aggregate::Min,
        Aggregate::Increase => query::Aggregate::Total,
        Aggregate::Avg | Aggregate::Last | Aggregate::Rate => query::Aggregate::Mean,
    }
}

/// The value that a share of these does not exceed.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an hour has few seconds"
)]
fn quantile(values: &mut [f32], ratio: f64) -> Option<f64> {
    let rank = ((values.len() as f64 * ratio).ceil() as usize).max(1);
    if values.len() < rank {
        return None;
    }
    let (_, value, _) = values.select_nth_unstable_by(rank - 1, f32::total_cmp);
    Some(f64::from(*value))
}

#[expect(clippy::cast_possible_truncation, reason = "seconds of Unix time")]
fn unix_secs() -> i64 {
    now_secs() as i64
}

impl Readings for Live {
    fn metrics(&self) -> &[MetricInfo] {
        &INFO
    }

    fn read(&self, selection: &Selection, at_secs: f64) -> Option<Vec<Reading>> {
        // Of a metric that there is no more, nothing is known.
        let seen = SEEN.iter().find(|seen| seen.name == selection.metric)?;
        #[expect(clippy::cast_possible_truncation, reason = "seconds of Unix time")]
        let at_secs = at_secs as i64;
        if at_secs < unix_secs() - PAST_AFTER_SECS {
            Some(self.then(seen, selection, at_secs))
        } else {
            self.now(seen, selection)
        }
    }

    fn read_past(&self, selection: &Selection, at_secs: f64) -> Option<Vec<Reading>> {
        let seen = SEEN.iter().find(|seen| seen.name == selection.metric)?;
        #[expect(clippy::cast_possible_truncation, reason = "seconds of Unix time")]
        let at_secs = at_secs as i64;
        Some(self.then(seen, selection, at_secs))
    }
}

#[cfg(test)]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "numbers of a test are small, and exact where they are compared"
)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_of_its_own_in_which_its_scope_stands() {
        let mut names: Vec<&str> = INFO.iter().map(|info| info.name).collect();
        for name in ["host_cpu_ratio", "session_cpu_ratio", "tool_error_ratio", "tool_call_secs"] {
            assert!(names.contains(&name), "{name}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for info in INFO.iter().filter(|info| info.labels.contains(&"session_id")) {
            assert!(info.name.starts_with("session_") && info.labels.contains(&"tenant"));
        }
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let of = |ratio| quantile(&mut [4.0, 2.0, 1.0, 3.0], ratio);
        assert_eq!((of(0.5), of(0.99)), (Some(2.0), Some(4.0)));
        assert_eq!(quantile(&mut [], 0.99), None);
    }

    #[test]
    fn subjects_are_meant_whose_labels_are_asked_for() {
        let session = Subject::of(Scope::Session, Some("ann"), "sim_1").unwrap();
        let is_meant = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string()));
            let labels = labels.collect();
            let (metric, aggregate) = (String::new(), Aggregate::Avg);
            let selection = Selection { metric, aggregate, window_secs: 60, labels };
            Meant::of(Scope::Session, &selection).has(&session)
        };
        for meant in [&[][..], &[("tenant", "ann")], &[("tenant", "ann"), ("session_id", "sim_1")]]
        {
            assert!(is_meant(meant), "{meant:?}");
        }
        for other in [&[("tenant", "bob")][..], &[("session_id", "sim_2")], &[("tool", "sim_1")]] {
            assert!(!is_meant(other), "{other:?}");
        }
    }
}

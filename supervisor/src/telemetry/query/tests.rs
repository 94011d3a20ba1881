//! A memory and a history that a test has filled.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "numbers of a test are small, and exact where they are compared"
)]

use super::*;
use crate::durations::Durations;
use crate::telemetry::history::{Bounds, History};
use crate::telemetry::levels::{Level, Levels};
use crate::telemetry::metric::Id;
use crate::telemetry::series::{Places, Sample, Table};

const HOUR: i64 = 3600;

/// The beginning of an hour, long ago.
const BEGIN: i64 = 450_000 * HOUR;

fn acme() -> Tenant {
    Tenant::named("acme")
}

fn session(tenant: &Tenant, name: &str) -> Subject {
    Subject::Session(tenant.clone(), name.into())
}

/// As many seconds as that, in which the value is the second's number.
fn measured(seconds: i64, folder: Option<&tempfile::TempDir>) -> Measured {
    let history = folder.map(|folder| {
        let bounds = Bounds {
            bytes_max: 64 << 20,
            cache_bytes_max: 1 << 20,
            subjects_max: 100,
            subjects_per_tenant_max: 100,
        };
        History::open(&folder.path().join("metrics.sqlite"), bounds).unwrap()
    });
    let measured = Measured::new(Table::new(100, 100), Levels::default(), history);
    for second in 0..seconds {
        let mut sample = Sample::default();
        sample.set(Id::Cpu, second as f64);
        sample.set(Id::Steps, 2.0);
        let mut durations = Durations::default();
        durations.note(if second % 100 == 99 { 1_000_000 } else { 1000 });
        sample.observe(Id::StepTime, &durations);
        let samples = vec![
            (session(&acme(), "sim_1"), sample.clone()),
            (session(&Tenant::named("zeta"), "sim_2"), sample.clone()),
            (Subject::Tenant(acme()), sample.clone()),
            (Subject::Fleet, sample),
        ];
        let minutes = measured.table().note(Places::until(BEGIN + second, 1), samples);
        for minute in minutes {
            // Whoever writes is waited for.
            while let Some(history) = measured.history() {
                let before = history.dropped_total();
                history.keep(minute.clone());
                if history.dropped_total() == before {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }
    if let Some(history) = measured.history() {
        history.close();
    }
    measured
}

fn query(metric: &str, from_secs: i64, to_secs: i64) -> Query {
    Query {
        metrics: vec![metric.to_owned()],
        scope: Scope::Session,
        name: None,
        from_secs: BEGIN + from_secs,
        to_secs: BEGIN + to_secs,
        step_secs: None,
        aggregate: Aggregate::Mean,
        points_max: 60,
        columns_max: 10,
    }
}

#[test]
fn the_last_minute_is_told_second_by_second() {
    let measured = measured(130, None);
    let frame = measured.query(&query("cpu_ratio", 100, 130), &Sight::Of(acme())).unwrap();
    assert_eq!((frame.from_secs, frame.step_secs), (BEGIN + 100, 1));
    let [column] = &frame.columns[..] else { panic!("{frame:?}") };
    assert_eq!((column.name.as_str(), column.coverage_ratio), ("sim_1", 1.0));
    assert_eq!(column.values, (100..130).map(|value| Some(f64::from(value))).collect::<Vec<_>>());
}

#[test]
fn nobody_sees_what_is_somebody_elses() {
    let measured = measured(10, None);
    let everything = measured.query(&query("cpu_ratio", 0, 10), &Sight::All).unwrap();
    let owners: Vec<_> = everything.columns.iter().map(|column| column.tenant.clone()).collect();
    assert_eq!(owners, [Some("acme".to_owned()), Some("zeta".to_owned())]);
    let named = Query { name: Some("sim_2".to_owned()), ..query("cpu_ratio", 0, 10) };
    assert_eq!(measured.query(&named, &Sight::Of(acme())).unwrap().columns, []);
    let fleet = Query { scope: Scope::Fleet, ..query("cpu_ratio", 0, 10) };
    assert_eq!(measured.query(&fleet, &Sight::Of(acme())).unwrap().columns, []);
    assert_eq!(measured.query(&fleet, &Sight::All).unwrap().columns.len(), 1);
}

#[test]
fn memory_and_history_follow_each_other_without_a_seam() {
    let folder = tempfile::tempdir().unwrap();
    let measured = measured(3 * HOUR, Some(&folder));
    let all = Query {
        scope: Scope::Tenant,
        step_secs: Some(300),
        points_max: 36,
        ..query("cpu_ratio", 0, 3 * HOUR)
    };
    let frame = measured.query(&all, &Sight::Of(acme())).unwrap();
    let means: Vec<_> = (0..36).map(|bin| Some(rounded(f64::from(bin) * 300.0 + 149.5))).collect();
    assert_eq!(frame.columns[0].values, means);
    // By the hour, of which the last is not kept yet.
    let hours = Query { step_secs: Some(HOUR), aggregate: Aggregate::Max, ..all };
    let frame = measured.query(&hours, &Sight::Of(acme())).unwrap();
    assert_eq!(
        frame.columns[0].values,
        [3599.0, 7199.0, 10799.0].map(|value| Some(rounded(value)))
    );
    // Steps that were taken: two a second.
    let total =
        Query { aggregate: Aggregate::Total, metrics: vec!["steps_per_sec".into()], ..hours };
    let frame = measured.query(&total, &Sight::Of(acme())).unwrap();
    assert_eq!(frame.columns[0].values, [Some(7200.0); 3]);
}

#[test]
fn percentiles_are_those_of_all_and_not_means_of_some() {
    let folder = tempfile::tempdir().unwrap();
    let measured = measured(2 * HOUR, Some(&folder));
    let of = |aggregate, step_secs| {
        let query = Query {
            aggregate,
            step_secs: Some(step_secs),
            scope: Scope::Tenant,
            ..query("step_secs", 0, 2 * HOUR)
        };
        measured.query(&query, &Sight::Of(acme())).unwrap().columns.remove(0).values
    };
    // One step in a hundred takes a millisecond.
    for value in of(Aggregate::P50, HOUR).into_iter().chain(of(Aggregate::P95, HOUR)) {
        assert!(value.is_some_and(|secs| (0.9e-6..1.2e-6).contains(&secs)), "{value:?}");
    }
    for value in of(Aggregate::Max, HOUR) {
        assert!(value.is_some_and(|secs| (0.9e-3..1.2e-3).contains(&secs)), "{value:?}");
    }
    assert_eq!(of(Aggregate::Total, HOUR), [Some(3600.0), Some(3600.0)]);
}

#[test]
fn what_cannot_be_asked_is_refused_and_says_what_can() {
    let measured = measured(1000, None);
    let refused = |query: &Query| measured.query(query, &Sight::All).unwrap_err().to_string();
    let unknown = refused(&query("cpu", 0, 10));
    assert_eq!(unknown, "there is no metric `cpu`; did you mean `cpu_ratio`?");
    let elsewhere = refused(&query("host_cpu_ratio", 0, 10));
    assert!(elsewhere.starts_with("`host_cpu_ratio` is not measured of a session"), "{elsewhere}");
    let percentile = Query { aggregate: Aggregate::P99, ..query("cpu_ratio", 0, 10) };
    assert!(refused(&percentile).contains("has no percentiles"));
    assert!(refused(&query("cpu_ratio", 10, 10)).contains("stretch of time"));
    let fine = Query { step_secs: Some(1), ..query("cpu_ratio", 0, 1000) };
    assert!(refused(&fine).contains("ask for longer steps"));
    let none = Query { metrics: vec![], ..query("cpu_ratio", 0, 10) };
    assert!(refused(&none).contains("1 to 16 metrics"));
}

#[test]
fn an_answer_is_short_and_says_what_it_leaves_out() {
    let measured = measured(130, None);
    let short = Query { columns_max: 1, points_max: 10, ..query("cpu_ratio", 0, 130) };
    let frame = measured.query(&short, &Sight::All).unwrap();
    assert_eq!((frame.columns.len(), frame.columns_cut), (1, 1));
    assert!(frame.columns[0].values.len() <= 11, "{frame:?}");
    assert_eq!(frame.step_secs, 30);
}

#[test]
fn numbers_have_four_digits() {
    assert_eq!(rounded(123_456.0), 123_500.0);
    assert_eq!(rounded(0.000_123_456), 0.000_123_5);
    assert_eq!(rounded(-2.0), -2.0);
    assert_eq!(rounded(0.0), 0.0);
    assert!(rounded(f64::MAX).is_finite());
    assert_eq!(rounded(1e-320), 1e-320);
}

#[test]
fn whoever_does_not_want_to_be_looked_at_sees_nothing_and_the_operator_does() {
    let measured = measured(10, None);
    measured.levels().set_session(&acme(), "sim_1", Level::Off);
    let query = query("cpu_ratio", 0, 10);
    assert_eq!(measured.query(&query, &Sight::Of(acme())).unwrap().columns, []);
    assert_eq!(measured.query(&query, &Sight::All).unwrap().columns.len(), 2);
}

#[test]
fn a_daemon_that_is_younger_than_what_it_is_asked_for_still_tells_each_second() {
    let folder = tempfile::tempdir().unwrap();
    for folder in [None, Some(&folder)] {
        let measured = measured(150, folder);
        let ask = query("cpu_ratio", -50, 150);
        let frame = measured
            .query(&Query { step_secs: Some(1), points_max: 200, ..ask }, &Sight::All)
            .unwrap();
        assert_eq!(frame.step_secs, 1);
        let values: Vec<f64> = frame.columns[0].values.iter().copied().flatten().collect();
        assert_eq!((values.len(), values[149]), (150, 149.0));
    }
}

#[test]
fn a_value_is_not_of_a_shorter_time_than_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let measured = measured(2 * HOUR, Some(&folder));
    let fine = Query { step_secs: Some(10), points_max: 2000, ..query("cpu_ratio", 0, 2 * HOUR) };
    let frame = measured.query(&fine, &Sight::Of(acme())).unwrap();
    assert_eq!((frame.step_secs, frame.columns[0].coverage_ratio), (60, 1.0));
}

#[test]
fn a_day_of_which_only_hours_are_left_is_told_by_them() {
    const DAY: i64 = 24 * HOUR;
    let folder = tempfile::tempdir().unwrap();
    let measured = measured(3 * HOUR, Some(&folder));
    // Ten days later.
    let now = BEGIN + 10 * DAY;
    measured.table().note(Places::until(now, 1), vec![(Subject::Fleet, Sample::default())]);
    let ask = Query { points_max: 60, ..query("cpu_ratio", 0, DAY) };
    let ask = Query { scope: Scope::Fleet, ..ask };
    let told = measured.query(&ask, &Sight::All).unwrap();
    assert_eq!(told.step_secs, HOUR);
    let values = &told.columns[0].values;
    // To four digits.
    assert_eq!(values[..2], [Some(1800.0), Some(5400.0)], "{values:?}");
}

#[test]
fn a_level_has_no_total() {
    let measured = measured(10, None);
    let ask = |metric| Query { aggregate: Aggregate::Total, ..query(metric, 0, 10) };
    let error = measured.query(&ask("cpu_ratio"), &Sight::All).unwrap_err();
    assert!(error.to_string().contains("does not add up"), "{error}");
    let told = measured.query(&ask("steps_per_sec"), &Sight::All).unwrap();
    assert_eq!((told.columns[0].values[0], told.columns[0].unit), (Some(2.0), Unit::Count));
}

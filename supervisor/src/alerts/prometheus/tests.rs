//! What of rules Prometheus and we can say to each other.

use proptest::prelude::*;

use super::*;
use crate::alerts::readings::{Kind, MetricInfo};
use crate::alerts::rule::Action;

const METRICS: [MetricInfo; 1] = [MetricInfo {
    name: "load",
    unit: "ratio",
    help: "",
    labels: &["session_id", "tenant"],
    kind: Kind::Rate,
}];

/// What is on our page.
const ON_PAGE: [MetricInfo; 3] = [
    MetricInfo { name: "session_steps_per_sec", ..METRICS[0] },
    MetricInfo { name: "session_step_secs", kind: Kind::Durations, ..METRICS[0] },
    MetricInfo { name: "tool_steps_per_sec", ..METRICS[0] },
];

fn rule(metric: &str, spec: Spec) -> Rule {
    Rule::new(Owner::Fleet, Spec { metric: metric.to_owned(), ..spec }, &ON_PAGE).unwrap()
}

#[test]
fn what_is_written_is_what_prometheus_reads() {
    let loud = rule(
        "session_steps_per_sec",
        Spec {
            name: Some("it's \"loud\"".to_owned()),
            value: 0.8,
            clear_value: Some(0.7),
            for_secs: Some(300.0),
            keep_firing_secs: Some(1.5),
            severity: Severity::Critical,
            action: Some(Action::Close),
            runbook: Some("look: there".to_owned()),
            labels: [("session_id".to_owned(), "sim_1".to_owned())].into(),
            ..Spec::default()
        },
    );
    let of = |metric: &str, name: &str, aggregate| {
        let (name, aggregate) = (Some(name.to_owned()), Some(aggregate));
        rule(metric, Spec { name, aggregate, value: 1.0, no_data: NoData::Ok, ..Spec::default() })
    };
    let equal = Rule { operator: Operator::Eq, ..of("session_step_secs", "equal", Aggregate::P95) };
    let slow = of("session_step_secs", "slow", Aggregate::P95);
    let mean = of("session_step_secs", "mean", Aggregate::Avg);
    let more = of("session_steps_per_sec", "more", Aggregate::Increase);
    let busy = of("session_steps_per_sec", "busy", Aggregate::Rate);
    let tool = of("tool_steps_per_sec", "tool", Aggregate::Avg);
    let exported = write([&loud, &equal, &slow, &mean, &more, &busy, &tool]);
    insta::assert_snapshot!(format!("{}---\n{}", exported.yaml, exported.left_out.join("\n")));
}

#[test]
fn a_file_of_prometheus_s_is_read_as_far_as_it_can_be_and_the_rest_is_named() {
    let yaml = r#"
groups:
  - name: a
    interval: 30s
    rules:
      - alert: busy
        expr: avg_over_time(simward_load{session_id="sim_1"}[5m]) > 0.8
        for: 1h30m
        keep_firing_for: 90s
        labels: { severity: critical, team: robots }
        annotations:
          summary: "it is {{ $value }}"
          runbook_url: https://example.org/busy
      - alert: other way round
        expr: 0.5 >= (load)
      - alert: negative
        expr: load < -1
      - alert: tail
        expr: quantile_over_time(0.99, load[1m]) > 1
      - record: load:avg
        expr: avg(load)
      - alert: sum
        expr: sum by (tenant) (load) > 1
      - alert: not equal
        expr: load != 1
      - alert: regex
        expr: load{session_id=~"sim_.*"} > 1
      - alert: offset
        expr: load offset 5m > 1
      - alert: vectors
        expr: load > load
      - alert: arithmetic
        expr: load * 2 > 1
      - alert: bool
        expr: load > bool 1
      - alert: deriv
        expr: deriv(load[5m]) > 1
      - alert: quantile
        expr: quantile_over_time(0.5, load[5m]) > 1
      - alert: and
        expr: load > 1 and load < 2
      - alert: broken
        expr: "load >"
      - alert: absent
        expr: absent(load)
"#;
    let read = read(yaml).unwrap();
    let conditions: Vec<String> = read
        .rules
        .iter()
        .map(|spec| {
            let rule = Rule::new(Owner::Fleet, spec.clone(), &METRICS).unwrap();
            format!("{}: {} for {} s", rule.name, rule.condition(), rule.for_secs)
        })
        .collect();
    let told = [conditions, read.refused, read.left_out].map(|part| part.join("\n"));
    insta::assert_snapshot!(told.join("\n---\n"));
    let busy = &read.rules[0];
    assert_eq!(busy.keep_firing_secs, Some(90.0));
    assert_eq!(busy.runbook.as_deref(), Some("https://example.org/busy"));
    assert_eq!((busy.severity, busy.no_data), (Severity::Critical, NoData::Ok));
}

#[test]
fn what_is_no_file_of_rules_is_refused() {
    read("groups: 3").unwrap_err();
    read("groups:\n  - rules:\n      - alert: a\n        exprr: b").unwrap_err();
    read(&"x".repeat(TEXT_BYTES_MAX + 1)).unwrap_err();
    let many = "      - alert: a\n        expr: load > 1\n".repeat(RULES_MAX + 1);
    read(&format!("groups:\n  - name: a\n    rules:\n{many}")).unwrap_err();
    assert_eq!(read("groups: []").unwrap(), Read::default());
    let deep = format!("load > {}1{}", "(".repeat(900), ")".repeat(900));
    let nested = format!("groups:\n  - rules:\n      - alert: a\n        expr: {deep}\n");
    assert_eq!(read(&nested).unwrap().rules.len(), 1);
}

#[test]
fn durations_that_cannot_be_are_refused_and_break_nothing() {
    for held in ["-1", "nan", "inf", "1e300s", "x", "-5m", "99999999999999999999y"] {
        let yaml = format!(
            "groups:\n  - rules:\n      - alert: a\n        expr: load > 1\n        for: {held}\n"
        );
        let read = read(&yaml).unwrap();
        let spec = read.rules.into_iter().next();
        let rule = spec.map(|spec| Rule::new(Owner::Fleet, spec, &METRICS));
        assert!(rule.is_none_or(|rule| rule.is_err()), "{held}");
    }
    for window in ["1e400", "-1", "nan", "inf", "99999999999999999999y", "0s", "1ms"] {
        expression::read(&format!("avg_over_time(load[{window}]) > 1")).unwrap_err();
    }
    assert_eq!(secs(Some("0")), Ok(0.0));
    assert_eq!(secs(Some("1h1s")), Ok(3601.0));
}

proptest! {
    /// What can be expressed comes back as it was.
    #[test]
    fn a_rule_comes_back_as_it_was(
        name in "[a-zA-Z0-9 '\"\\\\:#{}-]{1,40}[a-z]",
        label in "[a-zA-Z0-9 '\"\\\\é-]{1,20}",
        value in -1e6..1e6_f64,
        window_secs in 1..3600_u32,
        aggregate in prop::sample::select(
            &[Aggregate::Avg, Aggregate::Min, Aggregate::Max, Aggregate::Last, Aggregate::P95][..],
        ),
        is_duration in any::<bool>(),
        operator in prop::sample::select(
            &[Operator::Gt, Operator::Gte, Operator::Lt, Operator::Lte][..],
        ),
        for_millis in 0..1_000_000_u32,
    ) {
        let (metric, aggregate, window_secs) = if is_duration {
            ("session_step_secs", Aggregate::P99, 60)
        } else {
            ("session_steps_per_sec", aggregate, window_secs)
        };
        let before = rule(metric, Spec {
            name: Some(name),
            value,
            window_secs: Some(window_secs),
            aggregate: Some(aggregate),
            operator,
            epsilon: Some(0.0),
            for_secs: Some(f64::from(for_millis) / 1000.0),
            no_data: NoData::Ok,
            labels: [("session_id".to_owned(), label)].into(),
            ..Spec::default()
        });
        let exported = write([&before]);
        let told = exported.left_out.join(" ");
        prop_assert!(told.ends_with("needs `metrics.sessions`"), "{}", told);
        let read = read(&exported.yaml).unwrap();
        prop_assert!(read.refused.is_empty(), "{:?} {}", read.refused, exported.yaml);
        let mut after = rule(metric, read.rules[0].clone());
        if aggregate == Aggregate::Last {
            after.selection.window_secs = window_secs;
        }
        prop_assert_eq!(after, before);
    }

    #[test]
    fn whatever_the_bytes_are_they_are_read_or_refused(text in ".{0,300}") {
        read(&text).ok();
        expression::read(&text).ok();
    }
}

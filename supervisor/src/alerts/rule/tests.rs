//! What a rule may be, and what values mean to it.

use proptest::prelude::*;

use super::*;
use crate::alerts::readings::Kind;

const METRICS: [MetricInfo; 4] = [
    MetricInfo {
        name: "session_cpu_ratio",
        unit: "cores",
        help: "",
        labels: &["session_id", "tenant"],
        kind: Kind::Gauge,
    },
    MetricInfo {
        name: "session_idle_secs",
        unit: "s",
        help: "",
        labels: &["session_id", "tenant"],
        kind: Kind::Gauge,
    },
    MetricInfo { name: "host_cpu_ratio", unit: "ratio", help: "", labels: &[], kind: Kind::Gauge },
    MetricInfo {
        name: "tool_call_secs",
        unit: "s",
        help: "",
        labels: &["tool", "tenant"],
        kind: Kind::Gauge,
    },
];

fn ann() -> Owner {
    Owner::Tenant("ann".to_owned())
}

fn spec(metric: &str) -> Spec {
    Spec { metric: metric.to_owned(), value: 0.8, ..Spec::default() }
}

fn refused(owner: Owner, spec: Spec) -> String {
    Rule::new(owner, spec, &METRICS).unwrap_err().to_string()
}

#[test]
fn metric_operator_and_value_are_enough() {
    let rule = Rule::new(ann(), spec("cpu"), &METRICS).unwrap();
    assert_eq!((rule.name.as_str(), rule.selection.metric.as_str()), ("cpu", "session_cpu_ratio"));
    assert_eq!(rule.condition(), "avg of session_cpu_ratio over 60 s > 0.8");
    let fleet = Rule::new(Owner::Fleet, spec("cpu"), &METRICS).unwrap();
    assert_eq!(fleet.selection.metric, "host_cpu_ratio");
    let idle = Rule::new(ann(), spec("session_idle_secs"), &METRICS).unwrap();
    assert_eq!(idle.condition(), "session_idle_secs > 0.8");
}

#[test]
fn a_tenant_s_rule_sees_nothing_of_others_whatever_it_selects() {
    let labels = BTreeMap::from([("tenant".to_owned(), "bob".to_owned())]);
    let rule = Rule::new(ann(), Spec { labels, ..spec("session_cpu_ratio") }, &METRICS).unwrap();
    assert_eq!(rule.question().labels["tenant"], "ann");
}

#[test]
fn what_cannot_be_is_refused_and_named() {
    let long = "x".repeat(NAME_CHARS_MAX + 1);
    for name in ["", " ", "a\nb", &long] {
        let error = refused(ann(), Spec { name: Some(name.to_owned()), ..spec("cpu") });
        assert!(error.starts_with("`name`"), "{error}");
    }
    assert!(refused(ann(), spec("warp")).contains("no metric `warp`"));
    assert!(refused(ann(), spec("host_cpu_ratio")).contains("takes pool:admin"));
    for (field, wrong) in [
        ("value", Spec { value: f64::NAN, ..spec("cpu") }),
        ("for_secs", Spec { for_secs: Some(-1.0), ..spec("cpu") }),
        ("cooldown_secs", Spec { cooldown_secs: Some(0.0), ..spec("cpu") }),
        ("grace_secs", Spec { grace_secs: Some(0.0), ..spec("cpu") }),
        ("window_secs", Spec { window_secs: Some(0), ..spec("cpu") }),
        ("window_secs", Spec { window_secs: Some(3601), ..spec("cpu") }),
        ("epsilon", Spec { epsilon: Some(-1.0), ..spec("cpu") }),
        ("clear_value", Spec { clear_value: Some(0.9), ..spec("cpu") }),
        ("routes", Spec { routes: vec!["log".to_owned()], ..spec("cpu") }),
        ("action", Spec { action: Some(Action::Close), ..spec("tool_call_secs") }),
        ("labels", Spec { labels: BTreeMap::from([("x".into(), "y".into())]), ..spec("cpu") }),
        ("runbook", Spec { runbook: Some("x".repeat(501)), ..spec("cpu") }),
    ] {
        let error = refused(ann(), wrong);
        assert!(error.starts_with(&format!("`{field}`")), "{field}: {error}");
    }
}

#[test]
fn equality_has_a_distance_and_a_warning() {
    let equal = Spec { operator: Operator::Eq, epsilon: Some(0.1), ..spec("cpu") };
    let rule = Rule::new(ann(), equal, &METRICS).unwrap();
    assert_eq!(rule.judge(Some(0.85)), Input::Holds);
    assert_eq!(rule.judge(Some(0.95)), Input::Calm);
    assert!(rule.warning().unwrap().contains("0.1"));
}

proptest! {
    /// Going up, a value is calm, then in between, then too much; never back.
    #[test]
    fn a_greater_value_is_never_less_of_an_alert(
        threshold in -100.0..100.0_f64,
        below in 0.0..50.0_f64,
        mut values in prop::collection::vec(-200.0..200.0_f64, 2..20),
    ) {
        let above = Spec { value: threshold, clear_value: Some(threshold - below), ..spec("cpu") };
        let rule = Rule::new(ann(), above, &METRICS).unwrap();
        values.sort_unstable_by(f64::total_cmp);
        let rank = |input| [Input::Calm, Input::Band, Input::Holds]
            .iter().position(|known| *known == input).unwrap();
        let ranks: Vec<usize> =
            values.iter().map(|value| rank(rule.judge(Some(*value)))).collect();
        prop_assert!(ranks.is_sorted(), "{values:?} {ranks:?}");
        prop_assert_eq!(rule.judge(None), Input::NoData);
        prop_assert_eq!(rule.judge(Some(f64::NAN)), Input::NoData);
    }
}

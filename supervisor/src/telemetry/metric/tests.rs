//! The list itself, and the page on monitoring, into which it is written.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

const BEGIN: &str = "<!-- metrics: written by the test `the_page_on_monitoring` -->\n";
const END: &str = "<!-- metrics end -->\n";

fn table() -> String {
    let mut table = "| metric | unit | of | meaning |\n|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let scopes: Vec<_> = metric.scopes.iter().map(|scope| scope.name()).collect();
        let Metric { name, what, .. } = metric;
        let unit = unit(metric);
        // Writing to a string does not fail.
        writeln!(table, "| `{name}` | {unit} | {} | {what} |", scopes.join(", ")).ok();
    }
    table
}

fn unit(metric: &Metric) -> &'static str {
    match (metric.unit, metric.is_gauge()) {
        (Unit::Count, _) => "count",
        (Unit::Ratio, _) => "ratio",
        (Unit::Bytes, _) => "bytes",
        (Unit::PerSecond, _) => "per second",
        (Unit::Seconds, true) => "seconds",
        (Unit::Seconds, false) => "seconds, a histogram",
    }
}

#[test]
fn the_page_on_monitoring_lists_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (there, after) = rest.split_once(END).unwrap();
    let written = table();
    if std::env::var_os("SIMWARD_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{written}{END}{after}")).unwrap();
        return;
    }
    let differs = written.lines().zip(there.lines()).find(|(new, old)| new != old);
    assert!(
        written == there,
        "docs/monitoring.md does not list what is measured; SIMWARD_UPDATE_DOCS=1 writes it anew. \
         The first difference: {differs:?}"
    );
}

#[test]
fn the_page_on_monitoring_says_what_subjects_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring.md");
    let page = std::fs::read_to_string(path).unwrap();
    for scope in Scope::ALL {
        assert!(page.contains(&format!("| `{scope}` |")), "{scope}");
    }
}

#[test]
fn every_metric_is_found_by_its_name_and_by_its_number() {
    for metric in METRICS {
        assert_eq!(Metric::named(metric.name).map(|found| found.id), Some(metric.id));
        assert_eq!(metric.id.metric().name, metric.name);
        assert!(!metric.scopes.is_empty() && metric.what.ends_with('.'), "{}", metric.name);
    }
    assert_eq!(Metric::nearest("cpu"), "cpu_ratio");
}

#[test]
fn prometheus_has_a_name_for_each_that_leads_back_to_it() {
    let mut names = Vec::new();
    for metric in METRICS {
        assert_eq!(from_base_units(&in_base_units(metric.name)), metric.name);
        names.extend(metric.scopes.iter().map(|scope| metric.exposed(*scope)));
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for name in ["simward_host_cpu_ratio", "simward_model_step_seconds"] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    assert!(names.iter().all(|name| !name.ends_with("_secs") && !name.ends_with("_sec")));
}

#[test]
fn units_stand_in_the_names() {
    for metric in METRICS {
        let ending = match metric.unit {
            Unit::Bytes => "_bytes",
            Unit::Seconds => "_secs",
            Unit::PerSecond => "_per_sec",
            Unit::Ratio if metric.id != Id::RealTime => "_ratio",
            Unit::Ratio | Unit::Count => "",
        };
        assert!(metric.name.ends_with(ending), "{}", metric.name);
    }
}

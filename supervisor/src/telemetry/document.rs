//! The list of metrics in the page on monitoring, written out of the list itself.

use std::fmt::Write as _;
use std::path::Path;

use super::metric::{METRICS, Metric, Scope, Unit};

const BEGIN: &str = "<!-- metrics: written by the test `document` -->\n";
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

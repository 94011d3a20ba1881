//! Rules as Prometheus has them, so that nobody is locked in: those of ours that it can express, and
//! those of its that we can.
//!
//! Names are those on our page for Prometheus. What is lost on the way, or not on the page, is said by
//! its name; what would mean something else is refused.

mod expression;
mod names;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use self::names::{QUANTILE, Series};
use super::readings::{Aggregate, Selection};
use super::rule::{Operator, Owner, Rule, Severity, Spec};
use super::state::NoData;

/// What metrics have before their names in Prometheus.
pub const PREFIX: &str = "simward_";

/// The most rules of one import.
pub const RULES_MAX: usize = 200;

/// The longest text of an import, in bytes.
pub const TEXT_BYTES_MAX: usize = 48 * 1024;

/// Rules for Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// A file of rules.
    pub yaml: String,
    /// What it does not say, or why a rule is not in it, by rule.
    pub left_out: Vec<String>,
}

/// Rules out of a file of Prometheus's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// Those that we can express.
    pub rules: Vec<Spec>,
    /// Those that we cannot, and why.
    pub refused: Vec<String>,
    /// What of the others is left out.
    pub left_out: Vec<String>,
}

/// Writes rules for Prometheus.
pub fn write<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> Exported {
    let mut yaml = "groups:\n  - name: simward\n    rules:\n".to_owned();
    let (mut left_out, mut count) = (Vec::new(), 0);
    for rule in rules {
        let expression = match expression(rule) {
            Ok(expression) => expression,
            Err(problem) => {
                left_out.push(format!("`{}` is not exported: {problem}", rule.name));
                continue;
            }
        };
        let question = rule.question();
        for key in Series::of(&question.metric).map(|it| it.needs(&question)).unwrap_or_default() {
            left_out.push(format!("`{}` needs `{key}`", rule.name));
        }
        let lost = lost(rule);
        if !lost.is_empty() {
            left_out.push(format!("`{}` is exported without {}", rule.name, lost.join(", ")));
        }
        entry(&mut yaml, rule, &expression);
        count += 1;
    }
    if count == 0 {
        "groups: []\n".clone_into(&mut yaml);
    }
    Exported { yaml, left_out }
}

/// Reads a file of rules.
pub fn read(yaml: &str) -> Result<Read, String> {
    if TEXT_BYTES_MAX < yaml.len() {
        return Err(format!("a file of rules may have {TEXT_BYTES_MAX} bytes"));
    }
    let file: File = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    let all: Vec<Entry> = file.groups.into_iter().flat_map(|group| group.rules).collect();
    if RULES_MAX < all.len() {
        return Err(format!("there may be {RULES_MAX} rules, and there are {}", all.len()));
    }
    let mut read = Read::default();
    for entry in all {
        let name = entry.alert.clone().or_else(|| entry.record.clone()).unwrap_or_default();
        match entry.read() {
            Ok((spec, lost)) => {
                read.rules.push(spec);
                read.left_out.extend(lost.into_iter().map(|lost| format!("`{name}`: {lost}")));
            }
            Err(problem) => read.refused.push(format!("`{name}`: {problem}")),
        }
    }
    Ok(read)
}

/// What of a rule Prometheus cannot express.
fn lost(rule: &Rule) -> Vec<&'static str> {
    let fields = [
        ("clear_value", rule.clear_value.total_cmp(&rule.value).is_ne()),
        ("no_data", rule.no_data != NoData::Ok),
        ("action", rule.action.is_some()),
        ("routes", !rule.routes.is_empty()),
    ];
    fields.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

fn entry(yaml: &mut String, rule: &Rule, expression: &str) {
    // Writing to a string does not fail. A text in JSON is one in YAML.
    let mut line = |indent: usize, key: &str, value: String| {
        let gap = if value.is_empty() { "" } else { " " };
        writeln!(yaml, "{:indent$}{key}:{gap}{value}", "").ok();
    };
    line(6, "- alert", quoted(&rule.name));
    line(8, "expr", quoted(expression));
    if 0.0 < rule.for_secs {
        line(8, "for", duration(rule.for_secs));
    }
    if 0.0 < rule.keep_firing_secs {
        line(8, "keep_firing_for", duration(rule.keep_firing_secs));
    }
    line(8, "labels", String::new());
    line(10, "severity", rule.severity.name().to_owned());
    if !rule.runbook.is_empty() {
        line(8, "annotations", String::new());
        line(10, "runbook", quoted(&rule.runbook));
    }
}

/// What a rule compares, or why nothing on the page is that.
fn expression(rule: &Rule) -> Result<String, String> {
    if rule.operator == Operator::Eq && rule.epsilon != 0.0 {
        return Err("`eq` with an `epsilon`".to_owned());
    }
    let selection = rule.question();
    let Selection { metric, aggregate, window_secs, labels } = &selection;
    let series = Series::of(metric).ok_or_else(|| format!("{metric} is not on /metrics"))?;
    let quantile = series.quantile(&selection)?;
    // Escapes in texts are those of JSON, as far as there are any.
    let matcher = |(key, value): (&str, &str)| format!("{key}={}", quoted(value));
    let labels = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let matchers = labels.chain(quantile.map(|ratio| (QUANTILE, ratio))).map(matcher);
    let matchers = matchers.collect::<Vec<_>>().join(",");
    let braces = if matchers.is_empty() { matchers } else { format!("{{{matchers}}}") };
    let selector = format!("{}{braces}", series.name());
    let window = format!("{selector}[{window_secs}s]");
    let left = match aggregate {
        Aggregate::P95 | Aggregate::P99 if quantile.is_some() => selector,
        Aggregate::Last => selector,
        // What is on the page is a rate already.
        Aggregate::Avg | Aggregate::Rate => format!("avg_over_time({window})"),
        Aggregate::Min => format!("min_over_time({window})"),
        Aggregate::Max => format!("max_over_time({window})"),
        Aggregate::Increase => return Err("`increase`: on /metrics it is a rate".to_owned()),
        Aggregate::P95 => format!("quantile_over_time(0.95, {window})"),
        Aggregate::P99 => format!("quantile_over_time(0.99, {window})"),
    };
    Ok(format!("{left} {} {}", rule.operator.symbol(), rule.value))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A duration as Prometheus has it, to the millisecond.
fn duration(secs: f64) -> String {
    let millis = (secs * 1000.0).round();
    if millis % 1000.0 == 0.0 { format!("{}s", millis / 1000.0) } else { format!("{millis}ms") }
}

/// A duration of Prometheus's in seconds, to the millisecond.
fn secs(text: Option<&str>) -> Result<f64, String> {
    let text = text.map_or("0", str::trim);
    let secs = match text.parse::<f64>() {
        Ok(secs) => secs,
        // Prometheus takes it here, and nowhere else.
        Err(_) if text == "0s" => 0.0,
        Err(_) => promql_parser::util::parse_duration(text)?.as_secs_f64(),
    };
    let millis = (secs * 1000.0).round();
    if millis.is_finite() { Ok(millis / 1000.0) } else { Err(format!("`{text}` is no duration")) }
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    groups: Vec<Group>,
}

/// What else a group says is about how often Prometheus looks.
#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    rules: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    alert: Option<String>,
    record: Option<String>,
    #[serde(default)]
    expr: String,
    #[serde(rename = "for")]
    held: Option<String>,
    keep_firing_for: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Entry {
    /// The rule, and what of it is left out.
    fn read(self) -> Result<(Spec, Vec<String>), String> {
        let Some(name) = self.alert else { return Err("it records, and alerts of nothing".into()) };
        let (selection, operator, value) = expression::read(&self.expr)?;
        let (mut severity, mut runbook, mut lost) = (Severity::default(), None, Vec::new());
        for (key, value) in self.labels {
            match (key.as_str(), value.as_str()) {
                ("severity", "info") => severity = Severity::Info,
                ("severity", "warning") => severity = Severity::Warning,
                ("severity", "critical") => severity = Severity::Critical,
                _ => lost.push(format!("the label `{key}` is left out")),
            }
        }
        for (key, value) in self.annotations {
            match key.as_str() {
                "runbook" | "runbook_url" => runbook = Some(value),
                _ => lost.push(format!("the annotation `{key}` is left out")),
            }
        }
        let spec = Spec {
            name: Some(name),
            metric: selection.metric,
            aggregate: Some(selection.aggregate),
            window_secs: Some(selection.window_secs),
            labels: selection.labels,
            operator,
            value,
            epsilon: Some(0.0),
            for_secs: Some(secs(self.held.as_deref())?),
            keep_firing_secs: Some(secs(self.keep_firing_for.as_deref())?),
            severity,
            no_data: NoData::Ok,
            runbook,
            ..Spec::default()
        };
        Ok((spec, lost))
    }
}

/// Whose rules are exported by that name.
pub fn owner(tenant: Option<String>) -> Owner {
    tenant.map_or(Owner::Fleet, Owner::Tenant)
}

#[cfg(test)]
mod tests;

//! A rule: what is looked at, from when on it is told, and what is done about it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::readings::{Aggregate, MetricInfo, Selection};
use super::state::{Input, NoData, Terms};
use crate::code::Code;

/// Whose a rule is, and so what it may look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The operators': it looks at everything.
    Fleet,
    /// A tenant's: it looks at what is that tenant's.
    Tenant(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet => f.pad("fleet"),
            Self::Tenant(tenant) => f.pad(tenant),
        }
    }
}

/// How a value is compared with the threshold.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Above it.
    #[default]
    Gt,
    /// At least as much.
    Gte,
    /// Below it.
    Lt,
    /// At most as much.
    Lte,
    /// The same, within `epsilon`.
    Eq,
}

impl Operator {
    /// As Prometheus writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Gt => ">",
            Self::Gte => ">=",
            Self::Lt => "<",
            Self::Lte => "<=",
            Self::Eq => "==",
        }
    }

    fn holds(self, value: f64, threshold: f64, epsilon: f64) -> bool {
        match self {
            Self::Gt => threshold < value,
            Self::Gte => threshold <= value,
            Self::Lt => value < threshold,
            Self::Lte => value <= threshold,
            Self::Eq => (value - threshold).abs() <= epsilon,
        }
    }
}

/// How bad it is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    #[default]
    Warning,
    /// Somebody must act.
    Critical,
}

impl Severity {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What is done to a session about which a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing beside telling.
    Warn,
    /// It is closed once nobody uses it.
    Drain,
    /// It is put to sleep once nobody uses it.
    Hibernate,
    /// It is closed.
    Close,
}

/// What may be said of a rule. What is left out has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// By default the metric's name.
    pub name: Option<String>,
    /// A metric, or `step_time`, `memory`, `cpu`, `error_rate`.
    pub metric: String,
    /// By default `avg`.
    pub aggregate: Option<Aggregate>,
    /// Over the last seconds; 60.
    pub window_secs: Option<u32>,
    /// Only of these, such as a `session_id`.
    pub labels: BTreeMap<String, String>,
    /// By default `gt`.
    pub operator: Operator,
    /// The threshold, in the metric's unit.
    pub value: f64,
    /// For `eq`.
    pub epsilon: Option<f64>,
    /// Where it is over again, if elsewhere.
    pub clear_value: Option<f64>,
    /// Fires after so long; 60.
    pub for_secs: Option<f64>,
    /// Goes on so long after it is over; 0.
    pub keep_firing_secs: Option<f64>,
    /// Reminds after so long; 3600.
    pub cooldown_secs: Option<f64>,
    /// By default `warning`.
    pub severity: Severity,
    /// Where nothing can be read: `keep_last`.
    pub no_data: NoData,
    /// What is done to the session.
    pub action: Option<Action>,
    /// From the notice until that; 60.
    pub grace_secs: Option<f64>,
    /// Operators: `log`, `webhook`, `exec:NAME`.
    pub routes: Vec<String>,
    /// What to do about it.
    pub runbook: Option<String>,
}

/// A rule, with everything said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whose it is.
    pub owner: Owner,
    /// What its owner calls it.
    pub name: String,
    /// What is looked at, before it is narrowed down to the owner's.
    pub selection: Selection,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: f64,
    /// How far two values may be apart and are the same.
    pub epsilon: f64,
    /// Where it is over again.
    pub clear_value: f64,
    /// How long the condition must hold, in seconds.
    pub for_secs: f64,
    /// How long it goes on firing afterwards, in seconds.
    pub keep_firing_secs: f64,
    /// After how long it is told again, in seconds.
    pub cooldown_secs: f64,
    /// How bad it is.
    pub severity: Severity,
    /// What it means that nothing can be read.
    pub no_data: NoData,
    /// What is done to the session.
    pub action: Option<Action>,
    /// How long after the notice, in seconds.
    pub grace_secs: f64,
    /// Where it is told beside the resource and the audit.
    pub routes: Vec<String>,
    /// What to do about it.
    pub runbook: String,
    /// Whether it stands in the operator's configuration, and can be changed only there.
    pub is_configured: bool,
}

/// A rule that cannot be.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// A field is not what it must be.
    #[error("`{field}` {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such metric.
    #[error("there is no metric `{metric}`; there are {there}")]
    Metric {
        /// Its name.
        metric: String,
        /// Those that there are.
        there: String,
    },
}

impl Code for RuleError {
    fn code(&self) -> &'static str {
        match self {
            Self::Field { .. } => "invalid_argument",
            Self::Metric { .. } => "metric_unknown",
        }
    }
}

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// The longest name or value of a label, in characters.
const LABEL_CHARS_MAX: usize = 128;

/// The most labels that a rule selects by.
const LABELS_MAX: usize = 8;

/// The most routes of a rule.
const ROUTES_MAX: usize = 8;

/// The longest runbook, in characters.
const RUNBOOK_CHARS_MAX: usize = 500;

/// The longest window, in seconds: an hour, as much as is in memory.
pub const WINDOW_SECS_MAX: u32 = 3600;

/// The longest of the other durations, in seconds: a week.
const DURATION_SECS_MAX: f64 = 604_800.0;

/// The shortest time between two notices of the same alert, in seconds.
const COOLDOWN_SECS_MIN: f64 = 10.0;

/// The shortest time between a notice and what is done, in seconds.
const GRACE_SECS_MIN: f64 = 1.0;

impl Rule {
    /// What is meant by a specification, if there is such a metric.
    pub fn new(owner: Owner, spec: Spec, metrics: &[MetricInfo]) -> Result<Self, RuleError> {
        let (metric, aggregate) = meant(&spec.metric, &owner);
        let name = spec.name.unwrap_or_else(|| spec.metric.clone());
        let epsilon = spec.epsilon.unwrap_or_else(|| 1e-9 * spec.value.abs().max(1.0));
        let selection = Selection {
            metric: metric.to_owned(),
            aggregate: spec.aggregate.unwrap_or(aggregate),
            window_secs: spec.window_secs.unwrap_or(60),
            labels: spec.labels,
        };
        let rule = Self {
            owner,
            name,
            selection,
            operator: spec.operator,
            value: spec.value,
            epsilon,
            clear_value: spec.clear_value.unwrap_or(spec.value),
            for_secs: spec.for_secs.unwrap_or(60.0),
            keep_firing_secs: spec.keep_firing_secs.unwrap_or(0.0),
            cooldown_secs: spec.cooldown_secs.unwrap_or(3600.0),
            severity: spec.severity,
            no_data: spec.no_data,
            action: spec.action,
            grace_secs: spec.grace_secs.unwrap_or(60.0),
            routes: spec.routes,
            runbook: spec.runbook.unwrap_or_default(),
            is_configured: false,
        };
        rule.check_texts()?;
        rule.check_numbers()?;
        rule.check_metric(metrics)?;
        Ok(rule)
    }

    /// What is asked of the readings: a tenant's rule sees nothing of others, whatever it selects.
    pub fn question(&self) -> Selection {
        let mut selection = self.selection.clone();
        if let Owner::Tenant(tenant) = &self.owner {
            selection.labels.insert("tenant".to_owned(), tenant.clone());
        }
        selection
    }

    /// What a value means.
    pub fn judge(&self, value: Option<f64>) -> Input {
        let Some(value) = value.filter(|value| value.is_finite()) else { return Input::NoData };
        if self.operator.holds(value, self.value, self.epsilon) {
            Input::Holds
        } else if self.operator.holds(value, self.clear_value, self.epsilon) {
            Input::Band
        } else {
            Input::Calm
        }
    }

    /// When what follows.
    pub fn terms(&self) -> Terms {
        let acts = matches!(self.action, Some(Action::Drain | Action::Hibernate | Action::Close));
        Terms {
            for_secs: self.for_secs,
            keep_firing_secs: self.keep_firing_secs,
            cooldown_secs: self.cooldown_secs,
            grace_secs: acts.then_some(self.grace_secs),
            no_data: self.no_data,
        }
    }

    /// Whether another rule of that name asks and does the same, so that what one has found holds for
    /// both.
    pub fn asks_the_same_as(&self, other: &Self) -> bool {
        let condition = |rule: &Self| (rule.operator, rule.value, rule.epsilon, rule.clear_value);
        let action = |rule: &Self| (rule.action, rule.terms().grace_secs);
        self.selection == other.selection
            && condition(self) == condition(other)
            && action(self) == action(other)
    }

    /// What whoever wrote it should know.
    pub fn warning(&self) -> Option<String> {
        (self.operator == Operator::Eq).then(|| {
            format!("measured values are seldom equal; within {} they count as it", self.epsilon)
        })
    }

    /// The condition, for people.
    pub fn condition(&self) -> String {
        let Selection { metric, aggregate, window_secs, .. } = &self.selection;
        let (symbol, value) = (self.operator.symbol(), self.value);
        match aggregate {
            Aggregate::Last => format!("{metric} {symbol} {value}"),
            other => format!("{} of {metric} over {window_secs} s {symbol} {value}", other.name()),
        }
    }

    fn check_texts(&self) -> Result<(), RuleError> {
        let wrong = |field, problem: &str| Err(RuleError::Field { field, problem: problem.into() });
        let is_text = |text: &str, max: usize| {
            text.chars().count() <= max && !text.chars().any(char::is_control)
        };
        if self.name.trim().is_empty() || !is_text(&self.name, NAME_CHARS_MAX) {
            return wrong(
                "name",
                "must have 1 to 100 characters, none of them a control character",
            );
        }
        let labels = &self.selection.labels;
        let fits = |text: &String| !text.is_empty() && is_text(text, LABEL_CHARS_MAX);
        if LABELS_MAX < labels.len() || !labels.iter().all(|(key, value)| fits(key) && fits(value))
        {
            return wrong("labels", "may be 8, of 1 to 128 characters each");
        }
        if ROUTES_MAX < self.routes.len() {
            return wrong("routes", "may be 8");
        }
        if !self.routes.is_empty() && self.owner != Owner::Fleet {
            return wrong("routes", "are the operators'; your rules tell in performance://alerts");
        }
        if !is_text(&self.runbook, RUNBOOK_CHARS_MAX) {
            return wrong("runbook", "may have 500 characters, and no line break");
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), RuleError> {
        let wrong = |field, problem: String| Err(RuleError::Field { field, problem });
        for (field, number) in
            [("value", self.value), ("clear_value", self.clear_value), ("epsilon", self.epsilon)]
        {
            if !number.is_finite() {
                return wrong(field, "must be finite".to_owned());
            }
        }
        if self.epsilon < 0.0 {
            return wrong("epsilon", "must not be negative".to_owned());
        }
        for (field, secs, min) in [
            ("for_secs", self.for_secs, 0.0),
            ("keep_firing_secs", self.keep_firing_secs, 0.0),
            ("cooldown_secs", self.cooldown_secs, COOLDOWN_SECS_MIN),
            ("grace_secs", self.grace_secs, GRACE_SECS_MIN),
        ] {
            if !(min..=DURATION_SECS_MAX).contains(&secs) {
                return wrong(field, format!("must lie between {min} and {DURATION_SECS_MAX}"));
            }
        }
        if !(1..=WINDOW_SECS_MAX).contains(&self.selection.window_secs) {
            return wrong("window_secs", format!("must lie between 1 and {WINDOW_SECS_MAX}"));
        }
        // What fires must not be over at once.
        let is_hysteresis = self.operator.holds(self.value, self.clear_value, self.epsilon)
            || self.value.total_cmp(&self.clear_value).is_eq();
        if !is_hysteresis {
            let side = "must lie on the side of the threshold where nothing fires";
            return wrong("clear_value", side.to_owned());
        }
        Ok(())
    }

    fn check_metric(&self, metrics: &[MetricInfo]) -> Result<(), RuleError> {
        let wrong = |field, problem: String| Err(RuleError::Field { field, problem });
        let metric = &self.selection.metric;
        let Some(info) = metrics.iter().find(|info| info.name == metric.as_str()) else {
            let there: Vec<&str> = metrics.iter().map(|info| info.name).collect();
            let metric = metric.chars().take(LABEL_CHARS_MAX).collect();
            return Err(RuleError::Metric { metric, there: there.join(", ") });
        };
        let mut asked = self.selection.labels.keys();
        if let Some(label) = asked.find(|label| !info.labels.contains(&label.as_str())) {
            let there = info.labels.join(", ");
            return wrong("labels", format!("`{label}`: {metric} has only {there}"));
        }
        let aggregate = self.selection.aggregate;
        if !info.kind.allows(aggregate) {
            let all = Aggregate::ALL.into_iter().filter(|all| info.kind.allows(*all));
            let all = all.map(Aggregate::name).collect::<Vec<_>>().join(", ");
            return wrong("aggregate", format!("{metric} can have {all}"));
        }
        if self.owner != Owner::Fleet && !info.labels.contains(&"tenant") {
            return wrong("metric", format!("{metric} is everybody's; it takes pool:admin"));
        }
        if self.action.is_some() && !info.labels.contains(&"session_id") {
            return wrong("action", format!("{metric} is of no single session"));
        }
        Ok(())
    }
}

/// What the short names of metrics mean.
fn meant<'a>(metric: &'a str, owner: &Owner) -> (&'a str, Aggregate) {
    match (metric, owner) {
        ("step_time", _) => ("session_step_secs", Aggregate::P95),
        ("cpu", Owner::Fleet) => ("host_cpu_ratio", Aggregate::Avg),
        ("cpu", Owner::Tenant(_)) => ("session_cpu_ratio", Aggregate::Avg),
        ("memory", Owner::Fleet) => ("host_memory_ratio", Aggregate::Avg),
        ("memory", Owner::Tenant(_)) => ("session_resident_bytes", Aggregate::Avg),
        ("error_rate", Owner::Fleet) => ("tool_error_ratio", Aggregate::Avg),
        ("error_rate", Owner::Tenant(_)) => ("tenant_error_ratio", Aggregate::Avg),
        // Of what only grows the newest counts.
        ("session_idle_secs" | "session_age_secs", _) => (metric, Aggregate::Last),
        (metric, _) => (metric, Aggregate::Avg),
    }
}

/// The rules that a daemon has by itself, if its operator wants them.
pub fn defaults() -> Vec<Spec> {
    let spec = |name: &str, metric: &str, aggregate, value, runbook: &str| Spec {
        name: Some(name.to_owned()),
        metric: metric.to_owned(),
        aggregate: Some(aggregate),
        value,
        for_secs: Some(300.0),
        routes: vec!["log".to_owned()],
        runbook: Some(runbook.to_owned()),
        ..Spec::default()
    };
    let avg = Aggregate::Avg;
    let busy =
        "simward pool list shows who uses the processor; sessions.limits.cpu_ratio bounds it";
    let full = "simward pool list shows who uses memory; sessions.hibernate_after_secs frees it";
    let slow = "get_process_pool_stats shows starts that wait; long work belongs into runs";
    let wrong = "the audit says which calls are refused, and why";
    vec![
        spec("processor busy", "host_cpu_ratio", avg, 0.8, busy),
        spec("memory full", "host_memory_ratio", avg, 0.85, full),
        spec("calls slow", "tool_call_secs", Aggregate::P95, 1.0, slow),
        spec("calls fail", "tool_error_ratio", avg, 0.05, wrong),
    ]
}

#[cfg(test)]
mod tests;

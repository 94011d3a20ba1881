//! Rules and alerts, as they are told.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::book::{Active, Labels, Past, Silence};
use super::rule::{Action, Owner, Rule, Severity};
use super::state::{State, Why};

/// Whose alerts are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Everybody's.
    All,
    /// A tenant's: those of its rules, and those about what is its.
    Of(String),
}

impl Seen {
    /// Whether a rule is told.
    pub fn has_rule(&self, owner: &Owner) -> bool {
        match self {
            Self::All => true,
            Self::Of(tenant) => matches!(owner, Owner::Tenant(other) if other == tenant),
        }
    }

    /// Whether an alert is told.
    pub fn has(&self, owner: &Owner, labels: &Labels) -> bool {
        match self {
            Self::All => true,
            Self::Of(tenant) => self.has_rule(owner) || labels.get("tenant") == Some(tenant),
        }
    }
}

/// Which alerts are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one rule.
    pub rule: Option<String>,
    /// About one session.
    pub session_id: Option<String>,
    /// At least that bad.
    pub severity: Option<Severity>,
    /// At most so many of each kind.
    pub max: usize,
}

impl Filter {
    /// Whether a rule is wanted.
    pub fn names(&self, rule: &str) -> bool {
        self.rule.as_ref().is_none_or(|name| name == rule)
    }

    /// Whether an alert is wanted.
    pub fn wants(&self, rule: &str, severity: Severity, labels: &Labels) -> bool {
        self.names(rule)
            && self.severity.is_none_or(|least| least <= severity)
            && self.session_id.as_ref().is_none_or(|id| labels.get("session_id") == Some(id))
    }
}

/// An alert that is pending or fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AlertReport {
    /// The rule that is broken.
    pub rule: String,
    /// Whose rule it is: `fleet` or a tenant.
    pub owner: String,
    /// `pending` or `firing`.
    pub state: String,
    /// How bad it is.
    pub severity: Severity,
    /// About what.
    pub labels: Labels,
    /// What is broken, such as `avg of session_cpu_ratio over 60 s > 0.8`.
    pub condition: String,
    /// The value, when it was last seen.
    pub value: Option<f64>,
    /// Since when the condition holds.
    pub since: String,
    /// Since when it fires.
    pub fired_at: Option<String>,
    /// What is going to be done about it, or was.
    pub action: Option<Action>,
    /// When.
    pub acts_at: Option<String>,
    /// What was done, or why that failed.
    pub done: Option<String>,
    /// What to do about it.
    pub runbook: String,
}

/// An alert that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PastReport {
    /// The rule that was broken.
    pub rule: String,
    /// Whose rule it is: `fleet` or a tenant.
    pub owner: String,
    /// How bad it was.
    pub severity: Severity,
    /// About what.
    pub labels: Labels,
    /// The value, when it was last seen.
    pub value: Option<f64>,
    /// Since when it fired.
    pub fired_at: String,
    /// When it was over.
    pub resolved_at: String,
    /// Why.
    pub why: Why,
    /// What was done about it.
    pub done: Option<String>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RuleReport {
    /// Its name.
    pub name: String,
    /// Whose it is: `fleet` or a tenant.
    pub owner: String,
    /// What breaks it.
    pub condition: String,
    /// Only of these.
    pub labels: Labels,
    /// How long it must hold, in seconds.
    pub for_secs: f64,
    /// How bad it is.
    pub severity: Severity,
    /// What is done to the session.
    pub action: Option<Action>,
    /// Whether it stands in the server's configuration.
    pub configured: bool,
}

/// A silence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SilenceReport {
    /// Whose rules: `fleet` or a tenant.
    pub owner: String,
    /// Which of them; all without.
    pub rule: Option<String>,
    /// About what.
    pub labels: Labels,
    /// Until when.
    pub until: String,
}

impl AlertReport {
    /// Of an alert.
    pub fn of(rule: &Rule, labels: &Labels, alert: &Active) -> Self {
        let (since, firing) = match alert.state {
            State::Inactive => (0.0, None),
            State::Pending { since_secs } => (since_secs, None),
            State::Firing(firing) => (firing.since_secs, Some(firing)),
        };
        let state = if firing.is_some() { "firing" } else { "pending" };
        Self {
            rule: rule.name.clone(),
            owner: rule.owner.to_string(),
            state: state.to_owned(),
            severity: rule.severity,
            labels: labels.clone(),
            condition: rule.condition(),
            value: alert.value,
            since: moment(since),
            fired_at: firing.map(|firing| moment(firing.fired_at_secs)),
            action: rule.action,
            acts_at: firing.and_then(|firing| firing.act_at_secs).map(moment),
            done: alert.done.clone(),
            runbook: rule.runbook.clone(),
        }
    }
}

impl PastReport {
    /// Of an alert that is over.
    pub fn of(past: &Past) -> Self {
        Self {
            rule: past.rule.clone(),
            owner: past.owner.to_string(),
            severity: past.severity,
            labels: past.labels.clone(),
            value: past.value,
            fired_at: moment(past.fired_at_secs),
            resolved_at: moment(past.resolved_at_secs),
            why: past.why,
            done: past.done.clone(),
        }
    }
}

impl RuleReport {
    /// Of a rule.
    pub fn of(rule: &Rule) -> Self {
        Self {
            name: rule.name.clone(),
            owner: rule.owner.to_string(),
            condition: rule.condition(),
            labels: rule.selection.labels.clone(),
            for_secs: rule.for_secs,
            severity: rule.severity,
            action: rule.action,
            configured: rule.is_configured,
        }
    }
}

impl SilenceReport {
    /// Of a silence.
    pub fn of(silence: &Silence) -> Self {
        Self {
            owner: silence.owner.to_string(),
            rule: silence.rule.clone(),
            labels: silence.labels.clone(),
            until: moment(silence.until_secs),
        }
    }
}

/// A moment as everybody reads it, to the millisecond.
#[expect(clippy::cast_possible_truncation, reason = "a moment that cannot be is one that is")]
pub fn moment(unix_secs: f64) -> String {
    let millis = (unix_secs * 1000.0) as i64;
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// Now, in seconds of Unix time.
#[expect(clippy::cast_precision_loss, reason = "microseconds are exact for centuries")]
pub fn now_secs() -> f64 {
    Timestamp::now().as_microsecond() as f64 / 1e6
}

//! What operators ask about rules and alerts.

use serde::{Deserialize, Serialize};

use super::{Answer, refused};
use crate::alerts::book::{Labels, Silence};
use crate::alerts::report::{Filter, Seen, now_secs};
use crate::alerts::rule::{Owner, Rule, Severity, Spec};
use crate::alerts::{Alerts, Error, prometheus};

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum AskAlerts {
    /// What fires, and what has fired.
    List {
        /// Of that rule.
        rule: Option<String>,
        /// About that session.
        session_id: Option<String>,
        /// At least that bad.
        severity: Option<Severity>,
        /// At most so many.
        max: usize,
    },
    /// Try a rule on what was measured.
    Test {
        /// A rule that there may be; boxed, because it is long.
        spec: Box<Spec>,
        /// Over the last seconds.
        last_secs: f64,
    },
    /// Tell nobody for a while.
    Silence {
        /// Of which rule; of all without.
        rule: Option<String>,
        /// Whose rules; the operators' without.
        tenant: Option<String>,
        /// About what.
        labels: Labels,
        /// For how long, in seconds.
        secs: f64,
    },
    /// Write rules for Prometheus.
    Export {
        /// Whose rules; the operators' without.
        tenant: Option<String>,
    },
    /// Read rules of Prometheus's.
    Import {
        /// A file of rules.
        yaml: String,
        /// Only tell what would be read.
        dry_run: bool,
    },
}

/// What became of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The rules that were set, or would be.
    pub rules: Vec<String>,
    /// Those that were not, and why.
    pub refused: Vec<String>,
    /// What of the others is left out.
    pub left_out: Vec<String>,
}

/// The longest silence, in seconds: 30 days.
const SILENCE_SECS_MAX: f64 = 2_592_000.0;

/// The longest span that a rule is tried on, in seconds: a year.
const SPAN_SECS_MAX: f64 = 31_536_000.0;

pub(super) async fn carry_out(about: AskAlerts, alerts: &Alerts) -> anyhow::Result<Answer> {
    let value = match about {
        AskAlerts::List { rule, session_id, severity, max } => {
            let filter = Filter { rule, session_id, severity, max };
            serde_json::to_value(alerts.list(&Seen::All, &filter))?
        }
        AskAlerts::Test { spec, last_secs } => {
            if !(1.0..=SPAN_SECS_MAX).contains(&last_secs) {
                return Ok(wrong(&format!(
                    "`last` must lie between 1 and {SPAN_SECS_MAX} seconds"
                )));
            }
            let now = now_secs();
            let spec = known(alerts, *spec);
            match alerts.replay(Owner::Fleet, spec, (now - last_secs, now)).await {
                Ok(trial) => serde_json::to_value(trial)?,
                Err(error) => return Ok(refused(&error)),
            }
        }
        AskAlerts::Silence { rule, tenant, labels, secs } => {
            if !(1.0..=SILENCE_SECS_MAX).contains(&secs) {
                let problem = format!("a silence has 1 to {SILENCE_SECS_MAX} seconds");
                return Ok(wrong(&problem));
            }
            let owner = prometheus::owner(tenant);
            let silence = Silence { owner, rule, labels, until_secs: now_secs() + secs };
            match alerts.silence(silence).await {
                Ok(silence) => serde_json::to_value(silence)?,
                Err(error) => return Ok(refused(&error)),
            }
        }
        AskAlerts::Export { tenant } => {
            let rules = alerts.rules(&prometheus::owner(tenant));
            serde_json::to_value(prometheus::write(rules.iter().map(AsRef::as_ref)))?
        }
        AskAlerts::Import { yaml, dry_run } => match prometheus::read(&yaml) {
            Ok(read) => serde_json::to_value(import(alerts, read, dry_run).await?)?,
            Err(problem) => return Ok(wrong(&problem)),
        },
    };
    Ok(Answer::Ok(value))
}

/// The rule of that name, if nothing but a name is given; else what is given.
fn known(alerts: &Alerts, spec: Spec) -> Spec {
    let named = spec.name.as_deref().filter(|_| spec.metric.is_empty());
    let rule = named.and_then(|name| alerts.rule(&Owner::Fleet, name));
    rule.map_or(spec, |rule| said(&rule))
}

/// What says the same as a rule.
fn said(rule: &Rule) -> Spec {
    let rule = rule.clone();
    Spec {
        name: Some(rule.name),
        metric: rule.selection.metric,
        aggregate: Some(rule.selection.aggregate),
        window_secs: Some(rule.selection.window_secs),
        labels: rule.selection.labels,
        operator: rule.operator,
        value: rule.value,
        epsilon: Some(rule.epsilon),
        clear_value: Some(rule.clear_value),
        for_secs: Some(rule.for_secs),
        keep_firing_secs: Some(rule.keep_firing_secs),
        cooldown_secs: Some(rule.cooldown_secs),
        severity: rule.severity,
        no_data: rule.no_data,
        action: rule.action,
        grace_secs: Some(rule.grace_secs),
        routes: Vec::new(),
        runbook: Some(rule.runbook),
    }
}

async fn import(
    alerts: &Alerts,
    read: prometheus::Read,
    dry_run: bool,
) -> anyhow::Result<Imported> {
    let prometheus::Read { rules, mut refused, left_out } = read;
    let mut names = Vec::new();
    for spec in rules {
        let name = spec.name.clone().unwrap_or_default();
        let outcome = if dry_run {
            alerts.could_set(Owner::Fleet, spec)
        } else {
            alerts.set(Owner::Fleet, spec).await.map(drop)
        };
        match outcome {
            Ok(()) => names.push(name),
            // What cannot be written down now cannot be a moment later either.
            Err(Error::NotKept(error)) => return Err(error.into()),
            Err(error) => refused.push(format!("`{name}`: {error}")),
        }
    }
    Ok(Imported { rules: names, refused, left_out })
}

fn wrong(problem: &str) -> Answer {
    Answer::Refused { code: "invalid_argument".to_owned(), message: problem.to_owned() }
}

//! What the operator says of rules, and the rules that the operator has.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::book::Bounds;
use super::readings::Readings;
use super::routes::{Desk, ProgramConfig, WebhookConfig};
use super::rule::{self, Owner, Rule, RuleError, Spec};
use crate::code::chain;

/// Whether and how often rules are looked after, and how much there may be of everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether there are rules at all.
    pub enabled: bool,
    /// Whether the built-in rules are among them.
    pub defaults: bool,
    /// How often it is looked, in seconds.
    pub interval_secs: f64,
    /// Rules in all, those of the configuration left out.
    pub rules_max: usize,
    /// Rules of one tenant.
    pub rules_per_tenant_max: usize,
    /// Alerts that are pending or fire, of all rules.
    pub active_max: usize,
    /// Those of one tenant's rules.
    pub active_per_tenant_max: usize,
    /// Alerts that are over and remembered, of one tenant's rules, and of the operators'.
    pub history_per_tenant_max: usize,
    /// How long a program may take, in seconds.
    pub exec_timeout_secs: f64,
    /// Where alerts are told over HTTP.
    pub webhook: WebhookConfig,
    /// Programs that may be told of alerts.
    pub exec: Vec<ProgramConfig>,
    /// The operators' rules.
    pub rules: Vec<Spec>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            defaults: false,
            interval_secs: 1.0,
            rules_max: 1000,
            rules_per_tenant_max: 50,
            active_max: 10_000,
            active_per_tenant_max: 1000,
            history_per_tenant_max: 256,
            exec_timeout_secs: 10.0,
            webhook: WebhookConfig::default(),
            exec: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl Config {
    /// What cannot be, and which key says it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let mut names: Vec<&str> = self.exec.iter().map(|program| program.name.as_str()).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[one, other]| one == other) {
            return Err(("alerts.exec", format!("has `{name}` twice")));
        }
        if let Some(program) = self.exec.iter().find(|program| program.argv.is_empty()) {
            return Err(("alerts.exec", format!("names no program for `{}`", program.name)));
        }
        Ok(())
    }
}

/// How much there may be of everything.
pub(super) fn bounds(config: &Config) -> Bounds {
    Bounds {
        rules_max: config.rules_max,
        rules_per_tenant_max: config.rules_per_tenant_max,
        active_max: config.active_max,
        active_per_tenant_max: config.active_per_tenant_max,
        history_per_owner_max: config.history_per_tenant_max,
    }
}

/// The rules of the configuration.
pub(super) fn configured(
    config: &Config,
    readings: &dyn Readings,
    desk: &Desk,
) -> anyhow::Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for spec in &config.rules {
        let metric = spec.metric.clone();
        let rule = Rule::new(Owner::Fleet, spec.clone(), readings.metrics());
        let rule =
            rule.with_context(|| format!("`alerts.rules` has a wrong rule on `{metric}`"))?;
        is_routed(&rule, desk).context("`alerts.rules`")?;
        rules.push(rule);
    }
    if config.defaults {
        for spec in rule::defaults() {
            match Rule::new(Owner::Fleet, spec, readings.metrics()) {
                // The operators' own comes first.
                Ok(rule) if rules.iter().any(|own| own.name == rule.name) => (),
                Ok(rule) => rules.push(rule),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a built-in rule cannot be looked after");
                }
            }
        }
    }
    Ok(rules)
}

/// Refuses routes that there are not.
pub(super) fn is_routed(rule: &Rule, desk: &Desk) -> Result<(), RuleError> {
    let known = desk.known();
    match rule.routes.iter().find(|route| !known.contains(route)) {
        None => Ok(()),
        Some(route) => {
            let route: String = route.chars().take(100).collect();
            let problem = format!("`{route}` is not configured; there are {}", known.join(", "));
            Err(RuleError::Field { field: "routes", problem })
        }
    }
}

//! What there is to tell of rules and alerts, for whoever asks.

use serde::{Deserialize, Serialize};

use super::report::{AlertReport, Filter, PastReport, RuleReport, Seen, SilenceReport};
use super::{Alerts, state};

/// The most entries of each kind in one listing.
pub const LISTED_MAX: usize = 1000;

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Listing {
    /// What is pending or fires, the worst first.
    pub alerts: Vec<AlertReport>,
    /// What is over, the newest first.
    pub history: Vec<PastReport>,
    /// The rules.
    pub rules: Vec<RuleReport>,
    /// What nobody wants to hear of.
    pub silences: Vec<SilenceReport>,
    /// Entries that are left out here.
    pub items_cut: u64,
    /// Alerts that were not begun, because there were enough.
    pub alerts_left_out_total: u64,
    /// Notices that were not sent, because too many waited.
    pub notices_dropped_total: u64,
    /// Notices that were sent in vain.
    pub notices_failed_total: u64,
    /// How often it is looked; less often where that would cost too much.
    pub look_interval_secs: f64,
    /// Processor time of the last look.
    pub look_cpu_secs: f64,
}

impl Listing {
    /// Whether anything has fired, or was about to.
    pub fn is_of_anything(&self) -> bool {
        !self.alerts.is_empty() || !self.history.is_empty()
    }
}

impl Alerts {
    /// What there is to tell.
    pub fn list(&self, seen: &Seen, filter: &Filter) -> Listing {
        let max = filter.max.min(LISTED_MAX);
        let (look_interval_secs, look_cpu_secs) =
            self.with_pace(|pace| (pace.interval_secs(), pace.cost_secs()));
        let book = self.book();
        let active = book.active().filter(|(rule, labels, _)| {
            seen.has(&rule.owner, labels) && filter.wants(&rule.name, rule.severity, labels)
        });
        let alerts = active.map(|(rule, labels, alert)| AlertReport::of(rule, labels, alert));
        let mut alerts: Vec<_> = alerts.collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse((alert.state == "firing", alert.severity)));
        let past = book.history().filter(|past| {
            seen.has(&past.owner, &past.labels)
                && filter.wants(&past.rule, past.severity, &past.labels)
        });
        let mut past: Vec<_> = past.collect();
        past.sort_by(|one, other| other.resolved_at_secs.total_cmp(&one.resolved_at_secs));
        let history: Vec<_> = past.into_iter().map(PastReport::of).collect();
        let rules =
            book.rules().filter(|rule| seen.has_rule(&rule.owner) && filter.names(&rule.name));
        let rules: Vec<_> = rules.map(|rule| RuleReport::of(rule)).collect();
        let silences = book.silences().iter().filter(|silence| seen.has_rule(&silence.owner));
        let silences: Vec<_> = silences.map(SilenceReport::of).collect();
        let all = [alerts.len(), history.len(), rules.len(), silences.len()];
        let items_cut = all.iter().map(|there| there.saturating_sub(max) as u64).sum();
        Listing {
            alerts: cut(alerts, max),
            history: cut(history, max),
            rules: cut(rules, max),
            silences: cut(silences, max),
            items_cut,
            alerts_left_out_total: book.left_out_total(),
            notices_dropped_total: self.inner.desk.dropped_total(),
            notices_failed_total: self.inner.desk.failed_total(),
            look_interval_secs,
            look_cpu_secs,
        }
    }

    /// What of everybody's is pending or fires, the worst first, and of how many more there are.
    pub fn worst(&self, max: usize) -> (Vec<AlertReport>, usize) {
        let book = self.book();
        let mut active: Vec<_> = book.active().collect();
        active.sort_by_key(|(rule, _, alert)| {
            let fires = matches!(alert.state, state::State::Firing(_));
            std::cmp::Reverse((fires, rule.severity))
        });
        let reports = active.iter().take(max);
        let reports = reports.map(|(rule, labels, alert)| AlertReport::of(rule, labels, alert));
        (reports.collect(), active.len().saturating_sub(max))
    }

    /// What is going to be done to a session, for its owner.
    pub fn notices(&self, session_id: &str) -> Vec<AlertReport> {
        let book = self.book();
        let of_it = book
            .active()
            .filter(|(_, labels, _)| labels.get("session_id").is_some_and(|id| id == session_id));
        let reports = of_it.map(|(rule, labels, alert)| AlertReport::of(rule, labels, alert));
        reports.filter(|alert| alert.acts_at.is_some()).collect()
    }

    /// A number that is another one once what is to be told has changed.
    pub fn mark(&self, seen: &Seen) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut mark = DefaultHasher::new();
        let book = self.book();
        for (rule, labels, alert) in book.active() {
            if seen.has(&rule.owner, labels) {
                (&rule.owner, &rule.name, labels, &alert.done).hash(&mut mark);
                if let state::State::Firing(firing) = alert.state {
                    let moments = [Some(firing.fired_at_secs), firing.act_at_secs];
                    moments.map(|at| at.map(f64::to_bits)).hash(&mut mark);
                }
            }
        }
        mark.finish()
    }
}

fn cut<T>(mut entries: Vec<T>, max: usize) -> Vec<T> {
    entries.truncate(max);
    entries
}

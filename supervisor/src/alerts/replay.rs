//! Trying a rule on what was measured: how often, and when, it would have fired.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::book::{Book, Bounds, Labels};
use super::readings::Readings;
use super::report::moment;
use super::rule::Rule;
use super::state::{Effect, Now, Why};

/// The most looks of one trial.
pub const LOOKS_MAX: u32 = 20_000;

/// The most firings that a trial tells one by one.
pub const FIRINGS_MAX: usize = 200;

/// The longest that a trial may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// The most subjects that may fire at a time in a trial.
const SUBJECTS_MAX: usize = 10_000;

/// What a trial shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What breaks the rule.
    pub condition: String,
    /// From when on it was tried.
    pub from: String,
    /// Until when.
    pub until: String,
    /// Looks at which anything was there to be read.
    pub looks_with_data: u64,
    /// All looks.
    pub looks: u64,
    /// How often it would have been told that it fires.
    pub fired_total: u64,
    /// How often it would have been told again.
    pub reminded_total: u64,
    /// How often something would have been done to a session.
    pub acted_total: u64,
    /// The first of them.
    pub firings: Vec<Firing>,
}

/// A time in which the rule would have fired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// About what.
    pub labels: Labels,
    /// From when.
    pub fired_at: String,
    /// Until when; nothing if it would fire still.
    pub resolved_at: Option<String>,
    /// Why it would have been over.
    pub why: Option<Why>,
    /// The value at first.
    pub value: Option<f64>,
}

/// Tries a rule between two moments, looking once in `step_secs`; nothing if that takes too long.
/// Waits for files.
pub fn replay(
    rule: Rule,
    readings: &dyn Readings,
    (from_secs, until_secs): (f64, f64),
    step_secs: f64,
) -> Option<Trial> {
    let deadline = Instant::now() + DEADLINE;
    let mut trial = Trial {
        condition: rule.condition(),
        from: moment(from_secs),
        until: moment(until_secs),
        looks_with_data: 0,
        looks: 0,
        fired_total: 0,
        reminded_total: 0,
        acted_total: 0,
        firings: Vec::new(),
    };
    let (question, mut book) = (rule.question(), Book::new(BOUNDS));
    book.configure(vec![rule], from_secs);
    let rules: Vec<_> = book.rules().cloned().collect();
    for look in 0..LOOKS_MAX {
        let at_secs = from_secs + f64::from(look) * step_secs;
        if until_secs < at_secs {
            break;
        }
        if deadline < Instant::now() {
            return None;
        }
        let read = readings.read_past(&question, at_secs).unwrap_or_default();
        trial.looks += 1;
        trial.looks_with_data += u64::from(read.iter().any(|reading| reading.value.is_some()));
        book.begin_round(at_secs);
        for rule in &rules {
            for event in book.look(rule, &read, Now::both(at_secs)) {
                trial.take(event.effect, &event.labels, event.alert.value, at_secs);
                // Nothing is done, and so nothing goes wrong.
                if event.effect == Effect::Act {
                    book.acted(&event, &Ok(String::new()), at_secs);
                }
            }
        }
    }
    Some(trial)
}

const BOUNDS: Bounds = Bounds {
    rules_max: 2,
    rules_per_tenant_max: 1,
    // A part of it is the operators'.
    active_max: 2 * SUBJECTS_MAX,
    active_per_tenant_max: SUBJECTS_MAX,
    history_per_owner_max: 1,
};

impl Trial {
    fn take(&mut self, effect: Effect, labels: &Labels, value: Option<f64>, at_secs: f64) {
        match effect {
            Effect::Fired => {
                self.fired_total += 1;
                if self.firings.len() < FIRINGS_MAX {
                    let (labels, fired_at) = (labels.clone(), moment(at_secs));
                    let (resolved_at, why) = (None, None);
                    self.firings.push(Firing { labels, fired_at, resolved_at, why, value });
                }
            }
            Effect::Reminded => self.reminded_total += 1,
            Effect::Act => self.acted_total += 1,
            Effect::Resolved { why, .. } => {
                let mut open = self.firings.iter_mut().rev();
                let open = open.find(|it| it.resolved_at.is_none() && it.labels == *labels);
                if let Some(open) = open {
                    (open.resolved_at, open.why) = (Some(moment(at_secs)), Some(why));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::readings::{Kind, MetricInfo, Reading, Selection};
    use crate::alerts::rule::{Owner, Spec};

    /// A value that is too much from the 100th second to the 200th, and again from the 300th on.
    #[derive(Debug)]
    struct Written;

    const METRICS: [MetricInfo; 1] = [MetricInfo {
        name: "load",
        unit: "ratio",
        help: "",
        labels: &["session_id"],
        kind: Kind::Gauge,
    }];

    impl Readings for Written {
        fn metrics(&self) -> &[MetricInfo] {
            &METRICS
        }

        fn read(&self, selection: &Selection, at_secs: f64) -> Option<Vec<Reading>> {
            assert_eq!(selection.metric, "load");
            let high = (100.0..200.0).contains(&at_secs) || 300.0 <= at_secs;
            let labels = [("session_id".to_owned(), "sim_1".to_owned())].into();
            let value = (50.0 <= at_secs).then_some(f64::from(u8::from(high)));
            Some(vec![Reading { labels, value }])
        }
    }

    #[test]
    fn it_is_told_how_often_a_rule_would_have_fired_and_when() {
        let spec = Spec {
            metric: "load".into(),
            value: 0.5,
            for_secs: Some(20.0),
            cooldown_secs: Some(60.0),
            ..Spec::default()
        };
        let rule = Rule::new(Owner::Fleet, spec, &METRICS).unwrap();
        let trial = replay(rule, &Written, (0.0, 400.0), 10.0).unwrap();
        assert_eq!((trial.looks, trial.looks_with_data, trial.fired_total), (41, 36, 2));
        let times: Vec<_> =
            trial.firings.iter().map(|it| (&*it.fired_at, it.resolved_at.as_deref())).collect();
        let expected = [
            ("1970-01-01T00:02:00Z", Some("1970-01-01T00:03:20Z")),
            ("1970-01-01T00:05:20Z", None),
        ];
        assert_eq!(times, expected);
    }
}

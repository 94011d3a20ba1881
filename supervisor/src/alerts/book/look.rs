//! What follows from a look, and from what was done.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Active, Book, Event, Key, Labels, Past};
use crate::alerts::readings::Reading;
use crate::alerts::rule::{Owner, Rule};
use crate::alerts::state::{Effect, Firing, Input, Moment, Now, State, Why, is_nothing, next};

/// After how long something is tried again that could not be done, in seconds.
pub const ACT_AGAIN_SECS: f64 = 10.0;

/// For how long after the daemon's start a subject may be absent that was there before, in seconds:
/// as long as one stays that is not measured. What was not used since the start, such as a tool, is
/// not there, and nothing is known of it.
pub const KEPT_SECS: f64 = 3600.0;

impl Book {
    /// A round of looks begins: forgets what has had its time.
    pub fn begin_round(&mut self, now_secs: f64) {
        self.first_look_secs.get_or_insert(now_secs);
        let before = self.silences.len();
        self.silences.retain(|silence| now_secs < silence.until_secs);
        if before != self.silences.len() {
            self.changes.add(false);
        }
        let rules = &self.rules;
        self.told.retain(|key, told| {
            let Some(rule) = rules.get(key) else { return false };
            told.retain(|_, told_at_secs| is_resting(rule, *told_at_secs, now_secs));
            !told.is_empty()
        });
        self.told_count = self.told.values().map(BTreeMap::len).sum();
    }

    /// Takes into account what was read for a rule.
    pub fn look(&mut self, rule: &Arc<Rule>, readings: &[Reading], now: Now) -> Vec<Event> {
        let key = (rule.owner.clone(), rule.name.clone());
        let mut events = Vec::new();
        // One that was changed meanwhile asks something else.
        if !self.rules.get(&key).is_some_and(|own| Arc::ptr_eq(own, rule)) {
            return events;
        }
        // Whoever reads sees to it, too.
        let is_own = |reading: &&Reading| match &rule.owner {
            Owner::Fleet => true,
            Owner::Tenant(tenant) => reading.labels.get("tenant") == Some(tenant),
        };
        let mut left_out = 0;
        for Reading { labels, value } in readings.iter().filter(is_own) {
            let input = rule.judge(*value);
            let has_place = self.step((&key, rule), labels, (input, *value), now, &mut events);
            left_out += usize::from(!has_place);
        }
        self.count_left_out(&key, left_out);
        if let Some(subjects) = self.active.get(&key) {
            let seen: HashSet<&Labels> =
                readings.iter().filter(is_own).map(|reading| &reading.labels).collect();
            let absent = subjects.iter().filter(|(labels, _)| !seen.contains(labels));
            let absent: Vec<(Labels, Input)> = absent
                .map(|(labels, alert)| (labels.clone(), self.absent(labels, alert, now)))
                .collect();
            for (labels, input) in absent {
                self.step((&key, rule), &labels, (input, None), now, &mut events);
            }
        }
        events
    }

    /// Whether what was to be done still is: the alert fires as it did, by a rule that does the same,
    /// and nobody has silenced it. What is not is looked at anew.
    pub fn is_still_due(&mut self, event: &Event, now_secs: f64) -> bool {
        let key = (event.rule.owner.clone(), event.rule.name.clone());
        let Some(rule) = self.rules.get(&key).map(Arc::clone) else { return false };
        let is_silenced = self.is_silenced(&rule, &event.labels, now_secs);
        let is_same = rule.asks_the_same_as(&event.rule);
        let Some((alert, firing)) = self.same(event) else { return false };
        let is_due = is_same && !is_silenced && alert.seen == Some(Input::Holds);
        if !is_due {
            alert.state = State::Firing(Firing { is_acting: false, ..firing });
        }
        is_due
    }

    /// Something was done about an alert, or could not be.
    pub fn acted(&mut self, event: &Event, done: &Result<String, String>, now_secs: f64) {
        let Some((alert, firing)) = self.same(event) else { return };
        let act_at_secs = done.is_err().then_some(now_secs + ACT_AGAIN_SECS);
        alert.state = State::Firing(Firing { act_at_secs, is_acting: false, ..firing });
        alert.done = Some(done.clone().unwrap_or_else(|error| format!("not yet: {error}")));
        self.changes.add(true);
    }

    /// The alert that an event is about, if it fires since then.
    fn same(&mut self, event: &Event) -> Option<(&mut Active, Firing)> {
        let key = (event.rule.owner.clone(), event.rule.name.clone());
        let State::Firing(before) = event.alert.state else { return None };
        let alert = self.active.get_mut(&key)?.get_mut(&event.labels)?;
        let State::Firing(firing) = alert.state else { return None };
        let is_same = firing.fired_at_secs.total_cmp(&before.fired_at_secs).is_eq();
        is_same.then_some((alert, firing))
    }

    /// What it means that a subject is absent.
    fn absent(&self, labels: &Labels, alert: &Active, now: Now) -> Input {
        let since = now.unix_secs - self.first_look_secs.unwrap_or(now.unix_secs);
        // Sessions are all known from the start.
        let may_come = alert.seen.is_none() && !labels.contains_key("session_id");
        if may_come && since < KEPT_SECS { Input::NoData } else { Input::Gone }
    }

    /// Counts those that were not left out already at the look before.
    fn count_left_out(&mut self, key: &Key, count: usize) {
        let before = match count {
            0 => self.left_out.remove(key),
            _ => self.left_out.insert(key.clone(), count),
        };
        self.left_out_total += count.saturating_sub(before.unwrap_or(0)) as u64;
    }

    /// One subject's. Tells whether there was a place for what follows.
    pub(super) fn step(
        &mut self,
        (key, rule): (&Key, &Arc<Rule>),
        labels: &Labels,
        (input, value): (Input, Option<f64>),
        now: Now,
        events: &mut Vec<Event>,
    ) -> bool {
        let before = self.active.get(key).and_then(|subjects| subjects.get(labels));
        if before.is_none() && is_nothing(input, rule.no_data) {
            return true;
        }
        let before = before.cloned();
        if before.is_none() && !self.counts.has_room(&self.bounds, rule, labels) {
            return false;
        }
        let state = before.as_ref().map_or(State::Inactive, |alert| alert.state);
        let told = self.told.get(key).and_then(|told| told.get(labels)).copied();
        let at = Moment {
            now,
            is_silenced: self.is_silenced(rule, labels, now.unix_secs),
            is_resting: told.is_some_and(|told| is_resting(rule, told, now.unix_secs)),
        };
        let (after, effects) = next(state, input, at, &rule.terms());
        let last = before.unwrap_or(Active { state, value: None, done: None, seen: None });
        let is_seen = last.seen.is_some() || input != Input::NoData;
        let alert = Active {
            state: after,
            value: value.or(last.value),
            done: last.done,
            seen: is_seen.then_some(input),
        };
        if state != after {
            self.changes.add(effects.iter().any(|effect| is_told(*effect)));
        }
        // What is over is told as it was.
        let told_state = if after == State::Inactive { state } else { after };
        let told = Active { state: told_state, ..alert.clone() };
        self.write(key, labels, alert);
        for effect in effects {
            let (rule, labels, alert) = (Arc::clone(rule), labels.clone(), told.clone());
            let event = Event { effect, rule, labels, alert, at_secs: now.unix_secs };
            self.remember(key, &event);
            events.push(event);
        }
        true
    }

    fn remember(&mut self, key: &Key, event: &Event) {
        let (Effect::Resolved { why, .. }, State::Firing(firing)) =
            (event.effect, event.alert.state)
        else {
            return;
        };
        if let (Why::Over | Why::NoData, Some(told_at_secs)) = (why, firing.told_at_secs) {
            self.rest(key, &event.labels, told_at_secs);
        }
        let past = Past {
            owner: event.rule.owner.clone(),
            rule: event.rule.name.clone(),
            severity: event.rule.severity,
            labels: event.labels.clone(),
            value: event.alert.value,
            fired_at_secs: firing.fired_at_secs,
            resolved_at_secs: event.at_secs,
            why,
            done: event.alert.done.clone(),
        };
        self.add_past(event.rule.owner.clone(), past);
    }

    /// Something that was told is not told again for a while. If there are too many of them, it is.
    pub(super) fn rest(&mut self, key: &Key, labels: &Labels, told_at_secs: f64) {
        let is_known = self.told.get(key).is_some_and(|told| told.contains_key(labels));
        if is_known || self.told_count < self.bounds.active_max {
            self.told_count += usize::from(!is_known);
            self.told.entry(key.clone()).or_default().insert(labels.clone(), told_at_secs);
        }
    }

    fn is_silenced(&self, rule: &Rule, labels: &Labels, now_secs: f64) -> bool {
        self.silences.iter().any(|silence| {
            silence.owner == rule.owner
                && now_secs < silence.until_secs
                && silence.rule.as_ref().is_none_or(|name| *name == rule.name)
                && silence.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        })
    }
}

fn is_resting(rule: &Rule, told_at_secs: f64, now_secs: f64) -> bool {
    (0.0..rule.terms().rest_secs()).contains(&(now_secs - told_at_secs))
}

fn is_told(effect: Effect) -> bool {
    match effect {
        Effect::Fired | Effect::Reminded => true,
        Effect::Resolved { is_told, .. } => is_told,
        // It is still to be done after a restart.
        Effect::Act => false,
    }
}

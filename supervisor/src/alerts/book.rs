//! All rules, the silences, what fires, and what has fired. It knows no clock and reads nothing: it is
//! told the time and what was read, and says what follows.

mod page;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::page::Page;
use super::error::BookError;
use super::readings::Reading;
use super::rule::{Owner, Rule};
use super::state::{Effect, Input, Moment, State, Why, next};

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "limits end so everywhere")]
pub struct Bounds {
    /// Rules in all, those of the configuration left out.
    pub rules_max: usize,
    /// Rules of one tenant.
    pub rules_per_tenant_max: usize,
    /// Alerts that are pending or fire, of all rules.
    pub active_max: usize,
    /// Those of one tenant's rules.
    pub active_per_tenant_max: usize,
    /// Alerts that are over, of one owner's rules.
    pub history_per_owner_max: usize,
}

/// The most alerts that are over and remembered, of all owners.
pub const HISTORY_MAX: usize = 20_000;

/// The most silences of one owner.
pub const SILENCES_PER_OWNER_MAX: usize = 64;

/// After how long something is tried again that could not be done, in seconds.
pub const ACT_AGAIN_SECS: f64 = 10.0;

/// What tells subjects apart.
pub type Labels = BTreeMap<String, String>;

/// What names a rule.
pub type Key = (Owner, String);

/// An alert that is pending or fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Active {
    /// Where it is in its life.
    pub state: State,
    /// The value when it was last looked at.
    pub value: Option<f64>,
    /// What was done about it, or why that failed.
    pub done: Option<String>,
}

/// An alert that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// Whose rule it was.
    pub owner: Owner,
    /// The rule's name.
    pub rule: String,
    /// How bad it was.
    pub severity: super::rule::Severity,
    /// About what.
    pub labels: Labels,
    /// The last value that was seen.
    pub value: Option<f64>,
    /// Since when it fired, in seconds of Unix time.
    pub fired_at_secs: f64,
    /// When it was over.
    pub resolved_at_secs: f64,
    /// Why.
    pub why: Why,
    /// What was done about it.
    pub done: Option<String>,
}

/// Somebody does not want to hear of something for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Whose rules.
    pub owner: Owner,
    /// Which of them; all without.
    pub rule: Option<String>,
    /// About which subjects.
    pub labels: Labels,
    /// Until when, in seconds of Unix time.
    pub until_secs: f64,
}

/// Something that follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub effect: Effect,
    /// From which rule.
    pub rule: Arc<Rule>,
    /// About what.
    pub labels: Labels,
    /// The alert, as it is, or as it was before it was over.
    pub alert: Active,
    /// When, in seconds of Unix time.
    pub at_secs: f64,
}

/// The book.
#[derive(Debug)]
pub struct Book {
    bounds: Bounds,
    rules: BTreeMap<Key, Arc<Rule>>,
    silences: Vec<Silence>,
    active: BTreeMap<Key, BTreeMap<Labels, Active>>,
    /// How many of them each owner has.
    counts: BTreeMap<Owner, usize>,
    history: BTreeMap<Owner, VecDeque<Past>>,
    left_out_total: u64,
    /// Whether it differs from what was last written down.
    is_new: bool,
}

impl Book {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            rules: BTreeMap::new(),
            silences: Vec::new(),
            active: BTreeMap::new(),
            counts: BTreeMap::new(),
            history: BTreeMap::new(),
            left_out_total: 0,
            is_new: false,
        }
    }

    /// Takes the rules of the configuration in the place of those that it had before.
    pub fn configure(&mut self, rules: Vec<Rule>, now_secs: f64) -> Vec<Event> {
        let key = |rule: &Rule| (rule.owner.clone(), rule.name.clone());
        let stay: BTreeSet<Key> = rules.iter().map(key).collect();
        let gone =
            self.rules.iter().filter(|(key, rule)| rule.is_configured && !stay.contains(key));
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        let mut events = Vec::new();
        for key in gone {
            events.extend(self.take_out(&key, now_secs));
        }
        for rule in rules {
            events.extend(self.put(Rule { is_configured: true, ..rule }, now_secs));
        }
        events
    }

    /// Adds a rule, or puts it in the place of the one of that name.
    pub fn set(&mut self, rule: Rule, now_secs: f64) -> Result<Vec<Event>, BookError> {
        let key = (rule.owner.clone(), rule.name.clone());
        match self.rules.get(&key) {
            Some(before) if before.is_configured => return Err(BookError::Configured(rule.name)),
            Some(_) => (),
            None => self.has_room(&rule.owner)?,
        }
        Ok(self.put(rule, now_secs))
    }

    /// Removes a rule.
    pub fn remove(
        &mut self,
        owner: &Owner,
        name: &str,
        now_secs: f64,
    ) -> Result<Vec<Event>, BookError> {
        let key = (owner.clone(), name.to_owned());
        match self.rules.get(&key) {
            None => Err(BookError::Unknown(name.chars().take(100).collect())),
            Some(rule) if rule.is_configured => Err(BookError::Configured(name.to_owned())),
            Some(_) => Ok(self.take_out(&key, now_secs)),
        }
    }

    /// Takes a change back that could not be written down.
    pub fn put_back(&mut self, key: Key, before: Option<Arc<Rule>>) {
        match before {
            Some(rule) => self.rules.insert(key, rule),
            None => self.rules.remove(&key),
        };
        self.is_new = true;
    }

    /// Tells nobody of something for a while.
    pub fn silence(&mut self, silence: Silence, now_secs: f64) -> Result<(), BookError> {
        self.silences.retain(|other| now_secs < other.until_secs);
        let own = self.silences.iter().filter(|other| other.owner == silence.owner);
        if SILENCES_PER_OWNER_MAX <= own.count() {
            return Err(BookError::SilencesFull);
        }
        self.silences.push(silence);
        self.is_new = true;
        Ok(())
    }

    /// The rules, whose questions are to be answered.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values()
    }

    /// Finds a rule.
    pub fn rule(&self, owner: &Owner, name: &str) -> Option<&Arc<Rule>> {
        self.rules.get(&(owner.clone(), name.to_owned()))
    }

    /// The silences.
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// What is pending or fires, with its rule.
    pub fn active(&self) -> impl Iterator<Item = (&Arc<Rule>, &Labels, &Active)> {
        self.active.iter().flat_map(|(key, subjects)| {
            let rule = self.rules.get(key);
            let with_rule = move |(labels, alert)| Some((rule?, labels, alert));
            subjects.iter().filter_map(with_rule)
        })
    }

    /// What was over, the newest of each owner first.
    pub fn history(&self) -> impl Iterator<Item = &Past> {
        self.history.values().flat_map(|past| past.iter().rev())
    }

    /// How many alerts were not begun, because there were enough.
    pub fn left_out_total(&self) -> u64 {
        self.left_out_total
    }

    /// Takes a look into account: what was read for each rule.
    pub fn look(&mut self, answers: Vec<(Arc<Rule>, Vec<Reading>)>, now_secs: f64) -> Vec<Event> {
        let before = self.silences.len();
        self.silences.retain(|silence| now_secs < silence.until_secs);
        self.is_new |= before != self.silences.len();
        let mut events = Vec::new();
        for (rule, readings) in answers {
            let key = (rule.owner.clone(), rule.name.clone());
            // One that was changed meanwhile asks something else.
            if self.rules.get(&key).is_some_and(|now| Arc::ptr_eq(now, &rule)) {
                self.look_at(&key, &rule, readings, now_secs, &mut events);
            }
        }
        events
    }

    /// Something was done about an alert, or could not be.
    pub fn acted(
        &mut self,
        rule: &Rule,
        labels: &Labels,
        done: &Result<String, String>,
        now_secs: f64,
    ) {
        let key = (rule.owner.clone(), rule.name.clone());
        let alert = self.active.get_mut(&key).and_then(|subjects| subjects.get_mut(labels));
        let Some(alert) = alert else { return };
        if let (Err(_), State::Firing(firing)) = (done, &mut alert.state) {
            firing.act_at_secs = Some(now_secs + ACT_AGAIN_SECS);
        }
        alert.done = Some(done.clone().unwrap_or_else(|error| format!("not yet: {error}")));
        self.is_new = true;
    }

    /// What is to be written down, if it is something new.
    pub fn news(&mut self) -> Option<Page> {
        std::mem::take(&mut self.is_new).then(|| Page::of(self))
    }

    /// What was to be written down was not.
    pub fn keep_news(&mut self) {
        self.is_new = true;
    }

    fn look_at(
        &mut self,
        key: &Key,
        rule: &Arc<Rule>,
        readings: Vec<Reading>,
        now_secs: f64,
        events: &mut Vec<Event>,
    ) {
        let mut seen = BTreeSet::new();
        for Reading { labels, value } in readings {
            // Whoever reads sees to it, too.
            let is_own = match &rule.owner {
                Owner::Fleet => true,
                Owner::Tenant(tenant) => labels.get("tenant") == Some(tenant),
            };
            if is_own {
                let input = rule.judge(value);
                self.step((key, rule), &labels, (input, value), now_secs, events);
                seen.insert(labels);
            }
        }
        let there = self.active.get(key).into_iter().flat_map(BTreeMap::keys);
        let gone: Vec<Labels> = there.filter(|labels| !seen.contains(*labels)).cloned().collect();
        for labels in gone {
            self.step((key, rule), &labels, (Input::Gone, None), now_secs, events);
        }
    }

    fn step(
        &mut self,
        (key, rule): (&Key, &Arc<Rule>),
        labels: &Labels,
        (input, value): (Input, Option<f64>),
        now_secs: f64,
        events: &mut Vec<Event>,
    ) {
        let before = self.active.get(key).and_then(|subjects| subjects.get(labels)).cloned();
        let state = before.as_ref().map_or(State::Inactive, |alert| alert.state);
        let at = Moment { now_secs, is_silenced: self.is_silenced(rule, labels, now_secs) };
        let (after, effects) = next(state, input, at, &rule.terms());
        if before.is_none() && after == State::Inactive {
            return;
        }
        if before.is_none() && !self.has_room_for_another(&key.0) {
            self.left_out_total += 1;
            return;
        }
        self.is_new |= state != after;
        let is_known = before.is_some();
        let last = before.unwrap_or(Active { state, value: None, done: None });
        let alert = Active { state: after, value: value.or(last.value), done: last.done };
        // What is over is told as it was.
        let told_state = if after == State::Inactive { state } else { after };
        let told = Active { state: told_state, ..alert.clone() };
        self.write(key, labels, alert, is_known);
        for effect in effects {
            let (rule, labels, alert) = (Arc::clone(rule), labels.clone(), told.clone());
            let event = Event { effect, rule, labels, alert, at_secs: now_secs };
            self.remember(&event);
            events.push(event);
        }
    }

    fn write(&mut self, key: &Key, labels: &Labels, alert: Active, is_known: bool) {
        if alert.state != State::Inactive {
            *self.counts.entry(key.0.clone()).or_default() += usize::from(!is_known);
            self.active.entry(key.clone()).or_default().insert(labels.clone(), alert);
            return;
        }
        let Some(subjects) = self.active.get_mut(key) else { return };
        if subjects.remove(labels).is_none() {
            return;
        }
        if subjects.is_empty() {
            self.active.remove(key);
        }
        if let Some(count) = self.counts.get_mut(&key.0) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key.0);
            }
        }
    }

    fn remember(&mut self, event: &Event) {
        let (Effect::Resolved { why, .. }, State::Firing(firing)) =
            (event.effect, event.alert.state)
        else {
            return;
        };
        let owner = event.rule.owner.clone();
        let past = Past {
            owner: owner.clone(),
            rule: event.rule.name.clone(),
            severity: event.rule.severity,
            labels: event.labels.clone(),
            value: event.alert.value,
            fired_at_secs: firing.fired_at_secs,
            resolved_at_secs: event.at_secs,
            why,
            done: event.alert.done.clone(),
        };
        self.add_past(owner, past);
    }

    fn add_past(&mut self, owner: Owner, past: Past) {
        let own = self.history.entry(owner).or_default();
        own.push_back(past);
        while self.bounds.history_per_owner_max < own.len() {
            own.pop_front();
        }
        while HISTORY_MAX < self.history.values().map(VecDeque::len).sum() {
            let over = |past: &VecDeque<Past>| {
                past.front().map_or(f64::INFINITY, |past| past.resolved_at_secs)
            };
            let mut owners = self.history.values_mut();
            let oldest = owners.by_ref().reduce(
                |one, other| {
                    if over(other) < over(one) { other } else { one }
                },
            );
            if let Some(oldest) = oldest {
                oldest.pop_front();
            }
        }
        self.history.retain(|_, past| !past.is_empty());
    }

    fn put(&mut self, rule: Rule, now_secs: f64) -> Vec<Event> {
        let key = (rule.owner.clone(), rule.name.clone());
        let mut events = Vec::new();
        let before = self.rules.get(&key).cloned();
        if let Some(before) = &before
            && !before.asks_the_same_as(&rule)
        {
            self.end(&key, before, Input::Changed, now_secs, &mut events);
        }
        self.is_new |= before.is_none_or(|before| *before != rule);
        self.rules.insert(key, Arc::new(rule));
        events
    }

    fn take_out(&mut self, key: &Key, now_secs: f64) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(rule) = self.rules.get(key).cloned() {
            self.end(key, &rule, Input::Removed, now_secs, &mut events);
            self.rules.remove(key);
            self.is_new = true;
        }
        events
    }

    /// Everything that a rule has found is over.
    fn end(
        &mut self,
        key: &Key,
        rule: &Arc<Rule>,
        input: Input,
        now_secs: f64,
        events: &mut Vec<Event>,
    ) {
        let there = self.active.get(key).into_iter().flat_map(BTreeMap::keys);
        for labels in there.cloned().collect::<Vec<_>>() {
            self.step((key, rule), &labels, (input, None), now_secs, events);
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

    fn has_room(&self, owner: &Owner) -> Result<(), BookError> {
        let Bounds { rules_max, rules_per_tenant_max, .. } = self.bounds;
        let others = || self.rules.values().filter(|rule| !rule.is_configured);
        let own = others().filter(|rule| rule.owner == *owner).count();
        if *owner != Owner::Fleet && rules_per_tenant_max <= own {
            return Err(BookError::Full { max: rules_per_tenant_max, whose: "of one tenant" });
        }
        if rules_max <= others().count() {
            return Err(BookError::Full { max: rules_max, whose: "in all" });
        }
        Ok(())
    }

    fn has_room_for_another(&self, owner: &Owner) -> bool {
        let own = self.counts.get(owner).copied().unwrap_or_default();
        (*owner == Owner::Fleet || own < self.bounds.active_per_tenant_max)
            && self.counts.values().sum::<usize>() < self.bounds.active_max
    }
}

#[cfg(test)]
mod tests;

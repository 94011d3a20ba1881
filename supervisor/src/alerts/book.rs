//! All rules, the silences, what fires, and what has fired. It knows no clock and reads nothing: it is
//! told the time and what was read, and says what follows.

mod look;
mod page;
mod room;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::look::{ACT_AGAIN_SECS, KEPT_SECS};
pub use self::page::Page;
pub use self::room::Bounds;
use self::room::Counts;
use super::error::BookError;
use super::rule::{Owner, Rule};
use super::state::{Effect, Input, Now, State, Why};

/// The most alerts that are over and remembered, of all owners.
pub const HISTORY_MAX: usize = 20_000;

/// The most silences of one owner.
pub const SILENCES_PER_OWNER_MAX: usize = 64;

/// After how long at the latest something is written down that nobody was told of, in seconds.
pub const WRITE_AFTER_SECS: f64 = 5.0;

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
    /// What was last seen of its subject; nothing yet since the daemon's start.
    #[serde(skip)]
    pub seen: Option<Input>,
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
#[derive(Clone, Debug)]
pub struct Book {
    bounds: Bounds,
    rules: BTreeMap<Key, Arc<Rule>>,
    silences: Vec<Silence>,
    active: BTreeMap<Key, BTreeMap<Labels, Active>>,
    /// How many of them there are, by whose they are.
    counts: Counts,
    history: BTreeMap<Owner, VecDeque<Past>>,
    /// When something was told that is over, until it may be told again.
    told: BTreeMap<Key, BTreeMap<Labels, f64>>,
    told_count: usize,
    /// When the first look was.
    first_look_secs: Option<f64>,
    /// How many alerts each rule lacked at its last look, because there were enough.
    left_out: BTreeMap<Key, usize>,
    left_out_total: u64,
    changes: Changes,
}

/// Whether the book differs from what was last written down. Changes have numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Changes {
    last: u64,
    /// The last one that somebody was told of, or has asked for.
    last_told: u64,
    written: u64,
    /// By the steady clock.
    written_at_secs: f64,
}

impl Changes {
    fn add(&mut self, is_told: bool) {
        self.last += 1;
        if is_told {
            self.last_told = self.last;
        }
    }
}

impl Book {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            rules: BTreeMap::new(),
            silences: Vec::new(),
            active: BTreeMap::new(),
            counts: Counts::default(),
            history: BTreeMap::new(),
            told: BTreeMap::new(),
            told_count: 0,
            first_look_secs: None,
            left_out: BTreeMap::new(),
            left_out_total: 0,
            changes: Changes::default(),
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

    /// Tells nobody of something for a while.
    pub fn silence(&mut self, silence: Silence, now_secs: f64) -> Result<(), BookError> {
        self.silences.retain(|other| now_secs < other.until_secs);
        let own = self.silences.iter().filter(|other| other.owner == silence.owner);
        if SILENCES_PER_OWNER_MAX <= own.count() {
            return Err(BookError::SilencesFull);
        }
        self.silences.push(silence);
        self.changes.add(true);
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

    /// The number of the last change.
    pub fn version(&self) -> u64 {
        self.changes.last
    }

    /// Whether anything is to be written down at a moment of the steady clock: at once what somebody
    /// was told of, soon what nobody was.
    pub fn is_news(&self, steady_secs: f64) -> bool {
        let Changes { last, last_told, written, written_at_secs } = self.changes;
        written < last_told || written < last && WRITE_AFTER_SECS <= steady_secs - written_at_secs
    }

    /// The book was written down as it was after that change.
    pub fn was_written(&mut self, version: u64, steady_secs: f64) {
        self.changes.written = self.changes.written.max(version);
        self.changes.written_at_secs = steady_secs;
    }

    fn write(&mut self, key: &Key, labels: &Labels, alert: Active) {
        if alert.state != State::Inactive {
            let subjects = self.active.entry(key.clone()).or_default();
            if subjects.insert(labels.clone(), alert).is_none() {
                self.counts.add(&key.0, labels);
            }
            return;
        }
        let Some(subjects) = self.active.get_mut(key) else { return };
        if subjects.remove(labels).is_some() {
            self.counts.take_away(&key.0, labels);
        }
        if subjects.is_empty() {
            self.active.remove(key);
        }
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
        if before.is_none_or(|before| *before != rule) {
            self.changes.add(true);
        }
        self.rules.insert(key, Arc::new(rule));
        events
    }

    fn take_out(&mut self, key: &Key, now_secs: f64) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(rule) = self.rules.get(key).cloned() {
            self.end(key, &rule, Input::Removed, now_secs, &mut events);
            self.rules.remove(key);
            self.changes.add(true);
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
            // What ends it needs no steady clock.
            self.step((key, rule), &labels, (input, None), Now::both(now_secs), events);
        }
        self.told_count -= self.told.remove(key).map_or(0, |told| told.len());
        self.left_out.remove(key);
    }

    fn has_room(&self, owner: &Owner) -> Result<(), BookError> {
        let others = || self.rules.values().filter(|rule| !rule.is_configured);
        let own = others().filter(|rule| rule.owner == *owner).count();
        let tenants = others().filter(|rule| rule.owner != Owner::Fleet).count();
        self.bounds.has_room_for_rule(owner, own, tenants, others().count())
    }
}

#[cfg(test)]
mod tests;

//! The life of an alert about one subject: what follows from a look.
//!
//! ```text
//! inactive ──condition holds──▶ pending ──for `for`──▶ firing ──over, for `keep_firing`──▶ inactive
//!     ▲                            │                     │  ▲
//!     └──over, gone, rule changed──┘                     │  └─ within the clear value, or kept
//!     └───────────────gone, rule changed or removed──────┘
//! ```
//!
//! The table is pure and knows no clock. Moments are seconds of Unix time, so that they mean the
//! same after a restart. That clock may jump, so that within this process a steady one counts besides
//! where something is going to be done.

use serde::{Deserialize, Serialize};

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There is nothing to tell.
    #[default]
    Inactive,
    /// The condition holds, but not for long enough.
    Pending {
        /// Since when it holds.
        since_secs: f64,
    },
    /// There is something to tell.
    Firing(Firing),
}

/// An alert that fires.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firing {
    /// Since when the condition holds.
    pub since_secs: f64,
    /// Since when it fires.
    pub fired_at_secs: f64,
    /// When it was last told; never while it is silenced.
    pub told_at_secs: Option<f64>,
    /// Since when the condition does not hold any more, while it goes on firing.
    pub calm_since_secs: Option<f64>,
    /// When something is going to be done about it, until it is.
    pub act_at_secs: Option<f64>,
    /// When it was first told, by the steady clock, if that was in this process.
    #[serde(skip)]
    pub told_steady_secs: Option<f64>,
    /// Whether it is being done. What was not finished when the daemon ended is done again.
    #[serde(skip)]
    pub is_acting: bool,
}

/// What a look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The condition holds.
    Holds,
    /// It does not, but it is not over either: the value lies between the threshold and where it is
    /// over.
    Band,
    /// The condition does not hold.
    Calm,
    /// The subject is there, and could not be read.
    NoData,
    /// There is no such subject any more.
    Gone,
    /// The rule asks something else from now on.
    Changed,
    /// There is no such rule any more.
    Removed,
}

/// What it means that nothing can be read.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// All is well.
    Ok,
    /// The condition holds.
    Alert,
    /// Nothing: it is as it was.
    #[default]
    KeepLast,
}

/// When what follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// How long the condition must hold.
    pub for_secs: f64,
    /// How long it goes on firing afterwards.
    pub keep_firing_secs: f64,
    /// After how long it is told again.
    pub cooldown_secs: f64,
    /// How long after it was first told something is done about it; nothing is, without.
    pub grace_secs: Option<f64>,
    /// What it means that nothing can be read.
    pub no_data: NoData,
}

/// After how long at the latest one is told again that is over and fires again, if something is done
/// about it, in seconds: nothing is done before it is told.
const REST_BEFORE_ACT_SECS: f64 = 10.0;

impl Terms {
    /// How long after it was told another one about the same is not told.
    pub fn rest_secs(&self) -> f64 {
        match self.grace_secs {
            None => self.cooldown_secs,
            Some(_) => self.cooldown_secs.min(REST_BEFORE_ACT_SECS),
        }
    }
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Now {
    /// In seconds of Unix time.
    pub unix_secs: f64,
    /// In seconds of a clock that nobody sets, since some moment in this process.
    pub steady_secs: f64,
}

impl Now {
    /// Both clocks go the same.
    pub fn both(secs: f64) -> Self {
        Self { unix_secs: secs, steady_secs: secs }
    }
}

/// When a look is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// What time it is.
    pub now: Now,
    /// Whether nobody is to be told.
    pub is_silenced: bool,
    /// Whether an alert about the same was told lately and is over, so that another one is not told
    /// yet.
    pub is_resting: bool,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is told that it fires.
    Fired,
    /// It is told that it still fires.
    Reminded,
    /// Something is done about it.
    Act,
    /// It is over.
    Resolved {
        /// Why.
        why: Why,
        /// Whether that is told: only if it was told that it fires.
        is_told: bool,
    },
}

/// Why an alert is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The condition does not hold any more.
    Over,
    /// Nothing can be read, and the rule says that all is well then.
    NoData,
    /// The subject is gone.
    Gone,
    /// The rule asks something else.
    RuleChanged,
    /// The rule is gone.
    RuleRemoved,
}

/// Whether nothing follows from a look at what is inactive, whatever the time.
pub fn is_nothing(input: Input, no_data: NoData) -> bool {
    !matches!(meaning(input, no_data), Meaning::Holds | Meaning::Assumed)
}

impl Why {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::NoData => "no_data",
            Self::Gone => "gone",
            Self::RuleChanged => "rule_changed",
            Self::RuleRemoved => "rule_removed",
        }
    }
}

/// Decides what follows from a look.
pub fn next(state: State, input: Input, at: Moment, terms: &Terms) -> (State, Vec<Effect>) {
    match (state, meaning(input, terms.no_data)) {
        (State::Firing(firing), Meaning::Ends(why)) => resolve(firing, why),
        (_, Meaning::Ends(_)) => (State::Inactive, Vec::new()),

        (State::Inactive, Meaning::Holds | Meaning::Assumed) => pend(at.now.unix_secs, at, terms),
        (State::Inactive, Meaning::Lingers | Meaning::Over(_) | Meaning::Unknown) => {
            (State::Inactive, Vec::new())
        }

        (State::Pending { since_secs }, Meaning::Holds | Meaning::Assumed) => {
            pend(since_secs, at, terms)
        }
        (State::Pending { .. }, Meaning::Lingers | Meaning::Over(_)) => {
            (State::Inactive, Vec::new())
        }
        // Nobody is told of what nobody has seen.
        (State::Pending { .. }, Meaning::Unknown) => (state, Vec::new()),

        (State::Firing(firing), Meaning::Holds) => {
            let firing = Firing { calm_since_secs: None, ..firing };
            let (firing, mut effects) = tell(firing, at, terms);
            (State::Firing(act(firing, at, terms, &mut effects)), effects)
        }
        // Nothing is done about what nobody has seen.
        (State::Firing(firing), Meaning::Lingers | Meaning::Assumed) => {
            let (firing, effects) = tell(Firing { calm_since_secs: None, ..firing }, at, terms);
            (State::Firing(firing), effects)
        }
        (State::Firing(firing), Meaning::Over(why)) => calm(firing, why, at, terms),
        (State::Firing(firing), Meaning::Unknown) => {
            let (firing, effects) = tell(firing, at, terms);
            (State::Firing(firing), effects)
        }
    }
}

/// What a look means under a rule's terms.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    Holds,
    /// Nobody has seen it, and the rule says that it holds then.
    Assumed,
    /// No reason to fire, and none to stop.
    Lingers,
    Over(Why),
    Unknown,
    Ends(Why),
}

fn meaning(input: Input, no_data: NoData) -> Meaning {
    match (input, no_data) {
        (Input::Holds, _) => Meaning::Holds,
        (Input::NoData, NoData::Alert) => Meaning::Assumed,
        (Input::Band, _) => Meaning::Lingers,
        (Input::Calm, _) => Meaning::Over(Why::Over),
        (Input::NoData, NoData::Ok) => Meaning::Over(Why::NoData),
        (Input::NoData, NoData::KeepLast) => Meaning::Unknown,
        (Input::Gone, _) => Meaning::Ends(Why::Gone),
        (Input::Changed, _) => Meaning::Ends(Why::RuleChanged),
        (Input::Removed, _) => Meaning::Ends(Why::RuleRemoved),
    }
}

/// The condition holds since then.
fn pend(since_secs: f64, at: Moment, terms: &Terms) -> (State, Vec<Effect>) {
    let now_secs = at.now.unix_secs;
    // A clock that was set back must not make it wait for longer.
    let since_secs = since_secs.min(now_secs);
    if now_secs - since_secs < terms.for_secs {
        return (State::Pending { since_secs }, Vec::new());
    }
    let firing = Firing {
        since_secs,
        fired_at_secs: now_secs,
        told_at_secs: None,
        calm_since_secs: None,
        act_at_secs: None,
        told_steady_secs: None,
        is_acting: false,
    };
    let (firing, effects) = tell(firing, at, terms);
    (State::Firing(firing), effects)
}

/// Tells of it, if that is due and wanted. What is going to be done is due only after that.
fn tell(firing: Firing, at: Moment, terms: &Terms) -> (Firing, Vec<Effect>) {
    if at.is_silenced {
        return (firing, Vec::new());
    }
    let now_secs = at.now.unix_secs;
    let told = Firing { told_at_secs: Some(now_secs), ..firing };
    match firing.told_at_secs {
        None if at.is_resting => (firing, Vec::new()),
        None => {
            let act_at_secs = terms.grace_secs.map(|grace| now_secs + grace);
            let told_steady_secs = Some(at.now.steady_secs);
            (Firing { act_at_secs, told_steady_secs, ..told }, vec![Effect::Fired])
        }
        Some(before) if terms.cooldown_secs <= now_secs - before => (told, vec![Effect::Reminded]),
        // The clock was set back: the cooldown begins anew.
        Some(before) if now_secs < before => (told, Vec::new()),
        Some(_) => (firing, Vec::new()),
    }
}

/// Does something about it, if that is due. A silence silences that, too.
fn act(firing: Firing, at: Moment, terms: &Terms, effects: &mut Vec<Effect>) -> Firing {
    let is_due = firing.act_at_secs.is_some_and(|due| due <= at.now.unix_secs);
    // A clock that was set forward takes nobody's time to answer the notice.
    let grace_secs = terms.grace_secs.unwrap_or_default();
    let is_over = |told: f64| grace_secs <= at.now.steady_secs - told;
    if at.is_silenced || firing.is_acting || !is_due || !firing.told_steady_secs.is_none_or(is_over)
    {
        return firing;
    }
    effects.push(Effect::Act);
    Firing { is_acting: true, ..firing }
}

/// The condition does not hold any more.
fn calm(firing: Firing, why: Why, at: Moment, terms: &Terms) -> (State, Vec<Effect>) {
    let now_secs = at.now.unix_secs;
    let since = firing.calm_since_secs.unwrap_or(now_secs).min(now_secs);
    if terms.keep_firing_secs <= now_secs - since {
        return resolve(firing, why);
    }
    let (firing, effects) = tell(Firing { calm_since_secs: Some(since), ..firing }, at, terms);
    (State::Firing(firing), effects)
}

fn resolve(firing: Firing, why: Why) -> (State, Vec<Effect>) {
    let is_told = firing.told_at_secs.is_some();
    (State::Inactive, vec![Effect::Resolved { why, is_told }])
}

#[cfg(test)]
mod tests;

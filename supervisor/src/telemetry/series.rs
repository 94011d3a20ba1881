//! Series in memory: the last hour of every subject, a value a second.
//!
//! Nothing here has a clock: whoever adds a sample says when it was taken.

mod ring;
mod table;

use std::collections::VecDeque;
use std::sync::Arc;

pub use self::ring::{BLOCK_SECS, Ring, Summary};
pub use self::table::{Minute, Places, Table};
use super::metric::{Id, METRICS, Scope};
use crate::durations::Durations;
use crate::tenants::Tenant;

/// Whose values they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The machine, the daemon, and all sessions together.
    Fleet,
    /// A tenant.
    Tenant(Tenant),
    /// A model of a tenant.
    Model(Tenant, Arc<str>),
    /// A tool.
    Tool(Arc<str>),
    /// A session of a tenant.
    Session(Tenant, Arc<str>),
}

impl Subject {
    /// What it is.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Fleet => Scope::Fleet,
            Self::Tenant(_) => Scope::Tenant,
            Self::Model(..) => Scope::Model,
            Self::Tool(_) => Scope::Tool,
            Self::Session(..) => Scope::Session,
        }
    }

    /// Whose it is, if it is a tenant's.
    pub fn owner(&self) -> Option<&Tenant> {
        match self {
            Self::Tenant(tenant) | Self::Model(tenant, _) | Self::Session(tenant, _) => {
                Some(tenant)
            }
            Self::Fleet | Self::Tool(_) => None,
        }
    }

    /// What it is called: nothing for what there is one of.
    pub fn name(&self) -> &str {
        match self {
            Self::Fleet | Self::Tenant(_) => "",
            Self::Model(_, name) | Self::Tool(name) | Self::Session(_, name) => name,
        }
    }

    /// The subject that is told of so.
    pub fn of(scope: Scope, owner: Option<&str>, name: &str) -> Option<Self> {
        let owner = owner.map(Tenant::named);
        Some(match (scope, owner) {
            (Scope::Fleet, _) => Self::Fleet,
            (Scope::Tool, _) => Self::Tool(name.into()),
            (Scope::Tenant, Some(tenant)) => Self::Tenant(tenant),
            (Scope::Model, Some(tenant)) => Self::Model(tenant, name.into()),
            (Scope::Session, Some(tenant)) => Self::Session(tenant, name.into()),
            (Scope::Tenant | Scope::Model | Scope::Session, None) => return None,
        })
    }
}

/// What was measured of a subject in a second.
#[derive(Clone, Debug)]
pub struct Sample {
    gauges: [f32; Id::COUNT],
    histograms: [Durations; HISTOGRAMS],
}

const HISTOGRAMS: usize = Id::COUNT - Id::StepTime as usize;

impl Default for Sample {
    fn default() -> Self {
        Self { gauges: [f32::NAN; Id::COUNT], histograms: <[Durations; HISTOGRAMS]>::default() }
    }
}

impl Sample {
    /// The value of a gauge, if it was measured.
    pub fn get(&self, id: Id) -> Option<f64> {
        let value = self.gauges[id as usize];
        value.is_finite().then(|| f64::from(value))
    }

    /// Sets a gauge.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough of a measurement")]
    pub fn set(&mut self, id: Id, value: f64) {
        self.gauges[id as usize] = value as f32;
    }

    /// Adds to a gauge, which begins at 0.
    pub fn add(&mut self, id: Id, more: f64) {
        self.set(id, self.get(id).unwrap_or(0.0) + more);
    }

    /// Adds durations to a histogram.
    pub fn observe(&mut self, id: Id, durations: &Durations) {
        if let Some(histogram) = self.histograms.get_mut(histogram_of(id)) {
            histogram.add(durations);
        }
    }

    /// The durations of a histogram.
    pub fn durations(&self, id: Id) -> &Durations {
        &self.histograms[histogram_of(id).min(HISTOGRAMS - 1)]
    }

    /// Adds another subject's values: for what both are part of.
    pub fn take_in(&mut self, other: &Self, gauges: &[Id], histogram: Id) {
        for id in gauges {
            if let Some(more) = other.get(*id) {
                self.add(*id, more);
            }
        }
        self.observe(histogram, other.durations(histogram));
    }
}

/// Where a histogram stands among the histograms; beyond them if it is none.
fn histogram_of(id: Id) -> usize {
    (id as usize).checked_sub(Id::StepTime as usize).unwrap_or(HISTOGRAMS)
}

/// What is left of a stretch of time: a minute or more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Gauges that had values.
    pub gauges: Vec<(Id, Summary)>,
    /// Histograms that had durations.
    pub histograms: Vec<(Id, Durations)>,
}

impl Point {
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.gauges.is_empty() && self.histograms.is_empty()
    }

    /// The mean of a gauge.
    pub fn mean(&self, id: Id) -> Option<f64> {
        self.gauges.iter().find(|(own, _)| *own == id)?.1.mean()
    }

    /// The sum of a gauge's values: of a rate, how many there were.
    pub fn total(&self, id: Id) -> f64 {
        let own = self.gauges.iter().find(|(own, _)| *own == id);
        own.map_or(0.0, |(_, summary)| summary.sum)
    }

    /// A histogram.
    pub fn durations(&self, id: Id) -> Option<&Durations> {
        self.histograms.iter().find(|(own, _)| *own == id).map(|(_, durations)| durations)
    }

    /// Takes in what comes after, or before.
    pub fn add(&mut self, other: &Self) {
        for (id, summary) in &other.gauges {
            match self.gauges.iter_mut().find(|(own, _)| own == id) {
                Some((_, own)) => own.add(*summary),
                None => self.gauges.push((*id, *summary)),
            }
        }
        for (id, durations) in &other.histograms {
            match self.histograms.iter_mut().find(|(own, _)| own == id) {
                Some((_, own)) => own.add(durations),
                None => self.histograms.push((*id, durations.clone())),
            }
        }
    }
}

/// Durations are kept for stretches of so many seconds.
pub const LAP_SECS: i64 = 10;

/// Stretches of durations that are kept: as many whole minutes as of gauges, and the current one.
const LAPS_MAX: usize = 61 * 6 + 1;

/// The last hour of a histogram.
#[derive(Clone, Debug, Default)]
struct Laps {
    /// From the oldest to the newest, which is not over.
    laps: VecDeque<Durations>,
    minute: Durations,
}

impl Laps {
    fn bytes(&self) -> usize {
        self.minute.bytes() + self.laps.iter().map(Durations::bytes).sum::<usize>()
    }
}

/// The last hour of a subject.
#[derive(Clone, Debug)]
pub struct Track {
    gauges: Vec<(Id, Ring)>,
    histograms: Vec<(Id, Laps)>,
    /// When it was last measured.
    last_secs: i64,
}

impl Track {
    fn new(scope: Scope) -> Self {
        let gauges = scope.gauges().map(|metric| (metric.id, Ring::default())).collect();
        let histograms = scope.histograms().map(|metric| (metric.id, Laps::default())).collect();
        Self { gauges, histograms, last_secs: i64::MIN }
    }

    /// Adds the gauges of a second.
    fn gauge(&mut self, at_secs: i64, sample: &Sample) {
        let second = second_of(at_secs);
        self.last_secs = at_secs;
        for (id, ring) in &mut self.gauges {
            ring.push(second, sample.gauges[*id as usize]);
        }
    }

    /// Adds durations, which came by now.
    fn observe(&mut self, sample: &Sample) {
        for (id, laps) in &mut self.histograms {
            let durations = sample.durations(*id);
            laps.minute.add(durations);
            if let Some(lap) = laps.laps.back_mut() {
                lap.add(durations);
            }
        }
    }

    fn close_lap(&mut self) {
        for (_, laps) in &mut self.histograms {
            laps.laps.push_back(Durations::default());
            if LAPS_MAX < laps.laps.len() {
                laps.laps.pop_front();
            }
        }
    }

    fn close_minute(&mut self) -> Point {
        let mut point = Point::default();
        for (id, ring) in &mut self.gauges {
            let summary = ring.close();
            if summary.count != 0 {
                point.gauges.push((*id, summary));
            }
        }
        for (id, laps) in &mut self.histograms {
            let durations = std::mem::take(&mut laps.minute);
            if !durations.is_empty() {
                point.histograms.push((*id, durations));
            }
        }
        point
    }

    /// When it was last measured.
    pub fn last_secs(&self) -> i64 {
        self.last_secs
    }

    /// How many whole minutes are in memory.
    pub fn minutes(&self) -> usize {
        self.gauges.iter().map(|(_, ring)| ring.minutes()).max().unwrap_or(0)
    }

    /// A gauge's last hour.
    pub fn ring(&self, id: Id) -> Option<&Ring> {
        self.gauges.iter().find(|(own, _)| *own == id).map(|(_, ring)| ring)
    }

    /// A histogram's last hour: stretches of [`LAP_SECS`], from the newest, which is not over.
    pub fn laps(&self, id: Id) -> impl Iterator<Item = &Durations> {
        let laps = self.histograms.iter().find(|(own, _)| *own == id);
        laps.into_iter().flat_map(|(_, laps)| laps.laps.iter().rev())
    }

    /// Forgets what was measured; that there is something to measure is remembered.
    fn clear(&mut self) {
        for (_, ring) in &mut self.gauges {
            *ring = Ring::default();
        }
        for (_, laps) in &mut self.histograms {
            *laps = Laps::default();
            laps.laps.push_back(Durations::default());
        }
    }

    fn bytes(&self) -> usize {
        self.gauges.iter().map(|(_, ring)| ring.bytes()).sum::<usize>()
            + self.histograms.iter().map(|(_, laps)| laps.bytes()).sum::<usize>()
    }
}

fn second_of(at_secs: i64) -> usize {
    usize::try_from(at_secs.rem_euclid(60)).unwrap_or(0)
}

const _: () = assert!(METRICS.len() == Id::COUNT && BLOCK_SECS == 60);

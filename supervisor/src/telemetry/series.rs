//! Series in memory: the last hour of every subject, a value a second.
//!
//! Nothing here has a clock: whoever adds a sample says when it was taken.

mod ring;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use self::ring::{BLOCK_SECS, Ring, Summary};
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
pub const LAP_SECS: usize = 10;

/// Stretches of durations that are kept: those of an hour of whole minutes, and of the current one.
const LAPS_MAX: usize = 366;

/// The last hour of a histogram.
#[derive(Clone, Debug, Default)]
struct Laps {
    /// From the oldest to the newest, which is not over.
    laps: VecDeque<Durations>,
    minute: Durations,
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

    fn note(&mut self, at_secs: i64, sample: &Sample) {
        let second = second_of(at_secs);
        self.last_secs = at_secs;
        for (id, ring) in &mut self.gauges {
            ring.push(second, sample.gauges[*id as usize]);
        }
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

    /// The value that a gauge had when the subject was measured last.
    pub fn newest(&self, id: Id) -> Option<f32> {
        self.ring(id)?.newest_first().next().filter(|value| value.is_finite())
    }

    /// The durations of about the last minute.
    pub fn last_minute(&self, id: Id) -> Durations {
        let mut sum = Durations::default();
        self.laps(id).take(60 / LAP_SECS).for_each(|durations| sum.add(durations));
        sum
    }

    fn bytes(&self) -> usize {
        self.gauges.iter().map(|(_, ring)| ring.bytes()).sum::<usize>()
            + self.histograms.len() * LAPS_MAX * size_of::<Durations>()
    }
}

/// A minute that is over, of every subject that was measured in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Minute {
    /// When it began, in seconds since 1970.
    pub begin_secs: i64,
    /// What was measured.
    pub points: Vec<(Subject, Point)>,
}

/// The last hour of everything. Bounded in subjects, and so in memory.
#[derive(Debug)]
pub struct Table {
    tracks: BTreeMap<Subject, Track>,
    tracks_max: usize,
    /// The second that was measured last.
    now_secs: Option<i64>,
    /// Samples of subjects that there was no room for.
    turned_away_total: u64,
}

/// A subject that was not measured for so long is forgotten.
const FORGET_AFTER_SECS: i64 = 3600;

impl Table {
    /// Nothing yet, and never more than so many subjects.
    pub fn new(tracks_max: usize) -> Self {
        Self { tracks: BTreeMap::new(), tracks_max, now_secs: None, turned_away_total: 0 }
    }

    /// The second that samples are to be of which are taken at that moment: seconds only go on,
    /// whatever is done to the clock.
    pub fn second(&self, at_secs: i64) -> i64 {
        self.now_secs.map_or(at_secs, |last| at_secs.max(last + 1))
    }

    /// Adds what was measured in a second that [`Self::second`] has given; tells of the minutes that
    /// ended before it.
    pub fn note(&mut self, at_secs: i64, samples: Vec<(Subject, Sample)>) -> Vec<Minute> {
        let over = self.go_on_to(at_secs);
        for (subject, sample) in samples {
            let known = self.tracks.contains_key(&subject);
            if !known && self.tracks_max <= self.tracks.len() {
                self.turned_away_total += 1;
                continue;
            }
            let scope = subject.scope();
            let track = self.tracks.entry(subject).or_insert_with(|| {
                let mut track = Track::new(scope);
                track.close_lap();
                track
            });
            track.note(at_secs, &sample);
        }
        over
    }

    /// Closes laps and minutes until that second.
    fn go_on_to(&mut self, at_secs: i64) -> Vec<Minute> {
        let mut over = Vec::new();
        let Some(last_secs) = self.now_secs.replace(at_secs) else { return over };
        // Of a longer gap nothing could be told but that there was one.
        let mut second = last_secs.max(at_secs - FORGET_AFTER_SECS - 60);
        while second < at_secs {
            second += 1;
            if second % 60 == 0 {
                over.extend(self.close_minute(second - 60));
            }
            if second % LAP_SECS as i64 == 0 {
                self.tracks.values_mut().for_each(Track::close_lap);
            }
        }
        over
    }

    fn close_minute(&mut self, begin_secs: i64) -> Option<Minute> {
        let forgotten = begin_secs - FORGET_AFTER_SECS;
        self.tracks.retain(|_, track| forgotten < track.last_secs);
        let mut points = Vec::with_capacity(self.tracks.len());
        for (subject, track) in &mut self.tracks {
            let point = track.close_minute();
            if !point.is_empty() {
                points.push((subject.clone(), point));
            }
        }
        (!points.is_empty()).then_some(Minute { begin_secs, points })
    }

    /// The second that was measured last.
    pub fn now_secs(&self) -> Option<i64> {
        self.now_secs
    }

    /// A subject's last hour.
    pub fn track(&self, subject: &Subject) -> Option<&Track> {
        self.tracks.get(subject)
    }

    /// Every subject's.
    pub fn tracks(&self) -> impl Iterator<Item = (&Subject, &Track)> {
        self.tracks.iter()
    }

    /// Forgets what is of these.
    pub fn forget(&mut self, is_meant: impl Fn(&Subject) -> bool) -> usize {
        let before = self.tracks.len();
        self.tracks.retain(|subject, _| !is_meant(subject));
        before - self.tracks.len()
    }

    /// Samples of subjects that there was no room for.
    pub fn turned_away_total(&self) -> u64 {
        self.turned_away_total
    }

    /// What it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.tracks.values().map(Track::bytes).sum()
    }
}

fn second_of(at_secs: i64) -> usize {
    usize::try_from(at_secs.rem_euclid(60)).unwrap_or(0)
}

const _: () = assert!(METRICS.len() == Id::COUNT && BLOCK_SECS == 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu: f64, nanos: u64) -> Sample {
        let mut sample = Sample::default();
        sample.set(Id::Cpu, cpu);
        let mut durations = Durations::default();
        durations.note(nanos);
        sample.observe(Id::StepTime, &durations);
        sample
    }

    fn session(name: &str) -> Subject {
        Subject::Session(Tenant::named("acme"), name.into())
    }

    #[test]
    fn a_minute_is_told_of_when_it_is_over() {
        let mut table = Table::new(10);
        for second in 0..60 {
            let told = table.note(120 + second, vec![(session("a"), sample(1.0, 1000))]);
            assert_eq!(told, []);
        }
        let told = table.note(180, vec![(session("a"), sample(3.0, 1000))]);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].begin_secs, 120);
        let (subject, point) = &told[0].points[0];
        assert_eq!(*subject, session("a"));
        assert_eq!(point.gauges[0].1, Summary { min: 1.0, max: 1.0, sum: 60.0, count: 60 });
        assert_eq!(point.histograms[0].1.count(), 60);
        let track = table.track(&session("a")).unwrap();
        assert_eq!(track.ring(Id::Cpu).unwrap().newest_first().next(), Some(3.0));
        let laps: Vec<u64> = track.laps(Id::StepTime).map(Durations::count).collect();
        assert_eq!(laps, [1, 10, 10, 10, 10, 10, 10]);
    }

    #[test]
    fn seconds_go_on_when_the_clock_is_set_back() {
        let mut table = Table::new(10);
        assert_eq!(table.second(1000), 1000);
        table.note(1000, vec![(session("a"), sample(1.0, 1000))]);
        assert_eq!(table.second(400), 1001);
        assert_eq!(table.second(2000), 2000);
    }

    #[test]
    fn there_is_never_more_than_there_may_be() {
        let mut table = Table::new(2);
        let samples = |names: &[&str]| {
            names.iter().map(|name| (session(name), sample(1.0, 1000))).collect::<Vec<_>>()
        };
        table.note(1000, samples(&["a", "b", "c"]));
        assert_eq!((table.tracks().count(), table.turned_away_total()), (2, 1));
        // What was not measured for an hour makes room.
        let mut at = 1000;
        while at < 1000 + 2 * FORGET_AFTER_SECS {
            at += 30;
            table.note(at, samples(&["a"]));
        }
        assert_eq!(table.tracks().count(), 1);
        table.note(at + 1, samples(&["a", "d"]));
        assert!(table.track(&session("d")).is_some());
    }

    #[test]
    fn a_long_gap_is_no_work() {
        let mut table = Table::new(2);
        table.note(1000, vec![(session("a"), sample(1.0, 1000))]);
        let told = table.note(1_000_000_000, vec![(session("a"), sample(1.0, 1000))]);
        assert!(told.len() <= 61);
        assert_eq!(table.track(&session("a")).unwrap().ring(Id::Cpu).unwrap().len() % 60, 41);
    }

    #[test]
    fn points_add_up() {
        let mut table = Table::new(2);
        table.note(59, vec![(session("a"), sample(1.0, 1000))]);
        let mut one = table.note(119, vec![(session("a"), sample(3.0, 2000))]).remove(0);
        let two = table.note(120, vec![]).remove(0);
        one.points[0].1.add(&two.points[0].1);
        let (_, point) = &one.points[0];
        assert_eq!(point.gauges[0].1, Summary { min: 1.0, max: 3.0, sum: 4.0, count: 2 });
        assert_eq!(point.histograms[0].1.count(), 2);
    }
}

//! Values of subjects, from wherever they are, sorted into stretches of time.

use std::collections::HashMap;
use std::time::Instant;

use super::{Aggregate, Error, Sight};
use crate::durations::Durations;
use crate::telemetry::history::{Columns, History, Tier, Wants};
use crate::telemetry::measured::Measured;
use crate::telemetry::metric::{Id, Metric};
use crate::telemetry::series::{LAP_SECS, Point, Subject, Summary, Table, Track};

/// What is known of one metric in one stretch of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Bin {
    pub(super) summary: Summary,
    pub(super) durations: Durations,
}

/// Stretches of time of the same length, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) from: i64,
    pub(super) step: i64,
    pub(super) bins: usize,
}

impl Grid {
    fn place(&self, at: i64) -> Option<usize> {
        let place = usize::try_from((at - self.from).div_euclid(self.step)).ok()?;
        (place < self.bins).then_some(place)
    }

    pub(super) fn end(&self) -> i64 {
        self.from + self.step * i64::try_from(self.bins).unwrap_or(0)
    }
}

/// Subjects whose past is looked up at a time: what waits to be laid into columns is read once for
/// all of them.
const AT_A_TIME: usize = 64;

impl Measured {
    /// Hands over the values of each subject, by metric.
    pub(super) fn gather(
        &self,
        subjects: &[Subject],
        (metrics, aggregate): (&[&'static Metric], Aggregate),
        grid: Grid,
        deadline: Instant,
        mut take: impl FnMut(&Subject, Vec<Vec<Bin>>),
    ) -> Result<(), Error> {
        let is_meant = |id: Id| metrics.iter().any(|metric| metric.id == id);
        let wants = Wants::of(&is_meant).with_ends(aggregate.looks_at_ends());
        for some in subjects.chunks(AT_A_TIME) {
            let mut all: Vec<(Vec<Vec<Bin>>, i64)> =
                some.iter().map(|subject| self.of_memory(subject, metrics, grid)).collect();
            if let Some(history) = self.history() {
                let until: HashMap<&Subject, i64> = some
                    .iter()
                    .zip(&all)
                    .map(|(subject, (_, begin))| (subject, *begin.min(&grid.end())))
                    .filter(|(_, until)| grid.from < *until)
                    .collect();
                let now_secs = self.table().now_secs().unwrap_or_else(|| grid.end());
                for (subject, columns) in past(history, (&until, now_secs), grid, wants)? {
                    let place = some.iter().position(|of| *of == subject);
                    let Some((bins, _)) = place.and_then(|place| all.get_mut(place)) else {
                        continue;
                    };
                    add(&columns, metrics, grid, bins);
                }
            }
            for (subject, (bins, _)) in some.iter().zip(all) {
                take(subject, bins);
            }
            if deadline < Instant::now() {
                return Err(Error::TooLong);
            }
        }
        Ok(())
    }

    /// What is in memory of a subject, and from when on everything is.
    fn of_memory(
        &self,
        subject: &Subject,
        metrics: &[&'static Metric],
        grid: Grid,
    ) -> (Vec<Vec<Bin>>, i64) {
        let mut gathered = vec![vec![Bin::default(); grid.bins]; metrics.len()];
        let table = self.table();
        let Some((track, now)) = table.track(subject).zip(table.now_secs()) else {
            return (gathered, i64::MAX);
        };
        let begin = begin_secs(&table, track);
        for (metric, bins) in metrics.iter().zip(&mut gathered) {
            of_track(track, metric.id, (begin, now), grid, bins);
        }
        (gathered, begin)
    }

    /// What is in memory of a subject's last seconds, put together, for whoever sees so much.
    pub fn recent(&self, subject: &Subject, secs: i64, sight: &Sight) -> Point {
        let mut point = Point::default();
        if !self.shown_to(sight)(subject) {
            return point;
        }
        let table = self.table();
        let Some((track, now)) = table.track(subject).zip(table.now_secs()) else { return point };
        let grid = Grid { from: now + 1 - secs, step: secs.max(1), bins: 1 };
        let scope = subject.scope();
        for metric in scope.gauges().chain(scope.histograms()) {
            let mut bin = [Bin::default()];
            of_track(track, metric.id, (i64::MIN, now), grid, &mut bin);
            let [Bin { summary, durations }] = bin;
            if summary.count != 0 {
                point.gauges.push((metric.id, summary));
            }
            if !durations.is_empty() {
                point.histograms.push((metric.id, durations));
            }
        }
        point
    }

    /// Whether there is something of that time that is not in memory any more.
    pub(super) fn is_kept_before(
        &self,
        from_secs: i64,
        begin_secs: Option<i64>,
    ) -> Result<bool, Error> {
        let Some(history) = self.history() else { return Ok(false) };
        let range = from_secs..begin_secs.unwrap_or(i64::MAX);
        Ok(!range.is_empty() && history.has_any(&range)?)
    }

    /// From when on everything is in memory that was measured since then.
    pub(super) fn memory_begin_secs(&self) -> Option<i64> {
        let table = self.table();
        table.tracks().map(|(_, track)| begin_secs(&table, track)).min()
    }
}

/// What is kept of subjects until what is in memory of each begins.
fn past(
    history: &History,
    (until, now_secs): (&HashMap<&Subject, i64>, i64),
    grid: Grid,
    wants: Wants<'_>,
) -> Result<Vec<(Subject, Columns)>, Error> {
    let Some(last) = until.values().max() else { return Ok(Vec::new()) };
    let hour = Tier::Hours.step_secs();
    let subjects: Vec<&Subject> = until.keys().copied().collect();
    let mut all = Vec::new();
    // Whole hours where they will do; and where there are no minutes any more.
    let hours_until =
        if grid.step < hour { now_secs - Tier::Minutes.keep_secs() } else { i64::MAX };
    let hours_until = hours_until.min(*last);
    let hours_until = hours_until - hours_until.rem_euclid(hour);
    let mut hours_end: HashMap<Subject, i64> = HashMap::new();
    for (subject, mut columns) in
        history.columns(&subjects, Tier::Hours, grid.from..hours_until, wants)?
    {
        // An hour that reaches into what is in memory would count twice.
        let end = until.get(&subject).copied().unwrap_or(grid.from);
        let end = end - end.rem_euclid(hour);
        columns.retain(&(grid.from..end));
        if let Some(last) = columns.last_secs() {
            hours_end.insert(subject.clone(), end.min(last + hour));
        }
        all.push((subject, columns));
    }
    // Minutes that lie in whole hours of all of them are not even looked at.
    let end_of = |subject: &&Subject| hours_end.get(*subject).copied().unwrap_or(grid.from);
    let begin = subjects.iter().map(end_of).min().unwrap_or(grid.from);
    for (subject, mut columns) in history.columns(&subjects, Tier::Minutes, begin..*last, wants)? {
        let begin = hours_end.get(&subject).copied().unwrap_or(grid.from);
        let end = until.get(&subject).copied().unwrap_or(grid.from);
        columns.retain(&(begin..end));
        all.push((subject, columns));
    }
    Ok(all)
}

fn add(columns: &Columns, metrics: &[&'static Metric], grid: Grid, into: &mut [Vec<Bin>]) {
    for (metric, bins) in metrics.iter().zip(into) {
        for (at, summary) in columns.gauge(metric.id) {
            if let Some(place) = grid.place(*at) {
                bins[place].summary.add(*summary);
            }
        }
        for (at, durations) in columns.histogram(metric.id) {
            if let Some(place) = grid.place(*at) {
                bins[place].durations.add(durations);
            }
        }
    }
}

/// The first second that a track has in memory: the beginning of a minute.
fn begin_secs(table: &Table, track: &Track) -> i64 {
    let Some(now) = table.now_secs() else { return i64::MAX };
    let minute = now - now.rem_euclid(60);
    minute - i64::try_from(track.minutes() * 60).unwrap_or(0)
}

/// What is in memory from `begin` on, before which the history is asked.
fn of_track(track: &Track, id: Id, (begin, now): (i64, i64), grid: Grid, bins: &mut [Bin]) {
    if let Some(ring) = track.ring(id) {
        // The newest second of the ring, which may be behind if the subject is gone.
        let newest = now - now.rem_euclid(60) + i64::try_from(ring.open_len()).unwrap_or(0) - 1;
        for (back, value) in (0_i64..).zip(ring.newest_first()) {
            let at = newest - back;
            if at < grid.from {
                break;
            }
            if let Some(place) = grid.place(at).filter(|_| value.is_finite()) {
                bins[place].summary.add(Summary::of([value]));
            }
        }
    }
    let lap = LAP_SECS;
    let newest = now - now.rem_euclid(lap);
    for (back, durations) in (0_i64..).zip(track.laps(id)) {
        let at = newest - back * lap;
        if at + lap <= grid.from || at < begin {
            break;
        }
        // A stretch that began before what was asked for belongs to its beginning.
        if let Some(place) = grid.place(at.max(grid.from)) {
            bins[place].durations.add(durations);
        }
    }
}

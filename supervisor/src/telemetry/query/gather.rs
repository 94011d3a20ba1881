//! Values of a subject, from wherever they are, sorted into stretches of time.

use crate::durations::Durations;
use crate::telemetry::history::{self, Points, Range, Tier, Wants};
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
#[derive(Clone, Copy)]
struct Grid {
    from: i64,
    step: i64,
    bins: usize,
}

impl Grid {
    fn place(&self, at: i64) -> Option<usize> {
        let place = usize::try_from((at - self.from).div_euclid(self.step)).ok()?;
        (place < self.bins).then_some(place)
    }

    fn end(&self) -> i64 {
        self.from + self.step * i64::try_from(self.bins).unwrap_or(0)
    }
}

impl Measured {
    /// The values of subjects' metrics, by subject and metric.
    pub(super) fn gather(
        &self,
        subjects: &[Subject],
        metrics: &[&'static Metric],
        (from, step, bins): (i64, i64, usize),
    ) -> Result<Vec<Vec<Vec<Bin>>>, history::Error> {
        let grid = Grid { from, step, bins };
        let mut gathered = vec![vec![vec![Bin::default(); bins]; metrics.len()]; subjects.len()];
        let mut older = Vec::with_capacity(subjects.len());
        for (subject, gathered) in subjects.iter().zip(&mut gathered) {
            let table = self.table();
            let track = table.track(subject);
            if let Some((track, now)) = track.zip(table.now_secs()) {
                for (metric, bins) in metrics.iter().zip(gathered) {
                    of_memory(track, metric.id, now, grid, bins);
                }
            }
            // What is in memory of a subject is so from whole minutes on.
            let begin = track.map_or(i64::MAX, |track| begin_secs(&table, track));
            older.push((subject.clone(), grid.from..begin.min(grid.end())));
        }
        let is_all = older.iter().all(|(_, range)| range.is_empty());
        let Some(history) = self.history().filter(|_| !is_all) else {
            return Ok(gathered);
        };
        let wants = |id: Id| metrics.iter().any(|metric| metric.id == id);
        for points in kept(history, older, grid.step, &wants)? {
            for (points, gathered) in points.into_iter().zip(&mut gathered) {
                for (at, point) in points {
                    add(&point, at, metrics, grid, gathered);
                }
            }
        }
        Ok(gathered)
    }

    /// What is in memory of a subject's last seconds, put together.
    pub fn recent(&self, subject: &Subject, secs: i64) -> Point {
        let table = self.table();
        let mut point = Point::default();
        let Some((track, now)) = table.track(subject).zip(table.now_secs()) else { return point };
        let grid = Grid { from: now + 1 - secs, step: secs.max(1), bins: 1 };
        let scope = subject.scope();
        for metric in scope.gauges().chain(scope.histograms()) {
            let mut bin = [Bin::default()];
            of_memory(track, metric.id, now, grid, &mut bin);
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

    /// From when on everything is in memory that was measured since then.
    pub(super) fn memory_begin_secs(&self) -> Option<i64> {
        let table = self.table();
        table.tracks().map(|(_, track)| begin_secs(&table, track)).min()
    }
}

/// What is kept of subjects, by subject: minutes, and hours where there are no minutes.
fn kept(
    history: &history::History,
    mut wanted: Vec<(Subject, Range)>,
    step: i64,
    wants: Wants<'_>,
) -> Result<[Vec<Points>; 2], history::Error> {
    let hour = Tier::Hours.step_secs();
    let floor = |at: i64| at - at.rem_euclid(hour);
    let are_hours_kept = |subject: &Subject| Tier::Hours.keeps(subject.scope());
    if step < hour {
        // Minutes; and where there are none any more, hours.
        let minutes = history.points(&wanted, Tier::Minutes, wants)?;
        for ((subject, range), points) in wanted.iter_mut().zip(&minutes) {
            let whole = floor(points.first().map_or(range.end, |(at, _)| *at));
            range.end = if are_hours_kept(subject) { whole } else { range.start };
        }
        return Ok([history.points(&wanted, Tier::Hours, wants)?, minutes]);
    }
    // An hour that reaches into what is in memory would count twice.
    let whole = |(subject, range): &(Subject, Range)| {
        let end = if are_hours_kept(subject) { floor(range.end) } else { range.start };
        (subject.clone(), range.start..end)
    };
    let of_hours: Vec<_> = wanted.iter().map(whole).collect();
    let hours = history.points(&of_hours, Tier::Hours, wants)?;
    for ((_, range), points) in wanted.iter_mut().zip(&hours) {
        range.start = points.last().map_or(range.start, |(at, _)| *at + hour);
    }
    let minutes = history.points(&wanted, Tier::Minutes, wants)?;
    Ok([hours, minutes])
}

fn add(point: &Point, at: i64, metrics: &[&'static Metric], grid: Grid, into: &mut [Vec<Bin>]) {
    let Some(place) = grid.place(at) else { return };
    for (metric, bins) in metrics.iter().zip(into) {
        let bin = &mut bins[place];
        if let Some((_, summary)) = point.gauges.iter().find(|(id, _)| *id == metric.id) {
            bin.summary.add(*summary);
        }
        if let Some((_, durations)) = point.histograms.iter().find(|(id, _)| *id == metric.id) {
            bin.durations.add(durations);
        }
    }
}

/// The first second that a track has in memory: the beginning of a minute.
fn begin_secs(table: &Table, track: &Track) -> i64 {
    let Some(now) = table.now_secs() else { return i64::MAX };
    let minute = now - now.rem_euclid(60);
    minute - i64::try_from(track.minutes() * 60).unwrap_or(0)
}

fn of_memory(track: &Track, id: Id, now: i64, grid: Grid, bins: &mut [Bin]) {
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
    let lap = LAP_SECS as i64;
    let newest = now - now.rem_euclid(lap);
    for (back, durations) in (0_i64..).zip(track.laps(id)) {
        let at = newest - back * lap;
        if at + lap <= grid.from {
            break;
        }
        // A stretch that began before what was asked for belongs to its beginning.
        if let Some(place) = grid.place(at.max(grid.from)) {
            bins[place].durations.add(durations);
        }
    }
}

//! Values of a subject, from wherever they are, sorted into stretches of time.

use crate::durations::Durations;
use crate::telemetry::history::{self, Range, Tier};
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
    /// The values of a subject's metrics, by metric.
    pub(super) fn gather(
        &self,
        subject: &Subject,
        metrics: &[&'static Metric],
        from: i64,
        step: i64,
        bins: usize,
    ) -> Result<Vec<Vec<Bin>>, history::Error> {
        let grid = Grid { from, step, bins };
        let mut gathered = vec![vec![Bin::default(); bins]; metrics.len()];
        let begin = {
            let table = self.table();
            let track = table.track(subject);
            if let Some((track, now)) = track.zip(table.now_secs()) {
                let begin = begin_secs(&table, track);
                for (metric, bins) in metrics.iter().zip(&mut gathered) {
                    of_memory(track, metric.id, (begin, now), grid, bins);
                }
            }
            // What is in memory of a subject is so from whole minutes on.
            track.map_or(i64::MAX, |track| begin_secs(&table, track))
        };
        let until = begin.min(grid.end());
        let Some(history) = self.history().filter(|_| grid.from < until) else {
            return Ok(gathered);
        };
        for (tier, range) in kept(history, subject, grid.step, grid.from..until)? {
            for (at, point) in history.points(subject, tier, range)? {
                add(&point, at, metrics, grid, &mut gathered);
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
            of_memory(track, metric.id, (i64::MIN, now), grid, &mut bin);
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

/// Which part of a stretch of time is read from where.
fn kept(
    history: &history::History,
    subject: &Subject,
    step: i64,
    range: Range,
) -> Result<Vec<(Tier, Range)>, history::Error> {
    let hour = Tier::Hours.step_secs();
    if step < hour {
        // Minutes; and where there are none any more, hours.
        let oldest =
            history.points(subject, Tier::Minutes, range.clone())?.first().map(|(at, _)| *at);
        let oldest = oldest.unwrap_or(range.end);
        let whole = oldest - oldest.rem_euclid(hour);
        return Ok(vec![(Tier::Hours, range.start..whole), (Tier::Minutes, oldest..range.end)]);
    }
    // An hour that reaches into what is in memory would count twice.
    let hours = range.start..range.end - range.end.rem_euclid(hour);
    let last = history.points(subject, Tier::Hours, hours)?.last().map(|(at, _)| *at + hour);
    let whole = last.unwrap_or(range.start);
    Ok(vec![(Tier::Hours, range.start..whole), (Tier::Minutes, whole..range.end)])
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

/// What is in memory from `begin` on, before which the history is asked.
fn of_memory(track: &Track, id: Id, (begin, now): (i64, i64), grid: Grid, bins: &mut [Bin]) {
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
        if at + lap <= grid.from || at < begin {
            break;
        }
        // A stretch that began before what was asked for belongs to its beginning.
        if let Some(place) = grid.place(at.max(grid.from)) {
            bins[place].durations.add(durations);
        }
    }
}
